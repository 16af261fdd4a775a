/*
 * The engine's conformance suite: everything that engine.h promises, run over engine_mem
 * (without and with injected re-runs) and over engine_lmdb; bodies are in
 * test_engine_body.c.  Crashes, full disks and several processes are in
 * test_engine_crash.c and tests/fault.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "store/engine_int.h"
#include "unit/store/engine_fixture.h"

static const struct partition_id PART_A = {
    {'A', 1}
};
static const struct partition_id PART_B = {
    {'A', 2}
};
static const struct partition_id PART_D = {{'D'}};
static const struct partition_id PART_Q = {{'Q'}};

static struct slice
text(const char *s)
{
	return slice_from_cstr(s);
}

/* ---- a commit from a small script: "+k=v" puts, "-k" deletes, "!S" fails ---- */

struct script {
	const char *lines[12];
	int runs;
};

static enum status
script_run(struct engine_txn *txn, void *arg)
{
	struct script *script = arg;
	script->runs++;
	for (size_t i = 0; i < 12 && script->lines[i]; i++) {
		struct slice line = text(script->lines[i]);
		struct slice rest = slice_from(line, 1);
		struct slice key = slice_split(&rest, '=');
		struct slice value;
		switch (line.ptr[0]) {
		case '+':
			engine_put(txn, key, rest);
			break;
		case '-':
			engine_del(txn, key);
			break;
		case '?': /* there, with that value */
			if (engine_get(txn, key, &value) != STATUS_OK ||
			    !slice_equal(value, rest))
				return STATUS_NOT_FOUND;
			break;
		case '!':
			return STATUS_CONFLICT;
		default:
			fail();
		}
	}
	return STATUS_OK;
}

static void
put_all(struct engine *engine, struct partition_id part, struct script script)
{
	assert_int_equal(
	    engine_commit_wait(engine, part, script_run, &script, NULL), STATUS_OK);
}

/* The partition's keys and values in [from, to) as "k=v k=v ". */
static void
dump(struct engine_txn *txn, struct slice from, struct slice to, bool reverse,
    struct buf *out)
{
	struct engine_cursor *cursor = engine_cursor_open(txn, from, to, reverse);
	struct slice key, value;
	buf_reset(out);
	while (engine_cursor_next(cursor, &key, &value) == STATUS_OK) {
		buf_append(out, key);
		buf_append_byte(out, '=');
		buf_append(out, value);
		buf_append_byte(out, ' ');
	}
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_NOT_FOUND);
	engine_cursor_close(&cursor);
	assert_null(cursor);
	buf_append_byte(out, 0);
}

static void
assert_dump(struct engine *engine, struct partition_id part, const char *from,
    const char *to, bool reverse, const char *want)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	AUTO_BUF struct buf got;
	buf_init(&got, 65536);
	assert_int_equal(engine_snap(reader, part, &txn), STATUS_OK);
	dump(txn, text(from), text(to), reverse, &got);
	assert_string_equal(got.ptr, want);
	engine_reader_free(&reader);
}

static void
test_get_put_del(void **state)
{
	struct engine *engine = fixture_engine(state);
	put_all(engine, PART_A,
	    (struct script){
		{"+b=2", "+a=1", "+c=3", "?a=1"},
                0
        });
	put_all(engine, PART_B, (struct script){{"+b=other"}, 0});
	put_all(engine, PART_D, (struct script){{"+b=directory"}, 0});
	put_all(engine, PART_Q, (struct script){{"+b=queue"}, 0});
	assert_dump(engine, PART_A, NULL, NULL, false, "a=1 b=2 c=3 ");
	assert_dump(engine, PART_B, NULL, NULL, false, "b=other ");
	assert_dump(engine, PART_D, NULL, NULL, true, "b=directory ");
	assert_dump(engine, PART_Q, NULL, NULL, true, "b=queue ");
	put_all(engine, PART_A,
	    (struct script){
		{"-b", "-nothing", "+a=longer"},
                0
        });
	assert_dump(engine, PART_A, NULL, NULL, false, "a=longer c=3 ");

	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	struct slice value;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	assert_int_equal(engine_get(txn, text("a"), &value), STATUS_OK);
	assert_true(slice_equal(value, text("longer")));
	assert_int_equal(engine_get(txn, text("b"), &value), STATUS_NOT_FOUND);
	assert_null(value.ptr);
	assert_int_equal(engine_get(txn, SLICE_NULL, &value), STATUS_NOT_FOUND);
	engine_reader_free(&reader);
}

