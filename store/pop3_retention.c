/*
 * UPDATE, and the removal of mail some days after it was fetched (decision 0030).
 *
 * Q keys are a queue by the time of the first RETR.  store_maintain looks at its head; an
 * account without Q costs one seek.  What is removed goes the way of expunge: IMAP
 * sessions see it, undelete brings it back.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "store/mailbox_int.h"
#include "store/pop3_int.h"

enum {
	RETENTION_STEP_MAX = 512, /* messages that one commit removes */
	DAY_S = 24 * 3600,
};

/* ---- UPDATE ---- */
struct update_state {
	struct store_op_state base;
	struct uid_range *remove, *retrieved;
	size_t remove_count, retrieved_count;
	struct vec records;
};

static enum status
commit_update(struct engine_txn *txn, void *arg)
{
	struct update_state *state = arg;
	struct pop3_update_op *op = (struct pop3_update_op *)state->base.op;
	struct account_state account;
	struct mailbox_state box;
	state->records.count = 0;
	op->out_removed = 0;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = state_load(txn, op->mailbox, &box);
	if (status == STATUS_OK)
		status = message_gather(txn, op->mailbox, state->remove,
		    state->remove_count, NULL, &state->records);
	if (status != STATUS_OK)
		return status;
	if (state->records.count) {
		message_expunge_records(txn, &account, &box, state->records.ptr,
		    state->records.count, state->base.now_s);
		state_save(txn, &box);
		account_save(txn, &account);
		op->out_removed = state->records.count;
	}
	/* What another session has removed meanwhile is not gathered. */
	state->records.count = 0;
	status = message_gather(txn, op->mailbox, state->retrieved,
	    state->retrieved_count, NULL, &state->records);
	const struct message_record *kept = state->records.ptr;
	for (size_t i = 0; i < state->records.count && status == STATUS_OK; i++)
		status =
		    pop3_retrieved_set(txn, op->mailbox, kept[i].uid, state->base.now_s);
	return status == STATUS_OK ? engine_txn_status(txn) : status;
}

static void
update_release(struct store_op_state *base)
{
	struct update_state *state = (struct update_state *)base;
	free(state->remove);
	free(state->retrieved);
	vec_fini(&state->records);
}

void
pop3_update_op_submit(struct store_reader *reader, struct pop3_update_op *op)
{
	struct update_state *state = op_state_new(reader, &op->op, sizeof(*state));
	state->base.release = update_release;
	state->remove =
	    ranges_normalise(op->remove, op->remove_count, &state->remove_count);
	state->retrieved =
	    ranges_normalise(op->retrieved, op->retrieved_count, &state->retrieved_count);
	op_submit(&state->base, partition_account(op->account), commit_update);
}

/* ---- retention ---- */
void
pop3_rule_default_set(struct store *store, struct pop3_rule rule)
{
	/* Days alone say it all here: nothing else is removed by store_maintain. */
	atomic_store_explicit(&store->pop3_days,
	    rule.policy == POP3_POLICY_DAYS ? rule.days : 0, memory_order_relaxed);
}

/* Days after which the account's fetched mail goes; 0: it stays. */
static unsigned
account_days(struct store_reader *reader, struct account_id id)
{
	struct directory_account account;
	if (directory_account_by_id(reader, id, &account) != STATUS_OK)
		return 0;
	if (account.pop3.policy == POP3_POLICY_DEFAULT)
		return atomic_load_explicit(
		    &reader->store->pop3_days, memory_order_relaxed);
	return account.pop3.policy == POP3_POLICY_DAYS ? account.pop3.days : 0;
}

/* Walks Q up to `before_s`: the entries into `out`, at most RETENTION_STEP_MAX. */
static enum status
entries_gather(struct engine_txn *txn, int64_t before_s, size_t max, struct vec *out)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	out->count = 0;
	pop3_key_retrieved(&from, 0, 0, 0);
	pop3_key_retrieved(&to, before_s, 0, 0);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while (out->count < max &&
	       (status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct time_key *at = vec_push(out, sizeof(*at));
		ENSURE(at);
		if (!key_time_decode(key, at)) {
			engine_cursor_close(&cursor);
			return STATUS_CORRUPT;
		}
	}
	engine_cursor_close(&cursor);
	return out->count == max || status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

bool
pop3_retention_due(struct store_reader *reader, struct account_id account,
    struct engine_txn *txn, int64_t now_s, struct pop3_retention *out)
{
	if (entries_gather(txn, INT64_MAX, 1, &out->entries) != STATUS_OK ||
	    out->entries.count == 0)
		return false;
	const struct time_key *first = out->entries.ptr;
	unsigned days = account_days(reader, account);
	out->now_s = now_s;
	out->before_s = now_s - (int64_t)days * DAY_S;
	return days > 0 && first->time_s < out->before_s;
}

static enum status
retention_one(struct engine_txn *txn, struct account_state *account,
    const struct time_key *entry, int64_t now_s)
{
	struct mailbox_state box;
	struct message_record message;
	struct key key;
	enum status status = message_load(txn, entry->mailbox, entry->uid, &message);
	if (status == STATUS_OK)
		status = state_load(txn, entry->mailbox, &box);
	/* Damaged already; without it the queue goes on. */
	if (status == STATUS_NOT_FOUND) {
		pop3_key_retrieved(&key, entry->time_s, entry->mailbox, entry->uid);
		engine_del(txn, key_slice(&key));
		return STATUS_OK;
	}
	if (status != STATUS_OK)
		return status;
	message_expunge_records(txn, account, &box, &message, 1, now_s);
	state_save(txn, &box);
	return STATUS_OK;
}

enum status
commit_pop3_retention(struct engine_txn *txn, void *arg)
{
	struct pop3_retention *step = arg;
	struct account_state account;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = entries_gather(
		    txn, step->before_s, RETENTION_STEP_MAX, &step->entries);
	if (status != STATUS_OK)
		return status;
	const struct time_key *entries = step->entries.ptr;
	for (size_t i = 0; i < step->entries.count && status == STATUS_OK; i++)
		status = retention_one(txn, &account, &entries[i], step->now_s);
	if (status != STATUS_OK)
		return status;
	account_save(txn, &account);
	return engine_txn_status(txn);
}
