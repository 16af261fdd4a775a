/*
 * Threading.  A node is a message, or a dummy that stands for a message that others refer
 * to but that was not found.
 *
 * REFERENCES is built in two trees: `link` is what the References fields say (step 1 of
 * RFC 5256 section 3), `parent` and the child lists are what is left when dummies have
 * been taken out (step 3).
 */
#include "imapd/imap_thread.h"

#include <stdlib.h>

#include "base/hashmap.h"

struct node {
	uint32_t number; /* 0: a dummy */
	bool is_reply;
	bool dropped; /* merged into another root */
	int64_t date_s;
	int64_t arrival_s; /* REFS: of the latest in what stands below it, itself too */
	struct slice subject;
	struct node *link; /* parent by references */
	struct node *parent, *child, *last, *next;
	uint32_t children;
	struct node *all_next; /* in order of making */
};

struct imap_threads {
	enum imap_thread_by by;
	struct arena *arena; /* borrows */
	struct node *all, *all_last;
	size_t count; /* nodes, dummies too */
	struct hashmap *ids;
	struct node root; /* its children are the threads */
	struct node **scratch;
};

struct imap_threads *
imap_threads_new(enum imap_thread_by by, struct arena *arena)
{
	struct imap_threads *threads = arena_alloc(arena, sizeof(*threads));
	if (!threads)
		return NULL;
	threads->by = by;
	threads->arena = arena;
	threads->ids = hashmap_new();
	return threads;
}

void
imap_threads_free(struct imap_threads **threads)
{
	if (*threads)
		hashmap_free(&(*threads)->ids, NULL);
	*threads = NULL;
}

static struct node *
node_new(struct imap_threads *threads)
{
	struct node *node = arena_alloc(threads->arena, sizeof(*node));
	if (!node)
		return NULL;
	if (threads->all_last)
		threads->all_last->all_next = node;
	else
		threads->all = node;
	threads->all_last = node;
	threads->count++;
	return node;
}

static void
child_append(struct node *parent, struct node *child)
{
	child->parent = parent;
	child->next = NULL;
	if (parent->last)
		parent->last->next = child;
	else
		parent->child = child;
	parent->last = child;
	parent->children++;
}

/* ---- step 1: links by references ---- */

static struct node *
node_of_id(struct imap_threads *threads, struct slice id)
{
	struct node *node = hashmap_get(threads->ids, id);
	if (!node) {
		node = node_new(threads);
		if (node)
			(void)hashmap_put(threads->ids, id, node);
	}
	return node;
}

/* Would the link close a loop?  Over the depth limit it is taken as one. */
static bool
is_above(const struct node *node, const struct node *of)
{
	for (unsigned depth = 0; of; of = of->link)
		if (of == node || ++depth > IMAP_THREAD_DEPTH_MAX)
			return true;
	return false;
}

static bool
references_link(struct imap_threads *threads, struct node *node, struct slice references)
{
	struct node *before = NULL;
	size_t ids = 0;
	struct slice rest = references;

	for (size_t i = 0; i < references.len; i++)
		ids += references.ptr[i] == ' ';
	ids += references.len > 0;
	while (rest.len) {
		struct slice id = slice_split(&rest, ' ');
		if (ids-- > IMAP_THREAD_REFERENCES_MAX || id.len == 0)
			continue;
		struct node *ref = node_of_id(threads, id);
		if (!ref)
			return false;
		/* An existing link stands: it came from a message nearer to it. */
		if (before && !ref->link && !is_above(ref, before))
			ref->link = before;
		before = ref;
	}
	/* The message itself: its own References are the truth, and what others said of
	 * it is broken also when its own would close a loop (step 1 B). */
	node->link = NULL;
	if (before && !is_above(node, before))
		node->link = before;
	return true;
}

bool
imap_threads_add(struct imap_threads *threads, uint32_t number, int64_t date_s,
    int64_t arrival_s, struct slice subject_key, bool is_reply, struct slice message_id,
    struct slice references)
{
	bool by_references = threads->by != IMAP_THREAD_ORDEREDSUBJECT;
	struct node *node = NULL;

	if (by_references && message_id.len) {
		node = node_of_id(threads, message_id);
		if (node && node->number)
			node = NULL; /* a second one of that id: it is on its own */
	}
	if (!node)
		node = node_new(threads);
	if (!node)
		return false;
	node->number = number;
	node->date_s = date_s;
	node->arrival_s = arrival_s;
	node->is_reply = is_reply;
	node->subject =
	    arena_copy(threads->arena, subject_key.ptr ? subject_key : SLICE(""));
	if (!node->subject.ptr)
		return false;
	return !by_references || references_link(threads, node, references);
}

