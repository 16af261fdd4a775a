/*
 * Asking for a password, and making its SCRAM keys.
 */
#ifndef POSTROOM_PASSWORD_H
#define POSTROOM_PASSWORD_H

#include "postroom/cli.h"

/* Reads a password (one line of standard input with --password-stdin, else twice from the
 * terminal; empty there = one is made and printed).  0 or an exit code; *out is
 * allocated. `minimum`: characters, 0 for passwords that are not ours to judge. */
int password_read(struct cli *cli, unsigned minimum, char **out);
/* Its keys into `out`; 0 or an exit code. */
int password_keys(struct cli *cli, const char *password, struct buf *out);

#endif
