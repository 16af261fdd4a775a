/*
 * The outbound queue, writing: new messages, and results of attempts with the reports
 * they cause.  The operator's wishes are in queue_wish.c.
 *
 * Results are idempotent: one for a recipient that is not there any more (the operator
 * deleted it meanwhile) changes nothing.  A recipient that was put on hold during an
 * attempt stays on hold.
 */
#include "store/queue_int.h"

#include <stdlib.h>

#include "base/hashmap.h"
#include "store/body_int.h"

enum { QUEUE_TEXT_MAX = 1024 /* bytes */ };

/* A copy of a record that stays good over writes. */
struct kept_message {
	struct queue_message message;
	struct buf bytes;
};

static enum status
message_keep(
    struct engine_txn *txn, const char id[ID_TEXT_SIZE], struct kept_message *out)
{
	struct key key;
	struct slice value;
	buf_init(&out->bytes, QUEUE_RECORD_MAX);
	key_queue_message(&key, id);
	enum status status = engine_get(txn, key_slice(&key), &value);
	if (status != STATUS_OK)
		return status;
	buf_append(&out->bytes, value);
	return queue_message_decode(
		   buf_slice(&out->bytes), slice_make(id, ID_TEXT_LEN), &out->message)
	           ? STATUS_OK
	           : STATUS_CORRUPT;
}

static void
message_put(struct engine_txn *txn, const struct queue_message *message)
{
	struct key key;
	AUTO_BUF struct buf record;
	buf_init(&record, QUEUE_RECORD_MAX);
	queue_message_encode(message, &record);
	ENSURE(buf_ok(&record));
	key_queue_message(&key, message->id);
	engine_put(txn, key_slice(&key), buf_slice(&record));
}

void
queue_recipient_put(struct engine_txn *txn, const struct queue_recipient *recipient)
{
	struct key key;
	AUTO_BUF struct buf record;
	buf_init(&record, QUEUE_RECORD_MAX);
	queue_recipient_encode(recipient, &record);
	ENSURE(buf_ok(&record));
	key_queue_recipient(&key, recipient->id, recipient->number);
	engine_put(txn, key_slice(&key), buf_slice(&record));
}

/* hash_stable of what stands behind the "@", or of all, in lower case. */
static uint64_t
hash_folded(struct slice text, bool domain_only)
{
	char folded[QUEUE_ADDRESS_MAX];
	size_t at = domain_only ? slice_rindex(text, '@') : SIZE_MAX;
	if (at != SIZE_MAX)
		text = slice_from(text, at + 1);
	text = slice_sub(text, 0, sizeof(folded));
	for (size_t i = 0; i < text.len; i++)
		folded[i] = ascii_lower(text.ptr[i]);
	return hash_stable(slice_make(folded, text.len));
}

uint64_t
queue_site_hash(struct slice domain)
{
	return hash_folded(domain, true);
}

/* A login is one sender under whatever addresses it sends (VERP). */
struct slice
queue_sender_name(const struct queue_message *message)
{
	size_t at = slice_rindex(message->sender, '@');
	if (message->login.len)
		return message->login;
	return at == SIZE_MAX ? message->sender : slice_from(message->sender, at + 1);
}

uint64_t
queue_sender_hash(struct slice name)
{
	return hash_folded(name, false);
}

uint64_t
queue_tenant_hash(struct slice name)
{
	return name.len ? hash_folded(name, false) : 0;
}

void
queue_due_put(struct engine_txn *txn, const struct queue_recipient *recipient,
    const struct queue_owner *owner)
{
	struct key key;
	char record[QDUE_SIZE_MAX];
	bool of_tenant = owner->tenant != 0 || owner->campaign != 0;
	record[0] = STORE_RECORD_VERSION;
	be64_put(record + QDUE_SENDER, owner->sender);
	be64_put(record + QDUE_SITE, hash_folded(recipient->address, true));
	be64_put(record + QDUE_TENANT, owner->tenant);
	be64_put(record + QDUE_CAMPAIGN, owner->campaign);
	key_queue_due(&key, recipient->due_s, recipient->id, recipient->number);
	engine_put(txn, key_slice(&key),
	    slice_make(record, of_tenant ? QDUE_SIZE_MAX : QDUE_SIZE));
}

