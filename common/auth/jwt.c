/*
 * Tokens: three base64url parts, JSON by jansson, signatures by OpenSSL.  The keys' file
 * is read in jwt_keys.c.  RFC 7515 (JWS), RFC 7519 (JWT), RFC 7518 section 3 (RS256,
 * ES256), RFC 8037 (EdDSA), RFC 8725 (what goes wrong), RFC 9068 (access tokens), RFC
 * 7662 (introspection).
 *
 * The order is: shape, header, signature, claims; nothing of the claims is looked at
 * before the signature holds.
 */
#include "auth/jwt_int.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>

#include "base/ensure.h"

enum {
	ES256_HALF_BYTES = 32, /* of r and of s */
	SIGNATURE_BYTES_MAX = 1024,
	DER_BYTES_MAX = 80,
};

/* ---- shape ---- */

bool
jwt_is_shaped(struct slice token)
{
	size_t dots = 0;

	for (size_t i = 0; i < token.len; i++)
		dots += token.ptr[i] == '.';
	return dots == 2;
}

static json_t *
decode_object(struct slice part, struct buf *scratch)
{
	buf_reset(scratch);
	if (!jwt_base64url(part, scratch) || scratch->len == 0)
		return NULL;
	json_t *json =
	    json_loadb(scratch->ptr, scratch->len, JSON_REJECT_DUPLICATES, NULL);
	if (json && !json_is_object(json)) {
		json_decref(json);
		json = NULL;
	}
	return json;
}

static struct slice
text_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_string(value)
	           ? slice_make(json_string_value(value), json_string_length(value))
	           : SLICE_NULL;
}

/* ---- header and signature ---- */

static enum jwt_algorithm
algorithm_of(const json_t *header)
{
	static const struct {
		struct slice name;
		enum jwt_algorithm algorithm;
	} names[] = {
	    {{"RS256", 5},   JWT_RS256},
            {{"ES256", 5},   JWT_ES256},
	    {{"EdDSA", 5},   JWT_EDDSA},
            {{"Ed25519", 7}, JWT_EDDSA}, /* RFC 9864 */
	};
	struct slice name = text_of(header, "alg");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_equal(name, names[i].name))
			return names[i].algorithm;
	return JWT_NO_ALGORITHM;
}

/* Absent, "JWT", or RFC 9068's "at+jwt": no other kind of token passes for one (RFC 8725
 * section 3.11). */
static bool
type_is_ours(const json_t *header)
{
	struct slice type = text_of(header, "typ");

	if (!json_object_get(header, "typ"))
		return true;
	if (type.len > 12 &&
	    slice_equal_nocase(slice_sub(type, 0, 12), SLICE("application/")))
		type = slice_from(type, 12);
	return slice_equal_nocase(type, SLICE("JWT")) ||
	       slice_equal_nocase(type, SLICE("at+jwt"));
}

/* JOSE writes r and s side by side, OpenSSL wants them as ASN.1. */
static size_t
es256_to_der(struct slice raw, unsigned char der[DER_BYTES_MAX])
{
	if (raw.len != 2 * (size_t)ES256_HALF_BYTES)
		return 0;
	const unsigned char *bytes = (const unsigned char *)raw.ptr;
	ECDSA_SIG *signature = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(bytes, ES256_HALF_BYTES, NULL);
	BIGNUM *s = BN_bin2bn(bytes + ES256_HALF_BYTES, ES256_HALF_BYTES, NULL);
	ENSURE(signature && r && s && ECDSA_SIG_set0(signature, r, s) == 1);
	int len = i2d_ECDSA_SIG(signature, NULL);
	if (len > 0 && len <= DER_BYTES_MAX)
		len = i2d_ECDSA_SIG(signature, &der);
	else
		len = 0;
	ECDSA_SIG_free(signature);
	return (size_t)len;
}

static bool
key_verifies(const struct jwt_key *key, struct slice signed_text, struct slice signature)
{
	unsigned char der[DER_BYTES_MAX];

	if (key->algorithm == JWT_ES256) {
		size_t len = es256_to_der(signature, der);
		if (len == 0)
			return false;
		signature = slice_make((const char *)der, len);
	}
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	ENSURE(context);
	bool good =
	    EVP_DigestVerifyInit(context, NULL,
		key->algorithm == JWT_EDDSA ? NULL : EVP_sha256(), NULL,
		key->pkey) == 1 &&
	    EVP_DigestVerify(context, (const unsigned char *)signature.ptr, signature.len,
		(const unsigned char *)signed_text.ptr, signed_text.len) == 1;
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return good;
}

