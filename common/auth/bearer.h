/*
 * The client's message of the two mechanisms that bring a bearer token (RFC 6750):
 * OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's, older and everywhere).  Pure; what is
 * found borrows the input.
 */
#ifndef AUTH_BEARER_H
#define AUTH_BEARER_H

#include "base/buf.h"

enum { BEARER_USER_MAX = 320 }; /* octets, as a login */

struct bearer_message {
	struct slice token; /* borrows the input; b64token of RFC 6750 section 2.1 */
	char user[BEARER_USER_MAX + 1]; /* decoded; empty when the client named nobody */
};

/* "n,a=user,^Ahost=…^Aport=…^Aauth=Bearer TOKEN^A^A".  False: the client broke the
 * syntax, or asks for a channel binding, which this mechanism does not have. */
bool bearer_parse_oauthbearer(struct slice in, struct bearer_message *out);
/* "user=USER^Aauth=Bearer TOKEN^A^A" */
bool bearer_parse_xoauth2(struct slice in, struct bearer_message *out);

/* The server's challenge that tells a failure, to which the client answers with a dummy
 * (RFC 7628 section 3.2.2): {"status":"invalid_token",…}.  `scope` and `configuration`
 * are left out when empty. */
void bearer_write_failure(
    bool xoauth2, const char *scope, const char *configuration, struct buf *out);

#endif
