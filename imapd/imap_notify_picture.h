/*
 * NOTIFY's picture of the mailboxes that a session may watch, as it was told of last: its
 * own, and those of others with the rights l and r (RFC 5465 section 5).
 */
#ifndef IMAPD_IMAP_NOTIFY_PICTURE_H
#define IMAPD_IMAP_NOTIFY_PICTURE_H

#include "store/mailbox.h"

struct imap_session;

enum {
	IMAP_NOTIFY_BOXES_MAX = 5000,      /* mailboxes watched by one session */
	IMAP_NOTIFY_OWNERS_MAX = 200,      /* other accounts watched by one session */
	IMAP_NOTIFY_PICTURE_MAX = 4 << 20, /* bytes of one picture of them */
};

struct imap_notify_box {
	struct account_id account; /* whose it is */
	struct mailbox_info info;  /* its name as the client knows it */
};

struct imap_notify_picture {
	struct arena *arena;
	struct imap_notify_box *boxes; /* by name: "INBOX" first, then by bytes */
	uint32_t *by_number; /* indices of those that exist, by account, number */
	size_t count, numbered;
	struct account_id *owners; /* others that may share something with the user */
	size_t owner_count;
};

/* Takes one; `shared`: with what others share, else `owners` is empty.  LIMIT: more than
 * the limits above allow. */
enum status imap_notify_picture_take(
    struct imap_session *s, bool shared, struct imap_notify_picture *out) MUST_USE;
void imap_notify_picture_free(struct imap_notify_picture *picture);

/* Null when it is not there. */
const struct imap_notify_box *imap_notify_picture_find(
    const struct imap_notify_picture *picture, struct account_id account,
    uint32_t number);
/* Also of names that are only subscribed, or only parents. */
const struct imap_notify_box *imap_notify_picture_named(
    const struct imap_notify_picture *picture, struct slice name);

#endif
