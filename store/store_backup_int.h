/*
 * Private to store_backup*.c and engine_lmdb_backup.c: the manifest and copying with
 * checksums.
 *
 *	postroom-backup 1
 *	made SECONDS
 *	file SIZE CRC FROM TO       (names relative to the backup and to the store)
 *	...
 *	end COUNT CRC               (of all lines before)
 */
#ifndef STORE_STORE_BACKUP_INT_H
#define STORE_STORE_BACKUP_INT_H

#include "base/buf.h"
#include "base/hashmap.h"
#include "store/store_backup.h"

/* In the store's folder: locked while a backup is under way, touched as it goes on; holds
 * "pid N started SECONDS". */
#define BACKUP_LOCK_NAME "backup.lock"

enum {
	BACKUP_NAME_MAX = 64, /* bytes of a file's name */
	BACKUP_FILES_MAX = 4 * 1024 * 1024,
	BACKUP_MANIFEST_MAX = 512 * 1024 * 1024, /* bytes */
};

struct backup_file {
	char from[BACKUP_NAME_MAX]; /* in the backup */
	char to[BACKUP_NAME_MAX];   /* in a store */
	uint64_t size;
	uint32_t crc; /* CRC-32C of the whole file */
};

struct manifest {
	int64_t made_s;
	struct backup_file *files;
	size_t count, room;
	struct hashmap *by_from; /* name -> index + 1 */
};

void manifest_add(struct manifest *manifest, const struct backup_file *file);
/* The file with that name in the backup, or null. */
const struct backup_file *manifest_find(
    const struct manifest *manifest, const char *from);
void manifest_fini(struct manifest *manifest);
/* NOT_FOUND when there is none, CORRUPT when it is not whole. */
enum status manifest_read(int dir_fd, struct manifest *out) MUST_USE;
/* Replaces it; what it names must be synced. */
enum status manifest_write(int dir_fd, const struct manifest *manifest) MUST_USE;

/* Copies bytes [from, to) at the same offsets; *crc goes on from what it is.  CORRUPT
 * when the source ends before. */
enum status backup_copy(
    int source, int target, uint64_t from, uint64_t to, uint32_t *crc) MUST_USE;
/* The checksum of the first `size` bytes. */
enum status backup_crc(int fd, uint64_t size, uint32_t *out) MUST_USE;

#endif
