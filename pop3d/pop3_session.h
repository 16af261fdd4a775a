/*
 * A POP3 session: protocol state on a connection.  Private to pop3d.
 *
 *   GREET ─accept/TLS─► AUTHORIZATION ─USER+PASS, APOP, AUTH─► OPENING ─► TRANSACTION
 *                         │  ▲ failure                                        │ QUIT
 *                         └──┘                                                ▼
 *                       QUIT ───────────────► CLOSED ◄──────────────────── UPDATE
 *
 * (pop3_session_begin, pop3_auth_result, pop3_session_open, pop3_cmd_quit,
 * pop3_update_done.)  Only UPDATE removes anything: a session that ends in any other way
 * leaves the maildrop as it was (RFC 1939 section 6).
 */
#ifndef POP3D_POP3_SESSION_H
#define POP3D_POP3_SESSION_H

#include "base/ensure.h"
#include "base/ids.h"
#include "net/framer.h"
#include "pop3d/pop3_drop.h"
#include "pop3d/pop3_parse.h"
#include "service/service.h"

enum {
	POP3_PREAUTH_TIMEOUT_MS = 60 * 1000,
	POP3_SEND_TIMEOUT_MS = 10 * 60 * 1000, /* a client that does not read */
	POP3_ERRORS_MAX = 20,                  /* -ERR replies, then the session ends */
	POP3_COMMANDS_PER_TURN = 64,
	/* Bytes queued for a client: no command is run above this, a multi-line reply is
	 * not continued, until less than CONN_OUTPUT_LOW is left. */
	POP3_OUTPUT_HIGH = CONN_OUTPUT_HIGH,
	POP3_ACK_POLL_MS = 2, /* the first look whether the peer has all; then longer */
	POP3_ACK_POLL_MAX_MS = 200,
	POP3_LINES_PER_SLICE = 4096,      /* LIST and UIDL lines written at a time */
	POP3_BYTES_PER_SLICE = 64 * 1024, /* message bytes written at a time */
	POP3_SHARED_SESSIONS_MAX = 32, /* of one account at once, where they are shared */
	POP3_USER_MAX = 320,           /* octets of a login name */
	POP3_TIMESTAMP_MAX = 320,      /* octets of APOP's timestamp with its brackets */
};

enum pop3_state {
	POP3_GREET,
	POP3_AUTHORIZATION,
	POP3_OPENING, /* authenticated, the maildrop is being read */
	POP3_TRANSACTION,
	POP3_UPDATE,
	POP3_CLOSED,
};

enum pop3_waiting {
	POP3_WAITS_FOR_NOTHING,
	POP3_WAITS_FOR_AUTH,     /* a step runs in the pool */
	POP3_WAITS_FOR_RESPONSE, /* the next line is a SASL response */
	POP3_WAITS_FOR_OUTPUT, /* for the client to read: a reply goes on, or commands */
	POP3_WAITS_FOR_ACK,    /* QUIT: the client must have all that it retrieved */
	POP3_WAITS_FOR_STORE,  /* UPDATE is being committed */
};

enum pop3_output { POP3_OUT_NONE, POP3_OUT_LIST, POP3_OUT_UIDL, POP3_OUT_MESSAGE };

#define POP3_SESSION_MAGIC 0x504f5033u

struct pop3_session {
	unsigned magic;
	enum pop3_state state;
	enum pop3_waiting waiting;
	struct list node; /* in the worker's list of sessions */
	char id[ID_TEXT_SIZE];
	struct service *service;
	struct worker *worker;
	const struct listener *listener;
	struct worker_conn *token;
	struct conn *conn;
	bool has_tls_settings; /* STLS can be offered */
	bool greeted;
	bool skipping_line; /* the rest of an over-long line is thrown away */
	unsigned errors;

	/* AUTHORIZATION */
	char timestamp[POP3_TIMESTAMP_MAX + 1]; /* the greeting's, for APOP; or empty */
	char user[POP3_USER_MAX + 1];
	bool user_by_apop; /* `user` is not one that PASS may follow */
	struct auth_exchange *exchange;

	/* TRANSACTION */
	bool holds_lease; /* the exclusive lease on the maildrop (RFC 1939 section 4) */
	struct account_id account;
	char login[POP3_USER_MAX + 1];
	struct pop3_rule rule; /* what becomes of what is fetched; never DEFAULT */
	struct pop3_drop drop;

	/* the multi-line reply under way */
	enum pop3_output output;
	uint32_t out_next;   /* LIST, UIDL: message number */
	uint32_t out_number; /* MESSAGE: its number */
	bool out_whole;      /* RETR, not TOP */
	uint64_t out_offset;
	uint64_t out_end;
	struct body_handle body;
	struct framer_stuff stuff;

	/* UPDATE */
	struct loop_timer ack_poll; /* WAITS_FOR_ACK */
	uint64_t ack_poll_ms;
	struct arena *arena;
	struct pop3_update_op update;
	bool gone; /* the connection went while an op was under way */
};

/* The daemon's accept function (service_options). */
void pop3_session_accept(struct service *service, struct worker *worker, int fd,
    const struct listener *listener, struct worker_conn *token);
/* Says goodbye to all sessions of a worker that wait for a command. */
void pop3_sessions_stop(struct service *service, struct worker *worker);
void pop3_sessions_start(struct service *service, struct worker *worker);

/* ---- for the command files ---- */
void pop3_set_state(struct pop3_session *s, enum pop3_state state);
/* The maildrop is opened and the session is in TRANSACTION, or -ERR is written. */
void pop3_session_open(struct pop3_session *s, struct slice login);
/* Runs the commands that lie in the input. */
void pop3_session_run(struct pop3_session *s);
/* Ends the session now; nothing is removed. */
void pop3_session_close(struct pop3_session *s, const char *reason);
/* Continues the multi-line reply if there is one; true when the next command may run. */
bool pop3_output_continue(struct pop3_session *s);
/* Is there so much unread output that the client has to read first? */
bool pop3_output_is_high(const struct pop3_session *s);

#endif
