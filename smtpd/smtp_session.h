/*
 * An SMTP session: protocol state on a connection (RFC 5321, RFC 6409).  Private to
 * smtpd.
 *
 *            handshake                     AUTH
 *   GREET ──────────────► READY ◄───────────────────► AUTH ◄──► AUTH_RESPONSE
 *     ▲      STARTTLS     │ ▲ ▲                        (pool)     (next line)
 *     └───────────────────┘ │ │ refused
 *                    DATA,  │ └───────────┐
 *                    BDAT   ▼             │
 *                         MESSAGE ──► COMMIT ──► READY (the reply)
 *
 * All but READY end in CLOSED too.  Where the mail transaction stands is told by the
 * envelope: none, MAIL given, recipients, draft begun.  (smtp_session_accept,
 * smtp_cmd_starttls, smtp_cmd_auth, smtp_cmd_data, smtp_cmd_bdat, smtp_accept.)
 *
 * Replies are written in the order of the commands and leave with one write a turn
 * (RFC 2920).  The reply that accepts a message is written by the completion of the op
 * that made it durable, nowhere else.
 */
#ifndef SMTPD_SMTP_SESSION_H
#define SMTPD_SMTP_SESSION_H

#include "base/ensure.h"
#include "base/stats.h"
#include "service/service.h"
#include "service/trace.h"
#include "smtpd/smtp_envelope.h"

enum {
	SMTP_TLS_TIMEOUT_MS = 60 * 1000, /* for a handshake */
	SMTP_BARE_WAIT_MS = 3 * 1000,    /* silence behind a bare CR or LF in DATA */
	SMTP_COMMANDS_PER_TURN = 200,
	SMTP_REFUSED_MAX = 500,      /* recipients refused in a session, then 421 */
	SMTP_DISCARD_MAX = 16 << 20, /* octets of a refused message read, then 552 */
};

enum smtp_state {
	SMTP_GREET,         /* TLS handshake */
	SMTP_READY,         /* the next line is a command */
	SMTP_AUTH,          /* a step runs in the pool */
	SMTP_AUTH_RESPONSE, /* the next line is a SASL response */
	SMTP_MESSAGE,       /* message octets come: DATA, or a chunk of BDAT */
	SMTP_COMMIT,        /* the message is with the store */
	SMTP_CLOSED,
};

/* What a worker thread has in common for its sessions. */
struct smtp_worker {
	struct list sessions;
	struct service *service;
	struct worker *worker;
	struct trace *trace; /* null when it could not be opened */
	struct buf scratch;  /* message octets of one read, unstuffed */
	struct stats_counter *messages, *bytes, *recipients, *rejections, *local, *queued;
};

struct smtp_reply;

#define SMTP_SESSION_MAGIC 0x534d5450u

struct smtp_session {
	unsigned magic;
	enum smtp_state state;
	struct list node; /* in the worker's list of sessions */
	char id[ID_TEXT_SIZE];
	struct service *service;
	struct worker *worker;
	struct smtp_worker *own;
	const struct listener *listener;
	struct worker_conn *token;
	struct conn *conn;
	bool submission;           /* AUTH is offered, and required */
	bool lmtp;                 /* RFC 2033: a reply a recipient, local ones only */
	bool local;                /* a user of this machine: smtp_local.h */
	bool any_sender;           /* … who may send as whom it wants */
	uint32_t uid;              /* … and its number */
	char *user;                /* … and name, or null */
	bool trusted;              /* the peer is in smtp.trusted_networks */
	bool xclient;              /* the peer may say who its client is (XCLIENT) */
	bool greeted;              /* the banner was sent */
	bool extended;             /* EHLO, not HELO */
	bool skipping_line;        /* the rest of an over-long line is thrown away */
	bool running;              /* smtp_session_run is on the stack */
	bool stopping;             /* ends when the commit under way is answered */
	unsigned errors;           /* commands refused for their form or order */
	unsigned refused;          /* recipients refused */
	uint32_t mails;            /* MAILs accepted */
	char *helo;                /* null before EHLO or HELO */
	char *login;               /* null before AUTH */
	struct account_id account; /* of the login */
	struct auth_exchange *exchange;
	struct smtp_envelope *envelope; /* null: no MAIL */

	/* the chunk of BDAT under way */
	bool chunked; /* MESSAGE: a chunk, not DATA */
	bool chunk_last;
	const struct smtp_reply *chunk_refused; /* its octets are read and thrown away */
	uint64_t chunk_size;
	uint64_t chunk_left; /* octets still to come */
	uint64_t discarded;  /* octets of refused chunks since MAIL */
};

/* The daemon's functions of service_options. */
void smtp_session_accept(struct service *service, struct worker *worker, int fd,
    const struct listener *listener, struct worker_conn *token);
void smtp_sessions_start(struct service *service, struct worker *worker);
void smtp_sessions_stop(struct service *service, struct worker *worker);

/* ---- for the other files ---- */
void smtp_set_state(struct smtp_session *s, enum smtp_state state);
/* Runs the commands that lie in the input; does nothing when called from inside. */
void smtp_session_run(struct smtp_session *s);
/* What was waited for is there and answered: READY again, and on with the input. */
void smtp_session_ready(struct smtp_session *s);
/* Ends the session; replies written before are still sent. */
void smtp_session_close(struct smtp_session *s, const char *reason);
/* Forgets the mail transaction (RFC 5321 section 4.1.1.5). */
void smtp_session_reset(struct smtp_session *s);
/* What the peer may do by its address: s->trusted, s->xclient. */
void smtp_session_judge_peer(struct smtp_session *s);
/* Forgets what the client said and who it is: somebody else is behind the connection. */
void smtp_session_forget_client(struct smtp_session *s);
void smtp_session_helo(struct smtp_session *s, struct slice name, bool extended);
/* The trace file, opened once for the process; null when it could not be. */
struct trace *smtp_trace(struct service *service);

#endif
