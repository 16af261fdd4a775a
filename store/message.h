/*
 * Messages of a mailbox: records, and the ops that add, flag, copy, move and remove them.
 * Message times: internaldate is INTERNALDATE (seconds UTC and the zone it is shown in).
 */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "store/mailbox.h"

enum message_flag {
	MESSAGE_SEEN = 1 << 0,
	MESSAGE_ANSWERED = 1 << 1,
	MESSAGE_FLAGGED = 1 << 2,
	MESSAGE_DELETED = 1 << 3,
	MESSAGE_DRAFT = 1 << 4,
};
#define MESSAGE_FLAGS_ALL 0x1fu

struct message_record {
	uint32_t uid;
	uint8_t flags; /* enum message_flag bits */
	/* Octets, 0 to 2, that POP3 adds for the last line to end in CRLF; they are not
	 * in `size`.  0 too in records of before this was kept. */
	uint8_t line_end_missing;
	uint64_t keywords; /* bits into the mailbox's keywords */
	uint64_t modseq;
	int64_t internaldate_s;
	int16_t internaldate_zone_min;
	int64_t save_date_s; /* when it came into this mailbox (RFC 8514) */
	uint64_t size;       /* RFC822.SIZE */
	uint64_t body;       /* engine's body number */
	uint64_t email_id;   /* the same for all copies of a message (RFC 8474) */
};

struct uid_range {
	uint32_t first, last; /* both included, first <= last */
};

/* ---- reading ---- */
enum status message_get(struct store_reader *reader, struct account_id account,
    uint32_t mailbox, uint32_t uid, struct message_record *out) MUST_USE;
/* Records with uid in [first, last], ascending; valid until the reader's end.  One
 * sequential scan: use it for ranges. */
struct message_cursor;
struct message_cursor *message_cursor_open(struct store_reader *reader,
    struct account_id account, uint32_t mailbox, uint32_t first, uint32_t last);
enum status message_cursor_next(
    struct message_cursor *cursor, struct message_record *out) MUST_USE;
void message_cursor_close(struct message_cursor **cursor);
/* The derived record's bytes (message_index_decode), valid until the reader's end.  When
 * missing or damaged it is built from the body into the arena. */
enum status message_index_bytes(struct store_reader *reader, struct account_id account,
    const struct message_record *record, struct arena *arena, struct slice *out) MUST_USE;
/* The message's bytes; the handle outlives the reader's end. */
enum status message_body_open(struct store_reader *reader, struct account_id account,
    const struct message_record *record, struct body_handle *out) MUST_USE;

/* ---- writing ---- */
/* One received message into the mailboxes of several accounts, all of them in one go for
 * each shard (decision 0005).  op.status is OK when every recipient was stored; else look
 * at each: those that are OK are stored and stay so. */
struct deliver_recipient {
	struct account_id account;
	struct slice mailbox; /* name; null: INBOX.  A missing one falls back to INBOX */
	uint8_t flags;
	enum status status; /* out: OK, QUOTA, NOT_FOUND (account gone), FULL, IO … */
	uint32_t uid;       /* out */
	uint32_t mailbox_number; /* out */
};
struct deliver_op {
	struct store_op op;
	struct body_draft *draft; /* sealed; the op takes a reference */
	struct deliver_recipient *recipients;
	size_t recipient_count;
	int64_t internaldate_s;
	int16_t internaldate_zone_min;
};
void deliver_op_submit(struct store_reader *reader, struct deliver_op *op);

/* IMAP APPEND and MULTIAPPEND: all or none. */
struct append_message {
	struct body_draft *draft; /* sealed */
	uint8_t flags;
	const struct slice *keywords;
	size_t keyword_count;
	int64_t internaldate_s;
	int16_t internaldate_zone_min;
	/* Its POP3 unique id when it had one elsewhere (store/pop3.h); null: the default
	 * form.  INVALID when it is none, EXISTS when another message has it: then
	 * nothing is appended. */
	struct slice uidl;
	uint32_t uid; /* out */
};
struct append_op {
	struct store_op op;
	struct account_id account;
	struct slice mailbox; /* name */
	struct append_message *messages;
	size_t message_count;
	/* REPLACE (RFC 8508): this message goes in the same step, and its size does not
	 * count against the quota; NOT_FOUND becomes CONFLICT when it is not there any
	 * more. Uid 0: none. */
	uint32_t replaced_mailbox;
	uint32_t replaced_uid;
	uint64_t out_replaced_modseq; /* of its mailbox */
	uint32_t out_uidvalidity;
	uint32_t out_mailbox;
};
void append_op_submit(struct store_reader *reader, struct append_op *op);

enum flags_mode { FLAGS_SET, FLAGS_ADD, FLAGS_REMOVE };
struct flags_result {
	uint32_t uid;
	uint8_t flags;
	uint64_t keywords;
	uint64_t modseq;
	bool changed; /* false: was so already */
};
struct flags_op {
	struct store_op op;
	struct account_id account;
	uint32_t mailbox;
	const struct uid_range *ranges;
	size_t range_count;
	enum flags_mode mode;
	uint8_t flags;
	const struct slice *keywords; /* names; new ones are made.  LIMIT when too many */
	size_t keyword_count;
	/* FLAGS_SET leaves these as they are: the user may not change them. */
	uint8_t keep_flags;
	bool keep_keywords;
	bool has_unchangedsince;
	uint64_t unchangedsince;
	struct flags_result *out; /* messages looked at and fitting, ascending uids */
	size_t out_count;
	uint32_t *out_modified; /* uids that failed UNCHANGEDSINCE */
	size_t out_modified_count;
	uint64_t out_modseq;
};
void flags_op_submit(struct store_reader *reader, struct flags_op *op);

/* EXPUNGE, UID EXPUNGE, CLOSE. */
struct expunge_op {
	struct store_op op;
	struct account_id account;
	uint32_t mailbox;
	const struct uid_range *ranges; /* null with count 0: the whole mailbox */
	size_t range_count;
	bool only_deleted; /* only those with \Deleted */
	uint32_t *out_uids;
	size_t out_count;
	uint64_t out_modseq;
};
void expunge_op_submit(struct store_reader *reader, struct expunge_op *op);

/* COPY and MOVE: one transaction, no message bytes move. */
struct copy_op {
	struct store_op op;
	struct account_id account;
	uint32_t mailbox;
	const struct uid_range *ranges;
	size_t range_count;
	struct slice target; /* mailbox name; NOT_FOUND: [TRYCREATE] */
	bool move;
	/* What the copies do not get: the user may not set it there. */
	uint8_t drop_flags;
	bool drop_keywords;
	uint32_t out_uidvalidity;
	uint32_t out_mailbox;
	uint32_t *out_source_uids;
	uint32_t *out_target_uids;
	size_t out_count;
	uint64_t out_modseq; /* of the source mailbox, for move */
};
void copy_op_submit(struct store_reader *reader, struct copy_op *op);

/* Brings back what was expunged from an account since a time (undelete window); into the
 * mailbox it was in, or INBOX when that is gone.  Waits.  For the command line. */
enum status message_undelete(struct store_reader *reader, struct account_id account,
    int64_t since_s, uint64_t *out_count) MUST_USE;

#endif
