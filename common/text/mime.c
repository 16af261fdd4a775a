/*
 * The part tree, in one pass over the message's lines.
 *
 * A stack holds the open multiparts' boundaries, innermost last.  A line "--boundary",
 * with blanks behind it, ends everything inside that multipart and begins its next part;
 * with "--" behind the boundary it ends the multipart (RFC 2046 section 5.1.1).  The line
 * end before such a line belongs to it.  An outer boundary ends inner parts, and the end
 * of the message ends all.  Of two equal boundaries the inner one counts.  The whole line
 * has to match: a boundary that is another's prefix is common, text behind one is not.
 *
 * Invariants: (1) a part's header and body lie in its parent's body, siblings do not
 * overlap; (2) parts are made in document order, so `index` is that order; (3) the time
 * is linear: each byte is looked at by one memchr, and a line that begins with "--" is
 * compared with at most MIME_DEPTH_MAX boundaries, once.
 */
#include "text/mime.h"

#include "base/ensure.h"
#include "text/encoding.h"
#include "text/header_int.h"

enum { BOUNDARY_MAX = 998 /* bytes; RFC 2046 has 70, mail has more */ };

struct open_multipart {
	struct mime_part *part;
	struct slice boundary;
	struct mime_part *last_child;
};

struct parser {
	struct slice in;
	struct arena *arena;
	uint32_t count;
	struct mime_part *current; /* innermost open part */
	bool in_header;            /* of current */
	uint64_t newlines;         /* before the line being read */
	size_t depth;              /* of stack */
	struct open_multipart stack[MIME_DEPTH_MAX];
	/* Newlines before each open part's body, by level. */
	uint64_t body_newlines[MIME_DEPTH_MAX + 2];
};

/* Newlines in bytes, eight at a time: eight counters side by side in one word, which are
 * added up before one of them is full.  (Counting the bits of each word costs a call
 * where the compiler must not use the processor's instruction for it.) */
static uint64_t
count_newlines(struct slice s)
{
	const uint64_t low7 = 0x7f7f7f7f7f7f7f7fu, ones = 0x0101010101010101u;
	const uint64_t even = 0x00ff00ff00ff00ffu;
	uint64_t count = 0, word;
	const char *p = s.ptr;
	size_t n = s.len;
	while (n >= sizeof(word)) {
		uint64_t lanes = 0;
		for (unsigned i = 0; i < 255 && n >= sizeof(word);
		     i++, p += sizeof(word), n -= sizeof(word)) {
			memcpy(&word, p, sizeof(word));
			word ^= 0x0a0a0a0a0a0a0a0au;
			word = ~(((word & low7) + low7) | word); /* 0x80 where zero */
			lanes += (word >> 7) & ones;
		}
		lanes = (lanes & even) + (lanes >> 8 & even);
		count += (lanes * 0x0001000100010001u) >> 48;
	}
	for (; n; p++, n--)
		count += *p == '\n';
	return count;
}

static size_t
part_depth(const struct mime_part *part)
{
	size_t depth = 0;
	for (; part->parent; part = part->parent)
		depth++;
	return depth;
}

/* A new part under `parent` whose header begins at `offset`; null at the limits. */
static struct mime_part *
part_open(
    struct parser *p, struct mime_part *parent, struct mime_part *before, size_t offset)
{
	if (p->count >= MIME_PARTS_MAX)
		return NULL;
	struct mime_part *part = ARENA_ARRAY(p->arena, struct mime_part, 1);
	if (!part)
		return NULL;
	part->index = p->count++;
	part->parent = parent;
	part->header_offset = part->body_offset = offset;
	if (before)
		before->next = part;
	else if (parent)
		parent->child = part;
	p->current = part;
	p->in_header = true;
	return part;
}

/* Ends `part` at `end`, which is before the line end that a boundary owns. */
static void
part_close(struct parser *p, struct mime_part *part, size_t end, uint64_t newlines)
{
	if (p->in_header && part == p->current) {
		/* A header without an empty line: all of it is header. */
		part->header_len = end - part->header_offset;
		part->body_offset = end;
		part->body_len = 0;
		return;
	}
	if (end <= part->body_offset)
		return;
	uint64_t before = p->body_newlines[part_depth(part)];
	part->body_len = end - part->body_offset;
	part->body_lines = newlines > before ? (uint32_t)(newlines - before) : 0;
}

