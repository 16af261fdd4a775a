/*
 * Accepting a message; see smtp_accept.h.
 *
 *   smtp_accept ─► all targets local ─► deliver_op ─► deliver_done ─► 250, or 4yz/5yz
 *        │                                                  │ some failed
 *        └─► any target elsewhere ─► queue_add_op ◄─────────┘
 *                                         └─► queue_done ─► 250, or 4yz
 *
 * What failed of a local delivery goes to the queue, for good failures as for passing
 * ones: from there it is tried again, or reported to the sender (RFC 3464).  Only when
 * nothing at all was stored the client is told so and keeps the message.
 */
#include "smtpd/smtp_accept.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/network.h"
#include "smtpd/relay.h"
#include "smtpd/smtp_lmtp.h"
#include "smtpd/smtp_tenant.h"
#include "text/date.h"
#include "text/mime_convert.h"

/* ---- trace fields ---- */

void
smtp_accept_received_write(const struct smtp_trace_facts *f, struct buf *out)
{
	bool v6 = slice_index(f->peer, ':') != SIZE_MAX;
	bool unix_socket = slice_equal(f->peer, SLICE("local")) ||
	                   slice_has_prefix(f->peer, SLICE("uid "));
	buf_append(out, SLICE("Received: from "));
	buf_append(out, f->helo);
	buf_append_cstr(out, unix_socket ? " (" : v6 ? " ([IPv6:" : " ([");
	buf_append(out, f->peer);
	buf_append_cstr(out, unix_socket ? ")\r\n\tby " : "])\r\n\tby ");
	buf_append(out, f->hostname);
	buf_append(out, SLICE(" with "));
	buf_append(out, f->protocol);
	if (f->tls.len > 0) {
		buf_append(out, SLICE(" ("));
		buf_append(out, f->tls);
		buf_append(out, SLICE(")"));
	}
	buf_append(out, SLICE("\r\n\tid "));
	buf_append(out, f->id);
	if (f->recipient.len > 0) {
		buf_append(out, SLICE(" for <"));
		buf_append(out, f->recipient);
		buf_append(out, SLICE(">"));
	}
	if (f->has_priority)
		buf_append_format(out, " PRIORITY %d", f->priority);
	buf_append(out, SLICE(";\r\n\t"));
	date_write_mail((struct date){f->now_s, f->zone_min}, out);
	buf_append(out, SLICE("\r\n"));
}

static struct slice
protocol_word(const struct smtp_session *s, const struct smtp_envelope *e)
{
	static const struct slice words[] = {
	    SLICE("ESMTP"),
	    SLICE("ESMTPS"),
	    SLICE("ESMTPA"),
	    SLICE("ESMTPSA"),
	    SLICE("UTF8SMTP"),
	    SLICE("UTF8SMTPS"),
	    SLICE("UTF8SMTPA"),
	    SLICE("UTF8SMTPSA"),
	};
	/* RFC 6531 section 4.3. */
	static const struct slice lmtp_words[] = {
	    SLICE("LMTP"), SLICE("LMTPS"), SLICE("UTF8LMTP"), SLICE("UTF8LMTPS")};
	if (s->lmtp)
		return lmtp_words[(conn_is_secure(s->conn) ? 1 : 0) | (e->utf8 ? 2 : 0)];
	if (!s->extended)
		return SLICE("SMTP");
	unsigned row = (conn_is_secure(s->conn) ? 1u : 0u) | (s->login ? 2u : 0u) |
	               (e->utf8 ? 4u : 0u);
	return words[row];
}

/* The address whose mail is sent on to elsewhere, when it is the only one: told in the
 * message, so that it is known when it comes back.  Empty: none, or several. */
static struct slice
forwarded_original(const struct smtp_envelope *e)
{
	for (size_t i = 0; e->recipients == 1 && i < e->target_count; i++) {
		if (smtp_target_is_forward(&e->targets[i]))
			return e->targets[i].original;
	}
	return SLICE("");
}

