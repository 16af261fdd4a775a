/*
 * A connection's life: made, connected, ready, failed, closed.
 *
 *	conn_connect ─► CONNECTING ─finish_connect─► OPEN ◄─ conn_new
 *	                     │                        │ conn_fail
 *	                     └──────conn_fail──► FAILED │
 *	OPEN ─conn_close(flush)─► LINGER ─flushed─► DRAIN ─► GONE
 *	any  ─conn_close────────────────────────────────────► GONE
 *
 * Invariants
 *  1. Events come only from libuv's poll, the loop's timers and the one-shot "again"
 *     call, never from inside a conn_* function that the owner called.
 *  2. After every event the owner may be gone: conn_emit tells, and nothing but the
 *     struct's own memory (which lives until libuv's close callback) is touched then.
 *  3. CONN_CLOSED is told once and is the last event.
 *
 * Thread: the loop's.
 */
#include "net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/ensure.h"
#include "net/conn_int.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
	KEEPALIVE_IDLE_S = 120,
	KEEPALIVE_INTERVAL_S = 30,
	KEEPALIVE_COUNT = 6,
};

static void on_ready(uv_poll_t *handle, int status, int events);
static void on_again(void *arg);

/* ---- addresses ---- */

static uint16_t
address_text(const union conn_address *address, char *out, size_t size)
{
	out[0] = '\0';
	if (address->any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &address->v4.sin_addr, out, (socklen_t)size);
		return ntohs(address->v4.sin_port);
	}
	if (address->any.sa_family == AF_INET6) {
		const struct in6_addr *v6 = &address->v6.sin6_addr;
		if (IN6_IS_ADDR_V4MAPPED(v6))
			inet_ntop(AF_INET, &v6->s6_addr[12], out, (socklen_t)size);
		else
			inet_ntop(AF_INET6, v6, out, (socklen_t)size);
		return ntohs(address->v6.sin6_port);
	}
	snprintf(out, size, "local");
	return 0;
}

static void
read_local(struct conn *c)
{
	union conn_address local;
	socklen_t len = sizeof(local);
	memset(&local, 0, sizeof(local));
	if (getsockname(c->fd, &local.any, &len) != 0)
		local.any.sa_family = AF_UNSPEC;
	c->local_port = address_text(&local, c->local_text, sizeof(c->local_text));
}

static void
read_peer(struct conn *c)
{
	socklen_t len = sizeof(c->peer);
	if (getpeername(c->fd, &c->peer.any, &len) != 0) {
		memset(&c->peer, 0, sizeof(c->peer));
		c->peer.any.sa_family = AF_UNSPEC;
	}
}

