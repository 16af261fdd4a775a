/*
 * Bodies of short batches are not synced in their segment (store/engine_lmdb_redo.c).  A
 * power failure that loses them is played by zeroing what was not synced: the next open
 * must bring every byte back, and only once.
 */
#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "store/engine.h"

enum { BODIES = 300 /* more than wait for one sync */, TEXT_MAX = 9000 };

static char root[64];
static bool compress; /* what waits is packed then (body_pack.h) */
static const struct partition_id PART = {
    {'A', 1}
};

static struct engine *
open_engine(void)
{
	struct engine_options options = {.path = root,
	    .map_size = 64 << 20,
	    .shards = 1,
	    .create = true,
	    .sync = true,
	    .compress = compress};
	struct engine *engine = NULL;
	char *error = NULL;
	assert_int_equal(engine_open(&options, &engine, &error), STATUS_OK);
	return engine;
}

static size_t
text_make(unsigned number, char out[TEXT_MAX])
{
	int len = snprintf(out, TEXT_MAX, "Subject: %u\r\n\r\n", number);
	size_t want = (size_t)len + number * 53 % 8000;
	for (size_t i = (size_t)len; i < want; i++)
		out[i] = (char)('a' + (i + number) % 26);
	return want;
}

struct attach {
	struct body_draft *draft;
	uint64_t body;
};

static enum status
attach(struct engine_txn *txn, void *arg)
{
	struct attach *a = arg;
	return engine_body_attach(txn, a->draft, &a->body);
}

static uint64_t
body_add(struct engine *engine, unsigned number)
{
	char text[TEXT_MAX];
	size_t len = text_make(number, text);
	struct attach a = {.draft = engine_draft_new(engine, TEXT_MAX)};
	assert_int_equal(body_draft_append(a.draft, slice_make(text, len)), STATUS_OK);
	assert_int_equal(body_draft_seal(a.draft), STATUS_OK);
	assert_int_equal(
	    engine_commit_wait(engine, PART, attach, &a, a.draft), STATUS_OK);
	body_draft_unref(&a.draft);
	return a.body;
}

/* How many bodies are whole. */
static unsigned
bodies_whole(struct engine *engine, const uint64_t *bodies)
{
	struct engine_reader *reader = engine_reader_new(engine);
	struct engine_txn *txn;
	unsigned whole = 0;
	assert_int_equal(engine_snap(reader, PART, &txn), STATUS_OK);
	for (unsigned i = 0; i < BODIES; i++) {
		char text[TEXT_MAX];
		size_t len = text_make(i, text);
		struct body_handle handle;
		if (engine_body_open(txn, bodies[i], &handle) != STATUS_OK)
			continue;
		bool same =
		    slice_equal(body_handle_bytes(&handle), slice_make(text, len)) &&
		    engine_body_verify(txn, bodies[i]) == STATUS_OK;
		whole += same;
		body_handle_close(&handle);
	}
	engine_reader_end(reader);
	engine_reader_free(&reader);
	return whole;
}

/* Zeroes the last `bytes` of every segment that holds text. */
static void
segments_zero_tail(size_t bytes)
{
	char folder[128], path[512];
	snprintf(folder, sizeof folder, "%s/shard-00/bodies", root);
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".seg"))
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		int fd = open(path, O_RDWR | O_CLOEXEC);
		struct stat st;
		assert_true(fd >= 0 && fstat(fd, &st) == 0);
		size_t from =
		    (size_t)st.st_size > bytes ? (size_t)st.st_size - bytes : 64;
		char *zeroes = xcalloc(1, (size_t)st.st_size - from + 1);
		assert_int_equal(
		    pwrite(fd, zeroes, (size_t)st.st_size - from, (off_t)from),
		    (ssize_t)((size_t)st.st_size - from));
		free(zeroes);
		close(fd);
	}
	closedir(dir);
}

