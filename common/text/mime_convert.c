/*
 * Transfer encodings changed part by part; see mime_convert.h.
 */
#include "text/mime_convert.h"

#include "text/encoding.h"

enum {
	QP_LINE_MAX = 76,       /* characters, RFC 2045 section 6.7 */
	BASE64_LINE_BYTES = 57, /* become 76 characters */
};

struct convert {
	struct slice message;
	enum mime_form form;
	bool (*write)(struct slice bytes, void *arg);
	void *arg;
	struct buf out;
	uint64_t at; /* how far the message has been copied */
	bool stopped;
	bool impossible;
	bool has_8bit;
};

/* ---- out ---- */

static void
flush(struct convert *c)
{
	if (!c->stopped && c->out.len > 0 && !c->write(buf_slice(&c->out), c->arg))
		c->stopped = true;
	buf_reset(&c->out);
}

static void
put(struct convert *c, struct slice bytes)
{
	c->has_8bit |= !ascii_only(bytes);
	while (bytes.len > 0 && !c->stopped) {
		struct slice part = slice_sub(bytes, 0, MIME_CONVERT_PIECE);
		buf_append(&c->out, part);
		bytes = slice_from(bytes, part.len);
		if (c->out.len >= MIME_CONVERT_PIECE)
			flush(c);
	}
}

/* ---- what a body holds ---- */

struct content {
	bool has_8bit;
	bool is_binary;    /* NUL, CR or LF alone, a line over MIME_CONVERT_LINE_MAX */
	bool has_controls; /* of these the first two: no text */
};

static struct content
content_of(struct slice bytes)
{
	struct content content = {
	    .has_8bit = !ascii_only(bytes),
	    .has_controls = slice_index(bytes, '\0') != SIZE_MAX,
	};
	while (bytes.len > 0) {
		size_t lf = slice_index(bytes, '\n');
		struct slice line = slice_sub(bytes, 0, lf == SIZE_MAX ? bytes.len : lf);
		bytes = slice_from(bytes, line.len + (lf != SIZE_MAX));
		bool crlf =
		    lf != SIZE_MAX && line.len > 0 && line.ptr[line.len - 1] == '\r';
		line.len -= crlf;
		content.has_controls |=
		    (lf != SIZE_MAX && !crlf) || slice_index(line, '\r') != SIZE_MAX;
		content.is_binary |= line.len > MIME_CONVERT_LINE_MAX;
	}
	content.is_binary |= content.has_controls;
	return content;
}

static bool
content_fits(const struct convert *c, const struct content *content)
{
	return !content->is_binary && (c->form == MIME_FORM_8BIT || !content->has_8bit);
}

static struct slice
range(const struct convert *c, uint64_t offset, uint64_t len)
{
	return slice_sub(c->message, (size_t)offset, (size_t)len);
}

static struct slice
part_body(const struct convert *c, const struct mime_part *part)
{
	return range(c, part->body_offset, part->body_len);
}

/* ---- encodings ---- */

static void
base64_lines(struct convert *c, struct slice bytes)
{
	struct buf text AUTO_BUF;
	buf_init(&text, 2 * QP_LINE_MAX);
	while (bytes.len > 0 && !c->stopped) {
		struct slice part = slice_sub(bytes, 0, BASE64_LINE_BYTES);
		bytes = slice_from(bytes, part.len);
		buf_reset(&text);
		base64_encode(part, &text);
		if (bytes.len > 0)
			buf_append(&text, SLICE("\r\n"));
		put(c, buf_slice(&text));
	}
}

