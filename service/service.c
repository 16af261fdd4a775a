/*
 * The daemons' shared frame; see service.h.
 *
 * Start order: arguments → configuration (all errors, then exit 78) → log → limits → file
 * guard → store → TLS → authentication → listeners → workers → sandbox → ready.  Nothing
 * listens before everything that it needs is there.
 *
 * Stop: no more accepting, the workers' sessions are told to end, and when the last one
 * is gone (or after DAEMON_STOP_MS) the process leaves by _exit.  Crash-only on purpose:
 * what was acknowledged is on the disk already, so a careful tear-down could only be
 * wrong, never safer.
 */
#include "service/service_int.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/token.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/stats.h"
#include "store/store_backup.h"
#include "store/store_maintain.h"

enum {
	EXIT_USAGE_CODE = 64,
	EXIT_TEMPORARY = 75,
	EXIT_CONFIG = 78,
	LISTEN_BACKLOG = 1024,
	STOP_POLL_MS = 20,
	/* Drafts come and go by the hundred KiB: giving each back to the kernel cost a
	 * third of the draft path (page faults and brk). */
	HEAP_KEEP_BYTES = 32 * 1024 * 1024,
	HEAP_MMAP_BYTES = 4 * 1024 * 1024,
	RESTART_TEXT_MAX = 4096, /* bytes: names of keys that want a restart */
};

/* ---- configuration ---- */

static void
errors_print(const struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++) {
		const struct conf_error *e = &errors->items[i];
		fprintf(stderr, "%s:%d: %s%s\n", e->file ? e->file : "?", e->line,
		    e->warning ? "warning: " : "", e->text);
	}
}

static struct conf *
conf_load(struct service *s)
{
	struct conf_errors errors = {0};
	struct conf *conf =
	    conf_read(s->arguments.config_path, s->arguments.root, &errors);
	errors_print(&errors);
	conf_errors_free(&errors);
	return conf;
}

static enum log_level
log_level_of(const char *word)
{
	if (strcmp(word, "error") == 0)
		return LOG_LEVEL_ERROR;
	if (strcmp(word, "warn") == 0)
		return LOG_LEVEL_WARN;
	if (strcmp(word, "debug") == 0)
		return LOG_LEVEL_DEBUG;
	return LOG_LEVEL_INFO;
}

/* A log file that cannot be opened is a warning: the log stays where it is, at the start
 * on standard error. */
static void
log_start(const struct service *s, const struct conf *conf)
{
	bool to_stderr = strcmp(conf->log.to, "stderr") == 0;
	if (log_open(s->options->daemon, log_level_of(conf->log.level),
		strcmp(conf->log.format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT,
		to_stderr ? NULL : conf->log.to))
		return;
	fprintf(
	    stderr, "could not open log file %s: %s\n", conf->log.to, strerror(errno));
	LOG_WARN(
	    "log.fail", LF_STR("path", conf->log.to), LF_STR("reason", strerror(errno)));
}

static bool
tls_load(struct service *s, const struct conf *conf)
{
	if (conf->tls.certificate[0] == '\0')
		return true;
	struct tls_context *tls = NULL;
	char *error = NULL;
	enum status status = tls_context_server(conf->tls.certificate,
	    conf->tls.private_key, conf->tls.min_version, &tls, &error);
	if (status == STATUS_OK && conf->auth.client_ca[0] != '\0')
		status = tls_context_ask_clients(tls, conf->auth.client_ca, &error);
	if (status != STATUS_OK) {
		LOG_ERROR(
		    "tls.fail", LF_STR("reason", error ? error : status_text(status)));
		fprintf(stderr, "%s\n", error ? error : status_text(status));
		free(error);
		tls_context_unref(&tls);
		return false;
	}
	pthread_mutex_lock(&s->lock);
	struct tls_context *old = s->tls;
	s->tls = tls;
	pthread_mutex_unlock(&s->lock);
	tls_context_unref(&old);
	return true;
}

static void
reload(void *arg)
{
	struct service *s = arg;
	struct conf *conf = conf_load(s);
	struct token_rules *rules = NULL;
	if (!conf || (s->options->check && !s->options->check(s, conf)) ||
	    !service_tokens_load(conf, &rules) || !tls_load(s, conf)) {
		LOG_ERROR("server.reload",
		    LF_STR("status", "configuration kept as it was: see postroom check"));
		token_rules_unref(&rules);
		conf_free(&conf);
		daemon_reloaded(false);
		return;
	}
	auth_tokens_set(s->auth, rules);
	token_rules_unref(&rules);
	log_start(s, conf);
	struct buf restart AUTO_BUF;
	buf_init(&restart, RESTART_TEXT_MAX);
	if (conf_restart_needed(service_conf(s), conf, &restart))
		LOG_WARN("server.reload", LF("restart_needed_for", buf_slice(&restart)));
	/* The old one is kept: sessions may hold pointers into it, and reloads are rare.
	 */
	atomic_store(&s->conf, conf);
	if (s->options->reloaded)
		s->options->reloaded(s);
	LOG_INFO("server.reload", LF_STR("status", "ok"));
	daemon_reloaded(true);
}

/* ---- listeners ---- */

static bool
protocol_is_ours(const struct service *s, enum conf_protocol protocol)
{
	for (unsigned i = 0; i < s->options->protocol_count; i++) {
		if (s->options->protocols[i] == protocol)
			return true;
	}
	return false;
}

static void
listener_settings(struct service *s, const struct conf *conf, struct listener *l)
{
	l->refuse_text = s->options->refuse_text;
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_listener *c = &conf->listeners[i];
		if (strcmp(c->name, l->name) != 0)
			continue;
		l->max_connections = c->max_connections;
		l->max_per_ip = c->max_per_ip;
		l->proxy_networks = c->proxy_networks.items;
		l->proxy_network_count = c->proxy_networks.count;
		l->networks = c->networks.items;
		l->network_count = c->networks.count;
	}
}

