/*
 * Time, replaceable in tests.  Monotonic time is for time-outs and measuring, wall time
 * for dates.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds of a clock that never goes back. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
/* Seconds and milliseconds since 1970-01-01 UTC. */
int64_t clock_wall_s(void);
int64_t clock_wall_ms(void);

/* Test hook: from now on both clocks stand at these values, until clock_fake_off(). */
void clock_fake(uint64_t mono_ms, int64_t wall_ms);
void clock_fake_advance(uint64_t ms);
void clock_fake_off(void);

#endif
