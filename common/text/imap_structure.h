/*
 * IMAP's texts about a message: ENVELOPE, BODY and BODYSTRUCTURE (RFC 9051 section
 * 7.5.2), written from header fields and the part tree.  Pure; the bytes are ready to be
 * sent, literals included.
 */
#ifndef TEXT_IMAP_STRUCTURE_H
#define TEXT_IMAP_STRUCTURE_H

#include "text/address.h"
#include "text/mime.h"

struct address_array {
	struct list_address *list;
	size_t count;
};

/* The fields of a header block that ENVELOPE and the sort and thread keys need.  Slices
 * borrow the block (values as in header_field) or lie in the arena; null: no such field.
 * Of repeated text fields the first counts; repeated address fields are one list. */
struct envelope_fields {
	struct slice date, subject, in_reply_to, message_id, references;
	struct address_array from, sender, reply_to, to, cc, bcc;
};
void envelope_fields_parse(
    struct slice block, struct arena *arena, struct envelope_fields *out);

/* A string as IMAP sends it: quoted, or a literal when it has bytes over 127, line ends,
 * much to escape or is long; NUL becomes "?".  nstring writes NIL for the null slice. */
void imap_string_write(struct slice s, struct buf *out);
void imap_nstring_write(struct slice s, struct buf *out);

/* "(date subject from sender reply-to to cc bcc in-reply-to message-id)". */
void imap_envelope_write(const struct envelope_fields *fields, struct buf *out);

/* BODYSTRUCTURE (`extended`) or BODY of the tree.  `bare` leaves out what a hostile
 * message can blow up: parameters, texts, inner envelopes; at most
 * IMAP_STRUCTURE_BARE_MAX bytes for MIME_PARTS_MAX parts. */
enum { IMAP_STRUCTURE_BARE_MAX = 512 * 1024 };
void imap_structure_write(const struct mime_part *root, struct slice message,
    bool extended, bool bare, struct buf *out);

#endif