/* What is put before the message as it came. */
static void
prefix_write(const struct smtp_session *s, const struct smtp_envelope *e, int64_t now_s,
    int zone_min, struct buf *out)
{
	const struct conf *conf = service_conf(s->service);
	/* One address is no secret to its owner; more of them are to each other. */
	struct slice single = e->recipients == 1 && e->target_count == 1
	                          ? e->targets[0].original
	                          : SLICE_NULL;
	/* On the way to elsewhere these two have no place (RFC 5321 section 4.4); the
	 * relay takes them away where a message goes both ways at once. */
	if (e->external_count == 0 || s->lmtp) {
		buf_append(out, SLICE("Return-Path: <"));
		buf_append(out, e->sender);
		buf_append(out, SLICE(">\r\n"));
		if (single.len > 0) {
			buf_append(out, SLICE("Delivered-To: "));
			buf_append(out, single);
			buf_append(out, SLICE("\r\n"));
		}
	}
	struct smtp_trace_facts facts = {
	    .helo = slice_from_cstr(s->helo),
	    .peer = e->peer,
	    .hostname = slice_from_cstr(conf->hostname),
	    .id = slice_from_cstr(e->id),
	    .protocol = protocol_word(s, e),
	    .tls = conn_tls_text(s->conn),
	    .recipient = single,
	    .has_priority = e->has_priority,
	    .priority = e->priority,
	    .now_s = now_s,
	    .zone_min = zone_min,
	};
	smtp_accept_received_write(&facts, out);
	struct slice forwarder = forwarded_original(e);
	if (forwarder.len > 0)
		buf_append_format(out, "Delivered-To: %.*s\r\n", SLICE_ARG(forwarder));
	if (e->add_missing)
		smtp_header_add_missing(&e->facts, now_s, zone_min, facts.id,
		    facts.hostname, e->submission ? e->login : SLICE_NULL, out);
	if (e->needs_gap)
		buf_append(out, SLICE("\r\n"));
}

/* ---- log and trace ---- */

static void
note_target(const struct smtp_envelope *e, const struct smtp_target *target,
    const char *event, const char *status, struct slice reply, uint32_t uid)
{
	struct log_field fields[] = {
	    LF_STR("mid", e->id),
	    LF("from", e->sender),
	    LF("to", target->local ? target->login : target->address),
	    LF("orig", target->original),
	    LF("msgid", e->facts.message_id),
	    LF_U64("size", e->draft ? body_draft_size(e->draft) : 0),
	    LF("peer", e->peer),
	    LF("user", e->login),
	    LF_STR("status", status),
	    LF("reply", reply),
	    LF_STR("mailbox", "INBOX"),
	    LF_U64("uid", uid),
	};
	size_t count = sizeof(fields) / sizeof(fields[0]);
	trace_event(e->worker->trace, event, fields, uid ? count : count - 2);
}

void
smtp_accept_note_refused(struct smtp_session *s, const struct smtp_envelope *e,
    struct slice to, const struct smtp_reply *reply)
{
	char text[SMTP_REPLY_MAX];
	snprintf(
	    text, sizeof(text), "%u %s %s", reply->code, reply->enhanced, reply->text);
	stats_add(s->own->rejections, 1);
	LOG_INFO("smtp.reject", LF_STR("sid", s->id), LF_STR("mid", e->id),
	    LF("from", e->sender), LF("to", to), LF_STR("peer", conn_peer_text(s->conn)),
	    LF_STR("user", s->login), LF_STR("reply", text));
	TRACE(s->own->trace, "smtp.reject", LF_STR("mid", e->id), LF("from", e->sender),
	    LF("to", to), LF("orig", to), LF("msgid", e->facts.message_id),
	    LF_U64("size", e->received), LF_STR("peer", conn_peer_text(s->conn)),
	    LF_STR("user", s->login), LF_STR("status", "refused"), LF_STR("reply", text));
}

