/*
 * What addresses that only we can have made are built of: a keyed hash in characters
 * that survive in a local part, whatever is done to their case, and a day that makes the
 * address end.  Rewritten senders (srs.h) and addresses that tell a recipient (verp.h)
 * are made with them.  Pure.
 */
#ifndef AUTH_SIGNED_ADDRESS_H
#define AUTH_SIGNED_ADDRESS_H

#include "base/slice.h"

enum {
	SIGNED_KEY_SIZE = 32,    /* bytes, of directory_secret */
	SIGNED_MAC_LEN = 8,      /* characters of 5 bits */
	SIGNED_DAY_LEN = 2,      /* characters of 5 bits */
	SIGNED_DAY_COUNT = 1024, /* days; they begin again then */
	SIGNED_TEXT_MAX = 1024,  /* octets of label and text */
};

/* The hash of `text` in lower case, 40 bits of HMAC-SHA-256; `label` keeps the forms
 * apart: what is good in one is worth nothing in another.  False: over SIGNED_TEXT_MAX.
 */
bool signed_mac_make(const unsigned char key[SIGNED_KEY_SIZE], const char *label,
    struct slice text, char out[SIGNED_MAC_LEN]);
/* Is `mac` (in any case) the text's?  Takes as long for a wrong one. */
bool signed_mac_fits(const unsigned char key[SIGNED_KEY_SIZE], const char *label,
    struct slice text, struct slice mac);
/* Could it be a hash or a day: are they all characters that those are written with? */
bool signed_text_is_plausible(struct slice text);

/* `now_s`: seconds since 1970, not negative. */
void signed_day_make(int64_t now_s, char out[SIGNED_DAY_LEN]);
/* Days since then, modulo SIGNED_DAY_COUNT; false: it is none. */
bool signed_day_age(struct slice day, int64_t now_s, unsigned *out);
/* Is it of at most so many days ago?  One from tomorrow is a clock that was set back. */
bool signed_day_is_within(unsigned age, unsigned days_max);

#endif
