/*
 * DATA (RFC 5321 section 4.1.1.4) and BDAT (RFC 3030): where the octets of a message
 * begin and end.  What they are is smtp_message's business.
 *
 * The rules that keep one message one message: only CRLF.CRLF ends DATA; a bare CR or LF
 * anywhere in it refuses the message and ends the session, so that nothing behind it is
 * ever read as a command; a BDAT whose size cannot be read ends the session too.  Octets
 * of a refused message are read on (the stream must stay in step), but not for ever:
 * SMTP_DISCARD_MAX.
 */
#include "smtpd/smtp_accept.h"
#include "smtpd/smtp_cmd.h"
#include "smtpd/smtp_lmtp.h"
#include "smtpd/smtp_message.h"

static const struct smtp_reply no_journal = {
    451, "4.3.0", "the message's copy has no place to go, try again later"};

/* ---- DATA ---- */

/* Why no message may come now, or null. */
static const struct smtp_reply *
message_refusal(const struct smtp_session *s)
{
	static const struct smtp_reply no_mail = {503, "5.5.1", "MAIL first"};
	static const struct smtp_reply no_rcpt = {503, "5.5.1", "RCPT first"};
	static const struct smtp_reply all_refused = {
	    554, "5.5.1", "no valid recipients"};
	if (!s->envelope)
		return &no_mail;
	/* RFC 2033 section 4.2 has one code for it. */
	static const struct smtp_reply lmtp_refused = {
	    503, "5.5.1", "no valid recipients"};
	if (s->envelope->recipients == 0)
		return s->envelope->refused == 0 ? &no_rcpt
		       : s->lmtp                 ? &lmtp_refused
		                                 : &all_refused;
	return NULL;
}

void
smtp_cmd_data(struct smtp_session *s, struct slice rest)
{
	(void)rest;
	const struct smtp_reply *refusal = message_refusal(s);
	if (refusal) {
		smtp_resp_bad(s, refusal->code, refusal->enhanced, refusal->text);
		return;
	}
	if (s->envelope->draft) {
		smtp_resp_bad(
		    s, 503, "5.5.1", "not after BDAT: go on with BDAT, or RSET");
		return;
	}
	if (s->envelope->binary) {
		/* RFC 3030 section 3. */
		smtp_resp_bad(s, 503, "5.5.1", "a binary message comes by BDAT");
		return;
	}
	if (!smtp_mail_add_journal(s)) {
		smtp_resp(s, no_journal.code, no_journal.enhanced, no_journal.text);
		return;
	}
	smtp_message_begin(s->envelope);
	s->chunked = false;
	smtp_set_state(s, SMTP_MESSAGE);
	smtp_resp(s, 354, NULL, "send the message, end it with a dot alone on a line");
}

/* The octets of a message are in, DATA or LAST. */
static void
message_complete(struct smtp_session *s)
{
	smtp_message_end(s->envelope);
	if (s->envelope->fault != SMTP_FAULT_NONE)
		smtp_accept_refuse(s);
	else
		smtp_accept(s);
}

static void
note_text_faults(struct smtp_envelope *e, bool bare, bool nul, size_t line_longest)
{
	if (bare)
		smtp_message_fault(e, SMTP_FAULT_BARE);
	if (nul)
		smtp_message_fault(e, SMTP_FAULT_NUL);
	if (line_longest > SMTP_TEXT_LINE_MAX)
		smtp_message_fault(e, SMTP_FAULT_LINE);
}

/* More of a refused message than we care to read: says so and closes. */
static void
stop_reading(struct smtp_session *s)
{
	if (s->envelope && s->envelope->fault != SMTP_FAULT_NONE)
		smtp_accept_refuse(s);
	else
		smtp_resp(s, 552, "5.3.4", smtp_resp_of_fault(SMTP_FAULT_SIZE)->text);
	smtp_session_close(s, "too many octets of a refused message");
}

void
smtp_data_refuse_bare(struct smtp_session *s)
{
	smtp_accept_refuse(s);
}

