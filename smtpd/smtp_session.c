/*
 * The SMTP session's life; see smtp_session.h.  Runs on its worker's thread.
 */
#include "smtpd/smtp_session.h"

#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "net/network.h"
#include "smtpd/smtp_cmd.h"
#include "smtpd/smtp_lmtp.h"
#include "smtpd/smtp_local.h"
#include "smtpd/smtp_resp.h"

#define STOPPING_TEXT "%s the server is stopping, try again in a moment"

static void session_event(struct conn *c, enum conn_event event, void *arg);

static const unsigned allowed_next[] = {
    [SMTP_GREET] = 1u << SMTP_READY | 1u << SMTP_CLOSED,
    [SMTP_READY] = 1u << SMTP_GREET | 1u << SMTP_AUTH | 1u << SMTP_MESSAGE |
                   1u << SMTP_COMMIT | 1u << SMTP_CLOSED,
    [SMTP_AUTH] = 1u << SMTP_AUTH_RESPONSE | 1u << SMTP_READY | 1u << SMTP_CLOSED,
    [SMTP_AUTH_RESPONSE] = 1u << SMTP_AUTH | 1u << SMTP_READY | 1u << SMTP_CLOSED,
    [SMTP_MESSAGE] = 1u << SMTP_COMMIT | 1u << SMTP_READY | 1u << SMTP_CLOSED,
    [SMTP_COMMIT] = 1u << SMTP_READY | 1u << SMTP_CLOSED,
    [SMTP_CLOSED] = 0,
};

static bool
waits_for_others(enum smtp_state state)
{
	return state == SMTP_AUTH || state == SMTP_COMMIT;
}

void
smtp_set_state(struct smtp_session *s, enum smtp_state state)
{
	ENSURE(allowed_next[s->state] & 1u << state);
	/* While an answer is awaited nothing is read, and the end of the input is not
	 * told: a client that has said all and shut its side down still gets its replies.
	 */
	if (waits_for_others(state))
		conn_pause(s->conn);
	else if (waits_for_others(s->state))
		conn_resume(s->conn);
	s->state = state;
}

/* Behind a bare CR or LF the peer may think that its message has ended. */
static bool
is_bare_data(const struct smtp_session *s)
{
	return !s->chunked && s->envelope && s->envelope->fault == SMTP_FAULT_BARE;
}

/* A command must come whole in command_timeout, so that a client cannot hold a session
 * by a byte now and then; message octets only have to go on. */
static void
deadline_set(struct smtp_session *s)
{
	const struct conf *conf = service_conf(s->service);
	switch (s->state) {
	case SMTP_GREET:
		conn_deadline(s->conn, SMTP_TLS_TIMEOUT_MS);
		break;
	case SMTP_READY:
	case SMTP_AUTH_RESPONSE:
		conn_deadline(s->conn, conf->smtp.command_timeout_ms);
		break;
	case SMTP_MESSAGE:
		conn_deadline(s->conn,
		    is_bare_data(s) ? SMTP_BARE_WAIT_MS : conf->smtp.data_timeout_ms);
		break;
	case SMTP_AUTH:
	case SMTP_COMMIT:
		/* The pool and the store answer in any case. */
		conn_deadline(s->conn, 0);
		break;
	case SMTP_CLOSED:
		break;
	}
}

static void
greet(struct smtp_session *s)
{
	smtp_set_state(s, SMTP_READY);
	if (!s->greeted)
		smtp_resp_format(s, 220, NULL, "%s %s Postroom",
		    service_conf(s->service)->hostname, s->lmtp ? "LMTP" : "ESMTP");
	s->greeted = true;
	deadline_set(s);
}

void
smtp_session_accept(struct service *service, struct worker *worker, int fd,
    const struct listener *listener, struct worker_conn *token)
{
	struct smtp_session *s = xcalloc(1, sizeof(*s));
	s->magic = SMTP_SESSION_MAGIC;
	s->service = service;
	s->worker = worker;
	s->own = service_worker_user(worker);
	s->listener = listener;
	s->token = token;
	s->submission = strcmp(listener->protocol, "submission") == 0;
	s->lmtp = strcmp(listener->protocol, "lmtp") == 0;
	s->local = strcmp(listener->protocol, "local") == 0;
	id_make(s->id);
	bool known = !s->local || smtp_local_identify(s, fd);
	s->conn = conn_new(worker_loop(worker), fd, session_event, s);
	worker_conn_adopt(token, s->conn);
	smtp_session_judge_peer(s);
	list_append(&s->own->sessions, &s->node);
	LOG_DEBUG("conn.open", LF_STR("sid", s->id), LF_STR("listener", listener->name),
	    LF_STR("peer", conn_peer_text(s->conn)));
	if (!known) {
		smtp_session_close(s, "the kernel does not say who it is");
		return;
	}
	if (s->lmtp && !smtp_lmtp_may_connect(s)) {
		smtp_session_close(s, "not a host that delivers by LMTP");
		return;
	}
	if (listener->tls != LISTENER_TLS_IMPLICIT) {
		greet(s);
		return;
	}
	struct tls_context *tls = service_tls(service);
	if (!tls) {
		smtp_session_close(s, "no certificate is configured");
		return;
	}
	deadline_set(s);
	conn_start_tls_server(s->conn, tls);
	tls_context_unref(&tls);
}

