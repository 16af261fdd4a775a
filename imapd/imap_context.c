/*
 * Contexts of searches: kept, updated, cancelled.
 *
 * Invariants
 *  1. context->uids is what the client's list is after all that was written.
 *  2. Every UID in it is in the view: expunged ones leave before the view forgets them.
 *  3. A SEARCH's list ascends; a SORT's is in its order, ties by UID.
 *
 * Thread: the worker's loop.
 */
#include "imapd/imap_context.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "imapd/imap_cmd_search.h"
#include "imapd/imap_fetch_write.h"
#include "imapd/imap_sort_key.h"

enum {
	SCRATCH_MAX = 16 * 1024 * 1024, /* bytes, of one look at a batch */
	COMPARE_MAX = 2 * 1024 * 1024,  /* bytes of the sort keys of one message */
};

struct context {
	struct imap_command cmd; /* in the arena, and its tag */
	struct arena *arena;
	uint32_t *uids; /* owned */
	size_t count, room;
};

struct imap_contexts {
	struct context held[IMAP_CONTEXTS_MAX];
	size_t count;
	uint32_t own_mailbox, own_first, own_last;
	size_t work; /* bytes of text looked at since imap_contexts_begin */
};

/* ---- holding ---- */

static void
context_fini(struct context *c)
{
	arena_free(&c->arena);
	free(c->uids);
	*c = (struct context){.count = 0};
}

void
imap_contexts_free(struct imap_contexts **contexts)
{
	struct imap_contexts *all = *contexts;

	if (!all)
		return;
	*contexts = NULL;
	for (size_t i = 0; i < all->count; i++)
		context_fini(&all->held[i]);
	free(all);
}

static void
context_drop(struct imap_session *s, size_t at)
{
	struct imap_contexts *all = s->contexts;

	context_fini(&all->held[at]);
	all->count--;
	memmove(
	    &all->held[at], &all->held[at + 1], (all->count - at) * sizeof(all->held[0]));
	if (all->count == 0)
		imap_contexts_free(&s->contexts);
}

static size_t
context_find(const struct imap_session *s, struct slice tag)
{
	for (size_t i = 0; s->contexts && i < s->contexts->count; i++)
		if (slice_equal(s->contexts->held[i].cmd.tag, tag))
			return i;
	return SIZE_MAX;
}

bool
imap_context_has_tag(const struct imap_session *s, struct slice tag)
{
	return context_find(s, tag) != SIZE_MAX;
}

bool
imap_context_cancel(struct imap_session *s, struct slice tag)
{
	size_t at = context_find(s, tag);

	if (at == SIZE_MAX)
		return false;
	context_drop(s, at);
	return true;
}

static size_t
results_held(const struct imap_contexts *all)
{
	size_t sum = 0;

	for (size_t i = 0; i < all->count; i++)
		sum += all->held[i].count;
	return sum;
}

/* A set of UIDs as it is for all time: "*" is what it is now, "n:*" has no end. */
static bool
set_freeze(
    struct imap_search_node *node, const struct mailbox_view *view, struct arena *arena)
{
	uint32_t exists = mailbox_view_count(view);
	uint32_t highest = exists ? mailbox_view_uid(view, exists) : 0;
	struct uid_range *ranges = ARENA_ARRAY(arena, struct uid_range, node->set.count);
	size_t count = 0;

	if (!ranges)
		return false;
	for (size_t i = 0; i < node->set.count; i++) {
		struct uid_range r = node->set.ranges[i];
		bool star = r.first == IMAP_SEQSET_STAR || r.last == IMAP_SEQSET_STAR;
		uint32_t other = r.first == IMAP_SEQSET_STAR ? r.last : r.first;
		if (!star && r.first > r.last)
			r = (struct uid_range){r.last, r.first};
		else if (star && other == IMAP_SEQSET_STAR)
			r = (struct uid_range){highest, highest};
		else if (star)
			r = (struct uid_range){
			    other < highest || highest == 0 ? other : highest,
			    UINT32_MAX};
		if (r.last != 0)
			ranges[count++] = r;
	}
	node->ranges = (struct imap_uid_ranges){ranges, count};
	imap_uid_ranges_normalize(&node->ranges);
	return true;
}

