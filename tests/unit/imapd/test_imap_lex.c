/*
 * Lexer primitives: what they take, what they refuse and where, and that no cut of any
 * input makes them read past its end.
 */
#include "imapd/imap_lex.h"

#include "unit/imapd/box.h"

static struct arena *arena;

static struct imap_lex
lex_on(struct slice text)
{
	struct imap_lex lex;
	imap_lex_init(&lex, text, arena);
	return lex;
}

typedef bool (*string_fn)(struct imap_lex *lex, struct slice *out);

struct string_case {
	string_fn fn;
	struct slice in;
	bool ok;
	struct slice want; /* or null for NIL */
	size_t pos;        /* behind it, or of the fault */
};

#define S(text)                                                                          \
	{                                                                                \
		"" text "", sizeof(text) - 1                                             \
	}

static const struct string_case string_cases[] = {
    {imap_lex_tag,          S("a1 "),                         true,  S("a1"),        2 },
    {imap_lex_tag,          S("A.b]/-x NOOP"),                true,  S("A.b]/-x"),   7 },
    {imap_lex_tag,          S("+ "),                          false, S(""),          0 },
    {imap_lex_tag,          S("a+ x"),                        true,  S("a"),         1 },
    {imap_lex_tag,          S(""),			    false, S(""),          0 },
    {imap_lex_atom,         S("abc]"),                        true,  S("abc"),       3 },
    {imap_lex_atom,         S("(a"),                          false, S(""),          0 },
    {imap_lex_atom,         S("a\x80"),                       true,  S("a"),         1 },
    {imap_lex_astring,      S("INBOX x"),                     true,  S("INBOX"),     5 },
    {imap_lex_astring,      S("a]b+c"),                       true,  S("a]b+c"),     5 },
    {imap_lex_astring,      S("\"a b\" c"),                   true,  S("a b"),       5 },
    {imap_lex_astring,      S("\"a\\\"\\\\b\""),              true,  S("a\"\\b"),    8 },
    {imap_lex_astring,      S("\"a\\n\""),                    false, S(""),          0 },
    {imap_lex_astring,      S("\"a\r\n\""),                   false, S(""),          0 },
    {imap_lex_astring,      S("\"abc"),                       false, S(""),          0 },
    {imap_lex_astring,      S("\"abc\\"),                     false, S(""),          0 },
    {imap_lex_astring,      S("\"\xc3\xa4\""),                true,  S("\xc3\xa4"),  4 },
    {imap_lex_astring,      S("{5}\r\nhello x"),              true,  S("hello"),     10},
    {imap_lex_astring,      S("{5+}\r\nhello"),               true,  S("hello"),     11},
    {imap_lex_astring,      S("~{3}\r\na\0b"),                true,  S("a\0b"),      9 },
    {imap_lex_astring,      S("~a"),                          true,  S("~a"),        2 },
    {imap_lex_astring,      S("{0}\r\n"),                     true,  S(""),          5 },
    {imap_lex_astring,      S("{6}\r\nhello"),                false, S(""),          0 },
    {imap_lex_astring,      S("{}\r\nhello"),                 false, S(""),          0 },
    {imap_lex_astring,      S("{5}hello"),                    false, S(""),          0 },
    {imap_lex_astring,      S("{99999999999999999999}\r\nh"), false, S(""),          0 },
    {imap_lex_astring,      S("{18446744073709551615}\r\nh"), false, S(""),          0 },
    {imap_lex_astring,      S("%"),                           false, S(""),          0 },
    {imap_lex_astring,      S(""),                            false, S(""),          0 },
    {imap_lex_string,       S("abc"),                         false, S(""),          0 },
    {imap_lex_string,       S("\"\""),                        true,  S(""),          2 },
    {imap_lex_nstring,      S("nil)"),                        true,  {NULL, 0},      3 },
    {imap_lex_nstring,      S("\"nil\""),                     true,  S("nil"),       5 },
    {imap_lex_nstring,      S("nilx"),                        false, S(""),          0 },
    {imap_lex_list_mailbox, S("a/%/*]x y"),                   true,  S("a/%/*]x"),   7 },
    {imap_lex_list_mailbox, S("\"%\""),                       true,  S("%"),         3 },
    {imap_lex_word,         S("BODY.PEEK[]"),                 true,  S("BODY.PEEK"), 9 },
};

