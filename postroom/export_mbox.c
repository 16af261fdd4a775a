/*
 * Writes a folder of mbox files (mboxrd): "A/B" is the file A/B.mbox.  UIDs, flags,
 * keywords and what an mbox cannot hold stand in a block of fields in front of each
 * message (text/mbox.h), so that what is read back is what was there, byte for byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/ensure.h"
#include "postroom/export.h"

enum { NAME_BYTES_MAX = 4096, BLOCK_MAX = 32 * 1024, WRITE_BUFFER = 256 * 1024 };

struct mbox_writer {
	struct export_writer writer;
	int root_fd;
	const struct export_folder *folder;
	char *path; /* of the file, below the root */
	FILE *file;
	uint64_t messages;
};

static struct mbox_writer *
writer_of(struct export_writer *writer)
{
	return (struct mbox_writer *)writer;
}

/* The file's path; its folders are made. */
static bool
path_make(struct mbox_writer *m, struct slice name)
{
	struct buf path AUTO_BUF;
	bool first = true; /* of a level */
	buf_init(&path, NAME_BYTES_MAX);
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (c == '/') {
			buf_append_byte(&path, '\0');
			if (!buf_ok(&path) ||
			    (mkdirat(m->root_fd, path.ptr, 0700) < 0 && errno != EEXIST))
				return false;
			path.ptr[path.len - 1] = '/';
		} else if (c == '%' || (c == '.' && first)) {
			buf_append_format(&path, "%%%02X", c);
		} else {
			buf_append_byte(&path, c);
		}
		first = c == '/';
	}
	buf_append_cstr(&path, ".mbox");
	if (!buf_ok(&path))
		return false;
	m->path = slice_to_cstr(buf_slice(&path));
	return true;
}

static bool
mbox_folder(struct export_writer *writer, const struct export_folder *folder)
{
	struct mbox_writer *m = writer_of(writer);
	char *temporary = NULL;
	m->folder = folder;
	m->messages = 0;
	if (!path_make(m, folder->name))
		return export_fail(writer, writer->path, errno ? errno : ENAMETOOLONG);
	if (asprintf(&temporary, "%s.new", m->path) < 0)
		abort();
	int fd = openat(m->root_fd, temporary,
	    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	m->file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!m->file)
		export_fail(writer, temporary, errno);
	else
		(void)setvbuf(m->file, NULL, _IOFBF, WRITE_BUFFER);
	free(temporary);
	return m->file != NULL;
}

static void
from_line(int64_t date_s, struct buf *out)
{
	time_t time = (time_t)(date_s < 0 ? 0 : date_s);
	struct tm tm;
	char text[64] = "Thu Jan  1 00:00:00 1970";
	if (gmtime_r(&time, &tm) && tm.tm_year < 9999 - 1900) {
		static const char days[] = "SunMonTueWedThuFriSat";
		static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
		snprintf(text, sizeof(text), "%.3s %.3s %2d %02d:%02d:%02d %d",
		    days + (size_t)3 * (size_t)tm.tm_wday,
		    months + (size_t)3 * (size_t)tm.tm_mon, tm.tm_mday, tm.tm_hour,
		    tm.tm_min, tm.tm_sec, tm.tm_year + 1900);
	}
	buf_append_format(out, "From MAILER-DAEMON %s\n", text);
}

/* Would LF for CRLF and back not give the same bytes? */
static bool
is_odd(struct slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		bool cr = bytes.ptr[i] == '\r';
		bool lf = i + 1 < bytes.len && bytes.ptr[i + 1] == '\n';
		if ((cr && !lf) ||
		    (bytes.ptr[i] == '\n' && (i == 0 || bytes.ptr[i - 1] != '\r')))
			return true;
	}
	return false;
}

/* The lines of one message's block; the first says how many they are. */
static void
block_write(struct mbox_writer *m, const struct export_message *message, bool exact,
    bool cut, struct buf *out)
{
	const struct message_record *record = &message->record;
	const struct export_folder *folder = m->folder;
	unsigned lines = 4U + (m->messages == 0) + (record->keywords != 0) +
	                 (message->uidl.ptr != NULL);
	buf_append_format(out,
	    "X-Postroom: lines=%u date=%" PRId64 " zone=%d exact=%d cut=%d\n", lines,
	    record->internaldate_s, record->internaldate_zone_min, exact, cut);
	if (m->messages == 0)
		buf_append_format(out, "X-IMAPbase: %" PRIu32 " %010" PRIu32 "\n",
		    folder->uidvalidity, folder->uidnext - 1);
	buf_append_format(out, "X-UID: %" PRIu32 "\nStatus: %sO\nX-Status: %s%s%s%s\n",
	    record->uid, record->flags & MESSAGE_SEEN ? "R" : "",
	    record->flags & MESSAGE_ANSWERED ? "A" : "",
	    record->flags & MESSAGE_FLAGGED ? "F" : "",
	    record->flags & MESSAGE_DELETED ? "D" : "",
	    record->flags & MESSAGE_DRAFT ? "T" : "");
	if (record->keywords) {
		buf_append_cstr(out, "X-Keywords:");
		for (size_t i = 0; i < folder->keyword_count; i++)
			if (record->keywords >> i & 1)
				buf_append_format(
				    out, " %.*s", SLICE_ARG(folder->keywords[i]));
		buf_append_byte(out, '\n');
	}
	if (message->uidl.ptr)
		buf_append_format(out, "X-UIDL: %.*s\n", SLICE_ARG(message->uidl));
}

