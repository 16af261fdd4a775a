/*
 * MAIL and RCPT: an envelope is begun and filled (RFC 5321 section 4.1.1.2 and 4.1.1.3).
 * Every recipient is looked up here, once, so that what cannot be delivered is refused
 * while the sending server still holds the message.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/bulk.h"
#include "service/smtp_recipient.h"
#include "service/smtp_route.h"
#include "smtpd/smtp_accept.h"
#include "smtpd/smtp_cmd.h"
#include "smtpd/smtp_lmtp.h"
#include "smtpd/smtp_local.h"
#include "smtpd/smtp_rate.h"
#include "smtpd/smtp_resp.h"

static struct slice
delimiters(const struct smtp_session *s)
{
	return slice_from_cstr(service_conf(s->service)->smtp.recipient_delimiter);
}

/* The address as it is written in an envelope, in the arena; null on its limit. */
static struct slice
address_text(const struct mailbox_address *address, struct arena *arena)
{
	struct buf text AUTO_BUF;
	buf_init(&text, (size_t)2 * ADDRESS_PATH_MAX);
	address_write(address, &text);
	if (!buf_ok(&text))
		return SLICE_NULL;
	return text.len ? arena_copy(arena, buf_slice(&text)) : SLICE("");
}

/* The reply to a path or parameters that do not parse; `sender` tells the codes. */
static struct smtp_reply
parse_reply(enum smtp_parse_result result, bool sender)
{
	switch (result) {
	case SMTP_PARSE_SYNTAX:
		return sender
		           ? (struct smtp_reply){501, "5.5.4", "use MAIL FROM:<address>"}
		           : (struct smtp_reply){501, "5.5.4", "use RCPT TO:<address>"};
	case SMTP_PARSE_ADDRESS:
		return (struct smtp_reply){
		    501, sender ? "5.1.7" : "5.1.3", "this is not a valid address"};
	case SMTP_PARSE_LONG:
		return (struct smtp_reply){
		    501, sender ? "5.1.7" : "5.1.3", "this address is too long"};
	case SMTP_PARSE_PARAMETER:
		return (struct smtp_reply){
		    501, "5.5.4", "a parameter has a bad value, or stands there twice"};
	case SMTP_PARSE_UNKNOWN:
		return (struct smtp_reply){555, "5.5.4", "a parameter is not known here"};
	case SMTP_PARSE_DONE:
		break;
	}
	return (struct smtp_reply){451, "4.3.0", "the command could not be taken"};
}

/* ---- MAIL ---- */

/* Refuses a sender for what it is: told in the trace, not counted as a mistake. */
static void
mail_refuse(struct smtp_session *s, struct smtp_envelope *e, unsigned code,
    const char *enhanced, struct slice text)
{
	struct smtp_reply reply = {code, enhanced, arena_cstr(e->arena, text)};
	smtp_resp(s, reply.code, reply.enhanced, reply.text);
	smtp_accept_note_refused(s, e, SLICE_NULL, &reply);
}

static bool
sender_is_allowed(
    struct smtp_session *s, struct smtp_envelope *e, const struct smtp_mail *mail)
{
	if (mail->sender.utf8 && !mail->utf8) {
		mail_refuse(s, e, 553, "5.6.7",
		    SLICE("an address with UTF-8 needs the parameter SMTPUTF8"));
		return false;
	}
	if (mail->has_size &&
	    mail->size > service_conf(s->service)->smtp.max_message_size) {
		mail_refuse(s, e, 552, "5.3.4",
		    slice_from_cstr(smtp_resp_of_fault(SMTP_FAULT_SIZE)->text));
		return false;
	}
	if (s->local && e->sender.len > 0 &&
	    !smtp_local_owns(s, mail->sender.local,
		smtp_domain_ascii(mail->sender.domain, e->arena))) {
		mail_refuse(s, e, 553, "5.7.1",
		    arena_format(e->arena,
			"users of this machine send as %.60s@%.120s; to allow others: "
			"smtp.local_any_sender",
			s->user ? s->user : "nobody",
			service_conf(s->service)->hostname));
		return false;
	}
	/* Reports of mail programs have no sender and are let through. */
	const char *check = service_conf(s->service)->smtp.sender_check;
	if (!s->login || e->sender.len == 0 || strcmp(check, "off") == 0)
		return true;
	bool owns = false;
	enum status status =
	    directory_owns(service_reader(s->worker), s->account, mail->sender.local,
		smtp_domain_ascii(mail->sender.domain, e->arena), delimiters(s), &owns);
	if (status != STATUS_OK) {
		const struct smtp_reply *reply = smtp_resp_of_status(status);
		mail_refuse(
		    s, e, reply->code, reply->enhanced, slice_from_cstr(reply->text));
		return false;
	}
	if (!owns)
		mail_refuse(s, e, 553, "5.7.1",
		    arena_format(e->arena,
			"you are logged in as %.120s and may not send as %.120s; to "
			"allow it: postroom account set %.120s --send-as %.120s",
			s->login, e->sender.ptr, s->login, e->sender.ptr));
	return owns;
}

