/*
 * The TXT record that says where reports about TLS go (RFC 8460 section 3):
 * "v=TLSRPTv1; rua=mailto:tls@example.org,https://example.org/tls".  Pure, fuzzed.
 */
#ifndef TEXT_TLS_REPORT_H
#define TEXT_TLS_REPORT_H

#include "base/buf.h"

enum {
	TLS_REPORT_PLACES_MAX = 4,   /* of a record that are used */
	TLS_REPORT_PLACE_MAX = 1000, /* octets */
};

struct tls_report_place {
	bool mail;                           /* an address, else a URL */
	char text[TLS_REPORT_PLACE_MAX + 1]; /* without "mailto:", escapes resolved */
};

/* False when it is no such record or names no place of a known kind. */
bool tls_report_record_parse(struct slice txt,
    struct tls_report_place out[TLS_REPORT_PLACES_MAX], size_t *out_count);

#endif
