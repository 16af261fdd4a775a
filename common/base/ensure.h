/*
 * Checks for our own bugs, on in every build (decision 0008).  A failed ENSURE logs where
 * it stood and aborts the process; the supervisor restarts it, and the store's commit
 * protocol makes that safe.  Never use it on input from outside.
 */
#ifndef BASE_ENSURE_H
#define BASE_ENSURE_H

#include <stdlib.h>

/* Names what this thread works on ("imap 5f3a..."), for the line that ensure_failed
 * writes.  Borrows `text` until the next call; null for nothing. */
void ensure_context_set(const char *text);

_Noreturn void ensure_failed(const char *file, int line, const char *text);

#define ENSURE(x)                                                                        \
	do {                                                                             \
		if (__builtin_expect(!(x), 0))                                           \
			ensure_failed(__FILE__, __LINE__, #x);                           \
	} while (0)

#define UNREACHABLE() ensure_failed(__FILE__, __LINE__, "unreachable")

/* A long-lived struct that travels through a void pointer begins with `unsigned magic`;
 * this is the only way back, and it turns use-after-free into a named abort. */
#define OBJ_CAST(type, ptr, want)                                                        \
	((struct type *)obj_check((ptr), (want), __FILE__, __LINE__))

void *obj_check(void *ptr, unsigned want, const char *file, int line);

/* Small allocations abort when memory is out; sizes from clients are bounded first. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *ptr, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));

#endif
