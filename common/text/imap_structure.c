/*
 * ENVELOPE, BODY and BODYSTRUCTURE.
 *
 * RFC 9051 section 7.5.2 and its formal syntax (body, envelope, address).  Where the RFC
 * leaves room this follows what clients know from Dovecot: text without a charset shows
 * us-ascii, a multipart without parts shows one empty text/plain part, a language is
 * always a list.  A leaf whose type claims structure that it does not have here (depth
 * and count limits) shows as application/octet-stream, so that the syntax stays valid.
 */
#include "text/imap_structure.h"

#include "text/encoding.h"

enum {
	QUOTED_MAX = 1000, /* bytes; longer strings are literals */
	ESCAPES_MAX = 4,   /* in a quoted string; more make a literal */
	PARAMETERS_MAX = HEADER_PARAMETERS_MAX,
	LANGUAGES_MAX = 50,
	INNER_ARENA_MAX = 4 * 1024 * 1024, /* bytes for one inner message's envelope */
};

/* What `s` needs: SIZE_MAX for a literal, else the escapes of a quoted string. */
static size_t
string_escapes(struct slice s)
{
	size_t escapes = 0;
	if (s.len > QUOTED_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c > 127 || c == '\r' || c == '\n' || c == 0)
			return SIZE_MAX;
		if (c == '"' || c == '\\')
			escapes++;
	}
	return escapes > ESCAPES_MAX ? SIZE_MAX : escapes;
}

static void
literal_write(struct slice s, struct buf *out)
{
	buf_append_byte(out, '{');
	buf_append_u64(out, s.len);
	buf_append(out, SLICE("}\r\n"));
	char *to = buf_reserve(out, s.len);
	if (!to)
		return;
	for (size_t i = 0; i < s.len; i++)
		to[i] = s.ptr[i] ? s.ptr[i] : '?';
	buf_commit(out, s.len);
}

void
imap_string_write(struct slice s, struct buf *out)
{
	size_t escapes = string_escapes(s);
	if (escapes == SIZE_MAX) {
		literal_write(s, out);
		return;
	}
	char *to = buf_reserve(out, s.len + escapes + 2);
	if (!to)
		return;
	size_t len = 0;
	to[len++] = '"';
	if (escapes == 0 && s.len) {
		memcpy(to + len, s.ptr, s.len);
		len += s.len;
	} else {
		for (size_t i = 0; i < s.len; i++) {
			if (s.ptr[i] == '"' || s.ptr[i] == '\\')
				to[len++] = '\\';
			to[len++] = s.ptr[i];
		}
	}
	to[len++] = '"';
	buf_commit(out, len);
}

void
imap_nstring_write(struct slice s, struct buf *out)
{
	if (s.ptr)
		imap_string_write(s, out);
	else
		buf_append(out, SLICE("NIL"));
}

enum field_id {
	FROM,
	SENDER,
	REPLY_TO,
	TO,
	CC,
	BCC,
	DATE,
	SUBJECT,
	IN_REPLY_TO,
	MESSAGE_ID,
	REFERENCES,
	FIELD_COUNT
};

static enum field_id
field_find(struct slice name)
{
	static const struct slice names[FIELD_COUNT] = {
	    [FROM] = {"from",        4 },
	    [SENDER] = {"sender",      6 },
	    [REPLY_TO] = {"reply-to",    8 },
	    [TO] = {"to",          2 },
	    [CC] = {"cc",          2 },
	    [BCC] = {"bcc",         3 },
	    [DATE] = {"date",        4 },
	    [SUBJECT] = {"subject",     7 },
	    [IN_REPLY_TO] = {"in-reply-to", 11},
	    [MESSAGE_ID] = {"message-id",  10},
	    [REFERENCES] = {"references",  10},
	};
	for (enum field_id id = FROM; id < FIELD_COUNT; id++) {
		if (name.len == names[id].len &&
		    (name.ptr[0] | 0x20) == names[id].ptr[0] &&
		    slice_equal_nocase(name, names[id]))
			return id;
	}
	return FIELD_COUNT;
}

static void
addresses_add(struct address_array *array, struct slice value, struct arena *arena)
{
	struct list_address *list;
	size_t count = address_list_parse(value, arena, &list);
	if (array->count == 0) {
		array->list = list;
		array->count = count;
		return;
	}
	/* Repeated fields read as one list, up to its limit. */
	size_t sum = array->count + count;
	struct list_address *both = count && sum <= ADDRESS_LIST_MAX
	                                ? ARENA_ARRAY(arena, struct list_address, sum)
	                                : NULL;
	if (!both)
		return;
	memcpy(both, array->list, array->count * sizeof(*both));
	memcpy(both + array->count, list, count * sizeof(*both));
	array->list = both;
	array->count = sum;
}

void
envelope_fields_parse(
    struct slice block, struct arena *arena, struct envelope_fields *out)
{
	struct header_iter it;
	struct header_field field;

