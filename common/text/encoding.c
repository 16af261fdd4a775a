/*
 * base64, quoted-printable and xtext.
 *
 * Pure functions from bytes to an owned buffer; overflow is sticky in the buffer and
 * looked at by the caller.  The lenient decoders accept every input and run in linear
 * time; the strict ones serve SASL (RFC 4648) and SMTP (RFC 3461), where a byte that does
 * not belong is an attack or a bug of the peer.
 */
#include "text/encoding.h"

#include "text/utf8_int.h"

enum { B64_BAD = 0xff, B64_PAD = 0xfe, B64_BLOCK = 3072 /* bytes encoded at a time */ };

static const char b64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* clang-format off */
#define X B64_BAD
#define P B64_PAD
static const unsigned char b64_values[128] = {
    X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
    X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
    X, X, X, X, X, X, X, X, X, X, X, 62, X, X, X, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X, X, X, P, X, X,
    X, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X, X, X, X, X,
    X, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, X, X, X, X, X,
};
#undef X
#undef P
/* clang-format on */

static unsigned
b64_value(unsigned char c)
{
	return c < 128 ? b64_values[c] : B64_BAD;
}

static size_t
b64_encode_block(const unsigned char *in, size_t len, char *out)
{
	char *at = out;
	for (; len >= 3; in += 3, len -= 3) {
		*at++ = b64_alphabet[in[0] >> 2];
		*at++ = b64_alphabet[(in[0] & 3) << 4 | in[1] >> 4];
		*at++ = b64_alphabet[(in[1] & 15) << 2 | in[2] >> 6];
		*at++ = b64_alphabet[in[2] & 63];
	}
	if (len) {
		unsigned second = len > 1 ? in[1] : 0;
		*at++ = b64_alphabet[in[0] >> 2];
		*at++ = b64_alphabet[(in[0] & 3u) << 4 | second >> 4];
		*at++ = len > 1 ? b64_alphabet[(second & 15) << 2] : '=';
		*at++ = '=';
	}
	return (size_t)(at - out);
}

void
base64_encode(struct slice in, struct buf *out)
{
	for (size_t at = 0; at < in.len; at += B64_BLOCK) {
		struct slice block = slice_sub(in, at, B64_BLOCK);
		char *to = buf_reserve(out, (block.len + 2) / 3 * 4);
		if (!to)
			return;
		buf_commit(out,
		    b64_encode_block((const unsigned char *)block.ptr, block.len, to));
	}
}

bool
base64_decode_strict(struct slice in, struct buf *out)
{
	if (in.len % 4 != 0)
		return false;
	if (in.len == 0)
		return true;
	const unsigned char *p = (const unsigned char *)in.ptr;
	char *to = buf_reserve(out, in.len / 4 * 3);
	if (!to)
		return false;
	size_t made = 0;
	for (size_t i = 0; i < in.len; i += 4) {
		unsigned v[4];
		size_t pads = 0;
		for (size_t k = 0; k < 4; k++) {
			v[k] = b64_value(p[i + k]);
			if (v[k] == B64_PAD)
				pads++, v[k] = 0;
			else if (v[k] == B64_BAD || pads)
				return false;
		}
		/* Padding only at the very end, and its spare bits are zero, so that
		 * every text has one reading (RFC 4648 section 3.5). */
		if (pads > 2 || (pads && i + 4 != in.len) || (pads == 1 && (v[2] & 3)) ||
		    (pads == 2 && (v[1] & 15)))
			return false;
		to[made++] = (char)(v[0] << 2 | v[1] >> 4);
		if (pads < 2)
			to[made++] = (char)(v[1] << 4 | v[2] >> 2);
		if (pads < 1)
			to[made++] = (char)(v[2] << 6 | v[3]);
	}
	buf_commit(out, made);
	return true;
}

