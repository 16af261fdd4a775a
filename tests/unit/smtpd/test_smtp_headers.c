/*
 * Header blocks: where they end, what is in them, what a submission server changes; and
 * the text check of BDAT, which must not depend on how its octets were cut.
 */
#include "smtpd/smtp_headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void
ends(void **state)
{
	(void)state;
	assert_int_equal(smtp_header_end(SLICE("\r\nbody"), 0), 2);
	assert_int_equal(smtp_header_end(SLICE("A: b\r\n\r\nbody"), 0), 8);
	assert_true(smtp_header_end(SLICE("A: b\r\n"), 0) == SIZE_MAX);
	assert_true(smtp_header_end(SLICE("A: b\n\nbody"), 0) == SIZE_MAX);
	assert_true(smtp_header_end(SLICE(""), 0) == SIZE_MAX);
	/* The end is found wherever the search was broken off before. */
	struct slice all = SLICE("A: b\r\nC: d\r\n\r\nbody");
	for (size_t cut = 0; cut < 14; cut++) {
		assert_true(smtp_header_end(slice_sub(all, 0, cut), 0) == SIZE_MAX);
		assert_int_equal(smtp_header_end(all, cut), 14);
	}
}

static void
first_line(void **state)
{
	(void)state;
	assert_true(smtp_header_is_field(SLICE("Subject: x\r\n")));
	assert_true(smtp_header_is_field(SLICE("X-1 : x\r\n")));
	assert_false(smtp_header_is_field(SLICE(" folded: x\r\n")));
	assert_false(smtp_header_is_field(SLICE("hello world: x\r\n")));
	assert_false(smtp_header_is_field(SLICE(": x\r\n")));
	assert_false(smtp_header_is_field(SLICE("hello\r\n")));
	assert_false(smtp_header_is_field(SLICE("")));
	assert_false(smtp_header_is_field(SLICE("\xc3\xa4: x\r\n")));
	assert_int_equal(smtp_header_mbox_line(SLICE("From a@b Mon 1\r\nA: b\r\n")), 16);
	assert_int_equal(smtp_header_mbox_line(SLICE("From: a@b\r\n")), 0);
	assert_int_equal(smtp_header_mbox_line(SLICE("From : a@b\r\n")), 0);
	assert_int_equal(smtp_header_mbox_line(SLICE("From a@b")), 0);
}

static void
scan(void **state)
{
	(void)state;
	struct smtp_header_facts facts;
	smtp_header_scan(SLICE("Received: a\r\nReceived: b\r\n c\r\ndate: x\r\n"
			       "Message-Id:  <1@b.example> \r\nMESSAGE-ID: <2@b>\r\n"
			       "bcc: x@b\r\nResent-Bcc: y@b\r\nFrom: a@b\r\nFrom: c@d\r\n"
			       "X-Received: no\r\n__proto__: 1\r\n: empty\r\n"
			       "no field\r\n\r\n"),
	    &facts);
	assert_int_equal(facts.received, 2);
	assert_true(facts.has_date);
	assert_int_equal(facts.from, 2);
	assert_int_equal(facts.bcc, 2);
	assert_false(facts.has_8bit);
	assert_false(facts.too_many);
	assert_true(slice_equal(facts.message_id, SLICE("<1@b.example>")));
	smtp_header_scan(SLICE("Subject: \xc3\xa4\r\n\r\n"), &facts);
	assert_true(facts.has_8bit);
	assert_null(facts.message_id.ptr);
	smtp_header_scan(SLICE(""), &facts);
	assert_int_equal(facts.fields, 0);
	/* RFC 8689 section 3. */
	assert_false(facts.tls_optional);
	smtp_header_scan(SLICE("TLS-Required:\r\n no\r\n\r\n"), &facts);
	assert_true(facts.tls_optional);
	assert_int_equal(facts.tls_required, 1);
	smtp_header_scan(SLICE("TLS-Required: yes\r\ntls-required: No\r\n\r\n"), &facts);
	assert_int_equal(facts.tls_required, 2);
	smtp_header_scan(SLICE("TLS-Required: Nope\r\n\r\n"), &facts);
	assert_false(facts.tls_optional);
}

