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

static void
test_receivers(void **state)
{
	(void)state;
	static const struct {
		const char *urls;
		size_t index;
		const char *url;
	} cases[] = {
	    {"",		      0, NULL       },
	    {"https://a",             0, "https://a"},
	    {"https://a",             1, NULL       },
	    {"  https://a  http://b", 0, "https://a"},
	    {"  https://a  http://b", 1, "http://b" },
	    {"https://a - http://c",  1, NULL       },
	    {"https://a - http://c",  2, "http://c" },
	    {"https://a - http://c",  3, NULL       },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice url =
		    webhook_receiver(slice_from_cstr(cases[i].urls), cases[i].index);
		assert_int_equal(url.ptr != NULL, cases[i].url != NULL);
		if (cases[i].url)
			assert_true(slice_equal(url, slice_from_cstr(cases[i].url)));
	}
	struct slice keys = SLICE("one\n two \r\n\nfour");
	assert_true(slice_equal(webhook_key(keys, 0), SLICE("one")));
	assert_true(slice_equal(webhook_key(keys, 1), SLICE("two")));
	assert_int_equal(webhook_key(keys, 2).len, 0);
	assert_true(slice_equal(webhook_key(keys, 3), SLICE("four")));
	assert_int_equal(webhook_key(keys, 4).len, 0);
	assert_int_equal(webhook_key(SLICE(""), 0).len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sign), cmocka_unit_test(test_receivers)};
	return cmocka_run_group_tests_name("webhook", tests, NULL, NULL);
}
