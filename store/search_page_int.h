/*
 * Postings and pages of the search index, bytes to sets and back.  Private to store/ and
 * its tests and fuzzing.  Pure.
 *
 * A posting is the set of a segment's documents (numbers from 0 to span - 1) whose text
 * holds a key.  As in Roaring there are kinds of containers, and the smallest one is
 * taken: a list of gaps, a bitmap, or a list of gaps of what is missing.  Roaring's own
 * serial form is not used since its head and its two bytes a number would be most of the
 * index (decision 0035).
 *
 * A page holds the postings of many keys in ascending order and fills one overflow page
 * of LMDB:
 *
 *   version u8 | CRC-32C u32 of what follows | entries
 *   entry:   varint key - key before | varint length * 4 + kind | length bytes
 *   list:    varints: first number, then differences less one
 *   bitmap:  number n is bit n % 8 of byte n / 8; bytes behind `length` are zero
 */
#ifndef STORE_SEARCH_PAGE_INT_H
#define STORE_SEARCH_PAGE_INT_H

#include "store/search.h"
#include "store/store_int.h"

enum {
	SEARCH_PAGE_MAX = 4080, /* bytes: a page of LMDB less its head */
	SEARCH_PAGE_HEAD = 5,   /* bytes */
	SEARCH_POSTING_MAX = SEARCH_BLOCK_DOCS / 8 + 3, /* bytes, its head included */
	SEARCH_PAGES_BYTES_MAX = 64 * 1024 * 1024,      /* bytes of one page list */
};

/* ---- postings ---- */
/* Appends a posting of `count` ascending numbers below `span`; no more than
 * SEARCH_POSTING_MAX bytes at `out`.  Returns its length. */
size_t search_posting_put(
    const uint16_t *docs, size_t count, unsigned span, unsigned char *out);
/* Takes one posting from the front of *io and sets `first` + number in *out for each;
 * `first` is a multiple of 64 and first + span no more than SEARCH_BLOCK_DOCS.  False:
 * damaged. */
bool search_posting_get(
    struct slice *io, unsigned first, unsigned span, struct search_bits *out);

/* ---- pages being made ---- */
struct search_page {
	uint32_t key; /* of its last posting */
	uint32_t offset, len;
};
struct search_pages {
	struct buf bytes; /* pages one after the other */
	struct vec list;  /* struct search_page */
};
void search_pages_init(struct search_pages *pages);
void search_pages_fini(struct search_pages *pages);
void search_pages_reset(struct search_pages *pages);
/* False when a limit was passed: the list is not whole. */
bool search_pages_ok(const struct search_pages *pages);

struct search_writer {
	struct search_pages *pages;
	unsigned span;
	uint32_t key; /* the last one */
	size_t len;
	unsigned char page[SEARCH_PAGE_MAX];
};
void search_writer_begin(
    struct search_writer *writer, struct search_pages *pages, unsigned span);
/* Keys ascend. */
void search_writer_add(
    struct search_writer *writer, uint32_t key, const uint16_t *docs, size_t count);
void search_writer_end(struct search_writer *writer);

/* ---- pages being read ---- */
/* Version and checksum. */
bool search_page_fits(struct slice page);

struct search_page_iter {
	struct slice rest;
	uint32_t key;
	struct slice posting; /* with its head */
};
void search_page_iter_init(struct search_page_iter *it, struct slice page);
/* OK, NOT_FOUND at the end, CORRUPT. */
enum status search_page_iter_next(struct search_page_iter *it) MUST_USE;
/* Sets what the page says of keys from `key` to `last` in *out; false: damaged. */
bool search_page_find(struct slice page, uint32_t key, uint32_t last, unsigned first,
    unsigned span, struct search_bits *out);

/* ---- sets ---- */
static inline void
search_bits_set(struct search_bits *bits, unsigned at)
{
	bits->w[at / 64] |= UINT64_C(1) << at % 64;
}

static inline bool
search_bits_is_empty(const struct search_bits *bits)
{
	uint64_t any = 0;
	for (size_t i = 0; i < SEARCH_BITS_WORDS; i++)
		any |= bits->w[i];
	return any == 0;
}

unsigned search_bits_count(const struct search_bits *bits);
/* Numbers into `out`, which has room for SEARCH_BLOCK_DOCS; returns how many. */
size_t search_bits_list(const struct search_bits *bits, uint16_t *out);

#endif