void
queue_owner_of(const struct queue_message *message, struct queue_owner *out)
{
	*out = (struct queue_owner){
	    .sender = queue_sender_hash(queue_sender_name(message)),
	    .tenant = queue_tenant_hash(message->tenant),
	    .campaign = queue_tenant_hash(message->campaign),
	};
}

void
queue_due_del(struct engine_txn *txn, const struct queue_recipient *recipient)
{
	struct key key;
	if (recipient->state != QUEUE_WAITING)
		return;
	key_queue_due(&key, recipient->due_s, recipient->id, recipient->number);
	engine_del(txn, key_slice(&key));
}

int64_t
queue_due_clamp(int64_t due_s)
{
	return due_s < 0 ? 0 : due_s;
}

struct queue_owner
queue_owner_load(struct engine_txn *txn, const char id[ID_TEXT_SIZE])
{
	struct queue_message message;
	struct queue_owner owner = {0};
	if (queue_message_load(txn, id, &message) == STATUS_OK)
		queue_owner_of(&message, &owner);
	return owner;
}

/* ---- adding ---- */
static bool
name_is_good(struct slice name)
{
	return name.len == 0 || tenant_name_is_good(name);
}

static enum status
new_check(const struct queue_new_message *message)
{
	char id[ID_TEXT_SIZE];
	if (message->recipient_count == 0 ||
	    !queue_id_fold(slice_make(message->id, ID_TEXT_LEN), id) ||
	    message->sender.len > QUEUE_ADDRESS_MAX ||
	    message->login.len > QUEUE_TEXT_MAX || message->origin.len > QUEUE_TEXT_MAX ||
	    message->unsubscribe.len > QUEUE_UNSUBSCRIBE_MAX ||
	    message->envid.len > QUEUE_ENVID_MAX || message->hold.len > QUEUE_HOLD_MAX ||
	    message->priority < -9 || message->priority > 9 ||
	    !name_is_good(message->tenant) || !name_is_good(message->campaign))
		return STATUS_INVALID;
	if (message->recipient_count > QUEUE_RECIPIENTS_MAX)
		return STATUS_LIMIT;
	for (size_t i = 0; i < message->recipient_count; i++)
		if (message->recipients[i].address.len == 0 ||
		    message->recipients[i].address.len > QUEUE_ADDRESS_MAX ||
		    message->recipients[i].original.len > QUEUE_ADDRESS_MAX ||
		    message->recipients[i].orcpt.len > QUEUE_ORCPT_MAX ||
		    (message->recipients[i].notify & ~QUEUE_NOTIFY_ALL))
			return STATUS_INVALID;
	return STATUS_OK;
}

/* EXISTS when the id is taken: it is random, so the same commit has run before. */
static enum status
new_check_free(struct engine_txn *txn, const struct queue_new_message *message)
{
	struct queue_message old;
	char id[ID_TEXT_SIZE];
	(void)queue_id_fold(slice_make(message->id, ID_TEXT_LEN), id);
	enum status status = queue_message_load(txn, id, &old);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	return status == STATUS_OK ? STATUS_EXISTS : status;
}

