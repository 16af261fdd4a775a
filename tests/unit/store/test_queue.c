/*
 * The outbound queue over every backend: adding, due order, results with their reports in
 * one commit, the operator's wishes, counts.
 */
#include "store/store_codec_int.h"
#include "unit/store/store_fixture.h"

static enum status
add(struct fixture *f, char id[ID_TEXT_SIZE], size_t recipients, int64_t due_s, bool held)
{
	struct queue_new_recipient to[8];
	for (size_t i = 0; i < recipients; i++)
		to[i] = (struct queue_new_recipient){
		    arena_format(f->arena, "r%zu@example.com", i),
		    SLICE("given@example.org"),
		    i == 1 ? QUEUE_NOTIFY_DELAY : 0,
		    i == 1 ? SLICE("rfc822;r1+2Bx@example.com") : SLICE_NULL,
		};
	struct queue_add_op op = {
	    .op = {.arena = f->arena},
	    .message = { .sender = SLICE("jo@example.org"),
		   .login = SLICE("jo"),
		   .origin = SLICE("192.0.2.1"),
		   .created_s = 50,
		   .expires_s = 9000,
		   .due_s = due_s,
		   .flags = QUEUE_MESSAGE_8BIT,
		   .recipients = to,
		   .recipient_count = recipients,
		   .envid = SLICE("abc+2B1"),
		   .by_s = 8000,
		   .priority = -4,
		   .unsubscribe = SLICE("mailto"),
		   .held = held}
        };
	op.message.draft = fixture_draft(f, "queued", 0);
	if (id[0])
		memcpy(op.message.id, id, ID_TEXT_SIZE);
	else
		id_make(op.message.id);
	memcpy(id, op.message.id, ID_TEXT_SIZE);
	queue_add_submit(f->reader, &op);
	body_draft_unref(&op.message.draft);
	return op.op.status;
}

struct due {
	size_t count;
	int64_t last_s;
};

static bool
note_due(const struct queue_due *recipient, void *arg)
{
	struct due *due = arg;
	assert_true(recipient->due_s >= due->last_s);
	due->last_s = recipient->due_s;
	due->count++;
	return true;
}

static size_t
due_count(struct fixture *f, int64_t until_s, int64_t *out_next_s)
{
	struct due due = {0, 0};
	assert_int_equal(
	    queue_due_each(f->reader, NULL, until_s, note_due, &due, out_next_s),
	    STATUS_OK);
	return due.count;
}

static void
counts_are(struct fixture *f, uint64_t messages, uint64_t recipients, uint64_t held)
{
	struct queue_counts counts;
	assert_int_equal(queue_counts_get(f->reader, &counts), STATUS_OK);
	assert_int_equal(counts.messages, messages);
	assert_int_equal(counts.recipients, recipients);
	assert_int_equal(counts.held, held);
	assert_int_equal(counts.oldest_s, messages ? 50 : 0);
}

static bool
count_messages(const struct queue_message *message, void *arg)
{
	assert_true(slice_equal(message->sender, SLICE("jo@example.org")));
	++*(int *)arg;
	return true;
}

static void
adding(struct fixture *f)
{
	char id[ID_TEXT_SIZE] = "", other[ID_TEXT_SIZE] = "";
	struct queue_message message;
	struct body_handle handle;
	int64_t next_s;
	int count = 0;
	counts_are(f, 0, 0, 0);
	assert_int_equal(add(f, id, 3, 100, false), STATUS_OK);
	assert_int_equal(add(f, id, 3, 100, false), STATUS_EXISTS);
	assert_int_equal(add(f, other, 2, 200, false), STATUS_OK);
	counts_are(f, 2, 5, 0);
	assert_int_equal(due_count(f, 99, &next_s), 0);
	assert_int_equal(next_s, 100);
	assert_int_equal(due_count(f, 100, &next_s), 3);
	assert_int_equal(next_s, 200);
	assert_int_equal(due_count(f, 300, &next_s), 5);
	assert_int_equal(next_s, 0);
	assert_int_equal(
	    queue_message_get(f->reader, slice_from_cstr(id), &message), STATUS_OK);
	assert_int_equal(message.recipients, 3);
	assert_int_equal(message.flags, QUEUE_MESSAGE_8BIT);
	assert_true(slice_equal(message.origin, SLICE("192.0.2.1")));
	assert_int_equal(queue_body_open(f->reader, &message, &handle), STATUS_OK);
	assert_int_equal(handle.size, message.size);
	assert_true(slice_has_prefix(body_handle_bytes(&handle), SLICE("From: Amy")));
	body_handle_close(&handle);
	assert_int_equal(
	    queue_message_each(f->reader, SLICE_NULL, count_messages, &count), STATUS_OK);
	assert_int_equal(count, 2);
	const char *low = strcmp(id, other) < 0 ? id : other;
	assert_int_equal(
	    queue_message_each(f->reader, slice_from_cstr(low), count_messages, &count),
	    STATUS_OK);
	assert_int_equal(count, 3);
	assert_int_equal(
	    queue_message_get(f->reader, SLICE("0123"), &message), STATUS_NOT_FOUND);
	char empty[ID_TEXT_SIZE] = "";
	assert_int_equal(add(f, empty, 0, 1, false), STATUS_INVALID);
}

