/*
 * FETCH's arguments to plain data.
 */
#include "imapd/imap_fetch_parse.h"

#include "imapd/imap_cmd.h"
#include "imapd/imap_resp.h"

enum { LABEL_MAX = 256 * 1024 }; /* bytes of one item's name as it is sent back */

struct item_name {
	struct slice name;
	uint32_t items;
};

#define NAME(text)                                                                       \
	{                                                                                \
		"" text "", sizeof(text) - 1                                             \
	}

/* clang-format off */
static const struct item_name item_names[] = {
	{NAME("FLAGS"),         IMAP_FETCH_FLAGS},
	{NAME("UID"),           IMAP_FETCH_UID},
	{NAME("INTERNALDATE"),  IMAP_FETCH_INTERNALDATE},
	{NAME("RFC822.SIZE"),   IMAP_FETCH_SIZE},
	{NAME("ENVELOPE"),      IMAP_FETCH_ENVELOPE},
	{NAME("BODYSTRUCTURE"), IMAP_FETCH_BODYSTRUCTURE},
	{NAME("MODSEQ"),        IMAP_FETCH_MODSEQ},
	{NAME("EMAILID"),       IMAP_FETCH_EMAILID},
	{NAME("THREADID"),      IMAP_FETCH_THREADID},
	{NAME("SAVEDATE"),      IMAP_FETCH_SAVEDATE},
};

/* RFC 9051 section 6.4.5: instead of a list, not in one. */
static const struct item_name macro_names[] = {
	{NAME("FAST"), IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE},
	{NAME("ALL"),  IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE |
	               IMAP_FETCH_ENVELOPE},
	{NAME("FULL"), IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE |
	               IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY},
};
/* clang-format on */

static bool
name_try(
    struct imap_lex *lex, const struct item_name *names, size_t count, uint32_t *items)
{
	for (size_t i = 0; i < count; i++) {
		if (imap_lex_try_word(lex, names[i].name)) {
			*items |= names[i].items;
			return true;
		}
	}
	return false;
}

/* ---- sections ---- */

static bool
header_fields_lex(struct imap_lex *lex, struct imap_fetch_body *body)
{
	struct slice fields[IMAP_FETCH_HEADER_FIELDS_MAX];
	size_t count = 0;

	if (!imap_lex_space(lex) || !imap_lex_char(lex, '('))
		return false;
	do {
		if (count == IMAP_FETCH_HEADER_FIELDS_MAX)
			return imap_lex_limit(lex, "too many header fields");
		if (!imap_lex_astring(lex, &fields[count]))
			return false;
		count++;
	} while (imap_lex_try_char(lex, ' '));
	if (!imap_lex_char(lex, ')'))
		return false;
	body->fields = ARENA_ARRAY(lex->arena, struct slice, count);
	if (!body->fields)
		return imap_lex_limit(lex, "command is too large");
	memcpy(body->fields, fields, count * sizeof(fields[0]));
	body->field_count = count;
	return true;
}

/* section-text and section-msgtext: what may stand in place of, or behind, numbers. */
static bool
section_text_lex(struct imap_lex *lex, struct imap_fetch_body *body)
{
	struct slice word;
	size_t start = lex->pos;

	if (!imap_lex_word(lex, &word))
		return false;
	if (slice_equal_nocase(word, SLICE("HEADER"))) {
		body->text = IMAP_SECTION_HEADER;
	} else if (slice_equal_nocase(word, SLICE("HEADER.FIELDS"))) {
		body->text = IMAP_SECTION_HEADER_FIELDS;
		return header_fields_lex(lex, body);
	} else if (slice_equal_nocase(word, SLICE("HEADER.FIELDS.NOT"))) {
		body->text = IMAP_SECTION_HEADER_FIELDS_NOT;
		return header_fields_lex(lex, body);
	} else if (slice_equal_nocase(word, SLICE("TEXT"))) {
		body->text = IMAP_SECTION_TEXT;
	} else if (slice_equal_nocase(word, SLICE("MIME")) && body->number_count) {
		body->text = IMAP_SECTION_MIME;
	} else {
		lex->pos = start;
		return imap_lex_bad(lex, "no such section");
	}
	return true;
}

