/*
 * Private to engine_lmdb*.c: one environment (an LMDB environment with its folder of
 * segment files), its transactions, segments and pins.
 *
 * On disk, below the store's path:
 *
 *	superblock               format, shard count, installation id
 *(engine_lmdb_superblock.c) watch.map                change hints (engine_watch.c) spool/
 *spilled drafts, unnamed files directory/ queue/ shard-NN/ data.mdb lock.mdb
 *		bodies/NNNNNNNN.seg   segments (body_frame.h); hexadecimal ids
 *
 * Databases of an environment; integers big-endian:
 *
 *	kv       partition id 16 + key          -> value
 *	body     body id u64                    -> segment u32, offset u64 (of the frame),
 *	                                           size u64, refs u32, crc u32, start u32
 *	                                           (of the bytes in the frame), and when
 *	                                           it has some: flags u8, and with
 *	                                           PACKED of the message: size u64,
 *	                                           crc u32
 *	derived  body id u64                    -> derived record
 *	redo     body id u64                    -> bytes of a body whose segment is not
 *synced moved    segment u32, offset / 8 u32    -> body id u64, of bodies that compaction
 *	                                           has moved there
 *	seg      segment u32                    -> live bytes u64, end u64
 *	meta     "format" u32, "installation" 16 bytes, "next_segment" u32
 *
 * A body id is segment << 32 | offset / 8 of where it was first: known when the frame is
 * written, never used twice, and sorted by segment.
 *
 * Lock order: LMDB's write lock, then pin_lock.  The gate (below) is held for no longer
 * than counting.
 */
#ifndef STORE_ENGINE_LMDB_INT_H
#define STORE_ENGINE_LMDB_INT_H

#include <lmdb.h>

#include "base/buf.h"
#include "store/engine_int.h"

enum {
	LMDB_FORMAT = 1,
	LMDB_READERS_MAX = 1024, /* slots; one a reader and environment, all processes */
	LMDB_DELTAS_MAX = 64,    /* segments whose counters one transaction keeps apart */
	LMDB_PINS_IDLE_MAX = 64, /* mapped segments without a handle, an environment */
	LMDB_PIN_IDLE_MS = 30000,
	LMDB_PIN_BUCKETS = 64,
	LMDB_SEGMENT_RESERVE = 16, /* ids taken at once */
	LMDB_RETIRED_MAX = 256,    /* files that wait to be deleted, an environment */
	LMDB_GATE_WAIT_MS = 2000,  /* for the transactions of others to end, to remap */
	LMDB_REDO_BATCH_MAX = 64,  /* drafts of a batch that is not synced */
	LMDB_REDO_BATCH_BYTES = 1024 * 1024, /* their bytes */
	LMDB_REDO_WAITING_MAX = 256, /* drafts not synced, a process and environment */
	LMDB_REDO_RANGES_MAX = 8,
	LMDB_INSTALLATION_SIZE = 16,
	LMDB_PATH_MAX = 4096,
};

struct lmdb_env;

enum lmdb_room {
	LMDB_ROOM_ENOUGH,
	LMDB_ROOM_DISK_LOW,
	LMDB_ROOM_MAP_LOW,
	LMDB_ROOM_SHARE_LOW, /* store.min_free */
};

/* Segment ids that were taken and are not used yet. */
struct segment_ids {
	uint32_t next, end;
};

/* Bodies from..to - 1 whose redo entries are no longer needed. */
struct redo_range {
	uint64_t from, to;
};

/* A segment that no snapshot from `txn` on refers to. */
struct lmdb_retired {
	uint32_t segment;
	uint64_t txn;
};

/* A segment file that this process appends to.  Its shared lock says to others that it
 * is not to be deleted; it ends with the last reference: the environment's (while it is
 * the current one) and those of drafts' places. */
struct engine_segment {
	_Atomic uint32_t holders;
	uint32_t id;
	int fd;
	uint64_t end;       /* where the next frame goes */
	uint64_t capacity;  /* bytes */
	uint64_t allocated; /* bytes of the file that exist ahead of `end` */
	uint64_t synced; /* bytes from the start that a sync has covered; 0: none yet */
};

/* What a write transaction changes in a segment's counters. */
struct segment_delta {
	uint32_t segment;
	int64_t live;
	uint64_t end;
};

struct lmdb_txn {
	struct engine_txn txn;
	MDB_txn *mdb;
	struct lmdb_txn *next; /* of a reader's */
};