static bool
keep_recipient(const struct queue_recipient *recipient, void *arg)
{
	*(struct queue_recipient *)arg = *recipient;
	return true;
}

static void
results(struct fixture *f)
{
	char id[ID_TEXT_SIZE] = "";
	struct queue_recipient recipient = {.number = 99};
	struct queue_message message;
	int64_t next_s;
	assert_int_equal(add(f, id, 3, 100, false), STATUS_OK);
	struct queue_result first[2] = {
	    {.number = 0,                 .outcome = QUEUE_DELIVERED},
	    { .number = 1,
             .outcome = QUEUE_DEFERRED,
             .due_s = 500,
             .reply = SLICE("451 later"),
             .told = QUEUE_NOTIFY_WARNED},
	};
	memcpy(first[0].id, id, sizeof(id));
	memcpy(first[1].id, id, sizeof(id));
	struct queue_result_op op = {
	    .op = {.arena = f->arena}, .results = first, .result_count = 2, .now_s = 110};
	queue_result_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	counts_are(f, 1, 2, 0);
	assert_int_equal(
	    queue_message_get(f->reader, slice_from_cstr(id), &message), STATUS_OK);
	assert_int_equal(message.flags, QUEUE_MESSAGE_8BIT);
	assert_int_equal(
	    queue_recipient_get(f->reader, slice_from_cstr(id), 1, &recipient),
	    STATUS_OK);
	/* What was asked for at RCPT lives over the attempt, and the warning is noted. */
	assert_int_equal(recipient.notify, QUEUE_NOTIFY_DELAY | QUEUE_NOTIFY_WARNED);
	assert_true(slice_equal(recipient.orcpt, SLICE("rfc822;r1+2Bx@example.com")));
	assert_true(slice_equal(recipient.last_reply, SLICE("451 later")));
	assert_true(slice_equal(message.envid, SLICE("abc+2B1")));
	assert_int_equal(message.by_s, 8000);
	assert_int_equal(message.priority, -4);
	assert_true(slice_equal(message.unsubscribe, SLICE("mailto")));
	assert_int_equal(
	    queue_recipient_get(f->reader, slice_from_cstr(id), 2, &recipient),
	    STATUS_OK);
	assert_int_equal(recipient.notify, 0);
	assert_int_equal(recipient.orcpt.len, 0);
	assert_int_equal(due_count(f, 499, &next_s), 1);
	assert_int_equal(next_s, 500);

	/* The last ones go, and leave a bounce; a second time nothing happens. */
	struct queue_new_recipient to = {
	    .address = SLICE("jo@example.org"), .original = SLICE("jo@example.org")};
	struct queue_new_message report = {.sender = SLICE("jo@example.org"),
	    .created_s = 50,
	    .due_s = 100,
	    .flags = QUEUE_MESSAGE_BOUNCE,
	    .recipients = &to,
	    .recipient_count = 1};
	struct queue_result last[2] = {
	    {.number = 1, .outcome = QUEUE_FAILED},
	    {.number = 2, .outcome = QUEUE_FAILED},
	};
	memcpy(last[0].id, id, sizeof(id));
	memcpy(last[1].id, id, sizeof(id));
	id_make(report.id);
	report.draft = fixture_draft(f, "bounce", 10);
	struct queue_result_op end = {.op = {.arena = f->arena},
	    .results = last,
	    .result_count = 2,
	    .reports = &report,
	    .report_count = 1,
	    .now_s = 600};
	queue_result_submit(f->reader, &end);
	assert_int_equal(end.op.status, STATUS_OK);
	assert_int_equal(queue_message_get(f->reader, slice_from_cstr(id), &message),
	    STATUS_NOT_FOUND);
	counts_are(f, 1, 1, 0);
	/* All or nothing: the report's id is taken, so nothing changes. */
	assert_int_equal(queue_recipient_each(f->reader, slice_from_cstr(report.id),
			     keep_recipient, &recipient),
	    STATUS_OK);
	assert_int_equal(recipient.number, 0);
	memcpy(last[0].id, report.id, sizeof(id));
	last[0].number = 0;
	queue_result_submit(f->reader, &end);
	assert_int_equal(end.op.status, STATUS_EXISTS);
	counts_are(f, 1, 1, 0);
	body_draft_unref(&report.draft);
}

