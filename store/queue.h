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
	QUEUE_ENVID_MAX = 100,        /* bytes, RFC 3461 section 4.4 */
	QUEUE_HOLD_MAX = 40,          /* bytes */
	QUEUE_ORCPT_MAX = 500,        /* bytes, RFC 3461 section 4.2 */
	QUEUE_UNSUBSCRIBE_MAX = 500,  /* bytes */
	QUEUE_SITE_MAX = 255,         /* bytes of a paused domain */
};

enum queue_state { QUEUE_WAITING, QUEUE_HELD };

enum {
	QUEUE_MESSAGE_UTF8 = 1 << 0,   /* needs SMTPUTF8 */
	QUEUE_MESSAGE_8BIT = 1 << 1,   /* has 8-bit content */
	QUEUE_MESSAGE_BOUNCE = 1 << 2, /* a delivery report of ours */
	/* 1 << 3 was: delay notice sent; now by recipient, QUEUE_NOTIFY_WARNED */
	QUEUE_MESSAGE_RET_FULL = 1 << 4,     /* RET=FULL (RFC 3461 section 4.3) */
	QUEUE_MESSAGE_RET_HDRS = 1 << 5,     /* RET=HDRS */
	QUEUE_MESSAGE_BINARY = 1 << 6,       /* BODY=BINARYMIME (RFC 3030) */
	QUEUE_MESSAGE_REQUIRETLS = 1 << 7,   /* RFC 8689 section 2 */
	QUEUE_MESSAGE_TLS_OPTIONAL = 1 << 8, /* "TLS-Required: No", RFC 8689 section 5 */
	QUEUE_MESSAGE_BY_RETURN = 1 << 9,    /* BY=…;R (RFC 2852): else ;N, when by_s */
	QUEUE_MESSAGE_BY_TRACE = 1 << 10,    /* BY=…T */
	QUEUE_MESSAGE_VERP = 1 << 11, /* each copy has a return address of its own */
};

/* When a report is wanted for a recipient (RFC 3461 section 4.1); 0: not said. */
enum {
	QUEUE_NOTIFY_NEVER = 1 << 0,
	QUEUE_NOTIFY_SUCCESS = 1 << 1,
	QUEUE_NOTIFY_FAILURE = 1 << 2,
	QUEUE_NOTIFY_DELAY = 1 << 3,
	QUEUE_NOTIFY_ASKED = 0xf,
	QUEUE_NOTIFY_WARNED = 1 << 4, /* the delay notice was sent */
	QUEUE_NOTIFY_LATE = 1 << 5,   /* … the one that BY's moment has passed */
	/* Of the address, kept with them: it is an account, and what that forwards to has
	 * been seen to. */
	QUEUE_NOTIFY_RESOLVED = 1 << 6,
	QUEUE_NOTIFY_ALL = 0x7f,
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
	struct slice envid; /* ENVID as given, xtext; empty: none */
	int64_t by_s;       /* BY (RFC 2852): the moment; 0: none */
	int8_t priority;    /* MT-PRIORITY (RFC 6710), -9 to 9 */
	struct slice
	    hold; /* "for;3600", "until;…" (RFC 4865 section 5.1.2); empty: none */
	struct slice tenant;   /* whose mail it is (store/tenant.h); empty: nobody's */
	struct slice campaign; /* of the tenant, or of who has none; empty: none */
	/* How its recipients unsubscribe: "mailto", or the link "https://…{token}…"; each
	 * copy gets the fields of RFC 2369 and RFC 8058.  Empty: it has none. */
	struct slice unsubscribe;
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
	uint8_t notify;     /* QUEUE_NOTIFY_* */
	struct slice orcpt; /* ORCPT as given, "rfc822;" and xtext; empty: none */
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
	uint64_t tenant, campaign; /* of their names; 0: none */
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
/* What a tenant has in the queue, or of it the campaign's part; zeros when it is nothing.
 * A campaign of who has no tenant: `tenant` empty.  oldest_s is 0. */
enum status queue_tenant_counts(struct store_reader *reader, struct slice tenant,
    struct slice campaign, struct queue_counts *out) MUST_USE;
/* All of them that have something, in order: a tenant as a whole (`campaign` empty)
 * before its campaigns.  fn returns false to stop. */
enum status queue_tenant_counts_each(struct store_reader *reader,
    bool (*fn)(struct slice tenant, struct slice campaign,
	const struct queue_counts *counts, void *arg),
    void *arg) MUST_USE;

/* ---- writing ---- */
struct queue_new_recipient {
	struct slice address;
	struct slice original;
	uint8_t notify;     /* as queue_recipient */
	struct slice orcpt; /* null: none */
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
	struct slice envid; /* as queue_message; null: none */
	int64_t by_s;
	int8_t priority;
	struct slice hold;             /* null: none */
	struct slice tenant, campaign; /* as queue_message, in lower case; null: none */
	struct slice unsubscribe;      /* null: none */
};
struct queue_add_op {
	struct store_op op;
	struct queue_new_message message;
};
/* QUOTA: the tenant has as much in the queue as it may (struct tenant, max_queued). */
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
	uint8_t told;  /* DEFERRED: QUEUE_NOTIFY_WARNED or _LATE, `reports` say so */
};
struct queue_result_op {
	struct store_op op;
	const struct queue_result *results;
	size_t result_count;
	const struct queue_new_message *reports; /* bounces, delay notices */
	size_t report_count;
	int64_t now_s;
};
void queue_result_submit(struct store_reader *reader, struct queue_result_op *op);