static bool
section_lex(struct imap_lex *lex, struct imap_fetch_body *body)
{
	if (!imap_lex_char(lex, '['))
		return false;
	int c = imap_lex_peek(lex);
	if (c >= '0' && c <= '9') {
		if (!imap_lex_section_numbers(lex, &body->numbers, &body->number_count))
			return false;
		if (body->kind == IMAP_FETCH_SECTION && imap_lex_try_char(lex, '.') &&
		    !section_text_lex(lex, body))
			return false;
	} else if (c != ']') {
		if (body->kind != IMAP_FETCH_SECTION)
			return imap_lex_bad(lex, "expected part numbers");
		if (!section_text_lex(lex, body))
			return false;
	}
	return imap_lex_char(lex, ']');
}

bool
imap_fetch_section_parse(
    struct slice text, struct arena *arena, struct imap_fetch_body *out)
{
	struct imap_lex lex;

	*out = (struct imap_fetch_body){.kind = IMAP_FETCH_SECTION, .peek = true};
	imap_lex_init(&lex, arena_format(arena, "[%.*s]", SLICE_ARG(text)), arena);
	return section_lex(&lex, out) && imap_lex_rest(&lex).len == 0;
}

/* "<0.1024>": RFC 9051 section 6.4.5, partial; the length must not be zero. */
static bool
partial_lex(struct imap_lex *lex, struct imap_fetch_body *body)
{
	if (!imap_lex_try_char(lex, '<'))
		return imap_lex_ok(lex);
	body->partial = true;
	if (!imap_lex_number64(lex, &body->offset) || !imap_lex_char(lex, '.') ||
	    !imap_lex_number64(lex, &body->length))
		return false;
	if (body->length == 0)
		return imap_lex_bad(lex, "partial length must not be zero");
	return imap_lex_char(lex, '>');
}

static void
section_label(struct buf *out, const struct imap_fetch_body *body)
{
	static const char *const texts[] = {
	    [IMAP_SECTION_ALL] = "",
	    [IMAP_SECTION_HEADER] = "HEADER",
	    [IMAP_SECTION_HEADER_FIELDS] = "HEADER.FIELDS (",
	    [IMAP_SECTION_HEADER_FIELDS_NOT] = "HEADER.FIELDS.NOT (",
	    [IMAP_SECTION_TEXT] = "TEXT",
	    [IMAP_SECTION_MIME] = "MIME",
	};
	buf_append_byte(out, '[');
	for (size_t i = 0; i < body->number_count; i++) {
		if (i)
			buf_append_byte(out, '.');
		buf_append_u64(out, body->numbers[i]);
	}
	if (body->number_count && body->text != IMAP_SECTION_ALL)
		buf_append_byte(out, '.');
	buf_append_cstr(out, texts[body->text]);
	if (body->text == IMAP_SECTION_HEADER_FIELDS ||
	    body->text == IMAP_SECTION_HEADER_FIELDS_NOT) {
		for (size_t i = 0; i < body->field_count; i++) {
			if (i)
				buf_append_byte(out, ' ');
			imap_resp_astring(out, body->fields[i], false);
		}
		buf_append_byte(out, ')');
	}
	buf_append_byte(out, ']');
}

/* The item's name as the response carries it; a partial shows its origin only. */
static bool
body_label(struct imap_lex *lex, struct slice name, struct imap_fetch_body *body)
{
	AUTO_BUF struct buf label;
	buf_init(&label, LABEL_MAX);
	buf_append(&label, name);
	if (!slice_has_prefix(name, SLICE("RFC822")))
		section_label(&label, body);
	if (body->partial) {
		buf_append_byte(&label, '<');
		buf_append_u64(&label, body->offset);
		buf_append_byte(&label, '>');
	}
	if (buf_ok(&label))
		body->label = arena_copy(lex->arena, buf_slice(&label));
	if (!body->label.ptr)
		return imap_lex_limit(lex, "section is too large");
	return true;
}

