/*
 * Care: deletes segments without live bytes and files that no record names, clears stale
 * readers, and checks the engine's invariants:
 *
 *	1. A segment's live bytes are the sum over its bodies' frames; its end is at or
 *	   behind the last of them.
 *	2. A body has references, its segment's file is there and long enough, and the
 *	   frame header says the same size and checksum.
 *	3. A derived record has its body.
 *
 * Segments are not compacted: one with a live body stays.  Compaction would copy live
 * frames into the current segment and give their records the new place; the body id,
 *which tells where a body was first, does not change.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/engine_lmdb_int.h"

enum {
	MAINTAIN_FILES_MAX = 256, /* looked at closely, an environment and call */
	LEFTOVER_AGE_S = 600,     /* of a "new-" file whose process has died */
};

/* ---- maintain ---- */

/* Whether the record says that nothing is in the segment (or there is none).  With
 * `remove` the record goes. */
static enum status
segment_is_dead(
    struct lmdb_env *env, MDB_txn *txn, uint32_t id, bool *out_dead, bool *out_recorded)
{
	char bytes[4];
	be32_put(bytes, id);
	MDB_val key = {sizeof bytes, bytes}, value;
	struct segment_record record = {0, 0};
	int rc = mdb_get(txn, env->seg, &key, &value);
	*out_recorded = rc == 0;
	if (rc == 0 &&
	    !segment_record_decode(slice_make(value.mv_data, value.mv_size), &record))
		return STATUS_CORRUPT;
	*out_dead = record.live == 0;
	return rc == MDB_NOTFOUND ? STATUS_OK : lmdb_status(rc);
}

/* With the file locked for us alone nobody appends to it any more; what the record says
 * inside a write transaction is then final. */
