/*
 * Body records: references, derived bytes, and the live-byte counters of segments, which
 * a write transaction gathers in memory and writes once at its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "store/body_pack.h"
#include "store/engine_lmdb_int.h"

enum {
	BODY_RECORD_SIZE = 32, /* without flags */
	BODY_RECORD_RAW_SIZE = 33,
	BODY_RECORD_RAW_CRC = 41,
	BODY_RECORD_SIZE_PACKED = 45,
	SEGMENT_RECORD_SIZE = 16,
};

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

static MDB_val
id_key(char out[8], uint64_t body)
{
	be64_put(out, body);
	return (MDB_val){8, out};
}

uint64_t
body_live_bytes(uint64_t size)
{
	uint64_t bytes = BODY_FRAME_HEADER_SIZE + size;
	return (bytes + BODY_FRAME_ALIGN - 1) / BODY_FRAME_ALIGN * BODY_FRAME_ALIGN;
}

bool
body_record_decode(struct slice value, struct body_record *out)
{
	if (value.len != BODY_RECORD_SIZE && value.len != BODY_RECORD_SIZE + 1 &&
	    value.len != BODY_RECORD_SIZE_PACKED)
		return false;
	out->segment = be32_get(value.ptr);
	out->offset = be64_get(value.ptr + 4);
	out->size = be64_get(value.ptr + 12);
	out->refs = be32_get(value.ptr + 20);
	out->crc = be32_get(value.ptr + 24);
	out->start = be32_get(value.ptr + 28);
	out->flags =
	    value.len > BODY_RECORD_SIZE ? (uint8_t)value.ptr[BODY_RECORD_SIZE] : 0;
	bool packed = out->flags & BODY_RECORD_PACKED;
	if ((out->flags & ~(BODY_RECORD_DAMAGED | BODY_RECORD_PACKED)) != 0 ||
	    packed != (value.len == BODY_RECORD_SIZE_PACKED))
		return false;
	out->raw_size = packed ? be64_get(value.ptr + BODY_RECORD_RAW_SIZE) : out->size;
	out->raw_crc = packed ? be32_get(value.ptr + BODY_RECORD_RAW_CRC) : out->crc;
	return !packed || (out->raw_size > 0 && out->raw_size <= BODY_PACK_RAW_MAX &&
			      out->size < out->raw_size);
}

enum status
body_record_put(
    struct lmdb_env *env, MDB_txn *mdb, uint64_t body, const struct body_record *record)
{
	char bytes[BODY_RECORD_SIZE_PACKED], id[8];
	be32_put(bytes, record->segment);
	be64_put(bytes + 4, record->offset);
	be64_put(bytes + 12, record->size);
	be32_put(bytes + 20, record->refs);
	be32_put(bytes + 24, record->crc);
	be32_put(bytes + 28, record->start);
	bytes[BODY_RECORD_SIZE] = (char)record->flags;
	size_t len = BODY_RECORD_SIZE + (record->flags != 0);
	if (record->flags & BODY_RECORD_PACKED) {
		be64_put(bytes + BODY_RECORD_RAW_SIZE, record->raw_size);
		be32_put(bytes + BODY_RECORD_RAW_CRC, record->raw_crc);
		len = BODY_RECORD_SIZE_PACKED;
	}
	MDB_val key = id_key(id, body);
	MDB_val value = {len, bytes};
	return lmdb_status(mdb_put(mdb, env->body, &key, &value, 0));
}

enum status
body_moved_del(
    struct lmdb_env *env, MDB_txn *mdb, uint64_t body, const struct body_record *record)
{
	if (record->segment == (uint32_t)(body >> 32))
		return STATUS_OK;
	char place[8];
	MDB_val key = id_key(
	    place, (uint64_t)record->segment << 32 | record->offset / BODY_FRAME_ALIGN);
	int rc = mdb_del(mdb, env->moved, &key, NULL);
	return rc == MDB_NOTFOUND ? STATUS_OK : lmdb_status(rc);
}

