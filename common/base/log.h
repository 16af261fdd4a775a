/*
 * The event log: one line an event, `time daemon level event key=value …`.  Values are
 * quoted and escaped when needed, so nothing from outside can make a second line.
 * Secrets and message content are never logged.  Thread-safe; one write(2) a line.
 *
 *	LOG_INFO("smtp.accept", LF("sid", sid), LF("from", from), LF_U64("size", n));
 *
 * Library code (common, store) logs at debug only; the daemons name session and user.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"

enum {
	LOG_LINE_MAX = 4095, /* bytes of a line; with its newline one atomic pipe write */
	LOG_VALUE_MAX = 1024, /* bytes of one value that are shown; "..." marks the cut */
};

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
	const char *key;
	struct slice text; /* when ptr is set (or is_number is false) */
	uint64_t number;
	bool is_number;
};

#define LF(key, slice_value) ((struct log_field){(key), (slice_value), 0, false})
#define LF_STR(key, cstr)    ((struct log_field){(key), slice_from_cstr(cstr), 0, false})
#define LF_U64(key, value)                                                               \
	((struct log_field){(key), SLICE_NULL, (uint64_t)(value), true})

/* Where lines go and how they look.  `daemon` is borrowed for ever (a literal).  `fd` is
 * -1 for none.  Call once before threads start, and again at reload. */
void log_setup(const char *daemon, enum log_level level, enum log_format format, int fd);
/* The same with lines going into the file `path` (made with mode 0640 when missing), or
 * to standard error when it is null.  Called again (another path, or the same after the
 * file was moved away) it keeps the descriptor's number, so that a thread that is just
 * writing never meets a closed one and nothing leaks.  False with errno when the file
 * cannot be opened: lines then go where they went.  Main thread only. */
bool log_open(
    const char *daemon, enum log_level level, enum log_format format, const char *path);
bool log_enabled(enum log_level level);
void log_event(enum log_level level, const char *event, const struct log_field *fields,
    size_t count);

#define LOG_AT(level, event, ...)                                                        \
	do {                                                                             \
		if (log_enabled(level)) {                                                \
			const struct log_field log_fields_[] = {__VA_ARGS__};            \
			log_event((level), (event), log_fields_,                         \
			    sizeof(log_fields_) / sizeof(log_fields_[0]));               \
		}                                                                        \
	} while (0)

#define LOG_ERROR(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define LOG_WARN(event, ...)  LOG_AT(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define LOG_INFO(event, ...)  LOG_AT(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define LOG_DEBUG(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

/* One formatted line without the newline into `out` (used by the trace file too).
 * Returns its length, at most size - 1. */
size_t log_line(char *out, size_t size, int64_t wall_ms, const char *daemon,
    enum log_level level, enum log_format format, const char *event,
    const struct log_field *fields, size_t count);

#endif
