/*
 * Threads with loops, listening sockets, and the connections they hand out.  Accepting is
 * done on the first worker, which gives each connection to the worker with the fewest;
 * the connection then lives and dies there.  Limits: connections in all and per peer
 * address (IPv6: per /64).  Over a limit the listener's refuse text is sent and the
 * socket closed.  At EMFILE accepting pauses for a moment instead of spinning.
 */
#ifndef NET_WORKER_H
#define NET_WORKER_H

#include "base/slice.h"
#include "base/status.h"
#include "net/loop.h"
#include "net/tls.h"

enum listener_tls { LISTENER_TLS_NONE, LISTENER_TLS_STARTTLS, LISTENER_TLS_IMPLICIT };

struct listener {
	const char *name;     /* of the configuration section */
	const char *protocol; /* "smtp", "submission", "imap", "pop3" */
	enum listener_tls tls;
	int fd;                   /* listening, non-blocking; owned by the worker set */
	unsigned max_connections; /* 0: no own limit */
	unsigned max_per_ip;      /* 0: none */
	struct slice refuse_text; /* sent when over a limit, with CRLF; borrowed */
	/* Connections from these networks begin with a PROXY header; borrowed */
	char *const *proxy_networks;
	size_t proxy_network_count;
	/* Whom the daemon serves here, where it does not serve everybody; borrowed */
	char *const *networks;
	size_t network_count;
};

struct worker;
struct worker_set;

/* Called on the worker's thread for each new connection: takes over fd.  `release` must
 * be called once, on the same thread, when that connection has ended (worker_conn_done).
 */
struct worker_conn;
struct conn;
typedef void (*worker_accept_fn)(struct worker *worker, int fd,
    const struct listener *listener, struct worker_conn *token);

struct worker_set_options {
	unsigned threads; /* 0: one a core */
	struct listener *listeners;
	size_t listener_count;
	worker_accept_fn accept;
	/* On each worker's thread at its start and end; may be null. */
	void (*start)(struct worker *worker);
	void (*stop)(struct worker *worker);
	void *arg;
};

/* Starts the threads and returns; STATUS_LIMIT when a thread cannot be made. */
enum status worker_set_start(
    const struct worker_set_options *options, struct worker_set **out) MUST_USE;
/* Stops accepting, stops each loop and joins.  Sessions end with their loops. */
void worker_set_stop(struct worker_set **set);
/* No new connections from now on; those that stand go on. */
void worker_set_stop_accepting(struct worker_set *set);
size_t worker_set_count(const struct worker_set *set);
/* Connections that stand now, over all workers; from any thread. */
size_t worker_set_connections(const struct worker_set *set);
struct worker *worker_set_at(struct worker_set *set, size_t index);

struct loop *worker_loop(struct worker *worker);
unsigned worker_index(const struct worker *worker);
void *worker_arg(struct worker *worker);
/* Anything the daemon keeps per worker (its sessions list, its store readers). */
void worker_set_user(struct worker *worker, void *user);
void *worker_user(struct worker *worker);
void worker_conn_done(struct worker_conn *token);
/* To be called once the connection's conn is made: when a proxy told who the client is,
 * that becomes its peer. */
void worker_conn_adopt(const struct worker_conn *token, struct conn *conn);

#endif
