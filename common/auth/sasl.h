/*
 * Server side of authentication: SASL exchanges (PLAIN, LOGIN, EXTERNAL, OAUTHBEARER and
 * XOAUTH2 by us; SCRAM-SHA-1 and SCRAM-SHA-256, with channel binding as -PLUS, by
 * libsasl2 with our auxprop) and plain login+password checks.  Every step that reads the
 * directory, hashes or asks a token's issuer runs on the worker pool and comes back on
 * the session's loop; the session shows AUTH_MORE, AUTH_OK or AUTH_FAILED to its client.
 *
 * libsasl2 traps dealt with here (reference: its own documentation): mutex functions set
 * before init, init once, never sasl_done, fake secrets for unknown users, the auxprop
 * plug-in named explicitly.
 */
#ifndef AUTH_SASL_H
#define AUTH_SASL_H

#include "auth/apop.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

enum { AUTH_RESPONSE_MAX = 12 * 1024 }; /* octets of one decoded client response */

enum auth_result {
	AUTH_MORE,      /* send the challenge, wait for a response */
	AUTH_OK,        /* `login` is who it is */
	AUTH_FAILED,    /* wrong credentials; a delay has been kept */
	AUTH_BAD,       /* the client broke the exchange's syntax */
	AUTH_BLOCKED,   /* too many failures from this address: try later */
	AUTH_TEMPORARY, /* the directory could not be read */
};

/* What authentication has to know of a client's connection.  Copied where it is kept. */
struct auth_channel {
	bool secure;      /* TLS is on */
	const char *peer; /* its address */
	/* Channel bindings (RFC 9266, RFC 5929 section 4); null: not to be had. */
	struct slice tls_exporter;
	struct slice tls_server_end_point;
	/* Mail addresses of the client's certificate, one a line, only if the certificate
	 * was verified; null: none. */
	struct slice certificate;
};

struct token_rules;

struct auth_record {
	bool found;
	bool disabled;
	struct slice login;      /* canonical login name */
	struct slice credential; /* in the lookup's arena */
};

/* Looks an account up by login; called on pool threads.  OK with found=false for an
 * unknown one. */
typedef enum status (*auth_lookup_fn)(
    void *arg, struct slice login, struct arena *arena, struct auth_record *out);

struct auth_options {
	const char *service; /* "smtp", "imap", "pop": the SASL service name */
	const char *hostname;
	const char *const *mechanisms; /* configured, in order of preference */
	size_t mechanism_count;
	bool allow_plaintext; /* PLAIN and LOGIN in clear connections */
	uint64_t fail_delay_ms;
	unsigned block_after; /* failures of one network (/32, /64); 0: never */
	uint64_t block_for_ms;
	unsigned iterations; /* for fake credentials */
	/* The installation's secret, so that an unknown user's salt is the same in every
	 * daemon and after a restart; empty: one of this process. */
	struct slice secret;
	auth_lookup_fn lookup;
	/* Appends the password itself, where it is kept, of an account (login in lower
	 * case), for auth_apop; NOT_FOUND when it is not.  With lookup_arg, on pool
	 * threads; null: never. */
	enum status (*apop_secret)(void *arg, struct slice login, struct buf *out);
	void *lookup_arg;
	/* How completions reach the session's loop and how work reaches the pool:
	 * loop_work and a delayed loop_timer, passed in so that auth does not know net.
	 */
	void (*work)(void *loop, void (*work)(void *), void (*done)(void *), void *arg);
	void (*delay)(void *loop, uint64_t ms, void (*fn)(void *), void *arg);
};

struct auth;
struct auth_exchange;

/* Once a process, before threads. */
enum status auth_new(const struct auth_options *options, struct auth **out) MUST_USE;
void auth_free(struct auth **auth);

/* How bearer tokens are judged from now on (a reference is taken); null: not at all. */
void auth_tokens_set(struct auth *auth, struct token_rules *rules);

/* Mechanism names to announce, space separated: only those that this connection can use.
 * What brings a password or a token wants TLS (or allow_plaintext), -PLUS a channel
 * binding, EXTERNAL a verified certificate, OAUTHBEARER and XOAUTH2 rules for tokens. */
struct slice auth_mechanisms(const struct auth *auth, const struct auth_channel *channel);
bool auth_mechanism_allowed(
    const struct auth *auth, struct slice name, const struct auth_channel *channel);

/* `challenge` is decoded bytes, valid during the call.  `login` is set with AUTH_OK. */
typedef void (*auth_done_fn)(
    void *arg, enum auth_result result, struct slice challenge, struct slice login);

/* Begins an exchange with the (decoded) initial response, or `has_initial` false.  The
 * done function is called exactly once a step, on the loop, never from inside this call.
 * Bytes are copied.  AUTH_BAD for an unknown mechanism comes the same way. */
struct auth_exchange *auth_begin(struct auth *auth, void *loop, struct slice mechanism,
    const struct auth_channel *channel, bool has_initial, struct slice initial,
    auth_done_fn done, void *arg);
/* The client's next (decoded) response, after AUTH_MORE. */
void auth_step(struct auth_exchange *exchange, struct slice response);
/* Forgets an exchange at any time (the session ends, the client sent "*", or after the
 * last result); a step under way finishes without a call. */
void auth_end(struct auth_exchange **exchange);

/* USER/PASS and LOGIN: an exchange with one step. */
struct auth_exchange *auth_password(struct auth *auth, void *loop, struct slice login,
    struct slice password, const char *peer, auth_done_fn done, void *arg);

/* POP3's APOP (RFC 1939 section 7): one step; `timestamp` is what the greeting had. */
struct auth_exchange *auth_apop(struct auth *auth, void *loop, struct slice login,
    struct slice timestamp, const unsigned char digest[APOP_DIGEST_SIZE],
    const char *peer, auth_done_fn done, void *arg);

#endif
