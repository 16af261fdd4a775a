/*
 * COPY, MOVE, EXPUNGE and UID EXPUNGE: one op a command.  What leaves the mailbox is told
 * by the sync at the command's end, as EXPUNGE or VANISHED.
 */
#include "imapd/imap_cmd_copy.h"

#include "imapd/imap_int.h"
#include "imapd/imap_limit.h"
#include "imapd/imap_walk.h"

enum { MOVE_RIGHTS = ACL_TRASH | ACL_EXPUNGE };

/* ---- parsing ---- */

static bool
copy_lex(struct imap_lex *lex, struct imap_copy_args *args)
{
	args->has_set = true;
	return imap_lex_space(lex) && imap_seqset_lex(lex, &args->set) &&
	       imap_lex_space(lex) && imap_lex_astring(lex, &args->mailbox);
}

static bool
expunge_lex(struct imap_lex *lex, bool uid, struct imap_copy_args *args)
{
	args->has_set = uid;
	return !uid || (imap_lex_space(lex) && imap_seqset_lex(lex, &args->set));
}

enum parse_result
imap_parse_copy(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_copy_args *args = arena_alloc(arena, sizeof(*args));
	if (!args)
		(void)imap_lex_limit(lex, "command is too large");
	else if (copy_lex(lex, args))
		cmd->u.copy = args;
	return imap_lex_result(lex, fault);
}

enum parse_result
imap_parse_expunge(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_copy_args *args = arena_alloc(arena, sizeof(*args));
	if (!args)
		(void)imap_lex_limit(lex, "command is too large");
	else if (expunge_lex(lex, cmd->uid, args))
		cmd->u.copy = args;
	return imap_lex_result(lex, fault);
}

/* ---- COPY and MOVE ---- */

struct slice
imap_copyuid_code(struct imap_session *s, uint32_t uidvalidity, const uint32_t *source,
    const uint32_t *target, size_t count)
{
	AUTO_BUF struct buf code;

	buf_init(&code, IMAP_COPYUID_MAX);
	if (count == 0)
		return SLICE_NULL;
	buf_append(&code, SLICE("COPYUID "));
	buf_append_u64(&code, uidvalidity);
	buf_append_byte(&code, ' ');
	imap_seqset_write(&code, source, count);
	buf_append_byte(&code, ' ');
	imap_seqset_write(&code, target, count);
	return buf_ok(&code) ? arena_copy(s->arena, buf_slice(&code)) : SLICE_NULL;
}

/* The store says NOT_FOUND for either mailbox: when ours is still there it was the
 * target, and the client may create it (RFC 9051 section 6.4.7). */
static enum cmd_result
copy_failed(struct imap_session *s, struct imap_command *cmd, enum status status)
{
	struct mailbox_info info;
	if (status == STATUS_NOT_FOUND &&
	    mailbox_by_number(imap_reader(s), s->box_account, s->mailbox, &info) ==
		STATUS_OK)
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "TRYCREATE", "there is no such mailbox");
	return imap_cmd_fail(s, cmd, status);
}

/* RFC 7162 section 3.2.10: the tagged OK tells what has become of the modseq. */
enum cmd_result
imap_copy_finish(
    struct imap_session *s, struct imap_command *cmd, uint64_t modseq, const char *text)
{
	if (!(s->enabled & IMAP_ENABLED_QRESYNC) || modseq == 0)
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, text);
	struct slice code =
	    arena_format(s->arena, "HIGHESTMODSEQ %llu", (unsigned long long)modseq);
	return imap_cmd_finish_code(s, cmd, IMAP_OK, code, text);
}

static enum cmd_result
copy_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct copy_op *op = s->cmd_data;

	if (op->op.status != STATUS_OK)
		return copy_failed(s, cmd, op->op.status);
	struct slice code = imap_copyuid_code(s, op->out_uidvalidity, op->out_source_uids,
	    op->out_target_uids, op->out_count);
	if (!op->move) {
		if (!code.ptr)
			return imap_cmd_finish(
			    s, cmd, IMAP_OK, NULL, "no messages found");
		return imap_cmd_finish_code(s, cmd, IMAP_OK, code, "copy completed");
	}
	/* RFC 6851 section 4.3: COPYUID in an untagged OK, before the EXPUNGEs. */
	if (code.ptr) {
		struct buf *out = imap_out(s);
		buf_append(out, SLICE("* OK ["));
		buf_append(out, code);
		buf_append(out, SLICE("] moved\r\n"));
	}
	return imap_copy_finish(
	    s, cmd, op->out_count ? op->out_modseq : 0, "move completed");
}

