/*
 * Worker threads, accepting, and the limits on connections.
 *
 * The first worker's loop watches the listening sockets, since one accepting thread can
 * see all counts and choose the worker with the fewest connections; SO_REUSEPORT would
 * spread by hash and leave one loop with many long-lived IMAP sessions.  A connection
 * crosses threads once, by loop_post.
 *
 * Invariants
 *  1. A token is counted (worker, listener, address) from accept until worker_conn_done
 *     or until its worker refuses it because it stops.
 *  2. The table of addresses is touched under its mutex only; the other counts are
 *     atomics.
 *  3. Listening sockets are watched and closed on the first worker's thread.
 *
 * Thread: named at each function.
 */
#include "net/worker.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hashmap.h"
#include "base/list.h"
#include "base/log.h"
#include "net/conn.h"
#include "net/loop_int.h"
#include "net/network.h"
#include "net/proxy.h"

enum {
	WORKER_THREADS_MAX = 256,
	ACCEPT_TURN_MAX = 64,    /* connections of one listener in one turn */
	ACCEPT_PAUSE_MS = 100,   /* when descriptors or memory have run out */
	ADDRESS_KEY_MAX = 21,    /* family, listener, address */
	PROXY_TIMEOUT_MS = 5000, /* for the PROXY header */
	PROXY_LOOK_MS = 10,      /* between looks for more of it */
	SET_MAGIC = 0x30274e25,
};

struct worker {
	struct worker_set *set;
	unsigned index;
	struct loop *loop;
	pthread_t thread;
	atomic_size_t count; /* connections */
	bool stopping;       /* own thread only */
	struct list waiting; /* struct worker_conn: for their PROXY headers */
	void *user;
};

struct accepter {
	struct worker_set *set;
	struct listener listener;
	atomic_uint count;
	uv_poll_t poll;
	bool open; /* the handle exists */
};

struct worker_conn {
	struct worker *worker;
	struct accepter *accepter;
	int fd;
	unsigned char key_len;
	char key[ADDRESS_KEY_MAX];
	/* its PROXY header is read on its worker's thread, before its session begins */
	bool proxied;
	struct list node; /* in worker->waiting */
	struct loop_timer timer;
	uint64_t deadline_ms;           /* monotonic */
	struct sockaddr_storage client; /* AF_UNSPEC: the peer itself */
};

struct worker_set {
	unsigned magic;
	struct worker_set_options options;
	struct worker *workers;
	size_t worker_count;
	struct accepter *accepters;
	size_t accepter_count;
	struct loop_timer pause;
	bool accepting; /* first worker's thread */
	pthread_mutex_t address_mutex;
	struct hashmap *addresses; /* key to count, kept in the pointer itself */
};

static void watch_all(struct worker_set *set);

/* ---- counting ---- */

/* An IPv6 host has a /64 to itself, so that is what is counted; on a Unix socket a user.
 */
static void
make_key(struct worker_conn *token, const struct sockaddr_storage *peer)
{
	const struct worker_set *set = token->worker->set;
	size_t listener = (size_t)(token->accepter - set->accepters);
	char *out = token->key;
	*out++ = (char)(listener >> 8);
	*out++ = (char)listener;
	if (peer->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)peer;
		*out++ = '4';
		memcpy(out, &v4->sin_addr, 4);
		out += 4;
	} else if (peer->ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)peer;
		if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
			*out++ = '4';
			memcpy(out, &v6->sin6_addr.s6_addr[12], 4);
			out += 4;
		} else {
			*out++ = '6';
			memcpy(out, &v6->sin6_addr, 8);
			out += 8;
		}
	}
	struct ucred user;
	socklen_t len = sizeof(user);
	if (peer->ss_family == AF_UNIX &&
	    getsockopt(token->fd, SOL_SOCKET, SO_PEERCRED, &user, &len) == 0) {
		*out++ = 'u';
		memcpy(out, &user.uid, sizeof(user.uid));
		out += sizeof(user.uid);
	}
	token->key_len = (unsigned char)(out - token->key);
}

/* Counts one more of that address; false when it would pass `max`. */
static bool
address_take(struct worker_set *set, const struct worker_conn *token, unsigned max)
{
	struct slice key = slice_make(token->key, token->key_len);
	pthread_mutex_lock(&set->address_mutex);
	uintptr_t count = (uintptr_t)hashmap_get(set->addresses, key);
	bool fits = max == 0 || count < max;
	if (fits)
		hashmap_put(set->addresses, key, (void *)(count + 1));
	pthread_mutex_unlock(&set->address_mutex);
	return fits;
}

