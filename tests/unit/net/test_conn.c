/*
 * Connections in every layer: bytes both ways, input that is left or refused, file
 * ranges, output limits, closing, ends, TCP.
 */
#include "net/conn.h"

#include <arpa/inet.h>

#include "unit/net/conn_pair.h"

static void
test_bytes_both_ways(void **state)
{
	(void)state;
	enum { SIZE = 1 << 20 };
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		pair_open_layer(&p, layer);
		char *to_b = make_bytes(SIZE, 1), *to_a = make_bytes(SIZE, 2);
		conn_write(p.a.c, slice_make(to_b, 10));
		conn_write(p.a.c, slice_make(to_b + 10, SIZE - 10));
		for (size_t at = 0; at < SIZE; at += 1000)
			conn_write(p.b.c, slice_sub(slice_make(to_a, SIZE), at, 1000));
		assert_true(conn_output_pending(p.a.c) == SIZE);
		p.want_a = p.want_b = SIZE;
		harness_run_until(p.loop, pair_has_all, &p);
		assert_int_equal(p.a.got.len, SIZE);
		assert_int_equal(p.b.got.len, SIZE);
		assert_memory_equal(p.a.got.ptr, to_a, SIZE);
		assert_memory_equal(p.b.got.ptr, to_b, SIZE);
		assert_true(p.a.input_longest <= CONN_INPUT_MAX);
		/* More than the low mark was queued, so somebody may wait. */
		harness_run_for(p.loop, 5);
		assert_true(p.a.drained >= 1);
		assert_int_equal(conn_output_pending(p.a.c), 0);
		free(to_a);
		free(to_b);
		pair_close(&p);
	}
}

/* The reader takes little at a time and asks for more turns: bytes that lie inside
 * OpenSSL or zlib while the socket is empty must come too. */
static void
test_slow_consumer(void **state)
{
	(void)state;
	enum { SIZE = 300 * 1000 };
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		pair_open_layer(&p, layer);
		char *bytes = make_bytes(SIZE, 3);
		p.b.take_max = 700;
		p.b.again = true;
		conn_write(p.a.c, slice_make(bytes, SIZE));
		p.want_b = SIZE;
		harness_run_until(p.loop, pair_has_all, &p);
		assert_memory_equal(p.b.got.ptr, bytes, SIZE);
		assert_true(p.b.input_longest <= CONN_INPUT_MAX);
		free(bytes);
		pair_close(&p);
	}
}

static bool
input_is_full(void *arg)
{
	struct end *e = arg;
	return conn_input(e->c).len == CONN_INPUT_MAX;
}

/* An owner that consumes nothing gets a full buffer and no more; consuming later brings
 * the rest, without a word from the socket. */
static void
test_full_input(void **state)
{
	(void)state;
	enum { SIZE = 200 * 1000 };
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		pair_open_layer(&p, layer);
		char *bytes = make_bytes(SIZE, 4);
		p.b.hold = true;
		conn_write(p.a.c, slice_make(bytes, SIZE));
		harness_run_until(p.loop, input_is_full, &p.b);
		harness_run_for(p.loop, 20);
		assert_int_equal(conn_input(p.b.c).len, CONN_INPUT_MAX);
		p.b.hold = false;
		buf_append(&p.b.got, conn_input(p.b.c));
		conn_consume(p.b.c, conn_input(p.b.c).len);
		p.want_b = SIZE;
		harness_run_until(p.loop, pair_has_all, &p);
		assert_memory_equal(p.b.got.ptr, bytes, SIZE);
		free(bytes);
		pair_close(&p);
	}
}

static void
test_pause_resume(void **state)
{
	(void)state;
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		pair_open_layer(&p, layer);
		conn_pause(p.b.c);
		conn_write(p.a.c, SLICE("hello"));
		harness_run_for(p.loop, 20);
		assert_int_equal(p.b.reads, 0);
		conn_resume(p.b.c);
		p.want_b = 5;
		harness_run_until(p.loop, pair_has_all, &p);
		/* Unread input is offered again by resume, without more from the peer. */
		p.b.hold = true;
		conn_write(p.a.c, SLICE("more"));
		harness_run_for(p.loop, 20);
		conn_pause(p.b.c);
		p.b.hold = false;
		conn_resume(p.b.c);
		p.want_b = 9;
		harness_run_until(p.loop, pair_has_all, &p);
		assert_memory_equal(p.b.got.ptr, "hellomore", 9);
		pair_close(&p);
	}
}

