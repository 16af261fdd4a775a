/*
 * One libuv loop, run by one thread (decision 0001).  A turn is: poll → ready connections
 * and timers → posted completions → deferred calls → turn-end hooks (read transactions
 * end, output is flushed) → poll.  Everything is called on the loop's thread, except
 * loop_post and loop_stop, which any thread may call.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/list.h"
#include "base/slice.h"

struct loop;
struct uv_loop_s;

typedef void (*loop_fn)(void *arg);

struct loop *loop_new(void);
/* After loop_run has returned; runs what was still deferred or posted. */
void loop_free(struct loop **loop);
/* Runs on the calling thread until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Runs fn(arg) on the loop's thread in one of its next turns; from any thread, never
 * blocks.  Calls of one thread keep their order. */
void loop_post(struct loop *loop, loop_fn fn, void *arg);
/* Runs fn(arg) at the end of this turn, after all callbacks: the place to free what a
 * callback still stands on. */
void loop_defer(struct loop *loop, loop_fn fn, void *arg);

/* Called at the end of every turn until removed.  The node is owned by the caller. */
struct loop_hook {
	struct list node;
	loop_fn fn;
	void *arg;
	struct loop *loop; /* null when not added; zeroed memory is that */
};
void loop_hook_add(struct loop *loop, struct loop_hook *hook, loop_fn fn, void *arg);
/* From inside a hook too; does nothing when it is not added. */
void loop_hook_remove(struct loop_hook *hook);

/* A timer inside its owner's struct; zeroed memory is a stopped timer.  Granularity is
 * about a millisecond for timers below 10 s, up to a second above (a heap shared by all;
 * a node costs no allocation). */
struct loop_timer {
	struct loop *loop; /* null when stopped */
	uint64_t due_ms;
	size_t index; /* place in the loop's heap */
	loop_fn fn;
	void *arg;
};
/* Starts, or moves an already running timer. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms,
    loop_fn fn, void *arg);
void loop_timer_stop(struct loop_timer *timer);

/* Runs work(arg) on the process's thread pool, then done(arg) on this loop. */
void loop_work(struct loop *loop, loop_fn work, loop_fn done, void *arg);

/* Monotonic milliseconds, taken once a turn. */
uint64_t loop_now_ms(const struct loop *loop);
struct uv_loop_s *loop_uv(struct loop *loop);

#endif
