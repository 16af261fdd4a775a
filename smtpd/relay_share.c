/*
 * Shares of the relay: what tenants, senders and senders at one site have in memory and
 * of connections, see relay_schedule.c for how much they may.  Made on demand, freed with
 * the last thing that counts for them.  Runs on the relay's loop.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "smtpd/relay_int.h"

static struct slice
key_of(const void *key, size_t size)
{
	return slice_make(key, size);
}

static struct relay_sender_key
sender_key(const struct queue_due *due)
{
	return (struct relay_sender_key){due->tenant, due->sender};
}

static struct relay_lane *
lane_of(struct relay *relay, const struct queue_due *due)
{
	struct relay_lane_key key = {sender_key(due), due->site};
	return hashmap_get(relay->lanes, key_of(&key, sizeof(key)));
}

static struct relay_sender *
sender_of(struct relay *relay, const struct queue_due *due)
{
	struct relay_sender_key key = sender_key(due);
	return hashmap_get(relay->senders, key_of(&key, sizeof(key)));
}

static struct relay_tenant *
tenant_of(struct relay *relay, const struct queue_due *due)
{
	return hashmap_get(relay->tenants, key_of(&due->tenant, sizeof(due->tenant)));
}

bool
relay_share_has_room(struct relay *relay, const struct queue_due *due)
{
	const struct relay_lane *lane = lane_of(relay, due);
	const struct relay_sender *sender = lane ? lane->sender : sender_of(relay, due);
	const struct relay_tenant *tenant = due->tenant ? tenant_of(relay, due) : NULL;
	return relay_fair_may_load(hashmap_count(relay->active),
	    tenant ? tenant->active : 0, sender ? sender->active : 0,
	    lane ? lane->active : 0);
}

static struct relay_tenant *
tenant_make(struct relay *relay, const struct queue_due *due)
{
	struct relay_tenant *tenant = due->tenant ? tenant_of(relay, due) : NULL;
	if (tenant || due->tenant == 0)
		return tenant;
	tenant = xcalloc(1, sizeof(*tenant));
	tenant->key = due->tenant;
	hashmap_put(relay->tenants, key_of(&tenant->key, sizeof(tenant->key)), tenant);
	return tenant;
}

static struct relay_sender *
sender_make(struct relay *relay, const struct queue_due *due)
{
	struct relay_sender *sender = sender_of(relay, due);
	if (sender)
		return sender;
	sender = xcalloc(1, sizeof(*sender));
	sender->key = sender_key(due);
	sender->tenant = tenant_make(relay, due);
	if (sender->tenant)
		sender->tenant->senders++;
	hashmap_put(relay->senders, key_of(&sender->key, sizeof(sender->key)), sender);
	return sender;
}

struct relay_lane *
relay_lane_make(struct relay *relay, const struct queue_due *due)
{
	struct relay_lane *lane = lane_of(relay, due);
	if (lane)
		return lane;
	lane = xcalloc(1, sizeof(*lane));
	lane->key = (struct relay_lane_key){sender_key(due), due->site};
	lane->sender = sender_make(relay, due);
	hashmap_put(relay->lanes, key_of(&lane->key, sizeof(lane->key)), lane);
	return lane;
}

void
relay_lane_count(struct relay *relay, struct relay_lane *lane, int by)
{
	struct relay_sender *sender = lane->sender;
	lane->active += (size_t)by;
	sender->active += (size_t)by;
	if (sender->tenant)
		sender->tenant->active += (size_t)by;
	if (lane->active == 0) {
		hashmap_remove(relay->lanes, key_of(&lane->key, sizeof(lane->key)));
		free(lane);
	}
	relay_sender_release(relay, sender);
}

void
relay_sender_release(struct relay *relay, struct relay_sender *sender)
{
	struct relay_tenant *tenant = sender->tenant;
	if (sender->active > 0 || sender->connections > 0)
		return;
	hashmap_remove(relay->senders, key_of(&sender->key, sizeof(sender->key)));
	free(sender);
	if (!tenant || --tenant->senders > 0)
		return;
	ENSURE(tenant->active == 0 && tenant->connections == 0);
	hashmap_remove(relay->tenants, key_of(&tenant->key, sizeof(tenant->key)));
	free(tenant);
}

bool
relay_share_may_connect(const struct relay *relay, const struct relay_sender *sender)
{
	return relay_fair_may_connect(relay->connections,
	    sender->tenant ? sender->tenant->connections : 0, sender->connections);
}
