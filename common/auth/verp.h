/*
 * Addresses that tell which recipient of which sender they are about, and that only we
 * can have made: return addresses of single copies (VERP), and addresses to unsubscribe
 * by.  For news@lists.example.net's copy to anna@example.org:
 *
 *   bounce+HHHHHHHHDD+news+anna==example.org@lists.example.net
 *   unsub+HHHHHHHHDD+news+anna==example.org@lists.example.net
 *
 * H and D are hash and day of signed_address.h; then the sender's local part and the
 * recipient, "@" as "==", other characters than letters, digits, "-", "_" and "." as "="
 * and two hex digits.  So what comes back is recognised without anything kept here.  In
 * lower case or not: some hosts change that, so both come back in lower case.
 *
 * The same for links is a token: what stands behind "unsub+", in base64url.  Pure.
 */
#ifndef AUTH_VERP_H
#define AUTH_VERP_H

#include "auth/signed_address.h"
#include "base/buf.h"

enum {
	VERP_LOCAL_MAX = 64, /* octets of the local part, RFC 5321 section 4.5.3.1.1 */
	VERP_DAYS_MAX = 30,  /* a bounce that comes later is no bounce of ours */
	VERP_UNSUBSCRIBE_DAYS_MAX = 1000, /* people read old mail */
	VERP_PART_MAX = 320,              /* octets of sender and of recipient */
	VERP_TOKEN_MAX = 1400,            /* octets of a token */
};

enum verp_kind { VERP_BOUNCE, VERP_UNSUBSCRIBE };

/* Appends the address.  False (nothing appended): one of them is no address of the form
 * "local@domain", the sender's local part is quoted, or the local part would be longer
 * than VERP_LOCAL_MAX: send without VERP then. */
bool verp_encode(const unsigned char key[SIGNED_KEY_SIZE], enum verp_kind kind,
    int64_t now_s, struct slice sender, struct slice recipient, struct buf *out);

enum verp_result {
	VERP_OK,
	VERP_NONE,   /* an address of another form */
	VERP_FORGED, /* of this form, but not made here, or changed on the way */
	VERP_LATE,   /* made here, too many days ago */
};

/* What an address or token stands for. */
struct verp {
	enum verp_kind kind;
	char sender[VERP_PART_MAX + 1], recipient[VERP_PART_MAX + 1]; /* lower case */
};
/* `address` as it came back at RCPT.  *out is written with OK only. */
enum verp_result verp_decode(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s,
    struct slice address, struct verp *out);

/* Appends a token to unsubscribe by: letters, digits, "-" and "_".  False as above, but
 * for the length. */
bool verp_token_encode(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s,
    struct slice sender, struct slice recipient, struct buf *out);
/* kind is VERP_UNSUBSCRIBE then. */
enum verp_result verp_token_decode(const unsigned char key[SIGNED_KEY_SIZE],
    int64_t now_s, struct slice token, struct verp *out);

#endif
