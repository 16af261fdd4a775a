/*
 * FETCH's arguments: items, sections and their labels, modifiers; every cut of every good
 * command is refused or taken without reading past its end.
 */
#include "imapd/imap_fetch_parse.h"

#include "imapd/imap_cmd.h"
#include "unit/imapd/box.h"

static struct arena *arena;

#define S(text)                                                                          \
	{                                                                                \
		"" text "", sizeof(text) - 1                                             \
	}

static enum parse_result
parse(
    struct slice text, bool uid, struct imap_fetch_args **out, struct parse_fault *fault)
{
	struct imap_lex lex;
	struct imap_command cmd = {.uid = uid};
	imap_lex_init(&lex, text, arena);
	enum parse_result result = imap_parse_fetch(&lex, arena, &cmd, fault);
	if (result == PARSE_DONE && !imap_lex_end(&lex))
		result = imap_lex_result(&lex, fault);
	*out = cmd.u.fetch;
	return result;
}

struct item_case {
	struct slice in;
	bool uid;
	uint32_t items;
	const char *label; /* of the first section, or null */
};

#define FAST (IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE)

/* clang-format off */
static const struct item_case good[] = {
	{S(" 1 FLAGS"), false, IMAP_FETCH_FLAGS, NULL},
	{S(" 1 flags"), true, IMAP_FETCH_FLAGS | IMAP_FETCH_UID, NULL},
	{S(" 1:* (UID FLAGS)"), false, IMAP_FETCH_FLAGS | IMAP_FETCH_UID, NULL},
	{S(" $ FAST"), false, FAST, NULL},
	{S(" 1 ALL"), false, FAST | IMAP_FETCH_ENVELOPE, NULL},
	{S(" 1 FULL"), false, FAST | IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY, NULL},
	{S(" 1 BODY"), false, IMAP_FETCH_BODY, NULL},
	{S(" 1 (BODY BODY[])"), false, IMAP_FETCH_BODY, "BODY[]"},
	{S(" 1 BODYSTRUCTURE"), false, IMAP_FETCH_BODYSTRUCTURE, NULL},
	{S(" 1 body[]"), false, 0, "BODY[]"},
	{S(" 1 BODY.PEEK[]<5.10>"), false, 0, "BODY[]<5>"},
	{S(" 1 BODY[1.2.mime]"), false, 0, "BODY[1.2.MIME]"},
	{S(" 1 BODY[text]<0.1>"), false, 0, "BODY[TEXT]<0>"},
	{S(" 1 BODY[1.HEADER]"), false, 0, "BODY[1.HEADER]"},
	{S(" 1 BODY[HEADER.FIELDS (From \"To\")]"), false,
	    0, "BODY[HEADER.FIELDS (From To)]"},
	{S(" 1 BODY[HEADER.FIELDS ({4}\r\nFrom)]"), false,
	    0, "BODY[HEADER.FIELDS (From)]"},
	{S(" 1 BODY.PEEK[1.header.fields.not (\"a b\")]<2.3>"), false,
	    0, "BODY[1.HEADER.FIELDS.NOT (\"a b\")]<2>"},
	{S(" 1 BINARY[1]"), false, 0, "BINARY[1]"},
	{S(" 1 BINARY.PEEK[1.2]<0.9>"), false, 0, "BINARY[1.2]<0>"},
	{S(" 1 BINARY.SIZE[3]"), false, 0, "BINARY.SIZE[3]"},
	{S(" 1 RFC822"), false, 0, "RFC822"},
	{S(" 1 (RFC822.TEXT)"), false, 0, "RFC822.TEXT"},
	{S(" 1 RFC822.HEADER"), false, 0, "RFC822.HEADER"},
	{S(" 1 RFC822.SIZE"), false, IMAP_FETCH_SIZE, NULL},
	{S(" 1 (PREVIEW)"), false, IMAP_FETCH_PREVIEW, NULL},
	{S(" 1 (PREVIEW (LAZY) UID)"), false,
	    IMAP_FETCH_PREVIEW | IMAP_FETCH_UID, NULL},
	{S(" 1 (EMAILID THREADID SAVEDATE MODSEQ)"), false,
	    IMAP_FETCH_EMAILID | IMAP_FETCH_THREADID | IMAP_FETCH_SAVEDATE |
	    IMAP_FETCH_MODSEQ, NULL},
	{S(" 1 FLAGS (CHANGEDSINCE 5)"), false,
	    IMAP_FETCH_FLAGS | IMAP_FETCH_MODSEQ, NULL},
	{S(" 1:* FLAGS (CHANGEDSINCE 5 VANISHED)"), true,
	    IMAP_FETCH_FLAGS | IMAP_FETCH_MODSEQ | IMAP_FETCH_UID, NULL},
	{S(" 1:* FLAGS (PARTIAL -1:-30 CHANGEDSINCE 5)"), true,
	    IMAP_FETCH_FLAGS | IMAP_FETCH_MODSEQ | IMAP_FETCH_UID, NULL},
	{S(" 1 FLAGS "), false, IMAP_FETCH_FLAGS, NULL},
};
/* clang-format on */

