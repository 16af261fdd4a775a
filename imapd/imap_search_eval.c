/*
 * Evaluation of a search tree on one message.  Recursion is bounded by
 * IMAP_SEARCH_DEPTH_MAX (plus one level for UN... keys).
 */
#include "imapd/imap_search_eval.h"

#include "imapd/imap_int.h"
#include "text/date.h"
#include "text/encoding.h"

enum {
	ID_TEXT_MAX = 64,       /* bytes of an object id's text */
	KEEP_MAX = 1024 * 1024, /* bytes of a buffer that is kept for the next message */
};

void
imap_search_eval_init(struct imap_search_eval *eval, struct store_reader *reader,
    struct account_id account, struct imap_session *session, int64_t now_s)
{
	*eval = (struct imap_search_eval){
	    .reader = reader,
	    .account = account,
	    .session = session,
	    .now_s = now_s,
	    .scratch = arena_new(IMAP_SEARCH_SCRATCH_MAX),
	};
	buf_init(&eval->header_text, IMAP_SEARCH_MESSAGE_MAX);
	buf_init(&eval->mime_text, IMAP_SEARCH_MESSAGE_MAX);
	buf_init(&eval->body_text, IMAP_SEARCH_MESSAGE_MAX);
	buf_init(&eval->raw, IMAP_SEARCH_MESSAGE_MAX);
	buf_init(&eval->utf8, IMAP_SEARCH_MESSAGE_MAX);
}

void
imap_search_eval_fini(struct imap_search_eval *eval)
{
	imap_search_done(eval);
	arena_free(&eval->scratch);
	buf_fini(&eval->header_text);
	buf_fini(&eval->mime_text);
	buf_fini(&eval->body_text);
	buf_fini(&eval->raw);
	buf_fini(&eval->utf8);
}

/* ---- before the first message ---- */

enum status
imap_search_resolve(struct imap_search_node *root, const struct mailbox_view *view,
    const struct imap_uid_ranges *saved, struct arena *arena)
{
	if (root->key == IMAP_SEARCH_MSN || root->key == IMAP_SEARCH_UID) {
		/* Numbers beyond the last are no error here: they match nothing. */
		bool uid = root->key == IMAP_SEARCH_UID;
		if (imap_seqset_resolve(&root->set, view, uid, true, saved, arena,
			&root->ranges) != IMAP_SEQSET_OK)
			return STATUS_LIMIT;
	}
	for (struct imap_search_node *n = root->child; n; n = n->next) {
		enum status status = imap_search_resolve(n, view, saved, arena);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

void
imap_search_keywords(
    struct imap_search_node *root, const struct slice *names, size_t name_count)
{
	if (root->key == IMAP_SEARCH_KEYWORD) {
		root->keyword_bit = -1;
		for (size_t i = 0; i < name_count; i++)
			if (slice_equal_nocase(names[i], root->name))
				root->keyword_bit = (int8_t)i;
	}
	for (struct imap_search_node *n = root->child; n; n = n->next)
		imap_search_keywords(n, names, name_count);
}

/* ---- the message's parts, read when needed ---- */

const struct message_index *
imap_search_index(struct imap_search_eval *eval)
{
	struct slice bytes;

	if (eval->has_index)
		return &eval->index;
	enum status status = message_index_bytes(
	    eval->reader, eval->account, eval->record, eval->scratch, &bytes);
	if (status == STATUS_OK && !message_index_decode(bytes, &eval->index))
		status = STATUS_CORRUPT;
	if (status != STATUS_OK) {
		if (eval->status == STATUS_OK && status != STATUS_NOT_FOUND)
			eval->status = status;
		return NULL;
	}
	eval->has_index = true;
	return &eval->index;
}

/* The message's bytes; empty when they cannot be read. */
static struct slice
message_bytes(struct imap_search_eval *eval)
{
	if (!eval->has_body) {
		enum status status = message_body_open(
		    eval->reader, eval->account, eval->record, &eval->body);
		if (status != STATUS_OK) {
			if (eval->status == STATUS_OK && status != STATUS_NOT_FOUND)
				eval->status = status;
			return SLICE("");
		}
		eval->has_body = true;
	}
	return body_handle_bytes(&eval->body);
}

static struct slice
header_block(struct imap_search_eval *eval)
{
	struct slice bytes = message_bytes(eval);
	return slice_sub(bytes, 0, header_block_length(bytes));
}

void
imap_search_done(struct imap_search_eval *eval)
{
	if (eval->has_body)
		body_handle_close(&eval->body);
	eval->has_body = eval->has_index = false;
	eval->has_body_text = eval->has_header_text = false;
	eval->record = NULL;
	arena_reset(eval->scratch);
	/* A big one's memory is not kept for the rest of the mailbox. */
	struct buf *bufs[] = {&eval->header_text, &eval->mime_text, &eval->body_text,
	    &eval->raw, &eval->utf8};
	for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
		bool big = bufs[i]->cap > KEEP_MAX;
		buf_reset(bufs[i]);
		if (big)
			buf_release_if_empty(bufs[i]);
	}
}

/* Overflow of a buffer is the message's limit. */
static bool
buf_fine(struct imap_search_eval *eval, const struct buf *b)
{
	if (buf_ok(b))
		return true;
	if (eval->status == STATUS_OK)
		eval->status = STATUS_LIMIT;
	return false;
}

/* ---- text ---- */

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

/* One field's value, decoded and folded, behind what is in `out`. */
static void
value_into(struct imap_search_eval *eval, struct slice value, struct buf *out)
{
	struct slice plain = header_unfold(value, eval->scratch);
	if (!plain.ptr && value.len) {
		eval->status = STATUS_LIMIT;
		return;
	}
	eval->work += value.len;
	buf_reset(&eval->utf8);
	header_decode(plain, &eval->utf8);
	fold_into(buf_slice(&eval->utf8), out);
}

/* "name: value" lines of a header block. */
static void
header_into(struct imap_search_eval *eval, struct slice block, struct buf *out)
{
	struct header_iter it;
	struct header_field field;

	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		fold_into(field.name, out);
		buf_append(out, SLICE(": "));
		value_into(eval, field.value, out);
		buf_append(out, SLICE("\r\n"));
	}
}

