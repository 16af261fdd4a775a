/*
 * Every operation on slices, with the null slice and the edges of numbers.
 */
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void
assert_slice(struct slice got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	if (got.len)
		assert_memory_equal(got.ptr, want, got.len);
}

static void
compares(void **state)
{
	static const struct {
		const char *a, *b;
		int order;
		bool same_nocase;
	} rows[] = {
	    {"",         "",         0,  true },
	    {"a",        "",         1,  false},
	    {"",         "a",        -1, false},
	    {"abc",      "abc",      0,  true },
	    {"abc",      "abd",      -1, false},
	    {"abc",      "ab",       1,  false},
	    {"ABC",      "abc",      -1, true },
	    {"a[b",      "A{B",      1,  false},
	    {"\xc3\x84", "\xc3\xa4", -1, false},
	    {"\x7f",     "\x80",     -1, false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice a = slice_from_cstr(rows[i].a),
			     b = slice_from_cstr(rows[i].b);
		int order = slice_compare(a, b);
		assert_int_equal((order > 0) - (order < 0), rows[i].order);
		assert_int_equal(slice_equal(a, b), rows[i].order == 0);
		assert_int_equal(slice_equal_nocase(a, b), rows[i].same_nocase);
	}
	assert_int_equal(slice_compare(SLICE_NULL, SLICE("")), 0);
	assert_true(slice_equal(SLICE_NULL, SLICE("")));
	assert_true(slice_equal_nocase(SLICE_NULL, SLICE_NULL));
	assert_null(slice_from_cstr(NULL).ptr);
}

static void
prefixes_and_parts(void **state)
{
	(void)state;
	assert_true(slice_has_prefix(SLICE("mailbox"), SLICE("mail")));
	assert_true(slice_has_prefix(SLICE("mail"), SLICE("")));
	assert_false(slice_has_prefix(SLICE("mai"), SLICE("mail")));
	assert_false(slice_has_prefix(SLICE("Mail"), SLICE("mail")));
	assert_true(slice_has_prefix_nocase(SLICE("MaIlbox"), SLICE("mail")));
	assert_false(slice_has_prefix_nocase(SLICE("ma"), SLICE("mail")));
	assert_true(slice_has_suffix(SLICE("a.example"), SLICE(".example")));
	assert_false(slice_has_suffix(SLICE("example"), SLICE(".example")));
	assert_slice(slice_sub(SLICE("abcdef"), 2, 3), "cde");
	assert_slice(slice_sub(SLICE("abcdef"), 4, SIZE_MAX), "ef");
	assert_slice(slice_sub(SLICE("abc"), 9, 1), "");
	assert_slice(slice_from(SLICE("abc"), 3), "");
	assert_null(slice_sub(SLICE_NULL, 0, 1).ptr);
}

static void
finds(void **state)
{
	(void)state;
	assert_int_equal(slice_index(SLICE("a@b@c"), '@'), 1);
	assert_int_equal(slice_rindex(SLICE("a@b@c"), '@'), 3);
	assert_true(slice_index(SLICE("abc"), '@') == SIZE_MAX);
	assert_true(slice_index(SLICE_NULL, '\0') == SIZE_MAX);
	assert_true(slice_rindex(SLICE_NULL, '\0') == SIZE_MAX);
	assert_int_equal(slice_find(SLICE("header: value"), SLICE(": ")), 6);
	assert_int_equal(slice_find(SLICE("abc"), SLICE("")), 0);
	assert_int_equal(slice_find(SLICE_NULL, SLICE_NULL), 0);
	assert_true(slice_find(SLICE("ab"), SLICE("abc")) == SIZE_MAX);
	assert_true(slice_find(SLICE_NULL, SLICE("a")) == SIZE_MAX);
	assert_int_equal(slice_find(SLICE("a\0b"), SLICE("\0b")), 1);
}

static void
trims(void **state)
{
	(void)state;
	assert_slice(slice_trim(SLICE(" \t\r\n a b \r\n")), "a b");
	assert_slice(slice_trim(SLICE("  ")), "");
	assert_slice(slice_trim(SLICE_NULL), "");
	assert_slice(slice_trim(SLICE("\v1")), "\v1");
}

static void
splits(void **state)
{
	struct slice rest = SLICE("a,,b,");
	(void)state;
	assert_slice(slice_split(&rest, ','), "a");
	assert_slice(slice_split(&rest, ','), "");
	assert_slice(slice_split(&rest, ','), "b");
	/* Something was behind the last separator, if only nothing: not the null slice.
	 */
	assert_non_null(rest.ptr);
	assert_slice(slice_split(&rest, ','), "");
	assert_null(rest.ptr);
	assert_null(slice_split(&rest, ',').ptr);
	assert_null(rest.ptr);
}

static void
numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool ok;
		uint64_t value;
	} rows[] = {
	    {"0",		       0,          true,  0         },
	    {"1",		       0,          false, 0         },
	    {"",			9,          false, 0         },
	    {"-1",		      9,          false, 0         },
	    {"+1",		      9,          false, 0         },
	    {" 1",		      9,          false, 0         },
	    {"1 ",		      9,          false, 0         },
	    {"0x1",		     99,         false, 0         },
	    {"007",		     7,          true,  7         },
	    {"8",		       7,          false, 0         },
	    {"10",		      9,          false, 0         },
	    {"99",		      100,        true,  99        },
	    {"100",		     100,        true,  100       },
	    {"101",		     100,        false, 0         },
	    {"4294967295",              UINT32_MAX, true,  UINT32_MAX},
	    {"4294967296",              UINT32_MAX, false, 0         },
	    {"18446744073709551615",    UINT64_MAX, true,  UINT64_MAX},
	    {"18446744073709551616",    UINT64_MAX, false, 0         },
	    {"99999999999999999999999", UINT64_MAX, false, 0         },
	};
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t value = 77;
		bool ok =
		    slice_to_u64(slice_from_cstr(rows[i].text), rows[i].max, &value);
		assert_int_equal(ok, rows[i].ok);
		assert_true(value == (rows[i].ok ? rows[i].value : 77));
	}
	uint32_t small = 5;
	assert_true(slice_to_u32(SLICE("4294967295"), &small));
	assert_true(small == UINT32_MAX);
	assert_false(slice_to_u32(SLICE("4294967296"), &small));
	assert_false(slice_to_u32(SLICE_NULL, &small));
}

