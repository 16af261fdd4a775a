/*
 * imap_command_parse and imap_append_next over tables of frames, each also from a copy
 * that ends before an unmapped page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "imapd/imap_append_parse.h"
#include "imapd/imap_cmd.h"
#include "imapd/imap_lex.h"
#include "imapd/imap_parse.h"
#include "imapd/imap_seqset.h"

static struct arena *arena;

static int
setup(void **state)
{
	(void)state;
	arena = arena_new(64 * 1024 * 1024);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

/* The bytes at the end of a page behind which nothing may be read. */
struct guarded {
	char *map;
	size_t size;
	struct slice text;
};

static struct guarded
guard(struct slice text)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct guarded g = {.size = (text.len / page + 2) * page};

	g.map = mmap(
	    NULL, g.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(g.map != MAP_FAILED);
	char *end = g.map + g.size - page;
	assert_int_equal(mprotect(end, page, PROT_NONE), 0);
	memcpy(end - text.len, text.ptr, text.len);
	g.text = slice_make(end - text.len, text.len);
	return g;
}

static enum parse_result
parse(const char *text, struct imap_command *cmd, struct parse_fault *fault)
{
	struct guarded g = guard(slice_from_cstr(text));

	enum parse_result first =
	    imap_command_parse(arena_copy(arena, g.text), arena, cmd, fault);
	struct imap_command again;
	struct parse_fault fault_again;
	assert_int_equal(imap_command_parse(g.text, arena, &again, &fault_again), first);
	assert_int_equal(again.uid, cmd->uid);
	assert_ptr_equal(again.row, cmd->row);
	munmap(g.map, g.size);
	return first;
}

static void
test_table_is_sorted(void **state)
{
	size_t count;
	const struct imap_cmd_row *rows = imap_cmd_table(&count);

	(void)state;
	assert_true(count > 30);
	for (size_t i = 0; i < count; i++) {
		assert_true(i == 0 || strcmp(rows[i - 1].name, rows[i].name) < 0);
		assert_ptr_equal(imap_cmd_find(slice_from_cstr(rows[i].name)), &rows[i]);
		assert_non_null(rows[i].parse);
		assert_non_null(rows[i].run);
		assert_non_null(rows[i].rfc);
		assert_true(rows[i].states != 0);
	}
	assert_null(imap_cmd_find(SLICE("")));
	assert_null(imap_cmd_find(SLICE("LISTS")));
	assert_null(imap_cmd_find(SLICE("LIS")));
	assert_non_null(imap_cmd_find(SLICE("sElEcT")));
}

