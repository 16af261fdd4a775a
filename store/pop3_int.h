/*
 * What POP3 keeps of a message, inside one transaction.  Private to store/.
 */
#ifndef STORE_POP3_INT_H
#define STORE_POP3_INT_H

#include "store/pop3.h"
#include "store/store_codec_int.h"

/* NOT_FOUND when nothing is kept.  The slice borrows the transaction's map until its next
 * write. */
enum status pop3_record_load(struct engine_txn *txn, uint32_t mailbox, uint32_t uid,
    struct pop3_record *out) MUST_USE;
/* The statuses of pop3_uidl_item; the message is there.  Writes nothing unless OK. */
enum status pop3_uidl_set(struct engine_txn *txn, const struct mailbox_state *box,
    uint32_t uid, struct slice uidl) MUST_USE;
/* The message leaves its mailbox: so does what is kept of it. */
void pop3_record_drop(struct engine_txn *txn, uint32_t mailbox, uint32_t uid);

#endif