struct body_name {
	struct slice name, label;
	enum imap_fetch_body_kind kind;
	bool peek, partial;
};

/* clang-format off */
static const struct body_name body_names[] = {
	{NAME("BODY"),        NAME("BODY"),        IMAP_FETCH_SECTION, false, true},
	{NAME("BODY.PEEK"),   NAME("BODY"),        IMAP_FETCH_SECTION, true,  true},
	{NAME("BINARY"),      NAME("BINARY"),      IMAP_FETCH_BINARY,  false, true},
	{NAME("BINARY.PEEK"), NAME("BINARY"),      IMAP_FETCH_BINARY,  true,  true},
	{NAME("BINARY.SIZE"), NAME("BINARY.SIZE"), IMAP_FETCH_BINARY_SIZE, true, false},
};
/* clang-format on */

/* Items with a section.  *out_found is false when the next word is none of them. */
static bool
body_try(struct imap_lex *lex, struct imap_fetch_body *body, bool *out_found)
{
	*out_found = false;
	for (size_t i = 0; i < sizeof(body_names) / sizeof(body_names[0]); i++) {
		size_t start = lex->pos;
		if (!imap_lex_try_word(lex, body_names[i].name))
			continue;
		if (imap_lex_peek(lex) != '[' && i == 0) {
			lex->pos = start; /* BODY by itself is the structure */
			return true;
		}
		*out_found = true;
		body->kind = body_names[i].kind;
		body->peek = body_names[i].peek;
		return section_lex(lex, body) &&
		       (!body_names[i].partial || partial_lex(lex, body)) &&
		       body_label(lex, body_names[i].label, body);
	}
	return imap_lex_ok(lex);
}

/* RFC822, RFC822.HEADER (does not set \Seen), RFC822.TEXT: RFC 3501 section 6.4.5. */
static bool
rfc822_try(struct imap_lex *lex, struct imap_fetch_body *body, bool *out_found)
{
	static const struct {
		struct slice name;
		enum imap_section_text text;
		bool peek;
	} table[] = {
	    {NAME("RFC822"),        IMAP_SECTION_ALL,    false},
	    {NAME("RFC822.HEADER"), IMAP_SECTION_HEADER, true },
	    {NAME("RFC822.TEXT"),   IMAP_SECTION_TEXT,   false},
	};
	*out_found = false;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!imap_lex_try_word(lex, table[i].name))
			continue;
		*out_found = true;
		body->kind = IMAP_FETCH_SECTION;
		body->text = table[i].text;
		body->peek = table[i].peek;
		return body_label(lex, table[i].name, body);
	}
	return imap_lex_ok(lex);
}

/* ---- items ---- */

/* PREVIEW may have "(LAZY)" behind it (RFC 8970 section 3.2); ours are always at hand. */
static bool
preview_try(struct imap_lex *lex, uint32_t *items, bool *out_found)
{
	*out_found = imap_lex_try_word(lex, SLICE("PREVIEW"));
	if (!*out_found)
		return imap_lex_ok(lex);
	*items |= IMAP_FETCH_PREVIEW;
	if (!slice_has_prefix_nocase(imap_lex_rest(lex), SLICE(" (LAZY")))
		return true;
	lex->pos += 2;
	if (!imap_lex_try_word(lex, SLICE("LAZY")))
		return imap_lex_bad(lex, "no such PREVIEW modifier");
	return imap_lex_char(lex, ')');
}

static bool
item_lex(struct imap_lex *lex, struct imap_fetch_args *args)
{
	struct imap_fetch_body body = {0};
	bool found;

	if (!preview_try(lex, &args->items, &found))
		return false;
	if (found || name_try(lex, item_names, sizeof(item_names) / sizeof(item_names[0]),
			 &args->items))
		return true;
	if (!body_try(lex, &body, &found))
		return false;
	if (!found && !rfc822_try(lex, &body, &found))
		return false;
	if (found) {
		if (args->body_count == IMAP_FETCH_BODIES_MAX)
			return imap_lex_limit(lex, "too many sections");
		args->bodies[args->body_count++] = body;
		return true;
	}
	if (imap_lex_try_word(lex, SLICE("BODY"))) {
		args->items |= IMAP_FETCH_BODY;
		return true;
	}
	return imap_lex_bad(lex, "no such FETCH item");
}

