/*
 * Whole sessions over a socket pair and a memory store: states, order of pipelined
 * commands, literals, APPEND, SELECT, IDLE, limits.
 */
#include "unit/imapd/imap_harness.h"

static void
has(const char *got, const char *text, int line)
{
	if (!strstr(got, text)) {
		print_error("line %d: no \"%s\" in:\n%s\n", line, text, got);
		fail();
	}
}

static void
has_not(const char *got, const char *text, int line)
{
	if (strstr(got, text)) {
		print_error("line %d: \"%s\" in:\n%s\n", line, text, got);
		fail();
	}
}

#define HAS(got, text)     has((got), (text), __LINE__)
#define HAS_NOT(got, text) has_not((got), (text), __LINE__)

static struct imap_harness h;
static struct imap_client c;

static int
setup(void **state)
{
	(void)state;
	harness_open(&h);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	harness_close(&h);
	return 0;
}

static void
test_greeting_and_states(void **state)
{
	(void)state;
	client_open(&c, &h);
	assert_non_null(strstr(c.got.ptr, "* OK [CAPABILITY IMAP4rev1 "));
	assert_non_null(strstr(c.got.ptr, "AUTH=PLAIN"));
	HAS(client_talk(&c, "a SELECT INBOX\r\n", "a "), "a BAD log in first");
	HAS(client_talk(&c, "b FROB\r\n", "b "), "b BAD unknown command");
	HAS(client_talk(&c, "c NOOP x\r\n", "c "), "c BAD");
	HAS(client_talk(&c, "d LOGIN ann@example.org wrong\r\n", "d "),
	    "d NO [AUTHENTICATIONFAILED]");
	HAS(client_talk(&c, "e STARTTLS\r\n", "e "), "e BAD");
	HAS(client_talk(&c, "f LOGIN ann@example.org secret\r\n", "f "),
	    "f OK [CAPABILITY IMAP4rev1 ");
	HAS(client_talk(&c, "g LOGIN ann@example.org secret\r\n", "g "),
	    "g BAD not in this state");
	HAS(client_talk(&c, "h CAPABILITY\r\n", "h "), "APPENDLIMIT=4194304");
	HAS(client_talk(&c, "i UID NOOP\r\n", "i "), "i BAD");
	HAS(client_talk(&c, "j FETCH 1 FLAGS\r\n", "j "), "j BAD not in this state");
	HAS(client_talk(&c, "k LOGOUT\r\n", "k "), "* BYE");
	client_wait(&c, NULL);
	assert_true(c.closed);
	client_close(&c);
}

static void
test_authenticate(void **state)
{
	(void)state;
	client_open(&c, &h);
	/* SASL-IR, then the exchange in two steps, cancelled, malformed. */
	HAS(client_talk(&c, "a AUTHENTICATE PLAIN *\r\n", "a "), "a BAD");
	HAS(client_talk(&c, "b AUTHENTICATE PLAIN\r\n", "+ "), "+ \r\n");
	HAS(client_talk(&c, "*\r\n", "b "), "b BAD");
	HAS(client_talk(&c, "c AUTHENTICATE FROB\r\n", "c "), "c NO [CANNOT]");
	HAS(client_talk(&c, "d AUTHENTICATE PLAIN\r\n", "+ "), "+ \r\n");
	HAS(client_talk(&c, "!!!\r\n", "d "), "d BAD not base64");
	HAS(client_talk(
		&c, "e AUTHENTICATE PLAIN AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=\r\n", "e "),
	    "e OK [CAPABILITY");
	HAS(client_talk(&c, "f UNAUTHENTICATE\r\n", "f "), "f OK");
	HAS(client_talk(&c, "g AUTHENTICATE PLAIN\r\n", "+ "), "+ \r\n");
	HAS(client_talk(&c, "AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=\r\n", "g "), "g OK");
	client_close(&c);
}

