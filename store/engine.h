/*
 * The engine seam: what store/ is written against, and the only door to LMDB
 * (engine_lmdb, default) or to a sorted array in memory that injects conflicts, time-outs
 * and re-runs (engine_mem, tests).  Private to store/ and its tests; one conformance
 * suite runs over every engine.
 *
 * Terms.  A *partition* is one account, the directory, or the queue: the atomic unit, the
 * watch unit, the backup unit.  Its 16-byte id's first byte is its area.  A *commit* is a
 * function over one partition's keys; the engine may run it more than once, so it touches
 * nothing but its transaction and its own result fields (which it must set again in each
 * run).  A *body* is message bytes plus derived bytes, stored once per shard and counted.
 *
 * Isolation (decision 0007): many commits of a shard run in one write transaction.  When
 * a commit function fails after it has written, the engine gives the whole batch up and
 * runs it again without that one; so failing late is allowed but costs, and functions
 * should check before they write.
 *
 * Threads: engine_submit from any thread; a reader belongs to one thread at a time;
 * commit functions and done functions run on the shard's writer thread.
 */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include "base/list.h"
#include "base/mpsc.h"
#include "base/slice.h"
#include "base/status.h"
#include "store/body.h"

enum {
	ENGINE_KEY_MAX = 480, /* bytes of a key inside its partition; at least one,
	                       * and the first is not NUL */
	ENGINE_VALUE_MAX = 256 * 1024, /* bytes */
	ENGINE_SHARDS_MAX = 16,
	ENGINE_BATCH_MAX = 1024, /* commits in one write transaction */
};

struct partition_id {
	unsigned char v[16];
};

enum partition_area {
	PARTITION_DIRECTORY = 'D', /* environment "directory" */
	PARTITION_QUEUE = 'Q',     /* environment "queue" */
	PARTITION_ACCOUNT = 'A',   /* environment "shard-NN" by hash_stable of the id */
};

struct engine;
struct engine_reader;
struct engine_txn; /* a read snapshot or a write transaction of one partition */
struct engine_cursor;

struct engine_options {
	const char *path;
	uint64_t map_size;     /* bytes of address space an environment */
	uint32_t shards;       /* used at creation only; 0: one a core, at most 16 */
	uint64_t segment_size; /* bytes; 0: 64 MiB */
	bool create;
	bool sync;                 /* false: promises nothing (for measuring) */
	bool compress;             /* new bodies, where it pays (body_pack.h) */
	uint32_t min_free_percent; /* new bodies are refused (FULL) below it; 0: off */
};

/* CORRUPT when the format is newer or is not ours, with *error one line (caller frees).
 */
enum status engine_open(
    const struct engine_options *options, struct engine **out, char **error) MUST_USE;
/* A memory engine; `seed` drives injected re-runs (0: none). */
struct engine *engine_open_mem(uint64_t seed);
/* Finishes queued commits, then closes. */
void engine_close(struct engine **engine);
uint32_t engine_shards(const struct engine *engine);
/* Which shard an account lives in; commits of one shard are batched together. */
uint32_t engine_shard_of(const struct engine *engine, struct partition_id part);

/* A draft for this engine's environments; body_draft_new stands on it.  The engine must
 * outlive it. */
struct body_draft *engine_draft_new(struct engine *engine, uint64_t size_max);

/* ---- reading ---- */
/* A reader keeps at most one open read transaction per environment, begun on first use
 * and shared by all snapshots until engine_reader_end. */
struct engine_reader *engine_reader_new(struct engine *engine);
void engine_reader_free(struct engine_reader **reader);
/* Ends the read transactions: all snapshots and slices from them are invalid. */
void engine_reader_end(struct engine_reader *reader);
/* The partition's snapshot in this reader; valid until engine_reader_end. */
enum status engine_snap(struct engine_reader *reader, struct partition_id part,
    struct engine_txn **out) MUST_USE;

/* On a snapshot or inside a commit.  Slices point into the map: valid until
 * engine_reader_end, or inside a commit until its next write. */
