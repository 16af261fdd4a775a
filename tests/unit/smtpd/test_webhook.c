/* The signature of a webhook's batch, against one that openssl made. */
#include "smtpd/webhook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_sign(void **state)
{
	(void)state;
	char text[WEBHOOK_SIGNATURE_SIZE];
	/* printf '1764000000.{"events":[]}' | openssl dgst -sha256 -hmac key */
	webhook_sign(SLICE("key"), SLICE("1764000000"), SLICE("{\"events\":[]}"), text);
	assert_string_equal(text,
	    "sha256=16c9c090c80eb7306a747c57496aa61db7040703c9938194b7ebe8ec70819774");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sign)};
	return cmocka_run_group_tests_name("webhook", tests, NULL, NULL);
}
