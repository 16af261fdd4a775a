/*
 * MTA-STS policies of recipients' domains (RFC 8461): asked by DNS, fetched off the loop,
 * kept in the store for as long as they say.  A policy that cannot be fetched anew stays
 * in force until its time is over; one that never could be is none.
 */
#ifndef SMTPD_RELAY_STS_H
#define SMTPD_RELAY_STS_H

#include "smtpd/relay_int.h"
#include "text/mta_sts.h"

enum {
	RELAY_STS_TIMEOUT_MS = 30 * 1000, /* of a fetch; section 3.3 */
	RELAY_STS_REFRESH_S = 24 * 3600,  /* fetched anew after so long, if the same */
};

/* `text` holds what the policy's slices borrow; both are valid during the call only. Null
 * policy: none. */
typedef void (*relay_sts_fn)(
    const struct mta_sts_policy *policy, struct slice text, void *arg);

/* Calls fn once, in a later turn.  `domain`: A-labels. */
void relay_sts_find(struct relay *relay, struct slice domain, relay_sts_fn fn, void *arg);

#endif
