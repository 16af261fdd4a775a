/*
 * See maildir.h.  Formats: Dovecot's doc/wiki MailboxFormat/Maildir, Courier's
 * courierimapuiddb, and what both write.
 */
#include "text/maildir.h"

#include "text/encoding.h"

enum { LEVEL_MAX = 1024 /* bytes of one decoded name */ };

/* ---- uid lists ---- */
static struct slice
line_take(struct slice *rest)
{
	struct slice line = slice_split(rest, '\n');
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	return line;
}

bool
maildir_uidlist_open(struct slice text, struct maildir_uidlist *out)
{
	struct maildir_uidlist list = {.rest = text, .line = 1};
	struct slice line = line_take(&list.rest);
	struct slice version = slice_split(&line, ' ');
	uint32_t number;
	if (!slice_to_u32(version, &number) || (number != 1 && number != 3))
		return false;
	list.version = number;
	if (number == 1) {
		struct slice validity = slice_split(&line, ' ');
		if (!slice_to_u32(validity, &list.uidvalidity) ||
		    !slice_to_u32(slice_split(&line, ' '), &list.uidnext))
			return false;
	} else {
		while (line.len > 0) {
			struct slice field = slice_split(&line, ' ');
			uint32_t *place = field.len == 0      ? NULL
			                  : *field.ptr == 'V' ? &list.uidvalidity
			                  : *field.ptr == 'N' ? &list.uidnext
			                                      : NULL;
			if (place && !slice_to_u32(slice_from(field, 1), place))
				return false;
		}
	}
	if (list.uidvalidity == 0)
		return false;
	*out = list;
	return true;
}

static struct slice
base_of(struct slice name)
{
	/* ":2," is what everybody writes; ";2," and "!2," stand in for it where the file
	 * system has no colons. */
	for (size_t i = 0; i + 3 <= name.len; i++) {
		char c = name.ptr[i];
		if ((c == ':' || c == ';' || c == '!') && name.ptr[i + 1] == '2' &&
		    name.ptr[i + 2] == ',')
			return slice_sub(name, 0, i);
	}
	size_t colon = slice_index(name, ':');
	return colon == SIZE_MAX ? name : slice_sub(name, 0, colon);
}

enum maildir_line
maildir_uidlist_next(
    struct maildir_uidlist *list, uint32_t above, struct maildir_uid *out)
{
	if (list->rest.len == 0)
		return MAILDIR_LINE_END;
	struct maildir_uid entry = {0};
	struct slice line = line_take(&list->rest);
	list->line++;
	if (!slice_to_u32(slice_split(&line, ' '), &entry.uid) || entry.uid <= above)
		return MAILDIR_LINE_BAD;
	while (list->version == 3 && line.len > 0 && *line.ptr != ':') {
		struct slice field = slice_split(&line, ' ');
		if (field.len > 1 && *field.ptr == 'P')
			entry.uidl = slice_from(field, 1);
	}
	if (list->version == 3)
		line = line.len > 0 ? slice_from(line, 1) : line;
	entry.base = base_of(line);
	if (entry.base.len == 0)
		return MAILDIR_LINE_BAD;
	*out = entry;
	return MAILDIR_LINE_OK;
}

size_t
maildir_keywords_parse(struct slice text, struct slice out[MAILDIR_KEYWORDS_MAX])
{
	size_t bad = 0;
	for (size_t i = 0; i < MAILDIR_KEYWORDS_MAX; i++)
		out[i] = SLICE_NULL;
	while (text.len > 0) {
		struct slice line = line_take(&text);
		uint32_t number;
		if (line.len == 0)
			continue;
		if (slice_to_u32(slice_split(&line, ' '), &number) &&
		    number < MAILDIR_KEYWORDS_MAX && line.len > 0)
			out[number] = line;
		else
			bad++;
	}
	return bad;
}

