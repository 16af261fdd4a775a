/* Address lists: RFC 5322 examples, groups, and what careless senders write. */
#include "unit/text/text_test.h"

#include "text/address.h"

enum { ARENA_BYTES = 64 << 20 };

/* "name|route|mailbox|host" an element, joined by " ; "; "-" for null. */
static void
check_list(const char *value, const char *want)
{
	struct arena *arena = arena_new(ARENA_BYTES);
	struct list_address *list;
	struct buf text;
	buf_init(&text, 10000);
	size_t count = address_list_parse(slice_from_cstr(value), arena, &list);
	for (size_t i = 0; i < count; i++) {
		struct slice parts[] = {
		    list[i].name, list[i].route, list[i].mailbox, list[i].host};
		if (i)
			buf_append(&text, SLICE(" ; "));
		for (size_t k = 0; k < 4; k++) {
			if (k)
				buf_append_byte(&text, '|');
			buf_append(&text, parts[k].ptr ? parts[k] : SLICE("-"));
		}
		assert_int_equal(
		    list[i].group_start || list[i].group_end, !list[i].host.ptr);
		assert_int_equal(
		    list[i].group_end, !list[i].host.ptr && !list[i].mailbox.ptr);
	}
	check_slice(buf_slice(&text), slice_from_cstr(want), value, __LINE__);
	buf_fini(&text);
	arena_free(&arena);
}

static void
test_rfc5322(void **state)
{
	(void)state;
	check_list("John Doe <jdoe@machine.example>", "John Doe|-|jdoe|machine.example");
	check_list(
	    "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
	    "-|-|boss|nil.test ; Giant; \"Big\" Box|-|sysservices|example.net");
	check_list("A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
	    "-|-|A Group|- ; Ed Jones|-|c|a.test ; -|-|joe|where.test ; "
	    "John|-|jdoe|one.test ; -|-|-|-");
	check_list("Undisclosed recipients:;", "-|-|Undisclosed recipients|- ; -|-|-|-");
	check_list("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
	    "Pete|-|pete|silly.test");
	check_list("Joe Q. Public <john.q.public@example.com>",
	    "Joe Q. Public|-|john.q.public|example.com");
	check_list("Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
	    "Mary Smith|@node.test|mary|example.net ; -|-|jdoe|test.example");
	check_list("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
	    "-|-|Hidden recipients|- ; -|-|-|-");
	check_list("jdoe@test (John Doe)", "John Doe|-|jdoe|test");
	check_list("\"joe doe\"@example.org", "-|-|joe doe|example.org");
	check_list("u@[192.0.2.1], x@y", "-|-|u|[192.0.2.1] ; -|-|x|y");
	check_list(" a@b ,\r\n\tc@d\r\n", "-|-|a|b ; -|-|c|d");
	check_list("", "");
	check_list(" \r\n", "");
	check_list(",,;,", "");
}

static void
test_careless(void **state)
{
	(void)state;
	check_list("foo@bar.com <foo@bar.com>", "foo@bar.com|-|foo|bar.com");
	check_list("root", "-|-|root|");
	check_list("some people", "some people|-||");
	check_list("John Doe jdoe@example.org", "John Doe|-|jdoe|example.org");
	check_list("a <x@y", "a|-|x|y");
	check_list("a <x@y, b <z@w>", "a|-|x@y,b<z|w");
	check_list("<>", "-|-||");
	check_list("a <b@c> <d@e>", "a|-|b|c ; -|-|d|e");
	check_list("\"unclosed <a@b>", "-|-|unclosed <a@b>|");
	check_list("(unclosed a@b", "");
	check_list("=?utf-8?Q?Doe,_John?= <a@b>", "=?utf-8?Q?Doe,_John?=|-|a|b");
	check_list("=?utf-8?B?w6Q=?= =?utf-8?B?w6Q=?= <a@b>",
	    "=?utf-8?B?w6Q=?= =?utf-8?B?w6Q=?=|-|a|b");
	check_list("group: a@b", "-|-|group|- ; -|-|a|b ; -|-|-|-");
	check_list("g1: a@b; g2: c@d;",
	    "-|-|g1|- ; -|-|a|b ; -|-|-|- ; -|-|g2|- ; -|-|c|d ; -|-|-|-");
	check_list("a@b;", "-|-|a|b");
	check_list("<mailto:a@b>", "-|-|mailto:a|b");
	check_list("\xe4\xf6 <a@b>", "\xe4\xf6|-|a|b");
	check_list("a@b@c", "-|-|a@b|c");
	check_list("@", "-|-||");
	check_list("Q. U. <a@b>", "Q. U.|-|a|b");
	check_list("a(x)b <c@d>", "a b|-|c|d");
}

/* Linear: a megabyte of each trouble maker, and never more than the maximum. */
static void
test_hostile(void **state)
{
	(void)state;
	static const char *pieces[] = {"<", ">", "(", ")", "\"", "\\", ",", ";", ":", "@",
	    "[", "=?", "a@b,", "<,", "a:;", "=?a?q?", "(\\", "a ", ". ", "<a@b> "};
	enum { SIZE = 1 << 20 };
	char *text = malloc(SIZE);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		size_t len = strlen(pieces[i]);
		for (size_t at = 0; at + len <= SIZE; at += len)
			memcpy(text + at, pieces[i], len);
		struct arena *arena = arena_new(ARENA_BYTES);
		struct list_address *list;
		size_t count = address_list_parse(slice_make(text, SIZE), arena, &list);
		assert_true(count <= ADDRESS_LIST_MAX);
		arena_free(&arena);
	}
	/* A small arena: fewer elements, no crash. */
	for (size_t at = 0; at + 4 <= SIZE; at += 4)
		memcpy(text + at, "a@b,", 4);
	struct arena *arena = arena_new(SIZE + 5000);
	struct list_address *list;
	address_list_parse(slice_make(text, SIZE), arena, &list);
	arena_free(&arena);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rfc5322),
	    cmocka_unit_test(test_careless),
	    cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
