/* Delivery reports: RFC 3464 fields by kind, nothing that a sender gave can add a field,
 * what must be 8-bit is said to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtpd/relay_bounce.h"
#include "text/encoding.h"

static struct bounce_recipient recipient = {
    .action = BOUNCE_FAILED,
    .address = SLICE("a@b.example"),
    .reply = SLICE("550 5.1.1 no such user"),
};

static struct bounce
bounce_of(struct bounce_recipient *r)
{
	return (struct bounce){
	    .hostname = "mx.us.example",
	    .report_id = "rrrrrrrrrrrrrrrr",
	    .message_id = "mmmmmmmmmmmmmmmm",
	    .sender = SLICE("anna@us.example"),
	    .now_s = 1000,
	    .arrived_s = 500,
	    .expires_s = 2000,
	    .recipients = r,
	    .count = 1,
	    .original = SLICE("Subject: hello\r\nX: 1\r\n\r\nbody\r\n"),
	};
}

/* The whole report, as it is put together. */
static void
report_write(const struct bounce *b, struct buf *out, struct bounce_needs *needs)
{
	struct slice original = bounce_write(b, out, needs);
	buf_append(out, original);
	bounce_write_end(b, out);
	assert_true(buf_ok(out));
}

static bool
holds(const struct buf *text, const char *wanted)
{
	return slice_find(buf_slice(text), slice_from_cstr(wanted)) != SIZE_MAX;
}

static void
kinds(void **state)
{
	(void)state;
	static const struct {
		enum bounce_action action;
		const char *reply, *wanted;
	} rows[] = {
	    {BOUNCE_FAILED,    "550 no",                  "Action: failed\r\nStatus: 5.0.0\r\n" },
	    {BOUNCE_FAILED,    "451 4.4.1 no connection",
             "Action: failed\r\nStatus: 5.4.7\r\n"                                              },
	    {BOUNCE_DELAYED,   "451 4.4.1 no connection",
             "Action: delayed\r\nStatus: 4.4.1\r\n"                                             },
	    {BOUNCE_DELIVERED, "250 2.0.0 delivered",
             "Action: delivered\r\nStatus: 2.0.0\r\n"                                           },
	    {BOUNCE_RELAYED,   "250 ok",                  "Action: relayed\r\nStatus: 2.0.0\r\n"},
	    {BOUNCE_EXPANDED,  "250 2.0.0 forwarded",
             "Action: expanded\r\nStatus: 2.0.0\r\n"                                            },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bounce_recipient r = recipient;
		struct bounce_needs needs;
		struct buf text AUTO_BUF;
		buf_init(&text, BOUNCE_TEXT_MAX);
		r.action = rows[i].action;
		r.reply = slice_from_cstr(rows[i].reply);
		struct bounce b = bounce_of(&r);
		report_write(&b, &text, &needs);
		assert_true(holds(&text, rows[i].wanted));
		assert_int_equal(holds(&text, "\r\nWill-Retry-Until: "),
		    rows[i].action == BOUNCE_DELAYED);
		assert_true(holds(&text, "\r\nReporting-MTA: dns; mx.us.example\r\n"));
		assert_true(holds(&text, "\r\nLast-Attempt-Date: "));
		assert_false(holds(&text, "Remote-MTA"));
		assert_false(holds(&text, "Original-"));
		assert_true(holds(&text, "\r\n\r\nSubject: hello\r\nX: 1\r\n\r\n--=_"));
		assert_false(holds(&text, "body\r\n"));
		assert_false(needs.utf8 || needs.has_8bit);
		assert_true(ascii_only(buf_slice(&text)));
	}
}

/* RFC 2852 section 4.1.3 and 5, RFC 4865 section 5.1.2. */
static void
wishes(void **state)
{
	(void)state;
	struct bounce_recipient r = recipient;
	struct bounce_needs needs;
	struct buf text AUTO_BUF;
	buf_init(&text, BOUNCE_TEXT_MAX);
	r.action = BOUNCE_DELAYED;
	r.reply = SLICE("451 4.4.1 no connection");
	struct bounce b = bounce_of(&r);
	b.by_s = b.now_s;
	b.hold = SLICE("for;3600");
	report_write(&b, &text, &needs);
	assert_true(holds(&text, "\r\nStatus: 4.4.7\r\n"));
	assert_true(
	    holds(&text, "\r\nDeliver-By-Date: Thu, 1 Jan 1970 00:16:40 +0000\r\n") ||
	    holds(&text, "\r\nDeliver-By-Date: Thu, 01 Jan 1970 00:16:40 +0000\r\n"));
	assert_true(holds(&text, "\r\nFuture-Release-Request: for;3600\r\n"));
	buf_reset(&text);
	b.by_s = b.now_s + 1;
	report_write(&b, &text, &needs);
	assert_true(holds(&text, "\r\nStatus: 4.4.1\r\n"));
}

/* ENVID and ORCPT were checked at MAIL and RCPT; what got past that (an older queue, a
 * damaged record) still begins no field. */
