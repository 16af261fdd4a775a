/*
 * Maildir++ as Dovecot and Courier keep it: the root is INBOX, ".A.B" below it is "A/B".
 * UIDs and POP3 unique ids come from dovecot-uidlist, else from courierimapuiddb; dates
 * are the files'.  Messages come in the order of their UIDs, those without one behind
 * them by name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/hashmap.h"
#include "postroom/mail_source_int.h"
#include "text/date.h"
#include "text/maildir.h"

enum { CHUNK = 64 * 1024, SMALL_FILE_MAX = 1024 * 1024, NAME_BYTES_MAX = 4096 };

struct file {
	const char *name; /* in the folder's arena */
	struct slice uidl;
	uint32_t uid;
	bool is_new; /* in new/ */
};

struct maildir {
	struct mail_source source;
	int root_fd;
	struct dirname {
		char *directory; /* "." for the root */
		struct slice name;
	} * folders;
	size_t folder_count, folder_at;
	/* Of the folder that is read: */
	int folder_fd;
	const char *directory;
	struct arena *arena;
	char *uidlist, *keywords_text;
	struct slice keywords[MAILDIR_KEYWORDS_MAX];
	struct file *files;
	size_t file_count, file_room, file_at;
	struct hashmap *by_base; /* -> index + 1 */
	const struct file *file; /* the message that is read */
	struct mail_item item;
};

static struct maildir *
maildir_of(struct mail_source *source)
{
	return (struct maildir *)source;
}

/* ---- folders ---- */
static int
folder_compare(const void *a, const void *b)
{
	return slice_compare(
	    ((const struct dirname *)a)->name, ((const struct dirname *)b)->name);
}

static void
folder_add(struct maildir *m, const char *directory, struct slice name)
{
	m->folders = xrealloc(m->folders, (m->folder_count + 1) * sizeof(*m->folders));
	m->folders[m->folder_count++] = (struct dirname){
	    arena_cstr(m->source.arena, slice_from_cstr(directory)), name};
}

static bool
is_maildir(int fd, const char *directory)
{
	char path[NAME_MAX + 8];
	struct stat st;
	snprintf(path, sizeof(path), "%s/cur", directory);
	if (fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return true;
	snprintf(path, sizeof(path), "%s/new", directory);
	return fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void
folders_find(struct maildir *m)
{
	struct buf name AUTO_BUF;
	buf_init(&name, NAME_BYTES_MAX);
	folder_add(m, ".", SLICE("INBOX"));
	int own = dup(m->root_fd);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	const struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		struct slice directory = slice_from_cstr(entry->d_name);
		struct slice checked;
		if (directory.len < 2 || directory.ptr[0] != '.' ||
		    slice_equal(directory, SLICE("..")) ||
		    !is_maildir(m->root_fd, entry->d_name))
			continue;
		buf_reset(&name);
		if (m->folder_count == MAIL_FOLDERS_MAX) {
			mail_source_problem(
			    &m->source, entry->d_name, "there are too many folders");
			break;
		}
		if (!maildir_folder_decode(slice_from(directory, 1), '.', &name))
			mail_source_problem(&m->source, entry->d_name,
			    "its name is neither modified UTF-7 nor UTF-8");
		else if (mail_source_name(
			     &m->source, buf_slice(&name), entry->d_name, &checked))
			folder_add(m, entry->d_name, checked);
	}
	if (dir)
		closedir(dir);
	if (m->folder_count > 1)
		qsort(m->folders + 1, m->folder_count - 1, sizeof(*m->folders),
		    folder_compare);
}

static void
folder_leave(struct maildir *m)
{
	if (m->folder_fd >= 0)
		close(m->folder_fd);
	m->folder_fd = -1;
	free(m->uidlist);
	free(m->keywords_text);
	m->uidlist = m->keywords_text = NULL;
	hashmap_free(&m->by_base, NULL);
	arena_free(&m->arena);
	m->file_count = m->file_at = 0;
	m->file = NULL;
}

/* ---- a folder's files ---- */
static void
files_list(struct maildir *m, const char *part)
{
	int fd = openat(m->folder_fd, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		if (errno != ENOENT)
			mail_source_problem(
			    &m->source, m->directory, "%s: %s", part, strerror(errno));
		return;
	}
	const struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		const char *name = arena_cstr(m->arena, slice_from_cstr(entry->d_name));
		if (!name || m->file_count == UINT32_MAX / 2) {
			mail_source_problem(&m->source, m->directory,
			    "there are more files than one folder may have");
			break;
		}
		if (m->file_count == m->file_room) {
			m->file_room = m->file_room ? m->file_room * 2 : 256;
			m->files = xrealloc(m->files, m->file_room * sizeof(*m->files));
		}
		m->files[m->file_count++] =
		    (struct file){.name = name, .is_new = part[0] == 'n'};
	}
	closedir(dir);
}

/* One message for each base name: a file that was moved while the folder was listed is
 * there twice. */
