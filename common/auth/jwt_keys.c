/*
 * The file of public keys that tokens are checked with: a JWK set (RFC 7517; RSA of at
 * least JWT_RSA_BITS_MIN, P-256, Ed25519 of RFC 8037), or PEM.
 */
#include "auth/jwt_int.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "text/encoding.h"

enum { P256_POINT_BYTES = 65, P256_HALF_BYTES = 32, ED25519_BYTES = 32 };

bool
jwt_base64url(struct slice in, struct buf *out)
{
	struct buf plain AUTO_BUF;

	buf_init(&plain, in.len + 4);
	if (in.len % 4 == 1)
		return false;
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		if (c == '+' || c == '/' || c == '=')
			return false;
		buf_append_byte(&plain, c == '-' ? '+' : c == '_' ? '/' : c);
	}
	while (plain.len % 4 != 0)
		buf_append_byte(&plain, '=');
	return base64_decode_strict(buf_slice(&plain), out) && buf_ok(out);
}

/* ---- one key ---- */

static enum jwt_algorithm
algorithm_of(EVP_PKEY *pkey)
{
	char group[32] = "";

	if (EVP_PKEY_is_a(pkey, "RSA"))
		return EVP_PKEY_get_bits(pkey) >= JWT_RSA_BITS_MIN ? JWT_RS256
		                                                   : JWT_NO_ALGORITHM;
	if (EVP_PKEY_is_a(pkey, "ED25519"))
		return JWT_EDDSA;
	if (EVP_PKEY_is_a(pkey, "EC") &&
	    EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) == 1 &&
	    strcmp(group, "prime256v1") == 0)
		return JWT_ES256;
	return JWT_NO_ALGORITHM;
}

/* Takes the key over; one of another kind is passed over. */
static void
key_add(struct jwt_keys *keys, EVP_PKEY *pkey, const char *kid)
{
	enum jwt_algorithm algorithm = pkey ? algorithm_of(pkey) : JWT_NO_ALGORITHM;

	if (algorithm == JWT_NO_ALGORITHM || keys->count == JWT_KEYS_MAX) {
		EVP_PKEY_free(pkey);
		return;
	}
	keys->items[keys->count++] =
	    (struct jwt_key){algorithm, pkey, kid ? xstrdup(kid) : NULL};
}

