/*
 * Evaluation of a search tree on one message.  Recursion is bounded by
 * IMAP_SEARCH_DEPTH_MAX (plus one level for UN... keys).
 */
#include "imapd/imap_search_eval.h"

#include "imapd/imap_int.h"
#include "text/address.h"
#include "text/date.h"

enum { ID_TEXT_MAX = 64 /* bytes of an object id's text */ };

void
imap_search_eval_init(struct imap_search_eval *eval, struct store_reader *reader,
    struct account_id account, struct imap_session *session, int64_t now_s)
{
	*eval = (struct imap_search_eval){
	    .reader = reader,
	    .account = account,
	    .session = session,
	    .now_s = now_s,
	};
	message_text_init(&eval->text);
	buf_init(&eval->value, MESSAGE_TEXT_MAX);
}

void
imap_search_eval_fini(struct imap_search_eval *eval)
{
	imap_search_done(eval);
	message_text_fini(&eval->text);
	buf_fini(&eval->value);
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
	    eval->reader, eval->account, eval->record, eval->text.scratch, &bytes);
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
	eval->record = NULL;
	/* Most records of a large mailbox are passed over without reading anything. */
	if (!eval->has_body && !eval->has_index && !eval->has_body_text &&
	    !eval->has_header_text)
		return;
	if (eval->has_body)
		body_handle_close(&eval->body);
	eval->has_body = eval->has_index = false;
	eval->has_body_text = eval->has_header_text = false;
	message_text_reset(&eval->text);
}

/* ---- text ---- */

/* A text over its limit is the command's failure: there is no exact answer. */
static void
text_made(struct imap_search_eval *eval)
{
	if (eval->text.over && eval->status == STATUS_OK)
		eval->status = STATUS_LIMIT;
}

static bool
holds(struct imap_search_eval *eval, const struct buf *text, struct slice needle)
{
	eval->text.work +=
	    text->len / 8; /* searching is that much cheaper than decoding */
	return slice_find(buf_slice(text), needle) != SIZE_MAX;
}

static bool
body_holds(struct imap_search_eval *eval, struct slice needle)
{
	if (!eval->has_body_text) {
		const struct message_index *index = imap_search_index(eval);
		eval->has_body_text = true;
		if (index)
			message_text_body(&eval->text, index, message_bytes(eval));
		text_made(eval);
	}
	return holds(eval, &eval->text.body, needle);
}

static bool
text_holds(struct imap_search_eval *eval, struct slice needle)
{
	if (!eval->has_header_text) {
		eval->has_header_text = true;
		message_text_header(&eval->text, header_block(eval));
		text_made(eval);
	}
	return holds(eval, &eval->text.header, needle) || body_holds(eval, needle) ||
	       holds(eval, &eval->text.mime, needle);
}

/* "Name <local@domain>" of each address, however it was written: comments, quotes and
 * blanks make no difference ("the specified string in the envelope structure's FROM
 * field", RFC 9051 section 6.4.4). */
