/*
 * Messages over every backend: delivery with its per-recipient results, APPEND, quota,
 * conditional flags, COPY between keyword sets, undelete and purge, bodies and derived
 * records that heal.
 */
#include "unit/store/store_fixture.h"

#include "base/clock.h"
#include "store/mailbox_int.h"
#include "store/store_maintain.h"
#include "text/message_index.h"

static void
delivery(struct fixture *f)
{
	struct account_id nobody = f->jo;
	struct message_record record;
	nobody.v[5] ^= 0xff;
	struct directory_account_change change = {.set_quota = true, .quota_bytes = 10};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("amy@example.org"), &change),
	    STATUS_OK);
	struct deliver_recipient to[] = {
	    {.account = f->jo,  .mailbox = SLICE("Junk"), .flags = MESSAGE_SEEN},
	    {.account = f->amy                },
	    {.account = nobody},
	    {.account = f->jo                },
	    {.account = f->jo,                 .mailbox = SLICE("No such")                        },
	};
	struct deliver_op op = {.op = {.arena = f->arena},
	    .draft = fixture_draft(f, "many", 0),
	    .recipients = to,
	    .recipient_count = 5,
	    .internaldate_s = 77,
	    .internaldate_zone_min = -90};
	deliver_op_submit(f->reader, &op);
	assert_int_not_equal(op.op.status, STATUS_OK);
	assert_int_equal(to[0].status, STATUS_OK);
	assert_int_equal(to[1].status, STATUS_QUOTA);
	assert_int_equal(to[2].status, STATUS_NOT_FOUND);
	/* The same account is stored once. */
	assert_int_equal(to[3].status, STATUS_OK);
	assert_int_equal(to[3].mailbox_number, to[0].mailbox_number);
	assert_int_equal(to[4].uid, to[0].uid);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 0);
	assert_int_equal(
	    message_get(f->reader, f->jo, to[0].mailbox_number, to[0].uid, &record),
	    STATUS_OK);
	assert_int_equal(record.flags, MESSAGE_SEEN);
	assert_int_equal(record.internaldate_s, 77);
	assert_int_equal(record.internaldate_zone_min, -90);
	assert_int_equal(record.size, body_draft_size(op.draft));
	/* A missing mailbox falls back to INBOX. */
	op.recipients = &to[4];
	op.recipient_count = 1;
	deliver_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 1);
	/* Nobody at all. */
	op.recipient_count = 0;
	deliver_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	body_draft_unref(&op.draft);
}

/* One body a shard, however many recipients. */
static void
delivery_shares(struct fixture *f)
{
	enum { MANY = 20 };
	struct account_id ids[MANY];
	struct deliver_recipient to[MANY];
	struct store_check_options options = {.problem = NULL};
	struct store_check_totals totals;
	memset(to, 0, sizeof(to));
	for (int i = 0; i < MANY; i++) {
		struct slice login = arena_format(f->arena, "u%d@example.org", i);
		assert_int_equal(
		    directory_account_add(f->reader, login, SLICE("k"), 0, &ids[i]),
		    STATUS_OK);
		to[i].account = ids[i];
	}
	struct deliver_op op = {.op = {.arena = f->arena},
	    .draft = fixture_draft(f, "shared", 3000),
	    .recipients = to,
	    .recipient_count = MANY};
	deliver_op_submit(f->reader, &op);
	body_draft_unref(&op.draft);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(store_check(f->store, &options, &totals), STATUS_OK);
	assert_int_equal(totals.messages, MANY);
	assert_true(totals.bodies <= engine_shards(f->store->engine));
}

static void
append(struct fixture *f)
{
	static const struct slice words[] = {
	    {"$A", 2},
            {"b",  1}
        };
	struct append_message messages[2] = {
	    {.draft = fixture_draft(f, "one", 0),
             .flags = MESSAGE_DRAFT,
             .keywords = words,
             .keyword_count = 2},
	    {.draft = fixture_draft(f,        "two",              9)               },
	};
	struct append_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = SLICE("Drafts"),
	    .messages = messages,
	    .message_count = 2};
	struct slice keywords[MAILBOX_KEYWORDS_MAX];
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(messages[0].uid, 1);
	assert_int_equal(messages[1].uid, 2);
	struct mailbox_info info = fixture_info(f, f->jo, "Drafts");
	assert_int_equal(op.out_uidvalidity, info.uidvalidity);
	assert_int_equal(mailbox_keywords(f->reader, f->jo, info.number, keywords), 2);
	assert_true(slice_equal(keywords[0], words[0]));
	/* All or none. */
	struct directory_account_change change = {
	    .set_quota = true, .quota_bytes = info.bytes + 150};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_QUOTA);
	assert_int_equal(fixture_info(f, f->jo, "Drafts").exists, 2);
	op.mailbox = SLICE("nowhere");
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_NOT_FOUND);
	op.message_count = 0;
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_INVALID);
	body_draft_unref(&messages[0].draft);
	body_draft_unref(&messages[1].draft);
}

