/*
 * LMTP, the receiving side (RFC 2033): an SMTP session that says LHLO, takes recipients
 * of this server only, and answers a message once for every recipient, in their order.
 * What differs from SMTP is here; all else is the same code.  Private to smtpd.
 *
 * Whoever delivers by LMTP keeps what is refused and reports it, so a mailbox that is
 * full or cannot be written is told in the reply to that recipient and never becomes a
 * bounce of ours.  Two things still go by the queue: what an alias sends on to elsewhere,
 * and the part of an alias that failed when another part was stored (decision 0115).
 */
#ifndef SMTPD_SMTP_LMTP_H
#define SMTPD_SMTP_LMTP_H

#include "smtpd/smtp_resp.h"

/* May the peer deliver here: by the permissions of the Unix socket, or by the listener's
 * networks?  When not, it has been told so. */
bool smtp_lmtp_may_connect(struct smtp_session *s);

/* Has MAIL, RCPT only parameters that LHLO offers? */
bool smtp_lmtp_takes_mail(const struct smtp_mail *mail);
bool smtp_lmtp_takes_rcpt(const struct smtp_rcpt *rcpt);

/* The recipient that was just accepted leads to these targets, which are in the envelope;
 * false on the limit of its memory. */
bool smtp_lmtp_add(
    struct smtp_envelope *e, const struct directory_target *targets, size_t count);

/* The local deliveries are answered: notes their outcome, STATUS_UNKNOWN for a target
 * that is not local, and decides what goes to the queue (e->queue_wants).  LIMIT: out of
 * memory. NOT_FOUND: nothing does. */
enum status smtp_lmtp_sort(struct smtp_envelope *e) MUST_USE;
/* The queue's op is answered. */
void smtp_lmtp_queued(struct smtp_envelope *e, enum status status);

/* Recipients whose every target is durable. */
size_t smtp_lmtp_accepted(const struct smtp_envelope *e);
/* Answers the message, once a recipient: `refused`, or what became of each when it is
 * null. */
void smtp_lmtp_answer(struct smtp_session *s, const struct smtp_envelope *e,
    const struct smtp_reply *refused);

#endif
