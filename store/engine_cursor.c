/*
 * Cursors over one partition, in both directions, on any engine.
 *
 * Inside a commit the function may write between two steps; the cursor then finds its
 * place again from a copy of the last key, whatever the writes did to the engine's own
 * cursor.  On a read snapshot nothing changes and nothing is copied.
 */
#include <string.h>

#include "store/engine_int.h"

enum cursor_state {
	CURSOR_START, /* nothing returned yet */
	CURSOR_ON,    /* on the key returned last */
	CURSOR_SEEK,  /* `place` is the key to go to */
	CURSOR_END,
};

struct engine_cursor {
	struct engine_txn *txn;
	void *raw;
	struct slice from, to;
	bool reverse;
	enum cursor_state state;
	uint64_t writes; /* the transaction's, when the raw cursor was placed */
	size_t place_len;
	char place[ENGINE_FULL_KEY_MAX];
};

struct engine_cursor *
engine_cursor_open(
    struct engine_txn *txn, struct slice from, struct slice to, bool reverse)
{
	struct engine_cursor *cursor = xmalloc(sizeof *cursor);
	cursor->txn = txn;
	cursor->from = from;
	cursor->to = to;
	cursor->reverse = reverse;
	cursor->state = CURSOR_START;
	cursor->writes = txn->writes;
	cursor->place_len = 0;
	cursor->raw = NULL;
	if (from.len > ENGINE_KEY_MAX || to.len > ENGINE_KEY_MAX) {
		cursor->state = CURSOR_END; /* no such keys can be */
	} else {
		enum status status = txn->engine->ops->raw_open(txn, &cursor->raw);
		if (status != STATUS_OK) {
			cursor->state = CURSOR_END;
			if (txn->status == STATUS_OK)
				txn->status = status;
		}
	}
	txn->cursors_open++;
	return cursor;
}

void
engine_cursor_close(struct engine_cursor **cursor)
{
	if (!*cursor)
		return;
	struct engine_txn *txn = (*cursor)->txn;
	ENSURE(txn->cursors_open > 0);
	txn->cursors_open--;
	if ((*cursor)->raw)
		txn->engine->ops->raw_close((*cursor)->raw);
	free(*cursor);
	*cursor = NULL;
}

/* The first key of callers when there is no lower bound: NUL is the version. */
static struct slice
lower_bound(const struct engine_cursor *cursor)
{
	bool bounded = cursor->from.len > 0 && cursor->from.ptr[0] != 0;
	return bounded ? cursor->from : SLICE("\001");
}

void
engine_cursor_seek(struct engine_cursor *cursor, struct slice key)
{
	ENSURE(!cursor->reverse);
	if (!cursor->raw)
		return;
	if (slice_compare(key, lower_bound(cursor)) < 0)
		key = lower_bound(cursor);
	cursor->state = CURSOR_SEEK;
	if (key.len > ENGINE_KEY_MAX) {
		/* No key is that long.  What follows it follows its first bytes, without
		 * the key that they are: as if that one had been returned last. */
		key.len = ENGINE_KEY_MAX;
		cursor->state = CURSOR_ON;
		cursor->writes = cursor->txn->writes + 1;
	}
	cursor->place_len = engine_full_key(cursor->place, cursor->txn->part, key).len;
}

/* Where a reversed walk starts: the end of the range, or of the partition. */
static struct slice
upper_bound(const struct engine_cursor *cursor, char *out)
{
	if (cursor->to.ptr)
		return engine_full_key(out, cursor->txn->part, cursor->to);
	struct partition_id next = cursor->txn->part;
	for (size_t i = sizeof next.v; i-- > 0 && ++next.v[i] == 0;)
		continue;
	return engine_full_key(out, next, SLICE_NULL);
}

static enum status
cursor_move(struct engine_cursor *cursor, struct slice *key, struct slice *value)
{
	const struct engine_ops *ops = cursor->txn->engine->ops;
	struct slice place = slice_make(cursor->place, cursor->place_len);
	char bound[ENGINE_FULL_KEY_MAX];
	switch (cursor->state) {
	case CURSOR_START:
		if (cursor->reverse)
			return ops->raw_move(cursor->raw, RAW_BEFORE,
			    upper_bound(cursor, bound), key, value);
		return ops->raw_move(cursor->raw, RAW_AT_OR_AFTER,
		    engine_full_key(bound, cursor->txn->part, lower_bound(cursor)), key,
		    value);
	case CURSOR_SEEK:
		return ops->raw_move(cursor->raw, RAW_AT_OR_AFTER, place, key, value);
	case CURSOR_ON:
		break;
	case CURSOR_END:
		return STATUS_NOT_FOUND;
	}
	if (cursor->txn->writes == cursor->writes)
		return ops->raw_move(cursor->raw, cursor->reverse ? RAW_PREV : RAW_NEXT,
		    SLICE_NULL, key, value);
	if (cursor->reverse)
		return ops->raw_move(cursor->raw, RAW_BEFORE, place, key, value);
	enum status status =
	    ops->raw_move(cursor->raw, RAW_AT_OR_AFTER, place, key, value);
	if (status == STATUS_OK && slice_equal(*key, place))
		status = ops->raw_move(cursor->raw, RAW_NEXT, SLICE_NULL, key, value);
	return status;
}

enum status
engine_cursor_next(
    struct engine_cursor *cursor, struct slice *out_key, struct slice *out_value)
{
	struct engine_txn *txn = cursor->txn;
	*out_key = *out_value = SLICE_NULL;
	if (cursor->state == CURSOR_END)
		return txn->status == STATUS_OK ? STATUS_NOT_FOUND : txn->status;
	struct slice full, value;
	enum status status = cursor_move(cursor, &full, &value);
	cursor->writes = txn->writes;
	if (status == STATUS_OK) {
		struct slice key = slice_from(full, sizeof txn->part.v);
		bool inside = full.len > sizeof txn->part.v &&
		              memcmp(full.ptr, txn->part.v, sizeof txn->part.v) == 0 &&
		              key.ptr[0] != 0 && slice_compare(key, cursor->from) >= 0 &&
		              (!cursor->to.ptr || slice_compare(key, cursor->to) < 0);
		if (inside) {
			if (txn->writable) {
				memcpy(cursor->place, full.ptr, full.len);
				cursor->place_len = full.len;
			}
			cursor->state = CURSOR_ON;
			*out_key = key;
			*out_value = value;
			return STATUS_OK;
		}
		status = STATUS_NOT_FOUND;
	}
	cursor->state = CURSOR_END;
	if (status != STATUS_NOT_FOUND && txn->writable && txn->status == STATUS_OK)
		txn->status = status;
	return status;
}
