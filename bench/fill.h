/*
 * Fills a mailbox by copies of what is there: quick, and few bodies.  For the benches of
 * the store by itself.
 */
#ifndef BENCH_FILL_H
#define BENCH_FILL_H

#include "base/ensure.h"
#include "store/message.h"

/* Copies the mailbox (its number, and its name) into itself, at most `block` messages in
 * one op, until there are `want`; `have` are there with uids from 1.  `arena` is reset.
 * Returns how many there are then. */
static inline uint32_t
fill_by_copies(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    struct slice name, uint32_t have, uint32_t want, uint32_t block, struct arena *arena)
{
	while (have < want) {
		uint32_t count = want - have < have ? want - have : have;
		struct uid_range range = {1, count > block ? block : count};
		struct copy_op op = {.op = {.arena = arena},
		    .account = account,
		    .mailbox = mailbox,
		    .ranges = &range,
		    .range_count = 1,
		    .target = name};
		copy_op_submit(reader, &op);
		ENSURE(op.op.status == STATUS_OK);
		have += (uint32_t)op.out_count;
		arena_reset(arena);
	}
	return have;
}

#endif
