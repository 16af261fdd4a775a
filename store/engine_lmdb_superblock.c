/*
 * The superblock: what a store is, in a text file that is written whole or not at all,
 * under the lock on the store's folder.
 *
 *	postroom-store 2
 *	shards 4
 *	installation 0123456789abcdef0123456789abcdef
 *	crc 89abcdef
 *
 * crc is the CRC-32C of the lines above it; format 1 had none.  A store of an older
 *format is read as it is and migrated by store_migrate (store/store_migrate.h), one step
 *a format; one of a newer format is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "store/engine_lmdb_int.h"
#include "store/store_migrate.h"

enum {
	STORE_FORMAT = 2,
	SUPERBLOCK_MAX = 512, /* bytes */
};

static bool
id_parse(const char *text, unsigned char out[LMDB_INSTALLATION_SIZE])
{
	for (size_t i = 0; i < LMDB_INSTALLATION_SIZE; i++) {
		unsigned byte;
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		out[i] = (unsigned char)byte;
	}
	return true;
}

static bool
crc_fits(const char *text)
{
	uint32_t crc;
	const char *line = strstr(text, "\ncrc ");
	return line && sscanf(line, "\ncrc %8" SCNx32, &crc) == 1 &&
	       strcmp(line + 13, "\n") == 0 &&
	       crc == crc32c(0, slice_make(text, (size_t)(line + 1 - text)));
}

bool
superblock_parse(const char *path, const char *text, struct superblock *out, char **error)
{
	unsigned format, shards;
	char id[2 * LMDB_INSTALLATION_SIZE + 1];
	if (sscanf(text, "postroom-store %9u\n", &format) != 1 || format < 1) {
		lmdb_error(error, "%s/superblock: not a superblock", path);
		return false;
	}
	if (format > STORE_FORMAT) {
		lmdb_error(error,
		    "%s: a newer Postroom made this store (format %u, this program "
		    "knows up to %u): run that version, or restore a backup of before",
		    path, format, STORE_FORMAT);
		return false;
	}
	if (sscanf(text, "postroom-store %*u\nshards %9u\ninstallation %32[0-9a-f]\n",
		&shards, id) != 2 ||
	    strlen(id) != sizeof id - 1 || shards < 1 || shards > ENGINE_SHARDS_MAX ||
	    !id_parse(id, out->installation)) {
		lmdb_error(error, "%s/superblock: not a superblock", path);
		return false;
	}
	if (format >= 2 && !crc_fits(text)) {
		lmdb_error(
		    error, "%s/superblock: damaged: its checksum does not fit", path);
		return false;
	}
	out->format = format;
	out->shards = shards;
	return true;
}

enum status
superblock_read(int dir_fd, const char *path, struct superblock *out, char **error)
{
	int fd = openat(dir_fd, "superblock", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return status_from_errno(errno);
	char text[SUPERBLOCK_MAX];
	ssize_t len = read(fd, text, sizeof text - 1);
	enum status status = len < 0 ? status_from_errno(errno) : STATUS_OK;
	close(fd);
	if (status != STATUS_OK)
		return status;
	text[len] = 0;
	return superblock_parse(path, text, out, error) ? STATUS_OK : STATUS_CORRUPT;
}

enum status
superblock_write(int dir_fd, const struct superblock *superblock)
{
	char text[SUPERBLOCK_MAX];
	size_t len = (size_t)snprintf(text, sizeof text,
	    "postroom-store %u\nshards %u\ninstallation ", STORE_FORMAT,
	    superblock->shards);
	for (size_t i = 0; i < LMDB_INSTALLATION_SIZE; i++)
		len += (size_t)snprintf(
		    text + len, sizeof text - len, "%02x", superblock->installation[i]);
	text[len++] = '\n';
	len += (size_t)snprintf(text + len, sizeof text - len, "crc %08" PRIx32 "\n",
	    crc32c(0, slice_make(text, len)));
	int fd = openat(
	    dir_fd, "superblock.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return status_from_errno(errno);
	bool written = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
	enum status status = written ? STATUS_OK : status_from_errno(errno);
	close(fd);
	if (written && (renameat(dir_fd, "superblock.new", dir_fd, "superblock") < 0 ||
			   fsync(dir_fd) < 0))
		status = status_from_errno(errno);
	return status;
}

/* ---- migration ---- */

/* Format 1 to 2: the checksum line, which superblock_write adds. */
static enum status
add_checksum(int dir_fd, struct superblock *superblock)
{
	return superblock_write(dir_fd, superblock);
}

static const struct {
	unsigned from; /* to the next one */
	const char *what;
	enum status (*run)(int dir_fd, struct superblock *superblock);
} STEPS[] = {
    {1, "give the superblock a checksum", add_checksum},
};

enum status
store_migrate(const char *path, bool dry_run,
    void (*step)(unsigned from, const char *what, void *arg), void *arg,
    struct store_migration *out, char **error)
{
	struct superblock superblock;
	*error = NULL;
	int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		int err = errno;
		lmdb_error(error, "%s: %s", path, strerror(err));
		return status_from_errno(err);
	}
	/* Nobody opens the store meanwhile; who has it open knows both formats. */
	while (flock(dir_fd, LOCK_EX) < 0 && errno == EINTR)
		continue;
	enum status status = superblock_read(dir_fd, path, &superblock, error);
	if (status == STATUS_OK)
		*out = (struct store_migration){
		    superblock.format, superblock.format, STORE_FORMAT};
	for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0] && status == STATUS_OK;
	     i++) {
		if (STEPS[i].from < superblock.format)
			continue;
		if (step)
			step(STEPS[i].from, STEPS[i].what, arg);
		if (dry_run)
			continue;
		status = STEPS[i].run(dir_fd, &superblock);
		if (status == STATUS_OK)
			out->now = STEPS[i].from + 1;
	}
	close(dir_fd);
	if (status != STATUS_OK && !*error)
		lmdb_error(error, "%s: %s", path, status_text(status));
	return status;
}
