/*
 * For the tests of common/auth: a loop of its own with a small pool of threads, a
 * directory of three accounts, and a SCRAM client written from RFC 5802 alone.
 */
#ifndef UNIT_AUTH_AUTH_HARNESS_H
#define UNIT_AUTH_AUTH_HARNESS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/credential_int.h"
#include "auth/sasl.h"
#include "base/ensure.h"
#include "text/encoding.h"

/* The loop -------------------------------------------------------------------------- */

enum { HARNESS_THREADS = 3 };

struct job {
	struct job *next;
	void (*work)(void *);
	void (*done)(void *);
	void *arg;
	struct harness_loop *loop;
	uint64_t due_ms; /* virtual time, for delays */
};

struct harness_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *first, **last;
	bool stop;
	pthread_t threads[HARNESS_THREADS];
};

/* One a thread that runs sessions; its time is virtual: delays take no time. */
struct harness_loop {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *ready;
	struct job *delayed;
	size_t pending; /* jobs that are on the pool */
	uint64_t now_ms;
	uint64_t delayed_ms; /* sum of delays that were asked for */
	uint64_t on_loop;    /* completions so far */
};

static struct harness_pool harness_pool;

__attribute__((unused)) static void *
harness_thread(void *arg)
{
	struct harness_pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while (!pool->first && !pool->stop)
			pthread_cond_wait(&pool->wake, &pool->lock);
		struct job *job = pool->first;
		if (!job)
			break;
		pool->first = job->next;
		if (!pool->first)
			pool->last = &pool->first;
		pthread_mutex_unlock(&pool->lock);
		job->work(job->arg);
		struct harness_loop *loop = job->loop;
		pthread_mutex_lock(&loop->lock);
		job->next = loop->ready;
		loop->ready = job;
		loop->pending--;
		pthread_cond_signal(&loop->wake);
		pthread_mutex_unlock(&loop->lock);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

__attribute__((unused)) static int
harness_start(void **state)
{
	(void)state;
	pthread_mutex_init(&harness_pool.lock, NULL);
	pthread_cond_init(&harness_pool.wake, NULL);
	harness_pool.last = &harness_pool.first;
	for (int i = 0; i < HARNESS_THREADS; i++)
		pthread_create(
		    &harness_pool.threads[i], NULL, harness_thread, &harness_pool);
	return 0;
}

__attribute__((unused)) static int
harness_stop(void **state)
{
	(void)state;
	pthread_mutex_lock(&harness_pool.lock);
	harness_pool.stop = true;
	pthread_cond_broadcast(&harness_pool.wake);
	pthread_mutex_unlock(&harness_pool.lock);
	for (int i = 0; i < HARNESS_THREADS; i++)
		pthread_join(harness_pool.threads[i], NULL);
	return 0;
}

__attribute__((unused)) static void
loop_init(struct harness_loop *loop)
{
	*loop = (struct harness_loop){0};
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->wake, NULL);
}

__attribute__((unused)) static void
harness_work(void *loop_arg, void (*work)(void *), void (*done)(void *), void *arg)
{
	struct harness_loop *loop = loop_arg;
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job){NULL, work, done, arg, loop, 0};
	pthread_mutex_lock(&loop->lock);
	loop->pending++;
	pthread_mutex_unlock(&loop->lock);
	pthread_mutex_lock(&harness_pool.lock);
	*harness_pool.last = job;
	harness_pool.last = &job->next;
	pthread_cond_signal(&harness_pool.wake);
	pthread_mutex_unlock(&harness_pool.lock);
}

__attribute__((unused)) static void
harness_delay(void *loop_arg, uint64_t ms, void (*fn)(void *), void *arg)
{
	struct harness_loop *loop = loop_arg;
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job){loop->delayed, NULL, fn, arg, loop, loop->now_ms + ms};
	loop->delayed = job;
	loop->delayed_ms += ms;
}

/* Takes the delayed job that is due first. */
__attribute__((unused)) static struct job *
loop_next_delayed(struct harness_loop *loop)
{
	struct job **best = &loop->delayed;

	if (!*best)
		return NULL;
	for (struct job **p = &loop->delayed; *p; p = &(*p)->next)
		if ((*p)->due_ms < (*best)->due_ms)
			best = p;
	struct job *job = *best;
	*best = job->next;
	if (job->due_ms > loop->now_ms)
		loop->now_ms = job->due_ms;
	return job;
}

