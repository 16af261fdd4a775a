/*
 * SCRAM keys from a password, and a password against SCRAM keys (RFC 5802 section 3):
 *
 *	SaltedPassword = PBKDF2(password, salt, iterations)
 *	StoredKey      = H(HMAC(SaltedPassword, "Client Key"))
 *	ServerKey      = HMAC(SaltedPassword, "Server Key")
 *
 * The password goes through SASLprep first.  Neither password nor SaltedPassword is kept,
 * and both are wiped.  Checks that succeeded are remembered by credential_cache.c, so
 *that the same login soon after costs one hash.  Any thread.
 */
#include "auth/credential.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/credential_int.h"
#include "base/ensure.h"
#include "base/ids.h"
#include "text/encoding.h"

enum {
	SALT_BYTES = 16,     /* of new keys */
	SALT_BYTES_MAX = 64, /* that are read */
	KEY_BYTES_MAX = 32,
	FIELD_BYTES_MAX = 128, /* decoded base64 */
};

struct scheme {
	const char *name;
	size_t key_bytes;
	const EVP_MD *(*md)(void);
};

/* In order of preference: a check uses the first that the credential has. */
static const struct scheme schemes[] = {
    {"SCRAM-SHA-256", 32, EVP_sha256},
    {"SCRAM-SHA-1",   20, EVP_sha1  },
};

enum { SCHEME_COUNT = sizeof(schemes) / sizeof(schemes[0]) };

struct scram_keys {
	uint64_t iterations;
	unsigned char salt[SALT_BYTES_MAX];
	size_t salt_len;
	unsigned char stored_key[KEY_BYTES_MAX];
	unsigned char server_key[KEY_BYTES_MAX];
};

static void
hmac(const struct scheme *scheme, const void *key, size_t key_len, struct slice data,
    unsigned char *out)
{
	unsigned len = 0;

	ENSURE(HMAC(scheme->md(), key, (int)key_len, (const unsigned char *)data.ptr,
		   data.len, out, &len) != NULL);
	ENSURE(len == scheme->key_bytes);
}

/* Stored key and server key from a prepared password. */
static void
derive(const struct scheme *scheme, struct slice password, struct scram_keys *keys)
{
	unsigned char salted[KEY_BYTES_MAX];
	unsigned char client_key[KEY_BYTES_MAX];

	ENSURE(PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, keys->salt,
		   (int)keys->salt_len, (int)keys->iterations, scheme->md(),
		   (int)scheme->key_bytes, salted) == 1);
	hmac(scheme, salted, scheme->key_bytes, SLICE("Client Key"), client_key);
	hmac(scheme, salted, scheme->key_bytes, SLICE("Server Key"), keys->server_key);
	ENSURE(EVP_Digest(client_key, scheme->key_bytes, keys->stored_key, NULL,
		   scheme->md(), NULL) == 1);
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(client_key, sizeof(client_key));
}

static void
keys_write(const struct scheme *scheme, const struct scram_keys *keys, struct buf *out)
{
	buf_append_cstr(out, scheme->name);
	buf_append_byte(out, '$');
	buf_append_u64(out, keys->iterations);
	buf_append_byte(out, ':');
	base64_encode(slice_make((const char *)keys->salt, keys->salt_len), out);
	buf_append_byte(out, '$');
	base64_encode(slice_make((const char *)keys->stored_key, scheme->key_bytes), out);
	buf_append_byte(out, ':');
	base64_encode(slice_make((const char *)keys->server_key, scheme->key_bytes), out);
}

static bool
field_decode(
    struct slice text, unsigned char *out, size_t min, size_t max, size_t *out_len)
{
	struct buf decoded;
	bool ok;

	buf_init(&decoded, FIELD_BYTES_MAX);
	ok = text.len <= FIELD_BYTES_MAX && base64_decode_strict(text, &decoded) &&
	     decoded.len >= min && decoded.len <= max;
	if (ok) {
		memcpy(out, decoded.ptr, decoded.len);
		*out_len = decoded.len;
	}
	buf_fini(&decoded);
	return ok;
}

/* "iterations:salt$StoredKey:ServerKey" */
static bool
keys_parse(const struct scheme *scheme, struct slice text, struct scram_keys *out)
{
	size_t len;
	struct slice first = slice_split(&text, '$');
	struct slice iterations = slice_split(&first, ':');
	struct slice stored = slice_split(&text, ':');

	return slice_to_u64(iterations, CREDENTIAL_ITERATIONS_MAX, &out->iterations) &&
	       out->iterations > 0 &&
	       field_decode(first, out->salt, 1, SALT_BYTES_MAX, &out->salt_len) &&
	       field_decode(
		   stored, out->stored_key, scheme->key_bytes, scheme->key_bytes, &len) &&
	       field_decode(
		   text, out->server_key, scheme->key_bytes, scheme->key_bytes, &len);
}

bool
credential_find(struct slice credential, struct slice scheme, struct slice *out_value)
{
	while (credential.ptr) {
		struct slice value = slice_split(&credential, ' ');
		struct slice rest = value;
		if (slice_equal(slice_split(&rest, '$'), scheme)) {
			*out_value = value;
			return true;
		}
	}
	return false;
}