static bool
sets_freeze(
    struct imap_search_node *root, const struct mailbox_view *view, struct arena *arena)
{
	if (root->key == IMAP_SEARCH_UID && !root->set.saved &&
	    !set_freeze(root, view, arena))
		return false;
	for (struct imap_search_node *n = root->child; n; n = n->next)
		if (!sets_freeze(n, view, arena))
			return false;
	return true;
}

/* The command's text once more, in memory that stays. */
static bool
program_copy(struct imap_session *s, struct context *c)
{
	struct parse_fault fault;
	struct slice frame = arena_copy(c->arena, framer_imap_frame(&s->framer));

	return frame.ptr &&
	       imap_command_parse(frame, c->arena, &c->cmd, &fault) == PARSE_DONE &&
	       imap_search_resolve(c->cmd.u.search->root, s->view, &s->saved, c->arena) ==
	           STATUS_OK &&
	       sets_freeze(c->cmd.u.search->root, s->view, c->arena);
}

/* Scores of the messages in the list are not kept (RFC 5267 section 4.3.1 allows it). */
static bool
sorts_by_relevancy(const struct imap_search_args *args)
{
	for (size_t i = 0; i < args->sort_count; i++)
		if (args->sort[i].by == IMAP_SORT_RELEVANCY)
			return true;
	return false;
}

enum imap_context_result
imap_context_keep(struct imap_session *s, const struct imap_command *cmd,
    const uint32_t *uids, size_t count)
{
	struct context c = {.count = count, .room = count + 1};

	if (!(cmd->u.search->returns & IMAP_RETURN_UPDATE))
		return IMAP_CONTEXT_OK;
	if (cmd->limit) /* not all of it was looked at */
		return IMAP_CONTEXT_REFUSED;
	if (sorts_by_relevancy(cmd->u.search))
		return IMAP_CONTEXT_REFUSED;
	if (s->contexts &&
	    (s->contexts->count == IMAP_CONTEXTS_MAX ||
		results_held(s->contexts) + count > IMAP_CONTEXT_RESULTS_MAX))
		return IMAP_CONTEXT_REFUSED;
	c.arena = arena_new(IMAP_CONTEXT_ARENA_MAX);
	if (!program_copy(s, &c)) {
		context_fini(&c);
		return IMAP_CONTEXT_REFUSED;
	}
	c.cmd.uid |= c.cmd.u.search->multi; /* ESEARCH speaks of UIDs only */
	c.uids = xcalloc(c.room, sizeof(*c.uids));
	if (count)
		memcpy(c.uids, uids, count * sizeof(*uids));
	if (!s->contexts)
		s->contexts = xcalloc(1, sizeof(*s->contexts));
	s->contexts->held[s->contexts->count++] = c;
	return IMAP_CONTEXT_OK;
}

static void
tell_refused(struct imap_session *s, struct slice tag, const char *why)
{
	struct buf *out = imap_out(s);

	buf_append(out, SLICE("* NO [NOUPDATE "));
	imap_resp_string(out, tag, false);
	buf_append_format(out, "] %s\r\n", why);
}

void
imap_context_tell_refused(struct imap_session *s, const struct imap_command *cmd,
    enum imap_context_result result)
{
	if (result == IMAP_CONTEXT_REFUSED)
		tell_refused(s, cmd->tag, "this search is not kept up to date");
}

/* ---- telling ---- */

/* One ESEARCH response that is opened by its first item. */
struct teller {
	struct imap_session *s;
	const struct context *c;
	bool open;
};

