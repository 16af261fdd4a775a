/* Header fields, structured values, message ids. */
#include "unit/text/text_test.h"

#include "text/header.h"

enum { ARENA_BYTES = 64 << 20 };

static void
test_block_length(void **state)
{
	(void)state;
	assert_int_equal(header_block_length(SLICE("a: b\r\n\r\nbody")), 8);
	assert_int_equal(header_block_length(SLICE("a: b\n\nbody")), 6);
	assert_int_equal(header_block_length(SLICE("\r\nbody")), 2);
	assert_int_equal(header_block_length(SLICE("a: b\r\nc")), 7);
	assert_int_equal(header_block_length(SLICE("")), 0);
	assert_int_equal(header_block_length(SLICE_NULL), 0);
	assert_int_equal(header_block_length(SLICE("a: b\r\n \r\n\r\nx")), 11);
}

static void
test_iterate(void **state)
{
	(void)state;
	struct header_iter it;
	struct header_field f;
	header_iter_init(
	    &it, SLICE("From x@y Mon Nov 24 10:00:00 2026\r\nA: 1\r\nno field\r\n"
		       "B : 2\r\n\tmore\r\n  lost: fold\r\n:empty\r\nC:\nlast: 5\r\n"
		       "\r\nD: body\r\n"));
	assert_true(header_iter_next(&it, &f));
	CHECK_TEXT(f.name, "A");
	CHECK_TEXT(f.value, " 1\r\n");
	CHECK_TEXT(f.whole, "A: 1\r\n");
	assert_true(header_iter_next(&it, &f));
	CHECK_TEXT(f.name, "B");
	CHECK_TEXT(f.value, " 2\r\n\tmore\r\n  lost: fold\r\n");
	assert_true(header_iter_next(&it, &f));
	CHECK_TEXT(f.name, "C");
	CHECK_TEXT(f.value, "\n");
	assert_true(header_iter_next(&it, &f));
	CHECK_TEXT(f.name, "last");
	assert_false(header_iter_next(&it, &f));
	assert_false(header_iter_next(&it, &f));
	assert_true(header_find(SLICE("a: 1\r\nX-Y: 2\r\nx-y: 3\r\n"), SLICE("x-Y"), &f));
	CHECK_TEXT(f.value, " 2\r\n");
	assert_false(header_find(SLICE("a: 1\r\n\r\nb: 2\r\n"), SLICE("b"), &f));
}

static void
test_unfold(void **state)
{
	(void)state;
	struct arena *arena = arena_new(ARENA_BYTES);
	CHECK_TEXT(header_unfold(SLICE("  a\r\n\tb \r\n"), arena), "a\tb");
	CHECK_TEXT(header_unfold(SLICE(" \r\n"), arena), "");
	CHECK_TEXT(header_unfold(SLICE(" x\n y\n"), arena), "x y");
	arena_free(&arena);
}

/* "type/subtype name=value ..." */
static void
check_value(const char *value, const char *want, int line)
{
	struct arena *arena = arena_new(ARENA_BYTES);
	struct header_value v;
	struct buf text;
	buf_init(&text, 100000);
	header_value_parse(slice_from_cstr(value), arena, &v);
	buf_append(&text, v.type);
	if (v.subtype.ptr) {
		buf_append_byte(&text, '/');
		buf_append(&text, v.subtype);
	}
	for (size_t i = 0; i < v.parameter_count; i++) {
		buf_append(&text, SLICE(" "));
		buf_append(&text, v.parameters[i].name);
		buf_append(&text, SLICE("={"));
		buf_append(&text, v.parameters[i].value);
		buf_append(&text, SLICE("}"));
	}
	check_slice(buf_slice(&text), slice_from_cstr(want), value, line);
	buf_fini(&text);
	arena_free(&arena);
}
#define CHECK_VALUE(value, want) check_value((value), (want), __LINE__)

static void
test_values(void **state)
{
	(void)state;
	CHECK_VALUE("Text/Plain", "text/plain");
	CHECK_VALUE(
	    " text/plain; charset =ISO-8859-1\r\n", "text/plain charset={ISO-8859-1}");
	CHECK_VALUE(
	    "text/plain; charset=us-ascii (Plain text)", "text/plain charset={us-ascii}");
	CHECK_VALUE("multipart/mixed; boundary=\"simple boundary\"",
	    "multipart/mixed boundary={simple boundary}");
	CHECK_VALUE("a/b; x=\"q\\\"\\\\z\"; y=2", "a/b x={q\"\\z} y={2}");
	CHECK_VALUE("a/b; x=\"fold\r\n ed\"", "a/b x={fold ed}");
	CHECK_VALUE("a/b; x=\"open", "a/b x={open}");
	CHECK_VALUE("a/b; x=\"open\\", "a/b x={open\\}");
	CHECK_VALUE("a/b; name=foo bar.pdf; z=1", "a/b name={foo bar.pdf} z={1}");
	CHECK_VALUE("a/b; name=foo (1).pdf", "a/b name={foo (1).pdf}");
	CHECK_VALUE("text/plain; charset=utf-8 format=flowed",
	    "text/plain charset={utf-8} format={flowed}");
	CHECK_VALUE(
	    "text/plain; name=\"a\" charset=x", "text/plain name={a} charset={x}");
	CHECK_VALUE("text/plain;;; ; a=1;", "text/plain a={1}");
	CHECK_VALUE("text/plain; novalue; a=1", "text/plain a={1}");
	CHECK_VALUE("text/plain; a=", "text/plain a={}");
	CHECK_VALUE("text / plain (c) ; a = 1", "text/plain a={1}");
	CHECK_VALUE("attachment; filename=x", "attachment filename={x}");
	CHECK_VALUE("attachment", "attachment");
	CHECK_VALUE("", "");
	CHECK_VALUE("; a=1", " a={1}");
	CHECK_VALUE("charset=utf-8", " charset={utf-8}");
	CHECK_VALUE("image/jpeg; name==?iso-8859-1?B?4Q==?= =?utf-8?B?w6k=?=",
	    "image/jpeg name={=?iso-8859-1?B?4Q==?= =?utf-8?B?w6k=?=}");
	CHECK_VALUE("application/x-magic-cap-package-1.0 ;charset=us-ascii",
	    "application/x-magic-cap-package-1.0 charset={us-ascii}");
}

