/*
 * Addresses that are nobody's on the Internet: what strangers name (in DNS, in a
 * configured URL) must not lead there unless the operator allows it.
 */
#ifndef NET_PRIVATE_ADDRESS_H
#define NET_PRIVATE_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Loopback, private, link-local, multicast, unspecified; of AF_INET or AF_INET6. */
bool address_is_private(const struct sockaddr *address);

#endif
