/*
 * The search program to a tree.  Recursion is bounded by IMAP_SEARCH_DEPTH_MAX.
 */
#include "imapd/imap_search_parse.h"

#include "imapd/imap_cmd.h"
#include "imapd/imap_fetch_parse.h"
#include "text/encoding.h"
#include "text/header.h"

enum { FOLDED_MAX = 64 * 1024 }; /* bytes of a search string after conversion */

struct search_lex {
	struct imap_lex *lex;
	struct imap_search_args *args;
	struct slice charset; /* null: UTF-8 */
	size_t keys;
	bool fuzzy; /* inside FUZZY, and not inside NOT */
};

static struct imap_search_node *key_lex(struct search_lex *sl, unsigned depth);

static struct imap_search_node *
node_new(struct search_lex *sl, enum imap_search_key key, enum imap_search_cost cost)
{
	struct imap_search_node *node = NULL;
	if (++sl->keys > IMAP_SEARCH_KEYS_MAX) {
		(void)imap_lex_limit(sl->lex, "too many search keys");
		return NULL;
	}
	node = arena_alloc(sl->lex->arena, sizeof(*node));
	if (!node) {
		(void)imap_lex_limit(sl->lex, "command is too large");
		return NULL;
	}
	node->key = key;
	node->cost = cost;
	node->keyword_bit = -1;
	node->narrow = -1;
	return node;
}

/* Puts a child behind those that cost no more; a parent costs what its dearest does. */
static void
child_add(struct imap_search_node *parent, struct imap_search_node *child)
{
	struct imap_search_node **at = &parent->child;
	while (*at && (*at)->cost <= child->cost)
		at = &(*at)->next;
	child->next = *at;
	*at = child;
	if (child->cost > parent->cost)
		parent->cost = child->cost;
}

/* ---- arguments of keys ---- */

static bool
text_lex(struct search_lex *sl, struct slice *out)
{
	struct imap_lex *lex = sl->lex;
	struct slice raw;
	AUTO_BUF struct buf utf8, folded;

	buf_init(&utf8, FOLDED_MAX);
	buf_init(&folded, FOLDED_MAX);
	if (!imap_lex_space(lex) || !imap_lex_astring(lex, &raw))
		return false;
	if (raw.len > IMAP_SEARCH_TEXT_MAX)
		return imap_lex_limit(lex, "search string is too long");
	if (sl->charset.ptr)
		(void)charset_to_utf8(sl->charset, raw, &utf8);
	else
		buf_append(&utf8, raw);
	utf8_casefold(buf_slice(&utf8), &folded);
	if (!buf_ok(&utf8) || !buf_ok(&folded))
		return imap_lex_limit(lex, "search string is too long");
	*out = arena_copy(lex->arena, folded.len ? buf_slice(&folded) : SLICE(""));
	return out->ptr || imap_lex_limit(lex, "command is too large");
}

/* RFC 7162 section 3.1.5: MODSEQ ["/flags/name" priv|shared|all] number. */
static bool
modseq_lex(struct search_lex *sl, struct imap_search_node *node)
{
	struct imap_lex *lex = sl->lex;
	struct slice entry;
	if (!imap_lex_space(lex))
		return false;
	if (imap_lex_peek(lex) == '"') {
		if (!imap_lex_string(lex, &entry) || !imap_lex_space(lex))
			return false;
		if (!imap_lex_try_word(lex, SLICE("all")) &&
		    !imap_lex_try_word(lex, SLICE("priv")) &&
		    !imap_lex_try_word(lex, SLICE("shared")))
			return imap_lex_bad(lex, "expected all, priv or shared");
		if (!imap_lex_space(lex))
			return false;
	}
	sl->args->has_modseq = true;
	return imap_lex_number64(lex, &node->number);
}

enum argument {
	ARG_NONE,
	ARG_TEXT,   /* name is fixed: From, Subject, ...; none for BODY and TEXT */
	ARG_HEADER, /* name and text */
	ARG_ATOM,   /* keyword, object id */
	ARG_NUMBER,
	ARG_SECONDS, /* nz-number */
	ARG_DATE,
	ARG_SET,
	ARG_UID_AFTER,
	ARG_UID_BEFORE,
	ARG_MODSEQ,
};

