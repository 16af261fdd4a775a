/*
 * A remote server's replies (RFC 5321 section 4.2): incremental over complete lines,
 * bounded, and made safe for logs and reports.  Pure.
 */
#ifndef SMTPD_RELAY_REPLY_H
#define SMTPD_RELAY_REPLY_H

#include "base/buf.h"

enum {
	RELAY_REPLY_LINE_MAX = 4096, /* octets of one line */
	RELAY_REPLY_LINES_MAX = 200, /* of one reply */
	RELAY_REPLY_TEXT_MAX = 1000, /* characters kept */
};

struct relay_reply {
	int code;       /* 200–599 */
	unsigned lines; /* so far */
	bool complete;
	char text[RELAY_REPLY_TEXT_MAX + 1]; /* "550 5.1.1 no such user", lines joined */
};

void relay_reply_reset(struct relay_reply *reply);
/* Takes one line without CRLF; false when it is no reply line, changes the code in the
 * middle, or there are too many: the session must end. */
bool relay_reply_line(struct relay_reply *reply, struct slice line);

enum relay_reply_class { REPLY_GOOD, REPLY_MORE, REPLY_TRANSIENT, REPLY_PERMANENT };
enum relay_reply_class relay_reply_class(const struct relay_reply *reply);

/* What an EHLO reply's lines offer. */
struct relay_offer {
	bool pipelining, starttls, eightbitmime, smtputf8, size, dsn, requiretls;
	bool mt_priority, deliverby;
	uint64_t size_max; /* 0: none told */
	uint64_t by_min_s; /* shortest time that DELIVERBY takes; 0: any */
	bool auth_plain, auth_login;
};
/* One line of it without code and separator: "SIZE 1000". */
void relay_offer_line(struct relay_offer *offer, struct slice line);

/* The enhanced code in a reply's text, or one made from its first digit. */
void relay_reply_enhanced(const char *text, char out[16]);

#endif
