/*
 * Searching in slices: first turns that ask the search index, then turns that walk the
 * mailbox, each of IMAP_SEARCH_TURN_RECORDS records or IMAP_SEARCH_TURN_WORK bytes of
 * text.
 *
 * A message that is damaged is left out of the result; one whose text is over the limit
 * fails the command, because there is no exact answer then.  A search that fails empties
 * "$" when it was to be saved (RFC 5182 section 2.1).
 */
#include "imapd/imap_search_run.h"

#include "base/clock.h"
#include "imapd/imap_context.h"
#include "imapd/imap_limit.h"
#include "imapd/imap_progress.h"

static void
search_cleanup(struct imap_session *s)
{
	struct imap_search_run *run = s->cmd_data;
	if (run->eval_ready)
		imap_search_eval_fini(&run->eval);
	run->eval_ready = false;
	imap_search_narrow_fini(&run->narrow);
	if (run->user_free)
		run->user_free(run->user);
	run->user_free = NULL;
}

static bool
look_at(struct imap_session *s, const struct message_record *record, uint32_t msn)
{
	struct imap_search_run *run = s->cmd_data;
	struct imap_search_eval *eval = &run->eval;
	(void)msn;

	if (imap_search_match(eval, run->args->root, record) && run->count < run->max) {
		if (run->count == 0)
			run->modseq_first = record->modseq;
		run->modseq_last = record->modseq;
		eval->text.work += IMAP_SEARCH_MATCH_WORK;
		if (record->modseq > run->modseq_highest)
			run->modseq_highest = record->modseq;
		if (run->scores)
			run->scores[run->count] =
			    (uint8_t)imap_search_score(eval, run->args->root);
		if (run->match) {
			const struct message_index *index = imap_search_index(eval);
			if (index && !run->match(s, run->count, record, index))
				run->failed = STATUS_LIMIT;
			if (!index) {
				imap_search_done(eval);
				return true;
			}
		}
		run->uids[run->count++] = record->uid;
	}
	imap_search_done(eval);
	return eval->text.work < IMAP_SEARCH_TURN_WORK && run->failed == STATUS_OK;
}

enum cmd_result
imap_search_fail(struct imap_session *s, struct imap_command *cmd, enum status status)
{
	if (cmd->u.search->returns & IMAP_RETURN_SAVE)
		imap_saved_set(s, NULL);
	if (cmd->u.search->returns & IMAP_RETURN_UPDATE)
		(void)imap_context_cancel(s, cmd->tag);
	return imap_cmd_fail(s, cmd, status);
}

enum cmd_result
imap_search_slice(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_search_run *run = s->cmd_data;
	struct slice names[MAILBOX_KEYWORDS_MAX];
	enum status status;

	s->resume = imap_search_slice;
	imap_progress(s, &run->told_ms, run->progress_before + run->walk.examined,
	    run->progress_goal);
	if (!imap_search_narrow_run(&run->narrow, imap_reader(s), run->account))
		return CMD_AGAIN;
	size_t name_count =
	    mailbox_keywords(imap_reader(s), run->account, run->mailbox, names);
	imap_search_keywords(run->args->root, names, name_count);
	run->eval.text.work = 0;
	bool ended = imap_walk_run(s, &run->walk, look_at, &status);
	if (run->failed == STATUS_OK)
		run->failed = status;
	if (run->failed == STATUS_OK && run->eval.status == STATUS_LIMIT)
		run->failed = STATUS_LIMIT;
	if (run->failed != STATUS_OK) {
		return imap_search_fail(s, cmd, run->failed);
	}
	if (!ended)
		return CMD_AGAIN;
	return run->done(s, cmd);
}

/* A set that must hold anyway (AND at the top) says where to look. */
static void
ranges_from_keys(struct imap_search_run *run, const struct mailbox_view *view)
{
	uint32_t best = mailbox_view_count(view);
	for (const struct imap_search_node *n = run->args->root->child; n; n = n->next) {
		if (n->key != IMAP_SEARCH_MSN && n->key != IMAP_SEARCH_UID)
			continue;
		uint32_t count = imap_uid_ranges_count(&n->ranges, view);
		if (count < best || count == 0) {
			best = count;
			run->ranges = n->ranges;
		}
	}
	run->max = best;
}

bool
imap_search_prepare(struct imap_session *s, struct imap_command *cmd,
    struct imap_search_run *run, enum cmd_result *out_refused)
{
	struct imap_search_args *args = run->args;

