/*
 * Backups: a folder that holds the store as it was at one moment, made while daemons
 * serve (decision 0023), and the way back.  Public part of the store; any one thread.
 *
 * The folder is the newest state only; made again into the same folder, bytes of messages
 * that are there already are not copied again.  Its "manifest" names every file with size
 * and checksum and is replaced last, so that a backup that was cut short leaves the one
 * before.
 */
#ifndef STORE_STORE_BACKUP_H
#define STORE_STORE_BACKUP_H

#include "store/store.h"

struct store_backup_options {
	/* Bytes of files that are done; now and then; may be null. */
	void (*progress)(uint64_t done, uint64_t total, void *arg);
	void *arg;
};

struct store_backup_totals {
	uint64_t files, bytes;
	uint64_t copied_bytes; /* of them; the rest was there */
	int64_t made_s;        /* when the backup's moment was */
};

/* `dir` is made when it is not there.  BUSY: another backup of this store is under way.
 * *error: one line, the caller frees it; set on failure. */
enum status store_backup(struct store *store, const char *dir,
    const struct store_backup_options *options, struct store_backup_totals *out,
    char **error) MUST_USE;
/* Makes a store at `path`, which must not be there, of the backup in `dir`.  Every
 * checksum is compared before the store gets its name: CORRUPT otherwise. */
enum status store_restore(const char *dir, const char *path,
    const struct store_backup_options *options, struct store_backup_totals *out,
    char **error) MUST_USE;

/* Whether a backup of this store is under way; a process that stands still counts. */
struct store_backup_state {
	long pid;          /* 0: not known */
	int64_t started_s; /* 0: not known */
	int64_t moved_s;   /* when it last went on */
};
bool store_backup_state(const struct store *store, struct store_backup_state *out);

/* A folder of this process below the store, to restore a backup beside it (store_side.c).
 */
struct store_side {
	char *path;
	int lock_fd;
};
/* The folder is there, empty or not, and locked.  Remove it also after a failure. */
enum status store_side_make(const char *store_path, struct store_side *out) MUST_USE;
void store_side_remove(struct store_side *side);
/* Removes those of processes that are gone; how many. */
unsigned store_side_sweep(const char *store_path);

#endif
