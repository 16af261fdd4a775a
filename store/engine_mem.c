/*
 * The memory engine, for tests: one sorted array of counted items an environment.  A
 * write transaction works on a copy of the array, a commit publishes it, a snapshot holds
 * the array that was published when it began; so it has the same isolation as the real
 * one, and what a commit function keeps across a write or a re-run shows under the
 * address sanitizer (every value is its own allocation).
 *
 * With a seed it gives transactions that went well up now and then and runs them again,
 * and the writer dawdles, so that batches form.
 */
#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "store/engine_int.h"

enum {
	MEM_SHARDS = 2,
	MEM_RERUN_ONE_IN = 4,
	MEM_DAWDLE_US_MAX = 300,
	MEM_KEY_KV = 'k',
	MEM_KEY_BODY = 'b', /* then 8 bytes of id */
};

struct mem_body {
	_Atomic uint32_t holders; /* of this struct: items, drafts' places */
	uint32_t refs;            /* of the body, in the item that holds it */
	uint64_t id;
	char *bytes;
	size_t size;
	uint32_t crc;
};

/* Immutable once in an array that was published. */
struct mem_item {
	_Atomic uint32_t holders;
	struct mem_body *body; /* with MEM_KEY_BODY; the value is the derived record */
	uint32_t body_refs;
	bool body_damaged;
	size_t key_len;
	size_t value_len;
	char *value;
	char key[];
};

struct mem_array {
	_Atomic uint32_t holders;
	uint64_t txn_id;
	size_t count, room;
	struct mem_item **items;
};

struct mem_env {
	struct engine_env env;
	pthread_mutex_t lock; /* of `published` */
	struct mem_array *published;
	/* the writer's: */
	struct mem_array *work; /* null: no write transaction */
	struct engine_txn txn;
	uint64_t next_body;
	/* One stream for the thread that places, one for the one that commits. */
	uint64_t place_random, commit_random;
};

struct mem_engine {
	struct engine engine;
	uint64_t seed;
	struct mem_env envs[2 + MEM_SHARDS];
};

struct mem_snap {
	struct engine_txn txn;
	struct mem_array *array;
	struct mem_snap *next;
};

struct mem_reader {
	struct engine_reader reader;
	struct mem_array *arrays[2 + MEM_SHARDS];
	struct mem_snap *snaps;
};

/* ---- items and arrays ---- */

static void
mem_body_unref(struct mem_body *body)
{
	if (body && atomic_fetch_sub(&body->holders, 1) == 1) {
		free(body->bytes);
		free(body);
	}
}

static struct mem_item *
item_new(struct slice key, struct slice value)
{
	struct mem_item *item = xcalloc(1, sizeof *item + key.len);
	atomic_init(&item->holders, 1);
	item->key_len = key.len;
	memcpy(item->key, key.ptr, key.len);
	item->value_len = value.len;
	item->value = xmalloc(value.len + 1);
	if (value.len > 0)
		memcpy(item->value, value.ptr, value.len);
	return item;
}

static void
item_unref(struct mem_item *item)
{
	if (atomic_fetch_sub(&item->holders, 1) == 1) {
		mem_body_unref(item->body);
		free(item->value);
		free(item);
	}
}

static struct mem_array *
array_clone(const struct mem_array *from)
{
	struct mem_array *array = xcalloc(1, sizeof *array);
	atomic_init(&array->holders, 1);
	if (!from)
		return array;
	array->txn_id = from->txn_id;
	array->count = array->room = from->count;
	array->items = xcalloc(array->room + 1, sizeof(struct mem_item *));
	for (size_t i = 0; i < from->count; i++) {
		array->items[i] = from->items[i];
		atomic_fetch_add(&array->items[i]->holders, 1);
	}
	return array;
}

static void
array_unref(struct mem_array *array)
{
	if (!array || atomic_fetch_sub(&array->holders, 1) != 1)
		return;
	for (size_t i = 0; i < array->count; i++)
		item_unref(array->items[i]);
	free(array->items);
	free(array);
}

