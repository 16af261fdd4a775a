/*
 * Exchanges from end to end: each mechanism with good and bad answers, what an outsider
 * can tell about accounts, failures and delays, ends at any moment, and many at once.
 */
#include "unit/auth/auth_harness.h"

#include "auth/throttle.h"
#include "base/clock.h"

struct world {
	struct directory directory;
	struct harness_loop loop;
	struct auth *auth;
};

static void
world_start(struct world *w, unsigned block_after)
{
	memset(w, 0, sizeof(*w));
	loop_init(&w->loop);
	w->directory.alice = make_keys("pencil");
	w->directory.broken = xstrdup("SCRAM-SHA-256$4096:!!$x:y");
	w->auth = make_auth(&w->directory, block_after);
}

static void
world_stop(struct world *w)
{
	loop_drain(&w->loop);
	auth_free(&w->auth);
	free(w->directory.alice);
	free(w->directory.broken);
}

/* One-step exchanges: PLAIN with an initial response. */
static enum auth_result
try_plain(struct world *w, const char *bytes, size_t len, struct outcome *o)
{
	*o = (struct outcome){0};
	struct auth_exchange *x = auth_begin(w->auth, &w->loop, SLICE("PLAIN"),
	    channel_of(true, "192.0.2.1"), true, slice_make(bytes, len), outcome_set, o);
	assert_int_equal(o->calls, 0);
	loop_drain(&w->loop);
	assert_int_equal(o->calls, 1);
	auth_end(&x);
	return o->result;
}

#define PLAIN(w, literal, o) try_plain((w), literal, sizeof(literal) - 1, (o))

static void
plain(void **state)
{
	struct world w;
	struct outcome o;
	char big[AUTH_RESPONSE_MAX + 1];

	(void)state;
	world_start(&w, 0);
	assert_int_equal(PLAIN(&w, "\0alice@example.org\0pencil", &o), AUTH_OK);
	assert_string_equal(o.login, "alice@example.org");
	/* The lookup says what the canonical name is; case does not matter. */
	assert_int_equal(PLAIN(&w, "\0ALICE\0pencil", &o), AUTH_OK);
	assert_string_equal(o.login, "alice@example.org");
	assert_int_equal(
	    PLAIN(&w, "alice@example.org\0Alice@Example.org\0pencil", &o), AUTH_OK);
	assert_int_equal(w.loop.delayed_ms, 0);

	assert_int_equal(PLAIN(&w, "bob\0alice@example.org\0pencil", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0alice@example.org\0Pencil", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0alice@example.org\0", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0\0pencil", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0nobody@example.org\0pencil", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0gone@example.org\0pencil", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0broken@example.org\0pencil", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0\xff\xfe\0pencil", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0alice@example.org\0pen\xff", &o), AUTH_FAILED);
	/* Each failure has waited, and only they. */
	assert_int_equal(w.loop.delayed_ms, 9 * 1000);

	assert_int_equal(PLAIN(&w, "", &o), AUTH_BAD);
	assert_int_equal(PLAIN(&w, "alice", &o), AUTH_BAD);
	assert_int_equal(PLAIN(&w, "\0alice", &o), AUTH_BAD);
	assert_int_equal(PLAIN(&w, "\0alice\0pencil\0more", &o), AUTH_BAD);
	memset(big, 'a', sizeof(big));
	assert_int_equal(try_plain(&w, big, sizeof(big), &o), AUTH_BAD);

	w.directory.fails = true;
	assert_int_equal(PLAIN(&w, "\0alice@example.org\0pencil", &o), AUTH_TEMPORARY);
	world_stop(&w);
}