static bool
addresses_hold(struct imap_search_eval *eval, struct slice value, struct slice needle)
{
	struct arena *scratch = eval->text.scratch;
	struct list_address *list;
	size_t count = address_list_parse(value, scratch, &list);

	for (size_t i = 0; i < count; i++) {
		const struct list_address *a = &list[i];
		if (a->group_start || a->group_end)
			continue; /* the name of a group stands in the text as it is */
		struct slice text = arena_format(scratch, "%.*s%s<%.*s@%.*s>",
		    SLICE_ARG(a->name), a->name.len ? " " : "", SLICE_ARG(a->mailbox),
		    SLICE_ARG(a->host));
		if (!text.ptr)
			return false;
		buf_reset(&eval->value);
		message_text_value(&eval->text, text, &eval->value);
		text_made(eval);
		if (slice_find(buf_slice(&eval->value), needle) != SIZE_MAX)
			return true;
	}
	return false;
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
		buf_reset(&eval->value);
		message_text_value(&eval->text, field.value, &eval->value);
		text_made(eval);
		if (slice_find(buf_slice(&eval->value), node->text) != SIZE_MAX)
			return true;
		if (node->addresses && addresses_hold(eval, field.value, node->text))
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
emailid_matches(const struct imap_search_eval *eval, const struct message_record *record,
    struct slice wanted)
{
	AUTO_BUF struct buf id;
	buf_init(&id, ID_TEXT_MAX);
	if (eval->session)
		imap_write_emailid(eval->session, &id, record->email_id);
	else
		imap_resp_emailid(&id, record->email_id);
	return slice_equal(buf_slice(&id), wanted);
}

static bool
is_recent(const struct imap_search_eval *eval)
{
	if (!eval->session)
		return eval->recent_from && eval->record->uid >= eval->recent_from;
	return imap_is_recent(eval->session, eval->record->uid);
}

static bool
node_matches(struct imap_search_eval *eval, const struct imap_search_node *node)
{
	const struct message_record *r = eval->record;

	if (eval->narrow && imap_search_narrow_excludes(eval->narrow, node, r))
		return false;
	switch (node->key) {
	case IMAP_SEARCH_AND:
	case IMAP_SEARCH_FUZZY:
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
		return emailid_matches(eval, r, node->name);
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

/* ---- scores ---- */

enum {
	SCORE_PLACES = 3,         /* header, body, MIME headers */
	SCORE_OCCURRENCES = 16,   /* looked at for one that is a word of its own */
	SCORE_WHOLE = 100,        /* the string as it is, as words of their own */
	SCORE_PART = 75,          /* the string, as a part of longer words */
	SCORE_WORDS_PERCENT = 60, /* its words apart from each other */
	SCORE_BODY_PERCENT = 70,  /* TEXT found outside of the header */
};

static bool
is_word_byte(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c & 0x80);
}

/* 0, SCORE_PART or SCORE_WHOLE. */
static unsigned
occurrence_score(struct slice text, struct slice needle)
{
	size_t from = 0;
	unsigned best = 0;

	for (unsigned i = 0; i < SCORE_OCCURRENCES; i++) {
		size_t at = slice_find(slice_from(text, from), needle);
		if (at == SIZE_MAX)
			break;
		at += from;
		size_t end = at + needle.len;
		if ((at == 0 || !is_word_byte(text.ptr[at - 1])) &&
		    (end == text.len || !is_word_byte(text.ptr[end])))
			return SCORE_WHOLE;
		best = SCORE_PART;
		from = at + 1;
	}
	return best;
}

/* The values of the fields of that name, in eval->value. */
static struct slice
fields_text(struct imap_search_eval *eval, struct slice name)
{
	struct header_iter it;
	struct header_field field;

	buf_reset(&eval->value);
	header_iter_init(&it, header_block(eval));
	while (header_iter_next(&it, &field)) {
		if (!slice_equal_nocase(field.name, name))
			continue;
		message_text_value(&eval->text, field.value, &eval->value);
		buf_append(&eval->value, SLICE("\r\n"));
	}
	return buf_slice(&eval->value);
}

static unsigned
best_score(const struct slice places[SCORE_PLACES], struct slice needle)
{
	unsigned best = 0;

	for (size_t i = 0; i < SCORE_PLACES && best < SCORE_WHOLE; i++) {
		unsigned score = occurrence_score(places[i], needle);
		if (i > 0)
			score = score * SCORE_BODY_PERCENT / 100;
		if (score > best)
			best = score;
	}
	return best;
}

static unsigned
fuzzy_score(struct imap_search_eval *eval, const struct imap_search_node *node)
{
	struct slice places[SCORE_PLACES] = {SLICE(""), SLICE(""), SLICE("")};
	unsigned sum = 0, count = 0;

	if (node->words_in == IMAP_SEARCH_HEADER) {
		places[0] = fields_text(eval, node->name);
	} else if (node->words_in == IMAP_SEARCH_BODY) {
		(void)body_holds(eval, node->text);
		places[0] = buf_slice(&eval->text.body);
	} else {
		(void)text_holds(eval, node->text);
		(void)body_holds(eval, node->text);
		places[0] = buf_slice(&eval->text.header);
		places[1] = buf_slice(&eval->text.body);
		places[2] = buf_slice(&eval->text.mime);
	}
	unsigned best = best_score(places, node->text);
	for (const struct imap_search_node *n = node->child; n; n = n->next, count++)
		sum += best_score(places, n->text) * SCORE_WORDS_PERCENT / 100;
	eval->text.work += (places[0].len + places[1].len + places[2].len) / 8;
	return count && sum / count > best ? sum / count : best;
}

/* -1: there is no fuzzy key in it.  AND: the mean; OR: the best of what matches. */
static int
node_score(struct imap_search_eval *eval, const struct imap_search_node *node)
{
	int sum = 0, count = 0, best = -1;

	if (node->key == IMAP_SEARCH_FUZZY)
		return (int)fuzzy_score(eval, node);
	if (node->key != IMAP_SEARCH_AND && node->key != IMAP_SEARCH_OR)
		return -1;
	for (const struct imap_search_node *n = node->child; n; n = n->next) {
		if (node->key == IMAP_SEARCH_OR && !node_matches(eval, n))
			continue;
		int score = node_score(eval, n);
		if (score < 0)
			continue;
		sum += score;
		count++;
		best = score > best ? score : best;
	}
	return node->key == IMAP_SEARCH_OR || count == 0 ? best : sum / count;
}

unsigned
imap_search_score(struct imap_search_eval *eval, const struct imap_search_node *root)
{
	int score = node_score(eval, root);

	/* Without a text behind FUZZY everything that matches matches exactly. */
	return score < 0 ? SCORE_WHOLE : score == 0 ? 1 : (unsigned)score;
}
