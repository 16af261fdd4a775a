/*
 * Delivery reports and complaints with a machine-readable part; see report.h.  The parts
 * are looked for in the message's own tree, not inside messages that it carries: a report
 * that somebody forwards is no report.
 */
#include "text/report.h"

#include "text/encoding.h"
#include "text/header.h"
#include "text/mime.h"
#include "text/report_int.h"

enum { MESSAGE_IDS_MAX = 1 };

const char *
report_action_text(enum report_action action)
{
	static const char *const texts[] = {
	    "failed", "delayed", "delivered", "relayed", "expanded"};
	return texts[action];
}

struct report_recipient *
report_recipient_add(struct report_reader *r)
{
	if (r->out->recipient_count == REPORT_RECIPIENTS_MAX)
		return NULL;
	if (!r->out->recipients)
		r->out->recipients =
		    ARENA_ARRAY(r->arena, struct report_recipient, REPORT_RECIPIENTS_MAX);
	if (!r->out->recipients)
		return NULL;
	return &r->out->recipients[r->out->recipient_count++];
}

struct slice
report_value(struct report_reader *r, struct slice value)
{
	/* A hostile fold could be long: only what can be kept is looked at. */
	value = slice_sub(value, 0, 4 * (size_t)REPORT_VALUE_MAX);
	return slice_sub(header_unfold(value, r->arena), 0, REPORT_VALUE_MAX);
}

/* ---- the returned message ---- */

/* Up to the next blank; the null slice at the end. */
static struct slice
word_take(struct slice *rest)
{
	size_t len = 0;
	*rest = slice_trim(*rest);
	while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
		len++;
	struct slice word = slice_sub(*rest, 0, len);
	*rest = slice_from(*rest, len);
	return word;
}

/* "… id ABC …" and "ESMTP id <ABC>" (RFC 5321 section 4.4). */
static void
received_id(struct report_reader *r, struct slice value)
{
	struct slice rest = report_value(r, value);
	while (rest.len > 0 && r->out->id_count < REPORT_IDS_MAX) {
		if (!slice_equal_nocase(word_take(&rest), SLICE("id")))
			continue;
		struct slice id = word_take(&rest);
		id = slice_split(&id, ';');
		if (slice_has_prefix(id, SLICE("<")) && slice_has_suffix(id, SLICE(">")))
			id = slice_sub(id, 1, id.len - 2);
		if (id.len > 0)
			r->out->ids[r->out->id_count++] = id;
		return;
	}
}

static struct slice
without_brackets(struct slice address)
{
	address = slice_trim(address);
	if (slice_has_prefix(address, SLICE("<")) &&
	    slice_has_suffix(address, SLICE(">")) && address.len >= 2)
		address = slice_sub(address, 1, address.len - 2);
	return address;
}

void
report_original(struct report_reader *r, struct slice block)
{
	struct header_iter it;
	struct header_field field;
	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		if (slice_equal_nocase(field.name, SLICE("Received"))) {
			received_id(r, field.value);
		} else if (slice_equal_nocase(field.name, SLICE("Return-Path")) &&
			   !r->out->sender.ptr) {
			r->out->sender = without_brackets(report_value(r, field.value));
		} else if (slice_equal_nocase(field.name, SLICE("Message-ID")) &&
			   !r->out->message_id.ptr) {
			struct slice id;
			if (header_message_ids(report_value(r, field.value), r->arena,
				&id, MESSAGE_IDS_MAX) == 1)
				r->out->message_id = id;
		}
	}
}

/* ---- message/delivery-status and message/feedback-report ---- */

/* "rfc822; a@b" as "a@b"; of "utf-8" addresses the characters (RFC 6533). */
static struct slice
typed_address(struct report_reader *r, struct slice value)
{
	struct slice rest = report_value(r, value);
	struct slice type = SLICE_NULL;
	if (slice_index(rest, ';') != SIZE_MAX)
		type = slice_trim(slice_split(&rest, ';'));
	struct slice address = without_brackets(rest);
	if (slice_equal_nocase(type, SLICE("utf-8"))) {
		struct buf characters AUTO_BUF;
		buf_init(&characters, REPORT_VALUE_MAX);
		if (unitext_decode(address, &characters))
			return arena_copy(r->arena, buf_slice(&characters));
	}
	return address;
}

static bool
action_parse(struct slice value, enum report_action *out)
{
	struct slice rest = slice_trim(value);
	struct slice word = slice_trim(slice_split(&rest, ' '));
	for (int a = REPORT_FAILED; a <= REPORT_EXPANDED; a++) {
		struct slice text =
		    slice_from_cstr(report_action_text((enum report_action)a));
		if (slice_equal_nocase(word, text)) {
			*out = (enum report_action)a;
			return true;
		}
	}
	/* Older servers (RFC 1894 drafts). */
	if (slice_equal_nocase(word, SLICE("failure")) ||
	    slice_equal_nocase(word, SLICE("failed.")))
		*out = REPORT_FAILED;
	else
		return false;
	return true;
}

