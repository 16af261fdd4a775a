/*
 * Mail that comes from another server: messages that keep their UIDs.  Public part of the
 * store; used by the command line, beside daemons that serve.
 *
 * A client that knows the old server's mailbox by its UIDVALIDITY must never find another
 * message under a UID that it knows.  So a mailbox takes over a UIDVALIDITY only while it
 * has never held a message, and with it all UIDs below the source's UIDNEXT are reserved:
 * only an import gives them out, mail that is delivered meanwhile gets higher ones.
 * Sessions that have such a mailbox selected are told that it is gone, when a message
 * would come in below one that they know (RFC 9051 section 2.3.1.1: UIDs ascend).
 */
#ifndef STORE_IMPORT_H
#define STORE_IMPORT_H

#include "store/message.h"

enum {
	IMPORT_ITEMS_MAX = 1000, /* messages in one op */
	IMPORT_UIDVALIDITY_MAX =
	    0xfff00000, /* above it none are left for new mailboxes */
};

/* Makes the mailbox and its parents when they are not there, and reserves UIDs.  INVALID
 * for a UIDNEXT of 0 with a UIDVALIDITY; LIMIT with too many mailboxes. */
struct import_box_op {
	struct store_op op;
	struct account_id account;
	struct slice mailbox; /* checked by mailbox_name_check; borrowed until done */
	uint32_t uidvalidity; /* of the source; 0: no UID is to be kept */
	uint32_t uidnext;     /* of the source: above every UID of it */
	uint32_t out_mailbox; /* number */
	uint32_t out_uidvalidity;
	uint32_t out_uid_end; /* UIDs below it can be kept; 0: none */
	bool out_made;
};
void import_box_submit(struct store_reader *reader, struct import_box_op *op);

struct import_item {
	struct body_draft *draft; /* sealed */
	uint32_t want_uid;        /* 0: the mailbox's next one */
	uint8_t flags;
	const struct slice *keywords;
	size_t keyword_count;
	int64_t internaldate_s;
	int16_t internaldate_zone_min;
	struct slice uidl; /* POP3 unique id that clients know, or null (store/pop3.h) */
	/* Out.  OK, QUOTA or LIMIT (no UID is left). */
	enum status status;
	uint32_t uid;
	bool uid_kept;      /* it is want_uid; else it was reserved no more or taken */
	bool uidl_kept;     /* false: no valid one, or another message has it */
	bool keywords_kept; /* false: the mailbox has no room for more keywords */
};
/* Items that are OK are stored although others are not, but behind one for which there is
 * no QUOTA none is; one modseq for all of them.
 * op.status: OK when it was committed, NOT_FOUND without account or mailbox. */
struct import_op {
	struct store_op op;
	struct account_id account;
	uint32_t mailbox;
	struct import_item *items;
	size_t item_count;
};
void import_op_submit(struct store_reader *reader, struct import_op *op);

#endif
