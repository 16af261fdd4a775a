/*
 * sendmail's message: what programs write on standard input becomes header and body; see
 * sendmail.h.  Pure.
 */
#include <string.h>

#include "postroom/sendmail.h"
#include "text/address.h"
#include "text/encoding.h"

enum { NAME_MAX_OCTETS = 200, ADDRESS_TEXT_MAX = 600 };

size_t
sendmail_without_nul(char *bytes, size_t len)
{
	size_t kept = 0;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != '\0')
			bytes[kept++] = bytes[i];
	}
	return kept;
}

/* The line at the front, its end included. */
static struct slice
line_at(struct slice text)
{
	size_t end = slice_index(text, '\n');
	return end == SIZE_MAX ? text : slice_sub(text, 0, end + 1);
}

static bool
line_is(struct slice line, const char *word)
{
	while (line.len > 0 &&
	       (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
		line.len--;
	return slice_equal(line, slice_from_cstr(word));
}

/* What comes before a line that holds a dot alone. */
static struct slice
before_dot(struct slice text)
{
	for (size_t at = 0; at < text.len;) {
		struct slice line = line_at(slice_from(text, at));
		if (line.ptr[0] == '.' && line_is(line, "."))
			return slice_sub(text, 0, at);
		at += line.len;
	}
	return text;
}

/* Octets of the field's name at the line's front, 0 when it is none. */
static size_t
name_length(struct slice line)
{
	size_t len = 0;
	while (len < line.len && line.ptr[len] > ' ' && line.ptr[len] < 127 &&
	       line.ptr[len] != ':')
		len++;
	size_t at = len;
	while (at < line.len && (line.ptr[at] == ' ' || line.ptr[at] == '\t'))
		at++;
	return at < line.len && line.ptr[at] == ':' ? len : 0;
}

/* The field at the front with its continuations, empty when there is none. */
static struct slice
field_at(struct slice text)
{
	struct slice line = line_at(text);
	if (name_length(line) == 0)
		return slice_sub(text, 0, 0);
	size_t len = line.len;
	while (len < text.len && (text.ptr[len] == ' ' || text.ptr[len] == '\t'))
		len += line_at(slice_from(text, len)).len;
	return slice_sub(text, 0, len);
}

static bool
field_is(struct slice field, const char *name)
{
	return slice_equal_nocase(
	    slice_sub(field, 0, name_length(field)), slice_from_cstr(name));
}

static struct slice
field_value(struct slice field)
{
	return slice_from(field, slice_index(field, ':') + 1);
}

bool
sendmail_recipients_add(
    struct slice list, struct slice host, struct arena *arena, struct sendmail_text *out)
{
	struct list_address *items = NULL;
	size_t before = out->recipient_count;
	size_t count = address_list_parse(list, arena, &items);
	for (size_t i = 0; i < count; i++) {
		if (items[i].group_start || items[i].group_end)
			continue;
		struct mailbox_address address = {
		    .local = items[i].mailbox,
		    .domain = items[i].host.len ? items[i].host : host,
		};
		struct buf text AUTO_BUF;
		buf_init(&text, ADDRESS_TEXT_MAX);
		address_write(&address, &text);
		/* What ends a path or a line is no address. */
		bool bad = !buf_ok(&text) || address.local.len == 0;
		for (size_t k = 0; k < text.len; k++)
			bad |= (unsigned char)text.ptr[k] < ' ' || text.ptr[k] == 127;
		if (bad || slice_index(address.domain, '>') != SIZE_MAX ||
		    out->recipient_count == SENDMAIL_RECIPIENTS_MAX)
			return false;
		struct slice copy = arena_copy(arena, buf_slice(&text));
		if (!copy.ptr)
			return false;
		out->recipients[out->recipient_count++] = copy;
	}
	return out->recipient_count > before;
}

void
sendmail_xtext(struct slice text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c < '!' || c > '~' || c == '+' || c == '=')
			buf_append_format(out, "+%02X", c);
		else
			buf_append_byte(out, text.ptr[i]);
	}
}

