/*
 * Return addresses that tell which recipient a bounce is about (VERP): the envelope
 * sender of a message becomes
 *
 *   bounce+MMMMMMMMMMDDD-anna==example.org@bounces.example.net
 *
 * M: 50 bits of an HMAC over the rest, under the installation's secret; D: the day; then
 * the recipient's address, its "@" as "==", other characters than letters, digits, "-",
 * "_" and "." as "=" and two hex digits.  So a bounce that comes back is recognised
 * without anything kept here, and nobody can make one up.  In lower case or not: some
 * hosts change that, so the recipient comes back in lower case.  Pure.
 */
#ifndef AUTH_VERP_H
#define AUTH_VERP_H

#include "base/buf.h"

enum {
	VERP_SECRET_SIZE = 32, /* bytes, of directory_secret */
	VERP_LOCAL_MAX = 64,   /* octets of the local part, RFC 5321 section 4.5.3.1.1 */
	VERP_DAYS_MAX = 30,    /* a bounce that comes later is no bounce of ours */
};

/* Appends the return address.  False (nothing appended): the recipient is no address, or
 * its local part would be longer than VERP_LOCAL_MAX; send without VERP then. */
bool verp_encode(const unsigned char secret[VERP_SECRET_SIZE], int64_t now_s,
    struct slice recipient, struct slice domain, struct buf *out);

enum verp_result {
	VERP_OK,
	VERP_NONE,   /* an address of another form */
	VERP_FORGED, /* of this form, but not made here, or changed on the way */
	VERP_LATE,   /* made here, more than VERP_DAYS_MAX ago */
};
/* `address` is a return address as it came back at RCPT.  OK: appends the recipient in
 * lower case.  Else nothing. */
enum verp_result verp_decode(const unsigned char secret[VERP_SECRET_SIZE], int64_t now_s,
    struct slice address, struct buf *out_recipient);

#endif
