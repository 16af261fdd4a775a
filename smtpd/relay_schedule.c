/*
 * Shares of tenants and senders, and when to try again: the configured schedule, whose
 * last entry repeats, with jitter so that what failed together does not return together.
 * Pure.
 */
#include "base/ensure.h"
#include "smtpd/relay_int.h"

enum {
	FAIR_LOAD_MIN = 10,   /* recipients that a sender at a site may always have */
	FAIR_SENDER_PART = 2, /* a sender may have a half of what is free */
	FAIR_LANE_PART = 4,   /* at one site a quarter */
	FAIR_CONNECT_MIN = 1,
};

/* A tenant may have three quarters of what is free, so that one flooding sender of it
 * (who may have a half) leaves room for its others; those who have little get in until it
 * has as much as is free. */
bool
relay_fair_may_load(size_t active, size_t of_tenant, size_t of_sender, size_t of_lane)
{
	if (active >= RELAY_ACTIVE_MAX)
		return false;
	size_t available = RELAY_ACTIVE_MAX - active;
	if (of_lane < FAIR_LOAD_MIN && of_sender < FAIR_LOAD_MIN &&
	    (of_tenant < FAIR_LOAD_MIN || of_tenant < available))
		return true;
	return of_tenant < available - available / 4 &&
	       of_sender < available / FAIR_SENDER_PART &&
	       of_lane < available / FAIR_LANE_PART;
}

bool
relay_fair_may_connect(size_t connections, size_t of_tenant, size_t of_sender)
{
	if (connections >= RELAY_CONNECTIONS_MAX)
		return false;
	size_t available = RELAY_CONNECTIONS_MAX - connections;
	return (of_sender < FAIR_CONNECT_MIN || of_sender < available) &&
	       (of_tenant < FAIR_CONNECT_MIN || of_tenant < available);
}

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
