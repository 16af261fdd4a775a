/*
 * Mailboxes, writing: create, delete, rename, subscribe, special uses, recent; and the
 * making of an account.
 *
 * Numbers and UIDVALIDITY come from counters in the account's record that only grow, so
 * neither is ever used again.
 */
#include "store/mailbox_int.h"

#include <stdlib.h>

/* ---- making ---- */
void
mailbox_make(struct engine_txn *txn, struct account_state *account, struct slice name,
    uint32_t use, struct mailbox_state *out)
{
	struct key key;
	char record[NAME_SIZE];
	ENSURE(name.len > 0 && name.len <= MAILBOX_NAME_MAX);
	*out = (struct mailbox_state){
	    .number = account->next_mailbox++,
	    .use = (uint16_t)use,
	    .uidvalidity = account->next_uidvalidity++,
	    .uidnext = 1,
	    .first_recent = 1,
	    .modseq = 1,
	};
	account->mailboxes++;
	memcpy(out->name_bytes, name.ptr, name.len);
	out->name = slice_make(out->name_bytes, name.len);
	key_name(&key, KEY_NAME, name);
	record[0] = STORE_RECORD_VERSION;
	be32_put(record + NAME_NUMBER, out->number);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
	state_save(txn, out);
	(void)!acl_inherit(txn, name, out->number); /* damaged: the owner's alone */
}

enum status
account_make(struct engine_txn *txn, const struct account_quota *quota, int64_t now_s)
{
	static const struct {
		struct slice name;
		uint32_t use;
	} folders[] = {
	    {{"INBOX", 5},   MAILBOX_USE_NONE   },
	    {{"Archive", 7}, MAILBOX_USE_ARCHIVE},
	    {{"Drafts", 6},  MAILBOX_USE_DRAFTS },
	    {{"Junk", 4},    MAILBOX_USE_JUNK   },
	    {{"Sent", 4},    MAILBOX_USE_SENT   },
	    {{"Trash", 5},   MAILBOX_USE_TRASH  },
	};
	struct account_state account;
	struct mailbox_state box;
	enum status status = account_load(txn, &account);
	if (status != STATUS_NOT_FOUND)
		return status == STATUS_OK ? STATUS_EXISTS : status;
	account = (struct account_state){
	    .created_s = now_s,
	    .quota = *quota,
	    .next_mailbox = 1,
	    .next_uidvalidity = (uint32_t)now_s,
	    .next_email_id = 1,
	};
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		struct key key;
		char version = STORE_RECORD_VERSION;
		mailbox_make(txn, &account, folders[i].name, folders[i].use, &box);
		key_name(&key, KEY_SUBSCRIBED, folders[i].name);
		engine_put(txn, key_slice(&key), slice_make(&version, 1));
	}
	account_save(txn, &account);
	return engine_txn_status(txn);
}

/* ---- the op ---- */
struct mailbox_op_state {
	struct store_op_state base;
	struct vec renames;     /* struct rename_entry */
	struct vec records;     /* struct message_record */
	struct buf annotations; /* of INBOX, when it is renamed */
	struct mailbox_state out;
};

struct rename_entry {
	uint32_t number;
	size_t len;
	char name[MAILBOX_NAME_MAX]; /* the old one */
};

