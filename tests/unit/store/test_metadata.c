/*
 * Annotations: set, replace, remove, all or none, limits, with a mailbox's rename and
 * deletion; each over every backend, with the store's check at the end.
 */
#include "unit/store/store_fixture.h"

#include "store/metadata.h"

static const struct account_id shared;

static enum status
set(struct fixture *f, uint32_t mailbox, const struct metadata_change *changes,
    size_t count)
{
	struct metadata_op op = {
	    .op.arena = f->arena,
	    .account = f->jo,
	    .mailbox = mailbox,
	    .user = f->jo,
	    .changes = changes,
	    .count = count,
	};
	metadata_op_submit(f->reader, &op);
	return op.op.status;
}

static enum status
set_one(struct fixture *f, uint32_t mailbox, const char *entry, const char *value)
{
	struct metadata_change change = {
	    .shared = entry[1] == 's',
	    .entry = slice_from_cstr(entry),
	    .value = slice_from_cstr(value),
	};
	return set(f, mailbox, &change, 1);
}

/* The value as a C string of the arena, or null. */
static const char *
get(struct fixture *f, uint32_t mailbox, const char *entry)
{
	struct slice value;
	enum status status = metadata_get(f->reader, f->jo, mailbox,
	    entry[1] == 's' ? shared : f->jo, slice_from_cstr(entry), &value);
	const char *text = NULL;
	if (status == STATUS_OK)
		text = arena_format(f->arena, "%.*s", SLICE_ARG(value)).ptr;
	else
		assert_int_equal(status, STATUS_NOT_FOUND);
	store_reader_end(f->reader);
	return text;
}

static void
set_and_remove(struct fixture *f)
{
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	uint64_t before, after;

	assert_null(get(f, inbox, "/private/comment"));
	assert_int_equal(set_one(f, inbox, "/private/comment", "mine"), STATUS_OK);
	assert_int_equal(set_one(f, inbox, "/shared/comment", "ours"), STATUS_OK);
	assert_int_equal(
	    set_one(f, METADATA_ACCOUNT, "/private/vendor/a/b", "all"), STATUS_OK);
	assert_string_equal(get(f, inbox, "/private/comment"), "mine");
	assert_string_equal(get(f, inbox, "/shared/comment"), "ours");
	assert_string_equal(get(f, METADATA_ACCOUNT, "/private/vendor/a/b"), "all");
	assert_null(get(f, fixture_box(f, f->jo, "Sent"), "/shared/comment"));

	assert_int_equal(metadata_last_change(f->reader, f->jo, &before), STATUS_OK);
	store_reader_end(f->reader);
	/* An empty value is one. */
	assert_int_equal(set_one(f, inbox, "/private/comment", ""), STATUS_OK);
	assert_string_equal(get(f, inbox, "/private/comment"), "");
	assert_int_equal(set_one(f, inbox, "/private/comment", NULL), STATUS_OK);
	assert_int_equal(set_one(f, inbox, "/private/comment", NULL), STATUS_OK);
	assert_null(get(f, inbox, "/private/comment"));
	assert_int_equal(metadata_last_change(f->reader, f->jo, &after), STATUS_OK);
	assert_true(after == before + 3);
	assert_int_equal(set_one(f, 999, "/private/comment", "x"), STATUS_NOT_FOUND);
}

static void
goes_with_mailbox(struct fixture *f)
{
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "a/b", NULL), STATUS_OK);
	uint32_t number = fixture_box(f, f->jo, "a/b");
	assert_int_equal(set_one(f, number, "/shared/comment", "b"), STATUS_OK);
	assert_int_equal(fixture_mailbox(f, f->jo, MAILBOX_RENAME, "a", "c"), STATUS_OK);
	assert_string_equal(get(f, fixture_box(f, f->jo, "c/b"), "/shared/comment"), "b");
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_DELETE, "c/b", NULL), STATUS_OK);
	assert_null(get(f, number, "/shared/comment"));
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_CREATE, "c/b", NULL), STATUS_OK);
	assert_null(get(f, fixture_box(f, f->jo, "c/b"), "/shared/comment"));

	/* INBOX keeps its own when it is renamed (RFC 5464 section 4.1). */
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	assert_int_equal(set_one(f, inbox, "/private/comment", "in"), STATUS_OK);
	assert_int_equal(set_one(f, inbox, "/shared/comment", "out"), STATUS_OK);
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_RENAME, "INBOX", "old"), STATUS_OK);
	uint32_t old = fixture_box(f, f->jo, "old");
	assert_string_equal(get(f, inbox, "/private/comment"), "in");
	assert_string_equal(get(f, old, "/private/comment"), "in");
	assert_string_equal(get(f, old, "/shared/comment"), "out");
}