	*out = (struct envelope_fields){0};
	struct address_array *arrays[] = {
	    &out->from, &out->sender, &out->reply_to, &out->to, &out->cc, &out->bcc};
	struct slice *texts[] = {&out->date, &out->subject, &out->in_reply_to,
	    &out->message_id, &out->references};
	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		enum field_id id = field_find(field.name);
		if (id == FIELD_COUNT)
			continue;
		if (id <= BCC)
			addresses_add(arrays[id], field.value, arena);
		else if (!texts[id - DATE]->ptr)
			*texts[id - DATE] = field.value;
	}
}

/* A field's text: trimmed, line ends dropped.  Present but empty is "". */
static void
field_text_write(struct slice value, struct buf *out)
{
	if (!value.ptr) {
		buf_append(out, SLICE("NIL"));
		return;
	}
	value = slice_trim(value);
	if (value.len == 0 || (!memchr(value.ptr, '\n', value.len) &&
				  !memchr(value.ptr, '\r', value.len))) {
		imap_string_write(value.ptr ? value : SLICE(""), out);
		return;
	}
	struct buf text;
	buf_init(&text, value.len);
	char *to = buf_reserve(&text, value.len);
	size_t len = 0;
	for (size_t i = 0; to && i < value.len; i++) {
		if (value.ptr[i] != '\r' && value.ptr[i] != '\n')
			to[len++] = value.ptr[i];
	}
	buf_commit(&text, len);
	imap_string_write(buf_slice(&text), out);
	buf_fini(&text);
}

static void
address_write_one(const struct list_address *a, struct buf *out)
{
	buf_append_byte(out, '(');
	imap_nstring_write(a->name, out);
	buf_append_byte(out, ' ');
	imap_nstring_write(a->route, out);
	buf_append_byte(out, ' ');
	imap_nstring_write(a->mailbox, out);
	buf_append_byte(out, ' ');
	imap_nstring_write(a->host, out);
	buf_append_byte(out, ')');
}

static void
addresses_write(const struct address_array *array, struct buf *out)
{
	if (array->count == 0) {
		buf_append(out, SLICE("NIL"));
		return;
	}
	buf_append_byte(out, '(');
	for (size_t i = 0; i < array->count; i++)
		address_write_one(&array->list[i], out);
	buf_append_byte(out, ')');
}

void
imap_envelope_write(const struct envelope_fields *fields, struct buf *out)
{
	const struct address_array *from = &fields->from;
	const struct address_array *lists[] = {from,
	    fields->sender.count ? &fields->sender : from,
	    fields->reply_to.count ? &fields->reply_to : from, &fields->to, &fields->cc,
	    &fields->bcc};
	buf_append_byte(out, '(');
	field_text_write(fields->date, out);
	buf_append_byte(out, ' ');
	field_text_write(fields->subject, out);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		buf_append_byte(out, ' ');
		addresses_write(lists[i], out);
	}
	buf_append_byte(out, ' ');
	field_text_write(fields->in_reply_to, out);
	buf_append_byte(out, ' ');
	field_text_write(fields->message_id, out);
	buf_append_byte(out, ')');
}

struct writer {
	struct slice message;
	bool extended, bare;
	struct arena *scratch; /* for one inner envelope at a time; null until needed */
	struct buf *out;
};

static void
parameters_write(const struct writer *w, const struct header_value *value, bool text)
{
	size_t count = w->bare ? 0 : value->parameter_count;
	bool charset = false;
	if (count == 0 && !text) {
		buf_append(w->out, SLICE("NIL"));
		return;
	}
	buf_append_byte(w->out, '(');
	for (size_t i = 0; i < count; i++) {
		const struct header_parameter *p = &value->parameters[i];
		if (i)
			buf_append_byte(w->out, ' ');
		imap_string_write(p->name, w->out);
		buf_append_byte(w->out, ' ');
		imap_string_write(p->value, w->out);
		charset = charset || slice_equal(p->name, SLICE("charset")) ||
		          slice_has_prefix(p->name, SLICE("charset*"));
	}
	if (text && !charset) {
		if (count)
			buf_append_byte(w->out, ' ');
		buf_append(w->out, SLICE("\"charset\" \"us-ascii\""));
	}
	buf_append_byte(w->out, ')');
}

static void
disposition_write(const struct writer *w, const struct mime_part *part)
{
	if (w->bare || !part->disposition_written.type.ptr) {
		buf_append(w->out, SLICE("NIL"));
		return;
	}
	buf_append_byte(w->out, '(');
	imap_string_write(part->disposition_written.type, w->out);
	buf_append_byte(w->out, ' ');
	parameters_write(w, &part->disposition_written, false);
	buf_append_byte(w->out, ')');
}