/* Position of the first item >= key. */
static size_t
array_find(const struct mem_array *array, struct slice key)
{
	size_t low = 0, high = array->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct mem_item *item = array->items[mid];
		if (slice_compare(slice_make(item->key, item->key_len), key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct mem_item *
array_get(const struct mem_array *array, struct slice key)
{
	size_t at = array_find(array, key);
	if (at == array->count)
		return NULL;
	struct mem_item *item = array->items[at];
	return slice_equal(slice_make(item->key, item->key_len), key) ? item : NULL;
}

static void
array_put(struct mem_array *array, struct mem_item *item)
{
	struct slice key = slice_make(item->key, item->key_len);
	size_t at = array_find(array, key);
	if (at < array->count) {
		struct mem_item *old = array->items[at];
		if (slice_equal(slice_make(old->key, old->key_len), key)) {
			array->items[at] = item;
			item_unref(old);
			return;
		}
	}
	if (array->count == array->room) {
		array->room = array->room * 2 + 16;
		array->items =
		    xrealloc(array->items, array->room * sizeof(struct mem_item *));
	}
	memmove(array->items + at + 1, array->items + at,
	    (array->count - at) * sizeof(struct mem_item *));
	array->items[at] = item;
	array->count++;
}

static bool
array_del(struct mem_array *array, struct slice key)
{
	size_t at = array_find(array, key);
	if (at == array->count)
		return false;
	struct mem_item *item = array->items[at];
	if (!slice_equal(slice_make(item->key, item->key_len), key))
		return false;
	array->count--;
	memmove(array->items + at, array->items + at + 1,
	    (array->count - at) * sizeof(struct mem_item *));
	item_unref(item);
	return true;
}

/* ---- transactions ---- */

static struct mem_array *
txn_array(const struct engine_txn *txn)
{
	if (txn->writable)
		return ((struct mem_env *)txn->env)->work;
	return ((const struct mem_snap *)txn)->array;
}

static struct slice
kv_key(char out[1 + ENGINE_FULL_KEY_MAX], struct slice full)
{
	out[0] = MEM_KEY_KV;
	memcpy(out + 1, full.ptr, full.len);
	return slice_make(out, full.len + 1);
}

static struct slice
body_key(char out[9], uint64_t body)
{
	out[0] = MEM_KEY_BODY;
	be64_put(out + 1, body);
	return slice_make(out, 9);
}

static enum status
mem_get(struct engine_txn *txn, struct slice full, struct slice *out)
{
	char key[1 + ENGINE_FULL_KEY_MAX];
	struct mem_item *item = array_get(txn_array(txn), kv_key(key, full));
	if (!item)
		return STATUS_NOT_FOUND;
	*out = slice_make(item->value, item->value_len);
	return STATUS_OK;
}

static enum status
mem_put(struct engine_txn *txn, struct slice full, struct slice value)
{
	char key[1 + ENGINE_FULL_KEY_MAX];
	array_put(txn_array(txn), item_new(kv_key(key, full), value));
	return STATUS_OK;
}

static enum status
mem_del(struct engine_txn *txn, struct slice full)
{
	char key[1 + ENGINE_FULL_KEY_MAX];
	return array_del(txn_array(txn), kv_key(key, full)) ? STATUS_OK
	                                                    : STATUS_NOT_FOUND;
}

struct mem_raw {
	const struct engine_txn *txn;
	size_t at;
};

static enum status
mem_raw_open(struct engine_txn *txn, void **out)
{
	struct mem_raw *raw = xcalloc(1, sizeof *raw);
	raw->txn = txn;
	*out = raw;
	return STATUS_OK;
}

static enum status
mem_raw_move(void *arg, enum raw_move move, struct slice full, struct slice *out_full,
    struct slice *out_value)
{
	struct mem_raw *raw = arg;
	struct mem_array *array = txn_array(raw->txn);
	char key[1 + ENGINE_FULL_KEY_MAX];
	switch (move) {
	case RAW_AT_OR_AFTER:
		raw->at = array_find(array, kv_key(key, full));
		break;
	case RAW_BEFORE:
		raw->at = array_find(array, kv_key(key, full)) - 1;
		break;
	case RAW_NEXT:
		raw->at++;
		break;
	case RAW_PREV:
		raw->at--; /* before the first: SIZE_MAX, which is no position either */
		break;
	}
	if (raw->at >= array->count || array->items[raw->at]->key[0] != MEM_KEY_KV)
		return STATUS_NOT_FOUND;
	struct mem_item *item = array->items[raw->at];
	*out_full = slice_make(item->key + 1, item->key_len - 1);
	*out_value = slice_make(item->value, item->value_len);
	return STATUS_OK;
}

static struct engine_txn *
mem_txn_start(struct mem_env *env)
{
	pthread_mutex_lock(&env->lock);
	env->work = array_clone(env->published);
	pthread_mutex_unlock(&env->lock);
	engine_txn_init(&env->txn, &env->env, true);
	return &env->txn;
}

static enum status
mem_begin(struct engine_env *base, struct engine_txn **out)
{
	*out = mem_txn_start((struct mem_env *)base);
	return STATUS_OK;
}

static void
mem_abort(struct engine_env *base)
{
	struct mem_env *env = (struct mem_env *)base;
	array_unref(env->work);
	env->work = NULL;
}

static enum status
mem_commit(struct engine_env *base)
{
	struct mem_env *env = (struct mem_env *)base;
	env->work->txn_id++;
	pthread_mutex_lock(&env->lock);
	struct mem_array *old = env->published;
	env->published = env->work;
	env->work = NULL;
	pthread_mutex_unlock(&env->lock);
	array_unref(old);
	return STATUS_OK;
}

/* xorshift64: repeatable from the seed. */
static uint64_t
mem_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static bool
mem_inject_rerun(struct engine_env *base)
{
	struct mem_env *env = (struct mem_env *)base;
	return env->commit_random != 0 &&
	       mem_random(&env->commit_random) % MEM_RERUN_ONE_IN == 0;
}

static uint64_t
mem_env_last_txn(struct engine_env *base)
{
	struct mem_env *env = (struct mem_env *)base;
	pthread_mutex_lock(&env->lock);
	uint64_t id = env->published->txn_id;
	pthread_mutex_unlock(&env->lock);
	return id;
}

/* ---- readers ---- */

static struct engine_reader *
mem_reader_new(struct engine *engine)
{
	struct mem_reader *reader = xcalloc(1, sizeof *reader);
	reader->reader.engine = engine;
	return &reader->reader;
}

static void
mem_reader_free(struct engine_reader *reader)
{
	free(reader);
}

static void
mem_reader_end(struct engine_reader *base)
{
	struct mem_reader *reader = (struct mem_reader *)base;
	while (reader->snaps) {
		struct mem_snap *snap = reader->snaps;
		reader->snaps = snap->next;
		ENSURE(snap->txn.cursors_open == 0);
		snap->txn.magic = 0;
		free(snap);
	}
	for (size_t i = 0; i < 2 + MEM_SHARDS; i++) {
		array_unref(reader->arrays[i]);
		reader->arrays[i] = NULL;
	}
}

static enum status
mem_snap(struct engine_reader *base, struct engine_env *base_env,
    struct partition_id part, struct engine_txn **out)
{
	struct mem_reader *reader = (struct mem_reader *)base;
	struct mem_env *env = (struct mem_env *)base_env;
	struct mem_array **array = &reader->arrays[base_env->index];
	if (!*array) {
		pthread_mutex_lock(&env->lock);
		*array = env->published;
		atomic_fetch_add(&(*array)->holders, 1);
		pthread_mutex_unlock(&env->lock);
	}
	struct mem_snap *snap = xcalloc(1, sizeof *snap);
	engine_txn_init(&snap->txn, base_env, false);
	snap->txn.part = part;
	snap->array = *array;
	snap->next = reader->snaps;
	reader->snaps = snap;
	*out = &snap->txn;
	return STATUS_OK;
}

/* ---- bodies ---- */

static void
mem_place_release(struct body_place *place)
{
	mem_body_unref(place->memory);
}

static void
mem_place(struct engine_env *base, struct engine_commit **commits, size_t count)
{
	struct mem_env *env = (struct mem_env *)base;
	if (env->place_random != 0) {
		struct timespec t = {
		    0, (long)(mem_random(&env->place_random) % MEM_DAWDLE_US_MAX) * 1000};
		nanosleep(&t, NULL);
	}
	for (size_t i = 0; i < count; i++) {
		for (struct body_draft *d = commits[i]->drafts; d; d = d->next) {
			struct body_place *place = &d->places[base->index];
			if (place->body != 0)
				continue;
			struct slice bytes = body_draft_bytes(d);
			struct mem_body *body = xcalloc(1, sizeof *body);
			atomic_init(&body->holders, 1);
			body->id = env->next_body++;
			body->bytes = xmalloc(bytes.len + 1);
			memcpy(body->bytes, bytes.ptr, bytes.len);
			body->size = bytes.len;
			body->crc = d->crc;
			place->memory = body;
			place->body = body->id;
			atomic_fetch_add(&base->engine->body_bytes, bytes.len);
		}
	}
}

/* A new item for the body, with that many references; replaces the old one. */
static struct mem_item *
mem_body_put(
    struct engine_txn *txn, struct mem_body *body, uint32_t refs, struct slice derived)
{
	char key[9];
	struct mem_item *item = item_new(body_key(key, body->id), derived);
	item->body = body;
	item->body_refs = refs;
	atomic_fetch_add(&body->holders, 1);
	array_put(txn_array(txn), item);
	return item;
}

static enum status
mem_body_count(struct engine_txn *txn, uint64_t body, int delta)
{
	char key[9];
	struct mem_item *item = array_get(txn_array(txn), body_key(key, body));
	if (!item)
		return STATUS_NOT_FOUND;
	if (delta < 0 && item->body_refs == 1) {
		array_del(txn_array(txn), body_key(key, body));
		return STATUS_OK;
	}
	bool damaged = item->body_damaged;
	mem_body_put(txn, item->body, item->body_refs + (uint32_t)delta,
	    slice_make(item->value, item->value_len))
	    ->body_damaged = damaged;
	return STATUS_OK;
}

static enum status
mem_body_attach(struct engine_txn *txn, struct body_draft *draft, uint64_t *out_body)
{
	struct body_place *place = &draft->places[txn->env->index];
	ENSURE(place->body != 0); /* the commit must have named the draft */
	*out_body = place->body;
	if (mem_body_count(txn, place->body, 1) == STATUS_NOT_FOUND)
		mem_body_put(txn, place->memory, 1, body_draft_derived(draft));
	return STATUS_OK;
}

static enum status
mem_body_set_derived(struct engine_txn *txn, uint64_t body, struct slice derived)
{
	char key[9];
	struct mem_item *item = array_get(txn_array(txn), body_key(key, body));
	if (!item)
		return STATUS_NOT_FOUND;
	bool damaged = item->body_damaged;
	mem_body_put(txn, item->body, item->body_refs, derived)->body_damaged = damaged;
	return STATUS_OK;
}

static enum status
mem_body_mark(struct engine_txn *txn, uint64_t body, bool damaged)
{
	char key[9];
	struct mem_item *item = array_get(txn_array(txn), body_key(key, body));
	if (!item)
		return STATUS_NOT_FOUND;
	mem_body_put(
	    txn, item->body, item->body_refs, slice_make(item->value, item->value_len))
	    ->body_damaged = damaged;
	return STATUS_OK;
}

static void
mem_body_describe(const struct mem_item *item, struct engine_body *out)
{
	memset(out, 0, sizeof *out);
	out->size = out->stored = item->body->size;
	out->refs = item->body_refs;
	out->crc = item->body->crc;
	out->damaged = item->body_damaged;
}

static enum status
mem_body_stat(struct engine_txn *txn, uint64_t body, struct engine_body *out)
{
	char key[9];
	struct mem_item *item = array_get(txn_array(txn), body_key(key, body));
	if (!item)
		return STATUS_NOT_FOUND;
	mem_body_describe(item, out);
	return STATUS_OK;
}

static enum status
mem_body_derived(struct engine_txn *txn, uint64_t body, struct slice *out)
{
	char key[9];
	struct mem_item *item = array_get(txn_array(txn), body_key(key, body));
	if (!item)
		return STATUS_NOT_FOUND;
	*out = slice_make(item->value, item->value_len);
	return STATUS_OK;
}

struct mem_pin {
	struct engine_pin pin;
	_Atomic uint32_t handles;
	void *map;
	size_t map_size;
	int fd;
};

static void
mem_pin_ref(struct engine_pin *base)
{
	atomic_fetch_add(&((struct mem_pin *)base)->handles, 1);
}

static void
mem_pin_close(struct engine_pin *base)
{
	struct mem_pin *pin = (struct mem_pin *)base;
	if (atomic_fetch_sub(&pin->handles, 1) > 1)
		return;
	munmap(pin->map, pin->map_size);
	close(pin->fd);
	free(pin);
}

/* A file in memory for each handle: so many at once as tests open. */
static enum status
mem_body_open(
    struct engine_txn *txn, uint64_t id, bool even_damaged, struct body_handle *out)
{
	char key[9];
	struct mem_item *item = array_get(txn_array(txn), body_key(key, id));
	if (!item)
		return STATUS_NOT_FOUND;
	if (item->body_damaged && !even_damaged)
		return STATUS_CORRUPT;
	struct mem_body *body = item->body;
	int fd = memfd_create("body", MFD_CLOEXEC);
	if (fd < 0)
		return status_from_errno(errno);
	size_t map_size = body->size > 0 ? body->size : 1;
	void *map = MAP_FAILED;
	if (ftruncate(fd, (off_t)map_size) == 0)
		map = mmap(NULL, map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		int err = errno;
		close(fd);
		return status_from_errno(err);
	}
	memcpy(map, body->bytes, body->size);
	mprotect(map, map_size, PROT_READ);
	struct mem_pin *pin = xcalloc(1, sizeof *pin);
	pin->pin.ref = mem_pin_ref;
	pin->pin.close = mem_pin_close;
	atomic_init(&pin->handles, 1);
	pin->map = map;
	pin->map_size = map_size;
	pin->fd = fd;
	*out = (struct body_handle){fd, 0, body->size, map, pin};
	return STATUS_OK;
}

static enum status
mem_body_each(struct engine_txn *txn,
    bool (*fn)(uint64_t id, const struct engine_body *body, void *arg), void *arg)
{
	struct mem_array *array = txn_array(txn);
	char key[9];
	for (size_t i = array_find(array, body_key(key, 0)); i < array->count; i++) {
		struct mem_item *item = array->items[i];
		if (item->key[0] != MEM_KEY_BODY)
			break;
		struct engine_body body;
		mem_body_describe(item, &body);
		if (!fn(item->body->id, &body, arg))
			break;
	}
	return STATUS_OK;
}

/* ---- care ---- */

static uint32_t
mem_maintain(struct engine *engine)
{
	(void)engine;
	return 0;
}

/* The items are sorted and bodies have references. */
static enum status
mem_check(struct engine *base, void (*report)(const char *problem, void *arg), void *arg)
{
	struct mem_engine *engine = (struct mem_engine *)base;
	for (size_t e = 0; e < 2 + MEM_SHARDS; e++) {
		struct mem_env *env = &engine->envs[e];
		pthread_mutex_lock(&env->lock);
		struct mem_array *array = env->published;
		for (size_t i = 0; i < array->count; i++) {
			struct mem_item *item = array->items[i];
			if (item->body && item->body_refs == 0)
				report("a body without references", arg);
			if (i > 0 && slice_compare(slice_make(array->items[i - 1]->key,
						       array->items[i - 1]->key_len),
					 slice_make(item->key, item->key_len)) >= 0)
				report("keys out of order", arg);
		}
		pthread_mutex_unlock(&env->lock);
	}
	return STATUS_OK;
}

static uint64_t
mem_oldest_reader_age_ms(const struct engine *engine)
{
	(void)engine;
	return 0;
}

static void
mem_close(struct engine *base)
{
	struct mem_engine *engine = (struct mem_engine *)base;
	for (size_t i = 0; i < 2 + MEM_SHARDS; i++) {
		array_unref(engine->envs[i].published);
		pthread_mutex_destroy(&engine->envs[i].lock);
	}
	free(engine);
}

static const struct engine_ops MEM_OPS = {
    .close = mem_close,
    .reader_new = mem_reader_new,
    .reader_free = mem_reader_free,
    .reader_end = mem_reader_end,
    .snap = mem_snap,
    .get = mem_get,
    .put = mem_put,
    .del = mem_del,
    .raw_open = mem_raw_open,
    .raw_move = mem_raw_move,
    .raw_close = free,
    .body_attach = mem_body_attach,
    .body_count = mem_body_count,
    .body_set_derived = mem_body_set_derived,
    .body_stat = mem_body_stat,
    .body_derived = mem_body_derived,
    .body_open = mem_body_open,
    .body_mark = mem_body_mark,
    .body_each = mem_body_each,
    .place_release = mem_place_release,
    .place = mem_place,
    .begin = mem_begin,
    .abort = mem_abort,
    .commit = mem_commit,
    .inject_rerun = mem_inject_rerun,
    .maintain = mem_maintain,
    .check = mem_check,
    .oldest_reader_age_ms = mem_oldest_reader_age_ms,
    .env_last_txn = mem_env_last_txn,
};

struct engine *
engine_open_mem(uint64_t seed)
{
	struct mem_engine *engine = xcalloc(1, sizeof *engine);
	engine_init(&engine->engine, &MEM_OPS, MEM_SHARDS);
	engine->seed = seed;
	for (uint32_t i = 0; i < 2 + MEM_SHARDS; i++) {
		struct mem_env *env = &engine->envs[i];
		env->env.engine = &engine->engine;
		env->env.index = i;
		engine_writer_init(&env->env.writer);
		pthread_mutex_init(&env->lock, NULL);
		env->published = array_clone(NULL);
		env->next_body = 1;
		uint64_t own = (seed ^ (i + 1) * 0x9e3779b97f4a7c15u) | 1;
		env->commit_random = seed == 0 ? 0 : own;
		env->place_random = seed == 0 ? 0 : own ^ 0x2545f4914f6cdd1du;
		engine->engine.envs[i] = &env->env;
	}
	/* Without a file it fails only when there is no memory for one page. */
	ENSURE(engine_watcher_open(&engine->engine, NULL, &engine->engine.watcher) ==
	       STATUS_OK);
	return &engine->engine;
}
