/*
 * GETMETADATA and SETMETADATA.
 *
 * A SETMETADATA is one store op: all of its entries or none.  The server's shared entries
 * are the operator's (configuration), so setting them is refused; its private ones belong
 * to the account.
 *
 * Thread: the worker's loop.  RFC 5464 sections 4.2 and 4.3, RFC 6154 section 4.
 */
#include "imapd/imap_metadata.h"

#include "imapd/imap_int.h"

/* ---- the mailbox ---- */

/* False: *out_result is what the run function returns.  *out_server with "". */
static bool
target_find(struct imap_session *s, struct imap_command *cmd, struct imap_box *out,
    bool *out_server, enum cmd_result *out_result)
{
	struct slice name;
	const char *text;

	*out_server = cmd->u.metadata->mailbox.len == 0;
	if (*out_server)
		return true;
	if (!imap_mailbox_decode(s, cmd->u.metadata->mailbox, &name, &text)) {
		*out_result = imap_name_refused(s, cmd, text);
		return false;
	}
	/* RFC 5464 section 3.3. */
	enum status status = imap_box_find_any(
	    s, name, ACL_READ | ACL_SEEN | ACL_WRITE | ACL_INSERT | ACL_POST, out);
	if (status == STATUS_OK && !(out->rights & ACL_LOOKUP))
		status = STATUS_NOT_FOUND;
	if (status != STATUS_OK)
		*out_result = imap_cmd_fail(s, cmd, status);
	return status == STATUS_OK;
}

/* ---- GETMETADATA ---- */

enum cmd_result
imap_run_getmetadata(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_box box;
	bool server;
	enum cmd_result result;
	uint64_t longest;

	if (!target_find(s, cmd, &box, &server, &result))
		return result;
	enum status status = imap_metadata_write(s, server ? s->account : box.account,
	    server ? NULL : &box.info, cmd->u.metadata, &longest);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	if (longest == 0)
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "GETMETADATA completed");
	struct slice code = arena_format(
	    imap_arena(s), "METADATA LONGENTRIES %llu", (unsigned long long)longest);
	return imap_cmd_finish_code(s, cmd, IMAP_OK, code, "GETMETADATA completed");
}

/* ---- SETMETADATA ---- */

enum cmd_result
imap_metadata_too_large(struct imap_session *s, struct imap_command *cmd)
{
	struct slice code =
	    arena_format(imap_arena(s), "METADATA MAXSIZE %d", METADATA_VALUE_MAX);
	return imap_cmd_finish_code(s, cmd, IMAP_NO, code, "the value is too large");
}

static enum cmd_result
set_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct metadata_op *op = s->cmd_data;

	if (op->op.status == STATUS_LIMIT)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "METADATA TOOMANY", "too many annotations");
	if (op->op.status == STATUS_EXISTS)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "USEATTR", "another mailbox has this use");
	if (op->op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, op->op.status);
	imap_metadata_tell(s, op);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "SETMETADATA completed");
}

/* "\Drafts \Sent", or NIL for none. */
static bool
uses_parse(struct slice value, uint32_t *out)
{
	*out = MAILBOX_USE_NONE;
	while (value.len > 0) {
		struct slice word = slice_split(&value, ' ');
		uint32_t use = word.len > 1 && word.ptr[0] == '\\'
		                   ? imap_parse_use_name(slice_from(word, 1))
		                   : 0;
		if (word.len > 0 && use == 0)
			return false;
		*out |= use;
	}
	return true;
}

enum cmd_result
imap_run_setmetadata(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_metadata_args *args = cmd->u.metadata;
	struct metadata_op *op = ARENA_NEW(imap_arena(s), struct metadata_op);
	struct metadata_change *changes =
	    ARENA_ARRAY(imap_arena(s), struct metadata_change, args->count);
	struct imap_box box;
	bool server;
	enum cmd_result result;

	if (!changes)
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	if (!target_find(s, cmd, &box, &server, &result))
		return result;
	*op = (struct metadata_op){
	    .account = server ? s->account : box.account,
	    .mailbox = server ? METADATA_ACCOUNT : box.info.number,
	    .user = s->account,
	    .changes = changes,
	};
	for (size_t i = 0; i < args->count; i++) {
		const struct imap_metadata_entry *entry = &args->entries[i];
		if (entry->value.len > METADATA_VALUE_MAX)
			return imap_metadata_too_large(s, cmd);
		if (server && entry->shared)
			return imap_cmd_finish(s, cmd, IMAP_NO, "NOPERM",
			    "the server's shared entries are set by the administrator");
		bool own = server || imap_box_is_own(&box);
		if (!own && entry->shared && !(box.rights & ACL_WRITE))
			return imap_cmd_fail(s, cmd, STATUS_DENIED);
		if (!server && slice_equal(entry->name, SLICE("/private/specialuse"))) {
			if (!own)
				return imap_cmd_finish(s, cmd, IMAP_NO, "USEATTR",
				    "only the owner may give it a use");
			op->set_use = true;
			if (!uses_parse(entry->value, &op->use))
				return imap_cmd_finish(s, cmd, IMAP_NO, "USEATTR",
				    "this special use is not known here");
			continue;
		}
		changes[op->count++] = (struct metadata_change){
		    .shared = entry->shared, .entry = entry->name, .value = entry->value};
	}
	s->cmd_data = op;
	s->resume = set_done;
	imap_op_begin(s, &op->op);
	metadata_op_submit(imap_reader(s), op);
	return CMD_WAIT;
}
