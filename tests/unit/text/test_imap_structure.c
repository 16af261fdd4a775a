/* ENVELOPE, BODY and BODYSTRUCTURE: exact texts, and their grammar on hostile input. */
#include "unit/text/text_test.h"

#include "text/imap_structure.h"
#include "unit/text/structure_check.h"

enum { OUT_MAX = 64 << 20 };

static void
check_envelope(const char *block, const char *want, int line)
{
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	struct envelope_fields fields;
	struct buf out;
	buf_init(&out, OUT_MAX);
	envelope_fields_parse(slice_from_cstr(block), arena, &fields);
	imap_envelope_write(&fields, &out);
	check_slice(buf_slice(&out), slice_from_cstr(want), "envelope", line);
	assert_true(imap_envelope_is_valid(buf_slice(&out)));
	buf_fini(&out);
	arena_free(&arena);
}
#define CHECK_ENVELOPE(block, want) check_envelope((block), (want), __LINE__)

static void
test_envelope(void **state)
{
	(void)state;
	/* The example of RFC 9051 section 8. */
	CHECK_ENVELOPE("Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
		       "From: Terry Gray <gray@cac.washington.example>\r\n"
		       "Subject: IMAP4rev2 WG mtg summary and minutes\r\n"
		       "To: imap@cac.washington.example\r\n"
		       "cc: minutes@CNRI.Reston.VA.example, \r\n"
		       " John Klensin <KLENSIN@MIT.EXAMPLE>\r\n"
		       "Message-Id: <B27397-0100000@cac.washington.example>\r\n"
		       "MIME-Version: 1.0\r\n\r\n",
	    "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" "
	    "\"IMAP4rev2 WG mtg summary and minutes\" "
	    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.example\")) "
	    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.example\")) "
	    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.example\")) "
	    "((NIL NIL \"imap\" \"cac.washington.example\")) "
	    "((NIL NIL \"minutes\" \"CNRI.Reston.VA.example\")"
	    "(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EXAMPLE\")) NIL NIL "
	    "\"<B27397-0100000@cac.washington.example>\")");
	CHECK_ENVELOPE("", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
	/* Present but empty: a string for texts, NIL for addresses, From's for Sender. */
	CHECK_ENVELOPE("Subject:\r\nFrom: a@b\r\nSender:\r\nReply-To: \r\nTo:\r\n"
		       "Message-ID: \r\n\r\n",
	    "(NIL \"\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
	    "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL \"\")");
	CHECK_ENVELOPE("From: a@b\r\nSender: c@d\r\nReply-To: e@f\r\nTo: G: g@h;, i@j\r\n"
		       "Bcc: U:;\r\nIn-Reply-To: <x@y>\r\n",
	    "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) "
	    "((NIL NIL \"e\" \"f\")) ((NIL NIL \"G\" NIL)(NIL NIL \"g\" \"h\")"
	    "(NIL NIL NIL NIL)(NIL NIL \"i\" \"j\")) NIL "
	    "((NIL NIL \"U\" NIL)(NIL NIL NIL NIL)) \"<x@y>\" NIL)");
	/* Escapes, folds, eight bits, repeated fields. */
	CHECK_ENVELOPE("Subject: a \"q\" \\ b\r\n c\r\nSubject: second\r\nTo: a@b\r\n"
		       "To: c@d\r\nFrom: \xc3\xa4 <x@y>\r\n",
	    "(NIL \"a \\\"q\\\" \\\\ b c\" (({2}\r\n\xc3\xa4 NIL \"x\" \"y\")) "
	    "(({2}\r\n\xc3\xa4 NIL \"x\" \"y\")) (({2}\r\n\xc3\xa4 NIL \"x\" \"y\")) "
	    "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)");
	CHECK_ENVELOPE("Subject: =?utf-8?Q?=C3=A4?=\r\nFrom: root\r\n",
	    "(NIL \"=?utf-8?Q?=C3=A4?=\" ((NIL NIL \"root\" \"\")) "
	    "((NIL NIL \"root\" \"\")) ((NIL NIL \"root\" \"\")) NIL NIL NIL NIL NIL)");
}

static void
test_strings(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, OUT_MAX);
	imap_nstring_write(SLICE_NULL, &out);
	imap_nstring_write(SLICE(""), &out);
	imap_string_write(SLICE("a\"b"), &out);
	imap_string_write(SLICE("\"\"\"\"\""), &out);
	imap_string_write(SLICE("a\0b"), &out);
	imap_string_write(SLICE("a\nb"), &out);
	imap_string_write(SLICE("\xff"), &out);
	CHECK_TEXT(buf_slice(&out),
	    "NIL\"\"\"a\\\"b\"{5}\r\n\"\"\"\"\"{3}\r\na?b{3}\r\na\nb{1}\r\n\xff");
	buf_fini(&out);
}

