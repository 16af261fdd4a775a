/*
 * Transactions: a reader's snapshots, the writer's one transaction, and raw cursors.
 *
 * A reader keeps one read transaction an environment and resets it at reader_end, so that
 * the next turn renews it without taking a slot of the reader table anew.
 */
#include "base/clock.h"
#include "store/engine_lmdb_int.h"

static MDB_val
val(struct slice s)
{
	return (MDB_val){s.len, (void *)(uintptr_t)(s.ptr ? s.ptr : "")};
}

static struct slice
val_slice(MDB_val v)
{
	return slice_make(v.mv_data, v.mv_size);
}

static struct lmdb_env *
txn_env(const struct engine_txn *txn)
{
	return (struct lmdb_env *)txn->env;
}

static MDB_txn *
txn_mdb(const struct engine_txn *txn)
{
	return ((const struct lmdb_txn *)txn)->mdb;
}

/* ---- readers ---- */

struct engine_reader *
lmdb_reader_new(struct engine *base)
{
	struct lmdb_engine *engine = (struct lmdb_engine *)base;
	struct lmdb_reader *reader = xcalloc(1, sizeof *reader);
	reader->reader.engine = base;
	pthread_mutex_lock(&engine->readers_lock);
	list_append(&engine->readers, &reader->node);
	pthread_mutex_unlock(&engine->readers_lock);
	return &reader->reader;
}

void
lmdb_reader_end(struct engine_reader *base)
{
	struct lmdb_reader *reader = (struct lmdb_reader *)base;
	struct lmdb_engine *engine = (struct lmdb_engine *)base->engine;
	while (reader->used) {
		struct lmdb_txn *snap = reader->used;
		ENSURE(snap->txn.cursors_open == 0); /* they would point nowhere */
		snap->txn.magic = 0;
		reader->used = snap->next;
		snap->next = reader->spare;
		reader->spare = snap;
	}
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + engine->engine.shards; i++) {
		if (!reader->open[i])
			continue;
		mdb_txn_reset(reader->txns[i]);
		reader->open[i] = false;
		atomic_store_explicit(&reader->begin_ms[i], 0, memory_order_relaxed);
		lmdb_txn_leave(&engine->envs[i]);
	}
}

void
lmdb_reader_free(struct engine_reader *base)
{
	struct lmdb_reader *reader = (struct lmdb_reader *)base;
	struct lmdb_engine *engine = (struct lmdb_engine *)base->engine;
	pthread_mutex_lock(&engine->readers_lock);
	list_remove(&reader->node);
	pthread_mutex_unlock(&engine->readers_lock);
	for (size_t i = 0; i < ENGINE_ENVS_MAX; i++) {
		if (reader->txns[i])
			mdb_txn_abort(reader->txns[i]);
	}
	while (reader->spare) {
		struct lmdb_txn *snap = reader->spare;
		reader->spare = snap->next;
		free(snap);
	}
	free(reader);
}

enum status
lmdb_snap(struct engine_reader *base, struct engine_env *base_env,
    struct partition_id part, struct engine_txn **out)
{
	struct lmdb_reader *reader = (struct lmdb_reader *)base;
	uint32_t i = base_env->index;
	if (!reader->open[i]) {
		enum status status = lmdb_txn_enter(
		    (struct lmdb_env *)base_env, MDB_RDONLY, &reader->txns[i]);
		if (status != STATUS_OK)
			return status;
		reader->open[i] = true;
		atomic_store_explicit(
		    &reader->begin_ms[i], clock_mono_ms(), memory_order_relaxed);
	}
	/* A command asks for the same account again and again. */
	if (reader->used && reader->used->txn.env == base_env &&
	    memcmp(&reader->used->txn.part, &part, sizeof part) == 0) {
		*out = &reader->used->txn;
		return STATUS_OK;
	}
	struct lmdb_txn *snap = reader->spare;
	if (snap)
		reader->spare = snap->next;
	else
		snap = xcalloc(1, sizeof *snap);
	engine_txn_init(&snap->txn, base_env, false);
	snap->txn.part = part;
	snap->mdb = reader->txns[i];
	snap->next = reader->used;
	reader->used = snap;
	*out = &snap->txn;
	return STATUS_OK;
}

