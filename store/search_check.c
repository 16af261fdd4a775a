/*
 * Invariant 15: the search index of one account, looked at key by key in the walk of
 * store_check_account (keys come in the order g, i, j, p).
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

static void
look_page(
    struct check *check, struct search_check *seen, struct slice key, struct slice value)
{
	struct search_page_iter it;
	struct search_bits bits;
	uint32_t block;
	uint32_t last;
	uint16_t segment;
	enum status status = STATUS_CORRUPT;
	if (!key_search_page_decode(key, &block, &segment, &last)) {
		check_problem(check, 15, "damaged page key of the search index");
		return;
	}
	struct listed *listed = listed_find(seen, block, segment);
	if (!listed) {
		check_problem(check, 15, "search index page of no segment (block %u)",
		    (unsigned)block);
		return;
	}
	listed->seen++;
	if (search_page_fits(value)) {
		search_page_iter_init(&it, value);
		while ((status = search_page_iter_next(&it)) == STATUS_OK) {
			if (!search_posting_get(
				&it.posting, listed->first, listed->span, &bits))
				break;
		}
		if (status == STATUS_NOT_FOUND && it.key != last)
			status = STATUS_CORRUPT;
	}
	if (status != STATUS_NOT_FOUND)
		check_problem(
		    check, 14, "damaged search index page (block %u)", (unsigned)block);
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
