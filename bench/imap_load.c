/*
 * IMAP and POP3 load, one measurement a run, one line of JSON:
 *
 *   wait    until the INBOXes of all users hold --count more messages (STATUS)
 *   login   connect, LOGIN, LOGOUT from --conns processes, --count times or, if that is
 *           less, for --seconds
 *   fetch   SELECT INBOX of user0; all flags, all metadata, all bodies
 *   append  --count messages of 10 KB into user0's INBOX, on one connection
 *   notify  --count times APPEND on one connection -> EXISTS on another in IDLE
 *   idle    hold --conns TLS sessions in IDLE until standard input ends
 *   pop3    RETR of all messages of user0
 *
 * Usage: imap_load MODE --port P [--conns N] [--count M] [--users N] [--domain D]
 *        [--password W] [--timeout S] [--seconds S]
 *
 * Blocking sockets, loopback only; t_* are on the monotonic clock, as in smtp_load.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "bench/clock.h"

enum {
	CONNS_MAX = 20000,
	COUNT_MAX = 10000000,
	USERS_MAX = 10000,
	TIMEOUT_S_MAX = 3600,
	BUFFER_BYTES = 1 << 16,
	LINE_BYTES = 512,
	MESSAGE_BYTES = 10240,
	POLL_MS = 5,
};

struct load {
	const char *mode, *domain, *password;
	long port, conns, count, users, timeout_s, seconds;
};

struct session {
	int fd;
	SSL *ssl;
	char *
	    in; /* BUFFER_BYTES, of the process: no answer is left when sessions change */
	size_t at, length;
	size_t bytes_in;
	bool answering; /* something came since the last command */
};

static void
die(const char *what)
{
	fprintf(stderr, "imap_load: %s\n", what);
	exit(2);
}

static void
say(struct session *s, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t n = s->ssl != NULL ? SSL_write(s->ssl, bytes, (int)length)
		                           : send(s->fd, bytes, length, MSG_NOSIGNAL);
		if (n <= 0)
			die("the server does not take more");
		bytes += n;
		length -= (size_t)n;
	}
	s->answering = false;
}

/* The next line without its end; valid until the next call. */
static const char *
line(struct session *s)
{
	for (;;) {
		char *begin = s->in + s->at;
		char *end = memchr(begin, '\n', s->length - s->at);
		if (end != NULL) {
			*end = '\0';
			s->at = (size_t)(end + 1 - s->in);
			return begin;
		}
		memmove(s->in, begin, s->length - s->at);
		s->length -= s->at;
		s->at = 0;
		if (s->length == BUFFER_BYTES)
			die("a line is too long");
		char *to = s->in + s->length;
		size_t room = BUFFER_BYTES - s->length;
		/* Against Nagle and delayed acknowledgements: see pop3_load.c. */
		if (s->answering)
			setsockopt(
			    s->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
		s->answering = true;
		ssize_t n = s->ssl != NULL ? SSL_read(s->ssl, to, (int)room)
		                           : recv(s->fd, to, room, 0);
		if (n <= 0)
			die("the server has closed, or is too slow");
		s->length += (size_t)n;
		s->bytes_in += (size_t)n;
	}
}

static void
expect(struct session *s, const char *begin, const char *bad)
{
	const char *text;
	while (strncmp(text = line(s), begin, strlen(begin)) != 0) {
		if (bad != NULL && strncmp(text, bad, strlen(bad)) == 0)
			die(text);
	}
}

static void
command(struct session *s, const char *text)
{
	char bytes[LINE_BYTES];
	int n = snprintf(bytes, sizeof bytes, "a %s\r\n", text);
	say(s, bytes, (size_t)n);
}

/* A body line that begins with "a OK" would end it early: the generator sends none. */
static void
ask(struct session *s, const char *text)
{
	command(s, text);
	expect(s, "a OK", "a ");
}

static struct session
connect_to(const struct load *l, SSL_CTX *tls)
{
	static char *in;
	int on = 1;
	struct timeval limit = {.tv_sec = l->timeout_s};
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)l->port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (in == NULL && (in = malloc(BUFFER_BYTES)) == NULL)
		die("no memory");
	struct session s = {.fd = socket(AF_INET, SOCK_STREAM, 0), .in = in};
	setsockopt(s.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(s.fd, (struct sockaddr *)&to, sizeof to) != 0)
		die(strerror(errno));
	if (tls != NULL) {
		s.ssl = SSL_new(tls);
		if (s.ssl == NULL || SSL_set_fd(s.ssl, s.fd) != 1 ||
		    SSL_connect(s.ssl) != 1)
			die("no TLS session");
	}
	return s;
}

static struct session
login(const struct load *l, long user, SSL_CTX *tls)
{
	char text[LINE_BYTES];
	struct session s = connect_to(l, tls);
	expect(&s, "* OK", "* BYE");
	snprintf(text, sizeof text, "LOGIN user%ld@%s %s", user, l->domain, l->password);
	ask(&s, text);
	return s;
}

