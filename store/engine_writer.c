/*
 * The writer: one an environment and process, started at the first submit.  It takes what
 * is queued, places the drafts (one sync), runs the commit functions in one write
 * transaction (one commit), then tells everybody; what arrives meanwhile is the next
 * batch.
 *
 * Two threads take turns, so that a large batch is placed while one is committed: a
 * thread holds place_lock while it places, and takes commit_lock before it lets
 * place_lock go.  Commit and done functions run under commit_lock: one at a time, in the
 * order of the queue, as on one thread.
 *
 * A small batch is not placed ahead: it waits for the commit before it, and a moment for
 * those whom that one answered, so that all who are at work share the flushes (decision
 * 0110).  When nothing waits behind it, its thread keeps place_lock and goes on: the
 *other thread would wake up only to wait again.
 *
 * A function that fails without having written costs nothing.  One that fails after it
 * has written makes the transaction be given up and the others run again (decision 0007).
 * When the environment is full the batch is run again one by one, so that commits that
 * need no room, or make some, still go through.
 *
 *	queued -> batch_form -> place -> batch_try (again without a failed one) -> done
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/log.h"
#include "store/engine_int.h"

void
engine_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg)
{
	/* The thread must not take the daemon's signals. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ENSURE(pthread_create(thread, NULL, fn, arg) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_setname_np(*thread, name);
}

void
engine_writer_init(struct engine_writer *writer)
{
	mpsc_init(&writer->queue);
	sem_init(&writer->wake, 0, 0);
	pthread_mutex_init(&writer->start_lock, NULL);
	pthread_mutex_init(&writer->place_lock, NULL);
	pthread_mutex_init(&writer->commit_lock, NULL);
	atomic_init(&writer->started, false);
	atomic_init(&writer->stop, false);
	writer->pending = writer->pending_tail = NULL;
	writer->pending_count = writer->expected = 0;
}

/* Moves what is queued behind what is pending. */
static void
pending_refill(struct engine_writer *writer)
{
	struct mpsc_node *chain = mpsc_take_all(&writer->queue);
	if (!chain)
		return;
	if (writer->pending_tail)
		writer->pending_tail->next = chain;
	else
		writer->pending = chain;
	for (writer->pending_count++; chain->next; writer->pending_count++)
		chain = chain->next;
	writer->pending_tail = chain;
}

static uint64_t
commit_body_bytes(const struct engine_env *env, const struct engine_commit *commit)
{
	uint64_t bytes = 0;
	for (const struct body_draft *draft = commit->drafts; draft;
	     draft = draft->next) {
		if (draft->places[env->index].body == 0)
			bytes += draft->size;
	}
	return bytes;
}

/* Whether what is pending has few bytes to place. */
static bool
pending_is_small(const struct engine_env *env)
{
	uint64_t bytes = 0;
	size_t count = 0;
	for (struct mpsc_node *node = env->writer.pending;
	     node && count < ENGINE_BATCH_MAX && bytes <= ENGINE_BATCH_SMALL_BYTES;
	     node = node->next, count++)
		bytes +=
		    commit_body_bytes(env, LIST_ENTRY(node, struct engine_commit, node));
	return bytes <= ENGINE_BATCH_SMALL_BYTES;
}

/* Waits a moment for as many as came together lately, as long as they come. */
static void
pending_gather(struct engine_writer *writer)
{
	unsigned polls = 0, idle = 0;
	pending_refill(writer);
	while (writer->pending_count < writer->expected &&
	       polls++ < ENGINE_GATHER_POLLS_MAX && idle < ENGINE_GATHER_POLLS_IDLE_MAX) {
		size_t before = writer->pending_count;
		nanosleep(&(struct timespec){0, ENGINE_GATHER_POLL_US * 1000}, NULL);
		pending_refill(writer);
		idle = writer->pending_count > before ? 0 : idle + 1;
	}
}

