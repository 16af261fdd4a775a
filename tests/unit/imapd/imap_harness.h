/*
 * A real session over a socket pair: loop, memory store, authentication, one account
 * "ann@example.org" with the password "secret" in a domain of its own.  The client's end
 * is read and written by the test in the same thread, between loop turns.
 */
#ifndef UNIT_IMAPD_IMAP_HARNESS_H
#define UNIT_IMAPD_IMAP_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/credential.h"
#include "base/ensure.h"
#include "imapd/imap_session.h"

enum { HARNESS_WATCHDOG_MS = 60 * 1000, HARNESS_OUTPUT_MAX = 64 * 1024 * 1024 };

struct imap_harness {
	struct loop *loop;
	struct loop_hook hook;
	struct loop_hook end_reads;
	struct loop_timer watchdog;
	struct store *store;
	struct store_reader *reader;
	struct auth *auth;
	struct conf *conf;
	struct imap_stats stats;
	struct imap_recents recents;
	struct imap_worker worker;
	struct account_id account;
	int turns_left;
};

/* One client connection. */
struct imap_client {
	struct imap_harness *h;
	int fd;
	struct buf got;   /* all that came */
	size_t mark;      /* where the last answer began */
	const char *want; /* a line that starts with it ends the waiting */
	bool closed;
	bool seen;
};

static inline void
harness_post(void *loop, void (*fn)(void *), void *arg)
{
	loop_post(loop, fn, arg);
}

static inline void
harness_work(void *loop, void (*work)(void *), void (*done)(void *), void *arg)
{
	loop_work(loop, work, done, arg);
}

struct harness_delay {
	struct loop_timer timer;
	void (*fn)(void *);
	void *arg;
};

static inline void
harness_delay_run(void *arg)
{
	struct harness_delay *d = arg;
	d->fn(d->arg);
	free(d);
}

static inline void
harness_delay(void *loop, uint64_t ms, void (*fn)(void *), void *arg)
{
	struct harness_delay *d = xcalloc(1, sizeof(*d));
	d->fn = fn;
	d->arg = arg;
	loop_timer_start(loop, &d->timer, ms > 5 ? 5 : ms, harness_delay_run, d);
}

static inline enum status
harness_lookup(
    void *arg, struct slice login, struct arena *arena, struct auth_record *out)
{
	struct imap_harness *h = arg;
	struct store_reader *reader = store_reader_new(h->store, NULL, NULL);
	struct directory_account account;

	*out = (struct auth_record){0};
	if (directory_account_find(reader, login, &account) == STATUS_OK) {
		out->found = true;
		out->login = arena_copy(arena, account.login);
		out->credential = arena_copy(arena, account.credential);
	}
	store_reader_free(&reader);
	return STATUS_OK;
}

static inline void
harness_end_reads(void *arg)
{
	store_reader_end(arg);
}

static inline void
harness_account(struct imap_harness *h, struct slice login, struct account_id *out)
{
	struct store_reader *reader = store_reader_new(h->store, NULL, NULL);
	struct buf keys;

	buf_init(&keys, CREDENTIAL_TEXT_MAX);
	assert_int_equal(credential_make(SLICE("secret"), 4096, &keys), STATUS_OK);
	assert_int_equal(
	    directory_account_add(reader, login, buf_slice(&keys), 0, out), STATUS_OK);
	buf_fini(&keys);
	store_reader_free(&reader);
}

static inline void
harness_open(struct imap_harness *h)
{
	static const char *const mechanisms[] = {"PLAIN", "LOGIN"};
	struct auth_options options = {
	    .service = "imap",
	    .hostname = "mail.example.org",
	    .mechanisms = mechanisms,
	    .mechanism_count = 2,
	    .allow_plaintext = true,
	    .fail_delay_ms = 1,
	    .iterations = 4096,
	    .lookup = harness_lookup,
	    .lookup_arg = h,
	    .work = harness_work,
	    .delay = harness_delay,
	};

	*h = (struct imap_harness){.loop = loop_new()};
	h->store = store_open_mem(0);
	struct store_reader *reader = store_reader_new(h->store, NULL, NULL);
	assert_int_equal(directory_domain_add(reader, SLICE("example.org")), STATUS_OK);
	store_reader_free(&reader);
	harness_account(h, SLICE("ann@example.org"), &h->account);
	h->conf = xcalloc(1, sizeof(*h->conf));
	h->conf->hostname = (char *)(uintptr_t) "mail.example.org";
	h->conf->imap.idle_timeout_ms = 30 * 60 * 1000;
	h->conf->imap.max_sessions_per_user = 16;
	h->conf->imap.compress = true;
	h->conf->imap.admin_uri = (char *)(uintptr_t) "mailto:help@example.org";
	h->conf->imap.quota_admins = (char *)(uintptr_t) "";
	h->conf->imap.comment = (char *)(uintptr_t) "";
	h->conf->imap.sharing = CONF_SHARING_DOMAIN;
	h->conf->imap.shared_account = (char *)(uintptr_t) "shared";
	h->conf->imap.max_append_size = 4 * 1024 * 1024;
	assert_int_equal(auth_new(&options, &h->auth), STATUS_OK);
	h->reader = store_reader_new(h->store, harness_post, h->loop);
	loop_hook_add(h->loop, &h->end_reads, harness_end_reads, h->reader);
	imap_stats_init(&h->stats);
	imap_recents_init(&h->recents);
	imap_worker_init(&h->worker, h->loop, h->reader, &h->stats, &h->recents);
	h->worker.test_conf = h->conf;
	h->worker.test_auth = h->auth;
}

