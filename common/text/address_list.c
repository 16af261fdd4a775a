/*
 * Address lists of header fields (RFC 5322 section 3.4 with section 4.4), lenient.
 *
 * One pass over the value.  Words are written, without quotes and comments, into one
 * text of the value's length; an element's name and mailbox are ranges of that text.
 * Which words were the address is decided at the element's end: the angle brackets when
 * there are any, else the word with an unquoted "@", else a lone word.  Encoded-words
 * stay as they are, with the commas that careless senders leave in them.  Linear.
 */
#include "text/address.h"

enum {
	LIST_CAP_FIRST = 4, /* elements */
	LIST_WORD_MAX =
	    2000, /* bytes of an encoded-word that are looked at; as header_words */
	LIST_WORD_MARKS_MAX = 7, /* question marks of one */
};

#define NOWHERE SIZE_MAX

/* A range of the text. */
struct range {
	size_t from, to;
};

struct parser {
	struct slice in;
	size_t at;
	size_t last_close; /* of the last ">" of the value; NOWHERE for none */
	struct arena *arena;
	char *text;
	size_t len; /* bytes of text in use */
	struct list_address *list;
	size_t count, cap;
	bool in_group;

	/* The element being read. */
	size_t start; /* of its words in text */
	size_t word;  /* start of the current word */
	bool blank;   /* something parted the next word from the last */
	bool any_word;
	size_t at_sign;       /* in text, NOWHERE for none */
	struct range address; /* the word with at_sign */
	bool angle;
	struct range route, local, host; /* of the angle brackets */
	struct slice comment;            /* the last one, without its parentheses */
};

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice
text_range(const struct parser *p, struct range r)
{
	return slice_make(p->text + r.from, r.to - r.from);
}

static void
element_reset(struct parser *p)
{
	p->start = p->word = p->len;
	p->blank = p->any_word = p->angle = false;
	p->at_sign = NOWHERE;
	p->address = p->route = p->local = p->host = (struct range){0, 0};
	p->comment = SLICE_NULL;
}

static void
list_add(struct parser *p, const struct list_address *element)
{
	if (p->count == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : LIST_CAP_FIRST;
		struct list_address *grown =
		    ARENA_ARRAY(p->arena, struct list_address, cap);
		if (!grown)
			return;
		if (p->count)
			memcpy(grown, p->list, p->count * sizeof(*grown));
		p->list = grown;
		p->cap = cap;
	}
	p->list[p->count++] = *element;
}

/* Before a word is written: a space when blanks or a comment came before it.  Around "@"
 * and before "." within an address they do not count (obsolete forms). */
static void
word_begin(struct parser *p, char first)
{
	bool in_address = p->at_sign != NOWHERE && p->address.to == p->len;
	bool glue = in_address && (first == '.' || p->text[p->len - 1] == '@' ||
				      p->text[p->len - 1] == '.');
	if (p->blank && p->any_word && !glue) {
		p->text[p->len++] = ' ';
		p->word = p->len;
	} else if (!p->any_word) {
		p->word = p->len;
	}
	p->blank = false;
	p->any_word = true;
}

/* After a word's bytes were written: they belong to the address while it goes on. */
static void
word_end(struct parser *p, size_t from)
{
	if (p->at_sign != NOWHERE && p->address.to == from)
		p->address.to = p->len;
}

static void
put(struct parser *p, char c)
{
	p->text[p->len++] = c;
}

/* Copies to the closing quote, escapes resolved, line ends dropped. */
static void
read_quoted(struct parser *p)
{
	for (p->at++; p->at < p->in.len; p->at++) {
		char c = p->in.ptr[p->at];
		if (c == '"') {
			p->at++;
			return;
		}
		if (c == '\\' && p->at + 1 < p->in.len)
			c = p->in.ptr[++p->at];
		if (c != '\r' && c != '\n')
			put(p, c);
	}
}

static void
read_comment(struct parser *p)
{
	size_t depth = 0, from = p->at + 1, at = p->at;
	for (; at < p->in.len; at++) {
		char c = p->in.ptr[at];
		if (c == '\\' && at + 1 < p->in.len)
			at++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0)
			break;
	}
	p->comment = slice_sub(p->in, from, at - from);
	p->at = at < p->in.len ? at + 1 : at;
	p->blank = true;
}

