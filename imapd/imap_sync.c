/*
 * What a session tells its client unasked: EXPUNGE or VANISHED, EXISTS, RECENT, FETCH, at
 * the moments when RFC 9051 section 7.5.1 allows it; and IDLE, which waits for them.
 *
 * Invariants
 *  1. The view changes only here and in step with what is written, so a message number
 *     means the same on both sides.
 *  2. A hint only marks the session (IDLE looks at once); the truth is the mailbox's
 *     modseq, asked at the end of every command.
 *  3. While expunged messages have to be kept back, nothing is told: the view's modseq
 *     stays, and the next look finds it all again.
 *
 * Thread: the worker's loop.  RFC 2177 (IDLE), RFC 7162 (CONDSTORE, QRESYNC).
 */
#include "imapd/imap_int.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "imapd/imap_context.h"

enum {
	SYNC_ARENA_MAX = 64 * 1024 * 1024, /* bytes */
};

/* ---- flags ---- */

static void
write_keyword_list(struct imap_session *s, const struct slice *names, size_t count)
{
	struct buf *out = imap_out(s);
	uint64_t all = count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;

	buf_append(out, SLICE("* FLAGS "));
	imap_resp_flags(out, MESSAGE_FLAGS_ALL, all, names, count, false);
	buf_append(out, SLICE("\r\n* OK [PERMANENTFLAGS "));
	bool keywords;
	uint8_t flags = imap_box_flags(s->rights, &keywords);
	if (s->read_only || flags == 0) {
		buf_append(out, SLICE("()] no flag can be changed\r\n"));
		return;
	}
	imap_resp_flags(out, flags, keywords ? all : 0, names, count, false);
	buf_truncate(out, out->len > 0 ? out->len - 1 : 0); /* the ")" */
	if (keywords && count < MAILBOX_KEYWORDS_MAX)
		buf_append(out, SLICE(" \\*"));
	buf_append(out, SLICE(")] flags that can be changed\r\n"));
}

void
imap_write_flags_list(struct imap_session *s)
{
	struct slice names[MAILBOX_KEYWORDS_MAX];
	size_t count =
	    mailbox_keywords(imap_reader(s), s->box_account, s->mailbox, names);

	s->keyword_count = (uint8_t)count;
	write_keyword_list(s, names, count);
}

size_t
imap_keywords(struct imap_session *s, struct slice out[MAILBOX_KEYWORDS_MAX])
{
	size_t count = mailbox_keywords(imap_reader(s), s->box_account, s->mailbox, out);

	if (count > s->keyword_count) {
		s->keyword_count = (uint8_t)count;
		write_keyword_list(s, out, count);
	}
	return count;
}

void
imap_write_fetch_head(struct imap_session *s, uint32_t msn, uint32_t uid)
{
	struct buf *out = imap_out(s);

	buf_append(out, SLICE("* "));
	buf_append_u64(out, imap_is_uidonly(s) ? uid : msn);
	buf_append(out, imap_is_uidonly(s) ? SLICE(" UIDFETCH (") : SLICE(" FETCH ("));
}

void
imap_write_flags(struct imap_session *s, uint32_t msn, uint32_t uid, uint8_t flags,
    uint64_t keywords, uint64_t modseq, bool with_uid, const struct slice *names,
    size_t name_count)
{
	struct buf *out = imap_out(s);

	imap_write_fetch_head(s, msn, uid);
	if (!imap_is_uidonly(s) &&
	    (with_uid || imap_is_rev2(s) || (s->enabled & IMAP_ENABLED_QRESYNC))) {
		buf_append(out, SLICE("UID "));
		buf_append_u64(out, uid);
		buf_append_byte(out, ' ');
	}
	buf_append(out, SLICE("FLAGS "));
	imap_resp_flags(out, flags, keywords, names, name_count, imap_is_recent(s, uid));
	if (imap_is_condstore(s)) {
		buf_append(out, SLICE(" MODSEQ ("));
		buf_append_u64(out, modseq);
		buf_append_byte(out, ')');
	}
	buf_append(out, SLICE(")\r\n"));
}

