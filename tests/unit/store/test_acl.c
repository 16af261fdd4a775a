/*
 * Access control lists: letters, what a list gives, entries set, added to, taken away,
 * inherited and forgotten, and who shares with whom; over every backend, with the store's
 * check at the end.
 */
#include "unit/store/store_fixture.h"

#include "store/acl.h"

static void
letters(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint16_t rights;
		const char *again;
	} cases[] = {
	    {"",            0,		       ""             },
	    {"lr",          ACL_LOOKUP | ACL_READ,   "lr"           },
	    {"rl",          ACL_LOOKUP | ACL_READ,   "lr"           },
	    {"d",           ACL_TRASH | ACL_EXPUNGE, "ted"          },
	    {"c",           ACL_CREATE | ACL_DELETE, "kxc"          },
	    {"k",           ACL_CREATE,              "kc"           },
	    {"lrswipkxtea", ACL_ALL,                 "lrswipkxteacd"},
	};
	static const char *const bad[] = {"L", "q", "l r", "0", "lr-"};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[ACL_RIGHTS_TEXT_MAX];
		uint16_t rights;
		assert_true(acl_rights_read(slice_from_cstr(cases[i].text), &rights));
		assert_int_equal(rights, cases[i].rights);
		acl_rights_write(rights, text);
		assert_string_equal(text, cases[i].again);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint16_t rights;
		assert_false(acl_rights_read(slice_from_cstr(bad[i]), &rights));
	}
	uint16_t rights;
	assert_false(acl_rights_read(slice_make("l\0r", 3), &rights));
}

/* What entries give together: positive ones add up, negative ones win. */
static void
together(void **state)
{
	(void)state;
	struct account_id jo = {"A1"}, amy = {"A2"};
	struct acl acl = {
	    .count = 4,
	    .at =
		{
		     {.who = ACL_WHO_ANYONE, .rights = ACL_LOOKUP | ACL_READ},
		     {.who = ACL_WHO_ACCOUNT, .id = jo, .rights = ACL_WRITE | ACL_SEEN},
		     {.who = ACL_WHO_ACCOUNT,
			.id = jo,
			.negative = true,
			.rights = ACL_SEEN},
		     {.who = ACL_WHO_AUTHENTICATED, .negative = true, .rights = ACL_READ},
		     },
	};
	assert_int_equal(acl_rights(&acl, jo, true), ACL_LOOKUP | ACL_WRITE);
	assert_int_equal(acl_rights(&acl, jo, false), ACL_WRITE);
	assert_int_equal(acl_rights(&acl, amy, true), ACL_LOOKUP);
	assert_int_equal(acl_rights(&acl, amy, false), 0);
}

static enum status
change(struct fixture *f, uint32_t mailbox, enum acl_mode mode, struct acl_entry entry)
{
	struct acl_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .domain = SLICE("Example.org"),
	    .mailbox = mailbox,
	    .mode = mode,
	    .entry = entry};
	acl_op_submit(f->reader, &op);
	return op.op.status;
}

static uint16_t
rights_of(struct fixture *f, const char *name, struct account_id user)
{
	struct acl acl;
	assert_int_equal(
	    acl_get(f->reader, f->jo, fixture_box(f, f->jo, name), &acl), STATUS_OK);
	store_reader_end(f->reader);
	return acl_rights(&acl, user, true);
}

static bool
count_sharer(struct account_id owner, void *arg)
{
	struct fixture *f = ((void **)arg)[0];
	assert_memory_equal(owner.v, f->jo.v, sizeof(owner.v));
	++*(size_t *)((void **)arg)[1];
	return true;
}

static size_t
sharers(struct fixture *f, struct account_id user, const char *domain)
{
	size_t count = 0;
	void *arg[] = {f, &count};
	assert_int_equal(
	    acl_sharers_each(f->reader, user, slice_from_cstr(domain), count_sharer, arg),
	    STATUS_OK);
	store_reader_end(f->reader);
	return count;
}