static size_t
batch_form(struct engine_env *env, struct engine_commit **batch)
{
	struct engine_writer *writer = &env->writer;
	size_t count = 0;
	uint64_t bytes = 0;
	while (writer->pending && count < ENGINE_BATCH_MAX) {
		struct engine_commit *commit =
		    LIST_ENTRY(writer->pending, struct engine_commit, node);
		uint64_t more = commit_body_bytes(env, commit);
		if (count > 0 && bytes + more > ENGINE_BATCH_BODY_BYTES)
			break;
		bytes += more;
		writer->pending = writer->pending->next;
		if (!writer->pending)
			writer->pending_tail = NULL;
		commit->status = STATUS_OK;
		batch[count++] = commit;
	}
	writer->pending_count -= count;
	writer->expected =
	    count >= writer->expected ? count : (writer->expected + count) / 2;
	return count;
}

static enum status
run_one(struct engine_txn *txn, struct engine_commit *commit, bool *out_wrote)
{
	txn->part = commit->part;
	txn->status = STATUS_OK;
	txn->writes_start = txn->writes;
	enum status status = commit->fn(txn, commit->arg);
	ENSURE(txn->cursors_open == 0); /* a cursor may not outlive its function */
	*out_wrote = txn->writes != txn->writes_start;
	if (status == STATUS_OK && txn->status == STATUS_OK && *out_wrote)
		engine_txn_version_bump(txn);
	return txn->status != STATUS_OK ? txn->status : status;
}

enum batch_result {
	BATCH_OK,    /* committed */
	BATCH_AGAIN, /* one failed after writing, and is out */
	BATCH_FULL,  /* no room */
	BATCH_FAILED,
};

struct batch {
	struct engine_commit **commits;
	size_t count;
	bool *out;       /* has its final status, is not run any more */
	uint32_t *slots; /* a hint for each commit that wrote */
	size_t slot_count;
	enum status status; /* of BATCH_FAILED */
};

/* One try.  A function that failed without writing runs again in the next try, where it
 * may find other things. */
static enum batch_result
batch_try(struct engine_env *env, struct batch *batch)
{
	const struct engine_ops *ops = env->engine->ops;
	struct engine_txn *txn;
	batch->slot_count = 0;
	batch->status = ops->begin(env, &txn);
	if (batch->status != STATUS_OK)
		return batch->status == STATUS_FULL ? BATCH_FULL : BATCH_FAILED;
	for (size_t i = 0; i < batch->count; i++) {
		if (batch->out[i])
			continue;
		struct engine_commit *commit = batch->commits[i];
		bool wrote;
		commit->status = run_one(txn, commit, &wrote);
		if (commit->status != STATUS_OK && wrote) {
			bool full = txn->status == STATUS_FULL;
			ops->abort(env);
			if (full)
				return BATCH_FULL;
			batch->out[i] = true;
			return BATCH_AGAIN;
		}
		if (wrote)
			batch->slots[batch->slot_count++] =
			    engine_watch_slot(commit->part);
	}
	if (ops->inject_rerun && ops->inject_rerun(env)) {
		ops->abort(env);
		return BATCH_AGAIN;
	}
	if (batch->slot_count == 0) {
		ops->abort(env); /* nothing to make durable */
		return BATCH_OK;
	}
	batch->status = ops->commit(env);
	if (batch->status == STATUS_OK)
		return BATCH_OK;
	return batch->status == STATUS_FULL ? BATCH_FULL : BATCH_FAILED;
}

static void
batch_fail(struct batch *batch, enum status status)
{
	for (size_t i = 0; i < batch->count; i++) {
		if (!batch->out[i])
			batch->commits[i]->status = status;
	}
}

/* Tries until something is decided; each BATCH_AGAIN takes one commit out. */
static enum batch_result
batch_run(struct engine_env *env, struct batch *batch)
{
	struct engine *engine = env->engine;
	enum batch_result result;
	do {
		result = batch_try(env, batch);
	} while (result == BATCH_AGAIN);
	if (result == BATCH_OK) {
		atomic_fetch_add_explicit(&engine->batches, 1, memory_order_relaxed);
		if (batch->slot_count > 0)
			engine_watcher_publish(engine->watcher, env->index,
			    engine->ops->env_last_txn(env), batch->slots,
			    batch->slot_count);
	} else {
		batch_fail(batch, result == BATCH_FULL ? STATUS_FULL : batch->status);
	}
	return result;
}