/* What the header fields of one part say. */
struct part_fields {
	struct slice content_type;
	struct slice encoding;
	struct slice disposition;
};

static void
take_field(const struct header_field *field, struct mime_part *part,
    struct part_fields *fields, struct arena *arena)
{
	static const struct {
		struct slice name;
		enum {
			TYPE,
			ENCODING,
			ID,
			DESCRIPTION,
			MD5,
			LOCATION,
			LANGUAGE,
			DISPOSITION
		} is;
	} names[] = {
	    {{"type", 4},               TYPE       },
	    {{"transfer-encoding", 17}, ENCODING   },
	    {{"id", 2},                 ID         },
	    {{"description", 11},       DESCRIPTION},
	    {{"md5", 3},                MD5        },
	    {{"location", 8},           LOCATION   },
	    {{"language", 8},           LANGUAGE   },
	    {{"disposition", 11},       DISPOSITION},
	};
	struct slice *text = NULL;
	if (field->name.len < 10 || (field->name.ptr[0] | 0x20) != 'c' ||
	    !slice_has_prefix_nocase(field->name, SLICE("Content-")))
		return;
	struct slice rest = slice_from(field->name, 8);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!slice_equal_nocase(rest, names[i].name))
			continue;
		switch (names[i].is) {
		case TYPE:
			if (!fields->content_type.ptr)
				fields->content_type = field->value;
			break;
		case ENCODING:
			if (!fields->encoding.ptr)
				fields->encoding = field->value;
			break;
		case DISPOSITION:
			if (!fields->disposition.ptr)
				fields->disposition = field->value;
			break;
		case ID:
			text = &part->id;
			break;
		case DESCRIPTION:
			text = &part->description;
			break;
		case MD5:
			text = &part->md5;
			break;
		case LOCATION:
			text = &part->location;
			break;
		case LANGUAGE:
			text = &part->language;
			break;
		}
	}
	if (text && !text->ptr) {
		*text = header_unfold(field->value, arena);
		if (text->len == 0)
			*text = SLICE_NULL;
	}
}

/* RFC 2045 section 5.2's default, and RFC 2046 section 5.1.5's in a digest. */
static void
set_default_type(struct mime_part *part)
{
	bool digest = part->parent && part->parent->kind == MIME_MULTIPART &&
	              slice_equal(part->parent->content_type.subtype, SLICE("digest"));
	part->content_type = (struct header_value){0};
	part->content_type.type = digest ? SLICE("message") : SLICE("text");
	part->content_type.subtype = digest ? SLICE("rfc822") : SLICE("plain");
	part->content_type_written = part->content_type;
}

static void
set_content_type(struct mime_part *part, struct slice value, struct arena *arena)
{
	struct header_value *written = &part->content_type_written;
	if (!value.ptr) {
		set_default_type(part);
		return;
	}
	header_value_parse_written(value, arena, written);
	/* Old mail has "text"; a multipart with a boundary is one all the same. */
	if (written->type.len && written->subtype.len == 0) {
		if (slice_equal(written->type, SLICE("text")))
			written->subtype = SLICE("plain");
		else if (slice_equal(written->type, SLICE("multipart")))
			written->subtype = SLICE("mixed");
	}
	if (written->type.len == 0 || written->subtype.len == 0) {
		set_default_type(part);
		return;
	}
	part->content_type_given = true;
	header_value_join(written, arena, &part->content_type);
}

/* The first token of Content-Transfer-Encoding, lower case. */
static struct slice
encoding_token(struct slice value, struct arena *arena)
{
	struct header_value parsed;
	if (!value.ptr)
		return SLICE("7bit");
	value = slice_trim(value);
	if (value.len > 1 && value.ptr[0] == '"') /* quotes do not belong, but exist */
		value = slice_sub(value, 1, value.len - 2);
	header_value_parse_written(slice_sub(value, 0, 100), arena, &parsed);
	return parsed.type.len ? parsed.type : SLICE("7bit");
}

