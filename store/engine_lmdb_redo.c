/*
 * Redo: a body placed by a short batch is not synced in its segment; its bytes are put
 * into the transaction that refers to it (database "redo", body → bytes), so that the
 * commit costs two flushes in series instead of three (decision 0011).
 *
 *   place: frame written to the segment, not synced ─► attach: bytes into "redo" ─►
 * commit later: the segment is synced by a larger batch, a full count, or rotation ─► the
 * next transaction deletes the entries that the sync covers open:  entries of processes
 * that are gone are written to their places again and synced, then deleted
 *
 * Invariant: a body that a committed record refers to is either synced in its segment or
 * has its bytes in "redo".  Reading never looks here: the frame is in its place already.
 * Entries of a process that lives are left alone: it holds its segment's lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>

#include "store/engine_lmdb_int.h"

/* ---- placing: on the thread that places, under place_lock ---- */

bool
redo_defers(const struct lmdb_env *env, size_t drafts, uint64_t bytes)
{
	return env->engine->sync && drafts <= LMDB_REDO_BATCH_MAX &&
	       bytes <= LMDB_REDO_BATCH_BYTES && env->current &&
	       env->current->synced > 0 &&
	       env->redo_waiting + drafts <= LMDB_REDO_WAITING_MAX;
}

void
redo_synced(struct lmdb_env *env)
{
	struct engine_segment *segment = env->current;
	segment->synced = segment->end;
	if (env->redo_waiting == 0)
		return;
	uint64_t from = (uint64_t)segment->id << 32;
	uint64_t to = from | segment->end / BODY_FRAME_ALIGN;
	pthread_mutex_lock(&env->redo_lock);
	struct redo_range *last =
	    env->redo_done_count > 0 ? &env->redo_done[env->redo_done_count - 1] : NULL;
	if (last && last->from == from)
		last->to = to;
	else if (env->redo_done_count < LMDB_REDO_RANGES_MAX)
		env->redo_done[env->redo_done_count++] = (struct redo_range){from, to};
	/* No room: they are deleted by the next open. */
	pthread_mutex_unlock(&env->redo_lock);
	env->redo_waiting = 0;
}

/* ---- committing: on the thread that commits, under commit_lock ---- */

enum status
redo_put(struct lmdb_env *env, MDB_txn *mdb, uint64_t body, struct slice bytes)
{
	char id[8];
	be64_put(id, body);
	MDB_val key = {sizeof id, id};
	MDB_val value = {bytes.len, (void *)(uintptr_t)bytes.ptr};
	return lmdb_status(mdb_put(mdb, env->redo, &key, &value, 0));
}

static int
range_delete(struct lmdb_env *env, MDB_txn *mdb, struct redo_range range)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(mdb, env->redo, &cursor);
	if (rc != 0)
		return rc;
	char from[8];
	MDB_val key, value;
	be64_put(from, range.from);
	do {
		key = (MDB_val){sizeof from, from};
		rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
		if (rc == 0 && (key.mv_size != 8 || be64_get(key.mv_data) >= range.to))
			rc = MDB_NOTFOUND;
		if (rc == 0)
			rc = mdb_cursor_del(cursor, 0);
	} while (rc == 0);
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

enum status
redo_clear(struct lmdb_env *env, MDB_txn *mdb, size_t *out_count)
{
	struct redo_range ranges[LMDB_REDO_RANGES_MAX];
	pthread_mutex_lock(&env->redo_lock);
	size_t count = env->redo_done_count;
	memcpy(ranges, env->redo_done, count * sizeof *ranges);
	pthread_mutex_unlock(&env->redo_lock);
	int rc = 0;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = range_delete(env, mdb, ranges[i]);
	env->redo_clearing = count > 0 ? ranges[count - 1] : (struct redo_range){0, 0};
	*out_count = count;
	return lmdb_status(rc);
}