static void
given_by_the_sender(void **state)
{
	(void)state;
	static const struct {
		const char *orcpt, *envid, *wanted;
	} rows[] = {
	    {"rfc822;a+2Bb@c",            "Q+3D1",
             "\r\nOriginal-Recipient: rfc822;a+b@c\r\nFinal-Recipient: "
		"rfc822;a@b.example\r\n"								       },
	    {"x400;/S=x",                 "Q+3D1",           "\r\nOriginal-Envelope-Id: Q=1\r\nReporting-MTA: "},
	    {"rfc822;a+0D+0AAction:+20x", "q",
             "\r\nOriginal-Recipient: rfc822;a??Action: x\r\n"                                                 },
	    {"rfc822;a\r\nAction: x",     "q",
             "\r\nOriginal-Recipient: rfc822;a??Action: x\r\n"                                                 },
	    {"utf-8;a\\x{E4}@c",          "q",               "\r\nOriginal-Recipient: utf-8;a\\x{E4}@c\r\n"    },
	    {"noseparator",               "q",               "\r\nOriginal-Recipient: noseparator;\r\n"        },
	    {"rfc822;a@c",                "x+0D+0ABcc:+20e", "\r\nOriginal-Envelope-Id: x??Bcc: e\r\n"         },
	    {"rfc822;a@c",                "bad+",            "\r\nOriginal-Envelope-Id: bad+\r\n"              },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bounce_recipient r = recipient;
		struct bounce_needs needs;
		struct buf text AUTO_BUF;
		buf_init(&text, BOUNCE_TEXT_MAX);
		r.orcpt = slice_from_cstr(rows[i].orcpt);
		r.remote = SLICE("mx.b.example");
		struct bounce b = bounce_of(&r);
		b.envid = slice_from_cstr(rows[i].envid);
		report_write(&b, &text, &needs);
		assert_true(holds(&text, rows[i].wanted));
		assert_true(holds(&text, "\r\nRemote-MTA: dns; mx.b.example\r\n"));
	}
}

/* RFC 6533, RFC 3461 section 4.3: the form is the smallest that holds what is told. */
static void
forms(void **state)
{
	(void)state;
	static const struct {
		const char *address, *original;
		bool utf8, has_8bit, full;
		const char *status, *third;
		bool needs_utf8, needs_8bit, whole;
	} rows[] = {
	    {"a@b",        "S: x\r\n\r\nb\r\n",        false, false, false, "message/delivery-status",
             "text/rfc822-headers",											      false, false, false},
	    {"a@b",        "S: x\r\n\r\nb\r\n",        false, false, true,  "message/delivery-status",
             "message/rfc822",												   false, false, true },
	    {"a@b",        "S: x\r\n\r\n\xc3\xa4\r\n", false, true,  true,
             "message/delivery-status",								"message/rfc822",         false, true,  true },
	    {"a@b",        "S: x\r\n\r\n\xc3\xa4\r\n", false, true,  false,
             "message/delivery-status",								"text/rfc822-headers",    false, false, false},
	    {"a@b",        "S: \xe4\r\n\r\nb\r\n",     false, true,  false, "message/delivery-status",
             "text/rfc822-headers",											      false, true,  false},
	    {"a@b",        "S: x\r\n\r\nb\r\n",        true,  false, false, "message/delivery-status",
             "text/rfc822-headers",											      false, false, false},
	    {"\xc3\xa4@b", "S: x\r\n\r\nb\r\n",        true,  false, false,
             "message/global-delivery-status",							 "message/global-headers", true,  true,
             false																  },
	    {"a@b",        "S: \xc3\xa4\r\n\r\n",      true,  true,  true,
             "message/global-delivery-status",							 "message/global",         true,  true,  true },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bounce_recipient r = recipient;
		struct bounce_needs needs;
		struct buf text AUTO_BUF;
		char wanted[100];
		buf_init(&text, BOUNCE_TEXT_MAX);
		r.address = slice_from_cstr(rows[i].address);
		struct bounce b = bounce_of(&r);
		b.original = slice_from_cstr(rows[i].original);
		b.utf8 = rows[i].utf8;
		b.has_8bit = rows[i].has_8bit;
		b.full = rows[i].full;
		report_write(&b, &text, &needs);
		snprintf(
		    wanted, sizeof(wanted), "\r\nContent-Type: %s\r\n", rows[i].status);
		assert_true(holds(&text, wanted));
		snprintf(
		    wanted, sizeof(wanted), "\r\nContent-Type: %s\r\n", rows[i].third);
		assert_true(holds(&text, wanted));
		assert_int_equal(needs.utf8, rows[i].needs_utf8);
		assert_int_equal(needs.has_8bit, rows[i].needs_8bit);
		assert_int_equal(ascii_only(buf_slice(&text)), !rows[i].needs_8bit);
		assert_int_equal(holds(&text, rows[i].original), rows[i].whole);
	}
}

/* Only failures bring the message back, and not one over the limit. */
static void
whole_only_of_failures(void **state)
{
	(void)state;
	struct bounce_recipient r = recipient;
	struct bounce_needs needs;
	struct buf text AUTO_BUF;
	buf_init(&text, BOUNCE_TEXT_MAX);
	struct bounce b = bounce_of(&r);
	b.full = true;
	r.action = BOUNCE_DELAYED;
	assert_int_equal(bounce_write(&b, &text, &needs).len, 0);
	r.action = BOUNCE_DELIVERED;
	assert_int_equal(bounce_write(&b, &text, &needs).len, 0);
	r.action = BOUNCE_FAILED;
	assert_int_equal(bounce_write(&b, &text, &needs).len, b.original.len);
	static char big[BOUNCE_FULL_MAX + 1];
	memset(big, 'x', sizeof(big));
	memcpy(big, "A: b\r\n\r\n", 8);
	b.original = slice_make(big, sizeof(big));
	assert_int_equal(bounce_write(&b, &text, &needs).len, 0);
	b.original.len--;
	assert_int_equal(bounce_write(&b, &text, &needs).len, BOUNCE_FULL_MAX);
	b.original = SLICE_NULL;
	assert_int_equal(bounce_write(&b, &text, &needs).len, 0);
	assert_true(buf_ok(&text));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds),
	    cmocka_unit_test(wishes),
	    cmocka_unit_test(given_by_the_sender),
	    cmocka_unit_test(forms),
	    cmocka_unit_test(whole_only_of_failures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
