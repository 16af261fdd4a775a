/*
 * The TRANSACTION and UPDATE states: the commands that look at the maildrop, deliver
 * messages, mark them, and remove them at the end (RFC 1939 sections 5 to 7).
 */
#include <stdio.h>

#include "base/log.h"
#include "pop3d/pop3_cmd.h"
#include "pop3d/pop3_resp.h"
#include "text/header.h"
#include "text/message_index.h"

void
pop3_cmd_stat(struct pop3_session *s, const struct pop3_line *line)
{
	(void)line;
	pop3_resp_ok_format(s, "%u %llu", s->drop.count - s->drop.deleted_count,
	    (unsigned long long)s->drop.bytes);
}

/* The message that an argument names, or null with -ERR written. */
static struct pop3_message *
argument_message(struct pop3_session *s, struct slice text, uint32_t *out_number)
{
	uint32_t number;
	if (!pop3_number_parse(text, &number)) {
		pop3_resp_err(s, NULL, "this is not a message number");
		return NULL;
	}
	struct pop3_message *message = pop3_drop_message(&s->drop, number);
	if (!message) {
		pop3_resp_err(s, NULL, "no such message");
		return NULL;
	}
	*out_number = number;
	return message;
}

static void
listing_begin(struct pop3_session *s, enum pop3_output output)
{
	s->output = output;
	s->out_next = 1;
	s->waiting = POP3_WAITS_FOR_OUTPUT;
}

void
pop3_cmd_list(struct pop3_session *s, const struct pop3_line *line)
{
	if (line->argument_count == 0) {
		pop3_resp_ok_format(s, "%u messages (%llu octets)",
		    s->drop.count - s->drop.deleted_count,
		    (unsigned long long)s->drop.bytes);
		listing_begin(s, POP3_OUT_LIST);
		return;
	}
	uint32_t number;
	struct pop3_message *message = argument_message(s, line->arguments[0], &number);
	if (message)
		pop3_resp_ok_format(
		    s, "%u %llu", number, (unsigned long long)message->size);
}

void
pop3_cmd_uidl(struct pop3_session *s, const struct pop3_line *line)
{
	if (line->argument_count == 0) {
		pop3_resp_ok(s, "unique ids follow");
		listing_begin(s, POP3_OUT_UIDL);
		return;
	}
	uint32_t number;
	struct pop3_message *message = argument_message(s, line->arguments[0], &number);
	if (!message)
		return;
	char uidl[POP3_UIDL_MAX + 1];
	pop3_drop_uidl(&s->drop, message, uidl);
	pop3_resp_ok_format(s, "%u %s", number, uidl);
}

/* Octets of the header block and of `lines` lines behind it (RFC 1939, TOP). */
static uint64_t
top_length(struct slice bytes, uint32_t lines)
{
	size_t end = header_block_length(bytes);
	while (lines > 0 && end < bytes.len) {
		const char *lf = memchr(bytes.ptr + end, '\n', bytes.len - end);
		end = lf ? (size_t)(lf - bytes.ptr) + 1 : bytes.len;
		lines--;
	}
	return end;
}

static void
message_begin(struct pop3_session *s, uint32_t number, const struct pop3_message *message,
    bool whole, uint32_t lines)
{
	struct store_reader *reader = service_reader(s->worker);
	struct message_record record;
	enum status status =
	    message_get(reader, s->account, s->drop.mailbox, message->uid, &record);
	if (status == STATUS_NOT_FOUND) {
		pop3_resp_err(s, "SYS/PERM",
		    "another client has removed this message in the meantime");
		return;
	}
	if (status == STATUS_OK)
		status = message_body_open(reader, s->account, &record, &s->body);
	if (status != STATUS_OK) {
		pop3_resp_status(s, status);
		return;
	}
	s->output = POP3_OUT_MESSAGE;
	s->out_number = number;
	s->out_whole = whole;
	s->out_offset = 0;
	s->out_end =
	    whole ? s->body.size : top_length(body_handle_bytes(&s->body), lines);
	s->waiting = POP3_WAITS_FOR_OUTPUT;
	framer_stuff_init(&s->stuff);
	unsigned missing = message_line_end_missing(body_handle_bytes(&s->body));
	pop3_resp_ok_format(
	    s, "%llu octets", (unsigned long long)(s->body.size + missing));
}