/* All targets of a message that was refused after RCPT. */
static void
note_message_refused(
    struct smtp_session *s, const struct smtp_envelope *e, const struct smtp_reply *reply)
{
	smtp_accept_note_refused(s, e, SLICE_NULL, reply);
	char text[SMTP_REPLY_MAX];
	snprintf(
	    text, sizeof(text), "%u %s %s", reply->code, reply->enhanced, reply->text);
	for (size_t i = 0; i < e->target_count; i++) {
		/* Of a delivery in parts some were stored, and that was told. */
		if (!e->queue_wants || e->queue_wants[i])
			note_target(e, &e->targets[i], "smtp.reject", "refused",
			    slice_from_cstr(text), 0);
	}
}

/* ---- reports that come in ---- */

enum { REPORT_TARGETS_MAX = 10 /* looked at */ };

static bool
takes_reports(const struct conf *conf, const struct smtp_target *target)
{
	struct slice address = target->original;
	if (slice_equal_nocase(address, slice_from_cstr(conf->relay.report_address)))
		return true;
	return target->local &&
	       slice_equal_nocase(slice_split(&address, '@'), SLICE("postmaster"));
}

/* What was stored for postmaster or relay.report_address may be a report. */
static void
report_take(const struct smtp_envelope *e)
{
	const struct smtp_session *s = e->session;
	const struct conf *conf = service_conf(e->worker->service);
	bool wanted = false;
	for (size_t i = 0; i < e->target_count && i < REPORT_TARGETS_MAX; i++)
		wanted |= takes_reports(conf, &e->targets[i]);
	if (!wanted || e->login.len > 0 || body_draft_size(e->draft) > RELAY_REPORT_MAX)
		return;
	bool trusted =
	    s && network_list_has(conn_peer(s->conn), conf->relay.report_networks.items,
		     conf->relay.report_networks.count);
	relay_report_take(e->id, body_draft_bytes(e->draft), e->peer, trusted);
}

/* ---- replies ---- */

/* The commit is answered: the session goes on, the envelope ends. */
static void
envelope_answer(struct smtp_envelope *e, const struct smtp_reply *refused)
{
	struct smtp_session *s = e->session;
	if (!refused && (!e->lmtp || smtp_lmtp_accepted(e) > 0))
		report_take(e);
	if (!s) {
		LOG_INFO("smtp.accept", LF_STR("mid", e->id),
		    LF_STR("status", refused ? "refused, the client had gone"
					     : "stored, the client had gone"));
		smtp_envelope_free(&e);
		return;
	}
	s->envelope = NULL;
	size_t accepted = s->lmtp && !refused ? smtp_lmtp_accepted(e) : e->recipients;
	if (s->lmtp)
		smtp_lmtp_answer(s, e, refused);
	else if (refused)
		smtp_resp(s, refused->code, refused->enhanced, refused->text);
	else
		smtp_resp_format(s, 250, "2.0.0", "accepted, id %s", e->id);
	if (refused && !s->lmtp) {
		note_message_refused(s, e, refused);
	} else if (!refused && accepted > 0) {
		stats_add(s->own->messages, 1);
		stats_add(s->own->bytes, e->received);
		stats_add(s->own->recipients, accepted);
		LOG_INFO("smtp.accept", LF_STR("sid", s->id), LF_STR("mid", e->id),
		    LF("from", e->sender), LF("peer", e->peer), LF("user", e->login),
		    LF("tls", conn_tls_text(s->conn)), LF_U64("size", e->received),
		    LF_U64("rcpts", accepted),
		    LF_U64("local", e->target_count - e->external_count),
		    LF_U64("external", e->external_count),
		    LF_U64("ms", (clock_mono_us() - e->began_us) / 1000));
	}
	smtp_envelope_free(&e);
	smtp_session_ready(s);
}