/* What a leaf's header says of it. */
static bool
is_text(struct imap_search_eval *eval, struct slice header, struct slice *out_charset)
{
	struct header_field field;
	struct header_value type;

	*out_charset = SLICE("US-ASCII");
	if (!header_find(header, SLICE("Content-Type"), &field))
		return true; /* RFC 2045 section 5.2: text/plain */
	header_value_parse(field.value, eval->scratch, &type);
	if (type.type.len && !slice_equal(type.type, SLICE("text")))
		return false;
	struct slice charset = header_value_parameter(&type, SLICE("charset"));
	if (charset.len)
		*out_charset = charset;
	return true;
}

static void
leaf_into(struct imap_search_eval *eval, const struct index_part *part,
    struct slice header, struct slice bytes, struct buf *out)
{
	struct slice charset;

	if (!is_text(eval, header, &charset))
		return;
	eval->work += bytes.len;
	if (part->encoding == 1 || part->encoding == 2) {
		buf_reset(&eval->raw);
		if (part->encoding == 1)
			base64_decode_lenient(bytes, &eval->raw);
		else
			qp_decode(bytes, &eval->raw);
		if (!buf_fine(eval, &eval->raw))
			return;
		bytes = buf_slice(&eval->raw);
	}
	/* ASCII is the same in all charsets of mail but ISO-2022, which escapes. */
	if (!ascii_only(bytes) || (bytes.len && memchr(bytes.ptr, 0x1b, bytes.len))) {
		buf_reset(&eval->utf8);
		(void)charset_to_utf8(charset, bytes, &eval->utf8);
		if (!buf_fine(eval, &eval->utf8))
			return;
		bytes = buf_slice(&eval->utf8);
	}
	fold_into(bytes, out);
	buf_append_byte(out, '\0');
}

static void
body_text_make(struct imap_search_eval *eval)
{
	const struct message_index *index = imap_search_index(eval);
	struct slice bytes = message_bytes(eval);

	eval->has_body_text = true;
	if (!index)
		return;
	for (uint32_t i = 0; i < index->part_count; i++) {
		struct index_part part, parent = {.kind = MIME_MULTIPART};
		message_index_part(index, i, &part);
		if (part.parent < index->part_count)
			message_index_part(index, part.parent, &parent);
		struct slice header =
		    slice_sub(bytes, (size_t)part.header_offset, (size_t)part.header_len);
		if (i > 0 && parent.kind == MIME_MESSAGE) {
			header_into(eval, header, &eval->body_text);
			buf_append_byte(&eval->body_text, '\0');
		} else if (i > 0) {
			header_into(eval, header, &eval->mime_text);
		}
		if (part.kind == MIME_LEAF)
			leaf_into(eval, &part, header,
			    slice_sub(
				bytes, (size_t)part.body_offset, (size_t)part.body_len),
			    &eval->body_text);
	}
	(void)buf_fine(eval, &eval->body_text);
	(void)buf_fine(eval, &eval->mime_text);
}

static bool
holds(struct imap_search_eval *eval, const struct buf *text, struct slice needle)
{
	eval->work += text->len / 8; /* searching is that much cheaper than decoding */
	return slice_find(buf_slice(text), needle) != SIZE_MAX;
}

static bool
body_holds(struct imap_search_eval *eval, struct slice needle)
{
	if (!eval->has_body_text)
		body_text_make(eval);
	return holds(eval, &eval->body_text, needle);
}

static bool
text_holds(struct imap_search_eval *eval, struct slice needle)
{
	if (!eval->has_header_text) {
		eval->has_header_text = true;
		header_into(eval, header_block(eval), &eval->header_text);
		(void)buf_fine(eval, &eval->header_text);
	}
	return holds(eval, &eval->header_text, needle) || body_holds(eval, needle) ||
	       holds(eval, &eval->mime_text, needle);
}

