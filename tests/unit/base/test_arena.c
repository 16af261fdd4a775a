/*
 * The limit holds to the byte, memory is aligned and cleared also after a reset, and
 * nothing that was handed out moves or overlaps.
 */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/base/dies.h"

static void
limit_holds(void **state)
{
	(void)state;
	struct arena *a = arena_new(64);
	assert_int_equal(arena_used(a), 0);
	assert_null(arena_alloc(a, 65));
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_non_null(arena_alloc(a, 64));
	assert_int_equal(arena_used(a), 64);
	assert_null(arena_alloc(a, 1));
	assert_null(arena_copy(a, SLICE("")).ptr);
	assert_null(arena_cstr(a, SLICE("x")));
	assert_null(arena_format(a, "%d", 1).ptr);
	arena_reset(a);
	assert_int_equal(arena_used(a), 0);
	assert_non_null(arena_alloc(a, 64));
	arena_free(&a);
	assert_null(a);
	arena_free(&a);

	a = arena_new(0);
	assert_null(arena_alloc(a, 1));
	arena_free(&a);
}

static void
many_small_ones(void **state)
{
	enum { MAX_BYTES = 100000 };
	(void)state;
	struct arena *a = arena_new(MAX_BYTES);
	for (int round = 0; round < 3; round++) {
		size_t count = 0;
		unsigned char *last = NULL;
		for (;;) {
			size_t size = 1 + count % 40;
			unsigned char *at = arena_alloc(a, size);
			if (!at)
				break;
			assert_int_equal((uintptr_t)at % _Alignof(max_align_t), 0);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(at[i], 0);
			if (last)
				assert_int_equal(last[0], 0xa5);
			memset(at, 0xa5, size);
			last = at;
			count++;
		}
		assert_true(arena_used(a) <= MAX_BYTES);
		assert_true(arena_used(a) > MAX_BYTES - 100);
		assert_true(count > 2000);
		arena_reset(a);
	}
	arena_free(&a);
}

static void
large_beside_small(void **state)
{
	(void)state;
	struct arena *a = arena_new(10 * 1000 * 1000);
	char *large[20], *small[20];
	for (int i = 0; i < 20; i++) {
		small[i] = arena_cstr(a, SLICE("small"));
		large[i] = arena_alloc(a, 100000);
		memset(large[i], i, 100000);
	}
	for (int i = 0; i < 20; i++) {
		assert_string_equal(small[i], "small");
		for (int at = 0; at < 100000; at++)
			assert_int_equal(large[i][at], i);
	}
	arena_free(&a);
}

static void
copies(void **state)
{
	(void)state;
	struct arena *a = arena_new(1000);
	struct slice copy = arena_copy(a, SLICE("a\0b"));
	assert_int_equal(copy.len, 3);
	assert_memory_equal(copy.ptr, "a\0b", 4);
	copy = arena_copy(a, SLICE_NULL);
	assert_int_equal(copy.len, 0);
	assert_non_null(copy.ptr);
	assert_string_equal(arena_cstr(a, SLICE("abc")), "abc");
	copy = arena_format(a, "%s-%03d", "uid", 7);
	assert_true(slice_equal(copy, SLICE("uid-007")));
	assert_int_equal(copy.ptr[copy.len], '\0');
	arena_free(&a);
}

struct pair {
	uint64_t left;
	uint64_t right;
};

static void
typed(void **state)
{
	(void)state;
	struct arena *a = arena_new(1000);
	struct pair *one = ARENA_NEW(a, struct pair);
	assert_true(one->left == 0 && one->right == 0);
	struct pair *many = ARENA_ARRAY(a, struct pair, 10);
	assert_non_null(many);
	many[9].right = 1;
	assert_null(ARENA_ARRAY(a, struct pair, 1000));
	/* The product wraps round to 16 bytes: refused, not handed out. */
	assert_null(ARENA_ARRAY(a, struct pair, SIZE_MAX / 16 + 2));
	arena_free(&a);
}

static void
do_must_too_much(void *arg)
{
	(void)arena_must(arg, 1001);
}

static void
must_aborts_at_the_limit(void **state)
{
	(void)state;
	struct arena *a = arena_new(1000);
	assert_true(call_dies(do_must_too_much, a));
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(limit_holds),
	    cmocka_unit_test(many_small_ones),
	    cmocka_unit_test(large_beside_small),
	    cmocka_unit_test(copies),
	    cmocka_unit_test(typed),
	    cmocka_unit_test(must_aborts_at_the_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
