/*
 * Return addresses; the form is in verp.h.
 *
 * What is signed is all behind the signature as it stands in the address, in lower case,
 * with the domain: so decoding never has to make the same text twice.  The days count
 * modulo 2^15 and come round after 89 years.
 */
#include "auth/verp.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/ensure.h"

enum {
	MAC_CHARS = 10,
	DAY_CHARS = 3,
	DAY_S = 24 * 3600,
	DAYS_MODULO = 1 << 15,
	DIGEST_BYTES = 32,
	RECIPIENT_MAX = 320,
	SIGNED_MAX = 1024,
};

#define VERP_PREFIX "bounce+"

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

static void
sign(const unsigned char *secret, struct slice rest, char out[MAC_CHARS])
{
	struct buf text AUTO_BUF;
	unsigned char digest[DIGEST_BYTES];
	unsigned len = 0;
	buf_init(&text, SIGNED_MAX);
	buf_append_cstr(&text, "verp 1 ");
	for (size_t i = 0; i < rest.len; i++)
		buf_append_byte(&text, ascii_lower(rest.ptr[i]));
	ENSURE(buf_ok(&text));
	ENSURE(HMAC(EVP_sha256(), secret, VERP_SECRET_SIZE,
	    (const unsigned char *)text.ptr, text.len, digest, &len));
	for (size_t i = 0; i < MAC_CHARS; i++)
		out[i] = base32[digest[i] & 31];
}

static unsigned
day_of(int64_t now_s)
{
	return (unsigned)((uint64_t)(now_s < 0 ? 0 : now_s) / DAY_S % DAYS_MODULO);
}

static bool
is_plain(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

static void
recipient_write(struct slice recipient, struct buf *out)
{
	size_t at = slice_rindex(recipient, '@');
	for (size_t i = 0; i < recipient.len; i++) {
		char c = recipient.ptr[i];
		/* A dot may stand between others only. */
		bool dot = c == '.' && i > 0 && i + 1 < recipient.len &&
		           is_plain(recipient.ptr[i - 1]) &&
		           is_plain(recipient.ptr[i + 1]);
		if (i == at)
			buf_append_cstr(out, "==");
		else if (is_plain(c) || dot)
			buf_append_byte(out, c);
		else
			buf_append_format(out, "=%02x", (unsigned char)c);
	}
}

bool
verp_encode(const unsigned char secret[VERP_SECRET_SIZE], int64_t now_s,
    struct slice recipient, struct slice domain, struct buf *out)
{
	struct buf rest AUTO_BUF;
	char mac[MAC_CHARS];
	unsigned day = day_of(now_s);
	size_t at = slice_rindex(recipient, '@');
	buf_init(&rest, SIGNED_MAX / 2);
	if (at == SIZE_MAX || at == 0 || at + 1 == recipient.len || domain.len == 0 ||
	    recipient.len > RECIPIENT_MAX)
		return false;
	for (int shift = 5 * (DAY_CHARS - 1); shift >= 0; shift -= 5)
		buf_append_byte(&rest, base32[day >> shift & 31]);
	buf_append_byte(&rest, '-');
	recipient_write(recipient, &rest);
	if (sizeof(VERP_PREFIX) - 1 + MAC_CHARS + rest.len > VERP_LOCAL_MAX)
		return false;
	buf_append_byte(&rest, '@');
	buf_append(&rest, domain);
	if (!buf_ok(&rest))
		return false;
	sign(secret, buf_slice(&rest), mac);
	buf_append_cstr(out, VERP_PREFIX);
	buf_append(out, slice_make(mac, sizeof(mac)));
	buf_append(out, buf_slice(&rest));
	return buf_ok(out);
}

static int
hex_value(char c)
{
	c = ascii_lower(c);
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The recipient that `text` stands for, in lower case; false: it stands for none. */
static bool
recipient_read(struct slice text, struct buf *out)
{
	unsigned ats = 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c != '=') {
			if (!is_plain(c) && c != '.')
				return false;
			buf_append_byte(out, ascii_lower(c));
			continue;
		}
		if (i + 1 < text.len && text.ptr[i + 1] == '=') {
			buf_append_byte(out, '@');
			ats++;
			i++;
			continue;
		}
		int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
		int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;
		if (high < 0 || low < 0)
			return false;
		buf_append_byte(out, ascii_lower((char)(high << 4 | low)));
		i += 2;
	}
	return buf_ok(out) && ats == 1;
}

enum verp_result
verp_decode(const unsigned char secret[VERP_SECRET_SIZE], int64_t now_s,
    struct slice address, struct buf *out_recipient)
{
	static const size_t head = sizeof(VERP_PREFIX) - 1;
	struct buf recipient AUTO_BUF;
	char mac[MAC_CHARS];
	char given[MAC_CHARS];
	unsigned day = 0;
	size_t at = slice_rindex(address, '@');
	buf_init(&recipient, RECIPIENT_MAX);
	if (!slice_has_prefix_nocase(address, SLICE(VERP_PREFIX)) || at == SIZE_MAX ||
	    at > VERP_LOCAL_MAX || at < head + MAC_CHARS + DAY_CHARS + 2 ||
	    address.len > SIGNED_MAX / 2 ||
	    address.ptr[head + MAC_CHARS + DAY_CHARS] != '-')
		return VERP_NONE;
	struct slice rest = slice_from(address, head + MAC_CHARS);
	sign(secret, rest, mac);
	for (size_t i = 0; i < MAC_CHARS; i++)
		given[i] = ascii_lower(address.ptr[head + i]);
	if (CRYPTO_memcmp(mac, given, MAC_CHARS) != 0)
		return VERP_FORGED;
	for (size_t i = 0; i < DAY_CHARS; i++) {
		const char *digit = strchr(base32, ascii_lower(rest.ptr[i]));
		if (!digit || *digit == '\0')
			return VERP_FORGED;
		day = day << 5 | (unsigned)(digit - base32);
	}
	size_t text = DAY_CHARS + 1;
	if (!recipient_read(
		slice_sub(rest, text, at - head - MAC_CHARS - text), &recipient))
		return VERP_FORGED;
	/* A day of the future is one whose clock went back. */
	unsigned age = (day_of(now_s) - day) % DAYS_MODULO;
	if (age > VERP_DAYS_MAX && age < DAYS_MODULO - 2)
		return VERP_LATE;
	buf_append(out_recipient, buf_slice(&recipient));
	return VERP_OK;
}
