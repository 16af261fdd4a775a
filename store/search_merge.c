/*
 * Several segments of a block become one: a merge of sorted pages, key by key.  The pages
 * are read in the caller's snapshot and written in memory; the change that puts them in
 * the place of the old ones is one commit.
 */
#include "store/search_int.h"

enum {
	MERGE_PAGES_MAX = 4096, /* pages of the segments that one merge takes: 16 MiB */
};

/* A segment being read. */
struct source {
	const struct search_segment *segment;
	struct engine_cursor *cursor;
	struct key from, to;
	struct search_page_iter it;
	bool ended;
};

static enum status
source_next(struct source *source)
{
	struct slice key;
	struct slice page;
	enum status status;
	while ((status = search_page_iter_next(&source->it)) == STATUS_NOT_FOUND) {
		status = engine_cursor_next(source->cursor, &key, &page);
		if (status == STATUS_NOT_FOUND) {
			source->ended = true;
			return STATUS_OK;
		}
		if (status != STATUS_OK)
			return status;
		if (!search_page_fits(page))
			return STATUS_CORRUPT;
		search_page_iter_init(&source->it, page);
	}
	return status;
}

static enum status
source_open(struct engine_txn *txn, uint32_t block, const struct search_segment *segment,
    struct source *out)
{
	*out = (struct source){.segment = segment};
	key_search_page(&out->from, block, segment->id, 0);
	key_search_page(&out->to, block, segment->id, UINT32_MAX);
	key_next_prefix(&out->to);
	out->cursor =
	    engine_cursor_open(txn, key_slice(&out->from), key_slice(&out->to), false);
	return source_next(out);
}

/* Small ones first: what is large already is not written again and again. */
static size_t
pick(const struct search_record *record, bool all,
    const struct search_segment *out[SEARCH_SEGMENTS_MAX])
{
	uint64_t pages = 0;
	size_t count = 0;
	for (unsigned i = 0; i < record->segment_count; i++) {
		size_t at = count++;
		for (; at > 0 && out[at - 1]->pages > record->segments[i].pages; at--)
			out[at] = out[at - 1];
		out[at] = &record->segments[i];
	}
	for (size_t i = 0; i < count && !all; i++) {
		pages += out[i]->pages;
		if (pages > MERGE_PAGES_MAX)
			return i;
	}
	return count;
}

static enum status
sources_merge(struct source *sources, size_t count, const struct search_bits *keep,
    struct search_writer *writer, unsigned first)
{
	enum status status = STATUS_OK;
	uint16_t docs[SEARCH_BLOCK_DOCS];
	while (status == STATUS_OK) {
		struct search_bits bits = {{0}};
		uint32_t key = UINT32_MAX;
		for (size_t i = 0; i < count; i++) {
			if (!sources[i].ended && sources[i].it.key < key)
				key = sources[i].it.key;
		}
		if (key == UINT32_MAX)
			break;
		for (size_t i = 0; i < count && status == STATUS_OK; i++) {
			struct source *source = &sources[i];
			if (source->ended || source->it.key != key)
				continue;
			if (!search_posting_get(&source->it.posting,
				source->segment->first, source->segment->span, &bits))
				return STATUS_CORRUPT;
			status = source_next(source);
		}
		if (keep)
			for (size_t i = 0; i < SEARCH_BITS_WORDS; i++)
				bits.w[i] &= keep->w[i];
		size_t n = search_bits_list(&bits, docs);
		for (size_t i = 0; i < n; i++)
			docs[i] = (uint16_t)(docs[i] - first);
		if (n)
			search_writer_add(writer, key, docs, n);
	}
	return status;
}

enum status
search_merge(struct engine_txn *txn, uint32_t block, const struct search_record *record,
    const struct search_bits *keep, struct search_pages *pages,
    struct search_block_change *change)
{
	const struct search_segment *picked[SEARCH_SEGMENTS_MAX];
	struct source sources[SEARCH_SEGMENTS_MAX];
	struct search_writer writer;
	enum status status = STATUS_OK;
	unsigned first = SEARCH_BLOCK_DOCS;
	unsigned end = 0;
	memset(change, 0, sizeof(*change));
	/* Documents can only go when every segment goes along. */
	size_t count = pick(record, keep != NULL, picked);
	if (count < 2 && !keep)
		return STATUS_NOT_FOUND;
	change->block = block;
	for (size_t i = 0; i < count; i++) {
		const struct search_segment *s = picked[i];
		change->gone[change->gone_count++] = s->id;
		first = s->first < first ? s->first : first;
		end = (unsigned)s->first + s->span > end ? (unsigned)s->first + s->span
		                                         : end;
	}
	change->has_keep = keep != NULL;
	if (keep)
		change->keep = *keep;
	if (count == 0)
		return STATUS_OK;
	change->first = (uint16_t)first;
	change->span = (uint16_t)(end - first);
	search_pages_reset(pages);
	search_writer_begin(&writer, pages, change->span);
	size_t open = 0;
	for (; open < count && status == STATUS_OK; open++)
		status = source_open(txn, block, picked[open], &sources[open]);
	if (status == STATUS_OK)
		status = sources_merge(sources, count, keep, &writer, first);
	for (size_t i = 0; i < open; i++)
		engine_cursor_close(&sources[i].cursor);
	search_writer_end(&writer);
	change->page_count = pages->list.count;
	if (status == STATUS_OK && !search_pages_ok(pages))
		status = STATUS_LIMIT;
	return status;
}