/* Runs a batch whose drafts are placed; commits with a status are out already. */
static void
batch_commit(struct engine_env *env, struct engine_commit **commits, size_t count)
{
	bool out[ENGINE_BATCH_MAX];
	uint32_t slots[ENGINE_BATCH_MAX];
	struct batch batch = {commits, count, out, slots, 0, STATUS_OK};
	for (size_t i = 0; i < count; i++)
		out[i] = commits[i]->status != STATUS_OK;
	if (batch_run(env, &batch) != BATCH_FULL || count == 1)
		return;
	for (size_t i = 0; i < count; i++) {
		if (out[i])
			continue;
		struct batch single = {&commits[i], 1, &out[i], slots, 0, STATUS_OK};
		batch_run(env, &single);
	}
}

static void
batch_done(struct engine_env *env, struct engine_commit **batch, size_t count)
{
	atomic_fetch_add_explicit(&env->engine->commits, count, memory_order_relaxed);
	for (size_t i = 0; i < count; i++) {
		/* After done the struct is the caller's, perhaps freed. */
		batch[i]->done(batch[i], batch[i]->status);
	}
}

/* Both threads run this: each batch is placed and committed by one of them, and the locks
 * let the other one place the next large batch during the commit, in order. */
static void *
writer_main(void *arg)
{
	struct engine_env *env = arg;
	struct engine_writer *writer = &env->writer;
	struct engine_commit **batch =
	    xcalloc(ENGINE_BATCH_MAX, sizeof(struct engine_commit *));
	bool placing = false; /* place_lock is held */
	for (;;) {
		if (!placing)
			pthread_mutex_lock(&writer->place_lock);
		pending_refill(writer);
		while (!writer->pending && !atomic_load(&writer->stop)) {
			sem_wait(&writer->wake);
			pending_refill(writer);
		}
		if (!writer->pending) {
			pthread_mutex_unlock(&writer->place_lock);
			break;
		}
		bool small = pending_is_small(env);
		if (small) {
			pthread_mutex_lock(&writer->commit_lock);
			pending_gather(writer);
		}
		size_t count = batch_form(env, batch);
		env->engine->ops->place(env, batch, count);
		if (!small)
			pthread_mutex_lock(&writer->commit_lock);
		pending_refill(writer);
		placing = small && !writer->pending;
		if (!placing)
			pthread_mutex_unlock(&writer->place_lock);
		batch_commit(env, batch, count);
		batch_done(env, batch, count);
		pthread_mutex_unlock(&writer->commit_lock);
	}
	free(batch);
	return NULL;
}

void
engine_writer_submit(struct engine_env *env, struct engine_commit *commit)
{
	struct engine_writer *writer = &env->writer;
	bool wake = mpsc_push(&writer->queue, &commit->node);
	if (!atomic_load_explicit(&writer->started, memory_order_acquire)) {
		pthread_mutex_lock(&writer->start_lock);
		if (!atomic_load(&writer->started)) {
			for (size_t i = 0; i < WRITER_THREADS; i++)
				engine_thread_start(&writer->threads[i], "store-writer",
				    writer_main, env);
			atomic_store(&writer->started, true);
		}
		pthread_mutex_unlock(&writer->start_lock);
	}
	if (wake)
		sem_post(&writer->wake);
}

void
engine_writer_fini(struct engine_env *env)
{
	struct engine_writer *writer = &env->writer;
	if (atomic_load(&writer->started)) {
		atomic_store(&writer->stop, true);
		for (size_t i = 0; i < WRITER_THREADS; i++)
			sem_post(&writer->wake);
		for (size_t i = 0; i < WRITER_THREADS; i++)
			pthread_join(writer->threads[i], NULL);
	}
	sem_destroy(&writer->wake);
	pthread_mutex_destroy(&writer->start_lock);
	pthread_mutex_destroy(&writer->place_lock);
	pthread_mutex_destroy(&writer->commit_lock);
}