/* Any field of that name holds the text; an empty text asks whether there is one. */
static bool
header_holds(struct imap_search_eval *eval, const struct imap_search_node *node)
{
	struct header_iter it;
	struct header_field field;

	header_iter_init(&it, header_block(eval));
	while (header_iter_next(&it, &field)) {
		if (!slice_equal_nocase(field.name, node->name))
			continue;
		if (node->text.len == 0)
			return true;
		buf_reset(&eval->raw);
		value_into(eval, field.value, &eval->raw);
		if (slice_find(buf_slice(&eval->raw), node->text) != SIZE_MAX)
			return true;
	}
	return false;
}

/* ---- keys of the record ---- */

static bool
day_matches(enum imap_search_key key, int64_t have, int64_t day)
{
	switch ((int)key) {
	case IMAP_SEARCH_BEFORE:
	case IMAP_SEARCH_SAVED_BEFORE:
	case IMAP_SEARCH_SENT_BEFORE:
		return have < day;
	case IMAP_SEARCH_ON:
	case IMAP_SEARCH_SAVED_ON:
	case IMAP_SEARCH_SENT_ON:
		return have == day;
	default:
		return have >= day;
	}
}

static bool
sent_matches(struct imap_search_eval *eval, const struct imap_search_node *node)
{
	const struct message_index *index = imap_search_index(eval);
	if (!index || index->date_s == INT64_MIN)
		return false;
	return day_matches(node->key,
	    date_day((struct date){index->date_s, index->date_zone_min}), node->day);
}

static bool
emailid_matches(const struct message_record *record, struct slice wanted)
{
	AUTO_BUF struct buf id;
	buf_init(&id, ID_TEXT_MAX);
	imap_resp_emailid(&id, record->email_id);
	return slice_equal(buf_slice(&id), wanted);
}

static bool
is_recent(const struct imap_search_eval *eval)
{
	return eval->session && imap_is_recent(eval->session, eval->record->uid);
}

static bool
node_matches(struct imap_search_eval *eval, const struct imap_search_node *node)
{
	const struct message_record *r = eval->record;

	switch (node->key) {
	case IMAP_SEARCH_AND:
		for (const struct imap_search_node *n = node->child; n; n = n->next)
			if (!node_matches(eval, n))
				return false;
		return true;
	case IMAP_SEARCH_OR:
		for (const struct imap_search_node *n = node->child; n; n = n->next)
			if (node_matches(eval, n))
				return true;
		return false;
	case IMAP_SEARCH_NOT:
		return !node_matches(eval, node->child);
	case IMAP_SEARCH_NONE:
		return false;
	case IMAP_SEARCH_FLAGS:
		return (r->flags & node->flag_mask) == node->flag_want;
	case IMAP_SEARCH_KEYWORD:
		return node->keyword_bit >= 0 && (r->keywords >> node->keyword_bit & 1);
	case IMAP_SEARCH_RECENT:
		return is_recent(eval);
	case IMAP_SEARCH_MSN:
	case IMAP_SEARCH_UID:
		return imap_uid_ranges_contain(&node->ranges, r->uid);
	case IMAP_SEARCH_LARGER:
		return r->size > node->number;
	case IMAP_SEARCH_SMALLER:
		return r->size < node->number;
	case IMAP_SEARCH_MODSEQ:
		return r->modseq >= node->number;
	case IMAP_SEARCH_EMAILID:
		return emailid_matches(r, node->name);
	case IMAP_SEARCH_OLDER:
		return r->internaldate_s <= eval->now_s - (int64_t)node->number;
	case IMAP_SEARCH_YOUNGER:
		return r->internaldate_s >= eval->now_s - (int64_t)node->number;
	case IMAP_SEARCH_BEFORE:
	case IMAP_SEARCH_ON:
	case IMAP_SEARCH_SINCE:
		return day_matches(node->key,
		    date_day((struct date){r->internaldate_s, r->internaldate_zone_min}),
		    node->day);
	case IMAP_SEARCH_SAVED_BEFORE:
	case IMAP_SEARCH_SAVED_ON:
	case IMAP_SEARCH_SAVED_SINCE:
		return day_matches(
		    node->key, date_day((struct date){r->save_date_s, 0}), node->day);
	case IMAP_SEARCH_SENT_BEFORE:
	case IMAP_SEARCH_SENT_ON:
	case IMAP_SEARCH_SENT_SINCE:
		return sent_matches(eval, node);
	case IMAP_SEARCH_HEADER:
		return header_holds(eval, node);
	case IMAP_SEARCH_BODY:
		return body_holds(eval, node->text);
	case IMAP_SEARCH_TEXT:
		return text_holds(eval, node->text);
	}
	return false;
}

bool
imap_search_match(struct imap_search_eval *eval, const struct imap_search_node *root,
    const struct message_record *record)
{
	eval->record = record;
	return node_matches(eval, root);
}
