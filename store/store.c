/*
 * Open and close, readers, and the way of an op from submit to done.
 *
 * Invariants:
 *  1. op->done is called exactly once for every submit, on the reader's thread, outside
 *     any call that the caller made (but for readers without post, where it is called
 *     inside submit).
 *  2. Before op->done the reader's transactions are ended, so that it reads what the op
 *     committed.
 *
 * The commit functions themselves are in directory_write, mailbox_write, message_* and
 * queue_write.
 */
#include "store/store_int.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ids.h"
#include "store/store_codec_int.h"

enum {
	UNDELETE_DAYS_DEFAULT = 7,
	VEC_ROOM_MIN = 16, /* elements */
};

struct partition_id
partition_directory(void)
{
	return (struct partition_id){{PARTITION_DIRECTORY}};
}

struct partition_id
partition_queue(void)
{
	return (struct partition_id){{PARTITION_QUEUE}};
}

/* ---- open and close ---- */
/* The installation's record, made once: its secret, and the counter of relay rules. */
static enum status
commit_install(struct engine_txn *txn, void *arg)
{
	const char *secret = arg;
	struct key key;
	struct slice value;
	key_begin(&key, KEY_INSTALL);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_NOT_FOUND)
		return status;
	char record[INSTALL_SIZE];
	record[0] = STORE_RECORD_VERSION;
	memcpy(record + INSTALL_SECRET, secret, 32);
	be32_put(record + INSTALL_NEXT_RELAY, 1);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
	return engine_txn_status(txn);
}

static enum status
ensure_installed(struct store *store)
{
	struct engine_reader *reader = engine_reader_new(store->engine);
	struct engine_txn *txn;
	struct key key;
	struct slice value;
	key_begin(&key, KEY_INSTALL);
	enum status status = engine_snap(reader, partition_directory(), &txn);
	if (status == STATUS_OK)
		status = engine_get(txn, key_slice(&key), &value);
	engine_reader_free(&reader);
	if (status != STATUS_NOT_FOUND)
		return status;
	char secret[32];
	random_bytes(secret, sizeof(secret));
	return engine_commit_wait(
	    store->engine, partition_directory(), commit_install, secret, NULL);
}

static struct store *
store_make(struct engine *engine, const char *path, uint32_t undelete_days)
{
	struct store *store = xcalloc(1, sizeof(*store));
	store->magic = STORE_MAGIC;
	store->engine = engine;
	store->path = path ? xstrdup(path) : NULL;
	store->undelete_days = undelete_days;
	pthread_mutex_init(&store->watch_mutex, NULL);
	pthread_mutex_init(&store->maintain_mutex, NULL);
	for (size_t i = 0; i < STORE_WATCH_BUCKETS; i++)
		list_init(&store->watches[i]);
	return store;
}

enum status
store_open(const struct store_options *options, struct store **out, char **error)
{
	struct engine_options engine_options = {
	    .path = options->path,
	    .map_size = options->map_size,
	    .shards = options->shards,
	    .create = options->create,
	    .sync = options->sync,
	    .compress = options->compress,
	    .min_free_percent = options->min_free_percent,
	};
	struct engine *engine;
	*error = NULL;
	enum status status = engine_open(&engine_options, &engine, error);
	if (status != STATUS_OK) {
		if (!*error)
			*error = xstrdup(status_text(status));
		return status;
	}
	struct store *store = store_make(engine, options->path, options->undelete_days);
	status = ensure_installed(store);
	if (status != STATUS_OK) {
		*error = xstrdup("could not read or write the store's directory");
		store_close(&store);
		return status;
	}
	*out = store;
	return STATUS_OK;
}

struct store *
store_open_mem(uint64_t seed)
{
	struct store *store =
	    store_make(engine_open_mem(seed), NULL, UNDELETE_DAYS_DEFAULT);
	ENSURE(ensure_installed(store) == STATUS_OK);
	return store;
}

void
store_close(struct store **store)
{
	struct store *s = *store;
	if (!s)
		return;
	ENSURE(s->magic == STORE_MAGIC);
	for (size_t i = 0; i < STORE_WATCH_BUCKETS; i++)
		ENSURE(list_is_empty(&s->watches[i]));
	engine_close(&s->engine);
	pthread_mutex_destroy(&s->watch_mutex);
	pthread_mutex_destroy(&s->maintain_mutex);
	free(s->path);
	s->magic = 0;
	free(s);
	*store = NULL;
}

/* ---- readers ---- */
struct store_reader *
store_reader_new(struct store *store, store_post_fn post, void *post_arg)
{
	struct store_reader *reader = xcalloc(1, sizeof(*reader));
	reader->magic = STORE_READER_MAGIC;
	reader->store = store;
	reader->engine = engine_reader_new(store->engine);
	reader->post = post;
	reader->post_arg = post_arg;
	return reader;
}

