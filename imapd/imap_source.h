/*
 * Which mailboxes a command is about: the filter-mailboxes of NOTIFY (RFC 5465 section 6)
 * and of ESEARCH's source options (RFC 7377 section 2.2).  Pure.
 */
#ifndef IMAPD_IMAP_SOURCE_H
#define IMAPD_IMAP_SOURCE_H

#include "imapd/imap_lex.h"
#include "store/mailbox.h"

enum {
	IMAP_SOURCES_MAX = 32,        /* filters of one command */
	IMAP_SOURCE_NAMES_MAX = 1000, /* mailbox names of one command */
};

enum imap_source_filter {
	IMAP_SOURCE_SELECTED,
	IMAP_SOURCE_SELECTED_DELAYED, /* NOTIFY only */
	IMAP_SOURCE_INBOXES, /* any mailbox may get mail here: the same as PERSONAL */
	IMAP_SOURCE_PERSONAL,
	IMAP_SOURCE_SUBSCRIBED,
	IMAP_SOURCE_SUBTREE,
	IMAP_SOURCE_SUBTREE_ONE, /* ESEARCH only */
	IMAP_SOURCE_MAILBOXES,
};

struct imap_source {
	enum imap_source_filter filter;
	struct slice *names; /* SUBTREE, SUBTREE_ONE, MAILBOXES; as sent */
	size_t name_count;
};

/* One filter; `*names` counts the command's names. */
bool imap_source_lex(struct imap_lex *lex, size_t *names, struct imap_source *out);
/* "a/b/c" is below "a" and "a/b". */
bool imap_name_is_below(struct slice name, struct slice parent);
static inline bool
imap_source_is_selected(const struct imap_source *source)
{
	return source->filter == IMAP_SOURCE_SELECTED ||
	       source->filter == IMAP_SOURCE_SELECTED_DELAYED;
}
/* Does it name this mailbox?  Its names decoded; false for SELECTED, which is the
 * session's.  `own`: it is in the personal namespace. */
bool imap_source_has(
    const struct imap_source *source, const struct mailbox_info *box, bool own);

#endif
