/*
 * Tokens: the three algorithms with keys from JWK and PEM, every claim that can be wrong,
 * and the tricks of RFC 8725: no algorithm, another one, another key, changed bytes.
 */
#include "auth/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/auth/token_maker.h"

static const int64_t now_s = 1795600000;

static const struct jwt_rules rules = {.issuer = "https://id.example",
    .audience = "other mail",
    .scope = "imap",
    .claim = "email",
    .skew_s = 60,
    .now_s = 1795600000};

static const char good_claims[] =
    "{\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":1795600300,"
    "\"nbf\":1795599999,\"iat\":1795599999,\"scope\":\"openid imap\","
    "\"email\":\"jo@example.org\"}";

static const char *const algorithms[] = {"RS256", "ES256", "EdDSA"};
static EVP_PKEY *pkeys[3];

static int
make_keys_once(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		pkeys[i] = maker_key(algorithms[i]);
	return 0;
}

static int
free_keys(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		EVP_PKEY_free(pkeys[i]);
	return 0;
}

static struct jwt_keys *
load(struct slice text)
{
	struct jwt_keys *keys = NULL;
	const char *error = NULL;

	if (jwt_keys_parse(text, &keys, &error) != STATUS_OK)
		fail_msg("%s", error);
	return keys;
}

static struct jwt_keys *
all_keys(bool with_kid)
{
	struct buf text AUTO_BUF;

	buf_init(&text, 8192);
	buf_append_cstr(&text, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},");
	for (int i = 0; i < 3; i++) {
		if (i)
			buf_append_byte(&text, ',');
		maker_jwk(pkeys[i], with_kid ? algorithms[i] : NULL, &text);
	}
	buf_append_cstr(&text, "]}");
	return load(buf_slice(&text));
}

static const char *why;

static enum status
check(struct slice token, const struct jwt_keys *keys, const struct jwt_rules *r)
{
	struct buf name AUTO_BUF;
	int64_t expires_s = 0;

	buf_init(&name, JWT_NAME_MAX);
	enum status status = jwt_check(token, keys, r, &name, &expires_s, &why);
	assert_int_equal(status == STATUS_OK, why == NULL);
	if (status == STATUS_OK) {
		assert_true(slice_equal(buf_slice(&name), SLICE("jo@example.org")));
		assert_int_equal(expires_s, 1795600300);
	}
	return status;
}

static void
signatures(void **state)
{
	(void)state;
	struct jwt_keys *named = all_keys(true), *nameless = all_keys(false);

	for (int i = 0; i < 3; i++) {
		char header[128];
		struct buf token AUTO_BUF, pem AUTO_BUF;
		buf_init(&token, JWT_TOKEN_MAX);
		buf_init(&pem, 4096);
		snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}",
		    algorithms[i]);
		maker_token(pkeys[i], header, good_claims, &token);
		assert_int_equal(check(buf_slice(&token), named, &rules), STATUS_OK);
		assert_int_equal(check(buf_slice(&token), nameless, &rules), STATUS_OK);
		maker_pem(pkeys[i], &pem);
		struct jwt_keys *one = load(buf_slice(&pem));
		assert_int_equal(check(buf_slice(&token), one, &rules), STATUS_OK);
		jwt_keys_unref(&one);
		/* A bit of any byte. */
		for (size_t at = 0; at < token.len; at++) {
			char was = token.ptr[at];
			token.ptr[at] = (char)(was ^ 1);
			if (check(buf_slice(&token), named, &rules) == STATUS_OK)
				fail_msg("%s: byte %zu of %zu changed, and good",
				    algorithms[i], at, token.len);
			token.ptr[at] = was;
		}
		for (size_t cut = 0; cut < token.len; cut++)
			assert_int_equal(
			    check(slice_sub(buf_slice(&token), 0, cut), named, &rules),
			    STATUS_DENIED);
		/* Named keys are the only ones that are tried. */
		struct buf other AUTO_BUF;
		buf_init(&other, JWT_TOKEN_MAX);
		snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"x\"}",
		    algorithms[i]);
		maker_token(pkeys[i], header, good_claims, &other);
		assert_int_equal(check(buf_slice(&other), named, &rules), STATUS_DENIED);
		assert_int_equal(check(buf_slice(&other), nameless, &rules), STATUS_OK);
	}
	jwt_keys_unref(&named);
	jwt_keys_unref(&nameless);
}