static bool
items_lex(struct imap_lex *lex, struct imap_fetch_args *args)
{
	args->bodies =
	    ARENA_ARRAY(lex->arena, struct imap_fetch_body, IMAP_FETCH_BODIES_MAX);
	if (!args->bodies)
		return imap_lex_limit(lex, "command is too large");
	if (name_try(lex, macro_names, sizeof(macro_names) / sizeof(macro_names[0]),
		&args->items))
		return true;
	if (!imap_lex_try_char(lex, '('))
		return item_lex(lex, args);
	do {
		if (!item_lex(lex, args))
			return false;
	} while (imap_lex_try_char(lex, ' '));
	return imap_lex_char(lex, ')');
}

bool
imap_fetch_items_lex(struct imap_lex *lex, struct imap_fetch_args *args)
{
	bool ok = items_lex(lex, args);

	args->asked_uid = args->items & IMAP_FETCH_UID;
	return ok;
}

/* ---- modifiers ---- */

static bool
modifier_lex(struct imap_lex *lex, bool uid, struct imap_fetch_args *args)
{
	if (imap_lex_try_word(lex, SLICE("CHANGEDSINCE"))) {
		if (args->has_changedsince)
			return imap_lex_bad(lex, "CHANGEDSINCE is doubled");
		args->has_changedsince = true;
		return imap_lex_space(lex) && imap_lex_number64(lex, &args->changedsince);
	}
	if (imap_lex_try_word(lex, SLICE("VANISHED"))) {
		args->vanished = true;
		return true;
	}
	if (imap_lex_try_word(lex, SLICE("PARTIAL"))) {
		if (!uid)
			return imap_lex_bad(lex, "PARTIAL belongs to UID FETCH");
		if (args->has_partial)
			return imap_lex_bad(lex, "PARTIAL is doubled");
		args->has_partial = true;
		return imap_lex_space(lex) &&
		       imap_partial_range_lex(lex, &args->partial_from_end,
			   &args->partial_first, &args->partial_last);
	}
	return imap_lex_bad(lex, "no such FETCH modifier");
}

static bool
fetch_lex(struct imap_lex *lex, bool uid, struct imap_fetch_args *args)
{
	if (!imap_lex_space(lex) || !imap_seqset_lex(lex, &args->set) ||
	    !imap_lex_space(lex) || !imap_fetch_items_lex(lex, args))
		return false;
	if (imap_lex_try_space(lex)) {
		if (!imap_lex_char(lex, '('))
			return false;
		do {
			if (!modifier_lex(lex, uid, args))
				return false;
		} while (imap_lex_try_char(lex, ' '));
		if (!imap_lex_char(lex, ')'))
			return false;
	}
	/* RFC 7162 section 3.2.6: VANISHED only with UID FETCH and CHANGEDSINCE. */
	if (args->vanished && (!uid || !args->has_changedsince))
		return imap_lex_bad(lex, "VANISHED needs UID FETCH and CHANGEDSINCE");
	/* RFC 7162 section 3.1.4.1: CHANGEDSINCE brings MODSEQ along. */
	if (args->has_changedsince)
		args->items |= IMAP_FETCH_MODSEQ;
	if (uid)
		args->items |= IMAP_FETCH_UID;
	return true;
}

enum parse_result
imap_parse_fetch(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_fetch_args *args = arena_alloc(arena, sizeof(*args));
	if (!args)
		(void)imap_lex_limit(lex, "command is too large");
	else if (fetch_lex(lex, cmd->uid, args))
		cmd->u.fetch = args;
	return imap_lex_result(lex, fault);
}
