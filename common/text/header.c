/*
 * Header fields and their structured values.
 *
 * A block is walked line by line with memchr; every function is linear in its input.
 * Lines may end in CRLF or in LF alone.  Values are lenient: mail is full of parameters
 * without semicolons, quotes without an end and blanks in tokens.  RFC 2045 section 5.1,
 * RFC 2231, RFC 5322 section 2.2.
 */
#include "text/header.h"

#include "text/encoding.h"
#include "text/header_int.h"

static struct slice
line_at(struct slice s)
{
	const char *lf = s.len ? memchr(s.ptr, '\n', s.len) : NULL;
	return slice_make(s.ptr, lf ? (size_t)(lf - s.ptr) + 1 : s.len);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

size_t
header_block_length(struct slice message)
{
	size_t at = 0;
	while (at < message.len) {
		struct slice line = line_at(slice_from(message, at));
		at += line.len;
		if (line.ptr[0] == '\n' || (line.len == 2 && line.ptr[0] == '\r'))
			break;
	}
	return at;
}

void
header_iter_init(struct header_iter *it, struct slice block)
{
	it->rest = slice_sub(block, 0, HEADER_BYTES_MAX);
	it->count = 0;
}

/* The field's lines: one, and those behind it that begin with a blank. */
static struct slice
take_field_lines(struct slice rest, struct slice first)
{
	size_t len = first.len;
	while (len < rest.len && is_blank(rest.ptr[len]))
		len += line_at(slice_from(rest, len)).len;
	return slice_sub(rest, 0, len);
}

bool
header_iter_next(struct header_iter *it, struct header_field *out)
{
	while (it->rest.len && it->count < HEADER_FIELDS_MAX) {
		struct slice line = line_at(it->rest);
		if (line.ptr[0] == '\n' || (line.len == 2 && line.ptr[0] == '\r'))
			break;
		struct slice whole = take_field_lines(it->rest, line);
		it->rest = slice_from(it->rest, whole.len);
		it->count++;
		size_t colon = slice_index(line, ':');
		if (colon == SIZE_MAX || colon == 0 || is_blank(line.ptr[0]))
			continue;
		size_t end = colon;
		while (end && is_blank(line.ptr[end - 1]))
			end--;
		/* A blank inside is "From x Mon 1 10:00" of an mbox, or no field. */
		struct slice name = slice_sub(line, 0, end);
		if (slice_index(name, ' ') != SIZE_MAX ||
		    slice_index(name, '\t') != SIZE_MAX)
			continue;
		out->name = name;
		out->whole = whole;
		out->value = slice_from(whole, colon + 1);
		return true;
	}
	it->rest = SLICE_NULL;
	return false;
}

bool
header_find(struct slice block, struct slice name, struct header_field *out)
{
	struct header_iter it;
	header_iter_init(&it, block);
	while (header_iter_next(&it, out)) {
		if (slice_equal_nocase(out->name, name))
			return true;
	}
	return false;
}

struct slice
header_unfold(struct slice value, struct arena *arena)
{
	struct slice s = slice_trim(value);
	struct slice copy = arena_copy(arena, s);
	if (!copy.ptr || (memchr(copy.ptr, '\n', copy.len) == NULL &&
			     memchr(copy.ptr, '\r', copy.len) == NULL))
		return copy;
	char *to = (char *)copy.ptr; /* ours: the copy above */
	size_t len = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] != '\r' && s.ptr[i] != '\n')
			to[len++] = s.ptr[i];
	}
	to[len] = '\0';
	return slice_make(to, len);
}

/* Comments and blanks. Linear; an open comment runs to the end. */
static size_t
skip_cfws(struct slice in, size_t at)
{
	size_t depth = 0;
	for (; at < in.len; at++) {
		char c = in.ptr[at];
		if (c == '(')
			depth++;
		else if (c == ')' && depth)
			depth--;
		else if (c == '\\' && depth && at + 1 < in.len)
			at++;
		else if (!depth && !is_space(c))
			break;
	}
	return at;
}

