/*
 * FETCH responses.
 *
 * A message is planned before its first byte is written (index record decoded, body and
 * file handles open, subsets and decoded parts made), so that a response that has begun
 * can always be finished.
 */
#include "imapd/imap_fetch_write.h"

#include "text/date.h"
#include "text/encoding.h"

enum {
	SCRATCH_MAX = 64 * 1024 * 1024, /* bytes; a rebuilt index record lies there */
	HEAD_MAX = 160, /* bytes of "* n FETCH (UID u RFC822.SIZE n MODSEQ (m)" */
};

#define ITEMS_OF_INDEX                                                                   \
	(IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY | IMAP_FETCH_BODYSTRUCTURE |              \
	    IMAP_FETCH_PREVIEW)

/* ---- formatting by hand ---- */

static char *
put_text(char *p, const char *text, size_t len)
{
	memcpy(p, text, len);
	return p + len;
}
#define PUT(p, literal) put_text((p), (literal), sizeof(literal) - 1)

static char *
put_u64(char *p, uint64_t value)
{
	char digits[20];
	size_t n = 0;
	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (n)
		*p++ = digits[--n];
	return p;
}

static struct slice
flags_text(struct imap_fetch_writer *w, const struct message_record *record)
{
	struct imap_flags_cache *cache = &w->flags;
	bool recent = w->s->recent_count && imap_is_recent(w->s, record->uid);
	if (!cache->valid || cache->flags != record->flags ||
	    cache->keywords != record->keywords || cache->recent != recent) {
		buf_reset(&cache->text);
		imap_resp_flags(&cache->text, record->flags, record->keywords, w->names,
		    w->name_count, recent);
		cache->flags = record->flags;
		cache->keywords = record->keywords;
		cache->recent = recent;
		cache->valid = true;
	}
	return buf_slice(&cache->text);
}

/* "* n FETCH (" and the items that need nothing but the record. */
static char
write_head(struct imap_fetch_writer *w, const struct message_record *record, uint32_t msn,
    uint32_t items)
{
	struct buf *out = imap_out(w->s);
	struct slice flags =
	    items & IMAP_FETCH_FLAGS ? flags_text(w, record) : SLICE_NULL;
	char *start = buf_reserve(out, HEAD_MAX + flags.len);
	char separator = '(';

	if (!start)
		return separator;
	char *p = PUT(start, "* ");
	if (imap_is_uidonly(w->s)) {
		p = put_u64(p, record->uid);
		p = PUT(p, " UIDFETCH ");
		if (!w->args->asked_uid)
			items &= ~(uint32_t)IMAP_FETCH_UID;
	} else {
		p = put_u64(p, msn);
		p = PUT(p, " FETCH ");
	}
	if (items & IMAP_FETCH_UID) {
		*p++ = separator;
		separator = ' ';
		p = PUT(p, "UID ");
		p = put_u64(p, record->uid);
	}
	if (items & IMAP_FETCH_FLAGS) {
		*p++ = separator;
		separator = ' ';
		p = PUT(p, "FLAGS ");
		p = put_text(p, flags.ptr, flags.len);
	}
	if (items & IMAP_FETCH_SIZE) {
		*p++ = separator;
		separator = ' ';
		p = PUT(p, "RFC822.SIZE ");
		p = put_u64(p, record->size);
	}
	if (items & IMAP_FETCH_MODSEQ) {
		*p++ = separator;
		separator = ' ';
		p = PUT(p, "MODSEQ (");
		p = put_u64(p, record->modseq);
		*p++ = ')';
	}
	buf_commit(out, (size_t)(p - start));
	return separator;
}

static void
item_begin(struct buf *out, char *separator, struct slice name)
{
	buf_append_byte(out, *separator);
	*separator = ' ';
	buf_append(out, name);
	buf_append_byte(out, ' ');
}

static void
item_date(struct buf *out, char *separator, struct slice name, struct date date)
{
	item_begin(out, separator, name);
	buf_append_byte(out, '"');
	date_write_imap(date, out);
	buf_append_byte(out, '"');
}

