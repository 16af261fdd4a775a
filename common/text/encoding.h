/*
 * Byte encodings of mail: base64, quoted-printable, UTF-8, modified UTF-7 (RFC 3501
 * section 5.1.3), percent and xtext.  Pure.
 */
#ifndef TEXT_ENCODING_H
#define TEXT_ENCODING_H

#include "base/buf.h"

/* Appends base64 without line breaks. */
void base64_encode(struct slice in, struct buf *out);
/* Strict (RFC 4648 section 4: padding required, no other bytes); for SASL. */
bool base64_decode_strict(struct slice in, struct buf *out);
/* Lenient (RFC 2045 section 6.8: skips what is not of the alphabet); for MIME bodies. */
void base64_decode_lenient(struct slice in, struct buf *out);
/* Lenient decoding: bad escapes stay as they are, soft breaks and trailing blanks go. */
void qp_decode(struct slice in, struct buf *out);

/* RFC 3629: no overlong forms, no surrogates, at most U+10FFFF. */
bool utf8_is_valid(struct slice s);
bool ascii_only(struct slice s);
/* NFC; false when not valid UTF-8. */
bool utf8_to_nfc(struct slice in, struct buf *out);
/* Full Unicode case folding and compatibility decomposition, for comparing and searching:
 * what i;unicode-casemap (RFC 5051) takes as equal is equal here.  Invalid bytes become
 * U+FFFD. */
void utf8_casefold(struct slice in, struct buf *out);
/* What to compare by octets for the order of i;unicode-casemap: the same in title case,
 * so that letters come before "[" and "_". */
void utf8_collation_key(struct slice in, struct buf *out);

/* IMAP's modified UTF-7 to UTF-8 and back.  Decoding is strict: false for text that the
 * encoder would not have made. */
bool mutf7_decode(struct slice in, struct buf *out);
void mutf7_encode(struct slice utf8, struct buf *out);

/* xtext (RFC 3461 section 4). */
bool xtext_decode(struct slice in, struct buf *out);
void xtext_encode(struct slice in, struct buf *out);

/* "\x{HEX}" sequences of a "utf-8" address as the characters that they stand for (RFC
 * 6533 section 3); false, with nothing to be used in `out`, when one is damaged. */
bool unitext_decode(struct slice in, struct buf *out);

#endif
