/*
 * The engine's invariants:
 *
 *	1. A segment's live bytes are the sum over its bodies' frames; its end is at or
 *	   behind the last of them.
 *	2. A body has references, its segment's file is there and long enough, and the
 *	   frame header says the same size and checksum.
 *	3. A derived record has its body.
 *	4. A body that is not where it was first has its place in `moved`, and every entry
 *	   there has its body.
 *
 * One snapshot an environment; the files that it names cannot go meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hashmap.h"
#include "store/engine_lmdb_int.h"

/* What the bodies of a segment sum to. */
struct segment_sum {
	uint64_t live, end;
};

struct check {
	struct lmdb_env *env;
	MDB_txn *txn;
	void (*report)(const char *problem, void *arg);
	void *arg;
	struct hashmap *sums; /* segment u32 -> struct segment_sum */
	/* the segment that the walk over the bodies is in: */
	uint32_t segment;
	struct segment_sum *sum;
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

/* The walk comes to a body of another segment. */
static void
check_segment_begin(struct check *check, uint32_t segment)
{
	char key[4], name[16], header[BODY_SEGMENT_HEADER_SIZE];
	be32_put(key, segment);
	if (check->fd >= 0)
		close(check->fd);
	check->segment = segment;
	check->file_size = 0;
	check->sum = hashmap_get(check->sums, slice_make(key, sizeof key));
	bool first = !check->sum;
	if (first) {
		check->sum = xcalloc(1, sizeof *check->sum);
		hashmap_put(check->sums, slice_make(key, sizeof key), check->sum);
	}
	segment_name(segment, name);
	check->fd = openat(check->env->bodies_fd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (check->fd < 0 || fstat(check->fd, &st) < 0) {
		if (first)
			check_problem(
			    check, "segment %08x: %s", segment, strerror(errno));
		return;
	}
	check->file_size = (uint64_t)st.st_size;
	if (first && (pread(check->fd, header, sizeof header, 0) != sizeof header ||
			 !body_segment_header_ok(header)))
		check_problem(check, "segment %08x has a damaged header", segment);
}

/* Invariant 4, from the body's side. */
static void
check_place(struct check *check, uint64_t id, const struct body_record *record)
{
	if (record->segment == (uint32_t)(id >> 32))
		return;
	char place[8];
	be64_put(
	    place, (uint64_t)record->segment << 32 | record->offset / BODY_FRAME_ALIGN);
	MDB_val key = {sizeof place, place}, value;
	if (mdb_get(check->txn, check->env->moved, &key, &value) != 0 ||
	    value.mv_size != 8 || be64_get(value.mv_data) != id)
		check_problem(check, "body %016llx was moved, and its place is not known",
		    (unsigned long long)id);
}

/* Invariant 2. */
static void
check_body(struct check *check, uint64_t id, const struct body_record *record)
{
	uint64_t end = record->offset + record->start + record->size;
	check->sum->live += body_live_bytes(record->size);
	if (end > check->sum->end)
		check->sum->end = end;
	check_place(check, id, record);
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
		if (!check->sum || record.segment != check->segment)
			check_segment_begin(check, record.segment);
		check_body(check, be64_get(key.mv_data), &record);
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Invariant 1, of one record. */
static void
check_segment(struct check *check, uint32_t id, const struct segment_record *record)
{
	char key[4];
	be32_put(key, id);
	struct segment_sum *sum =
	    hashmap_remove(check->sums, slice_make(key, sizeof key));
	uint64_t live = sum ? sum->live : 0, end = sum ? sum->end : 0;
	free(sum);
	if (record->live != live)
		check_problem(check, "segment %08x counts %llu live bytes, has %llu", id,
		    (unsigned long long)record->live, (unsigned long long)live);
	if (record->end < end)
		check_problem(check, "segment %08x ends at %llu, before a body", id,
		    (unsigned long long)record->end);
}

static bool
check_segment_left(struct slice key, void *value, void *arg)
{
	check_problem(arg, "segment %08x has bodies but no record", be32_get(key.ptr));
	free(value);
	return false;
}

/* After the bodies: takes the sums out as it goes. */
static int
check_segments(struct check *check)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(check->txn, check->env->seg, &cursor);
	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		struct segment_record record;
		if (key.mv_size != 4 ||
		    !segment_record_decode(
			slice_make(value.mv_data, value.mv_size), &record)) {
			check_problem(check, "a segment record of a wrong size");
			continue;
		}
		check_segment(check, be32_get(key.mv_data), &record);
	}
	mdb_cursor_close(cursor);
	hashmap_each(check->sums, check_segment_left, check);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Invariant 4, from the other side. */
static int
check_moved(struct check *check)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(check->txn, check->env->moved, &cursor);
	if (rc != 0)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		struct body_record record;
		if (key.mv_size != 8 || value.mv_size != 8 ||
		    body_record_get(check->env, check->txn, be64_get(value.mv_data),
			&record) != STATUS_OK ||
		    ((uint64_t)record.segment << 32 | record.offset / BODY_FRAME_ALIGN) !=
			be64_get(key.mv_data))
			check_problem(check, "a moved body's place without its body");
	}
	mdb_cursor_close(cursor);
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
	check->sums = hashmap_new();
	int rc = check_bodies(check);
	if (check->fd >= 0)
		close(check->fd);
	if (rc == 0)
		rc = check_segments(check);
	if (rc == 0)
		rc = check_derived(check);
	if (rc == 0)
		rc = check_moved(check);
	hashmap_free(&check->sums, free);
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
