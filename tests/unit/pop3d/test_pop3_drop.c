/*
 * The maildrop over a store: numbers that do not change, marks, sizes beyond 4 GB, unique
 * ids, and what UPDATE is told under each policy.
 */
#include "unit/store/store_fixture.h"

#include "pop3d/pop3_drop.h"

static void
deliver(struct fixture *f, int count)
{
	for (int i = 0; i < count; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "mail", 0, NULL), STATUS_OK);
}

static void
expunge(struct fixture *f, uint32_t uid)
{
	struct uid_range range = {uid, uid};
	struct expunge_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .ranges = &range,
	    .range_count = 1};
	expunge_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
}

static void
numbers(struct fixture *f)
{
	struct pop3_drop drop;
	char before[POP3_UIDL_MAX + 1];
	char after[POP3_UIDL_MAX + 1];
	deliver(f, 5);
	expunge(f, 2);
	assert_int_equal(pop3_drop_open(f->reader, f->jo, &drop), STATUS_OK);
	assert_int_equal(drop.count, 4);
	assert_int_equal(pop3_drop_message(&drop, 2)->uid, 3);
	assert_null(pop3_drop_message(&drop, 0));
	assert_null(pop3_drop_message(&drop, 5));
	uint64_t all = drop.bytes;
	uint64_t size = pop3_drop_message(&drop, 2)->size;
	pop3_drop_uidl(&drop, pop3_drop_message(&drop, 3), before);
	pop3_drop_delete(&drop, pop3_drop_message(&drop, 2));
	assert_null(pop3_drop_message(&drop, 2));
	assert_int_equal(drop.bytes, all - size);
	assert_int_equal(drop.deleted_count, 1);
	/* Another session expunges and a delivery comes: nothing moves. */
	expunge(f, 1);
	deliver(f, 1);
	assert_int_equal(pop3_drop_message(&drop, 4)->uid, 5);
	pop3_drop_uidl(&drop, pop3_drop_message(&drop, 3), after);
	assert_string_equal(before, after);
	pop3_drop_reset(&drop);
	assert_int_equal(drop.bytes, all);
	assert_int_equal(drop.deleted_count, 0);
	assert_non_null(pop3_drop_message(&drop, 2));
	pop3_drop_close(&drop);
	/* The id stays over sessions. */
	assert_int_equal(pop3_drop_open(f->reader, f->jo, &drop), STATUS_OK);
	pop3_drop_uidl(&drop, pop3_drop_message(&drop, 2), after);
	assert_string_equal(before, after);
	pop3_drop_close(&drop);
}

static void
uidls(struct fixture *f)
{
	struct pop3_uidl_item items[] = {
	    {.uid = 1, .uidl = SLICE("old-1")},
	    {.uid = 3, .uidl = SLICE("old-3")},
	};
	struct pop3_uidl_op op = {.account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .items = items,
	    .item_count = 2};
	struct pop3_drop drop;
	char uidl[POP3_UIDL_MAX + 1];
	deliver(f, 3);
	pop3_uidl_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(pop3_drop_open(f->reader, f->jo, &drop), STATUS_OK);
	pop3_drop_uidl(&drop, pop3_drop_message(&drop, 1), uidl);
	assert_string_equal(uidl, "old-1");
	pop3_drop_uidl(&drop, pop3_drop_message(&drop, 2), uidl);
	assert_int_equal(strlen(uidl), 16);
	pop3_drop_uidl(&drop, pop3_drop_message(&drop, 3), uidl);
	assert_string_equal(uidl, "old-3");
	pop3_drop_close(&drop);
}

static void
ranges_are(const struct uid_range *ranges, size_t count, const char *want)
{
	char text[200] = "";
	for (size_t i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u-%u ",
		    ranges[i].first, ranges[i].last);
	assert_string_equal(text, want);
}

