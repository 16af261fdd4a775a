/*
 * POP3's unique ids over every backend: set, refused, unique, appended with, gone with
 * the message, kept over compaction and reopening; UPDATE, and the rules of how long
 * fetched mail stays.
 */
#include "unit/store/store_fixture.h"

#include "base/clock.h"
#include "store/mailbox_int.h"
#include "store/pop3_int.h"

static enum status
set(struct fixture *f, uint32_t mailbox, struct pop3_uidl_item *items, size_t count)
{
	struct pop3_uidl_op op = {
	    .account = f->jo, .mailbox = mailbox, .items = items, .item_count = count};
	pop3_uidl_op_submit(f->reader, &op);
	return op.op.status;
}

/* Sets one and gives the item's status. */
static enum status
set_one(struct fixture *f, uint32_t uid, struct slice uidl)
{
	struct pop3_uidl_item item = {.uid = uid, .uidl = uidl};
	assert_int_equal(set(f, fixture_box(f, f->jo, "INBOX"), &item, 1), STATUS_OK);
	return item.status;
}

static void
must_have(struct fixture *f, uint32_t uid, struct slice uidl)
{
	struct pop3_record record;
	enum status status = pop3_record_get(
	    f->reader, f->jo, fixture_box(f, f->jo, "INBOX"), uid, &record);
	if (uidl.ptr) {
		assert_int_equal(status, STATUS_OK);
		assert_true(slice_equal(record.uidl, uidl));
	} else {
		assert_int_equal(status, STATUS_NOT_FOUND);
	}
	store_reader_end(f->reader);
}

static void
deliver(struct fixture *f, uint32_t count)
{
	uint32_t uid;
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "mail", 0, &uid), STATUS_OK);
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
text(void)
{
	char out[POP3_UIDL_MAX + 1];
	char longest[POP3_UIDL_MAX + 1];
	memset(longest, '~', sizeof(longest));
	assert_true(pop3_uidl_is_valid(SLICE("!")));
	assert_true(pop3_uidl_is_valid(slice_make(longest, POP3_UIDL_MAX)));
	assert_false(pop3_uidl_is_valid(slice_make(longest, POP3_UIDL_MAX + 1)));
	assert_false(pop3_uidl_is_valid(SLICE("")));
	assert_false(pop3_uidl_is_valid(SLICE("a b")));
	assert_false(pop3_uidl_is_valid(SLICE("a\x7f")));
	assert_false(pop3_uidl_is_valid(SLICE("\xc3\xa4")));
	pop3_uidl_default(0x00a1b2ff, 0xfe000010, out);
	assert_string_equal(out, "00a1b2fffe000010");
}

