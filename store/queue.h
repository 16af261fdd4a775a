/*
 * The outbound queue: messages with recipients that are not (or not yet) delivered, their
 * due times and attempts.  One partition; one message body however many recipients.  Only
 * smtpd works on it, the command line looks and asks.
 */
#ifndef STORE_QUEUE_H
#define STORE_QUEUE_H

#include "base/ids.h"
#include "store/store.h"

enum {
	QUEUE_RECIPIENTS_MAX = 10000, /* of one message */
	QUEUE_REPLY_MAX = 1024,       /* bytes kept of a remote's last reply */
	QUEUE_SITE_MAX = 255,         /* bytes of a paused domain */
};

enum queue_state { QUEUE_WAITING, QUEUE_HELD };

enum {
	QUEUE_MESSAGE_UTF8 = 1 << 0,   /* needs SMTPUTF8 */
	QUEUE_MESSAGE_8BIT = 1 << 1,   /* has 8-bit content */
	QUEUE_MESSAGE_BOUNCE = 1 << 2, /* a delivery report of ours */
	QUEUE_MESSAGE_WARNED = 1 << 3, /* delay notice sent */
};

struct queue_message {
	char id[ID_TEXT_SIZE];
	struct slice sender; /* envelope; empty for <> */
	struct slice login;  /* who submitted it, or empty */
	struct slice origin; /* peer address text */
	int64_t created_s;
	int64_t expires_s;
	uint32_t flags;
	uint32_t recipients; /* still in the queue */
	uint64_t size;
	uint64_t body;
};

struct queue_recipient {
	char id[ID_TEXT_SIZE]; /* the message's */
	uint32_t number;       /* 0… in the message */
	struct slice address;
	struct slice original; /* as given at RCPT, before aliases */
	enum queue_state state;
	uint32_t attempts;
	int64_t due_s;
	int64_t last_try_s; /* 0: never */
	struct slice last_reply;
};

/* ---- reading ---- */
enum status queue_message_get(
    struct store_reader *reader, struct slice id, struct queue_message *out) MUST_USE;
/* Messages in order of their ids from `after` (null: from the start). */
enum status queue_message_each(struct store_reader *reader, struct slice after,
    bool (*fn)(const struct queue_message *message, void *arg), void *arg) MUST_USE;
enum status queue_recipient_each(struct store_reader *reader, struct slice id,
    bool (*fn)(const struct queue_recipient *recipient, void *arg), void *arg) MUST_USE;
enum status queue_recipient_get(struct store_reader *reader, struct slice id,
    uint32_t number, struct queue_recipient *out) MUST_USE;

/* An entry of the due index. */
struct queue_due {
	int64_t due_s;
	char id[ID_TEXT_SIZE];
	uint32_t number;
	/* Hashes for fairness: who sends (the login, else the sender's domain), and the
	 * recipient's domain.  Different ones may, rarely, be equal. */
	uint64_t sender, site;
};
/* Waiting recipients by due time, earliest first, due at or before `until_s`, from behind
 * `after` (null: from the start); one key is read each and no record.  fn returns false
 * to stop.  *out_next_due_s: the first one later than that, or 0. */
enum status queue_due_each(struct store_reader *reader, const struct queue_due *after,
    int64_t until_s, bool (*fn)(const struct queue_due *due, void *arg), void *arg,
    int64_t *out_next_due_s) MUST_USE;
enum status queue_body_open(struct store_reader *reader,
    const struct queue_message *message, struct body_handle *out) MUST_USE;

struct queue_counts {
	uint64_t messages, recipients, held;
	int64_t oldest_s; /* created; 0 when empty */
};
enum status queue_counts_get(
    struct store_reader *reader, struct queue_counts *out) MUST_USE;

/* ---- writing ---- */
struct queue_new_recipient {
	struct slice address;
	struct slice original;
};
struct queue_new_message {
	char id[ID_TEXT_SIZE];
	struct slice sender, login, origin;
	int64_t created_s, expires_s, due_s;
	uint32_t flags;
	struct body_draft *draft; /* sealed */
	const struct queue_new_recipient *recipients;
	size_t recipient_count;
	bool held;
};
struct queue_add_op {
	struct store_op op;
	struct queue_new_message message;
};
void queue_add_submit(struct store_reader *reader, struct queue_add_op *op);

/* Results of attempts, together with the reports that they cause, in one transaction.  A
 * message whose last recipient goes, goes too. */
enum queue_outcome { QUEUE_DELIVERED, QUEUE_FAILED, QUEUE_DEFERRED };
struct queue_result {
	char id[ID_TEXT_SIZE];
	uint32_t number;
	enum queue_outcome outcome;
	struct slice reply;
	int64_t due_s; /* DEFERRED */
};
struct queue_result_op {
	struct store_op op;
	const struct queue_result *results;
	size_t result_count;
	const struct queue_new_message *reports; /* bounces, delay notices */
	size_t report_count;
	char warned_id[ID_TEXT_SIZE]; /* set QUEUE_MESSAGE_WARNED on this one, or "" */
	int64_t now_s;
};
void queue_result_submit(struct store_reader *reader, struct queue_result_op *op);

/* The operator's wishes; waits.  `id` of a message; `number` of one recipient or
 * QUEUE_ALL.  DELETE makes no bounce. */
enum queue_wish { QUEUE_RETRY, QUEUE_HOLD, QUEUE_RELEASE, QUEUE_DELETE };
#define QUEUE_ALL UINT32_MAX
enum status queue_wish(struct store_reader *reader, struct slice id, uint32_t number,
    enum queue_wish wish, int64_t now_s, uint64_t *out_recipients) MUST_USE;

/* Paused sites: the mail to a recipient's domain is not tried until it is resumed; its
 * life goes on.  Waits; NOT_FOUND when it was not paused, INVALID when it is no domain.
 */
enum status queue_site_pause(
    struct store_reader *reader, struct slice domain, bool paused) MUST_USE;
enum status queue_site_is_paused(
    struct store_reader *reader, struct slice domain, bool *out) MUST_USE;
enum status queue_paused_each(struct store_reader *reader,
    bool (*fn)(struct slice domain, void *arg), void *arg) MUST_USE;

#endif
