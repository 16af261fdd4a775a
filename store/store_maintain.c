/*
 * Reclaiming: what was expunged longer than undelete_days ago is purged, change logs are
 * trimmed, what POP3 fetched goes after its days, partitions of removed accounts are
 * emptied, empty segments go and those with much dead space are compacted (decision
 * 0021).
 *
 * T keys are a queue by time.  Two ends run along it: A.purged_to, up to which X records
 * are gone and their bodies released, and its beginning, before which expunged C entries
 * are trimmed too.  The log is kept for at least LOG_DAYS_MIN, so that a client that was
 * away for some weeks still synchronises by QRESYNC.
 *
 * Every step is one bounded commit that looks again at what it is to do, so processes may
 * call it at the same time.
 */
#include "store/store_maintain.h"

#include <stdlib.h>

#include "base/clock.h"
#include "store/mailbox_int.h"
#include "store/pop3_int.h"
#include "store/search_int.h"
#include "store/store_int.h"
#include "store/store_maintain_int.h"

enum {
	DAY_S = 24 * 3600,
	LOG_DAYS_MIN = 60,
	STEP_RECORDS_MAX = 512,   /* records that one commit looks at */
	CALL_STEPS_MAX = 32,      /* commits of one call */
	CALL_ACCOUNTS_MAX = 2000, /* accounts looked at by one call */
	ORPHAN_AGE_MIN_S = 3600,  /* a partition without an entry may be being made */
	COMPACT_BYTES_MAX = 8 * 1024 * 1024, /* moved by one call */
	COMPACT_DEAD_PERCENT = 15, /* of segments: files stay below 1.18 of what lives */
};

struct trim {
	int64_t purge_before_s;
	int64_t log_before_s;
	struct vec entries; /* struct trim_entry */
};

struct trim_entry {
	struct time_key time;
	uint64_t modseq;
};

/* ---- one account ---- */
static enum status
trim_gather(struct engine_txn *txn, int64_t from_s, int64_t before_s, struct vec *out)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	out->count = 0;
	if (from_s >= before_s)
		return STATUS_OK;
	key_time(&from, from_s, 0, 0);
	key_time(&to, before_s, 0, 0);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct trim_entry entry;
		if (!key_time_decode(key, &entry.time) || value.len != 8) {
			status = STATUS_CORRUPT;
			break;
		}
		/* A whole second at a time, since purged_to is one. */
		const struct trim_entry *all = out->ptr;
		if (out->count >= STEP_RECORDS_MAX &&
		    all[out->count - 1].time.time_s != entry.time.time_s)
			break;
		entry.modseq = be64_get(value.ptr);
		struct trim_entry *at = vec_push(out, sizeof(*at));
		if (!at) {
			status = STATUS_LIMIT;
			break;
		}
		*at = entry;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status
purge_one(struct engine_txn *txn, const struct trim_entry *entry)
{
	struct key key;
	struct slice value;
	struct message_record message;
	int64_t time_s;
	key_message(&key, KEY_EXPUNGED, entry->time.mailbox, entry->time.uid);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK; /* it came back */
	if (status != STATUS_OK)
		return status;
	if (!expunged_decode(value, entry->time.uid, &message, &time_s))
		return STATUS_CORRUPT;
	engine_del(txn, key_slice(&key));
	return engine_body_release(txn, message.body);
}

static enum status
commit_purge(struct engine_txn *txn, void *arg)
{
	struct trim *trim = arg;
	struct account_state account;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = trim_gather(
		    txn, account.purged_to_s, trim->purge_before_s, &trim->entries);
	if (status != STATUS_OK)
		return status;
	const struct trim_entry *entries = trim->entries.ptr;
	size_t count = trim->entries.count;
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = purge_one(txn, &entries[i]);
	if (status != STATUS_OK)
		return status;
	int64_t to = count >= STEP_RECORDS_MAX ? entries[count - 1].time.time_s + 1
	                                       : trim->purge_before_s;
	if (to > account.purged_to_s) {
		account.purged_to_s = to;
		account_save(txn, &account);
	}
	return engine_txn_status(txn);
}