enum status
body_record_get(
    struct lmdb_env *env, MDB_txn *mdb, uint64_t body, struct body_record *out)
{
	char id[8];
	MDB_val key = id_key(id, body), value;
	int rc = mdb_get(mdb, env->body, &key, &value);
	if (rc != 0)
		return lmdb_status(rc);
	struct slice bytes = slice_make(value.mv_data, value.mv_size);
	return body_record_decode(bytes, out) ? STATUS_OK : STATUS_CORRUPT;
}

bool
segment_record_decode(struct slice value, struct segment_record *out)
{
	if (value.len != SEGMENT_RECORD_SIZE)
		return false;
	out->live = be64_get(value.ptr);
	out->end = be64_get(value.ptr + 8);
	return true;
}

/* ---- counters ---- */

enum status
segment_record_add(struct lmdb_env *env, MDB_txn *mdb, const struct segment_delta *delta)
{
	char id[4], bytes[SEGMENT_RECORD_SIZE];
	be32_put(id, delta->segment);
	MDB_val key = {sizeof id, id}, value;
	struct segment_record record = {0, 0};
	int rc = mdb_get(mdb, env->seg, &key, &value);
	if (rc == 0 &&
	    !segment_record_decode(slice_make(value.mv_data, value.mv_size), &record))
		return STATUS_CORRUPT;
	if (rc != 0 && rc != MDB_NOTFOUND)
		return lmdb_status(rc);
	/* Below zero is damage that a check reports; the counter must not wrap. */
	int64_t live = (int64_t)record.live + delta->live;
	be64_put(bytes, live < 0 ? 0 : (uint64_t)live);
	be64_put(bytes + 8, record.end > delta->end ? record.end : delta->end);
	value = (MDB_val){sizeof bytes, bytes};
	return lmdb_status(mdb_put(mdb, env->seg, &key, &value, 0));
}

enum status
lmdb_deltas_flush(struct lmdb_env *env)
{
	for (size_t i = 0; i < env->delta_count; i++) {
		enum status status =
		    segment_record_add(env, env->write.mdb, &env->deltas[i]);
		if (status != STATUS_OK)
			return status;
	}
	env->delta_count = 0;
	return STATUS_OK;
}

static enum status
delta_add(struct lmdb_env *env, const struct body_record *record, int sign)
{
	struct segment_delta *delta = NULL;
	for (size_t i = env->delta_count; i-- > 0 && !delta;) {
		if (env->deltas[i].segment == record->segment)
			delta = &env->deltas[i];
	}
	if (!delta) {
		if (env->delta_count == LMDB_DELTAS_MAX) {
			enum status status = lmdb_deltas_flush(env);
			if (status != STATUS_OK)
				return status;
		}
		delta = &env->deltas[env->delta_count++];
		*delta = (struct segment_delta){record->segment, 0, 0};
	}
	delta->live += sign * (int64_t)body_live_bytes(record->size);
	uint64_t end = record->offset + record->start + record->size;
	if (sign > 0 && end > delta->end)
		delta->end = end;
	return STATUS_OK;
}

/* ---- writing ---- */

enum status
lmdb_body_count(struct engine_txn *txn, uint64_t body, int delta)
{
	struct lmdb_env *env = txn_env(txn);
	struct body_record record;
	enum status status = body_record_get(env, txn_mdb(txn), body, &record);
	if (status != STATUS_OK)
		return status;
	if (record.refs == 0)
		return STATUS_CORRUPT;
	if (delta > 0 && record.refs == UINT32_MAX)
		return STATUS_LIMIT;
	record.refs += (uint32_t)delta;
	if (record.refs > 0)
		return body_record_put(env, txn_mdb(txn), body, &record);
	char id[8];
	MDB_val key = id_key(id, body);
	int rc = mdb_del(txn_mdb(txn), env->body, &key, NULL);
	if (rc == 0)
		rc = mdb_del(txn_mdb(txn), env->derived, &key, NULL);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return lmdb_status(rc);
	status = body_moved_del(env, txn_mdb(txn), body, &record);
	return status == STATUS_OK ? delta_add(env, &record, -1) : status;
}

enum status
lmdb_body_set_derived(struct engine_txn *txn, uint64_t body, struct slice derived)
{
	char id[8];
	MDB_val key = id_key(id, body);
	MDB_val value = {derived.len, (void *)(uintptr_t)derived.ptr};
	if (derived.len == 0) {
		int rc = mdb_del(txn_mdb(txn), txn_env(txn)->derived, &key, NULL);
		return rc == MDB_NOTFOUND ? STATUS_OK : lmdb_status(rc);
	}
	return lmdb_status(mdb_put(txn_mdb(txn), txn_env(txn)->derived, &key, &value, 0));
}