/* Priorities are for those whom we know (RFC 6710 section 4.1). */
bool
smtp_mail_takes_priority(const struct smtp_session *s)
{
	return s->submission || s->trusted;
}

/* RFC 4865 section 4.2: on submission only. */
bool
smtp_mail_takes_hold(const struct smtp_session *s)
{
	return s->submission && service_conf(s->service)->smtp.max_hold_s > 0;
}

/* When and in which order the message is to go, as far as that is offered here; false
 * when it is refused. */
static bool
take_wishes(struct smtp_session *s, struct smtp_envelope *e, const struct smtp_mail *mail)
{
	const struct conf *conf = service_conf(s->service);
	int64_t now_s = clock_wall_s();
	struct smtp_reply unknown = parse_reply(SMTP_PARSE_UNKNOWN, true);
	struct smtp_reply bad = parse_reply(SMTP_PARSE_PARAMETER, true);
	if ((s->lmtp && !smtp_lmtp_takes_mail(mail)) ||
	    (mail->requiretls && !conn_is_secure(s->conn)) ||
	    (mail->has_priority && !smtp_mail_takes_priority(s)) ||
	    (mail->hold != SMTP_HOLD_NONE && !smtp_mail_takes_hold(s))) {
		smtp_resp_bad(s, unknown.code, unknown.enhanced, unknown.text);
		return false;
	}
	if (mail->by != SMTP_BY_NONE) {
		e->by_s = now_s + mail->by_time_s;
		e->by_s += e->by_s == 0;
	}
	if (mail->hold != SMTP_HOLD_NONE) {
		e->hold_until_s =
		    mail->hold_s + (mail->hold == SMTP_HOLD_FOR ? now_s : 0);
		/* A deadline before the release cannot be kept (RFC 4865 section 5.2.2).
		 */
		if (e->hold_until_s > now_s + (int64_t)conf->smtp.max_hold_s ||
		    (e->by_s && e->hold_until_s > e->by_s)) {
			smtp_resp_bad(s, bad.code, bad.enhanced, bad.text);
			return false;
		}
		e->hold = arena_format(e->arena, "%s;%.*s",
		    mail->hold == SMTP_HOLD_FOR ? "for" : "until",
		    SLICE_ARG(mail->hold_text));
	}
	e->requiretls = mail->requiretls;
	e->has_priority = mail->has_priority;
	e->priority = mail->priority;
	if (e->priority > (int)conf->smtp.max_priority)
		e->priority = (int8_t)conf->smtp.max_priority;
	e->by = mail->by;
	e->by_trace = mail->by_trace;
	return true;
}

/* RFC 9422: more messages than MAILMAX told; a client that does not know it connects
 * again. */
static bool
is_over_mailmax(struct smtp_session *s)
{
	const struct conf *conf = service_conf(s->service);
	if (s->mails < conf->smtp.max_messages)
		return false;
	smtp_resp_format(s, 421, "4.7.0",
	    "%s that was %u messages in this session, connect again for more",
	    conf->hostname, conf->smtp.max_messages);
	smtp_session_close(s, "messages of a session");
	return true;
}

