/*
 * Tenants over every backend: made, changed and removed as a whole or not at all; members
 * belong to one; names and their limits; whose mail a submitted message is.
 */
#include "store/tenant.h"

#include "store/store_codec_int.h"
#include "unit/store/store_fixture.h"

static enum status
make(struct fixture *f, const char *name, const char *member)
{
	struct slice members[] = {slice_from_cstr(member)};
	struct tenant_change change = {
	    .create = true,
	    .to = {.name = slice_from_cstr(name), .created_s = 7},
	    .add = members,
	    .add_count = 1,
	};
	enum status status = tenant_change(f->reader, &change);
	store_reader_end(f->reader);
	return status;
}

static bool
whose_is(struct fixture *f, const char *member, const char *tenant)
{
	struct slice name = SLICE("");
	enum status status =
	    tenant_member_find(f->reader, slice_from_cstr(member), &name);
	bool is = tenant
	              ? status == STATUS_OK && slice_equal(name, slice_from_cstr(tenant))
	              : status == STATUS_NOT_FOUND;
	store_reader_end(f->reader);
	return is;
}

static bool
tenant_note(const struct tenant *tenant, void *arg)
{
	buf_append_format(arg, "%.*s;", SLICE_ARG(tenant->name));
	return true;
}

static bool
member_note(struct slice member, struct slice tenant, void *arg)
{
	buf_append_format(arg, "%.*s=%.*s;", SLICE_ARG(member), SLICE_ARG(tenant));
	return true;
}

static void
change_all(struct fixture *f)
{
	struct tenant got;
	struct buf text AUTO_BUF;
	buf_init(&text, 1000);
	assert_int_equal(make(f, "Acme", "acme.test"), STATUS_OK);
	assert_int_equal(make(f, "acme", "other.test"), STATUS_EXISTS);
	assert_true(whose_is(f, "other.test", NULL));
	/* Its member is somebody else's: nothing is made. */
	assert_int_equal(make(f, "bulk", "ACME.test"), STATUS_EXISTS);
	assert_int_equal(tenant_get(f->reader, SLICE("bulk"), &got), STATUS_NOT_FOUND);
	store_reader_end(f->reader);
	assert_int_equal(make(f, "bulk", "Jo@bulk.test"), STATUS_OK);
	struct slice add[] = {SLICE("new.test"), SLICE("Ann@far.test")};
	struct slice gone[] = {SLICE("acme.TEST")};
	struct tenant_change change = {
	    .fields = TENANT_SET_MAX_QUEUED | TENANT_SET_POOL,
	    .to = {.name = SLICE("ACME"),
		   .max_queued = 12,
		   .pool = SLICE("out"),
		   .dkim_domain = SLICE("not.taken.test")},
	    .add = add,
	    .add_count = 2,
	    .remove = gone,
	    .remove_count = 1,
	};
	assert_int_equal(tenant_change(f->reader, &change), STATUS_OK);
	store_reader_end(f->reader);
	/* What is not among `fields` stays. */
	change = (struct tenant_change){
	    .fields = TENANT_SET_DKIM_DOMAIN,
	    .to = {.name = SLICE("acme"), .dkim_domain = SLICE("acme.test")},
	};
	assert_int_equal(tenant_change(f->reader, &change), STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(tenant_get(f->reader, SLICE("aCme"), &got), STATUS_OK);
	assert_int_equal(got.created_s, 7);
	assert_int_equal(got.max_queued, 12);
	assert_true(slice_equal(got.pool, SLICE("out")));
	assert_true(slice_equal(got.dkim_domain, SLICE("acme.test")));
	store_reader_end(f->reader);
	assert_int_equal(tenant_each(f->reader, tenant_note, &text), STATUS_OK);
	assert_int_equal(tenant_member_each(f->reader, member_note, &text), STATUS_OK);
	store_reader_end(f->reader);
	assert_true(slice_equal(buf_slice(&text),
	    SLICE("acme;bulk;ann@far.test=acme;jo@bulk.test=bulk;new.test=acme;")));
	fixture_check(f);
	assert_int_equal(tenant_remove(f->reader, SLICE("Acme")), STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(tenant_remove(f->reader, SLICE("Acme")), STATUS_NOT_FOUND);
	assert_true(whose_is(f, "new.test", NULL));
	assert_true(whose_is(f, "jo@BULK.test", "bulk"));
	fixture_check(f);
}

static void
refused(struct fixture *f)
{
	char longest[TENANT_NAME_MAX + 2];
	memset(longest, 'a', sizeof(longest));
	longest[TENANT_NAME_MAX] = '\0';
	assert_int_equal(make(f, longest, "a.test"), STATUS_OK);
	longest[TENANT_NAME_MAX] = 'a';
	assert_false(tenant_name_is_good(slice_make(longest, sizeof(longest) - 1)));
	static const char *const bad[] = {
	    "", "-a", ".a", "a b", "a/b", "a\n", "\xc3\xa4"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(make(f, bad[i], "b.test"), STATUS_INVALID);
	assert_int_equal(make(f, "b", ""), STATUS_INVALID);
	assert_int_equal(make(f, "b", "b c"), STATUS_INVALID);
	/* A member that is not the tenant's: nothing of the change is done. */
	struct slice add[] = {SLICE("b.test")}, gone[] = {SLICE("c.test")};
	struct tenant_change change = {
	    .to = {.name = slice_make(longest, TENANT_NAME_MAX)},
	    .add = add,
	    .add_count = 1,
	    .remove = gone,
	    .remove_count = 1,
	};
	assert_int_equal(tenant_change(f->reader, &change), STATUS_NOT_FOUND);
	assert_true(slice_equal(change.at, SLICE("c.test")));
	store_reader_end(f->reader);
	assert_true(whose_is(f, "b.test", NULL));
	change = (struct tenant_change){.to = {.name = SLICE("nobody")}};
	assert_int_equal(tenant_change(f->reader, &change), STATUS_NOT_FOUND);
	assert_null(change.at.ptr);
	fixture_check(f);
}

static void
test_tenants(void **state)
{
	(void)state;
	fixture_each(change_all);
	fixture_each(refused);
}

static void
test_codec(void **state)
{
	(void)state;
	struct tenant tenant = {.created_s = 5,
	    .max_queued = 3,
	    .pool = SLICE("p"),
	    .dkim_domain = SLICE("")};
	struct tenant got;
	struct buf record AUTO_BUF;
	buf_init(&record, TENANT_RECORD_MAX);
	tenant_encode(&tenant, &record);
	struct slice bytes = buf_slice(&record);
	assert_true(tenant_decode(bytes, &got));
	assert_int_equal(got.max_queued, 3);
	assert_true(slice_equal(got.pool, SLICE("p")));
	for (size_t len = 0; len < bytes.len; len++)
		assert_false(tenant_decode(slice_sub(bytes, 0, len), &got));
	buf_append_byte(&record, 0);
	assert_false(tenant_decode(buf_slice(&record), &got));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tenants),
	    cmocka_unit_test(test_codec),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
