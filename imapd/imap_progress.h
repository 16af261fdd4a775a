/*
 * INPROGRESS (RFC 9585): an untagged OK from time to time while a command runs long, so
 * that neither the client nor what stands between gives the connection up.
 */
#ifndef IMAPD_IMAP_PROGRESS_H
#define IMAPD_IMAP_PROGRESS_H

#include "imapd/imap_int.h"

enum {
	IMAP_PROGRESS_MS = 10 * 1000, /* between two; RFC 9585 section 3: 10 to 15 s */
};

/* "* OK [INPROGRESS ("tag" done goal)]", when its time has come: *told_ms is when the
 * last one was (0: the command begins now).  goal 0: unknown, both are then
 * NIL; nothing when all is done.  Call
 * between responses. */
void imap_progress(
    struct imap_session *s, uint64_t *told_ms, uint64_t done, uint64_t goal);
/* The command waits for the store from now on: progress is told until it ends. */
void imap_progress_wait(struct imap_session *s);
/* Its time has come (CONN_TIMEOUT while it waits). */
void imap_progress_waiting(struct imap_session *s);

#endif
