/*
 * Which bytes of a message a section means (RFC 9051 section 6.4.5.1), from its index
 * record; and header subsets.  Pure.
 */
#ifndef IMAPD_IMAP_SECTION_H
#define IMAPD_IMAP_SECTION_H

#include "imapd/imap_fetch_parse.h"
#include "text/message_index.h"

struct imap_section_range {
	uint64_t offset; /* in the message */
	uint64_t len;
	uint8_t encoding; /* of the part: struct index_part */
};

enum imap_section_result {
	IMAP_SECTION_FOUND,
	IMAP_SECTION_NIL,     /* there is no such part, or it has no such text */
	IMAP_SECTION_DAMAGED, /* the record does not fit the message */
};

/* The section's bytes before any partial, decoding or choice of header fields: for
 * HEADER.FIELDS the whole header block.  `index` may be null for BODY[]. */
enum imap_section_result imap_section_find(const struct message_index *index,
    uint64_t message_size, const struct imap_fetch_body *body,
    struct imap_section_range *out);
/* Cuts [*offset, *offset + *len) to the partial; behind the end nothing is left. */
void imap_section_partial(
    const struct imap_fetch_body *body, uint64_t *offset, uint64_t *len);
/* The header lines that HEADER.FIELDS or .NOT picks, and the empty line. */
void imap_section_header_fields(
    const struct imap_fetch_body *body, struct slice block, struct buf *out);

#endif
