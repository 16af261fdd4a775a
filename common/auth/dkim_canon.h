/*
 * DKIM's canonical forms (RFC 6376 section 3.4): what of a message is hashed, so that
 * small changes on the way do no harm.  For signing and for verifying.  Pure.
 *
 * Text is taken as the relay sends it: CR, LF and CRLF each end a line.  The body's form
 * is made by a state machine, the same however the text is cut; memory does not grow with
 * it.
 */
#ifndef AUTH_DKIM_CANON_H
#define AUTH_DKIM_CANON_H

#include "base/buf.h"

enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED };

/* Gets the canonical text piece by piece; the bytes are lent during the call. */
typedef void (*dkim_sink_fn)(struct slice bytes, void *arg);

struct dkim_body {
	enum dkim_canon form;
	dkim_sink_fn sink;
	void *arg;
	bool last_cr;   /* an LF now belongs to it */
	bool space;     /* relaxed: blanks were seen that may be at the line's end */
	bool line_open; /* something of the line has been told */
	bool told;      /* anything has been told */
	uint64_t empty_lines; /* told only when text follows */
};
void dkim_body_init(
    struct dkim_body *body, enum dkim_canon form, dkim_sink_fn sink, void *arg);
void dkim_body_feed(struct dkim_body *body, struct slice bytes);
/* No more comes: completes the last line (sections 3.4.3 and 3.4.4). */
void dkim_body_end(struct dkim_body *body);

/* Appends one header field (its lines, with or without the last line end) in its form
 * (sections 3.4.1 and 3.4.2), with CRLF behind it. */
void dkim_field_canon(enum dkim_canon form, struct slice field, struct buf *out);

#endif
