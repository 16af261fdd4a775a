/*
 * The octets that an IMAP URL means in the session's account (RFC 4469 section 3): as
 * FETCH BODY[…] would give them, but \Seen is not set.
 */
#ifndef IMAPD_IMAP_URL_PART_H
#define IMAPD_IMAP_URL_PART_H

#include "imapd/imap_int.h"

struct imap_url_part {
	struct slice bytes; /* until close */
	struct body_handle body;
	struct buf made; /* a choice of header fields */
};

/* INVALID: not a URL of ours; NOT_FOUND: there is nothing of that name, UID or section.
 */
enum status imap_url_part_open(struct imap_session *s, struct slice url,
    struct arena *arena, struct imap_url_part *out) MUST_USE;
void imap_url_part_close(struct imap_url_part *part);

/* "BADURL /x;UID=1" as a C string in the arena; octets that a code may not have become
 * "?" (RFC 4469 section 5). */
struct slice imap_url_bad_code(struct slice url, struct arena *arena);

#endif
