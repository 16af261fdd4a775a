/*
 * ESEARCH (RFC 7377): one search over several mailboxes, one answer for each that has
 * messages that match.
 *
 * The mailboxes are listed once, at the beginning; each is then searched by itself, at
 * least one loop turn a mailbox, in an arena of its own that is forgotten behind it.  The
 * search index is asked once for all of them.  One that is gone meanwhile is passed over.
 * Of what others share, a filter finds what may be seen and read (l and r), a name what
 * may be read.  More messages altogether than imap_limit are refused.  The selected
 * mailbox is searched as the session sees it, the others as they are.
 *
 * Thread: the worker's loop.
 */
#include <stddef.h>

#include "base/hashmap.h"
#include "imapd/imap_cmd_search.h"
#include "imapd/imap_context.h"
#include "imapd/imap_limit.h"

enum {
	BOX_ARENA_MAX = 64 * 1024 * 1024, /* bytes of one mailbox's result */
};

struct esearch_box {
	struct account_id account;
	struct mailbox_info info; /* its name in the command's arena */
};

struct esearch {
	struct imap_search_run run;
	struct esearch_box *boxes;
	size_t count, room, next;
	struct hashmap *subscribed; /* names without a mailbox of one's own */
	uint64_t messages;
	struct mailbox_view *view; /* owned; null while the selected one is searched */
	struct arena *arena;       /* of one mailbox */
	bool seen_selected, full;
	enum imap_context_result kept;
	struct imap_session *s;
};

/* Search's own functions find the run in s->cmd_data. */
_Static_assert(offsetof(struct esearch, run) == 0, "the run comes first");

static void
esearch_free(void *user)
{
	struct esearch *e = user;

	mailbox_view_close(&e->view);
	arena_free(&e->arena);
	hashmap_free(&e->subscribed, NULL);
}

/* ---- which mailboxes ---- */

/* Is the selected mailbox searched, whatever its name? */
static bool
names_selected(const struct imap_search_args *args)
{
	for (size_t i = 0; i < args->source_count; i++)
		if (imap_source_is_selected(&args->sources[i]))
			return true;
	return args->source_count == 0;
}

static bool
is_source(
    const struct esearch *e, struct account_id account, const struct mailbox_info *box)
{
	const struct imap_search_args *args = e->run.args;
	bool selected = imap_is_selected(e->s, account, box->number);
	bool own = imap_same_account(account, e->s->account);

	if (args->source_count == 0)
		return selected;
	for (size_t i = 0; i < args->source_count; i++)
		if (imap_source_has(&args->sources[i], box, own) ||
		    (selected && imap_source_is_selected(&args->sources[i])))
			return true;
	return false;
}

static bool
box_add(struct esearch *e, struct account_id account, const struct mailbox_info *info)
{
	struct arena *arena = imap_arena(e->s);

	if (e->count == e->room) {
		size_t room = e->room ? e->room * 2 : 16;
		struct esearch_box *grown = ARENA_ARRAY(arena, struct esearch_box, room);
		if (!grown) {
			e->full = true;
			return false;
		}
		if (e->count)
			memcpy(grown, e->boxes, e->count * sizeof(*grown));
		e->boxes = grown;
		e->room = room;
	}
	struct esearch_box *box = &e->boxes[e->count];
	*box = (struct esearch_box){account, *info};
	box->info.name = arena_copy(arena, info->name);
	e->full = !box->info.name.ptr;
	e->count++;
	e->messages += info->exists;
	return !e->full;
}

static bool
has_box(const struct esearch *e, struct account_id account, uint32_t number)
{
	for (size_t i = 0; i < e->count; i++)
		if (e->boxes[i].info.number == number &&
		    imap_same_account(e->boxes[i].account, account))
			return true;
	return false;
}

static bool
collect(const struct mailbox_info *info, void *arg)
{
	struct esearch *e = arg;

	if (info->exists_not) {
		if (info->subscribed)
			hashmap_put(e->subscribed, info->name, e);
		return true;
	}
	return !is_source(e, e->s->account, info) || box_add(e, e->s->account, info);
}

/* What others share; one's own mailbox of the same name wins. */
static bool
collect_shared(const struct imap_box *box, void *arg)
{
	struct esearch *e = arg;
	struct mailbox_info info = box->info, own;

	if (!(box->rights & ACL_READ) ||
	    mailbox_find(imap_reader(e->s), e->s->account, info.name, &own) == STATUS_OK)
		return true;
	info.subscribed = hashmap_get(e->subscribed, info.name) != NULL;
	return !is_source(e, box->account, &info) || box_add(e, box->account, &info);
}

/* What is named needs r only, not l (RFC 7377 section 2.2). */
static enum status
collect_named(struct imap_session *s, struct esearch *e)
{
	const struct imap_search_args *args = e->run.args;
	struct imap_box box;

	for (size_t i = 0; i < args->source_count; i++) {
		const struct imap_source *source = &args->sources[i];
		if (source->filter != IMAP_SOURCE_MAILBOXES)
			continue;
		for (size_t k = 0; k < source->name_count; k++) {
			enum status status =
			    imap_box_find(s, source->names[k], ACL_READ, &box);
			if (status == STATUS_NOT_FOUND || status == STATUS_DENIED)
				continue;
			if (status != STATUS_OK)
				return status;
			if (!has_box(e, box.account, box.info.number) &&
			    !box_add(e, box.account, &box.info))
				return STATUS_LIMIT;
		}
	}
	return STATUS_OK;
}

