/*
 * JSON Web Tokens (RFC 7519) as access tokens: signature by configured keys, then the
 * claims.  Signed with RS256, ES256 or EdDSA (Ed25519) only; "none", the HMAC family and
 * critical extensions are refused (RFC 8725).
 *
 * Pure but for the keys' memory; any thread.  Keys are counted, so that a reload swaps
 * them under checks that run.
 */
#ifndef AUTH_JWT_H
#define AUTH_JWT_H

#include "base/buf.h"
#include "base/status.h"

enum {
	JWT_TOKEN_MAX = 10 * 1024,       /* octets of a token */
	JWT_NAME_MAX = 320,              /* octets of the name in it, as a login */
	JWT_KEYS_MAX = 32,               /* keys of a file */
	JWT_KEYS_BYTES_MAX = 256 * 1024, /* of a file of keys */
	JWT_RSA_BITS_MIN = 2048,
};

struct jwt_keys;
struct json_t;

/* A file of public keys: a JWK set (RFC 7517), or PEM "PUBLIC KEY" blocks.  Keys of a
 * kind that is not known are passed over; none left is INVALID.  *error (caller frees)
 * is one line that names the file. */
enum status jwt_keys_load(const char *path, struct jwt_keys **out, char **error) MUST_USE;
/* The same from memory; `*error` is a literal. */
enum status jwt_keys_parse(
    struct slice text, struct jwt_keys **out, const char **error) MUST_USE;
struct jwt_keys *jwt_keys_ref(struct jwt_keys *keys);
void jwt_keys_unref(struct jwt_keys **keys);

struct jwt_rules {
	const char *issuer;   /* "iss" has to be it; empty: any */
	const char *audience; /* words: "aud" has to hold one of them; empty: any */
	const char *scope;    /* has to be in "scope"; empty: none */
	const char *claim;    /* the login: "email", "sub" … */
	uint64_t skew_s;      /* clocks may differ by so much */
	int64_t now_s;        /* seconds since 1970 */
};

/* DENIED with the reason in *out_why (a literal, for the log), or OK with the login name
 * from the claim in out_name (at most JWT_NAME_MAX). */
enum status jwt_check(struct slice token, const struct jwt_keys *keys,
    const struct jwt_rules *rules, struct buf *out_name, int64_t *out_expires_s,
    const char **out_why) MUST_USE;
/* The answer of an introspection endpoint (RFC 7662 section 2.2): "active", and what of
 * the claims it tells. */
enum status jwt_check_introspection(struct slice answer, const struct jwt_rules *rules,
    struct buf *out_name, int64_t *out_expires_s, const char **out_why) MUST_USE;
/* True when it has a token's three parts. */
bool jwt_is_shaped(struct slice token);

#endif
