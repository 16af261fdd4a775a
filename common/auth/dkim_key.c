/*
 * DKIM keys and their records; see dkim_key.h.
 *
 * A secret Ed25519 key is any 32 octets: that one is damaged is seen only because the
 * public one is kept beside it and compared.
 */
#include "auth/dkim_key.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "text/encoding.h"

enum { DIGEST_BYTES = 32, ED25519_BYTES = 32, RSA_BITS_MIN = 1024 };

struct dkim_key {
	enum dkim_algorithm algorithm;
	EVP_PKEY *pkey;
};

static const char *const algorithm_texts[DKIM_ALGORITHMS] = {"rsa", "ed25519"};

const char *
dkim_algorithm_text(enum dkim_algorithm algorithm)
{
	return algorithm_texts[algorithm];
}

bool
dkim_algorithm_parse(struct slice text, enum dkim_algorithm *out)
{
	for (int i = 0; i < DKIM_ALGORITHMS; i++) {
		if (slice_equal_nocase(text, slice_from_cstr(algorithm_texts[i]))) {
			*out = (enum dkim_algorithm)i;
			return true;
		}
	}
	return false;
}

bool
dkim_selector_is_valid(struct slice selector)
{
	char before = '.';
	if (selector.len == 0 || selector.len > DKIM_SELECTOR_MAX)
		return false;
	for (size_t i = 0; i < selector.len; i++) {
		char c = selector.ptr[i];
		bool word = (c >= 'a' && c <= 'z') || ascii_is_digit(c);
		if (!word && c != '-' && c != '.')
			return false;
		if ((c == '-' && before == '.') ||
		    (c == '.' && (before == '.' || before == '-')))
			return false;
		before = c;
	}
	return before != '.' && before != '-';
}

/* ---- keys ---- */

static bool
secret_write(EVP_PKEY *pkey, struct buf *out)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
	unsigned char *der = NULL;
	int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
	if (len > 0)
		buf_append(out, slice_make((const char *)der, (size_t)len));
	if (der)
		OPENSSL_clear_free(der, (size_t)len);
	PKCS8_PRIV_KEY_INFO_free(info);
	return len > 0;
}

/* The record's p=: SubjectPublicKeyInfo (RFC 6376 section 3.6.1), or the 32 octets
 * (RFC 8463 section 4.2). */
static bool
public_write(enum dkim_algorithm algorithm, EVP_PKEY *pkey, struct buf *out)
{
	unsigned char raw[ED25519_BYTES];
	if (algorithm == DKIM_ED25519) {
		size_t len = sizeof(raw);
		if (EVP_PKEY_get_raw_public_key(pkey, raw, &len) != 1)
			return false;
		base64_encode(slice_make((const char *)raw, len), out);
		return true;
	}
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(pkey, &der);
	if (len > 0)
		base64_encode(slice_make((const char *)der, (size_t)len), out);
	OPENSSL_free(der);
	return len > 0;
}

bool
dkim_key_make(
    enum dkim_algorithm algorithm, struct buf *out_secret, struct buf *out_public)
{
	EVP_PKEY *pkey = algorithm == DKIM_RSA
	                     ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)DKIM_RSA_BITS)
	                     : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	bool made = pkey && secret_write(pkey, out_secret) &&
	            public_write(algorithm, pkey, out_public);
	EVP_PKEY_free(pkey);
	return made && buf_ok(out_secret) && buf_ok(out_public);
}

static bool
is_of_kind(enum dkim_algorithm algorithm, const EVP_PKEY *pkey)
{
	int id = EVP_PKEY_get_base_id(pkey), bits = EVP_PKEY_get_bits(pkey);
	return algorithm == DKIM_ED25519 ? id == EVP_PKEY_ED25519
	                                 : id == EVP_PKEY_RSA && bits >= RSA_BITS_MIN &&
	                                       bits <= DKIM_RSA_BITS_LIMIT;
}

static void
digest_make(struct slice data, unsigned char out[DIGEST_BYTES])
{
	ENSURE(EVP_Digest(data.ptr, data.len, out, NULL, EVP_sha256(), NULL) == 1);
}

