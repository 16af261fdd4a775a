/*
 * From a complete message to its reply: trace fields in front, an op for the store, and
 * the op's completion turned into what the client is told.
 *
 * Invariant: 250 is written only when every target of every accepted recipient is
 * durable, in its mailbox or in the queue (decision 0005).
 */
#ifndef SMTPD_SMTP_ACCEPT_H
#define SMTPD_SMTP_ACCEPT_H

#include "smtpd/smtp_resp.h"

/* The envelope's message is complete and without fault: hands it to the store, the
 * session is in COMMIT; or refuses it. */
void smtp_accept(struct smtp_session *s);
/* Refuses the message for its fault, forgets the transaction, the session is READY (or
 * closed, where the end of the message was in doubt). */
void smtp_accept_refuse(struct smtp_session *s);
/* Notes a refusal in log and trace; `to` is null when all of the message is meant. */
void smtp_accept_note_refused(struct smtp_session *s,
    const struct smtp_envelope *envelope, struct slice to,
    const struct smtp_reply *reply);

struct smtp_trace_facts {
	struct slice helo, peer; /* peer: "192.0.2.1", "2001:db8::1", "local", "uid 7" */
	struct slice hostname, id;
	struct slice protocol;  /* "ESMTPS" … (RFC 3848, RFC 6531 section 4.3) */
	struct slice tls;       /* version and cipher, or empty */
	struct slice recipient; /* of a single one, or null */
	bool has_priority;
	int priority; /* RFC 6710 section 7 */
	int64_t now_s;
	int zone_min;
};
/* Appends the Received field (RFC 5321 section 4.4); pure. */
void smtp_accept_received_write(const struct smtp_trace_facts *facts, struct buf *out);

#endif
