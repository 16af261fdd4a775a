/*
 * Writes the event log.
 *
 * A line is made whole on the stack by log_line() (pure) and leaves in one write(2).
 * Invariants: (1) a value can neither end its line nor pretend to be another field:
 * everything but plain printable text is quoted, and inside quotes the quote, the
 * backslash, every control character and every byte that is not part of valid UTF-8 is
 * escaped; (2) a line that would be too long loses whole fields from its end and says so
 * with cut=1, so a JSON line stays valid; (3) keys and event names come from our own
 * literals, and what does not look like one is replaced.  Any thread.
 *
 * It does not rotate files: whoever owns the descriptor does.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	LOG_CUT_ROOM = 12,   /* bytes kept free for the mark of a cut line */
	LOG_WRITE_TRIES = 8, /* write(2) calls for one line before it is given up */
};

static _Atomic(const char *) log_daemon = "postroom";
static _Atomic int log_level_max = LOG_LEVEL_INFO;
static _Atomic int log_format_now = LOG_FORMAT_TEXT;
static _Atomic int log_fd = STDERR_FILENO;

/* Where a line is made; `full` is sticky and means that something did not fit. */
struct line {
	char *out;
	size_t len;
	size_t size; /* bytes that may be used */
	bool full;
};

static void
line_byte(struct line *l, char c)
{
	if (l->len < l->size)
		l->out[l->len++] = c;
	else
		l->full = true;
}

static void
line_text(struct line *l, const char *text)
{
	for (; *text; text++)
		line_byte(l, *text);
}

static void
line_number(struct line *l, uint64_t value)
{
	char digits[20]; /* 2^64 - 1 has twenty */
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (at < sizeof(digits))
		line_byte(l, digits[at++]);
}

/* A key, an event or a daemon: letters, digits, and . _ - only. */
static void
line_name(struct line *l, const char *name)
{
	for (; *name; name++) {
		bool plain = ascii_is_alpha(*name) || ascii_is_digit(*name) ||
		             *name == '.' || *name == '_' || *name == '-';
		if (plain)
			line_byte(l, *name);
		else
			line_byte(l, '_');
	}
}

/*
 * Length of the UTF-8 character at `s` that may be shown as it is, or 0: not for ASCII,
 * for damaged or overlong sequences, surrogates, C1 controls (terminals obey them), the
 * line and paragraph separators, and the marks that turn the reading direction round.
 */
static size_t
utf8_shown_len(struct slice s)
{
	unsigned char lead = (unsigned char)s.ptr[0];
	size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
	uint32_t least = len == 4 ? 0x10000 : len == 3 ? 0x800 : 0xa0;
	if (lead < 0xc2 || lead > 0xf4 || s.len < len)
		return 0;
	uint32_t c = lead & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		unsigned char next = (unsigned char)s.ptr[i];
		if ((next & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (next & 0x3f);
	}
	if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	if ((c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
		return 0;
	return len;
}

/* Length of the character at `s` that may stand for itself inside quotes, or 0. */
static size_t
shown_len(struct slice s)
{
	unsigned char c = (unsigned char)s.ptr[0];
	if (c >= 0x80)
		return utf8_shown_len(s);
	return c >= ' ' && c != 0x7f && c != '"' && c != '\\' ? 1 : 0;
}

static char
hex_digit(unsigned value)
{
	return "0123456789abcdef"[value & 15];
}

/* One byte that may not stand for itself inside quotes. */
static void
line_escape(struct line *l, char c, enum log_format format)
{
	unsigned char byte = (unsigned char)c;
	line_byte(l, '\\');
	switch (c) {
	case '"':
	case '\\':
		line_byte(l, c);
		return;
	case '\n':
		line_byte(l, 'n');
		return;
	case '\r':
		line_byte(l, 'r');
		return;
	case '\t':
		line_byte(l, 't');
		return;
	default:
		break;
	}
	if (format == LOG_FORMAT_TEXT) {
		line_byte(l, 'x');
	} else if (byte < 0x80) {
		line_text(l, "u00");
	} else {
		/* JSON has no raw bytes: the replacement character, as decoders do. */
		line_text(l, "ufffd");
		return;
	}
	line_byte(l, hex_digit(byte >> 4));
	line_byte(l, hex_digit(byte));
}

static void
line_quoted(struct line *l, struct slice value, enum log_format format)
{
	struct slice shown = slice_sub(value, 0, LOG_VALUE_MAX);
	line_byte(l, '"');
	while (shown.len > 0) {
		size_t len = shown_len(shown);
		if (len == 0)
			line_escape(l, shown.ptr[0], format);
		for (size_t i = 0; i < len; i++)
			line_byte(l, shown.ptr[i]);
		shown = slice_from(shown, len ? len : 1);
	}
	if (value.len > LOG_VALUE_MAX)
		line_text(l, "...");
	line_byte(l, '"');
}

/* True for a value that needs no quotes in a text line. */
static bool
value_is_plain(struct slice value)
{
	if (value.len == 0 || value.len > LOG_VALUE_MAX)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
			return false;
	}
	return true;
}

static void
line_field(struct line *l, enum log_format format, const struct log_field *field)
{
	if (format == LOG_FORMAT_JSON) {
		line_text(l, ",\"");
		line_name(l, field->key);
		line_text(l, "\":");
	} else {
		line_byte(l, ' ');
		line_name(l, field->key);
		line_byte(l, '=');
	}
	if (field->is_number) {
		line_number(l, field->number);
	} else if (format == LOG_FORMAT_TEXT && value_is_plain(field->text)) {
		for (size_t i = 0; i < field->text.len; i++)
			line_byte(l, field->text.ptr[i]);
	} else {
		line_quoted(l, field->text, format);
	}
}

static void
line_time(struct line *l, int64_t wall_ms)
{
	/* Towards minus infinity, as clock_wall_s() does. */
	int64_t rest_ms = wall_ms % 1000;
	if (rest_ms < 0)
		rest_ms += 1000;
	time_t seconds = (time_t)((wall_ms - rest_ms) / 1000);
	struct tm tm;
	char text[32] = "";
	if (!gmtime_r(&seconds, &tm) ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
		line_text(l, "no-time");
		return;
	}
	line_text(l, text);
	line_byte(l, '.');
	line_byte(l, (char)('0' + rest_ms / 100));
	line_byte(l, (char)('0' + rest_ms / 10 % 10));
	line_byte(l, (char)('0' + rest_ms % 10));
	line_byte(l, 'Z');
}

static const char *
level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARN:
		return "warn";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_DEBUG:
		break;
	}
	return "debug";
}

