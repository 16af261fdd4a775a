/*
 * APPEND, MULTIAPPEND and REPLACE, with CATENATE: message literals flow from the
 * connection into drafts; when the command is complete they become one op, all or none.
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
#include "imapd/imap_append_parse.h"
#include "imapd/imap_limit.h"
#include "imapd/imap_url_part.h"
#include "text/date.h"

enum { SEAL_INLINE_MAX = 128 * 1024 }; /* octets indexed on the loop's thread */

struct imap_append {
	struct imap_append_reader reader; /* its head's and item's texts are copies */
	struct imap_box box;              /* where it goes */
	struct append_message *messages;
	size_t count, room;
	struct body_draft *draft; /* of the message that comes now */
	uint64_t left;            /* octets of its literal still to come */
	uint64_t total;           /* octets of all messages */
	uint64_t message_size;    /* octets of this one, as announced so far */
	uint64_t limit;           /* octets of one */
	uint64_t freed;           /* octets of what REPLACE takes away */
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
append_new(struct imap_session *s, const struct imap_append_reader *reader)
{
	struct imap_append *a = ARENA_NEW(imap_arena(s), struct imap_append);
	struct imap_command *cmd = s->cmd ? s->cmd : imap_command_new(s);
	bool replace = reader->head.replace;

	cmd->name = replace ? SLICE("REPLACE") : SLICE("APPEND");
	cmd->row = imap_cmd_find(cmd->name);
	cmd->uid = reader->head.uid;
	cmd->tag = arena_copy(imap_arena(s), reader->head.tag);
	a->limit = imap_conf(s)->imap.max_append_size;
	a->reader = *reader;
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

/* ---- a message is complete ---- */

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
	bool dated = a->reader.item.has_date;
	a->messages[a->count++] = (struct append_message){
	    .draft = a->draft,
	    .flags = a->reader.item.flags,
	    .keywords = a->reader.item.keywords,
	    .keyword_count = a->reader.item.keyword_count,
	    .internaldate_s = dated ? a->reader.item.date_s : now,
	    .internaldate_zone_min =
		(int16_t)(dated ? a->reader.item.zone_min : date_local_zone_min(now)),
	};
	a->draft = NULL;
	return true;
}

static void
message_complete(struct imap_session *s, struct imap_append *a)
{
	if (a->failed)
		return;
	if (body_draft_size(a->draft) == 0) {
		append_fail(a, IMAP_NO, NULL, "empty message: nothing is appended");
		return;
	}
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

/* ---- what the text says ---- */

static void
check_mailbox(struct imap_session *s, struct imap_append *a)
{
	struct slice path;
	const char *text;

	if (!imap_mailbox_decode(s, a->reader.head.mailbox, &path, &text)) {
		append_fail(a, IMAP_NO, "CANNOT", text);
		return;
	}
	enum status status = imap_box_find(s, path, ACL_INSERT, &a->box);
	if (status == STATUS_NOT_FOUND)
		append_fail(a, IMAP_NO, "TRYCREATE", "no such mailbox");
	else if (status != STATUS_OK)
		append_fail_status(a, status);
}

/* REPLACE: the message that goes (RFC 8508 section 3.4). */
static void
check_replaced(struct imap_session *s, struct imap_append *a)
{
	const struct imap_append_head *head = &a->reader.head;
	struct message_record record;

	if (s->state != IMAP_STATE_SELECTED) {
		append_fail(a, IMAP_BAD, NULL, "not in this state");
		return;
	}
	if (imap_is_uidonly(s) && !a->reader.head.uid) {
		append_fail(
		    a, IMAP_BAD, "UIDREQUIRED", "message numbers are not used any more");
		return;
	}
	if (s->read_only) {
		append_fail(a, IMAP_NO, NULL, "the mailbox was opened read-only");
		return;
	}
	/* As MOVE (RFC 6851 section 4.4); one commit cannot hold two accounts. */
	if ((s->rights & (ACL_TRASH | ACL_EXPUNGE)) != (ACL_TRASH | ACL_EXPUNGE)) {
		append_fail_status(a, STATUS_DENIED);
		return;
	}
	if (!imap_same_account(a->box.account, s->box_account)) {
		append_fail(a, IMAP_NO, "CANNOT",
		    "a message cannot be replaced in another account");
		return;
	}
	uint32_t exists = mailbox_view_count(s->view);
	uint32_t msn = head->number == IMAP_REPLACE_LAST ? exists : head->number;
	if (head->uid && head->number != IMAP_REPLACE_LAST)
		msn = mailbox_view_msn(s->view, head->number);
	if (!head->uid && (msn == 0 || msn > exists)) {
		append_fail(a, IMAP_BAD, NULL, "there is no message with that number");
		return;
	}
	uint32_t uid = msn ? mailbox_view_uid(s->view, msn) : 0;
	if (uid == 0 || message_get(imap_reader(s), s->box_account, s->mailbox, uid,
			    &record) != STATUS_OK) {
		append_fail(a, IMAP_NO, "NONEXISTENT", "the message does not exist");
		return;
	}
	a->freed = record.size;
	a->op.replaced_mailbox = s->mailbox;
	a->op.replaced_uid = uid;
}

/* `size` more octets of the message that comes now. */
static void
check_size(struct imap_session *s, struct imap_append *a, uint64_t size)
{
	struct account_usage usage;

	a->total += size;
	a->message_size += size;
	if (size == 0 && !a->reader.item.catenate)
		/* How a client takes a MULTIAPPEND back (RFC 3502 section 6.3.11). */
		append_fail(a, IMAP_NO, NULL, "empty message: nothing is appended");
	else if (a->message_size > a->limit)
		append_fail(a, IMAP_NO, "TOOBIG", "message larger than APPENDLIMIT");
	else if (a->count >= imap_limit_saving(s)) /* RFC 9738 section 3.1 */
		append_fail(a, IMAP_NO, imap_limit_code(s, imap_limit_saving(s), 0).ptr,
		    "too many messages in one APPEND, nothing is appended");
	else if (a->count >= IMAP_APPEND_MESSAGES_MAX ||
		 a->total > a->limit * IMAP_APPEND_TOTAL_FACTOR)
		append_fail(
		    a, IMAP_NO, "LIMIT", "too much in one APPEND, send fewer at once");
	else if (account_usage_get(imap_reader(s), a->box.account, &usage) == STATUS_OK &&
		 account_usage_is_passed(&usage,
		     a->total > a->freed ? a->total - a->freed : 0,
		     a->count + 1 - (a->op.replaced_uid != 0)))
		append_fail_status(a, STATUS_QUOTA);
}

/* What is kept must not borrow the frame, which grows and moves. */
static void
head_read(struct imap_session *s, struct imap_append *a)
{
	struct imap_append_head *head = &a->reader.head;

	head->mailbox = arena_copy(imap_arena(s), head->mailbox);
	head->tag = s->cmd->tag;
	check_mailbox(s, a);
	if (head->replace)
		check_replaced(s, a);
}

static void
item_read(struct imap_session *s, struct imap_append *a)
{
	struct imap_append_item *item = &a->reader.item;

	for (size_t i = 0; i < item->keyword_count; i++)
		item->keywords[i] = arena_copy(imap_arena(s), item->keywords[i]);
	if (item->utf8 && !(s->enabled & IMAP_ENABLED_UTF8))
		append_fail(a, IMAP_BAD, NULL, "ENABLE UTF8=ACCEPT first");
	a->message_size = 0;
	if (!a->failed)
		a->draft = body_draft_new(store_reader_store(imap_reader(s)), a->limit);
}

/* The octets that the URL means become the message's next ones. */
static void
url_read(struct imap_session *s, struct imap_append *a)
{
	struct imap_url_part part;

	if (a->failed)
		return;
	enum status status = imap_url_part_open(s, a->reader.url, imap_arena(s), &part);
	if (status != STATUS_OK) {
		struct slice code = imap_url_bad_code(a->reader.url, imap_arena(s));
		append_fail(a, IMAP_NO, code.ptr, "this URL names nothing here");
		return;
	}
	check_size(s, a, part.bytes.len);
	if (!a->failed) {
		status = body_draft_append(a->draft, part.bytes);
		if (status != STATUS_OK)
			append_fail_status(a, status);
	}
	imap_url_part_close(&part);
}

static enum cmd_result
append_refuse(struct imap_session *s, struct imap_append *a)
{
	return imap_cmd_finish(s, s->cmd, a->why.reply, a->why.code, a->why.text);
}

/* Reads on to where a literal is wanted or the text ends. */
static enum imap_append_step
advance(struct imap_session *s, struct imap_append *a, bool at_literal)
{
	struct parse_fault fault;

	while (!a->failed) {
		enum imap_append_step step = imap_append_next(&a->reader,
		    framer_imap_frame(&s->framer), at_literal, imap_arena(s), &fault);
		switch (step) {
		case IMAP_APPEND_HEAD:
			head_read(s, a);
			break;
		case IMAP_APPEND_BEGIN:
			item_read(s, a);
			break;
		case IMAP_APPEND_URL:
			url_read(s, a);
			break;
		case IMAP_APPEND_CLOSE:
			message_complete(s, a);
			break;
		case IMAP_APPEND_BAD:
			append_fail(a, IMAP_BAD, NULL, fault.text);
			break;
		case IMAP_APPEND_NOT:
		case IMAP_APPEND_STRING:
		case IMAP_APPEND_BYTES:
		case IMAP_APPEND_END:
			return step;
		}
	}
	return IMAP_APPEND_BAD;
}

/* The first look at a command: its name and mailbox.  Null: it is not one of these, or
 * the mailbox's name is the literal that comes. */
static struct imap_append *
append_begin(struct imap_session *s, bool at_literal)
{
	struct imap_append_reader reader = {.pos = 0};
	struct parse_fault fault;

	enum imap_append_step step = imap_append_next(
	    &reader, framer_imap_frame(&s->framer), at_literal, imap_arena(s), &fault);
	if (step != IMAP_APPEND_HEAD && step != IMAP_APPEND_BAD)
		return NULL;
	struct imap_append *a = append_new(s, &reader);
	if (step == IMAP_APPEND_BAD)
		append_fail(a, IMAP_BAD, NULL, fault.text);
	else
		head_read(s, a);
	return a;
}

bool
imap_append_literal(struct imap_session *s)
{
	struct framer_imap *f = &s->framer;

	if (!s->login || (!s->append && !append_begin(s, true)))
		return false;
	struct imap_append *a = s->append;
	enum imap_append_step step = advance(s, a, true);
	if (step == IMAP_APPEND_STRING && f->literal_size <= IMAP_LITERAL_MAX)
		return false;
	if (step == IMAP_APPEND_STRING)
		append_fail(a, IMAP_BAD, NULL, "literal too large");
	if (step == IMAP_APPEND_BYTES)
		check_size(s, a, f->literal_size);
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
	if (f->literal_sync)
		buf_append(imap_out(s), SLICE("+ ready for the message\r\n"));
	framer_imap_stream(f);
	s->phase = IMAP_PHASE_APPEND;
	return true;
}

/* ---- its octets ---- */

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
	s->phase = IMAP_PHASE_COMMAND;
	return true;
}

/* ---- the end of the command ---- */

static struct slice
appenduid_code(struct imap_session *s, const struct imap_append *a)
{
	uint32_t *uids = ARENA_ARRAY(imap_arena(s), uint32_t, a->count);
	AUTO_BUF struct buf code;

	buf_init(&code, IMAP_FRAME_MAX);
	if (!uids)
		return SLICE_NULL;
	for (size_t i = 0; i < a->count; i++)
		uids[i] = a->messages[i].uid;
	buf_append_format(&code, "APPENDUID %u ", a->op.out_uidvalidity);
	imap_seqset_write(&code, uids, a->count);
	return buf_ok(&code) ? arena_copy(imap_arena(s), buf_slice(&code)) : SLICE_NULL;
}

/* APPENDUID goes before the EXPUNGE (RFC 8508 section 4.3), HIGHESTMODSEQ at the end
 * (RFC 7162 section 3.2.10). */
static enum cmd_result
replace_done(struct imap_session *s, struct imap_command *cmd, struct slice appenduid)
{
	struct slice code = SLICE_NULL;

	if (appenduid.ptr) {
		struct buf *out = imap_out(s);
		buf_append(out, SLICE("* OK ["));
		buf_append(out, appenduid);
		buf_append(out, SLICE("] the new message is here\r\n"));
	}
	if (s->enabled & IMAP_ENABLED_QRESYNC)
		code = arena_format(imap_arena(s), "HIGHESTMODSEQ %llu",
		    (unsigned long long)s->append->op.out_replaced_modseq);
	return imap_cmd_finish_code(s, cmd, IMAP_OK, code, "REPLACE completed");
}

static enum cmd_result
append_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_append *a = s->append;

