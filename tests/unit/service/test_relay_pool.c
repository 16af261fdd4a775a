/*
 * Pools: their text, good and bad; the warm-up's curve and what a day lets through.
 */
#include "service/relay_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void
test_members(void **state)
{
	(void)state;
	static struct relay_pool pool;
	const char *why = NULL;
	assert_true(relay_pool_parse(
	    SLICE(" 192.0.2.1=Out1.example.net  192.0.2.2*3 2001:DB8::1=o.example*1000 "),
	    &pool, &why));
	assert_int_equal(pool.count, 3);
	assert_string_equal(pool.sources[0].text, "192.0.2.1");
	assert_string_equal(pool.sources[0].ehlo, "out1.example.net");
	assert_int_equal(pool.sources[0].weight, 1);
	assert_int_equal(pool.sources[0].address.ss_family, AF_INET);
	assert_string_equal(pool.sources[1].ehlo, "");
	assert_int_equal(pool.sources[1].weight, 3);
	assert_string_equal(pool.sources[2].text, "2001:db8::1");
	assert_int_equal(pool.sources[2].address.ss_family, AF_INET6);
	assert_int_equal(pool.sources[2].weight, 1000);
	static const char *const bad[] = {"", "  ", "x", "192.0.2.1=", "192.0.2.1*",
	    "192.0.2.1*0", "192.0.2.1*1001", "192.0.2.1=a b", "192.0.2.1=a..b",
	    "192.0.2.1/24", "=x", "*3", "192.0.2.1 192.0.2.1", "192.0.2.1 192.0.2.1*2",
	    "2001:db8::1 2001:DB8:0::1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(relay_pool_parse(slice_from_cstr(bad[i]), &pool, &why));
		assert_non_null(why);
	}
	char many[(RELAY_POOL_SOURCES_MAX + 1) * 16] = "";
	for (int i = 0; i <= RELAY_POOL_SOURCES_MAX; i++)
		snprintf(
		    many + strlen(many), sizeof(many) - strlen(many), "10.0.0.%d ", i);
	assert_false(relay_pool_parse(slice_from_cstr(many), &pool, &why));
}

static void
test_names(void **state)
{
	(void)state;
	assert_true(relay_pool_name_is_good(SLICE("news-2.a_b")));
	static const char *const bad[] = {"", "a b", "a:b", "192.0.2.1", "a\x7f", "é"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(relay_pool_name_is_good(slice_from_cstr(bad[i])));
	char huge[RELAY_POOL_NAME_MAX + 1];
	memset(huge, 'a', sizeof(huge));
	assert_false(relay_pool_name_is_good(slice_make(huge, sizeof(huge))));
}

/* Whatever the day, 24 hours let through what it says or a little less, and in no hour
 * much more than its part. */
static void
test_warmup(void **state)
{
	(void)state;
	uint32_t before = 0;
	for (uint32_t day = 1; day <= 21; day++) {
		struct relay_rate rate;
		uint32_t limit = relay_warmup_limit(day);
		double used = 0;
		uint32_t sent = 0;
		assert_true(limit > before);
		before = limit;
		relay_warmup_rate(day, &rate);
		for (int s = 0; s < 86400; s++) {
			used = relay_rate_used(&rate, used, 0, 1000);
			while (relay_rate_wait_ms(&rate, used) == 0) {
				used += 1;
				sent++;
			}
		}
		assert_in_range(sent, limit - limit / 10, limit);
		assert_true(rate.count <= limit / 24);
	}
	assert_int_equal(relay_warmup_limit(1), 50);
	assert_int_equal(relay_warmup_limit(22), 0);
	assert_int_equal(relay_warmup_day(1000, 1000), 1);
	assert_int_equal(relay_warmup_day(1000, 1000 + 86400), 2);
	assert_int_equal(relay_warmup_day(1000, 500), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_members),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_warmup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
