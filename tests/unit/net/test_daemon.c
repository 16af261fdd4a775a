/*
 * Start and stop: arguments, inherited sockets, binding, readiness, signals, and what the
 * sandbox refuses and what it leaves.
 */
#include "net/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "net/resolver.h"
#include "unit/net/net_harness.h"

/* Runs fn in a child and returns its exit code, or minus the signal's number. */
static int
in_child(void (*fn)(void))
{
	int status;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- arguments ---- */

static void
test_arguments(void **state)
{
	(void)state;
	char *argv[] = {"postroom-smtpd", "--config", "a.conf", "--root", "/x", NULL};
	struct daemon_arguments arguments;
	daemon_arguments_read(5, argv, &arguments);
	assert_string_equal(arguments.config_path, "a.conf");
	assert_string_equal(arguments.root, "/x");
	daemon_arguments_read(3, argv, &arguments);
	assert_null(arguments.root);
}

static void
without_config(void)
{
	char *argv[] = {"postroom-smtpd", "--root", "/x", NULL};
	struct daemon_arguments arguments;
	daemon_arguments_read(3, argv, &arguments);
}

static void
with_unknown(void)
{
	char *argv[] = {"postroom-smtpd", "--config", "x", "--frob", NULL};
	struct daemon_arguments arguments;
	daemon_arguments_read(4, argv, &arguments);
}

static void
with_surplus(void)
{
	char *argv[] = {"postroom-smtpd", "--config", "x", "more", NULL};
	struct daemon_arguments arguments;
	daemon_arguments_read(4, argv, &arguments);
}

static void
test_bad_arguments(void **state)
{
	(void)state;
	assert_int_equal(in_child(without_config), 64);
	assert_int_equal(in_child(with_unknown), 64);
	assert_int_equal(in_child(with_surplus), 64);
}

/* ---- sockets ---- */

static void
test_bind(void **state)
{
	(void)state;
	int fd, second;
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	assert_int_equal(daemon_bind("127.0.0.1", 0, 16, &fd), STATUS_OK);
	getsockname(fd, (struct sockaddr *)&at, &len);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(
	    daemon_bind("127.0.0.1", ntohs(at.sin_port), 16, &second), STATUS_EXISTS);
	assert_int_equal(daemon_bind("not an address", 0, 16, &second), STATUS_INVALID);
	assert_int_equal(daemon_bind("mail.test", 0, 16, &second), STATUS_INVALID);
	/* The same port for IPv6 beside it, where there is IPv6. */
	if (daemon_bind("::1", ntohs(at.sin_port), 16, &second) == STATUS_OK)
		close(second);
	if (daemon_bind("[::1]", 0, 16, &second) == STATUS_OK)
		close(second);
	else
		assert_int_not_equal(daemon_bind("::1", 0, 16, &second), STATUS_OK);
	assert_int_equal(daemon_bind("[::1", 0, 16, &second), STATUS_INVALID);
	assert_int_equal(daemon_bind("[", 0, 16, &second), STATUS_INVALID);
	close(fd);
}

static void
test_bind_path(void **state)
{
	(void)state;
	int fd, second;
	struct stat st;
	char path[64];
	char longer[200];
	snprintf(path, sizeof(path), "/tmp/postroom-daemon-%d.sock", (int)getpid());
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	unlink(path);
	assert_int_equal(
	    daemon_bind_path(path, 0660, UINT32_MAX, UINT32_MAX, 16, &fd), STATUS_OK);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	/* Somebody listens there; then nobody does any more. */
	assert_int_equal(
	    daemon_bind_path(path, 0600, UINT32_MAX, UINT32_MAX, 16, &second),
	    STATUS_EXISTS);
	close(fd);
	assert_int_equal(
	    daemon_bind_path(path, 0600, UINT32_MAX, UINT32_MAX, 16, &fd), STATUS_OK);
	close(fd);
	assert_int_equal(unlink(path), 0);
	/* A file of somebody else stays. */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(
	    daemon_bind_path(path, 0600, UINT32_MAX, UINT32_MAX, 16, &fd), STATUS_EXISTS);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(
	    daemon_bind_path("/nowhere/at/all", 0600, UINT32_MAX, UINT32_MAX, 16, &fd),
	    STATUS_NOT_FOUND);
	assert_int_equal(daemon_bind_path(longer, 0600, UINT32_MAX, UINT32_MAX, 16, &fd),
	    STATUS_INVALID);
}

static void
test_inherited(void **state)
{
	(void)state;
	struct listener listeners[4];
	size_t count = 0;
	int a, b;
	char text[128];
	assert_int_equal(daemon_bind("127.0.0.1", 0, 16, &a), STATUS_OK);
	assert_int_equal(daemon_bind("127.0.0.1", 0, 16, &b), STATUS_OK);
	fcntl(a, F_SETFL, 0);
	unsetenv("POSTROOM_LISTENERS");
	assert_int_equal(
	    daemon_listeners_inherited(listeners, 4, &count), STATUS_NOT_FOUND);
	setenv("POSTROOM_LISTENERS", "", 1);
	assert_int_equal(
	    daemon_listeners_inherited(listeners, 4, &count), STATUS_NOT_FOUND);
	struct buf both AUTO_BUF;
	buf_init(&both, sizeof(text));
	daemon_listener_write(&both, "mx", "smtp", LISTENER_TLS_STARTTLS, a);
	buf_append_byte(&both, ' ');
	daemon_listener_write(&both, "subs", "submission", LISTENER_TLS_IMPLICIT, b);
	snprintf(
	    text, sizeof(text), "mx:smtp:starttls:%d subs:submission:implicit:%d", a, b);
	assert_true(slice_equal(buf_slice(&both), slice_from_cstr(text)));
	setenv("POSTROOM_LISTENERS", text, 1);
	assert_int_equal(
	    daemon_listeners_inherited(listeners, 1, &count), STATUS_INVALID);
	assert_int_equal(daemon_listeners_inherited(listeners, 4, &count), STATUS_OK);
	assert_int_equal(count, 2);
	assert_string_equal(listeners[0].name, "mx");
	assert_string_equal(listeners[0].protocol, "smtp");
	assert_int_equal(listeners[0].tls, LISTENER_TLS_STARTTLS);
	assert_int_equal(listeners[0].fd, a);
	assert_true(fcntl(a, F_GETFL) & O_NONBLOCK);
	assert_string_equal(listeners[1].protocol, "submission");
	assert_int_equal(listeners[1].tls, LISTENER_TLS_IMPLICIT);
	for (size_t i = 0; i < count; i++) {
		free((void *)(uintptr_t)listeners[i].name);
		free((void *)(uintptr_t)listeners[i].protocol);
	}
	static const char *const bad[] = {"x", "a:b:none:99", "a:b:none:0", "a:b:some:%d",
	    "a::none:%d", ":b:none:%d", "a:b:none:-1", "a:b:none:%dx", "a:b:none:%d:1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char one[64];
		const char *mark = strstr(bad[i], "%d");
		if (mark)
			snprintf(one, sizeof(one), "%.*s%d%s", (int)(mark - bad[i]),
			    bad[i], a, mark + 2);
		else
			snprintf(one, sizeof(one), "%s", bad[i]);
		setenv("POSTROOM_LISTENERS", one, 1);
		assert_int_equal(
		    daemon_listeners_inherited(listeners, 4, &count), STATUS_INVALID);
	}
	unsetenv("POSTROOM_LISTENERS");
	close(a);
	close(b);
}

/* ---- readiness ---- */

static void
test_ready(void **state)
{
	(void)state;
	int fds[2];
	char text[32], byte = 0;
	assert_int_equal(pipe(fds), 0);
	snprintf(text, sizeof(text), "%d", fds[1]);
	setenv("POSTROOM_READY_FD", text, 1);
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/net-notify-%d", getpid());
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	daemon_ready();
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(byte, DAEMON_WORD_READY);
	daemon_reloaded(true);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(byte, DAEMON_WORD_TAKEN);
	daemon_reloaded(false);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(byte, DAEMON_WORD_KEPT);
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 7);
	assert_memory_equal(text, "READY=1", 7);
	unlink(at.sun_path);
	unsetenv("NOTIFY_SOCKET");
	daemon_ready();
	close(fd);
	close(fds[0]);
}

