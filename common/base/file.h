/*
 * Small files, whole: read at once, and replaced so that after a crash either the old or
 * the new bytes are there.  And folders with all that is in them, removed.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"

enum { FILE_PATH_MAX = 4096 /* bytes, with the NUL */ };

/* Writes "<path>.new", mode 0600, syncs it and renames it. */
enum status file_replace(const char *path, struct slice bytes) MUST_USE;
/* Appends all bytes.  NOT_FOUND: no such file; LIMIT: more than fits. */
enum status file_read(const char *path, struct buf *out) MUST_USE;
/* Removes the folder and all below it, up to what cannot be removed; links are not
 * followed. */
void file_tree_remove(const char *path);

#endif
