/*
 * Exchanges: a step goes to the pool (auth_step_*), its result comes back on the loop,
 * waits there when it is a failure, and is told.  See auth/sasl.h for the contract.
 *
 *	auth_begin ─► work (pool) ─► worked (loop) ─► [delay] ─► deliver ─► done(…)
 *	     ▲                                                      │ AUTH_MORE
 *	     └──────────────────────── auth_step ◄─────────────────┘
 *
 * Invariants:
 * 1. At most one step of an exchange is under way (in_flight), and then the exchange is
 *    kept alive: auth_end only marks it.
 * 2. A failure is counted when it is known, not when it is told: a client that hangs up
 *    during the delay gains nothing.
 * 3. Passwords are wiped with the step that brought them.
 */
#include "auth/sasl_int.h"

#include <openssl/crypto.h>

#include "auth/credential_int.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hashmap.h"
#include "base/ids.h"
#include "text/encoding.h"

enum {
	AUTH_MAGIC = 0x41555448,
	EXCHANGE_MAGIC = 0x41584348,
	SECRET_BYTES = 32,
	ITERATIONS_DEFAULT = CREDENTIAL_ITERATIONS_MIN,
};

#define PLUS   AUTH_CHANNEL_BINDING
#define SECRET AUTH_CHANNEL_SECRET
#define TOKEN  (AUTH_CHANNEL_SECRET | AUTH_CHANNEL_TOKENS)

static const struct {
	const char *name;
	enum auth_kind kind;
	unsigned needs; /* enum auth_channel_bits */
} mechanisms[] = {
    {"SCRAM-SHA-256-PLUS", AUTH_KIND_SCRAM,       PLUS                    },
    {"SCRAM-SHA-1-PLUS",   AUTH_KIND_SCRAM,       PLUS                    },
    {"SCRAM-SHA-256",      AUTH_KIND_SCRAM,       0                       },
    {"SCRAM-SHA-1",        AUTH_KIND_SCRAM,       0                       },
    {"PLAIN",	      AUTH_KIND_PLAIN,       SECRET                  },
    {"LOGIN",	      AUTH_KIND_LOGIN,       SECRET                  },
    {"EXTERNAL",           AUTH_KIND_EXTERNAL,    AUTH_CHANNEL_CERTIFICATE},
    {"OAUTHBEARER",        AUTH_KIND_OAUTHBEARER, TOKEN                   },
    {"XOAUTH2",            AUTH_KIND_XOAUTH2,     TOKEN                   },
};

enum { MECHANISM_COUNT = sizeof(mechanisms) / sizeof(mechanisms[0]) };

/* The authenticator ----------------------------------------------------------------- */

static size_t
mechanism_find(struct slice name)
{
	for (size_t i = 0; i < MECHANISM_COUNT; i++)
		if (slice_equal_nocase(name, slice_from_cstr(mechanisms[i].name)))
			return i;
	return MECHANISM_COUNT;
}

static void
announce(struct buf *out, const char *name)
{
	if (out->len > 0)
		buf_append_byte(out, ' ');
	buf_append_cstr(out, name);
}

/* Takes over the configured mechanisms that can be had. */
static void
mechanisms_take(struct auth *auth, const struct auth_options *options)
{
	bool library = auth_scram_start() == STATUS_OK;

	for (size_t i = 0; i < options->mechanism_count; i++) {
		size_t m = mechanism_find(slice_from_cstr(options->mechanisms[i]));
		if (m == MECHANISM_COUNT || auth->mechanism_count == AUTH_MECHANISMS_MAX)
			continue;
		const char *name = mechanisms[m].name;
		if (mechanisms[m].kind == AUTH_KIND_SCRAM &&
		    !(library && auth_scram_has(name)))
			continue;
		auth->mechanisms[auth->mechanism_count++] = xstrdup(name);
		for (unsigned has = 0; has < AUTH_CHANNEL_KINDS; has++)
			if ((mechanisms[m].needs & ~has) == 0)
				announce(&auth->announce[has], name);
	}
}

