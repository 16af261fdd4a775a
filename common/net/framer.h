/*
 * The one place that knows what ends a line, a literal or a message.  Pure and
 * incremental: feed it what has arrived, it says what is complete.  A line ends in CRLF;
 * bare CR and bare LF are refused here and nowhere else (RFC 5321 section 2.3.8; SMTP
 * smuggling, CVE-2023-51764 and its family).
 */
#ifndef NET_FRAMER_H
#define NET_FRAMER_H

#include "base/buf.h"
#include "base/slice.h"

enum framer_result {
	FRAMER_MORE,     /* not complete yet: keep the input, wait for more */
	FRAMER_DONE,     /* complete */
	FRAMER_LITERAL,  /* IMAP: a literal is announced, see framer_imap */
	FRAMER_TOO_LONG, /* over the line limit */
	FRAMER_BARE_CR,
	FRAMER_BARE_LF,
	FRAMER_NUL,
};

/* One command line of at most line_max octets with its CRLF, as RFC 5321 counts.  On DONE
 * *out_line is the line without CRLF (borrows the input) and *out_used the bytes to
 * consume.  On the faults *out_used is the bytes to consume so that the stream is in step
 * again (up to and with the next CRLF or LF), or 0 when the end of that line has not come
 * yet: then discard with framer_skip_line.  Bytes over 127 pass; NUL does not. */
enum framer_result framer_line(
    struct slice input, size_t line_max, struct slice *out_line, size_t *out_used);
/* How many bytes of input belong to the rest of an over-long line; *out_ended when its
 * LF is among them. */
size_t framer_skip_line(struct slice input, bool *out_ended);

/* ---- SMTP message data after DATA (RFC 5321 section 4.5.2) ---- */
enum framer_dot_state {
	FRAMER_DOT_LINE_START,
	FRAMER_DOT_TEXT,
	FRAMER_DOT_CR,     /* CR seen, LF must follow */
	FRAMER_DOT_DOT,    /* dot at line start */
	FRAMER_DOT_DOT_CR, /* dot CR at line start */
	FRAMER_DOT_ENDED,
};

struct framer_dot {
	enum framer_dot_state state;
	uint64_t bytes;      /* message bytes so far, after unstuffing */
	size_t line_len;     /* bytes of the current line */
	size_t line_longest; /* octets without CRLF */
	bool bare_cr;        /* sticky: a CR that no LF followed */
	bool bare_lf;        /* sticky: a LF that no CR preceded */
	bool nul;            /* sticky */
	bool has_8bit;       /* sticky: a byte over 127 */
};

void framer_dot_init(struct framer_dot *f);
/* Reads input; unstuffed message bytes are appended to `out` (as they are, CRLF kept;
 * may be null to discard).  DONE: the terminating line was read, and only CRLF.CRLF (or
 * .CRLF at the very start) is one; *out_used tells where the next command starts.  MORE:
 * all of the input was used.  Bare CR and LF are noted in the flags and never end the
 * message; the session refuses it at the end and closes.  Appends at most input.len + 2.
 */
enum framer_result framer_dot_feed(
    struct framer_dot *f, struct slice input, struct buf *out, size_t *out_used);

/* ---- dot-stuffing, for RETR and for the SMTP client ---- */
struct framer_stuff {
	bool line_start; /* true at first; behind any LF, bare or not */
	bool ended;      /* true at first; the last line has its CRLF */
	bool last_cr;    /* the last byte given was a CR */
	bool cr_held;    /* and it has not been appended yet (normalise) */
};
void framer_stuff_init(struct framer_stuff *s);
/* Appends bytes with a dot put before each line that begins with one, also behind a bare
 * LF: many clients read lines by LF, and to them a dot there would end the message.  With
 * `normalise` a bare CR or LF is rewritten to CRLF, so that nothing we send can be read
 * as the end of data. */
void framer_stuff_feed(
    struct framer_stuff *s, struct slice bytes, bool normalise, struct buf *out);
/* The same without a copy, for bytes that are sent from where they are: how many of them
 * may be sent as they stand; with *out_dot a dot goes behind those, and the rest is given
 * again. */
size_t framer_stuff_run(struct framer_stuff *s, struct slice bytes, bool *out_dot);
/* Appends what ends the message: what the last line lacks to end in CRLF (not normalised:
 * message_line_end_missing octets), then dot CRLF. */
void framer_stuff_end(struct framer_stuff *s, struct buf *out);

/* ---- IMAP command with literals (RFC 9051 section 4.3, RFC 7888) ---- */
enum { FRAMER_LITERAL_TEXT_MAX = 24 };

struct framer_imap {
	struct buf frame;      /* the command so far: lines and literals as sent */
	size_t line_max;       /* octets of command text, literals not counted */
	size_t text_bytes;     /* of them, used */
	uint64_t literal_left; /* bytes of an accepted literal still to come */
	uint64_t literal_size; /* of the literal announced last */
	bool literal_sync;     /* false for {n+}: the client does not wait */
	bool literal_binary;   /* ~{n} (RFC 3516) */
	bool waiting;  /* a literal was announced, accept/stream/reset not called */
	bool too_long; /* sticky for this command: its frame passed frame_max */
	bool nul;      /* sticky for this command: NUL in a literal that is no ~{} */
};

/* frame_max bounds command text and buffered literals together. */
void framer_imap_init(struct framer_imap *f, size_t line_max, size_t frame_max);
void framer_imap_fini(struct framer_imap *f);
/* Reads input into the frame; *out_used bytes are to be consumed.
 * DONE: a whole command lies in framer_imap_frame(), without its last CRLF; inside it a
 * literal stands as sent: "{5}\r\nhello".  LITERAL: the frame so far ends in a literal
 * announcement (its CRLF is in the frame); the session must now call one of
 *   framer_imap_accept  the bytes go into the frame (send "+" first when literal_sync);
 *   framer_imap_stream  the session takes literal_size bytes from the connection by
 *                       itself and then feeds again (APPEND);
 *   framer_imap_reset   after refusing a synchronising literal (nothing follows).
 * TOO_LONG, BARE_CR, BARE_LF, NUL: reply BAD, then framer_imap_reset; *out_used is as in
 * framer_line.  A frame over frame_max is TOO_LONG, told at the command's end so that
 * the stream stays in step: an accepted literal that has no room is read and dropped
 * (look at literal_size before inviting a synchronising one).  The same holds for NUL in
 * a literal that is not binary. */
enum framer_result framer_imap_feed(
    struct framer_imap *f, struct slice input, size_t *out_used);
void framer_imap_accept(struct framer_imap *f);
void framer_imap_stream(struct framer_imap *f);
/* Forgets the command (keeps no allocation when idle). */
void framer_imap_reset(struct framer_imap *f);
struct slice framer_imap_frame(const struct framer_imap *f);

#endif