static void
test_too_many_errors(void **state)
{
	(void)state;
	client_open(&c, &h);
	for (int i = 0; i < IMAP_ERRORS_MAX; i++)
		client_send(&c, "x FROB\r\n");
	c.mark = 0;
	client_wait(&c, "* BYE");
	client_wait(&c, NULL);
	assert_true(c.closed);
	client_close(&c);

	client_open(&c, &h);
	for (int i = 1; i < IMAP_AUTH_TRIES_MAX; i++)
		HAS(client_talk(&c, "x LOGIN ann@example.org no\r\n", "x "), "x NO");
	HAS(client_talk(&c, "y LOGIN ann@example.org no\r\n", "* BYE"), "y NO");
	client_close(&c);
}

static void
test_pipeline(void **state)
{
	(void)state;
	client_open(&c, &h);
	/* The login waits for the pool; what is behind it has to wait too. */
	const char *got = client_talk(&c, "a LOGIN {15}\r\n", "+ ");
	HAS(got, "+ ");
	got = client_talk(&c,
	    "ann@example.org {6+}\r\nsecret\r\nb CREATE one\r\nc CREATE two\r\n"
	    "d LIST \"\" *\r\ne SELECT two\r\nf NOOP\r\ng LOGOUT\r\n",
	    "g ");
	const char *a = strstr(got, "a OK"), *b = strstr(got, "b OK [MAILBOXID (F");
	const char *cc = strstr(got, "c OK"), *d = strstr(got, "d OK");
	const char *e = strstr(got, "e OK [READ-WRITE]"), *f = strstr(got, "f OK");
	assert_true(a && b && cc && d && e && f);
	assert_true(a < b && b < cc && cc < d && d < e && e < f);
	HAS(got, " \"/\" one\r\n");
	HAS(got, "* LIST (\\HasNoChildren) \"/\" INBOX\r\n");
	client_close(&c);
}

static void
test_append_and_sync(void **state)
{
	struct imap_client other;

	(void)state;
	client_login(&c, &h);
	client_login(&other, &h);
	HAS(client_talk(&other, "a SELECT INBOX\r\n", "a "), "* 0 EXISTS");
	HAS(client_talk(&c, "a APPEND INBOX (\\Seen $X) {12}\r\n", "+ "), "+ ");
	HAS(client_talk(&c, "A: b\r\n\r\nText\r\n", "a "), "a OK [APPENDUID ");
	HAS(client_talk(&c, "b APPEND nowhere {3}\r\n", "b "), "b NO [TRYCREATE]");
	HAS(client_talk(&c, "c APPEND nowhere {3+}\r\nabc\r\nd NOOP\r\n", "d "),
	    "c NO [TRYCREATE]");
	HAS(client_talk(&c, "e APPEND INBOX {99999999}\r\n", "e "), "e NO [TOOBIG]");
	HAS(client_talk(&c, "f APPEND INBOX (\\Foo) {3}\r\n", "f "), "f BAD");
	HAS(client_talk(&c, "g APPEND INBOX\r\n", "g "), "g BAD");
	HAS(client_talk(&c, "h APPEND INBOX {0}\r\n", "h "), "h NO");
	/* MULTIAPPEND with a date, and one that fails at its second message. */
	HAS(client_talk(&c,
		"i APPEND {5+}\r\ninbox \"01-Jan-2026 10:00:00 +0100\" {4+}\r\nA:\r\n"
		" (\\Flagged) ~{5+}\r\nB: \r\n\r\n",
		"i "),
	    "i OK [APPENDUID ");
	HAS(client_talk(&c,
		"j APPEND INBOX {4+}\r\nA:\r\n (\\Foo) {4+}\r\nB:\r\n\r\nk NOOP\r\n",
		"k "),
	    "j BAD");
	const char *got = client_talk(&other, "b NOOP\r\n", "b ");
	HAS(got, "* 3 EXISTS");
	HAS(got, "* 3 RECENT");
	HAS(client_talk(&other, "c FETCH 1:3 (FLAGS RFC822.SIZE)\r\n", "c "),
	    "* 1 FETCH (FLAGS (\\Seen $X \\Recent) RFC822.SIZE 12)");
	client_close(&other);
	client_close(&c);
}

