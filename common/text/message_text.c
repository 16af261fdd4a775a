/*
 * The texts of a message.  ASCII, which most mail is, is copied once, in lower case.
 */
#include "text/message_text.h"

#include "text/encoding.h"

enum { KEEP_MAX = 1024 * 1024 }; /* bytes of a buffer that is kept for the next message */

void
message_text_init(struct message_text *text)
{
	*text = (struct message_text){.scratch = arena_new(MESSAGE_TEXT_SCRATCH_MAX)};
	buf_init(&text->header, MESSAGE_TEXT_MAX);
	buf_init(&text->body, MESSAGE_TEXT_MAX);
	buf_init(&text->mime, MESSAGE_TEXT_MAX);
	buf_init(&text->raw, MESSAGE_TEXT_MAX);
	buf_init(&text->utf8, MESSAGE_TEXT_MAX);
}

void
message_text_fini(struct message_text *text)
{
	arena_free(&text->scratch);
	buf_fini(&text->header);
	buf_fini(&text->body);
	buf_fini(&text->mime);
	buf_fini(&text->raw);
	buf_fini(&text->utf8);
}

void
message_text_reset(struct message_text *text)
{
	struct buf *bufs[] = {
	    &text->header, &text->body, &text->mime, &text->raw, &text->utf8};
	for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
		bool big = bufs[i]->cap > KEEP_MAX;
		buf_reset(bufs[i]);
		if (big)
			buf_release_if_empty(bufs[i]);
	}
	arena_reset(text->scratch);
	text->over = false;
}

/* A buffer's overflow is the message's. */
static bool
buf_fine(struct message_text *text, const struct buf *b)
{
	text->over |= !buf_ok(b);
	return buf_ok(b);
}

static void
fold_into(struct slice utf8, struct buf *out)
{
	if (!ascii_only(utf8)) {
		utf8_casefold(utf8, out);
		return;
	}
	char *p = utf8.len ? buf_reserve(out, utf8.len) : NULL;
	if (!p)
		return;
	for (size_t i = 0; i < utf8.len; i++)
		p[i] = ascii_lower(utf8.ptr[i]);
	buf_commit(out, utf8.len);
}

void
message_text_value(struct message_text *text, struct slice value, struct buf *out)
{
	struct slice plain = header_unfold(value, text->scratch);
	if (!plain.ptr && value.len) {
		text->over = true;
		return;
	}
	text->work += value.len;
	buf_reset(&text->utf8);
	header_decode(plain, &text->utf8);
	(void)buf_fine(text, &text->utf8);
	fold_into(buf_slice(&text->utf8), out);
	(void)buf_fine(text, out);
}

void
message_text_field(
    struct message_text *text, const struct header_field *field, struct buf *out)
{
	fold_into(field->name, out);
	buf_append(out, SLICE(": "));
	message_text_value(text, field->value, out);
	buf_append(out, SLICE("\r\n"));
	(void)buf_fine(text, out);
}

static void
header_into(struct message_text *text, struct slice block, struct buf *out)
{
	struct header_iter it;
	struct header_field field;

	header_iter_init(&it, block);
	while (header_iter_next(&it, &field))
		message_text_field(text, &field, out);
}

void
message_text_header(struct message_text *text, struct slice block)
{
	header_into(text, block, &text->header);
}

/* What a leaf's header says of it. */
static bool
is_text(struct message_text *text, struct slice header, struct slice *out_charset)
{
	struct header_field field;
	struct header_value type;

	*out_charset = SLICE("US-ASCII");
	if (!header_find(header, SLICE("Content-Type"), &field))
		return true; /* RFC 2045 section 5.2: text/plain */
	header_value_parse(field.value, text->scratch, &type);
	if (type.type.len && !slice_equal(type.type, SLICE("text")))
		return false;
	struct slice charset = header_value_parameter(&type, SLICE("charset"));
	if (charset.len)
		*out_charset = charset;
	return true;
}

/* Bytes below 128 mean ASCII in it.  When in doubt it is converted: UTF-7, UTF-16 and the
 * ISO-2022 ones say everything with such bytes. */
static bool
holds_ascii(struct slice charset)
{
	static const char *const names[] = {"us-ascii", "utf-8", "iso-8859-", "windows-",
	    "koi8-", "ascii", "utf8", "cp125", "latin"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct slice name = slice_from_cstr(names[i]);
		if (slice_equal_nocase(slice_sub(charset, 0, name.len), name))
			return true;
	}
	return false;
}

static void
leaf_into(struct message_text *text, const struct index_part *part, struct slice header,
    struct slice bytes)
{
	struct slice charset;

	if (!is_text(text, header, &charset))
		return;
	text->work += bytes.len;
	if (part->encoding == 1 || part->encoding == 2) {
		buf_reset(&text->raw);
		if (part->encoding == 1)
			base64_decode_lenient(bytes, &text->raw);
		else
			qp_decode(bytes, &text->raw);
		if (!buf_fine(text, &text->raw))
			return;
		bytes = buf_slice(&text->raw);
	}
	if (!ascii_only(bytes) || !holds_ascii(charset)) {
		buf_reset(&text->utf8);
		(void)charset_to_utf8(charset, bytes, &text->utf8);
		if (!buf_fine(text, &text->utf8))
			return;
		bytes = buf_slice(&text->utf8);
	}
	fold_into(bytes, &text->body);
	buf_append_byte(&text->body, '\0');
}

void
message_text_body(
    struct message_text *text, const struct message_index *index, struct slice message)
{
	for (uint32_t i = 0; i < index->part_count; i++) {
		struct index_part part, parent = {.kind = MIME_MULTIPART};
		message_index_part(index, i, &part);
		if (part.parent < index->part_count)
			message_index_part(index, part.parent, &parent);
		struct slice header = slice_sub(
		    message, (size_t)part.header_offset, (size_t)part.header_len);
		if (i > 0 && parent.kind == MIME_MESSAGE) {
			header_into(text, header, &text->body);
			buf_append_byte(&text->body, '\0');
		} else if (i > 0) {
			header_into(text, header, &text->mime);
		}
		if (part.kind == MIME_LEAF)
			leaf_into(text, &part, header,
			    slice_sub(message, (size_t)part.body_offset,
				(size_t)part.body_len));
	}
	(void)buf_fine(text, &text->body);
	(void)buf_fine(text, &text->mime);
}