/* The selected mailbox when nothing above has named it: somebody else's. */
static enum status
collect_selected(struct imap_session *s, struct esearch *e)
{
	struct mailbox_info box;

	if (!s->view || !names_selected(e->run.args) ||
	    has_box(e, s->box_account, s->mailbox))
		return STATUS_OK;
	enum status status = imap_box_selected(s, &box);
	if (status == STATUS_OK)
		(void)box_add(e, s->box_account, &box);
	return status;
}

static enum status
collect_all(struct imap_session *s, struct esearch *e)
{
	e->subscribed = hashmap_new();
	enum status status = mailbox_each(imap_reader(s), s->account, collect, e);
	if (status == STATUS_OK && e->run.args->beyond_selected)
		status = imap_box_each_shared(s, collect_shared, e);
	if (status == STATUS_OK)
		status = collect_named(s, e);
	if (status == STATUS_OK)
		status = collect_selected(s, e);
	return e->full ? STATUS_LIMIT : status;
}

/* A right that was taken away since. */
static bool
may_read(struct imap_session *s, const struct esearch_box *box)
{
	uint16_t rights;

	return imap_same_account(box->account, s->account) ||
	       (imap_box_rights(s, box->account, box->info.number, &rights) ==
		       STATUS_OK &&
		   (rights & ACL_READ));
}

/* Names that cannot be a mailbox's name none (RFC 7377 section 5: no telling apart). */
static void
names_decode(struct imap_session *s, struct imap_search_args *args)
{
	const char *text;

	for (size_t i = 0; i < args->source_count; i++) {
		struct imap_source *source = &args->sources[i];
		size_t kept = 0;
		for (size_t k = 0; k < source->name_count; k++)
			if (imap_mailbox_decode(
				s, source->names[k], &source->names[kept], &text))
				kept++;
		source->name_count = kept;
	}
}

static bool
needs_selected(const struct imap_search_args *args)
{
	if (args->source_count == 0 || (args->returns & IMAP_RETURN_UPDATE))
		return true;
	for (size_t i = 0; i < args->source_count; i++)
		if (imap_source_is_selected(&args->sources[i]))
			return true;
	return false;
}

/* ---- one after the other ---- */

static enum cmd_result
esearch_finish(struct imap_session *s, struct imap_command *cmd)
{
	struct esearch *e = s->cmd_data;

	if (!e->seen_selected && (cmd->u.search->returns & IMAP_RETURN_UPDATE))
		e->kept = IMAP_CONTEXT_REFUSED;
	imap_context_tell_refused(s, cmd, e->kept);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "search completed");
}

static enum cmd_result
box_begin(struct imap_session *s, struct imap_command *cmd)
{
	struct esearch *e = s->cmd_data;

	s->resume = box_begin;
	mailbox_view_close(&e->view);
	while (e->next < e->count) {
		const struct esearch_box *at = &e->boxes[e->next++];
		const struct mailbox_info *box = &at->info;
		bool selected = imap_is_selected(s, at->account, box->number);
		if (!selected && (box->exists == 0 || !may_read(s, at) ||
				     mailbox_view_open(imap_reader(s), at->account,
					 box->number, &e->view) != STATUS_OK))
			continue;
		e->seen_selected |= selected;
		e->run.eval.session = selected ? s : NULL;
		e->run.eval.recent_from = imap_is_rev2(s) ? 0 : box->first_recent;
		arena_reset(e->arena);
		if (imap_search_box(s, &e->run, selected ? s->view : e->view, at->account,
			box->number, e->arena) != STATUS_OK)
			return imap_search_fail(s, cmd, STATUS_LIMIT);
		return imap_search_slice(s, cmd);
	}
	return esearch_finish(s, cmd);
}

static enum cmd_result
box_done(struct imap_session *s, struct imap_command *cmd)
{
	struct esearch *e = s->cmd_data;
	struct imap_search_run *run = &e->run;
	struct mailbox_info box = e->boxes[e->next - 1].info;
	enum status status = STATUS_OK;

	if (run->view == s->view) {
		e->kept = imap_context_keep(s, cmd, run->uids, run->count);
		status = imap_search_save(s, run);
	}
	if (status != STATUS_OK)
		return imap_search_fail(s, cmd, status);
	run->progress_before += box.exists;
	run->walk.examined = 0;
	box.uidvalidity = mailbox_view_uidvalidity(run->view);
	if (run->count)
		imap_write_esearch(s, cmd, run, &box, run->uids, run->count);
	s->resume = box_begin;
	return CMD_AGAIN;
}

enum cmd_result
imap_run_esearch(struct imap_session *s, struct imap_command *cmd)
{
	struct esearch *e = ARENA_NEW(s->arena, struct esearch);
	struct imap_search_args *args = cmd->u.search;
	enum cmd_result refused;

	if (!s->view && needs_selected(args))
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "no mailbox is selected");
	e->s = s;
	e->arena = arena_new(BOX_ARENA_MAX);
	e->run = (struct imap_search_run){
	    .args = args,
	    .done = box_done,
	    .user = e,
	    .user_free = esearch_free,
	};
	names_decode(s, args);
	if (!imap_search_prepare(s, cmd, &e->run, &refused))
		return refused;
	enum status status = collect_all(s, e);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	/* One UID would not say where to go on in several mailboxes: all or nothing. */
	if (e->messages > imap_limit(s))
		return imap_search_refuse_limit(s, cmd);
	e->run.progress_goal = e->messages;
	if (e->messages < IMAP_SEARCH_NARROW_MIN)
		e->run.narrow.over = true;
	return box_begin(s, cmd);
}