static void
test_idle(void **state)
{
	struct imap_client other;

	(void)state;
	client_login(&c, &h);
	client_login(&other, &h);
	client_talk(&other, "a SELECT INBOX\r\n", "a ");
	HAS(client_talk(&other, "b IDLE\r\n", "+ "), "+ idling");
	HAS(client_talk(&c, "a APPEND INBOX {4+}\r\nA:\r\n\r\n", "a "), "a OK");
	client_wait(&other, "* 1 EXISTS");
	/* What stands behind DONE in the same packet is run too. */
	HAS(client_talk(&other, "DONE\r\nc NOOP\r\n", "c "), "b OK");
	HAS(client_talk(&other, "d IDLE\r\n", "+ "), "+ idling");
	HAS(client_talk(&other, "FROB\r\n", "d "), "d BAD expected DONE");
	client_close(&other);
	client_close(&c);
}

static void
test_expunge_is_held_back(void **state)
{
	struct imap_client other;

	(void)state;
	client_login(&c, &h);
	client_login(&other, &h);
	HAS(client_talk(&c,
		"a APPEND INBOX {4+}\r\nA:\r\n {4+}\r\nB:\r\n {4+}\r\nC:\r\n\r\n", "a "),
	    "a OK");
	client_talk(&c, "b SELECT INBOX\r\n", "b ");
	client_talk(&other, "b SELECT INBOX\r\n", "b ");
	HAS(client_talk(&c, "c STORE 1 +FLAGS (\\Deleted)\r\n", "c "),
	    "* 1 FETCH (FLAGS (\\Deleted");
	const char *got = client_talk(&c, "d EXPUNGE\r\n", "d ");
	HAS(got, "* 1 EXPUNGE\r\n");
	HAS_NOT(client_talk(&other, "c FETCH 2:3 FLAGS\r\n", "c "), "EXPUNGE");
	HAS_NOT(client_talk(&other, "d SEARCH ALL\r\n", "d "), "EXPUNGE");
	HAS(client_talk(&other, "e NOOP\r\n", "e "), "* 1 EXPUNGE");
	HAS(client_talk(&other, "f UID FETCH 1:* FLAGS\r\n", "f "), "* 2 FETCH");
	client_close(&other);
	client_close(&c);
}

static void
test_select(void **state)
{
	(void)state;
	client_login(&c, &h);
	HAS(client_talk(&c, "a SELECT nowhere\r\n", "a "), "a NO [NONEXISTENT]");
	const char *got = client_talk(&c, "b SELECT inbox\r\n", "b ");
	HAS(got, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)");
	HAS(got, "\\Draft \\*)]");
	HAS(got, "* 0 EXISTS");
	HAS(got, "* 0 RECENT");
	HAS(got, "[UIDVALIDITY ");
	HAS(got, "[UIDNEXT 1]");
	HAS(got, "[HIGHESTMODSEQ ");
	HAS(got, "b OK [READ-WRITE]");
	got = client_talk(&c, "c EXAMINE INBOX\r\n", "c ");
	HAS(got, "* OK [CLOSED]");
	HAS(got, "[PERMANENTFLAGS ()]");
	HAS(got, "c OK [READ-ONLY]");
	HAS(client_talk(&c, "d EXPUNGE\r\n", "d "), "d NO");
	HAS(client_talk(&c, "e CLOSE\r\n", "e "), "e OK");
	HAS(client_talk(&c, "f CLOSE\r\n", "f "), "f BAD");
	HAS(client_talk(&c, "g SELECT INBOX (QRESYNC (1 1))\r\n", "g "), "g BAD");
	HAS(client_talk(&c, "h ENABLE QRESYNC FROB\r\n", "h "), "* ENABLED QRESYNC\r\n");
	HAS(client_talk(
		&c, "i SELECT INBOX (CONDSTORE QRESYNC (1 1 1:5 (1 1)))\r\n", "i "),
	    "i OK [READ-WRITE]");
	HAS(client_talk(&c, "j UNSELECT\r\n", "j "), "j OK");
	HAS(client_talk(&c, "k ENABLE IMAP4rev2\r\n", "k "), "* ENABLED IMAP4rev2\r\n");
	got = client_talk(&c, "l SELECT INBOX\r\n", "l ");
	HAS(got, "* LIST (");
	HAS_NOT(got, "RECENT");
	client_close(&c);
}