void
smtp_accept_refuse(struct smtp_session *s)
{
	struct smtp_envelope *e = s->envelope;
	struct smtp_reply reply = *smtp_resp_of_fault(e->fault);
	if (e->fault == SMTP_FAULT_DRAFT)
		reply = *smtp_resp_of_status(e->draft_status);
	if (e->fault == SMTP_FAULT_FROM) {
		struct slice text = arena_format(e->arena,
		    "you are logged in as %.120s: From must be an address of that "
		    "account; to allow others: postroom account set %.120s --send-as "
		    "ADDRESS",
		    e->login.ptr, e->login.ptr);
		if (text.ptr)
			reply.text = text.ptr;
	}
	bool in_doubt =
	    !s->chunked && (e->fault == SMTP_FAULT_BARE || e->fault == SMTP_FAULT_NUL);
	/* A chunk that is not the last one has one reply. */
	if (s->lmtp && (!s->chunked || s->chunk_last)) {
		smtp_lmtp_answer(s, e, &reply);
	} else {
		smtp_resp(s, reply.code, reply.enhanced, reply.text);
		note_message_refused(s, e, &reply);
	}
	smtp_session_reset(s);
	if (s->state != SMTP_READY)
		smtp_set_state(s, SMTP_READY);
	if (in_doubt)
		smtp_session_close(s, reply.text);
}

/* ---- the queue ---- */

static void
queue_done(struct store_op *op)
{
	struct smtp_envelope *e = OBJ_CAST(smtp_envelope, op->user, SMTP_ENVELOPE_MAGIC);
	if (op->status != STATUS_OK) {
		/* Nobody has promised anything yet: the client keeps the message. */
		enum status status = op->status;
		if (smtp_resp_of_status(status)->code >= 500)
			status = STATUS_IO;
		/* By LMTP others may be in their mailboxes. */
		if (e->outcomes)
			smtp_lmtp_queued(e, status);
		envelope_answer(e, e->outcomes ? NULL
				   : status == STATUS_QUOTA
				       ? smtp_tenant_full(e)
				       : smtp_resp_of_status(status));
		return;
	}
	if (e->outcomes)
		smtp_lmtp_queued(e, STATUS_OK);
	const struct queue_new_message *message = &e->queue.message;
	stats_add(e->worker->queued, message->recipient_count);
	for (size_t i = 0; i < e->target_count; i++) {
		if (!e->queue_wants)
			note_target(e, &e->targets[i], "smtp.accept", "queued",
			    SLICE("250 2.0.0 accepted"), 0);
		else if (e->queue_wants[i])
			note_target(e, &e->targets[i], "smtp.accept", "queued",
			    e->outcomes ? SLICE("250 2.0.0 accepted")
					: slice_from_cstr(status_text(
					      e->deliver.recipients[i].status)),
			    0);
	}
	envelope_answer(e, NULL);
}

static struct slice
target_queue_address(const struct smtp_target *target)
{
	return target->local ? target->login : target->address;
}

static uint32_t
message_flags(const struct smtp_envelope *e)
{
	static const uint32_t ret[] = {
	    [SMTP_RET_NONE] = 0,
	    [SMTP_RET_FULL] = QUEUE_MESSAGE_RET_FULL,
	    [SMTP_RET_HDRS] = QUEUE_MESSAGE_RET_HDRS,
	};
	uint32_t flags = ret[e->ret];
	if (e->utf8)
		flags |= QUEUE_MESSAGE_UTF8;
	if (e->dot.has_8bit || e->text.has_8bit || e->converted_8bit)
		flags |= QUEUE_MESSAGE_8BIT;
	if (e->by == SMTP_BY_RETURN)
		flags |= QUEUE_MESSAGE_BY_RETURN;
	if (e->by_trace)
		flags |= QUEUE_MESSAGE_BY_TRACE;
	/* The parameter comes before the field, which must stand there once (RFC 8689
	 * sections 3 and 4.1). */
	if (e->requiretls)
		flags |= QUEUE_MESSAGE_REQUIRETLS;
	else if (e->facts.tls_optional && e->facts.tls_required == 1)
		flags |= QUEUE_MESSAGE_TLS_OPTIONAL;
	return flags;
}

