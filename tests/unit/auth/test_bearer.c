/*
 * The messages that bring a bearer token, and the JSON that tells its refusal.
 */
#include "auth/bearer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct row {
	struct slice in;
	const char *user; /* null: refused */
	const char *token;
};

#define ROW(text, user, token)                                                           \
	{                                                                                \
		{(text), sizeof(text) - 1}, (user), (token)                              \
	}

static void
check(const struct row *rows, size_t count,
    bool (*parse)(struct slice in, struct bearer_message *out))
{
	for (size_t i = 0; i < count; i++) {
		struct bearer_message m;
		/* From a copy that ends where the message ends. */
		char *copy = malloc(rows[i].in.len + 1);
		assert_non_null(copy);
		memcpy(copy, rows[i].in.ptr, rows[i].in.len);
		bool good = parse(slice_make(copy, rows[i].in.len), &m);
		if (good != (rows[i].user != NULL))
			fail_msg("row %zu: %d", i, good);
		if (good) {
			assert_string_equal(m.user, rows[i].user);
			assert_true(slice_equal(m.token, slice_from_cstr(rows[i].token)));
		}
		/* No shorter beginning of it is a message. */
		for (size_t cut = 0; good && cut < rows[i].in.len; cut++)
			assert_false(parse(slice_make(copy, cut), &m));
		free(copy);
	}
}

static void
oauthbearer(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    /* RFC 7628 section 4.1 */
	    ROW("n,a=user@example.com,\1host=server.example.com\1port=143\1"
		"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1",
		"user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="),
	    ROW("n,,\1auth=Bearer abc\1\1", "", "abc"),
	    ROW("y,,\1auth=bearer  a.b-c_d~e+f/g=\1\1", "", "a.b-c_d~e+f/g="),
	    ROW("n,a=a=2Cb=3Dc,\1auth=Bearer abc\1\1", "a,b=c", "abc"),
	    ROW("n,,\1auth=Bearer abc\1mtu=\1\1", "", "abc"),
	    ROW("n,a=a=2cb,\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("n,a=,\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("n,b=x,\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("p=tls-exporter,,\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("n,\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("n,,x\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("n,,\1auth=Basic abc\1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer \1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer =\1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer a b\1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer a=b\1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer a\1auth=Bearer b\1\1", NULL, NULL),
	    ROW("n,,\1host=x\1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer abc\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer abc\1\1x", NULL, NULL),
	    ROW("n,,\1auth=Bearer abc\1\1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer abc\1ho st=x\1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer abc\1host=\0\1\1", NULL, NULL),
	    ROW("n,,\1auth=Bearer abc\1=x\1\1", NULL, NULL),
	    ROW("n,,\1auth\1\1", NULL, NULL),
	    ROW("n,,\1\1", NULL, NULL),
	    ROW("\1", NULL, NULL),
	    ROW("", NULL, NULL),
	};
	check(rows, sizeof(rows) / sizeof(rows[0]), bearer_parse_oauthbearer);
}

static void
xoauth2(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    ROW("user=jo@example.org\1auth=Bearer ya29.vF9dft4\1\1", "jo@example.org",
		"ya29.vF9dft4"),
	    ROW("user=a=b@x\1auth=Bearer abc\1\1", "a=b@x", "abc"),
	    ROW("user=\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("user=a\0b\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("user=a\1\1", NULL, NULL),
	    ROW("User=a\1auth=Bearer abc\1\1", NULL, NULL),
	    ROW("auth=Bearer abc\1user=a\1\1", NULL, NULL),
	    ROW("user=a", NULL, NULL),
	};
	check(rows, sizeof(rows) / sizeof(rows[0]), bearer_parse_xoauth2);
	/* A name that is too long is none. */
	char text[BEARER_USER_MAX + 64] = "user=";
	memset(text + 5, 'a', BEARER_USER_MAX + 1);
	strcpy(text + 5 + BEARER_USER_MAX + 1, "\1auth=Bearer abc\1\1");
	struct bearer_message m;
	assert_false(bearer_parse_xoauth2(slice_from_cstr(text), &m));
	strcpy(text + 5 + BEARER_USER_MAX, "\1auth=Bearer abc\1\1");
	assert_true(bearer_parse_xoauth2(slice_from_cstr(text), &m));
}

static void
failures(void **state)
{
	(void)state;
	struct buf out AUTO_BUF;
	buf_init(&out, 1000);
	bearer_write_failure(false, "mail \"x\"", "https://id.example/conf", &out);
	assert_true(slice_equal(buf_slice(&out),
	    SLICE("{\"status\":\"invalid_token\",\"scope\":\"mail \\\"x\\\"\","
		  "\"openid-configuration\":\"https://id.example/conf\"}")));
	buf_reset(&out);
	bearer_write_failure(false, "", "", &out);
	assert_true(
	    slice_equal(buf_slice(&out), SLICE("{\"status\":\"invalid_token\"}")));
	buf_reset(&out);
	bearer_write_failure(true, "mail", "https://id.example/conf", &out);
	assert_true(slice_equal(buf_slice(&out),
	    SLICE("{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"mail\"}")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(oauthbearer),
	    cmocka_unit_test(xoauth2),
	    cmocka_unit_test(failures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