/* Items of the record that are asked for more seldom. */
static void
write_rest(struct imap_session *s, struct buf *out, char *separator,
    const struct message_record *record, uint32_t items)
{
	if (items & IMAP_FETCH_INTERNALDATE)
		item_date(out, separator, SLICE("INTERNALDATE"),
		    (struct date){record->internaldate_s, record->internaldate_zone_min});
	if (items & IMAP_FETCH_EMAILID) {
		item_begin(out, separator, SLICE("EMAILID"));
		buf_append_byte(out, '(');
		imap_write_emailid(s, out, record->email_id);
		buf_append_byte(out, ')');
	}
	if (items & IMAP_FETCH_THREADID) {
		item_begin(out, separator, SLICE("THREADID"));
		buf_append(out, SLICE("NIL")); /* RFC 8474 section 5.2 */
	}
	if (items & IMAP_FETCH_SAVEDATE)
		item_date(out, separator, SLICE("SAVEDATE"),
		    (struct date){record->save_date_s, 0});
}

static void
write_index(struct imap_fetch_writer *w, char *separator,
    const struct message_index *index, uint32_t items)
{
	struct buf *out = imap_out(w->s);
	if (items & IMAP_FETCH_ENVELOPE) {
		item_begin(out, separator, SLICE("ENVELOPE"));
		buf_append(out, index->envelope);
	}
	if (items & IMAP_FETCH_BODY) {
		item_begin(out, separator, SLICE("BODY"));
		buf_append(out, index->body);
	}
	if (items & IMAP_FETCH_BODYSTRUCTURE) {
		item_begin(out, separator, SLICE("BODYSTRUCTURE"));
		buf_append(out, index->bodystructure);
	}
	if (items & IMAP_FETCH_PREVIEW) {
		item_begin(out, separator, SLICE("PREVIEW"));
		imap_resp_string(out, index->preview, imap_is_utf8(w->s));
	}
}

/* ---- sections ---- */

enum piece_kind { PIECE_NIL, PIECE_NUMBER, PIECE_MAP, PIECE_FILE, PIECE_BYTES };

/* What one body item is answered with. */
struct piece {
	enum piece_kind kind;
	uint64_t offset;           /* in the message (MAP, FILE) or in w->bytes (BYTES) */
	uint64_t len;              /* or the number */
	bool binary;               /* literal8 */
	struct body_handle handle; /* FILE: its own */
};

struct plan {
	struct body_handle body;
	bool has_body;
	struct piece *pieces; /* one for each of args->bodies */
	size_t count;
};

static void
plan_close(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		if (plan->pieces[i].kind == PIECE_FILE)
			body_handle_close(&plan->pieces[i].handle);
	if (plan->has_body)
		body_handle_close(&plan->body);
	plan->has_body = false;
	plan->count = 0;
}

/* The bytes made from `start` on are the item's, but for its partial. */
static void
piece_bytes(struct imap_fetch_writer *w, const struct imap_fetch_body *body, size_t start,
    struct piece *piece)
{
	piece->kind = PIECE_BYTES;
	piece->offset = start;
	piece->len = w->bytes.len - start;
	imap_section_partial(body, &piece->offset, &piece->len);
}

static void
decode(uint8_t encoding, struct slice in, struct buf *out)
{
	if (encoding == 1)
		base64_decode_lenient(in, out);
	else
		qp_decode(in, out);
}

