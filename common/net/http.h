/*
 * One HTTPS request off the loop, by libcurl on a thread of its own: MTA-STS policies.
 * Names are resolved by the caller (http_request.address), redirects are not followed,
 * the certificate is always checked, sizes and times are bounded.  At most
 * HTTP_THREADS_MAX requests of a loop run at once, the others wait in a line.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/buf.h"
#include "net/loop.h"

enum {
	HTTP_THREADS_MAX = 8,
	HTTP_WAITING_MAX = 1000, /* requests in the line; more fail at once */
};

struct http_request {
	const char *url;     /* "https://host/path" */
	const char *address; /* numeric, of the URL's host; the port is the URL's */
	const char *ca_file; /* null or empty: the system's authorities */
	size_t size_max;     /* bytes of the answer's body */
	uint64_t timeout_ms; /* for everything */
};

struct http_answer {
	int code; /* 200; 0 when there was no whole answer */
	struct slice body;
	const char *type;  /* Content-Type, "" when there was none */
	const char *error; /* why code is 0 */
};

/* The answer is valid during the call only. */
typedef void (*http_fn)(const struct http_answer *answer, void *arg);

struct http_pool;
struct http_pool *http_pool_new(struct loop *loop);
/* Copies the request.  The answer comes on the loop, exactly once, in a later turn. */
void http_get(
    struct http_pool *pool, const struct http_request *request, http_fn fn, void *arg);

#endif
