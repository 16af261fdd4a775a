/*
 * Reclaiming by compaction: the files stay small under churn, whatever is moved reads as
 * before, and a file goes only when no reader, handle or backup can need it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"
#include "text/message_index.h"
#include "unit/store/engine_fixture.h"

enum {
	LIVE = 1500,  /* bodies */
	CHURN = 3000, /* replaced in a run */
	SIZE_MAX_ = 16 * 1024,
	MAINTAIN_EVERY = 600,
};

static const struct partition_id PART = {
    {'A', 3}
};

static size_t
size_of(uint64_t number)
{
	return 100 + number * 7919 % SIZE_MAX_;
}

static struct slice
slot_key(char bytes[9], uint64_t slot)
{
	bytes[0] = 's';
	be64_put(bytes + 1, slot);
	return slice_make(bytes, 9);
}

/* ---- one commit: the slot's body is replaced, or taken away ---- */

struct replace {
	struct body_draft *draft; /* null: only away */
	uint64_t slot, number;
};

static enum status
replace_run(struct engine_txn *txn, void *arg)
{
	struct replace *replace = arg;
	char bytes[9], value[16];
	struct slice old, key = slot_key(bytes, replace->slot);
	enum status status = engine_get(txn, key, &old);
	uint64_t old_body = status == STATUS_OK ? be64_get(old.ptr) : 0;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	if (old_body != 0) {
		status = engine_body_release(txn, old_body);
		if (status != STATUS_OK)
			return status;
	}
	if (!replace->draft) {
		engine_del(txn, key);
		return engine_txn_status(txn);
	}
	uint64_t body;
	status = engine_body_attach(txn, replace->draft, &body);
	if (status != STATUS_OK)
		return status;
	be64_put(value, body);
	be64_put(value + 8, replace->number);
	engine_put(txn, key, slice_make(value, sizeof value));
	return engine_txn_status(txn);
}

static void
replace(struct engine *engine, uint64_t slot, uint64_t number)
{
	struct replace r = {engine_draft_new(engine, 1 << 22), slot, number};
	size_t size = size_of(number);
	char *bytes = xmalloc(size);
	memset(bytes, (int)('a' + number % 26), size);
	ENSURE(body_draft_append(r.draft, slice_make(bytes, size)) == STATUS_OK);
	free(bytes);
	ENSURE(body_draft_seal(r.draft) == STATUS_OK);
	ENSURE(engine_commit_wait(engine, PART, replace_run, &r, r.draft) == STATUS_OK);
	body_draft_unref(&r.draft);
}

static void
away(struct engine *engine, uint64_t slot)
{
	struct replace r = {NULL, slot, 0};
	ENSURE(engine_commit_wait(engine, PART, replace_run, &r, NULL) == STATUS_OK);
}

/* True when the slot holds a body, and then it is what it has to be. */
static bool
slot_ok(struct engine_txn *txn, uint64_t slot)
{
	char bytes[9];
	struct slice value;
	struct body_handle handle;
	enum status status = engine_get(txn, slot_key(bytes, slot), &value);
	if (status == STATUS_NOT_FOUND)
		return false;
	ENSURE(status == STATUS_OK);
	uint64_t body = be64_get(value.ptr), number = be64_get(value.ptr + 8);
	ENSURE(engine_body_verify(txn, body) == STATUS_OK);
	ENSURE(engine_body_open(txn, body, &handle) == STATUS_OK);
	ENSURE(handle.size == size_of(number));
	for (size_t i = 0; i < handle.size; i += 97)
		ENSURE(handle.map[i] == (char)('a' + number % 26));
	AUTO_BUF struct buf want;
	struct slice derived;
	buf_init(&want, MESSAGE_INDEX_MAX);
	ENSURE(message_index_build(body_handle_bytes(&handle), &want));
	ENSURE(engine_body_derived(txn, body, &derived) == STATUS_OK);
	ENSURE(slice_equal(derived, buf_slice(&want)));
	body_handle_close(&handle);
	return true;
}

static size_t
slots_check(struct engine *engine)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	size_t found = 0;
	ENSURE(engine_snap(reader, PART, &txn) == STATUS_OK);
	for (uint64_t slot = 0; slot < LIVE; slot++)
		found += slot_ok(txn, slot);
	engine_reader_free(&reader);
	fixture_check(engine);
	return found;
}

static struct engine_reclaim
compact_all(struct engine *engine, uint32_t dead_percent)
{
	struct engine_reclaim total = {0};
	do {
		total.deleted += engine_maintain(engine);
		ENSURE(
		    engine_compact(engine, 1 << 20, dead_percent, &total) == STATUS_OK);
	} while (total.more);
	total.deleted += engine_maintain(engine);
	return total;
}

