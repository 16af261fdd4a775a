/*
 * Annotations of mailboxes and of the account (IMAP METADATA, RFC 5464): values under
 * names like "/private/comment".
 *
 * A mailbox's annotations hang on its number: they follow a rename and go with a
 * deletion.  Shared ones have one value; private ones have one value for each user of the
 * mailbox.  Mailbox METADATA_ACCOUNT stands for the account itself.
 *
 * Names come checked and in lower case (the IMAP daemon's work); the store only looks at
 * their length.
 */
#ifndef STORE_METADATA_H
#define STORE_METADATA_H

#include "store/store.h"

enum {
	METADATA_ACCOUNT = 0,         /* instead of a mailbox's number */
	METADATA_ENTRY_MAX = 255,     /* bytes of a name */
	METADATA_VALUE_MAX = 32768,   /* bytes of a value */
	METADATA_COUNT_MAX = 100,     /* entries of a mailbox: shared, and of each user */
	METADATA_ENTRIES_MAX = 10000, /* entries of all mailboxes of an account */
	METADATA_BYTES_MAX = 16 << 20, /* bytes of all names and values of an account */
	METADATA_SET_MAX = METADATA_COUNT_MAX, /* changes of one op */
};

struct metadata_item {
	uint32_t mailbox;
	struct account_id user; /* whose private entry; zeros: shared */
	struct slice entry;
	struct slice value; /* borrows the snapshot */
	uint64_t change;    /* grows with every change in the account */
};

/* The entries of one mailbox, of one scope: those of `user`, or shared ones (zeros), in
 * the order of their names.  fn returns false to stop. */
enum status metadata_each(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, struct account_id user,
    bool (*fn)(const struct metadata_item *item, void *arg), void *arg) MUST_USE;
/* Everything in the account, by mailbox, user and name. */
enum status metadata_each_all(struct store_reader *reader, struct account_id account,
    bool (*fn)(const struct metadata_item *item, void *arg), void *arg) MUST_USE;
/* NOT_FOUND when there is no such entry. */
enum status metadata_get(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, struct account_id user, struct slice entry,
    struct slice *out_value) MUST_USE;
/* The number of the last change; 0: there was none.  One look-up. */
enum status metadata_last_change(
    struct store_reader *reader, struct account_id account, uint64_t *out) MUST_USE;

struct metadata_change {
	bool shared;
	struct slice entry; /* the whole name */
	struct slice value; /* null: the entry goes, no matter if it was there */
};

/* All changes or none, in their order.  NOT_FOUND: no such mailbox; LIMIT: too many
 * entries, or too many bytes of them; INVALID: a name or value above its limit; EXISTS:
 * another mailbox has the use. */
struct metadata_op {
	struct store_op op;
	struct account_id account;
	uint32_t mailbox;       /* or METADATA_ACCOUNT */
	struct account_id user; /* whose the private entries are */
	const struct metadata_change *changes;
	size_t count;
	bool
	    set_use; /* the mailbox's special uses are changed too (RFC 6154 section 4) */
	uint32_t use;        /* enum mailbox_use bits */
	uint64_t out_change; /* the number of this change */
};
void metadata_op_submit(struct store_reader *reader, struct metadata_op *op);

#endif
