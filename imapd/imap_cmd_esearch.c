/*
 * ESEARCH (RFC 7377): one search over several mailboxes, one answer for each that has
 * messages that match.
 *
 * The mailboxes are listed once, at the beginning; each is then searched by itself, at
 * least one loop turn a mailbox, in an arena of its own that is forgotten behind it.  The
 * search index is asked once for all of them.  One that is gone meanwhile is passed over.
 * More messages altogether than imap_limit are refused.  The selected mailbox is searched
 * as the session sees it, the others as they are.
 *
 * Thread: the worker's loop.
 */
#include <stddef.h>

#include "imapd/imap_cmd_search.h"
#include "imapd/imap_context.h"
#include "imapd/imap_limit.h"

enum {
	BOX_ARENA_MAX = 64 * 1024 * 1024, /* bytes of one mailbox's result */
};

struct esearch {
	struct imap_search_run run;
	struct mailbox_info *boxes; /* names in the command's arena */
	size_t count, room, next;
	size_t foreign; /* boxes from here on: the selected one of another account */
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
is_source(const struct esearch *e, const struct mailbox_info *box)
{
	const struct imap_search_args *args = e->run.args;
	bool selected = imap_is_selected(e->s, e->s->account, box->number);

	if (args->source_count == 0)
		return selected;
	for (size_t i = 0; i < args->source_count; i++)
		if (imap_source_has(&args->sources[i], box) ||
		    (selected && imap_source_is_selected(&args->sources[i])))
			return true;
	return false;
}

static bool
box_add(struct esearch *e, const struct mailbox_info *info)
{
	struct arena *arena = imap_arena(e->s);

	if (e->count == e->room) {
		size_t room = e->room ? e->room * 2 : 16;
		struct mailbox_info *grown =
		    ARENA_ARRAY(arena, struct mailbox_info, room);
		if (!grown) {
			e->full = true;
			return false;
		}
		if (e->count)
			memcpy(grown, e->boxes, e->count * sizeof(*grown));
		e->boxes = grown;
		e->room = room;
	}
	struct mailbox_info *box = &e->boxes[e->count];
	*box = *info;
	box->name = arena_copy(arena, info->name);
	e->full = !box->name.ptr;
	e->count++;
	e->messages += info->exists;
	return !e->full;
}

static bool
collect(const struct mailbox_info *info, void *arg)
{
	struct esearch *e = arg;

	return info->exists_not || !is_source(e, info) || box_add(e, info);
}

/* The selected mailbox when it is somebody else's: the others are one's own. */
static enum status
collect_selected(struct imap_session *s, struct esearch *e)
{
	struct mailbox_info box;

	e->foreign = e->count;
	if (!s->view || imap_same_account(s->box_account, s->account) ||
	    !names_selected(e->run.args))
		return STATUS_OK;
	enum status status = imap_box_selected(s, &box);
	if (status == STATUS_OK)
		(void)box_add(e, &box);
	return status;
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
		const struct mailbox_info *box = &e->boxes[e->next++];
		bool selected =
		    e->next > e->foreign || imap_is_selected(s, s->account, box->number);
		if (!selected &&
		    (box->exists == 0 || mailbox_view_open(imap_reader(s), s->account,
					     box->number, &e->view) != STATUS_OK))
			continue;
		e->seen_selected |= selected;
		e->run.eval.session = selected ? s : NULL;
		e->run.eval.recent_from = imap_is_rev2(s) ? 0 : box->first_recent;
		arena_reset(e->arena);
		if (imap_search_box(s, &e->run, selected ? s->view : e->view, box->number,
			e->arena) != STATUS_OK)
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
	struct mailbox_info box = e->boxes[e->next - 1];
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
	enum status status = mailbox_each(imap_reader(s), s->account, collect, e);
	if (status == STATUS_OK)
		status = collect_selected(s, e);
	if (status != STATUS_OK || e->full)
		return imap_cmd_fail(s, cmd, e->full ? STATUS_LIMIT : status);
	/* One UID would not say where to go on in several mailboxes: all or nothing. */
	if (e->messages > imap_limit(s))
		return imap_search_refuse_limit(s, cmd);
	e->run.progress_goal = e->messages;
	if (e->messages < IMAP_SEARCH_NARROW_MIN)
		e->run.narrow.over = true;
	return box_begin(s, cmd);
}
