/*
 * The resolver: the script's answers, cancelling and freeing from inside an answer, and
 * libunbound against a name server of the test's own on 127.0.0.1.
 */
#include "net/resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "net/resolver_int.h"
#include "unit/net/net_harness.h"

struct asked {
	unsigned answers;
	enum resolver_result result;
	bool secure;
	size_t count;
	char text[512]; /* the records, readable */
	char why[128];
};

static void
on_answer(const struct resolver_answer *answer, void *arg)
{
	struct asked *a = arg;
	size_t len = 0;
	a->answers++;
	a->result = answer->result;
	a->secure = answer->secure;
	a->count = answer->count;
	snprintf(a->why, sizeof(a->why), "%s", answer->why ? answer->why : "");
	a->text[0] = '\0';
	for (size_t i = 0; i < answer->count && len < sizeof(a->text); i++) {
		const struct resolver_record *r = &answer->records[i];
		len += (size_t)snprintf(a->text + len, sizeof(a->text) - len, "%u %.*s|",
		    r->preference, SLICE_ARG(r->name));
		for (size_t k = 0; k < r->data.len && len < sizeof(a->text); k++)
			len += (size_t)snprintf(a->text + len, sizeof(a->text) - len,
			    "%02x", (unsigned char)r->data.ptr[k]);
		if (len < sizeof(a->text))
			len +=
			    (size_t)snprintf(a->text + len, sizeof(a->text) - len, ";");
	}
}

static bool
is_answered(void *arg)
{
	struct asked *a = arg;
	return a->answers > 0;
}

static struct asked
ask(struct loop *loop, struct resolver *resolver, const char *name,
    enum resolver_type type)
{
	struct asked a = {0};
	resolver_ask(resolver, slice_from_cstr(name), type, on_answer, &a);
	/* Never from inside the question. */
	assert_int_equal(a.answers, 0);
	harness_run_until(loop, is_answered, &a);
	assert_int_equal(a.answers, 1);
	return a;
}

static const char script_text[] = "# a comment\n"
				  "\n"
				  "example.test MX 20 mx2.Example.test\n"
				  "example.test MX SECURE 10 mx1.example.test.\n"
				  "example.test TXT \"v=spf1 -all\"\n"
				  "null.test MX 0 .\n"
				  "mx1.example.test A 192.0.2.1\n"
				  "mx1.example.test A 192.0.2.2\n"
				  "mx1.example.test AAAA 2001:db8::1\n"
				  "_25._tcp.mx1.example.test TLSA SECURE 3 1 1 00ffAB\n"
				  "1.2.0.192.in-addr.arpa PTR mx1.example.test\n"
				  "bogus.test A BOGUS\n"
				  "broken.test MX SERVFAIL\n"
				  "gone.test A NXDOMAIN\n"
				  "slow.test A TIMEOUT\n"
				  "none.test A SECURE\n";

static struct resolver *
open_script(struct loop *loop, const char *text)
{
	char path[] = "/tmp/net-dns-XXXXXX";
	int fd = mkstemp(path);
	struct resolver *resolver = NULL;
	char *error = NULL;
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	enum status status = resolver_new_script(loop, path, &resolver, &error);
	unlink(path);
	if (status != STATUS_OK) {
		assert_int_equal(status, STATUS_INVALID);
		assert_non_null(error);
		assert_non_null(strstr(error, path));
		free(error);
		return NULL;
	}
	return resolver;
}

