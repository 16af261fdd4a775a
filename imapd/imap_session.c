/*
 * The session's life: made for a connection, driven by its events, ended and freed.  How
 * frames become commands is in imap_input.c, how commands run in imap_run.c.
 *
 *	HANDSHAKE ─secured─► NOT_AUTH ─login─► AUTH ◄─close, unselect─► SELECTED
 *	                        ▲               │            select        │
 *	                        └─unauthenticate┴──────────────────────────┘
 *	any ─bye, logout─► LOGOUT
 *
 * Invariants
 *  1. One command at a time; what is behind it stays in the connection's input, which
 *     is paused while a command waits.
 *  2. worker->out is empty whenever no session is on the stack: imap_leave() hands it
 *     over.
 *  3. A session is freed only in imap_leave() or by the last op that still knew it.
 *  4. Between commands there is no arena, no frame and no command.
 *
 * Every way in (connection event, op done, posted call, hint) ends in imap_leave().
 * Thread: its worker's loop.  RFC 9051 sections 3 and 5.5.
 */
#include "imapd/imap_session.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "imapd/imap_progress.h"

/* ---- states ---- */

void
imap_state_set(struct imap_session *s, enum imap_state state)
{
	static const unsigned allowed[] = {
	    [IMAP_STATE_HANDSHAKE] = 1u << IMAP_STATE_NOT_AUTH | 1u << IMAP_STATE_LOGOUT,
	    [IMAP_STATE_NOT_AUTH] = 1u << IMAP_STATE_AUTH | 1u << IMAP_STATE_LOGOUT,
	    [IMAP_STATE_AUTH] = 1u << IMAP_STATE_SELECTED | 1u << IMAP_STATE_NOT_AUTH |
	                        1u << IMAP_STATE_LOGOUT,
	    [IMAP_STATE_SELECTED] = 1u << IMAP_STATE_AUTH | 1u << IMAP_STATE_LOGOUT,
	    [IMAP_STATE_LOGOUT] = 1u << IMAP_STATE_LOGOUT,
	};
	ENSURE(allowed[s->state] >> state & 1);
	s->state = state;
}

void
imap_deadline(struct imap_session *s)
{
	if (!s->conn)
		return;
	if (s->login)
		conn_deadline(s->conn, imap_conf(s)->imap.idle_timeout_ms);
	else
		conn_deadline(s->conn, IMAP_PREAUTH_MS);
}

void
imap_bye(struct imap_session *s, const char *code, const char *text)
{
	struct buf *out = imap_out(s);

	if (s->state == IMAP_STATE_LOGOUT)
		return;
	buf_append(out, SLICE("* BYE "));
	if (code)
		buf_append_format(out, "[%s] ", code);
	buf_append_cstr(out, text);
	buf_append(out, SLICE("\r\n"));
	imap_state_set(s, IMAP_STATE_LOGOUT);
	s->closing = true;
}

/* ---- the end ---- */

static void
session_free(struct imap_session *s)
{
	ENSURE(!s->conn && s->ops_pending == 0);
	imap_command_drop(s);
	framer_imap_fini(&s->framer);
	free(s->login);
	free(s->idle_tag);
	imap_notify_free(&s->notify);
	imap_metadata_watch_free(&s->metadata);
	free(s->recent);
	free(s->saved.ranges);
	s->magic = 0;
	free(s);
}

static void
log_end(const struct imap_session *s, const char *why)
{
	LOG_INFO("imap.logout", LF_STR("sid", s->id), LF_STR("user", s->login),
	    LF_STR("peer", conn_peer_text(s->conn)), LF_STR("reason", why),
	    LF_U64("commands", s->command_count), LF_U64("bytes", s->bytes_out),
	    LF_U64("ms", clock_mono_ms() - s->started_ms));
}

/* Everything but the struct (and what ops under way still use) goes. */
static void
session_end(struct imap_session *s, const char *why)
{
	bool said_goodbye = s->state == IMAP_STATE_LOGOUT;

	if (s->login)
		log_end(s, said_goodbye ? "logout" : why);
	if (s->idling)
		stats_sub(s->worker->stats->idle, 1);
	s->idling = false;
	stats_sub(s->worker->stats->sessions, 1);
	conn_close(&s->conn, true);
	auth_end(&s->exchange);
	imap_notify_free(&s->notify);
	imap_metadata_watch_free(&s->metadata);
	imap_deselect(s);
	if (s->counted && s->worker->service)
		service_session_end(s->worker->service, s->account);
	s->counted = false;
	if (s->token)
		worker_conn_done(s->token);
	s->token = NULL;
	list_remove(&s->node);
	s->phase = IMAP_PHASE_END;
}

void
imap_leave(struct imap_session *s)
{
	imap_out_flush(s);
	if (s->conn && s->closing)
		session_end(s, "closed by server");
	if (!s->conn && s->ops_pending == 0)
		session_free(s);
}

/* ---- events ---- */

