/*
 * What the certificates of a TLS connection say: the server's as a channel binding, the
 * client's as a list of mail addresses.
 *
 * Nothing of a certificate that was not verified is ever told; an address with a control
 * octet in it (CVE-2009-2408 and its family: a NUL inside the name) is left out.
 *
 * Thread: the loop's.  RFC 5929 section 4, RFC 5280 section 4.2.1.6, RFC 8398.
 */
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "net/conn_int.h"

enum { ADDRESS_BYTES_MAX = 320 };

size_t
conn_server_end_point(struct conn *c, unsigned char out[CONN_END_POINT_MAX])
{
	int digest = NID_undef;
	unsigned len = 0;

	if (!conn_is_secure(c))
		return 0;
	X509 *certificate = SSL_is_server(c->tls->ssl)
	                        ? SSL_get_certificate(c->tls->ssl)
	                        : SSL_get0_peer_certificate(c->tls->ssl);
	/* The signature's hash, but SHA-256 for the two that are broken; a signature
	 * without a hash of its own (Ed25519) leaves the binding undefined. */
	if (!certificate ||
	    OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest, NULL) != 1)
		return 0;
	if (digest == NID_md5 || digest == NID_sha1)
		digest = NID_sha256;
	const EVP_MD *md = EVP_get_digestbynid(digest);
	if (!md || EVP_MD_get_size(md) > CONN_END_POINT_MAX ||
	    X509_digest(certificate, md, out, &len) != 1)
		return 0;
	return len;
}

struct addresses {
	struct buf *out;
	unsigned count;
};

static void
address_add(struct addresses *a, const ASN1_STRING *text)
{
	struct slice s = slice_make(
	    (const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));

	if (s.len == 0 || s.len > ADDRESS_BYTES_MAX || slice_index(s, '@') == SIZE_MAX ||
	    a->count == CONN_CLIENT_ADDRESSES_MAX)
		return;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
			return;
	if (a->count++ > 0)
		buf_append_byte(a->out, '\n');
	buf_append(a->out, s);
}

/* id-on-SmtpUTF8Mailbox */
static bool
is_utf8_mailbox(const OTHERNAME *name)
{
	char oid[32];

	return OBJ_obj2txt(oid, sizeof(oid), name->type_id, 1) > 0 &&
	       strcmp(oid, "1.3.6.1.5.5.7.8.9") == 0 &&
	       name->value->type == V_ASN1_UTF8STRING;
}

static void
alternative_names(const X509 *certificate, struct addresses *a)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type == GEN_EMAIL)
			address_add(a, name->d.rfc822Name);
		else if (name->type == GEN_OTHERNAME &&
			 is_utf8_mailbox(name->d.otherName))
			address_add(a, name->d.otherName->value->value.utf8string);
	}
	GENERAL_NAMES_free(names);
}

static void
subject_names(const X509 *certificate, struct addresses *a)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);

	for (int at = -1;
	     (at = X509_NAME_get_index_by_NID(subject, NID_pkcs9_emailAddress, at)) >= 0;)
		address_add(
		    a, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

void
conn_client_addresses(struct conn *c, struct buf *out)
{
	struct addresses a = {.out = out};

	if (!conn_is_secure(c) || !SSL_is_server(c->tls->ssl))
		return;
	const X509 *certificate = SSL_get0_peer_certificate(c->tls->ssl);
	if (!certificate || SSL_get_verify_mode(c->tls->ssl) == SSL_VERIFY_NONE ||
	    SSL_get_verify_result(c->tls->ssl) != X509_V_OK)
		return;
	alternative_names(certificate, &a);
	if (a.count == 0)
		subject_names(certificate, &a);
}
