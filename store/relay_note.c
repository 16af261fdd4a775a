/*
 * The relay's notes; see relay_note.h.  One key each, class byte and name; the record has
 * the same form in the three tables.
 */
#include "store/relay_note.h"

#include "store/store_codec_int.h"
#include "store/store_int.h"

const char *
relay_level_text(enum relay_level level)
{
	static const char *const texts[] = {
	    "none", "opportunistic", "encrypt", "verify", "dane"};
	return texts[level];
}

const char *
relay_suppress_text(uint8_t reason)
{
	static const char *const texts[] = {
	    "manual", "bounce", "complaint", "unsubscribe"};
	return reason < sizeof(texts) / sizeof(texts[0]) ? texts[reason] : "unknown";
}

static bool
key_note(struct key *key, enum relay_note_table table, struct slice name)
{
	if (name.len == 0 || name.len > RELAY_NOTE_NAME_MAX)
		return false;
	key_begin(key, (char)table);
	for (size_t i = 0; i < name.len; i++) {
		char c = ascii_lower(name.ptr[i]);
		if ((unsigned char)c <= ' ' || c == 0x7f)
			return false;
		key_bytes(key, slice_make(&c, 1));
	}
	return true;
}

static bool
note_has_ended(const struct relay_note *note, int64_t now_s)
{
	return note->expires_s != 0 && note->expires_s <= now_s;
}

/* ---- reading ---- */

enum status
relay_note_get(struct store_reader *reader, enum relay_note_table table,
    struct slice name, int64_t now_s, struct relay_note *out)
{
	struct engine_txn *txn;
	struct key key;
	struct slice value;
	struct relay_note note;
	if (!key_note(&key, table, name))
		return STATUS_NOT_FOUND;
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	if (status == STATUS_OK)
		status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	if (!relay_note_decode(value, &note))
		return STATUS_CORRUPT;
	note.name = name;
	if (note_has_ended(&note, now_s))
		return STATUS_NOT_FOUND;
	*out = note;
	return STATUS_OK;
}

enum status
relay_note_each(struct store_reader *reader, enum relay_note_table table, int64_t now_s,
    bool (*fn)(const struct relay_note *note, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, (char)table);
	key_begin(&to, (char)(table + 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct relay_note note;
		if (!relay_note_decode(value, &note)) {
			status = STATUS_CORRUPT;
			break;
		}
		note.name = slice_from(key, 1);
		if (!note_has_ended(&note, now_s) && !fn(&note, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* ---- writing ---- */

static bool
note_is_good(enum relay_note_table table, const struct relay_note *note)
{
	struct key key;
	return key_note(&key, table, note->name) &&
	       note->text.len <= RELAY_NOTE_TEXT_MAX &&
	       note->more.len <= RELAY_NOTE_MORE_MAX;
}

static void
note_put(
    struct engine_txn *txn, enum relay_note_table table, const struct relay_note *note)
{
	struct key key;
	AUTO_BUF struct buf record;
	buf_init(&record, RELAY_NOTE_RECORD_MAX);
	relay_note_encode(note, &record);
	ENSURE(buf_ok(&record) && key_note(&key, table, note->name));
	engine_put(txn, key_slice(&key), buf_slice(&record));
}

struct note_change {
	enum relay_note_table table;
	const struct relay_note *note;
	struct key key;
};

static enum status
commit_note_put(struct engine_txn *txn, void *arg)
{
	const struct note_change *change = arg;
	note_put(txn, change->table, change->note);
	return engine_txn_status(txn);
}

enum status
relay_note_put(struct store_reader *reader, enum relay_note_table table,
    const struct relay_note *note)
{
	struct note_change change = {.table = table, .note = note};
	if (!note_is_good(table, note))
		return STATUS_INVALID;
	return store_commit_wait(reader, partition_queue(), commit_note_put, &change);
}

static enum status
commit_note_remove(struct engine_txn *txn, void *arg)
{
	const struct note_change *change = arg;
	struct slice value;
	enum status status = engine_get(txn, key_slice(&change->key), &value);
	if (status != STATUS_OK)
		return status;
	engine_del(txn, key_slice(&change->key));
	return engine_txn_status(txn);
}

enum status
relay_note_remove(
    struct store_reader *reader, enum relay_note_table table, struct slice name)
{
	struct note_change change = {.table = table};
	if (!key_note(&change.key, table, name))
		return STATUS_NOT_FOUND;
	return store_commit_wait(reader, partition_queue(), commit_note_remove, &change);
}

/* What has ended goes, the first RELAY_NOTE_PURGE_MAX of it. */
static enum status
notes_purge(struct engine_txn *txn, enum relay_note_table table, int64_t now_s)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	struct vec gone = {0};
	enum status status;
	key_begin(&from, (char)table);
	key_begin(&to, (char)(table + 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK &&
	       gone.count < RELAY_NOTE_PURGE_MAX) {
		struct relay_note note;
		if (!relay_note_decode(value, &note)) {
			status = STATUS_CORRUPT;
			break;
		}
		struct key *copy =
		    note_has_ended(&note, now_s) ? vec_push(&gone, sizeof(*copy)) : NULL;
		if (copy) {
			key_begin(copy, (char)table);
			key_bytes(copy, slice_from(key, 1));
		}
	}
	engine_cursor_close(&cursor);
	const struct key *keys = gone.ptr;
	for (size_t i = 0; i < gone.count; i++)
		engine_del(txn, key_slice(&keys[i]));
	vec_fini(&gone);
	return status == STATUS_CORRUPT ? status : STATUS_OK;
}

static enum status
commit_notes(struct engine_txn *txn, void *arg)
{
	const struct store_op_state *state = arg;
	const struct relay_note_op *op = (const struct relay_note_op *)state->op;
	enum status status = notes_purge(txn, op->table, op->now_s);
	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < op->count; i++)
		note_put(txn, op->table, &op->notes[i]);
	return engine_txn_status(txn);
}

void
relay_note_submit(struct store_reader *reader, struct relay_note_op *op)
{
	struct store_op_state *state = op_state_new(reader, &op->op, sizeof(*state));
	for (size_t i = 0; i < op->count; i++) {
		if (!note_is_good(op->table, &op->notes[i])) {
			op_refuse(state, STATUS_INVALID);
			return;
		}
	}
	op_submit(state, partition_queue(), commit_notes);
}
