/*
 * Hashes and days of addresses: what they are over, what they end with.
 */
#include "auth/signed_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NOW_S = 1764000000, DAY_S = 86400 };

static const unsigned char key[SIGNED_KEY_SIZE] = "thirty-two octets of the secret";
static const unsigned char other[SIGNED_KEY_SIZE] = "thirty-two octets of another one";

static void
test_mac(void **state)
{
	(void)state;
	char mac[SIGNED_MAC_LEN], lower[SIGNED_MAC_LEN];
	struct slice text = SLICE("Some Text"), given = slice_make(mac, sizeof(mac));
	assert_true(signed_mac_make(key, "a ", text, mac));
	assert_true(signed_text_is_plausible(given));
	assert_true(signed_mac_fits(key, "a ", SLICE("some text"), given));
	for (size_t i = 0; i < sizeof(mac); i++)
		lower[i] = ascii_lower(mac[i]);
	assert_true(signed_mac_fits(key, "a ", text, slice_make(lower, sizeof(lower))));
	assert_false(signed_mac_fits(key, "b ", text, given));
	assert_false(signed_mac_fits(other, "a ", text, given));
	assert_false(signed_mac_fits(key, "a ", SLICE("some texts"), given));
	for (size_t i = 0; i <= sizeof(mac); i++)
		assert_int_equal(signed_mac_fits(key, "a ", text, slice_sub(given, 0, i)),
		    i == sizeof(mac));
	for (size_t i = 0; i < sizeof(mac); i++) {
		for (int c = 0; c < 256; c++) {
			char changed[SIGNED_MAC_LEN];
			memcpy(changed, mac, sizeof(mac));
			changed[i] = (char)c;
			assert_int_equal(signed_mac_fits(key, "a ", text,
					     slice_make(changed, sizeof(changed))),
			    ascii_upper((char)c) == mac[i]);
		}
	}
}

static void
test_limit(void **state)
{
	(void)state;
	char text[SIGNED_TEXT_MAX], mac[SIGNED_MAC_LEN];
	memset(text, 'x', sizeof(text));
	assert_true(signed_mac_make(key, "ab", slice_make(text, sizeof(text) - 2), mac));
	assert_false(signed_mac_make(key, "ab", slice_make(text, sizeof(text) - 1), mac));
}

static void
test_day(void **state)
{
	(void)state;
	char day[SIGNED_DAY_LEN];
	unsigned age;
	struct slice text = slice_make(day, sizeof(day));
	signed_day_make(NOW_S, day);
	for (unsigned days = 0; days < SIGNED_DAY_COUNT; days += 11) {
		assert_true(signed_day_age(text, NOW_S + (int64_t)days * DAY_S, &age));
		assert_int_equal(age, days);
	}
	assert_true(signed_day_age(text, NOW_S - DAY_S, &age));
	assert_true(signed_day_is_within(age, 5));
	assert_true(signed_day_is_within(5, 5));
	assert_false(signed_day_is_within(6, 5));
	assert_false(signed_day_age(SLICE("A"), NOW_S, &age));
	assert_false(signed_day_age(SLICE("AAA"), NOW_S, &age));
	assert_false(signed_day_age(SLICE("A1"), NOW_S, &age));
	assert_false(signed_day_age(slice_make("A\0", 2), NOW_S, &age));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mac),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_day),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
