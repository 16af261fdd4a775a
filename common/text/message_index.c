/*
 * The derived record of a message: built once at delivery, read by every FETCH.
 *
 * Record, all numbers big-endian:
 *	0	1	version (MESSAGE_INDEX_VERSION)
 *	1	1	bits: 1 = the subject marks a reply
 *	2	2	zero
 *	4	4	part count
 *	8	8	header length
 *	16	8	date, seconds, two's complement; INT64_MIN when bad
 *	24	4	zone, minutes, two's complement
 *	28	4*13	lengths of the texts, in the order of enum text_id
 *	80	...	the texts
 *	end-4	4	CRC-32C of everything before
 * A part is PART_BYTES: four 64-bit numbers (header offset and length, body offset and
 * length), parent (16 bits), kind and encoding (8 bits each).
 *
 * Whatever a hostile message holds, the record stays below MESSAGE_INDEX_MAX: each text
 * has a limit, and the structures have a bare form.  Pure.
 */
#include "text/message_index.h"

#include <assert.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "text/date.h"
#include "text/encoding.h"
#include "text/imap_structure.h"
#include "text/preview_int.h"
#include "text/utf8_int.h"

enum text_id {
	TEXT_ENVELOPE,
	TEXT_BODY,
	TEXT_BODYSTRUCTURE,
	TEXT_SUBJECT_KEY,
	TEXT_FROM_KEY,
	TEXT_TO_KEY,
	TEXT_CC_KEY,
	TEXT_FROM_DISPLAY,
	TEXT_TO_DISPLAY,
	TEXT_MESSAGE_ID,
	TEXT_REFERENCES,
	TEXT_PREVIEW,
	TEXT_PARTS,
	TEXT_COUNT
};

enum {
	LENGTHS_AT = 28,
	TEXTS_AT = LENGTHS_AT + 4 * TEXT_COUNT,
	CRC_BYTES = 4,
	PART_BYTES = 36,
	PARENT_NONE = 0xffff,

	STRUCTURE_MAX = 1024 * 1024, /* bytes of envelope, body, bodystructure each */
	KEY_MAX = 500,               /* bytes of a sort key */
	ID_MAX = 998,                /* bytes of a message id; a line's limit */
	IDS_MAX = 500,               /* references kept, the oldest */
	REFERENCES_MAX = 64 * 1024,  /* bytes of them */
	DECODED_MAX = 64 * 1024,     /* bytes of a decoded field before it is cut */
	ENVELOPE_ARENA_MAX = 16 * 1024 * 1024, /* bytes */
};

static_assert(3 * STRUCTURE_MAX + 8 * KEY_MAX + ID_MAX + REFERENCES_MAX +
		      PART_BYTES * (int)MIME_PARTS_MAX + 4 * (int)PREVIEW_CHARS_MAX +
		      TEXTS_AT + CRC_BYTES <
		  MESSAGE_INDEX_MAX,
    "the limits keep a record below its maximum");
static_assert((int)MIME_PARTS_MAX < (int)PARENT_NONE, "a parent's index fits 16 bits");
static_assert(
    (int)IMAP_STRUCTURE_BARE_MAX < (int)STRUCTURE_MAX, "the bare form always fits");

struct builder {
	struct slice message;
	struct arena *arena;
	struct mime_part *root;
	uint32_t part_count;
	struct envelope_fields fields;
	struct buf *out;
	size_t start;      /* of the record in out */
	size_t text_start; /* of the text being written */
	struct buf scratch, decoded;
};

/* Ends a text that was appended to out and writes its length into the record's head. */
static void
text_end(struct builder *b, enum text_id id)
{
	if (!buf_ok(b->out))
		return;
	be32_put(b->out->ptr + b->start + LENGTHS_AT + 4 * (size_t)id,
	    (uint32_t)(b->out->len - b->text_start));
	b->text_start = b->out->len;
}

static void
text_add(struct builder *b, enum text_id id, struct slice text)
{
	buf_append(b->out, text);
	text_end(b, id);
}