/* An encoded-word without blanks at p->at: its length, else 0. */
static size_t
encoded_word_length(const struct parser *p)
{
	struct slice s = slice_sub(slice_from(p->in, p->at), 0, LIST_WORD_MAX);
	if (s.len < 8 || s.ptr[0] != '=' || s.ptr[1] != '?')
		return 0;
	int marks = 1;
	for (size_t i = 2; i + 1 < s.len; i++) {
		if (is_space(s.ptr[i]))
			return 0;
		if (s.ptr[i] != '?')
			continue;
		if (++marks > 3 && s.ptr[i + 1] == '=')
			return i + 2;
		if (marks > LIST_WORD_MARKS_MAX)
			return 0;
	}
	return 0;
}

/* Everything up to the next byte that means something, or an encoded-word whole. */
static void
read_atom(struct parser *p)
{
	size_t encoded = encoded_word_length(p);
	if (encoded) {
		memcpy(p->text + p->len, p->in.ptr + p->at, encoded);
		p->len += encoded;
		p->at += encoded;
		return;
	}
	size_t from = p->at;
	while (p->at < p->in.len) {
		char c = p->in.ptr[p->at];
		if (is_space(c) || c == '"' || c == '(' || c == '<' || c == ',' ||
		    c == ';' || c == ':' || c == '@' || c == '[')
			break;
		if (c == '=' && p->at > from && encoded_word_length(p))
			break;
		if (c != '\0')
			put(p, c);
		p->at++;
	}
}

/* "[...]" of a domain literal; brackets elsewhere are ordinary text. */
static void
read_bracket(struct parser *p)
{
	bool literal = p->len > p->start && p->text[p->len - 1] == '@';
	put(p, p->in.ptr[p->at++]);
	while (literal && p->at < p->in.len) {
		char c = p->in.ptr[p->at];
		if (c == ',' || c == '>' || c == ';' || is_space(c))
			return;
		put(p, c);
		p->at++;
		if (c == ']')
			return;
	}
}

static void
read_at_sign(struct parser *p)
{
	if (!p->any_word)
		p->word = p->len;
	p->any_word = true;
	p->blank = false;
	p->at_sign = p->len;
	put(p, '@');
	p->address = (struct range){p->word, p->len};
	p->at++;
}

/* Between "<" and ">": blanks and comments dropped. */
static void
read_angle(struct parser *p)
{
	bool closes = p->last_close != NOWHERE && p->at < p->last_close;
	size_t at_sign = NOWHERE;

	p->angle = true;
	p->at++;
	p->route = (struct range){p->len, p->len};
	p->local = (struct range){p->len, p->len};
	while (p->at < p->in.len) {
		char c = p->in.ptr[p->at];
		if (c == '>' || (!closes && (c == ',' || c == ';')))
			break;
		if (c == '"') {
			read_quoted(p);
			continue;
		}
		if (c == '(') {
			bool blank = p->blank;
			read_comment(p);
			p->blank = blank;
			continue;
		}
		p->at++;
		if (is_space(c) || c == '\0')
			continue;
		if (c == ':' && p->len > p->local.from && p->text[p->local.from] == '@') {
			p->route.to = p->len; /* "@a,@b:" is behind us */
			p->local.from = p->len;
			at_sign = NOWHERE;
			continue;
		}
		if (c == '@')
			at_sign = p->len;
		put(p, c);
	}
	if (p->at < p->in.len && p->in.ptr[p->at] == '>')
		p->at++;
	p->local.to = at_sign == NOWHERE ? p->len : at_sign;
	p->host = (struct range){at_sign == NOWHERE ? p->len : at_sign + 1, p->len};
	p->word = p->len;
	p->blank = true;
}

/* The comment as a name: escapes resolved, line ends dropped. */
static struct slice
comment_text(struct parser *p)
{
	size_t from = p->len;
	struct slice raw = slice_trim(p->comment);
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];
		if (c == '\\' && i + 1 < raw.len)
			c = raw.ptr[++i];
		if (c != '\r' && c != '\n')
			put(p, c);
	}
	return text_range(p, (struct range){from, p->len});
}

