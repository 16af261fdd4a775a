/*
 * Reports: standard ones, complaints, bounces in free words, what is no report, limits;
 * and, when POSTROOM_CORPUS names the folder with the archives, that of the bounces and
 * complaints that real servers wrote (dsn-arf) most are understood.
 */
#include "unit/text/text_test.h"

#include <ftw.h>
#include <unistd.h>

#include "text/report.h"

static struct arena *arena;
static struct report report;

static int
setup(void **state)
{
	(void)state;
	arena = arena_new(REPORT_ARENA_MAX);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static void
parse(const char *message)
{
	report_parse(slice_from_cstr(message), arena, &report);
}

static void
check_recipient(size_t i, enum report_action action, const char *original,
    const char *address, const char *status, const char *diagnostic)
{
	assert_true(i < report.recipient_count);
	const struct report_recipient *r = &report.recipients[i];
	assert_int_equal(r->action, action);
	CHECK_TEXT(r->original, original);
	CHECK_TEXT(r->address, address);
	assert_string_equal(r->status, status);
	CHECK_TEXT(r->diagnostic, diagnostic);
}

#define REPORT_HEAD(type)                                                                \
	"From: x@mx.test\r\nContent-Type: multipart/report; report-type=" type ";\r\n"   \
	" boundary=b\r\n\r\n--b\r\n\r\nWords for people.\r\n"

static void
test_delivery(void **state)
{
	(void)state;
	parse(REPORT_HEAD(
	    "delivery-status") "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
			       "Reporting-MTA: dns; mx.test\r\nOriginal-Envelope-Id: "
			       "e+1\r\n\r\n"
			       "Original-Recipient: "
			       "rfc822;Anna@A.test\r\nFinal-Recipient: RFC822; "
			       "<a@b.test>\r\n"
			       "Action: FAILED\r\nStatus: 5.1.1 (no such user)\r\n"
			       "Diagnostic-Code: smtp; 550 5.1.1\r\n no such user\r\n\r\n"
			       "Final-Recipient: rfc822; late@b.test\r\nAction: "
			       "delayed\r\nStatus: 4.4.1\r\n\r\n"
			       "Final-Recipient: utf-8; \\x{E4}@b.test\r\nAction: "
			       "relayed\r\nStatus: 2.0.0\r\n\r\n"
			       "Action: failed\r\nStatus: 5.0.0\r\n"
			       "--b\r\nContent-Type: message/rfc822\r\n\r\nReturn-Path: "
			       "<me@us.test>\r\n"
			       "Received: from y by x (8.1) with ESMTP\r\n\tid "
			       "0123456789ABCDEF for <a@b.test>;\r\n"
			       "\tMon, 1 Jan 2024 00:00:00 +0000\r\nReceived: by z id "
			       "<q1>; x\r\n"
			       "Received: no word\r\nMessage-ID: "
			       "<m@us.test>\r\n\r\nReceived: id body;\r\n--b--\r\n");
	assert_int_equal(report.kind, REPORT_DELIVERY);
	assert_true(report.standard);
	CHECK_TEXT(report.envid, "e+1");
	CHECK_TEXT(report.sender, "me@us.test");
	CHECK_TEXT(report.message_id, "<m@us.test>");
	assert_int_equal(report.id_count, 2);
	CHECK_TEXT(report.ids[0], "0123456789ABCDEF");
	CHECK_TEXT(report.ids[1], "q1");
	assert_int_equal(report.recipient_count, 3);
	check_recipient(0, REPORT_FAILED, "Anna@A.test", "a@b.test", "5.1.1",
	    "smtp; 550 5.1.1 no such user");
	check_recipient(1, REPORT_DELAYED, "", "late@b.test", "4.4.1", "");
	check_recipient(2, REPORT_RELAYED, "", "\xc3\xa4@b.test", "2.0.0", "");
}

/* A status that says nothing is made better by the words. */
static void
test_status(void **state)
{
	(void)state;
	static const struct {
		const char *status, *diagnostic, *want;
	} cases[] = {
	    {"5.0.0", "smtp; 550 5.1.1 <a@b>: gone",        "5.1.1"},
	    {"5.0.0", "smtp; 550 User unknown",             "5.1.1"},
	    {"5.5.0", "550 no such user here",              "5.1.1"},
	    {"5.0.0", "smtp; 452 4.2.2 over quota",         "5.2.2"},
	    {"5.7.1", "smtp; 550 5.1.1 gone",               "5.7.1"},
	    {"",      "smtp; 451 try later",                "4.0.0"},
	    {"",      "smtp; 550-gone",                     "5.0.0"},
	    {"",      "host 5.1.1.7 said no, v5.1.2.3",     ""     },
	    {"",      "x 5.1.1234 5.1234.1 5.1. 1550 y550", ""     },
	    {"9.1.1", "mailbox is full",                    "4.2.2"},
	    {"5.1",   "",				   ""     },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char message[1024];
		snprintf(message, sizeof(message),
		    "Content-Type: message/delivery-status\r\n\r\nX: y\r\n\r\n"
		    "Final-Recipient: a@b.test\r\nStatus: %s\r\nDiagnostic-Code: %s\r\n",
		    cases[i].status, cases[i].diagnostic);
		parse(message);
		assert_int_equal(report.recipient_count, 1);
		assert_string_equal(report.recipients[0].status, cases[i].want);
	}
}

static void
test_complaint(void **state)
{
	(void)state;
	parse(REPORT_HEAD(
	    "feedback-report") "--b\r\nContent-Type: message/feedback-report\r\n\r\n"
			       "Feedback-Type: ABUSE\r\nOriginal-Mail-From: "
			       "<me+v=1@us.test>\r\n"
			       "Original-Rcpt-To: <a@b.test>\r\nOriginal-Rcpt-To: "
			       "c@b.test\r\n"
			       "--b\r\nContent-Type: text/rfc822-headers; "
			       "charset=us-ascii\r\n"
			       "Content-Transfer-Encoding: base64\r\n\r\n"
			       "UmVjZWl2ZWQ6IGlkIFFRDQpNZXNzYWdlLUlEOiA8bUB4Pg0K\r\n--b--"
			       "\r\n");
	assert_int_equal(report.kind, REPORT_COMPLAINT);
	CHECK_TEXT(report.feedback_type, "abuse");
	CHECK_TEXT(report.sender, "me+v=1@us.test");
	CHECK_TEXT(report.message_id, "<m@x>");
	CHECK_TEXT(report.ids[0], "QQ");
	check_recipient(0, REPORT_FAILED, "a@b.test", "", "", "");
	check_recipient(1, REPORT_FAILED, "c@b.test", "", "", "");
}

static void
test_words(void **state)
{
	(void)state;
	/* qmail */
	parse(
	    "From: MAILER-DAEMON@mx.test\nTo: me@us.test\nSubject: failure notice\n\n"
	    "Hi. This is the qmail-send program at mx.test.\n\n<a@b.test>:\n"
	    "192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 unknown\n\n"
	    "--- Below this line is a copy of the message.\n\n"
	    "Return-Path: <me@us.test>\nReceived: by us id 0123456789ABCDEF; x\n"
	    "Message-ID: <m@us>\nSubject: <x@y.test> 4.4.1\n\nbody\n");
	assert_int_equal(report.kind, REPORT_DELIVERY);
	assert_false(report.standard);
	assert_int_equal(report.recipient_count, 1);
	check_recipient(0, REPORT_FAILED, "", "a@b.test", "5.1.1",
	    "192.0.2.1 does not like recipient. Remote host said: 550 5.1.1 unknown");
	CHECK_TEXT(report.message_id, "<m@us>");
	CHECK_TEXT(report.ids[0], "0123456789ABCDEF");
	/* Exim: the field says who, the text why. */
	parse(
	    "X-Failed-Recipients: a@b.test,\n c@b.test\nFrom: x@y\n\n"
	    "The following address(es) failed:\n\n  a@b.test:\n    550 no such user\n\n"
	    "  c@b.test\n    mailbox is full\n\n"
	    "------ This is a copy of the message, including all the headers. ------\n\n"
	    "Message-ID: <m@us>\n");
	assert_int_equal(report.recipient_count, 2);
	check_recipient(0, REPORT_FAILED, "", "a@b.test", "5.1.1", "550 no such user");
	check_recipient(1, REPORT_DELAYED, "", "c@b.test", "4.2.2", "mailbox is full");
	CHECK_TEXT(report.message_id, "<m@us>");
	/* An address somewhere in a sentence. */
	parse(
	    "From: Mail Delivery System <MAILER-DAEMON@x>\nTo: me@us.test\n"
	    "Subject: Undelivered\n\nDear me@us.test, mail to \"a@b.test\" came back.\n");
	assert_int_equal(report.kind, REPORT_DELIVERY);
	check_recipient(0, REPORT_FAILED, "", "a@b.test", "",
	    "Dear me@us.test, mail to \"a@b.test\" came back.");
}

static void
test_none(void **state)
{
	(void)state;
	static const char *const messages[] = {
	    "",
	    "\r\n",
	    "From: a@b.test\r\nSubject: hello\r\n\r\n<c@d.test>: 550 5.1.1 no such "
	    "user\r\n",
	    "From: a@b.test\r\nSubject: delivery status\r\nAuto-Submitted: "
	    "auto-replied\r\n\r\n"
	    "<c@d.test>: 550 5.1.1\r\n",
	    "From: mailer-daemon@x\r\nSubject: hi\r\n\r\nno address\r\n",
	    "From: mailer-daemon@x\r\nSubject: hi\r\n\r\n<a@b.test> is new here\r\n",
	    REPORT_HEAD(
		"disposition-notification") "--b\r\nContent-Type: "
					    "message/disposition-notification\r\n\r\n"
					    "Final-Recipient: "
					    "rfc822;a@b.test\r\nDisposition: x; "
					    "displayed\r\n--b--\r\n",
	    /* Forwarded by somebody: it is that message's report, not this one's. */
	    "From: a@b.test\r\nContent-Type: message/rfc822\r\n\r\n"
	    "Content-Type: message/delivery-status\r\n\r\nA: b\r\n\r\n"
	    "Final-Recipient: rfc822;a@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
	};
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		parse(messages[i]);
		assert_int_equal(report.kind, REPORT_NONE);
		assert_int_equal(report.recipient_count, 0);
		assert_int_equal(report.id_count, 0);
	}
}

