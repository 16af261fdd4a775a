/*
 * Lists of networks: IPv4 and IPv6, whole and odd prefixes, none.
 */
#include "net/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static bool
trusted(const char *peer, char **networks, size_t count)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, peer, &v4.sin_addr) == 1)
		return network_list_has(
		    (const struct sockaddr *)(const void *)&v4, networks, count);
	assert_int_equal(inet_pton(AF_INET6, peer, &v6.sin6_addr), 1);
	return network_list_has(
	    (const struct sockaddr *)(const void *)&v6, networks, count);
}

static void
networks(void **state)
{
	(void)state;
	char a[] = "10.1.0.0/16", b[] = "2001:db8::/33", c[] = "192.0.2.7/32";
	char *list[] = {a, b, c};
	assert_true(trusted("10.1.255.1", list, 3));
	assert_false(trusted("10.2.0.1", list, 3));
	assert_true(trusted("192.0.2.7", list, 3));
	assert_false(trusted("192.0.2.6", list, 3));
	assert_true(trusted("2001:db8:7fff::1", list, 3));
	assert_false(trusted("2001:db8:8000::1", list, 3));
	assert_false(trusted("::1", list, 3));
	assert_false(trusted("10.1.0.1", list, 0));
	char all4[] = "0.0.0.0/0", all6[] = "::/0";
	char *four[] = {all4}, *six[] = {all6};
	assert_true(trusted("203.0.113.1", four, 1));
	assert_false(trusted("2001:db8::1", four, 1));
	assert_true(trusted("2001:db8::1", six, 1));
	assert_false(trusted("203.0.113.1", six, 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(networks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
