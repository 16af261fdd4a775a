/*
 * TLS contexts over OpenSSL's SSL_CTX.
 *
 * Invariants
 *  1. A context is immutable once made; only its reference count changes.
 *  2. Every server context has its own ticket keys and session id context, so a session
 *     of one listener or of an older certificate is not resumed on another (Postfix
 *     20260805).  There is no server-side session cache: tickets only.
 *  3. No renegotiation, no compression; TLS 1.2 is the oldest version there is.
 *
 * Thread: any.
 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "base/ids.h"

enum {
	TLS_MAGIC = 0x715c0de1,
	TLS_TICKETS = 1, /* sent after a TLS 1.3 handshake */
	TLS_SESSION_ID_SIZE = 16,
};

static const char TLS_CIPHERS_1_2[] =
    "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:"
    "ECDHE+AES:!aNULL:!eNULL:!aDSS:!MD5:!3DES";
static const char TLS_GROUPS[] = "X25519:P-256:P-384:P-521";

struct tls_context {
	unsigned magic;
	atomic_uint refs;
	SSL_CTX *ssl;
};

/* One line from OpenSSL's error queue, which is emptied. */
static void
set_error(char **error, const char *what, const char *path)
{
	char reason[160];
	unsigned long code = ERR_peek_error();
	const char *text = code ? ERR_reason_error_string(code) : NULL;
	if (ERR_SYSTEM_ERROR(code))
		text = strerror(ERR_GET_REASON(code));
	snprintf(reason, sizeof(reason), "%s", text ? text : "unknown error");
	ERR_clear_error();
	if (asprintf(error, "%s %s: %s", what, path, reason) < 0)
		*error = NULL;
}

static SSL_CTX *
new_ssl(const SSL_METHOD *method, int min_version)
{
	SSL_CTX *ssl = SSL_CTX_new(method);
	ENSURE(ssl);
	ENSURE(SSL_CTX_set_min_proto_version(ssl, min_version) == 1);
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* One receive for a record instead of two; conn asks SSL_has_pending. */
	SSL_CTX_set_read_ahead(ssl, 1);
	return ssl;
}

static struct tls_context *
wrap(SSL_CTX *ssl)
{
	struct tls_context *tls = xcalloc(1, sizeof(*tls));
	tls->magic = TLS_MAGIC;
	atomic_init(&tls->refs, 1);
	tls->ssl = ssl;
	return tls;
}

/* A key with a passphrase would make OpenSSL ask on the terminal. */
static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out, (void)size, (void)writing, (void)arg;
	return 0;
}

static enum status
load_certificate(
    SSL_CTX *ssl, const char *certificate, const char *private_key, char **error)
{
	SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(ssl, certificate) != 1) {
		set_error(error, "cannot load certificate", certificate);
		return STATUS_INVALID;
	}
	if (SSL_CTX_use_PrivateKey_file(ssl, private_key, SSL_FILETYPE_PEM) != 1) {
		set_error(error, "cannot load private key", private_key);
		return STATUS_INVALID;
	}
	if (SSL_CTX_check_private_key(ssl) != 1) {
		set_error(
		    error, "certificate and private key do not match:", private_key);
		return STATUS_INVALID;
	}
	return STATUS_OK;
}

