/*
 * The session: connection events in, frames cut, commands run one after the other.
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
 *over.
 *  3. A session is freed only in imap_leave() or by the last op that still knew it.
 *  4. Between commands there is no arena, no frame and no command.
 *
 * Every way in (connection event, op done, posted call, hint) ends in imap_leave().
 *Thread: its worker's loop.  RFC 9051 sections 3 and 5.5, RFC 7888.
 */
#include "imapd/imap_session.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "imapd/imap_lex.h"

static void session_run(struct imap_session *s);

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

static unsigned
state_bit(const struct imap_session *s)
{
	switch (s->state) {
	case IMAP_STATE_NOT_AUTH:
		return IMAP_IN_NOT_AUTH;
	case IMAP_STATE_AUTH:
		return IMAP_IN_AUTH;
	case IMAP_STATE_SELECTED:
		return IMAP_IN_SELECTED;
	case IMAP_STATE_HANDSHAKE:
	case IMAP_STATE_LOGOUT:
		break;
	}
	return 0;
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

/* ---- output ---- */

void
imap_out_flush(struct imap_session *s)
{
	struct buf *out = &s->worker->out;

	if (!buf_ok(out)) {
		/* Cannot be told in step any more. */
		LOG_WARN(
		    "imap.output", LF_STR("sid", s->id), LF_U64("limit", IMAP_OUT_MAX));
		s->closing = true;
	} else if (s->conn && out->len > 0) {
		s->bytes_out += out->len;
		conn_write(s->conn, buf_slice(out));
	}
	buf_reset(out);
	if (out->cap > IMAP_TURN_BYTES)
		buf_release_if_empty(out);
}

bool
imap_out_full(struct imap_session *s)
{
	return s->ranges >= IMAP_RANGES_MAX ||
	       s->worker->out.len + (s->conn ? conn_output_pending(s->conn) : 0) >
	           CONN_OUTPUT_HIGH;
}

struct range_sent {
	struct imap_session *session;
	struct body_handle handle;
};

static void
on_range_sent(void *arg)
{
	struct range_sent *r = arg;
	struct imap_session *s = OBJ_CAST(imap_session, r->session, IMAP_SESSION_MAGIC);

	body_handle_close(&r->handle);
	free(r);
	s->ranges--;
	s->ops_pending--;
	if (s->phase == IMAP_PHASE_RUN)
		session_run(s);
	imap_leave(s);
}

void
imap_out_range(
    struct imap_session *s, struct body_handle *handle, uint64_t offset, uint64_t len)
{
	ENSURE(offset <= handle->size && len <= handle->size - offset);
	if (len < IMAP_RANGE_MIN || !s->conn) {
		buf_append(imap_out(s), slice_make(handle->map + offset, (size_t)len));
		body_handle_close(handle);
		return;
	}
	imap_out_flush(s);
	struct range_sent *r = xcalloc(1, sizeof(*r));
	*r = (struct range_sent){s, *handle};
	*handle = (struct body_handle){.fd = -1};
	s->ranges++;
	s->ops_pending++;
	s->bytes_out += len;
	conn_write_file(
	    s->conn, r->handle.fd, r->handle.offset + offset, len, on_range_sent, r);
}

/* ---- the command's memory ---- */

struct arena *
imap_arena(struct imap_session *s)
{
	if (s->arena)
		return s->arena;
	s->arena = s->worker->spare_arena;
	s->worker->spare_arena = NULL;
	if (!s->arena)
		s->arena = arena_new(IMAP_ARENA_MAX);
	return s->arena;
}

static void
arena_give_back(struct imap_session *s)
{
	if (s->arena && !s->worker->spare_arena) {
		arena_reset(s->arena);
		s->worker->spare_arena = s->arena;
		s->arena = NULL;
	}
	arena_free(&s->arena);
}

struct imap_command *
imap_command_new(struct imap_session *s)
{
	ENSURE(!s->cmd);
	s->cmd = ARENA_NEW(imap_arena(s), struct imap_command);
	s->command_count++;
	stats_add(s->worker->stats->commands, 1);
	return s->cmd;
}

static void
command_cleanup(struct imap_session *s)
{
	void (*cleanup)(struct imap_session *) = s->cleanup;

	s->cleanup = NULL;
	if (cleanup)
		cleanup(s);
	s->cmd_data = NULL;
}

/* Forgets the command and everything that was kept for it. */
static void
command_drop(struct imap_session *s)
{
	command_cleanup(s);
	framer_imap_reset(&s->framer);
	s->cmd = NULL;
	s->resume = NULL;
	s->resume_now = false;
	s->told_modseq = 0;
	s->line = SLICE_NULL;
	arena_give_back(s);
}

void
imap_command_rest(struct imap_session *s)
{
	ENSURE(!s->cleanup);
	command_drop(s);
}

/* ---- the end ---- */

static void
session_free(struct imap_session *s)
{
	ENSURE(!s->conn && s->ops_pending == 0);
	command_drop(s);
	framer_imap_fini(&s->framer);
	free(s->login);
	free(s->idle_tag);
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

/* ---- results ---- */

static void
on_again(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	s->again_posted = false;
	s->ops_pending--;
	if (s->conn)
		session_run(s);
	imap_leave(s);
}

/* Runs on in a later turn, even when no event comes. */
static void
run_again(struct imap_session *s)
{
	if (s->again_posted || !s->conn)
		return;
	s->again_posted = true;
	s->ops_pending++;
	loop_post(s->worker->loop, on_again, s);
}

static void
command_over(struct imap_session *s)
{
	command_drop(s);
	if (s->phase != IMAP_PHASE_TLS)
		s->phase = IMAP_PHASE_COMMAND;
	if (s->conn)
		conn_resume(s->conn);
	if (s->worker->stopping)
		imap_bye(s, "UNAVAILABLE", "server is stopping, come back soon");
	if (s->state == IMAP_STATE_LOGOUT)
		s->closing = true;
}

static enum cmd_result
call(struct imap_session *s, imap_run_fn fn)
{
	s->in_dispatch = true;
	enum cmd_result result = fn(s, s->cmd);
	s->in_dispatch = false;
	return result;
}

void
imap_command_result(struct imap_session *s, enum cmd_result result)
{
	while (result == CMD_WAIT && s->resume_now) {
		s->resume_now = false;
		result = call(s, s->resume);
	}
	switch (result) {
	case CMD_DONE:
		command_over(s);
		break;
	case CMD_WAIT:
		ENSURE(s->resume);
		s->phase = IMAP_PHASE_WAIT;
		/* The end of the input is then not told before the reply is out. */
		conn_pause(s->conn);
		break;
	case CMD_AGAIN:
		ENSURE(s->resume);
		s->phase = IMAP_PHASE_RUN;
		conn_pause(s->conn);
		imap_out_flush(s);
		if (!imap_out_full(s))
			run_again(s);
		break;
	case CMD_LINE:
		ENSURE(s->resume);
		s->phase = IMAP_PHASE_LINE;
		conn_resume(s->conn);
		break;
	case CMD_CLOSE:
		s->closing = true;
		break;
	}
}

void
imap_resume(struct imap_session *s)
{
	if (s->in_dispatch) {
		s->resume_now = true;
		return;
	}
	if (s->conn && !s->closing && s->phase == IMAP_PHASE_WAIT) {
		imap_command_result(s, call(s, s->resume));
		session_run(s);
	}
	imap_leave(s);
}

static void
on_op_done(struct store_op *op)
{
	struct imap_session *s = OBJ_CAST(imap_session, op->user, IMAP_SESSION_MAGIC);

	s->ops_pending--;
	imap_resume(s);
}

void
imap_op_begin(struct imap_session *s, struct store_op *op)
{
	op->done = on_op_done;
	op->user = s;
	op->arena = imap_arena(s);
	s->ops_pending++;
}

/* ---- tagged replies ---- */

/* Untagged news that may go out now, before the tagged line. */
static bool
finish_sync(struct imap_session *s, const struct imap_command *cmd)
{
	if (s->state != IMAP_STATE_SELECTED || !cmd->row ||
	    (cmd->row->bits & IMAP_ROW_NO_SYNC))
		return true;
	bool held = (cmd->row->bits & IMAP_ROW_NO_EXPUNGE) && !cmd->uid;
	return imap_sync(s, !held);
}

enum cmd_result
imap_cmd_finish_code(struct imap_session *s, struct imap_command *cmd,
    enum imap_reply reply, struct slice code, const char *text)
{
	static const char *const words[] = {" OK ", " NO ", " BAD "};
	struct buf *out = imap_out(s);

	if (!finish_sync(s, cmd))
		return CMD_CLOSE;
	buf_append(out, cmd->tag.ptr ? cmd->tag : SLICE("*"));
	buf_append_cstr(out, words[reply]);
	if (code.len > 0) {
		buf_append_byte(out, '[');
		buf_append(out, code);
		buf_append(out, SLICE("] "));
	}
	buf_append_cstr(out, text);
	buf_append(out, SLICE("\r\n"));
	if (reply != IMAP_BAD)
		s->errors = 0;
	else if (++s->errors >= IMAP_ERRORS_MAX)
		imap_bye(s, NULL, "too many bad commands");
	return CMD_DONE;
}

enum cmd_result
imap_cmd_finish(struct imap_session *s, struct imap_command *cmd, enum imap_reply reply,
    const char *code, const char *text)
{
	return imap_cmd_finish_code(s, cmd, reply, slice_from_cstr(code), text);
}

enum cmd_result
imap_cmd_fail(struct imap_session *s, struct imap_command *cmd, enum status status)
{
	const struct imap_status_reply *r = imap_resp_status(status);

	if (status == STATUS_IO || status == STATUS_CORRUPT)
		LOG_ERROR("imap.store", LF_STR("sid", s->id), LF_STR("user", s->login),
		    LF("cmd", cmd->name), LF_STR("status", status_text(status)));
	return imap_cmd_finish(s, cmd, r->reply, r->code, r->text);
}

/* ---- frames ---- */

static enum cmd_result
command_check_and_run(struct imap_session *s, enum parse_result parsed, const char *why)
{
	struct imap_command *cmd = s->cmd;
	const struct imap_cmd_row *row = cmd->row;

	if (row && !(row->states & state_bit(s)))
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL,
		    s->login ? "not in this state" : "log in first");
	if (parsed == PARSE_LIMIT)
		return imap_cmd_finish(s, cmd, IMAP_NO, "LIMIT", why);
	if (parsed == PARSE_BAD)
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, why);
	if ((row->bits & IMAP_ROW_WRITES) && s->read_only)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, NULL, "the mailbox was opened read-only");
	s->resume = row->run;
	return row->run(s, cmd);
}