/* ---- running ---- */

struct run {
	struct loop *loop;
	unsigned reloads, stops;
	struct loop_timer timer;
	bool answers;
};

static void
send_signal(void *arg)
{
	struct run *run = arg;
	kill(getpid(), run->reloads < 2 ? SIGHUP : SIGTERM);
	loop_timer_start(run->loop, &run->timer, 5, send_signal, run);
}

static void
on_reload(void *arg)
{
	((struct run *)arg)->reloads++;
}

static void
on_stop(void *arg)
{
	struct run *run = arg;
	run->stops++;
	loop_timer_stop(&run->timer);
	if (run->answers)
		daemon_stopped(run->loop);
	else
		kill(getpid(), SIGINT); /* asked twice */
}

static void
test_run(void **state)
{
	(void)state;
	for (int answers = 0; answers < 2; answers++) {
		struct run run = {.loop = loop_new(), .answers = answers};
		loop_timer_start(run.loop, &run.timer, 1, send_signal, &run);
		daemon_run(run.loop, on_reload, on_stop, &run);
		assert_int_equal(run.reloads, 2);
		assert_int_equal(run.stops, 1);
		loop_free(&run.loop);
	}
}

static void
send_stop(void *arg)
{
	(void)arg;
	kill(getpid(), SIGTERM);
}