/* A mapped segment; counted by handles, kept a while after the last. */
struct lmdb_pin {
	struct engine_pin pin;
	struct lmdb_env *env;
	struct list by_bucket;
	struct list idle; /* linked when handles == 0, oldest first */
	uint32_t segment;
	uint32_t handles;
	bool stale; /* replaced by a larger mapping: goes with its last handle */
	int fd;
	char *map;
	uint64_t map_size;
	uint64_t file_size; /* as last seen */
	uint64_t idle_since_ms;
};

struct lmdb_env {
	struct engine_env env;
	struct lmdb_engine *engine;
	char *path;
	int bodies_fd; /* the folder of segments */
	MDB_env *mdb;
	MDB_dbi kv, body, derived, moved, seg, meta, redo;
	dev_t dev; /* identity of the folder, for the list of open ones */
	ino_t ino;

	/* Lets a remap wait until no transaction of this process is open. */
	pthread_mutex_t gate_lock;
	pthread_cond_t gate_changed;
	uint32_t gate_inside;
	bool gate_closed;

	/* the writer's: */
	struct lmdb_txn write;
	struct segment_delta deltas[LMDB_DELTAS_MAX];
	size_t delta_count;
	struct engine_segment *current;
	struct segment_ids ids;
	size_t redo_waiting; /* drafts placed and not synced; the placing thread's */
	struct redo_range redo_clearing; /* the committing thread's */
	pthread_mutex_t redo_lock;       /* guards: */
	struct redo_range redo_done[LMDB_REDO_RANGES_MAX];
	size_t redo_done_count;
	/* engine_lmdb_room.c's, under place_lock: */
	enum lmdb_room room;
	uint64_t room_end; /* bytes of data.mdb that have blocks */
	uint64_t room_checked_ms, share_checked_ms;
	atomic_bool read_only;            /* the last write was refused so */
	_Atomic uint64_t readers_said_ms; /* when the log was told of a full table */
	_Atomic uint32_t current_id;      /* of `current`; 0: none */
	_Atomic uint32_t rotate_id;       /* the segment that is not to be appended to */

	pthread_mutex_t reclaim_lock;     /* taken before LMDB's write lock; guards: */
	struct engine_segment *compacted; /* takes moved bodies */
	struct segment_ids compact_ids;
	struct lmdb_retired retired[LMDB_RETIRED_MAX];
	size_t retired_count;

	pthread_mutex_t pin_lock;
	struct list pins[LMDB_PIN_BUCKETS];
	struct list pins_idle;
	uint32_t pins_idle_count;
};

struct lmdb_engine {
	struct engine engine;
	char *path;
	uint64_t map_size;
	uint64_t segment_size;
	uint32_t min_free_percent;
	bool sync;
	unsigned char installation[LMDB_INSTALLATION_SIZE];
	pthread_mutex_t readers_lock;
	struct list readers;
	struct lmdb_env envs[ENGINE_ENVS_MAX];
};

struct lmdb_reader {
	struct engine_reader reader;
	struct list node; /* in lmdb_engine.readers */
	struct lmdb_txn *used, *spare;
	MDB_txn *txns[ENGINE_ENVS_MAX];
	bool open[ENGINE_ENVS_MAX];
	_Atomic uint64_t begin_ms[ENGINE_ENVS_MAX]; /* 0: not open */
};

enum {
	BODY_RECORD_DAMAGED = 1 << 0,
	BODY_RECORD_PACKED = 1 << 1,
};

/* A record of `body`, decoded. */
struct body_record {
	uint32_t segment;
	uint64_t offset; /* of the frame */
	uint64_t size;   /* of what the frame holds */
	uint32_t refs;
	uint32_t crc;
	uint32_t start; /* of the first message byte, from the frame's begin */
	uint8_t flags;  /* BODY_RECORD_* */
	/* The message's, when PACKED: */
	uint64_t raw_size;
	uint32_t raw_crc;
};

struct segment_record {
	uint64_t live;
	uint64_t end;
};

/* engine_lmdb_env.c */
enum status lmdb_status(int rc);
/* Logs and aborts: the disk has not kept what it promised. */
_Noreturn void lmdb_fatal(const char *what, int err);
enum status lmdb_env_open(
    struct lmdb_env *env, const char *name, bool create, char **error);
void lmdb_env_close(struct lmdb_env *env);
/* mdb_txn_begin, or mdb_txn_renew when *txn is not null, with a remap when another
 * process has grown the map.  Each success is paired with lmdb_txn_leave. */
