/*
 * The generic half of the engine: which environment a partition lives in, checked keys
 * and values, the sticky status of a transaction, partition versions, walks over
 * partitions and body verification.  Everything else is a call through engine_ops.
 * Cursors are in engine_cursor.c, the writer in engine_writer.c.  Any thread, under
 * engine.h's rules.
 */
#include "store/engine.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/hashmap.h"
#include "store/engine_int.h"

static const char VERSION_KEY[1] = {0};

void
engine_init(struct engine *engine, const struct engine_ops *ops, uint32_t shards)
{
	ENSURE(shards >= 1 && shards <= ENGINE_SHARDS_MAX);
	engine->magic = ENGINE_MAGIC;
	engine->ops = ops;
	engine->shards = shards;
}

void
engine_close(struct engine **engine)
{
	if (!*engine)
		return;
	struct engine *e = OBJ_CAST(engine, *engine, ENGINE_MAGIC);
	*engine = NULL;
	for (uint32_t i = 0; i < ENGINE_ENVS_MAX; i++) {
		if (e->envs[i])
			engine_writer_fini(e->envs[i]);
	}
	engine_watcher_close(&e->watcher);
	e->magic = 0;
	e->ops->close(e);
}

uint32_t
engine_shards(const struct engine *engine)
{
	return engine->shards;
}

uint32_t
engine_shard_of(const struct engine *engine, struct partition_id part)
{
	struct slice id = slice_make((const char *)part.v, sizeof part.v);
	return (uint32_t)(hash_stable(id) % engine->shards);
}

struct engine_env *
engine_env_of(const struct engine *engine, struct partition_id part)
{
	switch (part.v[0]) {
	case PARTITION_DIRECTORY:
		return engine->envs[ENGINE_ENV_DIRECTORY];
	case PARTITION_QUEUE:
		return engine->envs[ENGINE_ENV_QUEUE];
	case PARTITION_ACCOUNT:
		return engine->envs[ENGINE_ENV_SHARD + engine_shard_of(engine, part)];
	default:
		UNREACHABLE();
	}
}

/* ---- readers ---- */

struct engine_reader *
engine_reader_new(struct engine *engine)
{
	return engine->ops->reader_new(engine);
}

void
engine_reader_free(struct engine_reader **reader)
{
	if (!*reader)
		return;
	struct engine *engine = (*reader)->engine;
	engine->ops->reader_end(*reader);
	engine->ops->reader_free(*reader);
	*reader = NULL;
}

void
engine_reader_end(struct engine_reader *reader)
{
	reader->engine->ops->reader_end(reader);
}

enum status
engine_snap(
    struct engine_reader *reader, struct partition_id part, struct engine_txn **out)
{
	struct engine *engine = reader->engine;
	return engine->ops->snap(reader, engine_env_of(engine, part), part, out);
}

/* ---- keys and values ---- */

void
engine_txn_init(struct engine_txn *txn, struct engine_env *env, bool writable)
{
	memset(txn, 0, sizeof *txn);
	txn->magic = ENGINE_TXN_MAGIC;
	txn->engine = env->engine;
	txn->env = env;
	txn->writable = writable;
}

struct slice
engine_full_key(char *out, struct partition_id part, struct slice key)
{
	memcpy(out, part.v, sizeof part.v);
	if (key.len > 0)
		memcpy(out + sizeof part.v, key.ptr, key.len);
	return slice_make(out, sizeof part.v + key.len);
}

static bool
key_is_valid(struct slice key)
{
	return key.len >= 1 && key.len <= ENGINE_KEY_MAX && key.ptr[0] != 0;
}

static void
txn_fail(struct engine_txn *txn, enum status status)
{
	if (txn->status == STATUS_OK)
		txn->status = status;
}

enum status
engine_get(struct engine_txn *txn, struct slice key, struct slice *out_value)
{
	*out_value = SLICE_NULL;
	if (!key_is_valid(key))
		return STATUS_NOT_FOUND;
	char full[ENGINE_FULL_KEY_MAX];
	enum status status =
	    txn->engine->ops->get(txn, engine_full_key(full, txn->part, key), out_value);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND && txn->writable)
		txn_fail(txn, status);
	return status;
}

void
engine_put(struct engine_txn *txn, struct slice key, struct slice value)
{
	ENSURE(txn->writable);
	if (txn->status != STATUS_OK)
		return;
	if (!key_is_valid(key) || value.len > ENGINE_VALUE_MAX) {
		txn_fail(txn, STATUS_LIMIT);
		return;
	}
	char full[ENGINE_FULL_KEY_MAX];
	txn->writes++;
	txn_fail(txn,
	    txn->engine->ops->put(txn, engine_full_key(full, txn->part, key), value));
}

