/*
 * Byte-string keyed map with a keyed hash (SipHash-like mixing with a per-process
 * secret), so that a client cannot choose colliding keys.  Keys are copied, values are
 * borrowed pointers.  Not thread-safe.
 */
#ifndef BASE_HASHMAP_H
#define BASE_HASHMAP_H

#include "base/slice.h"

struct hashmap;

struct hashmap *hashmap_new(void);
/* Frees keys and table; `free_value` (may be null) is called for every value. */
void hashmap_free(struct hashmap **map, void (*free_value)(void *value));

size_t hashmap_count(const struct hashmap *map);
/* The value, or null. */
void *hashmap_get(const struct hashmap *map, struct slice key);
/* Stores a non-null value; returns the one that it replaced, or null. */
void *hashmap_put(struct hashmap *map, struct slice key, void *value);
/* Takes the value out; returns it, or null. */
void *hashmap_remove(struct hashmap *map, struct slice key);

/* Calls fn for every entry; when fn returns false the entry is removed. */
void hashmap_each(
    struct hashmap *map, bool (*fn)(struct slice key, void *value, void *arg), void *arg);

/* The keyed hash by itself, for shard and slot choice within one process. */
uint64_t hash_keyed(struct slice s);
/* FNV-1a: the same in every process and for ever; for shard choice and stored hashes,
 * never for tables that a client can fill. */
uint64_t hash_stable(struct slice s);

#endif