static bool
is_from(struct slice line)
{
	while (line.len > 0 && *line.ptr == '>')
		line = slice_from(line, 1);
	return slice_has_prefix(line, SLICE("From "));
}

static void
text_write(FILE *file, struct slice bytes, bool exact)
{
	while (bytes.len > 0) {
		const char *lf = memchr(bytes.ptr, '\n', bytes.len);
		size_t len = lf ? (size_t)(lf - bytes.ptr) + 1 : bytes.len;
		if (is_from(slice_sub(bytes, 0, len)))
			(void)putc_unlocked('>', file);
		if (!exact && len >= 2 && lf) {
			(void)fwrite_unlocked(bytes.ptr, 1, len - 2, file);
			(void)putc_unlocked('\n', file);
		} else {
			(void)fwrite_unlocked(bytes.ptr, 1, len, file);
		}
		bytes = slice_from(bytes, len);
	}
}

static bool
mbox_message(struct export_writer *writer, const struct export_message *message)
{
	struct mbox_writer *m = writer_of(writer);
	struct slice bytes = message->bytes;
	struct buf head AUTO_BUF;
	bool exact = is_odd(bytes);
	bool cut = bytes.len == 0 || bytes.ptr[bytes.len - 1] != '\n';
	buf_init(&head, BLOCK_MAX);
	from_line(message->record.internaldate_s, &head);
	block_write(m, message, exact, cut, &head);
	ENSURE(buf_ok(&head));
	(void)fwrite(head.ptr, 1, head.len, m->file);
	text_write(m->file, bytes, exact);
	(void)fwrite("\n\n", 1, cut ? 2 : 1, m->file);
	m->messages++;
	return !ferror(m->file) || export_fail(writer, m->path, errno);
}

/* A mailbox without messages keeps its UIDs in what c-client puts there. */
static void
internal_write(struct mbox_writer *m)
{
	fprintf(m->file,
	    "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"
	    "X-Postroom: lines=2\nX-IMAP: %010" PRIu32 " %010" PRIu32 "\n"
	    "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\n"
	    "This text is part of the internal format of your mail folder, and is not\n"
	    "a real message.\n\n",
	    m->folder->uidvalidity, m->folder->uidnext - 1);
}

static bool
mbox_folder_end(struct export_writer *writer)
{
	struct mbox_writer *m = writer_of(writer);
	char *temporary = NULL;
	if (m->messages == 0)
		internal_write(m);
	if (asprintf(&temporary, "%s.new", m->path) < 0)
		abort();
	bool good =
	    fflush(m->file) == 0 && !ferror(m->file) && fsync(fileno(m->file)) == 0;
	int err = errno;
	good = fclose(m->file) == 0 && good;
	m->file = NULL;
	if (good && renameat(m->root_fd, temporary, m->root_fd, m->path) < 0) {
		good = false;
		err = errno;
	}
	if (!good)
		export_fail(writer, m->path, err);
	free(temporary);
	free(m->path);
	m->path = NULL;
	return good;
}

static bool
mbox_end(struct export_writer *writer, const struct slice *subscribed, size_t count)
{
	struct mbox_writer *m = writer_of(writer);
	if (!export_subscriptions(writer, m->root_fd, subscribed, count))
		return false;
	return syncfs(m->root_fd) == 0 || export_fail(writer, writer->path, errno);
}

static void
mbox_free(struct export_writer *writer)
{
	struct mbox_writer *m = writer_of(writer);
	if (m->file)
		fclose(m->file);
	if (m->root_fd >= 0)
		close(m->root_fd);
	free(m->path);
	free(m);
}

struct export_writer *
export_mbox_new(const char *path,
    void (*problem)(const char *where, const char *text, void *arg), void *arg)
{
	static const struct export_ops ops = {
	    mbox_folder, mbox_message, mbox_folder_end, mbox_end, mbox_free};
	struct mbox_writer *m = xcalloc(1, sizeof(*m));
	m->writer = (struct export_writer){&ops, path, problem, arg};
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		m->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else
		m->root_fd = -1;
	if (m->root_fd >= 0)
		return &m->writer;
	export_fail(&m->writer, path, errno);
	free(m);
	return NULL;
}
