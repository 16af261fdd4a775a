/*
 * Whether a call aborts the process: it runs in a child, so that an ENSURE can be tested.
 * The child's standard error is dropped.
 */
#ifndef UNIT_BASE_DIES_H
#define UNIT_BASE_DIES_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* True when fn(arg) ends its process with SIGABRT. */
static inline bool
call_dies(void (*fn)(void *arg), void *arg)
{
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit no_core = {0, 0};
		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)signal(SIGABRT, SIG_DFL);
		(void)close(STDERR_FILENO);
		fn(arg);
		_exit(0);
	}
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
