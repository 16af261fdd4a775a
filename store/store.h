/*
 * The mailbox store's public contract: open, readers, ops.  The rest of it is in
 * store/body.h, store/directory.h, store/mailbox.h, store/message.h, store/queue.h and
 * store/check.h.  Daemons include these and nothing else of store/.
 *
 * Reading: each loop thread has a store_reader; its read transactions begin on first use
 * and end with the loop's turn (store_reader_end, called from a turn-end hook).  Slices
 * that a read function returns are valid until then.
 *
 * Writing: a caller fills an op struct (the first member is a struct store_op) in memory
 * that it owns, submits it, and gets op->done called on its loop when the commit is
 * durable or has failed.  Nothing in the struct may be touched in between.  A positive
 * reply to a client is written only in done.  Before done is called the reader's read
 * transactions are ended, so that what done reads includes what was committed.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/arena.h"
#include "base/status.h"
#include "store/body.h"

struct store;
struct store_reader;

struct account_id {
	unsigned char v[16];
};

/* What an account may hold; 0: no limit. */
struct account_quota {
	uint64_t bytes;
	uint64_t messages;
};

struct store_options {
	const char *path;
	uint64_t map_size;
	uint32_t shards;
	bool create;
	bool sync;
	bool compress; /* new messages, where it pays (store/body_pack.h) */
	uint32_t min_free_percent;
	uint32_t undelete_days;
};

/* *error: one line, caller frees, set on failure. */
enum status store_open(
    const struct store_options *options, struct store **out, char **error) MUST_USE;
/* Over engine_mem; for tests. */
struct store *store_open_mem(uint64_t seed);
void store_close(struct store **store);

typedef void (*store_post_fn)(void *post_arg, void (*fn)(void *), void *arg);

/* `post` brings completions to the reader's thread (loop_post); null: ops of this reader
 * are run to their end inside submit (command line, tests). */
struct store_reader *store_reader_new(
    struct store *store, store_post_fn post, void *post_arg);
/* No op of it may be under way. */
void store_reader_free(struct store_reader **reader);
void store_reader_end(struct store_reader *reader);
struct store *store_reader_store(struct store_reader *reader);

struct store_op;
typedef void (*store_done_fn)(struct store_op *op);

struct store_op {
	store_done_fn
	    done;   /* set by the caller; op->status and the op's outputs are set */
	void *user; /* the caller's */
	struct arena
	    *arena; /* outputs are allocated here; the caller's, lent until done */
	enum status status;
	/* the store's: */
	struct store_reader *reader;
	struct store_op_state *state;
};

/* ---- change hints ---- */
struct store_watch;
/* fn(arg) on the reader's thread some time after any process has changed the account;
 * may come doubled or for nothing, never misses.  Ask the modseq what is new. */
struct store_watch *store_watch_new(struct store_reader *reader,
    struct account_id account, void (*fn)(void *arg), void *arg);
void store_watch_free(struct store_watch **watch);
/* The same for the directory: accounts, domains, who shares with whom. */
struct store_watch *store_watch_directory(
    struct store_reader *reader, void (*fn)(void *arg), void *arg);
/* The same for the outbound queue. */
struct store_watch *store_watch_queue(
    struct store_reader *reader, void (*fn)(void *arg), void *arg);

/* Reclaims space: purges what was expunged more than undelete_days ago, drops empty
 * segments, clears stale readers.  Bounded work per call, from any one thread; true when
 * there is more to do. */
bool store_maintain(struct store *store, int64_t now_s);

#endif
