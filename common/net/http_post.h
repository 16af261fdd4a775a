/*
 * One HTTP POST and its answer awaited, by libcurl: for work on a thread that may wait
 * (token introspection, webhooks, TLS reports), never on a loop.  Redirects are not
 * followed, no proxy is asked, certificates are always checked.
 */
#ifndef NET_HTTP_POST_H
#define NET_HTTP_POST_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/status.h"

struct http_post {
	const char *url;
	struct slice body;
	const char *type;           /* of the body */
	const char *const *headers; /* "Name: value" each, ends with null; or null */
	bool anywhere; /* http, and private addresses, too: the URL is the operator's */
	const atomic_bool *stop; /* null, or: true gives up within a second */
	const char *login;       /* "user:password" for HTTP Basic; null or empty: none */
	const char *ca_file;     /* null or empty: the system's authorities */
	uint64_t timeout_ms;     /* for everything */
};

/* OK: a code of 200 to 299, its body is appended to `answer` (LIMIT when it does not
 * fit).  IO: no answer, or another code (*out_code; 0 when there was none; may be null).
 * Blocks for at most timeout_ms. */
enum status http_post(
    const struct http_post *request, struct buf *answer, long *out_code) MUST_USE;

#endif
