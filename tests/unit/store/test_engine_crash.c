/*
 * The engine over LMDB across processes and through bad days: kill -9 at random moments
 * with everything acknowledged still there, hints from other processes, torn and damaged
 * files, no room, and what open refuses.
 *
 * The program runs itself as its other processes: `commit <path> <base>` commits and
 * acknowledges on its standard output until it is killed, `touch <path>` commits once.
 * POSTROOM_CRASH_ROUNDS sets the number of kills (default 50).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"
#include "unit/store/engine_fixture.h"

enum {
	CHILD_FLIGHT = 12,
	CHILDREN = 2,
	KILL_AFTER_MS_MAX = 60,
	FIRST_ACK_MS_MAX = 5000,
	ROUNDS_DEFAULT = 50,
	ROUNDS_MAX = 100000,
	SEGMENTS_BESIDE = 1000,
};

static const struct partition_id PART = {
    {'A', 3}
};
static const struct partition_id PART_Q = {{'Q'}};

/* The body of a number: its length and every byte follow from it.  One in 16 is large,
 * and every second of them spills. */
static size_t
body_size(uint64_t number)
{
	uint64_t least = number % 32 == 5 ? BODY_SPILL_BYTES : BODY_OWN_BYTES;
	if (number % 16 == 5)
		return least + 1 + number % 999;
	return 1 + number * 7919 % 9000;
}

static struct body_draft *
body_draft_of(struct engine *engine, uint64_t number)
{
	struct body_draft *draft = engine_draft_new(engine, 1 << 22);
	size_t size = body_size(number);
	char *bytes = xmalloc(size);
	memset(bytes, (int)('a' + number % 26), size);
	ENSURE(body_draft_append(draft, slice_make(bytes, size)) == STATUS_OK);
	free(bytes);
	ENSURE(body_draft_prefix(draft, SLICE("Trace: x\r\n")) == STATUS_OK);
	ENSURE(body_draft_seal(draft) == STATUS_OK);
	return draft;
}

struct number_key {
	char bytes[9];
};

static struct slice
number_key(struct number_key *key, uint64_t number)
{
	key->bytes[0] = 'n';
	be64_put(key->bytes + 1, number);
	return slice_make(key->bytes, sizeof key->bytes);
}

/* ---- the committing process ---- */

struct flight {
	struct engine_commit commit;
	uint64_t number;
	struct flight *next;
};

static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;
static struct flight *free_flights;
static sem_t free_count;

static enum status
flight_run(struct engine_txn *txn, void *arg)
{
	struct flight *flight = arg;
	uint64_t body;
	enum status status = engine_body_attach(txn, flight->commit.drafts, &body);
	if (status != STATUS_OK)
		return status;
	char value[8];
	struct number_key key;
	be64_put(value, body);
	engine_put(txn, number_key(&key, flight->number), slice_make(value, 8));
	return engine_txn_status(txn);
}

static void
flight_done(struct engine_commit *commit, enum status status)
{
	struct flight *flight = (struct flight *)commit;
	if (status != STATUS_OK)
		fprintf(stderr, "commit %" PRIu64 ": %s\n", flight->number,
		    status_text(status));
	ENSURE(status == STATUS_OK);
	/* The acknowledgement: from here on it must never be lost. */
	ENSURE(write(STDOUT_FILENO, &flight->number, sizeof flight->number) ==
	       sizeof flight->number);
	pthread_mutex_lock(&free_lock);
	flight->next = free_flights;
	free_flights = flight;
	pthread_mutex_unlock(&free_lock);
	sem_post(&free_count);
}

