/*
 * The map of a mailbox: its record's form, and that views and the first unseen message
 * are the same with it, without it (an older store), and with a damaged one, which the
 * next change makes anew.
 */
#include "unit/store/store_fixture.h"

#include "store/mailbox_int.h"

enum { MANY = 9000 }; /* more than two records */

static void
test_codec(void **state)
{
	(void)state;
	struct mailbox_map_chunk chunk = {0}, back;
	char record[MAILBOX_MAP_SIZE_MAX];
	assert_int_equal(mailbox_map_encode(&chunk, record), 0);
	chunk.present[0] = 0x82;
	chunk.present[5] = 1;
	chunk.unseen[0] = 0x80;
	size_t len = mailbox_map_encode(&chunk, record);
	assert_int_equal(len, 7 + 6 + 1);
	assert_true(mailbox_map_decode(slice_make(record, len), &back));
	assert_memory_equal(&back, &chunk, sizeof chunk);
	for (size_t cut = 0; cut < 7 + 6; cut++)
		assert_false(mailbox_map_decode(slice_make(record, cut), &back));
	record[len - 1] = 1; /* unseen, and not there */
	assert_false(mailbox_map_decode(slice_make(record, len), &back));
	record[len - 1] = 0; /* zeroes are left out */
	assert_false(mailbox_map_decode(slice_make(record, len), &back));
	memset(&chunk, 0xff, sizeof chunk);
	len = mailbox_map_encode(&chunk, record);
	assert_int_equal(len, 7);
	assert_true(mailbox_map_decode(slice_make(record, len), &back));
	assert_memory_equal(&back, &chunk, sizeof chunk);
	chunk.present[0] = 0x7f;
	chunk.unseen[0] = 0x3f;
	len = mailbox_map_encode(&chunk, record);
	assert_int_equal(len, MAILBOX_MAP_SIZE_MAX);
	assert_true(mailbox_map_decode(slice_make(record, len), &back));
	assert_memory_equal(&back, &chunk, sizeof chunk);
	record[1] = 2; /* more than there is room for */
	assert_false(mailbox_map_decode(slice_make(record, len), &back));
	record[1] = 0;
	record[0]++;
	assert_false(mailbox_map_decode(slice_make(record, len), &back));
}

static void
ranges_op(struct fixture *f, uint32_t first, uint32_t last, int what)
{
	struct uid_range range = {first, last};
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	if (what == 0) {
		struct copy_op op = {.op = {.arena = f->arena},
		    .account = f->jo,
		    .mailbox = inbox,
		    .ranges = &range,
		    .range_count = 1,
		    .target = SLICE("INBOX")};
		copy_op_submit(f->reader, &op);
		assert_int_equal(op.op.status, STATUS_OK);
	} else if (what == 1) {
		struct expunge_op op = {.op = {.arena = f->arena},
		    .account = f->jo,
		    .mailbox = inbox,
		    .ranges = &range,
		    .range_count = 1};
		expunge_op_submit(f->reader, &op);
		assert_int_equal(op.op.status, STATUS_OK);
	} else {
		struct flags_op op = {.op = {.arena = f->arena},
		    .account = f->jo,
		    .mailbox = inbox,
		    .ranges = &range,
		    .range_count = 1,
		    .mode = what == 2 ? FLAGS_ADD : FLAGS_REMOVE,
		    .flags = MESSAGE_SEEN};
		flags_op_submit(f->reader, &op);
		assert_int_equal(op.op.status, STATUS_OK);
	}
	arena_reset(f->arena);
}

/* The view and the first unseen message are what the records say. */
static void
compare(struct fixture *f)
{
	struct mailbox_view *view;
	struct message_record record;
	uint32_t inbox = fixture_box(f, f->jo, "INBOX"), msn = 0, unseen = 0, found = 0;
	assert_int_equal(mailbox_view_open(f->reader, f->jo, inbox, &view), STATUS_OK);
	struct message_cursor *cursor =
	    message_cursor_open(f->reader, f->jo, inbox, 1, UINT32_MAX);
	while (message_cursor_next(cursor, &record) == STATUS_OK) {
		assert_int_equal(mailbox_view_uid(view, ++msn), record.uid);
		if (unseen == 0 && !(record.flags & MESSAGE_SEEN))
			unseen = record.uid;
	}
	message_cursor_close(&cursor);
	assert_int_equal(mailbox_view_count(view), msn);
	mailbox_view_close(&view);
	enum status status = mailbox_first_unseen(f->reader, f->jo, inbox, &found);
	assert_int_equal(status, unseen ? STATUS_OK : STATUS_NOT_FOUND);
	assert_int_equal(found, unseen);
	store_reader_end(f->reader);
}

