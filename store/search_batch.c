/*
 * A batch: the keys of some documents, collected, sorted, and written as pages.
 *
 * Memory is fixed: ENTRIES_MAX entries twice (for the sort), a bit for each trigram, the
 * pages.  A document with more keys than DOCUMENT_KEYS_MAX is one that may hold anything.
 */
#include "store/search_int.h"

#include <stdlib.h>

#include "text/message_text.h"

enum {
	ENTRIES_MAX = 1024 * 1024, /* keys of documents, 8 bytes each */
	DOCUMENT_KEYS_MAX = 64 * 1024,
	DOCUMENTS_MAX = SEARCH_BLOCK_DOCS,
	TEXT_BYTES_MAX = 16 * 1024 * 1024, /* of a batch: so that it ends in time */
	TRIGRAMS = 1 << 24,
	DIGIT_BITS = 11,
	DIGITS = 1 << DIGIT_BITS,
	KEY_SHIFT = 12, /* an entry: slot of the block 6 bits, key 27, document 12 */
	SLOT_SHIFT = 39,
	ENTRY_BITS = 45,
};

struct batch_block {
	uint32_t number;
	struct search_bits add, always;
};

struct search_batch {
	uint64_t *entries, *spare; /* ENTRIES_MAX each */
	size_t count;
	uint64_t *seen; /* a bit for each trigram, all clear between classes */
	struct batch_block *blocks;
	size_t block_count;
	size_t documents;
	uint64_t text_bytes;
	struct search_block_change *changes;
	struct search_pages pages;
	struct buf fields[SEARCH_CLASSES]; /* a document's, by class */
};

struct search_batch *
search_batch_new(void)
{
	struct search_batch *batch = xcalloc(1, sizeof(*batch));
	batch->entries = xmalloc(ENTRIES_MAX * sizeof(*batch->entries));
	batch->spare = xmalloc(ENTRIES_MAX * sizeof(*batch->spare));
	batch->seen = xcalloc(TRIGRAMS / 64, sizeof(*batch->seen));
	batch->blocks = xcalloc(SEARCH_BATCH_BLOCKS, sizeof(*batch->blocks));
	batch->changes = xcalloc(SEARCH_BATCH_BLOCKS, sizeof(*batch->changes));
	search_pages_init(&batch->pages);
	for (size_t i = 0; i < SEARCH_CLASSES; i++)
		buf_init(&batch->fields[i], MESSAGE_TEXT_MAX);
	return batch;
}

void
search_batch_free(struct search_batch **batch)
{
	struct search_batch *b = *batch;
	if (!b)
		return;
	for (size_t i = 0; i < SEARCH_CLASSES; i++)
		buf_fini(&b->fields[i]);
	search_pages_fini(&b->pages);
	free(b->changes);
	free(b->blocks);
	free(b->seen);
	free(b->spare);
	free(b->entries);
	free(b);
	*batch = NULL;
}

void
search_batch_reset(struct search_batch *batch)
{
	batch->count = batch->block_count = batch->documents = 0;
	batch->text_bytes = 0;
	search_pages_reset(&batch->pages);
}

static size_t
block_find(const struct search_batch *batch, uint32_t number)
{
	size_t i = batch->block_count;
	while (i > 0 && batch->blocks[i - 1].number != number)
		i--;
	return i > 0 ? i - 1 : SIZE_MAX;
}

bool
search_batch_takes(const struct search_batch *batch, uint32_t block)
{
	return batch->block_count < SEARCH_BATCH_BLOCKS ||
	       block_find(batch, block) != SIZE_MAX;
}

bool
search_batch_is_full(const struct search_batch *batch)
{
	return batch->documents >= DOCUMENTS_MAX ||
	       batch->count > ENTRIES_MAX - DOCUMENT_KEYS_MAX ||
	       batch->text_bytes >= TEXT_BYTES_MAX;
}

size_t
search_batch_documents(const struct search_batch *batch)
{
	return batch->documents;
}

