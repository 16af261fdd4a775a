/*
 * The Received field to the byte, and the command table: sorted, complete rows.
 */
#include "smtpd/smtp_accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtpd/smtp_cmd.h"

static void
received(void **state)
{
	(void)state;
	struct buf out AUTO_BUF;
	buf_init(&out, 4096);
	struct smtp_trace_facts facts = {
	    .helo = SLICE("pc.ext.example"),
	    .peer = SLICE("192.0.2.1"),
	    .hostname = SLICE("mx.us.example"),
	    .id = SLICE("0123456789abcdef"),
	    .protocol = SLICE("ESMTPSA"),
	    .tls = SLICE("TLSv1.3 TLS_AES_256_GCM_SHA384"),
	    .recipient = SLICE("anna@us.example"),
	    .now_s = 1795492030,
	    .zone_min = 60,
	};
	smtp_accept_received_write(&facts, &out);
	assert_true(slice_equal(buf_slice(&out),
	    SLICE("Received: from pc.ext.example ([192.0.2.1])\r\n"
		  "\tby mx.us.example with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
		  "\tid 0123456789abcdef for <anna@us.example>;\r\n"
		  "\tTue, 24 Nov 2026 04:47:10 +0100\r\n")));
	buf_reset(&out);
	facts.has_priority = true; /* RFC 6710 section 7 */
	facts.priority = -3;
	smtp_accept_received_write(&facts, &out);
	assert_true(slice_find(buf_slice(&out),
			SLICE(" for <anna@us.example> PRIORITY -3;\r\n")) != SIZE_MAX);
	buf_reset(&out);
	facts.has_priority = false;
	facts.peer = SLICE("local"); /* a Unix socket */
	smtp_accept_received_write(&facts, &out);
	assert_true(slice_has_prefix(buf_slice(&out),
	    SLICE("Received: from pc.ext.example (local)\r\n\tby mx.us.example ")));
	buf_reset(&out);
	facts.peer = SLICE("2001:db8::1");
	facts.protocol = SLICE("SMTP");
	facts.tls = facts.recipient = SLICE_NULL;
	facts.zone_min = 0;
	smtp_accept_received_write(&facts, &out);
	assert_true(slice_equal(buf_slice(&out),
	    SLICE("Received: from pc.ext.example ([IPv6:2001:db8::1])\r\n"
		  "\tby mx.us.example with SMTP\r\n\tid 0123456789abcdef;\r\n"
		  "\tTue, 24 Nov 2026 03:47:10 +0000\r\n")));
}

static void
command_table(void **state)
{
	(void)state;
	size_t count;
	const struct smtp_command *rows = smtp_cmd_table(&count);
	assert_int_equal(count, 17);
	for (size_t i = 0; i < count; i++) {
		assert_non_null(rows[i].run);
		assert_true(
		    slice_has_prefix(slice_from_cstr(rows[i].usage), rows[i].name));
		/* The one that no RFC has. */
		assert_true(
		    slice_equal(rows[i].name, SLICE("XCLIENT")) ||
		    slice_has_prefix(slice_from_cstr(rows[i].reference), SLICE("RFC ")));
		if (i > 0)
			assert_true(slice_compare(rows[i - 1].name, rows[i].name) < 0);
	}
}

/* Each status and each fault has a reply whose two codes agree in their class. */
static void
replies(void **state)
{
	(void)state;
	for (int i = 0; i < STATUS_COUNT_; i++) {
		const struct smtp_reply *reply = smtp_resp_of_status((enum status)i);
		assert_int_equal(reply->code / 100, (unsigned)(reply->enhanced[0] - '0'));
		assert_in_range(strlen(reply->text), 1, SMTP_REPLY_MAX - 32);
	}
	for (int i = 0; i <= SMTP_FAULT_NUL; i++) {
		const struct smtp_reply *reply = smtp_resp_of_fault((enum smtp_fault)i);
		assert_int_equal(reply->code / 100, (unsigned)(reply->enhanced[0] - '0'));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(received),
	    cmocka_unit_test(command_table),
	    cmocka_unit_test(replies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