static void
read_header(struct parser *p, struct mime_part *part)
{
	struct part_fields fields = {{0}, {0}, {0}};
	struct header_iter it;
	struct header_field field;

	header_iter_init(&it, slice_sub(p->in, part->header_offset, part->header_len));
	while (header_iter_next(&it, &field))
		take_field(&field, part, &fields, p->arena);
	set_content_type(part, fields.content_type, p->arena);
	part->encoding = encoding_token(fields.encoding, p->arena);
	if (fields.disposition.ptr) {
		header_value_parse_written(
		    fields.disposition, p->arena, &part->disposition_written);
		header_value_join(
		    &part->disposition_written, p->arena, &part->disposition);
		if (part->disposition.type.len == 0)
			part->disposition.type = part->disposition_written.type =
			    SLICE_NULL;
	}
}

static bool
is_message_type(const struct mime_part *part)
{
	return slice_equal(part->content_type.type, SLICE("message")) &&
	       (slice_equal(part->content_type.subtype, SLICE("rfc822")) ||
		   slice_equal(part->content_type.subtype, SLICE("global")));
}

/* The current part's header ended at `end`, newlines counted up to there: what is it? */
static void
header_done(struct parser *p, size_t end, uint64_t newlines)
{
	struct mime_part *part = p->current;
	size_t depth = part_depth(part);

	p->in_header = false;
	part->header_len = end - part->header_offset;
	part->body_offset = end;
	p->body_newlines[depth] = newlines;
	read_header(p, part);
	/* At the limits it stays a leaf. */
	if (depth + 1 >= MIME_DEPTH_MAX || p->count >= MIME_PARTS_MAX)
		return;
	if (is_message_type(part)) {
		part->kind = MIME_MESSAGE;
		if (!part_open(p, part, NULL, end))
			part->kind = MIME_LEAF;
	} else if (slice_equal(part->content_type.type, SLICE("multipart"))) {
		struct slice boundary =
		    header_value_parameter(&part->content_type, SLICE("boundary"));
		while (boundary.len && strchr(" \t", boundary.ptr[boundary.len - 1]))
			boundary.len--;
		part->kind = MIME_MULTIPART;
		if (boundary.len && boundary.len <= BOUNDARY_MAX)
			p->stack[p->depth++] =
			    (struct open_multipart){part, boundary, NULL};
	}
}

/* A part that ended inside its header still has a type; a message then has an empty
 * message in it. */
static void
header_finish_open(struct parser *p, size_t end)
{
	struct mime_part *part = p->current;
	part->header_len = end - part->header_offset;
	part->body_offset = end;
	read_header(p, part);
	if (slice_equal(part->content_type.type, SLICE("multipart"))) {
		part->kind = MIME_MULTIPART;
	} else if (is_message_type(part) && part_depth(part) + 1 < MIME_DEPTH_MAX) {
		struct mime_part *child = part_open(p, part, NULL, end);
		if (!child)
			return;
		part->kind = MIME_MESSAGE;
		read_header(p, child);
	}
}

/* Which open boundary the line is: level, or SIZE_MAX; *is_end for "--" behind it. */
static size_t
match_boundary(const struct parser *p, struct slice line, bool *is_end)
{
	while (line.len && memchr(" \t\r\n", line.ptr[line.len - 1], 4))
		line.len--;
	line = slice_from(line, 2);
	for (size_t level = p->depth; level-- > 0;) {
		struct slice boundary = p->stack[level].boundary;
		if (line.len != boundary.len && line.len != boundary.len + 2)
			continue;
		if (memcmp(line.ptr, boundary.ptr, boundary.len) != 0)
			continue;
		*is_end = line.len != boundary.len;
		if (!*is_end ||
		    (line.ptr[boundary.len] == '-' && line.ptr[boundary.len + 1] == '-'))
			return level;
	}
	return SIZE_MAX;
}