static void
set_options(int fd, sa_family_t family)
{
	if (family != AF_INET && family != AF_INET6)
		return;
	/* One send a turn is our own coalescing, so Nagle would only add delay. */
	int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S;
	int count = KEEPALIVE_COUNT;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* ---- events ---- */

/* False when the owner let go meanwhile. */
bool
conn_emit(struct conn *c, enum conn_event event)
{
	if (!c->fn || c->told_closed)
		return false;
	if (event == CONN_CLOSED) {
		c->told_closed = true;
		loop_timer_stop(&c->deadline);
	}
	c->fn(c, event, c->arg);
	return c->fn != NULL;
}

void
conn_schedule(struct conn *c)
{
	loop_again_add(c->loop, &c->again_hook, on_again, c);
}

static void
on_flush(void *arg)
{
	struct conn *c = OBJ_CAST(conn, arg, CONN_MAGIC);
	conn_send(c);
	conn_update_poll(c, false);
}

void
conn_schedule_flush(struct conn *c)
{
	loop_late_add(c->loop, &c->flush_hook, on_flush, c);
}

static void
set_error(struct conn *c, const char *what, const char *reason)
{
	if (c->error)
		return;
	size_t size = strlen(what) + strlen(reason) + 3;
	c->error = xmalloc(size);
	snprintf(c->error, size, "%s: %s", what, reason);
}

static void conn_gone(struct conn *c);

void
conn_fail(struct conn *c, const char *what, const char *reason)
{
	set_error(c, what, reason);
	switch (c->state) {
	case CONN_STATE_CONNECTING:
	case CONN_STATE_OPEN:
		c->state = CONN_STATE_FAILED;
		conn_output_fini(c);
		conn_schedule(c);
		break;
	case CONN_STATE_LINGER:
	case CONN_STATE_DRAIN:
		conn_gone(c);
		break;
	case CONN_STATE_FAILED:
	case CONN_STATE_GONE:
		break;
	}
}

static void
on_closed(uv_handle_t *handle)
{
	struct conn *c = OBJ_CAST(conn, handle->data, CONN_MAGIC);
	c->magic = 0;
	free(c->error);
	free(c);
}

static void
conn_gone(struct conn *c)
{
	if (c->state == CONN_STATE_GONE)
		return;
	c->state = CONN_STATE_GONE;
	c->fn = NULL;
	loop_timer_stop(&c->deadline);
	loop_hook_remove(&c->flush_hook);
	loop_hook_remove(&c->again_hook);
	loop_hook_remove(&c->end_hook);
	conn_tls_shutdown(c);
	conn_output_fini(c);
	conn_input_fini(c);
	conn_deflate_fini(c);
	conn_tls_fini(c);
	uv_close((uv_handle_t *)&c->poll, on_closed);
	close(c->fd);
	c->fd = -1;
}

static void
on_loop_end(void *arg)
{
	conn_gone(OBJ_CAST(conn, arg, CONN_MAGIC));
}

/* ---- readiness ---- */

static int
wanted_events(const struct conn *c)
{
	int want = 0;
	switch (c->state) {
	case CONN_STATE_CONNECTING:
		return UV_WRITABLE;
	case CONN_STATE_DRAIN:
		return UV_READABLE;
	case CONN_STATE_FAILED:
	case CONN_STATE_GONE:
		return 0;
	case CONN_STATE_OPEN:
	case CONN_STATE_LINGER:
		break;
	}
	if (c->blocked)
		want |= UV_WRITABLE;
	if (c->tls) {
		if (c->tls->phase == CONN_TLS_WAITS)
			return want;
		if (c->tls->phase == CONN_TLS_HANDSHAKE)
			return c->tls->handshake_writes ? UV_WRITABLE : UV_READABLE;
		if (c->tls->read_wants_write)
			want |= UV_WRITABLE;
		if (c->tls->write_wants_read)
			want |= UV_READABLE;
	}
	if (c->state == CONN_STATE_OPEN && !c->paused && !c->eof &&
	    conn_input_room(c) > 0 && !conn_has_buffered(c))
		want |= UV_READABLE;
	return want;
}

void
conn_update_poll(struct conn *c, bool drop)
{
	if (c->state == CONN_STATE_GONE)
		return;
	int want = wanted_events(c);
	/* libuv leaves the epoll set and enters it again at every change. */
	if (!drop && c->state == CONN_STATE_OPEN && !c->eof &&
	    (want | UV_READABLE) == c->poll_events)
		return;
	if (want == c->poll_events)
		return;
	c->poll_events = want;
	if (want == 0)
		ENSURE(uv_poll_stop(&c->poll) == 0);
	else
		ENSURE(uv_poll_start(&c->poll, want, on_ready) == 0);
}

/* Offers input, then tells the end if there is one. */
static void
dispatch_input(struct conn *c)
{
	if (c->paused)
		return;
	if (c->in.len > c->in_used && !conn_emit(c, CONN_READ))
		return;
	if (c->state == CONN_STATE_FAILED || c->paused || c->offer_read)
		return;
	if (conn_has_buffered(c)) {
		if (conn_input_room(c) > 0) {
			c->offer_read = true;
			conn_schedule(c);
		}
		return;
	}
	if (c->eof) {
		/* A turn later, so that replies to what came last are still flushed. */
		set_error(c, "connection", "closed by peer");
		c->end_due = true;
		conn_schedule(c);
	}
}

static void
drain_input(struct conn *c)
{
	ssize_t got = recv(c->fd, loop_scratch(c->loop), LOOP_SCRATCH_SIZE, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0)
		c->drained_bytes += (size_t)got;
	if (got <= 0 || c->drained_bytes > CONN_DRAIN_BYTES_MAX)
		conn_gone(c);
}

static void
finish_connect(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error != 0) {
		conn_fail(c, "cannot connect", strerror(error));
		return;
	}
	c->state = CONN_STATE_OPEN;
	read_local(c);
	conn_schedule_flush(c);
	conn_emit(c, CONN_CONNECTED);
}

