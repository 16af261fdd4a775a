/*
 * Quota is exact while many write at once: threads deliver, append, copy, move, expunge,
 * undelete and import at random into two accounts, one with a quota of bytes and of
 * messages, one of either; what the counters say never passes a quota, and in the end
 * equals a recount (store_check's invariants 3 and 7, by fixture_fini) and a sum made
 * here.  POSTROOM_QUOTA_STEPS: operations of each thread.
 */
#include "unit/store/store_fixture.h"

#include <pthread.h>

#include "store/import.h"
#include "store/undelete.h"

enum { THREADS = 4, QUOTA = 40000, QUOTA_MESSAGES = 24 };

struct worker {
	struct fixture *f;
	struct store_reader *reader;
	struct arena *arena;
	uint64_t random;
	unsigned steps, refused, done;
	pthread_t thread;
};

static uint64_t
draw(struct worker *w, uint64_t below)
{
	w->random =
	    w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (w->random >> 33) % below;
}

static const struct slice boxes[] = {
    {"INBOX",   5},
    {"Archive", 7},
    {"Trash",   5}
};

static struct body_draft *
draft(struct worker *w)
{
	struct body_draft *d = body_draft_new(w->f->store, 100000);
	size_t size = 100 + draw(w, 3000);
	assert_int_equal(body_draft_append(d, SLICE("Subject: q\r\n\r\n")), STATUS_OK);
	while (body_draft_size(d) < size)
		assert_int_equal(
		    body_draft_append(d, SLICE("0123456789012345678901234567\r\n")),
		    STATUS_OK);
	assert_int_equal(body_draft_seal(d), STATUS_OK);
	return d;
}

static void
count(struct worker *w, enum status status)
{
	assert_true(status == STATUS_OK || status == STATUS_QUOTA);
	w->refused += status == STATUS_QUOTA;
	w->done += status == STATUS_OK;
}

static uint32_t
box_number(struct worker *w, struct account_id account)
{
	struct mailbox_info info;
	assert_int_equal(
	    mailbox_find(w->reader, account, boxes[draw(w, 3)], &info), STATUS_OK);
	store_reader_end(w->reader);
	return info.number;
}

static void
add_some(struct worker *w, struct account_id account)
{
	if (draw(w, 2)) {
		struct deliver_recipient to[2] = {
		    {.account = w->f->jo, .mailbox = boxes[draw(w, 3)]},
		    {.account = w->f->amy               }
                };
		struct deliver_op op = {.op = {.arena = w->arena},
		    .draft = draft(w),
		    .recipients = to,
		    .recipient_count = 1 + draw(w, 2)};
		deliver_op_submit(w->reader, &op);
		body_draft_unref(&op.draft);
		for (size_t i = 0; i < op.recipient_count; i++)
			count(w, to[i].status);
		return;
	}
	struct append_message messages[3] = {{0}};
	struct append_op op = {.op = {.arena = w->arena},
	    .account = account,
	    .mailbox = boxes[draw(w, 3)],
	    .messages = messages,
	    .message_count = 1 + draw(w, 3)};
	for (size_t i = 0; i < op.message_count; i++)
		messages[i].draft = draft(w);
	append_op_submit(w->reader, &op);
	for (size_t i = op.message_count; i-- > 0;)
		body_draft_unref(&messages[i].draft);
	count(w, op.op.status);
}

