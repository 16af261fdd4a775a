/*
 * The messages of OAUTHBEARER and XOAUTH2; see bearer.h.
 */
#include "auth/bearer.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/ensure.h"

/* kvsep of RFC 7628 section 3.1 */
#define SEPARATOR '\x01'

static bool
is_token_char(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) ||
	       (c != '\0' && strchr("-._~+/", c) != NULL);
}

/* b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=" */
static bool
is_token(struct slice s)
{
	size_t i = 0;

	while (i < s.len && is_token_char(s.ptr[i]))
		i++;
	size_t body = i;
	while (i < s.len && s.ptr[i] == '=')
		i++;
	return body > 0 && i == s.len;
}

static bool
is_value(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		if ((c < ' ' || c > '~') && c != '\t' && c != '\r' && c != '\n')
			return false;
	}
	return true;
}

/* "Bearer TOKEN"; the scheme's case does not matter (RFC 7235 section 2.1). */
static bool
take_auth(struct slice value, struct bearer_message *out)
{
	static const struct slice scheme = {"bearer ", 7};

	if (value.len < scheme.len ||
	    !slice_equal_nocase(slice_sub(value, 0, scheme.len), scheme))
		return false;
	value = slice_from(value, scheme.len);
	while (slice_has_prefix(value, SLICE(" ")))
		value = slice_from(value, 1);
	out->token = value;
	return is_token(value);
}

/* Behind the header: pairs, each with its separator, and one more at the end. */
static bool
take_pairs(struct slice in, struct bearer_message *out)
{
	while (in.len > 1) {
		size_t end = slice_index(in, SEPARATOR);
		if (end == SIZE_MAX)
			return false;
		struct slice value = slice_sub(in, 0, end);
		in = slice_from(in, end + 1);
		struct slice key = slice_split(&value, '=');
		if (!value.ptr || key.len == 0 || !is_value(value))
			return false;
		for (size_t i = 0; i < key.len; i++)
			if (!ascii_is_alpha(key.ptr[i]))
				return false;
		if (slice_equal_nocase(key, SLICE("auth"))) {
			if (out->token.ptr || !take_auth(value, out))
				return false;
		}
		/* host, port and what is to come are not needed. */
	}
	return in.len == 1 && in.ptr[0] == SEPARATOR && out->token.ptr;
}

/* saslname of RFC 5801 section 4: "=2C" and "=3D" stand for "," and "=". */
static bool
take_saslname(struct slice in, char out[BEARER_USER_MAX + 1])
{
	size_t len = 0;

	while (in.len > 0) {
		char c = in.ptr[0];
		size_t step = 1;
		if (c == '=') {
			if (slice_has_prefix(in, SLICE("=2C")))
				c = ',';
			else if (!slice_has_prefix(in, SLICE("=3D")))
				return false;
			step = 3;
		}
		if (c == '\0' || len == BEARER_USER_MAX)
			return false;
		out[len++] = c;
		in = slice_from(in, step);
	}
	out[len] = '\0';
	return len > 0;
}

bool
bearer_parse_oauthbearer(struct slice in, struct bearer_message *out)
{
	*out = (struct bearer_message){0};
	size_t end = slice_index(in, SEPARATOR);
	if (end == SIZE_MAX)
		return false;
	struct slice header = slice_sub(in, 0, end);
	in = slice_from(in, end + 1);
	struct slice flag = slice_split(&header, ',');
	if (!header.ptr ||
	    (!slice_equal(flag, SLICE("n")) && !slice_equal(flag, SLICE("y"))))
		return false;
	struct slice authzid = slice_split(&header, ',');
	if (!header.ptr || header.len > 0)
		return false;
	if (authzid.len > 0 && (!slice_has_prefix(authzid, SLICE("a=")) ||
				   !take_saslname(slice_from(authzid, 2), out->user)))
		return false;
	return take_pairs(in, out);
}

bool
bearer_parse_xoauth2(struct slice in, struct bearer_message *out)
{
	*out = (struct bearer_message){0};
	size_t end = slice_index(in, SEPARATOR);
	if (end == SIZE_MAX || !slice_has_prefix(in, SLICE("user=")))
		return false;
	struct slice user = slice_from(slice_sub(in, 0, end), 5);
	if (user.len == 0 || slice_index(user, '\0') != SIZE_MAX ||
	    !slice_copy_cstr(user, out->user, sizeof(out->user)))
		return false;
	return take_pairs(slice_from(in, end + 1), out);
}

void
bearer_write_failure(
    bool xoauth2, const char *scope, const char *configuration, struct buf *out)
{
	json_t *json = json_object();

	json_object_set_new(
	    json, "status", json_string(xoauth2 ? "401" : "invalid_token"));
	if (xoauth2)
		json_object_set_new(json, "schemes", json_string("bearer"));
	if (scope && *scope)
		json_object_set_new(json, "scope", json_string(scope));
	if (!xoauth2 && configuration && *configuration)
		json_object_set_new(
		    json, "openid-configuration", json_string(configuration));
	char *text = json_dumps(json, JSON_COMPACT);
	ENSURE(text);
	buf_append_cstr(out, text);
	free(text);
	json_decref(json);
}
