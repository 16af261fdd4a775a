/*
 * Lexer primitives: one table of character classes, and functions that either take what
 * they name or set the sticky fault.
 *
 * Invariants: pos never passes in.len; after a fault nothing moves.
 */
#include "imapd/imap_lex.h"

#include "store/message.h"
#include "text/date.h"

enum {                      /* character classes */
	C_ATOM = 1 << 0,    /* ATOM-CHAR */
	C_ASTRING = 1 << 1, /* ASTRING-CHAR: atom and "]" */
	C_LIST = 1 << 2,    /* list-char: astring and wildcards */
	C_TAG = 1 << 3,     /* astring without "+" */
	C_WORD = 1 << 4,    /* letters, digits, - . = */
};

/* Class bits by byte.  Atom-specials are "(", ")", "{", space, controls, "%", "*", the
 * double quote, "\" and "]" (RFC 9051 section 9).  Bytes over 127 are in no class. */
#define PC (C_ATOM | C_ASTRING | C_LIST | C_TAG)
#define WC (PC | C_WORD)
/* clang-format off */
static const uint8_t classes[256] = {
	['!'] = PC, ['#'] = PC, ['$'] = PC, ['&'] = PC, ['\''] = PC, [','] = PC,
	['-'] = WC, ['.'] = WC, ['/'] = PC, [':'] = PC, [';'] = PC, ['<'] = PC,
	['='] = WC, ['>'] = PC, ['?'] = PC, ['@'] = PC, ['['] = PC, ['^'] = PC,
	['_'] = PC, ['`'] = PC, ['|'] = PC, ['}'] = PC, ['~'] = PC,
	['+'] = C_ATOM | C_ASTRING | C_LIST,
	[']'] = C_ASTRING | C_LIST | C_TAG,
	['%'] = C_LIST, ['*'] = C_LIST,
	['0'] = WC, ['1'] = WC, ['2'] = WC, ['3'] = WC, ['4'] = WC,
	['5'] = WC, ['6'] = WC, ['7'] = WC, ['8'] = WC, ['9'] = WC,
	['A'] = WC, ['B'] = WC, ['C'] = WC, ['D'] = WC, ['E'] = WC, ['F'] = WC,
	['G'] = WC, ['H'] = WC, ['I'] = WC, ['J'] = WC, ['K'] = WC, ['L'] = WC,
	['M'] = WC, ['N'] = WC, ['O'] = WC, ['P'] = WC, ['Q'] = WC, ['R'] = WC,
	['S'] = WC, ['T'] = WC, ['U'] = WC, ['V'] = WC, ['W'] = WC, ['X'] = WC,
	['Y'] = WC, ['Z'] = WC,
	['a'] = WC, ['b'] = WC, ['c'] = WC, ['d'] = WC, ['e'] = WC, ['f'] = WC,
	['g'] = WC, ['h'] = WC, ['i'] = WC, ['j'] = WC, ['k'] = WC, ['l'] = WC,
	['m'] = WC, ['n'] = WC, ['o'] = WC, ['p'] = WC, ['q'] = WC, ['r'] = WC,
	['s'] = WC, ['t'] = WC, ['u'] = WC, ['v'] = WC, ['w'] = WC, ['x'] = WC,
	['y'] = WC, ['z'] = WC,
};
/* clang-format on */

bool
imap_is_atom_char(unsigned char c)
{
	return classes[c] & C_ATOM;
}

bool
imap_is_astring_char(unsigned char c)
{
	return classes[c] & C_ASTRING;
}

void
imap_lex_init(struct imap_lex *lex, struct slice frame, struct arena *arena)
{
	*lex = (struct imap_lex){.in = frame, .arena = arena};
}

static bool
fault_set(struct imap_lex *lex, enum parse_result result, const char *text)
{
	if (imap_lex_ok(lex))
		lex->fault = (struct imap_fault){result, lex->pos, text};
	return false;
}

bool
imap_lex_bad(struct imap_lex *lex, const char *text)
{
	return fault_set(lex, PARSE_BAD, text);
}

bool
imap_lex_limit(struct imap_lex *lex, const char *text)
{
	return fault_set(lex, PARSE_LIMIT, text);
}

enum parse_result
imap_lex_result(const struct imap_lex *lex, struct parse_fault *fault)
{
	if (!imap_lex_ok(lex))
		fault->text = lex->fault.text;
	return lex->fault.result;
}

struct slice
imap_lex_rest(const struct imap_lex *lex)
{
	return slice_from(lex->in, lex->pos);
}

