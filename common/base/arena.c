/*
 * Bump memory in chunks.
 *
 * Chunks double from ARENA_CHUNK_MIN to ARENA_CHUNK_MAX, and grow until a request is at
 * most a quarter of one; what is larger than a quarter of the largest gets a chunk of its
 * own behind the current one.  So little of any chunk is ever wasted.  `used` counts what
 * callers took with its alignment, and is what the limit bounds.  Memory is cleared when
 * it is handed out, because a chunk is used again after arena_reset().
 *
 * Under the address sanitizer every request is a chunk of its own: reading past the end
 * of an arena object, or after a reset, is then found like any other.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/ensure.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_EXACT true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_EXACT true
#endif
#endif
#ifndef ARENA_EXACT
#define ARENA_EXACT false
#endif

enum {
	ARENA_MAGIC = 0x4172656e,
	ARENA_CHUNK_MIN = 1024,      /* bytes of the first chunk */
	ARENA_CHUNK_MAX = 64 * 1024, /* bytes of a regular chunk */
	ARENA_ALIGN = _Alignof(max_align_t),
};

struct chunk {
	struct chunk *next; /* older */
	size_t size;        /* bytes in data */
	size_t used;        /* bytes handed out or skipped for alignment */
	_Alignas(max_align_t) char data[];
};

struct arena {
	unsigned magic;
	size_t max;            /* bytes */
	size_t used;           /* bytes */
	size_t chunk_size;     /* bytes of the next regular chunk */
	struct chunk *current; /* newest regular chunk first, then the others */
};

struct arena *
arena_new(size_t max_bytes)
{
	struct arena *arena = xcalloc(1, sizeof(*arena));
	arena->magic = ARENA_MAGIC;
	arena->max = max_bytes;
	arena->chunk_size = ARENA_CHUNK_MIN;
	return arena;
}

void
arena_free(struct arena **arena)
{
	struct arena *a = *arena;
	if (!a)
		return;
	ENSURE(a->magic == ARENA_MAGIC);
	*arena = NULL;
	for (struct chunk *c = a->current, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	a->magic = 0;
	free(a);
}

void
arena_reset(struct arena *arena)
{
	struct chunk *kept = NULL;
	ENSURE(arena->magic == ARENA_MAGIC);
	for (struct chunk *c = arena->current, *next; c; c = next) {
		next = c->next;
		if (!kept && c->size == ARENA_CHUNK_MIN && !ARENA_EXACT)
			kept = c;
		else
			free(c);
	}
	if (kept) {
		kept->next = NULL;
		kept->used = 0;
	}
	arena->current = kept;
	arena->chunk_size = kept ? ARENA_CHUNK_MIN * 2 : ARENA_CHUNK_MIN;
	arena->used = 0;
}

size_t
arena_used(const struct arena *arena)
{
	return arena->used;
}

static struct chunk *
chunk_new(size_t size)
{
	struct chunk *c = xmalloc(sizeof(*c) + size);
	c->next = NULL;
	c->size = size;
	c->used = 0;
	return c;
}

/* A chunk with `size` bytes for one request alone; the current one stays current. */
static void *
take_alone(struct arena *arena, size_t size)
{
	struct chunk *c = chunk_new(size);
	c->used = size;
	if (arena->current) {
		c->next = arena->current->next;
		arena->current->next = c;
	} else {
		arena->current = c;
	}
	arena->used += size;
	return c->data;
}

/* `align` is a power of two up to ARENA_ALIGN. */
static void *
take(struct arena *arena, size_t size, size_t align)
{
	ENSURE(arena->magic == ARENA_MAGIC);
	size_t left = arena->max - arena->used;
	if (size > left)
		return NULL;
	if (ARENA_EXACT || size > ARENA_CHUNK_MAX / 4)
		return take_alone(arena, size);

	struct chunk *c = arena->current;
	size_t skip = c ? (align - c->used % align) % align : 0;
	if (!c || c->size - c->used < skip || c->size - c->used - skip < size) {
		while (size > arena->chunk_size / 4)
			arena->chunk_size *= 2;
		c = chunk_new(arena->chunk_size);
		c->next = arena->current;
		arena->current = c;
		if (arena->chunk_size < ARENA_CHUNK_MAX)
			arena->chunk_size *= 2;
		skip = 0;
	}
	if (skip > left - size)
		return NULL;
	char *at = c->data + c->used + skip;
	c->used += skip + size;
	arena->used += skip + size;
	return at;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
	void *at = take(arena, size, ARENA_ALIGN);
	if (at)
		memset(at, 0, size);
	return at;
}

void *
arena_must(struct arena *arena, size_t size)
{
	void *at = arena_alloc(arena, size);
	ENSURE(at);
	return at;
}

void *
arena_alloc_array(struct arena *arena, size_t size, size_t count)
{
	size_t bytes;
	if (__builtin_mul_overflow(size, count, &bytes))
		return NULL;
	return arena_alloc(arena, bytes);
}

struct slice
arena_copy(struct arena *arena, struct slice s)
{
	char *at = s.len < SIZE_MAX ? take(arena, s.len + 1, 1) : NULL;
	if (!at)
		return SLICE_NULL;
	if (s.len)
		memcpy(at, s.ptr, s.len);
	at[s.len] = '\0';
	return slice_make(at, s.len);
}

char *
arena_cstr(struct arena *arena, struct slice s)
{
	char *at = s.len < SIZE_MAX ? take(arena, s.len + 1, 1) : NULL;
	if (!at)
		return NULL;
	if (s.len)
		memcpy(at, s.ptr, s.len);
	at[s.len] = '\0';
	return at;
}

struct slice
arena_format(struct arena *arena, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	ENSURE(len >= 0);
	char *at = take(arena, (size_t)len + 1, 1);
	if (!at)
		return SLICE_NULL;
	va_start(args, format);
	int again = vsnprintf(at, (size_t)len + 1, format, args);
	va_end(args);
	ENSURE(again == len);
	return slice_make(at, (size_t)len);
}
