/*
 * What the files of this folder share of the loop: one-shot calls that cost no
 * allocation, and a scratch buffer for reading.  Private to common/net.
 */
#ifndef NET_LOOP_INT_H
#define NET_LOOP_INT_H

#include "net/loop.h"

enum { LOOP_SCRATCH_SIZE = 64 * 1024 }; /* bytes */

/* Aborts when the loop runs on another thread than the caller's. */
void loop_check_thread(const struct loop *loop);

/* Calls fn(arg) once when this turn's hooks have run: the place to flush output.  Does
 * nothing when the hook waits already.  loop_hook_remove takes it back. */
void loop_late_add(struct loop *loop, struct loop_hook *hook, loop_fn fn, void *arg);
/* Calls fn(arg) once in the next turn, after what the poll found; that turn does not
 * block.  loop_hook_remove takes it back. */
void loop_again_add(struct loop *loop, struct loop_hook *hook, loop_fn fn, void *arg);
/* Calls fn(arg) when the loop is freed; for what owns a libuv handle. */
void loop_end_add(struct loop *loop, struct loop_hook *hook, loop_fn fn, void *arg);

/* LOOP_SCRATCH_SIZE bytes that are anyone's until they return. */
char *loop_scratch(struct loop *loop);

#endif