void
imap_condstore_on(struct imap_session *s)
{
	if (imap_is_condstore(s))
		return;
	s->enabled |= IMAP_ENABLED_CONDSTORE;
	if (!s->view)
		return;
	buf_append(imap_out(s), SLICE("* OK [HIGHESTMODSEQ "));
	buf_append_u64(imap_out(s), mailbox_view_modseq(s->view));
	buf_append(imap_out(s), SLICE("] mod-sequences are on\r\n"));
}

/* ---- telling ---- */

static void
tell_expunged(struct imap_session *s, const struct mailbox_delta *d)
{
	struct buf *out = imap_out(s);
	bool vanished = s->enabled & (IMAP_ENABLED_QRESYNC | IMAP_ENABLED_UIDONLY);

	if (d->expunged_count == 0)
		return;
	if (vanished) {
		buf_append(out, SLICE("* VANISHED "));
		imap_seqset_write(out, d->expunged, d->expunged_count);
		buf_append(out, SLICE("\r\n"));
	}
	/* From the end, so that the numbers told are those the client has. */
	for (size_t i = d->expunged_count; i-- > 0;) {
		if (!vanished) {
			buf_append(out, SLICE("* "));
			buf_append_u64(out, mailbox_view_msn(s->view, d->expunged[i]));
			buf_append(out, SLICE(" EXPUNGE\r\n"));
		}
		mailbox_view_remove(s->view, d->expunged[i]);
	}
}

static void
tell_added(struct imap_session *s, const struct mailbox_delta *d)
{
	struct buf *out = imap_out(s);
	struct mailbox_info info;

	if (d->added_count == 0)
		return;
	for (size_t i = 0; i < d->added_count; i++)
		mailbox_view_add(s->view, d->added[i]);
	if (mailbox_by_number(imap_reader(s), s->box_account, s->mailbox, &info) ==
	    STATUS_OK) {
		uint32_t first = d->added[0];
		uint32_t last = d->added[d->added_count - 1];
		if (info.first_recent > first)
			first = info.first_recent;
		imap_recent_claim(s, first, last + 1);
	}
	buf_append(out, SLICE("* "));
	buf_append_u64(out, mailbox_view_count(s->view));
	buf_append(out, SLICE(" EXISTS\r\n"));
	if (!imap_is_rev2(s)) {
		buf_append(out, SLICE("* "));
		buf_append_u64(out, imap_recent_count(s));
		buf_append(out, SLICE(" RECENT\r\n"));
	}
	imap_contexts_added(s, d->added, d->added_count);
	imap_notify_fetch(s, d->added, d->added_count);
}

static void
tell_changed(struct imap_session *s, const struct mailbox_delta *d)
{
	struct slice names[MAILBOX_KEYWORDS_MAX];
	struct message_record record;

	if (d->changed_count == 0 || !(imap_notify_selected(s) & IMAP_NOTIFY_FLAG_CHANGE))
		return;
	size_t name_count = imap_keywords(s, names);
	for (size_t i = 0; i < d->changed_count; i++) {
		if (message_get(imap_reader(s), s->box_account, s->mailbox, d->changed[i],
			&record) != STATUS_OK)
			continue;
		if (s->told_modseq != 0 && record.modseq == s->told_modseq)
			continue;
		/* RFC 5465 section 5.1 asks for UID. */
		imap_write_flags(s, mailbox_view_msn(s->view, record.uid), record.uid,
		    record.flags, record.keywords, record.modseq, s->notify != NULL,
		    names, name_count);
	}
}

