/*
 * Message octets into the draft; see smtp_message.h.
 *
 * The header block is held back until its empty line has come (at most SMTP_HEADER_MAX
 * octets; mostly it comes whole with the first read and is looked at where it lies),
 * since what is in it decides about the message: the hop count (RFC 5321 section 6.3),
 * who it says it is from, Bcc.  Everything behind goes straight to the draft.
 */
#include "smtpd/smtp_message.h"

#include "base/clock.h"
#include "smtpd/smtp_tenant.h"

void
smtp_message_fault(struct smtp_envelope *e, enum smtp_fault fault)
{
	/* A message whose end is in doubt ends the session, whatever else is wrong. */
	if (e->fault == SMTP_FAULT_NONE || fault == SMTP_FAULT_BARE)
		e->fault = fault;
}

void
smtp_message_begin(struct smtp_envelope *e)
{
	const struct conf *conf = service_conf(e->worker->service);
	e->size_max = conf->smtp.max_message_size;
	/* Our own fields do not count against the sender. */
	e->draft = body_draft_new(
	    service_store(e->worker->service), e->size_max + BODY_PREFIX_MAX);
	e->began_us = clock_mono_us();
	framer_dot_init(&e->dot);
}

static void
draft_append(struct smtp_envelope *e, struct slice bytes)
{
	if (e->fault != SMTP_FAULT_NONE || bytes.len == 0)
		return;
	enum status status = body_draft_append(e->draft, bytes);
	if (status == STATUS_OK)
		return;
	e->draft_status = status;
	smtp_message_fault(
	    e, status == STATUS_LIMIT ? SMTP_FAULT_SIZE : SMTP_FAULT_DRAFT);
}

/* ---- the header block ---- */

struct owner_check {
	struct smtp_envelope *envelope;
	const struct conf *conf;
	enum status status;
};

static bool
sender_is_owned(struct slice local, struct slice domain, void *arg)
{
	struct owner_check *check = arg;
	struct smtp_envelope *e = check->envelope;
	bool owns = false;
	check->status = directory_owns(service_reader(e->worker->worker), e->account,
	    local, domain, slice_from_cstr(check->conf->smtp.recipient_delimiter), &owns);
	return check->status == STATUS_OK && owns;
}

/* RFC 6409 section 6.1: a submitter writes in its own name only. */
static void
check_from(struct smtp_envelope *e, struct slice block)
{
	struct owner_check check = {
	    .envelope = e, .conf = service_conf(e->worker->service)};
	if (smtp_header_senders(block, e->arena, sender_is_owned, &check))
		return;
	if (check.status != STATUS_OK) {
		e->draft_status = check.status;
		smtp_message_fault(e, SMTP_FAULT_DRAFT);
	} else {
		smtp_message_fault(e, SMTP_FAULT_FROM);
	}
}

static bool
was_forwarded(struct slice address, void *arg)
{
	const struct smtp_envelope *e = arg;
	for (size_t i = 0; i < e->target_count; i++) {
		if (smtp_target_is_forward(&e->targets[i]) &&
		    slice_equal_nocase(e->targets[i].original, address))
			return true;
	}
	return false;
}

/* Looks at the block and passes it on; what it decides is in e->facts and e->fault. */
static void
header_take(struct smtp_envelope *e, struct slice block)
{
	e->header_done = true;
	/* The message is kept as it came, an mbox "From " line in front included. */
	struct slice whole = block;
	block = slice_from(block, smtp_header_mbox_line(block));
	if (!smtp_header_is_field(block) && !slice_has_prefix(block, SLICE("\r\n"))) {
		/* All of it is body.  A first line that begins with a blank would
		 * continue the last field that we put before it. */
		char first = whole.len > 0 ? whole.ptr[0] : '\0';
		e->needs_gap = first == ' ' || first == '\t';
		smtp_header_scan(SLICE(""), &e->facts);
		draft_append(e, whole);
		return;
	}
	smtp_header_scan(block, &e->facts);
	if (e->facts.message_id.ptr)
		e->facts.message_id = arena_copy(e->arena, e->facts.message_id);
	const struct conf *conf = service_conf(e->worker->service);
	if (e->facts.received > conf->smtp.max_received)
		smtp_message_fault(e, SMTP_FAULT_LOOP);
	/* It was here before, and comes back from where it was forwarded to. */
	if (e->external_count > 0 && smtp_header_delivered_to(block, was_forwarded, e))
		smtp_message_fault(e, SMTP_FAULT_LOOP);
	if (e->facts.too_many)
		smtp_message_fault(e, SMTP_FAULT_HEADER_SIZE);
	if (e->submission && strcmp(conf->smtp.sender_check, "header") == 0)
		check_from(e, block);
	if (e->submission && e->facts.campaigns > 0)
		smtp_tenant_campaign_take(e);
	bool has_private = e->facts.bcc > 0 || e->facts.campaigns > 0;
	e->facts.campaign = SLICE_NULL; /* borrows the block */
	if (!e->submission || !has_private || e->fault != SMTP_FAULT_NONE) {
		draft_append(e, whole);
		return;
	}
	struct buf kept AUTO_BUF;
	buf_init(&kept, SMTP_HEADER_MAX);
	smtp_header_without_private(block, &kept);
	draft_append(e, buf_slice(&kept));
}

/* The first line is there and is no field: no empty line needs to be waited for. */
static bool
header_is_missing(struct slice bytes)
{
	bytes = slice_from(bytes, smtp_header_mbox_line(bytes));
	return slice_index(bytes, '\n') != SIZE_MAX && !smtp_header_is_field(bytes) &&
	       !slice_has_prefix(bytes, SLICE("\r\n"));
}

static void
header_feed(struct smtp_envelope *e, struct slice bytes)
{
	if (e->header.len == 0) {
		size_t end = smtp_header_end(bytes, 0);
		if (header_is_missing(bytes))
			end = bytes.len;
		if (end != SIZE_MAX && end <= SMTP_HEADER_MAX) {
			header_take(e, slice_sub(bytes, 0, end));
			draft_append(e, slice_from(bytes, end));
			return;
		}
	}
	size_t before = e->header.len;
	struct slice taken = slice_sub(bytes, 0, SMTP_HEADER_MAX - before);
	buf_append(&e->header, taken);
	size_t end = smtp_header_end(buf_slice(&e->header), before);
	if (header_is_missing(buf_slice(&e->header)))
		end = e->header.len;
	if (end == SIZE_MAX) {
		if (e->header.len == SMTP_HEADER_MAX)
			smtp_message_fault(e, SMTP_FAULT_HEADER_SIZE);
		return;
	}
	header_take(e, slice_sub(buf_slice(&e->header), 0, end));
	draft_append(e, slice_from(bytes, end - before));
	buf_fini(&e->header);
	buf_init(&e->header, SMTP_HEADER_MAX);
}

void
smtp_message_feed(struct smtp_envelope *e, struct slice bytes)
{
	e->received += bytes.len;
	if (e->received > e->size_max)
		smtp_message_fault(e, SMTP_FAULT_SIZE);
	if (e->fault != SMTP_FAULT_NONE || bytes.len == 0)
		return;
	if (e->header_done)
		draft_append(e, bytes);
	else
		header_feed(e, bytes);
}

void
smtp_message_end(struct smtp_envelope *e)
{
	if (!e->header_done && e->fault == SMTP_FAULT_NONE)
		header_take(e, buf_slice(&e->header));
}
