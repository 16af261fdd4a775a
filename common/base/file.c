/*
 * Small files; see file.h.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

static bool
write_whole(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t got = write(fd, bytes.ptr, bytes.len);
		if (got < 0 && errno != EINTR)
			return false;
		bytes = slice_from(bytes, got > 0 ? (size_t)got : 0);
	}
	return true;
}

enum status
file_replace(const char *path, struct slice bytes)
{
	char fresh[FILE_PATH_MAX];
	int len = snprintf(fresh, sizeof(fresh), "%s.new", path);
	if (len < 0 || (size_t)len >= sizeof(fresh))
		return STATUS_LIMIT;
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return STATUS_IO;
	bool good = write_whole(fd, bytes) && fdatasync(fd) == 0;
	good = close(fd) == 0 && good;
	return good && rename(fresh, path) == 0 ? STATUS_OK : STATUS_IO;
}

enum status
file_read(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
	char piece[4096];
	ssize_t got;
	while ((got = read(fd, piece, sizeof(piece))) > 0 && buf_ok(out))
		buf_append(out, slice_make(piece, (size_t)got));
	close(fd);
	return got < 0 ? STATUS_IO : buf_ok(out) ? STATUS_OK : STATUS_LIMIT;
}

static int
remove_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
	(void)stat;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void
file_tree_remove(const char *path)
{
	enum { DESCRIPTORS = 16 }; /* at once */
	nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}
