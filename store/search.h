/*
 * The search index of an account: which messages may hold a text.  Public part of the
 * store; what it means and costs is in docs/decisions/0035.
 *
 * A *document* is a message as the account knows it, by its email id: all copies are one
 * document, so COPY and MOVE cost nothing here.  SEARCH_BLOCK_DOCS documents are a block.
 * The index is derived data: it only narrows.  A document that it does not cover may hold
 * anything; one that it covers holds a text only if search_find says so.  It is never
 * wrong about what a text does not hold, whatever else happens to it: damaged parts are
 * taken as not saying anything, and made anew.
 *
 * Text is that of text/message_text.h; needles are folded by utf8_casefold.
 */
#ifndef STORE_SEARCH_H
#define STORE_SEARCH_H

#include "store/store.h"

enum {
	SEARCH_BLOCK_DOCS = 4096,
	SEARCH_BITS_WORDS = SEARCH_BLOCK_DOCS / 64,
};
#define SEARCH_DOC_MAX UINT64_C(0xffffffff) /* email ids above it are not indexed */

/* A set of documents of one block, by email id % SEARCH_BLOCK_DOCS. */
struct search_bits {
	uint64_t w[SEARCH_BITS_WORDS];
};

/* Where in a message a text is. */
enum search_class {
	SEARCH_BODY = 1 << 0,    /* message_text.body */
	SEARCH_SUBJECT = 1 << 1, /* Subject */
	SEARCH_FROM = 1 << 2,    /* From, Sender, Reply-To */
	SEARCH_TO = 1 << 3,      /* To, Cc, Bcc */
	SEARCH_OTHER = 1 << 4,   /* other fields; message_text.mime */
	SEARCH_ANYWHERE = (1 << 5) - 1,
};
enum { SEARCH_CLASSES = 5 };
/* The class of a header field. */
enum search_class search_class_of(struct slice field_name);

/* ---- asking ---- */
/* A look at the index in the reader's snapshot: close it before the reader's end. */
struct search_look;
enum status search_open(struct store_reader *reader, struct account_id account,
    struct search_look **out) MUST_USE;
/* Goes to the first block at or behind `from`; NOT_FOUND: there are no more. */
enum status search_next(
    struct search_look *look, uint64_t from, uint64_t *out_block) MUST_USE;
/* The documents of the block that the index covers. */
const struct search_bits *search_covered(const struct search_look *look);
/* Sets *out to those covered documents of the block whose text may hold the needle in one
 * of the classes (enum search_class bits).  Texts of fields end with each field. */
void search_find(struct search_look *look, unsigned classes, struct slice needle,
    struct search_bits *out);
void search_close(struct search_look **look);

/* ---- making ---- */
struct search_totals {
	uint64_t documents;   /* covered */
	uint64_t text_bytes;  /* of them, decoded (about, once some were expunged) */
	uint64_t index_bytes; /* pages of the index, as they lie on the disk */
};
enum status search_totals(struct store_reader *reader, struct account_id account,
    struct search_totals *out) MUST_USE;

/* One process indexes at a time (a lock on a file of the store that the kernel lets go of
 * when the process dies); the background thread works on all accounts that have
 * SEARCH_PENDING_MIN messages or SEARCH_PENDING_BYTES that are not indexed yet. */
enum {
	SEARCH_PENDING_MIN = 64,           /* messages */
	SEARCH_PENDING_BYTES = 1024 * 1024 /* of messages */
};
struct search_indexer;
struct search_indexer *search_indexer_start(struct store *store);
/* Ends the thread behind the batch that it is at. */
void search_indexer_stop(struct search_indexer **indexer);
struct search_indexer_stats {
	uint64_t documents, batches, text_bytes;
};
void search_indexer_stats(
    const struct search_indexer *indexer, struct search_indexer_stats *out);

/* `postroom reindex`: drops an account's index and makes it anew, while others work.  Or
 * `keep`: only adds what is missing. */
struct search_reindex_options {
	bool keep;
	/* Now and then; false: stop.  May be null. */
	bool (*progress)(uint64_t done, uint64_t total, void *arg);
	void *arg;
};
/* LIMIT: another process is indexing and did not end within a minute. */
enum status search_reindex(struct store *store, struct account_id account,
    const struct search_reindex_options *options, struct search_totals *out) MUST_USE;

#endif
