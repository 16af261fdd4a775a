/*
 * Mailbox filters: syntax and meaning.  There are no links in a hierarchy of names, so
 * SUBTREE needs no guard against loops.
 */
#include "imapd/imap_source.h"

static bool
name_lex(struct imap_lex *lex, size_t *names, struct imap_source *source)
{
	if ((*names)++ == IMAP_SOURCE_NAMES_MAX)
		return imap_lex_limit(lex, "too many mailboxes");
	return imap_lex_astring(lex, &source->names[source->name_count++]);
}

/* one-or-more-mailbox */
static bool
names_lex(struct imap_lex *lex, size_t *names, struct imap_source *source)
{
	size_t room = IMAP_SOURCE_NAMES_MAX - *names;

	source->names = ARENA_ARRAY(lex->arena, struct slice, room ? room : 1);
	if (!source->names)
		return imap_lex_limit(lex, "command is too large");
	if (!imap_lex_space(lex))
		return false;
	if (!imap_lex_try_char(lex, '('))
		return name_lex(lex, names, source);
	do {
		if (!name_lex(lex, names, source))
			return false;
	} while (imap_lex_try_char(lex, ' '));
	return imap_lex_char(lex, ')');
}

bool
imap_source_lex(struct imap_lex *lex, size_t *names, struct imap_source *out)
{
	static const struct {
		struct slice name;
		enum imap_source_filter filter;
	} filters[] = {
	    {{"SELECTED", 8},          IMAP_SOURCE_SELECTED        },
	    {{"SELECTED-DELAYED", 16}, IMAP_SOURCE_SELECTED_DELAYED},
	    {{"INBOXES", 7},           IMAP_SOURCE_INBOXES         },
	    {{"PERSONAL", 8},          IMAP_SOURCE_PERSONAL        },
	    {{"SUBSCRIBED", 10},       IMAP_SOURCE_SUBSCRIBED      },
	    {{"SUBTREE", 7},           IMAP_SOURCE_SUBTREE         },
	    {{"SUBTREE-ONE", 11},      IMAP_SOURCE_SUBTREE_ONE     },
	    {{"MAILBOXES", 9},         IMAP_SOURCE_MAILBOXES       },
	};

	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		if (!imap_lex_try_word(lex, filters[i].name))
			continue;
		out->filter = filters[i].filter;
		return out->filter < IMAP_SOURCE_SUBTREE || names_lex(lex, names, out);
	}
	return imap_lex_bad(lex, "no such mailbox filter");
}

bool
imap_name_is_below(struct slice name, struct slice parent)
{
	return name.len > parent.len && slice_has_prefix(name, parent) &&
	       name.ptr[parent.len] == '/';
}

static bool
is_child(struct slice name, struct slice parent)
{
	return imap_name_is_below(name, parent) && slice_rindex(name, '/') == parent.len;
}

bool
imap_source_has(
    const struct imap_source *source, const struct mailbox_info *box, bool own)
{
	switch (source->filter) {
	case IMAP_SOURCE_SELECTED:
	case IMAP_SOURCE_SELECTED_DELAYED:
		return false;
	case IMAP_SOURCE_INBOXES:
	case IMAP_SOURCE_PERSONAL:
		return own;
	case IMAP_SOURCE_SUBSCRIBED:
		return box->subscribed;
	case IMAP_SOURCE_SUBTREE:
	case IMAP_SOURCE_SUBTREE_ONE:
	case IMAP_SOURCE_MAILBOXES:
		break;
	}
	for (size_t i = 0; i < source->name_count; i++) {
		struct slice name = source->names[i];
		if (slice_equal(box->name, name) ||
		    (source->filter == IMAP_SOURCE_SUBTREE &&
			imap_name_is_below(box->name, name)) ||
		    (source->filter == IMAP_SOURCE_SUBTREE_ONE &&
			is_child(box->name, name)))
			return true;
	}
	return false;
}
