/*
 * The outbound queue: the operator's wishes, for one recipient, one message or many in a
 * commit.  What has gone meanwhile is passed over.
 */
#include "store/queue_int.h"

#include <stdlib.h>

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

/* Counts a recipient that was held or is now. */
static enum status
held_count(struct engine_txn *txn, enum queue_state before,
    const struct queue_recipient *recipient, struct queue_counts *counts)
{
	struct queue_message message;
	struct queue_counts one = {.held = 1}, none = {0};
	bool held = recipient->state == QUEUE_HELD;
	if (held == (before == QUEUE_HELD))
		return engine_txn_status(txn);
	if (held)
		counts->held++;
	else
		queue_count_down(&counts->held, 1);
	enum status status = queue_message_load(txn, recipient->id, &message);
	if (status == STATUS_OK)
		status = queue_tenant_count(
		    txn, &message, held ? &one : &none, held ? &none : &one);
	return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
}

/* Texts are copied: they would not survive the delete of the due key. */
static enum status
recipient_change(struct engine_txn *txn, const struct queue_recipient *old,
    enum queue_state state, int64_t due_s, struct queue_counts *counts)
{
	struct queue_recipient recipient = *old;
	AUTO_BUF struct buf record;
	buf_init(&record, QUEUE_RECORD_MAX);
	recipient.state = state;
	recipient.due_s = queue_due_clamp(due_s);
	queue_recipient_encode(&recipient, &record);
	ENSURE(buf_ok(&record));
	struct queue_owner owner = queue_owner_load(txn, old->id);
	struct key key;
	key_queue_recipient(&key, recipient.id, recipient.number);
	/* Put from the copy: the record is moved by the delete. */
	AUTO_BUF struct buf address;
	buf_init(&address, QUEUE_ADDRESS_MAX);
	buf_append(&address, old->address);
	recipient.address = buf_slice(&address);
	struct queue_recipient before = *old;
	queue_due_del(txn, old);
	engine_put(txn, key_slice(&key), buf_slice(&record));
	if (state == QUEUE_WAITING)
		queue_due_put(txn, &recipient, &owner);
	return held_count(txn, before.state, &recipient, counts);
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
		return queue_recipient_leave(txn, recipient, counts);
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
	recipient.due_s = queue_due_clamp(wish->now_s);
	struct queue_owner owner = queue_owner_load(txn, old->id);
	wish->recipients++;
	queue_due_del(txn, &before);
	queue_recipient_put(txn, &recipient);
	if (recipient.state == QUEUE_WAITING)
		queue_due_put(txn, &recipient, &owner);
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
