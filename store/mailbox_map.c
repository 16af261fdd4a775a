/*
 * The map of a mailbox: which uids it has and which of these are unseen, as bits, 4,096
 * uids a record (key B).  A session's view and the first unseen message come from it, so
 * that opening a mailbox costs its map and not its records.
 *
 * Derived from the M records and kept with them in the same commits (invariant 16).  A
 * mailbox of an older store has none until its next change makes it, and one that does
 * not decode is dropped and made anew by the next change; readers then use the records.
 *
 * Thread: the caller's; inside commit functions, and on snapshots.
 */
#include "store/mailbox_int.h"

#include <endian.h>
#include <roaring/roaring.h>

/* ---- records ---- */

/* Bits as bytes of ones from the start, then bytes as they are up to the last one. */
struct packed {
	size_t full, rest;
};

static struct packed
bits_pack(const uint8_t *bits)
{
	struct packed packed = {0, MAILBOX_MAP_BYTES};
	while (packed.full < MAILBOX_MAP_BYTES && bits[packed.full] == 0xff)
		packed.full++;
	packed.rest -= packed.full;
	while (packed.rest > 0 && bits[packed.full + packed.rest - 1] == 0)
		packed.rest--;
	return packed;
}

/* False: not what bits_pack makes. */
static bool
bits_unpack(struct packed packed, const char *rest, uint8_t *out)
{
	memset(out, 0, MAILBOX_MAP_BYTES);
	if (packed.full > MAILBOX_MAP_BYTES ||
	    packed.rest > MAILBOX_MAP_BYTES - packed.full)
		return false;
	memset(out, 0xff, packed.full);
	memcpy(out + packed.full, rest, packed.rest);
	return packed.rest == 0 ||
	       (out[packed.full] != 0xff && out[packed.full + packed.rest - 1] != 0);
}

size_t
mailbox_map_encode(const struct mailbox_map_chunk *chunk, char out[MAILBOX_MAP_SIZE_MAX])
{
	struct packed present = bits_pack(chunk->present);
	struct packed unseen = bits_pack(chunk->unseen);
	if (present.full + present.rest == 0)
		return 0;
	out[0] = STORE_RECORD_VERSION;
	be16_put(out + MAP_PRESENT_FULL, (uint16_t)present.full);
	be16_put(out + MAP_PRESENT_REST, (uint16_t)present.rest);
	be16_put(out + MAP_UNSEEN_FULL, (uint16_t)unseen.full);
	memcpy(out + MAP_BITS, chunk->present + present.full, present.rest);
	memcpy(out + MAP_BITS + present.rest, chunk->unseen + unseen.full, unseen.rest);
	return MAP_BITS + present.rest + unseen.rest;
}

bool
mailbox_map_decode(struct slice record, struct mailbox_map_chunk *out)
{
	if (record.len < MAP_BITS || record.ptr[0] != STORE_RECORD_VERSION)
		return false;
	struct packed present = {be16_get(record.ptr + MAP_PRESENT_FULL),
	    be16_get(record.ptr + MAP_PRESENT_REST)};
	size_t bytes = record.len - MAP_BITS;
	if (present.rest > bytes || present.full + present.rest == 0)
		return false;
	struct packed unseen = {
	    be16_get(record.ptr + MAP_UNSEEN_FULL), bytes - present.rest};
	const char *rest = record.ptr + MAP_BITS;
	if (!bits_unpack(present, rest, out->present) ||
	    !bits_unpack(unseen, rest + present.rest, out->unseen))
		return false;
	for (size_t i = 0; i < MAILBOX_MAP_BYTES; i++) {
		if (out->unseen[i] & ~out->present[i])
			return false;
	}
	return true;
}

static void
map_key(struct key *key, uint32_t mailbox, uint32_t uid)
{
	key_message(key, KEY_MAP, mailbox, uid / MAILBOX_MAP_UIDS);
}

static void
bit_put(uint8_t *bits, uint32_t uid, bool value)
{
	uint32_t at = uid % MAILBOX_MAP_UIDS;
	uint8_t mask = (uint8_t)(1u << at % 8);
	if (value)
		bits[at / 8] |= mask;
	else
		bits[at / 8] &= (uint8_t)~mask;
}

static bool
bit_get(const uint8_t *bits, uint32_t uid)
{
	uint32_t at = uid % MAILBOX_MAP_UIDS;
	return bits[at / 8] >> at % 8 & 1;
}

/* ---- changing ---- */

static void
chunk_save(struct engine_txn *txn, uint32_t mailbox, uint32_t uid,
    const struct mailbox_map_chunk *chunk)
{
	struct key key;
	char record[MAILBOX_MAP_SIZE_MAX];
	size_t len = mailbox_map_encode(chunk, record);
	map_key(&key, mailbox, uid);
	if (len > 0)
		engine_put(txn, key_slice(&key), slice_make(record, len));
	else
		engine_del(txn, key_slice(&key));
}

