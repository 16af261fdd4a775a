/*
 * Mailboxes of an account: names, counts, subscriptions, and a session's view of one.
 * Names are UTF-8 in NFC with "/" between levels, at most MAILBOX_NAME_MAX bytes; INBOX
 * is recognised in any case and kept as "INBOX" (also as first level: "INBOX/x").
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "store/store.h"

enum {
	MAILBOX_NAME_MAX = 400,        /* bytes of the whole name */
	MAILBOX_DEPTH_MAX = 20,        /* levels */
	MAILBOX_COUNT_MAX = 20000,     /* mailboxes in one account */
	MAILBOX_KEYWORDS_MAX = 64,     /* keywords in one mailbox */
	MAILBOX_KEYWORD_LEN_MAX = 128, /* bytes of one */
};

/* RFC 6154. */
enum mailbox_use {
	MAILBOX_USE_NONE = 0,
	MAILBOX_USE_ALL = 1 << 0,
	MAILBOX_USE_ARCHIVE = 1 << 1,
	MAILBOX_USE_DRAFTS = 1 << 2,
	MAILBOX_USE_FLAGGED = 1 << 3,
	MAILBOX_USE_JUNK = 1 << 4,
	MAILBOX_USE_SENT = 1 << 5,
	MAILBOX_USE_TRASH = 1 << 6,
	MAILBOX_USE_IMPORTANT = 1 << 7,
};

struct mailbox_info {
	uint32_t number; /* inside the account; never reused */
	struct slice name;
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint32_t exists;
	uint32_t unseen;       /* messages without \Seen */
	uint32_t deleted;      /* messages with \Deleted */
	uint32_t first_recent; /* uids from here on have not been seen by any session */
	uint64_t modseq;       /* HIGHESTMODSEQ; at least 1 */
	uint64_t bytes;        /* sum of message sizes */
	uint32_t use;          /* enum mailbox_use bits */
	bool subscribed;
	bool has_children;
	bool
	    exists_not; /* a name that is only subscribed, or only a parent: no mailbox */
};

struct account_usage {
	uint64_t bytes;
	uint64_t messages;
	struct account_quota quota;
	uint32_t mailboxes;
};
/* Has the account no room for so much more?  What adds nothing has room even when the
 * quota is below what is there.  Exact only inside a commit; before one it tells early.
 */
bool account_usage_is_passed(
    const struct account_usage *usage, uint64_t bytes, uint64_t messages);

/* ---- reading ---- */
/* NFC, INBOX, no empty level, no control characters, lengths; INVALID or LIMIT. */
enum status mailbox_name_check(
    struct slice name, struct arena *arena, struct slice *out) MUST_USE;
/* The lowest uid without \Seen; NOT_FOUND when there is none. */
enum status mailbox_first_unseen(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, uint32_t *out_uid) MUST_USE;
/* NOT_FOUND when there is none of that name. */
enum status mailbox_find(struct store_reader *reader, struct account_id account,
    struct slice name, struct mailbox_info *out) MUST_USE;
enum status mailbox_by_number(struct store_reader *reader, struct account_id account,
    uint32_t number, struct mailbox_info *out) MUST_USE;
/* All names in order ("INBOX" first, then by bytes), with subscribed names that have no
 * mailbox and parents that have none (exists_not).  One scan.  fn returns false to stop.
 */
enum status mailbox_each(struct store_reader *reader, struct account_id account,
    bool (*fn)(const struct mailbox_info *info, void *arg), void *arg) MUST_USE;
enum status account_usage_get(struct store_reader *reader, struct account_id account,
    struct account_usage *out) MUST_USE;
/* Keyword names by bit; slices valid until the reader's end.  Returns how many. */
size_t mailbox_keywords(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, struct slice out[MAILBOX_KEYWORDS_MAX]);

/* ---- a session's view ---- */
/* The UIDs that a session knows of, in order, with the modseq it has been told.  Its
 * numbers never change but by the calls below. */
struct mailbox_view;

