/*
 * Rates: their text, names, and the arithmetic of buckets.
 */
#include "service/relay_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_texts(void **state)
{
	(void)state;
	static const struct {
		const char *text; /* null: the same again */
		const char *in;
		bool good;
	} cases[] = {
	    {NULL,     "100/1h",        true },
	    {NULL,     "1/1s",          true },
	    {NULL,     "none",          true },
	    {"5/1d",   "5/24h",         true },
	    {"7/90s",  "7/90s",         true },
	    {"7/31d",  "7/31d",         true },
	    {NULL,     "7/32d",         false},
	    {NULL,     "0/1h",          false},
	    {NULL,     "1/500ms",       false},
	    {NULL,     "100",           false},
	    {NULL,     "/1h",           false},
	    {NULL,     "100/",          false},
	    {NULL,     "-1/1h",         false},
	    {NULL,     "100 /1h",       false},
	    {NULL,     "",              false},
	    {NULL,     "9999999999/1h", false},
	    {"60/1m",  "60/60s",        true },
	    {"60/30m", "60/1800s",      true },
	    {"5/1h",   "5/h",           true },
	    {NULL,     "5/5",           false},
	    {NULL,     "5/",            false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct relay_rate rate;
		char text[RELAY_RATE_TEXT_MAX];
		assert_int_equal(
		    relay_rate_parse(slice_from_cstr(cases[i].in), &rate), cases[i].good);
		if (!cases[i].good)
			continue;
		relay_rate_text(&rate, text);
		assert_string_equal(text, cases[i].text ? cases[i].text : cases[i].in);
	}
}

static void
test_names(void **state)
{
	(void)state;
	struct buf name AUTO_BUF;
	char huge[RELAY_RATE_NAME_MAX + 1];
	enum relay_rate_scope scope;
	buf_init(&name, RELAY_NOTE_NAME_MAX);
	assert_true(relay_rate_name(RELAY_RATE_SENDER, SLICE("Anna@Demo.Test"), &name));
	assert_true(slice_equal(buf_slice(&name), SLICE("sender:anna@demo.test")));
	assert_false(relay_rate_name(RELAY_RATE_SITE, SLICE(""), &name));
	memset(huge, 'a', sizeof(huge));
	assert_false(
	    relay_rate_name(RELAY_RATE_SITE, slice_make(huge, sizeof(huge)), &name));
	assert_true(relay_rate_name(
	    RELAY_RATE_SITE, slice_make(huge, RELAY_RATE_NAME_MAX), &name));
	for (int i = 0; i < RELAY_RATE_SCOPES; i++) {
		const char *text = relay_rate_scope_text((enum relay_rate_scope)i);
		assert_true(relay_rate_scope_parse(slice_from_cstr(text), &scope));
		assert_int_equal(scope, i);
	}
	assert_false(relay_rate_scope_parse(SLICE("sit"), &scope));
}

/* However it is asked, no more than count + a period's flow goes out in a period. */
static void
test_bucket(void **state)
{
	(void)state;
	static const struct relay_rate rate = {10, 60};
	static const struct relay_rate none = {0, 0};
	double used = 0;
	int64_t now = 1000000, at = now;
	unsigned sent = 0, first = 0;
	for (; now < 1000000 + 120 * 1000; now += 100) {
		used = relay_rate_used(&rate, used, at, now);
		at = now;
		if (relay_rate_wait_ms(&rate, used) > 0)
			continue;
		used += 1;
		sent++;
		first += now == 1000000 || now < 1001000;
	}
	assert_int_equal(first, 10);
	assert_in_range(sent, 29, 30);
	/* A full one tells when the next may go, and then it may. */
	uint64_t wait = relay_rate_wait_ms(&rate, 10);
	assert_in_range(wait, 6000, 6010);
	used = relay_rate_used(&rate, 10, 0, (int64_t)wait);
	assert_int_equal(relay_rate_wait_ms(&rate, used), 0);
	/* A clock that went back gives nothing and takes nothing. */
	assert_true(relay_rate_used(&rate, 5, 9000, 1000) == 5);
	assert_true(relay_rate_used(&none, 5, 0, 1) == 0);
	assert_int_equal(relay_rate_wait_ms(&none, 1e9), 0);
	assert_true(relay_rate_room(&rate, 10, 60) >= 9.99);
	assert_true(relay_rate_room(&rate, 10, 5) < 1);
}

static void
test_used_text(void **state)
{
	(void)state;
	struct buf text AUTO_BUF;
	double used;
	int64_t at_ms;
	buf_init(&text, 100);
	relay_rate_used_write(12.5, 1764000000123, &text);
	assert_true(relay_rate_used_read(buf_slice(&text), &used, &at_ms));
	assert_true(used == 12.5);
	assert_int_equal(at_ms, 1764000000123);
	assert_false(relay_rate_used_read(SLICE(""), &used, &at_ms));
	assert_false(relay_rate_used_read(SLICE("1"), &used, &at_ms));
	assert_false(relay_rate_used_read(SLICE("x 1"), &used, &at_ms));
	assert_false(
	    relay_rate_used_read(SLICE("99999999999999999999 1"), &used, &at_ms));
	assert_false(relay_rate_used_read(SLICE("1 -1"), &used, &at_ms));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_bucket),
	    cmocka_unit_test(test_used_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
