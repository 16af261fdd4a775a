/*
 * Care of the store beside store_maintain (store/store.h): compaction on demand, and what
 * the store holds and how it does.  Public part of the store; any one thread.
 */
#ifndef STORE_STORE_MAINTAIN_H
#define STORE_STORE_MAINTAIN_H

#include "store/store.h"

struct store_compaction {
	uint64_t moved_messages, moved_bytes;
	uint64_t freed_bytes;
	uint32_t deleted;    /* segments */
	uint32_t unreadable; /* segments that could not be read: run a verify */
	bool more;           /* call again */
};
/* One step of some MiB; adds to *out.  FULL when there is no room to move to. */
enum status store_compact_step(
    struct store *store, struct store_compaction *out) MUST_USE;

struct store_space {
	uint64_t segments;
	uint64_t file_bytes;    /* of segments */
	uint64_t live_bytes;    /* of them, of messages */
	uint64_t growing_bytes; /* of them, in segments that a daemon writes to now */
	uint64_t index_bytes;   /* of the index files */
	uint64_t retired;       /* files that wait for readers or a backup */
};
enum status store_space(struct store *store, struct store_space *out) MUST_USE;

struct store_stats {
	uint64_t commits, batches, syncs; /* of this process */
	uint64_t body_bytes;              /* written by this process */
	uint64_t moved_bytes;             /* by compaction in this process */
	uint64_t readers_cleared;         /* slots of processes that had died */
	uint64_t oldest_reader_age_ms;    /* of this process */
};
void store_stats(const struct store *store, struct store_stats *out);

#endif