enum status
derived_repack(struct lmdb_env *env, MDB_txn *mdb, const uint64_t *bodies, size_t count)
{
	enum { HEAD = 12, TAKEN_MAX = 1024 /* bytes; larger ones fill a page anyhow */ };
	AUTO_BUF struct buf taken; /* body u64, length u32, bytes */
	char head[HEAD];
	MDB_val key = {8, head}, value;
	int rc = 0;
	buf_init(&taken, count * (HEAD + TAKEN_MAX));
	for (size_t i = 0; i < count && rc == 0; i++) {
		be64_put(head, bodies[i]);
		key.mv_data = head;
		rc = mdb_get(mdb, env->derived, &key, &value);
		if (rc == 0 && value.mv_size <= TAKEN_MAX) {
			be32_put(head + 8, (uint32_t)value.mv_size);
			buf_append(&taken, slice_make(head, HEAD));
			buf_append(&taken, slice_make(value.mv_data, value.mv_size));
			rc = mdb_del(mdb, env->derived, &key, NULL);
		}
		if (rc == MDB_NOTFOUND)
			rc = 0; /* it has none, or is gone */
	}
	for (char *at = taken.ptr; rc == 0 && at < taken.ptr + taken.len;) {
		key.mv_data = at;
		value = (MDB_val){be32_get(at + 8), at + HEAD};
		rc = mdb_put(mdb, env->derived, &key, &value, 0);
		at += HEAD + value.mv_size;
	}
	return lmdb_status(rc);
}

enum status
lmdb_body_attach(struct engine_txn *txn, struct body_draft *draft, uint64_t *out_body)
{
	const struct body_place *place = &draft->places[txn->env->index];
	ENSURE(place->body != 0); /* the commit must have named the draft */
	*out_body = place->body;
	/* Gone and attached again is no different from new: the draft's hold on the
	 * segment has kept the bytes. */
	enum status status = lmdb_body_count(txn, place->body, 1);
	if (status != STATUS_NOT_FOUND)
		return status;
	struct slice stored = body_draft_stored(draft);
	struct body_record record = {
	    .segment = (uint32_t)(place->body >> 32),
	    .offset = place->offset - BODY_FRAME_HEADER_SIZE,
	    .size = stored.len,
	    .refs = 1,
	    .crc = body_draft_stored_crc(draft),
	    .start = BODY_FRAME_HEADER_SIZE,
	    .flags = draft->packed.len ? BODY_RECORD_PACKED : 0,
	    .raw_size = draft->size,
	    .raw_crc = draft->crc,
	};
	status = body_record_put(txn_env(txn), txn_mdb(txn), place->body, &record);
	struct slice derived = body_draft_derived(draft);
	if (status == STATUS_OK && derived.len > 0)
		status = lmdb_body_set_derived(txn, place->body, derived);
	if (status == STATUS_OK && place->redo)
		status = redo_put(txn_env(txn), txn_mdb(txn), place->body, stored);
	return status == STATUS_OK ? delta_add(txn_env(txn), &record, 1) : status;
}

enum status
lmdb_body_mark(struct engine_txn *txn, uint64_t body, bool damaged)
{
	struct body_record record;
	enum status status = body_record_get(txn_env(txn), txn_mdb(txn), body, &record);
	if (status != STATUS_OK)
		return status;
	record.flags = (uint8_t)((record.flags & ~BODY_RECORD_DAMAGED) |
				 (damaged ? BODY_RECORD_DAMAGED : 0));
	return body_record_put(txn_env(txn), txn_mdb(txn), body, &record);
}

/* ---- reading ---- */

static void
body_describe(const struct body_record *record, struct engine_body *out)
{
	out->size = record->raw_size;
	out->refs = record->refs;
	out->segment = record->segment;
	out->offset = record->offset + record->start;
	out->stored = record->size;
	out->crc = record->raw_crc;
	out->damaged = record->flags & BODY_RECORD_DAMAGED;
}

