/*
 * The supervisor; see supervisor.h.
 */
#include "postroom/supervisor_int.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "net/daemon.h"

enum {
	LISTENERS_TEXT_MAX = 8192,
	LISTEN_BACKLOG = 1024,
};

static unsigned
daemon_of(enum conf_protocol protocol)
{
	static const unsigned daemons[] = {0, 0, 1, 2, 0, 0};
	return daemons[protocol];
}

/* Away from the terminal that started us. */
static void
detach(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close(null);
}

static void
notify(struct supervisor *s, const char *text)
{
	if (s->notify_fd < 0)
		return;
	detach();
	ssize_t ignored = write(s->notify_fd, text, strlen(text));
	(void)ignored;
	close(s->notify_fd);
	s->notify_fd = -1;
}

/* ---- sockets ---- */

static int
bind_fail(const struct conf_listener *l, const char *address, enum status status)
{
	if (l->path[0])
		return cli_fail(CLI_CONFIG,
		    "could not listen on %s (listener \"%s\"): %s", l->path, l->name,
		    status == STATUS_EXISTS ? "another server listens there, or it is no "
					      "socket"
					    : strerror(errno));
	if (status == STATUS_EXISTS)
		return cli_fail(CLI_TRY_AGAIN,
		    "could not listen on %s port %u (listener \"%s\"): another server "
		    "listens there",
		    address, l->port, l->name);
	if (status == STATUS_DENIED)
		return cli_fail(CLI_NOT_ALLOWED,
		    "could not listen on %s port %u (listener \"%s\"): ports below 1024 "
		    "want root or CAP_NET_BIND_SERVICE",
		    address, l->port, l->name);
	return cli_fail(CLI_CONFIG,
	    "could not listen on %s port %u (listener \"%s\"): %s", address, l->port,
	    l->name, status == STATUS_INVALID ? "this is no address" : strerror(errno));
}

/* The socket belongs to the daemons' user, so that its mode says who else. */
static enum status
socket_bind_path(const struct supervisor *s, const struct conf_listener *l, int *out_fd)
{
	const struct passwd *user = NULL;
	if (geteuid() == 0 && !s->cli->root && s->conf->user[0] != '\0')
		user = getpwnam(s->conf->user);
	return daemon_bind_path(l->path, conf_socket_mode(l),
	    user ? user->pw_uid : UINT32_MAX, user ? user->pw_gid : UINT32_MAX,
	    LISTEN_BACKLOG, out_fd);
}

static int
sockets_bind(struct supervisor *s)
{
	for (size_t i = 0; i < s->conf->listener_count; i++) {
		const struct conf_listener *l = &s->conf->listeners[i];
		for (size_t a = 0; l->enabled && a < l->addresses.count; a++) {
			const char *address = l->addresses.items[a];
			if (s->socket_count == SOCKETS_MAX)
				return cli_fail(CLI_CONFIG,
				    "more than %d listening sockets", SOCKETS_MAX);
			int fd;
			enum status status = l->path[0] ? socket_bind_path(s, l, &fd)
			                                : daemon_bind(address, l->port,
							      LISTEN_BACKLOG, &fd);
			/* A machine without IPv6 serves by IPv4 alone. */
			if (status == STATUS_NOT_FOUND && !l->path[0] &&
			    strchr(address, ':')) {
				LOG_WARN("server.bind", LF_STR("address", address),
				    LF_STR("reason", "no IPv6 on this machine"));
				continue;
			}
			if (status != STATUS_OK)
				return bind_fail(l, address, status);
			s->sockets[s->socket_count++] =
			    (struct bound_socket){l, address, daemon_of(l->protocol), fd};
		}
	}
	return CLI_OK;
}

/* The daemons' programs lie beside this one, or in ../libexec/postroom. */
static int
libexec_find(struct supervisor *s)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (len < 0)
		return cli_fail(CLI_SOFTWARE, "cannot tell where this program lies");
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	static const char *const below[] = {"", "/../libexec/postroom"};
	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
		char *dir = NULL, *probe = NULL;
		if (asprintf(&dir, "%s%s", self, below[i]) < 0 ||
		    asprintf(&probe, "%s/postroom-smtpd", dir) < 0)
			abort();
		bool there = access(probe, X_OK) == 0;
		free(probe);
		if (there) {
			s->libexec = dir;
			return CLI_OK;
		}
		free(dir);
	}
	return cli_fail(CLI_SOFTWARE,
	    "the daemons (postroom-smtpd …) are not beside %s: build or install them",
	    self);
}

