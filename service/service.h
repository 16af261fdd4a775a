/*
 * The frame that the three daemons share above common/ and store/: configuration, log,
 * TLS contexts, store, authentication over the directory, workers with a store reader
 * each, reload and orderly stop.  A daemon's main fills a struct service_options and
 * calls service_main; what it does with a connection is its own.
 *
 * Threads: `accept` and the session's code run on worker threads; service_conf and
 * service_tls give the pointers that are current (reload swaps them; a session keeps
 * what it took with the matching release).
 */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include "auth/sasl.h"
#include "conf/conf.h"
#include "net/conn.h"
#include "net/daemon.h"
#include "net/worker.h"
#include "store/directory.h"

struct service;

/* What authentication has to know of a connection, with the room that it points into. */
struct service_channel {
	struct auth_channel channel;
	unsigned char tls_exporter[32];
	unsigned char tls_server_end_point[CONN_END_POINT_MAX];
	struct buf certificate; /* service_channel_fini frees it */
};
void service_channel_init(struct service_channel *out, struct conn *conn);
void service_channel_fini(struct service_channel *channel);
/* auth_mechanisms and auth_mechanism_allowed for a connection. */
struct slice service_mechanisms(const struct auth *auth, struct conn *conn);
bool service_mechanism_allowed(
    const struct auth *auth, struct slice name, struct conn *conn);

struct service_options {
	const char *daemon;       /* "imapd": in the log */
	const char *sasl_service; /* "imap" */
	enum conf_protocol protocols[4];
	unsigned protocol_count;
	struct slice refuse_text; /* sent to a connection over a limit */
	/* Whether it may serve with this configuration, before it listens and before a
	 * reload; says why not.  May be null. */
	bool (*check)(struct service *service, const struct conf *conf);
	/* A new connection, on its worker; `token` goes back by worker_conn_done. */
	void (*accept)(struct service *service, struct worker *worker, int fd,
	    const struct listener *listener, struct worker_conn *token);
	/* On each worker at its start and at its stop (end the sessions there); may be
	 * null. */
	void (*worker_start)(struct service *service, struct worker *worker);
	void (*worker_stop)(struct service *service, struct worker *worker);
	/* On the main thread's loop when everything serves, and when stopping; may be
	 * null. */
	void (*started)(struct service *service, struct loop *main_loop);
	void (*stopping)(struct service *service);
	/* After a reload has swapped the configuration; may be null. */
	void (*reloaded)(struct service *service);
};

/* Runs the daemon to its end; returns the exit code (0, 64, 78, 75). */
int service_main(int argc, char **argv, const struct service_options *options);

/* The current configuration; stays valid for the process's life (old ones are kept). */
const struct conf *service_conf(const struct service *service);
/* A reference to the current server context: tls_context_unref when done; null when no
 * certificate is configured. */
struct tls_context *service_tls(struct service *service);
struct store *service_store(struct service *service);
struct auth *service_auth(struct service *service);
struct loop *service_main_loop(struct service *service);
struct worker_set *service_workers(struct service *service);
/* <root>/…, or the system path when there is no root. */
const char *service_root(const struct service *service);

/* What becomes of mail fetched by POP3 where neither account nor domain say it. */
struct pop3_rule service_pop3_rule(const struct conf *conf);

/* This worker's store reader; its transactions end with each turn by themselves. */
struct store_reader *service_reader(struct worker *worker);
/* The daemon's own pointer per worker. */
void service_worker_set_user(struct worker *worker, void *user);
void *service_worker_user(struct worker *worker);

/* Sessions at once of one account in this process: true when one more is allowed, and
 * then it is counted until service_session_end. */
bool service_session_begin(
    struct service *service, struct account_id account, unsigned max);
void service_session_end(struct service *service, struct account_id account);

#endif
