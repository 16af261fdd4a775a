/*
 * Arguments of COPY, MOVE and UID EXPUNGE, and copying into another account's mailbox.
 * RFC 9051 sections 6.4.7, 6.4.8, 6.4.9.
 */
#ifndef IMAPD_IMAP_CMD_COPY_H
#define IMAPD_IMAP_CMD_COPY_H

#include "imapd/imap_cmd.h"
#include "imapd/imap_seqset.h"

struct imap_box;

enum {
	IMAP_COPYUID_MAX = 8 * 1024 * 1024, /* bytes of a COPYUID code */
	IMAP_ACROSS_MESSAGES_MAX = 1000,    /* of one COPY into another account */
	IMAP_ACROSS_TOTAL_FACTOR = 4, /* times imap.max_append_size: octets of them all */
	IMAP_ACROSS_TURN_BYTES = 1 << 20, /* read in one turn */
};

struct imap_copy_args {
	struct imap_seqset set;
	bool has_set;         /* false for EXPUNGE without UID */
	struct slice mailbox; /* as sent; null for EXPUNGE */
};

/* "COPYUID validity source target" (RFC 4315 section 3); null when nothing was copied. */
struct slice imap_copyuid_code(struct imap_session *s, uint32_t uidvalidity,
    const uint32_t *source, const uint32_t *target, size_t count);
/* RFC 7162 section 3.2.10: the tagged OK tells what has become of the modseq. */
enum cmd_result imap_copy_finish(
    struct imap_session *s, struct imap_command *cmd, uint64_t modseq, const char *text);
/* COPY or MOVE of the selected mailbox's `ranges` into a mailbox of another account: the
 * messages are appended there, and for MOVE expunged here when that is committed.  A
 * crash between leaves them in both. */
enum cmd_result imap_copy_across(struct imap_session *s, struct imap_command *cmd,
    const struct imap_box *target, const struct imap_uid_ranges *ranges, bool move);

#endif
