/*
 * Random bytes and readable ids, replaceable in tests.
 */
#ifndef BASE_IDS_H
#define BASE_IDS_H

#include "base/slice.h"

enum {
	ID_TEXT_LEN = 16, /* characters of a session or message id */
	ID_TEXT_SIZE = ID_TEXT_LEN + 1,
};

/* Fills with bytes from the kernel's random source; failure aborts. */
void random_bytes(void *out, size_t size);
uint64_t random_u64(void);

/* A new id: 80 random bits in Crockford's base32, NUL-terminated. */
void id_make(char out[ID_TEXT_SIZE]);
/* A new id that sorts behind those that were made before it, about: the second (30 bits,
 * from 2020 on, 34 years), a count (15 bits) that starts anywhere with the process, and
 * 35 random bits.  For keys of records: random ones touch a page of the table each.  Not
 * for what must not be guessed. */
void id_make_ordered(char out[ID_TEXT_SIZE]);
/* True for 16 characters of that alphabet (any case). */
bool id_is_valid(struct slice s);

/* Test hook: ids and random bytes become a fixed sequence from this seed; 0 ends it. */
void random_fake(uint64_t seed);

#endif
