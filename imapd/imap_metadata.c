/*
 * Annotations: METADATA responses with values, and without (changes of others).
 *
 * The server's shared entries come from the configuration; everything else lies in the
 * store.  "/private/specialuse" is the mailbox's special use (RFC 6154 section 4) and is
 * made up when it is asked for.
 *
 * Invariant: the picture is what the client was told or has seen itself; it is replaced
 * only in step with the responses written.  Thread: the worker's loop.
 */
#include "imapd/imap_metadata.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/hashmap.h"
#include "imapd/imap_int.h"

/* ---- values ---- */

struct metadata_run {
	struct imap_session *s;
	const struct imap_metadata_args *args;
	struct slice name; /* the mailbox's; empty for the server */
	bool *found;       /* by entry */
	bool open;         /* the response has begun */
	uint64_t longest;
};

static void
response_open(struct metadata_run *run)
{
	struct buf *out = imap_out(run->s);

	if (run->open) {
		buf_append_byte(out, ' ');
		return;
	}
	run->open = true;
	buf_append(out, SLICE("* METADATA "));
	imap_resp_mailbox(out, run->name, imap_is_utf8(run->s));
	buf_append(out, SLICE(" ("));
}

static bool
is_wanted(const struct imap_metadata_entry *entry, enum imap_metadata_depth depth,
    struct slice name)
{
	if (slice_equal(name, entry->name))
		return true;
	if (depth == IMAP_METADATA_DEPTH_0 || !slice_has_prefix(name, entry->name) ||
	    name.ptr[entry->name.len] != '/')
		return false;
	return depth == IMAP_METADATA_DEPTH_INFINITY ||
	       slice_index(slice_from(name, entry->name.len + 1), '/') == SIZE_MAX;
}

static void
value_write(struct metadata_run *run, struct slice name, struct slice value)
{
	const struct imap_metadata_args *args = run->args;
	struct buf *out = imap_out(run->s);
	bool wanted = false;

	for (size_t i = 0; i < args->count; i++) {
		if (!is_wanted(&args->entries[i], args->depth, name))
			continue;
		wanted = true;
		if (slice_equal(name, args->entries[i].name)) {
			run->found[i] = true;
			name = args->entries[i].raw; /* in the client's own letters */
			break;
		}
	}
	if (!wanted)
		return;
	if (args->has_maxsize && value.len > args->maxsize) {
		if (value.len > run->longest)
			run->longest = value.len;
		return;
	}
	response_open(run);
	imap_resp_astring(out, name, false);
	buf_append_byte(out, ' ');
	imap_resp_string(out, value, imap_is_utf8(run->s));
}

static bool
item_write(const struct metadata_item *item, void *arg)
{
	value_write(arg, item->entry, item->value);
	return true;
}

static void
computed_write(struct metadata_run *run, const struct mailbox_info *box)
{
	const struct conf *conf = imap_conf(run->s);
	struct slice admin = slice_from_cstr(conf->imap.admin_uri);
	struct slice comment = slice_from_cstr(conf->imap.comment);

	if (box && box->use != 0) {
		AUTO_BUF struct buf use;
		buf_init(&use, 256);
		imap_write_uses(&use, box->use);
		value_write(run, SLICE("/private/specialuse"), buf_slice(&use));
	}
	if (!box && admin.len > 0)
		value_write(run, SLICE("/shared/admin"), admin);
	if (!box && comment.len > 0)
		value_write(run, SLICE("/shared/comment"), comment);
}

enum status
imap_metadata_write(struct imap_session *s, struct account_id account,
    const struct mailbox_info *box, const struct imap_metadata_args *args,
    uint64_t *out_longest)
{
	static const struct account_id shared;
	bool found[IMAP_METADATA_ENTRIES_MAX] = {false};
	struct metadata_run run = {
	    .s = s, .args = args, .name = box ? box->name : SLICE(""), .found = found};
	uint32_t number = box ? box->number : METADATA_ACCOUNT;
	enum status status = STATUS_OK;

	computed_write(&run, box);
	if (box)
		status = metadata_each(
		    imap_reader(s), account, number, shared, item_write, &run);
	if (status == STATUS_OK)
		status = metadata_each(
		    imap_reader(s), account, number, s->account, item_write, &run);
	*out_longest = run.longest;
	/* What was asked for by its name and has no value. */
	for (size_t i = 0; args->depth == IMAP_METADATA_DEPTH_0 && i < args->count; i++) {
		if (found[i])
			continue;
		response_open(&run);
		imap_resp_astring(imap_out(s), args->entries[i].raw, false);
		buf_append(imap_out(s), SLICE(" NIL"));
	}
	if (run.open)
		buf_append(imap_out(s), SLICE(")\r\n"));
	return status;
}