static void
wishes(struct fixture *f)
{
	char id[ID_TEXT_SIZE] = "";
	uint64_t count;
	int64_t next_s;
	assert_int_equal(add(f, id, 4, 1000, false), STATUS_OK);
	struct slice s = slice_from_cstr(id);
	assert_int_equal(
	    queue_wish(f->reader, s, QUEUE_ALL, QUEUE_RETRY, 10, &count), STATUS_OK);
	assert_int_equal(count, 4);
	assert_int_equal(due_count(f, 10, &next_s), 4);
	assert_int_equal(queue_wish(f->reader, s, 2, QUEUE_HOLD, 10, &count), STATUS_OK);
	assert_int_equal(count, 1);
	counts_are(f, 1, 4, 1);
	assert_int_equal(due_count(f, 10, &next_s), 3);
	assert_int_equal(
	    queue_wish(f->reader, s, QUEUE_ALL, QUEUE_HOLD, 10, &count), STATUS_OK);
	assert_int_equal(count, 3);
	counts_are(f, 1, 4, 4);
	/* An attempt that ends while it is on hold leaves it there. */
	struct queue_result result = {.number = 1, .outcome = QUEUE_DEFERRED, .due_s = 5};
	memcpy(result.id, id, sizeof(id));
	struct queue_result_op op = {
	    .op = {.arena = f->arena}, .results = &result, .result_count = 1, .now_s = 4};
	queue_result_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(due_count(f, 100, &next_s), 0);
	assert_int_equal(
	    queue_wish(f->reader, s, QUEUE_ALL, QUEUE_RELEASE, 7, &count), STATUS_OK);
	assert_int_equal(count, 4);
	assert_int_equal(due_count(f, 7, &next_s), 4);
	assert_int_equal(queue_wish(f->reader, s, 3, QUEUE_DELETE, 7, &count), STATUS_OK);
	counts_are(f, 1, 3, 0);
	assert_int_equal(
	    queue_wish(f->reader, s, 3, QUEUE_DELETE, 7, &count), STATUS_NOT_FOUND);
	assert_int_equal(
	    queue_wish(f->reader, s, QUEUE_ALL, QUEUE_DELETE, 7, &count), STATUS_OK);
	assert_int_equal(count, 3);
	counts_are(f, 0, 0, 0);
	char held[ID_TEXT_SIZE] = "";
	assert_int_equal(add(f, held, 2, 3, true), STATUS_OK);
	counts_are(f, 1, 2, 2);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(adding)
CASE(results)
CASE(wishes)

/* What stands behind the texts of a record: nothing in old ones, else known fields in
 * order, each with a value. */
static void
test_fields(void **state)
{
	(void)state;
	static const struct {
		const char *tail;
		size_t len;
		bool message, recipient;
	} rows[] = {
	    {"",		       0,  true,  true },
	    {"e\0\1x",                 4,  true,  false},
	    {"b\0\10\0\0\0\0\0\0\0\1", 11, true,  false},
	    {"b\0\10\0\0\0\0\0\0\0\0", 11, false, false},
	    {"b\0\7\0\0\0\0\0\0\1",    10, false, false},
	    {"p\0\1\x9",               4,  true,  false},
	    {"p\0\1\xf7",              4,  true,  false},
	    {"p\0\1\xa",               4,  false, false},
	    {"p\0\1\xf6",              4,  false, false},
	    {"p\0\1\0",                4,  false, false},
	    {"e\0\1xp\0\1\1",          8,  true,  false},
	    {"p\0\1\1e\0\1x",          8,  false, false},
	    {"e\0\1xe\0\1x",           8,  false, false},
	    {"e\0\2x",                 4,  false, false},
	    {"e\0\0",                  3,  false, false},
	    {"e\0",		    2,  false, false},
	    {"z\0\1x",                 4,  false, false},
	    {"n\0\1\x7f",              4,  false, true },
	    {"n\0\1\x80",              4,  false, false},
	    {"n\0\1\0",                4,  false, false},
	    {"n\0\1\2o\0\10rfc822;a",  15, false, true },
	};
	struct queue_message message = {.sender = SLICE("a"), .recipients = 1};
	struct queue_recipient recipient = {.address = SLICE("b"), .attempts = 7};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO_BUF struct buf record;
		buf_init(&record, 1000);
		queue_message_encode(&message, &record);
		buf_append(&record, slice_make(rows[i].tail, rows[i].len));
		struct queue_message m;
		bool good = queue_message_decode(
		    buf_slice(&record), SLICE("0123456789abcdef"), &m);
		assert_int_equal(good, rows[i].message);
		buf_reset(&record);
		queue_recipient_encode(&recipient, &record);
		buf_append(&record, slice_make(rows[i].tail, rows[i].len));
		struct queue_recipient r;
		good = queue_recipient_decode(
		    buf_slice(&record), SLICE("0123456789abcdef"), 0, &r);
		assert_int_equal(good, rows[i].recipient);
	}
}