static enum status
trim_one(struct engine_txn *txn, const struct trim_entry *entry)
{
	struct key key;
	struct mailbox_state box;
	key_time(&key, entry->time.time_s, entry->time.mailbox, entry->time.uid);
	engine_del(txn, key_slice(&key));
	enum status status = state_load(txn, entry->time.mailbox, &box);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	key_change(&key, entry->time.mailbox, entry->modseq, entry->time.uid);
	engine_del(txn, key_slice(&key));
	if (entry->modseq > box.horizon) {
		box.horizon = entry->modseq;
		state_save(txn, &box);
	}
	return STATUS_OK;
}

static enum status
commit_trim(struct engine_txn *txn, void *arg)
{
	struct trim *trim = arg;
	struct account_state account;
	enum status status = account_load(txn, &account);
	/* Never before X is purged: T is the only way to it. */
	int64_t before_s = trim->log_before_s;
	if (status == STATUS_OK && before_s > account.purged_to_s)
		before_s = account.purged_to_s;
	if (status == STATUS_OK)
		status = trim_gather(txn, 0, before_s, &trim->entries);
	const struct trim_entry *entries = trim->entries.ptr;
	for (size_t i = 0; i < trim->entries.count && status == STATUS_OK; i++)
		status = trim_one(txn, &entries[i]);
	return status == STATUS_OK ? engine_txn_status(txn) : status;
}

/* Is there a T in [from_s, before_s)? */
static bool
has_time(struct engine_txn *txn, int64_t from_s, int64_t before_s)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	if (from_s >= before_s)
		return false;
	key_time(&from, from_s, 0, 0);
	key_time(&to, before_s, 0, 0);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	bool has = engine_cursor_next(cursor, &key, &value) == STATUS_OK;
	engine_cursor_close(&cursor);
	return has;
}

struct call {
	struct store *store;
	struct store_reader *reader;
	int64_t now_s;
	unsigned steps; /* left */
	struct trim trim;
	struct pop3_retention retention;
};

static enum status
call_commit(struct call *call, struct partition_id part, engine_commit_fn fn, void *arg)
{
	call->steps -= call->steps > 0;
	return store_commit_wait(call->reader, part, fn, arg);
}

/* What an account needs, seen in one snapshot.  False: it is not there or damaged. */
static bool
account_look(struct call *call, struct partition_id part, bool *out_purge, bool *out_trim,
    bool *out_retention, int64_t *out_created_s)
{
	struct account_id id;
	struct engine_txn *txn;
	struct account_state account;
	if (engine_snap(call->reader->engine, part, &txn) != STATUS_OK ||
	    account_load(txn, &account) != STATUS_OK)
		return false;
	*out_created_s = account.created_s;
	*out_purge = has_time(txn, account.purged_to_s, call->trim.purge_before_s);
	*out_trim = has_time(txn, 0, call->trim.log_before_s);
	memcpy(id.v, part.v, sizeof(id.v));
	*out_retention =
	    pop3_retention_due(call->reader, id, txn, call->now_s, &call->retention);
	return true;
}

/* An account partition that no directory entry leads to gets a G mark. */
static enum status
commit_orphan(struct engine_txn *txn, void *arg)
{
	const struct partition_id *part = arg;
	struct slice id = slice_make((const char *)part->v, sizeof(part->v));
	struct slice value;
	struct key key;
	char version = STORE_RECORD_VERSION;
	key_name(&key, KEY_LOGIN_BACK, id);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_NOT_FOUND)
		return status;
	key_name(&key, KEY_GONE, id);
	engine_put(txn, key_slice(&key), slice_make(&version, 1));
	return engine_txn_status(txn);
}

static bool
has_entry(struct call *call, struct partition_id part)
{
	struct engine_txn *txn;
	struct slice value;
	struct key key;
	key_name(&key, KEY_LOGIN_BACK, slice_make((const char *)part.v, sizeof(part.v)));
	/* When in doubt: yes. */
	return engine_snap(call->reader->engine, partition_directory(), &txn) !=
	           STATUS_OK ||
	       engine_get(txn, key_slice(&key), &value) != STATUS_NOT_FOUND;
}

