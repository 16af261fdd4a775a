/*
 * The configuration in a backup: its own file and those that it names (certificates,
 *keys, rules), below config/ in the backup's folder, with a manifest of their own.
 *Private to postroom/.
 *
 *	postroom-config 1
 *	file SIZE CRC MODE NAME PATH    NAME in config/; MODE octal; PATH relative to the
 *	...                             root that it is below, else absolute
 *	end COUNT CRC                   CRC-32C, of all lines before
 */
#ifndef POSTROOM_BACKUP_CONF_H
#define POSTROOM_BACKUP_CONF_H

#include "postroom/cli.h"

enum {
	BACKUP_CONF_FILES_MAX = 64,
	BACKUP_CONF_FILE_MAX = 1024 * 1024,    /* bytes of one */
	BACKUP_CONF_MANIFEST_MAX = 256 * 1024, /* bytes */
};

struct backup_conf;

/* Reads them all; before the store's user is taken on, who may not be able to.  An exit
 * code; CLI_IO names the file that could not be read. */
int backup_conf_read(struct cli *cli, struct backup_conf **out);
/* Replaces what is in `dir`/config, synced, at its end or not at all.  Files are 0600. */
int backup_conf_write(const struct backup_conf *conf, const char *dir);
size_t backup_conf_count(const struct backup_conf *conf);
void backup_conf_free(struct backup_conf **conf);

/* Puts the files of the backup in `dir` where they were, or below `to_root` (null: this
 * instance).  All are compared with their checksums before the first is written.  One
 * that is there and differs is kept beside as NAME.before-TIME when `replace`, else left
 * as it is; one that was outside of the root and of the configuration's folder is not put
 * back, and named.  CLI_NO_OBJECT: the backup has no configuration. */
int backup_conf_restore(
    struct cli *cli, const char *dir, const char *to_root, bool replace);

#endif
