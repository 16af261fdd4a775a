/*
 * The manifest of a backup, copying with checksums, and restoring.  Making a backup is
 * the engine's (engine_lmdb_backup.c), which alone knows of snapshots.
 */
#include "store/store_backup.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "store/store_backup_int.h"
#include "store/store_int.h"

enum { COPY_CHUNK = 1024 * 1024, LINE_MAX_ = 256, PATH_MAX_ = 4096 };

/* ---- the manifest ---- */

void
manifest_add(struct manifest *manifest, const struct backup_file *file)
{
	ENSURE(manifest->count < BACKUP_FILES_MAX);
	if (manifest->count == manifest->room) {
		manifest->room = manifest->room ? manifest->room * 2 : 64;
		manifest->files =
		    xrealloc(manifest->files, manifest->room * sizeof *manifest->files);
	}
	manifest->files[manifest->count++] = *file;
	if (!manifest->by_from)
		manifest->by_from = hashmap_new();
	hashmap_put(manifest->by_from, slice_from_cstr(file->from),
	    (void *)(uintptr_t)manifest->count);
}

const struct backup_file *
manifest_find(const struct manifest *manifest, const char *from)
{
	uintptr_t at = manifest->by_from ? (uintptr_t)hashmap_get(
					       manifest->by_from, slice_from_cstr(from))
	                                 : 0;
	return at ? &manifest->files[at - 1] : NULL;
}

void
manifest_fini(struct manifest *manifest)
{
	free(manifest->files);
	hashmap_free(&manifest->by_from, NULL);
	*manifest = (struct manifest){0};
}

/* A name that stays inside its folder. */
static bool
name_is_safe(const char *name)
{
	return name[0] != '/' && name[0] != 0 && !strstr(name, "..");
}

static bool
manifest_parse(char *text, size_t len, struct manifest *out)
{
	char *end = strstr(text, "\nend ");
	size_t count;
	uint32_t crc;
	if (!end || sscanf(end + 1, "end %zu %" SCNx32 "\n", &count, &crc) != 2 ||
	    crc32c(0, slice_make(text, (size_t)(end + 1 - text))) != crc)
		return false;
	(void)len;
	unsigned version;
	if (sscanf(text, "postroom-backup %u\nmade %" SCNd64 "\n", &version,
		&out->made_s) != 2 ||
	    version != 1)
		return false;
	end[1] = 0;
	for (char *line = strstr(text, "\nfile "); line;
	     line = strstr(line + 1, "\nfile ")) {
		struct backup_file file;
		if (out->count == BACKUP_FILES_MAX ||
		    sscanf(line, "\nfile %" SCNu64 " %" SCNx32 " %63s %63s\n", &file.size,
			&file.crc, file.from, file.to) != 4 ||
		    !name_is_safe(file.from) || !name_is_safe(file.to))
			return false;
		manifest_add(out, &file);
	}
	return out->count == count;
}

enum status
manifest_read(int dir_fd, struct manifest *out)
{
	*out = (struct manifest){0};
	int fd = openat(dir_fd, "manifest", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return status_from_errno(errno);
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_size > BACKUP_MANIFEST_MAX) {
		close(fd);
		return STATUS_CORRUPT;
	}
	size_t len = (size_t)st.st_size;
	char *text = xcalloc(1, len + 1);
	bool read_all = pread(fd, text, len, 0) == (ssize_t)len;
	close(fd);
	bool ok = read_all && manifest_parse(text, len, out);
	free(text);
	if (!ok)
		manifest_fini(out);
	return ok ? STATUS_OK : STATUS_CORRUPT;
}

