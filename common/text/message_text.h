/*
 * A message's text as it is searched (RFC 9051 section 6.4.4): decoded to UTF-8 and
 * case-folded.  What SEARCH looks at and what the search index is made of are both made
 * here, so the index can never miss what the text holds.
 *
 * Header text: fields unfolded, encoded-words decoded, "name: value" and CRLF each. Body:
 * every text part (text/html is text like any other), and what is inside message parts
 * (their headers too), transfer encoding and charset decoded; parts are kept apart by
 * NUL.  Other leaves (images and the like) are not text.  MIME: the header text of the
 * parts.  Pure.
 */
#ifndef TEXT_MESSAGE_TEXT_H
#define TEXT_MESSAGE_TEXT_H

#include "text/header.h"
#include "text/message_index.h"

enum {
	MESSAGE_TEXT_MAX = 64 * 1024 * 1024,         /* bytes of one decoded text */
	MESSAGE_TEXT_SCRATCH_MAX = 32 * 1024 * 1024, /* bytes: header values */
};

struct message_text {
	struct buf header, body, mime; /* the texts */
	bool over;     /* sticky until reset: a limit was passed, a text is not whole */
	uint64_t work; /* bytes decoded since the caller set it to 0 */
	struct arena *scratch;
	struct buf raw, utf8; /* steps between */
};

void message_text_init(struct message_text *text);
void message_text_fini(struct message_text *text);
/* Forgets the message; memory of a big one is not kept for the next. */
void message_text_reset(struct message_text *text);
/* One field's value, appended to `out`. */
void message_text_value(struct message_text *text, struct slice value, struct buf *out);
/* One field with its name, as in the header text. */
void message_text_field(
    struct message_text *text, const struct header_field *field, struct buf *out);
/* Makes text->header of a header block. */
void message_text_header(struct message_text *text, struct slice block);
/* Makes text->body and text->mime. */
void message_text_body(
    struct message_text *text, const struct message_index *index, struct slice message);

#endif
