/*
 * SMTP load: --conns connections send --count messages between them and one line of JSON
 * tells the rate, the time from the final dot to its reply (p50, p99), and failures.
 * Every message goes to --rcpts of the recipients user0..userN-1 in turn.  MAIL, RCPT and
 * DATA go in one write (RFC 2920) where the server offers that, else one after the other.
 * One thread, epoll, loopback only; t_start is on the
 * monotonic clock, which imap_load's "wait" uses too.
 *
 * Usage: smtp_load --port P [--conns N] [--count M] [--size BYTES] [--rcpts R]
 *        [--users N] [--domain D] [--starttls] [--timeout S]
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

#include <openssl/ssl.h>

#include "bench/clock.h"

enum {
	CONNS_MAX = 10000,
	COUNT_MAX = 10000000,
	SIZE_MAX_BYTES = 64 << 20,
	RCPTS_MAX = 1000,
	USERS_MAX = 1000000,
	TIMEOUT_S_MAX = 3600,
	REPLY_BYTES = 8192,
	LINE_BYTES = 256,
	EVENTS_MAX = 256,
	BODY_COLUMNS = 72,
};

enum phase {
	PHASE_GREET,
	PHASE_EHLO,
	PHASE_STARTTLS,
	PHASE_TLS,
	PHASE_ENVELOPE,
	PHASE_BODY,
	PHASE_QUIT,
	PHASE_DONE
};

struct load {
	long port, conns, count, size, rcpts, users, timeout_s;
	const char *domain;
	bool starttls;
	SSL_CTX *tls;
	int poll;
	char *body;
	size_t body_length;
	long next, ended, accepted, failed, open;
	unsigned long rcpt_next;
	double *latency_ms;
};

struct client {
	int fd;
	enum phase phase;
	SSL *ssl;
	long replies_wanted, replies_bad;
	char in[REPLY_BYTES];
	size_t in_length;
	char *out;
	size_t out_length, out_sent, out_size;
	size_t out_allowed; /* of `out`: what need not wait for a reply */
	bool pipelining;
	double sent_s;
	bool busy;
	unsigned watched;
};

