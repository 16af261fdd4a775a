/*
 * Fuzzes MTA-STS records and policies: what is accepted has an id, patterns and an age
 * within their limits, and a host that is a pattern matches it.
 */
#include "text/mta_sts.h"

#include <stdlib.h>

#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size);
	struct slice id;
	struct mta_sts_policy policy;
	if (mta_sts_record_parse(text, &id))
		ENSURE(id.len > 0 && id.len <= MTA_STS_ID_MAX);
	if (!mta_sts_policy_parse(text, &policy))
		return 0;
	ENSURE(
	    policy.max_age_s <= MTA_STS_AGE_MAX_S && policy.mx_count <= MTA_STS_MX_MAX);
	ENSURE(policy.mx_count > 0 || policy.mode == MTA_STS_NONE);
	ENSURE(mta_sts_mode_text(policy.mode));
	for (size_t i = 0; i < policy.mx_count; i++) {
		ENSURE(policy.mx[i].len > 0);
		if (policy.mx[i].ptr[0] != '*')
			ENSURE(mta_sts_mx_matches(&policy, policy.mx[i]));
	}
	return 0;
}
