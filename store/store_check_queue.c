/*
 * Invariants 30 to 35 of the outbound queue: one walk over its keys.  What tenants and
 * campaigns have is summed up beside it and compared at its end.
 */
#include <stdlib.h>

#include "base/hashmap.h"
#include "store/store_check_int.h"

enum { KEY_ID_AT = 1, KEY_NUMBER_AT = 1 + ID_TEXT_LEN, KEY_TIMED_ID_AT = 9 };

struct look {
	struct check *check;
	struct engine_txn *txn;
	struct queue_counts counts; /* as they are */
	struct hashmap *tenants;    /* k key → struct queue_counts, as they are */
	size_t tenants_stored;      /* k records */
};

static bool
get(struct look *look, const struct key *key)
{
	struct slice value;
	return engine_get(look->txn, key_slice(key), &value) == STATUS_OK;
}

static void
id_copy(struct slice key, size_t at, char out[ID_TEXT_SIZE])
{
	memcpy(out, key.ptr + at, ID_TEXT_LEN);
	out[ID_TEXT_LEN] = '\0';
}

static void
count_for(struct look *look, struct slice tenant, struct slice campaign,
    const struct queue_counts *of_message)
{
	struct key key;
	key_queue_tenant(&key, tenant, campaign);
	struct queue_counts *sum = hashmap_get(look->tenants, key_slice(&key));
	if (!sum) {
		sum = xcalloc(1, sizeof(*sum));
		hashmap_put(look->tenants, key_slice(&key), sum);
	}
	sum->messages++;
	sum->recipients += of_message->recipients;
	sum->held += of_message->held;
}

/* Recipients of one message, and how many of them are held. */
static struct queue_counts
recipients_count(struct look *look, const char id[ID_TEXT_SIZE])
{
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	struct queue_counts count = {0};
	key_queue_recipient(&from, id, 0);
	key_queue_recipient(&to, id, UINT32_MAX);
	struct engine_cursor *cursor =
	    engine_cursor_open(look->txn, key_slice(&from), key_slice(&to), false);
	while (engine_cursor_next(cursor, &key, &value) == STATUS_OK) {
		count.recipients++;
		count.held += value.len > QRECIPIENT_STATE &&
		              value.ptr[QRECIPIENT_STATE] == QUEUE_HELD;
	}
	engine_cursor_close(&cursor);
	return count;
}

static void
look_message(struct look *look, struct slice key, struct slice value)
{
	struct queue_message message;
	struct engine_body body;
	struct key oldest_key;
	if (key.len != KEY_NUMBER_AT ||
	    !queue_message_decode(value, slice_from(key, 1), &message)) {
		check_problem(look->check, 1, "damaged message record");
		return;
	}
	look->counts.messages++;
	struct queue_counts has = recipients_count(look, message.id);
	if (has.recipients != message.recipients || has.recipients == 0)
		check_problem(look->check, 30, "message %s counts %u recipients, has %u",
		    message.id, (unsigned)message.recipients, (unsigned)has.recipients);
	if (message.tenant.len)
		count_for(look, message.tenant, SLICE(""), &has);
	if (message.campaign.len)
		count_for(look, message.tenant, message.campaign, &has);
	key_queue_oldest(&oldest_key, message.created_s, message.id);
	if (!get(look, &oldest_key))
		check_problem(
		    look->check, 33, "message %s: not in the age index", message.id);
	if (engine_body_stat(look->txn, message.body, &body) != STATUS_OK ||
	    body.size != message.size)
		check_problem(look->check, 13,
		    "message %s: body missing or of other size", message.id);
}

