/*
 * TLS reports (RFC 8460, decision 0102): counted in relay_tlsrpt.c, sent in
 * relay_tlsrpt_send.c.  Private to the relay; on its loop.
 */
#ifndef SMTPD_RELAY_TLSRPT_INT_H
#define SMTPD_RELAY_TLSRPT_INT_H

#include "service/tls_results.h"
#include "smtpd/relay_int.h"

/* Length of a period; a report is of one. */
int64_t relay_tlsrpt_period_s(const struct relay *relay);
/* Reports periods that are over, one after the other; does nothing when it is at it. */
void relay_tlsrpt_send(struct relay *relay);

#endif
