/*
 * Borrowed bytes, passed by value, never NUL-terminated.  A slice owns nothing: whoever
 * made it says how long the bytes live.  ASCII rules only; nothing here depends on the
 * locale.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *ptr;
	size_t len;
};

#define SLICE(literal) ((struct slice){"" literal "", sizeof(literal) - 1})
#define SLICE_NULL     ((struct slice){NULL, 0})
/* For printf's "%.*s".  Evaluates its argument twice: never give it a call that consumes.
 */
#define SLICE_ARG(s) (int)(s).len, (s).ptr

static inline struct slice
slice_make(const char *ptr, size_t len)
{
	return (struct slice){ptr, len};
}

/* Borrows a C string; null gives the null slice. */
static inline struct slice
slice_from_cstr(const char *text)
{
	return text ? (struct slice){text, strlen(text)} : SLICE_NULL;
}

static inline bool
slice_is_empty(struct slice s)
{
	return s.len == 0;
}

static inline bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The part from `from`, at most `len` bytes; both are clamped to what is there. */
static inline struct slice
slice_sub(struct slice s, size_t from, size_t len)
{
	if (from > s.len)
		from = s.len;
	if (len > s.len - from)
		len = s.len - from;
	return (struct slice){s.ptr ? s.ptr + from : NULL, len};
}

static inline struct slice
slice_from(struct slice s, size_t from)
{
	return slice_sub(s, from, SIZE_MAX);
}

static inline bool
slice_has_prefix(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && slice_equal(slice_sub(s, 0, prefix.len), prefix);
}

static inline bool
slice_has_suffix(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len &&
	       slice_equal(slice_from(s, s.len - suffix.len), suffix);
}

static inline char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline char
ascii_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static inline bool
ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
ascii_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Equal but for ASCII case. */
bool slice_equal_nocase(struct slice a, struct slice b);
bool slice_has_prefix_nocase(struct slice s, struct slice prefix);

/* <0, 0, >0: bytewise, a shorter prefix first. */
int slice_compare(struct slice a, struct slice b);

/* Position of the byte, or SIZE_MAX. */
size_t slice_index(struct slice s, char c);
size_t slice_rindex(struct slice s, char c);
/* Position of the needle, or SIZE_MAX; an empty needle is found at 0. */
size_t slice_find(struct slice s, struct slice needle);

/* Without the spaces and tabs (and CR, LF) at both ends. */
struct slice slice_trim(struct slice s);

/* Cuts *rest at the first `sep`: the part before is returned, *rest becomes the part
 * after it (the null slice when there was no separator). */
struct slice slice_split(struct slice *rest, char sep);

/* Digits only, no sign, no space, no overflow past `max`; writes *out on success. */
bool slice_to_u64(struct slice s, uint64_t max, uint64_t *out);
bool slice_to_u32(struct slice s, uint32_t *out);

/* A NUL-terminated copy, for libc's door.  The caller frees it. */
char *slice_to_cstr(struct slice s);

/* Copies into `out` (size bytes, NUL-terminated); false when it does not fit or when the
 * slice holds a NUL. */
bool slice_copy_cstr(struct slice s, char *out, size_t size);

#endif
