/*
 * Messages, reading; and the steps that every change of messages is made of: add, take,
 * mark as gone, keep for undelete.
 *
 * Each step keeps invariants 3 to 7 and 9 of store_schema.h true for the structs it is
 * given; the commit function saves them at its end.
 */
#include "store/message.h"

#include <stdlib.h>

#include "store/mailbox_int.h"
#include "store/pop3_int.h"
#include "text/message_index.h"

enum { MESSAGE_CURSOR_MAGIC = 0x4d734375 };

/* ---- reading ---- */
enum status
message_load(
    struct engine_txn *txn, uint32_t mailbox, uint32_t uid, struct message_record *out)
{
	struct key key;
	struct slice value;
	key_message(&key, KEY_MESSAGE, mailbox, uid);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	return message_decode(value, uid, out) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
message_get(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    uint32_t uid, struct message_record *out)
{
	struct engine_txn *txn;
	struct message_record message;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	if (status == STATUS_OK)
		status = message_load(txn, mailbox, uid, &message);
	if (status == STATUS_OK)
		*out = message;
	return status;
}

struct message_cursor {
	unsigned magic;
	enum status status;
	struct key from;
	struct key to;
	struct engine_cursor *cursor;
};

struct message_cursor *
message_cursor_open(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, uint32_t first, uint32_t last)
{
	struct message_cursor *cursor = xmalloc(sizeof(*cursor));
	struct engine_txn *txn;
	cursor->magic = MESSAGE_CURSOR_MAGIC;
	cursor->cursor = NULL;
	key_message(&cursor->from, KEY_MESSAGE, mailbox, first);
	key_message(&cursor->to, KEY_MESSAGE, mailbox, last);
	key_next_prefix(&cursor->to);
	cursor->status =
	    first > last ? STATUS_NOT_FOUND
			 : engine_snap(reader->engine, partition_account(account), &txn);
	if (cursor->status == STATUS_OK)
		cursor->cursor = engine_cursor_open(
		    txn, key_slice(&cursor->from), key_slice(&cursor->to), false);
	return cursor;
}

enum status
message_cursor_next(struct message_cursor *cursor, struct message_record *out)
{
	struct slice key;
	struct slice value;
	uint32_t uid;
	if (cursor->status != STATUS_OK)
		return cursor->status;
	cursor->status = engine_cursor_next(cursor->cursor, &key, &value);
	if (cursor->status == STATUS_OK &&
	    (!key_message_uid(key, &uid) || !message_decode(value, uid, out)))
		cursor->status = STATUS_CORRUPT;
	return cursor->status;
}

void
message_cursor_close(struct message_cursor **cursor)
{
	struct message_cursor *c = *cursor;
	if (!c)
		return;
	ENSURE(c->magic == MESSAGE_CURSOR_MAGIC);
	if (c->cursor)
		engine_cursor_close(&c->cursor);
	c->magic = 0;
	free(c);
	*cursor = NULL;
}

enum status
message_body_open(struct store_reader *reader, struct account_id account,
    const struct message_record *record, struct body_handle *out)
{
	struct engine_txn *txn;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	return status == STATUS_OK ? engine_body_open(txn, record->body, out) : status;
}

/* ---- derived records, healed when damaged ---- */
struct heal {
	struct engine_commit commit;
	uint64_t body;
	struct buf derived;
};

static enum status
commit_heal(struct engine_txn *txn, void *arg)
{
	struct heal *heal = arg;
	struct engine_body body;
	/* Gone meanwhile: nothing to heal. */
	enum status status = engine_body_stat(txn, heal->body, &body);
	if (status != STATUS_OK)
		return status;
	return engine_body_set_derived(txn, heal->body, buf_slice(&heal->derived));
}

static void
heal_done(struct engine_commit *commit, enum status status)
{
	struct heal *heal = LIST_ENTRY(commit, struct heal, commit);
	/* It did not work out?  The next reader that finds the damage tries again. */
	(void)status;
	buf_fini(&heal->derived);
	free(heal);
}

static enum status
index_rebuild(struct store_reader *reader, struct engine_txn *txn,
    struct account_id account, uint64_t body, struct arena *arena, struct slice *out)
{
	struct body_handle handle;
	enum status status = engine_body_open(txn, body, &handle);
	if (status != STATUS_OK)
		return status;
	struct heal *heal = xcalloc(1, sizeof(*heal));
	buf_init(&heal->derived, MESSAGE_INDEX_MAX);
	bool built = message_index_build(body_handle_bytes(&handle), &heal->derived);
	body_handle_close(&handle);
	struct slice copy = SLICE_NULL;
	if (built)
		copy = arena_copy(arena, buf_slice(&heal->derived));
	if (!copy.ptr) {
		buf_fini(&heal->derived);
		free(heal);
		return STATUS_LIMIT;
	}
	*out = copy;
	heal->commit = (struct engine_commit){
	    .part = partition_account(account),
	    .fn = commit_heal,
	    .arg = heal,
	    .done = heal_done,
	};
	heal->body = body;
	engine_submit(reader->store->engine, &heal->commit);
	return STATUS_OK;
}

enum status
message_index_bytes(struct store_reader *reader, struct account_id account,
    const struct message_record *record, struct arena *arena, struct slice *out)
{
	struct engine_txn *txn;
	struct slice derived;
	struct message_index index;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	if (status != STATUS_OK)
		return status;
	status = engine_body_derived(txn, record->body, &derived);
	if (status == STATUS_OK && message_index_decode(derived, &index)) {
		*out = derived;
		return STATUS_OK;
	}
	if (status != STATUS_OK && status != STATUS_NOT_FOUND && status != STATUS_CORRUPT)
		return status;
	return index_rebuild(reader, txn, account, record->body, arena, out);
}

/* ---- ranges ---- */
static int
range_compare(const void *a, const void *b)
{
	const struct uid_range *x = a;
	const struct uid_range *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

struct uid_range *
ranges_normalise(const struct uid_range *ranges, size_t count, size_t *out_count)
{
	struct uid_range *out = xmalloc((count ? count : 1) * sizeof(*out));
	size_t kept = 0;
	if (count) {
		memcpy(out, ranges, count * sizeof(*out));
		qsort(out, count, sizeof(*out), range_compare);
	}
	for (size_t i = 0; i < count; i++) {
		if (out[i].first > out[i].last)
			continue;
		if (kept && out[i].first <= out[kept - 1].last) {
			if (out[i].last > out[kept - 1].last)
				out[kept - 1].last = out[i].last;
		} else {
			out[kept++] = out[i];
		}
	}
	*out_count = kept;
	return out;
}

enum status
message_gather(struct engine_txn *txn, uint32_t mailbox, const struct uid_range *ranges,
    size_t range_count, bool (*fits)(const struct message_record *message),
    struct vec *out)
{
	struct key from;
	struct key to;
	struct key at;
	struct slice key;
	struct slice value;
	enum status status = STATUS_OK;
	if (range_count == 0)
		return STATUS_OK;
	key_message(&from, KEY_MESSAGE, mailbox, ranges[0].first);
	key_message(&to, KEY_MESSAGE, mailbox, ranges[range_count - 1].last);
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	size_t range = 0;
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct message_record message;
		uint32_t uid;
		if (!key_message_uid(key, &uid) ||
		    !message_decode(value, uid, &message)) {
			status = STATUS_CORRUPT;
			break;
		}
		while (range < range_count && ranges[range].last < uid)
			range++;
		if (range == range_count) {
			status = STATUS_NOT_FOUND;
			break;
		}
		if (uid < ranges[range].first) {
			/* One seek over the gap instead of a walk through it. */
			key_message(&at, KEY_MESSAGE, mailbox, ranges[range].first);
			engine_cursor_seek(cursor, key_slice(&at));
			continue;
		}
		if (fits && !fits(&message))
			continue;
		struct message_record *place = vec_push(out, sizeof(*place));
		if (!place) {
			status = STATUS_LIMIT;
			break;
		}
		*place = message;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* ---- steps of a change ---- */
static void
change_put(
    struct engine_txn *txn, uint32_t mailbox, uint64_t modseq, uint32_t uid, char kind)
{
	struct key key;
	key_change(&key, mailbox, modseq, uid);
	engine_put(txn, key_slice(&key), slice_make(&kind, 1));
}

void
message_add(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *state, struct message_record *message, uint64_t modseq)
{
	message->uid = state->uidnext++;
	message_put(txn, account, state, message, modseq);
}

void
message_put(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *state, struct message_record *message, uint64_t modseq)
{
	struct key key;
	char record[MESSAGE_SIZE];
	message->modseq = modseq;
	state->modseq = modseq;
	key_message(&key, KEY_MESSAGE, state->number, message->uid);
	message_encode(message, record);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
	change_put(txn, state->number, modseq, message->uid, CHANGE_LIVE);
	mailbox_map_note(
	    txn, state, message->uid, true, !(message->flags & MESSAGE_SEEN));
	state->exists++;
	state->unseen += !(message->flags & MESSAGE_SEEN);
	state->deleted += (message->flags & MESSAGE_DELETED) != 0;
	state->bytes += message->size;
	account->messages++;
	account->bytes += message->size;
}

/* Counters that are wrong already (invariant 3, found by check) do not wrap around. */
static void
count_down_32(uint32_t *value, uint32_t by)
{
	*value = *value > by ? *value - by : 0;
}

static void
count_down_64(uint64_t *value, uint64_t by)
{
	*value = *value > by ? *value - by : 0;
}

void
message_take(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *state, const struct message_record *message)
{
	struct key key;
	key_message(&key, KEY_MESSAGE, state->number, message->uid);
	engine_del(txn, key_slice(&key));
	pop3_record_drop(txn, state->number, message->uid);
	key_change(&key, state->number, message->modseq, message->uid);
	engine_del(txn, key_slice(&key));
	mailbox_map_note(txn, state, message->uid, false, false);
	count_down_32(&state->exists, 1);
	count_down_32(&state->unseen, !(message->flags & MESSAGE_SEEN));
	count_down_32(&state->deleted, (message->flags & MESSAGE_DELETED) != 0);
	count_down_64(&state->bytes, message->size);
	count_down_64(&account->messages, 1);
	count_down_64(&account->bytes, message->size);
}

void
message_mark_time(struct engine_txn *txn, uint32_t mailbox, uint32_t uid, uint64_t modseq,
    int64_t now_s)
{
	struct key key;
	char value[8];
	key_time(&key, now_s, mailbox, uid);
	be64_put(value, modseq);
	engine_put(txn, key_slice(&key), slice_make(value, sizeof(value)));
}

void
message_mark_gone(struct engine_txn *txn, uint32_t mailbox, uint32_t uid, uint64_t modseq,
    int64_t now_s)
{
	change_put(txn, mailbox, modseq, uid, CHANGE_EXPUNGED);
	message_mark_time(txn, mailbox, uid, modseq, now_s);
}

void
message_keep_expunged(struct engine_txn *txn, uint32_t mailbox,
    const struct message_record *message, int64_t now_s)
{
	struct key key;
	char record[EXPUNGED_SIZE];
	key_message(&key, KEY_EXPUNGED, mailbox, message->uid);
	expunged_encode(message, now_s, record);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
}
