/*
 * The table of failures: shards with a mutex each, sets of eight entries, no allocation
 * after the start.  An entry whose last failure is longer ago than block_for_ms counts as
 * empty, so nothing has to be swept.
 *
 * A success clears nothing: who owns one account could otherwise wash off the failures at
 * all others.
 */
#include "auth/throttle.h"

#include <arpa/inet.h>
#include <pthread.h>

#include "base/ensure.h"
#include "base/hashmap.h"

/* The bytes that name a network: family, then 4 or 8 address bytes, or a hash of text. */
enum { NETWORK_KEY_BYTES = 9, PEER_TEXT_MAX = 64 };

struct entry {
	unsigned char key[NETWORK_KEY_BYTES]; /* all zero: never used */
	uint32_t failures;
	uint64_t last_ms;
	uint64_t guesses[THROTTLE_GUESSES]; /* newest last */
};

struct shard {
	pthread_mutex_t lock;
	struct entry entries[THROTTLE_SETS][THROTTLE_WAYS];
};

struct throttle {
	unsigned block_after;
	uint64_t block_for_ms;
	struct shard shards[THROTTLE_SHARDS];
};

struct throttle *
throttle_new(unsigned block_after, uint64_t block_for_ms)
{
	struct throttle *t = xcalloc(1, sizeof(*t));

	t->block_after = block_after;
	t->block_for_ms = block_for_ms;
	for (size_t i = 0; i < THROTTLE_SHARDS; i++)
		ENSURE(pthread_mutex_init(&t->shards[i].lock, NULL) == 0);
	return t;
}

void
throttle_free(struct throttle **throttle)
{
	struct throttle *t = *throttle;

	if (!t)
		return;
	for (size_t i = 0; i < THROTTLE_SHARDS; i++)
		ENSURE(pthread_mutex_destroy(&t->shards[i].lock) == 0);
	free(t);
	*throttle = NULL;
}

static void
network_key(struct slice peer, unsigned char key[NETWORK_KEY_BYTES])
{
	static const unsigned char mapped[12] = {
	    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	char text[PEER_TEXT_MAX];
	unsigned char bytes[16];

	memset(key, 0, NETWORK_KEY_BYTES);
	if (peer.len > 2 && peer.ptr[0] == '[' && peer.ptr[peer.len - 1] == ']')
		peer = slice_sub(peer, 1, peer.len - 2);
	/* A zone ("fe80::1%eth0") is not part of the network. */
	peer = slice_sub(peer, 0, slice_index(peer, '%'));
	if (slice_copy_cstr(peer, text, sizeof(text))) {
		if (inet_pton(AF_INET, text, bytes) == 1) {
			key[0] = 4;
			memcpy(key + 1, bytes, 4);
			return;
		}
		if (inet_pton(AF_INET6, text, bytes) == 1) {
			bool is_mapped = memcmp(bytes, mapped, sizeof(mapped)) == 0;
			key[0] = is_mapped ? 4 : 6;
			memcpy(
			    key + 1, is_mapped ? bytes + 12 : bytes, is_mapped ? 4 : 8);
			return;
		}
	}
	uint64_t hash = hash_keyed(peer);
	key[0] = 1;
	memcpy(key + 1, &hash, sizeof(hash));
}

static bool
entry_is_stale(const struct throttle *t, const struct entry *e, uint64_t now_ms)
{
	return e->failures == 0 || now_ms >= e->last_ms + t->block_for_ms;
}

/* Where a network's entry is, or would be. */
static struct entry *
set_of(struct throttle *t, const unsigned char *key, struct shard **out_shard)
{
	uint64_t hash = hash_keyed(slice_make((const char *)key, NETWORK_KEY_BYTES));

	*out_shard = &t->shards[hash % THROTTLE_SHARDS];
	return (*out_shard)->entries[hash / THROTTLE_SHARDS % THROTTLE_SETS];
}

static struct entry *
set_find(struct entry *set, const unsigned char *key)
{
	for (size_t i = 0; i < THROTTLE_WAYS; i++)
		if (memcmp(set[i].key, key, NETWORK_KEY_BYTES) == 0)
			return &set[i];
	return NULL;
}

/* A free or stale entry, else the one with the fewest failures, of these the oldest: many
 * networks with one failure each do not push out one that is blocked. */
static struct entry *
set_make_room(const struct throttle *t, struct entry *set, uint64_t now_ms)
{
	struct entry *best = &set[0];

	for (size_t i = 0; i < THROTTLE_WAYS; i++) {
		struct entry *e = &set[i];
		if (entry_is_stale(t, e, now_ms))
			return e;
		if (e->failures < best->failures ||
		    (e->failures == best->failures && e->last_ms < best->last_ms))
			best = e;
	}
	return best;
}

bool
throttle_is_blocked(struct throttle *t, struct slice peer, uint64_t now_ms)
{
	unsigned char key[NETWORK_KEY_BYTES];
	struct shard *shard;

	if (t->block_after == 0)
		return false;
	network_key(peer, key);
	struct entry *set = set_of(t, key, &shard);
	ENSURE(pthread_mutex_lock(&shard->lock) == 0);
	const struct entry *e = set_find(set, key);
	bool blocked =
	    e && !entry_is_stale(t, e, now_ms) && e->failures >= t->block_after;
	ENSURE(pthread_mutex_unlock(&shard->lock) == 0);
	return blocked;
}

static bool
guess_is_new(struct entry *e, uint64_t guess)
{
	if (guess == 0)
		return true;
	for (size_t i = 0; i < THROTTLE_GUESSES; i++)
		if (e->guesses[i] == guess)
			return false;
	memmove(
	    &e->guesses[0], &e->guesses[1], sizeof(e->guesses) - sizeof(e->guesses[0]));
	e->guesses[THROTTLE_GUESSES - 1] = guess;
	return true;
}

void
throttle_fail(struct throttle *t, struct slice peer, uint64_t guess, uint64_t now_ms)
{
	unsigned char key[NETWORK_KEY_BYTES];
	struct shard *shard;

	if (t->block_after == 0)
		return;
	network_key(peer, key);
	struct entry *set = set_of(t, key, &shard);
	ENSURE(pthread_mutex_lock(&shard->lock) == 0);
	struct entry *e = set_find(set, key);
	if (!e || entry_is_stale(t, e, now_ms)) {
		if (!e)
			e = set_make_room(t, set, now_ms);
		memset(e, 0, sizeof(*e));
		memcpy(e->key, key, NETWORK_KEY_BYTES);
	}
	if (guess_is_new(e, guess)) {
		if (e->failures < UINT32_MAX)
			e->failures++;
		/* A blocked network's block is not made longer by guesses that are not
		 * looked at any more; those never get here. */
		e->last_ms = now_ms;
	}
	ENSURE(pthread_mutex_unlock(&shard->lock) == 0);
}
