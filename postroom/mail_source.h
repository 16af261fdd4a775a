/*
 * Mail of another server, as files: folders one after the other, the messages of each one
 * after the other, each message's bytes through a call.  One folder's list of messages is
 * in memory at a time, never a message.  Private to postroom/; import reads by it, and
 * export reads what it has written.
 */
#ifndef POSTROOM_MAIL_SOURCE_H
#define POSTROOM_MAIL_SOURCE_H

#include "base/arena.h"
#include "base/buf.h"
#include "store/message.h"
#include "text/mbox.h"

enum {
	MAIL_FOLDERS_MAX = MAILBOX_COUNT_MAX,
	MAIL_KEYWORDS_MAX = 64,                      /* of one message */
	MAIL_MESSAGE_BYTES_MAX = 1024 * 1024 * 1024, /* a larger one is reported */
	MAIL_FOLDER_MEMORY_MAX = 1024 * 1024 * 1024, /* bytes of one folder's names */
	MAIL_LIST_BYTES_MAX = 512 * 1024 * 1024,     /* of one uid list */
	MAIL_DEPTH_MAX = 20,                         /* of folders in folders */
};

struct mail_folder {
	struct slice name;    /* a mailbox name, checked */
	uint32_t uidvalidity; /* 0: it knows no UIDs */
	uint32_t uidnext;     /* above every UID of it */
	bool subscribed;
	size_t messages; /* for progress */
};

struct mail_item {
	uint32_t uid; /* 0: none; else ascending in a folder */
	uint8_t flags;
	struct slice keywords[MAIL_KEYWORDS_MAX];
	size_t keyword_count;
	struct slice uidl; /* or null */
	struct slice base; /* the file's name without flags; null in an mbox */
	int64_t internaldate_s;
	int16_t internaldate_zone_min;
	char where[512]; /* for people: file, or file and offset */
};

/* In the names of files that we export. */
#define MAIL_OWN_MARK ".postroom,"

enum mail_format { MAIL_FORMAT_MAILDIR, MAIL_FORMAT_MBOX };

struct mail_source_options {
	enum mail_format format;
	const char *path;
	struct slice mailbox; /* of a single mbox file */
	enum mbox_quoting quoting;
	/* What could not be read, or not be understood: `where` names the file. */
	void (*problem)(const char *where, const char *text, void *arg);
	void *arg;
};

struct mail_source;
/* Null, with *error one line (the caller frees it), when there is nothing to read. */
struct mail_source *mail_source_open(
    const struct mail_source_options *options, char **error);
/* An account of another store, whose reader is lent until close. */
struct mail_source *mail_source_store_open(const struct mail_source_options *options,
    struct store_reader *reader, struct account_id account, char **error);
void mail_source_close(struct mail_source **source);
/* Whether the source lists subscriptions at all; each name, in UTF-8 with "/". */
void mail_source_subscriptions(
    struct mail_source *source, void (*fn)(struct slice name, void *arg), void *arg);
/* False behind the last one.  What it tells is valid until the next call. */
bool mail_source_folder(struct mail_source *source, struct mail_folder *out);
/* The folder's next message; false behind the last one.  Valid until the next call. */
bool mail_source_message(struct mail_source *source, struct mail_item *out);
/* The bytes of that message, line ends CRLF.  False when they cannot be read: the problem
 * was told.  `sink` returns false to stop. */
bool mail_source_read(
    struct mail_source *source, bool (*sink)(struct slice bytes, void *arg), void *arg);

#endif