static void
plain_without_initial(void **state)
{
	struct world w;
	struct outcome o = {0};

	(void)state;
	world_start(&w, 0);
	struct auth_exchange *x = auth_begin(w.auth, &w.loop, SLICE("plain"),
	    channel_of(true, "192.0.2.1"), false, SLICE_NULL, outcome_set, &o);
	loop_drain(&w.loop);
	assert_int_equal(o.result, AUTH_MORE);
	assert_int_equal(o.challenge_len, 0);
	auth_step(x, SLICE("\0alice@example.org\0pencil"));
	loop_drain(&w.loop);
	assert_int_equal(o.result, AUTH_OK);
	auth_end(&x);
	assert_null(x);
	world_stop(&w);
}

static void
login(void **state)
{
	static const struct {
		const char *user;
		const char *password;
		enum auth_result result;
	} table[] = {
	    {"alice@example.org", "pencil", AUTH_OK    },
	    {"alice@example.org", "pen",    AUTH_FAILED},
	    {"alice@example.org", "",       AUTH_FAILED},
	    {"",		  "",       AUTH_FAILED},
	    {"nobody",            "pencil", AUTH_FAILED},
	};
	struct world w;

	(void)state;
	world_start(&w, 0);
	for (size_t i = 0; i < 2 * sizeof(table) / sizeof(table[0]); i++) {
		struct outcome o = {0};
		bool initial = i % 2;
		struct slice user = slice_from_cstr(table[i / 2].user);
		struct auth_exchange *x = auth_begin(w.auth, &w.loop, SLICE("LOGIN"),
		    channel_of(true, "192.0.2.1"), initial, user, outcome_set, &o);
		loop_drain(&w.loop);
		if (!initial) {
			assert_int_equal(o.result, AUTH_MORE);
			assert_string_equal(o.challenge, "Username:");
			auth_step(x, user);
			loop_drain(&w.loop);
		}
		assert_int_equal(o.result, AUTH_MORE);
		assert_string_equal(o.challenge, "Password:");
		auth_step(x, slice_from_cstr(table[i / 2].password));
		loop_drain(&w.loop);
		assert_int_equal(o.result, table[i / 2].result);
		auth_end(&x);
	}
	world_stop(&w);
}

static void
password(void **state)
{
	struct world w;
	struct outcome o;

	(void)state;
	world_start(&w, 0);
	static const struct {
		struct slice login;
		struct slice password;
		enum auth_result result;
	} table[] = {
	    {{"alice@example.org", 17},   {"pencil", 6},   AUTH_OK    },
	    {{"alice@example.org", 17},   {"pencil\0", 7}, AUTH_FAILED},
	    {{"alice@example.org\0", 18}, {"pencil", 6},   AUTH_FAILED},
	    {{"", 0},                     {"pencil", 6},   AUTH_FAILED},
	    {{NULL, 0},                   {NULL, 0},       AUTH_FAILED},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		o = (struct outcome){0};
		struct auth_exchange *x = auth_password(w.auth, &w.loop, table[i].login,
		    table[i].password, "192.0.2.1", outcome_set, &o);
		assert_int_equal(o.calls, 0);
		loop_drain(&w.loop);
		assert_int_equal(o.calls, 1);
		assert_int_equal(o.result, table[i].result);
		auth_end(&x);
	}
	world_stop(&w);
}

struct scram_try {
	const char *mechanism;
	const char *gs2;
	const char *user;
	const char *password;
	bool initial;
	enum auth_result result;
};

/* The whole exchange; what the server showed on the way is left in `c`. */
static enum auth_result
try_scram(struct world *w, const struct scram_try *t, const char *nonce,
    struct scram_client *c, struct outcome *o)
{
	char message[600];