enum status engine_get(
    struct engine_txn *txn, struct slice key, struct slice *out_value) MUST_USE;
/* Keys from `from` (included) up to `to` (excluded; null slice: no bound), in order or
 * reversed.  Borrows the slices for the cursor's life. */
struct engine_cursor *engine_cursor_open(
    struct engine_txn *txn, struct slice from, struct slice to, bool reverse);
/* OK, or NOT_FOUND at the end. */
enum status engine_cursor_next(struct engine_cursor *cursor, struct slice *out_key,
    struct slice *out_value) MUST_USE;
/* Moves an ascending cursor to the first key >= `key`; next returns it. */
void engine_cursor_seek(struct engine_cursor *cursor, struct slice key);
void engine_cursor_close(struct engine_cursor **cursor);

/* ---- writing, inside a commit only; status is sticky in the transaction ---- */
void engine_put(struct engine_txn *txn, struct slice key, struct slice value);
void engine_del(struct engine_txn *txn, struct slice key); /* no matter if absent */
/* Deletes the keys of [from, to); returns how many. */
uint64_t engine_del_range(struct engine_txn *txn, struct slice from, struct slice to);
enum status engine_txn_status(const struct engine_txn *txn) MUST_USE;

/* The draft's bytes become a body of this shard (or gain a reference, when an earlier
 * commit attached the same draft here).  The commit must have named the draft. */
enum status engine_body_attach(
    struct engine_txn *txn, struct body_draft *draft, uint64_t *out_body) MUST_USE;
/* One reference more or less; at zero the space is reclaimed later. */
enum status engine_body_ref(struct engine_txn *txn, uint64_t body) MUST_USE;
enum status engine_body_release(struct engine_txn *txn, uint64_t body) MUST_USE;
/* Replaces derived bytes (healing). */
enum status engine_body_set_derived(
    struct engine_txn *txn, uint64_t body, struct slice derived) MUST_USE;

/* Into quarantine, or out of it. */
enum status engine_body_mark(
    struct engine_txn *txn, uint64_t body, bool damaged) MUST_USE;

typedef enum status (*engine_commit_fn)(struct engine_txn *txn, void *arg);
struct engine_commit;
typedef void (*engine_done_fn)(struct engine_commit *commit, enum status status);

struct engine_commit {
	struct mpsc_node node; /* the engine's while queued */
	struct partition_id part;
	engine_commit_fn fn;
	void *arg;
	engine_done_fn done; /* after the commit is durable, or has failed */
	struct body_draft
	    *drafts; /* chain by `next`; null when none; all get placed first */
	bool grows;  /* adds to the store without drafts: FULL when only the reserve is
	              * left, as for drafts */
	enum status status; /* the engine's */
};

/* Queues it; the struct is the engine's until done. */
void engine_submit(struct engine *engine, struct engine_commit *commit);
/* Submits and waits; for the command line and tests. */
enum status engine_commit_wait(struct engine *engine, struct partition_id part,
    engine_commit_fn fn, void *arg, struct body_draft *drafts) MUST_USE;
/* The same for a commit that grows the store without drafts (engine_commit.grows). */
enum status engine_commit_wait_growing(struct engine *engine, struct partition_id part,
    engine_commit_fn fn, void *arg) MUST_USE;

/* ---- bodies, reading ---- */
struct engine_body {
	uint64_t size; /* message octets */
	uint32_t refs;
	uint32_t segment;
	uint64_t offset; /* of what is stored of it */
	uint64_t stored; /* octets there: fewer than size when it is packed */
	uint32_t crc;    /* CRC-32C of the message octets */
	bool damaged;    /* in quarantine: it cannot be opened */
};
enum status engine_body_stat(
    struct engine_txn *txn, uint64_t body, struct engine_body *out) MUST_USE;
enum status engine_body_derived(
    struct engine_txn *txn, uint64_t body, struct slice *out) MUST_USE;
/* Pins the body's file: see store/body.h.  CORRUPT when it is in quarantine. */
enum status engine_body_open(
    struct engine_txn *txn, uint64_t body, struct body_handle *out) MUST_USE;