/* Content-Language: tags parted by commas (RFC 3282); a comment may follow. */
static void
language_write(const struct writer *w, struct slice value)
{
	size_t count = 0;
	value = w->bare ? SLICE_NULL : value;
	while (value.ptr && count < LANGUAGES_MAX) {
		struct slice tag = slice_trim(slice_split(&value, ','));
		size_t end = 0;
		while (end < tag.len && !strchr(" \t(;", tag.ptr[end]))
			end++;
		if (end == 0)
			continue;
		buf_append_byte(w->out, count++ ? ' ' : '(');
		imap_string_write(slice_sub(tag, 0, end), w->out);
	}
	buf_append(w->out, count ? SLICE(")") : SLICE("NIL"));
}

/* " disposition language location": the tail of both extended forms. */
static void
extension_tail_write(const struct writer *w, const struct mime_part *part)
{
	buf_append_byte(w->out, ' ');
	disposition_write(w, part);
	buf_append_byte(w->out, ' ');
	language_write(w, part->language);
	buf_append_byte(w->out, ' ');
	imap_nstring_write(w->bare ? SLICE_NULL : part->location, w->out);
}

static void
inner_envelope_write(struct writer *w, const struct mime_part *message)
{
	struct envelope_fields fields = {0};
	if (!w->bare) {
		if (!w->scratch)
			w->scratch = arena_new(INNER_ARENA_MAX);
		envelope_fields_parse(
		    slice_sub(w->message, message->header_offset, message->header_len),
		    w->scratch, &fields);
	}
	imap_envelope_write(&fields, w->out);
	if (w->scratch)
		arena_reset(w->scratch);
}

/* What a leaf shows as its type. */
static bool
leaf_type_is_shown(const struct mime_part *part)
{
	const struct header_value *type = &part->content_type_written;
	if (part->kind == MIME_MESSAGE)
		return true;
	return !slice_equal(type->type, SLICE("multipart")) &&
	       !(slice_equal(type->type, SLICE("message")) &&
		   (slice_equal(type->subtype, SLICE("rfc822")) ||
		       slice_equal(type->subtype, SLICE("global"))));
}

static void part_write(struct writer *w, const struct mime_part *part);

static void
single_write(struct writer *w, const struct mime_part *part)
{
	const struct header_value *type = &part->content_type_written;
	bool shown = leaf_type_is_shown(part);
	bool text = shown && slice_equal(type->type, SLICE("text"));
	struct buf *out = w->out;

	/* Bare form has bounded types: what is long is not known to clients anyway. */
	if (w->bare && type->type.len + type->subtype.len > 100)
		shown = text = false;
	buf_append_byte(out, '(');
	imap_string_write(shown ? type->type : SLICE("application"), out);
	buf_append_byte(out, ' ');
	imap_string_write(shown ? type->subtype : SLICE("octet-stream"), out);
	buf_append_byte(out, ' ');
	parameters_write(w, type, text);
	buf_append_byte(out, ' ');
	imap_nstring_write(w->bare ? SLICE_NULL : part->id, out);
	buf_append_byte(out, ' ');
	imap_nstring_write(w->bare ? SLICE_NULL : part->description, out);
	buf_append_byte(out, ' ');
	imap_string_write(part->encoding, out);
	buf_append_byte(out, ' ');
	buf_append_u64(out, part->body_len);
	if (part->kind == MIME_MESSAGE) {
		buf_append_byte(out, ' ');
		inner_envelope_write(w, part->child);
		buf_append_byte(out, ' ');
		part_write(w, part->child);
	}
	if (text || part->kind == MIME_MESSAGE) {
		buf_append_byte(out, ' ');
		buf_append_u64(out, part->body_lines);
	}
	if (w->extended) {
		buf_append_byte(out, ' ');
		imap_nstring_write(w->bare ? SLICE_NULL : part->md5, out);
		extension_tail_write(w, part);
	}
	buf_append_byte(out, ')');
}

static void
multipart_write(struct writer *w, const struct mime_part *part)
{
	struct buf *out = w->out;
	buf_append_byte(out, '(');
	if (!part->child) {
		/* body-type-mpart needs one part at least. */
		buf_append(
		    out, SLICE("(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL "
			       "NIL \"7bit\" 0 0"));
		buf_append(out, w->extended ? SLICE(" NIL NIL NIL NIL)") : SLICE(")"));
	}
	for (const struct mime_part *child = part->child; child; child = child->next)
		part_write(w, child);
	buf_append_byte(out, ' ');
	struct slice subtype = part->content_type_written.subtype;
	imap_string_write(w->bare && subtype.len > 100 ? SLICE("mixed") : subtype, out);
	if (w->extended) {
		buf_append_byte(out, ' ');
		parameters_write(w, &part->content_type_written, false);
		extension_tail_write(w, part);
	}
	buf_append_byte(out, ')');
}

/* Recursion is bounded by MIME_DEPTH_MAX. */
static void
part_write(struct writer *w, const struct mime_part *part)
{
	if (part->kind == MIME_MULTIPART)
		multipart_write(w, part);
	else
		single_write(w, part);
}

void
imap_structure_write(const struct mime_part *root, struct slice message, bool extended,
    bool bare, struct buf *out)
{
	struct writer w = {message, extended, bare, NULL, out};
	part_write(&w, root);
	arena_free(&w.scratch);
}
