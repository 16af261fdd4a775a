/*
 * XCLIENT (Postfix's XCLIENT_README): a proxy in front of this server says who its client
 * is.  The attributes of the command; pure.  Whether the peer may say it is decided by
 * smtp.xclient_networks, before any of it is looked at.
 */
#ifndef SMTPD_SMTP_XCLIENT_H
#define SMTPD_SMTP_XCLIENT_H

#include <sys/socket.h>

#include "base/arena.h"

enum {
	SMTP_XCLIENT_VALUE_MAX = 255, /* octets, decoded */
	SMTP_XCLIENT_ATTRIBUTES_MAX = 16,
};

struct smtp_xclient {
	bool has_address;
	bool address_unknown; /* [UNAVAILABLE] or [TEMPUNAVAIL] */
	struct sockaddr_storage address;
	bool has_port;
	uint16_t port;
	bool has_proto, extended; /* SMTP or ESMTP */
	struct slice helo;        /* null: not given, or not known */
	struct slice login;       /* null: not given, or nobody */
};

/* "NAME=value …", values in xtext; the slices are in the arena.  False when it is not of
 * that form, an attribute is unknown or twice, or a value is none for it.  NAME,
 * DESTADDR and DESTPORT are taken and mean nothing here. */
bool smtp_xclient_parse(struct slice rest, struct arena *arena, struct smtp_xclient *out);

#endif
