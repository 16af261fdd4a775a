/*
 * Byte-string keyed map: an array of chains, one allocation an entry with its key behind.
 *
 * Chains rather than open addressing, because hashmap_each() removes while it walks and a
 * chain never moves an entry.  The table doubles at one entry a chain and halves at an
 * eighth, so a map that was full once does not stay large.  The hash is SipHash-1-3 with
 * a secret of the process: the keys come from clients (addresses, account names), and
 * must not be choosable so that they collide.
 *
 * Invariants: (1) the size is a power of two; (2) no two entries have equal keys; (3) the
 * map is not changed by others while hashmap_each() walks.  Not thread-safe.
 */
#include "base/hashmap.h"

#include <pthread.h>

#include "base/ensure.h"
#include "base/ids.h"

enum {
	HASHMAP_MAGIC = 0x48617368,
	HASHMAP_SLOTS_MIN = 16, /* chains */
};

struct entry {
	struct entry *next;
	uint64_t hash;
	void *value; /* borrowed */
	size_t key_len;
	char key[];
};

struct hashmap {
	unsigned magic;
	bool walking; /* hashmap_each is running */
	size_t count;
	size_t slot_count;
	struct entry **slots;
};

static pthread_once_t secret_once = PTHREAD_ONCE_INIT;
static uint64_t secret[2];

static void
secret_make(void)
{
	random_bytes(secret, sizeof(secret));
}

static inline uint64_t
rotate_left(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate_left(v[1], 13) ^ v[0];
	v[0] = rotate_left(v[0], 32);
	v[2] += v[3];
	v[3] = rotate_left(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate_left(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate_left(v[1], 17) ^ v[2];
	v[2] = rotate_left(v[2], 32);
}

uint64_t
hash_keyed(struct slice s)
{
	pthread_once(&secret_once, secret_make);
	uint64_t v[4] = {
	    secret[0] ^ 0x736f6d6570736575ULL,
	    secret[1] ^ 0x646f72616e646f6dULL,
	    secret[0] ^ 0x6c7967656e657261ULL,
	    secret[1] ^ 0x7465646279746573ULL,
	};
	const char *at = s.ptr;
	size_t left = s.len;
	for (; left >= 8; at += 8, left -= 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	uint64_t last = (uint64_t)s.len << 56;
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)(unsigned char)at[i] << (8 * i);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t
hash_stable(struct slice s)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (size_t i = 0; i < s.len; i++) {
		hash ^= (unsigned char)s.ptr[i];
		hash *= 0x100000001b3ULL;
	}
	return hash;
}

struct hashmap *
hashmap_new(void)
{
	struct hashmap *map = xcalloc(1, sizeof(*map));
	map->magic = HASHMAP_MAGIC;
	map->slot_count = HASHMAP_SLOTS_MIN;
	map->slots = xcalloc(map->slot_count, sizeof(struct entry *));
	return map;
}

void
hashmap_free(struct hashmap **map, void (*free_value)(void *value))
{
	struct hashmap *m = *map;
	if (!m)
		return;
	ENSURE(m->magic == HASHMAP_MAGIC && !m->walking);
	*map = NULL;
	for (size_t i = 0; i < m->slot_count; i++) {
		for (struct entry *e = m->slots[i], *next; e; e = next) {
			next = e->next;
			if (free_value)
				free_value(e->value);
			free(e);
		}
	}
	m->magic = 0;
	free(m->slots);
	free(m);
}

size_t
hashmap_count(const struct hashmap *map)
{
	return map->count;
}

static void
map_resize(struct hashmap *map, size_t slot_count)
{
	struct entry **slots = xcalloc(slot_count, sizeof(struct entry *));
	for (size_t i = 0; i < map->slot_count; i++) {
		for (struct entry *e = map->slots[i], *next; e; e = next) {
			next = e->next;
			struct entry **slot = &slots[e->hash & (slot_count - 1)];
			e->next = *slot;
			*slot = e;
		}
	}
	free(map->slots);
	map->slots = slots;
	map->slot_count = slot_count;
}

static void
map_shrink_if_sparse(struct hashmap *map)
{
	size_t slot_count = map->slot_count;
	while (slot_count > HASHMAP_SLOTS_MIN && map->count < slot_count / 8)
		slot_count /= 2;
	if (slot_count != map->slot_count)
		map_resize(map, slot_count);
}

/* The link that leads to the key's entry, or the null link at its chain's end. */
static struct entry **
map_find(const struct hashmap *map, struct slice key, uint64_t hash)
{
	ENSURE(map->magic == HASHMAP_MAGIC);
	struct entry **link = &map->slots[hash & (map->slot_count - 1)];
	for (; *link; link = &(*link)->next) {
		const struct entry *e = *link;
		if (e->hash == hash && slice_equal(slice_make(e->key, e->key_len), key))
			break;
	}
	return link;
}

void *
hashmap_get(const struct hashmap *map, struct slice key)
{
	const struct entry *e = *map_find(map, key, hash_keyed(key));
	return e ? e->value : NULL;
}

void *
hashmap_put(struct hashmap *map, struct slice key, void *value)
{
	ENSURE(value && !map->walking);
	uint64_t hash = hash_keyed(key);
	struct entry **link = map_find(map, key, hash);
	if (*link) {
		void *old = (*link)->value;
		(*link)->value = value;
		return old;
	}
	struct entry *e = xmalloc(sizeof(*e) + key.len);
	e->next = NULL;
	e->hash = hash;
	e->value = value;
	e->key_len = key.len;
	if (key.len)
		memcpy(e->key, key.ptr, key.len);
	*link = e;
	if (++map->count > map->slot_count)
		map_resize(map, map->slot_count * 2);
	return NULL;
}

void *
hashmap_remove(struct hashmap *map, struct slice key)
{
	ENSURE(!map->walking);
	struct entry **link = map_find(map, key, hash_keyed(key));
	struct entry *e = *link;
	if (!e)
		return NULL;
	void *value = e->value;
	*link = e->next;
	map->count--;
	free(e);
	map_shrink_if_sparse(map);
	return value;
}

void
hashmap_each(
    struct hashmap *map, bool (*fn)(struct slice key, void *value, void *arg), void *arg)
{
	ENSURE(map->magic == HASHMAP_MAGIC && !map->walking);
	map->walking = true;
	for (size_t i = 0; i < map->slot_count; i++) {
		struct entry **link = &map->slots[i];
		while (*link) {
			struct entry *e = *link;
			if (fn(slice_make(e->key, e->key_len), e->value, arg)) {
				link = &e->next;
				continue;
			}
			*link = e->next;
			map->count--;
			free(e);
		}
	}
	map->walking = false;
	map_shrink_if_sparse(map);
}
