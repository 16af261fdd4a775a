/*
 * A look over the whole file before libconfuse sees it, for what the library does not
 * tell: a file that is cut off inside a section or a string, settings that come twice,
 * a `${...}` that it would replace from the environment, and the line where each setting
 * stands.  It knows the library's tokens (words, strings in both quotes, three kinds of
 * comment) and the two shapes `name = value` and `name ["title"] { ... }`.
 *
 * Invariants: `clean` has the text's length and the text's line ends, so that offsets and
 * lines are the same in both; every key lies inside one block; a block in which anything
 * was reported is marked as damaged.
 *
 * Pure.  It neither checks names nor values: conf.c does.
 */
#include "conf/conf_int.h"

#include <stdlib.h>

#include "base/ensure.h"

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_STRING,
	TOKEN_MARK,   /* one of { } ( ) = , and "+=" as '+' */
	TOKEN_BROKEN, /* a string or comment without end; reported already */
};

struct token {
	enum token_kind kind;
	char mark;
	struct slice text; /* of a string: what is between the quotes */
	int line;
	size_t start;
	size_t end;
};

struct scanner {
	struct slice text;
	const char *name;
	size_t at;
	int line;
	struct token token; /* the current one */
	struct conf_scan *out;
	struct conf_errors *errors;
	size_t block_cap;
	size_t key_cap;
	bool full;        /* CONF_KEYS_MAX was reported */
	bool substitutes; /* a "${" was seen since this was last cleared */
};

#define FAULT(s, line, ...)                                                              \
	conf_error_add((s)->errors, (s)->name, (line), false, __VA_ARGS__)

static bool
is_word_byte(char c)
{
	return !strchr(" \"'\t\n\r={}()+,#", c);
}

static char
peek(const struct scanner *s, size_t ahead)
{
	struct slice rest = slice_sub(s->text, s->at + ahead, 1);

	return (char)(rest.len > 0 ? rest.ptr[0] : '\0');
}

/* Comments count for nothing, but their line ends do. */
static void
blank_out(struct scanner *s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (s->out->clean[i] != '\n')
			s->out->clean[i] = ' ';
}

static void
skip_line_comment(struct scanner *s)
{
	size_t from = s->at;

	while (s->at < s->text.len && s->text.ptr[s->at] != '\n')
		s->at++;
	blank_out(s, from, s->at);
}

/* False when the comment has no end. */
static bool
skip_block_comment(struct scanner *s)
{
	size_t from = s->at;
	int line = s->line;

	for (s->at += 2; s->at < s->text.len; s->at++) {
		if (s->text.ptr[s->at] == '\n')
			s->line++;
		if (s->text.ptr[s->at] == '*' && peek(s, 1) == '/') {
			s->at += 2;
			blank_out(s, from, s->at);
			return true;
		}
	}
	FAULT(s, line,
	    "the comment that begins here is never closed: is the file cut off?");
	blank_out(s, from, s->at);
	return false;
}

static bool
skip_blank(struct scanner *s)
{
	for (;;) {
		char c = peek(s, 0);
		if (s->at >= s->text.len)
			return true;
		if (c == '\n')
			s->line++;
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			s->at++;
		else if (c == '#' || (c == '/' && peek(s, 1) == '/'))
			skip_line_comment(s);
		else if (c == '/' && peek(s, 1) == '*') {
			if (!skip_block_comment(s))
				return false;
		} else
			return true;
	}
}

static void
fault_substitution(struct scanner *s)
{
	FAULT(s, s->line,
	    "${...} would be taken from the environment, which is not allowed: write the "
	    "value itself, or '...' around these characters");
	s->substitutes = true;
}

static void
read_string(struct scanner *s)
{
	char quote = s->text.ptr[s->at];
	struct token *t = &s->token;
	size_t from = ++s->at;

	for (; s->at < s->text.len && s->text.ptr[s->at] != quote; s->at++) {
		char c = s->text.ptr[s->at];
		if (c == '\\' && s->at + 1 < s->text.len)
			c = s->text.ptr[++s->at];
		else if (c == '$' && quote == '"' && peek(s, 1) == '{')
			fault_substitution(s);
		if (c == '\n')
			s->line++;
	}
	t->text = slice_sub(s->text, from, s->at - from);
	if (s->at >= s->text.len) {
		FAULT(s, t->line,
		    "the %c that opens here is never closed: is the file cut off?",
		    quote);
		t->kind = TOKEN_BROKEN;
		return;
	}
	s->at++;
	t->kind = TOKEN_STRING;
}

static void
read_word(struct scanner *s)
{
	size_t from = s->at;

	while (s->at < s->text.len && is_word_byte(s->text.ptr[s->at])) {
		/* The library ends a word where a comment would begin. */
		if (s->text.ptr[s->at] == '/' && s->at > from &&
		    (peek(s, 1) == '/' || peek(s, 1) == '*'))
			break;
		if (s->text.ptr[s->at] == '$' && peek(s, 1) == '{') {
			fault_substitution(s);
			while (s->at < s->text.len && !strchr("}\n", s->text.ptr[s->at]))
				s->at++;
			if (peek(s, 0) == '}')
				s->at++;
			continue;
		}
		s->at++;
	}
	s->token.kind = TOKEN_WORD;
	s->token.text = slice_sub(s->text, from, s->at - from);
}