enum status
use_check(struct engine_txn *txn, uint32_t use, uint32_t except)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	if (use == MAILBOX_USE_NONE)
		return STATUS_OK;
	key_begin(&from, KEY_STATE);
	key_begin(&to, KEY_STATE + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct mailbox_state state;
		if (key.len != 5 || !state_decode(value, &state)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (state.use & use && be32_get(key.ptr + 1) != except) {
			status = STATUS_EXISTS;
			break;
		}
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* How many parents of the name are missing. */
static enum status
parents_missing(struct engine_txn *txn, struct slice name, uint32_t *out_count)
{
	uint32_t number;
	*out_count = 0;
	for (struct slice parent = mailbox_name_parent(name); parent.ptr;
	     parent = mailbox_name_parent(parent)) {
		enum status status = name_load(txn, parent, &number);
		if (status == STATUS_NOT_FOUND)
			++*out_count;
		else if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static void
parents_make(struct engine_txn *txn, struct account_state *account, struct slice name)
{
	uint32_t number;
	struct mailbox_state state;
	for (size_t i = 1; i < name.len; i++) {
		struct slice parent = slice_sub(name, 0, i);
		if (name.ptr[i] == '/' &&
		    name_load(txn, parent, &number) == STATUS_NOT_FOUND)
			mailbox_make(txn, account, parent, MAILBOX_USE_NONE, &state);
	}
}

/* Room and freedom for a new name. */
static enum status
name_check_free(
    struct engine_txn *txn, const struct account_state *account, struct slice name)
{
	uint32_t number;
	uint32_t parents;
	enum status status = name_load(txn, name, &number);
	if (status == STATUS_OK)
		return STATUS_EXISTS;
	if (status != STATUS_NOT_FOUND)
		return status;
	status = parents_missing(txn, name, &parents);
	if (status != STATUS_OK)
		return status;
	return account->mailboxes + parents + 1 > MAILBOX_COUNT_MAX ? STATUS_LIMIT
	                                                            : STATUS_OK;
}

enum status
mailbox_make_tree(struct engine_txn *txn, struct account_state *account,
    struct slice name, struct mailbox_state *out)
{
	enum status status = name_check_free(txn, account, name);
	if (status != STATUS_OK)
		return status;
	parents_make(txn, account, name);
	mailbox_make(txn, account, name, MAILBOX_USE_NONE, out);
	return STATUS_OK;
}

static enum status
change_create(struct engine_txn *txn, struct mailbox_op_state *state,
    struct mailbox_op *op, struct account_state *account)
{
	enum status status = name_check_free(txn, account, op->name);
	if (status == STATUS_OK)
		status = use_check(txn, op->use, 0);
	if (status != STATUS_OK)
		return status;
	parents_make(txn, account, op->name);
	mailbox_make(txn, account, op->name, op->use, &state->out);
	account_save(txn, account);
	return STATUS_OK;
}

static uint64_t
delete_prefix(struct engine_txn *txn, char class, uint32_t mailbox)
{
	struct key from;
	struct key to;
	key_mailbox(&from, class, mailbox);
	key_mailbox(&to, class, mailbox);
	key_next_prefix(&to);
	return engine_del_range(txn, key_slice(&from), key_slice(&to));
}

static enum status
change_delete(struct engine_txn *txn, struct mailbox_op_state *state,
    struct mailbox_op *op, struct account_state *account)
{
	static const struct uid_range everything = {1, UINT32_MAX};
	struct mailbox_state box;
	struct key key;
	uint32_t number;
	if (slice_equal(op->name, mailbox_inbox))
		return STATUS_DENIED;
	enum status status = name_load(txn, op->name, &number);
	if (status == STATUS_OK)
		status = state_load(txn, number, &box);
	if (status == STATUS_OK)
		status =
		    message_gather(txn, number, &everything, 1, NULL, &state->records);
	if (status != STATUS_OK)
		return status;
	/* The mailbox's change log goes with it; the T entries stay, they drive the
	 * purge of X. */
	const struct message_record *records = state->records.ptr;
	for (size_t i = 0; i < state->records.count; i++) {
		message_take(txn, account, &box, &records[i]);
		message_mark_time(
		    txn, number, records[i].uid, box.modseq + 1, state->base.now_s);
		message_keep_expunged(txn, number, &records[i], state->base.now_s);
	}
	delete_prefix(txn, KEY_MESSAGE, number);
	delete_prefix(txn, KEY_CHANGE, number);
	delete_prefix(txn, KEY_KEYWORDS, number);
	delete_prefix(txn, KEY_POP3, number);
	delete_prefix(txn, KEY_UIDL, number);
	delete_prefix(txn, KEY_MAP, number);
	delete_prefix(txn, KEY_RESERVED, number);
	metadata_drop(txn, number);
	delete_prefix(txn, KEY_ACL, number);
	delete_prefix(txn, KEY_STATE, number);
	key_name(&key, KEY_NAME, op->name);
	engine_del(txn, key_slice(&key));
	account->mailboxes -= account->mailboxes > 0;
	account_save(txn, account);
	return STATUS_OK;
}

/* The mailbox and everything below it; LIMIT when a new name would be too long. */
static enum status
rename_gather(struct engine_txn *txn, struct mailbox_op *op, struct vec *out)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	key_name(&from, KEY_NAME, op->name);
	key_name(&to, KEY_NAME, op->name);
	key_next_prefix(&to);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct slice name = slice_from(key, 1);
		uint32_t number;
		if (!slice_equal(name, op->name) &&
		    !mailbox_name_is_below(name, op->name))
			continue;
		size_t new_len = op->new_name.len + name.len - op->name.len;
		size_t new_depth = mailbox_name_depth(op->new_name) +
		                   mailbox_name_depth(name) -
		                   mailbox_name_depth(op->name);
		if (!name_decode(value, &number)) {
			status = STATUS_CORRUPT;
			break;
		}
		struct rename_entry *entry = vec_push(out, sizeof(*entry));
		if (!entry || new_len > MAILBOX_NAME_MAX ||
		    new_depth > MAILBOX_DEPTH_MAX) {
			status = STATUS_LIMIT;
			break;
		}
		entry->number = number;
		entry->len = name.len;
		memcpy(entry->name, name.ptr, name.len);
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static struct slice
rename_new_name(const struct mailbox_op *op, const struct rename_entry *entry,
    char out[MAILBOX_NAME_MAX])
{
	size_t tail = entry->len - op->name.len;
	memcpy(out, op->new_name.ptr, op->new_name.len);
	memcpy(out + op->new_name.len, entry->name + op->name.len, tail);
	return slice_make(out, op->new_name.len + tail);
}

/* RENAME INBOX moves the messages into a new mailbox and leaves INBOX empty; annotations
 * are on both then (RFC 5464 section 4.1). */
static enum status
rename_inbox(struct engine_txn *txn, struct mailbox_op_state *state,
    struct mailbox_op *op, struct account_state *account)
{
	static const struct uid_range everything = {1, UINT32_MAX};
	struct mailbox_state inbox;
	struct keyword_list keywords;
	uint32_t number;
	buf_reset(&state->annotations);
	enum status status = name_check_free(txn, account, op->new_name);
	if (status == STATUS_OK)
		status = name_load(txn, mailbox_inbox, &number);
	if (status == STATUS_OK)
		status = state_load(txn, number, &inbox);
	if (status == STATUS_OK)
		status = keywords_load(txn, number, &keywords);
	if (status == STATUS_OK)
		status =
		    message_gather(txn, number, &everything, 1, NULL, &state->records);
	if (status == STATUS_OK)
		status = metadata_gather(txn, number, &state->annotations);
	if (status != STATUS_OK)
		return status;
	parents_make(txn, account, op->new_name);
	mailbox_make(txn, account, op->new_name, MAILBOX_USE_NONE, &state->out);
	metadata_put(txn, state->out.number, &state->annotations);
	if (keywords.count)
		keywords_save(txn, state->out.number, &keywords);
	message_move_records(txn, account, &inbox, &state->out, state->records.ptr,
	    state->records.count, 0, state->base.now_s, NULL);
	state_save(txn, &inbox);
	state_save(txn, &state->out);
	account_save(txn, account);
	return STATUS_OK;
}

static enum status
rename_check(struct engine_txn *txn, struct mailbox_op_state *state,
    struct mailbox_op *op, const struct account_state *account)
{
	uint32_t number;
	if (slice_equal(op->new_name, op->name))
		return STATUS_EXISTS;
	if (mailbox_name_is_below(op->new_name, op->name))
		return STATUS_INVALID;
	enum status status = name_load(txn, op->name, &number);
	if (status == STATUS_OK)
		status = name_check_free(txn, account, op->new_name);
	if (status == STATUS_OK)
		status = rename_gather(txn, op, &state->renames);
	if (status != STATUS_OK)
		return status;
	/* A deleted parent may have left children at the new place. */
	const struct rename_entry *entries = state->renames.ptr;
	for (size_t i = 0; i < state->renames.count; i++) {
		char bytes[MAILBOX_NAME_MAX];
		status = name_load(txn, rename_new_name(op, &entries[i], bytes), &number);
		if (status != STATUS_NOT_FOUND)
			return status == STATUS_OK ? STATUS_EXISTS : status;
	}
	return STATUS_OK;
}

static enum status
change_rename(struct engine_txn *txn, struct mailbox_op_state *state,
    struct mailbox_op *op, struct account_state *account)
{
	if (slice_equal(op->name, mailbox_inbox))
		return rename_inbox(txn, state, op, account);
	enum status status = rename_check(txn, state, op, account);
	if (status != STATUS_OK)
		return status;
	const struct rename_entry *entries = state->renames.ptr;
	for (size_t i = 0; i < state->renames.count; i++) {
		struct mailbox_state box;
		struct key key;
		char bytes[MAILBOX_NAME_MAX];
		char record[NAME_SIZE];
		status = state_load(txn, entries[i].number, &box);
		if (status != STATUS_OK)
			return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
		box.name = rename_new_name(op, &entries[i], bytes);
		state_save(txn, &box);
		key_name(&key, KEY_NAME, slice_make(entries[i].name, entries[i].len));
		engine_del(txn, key_slice(&key));
		key_name(&key, KEY_NAME, box.name);
		record[0] = STORE_RECORD_VERSION;
		be32_put(record + NAME_NUMBER, box.number);
		engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
		if (i == 0) {
			state->out = box;
			memcpy(state->out.name_bytes, box.name.ptr, box.name.len);
			state->out.name.ptr = state->out.name_bytes;
		}
	}
	parents_make(txn, account, op->new_name);
	account_save(txn, account);
	return STATUS_OK;
}

static enum status
change_subscribe(struct engine_txn *txn, const struct mailbox_op *op)
{
	struct key key;
	char version = STORE_RECORD_VERSION;
	if (op->name.len == 0 || op->name.len > MAILBOX_NAME_MAX)
		return STATUS_INVALID;
	key_name(&key, KEY_SUBSCRIBED, op->name);
	if (op->change == MAILBOX_SUBSCRIBE)
		engine_put(txn, key_slice(&key), slice_make(&version, 1));
	else
		engine_del(txn, key_slice(&key));
	return STATUS_OK;
}

static enum status
change_set_use(
    struct engine_txn *txn, struct mailbox_op_state *state, struct mailbox_op *op)
{
	uint32_t number;
	enum status status = name_load(txn, op->name, &number);
	if (status == STATUS_OK)
		status = state_load(txn, number, &state->out);
	if (status == STATUS_OK)
		status = use_check(txn, op->use, number);
	if (status != STATUS_OK)
		return status;
	state->out.use = (uint16_t)op->use;
	state_save(txn, &state->out);
	return STATUS_OK;
}

static enum status
commit_mailbox(struct engine_txn *txn, void *arg)
{
	struct mailbox_op_state *state = arg;
	struct mailbox_op *op = (struct mailbox_op *)state->base.op;
	struct account_state account;
	state->renames.count = state->records.count = 0;
	memset(&state->out, 0, sizeof(state->out));
	enum status status = account_load(txn, &account);
	if (status != STATUS_OK)
		return status;
	switch (op->change) {
	case MAILBOX_CREATE:
		status = change_create(txn, state, op, &account);
		break;
	case MAILBOX_DELETE:
		status = change_delete(txn, state, op, &account);
		break;
	case MAILBOX_RENAME:
		status = change_rename(txn, state, op, &account);
		break;
	case MAILBOX_SUBSCRIBE:
	case MAILBOX_UNSUBSCRIBE:
		status = change_subscribe(txn, op);
		break;
	case MAILBOX_SET_USE:
		status = change_set_use(txn, state, op);
		break;
	}
	if (status != STATUS_OK)
		return status;
	info_from_state(&state->out, &op->out);
	op->out.name = op->change == MAILBOX_RENAME ? op->new_name : op->name;
	return engine_txn_status(txn);
}

static void
mailbox_op_release(struct store_op_state *base)
{
	struct mailbox_op_state *state = (struct mailbox_op_state *)base;
	vec_fini(&state->renames);
	vec_fini(&state->records);
	buf_fini(&state->annotations);
}

static bool
name_is_sane(struct slice name)
{
	return name.len > 0 && name.len <= MAILBOX_NAME_MAX;
}

void
mailbox_op_submit(struct store_reader *reader, struct mailbox_op *op)
{
	struct mailbox_op_state *state = op_state_new(reader, &op->op, sizeof(*state));
	state->base.release = mailbox_op_release;
	buf_init(&state->annotations, METADATA_GATHERED_MAX);
	if (!name_is_sane(op->name) ||
	    (op->change == MAILBOX_RENAME && !name_is_sane(op->new_name)) ||
	    op->use > UINT16_MAX) {
		op_refuse(&state->base, STATUS_INVALID);
		return;
	}
	state->base.commit.grows = op->change == MAILBOX_CREATE;
	op_submit(&state->base, partition_account(op->account), commit_mailbox);
}

/* ---- recent ---- */
static enum status
commit_recent(struct engine_txn *txn, void *arg)
{
	struct store_op_state *state = arg;
	struct mailbox_recent_op *op = (struct mailbox_recent_op *)state->op;
	struct account_state account;
	struct mailbox_state box;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = state_load(txn, op->mailbox, &box);
	if (status != STATUS_OK)
		return status;
	uint32_t to = op->uidnext < box.uidnext ? op->uidnext : box.uidnext;
	op->out_first_recent = box.first_recent;
	if (to <= box.first_recent)
		return STATUS_OK;
	box.first_recent = to;
	state_save(txn, &box);
	return engine_txn_status(txn);
}

void
mailbox_recent_submit(struct store_reader *reader, struct mailbox_recent_op *op)
{
	struct store_op_state *state = op_state_new(reader, &op->op, sizeof(*state));
	op_submit(state, partition_account(op->account), commit_recent);
}
