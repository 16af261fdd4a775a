/*
 * The SMTP client: one connection to a site, working off its jobs one after the other
 * (RFC 5321; pipelined MAIL and RCPT by RFC 2920; STARTTLS by RFC 3207; AUTH by RFC
 * 4954).
 *
 *   CONNECT ─► BANNER ─► EHLO ─► [STARTTLS ─► TLS ─► EHLO] ─► [AUTH] ─► READY
 *     ▲ next address on failure                                          │ job
 *                    QUIT ◄─ no job ─ READY ◄─ RESET ◄─┐                 ▼
 *                                       ▲              ├─────────── ENVELOPE
 *                                       │              │                 ▼
 *                                       └── DOT ◄─ BODY ◄──────────── DATA
 *
 * A failure before READY concerns the host: the next address is tried, and when none is
 * left all of the site's jobs wait.  From then on it concerns the job.  Nothing we send
 * as message text can end it early: bare CR and LF are rewritten, dots stuffed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "net/framer.h"
#include "smtpd/relay_int.h"
#include "text/encoding.h"

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

enum { CODE_TOO_MANY = 452 };

#define RELAY_SESSION_MAGIC 0x524c5953u

struct relay_session {
	unsigned magic;
	enum session_state state;
	struct relay_site *site;
	struct relay_sender *sender; /* whom it was opened for */
	struct relay_hosts *hosts;   /* as they were known when it was opened */
	struct relay *relay;
	struct conn *conn;
	size_t address; /* index of the one being used */
	bool no_tls;    /* opportunistic TLS failed at this address */
	struct relay_reply reply;
	struct relay_offer offer;
	char error[RELAY_REPLY_TEXT_MAX + 1]; /* why the last host failed */
	struct relay_job *job;
	size_t commands_sent; /* of the envelope: MAIL, then each RCPT */
	size_t replies_seen;
	bool mail_refused;
	size_t accepted;
	unsigned messages;
	struct framer_stuff stuff;
	uint64_t body_offset;
	bool ended;
};

static void session_event(struct conn *c, enum conn_event event, void *arg);
static void job_next(struct relay_session *s);

static const struct conf *
session_conf(const struct relay_session *s)
{
	return service_conf(s->relay->service);
}

static const struct relay_address *
session_address(const struct relay_session *s)
{
	return &s->hosts->addresses[s->address];
}

static void
session_free(void *arg)
{
	struct relay_session *s = arg;
	s->magic = 0;
	relay_hosts_unref(&s->hosts);
	free(s);
}

/* The connection is over; the job, if one is under way, has been finished. */
static void
session_end(struct relay_session *s)
{
	if (s->ended)
		return;
	s->ended = true;
	/* What is left of a message that was broken off is not sent any more. */
	if (s->conn)
		conn_close(&s->conn, s->state != STATE_BODY);
	struct relay_site *site = s->site;
	loop_defer(s->relay->loop, session_free, s);
	relay_session_ended(site, s->sender);
}

static void
address_try(struct relay_session *s)
{
	while (s->address < s->hosts->count) {
		const struct relay_address *a = session_address(s);
		s->state = STATE_CONNECT;
		s->offer = (struct relay_offer){0};
		relay_reply_reset(&s->reply);
		s->conn =
		    conn_connect(s->relay->loop, (const struct sockaddr *)&a->address,
			a->len, NULL, 0, session_event, s);
		if (s->conn) {
			conn_deadline(s->conn, session_conf(s)->relay.connect_timeout_ms);
			return;
		}
		snprintf(s->error, sizeof(s->error),
		    "451 4.4.1 no connection to %s could be made from here", a->host);
		s->address++;
	}
	/* Others get through: it is our number that the site does not like. */
	if (s->site->connections > 1)
		s->site->connections_max = s->site->connections - 1;
	else
		relay_site_fail(s->site, QUEUE_DEFERRED, s->error);
	session_end(s);
}

/* This host will not do: the next one. */
static void
host_failed(struct relay_session *s, const char *stage, const char *why)
{
	snprintf(s->error, sizeof(s->error), "451 4.4.1 %s (%s), %s: %.600s",
	    session_address(s)->host, s->conn ? conn_peer_text(s->conn) : "", stage, why);
	conn_close(&s->conn, false);
	s->address++;
	s->no_tls = false;
	address_try(s);
}

