/*
 * Work that does not fit in one turn: FETCH and SEARCH over thousands of messages, bodies
 * that go out as file ranges, and changes of another session while a command runs.
 */
#include "unit/imapd/imap_harness.h"

enum { MANY = 1 << 13, BIG = 300 * 1000 };

static struct imap_harness h;
static struct imap_client c, other;

static void
op_done(struct store_op *op)
{
	(void)op;
}

static uint32_t
append(struct slice text)
{
	struct store_reader *reader = store_reader_new(h.store, NULL, NULL);
	struct arena *arena = arena_new(16 * 1024 * 1024);
	struct body_draft *draft = body_draft_new(h.store, 64 * 1024 * 1024);
	assert_int_equal(body_draft_append(draft, text), STATUS_OK);
	assert_int_equal(body_draft_seal(draft), STATUS_OK);
	struct append_message message = {.draft = draft};
	struct append_op op = {
	    .op = {.done = op_done, .arena = arena},
	    .account = h.account,
	    .mailbox = SLICE("INBOX"),
	    .messages = &message,
	    .message_count = 1,
	};
	append_op_submit(reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	body_draft_unref(&draft);
	arena_free(&arena);
	store_reader_free(&reader);
	return message.uid;
}

/* Copies messages 1 to 2^n within INBOX until there are `count`. */
static void
multiply(uint32_t count)
{
	struct store_reader *reader = store_reader_new(h.store, NULL, NULL);
	struct mailbox_info info;
	assert_int_equal(
	    mailbox_find(reader, h.account, SLICE("INBOX"), &info), STATUS_OK);
	for (uint32_t have = info.exists; have < count; have *= 2) {
		struct arena *arena = arena_new(16 * 1024 * 1024);
		struct uid_range range = {1, have};
		struct copy_op op = {
		    .op = {.done = op_done, .arena = arena},
		    .account = h.account,
		    .mailbox = info.number,
		    .ranges = &range,
		    .range_count = 1,
		    .target = SLICE("INBOX"),
		};
		copy_op_submit(reader, &op);
		assert_int_equal(op.op.status, STATUS_OK);
		arena_free(&arena);
	}
	store_reader_free(&reader);
}

static void
fill(struct buf *message, size_t size)
{
	buf_append(message, SLICE("Subject: big\r\n\r\n"));
	for (unsigned i = 0; message->len < size; i++)
		buf_append_format(message, "line %u %900s\r\n", i, "x"); /* few lines */
}

/* Every line as it must be, in order. */
static void
many_flags(void **state)
{
	(void)state;
	append(SLICE("Subject: a\r\n\r\nneedle\r\n"));
	multiply(MANY);
	client_login(&c, &h);
	(void)client_talk(&c, "s SELECT INBOX\r\n", "s OK");
	(void)client_talk(&c, "f UID FETCH 1:* (FLAGS)\r\n", "f OK");
	struct slice got = slice_from(buf_slice(&c.got), c.mark);
	char want[128];
	for (uint32_t n = 1; n <= MANY; n++) {
		int len = snprintf(
		    want, sizeof(want), "* %u FETCH (UID %u FLAGS (\\Recent))\r\n", n, n);
		assert_true(slice_has_prefix(got, slice_make(want, (size_t)len)));
		got = slice_from(got, (size_t)len);
	}
	assert_true(slice_has_prefix(got, SLICE("f OK")));

	/* By flags over all, by text over more than a turn's share. */
	(void)client_talk(&c, "g SEARCH RETURN (COUNT) UNSEEN\r\n", "g OK");
	snprintf(want, sizeof(want), "* ESEARCH (TAG \"g\") COUNT %u\r\n", MANY);
	assert_non_null(strstr(c.got.ptr + c.mark, want));
	(void)client_talk(&c, "G SEARCH RETURN (COUNT) 1:5000 BODY needle\r\n", "G OK");
	snprintf(want, sizeof(want), "* ESEARCH (TAG \"G\") COUNT 5000\r\n");
	assert_non_null(strstr(c.got.ptr + c.mark, want));
	/* Sparse sets and a mailbox with holes. */
	(void)client_talk(&c, "h UID STORE 2:8191 +FLAGS.SILENT (\\Deleted)\r\n", "h OK");
	(void)client_talk(&c, "i UID EXPUNGE 3:5,100:8000\r\n", "i OK");
	const char *text = client_talk(&c, "j UID FETCH 1:99,8000:* UID\r\n", "j OK");
	assert_non_null(strstr(text, "* 3 FETCH (UID 6)\r\n"));
	assert_non_null(strstr(text, "* 96 FETCH (UID 99)\r\n* 97 FETCH (UID 8001)\r\n"));
	assert_null(strstr(text, "(UID 5)"));
	snprintf(want, sizeof(want), "* %u FETCH (UID %u)\r\n", MANY - 7904, MANY);
	assert_non_null(strstr(text, want));
	client_close(&c);
}

static void
expect_literal(const char *label, struct slice body)
{
	char head[128];
	struct slice got = slice_from(buf_slice(&c.got), c.mark);
	int len =
	    snprintf(head, sizeof(head), "* 1 FETCH (%s {%zu}\r\n", label, body.len);
	if (!slice_has_prefix(got, slice_make(head, (size_t)len)))
		fail_msg("%.*s", (int)(got.len > 200 ? 200 : got.len), got.ptr);
	got = slice_from(got, (size_t)len);
	assert_true(slice_has_prefix(got, body));
	assert_true(slice_has_prefix(slice_from(got, body.len), SLICE(")\r\n")));
}

static void
big_bodies(void **state)
{
	(void)state;
	struct buf message;
	buf_init(&message, BIG * 2);
	fill(&message, BIG);
	append(buf_slice(&message));
	client_login(&c, &h);
	(void)client_talk(&c, "s SELECT INBOX\r\n", "s OK");
	(void)client_talk(&c, "f FETCH 1 BODY.PEEK[]\r\n", "f OK");
	expect_literal("BODY[]", buf_slice(&message));
	(void)client_talk(&c, "g FETCH 1 BODY.PEEK[TEXT]\r\n", "g OK");
	expect_literal("BODY[TEXT]", slice_from(buf_slice(&message), 16));
	(void)client_talk(&c, "h FETCH 1 BODY.PEEK[1]<1000.200000>\r\n", "h OK");
	expect_literal("BODY[1]<1000>", slice_sub(buf_slice(&message), 1016, 200000));
	(void)client_talk(&c, "i FETCH 1 BINARY.PEEK[1]<1000.200000>\r\n", "i OK");
	expect_literal("BINARY[1]<1000>", slice_sub(buf_slice(&message), 1016, 200000));
	/* Several large ones in one response, and for many messages. */
	(void)client_talk(&c, "j FETCH 1 (BODY.PEEK[] BODY.PEEK[TEXT])\r\n", "j OK");
	assert_int_equal(c.got.len - c.mark,
	    2 * message.len - 16 +
		strlen("* 1 FETCH (BODY[] {300000}\r\n BODY[TEXT] {300000}\r\n)\r\n") +
		strlen("j OK fetch completed\r\n"));
	multiply(16);
	(void)client_talk(&c, "k NOOP\r\n", "k OK");
	(void)client_talk(&c, "l FETCH 1:16 BODY.PEEK[]\r\n", "l OK");
	assert_true(c.got.len - c.mark > 16 * message.len);
	assert_true(c.got.len - c.mark < 16 * message.len + 1000);
	buf_fini(&message);
	client_close(&c);
}

/* Decoded bytes with NUL are a literal8 (RFC 3516 section 4.2), others are not. */
static void
literal8(void **state)
{
	static const char want[] = "* 1 FETCH (BINARY[1] ~{4}\r\n\0ab\0)\r\n";
	static const char text[] = "* 1 FETCH (BINARY[1]<1> {2}\r\nab)\r\n";
	(void)state;
	append(SLICE("Content-Type: application/octet-stream\r\n"
		     "Content-Transfer-Encoding: base64\r\n\r\nAGFiAA==\r\n"));
	client_login(&c, &h);
	(void)client_talk(&c, "s SELECT INBOX\r\n", "s OK");
	(void)client_talk(&c, "f FETCH 1 BINARY.PEEK[1]\r\n", "f OK");
	assert_true(slice_has_prefix(
	    slice_from(buf_slice(&c.got), c.mark), slice_make(want, sizeof(want) - 1)));
	(void)client_talk(&c, "g FETCH 1 BINARY.PEEK[1]<1.2>\r\n", "g OK");
	assert_true(slice_has_prefix(
	    slice_from(buf_slice(&c.got), c.mark), slice_make(text, sizeof(text) - 1)));
	client_close(&c);
}

/* Another session expunges while the answer runs: numbers stand still until the end. */
static void
expunged_meanwhile(void **state)
{
	(void)state;
	struct buf message;
	buf_init(&message, 1024 * 1024);
	fill(&message, 100 * 1000);
	append(buf_slice(&message));
	multiply(32);
	client_login(&c, &h);
	client_login(&other, &h);
	(void)client_talk(&c, "s SELECT INBOX\r\n", "s OK");
	(void)client_talk(&other, "s SELECT INBOX\r\n", "s OK");
	client_send(&c, "f FETCH 1:* (UID BODY.PEEK[])\r\n");
	(void)client_talk(&other, "d STORE 28:31 +FLAGS.SILENT (\\Deleted)\r\n", "d OK");
	(void)client_talk(&other, "x EXPUNGE\r\n", "x OK");
	client_wait(&c, "f OK");
	struct slice got = slice_from(buf_slice(&c.got), c.mark);
	size_t last = slice_find(got, SLICE("* 32 FETCH (UID 32 "));
	assert_true(last != SIZE_MAX);
	assert_true(slice_find(got, SLICE("EXPUNGE\r\n")) == SIZE_MAX ||
		    slice_find(got, SLICE("EXPUNGE\r\n")) > last);
	const char *text = client_talk(&c, "n NOOP\r\n", "n OK");
	text = client_talk(&c, "u FETCH 28 UID\r\n", "u OK");
	assert_non_null(strstr(text, "* 28 FETCH (UID 32)"));
	buf_fini(&message);
	client_close(&other);
	client_close(&c);
}

/* The client goes away in the middle of everything. */
static void
client_gone(void **state)
{
	(void)state;
	static const char *const commands[] = {"f FETCH 1:* BODY[]\r\n",
	    "f FETCH 1:* (FLAGS ENVELOPE)\r\n", "f SEARCH BODY nothing\r\n",
	    "f SORT (SUBJECT) UTF-8 ALL\r\n", "f THREAD REFERENCES UTF-8 ALL\r\n",
	    "f STORE 1:* +FLAGS (\\Seen)\r\n"};
	append(SLICE("Subject: a\r\n\r\nneedle\r\n"));
	multiply(MANY);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		client_login(&c, &h);
		(void)client_talk(&c, "s SELECT INBOX\r\n", "s OK");
		client_send(&c, commands[i]);
		client_wait(&c, NULL);
		client_close(&c);
	}
}

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(many_flags, setup, teardown),
	    cmocka_unit_test_setup_teardown(big_bodies, setup, teardown),
	    cmocka_unit_test_setup_teardown(literal8, setup, teardown),
	    cmocka_unit_test_setup_teardown(expunged_meanwhile, setup, teardown),
	    cmocka_unit_test_setup_teardown(client_gone, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
