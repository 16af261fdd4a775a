/*
 * Where outgoing connections come from: a pool is a few addresses of this machine, each
 * with the name that EHLO says from there and a weight:
 *
 *   192.0.2.1=out1.example.net 192.0.2.2=out2.example.net*3 2001:db8::1
 *
 * A new address is warmed up: providers trust an address that they do not know the more,
 * the slower its mail grows.  From its first day on relay_warmup_limit is all it sends a
 * day; the rest goes by other addresses of the pool, or waits.  Pure, but for the
 * look-up.
 */
#ifndef SERVICE_RELAY_POOL_H
#define SERVICE_RELAY_POOL_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "service/relay_rate.h"

enum {
	RELAY_POOL_SOURCES_MAX = 64,
	RELAY_POOL_NAME_MAX = 64,     /* bytes */
	RELAY_POOL_EHLO_MAX = 253,    /* bytes */
	RELAY_POOL_WEIGHT_MAX = 1000, /* 1 when none is given */
};

/* The pool of mail by MX that has none of its own, when there is one. */
#define RELAY_POOL_DEFAULT "default"

struct relay_source {
	struct sockaddr_storage address;
	socklen_t len;
	char text[INET6_ADDRSTRLEN];
	char ehlo[RELAY_POOL_EHLO_MAX + 1]; /* empty: the server's name */
	uint32_t weight;
};

struct relay_pool {
	struct relay_source sources[RELAY_POOL_SOURCES_MAX];
	size_t count;
};

/* Letters, digits, "-", "_" and "."; no address. */
bool relay_pool_name_is_good(struct slice name);
/* One member; false: *out_why says what is wrong. */
bool relay_source_parse(
    struct slice text, struct relay_source *out, const char **out_why);
/* All of them, at least one, none twice. */
bool relay_pool_parse(struct slice text, struct relay_pool *out, const char **out_why);
/* What `source` of a rule or a tenant says: the name of a pool, or an address with `ehlo`
 * as its name.  NOT_FOUND: there is no such pool. */
enum status relay_pool_find(struct store_reader *reader, struct slice source,
    struct slice ehlo, struct relay_pool *out) MUST_USE;

#endif
