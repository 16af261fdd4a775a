/*
 * The part that SEARCH, SORT and THREAD share: walk the mailbox in slices, evaluate, and
 * collect what matches.
 */
#ifndef IMAPD_IMAP_SEARCH_RUN_H
#define IMAPD_IMAP_SEARCH_RUN_H

#include "imapd/imap_search_eval.h"
#include "imapd/imap_walk.h"

enum {
	IMAP_SEARCH_TURN_WORK = 1024 * 1024,  /* bytes of text looked at in a turn */
	IMAP_SEARCH_TURN_RECORDS = 16 * 1024, /* message records passed in a turn */
	IMAP_SEARCH_MATCH_WORK = 256,         /* bytes that a match counts as */
	IMAP_SEARCH_NARROW_MIN = 32,          /* messages worth asking the index about */
};

struct imap_search_run {
	struct imap_search_args *args;
	const struct mailbox_view *view; /* of the mailbox that is searched; borrowed */
	struct account_id account;
	uint32_t mailbox;
	struct imap_search_eval eval;
	struct imap_search_narrow narrow;
	bool eval_ready;
	struct imap_uid_ranges ranges; /* what is walked: cut down by the keys */
	struct imap_walk walk;
	uint32_t *uids;  /* found, ascending */
	uint8_t *scores; /* relevancy of each, or null when nobody asks (RFC 6203) */
	uint32_t count;
	uint32_t max;
	uint64_t modseq_first, modseq_last, modseq_highest; /* of the messages found */
	enum status failed;
	uint64_t told_ms;                        /* progress */
	uint64_t progress_before, progress_goal; /* messages of all mailboxes */
	imap_run_fn done;
	/* For SORT and THREAD: a message that matched and its place in uids. */
	bool (*match)(struct imap_session *s, uint32_t at,
	    const struct message_record *record, const struct message_index *index);
	void *user;
	void (*user_free)(void *user); /* at the command's end, whatever it was */
};

/* Starts; calls done(s, cmd) when all messages have been looked at, with
 * s->cmd_data the run.  `match` may be null; when it returns false the command fails with
 * LIMIT. */
enum cmd_result imap_search_begin(struct imap_session *s, struct imap_command *cmd,
    imap_run_fn done,
    bool (*match)(struct imap_session *s, uint32_t at,
	const struct message_record *record, const struct message_index *index),
    void (*user_free)(void *user), void *user);
/* The same in steps, for several mailboxes (ESEARCH).  Prepare: the command's part; true
 * when it goes on, else the tagged reply is written and *out_refused is to be returned.
 */
bool imap_search_prepare(struct imap_session *s, struct imap_command *cmd,
    struct imap_search_run *run, enum cmd_result *out_refused);
/* One mailbox's part, `account` being its owner: its sets and room for its result in
 * `arena`; LIMIT. */
enum status imap_search_box(struct imap_session *s, struct imap_search_run *run,
    const struct mailbox_view *view, struct account_id account, uint32_t mailbox,
    struct arena *arena) MUST_USE;
/* The reply to a search that failed: "$" is emptied when it was to be saved (RFC 5182
 * section 2.1), and it is not kept up to date. */
enum cmd_result imap_search_fail(
    struct imap_session *s, struct imap_command *cmd, enum status status);
/* NO [MESSAGELIMIT n]: nothing is searched, and "$" is emptied as above. */
enum cmd_result imap_search_refuse_limit(
    struct imap_session *s, struct imap_command *cmd);
/* Searches it: sets s->resume as long as it takes, then calls run->done. */
enum cmd_result imap_search_slice(struct imap_session *s, struct imap_command *cmd);
/* Replaces the found UIDs by message numbers, but for a UID command. */
void imap_search_to_numbers(struct imap_session *s, const struct imap_command *cmd,
    uint32_t *uids, uint32_t count);

#endif