static void
conditional_flags(struct fixture *f)
{
	struct uid_range ranges[] = {
	    {3, 9},
            {1, 2},
            {2, 3},
            {5, 4}
        };
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	for (int i = 0; i < 4; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
	uint64_t before = fixture_info(f, f->jo, "INBOX").modseq;
	assert_int_equal(
	    fixture_flag(f, f->jo, inbox, 2, FLAGS_ADD, MESSAGE_FLAGGED), STATUS_OK);
	struct flags_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = inbox,
	    .ranges = ranges,
	    .range_count = 4,
	    .mode = FLAGS_ADD,
	    .flags = MESSAGE_SEEN,
	    .has_unchangedsince = true,
	    .unchangedsince = before};
	flags_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(op.out_count, 3);
	assert_int_equal(op.out_modified_count, 1);
	assert_int_equal(op.out_modified[0], 2);
	assert_int_equal(op.out_modseq, before + 2);
	for (size_t i = 0; i < op.out_count; i++)
		assert_int_equal(op.out[i].modseq, op.out_modseq);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").unseen, 1);
	/* Nothing changes: no new modseq. */
	op.has_unchangedsince = false;
	op.ranges = (const struct uid_range[]){
	    {1, 1}
        };
	op.range_count = 1;
	flags_op_submit(f->reader, &op);
	assert_int_equal(op.out_count, 1);
	assert_false(op.out[0].changed);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").modseq, before + 2);
	op.mailbox = 4711;
	flags_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_NOT_FOUND);
}

static void
keywords_full(struct fixture *f)
{
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct uid_range one = {1, 1};
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
	for (int i = 0; i <= MAILBOX_KEYWORDS_MAX; i++) {
		struct slice word = arena_format(f->arena, "k%d", i);
		struct flags_op op = {.op = {.arena = f->arena},
		    .account = f->jo,
		    .mailbox = inbox,
		    .ranges = &one,
		    .range_count = 1,
		    .mode = FLAGS_ADD,
		    .keywords = &word,
		    .keyword_count = 1};
		flags_op_submit(f->reader, &op);
		assert_int_equal(
		    op.op.status, i < MAILBOX_KEYWORDS_MAX ? STATUS_OK : STATUS_LIMIT);
	}
	/* Keywords go with a copy, by name and not by bit. */
	static const struct slice other = {"k40", 3};
	struct append_message message = {
	    .draft = fixture_draft(f, "y", 0), .keywords = &other, .keyword_count = 1};
	struct append_op append_op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = SLICE("Sent"),
	    .messages = &message,
	    .message_count = 1};
	append_op_submit(f->reader, &append_op);
	body_draft_unref(&message.draft);
	assert_int_equal(append_op.op.status, STATUS_OK);
	struct copy_op copy = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = inbox,
	    .ranges = &one,
	    .range_count = 1,
	    .target = SLICE("Sent")};
	copy_op_submit(f->reader, &copy);
	assert_int_equal(copy.op.status, STATUS_OK);
	struct slice words[MAILBOX_KEYWORDS_MAX];
	struct message_record record;
	uint32_t sent = fixture_box(f, f->jo, "Sent");
	assert_int_equal(
	    mailbox_keywords(f->reader, f->jo, sent, words), MAILBOX_KEYWORDS_MAX);
	assert_true(slice_equal(words[0], other));
	assert_int_equal(message_get(f->reader, f->jo, sent, 2, &record), STATUS_OK);
	assert_true(record.keywords == UINT64_MAX);
}

