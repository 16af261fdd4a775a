/*
 * A whole POP3 session (RFC 1939): it ends, and its output is status lines, each +OK with
 * either nothing or a multi-line part that has its end and is dot-stuffed.  No more
 * replies than lines; exactly one a line when the lines are plain and the session stays
 * open.
 *
 * The first octet of the input: bit 0 logs in first, the rest is the size of the pieces.
 */
#include "fuzz/session_pop3.h"

static const char login[] = "USER " FUZZ_ACCOUNT "\r\nPASS secret\r\n";

static bool
is_status(struct slice line)
{
	return slice_has_prefix(line, SLICE("+OK")) ||
	       slice_has_prefix(line, SLICE("-ERR ")) ||
	       slice_has_prefix(line, SLICE("+ "));
}

/* The lines of a multi-line reply behind its +OK; no message here has a line that looks
 * like a status line. */
static void
check_multi_line(struct slice *rest)
{
	struct slice line;
	for (;;) {
		ENSURE(fuzz_line(rest, &line)); /* or its end is missing */
		if (slice_equal(line, SLICE(".")))
			return;
		ENSURE(!slice_has_prefix(line, SLICE(".")) ||
		       slice_has_prefix(line, SLICE("..")));
		ENSURE(!is_status(line));
	}
}

static size_t
check(struct slice rest)
{
	struct slice line;
	size_t replies = 0;
	while (fuzz_line(&rest, &line)) {
		ENSURE(is_status(line) && line.len <= 510);
		replies++;
		if (!slice_has_prefix(line, SLICE("+OK")) || rest.len == 0)
			continue;
		if (!is_status(rest))
			check_multi_line(&rest);
	}
	return replies;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > FUZZ_INPUT_MAX)
		return 0;
	struct buf input AUTO_BUF;
	struct buf out AUTO_BUF;
	buf_init(&input, FUZZ_INPUT_MAX + sizeof(login));
	if (data[0] & 1)
		buf_append_cstr(&input, login);
	buf_append(&input, slice_make((const char *)data + 1, size - 1));
	fuzz_session(&fuzz_pop3, buf_slice(&input), 1 + 4 * (size_t)(data[0] >> 1), &out);
	size_t replies = check(buf_slice(&out));
	size_t lines = fuzz_count(buf_slice(&input), '\n');
	ENSURE(replies >= 1 && replies <= lines + 2); /* greeting, farewell */
	if (fuzz_is_plain(buf_slice(&input)) && !fuzz_has(buf_slice(&input), "QUIT") &&
	    !fuzz_has(buf_slice(&out), "too many"))
		ENSURE(replies == lines + 1);
	return 0;
}
