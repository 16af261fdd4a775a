/*
 * How well a connection to one host must be protected: the one decision over what the
 * operator set, DANE (RFC 7672), MTA-STS (RFC 8461) and what the message asks for (RFC
 * 8689).  The relay follows it, `postroom explain` prints it.  Pure.
 */
#ifndef SERVICE_RELAY_LEVEL_H
#define SERVICE_RELAY_LEVEL_H

#include <stdbool.h>

#include "store/relay_note.h"

enum relay_want {
	RELAY_WANT_POLICY,   /* what the policies say */
	RELAY_WANT_TLS,      /* REQUIRETLS: verified TLS or not at all */
	RELAY_WANT_DELIVERY, /* "TLS-Required: No": rather in clear than not at all */
};

enum relay_tlsa_found { RELAY_TLSA_NONE, RELAY_TLSA_UNUSABLE, RELAY_TLSA_USABLE };

/* Of one MX host. */
struct relay_level_facts {
	enum relay_want want;
	bool overridden; /* `postroom relay tls` set a level for the domain */
	enum relay_level override;
	bool required;              /* relay.tls = required */
	bool mx_secure;             /* DNSSEC vouches for the host's name */
	enum relay_tlsa_found tlsa; /* secure ones */
	bool sts_enforced;          /* a policy is in force */
	bool sts_matches;           /* and names this host */
};

/* False when the host must not be used: *out_why says why, one line.  Else *out. */
bool relay_level_decide(
    const struct relay_level_facts *facts, enum relay_level *out, const char **out_why);

#endif
