/*
 * XCLIENT's attributes: what is taken, and what is refused.
 */
#include "smtpd/smtp_xclient.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool
parse(const char *text, struct arena *arena, struct smtp_xclient *out)
{
	return smtp_xclient_parse(slice_from_cstr(text), arena, out);
}

static void
good(void **state)
{
	struct arena *arena = arena_new(64 * 1024);
	struct smtp_xclient x;
	char ip[INET6_ADDRSTRLEN];
	(void)state;
	assert_true(parse("NAME=a.example ADDR=192.0.2.7 PORT=4000 PROTO=ESMTP "
			  "HELO=pc.example LOGIN=anna+40demo.test DESTADDR=10.0.0.1 "
			  "DESTPORT=25",
	    arena, &x));
	assert_true(x.has_address && !x.address_unknown && x.has_port && x.extended);
	assert_int_equal(x.port, 4000);
	assert_true(slice_equal(x.helo, SLICE("pc.example")));
	assert_true(slice_equal(x.login, SLICE("anna@demo.test")));
	const struct sockaddr_in *v4 = (const void *)&x.address;
	assert_string_equal(
	    inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip)), "192.0.2.7");
	assert_true(parse("addr=ipv6:2001:db8::7 proto=smtp", arena, &x));
	const struct sockaddr_in6 *v6 = (const void *)&x.address;
	assert_string_equal(
	    inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip)), "2001:db8::7");
	assert_true(x.has_proto && !x.extended && !x.helo.ptr && !x.login.ptr);
	assert_true(parse("ADDR=[UNAVAILABLE] HELO=[TEMPUNAVAIL] LOGIN=[unavailable] "
			  "PORT=[UNAVAILABLE]",
	    arena, &x));
	assert_true(x.has_address && x.address_unknown && !x.has_port);
	assert_true(!x.helo.ptr && !x.login.ptr);
	arena_free(&arena);
}

static void
bad(void **state)
{
	static const char *const rows[] = {"", " ", "ADDR", "ADDR=", "ADDR=192.0.2",
	    "ADDR=2001:db8::7", "ADDR=IPV6:192.0.2.7", "PORT=65536",
	    "PORT=", "PROTO=LMTP", "HELO=", "HELO=a+20b", "LOGIN=", "LOGIN=a+00b",
	    "LOGIN=a+4", "WHAT=x", "ADDR=192.0.2.7 ADDR=192.0.2.8", "=x", "NAME=x y"};
	struct arena *arena = arena_new(64 * 1024);
	struct smtp_xclient x;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (parse(rows[i], arena, &x))
			fail_msg("%s", rows[i]);
	arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good),
	    cmocka_unit_test(bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