static void
taken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct imap_fetch_args *args;
		struct parse_fault fault = {0};
		arena_reset(arena);
		struct edge e = edge_copy(good[i].in);
		enum parse_result result = parse(e.text, good[i].uid, &args, &fault);
		if (result != PARSE_DONE)
			fail_msg("%.*s: %s", SLICE_ARG(good[i].in), fault.text);
		assert_int_equal(args->items, good[i].items);
		assert_int_equal(args->body_count, good[i].label != NULL);
		if (good[i].label &&
		    !slice_equal(args->bodies[0].label, slice_from_cstr(good[i].label)))
			fail_msg("%.*s: %.*s", SLICE_ARG(good[i].in),
			    SLICE_ARG(args->bodies[0].label));
		edge_free(&e);
		for (size_t n = 0; n < good[i].in.len; n++) {
			struct edge cut = edge_copy(slice_sub(good[i].in, 0, n));
			arena_reset(arena);
			result = parse(cut.text, good[i].uid, &args, &fault);
			if (result != PARSE_DONE)
				assert_non_null(fault.text);
			edge_free(&cut);
		}
	}
}

static void
details(void **state)
{
	(void)state;
	struct imap_fetch_args *args;
	struct parse_fault fault;
	arena_reset(arena);
	assert_int_equal(
	    parse(SLICE(" 1 (BODY.PEEK[] BODY[2]<7.9> RFC822 RFC822.HEADER)"), false,
		&args, &fault),
	    PARSE_DONE);
	assert_int_equal(args->body_count, 4);
	assert_true(args->bodies[0].peek);
	assert_false(args->bodies[1].peek);
	assert_int_equal(args->bodies[1].offset, 7);
	assert_int_equal(args->bodies[1].length, 9);
	assert_int_equal(args->bodies[1].numbers[0], 2);
	assert_false(args->bodies[2].peek);
	assert_true(args->bodies[3].peek);

	assert_int_equal(
	    parse(SLICE(" 1:* FLAGS (PARTIAL -30:-1)"), true, &args, &fault), PARSE_DONE);
	assert_true(args->partial_from_end);
	assert_int_equal(args->partial_first, 1);
	assert_int_equal(args->partial_last, 30);
}

static const struct {
	struct slice in;
	bool uid;
} bad[] = {
    {S(""),					 false},
    {S(" "),					false},
    {S(" 1"),				       false},
    {S(" 1 "),				      false},
    {S(" 1 ()"),				    false},
    {S(" 1 FOO"),				   false},
    {S(" 1 (FLAGS"),				false},
    {S(" 1 (FLAGS  UID)"),                          false},
    {S(" 1 (ALL)"),				 false},
    {S(" 1 (FLAGS ALL)"),			   false},
    {S(" 1 FLAGS UID"),			     false},
    {S(" 1 BODY["),				 false},
    {S(" 1 BODY[MIME]"),			    false},
    {S(" 1 BODY[0]"),			       false},
    {S(" 1 BODY[1.]"),			      false},
    {S(" 1 BODY[1.FOO]"),			   false},
    {S(" 1 BODY[HEADER.FIELDS]"),                   false},
    {S(" 1 BODY[HEADER.FIELDS ()]"),                false},
    {S(" 1 BODY[]<0.0>"),			   false},
    {S(" 1 BODY[]<0>"),			     false},
    {S(" 1 BODY[]<-1.5>"),                          false},
    {S(" 1 BODY.PEEK"),			     false},
    {S(" 1 BINARY[HEADER]"),                        false},
    {S(" 1 BINARY[1.MIME]"),                        false},
    {S(" 1 BINARY.SIZE[1]<0.5>"),                   false},
    {S(" 1 RFC822.PEEK"),			   false},
    {S(" 1 (PREVIEW (FUZZY))"),                     false},
    {S(" 1 FLAGS (CHANGEDSINCE)"),                  false},
    {S(" 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)"), false},
    {S(" 1 FLAGS (VANISHED)"),                      true },
    {S(" 1 FLAGS (CHANGEDSINCE 1 VANISHED)"),       false},
    {S(" 1 FLAGS (PARTIAL 1:5)"),                   false},
    {S(" 1 FLAGS (PARTIAL 1:-5)"),                  true },
    {S(" 1 FLAGS (PARTIAL 0:5)"),                   true },
    {S(" 1 FLAGS (FOO)"),			   true },
    {S(" 1 FLAGS ()"),			      true },
};

static void
refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct imap_fetch_args *args;
		struct parse_fault fault = {0};
		arena_reset(arena);
		if (parse(bad[i].in, bad[i].uid, &args, &fault) != PARSE_BAD)
			fail_msg("taken: %.*s", SLICE_ARG(bad[i].in));
		assert_non_null(fault.text);
	}
}

static void
limits(void **state)
{
	(void)state;
	struct imap_fetch_args *args;
	struct parse_fault fault;
	struct buf text;
	buf_init(&text, 1024 * 1024);
	arena_reset(arena);
	buf_append(&text, SLICE(" 1 (UID"));
	for (int i = 0; i <= IMAP_FETCH_BODIES_MAX; i++)
		buf_append(&text, SLICE(" BODY[]"));
	buf_append_byte(&text, ')');
	assert_int_equal(parse(buf_slice(&text), false, &args, &fault), PARSE_LIMIT);
	buf_reset(&text);
	arena_reset(arena);
	buf_append(&text, SLICE(" 1 BODY[HEADER.FIELDS (a"));
	for (int i = 0; i < IMAP_FETCH_HEADER_FIELDS_MAX; i++)
		buf_append(&text, SLICE(" a"));
	buf_append(&text, SLICE(")]"));
	assert_int_equal(parse(buf_slice(&text), false, &args, &fault), PARSE_LIMIT);
	buf_fini(&text);
}

static int
setup(void **state)
{
	(void)state;
	arena = arena_new(4 * 1024 * 1024);
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
	    cmocka_unit_test(taken),
	    cmocka_unit_test(details),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
