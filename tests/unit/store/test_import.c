/*
 * Imports: UIDs that are reserved and given out once, in the order they come; deliveries
 * and sessions beside them.
 */
#include "unit/store/store_fixture.h"

#include "store/import.h"
#include "store/pop3.h"

static struct import_box_op
box_op(struct fixture *f, const char *name, uint32_t validity, uint32_t uidnext)
{
	struct import_box_op op = {.account = f->jo,
	    .mailbox = slice_from_cstr(name),
	    .uidvalidity = validity,
	    .uidnext = uidnext};
	import_box_submit(f->reader, &op);
	return op;
}

static struct import_item
import_one(struct fixture *f, uint32_t mailbox, uint32_t uid, const char *uidl)
{
	static const struct slice keyword = {"Junk", 4};
	char subject[32];
	snprintf(subject, sizeof(subject), "import %u", (unsigned)uid);
	struct import_item item = {.draft = fixture_draft(f, subject, 0),
	    .want_uid = uid,
	    .flags = MESSAGE_SEEN,
	    .keywords = &keyword,
	    .keyword_count = 1,
	    .internaldate_s = 1234,
	    .internaldate_zone_min = -60,
	    .uidl = slice_from_cstr(uidl)};
	struct import_op op = {
	    .account = f->jo, .mailbox = mailbox, .items = &item, .item_count = 1};
	import_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	body_draft_unref(&item.draft);
	return item;
}

static void
case_uids(struct fixture *f)
{
	struct message_record record;
	struct pop3_record pop3;
	uint32_t uid;
	struct import_box_op box = box_op(f, "Old/Mail", 1000, 50);
	assert_int_equal(box.op.status, STATUS_OK);
	assert_true(box.out_made && box.out_uidvalidity == 1000 && box.out_uid_end == 50);
	struct mailbox_info info = fixture_info(f, f->jo, "Old/Mail");
	assert_int_equal(info.uidnext, 50);
	assert_true(import_one(f, box.out_mailbox, 3, "abc").uid_kept);
	assert_int_equal(
	    fixture_deliver(f, f->jo, "Old/Mail", "new", 0, &uid), STATUS_OK);
	assert_int_equal(uid, 50);
	struct import_item item = import_one(f, box.out_mailbox, 7, "abc");
	assert_true(item.uid_kept && item.uid == 7 && !item.uidl_kept);
	/* Given out once, in order: not below 7 any more, nor at or above the end. */
	static const uint32_t refused[] = {3, 5, 7, 50, 51, 0};
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		item = import_one(f, box.out_mailbox, refused[i], NULL);
		assert_false(item.uid_kept);
		assert_int_equal(item.uid, 51 + i);
	}
	assert_int_equal(
	    message_get(f->reader, f->jo, box.out_mailbox, 7, &record), STATUS_OK);
	assert_int_equal(record.internaldate_s, 1234);
	assert_int_equal(record.internaldate_zone_min, -60);
	assert_int_equal(record.flags, MESSAGE_SEEN);
	assert_int_equal(record.keywords, 1);
	assert_int_equal(
	    pop3_record_get(f->reader, f->jo, box.out_mailbox, 3, &pop3), STATUS_OK);
	assert_true(slice_equal(pop3.uidl, SLICE("abc")));
	/* Expunged: its UID stays used. */
	struct uid_range range = {7, 7};
	struct expunge_op expunge = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = box.out_mailbox,
	    .ranges = &range,
	    .range_count = 1};
	expunge_op_submit(f->reader, &expunge);
	assert_false(import_one(f, box.out_mailbox, 7, NULL).uid_kept);
	assert_true(import_one(f, box.out_mailbox, 49, NULL).uid_kept);
}

