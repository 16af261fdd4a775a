/*
 * Tenants and campaigns of the queue over every backend: counts that follow every change,
 * the limit, what is paused by which names, the due index, damage that is found.
 */
#include "store/queue_int.h"
#include "store/store_codec_int.h"
#include "store/tenant.h"
#include "unit/store/store_fixture.h"

static enum status
add(struct fixture *f, char id[ID_TEXT_SIZE], const char *tenant, const char *campaign,
    size_t recipients)
{
	struct queue_new_recipient to[8];
	for (size_t i = 0; i < recipients; i++)
		to[i] = (struct queue_new_recipient){
		    .address = arena_format(f->arena, "r%zu@example.com", i)};
	struct queue_add_op op = {
	    .op = {.arena = f->arena                    },
	    .message = { .sender = SLICE("jo@example.org"),
		   .login = SLICE("Jo@example.org"),
		   .created_s = 50,
		   .expires_s = 9000,
		   .due_s = 60,
		   .recipients = to,
		   .recipient_count = recipients,
		   .tenant = slice_from_cstr(tenant),
		   .campaign = slice_from_cstr(campaign)},
	};
	op.message.draft = fixture_draft(f, "queued", 0);
	id_make(op.message.id);
	memcpy(id, op.message.id, ID_TEXT_SIZE);
	queue_add_submit(f->reader, &op);
	body_draft_unref(&op.message.draft);
	store_reader_end(f->reader);
	return op.op.status;
}

static void
has(struct fixture *f, const char *tenant, const char *campaign, uint64_t messages,
    uint64_t recipients, uint64_t held)
{
	struct queue_counts counts;
	assert_int_equal(queue_tenant_counts(f->reader, slice_from_cstr(tenant),
			     slice_from_cstr(campaign), &counts),
	    STATUS_OK);
	assert_int_equal(counts.messages, messages);
	assert_int_equal(counts.recipients, recipients);
	assert_int_equal(counts.held, held);
	store_reader_end(f->reader);
}

static bool
note_counts(struct slice tenant, struct slice campaign, const struct queue_counts *counts,
    void *arg)
{
	buf_append_format(arg, "%.*s/%.*s=%llu;", SLICE_ARG(tenant), SLICE_ARG(campaign),
	    (unsigned long long)counts->messages);
	return true;
}

static void
do_wish(struct fixture *f, const char *id, uint32_t number, enum queue_wish wish)
{
	uint64_t count = 0;
	assert_int_equal(
	    queue_wish(f->reader, slice_from_cstr(id), number, wish, 70, &count),
	    STATUS_OK);
	assert_true(count > 0);
	store_reader_end(f->reader);
}

static void
finish(struct fixture *f, const char *id, uint32_t number, enum queue_outcome outcome)
{
	struct queue_result result = {
	    .number = number, .outcome = outcome, .reply = SLICE("x"), .due_s = 90};
	struct queue_result_op op = {.op = {.arena = f->arena},
	    .results = &result,
	    .result_count = 1,
	    .now_s = 70};
	memcpy(result.id, id, ID_TEXT_SIZE);
	queue_result_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	store_reader_end(f->reader);
}

static void
counting(struct fixture *f)
{
	char a[ID_TEXT_SIZE], b[ID_TEXT_SIZE], c[ID_TEXT_SIZE], d[ID_TEXT_SIZE];
	uint64_t count;
	struct buf text AUTO_BUF;
	buf_init(&text, 1000);
	assert_int_equal(add(f, a, "acme", "spring", 3), STATUS_OK);
	assert_int_equal(add(f, b, "acme", "", 1), STATUS_OK);
	assert_int_equal(add(f, c, "", "spring", 2), STATUS_OK);
	assert_int_equal(add(f, d, "", "", 1), STATUS_OK);
	assert_int_equal(add(f, d, "Acme", "", 1), STATUS_INVALID);
	assert_int_equal(add(f, d, "acme", "a b", 1), STATUS_INVALID);
	has(f, "ACME", "", 2, 4, 0);
	has(f, "acme", "Spring", 1, 3, 0);
	has(f, "", "spring", 1, 2, 0);
	has(f, "nobody", "", 0, 0, 0);
	has(f, "no name", "", 0, 0, 0);
	do_wish(f, a, 1, QUEUE_HOLD);
	has(f, "acme", "", 2, 4, 1);
	has(f, "acme", "spring", 1, 3, 1);
	do_wish(f, a, QUEUE_ALL, QUEUE_HOLD);
	has(f, "acme", "spring", 1, 3, 3);
	do_wish(f, a, 0, QUEUE_RELEASE);
	has(f, "acme", "spring", 1, 3, 2);
	fixture_check(f);
	do_wish(f, a, 2, QUEUE_DELETE);
	has(f, "acme", "", 2, 3, 1);
	finish(f, a, 0, QUEUE_DEFERRED);
	has(f, "acme", "", 2, 3, 1);
	finish(f, a, 0, QUEUE_DELIVERED);
	has(f, "acme", "spring", 1, 1, 1);
	assert_int_equal(queue_redirect(f->reader, slice_from_cstr(b), 0,
			     SLICE("x@else.test"), 70, &count),
	    STATUS_OK);
	store_reader_end(f->reader);
	has(f, "acme", "", 2, 2, 1);
	fixture_check(f);
	assert_int_equal(
	    queue_tenant_counts_each(f->reader, note_counts, &text), STATUS_OK);
	store_reader_end(f->reader);
	assert_true(
	    slice_equal(buf_slice(&text), SLICE("/spring=1;acme/=2;acme/spring=1;")));
	do_wish(f, a, 1, QUEUE_DELETE);
	finish(f, b, 0, QUEUE_FAILED);
	has(f, "acme", "", 0, 0, 0);
	buf_reset(&text);
	assert_int_equal(
	    queue_tenant_counts_each(f->reader, note_counts, &text), STATUS_OK);
	store_reader_end(f->reader);
	assert_true(slice_equal(buf_slice(&text), SLICE("/spring=1;")));
	fixture_check(f);
}

