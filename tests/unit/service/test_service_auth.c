/*
 * Authentication over the directory, and the count of sessions: a login on a loop with
 * the process's pool and a real store; sessions that go away at every moment of it.
 */
#include "base/file.h"
#include "service/service_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/credential.h"
#include "base/ensure.h"

enum { WATCHDOG_MS = 20 * 1000 };

struct world {
	char dir[64];
	struct service service;
	struct service_options options;
	struct conf conf;
	char *mechanisms[1];
	struct loop *loop;
	enum auth_result result;
	char login[64];
	unsigned calls;
};

static void
world_start(struct world *w)
{
	static char plain[] = "PLAIN", hostname[] = "mail.test";
	char *error = NULL;
	struct account_id id;
	memset(w, 0, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "/tmp/service-auth-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	struct store_options options = {
	    .path = w->dir, .map_size = UINT64_C(64) << 20, .shards = 1, .create = true};
	w->service.options = &w->options;
	pthread_mutex_init(&w->service.lock, NULL);
	w->service.sessions = hashmap_new();
	assert_int_equal(store_open(&options, &w->service.store, &error), STATUS_OK);
	w->options.sasl_service = "pop";
	w->mechanisms[0] = plain;
	w->conf.hostname = hostname;
	w->conf.auth.mechanisms.items = w->mechanisms;
	w->conf.auth.mechanisms.count = 1;
	w->conf.auth.iterations = 4096;
	w->conf.auth.fail_delay_ms = 1;
	struct store_reader *reader = store_reader_new(w->service.store, NULL, NULL);
	struct buf keys AUTO_BUF;
	buf_init(&keys, CREDENTIAL_TEXT_MAX);
	assert_int_equal(credential_make(SLICE("pencil"), 4096, &keys), STATUS_OK);
	assert_int_equal(directory_domain_add(reader, SLICE("example.org")), STATUS_OK);
	assert_int_equal(directory_account_add(
			     reader, SLICE("jo@example.org"), buf_slice(&keys), 0, &id),
	    STATUS_OK);
	store_reader_free(&reader);
	assert_true(service_auth_start(&w->service, &w->conf));
	w->loop = loop_new();
}

static void
world_stop(struct world *w)
{
	loop_free(&w->loop);
	auth_free(&w->service.auth);
	while (w->service.auth_reader_count > 0)
		store_reader_free(
		    &w->service.auth_readers[--w->service.auth_reader_count]);
	store_close(&w->service.store);
	hashmap_free(&w->service.sessions, NULL);
	file_tree_remove(w->dir);
}

static void
told(void *arg, enum auth_result result, struct slice challenge, struct slice login)
{
	struct world *w = arg;
	(void)challenge;
	w->result = result;
	w->calls++;
	assert_true(slice_copy_cstr(login, w->login, sizeof(w->login)));
	loop_stop(w->loop);
}

static void
too_long(void *arg)
{
	(void)arg;
	abort();
}

static enum auth_result
login(struct world *w, const char *user, const char *password)
{
	struct loop_timer watchdog = {0};
	w->calls = 0;
	loop_timer_start(w->loop, &watchdog, WATCHDOG_MS, too_long, NULL);
	struct auth_exchange *x = auth_password(w->service.auth, w->loop,
	    slice_from_cstr(user), slice_from_cstr(password), "192.0.2.1", told, w);
	loop_run(w->loop);
	loop_timer_stop(&watchdog);
	auth_end(&x);
	assert_int_equal(w->calls, 1);
	return w->result;
}

static void
logins(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	assert_int_equal(login(&w, "Jo@Example.org", "pencil"), AUTH_OK);
	assert_string_equal(w.login, "jo@example.org");
	assert_int_equal(login(&w, "jo@example.org", "pen"), AUTH_FAILED);
	assert_int_equal(login(&w, "nobody@example.org", "pencil"), AUTH_FAILED);
	assert_int_equal(login(&w, "nobody@nowhere", "pencil"), AUTH_FAILED);
	assert_int_equal(login(&w, "@", "pencil"), AUTH_FAILED);
	struct store_reader *reader = store_reader_new(w.service.store, NULL, NULL);
	struct directory_account_change off = {.set_disabled = true, .disabled = true};
	assert_int_equal(
	    directory_account_set(reader, SLICE("jo@example.org"), &off), STATUS_OK);
	/* The remembered check does not let a disabled account in. */
	assert_int_equal(login(&w, "jo@example.org", "pencil"), AUTH_FAILED);
	store_reader_free(&reader);
	world_stop(&w);
}

/* The connection dies with the work on the pool, or during the delay of a failure: no
 * call comes any more, and nothing is left (the address sanitizer looks). */
static void
leaves(void **state)
{
	(void)state;
	struct world w;
	world_start(&w);
	for (unsigned i = 0; i < 40; i++) {
		struct auth_exchange *x =
		    auth_password(w.service.auth, w.loop, SLICE("jo@example.org"),
			i % 2 ? SLICE("wrong") : SLICE("pencil"), "192.0.2.1", told, &w);
		auth_end(&x);
		assert_null(x);
	}
	/* One more stays: when it is told, those before it are through the pool. */
	assert_int_equal(login(&w, "jo@example.org", "pencil"), AUTH_OK);
	for (int i = 0; i < 4; i++)
		assert_int_equal(login(&w, "jo@example.org", "late"), AUTH_FAILED);
	assert_true(w.service.auth_reader_count <= AUTH_READERS_MAX);
	world_stop(&w);
}

static void
sessions(void **state)
{
	(void)state;
	struct world w;
	struct account_id a = {{1}}, b = {{2}};
	world_start(&w);
	for (int round = 0; round < 2; round++) {
		assert_true(service_session_begin(&w.service, a, 2));
		assert_true(service_session_begin(&w.service, a, 2));
		assert_false(service_session_begin(&w.service, a, 2));
		assert_true(service_session_begin(&w.service, b, 1));
		assert_true(service_session_begin(&w.service, a, 0)); /* no limit */
		service_session_end(&w.service, a);
		service_session_end(&w.service, a);
		service_session_end(&w.service, a);
		service_session_end(&w.service, b);
	}
	assert_int_equal(hashmap_count(w.service.sessions), 0);
	world_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(logins),
	    cmocka_unit_test(leaves),
	    cmocka_unit_test(sessions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