static void
next_token(struct scanner *s)
{
	bool closed = skip_blank(s);
	struct token *t = &s->token;

	*t = (struct token){.kind = TOKEN_END, .line = s->line, .start = s->at};
	if (!closed) {
		t->kind = TOKEN_BROKEN;
	} else if (s->at < s->text.len) {
		char c = s->text.ptr[s->at];
		if (c == '"' || c == '\'') {
			read_string(s);
		} else if (c == '+' && peek(s, 1) == '=') {
			t->kind = TOKEN_MARK;
			t->mark = '+';
			s->at += 2;
		} else if (strchr("{}()=,+", c)) {
			t->kind = TOKEN_MARK;
			t->mark = (char)(c == '+' ? '?' : c);
			s->at++;
		} else {
			read_word(s);
		}
	}
	t->end = s->at;
}

static bool
at_mark(const struct scanner *s, char mark)
{
	return s->token.kind == TOKEN_MARK && s->token.mark == mark;
}

static bool
at_value(const struct scanner *s)
{
	return s->token.kind == TOKEN_WORD || s->token.kind == TOKEN_STRING;
}

static bool
at_stop(const struct scanner *s)
{
	return s->token.kind == TOKEN_END || s->token.kind == TOKEN_BROKEN;
}

/* What stands here, for a message. */
static struct slice
token_shown(const struct scanner *s)
{
	if (at_stop(s))
		return SLICE("the end of the file");
	return slice_sub(s->text, s->token.start, s->token.end - s->token.start);
}

static struct conf_scan_block *
block_add(struct scanner *s, const struct token *name)
{
	struct conf_scan *out = s->out;

	if (out->block_count == s->block_cap) {
		s->block_cap = s->block_cap ? s->block_cap * 2 : 32;
		out->blocks = xrealloc(out->blocks, s->block_cap * sizeof(*out->blocks));
	}
	struct conf_scan_block *block = &out->blocks[out->block_count++];
	*block = (struct conf_scan_block){.section = SLICE(""),
	    .line = name->line,
	    .start = name->start,
	    .end = name->end};
	return block;
}

static void
key_add(struct scanner *s, const struct token *name, bool list)
{
	struct conf_scan *out = s->out;

	if (out->key_count == CONF_KEYS_MAX) {
		if (!s->full)
			FAULT(s, name->line, "more than %d settings", CONF_KEYS_MAX);
		s->full = true;
		return;
	}
	if (out->key_count == s->key_cap) {
		s->key_cap = s->key_cap ? s->key_cap * 2 : 64;
		out->keys = xrealloc(out->keys, s->key_cap * sizeof(*out->keys));
	}
	out->keys[out->key_count++] = (struct conf_scan_key){
	    .name = name->text,
	    .line = name->line,
	    .start = name->start,
	    .end = s->token.end,
	    .block = out->block_count - 1,
	    .list = list,
	    .refused = s->substitutes,
	};
}

/* After an error: on to the next line's first token, or to a brace of this level. */
static void
recover(struct scanner *s)
{
	int line = s->token.line;
	int depth = 0;

	while (!at_stop(s)) {
		if (at_mark(s, '{'))
			depth++;
		if (at_mark(s, '}')) {
			if (depth == 0)
				return;
			depth--;
		} else if (depth == 0 && s->token.line > line) {
			return;
		}
		next_token(s);
	}
}

/* `{ a, b }` from the brace on; leaves the closing brace as the current token. */
static bool
scan_list(struct scanner *s)
{
	int line = s->token.line;

	for (next_token(s); !at_mark(s, '}'); next_token(s)) {
		if (!at_value(s))
			break;
		next_token(s);
		if (at_mark(s, '}'))
			return true;
		if (!at_mark(s, ','))
			break;
	}
	if (at_mark(s, '}'))
		return true;
	if (s->token.kind == TOKEN_END)
		FAULT(
		    s, line, "the { of this list is never closed: is the file cut off?");
	else if (s->token.kind != TOKEN_BROKEN)
		FAULT(s, s->token.line,
		    "'%.*s' is not expected in a list: write {\"a\", \"b\"}",
		    (int)(token_shown(s).len > 40 ? 40 : token_shown(s).len),
		    token_shown(s).ptr);
	return false;
}

/* `name = value` from the sign on.  False when it was reported. */
static bool
scan_setting(struct scanner *s, const struct token *name)
{
	bool list = false;

	s->substitutes = false;
	if (at_mark(s, '+')) {
		FAULT(s, s->token.line,
		    "'%.*s +=' is not known: write the whole list with =",
		    SLICE_ARG(name->text));
		return false;
	}
	next_token(s);
	if (at_mark(s, '{')) {
		list = true;
		if (!scan_list(s))
			return false;
	} else if (!at_value(s)) {
		if (s->token.kind != TOKEN_BROKEN)
			FAULT(s, s->token.kind == TOKEN_END ? name->line : s->token.line,
			    "'%.*s' has no value", SLICE_ARG(name->text));
		return false;
	} else if (s->token.kind == TOKEN_WORD && s->token.end == s->text.len) {
		/* "threads = 1" could be the rest of "threads = 16". */
		FAULT(s, s->token.line,
		    "the file ends within this line: is it cut off? (the last line needs "
		    "its "
		    "line end)");
		return false;
	}
	key_add(s, name, list);
	next_token(s);
	return true;
}