enum status
manifest_write(int dir_fd, const struct manifest *manifest)
{
	struct buf text;
	buf_init(&text, BACKUP_MANIFEST_MAX);
	buf_append_format(
	    &text, "postroom-backup 1\nmade %" PRId64 "\n", manifest->made_s);
	for (size_t i = 0; i < manifest->count; i++) {
		const struct backup_file *file = &manifest->files[i];
		buf_append_format(&text, "file %" PRIu64 " %08" PRIx32 " %s %s\n",
		    file->size, file->crc, file->from, file->to);
	}
	uint32_t crc = crc32c(0, buf_slice(&text));
	buf_append_format(&text, "end %zu %08" PRIx32 "\n", manifest->count, crc);
	enum status status = buf_ok(&text) ? STATUS_OK : STATUS_LIMIT;
	int fd = openat(
	    dir_fd, "manifest.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (status == STATUS_OK && fd < 0)
		status = status_from_errno(errno);
	if (status == STATUS_OK &&
	    (pwrite(fd, text.ptr, text.len, 0) != (ssize_t)text.len || fsync(fd) < 0 ||
		renameat(dir_fd, "manifest.new", dir_fd, "manifest") < 0 ||
		fsync(dir_fd) < 0))
		status = errno ? status_from_errno(errno) : STATUS_FULL;
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	return status;
}

/* ---- copying ---- */

enum status
backup_copy(int source, int target, uint64_t from, uint64_t to, uint32_t *crc)
{
	char *chunk = xmalloc(COPY_CHUNK);
	enum status status = STATUS_OK;
	while (from < to && status == STATUS_OK) {
		size_t want = to - from < COPY_CHUNK ? (size_t)(to - from) : COPY_CHUNK;
		ssize_t got = pread(source, chunk, want, (off_t)from);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			status = got < 0 ? STATUS_IO : STATUS_CORRUPT;
			break;
		}
		*crc = crc32c(*crc, slice_make(chunk, (size_t)got));
		ssize_t put =
		    target < 0 ? got : pwrite(target, chunk, (size_t)got, (off_t)from);
		if (put < 0)
			status = status_from_errno(errno);
		else if (put < got)
			status = STATUS_FULL;
		from += (uint64_t)got;
	}
	free(chunk);
	return status;
}

enum status
backup_crc(int fd, uint64_t size, uint32_t *out)
{
	*out = 0;
	return backup_copy(fd, -1, 0, size, out);
}

/* ---- making ---- */

enum status
store_backup(struct store *store, const char *dir,
    const struct store_backup_options *options, struct store_backup_totals *out,
    char **error)
{
	*error = NULL;
	*out = (struct store_backup_totals){0};
	return engine_backup(store->engine, dir, options, out, error);
}

bool
store_backup_state(const struct store *store, struct store_backup_state *out)
{
	char path[PATH_MAX_], text[64] = "";
	struct stat st;
	long long started = 0;
	*out = (struct store_backup_state){0};
	if (!store->path || snprintf(path, sizeof path, "%s/" BACKUP_LOCK_NAME,
				store->path) >= (int)sizeof path)
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool running = flock(fd, LOCK_SH | LOCK_NB) < 0 && fstat(fd, &st) == 0;
	if (running) {
		out->moved_s = (int64_t)st.st_mtime;
		(void)!pread(fd, text, sizeof text - 1, 0);
		if (sscanf(text, "pid %ld started %lld", &out->pid, &started) == 2)
			out->started_s = started;
	}
	close(fd);
	return running;
}

/* ---- restoring ---- */

struct restore {
	int dir_fd, target_fd;
	uid_t uid;
	gid_t gid;
	bool chown;
	char **error;
};

static enum status
restore_fail(struct restore *r, enum status status, const char *what)
{
	if (!*r->error && asprintf(r->error, "%s: %s", what, status_text(status)) < 0)
		*r->error = NULL;
	return status;
}

/* The folders on the way to a file. */
static enum status
folders_make(struct restore *r, const char *name)
{
	char path[BACKUP_NAME_MAX];
	snprintf(path, sizeof path, "%s", name);
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdirat(r->target_fd, path, 0750) < 0 && errno != EEXIST)
			return status_from_errno(errno);
		if (r->chown && fchownat(r->target_fd, path, r->uid, r->gid, 0) < 0)
			return status_from_errno(errno);
		*slash = '/';
	}
	return STATUS_OK;
}

