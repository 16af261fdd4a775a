/*
 * Sender rewriting; see srs.h.  The hash is over all that is behind it, in lower case,
 * with the form's name in front: an SRS0 hash is worth nothing in an SRS1.
 */
#include "auth/srs.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/ensure.h"
#include "text/address.h"

enum {
	SRS_DAY_LEN = 2,
	SRS_DAY_COUNT = 1024, /* they begin again then */
	SRS_DAY_S = 86400,
	SRS_PREFIX_LEN = 5, /* "SRS0=" */
	SRS_TEXT_MAX = 512, /* bytes that are hashed */
};

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

bool
srs_is(struct slice local)
{
	return local.len >= SRS_PREFIX_LEN &&
	       (slice_has_prefix_nocase(local, SLICE("SRS0")) ||
		   slice_has_prefix_nocase(local, SLICE("SRS1"))) &&
	       memchr("=+-", local.ptr[4], 3) != NULL;
}

/* False when the text is too long. */
static bool
hash_make(const unsigned char key[SRS_KEY_SIZE], char form, struct slice text,
    char out[SRS_HASH_LEN])
{
	unsigned char bytes[SRS_TEXT_MAX];
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	static const char label[] = "postroom srs ";
	size_t len = sizeof(label) - 1;
	if (text.len > sizeof(bytes) - len - 1)
		return false;
	memcpy(bytes, label, len);
	bytes[len++] = (unsigned char)form;
	for (size_t i = 0; i < text.len; i++)
		bytes[len++] = (unsigned char)ascii_lower(text.ptr[i]);
	ENSURE(HMAC(EVP_sha256(), key, SRS_KEY_SIZE, bytes, len, digest, &size));
	uint64_t bits = 0;
	for (size_t i = 0; i < 5; i++)
		bits = bits << 8 | digest[i];
	for (size_t i = SRS_HASH_LEN; i-- > 0; bits >>= 5)
		out[i] = digits[bits & 31];
	return true;
}

static bool
hash_fits(const unsigned char key[SRS_KEY_SIZE], char form, struct slice text,
    struct slice hash)
{
	char want[SRS_HASH_LEN];
	unsigned different = 0;
	if (hash.len != SRS_HASH_LEN || !hash_make(key, form, text, want))
		return false;
	for (size_t i = 0; i < SRS_HASH_LEN; i++)
		different |= (unsigned)(ascii_upper(hash.ptr[i]) ^ want[i]);
	return different == 0;
}

/* ---- forward ---- */

/* What is behind the hash, and '0' or '1'. */
static char
body_write(struct slice local, struct slice domain, int64_t now_s, struct buf *body)
{
	struct slice rest = slice_from(local, SRS_PREFIX_LEN);
	if (srs_is(local) && local.ptr[3] == '1') {
		/* Only the first forwarder is kept: reports take the short way back. */
		(void)slice_split(&rest, '=');
		buf_append(body, rest);
		return '1';
	}
	if (srs_is(local)) {
		buf_append(body, domain);
		buf_append_byte(body, '=');
		buf_append(body, slice_from(local, 4));
		return '1';
	}
	unsigned day = (unsigned)(now_s / SRS_DAY_S % SRS_DAY_COUNT);
	buf_append_byte(body, digits[day / 32]);
	buf_append_byte(body, digits[day % 32]);
	buf_append_byte(body, '=');
	buf_append(body, domain);
	buf_append_byte(body, '=');
	buf_append(body, local);
	return '0';
}

bool
srs_forward(const unsigned char key[SRS_KEY_SIZE], struct slice sender,
    struct slice domain, int64_t now_s, struct buf *out)
{
	char hash[SRS_HASH_LEN];
	struct buf body AUTO_BUF;
	buf_init(&body, SRS_TEXT_MAX);
	size_t at = slice_rindex(sender, '@');
	if (at == SIZE_MAX || at == 0 || sender.ptr[0] == '"' || now_s < 0)
		return false;
	char form = body_write(
	    slice_sub(sender, 0, at), slice_from(sender, at + 1), now_s, &body);
	if (!buf_ok(&body) || !hash_make(key, form, buf_slice(&body), hash) ||
	    SRS_PREFIX_LEN + SRS_HASH_LEN + 1 + body.len + 1 + domain.len >
		ADDRESS_PATH_MAX)
		return false;
	buf_append_format(out, "SRS%c=%.*s=", form, SRS_HASH_LEN, hash);
	buf_append(out, buf_slice(&body));
	buf_append_byte(out, '@');
	buf_append(out, domain);
	return true;
}

/* ---- reverse ---- */

static bool
day_read(struct slice text, unsigned *out)
{
	*out = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *digit =
		    text.ptr[i] ? strchr(digits, ascii_upper(text.ptr[i])) : NULL;
		if (!digit)
			return false;
		*out = *out * 32 + (unsigned)(digit - digits);
	}
	return text.len == SRS_DAY_LEN;
}

static enum srs_result
reverse_first(
    struct slice body, int64_t now_s, struct slice *out_domain, struct slice *out_local)
{
	unsigned day;
	struct slice text = slice_split(&body, '=');
	*out_domain = slice_split(&body, '=');
	*out_local = body;
	if (!day_read(text, &day) || body.len == 0 ||
	    !address_domain_is_valid(*out_domain, false, true))
		return SRS_BAD;
	unsigned today = (unsigned)(now_s / SRS_DAY_S % SRS_DAY_COUNT);
	unsigned age = (today - day) & (SRS_DAY_COUNT - 1);
	/* Clocks of one day before are the clock set back. */
	return age <= SRS_DAYS_MAX || age == SRS_DAY_COUNT - 1 ? SRS_OK : SRS_EXPIRED;
}

enum srs_result
srs_reverse(const unsigned char key[SRS_KEY_SIZE], struct slice local, int64_t now_s,
    struct buf *out)
{
	char form = local.ptr[3];
	struct slice body = slice_from(local, SRS_PREFIX_LEN);
	struct slice hash = slice_split(&body, '=');
	struct slice domain;
	if (now_s < 0 || body.len == 0)
		return SRS_BAD;
	if (!hash_fits(key, form, body, hash))
		return SRS_FORGED;
	if (form == '0') {
		struct slice name;
		enum srs_result result = reverse_first(body, now_s, &domain, &name);
		if (result != SRS_OK)
			return result;
		buf_append(out, name);
	} else {
		domain = slice_split(&body, '=');
		if (body.len < 2 || !memchr("=+-", body.ptr[0], 3) ||
		    !address_domain_is_valid(domain, false, true))
			return SRS_BAD;
		buf_append(out, SLICE("SRS0"));
		buf_append(out, body);
	}
	buf_append_byte(out, '@');
	buf_append(out, domain);
	return SRS_OK;
}
