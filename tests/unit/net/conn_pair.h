/*
 * Two connections joined by a socket pair, with what each side saw, in any combination of
 * layers.  For the tests of conn; each test binary has its own.
 */
#ifndef TESTS_NET_CONN_PAIR_H
#define TESTS_NET_CONN_PAIR_H

#include <fcntl.h>

#include "net/conn.h"
#include "unit/net/net_harness.h"

enum { END_KEEP = 256 };

/* One side of a pair, with what it saw. */
struct end {
	struct conn *c;
	struct buf got;
	size_t take_max; /* bytes consumed per CONN_READ; 0: all */
	bool again;      /* asks for another turn when something is left */
	bool hold;       /* consumes nothing */
	bool close_on_read;
	size_t input_longest;
	unsigned reads, drained, secured, connected, timeouts, closed;
	char error[END_KEEP];
};

static struct harness_ca ca;

static inline void
on_event(struct conn *c, enum conn_event event, void *arg)
{
	struct end *e = arg;
	struct slice input;
	assert_ptr_equal(c, e->c);
	switch (event) {
	case CONN_READ:
		e->reads++;
		input = conn_input(c);
		assert_true(input.len > 0);
		if (input.len > e->input_longest)
			e->input_longest = input.len;
		if (e->hold)
			break;
		if (e->take_max > 0)
			input = slice_sub(input, 0, e->take_max);
		buf_append(&e->got, input);
		conn_consume(c, input.len);
		if (e->again && conn_input(c).len > 0)
			conn_read_again(c);
		if (e->close_on_read)
			conn_close(&e->c, true);
		break;
	case CONN_DRAINED:
		e->drained++;
		break;
	case CONN_SECURED:
		e->secured++;
		break;
	case CONN_CONNECTED:
		e->connected++;
		break;
	case CONN_TIMEOUT:
		e->timeouts++;
		break;
	case CONN_CLOSED:
		e->closed++;
		snprintf(e->error, sizeof(e->error), "%s", conn_error(c));
		conn_close(&e->c, false);
		break;
	}
}

static inline bool
end_is_closed(void *arg)
{
	struct end *e = arg;
	return e->closed > 0;
}

struct pair {
	struct loop *loop;
	struct end a; /* server */
	struct end b; /* client */
	size_t want_a, want_b;
};

static inline void
end_init(struct end *e)
{
	memset(e, 0, sizeof(*e));
	buf_init(&e->got, 256 << 20);
}

static inline void
pair_open(struct pair *p, int type)
{
	int fds[2];
	memset(p, 0, sizeof(*p));
	assert_int_equal(
	    socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	p->loop = loop_new();
	end_init(&p->a);
	end_init(&p->b);
	p->a.c = conn_new(p->loop, fds[0], on_event, &p->a);
	p->b.c = conn_new(p->loop, fds[1], on_event, &p->b);
}

static inline void
pair_close(struct pair *p)
{
	conn_close(&p->a.c, false);
	conn_close(&p->b.c, false);
	loop_free(&p->loop);
	buf_fini(&p->a.got);
	buf_fini(&p->b.got);
}

static inline bool
pair_has_all(void *arg)
{
	struct pair *p = arg;
	return p->a.got.len >= p->want_a && p->b.got.len >= p->want_b;
}

static inline bool
pair_is_secure(void *arg)
{
	struct pair *p = arg;
	return (p->a.secured && p->b.secured) || p->a.closed || p->b.closed;
}

static inline bool
pair_is_closed(void *arg)
{
	struct pair *p = arg;
	return p->a.closed && p->b.closed;
}

static inline bool
pair_one_closed(void *arg)
{
	struct pair *p = arg;
	return p->a.closed || p->b.closed;
}

static inline void
pair_secure(struct pair *p)
{
	conn_start_tls_server(p->a.c, ca.server);
	conn_start_tls_client(p->b.c, ca.client, "mail.test", true);
	harness_run_until(p->loop, pair_is_secure, p);
	assert_int_equal(p->a.secured, 1);
	assert_int_equal(p->b.secured, 1);
}

static inline void
pair_deflate(struct pair *p)
{
	assert_int_equal(conn_start_deflate(p->a.c), STATUS_OK);
	assert_int_equal(conn_start_deflate(p->b.c), STATUS_OK);
	assert_true(conn_is_deflated(p->a.c));
}

static inline char *
make_bytes(size_t size, unsigned seed)
{
	char *bytes = malloc(size);
	assert_non_null(bytes);
	/* Half text that repeats, half noise. */
	for (size_t i = 0; i < size; i++) {
		seed = seed * 1103515245u + 12345u;
		bytes[i] = (i / 4096) % 2
		               ? (char)(seed >> 16)
		               : "Received: from example "[(i + (i >> 8)) % 23];
	}
	return bytes;
}

/* ---- layers: the same checks in clear, TLS, DEFLATE, and DEFLATE in TLS ---- */

enum layer { LAYER_CLEAR, LAYER_TLS, LAYER_DEFLATE, LAYER_TLS_DEFLATE, LAYER_COUNT };

static inline void
pair_open_layer(struct pair *p, enum layer layer)
{
	pair_open(p, SOCK_STREAM);
	if (layer == LAYER_TLS || layer == LAYER_TLS_DEFLATE)
		pair_secure(p);
	if (layer == LAYER_DEFLATE || layer == LAYER_TLS_DEFLATE)
		pair_deflate(p);
}

static inline int
set_up(void **state)
{
	(void)state;
	harness_ca_make(&ca);
	return 0;
}

static inline int
tear_down(void **state)
{
	(void)state;
	harness_ca_remove(&ca);
	return 0;
}

#endif