static void
files_index(struct maildir *m)
{
	size_t kept = 0;
	m->by_base = hashmap_new();
	for (size_t i = 0; i < m->file_count; i++) {
		struct maildir_name name;
		maildir_name_parse(slice_from_cstr(m->files[i].name), &name);
		if (hashmap_get(m->by_base, name.base))
			continue;
		m->files[kept++] = m->files[i];
		(void)hashmap_put(m->by_base, name.base, (void *)(uintptr_t)kept);
	}
	m->file_count = kept;
}

static int
file_compare(const void *a, const void *b)
{
	const struct file *x = a;
	const struct file *y = b;
	if (x->uid != y->uid) /* those without one last */
		return x->uid - UINT32_C(1) < y->uid - UINT32_C(1) ? -1 : 1;
	/* Names begin with the time. */
	unsigned long long tx = strtoull(x->name, NULL, 10);
	unsigned long long ty = strtoull(y->name, NULL, 10);
	return tx != ty ? (tx < ty ? -1 : 1) : strcmp(x->name, y->name);
}

static void
uids_read(struct maildir *m, struct mail_folder *out)
{
	static const char *const names[] = {"dovecot-uidlist", "courierimapuiddb"};
	struct maildir_uidlist list;
	char where[600];
	size_t len = 0;
	const char *name = NULL;
	for (size_t i = 0; i < 2 && !m->uidlist; i++) {
		name = names[i];
		m->uidlist =
		    mail_file_read(m->folder_fd, name, MAIL_LIST_BYTES_MAX, &len);
	}
	if (!m->uidlist)
		return;
	snprintf(where, sizeof(where), "%s/%s", m->directory, name);
	if (!maildir_uidlist_open(slice_make(m->uidlist, len), &list)) {
		mail_source_problem(&m->source, where,
		    "its first line is not understood: no UIDs are known");
		return;
	}
	uint32_t above = 0;
	struct maildir_uid entry;
	enum maildir_line line;
	while ((line = maildir_uidlist_next(&list, above, &entry)) != MAILDIR_LINE_END) {
		if (line == MAILDIR_LINE_BAD) {
			mail_source_problem(
			    &m->source, where, "line %zu is not understood", list.line);
			continue;
		}
		above = entry.uid;
		uintptr_t at = (uintptr_t)hashmap_get(m->by_base, entry.base);
		if (at == 0)
			continue; /* it was expunged */
		m->files[at - 1].uid = entry.uid;
		m->files[at - 1].uidl = entry.uidl;
	}
	out->uidvalidity = list.uidvalidity;
	out->uidnext = list.uidnext > above  ? list.uidnext
	               : above == UINT32_MAX ? above
	                                     : above + 1;
}

static void
keywords_read(struct maildir *m)
{
	size_t len;
	for (size_t i = 0; i < MAILDIR_KEYWORDS_MAX; i++)
		m->keywords[i] = SLICE_NULL;
	m->keywords_text =
	    mail_file_read(m->folder_fd, "dovecot-keywords", SMALL_FILE_MAX, &len);
	if (m->keywords_text &&
	    maildir_keywords_parse(slice_make(m->keywords_text, len), m->keywords) > 0)
		mail_source_problem(
		    &m->source, m->directory, "dovecot-keywords has lines that are none");
}

