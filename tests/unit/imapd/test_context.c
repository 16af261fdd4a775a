/*
 * Searches that are kept up to date, against a client that keeps its lists by ADDTO and
 * REMOVEFROM alone: after any changes the lists are what a new search finds, also when
 * messages come and go in another session.
 */
#include "unit/imapd/imap_harness.h"

enum { LIST_MAX = 4096, ROUNDS = 120, LISTS = 4 };

struct list_of {
	const char *tag;
	const char *ask;   /* behind the tag */
	const char *plain; /* a new search with the same result */
	bool by_number;
	size_t count;
	unsigned numbers[LIST_MAX];
};

static struct list_of lists[LISTS] = {
    {"w1", "UID SEARCH RETURN (UPDATE ALL) UNSEEN",                                 "UID SEARCH UNSEEN",        false, 0, {0}},
    {"w2", "UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 ALL",
     "UID SORT (SUBJECT) UTF-8 ALL",									    false, 0, {0}},
    {"w3", "UID SORT RETURN (UPDATE ALL) (REVERSE SIZE SUBJECT) UTF-8 NOT FLAGGED",
     "UID SORT (REVERSE SIZE SUBJECT) UTF-8 NOT FLAGGED",                                                       false, 0, {0}},
    {"w4", "SEARCH RETURN (UPDATE ALL) OR SEEN SUBJECT b",                          "SEARCH OR SEEN SUBJECT b",
     true,													     0, {0}},
};

static unsigned seed = 4711;
static const struct imap_client *watching; /* the one that keeps the lists */

static unsigned
draw(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % below;
}

/* "3,5:7" to numbers in the order that is written. */
static size_t
set_read(const char **at, unsigned out[LIST_MAX])
{
	size_t count = 0;

	for (;; (*at)++) {
		char *end;
		unsigned first = (unsigned)strtoul(*at, &end, 10), last = first;
		if (*end == ':')
			last = (unsigned)strtoul(end + 1, &end, 10);
		for (unsigned n = first; n <= last && count < LIST_MAX; n++)
			out[count++] = n;
		*at = end;
		if (**at != ',')
			return count;
	}
}

/* Position 0: where they belong in mailbox order (RFC 5267 section 4.3.3). */
static size_t
ordered_place(const struct list_of *l, unsigned number)
{
	size_t at = 0;
	while (at < l->count && l->numbers[at] < number)
		at++;
	return at + 1;
}

static void
list_insert(struct list_of *l, size_t position, const unsigned *what, size_t count)
{
	assert_in_range(position, 1, l->count + 1);
	assert_true(l->count + count <= LIST_MAX);
	memmove(l->numbers + position - 1 + count, l->numbers + position - 1,
	    (l->count - position + 1) * sizeof(unsigned));
	memcpy(l->numbers + position - 1, what, count * sizeof(unsigned));
	l->count += count;
}

static void
list_take(struct list_of *l, size_t position, const unsigned *what, size_t count)
{
	assert_true(position >= 1 && position - 1 + count <= l->count);
	assert_memory_equal(l->numbers + position - 1, what, count * sizeof(unsigned));
	memmove(l->numbers + position - 1, l->numbers + position - 1 + count,
	    (l->count - position + 1 - count) * sizeof(unsigned));
	l->count -= count;
}

/* "ADDTO (1 2:3 5 6)", "REMOVEFROM (...)", "ALL 2,3" from `at` to the line's end. */
static void
items_apply(struct list_of *l, const char *at)
{
	unsigned numbers[LIST_MAX];

	if (strncmp(at, "UID ", 4) == 0)
		at += 4;
	while (*at && *at != '\r') {
		bool add = strncmp(at, "ADDTO (", 7) == 0;
		if (strncmp(at, "ALL ", 4) == 0) {
			at += 4;
			l->count = set_read(&at, l->numbers);
			continue;
		}
		assert_true(add || strncmp(at, "REMOVEFROM (", 12) == 0);
		at += add ? 7 : 12;
		for (;; at++) {
			char *end;
			size_t position = strtoul(at, &end, 10);
			assert_int_equal(*end, ' ');
			at = end + 1;
			size_t count = set_read(&at, numbers);
			for (size_t i = 0; position == 0 && i < count; i++)
				(add ? list_insert : list_take)(
				    l, ordered_place(l, numbers[i]), &numbers[i], 1);
			if (position)
				(add ? list_insert : list_take)(
				    l, position, numbers, count);
			if (*at == ')')
				break;
			assert_int_equal(*at, ' ');
		}
		at++;
		if (*at == ' ')
			at++;
	}
}

