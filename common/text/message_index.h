/*
 * What is derived from a message once, at delivery, off every transaction: ENVELOPE and
 * BODYSTRUCTURE ready to send, the part tree with byte ranges, the header block's length,
 * sort keys, thread references.  One encoded record (version byte first, CRC-32C last)
 * that can always be built again from the message; a record that does not decode is
 * rebuilt by whoever finds it.  Pure.
 */
#ifndef TEXT_MESSAGE_INDEX_H
#define TEXT_MESSAGE_INDEX_H

#include "text/mime.h"

enum {
	MESSAGE_INDEX_VERSION = 1,
	MESSAGE_INDEX_MAX = 4 * 1024 * 1024, /* bytes of an encoded record */
};

/* A part in the record, in document order (root first). */
struct index_part {
	uint64_t header_offset;
	uint64_t header_len;
	uint64_t body_offset;
	uint64_t body_len;
	uint16_t parent;  /* index; the root's is 0xffff */
	uint8_t kind;     /* enum mime_kind */
	uint8_t encoding; /* 0 identity, 1 base64, 2 quoted-printable, 3 unknown */
};

/* A decoded record; slices borrow the encoded bytes. */
struct message_index {
	struct slice envelope;      /* "(…)" as FETCH sends it */
	struct slice body;          /* BODY, non-extensible form */
	struct slice bodystructure; /* extensible form */
	int64_t date_s;             /* Date field, unix seconds; INT64_MIN when bad */
	int32_t date_zone_min;
	struct slice subject_key; /* base subject, casefolded (SORT SUBJECT, THREAD) */
	bool subject_is_reply;
	struct slice from_key, to_key,
	    cc_key; /* mailbox local part of the first address */
	struct slice from_display, to_display; /* SORT=DISPLAY, casefolded */
	struct slice message_id;               /* with <>, or null */
	struct slice references; /* ids with <>, oldest first, joined by spaces */
	struct slice preview;    /* at most 200 characters of text, UTF-8 */
	uint64_t header_len;     /* of the message's header block, with its empty line */
	uint32_t part_count;
	struct slice parts; /* encoded; see message_index_part */
};

/* Builds the record of a message and appends it to `out`.  With line ends of CRLF the
 * offsets and texts are exact for IMAP.  Never fails on odd messages; false only when
 * `out` overflows. */
bool message_index_build(struct slice message, struct buf *out);
/* Checks version and CRC; false: rebuild it. */
bool message_index_decode(struct slice record, struct message_index *out);
void message_index_part(
    const struct message_index *index, uint32_t number, struct index_part *out);
/* IMAP section numbers to the part's index; false when there is no such part. */
bool message_index_find(const struct message_index *index, const uint32_t *numbers,
    size_t count, uint32_t *out_number);

/* How many octets, 0 to 2, a message lacks for its last line to end in CRLF: what POP3
 * puts behind it, and what counts there (RFC 1939 sections 3 and 11). */
static inline unsigned
message_line_end_missing(struct slice message)
{
	if (message.len == 0)
		return 0;
	char last = message.ptr[message.len - 1];
	if (last == '\r')
		return 1;
	bool ended =
	    last == '\n' && message.len > 1 && message.ptr[message.len - 2] == '\r';
	return ended ? 0 : 2;
}

#endif