/* libuv reports EPOLLERR this way and stops watching. */
static void
on_socket_error(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);
	c->poll_events = 0;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (c->state == CONN_STATE_CONNECTING) {
		conn_fail(c, "cannot connect", error ? strerror(error) : "socket error");
		return;
	}
	/* What the peer sent before it went is still good. */
	if (c->state == CONN_STATE_OPEN && !conn_tls_starting(c) && !c->paused &&
	    !c->eof) {
		conn_receive(c);
		if (c->state == CONN_STATE_OPEN && c->in.len > c->in_used)
			conn_emit(c, CONN_READ);
	}
	conn_fail(c, "connection", error ? strerror(error) : "socket error");
}

static void
on_ready_open(struct conn *c, int events)
{
	bool readable = events & UV_READABLE;
	if (c->tls && c->tls->phase == CONN_TLS_ON) {
		if (c->tls->write_wants_read && readable)
			events |= UV_WRITABLE;
		if (c->tls->read_wants_write && events & UV_WRITABLE)
			readable = true;
	}
	if (events & UV_WRITABLE) {
		c->blocked = false;
		conn_send(c);
	}
	if (c->state != CONN_STATE_OPEN || !readable)
		return;
	if (c->paused || c->eof || conn_input_room(c) == 0 || conn_tls_starting(c)) {
		conn_update_poll(c, true);
		return;
	}
	conn_receive(c);
	if (c->state == CONN_STATE_OPEN)
		dispatch_input(c);
}

static void
on_ready(uv_poll_t *handle, int status, int events)
{
	struct conn *c = OBJ_CAST(conn, handle->data, CONN_MAGIC);
	if (status < 0)
		on_socket_error(c);
	else if (c->state == CONN_STATE_CONNECTING)
		finish_connect(c);
	else if (c->state == CONN_STATE_DRAIN)
		drain_input(c);
	else if (c->state == CONN_STATE_OPEN || c->state == CONN_STATE_LINGER) {
		if (c->tls && c->tls->phase == CONN_TLS_HANDSHAKE)
			conn_tls_step(c);
		else
			on_ready_open(c, events);
	}
	conn_update_poll(c, false);
}

static void
on_again(void *arg)
{
	struct conn *c = OBJ_CAST(conn, arg, CONN_MAGIC);
	if (c->state == CONN_STATE_FAILED || c->end_due) {
		conn_emit(c, CONN_CLOSED);
		conn_update_poll(c, true);
		return;
	}
	if (c->drained_due) {
		c->drained_due = false;
		if (!conn_emit(c, CONN_DRAINED))
			return;
	}
	bool offer = c->offer_read;
	c->offer_read = false;
	if (c->state == CONN_STATE_OPEN && offer && !conn_tls_starting(c)) {
		if (!c->paused && conn_has_buffered(c) && conn_input_room(c) > 0)
			conn_receive(c);
		if (c->state == CONN_STATE_OPEN)
			dispatch_input(c);
	}
	conn_update_poll(c, false);
}

/* ---- making ---- */

static struct conn *
make(struct loop *loop, int fd, conn_event_fn fn, void *arg)
{
	loop_check_thread(loop);
	struct conn *c = xcalloc(1, sizeof(*c));
	c->magic = CONN_MAGIC;
	c->fd = fd;
	c->loop = loop;
	c->fn = fn;
	c->arg = arg;
	buf_init(&c->in, CONN_INPUT_MAX);
	list_init(&c->wire);
	list_init(&c->queue);
	ENSURE(uv_poll_init(loop_uv(loop), &c->poll, fd) == 0);
	c->poll.data = c;
	loop_end_add(loop, &c->end_hook, on_loop_end, c);
	return c;
}

struct conn *
conn_new(struct loop *loop, int fd, conn_event_fn fn, void *arg)
{
	struct conn *c = make(loop, fd, fn, arg);
	c->state = CONN_STATE_OPEN;
	read_peer(c);
	read_local(c);
	address_text(&c->peer, c->peer_text, sizeof(c->peer_text));
	set_options(fd, c->peer.any.sa_family);
	conn_update_poll(c, true);
	return c;
}