static void
auth_unref(struct auth *auth)
{
	if (atomic_fetch_sub(&auth->refs, 1) != 1)
		return;
	for (size_t i = 0; i < auth->mechanism_count; i++)
		free(auth->mechanisms[i]);
	for (unsigned has = 0; has < AUTH_CHANNEL_KINDS; has++)
		buf_fini(&auth->announce[has]);
	token_rules_unref(&auth->tokens);
	ENSURE(pthread_mutex_destroy(&auth->lock) == 0);
	throttle_free(&auth->throttle);
	OPENSSL_cleanse(auth->secret, auth->options.secret.len);
	free(auth->secret);
	free(auth->service);
	free(auth->hostname);
	auth->magic = 0;
	free(auth);
}

enum status
auth_new(const struct auth_options *options, struct auth **out)
{
	enum { ANNOUNCE_BYTES_MAX = 256 };
	struct auth *auth = xcalloc(1, sizeof(*auth));

	auth->magic = AUTH_MAGIC;
	atomic_init(&auth->refs, 1);
	auth->options = *options;
	auth->options.mechanisms = NULL; /* borrowed for this call only */
	if (auth->options.iterations < 1)
		auth->options.iterations = ITERATIONS_DEFAULT;
	auth->service = xstrdup(options->service);
	auth->hostname = xstrdup(options->hostname);
	size_t secret_len = options->secret.len ? options->secret.len : SECRET_BYTES;
	auth->secret = xmalloc(secret_len);
	if (options->secret.len)
		memcpy(auth->secret, options->secret.ptr, secret_len);
	else
		random_bytes(auth->secret, secret_len);
	auth->options.secret = slice_make(auth->secret, secret_len);
	for (unsigned has = 0; has < AUTH_CHANNEL_KINDS; has++)
		buf_init(&auth->announce[has], ANNOUNCE_BYTES_MAX);
	ENSURE(pthread_mutex_init(&auth->lock, NULL) == 0);
	auth->throttle = throttle_new(options->block_after, options->block_for_ms);
	mechanisms_take(auth, options);
	if (options->mechanism_count > 0 && auth->mechanism_count == 0) {
		auth_unref(auth);
		return STATUS_NOT_FOUND;
	}
	*out = auth;
	return STATUS_OK;
}

void
auth_free(struct auth **auth)
{
	if (*auth)
		auth_unref(*auth);
	*auth = NULL;
}

void
auth_tokens_set(struct auth *auth, struct token_rules *rules)
{
	ENSURE(pthread_mutex_lock(&auth->lock) == 0);
	struct token_rules *old = auth->tokens;
	auth->tokens = rules ? token_rules_ref(rules) : NULL;
	atomic_store(&auth->has_tokens, rules != NULL);
	ENSURE(pthread_mutex_unlock(&auth->lock) == 0);
	token_rules_unref(&old);
}

struct token_rules *
auth_tokens_ref(struct auth *auth)
{
	ENSURE(pthread_mutex_lock(&auth->lock) == 0);
	struct token_rules *rules = auth->tokens ? token_rules_ref(auth->tokens) : NULL;
	ENSURE(pthread_mutex_unlock(&auth->lock) == 0);
	return rules;
}

static unsigned
channel_bits(const struct auth *auth, const struct auth_channel *channel)
{
	unsigned bits = 0;

	if (channel->secure || auth->options.allow_plaintext)
		bits |= AUTH_CHANNEL_SECRET;
	if (channel->tls_exporter.ptr || channel->tls_server_end_point.ptr)
		bits |= AUTH_CHANNEL_BINDING;
	if (channel->certificate.len > 0)
		bits |= AUTH_CHANNEL_CERTIFICATE;
	if (atomic_load(&auth->has_tokens))
		bits |= AUTH_CHANNEL_TOKENS;
	return bits;
}

struct slice
auth_mechanisms(const struct auth *auth, const struct auth_channel *channel)
{
	return buf_slice(&auth->announce[channel_bits(auth, channel)]);
}

