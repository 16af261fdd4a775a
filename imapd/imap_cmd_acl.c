/*
 * SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 section 3).
 *
 * Identifiers are logins (without "@": of the session's own domain), "anyone" and
 * "authenticated", which both mean every account of the owner's domain, and each of them
 * with "-" before it for rights that are taken away.  The owner has every right and keeps
 * it.  Who may not see a mailbox is told that there is none (section 6).
 *
 * Thread: the worker's loop.
 */
#include "auth/credential.h"
#include "imapd/imap_int.h"
#include "imapd/imap_lex.h"

/* ---- parsing ---- */

enum parse_result
imap_parse_getacl(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex))
		imap_lex_astring(lex, &cmd->u.acl.mailbox);
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_listrights(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	(void)arena;
	if (imap_lex_space(lex) && imap_lex_astring(lex, &cmd->u.acl.mailbox) &&
	    imap_lex_space(lex))
		imap_lex_astring(lex, &cmd->u.acl.identifier);
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_setacl(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	enum parse_result result = imap_parse_listrights(lex, arena, cmd, fault);
	if (result == PARSE_DONE && imap_lex_space(lex))
		imap_lex_astring(lex, &cmd->u.acl.rights);
	return imap_lex_result(lex, fault);
}

/* ---- what the commands have in common ---- */

/* The command's mailbox, with any of the rights.  False: *out_result is returned. */
static bool
box_find(struct imap_session *s, struct imap_command *cmd, uint16_t any,
    struct imap_box *out, enum cmd_result *out_result)
{
	struct slice path;
	const char *text;

	if (!imap_mailbox_decode(s, cmd->u.acl.mailbox, &path, &text)) {
		*out_result = imap_name_refused(s, cmd, text);
		return false;
	}
	enum status status = imap_box_find_any(s, path, any, out);
	if (status != STATUS_OK)
		*out_result = imap_cmd_fail(s, cmd, status);
	return status == STATUS_OK;
}

enum who_result {
	WHO_OK,
	WHO_BAD,     /* nothing is left by SASLprep */
	WHO_UNKNOWN, /* no account that may be shared with */
};

static enum who_result
identifier_read(struct imap_session *s, struct slice text, struct acl_entry *out)
{
	AUTO_BUF struct buf prepared;
	struct slice login;

	buf_init(&prepared, IMAP_LITERAL_MAX);
	if (!saslprep(text, &prepared) || !buf_ok(&prepared))
		return WHO_BAD;
	acl_who_read(buf_slice(&prepared), out, &text);
	if (text.len == 0)
		return WHO_BAD;
	if (out->who != ACL_WHO_ACCOUNT)
		return WHO_OK;
	if (slice_index(text, '@') == SIZE_MAX) {
		struct slice own = slice_from_cstr(s->login);
		text = arena_format(imap_arena(s), "%.*s%.*s", SLICE_ARG(text),
		    SLICE_ARG(slice_from(own, slice_rindex(own, '@'))));
	}
	return text.ptr && imap_box_account(s, text, &out->id, &login) == STATUS_OK
	           ? WHO_OK
	           : WHO_UNKNOWN;
}

static enum cmd_result
identifier_refused(struct imap_session *s, struct imap_command *cmd, enum who_result why)
{
	if (why == WHO_BAD)
		return imap_cmd_finish(
		    s, cmd, IMAP_BAD, NULL, "this cannot be an identifier");
	return imap_cmd_finish(s, cmd, IMAP_NO, NULL,
	    "there is no such account, or none that may be shared with");
}

static bool
is_owner(const struct imap_box *box, const struct acl_entry *entry)
{
	return entry->who == ACL_WHO_ACCOUNT &&
	       imap_same_account(entry->id, box->account);
}

static struct slice
owner_login(const struct imap_session *s, const struct imap_box *box)
{
	return imap_box_is_own(box) ? slice_from_cstr(s->login) : box->owner;
}

/* ---- SETACL, DELETEACL ---- */

static enum cmd_result
set_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct acl_op *op = s->cmd_data;

	if (op->op.status == STATUS_LIMIT)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "LIMIT", "too many entries in the list");
	if (op->op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, op->op.status);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "done");
}