static bool
verify(const struct dkim_key *key, struct slice data, struct slice signature)
{
	unsigned char digest[DIGEST_BYTES];
	const unsigned char *bytes = (const unsigned char *)data.ptr;
	size_t len = data.len;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	ENSURE(context);
	if (key->algorithm == DKIM_ED25519) {
		digest_make(data, digest);
		bytes = digest;
		len = sizeof(digest);
	}
	bool good =
	    EVP_DigestVerifyInit(context, NULL,
		key->algorithm == DKIM_RSA ? EVP_sha256() : NULL, NULL, key->pkey) == 1 &&
	    EVP_DigestVerify(context, (const unsigned char *)signature.ptr, signature.len,
		bytes, len) == 1;
	EVP_MD_CTX_free(context);
	return good;
}

static bool
key_works(const struct dkim_key *key, struct slice public_text)
{
	struct buf text AUTO_BUF;
	buf_init(&text, DKIM_PUBLIC_MAX);
	if (!public_write(key->algorithm, key->pkey, &text) ||
	    !slice_equal(buf_slice(&text), public_text))
		return false;
	buf_reset(&text);
	struct slice probe = SLICE("postroom dkim");
	return dkim_key_sign(key, probe, &text) && verify(key, probe, buf_slice(&text));
}

struct dkim_key *
dkim_key_read(
    enum dkim_algorithm algorithm, struct slice secret, struct slice public_text)
{
	const unsigned char *der = (const unsigned char *)secret.ptr;
	if (secret.len == 0 || secret.len > DKIM_SECRET_MAX)
		return NULL;
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &der, (long)secret.len);
	EVP_PKEY *pkey = info ? EVP_PKCS82PKEY(info) : NULL;
	PKCS8_PRIV_KEY_INFO_free(info);
	struct dkim_key *key = NULL;
	if (pkey && is_of_kind(algorithm, pkey)) {
		key = xcalloc(1, sizeof(*key));
		*key = (struct dkim_key){algorithm, pkey};
		if (!key_works(key, public_text))
			dkim_key_free(&key);
	} else {
		EVP_PKEY_free(pkey);
	}
	return key;
}

void
dkim_key_free(struct dkim_key **key)
{
	if (*key) {
		EVP_PKEY_free((*key)->pkey);
		free(*key);
	}
	*key = NULL;
}

enum dkim_algorithm
dkim_key_algorithm(const struct dkim_key *key)
{
	return key->algorithm;
}

bool
dkim_key_sign(const struct dkim_key *key, struct slice data, struct buf *out)
{
	unsigned char digest[DIGEST_BYTES], signature[DKIM_SIGNATURE_MAX];
	const unsigned char *bytes = (const unsigned char *)data.ptr;
	size_t len = data.len, signature_len = sizeof(signature);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	ENSURE(context);
	if (key->algorithm == DKIM_ED25519) {
		digest_make(data, digest);
		bytes = digest;
		len = sizeof(digest);
	}
	bool done =
	    EVP_DigestSignInit(context, NULL,
		key->algorithm == DKIM_RSA ? EVP_sha256() : NULL, NULL, key->pkey) == 1 &&
	    EVP_DigestSign(context, signature, &signature_len, bytes, len) == 1;
	EVP_MD_CTX_free(context);
	if (done)
		buf_append(out, slice_make((const char *)signature, signature_len));
	return done && buf_ok(out);
}

/* ---- records ---- */

void
dkim_record_write(
    enum dkim_algorithm algorithm, struct slice public_text, struct buf *out)
{
	buf_append_format(out, "v=DKIM1; k=%s; p=", dkim_algorithm_text(algorithm));
	buf_append(out, public_text);
}

void
dkim_record_quote(struct slice record, struct buf *out)
{
	for (size_t at = 0; at < record.len; at += DKIM_TXT_STRING_MAX) {
		buf_append_cstr(out, at ? " \"" : "\"");
		buf_append(out, slice_sub(record, at, DKIM_TXT_STRING_MAX));
		buf_append_byte(out, '"');
	}
}

