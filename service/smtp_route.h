/*
 * What happens to a recipient: refuse, deliver here, or relay.  One pure decision table,
 * so that the question whether this server is an open relay is answered in one place:
 * by tests, and by the daemon itself at each start (service/relay_proof.h,
 * smtpd/smtp_selftest.h).
 *
 * Addresses are never rewritten: a "%", "!" or "@" inside a local part means nothing, a
 * source route is dropped before (RFC 5321 appendix C).
 */
#ifndef SERVICE_SMTP_ROUTE_H
#define SERVICE_SMTP_ROUTE_H

#include "store/directory.h"

struct smtp_route_facts {
	bool authenticated; /* a log-in on a submission listener */
	bool trusted;       /* the peer is in smtp.trusted_networks */
	enum directory_answer answer;
	size_t targets;    /* with DIRECTORY_TARGETS: how many */
	size_t over_quota; /* of them, mailboxes without room */
};

enum smtp_route {
	SMTP_ROUTE_TARGETS, /* accept, to the targets that the directory gave */
	SMTP_ROUTE_RELAY,   /* accept, to the address itself, elsewhere */
	SMTP_ROUTE_UNKNOWN, /* 550 5.1.1 */
	SMTP_ROUTE_DENIED,  /* 550 5.7.1 */
	SMTP_ROUTE_QUOTA,   /* 452 4.2.2 */
	SMTP_ROUTE_LOOP,    /* 554 5.4.6 */
};

enum smtp_route smtp_route_decide(const struct smtp_route_facts *facts);

#endif