static void
test_qresync(void **state)
{
	(void)state;
	client_login(&c, &h);
	client_talk(
	    &c, "a APPEND INBOX {4+}\r\nA:\r\n {4+}\r\nB:\r\n {4+}\r\nC:\r\n\r\n", "a ");
	client_talk(&c, "b ENABLE QRESYNC\r\n", "b ");
	const char *got = client_talk(&c, "c SELECT INBOX\r\n", "c ");
	unsigned validity = 0;
	unsigned long long modseq = 0;
	assert_int_equal(
	    sscanf(strstr(got, "[UIDVALIDITY"), "[UIDVALIDITY %u", &validity), 1);
	assert_int_equal(
	    sscanf(strstr(got, "[HIGHESTMODSEQ"), "[HIGHESTMODSEQ %llu", &modseq), 1);
	HAS(client_talk(&c, "d STORE 2 +FLAGS.SILENT (\\Deleted)\r\n", "d "), "MODSEQ (");
	HAS(client_talk(&c, "e STORE 3 +FLAGS (\\Seen)\r\n", "e "), "UID 3");
	got = client_talk(&c, "f EXPUNGE\r\n", "f ");
	HAS(got, "* VANISHED 2\r\n");
	HAS(got, "f OK [HIGHESTMODSEQ ");
	client_talk(&c, "g UNSELECT\r\n", "g ");
	char text[128];
	snprintf(text, sizeof(text), "h SELECT INBOX (QRESYNC (%u %llu))\r\n", validity,
	    modseq);
	got = client_talk(&c, text, "h ");
	HAS(got, "* VANISHED (EARLIER) 2\r\n");
	HAS(got, "* 2 FETCH (UID 3 FLAGS (\\Seen");
	HAS_NOT(got, "* 1 FETCH");
	snprintf(text, sizeof(text), "i SELECT INBOX (QRESYNC (%u %llu 1))\r\n", validity,
	    modseq);
	got = client_talk(&c, text, "i ");
	HAS_NOT(got, "VANISHED");
	HAS_NOT(got, "FETCH");
	client_close(&c);
}