/* Is the word among those with colons between? */
static bool
words_have(struct slice words, const char *word)
{
	while (words.ptr) {
		struct slice one = slice_trim(slice_split(&words, ':'));
		if (slice_equal_nocase(one, slice_from_cstr(word)))
			return true;
	}
	return false;
}

/* The key is base64 with blanks anywhere (p= of RFC 6376 section 3.6.1). */
static bool
same_key(struct slice published, struct slice public_text)
{
	size_t at = 0;
	for (size_t i = 0; i < published.len; i++) {
		char c = published.ptr[i];
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (at == public_text.len || public_text.ptr[at++] != c)
			return false;
	}
	return at == public_text.len;
}

struct tags {
	struct slice v, k, p, h, s, t;
};

/* tag=value; tag=value (section 3.2); of two of a name: broken. */
static bool
tags_parse(struct slice record, struct tags *out, bool *out_v_first)
{
	size_t count = 0;
	*out = (struct tags){0};
	*out_v_first = true;
	while (record.ptr) {
		struct slice value = slice_trim(slice_split(&record, ';'));
		if (slice_is_empty(value)) {
			if (record.ptr) /* only the last may be empty */
				return false;
			break;
		}
		size_t equal = slice_index(value, '=');
		if (equal == SIZE_MAX || equal == 0)
			return false;
		struct slice name = slice_trim(slice_sub(value, 0, equal));
		value = slice_trim(slice_from(value, equal + 1));
		struct {
			const char *name;
			struct slice *to;
		} known[] = {
		    {"v", &out->v},
		    {"k", &out->k},
		    {"p", &out->p},
		    {"h", &out->h},
		    {"s", &out->s},
		    {"t", &out->t},
		};
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			if (!slice_equal(name, slice_from_cstr(known[i].name)))
				continue;
			if (known[i].to->ptr)
				return false;
			*known[i].to = value;
			if (i == 0 && count > 0)
				*out_v_first = false;
		}
		count++;
	}
	return count > 0;
}

enum dkim_record
dkim_record_look(
    struct slice record, enum dkim_algorithm algorithm, struct slice public_text)
{
	struct tags tags;
	bool v_first;
	if (record.len > DKIM_RECORD_MAX || !tags_parse(record, &tags, &v_first) ||
	    !v_first || (tags.v.ptr && !slice_equal(tags.v, SLICE("DKIM1"))) ||
	    !tags.p.ptr)
		return DKIM_RECORD_BROKEN;
	struct slice kind = tags.k.ptr ? tags.k : SLICE("rsa");
	if (slice_is_empty(tags.p))
		return DKIM_RECORD_REVOKED;
	if (!slice_equal(kind, slice_from_cstr(dkim_algorithm_text(algorithm))))
		return DKIM_RECORD_ALGORITHM;
	if (tags.h.ptr && !words_have(tags.h, "sha256"))
		return DKIM_RECORD_HASH;
	if (tags.s.ptr && !words_have(tags.s, "*") && !words_have(tags.s, "email"))
		return DKIM_RECORD_SERVICE;
	if (!same_key(tags.p, public_text))
		return DKIM_RECORD_OTHER_KEY;
	return tags.t.ptr && words_have(tags.t, "y") ? DKIM_RECORD_TESTING
	                                             : DKIM_RECORD_MATCHES;
}

const char *
dkim_record_text(enum dkim_record result)
{
	switch (result) {
	case DKIM_RECORD_MATCHES:
		return "it is of this key";
	case DKIM_RECORD_TESTING:
		return "it is of this key, but says t=y (testing): take that out";
	case DKIM_RECORD_OTHER_KEY:
		return "it is of another key (or p= was cut off)";
	case DKIM_RECORD_REVOKED:
		return "it says that the key is revoked (p= is empty)";
	case DKIM_RECORD_ALGORITHM:
		return "it is of a key of another kind (k=)";
	case DKIM_RECORD_HASH:
		return "it does not allow SHA-256 (h=)";
	case DKIM_RECORD_SERVICE:
		return "it is not for e-mail (s=)";
	case DKIM_RECORD_BROKEN:
		return "it is no DKIM record";
	}
	UNREACHABLE();
}
