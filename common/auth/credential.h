/*
 * SCRAM keys (RFC 5802, RFC 7677): made from a password, and a password checked against
 * them.  The text form is what libsasl2's auxprop wants as *authPassword:
 * "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey" (base64), one per hash.  PBKDF2 is
 * slow on purpose: call on the worker pool.
 */
#ifndef AUTH_CREDENTIAL_H
#define AUTH_CREDENTIAL_H

#include "base/buf.h"
#include "base/status.h"

enum {
	CREDENTIAL_PASSWORD_MAX = 1024, /* octets */
	CREDENTIAL_ITERATIONS_MIN = 4096,
	CREDENTIAL_ITERATIONS_MAX = 65536, /* libsasl2's client refuses more */
	CREDENTIAL_TEXT_MAX = 1024,
};

/* Keys for SCRAM-SHA-256 and SCRAM-SHA-1, joined by a space, with random salts.  INVALID
 * when SASLprep forbids the password. */
enum status credential_make(
    struct slice password, unsigned iterations, struct buf *out) MUST_USE;
/* OK when the password fits, DENIED when not, CORRUPT when the keys do not parse.
 * Constant-time compare. */
enum status credential_verify(struct slice credential, struct slice password) MUST_USE;
/* Keys that no password fits, the same for the same login in this installation, so that
 * unknown users look like known ones.  `secret` is the installation's. */
void credential_fake(
    struct slice login, struct slice secret, unsigned iterations, struct buf *out);
/* SASLprep (RFC 4013) of a UTF-8 string; false when prohibited. */
bool saslprep(struct slice in, struct buf *out);

#endif