/* A token that names its key is checked with no other. */
static bool
any_key_verifies(const struct jwt_keys *keys, enum jwt_algorithm algorithm,
    struct slice kid, struct slice signed_text, struct slice signature)
{
	for (size_t i = 0; i < keys->count; i++) {
		const struct jwt_key *key = &keys->items[i];
		if (key->algorithm != algorithm ||
		    (kid.ptr && key->kid && !slice_equal(kid, slice_from_cstr(key->kid))))
			continue;
		if (key_verifies(key, signed_text, signature))
			return true;
	}
	return false;
}

static const char *
check_signature(struct slice token, const struct jwt_keys *keys, const json_t *header,
    struct buf *scratch)
{
	enum jwt_algorithm algorithm = algorithm_of(header);
	size_t cut = slice_rindex(token, '.');

	if (algorithm == JWT_NO_ALGORITHM)
		return "an algorithm that is not taken";
	if (json_object_get(header, "crit"))
		return "a critical extension";
	if (!type_is_ours(header))
		return "no access token by its type";
	buf_reset(scratch);
	if (!jwt_base64url(slice_from(token, cut + 1), scratch) ||
	    scratch->len > SIGNATURE_BYTES_MAX)
		return "a malformed signature";
	if (!any_key_verifies(keys, algorithm, text_of(header, "kid"),
		slice_sub(token, 0, cut), buf_slice(scratch)))
		return "a signature by none of the keys";
	return NULL;
}

/* ---- claims ---- */

static bool
is_in_list(const struct jwt_rules *rules, struct slice audience)
{
	struct slice rest = slice_from_cstr(rules->audience);

	while (audience.len > 0 && rest.ptr)
		if (slice_equal(slice_split(&rest, ' '), audience))
			return true;
	return false;
}

static bool
audience_is_ours(const json_t *claims, const struct jwt_rules *rules)
{
	const json_t *aud = json_object_get(claims, "aud");

	if (json_is_string(aud))
		return is_in_list(rules, text_of(claims, "aud"));
	for (size_t i = 0; i < json_array_size(aud); i++) {
		const json_t *one = json_array_get(aud, i);
		if (json_is_string(one) &&
		    is_in_list(rules,
			slice_make(json_string_value(one), json_string_length(one))))
			return true;
	}
	return false;
}

/* "scope" is words with blanks between (RFC 9068 section 2.2.3), with some "scp". */
static bool
scope_is_there(const json_t *claims, const char *scope)
{
	static const char *const names[] = {"scope", "scp"};
	struct slice wanted = slice_from_cstr(scope);

	for (size_t n = 0; n < 2; n++) {
		struct slice rest = text_of(claims, names[n]);
		while (rest.ptr)
			if (slice_equal(slice_split(&rest, ' '), wanted))
				return true;
		const json_t *list = json_object_get(claims, names[n]);
		for (size_t i = 0; i < json_array_size(list); i++) {
			const json_t *one = json_array_get(list, i);
			if (json_is_string(one) &&
			    slice_equal(slice_make(json_string_value(one),
					    json_string_length(one)),
				wanted))
				return true;
		}
	}
	return false;
}

/* NumericDate: whole or fractional seconds (RFC 7519 section 2).  False: not a number
 * that a date could be. */
static bool
date_of(const json_t *claims, const char *name, bool *out_there, int64_t *out)
{
	const json_t *value = json_object_get(claims, name);
	const double max = 1e15;

	*out_there = value != NULL;
	if (!value)
		return true;
	if (!json_is_number(value))
		return false;
	double seconds = json_number_value(value);
	if (!(seconds >= 0 && seconds < max))
		return false;
	*out = (int64_t)seconds;
	return true;
}

