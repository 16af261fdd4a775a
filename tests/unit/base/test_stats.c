/*
 * Counters keep their address and value when they move into a shared file, another
 * process reads them while they count, and a damaged file is refused.
 */
#include "base/stats.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/postroom-stats-XXXXXX";
static char path[64];

static int
make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/imapd.stats", folder);
	return 0;
}

static int
drop_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

struct want {
	const char *name;
	uint64_t value;
	int found;
	int all;
};

static void
look_for(const char *name, uint64_t value, void *arg)
{
	struct want *want = arg;
	want->all++;
	if (strcmp(name, want->name) == 0) {
		want->found++;
		want->value = value;
	}
}

static uint64_t
value_in_file(const char *name)
{
	struct want want = {.name = name};
	assert_int_equal(stats_read(path, look_for, &want), STATUS_OK);
	assert_int_equal(want.found, 1);
	return want.value;
}

static void
private_then_shared(void **state)
{
	(void)state;
	struct stats_counter *logins = stats_get("imap_logins_total");
	assert_ptr_equal(stats_get("imap_logins_total"), logins);
	stats_add(logins, 5);
	assert_int_equal(stats_open(NULL), STATUS_OK);
	assert_int_equal(stats_read(path, look_for, NULL), STATUS_NOT_FOUND);
	assert_int_equal(stats_open(path), STATUS_OK);
	assert_ptr_equal(stats_get("imap_logins_total"), logins);
	assert_int_equal(value_in_file("imap_logins_total"), 5);
	stats_add(logins, 2);
	assert_int_equal(value_in_file("imap_logins_total"), 7);
	struct stats_counter *conns = stats_get("imap_conns");
	stats_add(conns, 3);
	stats_sub(conns, 1);
	assert_int_equal(value_in_file("imap_conns"), 2);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07137, 0);
	/* Opening again, as a reload does, loses nothing. */
	assert_int_equal(stats_open(path), STATUS_OK);
	stats_add(logins, 1);
	assert_int_equal(value_in_file("imap_logins_total"), 8);
}

static void
another_process_reads(void **state)
{
	int ends[2];
	char go;
	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct stats_counter *c;
		if (stats_open(path) != STATUS_OK)
			_exit(1);
		c = stats_get("child_events_total");
		stats_add(c, 1ULL << 40);
		_exit(write(ends[1], "x", 1) == 1 && pause() ? 0 : 1);
	}
	assert_int_equal(read(ends[0], &go, 1), 1);
	assert_true(value_in_file("child_events_total") == 1ULL << 40);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	/* What a killed process counted can still be read. */
	assert_true(value_in_file("child_events_total") == 1ULL << 40);
	close(ends[0]);
	close(ends[1]);
}

enum { ADD_THREADS = 4, ADD_COUNT = 50000 };

static void *
add_many(void *arg)
{
	(void)arg;
	struct stats_counter *c = stats_get("threads_total");
	for (int i = 0; i < ADD_COUNT; i++)
		stats_add(c, 1);
	return NULL;
}

static void
threads_lose_nothing(void **state)
{
	pthread_t threads[ADD_THREADS];
	(void)state;
	assert_int_equal(stats_open(path), STATUS_OK);
	for (int i = 0; i < ADD_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
	for (int i = 0; i < ADD_THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(value_in_file("threads_total"), ADD_THREADS * ADD_COUNT);
}

static void
damage_is_refused(void **state)
{
	struct want want = {.name = "none"};
	(void)state;
	assert_int_equal(stats_open(path), STATUS_OK);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	static const struct {
		off_t at;
		unsigned char byte;
	} rows[] = {
	    {0,  0  },
            {4,  99 },
            {8,  255},
            {9,  2  },
            {11, 255}
        };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned char old;
		assert_int_equal(pread(fd, &old, 1, rows[i].at), 1);
		assert_int_equal(pwrite(fd, &rows[i].byte, 1, rows[i].at), 1);
		enum status want_status = rows[i].at == 8 ? STATUS_OK : STATUS_CORRUPT;
		assert_int_equal(stats_read(path, look_for, &want), want_status);
		assert_int_equal(pwrite(fd, &old, 1, rows[i].at), 1);
	}
	close(fd);

	/* A short file, an empty one, and a folder. */
	char bytes[1000] = {0};
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd < 0);
	assert_int_equal(unlink(path), 0);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(stats_read(path, look_for, &want), STATUS_CORRUPT);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(stats_read(path, look_for, &want), STATUS_CORRUPT);
	close(fd);
	assert_int_equal(stats_read(folder, look_for, &want), STATUS_IO);
}

static void
bad_places(void **state)
{
	char long_path[5000];
	(void)state;
	assert_int_equal(stats_open("/nonexistent/folder/x.stats"), STATUS_NOT_FOUND);
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(stats_open(long_path), STATUS_LIMIT);
}

/* Runs last: it uses up every name. */
static void
names_run_out(void **state)
{
	struct stats_counter *last = NULL;
	char name[STATS_NAME_MAX + 1];
	(void)state;
	assert_int_equal(stats_open(path), STATUS_OK);
	for (int i = 0; i < STATS_COUNT_MAX + 20; i++) {
		snprintf(name, sizeof(name), "filler_%d_total", i);
		last = stats_get(name);
	}
	assert_ptr_equal(stats_get("one_more_total"), last);
	stats_add(last, 4);
	assert_int_equal(value_in_file("overflow"), 4);
	struct want want = {.name = "filler_0_total"};
	assert_int_equal(stats_read(path, look_for, &want), STATUS_OK);
	assert_int_equal(want.found, 1);
	assert_int_equal(want.all, STATS_COUNT_MAX + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(private_then_shared),
	    cmocka_unit_test(another_process_reads),
	    cmocka_unit_test(threads_lose_nothing),
	    cmocka_unit_test(damage_is_refused),
	    cmocka_unit_test(bad_places),
	    cmocka_unit_test(names_run_out),
	};
	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
