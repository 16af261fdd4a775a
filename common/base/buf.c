/*
 * Owned bytes with a mandatory maximum.
 *
 * Invariants: (1) len <= cap <= max, except that max 0 never allocates; (2) once
 * overflowed is set nothing is appended until buf_reset(); (3) an append is whole or not
 * at all.  The allocation doubles up to the maximum, so appending n bytes costs O(n).
 * Not thread-safe; one owner at a time.
 */
#include "base/buf.h"

#include <stdio.h>

#include "base/ensure.h"

enum { BUF_CAP_MIN = 128 /* bytes of the first allocation */ };

void
buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){.max = max_bytes};
}

void
buf_fini(struct buf *b)
{
	free(b->ptr);
	*b = (struct buf){.max = b->max};
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->overflowed = false;
}

void
buf_release_if_empty(struct buf *b)
{
	if (b->len > 0 || !b->ptr)
		return;
	free(b->ptr);
	b->ptr = NULL;
	b->cap = 0;
}

/* Makes room for `want` more bytes; false (sticky) when the maximum forbids it. */
static bool
buf_grow(struct buf *b, size_t want)
{
	if (b->overflowed)
		return false;
	if (want > b->max - b->len) {
		b->overflowed = true;
		return false;
	}
	size_t need = b->len + want;
	if (need <= b->cap)
		return true;
	size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2;
	if (cap < BUF_CAP_MIN)
		cap = b->max < BUF_CAP_MIN ? b->max : BUF_CAP_MIN;
	if (cap < need)
		cap = need;
	b->ptr = xrealloc(b->ptr, cap);
	b->cap = cap;
	return true;
}

void
buf_append(struct buf *b, struct slice s)
{
	if (s.len == 0 || !buf_grow(b, s.len))
		return;
	memcpy(b->ptr + b->len, s.ptr, s.len);
	b->len += s.len;
}

void
buf_append_byte(struct buf *b, char c)
{
	if (!buf_grow(b, 1))
		return;
	b->ptr[b->len++] = c;
}

void
buf_append_cstr(struct buf *b, const char *text)
{
	buf_append(b, slice_from_cstr(text));
}

void
buf_append_u64(struct buf *b, uint64_t value)
{
	char digits[20]; /* 2^64 - 1 has twenty */
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	buf_append(b, slice_make(digits + at, sizeof(digits) - at));
}

void
buf_append_format(struct buf *b, const char *format, ...)
{
	char text[256]; /* most formatted pieces are short; longer ones are made twice */
	va_list args;

	if (b->overflowed)
		return;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ENSURE(len >= 0);
	if ((size_t)len < sizeof(text)) {
		buf_append(b, slice_make(text, (size_t)len));
		return;
	}
	if (!buf_grow(b, (size_t)len))
		return;
	/* vsnprintf wants a byte for its NUL, which must not count against the maximum.
	 */
	char *copy = xmalloc((size_t)len + 1);
	va_start(args, format);
	int again = vsnprintf(copy, (size_t)len + 1, format, args);
	va_end(args);
	ENSURE(again == len);
	buf_append(b, slice_make(copy, (size_t)len));
	free(copy);
}

void
buf_append_be16(struct buf *b, uint16_t value)
{
	char bytes[2];
	be16_put(bytes, value);
	buf_append(b, slice_make(bytes, sizeof(bytes)));
}

void
buf_append_be32(struct buf *b, uint32_t value)
{
	char bytes[4];
	be32_put(bytes, value);
	buf_append(b, slice_make(bytes, sizeof(bytes)));
}

void
buf_append_be64(struct buf *b, uint64_t value)
{
	char bytes[8];
	be64_put(bytes, value);
	buf_append(b, slice_make(bytes, sizeof(bytes)));
}

char *
buf_reserve(struct buf *b, size_t want)
{
	static char nothing; /* the place for zero bytes of a buffer without memory */
	if (!buf_grow(b, want))
		return NULL;
	return b->ptr ? b->ptr + b->len : &nothing;
}

void
buf_commit(struct buf *b, size_t written)
{
	ENSURE(written <= b->cap - b->len);
	b->len += written;
}

void
buf_consume(struct buf *b, size_t count)
{
	ENSURE(count <= b->len);
	if (count == 0)
		return;
	b->len -= count;
	if (b->len)
		memmove(b->ptr, b->ptr + count, b->len);
}

void
buf_truncate(struct buf *b, size_t len)
{
	ENSURE(len <= b->len);
	b->len = len;
}

void
be16_put(void *p, uint16_t value)
{
	unsigned char *b = p;
	b[0] = (unsigned char)(value >> 8);
	b[1] = (unsigned char)value;
}

void
be32_put(void *p, uint32_t value)
{
	unsigned char *b = p;
	for (unsigned i = 0; i < 4; i++)
		b[i] = (unsigned char)(value >> (24 - 8 * i));
}

void
be64_put(void *p, uint64_t value)
{
	unsigned char *b = p;
	for (unsigned i = 0; i < 8; i++)
		b[i] = (unsigned char)(value >> (56 - 8 * i));
}
