/*
 * DKIM signatures of messages (RFC 6376, RFC 8463): relaxed/relaxed, the whole body (no
 * l=), the fields of a fixed list.  Those that a reader sees or acts on are signed once
 * more than they are there, so that nobody can add another (section 8.15).  Pure.
 *
 * A signature is over the text as it is sent: behind every conversion, with every field
 * that is put in front.
 */
#ifndef AUTH_DKIM_SIGN_H
#define AUTH_DKIM_SIGN_H

#include "auth/dkim_canon.h"
#include "auth/dkim_key.h"

enum {
	DKIM_HASH_BYTES = 32,
	DKIM_FIELDS_MAX = 10000,           /* fields of a message that can be signed */
	DKIM_SIGNED_MAX = 2 * 1024 * 1024, /* octets of signed fields, and of h= */
	DKIM_FIELD_MAX = 64 * 1024,        /* octets of one DKIM-Signature field */
	DKIM_LINE_MAX = 76, /* octets of its lines, where that is possible */
};

/* SHA-256 of the body in its form. */
void dkim_body_hash(
    enum dkim_canon form, struct slice body, unsigned char out[DKIM_HASH_BYTES]);

/* What all signatures of a message have in common. */
struct dkim_fields {
	struct buf names;     /* the value of h= */
	struct buf canonical; /* the fields in that order */
};
/* `block`: the header block.  False (nothing to be freed): it has no From (section 5.4),
 * or more than the limits. */
bool dkim_fields_make(struct slice block, struct dkim_fields *out);
void dkim_fields_fini(struct dkim_fields *fields);

struct dkim_signer {
	const struct dkim_key *key;
	struct slice domain;   /* A-labels, lower case */
	struct slice selector; /* as dkim_selector_is_valid */
};
/* Appends a DKIM-Signature field with CRLF behind it.  expires_s: 0: none.  False
 * (nothing that is to be used was appended): OpenSSL could not, or `out` is full. */
bool dkim_sign(const struct dkim_signer *signer, const struct dkim_fields *fields,
    const unsigned char body_hash[DKIM_HASH_BYTES], int64_t now_s, int64_t expires_s,
    struct buf *out);

#endif
