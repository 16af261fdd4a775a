/*
 * TLS settings: certificate, key, versions, verification.  The handshake itself is run by
 * conn.  Contexts are immutable once made and shared by all threads (reference counted),
 * so that reload swaps a pointer and old connections keep the old one.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/slice.h"
#include "base/status.h"

enum {
	TLSA_USAGE_TA = 2, /* RFC 7218 */
	TLSA_USAGE_EE = 3,
	TLSA_SELECTOR_MAX = 1,
	TLSA_DATA = 3, /* octets of usage, selector, matching type */
};

struct tls_context;
struct ssl_ctx_st;

/* A server context from PEM files.  min_version is "1.2" or "1.3".  On failure *error is
 * set to one line that names the file (caller frees). */
enum status tls_context_server(const char *certificate, const char *private_key,
    const char *min_version, struct tls_context **out, char **error) MUST_USE;
/* Before the context is shared: clients are asked for a certificate, which they need not
 * have, and which need not be good: conn_client_addresses tells only of one that the
 * authorities in `ca_file` (PEM) vouch for. */
enum status tls_context_ask_clients(
    struct tls_context *tls, const char *ca_file, char **error) MUST_USE;
/* A client context: trusts `ca_file`, or the system's store when null. */
enum status tls_context_client(
    const char *ca_file, struct tls_context **out, char **error) MUST_USE;
struct tls_context *tls_context_ref(struct tls_context *tls);
void tls_context_unref(struct tls_context **tls);
/* Can this TLSA record (rdata: usage, selector, matching type, data) be used between mail
 * servers: usage DANE-TA or DANE-EE, known numbers, data of the right length (RFC 7672
 * section 3.1)? */
bool tls_tlsa_is_usable(struct slice rdata);
struct ssl_ctx_st *tls_context_ssl(struct tls_context *tls);

/* Makes a private CA (`ca_path`, `ca_key_path`; P-256, ten years) unless both are there,
 * and a server certificate signed by it for the names and addresses given ("localhost",
 * "127.0.0.1", "::1" …), 825 days.  Keys are written 0600, nothing is half-written. */
enum status tls_make_self_signed(const char *ca_path, const char *ca_key_path,
    const char *cert_path, const char *key_path, const char *const *names,
    unsigned name_count, char **error) MUST_USE;

#endif
