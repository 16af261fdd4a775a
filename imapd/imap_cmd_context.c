/*
 * CANCELUPDATE (RFC 5267 section 4.3.5): searches of these tags are not kept up to date
 * any more.  Every tag that is known is taken; one that is not makes the reply NO.
 *
 * Thread: the worker's loop.
 */
#include "imapd/imap_context.h"

enum parse_result
imap_parse_cancelupdate(struct imap_lex *lex, struct arena *arena,
    struct imap_command *cmd, struct parse_fault *fault)
{
	struct imap_cancel_args *args = arena_alloc(arena, sizeof(*args));

	if (args)
		args->tags = ARENA_ARRAY(arena, struct slice, IMAP_CANCEL_TAGS_MAX);
	if (!args || !args->tags)
		(void)imap_lex_limit(lex, "command is too large");
	else if (imap_lex_space(lex))
		do {
			if (args->count == IMAP_CANCEL_TAGS_MAX)
				(void)imap_lex_limit(lex, "too many tags");
			else
				(void)imap_lex_string(lex, &args->tags[args->count++]);
		} while (imap_lex_try_space(lex));
	cmd->u.cancel = args;
	return imap_lex_result(lex, fault);
}

enum cmd_result
imap_run_cancelupdate(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_cancel_args *args = cmd->u.cancel;
	bool unknown = false;

	for (size_t i = 0; i < args->count; i++)
		unknown |= !imap_context_cancel(s, args->tags[i]);
	if (unknown)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, NULL, "no search of that tag is kept up to date");
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "no further updates");
}
