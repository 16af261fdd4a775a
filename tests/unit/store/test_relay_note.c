/*
 * The relay's notes over every backend: put, get in any case, replace, end by themselves,
 * go with the next of the daemon's commits, tables apart, limits.
 */
#include "store/relay_note.h"

#include "store/store_codec_int.h"
#include "unit/store/store_fixture.h"

static struct relay_note
note(const char *name, uint8_t kind, int64_t expires_s)
{
	return (struct relay_note){.name = slice_from_cstr(name),
	    .kind = kind,
	    .created_s = 5,
	    .expires_s = expires_s,
	    .text = SLICE("550 5.1.1 no"),
	    .more = SLICE("more of it")};
}

static bool
count_one(const struct relay_note *got, void *arg)
{
	assert_true(got->name.len > 0);
	++*(size_t *)arg;
	return true;
}

static size_t
count(struct fixture *f, enum relay_note_table table, int64_t now_s)
{
	size_t n = 0;
	assert_int_equal(
	    relay_note_each(f->reader, table, now_s, count_one, &n), STATUS_OK);
	store_reader_end(f->reader);
	return n;
}

static void
put_get(struct fixture *f)
{
	struct relay_note a = note("Anna@Far.test", RELAY_SUPPRESS_BOUNCE, 100), got;
	assert_int_equal(relay_note_put(f->reader, RELAY_NOTE_SUPPRESSED, &a), STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(relay_note_get(f->reader, RELAY_NOTE_SUPPRESSED,
			     SLICE("anna@far.TEST"), 99, &got),
	    STATUS_OK);
	assert_int_equal(got.kind, RELAY_SUPPRESS_BOUNCE);
	assert_int_equal(got.created_s, 5);
	assert_true(slice_equal(got.text, a.text) && slice_equal(got.more, a.more));
	store_reader_end(f->reader);
	assert_int_equal(relay_note_get(f->reader, RELAY_NOTE_SUPPRESSED,
			     SLICE("anna@far.test"), 100, &got),
	    STATUS_NOT_FOUND);
	assert_int_equal(
	    relay_note_get(f->reader, RELAY_NOTE_TLS, SLICE("anna@far.test"), 1, &got),
	    STATUS_NOT_FOUND);
	store_reader_end(f->reader);
	assert_int_equal(count(f, RELAY_NOTE_SUPPRESSED, 99), 1);
	assert_int_equal(count(f, RELAY_NOTE_SUPPRESSED, 100), 0);
	assert_int_equal(count(f, RELAY_NOTE_STS, 1), 0);
	a.kind = RELAY_SUPPRESS_COMPLAINT;
	assert_int_equal(relay_note_put(f->reader, RELAY_NOTE_SUPPRESSED, &a), STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(count(f, RELAY_NOTE_SUPPRESSED, 1), 1);
	assert_int_equal(
	    relay_note_remove(f->reader, RELAY_NOTE_SUPPRESSED, SLICE("ANNA@far.test")),
	    STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(
	    relay_note_remove(f->reader, RELAY_NOTE_SUPPRESSED, SLICE("anna@far.test")),
	    STATUS_NOT_FOUND);
	fixture_check(f);
}

static void
submit_purges(struct fixture *f)
{
	struct relay_note notes[] = {
	    note("a.test", 1, 10), note("b.test", 1, 20), note("c.test", 1, 0)};
	struct relay_note_op op = {
	    .op = {.arena = f->arena},
	    .table = RELAY_NOTE_STS,
	    .notes = notes,
	    .count = 3,
	    .now_s = 1,
	};
	relay_note_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_OK);
	store_reader_end(f->reader);
	assert_int_equal(count(f, RELAY_NOTE_STS, 1), 3);
	struct relay_note_op later = {.op = {.arena = f->arena},
	    .table = RELAY_NOTE_STS,
	    .notes = notes,
	    .count = 0,
	    .now_s = 20};
	relay_note_submit(f->reader, &later);
	assert_int_equal(later.op.status, STATUS_OK);
	store_reader_end(f->reader);
	/* Gone, not only ended. */
	assert_int_equal(count(f, RELAY_NOTE_STS, 1), 1);
	fixture_check(f);
}

static void
limits(struct fixture *f)
{
	char name[RELAY_NOTE_NAME_MAX + 2];
	memset(name, 'x', sizeof(name));
	name[RELAY_NOTE_NAME_MAX] = '\0';
	struct relay_note n = note(name, 1, 0);
	assert_int_equal(relay_note_put(f->reader, RELAY_NOTE_TLS, &n), STATUS_OK);
	store_reader_end(f->reader);
	name[RELAY_NOTE_NAME_MAX] = 'x';
	n.name = slice_make(name, RELAY_NOTE_NAME_MAX + 1);
	assert_int_equal(relay_note_put(f->reader, RELAY_NOTE_TLS, &n), STATUS_INVALID);
	const char *const bad[] = {"", "a b", "a\x7f", "a\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		n.name = slice_from_cstr(bad[i]);
		assert_int_equal(
		    relay_note_put(f->reader, RELAY_NOTE_TLS, &n), STATUS_INVALID);
	}
	struct relay_note_op op = {
	    .op = {.arena = f->arena}, .table = RELAY_NOTE_TLS, .notes = &n, .count = 1};
	relay_note_submit(f->reader, &op);
	assert_int_equal(op.op.status, STATUS_INVALID);
	fixture_check(f);
}

static void
test_store(void **state)
{
	(void)state;
	fixture_each(put_get);
	fixture_each(submit_purges);
	fixture_each(limits);
}

static void
test_codec(void **state)
{
	(void)state;
	struct relay_note a = note("x", 3, 77), got;
	struct buf record AUTO_BUF;
	buf_init(&record, RELAY_NOTE_RECORD_MAX);
	relay_note_encode(&a, &record);
	assert_true(relay_note_decode(buf_slice(&record), &got));
	assert_int_equal(got.expires_s, 77);
	for (size_t len = 0; len < record.len; len++)
		assert_false(
		    relay_note_decode(slice_sub(buf_slice(&record), 0, len), &got));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_store),
	    cmocka_unit_test(test_codec),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