/* Without a supervisor: bind what the configuration says. */
static bool
listeners_bind(struct service *s, const struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_listener *c = &conf->listeners[i];
		if (!c->enabled || !protocol_is_ours(s, c->protocol))
			continue;
		for (size_t a = 0; a < c->addresses.count; a++) {
			if (s->listener_count == DAEMON_LISTENERS_MAX) {
				fprintf(stderr, "more than %d listening sockets\n",
				    DAEMON_LISTENERS_MAX);
				return false;
			}
			struct listener *l = &s->listeners[s->listener_count];
			*l = (struct listener){.name = c->name,
			    .protocol = conf_protocol_word(c->protocol),
			    .tls = (enum listener_tls)c->tls};
			const char *address = c->addresses.items[a];
			enum status status =
			    c->path[0]
				? daemon_bind_path(c->path, conf_socket_mode(c),
				      UINT32_MAX, UINT32_MAX, LISTEN_BACKLOG, &l->fd)
				: daemon_bind(address, c->port, LISTEN_BACKLOG, &l->fd);
			/* A machine without IPv6 serves by IPv4 alone. */
			if (status == STATUS_NOT_FOUND && !c->path[0] &&
			    strchr(address, ':')) {
				LOG_WARN("server.bind", LF_STR("address", address),
				    LF_STR("reason", "no IPv6 on this machine"));
				continue;
			}
			if (status != STATUS_OK) {
				fprintf(stderr,
				    "could not listen on %s port %u (listener \"%s\"): "
				    "%s; is another server running there?\n",
				    address, c->port, c->name, status_text(status));
				return false;
			}
			s->listener_count++;
		}
	}
	return true;
}

static bool
listeners_open(struct service *s, const struct conf *conf)
{
	enum status status = daemon_listeners_inherited(
	    s->listeners, DAEMON_LISTENERS_MAX, &s->listener_count);
	if (status == STATUS_NOT_FOUND && !listeners_bind(s, conf))
		return false;
	if (status == STATUS_INVALID) {
		fprintf(stderr,
		    "POSTROOM_LISTENERS is malformed, or names more than %d sockets\n",
		    DAEMON_LISTENERS_MAX);
		return false;
	}
	for (size_t i = 0; i < s->listener_count; i++)
		listener_settings(s, conf, &s->listeners[i]);
	return true;
}

/* ---- workers ---- */

static void
turn_end(void *arg)
{
	struct service_worker *w = arg;
	store_reader_end(w->reader);
}

static void
post(void *loop, void (*fn)(void *), void *arg)
{
	loop_post(loop, fn, arg);
}

