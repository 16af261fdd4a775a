/*
 * SELECT and EXAMINE with CONDSTORE and QRESYNC, CLOSE, UNSELECT.
 *
 * Everything that SELECT says comes from one read snapshot; only the FETCH responses of a
 * QRESYNC go on in later turns, one slice of records a turn, and what changes meanwhile
 * is told by the next sync.  A session that leaves a mailbox drops its view, watch and
 * "$".
 *
 * Thread: the worker's loop.  RFC 9051 sections 6.3.2, 6.3.3, 6.4.1 and 6.4.2, RFC 3501
 * section 6.3.1 (RECENT, UNSEEN), RFC 7162 sections 3.1.2 and 3.2.5 (CONDSTORE, QRESYNC).
 */
#include "imapd/imap_context.h"
#include "imapd/imap_int.h"

#include <stdlib.h>

#include "base/ensure.h"

enum {
	VANISHED_MAX = 200000,    /* uids taken from the log; above it gaps are told */
	MATCH_PAIRS_MAX = 100000, /* pairs of QRESYNC's sequence match data looked at */
};

struct select_run {
	uint32_t next; /* uid to look at next */
	uint32_t uidnext;
	uint64_t since; /* QRESYNC's modseq */
	struct imap_uid_ranges known;
};

/* ---- leaving ---- */

void
imap_deselect(struct imap_session *s)
{
	store_watch_free(&s->watch);
	mailbox_view_close(&s->view);
	free(s->recent);
	s->recent = NULL;
	s->recent_count = 0;
	imap_saved_set(s, NULL);
	imap_contexts_free(&s->contexts);
	s->keyword_count = 0;
	s->mailbox = 0;
	s->box_account = s->account;
	s->rights = 0;
	s->examined = s->read_only = false;
}

void
imap_saved_set(struct imap_session *s, const struct imap_uid_ranges *ranges)
{
	free(s->saved.ranges);
	s->saved = (struct imap_uid_ranges){NULL, 0};
	if (!ranges || ranges->count == 0)
		return;
	s->saved.ranges = xcalloc(ranges->count, sizeof(*s->saved.ranges));
	s->saved.count = ranges->count;
	memcpy(s->saved.ranges, ranges->ranges, ranges->count * sizeof(*ranges->ranges));
}

/* ---- what SELECT says ---- */

static uint32_t
first_unseen_msn(struct imap_session *s, const struct mailbox_info *info)
{
	uint32_t uid;
	if (info->unseen == 0 || mailbox_first_unseen(imap_reader(s), s->box_account,
				     s->mailbox, &uid) != STATUS_OK)
		return 0;
	return mailbox_view_msn(s->view, uid);
}

static void
write_code_number(struct imap_session *s, const char *code, uint64_t value)
{
	buf_append_format(
	    imap_out(s), "* OK [%s %llu] is so\r\n", code, (unsigned long long)value);
}

static void
write_untagged_number(struct imap_session *s, uint32_t value, const char *what)
{
	buf_append_format(imap_out(s), "* %u %s\r\n", value, what);
}

static void
write_selected(struct imap_session *s, const struct mailbox_info *info, struct slice raw)
{
	struct buf *out = imap_out(s);

	imap_write_flags_list(s);
	write_untagged_number(s, mailbox_view_count(s->view), "EXISTS");
	if (imap_is_rev2(s)) {
		bool same = slice_equal(raw, info->name) ||
		            slice_equal(info->name, SLICE("INBOX"));
		imap_write_list(s, info, same ? SLICE_NULL : raw);
	} else {
		write_untagged_number(s, imap_recent_count(s), "RECENT");
		/* It is a message number. */
		uint32_t unseen = imap_is_uidonly(s) ? 0 : first_unseen_msn(s, info);
		if (unseen > 0)
			write_code_number(s, "UNSEEN", unseen);
	}
	write_code_number(s, "UIDVALIDITY", info->uidvalidity);
	write_code_number(s, "UIDNEXT", info->uidnext);
	write_code_number(s, "HIGHESTMODSEQ", mailbox_view_modseq(s->view));
	buf_append(out, SLICE("* OK [MAILBOXID ("));
	imap_write_mailboxid(s, out, s->box_account, info->number);
	buf_append(out, SLICE(")] is its id\r\n"));
}

/* ---- QRESYNC ---- */

/* The highest uid up to which the client's picture is known to be right: the last pair of
 * number and uid that fits ours (RFC 7162 section 3.2.5.2). */
static uint32_t
matched_uid(struct imap_session *s, const struct imap_select_args *args)
{
	const struct imap_seqset *msns = args->qresync_match_msns;
	const struct imap_seqset *uids = args->qresync_match_uids;
	uint32_t matched = 0;
	size_t m = 0, u = 0;
	uint32_t m_at = 0, u_at = 0; /* offsets inside the ranges */

	if (!msns || !uids)
		return 0;
	for (unsigned i = 0; i < MATCH_PAIRS_MAX; i++) {
		if (m == msns->count || u == uids->count)
			break;
		uint32_t msn = msns->ranges[m].first + m_at;
		uint32_t uid = uids->ranges[u].first + u_at;
		if (mailbox_view_uid(s->view, msn) != uid)
			break;
		matched = uid;
		m_at++;
		u_at++;
		if (msn >= msns->ranges[m].last)
			m++, m_at = 0;
		if (uid >= uids->ranges[u].last)
			u++, u_at = 0;
	}
	return matched;
}