static void
lost_and_found(size_t tail)
{
	snprintf(root, sizeof root, "/tmp/postroom-redo-XXXXXX");
	assert_non_null(mkdtemp(root));
	uint64_t bodies[BODIES];
	struct engine *engine = open_engine();
	for (unsigned i = 0; i < BODIES; i++)
		bodies[i] = body_add(engine, i);
	assert_int_equal(bodies_whole(engine, bodies), BODIES);
	struct engine_stats stats;
	engine_stats(engine, &stats);
	/* One sync a commit but for the few that settle what waits. */
	assert_true(stats.syncs < BODIES + BODIES / 10 + 20);
	engine_close(&engine);

	/* The last body was certainly not synced: it is lost, and comes back. */
	segments_zero_tail(tail);
	engine = open_engine();
	assert_int_equal(bodies_whole(engine, bodies), BODIES);
	engine_close(&engine);

	/* What was brought back was synced, so its second copy is gone: a loss now is
	 * damage, and is told as such. */
	segments_zero_tail(tail);
	engine = open_engine();
	assert_true(bodies_whole(engine, bodies) < BODIES);
	engine_close(&engine);
	char command[128];
	snprintf(command, sizeof command, "rm -rf %s", root);
	assert_int_equal(system(command), 0);
}

/* ---- who shares a batch ---- */

enum { JOINING = 40 };

struct joining {
	struct engine_commit commit; /* first */
	uint64_t body;
	sem_t *began, *go; /* of the one that holds the others up */
	atomic_uint *left;
};

static enum status
join_run(struct engine_txn *txn, void *arg)
{
	struct joining *j = arg;
	if (j->began) {
		sem_post(j->began);
		while (sem_wait(j->go) < 0)
			continue;
		j->began = NULL; /* a rerun does not wait */
	}
	return engine_body_attach(txn, j->commit.drafts, &j->body);
}

static void
join_done(struct engine_commit *commit, enum status status)
{
	ENSURE(status == STATUS_OK);
	atomic_fetch_sub(((struct joining *)commit)->left, 1);
}

static void
join_submit(struct engine *engine, struct joining *j, unsigned number)
{
	char text[TEXT_MAX];
	size_t len = text_make(number, text);
	struct body_draft *draft = engine_draft_new(engine, TEXT_MAX);
	assert_int_equal(body_draft_append(draft, slice_make(text, len)), STATUS_OK);
	assert_int_equal(body_draft_seal(draft), STATUS_OK);
	j->commit = (struct engine_commit){
	    .part = PART, .fn = join_run, .arg = j, .done = join_done, .drafts = draft};
	engine_submit(engine, &j->commit);
}

/* What is submitted while another commit runs is one batch: two flushes for all of it. */
static void
test_small_commits_join(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "/tmp/postroom-redo-XXXXXX");
	assert_non_null(mkdtemp(root));
	struct engine *engine = open_engine();
	(void)body_add(engine, 0); /* the segment is there */
	struct engine_stats before, after;
	engine_stats(engine, &before);
	sem_t began, go;
	sem_init(&began, 0, 0);
	sem_init(&go, 0, 0);
	atomic_uint left = JOINING + 1;
	static struct joining all[JOINING + 1];
	all[0] = (struct joining){.began = &began, .go = &go, .left = &left};
	join_submit(engine, &all[0], 1);
	while (sem_wait(&began) < 0)
		continue;
	for (unsigned i = 1; i <= JOINING; i++) {
		all[i] = (struct joining){.left = &left};
		join_submit(engine, &all[i], i + 1);
	}
	sem_post(&go);
	while (atomic_load(&left) > 0)
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	engine_stats(engine, &after);
	assert_int_equal(after.batches - before.batches, 2);
	assert_int_equal(after.syncs - before.syncs, 2);
	for (unsigned i = 0; i <= JOINING; i++)
		body_draft_unref(&all[i].commit.drafts);
	engine_close(&engine);
	char command[128];
	snprintf(command, sizeof command, "rm -rf %s", root);
	assert_int_equal(system(command), 0);
}

static void
test_lost_and_found(void **state)
{
	(void)state;
	compress = false;
	lost_and_found(4000);
}

static void
test_packed(void **state)
{
	(void)state;
	compress = true;
	lost_and_found(60); /* a frame is longer */
	compress = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lost_and_found),
	    cmocka_unit_test(test_packed),
	    cmocka_unit_test(test_small_commits_join),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