int
imap_lex_peek(const struct imap_lex *lex)
{
	if (!imap_lex_ok(lex) || lex->pos >= lex->in.len)
		return -1;
	return (unsigned char)lex->in.ptr[lex->pos];
}

bool
imap_lex_end(struct imap_lex *lex)
{
	if (!imap_lex_ok(lex))
		return false;
	size_t at = lex->pos;
	while (at < lex->in.len && lex->in.ptr[at] == ' ')
		at++;
	if (at < lex->in.len)
		return imap_lex_bad(lex, "unexpected text at the end");
	lex->pos = at;
	return true;
}

bool
imap_lex_try_char(struct imap_lex *lex, char c)
{
	if (imap_lex_peek(lex) != (unsigned char)c)
		return false;
	lex->pos++;
	return true;
}

bool
imap_lex_char(struct imap_lex *lex, char c)
{
	if (imap_lex_try_char(lex, c))
		return true;
	switch (c) {
	case '(':
		return imap_lex_bad(lex, "expected an opening parenthesis");
	case ')':
		return imap_lex_bad(lex, "expected a closing parenthesis");
	case ']':
		return imap_lex_bad(lex, "expected a closing bracket");
	case '"':
		return imap_lex_bad(lex, "expected a quote");
	default:
		return imap_lex_bad(lex, "unexpected character");
	}
}

bool
imap_lex_space(struct imap_lex *lex)
{
	if (imap_lex_try_char(lex, ' '))
		return true;
	return imap_lex_bad(
	    lex, imap_lex_peek(lex) < 0 ? "missing argument" : "expected a space");
}

bool
imap_lex_try_space(struct imap_lex *lex)
{
	if (imap_lex_peek(lex) != ' ')
		return false;
	size_t at = lex->pos;
	while (at < lex->in.len && lex->in.ptr[at] == ' ')
		at++;
	if (at == lex->in.len) /* blanks at the end belong to imap_lex_end */
		return false;
	lex->pos++;
	return true;
}

/* The longest run of a class from pos; nothing moves. */
static struct slice
run_peek(const struct imap_lex *lex, uint8_t class)
{
	struct slice rest = imap_lex_ok(lex) ? imap_lex_rest(lex) : SLICE_NULL;
	size_t n = 0;
	while (n < rest.len && (classes[(unsigned char)rest.ptr[n]] & class))
		n++;
	return slice_sub(rest, 0, n);
}

static bool
run_take(struct imap_lex *lex, uint8_t class, const char *text, struct slice *out)
{
	struct slice run = run_peek(lex, class);
	if (run.len == 0)
		return imap_lex_bad(
		    lex, imap_lex_peek(lex) < 0 ? "missing argument" : text);
	lex->pos += run.len;
	*out = run;
	return true;
}

bool
imap_lex_try_word(struct imap_lex *lex, struct slice word)
{
	struct slice run = run_peek(lex, C_ATOM);
	/* Item names end at "[" or at a partial's "<": BODY[...], BINARY.SIZE[...]. */
	size_t bracket = slice_index(run, '[');
	if (bracket != SIZE_MAX)
		run.len = bracket;
	if (!slice_equal_nocase(run, word) || run.len == 0)
		return false;
	lex->pos += run.len;
	return true;
}

bool
imap_lex_tag(struct imap_lex *lex, struct slice *out)
{
	struct slice run;
	if (!run_take(lex, C_TAG, "tag is not valid", &run))
		return false;
	if (run.len > IMAP_TAG_MAX) {
		lex->pos -= run.len;
		return imap_lex_bad(lex, "tag is too long");
	}
	*out = run;
	return true;
}

bool
imap_lex_atom(struct imap_lex *lex, struct slice *out)
{
	return run_take(lex, C_ATOM, "expected an atom", out);
}

bool
imap_lex_word(struct imap_lex *lex, struct slice *out)
{
	return run_take(lex, C_WORD, "expected a word", out);
}

/* ---- strings ---- */

