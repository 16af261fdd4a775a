/*
 * DKIM's canonical forms; see dkim_canon.h.
 *
 * Body: blanks and empty lines are held back until something follows them, as a flag and
 * a count.  Runs of other bytes go to the sink as they are, without a copy.
 */
#include "auth/dkim_canon.h"

/* ---- body ---- */

void
dkim_body_init(struct dkim_body *body, enum dkim_canon form, dkim_sink_fn sink, void *arg)
{
	*body = (struct dkim_body){.form = form, .sink = sink, .arg = arg};
}

static void
tell(struct dkim_body *body, struct slice bytes)
{
	body->told = true;
	body->sink(bytes, body->arg);
}

static void
line_end(struct dkim_body *body)
{
	body->space = false;
	if (body->line_open)
		tell(body, SLICE("\r\n"));
	else
		body->empty_lines++;
	body->line_open = false;
}

/* Bytes of one line, neither blanks (relaxed) nor line ends. */
static void
line_text(struct dkim_body *body, struct slice text)
{
	for (; body->empty_lines > 0; body->empty_lines--)
		tell(body, SLICE("\r\n"));
	if (body->space)
		tell(body, SLICE(" "));
	body->space = false;
	body->line_open = true;
	tell(body, text);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

void
dkim_body_feed(struct dkim_body *body, struct slice bytes)
{
	bool relaxed = body->form == DKIM_RELAXED;
	size_t at = 0;
	while (at < bytes.len) {
		char c = bytes.ptr[at];
		if (c == '\r' || c == '\n') {
			if (c == '\r' || !body->last_cr)
				line_end(body);
			body->last_cr = c == '\r';
			at++;
			continue;
		}
		body->last_cr = false;
		if (relaxed && is_blank(c)) {
			body->space = true;
			at++;
			continue;
		}
		size_t from = at;
		while (at < bytes.len && bytes.ptr[at] != '\r' && bytes.ptr[at] != '\n' &&
		       !(relaxed && is_blank(bytes.ptr[at])))
			at++;
		line_text(body, slice_sub(bytes, from, at - from));
	}
}

void
dkim_body_end(struct dkim_body *body)
{
	if (body->line_open)
		line_end(body);
	/* An empty body is one line end in the simple form, nothing in the relaxed. */
	if (!body->told && body->form == DKIM_SIMPLE)
		tell(body, SLICE("\r\n"));
}

/* ---- header fields ---- */

static bool
is_space(char c)
{
	return is_blank(c) || c == '\r' || c == '\n';
}

static void
field_simple(struct slice field, struct buf *out)
{
	bool last_cr = false;
	for (size_t i = 0; i < field.len; i++) {
		char c = field.ptr[i];
		if (c == '\r' || (c == '\n' && !last_cr))
			buf_append(out, SLICE("\r\n"));
		else if (c != '\n')
			buf_append_byte(out, c);
		last_cr = c == '\r';
	}
	if (field.len == 0 || !is_space(field.ptr[field.len - 1]) ||
	    is_blank(field.ptr[field.len - 1]))
		buf_append(out, SLICE("\r\n"));
}

static void
field_relaxed(struct slice field, struct buf *out)
{
	size_t colon = slice_index(field, ':');
	struct slice name = slice_trim(slice_sub(field, 0, colon));
	for (size_t i = 0; i < name.len; i++)
		buf_append_byte(out, ascii_lower(name.ptr[i]));
	if (colon == SIZE_MAX) {
		buf_append(out, SLICE("\r\n"));
		return;
	}
	buf_append_byte(out, ':');
	bool space = false, begun = false;
	struct slice value = slice_from(field, colon + 1);
	for (size_t i = 0; i < value.len; i++) {
		if (is_space(value.ptr[i])) {
			space = begun;
			continue;
		}
		if (space)
			buf_append_byte(out, ' ');
		space = false;
		begun = true;
		buf_append_byte(out, value.ptr[i]);
	}
	buf_append(out, SLICE("\r\n"));
}

void
dkim_field_canon(enum dkim_canon form, struct slice field, struct buf *out)
{
	if (form == DKIM_SIMPLE)
		field_simple(field, out);
	else
		field_relaxed(field, out);
}
