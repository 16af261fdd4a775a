/*
 * The load generators' clock: monotonic seconds, comparable between the processes of one
 * machine (t_* in their output).  For generators that speak to a server over sockets.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <time.h>

static inline double
now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