/* Reads the whole body and compares its checksum: OK, CORRUPT or IO. */
enum status engine_body_verify(struct engine_txn *txn, uint64_t body) MUST_USE;
/* The same for what stands around the body's bytes in its file, which can be made anew
 * (engine_body_mend).  Stale after the body was moved: look in a new snapshot. */
enum status engine_body_frame_verify(struct engine_txn *txn, uint64_t body) MUST_USE;
/* Writes it anew, and the head of the file that the body is in. */
enum status engine_body_mend(struct engine_txn *txn, uint64_t body) MUST_USE;
/* Every body of the environment that the partition lives in. */
enum status engine_body_each(struct engine_txn *txn,
    bool (*fn)(uint64_t id, const struct engine_body *body, void *arg),
    void *arg) MUST_USE;

/* ---- changes ---- */
/* 64-bit version of the partition: +1 per committed change. */
uint64_t engine_version(struct engine_txn *txn);
/* One watcher a process: fn is called on the engine's watcher thread with the slot
 * (engine_watch_slot) of partitions that some process changed; hints may be doubled, and
 * when too many came at once fn gets ENGINE_WATCH_ALL.  Never misses. */
enum { ENGINE_WATCH_SLOTS = 65536, ENGINE_WATCH_ALL = 65536 };
void engine_watch(struct engine *engine, void (*fn)(uint32_t slot, void *arg), void *arg);
uint32_t engine_watch_slot(struct partition_id part);

/* ---- care ---- */
/* Every partition of an area: fn returns false to stop. */
enum status engine_partition_each(struct engine_reader *reader, enum partition_area area,
    bool (*fn)(struct partition_id part, void *arg), void *arg) MUST_USE;
/* Deletes files of segments without live bytes that no process appends to and no reader
 * or backup can need, clears stale readers.  Bounded work; call now and then.  Returns
 * segments deleted. */
uint32_t engine_maintain(struct engine *engine);

struct engine_reclaim {
	uint64_t moved_bodies, moved_bytes; /* copied to another segment */
	uint64_t freed_bytes;               /* of files that are gone or cut */
	uint32_t deleted;                   /* segments */
	uint32_t unreadable; /* segments left as they are, since they cannot be read */
	bool more;           /* the budget ended before the work */
};
/* Moves live bodies out of the segments with the largest dead share until no more than
 * `dead_percent` of the bytes in segments that no process appends to are dead.  Moves
 * `budget` bytes at most (and then what is left of one step); other commits go on
 * meanwhile.  Adds to *out.  FULL without room to move to. */
enum status engine_compact(struct engine *engine, uint64_t budget, uint32_t dead_percent,
    struct engine_reclaim *out) MUST_USE;

/* See store/store_backup.h; INVALID for an engine that keeps nothing on disk. */
struct store_backup_options;
struct store_backup_totals;
enum status engine_backup(struct engine *engine, const char *dir,
    const struct store_backup_options *options, struct store_backup_totals *out,
    char **error) MUST_USE;

struct engine_space {
	uint64_t segments;
	uint64_t file_bytes;    /* of segments */
	uint64_t live_bytes;    /* of them, of bodies that have references */
	uint64_t growing_bytes; /* of them, in segments that a process appends to */
	uint64_t index_bytes;   /* of the environments' data files */
	uint64_t retired;       /* files that wait for readers or a backup */
};
enum status engine_space(struct engine *engine, struct engine_space *out) MUST_USE;
/* The engine's own invariants (body counts against segments, files there, sizes). */
enum status engine_check(struct engine *engine,
    void (*report)(const char *problem, void *arg), void *arg) MUST_USE;

struct engine_stats {
	uint64_t commits, batches, syncs, body_bytes; /* of this process */
	uint64_t moved_bytes;                         /* by compaction */
	uint64_t readers_cleared; /* slots of processes that have died */
	uint64_t oldest_reader_age_ms;
};
void engine_stats(const struct engine *engine, struct engine_stats *out);

#endif
