/*
 * SEARCH and UID SEARCH, and the answers that SORT shares: "* SEARCH ...", or ESEARCH
 * when RETURN was given or IMAP4rev2 is on (RFC 9051 section 7.3.4).  An empty result is
 * answered too.
 */
#include "imapd/imap_cmd_search.h"

#include "imapd/imap_context.h"

void
imap_write_correlator(
    struct imap_session *s, struct slice tag, const struct mailbox_info *box)
{
	struct buf *out = imap_out(s);

	buf_append(out, SLICE("(TAG "));
	imap_resp_string(out, tag, false);
	if (box) {
		buf_append(out, SLICE(" MAILBOX "));
		imap_resp_mailbox(out, box->name, imap_is_utf8(s));
		buf_append(out, SLICE(" UIDVALIDITY "));
		buf_append_u64(out, box->uidvalidity);
	}
	buf_append_byte(out, ')');
}

static void
esearch_head(struct imap_session *s, const struct imap_command *cmd,
    const struct mailbox_info *box)
{
	struct buf *out = imap_out(s);

	buf_append(out, SLICE("* ESEARCH "));
	imap_write_correlator(s, cmd->tag, box);
	if (cmd->uid || box)
		buf_append(out, SLICE(" UID"));
}

static void
esearch_number(struct buf *out, const char *name, uint64_t value)
{
	buf_append_byte(out, ' ');
	buf_append_cstr(out, name);
	buf_append_byte(out, ' ');
	buf_append_u64(out, value);
}

/* The part of the result that PARTIAL asks for (RFC 9394 section 3.1). */
static void
partial_slice(const struct imap_search_args *args, size_t count, size_t *out_first,
    size_t *out_count)
{
	size_t first = args->partial_first, last = args->partial_last;
	*out_first = *out_count = 0;
	if (first > count)
		return;
	if (last > count)
		last = count;
	*out_first = args->partial_from_end ? count - last : first - 1;
	*out_count = last - first + 1;
}

static void
esearch_partial(struct buf *out, const struct imap_search_args *args,
    const uint32_t *numbers, size_t count)
{
	const char *sign = args->partial_from_end ? "-" : "";
	size_t first, picked;

	partial_slice(args, count, &first, &picked);
	buf_append_format(out, " PARTIAL (%s%u:%s%u ", sign, args->partial_first, sign,
	    args->partial_last);
	if (picked)
		imap_seqset_write(out, numbers + first, picked);
	else
		buf_append(out, SLICE("NIL"));
	buf_append_byte(out, ')');
}

/* In the order of ALL or PARTIAL (RFC 6203 section 4). */
static void
esearch_relevancy(struct buf *out, const struct imap_search_run *run, size_t count)
{
	size_t first = 0, picked = count;

	if (run->args->returns & IMAP_RETURN_PARTIAL)
		partial_slice(run->args, count, &first, &picked);
	buf_append(out, SLICE(" RELEVANCY ("));
	for (size_t i = 0; i < picked; i++)
		buf_append_format(out, i ? " %u" : "%u", run->scores[first + i]);
	buf_append_byte(out, ')');
}

/* RFC 4731 section 3.2: the highest modseq of the messages that are told. */
static uint64_t
modseq_told(const struct imap_search_run *run)
{
	uint32_t returns = run->args->returns;
	if (returns & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT | IMAP_RETURN_PARTIAL))
		return run->modseq_highest;
	uint64_t modseq = 0;
	if (returns & IMAP_RETURN_MIN)
		modseq = run->modseq_first;
	if ((returns & IMAP_RETURN_MAX) && run->modseq_last > modseq)
		modseq = run->modseq_last;
	return modseq;
}

