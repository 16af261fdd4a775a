/*
 * Segments without live bytes go.  engine_lmdb_compact empties those with much dead
 * space.
 *
 * A file without a record that nobody has locked is garbage: what a process left that
 * died between the transaction that emptied it and its deletion.
 *
 * When no reader can need it: a body is found by its record in the reader's snapshot, so
 * a file may go once every open snapshot is at least as new as the transaction that has
 * emptied it, and no backup is under way.  A handle that is open pins the file by itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "store/engine_lmdb_int.h"
#include "store/store_backup_int.h"

enum {
	MAINTAIN_FILES_MAX = 256, /* deleted, an environment and call */
	LEFTOVER_AGE_S = 600,     /* of a "new-" file whose process has died */
	BACKUP_STALE_S = 600,     /* a backup that did nothing for so long is given up */
};

/* ---- when a file may go ---- */

static int
reader_oldest(const char *row, void *arg)
{
	uint64_t *oldest = arg;
	unsigned long pid;
	unsigned long long thread, txn;
	/* "pid thread txn", or "-" for a slot without a snapshot; a head line first. */
	if (sscanf(row, "%lu %llx %llu", &pid, &thread, &txn) == 3 && txn < *oldest)
		*oldest = txn;
	return 0;
}

uint64_t
lmdb_oldest_snapshot(struct lmdb_env *env)
{
	uint64_t oldest = UINT64_MAX;
	if (mdb_reader_list(env->mdb, reader_oldest, &oldest) < 0)
		return 0;
	return oldest;
}

/* Whether a backup has the store's files in use.  Its lock dies with it; one that stands
 * still must not let the store grow for ever. */
