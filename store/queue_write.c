/*
 * The outbound queue, writing: new messages, results of attempts with the reports they
 * cause, and the operator's wishes.
 *
 * Results are idempotent: one for a recipient that is not there any more (the operator
 * deleted it meanwhile) changes nothing.  A recipient that was put on hold during an
 * attempt stays on hold.
 */
#include "store/queue_int.h"

#include <stdlib.h>

#include "base/hashmap.h"
#include "store/body_int.h"

enum { QUEUE_ADDRESS_MAX = 1024, QUEUE_TEXT_MAX = 1024 /* bytes */ };

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

static void
recipient_put(struct engine_txn *txn, const struct queue_recipient *recipient)
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

static void
due_put(struct engine_txn *txn, const struct queue_recipient *recipient, uint64_t sender)
{
	struct key key;
	char record[QDUE_SIZE];
	record[0] = STORE_RECORD_VERSION;
	be64_put(record + QDUE_SENDER, sender);
	be64_put(record + QDUE_SITE, hash_folded(recipient->address, true));
	key_queue_due(&key, recipient->due_s, recipient->id, recipient->number);
	engine_put(txn, key_slice(&key), slice_make(record, sizeof(record)));
}

/* 0 when the message is not there: fairness alone depends on it. */
static uint64_t
sender_hash_of(struct engine_txn *txn, const char id[ID_TEXT_SIZE])
{
	struct queue_message message;
	return queue_message_load(txn, id, &message) == STATUS_OK
	           ? queue_sender_hash(queue_sender_name(&message))
	           : 0;
}

static void
due_del(struct engine_txn *txn, const struct queue_recipient *recipient)
{
	struct key key;
	if (recipient->state != QUEUE_WAITING)
		return;
	key_queue_due(&key, recipient->due_s, recipient->id, recipient->number);
	engine_del(txn, key_slice(&key));
}

static int64_t
due_clamp(int64_t due_s)
{
	return due_s < 0 ? 0 : due_s;
}

/* ---- adding ---- */
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
	    message->priority < -9 || message->priority > 9)
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
	    .unsubscribe = new_message->unsubscribe,
	};
	(void)queue_id_fold(slice_make(new_message->id, ID_TEXT_LEN), message.id);
	enum status status = engine_body_attach(txn, new_message->draft, &message.body);
	if (status != STATUS_OK)
		return status;
	message_put(txn, &message);
	key_queue_oldest(&key, message.created_s, message.id);
	engine_put(txn, key_slice(&key), slice_make(&version, 1));
	uint64_t sender = queue_sender_hash(queue_sender_name(&message));
	for (size_t i = 0; i < new_message->recipient_count; i++) {
		struct queue_recipient recipient = {
		    .number = (uint32_t)i,
		    .address = new_message->recipients[i].address,
		    .original = new_message->recipients[i].original,
		    .state = new_message->held ? QUEUE_HELD : QUEUE_WAITING,
		    .due_s = due_clamp(new_message->due_s),
		    .notify = new_message->recipients[i].notify,
		    .orcpt = new_message->recipients[i].orcpt,
		};
		memcpy(recipient.id, message.id, sizeof(recipient.id));
		recipient_put(txn, &recipient);
		if (recipient.state == QUEUE_WAITING)
			due_put(txn, &recipient, sender);
	}
	counts->messages++;
	counts->recipients += new_message->recipient_count;
	counts->held += new_message->held ? new_message->recipient_count : 0;
	return engine_txn_status(txn);
}

