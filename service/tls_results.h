/*
 * Results of TLS with a domain's hosts, as RFC 8460 section 4 reports them: an array of
 * policies with their counts and failures, one array for a domain and a period.  It lies
 * in the store as it is reported (RELAY_NOTE_TLSRPT), so the relay, which counts and
 * sends, and `postroom relay tls --report` see the same.  Pure.
 */
#ifndef SERVICE_TLS_RESULTS_H
#define SERVICE_TLS_RESULTS_H

#include <jansson.h>

#include "base/buf.h"

enum {
	TLS_RESULTS_POLICIES_MAX = 4, /* of a domain in a period */
	TLS_RESULTS_DETAILS_MAX = 20, /* kinds of failure told of a policy */
	TLS_RESULTS_STRINGS_MAX = 20, /* of a policy */
	TLS_RESULTS_NAME_MAX = 300,   /* bytes of a note's name */
};

struct tls_result {
	const char *type; /* "tlsa", "sts", "no-policy-found" */
	const char *domain;
	const char *failure;   /* "certificate-expired", …; null: a success */
	const char *mx;        /* the host; null when it did not come so far */
	const char *from, *to; /* addresses, or null */
	const char *reason;    /* one line, or null */
};

/* Counts one session.  `strings` of the policy (may be null) are copied when it is new.
 */
void tls_results_add(json_t *policies, const struct tls_result *result,
    const json_t *strings, const json_t *hosts);
/* Adds all of `from`. */
void tls_results_merge(json_t *into, const json_t *from);
/* Appends it as text of at most `size` bytes: failures that do not fit are left out, the
 * counts stay.  False: not even they fit. */
bool tls_results_write(json_t *policies, size_t size, struct buf *out);

/* "0000001795478400:example.org": the period's start, seconds, and the domain. */
void tls_results_name(
    int64_t start_s, const char *domain, char out[TLS_RESULTS_NAME_MAX]);
bool tls_results_name_parse(
    struct slice name, int64_t *out_start_s, struct slice *out_domain);

/* The report (RFC 8460 section 4.4); a new reference. */
json_t *tls_results_report(const char *organisation, const char *contact, const char *id,
    int64_t start_s, int64_t end_s, const json_t *policies);

#endif
