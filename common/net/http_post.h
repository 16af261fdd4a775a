/*
 * One HTTP form posted and its answer awaited, by libcurl: for work on the process's
 * thread pool (token introspection), never on a loop.  https, or http to this machine.
 * Redirects are not followed, no proxy is asked, certificates are always checked.
 */
#ifndef NET_HTTP_POST_H
#define NET_HTTP_POST_H

#include "base/buf.h"
#include "base/status.h"

struct http_post {
	const char *url;
	const char *form;    /* application/x-www-form-urlencoded */
	const char *login;   /* "user:password" for HTTP Basic; null or empty: none */
	const char *ca_file; /* null or empty: the system's authorities */
	uint64_t timeout_ms; /* for everything */
};

/* OK: code 200, the body is appended to `answer` (LIMIT when it does not fit).  IO: no
 * answer, or another code.  Blocks for at most timeout_ms. */
enum status http_post(const struct http_post *request, struct buf *answer) MUST_USE;

#endif
