/*
 * A backup while everybody serves (decision 0023).
 *
 *	1. "backup.lock" is locked and kept fresh: no segment file goes (reclaim looks at
 *it; it dies with the process)
 *	2. a snapshot of every environment, one right after the other: directory and queue
 *	   before the accounts, so that a message on its way between them is there twice
 *	   rather than not at all
 *	3. each environment's databases are copied from its snapshot into a new file, in
 *the order of their keys; the snapshots end, so the index files do not grow for long
 *	4. segments that the snapshots name are copied up to where the snapshots end; they
 *	   only ever grow, so what an earlier backup has is not copied again
 *	5. the manifest is replaced; only then what it does not name is deleted
 *
 * A backup that dies before 5 leaves the one before it whole.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/engine_lmdb_int.h"
#include "store/store_backup_int.h"

enum {
	INDEX_TXN_ENTRIES = 20000, /* of the copy, committed at once */
	FRESHEN_BYTES = 64 * 1024 * 1024,
};

struct backup {
	struct lmdb_engine *engine;
	const struct store_backup_options *options;
	struct store_backup_totals *totals;
	char **error;
	const char *dir;
	int dir_fd, lock_fd, store_fd;
	struct manifest before, now;
	uint64_t total, since_fresh;
	struct wanted {
		uint32_t env, segment;
		uint64_t end;
	} * wanted;
	size_t wanted_count, wanted_room;
};

static enum status
backup_fail(struct backup *b, enum status status, const char *what)
{
	if (!*b->error)
		lmdb_error(b->error, "%s: %s", what, status_text(status));
	return status;
}

/* Says to reclaim that the backup still moves. */
static void
backup_done_bytes(struct backup *b, uint64_t bytes)
{
	b->totals->bytes += bytes;
	b->since_fresh += bytes;
	if (b->since_fresh >= FRESHEN_BYTES) {
		futimens(b->lock_fd, NULL);
		b->since_fresh = 0;
	}
	if (b->options->progress)
		b->options->progress(b->totals->bytes, b->total, b->options->arg);
}

static const char *
env_short_name(const struct lmdb_env *env)
{
	return strrchr(env->path, '/') + 1;
}

/* ---- the index ---- */

static int
database_copy(MDB_txn *source, MDB_env *target, MDB_dbi from, const char *name)
{
	MDB_cursor *in;
	MDB_txn *txn = NULL;
	MDB_dbi to = 0;
	MDB_val key, value;
	int rc = mdb_cursor_open(source, from, &in);
	if (rc != 0)
		return rc;
	rc = mdb_txn_begin(target, NULL, 0, &txn);
	if (rc == 0)
		rc = mdb_dbi_open(txn, name, MDB_CREATE, &to);
	for (unsigned count = 1;
	     rc == 0 && (rc = mdb_cursor_get(in, &key, &value, MDB_NEXT)) == 0; count++) {
		rc = mdb_put(txn, to, &key, &value, MDB_APPEND);
		if (rc != 0 || count % INDEX_TXN_ENTRIES != 0)
			continue;
		rc = mdb_txn_commit(txn);
		txn = NULL;
		if (rc == 0)
			rc = mdb_txn_begin(target, NULL, 0, &txn);
	}
	if (rc == MDB_NOTFOUND)
		rc = mdb_txn_commit(txn);
	else if (txn)
		mdb_txn_abort(txn);
	mdb_cursor_close(in);
	return rc;
}

static int
index_copy(struct lmdb_env *env, MDB_txn *source, const char *path)
{
	const struct {
		const char *name;
		MDB_dbi dbi;
	} databases[] = {
	    {"kv",      env->kv     },
	    {"body",    env->body   },
	    {"derived", env->derived},
	    {"moved",   env->moved  },
	    {"seg",     env->seg    },
	    {"meta",    env->meta   },
	    {"redo",    env->redo   },
	};
	MDB_env *target;
	MDB_envinfo info;
	int rc = mdb_env_create(&target);
	if (rc != 0)
		return rc;
	mdb_env_info(env->mdb, &info);
	mdb_env_set_maxdbs(target, 8);
	rc = mdb_env_set_mapsize(target, info.me_mapsize);
	if (rc == 0)
		rc = mdb_env_open(
		    target, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOLOCK, 0640);
	for (size_t i = 0; i < sizeof databases / sizeof databases[0] && rc == 0; i++)
		rc = database_copy(source, target, databases[i].dbi, databases[i].name);
	if (rc == 0)
		rc = mdb_env_sync(target, 1);
	mdb_env_close(target);
	return rc;
}