	*o = (struct outcome){0};
	client_start(c, t->mechanism, t->gs2, t->user, t->password, nonce);
	snprintf(message, sizeof(message), "%s%s", t->gs2, c->first);
	struct auth_exchange *x = auth_begin(w->auth, &w->loop,
	    slice_from_cstr(t->mechanism), channel_of(false, "192.0.2.1"), t->initial,
	    slice_from_cstr(message), outcome_set, o);
	loop_drain(&w->loop);
	if (!t->initial && o->result == AUTH_MORE) {
		assert_int_equal(o->challenge_len, 0);
		auth_step(x, slice_from_cstr(message));
		loop_drain(&w->loop);
	}
	if (o->result == AUTH_MORE && client_continue(c, o->challenge)) {
		auth_step(x, slice_from_cstr(c->final));
		loop_drain(&w->loop);
		if (o->result == AUTH_MORE) {
			assert_true(client_believes(c, o->challenge));
			auth_step(x, SLICE(""));
			loop_drain(&w->loop);
		}
	}
	auth_end(&x);
	return o->result;
}

static void
scram(void **state)
{
	static const struct scram_try table[] = {
	    {"SCRAM-SHA-256", "n,,",                    "alice@example.org",  "pencil", true,  AUTH_OK    },
	    {"SCRAM-SHA-256", "n,,",                    "alice@example.org",  "pencil", false, AUTH_OK    },
	    {"SCRAM-SHA-1",   "n,,",                    "alice@example.org",  "pencil", true,  AUTH_OK    },
	    {"SCRAM-SHA-1",   "y,,",                    "Alice",              "pencil", true,  AUTH_OK    },
	    {"SCRAM-SHA-256", "n,a=alice@example.org,", "alice@example.org",  "pencil",
             true,									     AUTH_OK    },
	    {"SCRAM-SHA-256", "n,a=bob@example.org,",   "alice@example.org",  "pencil", true,
             AUTH_FAILED										  },
	    {"SCRAM-SHA-256", "n,,",                    "alice@example.org",  "Pencil", true,  AUTH_FAILED},
	    {"SCRAM-SHA-1",   "n,,",                    "alice@example.org",  "",       true,  AUTH_FAILED},
	    {"SCRAM-SHA-256", "n,,",                    "nobody@example.org", "pencil", true,  AUTH_FAILED},
	    {"SCRAM-SHA-256", "n,,",                    "gone@example.org",   "pencil", true,  AUTH_FAILED},
	    {"SCRAM-SHA-1",   "n,,",                    "broken@example.org", "pencil", true,  AUTH_FAILED},
	};
	struct world w;
	struct scram_client c;
	struct outcome o;
	size_t wrong = 0;

	(void)state;
	world_start(&w, 0);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum auth_result r =
		    try_scram(&w, &table[i], "fyko+d2lbbFgONRv9qkxdawL", &c, &o);
		if (r != table[i].result) {
			print_error(
			    "row %zu: result %d, challenge '%s'\n", i, r, o.challenge);
			wrong++;
		}
		if (r == AUTH_OK)
			assert_string_equal(o.login, "alice@example.org");
	}
	assert_int_equal(wrong, 0);
	assert_int_equal(w.loop.delayed_ms, 6 * 1000);
	w.directory.fails = true;
	assert_int_equal(try_scram(&w, &table[0], "abc", &c, &o), AUTH_TEMPORARY);
	world_stop(&w);
}