enum cmd_result
imap_run_setacl(struct imap_session *s, struct imap_command *cmd)
{
	struct acl_op *op = ARENA_NEW(imap_arena(s), struct acl_op);
	struct imap_box box;
	enum cmd_result result;

	if (!box_find(s, cmd, ACL_ADMIN, &box, &result))
		return result;
	enum who_result who = identifier_read(s, cmd->u.acl.identifier, &op->entry);
	if (who != WHO_OK)
		return identifier_refused(s, cmd, who);
	/* DELETEACL has no rights, which leaves none. */
	if (!acl_change_read(cmd->u.acl.rights, &op->mode, &op->entry.rights))
		return imap_cmd_finish(
		    s, cmd, IMAP_BAD, NULL, "the rights are of lrswipkxtea, c and d");
	if (is_owner(&box, &op->entry))
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "CANNOT", "the owner has all rights, always");
	struct slice owner = owner_login(s, &box);
	op->account = box.account;
	op->mailbox = box.info.number;
	op->domain = slice_from(owner, slice_rindex(owner, '@') + 1);
	s->cmd_data = op;
	s->resume = set_done;
	imap_op_begin(s, &op->op);
	acl_op_submit(imap_reader(s), op);
	return CMD_WAIT;
}

/* ---- GETACL ---- */

static void
write_head(struct imap_session *s, const char *response, struct slice name)
{
	buf_append_format(imap_out(s), "* %s ", response);
	imap_resp_mailbox(imap_out(s), name, imap_is_utf8(s));
}

static void
write_pair(struct imap_session *s, bool negative, struct slice name, uint16_t rights)
{
	struct buf *out = imap_out(s);
	char text[ACL_RIGHTS_TEXT_MAX];
	struct slice identifier =
	    negative ? arena_format(imap_arena(s), "-%.*s", SLICE_ARG(name)) : name;

	acl_rights_write(rights, text);
	buf_append_byte(out, ' ');
	imap_resp_astring(out, identifier, imap_is_utf8(s));
	buf_append_byte(out, ' ');
	imap_resp_astring(out, slice_from_cstr(text), false);
}

enum cmd_result
imap_run_getacl(struct imap_session *s, struct imap_command *cmd)
{
	struct acl *acl = ARENA_NEW(imap_arena(s), struct acl);
	struct imap_box box;
	enum cmd_result result;

	if (!box_find(s, cmd, ACL_ADMIN, &box, &result))
		return result;
	enum status status = acl_get(imap_reader(s), box.account, box.info.number, acl);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	write_head(s, "ACL", box.info.name);
	write_pair(s, false, owner_login(s, &box), ACL_ALL);
	for (size_t i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->at[i];
		struct directory_account account = {.login = SLICE("anyone")};
		if (e->who == ACL_WHO_AUTHENTICATED)
			account.login = SLICE("authenticated");
		/* An account that has been removed is no longer worth a word. */
		if (e->who == ACL_WHO_ACCOUNT &&
		    directory_account_by_id(imap_reader(s), e->id, &account) != STATUS_OK)
			continue;
		write_pair(s, e->negative, account.login, e->rights);
	}
	buf_append(imap_out(s), SLICE("\r\n"));
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "GETACL completed");
}

/* ---- LISTRIGHTS ---- */

enum cmd_result
imap_run_listrights(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_box box;
	struct acl_entry entry;
	enum cmd_result result;
	char all[ACL_RIGHTS_TEXT_MAX];

	if (!box_find(s, cmd, ACL_ADMIN, &box, &result))
		return result;
	enum who_result who = identifier_read(s, cmd->u.acl.identifier, &entry);
	if (who != WHO_OK)
		return identifier_refused(s, cmd, who);
	write_head(s, "LISTRIGHTS", box.info.name);
	buf_append_byte(imap_out(s), ' ');
	imap_resp_astring(imap_out(s), cmd->u.acl.identifier, imap_is_utf8(s));
	acl_rights_write(ACL_ALL, all);
	if (is_owner(&box, &entry)) {
		buf_append_format(imap_out(s), " %s", all);
	} else {
		/* No right is tied to another; c and d are virtual (section 2.1.1). */
		buf_append(imap_out(s), SLICE(" \"\""));
		for (size_t i = 0; all[i]; i++)
			buf_append_format(imap_out(s), " %c", all[i]);
	}
	buf_append(imap_out(s), SLICE("\r\n"));
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "LISTRIGHTS completed");
}

/* ---- MYRIGHTS ---- */

void
imap_write_myrights(struct imap_session *s, struct slice name, uint16_t rights)
{
	char text[ACL_RIGHTS_TEXT_MAX];

	acl_rights_write(rights, text);
	write_head(s, "MYRIGHTS", name);
	buf_append_byte(imap_out(s), ' ');
	imap_resp_astring(imap_out(s), slice_from_cstr(text), false);
	buf_append(imap_out(s), SLICE("\r\n"));
}

enum cmd_result
imap_run_myrights(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_box box;
	enum cmd_result result;

	if (!box_find(s, cmd, IMAP_BOX_ANY, &box, &result))
		return result;
	imap_write_myrights(s, box.info.name, box.rights);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "MYRIGHTS completed");
}