bool
auth_mechanism_allowed(
    const struct auth *auth, struct slice name, const struct auth_channel *channel)
{
	struct slice rest = auth_mechanisms(auth, channel);

	while (rest.ptr)
		if (slice_equal_nocase(slice_split(&rest, ' '), name))
			return !slice_is_empty(name);
	return false;
}

/* The directory --------------------------------------------------------------------- */

struct slice
auth_canonical_login(struct auth_exchange *x, struct slice login)
{
	if (slice_is_empty(login) || login.len > AUTH_LOGIN_BYTES_MAX ||
	    slice_index(login, '\0') != SIZE_MAX || !utf8_is_valid(login))
		return SLICE_NULL;
	char *copy = arena_cstr(x->arena, login);
	ENSURE(copy);
	for (size_t i = 0; i < login.len; i++)
		copy[i] = ascii_lower(copy[i]);
	return slice_make(copy, login.len);
}

enum status
auth_directory(struct auth_exchange *x, struct slice user, struct slice *out_credential,
    struct slice *out_login)
{
	const struct auth_options *options = &x->auth->options;
	struct auth_record record = {0};
	struct buf fake;

	if (!slice_is_empty(user)) {
		enum status status =
		    options->lookup(options->lookup_arg, user, x->arena, &record);
		if (status != STATUS_OK)
			return status;
	}
	/* Made in any case: finding out costs the same for every name. */
	buf_init(&fake, CREDENTIAL_TEXT_MAX);
	credential_fake(user, options->secret, options->iterations, &fake);
	*out_credential = arena_copy(x->arena, buf_slice(&fake));
	buf_fini(&fake);
	*out_login = SLICE_NULL;
	if (record.found && !record.disabled && credential_is_valid(record.credential)) {
		*out_credential = record.credential;
		*out_login = record.login;
	}
	return out_credential->ptr ? STATUS_OK : STATUS_LIMIT;
}

/* Exchanges ------------------------------------------------------------------------- */

static void
input_clear(struct auth_exchange *x)
{
	if (x->bytes)
		OPENSSL_cleanse(x->bytes, x->input.len);
	free(x->bytes);
	x->bytes = NULL;
	x->input = SLICE_NULL;
	x->has_input = false;
}

static void
input_set(struct auth_exchange *x, struct slice a, struct slice b)
{
	char *copy = xmalloc(a.len + b.len + 1);

	if (a.len > 0)
		memcpy(copy, a.ptr, a.len);
	if (b.len > 0)
		memcpy(copy + a.len, b.ptr, b.len);
	copy[a.len + b.len] = '\0';
	x->bytes = copy;
	x->input = slice_make(copy, a.len + b.len);
	x->has_input = true;
}

static struct auth_exchange *
exchange_new(struct auth *auth, void *loop, enum auth_kind kind, const char *peer,
    auth_done_fn done, void *arg)
{
	struct auth_exchange *x = xcalloc(1, sizeof(*x));

	atomic_fetch_add(&auth->refs, 1);
	x->magic = EXCHANGE_MAGIC;
	x->auth = auth;
	x->loop = loop;
	x->kind = kind;
	x->peer = xstrdup(peer ? peer : "");
	x->done = done;
	x->arg = arg;
	x->arena = arena_new(AUTH_LOOKUP_BYTES_MAX);
	buf_init(&x->output, AUTH_CHALLENGE_BYTES_MAX);
	return x;
}

static void
exchange_free(struct auth_exchange *x)
{
	input_clear(x);
	if (x->conn)
		sasl_dispose(&x->conn);
	buf_fini(&x->output);
	arena_free(&x->arena);
	free(x->peer);
	x->magic = 0;
	auth_unref(x->auth);
	free(x);
}

