/*
 * A message on its way into the envelope's draft: octets are streamed, only the header
 * block is looked at.  Knows nothing of DATA or BDAT.
 */
#ifndef SMTPD_SMTP_MESSAGE_H
#define SMTPD_SMTP_MESSAGE_H

#include "smtpd/smtp_session.h"

/* Opens the draft. */
void smtp_message_begin(struct smtp_envelope *envelope);
/* Takes message octets (CRLF lines, unstuffed; borrowed).  After a fault they are
 * counted and thrown away. */
void smtp_message_feed(struct smtp_envelope *envelope, struct slice bytes);
/* All octets have come: looks at a header block without an end. */
void smtp_message_end(struct smtp_envelope *envelope);
/* Notes why the message will be refused; the first reason stays. */
void smtp_message_fault(struct smtp_envelope *envelope, enum smtp_fault fault);

#endif
