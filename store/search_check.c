/*
 * Invariant 15: the search index of one account, looked at key by key in the walk of
 * store_check_account (keys come in the order g, i, j, p).  And verify, which drops what
 * is damaged.
 */
#include "store/search_int.h"

#include <stdlib.h>

#include "store/store_check_int.h"

struct listed {
	uint32_t block;
	uint16_t segment, first, span;
	uint64_t pages, seen;
};

static void
look_block(
    struct check *check, struct search_check *seen, struct slice key, struct slice value)
{
	struct search_record record;
	if (key.len != 5 || !search_record_decode(value, &record)) {
		check_problem(check, 15, "damaged block of the search index");
		return;
	}
	seen->documents += search_bits_count(&record.covered);
	for (unsigned i = 0; i < record.segment_count; i++) {
		struct listed *listed = vec_push(&seen->segments, sizeof(*listed));
		if (!listed)
			return;
		*listed = (struct listed){
		    .block = be32_get(key.ptr + 1),
		    .segment = record.segments[i].id,
		    .first = record.segments[i].first,
		    .span = record.segments[i].span,
		    .pages = record.segments[i].pages,
		};
		seen->pages += record.segments[i].pages;
	}
}

/* Pages of one segment follow each other, those of a block too. */
static struct listed *
listed_find(struct search_check *seen, uint32_t block, uint16_t segment)
{
	struct listed *all = seen->segments.ptr;
	while (seen->at < seen->segments.count && all[seen->at].block < block)
		seen->at++;
	for (size_t i = seen->at; i < seen->segments.count && all[i].block == block;
	     i++) {
		if (all[i].segment == segment)
			return &all[i];
	}
	return NULL;
}

/* Every posting of the page decodes and the last key is the page's. */
static bool
page_is_good(struct slice page, uint32_t last, unsigned first, unsigned span)
{
	struct search_page_iter it;
	struct search_bits bits;
	enum status status;
	if (!search_page_fits(page))
		return false;
	search_page_iter_init(&it, page);
	while ((status = search_page_iter_next(&it)) == STATUS_OK) {
		if (!search_posting_get(&it.posting, first, span, &bits))
			return false;
	}
	return status == STATUS_NOT_FOUND && it.key == last;
}

static void
look_page(
    struct check *check, struct search_check *seen, struct slice key, struct slice value)
{
	uint32_t block;
	uint32_t last;
	uint16_t segment;
	if (!key_search_page_decode(key, &block, &segment, &last)) {
		check_problem(check, 15, "damaged page key of the search index");
		return;
	}
	struct listed *listed = listed_find(seen, block, segment);
	/* Without a state: of a drop that was cut short, which the indexer ends. */
	if (!listed && !seen->has_state)
		return;
	if (!listed) {
		check_problem(check, 15, "search index page of no segment (block %u)",
		    (unsigned)block);
		return;
	}
	listed->seen++;
	if (!page_is_good(value, last, listed->first, listed->span))
		check_problem(
		    check, 15, "damaged search index page (block %u)", (unsigned)block);
}

void
search_check_key(
    struct check *check, struct search_check *seen, struct slice key, struct slice value)
{
	switch (key.ptr[0]) {
	case KEY_SEARCH_BLOCK:
		look_block(check, seen, key, value);
		break;
	case KEY_SEARCH_STATE:
		seen->has_state = true;
		if (key.len != 1 || !search_state_decode(value, &seen->state))
			check_problem(check, 15, "damaged search index state");
		break;
	case KEY_SEARCH_MAILBOX:
		if (key.len != 5 || value.len != SEARCH_MAILBOX_SIZE ||
		    value.ptr[0] != STORE_RECORD_VERSION)
			check_problem(check, 15, "damaged search index progress");
		break;
	default:
		look_page(check, seen, key, value);
		break;
	}
}

void
search_check_end(struct check *check, struct search_check *seen)
{
	const struct listed *all = seen->segments.ptr;
	for (size_t i = 0; i < seen->segments.count; i++) {
		if (all[i].pages != all[i].seen)
			check_problem(check, 15,
			    "search index block %u: %llu pages of %llu are there",
			    (unsigned)all[i].block, (unsigned long long)all[i].seen,
			    (unsigned long long)all[i].pages);
	}
	if (seen->state.documents != seen->documents || seen->state.pages != seen->pages)
		check_problem(check, 15,
		    "search index counts %llu documents and %llu pages, has %llu and "
		    "%llu",
		    (unsigned long long)seen->state.documents,
		    (unsigned long long)seen->state.pages,
		    (unsigned long long)seen->documents, (unsigned long long)seen->pages);
	vec_fini(&seen->segments);
}

/* ---- verify ---- */
static bool
segment_is_good(
    struct engine_txn *txn, uint32_t block, const struct search_segment *segment)
{
	struct key first;
	struct key to;
	struct slice key;
	struct slice value;
	uint32_t pages = 0;
	bool good = true;
	key_search_page(&first, block, segment->id, 0);
	key_search_page(&to, block, segment->id, UINT32_MAX);
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&first), key_slice(&to), false);
	for (; good && engine_cursor_next(cursor, &key, &value) == STATUS_OK; pages++)
		good = key.len == 11 && page_is_good(value, be32_get(key.ptr + 7),
					    segment->first, segment->span);
	engine_cursor_close(&cursor);
	return good && pages == segment->pages;
}

/* The first block at or behind `from`, and whether it is damaged. */
static enum status
block_verify(struct store_reader *reader, struct account_id account, uint64_t from,
    uint32_t *out_block, bool *out_damaged)
{
	struct engine_txn *txn;
	struct search_record record;
	struct key first;
	struct key to;
	struct slice key;
	struct slice value;
	if (from > UINT32_MAX)
		return STATUS_NOT_FOUND;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	if (status != STATUS_OK)
		return status;
	key_search_block(&first, (uint32_t)from);
	key_begin(&to, KEY_SEARCH_BLOCK + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&first), key_slice(&to), false);
	status = engine_cursor_next(cursor, &key, &value);
	if (status == STATUS_OK && key.len != 5)
		status = STATUS_CORRUPT;
	bool good = status == STATUS_OK && search_record_decode(value, &record);
	if (status == STATUS_OK)
		*out_block = be32_get(key.ptr + 1);
	engine_cursor_close(&cursor);
	for (unsigned i = 0; good && i < record.segment_count; i++)
		good = segment_is_good(txn, *out_block, &record.segments[i]);
	*out_damaged = !good;
	return status;
}

enum status
search_verify(struct store_reader *reader, struct account_id account, bool look_only,
    uint64_t *out_damaged)
{
	uint32_t block = 0;
	uint64_t from = 0;
	bool damaged;
	enum status status;
	*out_damaged = 0;
	while ((status = block_verify(reader, account, from, &block, &damaged)) ==
	       STATUS_OK) {
		store_reader_end(reader);
		*out_damaged += damaged;
		if (damaged && !look_only)
			status = search_block_drop_wait(reader, account, block);
		if (status != STATUS_OK)
			break;
		from = (uint64_t)block + 1;
	}
	store_reader_end(reader);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