static bool
quoted_take(struct imap_lex *lex, struct slice *out)
{
	struct slice rest = slice_from(lex->in, lex->pos + 1);
	size_t n = 0, escapes = 0;
	while (n < rest.len && rest.ptr[n] != '"') {
		char c = rest.ptr[n];
		if (c == '\\') {
			if (n + 1 >= rest.len ||
			    (rest.ptr[n + 1] != '"' && rest.ptr[n + 1] != '\\'))
				return imap_lex_bad(lex, "bad escape in a quoted string");
			escapes++;
			n++;
		} else if (c == '\r' || c == '\n' || c == '\0') {
			return imap_lex_bad(lex, "line break in a quoted string");
		}
		n++;
	}
	if (n >= rest.len)
		return imap_lex_bad(lex, "quoted string has no end");
	struct slice raw = slice_sub(rest, 0, n);
	if (escapes) {
		char *copy = arena_alloc(lex->arena, raw.len - escapes + 1);
		if (!copy)
			return imap_lex_limit(lex, "command is too large");
		size_t len = 0;
		for (size_t i = 0; i < raw.len; i++) {
			if (raw.ptr[i] == '\\')
				i++;
			copy[len++] = raw.ptr[i];
		}
		raw = slice_make(copy, len);
	}
	lex->pos += n + 2;
	*out = raw;
	return true;
}

/* "{5}\r\nhello", "{5+}", "~{5}": the framer has seen to it that the bytes are there, but
 * a parser believes nothing. */
static bool
literal_take(struct imap_lex *lex, struct slice *out)
{
	struct slice rest = imap_lex_rest(lex);
	size_t at = rest.ptr[0] == '~' ? 2 : 1;
	size_t digits = at;
	uint64_t size;
	while (digits < rest.len && ascii_is_digit(rest.ptr[digits]))
		digits++;
	if (!slice_to_u64(slice_sub(rest, at, digits - at), SIZE_MAX / 2, &size))
		return imap_lex_bad(lex, "bad literal");
	at = digits;
	if (at < rest.len && rest.ptr[at] == '+')
		at++;
	if (!slice_has_prefix(slice_from(rest, at), SLICE("}\r\n")))
		return imap_lex_bad(lex, "bad literal");
	at += 3;
	if (rest.len - at < size)
		return imap_lex_bad(lex, "literal is incomplete");
	*out = slice_sub(rest, at, (size_t)size);
	lex->pos += at + (size_t)size;
	return true;
}

static bool
is_string_start(const struct imap_lex *lex)
{
	int c = imap_lex_peek(lex);
	return c == '"' || c == '{' ||
	       (c == '~' && slice_has_prefix(imap_lex_rest(lex), SLICE("~{")));
}

bool
imap_lex_string(struct imap_lex *lex, struct slice *out)
{
	if (!is_string_start(lex))
		return imap_lex_bad(lex,
		    imap_lex_peek(lex) < 0 ? "missing argument" : "expected a string");
	return imap_lex_peek(lex) == '"' ? quoted_take(lex, out) : literal_take(lex, out);
}

bool
imap_lex_nstring(struct imap_lex *lex, struct slice *out)
{
	if (imap_lex_try_word(lex, SLICE("NIL"))) {
		*out = SLICE_NULL;
		return true;
	}
	return imap_lex_string(lex, out);
}

bool
imap_lex_astring(struct imap_lex *lex, struct slice *out)
{
	if (is_string_start(lex))
		return imap_lex_string(lex, out);
	return run_take(lex, C_ASTRING, "expected a string", out);
}

bool
imap_lex_list_mailbox(struct imap_lex *lex, struct slice *out)
{
	if (is_string_start(lex))
		return imap_lex_string(lex, out);
	return run_take(lex, C_LIST, "expected a mailbox pattern", out);
}

/* ---- numbers and dates ---- */

static bool
number_take(struct imap_lex *lex, uint64_t min, uint64_t max, uint64_t *out)
{
	struct slice rest = imap_lex_ok(lex) ? imap_lex_rest(lex) : SLICE_NULL;
	size_t n = 0;
	while (n < rest.len && ascii_is_digit(rest.ptr[n]))
		n++;
	uint64_t value;
	if (n == 0)
		return imap_lex_bad(lex,
		    imap_lex_peek(lex) < 0 ? "missing argument" : "expected a number");
	if (!slice_to_u64(slice_sub(rest, 0, n), max, &value))
		return imap_lex_bad(lex, "number is too large");
	if (value < min)
		return imap_lex_bad(lex, "number must not be zero");
	lex->pos += n;
	*out = value;
	return true;
}

bool
imap_lex_number(struct imap_lex *lex, uint32_t *out)
{
	uint64_t value;
	if (!number_take(lex, 0, UINT32_MAX, &value))
		return false;
	*out = (uint32_t)value;
	return true;
}

bool
imap_lex_nz_number(struct imap_lex *lex, uint32_t *out)
{
	uint64_t value;
	if (!number_take(lex, 1, UINT32_MAX, &value))
		return false;
	*out = (uint32_t)value;
	return true;
}