static void
frame_done(struct imap_session *s)
{
	enum cmd_result result;

	if (s->append) {
		s->in_dispatch = true;
		result = imap_append_end(s, NULL);
		s->in_dispatch = false;
		imap_command_result(s, result);
		return;
	}
	struct parse_fault fault;
	imap_command_new(s);
	enum parse_result parsed = imap_command_parse(
	    framer_imap_frame(&s->framer), imap_arena(s), s->cmd, &fault);
	s->in_dispatch = true;
	result = command_check_and_run(s, parsed, fault.text);
	s->in_dispatch = false;
	imap_command_result(s, result);
}

/* A reply to a frame that never became a command. */
static void
frame_refuse(struct imap_session *s, struct slice text, const char *why)
{
	struct imap_lex lex;
	struct imap_command *cmd = imap_command_new(s);

	imap_lex_init(&lex, text, imap_arena(s));
	if (!imap_lex_tag(&lex, &cmd->tag) || imap_lex_peek(&lex) != ' ')
		cmd->tag = SLICE_NULL;
	imap_cmd_finish(s, cmd, IMAP_BAD, NULL, why);
	command_over(s);
}

static const char *
fault_text(enum framer_result result)
{
	switch (result) {
	case FRAMER_TOO_LONG:
		return "command too long";
	case FRAMER_BARE_CR:
		return "CR without LF";
	case FRAMER_BARE_LF:
		return "LF without CR";
	case FRAMER_NUL:
		return "NUL is only allowed in a literal8";
	case FRAMER_MORE:
	case FRAMER_DONE:
	case FRAMER_LITERAL:
		break;
	}
	return "malformed command";
}