static int
child_commit(const char *path, uint64_t number)
{
	struct engine *engine = fixture_open(path);
	static struct flight flights[CHILD_FLIGHT];
	sem_init(&free_count, 0, CHILD_FLIGHT);
	for (size_t i = 0; i < CHILD_FLIGHT; i++) {
		flights[i].next = free_flights;
		free_flights = &flights[i];
	}
	for (uint64_t end = number + 100000; number < end; number++) {
		while (sem_wait(&free_count) < 0)
			continue;
		pthread_mutex_lock(&free_lock);
		struct flight *flight = free_flights;
		free_flights = flight->next;
		pthread_mutex_unlock(&free_lock);
		if (flight->commit.drafts)
			body_draft_unref(&flight->commit.drafts);
		flight->number = number;
		flight->commit = (struct engine_commit){.part = PART,
		    .fn = flight_run,
		    .arg = flight,
		    .done = flight_done,
		    .drafts = body_draft_of(engine, number)};
		engine_submit(engine, &flight->commit);
		if (number % 64 == 0)
			engine_maintain(engine);
	}
	return 0; /* nobody killed it: the parent sees the end of the pipe */
}

static enum status
put_one(struct engine_txn *txn, void *arg)
{
	(void)arg;
	engine_put(txn, SLICE("k"), SLICE("v"));
	return engine_txn_status(txn);
}

static int
child_touch(const char *path)
{
	struct engine *engine = fixture_open(path);
	enum status status = engine_commit_wait(engine, PART_Q, put_one, NULL, NULL);
	engine_close(&engine);
	return status == STATUS_OK ? 0 : 1;
}

/* Maintenance without a pause, until it is killed (a bound, should nobody do so). */
static int
child_maintain(const char *path)
{
	struct engine *engine = fixture_open(path);
	enum status status = engine_commit_wait(engine, PART_Q, put_one, NULL, NULL);
	ENSURE(write(STDOUT_FILENO, "started\n", 8) == 8);
	for (int i = 0; i < 1000 * 1000; i++)
		engine_maintain(engine);
	return status == STATUS_OK ? 0 : 1;
}

/* ---- the parent's side ---- */

struct child {
	pid_t pid;
	int out;
};

static struct child
child_start(const char *role, const char *path, const char *base)
{
	int ends[2];
	ENSURE(pipe2(ends, O_CLOEXEC) == 0);
	pid_t pid = fork();
	ENSURE(pid >= 0);
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		execl("/proc/self/exe", "test_engine_crash", role, path, base, NULL);
		_exit(127);
	}
	close(ends[1]);
	return (struct child){pid, ends[0]};
}

struct numbers {
	uint64_t *v;
	size_t count, room;
};

static void
numbers_read(struct numbers *numbers, int fd)
{
	uint64_t number;
	while (read(fd, &number, sizeof number) == sizeof number) {
		if (numbers->count == numbers->room) {
			numbers->room = numbers->room * 2 + 64;
			numbers->v =
			    xrealloc(numbers->v, numbers->room * sizeof numbers->v[0]);
		}
		numbers->v[numbers->count++] = number;
	}
}

static void
sleep_ms(unsigned ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
	nanosleep(&t, NULL);
}

static void
number_check(struct engine_txn *txn, uint64_t number)
{
	struct number_key key;
	struct slice value;
	assert_int_equal(engine_get(txn, number_key(&key, number), &value), STATUS_OK);
	assert_int_equal(value.len, 8);
	uint64_t body = be64_get(value.ptr);
	struct engine_body stat;
	assert_int_equal(engine_body_stat(txn, body, &stat), STATUS_OK);
	assert_int_equal(stat.size, body_size(number) + 10);
	assert_int_equal(engine_body_verify(txn, body), STATUS_OK);
}

static size_t
rounds(void)
{
	const char *text = getenv("POSTROOM_CRASH_ROUNDS");
	long count = text ? atol(text) : ROUNDS_DEFAULT;
	return count < 1 || count > ROUNDS_MAX ? ROUNDS_DEFAULT : (size_t)count;
}

