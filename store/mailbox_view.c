/*
 * A session's view of a mailbox: which UIDs it knows, and up to which modseq it has been
 * told.  A Roaring bitmap gives message number <-> UID by select and rank, in a few
 * kilobytes even for large mailboxes.
 *
 * Invariants:
 *  1. The bitmap changes by mailbox_view_add and mailbox_view_remove only, so message
 *     numbers stand still while a client may use them (RFC 9051 section 7.5.1).
 *  2. modseq only grows.  What the change log says after it is what the session has not
 *     been told of; the log holds one entry a live message, at its newest modseq, so a
 *     delta costs what has changed and not what is there.
 *
 * Thread: the session's loop.
 */
#include "store/mailbox_int.h"

#include <roaring/roaring.h>
#include <stdlib.h>

enum {
	MAILBOX_VIEW_MAGIC = 0x4d625677,
	VIEW_BATCH = 4096, /* uids added to the bitmap at a time */
};

struct mailbox_view {
	unsigned magic;
	struct account_id account;
	uint32_t mailbox;
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint32_t count;
	uint64_t modseq;
	roaring_bitmap_t *uids;
};

/* From the records: without a map. */
static enum status
uids_scan(struct engine_txn *txn, uint32_t mailbox, roaring_bitmap_t *out)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	uint32_t batch[VIEW_BATCH];
	size_t count = 0;
	enum status status;
	key_mailbox(&from, KEY_MESSAGE, mailbox);
	key_mailbox(&to, KEY_MESSAGE, mailbox);
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		if (!key_message_uid(key, &batch[count])) {
			status = STATUS_CORRUPT;
			break;
		}
		if (++count == VIEW_BATCH) {
			roaring_bitmap_add_many(out, count, batch);
			count = 0;
		}
	}
	engine_cursor_close(&cursor);
	roaring_bitmap_add_many(out, count, batch);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* The uids of a mailbox as they are in this snapshot. */
static enum status
uids_load(
    struct engine_txn *txn, const struct mailbox_state *state, roaring_bitmap_t *out)
{
	enum status status = STATUS_OK;
	if (!mailbox_map_load(txn, state, out))
		status = uids_scan(txn, state->number, out);
	(void)roaring_bitmap_run_optimize(out);
	return status;
}

static enum status
view_snap(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    struct engine_txn **out_txn, struct mailbox_state *out)
{
	struct account_state state;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), out_txn);
	if (status == STATUS_OK)
		status = account_load(*out_txn, &state);
	if (status == STATUS_OK)
		status = state_load(*out_txn, mailbox, out);
	return status;
}

enum status
mailbox_view_open(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, struct mailbox_view **out)
{
	struct engine_txn *txn;
	struct mailbox_state state;
	enum status status = view_snap(reader, account, mailbox, &txn, &state);
	if (status != STATUS_OK)
		return status;
	roaring_bitmap_t *uids = roaring_bitmap_create();
	ENSURE(uids);
	status = uids_load(txn, &state, uids);
	if (status != STATUS_OK) {
		roaring_bitmap_free(uids);
		return status;
	}
	struct mailbox_view *view = xcalloc(1, sizeof(*view));
	view->magic = MAILBOX_VIEW_MAGIC;
	view->account = account;
	view->mailbox = mailbox;
	view->uidvalidity = state.uidvalidity;
	view->uidnext = state.uidnext;
	view->modseq = state.modseq;
	view->uids = uids;
	view->count = (uint32_t)roaring_bitmap_get_cardinality(uids);
	*out = view;
	return STATUS_OK;
}

void
mailbox_view_close(struct mailbox_view **view)
{
	struct mailbox_view *v = *view;
	if (!v)
		return;
	ENSURE(v->magic == MAILBOX_VIEW_MAGIC);
	roaring_bitmap_free(v->uids);
	v->magic = 0;
	free(v);
	*view = NULL;
}

uint32_t
mailbox_view_count(const struct mailbox_view *view)
{
	return view->count;
}

uint64_t
mailbox_view_modseq(const struct mailbox_view *view)
{
	return view->modseq;
}

uint32_t
mailbox_view_uidvalidity(const struct mailbox_view *view)
{
	return view->uidvalidity;
}

uint32_t
mailbox_view_uidnext(const struct mailbox_view *view)
{
	return view->uidnext;
}

