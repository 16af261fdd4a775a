/*
 * Named counters of one process, in memory shared with the supervisor so that `status`
 * can read them.  Counters only grow, gauges go both ways; both are relaxed atomics.
 * Names are Prometheus-like, without labels: "smtp_messages_received_total".
 */
#ifndef BASE_STATS_H
#define BASE_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/status.h"

enum { STATS_COUNT_MAX = 256, STATS_NAME_MAX = 55 };

struct stats_counter {
	char name[STATS_NAME_MAX + 1];
	_Atomic uint64_t value;
};

/* Maps `path` (created, 0640) as the place of this process's counters; without a call,
 * or with null, they live in private memory. */
enum status stats_open(const char *path) MUST_USE;

/* The counter of that name, made on first use.  Call at start-up and keep the pointer;
 * past STATS_COUNT_MAX all further names share one "overflow" counter. */
struct stats_counter *stats_get(const char *name);

static inline void
stats_add(struct stats_counter *c, uint64_t delta)
{
	atomic_fetch_add_explicit(&c->value, delta, memory_order_relaxed);
}

static inline void
stats_sub(struct stats_counter *c, uint64_t delta)
{
	atomic_fetch_sub_explicit(&c->value, delta, memory_order_relaxed);
}

/* Reads another process's file: calls fn for every counter. */
enum status stats_read(const char *path,
    void (*fn)(const char *name, uint64_t value, void *arg), void *arg) MUST_USE;

#endif
