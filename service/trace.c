/*
 * The trace files; see trace.h.
 */
#include "service/trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"

enum {
	DAY_S = 86400,
	NAME_LEN = 14,    /* "2026-11-24.log" */
	FILES_MAX = 4000, /* files looked at in the folder */
};

struct trace {
	const char *daemon;
	char *dir;
	pthread_mutex_t lock; /* guards fd, day and bytes */
	int fd;
	int64_t day;
	int64_t tried_s; /* when the file was last opened */
	uint64_t bytes;
};

static void
day_name(int64_t day, char out[NAME_LEN + 1])
{
	time_t at = (time_t)(day * DAY_S);
	struct tm tm;
	gmtime_r(&at, &tm);
	strftime(out, NAME_LEN + 1, "%Y-%m-%d.log", &tm);
}

static char *
path_of(const char *dir, const char *name)
{
	char *path = NULL;
	if (asprintf(&path, "%s/%s", dir, name) < 0)
		abort();
	return path;
}

enum status
trace_open(const char *dir, const char *daemon, struct trace **out)
{
	if (mkdir(dir, 0750) != 0 && errno != EEXIST)
		return status_from_errno(errno);
	struct trace *t = xcalloc(1, sizeof(*t));
	t->daemon = daemon;
	t->dir = xstrdup(dir);
	pthread_mutex_init(&t->lock, NULL);
	t->fd = -1;
	t->day = -1;
	*out = t;
	return STATUS_OK;
}

void
trace_close(struct trace **trace)
{
	struct trace *t = *trace;
	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	pthread_mutex_destroy(&t->lock);
	free(t->dir);
	free(t);
	*trace = NULL;
}