static void
tell_open(struct teller *t, const char *item)
{
	struct buf *out = imap_out(t->s);

	if (!t->open) {
		struct mailbox_info box;
		bool named = t->c->cmd.u.search->multi &&
		             imap_box_selected(t->s, &box) == STATUS_OK;
		buf_append(out, SLICE("* ESEARCH "));
		imap_write_correlator(t->s, t->c->cmd.tag, named ? &box : NULL);
		buf_append(out, t->c->cmd.uid ? SLICE(" UID ") : SLICE(" "));
		t->open = true;
	} else {
		buf_append_byte(out, ' ');
	}
	buf_append_cstr(out, item);
	buf_append(out, SLICE(" ("));
}

/* "position set" of messages that stand side by side; made numbers in place. */
static void
tell_pair(struct teller *t, bool first, size_t position, uint32_t *uids, size_t count)
{
	struct buf *out = imap_out(t->s);

	if (!t->c->cmd.uid)
		for (size_t i = 0; i < count; i++)
			uids[i] = mailbox_view_msn(t->s->view, uids[i]);
	if (!first)
		buf_append_byte(out, ' ');
	buf_append_u64(out, position);
	buf_append_byte(out, ' ');
	imap_seqset_write(out, uids, count);
}

static void
tell_end(struct teller *t)
{
	if (t->open)
		buf_append(imap_out(t->s), SLICE("\r\n"));
}

/* In mailbox order: what does not stand side by side is told with the position 0, in one
 * set, the shortest form (RFC 5267 sections 4.3.3 and 4.3.4). */
static bool
is_search(const struct context *c)
{
	return c->cmd.u.search->sort_count == 0;
}

/* ---- places ---- */

