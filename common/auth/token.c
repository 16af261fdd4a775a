/*
 * Tokens to names; see token.h.  The introspection request is RFC 7662 section 2.1: POST
 * with the token as a form field and the client's name and secret by HTTP Basic.
 *
 * Threads: any of the pool; the memory of answers has a lock.
 */
#include "auth/token.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

enum { DIGEST_BYTES = 32, FORM_BYTES_MAX = 4 * 12 * 1024 };

struct remembered {
	unsigned char digest[DIGEST_BYTES]; /* SHA-256 of the token */
	int64_t until_s;
	char name[JWT_NAME_MAX + 1];
};

struct token_rules {
	_Atomic unsigned refs;
	struct token_options options; /* its texts are ours */
	char *login;                  /* "client:secret", or null */
	struct jwt_keys *keys;
	_Atomic unsigned asking;
	pthread_mutex_t lock; /* guards remembered */
	struct remembered remembered[TOKEN_REMEMBERED_MAX];
};

/* ---- settings ---- */

static const char *
text_copy(const char *text)
{
	return xstrdup(text ? text : "");
}

static bool
url_is_safe(const char *url)
{
	static const char *const starts[] = {"https://",
	    "http://127.0.0.1:", "http://127.0.0.1/", "http://[::1]:", "http://[::1]/",
	    "http://localhost:", "http://localhost/"};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
		if (strncmp(url, starts[i], strlen(starts[i])) == 0)
			return true;
	return false;
}

static enum status
login_load(const char *path, char **out, char **error)
{
	char line[TOKEN_LOGIN_MAX + 2] = "";
	FILE *file = fopen(path, "re");
	const char *why = "its first line is not client:secret";

	if (!file)
		why = strerror(errno);
	else if (fgets(line, sizeof(line), file))
		line[strcspn(line, "\r\n")] = '\0';
	if (file)
		fclose(file);
	if (!strchr(line, ':')) {
		if (asprintf(error, "introspection_login %s: %s", path, why) < 0)
			abort();
		return STATUS_INVALID;
	}
	*out = xstrdup(line);
	OPENSSL_cleanse(line, sizeof(line));
	return STATUS_OK;
}

static void
options_copy(struct token_rules *rules, const struct token_options *o)
{
	rules->options = (struct token_options){
	    .keys = text_copy(o->keys),
	    .introspection_url = text_copy(o->introspection_url),
	    .introspection_login = text_copy(o->introspection_login),
	    .introspection_ca = text_copy(o->introspection_ca),
	    .introspection_timeout_ms = o->introspection_timeout_ms,
	    .post = o->post,
	    .issuer = text_copy(o->issuer),
	    .audience = text_copy(o->audience),
	    .scope = text_copy(o->scope),
	    .claim = text_copy(o->claim),
	    .skew_s = o->skew_s,
	    .configuration = text_copy(o->configuration),
	};
}

static enum status
rules_load(struct token_rules *rules, char **error)
{
	const struct token_options *o = &rules->options;
	enum status status = STATUS_OK;

	if (*o->keys)
		status = jwt_keys_load(o->keys, &rules->keys, error);
	if (status == STATUS_OK && *o->introspection_url &&
	    !url_is_safe(o->introspection_url)) {
		*error = xstrdup("oauth.introspection_url has to be https (http only to "
				 "this machine): tokens and a secret go there");
		status = STATUS_INVALID;
	}
	if (status == STATUS_OK && *o->introspection_login)
		status = login_load(o->introspection_login, &rules->login, error);
	return status;
}

enum status
token_rules_new(
    const struct token_options *options, struct token_rules **out, char **error)
{
	if ((!options->keys || !*options->keys) &&
	    (!options->introspection_url || !*options->introspection_url))
		return STATUS_NOT_FOUND;
	struct token_rules *rules = xcalloc(1, sizeof(*rules));
	atomic_init(&rules->refs, 1);
	ENSURE(pthread_mutex_init(&rules->lock, NULL) == 0);
	options_copy(rules, options);
	enum status status = rules_load(rules, error);
	if (status == STATUS_OK)
		*out = rules;
	else
		token_rules_unref(&rules);
	return status;
}

struct token_rules *
token_rules_ref(struct token_rules *rules)
{
	atomic_fetch_add(&rules->refs, 1);
	return rules;
}

void
token_rules_unref(struct token_rules **rules_ptr)
{
	struct token_rules *rules = *rules_ptr;

	*rules_ptr = NULL;
	if (!rules || atomic_fetch_sub(&rules->refs, 1) != 1)
		return;
	const struct token_options *o = &rules->options;
	const char *texts[] = {o->keys, o->introspection_url, o->introspection_login,
	    o->introspection_ca, o->issuer, o->audience, o->scope, o->claim,
	    o->configuration};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free((void *)(uintptr_t)texts[i]);
	if (rules->login)
		OPENSSL_cleanse(rules->login, strlen(rules->login));
	free(rules->login);
	jwt_keys_unref(&rules->keys);
	ENSURE(pthread_mutex_destroy(&rules->lock) == 0);
	free(rules);
}