static void
map_range(struct key *from, struct key *to, uint32_t mailbox)
{
	key_mailbox(from, KEY_MAP, mailbox);
	key_mailbox(to, KEY_MAP, mailbox);
	key_next_prefix(to);
}

/* From the records, as they are now.  Nothing is kept when one of them is damaged. */
static bool
map_build(struct engine_txn *txn, struct mailbox_state *state)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	struct mailbox_map_chunk chunk = {0};
	struct vec uids = {NULL, 0, 0}; /* uid << 1 | unseen */
	enum status status;
	map_range(&from, &to, state->number);
	(void)engine_del_range(txn, key_slice(&from), key_slice(&to));
	key_mailbox(&from, KEY_MESSAGE, state->number);
	key_mailbox(&to, KEY_MESSAGE, state->number);
	key_next_prefix(&to);
	/* Gathered first: a write would take the cursor's ground away. */
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct message_record message;
		uint32_t uid;
		uint64_t *at;
		if (!key_message_uid(key, &uid) ||
		    !message_decode(value, uid, &message) ||
		    !(at = vec_push(&uids, sizeof(*at))))
			break;
		*at = (uint64_t)uid << 1 | !(message.flags & MESSAGE_SEEN);
	}
	engine_cursor_close(&cursor);
	const uint64_t *all = uids.ptr;
	for (size_t i = 0; i < uids.count && status == STATUS_NOT_FOUND; i++) {
		uint32_t uid = (uint32_t)(all[i] >> 1);
		bit_put(chunk.present, uid, true);
		bit_put(chunk.unseen, uid, all[i] & 1);
		if (i + 1 == uids.count ||
		    (uint32_t)(all[i + 1] >> 1) / MAILBOX_MAP_UIDS !=
			uid / MAILBOX_MAP_UIDS) {
			chunk_save(txn, state->number, uid, &chunk);
			chunk = (struct mailbox_map_chunk){0};
		}
	}
	vec_fini(&uids);
	state->mapped = status == STATUS_NOT_FOUND;
	return state->mapped;
}

void
mailbox_map_note(struct engine_txn *txn, struct mailbox_state *state, uint32_t uid,
    bool present, bool unseen)
{
	struct key key;
	struct slice value;
	struct mailbox_map_chunk chunk = {0};
	if (!state->mapped) {
		(void)map_build(txn, state);
		return; /* the record is there, or gone, already */
	}
	map_key(&key, state->number, uid);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_OK && !mailbox_map_decode(value, &chunk)) {
		(void)map_build(txn, state);
		return;
	}
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return; /* sticky in the transaction */
	bit_put(chunk.present, uid, present);
	bit_put(chunk.unseen, uid, present && unseen);
	chunk_save(txn, state->number, uid, &chunk);
}

/* ---- reading ---- */

bool
mailbox_map_has(struct engine_txn *txn, uint32_t mailbox, uint32_t uid, bool *out_unseen)
{
	struct key key;
	struct slice value;
	struct mailbox_map_chunk chunk;
	map_key(&key, mailbox, uid);
	if (engine_get(txn, key_slice(&key), &value) != STATUS_OK ||
	    !mailbox_map_decode(value, &chunk))
		return false;
	*out_unseen = bit_get(chunk.unseen, uid);
	return bit_get(chunk.present, uid);
}

/* A bitmap in the making: runs of full records are one range. */
struct filling {
	roaring_bitmap_t *out;
	uint64_t run_from, run_to; /* uids from..to - 1, not added yet */
};

static void
filling_flush(struct filling *filling)
{
	roaring_bitmap_add_range(filling->out, filling->run_from, filling->run_to);
	filling->run_from = filling->run_to = 0;
}

/* All uids of a chunk, as a dense mailbox has them. */
static void
filling_add_whole(struct filling *filling, uint32_t base)
{
	if (filling->run_to != base) {
		filling_flush(filling);
		filling->run_from = base;
	}
	filling->run_to = (uint64_t)base + MAILBOX_MAP_UIDS;
}

static void
filling_add(struct filling *filling, const struct mailbox_map_chunk *chunk, uint32_t base)
{
	uint32_t uids[MAILBOX_MAP_UIDS];
	uint64_t words[MAILBOX_MAP_UIDS / 64];
	size_t count = 0;
	memcpy(words, chunk->present, sizeof(words));
	for (uint32_t i = 0; i < MAILBOX_MAP_UIDS / 64; i++) {
		/* Byte 0 holds the lowest uids, on any machine. */
		for (uint64_t bits = le64toh(words[i]); bits; bits &= bits - 1)
			uids[count++] = base + i * 64 + (uint32_t)__builtin_ctzll(bits);
	}
	roaring_bitmap_add_many(filling->out, count, uids);
}