enum status
tls_context_server(const char *certificate, const char *private_key,
    const char *min_version, struct tls_context **out, char **error)
{
	int version;
	if (!min_version || strcmp(min_version, "1.2") == 0) {
		version = TLS1_2_VERSION;
	} else if (strcmp(min_version, "1.3") == 0) {
		version = TLS1_3_VERSION;
	} else {
		if (asprintf(error, "unknown TLS version \"%s\": say 1.2 or 1.3",
			min_version) < 0)
			*error = NULL;
		return STATUS_INVALID;
	}
	ERR_clear_error();
	SSL_CTX *ssl = new_ssl(TLS_server_method(), version);
	enum status status = load_certificate(ssl, certificate, private_key, error);
	if (status != STATUS_OK) {
		SSL_CTX_free(ssl);
		return status;
	}
	ENSURE(SSL_CTX_set_cipher_list(ssl, TLS_CIPHERS_1_2) == 1);
	ENSURE(SSL_CTX_set1_groups_list(ssl, TLS_GROUPS) == 1);
	SSL_CTX_set_dh_auto(ssl, 1);
	SSL_CTX_set_options(
	    ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	unsigned char id[TLS_SESSION_ID_SIZE];
	random_bytes(id, sizeof(id));
	ENSURE(SSL_CTX_set_session_id_context(ssl, id, sizeof(id)) == 1);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ssl, TLS_TICKETS);
	*out = wrap(ssl);
	return STATUS_OK;
}

/* A certificate that cannot be verified is kept with its fault as the connection's verify
 * result; the handshake goes on, as if the client had none. */
static int
judge_client(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	if (X509_verify_cert(store) != 1 && X509_STORE_CTX_get_error(store) == X509_V_OK)
		X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
	return 1;
}

enum status
tls_context_ask_clients(struct tls_context *tls, const char *ca_file, char **error)
{
	ENSURE(tls->magic == TLS_MAGIC);
	ERR_clear_error();
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca_file);
	if (!names || SSL_CTX_load_verify_file(tls->ssl, ca_file) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		set_error(error, "cannot load authorities of clients", ca_file);
		return STATUS_INVALID;
	}
	SSL_CTX_set_client_CA_list(tls->ssl, names);
	SSL_CTX_set_cert_verify_callback(tls->ssl, judge_client, NULL);
	SSL_CTX_set_verify(tls->ssl, SSL_VERIFY_PEER, NULL);
	return STATUS_OK;
}

enum status
tls_context_client(const char *ca_file, struct tls_context **out, char **error)
{
	ERR_clear_error();
	SSL_CTX *ssl = new_ssl(TLS_client_method(), TLS1_2_VERSION);
	if (ca_file ? SSL_CTX_load_verify_file(ssl, ca_file) != 1
		    : SSL_CTX_set_default_verify_paths(ssl) != 1) {
		set_error(error, "cannot load trusted certificates",
		    ca_file ? ca_file : "of the system");
		SSL_CTX_free(ssl);
		return STATUS_INVALID;
	}
	/* Checked per connection: opportunistic TLS takes any certificate. */
	SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	ENSURE(SSL_CTX_dane_enable(ssl) == 1);
	*out = wrap(ssl);
	return STATUS_OK;
}

struct tls_context *
tls_context_ref(struct tls_context *tls)
{
	ENSURE(tls->magic == TLS_MAGIC);
	atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
	return tls;
}

void
tls_context_unref(struct tls_context **tls_ptr)
{
	struct tls_context *tls = *tls_ptr;
	if (!tls)
		return;
	*tls_ptr = NULL;
	ENSURE(tls->magic == TLS_MAGIC);
	if (atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) != 1)
		return;
	SSL_CTX_free(tls->ssl);
	tls->magic = 0;
	free(tls);
}

bool
tls_tlsa_is_usable(struct slice rdata)
{
	static const size_t lengths[] = {0, 32, 64}; /* by matching type; 0: any */
	const unsigned char *p = (const unsigned char *)rdata.ptr;
	if (rdata.len < TLSA_DATA + 1 ||
	    (p[0] != TLSA_USAGE_TA && p[0] != TLSA_USAGE_EE) ||
	    p[1] > TLSA_SELECTOR_MAX || p[2] >= sizeof(lengths) / sizeof(lengths[0]))
		return false;
	return lengths[p[2]] == 0 || rdata.len - TLSA_DATA == lengths[p[2]];
}

struct ssl_ctx_st *
tls_context_ssl(struct tls_context *tls)
{
	ENSURE(tls->magic == TLS_MAGIC);
	return tls->ssl;
}
