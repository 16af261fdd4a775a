/*
 * A whole SMTP session (RFC 5321): it ends, and its output is replies: lines of at most
 * 512 octets, printable, with a code from 2 to 5, the same on all lines of a reply, and a
 * space behind it on the last alone.  No more replies than lines; exactly one a line when
 * the lines are plain and bring no message.
 *
 * The first octet of the input: bit 0 is the submission listener, bit 1 says EHLO and
 * logs in (there) or begins a message (else); the rest is the size of the pieces.
 */
#include "fuzz/fuzz_session.h"

#include "smtpd/smtp_session.h"

enum { REPLY_LINE_MAX = 510 }; /* octets without CRLF, RFC 5321 section 4.5.3.1.5 */

static const char prologues[2][96] = {
    "EHLO far.test\r\nMAIL FROM:<bo@far.test>\r\nRCPT TO:<" FUZZ_ACCOUNT ">\r\n",
    "EHLO here.test\r\nAUTH PLAIN AGFubkBmdXp6LnRlc3QAc2VjcmV0\r\n"};

static void
fini(void *user)
{
	struct smtp_worker *w = user;
	ENSURE(list_is_empty(&w->sessions));
	buf_fini(&w->scratch);
	free(w);
}

static const struct fuzz_daemon daemons[2] = {
    {.options = {.daemon = "smtpd",
	 .sasl_service = "smtp",
	 .accept = smtp_session_accept,
	 .worker_start = smtp_sessions_start},
     .listener = "smtp",
     .fini = fini},
    {.options = {.daemon = "smtpd",
	 .sasl_service = "smtp",
	 .accept = smtp_session_accept,
	 .worker_start = smtp_sessions_start},
     .listener = "submission",
     .fini = fini},
};

static size_t
check(struct slice rest)
{
	struct slice line;
	struct slice code = SLICE_NULL; /* of a reply that goes on */
	size_t replies = 0;
	while (fuzz_line(&rest, &line)) {
		ENSURE(line.len >= 4 && line.len <= REPLY_LINE_MAX);
		for (size_t i = 0; i < line.len; i++)
			ENSURE((unsigned char)line.ptr[i] >= ' ' && line.ptr[i] != 127);
		ENSURE(line.ptr[0] >= '2' && line.ptr[0] <= '5');
		ENSURE(line.ptr[1] >= '0' && line.ptr[1] <= '5');
		ENSURE(line.ptr[2] >= '0' && line.ptr[2] <= '9');
		ENSURE(!code.ptr || slice_has_prefix(line, code));
		ENSURE(line.ptr[3] == ' ' || line.ptr[3] == '-');
		code = line.ptr[3] == '-' ? slice_sub(line, 0, 3) : SLICE_NULL;
		replies += !code.ptr;
	}
	ENSURE(!code.ptr);
	return replies;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > FUZZ_INPUT_MAX)
		return 0;
	struct buf input AUTO_BUF;
	struct buf out AUTO_BUF;
	unsigned submission = data[0] & 1;
	buf_init(&input, FUZZ_INPUT_MAX + sizeof(prologues[0]));
	if (data[0] & 2)
		buf_append_cstr(&input, prologues[submission]);
	buf_append(&input, slice_make((const char *)data + 1, size - 1));
	fuzz_session(&daemons[submission], buf_slice(&input),
	    1 + 8 * (size_t)(data[0] >> 2), &out);
	size_t replies = check(buf_slice(&out));
	size_t lines = fuzz_count(buf_slice(&input), '\n');
	ENSURE(replies >= 1 && replies <= lines + 2); /* greeting, farewell */
	if (fuzz_is_plain(buf_slice(&input)) && !fuzz_has(buf_slice(&input), "QUIT") &&
	    !fuzz_has(buf_slice(&input), "DATA") &&
	    !fuzz_has(buf_slice(&input), "BDAT") && !fuzz_has(buf_slice(&out), "421 "))
		ENSURE(replies == lines + 1);
	return 0;
}
