/*
 * Changes of the search index, each one commit: new segments with the progress that they
 * stand for, merged segments, a damaged block dropped, the whole dropped in steps.
 *
 * Invariant: a document is in g.covered exactly when its keys are in the pages of a
 * segment that g lists, or it is in g.always.
 */
#include "store/search_int.h"

#include <stdlib.h>

static struct search_segment *
segment_find(struct search_record *record, uint16_t id)
{
	for (unsigned i = 0; i < record->segment_count; i++) {
		if (record->segments[i].id == id)
			return &record->segments[i];
	}
	return NULL;
}

static void
segment_remove(struct engine_txn *txn, uint32_t block, struct search_record *record,
    uint16_t id, struct search_state *state)
{
	struct search_segment *segment = segment_find(record, id);
	struct key from;
	struct key to;
	if (!segment)
		return;
	key_search_page(&from, block, id, 0);
	key_search_page(&to, block, id, UINT32_MAX);
	key_next_prefix(&to);
	engine_del_range(txn, key_slice(&from), key_slice(&to));
	state->pages -= segment->pages < state->pages ? segment->pages : state->pages;
	*segment = record->segments[--record->segment_count];
}

static void
segment_add(struct engine_txn *txn, const struct search_change *change,
    const struct search_block_change *block, struct search_record *record,
    struct search_state *state)
{
	const struct search_page *pages = change->pages->list.ptr;
	struct slice bytes = buf_slice(&change->pages->bytes);
	struct key key;
	while (segment_find(record, record->next_id))
		record->next_id++;
	for (size_t i = 0; i < block->page_count; i++) {
		const struct search_page *page = &pages[block->page_first + i];
		key_search_page(&key, block->block, record->next_id, page->key);
		engine_put(
		    txn, key_slice(&key), slice_sub(bytes, page->offset, page->len));
	}
	record->segments[record->segment_count++] = (struct search_segment){
	    .id = record->next_id++,
	    .first = block->first,
	    .span = block->span,
	    .pages = (uint32_t)block->page_count,
	};
	state->pages += block->page_count;
}

static void
state_count_gone(struct search_state *state, uint64_t gone)
{
	/* Which text it was is not known: its share. */
	if (state->documents)
		state->text_bytes -=
		    (uint64_t)((double)state->text_bytes *
			       ((double)gone / (double)state->documents));
	state->documents -= gone < state->documents ? gone : state->documents;
	state->removed += gone;
}

static enum status
change_block(struct engine_txn *txn, const struct search_change *change,
    const struct search_block_change *block, struct search_state *state)
{
	struct search_record record;
	char bytes[SEARCH_RECORD_MAX];
	struct key key;
	enum status status = search_record_load(txn, block->block, &record);
	if (status != STATUS_OK)
		return status;
	unsigned before = search_bits_count(&record.covered);
	unsigned gone = 0;
	for (unsigned i = 0; i < block->gone_count; i++)
		segment_remove(txn, block->block, &record, block->gone[i], state);
	if (block->page_count && record.segment_count == SEARCH_SEGMENTS_MAX)
		return STATUS_LIMIT;
	if (block->has_keep) {
		for (size_t i = 0; i < SEARCH_BITS_WORDS; i++) {
			record.covered.w[i] &= block->keep.w[i];
			record.always.w[i] &= block->keep.w[i];
		}
		gone = before - search_bits_count(&record.covered);
	}
	for (size_t i = 0; i < SEARCH_BITS_WORDS; i++) {
		record.covered.w[i] |= block->add.w[i];
		record.always.w[i] |= block->always.w[i];
	}
	state->documents += search_bits_count(&record.covered) + gone - before;
	state_count_gone(state, gone);
	if (block->page_count)
		segment_add(txn, change, block, &record, state);
	key_search_block(&key, block->block);
	if (record.segment_count == 0 && search_bits_is_empty(&record.covered))
		engine_del(txn, key_slice(&key));
	else
		engine_put(txn, key_slice(&key),
		    slice_make(bytes, search_record_encode(&record, bytes)));
	return STATUS_OK;
}