/* Time, daemon, level and event: what every line begins with. */
static void
line_head(struct line *l, enum log_format format, int64_t wall_ms, const char *daemon,
    enum log_level level, const char *event)
{
	bool json = format == LOG_FORMAT_JSON;
	line_text(l, json ? "{\"time\":\"" : "");
	line_time(l, wall_ms);
	line_text(l, json ? "\",\"daemon\":\"" : " ");
	line_name(l, daemon);
	line_text(l, json ? "\",\"level\":\"" : " ");
	line_text(l, level_name(level));
	line_text(l, json ? "\",\"event\":\"" : " ");
	line_name(l, event);
	line_text(l, json ? "\"" : "");
}

size_t
log_line(char *out, size_t size, int64_t wall_ms, const char *daemon,
    enum log_level level, enum log_format format, const char *event,
    const struct log_field *fields, size_t count)
{
	if (size == 0)
		return 0;
	struct line l = {.out = out, .size = size - 1};
	if (l.size > LOG_CUT_ROOM)
		l.size -= LOG_CUT_ROOM;
	line_head(&l, format, wall_ms, daemon, level, event);
	for (size_t i = 0; i < count && !l.full; i++) {
		size_t before = l.len;
		line_field(&l, format, &fields[i]);
		if (l.full)
			l.len = before;
	}
	l.size = size - 1;
	if (l.full)
		line_text(&l, format == LOG_FORMAT_JSON ? ",\"cut\":1" : " cut=1");
	if (format == LOG_FORMAT_JSON)
		line_byte(&l, '}');
	out[l.len] = '\0';
	return l.len;
}

void
log_setup(const char *daemon, enum log_level level, enum log_format format, int fd)
{
	atomic_store(&log_daemon, daemon);
	atomic_store(&log_level_max, (int)level);
	atomic_store(&log_format_now, (int)format);
	atomic_store(&log_fd, fd);
}

/* Main thread only: the descriptor of the log file, once there was one. */
static int log_file_fd = -1;

static int
file_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	/* A daemon's umask leaves the group out, who may read the log all the same. */
	if (fd >= 0)
		(void)fchmod(fd, 0640);
	return fd;
}

bool
log_open(
    const char *daemon, enum log_level level, enum log_format format, const char *path)
{
	if (!path) {
		log_setup(daemon, level, format, STDERR_FILENO);
		return true;
	}
	int fd = file_open(path);
	if (fd < 0) {
		log_setup(daemon, level, format, atomic_load(&log_fd));
		return false;
	}
	if (log_file_fd < 0) {
		log_file_fd = fd;
	} else {
		(void)dup3(fd, log_file_fd, O_CLOEXEC);
		close(fd);
	}
	log_setup(daemon, level, format, log_file_fd);
	return true;
}

bool
log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level_max, memory_order_relaxed) &&
	       atomic_load_explicit(&log_fd, memory_order_relaxed) >= 0;
}

void
log_event(
    enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	char line[LOG_LINE_MAX + 1];
	if (!log_enabled(level))
		return;
	int saved_errno = errno;
	size_t len =
	    log_line(line, sizeof(line), clock_wall_ms(), atomic_load(&log_daemon), level,
		(enum log_format)atomic_load(&log_format_now), event, fields, count);
	line[len++] = '\n';
	/* A log that cannot be written must not stop mail: after a few tries it is lost.
	 */
	const char *at = line;
	for (int tries = 0; len > 0 && tries < LOG_WRITE_TRIES; tries++) {
		ssize_t put = write(atomic_load(&log_fd), at, len);
		if (put < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		at += put;
		len -= (size_t)put;
	}
	errno = saved_errno;
}
