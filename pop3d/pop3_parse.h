/*
 * POP3 command lines: keyword and arguments (RFC 1939 section 3, RFC 2449 section 4).
 * Pure; no allocation, everything borrows the line.
 */
#ifndef POP3D_POP3_PARSE_H
#define POP3D_POP3_PARSE_H

#include "base/slice.h"

enum {
	POP3_LINE_MAX = 255,            /* octets without CRLF, RFC 2449 section 4 */
	POP3_AUTH_LINE_MAX = 16 * 1024, /* a base64 response, RFC 5034 section 4 */
	POP3_ARGUMENTS_MAX = 2,
};

struct pop3_line {
	struct slice keyword;
	struct slice rest; /* everything behind the keyword's one space, for PASS */
	struct slice arguments[POP3_ARGUMENTS_MAX];
	unsigned argument_count; /* POP3_ARGUMENTS_MAX + 1 when there are more */
};

/* False when the line has no keyword or holds control characters. */
bool pop3_line_parse(struct slice line, struct pop3_line *out);

/* A message number: 1 to UINT32_MAX, digits only. */
bool pop3_number_parse(struct slice text, uint32_t *out);

#endif