static void
setting(struct fixture *f)
{
	char own[POP3_UIDL_MAX + 1];
	char other[POP3_UIDL_MAX + 1];
	struct mailbox_info info;
	deliver(f, 4);
	info = fixture_info(f, f->jo, "INBOX");
	uint64_t modseq = info.modseq;
	assert_int_equal(set_one(f, 1, SLICE("000000015f3a")), STATUS_OK);
	assert_int_equal(set_one(f, 1, SLICE("000000015f3a")), STATUS_OK);
	assert_int_equal(set_one(f, 2, SLICE("000000015f3a")), STATUS_EXISTS);
	assert_int_equal(set_one(f, 2, SLICE("000000015F3A")), STATUS_OK);
	assert_int_equal(set_one(f, 3, SLICE("a b")), STATUS_INVALID);
	assert_int_equal(set_one(f, 3, SLICE("")), STATUS_INVALID);
	assert_int_equal(set_one(f, 9, SLICE("x")), STATUS_NOT_FOUND);
	/* The default form of itself is its own, that of another one is not to be had,
	 * even before that one comes. */
	pop3_uidl_default(info.uidvalidity, 3, own);
	pop3_uidl_default(info.uidvalidity, 77, other);
	assert_int_equal(set_one(f, 3, slice_from_cstr(other)), STATUS_EXISTS);
	assert_int_equal(set_one(f, 3, slice_from_cstr(own)), STATUS_OK);
	/* Changed, the old one is free. */
	assert_int_equal(set_one(f, 1, SLICE("new")), STATUS_OK);
	assert_int_equal(set_one(f, 3, SLICE("000000015f3a")), STATUS_OK);
	must_have(f, 1, SLICE("new"));
	must_have(f, 2, SLICE("000000015F3A"));
	must_have(f, 3, SLICE("000000015f3a"));
	must_have(f, 4, SLICE_NULL);
	assert_int_equal(set_one(f, 3, SLICE_NULL), STATUS_OK);
	must_have(f, 3, SLICE_NULL);
	assert_int_equal(set_one(f, 3, SLICE_NULL), STATUS_OK);
	/* Of two in one op the first one gets it. */
	struct pop3_uidl_item items[] = {
	    {.uid = 3, .uidl = SLICE("both")},
	    {.uid = 4, .uidl = SLICE("both")},
	};
	assert_int_equal(set(f, info.number, items, 2), STATUS_OK);
	assert_int_equal(items[0].status, STATUS_OK);
	assert_int_equal(items[1].status, STATUS_EXISTS);
	assert_int_equal(set(f, 77, items, 2), STATUS_NOT_FOUND);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").modseq, modseq);
}

static bool
collect(uint32_t uid, const struct pop3_record *record, void *arg)
{
	struct buf *out = arg;
	buf_append_format(out, "%u=%.*s ", uid, SLICE_ARG(record->uidl));
	return uid < 3;
}

static void
listing(struct fixture *f)
{
	AUTO_BUF struct buf out;
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	buf_init(&out, 1000);
	deliver(f, 4);
	assert_int_equal(
	    pop3_record_each(f->reader, f->jo, inbox, collect, &out), STATUS_OK);
	assert_int_equal(out.len, 0);
	assert_int_equal(set_one(f, 4, SLICE("d")), STATUS_OK);
	assert_int_equal(set_one(f, 1, SLICE("a")), STATUS_OK);
	assert_int_equal(set_one(f, 3, SLICE("c")), STATUS_OK);
	assert_int_equal(
	    pop3_record_each(f->reader, f->jo, inbox, collect, &out), STATUS_OK);
	assert_true(slice_equal(buf_slice(&out), SLICE("1=a 3=c ")));
	store_reader_end(f->reader);
}

static void
appending(struct fixture *f)
{
	struct append_message messages[] = {
	    {.draft = fixture_draft(f, "one", 0),                      .uidl = SLICE("U1")},
	    {.draft = fixture_draft(f,                        "two",      0)},
	};
	struct append_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = SLICE("INBOX"),
	    .messages = messages,
	    .message_count = 2};
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	must_have(f, messages[0].uid, SLICE("U1"));
	must_have(f, messages[1].uid, SLICE_NULL);
	/* All or none. */
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_EXISTS);
	messages[0].uidl = SLICE("no good");
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_INVALID);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 2);
	body_draft_unref(&messages[0].draft);
	body_draft_unref(&messages[1].draft);
}

static void
move(struct fixture *f, uint32_t uid, bool move)
{
	struct uid_range range = {uid, uid};
	struct copy_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .ranges = &range,
	    .range_count = 1,
	    .target = SLICE("INBOX"),
	    .move = move};
	copy_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
}

