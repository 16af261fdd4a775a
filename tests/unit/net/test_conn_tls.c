/*
 * TLS on connections: what is known of it, names and chains, garbage, output around the
 * handshake, STARTTLS with injected plaintext, ends.
 */
#include "net/conn.h"

#include "unit/net/conn_pair.h"

static void
test_tls_views(void **state)
{
	(void)state;
	struct pair p;
	unsigned char binding_a[32], binding_b[32];
	pair_open(&p, SOCK_STREAM);
	assert_false(conn_is_secure(p.a.c));
	assert_false(conn_channel_binding(p.a.c, binding_a));
	assert_int_equal(conn_tls_text(p.a.c).len, 0);
	pair_secure(&p);
	assert_true(conn_is_secure(p.a.c));
	assert_true(slice_has_prefix(conn_tls_text(p.a.c), SLICE("TLSv1.3 TLS_")));
	assert_true(slice_equal(conn_tls_text(p.a.c), conn_tls_text(p.b.c)));
	assert_true(conn_channel_binding(p.a.c, binding_a));
	assert_true(conn_channel_binding(p.b.c, binding_b));
	assert_memory_equal(binding_a, binding_b, 32);
	/* close_notify and FIN: a clean end on the other side. */
	conn_close(&p.a.c, true);
	harness_run_until(p.loop, pair_one_closed, &p);
	assert_string_equal(p.b.error, "connection: closed by peer");
	pair_close(&p);
}

static void
test_tls_names(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		bool verify;
		bool good;
	} cases[] = {
	    {"mail.test",     true,  true },
	    {"localhost",     true,  true },
	    {"127.0.0.1",     true,  true },
	    {"::1",           true,  true },
	    {"other.test",    true,  false},
	    {"127.0.0.2",     true,  false},
	    {"sub.mail.test", true,  false},
	    {"other.test",    false, true },
	    {"",              false, true },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pair p;
		pair_open(&p, SOCK_STREAM);
		conn_start_tls_server(p.a.c, ca.server);
		conn_start_tls_client(p.b.c, ca.client, cases[i].name, cases[i].verify);
		harness_run_until(p.loop, pair_is_secure, &p);
		if (cases[i].good) {
			assert_int_equal(p.b.secured, 1);
		} else {
			assert_int_equal(p.b.secured, 0);
			assert_int_equal(p.b.closed, 1);
			assert_non_null(strstr(p.b.error, "mismatch"));
			harness_run_until(p.loop, pair_is_closed, &p);
		}
		pair_close(&p);
	}
}

static void
test_tls_unknown_ca(void **state)
{
	(void)state;
	struct harness_ca other;
	struct pair p;
	harness_ca_make(&other);
	pair_open(&p, SOCK_STREAM);
	conn_start_tls_server(p.a.c, ca.server);
	conn_start_tls_client(p.b.c, other.client, "mail.test", true);
	harness_run_until(p.loop, pair_is_closed, &p);
	assert_int_equal(p.b.secured, 0);
	assert_non_null(strstr(p.b.error, "TLS handshake: "));
	pair_close(&p);
	harness_ca_remove(&other);
}

static void
test_tls_garbage(void **state)
{
	(void)state;
	struct pair p;
	pair_open(&p, SOCK_STREAM);
	conn_start_tls_server(p.a.c, ca.server);
	conn_write(p.b.c, SLICE("EHLO not tls at all, never was, never will be\r\n"));
	harness_run_until(p.loop, pair_one_closed, &p);
	assert_int_equal(p.a.secured, 0);
	pair_close(&p);
}

/* Output queued before the handshake goes out in clear, output queued during it waits. */
static void
test_tls_output_around_handshake(void **state)
{
	(void)state;
	struct pair p;
	pair_open(&p, SOCK_STREAM);
	conn_write(p.a.c, SLICE("220 go\r\n"));
	conn_start_tls_server(p.a.c, ca.server);
	conn_write(p.a.c, SLICE("inside\r\n"));
	p.want_b = 8;
	harness_run_until(p.loop, pair_has_all, &p);
	assert_memory_equal(p.b.got.ptr, "220 go\r\n", 8);
	conn_start_tls_client(p.b.c, ca.client, "mail.test", true);
	p.want_b = 16;
	harness_run_until(p.loop, pair_has_all, &p);
	assert_memory_equal(p.b.got.ptr, "220 go\r\ninside\r\n", 16);
	assert_int_equal(p.b.secured, 1);
	pair_close(&p);
}