/* Commits the message with the targets of e->queue_wants. */
static void
queue_submit(struct smtp_envelope *e)
{
	const struct conf *conf = service_conf(e->worker->service);
	struct queue_new_recipient *recipients =
	    ARENA_ARRAY(e->arena, struct queue_new_recipient, e->target_count);
	if (!recipients) {
		envelope_answer(e, smtp_resp_of_status(STATUS_BUSY));
		return;
	}
	size_t count = 0;
	for (size_t i = 0; i < e->target_count; i++) {
		if (e->queue_wants && !e->queue_wants[i])
			continue;
		recipients[count].address = target_queue_address(&e->targets[i]);
		recipients[count].original = e->targets[i].original;
		recipients[count].notify =
		    e->targets[i].notify |
		    (e->targets[i].local ? QUEUE_NOTIFY_RESOLVED : 0);
		recipients[count++].orcpt = e->targets[i].orcpt;
	}
	int64_t now_s = clock_wall_s();
	int64_t due_s = e->hold_until_s > now_s ? e->hold_until_s : now_s;
	struct queue_new_message *message = &e->queue.message;
	*message = (struct queue_new_message){
	    .sender = e->sender,
	    .login = e->login,
	    .origin = e->peer,
	    .created_s = now_s,
	    .expires_s = due_s + (int64_t)conf->relay.lifetime_s,
	    .due_s = due_s,
	    .flags = message_flags(e),
	    .envid = e->envid,
	    .by_s = e->by_s,
	    .priority = e->priority,
	    .hold = e->hold,
	    .draft = e->draft,
	    .recipients = recipients,
	    .recipient_count = count,
	};
	memcpy(message->id, e->id, sizeof(message->id));
	/* What a delivery here left over is nobody's bulk, and was promised in part. */
	enum status status = e->queue_wants ? STATUS_OK : smtp_tenant_name(e, message);
	if (status != STATUS_OK) {
		envelope_answer(e, smtp_resp_of_status(status));
		return;
	}
	e->queue.op = (struct store_op){.done = queue_done, .user = e, .arena = e->arena};
	queue_add_submit(service_reader(e->worker->worker), &e->queue);
}

/* ---- delivery ---- */

/* Nothing was stored: one reply for all, a passing reason before a lasting one, so that
 * whoever still can be served is tried again. */
static const struct smtp_reply *
worst_reply(const struct deliver_recipient *recipients, size_t count)
{
	const struct smtp_reply *worst = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct smtp_reply *reply =
		    smtp_resp_of_status(recipients[i].status);
		if (!worst || (worst->code >= 500 && reply->code < 500))
			worst = reply;
	}
	return worst;
}

/* Notes what was stored; how many that were. */
static size_t
deliveries_note(struct smtp_envelope *e, enum status op_status)
{
	size_t stored = 0, at = 0;
	for (size_t i = 0; i < e->target_count; i++) {
		if (!e->targets[i].local)
			continue;
		struct deliver_recipient *r = &e->deliver.recipients[at++];
		/* Left as it was set before: the op did not come so far. */
		if (r->status == STATUS_UNKNOWN && op_status != STATUS_OK)
			r->status = op_status;
		if (r->status != STATUS_OK)
			continue;
		stored++;
		note_target(e, &e->targets[i], "deliver.local", "delivered",
		    SLICE("250 2.0.0 delivered"), r->uid);
	}
	stats_add(e->worker->local, stored);
	return stored;
}

/* By LMTP every recipient has its own answer; what goes on by the queue goes now. */
static void
lmtp_delivered(struct smtp_envelope *e)
{
	enum status status = smtp_lmtp_sort(e);
	if (status == STATUS_OK)
		queue_submit(e);
	else if (status == STATUS_NOT_FOUND)
		envelope_answer(e, NULL);
	else
		envelope_answer(e, smtp_resp_of_status(STATUS_BUSY));
}

static void
deliver_done(struct store_op *op)
{
	struct smtp_envelope *e = OBJ_CAST(smtp_envelope, op->user, SMTP_ENVELOPE_MAGIC);
	struct deliver_recipient *recipients = e->deliver.recipients;
	size_t stored = deliveries_note(e, op->status);
	if (e->lmtp) {
		lmtp_delivered(e);
		return;
	}
	if (stored == 0) {
		envelope_answer(e, worst_reply(recipients, e->target_count));
		return;
	}
	if (stored == e->target_count) {
		envelope_answer(e, NULL);
		return;
	}
	e->queue_wants = ARENA_ARRAY(e->arena, bool, e->target_count);
	if (!e->queue_wants) {
		envelope_answer(e, smtp_resp_of_status(STATUS_BUSY));
		return;
	}
	for (size_t i = 0; i < e->target_count; i++)
		e->queue_wants[i] = recipients[i].status != STATUS_OK;
	queue_submit(e);
}

