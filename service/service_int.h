/*
 * What the files of service/ share: the process's one struct service.
 */
#ifndef SERVICE_SERVICE_INT_H
#define SERVICE_SERVICE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/hashmap.h"
#include "service/service.h"

enum { AUTH_READERS_MAX = 16 }; /* store readers kept for the pool threads */

struct service_worker {
	struct service *service;
	struct store_reader *reader;
	struct loop_hook turn_end;
	void *user;
};

struct service {
	const struct service_options *options;
	struct daemon_arguments arguments;
	_Atomic(struct conf *) conf;
	pthread_mutex_t lock; /* guards tls, auth_readers and sessions */
	struct tls_context *tls;
	struct store_reader *auth_readers[AUTH_READERS_MAX];
	unsigned auth_reader_count;
	struct hashmap *sessions; /* account id → count */
	struct store *store;
	struct auth *auth;
	struct worker_set *workers;
	struct loop *main_loop;
	struct listener listeners[DAEMON_LISTENERS_MAX];
	size_t listener_count;
	struct loop_timer stop_timer;
	unsigned stop_waited_ms;
};

/* ---- service_auth.c ---- */
/* False, with a line on standard error, when authentication cannot be set up. */
bool service_auth_start(struct service *s, const struct conf *conf);
/* The rules for bearer tokens; null when the configuration has none.  False, with a line
 * in the log, when it cannot be taken. */
bool service_tokens_load(const struct conf *conf, struct token_rules **out);

#endif