static void
fault_shape(struct scanner *s, const struct token *name, struct slice shown)
{
	if (s->token.kind == TOKEN_BROKEN)
		return;
	if (at_mark(s, '('))
		FAULT(s, name->line, "%.*s(...) is not known: one file holds everything",
		    SLICE_ARG(slice_sub(name->text, 0, 40)));
	else
		FAULT(s, name->line, "'=' is missing after '%.*s' (before '%.*s')",
		    SLICE_ARG(slice_sub(name->text, 0, 40)),
		    SLICE_ARG(slice_sub(shown, 0, 40)));
}

/* The settings of a section up to its closing brace, which stays the current token. */
static void
scan_section(struct scanner *s, size_t index, struct slice section)
{
	struct conf_scan *out = s->out;
	int line = out->blocks[index].line;

	next_token(s);
	while (!at_mark(s, '}') && !at_stop(s)) {
		struct token name = s->token;
		if (name.kind != TOKEN_WORD) {
			FAULT(s, name.line,
			    "'%.*s' is not expected here: a setting is name = value",
			    SLICE_ARG(slice_sub(token_shown(s), 0, 40)));
			out->blocks[index].damaged = true;
			next_token(s);
			recover(s);
			continue;
		}
		next_token(s);
		if (at_mark(s, '=') || at_mark(s, '+')) {
			if (scan_setting(s, &name))
				continue;
		} else if (at_mark(s, '{') || s->token.kind == TOKEN_STRING) {
			FAULT(s, name.line,
			    "a section cannot begin inside another: is the } of '%.*s' "
			    "(line %d) missing?",
			    SLICE_ARG(section), line);
		} else {
			fault_shape(s, &name, token_shown(s));
		}
		out->blocks[index].damaged = true;
		recover(s);
	}
	if (s->token.kind == TOKEN_END)
		FAULT(s, line, "the { of '%.*s' is never closed: is the file cut off?",
		    SLICE_ARG(section));
	if (at_stop(s))
		out->blocks[index].damaged = true;
}

static void
scan_top(struct scanner *s)
{
	struct token name = s->token;

	if (name.kind != TOKEN_WORD) {
		FAULT(s, name.line,
		    at_mark(s, '}')
			? "this } closes nothing"
			: "a name is expected here: name = value, or name { ... }");
		next_token(s);
		/* Braces that match nothing must not stop the rest. */
		while (!at_stop(s) &&
		       (s->token.kind != TOKEN_WORD || s->token.line == name.line))
			next_token(s);
		return;
	}
	if (s->out->block_count == CONF_BLOCKS_MAX) {
		FAULT(
		    s, name.line, "more than %d sections and settings", CONF_BLOCKS_MAX);
		s->at = s->text.len;
		next_token(s);
		return;
	}
	size_t index = (size_t)(block_add(s, &name) - s->out->blocks);
	next_token(s);
	if (at_mark(s, '=') || at_mark(s, '+')) {
		s->out->blocks[index].damaged = !scan_setting(s, &name);
		if (s->out->blocks[index].damaged)
			recover(s);
		else
			s->out->blocks[index].end =
			    s->out->key_count ? s->out->keys[s->out->key_count - 1].end
					      : 0;
		return;
	}
	struct slice shown = token_shown(s);
	s->out->blocks[index].section = name.text;
	if (at_value(s)) {
		struct token title = s->token;
		next_token(s);
		if (at_mark(s, '{')) {
			s->out->blocks[index].title = title.text;
			s->out->blocks[index].has_title = true;
		}
	}
	if (!at_mark(s, '{')) {
		fault_shape(s, &name, shown);
		s->out->blocks[index].section = SLICE("");
		s->out->blocks[index].damaged = true;
		recover(s);
		return;
	}
	scan_section(s, index, name.text);
	s->out->blocks[index].end = s->token.end;
	next_token(s);
}

void
conf_scan(struct slice text, const char *name, struct conf_scan *out,
    struct conf_errors *errors)
{
	struct scanner s = {
	    .text = text, .name = name, .line = 1, .out = out, .errors = errors};

	*out = (struct conf_scan){0};
	out->clean = xmalloc(text.len + 1);
	memcpy(out->clean, text.len ? text.ptr : "", text.len);
	out->clean[text.len] = '\0';
	next_token(&s);
	while (!at_stop(&s))
		scan_top(&s);
	out->last_line = s.line;
}

void
conf_scan_free(struct conf_scan *scan)
{
	free(scan->blocks);
	free(scan->keys);
	free(scan->clean);
	*scan = (struct conf_scan){0};
}