static const char *
check_dates(const json_t *claims, const struct jwt_rules *rules, bool must_expire,
    int64_t *out_expires_s)
{
	bool has_exp, has_nbf, has_iat;
	int64_t exp = INT64_MAX, nbf = 0, iat = 0, skew = (int64_t)rules->skew_s;

	if (!date_of(claims, "exp", &has_exp, &exp) ||
	    !date_of(claims, "nbf", &has_nbf, &nbf) ||
	    !date_of(claims, "iat", &has_iat, &iat))
		return "a date that is none";
	if (must_expire && !has_exp)
		return "no expiry";
	/* RFC 7519 section 4.1.4: on or after "exp" it is not taken any more. */
	if (has_exp && rules->now_s >= exp + skew)
		return "it has expired";
	if (has_nbf && rules->now_s < nbf - skew)
		return "it is not valid yet";
	if (has_iat && rules->now_s < iat - skew)
		return "it was issued in the future";
	*out_expires_s = exp;
	return NULL;
}

static const char *
take_name(const json_t *claims, const char *claim, struct buf *out_name)
{
	struct slice name = text_of(claims, claim);

	if (name.len == 0 || name.len > JWT_NAME_MAX)
		return "no name in the claim";
	if (strcmp(claim, "email") == 0 &&
	    json_is_false(json_object_get(claims, "email_verified")))
		return "an address that its issuer has not verified";
	buf_append(out_name, name);
	return buf_ok(out_name) ? NULL : "no name in the claim";
}

static const char *
check_claims(const json_t *claims, const struct jwt_rules *rules, struct buf *out_name,
    int64_t *out_expires_s)
{
	if (rules->issuer && *rules->issuer &&
	    !slice_equal(text_of(claims, "iss"), slice_from_cstr(rules->issuer)))
		return "another issuer";
	if (rules->audience && *rules->audience && !audience_is_ours(claims, rules))
		return "another audience";
	const char *why = check_dates(claims, rules, true, out_expires_s);
	if (why)
		return why;
	if (rules->scope && *rules->scope && !scope_is_there(claims, rules->scope))
		return "the scope is missing";
	return take_name(claims, rules->claim, out_name);
}

enum status
jwt_check(struct slice token, const struct jwt_keys *keys, const struct jwt_rules *rules,
    struct buf *out_name, int64_t *out_expires_s, const char **out_why)
{
	struct buf scratch AUTO_BUF;
	const char *why = "no token by its shape";

	buf_init(&scratch, JWT_TOKEN_MAX);
	*out_why = why;
	if (token.len > JWT_TOKEN_MAX || !jwt_is_shaped(token))
		return STATUS_DENIED;
	struct slice rest = token;
	json_t *header = decode_object(slice_split(&rest, '.'), &scratch);
	json_t *claims = NULL;
	if (header)
		why = check_signature(token, keys, header, &scratch);
	if (header && !why) {
		claims = decode_object(slice_split(&rest, '.'), &scratch);
		why = claims ? check_claims(claims, rules, out_name, out_expires_s)
		             : "claims that are no JSON object";
	}
	json_decref(claims);
	json_decref(header);
	*out_why = why;
	return why ? STATUS_DENIED : STATUS_OK;
}

/* The server that issued the token has judged it: what it tells has to agree, what it
 * leaves out is its business, but for the name. */
static const char *
check_answer(const json_t *answer, const struct jwt_rules *rules, struct buf *out_name,
    int64_t *out_expires_s)
{
	if (!json_is_true(json_object_get(answer, "active")))
		return "not active";
	if (rules->issuer && *rules->issuer && json_object_get(answer, "iss") &&
	    !slice_equal(text_of(answer, "iss"), slice_from_cstr(rules->issuer)))
		return "another issuer";
	if (rules->audience && *rules->audience && json_object_get(answer, "aud") &&
	    !audience_is_ours(answer, rules))
		return "another audience";
	const char *why = check_dates(answer, rules, false, out_expires_s);
	if (why)
		return why;
	if (rules->scope && *rules->scope && !scope_is_there(answer, rules->scope))
		return "the scope is missing";
	if (!json_object_get(answer, rules->claim))
		return take_name(answer, "username", out_name);
	return take_name(answer, rules->claim, out_name);
}

enum status
jwt_check_introspection(struct slice answer, const struct jwt_rules *rules,
    struct buf *out_name, int64_t *out_expires_s, const char **out_why)
{
	json_t *json = json_loadb(
	    answer.ptr ? answer.ptr : "", answer.len, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(json))
		*out_why = "an answer that is no JSON object";
	else
		*out_why = check_answer(json, rules, out_name, out_expires_s);
	json_decref(json);
	return *out_why ? STATUS_DENIED : STATUS_OK;
}
