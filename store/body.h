/*
 * Message bytes on their way in (drafts) and out (handles).  Public part of the store.
 *
 * A draft is filled by the session that receives the message: in memory up to
 * BODY_SPILL_BYTES, then in a file of its own below the store, so that memory per session
 * is bounded.  Above BODY_OWN_BYTES it takes from what all drafts of the process share;
 * when that is used up it goes to its file at once (decision 0140).  It is placed into a
 * shard's segment by the writer, once a shard however many recipients are there.
 */
#ifndef STORE_BODY_H
#define STORE_BODY_H

#include "base/buf.h"
#include "base/status.h"

struct store;
struct body_draft;

enum {
	BODY_OWN_BYTES = 512 * 1024,        /* that any draft may hold in memory */
	BODY_SPILL_BYTES = 2 * 1024 * 1024, /* more are always in a file */
	/* Held in memory above BODY_OWN_BYTES, by all drafts of a process. */
	BODY_SHARED_BYTES_MAX = 64 * 1024 * 1024,
};

/* `size_max`: bytes; an append past it is LIMIT. */
struct body_draft *body_draft_new(struct store *store, uint64_t size_max);
/* Copies bytes in.  LIMIT, FULL or IO; sticky. */
enum status body_draft_append(struct body_draft *draft, struct slice bytes) MUST_USE;
/* Puts bytes before everything appended so far (trace fields, known only at the end):
 * at most BODY_PREFIX_MAX, once.  Call before body_draft_seal. */
enum { BODY_PREFIX_MAX = 64 * 1024 };
enum status body_draft_prefix(struct body_draft *draft, struct slice bytes) MUST_USE;
/* No more appends; builds the derived record (message_index_build).  After it the bytes
 * can be read. */
enum status body_draft_seal(struct body_draft *draft) MUST_USE;
uint64_t body_draft_size(const struct body_draft *draft);
/* All bytes in one piece, prefix first (a spilled draft is mapped); after seal. */
struct slice body_draft_bytes(struct body_draft *draft);
/* Octets, 0 to 2, that the last line lacks to end in CRLF; after seal. */
uint8_t body_draft_line_end_missing(const struct body_draft *draft);
struct slice body_draft_derived(const struct body_draft *draft);
/* Reference counted: an op that was submitted keeps its own. */
struct body_draft *body_draft_ref(struct body_draft *draft);
void body_draft_unref(struct body_draft **draft);
/* Chain for ops with several drafts (MULTIAPPEND): `next` goes to the end of first's
 * chain, which takes over the caller's reference on it; unref of the first lets the whole
 * chain go. */
void body_draft_chain(struct body_draft *first, struct body_draft *next);

/* A stored body that stays readable while the handle is open, whatever is expunged or
 * reclaimed meanwhile.  Not tied to a read transaction. */
struct body_handle {
	int fd;          /* for sendfile and pread; not to be closed.  -1: none, the bytes
	                  * are in memory only (at most BODY_PACK_RAW_MAX) */
	uint64_t offset; /* of the first message byte in fd */
	uint64_t size;   /* message octets */
	const char *map; /* the bytes, mapped read-only */
	void *pin;
};
void body_handle_close(struct body_handle *handle);
/* Another handle of the same bytes, to be closed by itself. */
void body_handle_dup(const struct body_handle *handle, struct body_handle *out);

static inline struct slice
body_handle_bytes(const struct body_handle *handle)
{
	return (struct slice){handle->map, (size_t)handle->size};
}

#endif