static enum status
commit_queue_add(struct engine_txn *txn, void *arg)
{
	struct store_op_state *state = arg;
	struct queue_add_op *op = (struct queue_add_op *)state->op;
	struct queue_counts counts;
	enum status status = new_check_free(txn, &op->message);
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
static void
count_down(uint64_t *value, uint64_t by)
{
	*value = *value > by ? *value - by : 0;
}

/* The recipient leaves; with the last one the message and its body go too. */
static enum status
recipient_leave(struct engine_txn *txn, const struct queue_recipient *recipient,
    struct queue_counts *counts)
{
	struct kept_message kept;
	struct key key;
	char id[ID_TEXT_SIZE];
	uint32_t number = recipient->number;
	memcpy(id, recipient->id, sizeof(id));
	count_down(&counts->recipients, 1);
	count_down(&counts->held, recipient->state == QUEUE_HELD);
	due_del(txn, recipient);
	key_queue_recipient(&key, id, number);
	engine_del(txn, key_slice(&key));
	enum status status = message_keep(txn, id, &kept);
	if (status == STATUS_OK) {
		kept.message.recipients -= kept.message.recipients > 0;
		if (kept.message.recipients) {
			message_put(txn, &kept.message);
		} else {
			key_queue_message(&key, id);
			engine_del(txn, key_slice(&key));
			key_queue_oldest(&key, kept.message.created_s, id);
			engine_del(txn, key_slice(&key));
			count_down(&counts->messages, 1);
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
	uint64_t sender = sender_hash_of(txn, old->id);
	due_del(txn, old);
	recipient.attempts++;
	recipient.notify |= result->told;
	recipient.last_try_s = now_s;
	recipient.last_reply = slice_sub(result->reply, 0, QUEUE_REPLY_MAX);
	recipient.due_s = due_clamp(result->due_s);
	recipient_put(txn, &recipient);
	if (recipient.state == QUEUE_WAITING)
		due_put(txn, &recipient, sender);
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
	return recipient_leave(txn, &recipient, counts);
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

/* ---- the operator ---- */
struct wish {
	char id[ID_TEXT_SIZE];
	uint32_t number;
	enum queue_wish wish;
	struct slice address; /* not null: redirect to it instead of a wish */
	int64_t now_s;
	uint64_t recipients;
	struct vec numbers; /* uint32_t */
};

static enum status
wish_gather(struct engine_txn *txn, struct wish *wish)
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status;
	bool all = wish->number == QUEUE_ALL;
	wish->numbers.count = 0;
	key_queue_recipient(&from, wish->id, all ? 0 : wish->number);
	key_queue_recipient(&to, wish->id, all ? UINT32_MAX : wish->number + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		uint32_t *at = vec_push(&wish->numbers, sizeof(*at));
		if (!at || key.len != 1 + ID_TEXT_LEN + 4) {
			status = at ? STATUS_CORRUPT : STATUS_LIMIT;
			break;
		}
		*at = be32_get(key.ptr + 1 + ID_TEXT_LEN);
	}
	engine_cursor_close(&cursor);
	if (status == STATUS_NOT_FOUND)
		status = wish->numbers.count ? STATUS_OK : STATUS_NOT_FOUND;
	return status;
}

/* Texts are copied: they would not survive the delete of the due key. */
static enum status
recipient_change(struct engine_txn *txn, const struct queue_recipient *old,
    enum queue_state state, int64_t due_s, struct queue_counts *counts)
{
	struct queue_recipient recipient = *old;
	AUTO_BUF struct buf record;
	buf_init(&record, QUEUE_RECORD_MAX);
	if (old->state == QUEUE_HELD && state != QUEUE_HELD)
		count_down(&counts->held, 1);
	if (old->state != QUEUE_HELD && state == QUEUE_HELD)
		counts->held++;
	recipient.state = state;
	recipient.due_s = due_clamp(due_s);
	queue_recipient_encode(&recipient, &record);
	ENSURE(buf_ok(&record));
	uint64_t sender = sender_hash_of(txn, old->id);
	/* Put from the copy: the record is moved by the delete. */
	AUTO_BUF struct buf address;
	buf_init(&address, QUEUE_ADDRESS_MAX);
	buf_append(&address, old->address);
	recipient.address = buf_slice(&address);
	due_del(txn, old);
	struct key key;
	key_queue_recipient(&key, recipient.id, recipient.number);
	engine_put(txn, key_slice(&key), buf_slice(&record));
	if (state == QUEUE_WAITING)
		due_put(txn, &recipient, sender);
	return engine_txn_status(txn);
}

static enum status
wish_apply(struct engine_txn *txn, struct wish *wish,
    const struct queue_recipient *recipient, struct queue_counts *counts)
{
	switch (wish->wish) {
	case QUEUE_RETRY:
		if (recipient->state != QUEUE_WAITING)
			return STATUS_OK;
		wish->recipients++;
		return recipient_change(
		    txn, recipient, QUEUE_WAITING, wish->now_s, counts);
	case QUEUE_HOLD:
		if (recipient->state == QUEUE_HELD)
			return STATUS_OK;
		wish->recipients++;
		return recipient_change(
		    txn, recipient, QUEUE_HELD, recipient->due_s, counts);
	case QUEUE_RELEASE:
		if (recipient->state != QUEUE_HELD)
			return STATUS_OK;
		wish->recipients++;
		return recipient_change(
		    txn, recipient, QUEUE_WAITING, wish->now_s, counts);
	case QUEUE_DELETE:
		wish->recipients++;
		return recipient_leave(txn, recipient, counts);
	}
	UNREACHABLE();
}

/* As new, but where it is from and what was asked for it stay. */
static enum status
redirect_apply(
    struct engine_txn *txn, struct wish *wish, const struct queue_recipient *old)
{
	struct queue_recipient recipient = *old;
	struct queue_recipient before = *old;
	AUTO_BUF struct buf texts;
	buf_init(&texts, QUEUE_RECORD_MAX);
	/* Copies: they would not survive the writes. */
	buf_append(&texts, old->address);
	buf_append(&texts, old->original);
	buf_append(&texts, old->orcpt);
	ENSURE(buf_ok(&texts));
	before.address = slice_sub(buf_slice(&texts), 0, old->address.len);
	recipient.address = wish->address;
	recipient.notify &= (uint8_t)~QUEUE_NOTIFY_RESOLVED;
	recipient.original =
	    slice_sub(buf_slice(&texts), old->address.len, old->original.len);
	recipient.orcpt =
	    slice_from(buf_slice(&texts), old->address.len + old->original.len);
	recipient.last_reply = SLICE_NULL;
	recipient.attempts = 0;
	recipient.due_s = due_clamp(wish->now_s);
	uint64_t sender = sender_hash_of(txn, old->id);
	wish->recipients++;
	due_del(txn, &before);
	recipient_put(txn, &recipient);
	if (recipient.state == QUEUE_WAITING)
		due_put(txn, &recipient, sender);
	return engine_txn_status(txn);
}

static enum status
commit_wish(struct engine_txn *txn, void *arg)
{
	struct wish *wish = arg;
	struct queue_counts counts;
	wish->recipients = 0;
	enum status status = wish_gather(txn, wish);
	if (status == STATUS_OK)
		status = queue_counts_load(txn, &counts);
	const uint32_t *numbers = wish->numbers.ptr;
	for (size_t i = 0; i < wish->numbers.count && status == STATUS_OK; i++) {
		struct queue_recipient recipient;
		status = queue_recipient_load(txn, wish->id, numbers[i], &recipient);
		if (status == STATUS_OK)
			status = wish->address.ptr
			             ? redirect_apply(txn, wish, &recipient)
			             : wish_apply(txn, wish, &recipient, &counts);
	}
	if (status != STATUS_OK)
		return status;
	queue_counts_save(txn, &counts);
	return engine_txn_status(txn);
}

static enum status
wish_run(struct store_reader *reader, struct slice id, struct wish *w,
    uint64_t *out_recipients)
{
	if (!queue_id_fold(id, w->id))
		return STATUS_NOT_FOUND;
	enum status status = store_commit_wait(reader, partition_queue(), commit_wish, w);
	vec_fini(&w->numbers);
	if (status == STATUS_OK)
		*out_recipients = w->recipients;
	return status;
}

enum status
queue_wish(struct store_reader *reader, struct slice id, uint32_t number,
    enum queue_wish wish, int64_t now_s, uint64_t *out_recipients)
{
	struct wish w = {.number = number, .wish = wish, .now_s = now_s};
	return wish_run(reader, id, &w, out_recipients);
}

enum status
queue_redirect(struct store_reader *reader, struct slice id, uint32_t number,
    struct slice address, int64_t now_s, uint64_t *out_recipients)
{
	struct wish w = {.number = number, .address = address, .now_s = now_s};
	if (address.len == 0 || address.len > QUEUE_ADDRESS_MAX)
		return STATUS_INVALID;
	return wish_run(reader, id, &w, out_recipients);
}

struct wishes {
	struct wish items[QUEUE_WISH_MANY_MAX];
	size_t count;
};

static enum status
commit_wishes(struct engine_txn *txn, void *arg)
{
	struct wishes *wishes = arg;
	for (size_t i = 0; i < wishes->count; i++) {
		/* What is not there has changed nothing. */
		enum status status = commit_wish(txn, &wishes->items[i]);
		if (status != STATUS_OK && status != STATUS_NOT_FOUND)
			return status;
	}
	return engine_txn_status(txn);
}

enum status
queue_wish_many(struct store_reader *reader, const char *const *ids, size_t count,
    enum queue_wish wish, int64_t now_s, uint64_t *out_recipients)
{
	struct wishes *wishes = xcalloc(1, sizeof(*wishes));
	uint64_t recipients = 0;
	ENSURE(count <= QUEUE_WISH_MANY_MAX);
	for (size_t i = 0; i < count; i++) {
		struct wish *w = &wishes->items[wishes->count];
		*w = (struct wish){.number = QUEUE_ALL, .wish = wish, .now_s = now_s};
		wishes->count += queue_id_fold(slice_from_cstr(ids[i]), w->id);
	}
	enum status status =
	    store_commit_wait(reader, partition_queue(), commit_wishes, wishes);
	for (size_t i = 0; i < wishes->count; i++) {
		recipients += wishes->items[i].recipients;
		vec_fini(&wishes->items[i].numbers);
	}
	free(wishes);
	if (status == STATUS_OK)
		*out_recipients = recipients;
	return status;
}
