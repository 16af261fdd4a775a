/*
 * Arguments of COPY, MOVE and UID EXPUNGE.  RFC 9051 sections 6.4.7, 6.4.8, 6.4.9.
 */
#ifndef IMAPD_IMAP_CMD_COPY_H
#define IMAPD_IMAP_CMD_COPY_H

#include "imapd/imap_seqset.h"

struct imap_copy_args {
	struct imap_seqset set;
	bool has_set;         /* false for EXPUNGE without UID */
	struct slice mailbox; /* as sent; null for EXPUNGE */
};

#endif