/* A display name: quoted, or an encoded word when it is not ASCII (RFC 2047). */
static void
name_write(struct slice name, struct buf *out)
{
	name = slice_sub(name, 0, NAME_MAX_OCTETS);
	bool ascii = true;
	for (size_t i = 0; i < name.len; i++)
		ascii &= name.ptr[i] >= ' ' && name.ptr[i] < 127;
	if (!ascii) {
		buf_append(out, SLICE("=?utf-8?B?"));
		base64_encode(name, out);
		buf_append(out, SLICE("?="));
		return;
	}
	buf_append_byte(out, '"');
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '"' || name.ptr[i] == '\\')
			buf_append_byte(out, '\\');
		buf_append_byte(out, name.ptr[i]);
	}
	buf_append_byte(out, '"');
}

static void
from_write(const struct sendmail_wish *wish, struct buf *out)
{
	buf_append(out, SLICE("From: "));
	if (wish->name.len > 0) {
		name_write(wish->name, out);
		buf_append_byte(out, ' ');
	}
	buf_append_format(out, "<%.*s>\r\n", SLICE_ARG(wish->from));
}

/* Is it one of the fields that name recipients?  With Resent- fields only those do. */
static bool
names_recipients(struct slice field, bool resent, bool *out_bcc)
{
	static const char *const names[2][3] = {
	    {"To",        "Cc",        "Bcc"       },
            {"Resent-To", "Resent-Cc", "Resent-Bcc"}
        };
	*out_bcc = field_is(field, "Bcc") || field_is(field, "Resent-Bcc");
	for (size_t i = 0; i < 3; i++) {
		if (field_is(field, names[resent][i]))
			return true;
	}
	return false;
}

static bool
is_resent(struct slice text)
{
	for (struct slice field; (field = field_at(text)).len > 0;
	     text = slice_from(text, field.len)) {
		bool bcc;
		if (names_recipients(field, true, &bcc))
			return true;
	}
	return false;
}

static bool
header_take(struct slice *text, const struct sendmail_wish *wish, struct arena *arena,
    struct sendmail_text *out)
{
	bool resent = wish->take_recipients && is_resent(*text);
	bool has_from = false;
	for (struct slice field; (field = field_at(*text)).len > 0;
	     *text = slice_from(*text, field.len)) {
		bool bcc;
		bool named = names_recipients(field, resent, &bcc);
		has_from |= field_is(field, "From");
		if (wish->take_recipients && named &&
		    !sendmail_recipients_add(
			field_value(field), wish->host, arena, out) &&
		    out->recipient_count == SENDMAIL_RECIPIENTS_MAX)
			return false;
		if (!wish->take_recipients || !bcc)
			buf_append(&out->header, field);
		/* The last line of the input may lack its end. */
		if (field.ptr[field.len - 1] != '\n')
			buf_append(&out->header, SLICE("\r\n"));
	}
	if (!has_from && wish->from.len > 0)
		from_write(wish, &out->header);
	return true;
}

bool
sendmail_text_make(struct slice raw, const struct sendmail_wish *wish,
    struct arena *arena, struct sendmail_text *out, const char **why)
{
	if (wish->dot_ends)
		raw = before_dot(raw);
	/* mbox's line in front. */
	if (slice_has_prefix(raw, SLICE("From ")))
		raw = slice_from(raw, line_at(raw).len);
	for (size_t i = 0; i < raw.len; i++)
		out->has_8bit |= (unsigned char)raw.ptr[i] > 127;
	*why = "too many recipients";
	if (!header_take(&raw, wish, arena, out))
		return false;
	/* The empty line, or what stands in its place: then all of it is body. */
	buf_append(&out->header, SLICE("\r\n"));
	struct slice line = line_at(raw);
	if (line.len > 0 && line_is(line, ""))
		raw = slice_from(raw, line.len);
	out->body = raw;
	*why = "the header is over 1 MiB";
	return buf_ok(&out->header);
}