/* The job's recipients that have no outcome yet get this one; the job is done. */
static void
job_end(struct relay_session *s, enum queue_outcome outcome, const char *reply)
{
	struct relay_job *job = s->job;
	s->job = NULL;
	relay_job_finish(s->relay, job, outcome, reply);
}

static void
connection_lost(struct relay_session *s, const char *why)
{
	if (s->state < STATE_READY) {
		host_failed(s, "before the greeting was over", why);
		return;
	}
	if (s->job) {
		char reply[512];
		snprintf(reply, sizeof(reply), "451 4.4.2 %s: connection lost%s: %s",
		    session_address(s)->host,
		    s->state == STATE_DOT ? " after the message was sent, the outcome is "
					    "not known"
					  : "",
		    why);
		job_end(s, QUEUE_DEFERRED, reply);
	}
	session_end(s);
}

static void
command_deadline(struct relay_session *s)
{
	conn_deadline(s->conn, s->state == STATE_DOT
				   ? RELAY_DOT_TIMEOUT_MS
				   : session_conf(s)->relay.command_timeout_ms);
}

static void
send_line(struct relay_session *s, enum session_state state, const char *format,
    const char *argument)
{
	s->state = state;
	relay_reply_reset(&s->reply);
	char line[1100];
	/* `format` is one of our literals with at most one %s. */
	size_t len = strlen(format);
	ENSURE(len + strlen(argument) < sizeof(line));
	const char *hole = strstr(format, "%s");
	int n = hole ? snprintf(line, sizeof(line), "%.*s%s%s", (int)(hole - format),
			   format, argument, hole + 2)
	             : snprintf(line, sizeof(line), "%.*s", (int)len, format);
	conn_write(s->conn, slice_make(line, (size_t)n));
	command_deadline(s);
}

/* ---- greeting, TLS, login ---- */

static void
send_ehlo(struct relay_session *s)
{
	s->offer = (struct relay_offer){0};
	send_line(s, STATE_EHLO, "EHLO %s\r\n", session_conf(s)->hostname);
}

static bool
tls_is_required(const struct relay_session *s)
{
	if (s->site->by_rule)
		return s->site->tls == RELAY_TLS_REQUIRED;
	return strcmp(session_conf(s)->relay.tls, "required") == 0;
}

static void
begin_tls(struct relay_session *s)
{
	s->state = STATE_TLS;
	/* A relay host is known by its name; an MX host's name comes from unsigned DNS,
	 * so there is nothing to verify against (RFC 7672 section 1.3). */
	bool verify = s->site->by_rule && s->site->tls == RELAY_TLS_REQUIRED;
	conn_start_tls_client(s->conn, s->relay->tls, session_address(s)->host, verify);
	conn_deadline(s->conn, session_conf(s)->relay.command_timeout_ms);
}

static void
send_base64(struct relay_session *s, enum session_state state, const char *format,
    struct slice bytes)
{
	struct buf text AUTO_BUF;
	buf_init(&text, 1000);
	base64_encode(bytes, &text);
	buf_append_byte(&text, '\0');
	if (!buf_ok(&text)) {
		host_failed(s, "at login", "the user name or password is too long");
		return;
	}
	send_line(s, state, format, text.ptr);
}

static void
send_auth(struct relay_session *s)
{
	if (!conn_is_secure(s->conn) && s->site->tls != RELAY_TLS_NONE) {
		host_failed(s, "at login", "it offers no TLS, the password was not sent");
		return;
	}
	if (s->offer.auth_plain) {
		struct buf response AUTO_BUF;
		buf_init(&response, 700);
		buf_append_byte(&response, '\0');
		buf_append_cstr(&response, s->site->user);
		buf_append_byte(&response, '\0');
		buf_append_cstr(&response, s->site->password);
		send_base64(s, STATE_AUTH, "AUTH PLAIN %s\r\n", buf_slice(&response));
	} else if (s->offer.auth_login) {
		send_line(s, STATE_AUTH_USER, "AUTH LOGIN\r\n", "");
	} else {
		host_failed(s, "at login", "it offers neither AUTH PLAIN nor LOGIN");
	}
}

/* After EHLO: what is still missing before mail may be sent. */
static void
greeted(struct relay_session *s)
{
	bool secure = conn_is_secure(s->conn);
	bool wanted = !secure && s->site->tls != RELAY_TLS_NONE && !s->no_tls;
	if (wanted && s->offer.starttls) {
		send_line(s, STATE_STARTTLS, "STARTTLS\r\n", "");
		return;
	}
	if (!secure && tls_is_required(s)) {
		host_failed(s, "TLS", "it is required and not offered");
		return;
	}
	if (s->site->user[0] != '\0') {
		send_auth(s);
		return;
	}
	s->state = STATE_READY;
	job_next(s);
}