static void
test_rfc2231(void **state)
{
	(void)state;
	CHECK_VALUE("message/external-body; access-type=URL;\r\n URL*0=\"ftp://\";\r\n"
		    " URL*1=\"cs.utk.edu/pub\"",
	    "message/external-body url={ftp://cs.utk.edu/pub} access-type={URL}");
	CHECK_VALUE("a/b; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
	    "a/b title={This is ***fun***}");
	CHECK_VALUE("a/b\r\n title*0*=us-ascii'en'This%20is%20even%20more%20\r\n"
		    " title*1*=%2A%2A%2Afun%2A%2A%2A%20\r\n title*2=\"isn't it!\"",
	    "a/b title={This is even more ***fun*** isn't it!}");
	CHECK_VALUE("a/b; f*1=two; f*0=one; f*3=lost", "a/b f={onetwo}");
	CHECK_VALUE("a/b; f=plain; f*=utf-8''%c3%a9", "a/b f={\xc3\xa9}");
	CHECK_VALUE("a/b; f*=iso-8859-1''%e9; g=1", "a/b f={\xc3\xa9} g={1}");
	CHECK_VALUE("a/b; f*=no quotes%", "a/b f={no quotes%}");
}

/* What BODYSTRUCTURE sends keeps the names and values of the field. */
static void
test_written(void **state)
{
	(void)state;
	struct arena *arena = arena_new(ARENA_BYTES);
	struct header_value v;
	header_value_parse_written(SLICE("a/b; F*0*=utf-8''%c3; f*1*=%a9"), arena, &v);
	assert_int_equal(v.parameter_count, 2);
	CHECK_TEXT(v.parameters[0].name, "f*0*");
	CHECK_TEXT(v.parameters[0].value, "utf-8''%c3");
	assert_null(header_value_parameter(&v, SLICE("f")).ptr);
	arena_free(&arena);
}

static void
check_ids(const char *value, const char *want, int line)
{
	struct arena *arena = arena_new(ARENA_BYTES);
	struct slice ids[10];
	struct buf text;
	buf_init(&text, 10000);
	size_t count = header_message_ids(slice_from_cstr(value), arena, ids, 10);
	for (size_t i = 0; i < count; i++)
		buf_append(&text, ids[i]);
	check_slice(buf_slice(&text), slice_from_cstr(want), value, line);
	buf_fini(&text);
	arena_free(&arena);
}
#define CHECK_IDS(value, want) check_ids((value), (want), __LINE__)

static void
test_message_ids(void **state)
{
	(void)state;
	CHECK_IDS("<a@b>", "<a@b>");
	CHECK_IDS("<a@b> <c@d>\r\n <e@f>", "<a@b><c@d><e@f>");
	CHECK_IDS("<a @\r\n b>", "<a@b>");
	CHECK_IDS("Your message of <a@b> \"x\"", "<a@b>");
	CHECK_IDS("<junk <a@b>", "<a@b>");
	CHECK_IDS(" bare@id \r\n", "<bare@id>");
	CHECK_IDS("no id here", "");
	CHECK_IDS("<>", "");
	CHECK_IDS("<open@x", "");
	CHECK_IDS("", "");
	CHECK_IDS(
	    "<1><2><3><4><5><6><7><8><9><10><11>", "<1><2><3><4><5><6><7><8><9><10>");
}

static void
test_hostile(void **state)
{
	(void)state;
	static const char *pieces[] = {"(", ")", "\"", "\\", ";", "=", " ", "a=", "a=1;",
	    "a ", "(\\", "a (b) ", "a*0=1;", "a*=1;", "<", ">", "<a>", "a:\r\n", " \r\n",
	    "\r\n", "a=\"", ";a=(b) "};
	enum { SIZE = 1 << 20 };
	char *text = malloc(SIZE);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		size_t len = strlen(pieces[i]), count = 0;
		memset(text, 'z', SIZE);
		for (size_t at = 0; at + len <= SIZE; at += len)
			memcpy(text + at, pieces[i], len);
		struct slice all = slice_make(text, SIZE), ids[100];
		struct arena *arena = arena_new(ARENA_BYTES);
		struct header_value v;
		header_value_parse(all, arena, &v);
		header_message_ids(all, arena, ids, 100);
		struct header_iter it;
		struct header_field f;
		header_iter_init(&it, all);
		while (header_iter_next(&it, &f))
			count++;
		assert_true(count <= HEADER_FIELDS_MAX);
		assert_true(header_block_length(all) <= SIZE);
		arena_free(&arena);
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_block_length),
	    cmocka_unit_test(test_iterate),
	    cmocka_unit_test(test_unfold),
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_rfc2231),
	    cmocka_unit_test(test_written),
	    cmocka_unit_test(test_message_ids),
	    cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
