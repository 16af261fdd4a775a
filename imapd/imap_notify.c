/*
 * NOTIFY: the command, whose changes are heard of, and what is told.
 *
 * Invariants
 *  1. The picture is what the client has been told: it is replaced only in step with the
 *     responses written.
 *  2. Nothing is told while a command runs or a frame is half read, but at its end.
 *  3. The selected mailbox's message events are imap_sync's business; here its counts
 *     only enter the picture.
 *  4. Of other accounts those are watched that may share something with the user, and the
 *     directory, which knows when one more does; only when a filter may name such.
 *
 * Thread: the worker's loop.
 */
#include "imapd/imap_notify.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "imapd/imap_context.h"
#include "imapd/imap_fetch_write.h"
#include "imapd/imap_lex.h"
#include "imapd/imap_notify_picture.h"

struct imap_notify {
	struct arena *arena; /* what was asked for */
	unsigned selected;   /* events of the selected mailbox */
	bool delayed;        /* SELECTED-DELAYED */
	bool others;         /* any group that is not SELECTED */
	bool changed;        /* a hint that has not been looked at */
	struct imap_notify_group *groups;
	size_t group_count;
	struct imap_fetch_args *fetch; /* null: no FETCH for new messages */
	struct imap_notify_picture picture;
	bool shared; /* a group may name what others share */
	struct store_watch *watch;
	struct store_watch *directory; /* with shared: who shares with whom */
	struct store_watch **owners;   /* with shared: of picture.owners; owned */
	struct loop_timer timer;
	uint32_t own_mailbox, own_first, own_last;
};

/* ---- what is wanted ---- */

static unsigned
wanted(const struct imap_session *s, const struct imap_notify_box *box)
{
	return imap_notify_events(s, box->account, &box->info);
}

unsigned
imap_notify_events(const struct imap_session *s, struct account_id account,
    const struct mailbox_info *box)
{
	const struct imap_notify *n = s->notify;
	bool own = imap_same_account(account, s->account);
	unsigned events = 0;

	for (size_t i = 0; n && i < n->group_count; i++)
		if (!box || imap_source_has(&n->groups[i].source, box, own))
			events |= n->groups[i].events;
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
    const struct imap_notify_box *box)
{
	const struct mailbox_info *is = &box->info;
	bool condstore = imap_is_condstore(s);
	unsigned modseq = condstore ? IMAP_STATUS_HIGHESTMODSEQ : 0;
	bool counts = was->exists != is->exists || was->uidnext != is->uidnext;

	if (!(events & IMAP_NOTIFY_MESSAGE_EVENTS) ||
	    imap_is_selected(s, box->account, is->number))
		return;
	if (counts) {
		imap_write_status(s, box->account, is,
		    IMAP_STATUS_UIDNEXT | IMAP_STATUS_MESSAGES | modseq);
		return;
	}
	if (!(events & IMAP_NOTIFY_FLAG_CHANGE) || was->modseq == is->modseq)
		return;
	unsigned unseen = was->unseen != is->unseen ? IMAP_STATUS_UNSEEN : 0;
	if (condstore || unseen)
		imap_write_status(
		    s, box->account, is, IMAP_STATUS_UIDVALIDITY | modseq | unseen);
}

/* Renamed along with a parent: no event of its own (RFC 5465 section 5.4). */
static bool
moved_with_parent(const struct imap_notify_picture *was,
    const struct imap_notify_picture *is, const struct imap_notify_box *old,
    const struct imap_notify_box *new)
{
	size_t cut = slice_rindex(old->info.name, '/');
	const struct imap_notify_box *parent;

	if (cut == SIZE_MAX)
		return false;
	parent = imap_notify_picture_named(was, slice_sub(old->info.name, 0, cut));
	if (!parent || parent->info.exists_not)
		return false;
	const struct imap_notify_box *now =
	    imap_notify_picture_find(is, parent->account, parent->info.number);
	return now && !slice_equal(now->info.name, parent->info.name) &&
	       imap_name_is_below(new->info.name, now->info.name) &&
	       slice_equal(slice_from(new->info.name, now->info.name.len),
		   slice_from(old->info.name, cut));
}

/* The direct parent of a name that came or went is affected too, when it looks different
 * now. */
static void
tell_parent(struct imap_session *s, const struct imap_notify_picture *was,
    const struct imap_notify_picture *is, struct slice name)
{
	size_t cut = slice_rindex(name, '/');

	if (cut == SIZE_MAX)
		return;
	struct slice parent = slice_sub(name, 0, cut);
	const struct imap_notify_box *now = imap_notify_picture_named(is, parent);
	const struct imap_notify_box *then = imap_notify_picture_named(was, parent);
	if (now && !now->info.exists_not && then && !then->info.exists_not &&
	    now->info.has_children != then->info.has_children &&
	    (wanted(s, now) & IMAP_NOTIFY_MAILBOX_NAME))
		imap_write_list(s, &now->info, SLICE_NULL);
}

