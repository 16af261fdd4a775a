/*
 * Views over every backend: numbers, deltas whole and in pieces, VANISHED, and what
 * happens when the change log has been trimmed behind a view's back.
 */
#include "unit/store/store_fixture.h"

#include "base/clock.h"

static void
expunge(struct fixture *f, const char *name, uint32_t first, uint32_t last)
{
	struct uid_range range = {first, last};
	struct expunge_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, name),
	    .ranges = &range,
	    .range_count = 1};
	expunge_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
}

static void
deliver(struct fixture *f, int count)
{
	for (int i = 0; i < count; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "x", 0, NULL), STATUS_OK);
}

static struct mailbox_view *
view_of(struct fixture *f, const char *name)
{
	struct mailbox_view *view;
	assert_int_equal(
	    mailbox_view_open(f->reader, f->jo, fixture_box(f, f->jo, name), &view),
	    STATUS_OK);
	return view;
}

static void
numbers(struct fixture *f)
{
	deliver(f, 6);
	expunge(f, "INBOX", 2, 3);
	struct mailbox_view *view = view_of(f, "INBOX");
	static const uint32_t uids[] = {1, 4, 5, 6};
	assert_int_equal(mailbox_view_count(view), 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(mailbox_view_uid(view, i + 1), uids[i]);
		assert_int_equal(mailbox_view_msn(view, uids[i]), i + 1);
	}
	assert_int_equal(mailbox_view_uid(view, 0), 0);
	assert_int_equal(mailbox_view_uid(view, 5), 0);
	assert_int_equal(mailbox_view_msn(view, 2), 0);
	assert_int_equal(mailbox_view_next(view, 0), 1);
	assert_int_equal(mailbox_view_next(view, 2), 4);
	assert_int_equal(mailbox_view_next(view, 7), 0);
	assert_int_equal(mailbox_view_next(view, UINT32_MAX), 0);
	assert_int_equal(mailbox_view_rank(view, 0), 0);
	assert_int_equal(mailbox_view_rank(view, 3), 1);
	assert_int_equal(mailbox_view_rank(view, UINT32_MAX), 4);
	assert_int_equal(mailbox_view_uidnext(view), 7);
	mailbox_view_remove(view, 4);
	mailbox_view_remove(view, 4);
	mailbox_view_add(view, 9);
	mailbox_view_add(view, 9);
	assert_int_equal(mailbox_view_count(view), 4);
	assert_int_equal(mailbox_view_uidnext(view), 10);
	uint64_t modseq = mailbox_view_modseq(view);
	mailbox_view_set_modseq(view, modseq - 1);
	assert_int_equal(mailbox_view_modseq(view), modseq);
	mailbox_view_close(&view);
	assert_null(view);
}

static void
deltas(struct fixture *f)
{
	struct mailbox_delta delta;
	deliver(f, 4);
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct mailbox_view *view = view_of(f, "INBOX");
	assert_int_equal(
	    mailbox_view_delta(f->reader, view, f->arena, 0, &delta), STATUS_OK);
	assert_int_equal(
	    delta.expunged_count + delta.added_count + delta.changed_count, 0);
	assert_int_equal(
	    fixture_flag(f, f->jo, inbox, 3, FLAGS_ADD, MESSAGE_SEEN), STATUS_OK);
	assert_int_equal(
	    fixture_flag(f, f->jo, inbox, 1, FLAGS_ADD, MESSAGE_SEEN), STATUS_OK);
	deliver(f, 2);
	expunge(f, "INBOX", 2, 2);
	expunge(f, "INBOX", 5, 5); /* came and went: the view never knew it */
	assert_int_equal(
	    mailbox_view_delta(f->reader, view, f->arena, 0, &delta), STATUS_OK);
	assert_int_equal(delta.expunged_count, 1);
	assert_int_equal(delta.expunged[0], 2);
	assert_int_equal(delta.added_count, 1);
	assert_int_equal(delta.added[0], 6);
	assert_int_equal(delta.changed_count, 2);
	assert_int_equal(delta.changed[0], 1);
	assert_int_equal(delta.changed[1], 3);
	assert_int_equal(delta.uidnext, 7);
	assert_false(delta.more);
	uint64_t end = delta.modseq;
	/* One change at a time. */
	int pieces = 0;
	do {
		assert_int_equal(
		    mailbox_view_delta(f->reader, view, f->arena, 1, &delta), STATUS_OK);
		mailbox_view_set_modseq(view, delta.modseq);
		pieces++;
	} while (delta.more);
	assert_int_equal(delta.modseq, end);
	assert_int_equal(pieces, 5);
	mailbox_view_close(&view);
	/* The mailbox goes. */
	view = view_of(f, "Sent");
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "Sent", NULL), STATUS_OK);
	assert_int_equal(
	    mailbox_view_delta(f->reader, view, f->arena, 0, &delta), STATUS_NOT_FOUND);
	mailbox_view_close(&view);
	assert_int_equal(
	    mailbox_view_open(f->reader, f->jo, 999, &view), STATUS_NOT_FOUND);
}

static void
trimmed(struct fixture *f)
{
	struct mailbox_delta delta;
	uint32_t *uids;
	size_t count;
	bool complete;
	deliver(f, 5);
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct mailbox_view *view = view_of(f, "INBOX");
	uint64_t before = mailbox_view_modseq(view);
	expunge(f, "INBOX", 2, 4);
	deliver(f, 1);
	assert_int_equal(mailbox_vanished(f->reader, f->jo, inbox, before, f->arena, 100,
			     &uids, &count, &complete),
	    STATUS_OK);
	assert_int_equal(count, 3);
	assert_int_equal(uids[0], 2);
	assert_int_equal(uids[2], 4);
	assert_true(complete);
	assert_int_equal(mailbox_vanished(f->reader, f->jo, inbox, before, f->arena, 2,
			     &uids, &count, &complete),
	    STATUS_OK);
	assert_false(complete);
	assert_int_equal(mailbox_vanished(f->reader, f->jo, inbox, UINT64_MAX, f->arena,
			     100, &uids, &count, &complete),
	    STATUS_OK);
	assert_int_equal(count, 0);
	/* Half a year later. */
	store_reader_end(f->reader);
	for (int i = 0; i < 100 && store_maintain(f->store, clock_wall_s() + 180 * 86400);
	     i++)
		;
	assert_int_equal(mailbox_vanished(f->reader, f->jo, inbox, before, f->arena, 100,
			     &uids, &count, &complete),
	    STATUS_OK);
	assert_false(complete);
	assert_int_equal(
	    mailbox_view_delta(f->reader, view, f->arena, 1, &delta), STATUS_OK);
	assert_int_equal(delta.expunged_count, 3);
	assert_int_equal(delta.expunged[1], 3);
	assert_int_equal(delta.added_count, 1);
	assert_false(delta.more);
	mailbox_view_close(&view);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(numbers)
CASE(deltas)
CASE(trimmed)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_deltas),
	    cmocka_unit_test(test_trimmed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