static void
test_cursor_bounds(void **state)
{
	struct engine *engine = fixture_engine(state);
	/* Neighbours on both sides, which no walk may see. */
	struct partition_id below =
				{
				    {'A', 1}
        },
			    above = {{'A', 1}};
	memset(below.v + 2, 0xff, 14);
	below.v[1] = 0;
	above.v[15] = 1;
	put_all(engine, PART_A,
	    (struct script){
		{"+b=1", "+bb=2", "+d=3", "+f=4"},
                0
        });
	put_all(engine, below,
	    (struct script){
		{"+z=9", "+a=9"},
                0
        });
	put_all(engine, above,
	    (struct script){
		{"+z=9", "+a=9"},
                0
        });
	assert_dump(engine, PART_A, NULL, NULL, false, "b=1 bb=2 d=3 f=4 ");
	assert_dump(engine, PART_A, NULL, NULL, true, "f=4 d=3 bb=2 b=1 ");
	assert_dump(engine, PART_A, "bb", "f", false, "bb=2 d=3 ");
	assert_dump(engine, PART_A, "bb", "f", true, "d=3 bb=2 ");
	assert_dump(engine, PART_A, "c", "e", true, "d=3 ");
	assert_dump(engine, PART_A, "g", NULL, false, "");
	assert_dump(engine, PART_A, NULL, "a", true, "");
	assert_dump(engine, PART_A, "d", "d", false, "");
	assert_dump(engine, PART_A, "e", "c", false, "");
	assert_dump(engine,
	    (struct partition_id){
		{'A', 9}
        },
	    NULL, NULL, false, "");
	assert_dump(engine,
	    (struct partition_id){
		{'A', 9}
        },
	    NULL, NULL, true, "");
}

static void
test_cursor_seek(void **state)
{
	struct engine *engine = fixture_engine(state);
	put_all(engine, PART_A,
	    (struct script){
		{"+b=1", "+c=2", "+d=3", "+f=4"},
                0
        });
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	struct slice key, value;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, text("c"), text("f"), false);
	engine_cursor_seek(cursor, text("a")); /* not below the range */
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_OK);
	assert_true(slice_equal(key, text("c")));
	engine_cursor_seek(cursor, text("cc"));
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_OK);
	assert_true(slice_equal(key, text("d")));
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_NOT_FOUND);
	engine_cursor_seek(cursor, text("d")); /* back, after the end */
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_OK);
	assert_true(slice_equal(key, text("d")));
	engine_cursor_seek(cursor, text("f"));
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_NOT_FOUND);
	engine_cursor_close(&cursor);
	engine_reader_free(&reader);
}

/* Writes under an open cursor: it goes on behind the key returned last. */
static enum status
write_under_cursor(struct engine_txn *txn, void *arg)
{
	struct buf *seen = arg;
	buf_reset(seen);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, SLICE_NULL, SLICE_NULL, false);
	struct slice key, value;
	while (engine_cursor_next(cursor, &key, &value) == STATUS_OK) {
		char copy = key.ptr[0];
		buf_append(seen, key);
		if (copy == 'b')
			engine_del(txn, SLICE("b"));
		if (copy == 'c')
			engine_put(txn, SLICE("d"), SLICE("new"));
		if (copy == 'd')
			engine_del(txn, SLICE("e"));
	}
	engine_cursor_close(&cursor);
	cursor = engine_cursor_open(txn, SLICE_NULL, SLICE_NULL, true);
	while (engine_cursor_next(cursor, &key, &value) == STATUS_OK) {
		char copy[1] = {key.ptr[0]};
		buf_append(seen, key);
		engine_del(txn, slice_make(copy, 1));
	}
	engine_cursor_close(&cursor);
	return engine_txn_status(txn);
}

static void
test_cursor_writes(void **state)
{
	struct engine *engine = fixture_engine(state);
	put_all(engine, PART_A,
	    (struct script){
		{"+a=1", "+b=1", "+c=1", "+e=1", "+f=1"},
                0
        });
	AUTO_BUF struct buf seen;
	buf_init(&seen, 100);
	assert_int_equal(
	    engine_commit_wait(engine, PART_A, write_under_cursor, &seen, NULL),
	    STATUS_OK);
	assert_int_equal(seen.len, 9);
	assert_memory_equal(seen.ptr, "abcdffdca", 9);
	assert_dump(engine, PART_A, NULL, NULL, false, "");
}

