/*
 * SORT and UID SORT (RFC 5256, RFC 5957, RFC 5267 section 3): a search whose result is
 * ordered by keys of the index record.  Ties go by UID.
 */
#include <stdlib.h>

#include "imapd/imap_cmd_search.h"
#include "text/encoding.h"

enum { SORT_KEY_MAX = 64 * 1024 /* bytes of one text key; records hold far less */ };

union sort_value {
	int64_t number;
	struct slice text; /* folded */
};

struct sort_state {
	const struct imap_search_args *args;
	union sort_value *values; /* sort_count for each message found */
	uint32_t *order;          /* places in run->uids */
};

static bool
is_text(enum imap_sort_by by)
{
	return by != IMAP_SORT_ARRIVAL && by != IMAP_SORT_DATE && by != IMAP_SORT_SIZE;
}

static struct slice
text_of(enum imap_sort_by by, const struct message_index *index)
{
	switch (by) {
	case IMAP_SORT_CC:
		return index->cc_key;
	case IMAP_SORT_FROM:
		return index->from_key;
	case IMAP_SORT_TO:
		return index->to_key;
	case IMAP_SORT_SUBJECT:
		return index->subject_key;
	case IMAP_SORT_DISPLAYFROM:
		return index->from_display;
	case IMAP_SORT_DISPLAYTO:
		return index->to_display;
	case IMAP_SORT_ARRIVAL:
	case IMAP_SORT_DATE:
	case IMAP_SORT_SIZE:
		break;
	}
	return SLICE_NULL;
}

static int64_t
number_of(enum imap_sort_by by, const struct message_record *record,
    const struct message_index *index)
{
	if (by == IMAP_SORT_SIZE)
		return (int64_t)record->size;
	/* RFC 5256 section 2.2: without a valid Date the internal date stands in. */
	if (by == IMAP_SORT_DATE && index->date_s != INT64_MIN)
		return index->date_s;
	return record->internaldate_s;
}

/* Compared by i;unicode-casemap (RFC 5255 section 4.4, RFC 5256 section 2.2). */
static bool
text_copy(struct arena *arena, struct slice text, struct slice *out)
{
	AUTO_BUF struct buf key;

	buf_init(&key, SORT_KEY_MAX);
	utf8_collation_key(text, &key);
	*out = arena_copy(arena, key.len ? buf_slice(&key) : SLICE(""));
	return out->ptr && buf_ok(&key);
}

static bool
sort_match(struct imap_session *s, uint32_t at, const struct message_record *record,
    const struct message_index *index)
{
	struct imap_search_run *run = s->cmd_data;
	const struct sort_state *state = run->user;
	size_t keys = state->args->sort_count;
	union sort_value *values = state->values + (size_t)at * keys;

	for (size_t i = 0; i < keys; i++) {
		enum imap_sort_by by = state->args->sort[i].by;
		if (!is_text(by))
			values[i].number = number_of(by, record, index);
		else if (!text_copy(s->arena, text_of(by, index), &values[i].text))
			return false;
	}
	state->order[at] = at;
	return true;
}

static int
order_compare(const void *a, const void *b, void *arg)
{
	const struct sort_state *state = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	size_t keys = state->args->sort_count;
	const union sort_value *x = state->values + (size_t)i * keys;
	const union sort_value *y = state->values + (size_t)j * keys;

	for (size_t k = 0; k < keys; k++) {
		const struct imap_sort_key *key = &state->args->sort[k];
		int c = is_text(key->by)            ? slice_compare(x[k].text, y[k].text)
		        : x[k].number < y[k].number ? -1
		                                    : x[k].number > y[k].number;
		if (c)
			return key->reverse ? -c : c;
	}
	return i < j ? -1 : i > j; /* places ascend with UIDs */
}

static enum cmd_result
sort_done(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_search_run *run = s->cmd_data;
	struct sort_state *state = run->user;
	uint32_t *numbers = state->order;

	enum status status = imap_search_save(s, run);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	qsort_r(state->order, run->count, sizeof(state->order[0]), order_compare, state);
	imap_search_to_numbers(s, cmd, run->uids, run->count);
	for (uint32_t i = 0; i < run->count; i++)
		numbers[i] = run->uids[state->order[i]];
	if (run->args->has_return)
		imap_write_esearch(s, cmd, run, numbers, run->count);
	else
		imap_write_numbers(s, SLICE("SORT"), numbers, run->count,
		    run->args->has_modseq ? run->modseq_highest : 0);
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
	    ARENA_ARRAY(s->arena, union sort_value, (exists + 1) * args->sort_count);
	if (!state->order || !state->values)
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	return imap_search_begin(s, cmd, sort_done, sort_match, NULL, state);
}