static void
test_kill(void **state)
{
	struct fixture *fixture = *state;
	engine_close(&fixture->engine);
	struct numbers numbers = {0};
	unsigned seed = (unsigned)time(NULL);
	for (size_t round = 0, count = rounds(); round < count; round++) {
		struct child children[CHILDREN];
		size_t before = numbers.count;
		for (size_t i = 0; i < CHILDREN; i++) {
			char base[32];
			snprintf(base, sizeof base, "%zu",
			    (round * CHILDREN + i + 1) * 1000000);
			children[i] = child_start("commit", fixture->path, base);
		}
		/* On a slow disk opening takes long: at work first, but for one round in
		 * 8, which may be killed while opening. */
		struct pollfd first = {children[0].out, POLLIN, 0};
		if (round % 8 != 7)
			poll(&first, 1, FIRST_ACK_MS_MAX);
		sleep_ms((unsigned)rand_r(&seed) % KILL_AFTER_MS_MAX);
		for (size_t i = 0; i < CHILDREN; i++)
			kill(children[i].pid, SIGKILL);
		for (size_t i = 0; i < CHILDREN; i++) {
			numbers_read(&numbers, children[i].out);
			close(children[i].out);
			int how;
			assert_int_equal(
			    waitpid(children[i].pid, &how, 0), children[i].pid);
			assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
		}
		struct engine *engine = fixture_open(fixture->path);
		struct engine_reader *reader = engine_reader_new(engine);
		struct engine_txn *txn;
		/* All of this round's, and one in 16 of all before. */
		assert_int_equal(engine_snap(reader, PART, &txn), STATUS_OK);
		for (size_t i = 0; i < numbers.count; i++) {
			if (i >= before || i % 16 == round % 16)
				number_check(txn, numbers.v[i]);
		}
		engine_reader_free(&reader);
		engine_maintain(engine);
		fixture_check(engine);
		engine_close(&engine);
	}
	print_message("%zu acknowledged, none lost\n", numbers.count);
	assert_true(numbers.count > 0);
	free(numbers.v);
}

static _Atomic uint32_t hint_seen;

static void
hint_fn(uint32_t slot, void *arg)
{
	(void)arg;
	if (slot == engine_watch_slot(PART_Q) || slot == ENGINE_WATCH_ALL)
		atomic_fetch_add(&hint_seen, 1);
}

static void
test_watch_processes(void **state)
{
	struct fixture *fixture = *state;
	atomic_store(&hint_seen, 0);
	engine_watch(fixture->engine, hint_fn, NULL);
	struct child child = child_start("touch", fixture->path, "0");
	int how;
	assert_int_equal(waitpid(child.pid, &how, 0), child.pid);
	assert_int_equal(how, 0);
	close(child.out);
	for (int ms = 0; ms < 5000 && atomic_load(&hint_seen) == 0; ms++)
		sleep_ms(1);
	assert_true(atomic_load(&hint_seen) > 0);
}

/* ---- damage ---- */

struct attach_arg {
	struct body_draft *draft;
	uint64_t body;
};

static enum status
attach_run(struct engine_txn *txn, void *arg)
{
	struct attach_arg *attach = arg;
	return engine_body_attach(txn, attach->draft, &attach->body);
}

static enum status
attach_one(struct engine *engine, uint64_t number, uint64_t *out_body)
{
	struct attach_arg arg = {body_draft_of(engine, number), 0};
	enum status status =
	    engine_commit_wait(engine, PART, attach_run, &arg, arg.draft);
	*out_body = arg.body;
	body_draft_unref(&arg.draft);
	return status;
}