/* More fields than are looked at must be noticed: else what is behind is not checked. */
static void
too_many(void **state)
{
	(void)state;
	struct buf block AUTO_BUF;
	buf_init(&block, SMTP_HEADER_MAX);
	for (int i = 0; i < 20000; i++)
		buf_append(&block, SLICE("a:\r\n"));
	buf_append(&block, SLICE("From: x@y\r\n\r\n"));
	struct smtp_header_facts facts;
	smtp_header_scan(buf_slice(&block), &facts);
	assert_true(facts.too_many);
}

struct seen {
	char text[512];
	const char *stop_at;
};

static bool
sender_seen(struct slice local, struct slice domain, void *arg)
{
	struct seen *seen = arg;
	size_t used = strlen(seen->text);
	snprintf(seen->text + used, sizeof(seen->text) - used, "%.*s@%.*s ",
	    SLICE_ARG(local), SLICE_ARG(domain));
	return !seen->stop_at || !slice_equal(local, slice_from_cstr(seen->stop_at));
}

static void
senders(void **state)
{
	(void)state;
	static const struct {
		struct slice block;
		bool result;
		const char *seen;
	} rows[] = {
	    {SLICE("From: a@b.example\r\n\r\n"),                                true,  "a@b.example "            },
	    {SLICE("from: Anna <a@B.Example>, \"x, y\" <c@d.example>\r\n\r\n"), true,
             "a@b.example c@d.example "									  },
	    {SLICE("From: a@b.example\r\nSender: s@b.example\r\n\r\n"),         true,
             "a@b.example s@b.example "									  },
	    {SLICE("From: a@b.example\r\nFrom: c@d.example\r\n\r\n"),           true,
             "a@b.example c@d.example "									  },
	    {SLICE("From : a@b.example\r\n\r\n"),                               true,  "a@b.example "            },
	    {SLICE("From:\r\n Anna\r\n <a@b.example>\r\n\r\n"),                 true,  "a@b.example "            },
	    {SLICE("From: \"a b\"@b.example\r\n\r\n"),                          true,  "a b@b.example "          },
	    {SLICE("From: a@b\xc3\xbc"
		   "cher.example\r\n\r\n"),
             true,								     "a@xn--bcher-kva.example "},
	    {SLICE("Subject: x\r\n\r\n"),                                       true,  ""                        },
	    {SLICE("From: \r\n\r\n"),					   false, ""                        },
	    {SLICE("From: nobody:;\r\n\r\n"),                                   false, ""                        },
	    {SLICE("From: a@b.example, stop@b.example, c@d\r\n\r\n"),           false,
             "a@b.example stop@b.example "								       },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena *arena = arena_new(1024 * 1024);
		struct seen seen = {.stop_at = "stop"};
		bool result =
		    smtp_header_senders(rows[i].block, arena, sender_seen, &seen);
		if (result != rows[i].result || strcmp(seen.text, rows[i].seen) != 0)
			fail_msg(
			    "%.*s: %d %s", SLICE_ARG(rows[i].block), result, seen.text);
		arena_free(&arena);
	}
}

static void
without_bcc(void **state)
{
	(void)state;
	struct buf out AUTO_BUF;
	buf_init(&out, SMTP_HEADER_MAX);
	smtp_header_without_private(
	    SLICE("A: 1\r\nBcc: x@y,\r\n z@y\r\nnot a field\r\nB: 2\r\n"
		  "bcc: q@y\r\nResent-BCC: r@y\r\n"
		  "x-postroom-campaign: spring\r\n two\r\n\r\n"),
	    &out);
	assert_true(
	    slice_equal(buf_slice(&out), SLICE("A: 1\r\nnot a field\r\nB: 2\r\n\r\n")));
	buf_reset(&out);
	smtp_header_without_private(SLICE("Bcc: x\r\n\r\n"), &out);
	assert_true(slice_equal(buf_slice(&out), SLICE("\r\n")));
}