static void
test_script(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		enum resolver_type type;
		enum resolver_result result;
		bool secure;
		const char *text;
	} cases[] = {
	    {"example.test",              RESOLVER_MX,   RESOLVER_OK,      true,
             "10 mx1.example.test|;20 mx2.example.test|;"                               },
	    {"EXAMPLE.test",              RESOLVER_TXT,  RESOLVER_OK,      false,
             "0 |763d73706631202d616c6c;"					       },
	    {"example.test",              RESOLVER_A,    RESOLVER_NO_DATA, false, ""    },
	    {"null.test",                 RESOLVER_MX,   RESOLVER_OK,      false, "0 |;"},
	    {"mx1.example.test",          RESOLVER_A,    RESOLVER_OK,      false,
             "0 |c0000201;0 |c0000202;"						 },
	    {"mx1.example.test",          RESOLVER_AAAA, RESOLVER_OK,      false,
             "0 |20010db8000000000000000000000001;"                                     },
	    {"_25._tcp.mx1.example.test", RESOLVER_TLSA, RESOLVER_OK,      true,
             "0 |03010100ffab;"							 },
	    {"1.2.0.192.in-addr.arpa",    RESOLVER_PTR,  RESOLVER_OK,      false,
             "0 mx1.example.test|;"						     },
	    {"bogus.test",                RESOLVER_A,    RESOLVER_BOGUS,   false, ""    },
	    {"broken.test",               RESOLVER_MX,   RESOLVER_FAILED,  false, ""    },
	    {"gone.test",                 RESOLVER_A,    RESOLVER_NO_NAME, false, ""    },
	    {"slow.test",                 RESOLVER_A,    RESOLVER_FAILED,  false, ""    },
	    {"none.test",                 RESOLVER_A,    RESOLVER_NO_DATA, true,  ""    },
	    {"unlisted.test",             RESOLVER_A,    RESOLVER_NO_NAME, false, ""    },
	    {"",			  RESOLVER_A,    RESOLVER_FAILED,  false, ""    },
	};
	struct loop *loop = loop_new();
	struct resolver *resolver = open_script(loop, script_text);
	assert_non_null(resolver);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct asked a = ask(loop, resolver, cases[i].name, cases[i].type);
		assert_int_equal(a.result, cases[i].result);
		assert_int_equal(a.secure, cases[i].secure);
		assert_string_equal(a.text, cases[i].text);
		assert_int_equal(a.why[0] != '\0',
		    a.result == RESOLVER_BOGUS || a.result == RESOLVER_FAILED);
	}
	char long_name[300];
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_int_equal(
	    ask(loop, resolver, long_name, RESOLVER_A).result, RESOLVER_FAILED);
	resolver_free(&resolver);
	loop_free(&loop);
}

static void
test_script_errors(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "example.test CNAME x\n",
	    "example.test\n",
	    "example.test A 300.1.1.1\n",
	    "example.test A ::1\n",
	    "example.test AAAA 1.2.3.4\n",
	    "example.test MX mx\n",
	    "example.test MX 70000 mx\n",
	    "example.test MX 10 a..b\n",
	    "example.test TXT unquoted\n",
	    "example.test TLSA 3 1 1 abc\n",
	    "example.test TLSA 3 1 1 zz\n",
	    "example.test TLSA 3 1\n",
	};
	struct loop *loop = loop_new();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(open_script(loop, bad[i]));
	struct resolver *resolver = NULL;
	char *error = NULL;
	assert_int_equal(resolver_new_script(loop, "/nonexistent", &resolver, &error),
	    STATUS_NOT_FOUND);
	free(error);
	loop_free(&loop);
}

static void
test_cancel_and_free(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct resolver *resolver = open_script(loop, script_text);
	struct asked a = {0}, b = {0}, c = {0};
	struct resolver_query *query =
	    resolver_ask(resolver, SLICE("example.test"), RESOLVER_MX, on_answer, &a);
	resolver_ask(resolver, SLICE("example.test"), RESOLVER_MX, on_answer, &b);
	resolver_cancel(query);
	harness_run_until(loop, is_answered, &b);
	assert_int_equal(a.answers, 0);
	resolver_ask(resolver, SLICE("slow.test"), RESOLVER_A, on_answer, &c);
	harness_run_for(loop, 5);
	resolver_free(&resolver);
	harness_run_for(loop, 150);
	assert_int_equal(c.answers, 0);
	loop_free(&loop);
}