/* What a client sees of an account that is not there is what it sees of one that is. */
static void
scram_unknown_looks_known(void **state)
{
	static const struct scram_try known = {
	    "SCRAM-SHA-256", "n,,", "alice@example.org", "wrong", true, AUTH_FAILED};
	static const char *const others[] = {
	    "nobody@example.org", "gone@example.org", "broken@example.org"};
	struct world w;
	struct scram_client a, b, again;
	struct outcome o;

	(void)state;
	world_start(&w, 0);
	assert_int_equal(try_scram(&w, &known, "n0", &a, &o), AUTH_FAILED);
	int calls = o.calls;
	for (size_t i = 0; i < 3; i++) {
		struct scram_try t = known;
		t.user = others[i];
		assert_int_equal(try_scram(&w, &t, "n1", &b, &o), AUTH_FAILED);
		assert_int_equal(o.calls, calls);
		assert_int_equal(b.iterations, a.iterations);
		assert_int_equal(strlen(b.salt_text), strlen(a.salt_text));
		assert_string_not_equal(b.salt_text, a.salt_text);
		/* The same salt the next time, and in any spelling. */
		char upper[64];
		for (size_t k = 0; k <= strlen(t.user); k++)
			upper[k] = ascii_upper(t.user[k]);
		t.user = upper;
		assert_int_equal(try_scram(&w, &t, "n2", &again, &o), AUTH_FAILED);
		assert_string_equal(again.salt_text, b.salt_text);
		t.mechanism = "SCRAM-SHA-1";
		assert_int_equal(try_scram(&w, &t, "n2", &again, &o), AUTH_FAILED);
		assert_string_not_equal(again.salt_text, b.salt_text);
	}
	world_stop(&w);
}

/* One step with these bytes as the first message. */
static enum auth_result
try_first(struct world *w, struct slice bytes)
{
	struct outcome o = {0};
	struct auth_exchange *x = auth_begin(w->auth, &w->loop, SLICE("SCRAM-SHA-256"),
	    channel_of(true, "192.0.2.1"), true, bytes, outcome_set, &o);

	loop_drain(&w->loop);
	assert_int_equal(o.calls, 1);
	auth_end(&x);
	return o.result;
}

static void
scram_bad_messages(void **state)
{
	static const char *const firsts[] = {"", "n", "n,", "n,,", "n,,n=alice",
	    "n,,r=abc", "n,,n=,r=abc", "n,,n=a=b,r=abc", "x,,n=alice,r=abc",
	    "n,,m=x,n=alice,r=abc", "p=tls-unique,,n=alice,r=abc", ",,,,,,",
	    "n,,n=alice,r=\x01", "n,,n=ali\377ce,r=abc"};
	static const char *const finals[] = {"", "c=biws", "c=biws,r=x",
	    "c=!!!!,r=%s,p=AAAA", "c=biws,r=%s", "c=biws,r=%s,p=", "c=biws,r=%s,p=!",
	    "c=biws,r=%sx,p=AAAA", "c=eSws,r=%s,p=AAAA", "r=%s,p=AAAA",
	    "c=biws,r=%s,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	struct world w;

	(void)state;
	world_start(&w, 0);
	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		enum auth_result r = try_first(&w, slice_from_cstr(firsts[i]));
		if (r != AUTH_BAD && r != AUTH_FAILED)
			fail_msg("'%s' gave %d", firsts[i], r);
	}
	/* The plainest of them are told apart from wrong credentials. */
	assert_int_equal(try_first(&w, SLICE("n")), AUTH_BAD);
	assert_int_equal(try_first(&w, SLICE("hello")), AUTH_BAD);
	assert_int_equal(try_first(&w, SLICE("n,,n=alice")), AUTH_BAD);
	assert_int_equal(try_first(&w, SLICE("n,,n=ali\0ce,r=abc")), AUTH_BAD);
	for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++) {
		struct outcome o = {0};
		char nonce[512], message[600];
		struct auth_exchange *x = auth_begin(w.auth, &w.loop,
		    SLICE("SCRAM-SHA-256"), channel_of(true, "192.0.2.1"), true,
		    SLICE("n,,n=alice,r=abc"), outcome_set, &o);
		loop_drain(&w.loop);
		assert_int_equal(o.result, AUTH_MORE);
		assert_int_equal(sscanf(o.challenge, "r=%511[^,]", nonce), 1);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(message, sizeof(message), finals[i], nonce);
#pragma GCC diagnostic pop
		auth_step(x, slice_from_cstr(message));
		loop_drain(&w.loop);
		if (o.result != AUTH_BAD && o.result != AUTH_FAILED)
			fail_msg("'%s' gave %d", message, o.result);
		auth_end(&x);
	}
	world_stop(&w);
}