static void
limit(struct fixture *f)
{
	char id[ID_TEXT_SIZE], other[ID_TEXT_SIZE];
	struct tenant_change change = {
	    .create = true,
	    .fields = TENANT_SET_MAX_QUEUED,
	    .to = {.name = SLICE("acme"), .max_queued = 2},
	};
	assert_int_equal(tenant_change(f->reader, &change), STATUS_OK);
	assert_int_equal(add(f, id, "acme", "", 3), STATUS_OK);
	assert_int_equal(add(f, other, "acme", "x", 1), STATUS_OK);
	assert_int_equal(add(f, other, "acme", "", 1), STATUS_QUOTA);
	assert_int_equal(add(f, other, "bulk", "", 1), STATUS_OK);
	assert_int_equal(add(f, other, "", "", 1), STATUS_OK);
	has(f, "acme", "", 2, 4, 0);
	do_wish(f, id, QUEUE_ALL, QUEUE_DELETE);
	assert_int_equal(add(f, other, "acme", "", 1), STATUS_OK);
	assert_int_equal(add(f, other, "acme", "", 1), STATUS_QUOTA);
	assert_int_equal(tenant_remove(f->reader, SLICE("acme")), STATUS_OK);
	assert_int_equal(add(f, other, "acme", "", 1), STATUS_OK);
	fixture_check(f);
}

/* ---- pauses ---- */

static struct queue_pause
names(const char *tenant, const char *campaign, const char *sender, const char *site)
{
	return (struct queue_pause){slice_from_cstr(tenant), slice_from_cstr(campaign),
	    slice_from_cstr(sender), slice_from_cstr(site)};
}

static enum status
set(struct fixture *f, const char *tenant, const char *campaign, const char *sender,
    const char *site, bool paused)
{
	struct queue_pause pause = names(tenant, campaign, sender, site);
	enum status status = queue_pause_set(f->reader, &pause, paused);
	store_reader_end(f->reader);
	return status;
}

static bool
is_paused(struct fixture *f, const char *tenant, const char *campaign, const char *sender,
    const char *site)
{
	bool paused = false;
	struct queue_pause mail = names(tenant, campaign, sender, site);
	assert_int_equal(queue_is_paused(f->reader, &mail, &paused), STATUS_OK);
	store_reader_end(f->reader);
	return paused;
}

static bool
note_pause(const struct queue_pause *pause, void *arg)
{
	buf_append_format(arg, "%.*s,%.*s,%.*s,%.*s;", SLICE_ARG(pause->tenant),
	    SLICE_ARG(pause->campaign), SLICE_ARG(pause->sender), SLICE_ARG(pause->site));
	return true;
}

