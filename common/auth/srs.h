/*
 * Sender rewriting (SRS, Mail::SRS's form of SRS0 and SRS1): mail that is forwarded gets
 * a sender of the forwarding domain, so that SPF holds, and reports to that sender find
 * their way back.  A keyed hash keeps others from using it to relay, a day number makes
 * it end.  Pure.
 *
 *   SRS0=hash=day=domain=local@forwarder     of local@domain
 *   SRS1=hash=first==rest@forwarder          of SRS0=rest@first, or of an SRS1 of it
 */
#ifndef AUTH_SRS_H
#define AUTH_SRS_H

#include "auth/signed_address.h"
#include "base/buf.h"

enum {
	SRS_KEY_SIZE = SIGNED_KEY_SIZE,
	SRS_HASH_LEN = SIGNED_MAC_LEN,
	SRS_DAYS_MAX = 21, /* days that an SRS0 address is good for */
};

/* Does the local part begin like one? */
bool srs_is(struct slice local);

/* Appends the rewritten form of `sender` ("local@domain") in `domain`.  False (and
 * nothing appended) when there is none: the sender is empty, its local part is quoted, or
 * the result would be longer than ADDRESS_PATH_MAX. */
bool srs_forward(const unsigned char key[SRS_KEY_SIZE], struct slice sender,
    struct slice domain, int64_t now_s, struct buf *out);

enum srs_result {
	SRS_OK,
	SRS_BAD,     /* not of the form */
	SRS_FORGED,  /* the hash is another */
	SRS_EXPIRED, /* older than SRS_DAYS_MAX, or from tomorrow on */
};
/* Appends the address that a local part for which srs_is holds was made of; only with
 * SRS_OK.  Letter case of hash and day is ignored. */
enum srs_result srs_reverse(const unsigned char key[SRS_KEY_SIZE], struct slice local,
    int64_t now_s, struct buf *out);

#endif
