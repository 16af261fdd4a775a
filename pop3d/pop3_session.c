/*
 * The POP3 session's life; see pop3_session.h.  Runs on its worker's thread.
 */
#include "pop3d/pop3_session.h"

#include <stdio.h>

#include "base/log.h"
#include "base/stats.h"
#include "pop3d/pop3_cmd.h"
#include "pop3d/pop3_login.h"
#include "pop3d/pop3_resp.h"

static void session_event(struct conn *c, enum conn_event event, void *arg);

static const unsigned allowed_next[] = {
    [POP3_GREET] = 1u << POP3_AUTHORIZATION | 1u << POP3_CLOSED,
    [POP3_AUTHORIZATION] = 1u << POP3_GREET | 1u << POP3_OPENING | 1u << POP3_CLOSED,
    [POP3_OPENING] =
	1u << POP3_TRANSACTION | 1u << POP3_AUTHORIZATION | 1u << POP3_CLOSED,
    [POP3_TRANSACTION] = 1u << POP3_UPDATE | 1u << POP3_CLOSED,
    [POP3_UPDATE] = 1u << POP3_CLOSED,
    [POP3_CLOSED] = 0,
};

void
pop3_set_state(struct pop3_session *s, enum pop3_state state)
{
	ENSURE(allowed_next[s->state] & 1u << state);
	s->state = state;
}

/* Each state, and a client that does not read, has its own patience. */
static void
deadline_set(struct pop3_session *s)
{
	uint64_t ms = service_conf(s->service)->pop3.idle_timeout_ms;
	if (s->state == POP3_GREET || s->state == POP3_AUTHORIZATION)
		ms = POP3_PREAUTH_TIMEOUT_MS;
	else if (s->waiting == POP3_WAITS_FOR_OUTPUT || s->waiting == POP3_WAITS_FOR_ACK)
		ms = POP3_SEND_TIMEOUT_MS;
	else if (s->waiting == POP3_WAITS_FOR_STORE)
		ms = 0; /* the store answers in any case */
	conn_deadline(s->conn, ms);
}

/* RFC 1939 section 7: a timestamp says that APOP can be had, so there is one only where
 * somebody's secret is kept.  When the directory cannot be read there is none: a client
 * logs in by another way, or is told then. */
static void
timestamp_make(struct pop3_session *s)
{
	bool any = false;
	char id[ID_TEXT_SIZE];
	if (directory_apop_any(service_reader(s->worker), &any) != STATUS_OK || !any)
		return;
	/* Not the session's id, which the log tells before. */
	id_make(id);
	int len = snprintf(s->timestamp, sizeof(s->timestamp), "<%s@%s>", id,
	    service_conf(s->service)->hostname);
	if (len < 0 || (size_t)len >= sizeof(s->timestamp))
		s->timestamp[0] = '\0';
}

static void
greet(struct pop3_session *s)
{
	pop3_set_state(s, POP3_AUTHORIZATION);
	if (!s->greeted) {
		timestamp_make(s);
		pop3_resp_ok_format(s, "%s POP3 ready%s%s",
		    service_conf(s->service)->hostname, s->timestamp[0] ? " " : "",
		    s->timestamp);
	}
	s->greeted = true;
	deadline_set(s);
}

void
pop3_session_accept(struct service *service, struct worker *worker, int fd,
    const struct listener *listener, struct worker_conn *token)
{
	struct pop3_session *s = xcalloc(1, sizeof(*s));
	s->magic = POP3_SESSION_MAGIC;
	s->service = service;
	s->worker = worker;
	s->listener = listener;
	s->token = token;
	s->has_tls_settings = listener->tls == LISTENER_TLS_STARTTLS;
	id_make(s->id);
	s->conn = conn_new(worker_loop(worker), fd, session_event, s);
	worker_conn_adopt(token, s->conn);
	list_append(service_worker_user(worker), &s->node);
	stats_add(stats_get("pop3_connections_total"), 1);
	LOG_DEBUG(
	    "conn.open", LF_STR("sid", s->id), LF_STR("peer", conn_peer_text(s->conn)));
	if (listener->tls != LISTENER_TLS_IMPLICIT) {
		greet(s);
		return;
	}
	struct tls_context *tls = service_tls(service);
	if (!tls) {
		pop3_session_close(s, "no certificate is configured");
		return;
	}
	deadline_set(s);
	conn_start_tls_server(s->conn, tls);
	tls_context_unref(&tls);
}

static void
session_free(void *arg)
{
	struct pop3_session *s = arg;
	s->magic = 0;
	free(s);
}