struct key_row {
	struct slice name;
	enum imap_search_key key;
	enum imap_search_cost cost;
	enum argument argument;
	uint8_t mask, want;
	bool negate;
	struct slice field;
};

#define NAME(text)                                                                       \
	{                                                                                \
		"" text "", sizeof(text) - 1                                             \
	}
#define RECORD IMAP_SEARCH_COST_RECORD
#define INDEX  IMAP_SEARCH_COST_INDEX
#define HEADER IMAP_SEARCH_COST_HEADER
#define BODY   IMAP_SEARCH_COST_BODY
#define FLAG(text, bit)                                                                  \
	{NAME(text), IMAP_SEARCH_FLAGS, RECORD, ARG_NONE, bit, bit, false, {0}},         \
	{                                                                                \
		NAME("UN" text), IMAP_SEARCH_FLAGS, RECORD, ARG_NONE, bit, 0, false,     \
		{                                                                        \
			0                                                                \
		}                                                                        \
	}
#define PLAIN(text, key, argument)                                                       \
	{                                                                                \
		NAME(text), key, RECORD, argument, 0, 0, false,                          \
		{                                                                        \
			0                                                                \
		}                                                                        \
	}
#define FIELD(text, field)                                                               \
	{                                                                                \
		NAME(text), IMAP_SEARCH_HEADER, HEADER, ARG_TEXT, 0, 0, false,           \
		    NAME(field)                                                          \
	}

/* clang-format off */
static const struct key_row key_rows[] = {
	PLAIN("ALL", IMAP_SEARCH_AND, ARG_NONE),
	FLAG("ANSWERED", MESSAGE_ANSWERED),
	FIELD("BCC", "Bcc"),
	PLAIN("BEFORE", IMAP_SEARCH_BEFORE, ARG_DATE),
	{NAME("BODY"), IMAP_SEARCH_BODY, BODY, ARG_TEXT, 0, 0, false, {0}},
	FIELD("CC", "Cc"),
	FLAG("DELETED", MESSAGE_DELETED),
	FLAG("DRAFT", MESSAGE_DRAFT),
	PLAIN("EMAILID", IMAP_SEARCH_EMAILID, ARG_ATOM),
	FLAG("FLAGGED", MESSAGE_FLAGGED),
	FIELD("FROM", "From"),
	{NAME("HEADER"), IMAP_SEARCH_HEADER, HEADER, ARG_HEADER, 0, 0, false, {0}},
	PLAIN("KEYWORD", IMAP_SEARCH_KEYWORD, ARG_ATOM),
	PLAIN("LARGER", IMAP_SEARCH_LARGER, ARG_NUMBER),
	PLAIN("MODSEQ", IMAP_SEARCH_MODSEQ, ARG_MODSEQ),
	{NAME("OLD"), IMAP_SEARCH_RECENT, RECORD, ARG_NONE, 0, 0, true, {0}},
	PLAIN("OLDER", IMAP_SEARCH_OLDER, ARG_SECONDS),
	PLAIN("ON", IMAP_SEARCH_ON, ARG_DATE),
	PLAIN("RECENT", IMAP_SEARCH_RECENT, ARG_NONE),
	PLAIN("SAVEDATESUPPORTED", IMAP_SEARCH_AND, ARG_NONE),
	PLAIN("SAVEDBEFORE", IMAP_SEARCH_SAVED_BEFORE, ARG_DATE),
	PLAIN("SAVEDON", IMAP_SEARCH_SAVED_ON, ARG_DATE),
	PLAIN("SAVEDSINCE", IMAP_SEARCH_SAVED_SINCE, ARG_DATE),
	FLAG("SEEN", MESSAGE_SEEN),
	{NAME("SENTBEFORE"), IMAP_SEARCH_SENT_BEFORE, INDEX, ARG_DATE, 0, 0, false, {0}},
	{NAME("SENTON"), IMAP_SEARCH_SENT_ON, INDEX, ARG_DATE, 0, 0, false, {0}},
	{NAME("SENTSINCE"), IMAP_SEARCH_SENT_SINCE, INDEX, ARG_DATE, 0, 0, false, {0}},
	PLAIN("SINCE", IMAP_SEARCH_SINCE, ARG_DATE),
	PLAIN("SMALLER", IMAP_SEARCH_SMALLER, ARG_NUMBER),
	FIELD("SUBJECT", "Subject"),
	{NAME("TEXT"), IMAP_SEARCH_TEXT, BODY, ARG_TEXT, 0, 0, false, {0}},
	PLAIN("THREADID", IMAP_SEARCH_NONE, ARG_ATOM),
	FIELD("TO", "To"),
	PLAIN("UID", IMAP_SEARCH_UID, ARG_SET),
	PLAIN("UIDAFTER", IMAP_SEARCH_UID, ARG_UID_AFTER),
	PLAIN("UIDBEFORE", IMAP_SEARCH_UID, ARG_UID_BEFORE),
	{NAME("UNKEYWORD"), IMAP_SEARCH_KEYWORD, RECORD, ARG_ATOM, 0, 0, true, {0}},
	PLAIN("YOUNGER", IMAP_SEARCH_YOUNGER, ARG_SECONDS),
};
/* clang-format on */

