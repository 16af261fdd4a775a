/*
 * When to try again: the configured schedule, whose last entry repeats, with jitter so
 * that what failed together does not return together.  Pure.
 */
#include "base/ensure.h"
#include "smtpd/relay_int.h"

int64_t
relay_retry_delay_s(
    const uint64_t *retry_s, size_t retry_count, uint32_t attempts, uint64_t random)
{
	ENSURE(retry_count > 0);
	size_t at = attempts == 0 ? 0 : attempts - 1;
	if (at >= retry_count)
		at = retry_count - 1;
	uint64_t delay = retry_s[at];
	return (int64_t)(delay + random % (delay / 10 + 1));
}
