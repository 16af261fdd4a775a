/*
 * What the tests of common/net share: a loop that runs until a condition holds, with a
 * watchdog, and a temporary folder with a private CA.  Static functions, one test binary
 * each; not for other folders.
 */
#ifndef TESTS_NET_HARNESS_H
#define TESTS_NET_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "net/loop.h"
#include "net/tls.h"

enum { HARNESS_WATCHDOG_MS = 20 * 1000 };

struct harness_wait {
	struct loop *loop;
	bool (*is_done)(void *arg);
	void *arg;
	bool timed_out;
	struct loop_hook hook;
	struct loop_timer watchdog;
};

static inline void
harness_check(void *arg)
{
	struct harness_wait *w = arg;
	if (w->is_done(w->arg))
		loop_stop(w->loop);
}

static inline void
harness_expired(void *arg)
{
	struct harness_wait *w = arg;
	w->timed_out = true;
	loop_stop(w->loop);
}

static inline void
harness_nothing(void *arg)
{
	(void)arg;
}

/* Runs the loop until is_done(arg) at the end of a turn. */
static inline void
harness_run_until(struct loop *loop, bool (*is_done)(void *arg), void *arg)
{
	struct harness_wait w = {.loop = loop, .is_done = is_done, .arg = arg};
	loop_hook_add(loop, &w.hook, harness_check, &w);
	loop_timer_start(loop, &w.watchdog, HARNESS_WATCHDOG_MS, harness_expired, &w);
	loop_post(loop, harness_nothing, NULL);
	loop_run(loop);
	loop_hook_remove(&w.hook);
	loop_timer_stop(&w.watchdog);
	assert_false(w.timed_out);
}

static inline bool
harness_flag_is_set(void *arg)
{
	return *(bool *)arg;
}

static inline void
harness_set_flag(void *arg)
{
	*(bool *)arg = true;
}

/* Runs turns for about `ms`. */
static inline void
harness_run_for(struct loop *loop, uint64_t ms)
{
	bool over = false;
	struct loop_timer timer = {0};
	loop_timer_start(loop, &timer, ms, harness_set_flag, &over);
	harness_run_until(loop, harness_flag_is_set, &over);
}

struct harness_ca {
	char folder[64];
	char ca[96];
	char ca_key[96];
	char cert[96];
	char key[96];
	struct tls_context *server;
	struct tls_context *client;
};

static inline void
harness_ca_make(struct harness_ca *h)
{
	static const char *const names[] = {"mail.test", "localhost", "127.0.0.1", "::1"};
	char *error = NULL;
	snprintf(h->folder, sizeof(h->folder), "/tmp/net-test-XXXXXX");
	assert_non_null(mkdtemp(h->folder));
	snprintf(h->ca, sizeof(h->ca), "%s/ca.pem", h->folder);
	snprintf(h->ca_key, sizeof(h->ca_key), "%s/ca.key", h->folder);
	snprintf(h->cert, sizeof(h->cert), "%s/cert.pem", h->folder);
	snprintf(h->key, sizeof(h->key), "%s/key.pem", h->folder);
	enum status status =
	    tls_make_self_signed(h->ca, h->ca_key, h->cert, h->key, names, 4, &error);
	if (status != STATUS_OK)
		fail_msg("%s", error);
	assert_int_equal(
	    tls_context_server(h->cert, h->key, "1.2", &h->server, &error), STATUS_OK);
	assert_int_equal(tls_context_client(h->ca, &h->client, &error), STATUS_OK);
}

static inline void
harness_ca_remove(struct harness_ca *h)
{
	tls_context_unref(&h->server);
	tls_context_unref(&h->client);
	unlink(h->ca);
	unlink(h->ca_key);
	unlink(h->cert);
	unlink(h->key);
	rmdir(h->folder);
}

#endif
