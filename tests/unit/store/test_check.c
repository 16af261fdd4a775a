/*
 * Each kind of damage, written through the engine, is found under the number of the
 * invariant that it breaks; a store without damage has no problems.
 */
#include "unit/store/store_fixture.h"

#include "store/directory_int.h"
#include "store/mailbox_int.h"
#include "store/pop3_int.h"
#include "store/queue_int.h"

enum { PROBLEMS_MAX = 64 };

struct problems {
	size_t count;
	char text[PROBLEMS_MAX][256];
};

static void
note_problem(const char *text, void *arg)
{
	struct problems *problems = arg;
	if (problems->count < PROBLEMS_MAX)
		snprintf(problems->text[problems->count], sizeof(problems->text[0]), "%s",
		    text);
	problems->count++;
}

struct edit {
	struct slice key;
	struct slice value; /* null: delete */
};

static enum status
commit_edit(struct engine_txn *txn, void *arg)
{
	const struct edit *edit = arg;
	if (edit->value.ptr)
		engine_put(txn, edit->key, edit->value);
	else
		engine_del(txn, edit->key);
	return engine_txn_status(txn);
}

static void
edit(struct fixture *f, struct partition_id part, const struct key *key,
    struct slice value)
{
	struct edit e = {key_slice(key), value};
	assert_int_equal(store_commit_wait(f->reader, part, commit_edit, &e), STATUS_OK);
}

static void
must_find(struct fixture *f, int invariant)
{
	struct problems problems = {0};
	struct store_check_options options = {
	    .read_bodies = true, .problem = note_problem, .arg = &problems};
	struct store_check_totals totals;
	char want[40];
	bool found = false;
	snprintf(want, sizeof(want), "(invariant %d)", invariant);
	assert_int_equal(store_check(f->store, &options, &totals), STATUS_OK);
	assert_int_equal(totals.problems, problems.count);
	for (size_t i = 0; i < problems.count && i < PROBLEMS_MAX; i++)
		found = found || strstr(problems.text[i], want);
	if (!found)
		fail_msg("invariant %d not told; %zu problems, first: %s", invariant,
		    problems.count, problems.text[0]);
}

/* Puts `value` (null: deletes) at the key, wants it told, and puts the old value back. */
static void
damage(struct fixture *f, struct partition_id part, const struct key *key,
    struct slice value, int invariant)
{
	struct engine_txn *txn;
	struct slice old;
	assert_int_equal(engine_snap(f->reader->engine, part, &txn), STATUS_OK);
	enum status status = engine_get(txn, key_slice(key), &old);
	struct slice kept = status == STATUS_OK ? arena_copy(f->arena, old) : SLICE_NULL;
	store_reader_end(f->reader);
	edit(f, part, key, value);
	must_find(f, invariant);
	edit(f, part, key, kept);
	fixture_check(f);
}

/* The record with one byte counted up, as a copy. */
static struct slice
changed(struct fixture *f, struct partition_id part, const struct key *key, size_t at)
{
	struct engine_txn *txn;
	struct slice old;
	assert_int_equal(engine_snap(f->reader->engine, part, &txn), STATUS_OK);
	assert_int_equal(engine_get(txn, key_slice(key), &old), STATUS_OK);
	struct slice copy = arena_copy(f->arena, old);
	store_reader_end(f->reader);
	((char *)(uintptr_t)copy.ptr)[at]++;
	return copy;
}

static void
damage_byte(struct fixture *f, struct partition_id part, const struct key *key, size_t at,
    int invariant)
{
	damage(f, part, key, changed(f, part, key, at), invariant);
}

/* INBOX claims the use that "Archive" has. */
static struct slice
with_archive_use(struct fixture *f, struct partition_id part, const struct key *key)
{
	struct slice copy = changed(f, part, key, STATE_USE + 1);
	be16_put((char *)(uintptr_t)copy.ptr + STATE_USE, MAILBOX_USE_ARCHIVE);
	return copy;
}

