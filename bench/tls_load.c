/*
 * TLS handshakes a second: of an SMTP server with TLS from the first octet, and of a
 * server that does nothing else, for comparison.
 *
 *   serve   --conns processes that accept on --port with --cert and --key, shake hands,
 * write a line and wait for the client to close; until SIGTERM load    --count times from
 * --conns processes: connect, shake hands, read a line, close; one line of JSON
 *
 * Usage: tls_load serve|load --port P [--conns N] [--count M] [--cert F --key F]
 *
 * No session is resumed.  Blocking sockets, loopback only.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "bench/clock.h"

enum { CONNS_MAX = 200, COUNT_MAX = 10000000, LISTEN_BACKLOG = 1024 };

static void
die(const char *what)
{
	fprintf(stderr, "tls_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in
loopback(long port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void
no_delay(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static _Noreturn void
serve(int listener, SSL_CTX *tls)
{
	static const char line[] = "220 here\r\n";
	char octet;
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		no_delay(fd);
		SSL *ssl = SSL_new(tls);
		if (ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1 &&
		    SSL_write(ssl, line, sizeof line - 1) > 0)
			(void)!SSL_read(ssl, &octet, 1);
		SSL_free(ssl);
		close(fd);
	}
}

static void
serve_all(long port, long processes, const char *cert, const char *key)
{
	struct sockaddr_in at = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
	    listen(fd, LISTEN_BACKLOG) != 0)
		die("listen");
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
	if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
		die("certificate");
	for (long i = 0; i < processes; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			serve(fd, tls);
		}
	}
	pause();
}

static void
shake(long port, SSL_CTX *tls)
{
	struct sockaddr_in to = loopback(port);
	char line[512];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		die("connect");
	no_delay(fd);
	SSL *ssl = SSL_new(tls);
	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1)
		die("handshake");
	int got = SSL_read(ssl, line, sizeof line);
	if (got < 4 || memcmp(line, "220 ", 4) != 0 || SSL_session_reused(ssl))
		die("no greeting");
	SSL_free(ssl);
	close(fd);
}

static void
load(long port, long processes, long count)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
	int status, bad = 0;
	if (tls == NULL)
		die("TLS");
	double begin_s = now_s();
	for (long child = 0; child < processes; child++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid > 0)
			continue;
		for (long i = child; i < count; i += processes)
			shake(port, tls);
		_exit(0);
	}
	while (wait(&status) > 0)
		bad += status != 0;
	if (bad > 0)
		exit(1);
	printf("{\"handshakes\":%ld,\"rate\":%.1f}\n", count,
	    (double)count / (now_s() - begin_s));
}

static long
number(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*end != '\0' || end == text || n < 1 || n > max) {
		fprintf(stderr, "tls_load: %s: a number from 1 to %ld\n", text, max);
		exit(64);
	}
	return n;
}

int
main(int argc, char **argv)
{
	static const struct option names[] = {
	    {"port",  1, NULL, 'p'},
	    {"conns", 1, NULL, 'c'},
	    {"count", 1, NULL, 'n'},
	    {"cert",  1, NULL, 'C'},
	    {"key",   1, NULL, 'K'},
	    {NULL,    0, NULL, 0  },
	};
	long port = 0, conns = 8, count = 1000;
	const char *cert = NULL, *key = NULL;
	int option;
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (option == 'p')
			port = number(optarg, 65535);
		else if (option == 'c')
			conns = number(optarg, CONNS_MAX);
		else if (option == 'n')
			count = number(optarg, COUNT_MAX);
		else if (option == 'C')
			cert = optarg;
		else if (option == 'K')
			key = optarg;
		else
			return 64;
	}
	const char *mode = optind < argc ? argv[optind] : "";
	signal(SIGPIPE, SIG_IGN);
	if (port > 0 && strcmp(mode, "load") == 0)
		load(port, conns, count);
	else if (port > 0 && cert != NULL && key != NULL && strcmp(mode, "serve") == 0)
		serve_all(port, conns, cert, key);
	else {
		fputs("tls_load: see the head of tls_load.c\n", stderr);
		return 64;
	}
	return 0;
}