void
store_reader_free(struct store_reader **reader)
{
	struct store_reader *r = *reader;
	if (!r)
		return;
	ENSURE(r->magic == STORE_READER_MAGIC);
	ENSURE(atomic_load(&r->ops) == 0);
	engine_reader_free(&r->engine);
	r->magic = 0;
	free(r);
	*reader = NULL;
}

void
store_reader_end(struct store_reader *reader)
{
	engine_reader_end(reader->engine);
}

struct store *
store_reader_store(struct store_reader *reader)
{
	return reader->store;
}

/* ---- ops ---- */
void *
op_state_new(struct store_reader *reader, struct store_op *op, size_t size)
{
	struct store_op_state *state = xcalloc(1, size);
	state->magic = STORE_OP_MAGIC;
	state->op = op;
	state->now_s = clock_wall_s();
	state->undelete_days = reader->store->undelete_days;
	op->reader = reader;
	op->state = state;
	op->status = STATUS_OK;
	if (!reader->post) {
		pthread_mutex_init(&state->mutex, NULL);
		pthread_cond_init(&state->cond, NULL);
	}
	atomic_fetch_add(&reader->ops, 1);
	return state;
}

/* The end of the way, on the reader's thread. */
static void
op_complete(void *arg)
{
	struct store_op_state *state = OBJ_CAST(store_op_state, arg, STORE_OP_MAGIC);
	struct store_op *op = state->op;
	struct store_reader *reader = op->reader;
	store_reader_end(reader);
	body_draft_unref(&state->drafts);
	if (state->release)
		state->release(state);
	if (!reader->post) {
		pthread_mutex_destroy(&state->mutex);
		pthread_cond_destroy(&state->cond);
	}
	state->magic = 0;
	free(state);
	op->state = NULL;
	atomic_fetch_sub(&reader->ops, 1);
	if (op->done)
		op->done(op);
}

void
op_finished(struct store_op_state *state, enum status status)
{
	struct store_reader *reader = state->op->reader;
	state->op->status = status;
	if (reader->post) {
		reader->post(reader->post_arg, op_complete, state);
		return;
	}
	pthread_mutex_lock(&state->mutex);
	state->finished = true;
	pthread_cond_signal(&state->cond);
	pthread_mutex_unlock(&state->mutex);
}

void
op_wait(struct store_op_state *state)
{
	pthread_mutex_lock(&state->mutex);
	while (!state->finished)
		pthread_cond_wait(&state->cond, &state->mutex);
	pthread_mutex_unlock(&state->mutex);
	op_complete(state);
}

static void
op_commit_done(struct engine_commit *commit, enum status status)
{
	op_finished(LIST_ENTRY(commit, struct store_op_state, commit), status);
}

void
op_submit(struct store_op_state *state, struct partition_id part, engine_commit_fn fn)
{
	struct store_reader *reader = state->op->reader;
	bool wait = !reader->post;
	state->commit.part = part;
	state->commit.fn = fn;
	state->commit.arg = state;
	state->commit.done = op_commit_done;
	state->commit.drafts = state->drafts;
	/* From here on the state may be gone at any moment, unless this thread waits. */
	engine_submit(reader->store->engine, &state->commit);
	if (wait)
		op_wait(state);
}

void
op_refuse(struct store_op_state *state, enum status status)
{
	bool wait = !state->op->reader->post;
	op_finished(state, status);
	if (wait)
		op_wait(state);
}

enum status
op_array_fit(struct store_op *op, struct op_array *array, size_t size, size_t count)
{
	if (count <= array->room)
		return STATUS_OK;
	ENSURE(op->arena);
	void *ptr = arena_alloc_array(op->arena, size, count);
	if (!ptr)
		return STATUS_LIMIT;
	array->ptr = ptr;
	array->room = count;
	return STATUS_OK;
}

void *
vec_push(struct vec *vec, size_t size)
{
	if (vec->count == vec->room) {
		size_t room = vec->room ? vec->room * 2 : VEC_ROOM_MIN;
		if (room > STORE_OP_BYTES_MAX / size)
			return NULL;
		vec->ptr = xrealloc(vec->ptr, room * size);
		vec->room = room;
	}
	return (char *)vec->ptr + size * vec->count++;
}

void
vec_fini(struct vec *vec)
{
	free(vec->ptr);
	*vec = (struct vec){NULL, 0, 0};
}

enum status
store_commit_wait(
    struct store_reader *reader, struct partition_id part, engine_commit_fn fn, void *arg)
{
	enum status status =
	    engine_commit_wait(reader->store->engine, part, fn, arg, NULL);
	store_reader_end(reader);
	return status;
}
