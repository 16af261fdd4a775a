/*
 * Logging in by a token, from the exchange to the account: JWT by keys, other tokens by a
 * server that is asked over HTTP on loopback; what a refusal looks like, that it is
 * counted, and what is done when the server does not answer.
 */
#include "unit/auth/auth_harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/token.h"
#include "base/clock.h"
#include "net/http_post.h"
#include "unit/auth/token_maker.h"

static enum status
post(const struct token_request *request, struct buf *answer)
{
	const struct http_post to = {.url = request->url,
	    .body = slice_from_cstr(request->form),
	    .type = "application/x-www-form-urlencoded",
	    .anywhere = true,
	    .login = request->login,
	    .ca_file = request->ca_file,
	    .timeout_ms = request->timeout_ms};

	return http_post(&to, answer, NULL);
}

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

/* The exchange as a client leads it; the refusal's JSON is left in `refusal`. */
static char refusal[2048];

static enum auth_result
login(struct world *w, const char *mechanism, const char *user, struct slice token,
    const char *dummy, struct outcome *o)
{
	struct buf message AUTO_BUF;

	buf_init(&message, AUTH_RESPONSE_MAX);
	if (strcmp(mechanism, "XOAUTH2") == 0)
		buf_append_format(
		    &message, "user=%s\1auth=Bearer %.*s\1\1", user, SLICE_ARG(token));
	else
		buf_append_format(&message, "n,%s%s,\1auth=Bearer %.*s\1\1",
		    *user ? "a=" : "", user, SLICE_ARG(token));
	*o = (struct outcome){0};
	refusal[0] = '\0';
	struct auth_exchange *x =
	    auth_begin(w->auth, &w->loop, slice_from_cstr(mechanism),
		channel_of(true, "192.0.2.1"), true, buf_slice(&message), outcome_set, o);
	loop_drain(&w->loop);
	if (o->result == AUTH_MORE) {
		snprintf(refusal, sizeof(refusal), "%s", o->challenge);
		if (dummy) {
			auth_step(x, slice_from_cstr(dummy));
			loop_drain(&w->loop);
		}
	}
	auth_end(&x);
	return o->result;
}

static void
jwt(void **state)
{
	(void)state;
	struct world w;
	struct outcome o;
	char path[] = "/tmp/auth-keys-XXXXXX";
	char claims[256];
	EVP_PKEY *pkey = maker_key("EdDSA");
	struct buf pem AUTO_BUF, good AUTO_BUF, other AUTO_BUF, stale AUTO_BUF;
	int fd = mkstemp(path);

	world_start(&w, 0);
	buf_init(&pem, 4096);
	buf_init(&good, 4096);
	buf_init(&other, 4096);
	buf_init(&stale, 4096);
	maker_pem(pkey, &pem);
	assert_int_equal(write(fd, pem.ptr, pem.len), pem.len);
	close(fd);
	const struct token_options options = {.keys = path,
	    .issuer = "https://id.example",
	    .claim = "sub",
	    .scope = "mail",
	    .configuration = "https://id.example/c",
	    .skew_s = 1};
	struct token_rules *rules;
	char *error = NULL;
	assert_int_equal(token_rules_new(&options, &rules, &error), STATUS_OK);
	auth_tokens_set(w.auth, rules);
	token_rules_unref(&rules);
	static const char form[] = "{\"iss\":\"https://id.example\",\"sub\":\"%s\","
				   "\"scope\":\"mail\",\"exp\":%lld}";
	long long soon = clock_wall_s() + 300;
	snprintf(claims, sizeof(claims), form, "Alice@example.org", soon);
	maker_token(pkey, "{\"alg\":\"EdDSA\"}", claims, &good);
	snprintf(claims, sizeof(claims), form, "nobody@example.org", soon);
	maker_token(pkey, "{\"alg\":\"EdDSA\"}", claims, &other);
	snprintf(claims, sizeof(claims), form, "alice@example.org", soon - 600);
	maker_token(pkey, "{\"alg\":\"EdDSA\"}", claims, &stale);

	static const char *const mechanisms[] = {"OAUTHBEARER", "XOAUTH2"};
	for (int m = 0; m < 2; m++) {
		const char *name = mechanisms[m];
		assert_int_equal(
		    login(&w, name, "alice@example.org", buf_slice(&good), "\1", &o),
		    AUTH_OK);
		assert_string_equal(o.login, "alice@example.org");
		/* Named for somebody else, nobody's account, expired, no token. */
		uint64_t before = w.loop.delayed_ms;
		assert_int_equal(
		    login(&w, name, "bob@example.org", buf_slice(&good), "\1", &o),
		    AUTH_FAILED);
		assert_non_null(strstr(refusal, m ? "\"401\"" : "\"invalid_token\""));
		assert_non_null(strstr(refusal, "\"scope\":\"mail\""));
		assert_int_equal(!m, strstr(refusal, "https://id.example/c") != NULL);
		assert_int_equal(w.loop.delayed_ms - before, 1000);
		assert_int_equal(
		    login(&w, name, "nobody@example.org", buf_slice(&other), "", &o),
		    AUTH_FAILED);
		assert_int_equal(
		    login(&w, name, "alice@example.org", buf_slice(&stale), "x", &o),
		    AUTH_FAILED);
		assert_int_equal(
		    login(&w, name, "alice@example.org", SLICE("opaque"), "\1", &o),
		    AUTH_FAILED);
	}
	assert_int_equal(
	    login(&w, "OAUTHBEARER", "", buf_slice(&good), "\1", &o), AUTH_OK);
	assert_int_equal(
	    login(&w, "OAUTHBEARER", "", SLICE("not a token"), "\1", &o), AUTH_BAD);
	w.directory.fails = true;
	assert_int_equal(
	    login(&w, "OAUTHBEARER", "", buf_slice(&good), "\1", &o), AUTH_TEMPORARY);
	world_stop(&w);
	unlink(path);
	EVP_PKEY_free(pkey);
}

