/*
 * Targets, the pure parts: which addresses are private, address literals, the order of MX
 * records and where this server is one of them.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtpd/relay_int.h"

static void
test_private(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool private;
	} cases[] = {
	    {"0.0.0.0",          true },
	    {"10.255.0.1",       true },
	    {"100.64.0.1",       true },
	    {"100.128.0.1",      false},
	    {"127.9.9.9",        true },
	    {"169.254.1.1",      true },
	    {"172.15.0.1",       false},
	    {"172.16.0.1",       true },
	    {"172.31.255.1",     true },
	    {"172.32.0.1",       false},
	    {"192.168.0.1",      true },
	    {"192.169.0.1",      false},
	    {"224.0.0.1",        true },
	    {"255.255.255.255",  true },
	    {"8.8.8.8",          false},
	    {"::",               true },
	    {"::1",              true },
	    {"fe80::1",          true },
	    {"fec0::1",          true },
	    {"fc00::1",          true },
	    {"fd12::1",          true },
	    {"ff02::1",          true },
	    {"::ffff:127.0.0.1", true },
	    {"::ffff:8.8.8.8",   false},
	    {"2001:db8::1",      false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct relay_address a = {0};
		assert_true(relay_address_literal(cases[i].text, 25, &a));
		assert_int_equal(address_is_private((const struct sockaddr *)&a.address),
		    cases[i].private);
	}
}

static void
test_literal(void **state)
{
	(void)state;
	static const struct {
		const char *text, *host;
		int family;
	} good[] = {
	    {"192.0.2.1",          "192.0.2.1",   AF_INET },
	    {"[192.0.2.1]",        "192.0.2.1",   AF_INET },
	    {"[IPv6:2001:db8::1]", "2001:db8::1", AF_INET6},
	    {"[ipv6:2001:db8::1]", "2001:db8::1", AF_INET6},
	    {"2001:db8::1",        "2001:db8::1", AF_INET6},
	};
	static const char *const bad[] = {"", "[]", "[192.0.2.1", "192.0.2.256",
	    "host.test", "[IPv6:]", "192.0.2.1.", "[x]"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct relay_address a = {0};
		assert_true(relay_address_literal(good[i].text, 2525, &a));
		assert_int_equal(a.address.ss_family, good[i].family);
		assert_string_equal(a.host, good[i].host);
		if (a.address.ss_family == AF_INET)
			assert_int_equal(
			    ntohs(((struct sockaddr_in *)&a.address)->sin_port), 2525);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct relay_address a = {0};
		assert_false(relay_address_literal(bad[i], 25, &a));
	}
}

static uint64_t turn;

static uint64_t
last_of(void)
{
	return turn;
}

static void
test_mx_order(void **state)
{
	(void)state;
	const struct resolver_record all[] = {
	    {10, SLICE("a.test"),  SLICE_NULL},
	    {10, SLICE("b.test"),  SLICE_NULL},
	    {20, SLICE("c.test"),  SLICE_NULL},
	    {20, SLICE("us.test"), SLICE_NULL},
	    {30, SLICE("d.test"),  SLICE_NULL},
	};
	struct resolver_record r[5];
	turn = 0;
	memcpy(r, all, sizeof(all));
	assert_int_equal(relay_mx_order(r, 5, SLICE("else.test"), last_of), 5);
	assert_true(slice_equal(r[0].name, SLICE("a.test")));
	turn = 1;
	memcpy(r, all, sizeof(all));
	assert_int_equal(relay_mx_order(r, 5, SLICE("US.test"), last_of), 2);
	assert_true(slice_equal(r[0].name, SLICE("b.test")));
	assert_true(slice_equal(r[1].name, SLICE("a.test")));
	memcpy(r, all, sizeof(all));
	assert_int_equal(relay_mx_order(r, 5, SLICE("b.test"), last_of), 0);
	assert_int_equal(relay_mx_order(r, 0, SLICE("b.test"), last_of), 0);
	/* Order of preference stays whatever the dice say. */
	memcpy(r, all, sizeof(all));
	assert_int_equal(relay_mx_order(r, 5, SLICE("else.test"), last_of), 5);
	for (int i = 1; i < 5; i++)
		assert_true(r[i - 1].preference <= r[i].preference);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_private),
	    cmocka_unit_test(test_literal),
	    cmocka_unit_test(test_mx_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