static void
limits(struct fixture *f)
{
	static char large[METADATA_VALUE_MAX + 1];
	uint32_t inbox = fixture_box(f, f->jo, "INBOX");
	char name[METADATA_COUNT_MAX + 1][32];
	struct metadata_change changes[METADATA_COUNT_MAX + 1];

	memset(large, 'x', sizeof(large));
	struct metadata_change one = {
	    .entry = SLICE("/private/a"), .value = slice_make(large, sizeof(large))};
	assert_int_equal(set(f, inbox, &one, 1), STATUS_INVALID);
	one.value.len--;
	assert_int_equal(set(f, inbox, &one, 1), STATUS_OK);
	one.entry = slice_make(large, METADATA_ENTRY_MAX + 1);
	assert_int_equal(set(f, inbox, &one, 1), STATUS_INVALID);

	for (size_t i = 0; i <= METADATA_COUNT_MAX; i++) {
		snprintf(name[i], sizeof(name[i]), "/private/n%03zu", i);
		changes[i] = (struct metadata_change){
		    .entry = slice_from_cstr(name[i]), .value = SLICE("v")};
	}
	/* With "/private/a" that is one too many: nothing is set. */
	assert_int_equal(set(f, inbox, changes, METADATA_COUNT_MAX), STATUS_LIMIT);
	assert_null(get(f, inbox, "/private/n000"));
	assert_int_equal(set(f, inbox, changes, METADATA_COUNT_MAX - 1), STATUS_OK);
	assert_int_equal(set_one(f, inbox, "/private/more", "v"), STATUS_LIMIT);
	assert_int_equal(set_one(f, inbox, "/shared/more", "v"), STATUS_OK);
	/* Replacing and exchanging one for another goes. */
	assert_int_equal(set_one(f, inbox, "/private/n000", "longer"), STATUS_OK);
	struct metadata_change swap[] = {
	    {.entry = SLICE("/private/more"), .value = SLICE("v")},
	    {.entry = SLICE("/private/a"),    .value = SLICE_NULL},
	};
	assert_int_equal(set(f, inbox, swap, 2), STATUS_OK);
	/* The same one twice counts once, the last wins. */
	struct metadata_change twice[] = {
	    {.entry = SLICE("/private/more"), .value = SLICE("1")},
	    {.entry = SLICE("/private/more"), .value = SLICE("2")},
	};
	assert_int_equal(set(f, inbox, twice, 2), STATUS_OK);
	assert_string_equal(get(f, inbox, "/private/more"), "2");
}

/* All bytes of the account together: large values in mailbox after mailbox. */
static void
account_limit(struct fixture *f)
{
	static char large[METADATA_VALUE_MAX];
	static const char *const boxes[] = {
	    "INBOX", "Sent", "Drafts", "Junk", "Trash", "Archive"};
	size_t set_count = 0;

	memset(large, 'x', sizeof(large));
	for (size_t i = 0; i < sizeof(boxes) / sizeof(boxes[0]); i++) {
		uint32_t number = fixture_box(f, f->jo, boxes[i]);
		for (size_t k = 0; k < METADATA_COUNT_MAX; k++) {
			char name[32];
			snprintf(name, sizeof(name), "/private/n%03zu", k);
			struct metadata_change one = {.entry = slice_from_cstr(name),
			    .value = slice_make(large, sizeof(large))};
			enum status status = set(f, number, &one, 1);
			if (status == STATUS_LIMIT)
				goto full;
			assert_int_equal(status, STATUS_OK);
			set_count++;
		}
	}
full:
	assert_true(set_count * sizeof(large) <= METADATA_BYTES_MAX);
	assert_true((set_count + 2) * sizeof(large) > METADATA_BYTES_MAX);
	/* No copies of INBOX's either; what is removed makes room. */
	assert_int_equal(
	    fixture_mailbox(f, f->jo, MAILBOX_RENAME, "INBOX", "x"), STATUS_LIMIT);
	assert_int_equal(
	    set_one(f, fixture_box(f, f->jo, "INBOX"), "/private/n000", NULL), STATUS_OK);
	assert_int_equal(
	    set_one(f, fixture_box(f, f->jo, "INBOX"), "/private/n000", "v"), STATUS_OK);
}

static void
uses(struct fixture *f)
{
	struct metadata_op op = {.op.arena = f->arena,
	    .account = f->jo,
	    .mailbox = fixture_box(f, f->jo, "Drafts"),
	    .user = f->jo,
	    .set_use = true,
	    .use = MAILBOX_USE_SENT};
	struct mailbox_info info;
	metadata_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_EXISTS);
	op.use = MAILBOX_USE_NONE;
	metadata_op_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	assert_int_equal(
	    mailbox_find(f->reader, f->jo, SLICE("Drafts"), &info), STATUS_OK);
	assert_int_equal(info.use, MAILBOX_USE_NONE);
	store_reader_end(f->reader);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(set_and_remove)
CASE(goes_with_mailbox)
CASE(limits)
CASE(account_limit)
CASE(uses)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_set_and_remove),
	    cmocka_unit_test(test_goes_with_mailbox),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_account_limit),
	    cmocka_unit_test(test_uses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
