/*
 * The SMTP client's inside, shared by relay_session.c (connection, mail) and
 * relay_greet.c (EHLO, TLS, login).  Private to smtpd.
 */
#ifndef SMTPD_RELAY_SESSION_INT_H
#define SMTPD_RELAY_SESSION_INT_H

#include "net/framer.h"
#include "smtpd/relay_int.h"

enum session_state {
	STATE_CONNECT,
	STATE_BANNER,
	STATE_EHLO,
	STATE_HELO,
	STATE_STARTTLS,
	STATE_TLS,
	STATE_AUTH,
	STATE_AUTH_USER,
	STATE_AUTH_PASSWORD,
	STATE_READY,
	STATE_ENVELOPE,
	STATE_DATA,
	STATE_BODY,
	STATE_DOT,
	STATE_RESET,
	STATE_QUIT,
};

#define RELAY_SESSION_MAGIC 0x524c5953u

struct relay_session {
	unsigned magic;
	enum session_state state;
	struct relay_site *site;
	struct relay_sender *sender; /* whom it was opened for */
	struct relay_hosts *hosts;   /* as they were known when it was opened */
	struct relay *relay;
	struct conn *conn;
	struct relay_origin origin;
	bool tried;         /* a connection, at least once */
	unsigned epoch;     /* the site's, when it was picked */
	size_t address;     /* index of the one being used */
	bool no_tls;        /* opportunistic TLS failed at this address */
	bool dane_unusable; /* no TLSA record could be used: TLS without a check */
	bool unfit;         /* some host cannot do what the messages demand */
	struct relay_reply reply;
	struct relay_offer offer;
	char error[RELAY_REPLY_TEXT_MAX + 1]; /* why the last host failed */
	struct relay_job *job;
	size_t commands_sent; /* of the envelope: MAIL, then each RCPT */
	size_t replies_seen;
	bool early; /* the next reply began before its command was sent */
	bool mail_refused;
	size_t accepted;
	size_t
	    dot_seen; /* LMTP: recipients before it have had their reply to the message */
	unsigned messages;
	struct body_draft *converted; /* the job's text for a 7-bit host, or null */
	struct buf head; /* the copy's own fields (relay_copy_head), before its text */
	struct framer_stuff stuff;
	uint64_t body_offset;
	struct buf dialogue; /* the attempt's lines, for the trace of one that failed */
	bool ended;
};

static inline const struct conf *
relay_session_conf(const struct relay_session *s)
{
	return service_conf(s->relay->service);
}

static inline const struct relay_address *
relay_session_address(const struct relay_session *s)
{
	return &s->hosts->addresses[s->address];
}

/* The name that this server has there. */
const char *relay_session_own_name(const struct relay_session *s);

/* ---- relay_session.c ---- */
/* This host will not do: the next one, or the site's jobs wait. */
void relay_session_host_failed(
    struct relay_session *s, const char *stage, const char *why);
/* `format` is a literal with at most one %s; the state is the one that waits for the
 * reply. */
void relay_session_send(struct relay_session *s, enum session_state state,
    const char *format, const char *argument);
/* All that must precede mail is done. */
void relay_session_ready(struct relay_session *s);

/* Notes a line of the dialogue; the first RELAY_DIALOGUE_MAX octets are kept. */
void relay_session_note(struct relay_session *s, const char *who, struct slice line);

/* ---- relay_greet.c ---- */
/* For the trace: " TLS by DANE", "" in clear. */
const char *relay_session_tls_text(const struct relay_session *s);
/* Must TLS stand before anything of a message is sent? */
bool relay_session_tls_required(const struct relay_session *s);
void relay_session_begin_tls(struct relay_session *s);
void relay_session_ehlo(struct relay_session *s);
/* A whole reply in one of the states from STATE_BANNER to STATE_AUTH_PASSWORD. */
void relay_session_greet_reply(struct relay_session *s);

/* ---- relay_tlsrpt.c ---- */
/* Counts the session; `failure` is a result type of RFC 8460 section 4.3, null for TLS
 * that stands. */
void relay_tlsrpt_session(
    struct relay_session *s, const char *failure, const char *reason);
/* The handshake has failed; the connection is still there. */
void relay_tlsrpt_handshake(struct relay_session *s, const char *why);

#endif