static int
segment_file_open(const struct fixture *fixture, uint64_t body)
{
	char path[300];
	int shard = (int)engine_shard_of(fixture->engine, PART);
	snprintf(path, sizeof path, "%s/shard-%02d/bodies/%08x.seg", fixture->path, shard,
	    (unsigned)(body >> 32));
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void
test_damaged_byte(void **state)
{
	struct fixture *fixture = *state;
	uint64_t body, other;
	assert_int_equal(attach_one(fixture->engine, 1, &body), STATUS_OK);
	assert_int_equal(attach_one(fixture->engine, 2, &other), STATUS_OK);
	struct engine_reader *reader = engine_reader_new(fixture->engine);
	struct engine_txn *txn;
	struct engine_body stat;
	assert_int_equal(engine_snap(reader, PART, &txn), STATUS_OK);
	assert_int_equal(engine_body_stat(txn, body, &stat), STATUS_OK);
	int fd = segment_file_open(fixture, body);
	char byte;
	off_t at = (off_t)(stat.offset + stat.size / 2);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	assert_int_equal(engine_body_verify(txn, body), STATUS_CORRUPT);
	assert_int_equal(engine_body_verify(txn, other), STATUS_OK);
	/* A damaged frame header is the check's to find. */
	assert_int_equal(pwrite(fd, "xxxx", 4, (off_t)stat.offset - 24), 4);
	close(fd);
	int problems = 0;
	assert_int_equal(
	    engine_check(fixture->engine, fixture_problem, &problems), STATUS_OK);
	assert_int_equal(problems, 1);
	engine_reader_free(&reader);
}

static void
test_cut_file(void **state)
{
	struct fixture *fixture = *state;
	uint64_t body;
	assert_int_equal(attach_one(fixture->engine, 1, &body), STATUS_OK);
	int fd = segment_file_open(fixture, body);
	assert_int_equal(ftruncate(fd, 100), 0);
	struct engine_reader *reader = engine_reader_new(fixture->engine);
	struct engine_txn *txn;
	struct body_handle handle;
	assert_int_equal(engine_snap(reader, PART, &txn), STATUS_OK);
	assert_int_equal(engine_body_open(txn, body, &handle), STATUS_CORRUPT);
	assert_null(handle.pin);
	assert_int_equal(engine_body_verify(txn, body), STATUS_CORRUPT);
	engine_reader_free(&reader);
	int problems = 0;
	assert_int_equal(
	    engine_check(fixture->engine, fixture_problem, &problems), STATUS_OK);
	assert_int_equal(problems, 1);
	close(fd);
}

/* Bytes behind the last frame are what a crash between write and commit leaves. */
static void
test_torn_tail(void **state)
{
	struct fixture *fixture = *state;
	uint64_t body;
	assert_int_equal(attach_one(fixture->engine, 1, &body), STATUS_OK);
	engine_close(&fixture->engine);
	fixture->engine = fixture_open(fixture->path);
	int fd = segment_file_open(fixture, body);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pwrite(fd, "PRFM torn", 9, st.st_size), 9);
	close(fd);
	uint64_t next;
	assert_int_equal(attach_one(fixture->engine, 2, &next), STATUS_OK);
	assert_true(next >> 32 != body >> 32); /* never appended to again */
	fixture_check(fixture->engine);
}

/* ---- room ---- */