static void
state_put(struct engine_txn *txn, const struct search_state *state)
{
	struct key key;
	char bytes[SEARCH_STATE_SIZE];
	key_begin(&key, KEY_SEARCH_STATE);
	search_state_encode(state, bytes);
	engine_put(txn, key_slice(&key), slice_make(bytes, sizeof(bytes)));
}

static void
progress_put(struct engine_txn *txn, const struct search_progress *progress)
{
	struct key key;
	char bytes[SEARCH_MAILBOX_SIZE] = {STORE_RECORD_VERSION};
	key_mailbox(&key, KEY_SEARCH_MAILBOX, progress->mailbox);
	if (progress->gone) {
		engine_del(txn, key_slice(&key));
		return;
	}
	be32_put(bytes + SEARCH_MAILBOX_UID, progress->uid);
	engine_put(txn, key_slice(&key), slice_make(bytes, sizeof(bytes)));
}

static enum status
commit_change(struct engine_txn *txn, void *arg)
{
	struct search_change *change = arg;
	struct search_state state;
	struct account_state account;
	enum status status = account_load(txn, &account); /* is it being removed? */
	if (status == STATUS_OK)
		status = search_state_load(txn, &state);
	if (status != STATUS_OK)
		return status;
	if (state.sequence != change->sequence)
		return STATUS_CONFLICT;
	for (size_t i = 0; i < change->block_count && status == STATUS_OK; i++)
		status = change_block(txn, change, &change->blocks[i], &state);
	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < change->progress_count; i++)
		progress_put(txn, &change->progress[i]);
	state.sequence++;
	state.text_bytes += change->text_bytes;
	if (change->complete) {
		state.email_id = change->email_id;
		state.bytes = change->bytes;
	}
	if (change->swept)
		state.swept_s = change->swept_s;
	state_put(txn, &state);
	return engine_txn_status(txn);
}

enum status
search_change_commit(
    struct store_reader *reader, struct account_id account, struct search_change *change)
{
	if (change->pages && !search_pages_ok(change->pages))
		return STATUS_LIMIT;
	/* The index is derived: what is kept back for deletions is not for it. */
	enum status status = engine_commit_wait_growing(
	    reader->store->engine, partition_account(account), commit_change, change);
	store_reader_end(reader);
	if (status == STATUS_OK)
		change->sequence++;
	return status;
}