/* What came while the daemon was starting is acted on when it runs. */
static void
test_early_signals(void **state)
{
	(void)state;
	struct run run = {.loop = loop_new(), .answers = true};
	daemon_signals_block();
	kill(getpid(), SIGHUP);
	kill(getpid(), SIGTERM);
	daemon_run(run.loop, on_reload, on_stop, &run);
	assert_true(run.reloads <= 1); /* a stop may overtake it */
	assert_int_equal(run.stops, 1);
	loop_free(&run.loop);
	run = (struct run){.loop = loop_new(), .answers = true};
	daemon_signals_block();
	kill(getpid(), SIGHUP);
	loop_timer_start(run.loop, &run.timer, 50, send_stop, NULL);
	daemon_run(run.loop, on_reload, on_stop, &run);
	assert_int_equal(run.reloads, 1);
	assert_int_equal(run.stops, 1);
	loop_free(&run.loop);
}

/* ---- sandbox ---- */

static void *
thread_in_sandbox(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static void
use_everything_allowed(void)
{
	pthread_t thread;
	int ran = 0;
	if (pthread_create(&thread, NULL, thread_in_sandbox, &ran) != 0)
		_exit(10);
	pthread_join(thread, NULL);
	if (!ran)
		_exit(11);
	struct loop *loop = loop_new();
	harness_run_for(loop, 3);
	struct resolver *resolver;
	const char *servers[] = {"127.0.0.1@9"};
	if (resolver_new(loop, servers, 1, 1000, "", &resolver) != STATUS_OK)
		_exit(12);
	resolver_free(&resolver);
	loop_free(&loop);
	struct harness_ca ca;
	harness_ca_make(&ca);
	harness_ca_remove(&ca);
	int fd;
	if (daemon_bind("127.0.0.1", 0, 5, &fd) != STATUS_OK)
		_exit(13);
	void *map =
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || mprotect(map, 4096, PROT_READ) != 0)
		_exit(14);
}