static void
test_names(void **state)
{
	(void)state;
	client_login(&c, &h);
	HAS(client_talk(&c, "a CREATE Entw&APw-rfe/x\r\n", "a "), "a OK");
	HAS(client_talk(&c, "b LIST \"\" Entw%\r\n", "b "),
	    "* LIST (\\HasChildren) \"/\" Entw&APw-rfe\r\n");
	HAS(client_talk(&c, "c CREATE Entw&APw-rfe\r\n", "c "), "c NO [ALREADYEXISTS]");
	HAS(client_talk(&c, "d CREATE \"a&b\"\r\n", "d "), "d NO [CANNOT]");
	HAS(client_talk(&c, "e CREATE a&-b/\r\n", "e "), "e OK");
	HAS(client_talk(&c, "f LIST \"\" a&-b\r\n", "f "), " \"/\" a&-b\r\n");
	HAS(client_talk(&c, "g DELETE INBOX\r\n", "g "), "g NO");
	HAS(client_talk(&c, "h RENAME a&-b other\r\n", "h "), "h OK");
	HAS(client_talk(&c, "i SUBSCRIBE other\r\n", "i "), "i OK");
	HAS(client_talk(&c, "j LSUB \"\" *\r\n", "j "),
	    "* LSUB (\\HasNoChildren) \"/\" other");
	HAS(client_talk(
		&c, "k LIST (SUBSCRIBED) \"\" * RETURN (STATUS (MESSAGES))\r\n", "k "),
	    "* STATUS other (MESSAGES 0)");
	HAS(client_talk(&c, "l UNSUBSCRIBE other\r\n", "l "), "l OK");
	HAS(client_talk(&c, "m LIST \"\" \"\"\r\n", "m "),
	    "* LIST (\\Noselect) \"/\" \"\"");
	HAS(client_talk(&c, "n CREATE Later (USE (\\Flagged))\r\n", "n "), "n OK");
	HAS(client_talk(&c, "o LIST (SPECIAL-USE) \"\" *\r\n", "o "),
	    "* LIST (\\HasNoChildren \\Flagged) \"/\" Later");
	HAS(client_talk(&c, "p CREATE Never (USE (\\Frob))\r\n", "p "), "p NO [USEATTR]");
	HAS(client_talk(&c, "q NAMESPACE\r\n", "q "),
	    "* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) ((\"Shared/\" "
	    "\"/\"))");
	h.conf->imap.sharing = CONF_SHARING_NONE;
	HAS(client_talk(&c, "q NAMESPACE\r\n", "q "),
	    "* NAMESPACE ((\"\" \"/\")) NIL NIL");
	HAS(client_talk(
		&c, "r STATUS other (MESSAGES UIDNEXT UNSEEN SIZE MAILBOXID)\r\n", "r "),
	    "* STATUS other (MESSAGES 0 UIDNEXT 1 UNSEEN 0 SIZE 0 MAILBOXID (F");
	HAS(client_talk(&c, "s ENABLE UTF8=ACCEPT\r\n", "s "), "* ENABLED UTF8=ACCEPT");
	HAS(client_talk(&c, "t LIST \"\" \"Entw\xc3\xbcr%\"\r\n", "t "),
	    "\"Entw\xc3\xbcrfe\"");
	HAS(client_talk(&c, "u SELECT other\r\n", "u "), "u OK");
	HAS(client_talk(&c, "v DELETE other\r\n", "v "), "* OK [CLOSED]");
	HAS(client_talk(&c, "w CHECK\r\n", "w "), "w BAD");
	HAS(client_talk(&c, "x GETQUOTAROOT INBOX\r\n", "x "),
	    "* QUOTA user (MAILBOX 9 20000)");
	HAS(client_talk(&c, "y SETQUOTA user (STORAGE 5)\r\n", "y "), "y NO [NOPERM]");
	HAS(client_talk(&c, "z ID (\"name\" \"test\" \"version\" NIL)\r\n", "z "),
	    "* ID (\"name\" \"Postroom\"");
	client_close(&c);
}

static void
test_framing_limits(void **state)
{
	static char line[IMAP_LINE_MAX + 4096];

	(void)state;
	client_login(&c, &h);
	memset(line, 'x', sizeof(line) - 1);
	memcpy(line, "a NOOP ", 7);
	client_send(&c, line);
	HAS(client_talk(&c, "\r\nb NOOP\r\n", "b "), "b OK");
	assert_non_null(strstr(c.got.ptr, "a BAD command too long"));
	HAS(client_talk(&c, "c NOOP\nd NOOP\r\n", "c "), "c BAD LF without CR");
	HAS(client_talk(&c, "e SELECT {999999}\r\n", "e "), "e BAD literal too large");
	HAS(client_talk(&c, "f SELECT {5+}\r\nINBOX\r\n", "f "), "f OK");
	HAS(client_talk(&c, "g SELECT {9999999+}\r\n", "* BYE"), "* BYE [TOOBIG]");
	client_close(&c);
	client_open(&c, &h);
	HAS(client_talk(&c, "a LOGIN {100000}\r\n", "a "), "a BAD literal too large");
	client_close(&c);
}

