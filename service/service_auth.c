/*
 * Authentication over the directory: logins are looked up on pool threads with store
 * readers of their own, work and delays go through the session's loop.
 */
#include <stdio.h>
#include <stdlib.h>

#include "auth/token.h"
#include "base/ensure.h"
#include "base/log.h"
#include "net/http_post.h"
#include "service/service_int.h"

static struct store_reader *
auth_reader_take(struct service *s)
{
	struct store_reader *reader = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->auth_reader_count > 0)
		reader = s->auth_readers[--s->auth_reader_count];
	pthread_mutex_unlock(&s->lock);
	return reader ? reader : store_reader_new(s->store, NULL, NULL);
}

static void
auth_reader_give(struct service *s, struct store_reader *reader)
{
	store_reader_end(reader);
	pthread_mutex_lock(&s->lock);
	if (s->auth_reader_count < AUTH_READERS_MAX) {
		s->auth_readers[s->auth_reader_count++] = reader;
		reader = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	if (reader)
		store_reader_free(&reader);
}

/* auth_lookup_fn: on a pool thread. */
static enum status
auth_lookup(void *arg, struct slice login, struct arena *arena, struct auth_record *out)
{
	struct service *s = arg;
	struct store_reader *reader = auth_reader_take(s);
	struct directory_account account;
	enum status status = directory_account_find(reader, login, &account);
	*out = (struct auth_record){0};
	if (status == STATUS_OK) {
		out->found = true;
		out->disabled = account.disabled;
		out->login = arena_copy(arena, account.login);
		out->credential = arena_copy(arena, account.credential);
	} else if (status == STATUS_NOT_FOUND || status == STATUS_INVALID) {
		status = STATUS_OK;
	}
	auth_reader_give(s, reader);
	return status;
}

/* auth_options.apop_secret: on a pool thread. */
static enum status
auth_apop_secret(void *arg, struct slice login, struct buf *out)
{
	struct service *s = arg;
	struct store_reader *reader = auth_reader_take(s);
	enum status status = directory_apop_secret(reader, login, out);
	auth_reader_give(s, reader);
	return status;
}

static void
auth_work(void *loop, void (*work)(void *), void (*done)(void *), void *arg)
{
	loop_work(loop, work, done, arg);
}

struct delayed {
	struct loop_timer timer;
	void (*fn)(void *);
	void *arg;
};

static void
delayed_run(void *arg)
{
	struct delayed *d = arg;
	d->fn(d->arg);
	free(d);
}

static void
auth_delay(void *loop, uint64_t ms, void (*fn)(void *), void *arg)
{
	struct delayed *d = xcalloc(1, sizeof(*d));
	d->fn = fn;
	d->arg = arg;
	loop_timer_start(loop, &d->timer, ms, delayed_run, d);
}

void
service_channel_init(struct service_channel *out, struct conn *conn)
{
	enum { CERTIFICATE_BYTES_MAX = 4096 };
	*out = (struct service_channel){0};
	out->channel.peer = "";
	buf_init(&out->certificate, CERTIFICATE_BYTES_MAX);
	if (!conn)
		return;
	out->channel.secure = conn_is_secure(conn);
	out->channel.peer = conn_peer_text(conn);
	if (!out->channel.secure)
		return;
	if (conn_channel_binding(conn, out->tls_exporter))
		out->channel.tls_exporter = slice_make(
		    (const char *)out->tls_exporter, sizeof(out->tls_exporter));
	size_t len = conn_server_end_point(conn, out->tls_server_end_point);
	if (len > 0)
		out->channel.tls_server_end_point =
		    slice_make((const char *)out->tls_server_end_point, len);
	conn_client_addresses(conn, &out->certificate);
	if (buf_ok(&out->certificate) && out->certificate.len > 0)
		out->channel.certificate = buf_slice(&out->certificate);
}

void
service_channel_fini(struct service_channel *channel)
{
	buf_fini(&channel->certificate);
}

struct slice
service_mechanisms(const struct auth *auth, struct conn *conn)
{
	struct service_channel channel;
	service_channel_init(&channel, conn);
	struct slice names = auth_mechanisms(auth, &channel.channel);
	service_channel_fini(&channel);
	return names;
}

bool
service_mechanism_allowed(const struct auth *auth, struct slice name, struct conn *conn)
{
	struct service_channel channel;
	service_channel_init(&channel, conn);
	bool allowed = auth_mechanism_allowed(auth, name, &channel.channel);
	service_channel_fini(&channel);
	return allowed;
}

static enum status
tokens_post(const struct token_request *request, struct buf *answer)
{
	const struct http_post post = {.url = request->url,
	    .body = slice_from_cstr(request->form),
	    .type = "application/x-www-form-urlencoded",
	    .anywhere = true,
	    .login = request->login,
	    .ca_file = request->ca_file,
	    .timeout_ms = request->timeout_ms};
	return http_post(&post, answer, NULL);
}

bool
service_tokens_load(const struct conf *conf, struct token_rules **out)
{
	*out = NULL;
	char *error = NULL;
	const struct token_options options = {
	    .post = tokens_post,
	    .keys = conf->oauth.keys,
	    .introspection_url = conf->oauth.introspection_url,
	    .introspection_login = conf->oauth.introspection_login,
	    .introspection_ca = conf->oauth.introspection_ca,
	    .introspection_timeout_ms = conf->oauth.introspection_timeout_ms,
	    .issuer = conf->oauth.issuer,
	    .audience = conf->oauth.audience,
	    .scope = conf->oauth.scope,
	    .claim = conf->oauth.claim,
	    .skew_s = conf->oauth.clock_skew_s,
	    .configuration = conf->oauth.configuration_url,
	};
	enum status status = token_rules_new(&options, out, &error);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		LOG_ERROR("auth.tokens", LF_STR("reason", error));
		fprintf(stderr, "%s\n", error);
		free(error);
		return false;
	}
	return true;
}

bool
service_auth_start(struct service *s, const struct conf *conf)
{
	/* Kept for the process's life: auth borrows it. */
	static unsigned char secret[32];
	struct store_reader *reader = auth_reader_take(s);
	enum status status = directory_secret(reader, secret);
	auth_reader_give(s, reader);
	if (status != STATUS_OK) {
		fprintf(
		    stderr, "could not read the directory: %s\n", status_text(status));
		return false;
	}
	struct auth_options options = {
	    .service = s->options->sasl_service,
	    .hostname = conf->hostname,
	    .mechanisms = (const char *const *)conf->auth.mechanisms.items,
	    .mechanism_count = conf->auth.mechanisms.count,
	    .allow_plaintext = conf->auth.allow_plaintext,
	    .fail_delay_ms = conf->auth.fail_delay_ms,
	    .block_after = conf->auth.block_after,
	    .block_for_ms = conf->auth.block_for_s * 1000,
	    .iterations = conf->auth.iterations,
	    .secret = slice_make((const char *)secret, sizeof(secret)),
	    .lookup = auth_lookup,
	    .apop_secret = auth_apop_secret,
	    .lookup_arg = s,
	    .work = auth_work,
	    .delay = auth_delay,
	};
	status = auth_new(&options, &s->auth);
	if (status != STATUS_OK)
		fprintf(stderr, "none of auth.mechanisms can be had on this machine; is "
				"libsasl2-modules installed?\n");
	struct token_rules *rules;
	if (status != STATUS_OK || !service_tokens_load(conf, &rules))
		return false;
	auth_tokens_set(s->auth, rules);
	token_rules_unref(&rules);
	return true;
}
