/*
 * COPY and MOVE from one account into another: accounts lie in different partitions,
 * often in different shards, so that no single commit can do it.
 *
 * The messages are read and appended to the target in one op (all or none), their bytes
 * a second time; then MOVE expunges exactly those in the source.  Nothing is ever lost: a
 * failure or crash after the first commit leaves the messages in both mailboxes.
 *
 * Thread: the worker's loop; large messages are indexed on the pool.
 * RFC 9051 sections 6.4.7 and 6.4.8, RFC 4314 section 4 (flags by rights).
 */
#include "imapd/imap_cmd_copy.h"

#include "base/ensure.h"
#include "imapd/imap_int.h"
#include "imapd/imap_walk.h"

enum { SEAL_INLINE_MAX = 128 * 1024 }; /* octets indexed on the loop's thread */

struct across_run {
	struct imap_box target;
	bool move;
	struct imap_walk walk;
	struct message_record *records; /* those to be copied, by uid */
	size_t count;
	uint64_t bytes;
	bool too_many;
	struct slice *keywords; /* of the source mailbox, by bit; copies */
	size_t keyword_count;
	struct append_message *messages;
	size_t made;    /* messages whose drafts are sealed */
	uint64_t taken; /* octets of the next one that are in its draft */
	enum status sealed;
	struct append_op append;
	struct expunge_op expunge;
};

static enum cmd_result across_read(struct imap_session *s, struct imap_command *cmd);

static void
across_cleanup(struct imap_session *s)
{
	struct across_run *run = s->cmd_data;

	for (size_t i = 0; i < run->count; i++)
		body_draft_unref(&run->messages[i].draft);
}

/* ---- the end ---- */

static uint32_t *
uids_of(struct imap_session *s, const struct across_run *run, bool target)
{
	uint32_t *uids = ARENA_ARRAY(s->arena, uint32_t, run->count);

	for (size_t i = 0; uids && i < run->count; i++)
		uids[i] = target ? run->messages[i].uid : run->records[i].uid;
	return uids;
}

static enum cmd_result
expunge_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct across_run *run = s->cmd_data;

	if (run->expunge.op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, run->expunge.op.status);
	return imap_copy_finish(s, cmd,
	    run->expunge.out_count ? run->expunge.out_modseq : 0, "move completed");
}

static enum cmd_result
append_done(struct imap_session *s, struct imap_command *cmd)
{
	struct across_run *run = s->cmd_data;
	enum status status = run->append.op.status;

	if (status == STATUS_NOT_FOUND)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "TRYCREATE", "there is no such mailbox");
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	uint32_t *source = uids_of(s, run, false);
	uint32_t *target = uids_of(s, run, true);
	struct uid_range *ranges = ARENA_ARRAY(s->arena, struct uid_range, run->count);
	if (!source || !target || !ranges)
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	struct slice code =
	    imap_copyuid_code(s, run->append.out_uidvalidity, source, target, run->count);
	if (!run->move)
		return imap_cmd_finish_code(s, cmd, IMAP_OK, code, "copy completed");
	buf_append(imap_out(s), SLICE("* OK ["));
	buf_append(imap_out(s), code);
	buf_append(imap_out(s), SLICE("] copied\r\n"));
	for (size_t i = 0; i < run->count; i++)
		ranges[i] = (struct uid_range){source[i], source[i]};
	run->expunge = (struct expunge_op){
	    .account = s->box_account,
	    .mailbox = s->mailbox,
	    .ranges = ranges,
	    .range_count = run->count,
	};
	s->resume = expunge_done;
	imap_op_begin(s, &run->expunge.op);
	expunge_op_submit(imap_reader(s), &run->expunge);
	return CMD_WAIT;
}

static enum cmd_result
append_submit(struct imap_session *s, struct across_run *run)
{
	run->append = (struct append_op){
	    .account = run->target.account,
	    .mailbox = run->target.name,
	    .messages = run->messages,
	    .message_count = run->count,
	};
	s->resume = append_done;
	imap_op_begin(s, &run->append.op);
	append_op_submit(imap_reader(s), &run->append);
	return CMD_WAIT;
}

/* ---- reading ---- */

/* On the pool: only the draft is touched. */
static void
seal_work(void *arg)
{
	struct across_run *run = ((struct imap_session *)arg)->cmd_data;

	run->sealed = body_draft_seal(run->messages[run->made].draft);
}

static enum cmd_result
across_sealed(struct imap_session *s, struct imap_command *cmd)
{
	struct across_run *run = s->cmd_data;

	if (run->sealed != STATUS_OK)
		return imap_cmd_fail(s, cmd, run->sealed);
	run->made++;
	run->taken = 0;
	return across_read(s, cmd);
}

