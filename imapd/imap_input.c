/*
 * A session's input: frames are cut from the connection's bytes and become commands,
 * lines and message octets, in order, until something has to wait.
 *
 * Everything that is refused leaves the stream in step: a line that is too long is thrown
 * away to its end, a literal that was announced is read and dropped, or the session ends.
 * Thread: the worker's loop.  RFC 9051 sections 2.2 and 4.3, RFC 7888.
 */
#include "imapd/imap_int.h"

#include "base/ensure.h"
#include "imapd/imap_lex.h"
#include "imapd/imap_mask.h"

/* ---- frames ---- */

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

static enum cmd_result
command_check_and_run(struct imap_session *s, enum parse_result parsed, const char *why)
{
	struct imap_command *cmd = s->cmd;
	const struct imap_cmd_row *row = cmd->row;

	if (row && imap_mask_hides(s->masked, slice_from_cstr(row->name)))
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "unknown command");
	if (row && !(row->states & state_bit(s)))
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL,
		    s->login ? "not in this state" : "log in first");
	if (parsed == PARSE_LIMIT)
		return imap_cmd_finish(s, cmd, IMAP_NO, "LIMIT", why);
	if (parsed == PARSE_BAD)
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, why);
	ENSURE(row); /* or the parse would have failed */
	if (imap_is_uidonly(s) && (row->bits & IMAP_ROW_BY_NUMBER) && !cmd->uid)
		return imap_cmd_finish(s, cmd, IMAP_BAD, "UIDREQUIRED",
		    "message numbers are not used any more");
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

/* A reply to a frame that never became a command: it broke a limit or the framing. */
static void
frame_refuse(struct imap_session *s, struct slice text, const char *why)
{
	struct imap_lex lex;
	struct imap_command *cmd = imap_command_new(s);

	imap_lex_init(&lex, text, imap_arena(s));
	if (!imap_lex_tag(&lex, &cmd->tag) || imap_lex_peek(&lex) != ' ')
		cmd->tag = SLICE_NULL;
	struct slice rest = imap_lex_rest(&lex);
	if (s->login && rest.len > 13 &&
	    slice_equal_nocase(slice_sub(rest, 0, 13), SLICE(" SETMETADATA ")))
		imap_metadata_too_large(s, cmd); /* RFC 5464 section 4.3 */
	else
		imap_cmd_finish(s, cmd, IMAP_BAD, NULL, why);
	imap_command_over(s);
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
	size_t max = s->login ? IMAP_LITERAL_MAX : IMAP_PREAUTH_LITERAL_MAX;

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
	enum cmd_result next = imap_call(s, s->resume);
	s->line = SLICE_NULL;
	if (next != CMD_CLOSE)
		conn_consume(s->conn, used);
	imap_command_result(s, next);
	return true;
}

void
imap_run(struct imap_session *s)
{
	unsigned commands = 0;
	bool progress = true;

	if (s->conn && s->phase == IMAP_PHASE_RUN && !imap_out_full(s) && !s->closing)
		imap_command_result(s, imap_call(s, s->resume));
	/* What could not be told while the output was full. */
	if (s->notify && s->conn && s->changed && !imap_out_full(s))
		imap_notify_again(s);
	if (s->metadata && s->conn && !imap_out_full(s))
		imap_metadata_again(s);
	while (progress && s->conn && !s->closing) {
		progress = false;
		switch (s->phase) {
		case IMAP_PHASE_COMMAND:
			if (imap_out_full(s))
				break; /* until CONN_DRAINED */
			if (commands++ < IMAP_TURN_COMMANDS)
				progress = read_command(s);
			else
				imap_run_again(s);
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
