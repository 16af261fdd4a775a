/*
 * Access control lists of mailboxes (IMAP ACL, RFC 4314): who besides the owner may do
 * what.  The owner may everything, always, and stands in no list.
 *
 * A list hangs on the mailbox's number in the owner's partition: it stays with a rename
 * and goes with a deletion; a new mailbox takes its parent's over.  Accounts are named by
 * their ids, so that a later account of the same name gains nothing.  The directory keeps
 * who is shared with (KEY_SHARE): a superset, written before the list is, so that looking
 * for what others share is a look-up and not a search.
 */
#ifndef STORE_ACL_H
#define STORE_ACL_H

#include "store/store.h"

enum acl_right {
	ACL_LOOKUP = 1 << 0,  /* l */
	ACL_READ = 1 << 1,    /* r */
	ACL_SEEN = 1 << 2,    /* s */
	ACL_WRITE = 1 << 3,   /* w */
	ACL_INSERT = 1 << 4,  /* i */
	ACL_POST = 1 << 5,    /* p */
	ACL_CREATE = 1 << 6,  /* k */
	ACL_DELETE = 1 << 7,  /* x */
	ACL_TRASH = 1 << 8,   /* t: \Deleted */
	ACL_EXPUNGE = 1 << 9, /* e */
	ACL_ADMIN = 1 << 10,  /* a */
	ACL_ALL = (1 << 11) - 1,
};

enum {
	ACL_ENTRIES_MAX = 200,    /* of one mailbox */
	ACL_RIGHTS_TEXT_MAX = 16, /* bytes of rights as text, with c and d and a NUL */
};

enum acl_who {
	ACL_WHO_ACCOUNT,
	ACL_WHO_ANYONE, /* every account of the owner's domain; so is AUTHENTICATED */
	ACL_WHO_AUTHENTICATED,
};

struct acl_entry {
	enum acl_who who;
	bool negative;        /* takes rights away that other entries give */
	struct account_id id; /* with ACL_WHO_ACCOUNT, else zeros */
	uint16_t rights;      /* enum acl_right bits, not 0 */
};

struct acl {
	size_t count;
	struct acl_entry at[ACL_ENTRIES_MAX];
};

/* "lrswipkxtecda" as RFC 4314 section 2.1.1 wants it: c with k or x, d with t or e. */
void acl_rights_write(uint16_t rights, char out[ACL_RIGHTS_TEXT_MAX]);
/* The other way, with c as k and x, d as t and e; false: a character is no right. */
bool acl_rights_read(struct slice text, uint16_t *out);

/* "anyone", "authenticated" or a login, with "-" before it for a negative entry.
 * *out_login: with ACL_WHO_ACCOUNT what is to be looked up for the id. */
void acl_who_read(struct slice text, struct acl_entry *out, struct slice *out_login);
/* "lrs", "+lr", "-w" (RFC 4314 section 3.1). */
enum acl_mode { ACL_MODE_SET, ACL_MODE_ADD, ACL_MODE_REMOVE };
bool acl_change_read(struct slice text, enum acl_mode *out_mode, uint16_t *out_rights);

/* What a list gives to an account that is not the owner. */
uint16_t acl_rights(const struct acl *acl, struct account_id user, bool same_domain);

/* An empty list where there is none. */
enum status acl_get(struct store_reader *reader, struct account_id owner,
    uint32_t mailbox, struct acl *out) MUST_USE;
/* All lists of an account.  fn returns false to stop. */
enum status acl_each(struct store_reader *reader, struct account_id owner,
    bool (*fn)(uint32_t mailbox, const struct acl *acl, void *arg), void *arg) MUST_USE;
/* Accounts that may share something with `user`, each once; the lists say whether they
 * do.  `domain` is the user's. */
enum status acl_sharers_each(struct store_reader *reader, struct account_id user,
    struct slice domain, bool (*fn)(struct account_id owner, void *arg),
    void *arg) MUST_USE;

/* Changes one entry; one without rights goes.  NOT_FOUND: no such mailbox; LIMIT: too
 * many entries. */
struct acl_op {
	struct store_op op;
	struct account_id account; /* the owner */
	struct slice domain;       /* the owner's */
	uint32_t mailbox;
	enum acl_mode mode;
	struct acl_entry entry; /* rights may be 0 */
};
void acl_op_submit(struct store_reader *reader, struct acl_op *op);

/* An account is gone: its entries leave all lists.  Waits.  For the command line. */
enum status acl_forget(struct store_reader *reader, struct account_id user) MUST_USE;

#endif
