/*
 * What is paused (store/queue.h, queue_pause), for the relay: the loader passes over the
 * entries of the due index by their hashes alone; what is loaded already is asked for in
 * the store once more before it goes.  Runs on the relay's loop.
 */
#include "base/log.h"
#include "smtpd/relay_int.h"

enum { PARTS = 4 };

/* In the order of struct queue_pause; 0: not named. */
struct pause_key {
	uint64_t parts[PARTS];
};

static struct slice
key_of(const struct pause_key *key)
{
	return slice_make((const char *)key, sizeof(*key));
}

static bool
forget(struct slice key, void *value, void *arg)
{
	(void)key, (void)value, (void)arg;
	return false;
}

static bool
pause_note(const struct queue_pause *pause, void *arg)
{
	struct relay *relay = arg;
	struct pause_key key = {
	    {
             queue_tenant_hash(pause->tenant),
             queue_tenant_hash(pause->campaign),
             pause->sender.len ? queue_sender_hash(pause->sender) : 0,
             pause->site.len ? queue_site_hash(pause->site) : 0,
	     }
        };
	unsigned mask = 0;
	for (int i = 0; i < PARTS; i++)
		mask |= key.parts[i] ? 1u << i : 0;
	relay->paused_masks |= (uint16_t)(1u << mask);
	hashmap_put(relay->paused, key_of(&key), relay);
	return true;
}

void
relay_pauses_read(struct relay *relay)
{
	hashmap_each(relay->paused, forget, NULL);
	relay->paused_masks = 0;
	enum status status = queue_paused_each(relay->reader, pause_note, relay);
	if (status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "what is paused"),
		    LF_STR("status", status_text(status)));
}

bool
relay_due_is_paused(struct relay *relay, const struct queue_due *due)
{
	const uint64_t parts[PARTS] = {
	    due->tenant, due->campaign, due->sender, due->site};
	for (unsigned mask = 1; relay->paused_masks >> mask; mask++) {
		struct pause_key key = {{0}};
		if (!(relay->paused_masks >> mask & 1))
			continue;
		for (int i = 0; i < PARTS; i++)
			key.parts[i] = mask & 1u << i ? parts[i] : 0;
		if (hashmap_get(relay->paused, key_of(&key)))
			return true;
	}
	return false;
}

bool
relay_is_paused(
    struct relay *relay, const struct queue_message *message, struct slice address)
{
	bool paused = false;
	size_t at = slice_rindex(address, '@');
	struct queue_pause mail = {
	    .tenant = message->tenant,
	    .campaign = message->campaign,
	    .sender = queue_sender_name(message),
	    .site = at == SIZE_MAX ? SLICE("") : slice_from(address, at + 1),
	};
	return queue_is_paused(relay->reader, &mail, &paused) == STATUS_OK && paused;
}
