/*
 * mbox files: one, or a folder of them (below it "A/B.mbox" is "A/B").  Files are mapped
 * and read from front to back.  UIDs come from X-UID and X-IMAPbase, dates from the
 * From_ lines.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "postroom/mail_source_int.h"
#include "text/date.h"

enum { SMALL_FILE_MAX = 1024 * 1024, NAME_BYTES_MAX = 4096 };

struct mbox {
	struct mail_source source;
	struct found {
		char *path; /* whole */
		struct slice name;
	} * files;
	size_t file_count, file_at;
	/* Of the file that is read: */
	const char *path;
	char *map;
	size_t map_len;
	size_t at;
	uint32_t uid_above;
	struct mbox_message message;
	struct mbox_meta meta;
	struct mail_item item;
};

static struct mbox *
mbox_of(struct mail_source *source)
{
	return (struct mbox *)source;
}

/* ---- finding files ---- */
static int
found_compare(const void *a, const void *b)
{
	const struct found *x = a;
	const struct found *y = b;
	static const struct slice inbox = {"INBOX", 5};
	bool xi = slice_equal(x->name, inbox);
	bool yi = slice_equal(y->name, inbox);
	return xi != yi ? yi - xi : slice_compare(x->name, y->name);
}

static int
hex_value(char c)
{
	return ascii_is_digit(c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes what export does to characters that a file's name cannot have. */
static void
name_decode(struct slice path, struct buf *out)
{
	buf_reset(out);
	if (slice_has_suffix(path, SLICE(".mbox")))
		path.len -= 5;
	for (size_t i = 0; i < path.len; i++) {
		int high = i + 2 < path.len ? hex_value(path.ptr[i + 1]) : -1;
		int low = i + 2 < path.len ? hex_value(path.ptr[i + 2]) : -1;
		int value = high * 16 + low;
		if (path.ptr[i] == '%' && high >= 0 && low >= 0 &&
		    (value == '%' || value == '.')) {
			buf_append_byte(out, (char)value);
			i += 2;
		} else {
			buf_append_byte(out, path.ptr[i]);
		}
	}
}

static void
found_add(struct mbox *m, const char *path, struct slice relative)
{
	struct buf name AUTO_BUF;
	struct slice checked;
	buf_init(&name, NAME_BYTES_MAX);
	name_decode(relative, &name);
	if (!mail_source_name(&m->source, buf_slice(&name), path, &checked))
		return;
	m->files = xrealloc(m->files, (m->file_count + 1) * sizeof(*m->files));
	m->files[m->file_count++] =
	    (struct found){arena_cstr(m->source.arena, slice_from_cstr(path)), checked};
}

static void
folder_walk(struct mbox *m, const char *path, size_t root_len, unsigned depth)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	if (!dir) {
		mail_source_problem(&m->source, path, "%s", strerror(errno));
		return;
	}
	while ((entry = readdir(dir))) {
		char *child = NULL;
		struct stat st;
		if (entry->d_name[0] == '.' ||
		    strcmp(entry->d_name, "subscriptions") == 0)
			continue;
		if (asprintf(&child, "%s/%s", path, entry->d_name) < 0)
			abort();
		if (lstat(child, &st) < 0)
			mail_source_problem(&m->source, child, "%s", strerror(errno));
		else if (S_ISDIR(st.st_mode) && depth < MAIL_DEPTH_MAX)
			folder_walk(m, child, root_len, depth + 1);
		else if (!S_ISREG(st.st_mode))
			mail_source_problem(&m->source, child, "it is no file");
		else if (m->file_count == MAIL_FOLDERS_MAX)
			mail_source_problem(
			    &m->source, child, "there are too many files");
		else
			found_add(m, child, slice_from_cstr(child + root_len + 1));
		free(child);
	}
	closedir(dir);
}

/* ---- folders ---- */
static void
file_leave(struct mbox *m)
{
	if (m->map)
		munmap(m->map, m->map_len);
	m->map = NULL;
	m->map_len = m->at = 0;
	m->uid_above = 0;
}

static bool
file_map(struct mbox *m, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool good = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	if (good && st.st_size > 0) {
		void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		good = map != MAP_FAILED;
		if (good) {
			m->map = map;
			m->map_len = (size_t)st.st_size;
			(void)madvise(map, m->map_len, MADV_SEQUENTIAL);
		}
	}
	if (!good)
		mail_source_problem(&m->source, path, "%s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return good;
}

static struct slice
file_bytes(const struct mbox *m)
{
	return slice_make(m->map ? m->map : "", m->map_len);
}

/* How many messages there are, and the UIDs that the file knows. */
static void
file_survey(struct mbox *m, struct mail_folder *out)
{
	struct mbox_message message;
	struct mbox_meta meta;
	uint32_t last = 0;
	size_t at = 0;
	while (mbox_next(file_bytes(m), m->source.options.quoting, &at, &message)) {
		mbox_meta_parse(&message, &meta);
		if (out->messages == 0 && out->uidvalidity == 0) {
			out->uidvalidity = meta.uidvalidity;
			last = meta.uid_last;
		}
		out->messages += !meta.is_internal;
		if (meta.uid > last)
			last = meta.uid;
	}
	out->uidnext = out->uidvalidity && last < UINT32_MAX ? last + 1 : last;
}

static bool
mbox_folder(struct mail_source *source, struct mail_folder *out)
{
	struct mbox *m = mbox_of(source);
	file_leave(m);
	while (m->file_at < m->file_count) {
		const struct found *found = &m->files[m->file_at++];
		m->path = found->path;
		if (!file_map(m, found->path))
			continue;
		if (!mbox_is_one(file_bytes(m))) {
			mail_source_problem(source, found->path,
			    "is no mbox: it does not "
			    "begin with a From_ line");
			file_leave(m);
			continue;
		}
		*out = (struct mail_folder){.name = found->name};
		file_survey(m, out);
		out->subscribed = mail_source_is_subscribed(source, found->name);
		return true;
	}
	return false;
}

/* ---- messages ---- */
static void
flags_read(const struct mbox_meta *meta, struct mail_item *out)
{
	static const struct {
		unsigned from;
		uint8_t to;
	} flags[] = {
	    {MBOX_SEEN,     MESSAGE_SEEN    },
	    {MBOX_ANSWERED, MESSAGE_ANSWERED},
	    {MBOX_FLAGGED,  MESSAGE_FLAGGED },
	    {MBOX_DELETED,  MESSAGE_DELETED },
	    {MBOX_DRAFT,    MESSAGE_DRAFT   },
	};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (meta->flags & flags[i].from)
			out->flags |= flags[i].to;
	for (size_t i = 0; i < meta->keyword_count; i++)
		out->keywords[out->keyword_count++] = meta->keywords[i];
}

static bool
mbox_message_next(struct mail_source *source, struct mail_item *out)
{
	struct mbox *m = mbox_of(source);
	do {
		if (!mbox_next(
			file_bytes(m), source->options.quoting, &m->at, &m->message))
			return false;
		mbox_meta_parse(&m->message, &m->meta);
	} while (m->meta.is_internal);
	*out = (struct mail_item){.uidl = m->meta.uidl};
	snprintf(out->where, sizeof(out->where), "%s at %llu", m->path,
	    (unsigned long long)m->message.offset);
	if (m->meta.uid > m->uid_above)
		out->uid = m->uid_above = m->meta.uid;
	else if (m->meta.uid)
		mail_source_problem(source, out->where,
		    "warning: X-UID %u is not above the one before", m->meta.uid);
	flags_read(&m->meta, out);
	out->internaldate_s = m->meta.is_ours ? m->meta.date_s : m->message.date_s;
	out->internaldate_zone_min =
	    (int16_t)(m->meta.is_ours ? m->meta.zone_min
				      : date_local_zone_min(out->internaldate_s));
	m->item = *out;
	return true;
}

static bool
mbox_read(struct mail_source *source)
{
	struct mbox *m = mbox_of(source);
	size_t cursor = 0;
	struct slice piece;
	if (m->message.text.len > MAIL_MESSAGE_BYTES_MAX) {
		mail_source_problem(source, m->item.where, "it is larger than 1 GiB");
		return false;
	}
	source->exact = m->meta.is_exact;
	while (mbox_piece_next(&m->message, &m->meta, &cursor, &piece)) {
		if (m->meta.is_cut && cursor == m->message.text.len && piece.len > 0)
			piece.len--; /* the line end that the file added */
		if (!mail_source_emit(source, piece))
			return false;
	}
	return true;
}

static void
mbox_close(struct mail_source *source)
{
	struct mbox *m = mbox_of(source);
	file_leave(m);
	free(m->files);
	free(m);
}

struct mail_source *
mail_source_mbox_open(const struct mail_source_options *options, char **error)
{
	static const struct mail_source_ops ops = {
	    mbox_folder, mbox_message_next, mbox_read, mbox_close};
	struct stat st;
	if (stat(options->path, &st) < 0) {
		if (asprintf(error, "%s: %s", options->path, strerror(errno)) < 0)
			abort();
		return NULL;
	}
	struct mbox *m = xcalloc(1, sizeof(*m));
	m->source.ops = &ops;
	m->source.options = *options;
	m->source.arena = arena_new(MAIL_FOLDER_MEMORY_MAX);
	if (!S_ISDIR(st.st_mode)) {
		struct slice checked;
		if (mail_source_name(
			&m->source, options->mailbox, options->path, &checked)) {
			m->files = xcalloc(1, sizeof(*m->files));
			m->files[m->file_count++] = (struct found){
			    arena_cstr(m->source.arena, slice_from_cstr(options->path)),
			    checked};
		}
		return &m->source;
	}
	size_t len = strlen(options->path);
	char *path = xstrdup(options->path);
	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	folder_walk(m, path, len, 0);
	if (m->file_count > 1)
		qsort(m->files, m->file_count, sizeof(*m->files), found_compare);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char *const names[] = {"subscriptions", ".subscriptions"};
	for (size_t i = 0; i < 2 && fd >= 0 && !m->source.subscriptions; i++)
		m->source.subscriptions = mail_file_read(
		    fd, names[i], SMALL_FILE_MAX, &m->source.subscriptions_len);
	if (fd >= 0)
		close(fd);
	free(path);
	return &m->source;
}