static void
case_boxes(struct fixture *f)
{
	/* One that has had mail keeps its own UIDs. */
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "one", 0, NULL), STATUS_OK);
	uint32_t before = fixture_info(f, f->jo, "INBOX").uidvalidity;
	struct import_box_op box = box_op(f, "INBOX", 1000, 50);
	assert_int_equal(box.op.status, STATUS_OK);
	assert_true(
	    !box.out_made && box.out_uid_end == 0 && box.out_uidvalidity == before);
	/* More can be reserved until something comes in behind. */
	box = box_op(f, "Sent", 1000, 50);
	assert_int_equal(box.out_uid_end, 50);
	box = box_op(f, "Sent", 1000, 60);
	assert_int_equal(box.out_uid_end, 60);
	assert_int_equal(fixture_deliver(f, f->jo, "Sent", "two", 0, NULL), STATUS_OK);
	box = box_op(f, "Sent", 1000, 90);
	assert_int_equal(box.out_uid_end, 60);
	box = box_op(f, "Sent", 2000, 90);
	assert_int_equal(box.out_uid_end, 0);
	/* Two of the same UIDVALIDITY, as other servers have them; one without; one that
	 * would leave none for later. */
	assert_int_equal(box_op(f, "Drafts", 1000, 5).out_uid_end, 5);
	assert_int_equal(box_op(f, "Junk", 0, 0).out_uid_end, 0);
	assert_int_equal(box_op(f, "Trash", UINT32_MAX, 5).out_uid_end, 0);
	assert_int_equal(box_op(f, "Trash", 7, 0).op.status, STATUS_INVALID);
	/* A mailbox that is made later is above them all. */
	box = box_op(f, "High", IMPORT_UIDVALIDITY_MAX, 2);
	assert_int_equal(box.out_uid_end, 2);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "High", NULL), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "High", NULL), STATUS_OK);
	assert_true(fixture_info(f, f->jo, "High").uidvalidity > IMPORT_UIDVALIDITY_MAX);
}

static void
case_sessions(struct fixture *f)
{
	struct mailbox_view *view;
	struct mailbox_delta delta;
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	assert_int_equal(mailbox_view_open(f->reader, f->jo, inbox, &view), STATUS_OK);
	store_reader_end(f->reader);
	struct import_box_op box = box_op(f, "INBOX", 1000, 50);
	assert_int_equal(box.out_uid_end, 50);
	assert_int_equal(mailbox_view_delta(f->reader, view, f->arena, 0, &delta),
	    STATUS_NOT_FOUND); /* another UIDVALIDITY */
	mailbox_view_close(&view);
	assert_int_equal(mailbox_view_open(f->reader, f->jo, inbox, &view), STATUS_OK);
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "new", 0, NULL), STATUS_OK);
	assert_int_equal(
	    mailbox_view_delta(f->reader, view, f->arena, 0, &delta), STATUS_OK);
	assert_int_equal(delta.added_count, 1);
	mailbox_view_add(view, 50);
	mailbox_view_set_modseq(view, delta.modseq);
	store_reader_end(f->reader);
	assert_true(import_one(f, inbox, 4, NULL).uid_kept);
	assert_int_equal(mailbox_view_delta(f->reader, view, f->arena, 0, &delta),
	    STATUS_NOT_FOUND); /* below what it knows */
	mailbox_view_close(&view);
	store_reader_end(f->reader);
}

static void
case_quota(struct fixture *f)
{
	struct import_item items[4] = {{0}};
	struct account_usage usage;
	struct directory_account_change change = {.set_quota = true};
	struct import_box_op box = box_op(f, "INBOX", 1000, 50);
	for (size_t i = 0; i < 4; i++) {
		items[i].want_uid = (uint32_t)(i + 1) * 10;
		items[i].draft = fixture_draft(f, "quota", i == 1 ? 5000 : 10);
	}
	change.quota_bytes = 3 * body_draft_size(items[0].draft);
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	struct import_op op = {.account = f->jo,
	    .mailbox = box.out_mailbox,
	    .items = items,
	    .item_count = 4};
	import_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(items[0].status, STATUS_OK);
	for (size_t i = 1; i < 4; i++)
		assert_int_equal(items[i].status, STATUS_QUOTA);
	assert_int_equal(account_usage_get(f->reader, f->jo, &usage), STATUS_OK);
	assert_int_equal(usage.messages, 1);
	assert_int_equal(usage.bytes, body_draft_size(items[0].draft));
	for (size_t i = 4; i-- > 0;)
		body_draft_unref(&items[i].draft);
	store_reader_end(f->reader);
}

static void
test_uids(void **state)
{
	(void)state;
	fixture_each(case_uids);
}

static void
test_boxes(void **state)
{
	(void)state;
	fixture_each(case_boxes);
}

static void
test_sessions(void **state)
{
	(void)state;
	fixture_each(case_sessions);
}

static void
test_quota(void **state)
{
	(void)state;
	fixture_each(case_quota);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_uids),
	    cmocka_unit_test(test_boxes),
	    cmocka_unit_test(test_sessions),
	    cmocka_unit_test(test_quota),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