static void
worker_start(struct worker *worker)
{
	struct service *s = worker_arg(worker);
	struct service_worker *w = xcalloc(1, sizeof(*w));
	w->service = s;
	w->reader = store_reader_new(s->store, post, worker_loop(worker));
	loop_hook_add(worker_loop(worker), &w->turn_end, turn_end, w);
	worker_set_user(worker, w);
	if (s->options->worker_start)
		s->options->worker_start(s, worker);
}

static void
worker_accept(struct worker *worker, int fd, const struct listener *listener,
    struct worker_conn *token)
{
	struct service *s = worker_arg(worker);
	s->options->accept(s, worker, fd, listener, token);
}

static void
worker_end_sessions(void *arg)
{
	struct worker *worker = arg;
	struct service *s = worker_arg(worker);
	if (s->options->worker_stop)
		s->options->worker_stop(s, worker);
}

static void
stop_poll(void *arg)
{
	struct service *s = arg;
	s->stop_waited_ms += STOP_POLL_MS;
	if (worker_set_connections(s->workers) > 0 &&
	    s->stop_waited_ms < DAEMON_STOP_MS) {
		loop_timer_start(
		    s->main_loop, &s->stop_timer, STOP_POLL_MS, stop_poll, s);
		return;
	}
	LOG_INFO(
	    "server.stop", LF_U64("connections", worker_set_connections(s->workers)));
	_exit(0);
}

static void
stop(void *arg)
{
	struct service *s = arg;
	worker_set_stop_accepting(s->workers);
	if (s->options->stopping)
		s->options->stopping(s);
	for (size_t i = 0; i < worker_set_count(s->workers); i++) {
		struct worker *worker = worker_set_at(s->workers, i);
		loop_post(worker_loop(worker), worker_end_sessions, worker);
	}
	loop_timer_start(s->main_loop, &s->stop_timer, STOP_POLL_MS, stop_poll, s);
}

/* ---- the run ---- */

static int
store_start(struct service *s, const struct conf *conf)
{
	struct store_options options = {
	    .path = conf->store.path,
	    .map_size = conf->store.map_size,
	    .shards = conf->store.shards,
	    .sync = conf->store.sync,
	    .compress = conf->store.compress,
	    .min_free_percent = conf->store.min_free_percent,
	    .undelete_days = conf->store.undelete_days,
	};
	char *error = NULL;
	store_side_sweep(conf->store.path);
	enum status status = store_open(&options, &s->store, &error);
	if (status == STATUS_OK)
		return 0;
	fprintf(stderr, "could not open the store %s: %s\n", conf->store.path,
	    error ? error : status_text(status));
	free(error);
	return status == STATUS_CORRUPT ? EXIT_CONFIG : EXIT_TEMPORARY;
}

/* ---- the age of what this process reads from ---- */
enum { READER_LOOK_MS = 1000 };

struct reader_age {
	struct service *service;
	struct stats_counter *gauge;
	struct loop_timer timer;
};

/* On the main loop, each second. */
static void
reader_age_look(void *arg)
{
	struct reader_age *age = arg;
	struct store_stats stats;
	store_stats(age->service->store, &stats);
	atomic_store_explicit(
	    &age->gauge->value, stats.oldest_reader_age_ms, memory_order_relaxed);
	loop_timer_start(
	    age->service->main_loop, &age->timer, READER_LOOK_MS, reader_age_look, age);
}

static void
stats_start(const struct service *s, const struct conf *conf)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s.stats", conf->run_dir, s->options->daemon);
	if (stats_open(path) != STATUS_OK)
		LOG_WARN("server.start", LF_STR("reason", "counters are private"),
		    LF_STR("path", path));
}

/* Before the first thread starts: it holds for threads that come later. */
static void
confine(const struct conf *conf)
{
	const char *const folders[] = {conf->store.path, conf->run_dir, conf->log.dir};
	enum status status =
	    daemon_write_only_below(folders, sizeof(folders) / sizeof(folders[0]));
	if (status != STATUS_OK)
		LOG_WARN("server.start",
		    LF_STR(
			"reason", "files are guarded by permissions only: no Landlock"),
		    LF_STR("status", status_text(status)));
}

