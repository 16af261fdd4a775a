/*
 * Return addresses: there and back, what does not fit, what was changed, what is late.
 */
#include "auth/verp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { NOW_S = 1764000000, DAY_S = 86400 };

static const unsigned char secret[VERP_SECRET_SIZE] = "thirty-two octets of the secret";
static const unsigned char other[VERP_SECRET_SIZE] = "thirty-two octets of another one";

static struct buf made, back;

static int
setup(void **state)
{
	(void)state;
	buf_init(&made, 1000);
	buf_init(&back, 1000);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	buf_fini(&made);
	buf_fini(&back);
	return 0;
}

static bool
encode(const char *recipient)
{
	buf_reset(&made);
	return verp_encode(secret, NOW_S, slice_from_cstr(recipient),
	    SLICE("Bounces.Example.Net"), &made);
}

static enum verp_result
decode(const unsigned char *key, int64_t now_s, struct slice address)
{
	buf_reset(&back);
	return verp_decode(key, now_s, address, &back);
}

static void
test_there_and_back(void **state)
{
	(void)state;
	static const struct {
		const char *recipient, *back;
	} cases[] = {
	    {"anna@example.org",       "anna@example.org"      },
	    {"Anna.Lee+x@Example.ORG", "anna.lee+x@example.org"},
	    {"\"a..b c\"@x.test",      "\"a..b c\"@x.test"     },
	    {"\"a@b\"@x.test",         "\"a@b\"@x.test"        },
	    {"a=b@x.test",             "a=b@x.test"            },
	    {"j\xc3\xb6rg@x.test",     "j\xc3\xb6rg@x.test"    },
	    {"a@[192.0.2.1]",          "a@[192.0.2.1]"         },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(encode(cases[i].recipient));
		struct slice text = buf_slice(&made);
		size_t at = slice_rindex(text, '@');
		assert_true(at <= VERP_LOCAL_MAX && slice_index(text, '@') == at);
		assert_true(slice_has_prefix_nocase(text, SLICE("bounce+")));
		/* What stands in an unquoted local part, without two dots. */
		for (size_t k = 0; k < at; k++) {
			assert_true((unsigned char)text.ptr[k] > ' ' &&
				    (unsigned char)text.ptr[k] < 127);
			assert_false(text.ptr[k] == '.' &&
				     (text.ptr[k + 1] == '.' || text.ptr[k + 1] == '@'));
		}
		assert_int_equal(decode(secret, NOW_S, text), VERP_OK);
		assert_true(
		    slice_equal(buf_slice(&back), slice_from_cstr(cases[i].back)));
		/* In capitals too. */
		for (size_t k = 0; k < made.len; k++)
			if (made.ptr[k] >= 'a' && made.ptr[k] <= 'z')
				made.ptr[k] = (char)(made.ptr[k] - 'a' + 'A');
		assert_int_equal(decode(secret, NOW_S, buf_slice(&made)), VERP_OK);
		assert_true(
		    slice_equal(buf_slice(&back), slice_from_cstr(cases[i].back)));
	}
}

static void
test_does_not_fit(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "anna", "@x.test", "anna@",
	    "a-rather-long-name-of-somebody@subdomain.example.org"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(encode(bad[i]));
		assert_int_equal(made.len, 0);
	}
	assert_false(verp_encode(secret, NOW_S, SLICE("a@b.test"), SLICE(""), &made));
}

static void
test_changed(void **state)
{
	(void)state;
	assert_true(encode("anna@example.org"));
	struct slice text = buf_slice(&made);
	assert_int_equal(decode(other, NOW_S, text), VERP_FORGED);
	/* Whatever octet is changed, it never stands for somebody. */
	for (size_t i = 0; i < text.len; i++) {
		char old = made.ptr[i];
		made.ptr[i] = old == 'z' ? 'y' : 'z';
		assert_int_not_equal(decode(secret, NOW_S, text), VERP_OK);
		assert_int_equal(back.len, 0);
		made.ptr[i] = old;
		assert_int_not_equal(
		    decode(secret, NOW_S, slice_sub(text, 0, i)), VERP_OK);
	}
	static const char *const none[] = {"", "@", "bounce@x.test", "bounce+@x.test",
	    "bounce+abc@x.test", "anna@example.org", "bounce+aaaaaaaaaabbbb"};
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(
		    decode(secret, NOW_S, slice_from_cstr(none[i])), VERP_NONE);
}

static void
test_late(void **state)
{
	(void)state;
	assert_true(encode("anna@example.org"));
	struct slice text = buf_slice(&made);
	assert_int_equal(
	    decode(secret, NOW_S + (int64_t)VERP_DAYS_MAX * DAY_S, text), VERP_OK);
	assert_int_equal(
	    decode(secret, NOW_S + (int64_t)(VERP_DAYS_MAX + 1) * DAY_S, text),
	    VERP_LATE);
	assert_int_equal(back.len, 0);
	assert_int_equal(decode(secret, NOW_S - DAY_S, text), VERP_OK);
	assert_int_equal(decode(secret, NOW_S - (int64_t)10 * DAY_S, text), VERP_LATE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_does_not_fit, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_changed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_late, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
