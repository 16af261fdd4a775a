/* Modified UTF-7: the RFC's examples, Dovecot's table, one encoding for one name. */
#include "unit/text/text_test.h"

#include "text/encoding.h"

static void
check_pair(struct slice utf8, struct slice mutf7)
{
	struct buf out;
	buf_init(&out, 1000);
	mutf7_encode(utf8, &out);
	CHECK_SLICE(buf_slice(&out), mutf7);
	buf_reset(&out);
	assert_true(mutf7_decode(mutf7, &out));
	CHECK_SLICE(buf_slice(&out), utf8);
	buf_fini(&out);
}

static void
check_bad(struct slice mutf7)
{
	struct buf out;
	buf_init(&out, 1000);
	if (mutf7_decode(mutf7, &out))
		fail_msg("accepted %.*s", SLICE_ARG(mutf7));
	buf_fini(&out);
}

static void
test_examples(void **state)
{
	(void)state;
	check_pair(SLICE("~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/"
			 "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"),
	    SLICE("~peter/mail/&U,BTFw-/&ZeVnLIqe-"));
	check_pair(SLICE("&&x&&"), SLICE("&-&-x&-&-"));
	check_pair(SLICE("Entw\xc3\xbcrfe"), SLICE("Entw&APw-rfe"));
	check_pair(SLICE("\xf0\x9f\x98\x80"), SLICE("&2D3eAA-"));
	check_pair(SLICE("a\tb"), SLICE("a&AAk-b"));
	check_pair(SLICE(""), SLICE(""));
}

static void
test_refuses(void **state)
{
	(void)state;
	static const char *bad[] = {"&", "&Jjo", "&Jjo!", "&U,BTFw-&ZeVnLIqe-", "&AGE-",
	    "&2D0-", "&3gA-", "&APx-", "&AP-", "a\tb", "\xc3\xa9", "&AAA-", "&A-",
	    "&ACY-", "&APwA-", "&2D0APA-", "&APw/-"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_bad(slice_from_cstr(bad[i]));
}

static void
test_bad_utf8_is_replaced(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 100);
	mutf7_encode(SLICE("p\xe4"), &out);
	CHECK_TEXT(buf_slice(&out), "p&,,0-");
	buf_fini(&out);
}

static void
test_vectors(void **state)
{
	(void)state;
	static const char *files[] = {
	    "dovecot-tables/imap-mutf7.json", "rfc-examples/imap-url-mutf7.json"};
	struct buf utf8, mutf7;
	buf_init(&utf8, 1000);
	buf_init(&mutf7, 1000);
	for (size_t i = 0; i < 2; i++) {
		struct slice text = read_vectors(files[i]), rest = text;
		struct slice object;
		while ((object = json_next_object(&rest)).ptr) {
			bool is_string = false;
			if (!json_string(object, "mutf7", &mutf7))
				continue;
			if (json_string(object, "utf8", &utf8))
				check_pair(buf_slice(&utf8), buf_slice(&mutf7));
			else if (!json_raw(object, "mailbox", &is_string).ptr)
				check_bad(buf_slice(&mutf7));
		}
		free((void *)(uintptr_t)text.ptr);
	}
	buf_fini(&utf8);
	buf_fini(&mutf7);
}

/* Every code point survives the way there and back. */
static void
test_all_code_points(void **state)
{
	(void)state;
	for (uint32_t c = 1; c < 0x110000; c += c < 0x3000 ? 1 : 0x35) {
		char text[8];
		size_t len = 0;
		if (c >= 0xd800 && c < 0xe000)
			continue;
		if (c < 0x80) {
			text[len++] = (char)c;
		} else if (c < 0x800) {
			text[len++] = (char)(0xc0 | c >> 6);
			text[len++] = (char)(0x80 | (c & 0x3f));
		} else if (c < 0x10000) {
			text[len++] = (char)(0xe0 | c >> 12);
			text[len++] = (char)(0x80 | (c >> 6 & 0x3f));
			text[len++] = (char)(0x80 | (c & 0x3f));
		} else {
			text[len++] = (char)(0xf0 | c >> 18);
			text[len++] = (char)(0x80 | (c >> 12 & 0x3f));
			text[len++] = (char)(0x80 | (c >> 6 & 0x3f));
			text[len++] = (char)(0x80 | (c & 0x3f));
		}
		struct buf mutf7;
		buf_init(&mutf7, 100);
		mutf7_encode(slice_make(text, len), &mutf7);
		check_pair(slice_make(text, len), buf_slice(&mutf7));
		buf_fini(&mutf7);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_examples),
	    cmocka_unit_test(test_refuses),
	    cmocka_unit_test(test_bad_utf8_is_replaced),
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_all_code_points),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