static void
campaign(void **state)
{
	(void)state;
	struct smtp_header_facts facts;
	smtp_header_scan(SLICE("A: 1\r\n\r\n"), &facts);
	assert_int_equal(facts.campaigns, 0);
	assert_null(facts.campaign.ptr);
	smtp_header_scan(
	    SLICE("X-Postroom-Campaign:  Spring \r\nX-POSTROOM-CAMPAIGN: b\r\n\r\n"),
	    &facts);
	assert_int_equal(facts.campaigns, 2);
	assert_true(slice_equal(facts.campaign, SLICE("Spring")));
}

static void
missing(void **state)
{
	(void)state;
	struct buf out AUTO_BUF;
	buf_init(&out, 1024);
	struct smtp_header_facts facts = {0};
	smtp_header_add_missing(&facts, 1795492030, 0, SLICE("ID"), SLICE("mx.example"),
	    SLICE("a@b.example"), &out);
	assert_true(slice_equal(buf_slice(&out),
	    SLICE("Date: Tue, 24 Nov 2026 03:47:10 +0000\r\nFrom: <a@b.example>\r\n"
		  "Message-ID: <ID@mx.example>\r\n")));
	buf_reset(&out);
	facts = (struct smtp_header_facts){
	    .has_date = true, .from = 1, .message_id = SLICE("<x@y>")};
	smtp_header_add_missing(
	    &facts, 0, 0, SLICE("ID"), SLICE("mx.example"), SLICE("a@b.example"), &out);
	assert_int_equal(out.len, 0);
}

/* Every text, cut at every place, gives the same facts. */
static void
text_check(void **state)
{
	(void)state;
	static const struct {
		struct slice text;
		bool bare_cr, bare_lf, nul, has_8bit;
		size_t longest;
	} rows[] = {
	    {SLICE("a\r\nbb\r\n"),         false, false, false, false, 2},
	    {SLICE("no end"),              false, false, false, false, 6},
	    {SLICE("a\r\n\r\n.\r\nb\r\n"), false, false, false, false, 1},
	    {SLICE("a\nb\r\n"),            false, true,  false, false, 1},
	    {SLICE("a\rb\r\n"),            true,  false, false, false, 3},
	    {SLICE("a\r"),                 true,  false, false, false, 1},
	    {SLICE("\r\r\n"),              true,  false, false, false, 1},
	    {SLICE("\n.\r\n"),             false, true,  false, false, 1},
	    {SLICE("\r\n\0.\r\n"),         false, false, true,  false, 2},
	    {SLICE("\xc3\xa4\r\n"),        false, false, false, true,  2},
	    {SLICE(""),                    false, false, false, false, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t cut = 0; cut <= rows[i].text.len; cut++) {
			struct smtp_text t = {0};
			smtp_text_feed(&t, slice_sub(rows[i].text, 0, cut));
			smtp_text_feed(&t, slice_from(rows[i].text, cut));
			smtp_text_end(&t);
			assert_int_equal(t.bare_cr, rows[i].bare_cr);
			assert_int_equal(t.bare_lf, rows[i].bare_lf);
			assert_int_equal(t.nul, rows[i].nul);
			assert_int_equal(t.has_8bit, rows[i].has_8bit);
			assert_in_range(t.line_longest,
			    rows[i].bare_cr ? 0 : rows[i].longest, rows[i].longest);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ends),
	    cmocka_unit_test(first_line),
	    cmocka_unit_test(scan),
	    cmocka_unit_test(too_many),
	    cmocka_unit_test(senders),
	    cmocka_unit_test(without_bcc),
	    cmocka_unit_test(campaign),
	    cmocka_unit_test(missing),
	    cmocka_unit_test(text_check),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
