/*
 * Reads the configuration's files into memory, writes them into a backup, and the other
 * way round.  What a manifest says is believed only as far as it cannot do harm: sizes
 * and counts are bounded, names stay in their folder, paths below the root.
 */
#include "postroom/backup_conf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/ensure.h"

enum { NAME_BYTES = 96, PATH_BYTES = 4096, MODE_KEPT = 0644 };

struct conf_file {
	char name[NAME_BYTES]; /* in config/ */
	char *path;            /* as in the manifest */
	uint64_t size;
	uint32_t crc;
	unsigned mode;
	char *bytes;
};

struct backup_conf {
	const char *root; /* null: system paths */
	struct conf_file files[BACKUP_CONF_FILES_MAX];
	size_t count;
	int code;
};

void
backup_conf_free(struct backup_conf **conf)
{
	struct backup_conf *c = *conf;
	*conf = NULL;
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++) {
		free(c->files[i].path);
		free(c->files[i].bytes);
	}
	free(c);
}

size_t
backup_conf_count(const struct backup_conf *conf)
{
	return conf->count;
}

/* ---- reading a file, writing one ---- */

/* A regular file of at most BACKUP_CONF_FILE_MAX bytes; null with errno else. */
static char *
file_read(int dir_fd, const char *path, uint64_t *out_size, unsigned *out_mode)
{
	struct stat st;
	char *bytes = NULL;
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	errno = EFBIG;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size <= BACKUP_CONF_FILE_MAX) {
		bytes = xmalloc((size_t)st.st_size + 1);
		ssize_t got = pread(fd, bytes, (size_t)st.st_size, 0);
		if (got != st.st_size) {
			free(bytes);
			bytes = NULL;
			errno = EIO;
		}
		*out_size = (uint64_t)st.st_size;
		*out_mode = st.st_mode & 07777;
	} else if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
	}
	int err = errno;
	close(fd);
	errno = err;
	return bytes;
}