/* RFC 9738 section 3.2: the UIDs above or below one; never swapped, as "9:*" can be. */
static bool
uid_bound_lex(struct search_lex *sl, bool after, struct imap_search_node *node)
{
	struct imap_lex *lex = sl->lex;
	uint32_t uid;

	if (!imap_lex_space(lex) || !imap_lex_nz_number(lex, &uid))
		return false;
	if (uid == (after ? UINT32_MAX : 1)) {
		node->key = IMAP_SEARCH_NONE;
		return true;
	}
	node->set.ranges = ARENA_NEW(lex->arena, struct uid_range);
	*node->set.ranges = after ? (struct uid_range){uid + 1, UINT32_MAX}
	                          : (struct uid_range){1, uid - 1};
	node->set.count = 1;
	return true;
}

static bool
argument_lex(
    struct search_lex *sl, const struct key_row *row, struct imap_search_node *node)
{
	struct imap_lex *lex = sl->lex;
	uint32_t seconds;

	switch (row->argument) {
	case ARG_NONE:
		return true;
	case ARG_TEXT:
		return text_lex(sl, &node->text);
	case ARG_HEADER:
		return imap_lex_space(lex) && imap_lex_astring(lex, &node->name) &&
		       text_lex(sl, &node->text);
	case ARG_ATOM:
		return imap_lex_space(lex) && imap_lex_atom(lex, &node->name);
	case ARG_NUMBER:
		return imap_lex_space(lex) && imap_lex_number64(lex, &node->number);
	case ARG_SECONDS:
		if (!imap_lex_space(lex) || !imap_lex_nz_number(lex, &seconds))
			return false;
		node->number = seconds;
		return true;
	case ARG_DATE:
		return imap_lex_space(lex) && imap_lex_date(lex, &node->day);
	case ARG_SET:
		return imap_lex_space(lex) && imap_seqset_lex(lex, &node->set);
	case ARG_UID_AFTER:
	case ARG_UID_BEFORE:
		return uid_bound_lex(sl, row->argument == ARG_UID_AFTER, node);
	case ARG_MODSEQ:
		return modseq_lex(sl, node);
	}
	return false;
}

/* The words of a text key behind FUZZY; every message that holds the text holds them. */
static bool
words_add(
    struct search_lex *sl, const struct key_row *row, struct imap_search_node *fuzzy)
{
	struct slice rest = fuzzy->text;

	for (unsigned i = 1; rest.len > 0; i++) {
		struct slice word =
		    i < IMAP_FUZZY_WORDS_MAX ? slice_split(&rest, ' ') : rest;
		if (i == IMAP_FUZZY_WORDS_MAX)
			rest.len = 0;
		if (word.len == 0)
			continue;
		struct imap_search_node *node = node_new(sl, row->key, row->cost);
		if (!node)
			return false;
		node->name = fuzzy->name;
		node->addresses = fuzzy->addresses;
		node->text = word;
		child_add(fuzzy, node);
	}
	return true;
}