static void
update(struct fixture *f)
{
	struct pop3_drop drop;
	struct pop3_drop_update out;
	deliver(f, 7);
	expunge(f, 3);
	assert_int_equal(pop3_drop_open(f->reader, f->jo, &drop), STATUS_OK);
	/* Numbers 1 to 6 are uids 1 2 4 5 6 7. */
	pop3_drop_update(&drop, POP3_POLICY_DELETE, f->arena, &out);
	assert_int_equal(out.remove_count + out.retrieved_count, 0);
	pop3_drop_message(&drop, 1)->retrieved = true;
	pop3_drop_message(&drop, 3)->retrieved = true;
	pop3_drop_message(&drop, 6)->retrieved = true;
	pop3_drop_delete(&drop, pop3_drop_message(&drop, 2));
	pop3_drop_delete(&drop, pop3_drop_message(&drop, 6));
	pop3_drop_update(&drop, POP3_POLICY_DELETE, f->arena, &out);
	ranges_are(out.remove, out.remove_count, "1-4 7-7 ");
	ranges_are(out.retrieved, out.retrieved_count, "");
	pop3_drop_update(&drop, POP3_POLICY_KEEP, f->arena, &out);
	ranges_are(out.remove, out.remove_count, "2-2 7-7 ");
	ranges_are(out.retrieved, out.retrieved_count, "");
	pop3_drop_update(&drop, POP3_POLICY_DAYS, f->arena, &out);
	ranges_are(out.remove, out.remove_count, "2-2 7-7 ");
	ranges_are(out.retrieved, out.retrieved_count, "1-1 4-4 ");
	/* RSET takes DELE back, not what was delivered. */
	pop3_drop_reset(&drop);
	pop3_drop_update(&drop, POP3_POLICY_DELETE, f->arena, &out);
	ranges_are(out.remove, out.remove_count, "1-1 4-4 7-7 ");
	pop3_drop_close(&drop);
}

/* Octets are counted in 64 bits: three messages of 3 GB each. */
static void
test_beyond_4_gb(void **state)
{
	static const uint64_t gb_3 = UINT64_C(3) << 30;
	struct pop3_message messages[3] = {
	    {.uid = 1, .size = gb_3},
            {.uid = 2, .size = gb_3},
            {.uid = 3, .size = gb_3}
        };
	struct pop3_drop drop = {.messages = messages, .count = 3, .bytes = 3 * gb_3};
	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		messages[i].uid = i + 1;
		messages[i].size = gb_3;
	}
	pop3_drop_delete(&drop, pop3_drop_message(&drop, 2));
	assert_true(drop.bytes == 2 * gb_3);
	pop3_drop_reset(&drop);
	assert_true(drop.bytes == 3 * gb_3);
}

/* Appends a message of these bytes. */
static void
append(struct fixture *f, struct slice bytes)
{
	struct append_message message = {.draft = body_draft_new(f->store, 1000)};
	assert_int_equal(body_draft_append(message.draft, bytes), STATUS_OK);
	assert_int_equal(body_draft_seal(message.draft), STATUS_OK);
	struct append_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = SLICE("INBOX"),
	    .messages = &message,
	    .message_count = 1};
	append_op_submit(f->reader, &op);
	body_draft_unref(&message.draft);
	assert_int_equal(op.op.status, STATUS_OK);
}

static void
sizes_are(struct fixture *f, const uint64_t *want, uint32_t count)
{
	struct pop3_drop drop;
	uint64_t all = 0;
	assert_int_equal(pop3_drop_open(f->reader, f->jo, &drop), STATUS_OK);
	assert_int_equal(drop.count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(drop.messages[i].size, want[i]);
		all += want[i];
	}
	assert_int_equal(drop.bytes, all);
	pop3_drop_close(&drop);
}

/* The CRLF that RETR puts behind a last line without one is counted; flags that change
 * and copies do not lose it, and the flags do not show it. */
static void
line_ends(struct fixture *f)
{
	static const struct slice bytes[] = {SLICE("A: b\r\n\r\ntext\r\n"),
	    SLICE("A: b\r\n\r\ntext\r"), SLICE("A: b\r\n\r\ntext\n"),
	    SLICE("A: b\r\n\r\ntext"), SLICE("")};
	static const uint64_t sizes[] = {14, 14, 15, 14, 0, 14, 14, 15, 14, 0};
	struct uid_range all = {1, 5};
	for (size_t i = 0; i < 5; i++)
		append(f, bytes[i]);
	sizes_are(f, sizes, 5);
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct flags_op flags = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = inbox,
	    .ranges = &all,
	    .range_count = 1,
	    .mode = FLAGS_ADD,
	    .flags = MESSAGE_SEEN};
	flags_op_submit(f->reader, &flags);
	assert_int_equal(flags.op.status, STATUS_OK);
	struct copy_op copy = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = inbox,
	    .ranges = &all,
	    .range_count = 1,
	    .target = SLICE("INBOX")};
	copy_op_submit(f->reader, &copy);
	assert_int_equal(copy.op.status, STATUS_OK);
	sizes_are(f, sizes, 10);
	struct message_record record;
	assert_int_equal(message_get(f->reader, f->jo, inbox, 4, &record), STATUS_OK);
	assert_int_equal(record.flags, MESSAGE_SEEN);
	assert_int_equal(record.size, 12);
	assert_int_equal(record.line_end_missing, 2);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(numbers)
CASE(uidls)
CASE(update)
CASE(line_ends)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_uidls),
	    cmocka_unit_test(test_update),
	    cmocka_unit_test(test_line_ends),
	    cmocka_unit_test(test_beyond_4_gb),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
