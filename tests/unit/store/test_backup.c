/*
 * Backup and restore: what is restored is the store as it was, also when mail comes in,
 * is deleted and compacted meanwhile; made again, only what is new is copied; a backup
 * that was cut short or damaged is told.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/file.h"
#include "store/store_backup.h"
#include "store/store_maintain.h"
#include "unit/store/store_fixture.h"

static struct store_backup_totals
backup(struct fixture *f, const char *dir)
{
	struct store_backup_options options = {0};
	struct store_backup_totals totals;
	char *error = NULL;
	enum status status = store_backup(f->store, dir, &options, &totals, &error);
	if (status != STATUS_OK)
		fail_msg("backup: %s", error);
	return totals;
}

static void
dir_name(const struct fixture *f, const char *suffix, char out[300])
{
	snprintf(out, 300, "%s%s", f->path, suffix);
	file_tree_remove(out);
}

/* Restores and opens it: it passes the check.  Returns jo's messages in INBOX. */
static uint32_t
restored_count(const struct fixture *f, const char *dir)
{
	struct fixture r = *f;
	struct store_backup_options options = {0};
	struct store_backup_totals totals;
	char *error = NULL, path[300];
	dir_name(f, ".restored", path);
	enum status status = store_restore(dir, path, &options, &totals, &error);
	if (status != STATUS_OK)
		fail_msg("restore: %s", error);
	assert_int_equal(
	    store_restore(dir, path, &options, &totals, &error), STATUS_EXISTS);
	free(error);
	ENSURE(strlen(path) < sizeof r.path);
	memcpy(r.path, path, strlen(path) + 1);
	r.backend = 0;
	fixture_open_store(&r);
	uint32_t count = fixture_info(&r, f->jo, "INBOX").exists;
	store_reader_end(r.reader);
	fixture_check(&r);
	/* It can go on. */
	assert_int_equal(
	    fixture_deliver(&r, f->jo, "INBOX", "after", 0, NULL), STATUS_OK);
	fixture_check(&r);
	store_reader_free(&r.reader);
	store_close(&r.store);
	file_tree_remove(path);
	return count;
}

static void
deliver_n(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++) {
		char subject[40];
		snprintf(subject, sizeof subject, "message %d", i);
		assert_int_equal(
		    fixture_deliver(f, f->jo, "INBOX", subject, 0, NULL), STATUS_OK);
	}
}

static void
test_again_copies_what_is_new(void **state)
{
	(void)state;
	struct fixture f;
	char dir[300];
	fixture_init(&f, 0);
	dir_name(&f, ".backup", dir);
	deliver_n(&f, 50);
	struct store_backup_totals first = backup(&f, dir);
	assert_int_equal(first.copied_bytes, first.bytes);
	assert_int_equal(restored_count(&f, dir), 50);
	deliver_n(&f, 10);
	struct store_backup_totals second = backup(&f, dir);
	assert_true(second.copied_bytes < second.bytes);
	assert_int_equal(restored_count(&f, dir), 60);
	assert_int_equal(restored_count(&f, dir), 60); /* the backup is as it was */
	/* Another store's backup is not written over. */
	struct fixture g;
	fixture_init(&g, 0);
	struct store_backup_options options = {0};
	struct store_backup_totals totals;
	char *error = NULL;
	assert_int_equal(
	    store_backup(g.store, dir, &options, &totals, &error), STATUS_EXISTS);
	free(error);
	fixture_fini(&g);
	file_tree_remove(dir);
	fixture_fini(&f);
}

static void
test_damage_is_told(void **state)
{
	(void)state;
	struct fixture f;
	char dir[300], path[400], target[300];
	fixture_init(&f, 0);
	dir_name(&f, ".backup", dir);
	dir_name(&f, ".restored", target);
	deliver_n(&f, 5);
	backup(&f, dir);
	static const char *const FILES[] = {"superblock", "manifest"};
	for (size_t i = 0; i < 2; i++) {
		struct store_backup_options options = {0};
		struct store_backup_totals totals;
		char *error = NULL, byte;
		struct stat st;
		snprintf(path, sizeof path, "%s/%s", dir, FILES[i]);
		int fd = open(path, O_RDWR);
		assert_true(fd >= 0 && pread(fd, &byte, 1, 24) == 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, 24), 1);
		assert_int_equal(store_restore(dir, target, &options, &totals, &error),
		    STATUS_CORRUPT);
		free(error);
		assert_int_not_equal(lstat(target, &st), 0);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, 24), 1);
		close(fd);
	}
	assert_int_equal(restored_count(&f, dir), 5);
	file_tree_remove(dir);
	fixture_fini(&f);
}

