/*
 * The part tree of a message: what is where, in bytes.  Pure; nothing is decoded here.
 * Depth and count are limited: below MIME_DEPTH_MAX or after MIME_PARTS_MAX a part is
 * taken as a leaf, so that a hostile message still has a (shallow) structure.
 */
#ifndef TEXT_MIME_H
#define TEXT_MIME_H

#include "text/header.h"

enum {
	MIME_DEPTH_MAX = 50,   /* levels */
	MIME_PARTS_MAX = 1000, /* parts */
};

enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE };

struct mime_part {
	enum mime_kind kind;
	uint64_t header_offset; /* of the part's header block in the message */
	uint64_t header_len;    /* with the empty line */
	uint64_t body_offset;
	uint64_t body_len; /* without the CRLF that belongs to the boundary */
	uint32_t body_lines;
	struct header_value
	    content_type; /* default text/plain; charset=us-ascii left out */
	bool content_type_given;
	/* The same two with their parameters as written (see header_value_parse_written).
	 */
	struct header_value content_type_written;
	struct header_value disposition_written;
	struct slice encoding; /* lower case; "7bit" by default */
	struct slice id;       /* Content-ID as written, null when absent */
	struct slice description;
	struct slice md5;
	struct slice location;
	struct slice language;           /* Content-Language value, raw */
	struct header_value disposition; /* type null when absent */
	struct mime_part *parent;
	struct mime_part *child; /* first; of a message: its one body */
	struct mime_part *next;  /* sibling */
	uint32_t index;          /* number in document order, root 0 */
};

/* Parses the whole message (CRLF or LF line ends).  Never null; the tree and what it
 * points to lie in the arena, which must allow MIME_ARENA_MAX bytes. */
enum { MIME_ARENA_MAX = 16 * 1024 * 1024 };
struct mime_part *mime_parse(
    struct slice message, struct arena *arena, uint32_t *out_count);

/* The part of an IMAP section number ("1.2.3" as numbers, RFC 9051 section 6.4.5.1), or
 * null.  Zero numbers: the root.  Inside a message/rfc822 part numbers go on into its
 * body; a non-multipart message has part 1. */
struct mime_part *mime_part_find(
    struct mime_part *root, const uint32_t *numbers, size_t count);

/* Decodes a leaf's transfer encoding (base64, quoted-printable, else as it is). */
void mime_body_decode(
    const struct mime_part *part, struct slice message, struct buf *out);

#endif
