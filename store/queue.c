/*
 * The outbound queue, reading.  Due recipients are a range of d keys, counts one record,
 * the oldest message the first o key: nothing here scans what it does not return.
 */
#include "store/queue_int.h"

/* ---- keys ---- */
bool
queue_id_fold(struct slice id, char out[ID_TEXT_SIZE])
{
	if (!id_is_valid(id))
		return false;
	for (size_t i = 0; i < ID_TEXT_LEN; i++)
		out[i] = ascii_lower(id.ptr[i]);
	out[ID_TEXT_LEN] = '\0';
	return true;
}

void
key_queue_message(struct key *key, const char id[ID_TEXT_SIZE])
{
	key_begin(key, KEY_QMESSAGE);
	key_bytes(key, slice_make(id, ID_TEXT_LEN));
}

void
key_queue_oldest(struct key *key, int64_t created_s, const char id[ID_TEXT_SIZE])
{
	key_begin(key, KEY_QOLDEST);
	key_u64(key, created_s < 0 ? 0 : (uint64_t)created_s);
	key_bytes(key, slice_make(id, ID_TEXT_LEN));
}

void
key_queue_recipient(struct key *key, const char id[ID_TEXT_SIZE], uint32_t number)
{
	key_begin(key, KEY_QRECIPIENT);
	key_bytes(key, slice_make(id, ID_TEXT_LEN));
	key_u32(key, number);
}

void
key_queue_due(
    struct key *key, int64_t due_s, const char id[ID_TEXT_SIZE], uint32_t number)
{
	key_begin(key, KEY_QDUE);
	key_u64(key, due_s < 0 ? 0 : (uint64_t)due_s);
	key_bytes(key, slice_make(id, ID_TEXT_LEN));
	key_u32(key, number);
}

/* ---- loads ---- */
enum status
queue_message_load(
    struct engine_txn *txn, const char id[ID_TEXT_SIZE], struct queue_message *out)
{
	struct key key;
	struct slice value;
	key_queue_message(&key, id);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	return queue_message_decode(value, slice_make(id, ID_TEXT_LEN), out)
	           ? STATUS_OK
	           : STATUS_CORRUPT;
}

enum status
queue_recipient_load(struct engine_txn *txn, const char id[ID_TEXT_SIZE], uint32_t number,
    struct queue_recipient *out)
{
	struct key key;
	struct slice value;
	key_queue_recipient(&key, id, number);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	return queue_recipient_decode(value, slice_make(id, ID_TEXT_LEN), number, out)
	           ? STATUS_OK
	           : STATUS_CORRUPT;
}

