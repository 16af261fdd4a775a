/*
 * What is kept back: with the map full, the disk full, or all reader slots taken, new
 * mail is refused, deletions and flag changes of everything still commit, reading goes
 * on, and the same engine recovers when there is room or a slot again; also after the
 * process that held the slots was killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "unit/store/engine_fixture.h"

enum {
	SLOTS_MAX = 1100, /* more readers than an environment has slots */
	RECORD_SIZE = 120,
	BODIES_MAX = 20000,
	CHANGE_STEP = 200,
	BODY_SIZE = 300,
};

static const struct partition_id PART = {
    {'A', 9}
};

static struct engine *
engine_small(const char *path, uint64_t map_size)
{
	struct engine_options options = {
	    .path = path,
	    .map_size = map_size,
	    .shards = 1,
	    .segment_size = 1 << 20,
	    .create = true,
	    .sync = false,
	};
	struct engine *engine;
	char *error = NULL;
	enum status status = engine_open(&options, &engine, &error);
	if (status != STATUS_OK)
		fail_msg("engine_open: %s", error);
	return engine;
}

/* ---- messages: a record each, as large as a derived record makes it ---- */

struct change {
	struct body_draft *draft;
	uint32_t from, to; /* records */
	char flag;         /* 0: away with them */
};

static struct slice
record_key(char out[5], uint32_t number)
{
	out[0] = 'm';
	be32_put(out + 1, number);
	return slice_make(out, 5);
}

static enum status
add_run(struct engine_txn *txn, void *arg)
{
	struct change *change = arg;
	char key[5], value[RECORD_SIZE] = {0};
	uint64_t body;
	enum status status = engine_body_attach(txn, change->draft, &body);
	if (status != STATUS_OK)
		return status;
	be64_put(value, body);
	engine_put(txn, record_key(key, change->from), slice_make(value, sizeof value));
	return engine_txn_status(txn);
}

static enum status
change_run(struct engine_txn *txn, void *arg)
{
	struct change *change = arg;
	for (uint32_t i = change->from; i < change->to; i++) {
		char key_bytes[5], copy[RECORD_SIZE];
		struct slice value, key = record_key(key_bytes, i);
		enum status status = engine_get(txn, key, &value);
		if (status != STATUS_OK)
			return status;
		memcpy(copy, value.ptr, sizeof copy);
		if (change->flag) {
			copy[RECORD_SIZE - 1] = change->flag;
			engine_put(txn, key, slice_make(copy, sizeof copy));
			continue;
		}
		status = engine_body_release(txn, be64_get(copy));
		if (status != STATUS_OK)
			return status;
		engine_del(txn, key);
	}
	return engine_txn_status(txn);
}

static enum status
add(struct engine *engine, uint32_t number)
{
	struct change change = {.from = number};
	char bytes[BODY_SIZE];
	memset(bytes, 'a' + (int)(number % 26), sizeof bytes);
	change.draft = engine_draft_new(engine, 1 << 20);
	enum status status =
	    body_draft_append(change.draft, slice_make(bytes, sizeof bytes));
	if (status == STATUS_OK)
		status = body_draft_seal(change.draft);
	if (status == STATUS_OK)
		status = engine_commit_wait(engine, PART, add_run, &change, change.draft);
	body_draft_unref(&change.draft);
	return status;
}

/* By commits over so many records. */
static enum status
change(struct engine *engine, uint32_t from, uint32_t to, char flag)
{
	enum status status = STATUS_OK;
	do {
		struct change step = {.from = from, .to = to, .flag = flag};
		if (to - from > CHANGE_STEP)
			step.to = from + CHANGE_STEP;
		status = engine_commit_wait(engine, PART, change_run, &step, NULL);
		from = step.to;
	} while (from < to && status == STATUS_OK);
	return status;
}

static enum status
look(struct engine *engine, uint32_t number)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	struct slice value;
	char key[5];
	enum status status = engine_snap(reader, PART, &txn);
	if (status == STATUS_OK)
		status = engine_get(txn, record_key(key, number), &value);
	if (status == STATUS_OK)
		status = engine_body_verify(txn, be64_get(value.ptr));
	engine_reader_free(&reader);
	return status;
}

