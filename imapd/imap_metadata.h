/*
 * Annotations as imapd sees them (RFC 5464): writing METADATA responses, and telling a
 * session of changes that others made, when it asked for it by ENABLE or by NOTIFY's
 * MailboxMetadataChange and ServerMetadataChange (RFC 5465 sections 5.6 and 5.7).
 *
 * What has changed is found by comparing the annotations with the picture of them that
 * was told last, as NOTIFY does for mailboxes.
 */
#ifndef IMAPD_IMAP_METADATA_H
#define IMAPD_IMAP_METADATA_H

#include "imapd/imap_metadata_parse.h"
#include "store/mailbox.h"

struct imap_session;
struct imap_metadata_watch;

enum {
	IMAP_METADATA_PICTURE_MAX = 8 << 20, /* bytes of one picture */
};

/* "* METADATA name (entry value ...)" of one mailbox of `account`, or of the server with
 * null.
 * *out_longest: the size of the largest value that MAXSIZE kept back, or 0. */
enum status imap_metadata_write(struct imap_session *s, struct account_id account,
    const struct mailbox_info *box, const struct imap_metadata_args *args,
    uint64_t *out_longest) MUST_USE;

/* From now on changes are told; again: no matter. */
enum status imap_metadata_watch(struct imap_session *s) MUST_USE;
/* No longer, unless it is still wanted. */
void imap_metadata_unwatch(struct imap_session *s);
void imap_metadata_watch_free(struct imap_metadata_watch **watch);
/* Tells what has changed, but not what `own` (null: none) did.  At a command's end, in
 * IDLE, with NOTIFY between commands. */
void imap_metadata_tell(struct imap_session *s, const struct metadata_op *own);
/* The same when output has drained. */
void imap_metadata_again(struct imap_session *s);

#endif