static void
envelope_add(struct builder *b)
{
	struct envelope_fields fields = b->fields;
	buf_reset(&b->scratch);
	imap_envelope_write(&fields, &b->scratch);
	if (!buf_ok(&b->scratch)) {
		/* Over a megabyte of addresses: no client means that. */
		struct slice date = fields.date, id = fields.message_id;
		buf_reset(&b->scratch);
		fields = (struct envelope_fields){0};
		fields.date = date.len <= ID_MAX ? date : SLICE_NULL;
		fields.message_id = id.len <= ID_MAX ? id : SLICE_NULL;
		fields.subject = slice_sub(b->fields.subject, 0, ID_MAX);
		imap_envelope_write(&fields, &b->scratch);
	}
	text_add(b, TEXT_ENVELOPE, buf_slice(&b->scratch));
}

static void
structure_add(struct builder *b, enum text_id id)
{
	bool extended = id == TEXT_BODYSTRUCTURE;
	struct buf *scratch = &b->scratch;
	buf_reset(scratch);
	imap_structure_write(b->root, b->message, extended, false, scratch);
	if (!buf_ok(scratch)) {
		buf_reset(scratch);
		imap_structure_write(b->root, b->message, extended, true, scratch);
		ENSURE(buf_ok(scratch));
	}
	text_add(b, id, buf_slice(scratch));
}

/* Casefolded, cut to KEY_MAX. */
static void
key_add(struct builder *b, enum text_id id, struct slice text)
{
	buf_reset(&b->scratch);
	utf8_casefold(utf8_cut(text, KEY_MAX), &b->scratch);
	text_add(b, id, utf8_cut(buf_slice(&b->scratch), KEY_MAX));
}

/* RFC 2047 words resolved; the text lives until the next call. */
static struct slice
decode(struct builder *b, struct slice value)
{
	buf_reset(&b->decoded);
	header_decode(utf8_cut(value, DECODED_MAX / 4), &b->decoded);
	return slice_trim(buf_slice(&b->decoded));
}

static bool
subject_key_add(struct builder *b)
{
	bool is_reply = false;
	struct buf base;
	struct slice subject = decode(b, b->fields.subject);
	buf_init(&base, DECODED_MAX);
	header_base_subject(subject, &base, &is_reply);
	key_add(b, TEXT_SUBJECT_KEY, buf_slice(&base));
	buf_fini(&base);
	return is_reply;
}

/* RFC 5256 section 3: the mailbox of the first address. */
static void
address_key_add(struct builder *b, enum text_id id, const struct address_array *array)
{
	key_add(b, id, array->count ? array->list[0].mailbox : SLICE_NULL);
}

/* RFC 5957 section 3: the first address's name, else its mailbox@host. */
static void
display_add(struct builder *b, enum text_id id, const struct address_array *array)
{
	if (array->count == 0) {
		text_end(b, id);
		return;
	}
	const struct list_address *a = &array->list[0];
	struct slice text = decode(b, a->name);
	if (text.len == 0) {
		buf_reset(&b->decoded);
		buf_append(&b->decoded, slice_sub(a->mailbox, 0, KEY_MAX));
		if (a->host.len) {
			buf_append_byte(&b->decoded, '@');
			buf_append(&b->decoded, slice_sub(a->host, 0, KEY_MAX));
		}
		text = buf_slice(&b->decoded);
	}
	key_add(b, id, text);
}

/* RFC 5256, REFERENCES step 1: References, else the first id of In-Reply-To. */
static void
references_add(struct builder *b)
{
	struct slice *ids = ARENA_ARRAY(b->arena, struct slice, IDS_MAX);
	struct arena *arena = b->arena;
	size_t count = 0;
	if (ids && b->fields.references.ptr)
		count = header_message_ids(b->fields.references, arena, ids, IDS_MAX);
	if (ids && count == 0 && b->fields.in_reply_to.ptr)
		count = header_message_ids(b->fields.in_reply_to, arena, ids, 1);
	size_t written = 0;
	for (size_t i = 0; i < count; i++) {
		if (ids[i].len > ID_MAX || written + ids[i].len + 1 > REFERENCES_MAX)
			continue;
		if (written)
			buf_append_byte(b->out, ' ');
		buf_append(b->out, ids[i]);
		written += ids[i].len + 1;
	}
	text_end(b, TEXT_REFERENCES);
}