/* ---- file names ---- */
static void
base_fields(struct slice base, struct maildir_name *out)
{
	(void)slice_split(&base, ',');
	while (base.len > 0) {
		struct slice field = slice_split(&base, ',');
		uint64_t value;
		if (field.len < 3 || field.ptr[1] != '=')
			continue;
		struct slice text = slice_from(field, 2);
		bool minus = text.ptr[0] == '-';
		if (!slice_to_u64(slice_from(text, minus), INT64_MAX, &value))
			continue;
		if (field.ptr[0] == 'z' && value < 24 * 60) {
			out->has_zone = true;
			out->zone_min = minus ? -(int)value : (int)value;
		} else if (field.ptr[0] == 'S' && !minus) {
			out->size = value;
		} else if (field.ptr[0] == 'W' && !minus) {
			out->vsize = value;
		}
	}
}

void
maildir_name_parse(struct slice name, struct maildir_name *out)
{
	static const struct {
		char letter;
		unsigned flag;
	} letters[] = {
	    {'S', MAILDIR_SEEN   },
	    {'R', MAILDIR_REPLIED},
	    {'F', MAILDIR_FLAGGED},
	    {'T', MAILDIR_TRASHED},
	    {'D', MAILDIR_DRAFT  },
	    {'P', MAILDIR_PASSED },
	};
	*out = (struct maildir_name){.base = base_of(name)};
	base_fields(out->base, out);
	for (size_t i = out->base.len + 3; i < name.len; i++) {
		char c = name.ptr[i];
		if (c >= 'a' && c <= 'z')
			out->keywords |= UINT32_C(1) << (c - 'a');
		for (size_t l = 0; l < sizeof(letters) / sizeof(letters[0]); l++)
			if (letters[l].letter == c)
				out->flags |= letters[l].flag;
	}
}

/* ---- folder names ---- */
static bool
level_decode(struct slice level, struct buf *out)
{
	static const struct slice dot = {"&AC4-", 5};
	size_t before = out->len;
	struct slice rest = level;
	bool good = level.len > 0;
	while (good) {
		size_t at = slice_find(rest, dot);
		struct slice piece = at == SIZE_MAX ? rest : slice_sub(rest, 0, at);
		good = mutf7_decode(piece, out);
		if (at == SIZE_MAX)
			break;
		buf_append_byte(out, '.');
		rest = slice_from(rest, at + dot.len);
	}
	if (!good && level.len > 0 && utf8_is_valid(level)) {
		buf_truncate(out, before);
		buf_append(out, level);
		good = true;
	}
	struct slice made = slice_from(buf_slice(out), before);
	for (size_t i = 0; i < made.len; i++) {
		unsigned char c = (unsigned char)made.ptr[i];
		if (c < ' ' || c == 0x7f || c == '/')
			return false; /* no mailbox can have it */
	}
	return good && made.len > 0;
}

bool
maildir_folder_decode(struct slice name, char separator, struct buf *out)
{
	for (bool first = true; first || name.ptr; first = false) {
		if (!first)
			buf_append_byte(out, '/');
		if (!level_decode(slice_split(&name, separator), out) ||
		    out->len > LEVEL_MAX)
			return false;
	}
	return buf_ok(out);
}

void
maildir_folder_encode(struct slice name, struct buf *out)
{
	size_t start = 0;
	for (size_t i = 0; i <= name.len; i++) {
		if (i < name.len && name.ptr[i] != '/' && name.ptr[i] != '.')
			continue;
		mutf7_encode(slice_sub(name, start, i - start), out);
		if (i < name.len)
			buf_append_cstr(out, name.ptr[i] == '.' ? "&AC4-" : ".");
		start = i + 1;
	}
}

void
maildir_subscriptions_open(struct slice text, struct maildir_subscriptions *out)
{
	static const struct slice head = {"V\t2\n", 4};
	out->second = slice_has_prefix(text, head);
	out->rest = out->second ? slice_from(text, head.len) : text;
}

bool
maildir_subscriptions_next(struct maildir_subscriptions *list, struct buf *out)
{
	while (list->rest.len > 0) {
		struct slice line = line_take(&list->rest);
		char separator = list->second ? '\t' : '.';
		if (!list->second && slice_index(line, '/') != SIZE_MAX)
			separator = '/';
		if (!list->second && slice_has_prefix(line, SLICE("INBOX.")))
			line = slice_from(line, 6);
		buf_reset(out);
		if (line.len > 0 && maildir_folder_decode(line, separator, out))
			return true;
	}
	return false;
}
