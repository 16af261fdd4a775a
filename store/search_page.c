/*
 * Postings and pages.  Everything that is read may be damaged: lengths and numbers are
 * checked at every step, also behind the checksum.
 */
#include "store/search_page_int.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "store/store_schema.h"

enum posting_kind {
	POSTING_LIST,
	POSTING_BITMAP,
	POSTING_MISSING,
	POSTING_KINDS,
};

/* ---- varints: seven bits a byte, low ones first ---- */
static size_t
varint_put(uint32_t value, unsigned char *out)
{
	size_t len = 0;
	for (; value >= 0x80; value >>= 7)
		out[len++] = (unsigned char)(value | 0x80);
	out[len++] = (unsigned char)value;
	return len;
}

static bool
varint_get(struct slice *io, uint32_t *out)
{
	uint32_t value = 0;
	for (size_t i = 0; i < io->len && i < 5; i++) {
		uint32_t byte = (unsigned char)io->ptr[i];
		value |= (byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			*io = slice_from(*io, i + 1);
			*out = value;
			return true;
		}
	}
	return false;
}

/* ---- postings ---- */
/* Numbers are below 4096: a gap takes one byte or two. */
static size_t
gap_size(unsigned gap)
{
	return gap < 0x80 ? 1 : 2;
}

static size_t
list_put(const uint16_t *docs, size_t count, unsigned char *out)
{
	size_t len = 0;
	unsigned next = 0;
	for (size_t i = 0; i < count; i++) {
		len += varint_put(docs[i] - next, out + len);
		next = docs[i] + 1u;
	}
	return len;
}

static size_t
missing_put(const uint16_t *docs, size_t count, unsigned span, unsigned char *out)
{
	size_t len = 0;
	unsigned at = 0;
	unsigned next = 0; /* behind the last missing one */
	for (size_t i = 0; i <= count; i++) {
		for (unsigned end = i < count ? docs[i] : span; at < end; at++) {
			len += varint_put(at - next, out + len);
			next = at + 1;
		}
		at++;
	}
	return len;
}

static size_t
list_size(const uint16_t *docs, size_t count)
{
	size_t len = 0;
	unsigned next = 0;
	for (size_t i = 0; i < count; i++) {
		len += gap_size(docs[i] - next);
		next = docs[i] + 1u;
	}
	return len;
}

size_t
search_posting_put(const uint16_t *docs, size_t count, unsigned span, unsigned char *out)
{
	size_t bitmap = count ? docs[count - 1] / 8u + 1u : 0;
	size_t list = list_size(docs, count);
	size_t missing = span - count; /* at least: few of them have gaps over 127 */
	unsigned char bytes[2 * SEARCH_BLOCK_DOCS];
	enum posting_kind kind = POSTING_LIST;
	size_t len = list;
	ENSURE(span <= SEARCH_BLOCK_DOCS && count <= span);
	if (missing < len && missing < bitmap) {
		missing = missing_put(docs, count, span, bytes);
		if (missing < len && missing < bitmap) {
			kind = POSTING_MISSING;
			len = missing;
		}
	}
	if (kind == POSTING_LIST && bitmap < len) {
		kind = POSTING_BITMAP;
		len = bitmap;
	}
	size_t head = varint_put((uint32_t)(len * 4 + kind), out);
	if (kind == POSTING_MISSING) {
		memcpy(out + head, bytes, len);
	} else if (kind == POSTING_LIST) {
		list_put(docs, count, out + head);
	} else {
		memset(out + head, 0, len);
		for (size_t i = 0; i < count; i++)
			out[head + docs[i] / 8] |= (unsigned char)(1u << docs[i] % 8);
	}
	return head + len;
}

static bool
list_get(struct slice list, unsigned span, bool set, struct search_bits *bits)
{
	uint32_t next = 0;
	uint32_t gap;
	while (list.len) {
		unsigned char byte = (unsigned char)list.ptr[0];
		if (byte < 0x80) {
			gap = byte;
			list = slice_from(list, 1);
		} else if (!varint_get(&list, &gap)) {
			return false;
		}
		if (gap >= span - next)
			return false;
		next += gap;
		if (set)
			bits->w[next / 64] |= UINT64_C(1) << next % 64;
		else
			bits->w[next / 64] &= ~(UINT64_C(1) << next % 64);
		next++;
	}
	return true;
}

static bool
bitmap_get(struct slice bitmap, unsigned span, struct search_bits *bits)
{
	if (bitmap.len > (span + 7) / 8)
		return false;
	for (size_t i = 0; i < bitmap.len; i++)
		bits->w[i / 8] |= (uint64_t)(unsigned char)bitmap.ptr[i] << i % 8 * 8;
	return span % 64 == 0 || !(bits->w[span / 64] >> span % 64);
}

static void
bits_fill(struct search_bits *bits, unsigned span)
{
	for (unsigned i = 0; i < span / 64; i++)
		bits->w[i] = UINT64_MAX;
	if (span % 64)
		bits->w[span / 64] = (UINT64_C(1) << span % 64) - 1;
}

static bool
posting_take(struct slice *io, enum posting_kind *out_kind, struct slice *out)
{
	uint32_t head;
	if (!varint_get(io, &head) || head / 4 > io->len || head % 4 >= POSTING_KINDS)
		return false;
	*out_kind = (enum posting_kind)(head % 4);
	*out = slice_sub(*io, 0, head / 4);
	*io = slice_from(*io, head / 4);
	return true;
}

