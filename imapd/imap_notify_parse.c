/*
 * NOTIFY's arguments: event groups, each a mailbox filter and its events.
 *
 * Pure: text in, struct imap_notify_args out; mailbox names stay as sent.  Rules that
 * need no state are checked here (which events go together, what SELECTED may have);
 * events that this server does not know are only marked, since the reply to them is NO.
 * RFC 5465 sections 5, 6 and 8.
 */
#include "imapd/imap_notify_parse.h"

#include "imapd/imap_cmd.h"

static const struct {
	struct slice name;
	unsigned bit; /* 0: known to RFC 5465, not offered here */
} events[] = {
    {{"MessageNew", 10},            IMAP_NOTIFY_MESSAGE_NEW     },
    {{"MessageExpunge", 14},        IMAP_NOTIFY_MESSAGE_EXPUNGE },
    {{"FlagChange", 10},            IMAP_NOTIFY_FLAG_CHANGE     },
    {{"MailboxName", 11},           IMAP_NOTIFY_MAILBOX_NAME    },
    {{"SubscriptionChange", 18},    IMAP_NOTIFY_SUBSCRIPTION    },
    {{"MailboxMetadataChange", 21}, IMAP_NOTIFY_MAILBOX_METADATA},
    {{"ServerMetadataChange", 20},  IMAP_NOTIFY_SERVER_METADATA },
};

struct notify_lex {
	struct imap_lex *lex;
	struct imap_notify_args *args;
	size_t names;
	bool selected; /* one of the two was there */
};

/* "(uid flags)" behind MessageNew: parsed for its syntax; the session keeps the text. */
static bool
items_lex(struct notify_lex *nl, const struct imap_notify_group *group)
{
	struct imap_lex *lex = nl->lex;
	size_t start = lex->pos + 1;

	if (!slice_has_prefix(imap_lex_rest(lex), SLICE(" (")))
		return imap_lex_ok(lex);
	lex->pos++;
	if (!imap_source_is_selected(&group->source))
		return imap_lex_bad(lex, "FETCH items belong to SELECTED");
	nl->args->fetch = ARENA_NEW(lex->arena, struct imap_fetch_args);
	if (!imap_fetch_items_lex(lex, nl->args->fetch))
		return false;
	nl->args->items = slice_sub(lex->in, start, lex->pos - start);
	return true;
}

static bool
event_lex(struct notify_lex *nl, struct imap_notify_group *group)
{
	struct slice name;

	if (!imap_lex_atom(nl->lex, &name))
		return false;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (!slice_equal_nocase(name, events[i].name))
			continue;
		group->events |= events[i].bit;
		return events[i].bit != IMAP_NOTIFY_MESSAGE_NEW || items_lex(nl, group);
	}
	nl->args->unknown_event = true;
	return true;
}

static bool
events_lex(struct notify_lex *nl, struct imap_notify_group *group)
{
	struct imap_lex *lex = nl->lex;
	const unsigned both = IMAP_NOTIFY_MESSAGE_NEW | IMAP_NOTIFY_MESSAGE_EXPUNGE;

	if (imap_lex_try_word(lex, SLICE("NONE")))
		return true;
	if (!imap_lex_char(lex, '('))
		return false;
	do {
		if (!event_lex(nl, group))
			return false;
	} while (imap_lex_try_char(lex, ' '));
	if (!imap_lex_char(lex, ')'))
		return false;
	/* RFC 5465 section 5. */
	if ((group->events & IMAP_NOTIFY_MESSAGE_EVENTS) &&
	    (group->events & both) != both)
		return imap_lex_bad(lex, "MessageNew and MessageExpunge go together");
	if (imap_source_is_selected(&group->source) &&
	    (group->events & ~(unsigned)IMAP_NOTIFY_MESSAGE_EVENTS))
		return imap_lex_bad(lex, "SELECTED takes message events only");
	return true;
}

static bool
filter_lex(struct notify_lex *nl, struct imap_notify_group *group)
{
	struct imap_lex *lex = nl->lex;

	if (!imap_source_lex(lex, &nl->names, &group->source))
		return false;
	if (group->source.filter == IMAP_SOURCE_SUBTREE_ONE)
		return imap_lex_bad(lex, "SUBTREE-ONE belongs to ESEARCH");
	if (!imap_source_is_selected(&group->source))
		return true;
	if (nl->selected)
		return imap_lex_bad(lex, "SELECTED is there twice");
	nl->selected = true;
	return true;
}

static bool
groups_lex(struct notify_lex *nl)
{
	struct imap_lex *lex = nl->lex;
	struct imap_notify_args *args = nl->args;

	args->groups =
	    ARENA_ARRAY(lex->arena, struct imap_notify_group, IMAP_NOTIFY_GROUPS_MAX);
	if (!args->groups)
		return imap_lex_limit(lex, "command is too large");
	do {
		if (args->group_count == IMAP_NOTIFY_GROUPS_MAX)
			return imap_lex_limit(lex, "too many event groups");
		struct imap_notify_group *group = &args->groups[args->group_count++];
		if (!imap_lex_char(lex, '(') || !filter_lex(nl, group) ||
		    !imap_lex_space(lex) || !events_lex(nl, group) ||
		    !imap_lex_char(lex, ')'))
			return false;
	} while (imap_lex_try_space(lex));
	return true;
}

enum parse_result
imap_parse_notify(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_notify_args *args = ARENA_NEW(arena, struct imap_notify_args);
	struct notify_lex nl = {.lex = lex, .args = args};

	cmd->u.notify = args;
	if (!imap_lex_space(lex))
		return imap_lex_result(lex, fault);
	if (imap_lex_try_word(lex, SLICE("NONE"))) {
		args->none = true;
	} else if (!imap_lex_try_word(lex, SLICE("SET"))) {
		imap_lex_bad(lex, "expected SET or NONE");
	} else if (imap_lex_space(lex)) {
		args->status = imap_lex_try_word(lex, SLICE("STATUS"));
		if (!args->status || imap_lex_space(lex))
			groups_lex(&nl);
	}
	return imap_lex_result(lex, fault);
}
