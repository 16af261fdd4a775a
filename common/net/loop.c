/*
 * The loop around libuv.  The end of a turn is libuv's prepare phase: it comes after
 * ready descriptors, libuv's timers and closed handles, and directly before the poll, so
 * what it queues is seen by the poll that follows.
 *
 * Invariants
 *  1. One uv_timer carries all loop_timers: it is armed for the top of the heap, and only
 *     at the end of a turn.
 *  2. A timer's due time is later than "now", so that a timer that restarts itself cannot
 *     hold the turn.
 *  3. `posted` is taken once a turn: a call that posts itself again waits a turn.
 *  4. While the loop runs, only its own thread touches anything but `posted`, `stop` and
 *     the wake-up handle.
 *
 * Thread: the loop's own; loop_post and loop_stop any.
 */
#include "net/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/mpsc.h"
#include "net/loop_int.h"

enum {
	LOOP_MAGIC = 0x100b100b,
	TIMER_COARSE_FROM_MS = 10 * 1000, /* above it due times are rounded up */
	TIMER_COARSE_STEP_MS = 1000,
	TIMER_SLEEP_MS_MAX = 60 * 60 * 1000,
	TIMER_DELAY_MS_MAX = INT32_MAX, /* 24 days; longer delays are cut to it */
	DEFER_ROUNDS_MAX = 64,          /* deferred calls that defer, within one turn */
	LATE_ROUNDS_MAX = 4,            /* flushes that cause flushes, within one turn */
};

struct call {
	loop_fn fn;
	void *arg;
};

struct posted_call {
	struct mpsc_node node;
	struct call call;
};

struct loop {
	unsigned magic;
	uv_loop_t uv;
	uv_prepare_t turn_end;
	uv_check_t after_poll;
	uv_async_t wake;
	uv_idle_t no_wait; /* active: the next poll does not block */
	uv_timer_t sleep;
	uint64_t sleep_until_ms; /* UINT64_MAX: not armed */

	struct mpsc posted;
	atomic_bool stop;
	atomic_bool running;

	uint64_t now_ms;
	uint64_t now_of_uv; /* uv_now() when now_ms was taken */

	struct loop_timer **heap;
	size_t heap_count;
	size_t heap_cap;

	struct call *deferred;
	size_t deferred_count;
	size_t deferred_cap;

	struct list hooks;      /* every turn's end */
	struct list late;       /* once, after the hooks */
	struct list again;      /* once, after the next poll */
	struct list ends;       /* at loop_free */
	struct list *hook_next; /* the node that run_hooks calls next */

	char *scratch;
};

/* The loop that this thread is running, for loop_check_thread. */
static _Thread_local const struct loop *thread_loop;

void
loop_check_thread(const struct loop *loop)
{
	ENSURE(loop->magic == LOOP_MAGIC);
	ENSURE(thread_loop == loop ||
	       !atomic_load_explicit(&loop->running, memory_order_relaxed));
}

/* ---- timers: a binary heap by due time ---- */

static void
heap_place(struct loop *loop, size_t index, struct loop_timer *timer)
{
	loop->heap[index] = timer;
	timer->index = index;
}

static void
heap_sift(struct loop *loop, size_t index, struct loop_timer *timer)
{
	while (index > 0) {
		size_t parent = (index - 1) / 2;
		if (loop->heap[parent]->due_ms <= timer->due_ms)
			break;
		heap_place(loop, index, loop->heap[parent]);
		index = parent;
	}
	for (;;) {
		size_t child = 2 * index + 1;
		if (child >= loop->heap_count)
			break;
		if (child + 1 < loop->heap_count &&
		    loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms)
			child++;
		if (timer->due_ms <= loop->heap[child]->due_ms)
			break;
		heap_place(loop, index, loop->heap[child]);
		index = child;
	}
	heap_place(loop, index, timer);
}

void
loop_timer_start(
    struct loop *loop, struct loop_timer *timer, uint64_t delay_ms, loop_fn fn, void *arg)
{
	loop_check_thread(loop);
	ENSURE(fn);
	ENSURE(!timer->loop || timer->loop == loop);
	if (delay_ms == 0)
		delay_ms = 1;
	if (delay_ms > TIMER_DELAY_MS_MAX)
		delay_ms = TIMER_DELAY_MS_MAX;
	uint64_t due_ms = loop_now_ms(loop) + delay_ms;
	if (delay_ms > TIMER_COARSE_FROM_MS)
		due_ms = (due_ms + TIMER_COARSE_STEP_MS - 1) / TIMER_COARSE_STEP_MS *
		         TIMER_COARSE_STEP_MS;
	timer->fn = fn;
	timer->arg = arg;
	if (timer->loop) {
		ENSURE(
		    timer->index < loop->heap_count && loop->heap[timer->index] == timer);
		if (timer->due_ms != due_ms) {
			timer->due_ms = due_ms;
			heap_sift(loop, timer->index, timer);
		}
		return;
	}
	if (loop->heap_count == loop->heap_cap) {
		loop->heap_cap = loop->heap_cap ? 2 * loop->heap_cap : 64;
		loop->heap = xrealloc(loop->heap, loop->heap_cap * sizeof(*loop->heap));
	}
	timer->loop = loop;
	timer->due_ms = due_ms;
	heap_sift(loop, loop->heap_count++, timer);
}