/* ---- children ---- */

uint64_t
supervisor_restart_delay_ms(uint64_t last_ms, uint64_t alive_ms)
{
	if (last_ms == 0 || alive_ms > SUPERVISOR_CALM_MS)
		return SUPERVISOR_RESTART_MS_MIN;
	return last_ms < SUPERVISOR_RESTART_MS_MAX / 2 ? last_ms * 2
	                                               : SUPERVISOR_RESTART_MS_MAX;
}

/* In the child: what daemon_listeners_inherited reads. */
static char *
listeners_text(const struct supervisor *s, unsigned daemon)
{
	struct buf out AUTO_BUF;
	buf_init(&out, LISTENERS_TEXT_MAX);
	for (size_t i = 0; i < s->socket_count; i++) {
		const struct bound_socket *b = &s->sockets[i];
		if (b->daemon != daemon)
			continue;
		if (out.len > 0)
			buf_append_byte(&out, ' ');
		daemon_listener_write(&out, b->listener->name,
		    conf_protocol_word(b->listener->protocol),
		    (enum listener_tls)b->listener->tls, b->fd);
	}
	ENSURE(buf_ok(&out));
	return slice_to_cstr(buf_slice(&out));
}

/* In the child, before exec: the unprivileged user of a system instance. */
static void
privileges_drop(const struct supervisor *s)
{
	if (geteuid() != 0 || s->cli->root || s->conf->user[0] == '\0')
		return;
	const struct passwd *user = getpwnam(s->conf->user);
	if (!user || initgroups(user->pw_name, user->pw_gid) != 0 ||
	    setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0) {
		dprintf(
		    STDERR_FILENO, "postroom: could not become user %s\n", s->conf->user);
		_exit(CLI_NOT_ALLOWED);
	}
}

/* The terminal (or a pipe of whoever started us) is not the daemons': what one of them
 * prints before its log is open goes into the log file. */
static void
child_stdio(const struct supervisor *s)
{
	int null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
	int log = strcmp(s->conf->log.to, "stderr") == 0
	              ? -1
	              : open(s->conf->log.to, O_WRONLY | O_APPEND);
	if (log >= 0) {
		dup2(log, STDERR_FILENO);
		close(log);
	}
}