static void
headers(void **state)
{
	(void)state;
	static const char *const bad[] = {"{\"alg\":\"none\"}", "{\"alg\":\"HS256\"}",
	    "{\"alg\":\"RS256\"}", "{\"alg\":\"ES384\"}", "{\"alg\":\"es256\"}", "{}",
	    "[]", "\"ES256\"", "{\"alg\":\"ES256\",\"crit\":[\"exp\"]}",
	    "{\"alg\":\"ES256\",\"typ\":\"logout+jwt\"}", "{\"alg\":\"ES256\",\"typ\":7}",
	    "{\"alg\":\"ES256\",\"alg\":\"ES256\"}", "{\"alg\":\"ES256\"} ", "",
	    "{\"alg\":\"ES256\"", "{\"alg\":{\"alg\":\"ES256\"}}"};
	static const char *const good[] = {"{\"alg\":\"ES256\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}",
	    "{\"alg\":\"ES256\",\"typ\":\"application/at+JWT\"}"};
	struct jwt_keys *keys = all_keys(false);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf token AUTO_BUF;
		buf_init(&token, JWT_TOKEN_MAX);
		maker_token(pkeys[1], bad[i], good_claims, &token);
		enum status status = check(buf_slice(&token), keys, &rules);
		/* JSON allows white space around. */
		if (strcmp(bad[i], "{\"alg\":\"ES256\"} ") == 0)
			assert_int_equal(status, STATUS_OK);
		else if (status != STATUS_DENIED)
			fail_msg("%s", bad[i]);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct buf token AUTO_BUF;
		buf_init(&token, JWT_TOKEN_MAX);
		maker_token(pkeys[1], good[i], good_claims, &token);
		assert_int_equal(check(buf_slice(&token), keys, &rules), STATUS_OK);
	}
	static const char *const shapes[] = {"", ".", "..", "...", "a.b.c", "a.b",
	    "=.=.=", "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImpvQGV4YW1wbGUub3JnIn0."};
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		assert_int_equal(
		    check(slice_from_cstr(shapes[i]), keys, &rules), STATUS_DENIED);
	jwt_keys_unref(&keys);
}

/* One claim replaced; an empty value takes it out. */
static void
claims_with(const char *name, const char *value, char *out, size_t size)
{
	static const struct {
		const char *name, *value;
	} defaults[] = {
	    {"iss",            "\"https://id.example\""},
	    {"aud",            "\"mail\""              },
	    {"exp",            "1795600300"            },
	    {"scope",          "\"openid imap\""       },
	    {"email",          "\"jo@example.org\""    },
	    {"nbf",            ""		      },
	    {"iat",            ""		      },
	    {"email_verified", ""                      },
	    {"scp",            ""		      },
	};
	size_t len = 0;

	out[len++] = '{';
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		const char *v =
		    strcmp(defaults[i].name, name) == 0 ? value : defaults[i].value;
		if (*v)
			len += (size_t)snprintf(out + len, size - len, "%s\"%s\":%s",
			    len > 1 ? "," : "", defaults[i].name, v);
	}
	snprintf(out + len, size - len, "}");
}

static void
claims(void **state)
{
	(void)state;
	static const struct {
		const char *name, *value;
		bool good;
	} rows[] = {
	    {"",               "",			 true },
	    {"iss",            "\"https://evil.example\"", false},
	    {"iss",            "",			 false},
	    {"iss",            "[\"https://id.example\"]", false},
	    {"aud",            "[\"x\",\"mail\"]",         true },
	    {"aud",            "\"other\"",                true },
	    {"aud",            "[\"x\"]",                  false},
	    {"aud",            "\"other mail\"",           false},
	    {"aud",            "\"\"",                     false},
	    {"aud",            "[1,null]",                 false},
	    {"aud",            "",			 false},
	    {"exp",            "",			 false},
	    {"exp",            "\"1795600300\"",           false},
	    {"exp",            "1795599941",               false}, /* email etc. stand, but see expires below */
	    {"exp",            "1795599940",               false},
	    {"exp",            "-1",                       false},
	    {"exp",            "1e400",                    false},
	    {"nbf",            "1795600060",               true },
	    {"nbf",            "1795600061",               false},
	    {"nbf",            "true",                     false},
	    {"iat",            "1795600060.5",             true },
	    {"iat",            "1795600062",               false},
	    {"scope",          "\"imap\"",                 true },
	    {"scope",          "[\"smtp\",\"imap\"]",      true },
	    {"scope",          "\"imaps\"",                false},
	    {"scope",          "",                         false},
	    {"email",          "\"\"",                     false},
	    {"email",          "5",                        false},
	    {"email",          "",                         false},
	    {"email_verified", "true",                     true },
	    {"email_verified", "false",                    false},
	};
	struct jwt_keys *keys = all_keys(false);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[512];
		struct buf token AUTO_BUF;
		/* Within the skew: good, only its expiry is another. */
		if (strcmp(rows[i].value, "1795599941") == 0)
			continue;
		buf_init(&token, JWT_TOKEN_MAX);
		claims_with(rows[i].name, rows[i].value, text, sizeof(text));
		maker_token(pkeys[2], "{\"alg\":\"EdDSA\"}", text, &token);
		enum status status = check(buf_slice(&token), keys, &rules);
		if ((status == STATUS_OK) != rows[i].good)
			fail_msg("%s: %s", text, why ? why : "taken");
	}
	/* The skew works on the expiry as well, and no rule asks for nothing. */
	struct jwt_rules late = rules, open = {.claim = "email", .now_s = now_s};
	struct buf token AUTO_BUF;
	buf_init(&token, JWT_TOKEN_MAX);
	maker_token(pkeys[2], "{\"alg\":\"EdDSA\"}", good_claims, &token);
	late.now_s = 1795600300 + 59;
	assert_int_equal(check(buf_slice(&token), keys, &late), STATUS_OK);
	late.now_s++;
	assert_int_equal(check(buf_slice(&token), keys, &late), STATUS_DENIED);
	assert_string_equal(why, "it has expired");
	assert_int_equal(check(buf_slice(&token), keys, &open), STATUS_OK);
	jwt_keys_unref(&keys);
}

