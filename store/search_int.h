/*
 * Shared by the files of the search index: records, changes, the batch that is being
 * indexed.  Private to store/ and its tests.
 *
 * Every change of an account's index is one commit that says which sequence number it
 * was made for and fails with CONFLICT when another one came between (two processes that
 * index at once do no harm, they only waste work).
 */
#ifndef STORE_SEARCH_INT_H
#define STORE_SEARCH_INT_H

#include "store/mailbox_int.h"
#include "store/search_page_int.h"

enum {
	SEARCH_SEGMENTS_MAX = 32,   /* of a block */
	SEARCH_SEGMENTS_MERGE = 12, /* with so many a block's segments become one */
	SEARCH_BATCH_BLOCKS = 64,   /* blocks that one batch may touch */
	SEARCH_RECORD_MAX = SEARCH_RECORD_SEGMENTS +
	                    SEARCH_SEGMENTS_MAX * SEARCH_SEGMENT_SIZE +
	                    2 * SEARCH_POSTING_MAX, /* bytes */
	SEARCH_OTHER_KEYS = 4096, /* hashes of trigrams in SEARCH_OTHER */
};

/* Keys: class number << 24 and the trigram; in SEARCH_OTHER a hash of it. */
static inline uint32_t
search_key(unsigned class, uint32_t trigram)
{
	if (1u << class == SEARCH_OTHER)
		trigram = (trigram * 0x9e3779b1u) >> 20;
	return (uint32_t) class << 24 | trigram;
}

struct search_state {
	uint64_t sequence;
	uint64_t documents, pages, text_bytes, removed;
	uint64_t email_id, bytes;
	int64_t swept_s;
};
void search_state_encode(const struct search_state *state, char out[SEARCH_STATE_SIZE]);
bool search_state_decode(struct slice record, struct search_state *out);
/* Zeros when there is none; CORRUPT. */
enum status search_state_load(struct engine_txn *txn, struct search_state *out) MUST_USE;

struct search_segment {
	uint16_t id;
	uint16_t first; /* document; a multiple of 64 */
	uint16_t span;
	uint32_t pages;
};
struct search_record {
	uint16_t next_id;
	unsigned segment_count;
	struct search_segment segments[SEARCH_SEGMENTS_MAX];
	struct search_bits covered;
	struct search_bits always; /* of them: may hold anything */
};
/* Returns the record's length. */
size_t search_record_encode(
    const struct search_record *record, char out[SEARCH_RECORD_MAX]);
bool search_record_decode(struct slice bytes, struct search_record *out);
/* NOT_FOUND gives an empty one and OK; CORRUPT. */
enum status search_record_load(
    struct engine_txn *txn, uint32_t block, struct search_record *out) MUST_USE;

void key_search_block(struct key *key, uint32_t block);
void key_search_page(struct key *key, uint32_t block, uint16_t segment, uint32_t last);
bool key_search_page_decode(
    struct slice key, uint32_t *out_block, uint16_t *out_segment, uint32_t *out_last);

/* ---- a change (search_change.c) ---- */
struct search_block_change {
	uint32_t block;
	uint16_t gone[SEARCH_SEGMENTS_MAX]; /* segments that the new one replaces */
	unsigned gone_count;
	bool has_keep; /* documents that are not in `keep` are no longer covered */
	struct search_bits keep;
	struct search_bits add;        /* covered from now on */
	struct search_bits always;     /* of them */
	uint16_t first, span;          /* of the new segment */
	size_t page_first, page_count; /* its pages in the list; none: no segment */
};
struct search_progress {
	uint32_t mailbox;
	uint32_t uid;
	bool gone; /* the mailbox is: its key goes too */
};
struct search_change {
	uint64_t sequence; /* what the state has to say */
	const struct search_pages *pages;
	struct search_block_change *blocks;
	size_t block_count;
	const struct search_progress *progress;
	size_t progress_count;
	uint64_t text_bytes; /* of what is added */
	bool complete;       /* then: */
	uint64_t email_id, bytes;
	bool swept;
	int64_t swept_s;
};
/* CONFLICT: look again.  Waits for the commit; ends the reader's snapshot. */
enum status search_change_commit(struct store_reader *reader, struct account_id account,
    struct search_change *change) MUST_USE;