struct hurt {
	uint32_t mailbox;
	bool strip; /* as an older store has it; else the third record is damaged */
};

static enum status
commit_hurt(struct engine_txn *txn, void *arg)
{
	const struct hurt *hurt = arg;
	struct mailbox_state state;
	struct key key, to;
	enum status status = state_load(txn, hurt->mailbox, &state);
	if (status != STATUS_OK)
		return status;
	ENSURE(state.mapped);
	if (!hurt->strip) {
		key_message(&key, KEY_MAP, hurt->mailbox, 2);
		engine_put(txn, key_slice(&key), SLICE("\001\000\001\000"));
		return engine_txn_status(txn);
	}
	key_mailbox(&key, KEY_MAP, hurt->mailbox);
	key_mailbox(&to, KEY_MAP, hurt->mailbox);
	key_next_prefix(&to);
	ENSURE(engine_del_range(txn, key_slice(&key), key_slice(&to)) > 0);
	state.mapped = false;
	state_save(txn, &state);
	return engine_txn_status(txn);
}

static bool
is_mapped(struct fixture *f)
{
	struct engine_txn *txn;
	struct mailbox_state state;
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	assert_int_equal(
	    engine_snap(f->reader->engine, partition_account(f->jo), &txn), STATUS_OK);
	assert_int_equal(state_load(txn, inbox, &state), STATUS_OK);
	store_reader_end(f->reader);
	return state.mapped;
}

static void
life(struct fixture *f)
{
	for (int i = 0; i < 30; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
	compare(f);
	for (uint32_t have = 30; have < MANY; have *= 2)
		ranges_op(f, 1, have, 0);
	assert_true(is_mapped(f));
	compare(f);
	ranges_op(f, 1, 4097, 2);
	compare(f);
	ranges_op(f, 4000, 4001, 3);
	compare(f);
	ranges_op(f, 100, 100, 1);
	ranges_op(f, 4090, 4100, 1);
	ranges_op(f, 4096, 8191, 1); /* a record goes */
	compare(f);
	ranges_op(f, 1, UINT32_MAX, 2);
	compare(f);
	ranges_op(f, 7000, UINT32_MAX, 3);
	compare(f);
	fixture_check(f);
	struct hurt hurt = {.mailbox = fixture_box(f, f->jo, "INBOX"), .strip = true};
	assert_int_equal(
	    store_commit_wait(f->reader, partition_account(f->jo), commit_hurt, &hurt),
	    STATUS_OK);
	assert_false(is_mapped(f));
	compare(f);
	fixture_check(f);
	ranges_op(f, 9000, 9000, 2);
	assert_true(is_mapped(f));
	compare(f);
	fixture_check(f);
	hurt.strip = false;
	assert_int_equal(
	    store_commit_wait(f->reader, partition_account(f->jo), commit_hurt, &hurt),
	    STATUS_OK);
	compare(f);
	/* A change that meets it makes it anew. */
	ranges_op(f, 9001, 9001, 2);
	compare(f);
	fixture_check(f);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "away", NULL), STATUS_OK);
	struct uid_range all = {1, UINT32_MAX};
	struct copy_op move = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = hurt.mailbox,
	    .ranges = &all,
	    .range_count = 1,
	    .move = true,
	    .target = SLICE("away")};
	copy_op_submit(f->reader, &move);
	assert_int_equal(move.op.status, STATUS_OK);
	compare(f);
}

static void
test_life(void **state)
{
	(void)state;
	fixture_each(life);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_codec),
	    cmocka_unit_test(test_life),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