static long
inbox_messages(struct session *s)
{
	const char *text, *at;
	long n = -1;
	command(s, "STATUS INBOX (MESSAGES)");
	while (strncmp(text = line(s), "a ", 2) != 0) {
		if (strncmp(text, "* STATUS", 8) == 0 &&
		    (at = strstr(text, "MESSAGES ")) != NULL)
			n = atol(at + 9);
	}
	return n;
}

/* "ready" on standard error means: the counts before are known. */
static int
run_wait(const struct load *l)
{
	struct session *all = calloc((size_t)l->users, sizeof *all);
	long *seen = calloc((size_t)l->users, sizeof *seen);
	long before = 0, now = 0;
	struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
	if (all == NULL || seen == NULL)
		die("no memory");
	for (long i = 0; i < l->users; i++) {
		all[i] = login(l, i, NULL);
		before += inbox_messages(&all[i]);
	}
	fputs("ready\n", stderr);
	double begin_s = now_s();
	/* Before the last round the load may well run: rounds are rare while much lacks.
	 */
	do {
		nanosleep(&pause, NULL);
		now = -before;
		for (long i = 0; i < l->users; i++)
			now += seen[i] = inbox_messages(&all[i]);
		pause.tv_nsec = (l->count - now > 50 ? 50 : POLL_MS) * 1000000L;
	} while (now < l->count && now_s() < begin_s + (double)l->timeout_s);
	printf("{\"seen\":%ld,\"t_last\":%.6f}\n", now, now_s());
	return now == l->count ? 0 : 1;
}

static void
run_login(const struct load *l)
{
	atomic_long *done = mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (done == MAP_FAILED)
		die("no memory");
	double begin_s = now_s(), end_s = begin_s + (double)l->seconds;
	for (long child = 0; child < l->conns; child++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		for (long i = child; pid == 0 && i < l->count; i += l->conns) {
			if (l->seconds > 0 && now_s() > end_s)
				break;
			struct session s = login(l, i % l->users, NULL);
			ask(&s, "LOGOUT");
			close(s.fd);
			atomic_fetch_add(done, 1);
		}
		if (pid == 0)
			_exit(0);
	}
	int bad = 0, status;
	while (wait(&status) > 0)
		bad += status != 0;
	if (bad > 0)
		die("some logins failed");
	printf("{\"logins\":%ld,\"rate\":%.1f}\n", atomic_load(done),
	    (double)atomic_load(done) / (now_s() - begin_s));
}

static void
run_fetch(const struct load *l)
{
	static const char *const what[] = {"UID FETCH 1:* (FLAGS)",
	    "UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
	    "UID FETCH 1:* (BODY.PEEK[])"};
	static const char *const names[] = {"flags", "metadata", "bodies"};
	struct session s = login(l, 0, NULL);
	double begin_s = now_s();
	long count = inbox_messages(&s);
	ask(&s, "SELECT INBOX");
	printf("{\"messages\":%ld,\"select_ms\":%.3f", count, (now_s() - begin_s) * 1e3);
	for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
		size_t bytes = s.bytes_in;
		begin_s = now_s();
		ask(&s, what[i]);
		double took_s = now_s() - begin_s;
		printf(",\"%s_rate\":%.0f,\"%s_mb_s\":%.1f", names[i],
		    (double)count / took_s, names[i],
		    (double)(s.bytes_in - bytes) / 1e6 / took_s);
	}
	puts("}");
}

static void
append(struct session *s)
{
	static char body[MESSAGE_BYTES + 3];
	char text[LINE_BYTES];
	if (body[0] == '\0') {
		memset(body, 'b', MESSAGE_BYTES);
		memcpy(body, "Subject: load\r\n\r\n", 17);
		for (size_t i = 90; i + 2 < MESSAGE_BYTES; i += 74)
			memcpy(body + i, "\r\n", 2);
		memcpy(body + MESSAGE_BYTES, "\r\n", 2);
	}
	snprintf(text, sizeof text, "APPEND INBOX {%d}", MESSAGE_BYTES);
	command(s, text);
	expect(s, "+", "a ");
	say(s, body, MESSAGE_BYTES + 2);
	expect(s, "a OK", "a ");
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void
run_append(const struct load *l, bool notify)
{
	double *ms = calloc((size_t)l->count, sizeof *ms);
	struct session s = login(l, 0, NULL), idle = {.fd = -1};
	if (ms == NULL)
		die("no memory");
	if (notify) {
		idle = login(l, 0, NULL);
		idle.in = malloc(BUFFER_BYTES);
		if (idle.in == NULL)
			die("no memory");
		idle.at = idle.length = 0;
		ask(&idle, "SELECT INBOX");
		command(&idle, "IDLE");
		expect(&idle, "+", "a ");
	}
	double first_s = now_s();
	for (long i = 0; i < l->count; i++) {
		const char *text;
		double begin_s = now_s();
		append(&s);
		if (notify) {
			do
				text = line(&idle);
			while (strstr(text, "EXISTS") == NULL);
		}
		ms[i] = (now_s() - begin_s) * 1e3;
	}
	double rate = (double)l->count / (now_s() - first_s);
	qsort(ms, (size_t)l->count, sizeof *ms, compare);
	printf("{\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", rate,
	    ms[l->count / 2], ms[(l->count - 1) * 99 / 100]);
}

static void
run_idle(const struct load *l)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
	if (tls == NULL)
		die("no TLS");
	double begin_s = now_s();
	for (long i = 0; i < l->conns; i++) {
		struct session s = login(l, i % l->users, tls);
		ask(&s, "SELECT INBOX");
		command(&s, "IDLE");
		expect(&s, "+", "a ");
	}
	printf("{\"held\":%ld,\"ramp_s\":%.2f}\n", l->conns, now_s() - begin_s);
	fflush(stdout);
	while (getchar() != EOF)
		;
}

