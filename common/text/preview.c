/*
 * The first words of a message: of the first text/plain part that is no attachment, else
 * of the first text/html with its tags taken off.  Only the front of the part is decoded,
 * more of it (preview_fronts) when that gave too little, so the cost does not grow with
 * the message.  This is no HTML parser: it drops what stands in
 * angle brackets, the content of style, script, head and title, and knows few entities.
 */
#include "text/preview_int.h"

#include "text/utf8_int.h"

enum {
	PREVIEW_FRONT_MAX = 32 * 1024, /* encoded bytes looked at, at most */
	ENTITY_MAX = 10,               /* bytes between "&" and ";" */
};

/* Encoded bytes of a part that are looked at, from step to step. */
static const size_t preview_fronts[] = {600, 4096, PREVIEW_FRONT_MAX};

/* The next part in document order that is of text/`subtype`, or null. */
static const struct mime_part *
find_text(const struct mime_part *part, struct slice subtype)
{
	while (part) {
		bool attached = slice_equal(part->disposition.type, SLICE("attachment"));
		if (part->kind == MIME_LEAF && !attached && part->body_len &&
		    slice_equal(part->content_type.type, SLICE("text")) &&
		    slice_equal(part->content_type.subtype, subtype))
			return part;
		/* Messages within are somebody else's words. */
		if (part->kind == MIME_MULTIPART && part->child) {
			part = part->child;
			continue;
		}
		while (part && !part->next)
			part = part->parent;
		part = part ? part->next : NULL;
	}
	return NULL;
}

/* The characters so far, blanks collapsed. */
struct sink {
	char text[4 * PREVIEW_CHARS_MAX];
	size_t len;   /* bytes of text */
	size_t chars; /* characters of text */
	bool blank;   /* a blank waits for the next character */
};

static void
sink_char(struct sink *s, uint32_t c)
{
	/* Blanks of all kinds, and what is not seen: NBSP, soft hyphen, joiners, BOM. */
	if (c <= 0x20 || c == 0x7f || c == 0xa0 || c == 0x2007 || c == 0x3000 ||
	    (c >= 0x2028 && c <= 0x202f)) {
		s->blank = s->chars > 0;
		return;
	}
	if (c == 0xad || c == 0x34f || (c >= 0x200b && c <= 0x200f) || c == 0xfeff ||
	    (c >= 0x80 && c < 0xa0))
		return;
	if (s->chars + (s->blank ? 2 : 1) > PREVIEW_CHARS_MAX) {
		s->chars = PREVIEW_CHARS_MAX;
		return;
	}
	if (s->blank) {
		s->text[s->len++] = ' ';
		s->chars++;
	}
	s->blank = false;
	s->len += utf8_put(c, s->text + s->len);
	s->chars++;
}

static size_t
take_char(struct slice in, uint32_t *c)
{
	size_t used = utf8_next(in, c);
	if (used == 0)
		*c = 0xfffd;
	return used ? used : 1;
}

static void
plain_preview(struct slice in, struct sink *s)
{
	while (in.len && s->chars < PREVIEW_CHARS_MAX) {
		uint32_t c;
		in = slice_from(in, take_char(in, &c));
		sink_char(s, c);
	}
}

/* The character of "&...;" at the front, or "&" itself. */
static size_t
take_entity(struct slice in, uint32_t *out)
{
	static const struct {
		struct slice name;
		uint32_t c;
	} names[] = {
	    {{"amp", 3},    '&'   },
	    {{"lt", 2},     '<'   },
	    {{"gt", 2},     '>'   },
	    {{"quot", 4},   '"'   },
	    {{"apos", 4},   '\''  },
	    {{"nbsp", 4},   ' '   },
	    {{"zwnj", 4},   0x200c},
	    {{"shy", 3},    0xad  },
	    {{"ndash", 5},  0x2013},
	    {{"mdash", 5},  0x2014},
	    {{"hellip", 6}, 0x2026},
	    {{"rsquo", 5},  0x2019},
	    {{"auml", 4},   0xe4  },
	    {{"ouml", 4},   0xf6  },
	    {{"uuml", 4},   0xfc  },
	    {{"szlig", 5},  0xdf  },
	    {{"eacute", 6}, 0xe9  },
	};
	*out = '&';
	size_t end = slice_index(slice_sub(in, 1, ENTITY_MAX + 1), ';');
	if (end == SIZE_MAX)
		return 1;
	struct slice name = slice_sub(in, 1, end);
	if (name.len > 1 && name.ptr[0] == '#') {
		bool hex = (name.ptr[1] | 0x20) == 'x';
		uint32_t value = 0;
		for (size_t i = hex ? 2 : 1; i < name.len; i++) {
			char c = ascii_lower(name.ptr[i]);
			if (ascii_is_digit(c))
				value = value * (hex ? 16 : 10) + (uint32_t)(c - '0');
			else if (hex && c >= 'a' && c <= 'f')
				value = value * 16 + (uint32_t)(c - 'a' + 10);
			else
				return 1;
			if (value > 0x10ffff)
				return 1;
		}
		*out = value >= 0xd800 && value <= 0xdfff ? 0xfffd : value;
		return end + 2;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_equal(name, names[i].name)) {
			*out = names[i].c;
			return end + 2;
		}
	}
	return 1;
}