/* A literal that is no message of an APPEND. */
static void
literal_announced(struct imap_session *s)
{
	struct framer_imap *f = &s->framer;
	size_t max = s->login ? IMAP_LITERAL_MAX : IMAP_PREAUTH_FRAME_MAX / 4;

	if (f->literal_size <= max) {
		if (f->literal_sync)
			buf_append(imap_out(s), SLICE("+ ready for the literal\r\n"));
		framer_imap_accept(f);
	} else if (f->literal_sync) {
		/* Nothing follows: the client has to wait (RFC 9051 section 4.3). */
		frame_refuse(s, framer_imap_frame(f), "literal too large");
	} else if (f->literal_size <= IMAP_LITERAL_DROP_MAX) {
		framer_imap_accept(f); /* read, dropped, and told at the command's end */
		f->too_long = true;
	} else {
		imap_bye(s, "TOOBIG", "literal too large");
	}
}

/* True when something was used up, so that trying again makes sense. */
static bool
read_command(struct imap_session *s)
{
	struct slice in = conn_input(s->conn);
	size_t used = 0;

	if (in.len == 0)
		return false;
	enum framer_result result = framer_imap_feed(&s->framer, in, &used);
	switch (result) {
	case FRAMER_MORE:
		conn_consume(s->conn, used);
		return used > 0;
	case FRAMER_DONE:
		conn_consume(s->conn, used);
		frame_done(s);
		return true;
	case FRAMER_LITERAL:
		conn_consume(s->conn, used);
		if (!imap_append_literal(s))
			literal_announced(s);
		return true;
	case FRAMER_TOO_LONG:
	case FRAMER_BARE_CR:
	case FRAMER_BARE_LF:
	case FRAMER_NUL:
		break;
	}
	struct slice frame = framer_imap_frame(&s->framer);
	if (s->append)
		imap_command_result(s, imap_append_end(s, fault_text(result)));
	else
		frame_refuse(s, frame.len > 0 ? frame : in, fault_text(result));
	conn_consume(s->conn, used);
	if (used == 0)
		s->phase = IMAP_PHASE_SKIP;
	return true;
}

