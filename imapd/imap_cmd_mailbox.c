/*
 * CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS, and how a client's mailbox name
 * becomes the store's.
 *
 * Each change is one store op; the reply is written when it is committed.  Thread: the
 * worker's loop.
 *
 * RFC 9051 sections 5.1 and 6.3, RFC 3501 section 5.1.3 (modified UTF-7), RFC 6154
 * (CREATE-SPECIAL-USE), RFC 8474 (MAILBOXID), RFC 8438 (SIZE), RFC 7889 (APPENDLIMIT),
 * RFC 9208 (DELETED-STORAGE).
 */
#include "imapd/imap_int.h"

#include "text/encoding.h"

/* ---- names ---- */

bool
imap_mailbox_decode(
    struct imap_session *s, struct slice raw, struct slice *out, const char **out_text)
{
	struct arena *arena = imap_arena(s);
	struct slice name = raw;
	struct buf decoded;

	*out_text = NULL;
	buf_init(&decoded, IMAP_FRAME_MAX);
	if (imap_is_utf8(s)) {
		if (!utf8_is_valid(raw))
			*out_text = "the mailbox name is not valid UTF-8";
	} else if (mutf7_decode(raw, &decoded) && buf_ok(&decoded)) {
		name = buf_slice(&decoded);
	} else {
		*out_text = "the mailbox name is not valid modified UTF-7";
	}
	if (!*out_text) {
		enum status status = mailbox_name_check(name, arena, out);
		if (status == STATUS_LIMIT)
			*out_text = "the mailbox name is too long or too deep";
		else if (status != STATUS_OK)
			*out_text = "this cannot be a mailbox name";
		else /* it may borrow what is freed here */
			*out = arena_copy(arena, *out);
	}
	buf_fini(&decoded);
	return *out_text == NULL;
}

enum cmd_result
imap_name_refused(struct imap_session *s, struct imap_command *cmd, const char *text)
{
	return imap_cmd_finish(s, cmd, IMAP_NO, "CANNOT", text);
}

/* ---- changes ---- */

static struct mailbox_op *
change_new(struct imap_session *s, enum mailbox_change change, struct account_id account,
    struct slice name)
{
	struct mailbox_op *op = ARENA_NEW(imap_arena(s), struct mailbox_op);

	op->account = account;
	op->change = change;
	op->name = name;
	s->cmd_data = op;
	return op;
}

static enum cmd_result
change_submit(struct imap_session *s, struct mailbox_op *op, imap_run_fn resume)
{
	imap_op_begin(s, &op->op);
	s->resume = resume;
	mailbox_op_submit(imap_reader(s), op);
	return CMD_WAIT;
}

static enum cmd_result
create_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct mailbox_op *op = s->cmd_data;
	struct buf code;

	/* The name was looked up before: what exists already is the use. */
	if (op->op.status == STATUS_EXISTS && cmd->u.create.use != 0)
		return imap_cmd_finish(s, cmd, IMAP_NO, "USEATTR",
		    "another mailbox has this use, or the name is taken");
	if (op->op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, op->op.status);
	buf_init(&code, 64);
	buf_append(&code, SLICE("MAILBOXID ("));
	imap_write_mailboxid(s, &code, op->account, op->out.number);
	buf_append_byte(&code, ')');
	enum cmd_result result =
	    imap_cmd_finish_code(s, cmd, IMAP_OK, buf_slice(&code), "mailbox created");
	buf_fini(&code);
	return result;
}

/* Where a new mailbox of that name would be, when the session may make it. */
static enum status
new_place(struct imap_session *s, struct slice path, struct imap_box *out)
{
	enum status status = imap_box_place(s, path, out);

	/* The roots of namespaces, and accounts that are not there or share nothing, are
	 * answered alike. */
	if (status == STATUS_NOT_FOUND)
		return STATUS_DENIED;
	return status == STATUS_OK ? imap_box_may_create(s, out) : status;
}

enum cmd_result
imap_run_create(struct imap_session *s, struct imap_command *cmd)
{
	struct slice raw = cmd->u.create.mailbox;
	struct slice path;
	const char *text;
	struct imap_box box;

	/* "a/" says that a will have children (RFC 9051 section 6.3.4): all may. */
	if (raw.len > 1 && slice_has_suffix(raw, SLICE("/")))
		raw.len--;
	if (!imap_mailbox_decode(s, raw, &path, &text))
		return imap_name_refused(s, cmd, text);
	if (cmd->u.create.use_unknown)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "USEATTR", "this special use is not known here");
	if (imap_box_find_any(s, path, IMAP_BOX_ANY, &box) == STATUS_OK)
		return imap_cmd_fail(s, cmd, STATUS_EXISTS);
	enum status status = new_place(s, path, &box);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	if (!imap_box_is_own(&box) && cmd->u.create.use != 0)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "USEATTR", "only the owner may give it a use");
	struct mailbox_op *op = change_new(s, MAILBOX_CREATE, box.account, box.name);
	op->use = cmd->u.create.use;
	return change_submit(s, op, create_done);
}

