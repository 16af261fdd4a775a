/*
 * UTF-8 pieces that files of common/text share.  Pure.
 */
#ifndef TEXT_UTF8_INT_H
#define TEXT_UTF8_INT_H

#include "base/buf.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Length of the valid character at the front and its code point; 0 when the bytes are
 * not valid (or there are none). */
size_t utf8_next(struct slice s, uint32_t *out);
/* Writes a code point, at most four bytes; returns how many. */
size_t utf8_put(uint32_t c, char *out);
/* Appends with every run of invalid bytes replaced by one U+FFFD. */
void utf8_append_valid(struct slice in, struct buf *out);
/* At most `max` bytes, cut before a character rather than inside it. */
struct slice utf8_cut(struct slice s, size_t max);

#endif
