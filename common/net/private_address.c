/*
 * Private addresses; see private_address.h.  Pure.
 */
#include "net/private_address.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

static bool
ipv4_is_private(const void *bytes)
{
	uint32_t ip;
	memcpy(&ip, bytes, sizeof(ip));
	ip = ntohl(ip);
	return ip >> 24 == 0 || ip >> 24 == 10 || ip >> 24 == 127 || ip >> 20 == 0xac1 ||
	       ip >> 16 == 0xc0a8 || ip >> 16 == 0xa9fe || ip >> 22 == 0x191 ||
	       ip >> 28 >= 0xe;
}

bool
address_is_private(const struct sockaddr *address)
{
	/* Copied out: a struct sockaddr_in that is read as another type is read wrongly
	 * by an optimising compiler. */
	if (address->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof(in));
		return ipv4_is_private(&in.sin_addr);
	}
	struct sockaddr_in6 in6;
	memcpy(&in6, address, sizeof(in6));
	const unsigned char *b = in6.sin6_addr.s6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
		return ipv4_is_private(b + 12);
	return IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr) ||
	       IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) || b[0] == 0xff ||
	       (b[0] == 0xfe && (b[1] & 0x80) == 0x80) || (b[0] & 0xfe) == 0xfc;
}