static void
sandbox_allows(void)
{
	if (daemon_sandbox() != STATUS_OK)
		_exit(9);
	use_everything_allowed();
	_exit(42);
}

static void
sandbox_refuses(void)
{
	char *argv[] = {"/bin/true", NULL};
	if (daemon_sandbox() != STATUS_OK)
		_exit(9);
	if (execv("/bin/true", argv) != -1 || errno != EPERM)
		_exit(10);
	if (setuid(getuid()) != -1 || errno != EPERM)
		_exit(11);
	if (socket(AF_PACKET, SOCK_RAW, 0) != -1 || errno != EAFNOSUPPORT)
		_exit(12);
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ||
	    errno != EPERM)
		_exit(13);
	if (mknod("/tmp/net-sandbox-node", S_IFIFO, 0) != -1 || errno != EPERM)
		_exit(14);
#if !defined(__SANITIZE_ADDRESS__)
	pid_t pid = fork();
	if (pid == 0)
		_exit(15);
	if (pid != -1 || errno != EPERM)
		_exit(16);
	if (kill(getppid(), 0) != -1 || errno != EPERM)
		_exit(17);
	if (kill(getpid(), 0) != 0)
		_exit(18);
#endif
	_exit(42);
}

static void
test_sandbox(void **state)
{
	(void)state;
	int code = in_child(sandbox_allows);
	if (code == 9)
		skip(); /* a kernel, or a container, without seccomp */
	assert_int_equal(code, 42);
	assert_int_equal(in_child(sandbox_refuses), 42);
}

static void
files_guarded(void)
{
	char inside[] = "/tmp/net-guard-XXXXXX", path[64];
	char *argv[] = {"/bin/true", NULL};
	if (!mkdtemp(inside))
		_exit(8);
	const char *const folders[] = {inside, "/nonexistent"};
	enum status status = daemon_write_only_below(folders, 2);
	if (status == STATUS_NOT_FOUND) {
		rmdir(inside);
		_exit(9);
	}
	if (status != STATUS_OK)
		_exit(10);
	snprintf(path, sizeof(path), "%s/file", inside);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || unlink(path) != 0)
		_exit(11);
	if (open("/tmp/net-guard-outside", O_WRONLY | O_CREAT, 0600) != -1 ||
	    errno != EACCES)
		_exit(12);
	if (rmdir(inside) != -1 || errno != EACCES)
		_exit(13);
	if (open("/etc/hostname", O_RDONLY) < 0 || open("/dev/null", O_WRONLY) < 0)
		_exit(14);
	if (execv("/bin/true", argv) != -1 || errno != EACCES)
		_exit(15);
	_exit(42);
}

static void
test_files_guarded(void **state)
{
	(void)state;
	int code = in_child(files_guarded);
	if (code == 9)
		skip(); /* a kernel, or a container, without Landlock */
	assert_int_equal(code, 42);
}

static void
limits(void)
{
	close(0);
	close(1);
	daemon_limits();
	if (fcntl(0, F_GETFD) < 0 || fcntl(1, F_GETFD) < 0)
		_exit(3);
	raise(SIGPIPE);
	int fd = open("/tmp/net-umask-probe", O_CREAT | O_RDWR | O_CLOEXEC, 0666);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		_exit(1);
	unlink("/tmp/net-umask-probe");
	_exit((st.st_mode & 0777) == 0600 ? 42 : 2);
}

static void
test_limits(void **state)
{
	(void)state;
	assert_int_equal(in_child(limits), 42);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_arguments),
	    cmocka_unit_test(test_bad_arguments),
	    cmocka_unit_test(test_bind),
	    cmocka_unit_test(test_bind_path),
	    cmocka_unit_test(test_inherited),
	    cmocka_unit_test(test_ready),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_sandbox),
	    cmocka_unit_test(test_files_guarded),
	    cmocka_unit_test(test_run),
	    cmocka_unit_test(test_early_signals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
