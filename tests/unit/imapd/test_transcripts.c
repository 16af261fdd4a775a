/*
 * Runs every transcript of tests/wire/imap over a session with a memory store.
 *
 *	# comment
 *	C: line that is sent            C2: the same from a second connection
 *	S: line that must come, exactly S2: ...
 *	S~ extended regular expression  S2~ ...
 *
 *	! account NAME --quota SIZE | --quota-messages N     as `postroom account set`
 *does
 *	! conf KEY VALUE    imap.KEY as long as the transcript lasts
 *
 * Every line that comes must be named, in order; nothing may be left before the next C or
 * at the end.  The account is ann@example.org with the password "secret", and each
 * transcript has a store of its own.  Arguments name transcripts to run instead of all;
 * "-r" before them writes down what comes up to each S~ line, for making new ones.
 */
#include "unit/imapd/imap_harness.h"

#include <glob.h>
#include <regex.h>

enum { CLIENTS = 3, LINE_MAX_BYTES = 65536 };

static struct imap_harness h;
static struct imap_client clients[CLIENTS];
static size_t cursors[CLIENTS]; /* what has been read of clients[].got */
static char **only;             /* null-terminated, or null */
static bool record;

static struct slice
unread(unsigned n)
{
	return slice_from(buf_slice(&clients[n].got), cursors[n]);
}

static struct slice
next_line(unsigned n)
{
	size_t end;
	while ((end = slice_find(unread(n), SLICE("\r\n"))) == SIZE_MAX) {
		if (clients[n].closed)
			return SLICE("(closed)");
		clients[n].mark = cursors[n];
		client_wait(&clients[n], "");
	}
	struct slice line = slice_sub(unread(n), 0, end);
	cursors[n] += end + 2;
	return line;
}

static bool
matches(struct slice line, const char *pattern)
{
	regex_t regex;
	char text[LINE_MAX_BYTES];
	if (!slice_copy_cstr(line, text, sizeof(text)))
		return false;
	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		fail_msg("bad expression: %s", pattern);
	bool ok = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	return ok;
}

static void
account_set(const char *path, int number, const char *text)
{
	struct directory_account_change change = {0};
	struct slice rest = slice_from_cstr(text);
	struct slice name = slice_split(&rest, ' ');
	struct slice option = slice_split(&rest, ' ');
	change.set_quota = slice_equal(option, SLICE("--quota"));
	change.set_quota_messages = slice_equal(option, SLICE("--quota-messages"));
	if (!(change.set_quota && conf_parse_size(rest, &change.quota_bytes)) &&
	    !(change.set_quota_messages &&
		slice_to_u64(rest, UINT32_MAX, &change.quota_messages)))
		fail_msg("%s:%d: not known here: %s", path, number, text);
	struct store_reader *reader = store_reader_new(h.store, NULL, NULL);
	assert_int_equal(directory_account_set(reader, name, &change), STATUS_OK);
	store_reader_free(&reader);
}

/* "add LOGIN" (its password is "secret", a new domain is made) or "remove LOGIN". */
static void
account_change(const char *text)
{
	struct slice login = slice_from_cstr(text);
	struct slice verb = slice_split(&login, ' ');
	struct store_reader *reader = store_reader_new(h.store, NULL, NULL);
	struct account_id id;
	if (slice_equal(verb, SLICE("add"))) {
		struct slice domain = slice_from(login, slice_index(login, '@') + 1);
		enum status status = directory_domain_add(reader, domain);
		assert_true(status == STATUS_OK || status == STATUS_EXISTS);
		harness_account(&h, login, &id);
	} else {
		assert_int_equal(directory_account_remove(reader, login), STATUS_OK);
	}
	store_reader_free(&reader);
}

/* "KEY VALUE" of what transcripts change. */
static void
conf_set(const char *path, int number, const char *text)
{
	struct slice value = slice_from_cstr(text);
	struct slice key = slice_split(&value, ' ');
	static char quota_admins[256];
	uint64_t n = 0;
	if (slice_equal(key, SLICE("message_limit")) &&
	    slice_to_u64(value, UINT32_MAX, &n))
		h.conf->imap.message_limit = (uint32_t)n;
	else if (slice_equal(key, SLICE("quota_admins")) && value.len >= 2 &&
		 value.len < sizeof(quota_admins))
		h.conf->imap.quota_admins =
		    slice_copy_cstr(slice_sub(value, 1, value.len - 2), quota_admins,
			sizeof(quota_admins))
			? quota_admins
			: NULL;
	else if (slice_equal(key, SLICE("message_limit_on")))
		h.conf->imap.message_limit_on = slice_equal(value, SLICE("saving"))
		                                    ? CONF_LIMIT_SAVING
		                                    : CONF_LIMIT_ALL;
	else
		fail_msg("%s:%d: not known here: %s", path, number, text);
}

