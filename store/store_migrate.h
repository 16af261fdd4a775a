/*
 * The store's format on disk and how older ones become today's.  Public part of the
 * store; for the command line.  Opening reads every format up to today's and refuses a
 * newer one with a sentence; migrating is asked for, and can be looked at first.
 */
#ifndef STORE_STORE_MIGRATE_H
#define STORE_STORE_MIGRATE_H

#include <stdbool.h>

#include "base/status.h"

struct store_migration {
	unsigned found; /* the format that the store had */
	unsigned now;   /* that it has */
	unsigned newest;
};

/* Brings the store at `path` to today's format, one step after the other, each of them
 * whole or not at all; `step` is told of each before it is done (or would be, with
 * dry_run, which changes nothing).  Works while daemons have the store open.  CORRUPT for
 * a newer or damaged one.  *error: one line, the caller frees it; set on failure. */
enum status store_migrate(const char *path, bool dry_run,
    void (*step)(unsigned from, const char *what, void *arg), void *arg,
    struct store_migration *out, char **error) MUST_USE;

#endif
