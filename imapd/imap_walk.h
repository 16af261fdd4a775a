/*
 * Walks the records of the view's messages in ascending UID order, in slices: one turn's
 * share, then again from where it stood, with a new cursor (read transactions do not
 * outlive a turn); or in descending order, one record after the other.  Used by FETCH,
 * SEARCH, SORT and THREAD.
 */
#ifndef IMAPD_IMAP_WALK_H
#define IMAPD_IMAP_WALK_H

#include "imapd/imap_int.h"
#include "imapd/imap_seqset.h"

/* UID to message number for ascending UIDs: where the view has no holes, one look at it
 * serves for thousands of messages. */
struct imap_msn_walk {
	const struct mailbox_view *view;
	uint32_t uid_first, uid_last; /* every uid from first to last is in the view */
	uint32_t msn_first;
	uint32_t reach; /* how far to look next time */
};
void imap_msn_walk_init(struct imap_msn_walk *walk, const struct mailbox_view *view);
/* 0 when the view does not have it. */
uint32_t imap_msn_walk_to(struct imap_msn_walk *walk, uint32_t uid);

struct imap_walk {
	const struct mailbox_view *view; /* borrowed */
	struct account_id account;
	uint32_t mailbox;
	struct imap_uid_ranges ranges; /* borrowed */
	bool down;     /* from the highest to the lowest: set it behind imap_walk_init */
	size_t range;  /* done so far, from where the walk began */
	uint64_t next; /* UIDs below it are done; down: above it, 0 at first */
	uint32_t
	    turn_records;  /* looked at in a turn; imap_walk_init: IMAP_TURN_RECORDS */
	uint32_t examined; /* messages of the view that had a record */
};

/* Called for each record; false: the turn is spent, stop behind this one. */
typedef bool (*imap_walk_fn)(
    struct imap_session *s, const struct message_record *record, uint32_t msn);

/* Over messages of this view, which is the mailbox's of that number and account. */
void imap_walk_init(struct imap_walk *walk, const struct mailbox_view *view,
    struct account_id account, uint32_t mailbox, const struct imap_uid_ranges *ranges);
/* True when all is done or *out_status is not OK; false when the turn is spent (fn said
 * so, or turn_records were looked at): call it again in a later turn. */
bool imap_walk_run(struct imap_session *s, struct imap_walk *walk, imap_walk_fn fn,
    enum status *out_status);

#endif
