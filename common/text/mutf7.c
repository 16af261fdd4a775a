/*
 * IMAP's modified UTF-7 (RFC 3501 section 5.1.3; RFC 9051 appendix A keeps it for old
 * clients): printable ASCII stands for itself, "&-" for "&", all else is UTF-16 in base64
 * with "," for "/" and without padding between "&" and "-".
 *
 * One mailbox name has one encoding: decoding refuses what the encoder would not write,
 * so that two names on the wire never mean one mailbox.
 */
#include "text/encoding.h"

#include "text/utf8_int.h"

static const char mutf7_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* Base64 writer and reader of 16-bit units. */
struct bits {
	uint32_t value;
	unsigned count; /* bits in value */
};

static bool
is_direct(uint32_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

static void
put_unit(struct bits *b, uint32_t unit, struct buf *out)
{
	b->value = b->value << 16 | unit;
	b->count += 16;
	while (b->count >= 6) {
		b->count -= 6;
		buf_append_byte(out, mutf7_alphabet[b->value >> b->count & 63]);
	}
	b->value &= (1u << b->count) - 1;
}

static void
shift_out(struct bits *b, struct buf *out)
{
	if (b->count)
		buf_append_byte(out, mutf7_alphabet[b->value << (6 - b->count) & 63]);
	buf_append_byte(out, '-');
	*b = (struct bits){0, 0};
}

void
mutf7_encode(struct slice utf8, struct buf *out)
{
	struct bits b = {0, 0};
	bool shifted = false;
	while (utf8.len) {
		uint32_t c;
		size_t used = utf8_next(utf8, &c);
		if (used == 0)
			c = 0xfffd;
		utf8 = slice_from(utf8, used ? used : 1);
		if (is_direct(c)) {
			if (shifted)
				shift_out(&b, out);
			shifted = false;
			buf_append_byte(out, (char)c);
			if (c == '&')
				buf_append_byte(out, '-');
			continue;
		}
		if (!shifted)
			buf_append_byte(out, '&');
		shifted = true;
		if (c >= 0x10000) {
			put_unit(&b, 0xd800 + ((c - 0x10000) >> 10), out);
			put_unit(&b, 0xdc00 + ((c - 0x10000) & 0x3ff), out);
		} else {
			put_unit(&b, c, out);
		}
	}
	if (shifted)
		shift_out(&b, out);
}

static int
mutf7_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == ',' ? 63 : -1;
}

/* A UTF-16 unit; *high holds a first surrogate that waits for its second. */
static bool
take_unit(uint32_t unit, uint32_t *high, struct buf *out)
{
	char bytes[4];
	if (unit >= 0xdc00 && unit <= 0xdfff) {
		if (!*high)
			return false;
		unit = 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00);
		*high = 0;
	} else if (*high) {
		return false;
	} else if (unit >= 0xd800 && unit <= 0xdbff) {
		*high = unit;
		return true;
	}
	if (unit == 0 || is_direct(unit))
		return false;
	buf_append(out, slice_make(bytes, utf8_put(unit, bytes)));
	return true;
}

/* Behind "&": the text up to and with "-".  Returns the bytes read, 0 when bad. */
static size_t
decode_shifted(struct slice in, struct buf *out)
{
	uint32_t bits = 0, high = 0;
	unsigned count = 0;
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '-') {
			/* Spare bits are zero and fewer than a character's six. */
			if (high || count >= 6 || (bits & ((1u << count) - 1)) != 0)
				return 0;
			return i + 1;
		}
		int v = mutf7_value(in.ptr[i]);
		if (v < 0)
			return 0;
		bits = (bits << 6 | (uint32_t)v) & 0x3fffff;
		count += 6;
		if (count >= 16) {
			count -= 16;
			if (!take_unit(bits >> count & 0xffff, &high, out))
				return 0;
		}
	}
	return 0;
}

bool
mutf7_decode(struct slice in, struct buf *out)
{
	bool just_shifted = false;
	while (in.len) {
		char c = in.ptr[0];
		in = slice_from(in, 1);
		if (!is_direct((unsigned char)c))
			return false;
		if (c != '&') {
			buf_append_byte(out, c);
			just_shifted = false;
			continue;
		}
		if (in.len && in.ptr[0] == '-') {
			buf_append_byte(out, '&');
			in = slice_from(in, 1);
			just_shifted = false;
			continue;
		}
		/* "&...-&...-" would have been one shift. */
		size_t used = just_shifted ? 0 : decode_shifted(in, out);
		if (used == 0)
			return false;
		in = slice_from(in, used);
		just_shifted = true;
	}
	return buf_ok(out);
}
