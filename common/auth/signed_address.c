/*
 * Hashes and days of addresses; see signed_address.h.
 */
#include "auth/signed_address.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/ensure.h"

enum { DAY_S = 86400, MAC_BYTES = 5 };

/* Base 32 (RFC 4648 section 6). */
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static int
digit_value(char c)
{
	const char *digit = c ? strchr(digits, ascii_upper(c)) : NULL;
	return digit ? (int)(digit - digits) : -1;
}

bool
signed_mac_make(const unsigned char key[SIGNED_KEY_SIZE], const char *label,
    struct slice text, char out[SIGNED_MAC_LEN])
{
	unsigned char bytes[SIGNED_TEXT_MAX];
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	size_t len = strlen(label);
	if (len > sizeof(bytes) || text.len > sizeof(bytes) - len)
		return false;
	memcpy(bytes, label, len);
	for (size_t i = 0; i < text.len; i++)
		bytes[len++] = (unsigned char)ascii_lower(text.ptr[i]);
	ENSURE(HMAC(EVP_sha256(), key, SIGNED_KEY_SIZE, bytes, len, digest, &size));
	uint64_t bits = 0;
	for (size_t i = 0; i < MAC_BYTES; i++)
		bits = bits << 8 | digest[i];
	for (size_t i = SIGNED_MAC_LEN; i-- > 0; bits >>= 5)
		out[i] = digits[bits & 31];
	return true;
}

bool
signed_mac_fits(const unsigned char key[SIGNED_KEY_SIZE], const char *label,
    struct slice text, struct slice mac)
{
	char want[SIGNED_MAC_LEN];
	unsigned different = 0;
	if (mac.len != SIGNED_MAC_LEN || !signed_mac_make(key, label, text, want))
		return false;
	for (size_t i = 0; i < SIGNED_MAC_LEN; i++)
		different |= (unsigned)(ascii_upper(mac.ptr[i]) ^ want[i]);
	return different == 0;
}

bool
signed_text_is_plausible(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (digit_value(text.ptr[i]) < 0)
			return false;
	return true;
}

static unsigned
day_of(int64_t now_s)
{
	return (unsigned)(now_s / DAY_S % SIGNED_DAY_COUNT);
}

void
signed_day_make(int64_t now_s, char out[SIGNED_DAY_LEN])
{
	unsigned day = day_of(now_s);
	out[0] = digits[day / 32];
	out[1] = digits[day % 32];
}

bool
signed_day_age(struct slice day, int64_t now_s, unsigned *out)
{
	if (day.len != SIGNED_DAY_LEN || !signed_text_is_plausible(day))
		return false;
	unsigned made =
	    (unsigned)(digit_value(day.ptr[0]) * 32 + digit_value(day.ptr[1]));
	*out = (day_of(now_s) - made) & (SIGNED_DAY_COUNT - 1);
	return true;
}

bool
signed_day_is_within(unsigned age, unsigned days_max)
{
	return age <= days_max || age == SIGNED_DAY_COUNT - 1;
}
