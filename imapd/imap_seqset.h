/*
 * Sequence sets: "1:*,5" and "$" (RFC 9051 section 9, RFC 5182), in message numbers or
 * UIDs; and the compact UID sets that we write (RFC 4315).
 *
 * A set is resolved against the session's view into ascending UID ranges that neither
 * touch nor overlap; everything behind that point works on UIDs.  Ranges may span UIDs
 * that are not in the view: who walks them merges with mailbox_view_next.  Pure.
 */
#ifndef IMAPD_IMAP_SEQSET_H
#define IMAPD_IMAP_SEQSET_H

#include "base/buf.h"
#include "imapd/imap_cmd.h"
#include "imapd/imap_lex.h"
#include "store/message.h"

enum {
	IMAP_SEQSET_RANGES_MAX = 20000, /* ranges in one set */
	IMAP_SEQSET_STAR = 0,           /* stands for "*" in a range */
};

struct imap_seqset {
	bool saved;               /* "$": the saved search result */
	struct uid_range *ranges; /* as sent; IMAP_SEQSET_STAR for "*"; not ordered */
	size_t count;
};

/* Ascending ranges that do not overlap: a resolved set, or "$". */
struct imap_uid_ranges {
	struct uid_range *ranges;
	size_t count;
};

bool imap_seqset_lex(struct imap_lex *lex, struct imap_seqset *out);
/* Without "$" and "*" (known-uids of QRESYNC, RFC 7162 section 3.2.5). */
bool imap_seqset_lex_uids(struct imap_lex *lex, struct imap_seqset *out);

/* "1:500" or "-1:-100" (RFC 9394 section 3.1); for SEARCH's RETURN too. */
bool imap_partial_range_lex(
    struct imap_lex *lex, bool *out_from_end, uint32_t *out_first, uint32_t *out_last);

enum imap_seqset_result {
	IMAP_SEQSET_OK,
	IMAP_SEQSET_BEYOND, /* a message number that the view does not have: BAD */
	IMAP_SEQSET_LIMIT,  /* the arena is used up */
};

/* `uid`: the numbers are UIDs.  `saved` is what "$" stands for, borrowed.  The result is
 * cut to the UIDs that the view knows.  With message numbers, one above EXISTS gives
 * BEYOND (RFC 9051 section 9, "seq-number"), unless `lenient`, which leaves it out. */
enum imap_seqset_result imap_seqset_resolve(const struct imap_seqset *set,
    const struct mailbox_view *view, bool uid, bool lenient,
    const struct imap_uid_ranges *saved, struct arena *arena,
    struct imap_uid_ranges *out);
/* Sorts and merges in place ("*" must be gone). */
void imap_uid_ranges_normalize(struct imap_uid_ranges *ranges);
bool imap_uid_ranges_contain(const struct imap_uid_ranges *ranges, uint32_t uid);
/* Walks the view's UIDs inside the ranges: the smallest one >= `from`, or 0.  `*hint` is
 * the walker's place, 0 at first; `from` must not go back. */
uint32_t imap_uid_ranges_next(const struct imap_uid_ranges *ranges,
    const struct mailbox_view *view, uint32_t from, size_t *hint);

/* How many UIDs of the view lie in the ranges. */
uint32_t imap_uid_ranges_count(
    const struct imap_uid_ranges *ranges, const struct mailbox_view *view);

/* A run function's first step: the command's set against its session's view.  False: the
 * tagged reply is written, return *out_refused. */
bool imap_set_resolve(struct imap_session *s, struct imap_command *cmd,
    const struct imap_seqset *set, struct imap_uid_ranges *out,
    enum cmd_result *out_refused);

/* Ascending ranges of an ascending array; null ranges on the arena's limit. */
struct imap_uid_ranges imap_uid_ranges_from_array(
    const uint32_t *uids, size_t count, struct arena *arena);

/* "1:3,5": runs that go up by one are joined, order is kept (so source and target sets of
 * COPYUID fit each other). */
void imap_seqset_write(struct buf *out, const uint32_t *numbers, size_t count);
void imap_seqset_write_ranges(struct buf *out, const struct imap_uid_ranges *ranges);

#endif