static enum status
range_delete(struct engine_txn *txn, void *arg)
{
	*(uint64_t *)arg = engine_del_range(txn, SLICE("b"), SLICE("d"));
	return STATUS_OK;
}

static void
test_del_range(void **state)
{
	struct engine *engine = fixture_engine(state);
	put_all(engine, PART_A,
	    (struct script){
		{"+a=1", "+b=1", "+bx=1", "+c=1", "+d=1"},
                0
        });
	uint64_t count = 0;
	assert_int_equal(
	    engine_commit_wait(engine, PART_A, range_delete, &count, NULL), STATUS_OK);
	assert_int_equal(count, 3);
	assert_dump(engine, PART_A, NULL, NULL, false, "a=1 d=1 ");
}

static uint64_t
version_of(struct engine *engine, struct partition_id part)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	assert_int_equal(engine_snap(reader, part, &txn), STATUS_OK);
	uint64_t version = engine_version(txn);
	engine_reader_free(&reader);
	return version;
}

static void
test_versions(void **state)
{
	struct engine *engine = fixture_engine(state);
	assert_int_equal(version_of(engine, PART_A), 0);
	put_all(engine, PART_A,
	    (struct script){
		{"+a=1", "+b=1"},
                0
        });
	assert_int_equal(version_of(engine, PART_A), 1);
	put_all(engine, PART_A, (struct script){{"?a=1"}, 0}); /* reads only */
	put_all(engine, PART_A, (struct script){{"-absent"}, 0});
	assert_int_equal(version_of(engine, PART_A), 1);
	put_all(engine, PART_A, (struct script){{"-a"}, 0});
	assert_int_equal(version_of(engine, PART_A), 2);
	struct script fails = {
	    {"+a=1", "!"},
            0
        };
	assert_int_equal(engine_commit_wait(engine, PART_A, script_run, &fails, NULL),
	    STATUS_CONFLICT);
	assert_int_equal(version_of(engine, PART_A), 2);
	assert_int_equal(version_of(engine, PART_B), 0);
}

static void
test_snapshots(void **state)
{
	struct engine *engine = fixture_engine(state);
	put_all(engine, PART_A, (struct script){{"+a=1"}, 0});
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn, *other;
	struct slice value;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	put_all(engine, PART_A, (struct script){{"+a=2"}, 0});
	assert_int_equal(engine_get(txn, text("a"), &value), STATUS_OK);
	assert_true(slice_equal(value, text("1")));
	/* A second snapshot of the turn sees the same moment. */
	assert_int_equal(engine_snap(reader, PART_A, &other), STATUS_OK);
	assert_int_equal(engine_get(other, text("a"), &value), STATUS_OK);
	assert_true(slice_equal(value, text("1")));
	engine_reader_end(reader);
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	assert_int_equal(engine_get(txn, text("a"), &value), STATUS_OK);
	assert_true(slice_equal(value, text("2")));
	engine_reader_end(reader);
	engine_reader_end(reader); /* twice does no harm */
	engine_reader_free(&reader);
}

static enum status
put_limits(struct engine_txn *txn, void *arg)
{
	const int *which = arg;
	char *bytes = xcalloc(1, ENGINE_VALUE_MAX + 1);
	memset(bytes, 'x', ENGINE_VALUE_MAX + 1);
	if (*which == 0) {
		engine_put(txn, slice_make(bytes, ENGINE_KEY_MAX),
		    slice_make(bytes, ENGINE_VALUE_MAX));
	} else if (*which == 1) {
		engine_put(txn, slice_make(bytes, ENGINE_KEY_MAX + 1), SLICE("v"));
	} else if (*which == 2) {
		engine_put(txn, SLICE("k"), slice_make(bytes, ENGINE_VALUE_MAX + 1));
	} else {
		engine_put(txn, SLICE("\000k"), SLICE("v"));
	}
	free(bytes);
	return engine_txn_status(txn);
}

