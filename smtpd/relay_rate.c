/*
 * The relay's rates: buckets by site, sender and source address, see
 * service/relay_rate.h.
 *
 * The loader takes into memory only what the buckets let through within
 * RELAY_RATE_AHEAD_S (a job *reserves* room), the rest stays in the queue and is passed
 * over by its key.  A site hands a job to a connection only when its buckets have room
 * (it *takes* it then).  A recipient that waits for its turn is not touched: that is no
 * attempt.
 *
 * What is used is noted every SAVE_MS in the store: after a restart at most that is
 * forgotten.  Runs on the relay's loop.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "smtpd/relay_int.h"

enum {
	SAVE_MS = 2000,
	BUCKETS_KEPT = 10000, /* with more of them, those that nothing is used of go */
	SAVE_ARENA_MAX = 64 * 1024 * 1024,
};

struct relay_bucket {
	struct relay_bucket_key {
		uint64_t hash;
		uint64_t scope;
	} key;
	char *name;
	struct relay_rate rate;
	uint64_t look; /* relay->rates.look when the rate was looked up */
	double used;
	int64_t at_ms; /* wall clock */
	unsigned reserved;
	uint64_t claim; /* relay_rates_ready that `claimed` counts for */
	unsigned claimed;
	bool changed; /* since it was noted */
};

struct save {
	struct relay_note_op op;
	struct relay *relay;
	struct arena *arena;
	struct relay_note *notes;
};

static void save_later(struct relay *relay);

static struct slice
key_slice_of(const struct relay_bucket_key *key)
{
	return slice_make((const char *)key, sizeof(*key));
}

/* ---- buckets ---- */

static void
bucket_refresh(struct relay *relay, struct relay_bucket *b)
{
	struct relay_rate rate;
	int64_t now_ms = clock_wall_ms();
	if (b->look != relay->rates.look) {
		enum status status = relay_rate_find(relay->reader,
		    service_conf(relay->service), (enum relay_rate_scope)b->key.scope,
		    slice_from_cstr(b->name), &rate);
		b->used = relay_rate_used(&b->rate, b->used, b->at_ms, now_ms);
		if (status == STATUS_OK)
			b->rate = rate;
		else
			LOG_ERROR("store.error", LF_STR("op", "rate"),
			    LF_STR("status", status_text(status)));
		b->look = relay->rates.look;
	}
	b->used = relay_rate_used(&b->rate, b->used, b->at_ms, now_ms);
	b->at_ms = now_ms;
}

static struct relay_bucket *
bucket_get(struct relay *relay, enum relay_rate_scope scope, uint64_t hash)
{
	struct relay_bucket_key key = {hash, (uint64_t)scope};
	return hashmap_get(relay->buckets, key_slice_of(&key));
}

static struct relay_bucket *
bucket_make(struct relay *relay, enum relay_rate_scope scope, struct slice name)
{
	uint64_t hash =
	    scope == RELAY_RATE_SITE ? queue_site_hash(name) : queue_sender_hash(name);
	struct relay_bucket *b = bucket_get(relay, scope, hash);
	if (b)
		return b;
	b = xcalloc(1, sizeof(*b));
	b->key = (struct relay_bucket_key){hash, (uint64_t)scope};
	b->name = slice_to_cstr(name);
	b->at_ms = clock_wall_ms();
	hashmap_put(relay->buckets, key_slice_of(&b->key), b);
	return b;
}

static bool
bucket_keep(struct slice key, void *value, void *arg)
{
	struct relay_bucket *b = value;
	(void)key;
	bucket_refresh(arg, b);
	if (b->reserved > 0 || b->used > 0 || b->changed)
		return true;
	free(b->name);
	free(b);
	return false;
}

/* ---- the loader's side ---- */

static bool
rule_seen(const struct relay_note *note, void *arg)
{
	struct relay *relay = arg;
	enum relay_rate_scope scope;
	struct slice rest = note->name;
	if (relay_rate_scope_parse(slice_split(&rest, ':'), &scope))
		relay->rates.any[scope] = true;
	return true;
}