struct chunk_walk {
	struct key from, to;
	struct engine_cursor *cursor;
	struct slice record;
	uint32_t base;
};

static void
walk_open(struct engine_txn *txn, uint32_t mailbox, struct chunk_walk *out)
{
	map_range(&out->from, &out->to, mailbox);
	out->cursor =
	    engine_cursor_open(txn, key_slice(&out->from), key_slice(&out->to), false);
}

/* In a dense mailbox that was read most records have all uids and none unseen: to see
 * that needs no decoding. */
static bool
record_is_whole(struct slice record)
{
	return record.len >= MAP_BITS && record.ptr[0] == STORE_RECORD_VERSION &&
	       be16_get(record.ptr + MAP_PRESENT_FULL) == MAILBOX_MAP_BYTES;
}

static bool
record_has_unseen(struct slice record)
{
	return record.len < MAP_BITS || be16_get(record.ptr + MAP_UNSEEN_FULL) > 0 ||
	       record.len - MAP_BITS > be16_get(record.ptr + MAP_PRESENT_REST);
}

/* NOT_FOUND at the end. */
static enum status
walk_next(struct chunk_walk *walk)
{
	struct slice key;
	uint32_t number;
	enum status status = engine_cursor_next(walk->cursor, &key, &walk->record);
	if (status != STATUS_OK)
		return status;
	if (!key_message_uid(key, &number) || number > UINT32_MAX / MAILBOX_MAP_UIDS)
		return STATUS_CORRUPT;
	walk->base = number * MAILBOX_MAP_UIDS;
	return STATUS_OK;
}

bool
mailbox_map_load(
    struct engine_txn *txn, const struct mailbox_state *state, roaring_bitmap_t *out)
{
	struct chunk_walk walk;
	struct filling filling = {.out = out};
	enum status status;
	if (!state->mapped)
		return false;
	walk_open(txn, state->number, &walk);
	while ((status = walk_next(&walk)) == STATUS_OK) {
		struct mailbox_map_chunk chunk;
		if (record_is_whole(walk.record)) {
			filling_add_whole(&filling, walk.base);
		} else if (mailbox_map_decode(walk.record, &chunk)) {
			filling_add(&filling, &chunk, walk.base);
		} else {
			status = STATUS_CORRUPT;
			break;
		}
	}
	engine_cursor_close(&walk.cursor);
	filling_flush(&filling);
	if (status == STATUS_NOT_FOUND &&
	    roaring_bitmap_get_cardinality(out) == state->exists)
		return true;
	roaring_bitmap_clear(out);
	return false;
}

/* Without a map: the records, up to the first. */
static enum status
records_first_unseen(struct engine_txn *txn, uint32_t mailbox, uint32_t *out_uid)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	key_mailbox(&from, KEY_MESSAGE, mailbox);
	key_mailbox(&to, KEY_MESSAGE, mailbox);
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct message_record message;
		uint32_t uid;
		if (!key_message_uid(key, &uid) ||
		    !message_decode(value, uid, &message)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (!(message.flags & MESSAGE_SEEN)) {
			*out_uid = uid;
			break;
		}
	}
	engine_cursor_close(&cursor);
	return status;
}

enum status
mailbox_first_unseen(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, uint32_t *out_uid)
{
	struct engine_txn *txn;
	struct mailbox_state state;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	if (status == STATUS_OK)
		status = state_load(txn, mailbox, &state);
	if (status != STATUS_OK)
		return status;
	if (state.unseen == 0)
		return STATUS_NOT_FOUND;
	struct chunk_walk walk;
	status = STATUS_CORRUPT;
	if (state.mapped) {
		walk_open(txn, mailbox, &walk);
		while ((status = walk_next(&walk)) == STATUS_OK) {
			struct mailbox_map_chunk chunk;
			size_t at = 0;
			if (!record_has_unseen(walk.record))
				continue;
			if (!mailbox_map_decode(walk.record, &chunk)) {
				status = STATUS_CORRUPT;
				break;
			}
			while (at < MAILBOX_MAP_BYTES && chunk.unseen[at] == 0)
				at++;
			if (at == MAILBOX_MAP_BYTES)
				continue;
			*out_uid = walk.base + (uint32_t)at * 8 +
			           (uint32_t)__builtin_ctz(chunk.unseen[at]);
			break;
		}
		engine_cursor_close(&walk.cursor);
	}
	return status == STATUS_OK ? status : records_first_unseen(txn, mailbox, out_uid);
}
