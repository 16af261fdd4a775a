/*
 * EXPUNGE, UID EXPUNGE and CLOSE; POP3's UPDATE shares the step.  The records go to X,
 * from where message_undelete brings them back and store_maintain purges them; the
 * mailbox keeps an expunged entry in its change log (RFC 7162, VANISHED).
 */
#include "store/mailbox_int.h"

#include <stdlib.h>

struct expunge_state {
	struct store_op_state base;
	struct uid_range *ranges;
	size_t range_count;
	struct vec records;
	struct op_array uids;
};

void
message_expunge_records(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *box, const struct message_record *records, size_t count,
    int64_t now_s)
{
	if (count == 0)
		return;
	uint64_t modseq = ++box->modseq;
	for (size_t i = 0; i < count; i++) {
		message_take(txn, account, box, &records[i]);
		message_mark_gone(txn, box->number, records[i].uid, modseq, now_s);
		message_keep_expunged(txn, box->number, &records[i], now_s);
	}
}

static bool
is_deleted(const struct message_record *message)
{
	return (message->flags & MESSAGE_DELETED) != 0;
}

static enum status
commit_expunge(struct engine_txn *txn, void *arg)
{
	struct expunge_state *state = arg;
	struct expunge_op *op = (struct expunge_op *)state->base.op;
	struct account_state account;
	struct mailbox_state box;
	state->records.count = 0;
	op->out_count = 0;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = state_load(txn, op->mailbox, &box);
	/* The common CLOSE of a mailbox without \Deleted costs no scan. */
	if (status == STATUS_OK && !(op->only_deleted && box.deleted == 0))
		status =
		    message_gather(txn, op->mailbox, state->ranges, state->range_count,
			op->only_deleted ? is_deleted : NULL, &state->records);
	if (status == STATUS_OK && op->op.arena)
		status = op_array_fit(
		    &op->op, &state->uids, sizeof(uint32_t), state->records.count);
	if (status != STATUS_OK)
		return status;
	op->out_uids = state->uids.ptr;
	op->out_count = state->records.count;
	op->out_modseq = box.modseq;
	if (state->records.count == 0)
		return STATUS_OK;

	const struct message_record *records = state->records.ptr;
	message_expunge_records(
	    txn, &account, &box, records, state->records.count, state->base.now_s);
	for (size_t i = 0; op->out_uids && i < state->records.count; i++)
		op->out_uids[i] = records[i].uid;
	state_save(txn, &box);
	account_save(txn, &account);
	op->out_modseq = box.modseq;
	return engine_txn_status(txn);
}

static void
expunge_release(struct store_op_state *base)
{
	struct expunge_state *state = (struct expunge_state *)base;
	free(state->ranges);
	vec_fini(&state->records);
}

void
expunge_op_submit(struct store_reader *reader, struct expunge_op *op)
{
	static const struct uid_range everything = {1, UINT32_MAX};
	struct expunge_state *state = op_state_new(reader, &op->op, sizeof(*state));
	const struct uid_range *ranges = op->ranges ? op->ranges : &everything;
	state->base.release = expunge_release;
	state->ranges = ranges_normalise(
	    ranges, op->ranges ? op->range_count : 1, &state->range_count);
	op_submit(&state->base, partition_account(op->account), commit_expunge);
}