uint64_t
search_batch_text_bytes(const struct search_batch *batch)
{
	return batch->text_bytes;
}

/* ---- one document ---- */
static size_t
document_begin(struct search_batch *batch, uint32_t doc)
{
	uint32_t number = doc / SEARCH_BLOCK_DOCS;
	size_t slot = block_find(batch, number);
	ENSURE(!search_batch_is_full(batch));
	if (slot == SIZE_MAX) {
		ENSURE(batch->block_count < SEARCH_BATCH_BLOCKS);
		slot = batch->block_count++;
		batch->blocks[slot] = (struct batch_block){.number = number};
	}
	search_bits_set(&batch->blocks[slot].add, doc % SEARCH_BLOCK_DOCS);
	batch->documents++;
	return slot;
}

void
search_batch_add_unread(struct search_batch *batch, uint32_t doc)
{
	size_t slot = document_begin(batch, doc);
	search_bits_set(&batch->blocks[slot].always, doc % SEARCH_BLOCK_DOCS);
}

/* Adds the keys of a class's text; false: the document has too many.  NUL stands between
 * texts, so trigrams that begin in one text and go on in the next are left out; one NUL
 * at a text's end stays, for needles of two bytes. */
static bool
class_add(struct search_batch *batch, unsigned class, uint64_t base, struct slice text,
    size_t count_max)
{
	const unsigned char *p = (const unsigned char *)text.ptr;
	size_t begin = batch->count;
	bool good = true;
	if (text.len < 3)
		return true;
	uint32_t trigram = (uint32_t)p[0] << 8 | p[1];
	for (size_t i = 2; i < text.len; i++) {
		trigram = (trigram << 8 | p[i]) & 0xffffff;
		if (trigram <= 0xffff || !(trigram & 0xff00))
			continue;
		uint32_t key = search_key(class, trigram);
		uint64_t *word = &batch->seen[(key & 0xffffff) / 64];
		uint64_t bit = UINT64_C(1) << key % 64;
		if (*word & bit)
			continue;
		if (batch->count == count_max) {
			good = false;
			break;
		}
		*word |= bit;
		batch->entries[batch->count++] = base | (uint64_t)key << KEY_SHIFT;
	}
	for (size_t i = begin; i < batch->count; i++)
		batch->seen[(batch->entries[i] >> KEY_SHIFT & 0xffffff) / 64] = 0;
	return good;
}

static void
fields_collect(struct search_batch *batch, struct message_text *text, struct slice header)
{
	struct header_iter it;
	struct header_field field;
	header_iter_init(&it, header);
	while (header_iter_next(&it, &field)) {
		unsigned class = (unsigned)__builtin_ctz(search_class_of(field.name));
		message_text_field(text, &field, &batch->fields[class]);
		buf_append_byte(&batch->fields[class], '\0');
	}
}

void
search_batch_add(struct search_batch *batch, uint32_t doc, struct message_text *text,
    const struct message_index *index, struct slice message)
{
	size_t slot = document_begin(batch, doc);
	size_t begin = batch->count;
	uint64_t base = (uint64_t)slot << SLOT_SHIFT | doc % SEARCH_BLOCK_DOCS;
	size_t other = (size_t)__builtin_ctz(SEARCH_OTHER);
	for (size_t i = 0; i < SEARCH_CLASSES; i++)
		buf_reset(&batch->fields[i]);
	message_text_reset(text);
	fields_collect(batch, text, slice_sub(message, 0, header_block_length(message)));
	message_text_body(text, index, message);
	buf_append(&batch->fields[other], buf_slice(&text->mime));
	bool good = !text->over && buf_ok(&batch->fields[other]);
	for (size_t i = 0; i < SEARCH_CLASSES && good; i++) {
		struct slice all = 1u << i == SEARCH_BODY ? buf_slice(&text->body)
		                                          : buf_slice(&batch->fields[i]);
		good =
		    class_add(batch, (unsigned)i, base, all, begin + DOCUMENT_KEYS_MAX);
		batch->text_bytes += all.len;
	}
	if (!good) {
		batch->count = begin;
		search_bits_set(&batch->blocks[slot].always, doc % SEARCH_BLOCK_DOCS);
	}
	message_text_reset(text);
	for (size_t i = 0; i < SEARCH_CLASSES; i++) {
		bool big = batch->fields[i].cap > ENTRIES_MAX;
		buf_reset(&batch->fields[i]);
		if (big)
			buf_release_if_empty(&batch->fields[i]);
	}
}