static void
record_line(unsigned n, struct slice line)
{
	if (n)
		printf("S%u: %.*s\n", n + 1, SLICE_ARG(line));
	else
		printf("S: %.*s\n", SLICE_ARG(line));
}

static void
step(const char *path, int number, char *line)
{
	unsigned n = 0;
	char side = line[0];
	char *at = line + 1;

	if (*at >= '1' && *at <= '0' + CLIENTS)
		n = (unsigned)(*at++ - '1');
	if (strncmp(line, "! account add ", 14) == 0 ||
	    strncmp(line, "! account remove ", 17) == 0) {
		account_change(line + 10);
		return;
	}
	if (strncmp(line, "! account ", 10) == 0) {
		account_set(path, number, line + 10);
		return;
	}
	if (strncmp(line, "! conf ", 7) == 0) {
		conf_set(path, number, line + 7);
		return;
	}
	bool regex = *at == '~';
	if ((side != 'C' && side != 'S') || (*at != ':' && !regex))
		fail_msg("%s:%d: not a transcript line: %s", path, number, line);
	at++;
	if (*at == ' ')
		at++;
	if (clients[n].fd < 0) {
		client_open(&clients[n], &h);
		cursors[n] = clients[n].got.len;
	}
	if (side == 'C') {
		if (unread(n).len)
			fail_msg("%s:%d: not expected: %.*s", path, number,
			    SLICE_ARG(unread(n)));
		char send_line[LINE_MAX_BYTES];
		snprintf(send_line, sizeof(send_line), "%s\r\n", at);
		client_send(&clients[n], send_line);
		return;
	}
	struct slice got = next_line(n);
	while (record && regex && !matches(got, at)) {
		record_line(n, got);
		got = next_line(n);
	}
	if (record)
		record_line(n, got);
	else if (regex ? !matches(got, at) : !slice_equal(got, slice_from_cstr(at)))
		fail_msg(
		    "%s:%d:\n want %s\n  got %.*s", path, number, at, SLICE_ARG(got));
}

static void
transcript(const char *path)
{
	static char line[LINE_MAX_BYTES];
	FILE *file = fopen(path, "r");
	int number = 0;

	assert_non_null(file);
	harness_open(&h);
	for (unsigned n = 0; n < CLIENTS; n++)
		clients[n].fd = -1;
	while (fgets(line, sizeof(line), file)) {
		number++;
		line[strcspn(line, "\n")] = '\0';
		if (record && line[0] != 'S')
			puts(line);
		if (line[0] != '\0' && line[0] != '#')
			step(path, number, line);
	}
	fclose(file);
	for (unsigned n = 0; n < CLIENTS; n++) {
		if (clients[n].fd < 0)
			continue;
		if (unread(n).len)
			fail_msg("%s: not expected at the end: %.*s", path,
			    SLICE_ARG(unread(n)));
		client_close(&clients[n]);
	}
	harness_close(&h);
}

static bool
is_chosen(const char *path)
{
	if (!only || !*only)
		return true;
	for (char **name = only; *name; name++)
		if (strstr(path, *name))
			return true;
	return false;
}

static void
all(void **state)
{
	(void)state;
	static glob_t found; /* reachable when a transcript fails */
	size_t run = 0;
	assert_int_equal(
	    glob(POSTROOM_SOURCE_DIR "/tests/wire/imap/*.txt", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		if (!is_chosen(found.gl_pathv[i]))
			continue;
		print_message("%s\n", strrchr(found.gl_pathv[i], '/') + 1);
		transcript(found.gl_pathv[i]);
		run++;
	}
	globfree(&found);
	assert_true(run > 0);
}

int
main(int argc, char **argv)
{
	(void)argc;
	const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
	only = argv + 1;
	record = *only && strcmp(*only, "-r") == 0;
	only += record;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