static enum status
file_restore(struct restore *r, const struct backup_file *file)
{
	enum status status = folders_make(r, file->to);
	if (status != STATUS_OK)
		return restore_fail(r, status, file->to);
	int source = openat(r->dir_fd, file->from, O_RDONLY | O_CLOEXEC);
	if (source < 0)
		return restore_fail(r, status_from_errno(errno), file->from);
	int target =
	    openat(r->target_fd, file->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	uint32_t crc = 0;
	status = target < 0 ? status_from_errno(errno)
	                    : backup_copy(source, target, 0, file->size, &crc);
	if (status == STATUS_OK && crc != file->crc)
		status = STATUS_CORRUPT;
	if (status == STATUS_OK &&
	    ((r->chown && fchown(target, r->uid, r->gid) < 0) || fsync(target) < 0))
		status = status_from_errno(errno);
	close(source);
	if (target >= 0)
		close(target);
	return status == STATUS_OK ? status : restore_fail(r, status, file->from);
}

/* Every folder of the new store is synced before it gets its name. */
static enum status
folders_sync(int fd)
{
	int own = dup(fd);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	enum status status = dir && fsync(fd) == 0 ? STATUS_OK : STATUS_IO;
	struct dirent *entry;
	while (dir && status == STATUS_OK && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		int child = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		status = child < 0 ? STATUS_IO : folders_sync(child);
		if (child >= 0)
			close(child);
	}
	if (dir)
		closedir(dir);
	else if (own >= 0)
		close(own);
	return status;
}

static enum status
files_restore(struct restore *r, const struct manifest *manifest,
    const struct store_backup_options *options, struct store_backup_totals *out)
{
	enum status status = STATUS_OK;
	uint64_t total = 0;
	for (size_t i = 0; i < manifest->count; i++)
		total += manifest->files[i].size;
	for (size_t i = 0; i < manifest->count && status == STATUS_OK; i++) {
		status = file_restore(r, &manifest->files[i]);
		out->files++;
		out->bytes += manifest->files[i].size;
		if (options->progress)
			options->progress(out->bytes, total, options->arg);
	}
	/* An environment without messages has its folder all the same. */
	for (size_t i = 0; i < manifest->count && status == STATUS_OK; i++) {
		char path[BACKUP_NAME_MAX + 16];
		const char *slash = strstr(manifest->files[i].to, "/data.mdb");
		if (!slash)
			continue;
		snprintf(path, sizeof path, "%.*s/bodies/",
		    (int)(slash - manifest->files[i].to), manifest->files[i].to);
		status = folders_make(r, path);
	}
	if (status == STATUS_OK)
		status = folders_sync(r->target_fd);
	out->copied_bytes = out->bytes;
	return status;
}

enum status
store_restore(const char *dir, const char *path,
    const struct store_backup_options *options, struct store_backup_totals *out,
    char **error)
{
	char partial[PATH_MAX_];
	struct stat st;
	struct manifest manifest;
	struct restore r = {.error = error, .target_fd = -1};
	*error = NULL;
	*out = (struct store_backup_totals){0};
	if (lstat(path, &st) == 0)
		return restore_fail(&r, STATUS_EXISTS, path);
	r.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r.dir_fd < 0)
		return restore_fail(&r, status_from_errno(errno), dir);
	enum status status = manifest_read(r.dir_fd, &manifest);
	if (status != STATUS_OK) {
		close(r.dir_fd);
		return restore_fail(&r, status, "the backup's manifest");
	}
	out->made_s = manifest.made_s;
	snprintf(partial, sizeof partial, "%s.partial-%ld", path, (long)getpid());
	if (mkdir(partial, 0750) < 0)
		status = restore_fail(&r, status_from_errno(errno), partial);
	if (status == STATUS_OK) {
		r.target_fd = open(partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int parent =
		    openat(r.target_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (r.target_fd < 0 || parent < 0 || fstat(parent, &st) < 0)
			status = restore_fail(&r, STATUS_IO, partial);
		/* The daemons' user owns the folder that the store is in. */
		r.chown = geteuid() == 0 && st.st_uid != 0;
		r.uid = st.st_uid;
		r.gid = st.st_gid;
		if (status == STATUS_OK && r.chown &&
		    fchown(r.target_fd, r.uid, r.gid) < 0)
			status = restore_fail(&r, status_from_errno(errno), partial);
		if (status == STATUS_OK)
			status = files_restore(&r, &manifest, options, out);
		if (status == STATUS_OK &&
		    (mkdirat(r.target_fd, "spool", 0750) < 0 ||
			(r.chown && fchownat(r.target_fd, "spool", r.uid, r.gid, 0) < 0)))
			status = restore_fail(&r, status_from_errno(errno), "spool");
		if (status == STATUS_OK &&
		    (rename(partial, path) < 0 || fsync(parent) < 0))
			status = restore_fail(&r, status_from_errno(errno), path);
		if (parent >= 0)
			close(parent);
		if (r.target_fd >= 0)
			close(r.target_fd);
		if (status != STATUS_OK) /* what is left of it is of no use */
			file_tree_remove(partial);
	}
	close(r.dir_fd);
	manifest_fini(&manifest);
	return status;
}
