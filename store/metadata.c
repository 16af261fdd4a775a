/*
 * Annotations: reading them, and the op that changes them.
 *
 * Each change takes the account's next change number (e) and writes it into what it
 * changes, so that a session finds out by one look-up that something is new and by
 * comparing what it is.  The account's totals are not counted anywhere: a change that
 * adds walks over all annotations, METADATA_ENTRIES_MAX at most.
 */
#include "store/metadata.h"

#include "store/mailbox_int.h"

#include <stdlib.h>

enum { GATHERED_HEAD = 2 + 2 + 8 }; /* bytes: of name and value, the change */
_Static_assert(METADATA_VALUE_MAX <= UINT16_MAX, "metadata_gather");

/* ---- reading ---- */
static enum status
last_load(struct engine_txn *txn, uint64_t *out)
{
	struct key key;
	struct slice value;
	struct slice none;
	key_begin(&key, KEY_METADATA_LAST);
	enum status status = engine_get(txn, key_slice(&key), &value);
	*out = 0;
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	return metadata_decode(value, out, &none) ? STATUS_OK : STATUS_CORRUPT;
}

/* All entries whose keys begin as `from`. */
static enum status
walk(struct engine_txn *txn, const struct key *from,
    bool (*fn)(const struct metadata_item *item, void *arg), void *arg)
{
	struct key to = *from;
	struct slice key;
	struct slice value;
	enum status status;
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct metadata_key at;
		struct metadata_item item;
		if (!key_metadata_decode(key, &at) ||
		    !metadata_decode(value, &item.change, &item.value)) {
			status = STATUS_CORRUPT;
			break;
		}
		item.mailbox = at.mailbox;
		item.user = at.user;
		item.entry = at.entry;
		if (!fn(&item, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
metadata_each(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    struct account_id user, bool (*fn)(const struct metadata_item *item, void *arg),
    void *arg)
{
	struct engine_txn *txn;
	struct key from;
	enum status status = account_snap(reader, account, &txn, NULL);
	key_metadata(&from, mailbox, user);
	return status == STATUS_OK ? walk(txn, &from, fn, arg) : status;
}

enum status
metadata_each_all(struct store_reader *reader, struct account_id account,
    bool (*fn)(const struct metadata_item *item, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	enum status status = account_snap(reader, account, &txn, NULL);
	key_begin(&from, KEY_METADATA);
	return status == STATUS_OK ? walk(txn, &from, fn, arg) : status;
}

enum status
metadata_get(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    struct account_id user, struct slice entry, struct slice *out_value)
{
	struct engine_txn *txn;
	struct key key;
	struct slice value;
	uint64_t change;
	if (entry.len == 0 || entry.len > METADATA_ENTRY_MAX)
		return STATUS_NOT_FOUND;
	enum status status = account_snap(reader, account, &txn, NULL);
	key_metadata(&key, mailbox, user);
	key_bytes(&key, entry);
	if (status == STATUS_OK)
		status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	return metadata_decode(value, &change, out_value) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
metadata_last_change(
    struct store_reader *reader, struct account_id account, uint64_t *out)
{
	struct engine_txn *txn;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	return status == STATUS_OK ? last_load(txn, out) : status;
}

/* ---- the op ---- */
struct metadata_state {
	struct store_op_state base;
	char record[METADATA_VALUE + METADATA_VALUE_MAX];
};

struct totals {
	const struct metadata_op *op;
	size_t all, shared, own; /* entries: of the account; of the mailbox */
	size_t bytes;
};

static bool
total_add(const struct metadata_item *item, void *arg)
{
	static const struct account_id nobody;
	struct totals *t = arg;
	t->all++;
	t->bytes += item->entry.len + item->value.len;
	if (item->mailbox != t->op->mailbox)
		return true;
	if (memcmp(item->user.v, nobody.v, sizeof(nobody.v)) == 0)
		t->shared++;
	else if (memcmp(item->user.v, t->op->user.v, sizeof(nobody.v)) == 0)
		t->own++;
	return true;
}

static void
change_key(const struct metadata_op *op, size_t i, struct key *key)
{
	static const struct account_id nobody;
	const struct metadata_change *change = &op->changes[i];
	key_metadata(key, op->mailbox, change->shared ? nobody : op->user);
	key_bytes(key, change->entry);
}

/* Is the i-th change overwritten by a later one of the same op? */
static bool
is_overwritten(const struct metadata_op *op, size_t i)
{
	for (size_t k = i + 1; k < op->count; k++)
		if (op->changes[k].shared == op->changes[i].shared &&
		    slice_equal(op->changes[k].entry, op->changes[i].entry))
			return true;
	return false;
}

/* What would be there afterwards; LIMIT when that is too much and more than before. */
static enum status
limits_check(struct engine_txn *txn, const struct metadata_op *op)
{
	struct totals t = {.op = op};
	struct key key;
	bool grows = false;
	key_begin(&key, KEY_METADATA);
	enum status status = walk(txn, &key, total_add, &t);
	for (size_t i = 0; status == STATUS_OK && i < op->count; i++) {
		const struct metadata_change *change = &op->changes[i];
		struct slice record;
		if (is_overwritten(op, i))
			continue;
		size_t *of_box = change->shared ? &t.shared : &t.own;
		change_key(op, i, &key);
		status = engine_get(txn, key_slice(&key), &record);
		if (status == STATUS_OK) {
			--*of_box;
			t.all--;
			t.bytes -= change->entry.len + record.len - METADATA_VALUE;
			grows |= change->value.ptr &&
			         change->value.len > record.len - METADATA_VALUE;
		} else if (status != STATUS_NOT_FOUND) {
			return status;
		} else {
			grows |= change->value.ptr != NULL;
		}
		status = STATUS_OK;
		if (change->value.ptr) {
			++*of_box;
			t.all++;
			t.bytes += change->entry.len + change->value.len;
		}
	}
	if (status != STATUS_OK || !grows)
		return status;
	return t.shared > METADATA_COUNT_MAX || t.own > METADATA_COUNT_MAX ||
	               t.all > METADATA_ENTRIES_MAX || t.bytes > METADATA_BYTES_MAX
	           ? STATUS_LIMIT
	           : STATUS_OK;
}

static enum status
commit_metadata(struct engine_txn *txn, void *arg)
{
	struct metadata_state *state = arg;
	struct metadata_op *op = (struct metadata_op *)state->base.op;
	struct account_state account;
	struct mailbox_state box;
	struct key key;
	uint64_t last;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK && op->mailbox != METADATA_ACCOUNT)
		status = state_load(txn, op->mailbox, &box);
	if (status == STATUS_OK && op->set_use)
		status = use_check(txn, op->use, op->mailbox);
	if (status == STATUS_OK)
		status = last_load(txn, &last);
	if (status == STATUS_OK)
		status = limits_check(txn, op);
	if (status != STATUS_OK)
		return status;
	op->out_change = last + 1;
	for (size_t i = 0; i < op->count; i++) {
		struct slice value = op->changes[i].value;
		change_key(op, i, &key);
		if (!value.ptr) {
			engine_del(txn, key_slice(&key));
			continue;
		}
		size_t len = metadata_encode(op->out_change, value, state->record);
		engine_put(txn, key_slice(&key), slice_make(state->record, len));
	}
	if (op->set_use && box.use != op->use) {
		box.use = (uint16_t)op->use;
		state_save(txn, &box);
	}
	key_begin(&key, KEY_METADATA_LAST);
	size_t len = metadata_encode(op->out_change, SLICE_NULL, state->record);
	engine_put(txn, key_slice(&key), slice_make(state->record, len));
	return engine_txn_status(txn);
}

static bool
op_is_sane(const struct metadata_op *op)
{
	for (size_t i = 0; i < op->count; i++)
		if (op->changes[i].entry.len == 0 ||
		    op->changes[i].entry.len > METADATA_ENTRY_MAX ||
		    op->changes[i].value.len > METADATA_VALUE_MAX)
			return false;
	return op->count <= METADATA_SET_MAX && op->use <= UINT16_MAX &&
	       !(op->set_use && op->mailbox == METADATA_ACCOUNT);
}

void
metadata_op_submit(struct store_reader *reader, struct metadata_op *op)
{
	struct metadata_state *state = op_state_new(reader, &op->op, sizeof(*state));
	op->out_change = 0;
	if (!op_is_sane(op)) {
		op_refuse(&state->base, STATUS_INVALID);
		return;
	}
	for (size_t i = 0; i < op->count; i++)
		state->base.commit.grows |= op->changes[i].value.ptr != NULL;
	op_submit(&state->base, partition_account(op->account), commit_metadata);
}

/* ---- with the mailbox ---- */
struct gathering {
	struct totals totals;
	struct buf *out;
	uint32_t mailbox;
};

static bool
gather_one(const struct metadata_item *item, void *arg)
{
	struct gathering *g = arg;
	(void)total_add(item, &g->totals);
	if (item->mailbox != g->mailbox)
		return true;
	g->totals.all++;
	g->totals.bytes += item->entry.len + item->value.len;
	buf_append_be16(g->out, (uint16_t)(sizeof(item->user.v) + item->entry.len));
	buf_append_be16(g->out, (uint16_t)item->value.len);
	buf_append_be64(g->out, item->change);
	buf_append(g->out, slice_make((const char *)item->user.v, sizeof(item->user.v)));
	buf_append(g->out, item->entry);
	buf_append(g->out, item->value);
	return buf_ok(g->out);
}

enum status
metadata_gather(struct engine_txn *txn, uint32_t mailbox, struct buf *out)
{
	static const struct metadata_op none;
	struct gathering g = {.totals.op = &none, .out = out, .mailbox = mailbox};
	struct key from;
	key_begin(&from, KEY_METADATA);
	enum status status = walk(txn, &from, gather_one, &g);
	if (status != STATUS_OK || out->len == 0)
		return status;
	return !buf_ok(out) || g.totals.all > METADATA_ENTRIES_MAX ||
	               g.totals.bytes > METADATA_BYTES_MAX
	           ? STATUS_LIMIT
	           : STATUS_OK;
}

void
metadata_put(struct engine_txn *txn, uint32_t mailbox, const struct buf *gathered)
{
	struct slice rest = buf_slice(gathered);
	char *record = xmalloc(METADATA_VALUE + METADATA_VALUE_MAX);
	while (rest.len > 0) {
		struct key key;
		size_t name_len = be16_get(rest.ptr);
		size_t value_len = be16_get(rest.ptr + 2);
		uint64_t change = be64_get(rest.ptr + 4);
		key_mailbox(&key, KEY_METADATA, mailbox);
		key_bytes(&key, slice_sub(rest, GATHERED_HEAD, name_len));
		size_t len = metadata_encode(
		    change, slice_sub(rest, GATHERED_HEAD + name_len, value_len), record);
		engine_put(txn, key_slice(&key), slice_make(record, len));
		rest = slice_from(rest, GATHERED_HEAD + name_len + value_len);
	}
	free(record);
}

void
metadata_drop(struct engine_txn *txn, uint32_t mailbox)
{
	struct key from;
	struct key to;
	key_mailbox(&from, KEY_METADATA, mailbox);
	to = from;
	key_next_prefix(&to);
	engine_del_range(txn, key_slice(&from), key_slice(&to));
}