static void
die(const char *what)
{
	fprintf(stderr, "smtp_load: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void
put(struct client *c, const char *bytes, size_t length)
{
	if (c->out_length + length > c->out_size) {
		c->out_size = (c->out_length + length) * 2;
		c->out = realloc(c->out, c->out_size);
		if (c->out == NULL)
			die("memory");
	}
	memcpy(c->out + c->out_length, bytes, length);
	c->out_length += length;
}

static void
put_line(struct client *c, const char *line)
{
	put(c, line, strlen(line));
	put(c, "\r\n", 2);
}

/* One line more may be sent. */
static void
allow_line(struct client *c)
{
	while (c->out_allowed < c->out_length && c->out[c->out_allowed++] != '\n')
		continue;
}

static void
watch(struct load *l, struct client *c, unsigned events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};
	int verb = c->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
	if (c->watched == events)
		return;
	if (epoll_ctl(l->poll, verb, c->fd, &event) != 0)
		die("epoll_ctl");
	c->watched = events;
}

static void
finish(struct load *l, struct client *c)
{
	if (c->phase == PHASE_DONE)
		return;
	if (c->busy) {
		l->failed++;
		l->ended++;
	}
	c->busy = false;
	c->phase = PHASE_DONE;
	SSL_free(c->ssl);
	c->ssl = NULL;
	close(c->fd);
	l->open--;
}

static void
send_envelope(struct load *l, struct client *c)
{
	char line[LINE_BYTES];
	if (l->next >= l->count) {
		put_line(c, "QUIT");
		c->phase = PHASE_QUIT;
		c->replies_wanted = 1;
		return;
	}
	l->next++;
	c->busy = true;
	put_line(c, "MAIL FROM:<load@bench.example>");
	for (long i = 0; i < l->rcpts; i++) {
		unsigned long user = l->rcpt_next++ % (unsigned long)l->users;
		snprintf(line, sizeof line, "RCPT TO:<user%lu@%s>", user, l->domain);
		put_line(c, line);
	}
	put_line(c, "DATA");
	c->phase = PHASE_ENVELOPE;
	c->replies_wanted = l->rcpts + 2;
	c->replies_bad = 0;
}

/* All replies of a phase are here; `code` is the last one's. */
static void
advance(struct load *l, struct client *c, int code)
{
	switch (c->phase) {
	case PHASE_GREET:
	case PHASE_TLS:
		put_line(c, "EHLO bench.example");
		c->phase = PHASE_EHLO;
		c->replies_wanted = 1;
		break;
	case PHASE_EHLO:
		if (!l->starttls || c->ssl != NULL) {
			send_envelope(l, c);
			break;
		}
		put_line(c, "STARTTLS");
		c->phase = PHASE_STARTTLS;
		c->replies_wanted = 1;
		break;
	case PHASE_STARTTLS:
		c->ssl = SSL_new(l->tls);
		if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
			die("TLS");
		SSL_set_connect_state(c->ssl);
		c->phase = PHASE_TLS;
		advance(l, c, code);
		break;
	case PHASE_ENVELOPE:
		if (code != 354 || c->replies_bad > 0) {
			finish(l, c);
			break;
		}
		put(c, l->body, l->body_length);
		c->phase = PHASE_BODY;
		c->replies_wanted = 1;
		c->sent_s = now_s();
		break;
	case PHASE_BODY:
		if (code == 250)
			l->latency_ms[l->accepted++] = (now_s() - c->sent_s) * 1e3;
		else
			l->failed++;
		l->ended++;
		c->busy = false;
		send_envelope(l, c);
		break;
	case PHASE_QUIT:
	case PHASE_DONE:
		finish(l, c);
		break;
	}
	if (c->phase == PHASE_ENVELOPE && !c->pipelining)
		allow_line(c);
	else
		c->out_allowed = c->out_length;
}

static void
read_replies(struct load *l, struct client *c)
{
	size_t begin = 0;
	char *newline;
	while (c->phase != PHASE_DONE &&
	       (newline = memchr(c->in + begin, '\n', c->in_length - begin)) != NULL) {
		char *line = c->in + begin;
		size_t length = (size_t)(newline - line);
		begin += length + 1;
		if (c->phase == PHASE_EHLO && length >= 14 &&
		    strncasecmp(line + 4, "PIPELINING", 10) == 0)
			c->pipelining = true;
		if (length < 4 || line[3] == '-')
			continue;
		int code = atoi(line);
		c->replies_bad += code >= 400;
		if (--c->replies_wanted == 0)
			advance(l, c, code);
		else if (c->phase == PHASE_ENVELOPE && !c->pipelining)
			allow_line(c);
	}
	memmove(c->in, c->in + begin, c->in_length - begin);
	c->in_length -= begin;
}

/* Bytes moved, 0 for "later", -1 for an ended connection. */
static ssize_t
transfer(struct client *c, bool writing)
{
	ssize_t n;
	char *in = c->in + c->in_length;
	size_t room = sizeof c->in - c->in_length, left = c->out_allowed - c->out_sent;
	if (c->ssl != NULL) {
		n = writing ? SSL_write(c->ssl, c->out + c->out_sent, (int)left)
		            : SSL_read(c->ssl, in, (int)room);
		if (n > 0)
			return n;
		int why = SSL_get_error(c->ssl, (int)n);
		return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
	}
	n = writing ? send(c->fd, c->out + c->out_sent, left, MSG_NOSIGNAL)
	            : recv(c->fd, in, room, 0);
	if (n > 0)
		return n;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void
on_ready(struct load *l, struct client *c)
{
	ssize_t n = 0;
	do {
		while (c->out_sent < c->out_allowed && (n = transfer(c, true)) > 0)
			c->out_sent += (size_t)n;
		if (n >= 0 && c->out_sent == c->out_length)
			c->out_sent = c->out_allowed = c->out_length = 0;
		if (n >= 0 && (n = transfer(c, false)) > 0) {
			c->in_length += (size_t)n;
			read_replies(l, c);
			if (c->phase == PHASE_DONE)
				return;
			if (c->in_length == sizeof c->in)
				n = -1;
		}
	} while (n > 0);
	if (n < 0)
		finish(l, c);
	else
		watch(l, c,
		    c->out_sent < c->out_allowed && c->ssl == NULL ? EPOLLIN | EPOLLOUT
								   : EPOLLIN);
}

static void
connect_client(struct load *l, struct client *c)
{
	int on = 1;
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)l->port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 &&
	    errno != EINPROGRESS)
		die("connect");
	c->replies_wanted = 1;
	l->open++;
	watch(l, c, EPOLLIN);
}

