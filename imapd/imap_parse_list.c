/*
 * LIST with its selection and return options, and LSUB.
 *
 * Pure: text in, struct imap_list_args out.  Patterns stay as sent.
 *
 * RFC 9051 section 9, RFC 5258 (LIST-EXTENDED), RFC 5819 (STATUS in LIST), RFC 6154
 * (SPECIAL-USE), RFC 9590 (METADATA in LIST).
 */
#include "imapd/imap_cmd.h"
#include "imapd/imap_lex.h"
#include "imapd/imap_metadata_parse.h"
#include "imapd/imap_parse.h"

static void
parse_list_select(struct imap_lex *lex, struct imap_list_args *args)
{
	bool first = true;

	args->extended = true;
	while (imap_lex_ok(lex) && !imap_lex_try_char(lex, ')')) {
		if (!first && !imap_lex_space(lex))
			return;
		first = false;
		if (imap_lex_try_word(lex, SLICE("SUBSCRIBED")))
			args->select |= IMAP_LIST_SUBSCRIBED;
		else if (imap_lex_try_word(lex, SLICE("REMOTE")))
			args->select |= IMAP_LIST_REMOTE;
		else if (imap_lex_try_word(lex, SLICE("RECURSIVEMATCH")))
			args->select |= IMAP_LIST_RECURSIVEMATCH;
		else if (imap_lex_try_word(lex, SLICE("SPECIAL-USE")))
			args->select |= IMAP_LIST_SELECT_SPECIAL_USE;
		else
			imap_lex_bad(lex, "unknown LIST selection option");
	}
	/* RFC 5258 section 3: it needs another option that selects. */
	if ((args->select & IMAP_LIST_RECURSIVEMATCH) &&
	    !(args->select & (IMAP_LIST_SUBSCRIBED | IMAP_LIST_SELECT_SPECIAL_USE)))
		imap_lex_bad(lex, "RECURSIVEMATCH selects nothing by itself");
}

static void
parse_list_metadata(struct imap_lex *lex, struct imap_list_args *args)
{
	size_t octets = 0;

	args->metadata = ARENA_NEW(lex->arena, struct imap_metadata_args);
	if (!imap_lex_space(lex) || !imap_metadata_lex_entries(lex, args->metadata))
		return;
	for (size_t i = 0; i < args->metadata->count; i++)
		octets += args->metadata->entries[i].raw.len;
	if (octets > IMAP_METADATA_LIST_MAX)
		imap_lex_limit(lex, "too many entries for a LIST");
}

static void
parse_list_return(struct imap_lex *lex, struct imap_list_args *args)
{
	bool first = true;

	args->extended = true;
	imap_lex_char(lex, '(');
	while (imap_lex_ok(lex) && !imap_lex_try_char(lex, ')')) {
		if (!first && !imap_lex_space(lex))
			return;
		first = false;
		if (imap_lex_try_word(lex, SLICE("SUBSCRIBED"))) {
			args->returns |= IMAP_LIST_RETURN_SUBSCRIBED;
		} else if (imap_lex_try_word(lex, SLICE("CHILDREN"))) {
			args->returns |= IMAP_LIST_RETURN_CHILDREN;
		} else if (imap_lex_try_word(lex, SLICE("SPECIAL-USE"))) {
			args->returns |= IMAP_LIST_RETURN_SPECIAL_USE;
		} else if (imap_lex_try_word(lex, SLICE("STATUS"))) {
			args->returns |= IMAP_LIST_RETURN_STATUS;
			if (imap_lex_space(lex))
				imap_parse_status_items(lex, &args->status_items);
		} else if (imap_lex_try_word(lex, SLICE("MYRIGHTS"))) {
			args->returns |= IMAP_LIST_RETURN_MYRIGHTS;
		} else if (!args->metadata && imap_lex_try_word(lex, SLICE("METADATA"))) {
			args->returns |= IMAP_LIST_RETURN_METADATA;
			parse_list_metadata(lex, args);
		} else {
			imap_lex_bad(lex, "unknown LIST return option");
		}
	}
}

static bool
parse_patterns(struct imap_lex *lex, struct arena *arena, struct imap_list_args *args)
{
	args->patterns = ARENA_ARRAY(arena, struct slice, IMAP_PATTERNS_MAX);
	if (!args->patterns)
		return imap_lex_limit(lex, "command too large");
	if (!imap_lex_try_char(lex, '(')) {
		args->pattern_count = 1;
		return imap_lex_list_mailbox(lex, &args->patterns[0]);
	}
	args->extended = true;
	do {
		if (args->pattern_count == IMAP_PATTERNS_MAX)
			return imap_lex_limit(lex, "too many LIST patterns");
		if (!imap_lex_list_mailbox(lex, &args->patterns[args->pattern_count]))
			return false;
		args->pattern_count++;
	} while (imap_lex_try_space(lex));
	return imap_lex_char(lex, ')');
}

enum parse_result
imap_parse_list(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_list_args *args = ARENA_NEW(arena, struct imap_list_args);

	cmd->u.list = args;
	imap_lex_space(lex);
	if (imap_lex_try_char(lex, '(')) {
		parse_list_select(lex, args);
		imap_lex_space(lex);
	}
	if (imap_lex_astring(lex, &args->reference) && imap_lex_space(lex) &&
	    parse_patterns(lex, arena, args) && imap_lex_try_space(lex)) {
		if (!imap_lex_try_word(lex, SLICE("RETURN")))
			imap_lex_bad(lex, "expected RETURN");
		else if (imap_lex_space(lex))
			parse_list_return(lex, args);
	}
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_lsub(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_list_args *args = ARENA_NEW(arena, struct imap_list_args);

	cmd->u.list = args;
	args->patterns = ARENA_NEW(arena, struct slice);
	args->pattern_count = 1;
	if (imap_lex_space(lex) && imap_lex_astring(lex, &args->reference) &&
	    imap_lex_space(lex))
		imap_lex_list_mailbox(lex, &args->patterns[0]);
	return imap_lex_result(lex, fault);
}
