/*
 * Lines, dot-data, dot-stuffing and IMAP literals.  All functions are pure in their state
 * and the input: the same bytes give the same frames however they were cut on the way
 * (tests/unit/net/test_framer.c splits every input at every byte).
 *
 * Thread: any; a struct belongs to one owner.  No I/O, no globals.
 * RFC 5321 section 2.3.8 and 4.5.2, RFC 9051 section 4.3, RFC 7888, RFC 3516.
 */
#include "net/framer.h"

#include "base/ensure.h"

enum { LITERAL_DIGITS_MAX = 19 }; /* of 2^63 - 1 (RFC 9051 section 9, number64) */

static const char *
find_byte(const char *from, const char *end, char c)
{
	return from < end ? memchr(from, c, (size_t)(end - from)) : NULL;
}

/* ---- lines ---- */

enum framer_result
framer_line(struct slice input, size_t line_max, struct slice *out_line, size_t *out_used)
{
	*out_used = 0;
	size_t lf = slice_index(input, '\n');
	if (lf == SIZE_MAX)
		return input.len >= line_max ? FRAMER_TOO_LONG : FRAMER_MORE;
	*out_used = lf + 1;
	if (lf + 1 > line_max)
		return FRAMER_TOO_LONG;
	struct slice line = slice_sub(input, 0, lf);
	if (slice_index(line, '\0') != SIZE_MAX)
		return FRAMER_NUL;
	size_t cr = slice_index(line, '\r');
	if (cr == SIZE_MAX)
		return FRAMER_BARE_LF;
	if (cr + 1 != lf)
		return FRAMER_BARE_CR;
	*out_line = slice_sub(line, 0, cr);
	return FRAMER_DONE;
}

size_t
framer_skip_line(struct slice input, bool *out_ended)
{
	size_t lf = slice_index(input, '\n');
	*out_ended = lf != SIZE_MAX;
	return *out_ended ? lf + 1 : input.len;
}

/* ---- dot-data ---- */

void
framer_dot_init(struct framer_dot *f)
{
	*f = (struct framer_dot){.state = FRAMER_DOT_LINE_START};
}

static void
dot_emit(struct framer_dot *f, struct slice bytes, struct buf *out)
{
	f->bytes += bytes.len;
	if (out)
		buf_append(out, bytes);
}

static void
dot_note(struct framer_dot *f, struct slice text)
{
	unsigned char any = 0;
	for (size_t i = 0; i < text.len; i++)
		any |= (unsigned char)text.ptr[i];
	if (any & 0x80)
		f->has_8bit = true;
	if (!f->nul && slice_index(text, '\0') != SIZE_MAX)
		f->nul = true;
	f->line_len += text.len;
	if (f->line_len > f->line_longest)
		f->line_longest = f->line_len;
}

static void
dot_text(struct framer_dot *f, struct slice text, struct buf *out)
{
	if (text.len == 0)
		return;
	dot_note(f, text);
	dot_emit(f, text, out);
}

/* The CR that was held back did not begin a CRLF: it is text. */
static void
dot_bare_cr(struct framer_dot *f, struct buf *out)
{
	f->bare_cr = true;
	dot_text(f, SLICE("\r"), out);
}

/* Takes text up to the next CR or LF and that byte; a CR is held back in the state. */
static const char *
dot_feed_text(struct framer_dot *f, const char *p, const char *end, struct buf *out)
{
	const char *lf = find_byte(p, end, '\n');
	const char *cr = find_byte(p, lf ? lf : end, '\r');
	const char *stop = cr ? cr : lf ? lf : end;
	dot_text(f, slice_make(p, (size_t)(stop - p)), out);
	f->state = FRAMER_DOT_TEXT;
	if (stop == end)
		return end;
	if (cr) {
		f->state = FRAMER_DOT_CR;
	} else {
		f->bare_lf = true;
		dot_text(f, SLICE("\n"), out);
	}
	return stop + 1;
}

