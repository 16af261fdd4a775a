/*
 * Recipients an hour: the burst, the slow refill, accounts apart, no limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtpd/smtp_rate.h"

enum { MINUTE_MS = 60 * 1000, LIMIT = 60 };

static const struct account_id anna = {{1}};
static const struct account_id bob = {{2}};

static void
test_burst_and_refill(void **state)
{
	(void)state;
	uint64_t now_ms = 1000;
	for (int i = 0; i < LIMIT; i++)
		assert_true(smtp_rate_take(anna, LIMIT, now_ms));
	assert_false(smtp_rate_take(anna, LIMIT, now_ms));
	assert_true(smtp_rate_take(bob, LIMIT, now_ms));
	now_ms += MINUTE_MS / 2;
	assert_false(smtp_rate_take(anna, LIMIT, now_ms));
	now_ms += MINUTE_MS / 2 + 1;
	assert_true(smtp_rate_take(anna, LIMIT, now_ms));
	assert_false(smtp_rate_take(anna, LIMIT, now_ms));
	now_ms += (uint64_t)60 * MINUTE_MS;
	for (int i = 0; i < LIMIT; i++)
		assert_true(smtp_rate_take(anna, LIMIT, now_ms));
	assert_false(smtp_rate_take(anna, LIMIT, now_ms));
}

static void
test_no_limit(void **state)
{
	(void)state;
	for (int i = 0; i < 100000; i++)
		assert_true(smtp_rate_take(anna, 0, 5));
}

/* Many accounts are forgotten when their bucket is full again, and only then. */
static void
test_many_accounts(void **state)
{
	(void)state;
	const uint64_t later_ms = (uint64_t)1000 * MINUTE_MS;
	struct account_id id = {{9}};
	for (int i = 0; i < 3 * SMTP_RATE_ACCOUNTS_KEPT; i++) {
		memcpy(id.v + 4, &i, sizeof(i));
		assert_true(smtp_rate_take(id, 1, later_ms));
	}
	assert_false(smtp_rate_take(id, 1, later_ms));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_burst_and_refill),
	    cmocka_unit_test(test_no_limit),
	    cmocka_unit_test(test_many_accounts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