/* ---- record data ---- */

static void
test_record_data(void **state)
{
	(void)state;
	static const struct {
		enum resolver_type type;
		struct slice rdata;
		bool good;
	} cases[] = {
	    {RESOLVER_A,    SLICE("\1\2\3\4"),           true },
	    {RESOLVER_A,    SLICE("\1\2\3"),             false},
	    {RESOLVER_A,    SLICE(""),                   false},
	    {RESOLVER_AAAA, SLICE("0123456789abcdef"),   true },
	    {RESOLVER_AAAA, SLICE("0123456789abcdefg"),  false},
	    {RESOLVER_MX,   SLICE("\0\12\2mx\4test\0"),  true },
	    {RESOLVER_MX,   SLICE("\0\12\0"),            true },
	    {RESOLVER_MX,   SLICE("\0\12\2mx\4tes"),     false},
	    {RESOLVER_MX,   SLICE("\0\12\2mx\4test"),    false},
	    {RESOLVER_MX,   SLICE("\0\12\2mx\4test\0x"), false},
	    {RESOLVER_MX,   SLICE("\0\12\xc0\0"),        false},
	    {RESOLVER_MX,   SLICE("\0\12\3a.b\0"),       false},
	    {RESOLVER_MX,   SLICE("\0\12\3a\0b\0"),      false},
	    {RESOLVER_MX,   SLICE("\0\12"),              false},
	    {RESOLVER_MX,   SLICE("\0"),                 false},
	    {RESOLVER_MX,   SLICE(""),                   false},
	    {RESOLVER_PTR,  SLICE("\4host\0"),           true },
	    {RESOLVER_PTR,  SLICE(""),                   false},
	    {RESOLVER_TXT,  SLICE("\3abc\2de"),          true },
	    {RESOLVER_TXT,  SLICE("\0"),                 true },
	    {RESOLVER_TXT,  SLICE("\4abc"),              false},
	    {RESOLVER_TXT,  SLICE(""),                   false},
	    {RESOLVER_TLSA, SLICE("\3\1\1h"),            true },
	    {RESOLVER_TLSA, SLICE("\3\1\1"),             false},
	    {RESOLVER_TLSA, SLICE("\3"),                 false},
	};
	struct arena *arena = arena_new(1 << 20);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct resolver_record record;
		/* An exact copy, so that reading past it is seen. */
		char *copy = malloc(cases[i].rdata.len ? cases[i].rdata.len : 1);
		memcpy(copy, cases[i].rdata.ptr, cases[i].rdata.len);
		assert_int_equal(
		    resolver_record_from_wire(cases[i].type,
			slice_make(copy, cases[i].rdata.len), arena, &record),
		    cases[i].good);
		free(copy);
	}
	arena_free(&arena);
}

/* ---- libunbound against a server here ---- */

struct server {
	int fd;
	uint16_t port;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint asked;
};

/* Answers by the first letter of the name: m: two MX, t: TXT in two strings, x: NXDOMAIN,
 * f: SERVFAIL, n: no data, s: silence. */
static size_t
make_reply(unsigned char *packet, size_t len)
{
	static const unsigned char mx[] = {0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 9, 0,
	    20, 4, 'M', 'x', '2', 'A', 0xc0, 12, 0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 8,
	    0, 10, 3, 'm', 'x', '1', 0xc0, 12};
	static const unsigned char txt[] = {
	    0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 5, 1, 'a', 2, 'b', 'c'};
	size_t question = 12;
	while (question < len && packet[question] != 0)
		question += packet[question] + 1u;
	question += 5;
	if (question > len)
		return 0;
	int kind = packet[13] | 0x20;
	packet[2] = 0x84; /* reply, authoritative */
	packet[3] = (unsigned char)(kind == 'x' ? 3 : kind == 'f' ? 2 : 0);
	packet[6] = packet[7] = packet[8] = packet[9] = packet[10] = packet[11] = 0;
	if (kind == 'm') {
		packet[7] = 2;
		memcpy(packet + question, mx, sizeof(mx));
		return question + sizeof(mx);
	}
	if (kind == 't') {
		packet[7] = 1;
		memcpy(packet + question, txt, sizeof(txt));
		return question + sizeof(txt);
	}
	return kind == 's' ? 0 : question;
}