static void
address_release(struct worker_set *set, const struct worker_conn *token)
{
	struct slice key = slice_make(token->key, token->key_len);
	/* A proxy that has not told its client yet. */
	if (key.len == 0)
		return;
	pthread_mutex_lock(&set->address_mutex);
	uintptr_t count = (uintptr_t)hashmap_get(set->addresses, key);
	ENSURE(count > 0);
	if (count == 1)
		hashmap_remove(set->addresses, key);
	else
		hashmap_put(set->addresses, key, (void *)(count - 1));
	pthread_mutex_unlock(&set->address_mutex);
}

/* The worker's thread. */
void
worker_conn_done(struct worker_conn *token)
{
	struct worker *worker = token->worker;
	address_release(worker->set, token);
	atomic_fetch_sub_explicit(&token->accepter->count, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&worker->count, 1, memory_order_relaxed);
	free(token);
}

/* ---- accepting, on the first worker's thread ---- */

static struct worker *
choose_worker(struct worker_set *set)
{
	struct worker *best = &set->workers[0];
	size_t best_count = SIZE_MAX;
	for (size_t i = 0; i < set->worker_count; i++) {
		size_t count =
		    atomic_load_explicit(&set->workers[i].count, memory_order_relaxed);
		if (count < best_count) {
			best = &set->workers[i];
			best_count = count;
		}
	}
	return best;
}

