/*
 * Accounts, mailboxes and messages inside one transaction: load, change, save.  Private
 * to store/; used by the commit functions and by the readers.  Loads copy what they
 * return, so it stays valid over later writes of the same transaction.
 */
#ifndef STORE_MAILBOX_INT_H
#define STORE_MAILBOX_INT_H

#include "store/store_codec_int.h"
#include "store/store_int.h"

/* ---- mailbox_name.c ---- */
extern const struct slice mailbox_inbox; /* "INBOX" */
/* The name's parent, or the null slice at the top level. */
struct slice mailbox_name_parent(struct slice name);
/* Is `name` below `parent` in the tree (not equal)? */
bool mailbox_name_is_below(struct slice name, struct slice parent);
size_t mailbox_name_depth(struct slice name);

/* ---- mailbox.c ---- */
/* The account's record; NOT_FOUND when there is none or it is marked removed. */
enum status account_load(struct engine_txn *txn, struct account_state *out) MUST_USE;
/* Both in one: a snapshot of the account's partition and its record (null: only that
 * there is one). */
enum status account_snap(struct store_reader *reader, struct account_id account,
    struct engine_txn **out_txn, struct account_state *out) MUST_USE;
void account_save(struct engine_txn *txn, const struct account_state *account);
/* Number of a mailbox by name. */
enum status name_load(
    struct engine_txn *txn, struct slice name, uint32_t *out_number) MUST_USE;
enum status state_load(
    struct engine_txn *txn, uint32_t mailbox, struct mailbox_state *out) MUST_USE;
void state_save(struct engine_txn *txn, const struct mailbox_state *state);
/* NOT_FOUND gives an empty list and OK. */
enum status keywords_load(
    struct engine_txn *txn, uint32_t mailbox, struct keyword_list *out) MUST_USE;
void keywords_save(
    struct engine_txn *txn, uint32_t mailbox, const struct keyword_list *list);
/* Bits of the names; makes new ones with `make` (*out_made then).  Without it, unknown
 * names are left out.  LIMIT when there are too many, INVALID for a bad length. */
enum status keywords_resolve(struct keyword_list *list, const struct slice *names,
    size_t count, bool make, uint64_t *out_bits, bool *out_made) MUST_USE;
/* Does the mailbox name have children that are mailboxes? */
enum status name_has_children(
    struct engine_txn *txn, struct slice name, bool *out) MUST_USE;
/* Everything that mailbox_info tells, from a state; the name borrows the state. */
void info_from_state(const struct mailbox_state *state, struct mailbox_info *out);

/* ---- mailbox_write.c ---- */
/* A new mailbox: N and S, counted in the account.  The caller has checked the name. */
void mailbox_make(struct engine_txn *txn, struct account_state *account,
    struct slice name, uint32_t use, struct mailbox_state *out);
/* The same with its parents, where they are missing; the account is changed, not saved.
 * EXISTS, or LIMIT with too many. */
enum status mailbox_make_tree(struct engine_txn *txn, struct account_state *account,
    struct slice name, struct mailbox_state *out) MUST_USE;
/* A record, INBOX and the special folders of a new account; EXISTS when it has one. */
enum status account_make(
    struct engine_txn *txn, const struct account_quota *quota, int64_t now_s) MUST_USE;

/* EXISTS when another mailbox than `except` has one of the uses.  One scan over S. */
enum status use_check(struct engine_txn *txn, uint32_t use, uint32_t except) MUST_USE;

/* ---- acl.c ---- */
/* A new mailbox takes its parent's list over (RFC 4314 section 4, CREATE). */
enum status acl_inherit(
    struct engine_txn *txn, struct slice name, uint32_t mailbox) MUST_USE;

/* ---- metadata.c ---- */
/* A mailbox's annotations, to be put into another one (RENAME INBOX); LIMIT when the
 * account would have too many. */
enum { METADATA_GATHERED_MAX = 2 * METADATA_BYTES_MAX };
enum status metadata_gather(
    struct engine_txn *txn, uint32_t mailbox, struct buf *out) MUST_USE;
void metadata_put(struct engine_txn *txn, uint32_t mailbox, const struct buf *gathered);
/* They go with the mailbox. */
void metadata_drop(struct engine_txn *txn, uint32_t mailbox);

