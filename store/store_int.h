/*
 * Private to store/: the store's and the readers' structs, and the plumbing that every op
 * goes through.
 *
 * An op's way: x_submit (reader's thread) builds a state struct that begins with a
 * store_op_state -> engine_submit -> the commit function runs on the shard's writer
 * thread, maybe more than once -> done (writer thread) -> reader->post -> op_complete on
 * the reader's thread: reader's transactions end, the state is freed, op->done is called.
 *
 * Rules for commit functions: pure in (txn, op); outputs are set anew in each run; check
 * everything before the first write, since failing late makes the engine run the whole
 * batch again.
 */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include <pthread.h>

#include "base/ensure.h"
#include "store/engine.h"
#include "store/store.h"

enum {
	STORE_WATCH_BUCKETS = 1024,
	STORE_MAGIC = 0x53746f72,
	STORE_READER_MAGIC = 0x53745264,
	STORE_OP_MAGIC = 0x53744f70,
	STORE_OP_BYTES_MAX = 256 * 1024 * 1024, /* what one commit function may gather */
};

struct store {
	unsigned magic;
	struct engine *engine;
	char *path; /* null for the memory engine */
	uint32_t undelete_days;
	_Atomic unsigned pop3_days; /* pop3_rule_default_set; 0: keep */
	/* store_watch.c: */
	pthread_mutex_t watch_mutex;
	struct list watches[STORE_WATCH_BUCKETS]; /* by slot; guarded by watch_mutex */
	bool watching;                            /* engine_watch was called */
	/* store_maintain.c: where the next call goes on; guarded by maintain_mutex */
	pthread_mutex_t maintain_mutex;
	uint64_t maintain_at; /* partitions looked at in this round */
};

struct store_reader {
	unsigned magic;
	struct store *store;
	struct engine_reader *engine;
	store_post_fn post; /* null: run to the end inside submit */
	void *post_arg;
	_Atomic unsigned ops; /* under way */
};

/* For body_draft.c: where drafts spill to.  The path is null with the memory engine. */
static inline struct engine *
store_engine(struct store *store)
{
	return store->engine;
}

static inline const char *
store_path(const struct store *store)
{
	return store->path;
}

/* The first member of every op's private state. */
struct store_op_state {
	unsigned magic;
	struct store_op *op;
	struct engine_commit commit;
	struct body_draft *drafts; /* referenced until completion */
	int64_t now_s; /* wall time at submit: commit functions ask no clock */
	uint32_t undelete_days;
	/* Frees what the state holds (not the state); may be null. */
	void (*release)(struct store_op_state *state);
	/* Only with reader->post == NULL: */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool finished;
};

/* A zeroed state of `size` bytes for an op. */
void *op_state_new(struct store_reader *reader, struct store_op *op, size_t size);
/* Submits the state's one commit. */
void op_submit(
    struct store_op_state *state, struct partition_id part, engine_commit_fn fn);
/* Fails it before any commit: op->done is still called by way of the loop. */
void op_refuse(struct store_op_state *state, enum status status);
/* For ops of several commits: submit them by engine_submit, call op_finished from the
 * last one's done function, and op_wait at the end of submit. */
void op_finished(struct store_op_state *state, enum status status);
void op_wait(struct store_op_state *state);

/* An output array in op->arena that is kept over re-runs and grows when a later run needs
 * more.  LIMIT when the arena has no room: return that before writing anything. */
struct op_array {
	void *ptr;
	size_t room; /* elements */
};
enum status op_array_fit(
    struct store_op *op, struct op_array *array, size_t size, size_t count) MUST_USE;

/* A growable array of the writer's own, kept over re-runs. */
struct vec {
	void *ptr;
	size_t count;
	size_t room;
};
/* Room for one more element of `size` bytes at the end; null past STORE_OP_BYTES_MAX. */
void *vec_push(struct vec *vec, size_t size);
void vec_fini(struct vec *vec);

/* A commit that the caller waits for (command line). */
enum status store_commit_wait(struct store_reader *reader, struct partition_id part,
    engine_commit_fn fn, void *arg) MUST_USE;

struct partition_id partition_directory(void);
struct partition_id partition_queue(void);
static inline struct partition_id
partition_account(struct account_id account)
{
	struct partition_id part;
	memcpy(part.v, account.v, sizeof(part.v));
	return part;
}

#endif