static bool
segment_delete(struct lmdb_env *env, uint32_t id, const char *name)
{
	MDB_txn *txn = NULL;
	if (lmdb_txn_enter(env, 0, &txn) != STATUS_OK)
		return false;
	bool dead, recorded;
	enum status status = segment_is_dead(env, txn, id, &dead, &recorded);
	int rc = 0;
	if (status == STATUS_OK && dead && recorded) {
		char bytes[4];
		be32_put(bytes, id);
		MDB_val key = {sizeof bytes, bytes};
		rc = mdb_del(txn, env->seg, &key, NULL);
	}
	if (status != STATUS_OK || !dead || rc != 0) {
		mdb_txn_abort(txn);
		lmdb_txn_leave(env);
		return false;
	}
	status = lmdb_txn_commit(env, txn);
	lmdb_txn_leave(env);
	return status == STATUS_OK && unlinkat(env->bodies_fd, name, 0) == 0;
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

/* True when it was deleted. */
static bool
file_maintain(struct lmdb_env *env, const char *name)
{
	uint32_t id = segment_name_parse(name);
	bool leftover = strncmp(name, "new-", 4) == 0;
	if (id == 0 && !leftover)
		return false;
	if (id != 0 && !file_is_dead(env, id))
		return false;
	int fd = openat(env->bodies_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool deleted = false;
	struct stat st;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		if (id != 0)
			deleted = segment_delete(env, id, name);
		else if (fstat(fd, &st) == 0 && time(NULL) - st.st_mtime > LEFTOVER_AGE_S)
			deleted = unlinkat(env->bodies_fd, name, 0) == 0;
	}
	close(fd);
	return deleted;
}

static uint32_t
env_maintain(struct lmdb_env *env)
{
	int cleared;
	mdb_reader_check(env->mdb, &cleared);
	pins_trim(env, false);
	int fd = openat(env->bodies_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	uint32_t deleted = 0;
	struct dirent *entry;
	while (deleted < MAINTAIN_FILES_MAX && (entry = readdir(dir)))
		deleted += file_maintain(env, entry->d_name);
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

/* ---- check ---- */

struct check {
	struct lmdb_env *env;
	MDB_txn *txn;
	void (*report)(const char *problem, void *arg);
	void *arg;
	/* the segment that the walk over the bodies is in: */
	uint32_t segment;
	uint64_t live, end;
	int fd;
	uint64_t file_size;
};

static void check_problem(struct check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
check_problem(struct check *check, const char *format, ...)
{
	char text[512];
	int len = snprintf(text, sizeof text, "%s: ", check->env->path);
	va_list args;
	va_start(args, format);
	if (len > 0 && (size_t)len < sizeof text)
		vsnprintf(text + len, sizeof text - (size_t)len, format, args);
	va_end(args);
	check->report(text, check->arg);
}

/* Ends the walk's segment: invariant 1. */
static void
check_segment_end(struct check *check)
{
	if (check->fd >= 0)
		close(check->fd);
	check->fd = -1;
	if (check->segment == 0)
		return;
	char bytes[4];
	be32_put(bytes, check->segment);
	MDB_val key = {sizeof bytes, bytes}, value;
	struct segment_record record;
	if (mdb_get(check->txn, check->env->seg, &key, &value) != 0 ||
	    !segment_record_decode(slice_make(value.mv_data, value.mv_size), &record)) {
		check_problem(
		    check, "segment %08x has bodies but no record", check->segment);
		return;
	}
	if (record.live != check->live)
		check_problem(check, "segment %08x counts %llu live bytes, has %llu",
		    check->segment, (unsigned long long)record.live,
		    (unsigned long long)check->live);
	if (record.end < check->end)
		check_problem(check, "segment %08x ends at %llu, before a body",
		    check->segment, (unsigned long long)record.end);
}

static void
check_segment_begin(struct check *check, uint32_t segment)
{
	check->segment = segment;
	check->live = check->end = check->file_size = 0;
	char name[16], header[BODY_SEGMENT_HEADER_SIZE];
	segment_name(segment, name);
	check->fd = openat(check->env->bodies_fd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (check->fd < 0 || fstat(check->fd, &st) < 0) {
		check_problem(check, "segment %08x: %s", segment, strerror(errno));
		return;
	}
	check->file_size = (uint64_t)st.st_size;
	if (pread(check->fd, header, sizeof header, 0) != sizeof header ||
	    !body_segment_header_ok(header))
		check_problem(check, "segment %08x has a damaged header", segment);
}

/* Invariant 2. */
static void
check_body(struct check *check, uint64_t id, const struct body_record *record)
{
	uint64_t end = record->offset + record->start + record->size;
	check->live += body_live_bytes(record->size);
	if (end > check->end)
		check->end = end;
	if (record->refs == 0)
		check_problem(
		    check, "body %016llx has no references", (unsigned long long)id);
	if (check->fd < 0)
		return;
	char header[BODY_FRAME_HEADER_SIZE];
	uint64_t size;
	uint32_t crc;
	if (end > check->file_size)
		check_problem(
		    check, "body %016llx ends behind its file", (unsigned long long)id);
	else if (record->start != BODY_FRAME_HEADER_SIZE ||
		 pread(check->fd, header, sizeof header, (off_t)record->offset) !=
		     sizeof header ||
		 !body_frame_header_get(header, &size, &crc) || size != record->size ||
		 crc != record->crc)
		check_problem(check, "body %016llx has a damaged frame header",
		    (unsigned long long)id);
}

static int
check_bodies(struct check *check)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(check->txn, check->env->body, &cursor);
	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		struct body_record record;
		if (key.mv_size != 8 ||
		    !body_record_decode(
			slice_make(value.mv_data, value.mv_size), &record)) {
			check_problem(check, "a body record of a wrong size");
			continue;
		}
		if (record.segment != check->segment) {
			check_segment_end(check);
			check_segment_begin(check, record.segment);
		}
		check_body(check, be64_get(key.mv_data), &record);
	}
	check_segment_end(check);
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Segments that say they have live bytes, and none of whose bodies is there. */
static int
check_segments(struct check *check)
{
	MDB_cursor *segments, *bodies;
	MDB_val key, value;
	int rc = mdb_cursor_open(check->txn, check->env->seg, &segments);
	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(check->txn, check->env->body, &bodies);
	if (rc != 0) {
		mdb_cursor_close(segments);
		return rc;
	}
	while ((rc = mdb_cursor_get(segments, &key, &value, MDB_NEXT)) == 0) {
		struct segment_record record;
		if (key.mv_size != 4 ||
		    !segment_record_decode(
			slice_make(value.mv_data, value.mv_size), &record)) {
			check_problem(check, "a segment record of a wrong size");
			continue;
		}
		uint32_t id = be32_get(key.mv_data);
		char bytes[8] = {0};
		be32_put(bytes, id);
		MDB_val body = {sizeof bytes, bytes}, ignored;
		int found = mdb_cursor_get(bodies, &body, &ignored, MDB_SET_RANGE);
		bool has = found == 0 && be32_get(body.mv_data) == id;
		if (record.live > 0 && !has)
			check_problem(
			    check, "segment %08x counts live bytes, has none", id);
	}
	mdb_cursor_close(bodies);
	mdb_cursor_close(segments);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Invariant 3. */
static int
check_derived(struct check *check)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(check->txn, check->env->derived, &cursor);
	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		MDB_val body;
		if (mdb_get(check->txn, check->env->body, &key, &body) != 0)
			check_problem(check, "a derived record without its body");
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static enum status
check_env(struct check *check)
{
	enum status status = lmdb_txn_enter(check->env, MDB_RDONLY, &check->txn);
	if (status != STATUS_OK)
		return status;
	int rc = check_bodies(check);
	if (rc == 0)
		rc = check_segments(check);
	if (rc == 0)
		rc = check_derived(check);
	mdb_txn_abort(check->txn);
	lmdb_txn_leave(check->env);
	return lmdb_status(rc);
}

enum status
lmdb_check(struct engine *base, void (*report)(const char *problem, void *arg), void *arg)
{
	struct lmdb_engine *engine = (struct lmdb_engine *)base;
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + base->shards; i++) {
		struct check check = {
		    .env = &engine->envs[i], .report = report, .arg = arg, .fd = -1};
		enum status status = check_env(&check);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}