void
engine_del(struct engine_txn *txn, struct slice key)
{
	ENSURE(txn->writable);
	if (txn->status != STATUS_OK || !key_is_valid(key))
		return;
	char full[ENGINE_FULL_KEY_MAX];
	enum status status =
	    txn->engine->ops->del(txn, engine_full_key(full, txn->part, key));
	if (status == STATUS_NOT_FOUND)
		return;
	txn->writes++;
	txn_fail(txn, status);
}

uint64_t
engine_del_range(struct engine_txn *txn, struct slice from, struct slice to)
{
	ENSURE(txn->writable);
	uint64_t count = 0;
	struct engine_cursor *cursor = engine_cursor_open(txn, from, to, false);
	struct slice key, value;
	while (txn->status == STATUS_OK &&
	       engine_cursor_next(cursor, &key, &value) == STATUS_OK) {
		/* The key points into the map, which the deletion may change. */
		char copy[ENGINE_KEY_MAX];
		memcpy(copy, key.ptr, key.len);
		engine_del(txn, slice_make(copy, key.len));
		count++;
	}
	engine_cursor_close(&cursor);
	return count;
}

enum status
engine_txn_status(const struct engine_txn *txn)
{
	return txn->status;
}

uint64_t
engine_version(struct engine_txn *txn)
{
	char full[ENGINE_FULL_KEY_MAX];
	struct slice value;
	enum status status = txn->engine->ops->get(
	    txn, engine_full_key(full, txn->part, slice_make(VERSION_KEY, 1)), &value);
	return status == STATUS_OK && value.len == 8 ? be64_get(value.ptr) : 0;
}

void
engine_txn_version_bump(struct engine_txn *txn)
{
	char full[ENGINE_FULL_KEY_MAX];
	char value[8];
	be64_put(value, engine_version(txn) + 1);
	txn->writes++;
	txn_fail(txn, txn->engine->ops->put(txn,
			  engine_full_key(full, txn->part, slice_make(VERSION_KEY, 1)),
			  slice_make(value, sizeof value)));
}

/* ---- bodies ---- */

enum status
engine_body_attach(struct engine_txn *txn, struct body_draft *draft, uint64_t *out_body)
{
	ENSURE(txn->writable);
	*out_body = 0;
	if (txn->status != STATUS_OK)
		return txn->status;
	ENSURE(draft->sealed);
	txn->writes++;
	txn_fail(txn, txn->engine->ops->body_attach(txn, draft, out_body));
	return txn->status;
}

/* A body that is not there is the caller's to judge: nothing was written then. */
static enum status
body_count(struct engine_txn *txn, uint64_t body, int delta)
{
	ENSURE(txn->writable);
	if (txn->status != STATUS_OK)
		return txn->status;
	enum status status = txn->engine->ops->body_count(txn, body, delta);
	if (status == STATUS_NOT_FOUND)
		return status;
	txn->writes++;
	txn_fail(txn, status);
	return status;
}

enum status
engine_body_ref(struct engine_txn *txn, uint64_t body)
{
	return body_count(txn, body, 1);
}

enum status
engine_body_release(struct engine_txn *txn, uint64_t body)
{
	return body_count(txn, body, -1);
}

enum status
engine_body_set_derived(struct engine_txn *txn, uint64_t body, struct slice derived)
{
	ENSURE(txn->writable);
	if (txn->status != STATUS_OK)
		return txn->status;
	struct engine_body stat;
	enum status status = txn->engine->ops->body_stat(txn, body, &stat);
	if (status != STATUS_OK)
		return status;
	txn->writes++;
	txn_fail(txn, txn->engine->ops->body_set_derived(txn, body, derived));
	return txn->status;
}

enum status
engine_body_stat(struct engine_txn *txn, uint64_t body, struct engine_body *out)
{
	return txn->engine->ops->body_stat(txn, body, out);
}

enum status
engine_body_derived(struct engine_txn *txn, uint64_t body, struct slice *out)
{
	*out = SLICE_NULL;
	return txn->engine->ops->body_derived(txn, body, out);
}

enum status
engine_body_open(struct engine_txn *txn, uint64_t body, struct body_handle *out)
{
	memset(out, 0, sizeof *out);
	out->fd = -1;
	return txn->engine->ops->body_open(txn, body, false, out);
}

