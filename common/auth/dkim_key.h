/*
 * DKIM keys (RFC 6376 section 3.3, RFC 8301, RFC 8463): made, read, signed with, and the
 * TXT records that publish them.  No storage; service/dkim.h keeps them.  Pure but for
 * the randomness of new keys.  A key may be used by several threads at once.
 */
#ifndef AUTH_DKIM_KEY_H
#define AUTH_DKIM_KEY_H

#include "base/buf.h"

enum dkim_algorithm { DKIM_RSA, DKIM_ED25519 };
enum { DKIM_ALGORITHMS = 2 };

enum {
	DKIM_RSA_BITS = 2048,       /* of new keys, RFC 8301 section 3.2 */
	DKIM_RSA_BITS_LIMIT = 4096, /* bits of a key that is read */
	DKIM_SECRET_MAX = 4096,     /* octets of a secret key */
	DKIM_PUBLIC_MAX = 1024,     /* octets of base64 */
	DKIM_RECORD_MAX = 4096,     /* octets of a published record that are looked at */
	DKIM_SELECTOR_MAX = 63,     /* octets */
	DKIM_SIGNATURE_MAX = 512,   /* octets */
	DKIM_TXT_STRING_MAX = 255,  /* octets of one string, RFC 1035 section 3.3 */
};

/* "rsa", "ed25519": the record's k=. */
const char *dkim_algorithm_text(enum dkim_algorithm algorithm);
bool dkim_algorithm_parse(struct slice text, enum dkim_algorithm *out);

/* One label of letters, digits and "-" (not at the ends), in lower case; or several with
 * dots between; at most DKIM_SELECTOR_MAX octets. */
bool dkim_selector_is_valid(struct slice selector);

struct dkim_key;
/* A new key: appends the secret one (PKCS #8, DER) and the public one (base64, the
 * record's p=).  False: no memory or no randomness. */
bool dkim_key_make(
    enum dkim_algorithm algorithm, struct buf *out_secret, struct buf *out_public);
/* Reads what dkim_key_make wrote.  Null when either is damaged: it signs something and
 * checks it with the public one.  The caller frees it. */
struct dkim_key *dkim_key_read(
    enum dkim_algorithm algorithm, struct slice secret, struct slice public_text);
void dkim_key_free(struct dkim_key **key);
enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *key);
/* Appends the signature of `data`: RSASSA-PKCS1-v1_5 over SHA-256, or PureEdDSA of its
 * SHA-256 (RFC 8463 section 3).  False: OpenSSL could not. */
bool dkim_key_sign(const struct dkim_key *key, struct slice data, struct buf *out);

/* Appends the record "v=DKIM1; k=rsa; p=…". */
void dkim_record_write(
    enum dkim_algorithm algorithm, struct slice public_text, struct buf *out);
/* Appends it as a zone file has it: quoted strings of at most DKIM_TXT_STRING_MAX octets,
 * blanks between. */
void dkim_record_quote(struct slice record, struct buf *out);

enum dkim_record {
	DKIM_RECORD_MATCHES,
	DKIM_RECORD_TESTING,   /* it matches, with t=y: verifiers may ignore it */
	DKIM_RECORD_OTHER_KEY, /* p= is of another key */
	DKIM_RECORD_REVOKED,   /* p= is empty */
	DKIM_RECORD_ALGORITHM, /* k= is another */
	DKIM_RECORD_HASH,      /* h= leaves SHA-256 out */
	DKIM_RECORD_SERVICE,   /* s= leaves e-mail out */
	DKIM_RECORD_BROKEN,    /* it is no DKIM record (section 3.6.1) */
};
/* What a published record (its strings joined) says of the key. */
enum dkim_record dkim_record_look(
    struct slice record, enum dkim_algorithm algorithm, struct slice public_text);
/* For people: "it is of another key". */
const char *dkim_record_text(enum dkim_record result);

#endif
