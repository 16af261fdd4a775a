/*
 * LIST patterns against names, beside a plain recursive matcher as a model; and that a
 * hostile pattern costs no more than a kind one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/ids.h"
#include "imapd/imap_pattern.h"

static bool
match(const char *pattern, const char *name)
{
	struct arena *arena = arena_new(1024 * 1024);
	struct imap_pattern compiled;

	assert_true(imap_pattern_compile(slice_from_cstr(pattern), arena, &compiled));
	bool result = imap_pattern_match(&compiled, slice_from_cstr(name));
	arena_free(&arena);
	return result;
}

/* The model: exponential, but plainly what RFC 9051 section 6.3.9 says. */
static bool
model(const char *p, const char *n)
{
	if (*p == '\0')
		return *n == '\0';
	if (*p == '*' || *p == '%') {
		if (model(p + 1, n))
			return true;
		return *n != '\0' && (*p == '*' || *n != '/') && model(p, n + 1);
	}
	return *p == *n && model(p + 1, n + 1);
}

static void
test_cases(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool match;
	} cases[] = {
	    {"",           "",                  true },
	    {"",           "a",                 false},
	    {"*",          "",                  true },
	    {"*",          "a/b",               true },
	    {"%",          "a",                 true },
	    {"%",          "a/b",               false},
	    {"%/%",        "a/b",               true },
	    {"%/%",        "a",                 false},
	    {"a%",         "a",                 true },
	    {"a*b",        "a/x/b",             true },
	    {"a%b",        "a/b",               false},
	    {"*%*%*",      "a/b/c",             true },
	    {"%*",         "a/b",               true },
	    {"inbox",      "INBOX",             true },
	    {"InBoX/x",    "INBOX/x",           true },
	    {"InBoX/x",    "INBOX/X",           false},
	    {"in%",        "INBOX",             true },
	    {"inboxes",    "INBOXES",           false},
	    {"Sent",       "sent",              false},
	    {"a\xc3\xbc%", "a\xc3\xbc\xc3\xbc", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (match(cases[i].pattern, cases[i].name) != cases[i].match)
			print_error("%s on %s\n", cases[i].pattern, cases[i].name);
		assert_int_equal(match(cases[i].pattern, cases[i].name), cases[i].match);
	}
}

static void
test_against_model(void **state)
{
	static const char letters[] = "ab/*%";

	(void)state;
	random_fake(7);
	for (int round = 0; round < 20000; round++) {
		char pattern[12] = {0}, name[12] = {0};
		size_t pattern_len = random_u64() % 11, name_len = random_u64() % 11;
		for (size_t i = 0; i < pattern_len; i++)
			pattern[i] = letters[random_u64() % 5];
		for (size_t i = 0; i < name_len; i++)
			name[i] = letters[random_u64() % 3];
		if (match(pattern, name) != model(pattern, name))
			print_error("%s on %s\n", pattern, name);
		assert_int_equal(match(pattern, name), model(pattern, name));
	}
	random_fake(0);
}

/* Long patterns cross the words of the bit sets. */
static void
test_long(void **state)
{
	char pattern[1700], name[401];

	(void)state;
	memset(name, 'a', 400);
	name[400] = '\0';
	memset(pattern, 'a', 400);
	pattern[400] = '\0';
	assert_true(match(pattern, name));
	pattern[399] = 'b';
	assert_false(match(pattern, name));
	for (size_t i = 0; i < 800; i += 2) {
		pattern[i] = 'a';
		pattern[i + 1] = i % 4 ? '*' : '%';
	}
	pattern[800] = '\0';
	assert_true(match(pattern, name));
	pattern[800] = 'b';
	pattern[801] = '\0';
	assert_false(match(pattern, name));
	memset(pattern, 'a', 1600);
	pattern[1600] = '\0';
	assert_false(match(pattern, name)); /* longer than any name */
}

static void
test_hostile_is_cheap(void **state)
{
	struct arena *arena = arena_new(1024 * 1024);
	struct imap_pattern compiled;
	char pattern[801], name[401];

	(void)state;
	for (size_t i = 0; i < 800; i += 2) {
		pattern[i] = '*';
		pattern[i + 1] = 'a';
	}
	pattern[798] = 'b';
	pattern[800] = '\0';
	memset(name, 'a', 400);
	assert_true(imap_pattern_compile(slice_make(pattern, 800), arena, &compiled));
	uint64_t begin = clock_mono_ms();
	for (int i = 0; i < 1000; i++)
		assert_false(imap_pattern_match(&compiled, slice_make(name, 400)));
	assert_true(clock_mono_ms() - begin < 5000);
	arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cases),
	    cmocka_unit_test(test_against_model),
	    cmocka_unit_test(test_long),
	    cmocka_unit_test(test_hostile_is_cheap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
