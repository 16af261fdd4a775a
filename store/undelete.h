/*
 * What was expunged and can still come back: list it, and bring some of it back.  Public
 * part of the store; message_undelete (store/message.h) brings back all since a time.
 */
#ifndef STORE_UNDELETE_H
#define STORE_UNDELETE_H

#include "store/message.h"

struct expunged_message {
	int64_t expunged_s;
	uint32_t mailbox; /* number */
	struct slice
	    name; /* of the mailbox, null when it is gone; borrows the snapshot */
	struct message_record record; /* as it was */
};
/* Those expunged in [since_s, until_s], oldest first, in one scan; fn returns false to
 * stop, and may read with the same reader. */
enum status message_expunged_each(struct store_reader *reader, struct account_id account,
    int64_t since_s, int64_t until_s,
    bool (*fn)(const struct expunged_message *message, void *arg), void *arg) MUST_USE;

struct expunged_pick {
	int64_t expunged_s;
	uint32_t mailbox;
	uint32_t uid;
};
/* Brings these back, in some commits; what is no longer there is passed over.  QUOTA: the
 * account is full, the ones before are back and counted.  *out_count is set on OK and
 * QUOTA.  Waits. */
enum status message_undelete_picks(struct store_reader *reader, struct account_id account,
    const struct expunged_pick *picks, size_t count, uint64_t *out_count) MUST_USE;

#endif
