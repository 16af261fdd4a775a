/*
 * MTA-STS (RFC 8461): the TXT record that names a policy, the policy's text, and whether
 * a host is among its mx patterns.  Pure, fuzzed; everything borrows the text that was
 * given.
 */
#ifndef TEXT_MTA_STS_H
#define TEXT_MTA_STS_H

#include "base/slice.h"

enum {
	MTA_STS_ID_MAX = 32,           /* characters, RFC 8461 section 3.1 */
	MTA_STS_POLICY_MAX = 8 * 1024, /* bytes taken of a policy */
	MTA_STS_MX_MAX = 64,           /* patterns */
	MTA_STS_AGE_MAX_S = 31557600,  /* section 3.2 */
};

enum mta_sts_mode { MTA_STS_NONE, MTA_STS_TESTING, MTA_STS_ENFORCE };

struct mta_sts_policy {
	enum mta_sts_mode mode;
	uint32_t max_age_s;
	struct slice mx[MTA_STS_MX_MAX]; /* "mx.example.org", "*.example.org" */
	size_t mx_count;
};

/* "v=STSv1; id=2026…;": false when it is no such record or has no good id. */
bool mta_sts_record_parse(struct slice txt, struct slice *out_id);
/* False for a text that is no policy: other version, unknown mode, no max_age, a mode
 * other than none without mx, or a bad pattern (section 3.2). */
bool mta_sts_policy_parse(struct slice text, struct mta_sts_policy *out);
/* "*." stands for exactly one label (section 4.1). */
bool mta_sts_mx_matches(const struct mta_sts_policy *policy, struct slice host);
/* "enforce", "testing", "none". */
const char *mta_sts_mode_text(enum mta_sts_mode mode);

#endif
