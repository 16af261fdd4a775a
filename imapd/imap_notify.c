/*
 * NOTIFY: the command, the picture of the account, and what is told.
 *
 * Invariants
 *  1. The picture is what the client has been told: it is replaced only in step with the
 *     responses written.
 *  2. Nothing is told while a command runs or a frame is half read, but at its end.
 *  3. The selected mailbox's message events are imap_sync's business; here its counts
 *     only enter the picture.
 *
 * Thread: the worker's loop.
 */
#include "imapd/imap_notify.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "imapd/imap_context.h"
#include "imapd/imap_fetch_write.h"
#include "imapd/imap_lex.h"

struct picture {
	struct arena *arena;
	struct mailbox_info *boxes; /* in the order of mailbox_each */
	uint32_t *by_number;        /* indices, those with a number, ascending by it */
	size_t count, numbered;
};

struct imap_notify {
	struct arena *arena; /* what was asked for */
	unsigned selected;   /* events of the selected mailbox */
	bool delayed;        /* SELECTED-DELAYED */
	bool others;         /* any group that is not SELECTED */
	bool changed;        /* a hint that has not been looked at */
	struct imap_notify_group *groups;
	size_t group_count;
	struct imap_fetch_args *fetch; /* null: no FETCH for new messages */
	struct picture picture;
	struct store_watch *watch;
	struct loop_timer timer;
	uint32_t own_mailbox, own_first, own_last;
};

/* ---- pictures ---- */

struct collecting {
	struct picture picture;
	size_t room;
	bool full;
};

