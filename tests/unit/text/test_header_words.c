/* RFC 2047 words, charsets, base subject. */
#include "unit/text/text_test.h"

#include "text/encoding.h"
#include "text/header.h"

static void
check_decode(struct slice value, struct slice want, int line)
{
	struct buf out;
	buf_init(&out, 1 << 20);
	header_decode(value, &out);
	check_slice(buf_slice(&out), want, "decode", line);
	buf_fini(&out);
}
#define CHECK_DECODE(value, want)                                                        \
	check_decode(slice_from_cstr(value), slice_from_cstr(want), __LINE__)

static void
test_decode(void **state)
{
	(void)state;
	CHECK_DECODE("plain", "plain");
	CHECK_DECODE("=?utf-8?q?=c3=a4?=", "\xc3\xa4");
	CHECK_DECODE("=?iso-8859-1?q?this=20is=20some=20text?=", "this is some text");
	CHECK_DECODE("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab");
	CHECK_DECODE("=?ISO-8859-1?Q?a?=\r\n   =?ISO-8859-2?Q?_b?=", "a b");
	CHECK_DECODE("=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore");
	CHECK_DECODE("=?utf-8?B?w6Q=?=", "\xc3\xa4");
	CHECK_DECODE("=?utf-8?B?w6Q?=", "\xc3\xa4");
	/* A character split over two words. */
	CHECK_DECODE("=?utf-8?B?ww==?= =?utf-8?B?pA==?=", "\xc3\xa4");
	CHECK_DECODE("[x]=?utf-8?Q?y?=z", "[x]yz");
	CHECK_DECODE("=?utf-8?Q?Hello there!?=", "Hello there!");
	CHECK_DECODE("=?utf-8?Q?Hello\r\n _there!?=", "Hello there!");
	CHECK_DECODE("=?utf-8?Q?what?"
		     "?=",
	    "what?");
	CHECK_DECODE(
	    "=? =?= =?a?= =?a?q =?utf-8?x?a?=", "=? =?= =?a?= =?a?q =?utf-8?x?a?=");
	CHECK_DECODE("=??q?a?=", "=??q?a?=");
	CHECK_DECODE("a\xff\xfe"
		     "b",
	    "a\xef\xbf\xbd"
	    "b");
	CHECK_DECODE("=?utf-9?B?UMOkaQ==?=", "P\xc3\xa4i");
	CHECK_DECODE("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac");
	CHECK_DECODE("=?windows-1252?Q?=80?=", "\xe2\x82\xac");
	CHECK_DECODE("=?gb2312?B?xOO6ww==?=", "\xe4\xbd\xa0\xe5\xa5\xbd");
	CHECK_DECODE("fold\r\n ed", "fold ed");
	CHECK_DECODE("", "");
}

static void
test_vectors(void **state)
{
	(void)state;
	struct buf encoded, want;
	buf_init(&encoded, 10000);
	buf_init(&want, 10000);
	struct slice text = read_vectors("dovecot-tables/rfc2047-decode.json"),
		     rest = text;
	struct slice object;
	while ((object = json_next_object(&rest)).ptr) {
		struct buf out;
		buf_init(&out, 10000);
		if (json_string(object, "encoded", &encoded) &&
		    json_string(object, "decoded", &want)) {
			header_decode(buf_slice(&encoded), &out);
			CHECK_SLICE(
			    slice_trim(buf_slice(&out)), slice_trim(buf_slice(&want)));
		}
		buf_fini(&out);
	}
	free((void *)(uintptr_t)text.ptr);
	text = rest = read_vectors("rfc-examples/rfc2047.json");
	while ((object = json_next_object(&rest)).ptr) {
		struct buf out, where;
		buf_init(&out, 10000);
		buf_init(&where, 100);
		/* Next to a parenthesis in text we decode, as many do. */
		bool strict = json_string(object, "note", &where);
		if (!strict && json_string(object, "encoded", &encoded) &&
		    json_string(object, "displayed", &want)) {
			header_decode(buf_slice(&encoded), &out);
			CHECK_SLICE(buf_slice(&out), buf_slice(&want));
		}
		buf_fini(&out);
		buf_fini(&where);
	}
	free((void *)(uintptr_t)text.ptr);
	buf_fini(&encoded);
	buf_fini(&want);
}