/* One octet as it stands in a line; `last`: the line ends behind it. */
static size_t
qp_octet(unsigned char c, bool last, char out[3])
{
	static const char hex[] = "0123456789ABCDEF";
	bool blank = c == ' ' || c == '\t';
	if ((c > ' ' && c < 127 && c != '=') || (blank && !last)) {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '=';
	out[1] = hex[c >> 4];
	out[2] = hex[c & 15];
	return 3;
}

/* Lines stay lines; soft breaks keep them short (RFC 2045 section 6.7). */
static void
qp_lines(struct convert *c, struct slice bytes)
{
	char line[QP_LINE_MAX + 3];
	size_t used = 0;
	for (size_t i = 0; i < bytes.len; i++) {
		struct slice rest = slice_from(bytes, i);
		if (slice_has_prefix(rest, SLICE("\r\n"))) {
			memcpy(line + used, "\r\n", 2);
			put(c, slice_make(line, used + 2));
			used = 0;
			i++;
			continue;
		}
		bool last =
		    rest.len == 1 || slice_has_prefix(slice_from(rest, 1), SLICE("\r\n"));
		char octet[3];
		size_t len = qp_octet((unsigned char)bytes.ptr[i], last, octet);
		if (used + len > QP_LINE_MAX - 1) {
			memcpy(line + used, "=\r\n", 3);
			put(c, slice_make(line, used + 3));
			used = 0;
		}
		memcpy(line + used, octet, len);
		used += len;
	}
	put(c, slice_make(line, used));
}

/* ---- the parts ---- */

/* What lies between parts: boundaries, and text that nobody reads.  Copied; what may not
 * pass becomes "?". */
static void
gap_copy(struct convert *c, uint64_t end)
{
	struct slice gap = range(c, c->at, end - c->at);
	struct content content = content_of(gap);
	c->at = end;
	if (!content.has_controls && (c->form == MIME_FORM_8BIT || !content.has_8bit)) {
		put(c, gap);
		return;
	}
	for (size_t i = 0; i < gap.len; i++) {
		char octet = gap.ptr[i];
		struct slice rest = slice_from(gap, i);
		if (slice_has_prefix(rest, SLICE("\r\n"))) {
			put(c, SLICE("\r\n"));
			i++;
			continue;
		}
		/* A boundary's line may end so; it must stay one. */
		if (octet == '\n') {
			put(c, SLICE("\r\n"));
			continue;
		}
		bool good = octet != '\0' && octet != '\r' &&
		            (c->form == MIME_FORM_8BIT || (unsigned char)octet < 128);
		put(c, good ? slice_make(&octet, 1) : SLICE("?"));
	}
}

static struct slice
part_header(const struct convert *c, const struct mime_part *part)
{
	return range(c, part->header_offset, part->header_len);
}

/* The header with another transfer encoding ("": none), and with what makes it MIME when
 * it was not. */
static void
header_rewrite(struct convert *c, const struct mime_part *part, const char *encoding,
    bool name_charset)
{
	struct slice block = part_header(c, part);
	struct header_iter it;
	struct header_field field;
	const char *from = block.ptr;
	const char *end = block.ptr + block.len;
	bool has_version = false;
	if (slice_has_suffix(block, SLICE("\r\n\r\n")) ||
	    slice_equal(block, SLICE("\r\n")))
		end -= 2;
	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		has_version |= slice_equal_nocase(field.name, SLICE("MIME-Version"));
		if (!slice_equal_nocase(field.name, SLICE("Content-Transfer-Encoding")))
			continue;
		put(c, slice_make(from, (size_t)(field.whole.ptr - from)));
		from = field.whole.ptr + field.whole.len;
	}
	struct slice tail = slice_make(from, (size_t)(end - from));
	put(c, tail);
	if (block.len > 0 && tail.len > 0 && !slice_has_suffix(tail, SLICE("\r\n")))
		put(c, SLICE("\r\n"));
	if (!part->parent && !has_version)
		put(c, SLICE("MIME-Version: 1.0\r\n"));
	if (name_charset && !part->content_type_given)
		put(c, utf8_is_valid(part_body(c, part))
			   ? SLICE("Content-Type: text/plain; charset=utf-8\r\n")
			   : SLICE("Content-Type: text/plain; charset=unknown-8bit\r\n"));
	if (encoding[0] != '\0') {
		put(c, SLICE("Content-Transfer-Encoding: "));
		put(c, slice_from_cstr(encoding));
		put(c, SLICE("\r\n"));
	}
	put(c, SLICE("\r\n"));
	c->at = part->header_offset + part->header_len;
}

static bool
is_plain_encoding(struct slice encoding)
{
	return slice_equal(encoding, SLICE("7bit")) ||
	       slice_equal(encoding, SLICE("8bit")) ||
	       slice_equal(encoding, SLICE("binary"));
}

