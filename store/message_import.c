/*
 * Import: a mailbox that takes over another server's UIDVALIDITY, and messages under the
 * UIDs that they had there.  What is promised about UIDs stands in import.h; the J record
 * is what keeps it: UIDs below its end belong to imports, and each is given out once.
 */
#include "store/import.h"

#include "store/mailbox_int.h"
#include "store/pop3_int.h"

/* ---- the mailbox ---- */
struct box_state {
	struct store_op_state base;
	struct mailbox_state box;
};

enum status
reserved_load(struct engine_txn *txn, uint32_t mailbox, struct reserved *out)
{
	struct key key;
	struct slice value;
	*out = (struct reserved){0, 0};
	key_mailbox(&key, KEY_RESERVED, mailbox);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status == STATUS_OK && !reserved_decode(value, out))
		status = STATUS_CORRUPT;
	return status;
}

static void
reserved_save(struct engine_txn *txn, uint32_t mailbox, const struct reserved *reserved)
{
	struct key key;
	char record[RESERVED_SIZE];
	reserved_encode(reserved, record);
	key_mailbox(&key, KEY_RESERVED, mailbox);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
}

/* Takes the source's UIDVALIDITY over, or reserves more of it where nothing has come in
 * behind the reserved ones. */
static void
uids_reserve(struct engine_txn *txn, struct account_state *account,
    struct mailbox_state *box, const struct import_box_op *op, struct reserved *reserved)
{
	bool fresh = box->exists == 0 && box->uidnext == 1;
	bool more = reserved->end && box->uidvalidity == op->uidvalidity &&
	            box->uidnext == reserved->end && op->uidnext > reserved->end;
	if (op->uidvalidity == 0 || op->uidvalidity > IMPORT_UIDVALIDITY_MAX)
		reserved->end = 0;
	else if (fresh || more) {
		box->uidvalidity = op->uidvalidity;
		box->uidnext = box->first_recent = reserved->end = op->uidnext;
		if (reserved->next == 0)
			reserved->next = 1;
		if (account->next_uidvalidity <= op->uidvalidity)
			account->next_uidvalidity = op->uidvalidity + 1;
		reserved_save(txn, box->number, reserved);
		state_save(txn, box);
		account_save(txn, account);
	} else if (box->uidvalidity != op->uidvalidity)
		reserved->end = 0;
}

static enum status
commit_box(struct engine_txn *txn, void *arg)
{
	struct box_state *state = arg;
	struct import_box_op *op = (struct import_box_op *)state->base.op;
	struct account_state account;
	struct reserved reserved = {0, 0};
	uint32_t number;
	op->out_made = false;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = name_load(txn, op->mailbox, &number);
	if (status == STATUS_NOT_FOUND) {
		status = mailbox_make_tree(txn, &account, op->mailbox, &state->box);
		op->out_made = status == STATUS_OK;
	} else if (status == STATUS_OK) {
		status = state_load(txn, number, &state->box);
		if (status == STATUS_OK)
			status = reserved_load(txn, number, &reserved);
	}
	if (status != STATUS_OK)
		return status;
	if (op->out_made)
		account_save(txn, &account);
	uids_reserve(txn, &account, &state->box, op, &reserved);
	op->out_mailbox = state->box.number;
	op->out_uidvalidity = state->box.uidvalidity;
	op->out_uid_end = reserved.end;
	return engine_txn_status(txn);
}

void
import_box_submit(struct store_reader *reader, struct import_box_op *op)
{
	struct box_state *state = op_state_new(reader, &op->op, sizeof(*state));
	if (op->uidvalidity && op->uidnext == 0) {
		op_refuse(&state->base, STATUS_INVALID);
		return;
	}
	op_submit(&state->base, partition_account(op->account), commit_box);
}

/* ---- messages ---- */
struct import_state {
	struct store_op_state base;
	struct keyword_list keywords;
	bool keywords_made;
	bool full;
	struct reserved reserved;
};