/* Adds until FULL; returns how many there are then. */
static uint32_t
fill(struct engine *engine)
{
	uint32_t count = 0;
	enum status status = STATUS_OK;
	while (count < BODIES_MAX && (status = add(engine, count)) == STATUS_OK)
		count++;
	assert_int_equal(status, STATUS_FULL);
	assert_true(count > 100);
	return count;
}

struct grown {
	struct engine_commit commit;
	_Atomic int status;
};

static void
grown_done(struct engine_commit *commit, enum status status)
{
	atomic_store(&LIST_ENTRY(commit, struct grown, commit)->status, (int)status);
}

/* A commit without a body that says that it grows. */
static enum status
grow(struct engine *engine, struct change *what)
{
	struct grown grown = {
	    .commit = {.part = PART,
		       .fn = change_run,
		       .arg = what,
		       .done = grown_done,
		       .grows = true}
        };
	atomic_init(&grown.status, -1);
	engine_submit(engine, &grown.commit);
	while (atomic_load(&grown.status) < 0)
		usleep(100);
	/* done was called inside the writer; its lock orders what follows. */
	assert_int_equal(change(engine, 0, 0, 'x'), STATUS_OK);
	return (enum status)atomic_load(&grown.status);
}

/* Full: every record is flagged, several times, and then all but one deleted, while new
 * mail is refused. */
static void
live_on(struct engine *engine, uint32_t count)
{
	struct change flagged = {.from = 0, .to = 1, .flag = 'g'};
	for (int round = 0; round < 5; round++) {
		assert_int_equal(
		    change(engine, 0, count, (char)('0' + round)), STATUS_OK);
		assert_int_equal(add(engine, count), STATUS_FULL);
	}
	assert_int_equal(grow(engine, &flagged), STATUS_FULL);
	assert_int_equal(look(engine, 0), STATUS_OK);
	assert_int_equal(look(engine, count - 1), STATUS_OK);
	assert_int_equal(change(engine, 0, count - 1, 0), STATUS_OK);
	assert_int_equal(look(engine, count - 1), STATUS_OK);
}

static void
recovers(struct engine *engine, uint32_t number)
{
	enum status status = STATUS_FULL;
	/* Pages of the deletion are free after the next commits; the count of free pages
	 * is taken a few times a second. */
	for (int i = 0; i < 100 && status == STATUS_FULL; i++) {
		status = add(engine, number);
		usleep(20000);
		assert_int_equal(change(engine, 0, 0, 'x'), STATUS_OK);
		if (status == STATUS_FULL)
			assert_int_equal(
			    change(engine, number - 1, number, 'y'), STATUS_OK);
	}
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(look(engine, number), STATUS_OK);
	fixture_check(engine);
}

static void
test_map_full(void **state)
{
	(void)state;
	char path[200];
	fixture_path_make(path, sizeof path);
	struct engine *engine = engine_small(path, 4 << 20);
	uint32_t count = fill(engine);
	live_on(engine, count);
	recovers(engine, count);
	engine_close(&engine);
	fixture_path_remove(path);
}

static void
test_disk_full(void **state)
{
	(void)state;
	char path[200];
	fixture_path_make(path, sizeof path);
	struct engine *engine = engine_small(path, 1 << 30);
	struct rlimit before, limit;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	assert_int_equal(add(engine, BODIES_MAX), STATUS_OK);
	/* From here on nothing more is to be had (the tests' stand-in for a full disk;
	 * run_full_disk.py has a real one). */
	signal(SIGXFSZ, SIG_IGN);
	limit.rlim_cur = 3 << 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	uint32_t count = fill(engine);
	live_on(engine, count);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	recovers(engine, count);
	engine_close(&engine);
	fixture_path_remove(path);
}

