/*
 * Compaction step by step, the space that the store takes, and its counters: the engine's
 * figures in the store's words.
 */
#include "store/store_maintain.h"

#include "store/store_int.h"

enum {
	STEP_BYTES = 16 * 1024 * 1024, /* moved by one call */
	/* On demand all but a little is given back; below it moving costs more than it
	 * gains. */
	DEAD_PERCENT = 2,
};

enum status
store_compact_step(struct store *store, struct store_compaction *out)
{
	struct engine_reclaim reclaim = {0};
	reclaim.deleted += engine_maintain(store->engine);
	enum status status =
	    engine_compact(store->engine, STEP_BYTES, DEAD_PERCENT, &reclaim);
	out->moved_messages += reclaim.moved_bodies;
	out->moved_bytes += reclaim.moved_bytes;
	out->freed_bytes += reclaim.freed_bytes;
	out->deleted += reclaim.deleted;
	out->unreadable += reclaim.unreadable;
	out->more = reclaim.more;
	return status;
}

enum status
store_space(struct store *store, struct store_space *out)
{
	struct engine_space space;
	enum status status = engine_space(store->engine, &space);
	*out = (struct store_space){
	    .segments = space.segments,
	    .file_bytes = space.file_bytes,
	    .live_bytes = space.live_bytes,
	    .growing_bytes = space.growing_bytes,
	    .index_bytes = space.index_bytes,
	    .retired = space.retired,
	};
	return status;
}

void
store_stats(const struct store *store, struct store_stats *out)
{
	struct engine_stats stats;
	engine_stats(store->engine, &stats);
	*out = (struct store_stats){
	    .commits = stats.commits,
	    .batches = stats.batches,
	    .syncs = stats.syncs,
	    .body_bytes = stats.body_bytes,
	    .moved_bytes = stats.moved_bytes,
	    .readers_cleared = stats.readers_cleared,
	    .oldest_reader_age_ms = stats.oldest_reader_age_ms,
	};
}