static EVP_PKEY *
key_from_params(const char *type, OSSL_PARAM_BLD *builder)
{
	EVP_PKEY *pkey = NULL;
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

	ENSURE(params && context);
	if (EVP_PKEY_fromdata_init(context) != 1 ||
	    EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(params);
	return pkey;
}

/* ---- a JWK set ---- */

static bool
jwk_bytes(const json_t *jwk, const char *name, struct buf *out)
{
	const json_t *value = json_object_get(jwk, name);

	buf_reset(out);
	return json_is_string(value) &&
	       jwt_base64url(
		   slice_make(json_string_value(value), json_string_length(value)),
		   out) &&
	       out->len > 0;
}

static EVP_PKEY *
jwk_rsa(const json_t *jwk, struct buf *n, struct buf *e)
{
	if (!jwk_bytes(jwk, "n", n) || !jwk_bytes(jwk, "e", e))
		return NULL;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	BIGNUM *modulus = BN_bin2bn((unsigned char *)n->ptr, (int)n->len, NULL);
	BIGNUM *exponent = BN_bin2bn((unsigned char *)e->ptr, (int)e->len, NULL);
	ENSURE(builder && modulus && exponent);
	ENSURE(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1);
	ENSURE(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1);
	EVP_PKEY *pkey = key_from_params("RSA", builder);
	OSSL_PARAM_BLD_free(builder);
	BN_free(modulus);
	BN_free(exponent);
	return pkey;
}

static EVP_PKEY *
jwk_p256(const json_t *jwk, struct buf *x, struct buf *y)
{
	unsigned char point[P256_POINT_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};

	if (!jwk_bytes(jwk, "x", x) || !jwk_bytes(jwk, "y", y) ||
	    x->len != P256_HALF_BYTES || y->len != P256_HALF_BYTES)
		return NULL;
	memcpy(point + 1, x->ptr, P256_HALF_BYTES);
	memcpy(point + 1 + P256_HALF_BYTES, y->ptr, P256_HALF_BYTES);
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	ENSURE(builder);
	ENSURE(OSSL_PARAM_BLD_push_utf8_string(
		   builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1);
	ENSURE(OSSL_PARAM_BLD_push_octet_string(
		   builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1);
	EVP_PKEY *pkey = key_from_params("EC", builder);
	OSSL_PARAM_BLD_free(builder);
	return pkey;
}

static bool
text_is(const json_t *jwk, const char *name, const char *wanted)
{
	const char *value = json_string_value(json_object_get(jwk, name));

	return value && strcmp(value, wanted) == 0;
}

static void
jwk_add(struct jwt_keys *keys, const json_t *jwk)
{
	struct buf a AUTO_BUF, b AUTO_BUF;
	EVP_PKEY *pkey = NULL;

	buf_init(&a, JWT_KEYS_BYTES_MAX);
	buf_init(&b, JWT_KEYS_BYTES_MAX);
	/* A key for encryption signs nothing (RFC 7517 section 4.2). */
	if (json_object_get(jwk, "use") && !text_is(jwk, "use", "sig"))
		return;
	if (text_is(jwk, "kty", "RSA"))
		pkey = jwk_rsa(jwk, &a, &b);
	else if (text_is(jwk, "kty", "EC") && text_is(jwk, "crv", "P-256"))
		pkey = jwk_p256(jwk, &a, &b);
	else if (text_is(jwk, "kty", "OKP") && text_is(jwk, "crv", "Ed25519") &&
		 jwk_bytes(jwk, "x", &a) && a.len == ED25519_BYTES)
		pkey = EVP_PKEY_new_raw_public_key(
		    EVP_PKEY_ED25519, NULL, (unsigned char *)a.ptr, a.len);
	key_add(keys, pkey, json_string_value(json_object_get(jwk, "kid")));
}

static const char *
jwks_read(struct jwt_keys *keys, struct slice text)
{
	json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(json, "keys");

	for (size_t i = 0; i < json_array_size(list); i++)
		jwk_add(keys, json_array_get(list, i));
	bool is_set = json_is_array(list);
	json_decref(json);
	return is_set ? NULL : "it is no JWK set: {\"keys\": [...]}";
}

/* ---- PEM ---- */

static void
pem_read(struct jwt_keys *keys, struct slice text)
{
	BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);

	ENSURE(bio);
	for (size_t i = 0; i < JWT_KEYS_MAX; i++) {
		EVP_PKEY *pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
		if (!pkey)
			break;
		key_add(keys, pkey, NULL);
	}
	BIO_free(bio);
}

/* ---- the file ---- */

enum status
jwt_keys_parse(struct slice text, struct jwt_keys **out, const char **error)
{
	struct jwt_keys *keys = xcalloc(1, sizeof(*keys));
	struct slice rest = text;

	atomic_init(&keys->refs, 1);
	*error = NULL;
	while (rest.len > 0 && strchr(" \t\r\n", rest.ptr[0]) && rest.ptr[0])
		rest = slice_from(rest, 1);
	if (text.len > JWT_KEYS_BYTES_MAX)
		*error = "it is too large for a file of keys";
	else if (slice_has_prefix(rest, SLICE("{")))
		*error = jwks_read(keys, rest);
	else if (rest.len > 0)
		pem_read(keys, rest);
	ERR_clear_error();
	if (!*error && keys->count == 0)
		*error = "there is no RSA (2048 bits or more), P-256 or Ed25519 public "
			 "key in it";
	if (*error) {
		jwt_keys_unref(&keys);
		return STATUS_INVALID;
	}
	*out = keys;
	return STATUS_OK;
}

enum status
jwt_keys_load(const char *path, struct jwt_keys **out, char **error)
{
	const char *why = NULL;
	enum status status = STATUS_OK;
	char *text = xmalloc(JWT_KEYS_BYTES_MAX + 1);
	FILE *file = fopen(path, "re");
	size_t len = 0;

	if (!file) {
		status = status_from_errno(errno);
		why = strerror(errno);
	} else {
		len = fread(text, 1, JWT_KEYS_BYTES_MAX + 1, file);
		fclose(file);
		status = jwt_keys_parse(slice_make(text, len), out, &why);
	}
	free(text);
	if (status != STATUS_OK &&
	    asprintf(error, "keys of tokens %s: %s", path, why) < 0)
		abort();
	return status;
}

struct jwt_keys *
jwt_keys_ref(struct jwt_keys *keys)
{
	atomic_fetch_add(&keys->refs, 1);
	return keys;
}

void
jwt_keys_unref(struct jwt_keys **keys_ptr)
{
	struct jwt_keys *keys = *keys_ptr;

	*keys_ptr = NULL;
	if (!keys || atomic_fetch_sub(&keys->refs, 1) != 1)
		return;
	for (size_t i = 0; i < keys->count; i++) {
		EVP_PKEY_free(keys->items[i].pkey);
		free(keys->items[i].kid);
	}
	free(keys);
}
