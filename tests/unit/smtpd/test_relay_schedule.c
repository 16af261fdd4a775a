/*
 * Shares of senders: bulk never fills the active set, whoever has little gets in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtpd/relay_int.h"

static void
test_single_sender(void **state)
{
	(void)state;
	size_t active = 0;
	while (relay_fair_may_load(active, active, active))
		active++;
	assert_in_range(active, RELAY_ACTIVE_MAX / 10, RELAY_ACTIVE_MAX / 2);
	assert_true(relay_fair_may_load(active, 0, 0));
}

/* Twenty bulk runs at once leave room; with more of them what comes free is for those who
 * have little. */
static void
test_many_senders(void **state)
{
	(void)state;
	size_t active = 0;
	for (int i = 0; i < 20; i++) {
		size_t own = 0;
		while (relay_fair_may_load(active, own, own)) {
			own++;
			active++;
		}
		assert_true(own >= 10);
	}
	assert_true(active < RELAY_ACTIVE_MAX);
	assert_false(relay_fair_may_load(RELAY_ACTIVE_MAX, 0, 0));
	assert_true(relay_fair_may_load(RELAY_ACTIVE_MAX - 1, 0, 0));
	assert_false(relay_fair_may_load(RELAY_ACTIVE_MAX - 1, 100, 100));
}

static void
test_connections(void **state)
{
	(void)state;
	size_t own = 0;
	while (relay_fair_may_connect(own, own))
		own++;
	assert_in_range(own, RELAY_CONNECTIONS_MAX / 4, RELAY_CONNECTIONS_MAX / 2);
	assert_true(relay_fair_may_connect(RELAY_CONNECTIONS_MAX - 1, 0));
	assert_false(relay_fair_may_connect(RELAY_CONNECTIONS_MAX, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_single_sender),
	    cmocka_unit_test(test_many_senders),
	    cmocka_unit_test(test_connections),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
