/*
 * The manual page postroom(1), from the verb table.
 */
#ifndef POSTROOM_CLI_MAN_H
#define POSTROOM_CLI_MAN_H

#include "base/buf.h"

/* Appends the page (man(7) macros). */
void cli_man_write(struct buf *out);

#endif