void
pop3_session_close(struct pop3_session *s, const char *reason)
{
	if (s->conn)
		conn_close(&s->conn, true);
	loop_timer_stop(&s->ack_poll);
	if (s->waiting == POP3_WAITS_FOR_STORE) {
		/* UPDATE is being committed: its op stands in this struct.  Until it is
		 * done the lease is held too, so that no second session sees half. */
		s->gone = true;
		return;
	}
	if (s->state == POP3_CLOSED)
		return;
	LOG_INFO("pop3.logout", LF_STR("sid", s->id), LF_STR("user", s->login),
	    LF_STR("reason", reason), LF_U64("removed", s->update.out_removed));
	s->state = POP3_CLOSED;
	auth_end(&s->exchange);
	body_handle_close(&s->body);
	pop3_drop_close(&s->drop);
	arena_free(&s->arena);
	if (s->holds_lease)
		service_session_end(s->service, s->account);
	list_remove(&s->node);
	worker_conn_done(s->token);
	loop_defer(worker_loop(s->worker), session_free, s);
}

/* ---- from AUTHORIZATION to TRANSACTION ---- */

static void
open_failed(struct pop3_session *s, enum status status)
{
	if (s->holds_lease)
		service_session_end(s->service, s->account);
	s->holds_lease = false;
	pop3_set_state(s, POP3_AUTHORIZATION);
	if (status == STATUS_NOT_FOUND)
		pop3_resp_err(s, "SYS/PERM", "this account has been removed");
	else
		pop3_resp_status(s, status);
}

void
pop3_session_open(struct pop3_session *s, struct slice login)
{
	struct store_reader *reader = service_reader(s->worker);
	struct directory_account account;
	pop3_set_state(s, POP3_OPENING);
	enum status status = directory_account_find(reader, login, &account);
	if (status != STATUS_OK) {
		open_failed(s, status);
		return;
	}
	s->account = account.id;
	if (!slice_copy_cstr(account.login, s->login, sizeof(s->login)))
		s->login[0] = '\0';
	s->rule = account.pop3.policy == POP3_POLICY_DEFAULT
	              ? service_pop3_rule(service_conf(s->service))
	              : account.pop3;
	const struct conf *conf = service_conf(s->service);
	uint64_t delay_ms = conf->pop3.login_delay_s * 1000;
	uint64_t wait_ms = delay_ms ? pop3_login_wait_ms(s->account, delay_ms) : 0;
	if (wait_ms > 0) {
		char text[80];
		snprintf(text, sizeof(text), "you logged in a moment ago, wait %llu s",
		    (unsigned long long)(wait_ms + 999) / 1000);
		pop3_set_state(s, POP3_AUTHORIZATION);
		pop3_resp_err(s, "LOGIN-DELAY", text);
		return;
	}
	/* The exclusive lease: one session an account, gone with its session.  When they
	 * are shared each has its own marks, and what another one has removed already is
	 * no error at QUIT. */
	s->holds_lease = service_session_begin(s->service, s->account,
	    conf->pop3.shared_sessions ? POP3_SHARED_SESSIONS_MAX : 1);
	if (!s->holds_lease) {
		pop3_set_state(s, POP3_AUTHORIZATION);
		pop3_resp_err(s, "IN-USE",
		    "another POP3 session has this maildrop open, try again later");
		return;
	}
	status = pop3_drop_open(reader, s->account, &s->drop);
	if (status != STATUS_OK) {
		open_failed(s, status);
		return;
	}
	if (delay_ms)
		pop3_login_note(s->account);
	pop3_set_state(s, POP3_TRANSACTION);
	LOG_INFO("pop3.login", LF_STR("sid", s->id), LF_STR("user", s->login),
	    LF_STR("peer", conn_peer_text(s->conn)), LF("tls", conn_tls_text(s->conn)),
	    LF_U64("messages", s->drop.count));
	pop3_resp_ok_format(s, "%u messages (%llu octets)%s", s->drop.count,
	    (unsigned long long)s->drop.bytes,
	    s->rule.policy == POP3_POLICY_DELETE
		? "; what you retrieve is removed at QUIT"
		: "");
}

/* ---- input ---- */

/* Takes one line out of the input and runs it; false when there is none. */
static bool
run_line(struct pop3_session *s)
{
	struct slice input = conn_input(s->conn);
	if (s->skipping_line) {
		bool ended;
		size_t used = framer_skip_line(input, &ended);
		conn_consume(s->conn, used);
		s->skipping_line = !ended;
		return ended;
	}
	size_t line_max =
	    s->waiting == POP3_WAITS_FOR_RESPONSE || s->state == POP3_AUTHORIZATION
		? POP3_AUTH_LINE_MAX
		: POP3_LINE_MAX;
	struct slice line;
	size_t used;
	enum framer_result result = framer_line(input, line_max, &line, &used);
	if (result == FRAMER_MORE)
		return false;
	if (result == FRAMER_DONE) {
		if (s->waiting == POP3_WAITS_FOR_RESPONSE)
			pop3_auth_response(s, line);
		else
			pop3_cmd_dispatch(s, line);
	} else {
		s->skipping_line = used == 0;
		if (s->waiting == POP3_WAITS_FOR_RESPONSE) {
			auth_end(&s->exchange);
			s->waiting = POP3_WAITS_FOR_NOTHING;
		}
		pop3_resp_err(s, NULL,
		    result == FRAMER_TOO_LONG ? "this line is too long"
					      : "a line ends in CR LF and holds no NUL");
	}
	/* STLS has thrown the input away, QUIT has closed. */
	if (s->conn && s->state != POP3_GREET)
		conn_consume(s->conn, used);
	return true;
}