void
loop_timer_stop(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;
	if (!loop)
		return;
	loop_check_thread(loop);
	size_t index = timer->index;
	ENSURE(index < loop->heap_count && loop->heap[index] == timer);
	timer->loop = NULL;
	struct loop_timer *last = loop->heap[--loop->heap_count];
	if (last != timer)
		heap_sift(loop, index, last);
}

static void
run_timers(struct loop *loop)
{
	while (loop->heap_count > 0 && loop->heap[0]->due_ms <= loop->now_ms) {
		struct loop_timer *timer = loop->heap[0];
		loop_timer_stop(timer);
		timer->fn(timer->arg);
	}
}

static void
on_sleep_over(uv_timer_t *handle)
{
	/* Being awake is enough: the end of the turn runs the timers. */
	((struct loop *)handle->data)->sleep_until_ms = UINT64_MAX;
}

static void
arm_sleep(struct loop *loop)
{
	uint64_t until_ms = loop->heap_count > 0 ? loop->heap[0]->due_ms : UINT64_MAX;
	if (until_ms == loop->sleep_until_ms)
		return;
	loop->sleep_until_ms = until_ms;
	if (until_ms == UINT64_MAX) {
		uv_timer_stop(&loop->sleep);
		return;
	}
	uint64_t delay_ms = until_ms > loop->now_ms ? until_ms - loop->now_ms : 1;
	if (delay_ms > TIMER_SLEEP_MS_MAX)
		delay_ms = TIMER_SLEEP_MS_MAX;
	uv_timer_start(&loop->sleep, on_sleep_over, delay_ms, 0);
}

/* ---- the turn ---- */

static void
take_time(struct loop *loop)
{
	loop->now_ms = clock_mono_ms();
	loop->now_of_uv = uv_now(&loop->uv);
}

static void
run_posted(struct loop *loop)
{
	struct mpsc_node *node = mpsc_take_all(&loop->posted);
	while (node) {
		struct posted_call *posted = (struct posted_call *)(void *)node;
		node = node->next;
		struct call call = posted->call;
		free(posted);
		call.fn(call.arg);
	}
}

static void
run_deferred(struct loop *loop)
{
	for (int round = 0; loop->deferred_count > 0 && round < DEFER_ROUNDS_MAX;
	     round++) {
		struct call *calls = loop->deferred;
		size_t count = loop->deferred_count;
		size_t cap = loop->deferred_cap;
		loop->deferred = NULL;
		loop->deferred_count = loop->deferred_cap = 0;
		for (size_t i = 0; i < count; i++)
			calls[i].fn(calls[i].arg);
		if (loop->deferred || cap > 1024) {
			free(calls);
		} else {
			loop->deferred = calls;
			loop->deferred_cap = cap;
		}
	}
}

static void
run_hooks(struct loop *loop)
{
	/* A hook may remove itself or any other: loop_hook_remove moves hook_next on. */
	struct list *node = loop->hooks.next;
	while (node != &loop->hooks) {
		loop->hook_next = node->next;
		struct loop_hook *hook = LIST_ENTRY(node, struct loop_hook, node);
		hook->fn(hook->arg);
		node = loop->hook_next;
	}
	loop->hook_next = NULL;
}

/* Calls each hook of the list once; those that are added meanwhile stay for later. */
static void
run_once(struct list *hooks)
{
	struct list batch;
	list_init(&batch);
	struct list *node;
	while ((node = list_pop(hooks)))
		list_append(&batch, node);
	while ((node = list_pop(&batch))) {
		struct loop_hook *hook = LIST_ENTRY(node, struct loop_hook, node);
		hook->fn(hook->arg);
	}
}

static void
finish_turn(struct loop *loop)
{
	take_time(loop);
	run_timers(loop);
	run_posted(loop);
	run_deferred(loop);
	run_hooks(loop);
	for (int round = 0; !list_is_empty(&loop->late) && round < LATE_ROUNDS_MAX;
	     round++) {
		run_once(&loop->late);
		run_deferred(loop);
	}
}

