/*
 * Delivery reports; see relay_bounce.h.
 */
#include "smtpd/relay_bounce.h"

#include <stdio.h>

#include "smtpd/relay_reply.h"
#include "text/date.h"
#include "text/encoding.h"
#include "text/header.h"

enum { ADDRESS_TEXT_MAX = 1024 /* bytes of a decoded ORCPT or ENVID */ };

static void
date_append(struct buf *out, int64_t at_s)
{
	date_write_mail((struct date){.unix_s = at_s}, out);
}

static bool
is_kind(const struct bounce *b, enum bounce_action action)
{
	return b->count > 0 && b->recipients[0].action == action;
}

static struct slice
original_header(const struct bounce *b)
{
	size_t len = header_block_length(b->original);
	return slice_sub(
	    b->original, 0, len < BOUNCE_HEADER_MAX ? len : BOUNCE_HEADER_MAX);
}

static bool
is_full(const struct bounce *b)
{
	return b->full && is_kind(b, BOUNCE_FAILED) && b->original.len <= BOUNCE_FULL_MAX;
}

/* What is told, the header of the original included, is ASCII. */
static bool
is_ascii(const struct bounce *b)
{
	bool ascii = ascii_only(b->sender) && ascii_only(original_header(b));
	for (size_t i = 0; i < b->count && ascii; i++)
		ascii = ascii_only(b->recipients[i].address) &&
		        ascii_only(b->recipients[i].orcpt);
	return ascii;
}

/* A report that needs no SMTPUTF8 gets through everywhere: it is made so where it can. */
static struct bounce_needs
needs_of(const struct bounce *b)
{
	struct bounce_needs needs = {.utf8 = b->utf8 && !is_ascii(b)};
	needs.has_8bit =
	    needs.utf8 || !ascii_only(original_header(b)) || (is_full(b) && b->has_8bit);
	return needs;
}