struct conn *
conn_connect(struct loop *loop, const struct sockaddr *to, socklen_t to_len,
    const struct sockaddr *source, socklen_t source_len, conn_event_fn fn, void *arg)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	set_options(fd, to->sa_family);
	struct conn *c = make(loop, fd, fn, arg);
	c->state = CONN_STATE_CONNECTING;
	if (to_len <= sizeof(c->peer))
		memcpy(&c->peer, to, to_len);
	address_text(&c->peer, c->peer_text, sizeof(c->peer_text));
	int on = 1;
	if (source)
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (source && bind(fd, source, source_len) != 0)
		conn_fail(c, "cannot bind the source address", strerror(errno));
	else if (connect(fd, to, to_len) != 0 && errno != EINPROGRESS)
		conn_fail(c, "cannot connect", strerror(errno));
	conn_update_poll(c, true);
	return c;
}

void
conn_set_events(struct conn *c, conn_event_fn fn, void *arg)
{
	ENSURE(c->magic == CONN_MAGIC && c->fn && fn);
	c->fn = fn;
	c->arg = arg;
}

/* ---- closing ---- */

static void
on_linger_over(void *arg)
{
	conn_gone(OBJ_CAST(conn, arg, CONN_MAGIC));
}

/* All is sent: close_notify and FIN.  Closing a socket with unread input would send a
 * reset, which can take our last reply away from the peer: then wait for its FIN. */
static void
finish_linger(struct conn *c)
{
	int unread = 0;
	conn_tls_shutdown(c);
	if (shutdown(c->fd, SHUT_WR) != 0 || ioctl(c->fd, FIONREAD, &unread) != 0 ||
	    unread == 0 || c->eof) {
		conn_gone(c);
		return;
	}
	c->state = CONN_STATE_DRAIN;
}

void
conn_linger_sent(struct conn *c)
{
	if (c->state == CONN_STATE_LINGER)
		finish_linger(c);
}

void
conn_close(struct conn **c_ptr, bool flush)
{
	struct conn *c = *c_ptr;
	if (!c)
		return;
	*c_ptr = NULL;
	ENSURE(c->magic == CONN_MAGIC && c->fn);
	loop_check_thread(c->loop);
	c->fn = NULL;
	loop_timer_stop(&c->deadline);
	loop_hook_remove(&c->again_hook);
	if (!flush || c->state != CONN_STATE_OPEN || conn_tls_starting(c) ||
	    (c->tls && c->tls->phase == CONN_TLS_BROKEN)) {
		conn_gone(c);
		return;
	}
	c->state = CONN_STATE_LINGER;
	conn_input_fini(c);
	loop_timer_start(c->loop, &c->deadline, CONN_LINGER_MS, on_linger_over, c);
	/* Even with nothing queued: the owner may still stand on this conn's callback. */
	conn_schedule_flush(c);
}

/* ---- the rest ---- */

static void
on_deadline(void *arg)
{
	struct conn *c = OBJ_CAST(conn, arg, CONN_MAGIC);
	if (c->state == CONN_STATE_FAILED)
		return;
	conn_emit(c, CONN_TIMEOUT);
	conn_update_poll(c, false);
}

void
conn_deadline(struct conn *c, uint64_t ms)
{
	ENSURE(c->magic == CONN_MAGIC && c->fn);
	if (ms == 0)
		loop_timer_stop(&c->deadline);
	else if (!c->told_closed)
		loop_timer_start(c->loop, &c->deadline, ms, on_deadline, c);
}

struct loop *
conn_loop(const struct conn *c)
{
	return c->loop;
}

const char *
conn_peer_text(const struct conn *c)
{
	return c->peer_text;
}

uint16_t
conn_peer_port(const struct conn *c)
{
	return c->peer.any.sa_family == AF_INET    ? ntohs(c->peer.v4.sin_port)
	       : c->peer.any.sa_family == AF_INET6 ? ntohs(c->peer.v6.sin6_port)
	                                           : 0;
}

const char *
conn_local_text(const struct conn *c)
{
	return c->local_text;
}

uint16_t
conn_local_port(const struct conn *c)
{
	return c->local_port;
}

const struct sockaddr *
conn_peer(const struct conn *c)
{
	return &c->peer.any;
}

void
conn_set_peer(struct conn *c, const struct sockaddr_storage *peer)
{
	ENSURE(c->magic == CONN_MAGIC);
	memset(&c->peer, 0, sizeof(c->peer));
	memcpy(&c->peer, peer,
	    peer->ss_family == AF_INET ? sizeof(c->peer.v4) : sizeof(c->peer.v6));
	address_text(&c->peer, c->peer_text, sizeof(c->peer_text));
}

const char *
conn_error(const struct conn *c)
{
	return c->error ? c->error : "no error";
}