static enum status
new_put(struct engine_txn *txn, const struct queue_new_message *new_message,
    struct queue_counts *counts)
{
	struct key key;
	char version = STORE_RECORD_VERSION;
	struct queue_message message = {
	    .sender = new_message->sender,
	    .login = new_message->login,
	    .origin = new_message->origin,
	    .created_s = new_message->created_s,
	    .expires_s = new_message->expires_s,
	    .flags = new_message->flags,
	    .recipients = (uint32_t)new_message->recipient_count,
	    .size = body_draft_size(new_message->draft),
	    .envid = new_message->envid,
	    .by_s = new_message->by_s,
	    .priority = new_message->priority,
	    .hold = new_message->hold,
	    .tenant = new_message->tenant,
	    .campaign = new_message->campaign,
	    .unsubscribe = new_message->unsubscribe,
	};
	(void)queue_id_fold(slice_make(new_message->id, ID_TEXT_LEN), message.id);
	enum status status = engine_body_attach(txn, new_message->draft, &message.body);
	if (status != STATUS_OK)
		return status;
	message_put(txn, &message);
	key_queue_oldest(&key, message.created_s, message.id);
	engine_put(txn, key_slice(&key), slice_make(&version, 1));
	struct queue_owner owner;
	queue_owner_of(&message, &owner);
	for (size_t i = 0; i < new_message->recipient_count; i++) {
		struct queue_recipient recipient = {
		    .number = (uint32_t)i,
		    .address = new_message->recipients[i].address,
		    .original = new_message->recipients[i].original,
		    .state = new_message->held ? QUEUE_HELD : QUEUE_WAITING,
		    .due_s = queue_due_clamp(new_message->due_s),
		    .notify = new_message->recipients[i].notify,
		    .orcpt = new_message->recipients[i].orcpt,
		};
		memcpy(recipient.id, message.id, sizeof(recipient.id));
		queue_recipient_put(txn, &recipient);
		if (recipient.state == QUEUE_WAITING)
			queue_due_put(txn, &recipient, &owner);
	}
	struct queue_counts more = {
	    .messages = 1,
	    .recipients = new_message->recipient_count,
	    .held = new_message->held ? new_message->recipient_count : 0,
	};
	counts->messages += more.messages;
	counts->recipients += more.recipients;
	counts->held += more.held;
	return queue_tenant_count(txn, &message, &more, &(struct queue_counts){0});
}

static enum status
commit_queue_add(struct engine_txn *txn, void *arg)
{
	struct store_op_state *state = arg;
	struct queue_add_op *op = (struct queue_add_op *)state->op;
	struct queue_counts counts;
	enum status status = new_check_free(txn, &op->message);
	if (status == STATUS_OK)
		status = queue_tenant_room(txn, op->message.tenant);
	if (status == STATUS_OK)
		status = queue_counts_load(txn, &counts);
	if (status == STATUS_OK)
		status = new_put(txn, &op->message, &counts);
	if (status != STATUS_OK)
		return status;
	queue_counts_save(txn, &counts);
	return engine_txn_status(txn);
}

void
queue_add_submit(struct store_reader *reader, struct queue_add_op *op)
{
	struct store_op_state *state = op_state_new(reader, &op->op, sizeof(*state));
	enum status status = new_check(&op->message);
	if (status != STATUS_OK) {
		op_refuse(state, status);
		return;
	}
	state->drafts = body_draft_ref(op->message.draft);
	op_submit(state, partition_queue(), commit_queue_add);
}

/* ---- going ---- */
void
queue_count_down(uint64_t *value, uint64_t by)
{
	*value = *value > by ? *value - by : 0;
}

/* The recipient leaves; with the last one the message and its body go too. */
enum status
queue_recipient_leave(struct engine_txn *txn, const struct queue_recipient *recipient,
    struct queue_counts *counts)
{
	struct kept_message kept;
	struct key key;
	char id[ID_TEXT_SIZE];
	uint32_t number = recipient->number;
	memcpy(id, recipient->id, sizeof(id));
	queue_count_down(&counts->recipients, 1);
	queue_count_down(&counts->held, recipient->state == QUEUE_HELD);
	queue_due_del(txn, recipient);
	key_queue_recipient(&key, id, number);
	engine_del(txn, key_slice(&key));
	enum status status = message_keep(txn, id, &kept);
	struct queue_counts fewer = {
	    .recipients = 1,
	    .held = recipient->state == QUEUE_HELD,
	};
	if (status == STATUS_OK) {
		kept.message.recipients -= kept.message.recipients > 0;
		fewer.messages = kept.message.recipients == 0;
		status = queue_tenant_count(
		    txn, &kept.message, &(struct queue_counts){0}, &fewer);
	}
	if (status == STATUS_OK) {
		if (kept.message.recipients) {
			message_put(txn, &kept.message);
		} else {
			key_queue_message(&key, id);
			engine_del(txn, key_slice(&key));
			key_queue_oldest(&key, kept.message.created_s, id);
			engine_del(txn, key_slice(&key));
			queue_count_down(&counts->messages, 1);
			status = engine_body_release(txn, kept.message.body);
		}
	}
	buf_fini(&kept.bytes);
	return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
}