static bool
wants_line(const struct pop3_session *s)
{
	if (!s->conn || s->state == POP3_CLOSED || s->state == POP3_GREET)
		return false;
	return s->waiting == POP3_WAITS_FOR_NOTHING ||
	       s->waiting == POP3_WAITS_FOR_RESPONSE;
}

/* While a log-in is checked, an UPDATE is committed, or the client has to read first,
 * nothing is read and the end of the input is not told: a client that has said all and
 * shut its side down still gets its replies.  Not while the acknowledgement of what was
 * retrieved is awaited: there the end of the connection has to be heard of. */
static void
input_gate(struct pop3_session *s)
{
	if (s->waiting == POP3_WAITS_FOR_AUTH || s->waiting == POP3_WAITS_FOR_OUTPUT ||
	    s->waiting == POP3_WAITS_FOR_STORE)
		conn_pause(s->conn);
	else
		conn_resume(s->conn);
}

void
pop3_session_run(struct pop3_session *s)
{
	bool progress = s->waiting == POP3_WAITS_FOR_OUTPUT;
	for (unsigned i = 0; s->conn && i < POP3_COMMANDS_PER_TURN; i++) {
		if (s->waiting == POP3_WAITS_FOR_OUTPUT && !pop3_output_continue(s))
			break;
		if (!wants_line(s) || !run_line(s))
			break;
		progress = true;
		if (!s->conn)
			break;
		if (s->errors >= POP3_ERRORS_MAX) {
			pop3_resp_err(s, "SYS/PERM", "too many errors, goodbye");
			pop3_session_close(s, "too many errors");
			return;
		}
		/* Behind this, to wait for output means that the client has to read, and
		 * CONN_DRAINED comes: also after a turn's last command. */
		if (s->waiting == POP3_WAITS_FOR_OUTPUT)
			(void)pop3_output_continue(s);
		if (s->waiting == POP3_WAITS_FOR_NOTHING && pop3_output_is_high(s))
			s->waiting = POP3_WAITS_FOR_OUTPUT;
		if (i + 1 == POP3_COMMANDS_PER_TURN)
			conn_read_again(s->conn);
	}
	if (!s->conn)
		return;
	input_gate(s);
	/* Bytes that are no whole line do not make a client a live one. */
	if (progress)
		deadline_set(s);
}

static void
session_event(struct conn *c, enum conn_event event, void *arg)
{
	struct pop3_session *s = OBJ_CAST(pop3_session, arg, POP3_SESSION_MAGIC);
	(void)c;
	switch (event) {
	case CONN_READ:
		pop3_session_run(s);
		break;
	case CONN_DRAINED:
		if (s->waiting == POP3_WAITS_FOR_OUTPUT)
			pop3_session_run(s);
		break;
	case CONN_SECURED:
		greet(s);
		pop3_session_run(s);
		break;
	case CONN_TIMEOUT:
		/* RFC 1939 section 3: an inactive client is cut off without UPDATE. */
		if (s->state != POP3_GREET && s->output == POP3_OUT_NONE)
			pop3_resp_err(s, "SYS/TEMP", "you were idle for too long");
		pop3_session_close(s, "timeout");
		break;
	case CONN_CLOSED:
		pop3_session_close(s, conn_error(s->conn));
		break;
	case CONN_CONNECTED:
		UNREACHABLE();
	}
}

/* ---- a worker's sessions ---- */

void
pop3_sessions_start(struct service *service, struct worker *worker)
{
	(void)service;
	struct list *sessions = xcalloc(1, sizeof(*sessions));
	list_init(sessions);
	service_worker_set_user(worker, sessions);
}

void
pop3_sessions_stop(struct service *service, struct worker *worker)
{
	(void)service;
	struct list *sessions = service_worker_user(worker);
	LIST_EACH_SAFE(sessions, node)
	{
		struct pop3_session *s = LIST_ENTRY(node, struct pop3_session, node);
		/* UPDATE ends by itself, with the answer that is true. */
		if (s->waiting == POP3_WAITS_FOR_STORE)
			continue;
		if (s->output == POP3_OUT_NONE && s->state != POP3_GREET)
			conn_write(
			    s->conn, SLICE("-ERR [SYS/TEMP] the server is stopping\r\n"));
		pop3_session_close(s, "server stops");
	}
}
