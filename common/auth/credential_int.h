/*
 * Private to common/auth: parts of a credential, and the memory of successful checks.
 */
#ifndef AUTH_CREDENTIAL_INT_H
#define AUTH_CREDENTIAL_INT_H

#include "auth/credential.h"

/* The "SCHEME$..." of a credential; borrows it. */
bool credential_find(
    struct slice credential, struct slice scheme, struct slice *out_value);
/* True when a password could be checked against it. */
bool credential_is_valid(struct slice credential);

/* credential_make with this salt (empty: random ones), for tests with known answers. */
enum status credential_make_salted(struct slice password, struct slice salt,
    unsigned iterations, struct buf *out) MUST_USE;

enum { CREDENTIAL_CACHE_ENTRIES = 1024 };

/* True when this password was right for these very keys lately. */
bool credential_cache_has(struct slice credential, struct slice password);
void credential_cache_add(struct slice credential, struct slice password);

#endif
