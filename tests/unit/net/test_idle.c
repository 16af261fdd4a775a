/*
 * What an idle connection costs.  The server's side of many connections is opened, used
 * and left alone, with the clients in a process of their own; then the heap is compared.
 * The bounds are budgets: passing them is a decision, not an accident (decision 0001).
 */
#include "net/conn.h"

#include <malloc.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "unit/net/net_harness.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEAP_IS_OURS 0 /* the sanitizers have a heap of their own */
#else
#define HEAP_IS_OURS 1
#endif

enum {
	CONNS = 200,
	CLEAR_BYTES_MAX = 1024,
	TLS_BYTES_MAX = 16 * 1024,
	TLS_DEFLATE_BYTES_MAX = 17 * 1024,
};

enum layer { LAYER_CLEAR, LAYER_TLS, LAYER_TLS_DEFLATE };

struct side {
	struct loop *loop;
	struct conn *conns[CONNS];
	enum layer layer;
	bool is_server;
	unsigned secured, got, closed;
	struct tls_context *tls;
};

static void
begin_layer(struct side *s, struct conn *c)
{
	if (s->layer == LAYER_TLS_DEFLATE)
		assert_int_equal(conn_start_deflate(c), STATUS_OK);
	if (!s->is_server)
		conn_write(c, SLICE("a1 SELECT INBOX\r\n"));
}

static void
on_event(struct conn *c, enum conn_event event, void *arg)
{
	struct side *s = arg;
	if (event == CONN_SECURED) {
		s->secured++;
		begin_layer(s, c);
	} else if (event == CONN_READ) {
		if (s->is_server)
			conn_write(
			    c, SLICE("* 3 EXISTS\r\n* FLAGS ()\r\na1 OK done\r\n"));
		conn_consume(c, conn_input(c).len);
		s->got++;
	} else if (event == CONN_CLOSED) {
		s->closed++;
		conn_close(&c, false);
	}
}

static bool
side_has_all(void *arg)
{
	struct side *s = arg;
	return s->got >= CONNS || s->closed > 0;
}

static bool
side_is_closed(void *arg)
{
	struct side *s = arg;
	return s->closed == CONNS;
}

static void
side_open(struct side *s, int (*fds)[2])
{
	for (int i = 0; i < CONNS; i++) {
		close(fds[i][s->is_server ? 1 : 0]);
		s->conns[i] =
		    conn_new(s->loop, fds[i][s->is_server ? 0 : 1], on_event, s);
		if (s->layer == LAYER_CLEAR)
			begin_layer(s, s->conns[i]);
		else if (s->is_server)
			conn_start_tls_server(s->conns[i], s->tls);
		else
			conn_start_tls_client(s->conns[i], s->tls, "mail.test", true);
	}
}

static size_t
idle_bytes(struct harness_ca *ca, enum layer layer)
{
	static struct side s;
	static int fds[CONNS][2];
	int status;
	for (int i = 0; i < CONNS; i++)
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds[i]), 0);
	fflush(NULL);
	pid_t pid = fork();
	memset(&s, 0, sizeof(s));
	s.layer = layer;
	s.is_server = pid != 0;
	s.tls = pid != 0 ? ca->server : ca->client;
	s.loop = loop_new();
	size_t before = mallinfo2().uordblks;
	side_open(&s, fds);
	harness_run_until(s.loop, side_has_all, &s);
	if (pid == 0) {
		harness_run_until(s.loop, side_is_closed, &s);
		_exit(0);
	}
	assert_int_equal(s.closed, 0);
	harness_run_for(s.loop, 50);
	/* Idle for a while: the compression states are dropped then. */
	clock_fake(clock_mono_ms(), 0);
	for (int i = 0; i < 5; i++) {
		clock_fake_advance(6000);
		harness_run_until(s.loop, side_has_all, &s);
	}
	clock_fake_off();
	size_t after = mallinfo2().uordblks;
	for (int i = 0; i < CONNS; i++)
		conn_close(&s.conns[i], true);
	loop_free(&s.loop);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return (after - before) / CONNS;
}

static void
test_idle_cost(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		enum layer layer;
		size_t bytes_max;
	} cases[] = {
	    {"clear",           LAYER_CLEAR,       CLEAR_BYTES_MAX      },
	    {"TLS",             LAYER_TLS,         TLS_BYTES_MAX        },
	    {"TLS and DEFLATE", LAYER_TLS_DEFLATE, TLS_DEFLATE_BYTES_MAX},
	};
	struct harness_ca ca;
	harness_ca_make(&ca);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t bytes = idle_bytes(&ca, cases[i].layer);
		if (!HEAP_IS_OURS)
			continue;
		print_message("idle, %s: %zu bytes\n", cases[i].name, bytes);
		assert_true(bytes <= cases[i].bytes_max);
	}
	harness_ca_remove(&ca);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_idle_cost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
