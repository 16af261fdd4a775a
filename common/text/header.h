/*
 * Header fields: iterate, unfold, RFC 2047 words, parameters (RFC 2045, 2231).  Pure.
 */
#ifndef TEXT_HEADER_H
#define TEXT_HEADER_H

#include "base/arena.h"
#include "base/buf.h"

enum {
	HEADER_FIELDS_MAX = 10000,      /* fields looked at in one block */
	HEADER_BYTES_MAX = 1024 * 1024, /* bytes of a header block that are parsed */
	HEADER_PARAMETERS_MAX = 100,
};

struct header_field {
	struct slice name;  /* as written, without colon and blanks */
	struct slice value; /* behind the colon, folds and final line end included */
	struct slice whole; /* the field's lines, with line ends */
};

struct header_iter {
	struct slice rest;
	size_t count;
};

/* Length of the header block at the front of a message, with the empty line that ends it
 * (the whole length when there is none).  Lines end in CRLF or LF. */
size_t header_block_length(struct slice message);
void header_iter_init(struct header_iter *it, struct slice block);
/* The next field; lines that are no field (no colon, a space before it) are skipped, as
 * mbox "From " lines are.  False at the end of the block. */
bool header_iter_next(struct header_iter *it, struct header_field *out);
/* The first field of that name. */
bool header_find(struct slice block, struct slice name, struct header_field *out);

/* Value without folds (CRLF before a blank goes) and without blanks at both ends. */
struct slice header_unfold(struct slice value, struct arena *arena);
/* Decodes RFC 2047 words and raw charsets to UTF-8 (iconv; what is unknown becomes
 * U+FFFD). */
void header_decode(struct slice value, struct buf *out);
/* Converts bytes of a charset to UTF-8; false when the charset is unknown (then the
 * bytes are appended with what is not UTF-8 replaced). */
bool charset_to_utf8(struct slice charset, struct slice in, struct buf *out);

struct header_parameter {
	struct slice name; /* lower case */
	struct slice
	    value; /* unquoted; RFC 2231 continuations joined, charset kept away */
};

/* "type/subtype; a=b" or "disposition; a=b".  Lenient. */
struct header_value {
	struct slice type;    /* lower case; for Content-Type before the slash */
	struct slice subtype; /* lower case; null when there is no slash */
	struct header_parameter *parameters;
	size_t parameter_count;
};
void header_value_parse(
    struct slice value, struct arena *arena, struct header_value *out);
/* The same with the parameters as they stand in the field: RFC 2231 names and values
 * ("filename*0*", percent signs) untouched, as BODYSTRUCTURE sends them. */
void header_value_parse_written(
    struct slice value, struct arena *arena, struct header_value *out);
/* The parameter's value, or the null slice. */
struct slice header_value_parameter(const struct header_value *value, struct slice name);

/* Base subject (RFC 5256 section 2.1) of a decoded subject, upper-case rules applied by
 * the caller's collation; *is_reply tells of Re:/Fwd:. */
void header_base_subject(struct slice decoded, struct buf *out, bool *is_reply);
/* The message ids in a References, In-Reply-To or Message-ID value, with <>; at most
 * max.  Returns how many. */
size_t header_message_ids(
    struct slice value, struct arena *arena, struct slice *out, size_t max);

#endif
