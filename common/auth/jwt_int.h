/*
 * Private to common/auth: the keys that sign tokens.
 */
#ifndef AUTH_JWT_INT_H
#define AUTH_JWT_INT_H

#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>

#include "auth/jwt.h"

enum jwt_algorithm { JWT_NO_ALGORITHM, JWT_RS256, JWT_ES256, JWT_EDDSA };

struct jwt_key {
	enum jwt_algorithm algorithm;
	EVP_PKEY *pkey;
	char *kid; /* null: it has none, and fits any */
};

struct jwt_keys {
	_Atomic unsigned refs;
	size_t count;
	struct jwt_key items[JWT_KEYS_MAX];
};

/* base64url without padding (RFC 7515 section 2); appends.  False: it is none. */
bool jwt_base64url(struct slice in, struct buf *out);

#endif