/* The place of `uid` in an ascending array, or where it would be. */
static size_t
lower_bound(const uint32_t *uids, size_t count, uint32_t uid)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (uids[mid] < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
is_among(const uint32_t *uids, size_t count, uint32_t uid, size_t *out_at)
{
	*out_at = lower_bound(uids, count, uid);
	return *out_at < count && uids[*out_at] == uid;
}

/* Where each of the (ascending) uids stands in the list; SIZE_MAX: nowhere. */
static void
places_find(
    const struct context *c, const uint32_t *uids, size_t count, size_t *out_places)
{
	size_t at;

	for (size_t i = 0; i < count; i++)
		out_places[i] = SIZE_MAX;
	if (is_search(c)) {
		for (size_t i = 0; i < count; i++)
			if (is_among(c->uids, c->count, uids[i], &at))
				out_places[i] = at;
		return;
	}
	for (size_t k = 0; k < c->count; k++)
		if (is_among(uids, count, c->uids[k], &at))
			out_places[at] = k;
}

/* ---- REMOVEFROM ---- */

static int
place_compare(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	return x < y ? -1 : x > y;
}

/* Takes what stands at these places out of the list and tells it.  Each pair is meant
 * for the list as the pairs before it have left it. */
static void
remove_places(
    struct teller *t, struct context *c, size_t *places, size_t count, uint32_t *scratch)
{
	size_t kept, next = 0;

	if (count == 0)
		return;
	qsort(places, count, sizeof(*places), place_compare);
	tell_open(t, "REMOVEFROM");
	bool apart = is_search(c) && places[count - 1] - places[0] >= count;
	for (size_t i = 0; apart && i < count; i++)
		scratch[i] = c->uids[places[i]];
	if (apart)
		tell_pair(t, true, 0, scratch, count);
	for (size_t i = 0, n; !apart && i < count; i += n) {
		for (n = 1; i + n < count && places[i + n] == places[i] + n; n++)
			;
		memcpy(scratch, c->uids + places[i], n * sizeof(*scratch));
		tell_pair(t, i == 0, places[i] - i + 1, scratch, n);
	}
	buf_append_byte(imap_out(t->s), ')');
	kept = places[0];
	for (size_t k = places[0]; k < c->count; k++) {
		if (next < count && places[next] == k)
			next++;
		else
			c->uids[kept++] = c->uids[k];
	}
	c->count = kept;
}

/* ---- ADDTO ---- */

struct newcomer {
	uint32_t uid;
	size_t before;                 /* the place in the list that it goes before */
	union imap_sort_value *values; /* null for SEARCH */
};

/* What looking at messages for one batch takes. */
struct looker {
	struct imap_session *s;
	struct imap_search_eval eval;
	struct arena *arena;   /* of the batch */
	struct arena *compare; /* reset for each message */
};

/* The sort values of a message in the list; false when it cannot be read. */
static bool
values_read(
    struct looker *l, const struct context *c, uint32_t uid, union imap_sort_value *out)
{
	struct imap_session *s = l->s;
	struct message_record record;
	const struct message_index *index;
	bool ok;

	if (message_get(imap_reader(s), s->box_account, s->mailbox, uid, &record) !=
	    STATUS_OK)
		return false;
	l->eval.record = &record;
	index = imap_search_index(&l->eval);
	ok = index &&
	     imap_sort_values(c->cmd.u.search, &record, index, 0, l->compare, out);
	imap_search_done(&l->eval);
	return ok;
}

/* Does a message of the list come before the newcomer?  1 yes, 0 no, -1 unreadable. */
static int
comes_before(
    struct looker *l, const struct context *c, uint32_t uid, const struct newcomer *n)
{
	union imap_sort_value values[IMAP_SORT_KEYS_MAX];

	arena_reset(l->compare);
	if (!values_read(l, c, uid, values))
		return -1;
	int diff = imap_sort_compare(c->cmd.u.search, values, n->values);
	return diff ? diff < 0 : uid < n->uid;
}

/* Like lower_bound, by the sort keys.  Messages that cannot be read any more (they are
 * about to be told as expunged) are passed over. */
static size_t
sorted_place(struct looker *l, const struct context *c, const struct newcomer *n)
{
	size_t low = 0, high = c->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2, at = mid;
		int before = comes_before(l, c, c->uids[at], n);
		while (before < 0 && ++at < high)
			before = comes_before(l, c, c->uids[at], n);
		if (before > 0)
			low = at + 1;
		else
			high = mid;
	}
	return low;
}