static void
leaving(struct fixture *f)
{
	uint64_t count;
	deliver(f, 3);
	for (uint32_t uid = 1; uid <= 3; uid++)
		assert_int_equal(
		    set_one(f, uid, arena_format(f->arena, "id-%u", uid)), STATUS_OK);
	/* A copy is another message; a move makes one. */
	move(f, 1, false);
	must_have(f, 1, SLICE("id-1"));
	must_have(f, 4, SLICE_NULL);
	move(f, 1, true);
	must_have(f, 1, SLICE_NULL);
	must_have(f, 5, SLICE_NULL);
	expunge(f, 2);
	must_have(f, 2, SLICE_NULL);
	assert_int_equal(message_undelete(f->reader, f->jo, 0, &count), STATUS_OK);
	assert_int_equal(count, 1);
	must_have(f, 6, SLICE_NULL);
	/* Both ids are free. */
	assert_int_equal(set_one(f, 6, SLICE("id-2")), STATUS_OK);
	assert_int_equal(set_one(f, 5, SLICE("id-1")), STATUS_OK);
	must_have(f, 3, SLICE("id-3"));
}

/* A mailbox goes with its ids, INBOX's messages lose them when it is renamed. */
static void
mailboxes(struct fixture *f)
{
	struct append_message message = {
	    .draft = fixture_draft(f, "one", 0), .uidl = SLICE("U1")};
	struct append_op append = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = SLICE("Sent"),
	    .messages = &message,
	    .message_count = 1};
	append_op_submit(f->reader, &append);
	assert_int_equal(append.op.status, STATUS_OK);
	body_draft_unref(&message.draft);
	struct mailbox_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .change = MAILBOX_DELETE,
	    .name = SLICE("Sent")};
	mailbox_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	deliver(f, 1);
	assert_int_equal(set_one(f, 1, SLICE("U1")), STATUS_OK);
	op.change = MAILBOX_RENAME;
	op.name = SLICE("INBOX");
	op.new_name = SLICE("Old");
	mailbox_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	must_have(f, 1, SLICE_NULL);
	fixture_check(f);
}

static void
kept(struct fixture *f)
{
	deliver(f, 20);
	for (uint32_t uid = 1; uid <= 20; uid += 2)
		assert_int_equal(
		    set_one(f, uid, arena_format(f->arena, "id-%u", uid)), STATUS_OK);
	for (uint32_t uid = 2; uid <= 20; uid += 2)
		expunge(f, uid);
	for (int i = 0; i < 100 && store_maintain(f->store, 2000000000); i++)
		continue;
	store_reader_free(&f->reader);
	if (f->backend == 0) {
		store_close(&f->store);
		fixture_open_store(f);
	} else {
		f->reader = store_reader_new(f->store, NULL, NULL);
	}
	for (uint32_t uid = 1; uid <= 20; uid += 2)
		must_have(f, uid, arena_format(f->arena, "id-%u", uid));
}

/* ---- UPDATE and retention ---- */
static void
update(struct fixture *f, struct uid_range remove, struct uid_range retrieved,
    uint64_t want_removed)
{
	struct pop3_update_op op = {.account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "INBOX"),
	    .remove = &remove,
	    .remove_count = remove.first > 0,
	    .retrieved = &retrieved,
	    .retrieved_count = retrieved.first > 0};
	pop3_update_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(op.out_removed, want_removed);
}

static uint32_t
exists(struct fixture *f)
{
	/* Maintenance has its own reader: look anew. */
	store_reader_end(f->reader);
	return fixture_info(f, f->jo, "INBOX").exists;
}

static void
maintain(struct fixture *f, int64_t now_s)
{
	for (int i = 0; i < 100 && store_maintain(f->store, now_s); i++)
		continue;
	fixture_check(f);
}

enum { DAY_S = 24 * 3600 };

static const struct uid_range none = {0, 0};