static bool
is_text_row(const struct key_row *row)
{
	return row->argument == ARG_TEXT || row->argument == ARG_HEADER;
}

/* FROM and the like look at addresses (RFC 9051 section 6.4.4), HEADER From at text. */
static bool
is_address_row(const struct key_row *row)
{
	return row->key == IMAP_SEARCH_HEADER && row->argument == ARG_TEXT &&
	       !slice_equal(row->field, SLICE("Subject"));
}

static struct imap_search_node *
row_lex(struct search_lex *sl, const struct key_row *row)
{
	struct imap_search_node *node = node_new(sl, row->key, row->cost);
	if (!node)
		return NULL;
	node->flag_mask = row->mask;
	node->flag_want = row->want;
	node->name = row->field;
	node->addresses = is_address_row(row);
	if (!argument_lex(sl, row, node))
		return NULL;
	if (sl->fuzzy && is_text_row(row)) {
		if (!words_add(sl, row, node))
			return NULL;
		node->words_in = node->key;
		if (node->child)
			node->key = IMAP_SEARCH_FUZZY;
		return node;
	}
	if (!row->negate)
		return node;
	struct imap_search_node *negation = node_new(sl, IMAP_SEARCH_NOT, RECORD);
	if (negation)
		child_add(negation, node);
	return negation;
}

/* ---- keys that hold keys ---- */

static struct imap_search_node *
holder_lex(
    struct search_lex *sl, enum imap_search_key key, unsigned count, unsigned depth)
{
	struct imap_search_node *node = node_new(sl, key, RECORD);
	for (unsigned i = 0; node && i < count; i++) {
		struct imap_search_node *child =
		    imap_lex_space(sl->lex) ? key_lex(sl, depth + 1) : NULL;
		if (!child)
			return NULL;
		child_add(node, child);
	}
	return node;
}

/* What is negated is matched exactly: a fuzzy match would leave out what does not match.
 */
static struct imap_search_node *
not_lex(struct search_lex *sl, unsigned depth)
{
	bool fuzzy = sl->fuzzy;

	sl->fuzzy = false;
	struct imap_search_node *node = holder_lex(sl, IMAP_SEARCH_NOT, 1, depth);
	sl->fuzzy = fuzzy;
	return node;
}

static struct imap_search_node *
fuzzy_lex(struct search_lex *sl, unsigned depth)
{
	bool fuzzy = sl->fuzzy;

	sl->fuzzy = sl->args->has_fuzzy = true;
	struct imap_search_node *node = holder_lex(sl, IMAP_SEARCH_AND, 1, depth);
	sl->fuzzy = fuzzy;
	return node;
}

static struct imap_search_node *
list_lex(struct search_lex *sl, unsigned depth)
{
	struct imap_search_node *node = node_new(sl, IMAP_SEARCH_AND, RECORD);
	if (!node)
		return NULL;
	do {
		struct imap_search_node *child = key_lex(sl, depth + 1);
		if (!child)
			return NULL;
		child_add(node, child);
	} while (imap_lex_try_char(sl->lex, ' '));
	return imap_lex_char(sl->lex, ')') ? node : NULL;
}

/* NEW is RECENT and UNSEEN (RFC 3501 section 6.4.4). */
static struct imap_search_node *
new_make(struct search_lex *sl)
{
	struct imap_search_node *node = node_new(sl, IMAP_SEARCH_AND, RECORD);
	struct imap_search_node *recent = node_new(sl, IMAP_SEARCH_RECENT, RECORD);
	struct imap_search_node *unseen = node_new(sl, IMAP_SEARCH_FLAGS, RECORD);
	if (!node || !recent || !unseen)
		return NULL;
	unseen->flag_mask = MESSAGE_SEEN;
	child_add(node, recent);
	child_add(node, unseen);
	return node;
}

static struct imap_search_node *
set_key_lex(struct search_lex *sl)
{
	struct imap_search_node *node = node_new(sl, IMAP_SEARCH_MSN, RECORD);
	if (!node || !imap_seqset_lex(sl->lex, &node->set))
		return NULL;
	if (node->set.saved)
		node->key = IMAP_SEARCH_UID;
	else
		sl->args->has_numbers = true;
	return node;
}

