/*
 * mbox files: where messages begin and end, quoted "From " lines, and the header fields
 * in which mail servers keep flags and UIDs.  Pure; works on the whole (mapped) file,
 * copies nothing.
 *
 * Variants: mboxrd and mboxo quote lines that begin with "From " (the first also those
 * that begin with ">From "), mboxcl has a Content-Length as well, mboxcl2 that alone.
 */
#ifndef TEXT_MBOX_H
#define TEXT_MBOX_H

#include "base/buf.h"

enum {
	MBOX_HEADER_MAX =
	    4 * 1024 * 1024, /* bytes of a header that fields are sought in */
	MBOX_KEYWORDS_MAX = 64,
};

enum mbox_quoting {
	MBOX_QUOTING_AUTO, /* as mboxrd, but mboxcl2 where a Content-Length shows it */
	MBOX_QUOTING_RD,
	MBOX_QUOTING_O,
	MBOX_QUOTING_NONE,
};

struct mbox_message {
	struct slice text; /* header and body as they stand in the file, without the From_
	                    * line and without the empty line behind the message */
	size_t header_len; /* of text, with the empty line that ends it */
	uint64_t offset;   /* of the From_ line */
	int64_t date_s;    /* the From_ line's */
	enum mbox_quoting quoting; /* never AUTO */
};

/* Is it a From_ line ("From " sender, date)?  Without its line end. */
bool mbox_from_line_parse(struct slice line, int64_t *out_date_s);
/* Does the file begin like an mbox?  An empty one does. */
bool mbox_is_one(struct slice file);
/* The message at *at, which moves behind it.  False at the end. */
bool mbox_next(
    struct slice file, enum mbox_quoting quoting, size_t *at, struct mbox_message *out);

/* ---- what servers keep in the header ---- */
enum mbox_flag {
	MBOX_SEEN = 1 << 0,
	MBOX_OLD = 1 << 1,
	MBOX_ANSWERED = 1 << 2,
	MBOX_FLAGGED = 1 << 3,
	MBOX_DELETED = 1 << 4,
	MBOX_DRAFT = 1 << 5,
};

struct mbox_meta {
	unsigned flags;       /* enum mbox_flag bits, of Status and X-Status */
	uint32_t uid;         /* X-UID; 0: none */
	uint32_t uidvalidity; /* X-IMAPbase or X-IMAP; 0: none */
	uint32_t uid_last;    /* of it */
	struct slice uidl;    /* X-UIDL, or null */
	struct slice keywords[MBOX_KEYWORDS_MAX]; /* X-Keywords */
	size_t keyword_count;
	bool is_internal; /* no message: where c-client keeps a mailbox's UIDs */
	/* Ours ("X-Postroom: lines=N ...", the first field): the fields above stand in
	 * one block of N lines in front, and only there count. */
	bool is_ours;
	uint32_t block_lines;
	bool is_exact; /* line ends are the message's own */
	bool is_cut;   /* its last line end is not the message's */
	int64_t date_s;
	int zone_min;
	size_t block_len; /* of that block */
};
void mbox_meta_parse(const struct mbox_message *message, struct mbox_meta *out);

/* The bytes of the message, piece by piece: without the fields above, with quoting
 * undone.  Line ends stay as they are.  A cursor begins at 0; false at the end. */
bool mbox_piece_next(const struct mbox_message *message, const struct mbox_meta *meta,
    size_t *cursor, struct slice *out);

#endif
