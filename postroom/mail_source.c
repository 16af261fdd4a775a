/*
 * See mail_source.h: what the formats share.
 */
#include "postroom/mail_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/hashmap.h"
#include "postroom/mail_source_int.h"
#include "text/maildir.h"

enum { NAME_BYTES_MAX = 4096 };

struct mail_source *
mail_source_open(const struct mail_source_options *options, char **error)
{
	*error = NULL;
	return options->format == MAIL_FORMAT_MAILDIR
	           ? mail_source_maildir_open(options, error)
	           : mail_source_mbox_open(options, error);
}

void
mail_source_close(struct mail_source **source)
{
	struct mail_source *s = *source;
	*source = NULL;
	if (!s)
		return;
	free(s->subscriptions);
	hashmap_free(&s->subscribed, NULL);
	arena_free(&s->arena);
	s->ops->close(s);
}

bool
mail_source_folder(struct mail_source *source, struct mail_folder *out)
{
	return source->ops->folder(source, out);
}

bool
mail_source_message(struct mail_source *source, struct mail_item *out)
{
	return source->ops->message(source, out);
}

bool
mail_source_read(
    struct mail_source *source, bool (*sink)(struct slice bytes, void *arg), void *arg)
{
	source->sink = sink;
	source->sink_arg = arg;
	source->last = 0;
	return source->ops->read(source);
}

bool
mail_source_emit(struct mail_source *source, struct slice bytes)
{
	if (bytes.len == 0)
		return true;
	while (!source->exact && bytes.len > 0) {
		const char *lf = memchr(bytes.ptr, '\n', bytes.len);
		if (!lf)
			break;
		size_t len = (size_t)(lf - bytes.ptr);
		char before = len > 0 ? lf[-1] : source->last;
		if (before == '\r') { /* up to and with it */
			if (!source->sink(slice_sub(bytes, 0, len + 1), source->sink_arg))
				return false;
		} else if (!source->sink(slice_sub(bytes, 0, len), source->sink_arg) ||
			   !source->sink(SLICE("\r\n"), source->sink_arg)) {
			return false;
		}
		source->last = '\n';
		bytes = slice_from(bytes, len + 1);
	}
	if (bytes.len == 0)
		return true;
	source->last = bytes.ptr[bytes.len - 1];
	return source->sink(bytes, source->sink_arg);
}

void
mail_source_problem(
    struct mail_source *source, const char *where, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (source->options.problem)
		source->options.problem(where, text, source->options.arg);
}

bool
mail_source_name(
    struct mail_source *source, struct slice utf8, const char *where, struct slice *out)
{
	struct slice name;
	enum status status = mailbox_name_check(utf8, source->arena, &name);
	if (status == STATUS_OK && (name = arena_copy(source->arena, name)).ptr) {
		*out = name;
		return true;
	}
	mail_source_problem(source, where, "\"%.*s\" can be no mailbox's name: %s",
	    (int)(utf8.len > 200 ? 200 : utf8.len), utf8.ptr,
	    status_text(status == STATUS_OK ? STATUS_LIMIT : status));
	return false;
}

static void
subscribed_put(struct slice name, void *arg)
{
	(void)hashmap_put(arg, name, arg);
}

void
mail_source_subscriptions(
    struct mail_source *source, void (*fn)(struct slice name, void *arg), void *arg)
{
	struct maildir_subscriptions list;
	struct buf name AUTO_BUF;
	buf_init(&name, NAME_BYTES_MAX);
	if (!source->subscriptions)
		return;
	maildir_subscriptions_open(
	    slice_make(source->subscriptions, source->subscriptions_len), &list);
	while (maildir_subscriptions_next(&list, &name))
		fn(buf_slice(&name), arg);
}

bool
mail_source_is_subscribed(struct mail_source *source, struct slice name)
{
	if (!source->subscribed) {
		source->subscribed = hashmap_new();
		mail_source_subscriptions(source, subscribed_put, source->subscribed);
	}
	return hashmap_get(source->subscribed, name) != NULL;
}

char *
mail_file_read(int fd, const char *name, size_t max, size_t *out_len)
{
	struct stat st;
	int file = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	*out_len = 0;
	if (file < 0)
		return NULL;
	char *text = NULL;
	if (fstat(file, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size <= max) {
		size_t size = (size_t)st.st_size;
		text = xmalloc(size + 1);
		ssize_t got = 1;
		while (*out_len < size && got > 0) {
			got = read(file, text + *out_len, size - *out_len);
			*out_len += got > 0 ? (size_t)got : 0;
		}
		text[*out_len] = '\0';
	}
	close(file);
	return text;
}
