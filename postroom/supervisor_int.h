/*
 * What the supervisor's files share.  supervisor.c starts and watches the daemons and has
 * the loop; supervisor_control.c is the control socket's both ends, and reloads.
 */
#ifndef POSTROOM_SUPERVISOR_INT_H
#define POSTROOM_SUPERVISOR_INT_H

#include <stdint.h>
#include <sys/types.h>

#include "postroom/supervisor.h"

enum {
	DAEMON_COUNT = 3,
	SOCKETS_MAX = 96,
	CONTROL_CLIENTS_MAX = 16,
};

enum child_state { CHILD_STOPPED, CHILD_STARTING, CHILD_RUNNING, CHILD_STOPPING };

struct child {
	const char *name;    /* "smtpd" */
	const char *program; /* "postroom-smtpd" */
	enum child_state state;
	pid_t pid;
	int word_fd; /* what it tells: ready, reloads; -1: closed */
	unsigned restarts;
	uint64_t started_ms;
	uint64_t restart_at_ms; /* when STOPPED and wanted */
	uint64_t restart_delay_ms;
	uint64_t kill_at_ms; /* when STOPPING */
	int last_status;
	/* Configurations, by s->generation */
	uint64_t began;    /* it was started when this one was there */
	uint64_t asked;    /* the last one that it was told of */
	uint64_t answered; /* the last one that it has taken or refused */
	uint64_t has;      /* what it serves with; 0: does not serve */
	bool asking;       /* it was sent SIGHUP and has not answered */
};

struct bound_socket {
	const struct conf_listener *listener;
	const char *address;
	unsigned daemon; /* index of its child */
	int fd;
};

/* Who waits for the daemons to have taken a configuration. */
struct reload_client {
	int fd; /* -1: free */
	uint64_t generation;
	uint64_t deadline_ms;
};

struct supervisor {
	struct cli *cli;
	struct conf *conf;
	struct child children[DAEMON_COUNT];
	struct bound_socket sockets[SOCKETS_MAX];
	size_t socket_count;
	int control_fd;
	int clients[CONTROL_CLIENTS_MAX];      /* -1 when free */
	int stop_clients[CONTROL_CLIENTS_MAX]; /* held open until we end */
	struct reload_client reload_clients[CONTROL_CLIENTS_MAX];
	uint64_t generation; /* reloads so far, and one */
	int signal_fd;
	int lock_fd;
	int notify_fd;
	bool stopping;
	char *libexec;
	uint64_t began_ms;
	int exit_code;
};

/* supervisor_control.c */
/* Binds the socket below run_dir and takes the lock; an exit code. */
int control_listen(struct supervisor *s);
void control_unlink(const struct supervisor *s);
/* A connection is there; a client has sent something. */
void control_accept(struct supervisor *s);
void control_answer(struct supervisor *s, int *slot);

/* Opens the log (anew: the way to take up another file). */
void supervisor_log_start(const struct conf *conf);
/* Asks each daemon to read the configuration again. */
void reload_begin(struct supervisor *s);
/* One octet that a daemon has written (net/daemon.h). */
void reload_word(struct supervisor *s, struct child *child, char word);
/* Answers those who wait and whose daemons have told, or whose time is over. */
void reload_answer(struct supervisor *s);

#endif