static void
head_write(const struct bounce *b, const struct bounce_needs *needs, struct buf *out)
{
	buf_append_format(
	    out, "From: Mail Delivery System <postmaster@%s>\r\n", b->hostname);
	buf_append_format(out, "To: <%.*s>\r\n", SLICE_ARG(b->sender));
	buf_append_format(out, "Subject: %s\r\nDate: ",
	    is_kind(b, BOUNCE_DELAYED)  ? "Your message is delayed"
	    : is_kind(b, BOUNCE_FAILED) ? "Your message was not delivered"
					: "Your message was delivered");
	date_append(out, b->now_s);
	buf_append_format(out,
	    "\r\nMessage-ID: <%s@%s>\r\nAuto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    " boundary=\"=_%s\"\r\n%s\r\n",
	    b->report_id, b->hostname, b->report_id,
	    needs->has_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

static const char *
success_text(enum bounce_action action)
{
	switch (action) {
	case BOUNCE_DELIVERED:
		return "delivered to the mailbox";
	case BOUNCE_EXPANDED:
		return "delivered to the list, and sent on to its members";
	case BOUNCE_RELAYED:
		return "handed on to a server that sends no reports of success";
	case BOUNCE_FAILED:
	case BOUNCE_DELAYED:
		break;
	}
	return "";
}

static void
text_write(const struct bounce *b, const struct bounce_needs *needs, struct buf *out)
{
	buf_append_format(out,
	    "--=_%s\r\nContent-Type: text/plain; charset=utf-8\r\n%s\r\n", b->report_id,
	    needs->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	if (is_kind(b, BOUNCE_DELAYED)) {
		buf_append_cstr(out,
		    "Your message has not been delivered yet. It is being "
		    "tried further; nothing needs to\r\nbe done. If it "
		    "cannot be delivered by ");
		date_append(out, b->expires_s);
		buf_append_cstr(out, ",\r\nyou will get another report.\r\n\r\n");
	} else if (is_kind(b, BOUNCE_FAILED)) {
		buf_append_cstr(out,
		    "Your message could not be delivered to the recipients "
		    "below and is not tried again.\r\n\r\n");
	} else {
		buf_append_cstr(out,
		    "You asked to be told when your message arrives. It has:\r\n\r\n");
	}
	for (size_t i = 0; i < b->count; i++) {
		const struct bounce_recipient *r = &b->recipients[i];
		if (r->action == BOUNCE_FAILED || r->action == BOUNCE_DELAYED)
			buf_append_format(out,
			    "<%.*s>\r\n    the reason given: %.*s\r\n\r\n",
			    SLICE_ARG(r->address), SLICE_ARG(r->reply));
		else
			buf_append_format(out, "<%.*s>\r\n    %s\r\n\r\n",
			    SLICE_ARG(r->address), success_text(r->action));
	}
	buf_append_format(out,
	    "This report was made by %s; its operator finds the message as %s.\r\n\r\n",
	    b->hostname, b->message_id);
}

/* ---- message/delivery-status ---- */

/* Text that was checked when it came, at MAIL or RCPT; here it only must not be able to
 * begin a field of its own. */
static void
printable_append(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		buf_append_byte(out, c < ' ' || c == 127 ? '?' : (char)c);
	}
}

/* What the sender gave, decoded, or as it is when it cannot be. */
static void
decoded_write(
    struct slice text, bool (*decode)(struct slice in, struct buf *out), struct buf *out)
{
	struct buf decoded AUTO_BUF;
	buf_init(&decoded, ADDRESS_TEXT_MAX);
	if (decode(text, &decoded))
		printable_append(out, buf_slice(&decoded));
	else
		printable_append(out, text);
}

/* ORCPT as Original-Recipient (RFC 3461 section 6.3 (d)).  Of a "utf-8" address the 7-bit
 * form stays where the report is a 7-bit one (RFC 6533 section 3). */
static void
original_recipient_write(
    struct slice orcpt, const struct bounce_needs *needs, struct buf *out)
{
	struct slice address = orcpt;
	struct slice type = slice_split(&address, ';');
	buf_append_cstr(out, "Original-Recipient: ");
	printable_append(out, type);
	buf_append_byte(out, ';');
	if (!slice_equal_nocase(type, SLICE("utf-8")))
		decoded_write(address, xtext_decode, out);
	else if (needs->utf8)
		decoded_write(address, unitext_decode, out);
	else
		printable_append(out, address);
	buf_append_cstr(out, "\r\n");
}

/* Expired mail has failed with whatever the last reply was: 5.4.7 says so (RFC 3463
 * section 3.5). */
static void
status_code(const struct bounce *b, const struct bounce_recipient *r, char out[16])
{
	char text[RELAY_REPLY_TEXT_MAX + 1];
	if (!slice_copy_cstr(
		slice_sub(r->reply, 0, RELAY_REPLY_TEXT_MAX), text, sizeof(text)))
		text[0] = '\0';
	relay_reply_enhanced(text, out);
	if (r->action == BOUNCE_FAILED && out[0] == '4')
		snprintf(out, 16, "5.4.7");
	else if (r->action == BOUNCE_DELAYED && b->by_s && b->now_s >= b->by_s)
		snprintf(out, 16, "4.4.7"); /* RFC 2852 section 4.1.3 */
	else if (r->action == BOUNCE_DELAYED && out[0] != '4')
		snprintf(out, 16, "4.0.0");
	else if (r->action != BOUNCE_FAILED && r->action != BOUNCE_DELAYED &&
		 out[0] != '2')
		snprintf(out, 16, "2.0.0");
}

static void
recipient_write(const struct bounce *b, const struct bounce_recipient *r,
    const struct bounce_needs *needs, struct buf *out)
{
	static const char *const actions[] = {
	    [BOUNCE_FAILED] = "failed",
	    [BOUNCE_DELAYED] = "delayed",
	    [BOUNCE_DELIVERED] = "delivered",
	    [BOUNCE_RELAYED] = "relayed",
	    [BOUNCE_EXPANDED] = "expanded",
	};
	char status[16];
	status_code(b, r, status);
	buf_append_cstr(out, "\r\n");
	if (r->orcpt.len > 0)
		original_recipient_write(r->orcpt, needs, out);
	buf_append_format(out, "Final-Recipient: %s;%.*s\r\nAction: %s\r\nStatus: %s\r\n",
	    ascii_only(r->address) ? "rfc822" : "utf-8", SLICE_ARG(r->address),
	    actions[r->action], status);
	if (r->remote.len > 0)
		buf_append_format(out, "Remote-MTA: dns; %.*s\r\n", SLICE_ARG(r->remote));
	if (r->reply.len > 0)
		buf_append_format(
		    out, "Diagnostic-Code: smtp; %.*s\r\n", SLICE_ARG(r->reply));
	buf_append_cstr(out, "Last-Attempt-Date: ");
	date_append(out, b->now_s);
	if (r->action == BOUNCE_DELAYED) {
		buf_append_cstr(out, "\r\nWill-Retry-Until: ");
		date_append(out, b->expires_s);
	}
	buf_append_cstr(out, "\r\n");
}

static void
status_write(const struct bounce *b, const struct bounce_needs *needs, struct buf *out)
{
	buf_append_format(out,
	    "--=_%s\r\nContent-Type: message/%sdelivery-status\r\n%s\r\n", b->report_id,
	    needs->utf8 ? "global-" : "",
	    needs->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	if (b->envid.len > 0) {
		buf_append_cstr(out, "Original-Envelope-Id: ");
		decoded_write(b->envid, xtext_decode, out);
		buf_append_cstr(out, "\r\n");
	}
	buf_append_format(out, "Reporting-MTA: dns; %s\r\nArrival-Date: ", b->hostname);
	date_append(out, b->arrived_s);
	if (b->by_s) {
		buf_append_cstr(out, "\r\nDeliver-By-Date: ");
		date_append(out, b->by_s);
	}
	if (b->hold.len > 0) {
		buf_append_cstr(out, "\r\nFuture-Release-Request: ");
		printable_append(out, b->hold);
	}
	buf_append_format(out, "\r\nX-Postroom-Queue-ID: %s\r\n", b->message_id);
	for (size_t i = 0; i < b->count; i++)
		recipient_write(b, &b->recipients[i], needs, out);
	buf_append_cstr(out, "\r\n");
}

/* ---- the original ---- */

/* Line by line with CRLF, at most BOUNCE_HEADER_MAX bytes. */
static void
header_copy(const struct bounce *b, struct buf *out)
{
	struct slice rest = original_header(b);
	while (!slice_is_empty(rest)) {
		struct slice line = slice_split(&rest, '\n');
		if (slice_has_suffix(line, SLICE("\r")))
			line.len--;
		if (slice_is_empty(line))
			break;
		buf_append(out, line);
		buf_append_cstr(out, "\r\n");
	}
}

struct slice
bounce_write(const struct bounce *b, struct buf *out, struct bounce_needs *out_needs)
{
	struct bounce_needs needs = needs_of(b);
	bool full = is_full(b);
	/* What "8bit" is said of must not be less than what stands there. */
	bool part_8bit =
	    full ? b->has_8bit || needs.utf8 : !ascii_only(original_header(b));
	head_write(b, &needs, out);
	text_write(b, &needs, out);
	status_write(b, &needs, out);
	buf_append_format(out, "--=_%s\r\nContent-Type: %s\r\n%s\r\n", b->report_id,
	    full         ? needs.utf8 ? "message/global" : "message/rfc822"
	    : needs.utf8 ? "message/global-headers"
			 : "text/rfc822-headers",
	    part_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	if (!full)
		header_copy(b, out);
	*out_needs = needs;
	return full ? b->original : SLICE_NULL;
}

void
bounce_write_end(const struct bounce *b, struct buf *out)
{
	buf_append_format(out, "\r\n--=_%s--\r\n", b->report_id);
}
