/*
 * Delivery reports (RFC 3464 in a multipart/report, RFC 6522; RFC 6533 when there is
 * UTF-8): what was delivered where that was asked for, could not be delivered, or waits
 * for long, told in one plain sentence, with the remote's own words and the original.
 * Pure.
 */
#ifndef SMTPD_RELAY_BOUNCE_H
#define SMTPD_RELAY_BOUNCE_H

#include "base/buf.h"

enum {
	BOUNCE_HEADER_MAX = 64 * 1024,
	BOUNCE_TEXT_MAX = 1024 * 1024, /* bytes of a report without a whole message */
	/* A message up to here is returned whole when RET=FULL asked for it (RFC 3461
	 * section 6.2 leaves the limit to us). */
	BOUNCE_FULL_MAX = 8 * 1024 * 1024,
};

enum bounce_action { /* RFC 3464 section 2.3.3 */
	BOUNCE_FAILED,
	BOUNCE_DELAYED,
	BOUNCE_DELIVERED,
	BOUNCE_RELAYED,
	BOUNCE_EXPANDED,
};

struct bounce_recipient {
	enum bounce_action action;
	struct slice address;
	struct slice reply;  /* "550 5.1.1 …" */
	struct slice orcpt;  /* as given at RCPT, or empty */
	struct slice remote; /* the host that gave the reply, or empty: it is ours */
};

struct bounce {
	const char *hostname;   /* of this server */
	const char *report_id;  /* id of the report itself */
	const char *message_id; /* id of the message in the queue */
	struct slice sender;    /* who gets the report */
	struct slice envid;     /* as given at MAIL, or empty */
	int64_t now_s, arrived_s;
	int64_t expires_s; /* for delay notices */
	int64_t by_s;      /* BY's moment (RFC 2852 section 5); 0: none */
	struct slice hold; /* Future-Release-Request (RFC 4865), or empty */
	bool utf8;         /* the message was sent with SMTPUTF8 */
	bool has_8bit;     /* … holds 8-bit octets */
	bool full; /* return all of it, if it is not larger than BOUNCE_FULL_MAX */
	/* Of one kind: all failed, all delayed, or all of the others. */
	const struct bounce_recipient *recipients;
	size_t count;
	struct slice original; /* the message; may be null */
};

/* How the report must be sent. */
struct bounce_needs {
	bool utf8;     /* SMTPUTF8 */
	bool has_8bit; /* 8BITMIME */
};

/* The report is `out`, then the returned slice as it is (of the original; may be empty),
 * then what bounce_write_end appends. */
struct slice bounce_write(
    const struct bounce *bounce, struct buf *out, struct bounce_needs *out_needs);
void bounce_write_end(const struct bounce *bounce, struct buf *out);

#endif
