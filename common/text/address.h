/*
 * Addresses: RFC 5321 paths (strict, from SMTP) and RFC 5322 address lists (lenient, from
 * header fields).  Pure.
 */
#ifndef TEXT_ADDRESS_H
#define TEXT_ADDRESS_H

#include "base/arena.h"
#include "base/buf.h"

enum {
	ADDRESS_LOCAL_MAX = 64, /* octets, RFC 5321 section 4.5.3.1.1 */
	/* of one that sender rewriting made: it holds a whole address (auth/srs.h) */
	ADDRESS_LOCAL_SRS_MAX = 250,
	ADDRESS_DOMAIN_MAX = 255, /* octets, section 4.5.3.1.2 */
	ADDRESS_PATH_MAX = 254,   /* octets without <>, section 4.5.3.1.3 */
};

struct mailbox_address {
	struct slice local;  /* unquoted, escapes resolved; case kept */
	struct slice domain; /* lower case; A-labels kept; "[192.0.2.1]" for a literal */
	bool utf8;           /* bytes over 127 inside */
};

enum address_result { ADDRESS_OK, ADDRESS_BAD, ADDRESS_TOO_LONG };

/* "<a@b>" with or without source route (dropped), "<>" (local and domain empty) and
 * "<postmaster>" (domain empty) as flags allow.  On OK *out_used is the bytes read,
 * parameters follow behind.  UTF-8 only with `utf8` (RFC 6531). */
enum address_result address_parse_path(struct slice in, bool utf8, struct arena *arena,
    struct mailbox_address *out, size_t *out_used);
/* A bare addr-spec "a@b", nothing around it. */
enum address_result address_parse(
    struct slice in, bool utf8, struct arena *arena, struct mailbox_address *out);
/* local@domain, quoting the local part when it needs it. */
void address_write(const struct mailbox_address *address, struct buf *out);
/* A domain name (or with `literal` an address literal): syntax and lengths. */
bool address_domain_is_valid(struct slice domain, bool literal, bool utf8);
/* A-labels, lower case (libidn2); ASCII passes lower-cased.  False when not valid. */
bool address_domain_to_ascii(struct slice domain, struct buf *out);
bool address_domain_to_unicode(struct slice domain, struct buf *out);

/* One element of a parsed address list, as ENVELOPE wants it (RFC 9051 section 7.5.2). */
struct list_address {
	struct slice
	    name; /* display name: quotes removed, encoded-words kept as they are */
	struct slice route;   /* source route, mostly null */
	struct slice mailbox; /* local part; for a group start its name */
	struct slice
	    host; /* domain; null marks group start (mailbox set) or end (null) */
	bool group_start;
	bool group_end;
};

enum { ADDRESS_LIST_MAX = 1000 };

/* Lenient; unfolded or folded value.  At most ADDRESS_LIST_MAX elements.  Returns how
 * many; *out is in the arena. */
size_t address_list_parse(
    struct slice value, struct arena *arena, struct list_address **out);

#endif