static struct imap_search_node *
key_lex(struct search_lex *sl, unsigned depth)
{
	struct imap_lex *lex = sl->lex;
	int c = imap_lex_peek(lex);

	if (depth > IMAP_SEARCH_DEPTH_MAX) {
		(void)imap_lex_limit(lex, "search is nested too deeply");
		return NULL;
	}
	if (imap_lex_try_char(lex, '('))
		return list_lex(sl, depth);
	if ((c >= '0' && c <= '9') || c == '*' || c == '$')
		return set_key_lex(sl);
	if (imap_lex_try_word(lex, SLICE("NOT")))
		return not_lex(sl, depth);
	if (imap_lex_try_word(lex, SLICE("FUZZY")))
		return fuzzy_lex(sl, depth);
	if (imap_lex_try_word(lex, SLICE("OR")))
		return holder_lex(sl, IMAP_SEARCH_OR, 2, depth);
	if (imap_lex_try_word(lex, SLICE("NEW")))
		return new_make(sl);
	for (size_t i = 0; i < sizeof(key_rows) / sizeof(key_rows[0]); i++)
		if (imap_lex_try_word(lex, key_rows[i].name))
			return row_lex(sl, &key_rows[i]);
	(void)imap_lex_bad(lex, c < 0 ? "missing search key" : "no such search key");
	return NULL;
}

/* All keys to the frame's end. */
static bool
program_lex(struct search_lex *sl)
{
	struct imap_search_node *root = node_new(sl, IMAP_SEARCH_AND, RECORD);
	if (!root)
		return false;
	do {
		struct imap_search_node *child = key_lex(sl, 1);
		if (!child)
			return false;
		child_add(root, child);
	} while (imap_lex_try_space(sl->lex));
	sl->args->root = root;
	if (sl->args->needs_score && !sl->args->has_fuzzy)
		return imap_lex_bad(sl->lex, "RELEVANCY goes with FUZZY only");
	return true;
}

/* ---- what stands before the keys ---- */

/* Behind UPDATE: what to FETCH of new messages (RFC 5465 section 7). */
static bool
update_items_lex(struct imap_lex *lex, struct imap_search_args *args)
{
	if (!slice_has_prefix(imap_lex_rest(lex), SLICE(" (")))
		return imap_lex_ok(lex);
	args->update_fetch = arena_alloc(lex->arena, sizeof(*args->update_fetch));
	if (!args->update_fetch)
		return imap_lex_limit(lex, "command is too large");
	return imap_lex_space(lex) && imap_fetch_items_lex(lex, args->update_fetch);
}

static bool
return_option_lex(struct imap_lex *lex, struct imap_search_args *args)
{
	static const struct {
		struct slice name;
		uint32_t bit;
	} options[] = {
	    {NAME("MIN"),       IMAP_RETURN_MIN      },
	    {NAME("MAX"),       IMAP_RETURN_MAX      },
	    {NAME("ALL"),       IMAP_RETURN_ALL      },
	    {NAME("COUNT"),     IMAP_RETURN_COUNT    },
	    {NAME("SAVE"),      IMAP_RETURN_SAVE     },
	    {NAME("CONTEXT"),   IMAP_RETURN_CONTEXT  },
	    {NAME("RELEVANCY"), IMAP_RETURN_RELEVANCY},
	};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (imap_lex_try_word(lex, options[i].name)) {
			args->returns |= options[i].bit;
			return true;
		}
	}
	if (imap_lex_try_word(lex, SLICE("UPDATE"))) {
		args->returns |= IMAP_RETURN_UPDATE;
		return update_items_lex(lex, args);
	}
	if (!imap_lex_try_word(lex, SLICE("PARTIAL")))
		return imap_lex_bad(lex, "no such RETURN option");
	args->returns |= IMAP_RETURN_PARTIAL;
	return imap_lex_space(lex) && imap_partial_range_lex(lex, &args->partial_from_end,
					  &args->partial_first, &args->partial_last);
}