/* What is signed must not be changed (RFC 1847 section 2.1). */
static bool
is_signed(const struct mime_part *part)
{
	for (; part; part = part->parent) {
		if (part->kind == MIME_MULTIPART &&
		    slice_equal(part->content_type.subtype, SLICE("signed")))
			return true;
	}
	return false;
}

static void
leaf_convert(struct convert *c, const struct mime_part *part)
{
	struct slice body = part_body(c, part);
	struct content content = content_of(body);
	uint64_t end = part->body_offset + part->body_len;
	if (content_fits(c, &content)) {
		/* "binary" of what is none would not pass either. */
		bool relabel = slice_equal(part->encoding, SLICE("binary")) ||
		               (c->form == MIME_FORM_7BIT &&
				   slice_equal(part->encoding, SLICE("8bit")));
		if (relabel && !is_signed(part))
			header_rewrite(
			    c, part, content.has_8bit ? "8bit" : "7bit", false);
		put(c, range(c, c->at, end - c->at));
		c->at = end;
		return;
	}
	/* Encoded once already, or of a type that must not be (RFC 2045 section 6.4). */
	struct slice type = part->content_type.type;
	if (!is_plain_encoding(part->encoding) || is_signed(part) ||
	    slice_equal(type, SLICE("multipart")) ||
	    slice_equal(type, SLICE("message"))) {
		c->impossible = true;
		return;
	}
	bool text = !content.has_controls &&
	            (!part->content_type_given || slice_equal(type, SLICE("text")));
	header_rewrite(
	    c, part, text ? "quoted-printable" : "base64", text && content.has_8bit);
	c->at = end;
	if (text)
		qp_lines(c, body);
	else
		base64_lines(c, body);
	/* The CR LF behind a part belongs to the boundary; a message needs its own. */
	if (!part->parent && !(text && slice_has_suffix(body, SLICE("\r\n"))))
		put(c, SLICE("\r\n"));
}

/* A part with parts in it: its own label follows what they become. */
static void
container_header(struct convert *c, const struct mime_part *part)
{
	bool relabel =
	    slice_equal(part->encoding, SLICE("binary")) ||
	    (c->form == MIME_FORM_7BIT && slice_equal(part->encoding, SLICE("8bit")));
	if (!is_plain_encoding(part->encoding)) {
		/* Encoded as a whole, against RFC 2045 section 6.4. */
		c->impossible = true;
		return;
	}
	if (relabel && is_signed(part)) {
		c->impossible = true;
		return;
	}
	if (relabel) {
		header_rewrite(c, part, c->form == MIME_FORM_7BIT ? "" : "8bit", false);
		return;
	}
	put(c, part_header(c, part));
	c->at = part->header_offset + part->header_len;
}

/* The next part in document order. */
static const struct mime_part *
part_next(const struct mime_part *part)
{
	if (part->child)
		return part->child;
	while (part && !part->next)
		part = part->parent;
	return part ? part->next : NULL;
}

static void
tree_convert(struct convert *c, const struct mime_part *root)
{
	for (const struct mime_part *part = root; part && !c->impossible && !c->stopped;
	     part = part_next(part)) {
		gap_copy(c, part->header_offset);
		struct slice header = part_header(c, part);
		if (content_of(header).has_controls) {
			c->impossible = true;
			return;
		}
		if (part->kind == MIME_LEAF)
			leaf_convert(c, part);
		else
			container_header(c, part);
	}
	if (!c->impossible)
		gap_copy(c, c->message.len);
}

enum mime_convert_result
mime_convert(struct slice message, enum mime_form form,
    bool (*write)(struct slice bytes, void *arg), void *arg, bool *out_has_8bit)
{
	struct convert c = {.message = message, .form = form, .write = write, .arg = arg};
	struct arena *arena = arena_new(MIME_ARENA_MAX);
	uint32_t count;
	buf_init(&c.out, 2 * (size_t)MIME_CONVERT_PIECE);
	const struct mime_part *root = mime_parse(message, arena, &count);
	tree_convert(&c, root);
	flush(&c);
	buf_fini(&c.out);
	arena_free(&arena);
	if (c.stopped)
		return MIME_CONVERT_STOPPED;
	if (c.impossible)
		return MIME_CONVERT_IMPOSSIBLE;
	*out_has_8bit = c.has_8bit;
	return MIME_CONVERT_DONE;
}