static void *
serve(void *arg)
{
	struct server *s = arg;
	while (!atomic_load(&s->stop)) {
		unsigned char packet[1024];
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		ssize_t got = recvfrom(s->fd, packet, sizeof(packet) / 2, 0,
		    (struct sockaddr *)&from, &from_len);
		if (got < 17)
			continue;
		atomic_fetch_add(&s->asked, 1);
		size_t len = make_reply(packet, (size_t)got);
		if (len > 0)
			sendto(s->fd, packet, len, 0, (struct sockaddr *)&from, from_len);
	}
	return NULL;
}

static void
server_start(struct server *s)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	struct timeval patience = {.tv_usec = 50 * 1000};
	memset(s, 0, sizeof(*s));
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
	pthread_create(&s->thread, NULL, serve, s);
}

static void
server_stop(struct server *s)
{
	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static void
test_unbound(void **state)
{
	(void)state;
	struct server server;
	char address[32];
	server_start(&server);
	snprintf(address, sizeof(address), "127.0.0.1@%u", server.port);
	const char *servers[] = {address};
	struct loop *loop = loop_new();
	struct resolver *resolver = NULL;
	assert_int_equal(
	    resolver_new(loop, servers, 1, 1500, "/nowhere", &resolver), STATUS_INVALID);
	assert_int_equal(resolver_new(loop, servers, 1, 1500, "", &resolver), STATUS_OK);
	struct asked a = ask(loop, resolver, "mail.example", RESOLVER_MX);
	assert_int_equal(a.result, RESOLVER_OK);
	assert_string_equal(a.text, "10 mx1.mail.example|;20 mx2a.mail.example|;");
	assert_false(a.secure);
	a = ask(loop, resolver, "text.example", RESOLVER_TXT);
	assert_int_equal(a.result, RESOLVER_OK);
	assert_string_equal(a.text, "0 |616263;");
	assert_int_equal(
	    ask(loop, resolver, "xnone.example", RESOLVER_A).result, RESOLVER_NO_NAME);
	assert_int_equal(
	    ask(loop, resolver, "nodata.example", RESOLVER_A).result, RESOLVER_NO_DATA);
	assert_int_equal(
	    ask(loop, resolver, "fail.example", RESOLVER_A).result, RESOLVER_FAILED);
	/* Silence: our own time-out answers. */
	a = ask(loop, resolver, "silent.example", RESOLVER_A);
	assert_int_equal(a.result, RESOLVER_FAILED);
	assert_string_equal(a.why, "the query timed out");
	/* A cancelled query and one that is dropped with the resolver say nothing. */
	struct asked b = {0}, c = {0};
	resolver_cancel(
	    resolver_ask(resolver, SLICE("m2.example"), RESOLVER_MX, on_answer, &b));
	resolver_ask(resolver, SLICE("s2.example"), RESOLVER_MX, on_answer, &c);
	harness_run_for(loop, 50);
	resolver_free(&resolver);
	harness_run_for(loop, 50);
	assert_int_equal(b.answers + c.answers, 0);
	assert_true(atomic_load(&server.asked) > 0);
	loop_free(&loop);
	server_stop(&server);
}

int
main(void)
{
	unsetenv("POSTROOM_DNS_SCRIPT");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_script),
	    cmocka_unit_test(test_script_errors),
	    cmocka_unit_test(test_cancel_and_free),
	    cmocka_unit_test(test_record_data),
	    cmocka_unit_test(test_unbound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