/* "RETURN (...) " when it is there. */
static bool
return_lex(struct imap_lex *lex, struct imap_search_args *args)
{
	if (!imap_lex_try_word(lex, SLICE("RETURN")))
		return imap_lex_ok(lex);
	args->has_return = true;
	if (!imap_lex_space(lex) || !imap_lex_char(lex, '('))
		return false;
	if (!imap_lex_try_char(lex, ')')) {
		do {
			if (!return_option_lex(lex, args))
				return false;
		} while (imap_lex_try_char(lex, ' '));
		if (!imap_lex_char(lex, ')'))
			return false;
	}
	/* RFC 9394 section 3.1: PARTIAL and ALL exclude each other. */
	if ((args->returns & IMAP_RETURN_PARTIAL) && (args->returns & IMAP_RETURN_ALL))
		return imap_lex_bad(lex, "PARTIAL and ALL exclude each other");
	if (args->returns == 0)
		args->returns = IMAP_RETURN_ALL;
	args->needs_score |= (args->returns & IMAP_RETURN_RELEVANCY) != 0;
	return imap_lex_space(lex);
}

/* Asks the converter whether it knows the charset; ours are UTF-8 and its subset. */
static bool
charset_lex(struct search_lex *sl)
{
	struct slice name;
	AUTO_BUF struct buf probe;

	buf_init(&probe, 64);
	if (!imap_lex_astring(sl->lex, &name))
		return false;
	if (slice_equal_nocase(name, SLICE("UTF-8")) ||
	    slice_equal_nocase(name, SLICE("US-ASCII")))
		return true;
	sl->charset = name;
	if (!charset_to_utf8(name, SLICE("a"), &probe))
		sl->args->bad_charset = true;
	return true;
}

/* "CHARSET x " when it is there. */
static bool
charset_option_lex(struct search_lex *sl)
{
	struct imap_lex *lex = sl->lex;

	if (!imap_lex_try_word(lex, SLICE("CHARSET")))
		return imap_lex_ok(lex);
	return imap_lex_space(lex) && charset_lex(sl) && imap_lex_space(lex);
}

static bool
search_lex(struct search_lex *sl)
{
	return imap_lex_space(sl->lex) && return_lex(sl->lex, sl->args) &&
	       charset_option_lex(sl) && program_lex(sl);
}

/* "IN (...)", RFC 7377 section 4.  No scope option is defined. */
static bool
sources_lex(struct imap_lex *lex, struct imap_search_args *args)
{
	size_t names = 0;

	args->sources = ARENA_ARRAY(lex->arena, struct imap_source, IMAP_SOURCES_MAX);
	if (!args->sources)
		return imap_lex_limit(lex, "command is too large");
	if (!imap_lex_space(lex) || !imap_lex_char(lex, '('))
		return false;
	do {
		if (args->source_count == IMAP_SOURCES_MAX)
			return imap_lex_limit(lex, "too many mailbox filters");
		struct imap_source *source = &args->sources[args->source_count++];
		if (!imap_source_lex(lex, &names, source))
			return false;
		if (source->filter == IMAP_SOURCE_SELECTED_DELAYED)
			return imap_lex_bad(lex, "SELECTED-DELAYED belongs to NOTIFY");
		/* RFC 7377 section 2.2. */
		if (source->filter != IMAP_SOURCE_SELECTED)
			args->beyond_selected = true;
	} while (imap_lex_try_char(lex, ' '));
	return imap_lex_char(lex, ')');
}

static bool
esearch_lex(struct search_lex *sl)
{
	struct imap_lex *lex = sl->lex;
	struct imap_search_args *args = sl->args;

	args->multi = true;
	if (!imap_lex_space(lex))
		return false;
	if (imap_lex_try_word(lex, SLICE("IN")) &&
	    !(sources_lex(lex, args) && imap_lex_space(lex)))
		return false;
	if (!return_lex(lex, args))
		return false;
	if ((args->returns & IMAP_RETURN_SAVE) && args->beyond_selected)
		return imap_lex_bad(lex, "SAVE goes with SELECTED only");
	if (!args->has_return)
		args->returns = IMAP_RETURN_ALL;
	args->has_return = true;
	return charset_option_lex(sl) && program_lex(sl);
}

