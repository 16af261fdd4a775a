/*
 * The steps of APPEND and REPLACE.
 */
#include "imapd/imap_append_parse.h"

#include "imapd/imap_lex.h"

/* What is left is one literal announcement and nothing else: "{12+}\r\n". */
static bool
rest_is_literal(const struct imap_lex *lex, bool binary_only)
{
	struct slice rest = imap_lex_rest(lex);

	if (slice_has_prefix(rest, SLICE("~")))
		rest = slice_from(rest, 1);
	else if (binary_only)
		return false;
	return slice_has_prefix(rest, SLICE("{")) &&
	       slice_find(rest, SLICE("}\r\n")) == rest.len - 3;
}

static enum imap_append_step
bad(const struct imap_lex *lex, struct parse_fault *fault)
{
	imap_lex_result(lex, fault);
	return IMAP_APPEND_BAD;
}

/* "REPLACE" SP seq-number (RFC 8508 section 5). */
static bool
replace_lex(struct imap_lex *lex, struct imap_append_head *head)
{
	head->replace = true;
	if (!imap_lex_space(lex))
		return false;
	if (imap_lex_try_char(lex, '*')) {
		head->number = IMAP_REPLACE_LAST;
		return true;
	}
	return imap_lex_nz_number(lex, &head->number);
}

static enum imap_append_step
head_next(struct imap_append_reader *reader, struct imap_lex *lex, bool at_literal,
    struct parse_fault *fault)
{
	struct imap_append_head *head = &reader->head;
	struct slice name;

	*head = (struct imap_append_head){.number = IMAP_REPLACE_LAST};
	if (!imap_lex_tag(lex, &head->tag)) {
		head->tag = SLICE_NULL;
		return IMAP_APPEND_NOT;
	}
	if (!imap_lex_space(lex) || !imap_lex_word(lex, &name))
		return IMAP_APPEND_NOT;
	if (slice_equal_nocase(name, SLICE("UID"))) {
		head->uid = true;
		if (!imap_lex_space(lex) || !imap_lex_word(lex, &name) ||
		    !slice_equal_nocase(name, SLICE("REPLACE")))
			return IMAP_APPEND_NOT;
	}
	if (slice_equal_nocase(name, SLICE("REPLACE"))) {
		if (!replace_lex(lex, head))
			return bad(lex, fault);
	} else if (!slice_equal_nocase(name, SLICE("APPEND"))) {
		return IMAP_APPEND_NOT;
	}
	if (!imap_lex_space(lex))
		return bad(lex, fault);
	if (at_literal && rest_is_literal(lex, false))
		return IMAP_APPEND_STRING;
	if (!imap_lex_astring(lex, &head->mailbox))
		return bad(lex, fault);
	reader->at = APPEND_AT_ITEM;
	reader->pos = lex->pos;
	return IMAP_APPEND_HEAD;
}

/* [flag-list SP] [date-time SP] (literal / "UTF8" SP "(" literal8 / "CATENATE" SP "(") */
static bool
item_lex(struct imap_lex *lex, struct imap_append_item *out)
{
	if (imap_lex_peek(lex) == '(') {
		struct imap_flags flags;
		if (!imap_lex_flags(lex, false, &flags) || !imap_lex_space(lex))
			return false;
		out->flags = flags.bits;
		out->keywords = flags.keywords;
		out->keyword_count = flags.keyword_count;
	}
	if (imap_lex_peek(lex) == '"') {
		out->has_date = true;
		if (!imap_lex_date_time(lex, &out->date_s, &out->zone_min) ||
		    !imap_lex_space(lex))
			return false;
	}
	if (imap_lex_try_word(lex, SLICE("CATENATE"))) {
		out->catenate = true;
		return imap_lex_space(lex) && imap_lex_char(lex, '(');
	}
	if (imap_lex_try_word(lex, SLICE("UTF8"))) {
		out->utf8 = true;
		return imap_lex_space(lex) && imap_lex_char(lex, '(');
	}
	return true;
}