static void
make_body(struct load *l)
{
	static const char head[] =
	    "From: <load@bench.example>\r\nTo: <user@bench.test>\r\n"
	    "Subject: load\r\nDate: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
	    "Message-ID: <load@bench.example>\r\n\r\n";
	size_t size = (size_t)l->size;
	l->body = malloc(size + sizeof head + BODY_COLUMNS + 8);
	if (l->body == NULL)
		die("memory");
	memcpy(l->body, head, sizeof head - 1);
	size_t at = sizeof head - 1;
	while (at < size) {
		for (size_t i = 0; i < BODY_COLUMNS; i++)
			l->body[at + i] = (char)('a' + (at * 7 + i) % 26);
		memcpy(l->body + at + BODY_COLUMNS, "\r\n", 2);
		at += BODY_COLUMNS + 2;
	}
	memcpy(l->body + at, ".\r\n", 3);
	l->body_length = at + 3;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double
percentile(const struct load *l, long p)
{
	return l->accepted == 0 ? 0 : l->latency_ms[(l->accepted - 1) * p / 100];
}

static long
number(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*end != '\0' || end == text || n < 1 || n > max) {
		fprintf(
		    stderr, "smtp_load: %s: a number from 1 to %ld, please\n", text, max);
		exit(64);
	}
	return n;
}

static void
options(struct load *l, int argc, char **argv)
{
	static const struct option names[] = {
	    {"port",     1, NULL, 'p'},
	    {"conns",    1, NULL, 'c'},
	    {"count",    1, NULL, 'n'},
	    {"size",     1, NULL, 's'},
	    {"rcpts",    1, NULL, 'r'},
	    {"users",    1, NULL, 'u'},
	    {"domain",   1, NULL, 'd'},
	    {"timeout",  1, NULL, 't'},
	    {"starttls", 0, NULL, 'S'},
	    {NULL,       0, NULL, 0  },
	};
	int option;
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 'p':
			l->port = number(optarg, 65535);
			break;
		case 'c':
			l->conns = number(optarg, CONNS_MAX);
			break;
		case 'n':
			l->count = number(optarg, COUNT_MAX);
			break;
		case 's':
			l->size = number(optarg, SIZE_MAX_BYTES);
			break;
		case 'r':
			l->rcpts = number(optarg, RCPTS_MAX);
			break;
		case 'u':
			l->users = number(optarg, USERS_MAX);
			break;
		case 'd':
			l->domain = optarg;
			break;
		case 't':
			l->timeout_s = number(optarg, TIMEOUT_S_MAX);
			break;
		case 'S':
			l->starttls = true;
			break;
		default:
			exit(64);
		}
	}
	if (l->port == 0 || strlen(l->domain) > LINE_BYTES / 2) {
		fputs("smtp_load: --port P is needed; see the head of smtp_load.c\n",
		    stderr);
		exit(64);
	}
}

int
main(int argc, char **argv)
{
	struct load l = {.conns = 1,
	    .count = 100,
	    .size = 10240,
	    .rcpts = 1,
	    .users = 100,
	    .timeout_s = 120,
	    .domain = "bench.test"};
	struct epoll_event events[EVENTS_MAX];
	options(&l, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	make_body(&l);
	l.latency_ms = calloc((size_t)l.count, sizeof *l.latency_ms);
	struct client *clients = calloc((size_t)l.conns, sizeof *clients);
	l.poll = epoll_create1(EPOLL_CLOEXEC);
	l.tls = SSL_CTX_new(TLS_client_method());
	if (l.latency_ms == NULL || clients == NULL || l.poll < 0 || l.tls == NULL)
		die("start");
	SSL_CTX_set_mode(
	    l.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	double begin_s = now_s();
	for (long i = 0; i < l.conns; i++)
		connect_client(&l, &clients[i]);
	double ended_s = begin_s;
	while (l.open > 0 && now_s() < begin_s + (double)l.timeout_s) {
		long before = l.ended;
		int n = epoll_wait(l.poll, events, EVENTS_MAX, 200);
		for (int i = 0; i < n; i++)
			on_ready(&l, events[i].data.ptr);
		if (l.ended != before)
			ended_s = now_s();
	}
	double elapsed_s = ended_s > begin_s ? ended_s - begin_s : 1e-9;
	qsort(l.latency_ms, (size_t)l.accepted, sizeof *l.latency_ms, compare);
	printf("{\"accepted\":%ld,\"failed\":%ld,\"rate\":%.2f,\"p50_ms\":%.3f,"
	       "\"p99_ms\":%.3f,\"t_start\":%.6f,\"t_end\":%.6f}\n",
	    l.accepted, l.count - l.accepted, (double)l.accepted / elapsed_s,
	    percentile(&l, 50), percentile(&l, 99), begin_s, ended_s);
	return l.accepted == l.count ? 0 : 1;
}