static void
import_some(struct worker *w, struct account_id account)
{
	struct import_item items[3] = {{0}};
	struct import_op op = {.op = {.arena = w->arena},
	    .account = account,
	    .mailbox = box_number(w, account),
	    .items = items,
	    .item_count = 1 + draw(w, 3)};
	for (size_t i = 0; i < op.item_count; i++)
		items[i].draft = draft(w);
	import_op_submit(w->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	for (size_t i = 0; i < op.item_count; i++)
		count(w, items[i].status);
	for (size_t i = op.item_count; i-- > 0;)
		body_draft_unref(&items[i].draft);
}

static void
copy_some(struct worker *w, struct account_id account)
{
	uint32_t first = 1 + (uint32_t)draw(w, 200);
	struct uid_range range = {first, first + (uint32_t)draw(w, 40)};
	struct copy_op op = {.op = {.arena = w->arena},
	    .account = account,
	    .mailbox = box_number(w, account),
	    .ranges = &range,
	    .range_count = 1,
	    .target = boxes[draw(w, 3)],
	    .move = draw(w, 2)};
	copy_op_submit(w->reader, &op);
	count(w, op.op.status);
}

static void
expunge_some(struct worker *w, struct account_id account)
{
	uint32_t first = 1 + (uint32_t)draw(w, 300);
	struct uid_range range = {first, first + (uint32_t)draw(w, 60)};
	struct expunge_op op = {.op = {.arena = w->arena},
	    .account = account,
	    .mailbox = box_number(w, account),
	    .ranges = &range,
	    .range_count = 1};
	expunge_op_submit(w->reader, &op);
	count(w, op.op.status);
}

static bool
pick_one(const struct expunged_message *message, void *arg)
{
	*(struct expunged_pick *)arg = (struct expunged_pick){
	    message->expunged_s, message->mailbox, message->record.uid};
	return false;
}

static void
undelete_some(struct worker *w, struct account_id account)
{
	uint64_t back = 0;
	struct expunged_pick pick = {0, 0, 0};
	if (draw(w, 4) == 0) {
		count(w, message_undelete(w->reader, account, 0, &back));
		return;
	}
	assert_int_equal(
	    message_expunged_each(w->reader, account, 0, INT64_MAX, pick_one, &pick),
	    STATUS_OK);
	store_reader_end(w->reader);
	count(w, message_undelete_picks(w->reader, account, &pick, 1, &back));
}

static void
usage_look(struct worker *w, struct account_id account)
{
	struct account_usage usage;
	assert_int_equal(account_usage_get(w->reader, account, &usage), STATUS_OK);
	assert_true(usage.quota.bytes == 0 || usage.bytes <= usage.quota.bytes);
	assert_true(usage.quota.messages == 0 || usage.messages <= usage.quota.messages);
	store_reader_end(w->reader);
}

static void *
worker_run(void *arg)
{
	static void (*const STEPS[])(struct worker *, struct account_id) = {add_some,
	    add_some, add_some, import_some, copy_some, copy_some, expunge_some,
	    undelete_some};
	struct worker *w = arg;
	for (unsigned i = 0; i < w->steps; i++) {
		struct account_id account = draw(w, 2) ? w->f->jo : w->f->amy;
		STEPS[draw(w, sizeof(STEPS) / sizeof(STEPS[0]))](w, account);
		usage_look(w, account);
		arena_reset(w->arena);
	}
	return NULL;
}

static bool
sum_one(const struct mailbox_info *info, void *arg)
{
	uint64_t *sums = arg;
	sums[0] += info->exists;
	sums[1] += info->bytes;
	return true;
}

static void
concurrent(struct fixture *f, uint64_t amy_bytes, uint64_t amy_messages)
{
	struct worker workers[THREADS];
	struct directory_account_change change = {.set_quota = true,
	    .quota_bytes = QUOTA,
	    .set_quota_messages = true,
	    .quota_messages = QUOTA_MESSAGES};
	const char *steps = getenv("POSTROOM_QUOTA_STEPS");
	unsigned refused = 0, done = 0;
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	change.quota_bytes = amy_bytes;
	change.quota_messages = amy_messages;
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("amy@example.org"), &change),
	    STATUS_OK);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.f = f,
		    .reader = store_reader_new(f->store, NULL, NULL),
		    .arena = arena_new(16 * 1024 * 1024),
		    .random = i * 77 + 1,
		    .steps = steps ? (unsigned)strtoul(steps, NULL, 10) : 150};
		assert_int_equal(
		    pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		refused += workers[i].refused;
		done += workers[i].done;
		store_reader_free(&workers[i].reader);
		arena_free(&workers[i].arena);
	}
	/* The quota was met, and not only met. */
	assert_true(refused > 0 && done > refused / 10);
	const struct account_id accounts[] = {f->jo, f->amy};
	for (size_t i = 0; i < 2; i++) {
		uint64_t sums[2] = {0, 0};
		struct account_usage usage;
		assert_int_equal(
		    mailbox_each(f->reader, accounts[i], sum_one, sums), STATUS_OK);
		assert_int_equal(
		    account_usage_get(f->reader, accounts[i], &usage), STATUS_OK);
		assert_int_equal(usage.messages, sums[0]);
		assert_int_equal(usage.bytes, sums[1]);
	}
	store_reader_end(f->reader);
}

static void
case_concurrent(struct fixture *f)
{
	concurrent(f, QUOTA, 0);
}

static void
case_concurrent_messages(struct fixture *f)
{
	concurrent(f, 0, QUOTA_MESSAGES);
}

static void
test_concurrent(void **state)
{
	(void)state;
	fixture_each(case_concurrent);
	fixture_each(case_concurrent_messages);
}

/* Time, mailbox and words choose what comes back. */
static bool
count_one(const struct expunged_message *message, void *arg)
{
	unsigned *counts = arg;
	counts[0]++;
	counts[1] += message->name.ptr == NULL;
	return true;
}

static void
case_window(struct fixture *f)
{
	static const struct uid_range all = {1, 100};
	unsigned counts[2] = {0, 0};
	uint64_t back = 0;
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "Gone", NULL), STATUS_OK);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "a", 0, NULL), STATUS_OK);
		assert_int_equal(
		    fixture_deliver(f, f->jo, "Gone", "b", 0, NULL), STATUS_OK);
	}
	struct expunge_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .ranges = &all,
	    .range_count = 1};
	expunge_op_submit(f->reader, &op);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "Gone", NULL), STATUS_OK);
	assert_int_equal(
	    message_expunged_each(f->reader, f->jo, 0, INT64_MAX, count_one, counts),
	    STATUS_OK);
	assert_int_equal(counts[0], 6);
	assert_int_equal(counts[1], 3);
	counts[0] = 0;
	assert_int_equal(
	    message_expunged_each(f->reader, f->jo, 0, 1000, count_one, counts),
	    STATUS_OK);
	assert_int_equal(message_expunged_each(
			     f->reader, f->jo, INT64_MAX, INT64_MAX, count_one, counts),
	    STATUS_OK);
	assert_int_equal(counts[0], 0);
	struct expunged_pick picks[2] = {
	    {0, 0,   0},
            {0, 999, 1}
        };
	assert_int_equal(
	    message_expunged_each(f->reader, f->jo, 0, INT64_MAX, pick_one, &picks[0]),
	    STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(
	    message_undelete_picks(f->reader, f->jo, picks, 2, &back), STATUS_OK);
	assert_int_equal(back, 1);
	assert_int_equal(
	    message_undelete_picks(f->reader, f->jo, picks, 2, &back), STATUS_OK);
	assert_int_equal(back, 0);
}

static void
test_window(void **state)
{
	(void)state;
	fixture_each(case_window);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_concurrent),
	    cmocka_unit_test(test_window),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