const char *
token_rules_scope(const struct token_rules *rules)
{
	return rules->options.scope;
}

const char *
token_rules_configuration(const struct token_rules *rules)
{
	return rules->options.configuration;
}

static struct jwt_rules
rules_now(const struct token_rules *rules)
{
	const struct token_options *o = &rules->options;

	return (struct jwt_rules){.issuer = o->issuer,
	    .audience = o->audience,
	    .scope = o->scope,
	    .claim = *o->claim ? o->claim : "email",
	    .skew_s = o->skew_s,
	    .now_s = clock_wall_s()};
}

/* ---- what was answered lately ---- */

static struct remembered *
slot_of(struct token_rules *rules, const unsigned char digest[DIGEST_BYTES])
{
	return &rules->remembered[be16_get(digest) % TOKEN_REMEMBERED_MAX];
}

static bool
recall(struct token_rules *rules, const unsigned char digest[DIGEST_BYTES],
    struct buf *out_name)
{
	ENSURE(pthread_mutex_lock(&rules->lock) == 0);
	const struct remembered *slot = slot_of(rules, digest);
	bool known = CRYPTO_memcmp(slot->digest, digest, DIGEST_BYTES) == 0 &&
	             clock_wall_s() < slot->until_s;
	if (known)
		buf_append_cstr(out_name, slot->name);
	ENSURE(pthread_mutex_unlock(&rules->lock) == 0);
	return known;
}

static void
remember(struct token_rules *rules, const unsigned char digest[DIGEST_BYTES],
    struct slice name, int64_t expires_s)
{
	int64_t until_s = clock_wall_s() + TOKEN_REMEMBER_S;

	ENSURE(pthread_mutex_lock(&rules->lock) == 0);
	struct remembered *slot = slot_of(rules, digest);
	memcpy(slot->digest, digest, DIGEST_BYTES);
	slot->until_s = expires_s < until_s ? expires_s : until_s;
	ENSURE(slice_copy_cstr(name, slot->name, sizeof(slot->name)));
	ENSURE(pthread_mutex_unlock(&rules->lock) == 0);
}

/* ---- asking ---- */

/* Every octet that is not unreserved becomes %XX (RFC 3986 section 2.1). */
static void
form_write(struct slice token, struct buf *form)
{
	buf_append_cstr(form, "token_type_hint=access_token&token=");
	for (size_t i = 0; i < token.len; i++) {
		char c = token.ptr[i];
		if (ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("-._~", c)))
			buf_append_byte(form, c);
		else
			buf_append_format(form, "%%%02X", (unsigned char)c);
	}
	buf_append_byte(form, '\0');
}

static enum status
request(const struct token_rules *rules, struct slice token, struct buf *answer)
{
	const struct token_options *o = &rules->options;
	struct buf form AUTO_BUF;

	buf_init(&form, FORM_BYTES_MAX);
	/* All at once: growing would leave copies of the token behind. */
	(void)buf_reserve(&form, 3 * token.len + 64);
	form_write(token, &form);
	if (!buf_ok(&form))
		return STATUS_LIMIT;
	const struct token_request post = {.url = o->introspection_url,
	    .form = form.ptr,
	    .login = rules->login,
	    .ca_file = o->introspection_ca,
	    .timeout_ms = o->introspection_timeout_ms};
	enum status status = o->post(&post, answer);
	OPENSSL_cleanse(form.ptr, form.len);
	return status;
}

static enum status
introspect(struct token_rules *rules, struct slice token, struct buf *out_name,
    const char **out_why)
{
	unsigned char digest[DIGEST_BYTES];
	struct buf answer AUTO_BUF;
	int64_t expires_s = INT64_MAX;

	buf_init(&answer, TOKEN_ANSWER_MAX);
	ENSURE(
	    EVP_Q_digest(NULL, "SHA256", NULL, token.ptr, token.len, digest, NULL) == 1);
	if (recall(rules, digest, out_name))
		return STATUS_OK;
	enum status status = STATUS_BUSY;
	*out_why = "too many introspections at once";
	if (atomic_fetch_add(&rules->asking, 1) < TOKEN_INTROSPECTIONS_MAX) {
		*out_why = "no answer from the introspection endpoint";
		status = request(rules, token, &answer);
	}
	atomic_fetch_sub(&rules->asking, 1);
	if (status != STATUS_OK)
		return status;
	const struct jwt_rules now = rules_now(rules);
	status = jwt_check_introspection(
	    buf_slice(&answer), &now, out_name, &expires_s, out_why);
	if (status == STATUS_OK)
		remember(rules, digest, buf_slice(out_name), expires_s);
	return status;
}

enum status
token_check(struct token_rules *rules, struct slice token, struct buf *out_name,
    const char **out_why)
{
	int64_t expires_s;
	bool can_ask = *rules->options.introspection_url != '\0';

	*out_why = NULL;
	if (rules->keys && (jwt_is_shaped(token) || !can_ask)) {
		const struct jwt_rules now = rules_now(rules);
		return jwt_check(token, rules->keys, &now, out_name, &expires_s, out_why);
	}
	return introspect(rules, token, out_name, out_why);
}
