/*
 * Many-producer, one-consumer queue of intrusive nodes.  Producers never block each
 * other (one atomic exchange a push); order is kept per producer.  Used by loop_post and
 * by the store's writer.
 */
#ifndef BASE_MPSC_H
#define BASE_MPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mpsc_node {
	struct mpsc_node *next;
};

struct mpsc {
	_Atomic(struct mpsc_node *) head; /* newest first */
};

static inline void
mpsc_init(struct mpsc *q)
{
	atomic_init(&q->head, NULL);
}

/* True when the queue was empty before: the consumer then wants a wake-up. */
static inline bool
mpsc_push(struct mpsc *q, struct mpsc_node *node)
{
	struct mpsc_node *old = atomic_load_explicit(&q->head, memory_order_relaxed);
	do {
		node->next = old;
	} while (!atomic_compare_exchange_weak_explicit(
	    &q->head, &old, node, memory_order_release, memory_order_relaxed));
	return old == NULL;
}

/* Everything queued, oldest first, as a chain; null when there is nothing. */
static inline struct mpsc_node *
mpsc_take_all(struct mpsc *q)
{
	struct mpsc_node *node =
	    atomic_exchange_explicit(&q->head, NULL, memory_order_acquire);
	struct mpsc_node *chain = NULL;
	while (node) {
		struct mpsc_node *next = node->next;
		node->next = chain;
		chain = node;
		node = next;
	}
	return chain;
}

#endif