static struct slice
copy_lower(struct arena *arena, struct slice s)
{
	struct slice copy = arena_copy(arena, s);
	char *p = (char *)copy.ptr; /* ours */
	for (size_t i = 0; i < copy.len; i++)
		p[i] = ascii_lower(p[i]);
	return copy;
}

static bool
ends_token(char c)
{
	return is_space(c) || c == ';' || c == '(' || c == '=';
}

/* A quoted value behind its quote: folds go, escapes resolve.  *at goes behind the
 * closing quote. */
static struct slice
take_quoted(struct slice in, size_t *at, struct arena *arena)
{
	size_t end = *at, escapes = 0;
	for (; end < in.len && in.ptr[end] != '"'; end++) {
		if (in.ptr[end] == '\\' && end + 1 < in.len)
			end++, escapes++;
		else if (in.ptr[end] == '\r' || in.ptr[end] == '\n')
			escapes++;
	}
	struct slice raw = slice_sub(in, *at, end - *at);
	*at = end < in.len ? end + 1 : end;
	struct slice copy = arena_copy(arena, raw);
	if (!copy.ptr || !escapes)
		return copy;
	char *to = (char *)copy.ptr; /* ours */
	size_t len = 0;
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.ptr[i] == '\r' || raw.ptr[i] == '\n')
			continue;
		if (raw.ptr[i] == '\\' && i + 1 < raw.len)
			i++;
		to[len++] = raw.ptr[i];
	}
	return slice_make(to, len);
}

/* True when what is at `at` reads "token=": the next parameter, its semicolon lost. */
static bool
starts_parameter(struct slice in, size_t at)
{
	size_t from = at;
	while (at < in.len && !ends_token(in.ptr[at]) && in.ptr[at] != '"')
		at++;
	return at > from && at < in.len && in.ptr[at] == '=';
}

/* A bare value: up to ";", to a comment that ends it, or to the next parameter. */
static struct slice
take_bare(struct slice in, size_t *at, struct arena *arena)
{
	size_t from = *at, i = *at, end = *at;
	while (i < in.len && in.ptr[i] != ';') {
		if (!is_space(in.ptr[i])) {
			end = ++i;
			continue;
		}
		while (i < in.len && is_space(in.ptr[i]))
			i++;
		if (i < in.len && in.ptr[i] == '(') {
			size_t behind = skip_cfws(in, i);
			if (behind >= in.len || in.ptr[behind] == ';' ||
			    starts_parameter(in, behind)) {
				i = behind;
				break;
			}
			/* "(1)" inside a file name: keep it, and look at it only once. */
			end = i = behind;
			while (end > from && is_space(in.ptr[end - 1]))
				end--;
			continue;
		}
		if (starts_parameter(in, i))
			break;
	}
	*at = i;
	return header_unfold(slice_sub(in, from, end - from), arena);
}

/* One parameter at *at (behind ";" and blanks); false when there is none. */
static bool
take_parameter(
    struct slice in, size_t *at, struct arena *arena, struct header_parameter *out)
{
	size_t from = *at;
	while (*at < in.len && !ends_token(in.ptr[*at]))
		(*at)++;
	struct slice name = slice_sub(in, from, *at - from);
	*at = skip_cfws(in, *at);
	if (name.len == 0 || *at >= in.len || in.ptr[*at] != '=') {
		/* Not "name=": step over what is there. */
		if (*at < in.len && in.ptr[*at] != ';' && *at == from)
			(*at)++;
		return false;
	}
	*at = skip_cfws(in, *at + 1);
	out->name = copy_lower(arena, name);
	if (*at < in.len && in.ptr[*at] == '"') {
		(*at)++;
		out->value = take_quoted(in, at, arena);
	} else {
		out->value = take_bare(in, at, arena);
	}
	return out->name.ptr && out->value.ptr;
}

