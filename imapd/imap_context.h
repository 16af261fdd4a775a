/*
 * Searches that are kept up to date (RFC 5267): SEARCH and SORT with RETURN (UPDATE), the
 * ADDTO and REMOVEFROM that follow, and CANCELUPDATE.
 *
 * A context holds the command's text, parsed once more into an arena of its own, and the
 * UIDs of its result in the order that the client has them; four bytes a message.  What
 * imap_sync tells (messages gone, new or changed) is looked at for each context and the
 * difference is told with positions.  Sort keys are not kept: a new message's place
 * is found by reading those it is compared with.
 *
 * Message numbers and "$" mean what they meant when the command came (RFC 5267 section
 * 4.3), and so does a "*" by itself; a range that ends with "*" takes in new messages.
 * Time that passes (OLDER, YOUNGER) is no change: it is seen when the message changes.
 */
#ifndef IMAPD_IMAP_CONTEXT_H
#define IMAPD_IMAP_CONTEXT_H

#include "imapd/imap_int.h"
#include "imapd/imap_search_parse.h"

enum {
	IMAP_CONTEXTS_MAX = 16,                 /* of one session */
	IMAP_CONTEXT_ARENA_MAX = 512 * 1024,    /* bytes of one context's program */
	IMAP_CONTEXT_RESULTS_MAX = 1000 * 1000, /* messages in all contexts of a session;
	                                          a single context is not bound by it */
	IMAP_CONTEXT_BATCH = 1024,              /* changes looked at in one go */
	IMAP_CONTEXT_BATCH_TEXT = 64,           /* the same when texts have to be read */
	IMAP_CANCEL_TAGS_MAX = 64,              /* tags of one CANCELUPDATE */
};

struct imap_contexts; /* of one session */

struct imap_cancel_args {
	struct slice *tags;
	size_t count;
};

enum imap_context_result {
	IMAP_CONTEXT_OK,      /* kept, or UPDATE was not asked for */
	IMAP_CONTEXT_REFUSED, /* NOUPDATE */
};

/* True when a search of that tag is kept up to date already: BAD (RFC 5267 section 4.3).
 */
bool imap_context_has_tag(const struct imap_session *s, struct slice tag);
/* At a search's end, before "$" and the view change: keeps it when it asks for UPDATE.
 * `uids` is its result in order; copied. */
enum imap_context_result imap_context_keep(struct imap_session *s,
    const struct imap_command *cmd, const uint32_t *uids, size_t count);
/* "* NO [NOUPDATE "tag"]" when it was refused (RFC 5267 section 4.3.1). */
void imap_context_tell_refused(struct imap_session *s, const struct imap_command *cmd,
    enum imap_context_result result);
/* CANCELUPDATE of one tag; false when no search has it. */
bool imap_context_cancel(struct imap_session *s, struct slice tag);
void imap_contexts_free(struct imap_contexts **contexts);

/* ---- for imap_sync ---- */
/* How many changes to look at in one go; `otherwise` when there is no context. */
size_t imap_contexts_batch(const struct imap_session *s, size_t otherwise);
/* A look at the mailbox begins: its share of work is counted from here. */
void imap_contexts_begin(struct imap_session *s);
/* The share is used up: go on in a later turn. */
bool imap_contexts_spent(const struct imap_session *s);
/* Messages that this session itself has just added are not fetched for UPDATE's items
 * (RFC 5465 section 7). */
void imap_contexts_own(
    struct imap_session *s, uint32_t mailbox, uint32_t first, uint32_t last);
/* Call before their EXPUNGE (RFC 5267 section 4.3.4). */
void imap_contexts_expunged(struct imap_session *s, const uint32_t *uids, size_t count);
/* Call behind their EXISTS or FETCH; they are in the view.  UIDs ascending. */
void imap_contexts_added(struct imap_session *s, const uint32_t *uids, size_t count);
void imap_contexts_changed(struct imap_session *s, const uint32_t *uids, size_t count);

#endif
