/*
 * Start and stop of a daemon: arguments, inherited sockets, limits, readiness, signals.
 * The sandbox is in daemon_sandbox.c.
 *
 * Thread: the main thread.
 */
#include "net/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "base/ensure.h"
#include "net/loop_int.h"

enum {
	EXIT_USAGE = 64, /* EX_USAGE of sysexits.h */
	SIGNAL_COUNT = 3,
};

/* ---- arguments ---- */

static _Noreturn void
usage(const char *program, const char *what)
{
	fprintf(stderr, "%s: %s; usage: %s --config FILE [--root DIR]\n", program, what,
	    program);
	exit(EXIT_USAGE);
}

void
daemon_arguments_read(int argc, char **argv, struct daemon_arguments *out)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"root",   required_argument, NULL, 'r'},
	    {NULL,     0,                 NULL, 0  },
	};
	const char *program = argc > 0 ? argv[0] : "postroom";
	struct daemon_arguments arguments = {0};
	opterr = 0;
	optind = 1;
	for (int c; (c = getopt_long(argc, argv, "c:r:", options, NULL)) != -1;) {
		if (c == 'c')
			arguments.config_path = optarg;
		else if (c == 'r')
			arguments.root = optarg;
		else
			usage(program, "unknown option or missing value");
	}
	if (optind < argc)
		usage(program, "too many arguments");
	if (!arguments.config_path)
		usage(program, "--config is missing");
	*out = arguments;
}

/* ---- sockets ---- */

static const char *const tls_words[] = {
    [LISTENER_TLS_NONE] = "none",
    [LISTENER_TLS_STARTTLS] = "starttls",
    [LISTENER_TLS_IMPLICIT] = "implicit",
};

static bool
parse_tls(struct slice text, enum listener_tls *out)
{
	for (size_t i = 0; i < sizeof(tls_words) / sizeof(tls_words[0]); i++) {
		if (slice_equal(text, slice_from_cstr(tls_words[i]))) {
			*out = (enum listener_tls)i;
			return true;
		}
	}
	return false;
}

void
daemon_listener_write(struct buf *out, const char *name, const char *protocol,
    enum listener_tls tls, int fd)
{
	buf_append_format(out, "%s:%s:%s:%d", name, protocol, tls_words[tls], fd);
}

static bool
is_listening(int fd)
{
	int listening = 0;
	socklen_t len = sizeof(listening);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 &&
	       listening;
}

/* "name:protocol:tls:fd" */
static bool
parse_listener(struct slice text, struct listener *out)
{
	struct slice name = slice_split(&text, ':');
	struct slice protocol = slice_split(&text, ':');
	struct slice tls = slice_split(&text, ':');
	uint64_t fd;
	struct listener listener = {0};
	if (name.len == 0 || protocol.len == 0 || !parse_tls(tls, &listener.tls) ||
	    !slice_to_u64(text, INT32_MAX, &fd) || !is_listening((int)fd))
		return false;
	listener.fd = (int)fd;
	if (fcntl(listener.fd, F_SETFD, FD_CLOEXEC) != 0 ||
	    fcntl(listener.fd, F_SETFL, O_NONBLOCK) != 0)
		return false;
	listener.name = slice_to_cstr(name);
	listener.protocol = slice_to_cstr(protocol);
	*out = listener;
	return true;
}

static void
free_listeners(struct listener *listeners, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((void *)(uintptr_t)listeners[i].name);
		free((void *)(uintptr_t)listeners[i].protocol);
	}
}

enum status
daemon_listeners_inherited(struct listener *out, size_t max, size_t *out_count)
{
	struct slice rest = slice_from_cstr(getenv("POSTROOM_LISTENERS"));
	size_t count = 0;
	while (rest.len > 0) {
		struct slice one = slice_split(&rest, ' ');
		if (one.len == 0)
			continue;
		if (count == max || !parse_listener(one, &out[count])) {
			free_listeners(out, count);
			return STATUS_INVALID;
		}
		count++;
	}
	if (count == 0)
		return STATUS_NOT_FOUND;
	*out_count = count;
	return STATUS_OK;
}