static void
look_recipient(struct look *look, struct slice key, struct slice value)
{
	struct queue_recipient recipient;
	struct key other;
	if (key.len != KEY_NUMBER_AT + 4 ||
	    !queue_recipient_decode(value, slice_sub(key, KEY_ID_AT, ID_TEXT_LEN),
		be32_get(key.ptr + KEY_NUMBER_AT), &recipient)) {
		check_problem(look->check, 1, "damaged recipient record");
		return;
	}
	look->counts.recipients++;
	look->counts.held += recipient.state == QUEUE_HELD;
	key_queue_message(&other, recipient.id);
	if (!get(look, &other))
		check_problem(look->check, 30,
		    "recipient %s/%u: its message is not there", recipient.id,
		    (unsigned)recipient.number);
	key_queue_due(&other, recipient.due_s, recipient.id, recipient.number);
	if (get(look, &other) != (recipient.state == QUEUE_WAITING))
		check_problem(look->check, 31, "recipient %s/%u: due index does not fit",
		    recipient.id, (unsigned)recipient.number);
}

static void
look_due(struct look *look, struct slice key)
{
	struct queue_recipient recipient;
	char id[ID_TEXT_SIZE];
	if (key.len != KEY_TIMED_ID_AT + ID_TEXT_LEN + 4) {
		check_problem(look->check, 1, "damaged due index key");
		return;
	}
	id_copy(key, KEY_TIMED_ID_AT, id);
	uint32_t number = be32_get(key.ptr + KEY_TIMED_ID_AT + ID_TEXT_LEN);
	if (queue_recipient_load(look->txn, id, number, &recipient) != STATUS_OK ||
	    recipient.state != QUEUE_WAITING ||
	    recipient.due_s != (int64_t)be64_get(key.ptr + 1))
		check_problem(look->check, 31,
		    "due index entry %s/%u without its recipient", id, (unsigned)number);
}

static void
look_oldest(struct look *look, struct slice key)
{
	struct queue_message message;
	char id[ID_TEXT_SIZE];
	if (key.len != KEY_TIMED_ID_AT + ID_TEXT_LEN) {
		check_problem(look->check, 1, "damaged age index key");
		return;
	}
	id_copy(key, KEY_TIMED_ID_AT, id);
	if (queue_message_load(look->txn, id, &message) != STATUS_OK ||
	    message.created_s != (int64_t)be64_get(key.ptr + 1))
		check_problem(
		    look->check, 33, "age index entry %s without its message", id);
}

static void
look_tenant(struct look *look, struct slice key, struct slice value)
{
	if (!tenant_name_is_good(slice_from(key, 1)) ||
	    !tenant_decode(value, &(struct tenant){0}))
		check_problem(look->check, 1, "damaged record of a tenant");
}

static void
look_member(struct look *look, struct slice key, struct slice value)
{
	struct slice tenant;
	struct key other;
	if (key.len < 2 || !tenant_member_decode(value, &tenant)) {
		check_problem(look->check, 1, "damaged record of a tenant's member");
		return;
	}
	key_begin(&other, KEY_TENANT);
	key_bytes(&other, tenant);
	if (!get(look, &other))
		check_problem(look->check, 34,
		    "member %.*s of a tenant that is not there",
		    SLICE_ARG(slice_from(key, 1)));
}

static void
look_tenant_counts(struct look *look, struct slice key, struct slice value)
{
	struct queue_counts stored;
	struct slice tenant, campaign;
	if (!key_queue_tenant_decode(key, &tenant, &campaign) ||
	    !counts_decode(value, &stored)) {
		check_problem(look->check, 1, "damaged counts of a tenant");
		return;
	}
	look->tenants_stored++;
}

static bool
tenant_compare(struct slice name, void *value, void *arg)
{
	struct look *look = arg;
	const struct queue_counts *sum = value;
	struct queue_counts stored = {0};
	struct slice record, tenant, campaign;
	ENSURE(key_queue_tenant_decode(name, &tenant, &campaign));
	enum status status = engine_get(look->txn, name, &record);
	if (status != STATUS_OK || !counts_decode(record, &stored) ||
	    stored.messages != sum->messages || stored.recipients != sum->recipients ||
	    stored.held != sum->held)
		check_problem(look->check, 35,
		    "counts of tenant \"%.*s\" campaign \"%.*s\" say %llu, %llu, %llu, "
		    "there are %llu, %llu, %llu",
		    SLICE_ARG(tenant), SLICE_ARG(campaign),
		    (unsigned long long)stored.messages,
		    (unsigned long long)stored.recipients,
		    (unsigned long long)stored.held, (unsigned long long)sum->messages,
		    (unsigned long long)sum->recipients, (unsigned long long)sum->held);
	return true;
}

