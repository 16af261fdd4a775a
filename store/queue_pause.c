/*
 * What is paused: mail that stays in the queue until the operator lets it go.  A site
 * alone has a p key (as ever), everything else an h key of the four names: whether a
 * message is paused is asked key by key for those of its names that there are, and not at
 * all while there is no h key.
 */
#include "store/queue_int.h"

enum { PAUSE_PARTS = 4, PAUSE_SITE = 3, PAUSE_SENDER_MAX = 320 /* bytes */ };

struct pause_change {
	struct key key;
	bool paused;
};

static void
parts_of(const struct queue_pause *pause, struct slice out[PAUSE_PARTS])
{
	out[0] = pause->tenant;
	out[1] = pause->campaign;
	out[2] = pause->sender;
	out[PAUSE_SITE] = pause->site;
}

static bool
part_is_good(int i, struct slice part)
{
	static const size_t max[] = {
	    TENANT_NAME_MAX, TENANT_NAME_MAX, PAUSE_SENDER_MAX, QUEUE_SITE_MAX};
	if (part.len > max[i] || (i == PAUSE_SITE && slice_index(part, '@') != SIZE_MAX))
		return false;
	for (size_t k = 0; k < part.len; k++)
		if ((unsigned char)part.ptr[k] <= ' ' || part.ptr[k] == 0x7f)
			return false;
	return true;
}

/* Of the parts whose bits are set; false when it is no key. */
static bool
key_paused(struct key *key, const struct slice parts[PAUSE_PARTS], unsigned bits)
{
	size_t len = PAUSE_PARTS;
	bool site_only = bits == 1u << PAUSE_SITE;
	for (int i = 0; i < PAUSE_PARTS; i++) {
		if (!(bits & 1u << i))
			continue;
		if (!part_is_good(i, parts[i]))
			return false;
		len += parts[i].len;
	}
	if (bits == 0 || len > ENGINE_KEY_MAX)
		return false;
	key_begin(key, site_only ? KEY_QPAUSED : KEY_QPAUSED_BY);
	for (int i = site_only ? PAUSE_SITE : 0; i < PAUSE_PARTS; i++) {
		if (i > 0 && !site_only)
			key_bytes(key, slice_make("", 1));
		for (size_t k = 0; bits & 1u << i && k < parts[i].len; k++) {
			char c = ascii_lower(parts[i].ptr[k]);
			key_bytes(key, slice_make(&c, 1));
		}
	}
	return true;
}

static unsigned
bits_of(const struct slice parts[PAUSE_PARTS])
{
	unsigned bits = 0;
	for (int i = 0; i < PAUSE_PARTS; i++)
		bits |= parts[i].len ? 1u << i : 0;
	return bits;
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
queue_pause_set(struct store_reader *reader, const struct queue_pause *pause, bool paused)
{
	struct pause_change change = {.paused = paused};
	struct slice parts[PAUSE_PARTS];
	parts_of(pause, parts);
	if (!key_paused(&change.key, parts, bits_of(parts)))
		return STATUS_INVALID;
	return store_commit_wait(reader, partition_queue(), commit_pause, &change);
}

static bool
has_any(struct engine_txn *txn, char class)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	key_begin(&from, class);
	key_begin(&to, (char)(class + 1));
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	bool any = engine_cursor_next(cursor, &key, &value) == STATUS_OK;
	engine_cursor_close(&cursor);
	return any;
}

enum status
queue_is_paused(struct store_reader *reader, const struct queue_pause *mail, bool *out)
{
	struct engine_txn *txn;
	struct key key;
	struct slice value;
	struct slice parts[PAUSE_PARTS];
	parts_of(mail, parts);
	unsigned all = bits_of(parts);
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	if (status != STATUS_OK)
		return status;
	bool combined = has_any(txn, KEY_QPAUSED_BY);
	*out = false;
	for (unsigned bits = 1; bits <= all; bits++) {
		if ((bits & ~all) || (!combined && bits != 1u << PAUSE_SITE) ||
		    !key_paused(&key, parts, bits))
			continue;
		status = engine_get(txn, key_slice(&key), &value);
		if (status == STATUS_OK)
			*out = true;
		else if (status != STATUS_NOT_FOUND)
			return status;
	}
	return STATUS_OK;
}

bool
key_queue_paused_decode(struct slice key, struct queue_pause *out)
{
	struct slice rest = slice_from(key, 1);
	*out = (struct queue_pause){SLICE(""), SLICE(""), SLICE(""), SLICE("")};
	if (key.len < 2)
		return false;
	if (key.ptr[0] == KEY_QPAUSED) {
		out->site = rest;
		return true;
	}
	struct slice *parts[] = {&out->tenant, &out->campaign, &out->sender};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t at = slice_index(rest, '\0');
		if (at == SIZE_MAX)
			return false;
		*parts[i] = slice_sub(rest, 0, at);
		rest = slice_from(rest, at + 1);
	}
	out->site = rest;
	return slice_index(rest, '\0') == SIZE_MAX;
}

enum status
queue_paused_each(struct store_reader *reader,
    bool (*fn)(const struct queue_pause *pause, void *arg), void *arg)
{
	static const char classes[] = {KEY_QPAUSED, KEY_QPAUSED_BY};
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	bool more = true;
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	for (size_t i = 0; i < sizeof(classes) && more && status == STATUS_OK; i++) {
		key_begin(&from, classes[i]);
		key_begin(&to, (char)(classes[i] + 1));
		struct engine_cursor *cursor =
		    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
		while (more &&
		       (status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
			struct queue_pause pause;
			if (!key_queue_paused_decode(key, &pause)) {
				status = STATUS_CORRUPT;
				break;
			}
			more = fn(&pause, arg);
		}
		engine_cursor_close(&cursor);
		if (status == STATUS_NOT_FOUND)
			status = STATUS_OK;
	}
	return status;
}