static void
copying(struct fixture *f)
{
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct uid_range all = {1, UINT32_MAX};
	struct message_record one, two;
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
	struct copy_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = inbox,
	    .ranges = &all,
	    .range_count = 1,
	    .target = SLICE("Nope")};
	copy_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_NOT_FOUND);
	op.target = SLICE("INBOX"); /* onto itself */
	copy_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(op.out_count, 3);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 6);
	op.move = true;
	copy_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(op.out_count, 6);
	assert_int_equal(op.out_target_uids[0], 7);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 6);
	assert_int_equal(message_get(f->reader, f->jo, inbox, 7, &one), STATUS_OK);
	assert_int_equal(message_get(f->reader, f->jo, inbox, 10, &two), STATUS_OK);
	assert_int_equal(one.email_id, two.email_id);
	assert_int_equal(one.body, two.body);
	struct directory_account_change change = {.set_quota = true, .quota_bytes = 1};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	op.target = SLICE("Sent");
	op.move = false;
	copy_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_QUOTA);
	op.move = true;
	copy_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 0);
}

/* A quota of messages: at each way in, and what adds none passes it not. */
static void
quota_messages(struct fixture *f)
{
	struct uid_range first = {1, 1};
	uint64_t back = 0;
	struct directory_account_change change = {
	    .set_quota_messages = true, .quota_messages = 3};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
	/* Two more are one too many, and then none comes. */
	struct append_message messages[2] = {
	    {.draft = fixture_draft(f, "a", 5)},
	    {.draft = fixture_draft(f, "b", 5)},
	};
	struct append_op append = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = SLICE("INBOX"),
	    .messages = messages,
	    .message_count = 2};
	append_op_submit(f->reader, &append);
	assert_int_equal(append.op.status, STATUS_QUOTA);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 2);
	append.message_count = 1;
	append_op_submit(f->reader, &append);
	assert_int_equal(append.op.status, STATUS_OK);
	append_op_submit(f->reader, &append);
	assert_int_equal(append.op.status, STATUS_QUOTA);
	/* REPLACE of one by one, in a full account and in one that is over. */
	for (uint64_t limit = 3; limit > 0; limit--) {
		change.quota_messages = limit;
		assert_int_equal(
		    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
		    STATUS_OK);
		append.replaced_mailbox = fixture_box(f, f->jo, "INBOX");
		append.replaced_uid = (uint32_t)(6 - limit);
		append_op_submit(f->reader, &append);
		assert_int_equal(append.op.status, STATUS_OK);
		assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 3);
	}
	body_draft_unref(&messages[1].draft);
	body_draft_unref(&messages[0].draft);
	/* MOVE inside the account adds none, COPY does, undelete does. */
	struct copy_op copy = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .ranges = &first,
	    .range_count = 1,
	    .target = SLICE("Sent")};
	copy_op_submit(f->reader, &copy);
	assert_int_equal(copy.op.status, STATUS_QUOTA);
	copy.move = true;
	copy_op_submit(f->reader, &copy);
	assert_int_equal(copy.op.status, STATUS_OK);
	assert_int_equal(copy.out_count, 1);
	assert_int_equal(message_undelete(f->reader, f->jo, 0, &back), STATUS_QUOTA);
	assert_int_equal(back, 0);
	change.quota_messages = 4;
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	assert_int_equal(message_undelete(f->reader, f->jo, 0, &back), STATUS_QUOTA);
	assert_int_equal(back, 1);
}

static void
maintain_all(struct fixture *f, int64_t now_s)
{
	for (int i = 0; i < 100 && store_maintain(f->store, now_s); i++)
		;
}

static void
undelete(struct fixture *f)
{
	enum { MANY = 600, DAY = 86400 };
	int64_t now_s = clock_wall_s();
	struct store_check_options options = {.problem = fixture_problem};
	struct store_check_totals totals;
	uint64_t count;
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "gone", NULL), STATUS_OK);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(fixture_deliver(f, f->jo, i % 2 ? "gone" : "INBOX", "x",
				     MESSAGE_DELETED, NULL),
		    STATUS_OK);
	struct expunge_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .only_deleted = true};
	expunge_op_submit(f->reader, &op);
	assert_int_equal(op.out_count, MANY / 2);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "gone", NULL), STATUS_OK);
	fixture_check(f);
	/* Too early to purge. */
	maintain_all(f, now_s + 3 * DAY);
	assert_int_equal(
	    message_undelete(f->reader, f->jo, now_s - 10, &count), STATUS_OK);
	assert_int_equal(count, MANY);
	struct mailbox_info info = fixture_info(f, f->jo, "INBOX");
	assert_int_equal(info.exists, MANY);
	assert_int_equal(info.deleted, 0);
	assert_int_equal(message_undelete(f->reader, f->jo, 0, &count), STATUS_OK);
	assert_int_equal(count, 0);
	fixture_check(f);
	/* Again, and this time for good. */
	op.only_deleted = false;
	expunge_op_submit(f->reader, &op);
	assert_int_equal(op.out_count, MANY);
	maintain_all(f, now_s + 9 * DAY);
	assert_int_equal(message_undelete(f->reader, f->jo, 0, &count), STATUS_OK);
	assert_int_equal(count, 0);
	assert_int_equal(store_check(f->store, &options, &totals), STATUS_OK);
	assert_int_equal(totals.bodies, 0);
}