uint32_t
mailbox_view_uid(const struct mailbox_view *view, uint32_t msn)
{
	uint32_t uid;
	if (msn == 0 || msn > view->count ||
	    !roaring_bitmap_select(view->uids, msn - 1, &uid))
		return 0;
	return uid;
}

uint32_t
mailbox_view_rank(const struct mailbox_view *view, uint32_t uid)
{
	return (uint32_t)roaring_bitmap_rank(view->uids, uid);
}

uint32_t
mailbox_view_msn(const struct mailbox_view *view, uint32_t uid)
{
	return roaring_bitmap_contains(view->uids, uid) ? mailbox_view_rank(view, uid)
	                                                : 0;
}

uint32_t
mailbox_view_next(const struct mailbox_view *view, uint32_t uid)
{
	uint32_t below = uid ? mailbox_view_rank(view, uid - 1) : 0;
	return below < view->count ? mailbox_view_uid(view, below + 1) : 0;
}

void
mailbox_view_remove(struct mailbox_view *view, uint32_t uid)
{
	if (roaring_bitmap_remove_checked(view->uids, uid))
		view->count--;
}

void
mailbox_view_add(struct mailbox_view *view, uint32_t uid)
{
	if (uid && roaring_bitmap_add_checked(view->uids, uid))
		view->count++;
	if (uid >= view->uidnext && uid != UINT32_MAX)
		view->uidnext = uid + 1;
}

void
mailbox_view_set_modseq(struct mailbox_view *view, uint64_t modseq)
{
	if (modseq > view->modseq)
		view->modseq = modseq;
}

/* ---- what is new ---- */
struct delta_lists {
	struct vec expunged;
	struct vec added;
	struct vec changed;
};

static bool
push_uid(struct vec *vec, uint32_t uid)
{
	uint32_t *at = vec_push(vec, sizeof(*at));
	if (!at)
		return false;
	*at = uid;
	return true;
}

static int
uid_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* Sorted, in the arena. */
static enum status
uids_take(struct vec *vec, struct arena *arena, uint32_t **out, size_t *out_count)
{
	*out = NULL;
	*out_count = vec->count;
	if (vec->count == 0)
		return STATUS_OK;
	*out = ARENA_ARRAY(arena, uint32_t, vec->count);
	if (!*out)
		return STATUS_LIMIT;
	memcpy(*out, vec->ptr, vec->count * sizeof(uint32_t));
	qsort(*out, vec->count, sizeof(uint32_t), uid_compare);
	return STATUS_OK;
}

/* NOT_FOUND for a message that an import has put below those that the session knows: no
 * client could find its number. */
static enum status
added_check(
    struct engine_txn *txn, const struct mailbox_view *view, const struct vec *added)
{
	const uint32_t *uids = added->ptr;
	struct reserved reserved;
	uint32_t lowest = UINT32_MAX;
	for (size_t i = 0; i < added->count; i++)
		if (uids[i] < lowest)
			lowest = uids[i];
	if (lowest >= view->uidnext)
		return STATUS_OK;
	enum status status = reserved_load(txn, view->mailbox, &reserved);
	return status == STATUS_OK && lowest < reserved.end ? STATUS_NOT_FOUND : status;
}

static bool
delta_note(const struct mailbox_view *view, const struct change_key *change, char kind,
    struct delta_lists *lists)
{
	bool known = roaring_bitmap_contains(view->uids, change->uid);
	if (kind == CHANGE_LIVE)
		return push_uid(known ? &lists->changed : &lists->added, change->uid);
	return !known || push_uid(&lists->expunged, change->uid);
}

/* The log after the view's modseq.  Stops only between two modseqs, or a part of one
 * would be lost; *out_more then, and *out_modseq as far as it got. */
