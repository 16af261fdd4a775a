/*
 * Placing drafts: their bytes become durable in a segment before the transaction that
 * refers to them begins.  Memory drafts are appended to the process's current segment in
 * one vectored write and one fdatasync a batch; a spilled draft's file is linked in as a
 * segment of its own, without copying (where the file system cannot, it is appended).
 *
 * A draft that cannot be placed fails its commits with FULL, READ_ONLY or IO and harms no
 * others.  A sync that fails ends the process.  Runs on the environment's writer thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "store/engine_lmdb_int.h"

enum {
	PLACE_VECTOR_MAX = 1024, /* IOV_MAX */
	PLACE_DRAFTS_MAX = PLACE_VECTOR_MAX / 3,
};

/* Frames gathered for one write to the current segment. */
struct append {
	struct lmdb_env *env;
	uint64_t offset; /* in the file, of the first */
	uint64_t bytes;
	int vector_count;
	struct iovec vector[PLACE_VECTOR_MAX];
	size_t draft_count;
	struct body_draft *drafts[PLACE_DRAFTS_MAX];
	char headers[PLACE_DRAFTS_MAX][BODY_FRAME_HEADER_SIZE];
	bool dirty;            /* the current segment has bytes that are not synced */
	size_t placed;         /* drafts of this batch */
	uint64_t placed_bytes; /* their frames */
	bool linked;           /* the folder has entries that are not synced */
	enum status failure;   /* why the last draft was not placed */
};

void
lmdb_place_release(struct body_place *place)
{
	segment_unref(&place->segment);
}

/* Takes a run of segment ids for this process: gaps do no harm, ids are never reused. */
static enum status
segment_ids_reserve(struct lmdb_env *env, struct segment_ids *ids)
{
	MDB_txn *txn = NULL;
	enum status status = lmdb_txn_enter(env, 0, &txn);
	if (status != STATUS_OK)
		return status;
	MDB_val key = {12, (void *)(uintptr_t) "next_segment"}, value;
	uint32_t next = 1;
	int rc = mdb_get(txn, env->meta, &key, &value);
	if (rc == 0 && value.mv_size == 4)
		next = be32_get(value.mv_data);
	if ((rc == 0 && value.mv_size != 4) || next == 0 ||
	    next > UINT32_MAX - LMDB_SEGMENT_RESERVE)
		rc = MDB_CORRUPTED;
	char bytes[4];
	be32_put(bytes, next + LMDB_SEGMENT_RESERVE);
	value = (MDB_val){sizeof bytes, bytes};
	if (rc == 0 || rc == MDB_NOTFOUND)
		rc = mdb_put(txn, env->meta, &key, &value, 0);
	status = lmdb_status(rc);
	if (status == STATUS_OK)
		status = lmdb_txn_commit(env, txn);
	else
		mdb_txn_abort(txn);
	lmdb_txn_leave(env);
	if (status != STATUS_OK)
		return status;
	ids->next = next;
	ids->end = next + LMDB_SEGMENT_RESERVE;
	return STATUS_OK;
}

enum status
segment_id_take(struct lmdb_env *env, struct segment_ids *ids, uint32_t *out)
{
	if (ids->next == ids->end) {
		enum status status = segment_ids_reserve(env, ids);
		if (status != STATUS_OK)
			return status;
	}
	*out = ids->next++;
	return STATUS_OK;
}

/* ---- appending ---- */

static enum status
write_vector(int fd, struct iovec *vector, int count, uint64_t offset)
{
	while (count > 0) {
		ssize_t done = pwritev(fd, vector, count, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) /* EFBIG is a limit on files: no room, too */
			return done < 0 && errno != EFBIG ? status_from_errno(errno)
			                                  : STATUS_FULL;
		offset += (uint64_t)done;
		size_t left = (size_t)done;
		while (count > 0 && left >= vector->iov_len) {
			left -= vector->iov_len;
			vector++;
			count--;
		}
		if (count > 0) {
			vector->iov_base = (char *)vector->iov_base + left;
			vector->iov_len -= left;
		}
	}
	return STATUS_OK;
}

