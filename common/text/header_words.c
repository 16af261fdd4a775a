/*
 * Encoded text in header values: RFC 2047 words, RFC 2231 parameters, base subject.
 *
 * Output always is valid UTF-8.  Lenient where mail needs it: a word may stand anywhere,
 * hold blanks, and split a character over two words of one charset.  Linear: a word's
 * search for its end never goes further than WORD_MAX bytes or WORD_MARKS_MAX question
 * marks.
 */
#include "base/ensure.h"
#include "text/encoding.h"
#include "text/header.h"
#include "text/header_int.h"
#include "text/utf8_int.h"

enum {
	WORD_MAX = 2000,    /* bytes of one encoded word; RFC 2047 has 75 */
	WORD_MARKS_MAX = 4, /* question marks looked at for a word's "?=" */
	SUBJECT_MAX = 1000, /* bytes of a subject that count for its base */
	DECODED_MAX = 2 * HEADER_BYTES_MAX, /* bytes of scratch */
};

struct word {
	struct slice charset; /* without the "*language" of RFC 2231 */
	char encoding;        /* 'b' or 'q' */
	struct slice text;
	size_t len; /* of the whole word */
};

/* An encoded word at the front of `in`, which begins with "=?". */
static bool
parse_word(struct slice in, struct word *out)
{
	in = slice_sub(in, 0, WORD_MAX);
	size_t charset_len = slice_index(slice_from(in, 2), '?');
	if (charset_len == SIZE_MAX || charset_len == 0)
		return false;
	out->charset = slice_sub(in, 2, charset_len);
	size_t star = slice_index(out->charset, '*');
	if (star != SIZE_MAX)
		out->charset = slice_sub(out->charset, 0, star);
	size_t at = 2 + charset_len + 1;
	if (in.len - at < 2 || in.ptr[at + 1] != '?')
		return false;
	out->encoding = ascii_lower(in.ptr[at]);
	if (out->encoding != 'b' && out->encoding != 'q')
		return false;
	size_t from = at + 2;
	at = from;
	for (int marks = 0; marks < WORD_MARKS_MAX; marks++) {
		size_t mark = slice_index(slice_from(in, at), '?');
		if (mark == SIZE_MAX || at + mark + 1 >= in.len)
			return false;
		at += mark;
		if (in.ptr[at + 1] == '=') {
			out->text = slice_sub(in, from, at - from);
			out->len = at + 2;
			return true;
		}
		at++;
	}
	return false;
}