static void
exchange_deliver(void *arg)
{
	struct auth_exchange *x = OBJ_CAST(auth_exchange, arg, EXCHANGE_MAGIC);

	x->in_flight = false;
	if (!x->ended) {
		/* The done function may begin the next step, which writes a new output.
		 */
		struct buf challenge = x->output;
		buf_init(&x->output, AUTH_CHALLENGE_BYTES_MAX);
		x->finished = x->result != AUTH_MORE;
		x->delivering = true;
		x->done(x->arg, x->result, buf_slice(&challenge),
		    x->result == AUTH_OK ? x->login : SLICE_NULL);
		x->delivering = false;
		buf_fini(&challenge);
	}
	if (x->ended && !x->in_flight)
		exchange_free(x);
}

static void
exchange_worked(void *arg)
{
	struct auth_exchange *x = OBJ_CAST(auth_exchange, arg, EXCHANGE_MAGIC);
	const struct auth_options *options = &x->auth->options;

	input_clear(x);
	x->step++;
	if ((x->result != AUTH_FAILED && !x->refused) || x->counted) {
		exchange_deliver(x);
		return;
	}
	x->counted = true;
	throttle_fail(
	    x->auth->throttle, slice_from_cstr(x->peer), x->guess, clock_mono_ms());
	if (x->ended || options->fail_delay_ms == 0)
		exchange_deliver(x);
	else
		options->delay(x->loop, options->fail_delay_ms, exchange_deliver, x);
}

static void
exchange_work(void *arg)
{
	struct auth_exchange *x = OBJ_CAST(auth_exchange, arg, EXCHANGE_MAGIC);

	if (x->has_input && x->input.len > AUTH_RESPONSE_MAX) {
		x->result = AUTH_BAD;
		return;
	}
	switch (x->kind) {
	case AUTH_KIND_PLAIN:
		auth_step_plain(x);
		break;
	case AUTH_KIND_LOGIN:
		auth_step_login(x);
		break;
	case AUTH_KIND_SCRAM:
		auth_step_scram(x);
		break;
	case AUTH_KIND_PASSWORD:
		auth_step_password(x);
		break;
	case AUTH_KIND_APOP:
		auth_step_apop(x);
		break;
	case AUTH_KIND_OAUTHBEARER:
	case AUTH_KIND_XOAUTH2:
		auth_step_bearer(x);
		break;
	case AUTH_KIND_EXTERNAL:
		auth_step_external(x);
		break;
	}
	if (!buf_ok(&x->output))
		x->result = AUTH_BAD;
}

static void
exchange_go(struct auth_exchange *x)
{
	x->in_flight = true;
	x->result = AUTH_BAD;
	x->auth->options.work(x->loop, exchange_work, exchange_worked, x);
}

/* Tells a result that needs no work, but not from inside the caller's call. */
static void
exchange_refuse(struct auth_exchange *x, enum auth_result result)
{
	x->in_flight = true;
	x->result = result;
	x->auth->options.delay(x->loop, 0, exchange_deliver, x);
}

static bool
exchange_is_blocked(const struct auth_exchange *x)
{
	return throttle_is_blocked(
	    x->auth->throttle, slice_from_cstr(x->peer), clock_mono_ms());
}

/* Copies what the mechanism binds to; a null slice stays one. */
static void
channel_take(struct auth_exchange *x, const struct auth_channel *channel, bool plus)
{
	x->plus = plus;
	x->plus_offered =
	    auth_mechanism_allowed(x->auth, SLICE("SCRAM-SHA-256-PLUS"), channel) ||
	    auth_mechanism_allowed(x->auth, SLICE("SCRAM-SHA-1-PLUS"), channel);
	if (channel->tls_exporter.ptr)
		x->tls_exporter = arena_copy(x->arena, channel->tls_exporter);
	if (channel->tls_server_end_point.ptr)
		x->tls_server_end_point =
		    arena_copy(x->arena, channel->tls_server_end_point);
	if (channel->certificate.ptr)
		x->certificate = arena_copy(x->arena, channel->certificate);
}

