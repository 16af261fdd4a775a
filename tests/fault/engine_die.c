/*
 * A process dies when its transaction is on the disk but not yet announced: LMDB has
 * written its meta page and not told the other processes, which go on reading the
 * snapshot before it until the next writer looks.  Maintenance of another process at
 * that moment must not take what it cannot see yet for garbage.
 *
 * The program runs itself as the process that dies: `die <path>`.  It is killed behind
 * the write through the descriptor that syncs (O_DSYNC), which LMDB has for meta pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "unit/store/engine_fixture.h"

enum {
	DRAFTS = 20,
	DRAFT_SIZE = 100 * 1000, /* bytes; together too many for "redo" (decision 0011) */
	DRAFT_ROOM = 1 << 20,
};

static const struct partition_id PART = {
    {'A', 3}
};
static const char *self;
static _Atomic bool dies;

static ssize_t
write_and_die(int fd, const void *bytes, size_t len, off_t offset)
{
	ssize_t done = syscall(SYS_pwrite64, fd, bytes, len, offset);
	if (atomic_load(&dies) && (fcntl(fd, F_GETFL) & O_DSYNC))
		kill(getpid(), SIGKILL);
	return done;
}

/* Before the C library's: LMDB calls the one or the other. */
ssize_t
pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	return write_and_die(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset);
ssize_t
pwrite64(int fd, const void *bytes, size_t len, off_t offset)
{
	return write_and_die(fd, bytes, len, offset);
}

static struct engine *
die_open(const char *path)
{
	struct engine_options options = {
	    .path = path,
	    .map_size = (uint64_t)1 << 30,
	    .shards = 1,
	    .segment_size = 64 << 20,
	    .create = true,
	    .sync = true,
	};
	struct engine *engine = NULL;
	char *error = NULL;
	ENSURE(engine_open(&options, &engine, &error) == STATUS_OK);
	return engine;
}

struct deliver {
	struct body_draft *drafts[DRAFTS];
	int count;
	char first; /* of the keys */
};

static enum status
deliver_run(struct engine_txn *txn, void *arg)
{
	struct deliver *deliver = arg;
	for (int i = 0; i < deliver->count; i++) {
		char key[2] = {deliver->first, (char)i}, value[8];
		uint64_t body;
		enum status status = engine_body_attach(txn, deliver->drafts[i], &body);
		if (status != STATUS_OK)
			return status;
		be64_put(value, body);
		engine_put(txn, slice_make(key, 2), slice_make(value, 8));
	}
	return engine_txn_status(txn);
}

static void
deliver(struct engine *engine, char first, int count)
{
	struct deliver d = {.count = count, .first = first};
	char *bytes = xmalloc(DRAFT_SIZE);
	memset(bytes, first, DRAFT_SIZE);
	for (int i = 0; i < count; i++) {
		d.drafts[i] = engine_draft_new(engine, DRAFT_ROOM);
		ENSURE(body_draft_append(d.drafts[i], slice_make(bytes, DRAFT_SIZE)) ==
		       STATUS_OK);
		ENSURE(body_draft_seal(d.drafts[i]) == STATUS_OK);
		if (i > 0)
			body_draft_chain(d.drafts[0], d.drafts[i]);
	}
	free(bytes);
	ENSURE(
	    engine_commit_wait(engine, PART, deliver_run, &d, d.drafts[0]) == STATUS_OK);
	body_draft_unref(&d.drafts[0]);
}

static int
die_main(const char *path)
{
	struct engine *engine = die_open(path);
	deliver(engine, 'a', 1);
	atomic_store(&dies, true);
	deliver(engine, 'b', DRAFTS);
	return 1; /* it lives: not the case that was meant */
}

static size_t
bodies_verify(struct engine *engine, char first)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	size_t found = 0;
	ENSURE(engine_snap(reader, PART, &txn) == STATUS_OK);
	for (int i = 0; i < DRAFTS; i++) {
		char key[2] = {first, (char)i};
		struct slice value;
		enum status status = engine_get(txn, slice_make(key, 2), &value);
		if (status == STATUS_NOT_FOUND)
			continue;
		assert_int_equal(status, STATUS_OK);
		assert_int_equal(engine_body_verify(txn, be64_get(value.ptr)), STATUS_OK);
		found++;
	}
	engine_reader_free(&reader);
	return found;
}

/* Compaction locks the dead process's segment and cuts off what lies behind the last
 * frame: the one of the newest transaction, not of the newest that is announced. */
static void
test_compaction_behind_an_unannounced_commit(void **state)
{
	(void)state;
	char path[200];
	fixture_path_make(path, sizeof path);
	struct engine *engine = die_open(path);
	pid_t child = fork();
	ENSURE(child >= 0);
	if (child == 0) {
		execl(self, self, "die", path, (char *)NULL);
		_exit(127);
	}
	int status = 0;
	ENSURE(waitpid(child, &status, 0) == child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(bodies_verify(engine, 'a'), 1);
	assert_int_equal(bodies_verify(engine, 'b'), 0); /* not announced yet */
	struct engine_reclaim total = {0};
	for (int i = 0; i < 4; i++)
		assert_int_equal(
		    engine_compact(engine, UINT64_MAX, 0, &total), STATUS_OK);
	assert_int_equal(total.unreadable, 0);
	deliver(engine, 'c', 1);
	assert_int_equal(bodies_verify(engine, 'a'), 1);
	assert_int_equal(bodies_verify(engine, 'b'), DRAFTS);
	assert_int_equal(bodies_verify(engine, 'c'), 1);
	engine_close(&engine);
	fixture_path_remove(path);
}

int
main(int argc, char **argv)
{
	self = argv[0];
	if (argc == 3 && strcmp(argv[1], "die") == 0)
		return die_main(argv[2]);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_compaction_behind_an_unannounced_commit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