static int
hex_digit(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
decode_q(struct slice in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		int high = c == '=' && in.len - i > 2 ? hex_digit(in.ptr[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(in.ptr[i + 2]) : -1;
		if (low >= 0) {
			buf_append_byte(out, (char)(high << 4 | low));
			i += 2;
		} else if (c == '\r' || c == '\n') {
			/* A fold inside a word: the line end and its blanks were not
			 * sent. */
			while (i + 1 < in.len && strchr(" \t\r\n", in.ptr[i + 1]) &&
			       in.ptr[i + 1])
				i++;
		} else {
			buf_append_byte(out, c == '_' ? ' ' : c);
		}
	}
}

/* Words of one charset, gathered so that a character may be split between them. */
struct pending {
	struct buf bytes;
	struct slice charset;
};

static void
pending_flush(struct pending *p, struct buf *out)
{
	if (p->charset.ptr)
		charset_to_utf8(p->charset, buf_slice(&p->bytes), out);
	p->charset = SLICE_NULL;
	buf_reset(&p->bytes);
}

static void
pending_add(struct pending *p, const struct word *word, struct buf *out)
{
	if (p->charset.ptr && !slice_equal_nocase(p->charset, word->charset))
		pending_flush(p, out);
	p->charset = word->charset;
	if (word->encoding == 'b')
		base64_decode_lenient(word->text, &p->bytes);
	else
		decode_q(word->text, &p->bytes);
}

/* Plain text: line ends go, what is not UTF-8 is replaced. */
static void
append_plain(struct slice text, struct buf *out)
{
	while (text.len) {
		size_t run = 0;
		while (run < text.len && text.ptr[run] != '\r' && text.ptr[run] != '\n')
			run++;
		utf8_append_valid(slice_sub(text, 0, run), out);
		text = slice_from(text, run + 1);
	}
}

static bool
only_space(struct slice s)
{
	return slice_trim(s).len == 0;
}

void
header_decode(struct slice value, struct buf *out)
{
	struct pending pending = {.charset = SLICE_NULL};
	size_t plain = 0, at = 0; /* start of plain text not yet written; position */

	buf_init(&pending.bytes, DECODED_MAX);
	while (at < value.len) {
		size_t mark = slice_index(slice_from(value, at), '=');
		if (mark == SIZE_MAX)
			break;
		at += mark;
		struct word word;
		if (at + 1 >= value.len || value.ptr[at + 1] != '?' ||
		    !parse_word(slice_from(value, at), &word)) {
			at++;
			continue;
		}
		/* Blanks between two words are not shown (RFC 2047 section 6.2). */
		struct slice between = slice_sub(value, plain, at - plain);
		if (!pending.charset.ptr || !only_space(between)) {
			pending_flush(&pending, out);
			append_plain(between, out);
		}
		pending_add(&pending, &word, out);
		at += word.len;
		plain = at;
	}
	pending_flush(&pending, out);
	append_plain(slice_from(value, plain), out);
	buf_fini(&pending.bytes);
}

/* A parameter name of RFC 2231: base, section (-1: none), extended. */
struct extended_name {
	struct slice base;
	int section;
	bool extended;
};

static struct extended_name
split_name(struct slice name)
{
	struct extended_name n = {name, -1, false};
	if (name.len > 1 && name.ptr[name.len - 1] == '*') {
		n.extended = true;
		n.base = slice_sub(name, 0, name.len - 1);
	}
	size_t star = slice_rindex(n.base, '*');
	uint64_t section;
	if (star != SIZE_MAX && star > 0 &&
	    slice_to_u64(slice_from(n.base, star + 1), HEADER_PARAMETERS_MAX, &section)) {
		n.section = (int)section;
		n.base = slice_sub(n.base, 0, star);
	}
	return n;
}

static void
append_percent(struct slice in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		int high =
		    in.ptr[i] == '%' && in.len - i > 2 ? hex_digit(in.ptr[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(in.ptr[i + 2]) : -1;
		if (low >= 0) {
			buf_append_byte(out, (char)(high << 4 | low));
			i += 2;
		} else {
			buf_append_byte(out, in.ptr[i]);
		}
	}
}

/* Appends a section's value; the first extended one begins with charset'language'. */
static void
append_section(const struct header_parameter *parameter, const struct extended_name *name,
    struct slice *charset, struct buf *bytes)
{
	struct slice value = parameter->value;
	if (!name->extended) {
		buf_append(bytes, value);
		return;
	}
	if (name->section <= 0) {
		size_t first = slice_index(value, '\'');
		size_t second = first == SIZE_MAX
		                    ? SIZE_MAX
		                    : slice_index(slice_from(value, first + 1), '\'');
		if (second != SIZE_MAX) {
			*charset = slice_sub(value, 0, first);
			value = slice_from(value, first + 1 + second + 1);
		}
	}
	append_percent(value, bytes);
}

/* All sections of `base`, in order, into one value.  `names` has a name for each of the
 * parameters, at most HEADER_PARAMETERS_MAX. */
static struct slice
join_sections(const struct header_value *written, const struct extended_name *names,
    struct slice base, struct arena *arena)
{
	struct buf bytes, text;
	struct slice charset = SLICE("utf-8");
	buf_init(&bytes, HEADER_BYTES_MAX);
	buf_init(&text, DECODED_MAX * 2);
	for (int section = -1; section <= HEADER_PARAMETERS_MAX; section++) {
		bool found = false;
		for (size_t i = 0; i < written->parameter_count && !found; i++) {
			const struct extended_name *name = &names[i];
			if (name->section != section ||
			    (section < 0 && !name->extended) ||
			    !slice_equal(name->base, base))
				continue;
			append_section(&written->parameters[i], name, &charset, &bytes);
			found = true;
		}
		/* "name*" stands alone; a gap ends the sections. */
		if (section < 0 ? found : !found)
			break;
	}
	charset_to_utf8(charset, buf_slice(&bytes), &text);
	struct slice joined = arena_copy(arena, buf_slice(&text));
	buf_fini(&bytes);
	buf_fini(&text);
	return joined;
}

void
header_value_join(
    const struct header_value *written, struct arena *arena, struct header_value *out)
{
	*out = *written;
	bool plain = true;
	for (size_t i = 0; i < written->parameter_count; i++)
		plain =
		    plain && slice_index(written->parameters[i].name, '*') == SIZE_MAX;
	if (plain)
		return;

	struct extended_name names[HEADER_PARAMETERS_MAX];
	ENSURE(written->parameter_count <= HEADER_PARAMETERS_MAX);
	for (size_t i = 0; i < written->parameter_count; i++)
		names[i] = split_name(written->parameters[i].name);

	out->parameters =
	    ARENA_ARRAY(arena, struct header_parameter, written->parameter_count);
	out->parameter_count = 0;
	/* Extended forms win over a plain one of the same name (RFC 6266 has it in words;
	 * mail programs send both), so they come first. */
	for (int pass = 0; pass < 2 && out->parameters; pass++) {
		for (size_t i = 0; i < written->parameter_count; i++) {
			const struct header_parameter *p = &written->parameters[i];
			struct extended_name name = names[i];
			bool simple = !name.extended && name.section < 0;
			if (simple == (pass == 0) ||
			    header_value_parameter(out, name.base).ptr)
				continue;
			struct slice value =
			    simple ? p->value
				   : join_sections(written, names, name.base, arena);
			if (!value.ptr)
				continue;
			out->parameters[out->parameter_count++] =
			    (struct header_parameter){name.base, value};
		}
	}
}

/* "[...]" and blanks at `at`: where it ends, or `at` when there is none. */
static size_t
skip_blob(struct slice s, size_t at)
{
	if (at >= s.len || s.ptr[at] != '[')
		return at;
	size_t end = at + 1;
	while (end < s.len && s.ptr[end] != '[' && s.ptr[end] != ']')
		end++;
	if (end >= s.len || s.ptr[end] != ']')
		return at;
	for (end++; end < s.len && s.ptr[end] == ' ';)
		end++;
	return end;
}

/* subj-leader: blobs, then "re", "fw" or "fwd", a blob, ":".  0 when there is none. */
static size_t
leader_length(struct slice s)
{
	size_t at = 0, blob;
	while ((blob = skip_blob(s, at)) != at)
		at = blob;
	struct slice rest = slice_from(s, at);
	if (slice_has_prefix_nocase(rest, SLICE("fwd")))
		at += 3;
	else if (slice_has_prefix_nocase(rest, SLICE("re")) ||
		 slice_has_prefix_nocase(rest, SLICE("fw")))
		at += 2;
	else
		return 0;
	while (at < s.len && s.ptr[at] == ' ')
		at++;
	at = skip_blob(s, at);
	return at < s.len && s.ptr[at] == ':' ? at + 1 : 0;
}

static struct slice
trim_left(struct slice s)
{
	while (s.len && s.ptr[0] == ' ')
		s = slice_from(s, 1);
	return s;
}

/* One round of RFC 5256 section 2.1, steps 2 to 5. */
static struct slice
strip_marks(struct slice s, bool *is_reply)
{
	for (;;) {
		while (s.len && s.ptr[s.len - 1] == ' ')
			s.len--;
		if (s.len < 5 ||
		    !slice_equal_nocase(slice_from(s, s.len - 5), SLICE("(fwd)")))
			break;
		s.len -= 5;
		*is_reply = true;
	}
	for (;;) {
		s = trim_left(s);
		size_t leader = leader_length(s);
		if (leader) {
			*is_reply = true;
			s = slice_from(s, leader);
			continue;
		}
		size_t blob = skip_blob(s, 0);
		if (blob == 0 || blob >= s.len)
			return s;
		s = slice_from(s, blob);
	}
}

void
header_base_subject(struct slice decoded, struct buf *out, bool *is_reply)
{
	char text[SUBJECT_MAX];
	size_t len = 0;
	struct slice in = utf8_cut(decoded, SUBJECT_MAX);
	/* Step 1: blanks of any kind and number are one space. */
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		if (c == '\t' || c == '\r' || c == '\n')
			c = ' ';
		if (c != ' ' || len == 0 || text[len - 1] != ' ')
			text[len++] = c;
	}
	struct slice s = slice_make(text, len);
	*is_reply = false;
	for (;;) {
		s = strip_marks(s, is_reply);
		if (!slice_has_prefix_nocase(s, SLICE("[fwd:")) ||
		    s.ptr[s.len - 1] != ']')
			break;
		*is_reply = true; /* step 6 */
		s = slice_sub(s, 5, s.len - 6);
	}
	buf_append(out, s);
}
