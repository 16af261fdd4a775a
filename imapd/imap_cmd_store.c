/*
 * STORE and UID STORE: one flags_op a command, then an untagged FETCH for each message.
 *
 * A message that another session has expunged is left out: by number that is told with
 * EXPUNGEISSUED (RFC 2180 section 4.2.1), by UID it is no error (RFC 9051 section 6.4.9).
 */
#include "imapd/imap_cmd_store.h"

#include "imapd/imap_int.h"
#include "imapd/imap_limit.h"

/* ---- parsing ---- */

static bool
mode_lex(struct imap_lex *lex, struct imap_store_args *args)
{
	args->mode = FLAGS_SET;
	if (imap_lex_try_char(lex, '+'))
		args->mode = FLAGS_ADD;
	else if (imap_lex_try_char(lex, '-'))
		args->mode = FLAGS_REMOVE;
	args->silent = imap_lex_try_word(lex, SLICE("FLAGS.SILENT"));
	if (args->silent || imap_lex_try_word(lex, SLICE("FLAGS")))
		return true;
	return imap_lex_bad(lex, "expected FLAGS");
}

static bool
store_lex(struct imap_lex *lex, struct imap_store_args *args)
{
	if (!imap_lex_space(lex) || !imap_seqset_lex(lex, &args->set) ||
	    !imap_lex_space(lex))
		return false;
	if (imap_lex_try_char(lex, '(')) {
		if (!imap_lex_try_word(lex, SLICE("UNCHANGEDSINCE")))
			return imap_lex_bad(lex, "no such STORE modifier");
		args->has_unchangedsince = true;
		if (!imap_lex_space(lex) ||
		    !imap_lex_number64(lex, &args->unchangedsince) ||
		    !imap_lex_char(lex, ')') || !imap_lex_space(lex))
			return false;
	}
	return mode_lex(lex, args) && imap_lex_space(lex) &&
	       imap_lex_flags(lex, true, &args->flags);
}

enum parse_result
imap_parse_store(struct imap_lex *lex, struct arena *arena, struct imap_command *cmd,
    struct parse_fault *fault)
{
	struct imap_store_args *args = arena_alloc(arena, sizeof(*args));
	if (!args)
		(void)imap_lex_limit(lex, "command is too large");
	else if (store_lex(lex, args))
		cmd->u.store = args;
	return imap_lex_result(lex, fault);
}

/* ---- running ---- */

struct store_run {
	struct flags_op op;
	uint64_t expected; /* messages of the view in the set */
};

/* RFC 7162 section 3.1.3: with .SILENT the new mod-sequence is told all the same. */
static void
write_modseq(struct imap_session *s, uint32_t msn, const struct flags_result *result,
    bool with_uid)
{
	struct buf *out = imap_out(s);
	imap_write_fetch_head(s, msn, result->uid);
	if (with_uid && !imap_is_uidonly(s)) {
		buf_append(out, SLICE("UID "));
		buf_append_u64(out, result->uid);
		buf_append_byte(out, ' ');
	}
	buf_append(out, SLICE("MODSEQ ("));
	buf_append_u64(out, result->modseq);
	buf_append(out, SLICE("))\r\n"));
}

static void
write_results(
    struct imap_session *s, const struct imap_command *cmd, const struct flags_op *op)
{
	bool silent = cmd->u.store->silent;
	bool with_uid = cmd->uid || (s->enabled & IMAP_ENABLED_QRESYNC);
	struct slice names[MAILBOX_KEYWORDS_MAX];
	size_t name_count = silent ? 0 : imap_keywords(s, names);

	if (silent && !imap_is_condstore(s))
		return;
	for (size_t i = 0; i < op->out_count; i++) {
		/* RFC 9738 section 3.1: from the highest to the lowest. */
		const struct flags_result *result =
		    &op->out[cmd->limit ? op->out_count - 1 - i : i];
		uint32_t msn = mailbox_view_msn(s->view, result->uid);
		if (!msn)
			continue;
		if (!silent)
			imap_write_flags(s, msn, result->uid, result->flags,
			    result->keywords, result->modseq, cmd->uid, names,
			    name_count);
		else if (result->changed)
			write_modseq(s, msn, result, with_uid);
	}
}

/* "MODIFIED 7,9", in what the command counts in. */
static struct slice
modified_code(
    struct imap_session *s, const struct imap_command *cmd, const struct flags_op *op)
{
	AUTO_BUF struct buf code;
	size_t count = 0;