static void
take_parameters(struct slice in, size_t at, struct arena *arena, struct header_value *out)
{
	enum { FIRST_CAP = 4 };
	size_t cap = 0;
	while (out->parameter_count < HEADER_PARAMETERS_MAX) {
		at = skip_cfws(in, at);
		while (at < in.len && in.ptr[at] == ';')
			at = skip_cfws(in, at + 1);
		if (at >= in.len)
			break;
		struct header_parameter parameter;
		if (!take_parameter(in, &at, arena, &parameter))
			continue;
		if (out->parameter_count == cap) {
			size_t more = cap ? cap * 2 : FIRST_CAP;
			struct header_parameter *grown =
			    ARENA_ARRAY(arena, struct header_parameter, more);
			if (!grown)
				return;
			if (cap)
				memcpy(grown, out->parameters, cap * sizeof(*grown));
			out->parameters = grown;
			cap = more;
		}
		out->parameters[out->parameter_count++] = parameter;
	}
}

void
header_value_parse_written(
    struct slice value, struct arena *arena, struct header_value *out)
{
	*out = (struct header_value){0};
	size_t at = skip_cfws(value, 0);
	size_t from = at;
	while (
	    at < value.len && !is_space(value.ptr[at]) && !strchr("/;(=", value.ptr[at]))
		at++;
	out->type = copy_lower(arena, slice_sub(value, from, at - from));
	if (at < value.len && value.ptr[at] == '=') {
		/* "name=x" where the type should be: no type, but a parameter. */
		out->type = SLICE("");
		at = from;
	}
	at = skip_cfws(value, at);
	if (at < value.len && value.ptr[at] == '/') {
		from = at = skip_cfws(value, at + 1);
		while (at < value.len && !is_space(value.ptr[at]) &&
		       value.ptr[at] != ';' && value.ptr[at] != '(')
			at++;
		out->subtype = copy_lower(arena, slice_sub(value, from, at - from));
	}
	take_parameters(value, at, arena, out);
}

void
header_value_parse(struct slice value, struct arena *arena, struct header_value *out)
{
	struct header_value written;
	header_value_parse_written(value, arena, &written);
	header_value_join(&written, arena, out);
}

struct slice
header_value_parameter(const struct header_value *value, struct slice name)
{
	for (size_t i = 0; i < value->parameter_count; i++) {
		if (slice_equal_nocase(value->parameters[i].name, name))
			return value->parameters[i].value;
	}
	return SLICE_NULL;
}

static struct slice
wrap_id(struct slice id, struct arena *arena)
{
	char *at = arena_alloc(arena, id.len + 2);
	if (!at)
		return SLICE_NULL;
	size_t len = 0;
	at[len++] = '<';
	for (size_t i = 0; i < id.len; i++) {
		if (!is_space(id.ptr[i]) && id.ptr[i] != '\0')
			at[len++] = id.ptr[i];
	}
	at[len++] = '>';
	return slice_make(at, len);
}

size_t
header_message_ids(struct slice value, struct arena *arena, struct slice *out, size_t max)
{
	size_t count = 0, at = 0;
	while (at < value.len && count < max) {
		size_t open = slice_index(slice_from(value, at), '<');
		if (open == SIZE_MAX)
			break;
		size_t from = at + open + 1;
		size_t len = slice_index(slice_from(value, from), '>');
		if (len == SIZE_MAX)
			break;
		/* "<junk <id@host>": the last "<" counts. */
		size_t inner = slice_rindex(slice_sub(value, from, len), '<');
		size_t start = inner == SIZE_MAX ? from : from + inner + 1;
		at = from + len + 1;
		struct slice id =
		    wrap_id(slice_sub(value, start, from + len - start), arena);
		if (id.len > 2)
			out[count++] = id;
	}
	struct slice bare = slice_trim(value);
	if (count == 0 && max && bare.len && slice_index(bare, '<') == SIZE_MAX &&
	    slice_index(bare, ' ') == SIZE_MAX && slice_index(bare, '@') != SIZE_MAX) {
		struct slice id = wrap_id(bare, arena);
		if (id.len > 2)
			out[count++] = id;
	}
	return count;
}