static void
look_pause(struct look *look, struct slice key, struct slice value)
{
	if (!key_queue_paused_decode(key, &(struct queue_pause){0}) || value.len != 1 ||
	    value.ptr[0] != STORE_RECORD_VERSION)
		check_problem(look->check, 1, "damaged mark of what is paused");
}

static void
look_key(struct look *look, struct slice key, struct slice value)
{
	switch (key.len ? key.ptr[0] : 0) {
	case KEY_QCOUNTS:
		break;
	case KEY_QMESSAGE:
		look_message(look, key, value);
		break;
	case KEY_QRECIPIENT:
		look_recipient(look, key, value);
		break;
	case KEY_QDUE:
		look_due(look, key);
		break;
	case KEY_QOLDEST:
		look_oldest(look, key);
		break;
	case KEY_QPAUSED:
	case KEY_QPAUSED_BY:
		look_pause(look, key, value);
		break;
	case KEY_QTENANT:
		look_tenant_counts(look, key, value);
		break;
	case KEY_NOTE_TLS:
	case KEY_NOTE_STS:
	case KEY_NOTE_SUPPRESSED:
	case KEY_NOTE_RATE:
	case KEY_NOTE_USED:
	case KEY_NOTE_POOL:
	case KEY_NOTE_TLSRPT:
	case KEY_NOTE_BULK:
		if (key.len < 2 || !relay_note_decode(value, &(struct relay_note){0}))
			check_problem(look->check, 1, "damaged note of the relay");
		break;
	case KEY_TENANT:
		look_tenant(look, key, value);
		break;
	case KEY_TENANT_MEMBER:
		look_member(look, key, value);
		break;
	default:
		check_problem(look->check, 1, "key of an unknown class");
		break;
	}
}

enum status
check_queue(struct check *check)
{
	struct look look = {.check = check};
	struct queue_counts stored;
	struct slice key;
	struct slice value;
	check_where(check, "queue");
	enum status status =
	    engine_snap(check->reader->engine, partition_queue(), &look.txn);
	if (status != STATUS_OK)
		return status;
	look.tenants = hashmap_new();
	struct engine_cursor *cursor =
	    engine_cursor_open(look.txn, slice_make("", 0), SLICE_NULL, false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK)
		look_key(&look, key, value);
	engine_cursor_close(&cursor);
	hashmap_each(look.tenants, tenant_compare, &look);
	if (look.tenants_stored > hashmap_count(look.tenants))
		check_problem(
		    check, 35, "counts of tenants or campaigns without messages");
	hashmap_free(&look.tenants, free);
	if (status != STATUS_NOT_FOUND)
		return status;
	check->totals->queued = look.counts.messages;
	status = queue_counts_load(look.txn, &stored);
	if (status == STATUS_CORRUPT)
		check_problem(check, 1, "damaged counts");
	else if (status != STATUS_OK)
		return status;
	else if (stored.messages != look.counts.messages ||
		 stored.recipients != look.counts.recipients ||
		 stored.held != look.counts.held)
		check_problem(check, 32,
		    "counts say %llu messages %llu recipients %llu held, there are "
		    "%llu, %llu, %llu",
		    (unsigned long long)stored.messages,
		    (unsigned long long)stored.recipients,
		    (unsigned long long)stored.held,
		    (unsigned long long)look.counts.messages,
		    (unsigned long long)look.counts.recipients,
		    (unsigned long long)look.counts.held);
	return STATUS_OK;
}