static void
check_structure(struct slice message, const char *body, const char *structure, int line)
{
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	uint32_t count = 0;
	struct buf out;
	buf_init(&out, OUT_MAX);
	struct mime_part *root = mime_parse(message, arena, &count);
	imap_structure_write(root, message, false, false, &out);
	if (body)
		check_slice(buf_slice(&out), slice_from_cstr(body), "body", line);
	assert_true(imap_body_is_valid(buf_slice(&out), false));
	buf_reset(&out);
	imap_structure_write(root, message, true, false, &out);
	if (structure)
		check_slice(
		    buf_slice(&out), slice_from_cstr(structure), "structure", line);
	assert_true(imap_body_is_valid(buf_slice(&out), true));
	buf_reset(&out);
	imap_structure_write(root, message, true, true, &out);
	assert_true(imap_body_is_valid(buf_slice(&out), true));
	assert_true(out.len <= IMAP_STRUCTURE_BARE_MAX);
	buf_fini(&out);
	arena_free(&arena);
}
#define CHECK_STRUCTURE(message, body, structure)                                        \
	check_structure(SLICE(message), (body), (structure), __LINE__)

static void
test_leaves(void **state)
{
	(void)state;
	CHECK_STRUCTURE("\r\nhi\r\n",
	    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1)",
	    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1 "
	    "NIL NIL NIL NIL)");
	CHECK_STRUCTURE("Content-Type: text/html; charset=UTF-8\r\n"
			"Content-Transfer-Encoding: Quoted-Printable\r\n\r\nx",
	    "(\"text\" \"html\" (\"charset\" \"UTF-8\") NIL NIL \"quoted-printable\" 1 "
	    "0)",
	    NULL);
	CHECK_STRUCTURE(
	    "Content-Type: image/png; name*0*=utf-8''%c3; name*1*=%a4.png\r\n"
	    "Content-ID: <i@d>\r\nContent-Description: a\r\n b\r\n"
	    "Content-Transfer-Encoding: base64\r\nContent-MD5: Q2hl\r\n"
	    "Content-Disposition: attachment; filename*=utf-8''%c3%a4.png\r\n"
	    "Content-Language: en, de\r\nContent-Location: x/y\r\n\r\nQUJD\r\n",
	    "(\"image\" \"png\" (\"name*0*\" \"utf-8''%c3\" \"name*1*\" \"%a4.png\") "
	    "\"<i@d>\" \"a b\" \"base64\" 6)",
	    "(\"image\" \"png\" (\"name*0*\" \"utf-8''%c3\" \"name*1*\" \"%a4.png\") "
	    "\"<i@d>\" \"a b\" \"base64\" 6 \"Q2hl\" "
	    "(\"attachment\" (\"filename*\" \"utf-8''%c3%a4.png\")) (\"en\" \"de\") "
	    "\"x/y\")");
	CHECK_STRUCTURE(
	    "Content-Type: application/pdf\r\nContent-Disposition: inline\r\n\r\n",
	    "(\"application\" \"pdf\" NIL NIL NIL \"7bit\" 0)",
	    "(\"application\" \"pdf\" NIL NIL NIL \"7bit\" 0 NIL (\"inline\" NIL) NIL "
	    "NIL)");
}

static void
test_multiparts(void **state)
{
	(void)state;
	CHECK_STRUCTURE("Content-Type: multipart/alternative; boundary=b\r\n"
			"Content-Language: en\r\n\r\n"
			"--b\r\n\r\none\r\n\r\n--b\r\nContent-Type: "
			"text/html\r\n\r\ntwo\r\n--b--\r\n",
	    "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1)"
	    "(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0) "
	    "\"alternative\")",
	    "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1 "
	    "NIL NIL NIL NIL)"
	    "(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0 "
	    "NIL NIL NIL NIL) "
	    "\"alternative\" (\"boundary\" \"b\") NIL (\"en\") NIL)");
	CHECK_STRUCTURE("Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing",
	    "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) "
	    "\"mixed\")",
	    "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 "
	    "NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)");
}

static void
test_messages(void **state)
{
	(void)state;
	CHECK_STRUCTURE(
	    "Content-Type: message/rfc822\r\n\r\nSubject: in\r\nFrom: a@b\r\n\r\n"
	    "hi\r\n",
	    NULL,
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 30 "
	    "(NIL \"in\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
	    "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL) "
	    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1 "
	    "NIL NIL NIL NIL) 4 NIL NIL NIL NIL)");
}

static void
test_hostile(void **state)
{
	(void)state;
	static const char *pieces[] = {
	    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
	    "--b\r\nContent-Type: message/rfc822\r\n\r\nTo: a@b,\xff\r\n\r\n",
	    "Content-Type: message/rfc822\r\n\r\n",
	    "--b\r\nContent-Type: text/\"\\\r\n\r\n",
	    "--b\r\nContent-Type: multipart/x\r\n\r\n", "--b\r\nContent-Type: (\r\n\r\n",
	    "--b\r\nContent-Disposition: ;\r\nContent-Language: "
	    ",,\r\nContent-ID:\r\n\r\n",
	    "--b\r\nContent-Type: \"\"/\"\"; \"=\"; a=\r\n\r\n"};
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf message;
		buf_init(&message, 1 << 20);
		buf_append(
		    &message, SLICE("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
		while (message.len < 200000)
			buf_append_cstr(&message, pieces[i]);
		check_structure(buf_slice(&message), NULL, NULL, __LINE__);
		buf_fini(&message);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_envelope),
	    cmocka_unit_test(test_strings),
	    cmocka_unit_test(test_leaves),
	    cmocka_unit_test(test_multiparts),
	    cmocka_unit_test(test_messages),
	    cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
