/*
 * IMAP URLs of messages and their parts, relative to the account: CATENATE's.
 *
 *	/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=1.MIME/;PARTIAL=0.1024
 *	;UID=20                                (the selected mailbox's)
 *
 * RFC 5092 section 11, RFC 4469 section 3.  Absolute URLs, access to other servers and
 * URLAUTH are not taken.  Pure.
 */
#ifndef IMAPD_IMAP_URL_H
#define IMAPD_IMAP_URL_H

#include "imapd/imap_fetch_parse.h"

struct imap_url {
	struct slice mailbox; /* decoded, UTF-8; null: the selected one */
	uint32_t uidvalidity; /* 0: not given */
	uint32_t uid;
	struct imap_fetch_body section; /* with any partial */
};

/* Texts lie in the arena.  False: not such a URL. */
bool imap_url_parse(struct slice text, struct arena *arena, struct imap_url *out);

#endif
