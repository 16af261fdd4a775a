/*
 * Failed logins, counted by network: an IPv4 address, or the /64 of an IPv6 address,
 * since one person commands a whole one.  A network with too many failures has to wait.
 * The same wrong guess again (a mail program with an old password) counts once.
 *
 * The table has a fixed size: when it is full the least guilty entry makes room.  Any
 * thread may call; shards keep them apart.  Time is passed in.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include "base/slice.h"

enum {
	THROTTLE_SHARDS = 16,
	THROTTLE_SETS = 128, /* of a shard */
	THROTTLE_WAYS = 8,   /* entries of a set */
	THROTTLE_ENTRIES_MAX = THROTTLE_SHARDS * THROTTLE_SETS * THROTTLE_WAYS,
	THROTTLE_GUESSES = 4, /* last guesses that are remembered for a network */
};

struct throttle;

/* `block_after` failures (0: never) without a pause of block_for_ms block a network for
 * block_for_ms from the last one. */
struct throttle *throttle_new(unsigned block_after, uint64_t block_for_ms);
void throttle_free(struct throttle **throttle);

/* `peer` is an address as text, with or without brackets; any other text is its own
 * network. */
bool throttle_is_blocked(struct throttle *throttle, struct slice peer, uint64_t now_ms);
/* Counts a failure.  `guess` is a keyed hash of what was tried, 0 when not known. */
void throttle_fail(
    struct throttle *throttle, struct slice peer, uint64_t guess, uint64_t now_ms);

#endif