enum status
lmdb_body_stat(struct engine_txn *txn, uint64_t body, struct engine_body *out)
{
	struct body_record record;
	enum status status = body_record_get(txn_env(txn), txn_mdb(txn), body, &record);
	if (status == STATUS_OK)
		body_describe(&record, out);
	return status;
}

enum status
lmdb_body_derived(struct engine_txn *txn, uint64_t body, struct slice *out)
{
	char id[8];
	MDB_val key = id_key(id, body), value;
	int rc = mdb_get(txn_mdb(txn), txn_env(txn)->derived, &key, &value);
	if (rc == 0) {
		*out = slice_make(value.mv_data, value.mv_size);
		return STATUS_OK;
	}
	if (rc != MDB_NOTFOUND)
		return lmdb_status(rc);
	/* A body whose record would have been too large has an empty one. */
	struct body_record record;
	*out = SLICE("");
	return body_record_get(txn_env(txn), txn_mdb(txn), body, &record);
}

/* ---- packed bodies: the bytes in memory, as long as handles are open ---- */

struct unpacked {
	struct engine_pin pin;
	_Atomic uint32_t handles;
	char bytes[];
};

static void
unpacked_ref(struct engine_pin *base)
{
	atomic_fetch_add(&((struct unpacked *)base)->handles, 1);
}

static void
unpacked_close(struct engine_pin *base)
{
	if (atomic_fetch_sub(&((struct unpacked *)base)->handles, 1) == 1)
		free(base);
}

/* What the frame holds, whole and as its checksum says.  Read and not mapped: a damaged
 * page of the disk gives an error, not a signal. */
static enum status
packed_read(struct lmdb_env *env, const struct body_record *record, char *out)
{
	uint64_t offset = record->offset + record->start, done = 0;
	struct lmdb_pin *pin;
	enum status status = pin_open(env, record->segment, offset + record->size, &pin);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	while (done < record->size && status == STATUS_OK) {
		ssize_t got = pread(pin->fd, out + done, (size_t)(record->size - done),
		    (off_t)(offset + done));
		if (got > 0)
			done += (uint64_t)got;
		else if (got == 0)
			status = STATUS_CORRUPT;
		else if (errno != EINTR)
			status = STATUS_IO;
	}
	pin->pin.close(&pin->pin);
	if (status == STATUS_OK &&
	    crc32c(0, slice_make(out, (size_t)record->size)) != record->crc)
		status = STATUS_CORRUPT;
	return status;
}

/* The sizes were bounded when the record was decoded. */
static enum status
packed_open(
    struct lmdb_env *env, const struct body_record *record, struct body_handle *out)
{
	char *packed = xmalloc((size_t)record->size);
	enum status status = packed_read(env, record, packed);
	if (status == STATUS_OK) {
		struct unpacked *unpacked =
		    xmalloc(sizeof *unpacked + (size_t)record->raw_size);
		unpacked->pin = (struct engine_pin){unpacked_ref, unpacked_close};
		atomic_init(&unpacked->handles, 1);
		if (body_unpack(slice_make(packed, (size_t)record->size),
			record->raw_size, record->raw_crc, unpacked->bytes)) {
			*out = (struct body_handle){
			    -1, 0, record->raw_size, unpacked->bytes, &unpacked->pin};
		} else {
			status = STATUS_CORRUPT;
			free(unpacked);
		}
	}
	free(packed);
	return status;
}

enum status
lmdb_body_open(
    struct engine_txn *txn, uint64_t body, bool even_damaged, struct body_handle *out)
{
	struct lmdb_env *env = txn_env(txn);
	struct body_record record;
	enum status status = body_record_get(env, txn_mdb(txn), body, &record);
	if (status != STATUS_OK)
		return status;
	if (record.flags & BODY_RECORD_DAMAGED && !even_damaged)
		return STATUS_CORRUPT;
	if (record.flags & BODY_RECORD_PACKED)
		return packed_open(env, &record, out);
	uint64_t offset = record.offset + record.start;
	struct lmdb_pin *pin;
	status = pin_open(env, record.segment, offset + record.size, &pin);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	*out = (struct body_handle){pin->fd, offset, record.size, pin->map + offset, pin};
	return STATUS_OK;
}

