/*
 * Buckets of accounts; see smtp_rate.h.
 */
#include "smtpd/smtp_rate.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "base/file.h"
#include "base/hashmap.h"

enum {
	HOUR_MS = 3600 * 1000,
	LINE_MAX_BYTES = 128,
	FILE_MAX = (4 * SMTP_RATE_ACCOUNTS_KEPT + 1) * LINE_MAX_BYTES,
};

#define FILE_HEAD "postroom send rates 1\n"

struct bucket {
	double used; /* recipients */
	uint64_t at_ms;
};

static struct {
	pthread_mutex_t lock;
	struct hashmap *buckets; /* by account id */
	bool changed;            /* since the last save */
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
	rates.changed = true;
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

/* ---- the file: a line for each account, "id used at_ms" ---- */

static bool
line_write(struct slice key, void *value, void *arg)
{
	const struct bucket *bucket = value;
	struct buf *out = arg;
	for (size_t i = 0; i < key.len; i++)
		buf_append_format(out, "%02x", (unsigned char)key.ptr[i]);
	/* A part of a recipient does not matter over a restart; upward. */
	buf_append_format(out, " %llu %llu\n", (unsigned long long)(bucket->used + 0.999),
	    (unsigned long long)bucket->at_ms);
	return true;
}

enum status
smtp_rate_save(const char *path)
{
	struct buf text AUTO_BUF;
	buf_init(&text, FILE_MAX);
	buf_append_cstr(&text, FILE_HEAD);
	pthread_mutex_lock(&rates.lock);
	bool changed = rates.changed;
	if (changed && rates.buckets)
		hashmap_each(rates.buckets, line_write, &text);
	rates.changed = false;
	pthread_mutex_unlock(&rates.lock);
	if (!changed)
		return STATUS_OK;
	enum status status =
	    buf_ok(&text) ? file_replace(path, buf_slice(&text)) : STATUS_LIMIT;
	if (status != STATUS_OK) {
		pthread_mutex_lock(&rates.lock);
		rates.changed = true;
		pthread_mutex_unlock(&rates.lock);
	}
	return status;
}

static bool
hex_read(struct slice text, struct account_id *out)
{
	if (text.len != 2 * sizeof(out->v))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (!ascii_is_digit(c) && (c < 'a' || c > 'f'))
			return false;
		unsigned digit = (unsigned)(ascii_is_digit(c) ? c - '0' : c - 'a' + 10);
		out->v[i / 2] = (unsigned char)((unsigned)out->v[i / 2] << 4 | digit);
	}
	return true;
}

/* All lines are good, or none is used. */
static bool
lines_read(struct slice lines, bool apply)
{
	while (lines.len > 0) {
		struct slice line = slice_split(&lines, '\n');
		struct slice id = slice_split(&line, ' ');
		struct slice used = slice_split(&line, ' ');
		struct account_id account = {{0}};
		uint64_t used_count;
		uint64_t at_ms;
		if (!hex_read(id, &account) ||
		    !slice_to_u64(used, UINT32_MAX, &used_count) ||
		    !slice_to_u64(line, UINT64_MAX, &at_ms))
			return false;
		if (!apply)
			continue;
		struct slice key = slice_make((const char *)account.v, sizeof(account.v));
		struct bucket *bucket = hashmap_get(rates.buckets, key);
		if (!bucket) {
			bucket = xcalloc(1, sizeof(*bucket));
			hashmap_put(rates.buckets, key, bucket);
		}
		bucket->used = (double)used_count;
		bucket->at_ms = at_ms;
	}
	return true;
}

enum status
smtp_rate_load(const char *path)
{
	struct buf text AUTO_BUF;
	buf_init(&text, FILE_MAX);
	enum status status = file_read(path, &text);
	if (status != STATUS_OK)
		return status;
	struct slice lines = buf_slice(&text);
	if (!slice_has_prefix(lines, SLICE(FILE_HEAD)))
		return STATUS_CORRUPT;
	lines = slice_from(lines, sizeof(FILE_HEAD) - 1);
	if (!lines_read(lines, false))
		return STATUS_CORRUPT;
	pthread_mutex_lock(&rates.lock);
	if (!rates.buckets)
		rates.buckets = hashmap_new();
	(void)lines_read(lines, true);
	pthread_mutex_unlock(&rates.lock);
	return STATUS_OK;
}
