/*
 * Flags and keywords: STORE, also conditional (RFC 7162 section 3.1.3).  All messages
 * that one command changes get the same new modseq; one that was so already keeps its
 * own.
 */
#include "store/mailbox_int.h"

#include <stdlib.h>

struct flags_state {
	struct store_op_state base;
	struct uid_range *ranges;
	size_t range_count;
	struct vec records;
	struct op_array results;
	struct op_array modified;
	struct keyword_list keywords;
};

/* What the op makes of a message's bits. */
static void
flags_apply(const struct flags_op *op, uint64_t keyword_bits,
    const struct message_record *message, struct flags_result *out)
{
	uint8_t flags = op->flags & MESSAGE_FLAGS_ALL;
	uint8_t new_flags = message->flags;
	uint64_t new_keywords = message->keywords;
	switch (op->mode) {
	case FLAGS_SET:
		new_flags = (uint8_t)((flags & ~op->keep_flags) |
				      (message->flags & op->keep_flags));
		if (!op->keep_keywords)
			new_keywords = keyword_bits;
		break;
	case FLAGS_ADD:
		new_flags |= flags;
		new_keywords |= keyword_bits;
		break;
	case FLAGS_REMOVE:
		new_flags &= (uint8_t)~flags;
		new_keywords &= ~keyword_bits;
		break;
	}
	out->uid = message->uid;
	out->flags = new_flags;
	out->keywords = new_keywords;
	out->modseq = message->modseq;
	out->changed = new_flags != message->flags || new_keywords != message->keywords;
}

static void
flags_write(struct engine_txn *txn, struct mailbox_state *box,
    struct message_record *message, struct flags_result *result, uint64_t modseq)
{
	struct key key;
	char record[MESSAGE_SIZE];
	char kind = CHANGE_LIVE;
	uint8_t gained = result->flags & (uint8_t)~message->flags;
	uint8_t lost = message->flags & (uint8_t)~result->flags;
	if (gained & MESSAGE_SEEN && box->unseen)
		box->unseen--;
	if (lost & MESSAGE_SEEN)
		box->unseen++;
	if (gained & MESSAGE_DELETED)
		box->deleted++;
	if (lost & MESSAGE_DELETED && box->deleted)
		box->deleted--;
	key_change(&key, box->number, message->modseq, message->uid);
	engine_del(txn, key_slice(&key));
	message->flags = result->flags;
	message->keywords = result->keywords;
	message->modseq = result->modseq = modseq;
	key_message(&key, KEY_MESSAGE, box->number, message->uid);
	message_encode(message, record);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
	key_change(&key, box->number, modseq, message->uid);
	engine_put(txn, key_slice(&key), slice_make(&kind, 1));
	if ((gained | lost) & MESSAGE_SEEN)
		mailbox_map_note(
		    txn, box, message->uid, true, (lost & MESSAGE_SEEN) != 0);
}

/* Sorts the gathered records into results and those that fail UNCHANGEDSINCE; the latter
 * leave the vec.  Returns how many change. */
static size_t
flags_decide(struct flags_state *state, struct flags_op *op, uint64_t keyword_bits)
{
	struct message_record *records = state->records.ptr;
	struct flags_result *results = state->results.ptr;
	uint32_t *modified = state->modified.ptr;
	size_t kept = 0;
	size_t changing = 0;
	for (size_t i = 0; i < state->records.count; i++) {
		if (op->has_unchangedsince && records[i].modseq > op->unchangedsince) {
			modified[op->out_modified_count++] = records[i].uid;
			continue;
		}
		records[kept] = records[i];
		flags_apply(op, keyword_bits, &records[kept], &results[kept]);
		changing += results[kept].changed;
		kept++;
	}
	state->records.count = kept;
	op->out_count = kept;
	return changing;
}

static enum status
commit_flags(struct engine_txn *txn, void *arg)
{
	struct flags_state *state = arg;
	struct flags_op *op = (struct flags_op *)state->base.op;
	struct account_state account;
	struct mailbox_state box;
	uint64_t bits = 0;
	bool made = false;
	state->records.count = 0;
	op->out_count = op->out_modified_count = 0;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = state_load(txn, op->mailbox, &box);
	if (status == STATUS_OK && op->keyword_count)
		status = keywords_load(txn, op->mailbox, &state->keywords);
	if (status == STATUS_OK && op->keyword_count)
		status = keywords_resolve(&state->keywords, op->keywords,
		    op->keyword_count, op->mode != FLAGS_REMOVE, &bits, &made);
	if (status == STATUS_OK)
		status = message_gather(txn, op->mailbox, state->ranges,
		    state->range_count, NULL, &state->records);
	if (status == STATUS_OK)
		status = op_array_fit(&op->op, &state->results,
		    sizeof(struct flags_result), state->records.count);
	if (status == STATUS_OK && op->has_unchangedsince)
		status = op_array_fit(
		    &op->op, &state->modified, sizeof(uint32_t), state->records.count);
	if (status != STATUS_OK)
		return status;
	op->out = state->results.ptr;
	op->out_modified = state->modified.ptr;
	op->out_modseq = box.modseq;
	if (flags_decide(state, op, bits) == 0)
		return STATUS_OK;

	uint64_t modseq = ++box.modseq;
	struct message_record *records = state->records.ptr;
	if (made)
		keywords_save(txn, op->mailbox, &state->keywords);
	for (size_t i = 0; i < state->records.count; i++)
		if (op->out[i].changed)
			flags_write(txn, &box, &records[i], &op->out[i], modseq);
	state_save(txn, &box);
	op->out_modseq = modseq;
	return engine_txn_status(txn);
}

static void
flags_release(struct store_op_state *base)
{
	struct flags_state *state = (struct flags_state *)base;
	free(state->ranges);
	vec_fini(&state->records);
}

void
flags_op_submit(struct store_reader *reader, struct flags_op *op)
{
	struct flags_state *state = op_state_new(reader, &op->op, sizeof(*state));
	state->base.release = flags_release;
	state->ranges =
	    ranges_normalise(op->ranges, op->range_count, &state->range_count);
	op_submit(&state->base, partition_account(op->account), commit_flags);
}
