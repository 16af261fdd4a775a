/*
 * Asynchronous DNS with DNSSEC by libunbound, or a script for tests.  Answers come on the
 * loop that asked.  A resolver belongs to one loop.
 *
 * The script (environment POSTROOM_DNS_SCRIPT names the file, or resolver_new_script) has
 * one record a line: `name TYPE [SECURE|BOGUS|SERVFAIL|NXDOMAIN|TIMEOUT] [data]`, where
 * MX data is "10 host", A/AAAA an address, TXT a quoted string, TLSA "3 1 1 hex", PTR a
 * name; a name that is not listed is NXDOMAIN.  With a script in force nothing is asked
 * of the network.
 */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include "base/arena.h"
#include "base/status.h"
#include "net/loop.h"

enum resolver_type {
	RESOLVER_A = 1,
	RESOLVER_PTR = 12,
	RESOLVER_MX = 15,
	RESOLVER_TXT = 16,
	RESOLVER_AAAA = 28,
	RESOLVER_TLSA = 52,
};

enum resolver_result {
	RESOLVER_OK,
	RESOLVER_NO_NAME, /* NXDOMAIN */
	RESOLVER_NO_DATA, /* the name is there, the type is not */
	RESOLVER_BOGUS,   /* DNSSEC says that it was tampered with */
	RESOLVER_FAILED,  /* SERVFAIL, time-out: try later */
};

struct resolver_record {
	uint16_t preference; /* MX */
	struct slice
	    name; /* MX, PTR: lower case, without the last dot; "" for the root */
	struct slice data; /* A: 4 bytes, AAAA: 16, TXT: joined strings, TLSA: rdata */
};

struct resolver_answer {
	enum resolver_result result;
	bool secure; /* validated by DNSSEC */
	uint32_t ttl_s;
	struct resolver_record
	    *records; /* MX sorted by preference; at most RECORDS_MAX */
	size_t count;
	const char *why; /* one line, for BOGUS and FAILED */
};

enum { RESOLVER_RECORDS_MAX = 100, RESOLVER_RDATA_MAX = 4096 };

struct resolver;
/* The answer is valid during the call only. */
typedef void (*resolver_fn)(const struct resolver_answer *answer, void *arg);

/* `servers`: null for the system's (/etc/resolv.conf), else addresses.  `anchors`: a file
 * of DS or DNSKEY records that signatures are traced to; "" for the root's, as the system
 * has it.  STATUS_INVALID if a server or the file cannot be used. */
enum status resolver_new(struct loop *loop, const char *const *servers,
    size_t server_count, uint64_t timeout_ms, const char *anchors,
    struct resolver **out) MUST_USE;
enum status resolver_new_script(
    struct loop *loop, const char *path, struct resolver **out, char **error) MUST_USE;
/* Outstanding queries are dropped without an answer. */
void resolver_free(struct resolver **resolver);

struct resolver_query;
/* Asks; the handle is valid until the answer or resolver_cancel.  `name` without a final
 * dot, at most 253 octets, A-labels. */
struct resolver_query *resolver_ask(struct resolver *resolver, struct slice name,
    enum resolver_type type, resolver_fn fn, void *arg);
void resolver_cancel(struct resolver_query *query);

#endif