enum framer_result
framer_dot_feed(
    struct framer_dot *f, struct slice input, struct buf *out, size_t *out_used)
{
	*out_used = 0;
	if (input.len == 0)
		return f->state == FRAMER_DOT_ENDED ? FRAMER_DONE : FRAMER_MORE;
	const char *p = input.ptr;
	const char *end = p + input.len;
	while (p < end && f->state != FRAMER_DOT_ENDED) {
		switch (f->state) {
		case FRAMER_DOT_LINE_START:
			if (*p == '.') {
				f->state = FRAMER_DOT_DOT;
				p++;
			} else {
				p = dot_feed_text(f, p, end, out);
			}
			break;
		case FRAMER_DOT_TEXT:
			p = dot_feed_text(f, p, end, out);
			break;
		case FRAMER_DOT_CR:
			if (*p == '\n') {
				dot_emit(f, SLICE("\r\n"), out);
				f->line_len = 0;
				f->state = FRAMER_DOT_LINE_START;
				p++;
			} else {
				dot_bare_cr(f, out);
				f->state = FRAMER_DOT_TEXT;
			}
			break;
		case FRAMER_DOT_DOT:
			/* The dot is dropped, whatever follows (RFC 5321 section 4.5.2).
			 */
			if (*p == '\r') {
				f->state = FRAMER_DOT_DOT_CR;
				p++;
			} else {
				f->state = FRAMER_DOT_TEXT;
			}
			break;
		case FRAMER_DOT_DOT_CR:
			if (*p == '\n') {
				f->state = FRAMER_DOT_ENDED;
				p++;
			} else {
				dot_bare_cr(f, out);
				f->state = FRAMER_DOT_TEXT;
			}
			break;
		case FRAMER_DOT_ENDED:
			break;
		}
	}
	*out_used = (size_t)(p - input.ptr);
	return f->state == FRAMER_DOT_ENDED ? FRAMER_DONE : FRAMER_MORE;
}

/* ---- dot-stuffing ---- */

void
framer_stuff_init(struct framer_stuff *s)
{
	*s = (struct framer_stuff){.line_start = true, .ended = true};
}

static void
stuff_line_break(struct framer_stuff *s, struct buf *out)
{
	buf_append(out, SLICE("\r\n"));
	framer_stuff_init(s);
}

/* Bytes without CR and LF, at least one. */
static void
stuff_text(struct framer_stuff *s, struct slice text, struct buf *out)
{
	if (s->line_start && text.ptr[0] == '.')
		buf_append_byte(out, '.');
	buf_append(out, text);
	*s = (struct framer_stuff){.line_start = false};
}

static void
stuff_cr(struct framer_stuff *s, bool normalise, struct buf *out)
{
	if (s->cr_held)
		stuff_line_break(s, out);
	if (!normalise)
		buf_append_byte(out, '\r');
	*s = (struct framer_stuff){.last_cr = true, .cr_held = normalise};
}

static void
stuff_lf(struct framer_stuff *s, bool normalise, struct buf *out)
{
	if (normalise) {
		stuff_line_break(s, out);
		return;
	}
	buf_append_byte(out, '\n');
	*s = (struct framer_stuff){.line_start = true, .ended = s->last_cr};
}

void
framer_stuff_feed(
    struct framer_stuff *s, struct slice bytes, bool normalise, struct buf *out)
{
	if (bytes.len == 0)
		return;
	const char *p = bytes.ptr;
	const char *end = p + bytes.len;
	while (p < end) {
		const char *lf = find_byte(p, end, '\n');
		const char *cr = find_byte(p, lf ? lf : end, '\r');
		const char *stop = cr ? cr : lf ? lf : end;
		if (stop > p) {
			if (s->cr_held)
				stuff_line_break(s, out);
			stuff_text(s, slice_make(p, (size_t)(stop - p)), out);
		}
		if (stop == end)
			return;
		if (cr)
			stuff_cr(s, normalise, out);
		else
			stuff_lf(s, normalise, out);
		p = stop + 1;
	}
}

size_t
framer_stuff_run(struct framer_stuff *s, struct slice bytes, bool *out_dot)
{
	const char *p = bytes.ptr;
	*out_dot = false;
	if (bytes.len == 0)
		return 0;
	/* Dots are looked for, not lines: each byte is looked at once. */
	size_t from = 0;
	while (from < bytes.len) {
		const char *dot = memchr(p + from, '.', bytes.len - from);
		if (!dot)
			break;
		size_t at = (size_t)(dot - p);
		if (at == 0 ? s->line_start : p[at - 1] == '\n') {
			*s = (struct framer_stuff){.line_start = false};
			*out_dot = true;
			return at;
		}
		from = at + 1;
	}
	char last = p[bytes.len - 1];
	bool cr_before = bytes.len > 1 ? p[bytes.len - 2] == '\r' : s->last_cr;
	*s = (struct framer_stuff){
	    .line_start = last == '\n',
	    .ended = last == '\n' && cr_before,
	    .last_cr = last == '\r',
	};
	return bytes.len;
}

void
framer_stuff_end(struct framer_stuff *s, struct buf *out)
{
	if (s->last_cr && !s->cr_held)
		buf_append_byte(out, '\n');
	else if (!s->ended)
		buf_append(out, SLICE("\r\n"));
	buf_append(out, SLICE(".\r\n"));
	framer_stuff_init(s);
}

/* ---- IMAP ---- */

enum literal_kind { LITERAL_NONE, LITERAL_GOOD, LITERAL_TOO_LARGE };

