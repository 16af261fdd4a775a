/*
 * Addresses and tokens that tell a recipient: there and back, what does not fit, what was
 * changed or cut, what is late.
 */
#include "auth/verp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { NOW_S = 1764000000, DAY_S = 86400 };

static const unsigned char key[SIGNED_KEY_SIZE] = "thirty-two octets of the secret";
static const unsigned char other[SIGNED_KEY_SIZE] = "thirty-two octets of another one";

static struct buf made;
static struct verp back;

static int
setup(void **state)
{
	(void)state;
	buf_init(&made, 2000);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	buf_fini(&made);
	return 0;
}

static bool
encode(enum verp_kind kind, const char *sender, const char *recipient)
{
	buf_reset(&made);
	return verp_encode(
	    key, kind, NOW_S, slice_from_cstr(sender), slice_from_cstr(recipient), &made);
}

static bool
encode_token(const char *sender, const char *recipient)
{
	buf_reset(&made);
	return verp_token_encode(
	    key, NOW_S, slice_from_cstr(sender), slice_from_cstr(recipient), &made);
}

static const struct {
	const char *sender, *recipient, *sender_back, *recipient_back;
} cases[] = {
    {"news@x.test",  "anna@example.org",       "news@x.test",  "anna@example.org"      },
    {"News@X.test",  "Anna.Lee+x@Example.ORG", "news@x.test",  "anna.lee+x@example.org"},
    {"a+b.c@x.test", "\"a..b c\"@x.test",      "a+b.c@x.test", "\"a..b c\"@x.test"     },
    {"n@x.test",     "\"a@b\"@x.test",         "n@x.test",     "\"a@b\"@x.test"        },
    {"n=m@x.test",   "a=b@x.test",             "n=m@x.test",   "a=b@x.test"            },
    {"n@x.test",     "j\xc3\xb6rg@x.test",     "n@x.test",     "j\xc3\xb6rg@x.test"    },
    {"n@x.test",     "a@[192.0.2.1]",          "n@x.test",     "a@[192.0.2.1]"         },
};

static void
check_back(size_t i, enum verp_kind kind)
{
	assert_int_equal(back.kind, kind);
	assert_string_equal(back.sender, cases[i].sender_back);
	assert_string_equal(back.recipient, cases[i].recipient_back);
}

static void
test_there_and_back(void **state)
{
	(void)state;
	for (int kind = VERP_BOUNCE; kind <= VERP_UNSUBSCRIBE; kind++) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			assert_true(encode(
			    (enum verp_kind)kind, cases[i].sender, cases[i].recipient));
			struct slice text = buf_slice(&made);
			size_t at = slice_rindex(text, '@');
			assert_true(at <= VERP_LOCAL_MAX && slice_index(text, '@') == at);
			assert_true(slice_has_prefix(text,
			    kind == VERP_BOUNCE ? SLICE("bounce+") : SLICE("unsub+")));
			/* What stands in an unquoted local part, without two dots. */
			for (size_t k = 0; k < at; k++) {
				assert_true((unsigned char)text.ptr[k] > ' ' &&
					    (unsigned char)text.ptr[k] < 127);
				assert_false(
				    text.ptr[k] == '.' &&
				    (text.ptr[k + 1] == '.' || text.ptr[k + 1] == '@'));
			}
			assert_int_equal(verp_decode(key, NOW_S, text, &back), VERP_OK);
			check_back(i, (enum verp_kind)kind);
			/* In other case too. */
			for (size_t k = 0; k < made.len; k++)
				made.ptr[k] = ascii_lower(made.ptr[k]);
			assert_int_equal(verp_decode(key, NOW_S, text, &back), VERP_OK);
			for (size_t k = 0; k < made.len; k++)
				made.ptr[k] = ascii_upper(made.ptr[k]);
			assert_int_equal(verp_decode(key, NOW_S, text, &back), VERP_OK);
			check_back(i, (enum verp_kind)kind);
		}
	}
	assert_true(encode(VERP_BOUNCE, "news@x.test", "anna@example.org"));
	assert_int_equal(
	    made.len, sizeof("bounce+HHHHHHHHDD+news+anna==example.org@x.test") - 1);
}

static void
test_token(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(encode_token(cases[i].sender, cases[i].recipient));
		for (size_t k = 0; k < made.len; k++)
			assert_true(ascii_is_alpha(made.ptr[k]) ||
				    ascii_is_digit(made.ptr[k]) || made.ptr[k] == '-' ||
				    made.ptr[k] == '_');
		assert_int_equal(
		    verp_token_decode(key, NOW_S, buf_slice(&made), &back), VERP_OK);
		check_back(i, VERP_UNSUBSCRIBE);
	}
	/* One for a long address too. */
	assert_true(encode_token(
	    "news@x.test", "a-rather-long-name-of-somebody@subdomain.example.org"));
	assert_int_equal(verp_token_decode(key, NOW_S, buf_slice(&made), &back), VERP_OK);
	assert_string_equal(
	    back.recipient, "a-rather-long-name-of-somebody@subdomain.example.org");
}

