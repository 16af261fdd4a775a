/*
 * Invariant 13, references: in one snapshot of each environment every M, X and queue
 * message is counted against the engine's reference counts.  With read_bodies every body
 * is then read and its checksum compared, in short snapshots.
 */
#include "store/store_check_int.h"

#include <stdlib.h>

enum {
	TABLE_ROOM_MIN = 1024, /* slots; a power of two */
	VERIFY_BATCH = 64,     /* bodies read in one snapshot */
};

/* Body number -> references found.  Open addressing; number 0 is kept aside. */
struct refs {
	struct ref {
		uint64_t body;
		uint32_t found;
		bool used;
	} * slots;
	size_t room;
	size_t count;
};

static struct ref *
refs_at(struct refs *refs, uint64_t body)
{
	size_t mask = refs->room - 1;
	size_t at = (size_t)(body * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;
	while (refs->slots[at].used && refs->slots[at].body != body)
		at = (at + 1) & mask;
	return &refs->slots[at];
}

static void
refs_add(struct refs *refs, uint64_t body)
{
	if (refs->count * 2 >= refs->room) {
		struct refs bigger = {
		    .room = refs->room ? refs->room * 2 : TABLE_ROOM_MIN,
		    .count = refs->count};
		bigger.slots = xcalloc(bigger.room, sizeof(*bigger.slots));
		for (size_t i = 0; i < refs->room; i++)
			if (refs->slots[i].used)
				*refs_at(&bigger, refs->slots[i].body) = refs->slots[i];
		free(refs->slots);
		*refs = bigger;
	}
	struct ref *ref = refs_at(refs, body);
	refs->count += !ref->used;
	ref->used = true;
	ref->body = body;
	ref->found++;
}

/* ---- counting ---- */
static enum status
count_class(struct engine_txn *txn, char class, struct refs *refs)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	key_begin(&from, class);
	key_begin(&to, (char)(class + 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct message_record message;
		struct queue_message queued;
		/* What does not decode was told already. */
		if (class == KEY_QMESSAGE) {
			if (queue_message_decode(value, slice_from(key, 1), &queued))
				refs_add(refs, queued.body);
		} else if (message_decode(
			       slice_sub(value, 0, MESSAGE_SIZE), 0, &message)) {
			refs_add(refs, message.body);
		}
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

struct compare {
	struct check *check;
	struct refs *refs;
	struct vec bodies; /* uint64_t, to be read */
};

static bool
compare_body(uint64_t id, const struct engine_body *body, void *arg)
{
	struct compare *compare = arg;
	uint32_t found = 0;
	if (compare->refs->room)
		found = refs_at(compare->refs, id)->found;
	compare->check->totals->bodies++;
	if (found != body->refs)
		check_problem(compare->check, 13,
		    "body %llu counts %u references, %u were found",
		    (unsigned long long)id, (unsigned)body->refs, (unsigned)found);
	if (compare->check->options->read_bodies) {
		uint64_t *at = vec_push(&compare->bodies, sizeof(*at));
		if (at)
			*at = id;
	}
	return true;
}

static enum status
verify_bodies(struct check *check, struct partition_id part, const struct vec *bodies)
{
	const uint64_t *ids = bodies->ptr;
	enum status status = STATUS_OK;
	for (size_t i = 0; i < bodies->count && status == STATUS_OK; i++) {
		struct engine_txn *txn;
		if (i % VERIFY_BATCH == 0)
			store_reader_end(check->reader);
		status = engine_snap(check->reader->engine, part, &txn);
		if (status != STATUS_OK)
			break;
		enum status verified = engine_body_verify(txn, ids[i]);
		/* Reclaimed since it was counted. */
		if (verified == STATUS_OK || verified == STATUS_NOT_FOUND)
			continue;
		check_problem(check, 40, "body %llu: %s", (unsigned long long)ids[i],
		    status_text(verified));
	}
	store_reader_end(check->reader);
	return status;
}

/* Compares what was counted with the environment that `part` lives in. */
static enum status
compare_env(struct check *check, struct partition_id part, struct refs *refs)
{
	struct engine_txn *txn;
	struct compare compare = {.check = check, .refs = refs};
	enum status status = engine_snap(check->reader->engine, part, &txn);
	if (status == STATUS_OK)
		status = engine_body_each(txn, compare_body, &compare);
	store_reader_end(check->reader);
	if (status == STATUS_OK)
		status = verify_bodies(check, part, &compare.bodies);
	vec_fini(&compare.bodies);
	free(refs->slots);
	*refs = (struct refs){0};
	return status;
}

/* Some partition id of the shard: an environment is reached by a partition only. */
static struct partition_id
partition_of_shard(const struct engine *engine, uint32_t shard)
{
	struct partition_id part = {{PARTITION_ACCOUNT}};
	for (uint32_t i = 0; engine_shard_of(engine, part) != shard; i++)
		be32_put(part.v + 12, i);
	return part;
}

enum status
check_bodies(struct check *check)
{
	struct engine *engine = check->store->engine;
	struct vec parts = {NULL, 0, 0};
	struct refs refs = {0};
	struct engine_txn *txn;
	enum status status = STATUS_OK;
	for (uint32_t shard = 0; shard < engine_shards(engine) && status == STATUS_OK;
	     shard++) {
		check_where(check, "shard %u", (unsigned)shard);
		/* One snapshot for the list, the records and the bodies. */
		struct partition_id any = partition_of_shard(engine, shard);
		status = engine_snap(check->reader->engine, any, &txn);
		if (status == STATUS_OK)
			status = check_partitions(check, &parts);
		const struct partition_id *ids = parts.ptr;
		for (size_t i = 0; i < parts.count && status == STATUS_OK; i++) {
			if (engine_shard_of(engine, ids[i]) != shard)
				continue;
			status = engine_snap(check->reader->engine, ids[i], &txn);
			if (status == STATUS_OK)
				status = count_class(txn, KEY_MESSAGE, &refs);
			if (status == STATUS_OK)
				status = count_class(txn, KEY_EXPUNGED, &refs);
		}
		if (status == STATUS_OK)
			status = compare_env(check, any, &refs);
	}
	if (status == STATUS_OK) {
		check_where(check, "queue");
		status = engine_snap(check->reader->engine, partition_queue(), &txn);
		if (status == STATUS_OK)
			status = count_class(txn, KEY_QMESSAGE, &refs);
		if (status == STATUS_OK)
			status = compare_env(check, partition_queue(), &refs);
	}
	free(refs.slots);
	vec_fini(&parts);
	return status;
}
