/*
 * \Recent (RFC 3501 section 2.3.2): who tells of a message first.
 *
 * The store keeps the first UID that no session has seen; a session that tells of
 * messages from there on claims them.  What is claimed stands in a table of the process,
 * so that one session only, on whatever thread, is told of a message as \Recent; the op
 * that writes it down follows a moment later, one for many messages, so that mail to an
 * open mailbox costs one commit and not two.
 */
#ifndef IMAPD_IMAP_RECENT_H
#define IMAPD_IMAP_RECENT_H

#include <pthread.h>

#include "base/list.h"
#include "store/mailbox.h"

struct imap_session;
struct imap_worker;

enum {
	IMAP_RECENT_BUCKETS = 256,
	IMAP_RECENT_DELAY_MS = 1000, /* from a claim to its op */
	IMAP_RECENT_LINGER_MS =
	    10000, /* a claim is known for so long after its commit:
	              longer than a turn, whose snapshot may be older */
};

struct imap_recents {
	pthread_mutex_t mutex;
	struct list buckets[IMAP_RECENT_BUCKETS]; /* of claims; guarded by mutex */
};

void imap_recents_init(struct imap_recents *recents);
/* No claim may be under way. */
void imap_recents_fini(struct imap_recents *recents);

/* A worker ends: what it has claimed is written down now (`write`), or forgotten, and
 * then told as \Recent once more. */
void imap_recents_flush(struct imap_worker *w, bool write);

/* Messages from `first` to below `uidnext` are \Recent in the session, as far as nobody
 * has them; claims them unless the mailbox was opened read-only. */
void imap_recent_claim(struct imap_session *s, uint32_t first, uint32_t uidnext);
/* The first UID of the mailbox that nobody has claimed: `first` (the store's) or above.
 */
uint32_t imap_recent_first(
    struct imap_session *s, struct account_id account, uint32_t mailbox, uint32_t first);
/* Messages of the view that are \Recent in the session. */
uint32_t imap_recent_count(const struct imap_session *s);
/* True when this session was the first to be told of it; always false for IMAP4rev2. */
bool imap_is_recent(const struct imap_session *s, uint32_t uid);

#endif