/* A refusal counts when it is told: hanging up instead of the dummy gains nothing. */
static void
counted(void **state)
{
	(void)state;
	struct world w;
	struct outcome o;
	struct token_rules *rules;
	char *error = NULL;
	char path[] = "/tmp/auth-keys-XXXXXX";
	EVP_PKEY *pkey = maker_key("EdDSA");
	struct buf pem AUTO_BUF;
	int fd = mkstemp(path);

	world_start(&w, 3);
	buf_init(&pem, 4096);
	maker_pem(pkey, &pem);
	assert_int_equal(write(fd, pem.ptr, pem.len), pem.len);
	close(fd);
	const struct token_options options = {.keys = path, .claim = "sub"};
	assert_int_equal(token_rules_new(&options, &rules, &error), STATUS_OK);
	auth_tokens_set(w.auth, rules);
	token_rules_unref(&rules);
	static const char *const tokens[] = {"a", "b", "c"};
	for (int i = 0; i < 3; i++)
		assert_int_equal(login(&w, "OAUTHBEARER", "", slice_from_cstr(tokens[i]),
				     i ? NULL : "\1", &o),
		    i ? AUTH_MORE : AUTH_FAILED);
	assert_int_equal(
	    login(&w, "OAUTHBEARER", "", SLICE("d"), "\1", &o), AUTH_BLOCKED);
	world_stop(&w);
	unlink(path);
	EVP_PKEY_free(pkey);
}

/* ---- introspection ---- */

struct server {
	int fd;
	uint16_t port;
	pthread_t thread;
	_Atomic bool stop;
	_Atomic unsigned requests;
	char last[4096];
};

static void
serve_one(struct server *s, int fd)
{
	char request[4096];
	size_t len = 0;
	ssize_t got;
	const char *answer = "{\"active\":false}";
	char reply[512];

	while (len + 1 < sizeof(request) &&
	       (got = read(fd, request + len, sizeof(request) - 1 - len)) > 0) {
		len += (size_t)got;
		request[len] = '\0';
		const char *body = strstr(request, "\r\n\r\n");
		if (body && strstr(body, "&token="))
			break;
	}
	request[len] = '\0';
	memcpy(s->last, request, len + 1);
	s->requests++;
	if (strstr(request, "&token=silent")) {
		struct pollfd p = {fd, POLLIN, 0};
		poll(&p, 1, 3000);
		close(fd);
		return;
	}
	if (strstr(request, "&token=good%2F1"))
		answer = "{\"active\":true,\"username\":\"alice@example.org\"}";
	if (strstr(request, "&token=gone"))
		answer = "{\"active\":true,\"username\":\"gone@example.org\"}";
	const char *status = strstr(request, "&token=fail") ? "500 No" : "200 OK";
	int n = snprintf(reply, sizeof(reply),
	    "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
	    "Connection: close\r\n\r\n%s",
	    status, strlen(answer), answer);
	if (write(fd, reply, (size_t)n) < 0)
		abort();
	close(fd);
}