/* ---- message.c ---- */
enum status message_load(struct engine_txn *txn, uint32_t mailbox, uint32_t uid,
    struct message_record *out) MUST_USE;
/* The records of the ranges (ascending, merged), appended to `out` as message_record;
 * only those that `fits` (null: all).  LIMIT when they are too many. */
enum status message_gather(struct engine_txn *txn, uint32_t mailbox,
    const struct uid_range *ranges, size_t range_count,
    bool (*fits)(const struct message_record *message), struct vec *out) MUST_USE;
/* The caller's ranges sorted and merged into memory of its own (free). */
struct uid_range *ranges_normalise(
    const struct uid_range *ranges, size_t count, size_t *out_count);

/* A new message: the uid and modseq are the mailbox's next; M, C and all counters, but
 * neither state nor account is saved. */
void message_add(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *state, struct message_record *message, uint64_t modseq);
/* The same under message->uid, which is below uidnext and free. */
void message_put(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *state, struct message_record *message, uint64_t modseq);
/* account_usage_is_passed inside a commit. */
bool quota_is_passed(
    const struct account_state *account, uint64_t bytes, uint64_t messages);
/* ---- message_import.c ---- */
/* The UIDs that are reserved for imports (import.h); zeros when none are. */
enum status reserved_load(
    struct engine_txn *txn, uint32_t mailbox, struct reserved *out) MUST_USE;
/* ---- message.c ---- */
/* Leaves the mailbox: M, P, Y, Q and live C go, counters shrink; X is the caller's
 * business.
 */
void message_take(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *state, const struct message_record *message);
/* The mark that is left behind at `modseq`: expunged C and its T. */
void message_mark_gone(struct engine_txn *txn, uint32_t mailbox, uint32_t uid,
    uint64_t modseq, int64_t now_s);
/* Only the T, where the whole mailbox goes. */
void message_mark_time(struct engine_txn *txn, uint32_t mailbox, uint32_t uid,
    uint64_t modseq, int64_t now_s);
/* X, so that it can come back. */
void message_keep_expunged(struct engine_txn *txn, uint32_t mailbox,
    const struct message_record *message, int64_t now_s);

/* ---- message_expunge.c ---- */
/* All of it: the records leave with one new modseq and can come back.  Neither state is
 * saved. */
void message_expunge_records(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *box, const struct message_record *records, size_t count,
    int64_t now_s);

/* ---- mailbox_map.c ---- */
enum {
	MAILBOX_MAP_UIDS = 4096, /* uids a record */
	MAILBOX_MAP_BYTES = MAILBOX_MAP_UIDS / 8,
	MAILBOX_MAP_SIZE_MAX = MAP_BITS + 2 * MAILBOX_MAP_BYTES,
};
struct mailbox_map_chunk {
	uint8_t present[MAILBOX_MAP_BYTES], unseen[MAILBOX_MAP_BYTES];
};
/* Returns the record's length; 0: nothing is there, no record is kept. */
size_t mailbox_map_encode(
    const struct mailbox_map_chunk *chunk, char out[MAILBOX_MAP_SIZE_MAX]);
bool mailbox_map_decode(struct slice record, struct mailbox_map_chunk *out);
/* After M was written or deleted.  A mailbox without a map gets one; state->mapped may
 * change, so the state is to be saved. */
void mailbox_map_note(struct engine_txn *txn, struct mailbox_state *state, uint32_t uid,
    bool present, bool unseen);
/* Whether the map has the uid, and as unseen. */
bool mailbox_map_has(
    struct engine_txn *txn, uint32_t mailbox, uint32_t uid, bool *out_unseen);
/* The uids into an empty bitmap; false, and still empty, without a map that fits the
 * state: use the records. */
struct roaring_bitmap_s;
bool mailbox_map_load(struct engine_txn *txn, const struct mailbox_state *state,
    struct roaring_bitmap_s *out);

/* ---- message_copy.c ---- */
/* Moves records into another mailbox (or the same), all with one modseq a mailbox.  Both
 * states are changed, not saved; they are the same pointer for the same mailbox.  They
 * lose `drop_flags`. */
void message_move_records(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *source, struct mailbox_state *target,
    const struct message_record *records, size_t count, uint8_t drop_flags, int64_t now_s,
    uint32_t *out_target_uids);

#endif