/* The first scheme that the credential has, with its keys. */
static const struct scheme *
credential_parse(struct slice credential, struct scram_keys *out)
{
	struct slice value;

	if (credential.len > CREDENTIAL_TEXT_MAX)
		return NULL;
	for (size_t i = 0; i < SCHEME_COUNT; i++) {
		const struct scheme *scheme = &schemes[i];
		if (!credential_find(credential, slice_from_cstr(scheme->name), &value))
			continue;
		(void)slice_split(&value, '$');
		return keys_parse(scheme, value, out) ? scheme : NULL;
	}
	return NULL;
}

bool
credential_is_valid(struct slice credential)
{
	struct scram_keys keys;

	return credential_parse(credential, &keys) != NULL;
}

static void
buf_wipe(struct buf *b)
{
	if (b->ptr)
		OPENSSL_cleanse(b->ptr, b->cap);
	buf_fini(b);
}

/* The password as it is hashed, into a buffer that the caller wipes.  It has its full
 * room from the start, so that growing leaves no copy behind. */
static bool
password_prepare(struct slice password, struct buf *out)
{
	/* NFKC can make text longer; what becomes too long is no password. */
	buf_init(out, CREDENTIAL_PASSWORD_MAX);
	return !slice_is_empty(password) && password.len <= CREDENTIAL_PASSWORD_MAX &&
	       buf_reserve(out, CREDENTIAL_PASSWORD_MAX) && saslprep(password, out) &&
	       out->len > 0;
}

enum status
credential_make_salted(
    struct slice password, struct slice salt, unsigned iterations, struct buf *out)
{
	struct buf prepared;
	bool ok = password_prepare(password, &prepared);

	ENSURE(salt.len <= SALT_BYTES_MAX);
	for (size_t i = 0; ok && i < SCHEME_COUNT; i++) {
		struct scram_keys keys = {
		    .iterations = iterations, .salt_len = SALT_BYTES};
		if (slice_is_empty(salt)) {
			random_bytes(keys.salt, keys.salt_len);
		} else {
			memcpy(keys.salt, salt.ptr, salt.len);
			keys.salt_len = salt.len;
		}
		derive(&schemes[i], buf_slice(&prepared), &keys);
		if (i > 0)
			buf_append_byte(out, ' ');
		keys_write(&schemes[i], &keys, out);
	}
	buf_wipe(&prepared);
	if (!ok)
		return STATUS_INVALID;
	return buf_ok(out) ? STATUS_OK : STATUS_LIMIT;
}

enum status
credential_make(struct slice password, unsigned iterations, struct buf *out)
{
	if (iterations < CREDENTIAL_ITERATIONS_MIN)
		iterations = CREDENTIAL_ITERATIONS_MIN;
	if (iterations > CREDENTIAL_ITERATIONS_MAX)
		iterations = CREDENTIAL_ITERATIONS_MAX;
	return credential_make_salted(password, SLICE_NULL, iterations, out);
}

enum status
credential_verify(struct slice credential, struct slice password)
{
	struct scram_keys keys, wanted;
	struct buf prepared;
	const struct scheme *scheme = credential_parse(credential, &wanted);

	if (!scheme)
		return STATUS_CORRUPT;
	if (password.len > CREDENTIAL_PASSWORD_MAX)
		return STATUS_DENIED;
	if (credential_cache_has(credential, password))
		return STATUS_OK;
	if (!password_prepare(password, &prepared)) {
		/* As long as a wrong one takes. */
		buf_reset(&prepared);
		buf_append_cstr(&prepared, "x");
		password = SLICE_NULL;
	}
	keys = wanted;
	derive(scheme, buf_slice(&prepared), &keys);
	buf_wipe(&prepared);
	bool same =
	    CRYPTO_memcmp(keys.stored_key, wanted.stored_key, scheme->key_bytes) == 0;
	OPENSSL_cleanse(&keys, sizeof(keys));
	if (!same || !password.ptr)
		return STATUS_DENIED;
	credential_cache_add(credential, password);
	return STATUS_OK;
}

void
credential_fake(
    struct slice login, struct slice secret, unsigned iterations, struct buf *out)
{
	for (size_t i = 0; i < SCHEME_COUNT; i++) {
		const struct scheme *scheme = &schemes[i];
		struct scram_keys keys = {
		    .iterations = iterations, .salt_len = SALT_BYTES};
		unsigned char stream[3][EVP_MAX_MD_SIZE];
		struct buf label;

		/* A salt that stays the same for a login, and keys that nobody has. */
		buf_init(&label, login.len + 64);
		for (size_t part = 0; part < 3; part++) {
			buf_reset(&label);
			buf_append_format(&label, "%s %zu ", scheme->name, part);
			buf_append(&label, login);
			unsigned len;
			ENSURE(HMAC(EVP_sha256(), secret.len ? secret.ptr : "",
				   (int)secret.len, (const unsigned char *)label.ptr,
				   label.len, stream[part], &len) != NULL);
		}
		buf_fini(&label);
		memcpy(keys.salt, stream[0], SALT_BYTES);
		memcpy(keys.stored_key, stream[1], KEY_BYTES_MAX);
		memcpy(keys.server_key, stream[2], KEY_BYTES_MAX);
		if (i > 0)
			buf_append_byte(out, ' ');
		keys_write(scheme, &keys, out);
	}
}
