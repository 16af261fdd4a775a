/*
 * Intrusive doubly linked list.  A head is a node whose next and prev point to itself; a
 * node is in at most one list.  LIST_ENTRY leads back from a node to what holds it.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

#define LIST_ENTRY(node, type, member)                                                   \
	((type *)(void *)((char *)(node)-offsetof(type, member)))

/* The body may not remove other nodes; LIST_EACH_SAFE allows removing the current one. */
#define LIST_EACH(head, node)                                                            \
	for (struct list *node = (head)->next; node != (head); node = node->next)
#define LIST_EACH_SAFE(head, node)                                                       \
	for (struct list *node = (head)->next, *node##_next = node->next;                \
	     node != (head); node = node##_next, node##_next = node->next)

static inline void
list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool
list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void
list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void
list_prepend(struct list *head, struct list *node)
{
	list_append(head->next, node);
}

/* Leaves the node self-linked, so that removing twice does no harm. */
static inline void
list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node, taken out, or null. */
static inline struct list *
list_pop(struct list *head)
{
	struct list *node = head->next;
	if (node == head)
		return NULL;
	list_remove(node);
	return node;
}

#endif
