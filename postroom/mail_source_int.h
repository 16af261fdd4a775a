/*
 * What the two formats share; private to mail_source*.c.
 */
#ifndef POSTROOM_MAIL_SOURCE_INT_H
#define POSTROOM_MAIL_SOURCE_INT_H

#include "postroom/mail_source.h"

struct mail_source_ops {
	bool (*folder)(struct mail_source *source, struct mail_folder *out);
	bool (*message)(struct mail_source *source, struct mail_item *out);
	bool (*read)(struct mail_source *source);
	void (*close)(struct mail_source *source);
};

struct mail_source {
	const struct mail_source_ops *ops;
	struct mail_source_options options;
	struct arena *arena; /* for the source's life */
	char *subscriptions; /* text, or null */
	size_t subscriptions_len;
	struct hashmap *subscribed;
	/* mail_source_emit's, for the message that is read: */
	bool exact; /* line ends stay as they are */
	char last;
	bool (*sink)(struct slice bytes, void *arg);
	void *sink_arg;
};

struct mail_source *mail_source_maildir_open(
    const struct mail_source_options *options, char **error);
struct mail_source *mail_source_mbox_open(
    const struct mail_source_options *options, char **error);
/* Bytes of a message to the sink: a bare LF becomes CRLF. */
bool mail_source_emit(struct mail_source *source, struct slice bytes);
void mail_source_problem(struct mail_source *source, const char *where,
    const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A mailbox name that can be, into the arena; false: told as a problem. */
bool mail_source_name(
    struct mail_source *source, struct slice utf8, const char *where, struct slice *out);
bool mail_source_is_subscribed(struct mail_source *source, struct slice name);
/* A whole file of text below `fd`, with a NUL behind; null when it is not there or too
 * large.  The caller frees it. */
char *mail_file_read(int fd, const char *name, size_t max, size_t *out_len);

#endif
