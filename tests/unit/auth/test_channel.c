/*
 * What hangs on the TLS connection: SCRAM with channel binding, the downgrade that it is
 * there to find, EXTERNAL by the client's certificate, and which mechanisms are announced
 * where.
 */
#include "unit/auth/auth_harness.h"

#include "auth/token.h"

struct world {
	struct directory directory;
	struct harness_loop loop;
	struct auth *auth;
};

static const char exporter[] = "0123456789abcdef0123456789ABCDE\xff";
static const char end_point[] = "hash of a certificate, 32 bytes.";

static const struct auth_channel bound = {
    .secure = true,
    .peer = "192.0.2.1",
    .tls_exporter = {exporter,  32},
    .tls_server_end_point = {end_point, 32}
};
static const struct auth_channel end_point_only = {
    .secure = true, .peer = "192.0.2.1", .tls_server_end_point = {end_point, 32}
};
static const struct auth_channel unbound = {.secure = true, .peer = "192.0.2.1"};

static void
world_start(struct world *w)
{
	memset(w, 0, sizeof(*w));
	loop_init(&w->loop);
	w->directory.alice = make_keys("pencil");
	w->directory.broken = xstrdup("SCRAM-SHA-256$4096:!!$x:y");
	w->auth = make_auth(&w->directory, 0);
}

static void
world_stop(struct world *w)
{
	loop_drain(&w->loop);
	auth_free(&w->auth);
	free(w->directory.alice);
	free(w->directory.broken);
}

struct row {
	const struct auth_channel *channel;
	const char *mechanism;
	const char *gs2;
	struct slice binding;
	const char *password;
	enum auth_result result;
};

static enum auth_result
try_scram(struct world *w, const struct row *row, bool initial)
{
	struct scram_client c;
	struct outcome o = {0};
	char message[600];

	client_start(
	    &c, row->mechanism, row->gs2, "alice@example.org", row->password, "fyko+d2");
	c.binding = row->binding;
	snprintf(message, sizeof(message), "%s%s", row->gs2, c.first);
	struct auth_exchange *x =
	    auth_begin(w->auth, &w->loop, slice_from_cstr(row->mechanism), row->channel,
		initial, slice_from_cstr(message), outcome_set, &o);
	loop_drain(&w->loop);
	if (!initial && o.result == AUTH_MORE) {
		auth_step(x, slice_from_cstr(message));
		loop_drain(&w->loop);
	}
	if (o.result == AUTH_MORE && client_continue(&c, o.challenge)) {
		auth_step(x, slice_from_cstr(c.final));
		loop_drain(&w->loop);
		if (o.result == AUTH_MORE) {
			assert_true(client_believes(&c, o.challenge));
			auth_step(x, SLICE(""));
			loop_drain(&w->loop);
		}
	}
	auth_end(&x);
	if (o.result == AUTH_OK)
		assert_string_equal(o.login, "alice@example.org");
	return o.result;
}

static void
scram_plus(void **state)
{
	static const struct slice good = {exporter, 32}, point = {end_point, 32};
	static const struct slice wrong = {"0123456789abcdef0123456789ABCDEF", 32};
	static const struct slice none = {"", 0};
#define PLUS256 "SCRAM-SHA-256-PLUS"
#define PLUS1   "SCRAM-SHA-1-PLUS"
	const struct row rows[] = {
	    {&bound,          PLUS256,         "p=tls-exporter,,",                    good,  "pencil", AUTH_OK    },
	    {&bound,          PLUS1,           "p=tls-exporter,,",                    good,  "pencil", AUTH_OK    },
	    {&bound,          PLUS256,         "p=tls-server-end-point,,",            point, "pencil", AUTH_OK    },
	    {&end_point_only, PLUS1,           "p=tls-server-end-point,,",            point, "pencil",
             AUTH_OK											      },
	    {&bound,          PLUS256,         "p=tls-exporter,a=alice@example.org,", good,  "pencil",
             AUTH_OK											      },
	    {&bound,          PLUS256,         "p=tls-exporter,,",                    good,  "pen",    AUTH_FAILED},
 /* Somebody in between has another TLS connection to the client. */
	    {&bound,          PLUS256,         "p=tls-exporter,,",                    wrong, "pencil", AUTH_FAILED},
	    {&bound,          PLUS256,         "p=tls-exporter,,",                    none,  "pencil", AUTH_FAILED},
	    {&bound,          PLUS256,         "p=tls-exporter,,",                    point, "pencil", AUTH_FAILED},
	    {&bound,          PLUS1,           "p=tls-server-end-point,,",            good,  "pencil", AUTH_FAILED},
 /* A kind that is not to be had here. */
	    {&end_point_only, PLUS256,         "p=tls-exporter,,",                    good,  "pencil", AUTH_BAD   },
	    {&bound,          PLUS256,         "p=tls-unique,,",                      good,  "pencil", AUTH_BAD   },
	    {&bound,          PLUS256,         "p=,,",                                good,  "pencil", AUTH_BAD   },
	    {&bound,          PLUS256,         "p=tls-exporter",                      good,  "pencil", AUTH_BAD   },
 /* -PLUS without binding, binding without -PLUS (RFC 5802 section 6). */
	    {&bound,          PLUS256,         "n,,",                                 none,  "pencil", AUTH_BAD   },
	    {&bound,          PLUS256,         "y,,",                                 none,  "pencil", AUTH_BAD   },
	    {&bound,          "SCRAM-SHA-256", "p=tls-exporter,,",                    good,  "pencil", AUTH_BAD   },
	    {&unbound,        PLUS256,         "p=tls-exporter,,",                    good,  "pencil", AUTH_BAD   },
 /* The downgrade: the client could have, and did not see it offered. */
	    {&bound,          "SCRAM-SHA-256", "y,,",                                 none,  "pencil", AUTH_FAILED},
	    {&end_point_only, "SCRAM-SHA-1",   "y,,",                                 none,  "pencil", AUTH_FAILED},
	    {&unbound,        "SCRAM-SHA-256", "y,,",                                 none,  "pencil", AUTH_OK    },
	    {&bound,          "SCRAM-SHA-256", "n,,",                                 none,  "pencil", AUTH_OK    },
	};
	struct world w;
	size_t failures = 0;

	(void)state;
	world_start(&w);
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i / 2];
		enum auth_result result = try_scram(&w, row, i % 2);
		if (result != row->result) {
			print_error("row %zu: %d\n", i / 2, result);
			failures++;
		}
	}
	assert_int_equal(failures, 0);
	world_stop(&w);
}