static bool
collect(const struct mailbox_info *info, void *arg)
{
	struct collecting *c = arg;
	struct picture *p = &c->picture;

	if (p->count == c->room) {
		size_t room = c->room ? c->room * 2 : 32;
		struct mailbox_info *grown =
		    room <= IMAP_NOTIFY_BOXES_MAX * 2
			? ARENA_ARRAY(p->arena, struct mailbox_info, room)
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
	struct mailbox_info *box = &p->boxes[p->count];
	*box = *info;
	box->name = arena_copy(p->arena, info->name);
	p->count++;
	c->full = !box->name.ptr || p->count > IMAP_NOTIFY_BOXES_MAX;
	return !c->full;
}

static int
number_compare(const void *a, const void *b, void *arg)
{
	const struct mailbox_info *boxes = arg;
	uint32_t x = boxes[*(const uint32_t *)a].number;
	uint32_t y = boxes[*(const uint32_t *)b].number;

	return x < y ? -1 : x > y;
}

static void
picture_free(struct picture *p)
{
	arena_free(&p->arena);
	*p = (struct picture){.arena = NULL};
}

static enum status
picture_take(struct imap_session *s, struct picture *out)
{
	struct collecting c = {.picture = {.arena = arena_new(IMAP_NOTIFY_PICTURE_MAX)}};
	struct picture *p = &c.picture;

	enum status status = mailbox_each(imap_reader(s), s->account, collect, &c);
	if (status == STATUS_OK && !c.full)
		p->by_number = ARENA_ARRAY(p->arena, uint32_t, p->count + 1);
	if (c.full || (status == STATUS_OK && !p->by_number))
		status = STATUS_LIMIT;
	if (status != STATUS_OK) {
		picture_free(p);
		return status;
	}
	for (uint32_t i = 0; i < p->count; i++)
		if (!p->boxes[i].exists_not)
			p->by_number[p->numbered++] = i;
	qsort_r(
	    p->by_number, p->numbered, sizeof(p->by_number[0]), number_compare, p->boxes);
	*out = *p;
	return STATUS_OK;
}

static const struct mailbox_info *
picture_find(const struct picture *p, uint32_t number)
{
	size_t low = 0, high = p->numbered;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct mailbox_info *box = &p->boxes[p->by_number[middle]];
		if (box->number == number)
			return box;
		if (box->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* "INBOX" first, then by bytes, as mailbox_each gives them. */
static int
name_order(struct slice a, struct slice b)
{
	bool a_first = slice_equal(a, SLICE("INBOX"));
	bool b_first = slice_equal(b, SLICE("INBOX"));

	if (a_first || b_first)
		return b_first - a_first;
	return slice_compare(a, b);
}

static const struct mailbox_info *
picture_named(const struct picture *p, struct slice name)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = name_order(p->boxes[middle].name, name);
		if (c == 0)
			return &p->boxes[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- what is wanted ---- */

static bool
group_has(const struct imap_notify_group *group, const struct mailbox_info *box)
{
	return imap_source_has(&group->source, box, true);
}

static unsigned
wanted(const struct imap_notify *n, const struct mailbox_info *box)
{
	unsigned events = 0;

	for (size_t i = 0; i < n->group_count; i++)
		if (group_has(&n->groups[i], box))
			events |= n->groups[i].events;
	return events;
}

unsigned
imap_notify_events(const struct imap_session *s, const struct mailbox_info *box)
{
	unsigned events = 0;

	if (!s->notify)
		return 0;
	if (box)
		return wanted(s->notify, box);
	for (size_t i = 0; i < s->notify->group_count; i++)
		events |= s->notify->groups[i].events;
	return events;
}

unsigned
imap_notify_selected(const struct imap_session *s)
{
	return s->notify ? s->notify->selected : IMAP_NOTIFY_MESSAGE_EVENTS;
}

bool
imap_notify_delayed(const struct imap_session *s)
{
	return s->notify && s->notify->delayed;
}

/* ---- telling ---- */

static void
tell_messages(struct imap_session *s, unsigned events, const struct mailbox_info *was,
    const struct mailbox_info *is)
{
	bool condstore = imap_is_condstore(s);
	unsigned modseq = condstore ? IMAP_STATUS_HIGHESTMODSEQ : 0;
	bool counts = was->exists != is->exists || was->uidnext != is->uidnext;

	if (!(events & IMAP_NOTIFY_MESSAGE_EVENTS) ||
	    imap_is_selected(s, s->account, is->number))
		return;
	if (counts) {
		imap_write_status(s, s->account, is,
		    IMAP_STATUS_UIDNEXT | IMAP_STATUS_MESSAGES | modseq);
		return;
	}
	if (!(events & IMAP_NOTIFY_FLAG_CHANGE) || was->modseq == is->modseq)
		return;
	unsigned unseen = was->unseen != is->unseen ? IMAP_STATUS_UNSEEN : 0;
	if (condstore || unseen)
		imap_write_status(
		    s, s->account, is, IMAP_STATUS_UIDVALIDITY | modseq | unseen);
}

/* Renamed along with a parent: no event of its own (RFC 5465 section 5.4). */
static bool
moved_with_parent(const struct picture *was, const struct picture *is,
    const struct mailbox_info *old, const struct mailbox_info *new)
{
	size_t cut = slice_rindex(old->name, '/');
	const struct mailbox_info *parent;

	if (cut == SIZE_MAX)
		return false;
	parent = picture_named(was, slice_sub(old->name, 0, cut));
	if (!parent || parent->exists_not)
		return false;
	const struct mailbox_info *now = picture_find(is, parent->number);
	return now && !slice_equal(now->name, parent->name) &&
	       imap_name_is_below(new->name, now->name) &&
	       slice_equal(
		   slice_from(new->name, now->name.len), slice_from(old->name, cut));
}

/* The direct parent of a name that came or went is affected too, when it looks different
 * now. */
static void
tell_parent(struct imap_session *s, const struct picture *was, const struct picture *is,
    struct slice name)
{
	size_t cut = slice_rindex(name, '/');

	if (cut == SIZE_MAX)
		return;
	const struct mailbox_info *now = picture_named(is, slice_sub(name, 0, cut));
	const struct mailbox_info *then = picture_named(was, slice_sub(name, 0, cut));
	if (now && !now->exists_not && then && !then->exists_not &&
	    now->has_children != then->has_children &&
	    (wanted(s->notify, now) & IMAP_NOTIFY_MAILBOX_NAME))
		imap_write_list(s, now, SLICE_NULL);
}

static void
tell_gone(struct imap_session *s, const struct picture *was, const struct picture *is)
{
	for (size_t i = 0; i < was->count; i++) {
		const struct mailbox_info *old = &was->boxes[i];
		if (old->exists_not || picture_find(is, old->number))
			continue;
		if (!(wanted(s->notify, old) & IMAP_NOTIFY_MAILBOX_NAME))
			continue;
		const struct mailbox_info *left = picture_named(is, old->name);
		struct mailbox_info gone = {.name = old->name, .exists_not = true};
		if (left && !left->exists_not)
			continue; /* another one has the name already */
		if (left)
			gone = *left;
		imap_write_list(s, &gone, SLICE_NULL);
		tell_parent(s, was, is, old->name);
	}
}

static void
tell_box(struct imap_session *s, const struct picture *was, const struct picture *is,
    const struct mailbox_info *box)
{
	const struct mailbox_info *old =
	    box->exists_not ? NULL : picture_find(was, box->number);
	const struct mailbox_info *named = picture_named(was, box->name);
	unsigned events = wanted(s->notify, box);
	bool subscribed_before = named && named->subscribed;
	bool told = false;

	if (old)
		events |= wanted(s->notify, old);
	if (!box->exists_not && (events & IMAP_NOTIFY_MAILBOX_NAME)) {
		bool renamed = old && !slice_equal(old->name, box->name);
		if (!old || (renamed && !moved_with_parent(was, is, old, box))) {
			imap_write_list(s, box, old ? old->name : SLICE_NULL);
			tell_parent(s, was, is, box->name);
			told = true;
		}
	}
	if (!told && (events & IMAP_NOTIFY_SUBSCRIPTION) &&
	    subscribed_before != box->subscribed && (named || box->subscribed))
		imap_write_list(s, box, SLICE_NULL);
	struct mailbox_info empty = {.uidnext = 1};
	if (!box->exists_not)
		tell_messages(s, events, old ? old : &empty, box);
}

/* A name that was only subscribed and is it no more is not there at all now. */
static void
tell_unsubscribed(
    struct imap_session *s, const struct picture *was, const struct picture *is)
{
	for (size_t i = 0; i < was->count; i++) {
		const struct mailbox_info *old = &was->boxes[i];
		struct mailbox_info gone = {.name = old->name, .exists_not = true};
		if (old->subscribed && !picture_named(is, old->name) &&
		    (wanted(s->notify, old) & IMAP_NOTIFY_SUBSCRIPTION))
			imap_write_list(s, &gone, SLICE_NULL);
	}
}

static void
notify_overflow(struct imap_session *s)
{
	struct imap_notify *n = s->notify;

	buf_append(imap_out(s),
	    SLICE("* OK [NOTIFICATIONOVERFLOW] too many mailboxes to watch\r\n"));
	store_watch_free(&n->watch);
	loop_timer_stop(&n->timer);
	n->selected = 0;
	n->others = n->changed = false;
	n->group_count = 0;
	picture_free(&n->picture);
}

static void
tell_others(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	struct picture now;

	enum status status = picture_take(s, &now);
	if (status == STATUS_LIMIT)
		notify_overflow(s);
	if (status != STATUS_OK)
		return;
	tell_gone(s, &n->picture, &now);
	tell_unsubscribed(s, &n->picture, &now);
	for (size_t i = 0; i < now.count; i++)
		tell_box(s, &n->picture, &now, &now.boxes[i]);
	picture_free(&n->picture);
	n->picture = now;
}

void
imap_notify_fetch(struct imap_session *s, const uint32_t *uids, size_t count)
{
	struct imap_notify *n = s->notify;
	struct imap_fetch_writer writer;
	struct message_record record;
	struct slice names[MAILBOX_KEYWORDS_MAX];

	if (!n || !n->fetch || !(n->selected & IMAP_NOTIFY_MESSAGE_NEW))
		return;
	imap_fetch_writer_init(&writer, s, n->fetch);
	writer.name_count = imap_keywords(s, names);
	writer.names = names;
	for (size_t i = 0; i < count; i++) {
		bool own = n->own_mailbox == s->mailbox && uids[i] >= n->own_first &&
		           uids[i] <= n->own_last;
		if (own || message_get(imap_reader(s), s->box_account, s->mailbox,
			       uids[i], &record) != STATUS_OK)
			continue;
		/* What cannot be read is left out: the client can still FETCH it. */
		(void)!imap_fetch_write(&writer, &record,
		    mailbox_view_msn(s->view, uids[i]), n->fetch->items);
	}
	imap_fetch_writer_fini(&writer);
}

void
imap_notify_own(struct imap_session *s, uint32_t mailbox, uint32_t first, uint32_t last)
{
	imap_contexts_own(s, mailbox, first, last);
	if (!s->notify)
		return;
	s->notify->own_mailbox = mailbox;
	s->notify->own_first = first;
	s->notify->own_last = last;
}

/* ---- when ---- */

static void
on_timer(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	ENSURE(s->notify);
	if (s->notify->changed)
		imap_notify_hint(s);
}

bool
imap_notify_may_speak(const struct imap_session *s)
{
	return s->conn && !s->closing && !s->in_dispatch &&
	       (s->idling || (s->phase == IMAP_PHASE_COMMAND && !s->cmd && !s->append &&
				 framer_imap_frame(&s->framer).len == 0));
}

void
imap_notify_tell(struct imap_session *s)
{
	struct imap_notify *n = s->notify;

	if (!n || !n->changed || !n->others || n->timer.loop || imap_out_full(s))
		return;
	n->changed = false;
	loop_timer_start(s->worker->loop, &n->timer, IMAP_NOTIFY_GAP_MS, on_timer, s);
	tell_others(s);
}

void
imap_notify_again(struct imap_session *s)
{
	if (!imap_notify_may_speak(s) || imap_out_full(s))
		return;
	/* It sets s->changed again when there is more than fits. */
	if (s->view && s->notify->selected)
		(void)imap_sync(s, s->idling || !s->notify->delayed);
	else
		s->changed = false;
	imap_notify_tell(s);
}

void
imap_notify_hint(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	s->notify->changed = true;
	s->changed = true;
	imap_notify_again(s);
	imap_leave(s);
}

/* ---- the command ---- */

void
imap_notify_free(struct imap_notify **notify)
{
	struct imap_notify *n = *notify;

	if (!n)
		return;
	*notify = NULL;
	store_watch_free(&n->watch);
	loop_timer_stop(&n->timer);
	picture_free(&n->picture);
	arena_free(&n->arena);
	free(n);
}

/* Names that cannot be mailboxes are ignored, as those that are not there. */
static bool
keep_names(struct imap_session *s, struct imap_notify *n,
    const struct imap_notify_group *from, struct imap_notify_group *to)
{
	const char *text;

	to->source.names =
	    ARENA_ARRAY(n->arena, struct slice, from->source.name_count + 1);
	to->source.name_count = 0;
	for (size_t i = 0; to->source.names && i < from->source.name_count; i++) {
		struct slice name;
		if (!imap_mailbox_decode(s, from->source.names[i], &name, &text))
			continue;
		name = arena_copy(n->arena, name);
		if (!name.ptr)
			return false;
		to->source.names[to->source.name_count++] = name;
	}
	return to->source.names != NULL;
}

static bool
keep_items(struct imap_notify *n, struct slice items)
{
	struct imap_lex lex;

	if (!items.ptr)
		return true;
	items = arena_copy(n->arena, items);
	n->fetch = arena_alloc(n->arena, sizeof(*n->fetch));
	if (!items.ptr || !n->fetch)
		return false;
	imap_lex_init(&lex, items, n->arena);
	return imap_fetch_items_lex(&lex, n->fetch);
}

static struct imap_notify *
notify_new(struct imap_session *s, const struct imap_notify_args *args)
{
	struct imap_notify *n = xcalloc(1, sizeof(*n));

	n->arena = arena_new(IMAP_NOTIFY_WANTED_MAX);
	n->groups =
	    ARENA_ARRAY(n->arena, struct imap_notify_group, args->group_count + 1);
	bool ok = n->groups && keep_items(n, args->items);
	for (size_t i = 0; ok && i < args->group_count; i++) {
		const struct imap_notify_group *group = &args->groups[i];
		if (imap_source_is_selected(&group->source)) {
			n->selected = group->events;
			n->delayed = group->source.filter == IMAP_SOURCE_SELECTED_DELAYED;
			continue;
		}
		n->groups[n->group_count] = *group;
		ok = keep_names(s, n, group, &n->groups[n->group_count++]);
		n->others = true;
	}
	if (!ok)
		imap_notify_free(&n);
	return n;
}

static void
write_statuses(struct imap_session *s)
{
	const struct picture *p = &s->notify->picture;
	const unsigned items =
	    IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY;

	for (size_t i = 0; i < p->count; i++) {
		const struct mailbox_info *box = &p->boxes[i];
		unsigned events = wanted(s->notify, box);
		/* With FlagChange also when CONDSTORE is not on (RFC 5465 section 3.1).
		 */
		bool modseq = imap_is_condstore(s) || (events & IMAP_NOTIFY_FLAG_CHANGE);
		if (!box->exists_not && !imap_is_selected(s, s->account, box->number) &&
		    (events & IMAP_NOTIFY_MESSAGE_EVENTS))
			imap_write_status(s, s->account, box,
			    items | (modseq ? IMAP_STATUS_HIGHESTMODSEQ : 0));
	}
}

enum cmd_result
imap_run_notify(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_notify_args *args = cmd->u.notify;
	struct picture picture = {.arena = NULL};

	if (args->unknown_event)
		return imap_cmd_finish(s, cmd, IMAP_NO,
		    "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName "
		    "SubscriptionChange MailboxMetadataChange ServerMetadataChange)",
		    "an event is not known here");
	struct imap_notify *n = notify_new(s, args);
	enum status status = n ? STATUS_OK : STATUS_LIMIT;
	if (n && n->others)
		status = picture_take(s, &picture);
	if (status == STATUS_LIMIT) {
		imap_notify_free(&n);
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "NOTIFICATIONOVERFLOW", "that is too much to watch");
	}
	if (status != STATUS_OK) {
		imap_notify_free(&n);
		return imap_cmd_fail(s, cmd, status);
	}
	/* SET implies a NOOP, of what was wanted before (RFC 5465 section 3.1). */
	if (!args->none && !imap_sync(s, true)) {
		imap_notify_free(&n);
		picture_free(&picture);
		return CMD_CLOSE;
	}
	imap_notify_free(&s->notify);
	s->notify = n;
	n->picture = picture;
	if (!args->none)
		n->watch =
		    store_watch_new(imap_reader(s), s->account, imap_notify_hint, s);
	imap_metadata_unwatch(s);
	if ((imap_notify_events(s, NULL) &
		(IMAP_NOTIFY_MAILBOX_METADATA | IMAP_NOTIFY_SERVER_METADATA)) &&
	    imap_metadata_watch(s) != STATUS_OK)
		notify_overflow(s);
	if (args->status)
		write_statuses(s);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "NOTIFY completed");
}
