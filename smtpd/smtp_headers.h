/*
 * The header block of a message on its way in: what it has, whether it loops, who it says
 * it is from, and what a submission server puts right (RFC 6409 section 8).  Pure.  Also
 * the check of message text that came by BDAT, whose lines no framer has looked at.
 *
 * A header block here ends in CRLF lines and includes its empty line.
 */
#ifndef SMTPD_SMTP_HEADERS_H
#define SMTPD_SMTP_HEADERS_H

#include "base/arena.h"
#include "base/buf.h"

enum {
	SMTP_HEADER_MAX = 256 * 1024, /* octets of a header block */
	SMTP_DELIVERED_MAX = 100,     /* Delivered-To fields that are looked at */
	SMTP_FROM_MAX = 100,          /* addresses in From and Sender that are checked */
	SMTP_TEXT_LINE_MAX = 1024 * 1024, /* octets of a line of text; RFC 5322 has 998 */
	SMTP_MESSAGE_ID_MAX = 998,        /* octets of a Message-ID that are remembered */
};

/* Where the block ends, counted behind its empty line; SIZE_MAX when that has not come.
 * `from`: bytes already searched. */
size_t smtp_header_end(struct slice bytes, size_t from);

/* Octets of an mbox "From " line at the front, which is no field; else 0. */
size_t smtp_header_mbox_line(struct slice block);
/* True when the block begins with a field.  If not, the message has no header; when it
 * begins with a blank, what is put before it needs an empty line behind (else that line
 * would continue our last field). */
bool smtp_header_is_field(struct slice block);

struct smtp_header_facts {
	size_t fields;
	unsigned received; /* Received fields */
	bool has_date;
	unsigned from;           /* From fields */
	unsigned bcc;            /* Bcc and Resent-Bcc fields */
	struct slice message_id; /* of the first one, trimmed, borrows; null when none */
	unsigned tls_required;   /* TLS-Required fields (RFC 8689 section 3) */
	bool tls_optional;       /* one says "No" */
	unsigned campaigns;      /* X-Postroom-Campaign fields */
	struct slice campaign;   /* of the first one, trimmed, borrows; null when none */
	bool too_many;           /* more fields than are looked at */
	bool has_8bit;
};
void smtp_header_scan(struct slice block, struct smtp_header_facts *out);

/* Calls fn with each Delivered-To (trimmed, without <>) until it returns true, for the
 * first SMTP_DELIVERED_MAX of them; true when fn did. */
bool smtp_header_delivered_to(
    struct slice block, bool (*fn)(struct slice address, void *arg), void *arg);

/* Calls fn for each address of From and Sender fields (local part unquoted, domain an
 * A-label in lower case) until it returns false.  False when fn did, or when a From or
 * Sender field holds no address, one that cannot be read, or more than SMTP_FROM_MAX are
 * there. */
bool smtp_header_senders(struct slice block, struct arena *arena,
    bool (*fn)(struct slice local, struct slice domain, void *arg), void *arg);

/* Appends the block without what a submitter says to us alone: its Bcc and Resent-Bcc
 * fields (RFC 5322 section 3.6.3) and X-Postroom-Campaign. */
void smtp_header_without_private(struct slice block, struct buf *out);

/* Appends the fields that the facts say are missing: Date, Message-ID, and From when
 * `sender` is not empty. */
void smtp_header_add_missing(const struct smtp_header_facts *facts, int64_t now_s,
    int zone_min, struct slice id, struct slice hostname, struct slice sender,
    struct buf *out);

/* ---- text that came by BDAT (RFC 3030: without BINARYMIME it is lines as in DATA) ----
 */
struct smtp_text {
	bool after_cr;
	bool bare_cr, bare_lf, nul, has_8bit; /* sticky */
	size_t line_len;
	size_t line_longest;
};
/* The result is the same however the bytes are cut. */
void smtp_text_feed(struct smtp_text *t, struct slice bytes);
/* No more bytes come. */
void smtp_text_end(struct smtp_text *t);

#endif
