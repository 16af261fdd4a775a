/*
 * Asking the index, block by block: which documents may hold a needle.
 *
 * A text that holds the needle holds all of its trigrams, so the answer is the
 * intersection of their postings.  Whatever is damaged answers "may hold" and the block
 * is dropped, to be indexed anew.
 */
#include "store/search_int.h"

#include <stdlib.h>

enum {
	LOOK_MAGIC = 0x4c6f6f6b,
	NEEDLE_TRIGRAMS_MAX = 32, /* that are looked up; spread over a longer needle */
};

struct search_look {
	unsigned magic;
	struct store *store;
	struct account_id account;
	struct engine_txn *txn;
	struct key from, to;
	struct engine_cursor *cursor; /* over pages */
	uint32_t block;
	bool damaged; /* the block is */
	struct search_record record;
};

enum status
search_open(
    struct store_reader *reader, struct account_id account, struct search_look **out)
{
	struct engine_txn *txn;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	if (status != STATUS_OK)
		return status;
	struct search_look *look = xcalloc(1, sizeof(*look));
	look->magic = LOOK_MAGIC;
	look->store = reader->store;
	look->account = account;
	look->txn = txn;
	key_begin(&look->from, KEY_SEARCH_PAGE);
	key_begin(&look->to, KEY_SEARCH_PAGE + 1);
	look->cursor =
	    engine_cursor_open(txn, key_slice(&look->from), key_slice(&look->to), false);
	*out = look;
	return STATUS_OK;
}

static void
damage_tell(struct search_look *look)
{
	if (look->damaged)
		search_block_heal(look->store, look->account, look->block);
	look->damaged = false;
}

void
search_close(struct search_look **look)
{
	struct search_look *l = *look;
	if (!l)
		return;
	ENSURE(l->magic == LOOK_MAGIC);
	damage_tell(l);
	engine_cursor_close(&l->cursor);
	l->magic = 0;
	free(l);
	*look = NULL;
}

enum status
search_next(struct search_look *look, uint64_t from, uint64_t *out_block)
{
	struct key first;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = STATUS_NOT_FOUND;
	bool found = false;
	damage_tell(look);
	if (from > UINT32_MAX)
		return STATUS_NOT_FOUND;
	key_search_block(&first, (uint32_t)from);
	key_begin(&to, KEY_SEARCH_BLOCK + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(look->txn, key_slice(&first), key_slice(&to), false);
	while (
	    !found && (status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		if (key.len != 5)
			continue;
		look->block = be32_get(key.ptr + 1);
		found = search_record_decode(value, &look->record);
		if (!found) /* it covers nothing, then */
			search_block_heal(look->store, look->account, look->block);
	}
	engine_cursor_close(&cursor);
	if (found)
		*out_block = look->block;
	return status;
}

const struct search_bits *
search_covered(const struct search_look *look)
{
	return &look->record.covered;
}

/* ---- postings ---- */
/* The documents of a segment with keys from `key` to `last`, set in *out. */
static bool
segment_find(struct search_look *look, const struct search_segment *segment, uint32_t key,
    uint32_t last, struct search_bits *out)
{
	struct key at;
	struct slice page_key;
	struct slice page;
	uint32_t block;
	uint32_t page_last;
	uint16_t id;
	enum status status;
	key_search_page(&at, look->block, segment->id, key);
	engine_cursor_seek(look->cursor, key_slice(&at));
	do {
		status = engine_cursor_next(look->cursor, &page_key, &page);
		if (status == STATUS_NOT_FOUND)
			return true;
		if (status != STATUS_OK ||
		    !key_search_page_decode(page_key, &block, &id, &page_last))
			return false;
		if (block != look->block || id != segment->id)
			return true;
		if (!search_page_fits(page) || !search_page_find(page, key, last,
						   segment->first, segment->span, out))
			return false;
	} while (page_last < last);
	return true;
}

static bool
keys_find(struct search_look *look, uint32_t key, uint32_t last, struct search_bits *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < look->record.segment_count; i++) {
		if (!segment_find(look, &look->record.segments[i], key, last, out))
			return false;
	}
	return true;
}

/* Trigrams of the needle, spread over it. */
static size_t
needle_trigrams(struct slice needle, uint32_t out[NEEDLE_TRIGRAMS_MAX])
{
	const unsigned char *p = (const unsigned char *)needle.ptr;
	size_t all = needle.len - 2;
	size_t count = all < NEEDLE_TRIGRAMS_MAX ? all : NEEDLE_TRIGRAMS_MAX;
	for (size_t i = 0; i < count; i++) {
		size_t at = i * all / count;
		out[i] = (uint32_t)p[at] << 16 | (uint32_t)p[at + 1] << 8 | p[at + 2];
	}
	return count;
}

/* False: the index says nothing. */
static bool
class_find(struct search_look *look, unsigned class, struct slice needle,
    struct search_bits *out)
{
	uint32_t trigrams[NEEDLE_TRIGRAMS_MAX];
	struct search_bits bits;
	if (needle.len == 2) {
		/* All trigrams that begin so; hashes do not stand together. */
		const unsigned char *p = (const unsigned char *)needle.ptr;
		uint32_t key =
		    search_key(class, 0) | (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8;
		return 1u << class != SEARCH_OTHER &&
		       keys_find(look, key, key | 0xff, out);
	}
	size_t count = needle_trigrams(needle, trigrams);
	*out = look->record.covered;
	for (size_t i = 0; i < count && !search_bits_is_empty(out); i++) {
		uint32_t key = search_key(class, trigrams[i]);
		if (!keys_find(look, key, key, &bits))
			return false;
		for (size_t w = 0; w < SEARCH_BITS_WORDS; w++)
			out->w[w] &= bits.w[w];
	}
	return true;
}

void
search_find(struct search_look *look, unsigned classes, struct slice needle,
    struct search_bits *out)
{
	struct search_bits bits;
	const struct search_bits *covered = &look->record.covered;
	/* Too short; or such that the keys leave it out (search_batch.c). */
	bool says = needle.len >= 2 && !memchr(needle.ptr, '\0', needle.len);
	if (look->damaged || !says) {
		*out = *covered;
		return;
	}
	*out = look->record.always;
	for (unsigned class = 0; class < SEARCH_CLASSES; class ++) {
		if (!(classes >> class & 1))
			continue;
		if (!class_find(look, class, needle, &bits)) {
			/* Damage, or a needle of two bytes. */
			look->damaged = needle.len > 2 || 1u << class != SEARCH_OTHER;
			*out = *covered;
			return;
		}
		for (size_t i = 0; i < SEARCH_BITS_WORDS; i++)
			out->w[i] |= bits.w[i] & covered->w[i];
	}
}

enum status
search_totals(
    struct store_reader *reader, struct account_id account, struct search_totals *out)
{
	enum { PAGE_ON_DISK = 4096 + 48 /* its overflow page and its key */ };
	struct engine_txn *txn;
	struct search_state state;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	if (status == STATUS_OK)
		status = search_state_load(txn, &state);
	if (status != STATUS_OK)
		return status;
	*out = (struct search_totals){
	    .documents = state.documents,
	    .text_bytes = state.text_bytes,
	    .index_bytes = state.pages * PAGE_ON_DISK,
	};
	return STATUS_OK;
}
