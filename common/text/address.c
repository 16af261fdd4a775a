/*
 * Mailboxes and paths of RFC 5321 section 4.1.2, strict: no comments, no blanks, no
 * obsolete forms.  With SMTPUTF8 (RFC 6531) UTF-8 letters count as atext, qtext and
 * domain letters.  Lengths are section 4.5.3.1's and are measured as written.
 */
#include "text/address.h"

#include "text/encoding.h"

static bool
is_atext(char c, bool utf8)
{
	if ((unsigned char)c & 0x80)
		return utf8;
	return ascii_is_alpha(c) || ascii_is_digit(c) ||
	       (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Dot-string; its length, 0 when there is none. */
static size_t
dot_string_length(struct slice in, bool utf8)
{
	size_t at = 0;
	for (;;) {
		size_t from = at;
		while (at < in.len && is_atext(in.ptr[at], utf8))
			at++;
		if (at == from)
			return 0;
		if (at >= in.len || in.ptr[at] != '.')
			return at;
		at++;
	}
}

/* Quoted-string with its quotes; its length, 0 when it is not one. */
static size_t
quoted_length(struct slice in, bool utf8)
{
	for (size_t at = 1; at < in.len; at++) {
		unsigned char c = (unsigned char)in.ptr[at];
		if (c == '"')
			return at + 1;
		if (c == '\\') {
			if (++at >= in.len)
				return 0;
			c = (unsigned char)in.ptr[at];
		}
		if (c < 32 || c == 127 || (c > 127 && !utf8))
			return 0;
	}
	return 0;
}

static struct slice
unquote(struct slice quoted, struct arena *arena)
{
	struct slice raw = slice_sub(quoted, 1, quoted.len - 2);
	char *to = arena_alloc(arena, raw.len + 1);
	size_t len = 0;
	for (size_t i = 0; to && i < raw.len; i++) {
		if (raw.ptr[i] == '\\')
			i++;
		to[len++] = raw.ptr[i];
	}
	return slice_make(to, len);
}

/* The local part at the front. */
static enum address_result
parse_local(
    struct slice in, bool utf8, struct arena *arena, struct slice *out, size_t *out_used)
{
	bool quoted = in.len && in.ptr[0] == '"';
	size_t len = quoted ? quoted_length(in, utf8) : dot_string_length(in, utf8);
	if (len == 0)
		return ADDRESS_BAD;
	bool srs = slice_has_prefix_nocase(in, SLICE("SRS0")) ||
	           slice_has_prefix_nocase(in, SLICE("SRS1"));
	if (len > (srs ? ADDRESS_LOCAL_SRS_MAX : ADDRESS_LOCAL_MAX))
		return ADDRESS_TOO_LONG;
	struct slice local = slice_sub(in, 0, len);
	if (!utf8_is_valid(local))
		return ADDRESS_BAD;
	*out = quoted ? unquote(local, arena) : arena_copy(arena, local);
	*out_used = len;
	return out->ptr ? ADDRESS_OK : ADDRESS_TOO_LONG;
}

/* Bytes that may belong to a domain or a literal. */
static size_t
domain_length(struct slice in)
{
	size_t at = 0;
	bool literal = in.len && in.ptr[0] == '[';
	while (at < in.len) {
		char c = in.ptr[at];
		if (literal && c == ']')
			return at + 1;
		if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '.' &&
		    !((unsigned char)c & 0x80) && !(literal && (c == ':' || at == 0)))
			break;
		at++;
	}
	return at;
}

static enum address_result
parse_domain(
    struct slice in, bool utf8, struct arena *arena, struct slice *out, size_t *out_used)
{
	struct slice domain = slice_sub(in, 0, domain_length(in));
	if (domain.len > ADDRESS_DOMAIN_MAX)
		return ADDRESS_TOO_LONG;
	if (!address_domain_is_valid(domain, true, utf8))
		return ADDRESS_BAD;
	struct buf text;
	buf_init(&text, ADDRESS_DOMAIN_MAX * 4);
	if (ascii_only(domain)) {
		for (size_t i = 0; i < domain.len; i++)
			buf_append_byte(&text, ascii_lower(domain.ptr[i]));
	} else if (!address_domain_to_unicode(domain, &text)) {
		buf_reset(&text);
	}
	*out = arena_copy(arena, buf_slice(&text));
	*out_used = domain.len;
	buf_fini(&text);
	return out->len ? ADDRESS_OK : ADDRESS_BAD;
}

/* Local part, "@", domain at the front of `in`. */
static enum address_result
parse_mailbox(struct slice in, bool utf8, struct arena *arena,
    struct mailbox_address *out, size_t *out_used)
{
	size_t local_len = 0, domain_len = 0;
	struct slice local, domain;
	enum address_result result = parse_local(in, utf8, arena, &local, &local_len);
	if (result != ADDRESS_OK)
		return result;
	if (local_len >= in.len || in.ptr[local_len] != '@')
		return ADDRESS_BAD;
	result = parse_domain(
	    slice_from(in, local_len + 1), utf8, arena, &domain, &domain_len);
	if (result != ADDRESS_OK)
		return result;
	*out_used = local_len + 1 + domain_len;
	if (*out_used > ADDRESS_PATH_MAX)
		return ADDRESS_TOO_LONG;
	out->local = local;
	out->domain = domain;
	out->utf8 = !ascii_only(slice_sub(in, 0, *out_used));
	return ADDRESS_OK;
}

enum address_result
address_parse(
    struct slice in, bool utf8, struct arena *arena, struct mailbox_address *out)
{
	struct mailbox_address address = {0};
	size_t used = 0;
	enum address_result result = parse_mailbox(in, utf8, arena, &address, &used);
	if (result == ADDRESS_OK && used != in.len)
		return ADDRESS_BAD;
	if (result == ADDRESS_OK)
		*out = address;
	return result;
}

/* "@one,@two:" at the front: its length, 0 when there is none, SIZE_MAX when bad.  It is
 * read and dropped (RFC 5321 appendix C). */
static size_t
source_route_length(struct slice in, bool utf8)
{
	size_t at = 0;
	while (at < in.len && in.ptr[at] == '@') {
		struct slice host = slice_from(in, at + 1);
		host = slice_sub(host, 0, domain_length(host));
		if (!address_domain_is_valid(host, true, utf8))
			return SIZE_MAX;
		at += 1 + host.len;
		if (at >= in.len || (in.ptr[at] != ',' && in.ptr[at] != ':'))
			return SIZE_MAX;
		if (in.ptr[at++] == ':')
			return at;
	}
	return at ? SIZE_MAX : 0;
}

enum address_result
address_parse_path(struct slice in, bool utf8, struct arena *arena,
    struct mailbox_address *out, size_t *out_used)
{
	struct mailbox_address address = {SLICE(""), SLICE(""), false};
	size_t used = 0;
	if (in.len < 2 || in.ptr[0] != '<')
		return ADDRESS_BAD;
	if (in.ptr[1] == '>') {
		*out = address;
		*out_used = 2;
		return ADDRESS_OK;
	}
	/* The forward-path of RFC 5321 section 4.5.1, which has no domain. */
	if (slice_has_prefix_nocase(slice_from(in, 1), SLICE("postmaster>"))) {
		address.local = arena_copy(arena, slice_sub(in, 1, 10));
		*out = address;
		*out_used = 12;
		return address.local.ptr ? ADDRESS_OK : ADDRESS_TOO_LONG;
	}
	size_t route = source_route_length(slice_from(in, 1), utf8);
	if (route == SIZE_MAX)
		return ADDRESS_BAD;
	struct slice rest = slice_from(in, 1 + route);
	enum address_result result = parse_mailbox(rest, utf8, arena, &address, &used);
	if (result != ADDRESS_OK)
		return result;
	if (used >= rest.len || rest.ptr[used] != '>')
		return ADDRESS_BAD;
	*out = address;
	*out_used = 1 + route + used + 1;
	return ADDRESS_OK;
}

void
address_write(const struct mailbox_address *address, struct buf *out)
{
	struct slice local = address->local;
	if (local.len && dot_string_length(local, true) == local.len) {
		buf_append(out, local);
	} else if (local.len || address->domain.len) {
		buf_append_byte(out, '"');
		for (size_t i = 0; i < local.len; i++) {
			if (local.ptr[i] == '"' || local.ptr[i] == '\\')
				buf_append_byte(out, '\\');
			buf_append_byte(out, local.ptr[i]);
		}
		buf_append_byte(out, '"');
	}
	if (address->domain.len) {
		buf_append_byte(out, '@');
		buf_append(out, address->domain);
	}
}