void
smtp_session_reset(struct smtp_session *s)
{
	smtp_envelope_free(&s->envelope);
}

void
smtp_session_judge_peer(struct smtp_session *s)
{
	const struct conf *conf = service_conf(s->service);
	const struct sockaddr *peer = conn_peer(s->conn);
	s->xclient = !s->lmtp && !s->local &&
	             network_list_has(peer, conf->smtp.xclient_networks.items,
			 conf->smtp.xclient_networks.count);
	s->trusted =
	    s->local || (!s->submission && !s->lmtp &&
			    network_list_has(peer, conf->smtp.trusted_networks.items,
				conf->smtp.trusted_networks.count));
}

void
smtp_session_forget_client(struct smtp_session *s)
{
	smtp_session_reset(s);
	free(s->helo);
	s->helo = NULL;
	free(s->login);
	s->login = NULL;
}

void
smtp_session_helo(struct smtp_session *s, struct slice name, bool extended)
{
	smtp_session_reset(s);
	free(s->helo);
	s->helo = slice_to_cstr(name);
	s->extended = extended;
}

static void
session_free(void *arg)
{
	struct smtp_session *s = arg;
	s->magic = 0;
	free(s->helo);
	free(s->login);
	free(s->user);
	free(s);
}

void
smtp_session_close(struct smtp_session *s, const char *reason)
{
	if (s->state == SMTP_CLOSED)
		return;
	LOG_DEBUG("conn.close", LF_STR("sid", s->id), LF_STR("reason", reason));
	if (s->state == SMTP_COMMIT) {
		/* The envelope is the op's until its completion, which frees it. */
		s->envelope->session = NULL;
		s->envelope = NULL;
	}
	s->state = SMTP_CLOSED;
	conn_close(&s->conn, true);
	auth_end(&s->exchange);
	smtp_envelope_free(&s->envelope);
	list_remove(&s->node);
	worker_conn_done(s->token);
	loop_defer(worker_loop(s->worker), session_free, s);
}

/* ---- input ---- */

static void
line_refuse(struct smtp_session *s, enum framer_result result)
{
	if (s->state == SMTP_AUTH_RESPONSE)
		smtp_auth_cancel(s);
	switch (result) {
	case FRAMER_TOO_LONG:
		smtp_resp_bad(s, 500, "5.5.2", "this line is too long");
		break;
	case FRAMER_NUL:
		smtp_resp_bad(s, 500, "5.5.2", "a command line holds no NUL");
		break;
	case FRAMER_BARE_CR:
	case FRAMER_BARE_LF:
	case FRAMER_MORE:
	case FRAMER_DONE:
	case FRAMER_LITERAL:
		smtp_resp_bad(s, 500, "5.5.2",
		    "lines end in CR LF, not in a CR or LF alone (RFC 5321 section "
		    "2.3.8)");
		break;
	}
}

/* Takes one line out of the input and runs it; false when there is none. */
static bool
run_line(struct smtp_session *s)
{
	struct slice input = conn_input(s->conn);
	if (s->skipping_line) {
		bool ended;
		size_t used = framer_skip_line(input, &ended);
		conn_consume(s->conn, used);
		s->skipping_line = !ended;
		return ended;
	}
	size_t line_max = s->state == SMTP_AUTH_RESPONSE ||
	                          slice_has_prefix_nocase(input, SLICE("AUTH "))
	                      ? SMTP_AUTH_LINE_MAX
	                      : SMTP_LINE_MAX;
	struct slice line;
	size_t used;
	enum framer_result result = framer_line(input, line_max, &line, &used);
	if (result == FRAMER_MORE)
		return false;
	if (result == FRAMER_DONE) {
		if (s->state == SMTP_AUTH_RESPONSE)
			smtp_auth_response(s, line);
		else
			smtp_cmd_dispatch(s, line);
	} else {
		s->skipping_line = used == 0;
		line_refuse(s, result);
	}
	/* STARTTLS has thrown the input away, QUIT has closed. */
	if (s->state != SMTP_CLOSED && s->state != SMTP_GREET)
		conn_consume(s->conn, used);
	return true;
}

/* One step forward; false when there is nothing to do now. */
static bool
run_step(struct smtp_session *s)
{
	switch (s->state) {
	case SMTP_READY:
	case SMTP_AUTH_RESPONSE:
		return run_line(s);
	case SMTP_MESSAGE:
		return smtp_message_read(s);
	case SMTP_GREET:
	case SMTP_AUTH:
	case SMTP_COMMIT:
	case SMTP_CLOSED:
		break;
	}
	return false;
}