/* ---- a job ---- */

static void
mail_write(struct relay_session *s)
{
	const struct relay_job *job = s->job;
	conn_write_format(s->conn, "MAIL FROM:<%s>", job->sender);
	if (s->offer.size)
		conn_write_format(s->conn, " SIZE=%llu", (unsigned long long)job->size);
	if ((job->flags & QUEUE_MESSAGE_8BIT) && s->offer.eightbitmime)
		conn_write(s->conn, SLICE(" BODY=8BITMIME"));
	if (job->flags & QUEUE_MESSAGE_UTF8)
		conn_write(s->conn, SLICE(" SMTPUTF8"));
	/* As they were given, and only then (RFC 3461 section 5.2.1). */
	if (s->offer.dsn && (job->flags & QUEUE_MESSAGE_RET_FULL))
		conn_write(s->conn, SLICE(" RET=FULL"));
	else if (s->offer.dsn && (job->flags & QUEUE_MESSAGE_RET_HDRS))
		conn_write(s->conn, SLICE(" RET=HDRS"));
	if (s->offer.dsn && job->envid[0])
		conn_write_format(s->conn, " ENVID=%s", job->envid);
	conn_write(s->conn, SLICE("\r\n"));
}

static void
rcpt_write(struct relay_session *s, const struct relay_recipient *r)
{
	conn_write_format(s->conn, "RCPT TO:<%s>", r->address);
	unsigned notify = r->notify & QUEUE_NOTIFY_ASKED;
	if (s->offer.dsn && notify) {
		static const struct {
			unsigned bit;
			const char *word;
		} words[] = {
		    {QUEUE_NOTIFY_NEVER,   "NEVER"  },
		    {QUEUE_NOTIFY_SUCCESS, "SUCCESS"},
		    {QUEUE_NOTIFY_FAILURE, "FAILURE"},
		    {QUEUE_NOTIFY_DELAY,   "DELAY"  },
		};
		const char *before = " NOTIFY=";
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			if (!(notify & words[i].bit))
				continue;
			conn_write_format(s->conn, "%s%s", before, words[i].word);
			before = ",";
		}
	}
	if (s->offer.dsn && r->orcpt[0])
		conn_write_format(s->conn, " ORCPT=%s", r->orcpt);
	conn_write(s->conn, SLICE("\r\n"));
}

/* The next envelope command, or all of them when the host takes them in one go. */
static void
envelope_write(struct relay_session *s)
{
	size_t end = s->offer.pipelining ? s->job->count + 1 : s->commands_sent + 1;
	while (s->commands_sent < end) {
		if (s->commands_sent == 0)
			mail_write(s);
		else
			rcpt_write(s, &s->job->recipients[s->commands_sent - 1]);
		s->commands_sent++;
	}
	relay_reply_reset(&s->reply);
	command_deadline(s);
}

/* What the host cannot do, known before a byte is sent; null when it can. */
static const char *
job_impossible(const struct relay_session *s)
{
	if ((s->job->flags & QUEUE_MESSAGE_UTF8) && !s->offer.smtputf8)
		return "550 5.6.7 the next server takes no internationalized mail "
		       "(SMTPUTF8)";
	if (s->offer.size_max > 0 && s->job->size > s->offer.size_max)
		return "552 5.3.4 the message is larger than the next server takes";
	return NULL;
}

static void
job_next(struct relay_session *s)
{
	while (!s->job && s->messages < RELAY_MESSAGES_PER_CONNECTION) {
		s->job = relay_site_next_job(s->site);
		if (!s->job)
			break;
		if (!relay_job_open(s->relay, s->job)) {
			s->job = NULL;
			continue;
		}
		snprintf(s->job->via, sizeof(s->job->via), "%s[%s]",
		    session_address(s)->host, conn_peer_text(s->conn));
		const char *impossible = job_impossible(s);
		if (impossible)
			job_end(s, QUEUE_FAILED, impossible);
	}
	if (!s->job) {
		send_line(s, STATE_QUIT, "QUIT\r\n", "");
		session_end(s);
		return;
	}
	s->messages++;
	s->state = STATE_ENVELOPE;
	s->commands_sent = 0;
	s->replies_seen = 0;
	s->mail_refused = false;
	s->accepted = 0;
	envelope_write(s);
}

