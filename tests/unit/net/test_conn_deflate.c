/*
 * DEFLATE on connections: bombs, damage, full windows, and states that are dropped while
 * a connection is idle.
 */
#include "net/conn.h"

#include <zlib.h>

#include "base/clock.h"
#include "unit/net/conn_pair.h"

static size_t
deflate_raw(const char *from, size_t size, char **out)
{
	z_stream z = {0};
	assert_int_equal(
	    deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
	size_t cap = deflateBound(&z, size) + 64;
	*out = malloc(cap);
	z.next_in = (Bytef *)(uintptr_t)from;
	z.avail_in = (uInt)size;
	z.next_out = (Bytef *)*out;
	z.avail_out = (uInt)cap;
	assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
	size_t len = cap - z.avail_out;
	deflateEnd(&z);
	return len;
}

static void
test_deflate_bomb(void **state)
{
	(void)state;
	enum { SIZE = 64 << 20 };
	struct pair p;
	char *zeros = calloc(1, SIZE), *packed;
	size_t packed_len = deflate_raw(zeros, SIZE, &packed);
	assert_true(packed_len < SIZE / 500);
	pair_open(&p, SOCK_STREAM);
	assert_int_equal(conn_start_deflate(p.a.c), STATUS_OK);
	p.a.hold = true;
	conn_write(p.b.c, slice_make(packed, packed_len));
	harness_run_for(p.loop, 50);
	assert_int_equal(conn_input(p.a.c).len, CONN_INPUT_MAX);
	/* Taken piece by piece it all comes, never more than a buffer at once. */
	p.a.hold = false;
	buf_append(&p.a.got, conn_input(p.a.c));
	conn_consume(p.a.c, CONN_INPUT_MAX);
	p.want_a = SIZE;
	harness_run_until(p.loop, pair_has_all, &p);
	assert_int_equal(p.a.got.len, SIZE);
	assert_true(p.a.input_longest <= CONN_INPUT_MAX);
	free(zeros);
	free(packed);
	pair_close(&p);
}

static void
test_deflate_damaged(void **state)
{
	(void)state;
	struct pair p;
	pair_open(&p, SOCK_STREAM);
	assert_int_equal(conn_start_deflate(p.a.c), STATUS_OK);
	conn_write(p.b.c, SLICE("\xff\xff\xff\xff this is no deflate stream"));
	harness_run_until(p.loop, pair_one_closed, &p);
	assert_non_null(strstr(p.a.error, "compressed input is damaged"));
	pair_close(&p);
}

/* A peer that uses the full window, and input that came behind the COMPRESS command. */
static void
test_deflate_full_window(void **state)
{
	(void)state;
	enum { SIZE = 400 * 1000 };
	struct pair p;
	char *bytes = make_bytes(SIZE, 8), *packed;
	size_t packed_len = deflate_raw(bytes, SIZE, &packed);
	pair_open(&p, SOCK_STREAM);
	p.a.hold = true;
	conn_write(p.b.c, slice_make(packed, packed_len));
	harness_run_for(p.loop, 10);
	assert_true(conn_input(p.a.c).len > 0);
	p.a.hold = false;
	assert_int_equal(conn_start_deflate(p.a.c), STATUS_OK);
	assert_int_equal(conn_input(p.a.c).len, 0);
	p.want_a = SIZE;
	harness_run_until(p.loop, pair_has_all, &p);
	assert_memory_equal(p.a.got.ptr, bytes, SIZE);
	free(bytes);
	free(packed);
	pair_close(&p);
}

/* In steps that the harness's watchdog does not mind. */
static void
pass_half_minute(struct pair *p)
{
	for (int i = 0; i < 5; i++) {
		clock_fake_advance(6000);
		harness_run_until(p->loop, pair_has_all, p);
	}
}

/* After a while without traffic both states are dropped; the streams go on as one, with
 * references into what was said before. */
static void
test_deflate_idle(void **state)
{
	(void)state;
	enum { ROUNDS = 6, SIZE = 20000 };
	struct pair p;
	char *bytes = make_bytes(SIZE, 11);
	clock_fake(1000 * 1000, 0);
	pair_open(&p, SOCK_STREAM);
	pair_deflate(&p);
	for (int round = 1; round <= ROUNDS; round++) {
		conn_write(p.a.c, slice_make(bytes, SIZE));
		conn_write(p.b.c, slice_make(bytes, SIZE));
		p.want_a = p.want_b = (size_t)round * SIZE;
		harness_run_until(p.loop, pair_has_all, &p);
		pass_half_minute(&p);
	}
	for (int round = 0; round < ROUNDS; round++) {
		assert_memory_equal(p.a.got.ptr + round * SIZE, bytes, SIZE);
		assert_memory_equal(p.b.got.ptr + round * SIZE, bytes, SIZE);
	}
	pair_close(&p);
	clock_fake_off();
	free(bytes);
}

/* The same for a peer that never drops its compressor: what it sends refers back over the
 * whole window, across our dropping. */
static void
test_deflate_idle_one_sided(void **state)
{
	(void)state;
	enum { ROUNDS = 6, SIZE = 20000 };
	struct pair p;
	z_stream z = {0};
	char *bytes = make_bytes(SIZE, 12);
	size_t total = 0;
	assert_int_equal(
	    deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
	clock_fake(1000 * 1000, 0);
	pair_open(&p, SOCK_STREAM);
	assert_int_equal(conn_start_deflate(p.a.c), STATUS_OK);
	for (int round = 1; round <= ROUNDS; round++) {
		char packed[SIZE * 2];
		z.next_in = (Bytef *)bytes;
		z.avail_in = SIZE;
		z.next_out = (Bytef *)packed;
		z.avail_out = sizeof(packed);
		assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
		size_t len = sizeof(packed) - z.avail_out;
		total += len;
		/* Cut inside a block, idle there, then the rest. */
		p.want_a = (size_t)(round - 1) * SIZE;
		conn_write(p.b.c, slice_make(packed, len / 2));
		harness_run_until(p.loop, pair_has_all, &p);
		pass_half_minute(&p);
		conn_write(p.b.c, slice_from(slice_make(packed, len), len / 2));
		p.want_a = (size_t)round * SIZE;
		harness_run_until(p.loop, pair_has_all, &p);
		pass_half_minute(&p);
	}
	for (int round = 0; round < ROUNDS; round++)
		assert_memory_equal(p.a.got.ptr + round * SIZE, bytes, SIZE);
	/* It did refer back: later rounds cost next to nothing. */
	assert_true(total < SIZE + SIZE / 2);
	deflateEnd(&z);
	pair_close(&p);
	clock_fake_off();
	free(bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_deflate_bomb),
	    cmocka_unit_test(test_deflate_damaged),
	    cmocka_unit_test(test_deflate_full_window),
	    cmocka_unit_test(test_deflate_idle),
	    cmocka_unit_test(test_deflate_idle_one_sided),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