static void
test_results(void **state)
{
	static const struct {
		const char *text;
		enum parse_result result;
	} cases[] = {
	    {"a NOOP",							PARSE_DONE},
	    {"a noop",							PARSE_DONE},
	    {"a NOOP ",						       PARSE_DONE}, /* as some clients send */
	    {"a NOOP x",						      PARSE_BAD },
	    {"a",							     PARSE_BAD },
	    {"",							      PARSE_BAD },
	    {" NOOP",							 PARSE_BAD },
	    {"a  NOOP",						       PARSE_BAD },
	    {"+ NOOP",							PARSE_BAD },
	    {"a+b NOOP",						      PARSE_BAD },
	    {"a UID",							 PARSE_BAD },
	    {"a UID NOOP",						    PARSE_BAD },
	    {"a UID UID FETCH 1 FLAGS",                                       PARSE_BAD },
	    {"a LOGIN x y",						   PARSE_DONE},
	    {"a LOGIN x",						     PARSE_BAD },
	    {"a LOGIN \"x\" \"\"",					    PARSE_DONE},
	    {"a LOGIN \"x\\\"\" {3}\r\ny z",                                  PARSE_DONE},
	    {"a LOGIN \"x\\a\" y",					    PARSE_BAD },
	    {"a LOGIN \"x y",						 PARSE_BAD },
	    {"a LOGIN {3}\r\nab c",					   PARSE_BAD },
	    {"a AUTHENTICATE PLAIN",					  PARSE_DONE},
	    {"a AUTHENTICATE PLAIN =",					PARSE_DONE},
	    {"a AUTHENTICATE PLAIN AAA+/w==",                                 PARSE_DONE},
	    {"a ID NIL",						      PARSE_DONE},
	    {"a ID ()",						       PARSE_DONE},
	    {"a ID (\"a\" \"b\" \"c\" NIL)",                                  PARSE_DONE},
	    {"a ID (\"a\")",						  PARSE_BAD },
	    {"a ID (\"a\" \"b\"",					     PARSE_BAD },
	    {"a ID (NIL \"b\")",					      PARSE_BAD },
	    {"a ENABLE",						      PARSE_BAD },
	    {"a ENABLE CONDSTORE X-FROB",                                     PARSE_DONE},
	    {"a SELECT INBOX",						PARSE_DONE},
	    {"a SELECT",						      PARSE_BAD },
	    {"a SELECT \"\"",						 PARSE_DONE},
	    {"a SELECT x (CONDSTORE)",					PARSE_DONE},
	    {"a SELECT x (condstore qresync (67890007 20050715194045000 "
	     "41,43:211,214:541))",			      PARSE_DONE},
	    {"a SELECT x (QRESYNC (1 2 1:5 (1,3 2,9)))",                      PARSE_DONE},
	    {"a SELECT x (QRESYNC (1 2 (1,3 2,9)))",                          PARSE_DONE},
	    {"a SELECT x (QRESYNC (1 2 1:*))",                                PARSE_BAD },
	    {"a SELECT x (QRESYNC (0 2))",                                    PARSE_BAD },
	    {"a SELECT x (QRESYNC (1 0))",                                    PARSE_BAD },
	    {"a SELECT x (QRESYNC (1 2) QRESYNC (1 2))",                      PARSE_BAD },
	    {"a SELECT x ()",						 PARSE_BAD },
	    {"a SELECT x (FROB)",					     PARSE_BAD },
	    {"a CREATE x",						    PARSE_DONE},
	    {"a CREATE x (USE (\\Sent \\Frob))",                              PARSE_DONE},
	    {"a CREATE x (USE ())",					   PARSE_DONE},
	    {"a CREATE x (USE (Sent))",                                       PARSE_BAD },
	    {"a CREATE x (FROB (Sent))",                                      PARSE_BAD },
	    {"a RENAME x y",						  PARSE_DONE},
	    {"a RENAME x",						    PARSE_BAD },
	    {"a STATUS x (MESSAGES unseen APPENDLIMIT DELETED-STORAGE)",      PARSE_DONE},
	    {"a STATUS x ()",						 PARSE_BAD },
	    {"a STATUS x (FROB)",					     PARSE_BAD },
	    {"a STATUS x MESSAGES",					   PARSE_BAD },
	    {"a LIST \"\" *",						 PARSE_DONE},
	    {"a LIST \"\" %/%",					       PARSE_DONE},
	    {"a LIST a\"\" *",						PARSE_BAD },
	    {"a LIST () \"\" (\"*\" %)",                                      PARSE_DONE},
	    {"a LIST (SUBSCRIBED REMOTE) \"\" * RETURN (CHILDREN)",           PARSE_DONE},
	    {"a LIST (RECURSIVEMATCH) \"\" *",                                PARSE_BAD },
	    {"a LIST (RECURSIVEMATCH REMOTE) \"\" *",                         PARSE_BAD },
	    {"a LIST (RECURSIVEMATCH SUBSCRIBED) \"\" *",                     PARSE_DONE},
	    {"a LIST (FROB) \"\" *",					  PARSE_BAD },
	    {"a LIST \"\" () RETURN ()",                                      PARSE_BAD },
	    {"a LIST \"\" * RETURN ()",                                       PARSE_DONE},
	    {"a LIST \"\" * RETURN",					  PARSE_BAD },
	    {"a LIST \"\" * RETURN (STATUS (UNSEEN) SUBSCRIBED SPECIAL-USE)", PARSE_DONE},
	    {"a LIST \"\" * RETURN (STATUS)",                                 PARSE_BAD },
	    {"a LSUB \"\" *",						 PARSE_DONE},
	    {"a LSUB (SUBSCRIBED) \"\" *",                                    PARSE_BAD },
	    {"a GETQUOTA \"\"",					       PARSE_DONE},
	    {"a SETQUOTA \"\" (STORAGE 512 MESSAGE 1)",                       PARSE_DONE},
	    {"a SETQUOTA \"\" ()",					    PARSE_DONE},
	    {"a SETQUOTA user/bob@example.org (MESSAGE 1 X-NEW 5)",           PARSE_DONE},
	    {"a SETQUOTA user (STORAGE 1 storage 1)",                         PARSE_BAD },
	    {"a SETQUOTA user (STORAGE 1 )",                                  PARSE_BAD },
	    {"a SETQUOTA user (STORAGE -1)",                                  PARSE_BAD },
	    {"a SETQUOTA \"\" (STORAGE)",                                     PARSE_BAD },
	    {"a APPEND INBOX",						PARSE_DONE},
	    {"a COMPRESS DEFLATE",					    PARSE_DONE},
	    {"a FETCH 1:* (FLAGS)",					   PARSE_DONE},
	    {"a UID STORE 1 FLAGS (a)",                                       PARSE_DONE},
	    {"a UID EXPUNGE 1:5",					     PARSE_DONE},
	    {"a EXPUNGE 1:5",						 PARSE_BAD },
	    {"a UID EXPUNGE",						 PARSE_BAD },
	    {"a COPY 1 x",						    PARSE_DONE},
	    {"a UID MOVE 1,2 x",					      PARSE_DONE},
	    {"a SEARCH ALL",						  PARSE_DONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_command cmd;
		struct parse_fault fault;
		enum parse_result got = parse(cases[i].text, &cmd, &fault);
		if (got != cases[i].result)
			print_error("%s: %d (%s)\n", cases[i].text, got,
			    fault.text ? fault.text : "");
		assert_int_equal(got, cases[i].result);
		if (got == PARSE_DONE)
			assert_true(cmd.row && slice_equal(cmd.tag, SLICE("a")));
		else
			assert_non_null(fault.text);
	}
}

static struct imap_command
parsed(const char *text)
{
	struct imap_command cmd;
	struct parse_fault fault;
	/* A copy that stays: what is parsed borrows it. */
	struct slice frame = arena_copy(arena, slice_from_cstr(text));

	assert_int_equal(imap_command_parse(frame, arena, &cmd, &fault), PARSE_DONE);
	return cmd;
}

#define ASSERT_SLICE(s, text) assert_true(slice_equal((s), SLICE(text)))

static void
test_fields(void **state)
{
	struct imap_command cmd;

	(void)state;
	cmd = parsed("t1 LOGIN {5}\r\nx y z \"a\\\\b\"");
	ASSERT_SLICE(cmd.u.login.user, "x y z");
	ASSERT_SLICE(cmd.u.login.password, "a\\b");
	cmd = parsed("t AUTHENTICATE PLAIN =");
	assert_true(cmd.u.authenticate.has_initial);
	ASSERT_SLICE(cmd.u.authenticate.initial, "=");
	cmd = parsed("t SELECT Sent (CONDSTORE QRESYNC (7 9 1:3 (4 5)))");
	ASSERT_SLICE(cmd.u.select->mailbox, "Sent");
	assert_true(cmd.u.select->condstore && cmd.u.select->qresync);
	assert_int_equal(cmd.u.select->qresync_uidvalidity, 7);
	assert_int_equal(cmd.u.select->qresync_modseq, 9);
	assert_int_equal(cmd.u.select->qresync_known_uids->ranges[0].last, 3);
	assert_int_equal(cmd.u.select->qresync_match_uids->ranges[0].first, 5);
	cmd = parsed("t CREATE x (USE (\\sent \\Trash))");
	assert_int_equal(cmd.u.create.use, MAILBOX_USE_SENT | MAILBOX_USE_TRASH);
	assert_false(cmd.u.create.use_unknown);
	cmd =
	    parsed("t LIST (SUBSCRIBED RECURSIVEMATCH) ref (a* {1}\r\n%) RETURN (STATUS "
		   "(UNSEEN SIZE) CHILDREN)");
	assert_int_equal(
	    cmd.u.list->select, IMAP_LIST_SUBSCRIBED | IMAP_LIST_RECURSIVEMATCH);
	assert_int_equal(
	    cmd.u.list->returns, IMAP_LIST_RETURN_STATUS | IMAP_LIST_RETURN_CHILDREN);
	assert_int_equal(cmd.u.list->status_items, IMAP_STATUS_UNSEEN | IMAP_STATUS_SIZE);
	assert_int_equal(cmd.u.list->pattern_count, 2);
	ASSERT_SLICE(cmd.u.list->patterns[1], "%");
	assert_true(cmd.u.list->extended);
	assert_false(parsed("t LIST \"\" *").u.list->extended);
	cmd = parsed("t ID (\"name\" {3}\r\na b \"x\" NIL)");
	assert_int_equal(cmd.u.id.count, 2);
	ASSERT_SLICE(cmd.u.id.pairs[0].value, "a b");
	assert_null(cmd.u.id.pairs[1].value.ptr);
}

static void
test_limits(void **state)
{
	struct imap_command cmd;
	struct parse_fault fault;
	struct buf text;

	(void)state;
	buf_init(&text, 64 * 1024);
	buf_append(&text, SLICE("a ENABLE"));
	for (int i = 0; i <= IMAP_ENABLE_MAX; i++)
		buf_append(&text, SLICE(" X"));
	assert_int_equal(
	    imap_command_parse(buf_slice(&text), arena, &cmd, &fault), PARSE_LIMIT);
	buf_reset(&text);
	buf_append(&text, SLICE("a LIST \"\" ("));
	for (int i = 0; i <= IMAP_PATTERNS_MAX; i++)
		buf_append_cstr(&text, i ? " x" : "x");
	buf_append_byte(&text, ')');
	assert_int_equal(
	    imap_command_parse(buf_slice(&text), arena, &cmd, &fault), PARSE_LIMIT);
	buf_reset(&text);
	buf_append(&text, SLICE("a ID ("));
	for (int i = 0; i <= IMAP_ID_PAIRS_MAX; i++)
		buf_append_cstr(&text, i ? " \"k\" NIL" : "\"k\" NIL");
	buf_append_byte(&text, ')');
	assert_int_equal(
	    imap_command_parse(buf_slice(&text), arena, &cmd, &fault), PARSE_LIMIT);
	buf_reset(&text);
	for (int i = 0; i <= IMAP_TAG_MAX; i++)
		buf_append_byte(&text, 't');
	buf_append(&text, SLICE(" NOOP"));
	assert_int_not_equal(
	    imap_command_parse(buf_slice(&text), arena, &cmd, &fault), PARSE_DONE);
	buf_fini(&text);
}

/* The steps of a frame as letters: Head, Begin, Url, (bytes) D, Close, End, String, Not,
 * eXpected something else. */
static void
append_steps(
    struct slice frame, bool at_literal, struct imap_append_reader *reader, char out[20])
{
	static const char letters[] = "NSHBUDCEX";
	struct parse_fault fault;
	size_t count = 0;

	for (bool more = true; more && count < 19;) {
		enum imap_append_step step =
		    imap_append_next(reader, frame, at_literal, arena, &fault);
		out[count++] = letters[step];
		more = step == IMAP_APPEND_HEAD || step == IMAP_APPEND_BEGIN ||
		       step == IMAP_APPEND_URL || step == IMAP_APPEND_CLOSE;
	}
	out[count] = '\0';
}

static void
test_append(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *steps;
	} cases[] = {
	    {"a APPEND INBOX {5}\r\n", "HBD"},
	    {"a append \"x y\" {5+}\r\n", "HBD"},
	    {"a APPEND INBOX () ~{5}\r\n", "HBD"},
	    {"a APPEND INBOX (\\Seen $x) {5}\r\n", "HBD"},
	    {"a APPEND INBOX (\\Seen) \" 1-Jan-2026 00:00:00 +0000\" {5}\r\n", "HBD"},
	    {"a APPEND INBOX \"01-Jan-2026 00:00:00 -1200\" UTF8 (~{5}\r\n", "HBD"},
	    {"a APPEND {5}\r\nINBOX {5}\r\n", "HBD"},
	    {"a APPEND {5}\r\n", "S"},
	    {"a APPEND {5+}\r\n", "S"},
	    {"a APPENDX INBOX {5}\r\n", "N"},
	    {"a LOGIN {5}\r\n", "N"},
	    {"{5}\r\n", "N"},
	    {"a APPEND INBOX (\\Recent) {5}\r\n", "HX"},
	    {"a APPEND INBOX (\\Foo) {5}\r\n", "HX"},
	    {"a APPEND INBOX \"01-Foo-2026 00:00:00 -1200\" {5}\r\n", "HX"},
	    {"a APPEND INBOX UTF8 ({5}\r\n", "HBX"},
	    {"a APPEND INBOX UTF8 ~{5}\r\n", "HX"},
	    {"a APPEND INBOX x {5}\r\n", "HBX"},
	    {"a APPEND INBOX{5}\r\n", "HX"},
	    /* RFC 4469 */
	    {"a APPEND x CATENATE (TEXT {5}\r\n", "HBD"},
	    {"a APPEND x (\\Seen) catenate (URL \"/i;UID=1\" URL /i;UID=2 TEXT {5}\r\n",
	        "HBUUD"},
	    {"a APPEND x CATENATE (URL {8}\r\n", "HBS"},
	    {"a APPEND x CATENATE (UTF8 (~{8}\r\n", "HBD"},
	    {"a APPEND x CATENATE ({8}\r\n", "HBX"},
	    {"a APPEND x CATENATE (URL u) (\\Draft) {8}\r\n", "HBUCBD"},
	    {"a APPEND x CATENATE () {8}\r\n", "HBX"},
	    /* RFC 8508 */
	    {"a REPLACE 4 x (\\Seen) {5}\r\n", "HBD"},
	    {"a UID REPLACE 4 x {5}\r\n", "HBD"},
	    {"a REPLACE * {5}\r\n", "S"},
	    {"a REPLACE 0 x {5}\r\n", "X"},
	    {"a REPLACE 1:2 x {5}\r\n", "X"},
	    {"a UID APPEND x {5}\r\n", "N"},
	    {"a REPLACE 1 x CATENATE (URL u) {5}\r\n", "HBUCX"},
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_append_reader reader = {.pos = 0};
		struct guarded g = guard(slice_from_cstr(cases[i].text));
		char steps[20];
		append_steps(g.text, true, &reader, steps);
		if (strcmp(steps, cases[i].steps) != 0)
			print_error("%s\n", cases[i].text);
		assert_string_equal(steps, cases[i].steps);
		munmap(g.map, g.size);
	}
}

