/*
 * Threads of messages: ORDEREDSUBJECT and REFERENCES (RFC 5256 section 3), and REFS
 * (draft-ietf-morg-inthread section 3.1): REFERENCES without putting together what has
 * one subject, the thread whose latest message arrived last at the end.  Pure; nothing
 * recurses, because the depth of a thread is the senders' choice.
 */
#ifndef IMAPD_IMAP_THREAD_H
#define IMAPD_IMAP_THREAD_H

#include "imapd/imap_search_parse.h"

enum {
	IMAP_THREAD_DEPTH_MAX = 1000, /* ancestors looked at before a link is refused */
	IMAP_THREAD_REFERENCES_MAX = 64, /* ids of one message, the last ones */
};

struct imap_threads;

/* Messages and texts are copied into the arena. */
struct imap_threads *imap_threads_new(enum imap_thread_by by, struct arena *arena);
void imap_threads_free(struct imap_threads **threads);
/* Adds a message; `number` is what is written.  Ascending order.  `arrival_s`
 * is INTERNALDATE, for REFS.  False: the arena is
 * used up. */
bool imap_threads_add(struct imap_threads *threads, uint32_t number, int64_t date_s,
    int64_t arrival_s, struct slice subject_key, bool is_reply, struct slice message_id,
    struct slice references);
/* "(1)(2 3 (4)(5))"; nothing when there are no messages.  Once. */
bool imap_threads_write(struct imap_threads *threads, struct buf *out);

#endif