enum status
engine_body_verify(struct engine_txn *txn, uint64_t body)
{
	struct engine_body stat;
	enum status status = engine_body_stat(txn, body, &stat);
	if (status != STATUS_OK)
		return status;
	struct body_handle handle;
	status = txn->engine->ops->body_open(txn, body, true, &handle);
	if (status != STATUS_OK)
		return status;
	if (handle.fd < 0) { /* a copy in memory */
		bool same = handle.size == stat.size &&
		            crc32c(0, body_handle_bytes(&handle)) == stat.crc;
		body_handle_close(&handle);
		return same ? STATUS_OK : STATUS_CORRUPT;
	}
	/* Read with pread: a damaged disk page gives an error here, not a signal. */
	enum { VERIFY_CHUNK = 256 * 1024 };
	char *chunk = xmalloc(VERIFY_CHUNK);
	uint32_t crc = 0;
	uint64_t done = 0;
	while (done < stat.size && status == STATUS_OK) {
		size_t want = stat.size - done < VERIFY_CHUNK ? (size_t)(stat.size - done)
		                                              : VERIFY_CHUNK;
		ssize_t got =
		    pread(handle.fd, chunk, want, (off_t)(handle.offset + done));
		if (got < 0) {
			status = errno == EINTR ? STATUS_OK : STATUS_IO;
		} else if (got == 0) {
			status = STATUS_CORRUPT; /* the file ends before the body */
		} else {
			crc = crc32c(crc, slice_make(chunk, (size_t)got));
			done += (uint64_t)got;
		}
	}
	if (status == STATUS_OK && crc != stat.crc)
		status = STATUS_CORRUPT;
	free(chunk);
	body_handle_close(&handle);
	return status;
}

enum status
engine_body_frame_verify(struct engine_txn *txn, uint64_t body)
{
	const struct engine_ops *ops = txn->engine->ops;
	return ops->body_frame ? ops->body_frame(txn, body, false) : STATUS_OK;
}

enum status
engine_body_mend(struct engine_txn *txn, uint64_t body)
{
	const struct engine_ops *ops = txn->engine->ops;
	return ops->body_frame ? ops->body_frame(txn, body, true) : STATUS_OK;
}

enum status
engine_body_mark(struct engine_txn *txn, uint64_t body, bool damaged)
{
	ENSURE(txn->writable);
	if (txn->status != STATUS_OK)
		return txn->status;
	struct engine_body stat;
	enum status status = txn->engine->ops->body_stat(txn, body, &stat);
	if (status != STATUS_OK || stat.damaged == damaged)
		return status;
	txn->writes++;
	txn_fail(txn, txn->engine->ops->body_mark(txn, body, damaged));
	return txn->status;
}

enum status
engine_body_each(struct engine_txn *txn,
    bool (*fn)(uint64_t id, const struct engine_body *body, void *arg), void *arg)
{
	return txn->engine->ops->body_each(txn, fn, arg);
}

/* ---- commits ---- */

void
engine_submit(struct engine *engine, struct engine_commit *commit)
{
	ENSURE(commit->fn && commit->done);
	engine_writer_submit(engine_env_of(engine, commit->part), commit);
}

struct commit_wait {
	struct engine_commit commit;
	sem_t done;
};

static void
commit_wait_done(struct engine_commit *commit, enum status status)
{
	(void)status;
	struct commit_wait *wait = (struct commit_wait *)commit;
	sem_post(&wait->done);
}

static enum status
commit_wait(struct engine *engine, const struct engine_commit *commit)
{
	struct commit_wait *wait = xcalloc(1, sizeof *wait);
	sem_init(&wait->done, 0, 0);
	wait->commit = *commit;
	wait->commit.done = commit_wait_done;
	engine_submit(engine, &wait->commit);
	while (sem_wait(&wait->done) < 0)
		continue; /* EINTR */
	enum status status = wait->commit.status;
	sem_destroy(&wait->done);
	free(wait);
	return status;
}

enum status
engine_commit_wait(struct engine *engine, struct partition_id part, engine_commit_fn fn,
    void *arg, struct body_draft *drafts)
{
	struct engine_commit commit = {
	    .part = part, .fn = fn, .arg = arg, .drafts = drafts};
	return commit_wait(engine, &commit);
}

enum status
engine_commit_wait_growing(
    struct engine *engine, struct partition_id part, engine_commit_fn fn, void *arg)
{
	struct engine_commit commit = {.part = part, .fn = fn, .arg = arg, .grows = true};
	return commit_wait(engine, &commit);
}

/* ---- changes ---- */

uint32_t
engine_watch_slot(struct partition_id part)
{
	struct slice id = slice_make((const char *)part.v, sizeof part.v);
	return (uint32_t)(hash_stable(id) % ENGINE_WATCH_SLOTS);
}