/* ---- file ranges ---- */

static int
make_file(const char *bytes, size_t size)
{
	char path[] = "/tmp/net-file-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	return fd;
}

static void
count_up(void *arg)
{
	++*(unsigned *)arg;
}

static void
test_file_ranges(void **state)
{
	(void)state;
	enum { SIZE = 3 << 20, SKIP = 12345 };
	char *bytes = make_bytes(SIZE, 5);
	int fd = make_file(bytes, SIZE);
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		unsigned released = 0;
		pair_open_layer(&p, layer);
		conn_write(p.a.c, SLICE("<<"));
		conn_write_file(p.a.c, fd, SKIP, SIZE - SKIP, count_up, &released);
		conn_write(p.a.c, SLICE("|"));
		conn_write_file(p.a.c, fd, 7, 0, count_up, &released);
		conn_write_file(p.a.c, fd, 7, 1000, NULL, NULL);
		conn_write(p.a.c, SLICE(">>"));
		assert_int_equal(conn_output_pending(p.a.c), 5);
		p.want_b = SIZE - SKIP + 1000 + 5;
		harness_run_until(p.loop, pair_has_all, &p);
		harness_run_for(p.loop, 5);
		assert_int_equal(released, 2);
		assert_int_equal(p.b.got.len, p.want_b);
		assert_memory_equal(p.b.got.ptr, "<<", 2);
		assert_memory_equal(p.b.got.ptr + 2, bytes + SKIP, SIZE - SKIP);
		const char *tail = p.b.got.ptr + 2 + SIZE - SKIP;
		assert_memory_equal(tail, "|", 1);
		assert_memory_equal(tail + 1, bytes + 7, 1000);
		assert_memory_equal(tail + 1001, ">>", 2);
		assert_int_equal(p.a.drained, 1);
		pair_close(&p);
	}
	close(fd);
	free(bytes);
}

static void
test_lent(void **state)
{
	(void)state;
	enum { SIZE = 1 << 20 };
	char *bytes = make_bytes(SIZE, 5);
	int fd = make_file(bytes, SIZE);
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		unsigned released = 0;
		pair_open_layer(&p, layer);
		conn_write(p.a.c, SLICE("<<"));
		conn_write_lent(p.a.c, slice_make(bytes, SIZE / 2), count_up, &released);
		conn_write_lent(p.a.c, SLICE(""), count_up, &released);
		conn_write_file(p.a.c, fd, SIZE / 2, SIZE / 4, count_up, &released);
		conn_write_lent(p.a.c, slice_make(bytes + SIZE / 4 * 3, SIZE / 4),
		    count_up, &released);
		conn_write(p.a.c, SLICE(">>"));
		assert_int_equal(conn_output_pending(p.a.c), 4);
		p.want_b = SIZE + 4;
		harness_run_until(p.loop, pair_has_all, &p);
		harness_run_for(p.loop, 5);
		assert_int_equal(released, 4);
		assert_int_equal(p.b.got.len, p.want_b);
		assert_memory_equal(p.b.got.ptr, "<<", 2);
		assert_memory_equal(p.b.got.ptr + 2, bytes, SIZE);
		assert_memory_equal(p.b.got.ptr + 2 + SIZE, ">>", 2);
		pair_close(&p);
		/* The owner goes before its bytes were sent. */
		pair_open_layer(&p, layer);
		p.b.hold = true;
		conn_write_lent(p.a.c, slice_make(bytes, SIZE), count_up, &released);
		for (int i = 0; i < 3; i++)
			conn_write_lent(p.a.c, slice_make(bytes, SIZE), NULL, NULL);
		harness_run_for(p.loop, 5);
		conn_close(&p.a.c, false);
		harness_run_for(p.loop, 5);
		assert_int_equal(released, 5);
		pair_close(&p);
	}
	close(fd);
	free(bytes);
}

