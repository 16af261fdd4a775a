/*
 * Load for the comparison of POP3 servers (bench/pop3.sh): one client on 127.0.0.1 in
 * clear.
 *
 *   pop3_load MODE --port P --user U --password W [--count N]
 *
 * Modes, each prints one line of JSON:
 *   retr     log in, RETR of all messages one after the other: messages and bytes a
 * second pipe     the same with the commands ahead of the replies login    N times
 * connect, log in, STAT, QUIT: sessions a second dele     log in, DELE of the first N
 * messages (pipelined), QUIT: ms from the first DELE to QUIT's reply stat     log in and
 * STAT: ms from PASS to STAT's reply, and messages in the maildrop
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/clock.h"

enum { INPUT_BYTES = 1 << 20, PIPELINE_MAX = 32 };

struct load {
	int port;
	const char *user, *password;
	long count;
};

static int fd = -1;
static char input[INPUT_BYTES];
static size_t begin, end;
static double bytes;
static bool answering; /* something came since the last command */

static void
die(const char *what)
{
	fprintf(stderr, "pop3_load: %s\n", what);
	exit(1);
}

static void
say(const char *text)
{
	size_t len = strlen(text);
	if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("cannot send");
	answering = false;
}

static void
fill(void)
{
	if (begin > 0) {
		memmove(input, input + begin, end - begin);
		end -= begin;
		begin = 0;
	}
	if (end == sizeof(input))
		die("a line is too long");
	/* A server that writes an answer in pieces waits for our acknowledgement (Nagle),
	 * which Linux holds back for 40 ms: that would be measured, not the server. */
	if (answering)
		setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
	answering = true;
	ssize_t got = recv(fd, input + end, sizeof(input) - end, 0);
	if (got <= 0)
		die("the server has gone");
	end += (size_t)got;
	bytes += (double)got;
}

/* The next line without its CRLF, NUL-terminated; valid until the next call. */
static char *
line(void)
{
	size_t seen = begin;
	for (;;) {
		char *lf = memchr(input + seen, '\n', end - seen);
		if (lf) {
			char *text = input + begin;
			begin = (size_t)(lf - input) + 1;
			*lf = '\0';
			if (lf > text && lf[-1] == '\r')
				lf[-1] = '\0';
			return text;
		}
		size_t scanned = end - begin;
		fill();
		seen = begin + scanned;
	}
}

static char *
ok(void)
{
	char *text = line();
	if (strncmp(text, "+OK", 3) != 0)
		die(text);
	return text;
}

/* Reads up to the line with the dot alone. */
static void
skip_message(void)
{
	while (strcmp(line(), ".") != 0)
		;
}

static void
dial(const struct load *l)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
	int on = 1;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	begin = end = 0;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		die("cannot connect");
	ok();
	char text[256];
	snprintf(text, sizeof(text), "USER %s\r\n", l->user);
	say(text);
	ok();
}

/* PASS and STAT; returns how many messages there are. */
static long
enter(const struct load *l)
{
	char text[256];
	snprintf(text, sizeof(text), "PASS %s\r\n", l->password);
	say(text);
	ok();
	say("STAT\r\n");
	return atol(ok() + 4);
}

static void
retr(const struct load *l, long ahead_max)
{
	char text[32];
	dial(l);
	long count = enter(l);
	if (l->count > 0 && l->count < count)
		count = l->count;
	long asked = 0;
	bytes = 0;
	double start_s = now_s();
	for (long i = 0; i < count; i++) {
		while (asked < count && asked - i < ahead_max) {
			snprintf(text, sizeof(text), "RETR %ld\r\n", ++asked);
			say(text);
		}
		ok();
		skip_message();
	}
	double took_s = now_s() - start_s;
	/* No QUIT: the maildrop stays as it is. */
	close(fd);
	printf("{\"messages\":%ld,\"rate\":%.1f,\"mb_s\":%.1f}\n", count,
	    (double)count / took_s, bytes / took_s / 1e6);
}

static void
logins(const struct load *l)
{
	double start_s = now_s();
	for (long i = 0; i < l->count; i++) {
		dial(l);
		enter(l);
		say("QUIT\r\n");
		ok();
		close(fd);
	}
	printf("{\"sessions\":%ld,\"rate\":%.1f}\n", l->count,
	    (double)l->count / (now_s() - start_s));
}

static void
dele(const struct load *l)
{
	char text[32];
	dial(l);
	long count = enter(l);
	if (l->count < count)
		count = l->count;
	long asked = 0;
	double start_s = now_s();
	for (long i = 0; i < count; i++) {
		while (asked < count && asked - i < PIPELINE_MAX) {
			snprintf(text, sizeof(text), "DELE %ld\r\n", ++asked);
			say(text);
		}
		ok();
	}
	say("QUIT\r\n");
	ok();
	printf("{\"messages\":%ld,\"ms\":%.2f}\n", count, (now_s() - start_s) * 1e3);
	close(fd);
}

static void
stat_time(const struct load *l)
{
	dial(l);
	double start_s = now_s();
	long count = enter(l);
	printf("{\"messages\":%ld,\"ms\":%.2f}\n", count, (now_s() - start_s) * 1e3);
	close(fd);
}

int
main(int argc, char **argv)
{
	static const struct option names[] = {
	    {"port",     1, NULL, 'p'},
	    {"user",     1, NULL, 'u'},
	    {"password", 1, NULL, 'w'},
	    {"count",    1, NULL, 'n'},
	    {NULL,       0, NULL, 0  },
	};
	struct load l = {.count = 0, .user = "user0@bench.test", .password = ""};
	int option;
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (option == 'p')
			l.port = atoi(optarg);
		else if (option == 'u')
			l.user = optarg;
		else if (option == 'w')
			l.password = optarg;
		else if (option == 'n')
			l.count = atol(optarg);
		else
			return 64;
	}
	const char *mode = optind < argc ? argv[optind] : "";
	if (strcmp(mode, "retr") == 0)
		retr(&l, 1);
	else if (strcmp(mode, "pipe") == 0)
		retr(&l, PIPELINE_MAX);
	else if (strcmp(mode, "login") == 0)
		logins(&l);
	else if (strcmp(mode, "dele") == 0)
		dele(&l);
	else if (strcmp(mode, "stat") == 0)
		stat_time(&l);
	else
		return 64;
	return 0;
}