void
smtp_cmd_mail(struct smtp_session *s, struct slice rest)
{
	if (s->envelope) {
		smtp_resp_bad(
		    s, 503, "5.5.1", "a mail transaction is open already: RSET");
		return;
	}
	if (is_over_mailmax(s))
		return;
	struct smtp_envelope *e = smtp_envelope_new(s, s->own);
	struct smtp_mail mail;
	enum smtp_parse_result result = smtp_mail_parse(rest, e->arena, &mail);
	if (result != SMTP_PARSE_DONE) {
		struct smtp_reply reply = parse_reply(result, true);
		smtp_resp_bad(s, reply.code, reply.enhanced, reply.text);
		smtp_envelope_free(&e);
		return;
	}
	e->sender = address_text(&mail.sender, e->arena);
	e->utf8 = mail.utf8;
	e->binary = mail.body_binary;
	e->ret = mail.ret;
	e->envid = mail.envid.len ? arena_copy(e->arena, mail.envid) : SLICE_NULL;
	if (!e->sender.ptr || !take_wishes(s, e, &mail) ||
	    !sender_is_allowed(s, e, &mail)) {
		smtp_envelope_free(&e);
		return;
	}
	e->submission = s->submission;
	e->add_missing = s->submission || s->trusted;
	e->login = s->login ? arena_copy(e->arena, slice_from_cstr(s->login)) : SLICE("");
	e->account = s->account;
	e->peer = s->local
	              ? arena_format(e->arena, "uid %u", (unsigned)s->uid)
	              : arena_copy(e->arena, slice_from_cstr(conn_peer_text(s->conn)));
	s->envelope = e;
	s->discarded = 0;
	s->mails++;
	if (e->priority < mail.priority)
		/* RFC 6710 section 4.1. */
		smtp_resp_format(
		    s, 250, "2.3.6", "%d is the highest priority here", (int)e->priority);
	else
		smtp_resp(s, 250, "2.1.0", "sender ok");
}

/* ---- RCPT ---- */

static void
rcpt_refuse(struct smtp_session *s, struct slice original, unsigned code,
    const char *enhanced, const char *text)
{
	struct smtp_reply reply = {code, enhanced, text};
	smtp_resp(s, code, enhanced, text);
	s->envelope->refused++;
	s->refused++;
	smtp_accept_note_refused(s, s->envelope, original, &reply);
}

/* A report of success is wanted: the address goes by the queue as it is, where it is
 * looked up again and what happens to it is reported (relay_local). */
static bool
wants_success(const struct smtp_envelope *e, const struct smtp_rcpt *rcpt)
{
	return e->sender.len > 0 && (rcpt->notify & QUEUE_NOTIFY_SUCCESS);
}

/* Adds what the directory said, or the address itself; all or nothing. */
static bool
targets_add(struct smtp_envelope *e, enum smtp_route route, const struct smtp_rcpt *rcpt,
    struct slice original, const struct directory_target *targets, size_t count)
{
	size_t before = e->target_count;
	struct slice orcpt =
	    rcpt->orcpt.len ? arena_copy(e->arena, rcpt->orcpt) : SLICE_NULL;
	if (rcpt->orcpt.len && !orcpt.ptr)
		return false;
	if (route == SMTP_ROUTE_RELAY || wants_success(e, rcpt)) {
		struct mailbox_address address = rcpt->address;
		address.domain = smtp_domain_ascii(address.domain, e->arena);
		struct smtp_target target = {
		    .address = route == SMTP_ROUTE_RELAY
		                   ? original
		                   : address_text(&address, e->arena),
		    .original = original,
		    .notify = rcpt->notify,
		    .orcpt = orcpt,
		};
		return target.address.ptr &&
		       smtp_envelope_add(e, &target) != SMTP_ENVELOPE_FULL;
	}
	for (size_t i = 0; i < count; i++) {
		struct smtp_target target = {
		    .local = targets[i].local,
		    .account = targets[i].account,
		    .login = targets[i].login,
		    .address = targets[i].address,
		    .original = original,
		    .notify = rcpt->notify,
		    .orcpt = orcpt,
		};
		if (smtp_envelope_add(e, &target) == SMTP_ENVELOPE_FULL) {
			smtp_envelope_cut(e, before);
			return false;
		}
	}
	return true;
}