/* ---- pictures ---- */

struct seen_item {
	uint32_t mailbox;
	bool shared;
	struct slice entry;
	uint64_t change;
};

struct picture {
	struct arena *arena;
	struct seen_item *items; /* shared before private in each mailbox, by name */
	size_t count, room;
	uint64_t last; /* change of the account */
	uint64_t conf; /* hash of what the configuration says */
	bool full;
};

struct imap_metadata_watch {
	struct picture picture;
	struct store_watch *watch;
	bool pending; /* there was no room for the output */
};

struct taking {
	struct picture picture;
	struct account_id user;
};

static bool
take_item(const struct metadata_item *item, void *arg)
{
	static const struct account_id nobody;
	struct taking *t = arg;
	struct picture *p = &t->picture;
	bool shared = memcmp(item->user.v, nobody.v, sizeof(nobody.v)) == 0;

	if (!shared && memcmp(item->user.v, t->user.v, sizeof(nobody.v)) != 0)
		return true;
	if (p->count == p->room) {
		size_t room = p->room ? p->room * 2 : 16;
		struct seen_item *grown = ARENA_ARRAY(p->arena, struct seen_item, room);
		if (grown && p->count)
			memcpy(grown, p->items, p->count * sizeof(*grown));
		p->items = grown;
		p->room = grown ? room : 0;
	}
	struct slice entry = arena_copy(p->arena, item->entry);
	p->full = !p->items || !entry.ptr;
	if (!p->full)
		p->items[p->count++] =
		    (struct seen_item){item->mailbox, shared, entry, item->change};
	return !p->full;
}

static void
picture_free(struct picture *p)
{
	arena_free(&p->arena);
	*p = (struct picture){.arena = NULL};
}

static uint64_t
conf_hash(const struct imap_session *s)
{
	const struct conf *conf = imap_conf(s);
	return hash_stable(slice_from_cstr(conf->imap.admin_uri)) * 31 +
	       hash_stable(slice_from_cstr(conf->imap.comment));
}

static enum status
picture_take(struct imap_session *s, struct picture *out)
{
	struct taking t = {.picture = {.arena = arena_new(IMAP_METADATA_PICTURE_MAX)},
	    .user = s->account};

	enum status status =
	    metadata_last_change(imap_reader(s), s->account, &t.picture.last);
	if (status == STATUS_OK)
		status = metadata_each_all(imap_reader(s), s->account, take_item, &t);
	if (status == STATUS_OK && t.picture.full)
		status = STATUS_LIMIT;
	t.picture.conf = conf_hash(s);
	if (status == STATUS_OK)
		*out = t.picture;
	else
		picture_free(&t.picture);
	return status;
}

/* ---- telling ---- */

struct telling {
	struct imap_session *s;
	const struct metadata_op *own;
	uint32_t mailbox; /* the open response's */
	bool open;
	bool skip; /* its changes are not wanted */
};

static void
telling_close(struct telling *t)
{
	if (t->open)
		buf_append(imap_out(t->s), SLICE("\r\n"));
	t->open = false;
}

static bool
mailbox_wanted(struct imap_session *s, uint32_t number, struct mailbox_info *out)
{
	if (number == METADATA_ACCOUNT)
		return (s->enabled &
			   (IMAP_ENABLED_METADATA | IMAP_ENABLED_METADATA_SERVER)) ||
		       (imap_notify_events(s, s->account, NULL) &
			   IMAP_NOTIFY_SERVER_METADATA);
	if (mailbox_by_number(imap_reader(s), s->account, number, out) != STATUS_OK)
		return false; /* it is gone, and its annotations with it */
	return (s->enabled & IMAP_ENABLED_METADATA) ||
	       (imap_notify_events(s, s->account, out) & IMAP_NOTIFY_MAILBOX_METADATA);
}

static void
tell_entry(struct telling *t, uint32_t mailbox, struct slice entry)
{
	struct buf *out = imap_out(t->s);
	struct mailbox_info box = {.name = SLICE("")};

	if (t->mailbox != mailbox) {
		telling_close(t);
		t->mailbox = mailbox;
		t->skip = !mailbox_wanted(t->s, mailbox, &box);
		if (!t->skip) {
			buf_append(out, SLICE("* METADATA "));
			imap_resp_mailbox(out, box.name, imap_is_utf8(t->s));
			t->open = true;
		}
	}
	if (t->skip)
		return;
	buf_append_byte(out, ' ');
	imap_resp_astring(out, entry, false);
}