static void
scram_answer_after_the_last(void **state)
{
	struct world w;
	struct scram_client c;
	struct outcome o = {0};
	char message[600];

	(void)state;
	world_start(&w, 0);
	client_start(&c, "SCRAM-SHA-256", "n,,", "alice", "pencil", "abc");
	snprintf(message, sizeof(message), "n,,%s", c.first);
	struct auth_exchange *x = auth_begin(w.auth, &w.loop, SLICE("SCRAM-SHA-256"),
	    channel_of(true, "192.0.2.1"), true, slice_from_cstr(message), outcome_set,
	    &o);
	loop_drain(&w.loop);
	assert_true(client_continue(&c, o.challenge));
	auth_step(x, slice_from_cstr(c.final));
	loop_drain(&w.loop);
	assert_int_equal(o.result, AUTH_MORE);
	auth_step(x, SLICE("more"));
	loop_drain(&w.loop);
	assert_int_equal(o.result, AUTH_BAD);
	auth_end(&x);
	world_stop(&w);
}

static void
mechanisms(void **state)
{
	struct world w;

	(void)state;
	world_start(&w, 0);
	assert_true(slice_equal(auth_mechanisms(w.auth, channel_of(true, "")),
	    SLICE("SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN")));
	assert_true(slice_equal(auth_mechanisms(w.auth, channel_of(false, "")),
	    SLICE("SCRAM-SHA-256 SCRAM-SHA-1")));
	assert_true(auth_mechanism_allowed(w.auth, SLICE("plain"), channel_of(true, "")));
	assert_false(
	    auth_mechanism_allowed(w.auth, SLICE("PLAIN"), channel_of(false, "")));
	assert_true(
	    auth_mechanism_allowed(w.auth, SLICE("SCRAM-SHA-1"), channel_of(false, "")));
	static const char *const others[] = {"", "CRAM-MD5", "DIGEST-MD5", "ANONYMOUS",
	    "EXTERNAL", "SCRAM", "SCRAM-SHA-256-PLUS", "PLAIN LOGIN"};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct outcome o = {0};
		struct slice name = slice_from_cstr(others[i]);
		assert_false(auth_mechanism_allowed(w.auth, name, channel_of(true, "")));
		struct auth_exchange *x = auth_begin(w.auth, &w.loop, name,
		    channel_of(true, "192.0.2.1"), false, SLICE_NULL, outcome_set, &o);
		assert_int_equal(o.calls, 0);
		loop_drain(&w.loop);
		assert_int_equal(o.result, AUTH_BAD);
		auth_end(&x);
	}
	struct outcome o = {0};
	struct auth_exchange *x =
	    auth_begin(w.auth, &w.loop, SLICE("PLAIN"), channel_of(false, "192.0.2.1"),
		true, SLICE("\0alice\0pencil"), outcome_set, &o);
	loop_drain(&w.loop);
	assert_int_equal(o.result, AUTH_BAD);
	auth_end(&x);
	assert_int_equal(w.directory.lookups, 0);
	world_stop(&w);
}