void
redo_cleared(struct lmdb_env *env, size_t count)
{
	if (count == 0)
		return;
	pthread_mutex_lock(&env->redo_lock);
	/* The last one may have grown meanwhile: then it is needed again. */
	if (env->redo_done[count - 1].to != env->redo_clearing.to)
		count--;
	memmove(env->redo_done, env->redo_done + count,
	    (env->redo_done_count - count) * sizeof *env->redo_done);
	env->redo_done_count -= count;
	pthread_mutex_unlock(&env->redo_lock);
}

/* ---- opening ---- */

/* Writes one body to its place and syncs it.  False: the owner lives, or the disk does
 * not take it; the entry then stays. */
static bool
body_rewrite(struct lmdb_env *env, const struct body_record *record, struct slice bytes)
{
	static const char ZEROES[BODY_FRAME_ALIGN];
	char name[16], head[BODY_SEGMENT_HEADER_SIZE], frame[BODY_FRAME_HEADER_SIZE];
	segment_name(record->segment, name);
	int fd = openat(env->bodies_fd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT; /* its folder entry was synced: reclaimed since */
	bool done = flock(fd, LOCK_EX | LOCK_NB) == 0;
	if (done) {
		size_t rest = (size_t)(body_live_bytes(bytes.len) -
				       BODY_FRAME_HEADER_SIZE - bytes.len);
		body_segment_header_put(head);
		body_frame_header_put(frame, bytes.len, record->crc);
		struct iovec parts[] = {
		    {frame,                        sizeof frame},
                    {(void *)(uintptr_t)bytes.ptr, bytes.len   },
		    {(void *)(uintptr_t)ZEROES,    rest        }
                };
		ssize_t want = (ssize_t)(sizeof frame + bytes.len + rest);
		done = pwrite(fd, head, sizeof head, 0) == sizeof head &&
		       pwritev(fd, parts, 3, (off_t)record->offset) == want;
		if (done && fdatasync(fd) < 0)
			lmdb_fatal("fdatasync of a segment", errno);
	}
	close(fd);
	return done;
}

static int
entry_recover(struct lmdb_env *env, MDB_txn *mdb, MDB_val key, MDB_val value, bool *out)
{
	struct body_record record;
	uint64_t body = be64_get(key.mv_data);
	struct slice bytes = slice_make(value.mv_data, value.mv_size);
	enum status status = body_record_get(env, mdb, body, &record);
	*out = true;
	/* Released, or moved by compaction (which syncs): nothing to do. */
	if (status == STATUS_NOT_FOUND ||
	    (status == STATUS_OK && record.segment != (uint32_t)(body >> 32)))
		return 0;
	/* A record that does not decode is for the check to tell. */
	if (status != STATUS_OK || record.size != bytes.len ||
	    record.start != BODY_FRAME_HEADER_SIZE)
		return 0;
	*out = body_rewrite(env, &record, bytes);
	return 0;
}

int
redo_recover(struct lmdb_env *env)
{
	MDB_txn *mdb;
	MDB_stat stat;
	int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &mdb);
	if (rc != 0)
		return rc;
	rc = mdb_stat(mdb, env->redo, &stat);
	mdb_txn_abort(mdb);
	if (rc != 0 || stat.ms_entries == 0)
		return rc;
	rc = mdb_txn_begin(env->mdb, NULL, 0, &mdb);
	if (rc != 0)
		return rc;
	MDB_cursor *cursor;
	rc = mdb_cursor_open(mdb, env->redo, &cursor);
	if (rc != 0) {
		mdb_txn_abort(mdb);
		return rc;
	}
	MDB_val key, value;
	char next[8] = {0};
	key = (MDB_val){sizeof next, next};
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)) == 0) {
		if (key.mv_size != 8) {
			rc = MDB_CORRUPTED;
			break;
		}
		bool done;
		be64_put(next, be64_get(key.mv_data) + 1);
		rc = entry_recover(env, mdb, key, value, &done);
		if (rc == 0 && done)
			rc = mdb_cursor_del(cursor, 0);
		if (rc != 0)
			break;
		key = (MDB_val){sizeof next, next};
	}
	mdb_cursor_close(cursor);
	if (rc != MDB_NOTFOUND) {
		mdb_txn_abort(mdb);
		return rc;
	}
	return mdb_txn_commit(mdb);
}