/* The session itself has removed it. */
static bool
own_removed(const struct metadata_op *own, const struct seen_item *item)
{
	if (!own || own->mailbox != item->mailbox)
		return false;
	for (size_t i = 0; i < own->count; i++)
		if (own->changes[i].shared == item->shared &&
		    !own->changes[i].value.ptr &&
		    slice_equal(own->changes[i].entry, item->entry))
			return true;
	return false;
}

static int
item_compare(const struct seen_item *a, const struct seen_item *b)
{
	if (a->mailbox != b->mailbox)
		return a->mailbox < b->mailbox ? -1 : 1;
	if (a->shared != b->shared)
		return a->shared ? -1 : 1;
	return slice_compare(a->entry, b->entry);
}

static void
tell_between(struct telling *t, const struct picture *was, const struct picture *is)
{
	size_t a = 0, b = 0;

	while (a < was->count || b < is->count) {
		const struct seen_item *old = a < was->count ? &was->items[a] : NULL;
		const struct seen_item *new = b < is->count ? &is->items[b] : NULL;
		int c = !old ? 1 : !new ? -1 : item_compare(old, new);
		if (c < 0 && !own_removed(t->own, old))
			tell_entry(t, old->mailbox, old->entry);
		if (c > 0 || (c == 0 && old->change != new->change))
			if (!t->own || new->change != t->own->out_change)
				tell_entry(t, new->mailbox, new->entry);
		a += c <= 0;
		b += c >= 0;
	}
	telling_close(t);
}

void
imap_metadata_tell(struct imap_session *s, const struct metadata_op *own)
{
	struct imap_metadata_watch *m = s->metadata;
	struct picture now;
	uint64_t last;

	if (!m)
		return;
	m->pending = false;
	bool same =
	    metadata_last_change(imap_reader(s), s->account, &last) == STATUS_OK &&
	    last == m->picture.last;
	if (same && m->picture.conf == conf_hash(s))
		return;
	if (!own && imap_out_full(s)) {
		m->pending = true;
		return;
	}
	if (picture_take(s, &now) != STATUS_OK)
		return; /* the next look finds it */
	struct telling t = {.s = s, .own = own, .mailbox = UINT32_MAX};
	if (now.conf != m->picture.conf) {
		/* Which of the two it was is not kept. */
		tell_entry(&t, METADATA_ACCOUNT, SLICE("/shared/admin"));
		tell_entry(&t, METADATA_ACCOUNT, SLICE("/shared/comment"));
	}
	tell_between(&t, &m->picture, &now);
	picture_free(&m->picture);
	m->picture = now;
}

void
imap_metadata_again(struct imap_session *s)
{
	struct imap_metadata_watch *m = s->metadata;
	bool between = s->idling ||
	               (imap_notify_events(s, s->account, NULL) &
			   (IMAP_NOTIFY_MAILBOX_METADATA | IMAP_NOTIFY_SERVER_METADATA));

	if (m && between && imap_notify_may_speak(s))
		imap_metadata_tell(s, NULL);
}

static void
on_hint(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	imap_metadata_again(s);
	imap_leave(s);
}

enum status
imap_metadata_watch(struct imap_session *s)
{
	struct picture picture;

	if (s->metadata)
		return STATUS_OK;
	enum status status = picture_take(s, &picture);
	if (status != STATUS_OK)
		return status;
	s->metadata = xcalloc(1, sizeof(*s->metadata));
	s->metadata->picture = picture;
	s->metadata->watch = store_watch_new(imap_reader(s), s->account, on_hint, s);
	return STATUS_OK;
}

void
imap_metadata_watch_free(struct imap_metadata_watch **watch)
{
	struct imap_metadata_watch *m = *watch;

	if (!m)
		return;
	*watch = NULL;
	store_watch_free(&m->watch);
	picture_free(&m->picture);
	free(m);
}

void
imap_metadata_unwatch(struct imap_session *s)
{
	if (!(s->enabled & (IMAP_ENABLED_METADATA | IMAP_ENABLED_METADATA_SERVER)) &&
	    !(imap_notify_events(s, s->account, NULL) &
		(IMAP_NOTIFY_MAILBOX_METADATA | IMAP_NOTIFY_SERVER_METADATA)))
		imap_metadata_watch_free(&s->metadata);
}