static void
throttled(void **state)
{
	struct world w;
	struct outcome o;

	(void)state;
	world_start(&w, 3);
	clock_fake(1000000, 0);
	assert_int_equal(PLAIN(&w, "\0alice\0one", &o), AUTH_FAILED);
	/* The same guess again counts once. */
	for (int i = 0; i < 5; i++)
		assert_int_equal(PLAIN(&w, "\0alice\0two", &o), AUTH_FAILED);
	assert_int_equal(PLAIN(&w, "\0alice\0pencil", &o), AUTH_OK);
	assert_int_equal(PLAIN(&w, "\0alice\0three", &o), AUTH_FAILED);
	unsigned lookups = w.directory.lookups;
	uint64_t delayed = w.loop.delayed_ms;
	assert_int_equal(PLAIN(&w, "\0alice\0pencil", &o), AUTH_BLOCKED);
	struct auth_exchange *x = auth_password(w.auth, &w.loop, SLICE("alice"),
	    SLICE("pencil"), "192.0.2.1", outcome_set, &o);
	loop_drain(&w.loop);
	assert_int_equal(o.result, AUTH_BLOCKED);
	auth_end(&x);
	assert_int_equal(w.directory.lookups, lookups);
	assert_int_equal(w.loop.delayed_ms, delayed);
	/* Others are not concerned. */
	x = auth_password(w.auth, &w.loop, SLICE("alice"), SLICE("pencil"), "192.0.2.2",
	    outcome_set, &o);
	loop_drain(&w.loop);
	assert_int_equal(o.result, AUTH_OK);
	auth_end(&x);
	clock_fake_advance(60000);
	assert_int_equal(PLAIN(&w, "\0alice\0pencil", &o), AUTH_OK);
	/* A client that does not wait for its answer is counted all the same. */
	static const char *const guesses[] = {"x1", "x2", "x3"};
	for (size_t i = 0; i < 3; i++) {
		x = auth_password(w.auth, &w.loop, SLICE("alice"),
		    slice_from_cstr(guesses[i]), "192.0.2.1", outcome_set, &o);
		auth_end(&x);
		loop_drain(&w.loop);
	}
	assert_int_equal(PLAIN(&w, "\0alice\0pencil", &o), AUTH_BLOCKED);
	clock_fake_off();
	world_stop(&w);
}

/* Ends an exchange after so many completions; nothing may be told after that. */
static void
ended_at_any_time(void **state)
{
	struct world w;

	(void)state;
	world_start(&w, 0);
	for (int good = 0; good < 2; good++) {
		for (unsigned turns = 0; turns < 4; turns++) {
			struct outcome o = {0};
			struct auth_exchange *x = auth_password(w.auth, &w.loop,
			    SLICE("alice"), good ? SLICE("pencil") : SLICE("x"),
			    "192.0.2.1", outcome_set, &o);
			for (unsigned i = 0; i < turns; i++)
				loop_turn(&w.loop);
			int calls = o.calls;
			auth_end(&x);
			loop_drain(&w.loop);
			assert_int_equal(o.calls, calls);
		}
	}
	/* In the middle of SCRAM, too, and with the authenticator gone first. */
	struct outcome o = {0};
	struct auth_exchange *x = auth_begin(w.auth, &w.loop, SLICE("SCRAM-SHA-256"),
	    channel_of(true, "192.0.2.1"), true, SLICE("n,,n=alice,r=abc"), outcome_set,
	    &o);
	loop_drain(&w.loop);
	assert_int_equal(o.result, AUTH_MORE);
	struct auth_exchange *y = auth_begin(w.auth, &w.loop, SLICE("SCRAM-SHA-256"),
	    channel_of(true, "192.0.2.1"), true, SLICE("n,,n=alice,r=abc"), outcome_set,
	    &o);
	auth_free(&w.auth);
	auth_end(&x);
	auth_end(&y);
	world_stop(&w);
}

struct ender {
	struct auth_exchange *exchange;
	int calls;
};

static void
end_inside(void *arg, enum auth_result result, struct slice challenge, struct slice login)
{
	struct ender *e = arg;

	(void)challenge;
	e->calls++;
	auth_end(&e->exchange);
	/* Still there during the call. */
	if (result == AUTH_OK)
		assert_true(slice_equal(login, SLICE("alice@example.org")));
}

static void
ended_inside_the_call(void **state)
{
	struct world w;
	struct ender e = {NULL, 0};

	(void)state;
	world_start(&w, 0);
	e.exchange = auth_password(
	    w.auth, &w.loop, SLICE("alice"), SLICE("pencil"), "::1", end_inside, &e);
	loop_drain(&w.loop);
	assert_int_equal(e.calls, 1);
	assert_null(e.exchange);
	auth_end(&e.exchange);
	world_stop(&w);
}