static size_t
segments_count(const struct fixture *fixture)
{
	char path[300];
	snprintf(path, sizeof path, "%s/shard-%02u/bodies", fixture->path,
	    engine_shard_of(fixture->engine, PART));
	DIR *dir = opendir(path);
	assert_non_null(dir);
	size_t count = 0;
	struct dirent *entry;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static enum status
release_run(struct engine_txn *txn, void *arg)
{
	return engine_body_release(txn, *(uint64_t *)arg);
}

static void
test_maintain(void **state)
{
	struct fixture *fixture = *state;
	uint64_t bodies[12];
	/* Two spilled ones are segments of their own. */
	for (uint64_t i = 0; i < 12; i++)
		assert_int_equal(
		    attach_one(fixture->engine, i < 2 ? 5 + 32 * i : i + 6, &bodies[i]),
		    STATUS_OK);
	assert_int_equal(segments_count(fixture), 3);
	assert_int_equal(engine_maintain(fixture->engine), 0);
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(engine_commit_wait(fixture->engine, PART, release_run,
				     &bodies[i], NULL),
		    STATUS_OK);
	/* The one that this process appends to stays. */
	assert_int_equal(engine_maintain(fixture->engine), 2);
	assert_int_equal(segments_count(fixture), 1);
	fixture_check(fixture->engine);
	engine_close(&fixture->engine);
	fixture->engine = fixture_open(fixture->path);
	assert_int_equal(engine_maintain(fixture->engine), 1);
	assert_int_equal(segments_count(fixture), 0);
	fixture_check(fixture->engine);
}

static struct engine *
open_with(
    const char *path, uint64_t map_size, uint64_t segment_size, uint32_t min_free_percent)
{
	struct engine_options options = {.path = path,
	    .map_size = map_size,
	    .shards = 2,
	    .segment_size = segment_size,
	    .create = true,
	    .sync = true,
	    .min_free_percent = min_free_percent};
	struct engine *engine;
	char *error;
	enum status status = engine_open(&options, &engine, &error);
	assert_int_equal(status, STATUS_OK);
	return engine;
}

/* Another process's maintenance never gets between a new segment and its first lock. */
static void
test_maintain_beside(void **state)
{
	struct fixture *fixture = *state;
	engine_close(&fixture->engine);
	struct child child = child_start("maintain", fixture->path, "0");
	uint64_t started, body;
	assert_int_equal(read(child.out, &started, sizeof started), sizeof started);
	fixture->engine = open_with(fixture->path, 1 << 30, 4096, 0);
	for (uint64_t i = 0; i < SEGMENTS_BESIDE; i++)
		assert_int_equal(attach_one(fixture->engine, 16 * i, &body), STATUS_OK);
	kill(child.pid, SIGKILL);
	int how;
	assert_int_equal(waitpid(child.pid, &how, 0), child.pid);
	assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
	close(child.out);
	fixture_check(fixture->engine);
}

static void
test_min_free(void **state)
{
	struct fixture *fixture = *state;
	uint64_t body;
	assert_int_equal(attach_one(fixture->engine, 1, &body), STATUS_OK);
	engine_close(&fixture->engine);
	fixture->engine = open_with(fixture->path, 1 << 30, 1 << 20, 101);
	uint64_t refused;
	assert_int_equal(attach_one(fixture->engine, 2, &refused), STATUS_FULL);
	assert_int_equal(attach_one(fixture->engine, 5, &refused), STATUS_FULL);
	/* Flags and deletes still go. */
	assert_int_equal(
	    engine_commit_wait(fixture->engine, PART, put_one, NULL, NULL), STATUS_OK);
	assert_int_equal(
	    engine_commit_wait(fixture->engine, PART, release_run, &body, NULL),
	    STATUS_OK);
	fixture_check(fixture->engine);
}

struct fill {
	uint32_t number;
	size_t size;
};

static enum status
fill_run(struct engine_txn *txn, void *arg)
{
	const struct fill *fill = arg;
	char key[5] = {'f'};
	be32_put(key + 1, fill->number);
	char *bytes = xcalloc(1, fill->size + 1);
	if (fill->size > 0)
		engine_put(txn, slice_make(key, 5), slice_make(bytes, fill->size));
	else
		engine_del(txn, slice_make(key, 5));
	free(bytes);
	return engine_txn_status(txn);
}

/* Fills until FULL, makes room, goes on. */
static void
fill_and_empty(struct engine *engine)
{
	struct fill fill = {0, 8000};
	enum status status = STATUS_OK;
	while (status == STATUS_OK && fill.number < 2000) {
		fill.number++;
		status = engine_commit_wait(engine, PART, fill_run, &fill, NULL);
	}
	assert_int_equal(status, STATUS_FULL);
	uint32_t last = fill.number;
	assert_true(last > 10);
	fill.size = 0;
	for (fill.number = 1; fill.number < last / 2; fill.number++)
		assert_int_equal(
		    engine_commit_wait(engine, PART, fill_run, &fill, NULL), STATUS_OK);
	fill = (struct fill){last, 8000};
	assert_int_equal(
	    engine_commit_wait(engine, PART, fill_run, &fill, NULL), STATUS_OK);
	fixture_check(engine);
}

static void
test_map_full(void **state)
{
	struct fixture *fixture = *state;
	engine_close(&fixture->engine);
	fixture->engine = open_with(fixture->path, 1 << 20, 1 << 20, 0);
	fill_and_empty(fixture->engine);
}

/* The disk's end, by a limit on file sizes. */
static void
test_no_space(void **state)
{
	struct fixture *fixture = *state;
	struct rlimit before, limit;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 400000;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	uint64_t body = 0;
	struct body_draft *spilled = engine_draft_new(fixture->engine, 1 << 22);
	char *bytes = xcalloc(1, BODY_SPILL_BYTES + 1);
	enum status append =
	    body_draft_append(spilled, slice_make(bytes, BODY_SPILL_BYTES + 1));
	free(bytes);
	body_draft_unref(&spilled);
	enum status status = STATUS_OK;
	uint64_t count = 0;
	while (status == STATUS_OK && count < 500) {
		count++;
		status = attach_one(fixture->engine, 6 + 16 * count, &body);
	}
	fill_and_empty(fixture->engine);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(append, STATUS_FULL);
	assert_int_equal(status, STATUS_FULL);
	/* Room again: the same process goes on. */
	assert_int_equal(attach_one(fixture->engine, 7, &body), STATUS_OK);
	fixture_check(fixture->engine);
}

/* ---- open ---- */

static void
open_refused(const char *path, bool create, enum status want, const char *says)
{
	struct engine_options options = {
	    .path = path, .map_size = 1 << 30, .create = create, .sync = true};
	struct engine *engine;
	char *error;
	assert_int_equal(engine_open(&options, &engine, &error), want);
	assert_null(engine);
	assert_non_null(error);
	assert_non_null(strstr(error, says));
	free(error);
}

static void
file_write(const char *path, const char *name, const char *bytes)
{
	char file[300];
	snprintf(file, sizeof file, "%s/%s", path, name);
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	close(fd);
}

static void
test_open_refusals(void **state)
{
	struct fixture *fixture = *state;
	open_refused(fixture->path, true, STATUS_EXISTS, "open in this process");
	open_refused("/nonexistent/store", false, STATUS_NOT_FOUND, "/nonexistent");
	assert_int_equal(engine_shards(fixture->engine), 2);
	engine_close(&fixture->engine);
	char empty[200];
	fixture_path_make(empty, sizeof empty);
	open_refused(empty, false, STATUS_NOT_FOUND, empty);
	file_write(empty, "superblock",
	    "postroom-store 3\nshards 1\ninstallation "
	    "00000000000000000000000000000000\n");
	open_refused(empty, true, STATUS_CORRUPT, "format 3");
	file_write(empty, "superblock", "postroom-store 1\nshards 99\n");
	open_refused(empty, true, STATUS_CORRUPT, "not a superblock");
	fixture_path_remove(empty);
	/* Another installation's superblock over our environments. */
	file_write(fixture->path, "superblock",
	    "postroom-store 1\nshards 2\ninstallation "
	    "00000000000000000000000000000000\n");
	open_refused(fixture->path, true, STATUS_CORRUPT, "another installation");
}

static void
test_lost_shard(void **state)
{
	struct fixture *fixture = *state;
	engine_close(&fixture->engine);
	char from[300], to[300];
	snprintf(from, sizeof from, "%s/shard-01", fixture->path);
	snprintf(to, sizeof to, "%s/elsewhere", fixture->path);
	assert_int_equal(rename(from, to), 0);
	/* Never made anew: that would look like empty mailboxes. */
	open_refused(fixture->path, true, STATUS_NOT_FOUND, "shard-01");
	assert_int_equal(rename(to, from), 0);
	fixture->engine = fixture_open(fixture->path);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup_lmdb, fixture_teardown)

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "commit") == 0)
		return child_commit(argv[2], strtoull(argv[3], NULL, 10));
	if (argc == 4 && strcmp(argv[1], "touch") == 0)
		return child_touch(argv[2]);
	if (argc == 4 && strcmp(argv[1], "maintain") == 0)
		return child_maintain(argv[2]);
	const struct CMUnitTest tests[] = {
	    TEST(test_kill),
	    TEST(test_watch_processes),
	    TEST(test_damaged_byte),
	    TEST(test_cut_file),
	    TEST(test_torn_tail),
	    TEST(test_maintain),
	    TEST(test_maintain_beside),
	    TEST(test_min_free),
	    TEST(test_map_full),
	    TEST(test_no_space),
	    TEST(test_open_refusals),
	    TEST(test_lost_shard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