/* What segments the snapshot needs. */
static int
segments_want(struct backup *b, struct lmdb_env *env, MDB_txn *txn)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(txn, env->seg, &cursor);
	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		struct segment_record record;
		if (key.mv_size != 4 ||
		    !segment_record_decode(
			slice_make(value.mv_data, value.mv_size), &record) ||
		    record.live == 0)
			continue;
		if (b->wanted_count == b->wanted_room) {
			b->wanted_room = b->wanted_room ? b->wanted_room * 2 : 64;
			b->wanted =
			    xrealloc(b->wanted, b->wanted_room * sizeof *b->wanted);
		}
		b->wanted[b->wanted_count++] =
		    (struct wanted){env->env.index, be32_get(key.mv_data), record.end};
		b->total += record.end;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Adds a file that is complete in the backup. */
static enum status
file_add(struct backup *b, const char *from, const char *to)
{
	struct backup_file file = {0};
	struct stat st;
	snprintf(file.from, sizeof file.from, "%s", from);
	snprintf(file.to, sizeof file.to, "%s", to);
	int fd = openat(b->dir_fd, from, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		if (fd >= 0)
			close(fd);
		return backup_fail(b, STATUS_IO, from);
	}
	file.size = (uint64_t)st.st_size;
	enum status status = backup_crc(fd, file.size, &file.crc);
	if (status == STATUS_OK && fsync(fd) < 0)
		status = STATUS_IO;
	close(fd);
	if (status != STATUS_OK)
		return backup_fail(b, status, from);
	manifest_add(&b->now, &file);
	b->totals->files++;
	b->totals->copied_bytes += file.size;
	b->total += file.size;
	backup_done_bytes(b, file.size);
	return STATUS_OK;
}

static enum status
env_index(struct backup *b, struct lmdb_env *env, MDB_txn *txn)
{
	char from[BACKUP_NAME_MAX], to[BACKUP_NAME_MAX], path[LMDB_PATH_MAX];
	const char *name = env_short_name(env);
	snprintf(path, sizeof path, "%s/%s", b->dir, name);
	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return backup_fail(b, status_from_errno(errno), path);
	snprintf(path, sizeof path, "%s/%s/bodies", b->dir, name);
	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return backup_fail(b, status_from_errno(errno), path);
	snprintf(from, sizeof from, "%.20s/index-%" PRId64, name, b->now.made_s);
	snprintf(to, sizeof to, "%.20s/data.mdb", name);
	snprintf(path, sizeof path, "%s/%s", b->dir, from);
	(void)unlink(path); /* of a backup that was cut short in this second */
	int rc = segments_want(b, env, txn);
	if (rc == 0)
		rc = index_copy(env, txn, path);
	if (rc != 0)
		return backup_fail(b, lmdb_status(rc), path);
	return file_add(b, from, to);
}

static enum status
indexes_copy(struct backup *b)
{
	struct lmdb_engine *engine = b->engine;
	uint32_t count = ENGINE_ENV_SHARD + engine->engine.shards, open = 0;
	MDB_txn *txns[ENGINE_ENVS_MAX] = {NULL};
	enum status status = STATUS_OK;
	for (; open < count && status == STATUS_OK; open++) {
		status = lmdb_txn_enter(&engine->envs[open], MDB_RDONLY, &txns[open]);
		if (status != STATUS_OK)
			break;
	}
	if (status != STATUS_OK)
		backup_fail(b, status, "a snapshot");
	for (uint32_t i = 0; i < open; i++) {
		if (status == STATUS_OK)
			status = env_index(b, &engine->envs[i], txns[i]);
		mdb_txn_abort(txns[i]);
		lmdb_txn_leave(&engine->envs[i]);
	}
	return status;
}

/* ---- segments ---- */

/* Whether two files end alike at `end`.  They do unless the store went back in time (was
 * restored) and used the segment's number again. */
static bool
ends_alike(int a, int b, uint64_t end)
{
	enum { TAIL = 64 * 1024 };
	size_t len = end < TAIL ? (size_t)end : TAIL;
	off_t at = (off_t)(end - len);
	char *bytes = xmalloc(2 * TAIL);
	bool alike = pread(a, bytes, len, at) == (ssize_t)len &&
	             pread(b, bytes + TAIL, len, at) == (ssize_t)len &&
	             memcmp(bytes, bytes + TAIL, len) == 0;
	free(bytes);
	return alike;
}

