/*
 * Tenants and campaigns of submitted mail (decision 0120): what the envelope gets of
 * them on its way to the queue.  Private to smtpd.
 */
#ifndef SMTPD_SMTP_TENANT_H
#define SMTPD_SMTP_TENANT_H

#include "smtpd/smtp_resp.h"

/* The campaign that e->facts found in a submitted message; a fault when it is no name or
 * stands there twice. */
void smtp_tenant_campaign_take(struct smtp_envelope *e);
/* Whose mail it is, and of which campaign, into the message: only of who has logged in at
 * a submission port.  Not OK: the store could not say. */
enum status smtp_tenant_name(
    struct smtp_envelope *e, struct queue_new_message *out) MUST_USE;
/* What to answer when the tenant has as much in the queue as it may; lives as long as the
 * envelope. */
const struct smtp_reply *smtp_tenant_full(struct smtp_envelope *e);

#endif
