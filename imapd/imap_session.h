/*
 * An IMAP session's life as its daemon sees it: made for a connection, told to end.  What
 * goes on inside is in imap_int.h.
 */
#ifndef IMAPD_IMAP_SESSION_H
#define IMAPD_IMAP_SESSION_H

#include "imapd/imap_int.h"

/* Counters, made once a process. */
void imap_stats_init(struct imap_stats *stats);
/* A worker's part; `service` may be null in tests, which fill the rest by themselves. */
void imap_worker_init(struct imap_worker *w, struct loop *loop,
    struct store_reader *reader, const struct imap_stats *stats,
    struct imap_recents *recents);
/* No session may be left. */
void imap_worker_fini(struct imap_worker *w);
/* Sessions end: at once with BYE, or when the command under way is done. */
void imap_worker_stop(struct imap_worker *w);

/* Takes `fd` over and greets (after the handshake with `tls` LISTENER_TLS_IMPLICIT).
 * `token` may be null. */
void imap_session_new(
    struct imap_worker *w, int fd, enum listener_tls tls, struct worker_conn *token);

#endif