enum status mailbox_view_open(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, struct mailbox_view **out) MUST_USE;
void mailbox_view_close(struct mailbox_view **view);
uint32_t mailbox_view_count(const struct mailbox_view *view);
uint64_t mailbox_view_modseq(const struct mailbox_view *view);
uint32_t mailbox_view_uidvalidity(const struct mailbox_view *view);
/* UIDNEXT as the session knows it: one above the highest uid it was told of, or the
 * mailbox's at opening. */
uint32_t mailbox_view_uidnext(const struct mailbox_view *view);
/* 0 when there is none; message numbers begin at 1. */
uint32_t mailbox_view_uid(const struct mailbox_view *view, uint32_t msn);
uint32_t mailbox_view_msn(const struct mailbox_view *view, uint32_t uid);
/* The smallest uid >= the one given, or 0. */
uint32_t mailbox_view_next(const struct mailbox_view *view, uint32_t uid);
/* The number of uids <= uid. */
uint32_t mailbox_view_rank(const struct mailbox_view *view, uint32_t uid);

/* What has changed in the mailbox since the view's modseq.  Arrays in the arena, uids
 * ascending.  At most `max` entries are looked at (0: all); `more` says there is more,
 * and then `modseq` is only as far as they go.  NOT_FOUND: the mailbox was deleted, or an
 * import has made another one of it. */
struct mailbox_delta {
	uint32_t *expunged; /* in the view, but gone */
	size_t expunged_count;
	uint32_t *added; /* not in the view yet */
	size_t added_count;
	uint32_t *changed; /* in the view, flags changed (not the added ones) */
	size_t changed_count;
	uint64_t modseq;
	uint32_t uidnext;
	bool more;
};
enum status mailbox_view_delta(struct store_reader *reader, struct mailbox_view *view,
    struct arena *arena, size_t max, struct mailbox_delta *out) MUST_USE;
/* The session tells its client: expunged leaves the view, added joins it. */
void mailbox_view_remove(struct mailbox_view *view, uint32_t uid);
void mailbox_view_add(struct mailbox_view *view, uint32_t uid);
/* Only forward; call when everything up to it has been told or is remembered. */
void mailbox_view_set_modseq(struct mailbox_view *view, uint64_t modseq);

/* UIDs expunged after `since` (QRESYNC's VANISHED (EARLIER)), ascending, at most `max`;
 * `complete` is false when the log does not reach back that far (then all uids up to
 * uidnext that are not there must be taken as gone). */
enum status mailbox_vanished(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, uint64_t since, struct arena *arena, size_t max,
    uint32_t **out_uids, size_t *out_count, bool *out_complete) MUST_USE;

/* ---- writing ---- */
enum mailbox_change {
	MAILBOX_CREATE,
	MAILBOX_DELETE,
	MAILBOX_RENAME,
	MAILBOX_SUBSCRIBE,
	MAILBOX_UNSUBSCRIBE,
	MAILBOX_SET_USE
};

/* CREATE makes missing parents too (so that no \Noselect gaps arise); a name that is
 * there: EXISTS.  DELETE: messages go the way of expunge; a mailbox with children leaves
 * a name without mailbox; INBOX: DENIED.  RENAME takes the tree along; INBOX: moves its
 * messages into a new mailbox and stays (RFC 9051 section 6.3.6).  SUBSCRIBE takes any
 * valid name. */
struct mailbox_op {
	struct store_op op;
	struct account_id account;
	enum mailbox_change change;
	struct slice name; /* checked by mailbox_name_check; borrowed until done */
	struct slice new_name;
	uint32_t use; /* CREATE and SET_USE; EXISTS when another mailbox has it */
	struct mailbox_info out; /* CREATE, RENAME; name borrows the op's */
};
void mailbox_op_submit(struct store_reader *reader, struct mailbox_op *op);

/* Marks all messages up to uidnext as no longer recent. */
struct mailbox_recent_op {
	struct store_op op;
	struct account_id account;
	uint32_t mailbox;
	uint32_t uidnext;
	uint32_t out_first_recent; /* what it was */
};
void mailbox_recent_submit(struct store_reader *reader, struct mailbox_recent_op *op);

#endif
