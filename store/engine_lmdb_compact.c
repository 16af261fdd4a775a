/*
 * Compaction: of segments with much dead space the live bodies are copied into another
 * segment, in bounded steps, beside all other work.
 *
 * A step of moving (decision 0021), each point safe to die at:
 *
 *	1. the segment is locked for us alone: no process appends to it any more
 *	2. live frames are copied to the end of this process's `compacted` segment;
 *	   synced.  What no record names is garbage, so dying here loses nothing.
 *	3. one transaction: records that still are where they were copied from get the new
 *	   place; the one that moves the last also takes the segment's record out
 *	4. the file is unlinked when no reader can need it (engine_lmdb_reclaim), which
 *also takes up what dying between 3 and 4 leaves
 *
 * Body numbers do not change; where a moved body is found by its new place is in `moved`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/engine_lmdb_int.h"

enum {
	STEP_BODIES_MAX = 1024,           /* moved in one transaction */
	STEP_BYTES_MAX = 4 * 1024 * 1024, /* the same; one body may be larger */
	COPY_BUFFER = 1024 * 1024,
	TRIM_MIN = 64 * 1024, /* bytes behind the last frame that are worth a call */
};

/* ---- segments with dead space ---- */

struct candidate {
	uint32_t segment;
	uint64_t live, size; /* bytes; size is the file's */
	bool locked;         /* some process appends to it */
};

struct candidates {
	struct candidate *rows;
	size_t count, room;
};

static bool
candidate_look(struct lmdb_env *env, struct candidate *row)
{
	char name[16];
	struct stat st;
	segment_name(row->segment, name);
	if (fstatat(env->bodies_fd, name, &st, 0) < 0)
		return false;
	/* A spilled draft's file begins with a hole. */
	uint64_t blocks = (uint64_t)st.st_blocks * 512;
	row->size = (uint64_t)st.st_size < blocks ? (uint64_t)st.st_size : blocks;
	int fd = segment_lock(env, name, O_RDONLY);
	row->locked = fd < 0;
	if (fd >= 0)
		close(fd);
	return true;
}

static enum status
candidates_gather(struct lmdb_env *env, struct candidates *out)
{
	MDB_txn *txn = NULL;
	enum status status = lmdb_txn_enter(env, MDB_RDONLY, &txn);
	if (status != STATUS_OK)
		return status;
	MDB_cursor *cursor = NULL;
	MDB_val key, value;
	int rc = mdb_cursor_open(txn, env->seg, &cursor);
	while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		struct segment_record record;
		struct candidate row = {0};
		if (key.mv_size != 4 ||
		    !segment_record_decode(
			slice_make(value.mv_data, value.mv_size), &record))
			continue; /* a check tells */
		row.segment = be32_get(key.mv_data);
		row.live = record.live;
		if (segment_is_retired(env, row.segment) || !candidate_look(env, &row))
			continue;
		if (out->count == out->room) {
			out->room = out->room ? out->room * 2 : 64;
			out->rows = xrealloc(out->rows, out->room * sizeof *out->rows);
		}
		out->rows[out->count++] = row;
	}
	if (rc != 0 && rc != MDB_NOTFOUND)
		status = lmdb_status(rc);
	if (cursor)
		mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	lmdb_txn_leave(env);
	return status;
}

static uint64_t
candidate_dead(const struct candidate *row)
{
	uint64_t used = row->live + BODY_SEGMENT_HEADER_SIZE;
	return row->size > used ? row->size - used : 0;
}

/* The one with the largest dead share first. */
static int
candidate_compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	double dx = (double)candidate_dead(x) / (double)(x->size + 1);
	double dy = (double)candidate_dead(y) / (double)(y->size + 1);
	return dx < dy ? 1 : dx > dy ? -1 : 0;
}

struct move {
	uint64_t body;
	struct body_record from;
	uint64_t to; /* offset of the frame in the segment that takes it */
};

