/*
 * FETCH and UID FETCH.
 *
 *   run ──► collect ──► seen (flags_op) ──► write … write ──► tagged reply
 *     │  (only when a section that is not .PEEK is asked for)   ▲
 *     └─────────────────────────────────────────────────────────┘
 *
 * collect and write run in slices: IMAP_TURN_RECORDS records or IMAP_TURN_BYTES of output
 * a turn, each with a cursor of its own that begins behind the last UID done.  \Seen is
 * set once for all messages that lack it, before the first byte goes out, and only
 * those are written to; when the store cannot (disk full), the messages are sent all the
 * same.
 *
 * Messages that another session has expunged have no record any more: nothing is sent for
 * them and the reply is OK with EXPUNGEISSUED (RFC 2180 section 4.1.2, RFC 5530).
 */
#include "imapd/imap_cmd_store.h"
#include "imapd/imap_fetch_write.h"
#include "imapd/imap_limit.h"
#include "imapd/imap_walk.h"

enum {
	VANISHED_MAX = 1000000, /* expunged UIDs told in one VANISHED (EARLIER) */
	FULL_CHECK_EVERY = 64,  /* messages between looks at the output queue */
};

struct fetch_run {
	const struct imap_fetch_args *args;
	struct imap_uid_ranges ranges;
	struct imap_fetch_writer writer;
	bool writer_ready;
	struct imap_walk walk;
	uint32_t expected;  /* messages of the view in the ranges */
	uint32_t gone;      /* of these, without a body any more */
	enum status failed; /* the first message that could not be read */
	/* \Seen */
	uint32_t *unseen;
	size_t unseen_count;
	struct flags_op op;
	size_t op_at; /* walks op.out along with the UIDs, down too */
};

static void
fetch_cleanup(struct imap_session *s)
{
	struct fetch_run *run = s->cmd_data;
	if (run->writer_ready)
		imap_fetch_writer_fini(&run->writer);
	run->writer_ready = false;
}

/* ---- slices ---- */

static bool
turn_is_spent(struct imap_session *s)
{
	const struct fetch_run *run = s->cmd_data;
	if (run->writer.turn_bytes + imap_out(s)->len >= IMAP_TURN_BYTES)
		return true;
	return (run->writer.needs_body || run->walk.examined % FULL_CHECK_EVERY == 0) &&
	       imap_out_full(s);
}

static bool
is_wanted(const struct fetch_run *run, const struct message_record *record)
{
	return !run->args->has_changedsince || record->modseq > run->args->changedsince;
}

/* ---- writing ---- */

/* True when this command has just set \Seen on the message: its flags are told then. */
static bool
is_newly_seen(struct fetch_run *run, uint32_t uid)
{
	const struct flags_op *op = &run->op;
	bool down = run->walk.down;

	for (; run->op_at < op->out_count; run->op_at++) {
		const struct flags_result *result =
		    &op->out[down ? op->out_count - 1 - run->op_at : run->op_at];
		if (result->uid == uid)
			return result->changed;
		if (down ? result->uid < uid : result->uid > uid)
			break;
	}
	return false;
}

static bool
write_record(struct imap_session *s, const struct message_record *record, uint32_t msn)
{
	struct fetch_run *run = s->cmd_data;
	uint32_t items = run->args->items;

	if (!is_wanted(run, record))
		return true;
	if (run->op.out_count && is_newly_seen(run, record->uid)) {
		items |= IMAP_FETCH_FLAGS;
		if (imap_is_condstore(s))
			items |= IMAP_FETCH_MODSEQ;
		if (s->enabled & IMAP_ENABLED_QRESYNC)
			items |= IMAP_FETCH_UID;
	}
	enum status status = imap_fetch_write(&run->writer, record, msn, items);
	if (status == STATUS_NOT_FOUND)
		run->gone++;
	else if (status != STATUS_OK && run->failed == STATUS_OK)
		run->failed = status;
	return !turn_is_spent(s);
}

static enum cmd_result
fetch_finish(struct imap_session *s, struct imap_command *cmd)
{
	const struct fetch_run *run = s->cmd_data;

	if (run->failed != STATUS_OK)
		return imap_cmd_fail(s, cmd, run->failed);
	if (run->writer.unknown_cte)
		return imap_cmd_finish(s, cmd, IMAP_NO, "UNKNOWN-CTE",
		    "a part has an encoding that cannot be decoded");
	if (!cmd->uid && run->walk.examined - run->gone < run->expected)
		return imap_cmd_finish(s, cmd, IMAP_OK, "EXPUNGEISSUED",
		    "some of the messages no longer exist");
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "fetch completed");
}

