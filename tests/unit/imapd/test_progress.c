/*
 * INPROGRESS (RFC 9585): a long search counts its messages, a command that waits for the
 * store says that it does, and neither does so early or to whom it is masked from.
 */
#include "base/clock.h"
#include "imapd/imap_mask.h"
#include "unit/imapd/imap_harness.h"

enum { MESSAGES = 4, BODY_BYTES = 1200 * 1000 /* more than a turn's work */ };

static struct imap_harness h;
static struct imap_client client;
static struct loop_hook hook;
static uint64_t turn_ms; /* that a turn takes while a command runs */

static struct imap_session *
only_session(void)
{
	return LIST_ENTRY(h.worker.sessions.next, struct imap_session, node);
}

static void
turn(void *arg)
{
	(void)arg;
	bool runs = only_session()->phase == IMAP_PHASE_RUN;

	clock_fake_advance(runs ? turn_ms : 1);
}

static void
start(void)
{
	harness_open(&h);
	client_login(&client, &h);
	char *text = malloc(BODY_BYTES + 128);
	for (int i = 0; i < MESSAGES; i++) {
		int at = sprintf(
		    text, "a APPEND INBOX {%d+}\r\nSubject: x\r\n\r\n", BODY_BYTES + 14);
		memset(text + at, 'x', BODY_BYTES);
		strcpy(text + at + BODY_BYTES, "\r\n");
		client_talk(&client, text, "a OK");
	}
	free(text);
	client_talk(&client, "s SELECT INBOX\r\n", "s OK");
	clock_fake(clock_mono_ms(), clock_wall_ms());
	loop_hook_add(h.loop, &hook, turn, NULL);
}

static void
stop(void)
{
	loop_hook_remove(&hook);
	clock_fake_off();
	client_close(&client);
	harness_close(&h);
}

static void
searches(void **state)
{
	(void)state;
	start();
	turn_ms = 11 * 1000;
	const char *got = client_talk(&client, "t UID SEARCH BODY none\r\n", "t OK");
	assert_non_null(strstr(got, "* OK [INPROGRESS (\"t\" 2 4)] "));
	assert_null(strstr(got, "NIL NIL"));
	assert_non_null(strstr(got, "* SEARCH\r\n"));
	got = client_talk(&client, "t] ESEARCH IN (personal) BODY none\r\n", "t] OK");
	assert_non_null(strstr(got, "* OK [INPROGRESS (NIL 2 4)] "));
	turn_ms = 1;
	got = client_talk(&client, "t UID SEARCH BODY none\r\n", "t OK");
	assert_null(strstr(got, "INPROGRESS"));
	stop();
}

static enum cmd_result
ends(struct imap_session *s, struct imap_command *cmd)
{
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "done");
}

static void
waits(void **state)
{
	(void)state;
	start();
	struct imap_session *s = only_session();
	/* A command whose op takes long: its time comes while it waits. */
	struct imap_command *cmd = imap_command_new(s);
	cmd->tag = SLICE("w");
	s->resume = ends;
	imap_command_result(s, CMD_WAIT);
	assert_int_equal(s->phase, IMAP_PHASE_WAIT);
	conn_deadline(s->conn, 1);
	client.mark = client.got.len;
	client_wait(&client, "* OK [INPROGRESS (\"w\" NIL NIL)]");
	s->masked = imap_capability_bit(SLICE("INPROGRESS"));
	assert_int_not_equal(s->masked, 0);
	conn_deadline(s->conn, 1);
	client.mark = client.got.len;
	client_wait(&client, NULL);
	client_wait(&client, NULL);
	assert_int_equal(client.got.len, client.mark);
	imap_resume(s);
	client_wait(&client, "w OK done");
	client_talk(&client, "n NOOP\r\n", "n OK");
	stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(searches),
	    cmocka_unit_test(waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
