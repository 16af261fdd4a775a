/*
 * THREAD and UID THREAD (RFC 5256): a search whose result is put into threads.
 */
#include "imapd/imap_cmd_search.h"
#include "imapd/imap_thread.h"

struct thread_state {
	struct imap_threads *threads;
	struct imap_msn_walk msns;
	bool uid;
};

static void
thread_free(void *user)
{
	struct thread_state *state = user;
	imap_threads_free(&state->threads);
}

static bool
thread_match(struct imap_session *s, uint32_t at, const struct message_record *record,
    const struct message_index *index)
{
	struct imap_search_run *run = s->cmd_data;
	struct thread_state *state = run->user;
	int64_t date_s =
	    index->date_s != INT64_MIN ? index->date_s : record->internaldate_s;
	(void)at;
	/* The view's numbers stand still while a command by number runs. */
	uint32_t number =
	    state->uid ? record->uid : imap_msn_walk_to(&state->msns, record->uid);
	return imap_threads_add(state->threads, number, date_s, record->internaldate_s,
	    index->subject_key, index->subject_is_reply, index->message_id,
	    index->references);
}

static enum cmd_result
thread_done(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_search_run *run = s->cmd_data;
	struct thread_state *state = run->user;
	struct buf *out = imap_out(s);
	size_t start = out->len;

	buf_append(out, SLICE("* THREAD"));
	if (run->count) {
		buf_append_byte(out, ' ');
		if (!imap_threads_write(state->threads, out)) {
			buf_truncate(out, start);
			return imap_cmd_fail(s, cmd, STATUS_LIMIT);
		}
	}
	buf_append(out, SLICE("\r\n"));
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "thread completed");
}

enum cmd_result
imap_run_thread(struct imap_session *s, struct imap_command *cmd)
{
	struct thread_state *state = ARENA_NEW(s->arena, struct thread_state);

	state->uid = cmd->uid;
	state->threads = imap_threads_new(cmd->u.search->thread, s->arena);
	imap_msn_walk_init(&state->msns, s->view);
	if (!state->threads)
		return imap_cmd_fail(s, cmd, STATUS_LIMIT);
	return imap_search_begin(s, cmd, thread_done, thread_match, thread_free, state);
}
