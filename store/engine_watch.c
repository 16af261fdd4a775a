/*
 * Change hints between processes (decision 0004): a ring of the last changed slots in
 * shared memory, and a futex on its head.
 *
 * A committer takes positions by adding to `head`, writes an entry at each, and wakes.
 * An entry carries the low half of its position, so a reader sees whether it is the one
 * it waits for, an older one (being written, or its writer died: everything may have
 * changed) or a newer one (the reader fell behind a whole ring: likewise).  A process
 * that dies between its commit and its hints is found by the net: every NET_MS the
 * watcher compares each environment's last transaction with what was published.
 *
 * A zeroed file is a valid start.  One watcher thread a process; publish from any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/engine_int.h"

enum {
	RING_SIZE = 4096,   /* entries */
	NET_MS = 1000,      /* between two looks at the environments */
	ENTRY_WAIT_MS = 20, /* for an entry that is being written */
};

struct watch_map {
	_Atomic uint32_t head; /* positions given out; the futex */
	uint32_t reserved;
	_Atomic uint64_t published[ENGINE_ENVS_MAX]; /* transaction counts */
	_Atomic uint64_t ring[RING_SIZE];            /* position + 1 << 32 | slot */
};

struct engine_watcher {
	struct engine *engine;
	struct watch_map *map;
	bool started;
	atomic_bool stop;
	pthread_t thread;
	void (*fn)(uint32_t slot, void *arg);
	void *arg;
	uint32_t position;
	uint64_t covered[ENGINE_ENVS_MAX]; /* counts that the net has told of */
};

enum status
engine_watcher_open(struct engine *engine, const char *path, struct engine_watcher **out)
{
	int fd = -1;
	if (path) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
		if (fd < 0)
			return status_from_errno(errno);
		/* With all its blocks: a store to a page that a full disk cannot give one
		 * would be a signal. */
		int rc = fallocate(fd, 0, 0, sizeof(struct watch_map));
		if (rc < 0 && errno == EOPNOTSUPP)
			rc = ftruncate(fd, sizeof(struct watch_map));
		if (rc < 0) {
			int err = errno;
			close(fd);
			return status_from_errno(err);
		}
	}
	void *map = mmap(NULL, sizeof(struct watch_map), PROT_READ | PROT_WRITE,
	    fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	int err = errno;
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return status_from_errno(err);
	struct engine_watcher *watcher = xcalloc(1, sizeof *watcher);
	watcher->engine = engine;
	watcher->map = map;
	atomic_init(&watcher->stop, false);
	*out = watcher;
	return STATUS_OK;
}