/* T1 and T2 of the STARTTLS cases: plaintext behind the command does not survive. */
struct starttls {
	struct pair p;
	bool started;
};

static void
on_starttls_server(struct conn *c, enum conn_event event, void *arg)
{
	struct starttls *s = arg;
	if (event == CONN_READ && !s->started &&
	    slice_has_prefix(conn_input(c), SLICE("STARTTLS\r\n"))) {
		s->started = true;
		conn_consume(c, 10);
		conn_write(c, SLICE("220 go\r\n250-AUTH PLAIN\r\n"));
		conn_start_tls_server(c, ca.server);
		assert_int_equal(conn_input(c).len, 0);
		return;
	}
	on_event(c, event, &s->p.a);
}

static bool
client_has_go(void *arg)
{
	struct starttls *s = arg;
	return conn_input(s->p.b.c).len >= 8;
}

static void
test_starttls_injection(void **state)
{
	(void)state;
	struct starttls s = {0};
	pair_open(&s.p, SOCK_STREAM);
	conn_set_events(s.p.a.c, on_starttls_server, &s);
	s.p.b.hold = true;
	conn_write(s.p.b.c, SLICE("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<x@y>\r\n"));
	harness_run_until(s.p.loop, client_has_go, &s);
	assert_true(slice_has_suffix(conn_input(s.p.b.c), SLICE("250-AUTH PLAIN\r\n")));
	conn_start_tls_client(s.p.b.c, ca.client, "mail.test", true);
	assert_int_equal(conn_input(s.p.b.c).len, 0);
	s.p.b.hold = false;
	conn_write(s.p.b.c, SLICE("NOOP\r\n"));
	s.p.want_a = 6;
	harness_run_until(s.p.loop, pair_has_all, &s.p);
	assert_int_equal(s.p.a.secured, 1);
	harness_run_for(s.p.loop, 10);
	assert_int_equal(s.p.a.got.len, 6);
	assert_memory_equal(s.p.a.got.ptr, "NOOP\r\n", 6);
	assert_int_equal(s.p.b.got.len, 0);
	pair_close(&s.p);
}

static void
test_tls_sudden_end(void **state)
{
	(void)state;
	struct pair p;
	pair_open_layer(&p, LAYER_TLS);
	conn_write(p.b.c, SLICE("half a mess"));
	harness_run_for(p.loop, 5);
	/* Out of reach of conn_close, which would say close_notify. */
	for (int fd = 3; fd < 64; fd++) {
		int type;
		socklen_t len = sizeof(type);
		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0)
			shutdown(fd, SHUT_RDWR);
	}
	harness_run_until(p.loop, pair_is_closed, &p);
	assert_int_equal(p.a.got.len, 11);
	pair_close(&p);
}

/* Input that comes in the same segment as the end of the handshake is not forgotten. */
static void
test_tls_data_behind_handshake(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct pair p;
		pair_open(&p, SOCK_STREAM);
		conn_start_tls_server(p.a.c, ca.server);
		conn_start_tls_client(p.b.c, ca.client, "mail.test", true);
		conn_write(p.b.c, SLICE("EHLO early\r\n"));
		p.want_a = 12;
		harness_run_until(p.loop, pair_has_all, &p);
		assert_int_equal(p.a.secured, 1);
		pair_close(&p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tls_views),
	    cmocka_unit_test(test_tls_names),
	    cmocka_unit_test(test_tls_unknown_ca),
	    cmocka_unit_test(test_tls_garbage),
	    cmocka_unit_test(test_tls_output_around_handshake),
	    cmocka_unit_test(test_starttls_injection),
	    cmocka_unit_test(test_tls_data_behind_handshake),
	    cmocka_unit_test(test_tls_sudden_end),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
