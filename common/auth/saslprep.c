/*
 * SASLprep (RFC 4013), a profile of stringprep (RFC 3454): map, normalise to NFKC, refuse
 * what is prohibited, check writing direction.  Unassigned code points are allowed, as in
 * a query (RFC 4013 section 2.5): what is made here is compared with what clients make
 * with other versions of Unicode, and a password that was set must log in.
 *
 * Pure.  Normalisation and direction come from utf8proc.
 */
#include "auth/credential.h"

#include <utf8proc.h>

#include "base/ensure.h"
#include "text/encoding.h"

struct range {
	uint32_t first;
	uint32_t last;
};

/* RFC 3454 table C.1.2: mapped to a space. */
static const struct range spaces[] = {
    {0x00a0, 0x00a0},
    {0x1680, 0x1680},
    {0x2000, 0x200b},
    {0x202f, 0x202f},
    {0x205f, 0x205f},
    {0x3000, 0x3000}
};

/* RFC 3454 table B.1: mapped to nothing. */
static const struct range nothing[] = {
    {0x00ad, 0x00ad},
    {0x034f, 0x034f},
    {0x1806, 0x1806},
    {0x180b, 0x180d},
    {0x200b, 0x200d},
    {0x2060, 0x2060},
    {0xfe00, 0xfe0f},
    {0xfeff, 0xfeff}
};

/* RFC 3454 tables C.1.2, C.2.1, C.2.2, C.3, C.4 (its 34 noncharacters below), C.5, C.6,
 * C.7, C.8, C.9. */
static const struct range prohibited[] = {
    {0x0000,   0x001f  },
    {0x007f,   0x009f  },
    {0x00a0,   0x00a0  },
    {0x0340,   0x0341  },
    {0x06dd,   0x06dd  },
    {0x070f,   0x070f  },
    {0x1680,   0x1680  },
    {0x180e,   0x180e  },
    {0x2000,   0x200f  },
    {0x2028,   0x202f  },
    {0x205f,   0x2063  },
    {0x206a,   0x206f  },
    {0x2ff0,   0x2ffb  },
    {0x3000,   0x3000  },
    {0xd800,   0xdfff  },
    {0xe000,   0xf8ff  },
    {0xfdd0,   0xfdef  },
    {0xfeff,   0xfeff  },
    {0xfff9,   0xffff  },
    {0x1d173,  0x1d17a },
    {0xe0001,  0xe0001 },
    {0xe0020,  0xe007f },
    {0xf0000,  0xffffd },
    {0x100000, 0x10fffd}
};

#define IN_TABLE(table, c) in_ranges((table), sizeof(table) / sizeof((table)[0]), (c))

static bool
in_ranges(const struct range *ranges, size_t count, uint32_t c)
{
	for (size_t i = 0; i < count; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

static bool
is_prohibited(uint32_t c)
{
	return (c & 0xfffe) == 0xfffe || IN_TABLE(prohibited, c);
}

static bool
is_right_to_left(uint32_t c)
{
	utf8proc_bidi_class_t class =
	    (utf8proc_bidi_class_t)utf8proc_get_property((utf8proc_int32_t)c)->bidi_class;

	return class == UTF8PROC_BIDI_CLASS_R || class == UTF8PROC_BIDI_CLASS_AL;
}

static bool
is_left_to_right(uint32_t c)
{
	return utf8proc_get_property((utf8proc_int32_t)c)->bidi_class ==
	       UTF8PROC_BIDI_CLASS_L;
}

/* Section 2.1; the mapping works on single code points. */
static void
map_append(uint32_t c, struct buf *out)
{
	utf8proc_uint8_t bytes[4];

	/* U+200B is in both tables; RFC 4013 names the spaces first. */
	if (IN_TABLE(spaces, c))
		c = ' ';
	else if (IN_TABLE(nothing, c))
		return;
	utf8proc_ssize_t len = utf8proc_encode_char((utf8proc_int32_t)c, bytes);
	buf_append(out, slice_make((const char *)bytes, (size_t)len));
}

static bool
next_char(struct slice *rest, uint32_t *out)
{
	utf8proc_int32_t c;

	if (slice_is_empty(*rest))
		return false;
	utf8proc_ssize_t len = utf8proc_iterate(
	    (const utf8proc_uint8_t *)rest->ptr, (utf8proc_ssize_t)rest->len, &c);
	ENSURE(len > 0); /* checked to be UTF-8 before */
	*out = (uint32_t)c;
	*rest = slice_from(*rest, (size_t)len);
	return true;
}

/* Sections 2.3 and 2.4 over the normalised text. */
static bool
is_allowed(struct slice s)
{
	bool any_rtl = false, any_ltr = false, first_rtl = false, last_rtl = false;
	bool first = true;
	uint32_t c;

	while (next_char(&s, &c)) {
		if (is_prohibited(c))
			return false;
		last_rtl = is_right_to_left(c);
		any_rtl |= last_rtl;
		any_ltr |= is_left_to_right(c);
		if (first)
			first_rtl = last_rtl;
		first = false;
	}
	return !any_rtl || (!any_ltr && first_rtl && last_rtl);
}

bool
saslprep(struct slice in, struct buf *out)
{
	struct slice rest = in;
	struct buf mapped;
	utf8proc_uint8_t *normal = NULL;
	uint32_t c;

	if (ascii_only(in)) {
		/* Mapping and normalising leave ASCII as it is. */
		for (size_t i = 0; i < in.len; i++)
			if ((unsigned char)in.ptr[i] < ' ' || in.ptr[i] == 0x7f)
				return false;
		buf_append(out, in);
		return buf_ok(out);
	}
	if (!utf8_is_valid(in))
		return false;
	buf_init(&mapped, in.len + 1);
	while (next_char(&rest, &c))
		map_append(c, &mapped);
	utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)mapped.ptr,
	    (utf8proc_ssize_t)mapped.len, &normal,
	    UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
	struct slice result = slice_make((const char *)normal, len > 0 ? (size_t)len : 0);
	bool ok = len >= 0 && is_allowed(result);
	if (ok)
		buf_append(out, result);
	free(normal);
	buf_fini(&mapped);
	return ok && buf_ok(out);
}
