/*
 * Private to the engine: the table of calls that an engine implements, the writer that
 * both engines share (engine_writer.c), and the change hints (engine_watch.c).
 *
 * engine.c is the generic half: it checks sizes, keeps the sticky status, walks cursors
 * inside a partition's bounds and counts versions; what is below `struct engine_ops`
 * knows only ordered bytes, bodies and one write transaction at a time.
 *
 * Keys below the table are "full": 16 bytes of partition id, then the key.  The key of
 * one NUL byte is the partition's version; keys of callers never begin with NUL.
 */
#ifndef STORE_ENGINE_INT_H
#define STORE_ENGINE_INT_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/ensure.h"
#include "store/body_int.h"
#include "store/engine.h"

enum {
	ENGINE_ENV_DIRECTORY = 0,
	ENGINE_ENV_QUEUE = 1,
	ENGINE_ENV_SHARD = 2, /* the first of them */
	ENGINE_FULL_KEY_MAX = 16 + ENGINE_KEY_MAX,
	ENGINE_BATCH_BODY_BYTES = 32 * 1024 * 1024, /* of new bodies in one batch */
	/* Of new bodies: less is not placed ahead of the commit before. */
	ENGINE_BATCH_SMALL_BYTES = 512 * 1024,
	ENGINE_GATHER_POLL_US = 50,
	ENGINE_GATHER_POLLS_MAX = 20,     /* 1 ms in all */
	ENGINE_GATHER_POLLS_IDLE_MAX = 2, /* without anything new */
};

#define ENGINE_MAGIC     0x454e4731u
#define ENGINE_TXN_MAGIC 0x4554584eu

struct engine_ops;
struct engine_env;

struct engine {
	unsigned magic;
	const struct engine_ops *ops;
	uint32_t shards;
	struct engine_watcher *watcher;
	bool packs;  /* new bodies are compressed where it pays */
	char *spool; /* folder of spilled drafts; null: drafts stay in memory */
	_Atomic uint64_t commits, batches, syncs, body_bytes;
	_Atomic uint64_t moved_bytes, readers_cleared;
	struct engine_env *envs[ENGINE_ENVS_MAX]; /* 2 + shards */
};

enum { WRITER_THREADS = 2 };

struct engine_writer {
	struct mpsc queue;
	sem_t wake;
	pthread_mutex_t start_lock;
	atomic_bool started;
	atomic_bool stop;
	pthread_t threads[WRITER_THREADS];
	pthread_mutex_t place_lock; /* taken first */
	pthread_mutex_t
	    commit_lock; /* taken before place_lock is let go: keeps the order */
	/* with place_lock: */
	struct mpsc_node *pending, *pending_tail; /* taken, not yet in a batch */
	size_t pending_count;
	size_t expected; /* commits that are likely to come together */
};

/* The first member of each engine's environment. */
struct engine_env {
	struct engine *engine;
	uint32_t index;
	struct engine_writer writer;
};

/* What a body handle holds: the first member of each engine's pin. */
struct engine_pin {
	void (*ref)(struct engine_pin *pin); /* one handle more */
	void (*close)(struct engine_pin *pin);
};

/* The first member of each engine's reader. */
struct engine_reader {
	struct engine *engine;
};

/* The first member of each engine's transaction. */
struct engine_txn {
	unsigned magic;
	struct engine *engine;
	struct engine_env *env;
	struct partition_id part;
	bool writable;
	enum status status;    /* sticky */
	uint64_t writes;       /* since the write transaction began */
	uint64_t writes_start; /* when this commit's function began */
	uint32_t cursors_open;
};

enum raw_move {
	RAW_AT_OR_AFTER, /* the first key >= the given one */
	RAW_BEFORE,      /* the last key < the given one */
	RAW_NEXT,
	RAW_PREV,
};

struct engine_ops {
	void (*close)(struct engine *engine);

	struct engine_reader *(*reader_new)(struct engine *engine);
	void (*reader_free)(struct engine_reader *reader);
	void (*reader_end)(struct engine_reader *reader);
	enum status (*snap)(struct engine_reader *reader, struct engine_env *env,
	    struct partition_id part, struct engine_txn **out);