static void
refuse(const struct listener *listener, int fd)
{
	/* Clear text would only be noise to a client that begins with TLS. */
	if (listener->refuse_text.len > 0 && listener->tls != LISTENER_TLS_IMPLICIT) {
		ssize_t sent = send(fd, listener->refuse_text.ptr,
		    listener->refuse_text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		(void)sent;
	}
	close(fd);
}

/* The worker's thread. */
static void
begin_conn(struct worker_conn *token)
{
	struct worker *worker = token->worker;
	worker->set->options.accept(worker, token->fd, &token->accepter->listener, token);
}

static void
proxy_drop(struct worker_conn *token, const char *reason)
{
	LOG_DEBUG("conn.close", LF_STR("listener", token->accepter->listener.name),
	    LF_STR("reason", reason));
	close(token->fd);
	worker_conn_done(token);
}

/* The header is there: its octets are taken out of the socket, what follows stays. */
static void
proxy_take(struct worker_conn *token, size_t used)
{
	char bytes[PROXY_HEADER_MAX];
	unsigned max = token->accepter->listener.max_per_ip;
	if (recv(token->fd, bytes, used, MSG_DONTWAIT) != (ssize_t)used) {
		proxy_drop(token, "the PROXY header could not be read");
		return;
	}
	/* A proxy that speaks for itself (its health checks) is not counted. */
	if (token->client.ss_family != AF_UNSPEC) {
		make_key(token, &token->client);
		if (!address_take(token->worker->set, token, max)) {
			token->key_len = 0;
			refuse(&token->accepter->listener, token->fd);
			worker_conn_done(token);
			return;
		}
	}
	begin_conn(token);
}

/* Looks at what has come, without taking it, now and every PROXY_LOOK_MS: a header comes
 * whole with the first segment, so it hardly ever waits. */
static void
proxy_look(void *arg)
{
	struct worker_conn *token = arg;
	char bytes[PROXY_HEADER_MAX];
	struct proxy_header header;
	size_t used = 0;
	ssize_t n = recv(token->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	enum proxy_result result = PROXY_MORE;
	if (n > 0)
		result = proxy_parse(slice_make(bytes, (size_t)n), &header, &used);
	bool gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	if (result == PROXY_MORE && !gone && clock_mono_ms() < token->deadline_ms) {
		loop_timer_start(
		    token->worker->loop, &token->timer, PROXY_LOOK_MS, proxy_look, token);
		return;
	}
	list_remove(&token->node);
	if (result != PROXY_DONE) {
		proxy_drop(token, gone ? "closed before its PROXY header"
				  : result == PROXY_BAD
				      ? "no PROXY header in front"
				      : "the PROXY header did not come");
		return;
	}
	token->client = header.client;
	proxy_take(token, used);
}

/* The worker's thread. */
static void
start_conn(void *arg)
{
	struct worker_conn *token = arg;
	struct worker *worker = token->worker;
	if (worker->stopping) {
		close(token->fd);
		worker_conn_done(token);
		return;
	}
	if (!token->proxied) {
		begin_conn(token);
		return;
	}
	list_append(&worker->waiting, &token->node);
	token->deadline_ms = clock_mono_ms() + PROXY_TIMEOUT_MS;
	proxy_look(token);
}

/* The worker stops: who waits is let go. */
static void
proxy_stop(struct worker *worker)
{
	struct list *node;
	while ((node = list_pop(&worker->waiting))) {
		struct worker_conn *token = LIST_ENTRY(node, struct worker_conn, node);
		loop_timer_stop(&token->timer);
		proxy_drop(token, "server stops");
	}
}

void
worker_conn_adopt(const struct worker_conn *token, struct conn *conn)
{
	if (token && token->proxied && token->client.ss_family != AF_UNSPEC)
		conn_set_peer(conn, &token->client);
}

static void
admit(struct accepter *a, int fd, const struct sockaddr_storage *peer)
{
	struct worker_set *set = a->set;
	unsigned standing = atomic_load_explicit(&a->count, memory_order_relaxed);
	if (a->listener.max_connections > 0 && standing >= a->listener.max_connections) {
		refuse(&a->listener, fd);
		return;
	}
	struct worker_conn *token = xcalloc(1, sizeof(*token));
	token->worker = choose_worker(set);
	token->accepter = a;
	token->fd = fd;
	token->proxied = network_list_has((const struct sockaddr *)peer,
	    a->listener.proxy_networks, a->listener.proxy_network_count);
	if (!token->proxied)
		make_key(token, peer);
	if (!token->proxied && !address_take(set, token, a->listener.max_per_ip)) {
		free(token);
		refuse(&a->listener, fd);
		return;
	}
	atomic_fetch_add_explicit(&a->count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&token->worker->count, 1, memory_order_relaxed);
	loop_post(token->worker->loop, start_conn, token);
}

static void
on_pause_over(void *arg)
{
	watch_all(arg);
}

static void
pause_accepting(struct worker_set *set)
{
	for (size_t i = 0; i < set->accepter_count; i++)
		uv_poll_stop(&set->accepters[i].poll);
	loop_timer_start(
	    set->workers[0].loop, &set->pause, ACCEPT_PAUSE_MS, on_pause_over, set);
}

static void
on_connection(uv_poll_t *handle, int status, int events)
{
	struct accepter *a = handle->data;
	(void)status, (void)events;
	for (int i = 0; i < ACCEPT_TURN_MAX; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof(peer);
		memset(&peer, 0, sizeof(peer));
		int fd = accept4(a->listener.fd, (struct sockaddr *)&peer, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(a, fd, &peer);
			continue;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		/* Out of descriptors or memory: the backlog holds them meanwhile.  Any
		 * other error is the new connection's own trouble, and pausing is safe.
		 */
		pause_accepting(a->set);
		return;
	}
}

static void
watch_all(struct worker_set *set)
{
	if (!set->accepting)
		return;
	for (size_t i = 0; i < set->accepter_count; i++)
		ENSURE(uv_poll_start(
			   &set->accepters[i].poll, UV_READABLE, on_connection) == 0);
}

static void
open_accepters(struct worker_set *set)
{
	for (size_t i = 0; i < set->accepter_count; i++) {
		struct accepter *a = &set->accepters[i];
		ENSURE(uv_poll_init(
			   loop_uv(set->workers[0].loop), &a->poll, a->listener.fd) == 0);
		a->poll.data = a;
		a->open = true;
	}
	set->accepting = true;
	watch_all(set);
}

static void
close_accepters(void *arg)
{
	struct worker_set *set = arg;
	set->accepting = false;
	loop_timer_stop(&set->pause);
	for (size_t i = 0; i < set->accepter_count; i++) {
		struct accepter *a = &set->accepters[i];
		if (!a->open)
			continue;
		a->open = false;
		uv_close((uv_handle_t *)&a->poll, NULL);
		close(a->listener.fd);
	}
}

/* ---- threads ---- */

static void *
run_worker(void *arg)
{
	struct worker *worker = arg;
	struct worker_set *set = worker->set;
	char name[16];
	snprintf(name, sizeof(name), "worker %u", worker->index);
	pthread_setname_np(pthread_self(), name);
	if (set->options.start)
		set->options.start(worker);
	if (worker->index == 0)
		open_accepters(set);
	loop_run(worker->loop);
	if (worker->index == 0)
		close_accepters(set);
	worker->stopping = true;
	proxy_stop(worker);
	if (set->options.stop)
		set->options.stop(worker);
	return NULL;
}

static void
free_set(struct worker_set *set)
{
	/* What was posted to a stopped worker is refused here (start_conn). */
	for (size_t i = 0; i < set->worker_count; i++)
		loop_free(&set->workers[i].loop);
	hashmap_free(&set->addresses, NULL);
	pthread_mutex_destroy(&set->address_mutex);
	free(set->accepters);
	free(set->workers);
	set->magic = 0;
	free(set);
}

static void
stop_threads(struct worker_set *set, size_t count)
{
	/* The first stops first: nothing is handed to the others any more then. */
	for (size_t i = 0; i < count; i++) {
		loop_stop(set->workers[i].loop);
		pthread_join(set->workers[i].thread, NULL);
	}
}

static size_t
count_threads(unsigned asked)
{
	if (asked == 0) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);
		asked = cores > 0 ? (unsigned)cores : 1;
	}
	return asked < WORKER_THREADS_MAX ? asked : WORKER_THREADS_MAX;
}

/* The main thread. */
enum status
worker_set_start(const struct worker_set_options *options, struct worker_set **out)
{
	ENSURE(options->accept);
	struct worker_set *set = xcalloc(1, sizeof(*set));
	set->magic = SET_MAGIC;
	set->options = *options;
	set->worker_count = count_threads(options->threads);
	set->workers = xcalloc(set->worker_count, sizeof(*set->workers));
	set->accepter_count = options->listener_count;
	set->accepters = xcalloc(set->accepter_count + 1, sizeof(*set->accepters));
	set->addresses = hashmap_new();
	pthread_mutex_init(&set->address_mutex, NULL);
	for (size_t i = 0; i < set->accepter_count; i++) {
		set->accepters[i].set = set;
		set->accepters[i].listener = options->listeners[i];
		atomic_init(&set->accepters[i].count, 0);
	}
	for (size_t i = 0; i < set->worker_count; i++) {
		struct worker *worker = &set->workers[i];
		worker->set = set;
		worker->index = (unsigned)i;
		worker->loop = loop_new();
		list_init(&worker->waiting);
		atomic_init(&worker->count, 0);
	}
	/* The accepting one is started last: it needs all the others. */
	for (size_t i = set->worker_count; i-- > 0;) {
		struct worker *worker = &set->workers[i];
		if (pthread_create(&worker->thread, NULL, run_worker, worker) == 0)
			continue;
		for (size_t j = i + 1; j < set->worker_count; j++) {
			loop_stop(set->workers[j].loop);
			pthread_join(set->workers[j].thread, NULL);
		}
		for (size_t j = 0; j <= i; j++)
			set->workers[j].stopping = true;
		free_set(set);
		return STATUS_LIMIT;
	}
	*out = set;
	return STATUS_OK;
}

/* The main thread. */
void
worker_set_stop(struct worker_set **set_ptr)
{
	struct worker_set *set = *set_ptr;
	if (!set)
		return;
	*set_ptr = NULL;
	ENSURE(set->magic == SET_MAGIC);
	stop_threads(set, set->worker_count);
	free_set(set);
}

/* Any thread. */
void
worker_set_stop_accepting(struct worker_set *set)
{
	ENSURE(set->magic == SET_MAGIC);
	loop_post(set->workers[0].loop, close_accepters, set);
}

size_t
worker_set_count(const struct worker_set *set)
{
	return set->worker_count;
}

size_t
worker_set_connections(const struct worker_set *set)
{
	size_t count = 0;
	for (size_t i = 0; i < set->worker_count; i++)
		count +=
		    atomic_load_explicit(&set->workers[i].count, memory_order_relaxed);
	return count;
}

struct worker *
worker_set_at(struct worker_set *set, size_t index)
{
	ENSURE(index < set->worker_count);
	return &set->workers[index];
}

struct loop *
worker_loop(struct worker *worker)
{
	return worker->loop;
}

unsigned
worker_index(const struct worker *worker)
{
	return worker->index;
}

void *
worker_arg(struct worker *worker)
{
	return worker->set->options.arg;
}

void
worker_set_user(struct worker *worker, void *user)
{
	worker->user = user;
}

void *
worker_user(struct worker *worker)
{
	return worker->user;
}
