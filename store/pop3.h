/*
 * What POP3 needs of the store beside messages: unique ids that came from another server
 * (so that no client downloads its mail again), UPDATE, and mail that is kept for some
 * days after it was fetched (decision 0030).
 *
 * The unique id of a message is its default form, made of UIDVALIDITY and UID and
 * therefore stable for ever, unless one of its own has been set.  One of its own is
 * unique in its mailbox, kept over restart, compaction and backup, and goes with the
 * message: when it is expunged, moved or its mailbox is removed.  What comes back by
 * undelete is a message of a new UID and has the default form.
 */
#ifndef STORE_POP3_H
#define STORE_POP3_H

#include "store/directory.h"
#include "store/message.h"

enum { POP3_UIDL_MAX = 70 }; /* characters, RFC 1939 section 7 */

/* 1 to POP3_UIDL_MAX characters of 0x21 to 0x7E (RFC 1939 section 7). */
bool pop3_uidl_is_valid(struct slice uidl);
/* The default form: 16 hexadecimal digits in lower case. */
void pop3_uidl_default(uint32_t uidvalidity, uint32_t uid, char out[POP3_UIDL_MAX + 1]);

/* Sets unique ids of messages that are there.  Each item has its own status:
 *   OK         set (or it was so already; the null slice: back to the default form)
 *   INVALID    no unique id by pop3_uidl_is_valid
 *   NOT_FOUND  no message of that uid
 *   EXISTS     another message of the mailbox has it (or has it as its default form)
 * Items that are OK are stored although others are not; of two items with the same id the
 * first one gets it.  op.status is OK when it was committed, NOT_FOUND when account or
 * mailbox are not there.  No modseq changes: IMAP sees nothing of this.
 * To set ids while messages are added, see append_message.uidl (store/message.h). */
struct pop3_uidl_item {
	uint32_t uid;
	struct slice uidl;  /* borrowed until done */
	enum status status; /* out */
};
struct pop3_uidl_op {
	struct store_op op;
	struct account_id account;
	uint32_t mailbox; /* number; POP3 shows INBOX's (mailbox_find) */
	struct pop3_uidl_item *items;
	size_t item_count;
};
void pop3_uidl_op_submit(struct store_reader *reader, struct pop3_uidl_op *op);

/* UPDATE in one commit: what was marked is expunged (and can be undeleted), and of what
 * was fetched and stays the time is kept, so that store_maintain removes it when a rule
 * of days says so.  Only the first time counts.  NOT_FOUND: account or mailbox are gone.
 */
struct pop3_update_op {
	struct store_op op;
	struct account_id account;
	uint32_t mailbox;
	const struct uid_range *remove; /* ascending; copied by submit */
	size_t remove_count;
	const struct uid_range *retrieved;
	size_t retrieved_count;
	uint64_t out_removed;
};
void pop3_update_op_submit(struct store_reader *reader, struct pop3_update_op *op);

/* The rule of accounts that neither have one nor their domain: the configuration's.
 * Any thread; without it such mail is kept. */
void pop3_rule_default_set(struct store *store, struct pop3_rule rule);

/* What is kept of a message: its own unique id, or the null slice. */
struct pop3_record {
	struct slice uidl;   /* valid until the reader's end */
	int64_t retrieved_s; /* when it was first fetched and kept by a rule of days; 0 */
};
/* NOT_FOUND: nothing is kept of it, it has the default form. */
enum status pop3_record_get(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, uint32_t uid, struct pop3_record *out) MUST_USE;
/* All of a mailbox by ascending uid, in one scan; fn returns false to stop. */
enum status pop3_record_each(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, bool (*fn)(uint32_t uid, const struct pop3_record *r, void *arg),
    void *arg) MUST_USE;

#endif
