/*
 * Shares of tenants and senders: bulk never fills the active set, whoever has little gets
 * in.
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
	while (relay_fair_may_load(active, 0, active, active))
		active++;
	assert_in_range(active, RELAY_ACTIVE_MAX / 10, RELAY_ACTIVE_MAX / 2);
	assert_true(relay_fair_may_load(active, 0, 0, 0));
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
		while (relay_fair_may_load(active, 0, own, own)) {
			own++;
			active++;
		}
		assert_true(own >= 10);
	}
	assert_true(active < RELAY_ACTIVE_MAX);
	assert_false(relay_fair_may_load(RELAY_ACTIVE_MAX, 0, 0, 0));
	assert_true(relay_fair_may_load(RELAY_ACTIVE_MAX - 1, 0, 0, 0));
	assert_false(relay_fair_may_load(RELAY_ACTIVE_MAX - 1, 0, 100, 100));
}

static void
test_connections(void **state)
{
	(void)state;
	size_t own = 0;
	while (relay_fair_may_connect(own, 0, own))
		own++;
	assert_in_range(own, RELAY_CONNECTIONS_MAX / 4, RELAY_CONNECTIONS_MAX / 2);
	assert_true(relay_fair_may_connect(RELAY_CONNECTIONS_MAX - 1, 0, 0));
	assert_false(relay_fair_may_connect(RELAY_CONNECTIONS_MAX, 0, 0));
}

/* A tenant's flood leaves room for its other senders; a thousand of its senders leave
 * room for other tenants. */
static void
test_tenants(void **state)
{
	(void)state;
	size_t active = 0;
	while (relay_fair_may_load(active, active, active, 0))
		active++;
	assert_true(relay_fair_may_load(active, active, 0, 0));
	assert_true(relay_fair_may_load(active, 0, 0, 0));
	active = 0;
	for (int sender = 0; sender < 5000; sender++) {
		size_t own = 0;
		while (relay_fair_may_load(active, active, own, own)) {
			own++;
			active++;
		}
	}
	assert_in_range(active, RELAY_ACTIVE_MAX / 4, RELAY_ACTIVE_MAX / 2);
	assert_false(relay_fair_may_load(active, active, 0, 0));
	/* Another tenant's flood then has its part too, and a single message of a third.
	 */
	size_t other = 0;
	while (relay_fair_may_load(active, other, other, 0)) {
		other++;
		active++;
	}
	assert_true(other > RELAY_ACTIVE_MAX / 10);
	assert_true(relay_fair_may_load(active, 0, 0, 0));
	size_t connections = 0;
	while (relay_fair_may_connect(connections, connections, 0))
		connections++;
	assert_in_range(
	    connections, RELAY_CONNECTIONS_MAX / 4, RELAY_CONNECTIONS_MAX / 2);
	assert_true(relay_fair_may_connect(connections, 0, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_single_sender),
	    cmocka_unit_test(test_many_senders),
	    cmocka_unit_test(test_connections),
	    cmocka_unit_test(test_tenants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
