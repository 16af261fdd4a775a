/*
 * How a command runs: its memory, what its run function said, continuing when what it
 * waits for is there, and its tagged reply.
 *
 * Invariants
 *  1. One command at a time; while it waits the connection is paused, so that the end of
 *     the input is not told before the reply is out.
 *  2. A continuation is called once for each time that it was asked for, and never from
 *     inside the run function that asked (resume_now).
 *  3. Untagged news goes before the tagged line, as far as the command allows
 *     (RFC 9051 section 7.5.1).
 *
 * Thread: the worker's loop.
 */
#include "imapd/imap_int.h"

#include "base/ensure.h"
#include "base/log.h"
#include "imapd/imap_limit.h"
#include "imapd/imap_progress.h"

#define LIMITED_TEXT "done for the last messages, repeat it for those before"

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
void
imap_command_drop(struct imap_session *s)
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
	imap_command_drop(s);
}

/* ---- results ---- */

static void
on_again(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	s->again_posted = false;
	s->ops_pending--;
	if (s->conn)
		imap_run(s);
	imap_leave(s);
}

/* Runs on in a later turn, even when no event comes. */
void
imap_run_again(struct imap_session *s)
{
	if (s->again_posted || !s->conn)
		return;
	s->again_posted = true;
	s->ops_pending++;
	loop_post(s->worker->loop, on_again, s);
}

void
imap_command_over(struct imap_session *s)
{
	imap_command_drop(s);
	if (s->phase != IMAP_PHASE_TLS)
		s->phase = IMAP_PHASE_COMMAND;
	imap_deadline(s);
	if (s->conn)
		conn_resume(s->conn);
	if (s->worker->stopping)
		imap_bye(s, "UNAVAILABLE", "server is stopping, come back soon");
	if (s->state == IMAP_STATE_LOGOUT)
		s->closing = true;
}

enum cmd_result
imap_call(struct imap_session *s, imap_run_fn fn)
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
		result = imap_call(s, s->resume);
	}
	switch (result) {
	case CMD_DONE:
		imap_command_over(s);
		break;
	case CMD_WAIT:
		ENSURE(s->resume);
		s->phase = IMAP_PHASE_WAIT;
		imap_progress_wait(s);
		/* The end of the input is then not told before the reply is out. */
		conn_pause(s->conn);
		break;
	case CMD_AGAIN:
		ENSURE(s->resume);
		s->phase = IMAP_PHASE_RUN;
		conn_pause(s->conn);
		imap_out_flush(s);
		if (!imap_out_full(s))
			imap_run_again(s);
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
		imap_command_result(s, imap_call(s, s->resume));
		imap_run(s);
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

static void
on_pool_done(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	s->ops_pending--;
	imap_resume(s);
}

void
imap_pool_begin(struct imap_session *s, void (*work)(void *session))
{
	s->ops_pending++;
	loop_work(s->worker->loop, work, on_pool_done, s);
}

/* ---- tagged replies ---- */

/* Untagged news that may go out now, before the tagged line. */
static bool
finish_sync(struct imap_session *s, const struct imap_command *cmd)
{
	if (s->state == IMAP_STATE_LOGOUT || !cmd->row ||
	    (cmd->row->bits & IMAP_ROW_NO_SYNC))
		return true;
	bool held = (cmd->row->bits & IMAP_ROW_NO_EXPUNGE) && !cmd->uid;
	bool wanted = imap_notify_selected(s) || (cmd->row->bits & IMAP_ROW_EXPUNGES);
	if (s->state == IMAP_STATE_SELECTED && wanted && !imap_sync(s, !held))
		return false;
	imap_notify_tell(s);
	imap_metadata_tell(s, NULL);
	return true;
}

enum cmd_result
imap_cmd_finish_code(struct imap_session *s, struct imap_command *cmd,
    enum imap_reply reply, struct slice code, const char *text)
{
	static const char *const words[] = {" OK ", " NO ", " BAD "};
	struct buf *out = imap_out(s);

	/* Only one code fits the tagged line, and the limit's gives way (RFC 9738
	 * section 3.1). */
	if (cmd->limit && reply == IMAP_OK) {
		struct slice limit = imap_limit_code(s, cmd->limit, cmd->limit_uid);
		if (code.len > 0) {
			buf_append(out, SLICE("* NO ["));
			buf_append(out, limit);
			buf_append(out, SLICE("] " LIMITED_TEXT "\r\n"));
		} else {
			code = limit;
			text = LIMITED_TEXT;
		}
	}
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
