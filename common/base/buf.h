/*
 * Owned, growable bytes with a mandatory maximum.  Overflow is sticky: after it every
 * append does nothing, and the caller looks once at the end with buf_ok().  A zeroed
 * struct is not valid: use buf_init().
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/slice.h"
#include "base/status.h"

struct buf {
	char *ptr;
	size_t len;      /* bytes used */
	size_t cap;      /* bytes allocated */
	size_t max;      /* bytes; appends past it fail */
	bool overflowed; /* sticky */
};

/* An empty buffer that never holds more than max_bytes; allocates nothing yet. */
void buf_init(struct buf *b, size_t max_bytes);
/* Frees the bytes; the struct may be initialised again. */
void buf_fini(struct buf *b);
/* Empties it and clears the overflow; keeps the allocation. */
void buf_reset(struct buf *b);
/* Frees the allocation when the buffer is empty (for idle connections). */
void buf_release_if_empty(struct buf *b);

static inline struct slice
buf_slice(const struct buf *b)
{
	return (struct slice){b->ptr, b->len};
}

static inline bool
buf_ok(const struct buf *b)
{
	return !b->overflowed;
}

void buf_append(struct buf *b, struct slice s);
void buf_append_byte(struct buf *b, char c);
void buf_append_cstr(struct buf *b, const char *text);
void buf_append_u64(struct buf *b, uint64_t value); /* decimal */
void buf_append_format(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Big-endian, for keys and records. */
void buf_append_be16(struct buf *b, uint16_t value);
void buf_append_be32(struct buf *b, uint32_t value);
void buf_append_be64(struct buf *b, uint64_t value);

/* Room for `want` more bytes: the place to write to, or null (overflow, sticky).  Say
 * afterwards how many were written with buf_commit(). */
char *buf_reserve(struct buf *b, size_t want);
void buf_commit(struct buf *b, size_t written);

/* Drops the first `count` bytes (moves the rest down). */
void buf_consume(struct buf *b, size_t count);
/* Cuts it to `len` bytes. */
void buf_truncate(struct buf *b, size_t len);

static inline uint16_t
be16_get(const void *p)
{
	const unsigned char *b = p;
	return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t
be32_get(const void *p)
{
	const unsigned char *b = p;
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint64_t
be64_get(const void *p)
{
	return (uint64_t)be32_get(p) << 32 | be32_get((const char *)p + 4);
}

void be16_put(void *p, uint16_t value);
void be32_put(void *p, uint32_t value);
void be64_put(void *p, uint64_t value);

#define AUTO_BUF __attribute__((cleanup(buf_fini)))

#endif
