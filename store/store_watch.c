/*
 * Change hints: engine's watcher thread -> the loops of those who watch.
 *
 * Invariants:
 *  1. At most one post per watch is under way (`pending`); hints that come meanwhile are
 *     covered by it, since the watcher asks for what is new only when it runs.
 *  2. A watch that is freed while its post is under way is freed by that post.
 *
 * A hint costs a look at the watches in the slot's bucket, under a mutex.  Readers
 * without post get fn on the watcher thread, under the mutex: it may not free watches
 * (tests and the command line).
 */
#include "store/store_int.h"

#include <stdlib.h>

enum { STORE_WATCH_MAGIC = 0x53745763 };

struct store_watch {
	unsigned magic;
	struct list node; /* in its bucket; guarded by watch_mutex */
	struct store_reader *reader;
	uint32_t slot;
	void (*fn)(void *arg);
	void *arg;
	bool pending; /* guarded by watch_mutex */
	bool closed;  /* guarded by watch_mutex */
};

static void
watch_fire(void *arg)
{
	struct store_watch *watch = OBJ_CAST(store_watch, arg, STORE_WATCH_MAGIC);
	struct store *store = watch->reader->store;
	pthread_mutex_lock(&store->watch_mutex);
	watch->pending = false;
	bool closed = watch->closed;
	pthread_mutex_unlock(&store->watch_mutex);
	if (closed) {
		watch->magic = 0;
		free(watch);
		return;
	}
	store_reader_end(watch->reader);
	watch->fn(watch->arg);
}

static void
bucket_hint(struct list *bucket, uint32_t slot)
{
	LIST_EACH(bucket, node)
	{
		struct store_watch *watch = LIST_ENTRY(node, struct store_watch, node);
		if ((slot != ENGINE_WATCH_ALL && watch->slot != slot) || watch->pending)
			continue;
		if (!watch->reader->post) {
			watch->fn(watch->arg);
			continue;
		}
		watch->pending = true;
		watch->reader->post(watch->reader->post_arg, watch_fire, watch);
	}
}

static void
store_hint(uint32_t slot, void *arg)
{
	struct store *store = OBJ_CAST(store, arg, STORE_MAGIC);
	pthread_mutex_lock(&store->watch_mutex);
	if (slot == ENGINE_WATCH_ALL)
		for (size_t i = 0; i < STORE_WATCH_BUCKETS; i++)
			bucket_hint(&store->watches[i], slot);
	else
		bucket_hint(&store->watches[slot % STORE_WATCH_BUCKETS], slot);
	pthread_mutex_unlock(&store->watch_mutex);
}

static struct store_watch *
watch_new(struct store_reader *reader, struct partition_id part, void (*fn)(void *arg),
    void *arg)
{
	struct store *store = reader->store;
	struct store_watch *watch = xcalloc(1, sizeof(*watch));
	watch->magic = STORE_WATCH_MAGIC;
	watch->reader = reader;
	watch->slot = engine_watch_slot(part);
	watch->fn = fn;
	watch->arg = arg;
	pthread_mutex_lock(&store->watch_mutex);
	bool begin = !store->watching;
	store->watching = true;
	list_append(&store->watches[watch->slot % STORE_WATCH_BUCKETS], &watch->node);
	pthread_mutex_unlock(&store->watch_mutex);
	/* Outside the mutex: the engine may call back at once. */
	if (begin)
		engine_watch(store->engine, store_hint, store);
	return watch;
}

struct store_watch *
store_watch_new(struct store_reader *reader, struct account_id account,
    void (*fn)(void *arg), void *arg)
{
	return watch_new(reader, partition_account(account), fn, arg);
}

struct store_watch *
store_watch_directory(struct store_reader *reader, void (*fn)(void *arg), void *arg)
{
	return watch_new(reader, partition_directory(), fn, arg);
}

struct store_watch *
store_watch_queue(struct store_reader *reader, void (*fn)(void *arg), void *arg)
{
	return watch_new(reader, partition_queue(), fn, arg);
}

void
store_watch_free(struct store_watch **watch)
{
	struct store_watch *w = *watch;
	if (!w)
		return;
	ENSURE(w->magic == STORE_WATCH_MAGIC);
	struct store *store = w->reader->store;
	*watch = NULL;
	pthread_mutex_lock(&store->watch_mutex);
	list_remove(&w->node);
	bool pending = w->pending;
	w->closed = true;
	pthread_mutex_unlock(&store->watch_mutex);
	if (!pending) {
		w->magic = 0;
		free(w);
	}
}
