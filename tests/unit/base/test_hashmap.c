/*
 * The map against a plain array as its model, through growth, churn and shrinking; keys
 * of any bytes; removal while walking; and the two hash functions.
 */
#include "base/hashmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/base/dies.h"

static void
put_get_remove(void **state)
{
	int one = 1, two = 2;
	(void)state;
	struct hashmap *map = hashmap_new();
	assert_null(hashmap_get(map, SLICE("a")));
	assert_null(hashmap_remove(map, SLICE("a")));
	assert_null(hashmap_put(map, SLICE("a"), &one));
	assert_ptr_equal(hashmap_put(map, SLICE("a"), &two), &one);
	assert_int_equal(hashmap_count(map), 1);
	assert_ptr_equal(hashmap_get(map, SLICE("a")), &two);
	/* Keys are bytes: nothing, NULs and case all count. */
	assert_null(hashmap_put(map, SLICE(""), &one));
	assert_null(hashmap_put(map, SLICE("\0"), &one));
	assert_null(hashmap_put(map, SLICE("\0\0"), &one));
	assert_null(hashmap_put(map, SLICE("A"), &one));
	assert_int_equal(hashmap_count(map), 5);
	assert_ptr_equal(hashmap_get(map, SLICE_NULL), &one);
	assert_ptr_equal(hashmap_remove(map, SLICE("a")), &two);
	assert_null(hashmap_get(map, SLICE("a")));
	assert_int_equal(hashmap_count(map), 4);
	hashmap_free(&map, NULL);
	assert_null(map);
	hashmap_free(&map, NULL);
}

enum { MODEL_KEYS = 3000 };

/* A reproducible walk: the constants are Knuth's MMIX generator. */
static uint32_t
next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(*seed >> 33);
}

static void
churn_against_model(void **state)
{
	static void *model[MODEL_KEYS];
	static int values[MODEL_KEYS];
	uint64_t seed = 1;
	size_t count = 0;
	(void)state;
	struct hashmap *map = hashmap_new();
	for (int step = 0; step < 200000; step++) {
		char text[32];
		size_t i = next_random(&seed) % MODEL_KEYS;
		int len = snprintf(text, sizeof(text), "key-%zu@example.test", i);
		struct slice key = slice_make(text, (size_t)len);
		/* Phases of mostly adding and mostly removing: it grows and shrinks. */
		bool adding = step / 20000 % 2 == 0;
		bool put = next_random(&seed) % 10 < (adding ? 8U : 2U);
		assert_ptr_equal(hashmap_get(map, key), model[i]);
		if (put) {
			count += model[i] == NULL;
			assert_ptr_equal(hashmap_put(map, key, &values[i]), model[i]);
			model[i] = &values[i];
		} else {
			count -= model[i] != NULL;
			assert_ptr_equal(hashmap_remove(map, key), model[i]);
			model[i] = NULL;
		}
		assert_int_equal(hashmap_count(map), count);
	}
	hashmap_free(&map, NULL);
}

static bool
keep_even(struct slice key, void *value, void *arg)
{
	size_t *seen = arg;
	(void)value;
	(*seen)++;
	return (key.ptr[key.len - 1] - '0') % 2 == 0;
}

static void
each_removes(void **state)
{
	(void)state;
	struct hashmap *map = hashmap_new();
	size_t seen = 0;
	int value = 0;
	hashmap_each(map, keep_even, &seen);
	assert_int_equal(seen, 0);
	for (int i = 0; i < 1000; i++) {
		char text[16];
		int len = snprintf(text, sizeof(text), "%d", i);
		hashmap_put(map, slice_make(text, (size_t)len), &value);
	}
	hashmap_each(map, keep_even, &seen);
	assert_int_equal(seen, 1000);
	assert_int_equal(hashmap_count(map), 500);
	assert_non_null(hashmap_get(map, SLICE("998")));
	assert_null(hashmap_get(map, SLICE("999")));
	seen = 0;
	hashmap_each(map, keep_even, &seen);
	assert_int_equal(seen, 500);
	hashmap_free(&map, NULL);
}

static size_t freed;

static void
count_free(void *value)
{
	freed++;
	free(value);
}

static void
free_gives_back_values(void **state)
{
	(void)state;
	struct hashmap *map = hashmap_new();
	for (int i = 0; i < 100; i++) {
		char text[16];
		int len = snprintf(text, sizeof(text), "%d", i);
		hashmap_put(map, slice_make(text, (size_t)len), malloc(1));
	}
	hashmap_free(&map, count_free);
	assert_int_equal(freed, 100);
}

static bool
put_while_walking(struct slice key, void *value, void *arg)
{
	(void)key;
	hashmap_put(arg, SLICE("other"), value);
	return true;
}

static void
do_put_while_walking(void *arg)
{
	hashmap_each(arg, put_while_walking, arg);
}

static void
do_put_null(void *arg)
{
	hashmap_put(arg, SLICE("key"), NULL);
}

static void
misuse_aborts(void **state)
{
	int value = 0;
	(void)state;
	struct hashmap *map = hashmap_new();
	hashmap_put(map, SLICE("key"), &value);
	assert_true(call_dies(do_put_while_walking, map));
	assert_true(call_dies(do_put_null, map));
	hashmap_free(&map, NULL);
}

static void
hashes(void **state)
{
	static const char bytes[] = "the quick brown fox";
	(void)state;
	/* Published values of 64-bit FNV-1a. */
	assert_true(hash_stable(SLICE("")) == 0xcbf29ce484222325ULL);
	assert_true(hash_stable(SLICE("a")) == 0xaf63dc4c8601ec8cULL);
	assert_true(hash_stable(SLICE("foobar")) == 0x85944171f73967e8ULL);
	/* The keyed one is a function of the bytes, and of every byte. */
	for (size_t len = 0; len < sizeof(bytes); len++) {
		char copy[sizeof(bytes)];
		memcpy(copy, bytes, sizeof(bytes));
		struct slice s = slice_make(copy, len);
		uint64_t hash = hash_keyed(slice_make(bytes, len));
		assert_true(hash_keyed(s) == hash);
		for (size_t i = 0; i < len; i++) {
			copy[i] ^= 1;
			assert_true(hash_keyed(s) != hash);
			copy[i] ^= 1;
		}
	}
	/* A NUL at the end is not nothing, though the last word is padded with them. */
	assert_true(hash_keyed(SLICE("a")) != hash_keyed(SLICE("a\0")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(put_get_remove),
	    cmocka_unit_test(churn_against_model),
	    cmocka_unit_test(each_removes),
	    cmocka_unit_test(free_gives_back_values),
	    cmocka_unit_test(misuse_aborts),
	    cmocka_unit_test(hashes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
