/*
 * FETCH and UID FETCH: sequence set, items, modifiers.  Pure.
 *
 * RFC 9051 section 6.4.5, RFC 3516 (BINARY), RFC 7162 (MODSEQ, CHANGEDSINCE, VANISHED),
 * RFC 8474 (EMAILID, THREADID), RFC 8514 (SAVEDATE), RFC 8970 (PREVIEW), RFC 9394
 * (PARTIAL).
 */
#ifndef IMAPD_IMAP_FETCH_PARSE_H
#define IMAPD_IMAP_FETCH_PARSE_H

#include "imapd/imap_seqset.h"

enum {
	IMAP_FETCH_BODIES_MAX = 100,        /* sections asked for in one command */
	IMAP_FETCH_HEADER_FIELDS_MAX = 500, /* names in one HEADER.FIELDS list */
};

/* Items that are answered from records, as bits. */
enum imap_fetch_item {
	IMAP_FETCH_FLAGS = 1 << 0,
	IMAP_FETCH_UID = 1 << 1,
	IMAP_FETCH_INTERNALDATE = 1 << 2,
	IMAP_FETCH_SIZE = 1 << 3, /* RFC822.SIZE */
	IMAP_FETCH_ENVELOPE = 1 << 4,
	IMAP_FETCH_BODY = 1 << 5, /* BODY without "[": the short structure */
	IMAP_FETCH_BODYSTRUCTURE = 1 << 6,
	IMAP_FETCH_MODSEQ = 1 << 7,
	IMAP_FETCH_EMAILID = 1 << 8,
	IMAP_FETCH_THREADID = 1 << 9,
	IMAP_FETCH_SAVEDATE = 1 << 10,
	IMAP_FETCH_PREVIEW = 1 << 11,
};

enum imap_section_text {
	IMAP_SECTION_ALL, /* BODY[], BODY[1.2] */
	IMAP_SECTION_HEADER,
	IMAP_SECTION_HEADER_FIELDS,
	IMAP_SECTION_HEADER_FIELDS_NOT,
	IMAP_SECTION_TEXT,
	IMAP_SECTION_MIME,
};

enum imap_fetch_body_kind {
	IMAP_FETCH_SECTION, /* BODY[…], and RFC822, RFC822.HEADER, RFC822.TEXT */
	IMAP_FETCH_BINARY,
	IMAP_FETCH_BINARY_SIZE,
};

struct imap_fetch_body {
	enum imap_fetch_body_kind kind;
	uint32_t *numbers;
	size_t number_count;
	enum imap_section_text text;
	struct slice *fields; /* header field names */
	size_t field_count;
	bool peek; /* does not set \Seen */
	bool partial;
	uint64_t offset; /* of a partial, octets */
	uint64_t length;
	struct slice label; /* as it is sent back: "BODY[1.2.HEADER]<0>" */
};

struct imap_fetch_args {
	bool uid;
	struct imap_seqset set;
	uint32_t items; /* enum imap_fetch_item bits */
	bool asked_uid; /* UID is among the items that were written */
	struct imap_fetch_body *bodies;
	size_t body_count;
	bool has_changedsince;
	uint64_t changedsince;
	bool vanished;
	bool has_partial; /* RFC 9394: counted from the end when from_end */
	bool partial_from_end;
	uint32_t partial_first; /* 1 is the first; first <= last */
	uint32_t partial_last;
};

/* "(UID FLAGS)" or one item, into args' items and bodies. */
bool imap_fetch_items_lex(struct imap_lex *lex, struct imap_fetch_args *args);
/* What stands between BODY's brackets, by itself ("1.2.MIME", or nothing). */
bool imap_fetch_section_parse(
    struct slice text, struct arena *arena, struct imap_fetch_body *out);

#endif