static void
message_id_add(struct builder *b)
{
	struct slice id = SLICE_NULL;
	if (b->fields.message_id.ptr &&
	    header_message_ids(b->fields.message_id, b->arena, &id, 1) && id.len > ID_MAX)
		id = SLICE_NULL;
	text_add(b, TEXT_MESSAGE_ID, id);
}

static uint8_t
encoding_code(struct slice encoding)
{
	if (slice_equal(encoding, SLICE("7bit")) ||
	    slice_equal(encoding, SLICE("8bit")) ||
	    slice_equal(encoding, SLICE("binary")))
		return 0;
	if (slice_equal(encoding, SLICE("base64")))
		return 1;
	return slice_equal(encoding, SLICE("quoted-printable")) ? 2 : 3;
}

/* The part behind `part` in document order, or null. */
static const struct mime_part *
part_after(const struct mime_part *part)
{
	if (part->child)
		return part->child;
	while (part && !part->next)
		part = part->parent;
	return part ? part->next : NULL;
}

static void
parts_add(struct builder *b)
{
	uint32_t number = 0;
	for (const struct mime_part *p = b->root; p; p = part_after(p), number++) {
		ENSURE(p->index == number);
		char *to = buf_reserve(b->out, PART_BYTES);
		if (!to)
			return;
		be64_put(to, p->header_offset);
		be64_put(to + 8, p->header_len);
		be64_put(to + 16, p->body_offset);
		be64_put(to + 24, p->body_len);
		be16_put(to + 32, p->parent ? (uint16_t)p->parent->index : PARENT_NONE);
		to[34] = (char)p->kind;
		to[35] = (char)encoding_code(p->encoding);
		buf_commit(b->out, PART_BYTES);
	}
	ENSURE(number == b->part_count);
	text_end(b, TEXT_PARTS);
}

static void
head_add(struct builder *b)
{
	struct date date = {INT64_MIN, 0};
	char head[TEXTS_AT] = {0};
	if (!b->fields.date.ptr || !date_parse_mail(b->fields.date, &date))
		date = (struct date){INT64_MIN, 0};
	head[0] = MESSAGE_INDEX_VERSION;
	be32_put(head + 4, b->part_count);
	be64_put(head + 8, b->root->header_len);
	be64_put(head + 16, (uint64_t)date.unix_s);
	be32_put(head + 24, (uint32_t)date.zone_min);
	buf_append(b->out, slice_make(head, sizeof(head)));
	b->text_start = b->out->len;
}

static void
record_write(struct builder *b)
{
	head_add(b);
	envelope_add(b);
	structure_add(b, TEXT_BODY);
	structure_add(b, TEXT_BODYSTRUCTURE);
	bool is_reply = subject_key_add(b);
	address_key_add(b, TEXT_FROM_KEY, &b->fields.from);
	address_key_add(b, TEXT_TO_KEY, &b->fields.to);
	address_key_add(b, TEXT_CC_KEY, &b->fields.cc);
	display_add(b, TEXT_FROM_DISPLAY, &b->fields.from);
	display_add(b, TEXT_TO_DISPLAY, &b->fields.to);
	message_id_add(b);
	references_add(b);
	preview_write(b->root, b->message, b->out);
	text_end(b, TEXT_PREVIEW);
	parts_add(b);
	if (!buf_ok(b->out))
		return;
	b->out->ptr[b->start + 1] = is_reply ? 1 : 0;
	buf_append_be32(b->out, crc32c(0, slice_from(buf_slice(b->out), b->start)));
}

bool
message_index_build(struct slice message, struct buf *out)
{
	struct builder b = {.message = message, .out = out, .start = out->len};
	struct arena *envelope_arena = arena_new(ENVELOPE_ARENA_MAX);

	b.arena = arena_new(MIME_ARENA_MAX);
	buf_init(&b.scratch, STRUCTURE_MAX);
	buf_init(&b.decoded, DECODED_MAX);
	b.root = mime_parse(message, b.arena, &b.part_count);
	envelope_fields_parse(
	    slice_sub(message, 0, b.root->header_len), envelope_arena, &b.fields);
	record_write(&b);
	buf_fini(&b.scratch);
	buf_fini(&b.decoded);
	arena_free(&b.arena);
	arena_free(&envelope_arena);
	return buf_ok(out);
}