struct compaction {
	struct lmdb_env *env;
	struct engine_reclaim *totals;
	uint32_t segment;
	int fd;
	struct move *moves;
	size_t count;
	uint64_t bytes;
	bool more; /* bodies are left for another step */
	/* the copy's end: */
	struct engine_segment *out;
	char *buffer, *chunk;
	size_t filled;
	uint64_t written; /* offset in out up to which the file is written */
};

static bool
move_add(struct compaction *c, uint64_t body, const struct body_record *record)
{
	uint64_t bytes = body_live_bytes(record->size);
	if (c->count == STEP_BODIES_MAX ||
	    (c->count > 0 && c->bytes + bytes > STEP_BYTES_MAX)) {
		c->more = true;
		return false;
	}
	c->moves[c->count++] = (struct move){body, *record, 0};
	c->bytes += bytes;
	return true;
}

/* The bodies that are in the segment: those that were made there, and those that were
 * moved there. */
static enum status
moves_gather(struct compaction *c)
{
	struct lmdb_env *env = c->env;
	MDB_txn *txn = NULL;
	enum status status = lmdb_txn_enter(env, MDB_RDONLY, &txn);
	if (status != STATUS_OK)
		return status;
	c->count = 0;
	c->bytes = 0;
	c->more = false;
	for (int pass = 0; pass < 2 && !c->more && status == STATUS_OK; pass++) {
		MDB_cursor *cursor;
		char bytes[8];
		be64_put(bytes, (uint64_t)c->segment << 32);
		MDB_val key = {sizeof bytes, bytes}, value;
		int rc =
		    mdb_cursor_open(txn, pass == 0 ? env->body : env->moved, &cursor);
		if (rc != 0) {
			status = lmdb_status(rc);
			break;
		}
		rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
		for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
			struct body_record record;
			if (key.mv_size != 8 || be32_get(key.mv_data) != c->segment)
				break;
			uint64_t body = be64_get(key.mv_data);
			if (pass == 1 && value.mv_size != 8)
				continue;
			if (pass == 1)
				body = be64_get(value.mv_data);
			enum status found = body_record_get(env, txn, body, &record);
			if (found == STATUS_CORRUPT)
				status = found;
			if (found != STATUS_OK || record.segment != c->segment)
				continue;
			if (!move_add(c, body, &record))
				break;
		}
		if (rc != 0 && rc != MDB_NOTFOUND)
			status = lmdb_status(rc);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	lmdb_txn_leave(env);
	return status;
}

/* ---- copying ---- */