static void
strings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(string_cases) / sizeof(string_cases[0]); i++) {
		const struct string_case *c = &string_cases[i];
		struct edge e = edge_copy(c->in);
		struct imap_lex lex = lex_on(e.text);
		struct slice out = SLICE("unset");
		bool ok = c->fn(&lex, &out);
		if (ok != c->ok || (ok && !slice_equal(out, c->want)) ||
		    (ok && (out.ptr == NULL) != (c->want.ptr == NULL)) ||
		    (ok ? lex.pos : lex.fault.position) != c->pos)
			fail_msg("case %zu: %.*s: ok=%d '%.*s' at %zu", i,
			    SLICE_ARG(c->in), ok, SLICE_ARG(out), lex.pos);
		if (!ok) {
			assert_non_null(lex.fault.text);
			assert_int_equal(lex.fault.result, PARSE_BAD);
			assert_int_equal(imap_lex_peek(&lex), -1);
			assert_false(imap_lex_end(&lex));
		}
		edge_free(&e);
		/* Every cut is refused or taken, but read only to its end. */
		for (size_t n = 0; n < c->in.len; n++) {
			struct edge cut = edge_copy(slice_sub(c->in, 0, n));
			lex = lex_on(cut.text);
			(void)c->fn(&lex, &out);
			assert_true(lex.pos <= n);
			edge_free(&cut);
		}
	}
}

static void
numbers(void **state)
{
	(void)state;
	uint32_t n = 7;
	uint64_t big = 7;
	struct imap_lex lex = lex_on(SLICE("4294967295 4294967296"));
	assert_true(imap_lex_number(&lex, &n));
	assert_int_equal(n, UINT32_MAX);
	assert_true(imap_lex_space(&lex));
	assert_false(imap_lex_number(&lex, &n));
	assert_int_equal(lex.fault.position, 11);
	assert_int_equal(n, UINT32_MAX);

	lex = lex_on(SLICE("0"));
	assert_false(imap_lex_nz_number(&lex, &n));
	lex = lex_on(SLICE("0"));
	assert_true(imap_lex_number(&lex, &n));
	lex = lex_on(SLICE("-1"));
	assert_false(imap_lex_number(&lex, &n));
	lex = lex_on(SLICE("9223372036854775807"));
	assert_true(imap_lex_number64(&lex, &big));
	assert_int_equal(big, INT64_MAX);
	lex = lex_on(SLICE("9223372036854775808"));
	assert_false(imap_lex_number64(&lex, &big));
}

static void
dates(void **state)
{
	(void)state;
	int64_t day = 0, s = 0;
	int zone = 0;
	struct imap_lex lex = lex_on(SLICE("1-Feb-1994 \"2-feb-1970\" 31-Feb-2000"));
	assert_true(imap_lex_date(&lex, &day));
	assert_int_equal(day, 8797);
	assert_true(imap_lex_space(&lex));
	assert_true(imap_lex_date(&lex, &day));
	assert_int_equal(day, 32);
	assert_true(imap_lex_space(&lex));
	assert_false(imap_lex_date(&lex, &day));
	assert_int_equal(lex.fault.position, 24);

	lex = lex_on(SLICE("\" 1-Jan-1970 01:00:01 +0100\""));
	assert_true(imap_lex_date_time(&lex, &s, &zone));
	assert_int_equal(s, 1);
	assert_int_equal(zone, 60);
	assert_true(imap_lex_end(&lex));
}

