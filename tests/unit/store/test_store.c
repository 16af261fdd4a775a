/*
 * Open and reopen, and ops from two threads with completions posted to them: nothing is
 * lost, nothing comes twice, hints arrive, and what done reads holds what was committed.
 * Runs under the thread sanitizer too.
 */
#include "unit/store/store_fixture.h"

#include <pthread.h>

enum { OPS = 300, WAIT_S = 30 };

/* A loop in small: post from any thread, run on its own. */
struct mini_loop {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct job {
		void (*fn)(void *);
		void *arg;
		struct job *next;
	} * first, **last;
};

static void
mini_post(void *post_arg, void (*fn)(void *), void *arg)
{
	struct mini_loop *loop = post_arg;
	struct job *job = xmalloc(sizeof(*job));
	*job = (struct job){fn, arg, NULL};
	pthread_mutex_lock(&loop->mutex);
	*loop->last = job;
	loop->last = &job->next;
	pthread_cond_signal(&loop->cond);
	pthread_mutex_unlock(&loop->mutex);
}

/* Runs one job; false when none came in time. */
static bool
mini_run(struct mini_loop *loop, int wait_s)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += wait_s;
	pthread_mutex_lock(&loop->mutex);
	while (!loop->first)
		if (pthread_cond_timedwait(&loop->cond, &loop->mutex, &until) != 0)
			break;
	struct job *job = loop->first;
	if (job) {
		loop->first = job->next;
		if (!loop->first)
			loop->last = &loop->first;
	}
	pthread_mutex_unlock(&loop->mutex);
	if (!job)
		return false;
	job->fn(job->arg);
	free(job);
	return true;
}

struct worker {
	struct fixture *f;
	struct mini_loop loop;
	struct store_reader *reader;
	struct store_watch *watch;
	uint32_t inbox;
	unsigned submitted, done, hints;
	uint32_t last_uid;
	struct deliver_recipient recipient;
	struct deliver_op op;
	pthread_t thread;
};

static void
worker_hint(void *arg)
{
	((struct worker *)arg)->hints++;
}

static void worker_submit(struct worker *w);

static void
worker_done(struct store_op *op)
{
	struct worker *w = op->user;
	struct message_record record;
	ENSURE(op->status == STATUS_OK);
	ENSURE(w->recipient.uid > w->last_uid);
	w->last_uid = w->recipient.uid;
	/* What done reads includes what was committed. */
	ENSURE(message_get(w->reader, w->f->jo, w->inbox, w->last_uid, &record) ==
	       STATUS_OK);
	w->done++;
	if (w->submitted < OPS)
		worker_submit(w);
}

static void
worker_submit(struct worker *w)
{
	w->submitted++;
	w->recipient = (struct deliver_recipient){.account = w->f->jo};
	w->op.op = (struct store_op){.done = worker_done, .user = w};
	deliver_op_submit(w->reader, &w->op);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	worker_submit(w);
	while (w->done < OPS && mini_run(&w->loop, WAIT_S))
		;
	/* Hints may come late; one must. */
	while (w->hints == 0 && mini_run(&w->loop, WAIT_S))
		;
	store_watch_free(&w->watch);
	while (mini_run(&w->loop, 0))
		;
	return NULL;
}

static void
two_threads(struct fixture *f)
{
	struct worker workers[2];
	memset(workers, 0, sizeof(workers));
	for (int i = 0; i < 2; i++) {
		struct worker *w = &workers[i];
		w->f = f;
		w->inbox = fixture_box(f, f->jo, "INBOX");
		pthread_mutex_init(&w->loop.mutex, NULL);
		pthread_cond_init(&w->loop.cond, NULL);
		w->loop.last = &w->loop.first;
		w->reader = store_reader_new(f->store, mini_post, &w->loop);
		w->watch = store_watch_new(w->reader, f->jo, worker_hint, w);
		w->op = (struct deliver_op){.draft = fixture_draft(f, "thread", 100),
		    .recipients = &w->recipient,
		    .recipient_count = 1};
	}
	store_reader_end(f->reader);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]),
		    0);
	for (int i = 0; i < 2; i++) {
		struct worker *w = &workers[i];
		pthread_join(w->thread, NULL);
		assert_int_equal(w->done, OPS);
		assert_true(w->hints > 0);
		store_reader_free(&w->reader);
		body_draft_unref(&w->op.draft);
	}
	struct mailbox_info info = fixture_info(f, f->jo, "INBOX");
	assert_int_equal(info.exists, 2 * OPS);
	assert_int_equal(info.uidnext, 2 * OPS + 1);
}

static void
reopen(struct fixture *f)
{
	struct directory_account account;
	unsigned char one[32], two[32];
	assert_int_equal(fixture_deliver(f, f->jo, NULL, "kept", 0, NULL), STATUS_OK);
	assert_int_equal(directory_secret(f->reader, one), STATUS_OK);
	if (f->backend)
		return; /* memory forgets */
	store_reader_free(&f->reader);
	store_close(&f->store);
	fixture_open_store(f);
	assert_int_equal(
	    directory_account_find(f->reader, SLICE("jo@example.org"), &account),
	    STATUS_OK);
	assert_int_equal(fixture_info(f, account.id, "INBOX").exists, 1);
	assert_int_equal(directory_secret(f->reader, two), STATUS_OK);
	assert_memory_equal(one, two, sizeof(one));
}

static void
open_fails(void **state)
{
	struct store_options options = {
	    .path = "/tmp/postroom-no-such-store", .map_size = 1 << 20};
	struct store *store = NULL;
	char *error = NULL;
	(void)state;
	assert_int_not_equal(store_open(&options, &store, &error), STATUS_OK);
	assert_non_null(error);
	assert_null(store);
	free(error);
}

#define CASE(name)                                                                       \
	static void test_##name(void **state)                                            \
	{                                                                                \
		(void)state;                                                             \
		fixture_each(name);                                                      \
	}
CASE(two_threads)
CASE(reopen)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_two_threads),
	    cmocka_unit_test(test_reopen),
	    cmocka_unit_test(open_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
