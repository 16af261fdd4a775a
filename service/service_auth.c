/*
 * Authentication over the directory: logins are looked up on pool threads with store
 * readers of their own, work and delays go through the session's loop.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
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
	    .lookup_arg = s,
	    .work = auth_work,
	    .delay = auth_delay,
	};
	status = auth_new(&options, &s->auth);
	if (status != STATUS_OK)
		fprintf(stderr, "none of auth.mechanisms can be had on this machine; is "
				"libsasl2-modules installed?\n");
	return status == STATUS_OK;
}