static void
test_limits(void **state)
{
	struct engine *engine = fixture_engine(state);
	const enum status want[] = {STATUS_OK, STATUS_LIMIT, STATUS_LIMIT, STATUS_LIMIT};
	for (int which = 0; which < 4; which++)
		assert_int_equal(
		    engine_commit_wait(engine, PART_A, put_limits, &which, NULL),
		    want[which]);
	char longest[ENGINE_KEY_MAX + 8];
	memset(longest, 'x', sizeof longest);
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	struct slice key, value;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	assert_int_equal(
	    engine_get(txn, slice_make(longest, ENGINE_KEY_MAX), &value), STATUS_OK);
	assert_int_equal(value.len, ENGINE_VALUE_MAX);
	assert_int_equal(engine_get(txn, slice_make(longest, sizeof longest), &value),
	    STATUS_NOT_FOUND);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, SLICE_NULL, SLICE_NULL, false);
	engine_cursor_seek(cursor, slice_make(longest, sizeof longest));
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_NOT_FOUND);
	engine_cursor_seek(cursor, slice_make(longest, ENGINE_KEY_MAX));
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_OK);
	engine_cursor_close(&cursor);
	engine_reader_free(&reader);
}

/* ---- many commits in one batch ---- */

struct queued {
	struct engine_commit commit;
	struct script script;
	struct gate *gate;
};

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int left;
};

static void
queued_done(struct engine_commit *commit, enum status status)
{
	struct queued *queued = (struct queued *)commit;
	assert_int_equal(commit->status, status);
	pthread_mutex_lock(&queued->gate->lock);
	queued->gate->left--;
	pthread_cond_signal(&queued->gate->changed);
	pthread_mutex_unlock(&queued->gate->lock);
}

static void
submit_all(struct engine *engine, struct queued *queued, int count)
{
	struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, count};
	for (int i = 0; i < count; i++) {
		queued[i].gate = &gate;
		queued[i].commit.fn = script_run;
		queued[i].commit.arg = &queued[i].script;
		queued[i].commit.done = queued_done;
	}
	/* In one chain, so that most of them meet in one batch. */
	for (int i = 0; i < count; i++)
		engine_submit(engine, &queued[i].commit);
	pthread_mutex_lock(&gate.lock);
	while (gate.left > 0)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void
test_isolation(void **state)
{
	struct engine *engine = fixture_engine(state);
	enum { COUNT = 300 };
	struct queued *queued = xcalloc(COUNT, sizeof *queued);
	char keys[COUNT][16];
	for (int i = 0; i < COUNT; i++) {
		snprintf(keys[i], sizeof keys[i], "+%03d=x", i);
		queued[i].commit.part = PART_A;
		queued[i].script.lines[0] = keys[i];
		if (i % 50 == 7) /* fails late, after a write */
			queued[i].script.lines[1] = "!";
		if (i % 50 == 9) { /* fails early */
			queued[i].script.lines[0] = "!";
		}
		if (i % 50 == 8) /* must not see what the failed one wrote */
			queued[i].script.lines[1] = keys[i - 1], keys[i - 1][0] = '+';
	}
	submit_all(engine, queued, COUNT);
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	int ok = 0;
	for (int i = 0; i < COUNT; i++) {
		bool fails = i % 50 == 7 || i % 50 == 9;
		assert_int_equal(
		    queued[i].commit.status, fails ? STATUS_CONFLICT : STATUS_OK);
		assert_true(queued[i].script.runs >= 1);
		char key[16];
		snprintf(key, sizeof key, "%03d", i);
		struct slice value;
		/* 7's key is there: 8 put it, not 7. */
		bool there = i % 50 != 9;
		assert_int_equal(engine_get(txn, text(key), &value),
		    there ? STATUS_OK : STATUS_NOT_FOUND);
		ok += !fails;
	}
	assert_int_equal(engine_version(txn), ok);
	engine_reader_free(&reader);
	struct engine_stats stats;
	engine_stats(engine, &stats);
	assert_int_equal(stats.commits, COUNT);
	assert_true(stats.batches >= 1);
	free(queued);
}

/* ---- partitions ---- */

struct parts {
	struct partition_id ids[8];
	size_t count, max;
};

static bool
parts_fn(struct partition_id part, void *arg)
{
	struct parts *parts = arg;
	assert_true(parts->count < 8);
	parts->ids[parts->count++] = part;
	return parts->count < parts->max;
}

