/*
 * Ids are valid by their own check, do not repeat, and come in a fixed sequence when a
 * test asks for it.
 */
#include "base/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hashmap.h"

static void
ids_do_not_repeat(void **state)
{
	enum { ID_COUNT = 5000 };
	(void)state;
	struct hashmap *seen = hashmap_new();
	for (int i = 0; i < ID_COUNT; i++) {
		char id[ID_TEXT_SIZE];
		id_make(id);
		assert_int_equal(strlen(id), ID_TEXT_LEN);
		assert_true(id_is_valid(slice_from_cstr(id)));
		assert_null(hashmap_put(seen, slice_from_cstr(id), seen));
	}
	assert_int_equal(hashmap_count(seen), ID_COUNT);
	hashmap_free(&seen, NULL);
}

/* They sort by time, and never twice the same in one second either. */
static void
ids_in_order(void **state)
{
	enum { ID_COUNT = 5000 };
	char last[ID_TEXT_SIZE] = "";
	int back = 0;
	(void)state;
	struct hashmap *seen = hashmap_new();
	clock_fake(1, INT64_C(1764000000) * 1000);
	for (int i = 0; i < ID_COUNT; i++) {
		char id[ID_TEXT_SIZE];
		id_make_ordered(id);
		assert_true(id_is_valid(slice_from_cstr(id)));
		assert_null(hashmap_put(seen, slice_from_cstr(id), seen));
		back += strcmp(id, last) < 0;
		memcpy(last, id, sizeof(id));
		if (i % 1000 == 999)
			clock_fake_advance(1000);
	}
	/* Where the count comes round. */
	assert_in_range(back, 0, 1);
	clock_fake_off();
	hashmap_free(&seen, NULL);
}

static void
validity(void **state)
{
	static const struct {
		struct slice text;
		bool valid;
	} rows[] = {
	    {SLICE("0123456789abcdef"),  true },
	    {SLICE("0123456789ABCDEF"),  true },
	    {SLICE("zyxwvtsrqpnmkjhg"),  true },
	    {SLICE("0123456789abcde"),   false},
	    {SLICE("0123456789abcdeff"), false},
	    {SLICE("0123456789abcdei"),  false},
	    {SLICE("0123456789abcdel"),  false},
	    {SLICE("0123456789abcdeo"),  false},
	    {SLICE("0123456789abcdeu"),  false},
	    {SLICE("0123456789abcde/"),  false},
	    {SLICE("0123456789abcde\0"), false},
	    {SLICE(""),                  false},
	    {SLICE_NULL,                 false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(id_is_valid(rows[i].text), rows[i].valid);
}

static void
random_fills_everything(void **state)
{
	unsigned char bytes[37], seen[37] = {0};
	(void)state;
	for (int round = 0; round < 64; round++) {
		memset(bytes, 0, sizeof(bytes));
		random_bytes(bytes, sizeof(bytes) - 1);
		assert_int_equal(bytes[sizeof(bytes) - 1], 0);
		for (size_t i = 0; i < sizeof(bytes); i++)
			seen[i] |= bytes[i];
	}
	for (size_t i = 0; i + 1 < sizeof(bytes); i++)
		assert_int_not_equal(seen[i], 0);
	random_bytes(bytes, 0);
	assert_true(random_u64() != random_u64());
}

static void
fake_sequence(void **state)
{
	char first[ID_TEXT_SIZE], second[ID_TEXT_SIZE], again[ID_TEXT_SIZE];
	(void)state;
	random_fake(42);
	id_make(first);
	id_make(second);
	random_fake(42);
	id_make(again);
	assert_string_equal(first, again);
	assert_string_not_equal(first, second);
	id_make(again);
	assert_string_equal(second, again);
	random_fake(0);
	id_make(again);
	assert_string_not_equal(first, again);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ids_do_not_repeat),
	    cmocka_unit_test(ids_in_order),
	    cmocka_unit_test(validity),
	    cmocka_unit_test(random_fills_everything),
	    cmocka_unit_test(fake_sequence),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