static enum status
segment_backup(struct backup *b, const struct wanted *wanted)
{
	struct lmdb_env *env = &b->engine->envs[wanted->env];
	struct backup_file file = {.size = wanted->end};
	char name[16];
	struct stat st;
	segment_name(wanted->segment, name);
	snprintf(
	    file.from, sizeof file.from, "%.20s/bodies/%s", env_short_name(env), name);
	memcpy(file.to, file.from, sizeof file.to);
	const struct backup_file *before = manifest_find(&b->before, file.from);
	uint64_t from = 0;
	int source = openat(env->bodies_fd, name, O_RDONLY | O_CLOEXEC);
	int target = openat(b->dir_fd, file.from, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (source < 0 || target < 0 || fstat(target, &st) < 0) {
		int err = errno;
		if (source >= 0)
			close(source);
		if (target >= 0)
			close(target);
		return backup_fail(b, status_from_errno(err), file.from);
	}
	/* What the last manifest vouches for; what is behind it is of one that was cut
	 * short. */
	if (before && before->size <= wanted->end &&
	    (uint64_t)st.st_size >= before->size &&
	    ends_alike(source, target, before->size)) {
		from = before->size;
		file.crc = before->crc;
	}
	enum status status = STATUS_OK;
	if (from < wanted->end) {
		status = backup_copy(source, target, from, wanted->end, &file.crc);
		if (status == STATUS_OK && fdatasync(target) < 0)
			status = STATUS_IO;
	}
	close(source);
	close(target);
	if (status != STATUS_OK)
		return backup_fail(b, status, file.from);
	manifest_add(&b->now, &file);
	b->totals->files++;
	b->totals->copied_bytes += wanted->end - from;
	backup_done_bytes(b, wanted->end);
	return STATUS_OK;
}

/* ---- around it ---- */

/* Whole or not at all: the backup before this one needs its own, should this one die. */
static enum status
small_copy(struct backup *b, const char *name)
{
	uint32_t crc = 0;
	struct stat st;
	char part[BACKUP_NAME_MAX];
	snprintf(part, sizeof part, "%.20s.new", name);
	int source = openat(b->store_fd, name, O_RDONLY | O_CLOEXEC);
	int target =
	    openat(b->dir_fd, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	enum status status =
	    source < 0 || target < 0 || fstat(source, &st) < 0
		? STATUS_IO
		: backup_copy(source, target, 0, (uint64_t)st.st_size, &crc);
	if (status == STATUS_OK && fsync(target) < 0)
		status = STATUS_IO;
	if (source >= 0)
		close(source);
	if (target >= 0)
		close(target);
	if (status == STATUS_OK && renameat(b->dir_fd, part, b->dir_fd, name) < 0)
		status = status_from_errno(errno);
	return status == STATUS_OK ? file_add(b, name, name)
	                           : backup_fail(b, status, name);
}

/* Deletes files of earlier backups that the manifest does not name. */
static void
folder_sweep(struct backup *b, const char *folder)
{
	int fd = openat(b->dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		char name[BACKUP_NAME_MAX + 300];
		snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
		bool ours = strncmp(entry->d_name, "index-", 6) == 0 ||
		            segment_name_parse(entry->d_name) != 0;
		if (ours && !manifest_find(&b->now, name))
			unlinkat(fd, entry->d_name, 0);
	}
	closedir(dir);
}

static void
sweep(struct backup *b)
{
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + b->engine->engine.shards; i++) {
		char folder[BACKUP_NAME_MAX];
		const char *name = env_short_name(&b->engine->envs[i]);
		folder_sweep(b, name);
		snprintf(folder, sizeof folder, "%.20s/bodies", name);
		folder_sweep(b, folder);
	}
}

static enum status
folders_sync(struct backup *b)
{
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + b->engine->engine.shards; i++) {
		for (int bodies = 0; bodies < 2; bodies++) {
			char folder[BACKUP_NAME_MAX];
			snprintf(folder, sizeof folder, "%.20s%s",
			    env_short_name(&b->engine->envs[i]), bodies ? "/bodies" : "");
			int fd = openat(b->dir_fd, folder, O_RDONLY | O_CLOEXEC);
			bool synced = fd >= 0 && fsync(fd) == 0;
			if (fd >= 0)
				close(fd);
			if (!synced)
				return backup_fail(b, STATUS_IO, folder);
		}
	}
	return STATUS_OK;
}