static void
test_limits(void **state)
{
	(void)state;
	struct buf message;
	buf_init(&message, 4 << 20);
	buf_append_cstr(&message, "Content-Type: message/delivery-status\r\n\r\n");
	for (int i = 0; i < 1000; i++)
		buf_append_format(
		    &message, "Final-Recipient: rfc822;a%d@b.test\r\n\r\n", i);
	report_parse(buf_slice(&message), arena, &report);
	assert_int_equal(report.recipient_count, REPORT_RECIPIENTS_MAX);
	/* One value of a megabyte, of one line and of many. */
	for (int fold = 0; fold < 2; fold++) {
		buf_reset(&message);
		buf_append_cstr(&message,
		    "Content-Type: message/delivery-status\r\n\r\n"
		    "Final-Recipient: rfc822;a@b.test\r\nStatus: 5.1.1\r\n"
		    "Diagnostic-Code: smtp;");
		for (int i = 0; i < 100000; i++)
			buf_append_cstr(&message, fold ? "x\r\n " : "xyz ");
		buf_append_cstr(&message, "\r\n");
		report_parse(buf_slice(&message), arena, &report);
		assert_int_equal(report.recipient_count, 1);
		assert_true(report.recipients[0].diagnostic.len <= REPORT_VALUE_MAX);
		assert_true(report.recipients[0].diagnostic.len >= REPORT_VALUE_MAX / 2);
	}
	buf_fini(&message);
}