static enum cmd_result
delete_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct mailbox_op *op = s->cmd_data;

	if (op->op.status == STATUS_DENIED)
		return imap_cmd_finish(s, cmd, IMAP_NO, "CANNOT", "INBOX stays");
	if (op->op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, op->op.status);
	struct mailbox_info info;
	if (s->view && mailbox_by_number(imap_reader(s), s->box_account, s->mailbox,
			   &info) == STATUS_NOT_FOUND) {
		buf_append(imap_out(s), SLICE("* OK [CLOSED] the mailbox is gone\r\n"));
		imap_deselect(s);
		imap_state_set(s, IMAP_STATE_AUTH);
	}
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "mailbox deleted");
}

enum cmd_result
imap_run_delete(struct imap_session *s, struct imap_command *cmd)
{
	struct slice name;
	const char *text;
	struct imap_box box;

	if (!imap_mailbox_decode(s, cmd->u.mailbox, &name, &text))
		return imap_name_refused(s, cmd, text);
	enum status status = imap_box_find(s, name, ACL_DELETE, &box);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	return change_submit(
	    s, change_new(s, MAILBOX_DELETE, box.account, box.name), delete_done);
}

static enum cmd_result
change_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct mailbox_op *op = s->cmd_data;

	if (op->op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, op->op.status);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "done");
}

enum cmd_result
imap_run_rename(struct imap_session *s, struct imap_command *cmd)
{
	struct slice from, to;
	const char *text;
	struct imap_box box, target;

	if (!imap_mailbox_decode(s, cmd->u.rename.from, &from, &text) ||
	    !imap_mailbox_decode(s, cmd->u.rename.to, &to, &text))
		return imap_name_refused(s, cmd, text);
	enum status status = imap_box_find(s, from, ACL_DELETE, &box);
	if (status == STATUS_OK)
		status = new_place(s, to, &target);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	if (!imap_same_account(box.account, target.account))
		return imap_name_refused(
		    s, cmd, "a mailbox cannot be moved to another account");
	/* INBOX would stay and only its messages would go: its owner's business. */
	if (!imap_box_is_own(&box) && slice_equal(box.name, SLICE("INBOX")))
		return imap_cmd_fail(s, cmd, STATUS_DENIED);
	struct mailbox_op *op = change_new(s, MAILBOX_RENAME, box.account, box.name);
	op->new_name = target.name;
	return change_submit(s, op, change_done);
}

enum cmd_result
imap_run_subscribe(struct imap_session *s, struct imap_command *cmd)
{
	struct slice name;
	const char *text;

	if (!imap_mailbox_decode(s, cmd->u.mailbox, &name, &text))
		return imap_name_refused(s, cmd, text);
	return change_submit(
	    s, change_new(s, MAILBOX_SUBSCRIBE, s->account, name), change_done);
}

static enum cmd_result
unsubscribe_done(struct imap_session *s, struct imap_command *cmd)
{
	struct mailbox_op *op = s->cmd_data;

	/* What the client wanted is so already. */
	if (op->op.status == STATUS_NOT_FOUND)
		op->op.status = STATUS_OK;
	return change_done(s, cmd);
}

enum cmd_result
imap_run_unsubscribe(struct imap_session *s, struct imap_command *cmd)
{
	struct slice name;
	const char *text;

	if (!imap_mailbox_decode(s, cmd->u.mailbox, &name, &text))
		return imap_name_refused(s, cmd, text);
	return change_submit(
	    s, change_new(s, MAILBOX_UNSUBSCRIBE, s->account, name), unsubscribe_done);
}

/* ---- ids ---- */

/* The beginning of the account's id, which is random. */
static void
account_mark(struct imap_session *s, struct buf *out, struct account_id account)
{
	if (imap_same_account(account, s->account))
		return;
	buf_append_byte(out, '-');
	for (size_t i = 1; i < 9; i++)
		buf_append_format(out, "%02x", account.v[i]);
}