/* The relay would not send to it; said at once (relay.suppressed = refuse). */
static bool
is_suppressed(const struct smtp_session *s, struct slice address)
{
	struct relay_note note;
	return strcmp(service_conf(s->service)->relay.suppressed, "refuse") == 0 &&
	       bulk_suppress_get(service_reader(s->worker), address, s->envelope->sender,
		   clock_wall_s(), &note) == STATUS_OK;
}

static void
rcpt_route(struct smtp_session *s, const struct smtp_rcpt *rcpt, struct slice original)
{
	struct smtp_envelope *e = s->envelope;
	struct mailbox_address address = rcpt->address;
	struct directory_target *targets = NULL;
	size_t count = 0;
	struct smtp_route_facts facts = {
	    .authenticated = s->login != NULL,
	    .trusted = s->trusted,
	    .answer = DIRECTORY_NOT_LOCAL,
	};
	address.domain = smtp_domain_ascii(address.domain, e->arena);
	enum status status = smtp_recipient_resolve(service_reader(s->worker), &address,
	    delimiters(s), e->arena, &facts.answer, &targets, &count);
	if (status != STATUS_OK) {
		const struct smtp_reply *reply = smtp_resp_of_status(status);
		bool temporary = reply->code < 500;
		rcpt_refuse(s, original, temporary ? reply->code : 451,
		    temporary ? reply->enhanced : "4.3.0",
		    "the recipient could not be looked up, try again later");
		return;
	}
	facts.targets = count;
	for (size_t i = 0; i < count; i++)
		facts.over_quota += targets[i].local && targets[i].over_quota;
	enum smtp_route route = smtp_route_decide(&facts);
	switch (route) {
	case SMTP_ROUTE_TARGETS:
	case SMTP_ROUTE_RELAY:
		break;
	case SMTP_ROUTE_UNKNOWN:
		rcpt_refuse(s, original, 550, "5.1.1", "no such user here");
		return;
	case SMTP_ROUTE_DENIED:
		rcpt_refuse(s, original, 550, "5.7.1",
		    s->lmtp
			? "relaying denied: this is no domain of ours"
			: "relaying denied: this is no domain of ours; to send mail, log "
			  "in on the submission port");
		return;
	case SMTP_ROUTE_QUOTA:
		rcpt_refuse(
		    s, original, 452, "4.2.2", "the mailbox is full, try again later");
		return;
	case SMTP_ROUTE_LOOP:
		rcpt_refuse(s, original, 554, "5.4.6",
		    "the aliases of this address go round in a circle");
		return;
	}
	if (route == SMTP_ROUTE_RELAY && is_suppressed(s, original)) {
		rcpt_refuse(s, original, 550, "5.7.1",
		    "the address is on this server's suppression list");
		return;
	}
	uint32_t per_hour = service_conf(s->service)->auth.sends_per_hour;
	if ((s->login || s->local) &&
	    !smtp_rate_take(s->account, per_hour, (uint64_t)clock_wall_s() * 1000)) {
		char text[SMTP_REPLY_MAX];
		snprintf(text, sizeof(text),
		    "this account may send to %u recipients an hour; try again later",
		    (unsigned)per_hour);
		rcpt_refuse(s, original, 450, "4.7.1", text);
		return;
	}
	size_t before = e->target_count;
	bool added = targets_add(e, route, rcpt, original, targets, count);
	if (added && s->lmtp && !smtp_lmtp_add(e, targets, count)) {
		smtp_envelope_cut(e, before);
		added = false;
	}
	if (!added) {
		rcpt_refuse(s, original, 452, "4.5.3", "too many recipients");
		return;
	}
	e->recipients++;
	smtp_resp(s, 250, "2.1.5", "recipient ok");
}

