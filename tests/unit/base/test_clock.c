/*
 * The real clocks advance and agree; the fake ones stand still until a test moves them.
 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static void
real_clocks(void **state)
{
	(void)state;
	uint64_t before_us = clock_mono_us();
	uint64_t now_ms = clock_mono_ms();
	assert_true(now_ms >= before_us / 1000);
	assert_true(clock_mono_us() >= before_us);
	int64_t wall_s = (int64_t)time(NULL);
	assert_in_range(clock_wall_s() - wall_s + 2, 0, 4);
	assert_in_range(clock_wall_ms() / 1000 - wall_s + 2, 0, 4);
}

static void
fake_clocks(void **state)
{
	(void)state;
	clock_fake(1000, 1764000000123);
	assert_int_equal(clock_mono_ms(), 1000);
	assert_int_equal(clock_mono_us(), 1000000);
	assert_int_equal(clock_wall_s(), 1764000000);
	assert_int_equal(clock_wall_ms(), 1764000000123);
	clock_fake_advance(1877);
	assert_int_equal(clock_mono_ms(), 2877);
	assert_int_equal(clock_wall_ms(), 1764000002000);
	assert_int_equal(clock_wall_s(), 1764000002);
	clock_fake(0, -1);
	assert_int_equal(clock_wall_s(), -1);
	clock_fake(0, -1000);
	assert_int_equal(clock_wall_s(), -1);
	clock_fake_off();
	assert_true(clock_wall_s() > 1600000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(real_clocks),
	    cmocka_unit_test(fake_clocks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