enum status
queue_counts_load(struct engine_txn *txn, struct queue_counts *out)
{
	struct key key;
	struct slice value;
	*out = (struct queue_counts){0};
	key_begin(&key, KEY_QCOUNTS);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	return counts_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

void
queue_counts_save(struct engine_txn *txn, const struct queue_counts *counts)
{
	struct key key;
	char record[COUNTS_SIZE];
	key_begin(&key, KEY_QCOUNTS);
	counts_encode(counts, record);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
}

static enum status
queue_snap(struct store_reader *reader, struct engine_txn **out)
{
	return engine_snap(reader->engine, partition_queue(), out);
}

/* ---- the public readers ---- */
enum status
queue_message_get(struct store_reader *reader, struct slice id, struct queue_message *out)
{
	struct engine_txn *txn;
	char folded[ID_TEXT_SIZE];
	struct queue_message message;
	if (!queue_id_fold(id, folded))
		return STATUS_NOT_FOUND;
	enum status status = queue_snap(reader, &txn);
	if (status == STATUS_OK)
		status = queue_message_load(txn, folded, &message);
	if (status == STATUS_OK)
		*out = message;
	return status;
}

enum status
queue_message_each(struct store_reader *reader, struct slice after,
    bool (*fn)(const struct queue_message *message, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	char folded[ID_TEXT_SIZE];
	enum status status = queue_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_QMESSAGE);
	key_begin(&to, KEY_QMESSAGE + 1);
	if (after.ptr) {
		if (!queue_id_fold(after, folded))
			return STATUS_INVALID;
		key_queue_message(&from, folded);
		key_bytes(&from, slice_make("", 1));
	}
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct queue_message message;
		if (!queue_message_decode(value, slice_from(key, 1), &message)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (!fn(&message, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
queue_recipient_each(struct store_reader *reader, struct slice id,
    bool (*fn)(const struct queue_recipient *recipient, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	char folded[ID_TEXT_SIZE];
	if (!queue_id_fold(id, folded))
		return STATUS_NOT_FOUND;
	enum status status = queue_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_queue_recipient(&from, folded, 0);
	key_queue_recipient(&to, folded, UINT32_MAX);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct queue_recipient recipient;
		if (key.len != 1 + ID_TEXT_LEN + 4 ||
		    !queue_recipient_decode(value, slice_sub(key, 1, ID_TEXT_LEN),
			be32_get(key.ptr + 1 + ID_TEXT_LEN), &recipient)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (!fn(&recipient, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
queue_recipient_get(struct store_reader *reader, struct slice id, uint32_t number,
    struct queue_recipient *out)
{
	struct engine_txn *txn;
	struct queue_recipient recipient;
	char folded[ID_TEXT_SIZE];
	if (!queue_id_fold(id, folded))
		return STATUS_NOT_FOUND;
	enum status status = queue_snap(reader, &txn);
	if (status == STATUS_OK)
		status = queue_recipient_load(txn, folded, number, &recipient);
	if (status == STATUS_OK)
		*out = recipient;
	return status;
}

static bool
due_decode(struct slice key, struct slice value, struct queue_due *out)
{
	if (key.len != 1 + 8 + ID_TEXT_LEN + 4 || value.len == 0 ||
	    value.ptr[0] != STORE_RECORD_VERSION)
		return false;
	*out = (struct queue_due){
	    .due_s = (int64_t)be64_get(key.ptr + 1),
	    .number = be32_get(key.ptr + 9 + ID_TEXT_LEN),
	};
	memcpy(out->id, key.ptr + 9, ID_TEXT_LEN);
	if (value.len >= QDUE_SIZE) {
		out->sender = be64_get(value.ptr + QDUE_SENDER);
		out->site = be64_get(value.ptr + QDUE_SITE);
	}
	if (value.len == QDUE_SIZE_MAX) {
		out->tenant = be64_get(value.ptr + QDUE_TENANT);
		out->campaign = be64_get(value.ptr + QDUE_CAMPAIGN);
	}
	return true;
}

enum status
queue_due_each(struct store_reader *reader, const struct queue_due *after,
    int64_t until_s, bool (*fn)(const struct queue_due *due, void *arg), void *arg,
    int64_t *out_next_due_s)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	int64_t next_due_s = 0;
	enum status status = queue_snap(reader, &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_QDUE);
	key_begin(&to, KEY_QDUE + 1);
	if (after) {
		key_queue_due(&from, after->due_s, after->id, after->number);
		key_bytes(&from, slice_make("", 1));
	}
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct queue_due due;
		if (!due_decode(key, value, &due)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (due.due_s > until_s) {
			next_due_s = due.due_s;
			break;
		}
		if (!fn(&due, arg))
			break;
	}
	engine_cursor_close(&cursor);
	if (status == STATUS_NOT_FOUND)
		status = STATUS_OK;
	if (status == STATUS_OK)
		*out_next_due_s = next_due_s;
	return status;
}

enum status
queue_body_open(struct store_reader *reader, const struct queue_message *message,
    struct body_handle *out)
{
	struct engine_txn *txn;
	enum status status = queue_snap(reader, &txn);
	return status == STATUS_OK ? engine_body_open(txn, message->body, out) : status;
}

enum status
queue_counts_get(struct store_reader *reader, struct queue_counts *out)
{
	struct engine_txn *txn;
	struct queue_counts counts;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = queue_snap(reader, &txn);
	if (status == STATUS_OK)
		status = queue_counts_load(txn, &counts);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_QOLDEST);
	key_begin(&to, KEY_QOLDEST + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	status = engine_cursor_next(cursor, &key, &value);
	if (status == STATUS_OK && key.len == 1 + 8 + ID_TEXT_LEN)
		counts.oldest_s = (int64_t)be64_get(key.ptr + 1);
	engine_cursor_close(&cursor);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	*out = counts;
	return STATUS_OK;
}
