/*
 * Which account a bearer token stands for: a JWT is checked against configured keys, any
 * other token (or every one, when there are no keys) is shown to the server that issued
 * it (introspection, RFC 7662,).  Calls block: worker pool only.  At most
 * TOKEN_INTROSPECTIONS_MAX wait for an answer at once, so that a slow server does not
 * take the pool away from passwords; answers are remembered for a minute.
 */
#ifndef AUTH_TOKEN_H
#define AUTH_TOKEN_H

#include "auth/jwt.h"

enum {
	TOKEN_INTROSPECTIONS_MAX = 2,
	TOKEN_ANSWER_MAX = 64 * 1024, /* octets of an answer */
	TOKEN_REMEMBER_S = 60,        /* so long a revoked token may still be taken */
	TOKEN_REMEMBERED_MAX = 256,   /* tokens */
	TOKEN_LOGIN_MAX = 512,        /* octets of "client:secret" */
};

struct token_request {
	const char *url;
	const char *form;  /* application/x-www-form-urlencoded */
	const char *login; /* "client:secret" for HTTP Basic; null: none */
	const char *ca_file;
	uint64_t timeout_ms;
};

struct token_options {
	/* How a form is posted, with its answer appended: passed in so that auth does not
	 * know net.  Blocks. */
	enum status (*post)(const struct token_request *request, struct buf *answer);
	const char *keys;                /* file of public keys; empty: none */
	const char *introspection_url;   /* https, or http to loopback; empty: none */
	const char *introspection_login; /* file whose first line is "client:secret" */
	const char *introspection_ca;    /* extra trust; empty: the system's */
	uint64_t introspection_timeout_ms;
	const char *issuer;
	const char *audience;
	const char *scope;
	const char *claim;
	uint64_t skew_s;
	const char *configuration; /* told to clients (openid-configuration) */
};

struct token_rules;

/* NOT_FOUND when neither keys nor a URL are configured; else *error (caller frees) says
 * what is wrong in one line.  Everything is copied. */
enum status token_rules_new(
    const struct token_options *options, struct token_rules **out, char **error) MUST_USE;
struct token_rules *token_rules_ref(struct token_rules *rules);
void token_rules_unref(struct token_rules **rules);
const char *token_rules_scope(const struct token_rules *rules);
const char *token_rules_configuration(const struct token_rules *rules);

/* OK with the login name; DENIED: no good; BUSY or IO: cannot be told now.  *out_why is a
 * literal for the log. */
enum status token_check(struct token_rules *rules, struct slice token,
    struct buf *out_name, const char **out_why) MUST_USE;

#endif