static void
c_strings(void **state)
{
	char room[4] = "zzz";
	(void)state;
	char *copy = slice_to_cstr(SLICE("abc"));
	assert_string_equal(copy, "abc");
	free(copy);
	copy = slice_to_cstr(SLICE_NULL);
	assert_string_equal(copy, "");
	free(copy);
	assert_true(slice_copy_cstr(SLICE("abc"), room, sizeof(room)));
	assert_string_equal(room, "abc");
	assert_false(slice_copy_cstr(SLICE("abcd"), room, sizeof(room)));
	assert_false(slice_copy_cstr(SLICE("a\0b"), room, sizeof(room)));
	assert_false(slice_copy_cstr(SLICE(""), room, 0));
	assert_true(slice_copy_cstr(SLICE_NULL, room, 1));
	assert_string_equal(room, "");
}

static void
ascii(void **state)
{
	(void)state;
	for (int i = -128; i < 128; i++) {
		char c = (char)i;
		bool upper = i >= 'A' && i <= 'Z', lower = i >= 'a' && i <= 'z';
		assert_int_equal(ascii_lower(c), upper ? c + 32 : c);
		assert_int_equal(ascii_upper(c), lower ? c - 32 : c);
		assert_int_equal(ascii_is_alpha(c), upper || lower);
		assert_int_equal(ascii_is_digit(c), i >= '0' && i <= '9');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(compares),
	    cmocka_unit_test(prefixes_and_parts),
	    cmocka_unit_test(finds),
	    cmocka_unit_test(trims),
	    cmocka_unit_test(splits),
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(c_strings),
	    cmocka_unit_test(ascii),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
