/*
 * Random bytes from the kernel and ids for sessions and messages.
 *
 * Nothing is buffered in the process: a fork cannot repeat an id, and getrandom(2) costs
 * little beside what an id is made for.  With random_fake() the bytes come from a
 * splitmix64 sequence instead, for tests only.  Any thread.
 */
#include "base/ids.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/ensure.h"

static _Atomic bool fake_on;
static _Atomic uint64_t fake_state;

/* Crockford's base32: no i, l, o, u, so that an id can be read out on the phone. */
static const char id_alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static uint64_t
fake_next(void)
{
	/* splitmix64: adding the golden ratio makes each call a fresh state. */
	uint64_t z = atomic_fetch_add(&fake_state, 0x9e3779b97f4a7c15ULL);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static void
fake_bytes(unsigned char *out, size_t size)
{
	while (size > 0) {
		uint64_t word = fake_next();
		size_t part = size < sizeof(word) ? size : sizeof(word);
		memcpy(out, &word, part);
		out += part;
		size -= part;
	}
}

void
random_bytes(void *out, size_t size)
{
	unsigned char *at = out;
	if (atomic_load_explicit(&fake_on, memory_order_relaxed)) {
		fake_bytes(at, size);
		return;
	}
	while (size > 0) {
		ssize_t got = getrandom(at, size, 0);
		if (got < 0 && errno == EINTR)
			continue;
		ENSURE(got > 0);
		at += got;
		size -= (size_t)got;
	}
}

uint64_t
random_u64(void)
{
	uint64_t value;
	random_bytes(&value, sizeof(value));
	return value;
}

void
id_make(char out[ID_TEXT_SIZE])
{
	unsigned char bytes[10]; /* 80 bits: sixteen characters of five */
	random_bytes(bytes, sizeof(bytes));
	for (size_t half = 0; half < 2; half++) {
		uint64_t bits = 0;
		for (size_t i = 0; i < 5; i++)
			bits = bits << 8 | bytes[half * 5 + i];
		for (size_t i = 0; i < 8; i++)
			out[half * 8 + i] = id_alphabet[bits >> (35 - 5 * i) & 31];
	}
	out[ID_TEXT_LEN] = '\0';
}

void
id_make_ordered(char out[ID_TEXT_SIZE])
{
	enum { TIME_CHARS = 6, COUNT_CHARS = 3, SINCE_S = 1577836800 };
	static _Atomic uint64_t counter;
	/* Its last characters stay; with random_fake() all of it does. */
	id_make(out);
	if (atomic_load_explicit(&fake_on, memory_order_relaxed))
		return;
	uint64_t before = 0;
	if (atomic_load(&counter) == 0)
		atomic_compare_exchange_strong(&counter, &before, random_u64() | 1);
	uint64_t count = atomic_fetch_add(&counter, 1);
	uint64_t second = (uint64_t)(clock_wall_s() - SINCE_S);
	for (int i = 0; i < TIME_CHARS; i++)
		out[i] = id_alphabet[second >> (5 * (TIME_CHARS - 1 - i)) & 31];
	for (int i = 0; i < COUNT_CHARS; i++)
		out[TIME_CHARS + i] =
		    id_alphabet[count >> (5 * (COUNT_CHARS - 1 - i)) & 31];
}

bool
id_is_valid(struct slice s)
{
	if (s.len != ID_TEXT_LEN)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = ascii_lower(s.ptr[i]);
		if (c == '\0' || !strchr(id_alphabet, c))
			return false;
	}
	return true;
}

void
random_fake(uint64_t seed)
{
	atomic_store(&fake_state, seed);
	atomic_store(&fake_on, seed != 0);
}
