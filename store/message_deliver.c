/*
 * New messages: delivery to several accounts, and IMAP APPEND.
 *
 * Delivery (decision 0005): one commit per recipient account, all submitted at once, so
 * those of a shard share a write transaction and the draft's bytes are placed there once.
 * The last completion finishes the op.  No commit waits for another: a recipient that is
 * full does not hold up the rest, and what is stored stays stored.
 */
#include "store/mailbox_int.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/hashmap.h"
#include "store/body_int.h"
#include "store/pop3_int.h"

enum { APPEND_MESSAGES_MAX = 10000 };

/* ---- delivery ---- */
struct deliver_commit {
	struct engine_commit commit;
	struct deliver_state *state;
	struct deliver_recipient *recipient;
	struct deliver_commit *same_as; /* an earlier recipient's: nothing to commit */
};

struct deliver_state {
	struct store_op_state base;
	_Atomic size_t left;            /* commits under way, and one for submit itself */
	struct deliver_commit *commits; /* one for each recipient */
};

/* The mailbox by name, else INBOX. */
static enum status
deliver_target(struct engine_txn *txn, struct slice name, struct mailbox_state *out_state)
{
	uint32_t number;
	enum status status = name.ptr ? name_load(txn, name, &number) : STATUS_NOT_FOUND;
	if (status == STATUS_NOT_FOUND) {
		status = name_load(txn, mailbox_inbox, &number);
		/* The account is there, so its INBOX has to be (invariant 12). */
		if (status == STATUS_NOT_FOUND)
			return STATUS_CORRUPT;
	}
	if (status == STATUS_OK)
		status = state_load(txn, number, out_state);
	return status;
}

static enum status
commit_deliver(struct engine_txn *txn, void *arg)
{
	struct deliver_commit *commit = arg;
	struct deliver_recipient *recipient = commit->recipient;
	struct deliver_op *op = (struct deliver_op *)commit->state->base.op;
	struct account_state account;
	struct mailbox_state box;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = deliver_target(txn, recipient->mailbox, &box);
	if (status != STATUS_OK)
		return status;
	struct message_record message = {
	    .flags = recipient->flags & MESSAGE_FLAGS_ALL,
	    .internaldate_s = op->internaldate_s,
	    .internaldate_zone_min = op->internaldate_zone_min,
	    .save_date_s = commit->state->base.now_s,
	    .size = body_draft_size(op->draft),
	    .line_end_missing = body_draft_line_end_missing(op->draft),
	    .email_id = account.next_email_id,
	};
	if (quota_is_passed(&account, message.size, 1))
		return STATUS_QUOTA;
	if (box.uidnext == UINT32_MAX)
		return STATUS_LIMIT;
	status = engine_body_attach(txn, op->draft, &message.body);
	if (status != STATUS_OK)
		return status;
	account.next_email_id++;
	message_add(txn, &account, &box, &message, box.modseq + 1);
	state_save(txn, &box);
	account_save(txn, &account);
	recipient->uid = message.uid;
	recipient->mailbox_number = box.number;
	return engine_txn_status(txn);
}

/* The last one in: on some shard's writer thread, or on the submitter's. */
static void
deliver_part_done(struct deliver_state *state)
{
	if (atomic_fetch_sub_explicit(&state->left, 1, memory_order_acq_rel) != 1)
		return;
	struct deliver_op *op = (struct deliver_op *)state->base.op;
	enum status status = STATUS_OK;
	for (size_t i = 0; i < op->recipient_count; i++) {
		struct deliver_recipient *recipient = &op->recipients[i];
		const struct deliver_commit *same = state->commits[i].same_as;
		if (same) {
			recipient->status = same->recipient->status;
			recipient->uid = same->recipient->uid;
			recipient->mailbox_number = same->recipient->mailbox_number;
		}
		if (status == STATUS_OK)
			status = recipient->status;
	}
	op_finished(&state->base, status);
}

static void
deliver_commit_done(struct engine_commit *engine_commit, enum status status)
{
	struct deliver_commit *commit =
	    LIST_ENTRY(engine_commit, struct deliver_commit, commit);
	struct deliver_recipient *recipient = commit->recipient;
	recipient->status = status;
	if (status != STATUS_OK)
		recipient->uid = recipient->mailbox_number = 0;
	deliver_part_done(commit->state);
}

