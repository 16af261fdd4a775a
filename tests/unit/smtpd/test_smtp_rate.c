/*
 * Recipients an hour: the burst, the slow refill, accounts apart, no limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

static void
text_put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* What was used is used after a restart; damaged files change nothing. */
static void
test_file(void **state)
{
	(void)state;
	static const char *const damaged[] = {
	    "",
	    "something else\n",
	    "postroom send rates 1\nxyz\n",
	    "postroom send rates 1\n00112233445566778899aabbccddeeff 5\n",
	    "postroom send rates 1\n00112233445566778899aabbccddeeff -5 1\n",
	    "postroom send rates 1\n00112233445566778899aabbccddee 5 1\n",
	    "postroom send rates 1\n00112233445566778899aabbccddeeff 5 1\nx",
	};
	const struct account_id id = {
	    {0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
             0xdd, 0xee, 0xff}
        };
	char path[] = "/tmp/postroom-rates-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	uint64_t now_ms = (uint64_t)2000 * MINUTE_MS;
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		text_put(path, damaged[i]);
		assert_int_equal(smtp_rate_load(path), STATUS_CORRUPT);
	}
	text_put(path,
	    "postroom send rates 1\n00112233445566778899aabbccddeeff 59 120000000\n");
	assert_int_equal(smtp_rate_load(path), STATUS_OK);
	assert_true(smtp_rate_take(id, LIMIT, now_ms));
	assert_false(smtp_rate_take(id, LIMIT, now_ms));
	/* Written, and read again over whatever is there by then. */
	assert_int_equal(smtp_rate_save(path), STATUS_OK);
	assert_true(smtp_rate_take(id, LIMIT, now_ms + (uint64_t)60 * MINUTE_MS));
	assert_int_equal(smtp_rate_load(path), STATUS_OK);
	assert_false(smtp_rate_take(id, LIMIT, now_ms));
	unlink(path);
	assert_int_equal(smtp_rate_load(path), STATUS_NOT_FOUND);
	assert_int_equal(smtp_rate_save("/nonexistent/x"), STATUS_IO);
	/* It is still to be written; then nothing was taken since. */
	assert_int_equal(smtp_rate_save(path), STATUS_OK);
	assert_int_equal(smtp_rate_save("/nonexistent/x"), STATUS_OK);
	unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_burst_and_refill),
	    cmocka_unit_test(test_no_limit),
	    cmocka_unit_test(test_file),
	    cmocka_unit_test(test_many_accounts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
