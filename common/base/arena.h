/*
 * Bump memory in chunks, freed all at once.  Three lifetimes use it: a session's, a
 * command's (reset after the reply) and an op's (handed over with the op, freed by its
 * completion).  Not thread-safe; one owner at a time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

struct arena;

/* A new arena that hands out at most max_bytes in all; small ones start with no chunk. */
struct arena *arena_new(size_t max_bytes);
void arena_free(struct arena **arena);
/* Forgets everything handed out; keeps the first chunk. */
void arena_reset(struct arena *arena);
/* Bytes handed out since the last reset. */
size_t arena_used(const struct arena *arena);

/* Zeroed memory, aligned for any type.  Null only when the limit would be passed: bound
 * what clients size, or check. */
void *arena_alloc(struct arena *arena, size_t size);
/* Like arena_alloc, but passing the limit is a bug. */
void *arena_must(struct arena *arena, size_t size);

/* `count` zeroed elements; null on the limit and when the product overflows. */
void *arena_alloc_array(struct arena *arena, size_t size, size_t count);

#define ARENA_NEW(arena, type) ((type *)arena_must((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count)                                                  \
	((type *)arena_alloc_array((arena), sizeof(type), (size_t)(count)))

/* Copies; the copy has a NUL behind it that the slice does not count.  On the limit the
 * null slice is returned (an empty slice copies to a non-null pointer). */
struct slice arena_copy(struct arena *arena, struct slice s);
char *arena_cstr(struct arena *arena, struct slice s);
struct slice arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