static enum status
delta_scan(struct engine_txn *txn, const struct mailbox_view *view, size_t max,
    struct delta_lists *lists, uint64_t *out_modseq, bool *out_more)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	uint64_t last = view->modseq;
	size_t seen = 0;
	enum status status;
	key_change(&from, view->mailbox, view->modseq + 1, 0);
	key_mailbox(&to, KEY_CHANGE, view->mailbox);
	key_next_prefix(&to);
	*out_more = false;
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct change_key change;
		if (!key_change_decode(key, &change) || value.len != 1) {
			status = STATUS_CORRUPT;
			break;
		}
		if (max && seen >= max && change.modseq != last) {
			*out_more = true;
			*out_modseq = last;
			break;
		}
		last = change.modseq;
		seen++;
		if (!delta_note(view, &change, value.ptr[0], lists)) {
			status = STATUS_LIMIT;
			break;
		}
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* The log has been trimmed behind the view's back: what is gone is found by comparing. */
static enum status
delta_compare(struct engine_txn *txn, const struct mailbox_state *state,
    const struct mailbox_view *view, struct vec *expunged)
{
	roaring_bitmap_t *live = roaring_bitmap_create();
	ENSURE(live);
	enum status status = uids_load(txn, state, live);
	if (status == STATUS_OK) {
		roaring_bitmap_t *gone = roaring_bitmap_andnot(view->uids, live);
		ENSURE(gone);
		roaring_uint32_iterator_t it;
		expunged->count = 0;
		for (roaring_init_iterator(gone, &it);
		     it.has_value && status == STATUS_OK;
		     roaring_advance_uint32_iterator(&it))
			if (!push_uid(expunged, it.current_value))
				status = STATUS_LIMIT;
		roaring_bitmap_free(gone);
	}
	roaring_bitmap_free(live);
	return status;
}

enum status
mailbox_view_delta(struct store_reader *reader, struct mailbox_view *view,
    struct arena *arena, size_t max, struct mailbox_delta *out)
{
	struct engine_txn *txn;
	struct mailbox_state state;
	struct delta_lists lists = {0};
	struct mailbox_delta delta = {0};
	ENSURE(view->magic == MAILBOX_VIEW_MAGIC);
	enum status status =
	    view_snap(reader, view->account, view->mailbox, &txn, &state);
	if (status == STATUS_OK && state.uidvalidity != view->uidvalidity)
		status = STATUS_NOT_FOUND; /* an import took it over */
	if (status != STATUS_OK)
		return status;
	delta.modseq = state.modseq;
	delta.uidnext = state.uidnext;
	if (state.modseq > view->modseq) {
		bool trimmed = state.horizon > view->modseq;
		status = delta_scan(
		    txn, view, trimmed ? 0 : max, &lists, &delta.modseq, &delta.more);
		if (status == STATUS_OK && trimmed)
			status = delta_compare(txn, &state, view, &lists.expunged);
		if (status == STATUS_OK)
			status = added_check(txn, view, &lists.added);
	}
	if (status == STATUS_OK)
		status = uids_take(
		    &lists.expunged, arena, &delta.expunged, &delta.expunged_count);
	if (status == STATUS_OK)
		status = uids_take(&lists.added, arena, &delta.added, &delta.added_count);
	if (status == STATUS_OK)
		status = uids_take(
		    &lists.changed, arena, &delta.changed, &delta.changed_count);
	if (status == STATUS_OK)
		*out = delta;
	vec_fini(&lists.expunged);
	vec_fini(&lists.added);
	vec_fini(&lists.changed);
	return status;
}

enum status
mailbox_vanished(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    uint64_t since, struct arena *arena, size_t max, uint32_t **out_uids,
    size_t *out_count, bool *out_complete)
{
	struct engine_txn *txn;
	struct mailbox_state state;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	struct vec uids = {NULL, 0, 0};
	enum status status = view_snap(reader, account, mailbox, &txn, &state);
	if (status != STATUS_OK)
		return status;
	bool complete = since >= state.horizon;
	key_change(&from, mailbox, since == UINT64_MAX ? since : since + 1, 0);
	key_mailbox(&to, KEY_CHANGE, mailbox);
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct change_key change;
		if (!key_change_decode(key, &change) || value.len != 1) {
			status = STATUS_CORRUPT;
			break;
		}
		if (value.ptr[0] != CHANGE_EXPUNGED)
			continue;
		if (uids.count >= max || !push_uid(&uids, change.uid)) {
			complete = false;
			break;
		}
	}
	engine_cursor_close(&cursor);
	uint32_t *sorted;
	size_t count;
	if (status == STATUS_NOT_FOUND)
		status = STATUS_OK;
	if (status == STATUS_OK)
		status = uids_take(&uids, arena, &sorted, &count);
	vec_fini(&uids);
	if (status != STATUS_OK)
		return status;
	*out_uids = sorted;
	*out_count = count;
	*out_complete = complete;
	return STATUS_OK;
}
