/*
 * The first words of a message, for RFC 8970's PREVIEW.  Pure.
 */
#ifndef TEXT_PREVIEW_INT_H
#define TEXT_PREVIEW_INT_H

#include "text/mime.h"

enum { PREVIEW_CHARS_MAX = 200 /* characters, RFC 8970 section 3.1 */ };

/* Appends at most PREVIEW_CHARS_MAX characters of UTF-8 text, blanks collapsed, from the
 * first text part that is no attachment (plain before HTML); nothing when there is none.
 */
void preview_write(const struct mime_part *root, struct slice message, struct buf *out);

#endif