static enum status
copy_flush(struct compaction *c)
{
	size_t done = 0;
	enum status status = segment_allocate(c->out, c->written + c->filled);
	while (done < c->filled && status == STATUS_OK) {
		ssize_t got = pwrite(c->out->fd, c->buffer + done, c->filled - done,
		    (off_t)(c->written + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			status = got < 0 && errno != EFBIG ? status_from_errno(errno)
			                                   : STATUS_FULL;
		else
			done += (size_t)got;
	}
	c->written += c->filled;
	c->filled = 0;
	return status;
}

static enum status
copy_bytes(struct compaction *c, const char *bytes, size_t len)
{
	while (len > 0) {
		size_t part =
		    COPY_BUFFER - c->filled < len ? COPY_BUFFER - c->filled : len;
		memcpy(c->buffer + c->filled, bytes, part);
		c->filled += part;
		bytes += part;
		len -= part;
		if (c->filled == COPY_BUFFER) {
			enum status status = copy_flush(c);
			if (status != STATUS_OK)
				return status;
		}
	}
	return STATUS_OK;
}

/* The bytes are copied as they are: when they are damaged the checksum still says so. */
static enum status
move_copy(struct compaction *c, struct move *move)
{
	static const char ZEROES[BODY_FRAME_ALIGN];
	char header[BODY_FRAME_HEADER_SIZE];
	uint64_t size = move->from.size, done = 0;
	move->to = c->written + c->filled;
	body_frame_header_put(header, size, move->from.crc);
	enum status status = copy_bytes(c, header, sizeof header);
	while (done < size && status == STATUS_OK) {
		size_t want =
		    size - done < COPY_BUFFER ? (size_t)(size - done) : COPY_BUFFER;
		ssize_t got = pread(c->fd, c->chunk, want,
		    (off_t)(move->from.offset + move->from.start + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? STATUS_IO : STATUS_CORRUPT;
		status = copy_bytes(c, c->chunk, (size_t)got);
		done += (uint64_t)got;
	}
	if (status == STATUS_OK)
		status = copy_bytes(
		    c, ZEROES, (size_t)(body_live_bytes(size) - sizeof header - size));
	return status;
}

/* Room for the step's bytes in the segment that takes moved bodies. */
static enum status
compacted_room(struct lmdb_env *env, uint64_t bytes)
{
	struct engine_segment *out = env->compacted;
	if (out && bytes <= out->capacity - out->end)
		return STATUS_OK;
	segment_unref(&env->compacted);
	uint32_t id;
	enum status status = segment_id_take(env, &env->compact_ids, &id);
	if (status == STATUS_OK)
		status = segment_create(env, id, bytes, &env->compacted);
	return status;
}

static enum status
moves_copy(struct compaction *c)
{
	struct lmdb_env *env = c->env;
	enum status status = compacted_room(env, c->bytes);
	if (status != STATUS_OK)
		return status;
	c->out = env->compacted;
	c->written = c->out->end;
	c->filled = 0;
	for (size_t i = 0; i < c->count && status == STATUS_OK; i++)
		status = move_copy(c, &c->moves[i]);
	if (status == STATUS_OK)
		status = copy_flush(c);
	if (status != STATUS_OK)
		return status; /* what was written is overwritten by the next step */
	c->out->end = c->written;
	if (env->engine->sync) {
		if (fdatasync(c->out->fd) < 0)
			lmdb_fatal("fdatasync of a compacted segment", errno);
		atomic_fetch_add_explicit(
		    &env->engine->engine.syncs, 1, memory_order_relaxed);
	}
	return STATUS_OK;
}

/* ---- the transaction ---- */

static int
moved_put(
    struct lmdb_env *env, MDB_txn *txn, uint32_t segment, uint64_t offset, uint64_t body)
{
	char place[8], id[8];
	be64_put(place, (uint64_t)segment << 32 | offset / BODY_FRAME_ALIGN);
	be64_put(id, body);
	MDB_val key = {sizeof place, place}, value = {sizeof id, id};
	return mdb_put(txn, env->moved, &key, &value, 0);
}

/* A body that is where it was copied from gets its new place; one that was released in
 * between stays gone. */
static enum status
move_apply(struct compaction *c, MDB_txn *txn, const struct move *move, int64_t *moved)
{
	struct body_record now;
	enum status status = body_record_get(c->env, txn, move->body, &now);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK || now.segment != move->from.segment ||
	    now.offset != move->from.offset)
		return status;
	status = body_moved_del(c->env, txn, move->body, &now);
	if (status != STATUS_OK)
		return status;
	now.segment = c->out->id;
	now.offset = move->to;
	now.start = BODY_FRAME_HEADER_SIZE;
	*moved += (int64_t)body_live_bytes(now.size);
	status = body_record_put(c->env, txn, move->body, &now);
	if (status == STATUS_OK)
		status = lmdb_status(
		    moved_put(c->env, txn, now.segment, now.offset, move->body));
	return status;
}

static enum status
moves_repack(struct compaction *c, MDB_txn *txn)
{
	uint64_t bodies[STEP_BODIES_MAX];
	for (size_t i = 0; i < c->count; i++)
		bodies[i] = c->moves[i].body;
	return derived_repack(c->env, txn, bodies, c->count);
}

static enum status
moves_commit_once(struct compaction *c, bool repack)
{
	struct lmdb_env *env = c->env;
	MDB_txn *txn = NULL;
	enum status status = lmdb_txn_enter(env, 0, &txn);
	if (status != STATUS_OK)
		return status;
	uint64_t number = mdb_txn_id(txn);
	int64_t moved = 0;
	for (size_t i = 0; i < c->count && status == STATUS_OK; i++)
		status = move_apply(c, txn, &c->moves[i], &moved);
	if (status == STATUS_OK && moved > 0 && repack)
		status = moves_repack(c, txn);
	struct segment_delta from = {c->segment, -moved, 0};
	if (status == STATUS_OK && moved > 0) {
		struct segment_delta to = {c->out->id, moved, c->out->end};
		status = segment_record_add(env, txn, &to);
	}
	if (status == STATUS_OK && moved > 0)
		status = segment_record_add(env, txn, &from);
	bool dead = false, recorded = false;
	if (status == STATUS_OK)
		status = segment_is_dead(env, txn, c->segment, &dead, &recorded);
	if (status == STATUS_OK && dead && recorded) {
		char bytes[4];
		MDB_val key = segment_key(bytes, c->segment);
		status = lmdb_status(mdb_del(txn, env->seg, &key, NULL));
	}
	if (status == STATUS_OK)
		status = lmdb_txn_commit(env, txn);
	else
		mdb_txn_abort(txn);
	lmdb_txn_leave(env);
	if (status != STATUS_OK)
		return status;
	if (dead)
		retired_add(env, c->segment, number);
	c->totals->moved_bytes += (uint64_t)moved;
	c->totals->moved_bodies += moved > 0 ? c->count : 0;
	return STATUS_OK;
}

/* Repacking takes more room for the moment: with too little, the move alone. */
static enum status
moves_commit(struct compaction *c)
{
	enum status status = moves_commit_once(c, true);
	return status == STATUS_FULL ? moves_commit_once(c, false) : status;
}

/* The end of the last frame that a record has ever named; 0: not known.  Asked as a
 * writer: a process that was killed behind its write of LMDB's meta page has committed,
 * and readers do not see it until the next writer has looked. */
static uint64_t
segment_end(struct lmdb_env *env, uint32_t segment)
{
	MDB_txn *txn = NULL;
	if (lmdb_txn_enter(env, 0, &txn) != STATUS_OK)
		return 0;
	char bytes[4];
	MDB_val key = segment_key(bytes, segment), value;
	struct segment_record record = {0, 0};
	if (mdb_get(txn, env->seg, &key, &value) != 0 ||
	    !segment_record_decode(slice_make(value.mv_data, value.mv_size), &record))
		record.end = 0;
	mdb_txn_abort(txn);
	lmdb_txn_leave(env);
	return record.end;
}

/* Blocks that a killed process had allocated ahead, and frames that were never
 * committed.  Where the last frame ends is asked now, with the file locked for us: the
 * process that had it may have committed more since the candidates were looked at. */
static void
segment_trim(struct compaction *c)
{
	struct stat st;
	uint64_t end = segment_end(c->env, c->segment);
	if (end > 0 && fstat(c->fd, &st) == 0 && (uint64_t)st.st_size > end + TRIM_MIN &&
	    ftruncate(c->fd, (off_t)end) == 0)
		c->totals->freed_bytes += (uint64_t)st.st_size - end;
}

/* Steps until the segment is empty or the budget is used up. */
static enum status
segment_compact(
    struct compaction *c, const struct candidate *row, uint64_t *budget, bool *out_done)
{
	char name[16];
	segment_name(row->segment, name);
	*out_done = true;
	c->fd = segment_lock(c->env, name, O_RDWR);
	if (c->fd < 0)
		return STATUS_OK; /* some process has it: not now */
	c->segment = row->segment;
	segment_trim(c);
	enum status status;
	do {
		status = moves_gather(c);
		if (status == STATUS_OK && c->count > 0)
			status = moves_copy(c);
		if (status == STATUS_OK && c->count > 0)
			status = moves_commit(c);
		*budget -= c->bytes < *budget ? c->bytes : *budget;
	} while (status == STATUS_OK && c->more && *budget > 0);
	*out_done = !c->more;
	close(c->fd);
	return status;
}

static enum status
env_compact(struct compaction *c, uint64_t *budget, uint32_t dead_percent)
{
	struct candidates candidates = {NULL, 0, 0};
	uint64_t size = 0, dead = 0;
	enum status status = candidates_gather(c->env, &candidates);
	if (candidates.count > 0)
		qsort(candidates.rows, candidates.count, sizeof *candidates.rows,
		    candidate_compare);
	for (size_t i = 0; i < candidates.count; i++) {
		if (candidates.rows[i].locked)
			continue;
		size += candidates.rows[i].size;
		dead += candidate_dead(&candidates.rows[i]);
	}
	/* The deadest first, so that few bytes are moved for much that gets free. */
	for (size_t i = 0; i < candidates.count && status == STATUS_OK; i++) {
		const struct candidate *row = &candidates.rows[i];
		if (row->locked || row->live == 0)
			continue;
		if (dead * 100 <= size * dead_percent || candidate_dead(row) == 0)
			break;
		bool done = true;
		if (*budget == 0) {
			c->totals->more = true;
			break;
		}
		status = segment_compact(c, row, budget, &done);
		if (status == STATUS_IO || status == STATUS_CORRUPT) {
			/* It cannot be read: verify names what is in it; the others are
			 * not to suffer. */
			c->totals->unreadable++;
			LOG_ERROR("store.compact", LF_U64("segment", row->segment),
			    LF_STR("status", status_text(status)));
			status = STATUS_OK;
		}
		if (!done)
			c->totals->more = true;
		size -= row->size - (done ? 0 : row->live);
		dead -= candidate_dead(row) < dead ? candidate_dead(row) : dead;
	}
	free(candidates.rows);
	c->totals->deleted += retired_unlink(c->env, &c->totals->freed_bytes);
	return status;
}

enum status
lmdb_compact(struct engine *base, uint64_t budget, uint32_t dead_percent,
    struct engine_reclaim *out)
{
	struct lmdb_engine *engine = (struct lmdb_engine *)base;
	struct compaction c = {.totals = out, .fd = -1};
	c.moves = xcalloc(STEP_BODIES_MAX, sizeof *c.moves);
	c.buffer = xmalloc(COPY_BUFFER);
	c.chunk = xmalloc(COPY_BUFFER);
	enum status status = STATUS_OK;
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + base->shards; i++) {
		c.env = &engine->envs[i];
		pthread_mutex_lock(&c.env->reclaim_lock);
		enum status one = env_compact(&c, &budget, dead_percent);
		pthread_mutex_unlock(&c.env->reclaim_lock);
		if (one != STATUS_OK)
			status = one;
	}
	free(c.moves);
	free(c.buffer);
	free(c.chunk);
	atomic_fetch_add_explicit(
	    &base->moved_bytes, out->moved_bytes, memory_order_relaxed);
	return status;
}

enum status
lmdb_space(struct engine *base, struct engine_space *out)
{
	struct lmdb_engine *engine = (struct lmdb_engine *)base;
	enum status status = STATUS_OK;
	for (uint32_t i = 0; i < ENGINE_ENV_SHARD + base->shards; i++) {
		struct lmdb_env *env = &engine->envs[i];
		struct candidates candidates = {NULL, 0, 0};
		pthread_mutex_lock(&env->reclaim_lock);
		enum status one = candidates_gather(env, &candidates);
		out->retired += env->retired_count;
		pthread_mutex_unlock(&env->reclaim_lock);
		for (size_t r = 0; r < candidates.count; r++) {
			const struct candidate *row = &candidates.rows[r];
			out->segments++;
			out->file_bytes += row->size;
			out->live_bytes += row->live;
			if (row->locked)
				out->growing_bytes += row->size;
		}
		free(candidates.rows);
		struct stat st;
		char path[LMDB_PATH_MAX];
		snprintf(path, sizeof path, "%s/data.mdb", env->path);
		if (stat(path, &st) == 0)
			out->index_bytes += (uint64_t)st.st_size;
		if (one != STATUS_OK)
			status = one;
	}
	return status;
}
