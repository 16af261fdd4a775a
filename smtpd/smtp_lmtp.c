/*
 * LMTP, the receiving side; see smtp_lmtp.h.  On the session's worker thread.
 */
#include "smtpd/smtp_lmtp.h"

#include "base/log.h"
#include "net/network.h"
#include "smtpd/smtp_accept.h"

enum { RECIPIENTS_FIRST = 4 };

bool
smtp_lmtp_may_connect(struct smtp_session *s)
{
	const struct listener *l = s->listener;
	const struct sockaddr *peer = conn_peer(s->conn);
	if (peer->sa_family == AF_UNIX ||
	    network_list_has(peer, l->networks, l->network_count))
		return true;
	LOG_INFO("smtp.reject", LF_STR("sid", s->id),
	    LF_STR("peer", conn_peer_text(s->conn)),
	    LF_STR("reason", "the peer is not in the listener's networks"));
	if (l->tls != LISTENER_TLS_IMPLICIT)
		smtp_resp(s, 554, "5.7.1", "you may not deliver here by LMTP");
	return false;
}

bool
smtp_lmtp_takes_mail(const struct smtp_mail *mail)
{
	return mail->ret == SMTP_RET_NONE && mail->envid.len == 0 && !mail->requiretls &&
	       !mail->has_priority && mail->by == SMTP_BY_NONE &&
	       mail->hold == SMTP_HOLD_NONE;
}

bool
smtp_lmtp_takes_rcpt(const struct smtp_rcpt *rcpt)
{
	return rcpt->notify == 0 && rcpt->orcpt.len == 0;
}

/* ---- recipients and their targets ---- */

static struct smtp_lmtp_recipient *
recipient_new(struct smtp_envelope *e)
{
	if (e->lmtp_count == e->lmtp_cap) {
		size_t cap = e->lmtp_cap ? 2 * e->lmtp_cap : RECIPIENTS_FIRST;
		struct smtp_lmtp_recipient *grown =
		    ARENA_ARRAY(e->arena, struct smtp_lmtp_recipient, cap);
		if (!grown)
			return NULL;
		if (e->lmtp_count > 0)
			memcpy(grown, e->lmtp, e->lmtp_count * sizeof(*grown));
		e->lmtp = grown;
		e->lmtp_cap = cap;
	}
	return &e->lmtp[e->lmtp_count];
}

bool
smtp_lmtp_add(
    struct smtp_envelope *e, const struct directory_target *targets, size_t count)
{
	struct smtp_lmtp_recipient *recipient = recipient_new(e);
	if (!recipient)
		return false;
	recipient->targets = ARENA_ARRAY(e->arena, size_t, count);
	recipient->count = count;
	if (!recipient->targets)
		return false;
	for (size_t i = 0; i < count; i++) {
		struct smtp_target target = {
		    .local = targets[i].local,
		    .account = targets[i].account,
		    .address = targets[i].address,
		};
		recipient->targets[i] = smtp_envelope_find(e, &target);
		if (recipient->targets[i] == SIZE_MAX)
			return false;
	}
	e->lmtp_count++;
	return true;
}

/* ---- what becomes of a message ---- */

/* Is it durable, or will it be once the queue has it? */
static bool
is_taken(const struct smtp_envelope *e, size_t target)
{
	return e->outcomes[target] == STATUS_OK || !e->targets[target].local;
}

static bool
part_is_taken(const struct smtp_envelope *e, const struct smtp_lmtp_recipient *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (is_taken(e, r->targets[i]))
			return true;
	}
	return false;
}

enum status
smtp_lmtp_sort(struct smtp_envelope *e)
{
	e->outcomes = ARENA_ARRAY(e->arena, enum status, e->target_count);
	e->queue_wants = ARENA_ARRAY(e->arena, bool, e->target_count);
	bool *asked_for = ARENA_ARRAY(e->arena, bool, e->target_count);
	if (!e->outcomes || !e->queue_wants || !asked_for)
		return STATUS_LIMIT;
	size_t delivery = 0;
	for (size_t i = 0; i < e->target_count; i++)
		e->outcomes[i] = e->targets[i].local
		                     ? e->deliver.recipients[delivery++].status
		                     : STATUS_UNKNOWN;
	bool wanted = false, taken = false;
	for (size_t i = 0; i < e->lmtp_count; i++) {
		const struct smtp_lmtp_recipient *r = &e->lmtp[i];
		bool part = part_is_taken(e, r);
		taken |= part;
		for (size_t k = 0; k < r->count; k++) {
			size_t target = r->targets[k];
			asked_for[target] = true;
			e->queue_wants[target] |=
			    part && e->outcomes[target] != STATUS_OK;
			wanted |= e->queue_wants[target];
		}
	}
	/* A copy for a journal that nobody named goes with what was taken. */
	for (size_t i = 0; i < e->target_count && taken; i++) {
		if (asked_for[i] || e->outcomes[i] == STATUS_OK)
			continue;
		e->queue_wants[i] = wanted = true;
	}
	return wanted ? STATUS_OK : STATUS_NOT_FOUND;
}

static bool
is_asked_for(const struct smtp_envelope *e, size_t target)
{
	for (size_t i = 0; i < e->lmtp_count; i++) {
		for (size_t k = 0; k < e->lmtp[i].count; k++) {
			if (e->lmtp[i].targets[k] == target)
				return true;
		}
	}
	return false;
}

void
smtp_lmtp_queued(struct smtp_envelope *e, enum status status)
{
	/* Nothing is accepted without a journal's copy. */
	bool all = false;
	for (size_t i = 0; i < e->target_count && status != STATUS_OK; i++)
		all |= e->queue_wants[i] && !is_asked_for(e, i);
	for (size_t i = 0; i < e->target_count; i++) {
		if (all || e->queue_wants[i])
			e->outcomes[i] = status;
	}
}

/* The reply to one recipient, null when all of its targets are durable.  A passing reason
 * comes before a lasting one. */
static const struct smtp_reply *
refusal_of(const struct smtp_envelope *e, const struct smtp_lmtp_recipient *r)
{
	const struct smtp_reply *worst = NULL;
	for (size_t i = 0; i < r->count; i++) {
		enum status status = e->outcomes[r->targets[i]];
		const struct smtp_reply *reply = smtp_resp_of_status(status);
		if (status != STATUS_OK &&
		    (!worst || (worst->code >= 500 && reply->code < 500)))
			worst = reply;
	}
	return worst;
}

size_t
smtp_lmtp_accepted(const struct smtp_envelope *e)
{
	size_t accepted = 0;
	for (size_t i = 0; e->outcomes && i < e->lmtp_count; i++)
		accepted += !refusal_of(e, &e->lmtp[i]);
	return accepted;
}

void
smtp_lmtp_answer(struct smtp_session *s, const struct smtp_envelope *e,
    const struct smtp_reply *refused)
{
	for (size_t i = 0; i < e->lmtp_count; i++) {
		const struct smtp_lmtp_recipient *r = &e->lmtp[i];
		const struct smtp_reply *reply = refused ? refused : refusal_of(e, r);
		if (!reply) {
			smtp_resp_format(s, 250, "2.0.0", "accepted, id %s", e->id);
			continue;
		}
		smtp_resp(s, reply->code, reply->enhanced, reply->text);
		smtp_accept_note_refused(s, e, e->targets[r->targets[0]].original, reply);
	}
}
