/*
 * Progress of long commands.  Searches count the messages looked at; a command that waits
 * for the store knows no number: a commit is done or not.  Nothing is told before login,
 * nor to a client that INPROGRESS is masked from.
 *
 * Thread: the worker's loop.
 */
#include "imapd/imap_progress.h"

#include "base/clock.h"
#include "imapd/imap_mask.h"

static bool
is_told(const struct imap_session *s)
{
	return s->login && s->conn && !s->closing && s->cmd && s->cmd->tag.ptr &&
	       !(s->masked & imap_capability_bit(SLICE("INPROGRESS")));
}

static void
tell(struct imap_session *s, uint64_t done, uint64_t goal)
{
	struct buf *out = imap_out(s);

	buf_append(out, SLICE("* OK [INPROGRESS ("));
	/* A tag with "]" would end the code (RFC 9585 section 4). */
	if (slice_index(s->cmd->tag, ']') == SIZE_MAX)
		imap_resp_string(out, s->cmd->tag, false);
	else
		buf_append(out, SLICE("NIL"));
	if (goal)
		buf_append_format(out, " %llu %llu)] still searching\r\n",
		    (unsigned long long)done, (unsigned long long)goal);
	else
		buf_append(out, SLICE(" NIL NIL)] still at work\r\n"));
}

void
imap_progress(struct imap_session *s, uint64_t *told_ms, uint64_t done, uint64_t goal)
{
	uint64_t now_ms = clock_mono_ms();

	if (*told_ms == 0)
		*told_ms = now_ms;
	/* RFC 9585 section 4: never when all is done. */
	if (goal && done >= goal)
		return;
	if (now_ms - *told_ms < IMAP_PROGRESS_MS || !is_told(s) || imap_out_full(s))
		return;
	*told_ms = now_ms;
	tell(s, done, goal);
}

void
imap_progress_wait(struct imap_session *s)
{
	if (is_told(s))
		conn_deadline(s->conn, IMAP_PROGRESS_MS);
}

void
imap_progress_waiting(struct imap_session *s)
{
	if (is_told(s) && !imap_out_full(s))
		tell(s, 0, 0);
	imap_progress_wait(s);
}
