/*
 * For the tests of tokens: key pairs, their public halves as JWK or PEM, and tokens
 * signed with them, written from RFC 7515 to RFC 7518 alone.
 */
#ifndef UNIT_AUTH_TOKEN_MAKER_H
#define UNIT_AUTH_TOKEN_MAKER_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "text/encoding.h"

__attribute__((unused)) static void
maker_base64url(struct slice in, struct buf *out)
{
	struct buf plain;

	buf_init(&plain, 2 * in.len + 8);
	base64_encode(in, &plain);
	for (size_t i = 0; i < plain.len && plain.ptr[i] != '='; i++)
		buf_append_byte(out, plain.ptr[i] == '+'   ? '-'
				     : plain.ptr[i] == '/' ? '_'
							   : plain.ptr[i]);
	buf_fini(&plain);
}

__attribute__((unused)) static EVP_PKEY *
maker_key(const char *alg)
{
	if (strcmp(alg, "RS256") == 0)
		return EVP_RSA_gen(2048);
	if (strcmp(alg, "ES256") == 0)
		return EVP_EC_gen("prime256v1");
	return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

__attribute__((unused)) static void
maker_bn(EVP_PKEY *pkey, const char *name, size_t size, struct buf *out)
{
	BIGNUM *bn = NULL;
	unsigned char bytes[512];

	ENSURE(EVP_PKEY_get_bn_param(pkey, name, &bn) == 1);
	if (size == 0)
		size = (size_t)BN_num_bytes(bn);
	ENSURE(BN_bn2binpad(bn, bytes, (int)size) == (int)size);
	maker_base64url(slice_make((char *)bytes, size), out);
	BN_free(bn);
}

__attribute__((unused)) static void
maker_jwk(EVP_PKEY *pkey, const char *kid, struct buf *out)
{
	unsigned char raw[32];
	size_t len = sizeof(raw);

	buf_append_byte(out, '{');
	if (kid)
		buf_append_format(out, "\"kid\":\"%s\",", kid);
	if (EVP_PKEY_is_a(pkey, "RSA")) {
		buf_append_cstr(out, "\"kty\":\"RSA\",\"use\":\"sig\",\"n\":\"");
		maker_bn(pkey, OSSL_PKEY_PARAM_RSA_N, 0, out);
		buf_append_cstr(out, "\",\"e\":\"");
		maker_bn(pkey, OSSL_PKEY_PARAM_RSA_E, 0, out);
	} else if (EVP_PKEY_is_a(pkey, "EC")) {
		buf_append_cstr(out, "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
		maker_bn(pkey, OSSL_PKEY_PARAM_EC_PUB_X, 32, out);
		buf_append_cstr(out, "\",\"y\":\"");
		maker_bn(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, 32, out);
	} else {
		ENSURE(EVP_PKEY_get_raw_public_key(pkey, raw, &len) == 1);
		buf_append_cstr(out, "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
		maker_base64url(slice_make((char *)raw, len), out);
	}
	buf_append_cstr(out, "\"}");
}

__attribute__((unused)) static void
maker_pem(EVP_PKEY *pkey, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;

	ENSURE(PEM_write_bio_PUBKEY(bio, pkey) == 1);
	long len = BIO_get_mem_data(bio, &text);
	buf_append(out, slice_make(text, (size_t)len));
	BIO_free(bio);
}

/* "header.claims.signature" of texts in JSON. */
__attribute__((unused)) static void
maker_token(EVP_PKEY *pkey, const char *header, const char *claims, struct buf *out)
{
	unsigned char signature[1024];
	size_t len = sizeof(signature);
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	maker_base64url(slice_from_cstr(header), out);
	buf_append_byte(out, '.');
	maker_base64url(slice_from_cstr(claims), out);
	ENSURE(
	    EVP_DigestSignInit(context, NULL,
		EVP_PKEY_is_a(pkey, "ED25519") ? NULL : EVP_sha256(), NULL, pkey) == 1);
	ENSURE(EVP_DigestSign(
		   context, signature, &len, (unsigned char *)out->ptr, out->len) == 1);
	EVP_MD_CTX_free(context);
	if (EVP_PKEY_is_a(pkey, "EC")) {
		const unsigned char *at = signature;
		unsigned char raw[64];
		ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)len);
		ENSURE(parts);
		ENSURE(BN_bn2binpad(ECDSA_SIG_get0_r(parts), raw, 32) == 32);
		ENSURE(BN_bn2binpad(ECDSA_SIG_get0_s(parts), raw + 32, 32) == 32);
		ECDSA_SIG_free(parts);
		memcpy(signature, raw, sizeof(raw));
		len = sizeof(raw);
	}
	buf_append_byte(out, '.');
	maker_base64url(slice_make((char *)signature, len), out);
}

#endif
