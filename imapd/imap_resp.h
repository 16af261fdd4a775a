/*
 * What is sent: the tagged and untagged forms, response codes, quoting and literals, and
 * the only map from enum status to IMAP replies.  The writers append to a struct buf and
 * are pure; imap_int.h has the session's output and imap_cmd_finish.
 * RFC 9051 section 7.1, RFC 5530, RFC 9208.
 */
#ifndef IMAPD_IMAP_RESP_H
#define IMAPD_IMAP_RESP_H

#include "base/buf.h"
#include "store/message.h"

enum imap_reply { IMAP_OK, IMAP_NO, IMAP_BAD };

/* The reply to a failed store call: NO with a response code ("[OVERQUOTA]", without the
 * brackets; "" for none) and a text. */
struct imap_status_reply {
	enum imap_reply reply;
	const char *code;
	const char *text;
};
const struct imap_status_reply *imap_resp_status(enum status status);

/* "string" when it fits quoted (no CR, LF, NUL, at most IMAP_QUOTED_MAX octets, and 8-bit
 * only when `utf8`), else a literal. */
enum { IMAP_QUOTED_MAX = 1024 };
void imap_resp_string(struct buf *out, struct slice s, bool utf8);
/* NIL for the null slice. */
void imap_resp_nstring(struct buf *out, struct slice s, bool utf8);
/* "{len}\r\n" or "~{len}\r\n". */
void imap_resp_literal_head(struct buf *out, uint64_t len, bool binary);
/* An atom when it may be one, else as imap_resp_string. */
void imap_resp_astring(struct buf *out, struct slice s, bool utf8);
/* A mailbox name kept in UTF-8: as it is when `utf8` (UTF8=ACCEPT or IMAP4rev2 is on),
 * else in modified UTF-7. */
void imap_resp_mailbox(struct buf *out, struct slice name, bool utf8);

/* System flags and keywords (names by bit, `keyword_count` of them) inside parentheses:
 * "(\Seen $Forwarded)".  `recent` adds \Recent. */
void imap_resp_flags(struct buf *out, uint8_t flags, uint64_t keywords,
    const struct slice *names, size_t keyword_count, bool recent);

/* Ids of RFC 8474 for what the store numbers: "M123", "F7". */
void imap_resp_emailid(struct buf *out, uint64_t email_id);
void imap_resp_mailboxid(struct buf *out, uint32_t number);

#endif
