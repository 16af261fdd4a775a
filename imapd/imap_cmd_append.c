/*
 * APPEND and MULTIAPPEND: message literals flow from the connection into drafts; when the
 * command is complete they become one op, all or none.
 *
 * A synchronising literal is invited ("+") only when the message would be taken: mailbox,
 * size, quota and syntax are looked at first.  When something is wrong, a literal that is
 * on its way already ({n+}) is read and dropped, and so are those behind it, so that the
 * stream stays in step; the reply comes at the command's end.  One that is far too large
 * ends the session.  Small messages are indexed
 * as they arrive, large ones on the worker pool.
 *
 * Thread: the worker's loop.  RFC 9051 section 6.3.12, RFC 3502 (MULTIAPPEND), RFC 3516
 * (literal8), RFC 4315 (APPENDUID), RFC 6855 (UTF8), RFC 7888, RFC 7889.
 */
#include "imapd/imap_int.h"

#include "base/clock.h"
#include "base/ensure.h"
#include "text/date.h"

enum { SEAL_INLINE_MAX = 128 * 1024 }; /* octets indexed on the loop's thread */

struct imap_append {
	struct imap_append_head head;
	struct imap_append_item item; /* of the message that comes now */
	struct slice mailbox;         /* the store's name */
	struct append_message *messages;
	size_t count, room;
	struct body_draft *draft; /* of the message that comes now */
	uint64_t left;            /* octets of its literal still to come */
	uint64_t total;           /* octets of all messages */
	uint64_t limit;           /* octets of one */
	size_t from;              /* frame length where the text behind it begins */
	size_t sealed;            /* messages looked at by seal_rest */
	bool binary;              /* literal8: NUL is allowed */
	bool failed;              /* nothing is taken any more */
	struct imap_status_reply why;
	struct append_op op;
	struct { /* the pool's job */
		struct body_draft *draft;
		enum status status;
	} seal;
};

/* ---- state ---- */

static void
append_cleanup(struct imap_session *s)
{
	struct imap_append *a = s->append;

	s->append = NULL;
	for (size_t i = 0; i < a->count; i++)
		body_draft_unref(&a->messages[i].draft);
	body_draft_unref(&a->draft);
}

static struct imap_append *
append_new(struct imap_session *s)
{
	struct imap_append *a = ARENA_NEW(imap_arena(s), struct imap_append);
	struct imap_command *cmd = imap_command_new(s);

	cmd->row = imap_cmd_find(SLICE("APPEND"));
	cmd->name = SLICE("APPEND");
	a->limit = imap_conf(s)->imap.max_append_size;
	s->append = a;
	s->cleanup = append_cleanup;
	return a;
}

static void
append_fail(
    struct imap_append *a, enum imap_reply reply, const char *code, const char *text)
{
	if (a->failed)
		return; /* the first reason is told */
	a->failed = true;
	a->why = (struct imap_status_reply){reply, code, text};
	body_draft_unref(&a->draft);
}

static void
append_fail_status(struct imap_append *a, enum status status)
{
	const struct imap_status_reply *r = imap_resp_status(status);

	append_fail(a, r->reply, r->code, r->text);
}

/* ---- a message is announced ---- */

static void
check_mailbox(struct imap_session *s, struct imap_append *a)
{
	struct mailbox_info info;
	const char *text;

	if (!imap_mailbox_decode(s, a->head.mailbox, &a->mailbox, &text)) {
		append_fail(a, IMAP_NO, "CANNOT", text);
		return;
	}
	enum status status = mailbox_find(imap_reader(s), s->account, a->mailbox, &info);
	if (status == STATUS_NOT_FOUND || (status == STATUS_OK && info.exists_not))
		append_fail(a, IMAP_NO, "TRYCREATE", "no such mailbox");
	else if (status != STATUS_OK)
		append_fail_status(a, status);
}

static void
check_size(struct imap_session *s, struct imap_append *a, uint64_t size)
{
	struct account_usage usage;

	if (size == 0)
		/* How a client takes a MULTIAPPEND back (RFC 3502 section 6.3.11). */
		append_fail(a, IMAP_NO, NULL, "empty message: nothing is appended");
	else if (size > a->limit)
		append_fail(a, IMAP_NO, "TOOBIG", "message larger than APPENDLIMIT");
	else if (a->count >= IMAP_APPEND_MESSAGES_MAX ||
		 a->total + size > a->limit * IMAP_APPEND_TOTAL_FACTOR)
		append_fail(
		    a, IMAP_NO, "LIMIT", "too much in one APPEND, send fewer at once");
	else if (account_usage_get(imap_reader(s), s->account, &usage) == STATUS_OK &&
		 usage.quota_bytes > 0 &&
		 usage.bytes + a->total + size > usage.quota_bytes)
		append_fail_status(a, STATUS_QUOTA);
	a->total += size;
}

