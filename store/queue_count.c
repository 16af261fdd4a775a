/*
 * What tenants and campaigns have in the queue: counters that change in the commit that
 * changes the queue, so that limits and lists never count.  One k key each; a tenant's
 * own has an empty campaign.
 */
#include "store/queue_int.h"

void
key_queue_tenant(struct key *key, struct slice tenant, struct slice campaign)
{
	key_begin(key, KEY_QTENANT);
	key_bytes(key, tenant);
	key_bytes(key, slice_make("", 1));
	key_bytes(key, campaign);
}

static bool
name_is_good(struct slice name)
{
	return name.len == 0 || tenant_name_is_good(name);
}

bool
key_queue_tenant_decode(
    struct slice key, struct slice *out_tenant, struct slice *out_campaign)
{
	struct slice rest = slice_from(key, 1);
	size_t at = slice_index(rest, '\0');
	if (at == SIZE_MAX)
		return false;
	*out_tenant = slice_sub(rest, 0, at);
	*out_campaign = slice_from(rest, at + 1);
	return name_is_good(*out_tenant) && name_is_good(*out_campaign) && rest.len > 1;
}

static enum status
counts_load(struct engine_txn *txn, const struct key *key, struct queue_counts *out)
{
	struct slice value;
	*out = (struct queue_counts){0};
	enum status status = engine_get(txn, key_slice(key), &value);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	return counts_decode(value, out) ? STATUS_OK : STATUS_CORRUPT;
}

static enum status
count_at(struct engine_txn *txn, const struct key *key, const struct queue_counts *more,
    const struct queue_counts *fewer)
{
	struct queue_counts counts;
	char record[COUNTS_SIZE];
	enum status status = counts_load(txn, key, &counts);
	if (status != STATUS_OK)
		return status;
	counts.messages += more->messages;
	counts.recipients += more->recipients;
	counts.held += more->held;
	queue_count_down(&counts.messages, fewer->messages);
	queue_count_down(&counts.recipients, fewer->recipients);
	queue_count_down(&counts.held, fewer->held);
	if (counts.messages == 0) {
		engine_del(txn, key_slice(key));
	} else {
		counts_encode(&counts, record);
		engine_put(txn, key_slice(key), slice_make(record, sizeof(record)));
	}
	return engine_txn_status(txn);
}

enum status
queue_tenant_count(struct engine_txn *txn, const struct queue_message *message,
    const struct queue_counts *more, const struct queue_counts *fewer)
{
	struct key tenant;
	struct key campaign;
	bool has_tenant = message->tenant.len > 0;
	bool has_campaign = message->campaign.len > 0;
	/* Both before the first write: the names may lie in the map. */
	key_queue_tenant(&tenant, message->tenant, SLICE(""));
	key_queue_tenant(&campaign, message->tenant, message->campaign);
	enum status status = engine_txn_status(txn);
	if (has_tenant && status == STATUS_OK)
		status = count_at(txn, &tenant, more, fewer);
	if (has_campaign && status == STATUS_OK)
		status = count_at(txn, &campaign, more, fewer);
	return status;
}

enum status
queue_tenant_room(struct engine_txn *txn, struct slice tenant)
{
	struct key key;
	struct slice value;
	struct tenant limits;
	struct queue_counts counts;
	if (tenant.len == 0)
		return STATUS_OK;
	key_begin(&key, KEY_TENANT);
	key_bytes(&key, tenant);
	enum status status = engine_get(txn, key_slice(&key), &value);
	/* Removed meanwhile: its limits are gone with it. */
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	if (!tenant_decode(value, &limits))
		return STATUS_CORRUPT;
	if (limits.max_queued == 0)
		return STATUS_OK;
	key_queue_tenant(&key, tenant, SLICE(""));
	status = counts_load(txn, &key, &counts);
	if (status != STATUS_OK)
		return status;
	return counts.messages < limits.max_queued ? STATUS_OK : STATUS_QUOTA;
}

enum status
queue_tenant_counts(struct store_reader *reader, struct slice tenant,
    struct slice campaign, struct queue_counts *out)
{
	struct engine_txn *txn;
	struct key key;
	struct queue_counts counts;
	char names[2][TENANT_NAME_MAX + 1] = {"", ""};
	if ((tenant.len && !tenant_name_fold(tenant, names[0])) ||
	    (campaign.len && !tenant_name_fold(campaign, names[1]))) {
		*out = (struct queue_counts){0};
		return STATUS_OK;
	}
	key_queue_tenant(&key, slice_from_cstr(names[0]), slice_from_cstr(names[1]));
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	if (status == STATUS_OK)
		status = counts_load(txn, &key, &counts);
	if (status == STATUS_OK)
		*out = counts;
	return status;
}

enum status
queue_tenant_counts_each(struct store_reader *reader,
    bool (*fn)(struct slice tenant, struct slice campaign,
	const struct queue_counts *counts, void *arg),
    void *arg)
{
	struct engine_txn *txn;
	struct key from;
	struct key to;
	struct slice key;
	struct slice value;
	enum status status = engine_snap(reader->engine, partition_queue(), &txn);
	if (status != STATUS_OK)
		return status;
	key_begin(&from, KEY_QTENANT);
	key_begin(&to, KEY_QTENANT + 1);
	struct engine_cursor *cursor =
	    engine_cursor_open(txn, key_slice(&from), key_slice(&to), false);
	while ((status = engine_cursor_next(cursor, &key, &value)) == STATUS_OK) {
		struct slice tenant;
		struct slice campaign;
		struct queue_counts counts = {0};
		if (!key_queue_tenant_decode(key, &tenant, &campaign) ||
		    !counts_decode(value, &counts)) {
			status = STATUS_CORRUPT;
			break;
		}
		if (!fn(tenant, campaign, &counts, arg))
			break;
	}
	engine_cursor_close(&cursor);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
