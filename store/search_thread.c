/*
 * The background indexer, and reindexing by hand.
 *
 * The thread looks at all accounts now and then, and indexes those that have enough that
 * is not covered.  A round costs a look at each account's two records, so the pause
 * between rounds is at least ROUND_PAUSE_RATIO times what the last one's looking took.
 *
 * index.lock in the store's folder is held (flock) while an account is worked on: the
 * kernel lets go of it whatever way the process ends.  The thread leaves it for a moment
 * between batches, so that `postroom reindex` need not wait for a large account's end.
 */
#include "store/search_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "text/message_text.h"

enum {
	ROUND_PAUSE_MIN_MS = 1000,
	ROUND_PAUSE_RATIO = 200,
	LOCK_LEAVE_MS = 20, /* the thread leaves the lock for it between two batches */
	LOCK_PAUSE_MS =
	    5, /* so often reindex looks whether it is free: it never misses */
	LOCK_WAIT_MAX_MS = 60 * 1000,
	NICE = 10,
	TRIES_MAX = 20, /* of an account that others change the index of */
};

struct search_indexer {
	struct store *store;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool stop; /* guarded by mutex */
	int lock;  /* the thread's; -1: not held */
	_Atomic uint64_t documents, batches, text_bytes;
};

/* ---- the lock ---- */
/* -1: someone has it; the memory engine is one process's and needs none (-2). */
static int
lock_try(struct store *store)
{
	char path[PATH_MAX];
	if (!store->path)
		return -2;
	if (snprintf(path, sizeof(path), "%s/index.lock", store->path) >=
	    (int)sizeof(path))
		return -1;
	int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void
lock_drop(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- one account ---- */
static enum status
account_index(struct search_work *work, struct account_id account, bool all)
{
	enum status status = STATUS_CONFLICT;
	for (unsigned i = 0; i < TRIES_MAX && status == STATUS_CONFLICT; i++) {
		if (i && work->go_on && !work->go_on(work, work->arg))
			break;
		status = search_index_account(work, account, all, clock_wall_s());
		/* A damaged state cannot be mended, a damaged block has been dropped. */
		struct engine_txn *txn;
		struct search_state state;
		if (status != STATUS_CORRUPT)
			continue;
		status =
		    engine_snap(work->reader->engine, partition_account(account), &txn);
		if (status == STATUS_OK)
			status = search_state_load(txn, &state);
		store_reader_end(work->reader);
		if (status == STATUS_CORRUPT)
			status = search_drop(work->reader, account);
		if (status == STATUS_OK)
			status = STATUS_CONFLICT;
	}
	return status;
}

/* ---- the thread ---- */
static bool
is_stopping(struct search_indexer *indexer)
{
	pthread_mutex_lock(&indexer->mutex);
	bool stop = indexer->stop;
	pthread_mutex_unlock(&indexer->mutex);
	return stop;
}

/* True: stop. */
static bool pause_for(struct search_indexer *indexer, uint64_t ms);

static void
stats_tell(struct search_indexer *indexer, const struct search_work *work)
{
	atomic_store(&indexer->documents, work->documents);
	atomic_store(&indexer->batches, work->batches);
	atomic_store(&indexer->text_bytes, work->text_bytes);
}

static bool
indexer_goes_on(const struct search_work *work, void *arg)
{
	struct search_indexer *indexer = arg;
	stats_tell(indexer, work);
	lock_drop(indexer->lock);
	indexer->lock = -1;
	if (pause_for(indexer, LOCK_LEAVE_MS))
		return false;
	indexer->lock = lock_try(indexer->store);
	return indexer->lock != -1;
}

static bool
part_add(struct partition_id part, void *arg)
{
	struct partition_id *at = vec_push(arg, sizeof(*at));
	if (at)
		*at = part;
	return at != NULL;
}

static void
round_run(struct search_indexer *indexer, struct search_work *work)
{
	struct vec parts = {NULL, 0, 0};
	enum status status = engine_partition_each(
	    work->reader->engine, PARTITION_ACCOUNT, part_add, &parts);
	store_reader_end(work->reader);
	const struct partition_id *ids = parts.ptr;
	for (size_t i = 0; i < parts.count && status == STATUS_OK; i++) {
		struct account_id account;
		memcpy(account.v, ids[i].v, sizeof(account.v));
		bool pending = search_is_pending(work->reader, account);
		store_reader_end(work->reader);
		indexer->lock = pending ? lock_try(indexer->store) : -1;
		if (indexer->lock != -1) {
			/* What fails is tried again in a later round. */
			(void)account_index(work, account, false);
			lock_drop(indexer->lock);
			stats_tell(indexer, work);
		}
		if (is_stopping(indexer))
			break;
	}
	vec_fini(&parts);
}

static bool
pause_for(struct search_indexer *indexer, uint64_t ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&indexer->mutex);
	while (!indexer->stop && pthread_cond_timedwait(&indexer->cond, &indexer->mutex,
				     &until) != ETIMEDOUT)
		continue;
	bool stop = indexer->stop;
	pthread_mutex_unlock(&indexer->mutex);
	return stop;
}

static void *
indexer_main(void *arg)
{
	struct search_indexer *indexer = arg;
	struct search_work work;
	/* Sessions come first; without leave to say so it works at their priority. */
	(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	search_work_init(&work, indexer->store);
	work.go_on = indexer_goes_on;
	work.arg = indexer;
	uint64_t pause = ROUND_PAUSE_MIN_MS;
	while (!pause_for(indexer, pause)) {
		uint64_t batches = work.batches;
		uint64_t begin = clock_mono_ms();
		round_run(indexer, &work);
		uint64_t took = clock_mono_ms() - begin;
		pause = ROUND_PAUSE_MIN_MS;
		if (work.batches == batches && took * ROUND_PAUSE_RATIO > pause)
			pause = took * ROUND_PAUSE_RATIO;
	}
	search_work_fini(&work);
	return NULL;
}

struct search_indexer *
search_indexer_start(struct store *store)
{
	struct search_indexer *indexer = xcalloc(1, sizeof(*indexer));
	pthread_condattr_t attr;
	indexer->lock = -1;
	indexer->store = store;
	pthread_mutex_init(&indexer->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&indexer->cond, &attr);
	pthread_condattr_destroy(&attr);
	ENSURE(pthread_create(&indexer->thread, NULL, indexer_main, indexer) == 0);
	return indexer;
}

void
search_indexer_stop(struct search_indexer **indexer)
{
	struct search_indexer *x = *indexer;
	if (!x)
		return;
	pthread_mutex_lock(&x->mutex);
	x->stop = true;
	pthread_cond_signal(&x->cond);
	pthread_mutex_unlock(&x->mutex);
	pthread_join(x->thread, NULL);
	pthread_cond_destroy(&x->cond);
	pthread_mutex_destroy(&x->mutex);
	free(x);
	*indexer = NULL;
}

void
search_indexer_stats(
    const struct search_indexer *indexer, struct search_indexer_stats *out)
{
	out->documents = atomic_load(&indexer->documents);
	out->batches = atomic_load(&indexer->batches);
	out->text_bytes = atomic_load(&indexer->text_bytes);
}

/* ---- by hand ---- */
struct reindex {
	const struct search_reindex_options *options;
	uint64_t total;
};

static bool
reindex_goes_on(const struct search_work *work, void *arg)
{
	const struct reindex *reindex = arg;
	uint64_t done =
	    work->documents < reindex->total ? work->documents : reindex->total;
	return !reindex->options->progress ||
	       reindex->options->progress(done, reindex->total, reindex->options->arg);
}

static enum status
lock_wait(struct store *store, int *out)
{
	for (uint64_t waited = 0; (*out = lock_try(store)) == -1;
	     waited += LOCK_PAUSE_MS) {
		if (waited >= LOCK_WAIT_MAX_MS)
			return STATUS_LIMIT;
		struct timespec pause = {0, LOCK_PAUSE_MS * 1000000L};
		(void)nanosleep(&pause, NULL);
	}
	return STATUS_OK;
}

enum status
search_reindex(struct store *store, struct account_id account,
    const struct search_reindex_options *options, struct search_totals *out)
{
	struct reindex reindex = {.options = options};
	struct search_work work;
	struct engine_txn *txn;
	struct account_state state;
	int lock;
	enum status status = lock_wait(store, &lock);
	if (status != STATUS_OK)
		return status;
	search_work_init(&work, store);
	work.go_on = reindex_goes_on;
	work.arg = &reindex;
	status = account_snap(work.reader, account, &txn, &state);
	if (status == STATUS_OK)
		reindex.total = state.messages;
	store_reader_end(work.reader);
	if (status == STATUS_OK && !options->keep)
		status = search_drop(work.reader, account);
	if (status == STATUS_OK)
		status = account_index(&work, account, true);
	if (status == STATUS_OK) {
		reindex.total = work.documents; /* copies of a message are one */
		(void)reindex_goes_on(&work, &reindex);
		status = search_totals(work.reader, account, out);
	}
	search_work_fini(&work);
	lock_drop(lock);
	return status;
}
