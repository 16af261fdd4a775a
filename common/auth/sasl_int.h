/*
 * Private to common/auth: an exchange, its three kinds of steps, and the directory.
 *
 * An exchange belongs to its loop's thread, but for the time of a step: between
 * options.work and its completion, the pool thread alone touches `input`, `output` and
 * the fields behind them.
 */
#ifndef AUTH_SASL_INT_H
#define AUTH_SASL_INT_H

#include <pthread.h>
#include <sasl/sasl.h>
#include <stdatomic.h>

#include "auth/sasl.h"
#include "auth/throttle.h"
#include "base/buf.h"

enum {
	AUTH_MECHANISMS_MAX = 12,
	AUTH_LOGIN_BYTES_MAX = 320,        /* RFC 5321: 64 + 1 + 255 */
	AUTH_LOOKUP_BYTES_MAX = 64 * 1024, /* what a lookup may put into its arena */
	AUTH_CHALLENGE_BYTES_MAX = 8 * 1024,
	AUTH_CALLBACKS_MAX = 4,
};

/* What a connection has, and what a mechanism needs. */
enum auth_channel_bits {
	AUTH_CHANNEL_SECRET = 1 << 0, /* secrets may be sent: TLS, or allow_plaintext */
	AUTH_CHANNEL_BINDING = 1 << 1,
	AUTH_CHANNEL_CERTIFICATE = 1 << 2,
	AUTH_CHANNEL_TOKENS = 1 << 3,
	AUTH_CHANNEL_KINDS = 1 << 4,
};

struct auth {
	unsigned magic;
	_Atomic unsigned refs; /* the owner, and one an exchange */
	struct auth_options options;
	char *service;
	char *hostname;
	char *secret;
	char *mechanisms[AUTH_MECHANISMS_MAX]; /* upper case, usable ones only */
	size_t mechanism_count;
	struct buf announce[AUTH_CHANNEL_KINDS]; /* by enum auth_channel_bits */
	struct throttle *throttle;
	pthread_mutex_t lock; /* guards tokens */
	struct token_rules *tokens;
	_Atomic bool has_tokens;
};

enum auth_kind {
	AUTH_KIND_PLAIN,
	AUTH_KIND_LOGIN,
	AUTH_KIND_SCRAM,
	AUTH_KIND_PASSWORD,
	AUTH_KIND_APOP,
	AUTH_KIND_EXTERNAL,
	AUTH_KIND_OAUTHBEARER,
	AUTH_KIND_XOAUTH2,
};

struct auth_exchange {
	unsigned magic;
	struct auth *auth;
	void *loop;
	enum auth_kind kind;
	char mechanism[32];
	char *peer;
	auth_done_fn done;
	void *arg;
	bool in_flight;  /* a step is on the pool, or its result waits */
	bool delivering; /* the done function is running */
	bool ended;      /* nobody wants to hear of it any more */
	bool finished;   /* the last result was given */
	bool refused;    /* a token was refused, the client's dummy is awaited */
	bool counted;    /* the failure is in the throttle's count, and was delayed */

	/* Of the step. */
	char *bytes;        /* owned; wiped */
	struct slice input; /* = bytes */
	bool has_input;
	unsigned step; /* from 0 */
	struct buf output;
	enum auth_result result;
	uint64_t guess; /* what was tried, for the throttle; 0: not known */

	/* Of the exchange. */
	struct arena *arena;
	struct slice user;  /* LOGIN: the first answer; SCRAM: who was looked up */
	struct slice login; /* the account's, when there is one that may log in */
	bool unavailable;   /* SCRAM: the directory could not be read */
	bool said_all;      /* SCRAM: the server's last message is out */
	bool plus;          /* SCRAM: the mechanism that binds to the channel */
	bool plus_offered;  /* SCRAM: and whether the client could have taken it */
	sasl_channel_binding_t binding;
	struct slice binding_text; /* base64 of header and binding; in the arena */
	struct slice tls_exporter, tls_server_end_point; /* in the arena */
	struct slice certificate;
	sasl_conn_t *conn;
	sasl_callback_t callbacks[AUTH_CALLBACKS_MAX];
};

/* An account's keys, or fake ones that look the same.  OK also for unknown and disabled
 * ones, then with *out_login the null slice.  `user` is lower case already. */
enum status auth_directory(struct auth_exchange *x, struct slice user,
    struct slice *out_credential, struct slice *out_login) MUST_USE;
/* Lower-case copy in the exchange's arena; the null slice for what is no login at all
 * (empty, too long, not UTF-8, a NUL in it). */
struct slice auth_canonical_login(struct auth_exchange *x, struct slice login);

/* One step each, on a pool thread: read input, write output, result and login. */
void auth_step_plain(struct auth_exchange *x);
void auth_step_login(struct auth_exchange *x);
void auth_step_scram(struct auth_exchange *x);
void auth_step_bearer(struct auth_exchange *x);
void auth_step_external(struct auth_exchange *x);
/* Input is the length of the login (4 bytes), login, password. */
void auth_step_password(struct auth_exchange *x);
/* Input is the length of the login (4 bytes), the digest, login, timestamp. */
void auth_step_apop(struct auth_exchange *x);

/* A reference to the rules for tokens, or null. */
struct token_rules *auth_tokens_ref(struct auth *auth);

/* libsasl2 for this process; once. */
enum status auth_scram_start(void) MUST_USE;
/* True when libsasl2 has the mechanism. */
bool auth_scram_has(const char *mechanism);

#endif