static bool
data_read(struct smtp_session *s, struct slice input)
{
	struct smtp_envelope *e = s->envelope;
	struct buf *scratch = &s->own->scratch;
	buf_reset(scratch);
	size_t used;
	bool kept = e->fault == SMTP_FAULT_NONE;
	enum framer_result result =
	    framer_dot_feed(&e->dot, input, kept ? scratch : NULL, &used);
	ENSURE(buf_ok(scratch));
	conn_consume(s->conn, used);
	note_text_faults(
	    e, e->dot.bare_cr || e->dot.bare_lf, e->dot.nul, e->dot.line_longest);
	smtp_message_feed(e, buf_slice(scratch));
	if (result == FRAMER_DONE)
		message_complete(s);
	else if (e->fault != SMTP_FAULT_NONE &&
		 e->dot.bytes > e->size_max + SMTP_DISCARD_MAX)
		stop_reading(s);
	return true;
}

/* ---- BDAT ---- */

/* The transaction is over; chunks that were sent ahead find no MAIL (RFC 3030 section 2:
 * they are answered 503). */
static void
chunk_done(struct smtp_session *s)
{
	struct smtp_envelope *e = s->envelope;
	if (s->chunk_refused) {
		const struct smtp_reply *reply = s->chunk_refused;
		s->chunk_refused = NULL;
		smtp_set_state(s, SMTP_READY);
		if (s->lmtp && s->chunk_last && e && e->recipients > 0) {
			/* The message's end is answered for each of them. */
			smtp_lmtp_answer(s, e, reply);
			smtp_session_reset(s);
			return;
		}
		smtp_resp_bad(s, reply->code, reply->enhanced, reply->text);
		return;
	}
	if (s->chunk_last)
		smtp_text_end(&e->text);
	note_text_faults(
	    e, e->text.bare_cr || e->text.bare_lf, e->text.nul, e->text.line_longest);
	if (s->chunk_last) {
		message_complete(s);
	} else if (e->fault != SMTP_FAULT_NONE) {
		smtp_accept_refuse(s);
	} else {
		smtp_set_state(s, SMTP_READY);
		smtp_resp_format(
		    s, 250, "2.0.0", "%llu octets", (unsigned long long)s->chunk_size);
	}
}

static const struct smtp_reply *
chunk_refusal(const struct smtp_session *s)
{
	static const struct smtp_reply no_login = {530, "5.7.0", "log in first"};
	if (s->submission && !s->login)
		return &no_login;
	return message_refusal(s);
}

void
smtp_cmd_bdat(struct smtp_session *s, struct slice rest)
{
	struct smtp_bdat bdat;
	if (!smtp_bdat_parse(rest, &bdat)) {
		/* How many octets follow is not known: they must not become commands. */
		smtp_resp_bad(s, 501, "5.5.4", "use BDAT octets [LAST]; goodbye");
		smtp_session_close(s, "a BDAT without a size");
		return;
	}
	uint64_t size_max = service_conf(s->service)->smtp.max_message_size;
	s->chunked = true;
	s->chunk_last = bdat.last;
	s->chunk_size = s->chunk_left = bdat.size;
	s->chunk_refused = chunk_refusal(s);
	if (bdat.size > size_max + SMTP_DISCARD_MAX) {
		if (s->envelope && !s->chunk_refused)
			smtp_message_fault(s->envelope, SMTP_FAULT_SIZE);
		stop_reading(s);
		return;
	}
	if (!s->chunk_refused && !s->envelope->draft) {
		if (smtp_mail_add_journal(s))
			smtp_message_begin(s->envelope);
		else
			s->chunk_refused = &no_journal;
	}
	smtp_set_state(s, SMTP_MESSAGE);
	if (bdat.size == 0)
		chunk_done(s);
}

static bool
chunk_read(struct smtp_session *s, struct slice input)
{
	struct smtp_envelope *e = s->envelope;
	struct slice bytes = input;
	if (bytes.len > s->chunk_left)
		bytes = slice_sub(input, 0, (size_t)s->chunk_left);
	if (!s->chunk_refused && e->fault == SMTP_FAULT_NONE) {
		if (!e->binary)
			smtp_text_feed(&e->text, bytes);
		smtp_message_feed(e, bytes);
	} else {
		s->discarded += bytes.len;
	}
	s->chunk_left -= bytes.len;
	conn_consume(s->conn, bytes.len);
	if (s->discarded >
	    service_conf(s->service)->smtp.max_message_size + SMTP_DISCARD_MAX)
		stop_reading(s);
	else if (s->chunk_left == 0)
		chunk_done(s);
	return true;
}

bool
smtp_message_read(struct smtp_session *s)
{
	struct slice input = conn_input(s->conn);
	if (input.len == 0)
		return false;
	return s->chunked ? chunk_read(s, input) : data_read(s, input);
}
