/*
 * TLS levels of MX hosts; see relay_level.h.
 */
#include "service/relay_level.h"

/* What the policies say, before the message is asked. */
static enum relay_level
level_of_policies(const struct relay_level_facts *f)
{
	if (f->overridden)
		return f->override;
	/* DANE goes before MTA-STS, which may not rescue it (RFC 8461 section 2). */
	if (f->tlsa == RELAY_TLSA_USABLE)
		return RELAY_LEVEL_DANE;
	if (f->sts_enforced)
		return RELAY_LEVEL_VERIFY;
	/* Records that cannot be used still say that there is TLS (RFC 7672 section 2.2).
	 */
	if (f->tlsa == RELAY_TLSA_UNUSABLE || f->required)
		return RELAY_LEVEL_ENCRYPT;
	return RELAY_LEVEL_MAY;
}

bool
relay_level_decide(
    const struct relay_level_facts *f, enum relay_level *out, const char **out_why)
{
	enum relay_level level = level_of_policies(f);
	if (f->want == RELAY_WANT_DELIVERY) {
		*out = level < RELAY_LEVEL_MAY ? level : RELAY_LEVEL_MAY;
		return true;
	}
	bool by_sts = f->sts_enforced && f->sts_matches;
	if (f->sts_enforced && !f->sts_matches && !f->overridden &&
	    level != RELAY_LEVEL_DANE) {
		*out_why = "it is not in the MTA-STS policy of the domain";
		return false;
	}
	if (f->want == RELAY_WANT_TLS && level < RELAY_LEVEL_VERIFY) {
		/* The name that is verified must be vouched for (RFC 8689 section 4.2.1).
		 */
		if (!f->mx_secure && !by_sts) {
			*out_why =
			    "REQUIRETLS: neither DNSSEC nor MTA-STS vouches for it";
			return false;
		}
		level = RELAY_LEVEL_VERIFY;
	}
	*out = level;
	return true;
}