static void
test_partitions(void **state)
{
	struct engine *engine = fixture_engine(state);
	struct partition_id last;
	memset(last.v, 0xff, sizeof last.v);
	last.v[0] = 'A';
	put_all(engine, PART_A, (struct script){{"+a=1"}, 0});
	put_all(engine, PART_B,
	    (struct script){
		{"+a=1", "+b=1"},
                0
        });
	put_all(engine, last, (struct script){{"+a=1"}, 0});
	put_all(engine, PART_D, (struct script){{"+a=1"}, 0});
	struct engine_reader *reader = engine_reader_new(engine);
	struct parts parts = {.max = 8};
	assert_int_equal(
	    engine_partition_each(reader, PARTITION_ACCOUNT, parts_fn, &parts),
	    STATUS_OK);
	assert_int_equal(parts.count, 3);
	parts = (struct parts){.max = 8};
	assert_int_equal(
	    engine_partition_each(reader, PARTITION_DIRECTORY, parts_fn, &parts),
	    STATUS_OK);
	assert_int_equal(parts.count, 1);
	assert_memory_equal(parts.ids[0].v, PART_D.v, 16);
	engine_reader_end(reader);
	/* Without keys it is not there, though its version is kept. */
	put_all(engine, PART_B,
	    (struct script){
		{"-a", "-b"},
                0
        });
	assert_int_equal(version_of(engine, PART_B), 2);
	parts = (struct parts){.max = 8};
	assert_int_equal(
	    engine_partition_each(reader, PARTITION_ACCOUNT, parts_fn, &parts),
	    STATUS_OK);
	assert_int_equal(parts.count, 2);
	parts = (struct parts){.max = 1};
	assert_int_equal(
	    engine_partition_each(reader, PARTITION_ACCOUNT, parts_fn, &parts),
	    STATUS_OK);
	assert_int_equal(parts.count, 1);
	engine_reader_free(&reader);
}

/* ---- hints ---- */

struct hints {
	_Atomic uint32_t slots[ENGINE_WATCH_SLOTS + 1];
};

static void
hint_fn(uint32_t slot, void *arg)
{
	struct hints *hints = arg;
	atomic_fetch_add(&hints->slots[slot], 1);
}

static void
hint_wait(struct hints *hints, struct partition_id part)
{
	uint32_t slot = engine_watch_slot(part);
	for (int ms = 0; ms < 5000; ms++) {
		if (atomic_load(&hints->slots[slot]) > 0 ||
		    atomic_load(&hints->slots[ENGINE_WATCH_ALL]) > 0)
			return;
		usleep(1000);
	}
	fail_msg("no hint");
}

static void
test_watch(void **state)
{
	struct engine *engine = fixture_engine(state);
	struct hints *hints = xcalloc(1, sizeof *hints);
	engine_watch(engine, hint_fn, hints);
	put_all(engine, PART_A, (struct script){{"+a=1"}, 0});
	hint_wait(hints, PART_A);
	put_all(engine, PART_Q, (struct script){{"+a=1"}, 0});
	hint_wait(hints, PART_Q);
	/* A commit that changed nothing says nothing. */
	put_all(engine, PART_B, (struct script){{"-a"}, 0});
	usleep(20000);
	assert_int_equal(atomic_load(&hints->slots[engine_watch_slot(PART_B)]), 0);
	fixture_close(state);
	free(hints);
}

/* ---- random operations against a model ---- */

enum { MODEL_KEYS = 40, MODEL_ROUNDS = 400, MODEL_STEPS = 12 };

struct model_step {
	int kind; /* 0 put, 1 delete, 2 delete range */
	int key, other, value;
};

struct model_commit {
	struct model_step steps[MODEL_STEPS];
	bool fail;
};

static struct slice
model_key(char out[4], int key)
{
	ENSURE(key >= 0 && key <= 99);
	out[0] = 'm';
	out[1] = (char)('0' + key / 10);
	out[2] = (char)('0' + key % 10);
	return slice_make(out, 3);
}

static enum status
model_run(struct engine_txn *txn, void *arg)
{
	struct model_commit *commit = arg;
	for (int i = 0; i < MODEL_STEPS; i++) {
		const struct model_step *step = &commit->steps[i];
		char a[4], b[4];
		struct slice key = model_key(a, step->key);
		if (step->kind == 0) {
			int value = step->value;
			engine_put(
			    txn, key, slice_make((const char *)&value, sizeof value));
		} else if (step->kind == 1) {
			engine_del(txn, key);
		} else {
			engine_del_range(txn, key, model_key(b, step->other));
		}
	}
	return commit->fail ? STATUS_QUOTA : engine_txn_status(txn);
}