	enum status (*get)(struct engine_txn *txn, struct slice full, struct slice *out);
	enum status (*put)(struct engine_txn *txn, struct slice full, struct slice value);
	/* NOT_FOUND when it was not there. */
	enum status (*del)(struct engine_txn *txn, struct slice full);
	enum status (*raw_open)(struct engine_txn *txn, void **out);
	enum status (*raw_move)(void *raw, enum raw_move move, struct slice full,
	    struct slice *out_full, struct slice *out_value);
	void (*raw_close)(void *raw);

	enum status (*body_attach)(
	    struct engine_txn *txn, struct body_draft *draft, uint64_t *out_body);
	/* delta is 1 or -1. */
	enum status (*body_count)(struct engine_txn *txn, uint64_t body, int delta);
	enum status (*body_set_derived)(
	    struct engine_txn *txn, uint64_t body, struct slice derived);
	enum status (*body_stat)(
	    struct engine_txn *txn, uint64_t body, struct engine_body *out);
	enum status (*body_derived)(
	    struct engine_txn *txn, uint64_t body, struct slice *out);
	/* One in quarantine only with `even_damaged`. */
	enum status (*body_open)(struct engine_txn *txn, uint64_t body, bool even_damaged,
	    struct body_handle *out);
	enum status (*body_mark)(struct engine_txn *txn, uint64_t body, bool damaged);
	/* The head of the body's file and the frame around its bytes; with `mend` they
	 * are written anew.  Null: there is none. */
	enum status (*body_frame)(struct engine_txn *txn, uint64_t body, bool mend);
	enum status (*body_each)(struct engine_txn *txn,
	    bool (*fn)(uint64_t id, const struct engine_body *body, void *arg),
	    void *arg);

	/* A draft that goes lets its place go; any thread. */
	void (*place_release)(struct body_place *place);
	/* The writer's: place the drafts of the commits (a failed one gets its status
	 * set), then one write transaction. */
	void (*place)(
	    struct engine_env *env, struct engine_commit **commits, size_t count);
	enum status (*begin)(struct engine_env *env, struct engine_txn **out);
	void (*abort)(struct engine_env *env);
	enum status (*commit)(struct engine_env *env);
	/* Whether to give a transaction that went well up once more (injected). */
	bool (*inject_rerun)(struct engine_env *env);

	uint32_t (*maintain)(struct engine *engine);
	/* These may be null: nothing to do. */
	enum status (*compact)(struct engine *engine, uint64_t budget,
	    uint32_t dead_percent, struct engine_reclaim *out);
	enum status (*space)(struct engine *engine, struct engine_space *out);
	enum status (*backup)(struct engine *engine, const char *dir,
	    const struct store_backup_options *options, struct store_backup_totals *out,
	    char **error);
	/* About once a second, on the watcher's thread. */
	void (*tick)(struct engine *engine);
	enum status (*check)(struct engine *engine,
	    void (*report)(const char *problem, void *arg), void *arg);
	uint64_t (*oldest_reader_age_ms)(const struct engine *engine);
	/* Counts committed write transactions of all processes; 0: not known. */
	uint64_t (*env_last_txn)(struct engine_env *env);
};

/* engine.c */
struct engine_env *engine_env_of(const struct engine *engine, struct partition_id part);
void engine_init(struct engine *engine, const struct engine_ops *ops, uint32_t shards);
void engine_txn_init(struct engine_txn *txn, struct engine_env *env, bool writable);
/* Ends the commit function's run: bumps the partition's version when it wrote. */
void engine_txn_version_bump(struct engine_txn *txn);
struct slice engine_full_key(char *out, struct partition_id part, struct slice key);

/* engine_writer.c */
void engine_writer_init(struct engine_writer *writer);
void engine_writer_submit(struct engine_env *env, struct engine_commit *commit);
/* Runs what is queued, then ends the thread. */
void engine_writer_fini(struct engine_env *env);
void engine_thread_start(
    pthread_t *thread, const char *name, void *(*fn)(void *), void *arg);

/* engine_watch.c */
/* `path` null: hints within this process only. */
enum status engine_watcher_open(
    struct engine *engine, const char *path, struct engine_watcher **out) MUST_USE;
void engine_watcher_close(struct engine_watcher **watcher);
/* Tells every process; `txn_id` is the environment's count (engine_ops.env_last_txn) that
 * the hints cover. */
void engine_watcher_publish(struct engine_watcher *watcher, uint32_t env_index,
    uint64_t txn_id, const uint32_t *slots, size_t count);
void engine_watcher_start(
    struct engine_watcher *watcher, void (*fn)(uint32_t slot, void *arg), void *arg);

#endif