/* ---- all of them ---- */
/* Radix sort by 45 bits, lowest digit first. */
static void
entries_sort(struct search_batch *batch)
{
	size_t *counts = xmalloc(DIGITS * sizeof(*counts));
	for (unsigned shift = 0; shift < ENTRY_BITS; shift += DIGIT_BITS) {
		memset(counts, 0, DIGITS * sizeof(*counts));
		for (size_t i = 0; i < batch->count; i++)
			counts[batch->entries[i] >> shift & (DIGITS - 1)]++;
		size_t sum = 0;
		for (size_t i = 0; i < DIGITS; i++) {
			size_t count = counts[i];
			counts[i] = sum;
			sum += count;
		}
		for (size_t i = 0; i < batch->count; i++) {
			uint64_t entry = batch->entries[i];
			batch->spare[counts[entry >> shift & (DIGITS - 1)]++] = entry;
		}
		uint64_t *swap = batch->entries;
		batch->entries = batch->spare;
		batch->spare = swap;
	}
	free(counts);
}

/* Where the block's documents begin and end. */
static void
block_span(const struct search_bits *bits, uint16_t *out_first, uint16_t *out_span)
{
	unsigned first = 0;
	unsigned last = SEARCH_BITS_WORDS - 1;
	while (!bits->w[first])
		first++;
	while (!bits->w[last])
		last--;
	unsigned end = last * 64 + 64 - (unsigned)__builtin_clzll(bits->w[last]);
	*out_first = (uint16_t)(first * 64);
	*out_span = (uint16_t)(end - first * 64);
}

static size_t
block_write(struct search_batch *batch, size_t at, uint64_t slot,
    struct search_block_change *change)
{
	struct search_writer *writer = xmalloc(sizeof(*writer));
	uint16_t docs[SEARCH_BLOCK_DOCS];
	search_writer_begin(writer, &batch->pages, change->span);
	while (at < batch->count && batch->entries[at] >> SLOT_SHIFT == slot) {
		uint64_t key = batch->entries[at] >> KEY_SHIFT;
		size_t count = 0;
		uint64_t last = UINT64_MAX;
		for (; at < batch->count && batch->entries[at] >> KEY_SHIFT == key;
		     at++) {
			if (batch->entries[at] == last)
				continue;
			last = batch->entries[at];
			docs[count++] =
			    (uint16_t)((last & (SEARCH_BLOCK_DOCS - 1)) - change->first);
		}
		search_writer_add(writer, (uint32_t)(key & 0x7ffffff), docs, count);
	}
	search_writer_end(writer);
	free(writer);
	return at;
}

void
search_batch_finish(struct search_batch *batch, struct search_change *change)
{
	size_t at = 0;
	entries_sort(batch);
	for (size_t slot = 0; slot < batch->block_count; slot++) {
		struct search_block_change *block = &batch->changes[slot];
		memset(block, 0, sizeof(*block));
		block->block = batch->blocks[slot].number;
		block->add = batch->blocks[slot].add;
		block->always = batch->blocks[slot].always;
		block_span(&block->add, &block->first, &block->span);
		block->page_first = batch->pages.list.count;
		at = block_write(batch, at, slot, block);
		block->page_count = batch->pages.list.count - block->page_first;
	}
	change->pages = &batch->pages;
	change->blocks = batch->changes;
	change->block_count = batch->block_count;
	change->text_bytes = batch->text_bytes;
}