	buf_init(&code, IMAP_OUT_MAX);
	for (size_t i = 0; i < op->out_modified_count; i++) {
		uint32_t uid = op->out_modified[i];
		uint32_t number = cmd->uid ? uid : mailbox_view_msn(s->view, uid);
		if (number)
			op->out_modified[count++] = number;
	}
	if (count == 0)
		return SLICE_NULL;
	buf_append(&code, SLICE("MODIFIED "));
	imap_seqset_write(&code, op->out_modified, count);
	return arena_copy(s->arena, buf_slice(&code));
}

uint64_t
imap_store_told(const struct flags_op *op)
{
	for (size_t i = 0; i < op->out_count; i++)
		if (op->out[i].changed)
			return op->out_modseq;
	return 0;
}

static enum cmd_result
store_done(struct imap_session *s, struct imap_command *cmd)
{
	struct store_run *run = s->cmd_data;
	const struct flags_op *op = &run->op;

	if (op->op.status != STATUS_OK)
		return imap_cmd_fail(s, cmd, op->op.status);
	s->told_modseq = imap_store_told(op);
	write_results(s, cmd, op);
	struct slice code = modified_code(s, cmd, op);
	if (code.ptr)
		return imap_cmd_finish_code(
		    s, cmd, IMAP_OK, code, "some messages were changed in between");
	if (!cmd->uid && op->out_count + op->out_modified_count < run->expected) {
		/* RFC 2180 section 4.2: what is there was changed; NO says that nothing
		 * of it was, and .SILENT asked not to be bothered. */
		bool none = op->out_count + op->out_modified_count == 0 && !cmd->limit;
		if (none && !cmd->u.store->silent)
			return imap_cmd_finish(s, cmd, IMAP_NO, "EXPUNGEISSUED",
			    "all of these messages have been deleted");
		return imap_cmd_finish(s, cmd, IMAP_OK, "EXPUNGEISSUED",
		    "some of the messages no longer exist");
	}
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "store completed");
}

/* STORE goes on with the flags that may be changed, if there are any (RFC 4314 section
 * 4). */
static bool
may_store(const struct imap_store_args *args, uint8_t allowed, bool keywords)
{
	if (args->mode == FLAGS_SET)
		return allowed != 0;
	if (args->flags.bits == 0 && args->flags.keyword_count == 0)
		return allowed != 0;
	return (args->flags.bits & allowed) || (keywords && args->flags.keyword_count);
}

enum cmd_result
imap_run_store(struct imap_session *s, struct imap_command *cmd)
{
	const struct imap_store_args *args = cmd->u.store;
	struct imap_uid_ranges ranges;

	enum cmd_result refused;
	if (!imap_set_resolve(s, cmd, &args->set, &ranges, &refused))
		return refused;
	uint8_t flags = args->flags.bits;
	bool keywords;
	uint8_t allowed = imap_box_flags(s->rights, &keywords);
	if (!may_store(args, allowed, keywords))
		return imap_cmd_finish(
		    s, cmd, IMAP_NO, "NOPERM", "these flags may not be changed here");
	if (args->has_unchangedsince)
		imap_condstore_on(s);
	imap_limit_cut(s, cmd, &ranges);
	uint64_t expected = imap_uid_ranges_count(&ranges, s->view);
	if (expected == 0)
		return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "no messages found");

	struct store_run *run = ARENA_NEW(s->arena, struct store_run);
	*run = (struct store_run){
	    .op =
		{
		     .account = s->box_account,
		     .mailbox = s->mailbox,
		     .ranges = ranges.ranges,
		     .range_count = ranges.count,
		     .mode = args->mode,
		     .flags = flags & allowed,
		     .keywords = args->flags.keywords,
		     .keyword_count = keywords ? args->flags.keyword_count : 0,
		     .keep_flags = (uint8_t)~allowed,
		     .keep_keywords = !keywords,
		     .has_unchangedsince = args->has_unchangedsince,
		     .unchangedsince = args->unchangedsince,
		     },
	    .expected = expected,
	};
	s->cmd_data = run;
	s->resume = store_done;
	imap_op_begin(s, &run->op.op);
	flags_op_submit(imap_reader(s), &run->op);
	return CMD_WAIT;
}