static void
futex_wake_all(struct watch_map *map)
{
	syscall(SYS_futex, &map->head, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void
futex_wait(struct watch_map *map, uint32_t seen, uint32_t timeout_ms)
{
	struct timespec t = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
	syscall(SYS_futex, &map->head, FUTEX_WAIT, seen, &t, NULL, 0);
}

static uint64_t
entry_make(uint32_t position, uint32_t slot)
{
	return (uint64_t)(position + 1) << 32 | slot;
}

void
engine_watcher_publish(struct engine_watcher *watcher, uint32_t env_index,
    uint64_t txn_id, const uint32_t *slots, size_t count)
{
	struct watch_map *map = watcher->map;
	uint32_t all = ENGINE_WATCH_ALL;
	if (count > RING_SIZE / 4) {
		slots = &all;
		count = 1;
	}
	/* A batch often changes one account many times. */
	uint32_t first = atomic_fetch_add(&map->head, (uint32_t)count);
	for (uint32_t i = 0; i < count; i++)
		atomic_store(
		    &map->ring[(first + i) % RING_SIZE], entry_make(first + i, slots[i]));
	uint64_t before = atomic_load(&map->published[env_index]);
	while (before < txn_id &&
	       !atomic_compare_exchange_weak(&map->published[env_index], &before, txn_id))
		continue;
	futex_wake_all(map);
}

/* Waits for the entry at the watcher's position; false when it does not come or has been
 * overwritten. */
static bool
entry_read(struct engine_watcher *watcher, uint32_t *out_slot)
{
	uint64_t start_ms = 0;
	for (unsigned spins = 0;; spins++) {
		uint64_t entry =
		    atomic_load(&watcher->map->ring[watcher->position % RING_SIZE]);
		uint32_t tag = (uint32_t)(entry >> 32);
		if (tag == (uint32_t)(watcher->position + 1)) {
			*out_slot = (uint32_t)entry;
			return true;
		}
		/* A tag in the half ahead of ours is a newer entry. */
		if (tag != 0 && (int32_t)(tag - (watcher->position + 1)) > 0)
			return false;
		if (spins == 0)
			start_ms = clock_mono_ms();
		else if (clock_mono_ms() - start_ms >= ENTRY_WAIT_MS || spins > 100000)
			return false;
		sched_yield();
	}
}

static void
watcher_drain(struct engine_watcher *watcher)
{
	uint32_t head = atomic_load(&watcher->map->head);
	while (watcher->position != head) {
		uint32_t slot;
		bool behind = (uint32_t)(head - watcher->position) > RING_SIZE;
		if (behind || !entry_read(watcher, &slot)) {
			watcher->position = atomic_load(&watcher->map->head);
			watcher->fn(ENGINE_WATCH_ALL, watcher->arg);
			return;
		}
		watcher->position++;
		watcher->fn(slot, watcher->arg);
	}
}

/* Whether some process has committed and died before it could say so. */
static void
watcher_net(struct engine_watcher *watcher)
{
	bool gap = false;
	for (uint32_t i = 0; i < ENGINE_ENVS_MAX; i++) {
		struct engine_env *env = watcher->engine->envs[i];
		if (!env)
			continue;
		uint64_t published = atomic_load(&watcher->map->published[i]);
		uint64_t last = watcher->engine->ops->env_last_txn(env);
		if (last > published && last > watcher->covered[i]) {
			watcher->covered[i] = last;
			gap = true;
		}
	}
	if (gap)
		watcher->fn(ENGINE_WATCH_ALL, watcher->arg);
}

static void *
watcher_main(void *arg)
{
	struct engine_watcher *watcher = arg;
	uint64_t net_ms = clock_mono_ms() + NET_MS;
	while (!atomic_load(&watcher->stop)) {
		watcher_drain(watcher);
		if (clock_mono_ms() >= net_ms) {
			watcher_net(watcher);
			if (watcher->engine->ops->tick)
				watcher->engine->ops->tick(watcher->engine);
			net_ms = clock_mono_ms() + NET_MS;
		}
		futex_wait(watcher->map, watcher->position, NET_MS);
	}
	return NULL;
}

void
engine_watcher_start(
    struct engine_watcher *watcher, void (*fn)(uint32_t slot, void *arg), void *arg)
{
	ENSURE(!watcher->started);
	watcher->fn = fn;
	watcher->arg = arg;
	watcher->started = true;
	/* From here on every change is told; before it there was nobody to tell. */
	watcher->position = atomic_load(&watcher->map->head);
	for (uint32_t i = 0; i < ENGINE_ENVS_MAX; i++) {
		if (watcher->engine->envs[i])
			watcher->covered[i] =
			    watcher->engine->ops->env_last_txn(watcher->engine->envs[i]);
	}
	engine_thread_start(&watcher->thread, "store-watcher", watcher_main, watcher);
}

void
engine_watcher_close(struct engine_watcher **watcher)
{
	struct engine_watcher *w = *watcher;
	if (!w)
		return;
	*watcher = NULL;
	if (w->started) {
		atomic_store(&w->stop, true);
		/* Moves the futex's value, so that a wait that is about to begin ends. */
		uint32_t all = ENGINE_WATCH_ALL;
		engine_watcher_publish(w, 0, 0, &all, 1);
		pthread_join(w->thread, NULL);
	}
	munmap(w->map, sizeof *w->map);
	free(w);
}