void
imap_write_mailboxid(
    struct imap_session *s, struct buf *out, struct account_id account, uint32_t number)
{
	imap_resp_mailboxid(out, number);
	account_mark(s, out, account);
}

void
imap_write_emailid(struct imap_session *s, struct buf *out, uint64_t email_id)
{
	imap_resp_emailid(out, email_id);
	account_mark(s, out, s->box_account);
}

/* ---- STATUS ---- */

static uint64_t
count_recent(
    struct imap_session *s, struct account_id account, const struct mailbox_info *info)
{
	struct message_record record;
	uint64_t count = 0;

	uint32_t first = imap_recent_first(s, account, info->number, info->first_recent);
	if (first <= 1)
		return info->exists;
	if (first >= info->uidnext)
		return 0;
	struct message_cursor *cursor = message_cursor_open(
	    imap_reader(s), account, info->number, first, info->uidnext - 1);
	while (message_cursor_next(cursor, &record) == STATUS_OK)
		count++;
	message_cursor_close(&cursor);
	return count;
}

static uint64_t
sum_deleted(
    struct imap_session *s, struct account_id account, const struct mailbox_info *info)
{
	struct message_record record;
	uint64_t bytes = 0;

	if (info->deleted == 0 || info->uidnext <= 1)
		return 0;
	struct message_cursor *cursor = message_cursor_open(
	    imap_reader(s), account, info->number, 1, info->uidnext - 1);
	while (message_cursor_next(cursor, &record) == STATUS_OK)
		if (record.flags & MESSAGE_DELETED)
			bytes += record.size;
	message_cursor_close(&cursor);
	return bytes;
}

static void
status_number(struct buf *out, const char *name, uint64_t value, bool *first)
{
	if (!*first)
		buf_append_byte(out, ' ');
	*first = false;
	buf_append_cstr(out, name);
	buf_append_byte(out, ' ');
	buf_append_u64(out, value);
}

void
imap_write_status(struct imap_session *s, struct account_id account,
    const struct mailbox_info *info, unsigned items)
{
	struct buf *out = imap_out(s);
	bool first = true;

	buf_append(out, SLICE("* STATUS "));
	imap_resp_mailbox(out, info->name, imap_is_utf8(s));
	buf_append(out, SLICE(" ("));
	if (items & IMAP_STATUS_MESSAGES)
		status_number(out, "MESSAGES", info->exists, &first);
	if (items & IMAP_STATUS_RECENT)
		status_number(out, "RECENT", count_recent(s, account, info), &first);
	if (items & IMAP_STATUS_UIDNEXT)
		status_number(out, "UIDNEXT", info->uidnext, &first);
	if (items & IMAP_STATUS_UIDVALIDITY)
		status_number(out, "UIDVALIDITY", info->uidvalidity, &first);
	if (items & IMAP_STATUS_UNSEEN)
		status_number(out, "UNSEEN", info->unseen, &first);
	if (items & IMAP_STATUS_DELETED)
		status_number(out, "DELETED", info->deleted, &first);
	if (items & IMAP_STATUS_SIZE)
		status_number(out, "SIZE", info->bytes, &first);
	if (items & IMAP_STATUS_HIGHESTMODSEQ)
		status_number(out, "HIGHESTMODSEQ", info->modseq, &first);
	if (items & IMAP_STATUS_APPENDLIMIT)
		status_number(
		    out, "APPENDLIMIT", imap_conf(s)->imap.max_append_size, &first);
	if (items & IMAP_STATUS_DELETED_STORAGE)
		status_number(
		    out, "DELETED-STORAGE", sum_deleted(s, account, info), &first);
	if (items & IMAP_STATUS_MAILBOXID) {
		buf_append_cstr(out, first ? "MAILBOXID (" : " MAILBOXID (");
		imap_write_mailboxid(s, out, account, info->number);
		buf_append_byte(out, ')');
	}
	buf_append(out, SLICE(")\r\n"));
}

enum cmd_result
imap_run_status(struct imap_session *s, struct imap_command *cmd)
{
	struct slice name;
	const char *text;
	struct imap_box box;

	if (!imap_mailbox_decode(s, cmd->u.status.mailbox, &name, &text))
		return imap_name_refused(s, cmd, text);
	enum status status = imap_box_find(s, name, ACL_READ, &box);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	/* Asking for mod-sequences turns them on (RFC 7162 section 3.1). */
	if (cmd->u.status.items & IMAP_STATUS_HIGHESTMODSEQ)
		imap_condstore_on(s);
	imap_write_status(s, box.account, &box.info, cmd->u.status.items);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "STATUS completed");
}