	if (a->op.op.status == STATUS_NOT_FOUND)
		return imap_cmd_finish(s, cmd, IMAP_NO, "TRYCREATE", "no such mailbox");
	if (a->op.op.status == STATUS_CONFLICT)
		return imap_cmd_finish(s, cmd, IMAP_NO, "EXPUNGEISSUED",
		    "the message to be replaced has been deleted");
	if (a->op.op.status == STATUS_LIMIT)
		return imap_cmd_finish(s, cmd, IMAP_NO, "LIMIT",
		    "too many keywords or messages in the mailbox");
	if (a->op.op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, a->op.op.status);
	stats_add(s->worker->stats->appended, a->count);
	if (imap_is_selected(s, a->box.account, a->op.out_mailbox))
		imap_notify_own(s, a->op.out_mailbox, a->messages[0].uid,
		    a->messages[a->count - 1].uid);
	struct slice code = appenduid_code(s, a);
	if (a->reader.head.replace)
		return replace_done(s, cmd, code);
	return imap_cmd_finish_code(s, cmd, IMAP_OK, code, "APPEND completed");
}

static enum cmd_result
append_submit(struct imap_session *s, struct imap_append *a)
{
	bool keywords;
	uint8_t allowed = imap_box_flags(a->box.rights, &keywords);

	/* Flags that may not be set there are left out (RFC 4314 section 4). */
	for (size_t i = 0; i < a->count; i++) {
		a->messages[i].flags &= allowed;
		if (!keywords)
			a->messages[i].keyword_count = 0;
	}
	a->op.account = a->box.account;
	a->op.mailbox = a->box.name;
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
		imap_pool_begin(s, seal_work);
		return CMD_WAIT;
	}
	return append_submit(s, a);
}

enum cmd_result
imap_append_end(struct imap_session *s, const char *fault_text)
{
	struct imap_append *a = s->append;

	if (fault_text)
		append_fail(a, IMAP_BAD, NULL, fault_text);
	(void)advance(s, a, false);
	if (a->failed)
		return append_refuse(s, a);
	return seal_rest(s, s->cmd);
}

/* One without any literal: all its parts are URLs, or it is wrong. */
enum cmd_result
imap_run_append(struct imap_session *s, struct imap_command *cmd)
{
	if (!append_begin(s, false))
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "expected a mailbox");
	return imap_append_end(s, NULL);
}
