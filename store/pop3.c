/*
 * Unique ids of POP3; see pop3.h.  P holds what is kept of a message, Y leads from a
 * unique id back to its message (invariant 14 of store_schema.h).
 */
#include "store/pop3.h"

#include <inttypes.h>
#include <stdio.h>

#include "store/mailbox_int.h"
#include "store/pop3_int.h"

/* ---- the text ---- */
bool
pop3_uidl_is_valid(struct slice uidl)
{
	if (uidl.len == 0 || uidl.len > POP3_UIDL_MAX)
		return false;
	for (size_t i = 0; i < uidl.len; i++)
		if (uidl.ptr[i] < 0x21 || uidl.ptr[i] > 0x7e)
			return false;
	return true;
}

void
pop3_uidl_default(uint32_t uidvalidity, uint32_t uid, char out[POP3_UIDL_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	/* By hand: a listing of 100,000 messages goes through here. */
	for (int i = 0; i < 8; i++) {
		out[i] = digits[uidvalidity >> (28 - 4 * i) & 15];
		out[8 + i] = digits[uid >> (28 - 4 * i) & 15];
	}
	out[16] = '\0';
}

/* Is this the default form of a message of the mailbox other than `uid`, be it there,
 * gone or to come? */
static bool
is_default_of_other(const struct mailbox_state *box, uint32_t uid, struct slice uidl)
{
	char own[POP3_UIDL_MAX + 1];
	pop3_uidl_default(box->uidvalidity, uid, own);
	if (uidl.len != 16 || memcmp(uidl.ptr, own, 8) != 0 ||
	    memcmp(uidl.ptr, own, 16) == 0)
		return false;
	for (size_t i = 8; i < 16; i++)
		if (!memchr("0123456789abcdef", uidl.ptr[i], 16))
			return false;
	return true;
}

/* ---- inside a transaction ---- */
enum status
pop3_record_load(
    struct engine_txn *txn, uint32_t mailbox, uint32_t uid, struct pop3_record *out)
{
	struct key key;
	struct slice value;
	key_message(&key, KEY_POP3, mailbox, uid);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	return pop3_record_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

/* A record that says nothing is not kept. */
static void
record_save(struct engine_txn *txn, uint32_t mailbox, uint32_t uid,
    const struct pop3_record *record)
{
	struct key key;
	char bytes[POP3_RECORD_MAX];
	key_message(&key, KEY_POP3, mailbox, uid);
	if (record->uidl.len == 0 && record->retrieved_s == 0)
		engine_del(txn, key_slice(&key));
	else
		engine_put(txn, key_slice(&key),
		    slice_make(bytes, pop3_record_encode(record, bytes)));
}

static void
key_uidl(struct key *key, uint32_t mailbox, struct slice uidl)
{
	key_mailbox(key, KEY_UIDL, mailbox);
	key_bytes(key, uidl);
}

enum status
pop3_uidl_set(struct engine_txn *txn, const struct mailbox_state *box, uint32_t uid,
    struct slice uidl)
{
	struct pop3_record old = {SLICE_NULL, 0};
	struct slice value;
	struct key key;
	char uid_bytes[UIDL_SIZE];
	if (uidl.ptr && !pop3_uidl_is_valid(uidl))
		return STATUS_INVALID;
	enum status status = pop3_record_load(txn, box->number, uid, &old);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	if (slice_equal(old.uidl, uidl))
		return STATUS_OK;
	if (uidl.ptr) {
		if (is_default_of_other(box, uid, uidl))
			return STATUS_EXISTS;
		key_uidl(&key, box->number, uidl);
		status = engine_get(txn, key_slice(&key), &value);
		if (status != STATUS_NOT_FOUND)
			return status == STATUS_OK ? STATUS_EXISTS : status;
		uid_bytes[0] = STORE_RECORD_VERSION;
		be32_put(uid_bytes + UIDL_UID, uid);
	}
	/* `old` borrows what the first write may move. */
	struct key old_key = {0};
	if (old.uidl.len)
		key_uidl(&old_key, box->number, old.uidl);
	const struct pop3_record fresh = {uidl, old.retrieved_s};
	if (old_key.len)
		engine_del(txn, key_slice(&old_key));
	if (uidl.ptr)
		engine_put(
		    txn, key_slice(&key), slice_make(uid_bytes, sizeof(uid_bytes)));
	record_save(txn, box->number, uid, &fresh);
	return STATUS_OK;
}

void
pop3_key_retrieved(struct key *key, int64_t time_s, uint32_t mailbox, uint32_t uid)
{
	key_begin(key, KEY_RETRIEVED);
	key_u64(key, time_s < 0 ? 0 : (uint64_t)time_s);
	key_u32(key, mailbox);
	key_u32(key, uid);
}

enum status
pop3_retrieved_set(struct engine_txn *txn, uint32_t mailbox, uint32_t uid, int64_t now_s)
{
	static const char version = STORE_RECORD_VERSION;
	struct pop3_record record = {SLICE_NULL, 0};
	char uidl[POP3_UIDL_MAX];
	struct key key;
	enum status status = pop3_record_load(txn, mailbox, uid, &record);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return status;
	if (record.retrieved_s)
		return STATUS_OK;
	/* 0 is "never". */
	record.retrieved_s = now_s > 0 ? now_s : 1;
	if (record.uidl.len) {
		memcpy(uidl, record.uidl.ptr, record.uidl.len);
		record.uidl.ptr = uidl;
	}
	pop3_key_retrieved(&key, record.retrieved_s, mailbox, uid);
	engine_put(txn, key_slice(&key), slice_make(&version, 1));
	record_save(txn, mailbox, uid, &record);
	return STATUS_OK;
}

void
pop3_record_drop(struct engine_txn *txn, uint32_t mailbox, uint32_t uid)
{
	struct pop3_record record;
	struct key key;
	enum status status = pop3_record_load(txn, mailbox, uid, &record);
	if (status == STATUS_NOT_FOUND)
		return;
	/* Damaged: its Y and Q are left, and store_check tells of them. */
	struct key uidl_key = {0};
	if (status == STATUS_OK && record.uidl.len)
		key_uidl(&uidl_key, mailbox, record.uidl);
	if (uidl_key.len)
		engine_del(txn, key_slice(&uidl_key));
	if (status == STATUS_OK && record.retrieved_s) {
		pop3_key_retrieved(&key, record.retrieved_s, mailbox, uid);
		engine_del(txn, key_slice(&key));
	}
	key_message(&key, KEY_POP3, mailbox, uid);
	engine_del(txn, key_slice(&key));
}

/* ---- setting ---- */
static enum status
commit_uidl(struct engine_txn *txn, void *arg)
{
	struct store_op_state *state = arg;
	struct pop3_uidl_op *op = (struct pop3_uidl_op *)state->op;
	struct account_state account;
	struct mailbox_state box;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = state_load(txn, op->mailbox, &box);
	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < op->item_count; i++) {
		struct pop3_uidl_item *item = &op->items[i];
		struct message_record message;
		status = message_load(txn, op->mailbox, item->uid, &message);
		if (status == STATUS_OK)
			status = pop3_uidl_set(txn, &box, item->uid, item->uidl);
		item->status = status;
	}
	return engine_txn_status(txn);
}

void
pop3_uidl_op_submit(struct store_reader *reader, struct pop3_uidl_op *op)
{
	struct store_op_state *state = op_state_new(reader, &op->op, sizeof(*state));
	op_submit(state, partition_account(op->account), commit_uidl);
}

/* ---- reading ---- */
enum status
pop3_record_get(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    uint32_t uid, struct pop3_record *out)
{
	struct engine_txn *txn;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	return status == STATUS_OK ? pop3_record_load(txn, mailbox, uid, out) : status;
}

enum status
pop3_record_each(struct store_reader *reader, struct account_id account, uint32_t mailbox,
    bool (*fn)(uint32_t uid, const struct pop3_record *r, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status =
	    engine_snap(reader->engine, partition_account(account), &txn);
	if (status != STATUS_OK)
		return status;
	key_mailbox(&from, KEY_POP3, mailbox);
	key_mailbox(&to, KEY_POP3, mailbox);
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct pop3_record record;
		uint32_t uid;
		if (!key_message_uid(key, &uid) || !pop3_record_decode(value, &record)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (!fn(uid, &record, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