enum status lmdb_txn_enter(struct lmdb_env *env, unsigned flags, MDB_txn **txn);
void lmdb_txn_leave(struct lmdb_env *env);
/* The map stays where it is until lmdb_txn_leave. */
void lmdb_gate_enter(struct lmdb_env *env);
/* Tells the log when the file system has become read-only, or writable again. */
void lmdb_writable_say(struct lmdb_env *env, bool writable);
/* OK, FULL or READ_ONLY; all else may be a failed sync and ends the process. */
enum status lmdb_txn_commit(struct lmdb_env *env, MDB_txn *txn);
uint64_t lmdb_env_last_txn(struct engine_env *env);
/* Sets *error to a formatted line; the caller frees it. */
void lmdb_error(char **error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* engine_lmdb_txn.c */
struct engine_reader *lmdb_reader_new(struct engine *engine);
void lmdb_reader_free(struct engine_reader *reader);
void lmdb_reader_end(struct engine_reader *reader);
enum status lmdb_snap(struct engine_reader *reader, struct engine_env *env,
    struct partition_id part, struct engine_txn **out);
uint64_t lmdb_oldest_reader_age_ms(const struct engine *engine);
enum status lmdb_get(struct engine_txn *txn, struct slice full, struct slice *out);
enum status lmdb_put(struct engine_txn *txn, struct slice full, struct slice value);
enum status lmdb_del(struct engine_txn *txn, struct slice full);
enum status lmdb_raw_open(struct engine_txn *txn, void **out);
enum status lmdb_raw_move(void *raw, enum raw_move move, struct slice full,
    struct slice *out_full, struct slice *out_value);
void lmdb_raw_close(void *raw);
enum status lmdb_begin(struct engine_env *env, struct engine_txn **out);
void lmdb_abort(struct engine_env *env);
enum status lmdb_commit(struct engine_env *env);

/* engine_lmdb_redo.c; see its head */
/* May this batch go without a sync of its segment? */
bool redo_defers(const struct lmdb_env *env, size_t drafts, uint64_t bytes);
/* The current segment has just been synced to its end. */
void redo_synced(struct lmdb_env *env);
enum status redo_put(
    struct lmdb_env *env, MDB_txn *mdb, uint64_t body, struct slice bytes);
/* Deletes entries that syncs have covered; after the commit tell redo_cleared. */
enum status redo_clear(struct lmdb_env *env, MDB_txn *mdb, size_t *out_count);
void redo_cleared(struct lmdb_env *env, size_t count);
/* After a crash; returns LMDB's code. */
int redo_recover(struct lmdb_env *env);

/* engine_lmdb_body.c */
enum status lmdb_body_attach(
    struct engine_txn *txn, struct body_draft *draft, uint64_t *out_body);
enum status lmdb_body_count(struct engine_txn *txn, uint64_t body, int delta);
enum status lmdb_body_set_derived(
    struct engine_txn *txn, uint64_t body, struct slice derived);
enum status lmdb_body_stat(
    struct engine_txn *txn, uint64_t body, struct engine_body *out);
enum status lmdb_body_derived(struct engine_txn *txn, uint64_t body, struct slice *out);
enum status lmdb_body_open(
    struct engine_txn *txn, uint64_t body, bool even_damaged, struct body_handle *out);
enum status lmdb_body_mark(struct engine_txn *txn, uint64_t body, bool damaged);
enum status lmdb_body_frame(struct engine_txn *txn, uint64_t body, bool mend);
enum status lmdb_body_each(struct engine_txn *txn,
    bool (*fn)(uint64_t id, const struct engine_body *body, void *arg), void *arg);
/* Writes the counters that the write transaction changed. */
enum status lmdb_deltas_flush(struct lmdb_env *env);
enum status body_record_get(
    struct lmdb_env *env, MDB_txn *mdb, uint64_t body, struct body_record *out);
enum status body_record_put(
    struct lmdb_env *env, MDB_txn *mdb, uint64_t body, const struct body_record *record);
/* Takes the body's place out of `moved` when it is there. */
enum status body_moved_del(
    struct lmdb_env *env, MDB_txn *mdb, uint64_t body, const struct body_record *record);
/* Takes the derived records of the bodies out and puts them back in the order given: LMDB
 * joins pages only when they are three quarters empty, so where most bodies have gone
 * the records of the others stand apart (decision 0141). */
enum status derived_repack(
    struct lmdb_env *env, MDB_txn *mdb, const uint64_t *bodies, size_t count);
/* Adds to the segment's counters. */
enum status segment_record_add(
    struct lmdb_env *env, MDB_txn *mdb, const struct segment_delta *delta);
bool body_record_decode(struct slice value, struct body_record *out);
bool segment_record_decode(struct slice value, struct segment_record *out);
/* Bytes that a body of that size counts for in its segment. */
uint64_t body_live_bytes(uint64_t size);

/* engine_lmdb_place.c */
void lmdb_place(struct engine_env *env, struct engine_commit **commits, size_t count);
enum status segment_id_take(struct lmdb_env *env, struct segment_ids *ids, uint32_t *out);
void lmdb_place_release(struct body_place *place);

/* engine_lmdb_room.c */
/* Is new mail to be refused?  Keeps the reserve. */
bool lmdb_room_is_low(struct lmdb_env *env);
/* Could data.mdb take more blocks? */
bool lmdb_file_can_grow(struct lmdb_env *env);

/* engine_lmdb_segment.c */
void segment_name(uint32_t id, char out[16]);
/* The id of a segment's file name; 0 when it is not one. */
uint32_t segment_name_parse(const char *name);
/* A new file with room for `frame` bytes, in place and locked, its folder synced. */
enum status segment_create(
    struct lmdb_env *env, uint32_t id, uint64_t frame, struct engine_segment **out);
/* Makes sure that the file's blocks exist up to `end`. */
enum status segment_allocate(struct engine_segment *segment, uint64_t end);
void segment_unref(struct engine_segment **segment);
void segment_dir_sync(struct lmdb_env *env);
enum status pin_open(
    struct lmdb_env *env, uint32_t segment, uint64_t end, struct lmdb_pin **out);
/* Closes pins that were idle for LMDB_PIN_IDLE_MS; all idle ones when `all`. */
void pins_trim(struct lmdb_env *env, bool all);

/* engine_lmdb_reclaim.c */
uint32_t lmdb_maintain(struct engine *engine);
void lmdb_tick(struct engine *engine);
/* The transaction number of the oldest open snapshot of any process; UINT64_MAX: none. */
uint64_t lmdb_oldest_snapshot(struct lmdb_env *env);
/* Its file is to go, as soon as no reader can need it. */
bool segment_is_retired(const struct lmdb_env *env, uint32_t segment);
/* Nothing refers to the segment from transaction `txn` on.  No room: a later call finds
 * the file without a record. */
void retired_add(struct lmdb_env *env, uint32_t segment, uint64_t txn);
/* Deletes the files that may go now; adds their bytes. */
uint32_t retired_unlink(struct lmdb_env *env, uint64_t *freed);
MDB_val segment_key(char out[4], uint32_t segment);
/* Whether the record says that nothing is in the segment (or there is none). */
enum status segment_is_dead(
    struct lmdb_env *env, MDB_txn *txn, uint32_t id, bool *out_dead, bool *out_recorded);
/* Opens the file, locked for us alone; -1 when that cannot be. */
int segment_lock(struct lmdb_env *env, const char *name, int flags);

/* engine_lmdb_compact.c */
enum status lmdb_compact(struct engine *engine, uint64_t budget, uint32_t dead_percent,
    struct engine_reclaim *out);
enum status lmdb_space(struct engine *engine, struct engine_space *out);

/* engine_lmdb_backup.c */
enum status lmdb_backup(struct engine *engine, const char *dir,
    const struct store_backup_options *options, struct store_backup_totals *out,
    char **error);

/* engine_lmdb_care.c */
enum status lmdb_check(
    struct engine *engine, void (*report)(const char *problem, void *arg), void *arg);

/* ---- engine_lmdb_superblock.c ---- */
struct superblock {
	unsigned format;
	uint32_t shards;
	unsigned char installation[LMDB_INSTALLATION_SIZE];
};
/* The text of one, NUL behind it; `path` is for *error. */
bool superblock_parse(
    const char *path, const char *text, struct superblock *out, char **error);
/* NOT_FOUND when there is none; CORRUPT, with *error, when it is damaged or newer. */
enum status superblock_read(
    int dir_fd, const char *path, struct superblock *out, char **error) MUST_USE;
/* In today's format, whole or not at all, synced. */
enum status superblock_write(int dir_fd, const struct superblock *superblock) MUST_USE;

#endif