static bool
manifest_is_missing(struct backup *b)
{
	return faccessat(b->dir_fd, "manifest", F_OK, 0) != 0;
}

/* Whether the folder is new, or its backup is of this installation. */
static enum status
same_store(struct backup *b)
{
	struct superblock ours, theirs;
	enum status status = superblock_read(b->dir_fd, b->dir, &theirs, b->error);
	/* Nothing there, or what a first backup has left that was cut short. */
	if (status == STATUS_NOT_FOUND || manifest_is_missing(b)) {
		free(*b->error);
		*b->error = NULL;
		return STATUS_OK;
	}
	if (status == STATUS_OK)
		status = superblock_read(b->store_fd, b->engine->path, &ours, b->error);
	if (status == STATUS_OK &&
	    memcmp(ours.installation, theirs.installation, sizeof ours.installation) != 0)
		status = STATUS_EXISTS;
	return status == STATUS_OK ? STATUS_OK
	                           : backup_fail(b, status, "a backup of another store");
}

/* The folders and the lock. */
static enum status
backup_begin(struct backup *b)
{
	if (mkdir(b->dir, 0750) < 0 && errno != EEXIST)
		return backup_fail(b, status_from_errno(errno), b->dir);
	b->dir_fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->store_fd = open(b->engine->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->dir_fd < 0 || b->store_fd < 0)
		return backup_fail(b, status_from_errno(errno), b->dir);
	b->lock_fd =
	    openat(b->store_fd, BACKUP_LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (b->lock_fd < 0)
		return backup_fail(b, status_from_errno(errno), BACKUP_LOCK_NAME);
	/* Reclaim takes it for a moment to look. */
	for (int tries = 0; flock(b->lock_fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		struct timespec pause = {0, 50 * 1000 * 1000};
		if (tries == 20)
			return backup_fail(b, STATUS_BUSY, "another backup");
		nanosleep(&pause, NULL);
	}
	/* Who and since when, for status; a full disk does not matter. */
	char text[64];
	int len = snprintf(text, sizeof text, "pid %ld started %lld\n", (long)getpid(),
	    (long long)time(NULL));
	(void)!ftruncate(b->lock_fd, 0);
	(void)!pwrite(b->lock_fd, text, (size_t)len, 0);
	futimens(b->lock_fd, NULL);
	enum status status = same_store(b);
	if (status != STATUS_OK)
		return status;
	status = manifest_read(b->dir_fd, &b->before);
	/* Without a manifest, or with a damaged one, all is copied. */
	return status == STATUS_NOT_FOUND || status == STATUS_CORRUPT ? STATUS_OK
	                                                              : status;
}

enum status
lmdb_backup(struct engine *engine, const char *dir,
    const struct store_backup_options *options, struct store_backup_totals *out,
    char **error)
{
	struct backup b = {
	    .engine = (struct lmdb_engine *)engine,
	    .options = options,
	    .totals = out,
	    .error = error,
	    .dir = dir,
	    .dir_fd = -1,
	    .lock_fd = -1,
	    .store_fd = -1,
	};
	b.now.made_s = out->made_s = (int64_t)time(NULL);
	enum status status = backup_begin(&b);
	/* Two in one second must not share a name. */
	if (status == STATUS_OK && b.before.made_s >= b.now.made_s)
		b.now.made_s = out->made_s = b.before.made_s + 1;
	if (status == STATUS_OK)
		status = small_copy(&b, "superblock");
	if (status == STATUS_OK)
		status = small_copy(&b, "complete");
	if (status == STATUS_OK)
		status = indexes_copy(&b);
	for (size_t i = 0; i < b.wanted_count && status == STATUS_OK; i++)
		status = segment_backup(&b, &b.wanted[i]);
	if (status == STATUS_OK)
		status = folders_sync(&b);
	if (status == STATUS_OK) {
		status = manifest_write(b.dir_fd, &b.now);
		if (status != STATUS_OK)
			backup_fail(&b, status, "the manifest");
	}
	if (status == STATUS_OK)
		sweep(&b);
	free(b.wanted);
	manifest_fini(&b.before);
	manifest_fini(&b.now);
	if (b.dir_fd >= 0)
		close(b.dir_fd);
	if (b.store_fd >= 0)
		close(b.store_fd);
	if (b.lock_fd >= 0)
		close(b.lock_fd);
	return status;
}