static void
test_append_more(void **state)
{
	struct slice one = SLICE("a APPEND INBOX {5}\r\n");

	(void)state;
	static const struct {
		const char *first, *more;
		bool literal;
		const char *steps;
	} cases[] = {
	    {"{5}\r\n",                "",                    false, "CE" },
	    {"UTF8 (~{5}\r\n",         ")",                   false, "CE" },
	    {"UTF8 (~{5}\r\n",         "",                    false, "X"  },
	    {"{5}\r\n",                ")",                   false, "CX" },
	    {"{5}\r\n",                " x",                  false, "CBX"},
	    {"{5}\r\n",                " (\\Draft) {9}\r\n",  true,  "CBD"},
	    {"UTF8 (~{5}\r\n",         ") (\\Draft) {9}\r\n", true,  "CBD"},
	    {"{5}\r\n",                "(\\Draft) {9}\r\n",   true,  "CX" },
	    {"{5}\r\n",                "{9}\r\n",             true,  "CX" },
	    {"CATENATE (TEXT {5}\r\n", ")",                   false, "CE" },
	    {"CATENATE (TEXT {5}\r\n", " URL x)",             false, "UCE"},
	    {"CATENATE (TEXT {5}\r\n", " TEXT {3}\r\n",       true,  "D"  },
	    {"CATENATE (TEXT {5}\r\n", "",                    false, "X"  },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_append_reader reader = {.pos = 0};
		char steps[20];
		one = arena_format(arena, "a APPEND INBOX %s", cases[i].first);
		append_steps(one, true, &reader, steps);
		assert_string_equal(steps, "HBD");
		append_steps(arena_format(arena, "%.*s%s", SLICE_ARG(one), cases[i].more),
		    cases[i].literal, &reader, steps);
		if (strcmp(steps, cases[i].steps) != 0)
			print_error("case %zu\n", i);
		assert_string_equal(steps, cases[i].steps);
	}
}

static void
test_append_whole(void **state)
{
	struct imap_append_reader reader = {.pos = 0};
	char steps[20];

	(void)state;
	append_steps(SLICE("a APPEND x CATENATE (URL /a;UID=1) CATENATE (URL /b;UID=2)"),
	    false, &reader, steps);
	assert_string_equal(steps, "HBUCBUCE");
	reader = (struct imap_append_reader){.pos = 0};
	append_steps(
	    SLICE("a UID REPLACE 7 x CATENATE (URL {3}\r\n/a;)"), false, &reader, steps);
	assert_string_equal(steps, "HBUCE");
	assert_true(reader.head.replace && reader.head.uid && reader.head.number == 7);
	assert_true(slice_equal(reader.url, SLICE("/a;")));
	reader = (struct imap_append_reader){.pos = 0};
	append_steps(SLICE("a APPEND x"), false, &reader, steps);
	assert_string_equal(steps, "HX");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table_is_sorted),
	    cmocka_unit_test_setup_teardown(test_results, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_append, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_append_more, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_append_whole, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
