/*
 * The loop: timers against a model on a clock that the test moves, posts from threads,
 * deferred calls, hooks, work on the pool, and its checks of the calling thread.
 */
#include "net/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "unit/net/net_harness.h"

/* ---- timers ---- */

enum { MODEL_TIMERS = 200, MODEL_STEPS = 4000 };

struct model {
	struct loop *loop;
	struct loop_hook hook;
	struct loop_timer timers[MODEL_TIMERS];
	uint64_t due_ms[MODEL_TIMERS]; /* 0: stopped */
	bool fired[MODEL_TIMERS];
	uint64_t last_due_ms; /* of those that fired in this turn */
	unsigned fired_count;
	unsigned steps;
	unsigned seed;
};

static struct model model;

static unsigned
model_random(void)
{
	model.seed = model.seed * 1103515245u + 12345u;
	return model.seed >> 8;
}

static void
model_fired(void *arg)
{
	bool *flag = arg;
	size_t index = (size_t)(flag - model.fired);
	assert_int_not_equal(model.due_ms[index], 0);
	assert_true(model.due_ms[index] <= clock_mono_ms());
	/* In the order of their due times. */
	assert_true(model.due_ms[index] >= model.last_due_ms);
	model.last_due_ms = model.due_ms[index];
	model.due_ms[index] = 0;
	*flag = true;
	model.fired_count++;
}

static void
model_start(size_t index, uint64_t delay_ms)
{
	uint64_t due_ms = clock_mono_ms() + (delay_ms ? delay_ms : 1);
	if (delay_ms > 10000)
		due_ms = (due_ms + 999) / 1000 * 1000;
	loop_timer_start(
	    model.loop, &model.timers[index], delay_ms, model_fired, &model.fired[index]);
	model.due_ms[index] = due_ms;
}

static void
model_step(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < MODEL_TIMERS; i++) {
		/* All that were due have fired by the end of the turn, and no others. */
		assert_true(model.due_ms[i] == 0 || model.due_ms[i] > clock_mono_ms());
		assert_int_equal(model.due_ms[i] != 0, model.timers[i].loop != NULL);
	}
	model.last_due_ms = 0;
	for (unsigned n = model_random() % 20; n > 0; n--) {
		size_t index = model_random() % MODEL_TIMERS;
		unsigned kind = model_random() % 10;
		if (kind < 3) {
			loop_timer_stop(&model.timers[index]);
			model.due_ms[index] = 0;
		} else if (kind < 7) {
			model_start(index, model_random() % 500);
		} else {
			model_start(index, model_random() % 60000);
		}
	}
	if (++model.steps == MODEL_STEPS)
		loop_stop(model.loop);
	clock_fake_advance(model_random() % 200);
	loop_post(model.loop, harness_nothing, NULL);
}

static void
test_timers_against_model(void **state)
{
	(void)state;
	clock_fake(1000 * 1000, 0);
	memset(&model, 0, sizeof(model));
	model.loop = loop_new();
	model.seed = 42;
	loop_hook_add(model.loop, &model.hook, model_step, NULL);
	loop_post(model.loop, harness_nothing, NULL);
	loop_run(model.loop);
	loop_hook_remove(&model.hook);
	assert_true(model.fired_count > MODEL_STEPS);
	loop_free(&model.loop);
	for (size_t i = 0; i < MODEL_TIMERS; i++)
		assert_null(model.timers[i].loop);
	clock_fake_off();
}

static void
restart(void *arg)
{
	static struct loop_timer timer;
	static unsigned count;
	struct loop *loop = arg;
	if (count++ == 5) {
		count = 0;
		loop_stop(loop);
		return;
	}
	loop_timer_start(loop, &timer, 0, restart, loop);
}

static void
test_timers_in_real_time(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	uint64_t begin_ms = clock_mono_ms();
	harness_run_for(loop, 30);
	uint64_t took_ms = clock_mono_ms() - begin_ms;
	assert_true(took_ms >= 30 && took_ms < 1000);
	/* A timer that restarts itself with no delay does not hold the turn. */
	loop_post(loop, restart, loop);
	loop_run(loop);
	loop_free(&loop);
}

/* ---- posts ---- */

enum { POST_THREADS = 4, POSTS_EACH = 5000 };

struct poster {
	struct loop *loop;
	pthread_t thread;
	unsigned *order; /* sequence numbers as they arrived */
	unsigned count;
};

struct post {
	struct poster *poster;
	unsigned number;
};

static struct poster posters[POST_THREADS];
static unsigned posts_arrived;

static void
on_post(void *arg)
{
	struct post *post = arg;
	assert_int_equal(post->number, post->poster->count);
	post->poster->count++;
	free(post);
	if (++posts_arrived == POST_THREADS * POSTS_EACH)
		loop_stop(posters[0].loop);
}

static void *
post_many(void *arg)
{
	struct poster *poster = arg;
	for (unsigned i = 0; i < POSTS_EACH; i++) {
		struct post *post = malloc(sizeof(*post));
		*post = (struct post){poster, i};
		loop_post(poster->loop, on_post, post);
	}
	return NULL;
}