struct damage {
	uint64_t body;
	struct slice bytes;
};

static enum status
commit_damage(struct engine_txn *txn, void *arg)
{
	const struct damage *damage = arg;
	enum status status = engine_body_set_derived(txn, damage->body, damage->bytes);
	return status == STATUS_OK ? engine_txn_status(txn) : status;
}

static void
derived_heals(struct fixture *f)
{
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct message_record record;
	struct message_index index;
	struct body_handle handle;
	struct slice bytes;
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "heal me", 0, NULL), STATUS_OK);
	assert_int_equal(message_get(f->reader, f->jo, inbox, 1, &record), STATUS_OK);
	assert_int_equal(
	    message_index_bytes(f->reader, f->jo, &record, f->arena, &bytes), STATUS_OK);
	assert_true(message_index_decode(bytes, &index));
	struct slice good = arena_copy(f->arena, bytes);
	struct engine_txn *txn;
	store_reader_end(f->reader);
	/* Twice: whatever damage it was, the answer is the good record. */
	for (int i = 0; i < 2; i++) {
		struct slice bad = i ? SLICE("junk") : SLICE("");
		struct damage damage = {record.body, bad};
		assert_int_equal(store_commit_wait(f->reader, partition_account(f->jo),
				     commit_damage, &damage),
		    STATUS_OK);
		assert_int_equal(
		    message_index_bytes(f->reader, f->jo, &record, f->arena, &bytes),
		    STATUS_OK);
		assert_true(slice_equal(bytes, good));
		/* And it is written back: flush by a commit behind it. */
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
		assert_int_equal(
		    engine_snap(f->reader->engine, partition_account(f->jo), &txn),
		    STATUS_OK);
		assert_int_equal(
		    engine_body_derived(txn, record.body, &bytes), STATUS_OK);
		assert_true(slice_equal(bytes, good));
		store_reader_end(f->reader);
	}
	assert_int_equal(
	    message_body_open(f->reader, f->jo, &record, &handle), STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(handle.size, record.size);
	assert_true(slice_find(body_handle_bytes(&handle), SLICE("heal me")) != SIZE_MAX);
	body_handle_close(&handle);
}

/* One command over a thousand messages is one commit. */
static void
many_flags(struct fixture *f)
{
	enum { MANY = 1000 };
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct uid_range range = {1, 1};
	struct store_stats before, after;
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
	for (uint32_t have = 1; have < MANY; range.last = have) {
		struct copy_op copy = {.op = {.arena = f->arena},
		    .account = f->jo,
		    .mailbox = inbox,
		    .ranges = &range,
		    .range_count = 1,
		    .target = SLICE("INBOX")};
		copy_op_submit(f->reader, &copy);
		assert_int_equal(copy.op.status, STATUS_OK);
		have += (uint32_t)copy.out_count;
	}
	range.last = MANY;
	struct flags_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = inbox,
	    .ranges = &range,
	    .range_count = 1,
	    .mode = FLAGS_ADD,
	    .flags = MESSAGE_SEEN};
	store_stats(f->store, &before);
	flags_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(op.out_count, MANY);
	store_stats(f->store, &after);
	assert_int_equal(after.commits - before.commits, 1);
	if (f->path[0])
		assert_int_equal(after.syncs - before.syncs, 1);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(delivery)
CASE(delivery_shares)
CASE(append)
CASE(conditional_flags)
CASE(keywords_full)
CASE(copying)
CASE(quota_messages)
CASE(undelete)
CASE(derived_heals)
CASE(many_flags)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_delivery),
	    cmocka_unit_test(test_delivery_shares),
	    cmocka_unit_test(test_append),
	    cmocka_unit_test(test_conditional_flags),
	    cmocka_unit_test(test_keywords_full),
	    cmocka_unit_test(test_copying),
	    cmocka_unit_test(test_quota_messages),
	    cmocka_unit_test(test_undelete),
	    cmocka_unit_test(test_derived_heals),
	    cmocka_unit_test(test_many_flags),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