static void
test_charsets(void **state)
{
	(void)state;
	static const struct {
		const char *charset;
		struct slice in;
		const char *want;
		bool known;
	} rows[] = {
	    {"utf-8",            {"\xc3\xa4", 2},  "\xc3\xa4",      true },
	    {"UTF-8",            {"a\xff\xff", 3}, "a\xef\xbf\xbd", true },
	    {"us-ascii",         {"\xc3\xa4", 2},  "\xc3\xa4",      true },
	    {"ISO-8859-1",       {"\xe4", 1},      "\xc3\xa4",      true },
	    {"iso-8859-15",      {"\xa4", 1},      "\xe2\x82\xac",  true },
	    {"koi8-r",           {"\xc1", 1},      "\xd0\xb0",      true },
	    {"shift_jis",        {"\x93\xfa", 2},  "\xe6\x97\xa5",  true },
	    {"shift_jis",        {"a\x93", 2},     "a\xef\xbf\xbd", true },
	    {"ks_c_5601-1987",   {"\xb0\xa1", 2},  "\xea\xb0\x80",  true },
	    {"utf-7",            {"+AOQ-", 5},     "\xc3\xa4",      true },
	    {"iso-2022-jp",      {"\x1b$BF|", 5},  "\xe6\x97\xa5",  true },
	    {"x-unknown",        {"a\xe4", 2},     "a\xef\xbf\xbd", false},
	    {"../../etc/passwd", {"a", 1},         "a",             false},
	    {"UTF-8//TRANSLIT",  {"a", 1},         "a",             false},
	    {"",		 {"a", 1},         "a",             false},
	    {"euc-jp",           {"", 0},          "",              true },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		buf_init(&out, 1000);
		bool known =
		    charset_to_utf8(slice_from_cstr(rows[i].charset), rows[i].in, &out);
		check_slice(buf_slice(&out), slice_from_cstr(rows[i].want),
		    rows[i].charset, __LINE__);
		assert_int_equal(known, rows[i].known);
		buf_fini(&out);
	}
}

/* All bytes in every charset of the corpus: the output always is UTF-8, and it ends. */
static void
test_charsets_any_bytes(void **state)
{
	(void)state;
	static const char *names[] = {"iso-8859-2", "iso-8859-8-i", "windows-1250",
	    "windows-1256", "koi8-r", "iso-2022-jp", "shift_jis", "euc-jp", "euc-kr",
	    "big5", "gb2312", "gbk", "gb18030", "utf-7", "utf-16", "utf-16le", "ucs-2",
	    "utf-32", "x-mac-cyrillic", "hz-gb-2312", "iso-2022-kr", "cp437", "tscii"};
	char bytes[4096];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 167 + i / 256 * 13);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		charset_to_utf8(
		    slice_from_cstr(names[i]), slice_make(bytes, sizeof(bytes)), &out);
		assert_true(utf8_is_valid(buf_slice(&out)));
		assert_true(buf_ok(&out));
		buf_fini(&out);
	}
}

static void
check_base(const char *subject, const char *want, bool reply, int line)
{
	struct buf out;
	bool is_reply = !reply;
	buf_init(&out, 10000);
	header_base_subject(slice_from_cstr(subject), &out, &is_reply);
	check_slice(buf_slice(&out), slice_from_cstr(want), subject, line);
	if (is_reply != reply)
		fail_msg("line %d: %s", line, subject);
	buf_fini(&out);
}
#define CHECK_BASE(subject, want, reply) check_base((subject), (want), (reply), __LINE__)

static void
test_base_subject(void **state)
{
	(void)state;
	CHECK_BASE("hello", "hello", false);
	CHECK_BASE("Re: hello", "hello", true);
	CHECK_BASE("RE:RE: Fwd: FW : hello", "hello", true);
	CHECK_BASE("Re[2]: hello", "hello", true);
	CHECK_BASE("Re [2] : hello", "hello", true);
	CHECK_BASE("[list] hello", "hello", false);
	CHECK_BASE("[list] Re: hello", "hello", true);
	CHECK_BASE("Re: [list] hello", "hello", true);
	CHECK_BASE("[a][b] [c] hello", "hello", false);
	CHECK_BASE("[list]", "[list]", false);
	CHECK_BASE("Re: [list]", "[list]", true);
	CHECK_BASE("hello (fwd)", "hello", true);
	CHECK_BASE("hello (fwd) (FWD) ", "hello", true);
	CHECK_BASE("[Fwd: Re: hello]", "hello", true);
	CHECK_BASE("[fwd: [fwd: hello]]", "hello", true);
	CHECK_BASE("  a \t  b\r\n c  ", "a b c", false);
	CHECK_BASE("Re:", "", true);
	CHECK_BASE("", "", false);
	CHECK_BASE("Reply: hello", "Reply: hello", false);
	CHECK_BASE("Ref: x", "Ref: x", false);
	CHECK_BASE("[un closed hello", "[un closed hello", false);
	CHECK_BASE("[fwd: x", "[fwd: x", false);
	CHECK_BASE("(fwd)", "", true);
}

static void
test_hostile(void **state)
{
	(void)state;
	static const char *pieces[] = {"=?", "=?a?q?", "=?a?q?b?=", "=?utf-8?b?", "?",
	    "=",
	    "=?a?q?"
	    "?",
	    "[", "[]", "[a]", "re:", "(fwd)", "[fwd:", " ", "\xff", "=?x?b?/?= "};
	enum { SIZE = 1 << 20 };
	char *text = malloc(SIZE);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		size_t len = strlen(pieces[i]);
		struct buf out;
		bool is_reply;
		memset(text, 'z', SIZE);
		for (size_t at = 0; at + len <= SIZE; at += len)
			memcpy(text + at, pieces[i], len);
		buf_init(&out, 16 << 20);
		header_decode(slice_make(text, SIZE), &out);
		assert_true(utf8_is_valid(buf_slice(&out)));
		header_base_subject(slice_make(text, SIZE), &out, &is_reply);
		buf_fini(&out);
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_decode),
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_charsets),
	    cmocka_unit_test(test_charsets_any_bytes),
	    cmocka_unit_test(test_base_subject),
	    cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