static void
entries(struct fixture *f)
{
	struct acl_entry amy = {.who = ACL_WHO_ACCOUNT, .id = f->amy, .rights = ACL_READ};
	struct acl_entry all = {.who = ACL_WHO_ANYONE, .rights = ACL_LOOKUP};
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");

	assert_int_equal(sharers(f, f->amy, "example.org"), 0);
	assert_int_equal(change(f, inbox, ACL_MODE_ADD, amy), STATUS_OK);
	assert_int_equal(sharers(f, f->amy, "example.org"), 1);
	assert_int_equal(change(f, inbox, ACL_MODE_ADD, all), STATUS_OK);
	/* Once, though by two ways; the others of the domain by one. */
	assert_int_equal(sharers(f, f->amy, "EXAMPLE.org"), 1);
	assert_int_equal(sharers(f, f->jo, "example.org"), 1);
	assert_int_equal(sharers(f, f->jo, "example.net"), 0);
	assert_int_equal(rights_of(f, "INBOX", f->amy), ACL_READ | ACL_LOOKUP);
	amy.rights = ACL_WRITE;
	assert_int_equal(change(f, inbox, ACL_MODE_ADD, amy), STATUS_OK);
	amy.rights = ACL_READ;
	assert_int_equal(change(f, inbox, ACL_MODE_REMOVE, amy), STATUS_OK);
	assert_int_equal(rights_of(f, "INBOX", f->amy), ACL_WRITE | ACL_LOOKUP);
	amy.rights = 0;
	assert_int_equal(change(f, inbox, ACL_MODE_SET, amy), STATUS_OK);
	assert_int_equal(change(f, inbox, ACL_MODE_SET, amy), STATUS_OK);
	assert_int_equal(rights_of(f, "INBOX", f->amy), ACL_LOOKUP);
	amy.rights = ACL_ALL + 1;
	assert_int_equal(change(f, inbox, ACL_MODE_SET, amy), STATUS_INVALID);
	amy.rights = ACL_READ;
	assert_int_equal(change(f, 999, ACL_MODE_SET, amy), STATUS_NOT_FOUND);
}

static void
with_the_mailbox(struct fixture *f)
{
	struct acl_entry amy = {.who = ACL_WHO_ACCOUNT, .id = f->amy, .rights = ACL_READ};
	assert_int_equal(fixture_mailbox(f, f->jo, MAILBOX_CREATE, "a", NULL), STATUS_OK);
	assert_int_equal(
	    change(f, fixture_box(f, f->jo, "a"), ACL_MODE_SET, amy), STATUS_OK);
	/* Also through a parent that is made on the way. */
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "a/b/c", NULL), STATUS_OK);
	assert_int_equal(rights_of(f, "a/b/c", f->amy), ACL_READ);
	assert_int_equal(fixture_mailbox(f, f->jo, MAILBOX_RENAME, "a", "z"), STATUS_OK);
	assert_int_equal(rights_of(f, "z/b/c", f->amy), ACL_READ);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "z/b/c", NULL), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "other", NULL), STATUS_OK);
	assert_int_equal(rights_of(f, "other", f->amy), 0);
}

static void
limit(struct fixture *f)
{
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	struct acl_entry one = {.who = ACL_WHO_ACCOUNT, .rights = ACL_READ};
	for (unsigned i = 0; i < ACL_ENTRIES_MAX; i++) {
		one.id = (struct account_id){
		    {'A', (unsigned char)i}
                };
		assert_int_equal(change(f, inbox, ACL_MODE_SET, one), STATUS_OK);
	}
	one.negative = true;
	assert_int_equal(change(f, inbox, ACL_MODE_SET, one), STATUS_LIMIT);
	one.negative = false;
	one.rights = ACL_ALL;
	assert_int_equal(change(f, inbox, ACL_MODE_SET, one), STATUS_OK);
}

static void
forgotten(struct fixture *f)
{
	struct acl_entry amy = {.who = ACL_WHO_ACCOUNT, .id = f->amy, .rights = ACL_READ};
	struct acl acl;
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	assert_int_equal(change(f, inbox, ACL_MODE_SET, amy), STATUS_OK);
	amy.negative = true;
	assert_int_equal(change(f, inbox, ACL_MODE_SET, amy), STATUS_OK);
	assert_int_equal(
	    directory_account_remove(f->reader, SLICE("amy@example.org")), STATUS_OK);
	assert_int_equal(acl_get(f->reader, f->jo, inbox, &acl), STATUS_OK);
	assert_int_equal(acl.count, 0);
	store_reader_end(f->reader);
	assert_int_equal(sharers(f, f->amy, "example.org"), 0);
	/* The owner goes: nothing leads to it any more. */
	amy = (struct acl_entry){.who = ACL_WHO_ANYONE, .rights = ACL_READ};
	assert_int_equal(change(f, inbox, ACL_MODE_SET, amy), STATUS_OK);
	assert_int_equal(
	    directory_account_remove(f->reader, SLICE("jo@example.org")), STATUS_OK);
	assert_int_equal(sharers(f, f->amy, "example.org"), 0);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(entries)
CASE(with_the_mailbox)
CASE(limit)
CASE(forgotten)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(letters),
	    cmocka_unit_test(together),
	    cmocka_unit_test(test_entries),
	    cmocka_unit_test(test_with_the_mailbox),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
