/*
 * What the tests of common/text share: comparing bytes, files, and flat JSON vectors.
 * Corpus and vectors are found through POSTROOM_CORPUS and POSTROOM_VECTORS (folders);
 * without them a test leaves out that section.
 */
#ifndef TEXT_TEST_H
#define TEXT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"

enum { TEST_FILE_MAX = 64 * 1024 * 1024 /* bytes */ };

static inline void
check_slice(struct slice got, struct slice want, const char *what, int line)
{
	if (slice_equal(got, want))
		return;
	print_error("line %d, %s:\n  got  %zu \"%.*s\"\n  want %zu \"%.*s\"\n", line,
	    what, got.len, (int)got.len, got.ptr ? got.ptr : "", want.len, (int)want.len,
	    want.ptr ? want.ptr : "");
	fail();
}
#define CHECK_SLICE(got, want) check_slice((got), (want), #got, __LINE__)
#define CHECK_TEXT(got, want)  check_slice((got), slice_from_cstr(want), #got, __LINE__)

/* A file's bytes (malloc), or the null slice. */
static inline struct slice
read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		return SLICE_NULL;
	struct buf bytes;
	buf_init(&bytes, TEST_FILE_MAX);
	for (;;) {
		char *to = buf_reserve(&bytes, 65536);
		size_t got = to ? fread(to, 1, 65536, file) : 0;
		if (got == 0)
			break;
		buf_commit(&bytes, got);
	}
	fclose(file);
	return bytes.ptr ? buf_slice(&bytes) : slice_make(calloc(1, 1), 0);
}

/* A vector file below POSTROOM_VECTORS, or the null slice. */
static inline struct slice
read_vectors(const char *name)
{
	char path[1024];
	const char *folder = getenv("POSTROOM_VECTORS");
	if (!folder)
		return SLICE_NULL;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	struct slice text = read_file(path);
	if (!text.ptr)
		print_message("no %s\n", path);
	return text;
}

/* The end of the JSON string whose opening quote is at `at` (its closing quote). */
static inline size_t
json_string_end(struct slice json, size_t at)
{
	for (at++; at < json.len && json.ptr[at] != '"'; at++) {
		if (json.ptr[at] == '\\')
			at++;
	}
	return at;
}

/* The next innermost {...} of the text, cut off its front; the null slice at the end. */
static inline struct slice
json_next_object(struct slice *json)
{
	size_t open = SIZE_MAX;
	for (size_t i = 0; i < json->len; i++) {
		char c = json->ptr[i];
		if (c == '"') {
			i = json_string_end(*json, i);
		} else if (c == '{') {
			open = i;
		} else if (c == '}' && open != SIZE_MAX) {
			struct slice object = slice_sub(*json, open, i + 1 - open);
			*json = slice_from(*json, i + 1);
			return object;
		}
	}
	*json = SLICE_NULL;
	return SLICE_NULL;
}

static inline void
json_unescape(struct slice raw, struct buf *out)
{
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];
		if (c != '\\') {
			buf_append_byte(out, c);
			continue;
		}
		c = raw.ptr[++i];
		if (c != 'u') {
			const char *from = "nrtbf", *to = "\n\r\t\b\f";
			const char *at = strchr(from, c);
			buf_append_byte(out, at ? to[at - from] : c);
			continue;
		}
		char hex[5] = {0};
		memcpy(hex, raw.ptr + i + 1, 4);
		unsigned long code = strtoul(hex, NULL, 16);
		i += 4;
		if (code >= 0xd800 && code < 0xdc00) {
			memcpy(hex, raw.ptr + i + 3, 4);
			code = 0x10000 + ((code - 0xd800) << 10) +
			       (strtoul(hex, NULL, 16) - 0xdc00);
			i += 6;
		}
		if (code < 0x80) {
			buf_append_byte(out, (char)code);
		} else if (code < 0x800) {
			buf_append_byte(out, (char)(0xc0 | code >> 6));
			buf_append_byte(out, (char)(0x80 | (code & 0x3f)));
		} else if (code < 0x10000) {
			buf_append_byte(out, (char)(0xe0 | code >> 12));
			buf_append_byte(out, (char)(0x80 | (code >> 6 & 0x3f)));
			buf_append_byte(out, (char)(0x80 | (code & 0x3f)));
		} else {
			buf_append_byte(out, (char)(0xf0 | code >> 18));
			buf_append_byte(out, (char)(0x80 | (code >> 12 & 0x3f)));
			buf_append_byte(out, (char)(0x80 | (code >> 6 & 0x3f)));
			buf_append_byte(out, (char)(0x80 | (code & 0x3f)));
		}
	}
}

/* The raw text of a key's value in a flat object: a string without its quotes, or a
 * number, null, true; the null slice when there is no such key. */
static inline struct slice
json_raw(struct slice object, const char *key, bool *is_string)
{
	char quoted[64];
	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	size_t at = slice_find(object, slice_from_cstr(quoted));
	if (at == SIZE_MAX)
		return SLICE_NULL;
	at += strlen(quoted);
	while (at < object.len && strchr(" \n", object.ptr[at]))
		at++;
	*is_string = object.ptr[at] == '"';
	size_t end = at;
	if (*is_string) {
		end = json_string_end(object, at++);
	} else {
		while (end < object.len && !strchr(",}\n", object.ptr[end]))
			end++;
	}
	return slice_sub(object, at, end - at);
}

/* The string of a key into `out` (emptied before); false when it is not a string. */
static inline bool
json_string(struct slice object, const char *key, struct buf *out)
{
	bool is_string = false;
	struct slice raw = json_raw(object, key, &is_string);
	buf_reset(out);
	if (!raw.ptr || !is_string)
		return false;
	json_unescape(raw, out);
	return true;
}

#endif