/* Looks at the end of a line for "{n}", "{n+}", "~{n}" or "~{n+}". */
static enum literal_kind
parse_literal(struct framer_imap *f, struct slice line)
{
	size_t i = line.len;
	if (i == 0 || line.ptr[--i] != '}')
		return LITERAL_NONE;
	bool sync = !(i > 0 && line.ptr[i - 1] == '+');
	if (!sync)
		i--;
	size_t digits_end = i;
	while (i > 0 && ascii_is_digit(line.ptr[i - 1]))
		i--;
	struct slice digits = slice_sub(line, i, digits_end - i);
	if (digits.len == 0 || i == 0 || line.ptr[--i] != '{')
		return LITERAL_NONE;
	while (digits.len > 1 && digits.ptr[0] == '0')
		digits = slice_from(digits, 1);
	uint64_t size = 0;
	for (size_t d = 0; d < digits.len && digits.len <= LITERAL_DIGITS_MAX; d++)
		size = size * 10 + (uint64_t)(digits.ptr[d] - '0');
	if (line.len - i > FRAMER_LITERAL_TEXT_MAX || digits.len > LITERAL_DIGITS_MAX ||
	    size > INT64_MAX)
		return LITERAL_TOO_LARGE;
	f->literal_size = size;
	f->literal_sync = sync;
	f->literal_binary = i > 0 && line.ptr[i - 1] == '~';
	return LITERAL_GOOD;
}

void
framer_imap_init(struct framer_imap *f, size_t line_max, size_t frame_max)
{
	*f = (struct framer_imap){.line_max = line_max};
	buf_init(&f->frame, frame_max);
}

void
framer_imap_fini(struct framer_imap *f)
{
	buf_fini(&f->frame);
}

void
framer_imap_reset(struct framer_imap *f)
{
	size_t line_max = f->line_max;
	size_t frame_max = f->frame.max;
	buf_fini(&f->frame);
	framer_imap_init(f, line_max, frame_max);
}

static void
imap_append(struct framer_imap *f, struct slice bytes)
{
	if (f->too_long)
		return;
	if (bytes.len > f->frame.max - f->frame.len)
		f->too_long = true;
	else
		buf_append(&f->frame, bytes);
}

static size_t
imap_feed_literal(struct framer_imap *f, struct slice input)
{
	size_t count = f->literal_left < input.len ? (size_t)f->literal_left : input.len;
	struct slice bytes = slice_sub(input, 0, count);
	if (!f->literal_binary && slice_index(bytes, '\0') != SIZE_MAX)
		f->nul = true;
	imap_append(f, bytes);
	f->literal_left -= count;
	return count;
}

static enum framer_result
imap_feed_line(struct framer_imap *f, struct slice input, size_t *out_used)
{
	struct slice line;
	size_t line_max = f->line_max > f->text_bytes ? f->line_max - f->text_bytes : 0;
	enum framer_result result = framer_line(input, line_max, &line, out_used);
	if (result != FRAMER_DONE)
		return result;
	f->text_bytes += *out_used;
	switch (parse_literal(f, line)) {
	case LITERAL_TOO_LARGE:
		return FRAMER_TOO_LONG;
	case LITERAL_GOOD:
		imap_append(f, slice_sub(input, 0, *out_used));
		f->waiting = true;
		return FRAMER_LITERAL;
	case LITERAL_NONE:
		break;
	}
	imap_append(f, line);
	if (f->too_long)
		return FRAMER_TOO_LONG;
	return f->nul ? FRAMER_NUL : FRAMER_DONE;
}

enum framer_result
framer_imap_feed(struct framer_imap *f, struct slice input, size_t *out_used)
{
	ENSURE(!f->waiting);
	*out_used = 0;
	if (f->literal_left > 0) {
		*out_used = imap_feed_literal(f, input);
		if (f->literal_left > 0)
			return FRAMER_MORE;
	}
	size_t used;
	enum framer_result result =
	    imap_feed_line(f, slice_from(input, *out_used), &used);
	/* A fault in a line that has not ended is told by "0 used": the literal's bytes
	 * have to be consumed first, so it is told at the next call. */
	if (used == 0 && *out_used > 0)
		return FRAMER_MORE;
	*out_used += used;
	return result;
}

void
framer_imap_accept(struct framer_imap *f)
{
	ENSURE(f->waiting);
	f->waiting = false;
	f->literal_left = f->literal_size;
	if (f->literal_size > f->frame.max - f->frame.len)
		f->too_long = true;
}

void
framer_imap_stream(struct framer_imap *f)
{
	ENSURE(f->waiting);
	f->waiting = false;
}

struct slice
framer_imap_frame(const struct framer_imap *f)
{
	return buf_slice(&f->frame);
}