/* Somebody else's mailbox that is there, but not for this user any more: \NoAccess when
 * the right l has gone (RFC 5465 section 5.9), nothing when it was r. */
static bool
tell_no_access(struct imap_session *s, const struct imap_notify_box *old)
{
	struct mailbox_info info;
	uint16_t rights;
	struct buf *out = imap_out(s);

	if (imap_same_account(old->account, s->account) ||
	    mailbox_by_number(imap_reader(s), old->account, old->info.number, &info) !=
		STATUS_OK ||
	    imap_box_rights(s, old->account, old->info.number, &rights) != STATUS_OK)
		return false;
	if (!(rights & ACL_LOOKUP)) {
		buf_append(out, SLICE("* LIST (\\NoAccess) \"/\" "));
		imap_resp_mailbox(out, old->info.name, imap_is_utf8(s));
		buf_append(out, SLICE("\r\n"));
	}
	return true;
}

static void
tell_gone(struct imap_session *s, const struct imap_notify_picture *was,
    const struct imap_notify_picture *is)
{
	for (size_t i = 0; i < was->count; i++) {
		const struct imap_notify_box *old = &was->boxes[i];
		if (old->info.exists_not ||
		    imap_notify_picture_find(is, old->account, old->info.number))
			continue;
		unsigned events = wanted(s, old);
		if (events == 0 || tell_no_access(s, old) ||
		    !(events & IMAP_NOTIFY_MAILBOX_NAME))
			continue;
		const struct imap_notify_box *left =
		    imap_notify_picture_named(is, old->info.name);
		struct mailbox_info gone = {.name = old->info.name, .exists_not = true};
		if (left && !left->info.exists_not)
			continue; /* another one has the name already */
		if (left)
			gone = left->info;
		imap_write_list(s, &gone, SLICE_NULL);
		tell_parent(s, was, is, old->info.name);
	}
}

static void
tell_box(struct imap_session *s, const struct imap_notify_picture *was,
    const struct imap_notify_picture *is, const struct imap_notify_box *at)
{
	const struct mailbox_info *box = &at->info;
	const struct imap_notify_box *old =
	    box->exists_not ? NULL
			    : imap_notify_picture_find(was, at->account, box->number);
	const struct imap_notify_box *named = imap_notify_picture_named(was, box->name);
	unsigned events = wanted(s, at);
	bool subscribed_before = named && named->info.subscribed;
	bool told = false;

	if (old)
		events |= wanted(s, old);
	if (!box->exists_not && (events & IMAP_NOTIFY_MAILBOX_NAME)) {
		bool renamed = old && !slice_equal(old->info.name, box->name);
		if (!old || (renamed && !moved_with_parent(was, is, old, at))) {
			imap_write_list(s, box, old ? old->info.name : SLICE_NULL);
			tell_parent(s, was, is, box->name);
			told = true;
		}
	}
	if (!told && (events & IMAP_NOTIFY_SUBSCRIPTION) &&
	    subscribed_before != box->subscribed && (named || box->subscribed))
		imap_write_list(s, box, SLICE_NULL);
	struct mailbox_info empty = {.uidnext = 1};
	if (!box->exists_not)
		tell_messages(s, events, old ? &old->info : &empty, at);
}

/* A name that was only subscribed and is it no more is not there at all now. */
static void
tell_unsubscribed(struct imap_session *s, const struct imap_notify_picture *was,
    const struct imap_notify_picture *is)
{
	for (size_t i = 0; i < was->count; i++) {
		const struct imap_notify_box *old = &was->boxes[i];
		struct mailbox_info gone = {.name = old->info.name, .exists_not = true};
		if (old->info.subscribed &&
		    !imap_notify_picture_named(is, old->info.name) &&
		    imap_same_account(old->account, s->account) &&
		    (wanted(s, old) & IMAP_NOTIFY_SUBSCRIPTION))
			imap_write_list(s, &gone, SLICE_NULL);
	}
}

/* ---- watches ---- */

static void
owners_unwatch(struct imap_notify *n)
{
	for (size_t i = 0; n->owners && i < n->picture.owner_count; i++)
		store_watch_free(&n->owners[i]);
	free(n->owners);
	n->owners = NULL;
}

