/*
 * Response writers: quoting, literals, names in both encodings, flags, the status map.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "imapd/imap_resp.h"

static struct buf out;

static int
setup(void **state)
{
	(void)state;
	buf_init(&out, 1024 * 1024);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	buf_fini(&out);
	return 0;
}

static void
expect(const char *text)
{
	if (!slice_equal(buf_slice(&out), slice_from_cstr(text)))
		print_error("got %.*s\nnot %s\n", (int)out.len, out.ptr, text);
	assert_true(slice_equal(buf_slice(&out), slice_from_cstr(text)));
	buf_reset(&out);
}

static void
test_strings(void **state)
{
	(void)state;
	imap_resp_string(&out, SLICE(""), false);
	expect("\"\"");
	imap_resp_string(&out, SLICE("a b"), false);
	expect("\"a b\"");
	imap_resp_string(&out, SLICE("\"a\\b\""), false);
	expect("\"\\\"a\\\\b\\\"\"");
	imap_resp_string(&out, SLICE("a\r\nb"), false);
	expect("{4}\r\na\r\nb");
	imap_resp_string(&out, SLICE("\xc3\xbc"), false);
	expect("{2}\r\n\xc3\xbc");
	imap_resp_string(&out, SLICE("\xc3\xbc"), true);
	expect("\"\xc3\xbc\"");
	imap_resp_string(&out, SLICE("\xc3"), true);
	expect("{1}\r\n\xc3");
	imap_resp_nstring(&out, SLICE_NULL, false);
	expect("NIL");
	imap_resp_astring(&out, SLICE("abc"), false);
	expect("abc");
	imap_resp_astring(&out, SLICE("nil"), false);
	expect("\"nil\"");
	imap_resp_astring(&out, SLICE("a(b"), false);
	expect("\"a(b\"");
	imap_resp_literal_head(&out, 7, true);
	expect("~{7}\r\n");
}

static void
test_nul_is_binary(void **state)
{
	(void)state;
	imap_resp_string(&out, slice_make("a\0b", 3), true);
	assert_true(slice_equal(buf_slice(&out), slice_make("~{3}\r\na\0b", 9)));
}

static void
test_long_is_literal(void **state)
{
	static char text[IMAP_QUOTED_MAX + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	imap_resp_string(&out, slice_make(text, IMAP_QUOTED_MAX), false);
	assert_int_equal(out.ptr[0], '"');
	buf_reset(&out);
	imap_resp_string(&out, slice_make(text, IMAP_QUOTED_MAX + 1), false);
	assert_true(slice_has_prefix(buf_slice(&out), SLICE("{1025}\r\nxx")));
}

static void
test_mailboxes(void **state)
{
	(void)state;
	imap_resp_mailbox(&out, SLICE("INBOX"), false);
	expect("INBOX");
	imap_resp_mailbox(&out, SLICE("a b"), false);
	expect("\"a b\"");
	imap_resp_mailbox(&out, SLICE("a&b"), false);
	expect("a&-b");
	imap_resp_mailbox(&out, SLICE("a&b"), true);
	expect("a&b");
	imap_resp_mailbox(&out, SLICE("Entw\xc3\xbcrfe"), false);
	expect("Entw&APw-rfe");
	imap_resp_mailbox(&out, SLICE("Entw\xc3\xbcrfe"), true);
	expect("\"Entw\xc3\xbcrfe\"");
	/* RFC 3501 section 5.1.3: its example. */
	imap_resp_mailbox(&out,
	    SLICE("~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/"
		  "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"),
	    false);
	expect("~peter/mail/&U,BTFw-/&ZeVnLIqe-");
}

static void
test_flags(void **state)
{
	const struct slice names[] = {SLICE("$Forwarded"), SLICE("x")};

	(void)state;
	imap_resp_flags(&out, 0, 0, names, 2, false);
	expect("()");
	imap_resp_flags(&out, MESSAGE_SEEN | MESSAGE_DRAFT, 2, names, 2, true);
	expect("(\\Seen \\Draft x \\Recent)");
	imap_resp_flags(&out, 0, UINT64_MAX, names, 2, false);
	expect("($Forwarded x)");
	imap_resp_emailid(&out, 12);
	expect("M12");
	imap_resp_mailboxid(&out, 3);
	expect("F3");
}

static void
test_status_map(void **state)
{
	(void)state;
	for (int i = 0; i < STATUS_COUNT_; i++) {
		const struct imap_status_reply *r = imap_resp_status((enum status)i);
		assert_non_null(r->code);
		assert_non_null(r->text);
		assert_int_equal(r->reply, i == STATUS_OK ? IMAP_OK : IMAP_NO);
	}
	assert_string_equal(imap_resp_status(STATUS_QUOTA)->code, "OVERQUOTA");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_strings, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_nul_is_binary, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_long_is_literal, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_mailboxes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_flags, setup, teardown),
	    cmocka_unit_test(test_status_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
