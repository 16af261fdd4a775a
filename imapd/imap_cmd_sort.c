/*
 * SORT and UID SORT (RFC 5256, RFC 5957, RFC 5267 section 3): a search whose result is
 * ordered by keys of the index record.  Ties go by UID.
 */
#include <stdlib.h>

#include "imapd/imap_cmd_search.h"
#include "imapd/imap_context.h"
#include "imapd/imap_sort_key.h"

struct sort_state {
	const struct imap_search_args *args;
	union imap_sort_value *values; /* sort_count for each message found */
	uint32_t *order;               /* places in run->uids */
};

static bool
sort_match(struct imap_session *s, uint32_t at, const struct message_record *record,
    const struct message_index *index)
{
	struct imap_search_run *run = s->cmd_data;
	const struct sort_state *state = run->user;

	state->order[at] = at;
	return imap_sort_values(state->args, record, index,
	    run->scores ? run->scores[at] : 0, s->arena,
	    state->values + (size_t)at * state->args->sort_count);
}

static int
order_compare(const void *a, const void *b, void *arg)
{
	const struct sort_state *state = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	size_t keys = state->args->sort_count;
	int c = imap_sort_compare(state->args, state->values + (size_t)i * keys,
	    state->values + (size_t)j * keys);

	if (c)
		return c;
	return i < j ? -1 : i > j; /* places ascend with UIDs */
}

static enum cmd_result
sort_done(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_search_run *run = s->cmd_data;
	struct sort_state *state = run->user;
	uint32_t *numbers = state->order;
	const uint8_t *scores = run->scores;

	qsort_r(state->order, run->count, sizeof(state->order[0]), order_compare, state);
	if (scores) {
		run->scores = ARENA_ARRAY(s->arena, uint8_t, run->count + 1);
		if (!run->scores)
			return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	}
	for (uint32_t i = 0; scores && i < run->count; i++)
		run->scores[i] = scores[state->order[i]];
	for (uint32_t i = 0; i < run->count; i++)
		numbers[i] = run->uids[state->order[i]];
	enum imap_context_result kept = imap_context_keep(s, cmd, numbers, run->count);
	enum status status = imap_search_save(s, run);
	if (status != STATUS_OK)
		return imap_search_fail(s, cmd, status);
	/* Not ascending: a walk would look each of them up anyway. */
	for (uint32_t i = 0; i < run->count && !cmd->uid; i++)
		numbers[i] = mailbox_view_msn(s->view, numbers[i]);
	if (run->args->has_return)
		imap_write_esearch(s, cmd, run, NULL, numbers, run->count);
	else
		imap_write_numbers(s, SLICE("SORT"), numbers, run->count,
		    run->args->has_modseq ? run->modseq_highest : 0);
	imap_context_tell_refused(s, cmd, kept);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "sort completed");
}

enum cmd_result
imap_run_sort(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_search_args *args = cmd->u.search;
	struct sort_state *state = ARENA_NEW(s->arena, struct sort_state);
	size_t exists = mailbox_view_count(s->view);

	state->args = args;
	state->order = ARENA_ARRAY(s->arena, uint32_t, exists + 1);
	state->values =
	    ARENA_ARRAY(s->arena, union imap_sort_value, (exists + 1) * args->sort_count);
	if (!state->order || !state->values)
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	return imap_search_begin(s, cmd, sort_done, sort_match, NULL, state);
}