/* One completion; false when nothing is under way. */
__attribute__((unused)) static bool
loop_turn(struct harness_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	while (!loop->ready && loop->pending > 0 && !loop->delayed)
		pthread_cond_wait(&loop->wake, &loop->lock);
	struct job *job = loop->ready;
	if (job)
		loop->ready = job->next;
	pthread_mutex_unlock(&loop->lock);
	if (!job)
		job = loop_next_delayed(loop);
	if (!job)
		return false;
	job->done(job->arg);
	free(job);
	loop->on_loop++;
	return true;
}

__attribute__((unused)) static void
loop_drain(struct harness_loop *loop)
{
	while (loop_turn(loop))
		;
	assert_null(loop->delayed);
}

/* The directory --------------------------------------------------------------------- */

struct directory {
	char *alice;  /* password "pencil" */
	char *broken; /* keys that do not parse */
	bool fails;
	_Atomic unsigned lookups;
};

__attribute__((unused)) static char *
make_keys(const char *password)
{
	struct buf out;

	buf_init(&out, CREDENTIAL_TEXT_MAX);
	assert_int_equal(
	    credential_make(slice_from_cstr(password), 4096, &out), STATUS_OK);
	char *text = slice_to_cstr(buf_slice(&out));
	buf_fini(&out);
	return text;
}

__attribute__((unused)) static enum status
directory_lookup(
    void *arg, struct slice login, struct arena *arena, struct auth_record *out)
{
	struct directory *d = arg;

	d->lookups++;
	if (d->fails)
		return STATUS_IO;
	if (slice_equal(login, SLICE("alice@example.org")) ||
	    slice_equal(login, SLICE("alice")) ||
	    slice_equal(login, SLICE("gone@example.org"))) {
		out->found = true;
		out->disabled = login.ptr[0] == 'g';
		out->login = arena_copy(arena, SLICE("alice@example.org"));
		out->credential = arena_copy(arena, slice_from_cstr(d->alice));
	} else if (slice_equal(login, SLICE("broken@example.org"))) {
		out->found = true;
		out->login = arena_copy(arena, login);
		out->credential = arena_copy(arena, slice_from_cstr(d->broken));
	}
	return STATUS_OK;
}

__attribute__((unused)) static const char *const all_mechanisms[] = {"SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN", "EXTERNAL",
    "OAUTHBEARER", "XOAUTH2"};

/* Valid until the thread's next call. */
__attribute__((unused)) static const struct auth_channel *
channel_of(bool secure, const char *peer)
{
	static _Thread_local struct auth_channel channel;

	channel = (struct auth_channel){.secure = secure, .peer = peer};
	return &channel;
}

__attribute__((unused)) static struct auth *
make_auth(struct directory *d, unsigned block_after)
{
	const struct auth_options options = {
	    .service = "imap",
	    .hostname = "mail.example.org",
	    .mechanisms = all_mechanisms,
	    .mechanism_count = sizeof(all_mechanisms) / sizeof(all_mechanisms[0]),
	    .fail_delay_ms = 1000,
	    .block_after = block_after,
	    .block_for_ms = 60000,
	    .iterations = 4096,
	    .secret = SLICE("the secret of an installation"),
	    .lookup = directory_lookup,
	    .lookup_arg = d,
	    .work = harness_work,
	    .delay = harness_delay,
	};
	struct auth *auth = NULL;

	assert_int_equal(auth_new(&options, &auth), STATUS_OK);
	return auth;
}

/* What the last step gave. */
struct outcome {
	int calls;
	enum auth_result result;
	char challenge[2048];
	size_t challenge_len;
	char login[400];
};

__attribute__((unused)) static void
outcome_set(
    void *arg, enum auth_result result, struct slice challenge, struct slice login)
{
	struct outcome *o = arg;

	o->calls++;
	o->result = result;
	assert_true(challenge.len < sizeof(o->challenge));
	o->challenge_len = challenge.len;
	if (challenge.len)
		memcpy(o->challenge, challenge.ptr, challenge.len);
	o->challenge[challenge.len] = '\0';
	assert_int_equal(result == AUTH_OK, login.ptr != NULL);
	assert_true(slice_copy_cstr(login, o->login, sizeof(o->login)));
}