bool
search_posting_get(
    struct slice *io, unsigned first, unsigned span, struct search_bits *out)
{
	struct search_bits bits = {{0}};
	enum posting_kind kind;
	struct slice bytes;
	ENSURE(first % 64 == 0 && first + span <= SEARCH_BLOCK_DOCS);
	if (!posting_take(io, &kind, &bytes))
		return false;
	bool good;
	if (kind == POSTING_BITMAP) {
		good = bitmap_get(bytes, span, &bits);
	} else {
		if (kind == POSTING_MISSING)
			bits_fill(&bits, span);
		good = list_get(bytes, span, kind == POSTING_LIST, &bits);
	}
	for (size_t i = first / 64; i < SEARCH_BITS_WORDS; i++)
		out->w[i] |= bits.w[i - first / 64];
	return good;
}

/* ---- pages being made ---- */
void
search_pages_init(struct search_pages *pages)
{
	buf_init(&pages->bytes, SEARCH_PAGES_BYTES_MAX);
	pages->list = (struct vec){NULL, 0, 0};
}

void
search_pages_fini(struct search_pages *pages)
{
	buf_fini(&pages->bytes);
	vec_fini(&pages->list);
}

void
search_pages_reset(struct search_pages *pages)
{
	buf_reset(&pages->bytes);
	pages->list.count = 0;
}

bool
search_pages_ok(const struct search_pages *pages)
{
	return buf_ok(&pages->bytes);
}

void
search_writer_begin(
    struct search_writer *writer, struct search_pages *pages, unsigned span)
{
	writer->pages = pages;
	writer->span = span;
	writer->key = 0;
	writer->len = SEARCH_PAGE_HEAD;
}

void
search_writer_end(struct search_writer *writer)
{
	if (writer->len == SEARCH_PAGE_HEAD)
		return;
	struct buf *bytes = &writer->pages->bytes;
	struct slice rest = slice_make((const char *)writer->page + SEARCH_PAGE_HEAD,
	    writer->len - SEARCH_PAGE_HEAD);
	writer->page[0] = STORE_RECORD_VERSION;
	be32_put(writer->page + 1, crc32c(0, rest));
	struct search_page page = {
	    writer->key, (uint32_t)bytes->len, (uint32_t)writer->len};
	buf_append(bytes, slice_make((const char *)writer->page, writer->len));
	struct search_page *at =
	    buf_ok(bytes) ? vec_push(&writer->pages->list, sizeof(page)) : NULL;
	if (at)
		*at = page;
	else
		bytes->overflowed = true;
	writer->key = 0;
	writer->len = SEARCH_PAGE_HEAD;
}

void
search_writer_add(
    struct search_writer *writer, uint32_t key, const uint16_t *docs, size_t count)
{
	unsigned char entry[5 + SEARCH_POSTING_MAX];
	size_t posting = search_posting_put(docs, count, writer->span, entry + 5);
	unsigned char head[5];
	size_t head_len = varint_put(key - writer->key, head);
	if (writer->len + head_len + posting > SEARCH_PAGE_MAX) {
		search_writer_end(writer);
		head_len = varint_put(key, head);
	}
	memcpy(writer->page + writer->len, head, head_len);
	memcpy(writer->page + writer->len + head_len, entry + 5, posting);
	writer->len += head_len + posting;
	writer->key = key;
}

/* ---- pages being read ---- */
bool
search_page_fits(struct slice page)
{
	return page.len > SEARCH_PAGE_HEAD && page.len <= SEARCH_PAGE_MAX &&
	       page.ptr[0] == STORE_RECORD_VERSION &&
	       be32_get(page.ptr + 1) == crc32c(0, slice_from(page, SEARCH_PAGE_HEAD));
}

void
search_page_iter_init(struct search_page_iter *it, struct slice page)
{
	*it = (struct search_page_iter){.rest = slice_from(page, SEARCH_PAGE_HEAD)};
}

enum status
search_page_iter_next(struct search_page_iter *it)
{
	enum posting_kind kind;
	struct slice bytes;
	uint32_t step;
	if (it->rest.len == 0)
		return STATUS_NOT_FOUND;
	if (!varint_get(&it->rest, &step) || step > UINT32_MAX - it->key)
		return STATUS_CORRUPT;
	it->key += step;
	const char *begin = it->rest.ptr;
	if (!posting_take(&it->rest, &kind, &bytes))
		return STATUS_CORRUPT;
	it->posting = slice_make(begin, (size_t)(it->rest.ptr - begin));
	return STATUS_OK;
}

bool
search_page_find(struct slice page, uint32_t key, uint32_t last, unsigned first,
    unsigned span, struct search_bits *out)
{
	struct search_page_iter it;
	enum status status;
	search_page_iter_init(&it, page);
	while ((status = search_page_iter_next(&it)) == STATUS_OK && it.key <= last) {
		if (it.key >= key && !search_posting_get(&it.posting, first, span, out))
			return false;
	}
	return status != STATUS_CORRUPT;
}

/* ---- sets ---- */
unsigned
search_bits_count(const struct search_bits *bits)
{
	unsigned count = 0;
	for (size_t i = 0; i < SEARCH_BITS_WORDS; i++)
		count += (unsigned)__builtin_popcountll(bits->w[i]);
	return count;
}

size_t
search_bits_list(const struct search_bits *bits, uint16_t *out)
{
	size_t count = 0;
	for (size_t i = 0; i < SEARCH_BITS_WORDS; i++) {
		for (uint64_t w = bits->w[i]; w; w &= w - 1)
			out[count++] = (uint16_t)(i * 64 + (unsigned)__builtin_ctzll(w));
	}
	return count;
}