/* One batch.  False: the mailbox is gone. */
static bool
sync_batch(struct imap_session *s, bool expunge, bool *out_more)
{
	struct imap_worker *w = s->worker;
	struct mailbox_delta d;

	*out_more = false;
	if (!w->sync_arena)
		w->sync_arena = arena_new(SYNC_ARENA_MAX);
	arena_reset(w->sync_arena);
	enum status status = mailbox_view_delta(w->reader, s->view, w->sync_arena,
	    imap_contexts_batch(s, IMAP_SYNC_BATCH), &d);
	if (status == STATUS_NOT_FOUND) {
		imap_bye(s, NULL, "the selected mailbox was deleted");
		return false;
	}
	if (status != STATUS_OK) {
		LOG_ERROR("imap.store", LF_STR("sid", s->id), LF_STR("cmd", "sync"),
		    LF_STR("status", status_text(status)));
		return true;
	}
	if (!expunge && d.expunged_count > 0)
		return true;
	imap_contexts_expunged(s, d.expunged, d.expunged_count);
	tell_expunged(s, &d);
	tell_added(s, &d);
	tell_changed(s, &d);
	imap_contexts_changed(s, d.changed, d.changed_count);
	mailbox_view_set_modseq(s->view, d.modseq);
	*out_more = d.more;
	return true;
}

/* Rights in somebody else's mailbox may have changed (RFC 4314 section 5.1.1).  False: it
 * may no longer be read. */
static bool
rights_refresh(struct imap_session *s)
{
	uint16_t rights;

	if (imap_same_account(s->box_account, s->account))
		return true;
	if (imap_box_rights(s, s->box_account, s->mailbox, &rights) != STATUS_OK)
		rights = 0;
	if (rights == s->rights)
		return true;
	s->rights = rights;
	s->read_only = s->examined || !(rights & IMAP_BOX_WRITES);
	if (!(rights & ACL_READ)) {
		imap_bye(s, NULL, "the selected mailbox may no longer be read");
		return false;
	}
	imap_write_flags_list(s);
	return true;
}

bool
imap_sync(struct imap_session *s, bool expunge)
{
	bool more = true;

	if (!s->view)
		return true;
	if (!rights_refresh(s))
		return false;
	s->changed = false;
	/* What does not fit now is found again at the next command's end. */
	imap_contexts_begin(s);
	while (more && !imap_out_full(s) && !imap_contexts_spent(s))
		if (!sync_batch(s, expunge, &more))
			return false;
	if (more)
		s->changed = true;
	return true;
}

/* ---- IDLE ---- */

static void
on_idle_again(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	s->ops_pending--;
	if (s->conn && s->idling && !s->closing && !imap_out_full(s) && !s->notify)
		imap_hint(s);
	else
		imap_leave(s);
}

void
imap_hint(void *arg)
{
	struct imap_session *s = OBJ_CAST(imap_session, arg, IMAP_SESSION_MAGIC);

	s->changed = true;
	/* With NOTIFY its own hint speaks, for IDLE too (RFC 5465 section 4). */
	if (!s->idling || s->closing || !s->conn || s->notify)
		return;
	if (imap_sync(s, true) && s->changed) {
		s->ops_pending++; /* there is more than one turn's output */
		loop_post(s->worker->loop, on_idle_again, s);
	}
	imap_leave(s);
}

static void
idle_end(struct imap_session *s)
{
	if (!s->idling)
		return;
	s->idling = false;
	stats_sub(s->worker->stats->idle, 1);
	free(s->idle_tag);
	s->idle_tag = NULL;
}

static enum cmd_result
idle_line(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_cmd_row *row = imap_cmd_find(SLICE("IDLE"));

	ENSURE(!cmd && s->idle_tag);
	cmd = imap_command_new(s);
	cmd->row = row;
	cmd->name = SLICE("IDLE");
	cmd->tag = arena_copy(imap_arena(s), slice_from_cstr(s->idle_tag));
	idle_end(s);
	if (!slice_equal_nocase(s->line, SLICE("DONE")))
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL, "expected DONE");
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "IDLE ended");
}

/* While it idles the session keeps nothing but the tag. */
enum cmd_result
imap_run_idle(struct imap_session *s, struct imap_command *cmd)
{
	buf_append(imap_out(s), SLICE("+ idling\r\n"));
	if (imap_notify_selected(s) && !imap_sync(s, true))
		return CMD_CLOSE;
	s->idle_tag = slice_to_cstr(cmd->tag);
	s->idling = true;
	stats_add(s->worker->stats->idle, 1);
	imap_command_rest(s);
	s->resume = idle_line;
	return CMD_LINE;
}