/* All targets that are local, in their order: by SMTP that is all of them. */
static void
deliver_submit(struct smtp_envelope *e, int64_t now_s, int zone_min)
{
	struct deliver_recipient *recipients =
	    ARENA_ARRAY(e->arena, struct deliver_recipient, e->target_count);
	if (!recipients) {
		envelope_answer(e, smtp_resp_of_status(STATUS_BUSY));
		return;
	}
	size_t count = 0;
	for (size_t i = 0; i < e->target_count; i++) {
		if (!e->targets[i].local)
			continue;
		recipients[count].account = e->targets[i].account;
		recipients[count++].status = STATUS_UNKNOWN;
	}
	e->deliver = (struct deliver_op){
	    .op = {.done = deliver_done, .user = e, .arena = e->arena},
	    .draft = e->draft,
	    .recipients = recipients,
	    .recipient_count = count,
	    .internaldate_s = now_s,
	    .internaldate_zone_min = (int16_t)zone_min,
	};
	deliver_op_submit(service_reader(e->worker->worker), &e->deliver);
}

static bool
convert_write(struct slice bytes, void *arg)
{
	struct smtp_envelope *e = arg;
	e->draft_status = body_draft_append(e->draft, bytes);
	return e->draft_status == STATUS_OK;
}

/* A binary message becomes lines, its binary parts base64 (RFC 3030 section 3): so it can
 * go everywhere, and nobody behind has to know of it (decision 0052).  False when it is
 * refused. */
static bool
binary_convert(struct smtp_envelope *e)
{
	struct body_draft *raw = e->draft;
	enum mime_convert_result result = MIME_CONVERT_STOPPED;
	e->draft = body_draft_new(
	    service_store(e->worker->service), 2 * e->size_max + BODY_PREFIX_MAX);
	e->draft_status = body_draft_seal(raw);
	if (e->draft_status == STATUS_OK)
		result = mime_convert(body_draft_bytes(raw), MIME_FORM_8BIT,
		    convert_write, e, &e->converted_8bit);
	body_draft_unref(&raw);
	if (result == MIME_CONVERT_STOPPED)
		e->fault = SMTP_FAULT_DRAFT;
	else if (result == MIME_CONVERT_IMPOSSIBLE)
		e->fault = SMTP_FAULT_CONVERT;
	return result == MIME_CONVERT_DONE;
}

void
smtp_accept(struct smtp_session *s)
{
	struct smtp_envelope *e = s->envelope;
	if (e->binary && !binary_convert(e)) {
		smtp_accept_refuse(s);
		return;
	}
	int64_t now_s = clock_wall_s();
	int zone_min = date_local_zone_min(now_s);
	struct buf prefix AUTO_BUF;
	buf_init(&prefix, BODY_PREFIX_MAX);
	prefix_write(s, e, now_s, zone_min, &prefix);
	enum status status = STATUS_LIMIT;
	if (buf_ok(&prefix))
		status = body_draft_prefix(e->draft, buf_slice(&prefix));
	if (status == STATUS_OK)
		status = body_draft_seal(e->draft);
	if (status != STATUS_OK) {
		e->fault = SMTP_FAULT_DRAFT;
		e->draft_status = status;
		smtp_accept_refuse(s);
		return;
	}
	smtp_set_state(s, SMTP_COMMIT);
	bool any_local = e->external_count < e->target_count;
	if (e->lmtp ? any_local : e->external_count == 0 && e->hold_until_s == 0)
		deliver_submit(e, now_s, zone_min);
	else if (e->lmtp)
		lmtp_delivered(e);
	else
		queue_submit(e);
}
