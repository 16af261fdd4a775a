/*
 * Writes Maildir++ with the files in which Dovecot keeps what Maildir has no room for.
 * A message's file name is made of what never changes about it, so that a second export
 * into the same place writes only what is new, and takes away what is gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/hashmap.h"
#include "postroom/export.h"
#include "text/maildir.h"

enum {
	NAME_BYTES_MAX = 4096,
	LIST_BYTES_MAX = 1024 * 1024 * 1024, /* of a uid list */
};

struct maildir_writer {
	struct export_writer writer;
	int root_fd, folder_fd, cur_fd, tmp_fd;
	const struct export_folder *folder;
	int letter[MAILBOX_KEYWORDS_MAX]; /* 'a' + n, 'P', or 0 */
	uint64_t keywords_lost;           /* messages */
	struct hashmap *there;            /* base -> file's name, of an earlier export */
	struct buf uidlist;
};

static struct maildir_writer *
writer_of(struct export_writer *writer)
{
	return (struct maildir_writer *)writer;
}

static int
folder_open(int fd, const char *name)
{
	if (mkdirat(fd, name, 0700) < 0 && errno != EEXIST)
		return -1;
	return openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void
fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
folder_leave(struct maildir_writer *m)
{
	if (m->folder_fd != m->root_fd)
		fd_close(&m->folder_fd);
	m->folder_fd = -1;
	fd_close(&m->cur_fd);
	fd_close(&m->tmp_fd);
	hashmap_free(&m->there, free);
}

/* Files that an earlier export has made. */
static void
there_read(struct maildir_writer *m)
{
	int own = dup(m->cur_fd);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	const struct dirent *entry;
	m->there = hashmap_new();
	while (dir && (entry = readdir(dir))) {
		struct maildir_name name;
		maildir_name_parse(slice_from_cstr(entry->d_name), &name);
		if (slice_find(name.base, SLICE(MAIL_OWN_MARK)) != SIZE_MAX)
			free(hashmap_put(m->there, name.base, xstrdup(entry->d_name)));
	}
	if (dir)
		closedir(dir);
}

static void
letters_choose(struct maildir_writer *m)
{
	int next = 'a';
	m->keywords_lost = 0;
	for (size_t i = 0; i < m->folder->keyword_count; i++) {
		m->letter[i] = 0;
		if (slice_equal_nocase(m->folder->keywords[i], SLICE("$Forwarded")))
			m->letter[i] = 'P';
		else if (next <= 'z')
			m->letter[i] = next++;
	}
}

static bool
maildir_folder(struct export_writer *writer, const struct export_folder *folder)
{
	struct maildir_writer *m = writer_of(writer);
	struct buf name AUTO_BUF;
	buf_init(&name, NAME_BYTES_MAX);
	m->folder = folder;
	m->folder_fd = m->root_fd;
	if (!slice_equal(folder->name, SLICE("INBOX"))) {
		buf_append_byte(&name, '.');
		maildir_folder_encode(folder->name, &name);
		buf_append_byte(&name, '\0');
		if (!buf_ok(&name))
			return export_fail(writer, writer->path, ENAMETOOLONG);
		m->folder_fd = folder_open(m->root_fd, name.ptr);
		if (m->folder_fd < 0)
			return export_fail(writer, name.ptr, errno);
		if (!export_file(writer, m->folder_fd, "maildirfolder", SLICE("")))
			return false;
	}
	int new_fd = folder_open(m->folder_fd, "new");
	m->cur_fd = folder_open(m->folder_fd, "cur");
	m->tmp_fd = folder_open(m->folder_fd, "tmp");
	if (new_fd < 0 || m->cur_fd < 0 || m->tmp_fd < 0)
		return export_fail(writer, name.len ? name.ptr : writer->path, errno);
	close(new_fd);
	there_read(m);
	letters_choose(m);
	buf_reset(&m->uidlist);
	buf_append_format(&m->uidlist, "3 V%" PRIu32 " N%" PRIu32 "\n",
	    folder->uidvalidity, folder->uidnext);
	return true;
}

static uint64_t
size_with_crlf(struct slice bytes)
{
	uint64_t size = bytes.len;
	for (size_t i = 0; i < bytes.len; i++)
		size += bytes.ptr[i] == '\n' && (i == 0 || bytes.ptr[i - 1] != '\r');
	return size;
}

static void
flags_write(
    struct maildir_writer *m, const struct message_record *record, struct buf *out)
{
	static const struct {
		char letter;
		uint8_t flag;
	} flags[] = {
	    {'D', MESSAGE_DRAFT   },
	    {'F', MESSAGE_FLAGGED },
	    {'R', MESSAGE_ANSWERED},
	    {'S', MESSAGE_SEEN    },
	    {'T', MESSAGE_DELETED },
	};
	bool lost = false;
	buf_append_cstr(out, ":2,");
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		/* Letters stand in the order of the alphabet. */
		for (size_t k = 0; flags[i].letter == 'R' && k < m->folder->keyword_count;
		     k++)
			if (record->keywords >> k & 1 && m->letter[k] == 'P')
				buf_append_byte(out, 'P');
		if (record->flags & flags[i].flag)
			buf_append_byte(out, flags[i].letter);
	}
	for (size_t k = 0; k < m->folder->keyword_count; k++) {
		if (!(record->keywords >> k & 1) || m->letter[k] == 'P')
			continue;
		if (m->letter[k])
			buf_append_byte(out, (char)m->letter[k]);
		else
			lost = true;
	}
	m->keywords_lost += lost;
}

static bool
bytes_write(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t got = write(fd, bytes.ptr, bytes.len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		bytes = slice_from(bytes, (size_t)got);
	}
	return true;
}