static enum cmd_result
copy_run(struct imap_session *s, struct imap_command *cmd, bool move)
{
	const struct imap_copy_args *args = cmd->u.copy;
	struct imap_uid_ranges ranges;
	struct slice path;
	struct imap_box target;
	const char *text;
	enum cmd_result refused;
	bool keywords;

	if (!imap_mailbox_decode(s, args->mailbox, &path, &text))
		return imap_cmd_finish(s, cmd, IMAP_NO, "CANNOT", text);
	/* RFC 6851 section 4.4: what STORE \Deleted and EXPUNGE would need. */
	if (move && (s->rights & MOVE_RIGHTS) != MOVE_RIGHTS)
		return imap_cmd_fail(s, cmd, STATUS_DENIED);
	enum status status = imap_box_find(s, path, ACL_INSERT, &target);
	if (status != STATUS_OK)
		return copy_failed(s, cmd, status);
	if (!imap_set_resolve(s, cmd, &args->set, &ranges, &refused))
		return refused;
	/* RFC 9738 section 3.1: COPY is all or nothing, MOVE need not be. */
	uint32_t limit = imap_limit_saving(s);
	if (move)
		imap_limit_cut(s, cmd, &ranges);
	uint32_t count = imap_uid_ranges_count(&ranges, s->view);
	if (!move && count > limit)
		return imap_limit_refuse(
		    s, cmd, limit, imap_limit_uid(&ranges, s->view, limit));
	if (count == 0)
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "no messages found");

	if (!imap_same_account(target.account, s->box_account))
		return imap_copy_across(s, cmd, &target, &ranges, move);
	struct copy_op *op = ARENA_NEW(s->arena, struct copy_op);
	*op = (struct copy_op){
	    .account = s->box_account,
	    .mailbox = s->mailbox,
	    .ranges = ranges.ranges,
	    .range_count = ranges.count,
	    .target = target.name,
	    .move = move,
	    .drop_flags = (uint8_t)~imap_box_flags(target.rights, &keywords),
	    .drop_keywords = !keywords,
	};
	s->cmd_data = op;
	s->resume = copy_done;
	imap_op_begin(s, &op->op);
	copy_op_submit(imap_reader(s), op);
	return CMD_WAIT;
}

enum cmd_result
imap_run_copy(struct imap_session *s, struct imap_command *cmd)
{
	return copy_run(s, cmd, false);
}

enum cmd_result
imap_run_move(struct imap_session *s, struct imap_command *cmd)
{
	return copy_run(s, cmd, true);
}

/* ---- EXPUNGE ---- */

static enum cmd_result
expunge_done(struct imap_session *s, struct imap_command *cmd)
{
	const struct expunge_op *op = s->cmd_data;

	if (op->op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, op->op.status);
	return imap_copy_finish(
	    s, cmd, op->out_count ? op->out_modseq : 0, "expunge completed");
}

static enum cmd_result
expunge_begin(struct imap_session *s, const struct imap_uid_ranges *ranges)
{
	struct expunge_op *op = ARENA_NEW(s->arena, struct expunge_op);

	*op = (struct expunge_op){
	    .account = s->box_account,
	    .mailbox = s->mailbox,
	    .ranges = ranges->ranges,
	    .range_count = ranges->count,
	    .only_deleted = true,
	};
	s->cmd_data = op;
	s->resume = expunge_done;
	imap_op_begin(s, &op->op);
	expunge_op_submit(imap_reader(s), op);
	return CMD_WAIT;
}

/* UID EXPUNGE in a mailbox with more \Deleted messages than one command may remove: the
 * last ones are looked for first (RFC 9738 section 3.1). */
struct expunge_count {
	struct imap_walk walk;
	struct imap_uid_ranges ranges;
	uint32_t limit, found;
	uint32_t last; /* the limit's UID */
};

static bool
count_deleted(struct imap_session *s, const struct message_record *record, uint32_t msn)
{
	struct expunge_count *c = s->cmd_data;

	(void)msn;
	if (!(record->flags & MESSAGE_DELETED))
		return true;
	if (c->found++ == c->limit)
		return false;
	c->last = record->uid;
	return true;
}

static enum cmd_result
expunge_counted(struct imap_session *s, struct imap_command *cmd)
{
	struct expunge_count *c = s->cmd_data;
	enum status status;

	bool ended = imap_walk_run(s, &c->walk, count_deleted, &status);
	if (ended && status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	if (c->found > c->limit)
		imap_limit_cut_at(cmd, c->limit, c->last, &c->ranges);
	else if (!ended)
		return CMD_AGAIN;
	return expunge_begin(s, &c->ranges);
}

static enum cmd_result
expunge_count_begin(struct imap_session *s, struct imap_command *cmd,
    const struct imap_uid_ranges *ranges)
{
	struct expunge_count *c = ARENA_NEW(s->arena, struct expunge_count);

	c->ranges = *ranges;
	c->limit = imap_limit(s);
	imap_walk_init(&c->walk, s->view, s->box_account, s->mailbox, &c->ranges);
	c->walk.down = true;
	s->cmd_data = c;
	s->resume = expunge_counted;
	return expunge_counted(s, cmd);
}

enum cmd_result
imap_run_expunge(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_copy_args *args = cmd->u.copy;
	struct imap_uid_ranges ranges = {0};
	struct mailbox_info info;
	enum cmd_result refused;

	if (args->has_set && !imap_set_resolve(s, cmd, &args->set, &ranges, &refused))
		return refused;
	if (!(s->rights & ACL_EXPUNGE))
		return imap_cmd_fail(s, cmd, STATUS_DENIED);
	/* Clients expunge on every occasion: no commit when there is nothing to do. */
	enum status status =
	    mailbox_by_number(imap_reader(s), s->box_account, s->mailbox, &info);
	if (status != STATUS_OK)
		return imap_cmd_fail(s, cmd, status);
	if (info.deleted == 0 || (args->has_set && ranges.count == 0))
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "nothing to expunge");

	if (args->has_set && info.deleted > imap_limit(s))
		return expunge_count_begin(s, cmd, &ranges);
	return expunge_begin(s, &ranges);
}
