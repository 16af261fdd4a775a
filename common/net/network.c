/*
 * Lists of networks; see network.h.
 */
#include "net/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/slice.h"

static bool
prefix_matches(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	unsigned bytes = bits / 8;
	if (memcmp(a, b, bytes) != 0)
		return false;
	if (bits % 8 == 0)
		return true;
	unsigned mask = 0xffu << (8 - bits % 8) & 0xffu;
	return (a[bytes] & mask) == (b[bytes] & mask);
}

static bool
network_holds(const char *network, int family, const unsigned char *address)
{
	struct slice rest = slice_from_cstr(network);
	struct slice ip = slice_split(&rest, '/');
	char text[INET6_ADDRSTRLEN];
	unsigned char bytes[sizeof(struct in6_addr)];
	uint64_t bits;
	uint64_t bits_max = family == AF_INET ? 32 : 128;
	return slice_copy_cstr(ip, text, sizeof(text)) &&
	       inet_pton(family, text, bytes) == 1 &&
	       slice_to_u64(rest, bits_max, &bits) &&
	       prefix_matches(address, bytes, (unsigned)bits);
}

bool
network_list_has(const struct sockaddr *peer, char *const *networks, size_t count)
{
	const unsigned char *address;
	if (peer->sa_family == AF_INET)
		address = (const unsigned char *)&(
		    (const struct sockaddr_in *)(const void *)peer)
		              ->sin_addr;
	else if (peer->sa_family == AF_INET6)
		address = (const unsigned char *)&(
		    (const struct sockaddr_in6 *)(const void *)peer)
		              ->sin6_addr;
	else
		return false;
	for (size_t i = 0; i < count; i++) {
		if (network_holds(networks[i], peer->sa_family, address))
			return true;
	}
	return false;
}