/* The record with a quota of messages behind it, all or a part of it. */
static struct slice
with_quota(struct fixture *f, struct partition_id part, const struct key *key,
    uint64_t messages, size_t len)
{
	char record[ACCOUNT_SIZE_MAX] = {0};
	struct slice old = changed(f, part, key, 0);
	assert_int_equal(old.len, ACCOUNT_SIZE); /* without one, as it always was */
	memcpy(record, old.ptr, old.len);
	record[0]--;
	be64_put(record + ACCOUNT_QUOTA_MESSAGES, messages);
	return arena_copy(f->arena, slice_make(record, len));
}

static void
account_damage(struct fixture *f)
{
	struct partition_id part = partition_account(f->jo);
	struct slice version = SLICE("\1");
	struct key key;
	uint32_t uid;
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "one", 0, &uid), STATUS_OK);
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "two", 0, &uid), STATUS_OK);
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct uid_range range = {1, 1};
	struct expunge_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .mailbox = inbox,
	    .ranges = &range,
	    .range_count = 1};
	expunge_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	struct pop3_uidl_item item = {.uid = 2, .uidl = SLICE("old")};
	struct pop3_uidl_op uidl = {
	    .account = f->jo, .mailbox = inbox, .items = &item, .item_count = 1};
	pop3_uidl_op_submit(f->reader, &uidl);
	assert_int_equal(uidl.op.status, STATUS_OK);
	fixture_check(f);

	key_begin(&key, '!');
	damage(f, part, &key, version, 1);
	key_mailbox(&key, KEY_STATE, inbox);
	damage(f, part, &key, SLICE("junk"), 1);
	damage_byte(f, part, &key, STATE_EXISTS + 3, 3);
	damage_byte(f, part, &key, STATE_UNSEEN + 3, 3);
	damage_byte(f, part, &key, STATE_DELETED + 3, 3);
	damage_byte(f, part, &key, STATE_BYTES + 7, 3);
	damage_byte(f, part, &key, STATE_UIDVALIDITY, 8);
	damage_byte(f, part, &key, STATE_FIRST_RECENT, 4);
	damage_byte(f, part, &key, STATE_NAME, 2);
	damage(f, part, &key, with_archive_use(f, part, &key), 12);
	key_begin(&key, KEY_ACCOUNT);
	damage(f, part, &key, with_quota(f, part, &key, 0, ACCOUNT_SIZE_MAX), 1);
	damage(f, part, &key, with_quota(f, part, &key, 9, ACCOUNT_SIZE_MAX - 1), 1);
	edit(f, part, &key, with_quota(f, part, &key, 9, ACCOUNT_SIZE_MAX));
	fixture_check(f);
	key_name(&key, KEY_NAME, SLICE("Sent"));
	damage(f, part, &key, SLICE_NULL, 2);
	key_name(&key, KEY_NAME, SLICE("Other"));
	damage(f, part, &key, SLICE("\1\0\0\0\1"), 2);
	key_name(&key, KEY_NAME, SLICE("INBOX"));
	damage(f, part, &key, SLICE_NULL, 12);
	key_message(&key, KEY_MESSAGE, inbox, 2);
	damage_byte(f, part, &key, 0, 1);
	damage_byte(f, part, &key, MESSAGE_FLAGS, 3);
	damage_byte(f, part, &key, MESSAGE_KEYWORDS + 7, 11);
	damage_byte(f, part, &key, MESSAGE_MODSEQ, 4);
	damage_byte(f, part, &key, MESSAGE_MODSEQ + 7, 5);
	damage_byte(f, part, &key, MESSAGE_BYTES + 7, 13);
	damage_byte(f, part, &key, MESSAGE_BODY + 6, 13);
	damage_byte(f, part, &key, MESSAGE_EMAIL_ID, 8);
	struct slice message = changed(f, part, &key, 4);
	((char *)(uintptr_t)message.ptr)[4]--;
	damage(f, part, &key, SLICE_NULL, 5);
	key_message(&key, KEY_MESSAGE, inbox, 1);
	damage(f, part, &key, message, 9);
	damage(f, part, &key, message, 6);
	key_message(&key, KEY_MESSAGE, inbox, 9);
	damage(f, part, &key, message, 4);
	key_message(&key, KEY_MESSAGE, 77, 1);
	damage(f, part, &key, message, 10);
	key_mailbox(&key, KEY_KEYWORDS, 77);
	damage(f, part, &key, SLICE("\1\1\1a"), 10);
	key_mailbox(&key, KEY_KEYWORDS, inbox);
	damage(f, part, &key, SLICE("\1\2\1a"), 1);
	key_change(&key, inbox, 2, 9);
	damage(f, part, &key, SLICE("\1"), 5);
	damage(f, part, &key, SLICE("\2"), 6);
	damage(f, part, &key, SLICE("\7"), 1);
	key_change(&key, 77, 2, 9);
	damage(f, part, &key, SLICE("\1"), 10);
	key_change(&key, inbox, 3, 2);
	damage(f, part, &key, SLICE_NULL, 5);
	key_message(&key, KEY_EXPUNGED, inbox, 1);
	damage_byte(f, part, &key, 0, 1);
	damage_byte(f, part, &key, EXPUNGED_TIME + 7, 9);
	damage(f, part, &key, SLICE_NULL, 13);
	key_message(&key, KEY_POP3, inbox, 2);
	damage_byte(f, part, &key, POP3_UIDL_LEN, 1);
	damage_byte(f, part, &key, POP3_UIDL, 14);
	damage(f, part, &key, SLICE_NULL, 14);
	key_message(&key, KEY_POP3, inbox, 3);
	damage(f, part, &key, SLICE("\1\0\0\0\0\0\0\0\0\1x"), 14);
	pop3_key_retrieved(&key, 5, inbox, 2);
	damage(f, part, &key, SLICE("\1"), 14);
	damage(f, part, &key, SLICE("\7"), 1);
	key_message(&key, KEY_POP3, inbox, 2);
	damage_byte(f, part, &key, POP3_RETRIEVED + 7, 14);
	key_mailbox(&key, KEY_UIDL, inbox);
	key_bytes(&key, SLICE("old"));
	damage(f, part, &key, SLICE("x"), 1);
	damage_byte(f, part, &key, UIDL_UID + 3, 14);
	damage(f, part, &key, SLICE_NULL, 14);
	key_bytes(&key, SLICE("er"));
	damage(f, part, &key, SLICE("\1\0\0\0\2"), 14);
	key_begin(&key, KEY_ACCOUNT);
	damage_byte(f, part, &key, ACCOUNT_BYTES + 7, 7);
	damage_byte(f, part, &key, ACCOUNT_MESSAGES + 7, 7);
	damage_byte(f, part, &key, ACCOUNT_MAILBOXES + 3, 7);
	damage(f, part, &key, SLICE("x"), 1);
	damage(f, part, &key, SLICE_NULL, 24);
	key_name(&key, KEY_SUBSCRIBED, SLICE("INBOX"));
	damage(f, part, &key, SLICE("\7"), 1);
	/* Annotations: of no mailbox, changed after the last change, cut, without a name.
	 */
	key_metadata(&key, inbox, f->jo);
	damage(f, part, &key, SLICE("\1\0\0\0\0\0\0\0\1x"), 1);
	key_bytes(&key, SLICE("/private/comment"));
	damage(f, part, &key, SLICE("\1\0\0\0\0\0\0\0\1x"), 18);
	damage(f, part, &key, SLICE("\1\0\0\0\0\0\0\0"), 1);
	damage(f, part, &key, SLICE("\1\0\0\0\0\0\0\0\0x"), 1);
	key_metadata(&key, 77, f->jo);
	key_bytes(&key, SLICE("/private/comment"));
	damage(f, part, &key, SLICE("\1\0\0\0\0\0\0\0\1x"), 18);
	key_mailbox(&key, KEY_ACL, inbox);
	damage(f, part, &key, SLICE("\1\0\0"), 1);
	damage(f, part, &key, SLICE("\1\0\1\7\0AAAAAAAAAAAAAAAA\0\1"), 1);
	damage(f, part, &key, SLICE("\1\0\1\0\0AAAAAAAAAAAAAAAA\0\0"), 1);
	key_mailbox(&key, KEY_ACL, 77);
	damage(f, part, &key, SLICE("\1\0\1\0\0AAAAAAAAAAAAAAAA\0\1"), 19);
	key_begin(&key, KEY_METADATA_LAST);
	damage(f, part, &key, SLICE("\1\0\0\0\0\0\0\0\1x"), 1);
}