/* A session that logs in by SCRAM, step by step from inside its callback. */
struct session {
	struct scram_client client;
	struct auth_exchange *exchange;
	int step;
	enum auth_result result;
	bool finished;
};

static void
session_next(
    void *arg, enum auth_result result, struct slice challenge, struct slice login)
{
	struct session *s = arg;
	char text[1024];

	(void)login;
	s->result = result;
	if (result != AUTH_MORE) {
		s->finished = true;
		auth_end(&s->exchange);
		return;
	}
	assert_true(slice_copy_cstr(challenge, text, sizeof(text)));
	if (s->step++ == 0) {
		assert_true(client_continue(&s->client, text));
		auth_step(s->exchange, slice_from_cstr(s->client.final));
	} else {
		assert_true(client_believes(&s->client, text));
		auth_step(s->exchange, SLICE(""));
	}
}

enum { SESSION_THREADS = 3, SESSIONS_A_THREAD = 24 };

static void *
sessions_thread(void *arg)
{
	struct world *shared = arg;
	struct harness_loop loop;
	struct session sessions[SESSIONS_A_THREAD];
	size_t good = 0;

	loop_init(&loop);
	memset(sessions, 0, sizeof(sessions));
	for (size_t i = 0; i < SESSIONS_A_THREAD; i++) {
		struct session *s = &sessions[i];
		char message[500], nonce[32], peer[32];
		const char *name = i % 2 ? "SCRAM-SHA-1" : "SCRAM-SHA-256";
		snprintf(nonce, sizeof(nonce), "nonce%zu", i);
		snprintf(peer, sizeof(peer), "10.0.0.%zu", i);
		client_start(&s->client, name, "n,,", i % 3 == 2 ? "nobody" : "alice",
		    i % 3 == 1 ? "wrong" : "pencil", nonce);
		snprintf(message, sizeof(message), "n,,%s", s->client.first);
		if (i % 4 == 3)
			s->exchange = auth_password(shared->auth, &loop, SLICE("alice"),
			    i % 3 == 0 ? SLICE("pencil") : SLICE("wrong"), peer,
			    session_next, s);
		else
			s->exchange = auth_begin(shared->auth, &loop,
			    slice_from_cstr(name), channel_of(true, peer), true,
			    slice_from_cstr(message), session_next, s);
	}
	while (loop_turn(&loop))
		;
	for (size_t i = 0; i < SESSIONS_A_THREAD; i++)
		good += sessions[i].finished &&
		        sessions[i].result == (i % 3 == 0 ? AUTH_OK : AUTH_FAILED);
	return (void *)good;
}

static void
many_at_once(void **state)
{
	struct world w;
	pthread_t threads[SESSION_THREADS];

	(void)state;
	world_start(&w, 1000);
	for (int i = 0; i < SESSION_THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, sessions_thread, &w), 0);
	for (int i = 0; i < SESSION_THREADS; i++) {
		void *good = NULL;
		pthread_join(threads[i], &good);
		assert_int_equal((size_t)good, SESSIONS_A_THREAD);
	}
	world_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain),
	    cmocka_unit_test(plain_without_initial),
	    cmocka_unit_test(login),
	    cmocka_unit_test(password),
	    cmocka_unit_test(scram),
	    cmocka_unit_test(scram_unknown_looks_known),
	    cmocka_unit_test(scram_bad_messages),
	    cmocka_unit_test(scram_answer_after_the_last),
	    cmocka_unit_test(mechanisms),
	    cmocka_unit_test(throttled),
	    cmocka_unit_test(ended_at_any_time),
	    cmocka_unit_test(ended_inside_the_call),
	    cmocka_unit_test(many_at_once),
	};

	return cmocka_run_group_tests(tests, harness_start, harness_stop);
}