/* The flags that may be set in the target (RFC 4314 section 4). */
static bool
message_begin(struct imap_session *s, struct across_run *run)
{
	const struct message_record *record = &run->records[run->made];
	struct append_message *message = &run->messages[run->made];
	bool keywords;
	uint8_t allowed = imap_box_flags(run->target.rights, &keywords);
	struct slice *names = NULL;
	size_t count = 0;

	if (keywords && record->keywords) {
		names = ARENA_ARRAY(s->arena, struct slice, run->keyword_count + 1);
		if (!names)
			return false;
		for (size_t i = 0; i < run->keyword_count; i++)
			if (record->keywords >> i & 1)
				names[count++] = run->keywords[i];
	}
	*message = (struct append_message){
	    .draft = body_draft_new(store_reader_store(imap_reader(s)), record->size),
	    .flags = record->flags & allowed,
	    .keywords = names,
	    .keyword_count = count,
	    .internaldate_s = record->internaldate_s,
	    .internaldate_zone_min = record->internaldate_zone_min,
	};
	return true;
}

/* A piece of the next message's octets. */
static enum status
message_read(struct imap_session *s, struct across_run *run, uint64_t *budget)
{
	const struct message_record *record = &run->records[run->made];
	struct body_handle body;
	enum status status =
	    message_body_open(imap_reader(s), s->box_account, record, &body);

	if (status != STATUS_OK)
		return status;
	struct slice rest = slice_from(body_handle_bytes(&body), (size_t)run->taken);
	if (rest.len > *budget)
		rest.len = (size_t)*budget;
	status = body_draft_append(run->messages[run->made].draft, rest);
	run->taken += rest.len;
	*budget -= rest.len;
	body_handle_close(&body);
	return status;
}

static enum cmd_result
across_read(struct imap_session *s, struct imap_command *cmd)
{
	struct across_run *run = s->cmd_data;
	uint64_t budget = IMAP_ACROSS_TURN_BYTES;

	while (run->made < run->count) {
		const struct message_record *record = &run->records[run->made];
		struct append_message *message = &run->messages[run->made];
		if (!message->draft && !message_begin(s, run))
			return imap_cmd_fail(s, cmd, STATUS_LIMIT);
		if (budget == 0) {
			s->resume = across_read;
			return CMD_AGAIN;
		}
		enum status status = message_read(s, run, &budget);
		if (status != STATUS_OK)
			return imap_cmd_fail(s, cmd, status);
		if (run->taken < record->size)
			continue;
		if (record->size > SEAL_INLINE_MAX) {
			s->resume = across_sealed;
			imap_pool_begin(s, seal_work);
			return CMD_WAIT;
		}
		status = body_draft_seal(message->draft);
		if (status != STATUS_OK)
			return imap_cmd_fail(s, cmd, status);
		run->made++;
		run->taken = 0;
	}
	return append_submit(s, run);
}

/* ---- what is copied ---- */

static bool
look_at(struct imap_session *s, const struct message_record *record, uint32_t msn)
{
	struct across_run *run = s->cmd_data;

	(void)msn;
	run->bytes += record->size;
	run->too_many =
	    run->count == IMAP_ACROSS_MESSAGES_MAX ||
	    run->bytes > imap_conf(s)->imap.max_append_size * IMAP_ACROSS_TOTAL_FACTOR;
	if (run->too_many)
		return false;
	run->records[run->count++] = *record;
	return true;
}

static enum cmd_result
across_collect(struct imap_session *s, struct imap_command *cmd)
{
	struct across_run *run = s->cmd_data;
	enum status status;

	bool ended = imap_walk_run(s, &run->walk, look_at, &status);
	if (run->too_many)
		return imap_cmd_finish(s, cmd, IMAP_NO, "LIMIT",
		    "too much at once for another account, copy fewer messages");
	if (!ended)
		return CMD_AGAIN;
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	if (run->count == 0)
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "no messages found");
	return across_read(s, cmd);
}

static bool
keywords_keep(struct imap_session *s, struct across_run *run)
{
	struct slice names[MAILBOX_KEYWORDS_MAX];

	run->keyword_count =
	    mailbox_keywords(imap_reader(s), s->box_account, s->mailbox, names);
	run->keywords = ARENA_ARRAY(s->arena, struct slice, run->keyword_count + 1);
	for (size_t i = 0; run->keywords && i < run->keyword_count; i++)
		run->keywords[i] = arena_copy(s->arena, names[i]);
	return run->keywords != NULL;
}

enum cmd_result
imap_copy_across(struct imap_session *s, struct imap_command *cmd,
    const struct imap_box *target, const struct imap_uid_ranges *ranges, bool move)
{
	struct across_run *run = ARENA_NEW(s->arena, struct across_run);

	run->target = *target;
	run->move = move;
	run->records =
	    ARENA_ARRAY(s->arena, struct message_record, IMAP_ACROSS_MESSAGES_MAX);
	run->messages =
	    ARENA_ARRAY(s->arena, struct append_message, IMAP_ACROSS_MESSAGES_MAX);
	if (!run->records || !run->messages || !keywords_keep(s, run))
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	imap_walk_init(&run->walk, s->view, s->box_account, s->mailbox, ranges);
	s->cmd_data = run;
	s->cleanup = across_cleanup;
	s->resume = across_collect;
	return across_collect(s, cmd);
}
