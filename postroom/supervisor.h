/*
 * The supervisor: binds the ports, starts the daemons as the unprivileged user, starts
 * them again when they die, passes signals on, and answers on the control socket
 * (<run_dir>/control.sock: one word in, one JSON line out).  It never reads from the
 * network.  One thread, one poll loop.  "reload" is answered when each daemon has taken
 * the configuration or has told that it keeps what it had (decision 0146).
 */
#ifndef POSTROOM_SUPERVISOR_H
#define POSTROOM_SUPERVISOR_H

#include "postroom/cli.h"

enum {
	SUPERVISOR_READY_MS = 30 * 1000,  /* a daemon must serve by then */
	SUPERVISOR_STOP_MS = 10 * 1000,   /* then SIGKILL */
	SUPERVISOR_RELOAD_MS = 20 * 1000, /* the daemons must have told by then */
	SUPERVISOR_RESTART_MS_MIN = 100,  /* delay after a death, doubling */
	SUPERVISOR_RESTART_MS_MAX = 10000,
	SUPERVISOR_CALM_MS = 60 * 1000, /* alive so long: the delay is forgotten */
};

/* Runs until told to stop; returns the exit code.  `notify_fd`: gets "ok\n" or the reason
 * of failure when it is known whether the daemons serve; -1 for none. */
int supervisor_run(struct cli *cli, int notify_fd);

/* How long a daemon that died waits for its next start: `last_ms` is what it waited
 * before its last one (0: never died), `alive_ms` how long that one lived. */
uint64_t supervisor_restart_delay_ms(uint64_t last_ms, uint64_t alive_ms);

/* Sends a word to the supervisor of this instance and returns its answer (allocated), or
 * null when none is running.  Waits for the peer to close when `until_closed`. */
char *supervisor_ask(const struct cli *cli, const char *word, bool until_closed);

#endif