/* BINARY and BINARY.SIZE (RFC 3516 section 4.3). */
static enum status
plan_binary(struct imap_fetch_writer *w, const struct imap_fetch_body *body,
    const struct plan *plan, const struct imap_section_range *range, struct piece *piece)
{
	struct slice raw = slice_sub(
	    body_handle_bytes(&plan->body), (size_t)range->offset, (size_t)range->len);

	if (range->encoding > 2) {
		w->unknown_cte = true;
		piece->kind = PIECE_NIL;
		return STATUS_OK;
	}
	if (range->encoding == 0) {
		*piece = (struct piece){
		    .kind = PIECE_MAP, .offset = range->offset, .len = range->len};
		imap_section_partial(body, &piece->offset, &piece->len);
		raw = slice_sub(body_handle_bytes(&plan->body), (size_t)piece->offset,
		    (size_t)piece->len);
	} else {
		size_t start = w->bytes.len;
		if (raw.len > IMAP_FETCH_DECODE_MAX)
			return STATUS_LIMIT;
		decode(range->encoding, raw, &w->bytes);
		if (!buf_ok(&w->bytes))
			return STATUS_LIMIT;
		piece_bytes(w, body, start, piece);
		raw = slice_sub(
		    buf_slice(&w->bytes), (size_t)piece->offset, (size_t)piece->len);
	}
	if (body->kind == IMAP_FETCH_BINARY_SIZE)
		piece->kind = PIECE_NUMBER;
	else
		piece->binary = raw.len && memchr(raw.ptr, '\0', raw.len);
	return STATUS_OK;
}

static enum status
plan_section(struct imap_fetch_writer *w, const struct message_index *index,
    const struct imap_fetch_body *body, const struct plan *plan, struct piece *piece)
{
	struct imap_section_range range;

	switch (imap_section_find(index, plan->body.size, body, &range)) {
	case IMAP_SECTION_NIL:
		*piece = (struct piece){.kind = body->kind == IMAP_FETCH_BINARY_SIZE
		                                    ? PIECE_NUMBER
		                                    : PIECE_NIL};
		return STATUS_OK;
	case IMAP_SECTION_DAMAGED:
		return STATUS_CORRUPT;
	case IMAP_SECTION_FOUND:
		break;
	}
	if (body->kind != IMAP_FETCH_SECTION) {
		enum status status = plan_binary(w, body, plan, &range, piece);
		if (status != STATUS_OK || piece->kind != PIECE_MAP)
			return status;
	} else if (body->text == IMAP_SECTION_HEADER_FIELDS ||
		   body->text == IMAP_SECTION_HEADER_FIELDS_NOT) {
		size_t start = w->bytes.len;
		imap_section_header_fields(body,
		    slice_sub(body_handle_bytes(&plan->body), (size_t)range.offset,
			(size_t)range.len),
		    &w->bytes);
		if (!buf_ok(&w->bytes))
			return STATUS_LIMIT;
		piece_bytes(w, body, start, piece);
		return STATUS_OK;
	} else {
		*piece = (struct piece){
		    .kind = PIECE_MAP, .offset = range.offset, .len = range.len};
		imap_section_partial(body, &piece->offset, &piece->len);
	}
	if (piece->len <= IMAP_FETCH_INLINE_MAX)
		return STATUS_OK;
	body_handle_dup(&plan->body, &piece->handle);
	piece->kind = PIECE_FILE;
	return STATUS_OK;
}

static enum status
plan_make(struct imap_fetch_writer *w, const struct message_record *record,
    const struct message_index *index, struct plan *plan)
{
	const struct imap_fetch_args *args = w->args;
	enum status status =
	    message_body_open(imap_reader(w->s), w->s->box_account, record, &plan->body);
	if (status != STATUS_OK)
		return status;
	plan->has_body = true;
	plan->pieces = ARENA_ARRAY(w->scratch, struct piece, args->body_count);
	if (!plan->pieces)
		return STATUS_LIMIT;
	for (size_t i = 0; i < args->body_count; i++) {
		status = plan_section(w, index, &args->bodies[i], plan, &plan->pieces[i]);
		if (status != STATUS_OK)
			return status;
		plan->count++;
	}
	return STATUS_OK;
}