/* Writes what was gathered; on failure the drafts are as if never placed. */
static void
append_flush(struct append *append)
{
	struct engine_segment *segment = append->env->current;
	if (append->draft_count == 0)
		return;
	enum status status = segment_allocate(segment, append->offset + append->bytes);
	if (status == STATUS_OK)
		status = write_vector(
		    segment->fd, append->vector, append->vector_count, append->offset);
	if (status == STATUS_OK) {
		append->dirty = true;
		atomic_fetch_add_explicit(&append->env->engine->engine.body_bytes,
		    append->bytes, memory_order_relaxed);
	} else {
		append->failure = status;
		segment->end = append->offset;
		for (size_t i = 0; i < append->draft_count; i++) {
			struct body_place *place =
			    &append->drafts[i]->places[append->env->env.index];
			segment_unref(&place->segment);
			*place = (struct body_place){0};
		}
	}
	append->draft_count = 0;
	append->vector_count = 0;
	append->bytes = 0;
}

/* OK, or READ_ONLY: the file system has become so, and what is not synced stays so.  Any
 * other failure ends the process. */
static enum status
append_sync(struct append *append)
{
	if (!append->dirty && append->env->redo_waiting == 0)
		return STATUS_OK;
	if (append->env->engine->sync) {
		if (fdatasync(append->env->current->fd) < 0) {
			if (errno != EROFS)
				lmdb_fatal("fdatasync of a segment", errno);
			append->failure = STATUS_READ_ONLY;
			return STATUS_READ_ONLY;
		}
		atomic_fetch_add_explicit(
		    &append->env->engine->engine.syncs, 1, memory_order_relaxed);
		redo_synced(append->env);
	}
	append->dirty = false;
	return STATUS_OK;
}

/* The sync has failed: drafts of this batch that needed it are as if never placed. */
static void
append_undo(struct append *append, struct engine_commit **commits, size_t count)
{
	struct lmdb_env *env = append->env;
	for (size_t i = 0; i < count; i++) {
		for (struct body_draft *d = commits[i]->drafts; d; d = d->next) {
			struct body_place *place = &d->places[env->env.index];
			if (place->segment == env->current && !place->redo &&
			    place->offset > env->current->synced) {
				segment_unref(&place->segment);
				*place = (struct body_place){0};
			}
		}
	}
}

/* A short batch goes without its sync: what it placed is marked, so that the transaction
 * takes the bytes too.  True when it does. */
static bool
append_defer(struct append *append, struct engine_commit **commits, size_t count)
{
	struct lmdb_env *env = append->env;
	if (append->linked || !redo_defers(env, append->placed, append->placed_bytes))
		return false;
	for (size_t i = 0; i < count; i++) {
		for (struct body_draft *d = commits[i]->drafts; d; d = d->next) {
			struct body_place *place = &d->places[env->env.index];
			if (place->segment == env->current &&
			    place->offset > env->current->synced && !place->redo) {
				place->redo = true;
				env->redo_waiting++;
			}
		}
	}
	return true;
}

/* The current segment with room for `frame` bytes. */
static enum status
append_room(struct append *append, uint64_t frame)
{
	struct lmdb_env *env = append->env;
	bool rotate = env->current && atomic_load(&env->rotate_id) == env->current->id;
	if (env->current && !rotate &&
	    frame <= env->current->capacity - env->current->end)
		return STATUS_OK;
	append_flush(append);
	enum status status = append_sync(append);
	if (status != STATUS_OK)
		return status;
	segment_unref(&env->current);
	atomic_store(&env->current_id, 0);
	uint32_t id;
	status = segment_id_take(env, &env->ids, &id);
	if (status == STATUS_OK)
		status = segment_create(env, id, frame, &env->current);
	if (status == STATUS_OK)
		atomic_store(&env->current_id, id);
	return status;
}

