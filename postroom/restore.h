/*
 * Between cmd_backup.c and cmd_restore_account.c.  Private to postroom/.
 */
#ifndef POSTROOM_RESTORE_H
#define POSTROOM_RESTORE_H

#include "postroom/cli.h"

/* One account of the backup that the first argument names; an exit code. */
int restore_account(struct cli *cli, const char *login);
/* Bytes done, on a terminal; the argument is the cli.  A line end behind the last. */
void restore_progress(uint64_t done, uint64_t total, void *arg);
void restore_progress_end(struct cli *cli);

#endif