static void
run_pop3(const struct load *l)
{
	char text[LINE_BYTES];
	struct session s = connect_to(l, NULL);
	expect(&s, "+OK", "-");
	snprintf(text, sizeof text, "USER user0@%s\r\n", l->domain);
	say(&s, text, strlen(text));
	expect(&s, "+OK", "-");
	snprintf(text, sizeof text, "PASS %s\r\nSTAT\r\n", l->password);
	say(&s, text, strlen(text));
	expect(&s, "+OK", "-");
	const char *stat = line(&s);
	long count = strncmp(stat, "+OK ", 4) == 0 ? atol(stat + 4) : 0;
	if (count > l->count)
		count = l->count;
	double begin_s = now_s();
	for (long i = 1; i <= count; i++) {
		snprintf(text, sizeof text, "RETR %ld\r\n", i);
		say(&s, text, strlen(text));
		expect(&s, "+OK", "-");
		while (strcmp(line(&s), ".\r") != 0)
			;
	}
	printf("{\"messages\":%ld,\"rate\":%.1f}\n", count,
	    (double)count / (now_s() - begin_s));
}

static long
number(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*end != '\0' || end == text || n < 1 || n > max) {
		fprintf(
		    stderr, "imap_load: %s: a number from 1 to %ld, please\n", text, max);
		exit(64);
	}
	return n;
}

int
main(int argc, char **argv)
{
	static const struct option names[] = {
	    {"port",     1, NULL, 'p'},
	    {"conns",    1, NULL, 'c'},
	    {"count",    1, NULL, 'n'},
	    {"users",    1, NULL, 'u'},
	    {"domain",   1, NULL, 'd'},
	    {"password", 1, NULL, 'w'},
	    {"timeout",  1, NULL, 't'},
	    {"seconds",  1, NULL, 's'},
	    {NULL,       0, NULL, 0  },
	};
	struct load l = {.mode = argc > 1 ? argv[1] : "",
	    .domain = "bench.test",
	    .password = "pass-bench-77",
	    .conns = 1,
	    .count = 100,
	    .users = 100,
	    .timeout_s = 120};
	int option;
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 'p':
			l.port = number(optarg, 65535);
			break;
		case 'c':
			l.conns = number(optarg, CONNS_MAX);
			break;
		case 'n':
			l.count = number(optarg, COUNT_MAX);
			break;
		case 'u':
			l.users = number(optarg, USERS_MAX);
			break;
		case 'd':
			l.domain = optarg;
			break;
		case 'w':
			l.password = optarg;
			break;
		case 's':
			l.seconds = number(optarg, TIMEOUT_S_MAX);
			break;
		case 't':
			l.timeout_s = number(optarg, TIMEOUT_S_MAX);
			break;
		default:
			return 64;
		}
	}
	if (l.port == 0 || strlen(l.domain) + strlen(l.password) > LINE_BYTES / 2) {
		fputs("imap_load: MODE --port P; see the head of imap_load.c\n", stderr);
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	if (strcmp(l.mode, "wait") == 0)
		return run_wait(&l);
	if (strcmp(l.mode, "login") == 0)
		run_login(&l);
	else if (strcmp(l.mode, "fetch") == 0)
		run_fetch(&l);
	else if (strcmp(l.mode, "append") == 0)
		run_append(&l, false);
	else if (strcmp(l.mode, "notify") == 0)
		run_append(&l, true);
	else if (strcmp(l.mode, "idle") == 0)
		run_idle(&l);
	else if (strcmp(l.mode, "pop3") == 0)
		run_pop3(&l);
	else
		return 64;
	return 0;
}