static void
test_file_released_at_close(void **state)
{
	(void)state;
	char *bytes = make_bytes(4 << 20, 5);
	int fd = make_file(bytes, 4 << 20);
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		unsigned released = 0;
		pair_open_layer(&p, layer);
		p.b.hold = true;
		conn_write_file(p.a.c, fd, 0, 4 << 20, count_up, &released);
		harness_run_for(p.loop, 5);
		assert_int_equal(released, 0);
		conn_close(&p.a.c, false);
		harness_run_for(p.loop, 5);
		assert_int_equal(released, 1);
		pair_close(&p);
	}
	close(fd);
	free(bytes);
}

static void
test_file_too_short(void **state)
{
	(void)state;
	int fd = make_file("0123456789", 10);
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		unsigned released = 0;
		pair_open_layer(&p, layer);
		conn_write_file(p.a.c, fd, 5, 100, count_up, &released);
		harness_run_until(p.loop, pair_is_closed, &p);
		assert_int_equal(released, 1);
		assert_non_null(strstr(p.a.error, "too short"));
		pair_close(&p);
		/* The same with the owner gone already. */
		pair_open_layer(&p, layer);
		conn_write_file(p.a.c, fd, 5, 100, count_up, &released);
		conn_close(&p.a.c, true);
		harness_run_until(p.loop, pair_one_closed, &p);
		assert_int_equal(released, 2);
		pair_close(&p);
	}
	close(fd);
}

/* ---- output ---- */

/* A datagram-like socket shows how the bytes of a turn were cut into sends. */
static void
test_one_send_a_turn(void **state)
{
	(void)state;
	int fds[2];
	char got[64];
	struct loop *loop = loop_new();
	struct end e;
	end_init(&e);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	e.c = conn_new(loop, fds[0], on_event, &e);
	conn_write(e.c, SLICE("* 1 EXISTS\r\n"));
	conn_write_format(e.c, "%s %s\r\n", "a1", "OK");
	conn_write(e.c, SLICE(""));
	assert_int_equal(recv(fds[1], got, sizeof(got), MSG_DONTWAIT), -1);
	harness_run_for(loop, 2);
	assert_int_equal(recv(fds[1], got, sizeof(got), MSG_DONTWAIT), 19);
	assert_memory_equal(got, "* 1 EXISTS\r\na1 OK\r\n", 19);
	conn_write(e.c, SLICE("now"));
	conn_flush(e.c);
	assert_int_equal(recv(fds[1], got, sizeof(got), MSG_DONTWAIT), 3);
	conn_close(&e.c, false);
	close(fds[1]);
	loop_free(&loop);
	buf_fini(&e.got);
}

static void
test_long_format(void **state)
{
	(void)state;
	struct pair p;
	char text[5000];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	pair_open(&p, SOCK_STREAM);
	conn_write_format(p.a.c, "<%s>", text);
	p.want_b = sizeof(text) + 1;
	harness_run_until(p.loop, pair_has_all, &p);
	assert_int_equal(p.b.got.ptr[0], '<');
	assert_int_equal(p.b.got.ptr[sizeof(text)], '>');
	pair_close(&p);
}

struct producer {
	struct pair *p;
	size_t left;
	size_t pending_longest;
};

static void
produce(struct producer *producer)
{
	static const char line[1000] = "line";
	struct conn *c = producer->p->a.c;
	while (producer->left > 0 && conn_output_pending(c) < CONN_OUTPUT_HIGH) {
		conn_write(c, slice_make(line, sizeof(line)));
		producer->left -= sizeof(line);
	}
	if (conn_output_pending(c) > producer->pending_longest)
		producer->pending_longest = conn_output_pending(c);
}

static void
on_producer_event(struct conn *c, enum conn_event event, void *arg)
{
	(void)c;
	if (event == CONN_DRAINED)
		produce(arg);
}

