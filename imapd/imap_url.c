/*
 * IMAP URLs to plain data.
 */
#include "imapd/imap_url.h"

enum { URL_TEXT_MAX = 8 * 1024 /* octets of one URL */ };

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 section 2.1; null for a bad escape, and for what no text may hold. */
static struct slice
percent_decode(struct slice in, struct arena *arena)
{
	char *text = arena_alloc(arena, in.len + 1);
	size_t len = 0;

	for (size_t i = 0; text && i < in.len; i++) {
		int c = (unsigned char)in.ptr[i];
		if (c == '%') {
			int high = i + 2 < in.len ? hex(in.ptr[i + 1]) : -1;
			int low = high >= 0 ? hex(in.ptr[i + 2]) : -1;
			if (low < 0)
				return SLICE_NULL;
			c = high << 4 | low;
			i += 2;
		}
		if (c == 0 || c == '\r' || c == '\n')
			return SLICE_NULL;
		text[len++] = (char)c;
	}
	return text ? slice_make(text, len) : SLICE_NULL;
}

/* ";NAME=value" at the beginning of *rest: the value ends at "/" or ";" or the end. */
static bool
take_field(struct slice *rest, struct slice name, struct slice *out)
{
	struct slice s = *rest;

	if (s.len < name.len + 2 || s.ptr[0] != ';' ||
	    !slice_equal_nocase(slice_sub(s, 1, name.len), name) ||
	    s.ptr[name.len + 1] != '=')
		return false;
	s = slice_from(s, name.len + 2);
	size_t end = 0;
	while (end < s.len && s.ptr[end] != '/' && s.ptr[end] != ';')
		end++;
	*out = slice_sub(s, 0, end);
	*rest = slice_from(s, end);
	return true;
}

static bool
number(struct slice text, uint64_t min, uint64_t max, uint64_t *out)
{
	return slice_to_u64(text, max, out) && *out >= min;
}

/* "offset" or "offset.length". */
static bool
take_partial(struct slice text, struct imap_fetch_body *body)
{
	size_t dot = slice_index(text, '.');

	body->partial = true;
	body->length = INT64_MAX;
	if (dot == SIZE_MAX)
		return number(text, 0, INT64_MAX, &body->offset);
	return number(slice_sub(text, 0, dot), 0, INT64_MAX, &body->offset) &&
	       number(slice_from(text, dot + 1), 1, INT64_MAX, &body->length);
}

/* Everything behind the mailbox: "/;UID=20/;SECTION=1.2/;PARTIAL=0.5". */
static bool
take_message(struct slice rest, struct arena *arena, struct imap_url *out)
{
	struct slice value, section = SLICE("");
	uint64_t uid;

	if (!take_field(&rest, SLICE("UID"), &value) ||
	    !number(value, 1, UINT32_MAX, &uid))
		return false;
	out->uid = (uint32_t)uid;
	struct slice next = rest;
	if (slice_has_prefix(next, SLICE("/"))) {
		next = slice_from(next, 1);
		if (take_field(&next, SLICE("SECTION"), &value)) {
			section = percent_decode(value, arena);
			if (!section.ptr || section.len == 0)
				return false;
			rest = next;
		}
	}
	if (!imap_fetch_section_parse(section, arena, &out->section))
		return false;
	next = rest;
	if (slice_has_prefix(next, SLICE("/"))) {
		next = slice_from(next, 1);
		if (take_field(&next, SLICE("PARTIAL"), &value)) {
			if (!take_partial(value, &out->section))
				return false;
			rest = next;
		}
	}
	return rest.len == 0;
}

bool
imap_url_parse(struct slice text, struct arena *arena, struct imap_url *out)
{
	struct slice value;
	uint64_t uidvalidity = 0;

	*out = (struct imap_url){.uid = 0};
	if (text.len > URL_TEXT_MAX)
		return false;
	if (!slice_has_prefix(text, SLICE("/")))
		return take_message(text, arena, out);
	text = slice_from(text, 1);
	if (slice_has_prefix(text, SLICE("/"))) /* "//server/...": another authority */
		return false;
	size_t end = 0;
	while (end < text.len && text.ptr[end] != ';')
		end++;
	struct slice name = slice_sub(text, 0, end);
	struct slice rest = slice_from(text, end);
	if (take_field(&rest, SLICE("UIDVALIDITY"), &value)) {
		if (!number(value, 1, UINT32_MAX, &uidvalidity) ||
		    !slice_has_prefix(rest, SLICE("/")))
			return false;
		rest = slice_from(rest, 1);
	} else if (slice_has_suffix(name, SLICE("/"))) {
		name = slice_sub(name, 0, name.len - 1); /* "/Drafts/;UID=1" */
	} /* else "/Drafts;UID=1", as RFC 4469's examples do not but clients may */
	out->uidvalidity = (uint32_t)uidvalidity;
	out->mailbox = percent_decode(name, arena);
	return out->mailbox.ptr && out->mailbox.len > 0 && take_message(rest, arena, out);
}
