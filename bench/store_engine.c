/*
 * What the engine costs above LMDB: the same bytes (a message body, its derived bytes and
 * an index record a message) committed in groups by raw LMDB with one segment file, and
 * by the engine with as many commits in flight.  Prints messages per second, the ratio,
 * and syncs a message; beside them what only appending and syncing the bytes, and only
 * copying them in memory, would allow.
 *
 * Usage: store_engine [folder] [milliseconds a measurement] [rounds] [only these bytes,
 * 0 all] [only so many in flight]
 */
#include <fcntl.h>
#include <lmdb.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/file.h"
#include "store/engine.h"

enum {
	RECORD_SIZE = 120, /* an index record */
	FLIGHT_MAX = 256,
	ROUNDS_MAX = 31,
	WARM_MS = 50,
};

enum { SIZES_COUNT = 4 };
static const size_t SIZES[SIZES_COUNT] = {2048, 10240, 102400, 1048576};
static const int FLIGHTS[] = {1, 16, 64};

static char *message; /* of the largest size: header lines and text */

static void
message_make(void)
{
	size_t size = SIZES[SIZES_COUNT - 1];
	message = xmalloc(size);
	const char *head = "From: Ann <ann@example.org>\r\nTo: bob@example.org\r\n"
			   "Subject: The figures for the third quarter\r\n"
			   "Date: Tue, 24 Nov 2026 08:00:00 +0000\r\n"
			   "Message-ID: <1234567890.1@example.org>\r\n\r\n";
	size_t at = strlen(head);
	memcpy(message, head, at);
	for (; at < size; at++)
		message[at] = at % 72 == 70 ? '\r' : at % 72 == 71 ? '\n' : 'x';
}

struct result {
	double rate;   /* messages a second */
	double syncs;  /* a message */
	double cpu_us; /* a message */
};