/* Closes the open parts from the current one up to below `stop` (null: all). */
static void
close_up_to(struct parser *p, const struct mime_part *stop, size_t end, uint64_t newlines)
{
	for (struct mime_part *part = p->current; part != stop; part = part->parent)
		part_close(p, part, end, newlines);
	p->in_header = false;
}

/* A boundary line at `at`, the next line at `next`. */
static void
boundary_line(struct parser *p, size_t level, bool is_end, size_t at, size_t next)
{
	struct open_multipart *open = &p->stack[level];
	size_t end = at;
	uint64_t newlines = p->newlines;
	if (p->in_header) {
		/* The header's own line end stays with it. */
		header_finish_open(p, at);
	} else if (end > p->current->body_offset && p->in.ptr[end - 1] == '\n') {
		end--;
		newlines--;
		if (end > p->current->body_offset && p->in.ptr[end - 1] == '\r')
			end--;
	}
	close_up_to(p, open->part, end, newlines);
	p->current = open->part;
	p->depth = level + 1;
	if (is_end) {
		p->depth = level; /* what follows is epilogue: part of its body */
		return;
	}
	struct mime_part *part = part_open(p, open->part, open->last_child, next);
	if (part)
		open->last_child = part;
}

/* At the parts' limit boundaries are not looked at any more: the last part takes all. */
static void
read_lines(struct parser *p)
{
	size_t at = 0;
	while (at < p->in.len) {
		const char *line = p->in.ptr + at;
		if (!p->in_header && (p->depth == 0 || p->count >= MIME_PARTS_MAX)) {
			p->newlines += count_newlines(slice_from(p->in, at));
			return;
		}
		const char *lf = memchr(line, '\n', p->in.len - at);
		size_t next = lf ? (size_t)(lf - p->in.ptr) + 1 : p->in.len;
		size_t len = next - at, level = SIZE_MAX;
		bool is_end = false;
		if (line[0] == '-' && len > 2 && line[1] == '-' && p->depth &&
		    p->count < MIME_PARTS_MAX)
			level = match_boundary(p, slice_make(line, len), &is_end);
		if (level != SIZE_MAX)
			boundary_line(p, level, is_end, at, next);
		else if (p->in_header &&
			 (line[0] == '\n' || (len == 2 && line[0] == '\r' && lf)))
			header_done(p, next, p->newlines + 1);
		p->newlines += lf ? 1 : 0;
		at = next;
	}
}

struct mime_part *
mime_parse(struct slice message, struct arena *arena, uint32_t *out_count)
{
	struct parser p = {.in = message, .arena = arena};
	struct mime_part *root = part_open(&p, NULL, NULL, 0);
	ENSURE(root); /* the caller's arena has room for one part */
	read_lines(&p);
	if (p.in_header)
		header_finish_open(&p, message.len);
	close_up_to(&p, NULL, message.len, p.newlines);
	*out_count = p.count;
	return root;
}

static struct mime_part *
nth_child(struct mime_part *container, uint32_t number)
{
	if (container->kind != MIME_MULTIPART)
		return number == 1 ? container : NULL;
	struct mime_part *part = container->child;
	for (; part && number > 1; number--)
		part = part->next;
	return number == 0 ? NULL : part;
}

struct mime_part *
mime_part_find(struct mime_part *root, const uint32_t *numbers, size_t count)
{
	struct mime_part *container = root, *part = root;
	for (size_t i = 0; i < count; i++) {
		if (i > 0) {
			if (part->kind == MIME_LEAF)
				return NULL;
			container = part->kind == MIME_MESSAGE ? part->child : part;
		}
		part = container ? nth_child(container, numbers[i]) : NULL;
		if (!part)
			return NULL;
	}
	return part;
}

void
mime_body_decode(const struct mime_part *part, struct slice message, struct buf *out)
{
	struct slice body = slice_sub(message, part->body_offset, part->body_len);
	if (slice_equal(part->encoding, SLICE("base64")))
		base64_decode_lenient(body, out);
	else if (slice_equal(part->encoding, SLICE("quoted-printable")))
		qp_decode(body, out);
	else
		buf_append(out, body);
}