static void
flags(void **state)
{
	(void)state;
	struct imap_flags f;
	struct imap_lex lex = lex_on(SLICE("(\\Seen $Fwd \\dELETED $fwd x)"));
	assert_true(imap_lex_flags(&lex, false, &f));
	assert_int_equal(f.bits, MESSAGE_SEEN | MESSAGE_DELETED);
	assert_int_equal(f.keyword_count, 2);
	assert_true(slice_equal(f.keywords[0], SLICE("$Fwd")));
	assert_true(imap_lex_end(&lex));

	lex = lex_on(SLICE("()"));
	assert_true(imap_lex_flags(&lex, false, &f));
	assert_int_equal(f.bits, 0);
	lex = lex_on(SLICE("\\Seen a"));
	assert_false(imap_lex_flags(&lex, false, &f));
	lex = lex_on(SLICE("\\Seen a "));
	assert_true(imap_lex_flags(&lex, true, &f));
	assert_int_equal(f.keyword_count, 1);
	assert_true(imap_lex_end(&lex));
	/* \Recent cannot be stored; nobody has heard of \Foo. */
	static const struct slice bad[] = {S("(\\Recent)"), S("(\\Foo)"), S("(a  b)"),
	    S("(a"), S("(a )"), S("(\\)"), S("(\"a\")"), S("(\\*)")};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		lex = lex_on(bad[i]);
		assert_false(imap_lex_flags(&lex, false, &f));
		assert_int_equal(lex.fault.result, PARSE_BAD);
	}
	char many[2048] = "(";
	for (int i = 0; i <= IMAP_FLAGS_MAX; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "k%d ", i);
	lex = lex_on(slice_from_cstr(many));
	assert_false(imap_lex_flags(&lex, false, &f));
	assert_int_equal(lex.fault.result, PARSE_LIMIT);
}

static void
sections(void **state)
{
	(void)state;
	uint32_t *numbers = NULL;
	size_t count = 0;
	struct imap_lex lex = lex_on(SLICE("1.22.3.MIME"));
	assert_true(imap_lex_section_numbers(&lex, &numbers, &count));
	assert_int_equal(count, 3);
	assert_int_equal(numbers[1], 22);
	assert_int_equal(lex.pos, 6);
	lex = lex_on(SLICE("1.0"));
	assert_false(imap_lex_section_numbers(&lex, &numbers, &count));
	char deep[IMAP_SECTION_NUMBERS_MAX * 2 + 4] = "1";
	for (int i = 0; i < IMAP_SECTION_NUMBERS_MAX; i++)
		strcat(deep, ".1");
	lex = lex_on(slice_from_cstr(deep));
	assert_false(imap_lex_section_numbers(&lex, &numbers, &count));
	assert_int_equal(lex.fault.result, PARSE_LIMIT);
}

static void
faults_stick(void **state)
{
	(void)state;
	struct slice out;
	struct imap_lex lex = lex_on(SLICE("a b"));
	assert_true(imap_lex_atom(&lex, &out));
	assert_false(imap_lex_char(&lex, '('));
	assert_int_equal(lex.fault.position, 1);
	const char *text = lex.fault.text;
	assert_false(imap_lex_space(&lex));
	assert_false(imap_lex_try_char(&lex, ' '));
	assert_false(imap_lex_try_space(&lex));
	assert_false(imap_lex_limit(&lex, "other"));
	assert_ptr_equal(lex.fault.text, text);
	assert_int_equal(lex.pos, 1);
	struct parse_fault fault = {0};
	assert_int_equal(imap_lex_result(&lex, &fault), PARSE_BAD);
	assert_ptr_equal(fault.text, text);
}

static void
ends(void **state)
{
	(void)state;
	struct imap_lex lex = lex_on(SLICE("  "));
	assert_false(imap_lex_try_space(&lex));
	assert_true(imap_lex_ok(&lex));
	assert_true(imap_lex_end(&lex));
	lex = lex_on(SLICE(" x"));
	assert_false(imap_lex_end(&lex));
	lex = lex_on(SLICE("FLAGS.SILENT"));
	assert_false(imap_lex_try_word(&lex, SLICE("FLAGS")));
	assert_true(imap_lex_try_word(&lex, SLICE("flags.silent")));
	lex = lex_on(SLICE("BODY[1]"));
	assert_true(imap_lex_try_word(&lex, SLICE("BODY")));
	assert_int_equal(lex.pos, 4);
}

static int
setup(void **state)
{
	(void)state;
	arena = arena_new(1024 * 1024);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(strings),
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(dates),
	    cmocka_unit_test(flags),
	    cmocka_unit_test(sections),
	    cmocka_unit_test(faults_stick),
	    cmocka_unit_test(ends),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