enum status
daemon_bind(const char *address, uint16_t port, int backlog, int *out_fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to;
	socklen_t len;
	char plain[INET6_ADDRSTRLEN + 1];
	struct slice text = slice_from_cstr(address);
	memset(&to, 0, sizeof(to));
	/* Configurations write "[::1]". */
	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		text = slice_sub(text, 1, text.len - 2);
	if (!slice_copy_cstr(text, plain, sizeof(plain)))
		return STATUS_INVALID;
	if (inet_pton(AF_INET, plain, &to.v4.sin_addr) == 1) {
		to.v4.sin_family = AF_INET;
		to.v4.sin_port = htons(port);
		len = sizeof(to.v4);
	} else if (inet_pton(AF_INET6, plain, &to.v6.sin6_addr) == 1) {
		to.v6.sin6_family = AF_INET6;
		to.v6.sin6_port = htons(port);
		len = sizeof(to.v6);
	} else {
		return STATUS_INVALID;
	}
	int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno == EAFNOSUPPORT ? STATUS_NOT_FOUND
		                             : status_from_errno(errno);
	int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if ((to.any.sa_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
	    bind(fd, &to.any, len) != 0 || listen(fd, backlog) != 0) {
		enum status status = errno == EADDRINUSE                 ? STATUS_EXISTS
		                     : errno == EACCES || errno == EPERM ? STATUS_DENIED
		                     : errno == EADDRNOTAVAIL ? STATUS_NOT_FOUND
		                                              : status_from_errno(errno);
		close(fd);
		return status;
	}
	*out_fd = fd;
	return STATUS_OK;
}

/* Left behind by somebody who has gone. */
static bool
path_is_free(const struct sockaddr_un *at)
{
	struct stat st;
	if (lstat(at->sun_path, &st) != 0)
		return errno == ENOENT;
	if (!S_ISSOCK(st.st_mode))
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool dead = connect(fd, (const struct sockaddr *)at, sizeof(*at)) != 0 &&
	            errno == ECONNREFUSED;
	close(fd);
	return dead && unlink(at->sun_path) == 0;
}

enum status
daemon_bind_path(const char *path, unsigned mode, unsigned owner, unsigned group,
    int backlog, int *out_fd)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(at.sun_path))
		return STATUS_INVALID;
	memcpy(at.sun_path, path, strlen(path) + 1);
	if (!path_is_free(&at))
		return STATUS_EXISTS;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return status_from_errno(errno);
	/* Nobody may connect before it is whose it shall be. */
	mode_t before = umask(0777);
	bool bound = bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;
	int error = errno;
	umask(before);
	if (bound && ((owner != UINT32_MAX && chown(path, owner, group) != 0) ||
			 chmod(path, mode) != 0 || listen(fd, backlog) != 0)) {
		error = errno;
		unlink(path);
		bound = false;
	}
	if (!bound) {
		close(fd);
		errno = error;
		return error == EACCES || error == EPERM ? STATUS_DENIED
		                                         : status_from_errno(error);
	}
	*out_fd = fd;
	return STATUS_OK;
}

/* ---- limits and readiness ---- */

/* A closed standard descriptor would be given to the next socket, and then written to as
 * if it were the terminal; libuv aborts on it. */
static void
fill_standard_descriptors(void)
{
	int fd;
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

void
daemon_limits(void)
{
	struct rlimit limit;
	fill_standard_descriptors();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);
	umask(0077);
}

/* The supervisor's pipe; -1: none, or it is gone. */
static int word_fd = -1;

static void
word_tell(enum daemon_word word)
{
	char octet = (char)word;
	ssize_t sent;
	if (word_fd < 0)
		return;
	do {
		sent = write(word_fd, &octet, 1);
	} while (sent < 0 && errno == EINTR);
}

static void
notify_supervisor(void)
{
	const char *text = getenv("POSTROOM_READY_FD");
	uint64_t fd;
	if (!text || !slice_to_u64(slice_from_cstr(text), INT32_MAX, &fd))
		return;
	word_fd = (int)fd;
	fcntl(word_fd, F_SETFD, FD_CLOEXEC);
	word_tell(DAEMON_WORD_READY);
	unsetenv("POSTROOM_READY_FD");
}

/* sd_notify(3) in five lines, so that nothing links libsystemd. */
static void
notify_systemd(void)
{
	static const char ready[] = "READY=1";
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	if (len < 2 || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	ssize_t sent =
	    sendto(fd, ready, sizeof(ready) - 1, MSG_NOSIGNAL, (struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	(void)sent;
	close(fd);
}

void
daemon_ready(void)
{
	notify_supervisor();
	notify_systemd();
}

void
daemon_reloaded(bool taken)
{
	word_tell(taken ? DAEMON_WORD_TAKEN : DAEMON_WORD_KEPT);
}

/* ---- running ---- */

static const int signal_numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP};

static void
signals_mask(int how)
{
	sigset_t set;
	sigemptyset(&set);
	for (int i = 0; i < SIGNAL_COUNT; i++)
		sigaddset(&set, signal_numbers[i]);
	ENSURE(pthread_sigmask(how, &set, NULL) == 0);
}

void
daemon_signals_block(void)
{
	signals_mask(SIG_BLOCK);
}

struct daemon_run {
	struct loop *loop;
	loop_fn reload;
	loop_fn stop;
	void *arg;
	uv_signal_t signals[SIGNAL_COUNT];
	struct loop_timer stop_timer;
	bool stopping;
};

static void
on_stop_over(void *arg)
{
	loop_stop(arg);
}

static void
on_signal(uv_signal_t *handle, int number)
{
	struct daemon_run *run = handle->data;
	if (number == SIGHUP) {
		if (run->reload && !run->stopping)
			run->reload(run->arg);
		return;
	}
	/* Asked twice: no more patience. */
	if (run->stopping) {
		loop_stop(run->loop);
		return;
	}
	run->stopping = true;
	loop_timer_start(
	    run->loop, &run->stop_timer, DAEMON_STOP_MS, on_stop_over, run->loop);
	if (run->stop)
		run->stop(run->arg);
	else
		loop_stop(run->loop);
}

void
daemon_run(struct loop *loop, loop_fn reload, loop_fn stop, void *arg)
{
	struct daemon_run *run = xcalloc(1, sizeof(*run));
	run->loop = loop;
	run->reload = reload;
	run->stop = stop;
	run->arg = arg;
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		ENSURE(uv_signal_init(loop_uv(loop), &run->signals[i]) == 0);
		run->signals[i].data = run;
		ENSURE(
		    uv_signal_start(&run->signals[i], on_signal, signal_numbers[i]) == 0);
	}
	signals_mask(SIG_UNBLOCK);
	loop_run(loop);
	loop_timer_stop(&run->stop_timer);
	for (int i = 0; i < SIGNAL_COUNT; i++)
		uv_close((uv_handle_t *)&run->signals[i], NULL);
	/* libuv finishes the closing here; the handles live in `run`. */
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	free(run);
}

/* Any thread. */
void
daemon_stopped(struct loop *loop)
{
	loop_stop(loop);
}