static bool
skip_line(struct imap_session *s)
{
	bool ended = false;
	size_t used = framer_skip_line(conn_input(s->conn), &ended);

	conn_consume(s->conn, used);
	if (ended)
		s->phase = IMAP_PHASE_COMMAND;
	return ended;
}

/* IDLE's DONE, or a response of AUTHENTICATE. */
static bool
read_line(struct imap_session *s)
{
	struct slice line;
	size_t used = 0;
	enum framer_result result =
	    framer_line(conn_input(s->conn), IMAP_LINE_MAX, &line, &used);

	if (result == FRAMER_MORE)
		return false;
	if (result != FRAMER_DONE) {
		imap_bye(s, NULL, fault_text(result));
		return false;
	}
	s->line = line;
	enum cmd_result next = call(s, s->resume);
	s->line = SLICE_NULL;
	if (next != CMD_CLOSE)
		conn_consume(s->conn, used);
	imap_command_result(s, next);
	return true;
}

static void
session_run(struct imap_session *s)
{
	unsigned commands = 0;
	bool progress = true;

	if (s->conn && s->phase == IMAP_PHASE_RUN && !imap_out_full(s) && !s->closing)
		imap_command_result(s, call(s, s->resume));
	while (progress && s->conn && !s->closing) {
		progress = false;
		switch (s->phase) {
		case IMAP_PHASE_COMMAND:
			if (imap_out_full(s))
				break; /* until CONN_DRAINED */
			if (commands++ < IMAP_TURN_COMMANDS)
				progress = read_command(s);
			else
				run_again(s);
			break;
		case IMAP_PHASE_SKIP:
			progress = skip_line(s);
			break;
		case IMAP_PHASE_APPEND:
			progress = imap_append_input(s);
			break;
		case IMAP_PHASE_LINE:
			progress = read_line(s);
			break;
		case IMAP_PHASE_RUN:
		case IMAP_PHASE_WAIT:
		case IMAP_PHASE_TLS:
		case IMAP_PHASE_END:
			break;
		}
	}
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
		session_run(s);
		break;
	case CONN_SECURED:
		on_secured(s);
		session_run(s);
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
	framer_imap_init(&s->framer, IMAP_PREAUTH_FRAME_MAX / 2, IMAP_PREAUTH_FRAME_MAX);
	list_append(&w->sessions, &s->node);
	stats_add(w->stats->sessions, 1);
	s->conn = conn_new(w->loop, fd, on_event, s);
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
    const struct imap_stats *stats)
{
	*w = (struct imap_worker){.loop = loop, .reader = reader, .stats = stats};
	list_init(&w->sessions);
	buf_init(&w->out, IMAP_OUT_MAX);
}

void
imap_worker_fini(struct imap_worker *w)
{
	ENSURE(list_is_empty(&w->sessions));
	arena_free(&w->spare_arena);
	arena_free(&w->sync_arena);
	buf_fini(&w->out);
}

void
imap_worker_stop(struct imap_worker *w)
{
	w->stopping = true;
	LIST_EACH_SAFE(&w->sessions, node)
	{
		struct imap_session *s = LIST_ENTRY(node, struct imap_session, node);
		bool busy = s->phase == IMAP_PHASE_WAIT || s->phase == IMAP_PHASE_RUN;
		if (busy)
			continue; /* command_over() says goodbye */
		if (s->state != IMAP_STATE_HANDSHAKE && s->phase != IMAP_PHASE_TLS)
			imap_bye(s, "UNAVAILABLE", "server is stopping, come back soon");
		s->closing = true;
		imap_leave(s);
	}
}
