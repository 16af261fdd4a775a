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

#include "base/clock.h"
#include "base/ensure.h"
#include "smtpd/relay_session_int.h"
#include "text/mime_convert.h"

enum {
	CODE_TOO_MANY = 452,
	CONVERT_ROOM = 64 * 1024, /* octets of fields that a conversion adds */
};

static void session_event(struct conn *c, enum conn_event event, void *arg);
static void job_next(struct relay_session *s);

/* The text of the job under way, as it is sent to this host. */
static struct slice
session_text(const struct relay_session *s)
{
	return s->converted ? body_draft_bytes(s->converted)
	                    : body_handle_bytes(&s->job->body);
}

/* Octets that go out, about. */
static uint64_t
session_size(const struct relay_session *s)
{
	return (uint64_t)s->head.len + session_text(s).len;
}

static void
session_free(void *arg)
{
	struct relay_session *s = arg;
	s->magic = 0;
	relay_hosts_unref(&s->hosts);
	buf_fini(&s->dialogue);
	buf_fini(&s->head);
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
	relay_origin_release(&s->origin);
	loop_defer(s->relay->loop, session_free, s);
	relay_session_ended(site, s->sender);
}

static void
address_try(struct relay_session *s)
{
	while (s->address < s->hosts->count) {
		const struct relay_address *a = relay_session_address(s);
		s->state = STATE_CONNECT;
		s->offer = (struct relay_offer){0};
		relay_reply_reset(&s->reply);
		const struct sockaddr *to = (const struct sockaddr *)&a->address;
		relay_origin_release(&s->origin);
		enum relay_origin_result picked =
		    relay_origin_pick(s->site, to, &s->origin);
		if (picked == RELAY_ORIGIN_NONE) {
			s->tried = true;
			snprintf(s->error, sizeof(s->error),
			    "451 4.4.1 the pool has no address of the kind that %s has",
			    a->host);
		}
		if (picked != RELAY_ORIGIN_PICKED) {
			s->address++;
			continue;
		}
		s->tried = true;
		s->conn = conn_connect(s->relay->loop, to, a->len,
		    s->origin.set ? (const struct sockaddr *)&s->origin.source.address
				  : NULL,
		    s->origin.set ? s->origin.source.len : 0, session_event, s);
		if (s->conn) {
			conn_deadline(
			    s->conn, relay_session_conf(s)->relay.connect_timeout_ms);
			return;
		}
		snprintf(s->error, sizeof(s->error),
		    "451 4.4.1 no connection to %s could be made from here", a->host);
		s->address++;
	}
	/* No address of ours may be used now: nothing was tried. */
	if (!s->tried) {
		session_end(s);
		return;
	}
	/* Others get through: it is our number that the site does not like. */
	unsigned fewer = s->site->connections - 1;
	if (fewer > 0 && fewer < s->site->connections_max)
		s->site->connections_max = fewer;
	if (fewer == 0)
		relay_site_fail(
		    s->site, s->unfit ? QUEUE_FAILED : QUEUE_DEFERRED, s->error);
	session_end(s);
}

void
relay_session_host_failed(struct relay_session *s, const char *stage, const char *why)
{
	snprintf(s->error, sizeof(s->error), "%s %s (%s), %s: %.600s",
	    s->unfit ? "550 5.7.30" : "451 4.4.1", relay_session_address(s)->host,
	    s->conn ? conn_peer_text(s->conn) : "", stage, why);
	conn_close(&s->conn, false);
	/* It wants to be left alone, so do its other hosts; or it is tried again from
	 * another pool. */
	if (relay_site_is_paused(s->site) || s->epoch != s->site->epoch) {
		session_end(s);
		return;
	}
	s->address++;
	s->no_tls = false;
	address_try(s);
}

void
relay_session_note(struct relay_session *s, const char *who, struct slice line)
{
	if (s->dialogue.len >= RELAY_DIALOGUE_MAX)
		return;
	buf_append_cstr(&s->dialogue, who);
	for (size_t i = 0; i < line.len && s->dialogue.len < RELAY_DIALOGUE_MAX; i++) {
		char c = line.ptr[i];
		if (c != '\r' && c != '\n')
			buf_append_byte(&s->dialogue, c >= ' ' && c < 127 ? c : '?');
	}
}