/* A message number is gone: those behind it are one less (RFC 9051 section 7.5.1). */
static void
expunge_apply(unsigned number)
{
	for (size_t i = 0; i < LISTS; i++) {
		for (size_t k = 0; lists[i].by_number && k < lists[i].count; k++) {
			assert_int_not_equal(lists[i].numbers[k], number);
			lists[i].numbers[k] -= lists[i].numbers[k] > number;
		}
	}
}

static void
answer_apply(const char *text)
{
	for (const char *line = text; line && *line;
	     line = strstr(line, "\r\n"), line = line ? line + 2 : NULL) {
		unsigned number;
		char word[16];
		if (sscanf(line, "* %u %15s", &number, word) == 2 &&
		    strcmp(word, "EXPUNGE") == 0)
			expunge_apply(number);
		if (strncmp(line, "* ESEARCH (TAG \"w", 17) == 0)
			items_apply(&lists[line[17] - '1'], line + 21);
	}
}

static void
talk(struct imap_client *c, const char *tag, const char *format, ...)
{
	char line[256], want[32];
	va_list args;
	size_t at = (size_t)snprintf(line, sizeof(line), "%s ", tag);

	va_start(args, format);
	vsnprintf(line + at, sizeof(line) - at - 2, format, args);
	va_end(args);
	strcat(line, "\r\n");
	snprintf(want, sizeof(want), "%s OK", tag);
	const char *got = client_talk(c, line, want);
	if (c == watching)
		answer_apply(got);
}

static void
lists_check(struct imap_client *c)
{
	for (size_t i = 0; i < LISTS; i++) {
		char line[256];
		snprintf(line, sizeof(line), "p %s\r\n", lists[i].plain);
		const char *at = client_talk(c, line, "p OK");
		at = strchr(at + 2, ' ');
		for (size_t k = 0; k < lists[i].count; k++) {
			assert_int_equal(*at, ' ');
			char *end;
			assert_int_equal(strtoul(at + 1, &end, 10), lists[i].numbers[k]);
			at = end;
		}
		assert_int_equal(*at, '\r');
	}
}

static void
append(struct imap_client *c)
{
	char text[128], line[256];

	snprintf(text, sizeof(text), "Subject: %c%u\r\n\r\n%.*s\r\n", 'a' + draw(4),
	    draw(9), (int)draw(20), "xxxxxxxxxxxxxxxxxxxx");
	snprintf(line, sizeof(line), "a APPEND INBOX (%s) {%zu+}\r\n%s\r\n",
	    draw(2) ? "\\Seen" : "", strlen(text), text);
	const char *got = client_talk(c, line, "a OK");
	if (c == watching)
		answer_apply(got);
}

static void
follows(void **state)
{
	static const char *const flags[] = {"\\Seen", "\\Flagged"};
	struct imap_harness h;
	struct imap_client watcher, other;
	unsigned most = 8;

	(void)state;
	harness_open(&h);
	client_login(&other, &h);
	for (unsigned i = 0; i < most; i++)
		append(&other);
	talk(&other, "o", "SELECT INBOX");
	client_login(&watcher, &h);
	watching = &watcher;
	talk(&watcher, "s", "SELECT INBOX");
	for (size_t i = 0; i < LISTS; i++)
		talk(&watcher, lists[i].tag, "%s", lists[i].ask);
	lists_check(&watcher);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = draw(6); i > 0; i--) {
			struct imap_client *c = draw(3) ? &other : &watcher;
			unsigned first = 1 + draw(most), last = first + draw(4);
			char line[64];
			switch (draw(5)) {
			case 0:
				append(c);
				most++;
				break;
			case 1:
				snprintf(line, sizeof(line), "%u:%u", first, last);
				talk(c, "d", "UID STORE %s +FLAGS.SILENT (\\Deleted)",
				    line);
				talk(c, "x", "UID EXPUNGE %s", line);
				break;
			default:
				talk(c, "f", "UID STORE %u:%u %cFLAGS (%s)", first, last,
				    draw(2) ? '+' : '-', flags[draw(2)]);
			}
		}
		talk(&watcher, "n", "NOOP");
		lists_check(&watcher);
	}
	client_close(&watcher);
	client_close(&other);
	harness_close(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(follows)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