static bool
backup_is_running(struct lmdb_env *env)
{
	char path[LMDB_PATH_MAX];
	snprintf(path, sizeof path, "%s/" BACKUP_LOCK_NAME, env->engine->path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	struct stat st;
	bool running = flock(fd, LOCK_EX | LOCK_NB) < 0 && fstat(fd, &st) == 0 &&
	               time(NULL) - st.st_mtime < BACKUP_STALE_S;
	close(fd);
	return running;
}

bool
segment_is_retired(const struct lmdb_env *env, uint32_t segment)
{
	for (size_t i = 0; i < env->retired_count; i++) {
		if (env->retired[i].segment == segment)
			return true;
	}
	return false;
}

void
retired_add(struct lmdb_env *env, uint32_t segment, uint64_t txn)
{
	if (env->retired_count < LMDB_RETIRED_MAX && !segment_is_retired(env, segment))
		env->retired[env->retired_count++] = (struct lmdb_retired){segment, txn};
}

uint32_t
retired_unlink(struct lmdb_env *env, uint64_t *freed)
{
	if (env->retired_count == 0 || backup_is_running(env))
		return 0;
	uint64_t oldest = lmdb_oldest_snapshot(env);
	uint32_t deleted = 0;
	size_t kept = 0;
	for (size_t i = 0; i < env->retired_count; i++) {
		struct lmdb_retired *retired = &env->retired[i];
		char name[16];
		struct stat st;
		if (oldest < retired->txn) {
			env->retired[kept++] = *retired;
			continue;
		}
		segment_name(retired->segment, name);
		if (fstatat(env->bodies_fd, name, &st, 0) == 0 &&
		    unlinkat(env->bodies_fd, name, 0) == 0) {
			*freed += (uint64_t)st.st_size;
			deleted++;
		}
	}
	env->retired_count = kept;
	return deleted;
}

/* ---- segments without live bytes ---- */

MDB_val
segment_key(char out[4], uint32_t segment)
{
	be32_put(out, segment);
	return (MDB_val){4, out};
}

enum status
segment_is_dead(
    struct lmdb_env *env, MDB_txn *txn, uint32_t id, bool *out_dead, bool *out_recorded)
{
	char bytes[4];
	MDB_val key = segment_key(bytes, id), value;
	struct segment_record record = {0, 0};
	int rc = mdb_get(txn, env->seg, &key, &value);
	*out_recorded = rc == 0;
	if (rc == 0 &&
	    !segment_record_decode(slice_make(value.mv_data, value.mv_size), &record))
		return STATUS_CORRUPT;
	*out_dead = record.live == 0;
	return rc == MDB_NOTFOUND ? STATUS_OK : lmdb_status(rc);
}

/* With the file locked for us alone: what the record says inside a write transaction is
 * then final. */
static void
segment_retire(struct lmdb_env *env, uint32_t id)
{
	MDB_txn *txn = NULL;
	if (lmdb_txn_enter(env, 0, &txn) != STATUS_OK)
		return;
	bool dead, recorded;
	uint64_t number = mdb_txn_id(txn);
	enum status status = segment_is_dead(env, txn, id, &dead, &recorded);
	int rc = 0;
	if (status == STATUS_OK && dead && recorded) {
		char bytes[4];
		MDB_val key = segment_key(bytes, id);
		rc = mdb_del(txn, env->seg, &key, NULL);
	}
	if (status != STATUS_OK || !dead || rc != 0) {
		mdb_txn_abort(txn);
	} else if (!recorded) {
		/* Dead since some transaction before this one, which does not happen. */
		mdb_txn_abort(txn);
		retired_add(env, id, number - 1);
	} else if (lmdb_txn_commit(env, txn) == STATUS_OK) {
		retired_add(env, id, number);
	}
	lmdb_txn_leave(env);
}

static bool
file_is_dead(struct lmdb_env *env, uint32_t id)
{
	MDB_txn *txn = NULL;
	if (lmdb_txn_enter(env, MDB_RDONLY, &txn) != STATUS_OK)
		return false;
	bool dead = false, recorded;
	enum status status = segment_is_dead(env, txn, id, &dead, &recorded);
	mdb_txn_abort(txn);
	lmdb_txn_leave(env);
	return status == STATUS_OK && dead;
}

int
segment_lock(struct lmdb_env *env, const char *name, int flags)
{
	int fd = openat(env->bodies_fd, name, flags | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A segment that got no number for too long.  Its age comes first: a young one is not to
 * be locked, not even to look, for whoever makes it is about to (segment_create). */
static bool
is_leftover(const struct lmdb_env *env, const char *name)
{
	struct stat st;
	return strncmp(name, "new-", 4) == 0 &&
	       fstatat(env->bodies_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       time(NULL) - st.st_mtime > LEFTOVER_AGE_S;
}

static void
file_maintain(struct lmdb_env *env, const char *name)
{
	uint32_t id = segment_name_parse(name);
	if (id == 0 && !is_leftover(env, name))
		return;
	if (id != 0 && (segment_is_retired(env, id) || !file_is_dead(env, id)))
		return;
	int fd = segment_lock(env, name, O_RDONLY);
	if (fd < 0)
		return;
	if (id != 0)
		segment_retire(env, id);
	else
		unlinkat(env->bodies_fd, name, 0);
	close(fd);
}

/* A segment of this process that is mostly dead while it still grows: the next append
 * begins another, so that this one can be compacted. */
static void
current_rotate(struct lmdb_env *env)
{
	uint32_t id = atomic_load(&env->current_id);
	MDB_txn *txn = NULL;
	if (id == 0 || lmdb_txn_enter(env, MDB_RDONLY, &txn) != STATUS_OK)
		return;
	char bytes[4];
	MDB_val key = segment_key(bytes, id), value;
	struct segment_record record;
	if (mdb_get(txn, env->seg, &key, &value) == 0 &&
	    segment_record_decode(slice_make(value.mv_data, value.mv_size), &record) &&
	    record.end > env->engine->segment_size / 8 && record.live < record.end / 2)
		atomic_store(&env->rotate_id, id);
	mdb_txn_abort(txn);
	lmdb_txn_leave(env);
}

static uint32_t
env_maintain(struct lmdb_env *env)
{
	int cleared = 0;
	uint64_t freed = 0;
	mdb_reader_check(env->mdb, &cleared);
	atomic_fetch_add_explicit(&env->engine->engine.readers_cleared,
	    (uint64_t)(cleared > 0 ? cleared : 0), memory_order_relaxed);
	pins_trim(env, false);
	current_rotate(env);
	int fd = openat(env->bodies_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	pthread_mutex_lock(&env->reclaim_lock);
	uint32_t deleted = retired_unlink(env, &freed);
	struct dirent *entry;
	while (env->retired_count < MAINTAIN_FILES_MAX && (entry = readdir(dir)))
		file_maintain(env, entry->d_name);
	deleted += retired_unlink(env, &freed);
	pthread_mutex_unlock(&env->reclaim_lock);
	closedir(dir);
	return deleted;
}

uint32_t
lmdb_maintain(struct engine *base)
{
	struct lmdb_engine *engine = (struct lmdb_engine *)base;
	uint32_t deleted = 0;
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + base->shards; i++)
		deleted += env_maintain(&engine->envs[i]);
	return deleted;
}

/* What another process has emptied stays on disk while an idle pin maps it. */
void
lmdb_tick(struct engine *base)
{
	struct lmdb_engine *engine = (struct lmdb_engine *)base;
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + base->shards; i++)
		pins_trim(&engine->envs[i], false);
}
