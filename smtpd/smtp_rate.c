/*
 * Buckets of accounts; see smtp_rate.h.
 */
#include "smtpd/smtp_rate.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/hashmap.h"

enum { HOUR_MS = 3600 * 1000 };

struct bucket {
	double used; /* recipients */
	uint64_t at_ms;
};

static struct {
	pthread_mutex_t lock;
	struct hashmap *buckets; /* by account id */
} rates = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What was used by now, at this limit. */
static double
used_now(const struct bucket *bucket, uint32_t per_hour, uint64_t now_ms)
{
	double passed = now_ms > bucket->at_ms ? (double)(now_ms - bucket->at_ms) : 0;
	double left = bucket->used - passed * per_hour / HOUR_MS;
	return left > 0 ? left : 0;
}

struct prune {
	uint32_t per_hour;
	uint64_t now_ms;
};

static bool
keep_used(struct slice key, void *value, void *arg)
{
	const struct prune *prune = arg;
	(void)key;
	if (used_now(value, prune->per_hour, prune->now_ms) > 0)
		return true;
	free(value);
	return false;
}

static bool
take_locked(struct slice key, uint32_t per_hour, uint64_t now_ms)
{
	if (!rates.buckets)
		rates.buckets = hashmap_new();
	struct bucket *bucket = hashmap_get(rates.buckets, key);
	if (!bucket) {
		if (hashmap_count(rates.buckets) >= SMTP_RATE_ACCOUNTS_KEPT) {
			struct prune prune = {per_hour, now_ms};
			hashmap_each(rates.buckets, keep_used, &prune);
		}
		bucket = xcalloc(1, sizeof(*bucket));
		hashmap_put(rates.buckets, key, bucket);
	}
	bucket->used = used_now(bucket, per_hour, now_ms);
	bucket->at_ms = now_ms;
	if (bucket->used + 1 > per_hour)
		return false;
	bucket->used += 1;
	return true;
}

bool
smtp_rate_take(struct account_id account, uint32_t per_hour, uint64_t now_ms)
{
	if (per_hour == 0)
		return true;
	pthread_mutex_lock(&rates.lock);
	bool taken = take_locked(
	    slice_make((const char *)account.v, sizeof(account.v)), per_hour, now_ms);
	pthread_mutex_unlock(&rates.lock);
	return taken;
}