void
relay_rates_read(struct relay *relay)
{
	relay->rates.look++;
	for (int i = 0; i < RELAY_RATE_SCOPES; i++)
		relay->rates.any[i] = false;
	relay->rates.any[RELAY_RATE_SITE] = service_conf(relay->service)->relay.rate > 0;
	enum status status = relay_note_each(
	    relay->reader, RELAY_NOTE_RATE, clock_wall_s(), rule_seen, relay);
	if (status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "rates"),
		    LF_STR("status", status_text(status)));
	if (hashmap_count(relay->buckets) > BUCKETS_KEPT)
		hashmap_each(relay->buckets, bucket_keep, relay);
}

static bool
has_room(const struct relay_bucket *b)
{
	return b->rate.count == 0 ||
	       b->reserved + 1 <= relay_rate_room(&b->rate, b->used, RELAY_RATE_AHEAD_S);
}

bool
relay_rate_is_near(struct relay *relay, enum relay_rate_scope scope, uint64_t hash)
{
	struct relay_bucket *b = bucket_get(relay, scope, hash);
	if (!b)
		return true;
	bucket_refresh(relay, b);
	return has_room(b);
}

bool
relay_rates_have_room(struct relay_bucket *const buckets[RELAY_RATE_OF_MESSAGE])
{
	for (int i = 0; i < RELAY_RATE_OF_MESSAGE; i++)
		if (buckets[i] && !has_room(buckets[i]))
			return false;
	return true;
}

void
relay_rates_of(struct relay *relay, const struct queue_message *message,
    struct slice domain, struct relay_bucket *out[RELAY_RATE_OF_MESSAGE])
{
	struct slice names[RELAY_RATE_OF_MESSAGE] = {
	    [RELAY_RATE_SITE] = domain,
	    [RELAY_RATE_SENDER] = queue_sender_name(message),
	    [RELAY_RATE_TENANT] = message->tenant,
	};
	for (int i = 0; i < RELAY_RATE_OF_MESSAGE; i++) {
		out[i] = NULL;
		if (!relay->rates.any[i] || names[i].len == 0)
			continue;
		struct relay_bucket *b =
		    bucket_make(relay, (enum relay_rate_scope)i, names[i]);
		bucket_refresh(relay, b);
		out[i] = b->rate.count ? b : NULL;
	}
}

void
relay_rates_reserve(
    struct relay_job *job, struct relay_bucket *const buckets[RELAY_RATE_OF_MESSAGE])
{
	for (int i = 0; i < RELAY_RATE_OF_MESSAGE; i++) {
		job->buckets[i] = buckets[i];
		if (buckets[i])
			buckets[i]->reserved++;
	}
}

void
relay_rates_release(struct relay_job *job)
{
	for (int i = 0; i < RELAY_RATE_OF_MESSAGE; i++) {
		if (job->buckets[i])
			job->buckets[i]->reserved--;
		job->buckets[i] = NULL;
	}
}

/* ---- the sites' side ---- */

static uint64_t
wait_of(struct relay *relay, struct relay_bucket *const *buckets, int count)
{
	uint64_t wait_ms = 0;
	for (int i = 0; i < count; i++) {
		struct relay_bucket *b = buckets[i];
		if (!b)
			continue;
		bucket_refresh(relay, b);
		uint64_t one_ms = relay_rate_wait_ms(&b->rate, b->used);
		wait_ms = one_ms > wait_ms ? one_ms : wait_ms;
	}
	return wait_ms;
}

static void
take_of(struct relay *relay, struct relay_bucket *const *buckets, int count)
{
	for (int i = 0; i < count; i++) {
		struct relay_bucket *b = buckets[i];
		if (!b)
			continue;
		b->used += 1;
		b->changed = true;
		save_later(relay);
	}
}

uint64_t
relay_rates_wait_ms(struct relay *relay, const struct relay_job *job)
{
	return wait_of(relay, job->buckets, RELAY_RATE_OF_MESSAGE);
}

bool
relay_rates_sender_waits(struct relay *relay, const struct relay_job *job)
{
	return wait_of(relay, &job->buckets[RELAY_RATE_SENDER], 1) > 0 ||
	       wait_of(relay, &job->buckets[RELAY_RATE_TENANT], 1) > 0;
}