/* What is kept must not borrow the frame, which grows and moves. */
static void
keep_head(struct imap_session *s, struct imap_append *a)
{
	struct arena *arena = imap_arena(s);

	if (a->head.tag.ptr)
		s->cmd->tag = a->head.tag = arena_copy(arena, a->head.tag);
	if (a->head.mailbox.ptr)
		a->head.mailbox = arena_copy(arena, a->head.mailbox);
}

static void
keep_item(struct imap_session *s, struct imap_append *a)
{
	for (size_t i = 0; i < a->item.keyword_count; i++)
		a->item.keywords[i] = arena_copy(imap_arena(s), a->item.keywords[i]);
	if (a->item.utf8 && !(s->enabled & IMAP_ENABLED_UTF8))
		append_fail(a, IMAP_BAD, NULL, "ENABLE UTF8=ACCEPT first");
}

static enum cmd_result
append_refuse(struct imap_session *s, struct imap_append *a)
{
	return imap_cmd_finish(s, s->cmd, a->why.reply, a->why.code, a->why.text);
}

/* True: this literal is a message (or belongs to an APPEND that has failed). */
static bool
announced(struct imap_session *s)
{
	struct slice frame = framer_imap_frame(&s->framer);
	struct imap_append *a = s->append;
	struct imap_append_head head;
	struct imap_append_item item;
	struct parse_fault fault;
	bool first = a == NULL;

	enum imap_append_step step = imap_append_parse(frame, first ? 0 : a->from, true,
	    !first && a->item.utf8, imap_arena(s), &head, &item, &fault);
	if (step == IMAP_APPEND_NOT || step == IMAP_APPEND_ARG)
		return false;
	if (first) {
		a = append_new(s);
		a->head = head;
		keep_head(s, a);
	}
	a->item = item;
	if (step == IMAP_APPEND_BAD) {
		append_fail(a, IMAP_BAD, NULL, fault.text);
		return true;
	}
	keep_item(s, a);
	if (first)
		check_mailbox(s, a);
	check_size(s, a, s->framer.literal_size);
	return true;
}

bool
imap_append_literal(struct imap_session *s)
{
	if (!s->login || !announced(s))
		return false;
	struct imap_append *a = s->append;
	struct framer_imap *f = &s->framer;
	if (a->failed && f->literal_sync) {
		imap_command_result(s, append_refuse(s, a)); /* nothing follows */
		return true;
	}
	if (a->failed && f->literal_size > a->limit * IMAP_APPEND_DROP_FACTOR) {
		imap_bye(s, "TOOBIG", "message far larger than APPENDLIMIT");
		return true;
	}
	a->left = f->literal_size;
	a->binary = f->literal_binary;
	if (!a->failed)
		a->draft = body_draft_new(store_reader_store(imap_reader(s)), a->limit);
	if (f->literal_sync)
		buf_append(imap_out(s), SLICE("+ ready for the message\r\n"));
	framer_imap_stream(f);
	s->phase = IMAP_PHASE_APPEND;
	return true;
}

/* ---- its octets ---- */

static bool
message_push(struct imap_session *s, struct imap_append *a)
{
	if (a->count == a->room) {
		size_t room = a->room ? a->room * 2 : 4;
		struct append_message *grown =
		    ARENA_ARRAY(imap_arena(s), struct append_message, room);
		if (!grown)
			return false;
		if (a->count > 0)
			memcpy(grown, a->messages, a->count * sizeof(*grown));
		a->messages = grown;
		a->room = room;
	}
	int64_t now = clock_wall_s();
	bool dated = a->item.has_date;
	a->messages[a->count++] = (struct append_message){
	    .draft = a->draft,
	    .flags = a->item.flags,
	    .keywords = a->item.keywords,
	    .keyword_count = a->item.keyword_count,
	    .internaldate_s = dated ? a->item.date_s : now,
	    .internaldate_zone_min =
		(int16_t)(dated ? a->item.zone_min : date_local_zone_min(now)),
	};
	a->draft = NULL;
	return true;
}

static void
message_complete(struct imap_session *s, struct imap_append *a)
{
	if (a->failed)
		return;
	if (body_draft_size(a->draft) <= SEAL_INLINE_MAX) {
		enum status status = body_draft_seal(a->draft);
		if (status != STATUS_OK) {
			append_fail_status(a, status);
			return;
		}
	}
	if (!message_push(s, a))
		append_fail_status(a, STATUS_LIMIT);
}

