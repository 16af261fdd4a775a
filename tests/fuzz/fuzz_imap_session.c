/*
 * A whole IMAP session (RFC 9051): it ends, and its output is untagged responses,
 * continuation requests and tagged replies, with literals of the announced size in the
 * first alone.  No more replies than lines.  When the lines are plain and nothing among
 * them changes what a line is, each gets its own reply, in order, with its own tag; a
 * line without one gets "* BAD".
 *
 * The first octet of the input: bit 0 logs in, bit 1 selects INBOX too, the rest is the
 * size of the pieces.
 */
#include "fuzz/fuzz_session.h"

#include "imapd/imap_session.h"

static const char login[] = "l LOGIN " FUZZ_ACCOUNT " secret\r\n";
static const char select_inbox[] = "s SELECT INBOX\r\n";

static struct imap_stats stats;
static struct imap_recents recents;

static void
worker_start(struct service *service, struct worker *worker)
{
	struct imap_worker *w = xcalloc(1, sizeof(*w));
	if (!stats.sessions)
		imap_stats_init(&stats);
	imap_recents_init(&recents);
	imap_worker_init(
	    w, worker_loop(worker), service_reader(worker), &stats, &recents);
	w->service = service;
	service_worker_set_user(worker, w);
}

static void
accept_one(struct service *service, struct worker *worker, int fd,
    const struct listener *listener, struct worker_conn *token)
{
	(void)service;
	imap_session_new(service_worker_user(worker), fd, listener->tls, token);
}

static bool
is_quiet(void *user)
{
	struct imap_worker *w = user;
	imap_recents_flush(w, false); /* those that wait for their time are let go */
	return list_is_empty(&w->sessions) && w->background_ops == 0;
}

static void
fini(void *user)
{
	struct imap_worker *w = user;
	imap_worker_fini(w);
	imap_recents_fini(&recents);
	free(w);
}

static const struct fuzz_daemon imap = {
    .options = {.daemon = "imapd",
		.sasl_service = "imap",
		.accept = accept_one,
		.worker_start = worker_start},
    .listener = "imap",
    .is_quiet = is_quiet,
    .fini = fini,
};

/* One response: its first line without CRLF, and whether literals followed.  A literal's
 * size stands at the end of a line, as {n} or ~{n}. */
static bool
response(struct slice *rest, struct slice *first)
{
	struct slice line;
	if (!fuzz_line(rest, first))
		return false;
	line = *first;
	while (line.len > 0 && line.ptr[line.len - 1] == '}') {
		size_t begin = line.len - 1;
		uint64_t size;
		while (
		    begin > 0 && line.ptr[begin - 1] >= '0' && line.ptr[begin - 1] <= '9')
			begin--;
		struct slice digits = slice_sub(line, begin, line.len - 1 - begin);
		if (digits.len == 0 || begin == 0 || line.ptr[begin - 1] != '{')
			break; /* text that ends so */
		ENSURE(slice_to_u64(digits, FUZZ_OUTPUT_MAX, &size));
		ENSURE(slice_has_prefix(*first, SLICE("* ")));
		ENSURE(rest->len >= size);
		*rest = slice_from(*rest, (size_t)size);
		ENSURE(fuzz_line(rest, &line));
	}
	return true;
}

/* "OK", "NO", "BAD" behind the tag, or null. */
static bool
is_tagged(struct slice line, struct slice *tag)
{
	*tag = slice_split(&line, ' ');
	return tag->len > 0 && (slice_has_prefix(line, SLICE("OK ")) ||
				   slice_has_prefix(line, SLICE("NO ")) ||
				   slice_has_prefix(line, SLICE("BAD ")));
}

static bool
is_tag(struct slice tag)
{
	for (size_t i = 0; i < tag.len; i++)
		if (strchr("(){%*\"\\+", tag.ptr[i]))
			return false;
	return tag.len > 0;
}

/* The replies in order; `expected`: the lines that were sent, or null to count only. */
static size_t
check(struct slice rest, struct slice expected)
{
	struct slice line;
	struct slice tag;
	size_t replies = 0;
	bool greeted = false;
	while (response(&rest, &line)) {
		for (size_t i = 0; i < line.len; i++)
			ENSURE(line.ptr[i] != '\0' && line.ptr[i] != '\r');
		if (!greeted) {
			ENSURE(slice_has_prefix(line, SLICE("* OK [CAPABILITY ")));
			greeted = true;
			continue;
		}
		if (slice_has_prefix(line, SLICE("+ ")))
			continue;
		bool lost = slice_has_prefix(line, SLICE("* BAD"));
		if (slice_has_prefix(line, SLICE("* ")) && !lost)
			continue;
		ENSURE(lost || is_tagged(line, &tag));
		replies++;
		if (!expected.ptr)
			continue;
		struct slice sent;
		ENSURE(fuzz_line(&expected, &sent));
		struct slice own = slice_split(&sent, ' ');
		/* A tag with nothing behind it may be taken for one or not. */
		if (is_tag(own) && sent.len > 0)
			ENSURE(!lost && slice_equal(own, tag));
	}
	ENSURE(greeted);
	ENSURE(!expected.ptr || expected.len == 0);
	return replies;
}

/* Does each line get one reply, in order? */
static bool
is_line_by_line(struct slice input, struct slice out)
{
	static const char *const not_so[] = {"LOGOUT", "IDLE", "AUTHENTICATE", "{"};
	for (size_t i = 0; i < sizeof(not_so) / sizeof(*not_so); i++)
		if (fuzz_has(input, not_so[i]))
			return false;
	return fuzz_is_plain(input) && !fuzz_has(out, "* BYE");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > FUZZ_INPUT_MAX)
		return 0;
	struct buf input AUTO_BUF;
	struct buf out AUTO_BUF;
	buf_init(&input, FUZZ_INPUT_MAX + sizeof(login) + sizeof(select_inbox));
	if (data[0] & 1)
		buf_append_cstr(&input, login);
	if ((data[0] & 3) == 3)
		buf_append_cstr(&input, select_inbox);
	buf_append(&input, slice_make((const char *)data + 1, size - 1));
	fuzz_session(&imap, buf_slice(&input), 1 + 8 * (size_t)(data[0] >> 2), &out);
	struct slice sent = buf_slice(&input);
	bool by_line = is_line_by_line(sent, buf_slice(&out));
	size_t replies = check(buf_slice(&out), by_line ? sent : SLICE_NULL);
	ENSURE(replies <= fuzz_count(sent, '\n') + 1);
	return 0;
}