/* The head of a segment, then the frame's header and what fills it up. */
static bool
frame_ok(int fd, const struct body_record *record)
{
	char head[BODY_SEGMENT_HEADER_SIZE], frame[BODY_FRAME_HEADER_SIZE];
	char rest[BODY_FRAME_ALIGN];
	uint64_t size, end = record->offset + BODY_FRAME_HEADER_SIZE + record->size;
	uint32_t crc;
	if (pread(fd, head, sizeof head, 0) != sizeof head ||
	    !body_segment_header_ok(head) ||
	    pread(fd, frame, sizeof frame, (off_t)record->offset) != sizeof frame ||
	    !body_frame_header_get(frame, &size, &crc) || size != record->size ||
	    crc != record->crc)
		return false;
	/* A spilled draft's file ends with the body. */
	size_t want = (size_t)(-end % BODY_FRAME_ALIGN);
	ssize_t got = pread(fd, rest, want, (off_t)end);
	for (ssize_t i = 0; i < got; i++) {
		if (rest[i] != 0)
			return false;
	}
	return true;
}

/* What is written is what was there before the damage, so nobody who reads or appends is
 * in the way. */
static enum status
frame_mend(struct lmdb_env *env, const struct body_record *record)
{
	static const char ZEROES[BODY_FRAME_ALIGN];
	char name[16], head[BODY_SEGMENT_HEADER_SIZE], frame[BODY_FRAME_HEADER_SIZE];
	uint64_t end = record->offset + BODY_FRAME_HEADER_SIZE + record->size;
	size_t rest = (size_t)(-end % BODY_FRAME_ALIGN);
	struct stat st;
	segment_name(record->segment, name);
	int fd = openat(env->bodies_fd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = errno;
		if (fd >= 0)
			close(fd);
		return status_from_errno(err);
	}
	if (end + rest > (uint64_t)st.st_size)
		rest =
		    (uint64_t)st.st_size > end ? (size_t)((uint64_t)st.st_size - end) : 0;
	body_segment_header_put(head);
	body_frame_header_put(frame, record->size, record->crc);
	bool done =
	    pwrite(fd, head, sizeof head, 0) == sizeof head &&
	    pwrite(fd, frame, sizeof frame, (off_t)record->offset) == sizeof frame &&
	    pwrite(fd, ZEROES, rest, (off_t)end) == (ssize_t)rest && fdatasync(fd) == 0;
	enum status status = done ? STATUS_OK : STATUS_IO;
	close(fd);
	return status;
}

enum status
lmdb_body_frame(struct engine_txn *txn, uint64_t body, bool mend)
{
	struct lmdb_env *env = txn_env(txn);
	struct body_record record;
	struct lmdb_pin *pin;
	enum status status = body_record_get(env, txn_mdb(txn), body, &record);
	if (status == STATUS_OK && mend)
		return record.start == BODY_FRAME_HEADER_SIZE ? frame_mend(env, &record)
		                                              : STATUS_CORRUPT;
	if (status == STATUS_OK)
		status = pin_open(env, record.segment,
		    record.offset + record.start + record.size, &pin);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	bool ok = record.start == BODY_FRAME_HEADER_SIZE && frame_ok(pin->fd, &record);
	pin->pin.close(&pin->pin);
	return ok ? STATUS_OK : STATUS_CORRUPT;
}

enum status
lmdb_body_each(struct engine_txn *txn,
    bool (*fn)(uint64_t id, const struct engine_body *body, void *arg), void *arg)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn_mdb(txn), txn_env(txn)->body, &cursor);
	if (rc != 0)
		return lmdb_status(rc);
	enum status status = STATUS_OK;
	MDB_val key, value;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		struct body_record record;
		struct engine_body body;
		if (key.mv_size != 8 ||
		    !body_record_decode(
			slice_make(value.mv_data, value.mv_size), &record)) {
			status = STATUS_CORRUPT;
			continue;
		}
		body_describe(&record, &body);
		if (!fn(be64_get(key.mv_data), &body, arg))
			break;
	}
	mdb_cursor_close(cursor);
	return rc != 0 && rc != MDB_NOTFOUND ? lmdb_status(rc) : status;
}