/* What was said in an attempt that did not reach everybody (postroom trace). */
static void
dialogue_tell(
    struct relay_session *s, const struct relay_job *job, enum queue_outcome outcome)
{
	bool failed = false;
	for (size_t i = 0; i < job->count; i++) {
		const struct relay_recipient *r = &job->recipients[i];
		failed |= (r->settled ? r->outcome : outcome) != QUEUE_DELIVERED;
	}
	if (!failed || s->dialogue.len == 0)
		return;
	buf_append_byte(&s->dialogue, '\0');
	TRACE(s->relay->trace, "relay.dialogue", LF_STR("mid", job->id),
	    LF_STR("from", job->sender), LF_STR("host", job->via),
	    LF_STR("said", s->dialogue.ptr));
}

/* The job's recipients that have no outcome yet get this one; the job is done. */
static void
job_end(struct relay_session *s, enum queue_outcome outcome, const char *reply)
{
	struct relay_job *job = s->job;
	s->job = NULL;
	if (s->converted)
		body_draft_unref(&s->converted);
	dialogue_tell(s, job, outcome);
	buf_reset(&s->dialogue);
	relay_job_finish(s->relay, job, outcome, reply);
}

static void
connection_lost(struct relay_session *s, const char *why)
{
	if (s->state < STATE_READY) {
		relay_session_host_failed(s, "before the greeting was over", why);
		return;
	}
	if (s->job) {
		char reply[512];
		snprintf(reply, sizeof(reply), "451 4.4.2 %s: connection lost%s: %s",
		    relay_session_address(s)->host,
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
				   : relay_session_conf(s)->relay.command_timeout_ms);
}

void
relay_session_send(struct relay_session *s, enum session_state state, const char *format,
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
	/* Secrets are not told. */
	if (state < STATE_AUTH || state > STATE_AUTH_PASSWORD)
		relay_session_note(s, " > ", slice_make(line, (size_t)n));
	command_deadline(s);
}

void
relay_session_ready(struct relay_session *s)
{
	s->state = STATE_READY;
	job_next(s);
}

/* ---- a job ---- */

static void
mail_write(struct relay_session *s)
{
	const struct relay_job *job = s->job;
	conn_write_format(s->conn, "MAIL FROM:<%s>", job->mail_from);
	relay_session_note(s, " > MAIL FROM:", slice_from_cstr(job->mail_from));
	if (s->offer.size)
		conn_write_format(
		    s->conn, " SIZE=%llu", (unsigned long long)session_size(s));
	if ((job->flags & QUEUE_MESSAGE_8BIT) && s->offer.eightbitmime)
		conn_write(s->conn, SLICE(" BODY=8BITMIME"));
	if (job->flags & QUEUE_MESSAGE_UTF8)
		conn_write(s->conn, SLICE(" SMTPUTF8"));
	if ((job->flags & QUEUE_MESSAGE_REQUIRETLS) && s->offer.requiretls &&
	    conn_is_secure(s->conn))
		conn_write(s->conn, SLICE(" REQUIRETLS"));
	/* As they were given, and only then (RFC 3461 section 5.2.1). */
	if (s->offer.dsn && (job->flags & QUEUE_MESSAGE_RET_FULL))
		conn_write(s->conn, SLICE(" RET=FULL"));
	else if (s->offer.dsn && (job->flags & QUEUE_MESSAGE_RET_HDRS))
		conn_write(s->conn, SLICE(" RET=HDRS"));
	if (s->offer.dsn && job->envid[0])
		conn_write_format(s->conn, " ENVID=%s", job->envid);
	if (s->offer.mt_priority)
		conn_write_format(s->conn, " MT-PRIORITY=%d", (int)job->priority);
	if (job->by_s && s->offer.deliverby)
		conn_write_format(s->conn, " BY=%lld;%s%s",
		    (long long)(job->by_s - clock_wall_s()),
		    job->flags & QUEUE_MESSAGE_BY_RETURN ? "R" : "N",
		    job->flags & QUEUE_MESSAGE_BY_TRACE ? "T" : "");
	conn_write(s->conn, SLICE("\r\n"));
}

static void
rcpt_write(struct relay_session *s, const struct relay_recipient *r)
{
	conn_write_format(s->conn, "RCPT TO:<%s>", r->address);
	relay_session_note(s, " > RCPT TO:", slice_from_cstr(r->address));
	unsigned notify = r->notify & QUEUE_NOTIFY_ASKED;
	/* Nobody but the next host can tell of the delay (RFC 2852 section 4.1.4.2). */
	if (s->job->by_s && !s->offer.deliverby && !(notify & QUEUE_NOTIFY_NEVER))
		notify |= notify ? QUEUE_NOTIFY_DELAY
		                 : QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_DELAY;
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

static bool
convert_write(struct slice bytes, void *arg)
{
	return body_draft_append(arg, bytes) == STATUS_OK;
}

/* The job's text for a host that takes 7 bits only (RFC 6152 section 3); null when it is
 * there, else why not. */
static const char *
job_convert(struct relay_session *s)
{
	if (!(s->job->flags & QUEUE_MESSAGE_8BIT) || s->offer.eightbitmime)
		return NULL;
	struct slice text = body_handle_bytes(&s->job->body);
	bool has_8bit;
	/* Quoted-printable makes at most three of one, and its line ends. */
	s->converted = body_draft_new(
	    store_reader_store(s->relay->reader), 4 * (uint64_t)text.len + CONVERT_ROOM);
	enum mime_convert_result result =
	    mime_convert(text, MIME_FORM_7BIT, convert_write, s->converted, &has_8bit);
	if (result == MIME_CONVERT_DONE && body_draft_seal(s->converted) == STATUS_OK)
		return NULL;
	body_draft_unref(&s->converted);
	return result == MIME_CONVERT_IMPOSSIBLE
	           ? "554 5.6.3 the next server takes no 8-bit text (8BITMIME), and the "
	             "message is signed or cannot be encoded"
	           : "451 4.3.0 the message could not be encoded";
}

/* What the host cannot do, known before a byte is sent; null when it can. */
static const char *
job_impossible(const struct relay_session *s)
{
	if ((s->job->flags & QUEUE_MESSAGE_UTF8) && !s->offer.smtputf8)
		return "550 5.6.7 the next server takes no internationalized mail "
		       "(SMTPUTF8)";
	if ((s->job->flags & QUEUE_MESSAGE_BY_RETURN) &&
	    (!s->offer.deliverby ||
		s->job->by_s - clock_wall_s() < (int64_t)s->offer.by_min_s))
		return "554 5.3.3 the next server cannot keep the time for delivery that "
		       "the sender set (DELIVERBY)";
	if (s->offer.size_max > 0 && session_size(s) > s->offer.size_max)
		return "552 5.3.4 the message is larger than the next server takes";
	return NULL;
}

/* May a job go by this connection?  It was opened at the level of TLS that was right
 * then; it takes its first job, and goes on as long as nothing else is known of the site.
 */
static bool
session_is_current(const struct relay_session *s)
{
	return s->epoch == s->site->epoch &&
	       (s->messages == 0 ||
		   (s->hosts == s->site->hosts && relay_site_is_known(s->site)));
}

static void
job_next(struct relay_session *s)
{
	while (!s->job && s->messages < RELAY_MESSAGES_PER_CONNECTION) {
		if (session_is_current(s))
			s->job = relay_site_next_job(s->site, &s->origin);
		if (!s->job)
			break;
		if (!relay_job_open(s->relay, s->job)) {
			s->job = NULL;
			continue;
		}
		snprintf(s->job->via, sizeof(s->job->via), "%.150s[%s]%s%s%s",
		    relay_session_address(s)->host, conn_peer_text(s->conn),
		    relay_session_tls_text(s), s->origin.set ? " from " : "",
		    s->origin.set ? s->origin.source.text : "");
		buf_reset(&s->head);
		relay_copy_head(s->relay, s->job, &s->head);
		const char *impossible = job_convert(s);
		if (!buf_ok(&s->head))
			impossible = "451 4.3.0 the fields of the copy could not be made";
		if (!impossible)
			impossible = job_impossible(s);
		if (impossible)
			job_end(s, impossible[0] == '4' ? QUEUE_DEFERRED : QUEUE_FAILED,
			    impossible);
	}
	if (!s->job) {
		relay_session_send(s, STATE_QUIT, "QUIT\r\n", "");
		session_end(s);
		return;
	}
	s->messages++;
	s->state = STATE_ENVELOPE;
	s->commands_sent = 0;
	s->replies_seen = 0;
	s->mail_refused = false;
	s->accepted = 0;
	s->dot_seen = 0;
	envelope_write(s);
}

/* The recipient's outcome in the host's own words. */
static void
settle_by_reply(
    struct relay_session *s, struct relay_recipient *r, enum queue_outcome outcome)
{
	relay_recipient_settle(r, outcome, s->reply.text);
	r->remote = true;
	r->success = s->offer.dsn ? RELAY_SUCCESS_PASSED : RELAY_SUCCESS_RELAYED;
	/* RFC 2852 section 4.1.4 and 4.1.4.2. */
	const struct relay_job *job = s->job;
	r->told_always =
	    job->by_s && ((job->flags & QUEUE_MESSAGE_BY_TRACE) ||
			     (!s->offer.deliverby && clock_wall_s() < job->by_s));
	if (r->told_always)
		r->success = RELAY_SUCCESS_RELAYED;
}

/* What has no outcome yet gets the refusal that was just read. */
static void
refuse(struct relay_session *s, struct relay_recipient *recipients, size_t count)
{
	int64_t due_s;
	enum queue_outcome outcome = relay_refusal_judge(
	    s->site, relay_session_address(s)->host, s->epoch, &s->reply, &due_s);
	for (size_t i = 0; i < count; i++) {
		if (recipients[i].settled)
			continue;
		settle_by_reply(s, &recipients[i], outcome);
		recipients[i].due_s = due_s;
	}
}

static void
envelope_reply(struct relay_session *s)
{
	bool good = relay_reply_class(&s->reply) == REPLY_GOOD;
	if (s->replies_seen == 0) {
		s->mail_refused = !good;
		if (!good)
			refuse(s, s->job->recipients, s->job->count);
	} else if (!s->mail_refused) {
		struct relay_recipient *r = &s->job->recipients[s->replies_seen - 1];
		if (good)
			s->accepted++;
		else
			refuse(s, r, 1);
		/* Too many for one transaction (RFC 5321 section 4.5.3.1.10). */
		if (s->reply.code == CODE_TOO_MANY && s->accepted > 0 && r->due_s == 0)
			r->due_s = clock_wall_s();
	}
	s->replies_seen++;
	relay_reply_reset(&s->reply);
	if (s->replies_seen < s->commands_sent)
		return;
	if (!s->mail_refused && s->commands_sent < s->job->count + 1)
		envelope_write(s);
	else if (s->accepted > 0)
		relay_session_send(s, STATE_DATA, "DATA\r\n", "");
	else
		relay_session_send(s, STATE_RESET, "RSET\r\n", "");
}

static void
body_continue(struct relay_session *s)
{
	struct slice bytes = session_text(s);
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
head_write(struct relay_session *s)
{
	struct buf out AUTO_BUF;
	buf_init(&out, 3 * (size_t)RELAY_COPY_HEAD_MAX + 16);
	framer_stuff_feed(&s->stuff, buf_slice(&s->head), true, &out);
	ENSURE(buf_ok(&out));
	conn_write(s->conn, buf_slice(&out));
}

static void
data_reply(struct relay_session *s)
{
	if (relay_reply_class(&s->reply) != REPLY_MORE) {
		refuse(s, s->job->recipients, s->job->count);
		relay_session_send(s, STATE_RESET, "RSET\r\n", "");
		return;
	}
	s->state = STATE_BODY;
	relay_reply_reset(&s->reply);
	s->body_offset = relay_body_head(session_text(s));
	framer_stuff_init(&s->stuff);
	head_write(s);
	body_continue(s);
}

/* RFC 2033 section 4.2: one reply for each recipient that was accepted at RCPT, in their
 * order.  What was answered is settled and stays so when the connection breaks off before
 * the rest.  True when it was the last one. */
static bool
dot_reply_one(struct relay_session *s)
{
	struct relay_recipient *r = NULL;
	bool more = false;
	for (; s->dot_seen < s->job->count && !r; s->dot_seen++) {
		if (!s->job->recipients[s->dot_seen].settled)
			r = &s->job->recipients[s->dot_seen];
	}
	/* There are as many replies as recipients without an outcome. */
	ENSURE(r);
	if (relay_reply_class(&s->reply) == REPLY_GOOD)
		settle_by_reply(s, r, QUEUE_DELIVERED);
	else
		refuse(s, r, 1);
	for (size_t i = s->dot_seen; i < s->job->count; i++)
		more |= !s->job->recipients[i].settled;
	if (!more)
		return true;
	relay_reply_reset(&s->reply);
	command_deadline(s);
	return false;
}

static void
dot_reply(struct relay_session *s)
{
	if (s->site->lmtp && !dot_reply_one(s))
		return;
	if (relay_reply_class(&s->reply) != REPLY_GOOD)
		refuse(s, s->job->recipients, s->job->count);
	for (size_t i = 0; i < s->job->count; i++) {
		if (!s->job->recipients[i].settled)
			settle_by_reply(s, &s->job->recipients[i], QUEUE_DELIVERED);
	}
	job_end(s, QUEUE_DELIVERED, s->reply.text);
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
	case STATE_EHLO:
	case STATE_HELO:
	case STATE_STARTTLS:
	case STATE_AUTH_USER:
	case STATE_AUTH_PASSWORD:
	case STATE_AUTH:
		relay_session_greet_reply(s);
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
		/* It has seen enough of the message: what it says counts (by LMTP for one
		 * of the recipients at most). */
		if (class == REPLY_PERMANENT && !s->site->lmtp) {
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

/* Octets are there although the last command has only just been written: they answer what
 * was not asked yet.  Pipelined envelopes and LMTP's text have several replies due. */
static bool
input_is_early(const struct relay_session *s)
{
	bool due =
	    (s->state == STATE_ENVELOPE && s->offer.pipelining && s->replies_seen > 0) ||
	    (s->state == STATE_DOT && s->site->lmtp && s->dot_seen > 0);
	return s->conn && !s->ended && !due && s->state != STATE_CONNECT &&
	       s->state != STATE_TLS && conn_input(s->conn).len > 0;
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
		relay_session_note(s, " < ", line);
		enum relay_reply_class class = relay_reply_class(&s->reply);
		conn_consume(s->conn, used);
		if (!s->reply.complete)
			continue;
		/* A refusal may come early; a yes would be to something else. */
		if (s->early && s->state != STATE_BANNER &&
		    (class == REPLY_GOOD || class == REPLY_MORE)) {
			connection_lost(s, "it replied before it was asked");
			return;
		}
		reply_complete(s);
		s->early = input_is_early(s);
	}
}

static void
connection_closed(struct relay_session *s)
{
	char why[256];
	snprintf(why, sizeof(why), "%s", conn_error(s->conn));
	if (s->state == STATE_TLS)
		relay_tlsrpt_handshake(s, why);
	/* Opportunistic: without TLS is better than not at all (RFC 7435). */
	if (s->state == STATE_TLS && !relay_session_tls_required(s) &&
	    !s->site->implicit_tls) {
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
			relay_session_begin_tls(s);
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
			relay_session_ehlo(s);
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
	s->epoch = site->epoch;
	buf_init(&s->dialogue, RELAY_DIALOGUE_MAX + 64);
	buf_init(&s->head, RELAY_COPY_HEAD_MAX);
	address_try(s);
}