static double
cpu_us(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* ---- raw LMDB: one thread that commits groups of `flight` ---- */

static struct result
raw_measure(const char *folder, size_t size, int flight, uint64_t ms, size_t derived)
{
	char path[512];
	snprintf(path, sizeof path, "%s/raw", folder);
	mkdir(path, 0700);
	MDB_env *env;
	ENSURE(mdb_env_create(&env) == 0);
	mdb_env_set_mapsize(env, (size_t)8 << 30);
	mdb_env_set_maxdbs(env, 8);
	ENSURE(mdb_env_open(env, path, MDB_NOTLS | MDB_NORDAHEAD, 0600) == 0);
	MDB_dbi kv, body, extra;
	MDB_txn *txn;
	ENSURE(mdb_txn_begin(env, NULL, 0, &txn) == 0);
	ENSURE(mdb_dbi_open(txn, "kv", MDB_CREATE, &kv) == 0);
	ENSURE(mdb_dbi_open(txn, "body", MDB_CREATE, &body) == 0);
	ENSURE(mdb_dbi_open(txn, "derived", MDB_CREATE, &extra) == 0);
	ENSURE(mdb_txn_commit(txn) == 0);
	char segment[600];
	snprintf(segment, sizeof segment, "%s/segment", path);
	int fd = open(segment, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ENSURE(fd >= 0);

	uint64_t count = 0, offset = 0, begin = clock_mono_us();
	double cpu = cpu_us();
	while (clock_mono_us() - begin < ms * 1000) {
		struct iovec vector[FLIGHT_MAX];
		for (int i = 0; i < flight; i++)
			vector[i] = (struct iovec){message, size};
		ENSURE(
		    pwritev(fd, vector, flight, (off_t)offset) == (ssize_t)size * flight);
		ENSURE(fdatasync(fd) == 0);
		ENSURE(mdb_txn_begin(env, NULL, 0, &txn) == 0);
		for (int i = 0; i < flight; i++) {
			char id[8], key[32] = {0}, record[RECORD_SIZE] = {0};
			be64_put(id, count);
			be64_put(key + 16, count++);
			be64_put(record, offset);
			MDB_val k = {24, key}, v = {sizeof record, record};
			ENSURE(mdb_put(txn, kv, &k, &v, 0) == 0);
			k = (MDB_val){8, id};
			v = (MDB_val){32, record};
			ENSURE(mdb_put(txn, body, &k, &v, 0) == 0);
			v = (MDB_val){derived, message};
			ENSURE(mdb_put(txn, extra, &k, &v, 0) == 0);
			offset += size;
		}
		ENSURE(mdb_txn_commit(txn) == 0);
	}
	double us = (double)(clock_mono_us() - begin);
	struct result result = {
	    (double)count / us * 1e6, 2.0 / flight, (cpu_us() - cpu) / (double)count};
	close(fd);
	mdb_env_close(env);
	file_tree_remove(path);
	return result;
}

/* ---- the limits: only the bytes appended and synced in groups, and only copied ---- */

static double
append_measure(const char *folder, size_t size, int flight, uint64_t ms)
{
	char path[512];
	struct iovec vector[FLIGHT_MAX];
	snprintf(path, sizeof path, "%s/append", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ENSURE(fd >= 0);
	for (int i = 0; i < flight; i++)
		vector[i] = (struct iovec){message, size};
	uint64_t count = 0, offset = 0, begin = clock_mono_us();
	while (clock_mono_us() - begin < ms * 1000) {
		ENSURE(
		    pwritev(fd, vector, flight, (off_t)offset) == (ssize_t)size * flight);
		ENSURE(fdatasync(fd) == 0);
		offset += size * (size_t)flight;
		count += (uint64_t)flight;
	}
	double us = (double)(clock_mono_us() - begin);
	close(fd);
	unlink(path);
	return (double)count / us * 1e6;
}

static double
copy_measure(size_t size)
{
	enum { COPY_US = 20000 };
	char *to = xmalloc(size);
	uint64_t count = 0, begin = clock_mono_us();
	while (clock_mono_us() - begin < COPY_US) {
		for (int i = 0; i < 16; i++, count++) {
			memcpy(to, message, size);
			__asm__ volatile("" : : "r"(to) : "memory");
		}
	}
	double us = (double)(clock_mono_us() - begin);
	free(to);
	return (double)count / us * 1e6;
}

static int
rate_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* ---- the engine: `flight` commits that submit themselves again when done ---- */

struct load {
	struct engine *engine;
	/* Sessions make drafts on threads of their own, not on the writer. */
	pthread_mutex_t lock;
	pthread_cond_t ready;
	struct flight *free;
};

struct flight {
	struct engine_commit commit;
	struct load *load;
	struct flight *next;
	uint64_t number;
};

static enum status
flight_run(struct engine_txn *txn, void *arg)
{
	struct flight *flight = arg;
	uint64_t body;
	enum status status = engine_body_attach(txn, flight->commit.drafts, &body);
	if (status != STATUS_OK)
		return status;
	char key[8], record[RECORD_SIZE] = {0};
	be64_put(key, flight->number | (uint64_t)1 << 63);
	be64_put(record, body);
	engine_put(txn, slice_make(key, sizeof key), slice_make(record, sizeof record));
	return engine_txn_status(txn);
}

static void
flight_done(struct engine_commit *commit, enum status status)
{
	struct flight *flight = (struct flight *)commit;
	struct load *load = flight->load;
	ENSURE(status == STATUS_OK);
	pthread_mutex_lock(&load->lock);
	flight->next = load->free;
	load->free = flight;
	pthread_cond_signal(&load->ready);
	pthread_mutex_unlock(&load->lock);
}

static struct result
engine_load(struct engine *engine, size_t size, int flights, uint64_t ms,
    uint64_t *number, size_t *out_derived)
{
	struct load load = {.engine = engine};
	pthread_mutex_init(&load.lock, NULL);
	pthread_cond_init(&load.ready, NULL);
	static struct flight flight[FLIGHT_MAX];
	for (int i = 0; i < flights; i++) {
		flight[i] = (struct flight){.load = &load};
		flight[i].next = load.free;
		load.free = &flight[i];
	}
	struct engine_stats before, after;
	engine_stats(engine, &before);
	uint64_t begin = clock_mono_us(), count = 0, us = 0;
	double cpu = cpu_us();
	int out = 0;
	/* One session thread: takes what is free, makes its next draft, submits. */
	for (;;) {
		pthread_mutex_lock(&load.lock);
		while (!load.free)
			pthread_cond_wait(&load.ready, &load.lock);
		struct flight *chain = load.free;
		load.free = NULL;
		pthread_mutex_unlock(&load.lock);
		us = clock_mono_us() - begin;
		bool over = us >= ms * 1000;
		while (chain) {
			struct flight *f = chain;
			chain = f->next;
			if (f->commit.drafts) {
				body_draft_unref(&f->commit.drafts);
				count++;
				out--;
			}
			if (over)
				continue;
			struct body_draft *draft = engine_draft_new(engine, 1 << 24);
			ENSURE(body_draft_append(draft, slice_make(message, size)) ==
			       STATUS_OK);
			ENSURE(body_draft_seal(draft) == STATUS_OK);
			*out_derived = body_draft_derived(draft).len;
			f->number = (*number)++;
			f->commit = (struct engine_commit){.part = {{'A', 1}},
			    .fn = flight_run,
			    .arg = f,
			    .done = flight_done,
			    .drafts = draft};
			out++;
			engine_submit(engine, &f->commit);
		}
		if (over && out == 0)
			break;
	}
	us = clock_mono_us() - begin;
	engine_stats(engine, &after);
	return (struct result){(double)count / (double)us * 1e6,
	    (double)(after.syncs - before.syncs) / (double)count,
	    (cpu_us() - cpu) / (double)count};
}

/* On a store of its own: that of the raw side is new each time, too, and what one side
 * leaves in the page cache must not cost the other. */
static struct result
engine_measure(
    const char *folder, size_t size, int flights, uint64_t ms, size_t *out_derived)
{
	char path[512];
	snprintf(path, sizeof path, "%s/store", folder);
	struct engine_options options = {.path = path,
	    .map_size = (uint64_t)8 << 30,
	    .shards = 1,
	    .create = true,
	    .sync = true};
	struct engine *engine;
	char *error = NULL;
	ENSURE(engine_open(&options, &engine, &error) == STATUS_OK);
	uint64_t number = 0;
	engine_load(engine, size, flights, WARM_MS, &number, out_derived);
	struct result result =
	    engine_load(engine, size, flights, ms, &number, out_derived);
	engine_close(&engine);
	file_tree_remove(path);
	return result;
}

static int
result_compare(const void *a, const void *b)
{
	const struct result *x = a, *y = b;
	return x->rate < y->rate ? -1 : x->rate > y->rate;
}

int
main(int argc, char **argv)
{
	/* Without it glibc takes pages and gives them back for each large draft, which
	 * costs more than all that is measured here; the daemons do alike
	 * (service/service.c). */
	mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
	mallopt(M_MMAP_THRESHOLD, 4 * 1024 * 1024);
	const char *folder = argc > 1 ? argv[1] : "/tmp";
	uint64_t ms = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
	int rounds = argc > 3 ? atoi(argv[3]) : 3;
	size_t only = argc > 4 ? strtoull(argv[4], NULL, 10) : 0; /* bytes; 0: all */
	int only_flight = argc > 5 ? atoi(argv[5]) : 0;           /* 0: all */
	ENSURE(rounds >= 1 && rounds <= ROUNDS_MAX);
	char path[400];
	snprintf(path, sizeof path, "%s/postroom-bench-XXXXXX", folder);
	ENSURE(mkdtemp(path));
	message_make();
	size_t derived = 0;
	engine_measure(path, SIZES[1], 64, WARM_MS, &derived);
	printf("%8s %6s | %9s %8s | %9s %8s %7s | %s | %9s %9s\n", "bytes", "flight",
	    "raw/s", "cpu us", "engine/s", "cpu us", "syncs", "ratio of medians",
	    "append/s", "memcpy/s");
	for (size_t s = 0; s < SIZES_COUNT; s++) {
		for (size_t f = 0; f < 3; f++) {
			if ((only != 0 && only != SIZES[s]) ||
			    (only_flight != 0 && only_flight != FLIGHTS[f]))
				continue;
			struct result raw[ROUNDS_MAX], ours[ROUNDS_MAX];
			double append[ROUNDS_MAX];
			for (int r = 0; r < rounds; r++) {
				raw[r] =
				    raw_measure(path, SIZES[s], FLIGHTS[f], ms, derived);
				ours[r] = engine_measure(
				    path, SIZES[s], FLIGHTS[f], ms, &derived);
				append[r] =
				    append_measure(path, SIZES[s], FLIGHTS[f], ms);
			}
			qsort(raw, (size_t)rounds, sizeof raw[0], result_compare);
			qsort(ours, (size_t)rounds, sizeof ours[0], result_compare);
			qsort(append, (size_t)rounds, sizeof append[0], rate_compare);
			struct result a = raw[rounds / 2], b = ours[rounds / 2];
			printf("%8zu %6d | %9.0f %8.1f | %9.0f %8.1f %7.3f | %16.2f | "
			       "%9.0f %9.0f\n",
			    SIZES[s], FLIGHTS[f], a.rate, a.cpu_us, b.rate, b.cpu_us,
			    b.syncs, b.rate / a.rate, append[rounds / 2],
			    copy_measure(SIZES[s]));
			fflush(stdout);
		}
	}
	file_tree_remove(path);
	return 0;
}
