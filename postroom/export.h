/*
 * Writers of the two formats, behind one table.  Private to postroom/; cmd_export.c calls
 * them: folder, then its messages in the order of their UIDs, then folder_end; end last.
 */
#ifndef POSTROOM_EXPORT_H
#define POSTROOM_EXPORT_H

#include "postroom/mail_source.h"

struct export_folder {
	struct slice name;
	uint32_t uidvalidity, uidnext;
	struct slice keywords[MAILBOX_KEYWORDS_MAX]; /* by bit */
	size_t keyword_count;
};

struct export_message {
	struct message_record record;
	struct slice bytes;
	struct slice uidl; /* or null */
};

struct export_writer {
	const struct export_ops *ops;
	const char *path;
	void (*problem)(const char *where, const char *text, void *arg);
	void *arg;
};

struct export_ops {
	/* Each false when it did not work: told as a problem. */
	bool (*folder)(struct export_writer *writer, const struct export_folder *folder);
	bool (*message)(
	    struct export_writer *writer, const struct export_message *message);
	bool (*folder_end)(struct export_writer *writer);
	/* All of it is on disk; `subscribed` are names. */
	bool (*end)(
	    struct export_writer *writer, const struct slice *subscribed, size_t count);
	void (*free)(struct export_writer *writer);
};

/* Null, with the problem told, when the folder `path` cannot be made. */
struct export_writer *export_maildir_new(const char *path,
    void (*problem)(const char *where, const char *text, void *arg), void *arg);
struct export_writer *export_mbox_new(const char *path,
    void (*problem)(const char *where, const char *text, void *arg), void *arg);

/* ---- for the writers ---- */
bool export_fail(struct export_writer *writer, const char *where, int error);
/* Writes a small file whole or not at all. */
bool export_file(
    struct export_writer *writer, int dir_fd, const char *name, struct slice text);
/* The subscriptions as Dovecot keeps them. */
bool export_subscriptions(struct export_writer *writer, int dir_fd,
    const struct slice *subscribed, size_t count);

#endif
