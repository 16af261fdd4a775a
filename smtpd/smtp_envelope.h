/*
 * An envelope: sender, recipients with what they lead to, the message that is being
 * received.  Begins at MAIL, ends with the reply to the message or with RSET; while its
 * op is with the store it may outlive its session.  Private to smtpd.
 */
#ifndef SMTPD_SMTP_ENVELOPE_H
#define SMTPD_SMTP_ENVELOPE_H

#include "base/hashmap.h"
#include "base/ids.h"
#include "net/framer.h"
#include "smtpd/smtp_headers.h"
#include "smtpd/smtp_parse.h"
#include "store/directory.h"
#include "store/message.h"
#include "store/queue.h"

enum {
	SMTP_TARGETS_MAX = QUEUE_RECIPIENTS_MAX, /* behind aliases, of one message */
	SMTP_ENVELOPE_MAX = 16 * 1024 * 1024,    /* bytes of an envelope's arena */
	SMTP_TARGETS_SCAN_MAX = 16, /* so many are searched in turn, more by a map */
};

/* Where a copy goes; doubles are taken out. */
struct smtp_target {
	bool local;
	struct account_id account; /* local */
	struct slice login;        /* local */
	struct slice address;      /* local: the address asked for; else where to relay */
	struct slice original;     /* as given at RCPT */
	uint8_t notify;            /* QUEUE_NOTIFY_* */
	struct slice orcpt;        /* as given at RCPT, or null */
};

/* Why a message that is being read will be refused at its end; the first reason counts.
 */
enum smtp_fault {
	SMTP_FAULT_NONE,
	SMTP_FAULT_SIZE,        /* 552 5.3.4 */
	SMTP_FAULT_HEADER_SIZE, /* 552 5.3.4 */
	SMTP_FAULT_LOOP,        /* 554 5.4.6 */
	SMTP_FAULT_FROM,        /* 553 5.7.1: From is not the submitter's */
	SMTP_FAULT_DRAFT,       /* the draft's status says why */
	SMTP_FAULT_LINE,        /* 550 5.6.0: a line over SMTP_TEXT_LINE_MAX */
	SMTP_FAULT_BARE,        /* 550 5.6.0: bare CR, bare LF; the session ends */
	SMTP_FAULT_CONVERT,     /* 554 5.6.3: binary, and no other form is possible */
	SMTP_FAULT_NUL,         /* 550 5.6.0: NUL; the session ends */
	SMTP_FAULT_CAMPAIGN,    /* 550 5.6.0: a submitter's campaign has no good name */
};

/* A recipient that was accepted by LMTP, with what it leads to: it has a reply of its own
 * (smtp_lmtp.h). */
struct smtp_lmtp_recipient {
	size_t *targets; /* indices */
	size_t count;    /* at least 1 */
};

struct smtp_session;
struct smtp_worker;

#define SMTP_ENVELOPE_MAGIC 0x534d5445u

struct smtp_envelope {
	unsigned magic;
	char id[ID_TEXT_SIZE]; /* the message's, from here to delivery or bounce */
	struct arena *arena;
	struct smtp_session *session; /* null when it has gone before the commit */
	struct smtp_worker *worker;

	struct slice sender; /* as text; empty for <> */
	bool utf8;           /* SMTPUTF8 was asked for */
	bool binary;         /* BODY=BINARYMIME: any octets, by BDAT */
	bool converted_8bit; /* … and what it became is not ASCII */
	enum smtp_ret ret;
	struct slice envid; /* as given at MAIL, or null */
	bool requiretls;    /* RFC 8689 */
	bool has_priority;  /* RFC 6710 */
	int8_t priority;
	enum smtp_by by; /* RFC 2852 */
	bool by_trace;
	int64_t by_s;              /* the moment; not 0 with `by` */
	int64_t hold_until_s;      /* not before (RFC 4865); 0: at once */
	struct slice hold;         /* as in queue_message, or null */
	bool submission;           /* From must be the submitter's, Bcc goes */
	bool add_missing;          /* Date, Message-ID */
	struct slice campaign;     /* that a submitter named, or null */
	struct slice login;        /* who submits, or empty */
	struct account_id account; /* of the login */
	struct slice peer;

	uint32_t recipients; /* RCPTs accepted */
	uint32_t refused;    /* RCPTs refused */
	struct smtp_target *targets;
	size_t target_count, target_cap;
	size_t external_count;
	struct hashmap *target_map;       /* null while few */
	struct smtp_lmtp_recipient *lmtp; /* in the order of their RCPTs; null by SMTP */
	size_t lmtp_count, lmtp_cap;

	/* the message */
	struct body_draft *draft; /* null before DATA or BDAT */
	struct framer_dot dot;    /* DATA */
	struct smtp_text text;    /* BDAT */
	uint64_t size_max;        /* octets */
	uint64_t received;        /* octets of message so far, refused ones too */
	struct buf header;        /* until its end has come, when it comes in pieces */
	bool header_done;
	bool needs_gap; /* it begins with a blank, see smtp_header_is_field */
	struct smtp_header_facts facts; /* message_id in the arena */
	enum smtp_fault fault;
	enum status draft_status; /* SMTP_FAULT_DRAFT */
	/* the op under way */
	struct deliver_op deliver;
	struct queue_add_op queue;
	bool
	    *queue_wants; /* targets that a delivery left over for the queue; null: all */
	enum status *outcomes; /* by target; LMTP, once the deliveries are answered */
	uint64_t began_us;     /* when the message began (monotonic) */
};

struct smtp_envelope *smtp_envelope_new(
    struct smtp_session *session, struct smtp_worker *worker);
void smtp_envelope_free(struct smtp_envelope **envelope);

enum smtp_envelope_result {
	SMTP_ENVELOPE_ADDED,
	SMTP_ENVELOPE_DOUBLE, /* it leads to what is there already */
	SMTP_ENVELOPE_FULL,   /* over SMTP_TARGETS_MAX or SMTP_ENVELOPE_MAX */
};
/* Adds a target; its slices must lie in the envelope's arena.  Locals are the same when
 * their account is, others when their addresses are, ASCII case ignored. */
enum smtp_envelope_result smtp_envelope_add(
    struct smtp_envelope *envelope, const struct smtp_target *target);
/* Where the same target is, or SIZE_MAX. */
size_t smtp_envelope_find(
    struct smtp_envelope *envelope, const struct smtp_target *target);
/* Is the target's mail sent on to elsewhere by an alias or account of ours? */
bool smtp_target_is_forward(const struct smtp_target *target);
/* Takes back all targets behind the first `count`. */
void smtp_envelope_cut(struct smtp_envelope *envelope, size_t count);

#endif
