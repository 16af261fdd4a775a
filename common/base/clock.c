/*
 * The two clocks, and the fake that tests put in their place.  The fake is three atomics,
 * so that a test may move time while loop threads read it.  Any thread.
 */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/ensure.h"

static _Atomic bool fake_on;
static _Atomic uint64_t fake_mono_ms;
static _Atomic int64_t fake_wall_ms;

static struct timespec
clock_read(clockid_t id)
{
	struct timespec now;
	ENSURE(clock_gettime(id, &now) == 0);
	return now;
}

uint64_t
clock_mono_us(void)
{
	if (atomic_load_explicit(&fake_on, memory_order_relaxed))
		return atomic_load_explicit(&fake_mono_ms, memory_order_relaxed) * 1000;
	struct timespec now = clock_read(CLOCK_MONOTONIC);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t
clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

int64_t
clock_wall_ms(void)
{
	if (atomic_load_explicit(&fake_on, memory_order_relaxed))
		return atomic_load_explicit(&fake_wall_ms, memory_order_relaxed);
	struct timespec now = clock_read(CLOCK_REALTIME);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
clock_wall_s(void)
{
	int64_t ms = clock_wall_ms();
	/* Towards minus infinity, so that a second is a second before 1970 too. */
	return ms / 1000 - (ms % 1000 < 0);
}

void
clock_fake(uint64_t mono_ms, int64_t wall_ms)
{
	atomic_store(&fake_mono_ms, mono_ms);
	atomic_store(&fake_wall_ms, wall_ms);
	atomic_store(&fake_on, true);
}

void
clock_fake_advance(uint64_t ms)
{
	ENSURE(atomic_load(&fake_on));
	atomic_fetch_add(&fake_mono_ms, ms);
	atomic_fetch_add(&fake_wall_ms, (int64_t)ms);
}

void
clock_fake_off(void)
{
	atomic_store(&fake_on, false);
}