/* The file is there from an earlier run, whole. */
static bool
file_keep(struct maildir_writer *m, struct slice base, const char *name, uint64_t size)
{
	char *old = hashmap_remove(m->there, base);
	struct stat st;
	if (!old)
		return false;
	bool good =
	    fstatat(m->cur_fd, old, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) && (uint64_t)st.st_size == size &&
	    (strcmp(old, name) == 0 || renameat(m->cur_fd, old, m->cur_fd, name) == 0);
	free(old);
	return good;
}

static bool
file_make(struct maildir_writer *m, const char *name, struct slice bytes)
{
	(void)unlinkat(m->tmp_fd, name, 0); /* of a run that was cut short */
	int fd = openat(
	    m->tmp_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool good = fd >= 0 && bytes_write(fd, bytes) &&
	            renameat(m->tmp_fd, name, m->cur_fd, name) == 0;
	int err = errno;
	if (fd >= 0)
		close(fd);
	return good || export_fail(&m->writer, name, err);
}

static bool
maildir_message(struct export_writer *writer, const struct export_message *message)
{
	struct maildir_writer *m = writer_of(writer);
	const struct message_record *record = &message->record;
	struct buf name AUTO_BUF;
	buf_init(&name, NAME_BYTES_MAX);
	buf_append_format(&name,
	    "%" PRId64 ".M%" PRIu64 "U%" PRIu32 "V%" PRIu32 MAIL_OWN_MARK
	    "S=%zu,W=%" PRIu64,
	    record->internaldate_s < 0 ? 0 : record->internaldate_s, record->email_id,
	    record->uid, m->folder->uidvalidity, message->bytes.len,
	    size_with_crlf(message->bytes));
	buf_append_format(&name, ",z=%d", record->internaldate_zone_min);
	size_t base_len = name.len;
	flags_write(m, record, &name);
	buf_append_byte(&name, '\0');
	ENSURE(buf_ok(&name));
	struct slice base = slice_make(name.ptr, base_len);
	if (!file_keep(m, base, name.ptr, message->bytes.len) &&
	    !file_make(m, name.ptr, message->bytes))
		return false;
	const struct timespec times[2] = {
	    {.tv_sec = record->internaldate_s}, {.tv_sec = record->internaldate_s}};
	if (utimensat(m->cur_fd, name.ptr, times, AT_SYMLINK_NOFOLLOW) < 0)
		return export_fail(writer, name.ptr, errno);
	buf_append_format(&m->uidlist, "%" PRIu32 " ", record->uid);
	if (message->uidl.ptr)
		buf_append_format(&m->uidlist, "P%.*s ", SLICE_ARG(message->uidl));
	buf_append_cstr(&m->uidlist, ":");
	buf_append(&m->uidlist, base);
	buf_append_byte(&m->uidlist, '\n');
	return true;
}

/* Files of messages that are there no more. */
static bool
stale_remove(struct slice base, void *value, void *arg)
{
	struct maildir_writer *m = arg;
	(void)base;
	(void)unlinkat(m->cur_fd, value, 0);
	free(value);
	return false;
}

static bool
maildir_folder_end(struct export_writer *writer)
{
	struct maildir_writer *m = writer_of(writer);
	struct buf keywords AUTO_BUF;
	char text[128];
	buf_init(&keywords, NAME_BYTES_MAX * 2);
	for (size_t i = 0; i < m->folder->keyword_count; i++)
		if (m->letter[i] >= 'a')
			buf_append_format(&keywords, "%d %.*s\n", m->letter[i] - 'a',
			    SLICE_ARG(m->folder->keywords[i]));
	hashmap_each(m->there, stale_remove, m);
	bool good = buf_ok(&m->uidlist) && buf_ok(&keywords);
	if (!good)
		export_fail(writer, "dovecot-uidlist", EFBIG);
	good = good && export_file(writer, m->folder_fd, "dovecot-uidlist",
			   buf_slice(&m->uidlist));
	if (good && keywords.len > 0)
		good = export_file(
		    writer, m->folder_fd, "dovecot-keywords", buf_slice(&keywords));
	if (m->keywords_lost > 0) {
		snprintf(text, sizeof(text),
		    "warning: %" PRIu64
		    " messages lose keywords: Maildir has room for %d",
		    m->keywords_lost, MAILDIR_KEYWORDS_MAX);
		char *where = slice_to_cstr(m->folder->name);
		writer->problem(where, text, writer->arg);
		free(where);
	}
	folder_leave(m);
	return good;
}

static bool
maildir_end(struct export_writer *writer, const struct slice *subscribed, size_t count)
{
	struct maildir_writer *m = writer_of(writer);
	if (!export_subscriptions(writer, m->root_fd, subscribed, count))
		return false;
	/* One sync for all files. */
	return syncfs(m->root_fd) == 0 || export_fail(writer, writer->path, errno);
}

static void
maildir_free(struct export_writer *writer)
{
	struct maildir_writer *m = writer_of(writer);
	folder_leave(m);
	fd_close(&m->root_fd);
	buf_fini(&m->uidlist);
	free(m);
}

struct export_writer *
export_maildir_new(const char *path,
    void (*problem)(const char *where, const char *text, void *arg), void *arg)
{
	static const struct export_ops ops = {maildir_folder, maildir_message,
	    maildir_folder_end, maildir_end, maildir_free};
	struct maildir_writer *m = xcalloc(1, sizeof(*m));
	m->writer = (struct export_writer){&ops, path, problem, arg};
	m->folder_fd = m->cur_fd = m->tmp_fd = -1;
	buf_init(&m->uidlist, LIST_BYTES_MAX);
	m->root_fd = folder_open(AT_FDCWD, path);
	if (m->root_fd >= 0)
		return &m->writer;
	export_fail(&m->writer, path, errno);
	free(m);
	return NULL;
}