/* Under another name first; synced with its folder. */
static bool
file_write(int dir_fd, const char *name, struct slice bytes, unsigned mode)
{
	char part[NAME_BYTES + 300];
	snprintf(part, sizeof part, "%s.new", name);
	(void)unlinkat(dir_fd, part, 0);
	int fd = openat(dir_fd, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	bool done = pwrite(fd, bytes.ptr, bytes.len, 0) == (ssize_t)bytes.len &&
	            fchmod(fd, mode) == 0 && fsync(fd) == 0 &&
	            renameat(dir_fd, part, dir_fd, name) == 0 && fsync(dir_fd) == 0;
	close(fd);
	return done;
}

/* ---- into the backup ---- */

static void
conf_add(const char *path, void *arg)
{
	struct backup_conf *conf = arg;
	size_t root_len = conf->root ? strlen(conf->root) : 0;
	bool below = root_len > 0 && strncmp(path, conf->root, root_len) == 0 &&
	             path[root_len] == '/';
	const char *kept = below ? path + root_len + 1 : path;
	if (conf->code != CLI_OK)
		return;
	for (size_t i = 0; i < conf->count; i++)
		if (strcmp(conf->files[i].path, kept) == 0)
			return; /* named twice */
	struct conf_file file = {0};
	file.bytes = file_read(AT_FDCWD, path, &file.size, &file.mode);
	if (!file.bytes) {
		/* What a default names need not be there. */
		if (errno != ENOENT)
			conf->code = cli_fail(
			    CLI_IO, "could not read %s: %s", path, strerror(errno));
		return;
	}
	if (conf->count == BACKUP_CONF_FILES_MAX || strchr(path, '\n') ||
	    strlen(path) >= PATH_BYTES) {
		free(file.bytes);
		conf->code =
		    cli_fail(CLI_DATA, "%s cannot be in a backup: its name", path);
		return;
	}
	file.crc = crc32c(0, slice_make(file.bytes, (size_t)file.size));
	file.path = xstrdup(kept);
	/* Another name for other bytes: those of the backup before stay meanwhile. */
	snprintf(file.name, sizeof file.name, "%02zu-%08" PRIx32, conf->count, file.crc);
	conf->files[conf->count++] = file;
}

int
backup_conf_read(struct cli *cli, struct backup_conf **out)
{
	int code = cli_need_conf(cli);
	if (code != CLI_OK)
		return code;
	struct backup_conf *conf = xcalloc(1, sizeof *conf);
	char *path = cli_config_path(cli);
	conf->root = cli->root;
	conf_add(path, conf);
	free(path);
	conf_files_each(cli->conf, conf_add, conf);
	code = conf->code;
	if (code != CLI_OK)
		backup_conf_free(&conf);
	*out = conf;
	return code;
}

static void
manifest_make(const struct backup_conf *conf, struct buf *text)
{
	buf_append(text, SLICE("postroom-config 1\n"));
	for (size_t i = 0; i < conf->count; i++) {
		const struct conf_file *file = &conf->files[i];
		buf_append_format(text, "file %" PRIu64 " %08" PRIx32 " %04o %s %s\n",
		    file->size, file->crc, file->mode, file->name, file->path);
	}
	uint32_t crc = crc32c(0, buf_slice(text));
	buf_append_format(text, "end %zu %08" PRIx32 "\n", conf->count, crc);
}

/* Files of backups before this one. */
static void
sweep(const struct backup_conf *conf, int fd)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		bool named =
		    entry->d_name[0] == '.' || strcmp(entry->d_name, "manifest") == 0;
		for (size_t i = 0; i < conf->count; i++)
			named = named || strcmp(entry->d_name, conf->files[i].name) == 0;
		if (!named)
			unlinkat(fd, entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
	else if (own >= 0)
		close(own);
}

int
backup_conf_write(const struct backup_conf *conf, const char *dir)
{
	struct buf text AUTO_BUF;
	buf_init(&text, BACKUP_CONF_MANIFEST_MAX);
	manifest_make(conf, &text);
	int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool done = top >= 0 && (mkdirat(top, "config", 0700) == 0 || errno == EEXIST) &&
	            fsync(top) == 0 && buf_ok(&text);
	int fd =
	    done ? openat(top, "config", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
		 : -1;
	done = fd >= 0;
	for (size_t i = 0; i < conf->count && done; i++)
		done = file_write(fd, conf->files[i].name,
		    slice_make(conf->files[i].bytes, (size_t)conf->files[i].size), 0600);
	if (done)
		done = file_write(fd, "manifest", buf_slice(&text), 0600);
	int err = errno;
	if (done)
		sweep(conf, fd);
	if (fd >= 0)
		close(fd);
	if (top >= 0)
		close(top);
	return done ? CLI_OK
	            : cli_fail(CLI_IO,
			  "could not write the configuration to %s/config: %s", dir,
			  strerror(err));
}

/* ---- out of it ---- */

static bool
path_is_safe(const char *path)
{
	size_t len = strlen(path);
	return len > 0 && len < PATH_BYTES && path[len - 1] != '/' &&
	       strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0 &&
	       !strstr(path, "/../") && !strstr(path, "//") &&
	       !(len >= 3 && strcmp(path + len - 3, "/..") == 0);
}

/* One "file" line without its end. */
static bool
line_parse(const char *line, struct conf_file *out)
{
	char path[PATH_BYTES];
	int n = 0;
	*out = (struct conf_file){0};
	if (sscanf(line, "file %" SCNu64 " %" SCNx32 " %o %95s %n", &out->size, &out->crc,
		&out->mode, out->name, &n) != 4 ||
	    n == 0 || strlen(line + n) >= sizeof path)
		return false;
	snprintf(path, sizeof path, "%s", line + n);
	if (!path_is_safe(path) || strchr(out->name, '/') || out->name[0] == '.' ||
	    out->size > BACKUP_CONF_FILE_MAX)
		return false;
	out->path = xstrdup(path);
	return true;
}

static bool
manifest_parse(char *text, size_t len, struct backup_conf *out)
{
	size_t count;
	uint32_t crc;
	char *end = strstr(text, "\nend ");
	if (strlen(text) != len || !end ||
	    sscanf(end + 1, "end %zu %" SCNx32 "\n", &count, &crc) != 2 ||
	    crc32c(0, slice_make(text, (size_t)(end + 1 - text))) != crc ||
	    strncmp(text, "postroom-config 1\n", 18) != 0)
		return false;
	end[1] = 0;
	char *line = text + 18;
	while (*line) {
		char *next = strchr(line, '\n');
		if (!next || out->count == BACKUP_CONF_FILES_MAX)
			return false;
		*next = 0;
		if (!line_parse(line, &out->files[out->count]))
			return false;
		out->count++;
		line = next + 1;
	}
	return out->count == count;
}

/* Everything in memory, compared. */
static int
backup_conf_load(const char *dir, int fd, struct backup_conf *out)
{
	uint64_t size;
	unsigned mode;
	char *text = file_read(fd, "manifest", &size, &mode);
	if (!text)
		return cli_fail(CLI_NO_OBJECT, "there is no configuration in %s", dir);
	text[size] = 0;
	bool ok = manifest_parse(text, (size_t)size, out);
	free(text);
	if (!ok)
		return cli_fail(CLI_DATA, "%s/config/manifest is damaged", dir);
	for (size_t i = 0; i < out->count; i++) {
		struct conf_file *file = &out->files[i];
		file->bytes = file_read(fd, file->name, &size, &mode);
		if (!file->bytes || size != file->size ||
		    crc32c(0, slice_make(file->bytes, (size_t)size)) != file->crc)
			return cli_fail(CLI_DATA, "%s/config/%s (%s) is damaged", dir,
			    file->name, file->path);
	}
	return CLI_OK;
}

/* Where it goes, or null. */
static char *
file_target(struct cli *cli, const struct conf_file *file, const char *to_root)
{
	char *target = NULL;
	const char *root = to_root ? to_root : cli->root;
	if (file->path[0] != '/') {
		if (root && asprintf(&target, "%s/%s", root, file->path) < 0)
			abort();
		return target;
	}
	if (root) /* of a system's, below the root; else it was outside of its own */
		return NULL;
	char *own = cli_config_path(cli);
	char *slash = strrchr(own, '/');
	size_t len = slash ? (size_t)(slash - own) + 1 : 0;
	if (len > 0 && strncmp(file->path, own, len) == 0)
		target = xstrdup(file->path);
	free(own);
	return target;
}

/* The folder of `path`, made where it is missing; *out_name is the rest. */
static int
folder_open(char *path, const char **out_name)
{
	char *last = strrchr(path, '/');
	for (char *slash = strchr(path + 1, '/'); slash && slash <= last;
	     slash = strchr(slash + 1, '/')) {
		*slash = 0;
		(void)mkdir(path, 0755); /* open tells when it is not there */
		*slash = '/';
	}
	*last = 0;
	int fd = open(path[0] ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*last = '/';
	*out_name = last + 1;
	return fd;
}

static int
file_put(struct cli *cli, const struct conf_file *file, char *target, bool replace)
{
	const char *name;
	uint64_t size = 0;
	unsigned mode = 0;
	char aside[PATH_BYTES];
	struct slice bytes = slice_make(file->bytes, (size_t)file->size);
	int fd = folder_open(target, &name);
	if (fd < 0 || strlen(name) >= 256) {
		if (fd >= 0)
			close(fd);
		return cli_fail(
		    CLI_IO, "could not write %s: %s", target, strerror(errno));
	}
	char *old = file_read(fd, name, &size, &mode);
	bool there = faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	bool same = old && slice_equal(slice_make(old, (size_t)size), bytes);
	bool done = true;
	free(old);
	snprintf(aside, sizeof aside, "%s.before-%lld", name, (long long)time(NULL));
	if (there && !same && replace)
		done = renameat(fd, name, fd, aside) == 0;
	if (done && !same && (!there || replace))
		done = file_write(fd, name, bytes, file->mode & MODE_KEPT);
	int err = errno;
	close(fd);
	if (!done)
		return cli_fail(CLI_IO, "could not write %s: %s", target, strerror(err));
	if (!cli->quiet && !cli->json && !same)
		printf("%s%s%s\n", target,
		    there && !replace ? " is there already: left" : "",
		    there && replace ? " (the one before is kept beside it)" : "");
	return CLI_OK;
}

int
backup_conf_restore(struct cli *cli, const char *dir, const char *to_root, bool replace)
{
	struct backup_conf *conf = xcalloc(1, sizeof *conf);
	char folder[PATH_BYTES];
	snprintf(folder, sizeof folder, "%s/config", dir);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int code = fd < 0
	               ? cli_fail(CLI_NO_OBJECT, "there is no configuration in %s", dir)
	               : backup_conf_load(dir, fd, conf);
	for (size_t i = 0; i < conf->count && code == CLI_OK; i++) {
		const struct conf_file *file = &conf->files[i];
		char *target = file_target(cli, file, to_root);
		if (target)
			code = file_put(cli, file, target, replace);
		else
			fprintf(stderr, "%s was %s: not put back, do it yourself\n",
			    file->name, file->path);
		free(target);
	}
	if (fd >= 0)
		close(fd);
	backup_conf_free(&conf);
	return code;
}