static void
take_bytes(struct imap_append *a, struct slice bytes)
{
	if (a->failed)
		return;
	if (!a->binary && memchr(bytes.ptr, '\0', bytes.len)) {
		append_fail(a, IMAP_BAD, NULL, "NUL is only allowed in a literal8");
		return;
	}
	enum status status = body_draft_append(a->draft, bytes);
	if (status != STATUS_OK)
		append_fail_status(a, status);
}

bool
imap_append_input(struct imap_session *s)
{
	struct imap_append *a = s->append;
	struct slice in = conn_input(s->conn);

	if (in.len > a->left)
		in.len = (size_t)a->left;
	if (in.len == 0 && a->left > 0)
		return false;
	if (in.len > 0)
		take_bytes(a, in);
	conn_consume(s->conn, in.len);
	a->left -= in.len;
	if (a->left > 0)
		return false;
	message_complete(s, a);
	a->from = framer_imap_frame(&s->framer).len;
	s->phase = IMAP_PHASE_COMMAND;
	return true;
}

/* ---- the end of the command ---- */

static enum cmd_result
append_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_append *a = s->append;
	struct buf code;

	if (a->op.op.status == STATUS_NOT_FOUND)
		return imap_cmd_finish(s, cmd, IMAP_NO, "TRYCREATE", "no such mailbox");
	if (a->op.op.status == STATUS_LIMIT)
		return imap_cmd_finish(s, cmd, IMAP_NO, "LIMIT",
		    "too many keywords or messages in the mailbox");
	if (a->op.op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, a->op.op.status);
	uint32_t *uids = ARENA_ARRAY(imap_arena(s), uint32_t, a->count);
	for (size_t i = 0; uids && i < a->count; i++)
		uids[i] = a->messages[i].uid;
	stats_add(s->worker->stats->appended, a->count);
	if (!uids)
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "APPEND completed");
	buf_init(&code, IMAP_FRAME_MAX);
	buf_append_format(&code, "APPENDUID %u ", a->op.out_uidvalidity);
	imap_seqset_write(&code, uids, a->count);
	enum cmd_result result =
	    imap_cmd_finish_code(s, cmd, IMAP_OK, buf_slice(&code), "APPEND completed");
	buf_fini(&code);
	return result;
}

static enum cmd_result
append_submit(struct imap_session *s, struct imap_append *a)
{
	a->op.account = s->account;
	a->op.mailbox = a->mailbox;
	a->op.messages = a->messages;
	a->op.message_count = a->count;
	imap_op_begin(s, &a->op.op);
	s->resume = append_done;
	append_op_submit(imap_reader(s), &a->op);
	return CMD_WAIT;
}

/* On the pool: only the draft is touched. */
static void
seal_work(void *arg)
{
	struct imap_append *a = ((struct imap_session *)arg)->append;

	a->seal.status = body_draft_seal(a->seal.draft);
}

static void
seal_done(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	s->ops_pending--;
	imap_resume(s);
}

/* Indexes the large messages one after the other, then submits. */
static enum cmd_result
seal_rest(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_append *a = s->append;

	if (a->seal.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, a->seal.status);
	for (; a->sealed < a->count; a->sealed++) {
		struct body_draft *draft = a->messages[a->sealed].draft;
		if (body_draft_size(draft) <= SEAL_INLINE_MAX)
			continue;
		a->seal.draft = draft;
		a->sealed++;
		s->resume = seal_rest;
		s->ops_pending++;
		loop_work(s->worker->loop, seal_work, seal_done, s);
		return CMD_WAIT;
	}
	return append_submit(s, a);
}

enum cmd_result
imap_append_end(struct imap_session *s, const char *fault_text)
{
	struct imap_append *a = s->append;
	struct imap_append_item item;
	struct parse_fault fault;

	if (fault_text)
		append_fail(a, IMAP_BAD, NULL, fault_text);
	else if (imap_append_parse(framer_imap_frame(&s->framer), a->from, false,
		     a->item.utf8, imap_arena(s), &a->head, &item,
		     &fault) != IMAP_APPEND_END)
		append_fail(a, IMAP_BAD, NULL, fault.text);
	if (a->failed)
		return append_refuse(s, a);
	return seal_rest(s, s->cmd);
}

/* Only for an APPEND without a literal, which imap_parse_append refuses before. */
enum cmd_result
imap_run_append(struct imap_session *s, struct imap_command *cmd)
{
	return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "expected a message literal");
}