static enum auth_result
try_external(struct world *w, const char *certificate, const char *authzid, bool initial,
    struct outcome *o)
{
	struct auth_channel channel = unbound;

	channel.certificate = slice_from_cstr(certificate);
	*o = (struct outcome){0};
	struct auth_exchange *x = auth_begin(w->auth, &w->loop, SLICE("EXTERNAL"),
	    &channel, initial, slice_from_cstr(authzid), outcome_set, o);
	loop_drain(&w->loop);
	if (!initial && o->result == AUTH_MORE) {
		assert_int_equal(o->challenge_len, 0);
		auth_step(x, slice_from_cstr(authzid));
		loop_drain(&w->loop);
	}
	auth_end(&x);
	return o->result;
}

static void
external(void **state)
{
	static const struct {
		const char *certificate, *authzid;
		enum auth_result result;
	} rows[] = {
	    {"alice@example.org",                     "",                   AUTH_OK    },
	    {"Alice@Example.org",                     "",                   AUTH_OK    },
	    {"x@example.org\nalice@example.org",      "",                   AUTH_OK    },
	    {"alice@example.org",                     "ALICE@example.org",  AUTH_OK    },
 /* No password that would do is no matter to a certificate. */
	    {"broken@example.org",                    "",                   AUTH_OK    },
	    {"alice@example.org",                     "broken@example.org", AUTH_FAILED},
	    {"alice@example.org",                     "x",                  AUTH_FAILED},
	    {"gone@example.org",                      "",                   AUTH_FAILED},
	    {"nobody@example.org",                    "",                   AUTH_FAILED},
	    {"broken@example.org\nalice@example.org", "alice@example.org",  AUTH_OK    },
	};
	struct world w;
	struct outcome o;

	(void)state;
	world_start(&w);
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(try_external(&w, rows[i / 2].certificate,
				     rows[i / 2].authzid, i % 2, &o),
		    rows[i / 2].result);
	assert_int_equal(try_external(&w, NULL, "", true, &o), AUTH_BAD);
	assert_int_equal(try_external(&w, "", "alice@example.org", true, &o), AUTH_BAD);
	w.directory.fails = true;
	assert_int_equal(
	    try_external(&w, "alice@example.org", "", true, &o), AUTH_TEMPORARY);
	world_stop(&w);
}

static void
announced(void **state)
{
	struct world w;
	struct auth_channel all = bound;

	(void)state;
	world_start(&w);
	assert_true(
	    slice_equal(auth_mechanisms(w.auth, &(struct auth_channel){.peer = ""}),
		SLICE("SCRAM-SHA-256 SCRAM-SHA-1")));
	assert_true(slice_equal(auth_mechanisms(w.auth, &unbound),
	    SLICE("SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN")));
	assert_true(slice_equal(auth_mechanisms(w.auth, &bound),
	    SLICE("SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN "
		  "LOGIN")));
	all.certificate = SLICE("alice@example.org");
	assert_true(slice_equal(auth_mechanisms(w.auth, &all),
	    SLICE("SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN "
		  "LOGIN EXTERNAL")));
	assert_false(auth_mechanism_allowed(w.auth, SLICE("OAUTHBEARER"), &all));
	struct token_rules *rules;
	char *error = NULL;
	const struct token_options options = {
	    .introspection_url = "http://127.0.0.1:1/", .claim = "email"};
	assert_int_equal(token_rules_new(&options, &rules, &error), STATUS_OK);
	auth_tokens_set(w.auth, rules);
	token_rules_unref(&rules);
	assert_true(auth_mechanism_allowed(w.auth, SLICE("OAUTHBEARER"), &all));
	assert_true(auth_mechanism_allowed(w.auth, SLICE("xoauth2"), &unbound));
	assert_false(auth_mechanism_allowed(
	    w.auth, SLICE("XOAUTH2"), &(struct auth_channel){.peer = ""}));
	auth_tokens_set(w.auth, NULL);
	assert_false(auth_mechanism_allowed(w.auth, SLICE("OAUTHBEARER"), &all));
	world_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(scram_plus),
	    cmocka_unit_test(external),
	    cmocka_unit_test(announced),
	};
	return cmocka_run_group_tests(tests, harness_start, harness_stop);
}
