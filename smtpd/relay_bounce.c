/*
 * Delivery reports; see relay_bounce.h.
 */
#include "smtpd/relay_bounce.h"

#include "smtpd/relay_reply.h"
#include "text/date.h"
#include "text/header.h"

static void
date_append(struct buf *out, int64_t at_s)
{
	date_write_mail((struct date){.unix_s = at_s}, out);
}

static void
head_write(const struct bounce *b, struct buf *out)
{
	buf_append_format(
	    out, "From: Mail Delivery System <postmaster@%s>\r\n", b->hostname);
	buf_append_format(out, "To: <%.*s>\r\n", SLICE_ARG(b->sender));
	buf_append_format(out, "Subject: %s\r\nDate: ",
	    b->delay ? "Your message is delayed" : "Your message was not delivered");
	date_append(out, b->now_s);
	buf_append_format(out,
	    "\r\nMessage-ID: <%s@%s>\r\nAuto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    " boundary=\"=_%s\"\r\n%s\r\n",
	    b->report_id, b->hostname, b->report_id,
	    b->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

static void
text_write(const struct bounce *b, struct buf *out)
{
	buf_append_format(out,
	    "--=_%s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", b->report_id);
	if (b->delay) {
		buf_append_cstr(out,
		    "Your message has not been delivered yet. It is being "
		    "tried further; nothing needs to\r\nbe done. If it "
		    "cannot be delivered by ");
		date_append(out, b->expires_s);
		buf_append_cstr(out, ",\r\nyou will get another report.\r\n\r\n");
	} else {
		buf_append_cstr(out,
		    "Your message could not be delivered to the recipients "
		    "below and is not tried again.\r\n\r\n");
	}
	for (size_t i = 0; i < b->count; i++)
		buf_append_format(out, "<%.*s>\r\n    the reason given: %.*s\r\n\r\n",
		    SLICE_ARG(b->recipients[i].address),
		    SLICE_ARG(b->recipients[i].reply));
	buf_append_format(out,
	    "This report was made by %s; its operator finds the message as %s.\r\n\r\n",
	    b->hostname, b->message_id);
}

static void
status_write(const struct bounce *b, struct buf *out)
{
	buf_append_format(out,
	    "--=_%s\r\nContent-Type: message/%sdelivery-status\r\n\r\n"
	    "Reporting-MTA: dns; %s\r\nX-Postroom-Queue-ID: %s\r\nArrival-Date: ",
	    b->report_id, b->utf8 ? "global-" : "", b->hostname, b->message_id);
	date_append(out, b->arrived_s);
	buf_append_cstr(out, "\r\n");
	for (size_t i = 0; i < b->count; i++) {
		const struct bounce_recipient *r = &b->recipients[i];
		char text[RELAY_REPLY_TEXT_MAX + 1];
		char enhanced[16];
		if (!slice_copy_cstr(r->reply, text, sizeof(text)))
			text[0] = '\0';
		relay_reply_enhanced(text, enhanced);
		/* Expired mail has failed with whatever the last reply was: 5.4.7 says so
		 * (RFC 3463 section 3.5). */
		if (!b->delay && enhanced[0] == '4')
			buf_append_format(out,
			    "\r\nFinal-Recipient: %s;%.*s\r\nAction: failed\r\n"
			    "Status: 5.4.7\r\n",
			    b->utf8 ? "utf-8" : "rfc822", SLICE_ARG(r->address));
		else
			buf_append_format(out,
			    "\r\nFinal-Recipient: %s;%.*s\r\nAction: %s\r\nStatus: "
			    "%s\r\n",
			    b->utf8 ? "utf-8" : "rfc822", SLICE_ARG(r->address),
			    b->delay ? "delayed" : "failed", enhanced);
		buf_append_format(
		    out, "Diagnostic-Code: smtp; %.*s\r\n", SLICE_ARG(r->reply));
		if (b->delay) {
			buf_append_cstr(out, "Will-Retry-Until: ");
			date_append(out, b->expires_s);
			buf_append_cstr(out, "\r\n");
		}
	}
	buf_append_cstr(out, "\r\n");
}

/* Line by line with CRLF, at most BOUNCE_HEADER_MAX bytes. */
static void
original_write(const struct bounce *b, struct buf *out)
{
	buf_append_format(out, "--=_%s\r\nContent-Type: %s\r\n\r\n", b->report_id,
	    b->utf8 ? "message/global-headers" : "text/rfc822-headers");
	size_t len = header_block_length(b->original);
	struct slice rest =
	    slice_sub(b->original, 0, len < BOUNCE_HEADER_MAX ? len : BOUNCE_HEADER_MAX);
	while (!slice_is_empty(rest)) {
		struct slice line = slice_split(&rest, '\n');
		if (slice_has_suffix(line, SLICE("\r")))
			line.len--;
		if (slice_is_empty(line))
			break;
		buf_append(out, line);
		buf_append_cstr(out, "\r\n");
	}
	buf_append_format(out, "\r\n--=_%s--\r\n", b->report_id);
}

void
bounce_write(const struct bounce *b, struct buf *out)
{
	head_write(b, out);
	text_write(b, out);
	status_write(b, out);
	original_write(b, out);
}
