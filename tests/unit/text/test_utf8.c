/* UTF-8: validity byte by byte, NFC, case folding; and the CRC of the index record. */
#include "unit/text/text_test.h"

#include "text/encoding.h"
#include "text/utf8_int.h"

static void
test_valid(void **state)
{
	(void)state;
	static const char *good[] = {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
	    "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
	    "\xf4\x8f\xbf\xbf", "long enough for words \xc3\xa4 and more"};
	static const char *bad[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf",
	    "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
	    "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe2\x82",
	    "\xf0\x9f\x98", "a\xc3z", "\xc3\xc3\xa4", "\xe2\x28\xa1"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(utf8_is_valid(slice_from_cstr(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf out;
		struct slice s = slice_from_cstr(bad[i]);
		assert_false(utf8_is_valid(s));
		buf_init(&out, 100);
		assert_false(utf8_to_nfc(s, &out));
		utf8_append_valid(s, &out);
		assert_true(utf8_is_valid(buf_slice(&out)));
		utf8_casefold(s, &out);
		assert_true(utf8_is_valid(buf_slice(&out)));
		buf_fini(&out);
	}
	assert_true(ascii_only(SLICE("")));
	assert_true(ascii_only(SLICE("0123456789abcdef~")));
	assert_false(ascii_only(SLICE("0123456789abcdef\x80")));
	assert_false(ascii_only(SLICE("\xff"
				      "123456789")));
}

static void
test_nfc_and_fold(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1000);
	assert_true(utf8_to_nfc(SLICE("a\xcc\x88 x"), &out));
	CHECK_TEXT(buf_slice(&out), "\xc3\xa4 x");
	buf_reset(&out);
	assert_true(utf8_to_nfc(SLICE("plain"), &out));
	CHECK_TEXT(buf_slice(&out), "plain");
	static const char *rows[][2] = {
	    {"ABC xyz",          "abc xyz"         },
            {"\xc3\x84",         "a\xcc\x88"       }, /* decomposed: RFC 5051 */
	    {"\xef\xac\x81",     "fi"              },
	    {"stra\xc3\x9f"
	     "e",   "strasse"         },
	    {"\xce\xa3\xcf\x82", "\xcf\x83\xcf\x83"},
	    {"a\xff\xff"
	     "B",   "a\xef\xbf\xbd"
		"b"  },
	    {"",		 ""                }
        };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_reset(&out);
		utf8_casefold(slice_from_cstr(rows[i][0]), &out);
		CHECK_TEXT(buf_slice(&out), rows[i][1]);
	}
	buf_reset(&out);
	utf8_collation_key(SLICE("a_B\xc3\xa4"), &out);
	CHECK_TEXT(buf_slice(&out), "A_BA\xcc\x88");
	CHECK_TEXT(utf8_cut(SLICE("a\xc3\xa4"), 2), "a");
	CHECK_TEXT(utf8_cut(SLICE("a\xc3\xa4"), 3), "a\xc3\xa4");
	CHECK_TEXT(utf8_cut(SLICE("\xbf\xbf\xbf"), 2), "");
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_valid),
	    cmocka_unit_test(test_nfc_and_fold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
