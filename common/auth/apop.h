/*
 * The digest of POP3's APOP (RFC 1939 section 7): MD5 over the greeting's timestamp and
 * the shared secret.
 */
#ifndef AUTH_APOP_H
#define AUTH_APOP_H

#include "base/slice.h"
#include "base/status.h"

enum { APOP_DIGEST_SIZE = 16 /* bytes */ };

/* `timestamp` with its angle brackets.  False when OpenSSL has no MD5 (FIPS). */
bool apop_digest(struct slice timestamp, struct slice secret,
    unsigned char out[APOP_DIGEST_SIZE]) MUST_USE;
/* 32 hexadecimal digits of any case (the RFC has lower case); false for anything else. */
bool apop_digest_parse(struct slice text, unsigned char out[APOP_DIGEST_SIZE]) MUST_USE;

#endif
