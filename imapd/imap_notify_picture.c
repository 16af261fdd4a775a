/*
 * Taking a picture, and looking things up in it; see imap_notify_picture.h.
 *
 * What others share comes behind one's own mailboxes and is sorted in.  A name of theirs
 * that is subscribed is there twice then, and becomes one; one's own mailbox of the same
 * name wins, as everywhere (imap_box_find).
 *
 * Thread: the worker's loop.
 */
#include "imapd/imap_notify_picture.h"

#include <stdlib.h>

#include "imapd/imap_int.h"

struct collecting {
	struct imap_session *s;
	struct imap_notify_picture picture;
	size_t room;
	bool full;
};

static bool
box_add(struct collecting *c, struct account_id account, const struct mailbox_info *info)
{
	struct imap_notify_picture *p = &c->picture;

	if (p->count == c->room) {
		size_t room = c->room ? c->room * 2 : 32;
		struct imap_notify_box *grown =
		    room <= IMAP_NOTIFY_BOXES_MAX * 2
			? ARENA_ARRAY(p->arena, struct imap_notify_box, room)
			: NULL;
		if (!grown) {
			c->full = true;
			return false;
		}
		if (p->count)
			memcpy(grown, p->boxes, p->count * sizeof(*grown));
		p->boxes = grown;
		c->room = room;
	}
	struct imap_notify_box *box = &p->boxes[p->count];
	*box = (struct imap_notify_box){account, *info};
	box->info.name = arena_copy(p->arena, info->name);
	p->count++;
	c->full = !box->info.name.ptr || p->count > IMAP_NOTIFY_BOXES_MAX;
	return !c->full;
}

static bool
collect(const struct mailbox_info *info, void *arg)
{
	struct collecting *c = arg;

	return box_add(c, c->s->account, info);
}

static bool
collect_shared(const struct imap_box *box, void *arg)
{
	return !(box->rights & ACL_READ) || box_add(arg, box->account, &box->info);
}

static bool
collect_owner(struct account_id owner, void *arg)
{
	struct collecting *c = arg;
	struct imap_notify_picture *p = &c->picture;

	if (!p->owners)
		p->owners =
		    ARENA_ARRAY(p->arena, struct account_id, IMAP_NOTIFY_OWNERS_MAX);
	c->full = !p->owners || p->owner_count == IMAP_NOTIFY_OWNERS_MAX;
	if (!c->full)
		p->owners[p->owner_count++] = owner;
	return !c->full;
}

/* ---- order ---- */

static int
name_order(struct slice a, struct slice b)
{
	bool a_first = slice_equal(a, SLICE("INBOX"));
	bool b_first = slice_equal(b, SLICE("INBOX"));

	if (a_first || b_first)
		return b_first - a_first;
	return slice_compare(a, b);
}

/* Of two with one name the better one comes first: one that exists, one's own. */
static int
box_compare(const void *a, const void *b, void *arg)
{
	const struct imap_session *s = arg;
	const struct imap_notify_box *x = a, *y = b;
	int c = name_order(x->info.name, y->info.name);

	if (c)
		return c;
	if (x->info.exists_not != y->info.exists_not)
		return x->info.exists_not ? 1 : -1;
	return imap_same_account(y->account, s->account) -
	       imap_same_account(x->account, s->account);
}

static int
number_order(
    const struct imap_notify_box *box, struct account_id account, uint32_t number)
{
	int c = memcmp(box->account.v, account.v, sizeof(account.v));

	if (c)
		return c;
	return box->info.number < number ? -1 : box->info.number > number;
}

static int
number_compare(const void *a, const void *b, void *arg)
{
	const struct imap_notify_box *boxes = arg;
	const struct imap_notify_box *y = &boxes[*(const uint32_t *)b];

	return number_order(&boxes[*(const uint32_t *)a], y->account, y->info.number);
}

static void
merge(struct imap_notify_picture *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->count; i++) {
		struct imap_notify_box *last = kept ? &p->boxes[kept - 1] : NULL;
		if (last && slice_equal(last->info.name, p->boxes[i].info.name))
			last->info.subscribed |= p->boxes[i].info.subscribed;
		else
			p->boxes[kept++] = p->boxes[i];
	}
	p->count = kept;
}

/* What others share is listed by its lists, which know no children. */
static void
mark_parents(const struct imap_session *s, struct imap_notify_picture *p)
{
	for (size_t i = 0; i < p->count; i++) {
		struct slice name = p->boxes[i].info.name;
		if (imap_same_account(p->boxes[i].account, s->account))
			continue;
		for (size_t cut; (cut = slice_rindex(name, '/')) != SIZE_MAX;) {
			name = slice_sub(name, 0, cut);
			const struct imap_notify_box *parent =
			    imap_notify_picture_named(p, name);
			if (parent)
				p->boxes[parent - p->boxes].info.has_children = true;
		}
	}
}

static bool
index_numbers(struct imap_notify_picture *p)
{
	p->by_number = ARENA_ARRAY(p->arena, uint32_t, p->count + 1);
	if (!p->by_number)
		return false;
	for (uint32_t i = 0; i < p->count; i++)
		if (!p->boxes[i].info.exists_not)
			p->by_number[p->numbered++] = i;
	qsort_r(
	    p->by_number, p->numbered, sizeof(p->by_number[0]), number_compare, p->boxes);
	return true;
}

/* ---- the calls ---- */

void
imap_notify_picture_free(struct imap_notify_picture *p)
{
	arena_free(&p->arena);
	*p = (struct imap_notify_picture){.arena = NULL};
}

enum status
imap_notify_picture_take(
    struct imap_session *s, bool shared, struct imap_notify_picture *out)
{
	struct collecting c = {
	    .s = s, .picture = {.arena = arena_new(IMAP_NOTIFY_PICTURE_MAX)}};
	struct imap_notify_picture *p = &c.picture;

	enum status status = mailbox_each(imap_reader(s), s->account, collect, &c);
	if (status == STATUS_OK && shared)
		status = imap_box_each_owner(s, collect_owner, &c);
	if (status == STATUS_OK && shared && !c.full)
		status = imap_box_each_shared(s, collect_shared, &c);
	if (status == STATUS_OK && !c.full && shared) {
		qsort_r(p->boxes, p->count, sizeof(p->boxes[0]), box_compare, s);
		merge(p);
		mark_parents(s, p);
	}
	if (c.full || (status == STATUS_OK && !index_numbers(p)))
		status = STATUS_LIMIT;
	if (status == STATUS_OK)
		*out = *p;
	else
		imap_notify_picture_free(p);
	return status;
}

const struct imap_notify_box *
imap_notify_picture_find(
    const struct imap_notify_picture *p, struct account_id account, uint32_t number)
{
	size_t low = 0, high = p->numbered;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct imap_notify_box *box = &p->boxes[p->by_number[middle]];
		int c = number_order(box, account, number);
		if (c == 0)
			return box;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct imap_notify_box *
imap_notify_picture_named(const struct imap_notify_picture *p, struct slice name)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = name_order(p->boxes[middle].info.name, name);
		if (c == 0)
			return &p->boxes[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