/* A group of fields about one recipient; what is no such group adds nothing. */
static void
recipient_group(struct report_reader *r, struct slice group)
{
	struct report_recipient one = {.action = REPORT_FAILED};
	struct header_iter it;
	struct header_field field;
	bool acted = false;
	header_iter_init(&it, group);
	while (header_iter_next(&it, &field)) {
		if (slice_equal_nocase(field.name, SLICE("Original-Envelope-Id")))
			r->out->envid = report_value(r, field.value);
		else if (slice_equal_nocase(field.name, SLICE("Original-Recipient")))
			one.original = typed_address(r, field.value);
		else if (slice_equal_nocase(field.name, SLICE("Final-Recipient")))
			one.address = typed_address(r, field.value);
		else if (slice_equal_nocase(field.name, SLICE("Action")))
			acted = action_parse(report_value(r, field.value), &one.action);
		else if (slice_equal_nocase(field.name, SLICE("Status")))
			(void)report_code_find(report_value(r, field.value), one.status);
		else if (slice_equal_nocase(field.name, SLICE("Diagnostic-Code")))
			one.diagnostic = report_value(r, field.value);
	}
	if (!one.address.len && !one.original.len)
		return;
	/* Without an action the status tells. */
	if (!acted && one.status[0] == '4')
		one.action = REPORT_DELAYED;
	else if (!acted && one.status[0] == '2')
		one.action = REPORT_DELIVERED;
	report_status_refine(&one);
	struct report_recipient *recipient = report_recipient_add(r);
	if (recipient)
		*recipient = one;
}

static void
delivery_status(struct report_reader *r, struct slice text)
{
	r->out->kind = REPORT_DELIVERY;
	r->out->standard = true;
	while (text.len > 0) {
		size_t len = header_block_length(text);
		recipient_group(r, slice_sub(text, 0, len));
		text = slice_from(text, len);
	}
}

static void
feedback_report(struct report_reader *r, struct slice text)
{
	struct header_iter it;
	struct header_field field;
	r->out->kind = REPORT_COMPLAINT;
	r->out->standard = true;
	header_iter_init(&it, text);
	while (header_iter_next(&it, &field)) {
		struct slice value = report_value(r, field.value);
		if (slice_equal_nocase(field.name, SLICE("Feedback-Type"))) {
			struct slice lower = arena_copy(r->arena, value);
			for (size_t i = 0; i < lower.len; i++)
				((char *)lower.ptr)[i] = ascii_lower(lower.ptr[i]);
			r->out->feedback_type = lower;
		} else if (slice_equal_nocase(
			       field.name, SLICE("Original-Envelope-Id"))) {
			r->out->envid = value;
		} else if (slice_equal_nocase(field.name, SLICE("Original-Mail-From"))) {
			r->out->sender = without_brackets(value);
		} else if (slice_equal_nocase(field.name, SLICE("Original-Rcpt-To"))) {
			struct report_recipient *recipient = report_recipient_add(r);
			if (recipient)
				recipient->original = without_brackets(value);
		}
	}
}

/* ---- the parts ---- */

static bool
type_is(const struct mime_part *part, const char *type, const char *subtype)
{
	return slice_equal(part->content_type.type, slice_from_cstr(type)) &&
	       slice_equal(part->content_type.subtype, slice_from_cstr(subtype));
}

/* A part's octets without transfer encoding, the first `max`. */
static struct slice
part_text(struct report_reader *r, const struct mime_part *part, struct slice message,
    size_t max)
{
	struct slice raw = slice_sub(message, part->body_offset, part->body_len);
	if (slice_equal(part->encoding, SLICE("7bit")) ||
	    slice_equal(part->encoding, SLICE("8bit")))
		return slice_sub(raw, 0, max);
	struct mime_part cut = *part;
	if (cut.body_len > 4 * (uint64_t)max)
		cut.body_len = 4 * (uint64_t)max;
	struct buf decoded AUTO_BUF;
	buf_init(&decoded, 5 * max);
	mime_body_decode(&cut, message, &decoded);
	struct slice copy = arena_copy(r->arena, slice_sub(buf_slice(&decoded), 0, max));
	return copy.ptr ? copy : SLICE("");
}

struct report_parts {
	const struct mime_part *text; /* the first one */
	bool receipt;                 /* a disposition notification */
};

static void
part_take(struct report_reader *r, const struct mime_part *part, struct slice message,
    struct report_parts *parts)
{
	if (type_is(part, "message", "delivery-status") ||
	    type_is(part, "message", "global-delivery-status"))
		delivery_status(r, part_text(r, part, message, REPORT_STATUS_MAX));
	else if (type_is(part, "message", "feedback-report"))
		feedback_report(r, part_text(r, part, message, REPORT_STATUS_MAX));
	else if (type_is(part, "message", "disposition-notification") ||
		 type_is(part, "message", "global-disposition-notification"))
		parts->receipt = true;
	else if (type_is(part, "text", "rfc822-headers") ||
		 type_is(part, "message", "rfc822-headers") ||
		 type_is(part, "message", "global-headers") ||
		 type_is(part, "message", "rfc822") || type_is(part, "message", "global"))
		report_original(r, part_text(r, part, message, REPORT_STATUS_MAX));
	else if (type_is(part, "text", "plain") && !parts->text)
		parts->text = part;
}

static void
parts_walk(struct report_reader *r, const struct mime_part *root, struct slice message,
    struct report_parts *parts)
{
	const struct mime_part *part = root;
	while (part) {
		if (part->kind != MIME_MULTIPART)
			part_take(r, part, message, parts);
		if (part->kind == MIME_MULTIPART && part->child) {
			part = part->child;
			continue;
		}
		while (part && part != root && !part->next)
			part = part->parent;
		part = part && part != root ? part->next : NULL;
	}
}

void
report_parse(struct slice message, struct arena *arena, struct report *out)
{
	*out = (struct report){0};
	struct report_reader r = {.out = out, .arena = arena};
	struct report_parts parts = {0};
	uint32_t count;
	struct mime_part *root = mime_parse(message, arena, &count);
	parts_walk(&r, root, message, &parts);
	if (out->kind != REPORT_NONE || parts.receipt)
		return;
	struct slice text =
	    parts.text ? part_text(&r, parts.text, message, REPORT_TEXT_MAX) : SLICE("");
	report_words(&r, slice_sub(message, 0, header_block_length(message)), text);
	if (out->kind == REPORT_NONE)
		*out = (struct report){0};
}