uint64_t
lmdb_oldest_reader_age_ms(const struct engine *base)
{
	struct lmdb_engine *engine = (struct lmdb_engine *)(uintptr_t)base;
	uint64_t oldest = 0, now = clock_mono_ms();
	pthread_mutex_lock(&engine->readers_lock);
	LIST_EACH(&engine->readers, node)
	{
		struct lmdb_reader *reader = LIST_ENTRY(node, struct lmdb_reader, node);
		for (size_t i = 0; i < ENGINE_ENVS_MAX; i++) {
			uint64_t begin = atomic_load_explicit(
			    &reader->begin_ms[i], memory_order_relaxed);
			if (begin != 0 && begin < now && now - begin > oldest)
				oldest = now - begin;
		}
	}
	pthread_mutex_unlock(&engine->readers_lock);
	return oldest;
}

/* ---- keys ---- */

enum status
lmdb_get(struct engine_txn *txn, struct slice full, struct slice *out)
{
	MDB_val key = val(full), value;
	int rc = mdb_get(txn_mdb(txn), txn_env(txn)->kv, &key, &value);
	if (rc == 0)
		*out = val_slice(value);
	return lmdb_status(rc);
}

enum status
lmdb_put(struct engine_txn *txn, struct slice full, struct slice bytes)
{
	MDB_val key = val(full), value = val(bytes);
	return lmdb_status(mdb_put(txn_mdb(txn), txn_env(txn)->kv, &key, &value, 0));
}

enum status
lmdb_del(struct engine_txn *txn, struct slice full)
{
	MDB_val key = val(full);
	return lmdb_status(mdb_del(txn_mdb(txn), txn_env(txn)->kv, &key, NULL));
}

enum status
lmdb_raw_open(struct engine_txn *txn, void **out)
{
	MDB_cursor *cursor = NULL;
	int rc = mdb_cursor_open(txn_mdb(txn), txn_env(txn)->kv, &cursor);
	*out = cursor;
	return lmdb_status(rc);
}

enum status
lmdb_raw_move(void *raw, enum raw_move move, struct slice full, struct slice *out_full,
    struct slice *out_value)
{
	MDB_cursor *cursor = raw;
	MDB_val key = val(full), value;
	int rc;
	switch (move) {
	case RAW_AT_OR_AFTER:
		rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
		break;
	case RAW_BEFORE:
		rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
		if (rc == 0)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
		else if (rc == MDB_NOTFOUND)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
		break;
	case RAW_NEXT:
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		break;
	case RAW_PREV:
		rc = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
		break;
	default:
		UNREACHABLE();
	}
	if (rc == 0) {
		*out_full = val_slice(key);
		*out_value = val_slice(value);
	}
	return lmdb_status(rc);
}

void
lmdb_raw_close(void *raw)
{
	mdb_cursor_close(raw);
}

/* ---- the writer's transaction ---- */

enum status
lmdb_begin(struct engine_env *base, struct engine_txn **out)
{
	struct lmdb_env *env = (struct lmdb_env *)base;
	engine_txn_init(&env->write.txn, base, true);
	env->delta_count = 0;
	env->write.mdb = NULL;
	*out = &env->write.txn;
	return lmdb_txn_enter(env, 0, &env->write.mdb);
}

void
lmdb_abort(struct engine_env *base)
{
	struct lmdb_env *env = (struct lmdb_env *)base;
	mdb_txn_abort(env->write.mdb);
	env->write.mdb = NULL;
	lmdb_txn_leave(env);
}

enum status
lmdb_commit(struct engine_env *base)
{
	struct lmdb_env *env = (struct lmdb_env *)base;
	size_t cleared = 0;
	enum status status = lmdb_deltas_flush(env);
	if (status == STATUS_OK)
		status = redo_clear(env, env->write.mdb, &cleared);
	if (status != STATUS_OK) {
		lmdb_abort(base);
		return status;
	}
	status = lmdb_txn_commit(env, env->write.mdb);
	if (status == STATUS_OK)
		redo_cleared(env, cleared);
	env->write.mdb = NULL;
	lmdb_txn_leave(env);
	atomic_fetch_add_explicit(&base->engine->syncs, 1, memory_order_relaxed);
	return status;
}