/* The blocks ahead are there, and stay there when the file is closed. */
static void
test_blocks_ahead(void **state)
{
	(void)state;
	char path[200], data[300];
	struct stat st;
	fixture_path_make(path, sizeof path);
	struct engine *engine = engine_small(path, 1 << 30);
	assert_int_equal(add(engine, 0), STATUS_OK);
	engine_close(&engine);
	snprintf(data, sizeof data, "%s/shard-00/data.mdb", path);
	assert_int_equal(stat(data, &st), 0);
	assert_true(st.st_blocks * 512 >= st.st_size + (2 << 20));
	fixture_path_remove(path);
}

/* ---- reader slots ---- */

/* A process that takes every slot and says how many it got. */
static void
slots_take(const char *path, int tell)
{
	struct engine *engine = engine_small(path, 1 << 28);
	static struct engine_reader *readers[SLOTS_MAX];
	unsigned got = 0;
	enum status status = STATUS_OK;
	for (; got < SLOTS_MAX && status == STATUS_OK; got++) {
		struct engine_txn *txn;
		readers[got] = engine_reader_new(engine);
		status = engine_snap(readers[got], PART, &txn);
	}
	got -= status != STATUS_OK;
	if (status != STATUS_BUSY || write(tell, &got, sizeof got) != sizeof got)
		_exit(1);
	for (;;)
		pause();
}

/* A child that dies with its parent, should a check here fail. */
static pid_t
child_start(void)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void
test_slots_of_killed_process(void **state)
{
	(void)state;
	char path[200], byte = 0;
	int ends[2], go[2];
	unsigned got = 0;
	struct engine_stats stats;
	fixture_path_make(path, sizeof path);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pipe(go), 0);
	pid_t pid = child_start();
	if (pid == 0) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		slots_take(path, ends[1]);
	}
	struct engine *engine = engine_small(path, 1 << 28);
	assert_int_equal(add(engine, 0), STATUS_OK);
	assert_int_equal(write(go[1], &byte, 1), 1);
	assert_int_equal(read(ends[0], &got, sizeof got), sizeof got);
	assert_true(got > 500);
	/* Reading is refused for the moment; writing goes on. */
	assert_int_equal(look(engine, 0), STATUS_BUSY);
	assert_int_equal(add(engine, 1), STATUS_OK);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* Without a restart, and without waiting for maintenance. */
	assert_int_equal(look(engine, 0), STATUS_OK);
	assert_int_equal(look(engine, 1), STATUS_OK);
	engine_stats(engine, &stats);
	assert_true(stats.readers_cleared >= got);
	engine_close(&engine);
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(go[i]);
	}
	fixture_path_remove(path);
}

/* One that held an old snapshot: after its death what it kept from being reused is. */
static void
test_old_snapshot_of_killed_process(void **state)
{
	(void)state;
	char path[200], byte = 0;
	int ends[2];
	fixture_path_make(path, sizeof path);
	struct engine *engine = engine_small(path, 1 << 28);
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(add(engine, i), STATUS_OK);
	engine_close(&engine);
	assert_int_equal(pipe(ends), 0);
	pid_t pid = child_start();
	if (pid == 0) {
		engine = engine_small(path, 1 << 28);
		struct engine_reader *reader = engine_reader_new(engine);
		struct engine_txn *txn;
		if (engine_snap(reader, PART, &txn) != STATUS_OK ||
		    write(ends[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	engine = engine_small(path, 1 << 28);
	assert_int_equal(change(engine, 0, 50, 0), STATUS_OK);
	/* The snapshot still needs the segment's file. */
	assert_int_equal(engine_maintain(engine), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(engine_maintain(engine) > 0);
	fixture_check(engine);
	engine_close(&engine);
	close(ends[0]);
	close(ends[1]);
	fixture_path_remove(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_map_full),
	    cmocka_unit_test(test_disk_full),
	    cmocka_unit_test(test_blocks_ahead),
	    cmocka_unit_test(test_slots_of_killed_process),
	    cmocka_unit_test(test_old_snapshot_of_killed_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
