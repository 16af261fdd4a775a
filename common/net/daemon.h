/*
 * What the three daemons share at start and stop: arguments, the listening sockets handed
 * over by the supervisor, signals, readiness, limits, sandbox.
 *
 * Contract with the supervisor: `postroom-XXXd --config FILE --root DIR` with
 * the environment POSTROOM_LISTENERS = "name:protocol:tls:fd name:protocol:tls:fd …"
 * (only the ones for this daemon) and POSTROOM_READY_FD, a pipe to which an octet is
 * written when the daemon serves and after each reload (enum daemon_word).  Without
 * POSTROOM_LISTENERS the daemon binds the sockets of its protocols from the configuration
 * itself (systemd without the supervisor). SIGTERM and SIGINT: stop accepting, let
 * commands in flight finish for at most DAEMON_STOP_MS, exit 0.  SIGHUP: reload.
 */
#ifndef NET_DAEMON_H
#define NET_DAEMON_H

#include "base/buf.h"
#include "base/status.h"
#include "net/loop.h"
#include "net/worker.h"

enum { DAEMON_STOP_MS = 5000, DAEMON_LISTENERS_MAX = 64 };

enum daemon_word {
	DAEMON_WORD_READY = '1',
	DAEMON_WORD_TAKEN = '+', /* a reload: the new configuration is in force */
	DAEMON_WORD_KEPT = '-',  /* a reload: the one before stays */
};

struct daemon_arguments {
	const char *config_path;
	const char *root; /* null: system paths */
};

/* Reads --config and --root; on a mistake prints one line and exits 64. */
void daemon_arguments_read(int argc, char **argv, struct daemon_arguments *out);

/* Sockets handed over by the supervisor: fills name, protocol (allocated), tls, fd.
 * NOT_FOUND when the environment names none; INVALID when it is malformed. */
enum status daemon_listeners_inherited(
    struct listener *out, size_t max, size_t *out_count) MUST_USE;
/* `address` is "192.0.2.1", "2001:db8::1" or "[2001:db8::1]".
 * Binds and listens (SO_REUSEADDR, IPV6_V6ONLY for IPv6), non-blocking, close-on-exec.
 * NOT_FOUND: this machine has no such address, or no IPv6 at all. */
enum status daemon_bind(
    const char *address, uint16_t port, int backlog, int *out_fd) MUST_USE;

/* The same for a Unix socket that only its mode protects, such as 0660; a socket that is
 * left there and that nobody listens on is replaced.  `owner` and `group` are given to it
 * unless they are -1.  NOT_FOUND: no such folder; EXISTS: somebody listens there, or it
 * is no socket; INVALID: the path is too long. */
enum status daemon_bind_path(const char *path, unsigned mode, unsigned owner,
    unsigned group, int backlog, int *out_fd) MUST_USE;

/* One listening socket in the form that daemon_listeners_inherited reads; several are
 * separated by a space. */
void daemon_listener_write(struct buf *out, const char *name, const char *protocol,
    enum listener_tls tls, int fd);

/* SIGTERM, SIGINT and SIGHUP wait from here on until daemon_run can act on them: first
 * thing of all, so that a daemon that is still starting stops in order or reloads as soon
 * as it serves, instead of dying.  Threads inherit it and never take these signals. */
void daemon_signals_block(void);

/* Raises RLIMIT_NOFILE to its hard limit, ignores SIGPIPE, umask 0077, and opens
 * /dev/null on standard descriptors that are closed. */
void daemon_limits(void);
/* From here on this thread and those that it starts write, make and remove files only
 * below the folders (those that are there) and /dev, and run no program (Landlock).
 * STATUS_NOT_FOUND when the kernel has no Landlock, STATUS_IO when it refuses. */
enum status daemon_write_only_below(const char *const *folders, size_t count) MUST_USE;
/* no_new_privs and a seccomp filter that leaves what a serving daemon uses (no execve, no
 * ptrace, no mount …).  STATUS_IO when the kernel refuses. */
enum status daemon_sandbox(void) MUST_USE;
/* Tells the supervisor (or systemd by NOTIFY_SOCKET) that we serve. */
void daemon_ready(void);
/* Tells the supervisor what became of a reload. */
void daemon_reloaded(bool taken);

/* Runs `loop` (the main thread's) until SIGTERM or SIGINT; calls reload on SIGHUP and
 * stop on the way out (the loop runs on for at most DAEMON_STOP_MS after it, until the
 * stop function's completion is signalled with daemon_stopped). */
void daemon_run(struct loop *loop, loop_fn reload, loop_fn stop, void *arg);
void daemon_stopped(struct loop *loop);

#endif