struct auth_exchange *
auth_begin(struct auth *auth, void *loop, struct slice mechanism,
    const struct auth_channel *channel, bool has_initial, struct slice initial,
    auth_done_fn done, void *arg)
{
	size_t m = mechanism_find(mechanism);
	bool allowed =
	    m < MECHANISM_COUNT && auth_mechanism_allowed(auth, mechanism, channel);
	struct auth_exchange *x = exchange_new(auth, loop,
	    allowed ? mechanisms[m].kind : AUTH_KIND_PLAIN, channel->peer, done, arg);

	if (!allowed || (has_initial && initial.len > AUTH_RESPONSE_MAX)) {
		exchange_refuse(x, AUTH_BAD);
	} else if (exchange_is_blocked(x)) {
		exchange_refuse(x, AUTH_BLOCKED);
	} else {
		ENSURE(slice_copy_cstr(slice_from_cstr(mechanisms[m].name), x->mechanism,
		    sizeof(x->mechanism)));
		channel_take(x, channel, mechanisms[m].needs & PLUS);
		if (has_initial)
			input_set(x, initial, SLICE_NULL);
		exchange_go(x);
	}
	return x;
}

void
auth_step(struct auth_exchange *x, struct slice response)
{
	ENSURE(x->magic == EXCHANGE_MAGIC && !x->in_flight && !x->finished && !x->ended);
	if (response.len > AUTH_RESPONSE_MAX) {
		exchange_refuse(x, AUTH_BAD);
		return;
	}
	input_set(x, response, SLICE_NULL);
	exchange_go(x);
}

void
auth_end(struct auth_exchange **exchange)
{
	struct auth_exchange *x = *exchange;

	if (!x)
		return;
	*exchange = NULL;
	ENSURE(x->magic == EXCHANGE_MAGIC && !x->ended);
	x->ended = true;
	if (!x->in_flight && !x->delivering)
		exchange_free(x);
}

struct auth_exchange *
auth_password(struct auth *auth, void *loop, struct slice login, struct slice password,
    const char *peer, auth_done_fn done, void *arg)
{
	struct auth_exchange *x =
	    exchange_new(auth, loop, AUTH_KIND_PASSWORD, peer, done, arg);

	if (login.len > AUTH_RESPONSE_MAX / 2 ||
	    password.len > AUTH_RESPONSE_MAX / 2 - 4) {
		exchange_refuse(x, AUTH_BAD);
	} else if (exchange_is_blocked(x)) {
		exchange_refuse(x, AUTH_BLOCKED);
	} else {
		char *head = xmalloc(4 + login.len);
		be32_put(head, (uint32_t)login.len);
		if (login.len > 0)
			memcpy(head + 4, login.ptr, login.len);
		input_set(x, slice_make(head, 4 + login.len), password);
		free(head);
		exchange_go(x);
	}
	return x;
}

struct auth_exchange *
auth_apop(struct auth *auth, void *loop, struct slice login, struct slice timestamp,
    const unsigned char digest[APOP_DIGEST_SIZE], const char *peer, auth_done_fn done,
    void *arg)
{
	struct auth_exchange *x =
	    exchange_new(auth, loop, AUTH_KIND_APOP, peer, done, arg);
	char head[4 + APOP_DIGEST_SIZE + AUTH_LOGIN_BYTES_MAX];

	if (login.len > AUTH_LOGIN_BYTES_MAX || timestamp.len > AUTH_RESPONSE_MAX / 2) {
		exchange_refuse(x, AUTH_BAD);
	} else if (exchange_is_blocked(x)) {
		exchange_refuse(x, AUTH_BLOCKED);
	} else {
		be32_put(head, (uint32_t)login.len);
		memcpy(head + 4, digest, APOP_DIGEST_SIZE);
		if (login.len > 0)
			memcpy(head + 4 + APOP_DIGEST_SIZE, login.ptr, login.len);
		input_set(
		    x, slice_make(head, 4 + APOP_DIGEST_SIZE + login.len), timestamp);
		exchange_go(x);
	}
	return x;
}