/* ---- dropping ---- */
/* Documents and pages from what is there, when what went could not be read. */
static void
state_recount(struct engine_txn *txn, struct search_state *state)
{
	struct search_record record;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	uint64_t before = state->documents;
	state->documents = state->pages = 0;
	key_begin(&from, KEY_SEARCH_BLOCK);
	key_begin(&to, KEY_SEARCH_BLOCK + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while (engine_cursor_next(cursor, &key, &value) == STATUS_OK) {
		if (!search_record_decode(value, &record))
			continue;
		state->documents += search_bits_count(&record.covered);
		for (unsigned i = 0; i < record.segment_count; i++)
			state->pages += record.segments[i].pages;
	}
	engine_cursor_close(&cursor);
	if (before > state->documents)
		state->text_bytes =
		    (uint64_t)((double)state->text_bytes *
			       ((double)state->documents / (double)before));
}

static enum status
block_drop(struct engine_txn *txn, uint32_t block)
{
	struct search_state state;
	struct key from;
	struct key to;
	/* A damaged state is begun anew; its sequence must not be one that was. */
	if (search_state_load(txn, &state) != STATUS_OK)
		state = (struct search_state){.sequence = engine_version(txn)};
	key_search_page(&from, block, 0, 0);
	key_search_page(&to, block, UINT16_MAX, UINT32_MAX);
	key_next_prefix(&to);
	engine_del_range(txn, key_slice(&from), key_slice(&to));
	key_search_block(&from, block);
	engine_del(txn, key_slice(&from));
	/* The messages are found by a new walk over all mailboxes. */
	key_begin(&from, KEY_SEARCH_MAILBOX);
	key_begin(&to, KEY_SEARCH_MAILBOX + 1);
	engine_del_range(txn, key_slice(&from), key_slice(&to));
	state.sequence++;
	state.email_id = state.bytes = 0;
	state_recount(txn, &state);
	state_put(txn, &state);
	return engine_txn_status(txn);
}

struct heal {
	struct engine_commit commit;
	uint32_t block;
};

static enum status
commit_heal(struct engine_txn *txn, void *arg)
{
	const struct heal *heal = arg;
	return block_drop(txn, heal->block);
}

static void
heal_done(struct engine_commit *commit, enum status status)
{
	/* It did not work out?  The next one that finds the damage tries again. */
	(void)status;
	free(LIST_ENTRY(commit, struct heal, commit));
}

void
search_block_heal(struct store *store, struct account_id account, uint32_t block)
{
	struct heal *heal = xcalloc(1, sizeof(*heal));
	heal->block = block;
	heal->commit = (struct engine_commit){
	    .part = partition_account(account),
	    .fn = commit_heal,
	    .arg = heal,
	    .done = heal_done,
	};
	engine_submit(store->engine, &heal->commit);
}

enum status
search_block_drop_wait(
    struct store_reader *reader, struct account_id account, uint32_t block)
{
	struct heal heal = {.block = block};
	return store_commit_wait(reader, partition_account(account), commit_heal, &heal);
}

bool
search_is_half_dropped(struct engine_txn *txn)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	key_begin(&from, KEY_SEARCH_STATE);
	if (engine_get(txn, key_slice(&from), &value) != STATUS_NOT_FOUND)
		return false;
	key_begin(&from, KEY_SEARCH_PAGE);
	key_begin(&to, KEY_SEARCH_PAGE + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	bool left = engine_cursor_next(cursor, &key, &value) == STATUS_OK;
	engine_cursor_close(&cursor);
	return left;
}

bool
search_drop_step(struct engine_txn *txn)
{
	static const char classes[] = {
	    KEY_SEARCH_BLOCK, KEY_SEARCH_MAILBOX, KEY_SEARCH_STATE};
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	uint32_t block;
	uint32_t last;
	uint16_t segment;
	/* Blocks go first: what they do not list says nothing. */
	uint64_t gone = 0;
	for (size_t i = 0; i < sizeof(classes); i++) {
		key_begin(&from, classes[i]);
		key_begin(&to, (char)(classes[i] + 1));
		gone += engine_del_range(txn, key_slice(&from), key_slice(&to));
	}
	key_begin(&from, KEY_SEARCH_PAGE);
	key_begin(&to, KEY_SEARCH_PAGE + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	bool found = engine_cursor_next(cursor, &key, &value) == STATUS_OK;
	if (found) {
		if (key_search_page_decode(key, &block, &segment, &last)) {
			key_search_page(&from, block, segment, 0);
			key_search_page(&to, block, segment, UINT32_MAX);
			key_next_prefix(&to);
		} else {
			key_begin(&from, key.ptr[0]);
			key_bytes(&from, slice_from(key, 1));
			to = from;
			key_bytes(&to, slice_make("", 1));
		}
	}
	engine_cursor_close(&cursor);
	if (found)
		gone += engine_del_range(txn, key_slice(&from), key_slice(&to));
	return gone > 0;
}

static enum status
commit_drop(struct engine_txn *txn, void *arg)
{
	bool *more = arg;
	*more = search_drop_step(txn);
	return engine_txn_status(txn);
}

enum status
search_drop(struct store_reader *reader, struct account_id account)
{
	bool more = true;
	enum status status = STATUS_OK;
	while (more && status == STATUS_OK)
		status = store_commit_wait(
		    reader, partition_account(account), commit_drop, &more);
	return status;
}