void
pop3_cmd_retr(struct pop3_session *s, const struct pop3_line *line)
{
	uint32_t number;
	struct pop3_message *message = argument_message(s, line->arguments[0], &number);
	if (message)
		message_begin(s, number, message, true, 0);
}

void
pop3_cmd_top(struct pop3_session *s, const struct pop3_line *line)
{
	uint32_t number, lines;
	struct pop3_message *message = argument_message(s, line->arguments[0], &number);
	if (!message)
		return;
	if (!slice_to_u32(line->arguments[1], &lines)) {
		pop3_resp_err(s, NULL, "this is not a number of lines");
		return;
	}
	message_begin(s, number, message, false, lines);
}

void
pop3_cmd_dele(struct pop3_session *s, const struct pop3_line *line)
{
	uint32_t number;
	struct pop3_message *message = argument_message(s, line->arguments[0], &number);
	if (!message)
		return;
	pop3_drop_delete(&s->drop, message);
	pop3_resp_ok_format(s, "message %u marked for removal at QUIT", number);
}

void
pop3_cmd_rset(struct pop3_session *s, const struct pop3_line *line)
{
	(void)line;
	pop3_drop_reset(&s->drop);
	pop3_resp_ok(s, "no message is marked");
}

/* ---- multi-line replies, in slices ---- */

/* One slice of LIST or UIDL; true at the end. */
static bool
listing_continue(struct pop3_session *s)
{
	char line[POP3_UIDL_MAX + 32];
	char uidl[POP3_UIDL_MAX + 1];
	for (unsigned i = 0; i < POP3_LINES_PER_SLICE; i++) {
		if (s->out_next > s->drop.count) {
			conn_write(s->conn, SLICE(".\r\n"));
			return true;
		}
		uint32_t number = s->out_next++;
		struct pop3_message *message = pop3_drop_message(&s->drop, number);
		if (!message)
			continue;
		int len;
		if (s->output == POP3_OUT_UIDL) {
			pop3_drop_uidl(&s->drop, message, uidl);
			len = snprintf(line, sizeof(line), "%u %s\r\n", number, uidl);
		} else {
			len = snprintf(line, sizeof(line), "%u %llu\r\n", number,
			    (unsigned long long)message->size);
		}
		conn_write(s->conn, slice_make(line, (size_t)len));
	}
	return false;
}

/* One slice of a message; true at the end. */
static bool
message_continue(struct pop3_session *s)
{
	struct slice bytes = slice_sub(
	    body_handle_bytes(&s->body), (size_t)s->out_offset, POP3_BYTES_PER_SLICE);
	if (bytes.len > s->out_end - s->out_offset)
		bytes.len = (size_t)(s->out_end - s->out_offset);
	s->out_offset += bytes.len;
	while (bytes.len > 0) {
		bool dot;
		size_t count = framer_stuff_run(&s->stuff, bytes, &dot);
		conn_write(s->conn, slice_sub(bytes, 0, count));
		if (dot)
			conn_write(s->conn, SLICE("."));
		bytes = slice_from(bytes, count);
	}
	if (s->out_offset < s->out_end)
		return false;
	struct buf tail AUTO_BUF;
	buf_init(&tail, 16);
	framer_stuff_end(&s->stuff, &tail);
	conn_write(s->conn, buf_slice(&tail));
	body_handle_close(&s->body);
	struct pop3_message *message = pop3_drop_message(&s->drop, s->out_number);
	if (message && s->out_whole) {
		message->retrieved = true;
		s->drop.retrieved = true;
	}
	return true;
}

bool
pop3_output_is_high(const struct pop3_session *s)
{
	return conn_output_pending(s->conn) >= POP3_OUTPUT_HIGH;
}