static void
write_piece(struct imap_fetch_writer *w, const struct plan *plan, struct piece *piece)
{
	struct imap_session *s = w->s;
	struct buf *out = imap_out(s);

	switch (piece->kind) {
	case PIECE_NIL:
		buf_append(out, SLICE("NIL"));
		return;
	case PIECE_NUMBER:
		buf_append_u64(out, piece->len);
		return;
	case PIECE_MAP:
	case PIECE_FILE:
	case PIECE_BYTES:
		break;
	}
	imap_resp_literal_head(out, piece->len, piece->binary);
	if (piece->kind == PIECE_MAP) {
		buf_append(out, slice_sub(body_handle_bytes(&plan->body),
				    (size_t)piece->offset, (size_t)piece->len));
	} else if (piece->kind == PIECE_BYTES) {
		buf_append(out, slice_sub(buf_slice(&w->bytes), (size_t)piece->offset,
				    (size_t)piece->len));
	} else {
		w->turn_bytes += out->len + piece->len;
		imap_out_range(s, &piece->handle, piece->offset, piece->len);
		piece->kind = PIECE_NIL; /* the handle is not ours any more */
	}
	if (out->len >= IMAP_TURN_BYTES) {
		w->turn_bytes += out->len;
		imap_out_flush(s);
	}
}

/* ---- one message ---- */

void
imap_fetch_writer_init(struct imap_fetch_writer *w, struct imap_session *s,
    const struct imap_fetch_args *args)
{
	*w = (struct imap_fetch_writer){
	    .s = s,
	    .args = args,
	    .scratch = arena_new(SCRATCH_MAX),
	    .needs_index = args->items & ITEMS_OF_INDEX,
	    .needs_body = args->body_count > 0,
	};
	for (size_t i = 0; i < args->body_count; i++)
		if (args->bodies[i].number_count ||
		    args->bodies[i].text != IMAP_SECTION_ALL)
			w->needs_index = true;
	buf_init(&w->flags.text, IMAP_FETCH_FLAGS_TEXT_MAX);
	buf_init(&w->bytes, IMAP_FETCH_DECODE_MAX);
}

void
imap_fetch_writer_fini(struct imap_fetch_writer *w)
{
	arena_free(&w->scratch);
	buf_fini(&w->flags.text);
	buf_fini(&w->bytes);
}

static enum status
index_load(struct imap_fetch_writer *w, const struct message_record *record,
    struct message_index *out)
{
	struct slice bytes;
	enum status status = message_index_bytes(
	    imap_reader(w->s), w->s->box_account, record, w->scratch, &bytes);
	if (status != STATUS_OK)
		return status;
	return message_index_decode(bytes, out) ? STATUS_OK : STATUS_CORRUPT;
}

static void
write_record(struct imap_fetch_writer *w, char *separator,
    const struct message_record *record, uint32_t msn, uint32_t items)
{
	*separator = write_head(w, record, msn, items);
	if (items & (IMAP_FETCH_INTERNALDATE | IMAP_FETCH_EMAILID | IMAP_FETCH_THREADID |
			IMAP_FETCH_SAVEDATE))
		write_rest(w->s, imap_out(w->s), separator, record, items);
}

/* A response that needs more than the record. */
static enum status
write_planned(struct imap_fetch_writer *w, const struct message_record *record,
    uint32_t msn, uint32_t items)
{
	struct message_index index = {0};
	struct plan plan = {0};
	enum status status = STATUS_OK;
	char separator;

	arena_reset(w->scratch);
	buf_reset(&w->bytes);
	if (w->needs_index)
		status = index_load(w, record, &index);
	if (status == STATUS_OK && w->needs_body)
		status = plan_make(w, record, w->needs_index ? &index : NULL, &plan);
	if (status != STATUS_OK) {
		plan_close(&plan);
		return status;
	}
	write_record(w, &separator, record, msn, items);
	if (items & ITEMS_OF_INDEX)
		write_index(w, &separator, &index, items);
	for (size_t i = 0; i < plan.count; i++) {
		item_begin(imap_out(w->s), &separator, w->args->bodies[i].label);
		write_piece(w, &plan, &plan.pieces[i]);
	}
	buf_append(imap_out(w->s), SLICE(")\r\n"));
	plan_close(&plan);
	return STATUS_OK;
}

enum status
imap_fetch_write(struct imap_fetch_writer *w, const struct message_record *record,
    uint32_t msn, uint32_t items)
{
	char separator;

	if (w->needs_index || w->needs_body)
		return write_planned(w, record, msn, items);
	write_record(w, &separator, record, msn, items);
	buf_append(imap_out(w->s), SLICE(")\r\n"));
	return STATUS_OK;
}