/* One that is cut short in any of its first bytes leaves the one before it whole. */
static void
test_cut_short(void **state)
{
	(void)state;
	struct fixture f;
	struct rlimit room;
	char dir[300];
	fixture_init(&f, 0);
	dir_name(&f, ".backup", dir);
	deliver_n(&f, 5);
	backup(&f, dir);
	deliver_n(&f, 5);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &room), 0);
	void (*was)(int) = signal(SIGXFSZ, SIG_IGN);
	for (rlim_t bytes = 0; bytes < 120; bytes += 10) {
		struct store_backup_options options = {0};
		struct store_backup_totals totals;
		char *error = NULL;
		struct rlimit little = {bytes, room.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
		enum status status =
		    store_backup(f.store, dir, &options, &totals, &error);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &room), 0);
		assert_int_not_equal(status, STATUS_OK);
		free(error);
		assert_int_equal(restored_count(&f, dir), 5);
	}
	signal(SIGXFSZ, was);
	backup(&f, dir);
	assert_int_equal(restored_count(&f, dir), 10);
	file_tree_remove(dir);
	fixture_fini(&f);
}

/* ---- while it serves ---- */

struct serving {
	struct fixture *f;
	atomic_bool stop;
	_Atomic uint32_t delivered;
};

static void *
serve_main(void *arg)
{
	struct serving *s = arg;
	struct fixture mine = *s->f;
	mine.reader = store_reader_new(mine.store, NULL, NULL);
	mine.arena = arena_new(64 * 1024 * 1024);
	uint32_t box = fixture_box(&mine, mine.amy, "INBOX");
	while (!atomic_load(&s->stop)) {
		uint32_t uid;
		char subject[40];
		snprintf(subject, sizeof subject, "n%u", atomic_load(&s->delivered));
		ENSURE(fixture_deliver(&mine, mine.jo, "INBOX", subject, 0, NULL) ==
		       STATUS_OK);
		atomic_fetch_add(&s->delivered, 1);
		ENSURE(fixture_deliver(&mine, mine.amy, "INBOX", subject, MESSAGE_DELETED,
			   &uid) == STATUS_OK);
		struct uid_range range = {uid, uid};
		struct expunge_op op = {.op = {.arena = mine.arena},
		    .account = mine.amy,
		    .mailbox = box,
		    .ranges = &range,
		    .range_count = 1};
		expunge_op_submit(mine.reader, &op);
		struct store_compaction done = {0};
		ENSURE(store_compact_step(mine.store, &done) == STATUS_OK);
		store_reader_end(mine.reader);
	}
	store_reader_free(&mine.reader);
	arena_free(&mine.arena);
	return NULL;
}

static void
test_while_it_serves(void **state)
{
	(void)state;
	struct fixture f;
	char dir[300];
	fixture_init(&f, 0);
	dir_name(&f, ".backup", dir);
	deliver_n(&f, 20);
	struct serving serving = {.f = &f};
	pthread_t thread;
	ENSURE(pthread_create(&thread, NULL, serve_main, &serving) == 0);
	for (int i = 0; i < 6; i++) {
		uint32_t before = atomic_load(&serving.delivered);
		backup(&f, dir);
		uint32_t after = atomic_load(&serving.delivered) + 1;
		/* Nothing acknowledged before it is missing. */
		uint32_t count = restored_count(&f, dir);
		assert_true(count >= 20 + before && count <= 20 + after);
	}
	atomic_store(&serving.stop, true);
	pthread_join(thread, NULL);
	file_tree_remove(dir);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_again_copies_what_is_new),
	    cmocka_unit_test(test_damage_is_told),
	    cmocka_unit_test(test_cut_short),
	    cmocka_unit_test(test_while_it_serves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
