/*
 * The last successful password checks, so that a client that logs in every minute does
 * not cost a PBKDF2 each time.  An entry is HMAC-SHA-256 over keys and password with a
 * secret of this process: no password can be read out of it, and a changed password
 * changes the keys, so an entry is never wrong, only unused.
 *
 * One table a process, sets of four entries, the oldest makes room.  A mutex for each
 * group of sets.  Any thread.
 */
#include "auth/credential_int.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>

#include "base/ensure.h"
#include "base/ids.h"

enum {
	DIGEST_BYTES = 32,
	CACHE_WAYS = 4,
	CACHE_SETS = CREDENTIAL_CACHE_ENTRIES / CACHE_WAYS,
	CACHE_LOCKS = 8,
};

struct cache_set {
	unsigned char digests[CACHE_WAYS][DIGEST_BYTES]; /* newest first; zero: empty */
};

static struct {
	unsigned char secret[DIGEST_BYTES];
	struct cache_set sets[CACHE_SETS];
	pthread_mutex_t locks[CACHE_LOCKS];
} cache;
static pthread_once_t cache_once = PTHREAD_ONCE_INIT;

static void
cache_start(void)
{
	random_bytes(cache.secret, sizeof(cache.secret));
	for (size_t i = 0; i < CACHE_LOCKS; i++)
		ENSURE(pthread_mutex_init(&cache.locks[i], NULL) == 0);
}

/* Null terminates no part of it: the first length tells where the second begins. */
static void
cache_digest(
    struct slice credential, struct slice password, unsigned char out[DIGEST_BYTES])
{
	char text[8 + CREDENTIAL_TEXT_MAX + CREDENTIAL_PASSWORD_MAX];
	unsigned len = 0;

	ENSURE(credential.len <= CREDENTIAL_TEXT_MAX);
	ENSURE(password.len <= CREDENTIAL_PASSWORD_MAX);
	be64_put(text, credential.len);
	memcpy(text + 8, credential.ptr, credential.len);
	if (password.len > 0)
		memcpy(text + 8 + credential.len, password.ptr, password.len);
	ENSURE(
	    HMAC(EVP_sha256(), cache.secret, sizeof(cache.secret), (unsigned char *)text,
		8 + credential.len + password.len, out, &len) != NULL);
	OPENSSL_cleanse(text, sizeof(text));
}

static struct cache_set *
cache_set_lock(const unsigned char *digest, pthread_mutex_t **out_lock)
{
	size_t index = be16_get(digest) % CACHE_SETS;

	*out_lock = &cache.locks[index % CACHE_LOCKS];
	ENSURE(pthread_mutex_lock(*out_lock) == 0);
	return &cache.sets[index];
}

/* Moves the digest to the front (from `way`, or in from outside with the last place). */
static void
cache_set_front(struct cache_set *set, size_t way, const unsigned char *digest)
{
	memmove(set->digests[1], set->digests[0], way * DIGEST_BYTES);
	memcpy(set->digests[0], digest, DIGEST_BYTES);
}

static size_t
cache_set_find(const struct cache_set *set, const unsigned char *digest)
{
	for (size_t way = 0; way < CACHE_WAYS; way++)
		if (CRYPTO_memcmp(set->digests[way], digest, DIGEST_BYTES) == 0)
			return way;
	return CACHE_WAYS;
}

bool
credential_cache_has(struct slice credential, struct slice password)
{
	unsigned char digest[DIGEST_BYTES];
	pthread_mutex_t *lock;

	ENSURE(pthread_once(&cache_once, cache_start) == 0);
	cache_digest(credential, password, digest);
	struct cache_set *set = cache_set_lock(digest, &lock);
	size_t way = cache_set_find(set, digest);
	if (way < CACHE_WAYS)
		cache_set_front(set, way, digest);
	ENSURE(pthread_mutex_unlock(lock) == 0);
	return way < CACHE_WAYS;
}

void
credential_cache_add(struct slice credential, struct slice password)
{
	unsigned char digest[DIGEST_BYTES];
	pthread_mutex_t *lock;

	ENSURE(pthread_once(&cache_once, cache_start) == 0);
	cache_digest(credential, password, digest);
	struct cache_set *set = cache_set_lock(digest, &lock);
	size_t way = cache_set_find(set, digest);
	cache_set_front(set, way < CACHE_WAYS ? way : CACHE_WAYS - 1, digest);
	ENSURE(pthread_mutex_unlock(lock) == 0);
}