bool
pop3_output_continue(struct pop3_session *s)
{
	while (!pop3_output_is_high(s)) {
		if (s->output == POP3_OUT_NONE) {
			s->waiting = POP3_WAITS_FOR_NOTHING;
			return true;
		}
		bool ended = s->output == POP3_OUT_MESSAGE ? message_continue(s)
		                                           : listing_continue(s);
		if (ended)
			s->output = POP3_OUT_NONE;
	}
	return false;
}

/* ---- QUIT and UPDATE ---- */

static void
goodbye(struct pop3_session *s)
{
	if (s->state == POP3_UPDATE)
		pop3_resp_ok_format(s, "goodbye, %llu messages removed",
		    (unsigned long long)s->update.out_removed);
	else
		pop3_resp_ok(s, "goodbye");
	pop3_session_close(s, "quit");
}

/* store_done_fn: the removal is durable, or nothing was removed. */
static void
update_done(struct store_op *op)
{
	struct pop3_session *s = OBJ_CAST(pop3_session, op->user, POP3_SESSION_MAGIC);
	s->waiting = POP3_WAITS_FOR_NOTHING;
	if (s->gone) {
		pop3_session_close(s, "connection lost in UPDATE");
		return;
	}
	if (op->status != STATUS_OK)
		s->update.out_removed = 0;
	if (op->status != STATUS_OK && op->status != STATUS_NOT_FOUND) {
		pop3_resp_status(s, op->status);
		pop3_session_close(s, status_text(op->status));
		return;
	}
	goodbye(s);
}

static void
update_begin(struct pop3_session *s)
{
	pop3_set_state(s, POP3_UPDATE);
	s->waiting = POP3_WAITS_FOR_NOTHING;
	s->arena = arena_new((size_t)s->drop.count * 16 + 64 * 1024);
	struct pop3_drop_update update;
	pop3_drop_update(&s->drop, s->rule.policy, s->arena, &update);
	if (update.remove_count == 0 && update.retrieved_count == 0) {
		goodbye(s);
		return;
	}
	s->update = (struct pop3_update_op){
	    .op = {.done = update_done, .user = s, .arena = s->arena},
	    .account = s->account,
	    .mailbox = s->drop.mailbox,
	    .remove = update.remove,
	    .remove_count = update.remove_count,
	    .retrieved = update.retrieved,
	    .retrieved_count = update.retrieved_count,
	};
	s->waiting = POP3_WAITS_FOR_STORE;
	pop3_update_op_submit(service_reader(s->worker), &s->update);
}

/* A message counts as delivered whole only when the client's side has its last byte: with
 * PIPELINING a QUIT may be read long before that (RFC 2449 section 6.6), and what is in
 * our or the kernel's buffers dies with the connection.  The kernel does not tell when it
 * is acknowledged, so it is asked now and then; a connection that fails meanwhile ends
 * the session by CONN_CLOSED, and nothing is removed. */
static void
ack_wait(void *arg)
{
	struct pop3_session *s = OBJ_CAST(pop3_session, arg, POP3_SESSION_MAGIC);
	if (conn_output_unacked(s->conn) == 0) {
		update_begin(s);
		return;
	}
	s->waiting = POP3_WAITS_FOR_ACK;
	loop_timer_start(
	    worker_loop(s->worker), &s->ack_poll, s->ack_poll_ms, ack_wait, s);
	if (s->ack_poll_ms < POP3_ACK_POLL_MAX_MS)
		s->ack_poll_ms *= 2;
}

void
pop3_cmd_quit(struct pop3_session *s, const struct pop3_line *line)
{
	(void)line;
	if (s->state != POP3_TRANSACTION) {
		goodbye(s);
		return;
	}
	/* DELE is an order; that RETR has arrived must be known. */
	if (s->rule.policy == POP3_POLICY_KEEP || !s->drop.retrieved) {
		update_begin(s);
		return;
	}
	conn_flush(s->conn);
	s->ack_poll_ms = POP3_ACK_POLL_MS;
	ack_wait(s);
}
