/*
 * Lists of networks, as the configuration normalises them: "10.0.0.0/8",
 * "2001:db8::/32".  Pure.
 */
#ifndef NET_NETWORK_H
#define NET_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* Is the address in one of them?  False for families without networks. */
bool network_list_has(
    const struct sockaddr *address, char *const *networks, size_t count);

#endif