static void
on_no_wait(uv_idle_t *handle)
{
	(void)handle;
}

static void
on_turn_end(uv_prepare_t *handle)
{
	struct loop *loop = OBJ_CAST(loop, handle->data, LOOP_MAGIC);
	finish_turn(loop);
	arm_sleep(loop);
	if (!list_is_empty(&loop->again) || !list_is_empty(&loop->late) ||
	    loop->deferred_count > 0)
		uv_idle_start(&loop->no_wait, on_no_wait);
	if (atomic_load_explicit(&loop->stop, memory_order_acquire))
		uv_stop(&loop->uv);
}

static void
on_after_poll(uv_check_t *handle)
{
	struct loop *loop = OBJ_CAST(loop, handle->data, LOOP_MAGIC);
	uv_idle_stop(&loop->no_wait);
	run_once(&loop->again);
}

static void
on_wake(uv_async_t *handle)
{
	/* Being awake is enough. */
	(void)handle;
}

/* ---- life ---- */

struct loop *
loop_new(void)
{
	/* OpenSSL writes without MSG_NOSIGNAL; a gone peer must be an error, not a
	 * signal. */
	signal(SIGPIPE, SIG_IGN);
	struct loop *loop = xcalloc(1, sizeof(*loop));
	loop->magic = LOOP_MAGIC;
	mpsc_init(&loop->posted);
	atomic_init(&loop->stop, false);
	atomic_init(&loop->running, false);
	list_init(&loop->hooks);
	list_init(&loop->late);
	list_init(&loop->again);
	list_init(&loop->ends);
	loop->sleep_until_ms = UINT64_MAX;
	loop->scratch = xmalloc(LOOP_SCRATCH_SIZE);
	ENSURE(uv_loop_init(&loop->uv) == 0);
	ENSURE(uv_prepare_init(&loop->uv, &loop->turn_end) == 0);
	ENSURE(uv_check_init(&loop->uv, &loop->after_poll) == 0);
	ENSURE(uv_async_init(&loop->uv, &loop->wake, on_wake) == 0);
	ENSURE(uv_idle_init(&loop->uv, &loop->no_wait) == 0);
	ENSURE(uv_timer_init(&loop->uv, &loop->sleep) == 0);
	loop->turn_end.data = loop->after_poll.data = loop->sleep.data = loop;
	uv_prepare_start(&loop->turn_end, on_turn_end);
	uv_check_start(&loop->after_poll, on_after_poll);
	take_time(loop);
	return loop;
}

/* A handle left open means that its owner still has a pointer to us. */
static void
check_closing(uv_handle_t *handle, void *arg)
{
	const struct loop *loop = arg;
	ENSURE(uv_is_closing(handle) || handle == (const uv_handle_t *)&loop->wake);
}

