/*
 * Operations on borrowed bytes that are too long for the header.  Nothing here allocates
 * but slice_to_cstr(), nothing depends on the locale, every function accepts the null
 * slice.  Pure; any thread.
 */
#include "base/slice.h"

#include "base/ensure.h"

bool
slice_equal_nocase(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
			return false;
	}
	return true;
}

bool
slice_has_prefix_nocase(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len &&
	       slice_equal_nocase(slice_sub(s, 0, prefix.len), prefix);
}

int
slice_compare(struct slice a, struct slice b)
{
	size_t shared = a.len < b.len ? a.len : b.len;
	int order = shared ? memcmp(a.ptr, b.ptr, shared) : 0;
	if (order)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

size_t
slice_index(struct slice s, char c)
{
	const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
	return at ? (size_t)(at - s.ptr) : SIZE_MAX;
}

size_t
slice_rindex(struct slice s, char c)
{
	const char *at = s.len ? memrchr(s.ptr, c, s.len) : NULL;
	return at ? (size_t)(at - s.ptr) : SIZE_MAX;
}

size_t
slice_find(struct slice s, struct slice needle)
{
	if (needle.len == 0)
		return 0;
	if (needle.len > s.len)
		return SIZE_MAX;
	const char *at = memmem(s.ptr, s.len, needle.ptr, needle.len);
	return at ? (size_t)(at - s.ptr) : SIZE_MAX;
}

static bool
byte_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice
slice_trim(struct slice s)
{
	while (s.len && byte_is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len && byte_is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

struct slice
slice_split(struct slice *rest, char sep)
{
	struct slice whole = *rest;
	size_t at = slice_index(whole, sep);
	if (at == SIZE_MAX) {
		*rest = SLICE_NULL;
		return whole;
	}
	*rest = slice_from(whole, at + 1);
	return slice_sub(whole, 0, at);
}

bool
slice_to_u64(struct slice s, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!ascii_is_digit(s.ptr[i]))
			return false;
		uint64_t digit = (uint64_t)(s.ptr[i] - '0');
		/* Checked before it is done: value * 10 + digit <= max. */
		if (digit > max || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

bool
slice_to_u32(struct slice s, uint32_t *out)
{
	uint64_t value;
	if (!slice_to_u64(s, UINT32_MAX, &value))
		return false;
	*out = (uint32_t)value;
	return true;
}

char *
slice_to_cstr(struct slice s)
{
	char *text = xmalloc(s.len + 1);
	if (s.len)
		memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	return text;
}

bool
slice_copy_cstr(struct slice s, char *out, size_t size)
{
	if (s.len >= size || slice_index(s, '\0') != SIZE_MAX)
		return false;
	if (s.len)
		memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
	return true;
}
