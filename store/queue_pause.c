/*
 * Paused sites: recipients' domains whose mail stays in the queue until the operator lets
 * it go.  One p key each.
 */
#include "store/queue_int.h"

struct pause_change {
	struct key key;
	bool paused;
};

static bool
key_paused(struct key *key, struct slice domain)
{
	if (domain.len == 0 || domain.len > QUEUE_SITE_MAX)
		return false;
	key_begin(key, KEY_QPAUSED);
	for (size_t i = 0; i < domain.len; i++) {
		char c = ascii_lower(domain.ptr[i]);
		if ((unsigned char)c <= ' ' || c == 0x7f || c == '@')
			return false;
		key_bytes(key, slice_make(&c, 1));
	}
	return true;
}

static enum status
commit_pause(struct engine_txn *txn, void *arg)
{
	const struct pause_change *change = arg;
	char version = STORE_RECORD_VERSION;
	struct slice value;
	enum status status = engine_get(txn, key_slice(&change->key), &value);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	if (change->paused)
		engine_put(txn, key_slice(&change->key), slice_make(&version, 1));
	else if (status == STATUS_NOT_FOUND)
		return status;
	else
		engine_del(txn, key_slice(&change->key));
	return engine_txn_status(txn);
}

enum status
queue_site_pause(struct store_reader *reader, struct slice domain, bool paused)
{
	struct pause_change change = {.paused = paused};
	if (!key_paused(&change.key, domain))
		return STATUS_INVALID;
	return store_commit_wait(reader, partition_queue(), commit_pause, &change);
}

enum status
queue_site_is_paused(struct store_reader *reader, struct slice domain, bool *out)
{
	struct engine_txn *txn;
	struct key key;
	struct slice value;
	if (!key_paused(&key, domain)) {
		*out = false;
		return STATUS_OK;
	}
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	if (status == STATUS_OK)
		status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	*out = status == STATUS_OK;
	return STATUS_OK;
}

enum status
queue_paused_each(
    struct store_reader *reader, bool (*fn)(struct slice domain, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_QPAUSED);
	key_begin(&to, KEY_QPAUSED + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		if (!fn(slice_from(key, 1), arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
