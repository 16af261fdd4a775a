/*
 * Where the relay's connections come from: an address of the pool that counts for the
 * site, by weight among those that have room (rates by source, warm-up).  The pool: the
 * one that a refusal told to use, else the rule's, else "default" for mail by MX, when
 * there is one; else the machine decides.
 *
 * Pools are read at each choice, so a changed one counts from the next connection on.  A
 * rule that names a pool that is not there sends nothing until it is: mail must not leave
 * from an address that nobody meant.  Runs on the relay's loop.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/ids.h"
#include "base/log.h"
#include "smtpd/relay_int.h"

enum { SOURCE_WAIT_MS = 30 * 1000, SOURCE_WAIT_MS_MIN = 100, SAID_AGAIN_MS = 60 * 1000 };

/* False: the machine decides.  Without members: nothing may be used. */
static bool
pool_of(struct relay_site *site, struct relay_pool *out)
{
	struct slice ehlo = slice_from_cstr(site->ehlo);
	struct slice name =
	    site->source[0] ? slice_from_cstr(site->source) : SLICE(RELAY_POOL_DEFAULT);
	if (site->other_pool && clock_wall_s() < site->other_until_s)
		name = slice_from_cstr(site->other_pool);
	else if (site->by_rule && !site->source[0])
		return false;
	enum status status = relay_pool_find(site->relay->reader, name, ehlo, out);
	if (status == STATUS_NOT_FOUND && slice_equal(name, SLICE(RELAY_POOL_DEFAULT)))
		return false;
	if (status == STATUS_OK)
		return true;
	out->count = 0;
	static uint64_t said_ms;
	uint64_t now_ms = clock_mono_ms();
	if (said_ms == 0 || now_ms > said_ms + SAID_AGAIN_MS) {
		said_ms = now_ms;
		LOG_ERROR("relay.pool", LF_STR("site", site->domain),
		    LF_STR("pool", site->other_until_s ? site->other_pool : site->source),
		    LF_STR("reason", status_text(status)));
	}
	return true;
}

static bool
site_has_family(const struct relay_site *site, int family)
{
	for (size_t i = 0; site->hosts && i < site->hosts->count; i++)
		if (site->hosts->addresses[i].address.ss_family == family)
			return true;
	return false;
}

bool
relay_source_is_ready(struct relay_site *site, uint64_t *out_wait_ms)
{
	struct relay_pool pool;
	bool of_family = false;
	*out_wait_ms = SOURCE_WAIT_MS;
	if (!pool_of(site, &pool))
		return true;
	for (size_t i = 0; i < pool.count; i++) {
		struct relay_bucket *buckets[RELAY_RATE_OF_SOURCE];
		if (!site_has_family(site, pool.sources[i].address.ss_family))
			continue;
		of_family = true;
		uint64_t wait_ms =
		    relay_rates_source(site->relay, pool.sources[i].text, buckets);
		if (wait_ms == 0)
			return true;
		if (wait_ms < *out_wait_ms)
			*out_wait_ms = wait_ms;
	}
	if (*out_wait_ms < SOURCE_WAIT_MS_MIN)
		*out_wait_ms = SOURCE_WAIT_MS_MIN;
	/* From none of them: the session says so, and the mail is put off. */
	return pool.count > 0 && !of_family;
}

enum relay_origin_result
relay_origin_pick(
    struct relay_site *site, const struct sockaddr *to, struct relay_origin *out)
{
	struct relay_pool pool;
	uint64_t total = 0;
	*out = (struct relay_origin){0};
	if (!pool_of(site, &pool))
		return RELAY_ORIGIN_PICKED;
	/* Only those that may be used stay, then one by weight. */
	size_t kept = 0;
	enum relay_origin_result result = RELAY_ORIGIN_NONE;
	for (size_t i = 0; i < pool.count; i++) {
		struct relay_bucket *buckets[RELAY_RATE_OF_SOURCE];
		if (pool.sources[i].address.ss_family != to->sa_family)
			continue;
		result = RELAY_ORIGIN_LATER;
		if (relay_rates_source(site->relay, pool.sources[i].text, buckets) > 0)
			continue;
		total += pool.sources[i].weight;
		pool.sources[kept++] = pool.sources[i];
	}
	if (kept == 0)
		return pool.count ? result : RELAY_ORIGIN_LATER;
	uint64_t at = random_u64() % total;
	size_t pick = 0;
	while (at >= pool.sources[pick].weight)
		at -= pool.sources[pick++].weight;
	ENSURE(pick < kept);
	out->set = true;
	out->source = pool.sources[pick];
	(void)relay_rates_source(site->relay, out->source.text, out->buckets);
	relay_rates_source_hold(out->buckets, true);
	return RELAY_ORIGIN_PICKED;
}

void
relay_origin_release(struct relay_origin *origin)
{
	relay_rates_source_hold(origin->buckets, false);
	*origin = (struct relay_origin){0};
}

bool
relay_source_other(struct relay_site *site, struct slice pool, uint32_t lasts_s)
{
	struct relay_pool found;
	int64_t now_s = clock_wall_s();
	/* One change at a time, or mail would go to and fro between two. */
	if (now_s < site->other_until_s ||
	    relay_pool_find(site->relay->reader, pool, SLICE_NULL, &found) != STATUS_OK)
		return false;
	free(site->other_pool);
	site->other_pool = slice_to_cstr(pool);
	site->other_until_s = now_s + lasts_s;
	site->epoch++;
	return true;
}
