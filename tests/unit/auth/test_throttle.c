/*
 * The throttle: networks, counting, expiry, and a table that is full.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "auth/throttle.h"

static bool
blocked(struct throttle *t, const char *peer, uint64_t now_ms)
{
	return throttle_is_blocked(t, slice_from_cstr(peer), now_ms);
}

static void
fail_times(struct throttle *t, const char *peer, unsigned times, uint64_t now_ms)
{
	for (unsigned i = 0; i < times; i++)
		throttle_fail(t, slice_from_cstr(peer), 0, now_ms);
}

static void
networks(void **state)
{
	static const struct {
		const char *failing;
		const char *other;
		bool same;
	} table[] = {
	    {"192.0.2.1",          "192.0.2.1",              true },
	    {"192.0.2.1",          "192.0.2.2",              false},
	    {"192.0.2.1",          "::ffff:192.0.2.1",       true },
	    {"[::ffff:192.0.2.1]", "192.0.2.1",              true },
	    {"2001:db8:1:2::1",    "[2001:db8:1:2:ffff::9]", true },
	    {"2001:db8:1:2::1",    "2001:db8:1:3::1",        false},
	    {"fe80::1%eth0",       "fe80::2",                true },
	    {"::1",                "127.0.0.1",              false},
	    {"",		   "",		       true },
	    {"unix",               "unix",                   true },
	    {"unix",               "other",                  false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct throttle *t = throttle_new(3, 1000);
		fail_times(t, table[i].failing, 2, 100);
		assert_false(blocked(t, table[i].failing, 100));
		fail_times(t, table[i].failing, 1, 100);
		assert_true(blocked(t, table[i].failing, 100));
		if (blocked(t, table[i].other, 100) != table[i].same)
			fail_msg("%s and %s", table[i].failing, table[i].other);
		throttle_free(&t);
		assert_null(t);
	}
}

static void
expiry(void **state)
{
	struct throttle *t = throttle_new(2, 1000);

	(void)state;
	fail_times(t, "10.0.0.1", 2, 5000);
	assert_true(blocked(t, "10.0.0.1", 5999));
	assert_false(blocked(t, "10.0.0.1", 6000));
	/* After that it begins at nothing again. */
	fail_times(t, "10.0.0.1", 1, 6000);
	assert_false(blocked(t, "10.0.0.1", 6001));
	fail_times(t, "10.0.0.1", 1, 6500);
	assert_true(blocked(t, "10.0.0.1", 7400));
	assert_false(blocked(t, "10.0.0.1", 7500));
	throttle_free(&t);
}

static void
guesses(void **state)
{
	struct throttle *t = throttle_new(4, 1000);

	(void)state;
	for (int i = 0; i < 20; i++)
		throttle_fail(t, SLICE("10.0.0.1"), 1 + (uint64_t)i % 3, 10);
	assert_false(blocked(t, "10.0.0.1", 10));
	throttle_fail(t, SLICE("10.0.0.1"), 4, 10);
	assert_true(blocked(t, "10.0.0.1", 10));
	throttle_free(&t);
}

static void
never(void **state)
{
	struct throttle *t = throttle_new(0, 1000);

	(void)state;
	fail_times(t, "10.0.0.1", 1000, 1);
	assert_false(blocked(t, "10.0.0.1", 1));
	throttle_free(&t);
}

/* Ten times more networks than there is room for: the blocked one stays known. */
static void
full_table(void **state)
{
	struct throttle *t = throttle_new(3, 1000000);
	char peer[64];

	(void)state;
	fail_times(t, "192.0.2.1", 3, 1);
	for (unsigned i = 0; i < 10 * THROTTLE_ENTRIES_MAX; i++) {
		snprintf(peer, sizeof(peer), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255,
		    i & 255);
		fail_times(t, peer, 1, 2 + i);
	}
	assert_true(blocked(t, "192.0.2.1", 500000));
	throttle_free(&t);
}

static void *
hammer(void *arg)
{
	struct throttle *t = arg;
	char peer[64];

	for (unsigned i = 0; i < 20000; i++) {
		snprintf(peer, sizeof(peer), "10.0.%u.%u", i / 7 % 4, i % 256);
		throttle_fail(t, slice_from_cstr(peer), i % 5, i);
		(void)blocked(t, peer, i);
	}
	return NULL;
}

static void
threads(void **state)
{
	struct throttle *t = throttle_new(1000000, 1000000);
	pthread_t ids[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, hammer, t), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(ids[i], NULL);
	throttle_free(&t);
	throttle_free(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(networks),
	    cmocka_unit_test(expiry),
	    cmocka_unit_test(guesses),
	    cmocka_unit_test(never),
	    cmocka_unit_test(full_table),
	    cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
