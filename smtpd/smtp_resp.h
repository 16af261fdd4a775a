/*
 * SMTP replies: code, enhanced code (RFC 2034, RFC 3463), text; and the only map from the
 * store's status to them.
 */
#ifndef SMTPD_SMTP_RESP_H
#define SMTPD_SMTP_RESP_H

#include "smtpd/smtp_session.h"

enum {
	SMTP_REPLY_MAX = 512
}; /* octets of a line with CRLF, RFC 5321 section 4.5.3.1.5 */

/* One line: "250 2.1.0 text".  `enhanced` may be null (EHLO, 220, 334, 354). */
void smtp_resp(
    struct smtp_session *s, unsigned code, const char *enhanced, const char *text);
void smtp_resp_format(struct smtp_session *s, unsigned code, const char *enhanced,
    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same for a command that was wrong by its form or its place: counts towards
 * smtp.max_errors. */
void smtp_resp_bad(
    struct smtp_session *s, unsigned code, const char *enhanced, const char *text);

struct smtp_reply {
	unsigned code;
	const char *enhanced;
	const char *text;
};
/* What a status of the store means for a message or a recipient. */
const struct smtp_reply *smtp_resp_of_status(enum status status);
void smtp_resp_status(struct smtp_session *s, enum status status);
/* The reply to a message that was refused for what is in it. */
const struct smtp_reply *smtp_resp_of_fault(enum smtp_fault fault);

#endif