void
relay_rates_take(struct relay *relay, struct relay_job *job)
{
	take_of(relay, job->buckets, RELAY_RATE_OF_MESSAGE);
	relay_rates_release(job);
}

/* ---- the connections' side ---- */

uint64_t
relay_rates_source(struct relay *relay, const char *address,
    struct relay_bucket *out[RELAY_RATE_OF_SOURCE])
{
	uint64_t wait_ms = 0;
	for (int i = 0; i < RELAY_RATE_OF_SOURCE; i++) {
		enum relay_rate_scope scope =
		    (enum relay_rate_scope)(RELAY_RATE_SOURCE + i);
		out[i] = NULL;
		if (!relay->rates.any[scope])
			continue;
		struct relay_bucket *b =
		    bucket_make(relay, scope, slice_from_cstr(address));
		bucket_refresh(relay, b);
		if (b->rate.count == 0)
			continue;
		/* Those that stand there will want one more each. */
		uint64_t one_ms = relay_rate_wait_ms(&b->rate, b->used + b->reserved);
		wait_ms = one_ms > wait_ms ? one_ms : wait_ms;
		out[i] = b;
	}
	return wait_ms;
}

void
relay_rates_source_hold(
    struct relay_bucket *const buckets[RELAY_RATE_OF_SOURCE], bool hold)
{
	for (int i = 0; i < RELAY_RATE_OF_SOURCE; i++)
		if (buckets[i])
			buckets[i]->reserved += hold ? 1 : -1U;
}

bool
relay_rates_source_may(
    struct relay *relay, struct relay_bucket *const buckets[RELAY_RATE_OF_SOURCE])
{
	return wait_of(relay, buckets, RELAY_RATE_OF_SOURCE) == 0;
}

void
relay_rates_source_take(
    struct relay *relay, struct relay_bucket *const buckets[RELAY_RATE_OF_SOURCE])
{
	take_of(relay, buckets, RELAY_RATE_OF_SOURCE);
}

/* Counts the job as one that goes; false: those before it have taken all room. */
static bool
claim(struct relay *relay, const struct relay_job *job)
{
	for (int i = 0; i < RELAY_RATE_OF_MESSAGE; i++) {
		struct relay_bucket *b = job->buckets[i];
		if (b && b->claim == relay->rates.claim && b->rate.count &&
		    relay_rate_wait_ms(&b->rate, b->used + b->claimed) > 0)
			return false;
	}
	for (int i = 0; i < RELAY_RATE_OF_MESSAGE; i++) {
		struct relay_bucket *b = job->buckets[i];
		if (!b)
			continue;
		if (b->claim != relay->rates.claim)
			b->claimed = 0;
		b->claim = relay->rates.claim;
		b->claimed++;
	}
	return true;
}

struct ready {
	size_t count, max, looked;
	uint64_t wait_ms;
};

/* False: enough is known. */
static bool
line_ready(struct relay *relay, const struct relay_line *line, struct ready *r)
{
	LIST_EACH(&line->jobs, node)
	{
		const struct relay_job *job = LIST_ENTRY(node, struct relay_job, node);
		if (r->count == r->max || r->looked++ == RELAY_RATE_LOOK_MAX)
			return false;
		uint64_t wait_ms = relay_rates_wait_ms(relay, job);
		if (wait_ms == 0 && claim(relay, job))
			r->count++;
		else if (wait_ms < r->wait_ms)
			r->wait_ms = wait_ms;
		/* The others of the line wait at least as long. */
		if (wait_ms > 0 && relay_rates_sender_waits(relay, job))
			return true;
	}
	return true;
}

size_t
relay_rates_ready(struct relay_site *site, size_t max, uint64_t *out_wait_ms)
{
	struct relay *relay = site->relay;
	struct ready r = {.max = max, .wait_ms = UINT64_MAX};
	bool more = true;
	relay->rates.claim++;
	LIST_EACH(&site->turns, node)
	{
		struct relay_turn *turn = LIST_ENTRY(node, struct relay_turn, node);
		LIST_EACH(&turn->lines, at)
		{
			const struct relay_line *line =
			    LIST_ENTRY(at, struct relay_line, node);
			more = more && line_ready(relay, line, &r);
		}
		if (!more)
			break;
	}
	*out_wait_ms = r.wait_ms;
	return r.count;
}