static void
deliver_release(struct store_op_state *base)
{
	free(((struct deliver_state *)base)->commits);
}

/* Recipients that are the same account are stored once. */
static void
deliver_find_doubles(struct deliver_state *state, struct deliver_op *op)
{
	if (op->recipient_count < 2)
		return;
	struct hashmap *seen = hashmap_new();
	for (size_t i = 0; i < op->recipient_count; i++) {
		const struct account_id *id = &op->recipients[i].account;
		struct slice key = slice_make((const char *)id->v, sizeof(id->v));
		state->commits[i].same_as = hashmap_get(seen, key);
		if (!state->commits[i].same_as)
			(void)hashmap_put(seen, key, &state->commits[i]);
	}
	hashmap_free(&seen, NULL);
}

void
deliver_op_submit(struct store_reader *reader, struct deliver_op *op)
{
	struct deliver_state *state = op_state_new(reader, &op->op, sizeof(*state));
	struct engine *engine = reader->store->engine;
	bool wait = !reader->post;
	state->base.release = deliver_release;
	state->base.drafts = body_draft_ref(op->draft);
	state->commits = xcalloc(op->recipient_count + 1, sizeof(*state->commits));
	deliver_find_doubles(state, op);
	size_t commits = 0;
	for (size_t i = 0; i < op->recipient_count; i++)
		commits += !state->commits[i].same_as;
	atomic_init(&state->left, commits + 1);
	for (size_t i = 0; i < op->recipient_count; i++) {
		struct deliver_commit *commit = &state->commits[i];
		struct deliver_recipient *recipient = &op->recipients[i];
		recipient->uid = recipient->mailbox_number = 0;
		commit->state = state;
		commit->recipient = recipient;
		if (commit->same_as)
			continue;
		commit->commit = (struct engine_commit){
		    .part = partition_account(recipient->account),
		    .fn = commit_deliver,
		    .arg = commit,
		    .done = deliver_commit_done,
		    .drafts = op->draft,
		};
		engine_submit(engine, &commit->commit);
	}
	/* This thread's own count keeps the state alive up to here. */
	deliver_part_done(state);
	if (wait)
		op_wait(&state->base);
}

/* ---- APPEND ---- */
struct append_state {
	struct store_op_state base;
	struct keyword_list keywords;
	uint64_t *bits; /* of each message */
	/* REPLACE: */
	struct message_record replaced;
	struct mailbox_state source; /* its mailbox, when it is not the target */
};

/* What REPLACE takes away, and its mailbox; all of it before anything is written. */
static enum status
replace_check(struct engine_txn *txn, struct append_state *state,
    const struct append_op *op, const struct mailbox_state *box)
{
	if (op->replaced_uid == 0)
		return STATUS_OK;
	enum status status =
	    message_load(txn, op->replaced_mailbox, op->replaced_uid, &state->replaced);
	if (status == STATUS_OK && op->replaced_mailbox != box->number)
		status = state_load(txn, op->replaced_mailbox, &state->source);
	return status == STATUS_NOT_FOUND ? STATUS_CONFLICT : status;
}

static void
replace_take(struct engine_txn *txn, struct append_state *state, struct append_op *op,
    struct account_state *account, struct mailbox_state *box)
{
	bool same = op->replaced_mailbox == box->number;
	struct mailbox_state *from = same ? box : &state->source;
	uint64_t modseq = ++from->modseq;
	const struct message_record *gone = &state->replaced;

	message_take(txn, account, from, gone);
	message_mark_gone(txn, from->number, gone->uid, modseq, state->base.now_s);
	message_keep_expunged(txn, from->number, gone, state->base.now_s);
	op->out_replaced_modseq = modseq;
	if (!same)
		state_save(txn, from);
}

