/*
 * Mailbox names and mailboxes over every backend: the rules of names, listing with
 * parents that are not there, rename of trees, uses, subscriptions, recent.
 */
#include "unit/store/store_fixture.h"

#include "store/mailbox_int.h"

static void
names(void **state)
{
	static const struct {
		const char *in;
		enum status status;
		const char *out;
	} rows[] = {
	    {"inbox",				     STATUS_OK,      "INBOX"       },
	    {"InBox/a",				   STATUS_OK,      "INBOX/a"     },
	    {"inboxes",				   STATUS_OK,      "inboxes"     },
	    {"a/inbox",				   STATUS_OK,      "a/inbox"     },
	    {"a/b",				       STATUS_OK,      "a/b"         },
	    {"",					  STATUS_INVALID, NULL          },
	    {"/",					 STATUS_INVALID, NULL          },
	    {"a/",					STATUS_INVALID, NULL          },
	    {"/a",					STATUS_INVALID, NULL          },
	    {"a//b",				      STATUS_INVALID, NULL          },
	    {"a\nb",				      STATUS_INVALID, NULL          },
	    {"a\x7f",				     STATUS_INVALID, NULL          },
	    {"a\xc2\x85",				 STATUS_INVALID, NULL          },
	    {"a\xe2\x80\xa8",                             STATUS_INVALID, NULL          },
	    {"a\xff",				     STATUS_INVALID, NULL          },
	    {"e\xcc\x81",				 STATUS_OK,      "\xc3\xa9"    },
	    {"\xe2\x82\xac",			      STATUS_OK,      "\xe2\x82\xac"},
	    {"1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0",   STATUS_OK,
             "1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0"                                  },
	    {"1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1", STATUS_LIMIT,   NULL          },
	};
	struct arena *arena = arena_new(1 << 20);
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice out;
		assert_int_equal(
		    mailbox_name_check(slice_from_cstr(rows[i].in), arena, &out),
		    rows[i].status);
		if (rows[i].out)
			assert_true(slice_equal(out, slice_from_cstr(rows[i].out)));
	}
	char longest[4 * MAILBOX_NAME_MAX + 2];
	struct slice out;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(
	    mailbox_name_check(slice_make(longest, MAILBOX_NAME_MAX), arena, &out),
	    STATUS_OK);
	assert_int_equal(
	    mailbox_name_check(slice_make(longest, MAILBOX_NAME_MAX + 1), arena, &out),
	    STATUS_LIMIT);
	assert_int_equal(
	    mailbox_name_check(slice_make(longest, sizeof(longest)), arena, &out),
	    STATUS_LIMIT);
	arena_free(&arena);
}

/* The list as text: "name" with + has children, - no mailbox, * subscribed. */
static bool
note_info(const struct mailbox_info *info, void *arg)
{
	struct buf *out = arg;
	buf_append(out, info->name);
	buf_append_cstr(out, info->has_children ? "+" : "");
	buf_append_cstr(out, info->exists_not ? "-" : "");
	buf_append_cstr(out, info->subscribed ? "*" : "");
	buf_append_byte(out, ' ');
	return true;
}

static void
list_is(struct fixture *f, const char *want)
{
	AUTO_BUF struct buf out;
	buf_init(&out, 1 << 20);
	assert_int_equal(mailbox_each(f->reader, f->jo, note_info, &out), STATUS_OK);
	if (!slice_equal(buf_slice(&out), slice_from_cstr(want)))
		fail_msg("list is: %.*s", SLICE_ARG(buf_slice(&out)));
}

static void
tree(struct fixture *f)
{
	for (const char *const *name = (const char *const[]){"Archive", "Drafts", "Junk",
		 "Sent", "Trash", NULL};
	     *name; name++) {
		assert_int_equal(
		    fixture_mailbox(f, f->jo, MAILBOX_DELETE, *name, NULL), STATUS_OK);
		assert_int_equal(
		    fixture_mailbox(f, f->jo, MAILBOX_UNSUBSCRIBE, *name, NULL),
		    STATUS_OK);
	}
	list_is(f, "INBOX* ");
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "a/b/c", NULL), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "a-z", NULL), STATUS_OK);
	assert_int_equal(fixture_mailbox(f, f->jo, MAILBOX_CREATE, "A", NULL), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "INBOX/x", NULL), STATUS_OK);
	list_is(f, "INBOX+* A INBOX/x a+ a-z a/b+ a/b/c ");
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "a/b", NULL), STATUS_EXISTS);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "INBOX", NULL), STATUS_DENIED);
	assert_int_equal(fixture_mailbox(f, f->jo, MAILBOX_DELETE, "a", NULL), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "a/b", NULL), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "a/b", NULL), STATUS_NOT_FOUND);
	list_is(f, "INBOX+* A INBOX/x a+- a-z a/b+- a/b/c ");
	assert_int_equal(fixture_box(f, f->jo, "a/b"), 0);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_SUBSCRIBE, "x/y", NULL), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_SUBSCRIBE, "a/b", NULL), STATUS_OK);
	list_is(f, "INBOX+* A INBOX/x a+- a-z a/b+-* a/b/c x/y-* ");
	/* Creating fills the gap again. */
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "a/b/d", NULL), STATUS_OK);
	list_is(f, "INBOX+* A INBOX/x a+ a-z a/b+* a/b/c a/b/d x/y-* ");
}