static void
model_apply(int *model, const struct model_commit *commit)
{
	for (int i = 0; i < MODEL_STEPS; i++) {
		const struct model_step *step = &commit->steps[i];
		if (step->kind == 0)
			model[step->key] = step->value;
		else if (step->kind == 1)
			model[step->key] = -1;
		else
			for (int k = step->key; k < step->other; k++)
				model[k] = -1;
	}
}

static void
model_compare(struct engine *engine, const int *model, bool reverse)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	assert_int_equal(engine_snap(reader, PART_A, &txn), STATUS_OK);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, SLICE_NULL, SLICE_NULL, reverse);
	struct slice key, value;
	for (int n = 0; n < MODEL_KEYS; n++) {
		int k = reverse ? MODEL_KEYS - 1 - n : n;
		if (model[k] < 0)
			continue;
		char want[4];
		int got;
		assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_OK);
		assert_true(slice_equal(key, model_key(want, k)));
		assert_int_equal(value.len, sizeof got);
		memcpy(&got, value.ptr, sizeof got);
		assert_int_equal(got, model[k]);
	}
	assert_int_equal(engine_cursor_next(cursor, &key, &value), STATUS_NOT_FOUND);
	engine_cursor_close(&cursor);
	engine_reader_free(&reader);
}

static void
test_model(void **state)
{
	struct engine *engine = fixture_engine(state);
	int model[MODEL_KEYS];
	for (int i = 0; i < MODEL_KEYS; i++)
		model[i] = -1;
	unsigned seed = 12345;
	for (int round = 0; round < MODEL_ROUNDS; round++) {
		struct model_commit commit = {.fail = rand_r(&seed) % 8 == 0};
		for (int i = 0; i < MODEL_STEPS; i++) {
			struct model_step *step = &commit.steps[i];
			int kind = rand_r(&seed) % 16;
			step->kind = kind < 9 ? 0 : kind < 15 ? 1 : 2;
			step->key = rand_r(&seed) % MODEL_KEYS;
			step->other = step->key + rand_r(&seed) % 9;
			if (step->other > MODEL_KEYS)
				step->other = MODEL_KEYS;
			step->value = rand_r(&seed);
		}
		enum status status =
		    engine_commit_wait(engine, PART_A, model_run, &commit, NULL);
		assert_int_equal(status, commit.fail ? STATUS_QUOTA : STATUS_OK);
		if (!commit.fail)
			model_apply(model, &commit);
		model_compare(engine, model, round % 2);
	}
	fixture_check(engine);
}

#define SUITE(setup)                                                                     \
	cmocka_unit_test_setup_teardown(test_get_put_del, setup, fixture_teardown),      \
	    cmocka_unit_test_setup_teardown(                                             \
		test_cursor_bounds, setup, fixture_teardown),                            \
	    cmocka_unit_test_setup_teardown(test_cursor_seek, setup, fixture_teardown),  \
	    cmocka_unit_test_setup_teardown(                                             \
		test_cursor_writes, setup, fixture_teardown),                            \
	    cmocka_unit_test_setup_teardown(test_del_range, setup, fixture_teardown),    \
	    cmocka_unit_test_setup_teardown(test_versions, setup, fixture_teardown),     \
	    cmocka_unit_test_setup_teardown(test_snapshots, setup, fixture_teardown),    \
	    cmocka_unit_test_setup_teardown(test_limits, setup, fixture_teardown),       \
	    cmocka_unit_test_setup_teardown(test_isolation, setup, fixture_teardown),    \
	    cmocka_unit_test_setup_teardown(test_partitions, setup, fixture_teardown),   \
	    cmocka_unit_test_setup_teardown(test_watch, setup, fixture_teardown),        \
	    cmocka_unit_test_setup_teardown(test_model, setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest plain[] = {SUITE(fixture_setup_mem)};
	const struct CMUnitTest reruns[] = {SUITE(fixture_setup_mem_reruns)};
	int failed = cmocka_run_group_tests_name("mem", plain, NULL, NULL);
	failed += cmocka_run_group_tests_name("mem with re-runs", reruns, NULL, NULL);
#ifndef ENGINE_TEST_MEM_ONLY
	const struct CMUnitTest lmdb[] = {SUITE(fixture_setup_lmdb)};
	failed += cmocka_run_group_tests_name("lmdb", lmdb, NULL, NULL);
#endif
	return failed;
}