static void
introspection(void **state)
{
	(void)state;
	static const struct {
		const char *answer;
		const char *name; /* null: refused */
	} rows[] = {
	    {"{\"active\":true,\"scope\":\"imap\",\"email\":\"jo@example.org\"}",
             "jo@example.org"								  },
	    {"{\"active\":true,\"scope\":\"imap\",\"username\":\"jo@example.org\"}",
             "jo@example.org"								  },
	    {"{\"active\":true,\"scope\":\"imap\",\"aud\":\"mail\",\"iss\":"
	     "\"https://id.example\",\"exp\":1795600300,\"username\":\"x\"}", "x" },
	    {"{\"active\":false,\"scope\":\"imap\",\"email\":\"jo@example.org\"}",         NULL},
	    {"{\"active\":\"true\",\"scope\":\"imap\",\"email\":\"jo@x\"}",                NULL},
	    {"{\"scope\":\"imap\",\"email\":\"jo@example.org\"}",                          NULL},
	    {"{\"active\":true,\"email\":\"jo@example.org\"}",                             NULL},
	    {"{\"active\":true,\"scope\":\"imap\",\"aud\":\"y\",\"email\":\"jo@x\"}",
             NULL									      },
	    {"{\"active\":true,\"scope\":\"imap\",\"iss\":\"y\",\"email\":\"jo@x\"}",
             NULL									      },
	    {"{\"active\":true,\"scope\":\"imap\",\"exp\":1,\"email\":\"jo@x\"}",          NULL},
	    {"{\"active\":true,\"scope\":\"imap\"}",                                       NULL},
	    {"{\"active\":true,\"active\":true,\"scope\":\"imap\",\"email\":\"a\"}",
             NULL									      },
	    {"[true]",								     NULL},
	    {"",									   NULL},
	    {"{\"active\":true",							   NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf name AUTO_BUF;
		int64_t expires_s;
		buf_init(&name, JWT_NAME_MAX);
		enum status status = jwt_check_introspection(
		    slice_from_cstr(rows[i].answer), &rules, &name, &expires_s, &why);
		assert_int_equal(status, rows[i].name ? STATUS_OK : STATUS_DENIED);
		if (rows[i].name)
			assert_true(
			    slice_equal(buf_slice(&name), slice_from_cstr(rows[i].name)));
	}
}

static void
key_files(void **state)
{
	(void)state;
	static const char *const bad[] = {"", " \n", "{}", "{\"keys\":{}}",
	    "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
	    "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
	    "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}]}",
	    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
	    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
	    "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
	    "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
	    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}",
	    "{\"keys\":[5,null,\"x\"]}", "{\"keys\":[",
	    "-----BEGIN PUBLIC KEY-----\nAAAA", "no keys at all"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct jwt_keys *keys = NULL;
		const char *error = NULL;
		if (jwt_keys_parse(slice_from_cstr(bad[i]), &keys, &error) !=
			STATUS_INVALID ||
		    !error)
			fail_msg("%s", bad[i]);
	}
	/* A key for encryption signs nothing. */
	struct buf text AUTO_BUF;
	struct jwt_keys *keys = NULL;
	const char *error = NULL;
	char *message = NULL;
	buf_init(&text, 8192);
	buf_append_cstr(&text, "{\"keys\":[");
	maker_jwk(pkeys[2], NULL, &text);
	buf_truncate(&text, text.len - 1);
	buf_append_cstr(&text, ",\"use\":\"enc\"}]}");
	assert_int_equal(jwt_keys_parse(buf_slice(&text), &keys, &error), STATUS_INVALID);
	assert_int_equal(
	    jwt_keys_load("/no/such/file", &keys, &message), STATUS_NOT_FOUND);
	assert_non_null(strstr(message, "/no/such/file"));
	free(message);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signatures),
	    cmocka_unit_test(headers),
	    cmocka_unit_test(claims),
	    cmocka_unit_test(introspection),
	    cmocka_unit_test(key_files),
	};
	return cmocka_run_group_tests(tests, make_keys_once, free_keys);
}