/* The client ------------------------------------------------------------------------- */

struct scram_client {
	const EVP_MD *md;
	const char *password;
	const char *gs2; /* "n,," */
	char first[400]; /* client-first-message-bare */
	char final[1200];
	unsigned char salted[64];
	char auth_message[4096];
	struct slice salt; /* borrows the server's message */
	unsigned iterations;
	char salt_text[128];
	struct slice binding; /* channel binding data behind the header in "c=" */
};

__attribute__((unused)) static size_t
client_hmac(const EVP_MD *md, const void *key, size_t key_len, const char *text,
    unsigned char *out)
{
	unsigned len = 0;

	assert_non_null(HMAC(
	    md, key, (int)key_len, (const unsigned char *)text, strlen(text), out, &len));
	return len;
}

__attribute__((unused)) static void
client_start(struct scram_client *c, const char *mechanism, const char *gs2,
    const char *user, const char *password, const char *nonce)
{
	*c = (struct scram_client){
	    .md = strstr(mechanism, "SHA-256") ? EVP_sha256() : EVP_sha1(),
	    .password = password,
	    .gs2 = gs2};
	snprintf(c->first, sizeof(c->first), "n=%s,r=%s", user, nonce);
}

/* The final message from the server's first; false when that is none. */
__attribute__((unused)) static bool
client_continue(struct scram_client *c, const char *server_first)
{
	char nonce[512], without_proof[900];
	unsigned char client_key[64], stored_key[64], signature[64], proof[64];
	struct buf salt, encoded;
	int size = EVP_MD_size(c->md);
	char channel[256];

	if (sscanf(server_first, "r=%511[^,],s=%127[^,],i=%u", nonce, c->salt_text,
		&c->iterations) != 3)
		return false;
	buf_init(&salt, 200);
	buf_init(&encoded, 200);
	assert_true(base64_decode_strict(slice_from_cstr(c->salt_text), &salt));
	struct buf header;
	buf_init(&header, 200);
	buf_append_cstr(&header, c->gs2);
	buf_append(&header, c->binding);
	base64_encode(buf_slice(&header), &encoded);
	buf_fini(&header);
	snprintf(channel, sizeof(channel), "%.*s", SLICE_ARG(buf_slice(&encoded)));
	snprintf(without_proof, sizeof(without_proof), "c=%s,r=%s", channel, nonce);
	snprintf(c->auth_message, sizeof(c->auth_message), "%s,%s,%s", c->first,
	    server_first, without_proof);
	assert_int_equal(PKCS5_PBKDF2_HMAC(c->password, (int)strlen(c->password),
			     (unsigned char *)salt.ptr, (int)salt.len, (int)c->iterations,
			     c->md, size, c->salted),
	    1);
	client_hmac(c->md, c->salted, (size_t)size, "Client Key", client_key);
	EVP_Digest(client_key, (size_t)size, stored_key, NULL, c->md, NULL);
	client_hmac(c->md, stored_key, (size_t)size, c->auth_message, signature);
	for (int i = 0; i < size; i++)
		proof[i] = client_key[i] ^ signature[i];
	buf_reset(&encoded);
	base64_encode(slice_make((char *)proof, (size_t)size), &encoded);
	snprintf(c->final, sizeof(c->final), "%s,p=%.*s", without_proof,
	    SLICE_ARG(buf_slice(&encoded)));
	buf_fini(&salt);
	buf_fini(&encoded);
	return true;
}

/* True when the server has shown that it knows the keys. */
__attribute__((unused)) static bool
client_believes(struct scram_client *c, const char *server_final)
{
	unsigned char server_key[64], signature[64];
	size_t size = (size_t)EVP_MD_size(c->md);
	struct buf want;

	client_hmac(c->md, c->salted, size, "Server Key", server_key);
	client_hmac(c->md, server_key, size, c->auth_message, signature);
	buf_init(&want, 200);
	buf_append_cstr(&want, "v=");
	base64_encode(slice_make((char *)signature, size), &want);
	bool same = slice_equal(buf_slice(&want), slice_from_cstr(server_final));
	buf_fini(&want);
	return same;
}

#endif
