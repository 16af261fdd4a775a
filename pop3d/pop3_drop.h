/*
 * The maildrop: a session's frozen list of the INBOX's messages with its marks
 * (RFC 1939 section 5 ff).  Numbers never change within a session, whatever IMAP clients
 * or deliveries do to the mailbox meanwhile.
 */
#ifndef POP3D_POP3_DROP_H
#define POP3D_POP3_DROP_H

#include "base/buf.h"
#include "store/pop3.h"

enum {
	POP3_MESSAGES_MAX = 10 * 1000 * 1000,    /* messages shown to a session */
	POP3_UIDL_BYTES_MAX = 256 * 1024 * 1024, /* of unique ids that are not default */
};

struct pop3_message {
	uint32_t uid;
	bool deleted;   /* by DELE */
	bool retrieved; /* RETR has delivered it whole */
	uint32_t uidl;  /* where its own unique id begins in `uidls`; 0: default form */
	uint64_t size;  /* octets that RETR sends, its own dots not counted */
};

struct pop3_drop {
	struct account_id account;
	uint32_t mailbox;
	uint32_t uidvalidity;
	struct pop3_message *messages; /* owned */
	uint32_t count;
	uint32_t deleted_count;
	bool retrieved;   /* one at least was */
	uint64_t bytes;   /* of the messages not deleted */
	struct buf uidls; /* one NUL, then each with a NUL behind it */
};

/* Reads the INBOX in one scan. */
enum status pop3_drop_open(struct store_reader *reader, struct account_id account,
    struct pop3_drop *out) MUST_USE;
void pop3_drop_close(struct pop3_drop *drop);

/* The message of a number, or null when there is none or it is marked deleted. */
struct pop3_message *pop3_drop_message(struct pop3_drop *drop, uint32_t number);
void pop3_drop_delete(struct pop3_drop *drop, struct pop3_message *message);
/* RSET: no message is marked deleted.  What RETR delivered stays delivered. */
void pop3_drop_reset(struct pop3_drop *drop);
/* The unique id (store/pop3.h). */
void pop3_drop_uidl(const struct pop3_drop *drop, const struct pop3_message *message,
    char out[POP3_UIDL_MAX + 1]);
/* What UPDATE does, as ascending ranges in the arena: removes what DELE marked, and with
 * DELETE what RETR delivered; with DAYS `retrieved` is what was delivered and stays.
 * The arena has room for 16 octets a message. */
struct pop3_drop_update {
	struct uid_range *remove, *retrieved;
	size_t remove_count, retrieved_count;
};
void pop3_drop_update(const struct pop3_drop *drop, enum pop3_policy policy,
    struct arena *arena, struct pop3_drop_update *out);

#endif