static void
child_exec(struct supervisor *s, unsigned index, int ready_fd, pid_t parent)
{
	struct child *child = &s->children[index];
	/* The daemon begins with its signals blocked and lets them in when it can act on
	 * them (daemon_signals_block): a reload or stop that comes while it starts waits.
	 */
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	daemon_signals_block();
	/* Its listening sockets and the ready pipe stay open, all else closes on exec. */
	for (size_t i = 0; i < s->socket_count; i++) {
		if (s->sockets[i].daemon == index)
			fcntl(s->sockets[i].fd, F_SETFD, 0);
	}
	fcntl(ready_fd, F_SETFD, 0);
	child_stdio(s);
	char ready[16];
	char path[4200];
	snprintf(ready, sizeof(ready), "%d", ready_fd);
	snprintf(path, sizeof(path), "%s/%s", s->libexec, child->program);
	setenv("POSTROOM_LISTENERS", listeners_text(s, index), 1);
	setenv("POSTROOM_READY_FD", ready, 1);
	privileges_drop(s);
	/* Nobody restarts or stops a daemon whose supervisor was killed: it ends as well.
	 * Behind the change of user, which would forget it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(CLI_SOFTWARE);
	char *config = cli_config_path(s->cli);
	char *const with_root[] = {
	    path, "--config", config, "--root", (char *)s->cli->root, NULL};
	char *const without[] = {path, "--config", config, NULL};
	execv(path, s->cli->root ? with_root : without);
	dprintf(STDERR_FILENO, "postroom: could not run %s: %s\n", path, strerror(errno));
	_exit(CLI_SOFTWARE);
}

static void
child_start(struct supervisor *s, unsigned index)
{
	struct child *child = &s->children[index];
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		child->restart_at_ms = clock_mono_ms() + SUPERVISOR_RESTART_MS_MAX;
		return;
	}
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid == 0)
		child_exec(s, index, pipe_fds[1], parent);
	close(pipe_fds[1]);
	if (pid < 0) {
		close(pipe_fds[0]);
		child->restart_at_ms = clock_mono_ms() + SUPERVISOR_RESTART_MS_MAX;
		return;
	}
	child->pid = pid;
	child->state = CHILD_STARTING;
	child->word_fd = pipe_fds[0];
	child->began = child->asked = s->generation;
	child->asking = false;
	child->started_ms = clock_mono_ms();
	child->restart_at_ms = 0;
}

static void
child_died(struct supervisor *s, struct child *child, int status)
{
	bool wanted = child->state != CHILD_STOPPING && !s->stopping;
	if (child->word_fd >= 0)
		close(child->word_fd);
	child->word_fd = -1;
	child->has = 0;
	child->asking = false;
	child->last_status = status;
	uint64_t now = clock_mono_ms();
	child->restart_delay_ms =
	    supervisor_restart_delay_ms(child->restart_delay_ms, now - child->started_ms);
	child->pid = 0;
	child->state = CHILD_STOPPED;
	if (!wanted)
		return;
	child->restarts++;
	child->restart_at_ms = now + child->restart_delay_ms;
	LOG_ERROR("server.died", LF_STR("daemon", child->name),
	    LF_U64(WIFSIGNALED(status) ? "signal" : "code",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)),
	    LF_U64("again_in_ms", child->restart_delay_ms));
	/* Before the first readiness a death is a failed start: say so and give up. */
	if (s->notify_fd >= 0) {
		char text[128];
		snprintf(text, sizeof(text), "%s ended with code %d while starting\n",
		    child->name, WIFEXITED(status) ? WEXITSTATUS(status) : 128);
		s->exit_code = WIFEXITED(status) && WEXITSTATUS(status)
		                   ? WEXITSTATUS(status)
		                   : CLI_SOFTWARE;
		notify(s, text);
		s->stopping = true;
	}
}

static void
children_reap(struct supervisor *s)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < DAEMON_COUNT; i++) {
			if (s->children[i].pid == pid)
				child_died(s, &s->children[i], status);
		}
	}
}

static void
children_stop(struct supervisor *s)
{
	for (unsigned i = 0; i < DAEMON_COUNT; i++) {
		struct child *child = &s->children[i];
		child->restart_at_ms = 0;
		if (child->pid == 0 || child->state == CHILD_STOPPING)
			continue;
		child->state = CHILD_STOPPING;
		child->kill_at_ms = clock_mono_ms() + SUPERVISOR_STOP_MS;
		kill(child->pid, SIGTERM);
	}
}

static bool
children_all(const struct supervisor *s, enum child_state state)
{
	for (unsigned i = 0; i < DAEMON_COUNT; i++) {
		if (s->children[i].state != state)
			return false;
	}
	return true;
}

static void
child_ready(struct supervisor *s, struct child *child)
{
	if (child->state != CHILD_STARTING)
		return;
	child->state = CHILD_RUNNING;
	child->answered = child->has = child->began;
	LOG_INFO("server.ready", LF_STR("daemon", child->name),
	    LF_U64("pid", (uint64_t)child->pid),
	    LF_U64("ms", clock_mono_ms() - child->started_ms));
	if (children_all(s, CHILD_RUNNING))
		notify(s, "ok\n");
}

static void
child_words(struct supervisor *s, struct child *child)
{
	char words[16];
	ssize_t got = read(child->word_fd, words, sizeof(words));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		close(child->word_fd);
		child->word_fd = -1;
	}
	for (ssize_t i = 0; i < got; i++) {
		if (words[i] == DAEMON_WORD_READY)
			child_ready(s, child);
		else
			reload_word(s, child, words[i]);
	}
}

/* ---- the loop ---- */

static void
signals_read(struct supervisor *s)
{
	struct signalfd_siginfo info;
	while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			children_reap(s);
		else if (info.ssi_signo == SIGHUP)
			reload_begin(s);
		else
			s->stopping = true;
	}
}

