/*
 * See mbox.h.  The rules are those of qmail's mbox(5) and of what Dovecot, c-client and
 * mutt read: a message begins at a line "From " with a date in it, whether or not an
 * empty line stands before.
 */
#include "text/mbox.h"

#include "text/header.h"

enum { FROM_LINE_MAX = 1024 /* bytes; a longer line is text */ };

/* ---- the From_ line ---- */
static bool
word_index(struct slice word, const char *names, uint32_t *out)
{
	if (word.len != 3)
		return false;
	for (uint32_t i = 0; names[i * 3]; i++) {
		if (memcmp(names + (size_t)i * 3, word.ptr, 3) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

static struct slice
word_take(struct slice *rest)
{
	while (rest->len > 0 && (*rest->ptr == ' ' || *rest->ptr == '\t'))
		*rest = slice_from(*rest, 1);
	size_t len = 0;
	while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
		len++;
	struct slice word = slice_sub(*rest, 0, len);
	*rest = slice_from(*rest, len);
	return word;
}

/* "12:08" or "12:08:34" */
static bool
clock_parse(struct slice word, int64_t *out_s)
{
	uint32_t hour, minute, second = 0;
	struct slice h = slice_split(&word, ':');
	struct slice m = slice_split(&word, ':');
	if (!slice_to_u32(h, &hour) || !slice_to_u32(m, &minute) || hour > 23 ||
	    minute > 59 || (word.ptr && !slice_to_u32(word, &second)) || second > 60)
		return false;
	*out_s = (int64_t)hour * 3600 + minute * 60 + second;
	return true;
}

static bool
zone_parse(struct slice word, int64_t *out_s)
{
	uint32_t number;
	if (word.len != 5 || (word.ptr[0] != '+' && word.ptr[0] != '-') ||
	    !slice_to_u32(slice_from(word, 1), &number) || number > 2400)
		return false;
	int64_t seconds = (int64_t)(number / 100 * 60 + number % 100) * 60;
	*out_s = word.ptr[0] == '-' ? -seconds : seconds;
	return true;
}

/* Days since 1970 of a date of the Gregorian calendar. */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t yoe = year - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* "Jul  8 12:08:34 [CEST] 2011 [+0200]" */
static bool
date_parse(struct slice text, int64_t *out)
{
	uint32_t month, day, year;
	int64_t seconds, zone = 0;
	struct slice word = word_take(&text);
	if (!word_index(word, "JanFebMarAprMayJunJulAugSepOctNovDec", &month))
		return false;
	word = word_take(&text);
	if (!slice_to_u32(word, &day) || day < 1 || day > 31 ||
	    !clock_parse(word_take(&text), &seconds))
		return false;
	word = word_take(&text);
	bool zoned = zone_parse(word, &zone);
	if (zoned || (word.len > 0 && !ascii_is_digit(*word.ptr)))
		word = word_take(&text);
	if (word.len != 4 || !slice_to_u32(word, &year) || year < 1970)
		return false;
	if (!zoned)
		(void)zone_parse(word_take(&text), &zone);
	*out = days_of(year, (int64_t)month + 1, day) * 86400 + seconds - zone;
	return true;
}

bool
mbox_from_line_parse(struct slice line, int64_t *out_date_s)
{
	uint32_t day;
	if (line.len > FROM_LINE_MAX || !slice_has_prefix(line, SLICE("From ")))
		return false;
	/* The sender may hold blanks: the first weekday with a date behind it counts. */
	for (struct slice rest = slice_from(line, 5); rest.len > 0;)
		if (word_index(word_take(&rest), "SunMonTueWedThuFriSat", &day) &&
		    date_parse(rest, out_date_s))
			return true;
	return false;
}

/* The line at `at`, without its end; *out_next is where the next one begins. */
static struct slice
line_at(struct slice file, size_t at, size_t *out_next)
{
	struct slice rest = slice_from(file, at);
	const char *end = rest.len > 0 ? memchr(rest.ptr, '\n', rest.len) : NULL;
	size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
	*out_next = at + len + (end != NULL);
	if (len > 0 && rest.ptr[len - 1] == '\r')
		len--;
	return slice_sub(rest, 0, len);
}

static bool
from_line_at(struct slice file, size_t at, size_t *out_next, int64_t *out_date_s)
{
	return slice_has_prefix(slice_from(file, at), SLICE("From ")) &&
	       mbox_from_line_parse(line_at(file, at, out_next), out_date_s);
}

static size_t
blank_skip(struct slice file, size_t at)
{
	while (at < file.len && (file.ptr[at] == '\n' || file.ptr[at] == '\r'))
		at++;
	return at;
}

bool
mbox_is_one(struct slice file)
{
	size_t next;
	int64_t date;
	size_t at = blank_skip(file, 0);
	return at == file.len || from_line_at(file, at, &next, &date);
}

/* ---- fields ---- */
static const struct slice META_FIELDS[] = {
    {"Status",         6 },
    {"X-Status",       8 },
    {"X-UID",          5 },
    {"X-IMAPbase",     10},
    {"X-IMAP",         6 },
    {"X-Keywords",     10},
    {"X-UIDL",         6 },
    {"Content-Length", 14},
    {"X-Postroom",     10},
};
enum {
	META_COUNT = sizeof(META_FIELDS) / sizeof(META_FIELDS[0]),
	META_OURS = META_COUNT - 1,
};

/* Which of them the line begins, or META_COUNT. */
static size_t
meta_of(struct slice line)
{
	size_t colon = slice_index(line, ':');
	if (colon == SIZE_MAX)
		return META_COUNT;
	struct slice name = slice_trim(slice_sub(line, 0, colon));
	size_t i = 0;
	while (i < META_COUNT && !slice_equal_nocase(name, META_FIELDS[i]))
		i++;
	return i;
}

/* ---- messages ---- */
/* The next From_ line at or after `at`, or the file's end. */
static size_t
from_line_find(struct slice file, size_t at)
{
	size_t next;
	int64_t date;
	while (!from_line_at(file, at, &next, &date)) {
		struct slice rest = slice_from(file, at);
		const char *found =
		    rest.len > 0 ? memmem(rest.ptr, rest.len, "\nFrom ", 6) : NULL;
		if (!found)
			return file.len;
		at = (size_t)(found - file.ptr) + 1;
	}
	return at;
}

/* Where the body ends by Content-Length, when a From_ line or the end of the file stands
 * there; else 0. */
static size_t
length_end(struct slice file, size_t body, const struct header_field *field)
{
	uint64_t length;
	size_t next;
	int64_t date;
	if (!slice_to_u64(slice_trim(field->value), file.len - body, &length))
		return 0;
	size_t end = body + (size_t)length;
	size_t from = blank_skip(file, end);
	if (from - end > 4 ||
	    (from < file.len && !from_line_at(file, from, &next, &date)))
		return 0;
	return end > 0 && (end == body || file.ptr[end - 1] == '\n' || from > end) ? end
	                                                                           : 0;
}

bool
mbox_next(
    struct slice file, enum mbox_quoting quoting, size_t *at, struct mbox_message *out)
{
	struct mbox_message message = {.quoting = quoting};
	struct header_field field;
	size_t start;
	size_t next;
	size_t from = from_line_find(file, blank_skip(file, *at));
	if (from >= file.len || !from_line_at(file, from, &start, &message.date_s)) {
		*at = file.len;
		return false;
	}
	message.offset = from;
	size_t end = from_line_find(file, start);
	struct slice head = slice_sub(file, start, end - start);
	size_t header_len = header_block_length(head);
	size_t by_length = 0;
	if (header_len <= MBOX_HEADER_MAX &&
	    header_find(slice_sub(head, 0, header_len), SLICE("Content-Length"), &field))
		by_length = length_end(file, start + header_len, &field);
	if (by_length > end && quoting == MBOX_QUOTING_AUTO)
		message.quoting = MBOX_QUOTING_NONE; /* a From_ line stands in the text */
	else if (quoting == MBOX_QUOTING_AUTO)
		message.quoting = MBOX_QUOTING_RD;
	if (by_length) {
		end = by_length;
		*at = end;
	} else {
		*at = end;
		/* The empty line behind the message is the format's, but a header's. */
		bool ours = meta_of(line_at(head, 0, &next)) == META_OURS;
		if ((ours || end > start + header_len) && end > start &&
		    file.ptr[end - 1] == '\n') {
			size_t cut = end - 1;
			cut -= cut > start && file.ptr[cut - 1] == '\r';
			if (cut > start && file.ptr[cut - 1] == '\n')
				end = cut;
		}
	}
	message.text = slice_sub(file, start, end - start);
	message.header_len =
	    header_len < message.text.len ? header_len : message.text.len;
	*out = message;
	return true;
}

static void
flags_take(struct slice value, struct mbox_meta *out)
{
	static const struct {
		char letter;
		unsigned flag;
	} letters[] = {
	    {'R', MBOX_SEEN    },
	    {'O', MBOX_OLD     },
	    {'A', MBOX_ANSWERED},
	    {'F', MBOX_FLAGGED },
	    {'D', MBOX_DELETED },
	    {'T', MBOX_DRAFT   },
	};
	for (size_t i = 0; i < value.len; i++)
		for (size_t l = 0; l < sizeof(letters) / sizeof(letters[0]); l++)
			if (letters[l].letter == value.ptr[i])
				out->flags |= letters[l].flag;
}

static void
ours_take(struct slice value, struct mbox_meta *out)
{
	while (value.len > 0) {
		struct slice word = word_take(&value);
		struct slice name = slice_split(&word, '=');
		uint64_t number;
		bool minus = word.len > 0 && *word.ptr == '-';
		if (!slice_to_u64(slice_from(word, minus), INT64_MAX, &number))
			continue;
		if (slice_equal(name, SLICE("date")))
			out->date_s = minus ? -(int64_t)number : (int64_t)number;
		else if (slice_equal(name, SLICE("zone")) && number < 24 * 60)
			out->zone_min = minus ? -(int)number : (int)number;
		else if (slice_equal(name, SLICE("lines")) && number < 64)
			out->block_lines = (uint32_t)number;
		else if (slice_equal(name, SLICE("exact")))
			out->is_exact = number == 1;
		else if (slice_equal(name, SLICE("cut")))
			out->is_cut = number == 1;
	}
}

static void
meta_take(size_t which, struct slice value, struct mbox_meta *out)
{
	struct slice word;
	value = slice_trim(value);
	switch (which) {
	case 0:
	case 1:
		flags_take(value, out);
		break;
	case 2:
		if (!slice_to_u32(value, &out->uid))
			out->uid = 0;
		break;
	case 3:
	case 4:
		if (!slice_to_u32(word_take(&value), &out->uidvalidity) ||
		    !slice_to_u32(word_take(&value), &out->uid_last))
			out->uidvalidity = out->uid_last = 0;
		break;
	case 5:
		while ((word = word_take(&value)).len > 0 &&
		       out->keyword_count < MBOX_KEYWORDS_MAX)
			out->keywords[out->keyword_count++] = word;
		break;
	case 6:
		out->uidl = value.len > 0 ? value : SLICE_NULL;
		break;
	default:
		break;
	}
}

/* Our own block: as many lines as its first one says. */
static void
block_take(struct slice header, struct mbox_meta *out)
{
	size_t next = 0;
	struct slice line = line_at(header, 0, &next);
	out->is_ours = meta_of(line) == META_OURS;
	if (!out->is_ours)
		return;
	ours_take(slice_from(line, slice_index(line, ':') + 1), out);
	out->block_len = next;
	for (uint32_t i = 1; i < out->block_lines && next < header.len; i++) {
		line = line_at(header, next, &next);
		size_t which = meta_of(line);
		if (which < META_COUNT)
			meta_take(
			    which, slice_from(line, slice_index(line, ':') + 1), out);
		out->block_len = next;
	}
}

void
mbox_meta_parse(const struct mbox_message *message, struct mbox_meta *out)
{
	static const struct slice internal = {
	    "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA", 58};
	struct slice header = slice_sub(message->text, 0, message->header_len);
	size_t next = 0;
	*out = (struct mbox_meta){0};
	if (header.len > MBOX_HEADER_MAX)
		return;
	block_take(header, out);
	if (out->is_ours) {
		struct slice line = line_at(header, out->block_len, &next);
		out->is_internal = out->uidvalidity && slice_equal(line, internal);
		return;
	}
	for (size_t at = 0; at < header.len; at = next) {
		struct slice line = line_at(header, at, &next);
		size_t which = meta_of(line);
		if (which < META_COUNT && line.ptr[0] != ' ' && line.ptr[0] != '\t')
			meta_take(
			    which, slice_from(line, slice_index(line, ':') + 1), out);
		if (slice_equal(line, internal))
			out->is_internal = true;
	}
	/* Others than c-client do not write it: it is a message like any. */
	out->is_internal = out->is_internal && out->uidvalidity;
}

/* ---- pieces ---- */
/* How many bytes of a line that begins here are the format's. */
static bool
is_quoted(struct slice rest, enum mbox_quoting quoting)
{
	size_t marks = 0;
	while (marks < rest.len && rest.ptr[marks] == '>')
		marks++;
	return marks > 0 && slice_has_prefix(slice_from(rest, marks), SLICE("From ")) &&
	       (quoting == MBOX_QUOTING_RD || (quoting == MBOX_QUOTING_O && marks == 1));
}

/* Skips fields of ours at *cursor; returns where the header goes on. */
static size_t
meta_skip(const struct mbox_message *message, const struct mbox_meta *meta, size_t at)
{
	struct slice header = slice_sub(message->text, 0, message->header_len);
	size_t next;
	if (meta->is_ours)
		return at < meta->block_len ? meta->block_len : at;
	if (header.len > MBOX_HEADER_MAX)
		return at;
	while (at < header.len && meta_of(line_at(header, at, &next)) < META_COUNT) {
		at = next;
		while (at < header.len &&
		       (header.ptr[at] == ' ' || header.ptr[at] == '\t')) {
			(void)line_at(header, at, &next);
			at = next;
		}
	}
	return at;
}

bool
mbox_piece_next(const struct mbox_message *message, const struct mbox_meta *meta,
    size_t *cursor, struct slice *out)
{
	struct slice text = message->text;
	size_t at = *cursor;
	size_t next;
	/* In the header a piece is a line. */
	if (at < message->header_len) {
		at = meta_skip(message, meta, at);
		if (at < message->header_len) {
			at += is_quoted(slice_from(text, at), message->quoting);
			(void)line_at(text, at, &next);
			*cursor = next;
			*out = slice_sub(text, at, next - at);
			return true;
		}
	}
	if (at >= text.len) {
		*cursor = text.len;
		return false;
	}
	/* In the body it goes up to the next quoted line. */
	at += is_quoted(slice_from(text, at), message->quoting);
	size_t end = at;
	do {
		struct slice rest = slice_from(text, end);
		const char *found = message->quoting == MBOX_QUOTING_NONE || rest.len == 0
		                        ? NULL
		                        : memmem(rest.ptr, rest.len, "\n>", 2);
		end = found ? (size_t)(found - text.ptr) + 1 : text.len;
	} while (end < text.len && !is_quoted(slice_from(text, end), message->quoting));
	*cursor = end;
	*out = slice_sub(text, at, end - at);
	return true;
}
