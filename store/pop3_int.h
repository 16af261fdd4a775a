/*
 * What POP3 keeps of a message, inside one transaction.  Private to store/.
 */
#ifndef STORE_POP3_INT_H
#define STORE_POP3_INT_H

#include "store/pop3.h"
#include "store/store_codec_int.h"
#include "store/store_int.h"

/* NOT_FOUND when nothing is kept.  The slice borrows the transaction's map until its next
 * write. */
enum status pop3_record_load(struct engine_txn *txn, uint32_t mailbox, uint32_t uid,
    struct pop3_record *out) MUST_USE;
/* The statuses of pop3_uidl_item; the message is there.  Writes nothing unless OK. */
enum status pop3_uidl_set(struct engine_txn *txn, const struct mailbox_state *box,
    uint32_t uid, struct slice uidl) MUST_USE;
/* Fetched at `now_s`, unless it was before.  The message is there. */
enum status pop3_retrieved_set(
    struct engine_txn *txn, uint32_t mailbox, uint32_t uid, int64_t now_s) MUST_USE;
/* Q: the time in front, the message behind. */
void pop3_key_retrieved(struct key *key, int64_t time_s, uint32_t mailbox, uint32_t uid);

/* ---- pop3_retention.c ---- */
/* One step of removing what the rule of days lets go; pure in (txn, step). */
struct pop3_retention {
	int64_t before_s; /* fetched before it */
	int64_t now_s;
	struct vec entries; /* the step's own */
};
/* Is there anything to be removed from the account?  Then before_s is set. */
bool pop3_retention_due(struct store_reader *reader, struct account_id account,
    struct engine_txn *txn, int64_t now_s, struct pop3_retention *out);
enum status commit_pop3_retention(struct engine_txn *txn, void *step) MUST_USE;

/* The message leaves its mailbox: so does what is kept of it. */
void pop3_record_drop(struct engine_txn *txn, uint32_t mailbox, uint32_t uid);

#endif