/* A steady number of messages, of which some old ones and many young ones are replaced
 * all the time. */
static void
test_churn(void **state)
{
	struct engine *engine = fixture_engine(state);
	uint64_t number = 0, written = 0;
	unsigned seed = 7;
	double worst = 0;
	struct engine_reclaim total = {0};
	struct engine_space space;
	for (uint64_t slot = 0; slot < LIVE; slot++)
		replace(engine, slot, ++number);
	for (int i = 0; i < CHURN; i++) {
		uint64_t slot = (uint64_t)rand_r(&seed) % LIVE;
		if (rand_r(&seed) % 4)
			slot %= LIVE / 8;
		written += size_of(++number);
		replace(engine, slot, number);
		if (i % MAINTAIN_EVERY != MAINTAIN_EVERY - 1)
			continue;
		struct engine_reclaim step = compact_all(engine, 15);
		total.moved_bytes += step.moved_bytes;
		assert_int_equal(engine_space(engine, &space), STATUS_OK);
		double ratio = (double)space.file_bytes / (double)space.live_bytes;
		worst = ratio > worst ? ratio : worst;
	}
	printf("churn: %.1f MB written, %.1f MB moved (%.2f a byte), files at worst %.2f "
	       "of what lives\n",
	    (double)written / 1e6, (double)total.moved_bytes / 1e6,
	    (double)total.moved_bytes / (double)written, worst);
	assert_true(worst < 1.3);
	assert_int_equal(slots_check(engine), LIVE);
	/* And what was moved can be moved again, and go. */
	for (uint64_t slot = 0; slot < LIVE; slot += 2)
		away(engine, slot);
	compact_all(engine, 2);
	assert_int_equal(slots_check(engine), LIVE / 2);
	for (uint64_t slot = 0; slot < LIVE; slot++)
		away(engine, slot);
	compact_all(engine, 2);
	assert_int_equal(slots_check(engine), 0);
	assert_int_equal(engine_space(engine, &space), STATUS_OK);
	assert_int_equal(space.live_bytes, 0);
	/* Nothing is left but what this process appends to. */
	assert_true(space.file_bytes <= 2 << 20);
}

/* Fills some segments and takes three quarters of the bodies away. */
static void
fill_and_thin(struct engine *engine)
{
	for (uint64_t slot = 0; slot < LIVE; slot++)
		replace(engine, slot, slot + 1);
	for (uint64_t slot = 0; slot < LIVE; slot++) {
		if (slot % 4)
			away(engine, slot);
	}
}

static void
test_snapshot_keeps_files(void **state)
{
	struct engine *engine = fixture_engine(state);
	struct engine_space space;
	struct engine_txn *txn;
	fill_and_thin(engine);
	struct engine_reader *reader = engine_reader_new(engine);
	assert_int_equal(engine_snap(reader, PART, &txn), STATUS_OK);
	struct engine_reclaim reclaim = compact_all(engine, 15);
	assert_true(reclaim.moved_bytes > 0);
	assert_int_equal(reclaim.deleted, 0);
	assert_int_equal(engine_space(engine, &space), STATUS_OK);
	assert_true(space.retired > 3);
	/* The old snapshot finds its bodies in the old files. */
	for (uint64_t slot = 0; slot < LIVE; slot += 4)
		assert_true(slot_ok(txn, slot));
	char bytes[9];
	struct slice value;
	struct body_handle handle;
	assert_int_equal(engine_get(txn, slot_key(bytes, 0), &value), STATUS_OK);
	assert_int_equal(engine_body_open(txn, be64_get(value.ptr), &handle), STATUS_OK);
	engine_reader_end(reader);
	assert_true(engine_maintain(engine) > 3);
	/* A handle outlives the file. */
	assert_int_equal(handle.size, size_of(1));
	assert_int_equal(handle.map[handle.size - 1], 'b');
	body_handle_close(&handle);
	engine_reader_free(&reader);
	assert_int_equal(slots_check(engine), LIVE / 4);
}