bool
imap_lex_number64(struct imap_lex *lex, uint64_t *out)
{
	return number_take(lex, 0, INT64_MAX, out);
}

bool
imap_lex_date(struct imap_lex *lex, int64_t *out_day)
{
	struct slice text;
	size_t start = lex->pos;
	if (!imap_lex_astring(lex, &text))
		return false;
	if (!date_parse_imap_day(text, out_day)) {
		lex->pos = start;
		return imap_lex_bad(lex, "date is not valid");
	}
	return true;
}

bool
imap_lex_date_time(struct imap_lex *lex, int64_t *out_s, int *out_zone_min)
{
	struct slice text;
	struct date date;
	size_t start = lex->pos;
	if (!imap_lex_string(lex, &text))
		return false;
	if (!date_parse_imap(text, &date)) {
		lex->pos = start;
		return imap_lex_bad(lex, "date and time are not valid");
	}
	*out_s = date.unix_s;
	*out_zone_min = date.zone_min;
	return true;
}

/* ---- flags ---- */

uint8_t
imap_flag_bit(struct slice name)
{
	static const struct {
		struct slice name;
		uint8_t bit;
	} table[] = {
	    {{"\\Seen", 5},     MESSAGE_SEEN    },
	    {{"\\Answered", 9}, MESSAGE_ANSWERED},
	    {{"\\Flagged", 8},  MESSAGE_FLAGGED },
	    {{"\\Deleted", 8},  MESSAGE_DELETED },
	    {{"\\Draft", 6},    MESSAGE_DRAFT   },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (slice_equal_nocase(name, table[i].name))
			return table[i].bit;
	return 0;
}

static bool
flag_add(struct imap_lex *lex, struct imap_flags *flags)
{
	size_t start = lex->pos;
	bool system = imap_lex_try_char(lex, '\\');
	struct slice name;
	if (!run_take(lex, C_ATOM, "expected a flag", &name))
		return false;
	if (system) {
		uint8_t bit = imap_flag_bit(slice_make(name.ptr - 1, name.len + 1));
		if (!bit) {
			lex->pos = start;
			return imap_lex_bad(lex, "no such system flag");
		}
		flags->bits |= bit;
		return true;
	}
	if (name.len > MAILBOX_KEYWORD_LEN_MAX)
		return imap_lex_limit(lex, "keyword is too long");
	for (size_t i = 0; i < flags->keyword_count; i++)
		if (slice_equal_nocase(flags->keywords[i], name))
			return true;
	if (flags->keyword_count == IMAP_FLAGS_MAX)
		return imap_lex_limit(lex, "too many flags");
	flags->keywords[flags->keyword_count++] = name;
	return true;
}

bool
imap_lex_flags(struct imap_lex *lex, bool bare, struct imap_flags *out)
{
	struct imap_flags flags = {0};
	bool list = imap_lex_try_char(lex, '(');
	if (!list && !bare)
		return imap_lex_char(lex, '(');
	flags.keywords = ARENA_ARRAY(lex->arena, struct slice, IMAP_FLAGS_MAX);
	if (!flags.keywords)
		return imap_lex_limit(lex, "command is too large");
	if (!(list && imap_lex_try_char(lex, ')'))) {
		do {
			if (!flag_add(lex, &flags))
				return false;
		} while (list ? imap_lex_try_char(lex, ' ') : imap_lex_try_space(lex));
		if (list && !imap_lex_char(lex, ')'))
			return false;
	}
	*out = flags;
	return true;
}

bool
imap_lex_section_numbers(struct imap_lex *lex, uint32_t **out, size_t *out_count)
{
	uint32_t numbers[IMAP_SECTION_NUMBERS_MAX];
	size_t count = 0;
	for (;;) {
		if (count == IMAP_SECTION_NUMBERS_MAX)
			return imap_lex_limit(lex, "section is too deep");
		if (!imap_lex_nz_number(lex, &numbers[count]))
			return false;
		count++;
		struct slice rest = imap_lex_rest(lex);
		if (rest.len < 2 || rest.ptr[0] != '.' || !ascii_is_digit(rest.ptr[1]))
			break;
		lex->pos++;
	}
	*out = ARENA_ARRAY(lex->arena, uint32_t, count);
	if (!*out)
		return imap_lex_limit(lex, "command is too large");
	memcpy(*out, numbers, count * sizeof(numbers[0]));
	*out_count = count;
	return true;
}