static enum status
append_check(struct engine_txn *txn, struct append_state *state, struct append_op *op,
    struct account_state *account, struct mailbox_state *box, bool *out_made)
{
	uint32_t number;
	uint64_t bytes = 0;
	enum status status = account_load(txn, account);
	if (status == STATUS_OK)
		status = name_load(txn, op->mailbox, &number);
	if (status == STATUS_OK)
		status = state_load(txn, number, box);
	if (status == STATUS_OK)
		status = keywords_load(txn, number, &state->keywords);
	for (size_t i = 0; i < op->message_count && status == STATUS_OK; i++) {
		const struct append_message *message = &op->messages[i];
		bytes += body_draft_size(message->draft);
		status = keywords_resolve(&state->keywords, message->keywords,
		    message->keyword_count, true, &state->bits[i], out_made);
	}
	if (status != STATUS_OK)
		return status;
	status = replace_check(txn, state, op, box);
	if (status != STATUS_OK)
		return status;
	uint64_t freed = op->replaced_uid ? state->replaced.size : 0;
	if (quota_is_passed(account, bytes > freed ? bytes - freed : 0,
		op->message_count - (op->replaced_uid != 0)))
		return STATUS_QUOTA;
	return op->message_count > UINT32_MAX - box->uidnext ? STATUS_LIMIT : STATUS_OK;
}

static enum status
commit_append(struct engine_txn *txn, void *arg)
{
	struct append_state *state = arg;
	struct append_op *op = (struct append_op *)state->base.op;
	struct account_state account;
	struct mailbox_state box;
	bool made = false;
	enum status status = append_check(txn, state, op, &account, &box, &made);
	if (status != STATUS_OK)
		return status;
	uint64_t modseq = box.modseq + 1;
	for (size_t i = 0; i < op->message_count; i++) {
		struct append_message *append = &op->messages[i];
		struct message_record message = {
		    .flags = append->flags & MESSAGE_FLAGS_ALL,
		    .keywords = state->bits[i],
		    .internaldate_s = append->internaldate_s,
		    .internaldate_zone_min = append->internaldate_zone_min,
		    .save_date_s = state->base.now_s,
		    .size = body_draft_size(append->draft),
		    .line_end_missing = body_draft_line_end_missing(append->draft),
		    .email_id = account.next_email_id++,
		};
		status = engine_body_attach(txn, append->draft, &message.body);
		if (status != STATUS_OK)
			return status;
		message_add(txn, &account, &box, &message, modseq);
		append->uid = message.uid;
		if (append->uidl.ptr)
			status = pop3_uidl_set(txn, &box, message.uid, append->uidl);
		if (status != STATUS_OK)
			return status;
	}
	if (op->replaced_uid)
		replace_take(txn, state, op, &account, &box);
	if (made)
		keywords_save(txn, box.number, &state->keywords);
	state_save(txn, &box);
	account_save(txn, &account);
	op->out_uidvalidity = box.uidvalidity;
	op->out_mailbox = box.number;
	return engine_txn_status(txn);
}

static void
append_release(struct store_op_state *base)
{
	free(((struct append_state *)base)->bits);
}

/* The chain that the engine places, unless the caller has made it already. */
static void
append_chain(struct append_op *op)
{
	struct body_draft *first = op->messages[0].draft;
	if (first->next)
		return;
	for (size_t i = 1; i < op->message_count; i++) {
		struct body_draft *draft = op->messages[i].draft;
		/* The same draft twice is placed once and gets two references. */
		if (draft != first && !draft->next && draft != op->messages[i - 1].draft)
			body_draft_chain(
			    op->messages[i - 1].draft, body_draft_ref(draft));
	}
}

void
append_op_submit(struct store_reader *reader, struct append_op *op)
{
	struct append_state *state = op_state_new(reader, &op->op, sizeof(*state));
	state->base.release = append_release;
	if (op->message_count == 0 || op->message_count > APPEND_MESSAGES_MAX) {
		op_refuse(
		    &state->base, op->message_count ? STATUS_LIMIT : STATUS_INVALID);
		return;
	}
	state->bits = xcalloc(op->message_count, sizeof(*state->bits));
	append_chain(op);
	state->base.drafts = body_draft_ref(op->messages[0].draft);
	op_submit(&state->base, partition_account(op->account), commit_append);
}
