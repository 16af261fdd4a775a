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

static bool
is_selected(enum imap_notify_filter filter)
{
	return filter == IMAP_NOTIFY_SELECTED || filter == IMAP_NOTIFY_SELECTED_DELAYED;
}

/* "(uid flags)" behind MessageNew: parsed for its syntax; the session keeps the text. */
static bool
items_lex(struct notify_lex *nl, const struct imap_notify_group *group)
{
	struct imap_lex *lex = nl->lex;
	size_t start = lex->pos + 1;

	if (!slice_has_prefix(imap_lex_rest(lex), SLICE(" (")))
		return imap_lex_ok(lex);
	lex->pos++;
	if (!is_selected(group->filter))
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
	if (is_selected(group->filter) &&
	    (group->events & ~(unsigned)IMAP_NOTIFY_MESSAGE_EVENTS))
		return imap_lex_bad(lex, "SELECTED takes message events only");
	return true;
}

static bool
name_lex(struct notify_lex *nl, struct imap_notify_group *group)
{
	if (nl->names++ == IMAP_NOTIFY_MAILBOXES_MAX)
		return imap_lex_limit(nl->lex, "too many mailboxes");
	return imap_lex_astring(nl->lex, &group->names[group->name_count++]);
}

/* one-or-more-mailbox */
static bool
names_lex(struct notify_lex *nl, struct imap_notify_group *group)
{
	struct imap_lex *lex = nl->lex;
	size_t room = IMAP_NOTIFY_MAILBOXES_MAX - nl->names;

	group->names = ARENA_ARRAY(lex->arena, struct slice, room ? room : 1);
	if (!group->names)
		return imap_lex_limit(lex, "command is too large");
	if (!imap_lex_space(lex))
		return false;
	if (!imap_lex_try_char(lex, '('))
		return name_lex(nl, group);
	do {
		if (!name_lex(nl, group))
			return false;
	} while (imap_lex_try_char(lex, ' '));
	return imap_lex_char(lex, ')');
}

static bool
filter_lex(struct notify_lex *nl, struct imap_notify_group *group)
{
	static const struct {
		struct slice name;
		enum imap_notify_filter filter;
	} filters[] = {
	    {{"SELECTED", 8},          IMAP_NOTIFY_SELECTED        },
	    {{"SELECTED-DELAYED", 16}, IMAP_NOTIFY_SELECTED_DELAYED},
	    {{"INBOXES", 7},           IMAP_NOTIFY_INBOXES         },
	    {{"PERSONAL", 8},          IMAP_NOTIFY_PERSONAL        },
	    {{"SUBSCRIBED", 10},       IMAP_NOTIFY_SUBSCRIBED      },
	    {{"SUBTREE", 7},           IMAP_NOTIFY_SUBTREE         },
	    {{"MAILBOXES", 9},         IMAP_NOTIFY_MAILBOXES       },
	};
	struct imap_lex *lex = nl->lex;

	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		if (!imap_lex_try_word(lex, filters[i].name))
			continue;
		group->filter = filters[i].filter;
		if (is_selected(group->filter) && nl->selected)
			return imap_lex_bad(lex, "SELECTED is there twice");
		nl->selected = nl->selected || is_selected(group->filter);
		if (group->filter >= IMAP_NOTIFY_SUBTREE)
			return names_lex(nl, group);
		return true;
	}
	return imap_lex_bad(lex, "no such mailbox filter");
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
