/*
 * How long a daemon that died waits for its next start.
 */
#include "postroom/supervisor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
restart_delays(void **state)
{
	(void)state;
	uint64_t delay = 0, sum = 0;
	/* The first death costs little, a daemon that cannot live costs little as well.
	 */
	assert_int_equal(supervisor_restart_delay_ms(0, 0), SUPERVISOR_RESTART_MS_MIN);
	for (int i = 0; i < 20; i++) {
		uint64_t next = supervisor_restart_delay_ms(delay, 5);
		assert_true(next >= delay && next <= SUPERVISOR_RESTART_MS_MAX);
		assert_true(
		    delay == 0 || next == delay * 2 || next == SUPERVISOR_RESTART_MS_MAX);
		delay = next;
		sum += next;
	}
	assert_int_equal(delay, SUPERVISOR_RESTART_MS_MAX);
	assert_true(sum < 20 * (uint64_t)SUPERVISOR_RESTART_MS_MAX);
	/* A calm life forgives; a life just not calm enough does not. */
	assert_int_equal(supervisor_restart_delay_ms(delay, SUPERVISOR_CALM_MS), delay);
	assert_int_equal(supervisor_restart_delay_ms(delay, SUPERVISOR_CALM_MS + 1),
	    SUPERVISOR_RESTART_MS_MIN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(restart_delays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