static void
test_posts_from_threads(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	posts_arrived = 0;
	for (int i = 0; i < POST_THREADS; i++) {
		posters[i] = (struct poster){.loop = loop};
		pthread_create(&posters[i].thread, NULL, post_many, &posters[i]);
	}
	loop_run(loop);
	for (int i = 0; i < POST_THREADS; i++) {
		pthread_join(posters[i].thread, NULL);
		assert_int_equal(posters[i].count, POSTS_EACH);
	}
	loop_free(&loop);
}

static void *
stop_soon(void *arg)
{
	usleep(10 * 1000);
	loop_stop(arg);
	return NULL;
}

static void
test_stop_from_thread(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	pthread_t thread;
	pthread_create(&thread, NULL, stop_soon, loop);
	loop_run(loop);
	pthread_join(thread, NULL);
	/* Stopped before it runs: it returns at once, and then runs again as usual. */
	loop_stop(loop);
	loop_run(loop);
	harness_run_for(loop, 2);
	loop_free(&loop);
}

/* ---- the order of a turn ---- */

static struct {
	struct loop *loop;
	char text[64];
	size_t len;
	struct loop_hook first, second, third;
	struct loop_timer timer;
} turn;

static void
say(char c)
{
	if (turn.len < sizeof(turn.text) - 1)
		turn.text[turn.len++] = c;
}

static void
say_deferred_again(void *arg)
{
	(void)arg;
	say('e');
}

static void
say_deferred(void *arg)
{
	(void)arg;
	say('d');
	loop_defer(turn.loop, say_deferred_again, NULL);
}

static void
say_posted(void *arg)
{
	(void)arg;
	say('p');
	loop_defer(turn.loop, say_deferred, NULL);
}

static void
say_timer(void *arg)
{
	(void)arg;
	say('t');
}

static void
say_first(void *arg)
{
	(void)arg;
	say('1');
	/* Removes itself and the one that would come next. */
	loop_hook_remove(&turn.first);
	loop_hook_remove(&turn.second);
}

static void
say_second(void *arg)
{
	(void)arg;
	say('2');
}

static void
say_third(void *arg)
{
	(void)arg;
	say('3');
	loop_stop(turn.loop);
}

static void
test_order_of_turn(void **state)
{
	(void)state;
	memset(&turn, 0, sizeof(turn));
	clock_fake(5000, 0);
	turn.loop = loop_new();
	loop_timer_start(turn.loop, &turn.timer, 10, say_timer, NULL);
	clock_fake_advance(10);
	loop_post(turn.loop, say_posted, NULL);
	loop_hook_add(turn.loop, &turn.first, say_first, NULL);
	loop_hook_add(turn.loop, &turn.second, say_second, NULL);
	loop_hook_add(turn.loop, &turn.third, say_third, NULL);
	loop_run(turn.loop);
	assert_string_equal(turn.text, "tpde13");
	loop_hook_remove(&turn.third);
	loop_hook_remove(&turn.third);
	/* What is left is run by loop_free. */
	loop_post(turn.loop, say_posted, NULL);
	loop_free(&turn.loop);
	clock_fake_off();
	assert_string_equal(turn.text, "tpde13pde");
}

/* ---- work on the pool ---- */

struct job {
	struct loop *loop;
	pthread_t loop_thread;
	atomic_uint worked;
	unsigned done;
};

static void
job_work(void *arg)
{
	struct job *job = arg;
	assert_false(pthread_equal(pthread_self(), job->loop_thread));
	atomic_fetch_add(&job->worked, 1);
}

static void
job_done(void *arg)
{
	struct job *job = arg;
	assert_true(pthread_equal(pthread_self(), job->loop_thread));
	if (++job->done == 50)
		loop_stop(job->loop);
}

static void
test_work(void **state)
{
	(void)state;
	struct job job = {.loop = loop_new(), .loop_thread = pthread_self()};
	for (int i = 0; i < 50; i++)
		loop_work(job.loop, job_work, job_done, &job);
	loop_run(job.loop);
	assert_int_equal(atomic_load(&job.worked), 50);
	/* loop_free waits for work that is under way. */
	loop_work(job.loop, job_work, job_done, &job);
	loop_free(&job.loop);
	assert_int_equal(job.done, 51);
}

/* ---- the wrong thread ---- */

static void *
touch(void *arg)
{
	static struct loop_timer timer;
	loop_timer_start(arg, &timer, 10, harness_nothing, NULL);
	_exit(0);
}

static void
start_toucher(void *arg)
{
	pthread_t thread;
	pthread_create(&thread, NULL, touch, arg);
	pthread_join(thread, NULL);
}

static void
test_wrong_thread_aborts(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		signal(SIGABRT, SIG_DFL);
		struct loop *loop = loop_new();
		loop_post(loop, start_toucher, loop);
		loop_run(loop);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_wrong_thread_aborts),
	    cmocka_unit_test(test_timers_against_model),
	    cmocka_unit_test(test_timers_in_real_time),
	    cmocka_unit_test(test_posts_from_threads),
	    cmocka_unit_test(test_stop_from_thread),
	    cmocka_unit_test(test_order_of_turn),
	    cmocka_unit_test(test_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