void
loop_free(struct loop **loop_ptr)
{
	struct loop *loop = *loop_ptr;
	if (!loop)
		return;
	loop_check_thread(loop);
	ENSURE(!atomic_load(&loop->running));
	finish_turn(loop);
	run_once(&loop->ends);
	uv_close((uv_handle_t *)&loop->turn_end, NULL);
	uv_close((uv_handle_t *)&loop->after_poll, NULL);
	uv_close((uv_handle_t *)&loop->no_wait, NULL);
	uv_close((uv_handle_t *)&loop->sleep, NULL);
	/* Waits for work on the pool too; its done functions may post and defer. */
	uv_walk(&loop->uv, check_closing, loop);
	uv_unref((uv_handle_t *)&loop->wake);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	run_posted(loop);
	run_deferred(loop);
	run_once(&loop->ends);
	uv_close((uv_handle_t *)&loop->wake, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	ENSURE(uv_loop_close(&loop->uv) == 0);
	for (size_t i = 0; i < loop->heap_count; i++)
		loop->heap[i]->loop = NULL;
	free(loop->heap);
	free(loop->deferred);
	free(loop->scratch);
	loop->magic = 0;
	free(loop);
	/* Last: what still ran may have used the owner's pointer. */
	*loop_ptr = NULL;
}

void
loop_run(struct loop *loop)
{
	ENSURE(loop->magic == LOOP_MAGIC && !atomic_load(&loop->running));
	const struct loop *outer = thread_loop;
	thread_loop = loop;
	atomic_store(&loop->running, true);
	while (!atomic_load_explicit(&loop->stop, memory_order_acquire))
		uv_run(&loop->uv, UV_RUN_DEFAULT);
	atomic_store(&loop->stop, false);
	atomic_store(&loop->running, false);
	thread_loop = outer;
}

void
loop_stop(struct loop *loop)
{
	/* Ordered before the look of uv_async_send at whether the handle is pending: were
	 * it seen late, the loop could take that wake-up, not see us, and sleep. */
	atomic_exchange(&loop->stop, true);
	uv_async_send(&loop->wake);
}

/* ---- calls ---- */

void
loop_post(struct loop *loop, loop_fn fn, void *arg)
{
	struct posted_call *posted = xmalloc(sizeof(*posted));
	posted->call = (struct call){fn, arg};
	if (mpsc_push(&loop->posted, &posted->node))
		uv_async_send(&loop->wake);
}

void
loop_defer(struct loop *loop, loop_fn fn, void *arg)
{
	loop_check_thread(loop);
	if (loop->deferred_count == loop->deferred_cap) {
		loop->deferred_cap = loop->deferred_cap ? 2 * loop->deferred_cap : 16;
		loop->deferred = xrealloc(
		    loop->deferred, loop->deferred_cap * sizeof(*loop->deferred));
	}
	loop->deferred[loop->deferred_count++] = (struct call){fn, arg};
}

void
loop_hook_add(struct loop *loop, struct loop_hook *hook, loop_fn fn, void *arg)
{
	loop_check_thread(loop);
	*hook = (struct loop_hook){.fn = fn, .arg = arg, .loop = loop};
	list_append(&loop->hooks, &hook->node);
}

void
loop_hook_remove(struct loop_hook *hook)
{
	if (!hook->loop)
		return;
	loop_check_thread(hook->loop);
	if (hook->loop->hook_next == &hook->node)
		hook->loop->hook_next = hook->node.next;
	list_remove(&hook->node);
	hook->loop = NULL;
}

static void
add_once(struct loop *loop, struct list *hooks, struct loop_hook *hook, struct call call)
{
	loop_check_thread(loop);
	if (hook->loop && !list_is_empty(&hook->node))
		return;
	*hook = (struct loop_hook){.fn = call.fn, .arg = call.arg, .loop = loop};
	list_append(hooks, &hook->node);
}

void
loop_late_add(struct loop *loop, struct loop_hook *hook, loop_fn fn, void *arg)
{
	add_once(loop, &loop->late, hook, (struct call){fn, arg});
}

void
loop_again_add(struct loop *loop, struct loop_hook *hook, loop_fn fn, void *arg)
{
	add_once(loop, &loop->again, hook, (struct call){fn, arg});
}

void
loop_end_add(struct loop *loop, struct loop_hook *hook, loop_fn fn, void *arg)
{
	add_once(loop, &loop->ends, hook, (struct call){fn, arg});
}

/* ---- work on the pool ---- */

struct work {
	uv_work_t request;
	loop_fn work;
	loop_fn done;
	void *arg;
	/* libuv's lock orders the three threads' steps already; the thread sanitizer does
	 * not look into libuv and sees this. */
	atomic_uint step;
};

static void
on_work(uv_work_t *request)
{
	struct work *w = (struct work *)(void *)request; /* its first member */
	(void)atomic_load_explicit(&w->step, memory_order_acquire);
	w->work(w->arg);
	atomic_store_explicit(&w->step, 2, memory_order_release);
}

static void
on_work_done(uv_work_t *request, int status)
{
	/* We never cancel, so the work has always run. */
	ENSURE(status == 0);
	struct work *w = (struct work *)(void *)request; /* its first member */
	(void)atomic_load_explicit(&w->step, memory_order_acquire);
	if (w->done)
		w->done(w->arg);
	free(w);
}

void
loop_work(struct loop *loop, loop_fn work, loop_fn done, void *arg)
{
	loop_check_thread(loop);
	struct work *w = xmalloc(sizeof(*w));
	w->work = work;
	w->done = done;
	w->arg = arg;
	atomic_init(&w->step, 0);
	atomic_store_explicit(&w->step, 1, memory_order_release);
	ENSURE(uv_queue_work(&loop->uv, &w->request, on_work, on_work_done) == 0);
}

/* ---- views ---- */

uint64_t
loop_now_ms(const struct loop *loop)
{
	/* libuv takes the time after each poll; ours follows it at first use. */
	if (uv_now(&loop->uv) != loop->now_of_uv)
		take_time((struct loop *)(uintptr_t)loop);
	return loop->now_ms;
}

struct uv_loop_s *
loop_uv(struct loop *loop)
{
	return &loop->uv;
}

char *
loop_scratch(struct loop *loop)
{
	return loop->scratch;
}
