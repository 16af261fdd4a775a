/*
 * service_main as a process: signals that come before it serves wait for it, reloads leak
 * no descriptor and follow a log file that was moved away, bad configurations end with
 * their exit codes, and a failed reload keeps what was there.
 */
#include "base/file.h"
#include "service/service.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "net/tls.h"

enum { WAIT_MS = 20 * 1000, POLL_MS = 5 };

struct world {
	char dir[64];
	char conf[96];
	char log[96];
	pid_t pid;
	uint16_t port;
};

static void
nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
}

static void
conf_save(const struct world *w, const char *more)
{
	FILE *f = fopen(w->conf, "w");
	assert_non_null(f);
	fprintf(f,
	    "begin = \"postroom.conf\"\nhostname = \"mail.test\"\nthreads = 1\n"
	    "listener \"pop\" { protocol = pop3\n port = %u\n tls = none\n"
	    "address = {\"127.0.0.1\"} }\n"
	    "store { sync = false\n map_size = 64M\n shards = 1 }\n"
	    "tls { certificate = server.pem\n private_key = server.key }\n"
	    "log { to = \"%s\"\n level = debug }\n%s\nend = \"postroom.conf\"\n",
	    (unsigned)w->port, w->log, more);
	assert_int_equal(fclose(f), 0);
}