/* ---- the corpus ---- */

static size_t files, understood, standard, complaints, ids_or_message;

static int
corpus_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	size_t len = strlen(path);
	if (flag != FTW_F || len < 4 || strcmp(path + len - 4, ".eml") != 0)
		return 0;
	struct slice bytes = read_file(path);
	assert_non_null(bytes.ptr);
	arena_reset(arena);
	report_parse(bytes, arena, &report);
	files++;
	understood += report.kind != REPORT_NONE;
	standard += report.standard;
	complaints += report.kind == REPORT_COMPLAINT;
	ids_or_message += report.kind != REPORT_NONE &&
	                  (report.message_id.len > 0 || report.id_count > 0);
	free((char *)bytes.ptr);
	return 0;
}

static void
run(const char *command)
{
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_int_equal(pclose(pipe), 0);
}

static void
test_corpus(void **state)
{
	(void)state;
	const char *corpus = getenv("POSTROOM_CORPUS");
	if (!corpus)
		return;
	char folder[] = "/tmp/postroom-test-XXXXXX", command[4096];
	assert_non_null(mkdtemp(folder));
	snprintf(command, sizeof(command), "tar -xzf '%s/dsn-arf.tar.gz' -C '%s'", corpus,
	    folder);
	run(command);
	assert_int_equal(nftw(folder, corpus_file, 16, FTW_PHYS), 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	run(command);
	print_message(
	    "%zu files: %zu understood, %zu standard, %zu complaints, %zu name the "
	    "message\n",
	    files, understood, standard, complaints, ids_or_message);
	assert_true(files >= 680);
	/* Of what is left many are vacation replies and notes of other services. */
	assert_true(understood >= 630);
	assert_true(standard >= 390);
	assert_true(complaints >= 21);
	assert_true(ids_or_message >= 550);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_delivery, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_status, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_complaint, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_words, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_corpus, setup, teardown),
	};
	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
