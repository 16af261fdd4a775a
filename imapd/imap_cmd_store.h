/*
 * Arguments of STORE and UID STORE.  RFC 9051 section 6.4.6, RFC 7162 section 3.1.3.
 */
#ifndef IMAPD_IMAP_CMD_STORE_H
#define IMAPD_IMAP_CMD_STORE_H

#include "imapd/imap_seqset.h"

struct imap_store_args {
	struct imap_seqset set;
	enum flags_mode mode;
	bool silent;
	struct imap_flags flags;
	bool has_unchangedsince;
	uint64_t unchangedsince;
};

/* What s->told_modseq is after the op: its mod-sequence, or 0 when it changed nothing;
 * the mailbox's then is of somebody else's change, which is still to be told. */
uint64_t imap_store_told(const struct flags_op *op);

#endif