/* The operator's wishes; waits.  `id` of a message; `number` of one recipient or
 * QUEUE_ALL.  DELETE makes no bounce. */
enum queue_wish { QUEUE_RETRY, QUEUE_HOLD, QUEUE_RELEASE, QUEUE_DELETE };
#define QUEUE_ALL UINT32_MAX
enum status queue_wish(struct store_reader *reader, struct slice id, uint32_t number,
    enum queue_wish wish, int64_t now_s, uint64_t *out_recipients) MUST_USE;
/* The same for all recipients of several messages, in one commit; those that are gone are
 * passed over.  At most QUEUE_WISH_MANY_MAX. */
enum { QUEUE_WISH_MANY_MAX = 500 };
enum status queue_wish_many(struct store_reader *reader, const char *const *ids,
    size_t count, enum queue_wish wish, int64_t now_s, uint64_t *out_recipients) MUST_USE;
/* The same recipients go to another address, tried from now_s on as if they were new;
 * held ones stay held.  INVALID: the address is empty or too long. */
enum status queue_redirect(struct store_reader *reader, struct slice id, uint32_t number,
    struct slice address, int64_t now_s, uint64_t *out_recipients) MUST_USE;

/* What is paused: mail to which all that is not empty applies.  It is not tried until it
 * is resumed; its life goes on. */
struct queue_pause {
	struct slice tenant, campaign;
	struct slice sender; /* as queue_sender_name */
	struct slice site;   /* recipients' domain */
};
/* Waits; NOT_FOUND when just that was not paused, INVALID when nothing is named or a name
 * is none. */
enum status queue_pause_set(
    struct store_reader *reader, const struct queue_pause *pause, bool paused) MUST_USE;
/* Is mail paused of which this is all that is known? */
enum status queue_is_paused(
    struct store_reader *reader, const struct queue_pause *mail, bool *out) MUST_USE;
enum status queue_paused_each(struct store_reader *reader,
    bool (*fn)(const struct queue_pause *pause, void *arg), void *arg) MUST_USE;
/* What queue_due.site is of this domain. */
uint64_t queue_site_hash(struct slice domain);
/* Who sends, as rates and fairness tell them apart: the login, else the sender's domain;
 * empty for <>.  Borrows. */
struct slice queue_sender_name(const struct queue_message *message);
/* What queue_due.sender is of such a name. */
uint64_t queue_sender_hash(struct slice name);
/* What queue_due.tenant and campaign are of their names. */
uint64_t queue_tenant_hash(struct slice name);

#endif
