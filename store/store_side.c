/*
 * Side folders: where a backup is restored to beside the store, to take something out of
 * it. Each is spool/restore-PID, locked by the process that works in it; one that nobody
 * has locked was left by a process that was killed, and is removed by the next start or
 * restore.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/file.h"
#include "base/log.h"
#include "store/store_backup.h"

#define SIDE_PREFIX "restore-"

enum status
store_side_make(const char *store_path, struct store_side *out)
{
	enum { TRIES = 10 };
	*out = (struct store_side){.lock_fd = -1};
	if (asprintf(&out->path, "%s/spool/" SIDE_PREFIX "%ld", store_path,
		(long)getpid()) < 0)
		abort();
	for (int i = 0; i < TRIES; i++) {
		struct stat st;
		if (mkdir(out->path, 0750) < 0 && errno != EEXIST)
			return status_from_errno(errno);
		int fd = open(out->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		/* Between the two a sweep may have taken it. */
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 &&
		    st.st_nlink > 0) {
			out->lock_fd = fd;
			return STATUS_OK;
		}
		if (fd >= 0)
			close(fd);
	}
	return STATUS_BUSY;
}

void
store_side_remove(struct store_side *side)
{
	if (side->lock_fd >= 0) {
		file_tree_remove(side->path);
		close(side->lock_fd);
	}
	free(side->path);
	*side = (struct store_side){.lock_fd = -1};
}

unsigned
store_side_sweep(const char *store_path)
{
	char *spool;
	unsigned removed = 0;
	if (asprintf(&spool, "%s/spool", store_path) < 0)
		abort();
	DIR *dir = opendir(spool);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, SIDE_PREFIX, strlen(SIDE_PREFIX)) != 0)
			continue;
		int fd = openat(dirfd(dir), entry->d_name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			char *path;
			if (asprintf(&path, "%s/%s", spool, entry->d_name) < 0)
				abort();
			file_tree_remove(path);
			if (access(path, F_OK) != 0)
				removed++;
			free(path);
		}
		close(fd);
	}
	if (dir)
		closedir(dir);
	free(spool);
	if (removed > 0)
		LOG_INFO("store.sweep", LF_U64("restores", removed),
		    LF_STR("reason", "left by a restore that was killed"));
	return removed;
}