static enum queue_outcome
reply_outcome(const struct relay_reply *reply)
{
	return relay_reply_class(reply) == REPLY_PERMANENT ? QUEUE_FAILED
	                                                   : QUEUE_DEFERRED;
}

static void
envelope_reply(struct relay_session *s)
{
	bool good = relay_reply_class(&s->reply) == REPLY_GOOD;
	if (s->replies_seen == 0) {
		s->mail_refused = !good;
		if (!good) {
			for (size_t i = 0; i < s->job->count; i++)
				relay_recipient_settle(&s->job->recipients[i],
				    reply_outcome(&s->reply), s->reply.text);
		}
	} else if (!s->mail_refused) {
		struct relay_recipient *r = &s->job->recipients[s->replies_seen - 1];
		if (good)
			s->accepted++;
		else
			relay_recipient_settle(
			    r, reply_outcome(&s->reply), s->reply.text);
		/* Too many for one transaction (RFC 5321 section 4.5.3.1.10). */
		r->again = s->reply.code == CODE_TOO_MANY && s->accepted > 0;
	}
	s->replies_seen++;
	relay_reply_reset(&s->reply);
	if (s->replies_seen < s->commands_sent)
		return;
	if (!s->mail_refused && s->commands_sent < s->job->count + 1)
		envelope_write(s);
	else if (s->accepted > 0)
		send_line(s, STATE_DATA, "DATA\r\n", "");
	else
		send_line(s, STATE_RESET, "RSET\r\n", "");
}

static void
body_continue(struct relay_session *s)
{
	struct slice bytes = body_handle_bytes(&s->job->body);
	struct buf out AUTO_BUF;
	buf_init(&out, 3 * (size_t)RELAY_DATA_SLICE + 16);
	while (conn_output_pending(s->conn) < CONN_OUTPUT_HIGH) {
		buf_reset(&out);
		struct slice part =
		    slice_sub(bytes, (size_t)s->body_offset, RELAY_DATA_SLICE);
		framer_stuff_feed(&s->stuff, part, true, &out);
		s->body_offset += part.len;
		bool ended = s->body_offset == bytes.len;
		if (ended)
			framer_stuff_end(&s->stuff, &out);
		ENSURE(buf_ok(&out));
		conn_write(s->conn, buf_slice(&out));
		if (ended) {
			s->state = STATE_DOT;
			break;
		}
	}
	command_deadline(s);
}

static void
data_reply(struct relay_session *s)
{
	if (relay_reply_class(&s->reply) != REPLY_MORE) {
		for (size_t i = 0; i < s->job->count; i++) {
			struct relay_recipient *r = &s->job->recipients[i];
			if (!r->settled)
				relay_recipient_settle(
				    r, reply_outcome(&s->reply), s->reply.text);
		}
		send_line(s, STATE_RESET, "RSET\r\n", "");
		return;
	}
	s->state = STATE_BODY;
	relay_reply_reset(&s->reply);
	s->body_offset = relay_body_head(body_handle_bytes(&s->job->body));
	framer_stuff_init(&s->stuff);
	body_continue(s);
}

static void
dot_reply(struct relay_session *s)
{
	enum queue_outcome outcome = relay_reply_class(&s->reply) == REPLY_GOOD
	                                 ? QUEUE_DELIVERED
	                                 : reply_outcome(&s->reply);
	job_end(s, outcome, s->reply.text);
	s->state = STATE_READY;
	job_next(s);
}

/* ---- replies and events ---- */