void
base64_decode_lenient(struct slice in, struct buf *out)
{
	static const size_t block_max = 16384; /* bytes of input a reserve covers */
	uint32_t bits = 0;
	unsigned count = 0; /* characters in bits */
	for (size_t at = 0; at < in.len; at += block_max) {
		struct slice block = slice_sub(in, at, block_max);
		char *to = buf_reserve(out, block.len / 4 * 3 + 6);
		if (!to)
			return;
		size_t made = 0;
		for (size_t i = 0; i < block.len; i++) {
			unsigned v = b64_value((unsigned char)block.ptr[i]);
			if (v < 64) {
				bits = bits << 6 | v;
				if (++count < 4)
					continue;
				to[made++] = (char)(bits >> 16);
				to[made++] = (char)(bits >> 8);
				to[made++] = (char)bits;
				count = 0, bits = 0;
			} else if (v == B64_PAD) {
				/* Joined pieces, each with padding, exist: go on behind
				 * it. */
				if (count == 3)
					to[made++] = (char)(bits >> 10);
				if (count >= 2)
					to[made++] =
					    (char)(count == 3 ? bits >> 2 : bits >> 4);
				count = 0, bits = 0;
			}
			/* A run of padding makes no output, so `made` stays within 3/4.
			 */
		}
		buf_commit(out, made);
	}
	char tail[2];
	size_t tails = 0;
	if (count == 3)
		tail[tails++] = (char)(bits >> 10);
	if (count >= 2)
		tail[tails++] = (char)(count == 3 ? bits >> 2 : bits >> 4);
	buf_append(out, slice_make(tail, tails));
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* One line without its end: escapes resolved, what is no escape kept. */
static void
qp_decode_line(struct slice line, struct buf *out)
{
	while (line.len) {
		size_t eq = slice_index(line, '=');
		if (eq == SIZE_MAX) {
			buf_append(out, line);
			return;
		}
		buf_append(out, slice_sub(line, 0, eq));
		line = slice_from(line, eq);
		int high = line.len > 2 ? hex_value(line.ptr[1]) : -1;
		int low = high >= 0 ? hex_value(line.ptr[2]) : -1;
		if (low >= 0)
			buf_append_byte(out, (char)(high << 4 | low));
		else
			buf_append_byte(out, '=');
		line = slice_from(line, low >= 0 ? 3 : 1);
	}
}

void
qp_decode(struct slice in, struct buf *out)
{
	while (in.len) {
		const char *lf = memchr(in.ptr, '\n', in.len);
		size_t len = lf ? (size_t)(lf - in.ptr) : in.len;
		size_t end = len;
		if (lf && end && in.ptr[end - 1] == '\r')
			end--;
		struct slice eol = slice_sub(in, end, lf ? len + 1 - end : 0);
		/* Blanks at a line's end were added on the way (RFC 2045 section 6.7). */
		while (end && (in.ptr[end - 1] == ' ' || in.ptr[end - 1] == '\t'))
			end--;
		bool soft = end && in.ptr[end - 1] == '=';
		qp_decode_line(slice_sub(in, 0, soft ? end - 1 : end), out);
		if (!soft)
			buf_append(out, eol);
		in = slice_from(in, lf ? len + 1 : len);
	}
}

/* RFC 3461 section 4: xchar is 33 to 126 without "+" and "=". */
static bool
xtext_is_plain(unsigned char c)
{
	return c >= 33 && c <= 126 && c != '+' && c != '=';
}

bool
xtext_decode(struct slice in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		if (c != '+') {
			if (!xtext_is_plain((unsigned char)c))
				return false;
			buf_append_byte(out, c);
			continue;
		}
		if (in.len - i < 3)
			return false;
		/* Upper case only: the grammar's hexchar. */
		char h = in.ptr[i + 1], l = in.ptr[i + 2];
		if ((h >= 'a' && h <= 'f') || (l >= 'a' && l <= 'f'))
			return false;
		int high = hex_value(h), low = hex_value(l);
		if (high < 0 || low < 0)
			return false;
		buf_append_byte(out, (char)(high << 4 | low));
		i += 2;
	}
	return buf_ok(out);
}

void
xtext_encode(struct slice in, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.ptr[i];
		if (xtext_is_plain(c)) {
			buf_append_byte(out, (char)c);
			continue;
		}
		char escape[3] = {'+', hex[c >> 4], hex[c & 15]};
		buf_append(out, slice_make(escape, sizeof(escape)));
	}
}

/* One "\x{HEX}", 2 to 6 digits; its length, or 0 when it is none. */
static size_t
unitext_char(struct slice in, uint32_t *out_point)
{
	size_t end = slice_index(in, '}');
	uint32_t point = 0;
	if (!slice_has_prefix(in, SLICE("\\x{")) || end == SIZE_MAX || end < 5 || end > 9)
		return 0;
	for (size_t i = 3; i < end; i++) {
		int digit = hex_value(in.ptr[i]);
		if (digit < 0)
			return 0;
		point = point << 4 | (uint32_t)digit;
	}
	if (point == 0 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	*out_point = point;
	return end + 1;
}

bool
unitext_decode(struct slice in, struct buf *out)
{
	while (in.len > 0) {
		if (in.ptr[0] != '\\') {
			buf_append_byte(out, in.ptr[0]);
			in = slice_from(in, 1);
			continue;
		}
		uint32_t point;
		char bytes[4];
		size_t used = unitext_char(in, &point);
		if (used == 0)
			return false;
		buf_append(out, slice_make(bytes, utf8_put(point, bytes)));
		in = slice_from(in, used);
	}
	return buf_ok(out);
}
