/*
 * Delivery reports (RFC 3464 in a multipart/report, RFC 6522): what could not be
 * delivered, or waits for long, told in one plain sentence, with the remote's own words
 * and the original's header.  Pure.
 */
#ifndef SMTPD_RELAY_BOUNCE_H
#define SMTPD_RELAY_BOUNCE_H

#include "base/buf.h"

enum { BOUNCE_HEADER_MAX = 64 * 1024, BOUNCE_SIZE_MAX = 1024 * 1024 };

struct bounce_recipient {
	struct slice address;
	struct slice reply; /* "550 5.1.1 …" */
};

struct bounce {
	const char *hostname;   /* of this server */
	const char *report_id;  /* id of the report itself */
	const char *message_id; /* id of the message in the queue */
	struct slice sender;    /* who gets the report */
	int64_t now_s, arrived_s;
	int64_t expires_s; /* for delay notices */
	bool delay;        /* not failed yet */
	bool utf8;         /* addresses may hold UTF-8 (RFC 6533) */
	const struct bounce_recipient *recipients;
	size_t count;
	struct slice original; /* the message; its header block is quoted */
};

void bounce_write(const struct bounce *bounce, struct buf *out);

#endif