static int
newcomer_compare(const void *a, const void *b, void *arg)
{
	const struct context *c = arg;
	const struct newcomer *x = a, *y = b;

	if (x->values) {
		int diff = imap_sort_compare(c->cmd.u.search, x->values, y->values);
		if (diff)
			return diff;
	}
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static void
list_merge(struct context *c, const struct newcomer *news, size_t count)
{
	if (c->count + count > c->room) {
		c->room = (c->count + count) * 2;
		c->uids = xrealloc(c->uids, c->room * sizeof(*c->uids));
	}
	size_t from = c->count, to = c->count + count;
	for (size_t i = count; i-- > 0;) {
		while (from > news[i].before)
			c->uids[--to] = c->uids[--from];
		c->uids[--to] = news[i].uid;
	}
	c->count += count;
}

/* Puts them into the list and tells it: ascending places of the list that comes out, so
 * that each pair finds all before it in place. */
static void
add_newcomers(struct looker *l, struct teller *t, struct context *c,
    struct newcomer *news, size_t count, uint32_t *scratch)
{
	if (count == 0)
		return;
	for (size_t i = 0; i < count; i++)
		news[i].before = news[i].values
		                     ? sorted_place(l, c, &news[i])
		                     : lower_bound(c->uids, c->count, news[i].uid);
	qsort_r(news, count, sizeof(*news), newcomer_compare, c);
	/* Passing over unreadable ones may have put two of them the wrong way round. */
	for (size_t i = 1; i < count; i++)
		if (news[i].before < news[i - 1].before)
			news[i].before = news[i - 1].before;
	tell_open(t, "ADDTO");
	bool apart = is_search(c) && news[count - 1].before != news[0].before;
	for (size_t i = 0; apart && i < count; i++)
		scratch[i] = news[i].uid;
	if (apart)
		tell_pair(t, true, 0, scratch, count);
	for (size_t i = 0, n; !apart && i < count; i += n) {
		for (n = 0; i + n < count && news[i + n].before == news[i].before; n++)
			scratch[n] = news[i + n].uid;
		tell_pair(t, i == 0, news[i].before + i + 1, scratch, n);
	}
	buf_append_byte(imap_out(t->s), ')');
	list_merge(c, news, count);
}

/* ---- looking ---- */

static void
looker_init(struct looker *l, struct imap_session *s)
{
	*l = (struct looker){
	    .s = s, .arena = arena_new(SCRATCH_MAX), .compare = arena_new(COMPARE_MAX)};
	imap_search_eval_init(
	    &l->eval, imap_reader(s), s->box_account, s, clock_wall_s());
}

static void
looker_fini(struct looker *l)
{
	l->s->contexts->work += l->eval.text.work;
	imap_search_eval_fini(&l->eval);
	arena_free(&l->arena);
	arena_free(&l->compare);
}

/* A message that must be in the list and is not: with its sort values. */
static bool
newcomer_make(struct looker *l, const struct context *c,
    const struct message_record *record, struct newcomer *out)
{
	const struct imap_search_args *args = c->cmd.u.search;
	const struct message_index *index;

	*out = (struct newcomer){.uid = record->uid};
	if (args->sort_count == 0)
		return true;
	index = imap_search_index(&l->eval);
	out->values = ARENA_ARRAY(l->arena, union imap_sort_value, args->sort_count);
	return index && out->values &&
	       imap_sort_values(args, record, index, 0, l->arena, out->values);
}

static bool
is_own(const struct imap_session *s, uint32_t uid)
{
	const struct imap_contexts *all = s->contexts;

	return all->own_mailbox == s->mailbox && uid >= all->own_first &&
	       uid <= all->own_last;
}

/* FETCH for a new message that joined (RFC 5465 section 7). */
static void
tell_fetch(struct imap_session *s, const struct context *c, const struct newcomer *news,
    size_t count)
{
	const struct imap_fetch_args *fetch = c->cmd.u.search->update_fetch;
	struct imap_fetch_writer writer;
	struct message_record record;
	struct slice names[MAILBOX_KEYWORDS_MAX];

	if (!fetch || count == 0)
		return;
	imap_fetch_writer_init(&writer, s, fetch);
	writer.name_count = imap_keywords(s, names);
	writer.names = names;
	for (size_t i = 0; i < count; i++)
		if (!is_own(s, news[i].uid) &&
		    message_get(imap_reader(s), s->box_account, s->mailbox, news[i].uid,
			&record) == STATUS_OK)
			(void)!imap_fetch_write(&writer, &record,
			    mailbox_view_msn(s->view, record.uid), fetch->items);
	imap_fetch_writer_fini(&writer);
}

/* False: there was no memory for it. */
static bool
context_look(
    struct looker *l, struct context *c, const uint32_t *uids, size_t count, bool added)
{
	struct imap_session *s = l->s;
	struct message_record record;
	struct teller t = {s, c, false};
	size_t *places = ARENA_ARRAY(l->arena, size_t, count);
	struct newcomer *news = ARENA_ARRAY(l->arena, struct newcomer, count);
	uint32_t *scratch = ARENA_ARRAY(l->arena, uint32_t, count);
	size_t gone = 0, come = 0;

	if (!places || !news || !scratch)
		return false;
	places_find(c, uids, count, places);
	for (size_t i = 0; i < count; i++) {
		/* Not there any more: its EXPUNGE will say so. */
		if (message_get(imap_reader(s), s->box_account, s->mailbox, uids[i],
			&record) != STATUS_OK)
			continue;
		bool was = places[i] != SIZE_MAX;
		bool is = imap_search_match(&l->eval, c->cmd.u.search->root, &record);
		bool ok = true;
		if (was && !is)
			places[gone++] = places[i];
		/* One without an index record has no place in an order. */
		if (!was && is && c->cmd.u.search->sort_count)
			is = imap_search_index(&l->eval) != NULL;
		if (!was && is)
			ok = newcomer_make(l, c, &record, &news[come++]);
		imap_search_done(&l->eval);
		if (!ok)
			return false;
	}
	if (added)
		tell_fetch(s, c, news, come);
	remove_places(&t, c, places, gone, scratch);
	add_newcomers(l, &t, c, news, come, scratch);
	tell_end(&t);
	return true;
}

static void
look_at(struct imap_session *s, const uint32_t *uids, size_t count, bool added)
{
	struct slice names[MAILBOX_KEYWORDS_MAX];
	struct looker l;

	if (!s->contexts || count == 0)
		return;
	size_t name_count = imap_keywords(s, names);
	for (size_t i = 0; s->contexts && i < s->contexts->count;) {
		struct context *c = &s->contexts->held[i];
		looker_init(&l, s);
		imap_search_keywords(c->cmd.u.search->root, names, name_count);
		bool ok = context_look(&l, c, uids, count, added);
		looker_fini(&l);
		/* One alone may be as large as the mailbox (section 4.3.1). */
		if (ok && (s->contexts->count == 1 ||
			      results_held(s->contexts) <= IMAP_CONTEXT_RESULTS_MAX)) {
			i++;
			continue;
		}
		tell_refused(s, c->cmd.tag, "this search has grown too large to keep");
		context_drop(s, i);
	}
}

void
imap_contexts_added(struct imap_session *s, const uint32_t *uids, size_t count)
{
	look_at(s, uids, count, true);
}

void
imap_contexts_changed(struct imap_session *s, const uint32_t *uids, size_t count)
{
	look_at(s, uids, count, false);
}

void
imap_contexts_expunged(struct imap_session *s, const uint32_t *uids, size_t count)
{
	if (!s->contexts || count == 0)
		return;
	size_t *places = xcalloc(count, sizeof(*places));
	uint32_t *scratch = xcalloc(count, sizeof(*scratch));
	for (size_t i = 0; i < s->contexts->count; i++) {
		struct context *c = &s->contexts->held[i];
		struct teller t = {s, c, false};
		size_t gone = 0;
		places_find(c, uids, count, places);
		for (size_t k = 0; k < count; k++)
			if (places[k] != SIZE_MAX)
				places[gone++] = places[k];
		remove_places(&t, c, places, gone, scratch);
		tell_end(&t);
	}
	free(places);
	free(scratch);
}

void
imap_contexts_own(struct imap_session *s, uint32_t mailbox, uint32_t first, uint32_t last)
{
	if (!s->contexts)
		return;
	s->contexts->own_mailbox = mailbox;
	s->contexts->own_first = first;
	s->contexts->own_last = last;
}

/* ---- shares ---- */

size_t
imap_contexts_batch(const struct imap_session *s, size_t otherwise)
{
	if (!s->contexts)
		return otherwise;
	for (size_t i = 0; i < s->contexts->count; i++)
		if (s->contexts->held[i].cmd.u.search->root->cost >=
		    IMAP_SEARCH_COST_HEADER)
			return IMAP_CONTEXT_BATCH_TEXT;
	return IMAP_CONTEXT_BATCH;
}

void
imap_contexts_begin(struct imap_session *s)
{
	if (s->contexts)
		s->contexts->work = 0;
}

bool
imap_contexts_spent(const struct imap_session *s)
{
	return s->contexts && s->contexts->work >= IMAP_SEARCH_TURN_WORK;
}
