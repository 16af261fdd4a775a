/*
 * APOP: the digest against RFC 1939's example, its parsing, and log-ins with it, of which
 * every wrong one looks and waits alike.
 */
#include "unit/auth/auth_harness.h"

#include "auth/apop.h"

static const struct slice stamp = SLICE("<1896.697170952@dbc.mtview.ca.us>");
static const char rfc_digest[] = "c4c9334bac560ecc979e58001b3e22fb";

static void
digest(void **state)
{
	unsigned char made[APOP_DIGEST_SIZE];
	unsigned char want[APOP_DIGEST_SIZE];

	(void)state;
	/* RFC 1939 section 7 */
	assert_true(apop_digest(stamp, SLICE("tanstaaf"), made));
	assert_true(apop_digest_parse(slice_from_cstr(rfc_digest), want));
	assert_memory_equal(made, want, sizeof(want));
	assert_true(apop_digest(stamp, SLICE("tanstaa"), made));
	assert_memory_not_equal(made, want, sizeof(want));
	assert_true(apop_digest_parse(SLICE("C4C9334BAC560ECC979E58001B3E22FB"), made));
	assert_memory_equal(made, want, sizeof(want));
	assert_false(apop_digest_parse(SLICE_NULL, made));
	assert_false(apop_digest_parse(SLICE("c4c9334bac560ecc979e58001b3e22f"), made));
	assert_false(apop_digest_parse(SLICE("c4c9334bac560ecc979e58001b3e22fb0"), made));
	assert_false(apop_digest_parse(SLICE("c4c9334bac560ecc979e58001b3e22fg"), made));
	assert_false(apop_digest_parse(SLICE("c4c9334bac560ecc979e58001b3e22 b"), made));
	assert_false(apop_digest_parse(SLICE("-4c9334bac560ecc979e58001b3e22fb"), made));
}

static bool secrets_fail;

static enum status
secret_of(void *arg, struct slice login, struct buf *out)
{
	(void)arg;
	if (secrets_fail)
		return STATUS_IO;
	/* gone@ is disabled, broken@ has no keys: the directory says so. */
	if (!slice_equal(login, SLICE("alice@example.org")) &&
	    !slice_equal(login, SLICE("gone@example.org")) &&
	    !slice_equal(login, SLICE("other@example.org")))
		return STATUS_NOT_FOUND;
	buf_append(out, SLICE("tanstaaf"));
	return STATUS_OK;
}

struct world {
	struct directory directory;
	struct harness_loop loop;
	struct auth *auth;
};

static void
world_start(struct world *w, unsigned block_after,
    enum status (*secret)(void *, struct slice, struct buf *))
{
	static const char *const names[] = {"SCRAM-SHA-256"};

	memset(w, 0, sizeof(*w));
	loop_init(&w->loop);
	w->directory.alice = make_keys("tanstaaf");
	w->directory.broken = xstrdup("SCRAM-SHA-256$4096:!!$x:y");
	const struct auth_options options = {
	    .service = "pop",
	    .hostname = "mail.example.org",
	    .mechanisms = names,
	    .mechanism_count = 1,
	    .fail_delay_ms = 1000,
	    .block_after = block_after,
	    .block_for_ms = 60000,
	    .iterations = 4096,
	    .secret = SLICE("the secret of an installation"),
	    .lookup = directory_lookup,
	    .apop_secret = secret,
	    .lookup_arg = &w->directory,
	    .work = harness_work,
	    .delay = harness_delay,
	};
	assert_int_equal(auth_new(&options, &w->auth), STATUS_OK);
}

static void
world_stop(struct world *w)
{
	loop_drain(&w->loop);
	auth_free(&w->auth);
	free(w->directory.alice);
	free(w->directory.broken);
}

static enum auth_result
try_apop(struct world *w, struct slice login, struct slice timestamp, struct outcome *o)
{
	unsigned char bytes[APOP_DIGEST_SIZE];

	memset(o, 0, sizeof(*o));
	assert_true(apop_digest_parse(slice_from_cstr(rfc_digest), bytes));
	struct auth_exchange *x = auth_apop(
	    w->auth, &w->loop, login, timestamp, bytes, "192.0.2.1", outcome_set, o);
	assert_int_equal(o->calls, 0);
	loop_drain(&w->loop);
	assert_int_equal(o->calls, 1);
	auth_end(&x);
	return o->result;
}

static void
log_ins(void **state)
{
	struct world w;
	struct outcome o;
	char big[400];

	(void)state;
	world_start(&w, 0, secret_of);
	assert_int_equal(try_apop(&w, SLICE("alice@example.org"), stamp, &o), AUTH_OK);
	assert_string_equal(o.login, "alice@example.org");
	/* The secret is that of the canonical name. */
	assert_int_equal(try_apop(&w, SLICE("ALICE"), stamp, &o), AUTH_OK);
	assert_string_equal(o.login, "alice@example.org");
	assert_int_equal(w.loop.delayed_ms, 0);

	assert_int_equal(
	    try_apop(&w, SLICE("alice@example.org"), SLICE("<1@x>"), &o), AUTH_FAILED);
	assert_int_equal(
	    try_apop(&w, SLICE("nobody@example.org"), stamp, &o), AUTH_FAILED);
	assert_int_equal(
	    try_apop(&w, SLICE("broken@example.org"), stamp, &o), AUTH_FAILED);
	/* A secret without an account is none. */
	assert_int_equal(
	    try_apop(&w, SLICE("other@example.org"), stamp, &o), AUTH_FAILED);
	assert_int_equal(try_apop(&w, SLICE("gone@example.org"), stamp, &o), AUTH_FAILED);
	assert_int_equal(try_apop(&w, SLICE(""), stamp, &o), AUTH_FAILED);
	assert_int_equal(try_apop(&w, SLICE("\xff\xfe"), stamp, &o), AUTH_FAILED);
	assert_int_equal(w.loop.delayed_ms, 7 * 1000);

	memset(big, 'a', sizeof(big));
	assert_int_equal(try_apop(&w, slice_make(big, sizeof(big)), stamp, &o), AUTH_BAD);
	secrets_fail = true;
	assert_int_equal(
	    try_apop(&w, SLICE("alice@example.org"), stamp, &o), AUTH_TEMPORARY);
	secrets_fail = false;
	w.directory.fails = true;
	assert_int_equal(
	    try_apop(&w, SLICE("alice@example.org"), stamp, &o), AUTH_TEMPORARY);
	world_stop(&w);
}

static void
none_kept(void **state)
{
	struct world w;
	struct outcome o;

	(void)state;
	world_start(&w, 0, NULL);
	assert_int_equal(
	    try_apop(&w, SLICE("alice@example.org"), stamp, &o), AUTH_FAILED);
	assert_int_equal(w.loop.delayed_ms, 1000);
	world_stop(&w);
}

static void
throttled(void **state)
{
	struct world w;
	struct outcome o;

	(void)state;
	world_start(&w, 3, secret_of);
	/* What was tried cannot be told: the same again counts again. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    try_apop(&w, SLICE("nobody@example.org"), stamp, &o), AUTH_FAILED);
	assert_int_equal(
	    try_apop(&w, SLICE("alice@example.org"), stamp, &o), AUTH_BLOCKED);
	world_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(digest),
	    cmocka_unit_test(log_ins),
	    cmocka_unit_test(none_kept),
	    cmocka_unit_test(throttled),
	};

	return cmocka_run_group_tests(tests, harness_start, harness_stop);
}