static enum status
recipient_defer(struct engine_txn *txn, const struct queue_recipient *old,
    const struct queue_result *result, int64_t now_s)
{
	struct queue_recipient recipient = *old;
	AUTO_BUF struct buf texts;
	buf_init(&texts, QUEUE_RECORD_MAX);
	/* The old texts lie in the record: a copy of it stays good over the delete. */
	queue_recipient_encode(old, &texts);
	ENSURE(buf_ok(&texts) &&
	       queue_recipient_decode(buf_slice(&texts), slice_make(old->id, ID_TEXT_LEN),
		   old->number, &recipient));
	struct queue_owner owner = queue_owner_load(txn, old->id);
	queue_due_del(txn, old);
	recipient.attempts++;
	recipient.notify |= result->told;
	recipient.last_try_s = now_s;
	recipient.last_reply = slice_sub(result->reply, 0, QUEUE_REPLY_MAX);
	recipient.due_s = queue_due_clamp(result->due_s);
	queue_recipient_put(txn, &recipient);
	if (recipient.state == QUEUE_WAITING)
		queue_due_put(txn, &recipient, &owner);
	return engine_txn_status(txn);
}

static enum status
result_apply(struct engine_txn *txn, const struct queue_result *result, int64_t now_s,
    struct queue_counts *counts)
{
	struct queue_recipient recipient;
	char id[ID_TEXT_SIZE];
	if (!queue_id_fold(slice_make(result->id, ID_TEXT_LEN), id))
		return STATUS_INVALID;
	enum status status = queue_recipient_load(txn, id, result->number, &recipient);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	if (result->outcome == QUEUE_DEFERRED)
		return recipient_defer(txn, &recipient, result, now_s);
	return queue_recipient_leave(txn, &recipient, counts);
}

static enum status
commit_queue_result(struct engine_txn *txn, void *arg)
{
	struct store_op_state *state = arg;
	struct queue_result_op *op = (struct queue_result_op *)state->op;
	struct queue_counts counts;
	enum status status = queue_counts_load(txn, &counts);
	for (size_t i = 0; i < op->report_count && status == STATUS_OK; i++)
		status = new_check_free(txn, &op->reports[i]);
	for (size_t i = 0; i < op->report_count && status == STATUS_OK; i++)
		status = new_put(txn, &op->reports[i], &counts);
	for (size_t i = 0; i < op->result_count && status == STATUS_OK; i++)
		status = result_apply(txn, &op->results[i], op->now_s, &counts);
	if (status != STATUS_OK)
		return status;
	queue_counts_save(txn, &counts);
	return engine_txn_status(txn);
}

void
queue_result_submit(struct store_reader *reader, struct queue_result_op *op)
{
	struct store_op_state *state = op_state_new(reader, &op->op, sizeof(*state));
	enum status status = STATUS_OK;
	for (size_t i = 0; i < op->report_count && status == STATUS_OK; i++)
		status = new_check(&op->reports[i]);
	for (size_t i = 0; i < op->result_count && status == STATUS_OK; i++)
		if (!id_is_valid(slice_make(op->results[i].id, ID_TEXT_LEN)) ||
		    (op->results[i].told & ~QUEUE_NOTIFY_ALL))
			status = STATUS_INVALID;
	if (status != STATUS_OK) {
		op_refuse(state, status);
		return;
	}
	if (op->report_count) {
		struct body_draft *first = op->reports[0].draft;
		bool chained = first->next != NULL;
		for (size_t i = 1; i < op->report_count && !chained; i++)
			body_draft_chain(op->reports[i - 1].draft,
			    body_draft_ref(op->reports[i].draft));
		state->drafts = body_draft_ref(first);
	}
	op_submit(state, partition_queue(), commit_queue_result);
}