static void
world_start(struct world *w)
{
	memset(w, 0, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "/tmp/service-main-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->conf, sizeof(w->conf), "%s/postroom.conf", w->dir);
	snprintf(w->log, sizeof(w->log), "%s/the.log", w->dir);
	char run[96];
	snprintf(run, sizeof(run), "%s/run", w->dir);
	assert_int_equal(mkdir(run, 0700), 0);
	/* Made here: a daemon opens a store, it does not make one. */
	char store_path[96];
	snprintf(store_path, sizeof(store_path), "%s/store", w->dir);
	struct store_options options = {.path = store_path,
	    .map_size = UINT64_C(64) << 20,
	    .shards = 1,
	    .create = true};
	struct store *store;
	char *error = NULL;
	assert_int_equal(store_open(&options, &store, &error), STATUS_OK);
	store_close(&store);
	char files[4][96];
	static const char *const names[] = {
	    "ca.pem", "ca.key", "server.pem", "server.key"};
	for (int i = 0; i < 4; i++)
		snprintf(files[i], sizeof(files[i]), "%s/%s", w->dir, names[i]);
	const char *host = "mail.test";
	assert_int_equal(tls_make_self_signed(
			     files[0], files[1], files[2], files[3], &host, 1, &error),
	    STATUS_OK);
	int fd;
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	assert_int_equal(daemon_bind("127.0.0.1", 0, 1, &fd), STATUS_OK);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	w->port = ntohs(at.sin_port);
	close(fd);
	conf_save(w, "");
}

static void
world_stop(struct world *w)
{
	file_tree_remove(w->dir);
}

static void
accept_nobody(struct service *service, struct worker *worker, int fd,
    const struct listener *listener, struct worker_conn *token)
{
	(void)service;
	(void)worker;
	(void)fd;
	(void)listener;
	(void)token;
	abort();
}

/* The signals are blocked in the child from its first instruction, as the supervisor does
 * it: what is sent between fork and service_main's first line counts as well. */
static void
spawn(struct world *w)
{
	static const struct service_options options = {.daemon = "pop3d",
	    .sasl_service = "pop",
	    .protocols = {CONF_POP3},
	    .protocol_count = 1,
	    .accept = accept_nobody};
	sigset_t before;
	sigprocmask(SIG_SETMASK, NULL, &before);
	daemon_signals_block();
	w->pid = fork();
	if (w->pid == 0) {
		char program[] = "postroom-pop3d", config[] = "--config",
		     root[] = "--root";
		char *argv[] = {program, config, w->conf, root, w->dir, NULL};
		int null = open("/dev/null", O_WRONLY);
		dup2(null, STDERR_FILENO);
		close(null);
		_exit(service_main(5, argv, &options));
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_true(w->pid > 0);
}

/* The exit code, or minus the signal. */
static int
ended(struct world *w)
{
	int status;
	for (int ms = 0; ms < WAIT_MS; ms += POLL_MS) {
		if (waitpid(w->pid, &status, WNOHANG) == w->pid)
			return WIFEXITED(status) ? WEXITSTATUS(status)
			                         : -WTERMSIG(status);
		nap();
	}
	kill(w->pid, SIGKILL);
	waitpid(w->pid, &status, 0);
	fail_msg("it did not end");
	return 0;
}

static size_t
count_in(const char *path, const char *needle)
{
	char *line = NULL;
	size_t size = 0, count = 0;
	FILE *f = fopen(path, "r");
	if (!f)
		return 0;
	while (getline(&line, &size, f) >= 0)
		count += strstr(line, needle) != NULL;
	free(line);
	fclose(f);
	return count;
}

static void
wait_for(const char *path, const char *needle, size_t count)
{
	for (int ms = 0; ms < WAIT_MS; ms += POLL_MS) {
		if (count_in(path, needle) >= count)
			return;
		nap();
	}
	fail_msg("%s: no %zu lines with %s", path, count, needle);
}

static size_t
descriptors(pid_t pid)
{
	char path[32];
	size_t count = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void
signals_while_starting(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	for (int i = 0; i < 8; i++) {
		/* Both at once, before it can have done anything. */
		spawn(&w);
		kill(w.pid, SIGHUP);
		kill(w.pid, SIGTERM);
		assert_int_equal(ended(&w), 0);
	}
	/* A reload that came too early is made when it serves. */
	size_t reloads = count_in(w.log, "server.reload status=ok");
	spawn(&w);
	kill(w.pid, SIGHUP);
	wait_for(w.log, "server.reload status=ok", reloads + 1);
	kill(w.pid, SIGTERM);
	assert_int_equal(ended(&w), 0);
	world_stop(&w);
}

static void
reloads(void **state)
{
	(void)state;
	struct world w;
	char moved[112];
	world_start(&w);
	spawn(&w);
	wait_for(w.log, "server.start", 1);
	kill(w.pid, SIGHUP);
	wait_for(w.log, "server.reload status=ok", 1);
	size_t before = descriptors(w.pid);
	for (size_t i = 2; i < 12; i++) {
		kill(w.pid, SIGHUP);
		wait_for(w.log, "server.reload status=ok", i);
	}
	assert_int_equal(descriptors(w.pid), before);

	/* logrotate: moved away, then a reload. */
	snprintf(moved, sizeof(moved), "%s.1", w.log);
	assert_int_equal(rename(w.log, moved), 0);
	kill(w.pid, SIGHUP);
	wait_for(w.log, "server.reload status=ok", 1);
	struct stat st;
	assert_int_equal(stat(w.log, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(descriptors(w.pid), before);

	/* A configuration with a mistake changes nothing. */
	conf_save(&w, "nonsense = 5");
	kill(w.pid, SIGHUP);
	wait_for(w.log, "configuration kept as it was", 1);
	conf_save(&w, "imap { idle_timeout = 31m }");
	kill(w.pid, SIGHUP);
	wait_for(w.log, "server.reload status=ok", 2);
	kill(w.pid, SIGTERM);
	assert_int_equal(ended(&w), 0);
	wait_for(w.log, "server.stop", 1);
	world_stop(&w);
}

static void
exit_codes(void **state)
{
	(void)state;
	struct world w;
	char store[96], aside[112];
	world_start(&w);
	conf_save(&w, "nonsense = 5");
	spawn(&w);
	assert_int_equal(ended(&w), 78);
	conf_save(&w, "");
	snprintf(store, sizeof(store), "%s/store", w.dir);
	snprintf(aside, sizeof(aside), "%s/aside", w.dir);
	assert_int_equal(rename(store, aside), 0);
	spawn(&w);
	assert_int_equal(ended(&w), 75);
	assert_int_equal(rename(aside, store), 0);
	spawn(&w);
	wait_for(w.log, "server.start", 1);
	kill(w.pid, SIGTERM);
	assert_int_equal(ended(&w), 0);
	world_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signals_while_starting),
	    cmocka_unit_test(reloads),
	    cmocka_unit_test(exit_codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