/* ---- sorting siblings ---- */

/* A dummy sorts as its first child does. */
static const struct node *
sort_node(const struct node *node)
{
	while (!node->number && node->child)
		node = node->child;
	return node;
}

static int
date_compare(const void *a, const void *b)
{
	const struct node *x = sort_node(*(struct node *const *)a);
	const struct node *y = sort_node(*(struct node *const *)b);
	if (x->date_s != y->date_s)
		return x->date_s < y->date_s ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int
subject_compare(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a;
	const struct node *y = *(struct node *const *)b;
	int c = slice_compare(x->subject, y->subject);
	return c ? c : date_compare(a, b);
}

/* Orders a node's children; dropped ones leave. */
static void
children_sort(struct imap_threads *threads, struct node *parent,
    int (*compare)(const void *, const void *))
{
	size_t count = 0;
	for (struct node *n = parent->child; n; n = n->next)
		if (!n->dropped)
			threads->scratch[count++] = n;
	qsort(threads->scratch, count, sizeof(threads->scratch[0]), compare);
	parent->child = parent->last = NULL;
	parent->children = 0;
	for (size_t i = 0; i < count; i++)
		child_append(parent, threads->scratch[i]);
}

/* ---- steps 2 and 3: the tree without dummies ---- */

static void
tree_make(struct imap_threads *threads)
{
	for (struct node *n = threads->all; n; n = n->all_next) {
		if (!n->number)
			continue;
		struct node *parent = n->link;
		while (parent && !parent->number && parent->link)
			parent = parent->link;
		child_append(parent ? parent : &threads->root, n);
	}
	/* Dummies that gather several messages are threads; with one it goes up. */
	for (struct node *n = threads->all; n; n = n->all_next) {
		if (n->number || n->children == 0)
			continue;
		struct node *only = n->child;
		child_append(&threads->root, n->children > 1 ? n : only);
	}
}

static void
siblings_sort(struct imap_threads *threads)
{
	for (struct node *n = threads->all; n; n = n->all_next)
		if (n->children > 1 && !n->dropped)
			children_sort(threads, n, date_compare);
	children_sort(threads, &threads->root, date_compare);
}

/* ---- REFS ---- */

static int
arrival_compare(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a;
	const struct node *y = *(struct node *const *)b;
	if (x->arrival_s != y->arrival_s)
		return x->arrival_s < y->arrival_s ? -1 : 1;
	return date_compare(a, b);
}

/* Siblings by what was sent, threads by the latest arrival.  From the latest message
 * down, each goes up only as far as no later one has: every node is set once. */
static void
refs_sort(struct imap_threads *threads)
{
	size_t count = 0;

	siblings_sort(threads);
	for (struct node *n = threads->all; n; n = n->all_next)
		if (n->number)
			threads->scratch[count++] = n;
		else
			n->arrival_s = INT64_MIN;
	qsort(threads->scratch, count, sizeof(threads->scratch[0]), arrival_compare);
	while (count > 0) {
		const struct node *latest = threads->scratch[--count];
		struct node *n = latest->parent;
		for (; n != &threads->root && n->arrival_s < latest->arrival_s;
		     n = n->parent)
			n->arrival_s = latest->arrival_s;
	}
	children_sort(threads, &threads->root, arrival_compare);
}

/* ---- step 5: threads of one subject ---- */

static void
subject_enter(struct hashmap *subjects, struct node *node)
{
	struct slice subject = sort_node(node)->subject;
	if (subject.len == 0)
		return;
	struct node *there = hashmap_get(subjects, subject);
	if (!there) {
		(void)hashmap_put(subjects, subject, node);
		return;
	}
	bool there_reply = sort_node(there)->is_reply;
	if (there->number &&
	    (!node->number || (there_reply && !sort_node(node)->is_reply)))
		(void)hashmap_put(subjects, subject, node);
}

/* Step 5 C for one root: it stays (is added to `moved`, the roots to be) or goes below
 * the one in the subject table. */
static bool
subject_merge(struct imap_threads *threads, struct hashmap *subjects, struct node *node,
    struct node **moved, size_t *moved_count)
{
	struct slice subject = sort_node(node)->subject;
	struct node *there = subject.len ? hashmap_get(subjects, subject) : NULL;

	if (!there || there == node) {
		moved[(*moved_count)++] = node;
		return true;
	}
	if (!there->number && !node->number) {
		for (struct node *n = node->child, *next; n; n = next) {
			next = n->next;
			child_append(there, n);
		}
		node->dropped = true;
		return true;
	}
	if (!there->number ||
	    (sort_node(node)->is_reply && !sort_node(there)->is_reply)) {
		child_append(there, node);
		return true;
	}
	/* Two of equal rank: a new dummy above both takes the place in the table. */
	struct node *dummy = node_new(threads);
	if (!dummy)
		return false;
	for (size_t i = 0; i < *moved_count; i++)
		if (moved[i] == there)
			moved[i] = dummy;
	child_append(dummy, there);
	child_append(dummy, node);
	(void)hashmap_put(subjects, subject, dummy);
	return true;
}

static bool
subjects_gather(struct imap_threads *threads)
{
	size_t count = threads->root.children, kept = 0;
	struct node **roots = ARENA_ARRAY(threads->arena, struct node *, count + 1);
	struct node **moved = ARENA_ARRAY(threads->arena, struct node *, count + 1);
	bool ok = roots && moved;

	if (!ok)
		return false;
	struct hashmap *subjects = hashmap_new();
	size_t at = 0;
	for (struct node *n = threads->root.child; n; n = n->next) {
		roots[at++] = n;
		n->parent = NULL;
	}
	for (size_t i = 0; i < count; i++)
		subject_enter(subjects, roots[i]);
	for (size_t i = 0; i < count && ok; i++) {
		if (roots[i]->parent) {
			/* It stands under a new dummy already, which takes its place. */
			moved[kept++] = roots[i]->parent;
			continue;
		}
		roots[i]->next = NULL;
		ok = subject_merge(threads, subjects, roots[i], moved, &kept);
	}
	hashmap_free(&subjects, NULL);
	threads->root.child = threads->root.last = NULL;
	threads->root.children = 0;
	for (size_t i = 0; i < kept; i++)
		child_append(&threads->root, moved[i]);
	return ok;
}

/* ---- ORDEREDSUBJECT ---- */

/* The first of a subject is the thread, the others are its children. */
static void
ordered_subject(struct imap_threads *threads)
{
	struct node all = {0};
	for (struct node *n = threads->all; n; n = n->all_next)
		child_append(&all, n);
	children_sort(threads, &all, subject_compare);
	struct node *first = NULL;
	for (struct node *n = all.child, *next; n; n = next) {
		next = n->next;
		if (first && slice_equal(first->subject, n->subject)) {
			child_append(first, n);
		} else {
			first = n;
			child_append(&threads->root, n);
		}
	}
	children_sort(threads, &threads->root, date_compare);
}

/* ---- writing ---- */

static void
thread_write(const struct node *top, struct buf *out)
{
	const struct node *n = top;

	buf_append_byte(out, '(');
	for (;;) {
		if (n->number)
			buf_append_u64(out, n->number);
		if (n->child) {
			if (n->number)
				buf_append_byte(out, ' ');
			if (n->children > 1)
				buf_append_byte(out, '(');
			n = n->child;
			continue;
		}
		while (n != top) {
			const struct node *parent = n->parent;
			if (parent->children > 1) {
				buf_append_byte(out, ')');
				if (n->next)
					break;
			}
			n = parent;
		}
		if (n == top)
			break;
		buf_append_byte(out, '(');
		n = n->next;
	}
	buf_append_byte(out, ')');
}

bool
imap_threads_write(struct imap_threads *threads, struct buf *out)
{
	/* Merging makes at most one more dummy for each message. */
	threads->scratch =
	    ARENA_ARRAY(threads->arena, struct node *, threads->count * 2 + 1);
	if (!threads->scratch)
		return false;
	if (threads->by == IMAP_THREAD_ORDEREDSUBJECT) {
		ordered_subject(threads);
	} else {
		tree_make(threads);
		if (threads->by == IMAP_THREAD_REFS) {
			refs_sort(threads);
		} else {
			siblings_sort(threads);
			if (!subjects_gather(threads))
				return false;
			siblings_sort(threads);
		}
	}
	for (const struct node *n = threads->root.child; n; n = n->next)
		thread_write(n, out);
	return true;
}
