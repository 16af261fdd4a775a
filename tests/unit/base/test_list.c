/*
 * The intrusive list and the many-producer queue: order, removal, and nothing lost when
 * threads push at once.
 */
#include "base/list.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mpsc.h"

struct item {
	int value;
	struct list link;
};

static int
sum_in_order(struct list *head)
{
	int digits = 0;
	LIST_EACH(head, node)
	digits = digits * 10 + LIST_ENTRY(node, struct item, link)->value;
	return digits;
}

static void
list_order(void **state)
{
	struct item items[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
	struct list head;
	(void)state;
	list_init(&head);
	assert_true(list_is_empty(&head));
	assert_null(list_pop(&head));
	list_append(&head, &items[1].link);
	list_append(&head, &items[2].link);
	list_prepend(&head, &items[0].link);
	list_append(&head, &items[3].link);
	assert_int_equal(sum_in_order(&head), 1234);
	list_remove(&items[1].link);
	list_remove(&items[1].link);
	assert_int_equal(sum_in_order(&head), 134);
	LIST_EACH_SAFE(&head, node)
	{
		if (LIST_ENTRY(node, struct item, link)->value == 3)
			list_remove(node);
	}
	assert_int_equal(sum_in_order(&head), 14);
	assert_ptr_equal(list_pop(&head), &items[0].link);
	assert_ptr_equal(list_pop(&head), &items[3].link);
	assert_true(list_is_empty(&head));
}

enum { PUSH_THREADS = 4, PUSH_COUNT = 20000 };

struct note {
	struct mpsc_node node;
	int thread;
	int number;
};

static struct mpsc queue;
static struct note notes[PUSH_THREADS][PUSH_COUNT];

static void *
push_all(void *arg)
{
	struct note *mine = arg;
	for (int i = 0; i < PUSH_COUNT; i++)
		mpsc_push(&queue, &mine[i].node);
	return NULL;
}

static void
queue_keeps_order_per_producer(void **state)
{
	pthread_t threads[PUSH_THREADS];
	int next[PUSH_THREADS] = {0};
	int taken = 0;
	(void)state;
	mpsc_init(&queue);
	assert_null(mpsc_take_all(&queue));
	for (int t = 0; t < PUSH_THREADS; t++) {
		for (int i = 0; i < PUSH_COUNT; i++)
			notes[t][i] = (struct note){{NULL}, t, i};
		assert_int_equal(
		    pthread_create(&threads[t], NULL, push_all, notes[t]), 0);
	}
	while (taken < PUSH_THREADS * PUSH_COUNT) {
		struct mpsc_node *node = mpsc_take_all(&queue);
		for (; node; node = node->next, taken++) {
			const struct note *note = (const struct note *)(const void *)node;
			assert_int_equal(note->number, next[note->thread]);
			next[note->thread]++;
		}
	}
	for (int t = 0; t < PUSH_THREADS; t++)
		assert_int_equal(pthread_join(threads[t], NULL), 0);
	assert_null(mpsc_take_all(&queue));
	assert_true(mpsc_push(&queue, &notes[0][0].node));
	assert_false(mpsc_push(&queue, &notes[0][1].node));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(list_order),
	    cmocka_unit_test(queue_keeps_order_per_producer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