static void
pausing(struct fixture *f)
{
	struct buf text AUTO_BUF;
	char longest[QUEUE_SITE_MAX + 2];
	buf_init(&text, 1000);
	memset(longest, 'a', sizeof(longest));
	longest[QUEUE_SITE_MAX + 1] = '\0';
	assert_false(is_paused(f, "acme", "spring", "jo@x.test", "far.test"));
	assert_int_equal(set(f, "", "", "", "Far.test", true), STATUS_OK);
	assert_true(is_paused(f, "acme", "spring", "jo@x.test", "far.TEST"));
	assert_int_equal(set(f, "Acme", "spring", "", "", true), STATUS_OK);
	assert_true(is_paused(f, "acme", "Spring", "jo@x.test", "near.test"));
	assert_false(is_paused(f, "acme", "autumn", "jo@x.test", "near.test"));
	assert_false(is_paused(f, "bulk", "spring", "jo@x.test", "near.test"));
	assert_int_equal(set(f, "", "winter", "", "", true), STATUS_OK);
	assert_true(is_paused(f, "bulk", "winter", "jo@x.test", "near.test"));
	assert_true(is_paused(f, "", "winter", "", ""));
	assert_int_equal(set(f, "", "", "jo@x.test", "odd.test", true), STATUS_OK);
	assert_true(is_paused(f, "acme", "", "Jo@x.test", "odd.test"));
	assert_false(is_paused(f, "acme", "", "jo@x.test", "near.test"));
	/* A sender that is too long for a key hides nothing. */
	assert_true(is_paused(f, "", "", longest, "far.test"));
	assert_int_equal(queue_paused_each(f->reader, note_pause, &text), STATUS_OK);
	store_reader_end(f->reader);
	assert_true(slice_equal(buf_slice(&text),
	    SLICE(",,,far.test;,,jo@x.test,odd.test;,winter,,;acme,spring,,;")));
	fixture_check(f);
	assert_int_equal(set(f, "acme", "", "", "", false), STATUS_NOT_FOUND);
	assert_int_equal(set(f, "acme", "spring", "", "", false), STATUS_OK);
	assert_false(is_paused(f, "acme", "spring", "jo@x.test", "near.test"));
	assert_int_equal(set(f, "", "", "", "", true), STATUS_INVALID);
	assert_int_equal(set(f, "", "", "", "a@b.test", true), STATUS_INVALID);
	assert_int_equal(set(f, "", "", "", longest, true), STATUS_INVALID);
	assert_int_equal(set(f, "a\nb", "", "", "", true), STATUS_INVALID);
}

/* ---- the due index ---- */

static bool
note_due(const struct queue_due *due, void *arg)
{
	*(struct queue_due *)arg = *due;
	return true;
}

static void
dues(struct fixture *f)
{
	char id[ID_TEXT_SIZE];
	struct queue_due due = {0};
	int64_t next_s;
	assert_int_equal(add(f, id, "acme", "spring", 1), STATUS_OK);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
		    queue_due_each(f->reader, NULL, 1000, note_due, &due, &next_s),
		    STATUS_OK);
		store_reader_end(f->reader);
		assert_int_equal(due.tenant, queue_tenant_hash(SLICE("ACME")));
		assert_int_equal(due.campaign, queue_tenant_hash(SLICE("spring")));
		assert_int_equal(due.sender, queue_sender_hash(SLICE("jo@example.org")));
		assert_int_equal(due.site, queue_site_hash(SLICE("example.com")));
		if (i == 0)
			finish(f, id, 0, QUEUE_DEFERRED);
		else
			do_wish(f, id, 0, QUEUE_RETRY);
	}
	assert_int_equal(add(f, id, "", "", 1), STATUS_OK);
	assert_int_equal(
	    queue_due_each(f->reader, NULL, 60, note_due, &due, &next_s), STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(due.tenant, 0);
	assert_int_equal(due.campaign, 0);
}

static void
test_queue(void **state)
{
	(void)state;
	fixture_each(counting);
	fixture_each(limit);
	fixture_each(pausing);
	fixture_each(dues);
}

static void
test_codec(void **state)
{
	(void)state;
	struct queue_message got, message = {.sender = SLICE("a"),
				      .login = SLICE("b"),
				      .origin = SLICE("c"),
				      .envid = SLICE(""),
				      .hold = SLICE(""),
				      .by_s = 5,
				      .priority = 2,
				      .tenant = SLICE("acme"),
				      .campaign = SLICE("spring")};
	struct slice id = SLICE("0123456789abcdef");
	struct buf old AUTO_BUF;
	struct buf new AUTO_BUF;
	buf_init(&old, QUEUE_RECORD_MAX);
	buf_init(&new, QUEUE_RECORD_MAX);
	queue_message_encode(&message, &new);
	assert_true(queue_message_decode(buf_slice(&new), id, &got));
	assert_true(slice_equal(got.tenant, SLICE("acme")));
	assert_true(slice_equal(got.campaign, SLICE("spring")));
	/* One from before them is the same without. */
	message.tenant = message.campaign = SLICE("");
	queue_message_encode(&message, &old);
	assert_int_equal(old.len + 3 + 4 + 3 + 6, new.len);
	assert_true(queue_message_decode(buf_slice(&old), id, &got));
	assert_int_equal(got.tenant.len + got.campaign.len, 0);
	message.tenant = SLICE("no name");
	buf_reset(&new);
	queue_message_encode(&message, &new);
	assert_false(queue_message_decode(buf_slice(&new), id, &got));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_queue),
	    cmocka_unit_test(test_codec),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