static void
wish_many(struct fixture *f)
{
	char a[ID_TEXT_SIZE] = "", b[ID_TEXT_SIZE] = "";
	uint64_t count = 0;
	int64_t next_s;
	assert_int_equal(add(f, a, 2, 100, false), STATUS_OK);
	assert_int_equal(add(f, b, 3, 200, false), STATUS_OK);
	const char *const ids[] = {a, "0000000000000000", "no id", b};
	assert_int_equal(
	    queue_wish_many(f->reader, ids, 4, QUEUE_RETRY, 7, &count), STATUS_OK);
	assert_int_equal(count, 5);
	store_reader_end(f->reader);
	assert_int_equal(due_count(f, 7, &next_s), 5);
	store_reader_end(f->reader);
	assert_int_equal(
	    queue_wish_many(f->reader, ids, 4, QUEUE_DELETE, 7, &count), STATUS_OK);
	assert_int_equal(count, 5);
	store_reader_end(f->reader);
	counts_are(f, 0, 0, 0);
	assert_int_equal(
	    queue_wish_many(f->reader, ids, 4, QUEUE_HOLD, 7, &count), STATUS_OK);
	assert_int_equal(count, 0);
}

static bool
first_address(const struct queue_recipient *recipient, void *arg)
{
	struct buf *out = arg;
	buf_append(out, recipient->address);
	buf_append_format(out, " %u %lld %zu,", (unsigned)recipient->attempts,
	    (long long)recipient->due_s, recipient->orcpt.len);
	return true;
}

static void
redirect(struct fixture *f)
{
	char id[ID_TEXT_SIZE] = "";
	uint64_t count = 0;
	int64_t next_s;
	struct buf text AUTO_BUF;
	buf_init(&text, 1000);
	assert_int_equal(add(f, id, 2, 100, false), STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(queue_redirect(f->reader, slice_from_cstr(id), 1,
			     SLICE("new@else.test"), 70, &count),
	    STATUS_OK);
	assert_int_equal(count, 1);
	store_reader_end(f->reader);
	assert_int_equal(
	    queue_recipient_each(f->reader, slice_from_cstr(id), first_address, &text),
	    STATUS_OK);
	buf_append_byte(&text, '\0');
	assert_string_equal(text.ptr, "r0@example.com 0 100 0,new@else.test 0 70 25,");
	assert_int_equal(due_count(f, 99, &next_s), 1);
	store_reader_end(f->reader);
	assert_int_equal(queue_redirect(f->reader, slice_from_cstr(id), QUEUE_ALL,
			     SLICE(""), 70, &count),
	    STATUS_INVALID);
	assert_int_equal(
	    queue_redirect(f->reader, slice_from_cstr(id), 7, SLICE("a@b"), 70, &count),
	    STATUS_NOT_FOUND);
	fixture_check(f);
}

static void
test_redirect(void **state)
{
	(void)state;
	fixture_each(redirect);
	fixture_each(wish_many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_adding),
	    cmocka_unit_test(test_results),
	    cmocka_unit_test(test_wishes),
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_redirect),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