static void
account_care(struct call *call, struct partition_id part)
{
	bool purge;
	bool trim;
	bool retention;
	int64_t created_s;
	enum status status = STATUS_OK;
	while (call->steps && status == STATUS_OK &&
	       account_look(call, part, &purge, &trim, &retention, &created_s)) {
		if (purge)
			status = call_commit(call, part, commit_purge, &call->trim);
		else if (trim)
			status = call_commit(call, part, commit_trim, &call->trim);
		else if (retention)
			status = call_commit(
			    call, part, commit_pop3_retention, &call->retention);
		else if (created_s + ORPHAN_AGE_MIN_S < call->now_s &&
			 !has_entry(call, part))
			status = call_commit(
			    call, partition_directory(), commit_orphan, &part);
		else
			break;
		if (!purge && !trim && !retention)
			break;
	}
	store_reader_end(call->reader);
}

/* ---- accounts that are gone ---- */
struct emptying {
	struct account_id id;
	bool more;
};

/* Up to STEP_RECORDS_MAX messages with their bodies; when there are none left, the search
 * index segment by segment, then all the other keys at once. */
static enum status
commit_empty(struct engine_txn *txn, void *arg)
{
	struct emptying *emptying = arg;
	static const char classes[] = {KEY_MESSAGE, KEY_EXPUNGED};
	struct account_state account;
	struct slice key;
	struct slice value;
	struct key from;
	struct key to;
	enum status status = account_load(txn, &account);
	emptying->more = false;
	if (status == STATUS_OK) {
		/* First of all nothing may be added any more. */
		account.removed = true;
		account_save(txn, &account);
		emptying->more = true;
		return engine_txn_status(txn);
	}
	struct vec bodies = {NULL, 0, 0};
	struct vec keys = {NULL, 0, 0};
	for (size_t c = 0; c < sizeof(classes) && !bodies.count; c++) {
		key_begin(&from, classes[c]);
		key_begin(&to, (char)(classes[c] + 1));
		struct engine_cursor *cursor =
		    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
		while (bodies.count < STEP_RECORDS_MAX &&
		       (status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
			struct message_record message;
			if (key.len != 9 ||
			    !message_decode(
				slice_sub(value, 0, MESSAGE_SIZE), 0, &message))
				continue; /* what is damaged goes with the rest */
			struct key *kept_key = vec_push(&keys, sizeof(*kept_key));
			uint64_t *body = vec_push(&bodies, sizeof(*body));
			ENSURE(kept_key && body);
			key_begin(kept_key, classes[c]);
			key_bytes(kept_key, slice_from(key, 1));
			*body = message.body;
		}
		engine_cursor_close(&cursor);
	}
	status = STATUS_OK;
	emptying->more = bodies.count > 0;
	for (size_t i = 0; i < bodies.count && status == STATUS_OK; i++) {
		engine_del(txn, key_slice(&((struct key *)keys.ptr)[i]));
		status = engine_body_release(txn, ((uint64_t *)bodies.ptr)[i]);
		if (status == STATUS_NOT_FOUND)
			status = STATUS_OK;
	}
	vec_fini(&bodies);
	vec_fini(&keys);
	if (status == STATUS_OK && !emptying->more)
		emptying->more = search_drop_step(txn);
	if (status == STATUS_OK && !emptying->more)
		engine_del_range(txn, slice_make("", 1), SLICE_NULL);
	return status == STATUS_OK ? engine_txn_status(txn) : status;
}

static enum status
commit_gone_done(struct engine_txn *txn, void *arg)
{
	const struct emptying *emptying = arg;
	struct key key;
	key_name(&key, KEY_GONE,
	    slice_make((const char *)emptying->id.v, sizeof(emptying->id.v)));
	engine_del(txn, key_slice(&key));
	return engine_txn_status(txn);
}

enum status
account_empty_step(struct store *store, struct account_id id, bool *out_more)
{
	struct emptying emptying = {.id = id};
	enum status status = engine_commit_wait(
	    store->engine, partition_account(id), commit_empty, &emptying, NULL);
	if (status == STATUS_OK && !emptying.more)
		status = engine_commit_wait(store->engine, partition_directory(),
		    commit_gone_done, &emptying, NULL);
	if (status == STATUS_OK)
		*out_more = emptying.more;
	return status;
}

/* The first account with a G mark. */
static bool
first_gone(struct call *call, struct account_id *out)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	bool found = false;
	if (engine_snap(call->reader->engine, partition_directory(), &txn) != STATUS_OK)
		return false;
	key_begin(&from, KEY_GONE);
	key_begin(&to, KEY_GONE + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	if (engine_cursor_next(cursor, &key, &value) == STATUS_OK &&
	    key.len == 1 + sizeof(out->v)) {
		memcpy(out->v, key.ptr + 1, sizeof(out->v));
		found = true;
	}
	engine_cursor_close(&cursor);
	store_reader_end(call->reader);
	return found;
}

/* ---- the call ---- */
struct pick {
	uint64_t skip; /* partitions that earlier calls have looked at */
	struct vec parts;
	bool more;
};

static bool
pick_part(struct partition_id part, void *arg)
{
	struct pick *pick = arg;
	if (pick->skip) {
		pick->skip--;
		return true;
	}
	pick->more = pick->parts.count == CALL_ACCOUNTS_MAX;
	struct partition_id *at = pick->more ? NULL : vec_push(&pick->parts, sizeof(*at));
	if (!at)
		return false;
	*at = part;
	return true;
}

/* Goes on where the last call stopped; true when not all accounts have been seen. */
static bool
care_for_accounts(struct call *call)
{
	struct store *store = call->store;
	struct pick pick = {.skip = store->maintain_at};
	size_t seen = 0;
	enum status status = engine_partition_each(
	    call->reader->engine, PARTITION_ACCOUNT, pick_part, &pick);
	store_reader_end(call->reader);
	const struct partition_id *parts = pick.parts.ptr;
	while (status == STATUS_OK && seen < pick.parts.count && call->steps)
		account_care(call, parts[seen++]);
	bool more = pick.more || seen < pick.parts.count || call->steps == 0;
	/* The last one may need more steps: look at it again. */
	if (call->steps == 0 && seen)
		seen--;
	store->maintain_at = more ? store->maintain_at + seen : 0;
	vec_fini(&pick.parts);
	return more;
}

bool
store_maintain(struct store *store, int64_t now_s)
{
	struct account_id gone;
	struct call call = {
	    .store = store,
	    .now_s = now_s,
	    .steps = CALL_STEPS_MAX,
	};
	int64_t log_days =
	    store->undelete_days > LOG_DAYS_MIN ? store->undelete_days : LOG_DAYS_MIN;
	call.trim.purge_before_s = now_s - (int64_t)store->undelete_days * DAY_S;
	call.trim.log_before_s = now_s - log_days * DAY_S;
	pthread_mutex_lock(&store->maintain_mutex);
	call.reader = store_reader_new(store, NULL, NULL);
	while (call.steps && first_gone(&call, &gone)) {
		bool more = true;
		enum status status = STATUS_OK;
		while (call.steps && more && status == STATUS_OK) {
			call.steps--;
			status = account_empty_step(store, gone, &more);
		}
		if (status != STATUS_OK)
			break;
	}
	bool more = care_for_accounts(&call);
	vec_fini(&call.trim.entries);
	vec_fini(&call.retention.entries);
	store_reader_free(&call.reader);
	pthread_mutex_unlock(&store->maintain_mutex);
	struct engine_reclaim reclaim = {0};
	engine_maintain(store->engine);
	/* Without room the next call tries again: deletes may have made some. */
	enum status status = engine_compact(
	    store->engine, COMPACT_BYTES_MAX, COMPACT_DEAD_PERCENT, &reclaim);
	return more || (status == STATUS_OK && reclaim.more);
}