	s->cmd_data = run;
	s->cleanup = search_cleanup;
	run->narrow.over = true;
	if (args->bad_charset) {
		if (args->returns & IMAP_RETURN_SAVE)
			imap_saved_set(s, NULL);
		*out_refused = imap_cmd_finish(s, cmd, IMAP_NO,
		    "BADCHARSET (US-ASCII UTF-8)", "that charset is not known here");
		return false;
	}
	if (args->has_numbers && imap_is_uidonly(s)) {
		*out_refused = imap_cmd_finish(s, cmd, IMAP_BAD, "UIDREQUIRED",
		    "message numbers are not used any more: ALL or UID");
		return false;
	}
	if ((args->returns & IMAP_RETURN_UPDATE) && imap_context_has_tag(s, cmd->tag)) {
		*out_refused = imap_cmd_finish(s, cmd, IMAP_BAD, NULL,
		    "a search of this tag is kept up to date already");
		return false;
	}
	if (args->has_modseq)
		imap_condstore_on(s);
	imap_search_eval_init(&run->eval, imap_reader(s), s->account, s, clock_wall_s());
	run->eval_ready = true;
	run->eval.narrow = &run->narrow;
	imap_search_narrow_init(&run->narrow, args->root);
	return true;
}

enum status
imap_search_box(struct imap_session *s, struct imap_search_run *run,
    const struct mailbox_view *view, struct account_id account, uint32_t mailbox,
    struct arena *arena)
{
	struct imap_search_args *args = run->args;
	struct uid_range *all = ARENA_NEW(arena, struct uid_range);

	*all = (struct uid_range){1, UINT32_MAX};
	run->view = view;
	/* The index was asked for another account's messages. */
	if (run->mailbox && !imap_same_account(account, run->account)) {
		imap_search_narrow_fini(&run->narrow);
		imap_search_narrow_init(&run->narrow, args->root);
	}
	run->account = account;
	run->eval.account = run->account;
	run->mailbox = mailbox;
	run->ranges = (struct imap_uid_ranges){all, 1};
	run->count = 0;
	run->modseq_first = run->modseq_last = run->modseq_highest = 0;
	enum status status = imap_search_resolve(args->root, view, &s->saved, arena);
	if (status != STATUS_OK)
		return status;
	ranges_from_keys(run, view);
	size_t room = run->max ? run->max : 1;
	run->uids = ARENA_ARRAY(arena, uint32_t, room);
	run->scores = args->needs_score ? ARENA_ARRAY(arena, uint8_t, room) : NULL;
	if (!run->uids || (args->needs_score && !run->scores))
		return STATUS_LIMIT;
	imap_walk_init(&run->walk, view, run->account, mailbox, &run->ranges);
	run->walk.turn_records = IMAP_SEARCH_TURN_RECORDS;
	return STATUS_OK;
}

/* What is over the limit is not looked at; SORT and THREAD would be wrong without it
 * (RFC 9738 sections 3.1, 3.3 and 3.4).  False: refused. */
static bool
search_limit(struct imap_session *s, struct imap_command *cmd,
    struct imap_search_run *run, enum cmd_result *out_refused)
{
	const struct imap_search_args *args = run->args;
	uint32_t limit = imap_limit(s);
	bool partial = args->returns & IMAP_RETURN_PARTIAL;

	if ((partial && args->partial_last - args->partial_first >= limit) ||
	    (run->match && run->max > limit)) {
		*out_refused = imap_search_refuse_limit(s, cmd);
		return false;
	}
	imap_limit_cut(s, cmd, &run->ranges);
	if (cmd->limit)
		run->max = limit;
	run->walk.ranges = run->ranges;
	return true;
}

enum cmd_result
imap_search_refuse_limit(struct imap_session *s, struct imap_command *cmd)
{
	if (cmd->u.search->returns & IMAP_RETURN_SAVE)
		imap_saved_set(s, NULL);
	return imap_limit_refuse(s, cmd, imap_limit(s), 0);
}

enum cmd_result
imap_search_begin(struct imap_session *s, struct imap_command *cmd, imap_run_fn done,
    bool (*match)(struct imap_session *s, uint32_t at,
	const struct message_record *record, const struct message_index *index),
    void (*user_free)(void *user), void *user)
{
	struct imap_search_run *run = ARENA_NEW(s->arena, struct imap_search_run);
	enum cmd_result refused;

	*run = (struct imap_search_run){
	    .args = cmd->u.search,
	    .done = done,
	    .match = match,
	    .user = user,
	    .user_free = user_free,
	};
	if (!imap_search_prepare(s, cmd, run, &refused))
		return refused;
	if (imap_search_box(s, run, s->view, s->box_account, s->mailbox, s->arena) !=
	    STATUS_OK)
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	if (!search_limit(s, cmd, run, &refused))
		return refused;
	run->progress_goal = run->max;
	if (run->max < IMAP_SEARCH_NARROW_MIN)
		run->narrow.over = true;
	return imap_search_slice(s, cmd);
}

void
imap_search_to_numbers(struct imap_session *s, const struct imap_command *cmd,
    uint32_t *uids, uint32_t count)
{
	struct imap_msn_walk msns;

	if (cmd->uid)
		return;
	imap_msn_walk_init(&msns, s->view);
	for (uint32_t i = 0; i < count; i++)
		uids[i] = imap_msn_walk_to(&msns, uids[i]);
}
