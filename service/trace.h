/*
 * Where is my message?  Every leg of every message's way is one line in a file a day,
 * <dir>/YYYY-MM-DD.log, in the log's text form; `postroom trace` reads them.  Lines carry
 * `mid` (one id from MAIL to delivery or bounce) and addresses.  Not synced: it explains,
 * it does not promise.  Bounded: TRACE_FILE_MAX bytes a day, `trace_days` days.
 */
#ifndef SERVICE_TRACE_H
#define SERVICE_TRACE_H

#include "base/log.h"
#include "base/status.h"

enum {
	TRACE_LINE_MAX = 4096, /* bytes */
	TRACE_FILE_MAX =
	    1024 * 1024 * 1024, /* bytes a day; what is over it is not kept */
	TRACE_FIELDS_MAX = 24,
};

struct trace;

/* `dir` is made when missing.  `daemon` is borrowed for ever. */
enum status trace_open(const char *dir, const char *daemon, struct trace **out) MUST_USE;
void trace_close(struct trace **trace);
/* Thread-safe; null trace does nothing. */
void trace_event(
    struct trace *trace, const char *event, const struct log_field *fields, size_t count);
/* Deletes files older than `days`. */
void trace_prune(struct trace *trace, unsigned days);

#define TRACE(trace, event, ...)                                                         \
	do {                                                                             \
		const struct log_field trace_fields_[] = {__VA_ARGS__};                  \
		trace_event((trace), (event), trace_fields_,                             \
		    sizeof(trace_fields_) / sizeof(trace_fields_[0]));                   \
	} while (0)

/* The folder that it writes to. */
const char *trace_dir(const struct trace *trace);

/* Calls fn for each line (oldest first, without newline) since `since_s`; fn returns
 * false to stop.  NOT_FOUND when there are no trace files. */
enum status trace_each(const char *dir, int64_t since_s,
    bool (*fn)(struct slice line, void *arg), void *arg) MUST_USE;
/* The event's name: "relay.done". */
struct slice trace_event_name(struct slice line);
/* The same for each line that holds `needle` as a value of mid, from, to, orig or msgid,
 * ASCII case ignored. */
enum status trace_find(const char *dir, int64_t since_s, struct slice needle,
    bool (*fn)(struct slice line, void *arg), void *arg) MUST_USE;
/* ---- from a place on: for who was told what is before it ---- */

/* A place between two lines; as text "2026-11-24:1234". */
struct trace_place {
	int64_t day; /* days since 1970 */
	uint64_t offset;
};
enum { TRACE_PLACE_TEXT_MAX = 40 };
void trace_place_text(const struct trace_place *place, char out[TRACE_PLACE_TEXT_MAX]);
bool trace_place_parse(struct slice text, struct trace_place *out);
/* Behind the last line that there is; NOT_FOUND without files. */
enum status trace_place_end(const char *dir, struct trace_place *out) MUST_USE;
/* Calls fn for each line from *place on, which moves behind each line that fn returned
 * true for; false stops.  The lines are on the disk before they are told, so that a place
 * never comes to stand for other lines.  NOT_FOUND: the file is gone (*place is the first
 * one that is left: call again); INVALID: it is no place between lines. */
enum status trace_read(const char *dir, struct trace_place *place,
    bool (*fn)(struct slice line, const struct trace_place *at, void *arg),
    void *arg) MUST_USE;

/* The value of a key in a line, unescaped into out; false when it has none. */
bool trace_value(struct slice line, const char *key, char *out, size_t size);

#endif