static void
directory_damage(struct fixture *f)
{
	struct partition_id part = partition_directory();
	struct slice to = SLICE("amy@example.org");
	struct directory_relay relay = {.host = SLICE("h")};
	struct key key;
	char id[16];
	assert_int_equal(
	    directory_alias_add(f->reader, SLICE("a@example.org"), &to, 1), STATUS_OK);
	assert_int_equal(directory_relay_add(f->reader, &relay, id), STATUS_OK);
	fixture_check(f);

	assert_true(key_domain(&key, SLICE("example.org")));
	damage_byte(f, part, &key, DOMAIN_ACCOUNTS + 3, 21);
	damage_byte(f, part, &key, DOMAIN_ALIASES + 3, 21);
	damage_byte(f, part, &key, DOMAIN_POSTMASTER + 5, 21);
	damage(f, part, &key, SLICE_NULL, 20);
	assert_true(key_address(&key, KEY_LOGIN, SLICE("jo"), SLICE("example.org")));
	damage_byte(f, part, &key, LOGIN_ID + 5, 20);
	damage(f, part, &key, SLICE("x"), 20);
	key_id(&key, KEY_LOGIN_BACK, f->jo);
	damage(f, part, &key, SLICE_NULL, 20);
	damage(f, part, &key, SLICE("\1x"), 20);
	assert_true(key_address(&key, KEY_ALIAS, SLICE("jo"), SLICE("example.org")));
	damage(f, part, &key, SLICE("\1\0\1\0\3a@b"), 22);
	assert_true(key_address(&key, KEY_ALIAS, SLICE("x"), SLICE("no.where")));
	damage(f, part, &key, SLICE("\1\0\1\0\3a@b"), 21);
	/* A secret where APOP is off, then where it is on: damaged, without its account,
	 * left over when the domain's flag goes; a flag that nobody knows. */
	assert_true(key_address(&key, KEY_APOP, SLICE("jo"), SLICE("example.org")));
	damage(f, part, &key, SLICE("\1secret"), 26);
	assert_int_equal(
	    directory_domain_set_apop(f->reader, SLICE("example.org"), true), STATUS_OK);
	edit(f, part, &key, SLICE("\1secret"));
	fixture_check(f);
	damage(f, part, &key, SLICE("\1"), 26);
	damage(f, part, &key, SLICE("\7secret"), 26);
	assert_true(key_domain(&key, SLICE("example.org")));
	damage_byte(f, part, &key, DOMAIN_SIZE, 21);
	struct slice flagged = changed(f, part, &key, 0);
	((char *)(uintptr_t)flagged.ptr)[0]--;
	damage(f, part, &key, slice_sub(flagged, 0, DOMAIN_SIZE), 26);
	assert_true(key_address(&key, KEY_APOP, SLICE("nobody"), SLICE("example.org")));
	damage(f, part, &key, SLICE("\1secret"), 26);
	key_id(&key, KEY_SHARE, f->jo);
	damage(f, part, &key, SLICE("\1"), 1);
	key_begin(&key, KEY_INSTALL);
	damage(f, part, &key, SLICE("\1"), 23);
	key_begin(&key, KEY_RELAY_BACK);
	key_u32(&key, 1);
	damage(f, part, &key, SLICE_NULL, 23);
	key_begin(&key, '!');
	damage(f, part, &key, SLICE("\1"), 1);
}

