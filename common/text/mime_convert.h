/*
 * A message made fit for a narrower way (RFC 6152 section 3, RFC 3030 section 3): parts
 * that hold what may not pass get the transfer encoding quoted-printable or base64,
 * everything else stays as it is, octet by octet.  Pure; streamed out in pieces.
 *
 * Header fields are never changed but Content-Transfer-Encoding (and what makes a message
 * without MIME one with it).
 */
#ifndef TEXT_MIME_CONVERT_H
#define TEXT_MIME_CONVERT_H

#include "text/mime.h"

enum {
	MIME_CONVERT_PIECE = 64 * 1024, /* bytes given to `write` at once, about */
	MIME_CONVERT_LINE_MAX = 998,    /* octets without CRLF, RFC 5322 section 2.1.1 */
};

enum mime_form {
	MIME_FORM_8BIT, /* lines that end in CRLF, without NUL; from binary */
	MIME_FORM_7BIT, /* of ASCII alone, too, but for raw octets in header fields */
};

enum mime_convert_result {
	MIME_CONVERT_DONE,
	MIME_CONVERT_IMPOSSIBLE, /* it would break a signature or the message's form */
	MIME_CONVERT_STOPPED,    /* `write` returned false */
};

/* Calls `write` with the converted message, in pieces (lent for the call).  With
 * IMPOSSIBLE some of it may have been written.  *out_has_8bit: what was written is not
 * ASCII. */
enum mime_convert_result mime_convert(struct slice message, enum mime_form form,
    bool (*write)(struct slice bytes, void *arg), void *arg, bool *out_has_8bit);

#endif
