/*
 * Users of this machine: the list of those who may send as anybody, and who else may send
 * as whom is the system script's (tests/clients/run_sendmail.py).
 */
#include "smtpd/smtp_local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
listed(void **state)
{
	(void)state;
	assert_true(smtp_local_is_listed(SLICE("www-data 1005"), "www-data", 33));
	assert_true(smtp_local_is_listed(SLICE("www-data 1005"), NULL, 1005));
	assert_true(smtp_local_is_listed(SLICE("  list   www-data "), "www-data", 33));
	assert_false(smtp_local_is_listed(SLICE("www-data 1005"), "www", 5));
	assert_false(smtp_local_is_listed(SLICE(""), "root", 0));
	assert_false(smtp_local_is_listed(SLICE("  "), "", 7));
	/* A name of digits is a number. */
	assert_false(smtp_local_is_listed(SLICE("1005"), "1005", 7));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(listed)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