static void
queue_damage(struct fixture *f)
{
	struct partition_id part = partition_queue();
	struct queue_new_recipient to = {
	    .address = SLICE("x@example.com"), .original = SLICE("x@example.com")};
	struct queue_add_op op = {
	    .op = {.arena = f->arena          },
	    .message = { .created_s = 5,
		   .due_s = 7,
		   .recipients = &to,
		   .recipient_count = 1,
		   .tenant = SLICE("acme"),
		   .campaign = SLICE("spring")}
        };
	struct key key;
	id_make(op.message.id);
	op.message.draft = fixture_draft(f, "queued", 0);
	queue_add_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	body_draft_unref(&op.message.draft);
	fixture_check(f);

	key_queue_message(&key, op.message.id);
	damage_byte(f, part, &key, QMESSAGE_RECIPIENTS + 3, 30);
	damage_byte(f, part, &key, QMESSAGE_CREATED + 7, 33);
	damage_byte(f, part, &key, QMESSAGE_BYTES + 7, 13);
	damage_byte(f, part, &key, QMESSAGE_BODY + 6, 13);
	damage(f, part, &key, SLICE("x"), 1);
	damage(f, part, &key, SLICE_NULL, 30);
	key_queue_recipient(&key, op.message.id, 0);
	damage_byte(f, part, &key, QRECIPIENT_STATE, 31);
	damage_byte(f, part, &key, QRECIPIENT_DUE + 7, 31);
	damage(f, part, &key, SLICE("x"), 1);
	damage(f, part, &key, SLICE_NULL, 30);
	key_queue_due(&key, 7, op.message.id, 0);
	damage(f, part, &key, SLICE_NULL, 31);
	key_queue_due(&key, 8, op.message.id, 0);
	damage(f, part, &key, SLICE("\1"), 31);
	key_queue_oldest(&key, 5, op.message.id);
	damage(f, part, &key, SLICE_NULL, 33);
	key_queue_oldest(&key, 6, op.message.id);
	damage(f, part, &key, SLICE("\1"), 33);
	key_begin(&key, KEY_QCOUNTS);
	damage_byte(f, part, &key, COUNTS_MESSAGES + 7, 32);
	damage_byte(f, part, &key, COUNTS_HELD + 7, 32);
	key_begin(&key, '!');
	damage(f, part, &key, SLICE("\1"), 1);
	key_queue_tenant(&key, SLICE("acme"), SLICE(""));
	damage_byte(f, part, &key, COUNTS_MESSAGES + 7, 35);
	damage_byte(f, part, &key, COUNTS_RECIPIENTS + 7, 35);
	damage(f, part, &key, SLICE_NULL, 35);
	damage(f, part, &key, SLICE("x"), 1);
	key_queue_tenant(&key, SLICE("acme"), SLICE("spring"));
	damage_byte(f, part, &key, COUNTS_HELD + 7, 35);
	struct slice counts = changed(f, part, &key, COUNTS_HELD + 7);
	key_queue_tenant(&key, SLICE("acme"), SLICE("autumn"));
	damage(f, part, &key, counts, 35);
	key_begin(&key, KEY_QTENANT);
	damage(f, part, &key, counts, 1);
	key_begin(&key, KEY_QPAUSED_BY);
	damage(f, part, &key, SLICE("\1"), 1);
	key_begin(&key, KEY_TENANT_MEMBER);
	key_bytes(&key, SLICE("acme.test"));
	damage(f, part, &key, SLICE("\1\0\4acme"), 34);
	damage(f, part, &key, SLICE("\1\0\4ac e"), 1);
	key_begin(&key, KEY_TENANT);
	key_bytes(&key, SLICE("acme"));
	damage(f, part, &key, SLICE("\1"), 1);
}

/* An account partition that nothing leads to; and one that store_maintain then sweeps. */
static void
orphan(struct fixture *f)
{
	struct key key;
	struct slice account;
	struct partition_id jo = partition_account(f->jo);
	struct account_id other = f->jo;
	other.v[7] ^= 1;
	key_begin(&key, KEY_ACCOUNT);
	account = changed(f, jo, &key, ACCOUNT_CREATED);
	memset((char *)(uintptr_t)account.ptr + ACCOUNT_CREATED, 0, 8);
	edit(f, partition_account(other), &key, account);
	must_find(f, 24);
	for (int i = 0; i < 10; i++)
		(void)store_maintain(f->store, 2000000000);
	fixture_check(f);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		struct fixture f;                                                        \
		(void)state;                                                             \
		for (int backend = 0; backend < 2; backend++) {                          \
			fixture_init(&f, backend);                                       \
			name(&f);                                                        \
			fixture_fini(&f);                                                \
		}                                                                        \
	}
CASE(account_damage)
CASE(directory_damage)
CASE(queue_damage)
CASE(orphan)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_account_damage),
	    cmocka_unit_test(test_directory_damage),
	    cmocka_unit_test(test_queue_damage),
	    cmocka_unit_test(test_orphan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