/* The picture is replaced, and with it whose changes are heard of. */
static void
picture_set(struct imap_session *s, const struct imap_notify_picture *now)
{
	struct imap_notify *n = s->notify;
	size_t bytes = now->owner_count * sizeof(now->owners[0]);
	bool same = n->picture.owner_count == now->owner_count &&
	            (bytes == 0 || memcmp(n->picture.owners, now->owners, bytes) == 0);

	if (!same)
		owners_unwatch(n);
	imap_notify_picture_free(&n->picture);
	n->picture = *now;
	if (same || now->owner_count == 0)
		return;
	n->owners = xcalloc(now->owner_count, sizeof(n->owners[0]));
	for (size_t i = 0; i < now->owner_count; i++)
		n->owners[i] =
		    store_watch_new(imap_reader(s), now->owners[i], imap_notify_hint, s);
}

static void
notify_overflow(struct imap_session *s)
{
	struct imap_notify *n = s->notify;

	buf_append(imap_out(s),
	    SLICE("* OK [NOTIFICATIONOVERFLOW] too many mailboxes to watch\r\n"));
	store_watch_free(&n->watch);
	store_watch_free(&n->directory);
	owners_unwatch(n);
	loop_timer_stop(&n->timer);
	n->selected = 0;
	n->others = n->changed = false;
	n->group_count = 0;
	imap_notify_picture_free(&n->picture);
}

static void
tell_others(struct imap_session *s)
{
	struct imap_notify *n = s->notify;
	struct imap_notify_picture now;

	enum status status = imap_notify_picture_take(s, n->shared, &now);
	if (status == STATUS_LIMIT)
		notify_overflow(s);
	if (status != STATUS_OK)
		return;
	tell_gone(s, &n->picture, &now);
	tell_unsubscribed(s, &n->picture, &now);
	for (size_t i = 0; i < now.count; i++)
		tell_box(s, &n->picture, &now, &now.boxes[i]);
	picture_set(s, &now);
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
	store_watch_free(&n->directory);
	owners_unwatch(n);
	loop_timer_stop(&n->timer);
	imap_notify_picture_free(&n->picture);
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

/* PERSONAL and INBOXES never do (RFC 5465 section 6). */
static bool
may_name_shared(struct imap_session *s, const struct imap_source *source)
{
	if (source->filter == IMAP_SOURCE_SUBSCRIBED)
		return imap_conf(s)->imap.sharing != CONF_SHARING_NONE;
	for (size_t i = 0; i < source->name_count; i++)
		if (imap_box_is_foreign(s, source->names[i]))
			return true;
	return false;
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
		n->shared |= may_name_shared(s, &n->groups[n->group_count - 1].source);
	}
	if (!ok)
		imap_notify_free(&n);
	return n;
}

static void
write_statuses(struct imap_session *s)
{
	const struct imap_notify_picture *p = &s->notify->picture;
	const unsigned items =
	    IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY;

	for (size_t i = 0; i < p->count; i++) {
		const struct imap_notify_box *box = &p->boxes[i];
		unsigned events = wanted(s, box);
		/* With FlagChange also when CONDSTORE is not on (RFC 5465 section 3.1).
		 */
		bool modseq = imap_is_condstore(s) || (events & IMAP_NOTIFY_FLAG_CHANGE);
		if (!box->info.exists_not &&
		    !imap_is_selected(s, box->account, box->info.number) &&
		    (events & IMAP_NOTIFY_MESSAGE_EVENTS))
			imap_write_status(s, box->account, &box->info,
			    items | (modseq ? IMAP_STATUS_HIGHESTMODSEQ : 0));
	}
}

enum cmd_result
imap_run_notify(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_notify_args *args = cmd->u.notify;
	struct imap_notify_picture picture = {.arena = NULL};

	if (args->unknown_event)
		return imap_cmd_finish(s, cmd, IMAP_NO,
		    "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName "
		    "SubscriptionChange MailboxMetadataChange ServerMetadataChange)",
		    "an event is not known here");
	struct imap_notify *n = notify_new(s, args);
	enum status status = n ? STATUS_OK : STATUS_LIMIT;
	if (n && n->others)
		status = imap_notify_picture_take(s, n->shared, &picture);
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
		imap_notify_picture_free(&picture);
		return CMD_CLOSE;
	}
	imap_notify_free(&s->notify);
	s->notify = n;
	picture_set(s, &picture);
	if (!args->none)
		n->watch =
		    store_watch_new(imap_reader(s), s->account, imap_notify_hint, s);
	if (n->shared)
		n->directory = store_watch_directory(imap_reader(s), imap_notify_hint, s);
	imap_metadata_unwatch(s);
	if ((imap_notify_events(s, s->account, NULL) &
		(IMAP_NOTIFY_MAILBOX_METADATA | IMAP_NOTIFY_SERVER_METADATA)) &&
	    imap_metadata_watch(s) != STATUS_OK)
		notify_overflow(s);
	if (args->status)
		write_statuses(s);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "NOTIFY completed");
}
