/*
 * Names to mailboxes: the session's own, those of other accounts of the domain ("Other
 * Users/<login>/<name>") and those of the domain ("Shared/<name>"), with what the session
 * may do there.
 *
 * Every command that takes a mailbox name goes through imap_box_find, so that rights are
 * looked at in one place.  RFC 4314 section 4 says which; section 6: what one may not
 * see is not there.
 */
#ifndef IMAPD_IMAP_BOX_H
#define IMAPD_IMAP_BOX_H

#include "store/acl.h"
#include "store/mailbox.h"

struct imap_session;
struct imap_command;

#define IMAP_NS_OTHERS "Other Users/"
#define IMAP_NS_SHARED "Shared/"

enum {
	IMAP_BOX_RIGHTS_TEXT = ACL_RIGHTS_TEXT_MAX,
	/* MYRIGHTS needs any of these (RFC 4314 section 4). */
	IMAP_BOX_ANY =
	    ACL_LOOKUP | ACL_READ | ACL_INSERT | ACL_CREATE | ACL_DELETE | ACL_ADMIN,
	/* With any of these SELECT says READ-WRITE: all flags are shared (section 5.2).
	 */
	IMAP_BOX_WRITES = ACL_INSERT | ACL_EXPUNGE | ACL_SEEN | ACL_WRITE | ACL_TRASH,
	IMAP_BOX_FLAGS = ACL_SEEN | ACL_WRITE | ACL_TRASH,
};

struct imap_box {
	struct account_id account; /* whose it is */
	struct slice owner;        /* its login; null: the session's own */
	struct slice path;         /* as the client names it, in UTF-8 */
	struct slice name;         /* in the account */
	uint16_t rights;           /* enum acl_right bits; own: all */
	struct mailbox_info info;  /* its name is the path */
};

static inline bool
imap_box_is_own(const struct imap_box *box)
{
	return box->owner.ptr == NULL;
}

/* The flags that may be changed with these rights; \*out_keywords: keywords too. */
uint8_t imap_box_flags(uint16_t rights, bool *out_keywords);

/* Whose a name is, though there may be no mailbox of that name: account, owner, path,
 * name.  NOT_FOUND: in a namespace, but nobody's. */
enum status imap_box_place(
    struct imap_session *s, struct slice path, struct imap_box *out) MUST_USE;
/* The mailbox of a decoded name, when the session has all the rights in `needs`.
 * NOT_FOUND: there is none, or none that may be seen; DENIED: it may be seen. */
enum status imap_box_find(struct imap_session *s, struct slice path, uint16_t needs,
    struct imap_box *out) MUST_USE;
/* The same with any of the rights in `any`. */
enum status imap_box_find_any(struct imap_session *s, struct slice path, uint16_t any,
    struct imap_box *out) MUST_USE;
/* The right k at the nearest parent that there is, for a mailbox to be made; own: OK.
 * As above; DENIED where nothing may be seen either, also for accounts that do not exist.
 */
enum status imap_box_may_create(
    struct imap_session *s, const struct imap_box *place) MUST_USE;
/* What the session may do in a mailbox of another account now. */
enum status imap_box_rights(struct imap_session *s, struct account_id account,
    uint32_t number, uint16_t *out) MUST_USE;

/* Has the session one of the rights in any mailbox of this other account? */
enum status imap_box_has_right(struct imap_session *s, struct account_id account,
    struct slice owner, uint16_t any, bool *out) MUST_USE;

/* Other accounts that may share something with the session's; more than do. */
enum status imap_box_each_owner(struct imap_session *s,
    bool (*fn)(struct account_id owner, void *arg), void *arg) MUST_USE;

/* Mailboxes of others that the session may see (l).  Slices are valid until the reader's
 * end or lie in the command arena.  fn returns false to stop. */
enum status imap_box_each_shared(struct imap_session *s,
    bool (*fn)(const struct imap_box *box, void *arg), void *arg) MUST_USE;

/* The selected mailbox, its name as the client knows it (in the command arena). */
enum status imap_box_selected(struct imap_session *s, struct mailbox_info *out) MUST_USE;

/* Is it in one of the other namespaces (or their root)? */
bool imap_box_is_foreign(struct imap_session *s, struct slice path);

/* Another account's login to its id, when this session's domain (or, by configuration,
 * everybody) may share with it. */
enum status imap_box_account(struct imap_session *s, struct slice login,
    struct account_id *out, struct slice *out_login) MUST_USE;

#endif
