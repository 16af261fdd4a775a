/*
 * smtpd's local socket, from the side of sendmail; see sendmail.h.  It waits for every
 * reply: the other end is on this machine.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ensure.h"
#include "net/framer.h"
#include "postroom/sendmail.h"

enum {
	LINK_TIMEOUT_S = 600,
	LINK_LINE_MAX = 2000,  /* octets of a command */
	LINK_SLICE = 64 * 1024 /* octets of text stuffed at a time */
};

static int
socket_connect(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct timeval timeout = {.tv_sec = LINK_TIMEOUT_S};
	if (!slice_copy_cstr(slice_from_cstr(path), at.sun_path, sizeof(at.sun_path))) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static bool
bytes_send(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes = slice_from(bytes, (size_t)sent);
	}
	return true;
}

/* One line of a reply without its end; false when the connection is lost. */
static bool
line_read(struct sendmail_link *l, char out[sizeof(l->in)])
{
	for (;;) {
		char *end = memchr(l->in, '\n', l->in_len);
		if (end) {
			size_t len = (size_t)(end - l->in);
			memcpy(out, l->in, len);
			out[len > 0 && out[len - 1] == '\r' ? len - 1 : len] = '\0';
			l->in_len -= len + 1;
			memmove(l->in, end + 1, l->in_len);
			return true;
		}
		if (l->in_len == sizeof(l->in))
			return false;
		ssize_t got =
		    recv(l->fd, l->in + l->in_len, sizeof(l->in) - l->in_len, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		l->in_len += (size_t)got;
	}
}

static bool
reply_read(struct sendmail_link *l)
{
	char line[sizeof(l->in)];
	size_t used = 0;
	l->text[0] = '\0';
	do {
		if (!line_read(l, line) || strlen(line) < 3) {
			l->code = 0;
			snprintf(l->text, sizeof(l->text), "the connection was lost");
			return false;
		}
		l->code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
		int len = snprintf(l->text + used, sizeof(l->text) - used, "%s%s",
		    used ? " " : "", used ? line + (line[3] ? 4 : 3) : line);
		ENSURE(len >= 0);
		used += (size_t)len;
		if (used >= sizeof(l->text))
			used = sizeof(l->text) - 1;
		if (strncmp(line + 3, "-SIZE ", 6) == 0 &&
		    !slice_to_u64(slice_from_cstr(line + 9), UINT64_MAX, &l->size_max))
			l->size_max = 0;
	} while (line[3] == '-');
	return true;
}

bool
sendmail_link_say(struct sendmail_link *l, const char *format, ...)
{
	char line[LINK_LINE_MAX + 2];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(line, LINK_LINE_MAX, format, args);
	va_end(args);
	if (len < 0 || len >= LINK_LINE_MAX) {
		l->code = 501;
		snprintf(l->text, sizeof(l->text), "501 5.5.4 an argument is too long");
		return true;
	}
	memcpy(line + len, "\r\n", 2);
	if (!bytes_send(l->fd, slice_make(line, (size_t)len + 2))) {
		/* It may have said why. */
		return reply_read(l) && l->code >= 400;
	}
	return reply_read(l);
}

bool
sendmail_link_open(struct sendmail_link *l, const char *path)
{
	*l = (struct sendmail_link){.fd = socket_connect(path)};
	if (l->fd < 0) {
		snprintf(l->text, sizeof(l->text), "%s: %s", path, strerror(errno));
		return false;
	}
	bool greeted = reply_read(l) && l->code == 220;
	struct slice banner = slice_from_cstr(l->text);
	if (greeted) {
		slice_split(&banner, ' ');
		greeted = slice_copy_cstr(
			      slice_split(&banner, ' '), l->host, sizeof(l->host)) &&
		          sendmail_link_say(l, "EHLO localhost") && l->code == 250;
	}
	if (!greeted)
		sendmail_link_close(l);
	return greeted;
}

void
sendmail_link_close(struct sendmail_link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static bool
text_send(
    struct sendmail_link *l, struct framer_stuff *stuff, struct slice text, bool last)
{
	struct buf out AUTO_BUF;
	buf_init(&out, 3 * (size_t)LINK_SLICE + 16);
	bool sent = true;
	do {
		struct slice part = slice_sub(text, 0, LINK_SLICE);
		text = slice_from(text, part.len);
		buf_reset(&out);
		framer_stuff_feed(stuff, part, true, &out);
		if (last && text.len == 0)
			framer_stuff_end(stuff, &out);
		ENSURE(buf_ok(&out));
		sent = bytes_send(l->fd, buf_slice(&out));
	} while (sent && text.len > 0);
	return sent;
}

bool
sendmail_link_data(struct sendmail_link *l, struct slice header, struct slice body)
{
	struct framer_stuff stuff;
	framer_stuff_init(&stuff);
	if (text_send(l, &stuff, header, false))
		(void)text_send(l, &stuff, body, true);
	/* When it did not take all of it, it says why. */
	return reply_read(l);
}

/* Passes on what is there; false at the end of the input or when it cannot be written. */
static bool
pass_on(int from, int to, bool to_socket)
{
	char bytes[LINK_SLICE];
	ssize_t got = read(from, bytes, sizeof(bytes));
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (got <= 0)
		return false;
	if (to_socket)
		return bytes_send(to, slice_make(bytes, (size_t)got));
	for (ssize_t at = 0; at < got;) {
		ssize_t put = write(to, bytes + at, (size_t)(got - at));
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		at += put;
	}
	return true;
}

int
sendmail_link_copy(const char *path)
{
	int fd = socket_connect(path);
	if (fd < 0) {
		fprintf(stderr, "sendmail: %s: %s\n", path, strerror(errno));
		return SENDMAIL_TRY_AGAIN;
	}
	struct pollfd polls[2] = {
	    {fd,           POLLIN, 0},
            {STDIN_FILENO, POLLIN, 0}
        };
	for (;;) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			break;
		if (polls[0].revents && !pass_on(fd, STDOUT_FILENO, false))
			break;
		/* The replies to what was said are still to come. */
		if (polls[1].revents && !pass_on(STDIN_FILENO, fd, true)) {
			shutdown(fd, SHUT_WR);
			polls[1].fd = -1;
			polls[1].revents = 0;
		}
	}
	close(fd);
	return SENDMAIL_OK;
}