static void
test_high_and_low_marks(void **state)
{
	(void)state;
	enum { SIZE = 4000 * 1000 };
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		pair_open_layer(&p, layer);
		struct producer producer = {.p = &p, .left = SIZE};
		conn_set_events(p.a.c, on_producer_event, &producer);
		produce(&producer);
		p.want_b = SIZE;
		harness_run_until(p.loop, pair_has_all, &p);
		assert_int_equal(producer.left, 0);
		assert_true(producer.pending_longest < CONN_OUTPUT_HIGH + 1000);
		pair_close(&p);
	}
}

static void
test_output_limit(void **state)
{
	(void)state;
	struct pair p;
	pair_open(&p, SOCK_STREAM);
	p.b.hold = true;
	char *bytes = calloc(1, 8 << 20);
	for (int i = 0; i < 9; i++)
		conn_write(p.a.c, slice_make(bytes, 8 << 20));
	assert_int_equal(conn_output_pending(p.a.c), 0);
	harness_run_until(p.loop, pair_one_closed, &p);
	assert_int_equal(p.a.closed, 1);
	assert_non_null(strstr(p.a.error, "too much output"));
	free(bytes);
	pair_close(&p);
}

/* ---- ends ---- */

static void
test_close_in_callback(void **state)
{
	(void)state;
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		pair_open_layer(&p, layer);
		p.a.close_on_read = true;
		conn_write(p.a.c, SLICE("bye\r\n"));
		conn_write(p.b.c, SLICE("QUIT\r\n"));
		harness_run_until(p.loop, pair_one_closed, &p);
		assert_int_equal(p.b.closed, 1);
		assert_int_equal(p.b.got.len, 5);
		assert_null(p.a.c);
		pair_close(&p);
	}
}

/* The output of a closed connection reaches a slow reader whole, even when the peer has
 * sent bytes that nobody read. */
static void
test_close_flushes(void **state)
{
	(void)state;
	enum { SIZE = 3 << 20 };
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		pair_open_layer(&p, layer);
		char *bytes = make_bytes(SIZE, 9);
		p.b.take_max = 30000;
		p.b.again = true;
		conn_pause(p.a.c);
		conn_write(p.b.c, SLICE("never read"));
		harness_run_for(p.loop, 5);
		conn_write(p.a.c, slice_make(bytes, SIZE));
		conn_close(&p.a.c, true);
		harness_run_until(p.loop, pair_one_closed, &p);
		assert_int_equal(p.b.got.len, SIZE);
		assert_memory_equal(p.b.got.ptr, bytes, SIZE);
		free(bytes);
		pair_close(&p);
	}
}

static void
on_quit_server(struct conn *c, enum conn_event event, void *arg)
{
	if (event == CONN_READ && slice_equal(conn_input(c), SLICE("NOOP\r\n"))) {
		conn_consume(c, 6);
		conn_write(c, SLICE("+OK\r\n"));
		return;
	}
	on_event(c, event, arg);
}

/* A client that closes its sending side still gets the reply to what it sent. */
static void
test_half_close(void **state)
{
	(void)state;
	int fds[2];
	char got[16];
	struct loop *loop = loop_new();
	struct end e;
	end_init(&e);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(write(fds[1], "NOOP\r\n", 6), 6);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	e.c = conn_new(loop, fds[0], on_quit_server, &e);
	harness_run_until(loop, end_is_closed, &e);
	assert_int_equal(recv(fds[1], got, sizeof(got), 0), 5);
	assert_int_equal(recv(fds[1], got, sizeof(got), 0), 0);
	close(fds[1]);
	loop_free(&loop);
	buf_fini(&e.got);
}

/* While the owner has paused, the end waits too: pipelined input is not lost. */
static void
test_eof_while_paused(void **state)
{
	(void)state;
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		pair_open_layer(&p, layer);
		conn_pause(p.a.c);
		conn_write(p.b.c, SLICE("last words"));
		conn_close(&p.b.c, true);
		harness_run_for(p.loop, 20);
		assert_int_equal(p.a.closed, 0);
		conn_resume(p.a.c);
		harness_run_until(p.loop, pair_one_closed, &p);
		assert_int_equal(p.a.got.len, 10);
		pair_close(&p);
	}
}