static void
reply_complete(struct relay_session *s)
{
	enum relay_reply_class class = relay_reply_class(&s->reply);
	switch (s->state) {
	case STATE_BANNER:
		if (class == REPLY_GOOD)
			send_ehlo(s);
		else
			host_failed(s, "greeting", s->reply.text);
		break;
	case STATE_EHLO:
		if (class == REPLY_GOOD)
			greeted(s);
		else if (class == REPLY_PERMANENT && !conn_is_secure(s->conn))
			/* An old server: HELO (RFC 5321 section 3.2). */
			send_line(
			    s, STATE_HELO, "HELO %s\r\n", session_conf(s)->hostname);
		else
			host_failed(s, "EHLO", s->reply.text);
		break;
	case STATE_HELO:
		if (class == REPLY_GOOD)
			greeted(s);
		else
			host_failed(s, "HELO", s->reply.text);
		break;
	case STATE_STARTTLS:
		if (class == REPLY_GOOD) {
			begin_tls(s);
		} else if (tls_is_required(s)) {
			host_failed(s, "STARTTLS", s->reply.text);
		} else {
			s->no_tls = true;
			greeted(s);
		}
		break;
	case STATE_AUTH_USER:
		if (class == REPLY_MORE)
			send_base64(s, STATE_AUTH_PASSWORD, "%s\r\n",
			    slice_from_cstr(s->site->user));
		else
			host_failed(s, "login", s->reply.text);
		break;
	case STATE_AUTH_PASSWORD:
		if (class == REPLY_MORE)
			send_base64(
			    s, STATE_AUTH, "%s\r\n", slice_from_cstr(s->site->password));
		else
			host_failed(s, "login", s->reply.text);
		break;
	case STATE_AUTH:
		if (class == REPLY_GOOD) {
			s->state = STATE_READY;
			job_next(s);
		} else {
			host_failed(s, "login was refused", s->reply.text);
		}
		break;
	case STATE_ENVELOPE:
		envelope_reply(s);
		break;
	case STATE_DATA:
		data_reply(s);
		break;
	case STATE_DOT:
		dot_reply(s);
		break;
	case STATE_RESET:
		job_end(s, QUEUE_DEFERRED, "451 4.4.0 not tried");
		s->state = STATE_READY;
		job_next(s);
		break;
	case STATE_BODY:
		/* It has seen enough of the message: what it says counts. */
		if (class == REPLY_PERMANENT) {
			job_end(s, QUEUE_FAILED, s->reply.text);
			session_end(s);
			break;
		}
		connection_lost(s, s->reply.text);
		break;
	case STATE_CONNECT:
	case STATE_TLS:
	case STATE_READY:
	case STATE_QUIT:
		/* A reply that nothing asked for: 421 as a goodbye, or worse. */
		connection_lost(s, s->reply.text);
		break;
	}
}

static void
input_run(struct relay_session *s)
{
	while (s->conn && !s->ended && s->state != STATE_TLS) {
		struct slice line;
		size_t used;
		enum framer_result result =
		    framer_line(conn_input(s->conn), RELAY_REPLY_LINE_MAX, &line, &used);
		if (result == FRAMER_MORE)
			return;
		if (result != FRAMER_DONE || !relay_reply_line(&s->reply, line)) {
			connection_lost(s, "its reply breaks the protocol");
			return;
		}
		if (s->state == STATE_EHLO && s->reply.lines > 1)
			relay_offer_line(&s->offer, slice_from(line, 4));
		bool complete = s->reply.complete;
		conn_consume(s->conn, used);
		if (complete)
			reply_complete(s);
	}
}

static void
connection_closed(struct relay_session *s)
{
	char why[256];
	snprintf(why, sizeof(why), "%s", conn_error(s->conn));
	/* Opportunistic: without TLS is better than not at all (RFC 7435). */
	if (s->state == STATE_TLS && !tls_is_required(s) && !s->site->implicit_tls) {
		conn_close(&s->conn, false);
		s->no_tls = true;
		address_try(s);
		return;
	}
	connection_lost(s, why);
}

static void
session_event(struct conn *c, enum conn_event event, void *arg)
{
	struct relay_session *s = OBJ_CAST(relay_session, arg, RELAY_SESSION_MAGIC);
	(void)c;
	if (s->ended)
		return;
	switch (event) {
	case CONN_CONNECTED:
		if (s->site->implicit_tls) {
			begin_tls(s);
			break;
		}
		s->state = STATE_BANNER;
		command_deadline(s);
		break;
	case CONN_SECURED:
		if (s->site->implicit_tls) {
			s->state = STATE_BANNER;
			command_deadline(s);
			input_run(s);
		} else {
			/* What was offered in clear is forgotten (RFC 3207 section 4.2).
			 */
			send_ehlo(s);
		}
		break;
	case CONN_READ:
		input_run(s);
		break;
	case CONN_DRAINED:
		if (s->state == STATE_BODY)
			body_continue(s);
		break;
	case CONN_TIMEOUT:
		connection_lost(s, "no answer in time");
		break;
	case CONN_CLOSED:
		connection_closed(s);
		break;
	}
}

void
relay_session_start(struct relay_site *site)
{
	struct relay_session *s = xcalloc(1, sizeof(*s));
	s->sender = relay_connection_began(site);
	s->magic = RELAY_SESSION_MAGIC;
	s->site = site;
	s->relay = site->relay;
	s->hosts = relay_hosts_ref(site->hosts);
	address_try(s);
}
