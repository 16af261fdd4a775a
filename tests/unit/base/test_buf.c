/*
 * Appends are whole or not at all, overflow is sticky at every maximum, and big-endian
 * values keep their order as keys.
 */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/base/dies.h"

static void
assert_holds(const struct buf *b, struct slice want)
{
	assert_true(slice_equal(buf_slice(b), want));
}

static void
appends(void **state)
{
	AUTO_BUF struct buf b;
	(void)state;
	buf_init(&b, 1000);
	assert_null(b.ptr);
	buf_append(&b, SLICE_NULL);
	assert_null(b.ptr);
	buf_append(&b, SLICE("* "));
	buf_append_u64(&b, 0);
	buf_append_byte(&b, ' ');
	buf_append_u64(&b, UINT64_MAX);
	buf_append_cstr(&b, " x");
	buf_append_format(&b, "[%s %d]", "uid", 42);
	assert_holds(&b, SLICE("* 0 18446744073709551615 x[uid 42]"));
	assert_true(buf_ok(&b));
}

/* The same appends with every maximum: what is there is always a whole prefix. */
static void
overflow_is_sticky(void **state)
{
	(void)state;
	for (size_t max = 0; max < 12; max++) {
		AUTO_BUF struct buf b;
		buf_init(&b, max);
		buf_append(&b, SLICE("abc"));
		buf_append_format(&b, "%s", "defg");
		buf_append_byte(&b, 'h');
		buf_append_be16(&b, 0x6970);
		size_t want = max >= 10  ? 10
		              : max >= 8 ? 8
		              : max >= 7 ? 7
		              : max >= 3 ? 3
		                         : 0;
		assert_holds(&b, slice_make("abcdefghip", want));
		assert_int_equal(buf_ok(&b), max >= 10);
		if (max < 10) {
			/* Even what would fit does nothing now. */
			buf_append(&b, SLICE(""));
			assert_null(buf_reserve(&b, 0));
			assert_int_equal(b.len, want);
		}
		buf_reset(&b);
		assert_true(buf_ok(&b));
		assert_int_equal(b.len, 0);
	}
}

static void
long_format(void **state)
{
	AUTO_BUF struct buf b;
	char text[601];
	(void)state;
	memset(text, 'x', 600);
	text[600] = '\0';
	buf_init(&b, 600);
	buf_append_format(&b, "%s", text);
	assert_true(buf_ok(&b));
	assert_holds(&b, slice_from_cstr(text));
	buf_reset(&b);
	buf_append_format(&b, "%s!", text);
	assert_false(buf_ok(&b));
	assert_int_equal(b.len, 0);
}

static void
grows_to_its_maximum(void **state)
{
	enum { MAX_BYTES = 100003 };
	AUTO_BUF struct buf b;
	(void)state;
	buf_init(&b, MAX_BYTES);
	for (size_t i = 0; i < MAX_BYTES; i++)
		buf_append_byte(&b, (char)(i % 251));
	assert_true(buf_ok(&b));
	assert_int_equal(b.len, MAX_BYTES);
	assert_true(b.cap <= MAX_BYTES);
	for (size_t i = 0; i < MAX_BYTES; i++)
		assert_true(b.ptr[i] == (char)(i % 251));
	buf_append_byte(&b, 'x');
	assert_false(buf_ok(&b));
	/* A want that would wrap round is an overflow like any other. */
	buf_reset(&b);
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_false(buf_ok(&b));
}

static void
reserve_and_commit(void **state)
{
	AUTO_BUF struct buf b;
	(void)state;
	buf_init(&b, 64);
	assert_non_null(buf_reserve(&b, 0));
	char *at = buf_reserve(&b, 10);
	assert_non_null(at);
	assert_int_equal(b.len, 0);
	memcpy(at, "hello", 5);
	buf_commit(&b, 5);
	assert_holds(&b, SLICE("hello"));
	assert_null(buf_reserve(&b, 60));
	assert_false(buf_ok(&b));
}

static void
consume_and_truncate(void **state)
{
	AUTO_BUF struct buf b;
	(void)state;
	buf_init(&b, 64);
	buf_append(&b, SLICE("one two three"));
	buf_consume(&b, 4);
	assert_holds(&b, SLICE("two three"));
	buf_consume(&b, 0);
	buf_truncate(&b, 3);
	assert_holds(&b, SLICE("two"));
	buf_release_if_empty(&b);
	assert_non_null(b.ptr);
	buf_consume(&b, 3);
	buf_release_if_empty(&b);
	assert_null(b.ptr);
	assert_int_equal(b.cap, 0);
	buf_append(&b, SLICE("again"));
	assert_holds(&b, SLICE("again"));
}

static void
do_consume_too_much(void *arg)
{
	buf_consume(arg, 4);
}

static void
do_commit_too_much(void *arg)
{
	buf_commit(arg, 1000);
}

static void
misuse_aborts(void **state)
{
	AUTO_BUF struct buf b;
	(void)state;
	buf_init(&b, 64);
	buf_append(&b, SLICE("abc"));
	assert_true(call_dies(do_consume_too_much, &b));
	assert_true(call_dies(do_commit_too_much, &b));
}

static void
big_endian(void **state)
{
	AUTO_BUF struct buf b;
	(void)state;
	buf_init(&b, 64);
	buf_append_be16(&b, 0x0102);
	buf_append_be32(&b, 0xfffefdfcU);
	buf_append_be64(&b, 0x8000000000000001ULL);
	assert_holds(&b, SLICE("\x01\x02\xff\xfe\xfd\xfc\x80\0\0\0\0\0\0\x01"));
	assert_int_equal(be16_get(b.ptr), 0x0102);
	assert_true(be32_get(b.ptr + 2) == 0xfffefdfcU);
	assert_true(be64_get(b.ptr + 6) == 0x8000000000000001ULL);
	static const uint64_t rising[] = {0, 1, 255, 256, 65536, 1ULL << 32, UINT64_MAX};
	for (size_t i = 1; i < sizeof(rising) / sizeof(rising[0]); i++) {
		char low[8], high[8];
		be64_put(low, rising[i - 1]);
		be64_put(high, rising[i]);
		assert_true(memcmp(low, high, 8) < 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(appends),
	    cmocka_unit_test(overflow_is_sticky),
	    cmocka_unit_test(long_format),
	    cmocka_unit_test(grows_to_its_maximum),
	    cmocka_unit_test(reserve_and_commit),
	    cmocka_unit_test(consume_and_truncate),
	    cmocka_unit_test(misuse_aborts),
	    cmocka_unit_test(big_endian),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