/* Drops a damaged block, so that it will be indexed anew; does not wait. */
void search_block_heal(struct store *store, struct account_id account, uint32_t block);
/* The same, and waits; ends the reader's snapshot. */
enum status search_block_drop_wait(
    struct store_reader *reader, struct account_id account, uint32_t block) MUST_USE;
/* Deletes a bounded part of the index of the transaction's account: blocks, progress and
 * state at first, and a segment's pages; false: there is nothing left. */
bool search_drop_step(struct engine_txn *txn);
/* Pages are left of a drop that was cut short: nothing reads them, and they have to go
 * before there are new ones. */
bool search_is_half_dropped(struct engine_txn *txn);
/* The whole index of an account, in as many commits as it takes. */
enum status search_drop(struct store_reader *reader, struct account_id account) MUST_USE;

/* ---- a batch of documents (search_batch.c) ---- */
struct search_batch;
struct message_text;
struct message_index;
struct search_batch *search_batch_new(void);
void search_batch_free(struct search_batch **batch);
void search_batch_reset(struct search_batch *batch);
/* A document of a block that the batch has no room for needs a new batch. */
bool search_batch_takes(const struct search_batch *batch, uint32_t block);
/* `text` is the message's, made here; `damaged`: its text cannot be read, it may hold
 * anything. */
void search_batch_add(struct search_batch *batch, uint32_t doc, struct message_text *text,
    const struct message_index *index, struct slice message);
void search_batch_add_unread(struct search_batch *batch, uint32_t doc);
bool search_batch_is_full(const struct search_batch *batch);
size_t search_batch_documents(const struct search_batch *batch);
uint64_t search_batch_text_bytes(const struct search_batch *batch);
/* Sorts, makes pages, and fills change->pages, blocks and text_bytes (which stay the
 * batch's). */
void search_batch_finish(struct search_batch *batch, struct search_change *change);

/* ---- merging (search_merge.c) ---- */
/* Makes one segment of several of the block's (bounded), without documents that are not
 * in `keep` (null: all stay); fills *change and *pages.  NOT_FOUND: nothing to do. */
enum status search_merge(struct engine_txn *txn, uint32_t block,
    const struct search_record *record, const struct search_bits *keep,
    struct search_pages *pages, struct search_block_change *change) MUST_USE;

/* ---- check (search_check.c) ---- */
struct check;
struct search_check {
	struct search_state state;
	struct vec segments;
	size_t at;
	uint64_t documents, pages;
	bool has_state;
};
/* A key of class i, j, g or p. */
void search_check_key(
    struct check *check, struct search_check *seen, struct slice key, struct slice value);
/* Tells what does not add up and frees what *seen holds. */
void search_check_end(struct check *check, struct search_check *seen);
/* Reads every page of the account's index and drops the blocks that are damaged, unless
 * only to look; counts them. */
enum status search_verify(struct store_reader *reader, struct account_id account,
    bool look_only, uint64_t *out_damaged) MUST_USE;

/* ---- one account (search_index.c) ---- */
struct search_work {
	struct store *store;
	struct store_reader *reader;
	struct search_batch *batch;
	struct message_text *text;
	struct search_pages pages;
	/* Asked between batches: false ends the work early. */
	bool (*go_on)(const struct search_work *work, void *arg);
	void *arg;
	/* Since the start: */
	uint64_t documents, batches, text_bytes;
};
void search_work_init(struct search_work *work, struct store *store);
void search_work_fini(struct search_work *work);
/* Covers what is not covered yet, when it is much or `all`; merges, drops what was
 * expunged.  CONFLICT: someone else is at it. */
enum status search_index_account(struct search_work *work, struct account_id account,
    bool all, int64_t now_s) MUST_USE;
/* Writes the blocks anew of which a good part was expunged and cannot come back. */
enum status search_sweep_account(
    struct search_work *work, struct account_id account, int64_t now_s) MUST_USE;
/* Worth a look? */
bool search_is_pending(struct store_reader *reader, struct account_id account);

#endif
