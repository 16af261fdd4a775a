/*
 * Brings back expunged messages while their X records are there: new UIDs (a UID is never
 * used twice), the flags they had but \Deleted, the keywords where the mailbox is still
 * there.  Walks the T keys in steps, one commit each; what came back has no X any more,
 * so a second walk finds nothing.
 */
#include "store/undelete.h"

#include "store/mailbox_int.h"

#include "base/clock.h"

enum { STEP_MESSAGES_MAX = 256 };

struct undelete {
	int64_t now_s;
	/* Where the step begins, and where the next one does. */
	struct key from;
	struct key next;
	bool more;
	bool full; /* no room for the next one */
	/* Or only these. */
	const struct expunged_pick *picks;
	size_t pick_count;
	uint64_t count;   /* of this step */
	struct vec found; /* struct found */
};

struct found {
	struct time_key time;
	struct message_record message;
};

static enum status
undelete_gather(struct engine_txn *txn, struct undelete *undelete)
{
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	size_t looked = 0;
	undelete->found.count = 0;
	undelete->more = false;
	key_begin(&to, KEY_TIME + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&undelete->from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct found found;
		struct key expunged;
		int64_t time_s;
		if (looked++ == STEP_MESSAGES_MAX) {
			undelete->more = true;
			undelete->next.len = 0;
			key_bytes(&undelete->next, key);
			break;
		}
		if (!key_time_decode(key, &found.time)) {
			status = STATUS_CORRUPT;
			break;
		}
		key_message(&expunged, KEY_EXPUNGED, found.time.mailbox, found.time.uid);
		status = engine_get(txn, key_slice(&expunged), &value);
		if (status == STATUS_NOT_FOUND)
			continue; /* purged, or back already */
		if (status == STATUS_OK &&
		    !expunged_decode(value, found.time.uid, &found.message, &time_s))
			status = STATUS_CORRUPT;
		if (status != STATUS_OK)
			break;
		struct found *at = vec_push(&undelete->found, sizeof(*at));
		if (!at) {
			status = STATUS_LIMIT;
			break;
		}
		*at = found;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* The picked ones that are still there. */
static enum status
picks_gather(struct engine_txn *txn, struct undelete *undelete)
{
	undelete->found.count = 0;
	for (size_t i = 0; i < undelete->pick_count; i++) {
		const struct expunged_pick *pick = &undelete->picks[i];
		struct found found = {
		    .time = {pick->expunged_s, pick->mailbox, pick->uid}
                };
		struct slice value;
		struct key key;
		int64_t time_s;
		key_message(&key, KEY_EXPUNGED, pick->mailbox, pick->uid);
		enum status status = engine_get(txn, key_slice(&key), &value);
		if (status == STATUS_NOT_FOUND)
			continue;
		if (status == STATUS_OK &&
		    !expunged_decode(value, pick->uid, &found.message, &time_s))
			status = STATUS_CORRUPT;
		struct found *at =
		    status == STATUS_OK ? vec_push(&undelete->found, sizeof(*at)) : NULL;
		if (!at)
			return status == STATUS_OK ? STATUS_LIMIT : status;
		*at = found;
	}
	return STATUS_OK;
}

static enum status
undelete_one(struct engine_txn *txn, struct account_state *account,
    const struct found *found, int64_t now_s)
{
	struct mailbox_state box;
	struct keyword_list keywords;
	struct message_record message = found->message;
	struct key key;
	uint32_t number = found->time.mailbox;
	enum status status = state_load(txn, number, &box);
	if (status == STATUS_NOT_FOUND) {
		message.keywords = 0;
		status = name_load(txn, mailbox_inbox, &number);
		if (status == STATUS_OK)
			status = state_load(txn, number, &box);
	} else if (status == STATUS_OK) {
		status = keywords_load(txn, number, &keywords);
		if (status == STATUS_OK && keywords.count < MAILBOX_KEYWORDS_MAX)
			message.keywords &= (UINT64_C(1) << keywords.count) - 1;
	}
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
	if (box.uidnext == UINT32_MAX)
		return STATUS_LIMIT;
	message.flags &= (uint8_t)~MESSAGE_DELETED;
	message.save_date_s = now_s;
	key_message(&key, KEY_EXPUNGED, found->time.mailbox, found->time.uid);
	engine_del(txn, key_slice(&key));
	message_add(txn, account, &box, &message, box.modseq + 1);
	state_save(txn, &box);
	return STATUS_OK;
}

static enum status
commit_undelete(struct engine_txn *txn, void *arg)
{
	struct undelete *undelete = arg;
	struct account_state account;
	undelete->count = 0;
	undelete->full = false;
	enum status status = account_load(txn, &account);
	if (status == STATUS_OK)
		status = undelete->picks ? picks_gather(txn, undelete)
		                         : undelete_gather(txn, undelete);
	const struct found *found = undelete->found.ptr;
	for (size_t i = 0; i < undelete->found.count && status == STATUS_OK; i++) {
		undelete->full = quota_is_passed(&account, found[i].message.size, 1);
		if (undelete->full)
			break;
		status = undelete_one(txn, &account, &found[i], undelete->now_s);
		undelete->count += status == STATUS_OK;
	}
	if (status != STATUS_OK)
		return status;
	if (undelete->count)
		account_save(txn, &account);
	return engine_txn_status(txn);
}

enum status
message_undelete(struct store_reader *reader, struct account_id account, int64_t since_s,
    uint64_t *out_count)
{
	struct undelete undelete = {.now_s = clock_wall_s(), .more = true};
	enum status status = STATUS_OK;
	uint64_t count = 0;
	key_time(&undelete.from, since_s, 0, 0);
	while (status == STATUS_OK && undelete.more) {
		status = store_commit_wait(
		    reader, partition_account(account), commit_undelete, &undelete);
		if (status == STATUS_OK)
			count += undelete.count;
		if (status == STATUS_OK && undelete.full)
			status = STATUS_QUOTA;
		undelete.from = undelete.next;
	}
	vec_fini(&undelete.found);
	if (status == STATUS_OK || status == STATUS_QUOTA)
		*out_count = count;
	return status;
}

enum status
message_undelete_picks(struct store_reader *reader, struct account_id account,
    const struct expunged_pick *picks, size_t count, uint64_t *out_count)
{
	struct undelete undelete = {.now_s = clock_wall_s()};
	enum status status = STATUS_OK;
	uint64_t back = 0;
	for (size_t i = 0; i < count && status == STATUS_OK; i += STEP_MESSAGES_MAX) {
		undelete.picks = picks + i;
		undelete.pick_count =
		    count - i < STEP_MESSAGES_MAX ? count - i : STEP_MESSAGES_MAX;
		status = store_commit_wait(
		    reader, partition_account(account), commit_undelete, &undelete);
		if (status == STATUS_OK)
			back += undelete.count;
		if (status == STATUS_OK && undelete.full)
			status = STATUS_QUOTA;
	}
	vec_fini(&undelete.found);
	if (status == STATUS_OK || status == STATUS_QUOTA)
		*out_count = back;
	return status;
}

/* ---- listing ---- */
enum status
message_expunged_each(struct store_reader *reader, struct account_id account,
    int64_t since_s, int64_t until_s,
    bool (*fn)(const struct expunged_message *message, void *arg), void *arg)
{
	struct engine_txn *txn;
	struct account_state state;
	struct key from, to, expunged;
	struct slice key, value;
	struct mailbox_state box = {.number = 0};
	enum status status = account_snap(reader, account, &txn, &state);
	if (status != STATUS_OK)
		return status;
	key_time(&from, since_s < 0 ? 0 : since_s, 0, 0);
	key_begin(&to, KEY_TIME + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	bool go_on = true;
	while (
	    go_on && (status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct expunged_message message;
		struct time_key time;
		if (!key_time_decode(key, &time)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (time.time_s > until_s)
			break;
		key_message(&expunged, KEY_EXPUNGED, time.mailbox, time.uid);
		status = engine_get(txn, key_slice(&expunged), &value);
		if (status == STATUS_NOT_FOUND)
			continue; /* moved, purged, or back already */
		if (status == STATUS_OK && !expunged_decode(value, time.uid,
					       &message.record, &message.expunged_s))
			status = STATUS_CORRUPT;
		if (status != STATUS_OK)
			break;
		if (box.number != time.mailbox) {
			box.name = SLICE_NULL;
			if (state_load(txn, time.mailbox, &box) != STATUS_OK)
				box = (struct mailbox_state){.number = time.mailbox};
		}
		message.mailbox = time.mailbox;
		message.name = box.name;
		go_on = fn(&message, arg);
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