/* Restarts that are due, kills that are due; returns how long to sleep. */
static int
timers_run(struct supervisor *s)
{
	uint64_t now = clock_mono_ms();
	uint64_t next = now + 1000;
	for (unsigned i = 0; i < DAEMON_COUNT; i++) {
		struct child *child = &s->children[i];
		if (child->state == CHILD_STOPPED && child->restart_at_ms &&
		    now >= child->restart_at_ms)
			child_start(s, i);
		if (child->state == CHILD_STOPPING && now >= child->kill_at_ms)
			kill(child->pid, SIGKILL);
		if (child->state == CHILD_STOPPED && child->restart_at_ms &&
		    child->restart_at_ms < next)
			next = child->restart_at_ms;
	}
	if (s->notify_fd >= 0 && now - s->began_ms > SUPERVISOR_READY_MS) {
		s->exit_code = CLI_TRY_AGAIN;
		notify(s, "the daemons did not become ready in time: see the log\n");
		s->stopping = true;
	}
	return next > now ? (int)(next - now) : 0;
}

static void
poll_once(struct supervisor *s, int timeout_ms)
{
	struct pollfd fds[2 + DAEMON_COUNT + CONTROL_CLIENTS_MAX];
	fds[0] = (struct pollfd){s->signal_fd, POLLIN, 0};
	fds[1] = (struct pollfd){s->control_fd, POLLIN, 0};
	for (unsigned i = 0; i < DAEMON_COUNT; i++)
		fds[2 + i] = (struct pollfd){s->children[i].word_fd, POLLIN, 0};
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		fds[2 + DAEMON_COUNT + i] = (struct pollfd){s->clients[i], POLLIN, 0};
	if (poll(fds, sizeof(fds) / sizeof(fds[0]), timeout_ms) <= 0)
		return;
	/* Readiness before deaths: a daemon that served and died was ready once. */
	for (unsigned i = 0; i < DAEMON_COUNT; i++) {
		if (fds[2 + i].revents && s->children[i].word_fd >= 0)
			child_words(s, &s->children[i]);
	}
	if (fds[0].revents)
		signals_read(s);
	if (fds[1].revents)
		control_accept(s);
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (fds[2 + DAEMON_COUNT + i].revents && s->clients[i] >= 0)
			control_answer(s, &s->clients[i]);
	}
}

static void
loop(struct supervisor *s)
{
	for (unsigned i = 0; i < DAEMON_COUNT; i++)
		child_start(s, i);
	for (;;) {
		if (s->stopping)
			children_stop(s);
		reload_answer(s);
		if (s->stopping && children_all(s, CHILD_STOPPED))
			return;
		poll_once(s, timers_run(s));
	}
}

static int
signals_block(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int
supervisor_run(struct cli *cli, int notify_fd)
{
	static struct supervisor supervisor;
	struct supervisor *s = &supervisor;
	*s = (struct supervisor){.cli = cli,
	    .conf = cli->conf,
	    .notify_fd = notify_fd,
	    .control_fd = -1,
	    .generation = 1,
	    .began_ms = clock_mono_ms()};
	static const char *const names[DAEMON_COUNT] = {"smtpd", "imapd", "pop3d"};
	static const char *const programs[DAEMON_COUNT] = {
	    "postroom-smtpd", "postroom-imapd", "postroom-pop3d"};
	for (unsigned i = 0; i < DAEMON_COUNT; i++)
		s->children[i] = (struct child){
		    .name = names[i], .program = programs[i], .word_fd = -1};
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		s->clients[i] = s->stop_clients[i] = s->reload_clients[i].fd = -1;
	supervisor_log_start(s->conf);
	s->signal_fd = signals_block();
	int code = libexec_find(s);
	if (code == CLI_OK)
		code = control_listen(s);
	if (code == CLI_OK)
		code = sockets_bind(s);
	if (code != CLI_OK) {
		notify(s, "");
		return code;
	}
	LOG_INFO("server.start", LF_U64("sockets", s->socket_count));
	loop(s);
	LOG_INFO("server.stop", LF_U64("code", (uint64_t)s->exit_code));
	control_unlink(s);
	free(s->libexec); /* those who asked to stop see their sockets close with us */
	return s->exit_code;
}