void
engine_watch(struct engine *engine, void (*fn)(uint32_t slot, void *arg), void *arg)
{
	engine_watcher_start(engine->watcher, fn, arg);
}

/* ---- care ---- */

/* The smallest id above; false after the last. */
static bool
part_next(struct partition_id *part)
{
	for (size_t i = sizeof part->v; i-- > 0;) {
		if (++part->v[i] != 0)
			return true;
	}
	return false;
}

/* Walks one environment from *part on; false in *go_on when fn said so. */
static enum status
partitions_of_env(struct engine_reader *reader, struct engine_env *env,
    enum partition_area area, bool (*fn)(struct partition_id part, void *arg), void *arg,
    bool *go_on)
{
	const struct engine_ops *ops = env->engine->ops;
	struct partition_id part = {{(unsigned char)area}};
	struct engine_txn *txn;
	enum status status = ops->snap(reader, env, part, &txn);
	if (status != STATUS_OK)
		return status;
	void *raw;
	status = ops->raw_open(txn, &raw);
	if (status != STATUS_OK)
		return status;
	bool more = true;
	while (more && *go_on) {
		/* From the first key of callers: a partition with nothing but its version
		 * is not there any more. */
		char full[ENGINE_FULL_KEY_MAX];
		struct slice key, value;
		status = ops->raw_move(raw, RAW_AT_OR_AFTER,
		    engine_full_key(full, part, SLICE("\001")), &key, &value);
		if (status != STATUS_OK || key.len < sizeof part.v ||
		    (unsigned char)key.ptr[0] != (unsigned)area)
			break;
		struct partition_id found;
		memcpy(found.v, key.ptr, sizeof found.v);
		if (memcmp(found.v, part.v, sizeof found.v) != 0 && key.len == 17 &&
		    key.ptr[16] == 0) {
			part = found; /* its version; look for keys behind it */
			continue;
		}
		part = found;
		*go_on = fn(found, arg);
		more = part_next(&part);
	}
	ops->raw_close(raw);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
engine_partition_each(struct engine_reader *reader, enum partition_area area,
    bool (*fn)(struct partition_id part, void *arg), void *arg)
{
	struct engine *engine = reader->engine;
	uint32_t first = area == PARTITION_DIRECTORY ? ENGINE_ENV_DIRECTORY
	                 : area == PARTITION_QUEUE   ? ENGINE_ENV_QUEUE
	                                             : ENGINE_ENV_SHARD;
	uint32_t end = area == PARTITION_ACCOUNT ? first + engine->shards : first + 1;
	bool go_on = true;
	for (uint32_t i = first; i < end && go_on; i++) {
		enum status status =
		    partitions_of_env(reader, engine->envs[i], area, fn, arg, &go_on);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

uint32_t
engine_maintain(struct engine *engine)
{
	return engine->ops->maintain(engine);
}

enum status
engine_compact(struct engine *engine, uint64_t budget, uint32_t dead_percent,
    struct engine_reclaim *out)
{
	out->more = false;
	if (!engine->ops->compact)
		return STATUS_OK;
	return engine->ops->compact(engine, budget, dead_percent, out);
}

enum status
engine_backup(struct engine *engine, const char *dir,
    const struct store_backup_options *options, struct store_backup_totals *out,
    char **error)
{
	return engine->ops->backup ? engine->ops->backup(engine, dir, options, out, error)
	                           : STATUS_INVALID;
}

enum status
engine_space(struct engine *engine, struct engine_space *out)
{
	*out = (struct engine_space){0};
	return engine->ops->space ? engine->ops->space(engine, out) : STATUS_OK;
}

enum status
engine_check(
    struct engine *engine, void (*report)(const char *problem, void *arg), void *arg)
{
	return engine->ops->check(engine, report, arg);
}

void
engine_stats(const struct engine *engine, struct engine_stats *out)
{
	out->commits = atomic_load_explicit(&engine->commits, memory_order_relaxed);
	out->batches = atomic_load_explicit(&engine->batches, memory_order_relaxed);
	out->syncs = atomic_load_explicit(&engine->syncs, memory_order_relaxed);
	out->body_bytes = atomic_load_explicit(&engine->body_bytes, memory_order_relaxed);
	out->moved_bytes =
	    atomic_load_explicit(&engine->moved_bytes, memory_order_relaxed);
	out->readers_cleared =
	    atomic_load_explicit(&engine->readers_cleared, memory_order_relaxed);
	out->oldest_reader_age_ms = engine->ops->oldest_reader_age_ms(engine);
}