void
smtp_cmd_rcpt(struct smtp_session *s, struct slice rest)
{
	struct smtp_envelope *e = s->envelope;
	if (!e || e->draft) {
		smtp_resp_bad(s, 503, "5.5.1", e ? "not after BDAT" : "MAIL first");
		return;
	}
	if (e->recipients >= service_conf(s->service)->smtp.max_recipients) {
		smtp_resp(s, 452, "4.5.3", "too many recipients");
		return;
	}
	struct smtp_rcpt rcpt;
	enum smtp_parse_result result = smtp_rcpt_parse(rest, e->arena, &rcpt);
	if (result == SMTP_PARSE_DONE && s->lmtp && !smtp_lmtp_takes_rcpt(&rcpt))
		result = SMTP_PARSE_UNKNOWN;
	if (result != SMTP_PARSE_DONE) {
		struct smtp_reply reply = parse_reply(result, false);
		smtp_resp_bad(s, reply.code, reply.enhanced, reply.text);
		return;
	}
	struct slice original = address_text(&rcpt.address, e->arena);
	if (!original.ptr) {
		smtp_resp(s, 452, "4.5.3", "too many recipients");
		return;
	}
	if ((rcpt.address.utf8 || rcpt.orcpt_utf8) && !e->utf8) {
		rcpt_refuse(s, original, 553, "5.6.7",
		    "an address with UTF-8 needs SMTPUTF8 with MAIL");
		return;
	}
	rcpt_route(s, &rcpt, original);
}

/* A copy goes to the address `text`; `why` is told when it leads nowhere. */
static bool
journal_add(struct smtp_session *s, struct slice text, const char *why)
{
	struct smtp_envelope *e = s->envelope;
	/* Of a failed copy the sender is not told (RFC 3461 section 5.2.6). */
	struct smtp_rcpt rcpt = {.notify = QUEUE_NOTIFY_NEVER};
	struct directory_target *targets = NULL;
	size_t count = 0;
	enum directory_answer answer = DIRECTORY_UNKNOWN_USER;
	if (address_parse(text, false, e->arena, &rcpt.address) != ADDRESS_OK ||
	    directory_resolve(service_reader(s->worker), rcpt.address.local,
		rcpt.address.domain, delimiters(s), e->arena, &answer, &targets,
		&count) != STATUS_OK)
		return false;
	struct slice copy = arena_copy(e->arena, text);
	if (!copy.ptr || answer == DIRECTORY_UNKNOWN_USER || answer == DIRECTORY_LOOP ||
	    (answer == DIRECTORY_TARGETS && count == 0)) {
		LOG_WARN("smtp.reject", LF_STR("sid", s->id), LF_STR("reason", why),
		    LF("to", text));
		return false;
	}
	return targets_add(e,
	    answer == DIRECTORY_NOT_LOCAL ? SMTP_ROUTE_RELAY : SMTP_ROUTE_TARGETS, &rcpt,
	    copy, targets, count);
}

static struct slice
domain_of(struct slice address)
{
	size_t at = slice_rindex(address, '@');
	return at == SIZE_MAX ? SLICE("") : slice_from(address, at + 1);
}

/* The domain's journal, when it has one for mail of this direction. */
static bool
domain_journal_add(struct smtp_session *s, struct slice domain, bool in)
{
	struct directory_journal journal;
	if (directory_journal_get(service_reader(s->worker), domain, &journal) !=
	    STATUS_OK)
		return false;
	if (journal.to.len == 0 || !(in ? journal.in : journal.out))
		return true;
	/* The slice borrows the map, and what follows may end the snapshot. */
	struct slice to = arena_copy(s->envelope->arena, journal.to);
	return to.ptr && journal_add(s, to, "the journal of a domain leads nowhere");
}

bool
smtp_mail_add_journal(struct smtp_session *s)
{
	struct smtp_envelope *e = s->envelope;
	struct slice always = slice_from_cstr(service_conf(s->service)->smtp.always_bcc);
	size_t count = e->target_count;
	struct slice last = SLICE("");
	if (e->login.len > 0 && !domain_journal_add(s, domain_of(e->login), false))
		return false;
	for (size_t i = 0; i < count; i++) {
		struct slice domain = domain_of(e->targets[i].original);
		if (slice_equal_nocase(domain, last))
			continue;
		last = domain;
		if (!domain_journal_add(s, domain, true))
			return false;
	}
	return always.len == 0 || journal_add(s, always, "smtp.always_bcc leads nowhere");
}
