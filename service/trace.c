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
