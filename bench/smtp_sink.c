/*
 * An SMTP server that throws away what it gets, for measuring relays: one thread, epoll,
 * loopback only.  PIPELINING, 8BITMIME and SIZE are offered.  With --defer it answers 451
 * to every RCPT until SIGUSR1.  It ends when --count messages were accepted, or at
 * SIGTERM, or after --timeout seconds without a message, and tells in one line of JSON
 * how many messages and refused recipients there were and the monotonic times of the
 * first and the last accepted message.
 *
 * Usage: smtp_sink --port P [--count N] [--defer] [--timeout S]
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/clock.h"

enum { EVENTS_MAX = 256, LINE_BYTES = 4096, READ_BYTES = 65536, OUT_BYTES = 16384 };

struct client {
	int fd;
	bool in_data;
	unsigned dot; /* how much of CRLF.CRLF has been seen */
	unsigned recipients;
	size_t line_len;
	char line[LINE_BYTES];
	size_t out_len;
	char out[OUT_BYTES];
};

static volatile sig_atomic_t accepting, ended;
static long messages, deferred;
static double first_s, last_s;

static void
on_signal(int sig)
{
	if (sig == SIGUSR1)
		accepting = 1;
	else
		ended = 1;
}

static void
reply(struct client *c, const char *text)
{
	size_t len = strlen(text);
	if (c->out_len + len <= sizeof(c->out)) {
		memcpy(c->out + c->out_len, text, len);
		c->out_len += len;
	}
}

static void
command(struct client *c)
{
	const char *l = c->line;
	if (strncasecmp(l, "EHLO", 4) == 0)
		reply(
		    c, "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n");
	else if (strncasecmp(l, "RCPT", 4) == 0 && !accepting) {
		deferred++;
		reply(c, "451 4.3.0 not now\r\n");
	} else if (strncasecmp(l, "RCPT", 4) == 0) {
		c->recipients++;
		reply(c, "250 2.1.5 ok\r\n");
	} else if (strncasecmp(l, "DATA", 4) == 0 && c->recipients == 0)
		reply(c, "503 5.5.1 no recipients\r\n");
	else if (strncasecmp(l, "DATA", 4) == 0) {
		c->in_data = true;
		c->dot = 2; /* the line before has ended */
		reply(c, "354 go on\r\n");
	} else if (strncasecmp(l, "QUIT", 4) == 0)
		reply(c, "221 2.0.0 bye\r\n");
	else
		reply(c, "250 2.0.0 ok\r\n");
	if (strncasecmp(l, "MAIL", 4) == 0 || strncasecmp(l, "RSET", 4) == 0)
		c->recipients = 0;
}

/* One octet of message text. */
static void
text_octet(struct client *c, char octet)
{
	static const char end[] = "\r\n.\r\n";
	if (octet == end[c->dot])
		c->dot++;
	else
		c->dot = octet == '\r';
	if (c->dot < 5)
		return;
	last_s = now_s();
	if (messages++ == 0)
		first_s = last_s;
	c->in_data = false;
	c->recipients = 0;
	reply(c, "250 2.0.0 taken\r\n");
}

/* False when the client has gone. */
static bool
serve(struct client *c)
{
	static char bytes[READ_BYTES];
	ssize_t got = read(c->fd, bytes, sizeof(bytes));
	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR);
	for (ssize_t i = 0; i < got; i++) {
		if (c->in_data) {
			text_octet(c, bytes[i]);
		} else if (bytes[i] == '\n') {
			c->line[c->line_len] = '\0';
			c->line_len = 0;
			command(c);
		} else if (c->line_len + 1 < sizeof(c->line)) {
			c->line[c->line_len++] = bytes[i];
		}
	}
	/* A server that writes in pieces waits for our acknowledgement (Nagle), which
	 * Linux holds back for 40 ms: that would be measured, not the server. */
	if (c->in_data)
		setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
	/* Replies are small: a client that does not read them has gone. */
	bool sent = write(c->fd, c->out, c->out_len) == (ssize_t)c->out_len;
	c->out_len = 0;
	return sent;
}

static int
listen_on(int port)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(fd, 1024) != 0) {
		perror("smtp_sink");
		exit(1);
	}
	return fd;
}

static void
client_accept(int epoll, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
	if (fd < 0)
		return;
	struct client *c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->fd = fd;
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd,
	    &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
	(void)!write(fd, "220 sink.test ESMTP\r\n", 21);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"port",    1, NULL, 'p'},
	    {"count",   1, NULL, 'c'},
	    {"defer",   0, NULL, 'd'},
	    {"timeout", 1, NULL, 't'},
	    {NULL,      0, NULL, 0  },
	};
	int port = 0, option;
	long count = 0;
	double timeout_s = 600;
	accepting = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			port = atoi(optarg);
		else if (option == 'c')
			count = atol(optarg);
		else if (option == 'd')
			accepting = 0;
		else if (option == 't')
			timeout_s = atof(optarg);
		else
			return 64;
	}
	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	int listener = listen_on(port), epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener,
	    &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
	double quiet_s = now_s(), told_s = 0;
	while (
	    !ended && (count == 0 || messages < count) && now_s() - quiet_s < timeout_s) {
		struct epoll_event events[EVENTS_MAX];
		long before = messages + deferred;
		int n = epoll_wait(epoll, events, EVENTS_MAX, 100);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (!c) {
				client_accept(epoll, listener);
			} else if (!serve(c)) {
				close(c->fd);
				free(c);
			}
		}
		if (messages + deferred != before)
			quiet_s = now_s();
		if (now_s() - told_s >= 1) {
			told_s = now_s();
			fprintf(stderr, "%ld %ld\n", messages, deferred);
		}
	}
	printf("{\"messages\": %ld, \"deferred\": %ld, \"first_s\": %.3f, \"last_s\": "
	       "%.3f}\n",
	    messages, deferred, first_s, last_s);
	return 0;
}
