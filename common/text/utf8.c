/*
 * UTF-8: validity, replacement of what is not valid, normal form C, case folding.
 *
 * Validity is RFC 3629's: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Normalisation and folding are utf8proc's; ASCII takes a short way round it.
 */
#include "text/encoding.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "text/utf8_int.h"

bool
ascii_only(struct slice s)
{
	const char *p = s.ptr;
	size_t n = s.len;
	uint64_t word;
	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		if (word & 0x8080808080808080u)
			return false;
	}
	for (; n; p++, n--) {
		if ((unsigned char)*p & 0x80)
			return false;
	}
	return true;
}

size_t
utf8_next(struct slice s, uint32_t *out)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	if (s.len == 0)
		return 0;
	if (p[0] < 0x80) {
		*out = p[0];
		return 1;
	}
	size_t need = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || s.len < need)
		return 0;
	uint32_t c = p[0] & (0xffu >> (need + 1));
	for (size_t i = 1; i < need; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((need == 3 && c < 0x800) || (need == 4 && c < 0x10000) || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*out = c;
	return need;
}

size_t
utf8_put(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Bytes at the front that are valid. */
static size_t
valid_prefix(struct slice s)
{
	size_t at = 0;
	uint32_t c;
	while (at < s.len) {
		if (!((unsigned char)s.ptr[at] & 0x80)) {
			at++;
			continue;
		}
		size_t used = utf8_next(slice_from(s, at), &c);
		if (used == 0)
			break;
		at += used;
	}
	return at;
}

bool
utf8_is_valid(struct slice s)
{
	return ascii_only(s) || valid_prefix(s) == s.len;
}

void
utf8_append_valid(struct slice in, struct buf *out)
{
	bool replaced = false;
	while (in.len) {
		size_t good = valid_prefix(in);
		if (good) {
			buf_append(out, slice_sub(in, 0, good));
			in = slice_from(in, good);
			replaced = false;
			continue;
		}
		/* One mark for a run of bad bytes, as readers know it. */
		if (!replaced)
			buf_append(out, SLICE(UTF8_REPLACEMENT));
		replaced = true;
		in = slice_from(in, 1);
	}
}

struct slice
utf8_cut(struct slice s, size_t max)
{
	if (s.len <= max)
		return s;
	while (max && ((unsigned char)s.ptr[max] & 0xc0) == 0x80)
		max--;
	return slice_sub(s, 0, max);
}

bool
utf8_to_nfc(struct slice in, struct buf *out)
{
	if (ascii_only(in)) {
		buf_append(out, in);
		return true;
	}
	if (!utf8_is_valid(in))
		return false;
	utf8proc_uint8_t *made = NULL;
	utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)in.ptr,
	    (utf8proc_ssize_t)in.len, &made, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (len < 0)
		return false;
	buf_append(out, slice_make((const char *)made, (size_t)len));
	free(made);
	return true;
}

/* Folded, decomposed and, for `title`, in title case. */
static void
fold_char(uint32_t c, bool title, struct buf *out)
{
	enum { FOLD_MAX = 32 /* code points; the longest decomposition has 18 */ };
	utf8proc_int32_t folded[FOLD_MAX];
	char bytes[4];
	int boundclass = 0;
	utf8proc_ssize_t n =
	    utf8proc_decompose_char((utf8proc_int32_t)c, folded, FOLD_MAX,
		UTF8PROC_CASEFOLD | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &boundclass);
	if (n < 0 || n > FOLD_MAX) {
		folded[0] = (utf8proc_int32_t)c;
		n = 1;
	}
	for (utf8proc_ssize_t i = 0; i < n; i++) {
		utf8proc_int32_t one = title ? utf8proc_totitle(folded[i]) : folded[i];
		buf_append(out, slice_make(bytes, utf8_put((uint32_t)one, bytes)));
	}
}

static void
fold(struct slice in, bool title, struct buf *out)
{
	bool replaced = false;
	while (in.len) {
		size_t run = 0;
		while (run < in.len && !((unsigned char)in.ptr[run] & 0x80))
			run++;
		if (run) {
			char *to = buf_reserve(out, run);
			if (!to)
				return;
			for (size_t i = 0; i < run; i++)
				to[i] = title ? ascii_upper(in.ptr[i])
				              : ascii_lower(in.ptr[i]);
			buf_commit(out, run);
			in = slice_from(in, run);
			replaced = false;
			continue;
		}
		uint32_t c;
		size_t used = utf8_next(in, &c);
		if (used)
			fold_char(c, title, out);
		else if (!replaced)
			buf_append(out, SLICE(UTF8_REPLACEMENT));
		replaced = used == 0;
		in = slice_from(in, used ? used : 1);
	}
}

void
utf8_casefold(struct slice in, struct buf *out)
{
	fold(in, false, out);
}

void
utf8_collation_key(struct slice in, struct buf *out)
{
	fold(in, true, out);
}