/* With the lock held: the file of today, or -1. */
static int
file_of_today(struct trace *t)
{
	int64_t now_s = clock_wall_s();
	int64_t day = now_s / DAY_S;
	/* A file that could not be opened (disk full at midnight) is tried again, but not
	 * with every event. */
	if (day == t->day && (t->fd >= 0 || now_s == t->tried_s))
		return t->fd;
	t->tried_s = now_s;
	if (t->fd >= 0)
		close(t->fd);
	char name[NAME_LEN + 1];
	day_name(day, name);
	char *path = path_of(t->dir, name);
	t->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	free(path);
	struct stat st;
	t->bytes = t->fd >= 0 && fstat(t->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	t->day = day;
	return t->fd;
}

void
trace_event(
    struct trace *trace, const char *event, const struct log_field *fields, size_t count)
{
	if (!trace)
		return;
	char line[TRACE_LINE_MAX];
	size_t len = log_line(line, sizeof(line) - 1, clock_wall_ms(), trace->daemon,
	    LOG_LEVEL_INFO, LOG_FORMAT_TEXT, event, fields, count);
	line[len++] = '\n';
	pthread_mutex_lock(&trace->lock);
	int fd = file_of_today(trace);
	if (fd >= 0 && trace->bytes + len <= TRACE_FILE_MAX) {
		/* One write: O_APPEND keeps lines of several processes whole.  A failure
		 * (disk full) costs an explanation, never a message. */
		ssize_t written = write(fd, line, len);
		if (written > 0)
			trace->bytes += (uint64_t)written;
	}
	pthread_mutex_unlock(&trace->lock);
}

static bool
name_is_ours(const char *name)
{
	return strlen(name) == NAME_LEN && name[4] == '-' && name[7] == '-' &&
	       strcmp(name + 10, ".log") == 0;
}

static int
name_filter(const struct dirent *entry)
{
	return name_is_ours(entry->d_name);
}

void
trace_prune(struct trace *trace, unsigned days)
{
	char oldest[NAME_LEN + 1];
	day_name(clock_wall_s() / DAY_S - (int64_t)days, oldest);
	struct dirent **entries;
	int count = scandir(trace->dir, &entries, name_filter, alphasort);
	for (int i = 0; i < count; i++) {
		if (strcmp(entries[i]->d_name, oldest) < 0) {
			char *path = path_of(trace->dir, entries[i]->d_name);
			unlink(path);
			free(path);
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* ---- reading ---- */

/* One word of a line, up to the blank behind it; a quoted part counts as a whole, so that
 * nothing in a value looks like a key. */
static struct slice
word_take(struct slice *rest)
{
	bool quoted = false;
	size_t i = 0;
	for (; i < rest->len && (quoted || rest->ptr[i] != ' '); i++) {
		if (rest->ptr[i] == '"')
			quoted = !quoted;
		else if (quoted && rest->ptr[i] == '\\')
			i++;
	}
	struct slice word = slice_sub(*rest, 0, i);
	*rest = slice_from(*rest, i + 1);
	return word;
}

bool
trace_value(struct slice line, const char *key, char *out, size_t size)
{
	struct slice wanted = slice_from_cstr(key);
	struct slice word = SLICE_NULL;
	bool found = false;
	while (!found && line.len > 0) {
		word = word_take(&line);
		found = slice_has_prefix(word, wanted) && word.len > wanted.len &&
		        word.ptr[wanted.len] == '=';
	}
	if (!found)
		return false;
	struct slice rest = slice_from(word, wanted.len + 1);
	bool quoted = rest.len > 0 && rest.ptr[0] == '"';
	size_t used = 0;
	for (size_t i = quoted; i < rest.len && used + 1 < size; i++) {
		char c = rest.ptr[i];
		if (quoted && c == '"')
			break;
		if (quoted && c == '\\' && i + 1 < rest.len)
			c = rest.ptr[++i];
		out[used++] = c;
	}
	out[used] = '\0';
	return true;
}

static bool
line_matches(struct slice line, struct slice needle)
{
	static const char *const keys[] = {
	    "mid", "to", "from", "orig", "msgid", "parent"};
	char value[1024];
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (trace_value(line, keys[i], value, sizeof(value)) &&
		    slice_equal_nocase(slice_from_cstr(value), needle))
			return true;
	}
	return false;
}

struct slice
trace_event_name(struct slice line)
{
	for (int i = 0; i < 3; i++) /* time, daemon, level */
		slice_split(&line, ' ');
	return slice_split(&line, ' ');
}

const char *
trace_dir(const struct trace *trace)
{
	return trace->dir;
}

struct find {
	char since[32]; /* RFC 3339: compares as text */
	bool (*fn)(struct slice line, void *arg);
	void *arg;
	bool stopped;
};

static void
find_in_bytes(struct find *f, struct slice rest)
{
	while (rest.len > 0 && !f->stopped) {
		size_t lf = slice_index(rest, '\n');
		struct slice line = slice_sub(rest, 0, lf == SIZE_MAX ? rest.len : lf);
		rest = slice_from(rest, line.len + (lf != SIZE_MAX));
		size_t stamp = strlen(f->since);
		if (line.len < stamp || memcmp(line.ptr, f->since, stamp) < 0)
			continue;
		f->stopped = !f->fn(line, f->arg);
	}
}

static void
find_in_file(struct find *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	struct stat st;
	if (fstat(fd, &st) == 0 && st.st_size > 0) {
		void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map != MAP_FAILED) {
			find_in_bytes(f, slice_make(map, (size_t)st.st_size));
			munmap(map, (size_t)st.st_size);
		}
	}
	close(fd);
}

enum status
trace_each(
    const char *dir, int64_t since_s, bool (*fn)(struct slice line, void *arg), void *arg)
{
	struct find f = {.fn = fn, .arg = arg};
	time_t since = (time_t)since_s;
	struct tm tm;
	gmtime_r(&since, &tm);
	strftime(f.since, sizeof(f.since), "%Y-%m-%dT%H:%M:%S", &tm);
	struct dirent **entries;
	int count = scandir(dir, &entries, name_filter, alphasort);
	if (count < 0)
		return STATUS_NOT_FOUND;
	for (int i = 0; i < count; i++) {
		if (i < FILES_MAX && memcmp(entries[i]->d_name, f.since, 10) >= 0) {
			char *path = path_of(dir, entries[i]->d_name);
			find_in_file(&f, path);
			free(path);
		}
		free(entries[i]);
	}
	free(entries);
	return STATUS_OK;
}

struct needle {
	struct slice text;
	bool (*fn)(struct slice line, void *arg);
	void *arg;
};

static bool
needle_line(struct slice line, void *arg)
{
	struct needle *n = arg;
	return !line_matches(line, n->text) || n->fn(line, n->arg);
}

enum status
trace_find(const char *dir, int64_t since_s, struct slice needle,
    bool (*fn)(struct slice line, void *arg), void *arg)
{
	struct needle n = {.text = needle, .fn = fn, .arg = arg};
	return trace_each(dir, since_s, needle_line, &n);
}

/* ---- places ---- */

void
trace_place_text(const struct trace_place *place, char out[TRACE_PLACE_TEXT_MAX])
{
	char name[NAME_LEN + 1];
	day_name(place->day, name);
	snprintf(out, TRACE_PLACE_TEXT_MAX, "%.10s:%llu", name,
	    (unsigned long long)place->offset);
}

static bool
day_parse(struct slice text, int64_t *out)
{
	char date[11], again[NAME_LEN + 1];
	struct tm tm = {0};
	if (!slice_copy_cstr(text, date, sizeof(date)) || strlen(date) != 10 ||
	    !strptime(date, "%Y-%m-%d", &tm))
		return false;
	*out = (int64_t)timegm(&tm) / DAY_S;
	day_name(*out, again);
	return strncmp(again, date, 10) == 0;
}

bool
trace_place_parse(struct slice text, struct trace_place *out)
{
	struct trace_place place;
	struct slice day = slice_split(&text, ':');
	if (!day_parse(day, &place.day) ||
	    !slice_to_u64(text, TRACE_FILE_MAX, &place.offset))
		return false;
	*out = place;
	return true;
}

/* The days that have a file: the first one from `from` on, and the last one of all. */
static enum status
days_find(const char *dir, int64_t from, int64_t *out_first, int64_t *out_last)
{
	struct dirent **entries;
	int count = scandir(dir, &entries, name_filter, alphasort);
	if (count < 0)
		return STATUS_NOT_FOUND;
	*out_first = *out_last = -1;
	for (int i = 0; i < count; i++) {
		int64_t day;
		if (day_parse(slice_make(entries[i]->d_name, 10), &day)) {
			if (day >= from && *out_first < 0)
				*out_first = day;
			*out_last = day;
		}
		free(entries[i]);
	}
	free(entries);
	return *out_last < 0 ? STATUS_NOT_FOUND : STATUS_OK;
}

static char *
day_path(const char *dir, int64_t day)
{
	char name[NAME_LEN + 1];
	day_name(day, name);
	return path_of(dir, name);
}

enum status
trace_place_end(const char *dir, struct trace_place *out)
{
	struct stat st;
	struct trace_place place = {0};
	int64_t first;
	enum status status = days_find(dir, 0, &first, &place.day);
	if (status != STATUS_OK)
		return status;
	char *path = day_path(dir, place.day);
	bool there = stat(path, &st) == 0;
	free(path);
	if (!there)
		return STATUS_NOT_FOUND;
	place.offset = (uint64_t)st.st_size;
	*out = place;
	return STATUS_OK;
}

struct reading {
	struct trace_place *place;
	bool (*fn)(struct slice line, const struct trace_place *at, void *arg);
	void *arg;
	bool stopped;
};

/* The whole lines behind the place. */
static enum status
read_bytes(struct reading *r, struct slice bytes)
{
	if (r->place->offset > bytes.len ||
	    (r->place->offset > 0 && bytes.ptr[r->place->offset - 1] != '\n'))
		return STATUS_INVALID;
	while (!r->stopped) {
		struct slice rest = slice_from(bytes, r->place->offset);
		size_t lf = slice_index(rest, '\n');
		if (lf == SIZE_MAX)
			break;
		r->stopped = !r->fn(slice_sub(rest, 0, lf), r->place, r->arg);
		if (!r->stopped)
			r->place->offset += lf + 1;
	}
	return STATUS_OK;
}

static enum status
read_file(struct reading *r, const char *path)
{
	struct stat st;
	enum status status = STATUS_OK;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return status_from_errno(errno);
	if (fstat(fd, &st) != 0) {
		status = status_from_errno(errno);
	} else if ((uint64_t)st.st_size != r->place->offset) {
		void *map = MAP_FAILED;
		if (fdatasync(fd) != 0)
			status = STATUS_IO;
		else if (st.st_size > 0)
			map =
			    mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map != MAP_FAILED) {
			status = read_bytes(r, slice_make(map, (size_t)st.st_size));
			munmap(map, (size_t)st.st_size);
		} else if (status == STATUS_OK) {
			status = st.st_size > 0 ? STATUS_IO : STATUS_INVALID;
		}
	}
	close(fd);
	return status;
}

enum status
trace_read(const char *dir, struct trace_place *place,
    bool (*fn)(struct slice line, const struct trace_place *at, void *arg), void *arg)
{
	struct reading r = {.place = place, .fn = fn, .arg = arg};
	while (!r.stopped) {
		/* Looked for before the file is read: what a later file shows to be
		 * finished is read to its end. */
		int64_t first, last;
		enum status status = days_find(dir, place->day, &first, &last);
		if (status != STATUS_OK)
			return status;
		if (first != place->day) {
			if (first < 0) /* a place in the future */
				return STATUS_INVALID;
			*place = (struct trace_place){.day = first};
			return STATUS_NOT_FOUND;
		}
		char *path = day_path(dir, place->day);
		status = read_file(&r, path);
		free(path);
		if (status != STATUS_OK || r.stopped || last == place->day)
			return status;
		/* Days without mail have no file. */
		status = days_find(dir, place->day + 1, &first, &last);
		if (status != STATUS_OK || first < 0)
			return status;
		*place = (struct trace_place){.day = first};
	}
	return STATUS_OK;
}