static void
test_backup_keeps_files(void **state)
{
	struct fixture *fixture = *state;
	struct engine *engine = fixture->engine;
	char path[300];
	snprintf(path, sizeof path, "%s/backup.lock", fixture->path);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && flock(fd, LOCK_SH) == 0);
	fill_and_thin(engine);
	assert_int_equal(compact_all(engine, 15).deleted, 0);
	/* One that has not moved for long is not waited for. */
	struct timespec old[2] = {
	    {.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
	assert_int_equal(futimens(fd, old), 0);
	assert_true(engine_maintain(engine) > 3);
	close(fd);
	assert_int_equal(slots_check(engine), LIVE / 4);
}

/* Backups that hang or are killed, one after the other, while messages come and go: files
 * stay bounded, since a dead one's lock is gone and a hanging one's is not believed. */
static void
test_churn_beside_dead_backups(void **state)
{
	struct fixture *fixture = *state;
	struct engine *engine = fixture->engine;
	struct engine_space space;
	char path[300];
	uint64_t number = 0;
	double worst = 0;
	snprintf(path, sizeof path, "%s/backup.lock", fixture->path);
	for (uint64_t slot = 0; slot < LIVE; slot++)
		replace(engine, slot, ++number);
	for (int round = 0; round < 4; round++) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
		if (round % 2) { /* it hangs: for longer than is waited for */
			struct timespec old[2] = {
			    {.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
			assert_int_equal(futimens(fd, old), 0);
		} else { /* it is killed */
			close(fd);
		}
		for (uint64_t i = 0; i < LIVE / 2; i++)
			replace(engine, i * 7 % LIVE, ++number);
		compact_all(engine, 15);
		assert_int_equal(engine_space(engine, &space), STATUS_OK);
		double ratio = (double)space.file_bytes / (double)space.live_bytes;
		worst = ratio > worst ? ratio : worst;
		if (round % 2)
			close(fd);
	}
	printf("beside dead backups: files at worst %.2f of what lives\n", worst);
	assert_true(worst < 1.5);
	assert_int_equal(slots_check(engine), LIVE);
}

/* ---- beside everything else ---- */

static atomic_bool stop;

static void *
compact_main(void *arg)
{
	while (!atomic_load(&stop))
		compact_all(arg, 5);
	return NULL;
}

static void *
read_main(void *arg)
{
	struct engine_reader *reader = engine_reader_new(arg);
	unsigned seed = 99;
	while (!atomic_load(&stop)) {
		struct engine_txn *txn;
		ENSURE(engine_snap(reader, PART, &txn) == STATUS_OK);
		for (int i = 0; i < 50; i++)
			slot_ok(txn, (uint64_t)rand_r(&seed) % LIVE);
		engine_reader_end(reader);
	}
	engine_reader_free(&reader);
	return NULL;
}

static void
test_beside_others(void **state)
{
	struct engine *engine = fixture_engine(state);
	pthread_t compactor, reader;
	unsigned seed = 5;
	for (uint64_t slot = 0; slot < LIVE; slot++)
		replace(engine, slot, slot + 1);
	atomic_store(&stop, false);
	ENSURE(pthread_create(&compactor, NULL, compact_main, engine) == 0);
	ENSURE(pthread_create(&reader, NULL, read_main, engine) == 0);
	for (uint64_t i = 0; i < 500; i++)
		replace(engine, (uint64_t)rand_r(&seed) % LIVE, LIVE + i);
	atomic_store(&stop, true);
	pthread_join(compactor, NULL);
	pthread_join(reader, NULL);
	assert_int_equal(slots_check(engine), LIVE);
}

/* The oldest reader's age is told; a reader of a process that was killed holds nothing.
 */
static void
test_readers(void **state)
{
	struct fixture *fixture = *state;
	struct engine_txn *txn;
	struct engine_stats stats;
	struct engine_reader *reader = engine_reader_new(fixture->engine);
	assert_int_equal(engine_snap(reader, PART, &txn), STATUS_OK);
	usleep(30 * 1000);
	engine_stats(fixture->engine, &stats);
	assert_true(stats.oldest_reader_age_ms >= 20);
	engine_reader_end(reader);
	engine_stats(fixture->engine, &stats);
	assert_int_equal(stats.oldest_reader_age_ms, 0);
	assert_int_equal(stats.readers_cleared, 0);
	engine_reader_free(&reader);
	replace(fixture->engine, 1, 1);
	fixture_close(state);
	int ready[2];
	char byte = 0;
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct engine *engine = fixture_open(fixture->path);
		reader = engine_reader_new(engine);
		ENSURE(engine_snap(reader, PART, &txn) == STATUS_OK);
		ENSURE(write(ready[1], &byte, 1) == 1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	fixture->engine = fixture_open(fixture->path);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ready[0]);
	close(ready[1]);
	engine_maintain(fixture->engine);
	engine_stats(fixture->engine, &stats);
	assert_true(stats.readers_cleared >= 1);
	/* And the file of what goes now goes too, though that reader never ended. */
	away(fixture->engine, 1);
	assert_true(engine_maintain(fixture->engine) >= 1);
	fixture_check(fixture->engine);
}

int
main(void)
{
#define TEST(name)                                                                       \
	cmocka_unit_test_setup_teardown(name, fixture_setup_lmdb, fixture_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_readers),
	    TEST(test_churn),
	    TEST(test_snapshot_keeps_files),
	    TEST(test_backup_keeps_files),
	    TEST(test_churn_beside_dead_backups),
	    TEST(test_beside_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