static void
test_deadline(void **state)
{
	(void)state;
	struct pair p;
	pair_open(&p, SOCK_STREAM);
	conn_deadline(p.a.c, 10);
	conn_deadline(p.b.c, 10);
	conn_deadline(p.b.c, 0);
	harness_run_for(p.loop, 60);
	assert_int_equal(p.a.timeouts, 1);
	assert_int_equal(p.b.timeouts, 0);
	pair_close(&p);
}

/* ---- TCP ---- */

static int
listen_local(struct sockaddr_in *out)
{
	socklen_t len = sizeof(*out);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	*out = (struct sockaddr_in){.sin_family = AF_INET};
	out->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)out, sizeof(*out)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)out, &len), 0);
	return fd;
}

static bool
is_connected(void *arg)
{
	struct end *e = arg;
	return e->connected || e->closed;
}

static void
test_connect(void **state)
{
	(void)state;
	struct sockaddr_in to;
	int fd = listen_local(&to);
	struct loop *loop = loop_new();
	struct end e;
	end_init(&e);
	struct sockaddr_in source = {.sin_family = AF_INET};
	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	e.c = conn_connect(loop, (struct sockaddr *)&to, sizeof(to),
	    (struct sockaddr *)&source, sizeof(source), on_event, &e);
	assert_non_null(e.c);
	conn_write(e.c, SLICE("early"));
	harness_run_until(loop, is_connected, &e);
	assert_int_equal(e.connected, 1);
	assert_string_equal(conn_peer_text(e.c), "127.0.0.1");
	assert_int_equal(conn_peer_port(e.c), ntohs(to.sin_port));
	assert_string_equal(conn_local_text(e.c), "127.0.0.1");
	assert_true(conn_local_port(e.c) != 0);
	assert_int_equal(conn_peer(e.c)->sa_family, AF_INET);
	int got = accept(fd, NULL, NULL);
	char text[8];
	harness_run_for(loop, 5);
	assert_int_equal(recv(got, text, sizeof(text), 0), 5);
	/* A reset by the peer is an end with a reason. */
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	setsockopt(got, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(got);
	harness_run_until(loop, end_is_closed, &e);
	assert_non_null(strstr(e.error, "reset"));
	/* Nobody listens any more. */
	close(fd);
	e.connected = e.closed = 0;
	e.c =
	    conn_connect(loop, (struct sockaddr *)&to, sizeof(to), NULL, 0, on_event, &e);
	assert_non_null(e.c);
	harness_run_until(loop, is_connected, &e);
	assert_int_equal(e.closed, 1);
	assert_non_null(strstr(e.error, "refused"));
	loop_free(&loop);
	buf_fini(&e.got);
}

/* A loop may end with connections that nobody closed. */
static void
test_loop_ends_first(void **state)
{
	(void)state;
	for (enum layer layer = 0; layer < LAYER_COUNT; layer++) {
		struct pair p;
		unsigned released = 0;
		pair_open_layer(&p, layer);
		int fd = make_file("0123456789", 10);
		conn_write_file(p.a.c, fd, 0, 10, count_up, &released);
		conn_write(p.b.c, SLICE("x"));
		loop_free(&p.loop);
		assert_int_equal(released, 1);
		close(fd);
		buf_fini(&p.a.got);
		buf_fini(&p.b.got);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bytes_both_ways),
	    cmocka_unit_test(test_slow_consumer),
	    cmocka_unit_test(test_full_input),
	    cmocka_unit_test(test_pause_resume),
	    cmocka_unit_test(test_file_ranges),
	    cmocka_unit_test(test_lent),
	    cmocka_unit_test(test_file_released_at_close),
	    cmocka_unit_test(test_file_too_short),
	    cmocka_unit_test(test_one_send_a_turn),
	    cmocka_unit_test(test_long_format),
	    cmocka_unit_test(test_high_and_low_marks),
	    cmocka_unit_test(test_output_limit),
	    cmocka_unit_test(test_close_in_callback),
	    cmocka_unit_test(test_close_flushes),
	    cmocka_unit_test(test_half_close),
	    cmocka_unit_test(test_eof_while_paused),
	    cmocka_unit_test(test_deadline),
	    cmocka_unit_test(test_connect),
	    cmocka_unit_test(test_loop_ends_first),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