static void
renaming(struct fixture *f)
{
	uint32_t uid;
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "a/b/c", NULL), STATUS_OK);
	assert_int_equal(fixture_deliver(f, f->jo, "a/b", "x", 0, &uid), STATUS_OK);
	struct mailbox_info before = fixture_info(f, f->jo, "a/b");
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_RENAME, "a", "a/b/q"), STATUS_INVALID);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_RENAME, "a", "Sent"), STATUS_EXISTS);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_RENAME, "no", "new"), STATUS_NOT_FOUND);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_RENAME, "a", "n/e/w"), STATUS_OK);
	struct mailbox_info after = fixture_info(f, f->jo, "n/e/w/b");
	assert_int_equal(after.number, before.number);
	assert_int_equal(after.uidvalidity, before.uidvalidity);
	assert_int_equal(after.exists, 1);
	assert_true(fixture_box(f, f->jo, "n/e/w/b/c") != 0);
	assert_true(fixture_box(f, f->jo, "n/e") != 0);
	assert_int_equal(fixture_box(f, f->jo, "a/b"), 0);
	/* A child that would land on one that is there. */
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "t/b", NULL), STATUS_OK);
	assert_int_equal(fixture_mailbox(f, f->jo, MAILBOX_DELETE, "t", NULL), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_RENAME, "n/e/w", "t"), STATUS_EXISTS);
	/* Too deep below. */
	assert_int_equal(fixture_mailbox(f, f->jo, MAILBOX_RENAME, "n",
			     "1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8"),
	    STATUS_LIMIT);
	/* INBOX gives its messages away and stays. */
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "x", 0, &uid), STATUS_OK);
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_RENAME, "INBOX", "old"), STATUS_OK);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").exists, 0);
	assert_int_equal(fixture_box(f, f->jo, "INBOX"), inbox);
	assert_int_equal(fixture_info(f, f->jo, "old").exists, 1);
}

static void
uses(struct fixture *f)
{
	struct mailbox_op op = {.op = {.arena = f->arena},
	    .account = f->jo,
	    .change = MAILBOX_CREATE,
	    .name = SLICE("Spam"),
	    .use = MAILBOX_USE_JUNK};
	mailbox_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_EXISTS);
	op.use = MAILBOX_USE_FLAGGED;
	mailbox_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(op.out.use, MAILBOX_USE_FLAGGED);
	op.change = MAILBOX_SET_USE;
	op.use = MAILBOX_USE_SENT;
	mailbox_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_EXISTS);
	op.use = MAILBOX_USE_ALL;
	mailbox_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(fixture_info(f, f->jo, "Spam").use, MAILBOX_USE_ALL);
	op.name = SLICE("");
	mailbox_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_INVALID);
}

static void
never_again(struct fixture *f)
{
	uint32_t number = 0;
	uint32_t uidvalidity = 0;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(
		    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "x", NULL), STATUS_OK);
		struct mailbox_info info = fixture_info(f, f->jo, "x");
		assert_true(info.number > number && info.uidvalidity > uidvalidity);
		number = info.number;
		uidvalidity = info.uidvalidity;
		assert_int_equal(
		    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "x", NULL), STATUS_OK);
	}
}

static void
recent(struct fixture *f)
{
	uint32_t uid;
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    fixture_deliver(f, f->jo, NULL, "x", 0, &uid), STATUS_OK);
	struct mailbox_recent_op op = {
	    .account = f->jo, .mailbox = fixture_box(f, f->jo, "INBOX"), .uidnext = 3};
	mailbox_recent_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(op.out_first_recent, 1);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").first_recent, 3);
	op.uidnext = 2; /* never back */
	mailbox_recent_submit(f->reader, &op);
	assert_int_equal(op.out_first_recent, 3);
	op.uidnext = UINT32_MAX; /* never beyond */
	mailbox_recent_submit(f->reader, &op);
	assert_int_equal(fixture_info(f, f->jo, "INBOX").first_recent, 4);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(tree)
CASE(renaming)
CASE(uses)
CASE(never_again)
CASE(recent)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names),
	    cmocka_unit_test(test_tree),
	    cmocka_unit_test(test_renaming),
	    cmocka_unit_test(test_uses),
	    cmocka_unit_test(test_never_again),
	    cmocka_unit_test(test_recent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
