/*
 * COPY and MOVE inside an account: records are written, bodies only counted.  One commit,
 * one new modseq in each mailbox that changes (RFC 6851 section 3.3: all or nothing).
 */
#include "store/mailbox_int.h"

#include <stdlib.h>

struct copy_state {
	struct store_op_state base;
	struct uid_range *ranges;
	size_t range_count;
	struct vec records;
	struct op_array source_uids;
	struct op_array target_uids;
};

/* Keyword bits of one mailbox in terms of another's.  What does not fit there any more
 * is dropped: losing a keyword is better than refusing a COPY. */
static bool
keywords_translate(const struct keyword_list *from, struct keyword_list *to,
    struct message_record *records, size_t count)
{
	uint64_t map[MAILBOX_KEYWORDS_MAX] = {0};
	uint64_t used = 0;
	bool made = false;
	for (size_t i = 0; i < count; i++)
		used |= records[i].keywords;
	for (size_t bit = 0; bit < from->count; bit++) {
		struct slice name = slice_make(from->at[bit].text, from->at[bit].len);
		if (used >> bit & 1 &&
		    keywords_resolve(to, &name, 1, true, &map[bit], &made) != STATUS_OK)
			map[bit] = 0;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t bits = 0;
		for (size_t bit = 0; bit < from->count; bit++)
			if (records[i].keywords >> bit & 1)
				bits |= map[bit];
		records[i].keywords = bits;
	}
	return made;
}

void
message_move_records(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *source, struct mailbox_state *target,
    const struct message_record *records, size_t count, uint8_t drop_flags, int64_t now_s,
    uint32_t *out_target_uids)
{
	uint64_t source_modseq = source->modseq + 1;
	uint64_t target_modseq = target->modseq + 1;
	if (count == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct message_record message = records[i];
		message_take(txn, account, source, &message);
		message_mark_gone(txn, source->number, message.uid, source_modseq, now_s);
		message.save_date_s = now_s;
		message.flags &= (uint8_t)~drop_flags;
		message_add(txn, account, target, &message, target_modseq);
		if (out_target_uids)
			out_target_uids[i] = message.uid;
	}
	source->modseq = source_modseq;
	target->modseq = target_modseq;
}

static enum status
copy_records(struct engine_txn *txn, struct copy_state *state,
    struct account_state *account, struct mailbox_state *target, uint8_t drop_flags)
{
	const struct message_record *records = state->records.ptr;
	uint32_t *uids = state->target_uids.ptr;
	uint64_t modseq = target->modseq + 1;
	for (size_t i = 0; i < state->records.count; i++) {
		struct message_record message = records[i];
		enum status status = engine_body_ref(txn, message.body);
		if (status != STATUS_OK)
			return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
		message.save_date_s = state->base.now_s;
		message.flags &= (uint8_t)~drop_flags;
		message_add(txn, account, target, &message, modseq);
		uids[i] = message.uid;
	}
	return STATUS_OK;
}

/* Everything that can be refused, before anything is written. */
static enum status
copy_check(struct engine_txn *txn, struct copy_state *state, struct copy_op *op,
    struct account_state *account, struct mailbox_state *source,
    struct mailbox_state *target)
{
	uint32_t number;
	uint64_t bytes = 0;
	enum status status = account_load(txn, account);
	if (status == STATUS_OK)
		status = state_load(txn, op->mailbox, source);
	if (status == STATUS_OK)
		status = name_load(txn, op->target, &number);
	if (status == STATUS_OK)
		status = state_load(txn, number, target);
	if (status == STATUS_OK)
		status = message_gather(txn, op->mailbox, state->ranges,
		    state->range_count, NULL, &state->records);
	size_t count = state->records.count;
	if (status == STATUS_OK)
		status =
		    op_array_fit(&op->op, &state->source_uids, sizeof(uint32_t), count);
	if (status == STATUS_OK)
		status =
		    op_array_fit(&op->op, &state->target_uids, sizeof(uint32_t), count);
	if (status != STATUS_OK)
		return status;
	if (count > UINT32_MAX - target->uidnext)
		return STATUS_LIMIT;
	struct message_record *records = state->records.ptr;
	for (size_t i = 0; i < count; i++) {
		((uint32_t *)state->source_uids.ptr)[i] = records[i].uid;
		bytes += records[i].size;
		if (op->drop_keywords)
			records[i].keywords = 0;
	}
	if (!op->move && quota_is_passed(account, bytes, count))
		return STATUS_QUOTA;
	return STATUS_OK;
}

static enum status
commit_copy(struct engine_txn *txn, void *arg)
{
	struct copy_state *state = arg;
	struct copy_op *op = (struct copy_op *)state->base.op;
	struct account_state account;
	struct mailbox_state source;
	struct mailbox_state other;
	struct mailbox_state *target = &other;
	bool made = false;
	state->records.count = 0;
	op->out_count = 0;
	enum status status = copy_check(txn, state, op, &account, &source, &other);
	if (status != STATUS_OK)
		return status;
	op->out_uidvalidity = other.uidvalidity;
	op->out_mailbox = other.number;
	op->out_source_uids = state->source_uids.ptr;
	op->out_target_uids = state->target_uids.ptr;
	op->out_count = state->records.count;
	op->out_modseq = source.modseq;
	if (state->records.count == 0)
		return STATUS_OK;

	if (other.number == source.number) {
		target = &source;
	} else {
		struct keyword_list from;
		struct keyword_list to;
		status = keywords_load(txn, source.number, &from);
		if (status == STATUS_OK)
			status = keywords_load(txn, target->number, &to);
		if (status != STATUS_OK)
			return status;
		made = keywords_translate(
		    &from, &to, state->records.ptr, state->records.count);
		if (made)
			keywords_save(txn, target->number, &to);
	}
	if (op->move)
		message_move_records(txn, &account, &source, target, state->records.ptr,
		    state->records.count, op->drop_flags, state->base.now_s,
		    state->target_uids.ptr);
	else
		status = copy_records(txn, state, &account, target, op->drop_flags);
	if (status != STATUS_OK)
		return status;
	if (op->move || target == &source)
		state_save(txn, &source);
	if (target != &source)
		state_save(txn, target);
	account_save(txn, &account);
	op->out_modseq = source.modseq;
	return engine_txn_status(txn);
}

static void
copy_release(struct store_op_state *base)
{
	struct copy_state *state = (struct copy_state *)base;
	free(state->ranges);
	vec_fini(&state->records);
}

void
copy_op_submit(struct store_reader *reader, struct copy_op *op)
{
	struct copy_state *state = op_state_new(reader, &op->op, sizeof(*state));
	state->base.release = copy_release;
	state->ranges =
	    ranges_normalise(op->ranges, op->range_count, &state->range_count);
	/* Moving is how people throw away: it may use the reserve. */
	state->base.commit.grows = !op->move;
	op_submit(&state->base, partition_account(op->account), commit_copy);
}