void
imap_write_esearch(struct imap_session *s, const struct imap_command *cmd,
    const struct imap_search_run *run, const struct mailbox_info *box,
    const uint32_t *numbers, size_t count)
{
	const struct imap_search_args *args = run->args;
	uint32_t returns = args->has_return ? args->returns : IMAP_RETURN_ALL;
	struct buf *out = imap_out(s);
	uint32_t low = UINT32_MAX, high = 0;

	if ((returns & ~(uint32_t)IMAP_RETURN_SAVE) == 0)
		return; /* SAVE by itself has no answer (RFC 5182 section 2.2) */
	for (size_t i = 0; i < count; i++) {
		low = numbers[i] < low ? numbers[i] : low;
		high = numbers[i] > high ? numbers[i] : high;
	}
	esearch_head(s, cmd, box);
	/* In a sorted result they are the first and the last (RFC 5267 section 3). */
	if (cmd->u.search->sort_count && count) {
		low = numbers[0];
		high = numbers[count - 1];
	}
	if ((returns & IMAP_RETURN_MIN) && count)
		esearch_number(out, "MIN", low);
	if ((returns & IMAP_RETURN_MAX) && count)
		esearch_number(out, "MAX", high);
	if (returns & IMAP_RETURN_COUNT)
		esearch_number(out, "COUNT", count);
	if ((returns & IMAP_RETURN_ALL) && count) {
		buf_append(out, SLICE(" ALL "));
		imap_seqset_write(out, numbers, count);
	}
	if (returns & IMAP_RETURN_PARTIAL)
		esearch_partial(out, args, numbers, count);
	if (returns & IMAP_RETURN_RELEVANCY)
		esearch_relevancy(out, run, count);
	uint64_t modseq = args->has_return ? modseq_told(run) : run->modseq_highest;
	if (args->has_modseq && count && modseq)
		esearch_number(out, "MODSEQ", modseq);
	buf_append(out, SLICE("\r\n"));
}

void
imap_write_numbers(struct imap_session *s, struct slice name, const uint32_t *numbers,
    size_t count, uint64_t modseq)
{
	struct buf *out = imap_out(s);
	buf_append(out, SLICE("* "));
	buf_append(out, name);
	for (size_t i = 0; i < count; i++) {
		buf_append_byte(out, ' ');
		buf_append_u64(out, numbers[i]);
	}
	if (modseq && count) { /* RFC 7162 section 3.1.5 */
		buf_append(out, SLICE(" (MODSEQ "));
		buf_append_u64(out, modseq);
		buf_append_byte(out, ')');
	}
	buf_append(out, SLICE("\r\n"));
}

/* RFC 5182 section 2.4: with only MIN or MAX asked for, only these are saved. */
enum status
imap_search_save(struct imap_session *s, const struct imap_search_run *run)
{
	uint32_t few[2];
	const uint32_t *uids = run->uids;
	size_t count = run->count;
	uint32_t returns = run->args->returns;

	if (!(returns & IMAP_RETURN_SAVE))
		return STATUS_OK;
	if (count && (returns & (IMAP_RETURN_MIN | IMAP_RETURN_MAX)) &&
	    !(returns & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT | IMAP_RETURN_PARTIAL))) {
		size_t n = 0;
		if (returns & IMAP_RETURN_MIN)
			few[n++] = uids[0];
		if ((returns & IMAP_RETURN_MAX) && (n == 0 || uids[count - 1] != few[0]))
			few[n++] = uids[count - 1];
		uids = few;
		count = n;
	}
	struct imap_uid_ranges ranges = imap_uid_ranges_from_array(uids, count, s->arena);
	if (!ranges.ranges) {
		imap_saved_set(s, NULL);
		return STATUS_LIMIT;
	}
	imap_saved_set(s, &ranges);
	return STATUS_OK;
}

static enum cmd_result
search_done(struct imap_session *s, struct imap_command *cmd)
{
	struct imap_search_run *run = s->cmd_data;
	enum imap_context_result kept = imap_context_keep(s, cmd, run->uids, run->count);
	enum status status = imap_search_save(s, run);

	if (status != STATUS_OK)
		return imap_search_fail(s, cmd, status);
	imap_search_to_numbers(s, cmd, run->uids, run->count);
	if (run->args->has_return || imap_is_rev2(s))
		imap_write_esearch(s, cmd, run, NULL, run->uids, run->count);
	else
		imap_write_numbers(s, SLICE("SEARCH"), run->uids, run->count,
		    run->args->has_modseq ? run->modseq_highest : 0);
	imap_context_tell_refused(s, cmd, kept);
	return imap_cmd_finish(s, cmd, IMAP_OK, NULL, "search completed");
}

enum cmd_result
imap_run_search(struct imap_session *s, struct imap_command *cmd)
{
	return imap_search_begin(s, cmd, search_done, NULL, NULL, NULL);
}
