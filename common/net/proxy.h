/*
 * The header of the PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt,
 * 2020): what a load balancer says in front of a connection about who is behind it. Pure;
 * who may say it is the caller's matter.
 */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include <sys/socket.h>

#include "base/slice.h"

enum {
	PROXY_V1_MAX = 107,      /* octets with CR LF, section 2.1 */
	PROXY_HEADER_MAX = 2048, /* octets; of version 2 with its TLVs */
};

enum proxy_result {
	PROXY_MORE, /* it has not come whole */
	PROXY_DONE,
	PROXY_BAD,
};

struct proxy_header {
	/* AF_INET or AF_INET6: the client.  AF_UNSPEC: the connection stands for itself
	 * (LOCAL, UNKNOWN, a Unix socket). */
	struct sockaddr_storage client;
};

/* The header at the front of `bytes`; with DONE *out_used octets are its.  Not MORE any
 * longer once PROXY_HEADER_MAX octets are there. */
enum proxy_result proxy_parse(
    struct slice bytes, struct proxy_header *out, size_t *out_used);

#endif