static enum status
append_add(struct append *append, struct body_draft *draft)
{
	static const char ZEROES[BODY_FRAME_ALIGN];
	struct slice bytes = body_draft_stored(draft);
	uint64_t frame = body_live_bytes(bytes.len);
	enum status status = append_room(append, frame);
	if (status != STATUS_OK)
		return status;
	if (append->draft_count == PLACE_DRAFTS_MAX)
		append_flush(append);
	struct engine_segment *segment = append->env->current;
	if (append->draft_count == 0)
		append->offset = segment->end;
	size_t at = append->draft_count++;
	append->drafts[at] = draft;
	body_frame_header_put(
	    append->headers[at], bytes.len, body_draft_stored_crc(draft));
	struct iovec *vector = append->vector + append->vector_count;
	*vector++ = (struct iovec){append->headers[at], BODY_FRAME_HEADER_SIZE};
	*vector++ = (struct iovec){(void *)(uintptr_t)bytes.ptr, bytes.len};
	*vector = (struct iovec){(void *)(uintptr_t)ZEROES,
	    (size_t)(frame - BODY_FRAME_HEADER_SIZE - bytes.len)};
	append->vector_count += 3;
	append->bytes += frame;
	struct body_place *place = &draft->places[append->env->env.index];
	atomic_fetch_add(&segment->holders, 1);
	place->segment = segment;
	place->body = (uint64_t)segment->id << 32 | segment->end / BODY_FRAME_ALIGN;
	place->offset = segment->end + BODY_FRAME_HEADER_SIZE;
	segment->end += frame;
	append->placed++;
	append->placed_bytes += frame;
	return STATUS_OK;
}

/* ---- linking ---- */

/* The spool file becomes a segment; it stays locked as long as the draft lives.  Not OK:
 * append it instead. */
static enum status
link_draft(struct append *append, struct body_draft *draft)
{
	struct lmdb_env *env = append->env;
	uint32_t id;
	if (flock(draft->fd, LOCK_SH | LOCK_NB) < 0)
		return STATUS_BUSY;
	enum status status = segment_id_take(env, &env->ids, &id);
	if (status != STATUS_OK)
		return status;
	char from[64], name[16];
	snprintf(from, sizeof from, "/proc/self/fd/%d", draft->fd);
	segment_name(id, name);
	if (linkat(AT_FDCWD, from, env->bodies_fd, name, AT_SYMLINK_FOLLOW) < 0)
		return status_from_errno(errno);
	if (env->engine->sync) {
		/* Not fdatasync: the link count must be there with the name. */
		if (fsync(draft->fd) < 0)
			lmdb_fatal("fsync of a spilled draft", errno);
		atomic_fetch_add_explicit(
		    &env->engine->engine.syncs, 1, memory_order_relaxed);
	}
	append->linked = true;
	struct body_place *place = &draft->places[env->env.index];
	place->body = (uint64_t)id << 32;
	place->offset = draft->start;
	atomic_fetch_add_explicit(
	    &env->engine->engine.body_bytes, draft->size, memory_order_relaxed);
	return STATUS_OK;
}

static void
place_draft(struct append *append, struct body_draft *draft)
{
	enum status status = STATUS_IO;
	if (draft->fd >= 0)
		status = link_draft(append, draft);
	if (status != STATUS_OK)
		status = append_add(append, draft);
	if (status != STATUS_OK)
		append->failure = status;
}

void
lmdb_place(struct engine_env *base, struct engine_commit **commits, size_t count)
{
	struct lmdb_env *env = (struct lmdb_env *)base;
	struct append append;
	append.env = env;
	append.bytes = 0;
	append.vector_count = 0;
	append.draft_count = 0;
	append.placed = 0;
	append.placed_bytes = 0;
	append.dirty = append.linked = false;
	append.failure = STATUS_FULL;
	bool low = lmdb_room_is_low(env);
	for (size_t i = 0; i < count; i++) {
		if (low && commits[i]->grows)
			commits[i]->status = STATUS_FULL;
		for (struct body_draft *d = commits[i]->drafts; d; d = d->next) {
			if (d->places[base->index].body == 0 && !low)
				place_draft(&append, d);
		}
	}
	append_flush(&append);
	if (append.dirty && !append_defer(&append, commits, count) &&
	    append_sync(&append) != STATUS_OK)
		append_undo(&append, commits, count);
	if (append.linked)
		segment_dir_sync(env);
	if (append.failure == STATUS_READ_ONLY)
		lmdb_writable_say(env, false);
	/* A flush that failed has taken places back. */
	for (size_t i = 0; i < count; i++) {
		for (struct body_draft *d = commits[i]->drafts; d; d = d->next) {
			if (d->places[base->index].body == 0)
				commits[i]->status = append.failure;
		}
	}
}