/* Behind the tag at the front, and behind its content when nobody reads that. */
static size_t
skip_tag(struct slice in)
{
	static const struct slice hidden[] = {
	    {"<style",  6},
            {"<script", 7},
            {"<title",  6},
            {"<head",   5}
        };
	if (slice_has_prefix(in, SLICE("<!--"))) {
		size_t end = slice_find(in, SLICE("-->"));
		return end == SIZE_MAX ? in.len : end + 3;
	}
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		struct slice name = slice_from(hidden[i], 1);
		if (!slice_has_prefix_nocase(in, hidden[i]) ||
		    (in.len > hidden[i].len && ascii_is_alpha(in.ptr[hidden[i].len])))
			continue;
		for (size_t at = hidden[i].len;;) {
			size_t close = slice_find(slice_from(in, at), SLICE("</"));
			if (close == SIZE_MAX)
				return in.len;
			at += close + 2;
			if (slice_has_prefix_nocase(slice_from(in, at), name)) {
				in.ptr += at;
				in.len -= at;
				size_t end = slice_index(in, '>');
				return end == SIZE_MAX ? at + in.len : at + end + 1;
			}
		}
	}
	size_t end = slice_index(in, '>');
	return end == SIZE_MAX ? in.len : end + 1;
}

static void
html_preview(struct slice in, struct sink *s)
{
	while (in.len && s->chars < PREVIEW_CHARS_MAX) {
		uint32_t c = in.len > 1 ? (unsigned char)in.ptr[1] : 0;
		bool tag = in.ptr[0] == '<' &&
		           (ascii_is_alpha((char)c) || c == '/' || c == '!' || c == '?');
		if (tag) {
			in = slice_from(in, skip_tag(in));
			sink_char(s, ' ');
		} else if (in.ptr[0] == '&') {
			in = slice_from(in, take_entity(in, &c));
			sink_char(s, c);
		} else {
			in = slice_from(in, take_char(in, &c));
			sink_char(s, c);
		}
	}
}

/* From the first `front` bytes of the part.  False, with nothing written, when more of
 * them would give more. */
static bool
preview_front(
    const struct mime_part *part, struct slice message, size_t front, struct buf *out)
{
	struct mime_part cut = *part;
	struct buf decoded, text;
	bool whole = cut.body_len <= front;
	struct sink sink;

	sink.len = sink.chars = 0;
	sink.blank = false;
	if (!whole)
		cut.body_len = front;
	buf_init(&decoded, PREVIEW_FRONT_MAX + 16);
	buf_init(&text, (size_t)PREVIEW_FRONT_MAX * 4);
	mime_body_decode(&cut, message, &decoded);
	struct slice charset =
	    header_value_parameter(&part->content_type, SLICE("charset"));
	charset_to_utf8(
	    charset.len ? charset : SLICE("utf-8"), buf_slice(&decoded), &text);
	struct slice in = buf_slice(&text);
	/* The cut may have gone through a character. */
	if (!whole && slice_has_suffix(in, SLICE(UTF8_REPLACEMENT)))
		in.len -= 3;
	if (slice_equal(part->content_type.subtype, SLICE("html")))
		html_preview(in, &sink);
	else
		plain_preview(in, &sink);
	buf_fini(&decoded);
	buf_fini(&text);
	bool enough =
	    whole || sink.chars >= PREVIEW_CHARS_MAX || front == PREVIEW_FRONT_MAX;
	if (enough)
		buf_append(out, slice_make(sink.text, sink.len));
	return enough;
}

void
preview_write(const struct mime_part *root, struct slice message, struct buf *out)
{
	const struct mime_part *part = find_text(root, SLICE("plain"));
	if (!part)
		part = find_text(root, SLICE("html"));
	if (!part)
		return;
	for (size_t i = 0; i < sizeof(preview_fronts) / sizeof(preview_fronts[0]); i++) {
		if (preview_front(part, message, preview_fronts[i], out))
			return;
	}
}
