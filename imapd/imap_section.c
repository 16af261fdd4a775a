/*
 * Section numbers and texts to byte ranges.
 */
#include "imapd/imap_section.h"

/* The one part whose parent is `number`: what a message/rfc822 part holds. */
static bool
message_child(const struct message_index *index, uint32_t number, struct index_part *out)
{
	/* Document order: the first child stands right behind its parent. */
	if (number + 1 >= index->part_count)
		return false;
	message_index_part(index, number + 1, out);
	return out->parent == number;
}

static bool
range_fits(const struct imap_section_range *range, uint64_t size)
{
	return range->offset <= size && range->len <= size - range->offset;
}

/* BODY[HEADER] and so on, of the message itself. */
static struct imap_section_range
message_range(
    const struct message_index *index, uint64_t size, enum imap_section_text text)
{
	struct imap_section_range range = {0, size, 0};
	if (text == IMAP_SECTION_TEXT) {
		range.offset = index->header_len;
		range.len = size >= range.offset ? size - range.offset : UINT64_MAX;
	} else if (text != IMAP_SECTION_ALL) {
		range.len = index->header_len;
	}
	return range;
}

static bool
part_range(const struct message_index *index, uint32_t number,
    enum imap_section_text text, struct imap_section_range *out)
{
	struct index_part part, child;

	message_index_part(index, number, &part);
	switch (text) {
	case IMAP_SECTION_ALL:
		*out = (struct imap_section_range){
		    part.body_offset, part.body_len, part.encoding};
		return true;
	case IMAP_SECTION_MIME:
		*out =
		    (struct imap_section_range){part.header_offset, part.header_len, 0};
		return true;
	case IMAP_SECTION_HEADER:
	case IMAP_SECTION_HEADER_FIELDS:
	case IMAP_SECTION_HEADER_FIELDS_NOT:
	case IMAP_SECTION_TEXT:
		break;
	}
	/* Only a message/rfc822 part has a header and a text of its own. */
	if (part.kind != MIME_MESSAGE || !message_child(index, number, &child))
		return false;
	if (text == IMAP_SECTION_TEXT) {
		uint64_t end = part.body_offset + part.body_len;
		out->offset = child.header_offset + child.header_len;
		out->len = end >= out->offset ? end - out->offset : UINT64_MAX;
	} else {
		out->offset = child.header_offset;
		out->len = child.header_len;
	}
	out->encoding = 0;
	return true;
}

enum imap_section_result
imap_section_find(const struct message_index *index, uint64_t message_size,
    const struct imap_fetch_body *body, struct imap_section_range *out)
{
	struct imap_section_range range;
	uint32_t number;

	if (body->number_count == 0) {
		range = message_range(index, message_size, body->text);
	} else {
		if (!message_index_find(
			index, body->numbers, body->number_count, &number))
			return IMAP_SECTION_NIL;
		if (number >= index->part_count)
			return IMAP_SECTION_DAMAGED;
		if (!part_range(index, number, body->text, &range))
			return IMAP_SECTION_NIL;
	}
	if (!range_fits(&range, message_size))
		return IMAP_SECTION_DAMAGED;
	*out = range;
	return IMAP_SECTION_FOUND;
}

void
imap_section_partial(const struct imap_fetch_body *body, uint64_t *offset, uint64_t *len)
{
	if (!body->partial)
		return;
	uint64_t skip = body->offset < *len ? body->offset : *len;
	*offset += skip;
	*len -= skip;
	if (*len > body->length)
		*len = body->length;
}

static bool
field_is_named(const struct imap_fetch_body *body, struct slice name)
{
	for (size_t i = 0; i < body->field_count; i++)
		if (slice_equal_nocase(body->fields[i], name))
			return true;
	return false;
}

void
imap_section_header_fields(
    const struct imap_fetch_body *body, struct slice block, struct buf *out)
{
	bool wanted = body->text == IMAP_SECTION_HEADER_FIELDS;
	struct header_iter it;
	struct header_field field;

	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		if (field_is_named(body, field.name) != wanted)
			continue;
		buf_append(out, field.whole);
		if (!slice_has_suffix(field.whole, SLICE("\n")))
			buf_append(out, SLICE("\r\n"));
	}
	buf_append(out, SLICE("\r\n"));
}