int
service_main(int argc, char **argv, const struct service_options *options)
{
	static struct service service = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct service *s = &service;
	s->options = options;
	s->sessions = hashmap_new();
	/* Signals wait until daemon_run can act on them; standard descriptors are filled
	 * before anything is opened. */
	daemon_signals_block();
	daemon_limits();
	mallopt(M_TRIM_THRESHOLD, HEAP_KEEP_BYTES);
	mallopt(M_MMAP_THRESHOLD, HEAP_MMAP_BYTES);
	daemon_arguments_read(argc, argv, &s->arguments);
	struct conf *conf = conf_load(s);
	if (!conf)
		return EXIT_CONFIG;
	atomic_store(&s->conf, conf);
	log_start(s, conf);
	stats_start(s, conf);
	confine(conf);
	int code = store_start(s, conf);
	if (code != 0)
		return code;
	if (!tls_load(s, conf) || !service_auth_start(s, conf) ||
	    (options->check && !options->check(s, conf)) || !listeners_open(s, conf))
		return EXIT_CONFIG;
	s->main_loop = loop_new();
	struct worker_set_options workers = {
	    .threads = conf->threads,
	    .listeners = s->listeners,
	    .listener_count = s->listener_count,
	    .accept = worker_accept,
	    .start = worker_start,
	    .arg = s,
	};
	if (worker_set_start(&workers, &s->workers) != STATUS_OK) {
		fprintf(stderr, "could not start the worker threads\n");
		return EXIT_TEMPORARY;
	}
	if (options->started)
		options->started(s, s->main_loop);
	if (daemon_sandbox() != STATUS_OK)
		LOG_WARN("server.start", LF_STR("reason", "no sandbox: kernel refused"));
	static struct reader_age age;
	age.service = s;
	age.gauge = stats_get("store_oldest_reader_age_ms");
	reader_age_look(&age);
	daemon_ready();
	LOG_INFO("server.start", LF_U64("listeners", s->listener_count),
	    LF_U64("threads", worker_set_count(s->workers)));
	daemon_run(s->main_loop, reload, stop, s);
	_exit(0);
}

/* ---- accessors ---- */

const struct conf *
service_conf(const struct service *service)
{
	return atomic_load(&service->conf);
}

struct tls_context *
service_tls(struct service *service)
{
	pthread_mutex_lock(&service->lock);
	struct tls_context *tls = service->tls ? tls_context_ref(service->tls) : NULL;
	pthread_mutex_unlock(&service->lock);
	return tls;
}

struct store *
service_store(struct service *service)
{
	return service->store;
}

struct auth *
service_auth(struct service *service)
{
	return service->auth;
}

struct loop *
service_main_loop(struct service *service)
{
	return service->main_loop;
}

struct worker_set *
service_workers(struct service *service)
{
	return service->workers;
}

const char *
service_root(const struct service *service)
{
	return service->arguments.root;
}

struct pop3_rule
service_pop3_rule(const struct conf *conf)
{
	if (conf->pop3.delete_on_retrieval)
		return (struct pop3_rule){POP3_POLICY_DELETE, 0};
	if (conf->pop3.expire_days > 0)
		return (struct pop3_rule){
		    POP3_POLICY_DAYS, (uint16_t)conf->pop3.expire_days};
	return (struct pop3_rule){POP3_POLICY_KEEP, 0};
}

struct store_reader *
service_reader(struct worker *worker)
{
	const struct service_worker *w = worker_user(worker);
	return w->reader;
}

void
service_worker_set_user(struct worker *worker, void *user)
{
	struct service_worker *w = worker_user(worker);
	w->user = user;
}

void *
service_worker_user(struct worker *worker)
{
	const struct service_worker *w = worker_user(worker);
	return w->user;
}

static struct slice
account_key(const struct account_id *account)
{
	return slice_make((const char *)account->v, sizeof(account->v));
}

bool
service_session_begin(struct service *service, struct account_id account, unsigned max)
{
	pthread_mutex_lock(&service->lock);
	uintptr_t count =
	    (uintptr_t)hashmap_get(service->sessions, account_key(&account));
	bool allowed = max == 0 || count < max;
	if (allowed)
		hashmap_put(
		    service->sessions, account_key(&account), (void *)(count + 1));
	pthread_mutex_unlock(&service->lock);
	return allowed;
}

void
service_session_end(struct service *service, struct account_id account)
{
	pthread_mutex_lock(&service->lock);
	uintptr_t count =
	    (uintptr_t)hashmap_get(service->sessions, account_key(&account));
	ENSURE(count > 0);
	if (count == 1)
		hashmap_remove(service->sessions, account_key(&account));
	else
		hashmap_put(
		    service->sessions, account_key(&account), (void *)(count - 1));
	pthread_mutex_unlock(&service->lock);
}