static enum cmd_result
fetch_write(struct imap_session *s, struct imap_command *cmd)
{
	struct fetch_run *run = s->cmd_data;
	struct slice names[MAILBOX_KEYWORDS_MAX];
	enum status status;

	if (run->args->items & IMAP_FETCH_FLAGS || run->op.out_count) {
		run->writer.name_count = imap_keywords(s, names);
		run->writer.names = names;
	}
	run->writer.flags.valid = false;
	run->writer.turn_bytes = 0;
	bool ended = imap_walk_run(s, &run->walk, write_record, &status);
	run->writer.names = NULL;
	if (!ended)
		return CMD_AGAIN;
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	return fetch_finish(s, cmd);
}

static enum cmd_result
fetch_write_begin(struct imap_session *s, struct imap_command *cmd)
{
	struct fetch_run *run = s->cmd_data;
	imap_walk_init(&run->walk, s->view, s->box_account, s->mailbox, &run->ranges);
	run->walk.down = cmd->limit != 0; /* RFC 9738 section 3.1 */
	s->resume = fetch_write;
	return fetch_write(s, cmd);
}

/* ---- \Seen ---- */

static enum cmd_result
seen_done(struct imap_session *s, struct imap_command *cmd)
{
	struct fetch_run *run = s->cmd_data;
	if (run->op.op.status == STATUS_OK)
		s->told_modseq = imap_store_told(&run->op);
	else
		run->op.out_count = 0;
	return fetch_write_begin(s, cmd);
}

static bool
collect_record(struct imap_session *s, const struct message_record *record, uint32_t msn)
{
	struct fetch_run *run = s->cmd_data;
	(void)msn;
	if (!(record->flags & MESSAGE_SEEN) && is_wanted(run, record) &&
	    run->unseen_count < run->expected)
		run->unseen[run->unseen_count++] = record->uid;
	return true;
}

static enum cmd_result
fetch_collect(struct imap_session *s, struct imap_command *cmd)
{
	struct fetch_run *run = s->cmd_data;
	enum status status;

	run->writer.turn_bytes = 0;
	if (!imap_walk_run(s, &run->walk, collect_record, &status))
		return CMD_AGAIN;
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	struct imap_uid_ranges unseen =
	    imap_uid_ranges_from_array(run->unseen, run->unseen_count, s->arena);
	if (!unseen.ranges)
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	if (unseen.count == 0)
		return fetch_write_begin(s, cmd);
	run->op = (struct flags_op){
	    .account = s->box_account,
	    .mailbox = s->mailbox,
	    .ranges = unseen.ranges,
	    .range_count = unseen.count,
	    .mode = FLAGS_ADD,
	    .flags = MESSAGE_SEEN,
	};
	s->resume = seen_done;
	imap_op_begin(s, &run->op.op);
	flags_op_submit(imap_reader(s), &run->op);
	return CMD_WAIT;
}

static bool
sets_seen(const struct imap_fetch_args *args)
{
	for (size_t i = 0; i < args->body_count; i++)
		if (!args->bodies[i].peek)
			return true;
	return false;
}

/* ---- the beginning ---- */

/* Messages first to last of those in the ranges, from 1 (RFC 9394 section 3.3). */
static void
ranges_cut(struct imap_uid_ranges *ranges, const struct mailbox_view *view,
    uint64_t first, uint64_t last)
{
	size_t kept = 0;
	uint64_t at = 0; /* messages before this range */
	for (size_t i = 0; i < ranges->count; i++) {
		struct uid_range range = ranges->ranges[i];
		uint32_t before = mailbox_view_rank(view, range.first - 1);
		uint32_t here = mailbox_view_rank(view, range.last) - before;
		if (here && at + here >= first && at < last) {
			uint64_t from = first > at + 1 ? first - at : 1;
			uint64_t to = last < at + here ? last - at : here;
			ranges->ranges[kept++] = (struct uid_range){
			    mailbox_view_uid(view, before + (uint32_t)from),
			    mailbox_view_uid(view, before + (uint32_t)to)};
		}
		at += here;
	}
	ranges->count = kept;
}

static void
apply_partial(const struct imap_fetch_args *args, const struct mailbox_view *view,
    struct imap_uid_ranges *ranges)
{
	uint64_t total = imap_uid_ranges_count(ranges, view);
	uint64_t first = args->partial_first, last = args->partial_last;

	if (args->partial_from_end) {
		uint64_t from = last > total ? 1 : total - last + 1;
		if (first > total) {
			ranges->count = 0;
			return;
		}
		last = total - first + 1;
		first = from;
	}
	ranges_cut(ranges, view, first, last);
}

/* The set as sent, "*" as the highest UID of all: what is gone is not in the view. */
static bool
vanished_wanted(
    struct imap_session *s, const struct imap_seqset *set, struct imap_uid_ranges *out)
{
	const struct uid_range *from = set->saved ? s->saved.ranges : set->ranges;
	size_t count = set->saved ? s->saved.count : set->count;

