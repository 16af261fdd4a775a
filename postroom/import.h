/*
 * Import of one mailbox: messages of a source into the store, many commits under way, no
 * message twice.  Private to postroom/; cmd_import.c is the command around it.
 *
 * A message is in the mailbox already when one of the same bytes is there: under the same
 * UID, else any that no other message of the source stands for.  So an import that was
 * killed is simply run again.
 */
#ifndef POSTROOM_IMPORT_H
#define POSTROOM_IMPORT_H

#include "postroom/mail_source.h"
#include "postroom/transfer.h"
#include "store/import.h"

enum {
	IMPORT_BATCH_MESSAGES = 64,
	IMPORT_BATCH_BYTES = 1024 * 1024,
	IMPORT_BATCHES_MAX = 8, /* under way */
};

struct importing;
/* `uidl_format`: how the old server makes POP3 unique ids (docs/migration.md), or null.
 */
struct importing *importing_new(struct transfer *transfer, struct account_id account,
    struct mail_source *source, const char *uidl_format);
void importing_free(struct importing **importing);
/* All messages of the folder.  OK, QUOTA when the account is full (the rest was not
 * looked at), or what went wrong. */
enum status importing_folder(
    struct importing *importing, const struct mail_folder *folder) MUST_USE;

#endif