static void *
serve(void *arg)
{
	struct server *s = arg;
	struct pollfd p = {s->fd, POLLIN, 0};

	while (!s->stop)
		if (poll(&p, 1, 20) == 1) {
			int fd = accept(s->fd, NULL, NULL);
			if (fd >= 0)
				serve_one(s, fd);
		}
	return NULL;
}

static void
server_start(struct server *s)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	memset(s, 0, sizeof(*s));
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(s->fd, 8), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void
introspection(void **state)
{
	(void)state;
	struct world w;
	struct outcome o;
	struct server server;
	struct token_rules *rules;
	char *error = NULL;
	char url[64], path[] = "/tmp/auth-login-XXXXXX";
	int fd = mkstemp(path);

	world_start(&w, 0);
	server_start(&server);
	assert_int_equal(write(fd, "postroom:s3cret\n", 16), 16);
	close(fd);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/introspect", server.port);
	const struct token_options options = {.post = post,
	    .introspection_url = url,
	    .introspection_login = path,
	    .introspection_timeout_ms = 300,
	    .claim = "email"};
	assert_int_equal(token_rules_new(&options, &rules, &error), STATUS_OK);
	auth_tokens_set(w.auth, rules);
	token_rules_unref(&rules);

	assert_int_equal(
	    login(&w, "OAUTHBEARER", "", SLICE("good/1"), "\1", &o), AUTH_OK);
	assert_string_equal(o.login, "alice@example.org");
	assert_non_null(strstr(server.last, "POST /introspect HTTP/1.1\r\n"));
	/* base64 of postroom:s3cret */
	assert_non_null(
	    strstr(server.last, "Authorization: Basic cG9zdHJvb206czNjcmV0\r\n"));
	assert_non_null(
	    strstr(server.last, "\r\n\r\ntoken_type_hint=access_token&token=good%2F1"));
	/* The answer is remembered, a refusal is not. */
	assert_int_equal(
	    login(&w, "XOAUTH2", "alice@example.org", SLICE("good/1"), "", &o), AUTH_OK);
	assert_int_equal(server.requests, 1);
	for (unsigned i = 2; i < 4; i++) {
		assert_int_equal(login(&w, "OAUTHBEARER", "", SLICE("revoked"), "\1", &o),
		    AUTH_FAILED);
		assert_int_equal(server.requests, i);
	}
	assert_int_equal(
	    login(&w, "OAUTHBEARER", "", SLICE("gone"), "\1", &o), AUTH_FAILED);
	/* No judgement is no refusal. */
	assert_int_equal(
	    login(&w, "OAUTHBEARER", "", SLICE("fail"), "\1", &o), AUTH_TEMPORARY);
	assert_int_equal(
	    login(&w, "OAUTHBEARER", "", SLICE("silent"), "\1", &o), AUTH_TEMPORARY);
	server.stop = true;
	pthread_join(server.thread, NULL);
	close(server.fd);
	assert_int_equal(login(&w, "OAUTHBEARER", "", SLICE("nobody-there"), "\1", &o),
	    AUTH_TEMPORARY);
	world_stop(&w);
	unlink(path);
}

static void
settings(void **state)
{
	(void)state;
	struct token_rules *rules = NULL;
	char *error = NULL;
	const struct token_options none = {.keys = "", .introspection_url = ""};
	const struct token_options clear = {.introspection_url = "http://id.example/i"};
	const struct token_options near = {.introspection_url = "http://127.0.0.1.x/i"};
	const struct token_options keys = {.keys = "/dev/null"};
	const struct token_options secret = {.introspection_url = "https://id.example/i",
	    .introspection_login = "/dev/null"};

	assert_int_equal(token_rules_new(&none, &rules, &error), STATUS_NOT_FOUND);
	assert_int_equal(token_rules_new(&clear, &rules, &error), STATUS_INVALID);
	assert_non_null(strstr(error, "https"));
	free(error);
	assert_int_equal(token_rules_new(&near, &rules, &error), STATUS_INVALID);
	free(error);
	assert_int_equal(token_rules_new(&keys, &rules, &error), STATUS_INVALID);
	assert_non_null(strstr(error, "/dev/null"));
	free(error);
	assert_int_equal(token_rules_new(&secret, &rules, &error), STATUS_INVALID);
	free(error);
	assert_null(rules);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(jwt),
	    cmocka_unit_test(counted),
	    cmocka_unit_test(introspection),
	    cmocka_unit_test(settings),
	};
	return cmocka_run_group_tests(tests, harness_start, harness_stop);
}