	out->ranges = ARENA_ARRAY(s->arena, struct uid_range, count ? count : 1);
	out->count = 0;
	if (!out->ranges)
		return false;
	for (size_t i = 0; i < count; i++) {
		uint32_t a =
		    from[i].first == IMAP_SEQSET_STAR ? UINT32_MAX : from[i].first;
		uint32_t b = from[i].last == IMAP_SEQSET_STAR ? UINT32_MAX : from[i].last;
		out->ranges[out->count++] =
		    a < b ? (struct uid_range){a, b} : (struct uid_range){b, a};
	}
	imap_uid_ranges_normalize(out);
	return true;
}

static void
vanished_add(struct buf *line, uint32_t first, uint32_t last)
{
	const struct imap_uid_ranges one = {
	    &(struct uid_range){first, last},
             1
        };
	if (line->len)
		buf_append_byte(line, ',');
	imap_seqset_write_ranges(line, &one);
}

/* Everything up to uidnext that is not in the view has gone at some time: for when the
 * change log does not reach back far enough (RFC 7162 section 3.2.6). */
static void
vanished_holes(
    struct imap_session *s, const struct imap_uid_ranges *wanted, struct buf *line)
{
	uint32_t uidnext = mailbox_view_uidnext(s->view);
	for (size_t i = 0; i < wanted->count; i++) {
		uint64_t at = wanted->ranges[i].first;
		uint64_t end = wanted->ranges[i].last;
		if (end >= uidnext)
			end = (uint64_t)uidnext - 1;
		while (at <= end) {
			uint64_t next = mailbox_view_next(s->view, (uint32_t)at);
			if (next == 0 || next > end)
				next = end + 1;
			if (next > at)
				vanished_add(line, (uint32_t)at, (uint32_t)(next - 1));
			at = next + 1;
		}
	}
}

/* "* VANISHED (EARLIER) set". */
static enum status
write_vanished(struct imap_session *s, const struct imap_fetch_args *args)
{
	struct imap_uid_ranges wanted;
	uint32_t *uids;
	size_t count, kept = 0;
	bool complete;
	AUTO_BUF struct buf line;

	buf_init(&line, IMAP_OUT_MAX / 2);
	if (!vanished_wanted(s, &args->set, &wanted))
		return STATUS_LIMIT;
	enum status status = mailbox_vanished(imap_reader(s), s->box_account, s->mailbox,
	    args->changedsince, s->arena, VANISHED_MAX, &uids, &count, &complete);
	if (status != STATUS_OK)
		return status;
	if (complete) {
		for (size_t i = 0; i < count; i++)
			if (imap_uid_ranges_contain(&wanted, uids[i]) &&
			    !mailbox_view_msn(s->view, uids[i]))
				uids[kept++] = uids[i];
		imap_seqset_write(&line, uids, kept);
	} else {
		vanished_holes(s, &wanted, &line);
	}
	if (!buf_ok(&line))
		return STATUS_LIMIT;
	if (line.len) {
		struct buf *out = imap_out(s);
		buf_append(out, SLICE("* VANISHED (EARLIER) "));
		buf_append(out, buf_slice(&line));
		buf_append(out, SLICE("\r\n"));
	}
	return STATUS_OK;
}

enum cmd_result
imap_run_fetch(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_fetch_args *args = cmd->u.fetch;
	struct imap_uid_ranges ranges;
	enum cmd_result refused;

	if (args->vanished && !(s->enabled & IMAP_ENABLED_QRESYNC))
		return imap_cmd_finish(
		    s, cmd, IMAP_BAD, NULL, "VANISHED needs ENABLE QRESYNC");
	if (!imap_set_resolve(s, cmd, &args->set, &ranges, &refused))
		return refused;
	uint32_t limit = imap_limit(s);
	if (args->has_partial && args->partial_last - args->partial_first >= limit)
		return imap_limit_refuse(s, cmd, limit, 0);
	if (args->items & IMAP_FETCH_MODSEQ)
		imap_condstore_on(s);
	if (args->has_partial)
		apply_partial(args, s->view, &ranges);
	imap_limit_cut(s, cmd, &ranges);
	if (args->vanished) {
		enum status status = write_vanished(s, args);
		if (status != STATUS_OK)
			return imap_cmd_fail(s, cmd, status);
	}
	struct fetch_run *run = ARENA_NEW(s->arena, struct fetch_run);
	run->args = args;
	run->ranges = ranges;
	run->expected = imap_uid_ranges_count(&ranges, s->view);
	imap_fetch_writer_init(&run->writer, s, args);
	run->writer_ready = true;
	s->cmd_data = run;
	s->cleanup = fetch_cleanup;
	if (sets_seen(args) && !s->read_only && (s->rights & ACL_SEEN)) {
		run->unseen =
		    ARENA_ARRAY(s->arena, uint32_t, run->expected ? run->expected : 1);
		if (!run->unseen)
			return imap_cmd_fail(s, cmd, STATUS_LIMIT);
		imap_walk_init(
		    &run->walk, s->view, s->box_account, s->mailbox, &run->ranges);
		s->resume = fetch_collect;
		return fetch_collect(s, cmd);
	}
	return fetch_write_begin(s, cmd);
}