/* Names around an address without angle brackets: "John jdoe@host". */
static struct slice
words_but_address(const struct parser *p)
{
	struct slice before =
	    slice_trim(text_range(p, (struct range){p->start, p->address.from}));
	if (before.len)
		return before;
	return slice_trim(text_range(p, (struct range){p->address.to, p->len}));
}

static void
element_finish(struct parser *p)
{
	struct list_address element = {0};
	struct slice words = text_range(p, (struct range){p->start, p->len});
	if (p->angle) {
		words = text_range(p, (struct range){p->start, p->route.from});
		element.name = slice_trim(words);
		element.route = text_range(p, p->route);
		element.mailbox = text_range(p, p->local);
		element.host = text_range(p, p->host);
	} else if (p->at_sign != NOWHERE) {
		element.mailbox =
		    text_range(p, (struct range){p->address.from, p->at_sign});
		element.host =
		    text_range(p, (struct range){p->at_sign + 1, p->address.to});
		element.name = words_but_address(p);
	} else if (p->any_word) {
		/* No domain: an empty host, since a null one would mean a group. */
		bool lone = p->word == p->start;
		element.mailbox = lone ? words : SLICE("");
		element.name = lone ? SLICE_NULL : words;
		element.host = SLICE("");
	} else {
		element_reset(p);
		return;
	}
	if (element.name.len == 0)
		element.name = p->comment.len ? comment_text(p) : SLICE_NULL;
	if (element.name.len == 0)
		element.name = SLICE_NULL;
	if (element.route.len == 0)
		element.route = SLICE_NULL;
	list_add(p, &element);
	element_reset(p);
}

static void
group_begin(struct parser *p)
{
	struct list_address element = {.group_start = true};
	element.mailbox = text_range(p, (struct range){p->start, p->len});
	p->in_group = true;
	list_add(p, &element);
	element_reset(p);
}

static void
group_end(struct parser *p)
{
	struct list_address element = {.group_end = true};
	element_finish(p);
	if (p->in_group)
		list_add(p, &element);
	p->in_group = false;
}

static void
read_word(struct parser *p, char first)
{
	word_begin(p, first);
	size_t from = p->len;
	if (first == '"')
		read_quoted(p);
	else if (first == '[')
		read_bracket(p);
	else
		read_atom(p);
	word_end(p, from);
}

static void
read_colon(struct parser *p)
{
	p->at++;
	if (p->in_group || p->angle || !p->any_word || p->at_sign != NOWHERE) {
		word_begin(p, ':');
		size_t from = p->len;
		put(p, ':');
		word_end(p, from);
		return;
	}
	group_begin(p);
}

static void
read_step(struct parser *p)
{
	char c = p->in.ptr[p->at];
	switch (c) {
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		p->blank = true;
		p->at++;
		break;
	case ',':
		p->at++;
		element_finish(p);
		break;
	case ';':
		p->at++;
		group_end(p);
		break;
	case ':':
		read_colon(p);
		break;
	case '(':
		read_comment(p);
		break;
	case '<':
		if (p->angle) /* a second one: the comma was lost */
			element_finish(p);
		read_angle(p);
		break;
	case '@':
		if (p->angle)
			p->at++;
		else
			read_at_sign(p);
		break;
	default: /* behind angle brackets: written, but in no range */
		read_word(p, c);
		break;
	}
}

size_t
address_list_parse(struct slice value, struct arena *arena, struct list_address **out)
{
	struct parser p = {.in = value, .arena = arena, .last_close = NOWHERE};
	*out = NULL;
	/* Every byte written stands for a byte read, but for a space before a word that
	 * blanks or a comment's parentheses stand for. */
	p.text = value.len ? arena_alloc(arena, value.len + 2) : NULL;
	if (!p.text)
		return 0;
	p.last_close = slice_rindex(value, '>');
	element_reset(&p);
	/* Two places stay free for the last element and the end of its group. */
	while (p.at < value.len && p.count < ADDRESS_LIST_MAX - 2)
		read_step(&p);
	if (p.in_group)
		group_end(&p);
	else
		element_finish(&p);
	*out = p.list;
	return p.count;
}