/* Appends "first:last" to a set that is being written. */
static void
write_range(struct buf *out, uint32_t first, uint32_t last, bool *any)
{
	buf_append_cstr(out, *any ? "," : "* VANISHED (EARLIER) ");
	*any = true;
	buf_append_u64(out, first);
	if (last > first) {
		buf_append_byte(out, ':');
		buf_append_u64(out, last);
	}
}

/* Without a log: what the client may know and the view has not. */
static void
write_gaps(struct imap_session *s, const struct select_run *run, uint32_t low)
{
	struct buf *out = imap_out(s);
	bool any = false;

	for (size_t i = 0; i < run->known.count; i++) {
		uint32_t at = run->known.ranges[i].first;
		uint32_t last = run->known.ranges[i].last;
		at = at < low ? low : at;
		last = last >= run->uidnext ? run->uidnext - 1 : last;
		while (at <= last && at != 0) {
			uint32_t uid = mailbox_view_next(s->view, at);
			if (uid == 0 || uid > last) {
				write_range(out, at, last, &any);
				break;
			}
			if (uid > at)
				write_range(out, at, uid - 1, &any);
			at = uid + 1;
		}
	}
	if (any)
		buf_append(out, SLICE("\r\n"));
}

static enum status
write_vanished(struct imap_session *s, const struct imap_select_args *args,
    const struct select_run *run)
{
	uint32_t *uids;
	size_t count, kept = 0;
	bool complete;

	enum status status = mailbox_vanished(imap_reader(s), s->box_account, s->mailbox,
	    run->since, imap_arena(s), VANISHED_MAX, &uids, &count, &complete);
	if (status != STATUS_OK)
		return status;
	if (!complete || count >= VANISHED_MAX) {
		write_gaps(s, run, matched_uid(s, args) + 1);
		return STATUS_OK;
	}
	for (size_t i = 0; i < count; i++)
		if (imap_uid_ranges_contain(&run->known, uids[i]))
			uids[kept++] = uids[i];
	if (kept > 0) {
		buf_append(imap_out(s), SLICE("* VANISHED (EARLIER) "));
		imap_seqset_write(imap_out(s), uids, kept);
		buf_append(imap_out(s), SLICE("\r\n"));
	}
	return STATUS_OK;
}

static enum cmd_result
select_finish(struct imap_session *s, struct imap_command *cmd)
{
	return imap_cmd_finish(s, cmd, IMAP_OK, s->read_only ? "READ-ONLY" : "READ-WRITE",
	    "mailbox selected");
}

/* One slice of the records, those changed since the client's modseq. */
static enum cmd_result
select_changed(struct imap_session *s, struct imap_command *cmd)
{
	struct select_run *run = s->cmd_data;
	struct slice names[MAILBOX_KEYWORDS_MAX];
	struct message_record record;
	enum status status = STATUS_OK;

	if (!s->view || run->next >= run->uidnext)
		return select_finish(s, cmd);
	size_t name_count = imap_keywords(s, names);
	struct message_cursor *cursor = message_cursor_open(
	    imap_reader(s), s->box_account, s->mailbox, run->next, run->uidnext - 1);
	for (unsigned i = 0; i < IMAP_TURN_RECORDS && !imap_out_full(s); i++) {
		status = message_cursor_next(cursor, &record);
		if (status != STATUS_OK)
			break;
		run->next = record.uid + 1;
		uint32_t msn = mailbox_view_msn(s->view, record.uid);
		if (record.modseq <= run->since || msn == 0 ||
		    !imap_uid_ranges_contain(&run->known, record.uid))
			continue;
		imap_write_flags(s, msn, record.uid, record.flags, record.keywords,
		    record.modseq, true, names, name_count);
	}
	message_cursor_close(&cursor);
	if (status == STATUS_OK && run->next < run->uidnext) {
		s->resume = select_changed;
		return CMD_AGAIN;
	}
	return select_finish(s, cmd);
}

static struct imap_uid_ranges
known_ranges(
    struct imap_session *s, const struct imap_select_args *args, uint32_t uidnext)
{
	const struct imap_seqset *set = args->qresync_known_uids;
	struct imap_uid_ranges known = {NULL, 0};
	size_t count = set ? set->count : 1;

	known.ranges = ARENA_ARRAY(imap_arena(s), struct uid_range, count);
	if (!known.ranges)
		return known;
	known.count = count;
	if (set)
		memcpy(known.ranges, set->ranges, count * sizeof(*known.ranges));
	else
		known.ranges[0] = (struct uid_range){1, uidnext > 1 ? uidnext - 1 : 1};
	imap_uid_ranges_normalize(&known);
	return known;
}