bool
message_index_decode(struct slice record, struct message_index *out)
{
	if (record.len < TEXTS_AT + CRC_BYTES || record.ptr[0] != MESSAGE_INDEX_VERSION)
		return false;
	struct slice covered = slice_sub(record, 0, record.len - CRC_BYTES);
	if (be32_get(record.ptr + covered.len) != crc32c(0, covered))
		return false;

	struct slice texts[TEXT_COUNT];
	size_t at = TEXTS_AT;
	for (size_t i = 0; i < TEXT_COUNT; i++) {
		size_t len = be32_get(record.ptr + LENGTHS_AT + 4 * i);
		if (len > covered.len - at)
			return false;
		texts[i] = len ? slice_sub(record, at, len) : SLICE_NULL;
		at += len;
	}
	uint32_t parts = be32_get(record.ptr + 4);
	if (at != covered.len || parts == 0 || parts > MIME_PARTS_MAX ||
	    texts[TEXT_PARTS].len != (size_t)parts * PART_BYTES)
		return false;
	*out = (struct message_index){
	    .envelope = texts[TEXT_ENVELOPE],
	    .body = texts[TEXT_BODY],
	    .bodystructure = texts[TEXT_BODYSTRUCTURE],
	    .date_s = (int64_t)be64_get(record.ptr + 16),
	    .date_zone_min = (int32_t)be32_get(record.ptr + 24),
	    .subject_key = texts[TEXT_SUBJECT_KEY],
	    .subject_is_reply = record.ptr[1] & 1,
	    .from_key = texts[TEXT_FROM_KEY],
	    .to_key = texts[TEXT_TO_KEY],
	    .cc_key = texts[TEXT_CC_KEY],
	    .from_display = texts[TEXT_FROM_DISPLAY],
	    .to_display = texts[TEXT_TO_DISPLAY],
	    .message_id = texts[TEXT_MESSAGE_ID],
	    .references = texts[TEXT_REFERENCES],
	    .preview = texts[TEXT_PREVIEW],
	    .header_len = be64_get(record.ptr + 8),
	    .part_count = parts,
	    .parts = texts[TEXT_PARTS],
	};
	return true;
}

void
message_index_part(
    const struct message_index *index, uint32_t number, struct index_part *out)
{
	ENSURE(number < index->part_count);
	const char *from = index->parts.ptr + (size_t)number * PART_BYTES;
	out->header_offset = be64_get(from);
	out->header_len = be64_get(from + 8);
	out->body_offset = be64_get(from + 16);
	out->body_len = be64_get(from + 24);
	out->parent = be16_get(from + 32);
	out->kind = (uint8_t)from[34];
	out->encoding = (uint8_t)from[35];
}

/* The nth child of a part, from 1; false when there is none. */
static bool
find_child(const struct message_index *index, uint32_t parent, uint32_t nth,
    uint32_t *out_number)
{
	struct index_part part;
	for (uint32_t i = parent + 1; i < index->part_count && nth; i++) {
		message_index_part(index, i, &part);
		if (part.parent != parent || --nth > 0)
			continue;
		*out_number = i;
		return true;
	}
	return false;
}

bool
message_index_find(const struct message_index *index, const uint32_t *numbers,
    size_t count, uint32_t *out_number)
{
	uint32_t at = 0;
	struct index_part part;
	for (size_t i = 0; i < count; i++) {
		message_index_part(index, at, &part);
		if (i > 0 && part.kind == MIME_LEAF)
			return false;
		/* A message's numbers are those of its body (section 6.4.5.1). */
		if (i > 0 && part.kind == MIME_MESSAGE) {
			if (!find_child(index, at, 1, &at))
				return false;
			message_index_part(index, at, &part);
		}
		if (part.kind == MIME_MULTIPART) {
			if (!find_child(index, at, numbers[i], &at))
				return false;
		} else if (numbers[i] != 1) {
			return false;
		}
	}
	*out_number = at;
	return true;
}
