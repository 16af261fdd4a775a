/*
 * The open-relay matrix (anonymous senders and all known tricks of spelling) against the
 * parser and the decision table, with a directory of one domain: is this program right?
 * Whether its configuration and directory are is service/relay_proof.h's question.
 */
#ifndef SMTPD_SMTP_SELFTEST_H
#define SMTPD_SMTP_SELFTEST_H

/* Null when every row came out as it must, else the first address that did not. */
const char *smtp_route_selftest(void);

#endif