/* ---- over a restart ---- */

static bool
changed_note(struct slice key, void *value, void *arg)
{
	struct relay_bucket *b = value;
	struct save *save = arg;
	struct buf name AUTO_BUF;
	struct buf text AUTO_BUF;
	(void)key;
	buf_init(&name, RELAY_NOTE_NAME_MAX);
	buf_init(&text, RELAY_NOTE_TEXT_MAX);
	if (!b->changed)
		return true;
	b->changed = false;
	if (!relay_rate_name(
		(enum relay_rate_scope)b->key.scope, slice_from_cstr(b->name), &name))
		return true;
	relay_rate_used_write(b->used, b->at_ms, &text);
	int64_t now_s = clock_wall_s();
	struct relay_note note = {
	    .name = arena_copy(save->arena, buf_slice(&name)),
	    .created_s = now_s,
	    /* By then all of it has flowed back. */
	    .expires_s = now_s + b->rate.period_s + 1,
	    .text = arena_copy(save->arena, buf_slice(&text)),
	};
	if (note.name.ptr && note.text.ptr)
		save->notes[save->op.count++] = note;
	return true;
}

static void
saved(struct store_op *op)
{
	struct save *save = op->user;
	struct relay *relay = save->relay;
	if (op->status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "rates used"),
		    LF_STR("status", status_text(op->status)));
	arena_free(&save->arena);
	free(save->notes);
	free(save);
	relay->rates.saving = false;
	if (relay->rates.changed)
		save_later(relay);
}

static void
save_now(void *arg)
{
	struct relay *relay = arg;
	if (relay->stopping || relay->rates.saving)
		return;
	struct save *save = xcalloc(1, sizeof(*save));
	save->relay = relay;
	save->arena = arena_new(SAVE_ARENA_MAX);
	save->notes = xcalloc(hashmap_count(relay->buckets) + 1, sizeof(*save->notes));
	relay->rates.changed = false;
	relay->rates.waiting = false;
	relay->rates.saving = true;
	hashmap_each(relay->buckets, changed_note, save);
	save->op.op.done = saved;
	save->op.op.user = save;
	save->op.table = RELAY_NOTE_USED;
	save->op.notes = save->notes;
	save->op.now_s = clock_wall_s();
	relay_note_submit(relay->reader, &save->op);
}

static void
save_later(struct relay *relay)
{
	relay->rates.changed = true;
	/* What comes meanwhile is noted when the one under way is done. */
	if (relay->rates.saving || relay->rates.waiting)
		return;
	relay->rates.waiting = true;
	loop_timer_start(relay->loop, &relay->rates.timer, SAVE_MS, save_now, relay);
}

static bool
used_note(const struct relay_note *note, void *arg)
{
	struct relay *relay = arg;
	enum relay_rate_scope scope;
	double used;
	int64_t at_ms;
	struct slice name = note->name;
	if (!relay_rate_scope_parse(slice_split(&name, ':'), &scope) || name.len == 0 ||
	    !relay_rate_used_read(note->text, &used, &at_ms))
		return true;
	/* It flows back from then on, when its rate is known. */
	struct relay_bucket *b = bucket_make(relay, scope, name);
	enum status status = relay_rate_find(
	    relay->reader, service_conf(relay->service), scope, name, &b->rate);
	b->used = status == STATUS_OK ? used : 0;
	b->at_ms = at_ms;
	return true;
}

void
relay_rates_start(struct relay *relay)
{
	relay_rates_read(relay);
	enum status status = relay_note_each(
	    relay->reader, RELAY_NOTE_USED, clock_wall_s(), used_note, relay);
	if (status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "rates used"),
		    LF_STR("status", status_text(status)));
}

void
relay_rates_stop(struct relay *relay)
{
	loop_timer_stop(&relay->rates.timer);
}