static inline void
client_receive(struct imap_client *c)
{
	char bytes[65536];

	for (;;) {
		ssize_t got = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			c->closed = true;
		if (got <= 0)
			return;
		buf_append(&c->got, slice_make(bytes, (size_t)got));
		assert_true(buf_ok(&c->got));
	}
}

/* A whole line that begins with `want` has come since the mark. */
static inline bool
client_has(const struct imap_client *c)
{
	struct slice rest = slice_from(buf_slice(&c->got), c->mark);
	struct slice want = slice_from_cstr(c->want);

	while (rest.len > 0) {
		size_t end = slice_find(rest, SLICE("\r\n"));
		if (end == SIZE_MAX)
			return false;
		if (slice_has_prefix(rest, want))
			return true;
		rest = slice_from(rest, end + 2);
	}
	return false;
}

static inline void
client_check(void *arg)
{
	struct imap_client *c = arg;

	client_receive(c);
	c->seen = c->want && client_has(c);
	if (c->closed || c->seen || (!c->want && --c->h->turns_left <= 0))
		loop_stop(c->h->loop);
}

static inline void
client_watchdog(void *arg)
{
	struct imap_client *c = arg;

	print_error("waited in vain for \"%s\"; got:\n%.*s\n", c->want ? c->want : "",
	    (int)(c->got.len - c->mark), c->got.ptr + c->mark);
	fail();
}

struct harness_tick {
	struct loop_timer timer;
	struct loop *loop;
};

/* Keeps the turns coming while nothing happens. */
static inline void
client_tick(void *arg)
{
	struct harness_tick *tick = arg;

	loop_timer_start(tick->loop, &tick->timer, 1, client_tick, tick);
}

/* Runs the loop until a line that begins with `want` has come (null: some turns). */
static inline void
client_wait(struct imap_client *c, const char *want)
{
	struct loop *loop = c->h->loop;
	struct harness_tick tick = {.loop = loop};

	c->want = want;
	c->seen = false;
	c->h->turns_left = 10;
	loop_hook_add(loop, &c->h->hook, client_check, c);
	loop_timer_start(loop, &c->h->watchdog, HARNESS_WATCHDOG_MS, client_watchdog, c);
	client_tick(&tick);
	loop_run(loop);
	loop_timer_stop(&tick.timer);
	loop_timer_stop(&c->h->watchdog);
	loop_hook_remove(&c->h->hook);
}

static inline void
client_send(struct imap_client *c, const char *text)
{
	struct slice rest = slice_from_cstr(text);

	c->mark = c->got.len;
	while (rest.len > 0) {
		ssize_t sent =
		    send(c->fd, rest.ptr, rest.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0) {
			if (errno == EPIPE || errno == ECONNRESET)
				return;
			assert_int_equal(errno, EAGAIN);
			client_wait(c, NULL);
			continue;
		}
		rest = slice_from(rest, (size_t)sent);
	}
}

/* Sends, waits for the line, returns what came (until the next call). */
static inline const char *
client_talk(struct imap_client *c, const char *text, const char *want)
{
	client_send(c, text);
	client_wait(c, want);
	buf_append_byte(&c->got, '\0');
	c->got.len--;
	return c->got.ptr + c->mark;
}

static inline void
client_open(struct imap_client *c, struct imap_harness *h)
{
	int fds[2];

	*c = (struct imap_client){.h = h};
	buf_init(&c->got, HARNESS_OUTPUT_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	c->fd = fds[0];
	imap_session_new(&h->worker, fds[1], LISTENER_TLS_NONE, NULL);
	client_wait(c, "* OK");
}

static inline void
client_login(struct imap_client *c, struct imap_harness *h)
{
	client_open(c, h);
	const char *got = client_talk(c, "l LOGIN ann@example.org secret\r\n", "l ");
	assert_non_null(strstr(got, "l OK [CAPABILITY IMAP4rev1"));
}

static inline void
client_close(struct imap_client *c)
{
	close(c->fd);
	c->fd = -1;
	buf_fini(&c->got);
}

static inline void
harness_quiet(void *arg)
{
	struct imap_harness *h = arg;

	bool quiet = list_is_empty(&h->worker.sessions) && h->worker.background_ops == 0;

	if (quiet || --h->turns_left <= 0)
		loop_stop(h->loop);
}

static inline void
harness_close(struct imap_harness *h)
{
	struct harness_tick tick = {.loop = h->loop};

	h->turns_left = 2000;
	imap_worker_stop(&h->worker);
	loop_hook_add(h->loop, &h->hook, harness_quiet, h);
	client_tick(&tick);
	loop_run(h->loop);
	loop_timer_stop(&tick.timer);
	loop_hook_remove(&h->hook);
	loop_hook_remove(&h->end_reads);
	imap_worker_fini(&h->worker);
	imap_recents_fini(&h->recents);
	loop_free(&h->loop);
	auth_free(&h->auth);
	store_reader_free(&h->reader);
	store_close(&h->store);
	free(h->conf);
}

#endif