static void
test_compress(void **state)
{
	(void)state;
	client_login(&c, &h);
	HAS(client_talk(&c, "a COMPRESS FROB\r\n", "a "), "a BAD");
	HAS(client_talk(&c, "b COMPRESS DEFLATE\r\n", "b "), "b OK");
	client_close(&c);
}

static void
test_cut_input(void **state)
{
	static const char text[] =
	    "a SELECT {5+}\r\nINBOX\r\nb APPEND INBOX {6+}\r\nA: b\r\n"
	    "\r\nc FETCH 1 (UID)\r\nd LOGOUT\r\n";

	(void)state;
	client_login(&c, &h);
	c.mark = c.got.len;
	size_t mark = c.mark;
	for (size_t i = 0; i + 1 < sizeof(text); i++) {
		char one[2] = {text[i], 0};
		client_send(&c, one);
		client_wait(&c, NULL);
	}
	c.mark = mark;
	client_wait(&c, "d OK");
	const char *got = c.got.ptr + mark;
	HAS(got, "a OK");
	HAS(got, "b OK [APPENDUID");
	HAS(got, "* 1 FETCH (UID 1)");
	client_close(&c);
}

static void
test_client_vanishes(void **state)
{
	(void)state;
	/* In the middle of ops, literals and generators: nothing may be left over. */
	static const char *const last[] = {
	    "a APPEND INBOX {4+}\r\nA:\r\n\r\n",
	    "a APPEND INBOX {4000+}\r\nA:\r\n",
	    "a CREATE x\r\nb CREATE y\r\n",
	    "a IDLE\r\n",
	    "a SELECT INBOX\r\nb FETCH 1:* (FLAGS BODY.PEEK[])\r\nc STORE 1 FLAGS "
	    "(a)\r\n",
	};
	for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
		client_login(&c, &h);
		client_send(&c, last[i]);
		client_close(&c);
		client_open(&c, &h); /* turns for the other one's end */
		client_wait(&c, NULL);
		client_close(&c);
	}
	client_open(&c, &h);
	client_send(&c, "a LOGIN ann@example.org secret\r\n");
	client_close(&c);
}

/* A session that waits for a command hears why it ends; one inside a command is answered
 * first. */
static void
test_stop(void **state)
{
	struct imap_client other;

	(void)state;
	client_login(&c, &h);
	client_login(&other, &h);
	client_talk(&other, "a IDLE\r\n", "+ ");
	imap_worker_stop(&h.worker);
	c.mark = c.got.len;
	other.mark = other.got.len;
	client_wait(&c, "* BYE [UNAVAILABLE]");
	client_wait(&other, "* BYE [UNAVAILABLE]");
	client_wait(&other, NULL);
	assert_true(other.closed);
	client_close(&other);
	client_close(&c);
}

/* The command's memory goes back when it is over: an idle session has none. */
static void
test_idle_holds_nothing(void **state)
{
	(void)state;
	client_login(&c, &h);
	client_talk(&c, "a SELECT INBOX\r\n", "a ");
	client_talk(&c, "b IDLE\r\n", "+ ");
	struct imap_session *s =
	    LIST_ENTRY(h.worker.sessions.next, struct imap_session, node);
	assert_null(s->arena);
	assert_null(s->cmd);
	assert_null(s->framer.frame.ptr);
	assert_int_equal(h.worker.out.len, 0);
	client_talk(&c, "DONE\r\n", "b ");
	assert_null(s->arena);
	assert_null(s->idle_tag);
	client_close(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_greeting_and_states, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_authenticate, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_too_many_errors, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_pipeline, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_append_and_sync, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_expunge_is_held_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_select, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_qresync, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_names, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_framing_limits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_compress, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cut_input, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_client_vanishes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_idle_holds_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