static bool
sort_key_lex(struct imap_lex *lex, struct imap_sort_key *out)
{
	static const struct {
		struct slice name;
		enum imap_sort_by by;
	} names[] = {
	    {NAME("ARRIVAL"),     IMAP_SORT_ARRIVAL    },
	    {NAME("CC"),          IMAP_SORT_CC         },
	    {NAME("DATE"),        IMAP_SORT_DATE       },
	    {NAME("FROM"),        IMAP_SORT_FROM       },
	    {NAME("SIZE"),        IMAP_SORT_SIZE       },
	    {NAME("SUBJECT"),     IMAP_SORT_SUBJECT    },
	    {NAME("TO"),          IMAP_SORT_TO         },
	    {NAME("DISPLAYFROM"), IMAP_SORT_DISPLAYFROM},
	    {NAME("DISPLAYTO"),   IMAP_SORT_DISPLAYTO  },
	    {NAME("RELEVANCY"),   IMAP_SORT_RELEVANCY  },
	};
	out->reverse = imap_lex_try_word(lex, SLICE("REVERSE"));
	if (out->reverse && !imap_lex_space(lex))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (imap_lex_try_word(lex, names[i].name)) {
			out->by = names[i].by;
			return true;
		}
	}
	return imap_lex_bad(lex, "no such sort key");
}

static bool
sort_lex(struct search_lex *sl)
{
	struct imap_lex *lex = sl->lex;
	struct imap_search_args *args = sl->args;

	args->sort = ARENA_ARRAY(lex->arena, struct imap_sort_key, IMAP_SORT_KEYS_MAX);
	if (!args->sort)
		return imap_lex_limit(lex, "command is too large");
	if (!imap_lex_space(lex) || !return_lex(lex, args) || !imap_lex_char(lex, '('))
		return false;
	do {
		if (args->sort_count == IMAP_SORT_KEYS_MAX)
			return imap_lex_limit(lex, "too many sort keys");
		struct imap_sort_key *key = &args->sort[args->sort_count++];
		if (!sort_key_lex(lex, key))
			return false;
		args->needs_score |= key->by == IMAP_SORT_RELEVANCY;
	} while (imap_lex_try_char(lex, ' '));
	return imap_lex_char(lex, ')') && imap_lex_space(lex) && charset_lex(sl) &&
	       imap_lex_space(lex) && program_lex(sl);
}

static bool
thread_lex(struct search_lex *sl)
{
	struct imap_lex *lex = sl->lex;
	if (!imap_lex_space(lex))
		return false;
	if (imap_lex_try_word(lex, SLICE("REFERENCES")))
		sl->args->thread = IMAP_THREAD_REFERENCES;
	else if (imap_lex_try_word(lex, SLICE("REFS")))
		sl->args->thread = IMAP_THREAD_REFS;
	else if (imap_lex_try_word(lex, SLICE("ORDEREDSUBJECT")))
		sl->args->thread = IMAP_THREAD_ORDEREDSUBJECT;
	else
		return imap_lex_bad(lex, "no such thread algorithm");
	return imap_lex_space(lex) && charset_lex(sl) && imap_lex_space(lex) &&
	       program_lex(sl);
}

static enum parse_result
parse(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault, bool (*fn)(struct search_lex *sl))
{
	struct search_lex sl = {
	    .lex = lex, .args = arena_alloc(arena, sizeof(struct imap_search_args))};
	if (!sl.args)
		(void)imap_lex_limit(lex, "command is too large");
	else if (fn(&sl))
		cmd->u.search = sl.args;
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_search(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	return parse(lex, arena, cmd, fault, search_lex);
}

enum parse_result
imap_parse_esearch(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	return parse(lex, arena, cmd, fault, esearch_lex);
}

enum parse_result
imap_parse_sort(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	return parse(lex, arena, cmd, fault, sort_lex);
}

enum parse_result
imap_parse_thread(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	return parse(lex, arena, cmd, fault, thread_lex);
}