static void
test_does_not_fit(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "", "anna", "@x.test", "anna@", "an\nna@x.test", "an\x7fna@x.test"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(encode(VERP_BOUNCE, "news@x.test", bad[i]));
		assert_false(encode(VERP_BOUNCE, bad[i], "anna@x.test"));
		assert_false(encode_token("news@x.test", bad[i]));
		assert_int_equal(made.len, 0);
	}
	assert_false(encode(VERP_BOUNCE, "\"news\"@x.test", "anna@x.test"));
	assert_false(encode(VERP_BOUNCE, "news@x.test",
	    "a-rather-long-name-of-somebody@subdomain.example.org"));
	assert_int_equal(made.len, 0);
}

/* Whatever octet is changed or cut off, it never stands for somebody else; what differs
 * in case only stands for the same. */
static void
each_changed(enum verp_result (*decode)(
		 const unsigned char *, int64_t, struct slice, struct verp *),
    bool address)
{
	struct verp whole;
	struct slice text = buf_slice(&made);
	assert_int_equal(decode(key, NOW_S, text, &whole), VERP_OK);
	assert_int_equal(decode(other, NOW_S, text, &back), VERP_FORGED);
	for (size_t i = 0; i < text.len; i++) {
		char old = made.ptr[i];
		for (int c = 0; c < 256; c++) {
			bool same = ascii_lower((char)c) == ascii_lower(old);
			made.ptr[i] = (char)c;
			bool good = decode(key, NOW_S, text, &back) == VERP_OK;
			if (address)
				assert_int_equal(good, same);
			if (good) {
				assert_string_equal(back.sender, whole.sender);
				assert_string_equal(back.recipient, whole.recipient);
			}
		}
		made.ptr[i] = old;
		assert_int_not_equal(
		    decode(key, NOW_S, slice_sub(text, 0, i), &back), VERP_OK);
	}
}

static void
test_changed(void **state)
{
	(void)state;
	assert_true(encode(VERP_BOUNCE, "news@x.test", "anna@example.org"));
	each_changed(verp_decode, true);
	assert_true(encode(VERP_UNSUBSCRIBE, "news@x.test", "anna@example.org"));
	each_changed(verp_decode, true);
	assert_true(encode_token("news@x.test", "anna@example.org"));
	each_changed(verp_token_decode, false);
	assert_true(encode_token("news@x.test", "anna@example.or"));
	each_changed(verp_token_decode, false);
	static const char *const none[] = {"", "@", "bounce@x.test", "bounce+@x.test",
	    "bounce+abc@x.test", "anna@example.org", "bounce+AAAAAAAAAA",
	    "bounce+AAAAAAAAAA@x.test", "unsub+AAAAAAAA1A+a+b==c@x.test"};
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_int_equal(
		    verp_decode(key, NOW_S, slice_from_cstr(none[i]), &back), VERP_NONE);
		assert_int_equal(
		    verp_token_decode(key, NOW_S, slice_from_cstr(none[i]), &back),
		    VERP_NONE);
	}
	assert_int_equal(verp_decode(key, NOW_S,
			     SLICE("bounce+AAAAAAAAAA+news+anna==b.test@x.test"), &back),
	    VERP_FORGED);
	/* A bounce's address is none to unsubscribe by. */
	assert_true(encode(VERP_BOUNCE, "news@x.test", "anna@example.org"));
	char text[200];
	snprintf(text, sizeof(text), "unsub+%.*s", (int)made.len - 7, made.ptr + 7);
	assert_int_equal(
	    verp_decode(key, NOW_S, slice_from_cstr(text), &back), VERP_FORGED);
}

static void
test_late(void **state)
{
	(void)state;
	assert_true(encode(VERP_BOUNCE, "news@x.test", "anna@example.org"));
	struct slice text = buf_slice(&made);
	assert_int_equal(
	    verp_decode(key, NOW_S + (int64_t)VERP_DAYS_MAX * DAY_S, text, &back),
	    VERP_OK);
	assert_int_equal(
	    verp_decode(key, NOW_S + (int64_t)(VERP_DAYS_MAX + 1) * DAY_S, text, &back),
	    VERP_LATE);
	assert_int_equal(verp_decode(key, NOW_S - DAY_S, text, &back), VERP_OK);
	assert_int_equal(
	    verp_decode(key, NOW_S - (int64_t)10 * DAY_S, text, &back), VERP_LATE);
	assert_true(encode_token("news@x.test", "anna@example.org"));
	assert_int_equal(
	    verp_token_decode(key, NOW_S + (int64_t)VERP_UNSUBSCRIBE_DAYS_MAX * DAY_S,
		buf_slice(&made), &back),
	    VERP_OK);
	assert_int_equal(verp_token_decode(key,
			     NOW_S + (int64_t)(VERP_UNSUBSCRIBE_DAYS_MAX + 1) * DAY_S,
			     buf_slice(&made), &back),
	    VERP_LATE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_token, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_does_not_fit, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_changed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_late, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