static enum imap_append_step
item_next(struct imap_append_reader *reader, struct imap_lex *lex, bool at_literal,
    struct parse_fault *fault)
{
	if (reader->items > 0 && !at_literal && imap_lex_rest(lex).len == 0)
		return IMAP_APPEND_END;
	/* Some clients send blanks behind the last literal. */
	if (reader->items > 0 && !at_literal && !imap_lex_try_space(lex))
		return imap_lex_end(lex) ? IMAP_APPEND_END : bad(lex, fault);
	reader->item = (struct imap_append_item){.flags = 0};
	if (reader->items > 0 && reader->head.replace)
		imap_lex_bad(lex, "REPLACE takes one message");
	if (lex->pos == reader->pos && !imap_lex_space(lex))
		return bad(lex, fault);
	if (!item_lex(lex, &reader->item))
		return bad(lex, fault);
	reader->items++;
	reader->at = reader->item.catenate ? APPEND_AT_FIRST_PART : APPEND_AT_LITERAL;
	reader->pos = lex->pos;
	return IMAP_APPEND_BEGIN;
}

static enum imap_append_step
bytes_next(struct imap_append_reader *reader, struct imap_lex *lex, bool at_literal,
    bool binary_only, enum imap_append_at behind, struct parse_fault *fault)
{
	if (!at_literal || !rest_is_literal(lex, binary_only)) {
		imap_lex_bad(lex, "expected a message literal");
		return bad(lex, fault);
	}
	reader->pos = lex->in.len;
	reader->at = behind;
	return IMAP_APPEND_BYTES;
}

/* "TEXT" SP literal / "UTF8" SP "(" literal8 ")" / "URL" SP astring */
static enum imap_append_step
part_next(struct imap_append_reader *reader, struct imap_lex *lex, bool at_literal,
    struct parse_fault *fault)
{
	if (reader->part_utf8 && !imap_lex_char(lex, ')'))
		return bad(lex, fault);
	if (reader->at == APPEND_BEHIND_PART) {
		if (imap_lex_try_char(lex, ')')) {
			reader->part_utf8 = false;
			reader->pos = lex->pos;
			reader->at = APPEND_AT_ITEM;
			return IMAP_APPEND_CLOSE;
		}
		if (!imap_lex_space(lex))
			return bad(lex, fault);
	}
	if (imap_lex_try_word(lex, SLICE("URL"))) {
		if (!imap_lex_space(lex))
			return bad(lex, fault);
		if (at_literal && rest_is_literal(lex, false))
			return IMAP_APPEND_STRING;
		if (!imap_lex_astring(lex, &reader->url))
			return bad(lex, fault);
		reader->part_utf8 = false;
		reader->pos = lex->pos;
		reader->at = APPEND_BEHIND_PART;
		return IMAP_APPEND_URL;
	}
	bool utf8 = imap_lex_try_word(lex, SLICE("UTF8"));
	if (!utf8 && !imap_lex_try_word(lex, SLICE("TEXT")))
		imap_lex_bad(lex, "expected TEXT or URL");
	imap_lex_space(lex);
	if (utf8)
		imap_lex_char(lex, '(');
	if (!imap_lex_ok(lex))
		return bad(lex, fault);
	reader->part_utf8 = utf8;
	return bytes_next(reader, lex, at_literal, utf8, APPEND_BEHIND_PART, fault);
}

enum imap_append_step
imap_append_next(struct imap_append_reader *reader, struct slice frame, bool at_literal,
    struct arena *arena, struct parse_fault *fault)
{
	struct imap_lex lex;

	*fault = (struct parse_fault){NULL};
	imap_lex_init(&lex, frame, arena);
	lex.pos = reader->pos;
	switch (reader->at) {
	case APPEND_AT_HEAD:
		return head_next(reader, &lex, at_literal, fault);
	case APPEND_AT_ITEM:
		return item_next(reader, &lex, at_literal, fault);
	case APPEND_AT_LITERAL:
		return bytes_next(reader, &lex, at_literal, reader->item.utf8,
		    APPEND_BEHIND_LITERAL, fault);
	case APPEND_BEHIND_LITERAL:
		if (reader->item.utf8 && !imap_lex_char(&lex, ')'))
			return bad(&lex, fault);
		reader->pos = lex.pos;
		reader->at = APPEND_AT_ITEM;
		return IMAP_APPEND_CLOSE;
	case APPEND_AT_FIRST_PART:
	case APPEND_BEHIND_PART:
		break;
	}
	return part_next(reader, &lex, at_literal, fault);
}