static enum status
import_one(struct engine_txn *txn, struct import_state *state,
    struct account_state *account, struct mailbox_state *box, uint64_t modseq,
    struct import_item *item)
{
	uint64_t bits = 0;
	struct message_record message = {
	    .flags = item->flags & MESSAGE_FLAGS_ALL,
	    .internaldate_s = item->internaldate_s,
	    .internaldate_zone_min = item->internaldate_zone_min,
	    .save_date_s = state->base.now_s,
	    .size = body_draft_size(item->draft),
	    .line_end_missing = body_draft_line_end_missing(item->draft),
	};
	item->uid = 0;
	item->uid_kept = item->uidl_kept = false;
	item->keywords_kept = true;
	/* What does not fit holds up what is behind it, or its UID would be lost. */
	state->full = state->full || quota_is_passed(account, message.size, 1);
	item->status = state->full ? STATUS_QUOTA : STATUS_OK;
	if (item->status != STATUS_OK)
		return STATUS_OK;
	/* None below `next` is given out again, not even one that was expunged. */
	item->uid_kept = item->want_uid && item->want_uid >= state->reserved.next &&
	                 item->want_uid < state->reserved.end;
	if (!item->uid_kept && box->uidnext == UINT32_MAX) {
		item->status = STATUS_LIMIT;
		return STATUS_OK;
	}
	for (size_t i = 0; i < item->keyword_count; i++) {
		uint64_t bit = 0;
		if (keywords_resolve(&state->keywords, &item->keywords[i], 1, true, &bit,
			&state->keywords_made) != STATUS_OK)
			item->keywords_kept = false;
		bits |= bit;
	}
	message.keywords = bits;
	message.email_id = account->next_email_id++;
	enum status status = engine_body_attach(txn, item->draft, &message.body);
	if (status != STATUS_OK)
		return status;
	message.uid = item->uid_kept ? item->want_uid : box->uidnext++;
	if (item->uid_kept)
		state->reserved.next = item->want_uid + 1;
	message_put(txn, account, box, &message, modseq);
	item->uid = message.uid;
	if (item->uidl.ptr) {
		status = pop3_uidl_set(txn, box, message.uid, item->uidl);
		item->uidl_kept = status == STATUS_OK;
		if (status == STATUS_EXISTS || status == STATUS_INVALID)
			status = STATUS_OK;
	}
	return status;
}

/* The search index goes over a mailbox by ascending UIDs: what comes in below where it is
 * sends it back there. */
static void
search_go_back(struct engine_txn *txn, uint32_t mailbox, uint32_t uid)
{
	struct key key;
	struct slice value;
	char record[SEARCH_MAILBOX_SIZE] = {STORE_RECORD_VERSION};
	key_mailbox(&key, KEY_SEARCH_MAILBOX, mailbox);
	if (engine_get(txn, key_slice(&key), &value) != STATUS_OK ||
	    value.len != SEARCH_MAILBOX_SIZE ||
	    be32_get(value.ptr + SEARCH_MAILBOX_UID) <= uid)
		return;
	be32_put(record + SEARCH_MAILBOX_UID, uid);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
}

static enum status
commit_import(struct engine_txn *txn, void *arg)
{
	struct import_state *state = arg;
	struct import_op *op = (struct import_op *)state->base.op;
	struct account_state account;
	struct mailbox_state box;
	state->keywords_made = state->full = false;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = state_load(txn, op->mailbox, &box);
	if (status == STATUS_OK)
		status = keywords_load(txn, op->mailbox, &state->keywords);
	if (status == STATUS_OK)
		status = reserved_load(txn, op->mailbox, &state->reserved);
	if (status != STATUS_OK)
		return status;
	uint64_t modseq = box.modseq + 1;
	uint32_t first_kept = UINT32_MAX;
	for (size_t i = 0; i < op->item_count && status == STATUS_OK; i++) {
		status = import_one(txn, state, &account, &box, modseq, &op->items[i]);
		if (op->items[i].uid_kept && op->items[i].uid < first_kept)
			first_kept = op->items[i].uid;
	}
	if (status != STATUS_OK || box.modseq != modseq) /* nothing came in */
		return status;
	if (state->keywords_made)
		keywords_save(txn, box.number, &state->keywords);
	if (first_kept != UINT32_MAX)
		search_go_back(txn, box.number, first_kept);
	if (state->reserved.end)
		reserved_save(txn, box.number, &state->reserved);
	state_save(txn, &box);
	account_save(txn, &account);
	return engine_txn_status(txn);
}

void
import_op_submit(struct store_reader *reader, struct import_op *op)
{
	struct import_state *state = op_state_new(reader, &op->op, sizeof(*state));
	if (op->item_count == 0 || op->item_count > IMPORT_ITEMS_MAX) {
		op_refuse(&state->base, op->item_count ? STATUS_LIMIT : STATUS_INVALID);
		return;
	}
	/* One chain, which the engine places. */
	for (size_t i = 1; i < op->item_count; i++)
		body_draft_chain(
		    op->items[i - 1].draft, body_draft_ref(op->items[i].draft));
	state->base.drafts = body_draft_ref(op->items[0].draft);
	op_submit(&state->base, partition_account(op->account), commit_import);
}