static void
updating(struct fixture *f)
{
	struct pop3_record record;
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	deliver(f, 6);
	update(f, none, none, 0);
	uint64_t modseq = fixture_info(f, f->jo, "INBOX").modseq;
	update(f, none, (struct uid_range){1, 2}, 0);
	/* IMAP has nothing to say of it. */
	assert_int_equal(fixture_info(f, f->jo, "INBOX").modseq, modseq);
	assert_int_equal(set_one(f, 2, SLICE("own")), STATUS_OK);
	assert_int_equal(set_one(f, 3, SLICE("third")), STATUS_OK);
	update(f, (struct uid_range){4, 5}, (struct uid_range){3, 9}, 2);
	assert_int_equal(exists(f), 4);
	must_have(f, 2, SLICE("own"));
	must_have(f, 3, SLICE("third"));
	for (uint32_t uid = 1; uid <= 6; uid++) {
		enum status status =
		    pop3_record_get(f->reader, f->jo, inbox, uid, &record);
		assert_int_equal(
		    status, uid == 4 || uid == 5 ? STATUS_NOT_FOUND : STATUS_OK);
		assert_true(status != STATUS_OK || record.retrieved_s > 0);
	}
	store_reader_end(f->reader);
	/* The id goes, the time stays; the other way round with the message. */
	assert_int_equal(set_one(f, 2, SLICE_NULL), STATUS_OK);
	assert_int_equal(pop3_record_get(f->reader, f->jo, inbox, 2, &record), STATUS_OK);
	assert_true(record.retrieved_s > 0 && record.uidl.len == 0);
	store_reader_end(f->reader);
	expunge(f, 3);
	fixture_check(f);
	/* Gone already: no matter. */
	update(f, (struct uid_range){3, 5}, none, 0);
	struct pop3_update_op op = {.account = f->jo, .mailbox = 77};
	pop3_update_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_NOT_FOUND);
}

static void
set_rules(struct fixture *f, struct pop3_rule account, struct pop3_rule domain,
    struct pop3_rule server)
{
	struct directory_account_change change = {.set_pop3 = true, .pop3 = account};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	assert_int_equal(
	    directory_domain_set_pop3(f->reader, SLICE("example.org"), domain),
	    STATUS_OK);
	pop3_rule_default_set(f->store, server);
}

static void
retention(struct fixture *f)
{
	const struct pop3_rule by_default = {POP3_POLICY_DEFAULT, 0};
	const struct pop3_rule keep = {POP3_POLICY_KEEP, 0};
	const struct pop3_rule remove = {POP3_POLICY_DELETE, 0};
	const struct pop3_rule days_3 = {POP3_POLICY_DAYS, 3};
	const struct pop3_rule days_30 = {POP3_POLICY_DAYS, 30};
	int64_t now_s = clock_wall_s();
	uint64_t count;
	deliver(f, 5);
	update(f, none, (struct uid_range){1, 2}, 0);
	/* No rule of days anywhere: it stays. */
	maintain(f, now_s + 5 * DAY_S);
	set_rules(f, by_default, by_default, remove);
	maintain(f, now_s + 5 * DAY_S);
	set_rules(f, keep, days_3, days_3);
	maintain(f, now_s + 5 * DAY_S);
	set_rules(f, by_default, keep, days_3);
	maintain(f, now_s + 5 * DAY_S);
	/* Not yet. */
	set_rules(f, days_30, days_3, days_3);
	maintain(f, now_s + 5 * DAY_S);
	set_rules(f, days_3, keep, keep);
	maintain(f, now_s + 2 * DAY_S);
	assert_int_equal(exists(f), 5);
	/* What was fetched goes, the rest stays however old it is. */
	maintain(f, now_s + 3 * DAY_S + 10);
	assert_int_equal(exists(f), 3);
	maintain(f, now_s + 300 * DAY_S);
	assert_int_equal(exists(f), 3);
	/* The domain's rule, and the server's. */
	update(f, none, (struct uid_range){3, 3}, 0);
	set_rules(f, by_default, days_3, keep);
	maintain(f, now_s + 4 * DAY_S);
	assert_int_equal(exists(f), 2);
	update(f, none, (struct uid_range){4, 4}, 0);
	set_rules(f, by_default, by_default, days_3);
	maintain(f, now_s + 4 * DAY_S);
	assert_int_equal(exists(f), 1);
	/* Undelete brings it back, not fetched. */
	assert_int_equal(message_undelete(f->reader, f->jo, 0, &count), STATUS_OK);
	assert_true(count >= 1);
	uint32_t back = exists(f);
	maintain(f, now_s + 5 * DAY_S);
	assert_int_equal(exists(f), back);
}

