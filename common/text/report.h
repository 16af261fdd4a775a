/*
 * What a message says about the delivery of another one: delivery status notifications
 * (RFC 3464, RFC 6533), complaints (RFC 5965), and bounces in the free words of mail
 * servers that know neither.  Pure; nothing here is believed yet: anybody can write such
 * a message (decision 0100 says what is).
 */
#ifndef TEXT_REPORT_H
#define TEXT_REPORT_H

#include "base/arena.h"

enum {
	REPORT_RECIPIENTS_MAX = 100,
	REPORT_IDS_MAX = 10,            /* of the returned message's Received fields */
	REPORT_TEXT_MAX = 64 * 1024,    /* octets looked at of a bounce in free words */
	REPORT_STATUS_MAX = 256 * 1024, /* octets looked at of a machine-readable part */
	REPORT_VALUE_MAX = 500, /* octets kept of a value; what is behind is cut */
};

enum report_kind {
	REPORT_NONE, /* another message: vacation, receipt, or plain mail */
	REPORT_DELIVERY,
	REPORT_COMPLAINT,
};

enum report_action { /* RFC 3464 section 2.3.3 */
	REPORT_FAILED,
	REPORT_DELAYED,
	REPORT_DELIVERED,
	REPORT_RELAYED,
	REPORT_EXPANDED,
};
/* "failed", … */
const char *report_action_text(enum report_action action);

struct report_recipient {
	enum report_action action;
	struct slice original;   /* Original-Recipient or Original-Rcpt-To, or null */
	struct slice address;    /* Final-Recipient, or what stood in the text, or null */
	char status[12];         /* "5.1.1"; "" when nothing was said */
	struct slice diagnostic; /* the other server's words, or null */
};

struct report {
	enum report_kind kind;
	bool standard;              /* by RFC 3464 or RFC 5965, not in free words */
	struct slice feedback_type; /* of a complaint, "abuse"; lower case */
	struct slice envid;         /* Original-Envelope-Id, or null */
	/* of the message that it is about, where that was returned */
	struct slice message_id;          /* with <>, or null */
	struct slice sender;              /* envelope sender without <>, or null */
	struct slice ids[REPORT_IDS_MAX]; /* what the servers on its way called it */
	size_t id_count;
	struct report_recipient *recipients; /* none: it was not said who */
	size_t recipient_count;
};

/* Parses a whole message.  Slices borrow it or the arena, which must allow
 * REPORT_ARENA_MAX octets. */
enum { REPORT_ARENA_MAX = 20 * 1024 * 1024 };
void report_parse(struct slice message, struct arena *arena, struct report *out);

#endif