static bool
is_over_limits(struct smtp_session *s)
{
	if (s->state == SMTP_CLOSED || s->state == SMTP_GREET || s->state == SMTP_COMMIT)
		return false;
	const char *reason = NULL;
	if (s->errors >= service_conf(s->service)->smtp.max_errors)
		reason = "too many errors";
	else if (s->refused >= SMTP_REFUSED_MAX)
		reason = "too many refused recipients";
	if (!reason)
		return false;
	smtp_resp_format(s, 421, "4.7.0", "%s %s, goodbye",
	    service_conf(s->service)->hostname, reason);
	LOG_INFO("smtp.reject", LF_STR("sid", s->id),
	    LF_STR("peer", conn_peer_text(s->conn)), LF_STR("reason", reason));
	smtp_session_close(s, reason);
	return true;
}

/* The peer does not read its replies: no further command until it does (CONN_DRAINED), so
 * that what waits for it is bounded.  The command's time-out goes on. */
static bool
is_unread(const struct smtp_session *s)
{
	return s->state != SMTP_CLOSED && conn_output_pending(s->conn) >= CONN_OUTPUT_LOW;
}

void
smtp_session_run(struct smtp_session *s)
{
	if (s->running || s->state == SMTP_CLOSED)
		return;
	s->running = true;
	unsigned steps = 0;
	while (steps < SMTP_COMMANDS_PER_TURN && !is_unread(s) && run_step(s)) {
		steps++;
		if (is_over_limits(s))
			break;
	}
	s->running = false;
	if (s->state == SMTP_CLOSED)
		return;
	if (steps == SMTP_COMMANDS_PER_TURN && !is_unread(s))
		conn_read_again(s->conn);
	if (steps > 0)
		deadline_set(s);
}

void
smtp_session_ready(struct smtp_session *s)
{
	smtp_set_state(s, SMTP_READY);
	if (s->stopping) {
		smtp_resp_format(
		    s, 421, "4.3.2", STOPPING_TEXT, service_conf(s->service)->hostname);
		smtp_session_close(s, "server stops");
		return;
	}
	deadline_set(s);
	smtp_session_run(s);
}

static void
session_timeout(struct smtp_session *s)
{
	if (s->state == SMTP_MESSAGE && is_bare_data(s)) {
		smtp_data_refuse_bare(s);
		return;
	}
	if (s->state != SMTP_GREET)
		smtp_resp_format(s, 421, "4.4.2", "%s you were silent for too long",
		    service_conf(s->service)->hostname);
	smtp_session_close(s, "timeout");
}

static void
session_event(struct conn *c, enum conn_event event, void *arg)
{
	struct smtp_session *s = OBJ_CAST(smtp_session, arg, SMTP_SESSION_MAGIC);
	(void)c;
	switch (event) {
	case CONN_READ:
		smtp_session_run(s);
		break;
	case CONN_SECURED:
		greet(s);
		smtp_session_run(s);
		break;
	case CONN_TIMEOUT:
		session_timeout(s);
		break;
	case CONN_CLOSED:
		smtp_session_close(s, conn_error(s->conn));
		break;
	case CONN_DRAINED:
		smtp_session_run(s);
		break;
	case CONN_CONNECTED:
		UNREACHABLE();
	}
}

/* ---- a worker's sessions ---- */

static struct trace *the_trace;
static struct service *trace_service;
static pthread_once_t trace_once = PTHREAD_ONCE_INIT;

static void
trace_open_once(void)
{
	char *dir = NULL;
	int len = asprintf(&dir, "%s/trace", service_conf(trace_service)->log.dir);
	ENSURE(len >= 0);
	enum status status = trace_open(dir, "smtpd", &the_trace);
	if (status != STATUS_OK)
		LOG_WARN("server.start", LF_STR("reason", "no trace file"),
		    LF_STR("path", dir), LF_STR("status", status_text(status)));
	free(dir);
}

struct trace *
smtp_trace(struct service *service)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&lock);
	trace_service = service;
	pthread_once(&trace_once, trace_open_once);
	pthread_mutex_unlock(&lock);
	return the_trace;
}

void
smtp_sessions_start(struct service *service, struct worker *worker)
{
	struct smtp_worker *w = xcalloc(1, sizeof(*w));
	list_init(&w->sessions);
	w->service = service;
	w->worker = worker;
	w->trace = smtp_trace(service);
	/* A read's octets, and the two that the framer may have held back. */
	buf_init(&w->scratch, CONN_INPUT_MAX + 16);
	w->messages = stats_get("smtp_messages_received_total");
	w->bytes = stats_get("smtp_received_bytes_total");
	w->recipients = stats_get("smtp_recipients_total");
	w->rejections = stats_get("smtp_rejections_total");
	w->local = stats_get("smtp_local_deliveries_total");
	w->queued = stats_get("smtp_queued_recipients_total");
	service_worker_set_user(worker, w);
}

void
smtp_sessions_stop(struct service *service, struct worker *worker)
{
	struct smtp_worker *w = service_worker_user(worker);
	LIST_EACH_SAFE(&w->sessions, node)
	{
		struct smtp_session *s = LIST_ENTRY(node, struct smtp_session, node);
		s->stopping = true;
		if (s->state == SMTP_COMMIT)
			continue;
		if (s->state != SMTP_GREET)
			smtp_resp_format(s, 421, "4.3.2", STOPPING_TEXT,
			    service_conf(service)->hostname);
		smtp_session_close(s, "server stops");
	}
}