static bool
maildir_folder(struct mail_source *source, struct mail_folder *out)
{
	struct maildir *m = maildir_of(source);
	folder_leave(m);
	while (m->folder_at < m->folder_count) {
		const struct dirname *folder = &m->folders[m->folder_at++];
		m->directory = folder->directory;
		m->folder_fd = openat(m->root_fd, folder->directory,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (m->folder_fd < 0) {
			mail_source_problem(
			    source, folder->directory, "%s", strerror(errno));
			continue;
		}
		*out = (struct mail_folder){.name = folder->name};
		m->arena = arena_new(MAIL_FOLDER_MEMORY_MAX);
		files_list(m, "new");
		files_list(m, "cur");
		files_index(m);
		uids_read(m, out);
		keywords_read(m);
		if (m->file_count > 1)
			qsort(m->files, m->file_count, sizeof(*m->files), file_compare);
		out->messages = m->file_count;
		out->subscribed = mail_source_is_subscribed(source, folder->name);
		return true;
	}
	return false;
}

/* ---- messages ---- */
static void
flags_read(struct maildir *m, const struct maildir_name *name, struct mail_item *out)
{
	static const struct {
		unsigned from;
		uint8_t to;
	} flags[] = {
	    {MAILDIR_SEEN,    MESSAGE_SEEN    },
	    {MAILDIR_REPLIED, MESSAGE_ANSWERED},
	    {MAILDIR_FLAGGED, MESSAGE_FLAGGED },
	    {MAILDIR_TRASHED, MESSAGE_DELETED },
	    {MAILDIR_DRAFT,   MESSAGE_DRAFT   },
	};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (name->flags & flags[i].from)
			out->flags |= flags[i].to;
	if (name->flags & MAILDIR_PASSED)
		out->keywords[out->keyword_count++] = SLICE("$Forwarded");
	for (size_t i = 0; i < MAILDIR_KEYWORDS_MAX; i++)
		if (name->keywords >> i & 1 && m->keywords[i].ptr)
			out->keywords[out->keyword_count++] = m->keywords[i];
}

static bool
maildir_message(struct mail_source *source, struct mail_item *out)
{
	struct maildir *m = maildir_of(source);
	struct maildir_name name;
	if (m->file_at == m->file_count)
		return false;
	m->file = &m->files[m->file_at++];
	*out = (struct mail_item){.uid = m->file->uid, .uidl = m->file->uidl};
	maildir_name_parse(slice_from_cstr(m->file->name), &name);
	out->base = name.base;
	flags_read(m, &name, out);
	snprintf(out->where, sizeof(out->where), "%s/%s/%s", m->directory,
	    m->file->is_new ? "new" : "cur", m->file->name);
	struct stat st;
	/* Whatever is wrong with the file is told when it is read. */
	if (fstatat(m->folder_fd, out->where + strlen(m->directory) + 1, &st,
		AT_SYMLINK_NOFOLLOW) == 0)
		out->internaldate_s = st.st_mtime;
	out->internaldate_zone_min =
	    (int16_t)(name.has_zone ? name.zone_min
				    : date_local_zone_min(out->internaldate_s));
	m->item = *out;
	return true;
}

/* Why the open file is no message, or null. */
static const char *
file_fault(int fd, struct stat *st)
{
	if (fstat(fd, st) < 0)
		return strerror(errno);
	if (!S_ISREG(st->st_mode))
		return "it is no file";
	if (st->st_size == 0)
		return "it is empty";
	if (st->st_size > MAIL_MESSAGE_BYTES_MAX)
		return "it is larger than 1 GiB";
	return NULL;
}

static bool
file_emit(struct maildir *m, int fd)
{
	static char chunk[CHUNK];
	bool first = true;
	ssize_t got;
	while ((got = read(fd, chunk, sizeof(chunk))) > 0) {
		if (first && got > 2 && (unsigned char)chunk[0] == 0x1f &&
		    (unsigned char)chunk[1] == 0x8b) {
			mail_source_problem(&m->source, m->item.where,
			    "it is compressed: let the old server store it plain");
			return false;
		}
		first = false;
		if (!mail_source_emit(&m->source, slice_make(chunk, (size_t)got)))
			return false;
	}
	if (got < 0)
		mail_source_problem(&m->source, m->item.where, "%s", strerror(errno));
	return got == 0;
}

static bool
maildir_read(struct mail_source *source)
{
	struct maildir *m = maildir_of(source);
	struct maildir_name name;
	struct stat st;
	ENSURE(m->file);
	const char *path = m->item.where + strlen(m->directory) + 1;
	int fd = openat(m->folder_fd, path,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	const char *fault = fd < 0 ? strerror(errno) : file_fault(fd, &st);
	if (fault) {
		mail_source_problem(source, m->item.where, "%s%s", fault,
		    fd < 0 && errno == ENOENT ? ": is the other server still running?"
					      : "");
		if (fd >= 0)
			close(fd);
		return false;
	}
	maildir_name_parse(slice_from_cstr(m->file->name), &name);
	if (name.size && name.size != (uint64_t)st.st_size)
		mail_source_problem(source, m->item.where,
		    "warning: it has %llu bytes, its name says %llu",
		    (unsigned long long)st.st_size, (unsigned long long)name.size);
	/* What we have exported has its line ends as they were. */
	source->exact = slice_find(name.base, SLICE(MAIL_OWN_MARK)) != SIZE_MAX;
	bool good = file_emit(m, fd);
	close(fd);
	return good;
}

static void
maildir_close(struct mail_source *source)
{
	struct maildir *m = maildir_of(source);
	folder_leave(m);
	close(m->root_fd);
	free(m->folders);
	free(m->files);
	free(m);
}

struct mail_source *
mail_source_maildir_open(const struct mail_source_options *options, char **error)
{
	static const struct mail_source_ops ops = {
	    maildir_folder, maildir_message, maildir_read, maildir_close};
	static const char *const names[] = {"subscriptions", "courierimapsubscribed"};
	int fd = open(options->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !is_maildir(fd, ".")) {
		if (asprintf(error, "%s: %s", options->path,
			fd < 0 ? strerror(errno) : "is no Maildir: it has no cur") < 0)
			abort();
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	struct maildir *m = xcalloc(1, sizeof(*m));
	m->source.ops = &ops;
	m->source.options = *options;
	m->source.arena = arena_new(MAIL_FOLDER_MEMORY_MAX);
	m->root_fd = fd;
	m->folder_fd = -1;
	for (size_t i = 0; i < 2 && !m->source.subscriptions; i++)
		m->source.subscriptions = mail_file_read(
		    fd, names[i], SMALL_FILE_MAX, &m->source.subscriptions_len);
	folders_find(m);
	return &m->source;
}