/* More than one step. */
static void
retention_many(struct fixture *f)
{
	enum { MANY = 700 };
	struct append_message messages[MANY];
	struct body_draft *draft = fixture_draft(f, "many", 0);
	memset(messages, 0, sizeof(messages));
	for (size_t i = 0; i < MANY; i++)
		messages[i].draft = draft;
	struct append_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = SLICE("INBOX"),
	    .messages = messages,
	    .message_count = MANY};
	append_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	body_draft_unref(&draft);
	update(f, none, (struct uid_range){1, MANY - 1}, 0);
	set_rules(f, (struct pop3_rule){POP3_POLICY_DAYS, 1},
	    (struct pop3_rule){POP3_POLICY_DEFAULT, 0},
	    (struct pop3_rule){POP3_POLICY_KEEP, 0});
	maintain(f, clock_wall_s() + 2 * DAY_S);
	assert_int_equal(exists(f), 1);
}

/* Rules of an impossible kind, and records of all kinds, also old ones. */
static void
rules(struct fixture *f)
{
	struct directory_account_change change = {
	    .set_pop3 = true, .pop3 = {POP3_POLICY_DAYS, 0}
        };
	struct directory_account account;
	struct directory_domain domain;
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_INVALID);
	change.pop3 = (struct pop3_rule){POP3_POLICY_KEEP, 7};
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_INVALID);
	change.pop3 = (struct pop3_rule){POP3_POLICY_DAYS, POP3_DAYS_MAX + 1};
	assert_int_equal(
	    directory_domain_set_pop3(f->reader, SLICE("example.org"), change.pop3),
	    STATUS_INVALID);
	change.pop3.days = POP3_DAYS_MAX;
	assert_int_equal(
	    directory_domain_set_pop3(f->reader, SLICE("no.where"), change.pop3),
	    STATUS_NOT_FOUND);
	assert_int_equal(
	    directory_domain_set_pop3(f->reader, SLICE("Example.org"), change.pop3),
	    STATUS_OK);
	assert_int_equal(
	    directory_domain_find(f->reader, SLICE("example.org"), &domain), STATUS_OK);
	assert_int_equal(domain.pop3.days, POP3_DAYS_MAX);
	assert_int_equal(domain.accounts, 2);
	assert_int_equal(directory_account_by_id(f->reader, f->jo, &account), STATUS_OK);
	assert_int_equal(account.pop3_own.policy, POP3_POLICY_DEFAULT);
	assert_int_equal(account.pop3.days, POP3_DAYS_MAX);
	store_reader_end(f->reader);
	change.pop3.days = 2;
	assert_int_equal(
	    directory_account_set(f->reader, SLICE("jo@example.org"), &change),
	    STATUS_OK);
	assert_int_equal(directory_account_by_id(f->reader, f->jo, &account), STATUS_OK);
	assert_int_equal(account.pop3.days, 2);
	assert_int_equal(account.pop3_own.days, 2);
	assert_true(slice_equal(account.credential, SLICE("key")));
	store_reader_end(f->reader);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(setting)
CASE(listing)
CASE(appending)
CASE(leaving)
CASE(mailboxes)
CASE(kept)
CASE(updating)
CASE(retention)
CASE(retention_many)
CASE(rules)

static void
test_text(void **state)
{
	(void)state;
	text();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_text),
	    cmocka_unit_test(test_setting),
	    cmocka_unit_test(test_listing),
	    cmocka_unit_test(test_appending),
	    cmocka_unit_test(test_leaving),
	    cmocka_unit_test(test_mailboxes),
	    cmocka_unit_test(test_kept),
	    cmocka_unit_test(test_updating),
	    cmocka_unit_test(test_retention),
	    cmocka_unit_test(test_retention_many),
	    cmocka_unit_test(test_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