static void
greet(struct imap_session *s)
{
	struct buf *out = imap_out(s);

	s->secure = conn_is_secure(s->conn);
	s->phase = IMAP_PHASE_COMMAND;
	buf_append(out, SLICE("* OK [CAPABILITY "));
	imap_capabilities_write(s, out);
	buf_append_format(out, "] %s Postroom IMAP is ready\r\n", imap_conf(s)->hostname);
}

static void
on_secured(struct imap_session *s)
{
	if (s->state == IMAP_STATE_HANDSHAKE) {
		imap_state_set(s, IMAP_STATE_NOT_AUTH);
		greet(s);
	} else {
		s->secure = true;
		s->phase = IMAP_PHASE_COMMAND;
	}
}

static void
on_timeout(struct imap_session *s)
{
	if (s->phase == IMAP_PHASE_WAIT && s->login) {
		/* The store owes an answer; it always comes. */
		imap_deadline(s);
		imap_progress_waiting(s);
		return;
	}
	imap_bye(s, NULL, s->login ? "too long without a command" : "too long to log in");
}

static void
on_event(struct conn *c, enum conn_event event, void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	ENSURE(c == s->conn);
	switch (event) {
	case CONN_READ:
	case CONN_DRAINED:
		if (s->login)
			imap_deadline(s);
		imap_run(s);
		break;
	case CONN_SECURED:
		on_secured(s);
		imap_run(s);
		break;
	case CONN_TIMEOUT:
		on_timeout(s);
		break;
	case CONN_CLOSED:
		LOG_DEBUG(
		    "imap.closed", LF_STR("sid", s->id), LF_STR("reason", conn_error(c)));
		buf_reset(&s->worker->out);
		session_end(s, conn_error(c));
		break;
	case CONN_CONNECTED:
		break;
	}
	imap_leave(s);
}

/* ---- making ---- */

void
imap_session_new(
    struct imap_worker *w, int fd, enum listener_tls tls, struct worker_conn *token)
{
	struct imap_session *s = xcalloc(1, sizeof(*s));
	struct tls_context *context = NULL;

	s->magic = IMAP_SESSION_MAGIC;
	s->worker = w;
	s->token = token;
	s->state = IMAP_STATE_NOT_AUTH;
	s->started_ms = clock_mono_ms();
	id_make(s->id);
	framer_imap_init(&s->framer, IMAP_PREAUTH_LINE_MAX, IMAP_PREAUTH_FRAME_MAX);
	list_append(&w->sessions, &s->node);
	stats_add(w->stats->sessions, 1);
	s->conn = conn_new(w->loop, fd, on_event, s);
	worker_conn_adopt(token, s->conn);
	conn_deadline(s->conn, IMAP_PREAUTH_MS);
	if (w->service && tls != LISTENER_TLS_NONE)
		context = service_tls(w->service);
	if (tls == LISTENER_TLS_IMPLICIT) {
		s->state = IMAP_STATE_HANDSHAKE;
		s->phase = IMAP_PHASE_TLS;
		if (context)
			conn_start_tls_server(s->conn, context);
		else
			s->closing = true;
	} else {
		s->can_starttls = context != NULL;
		greet(s);
	}
	tls_context_unref(&context);
	if (w->stopping)
		imap_bye(s, "UNAVAILABLE", "server is stopping, come back soon");
	imap_leave(s);
}

void
imap_stats_init(struct imap_stats *stats)
{
	stats->sessions = stats_get("imap_sessions");
	stats->commands = stats_get("imap_commands_total");
	stats->idle = stats_get("imap_idle_sessions");
	stats->logins = stats_get("imap_logins_total");
	stats->login_failures = stats_get("imap_login_failures_total");
	stats->fetch_bytes = stats_get("imap_fetch_bytes_total");
	stats->appended = stats_get("imap_appended_total");
}

void
imap_worker_init(struct imap_worker *w, struct loop *loop, struct store_reader *reader,
    const struct imap_stats *stats, struct imap_recents *recents)
{
	*w = (struct imap_worker){
	    .loop = loop, .reader = reader, .stats = stats, .recents = recents};
	list_init(&w->sessions);
	buf_init(&w->out, IMAP_OUT_MAX);
}

void
imap_worker_fini(struct imap_worker *w)
{
	ENSURE(list_is_empty(&w->sessions));
	imap_recents_flush(w, false);
	arena_free(&w->spare_arena);
	arena_free(&w->sync_arena);
	buf_fini(&w->out);
}

void
imap_worker_stop(struct imap_worker *w)
{
	w->stopping = true;
	imap_recents_flush(w, true);
	LIST_EACH_SAFE(&w->sessions, node)
	{
		struct imap_session *s = LIST_ENTRY(node, struct imap_session, node);
		bool busy = s->phase == IMAP_PHASE_WAIT || s->phase == IMAP_PHASE_RUN;
		if (busy)
			continue; /* imap_command_over() says goodbye */
		if (s->state != IMAP_STATE_HANDSHAKE && s->phase != IMAP_PHASE_TLS)
			imap_bye(s, "UNAVAILABLE", "server is stopping, come back soon");
		s->closing = true;
		imap_leave(s);
	}
}