static enum cmd_result
select_resync(struct imap_session *s, struct imap_command *cmd, uint32_t uidnext)
{
	const struct imap_select_args *args = cmd->u.select;
	struct select_run *run = ARENA_NEW(imap_arena(s), struct select_run);

	*run = (struct select_run){
	    .next = 1,
	    .uidnext = uidnext,
	    .since = args->qresync_modseq,
	    .known = known_ranges(s, args, uidnext),
	};
	s->cmd_data = run;
	enum status status = write_vanished(s, args, run);
	if (status != STATUS_OK) {
		imap_deselect(s);
		imap_state_set(s, IMAP_STATE_AUTH);
		return imap_cmd_fail(s, cmd, status);
	}
	if (run->since >= mailbox_view_modseq(s->view))
		return select_finish(s, cmd);
	return select_changed(s, cmd);
}

/* ---- SELECT, EXAMINE ---- */

static enum status
open_mailbox(struct imap_session *s, struct slice name, struct imap_box *box)
{
	enum status status = imap_box_find(s, name, ACL_READ, box);

	if (status == STATUS_OK)
		status = mailbox_view_open(
		    imap_reader(s), box->account, box->info.number, &s->view);
	if (status == STATUS_OK) {
		s->mailbox = box->info.number;
		s->box_account = box->account;
		s->rights = box->rights;
		s->watch = store_watch_new(imap_reader(s), box->account, imap_hint, s);
	}
	return status;
}

static enum cmd_result
select_or_examine(struct imap_session *s, struct imap_command *cmd, bool read_only)
{
	const struct imap_select_args *args = cmd->u.select;
	struct imap_box box;
	struct slice name;
	const char *text;

	if (args->qresync && !(s->enabled & IMAP_ENABLED_QRESYNC))
		return imap_cmd_finish(s, cmd, IMAP_BAD, NULL,
		    "ENABLE QRESYNC first (RFC 7162 section 3.2.5)");
	if (args->qresync_match_msns && imap_is_uidonly(s))
		return imap_cmd_finish(s, cmd, IMAP_BAD, "UIDREQUIRED",
		    "message numbers are not used any more");
	if (s->state == IMAP_STATE_SELECTED) {
		buf_append(imap_out(s), SLICE("* OK [CLOSED] the mailbox before\r\n"));
		imap_deselect(s);
		imap_state_set(s, IMAP_STATE_AUTH);
	}
	if (!imap_mailbox_decode(s, args->mailbox, &name, &text))
		return imap_name_refused(s, cmd, text);
	enum status status = open_mailbox(s, name, &box);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	s->examined = read_only;
	s->read_only = read_only || !(box.rights & IMAP_BOX_WRITES);
	if (args->condstore)
		s->enabled |= IMAP_ENABLED_CONDSTORE;
	imap_state_set(s, IMAP_STATE_SELECTED);
	imap_recent_claim(s, box.info.first_recent, box.info.uidnext);
	write_selected(s, &box.info, args->mailbox);
	if (args->qresync && args->qresync_uidvalidity == box.info.uidvalidity)
		return select_resync(s, cmd, box.info.uidnext);
	return select_finish(s, cmd);
}

enum cmd_result
imap_run_select(struct imap_session *s, struct imap_command *cmd)
{
	return select_or_examine(s, cmd, false);
}

enum cmd_result
imap_run_examine(struct imap_session *s, struct imap_command *cmd)
{
	return select_or_examine(s, cmd, true);
}

/* ---- CLOSE, UNSELECT ---- */

enum cmd_result
imap_run_unselect(struct imap_session *s, struct imap_command *cmd)
{
	imap_deselect(s);
	imap_state_set(s, IMAP_STATE_AUTH);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "mailbox left");
}

static enum cmd_result
close_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct expunge_op *op = s->cmd_data;

	/* A mailbox that is gone has nothing left to expunge. */
	if (op->op.status != STATUS_OK && op->op.status != STATUS_NOT_FOUND)
		return imap_cmd_fail(s, cmd, op->op.status);
	return imap_run_unselect(s, cmd);
}

/* No EXPUNGE and no HIGHESTMODSEQ is told (RFC 7162 section 3.2.8). */
enum cmd_result
imap_run_close(struct imap_session *s, struct imap_command *cmd)
{
	struct mailbox_info info;

	if (s->read_only || !(s->rights & ACL_EXPUNGE) ||
	    (mailbox_by_number(imap_reader(s), s->box_account, s->mailbox, &info) ==
		    STATUS_OK &&
		info.deleted == 0))
		return imap_run_unselect(s, cmd);
	struct expunge_op *op = ARENA_NEW(imap_arena(s), struct expunge_op);
	*op = (struct expunge_op){
	    .account = s->box_account, .mailbox = s->mailbox, .only_deleted = true};
	s->cmd_data = op;
	imap_op_begin(s, &op->op);
	s->resume = close_done;
	expunge_op_submit(imap_reader(s), op);
	return CMD_WAIT;
}
