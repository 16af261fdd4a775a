/*
 * TLS on a connection: OpenSSL works directly on the socket, so there is no copy through
 * memory BIOs.  It reads ahead by at most one buffer (about a record), so the socket can
 * be empty while input waits: conn_has_buffered knows, and the next turn reads on.
 *
 * Invariants
 *  1. The handshake begins only when all clear output has been sent, and from the moment
 *     it was asked for no clear byte is read or kept (STARTTLS injection, CVE-2011-0411).
 *  2. After a fatal error OpenSSL is not called again, not even for close_notify.
 *  3. A peer that ends TCP without close_notify has simply gone: lengths and end marks
 *     inside the mail protocols tell a cut message from a whole one.
 *
 * Thread: the loop's.  RFC 8446, RFC 6125, RFC 9266.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "base/ensure.h"
#include "net/conn_int.h"

enum { CHANNEL_BINDING_SIZE = 32 };

bool
conn_tls_starting(const struct conn *c)
{
	return c->tls &&
	       (c->tls->phase == CONN_TLS_WAITS || c->tls->phase == CONN_TLS_HANDSHAKE);
}

bool
conn_is_secure(const struct conn *c)
{
	return c->tls && !conn_tls_starting(c);
}

long
conn_verify_code(const struct conn *c)
{
	if (!c->tls || !c->tls->ssl || SSL_is_server(c->tls->ssl) ||
	    SSL_get_verify_mode(c->tls->ssl) == SSL_VERIFY_NONE)
		return X509_V_OK;
	return SSL_get_verify_result(c->tls->ssl);
}

static void
fail_tls(struct conn *c, const char *what, int saved_errno)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	long verify = conn_verify_code(c);
	if (verify != X509_V_OK)
		reason = X509_verify_cert_error_string(verify);
	if (!reason)
		reason = saved_errno ? strerror(saved_errno) : "closed by peer";
	c->tls->phase = CONN_TLS_BROKEN;
	conn_fail(c, what, reason);
	ERR_clear_error();
}

static bool
is_sudden_eof(int error, int saved_errno)
{
	if (error == SSL_ERROR_SYSCALL)
		return ERR_peek_error() == 0 && saved_errno == 0;
	return error == SSL_ERROR_SSL &&
	       ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

/* ---- handshake ---- */

static void
start_tls_with(struct conn *c, struct tls_context *context, SSL *ssl)
{
	ENSURE(c->magic == CONN_MAGIC && c->fn);
	ENSURE(!c->tls && !c->deflate);
	loop_check_thread(c->loop);
	conn_discard_input(c);
	struct conn_tls *tls = xcalloc(1, sizeof(*tls));
	tls->context = tls_context_ref(context);
	tls->ssl = ssl;
	ENSURE(tls->ssl && SSL_set_fd(tls->ssl, c->fd) == 1);
	tls->phase = CONN_TLS_WAITS;
	c->tls = tls;
	conn_schedule_flush(c);
}

static void
start_tls(struct conn *c, struct tls_context *context)
{
	start_tls_with(c, context, SSL_new(tls_context_ssl(context)));
}

void
conn_start_tls_server(struct conn *c, struct tls_context *context)
{
	start_tls(c, context);
	SSL_set_accept_state(c->tls->ssl);
}

void
conn_start_tls_client(
    struct conn *c, struct tls_context *context, const char *name, bool verify)
{
	start_tls(c, context);
	SSL *ssl = c->tls->ssl;
	SSL_set_connect_state(ssl);
	c->tls->handshake_writes = true;
	unsigned char address[sizeof(struct in6_addr)];
	bool is_address = inet_pton(AF_INET, name, address) == 1 ||
	                  inet_pton(AF_INET6, name, address) == 1;
	/* SNI carries names only (RFC 6066 section 3). */
	if (!is_address && name[0] != '\0')
		SSL_set_tlsext_host_name(ssl, name);
	if (!verify)
		return;
	ENSURE(name[0] != '\0');
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	ENSURE(is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1
			  : SSL_set1_host(ssl, name) == 1);
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
}

/* Whether OpenSSL took it. */
static bool
add_tlsa(SSL *ssl, struct slice rdata)
{
	const unsigned char *p = (const unsigned char *)rdata.ptr;
	if (!tls_tlsa_is_usable(rdata))
		return false;
	bool taken = SSL_dane_tlsa_add(
			 ssl, p[0], p[1], p[2], p + TLSA_DATA, rdata.len - TLSA_DATA) > 0;
	ERR_clear_error();
	return taken;
}

bool
conn_start_tls_dane(struct conn *c, struct tls_context *context, const char *const *names,
    size_t name_count, const struct slice *tlsa, size_t tlsa_count)
{
	ENSURE(name_count > 0);
	SSL *ssl = SSL_new(tls_context_ssl(context));
	ENSURE(ssl && SSL_dane_enable(ssl, names[0]) == 1);
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	size_t usable = 0;
	for (size_t i = 0; i < tlsa_count; i++)
		usable += add_tlsa(ssl, tlsa[i]);
	for (size_t i = 1; i < name_count; i++)
		ENSURE(SSL_add1_host(ssl, names[i]) == 1);
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	if (usable == 0) {
		SSL_free(ssl);
		return false;
	}
	start_tls_with(c, context, ssl);
	SSL_set_connect_state(ssl);
	c->tls->handshake_writes = true;
	return true;
}

void
conn_tls_step(struct conn *c)
{
	struct conn_tls *tls = c->tls;
	ERR_clear_error();
	errno = 0;
	int result = SSL_do_handshake(tls->ssl);
	int saved_errno = errno;
	if (result == 1) {
		tls->phase = CONN_TLS_ON;
		snprintf(tls->text, sizeof(tls->text), "%s %s", SSL_get_version(tls->ssl),
		    SSL_get_cipher_name(tls->ssl));
		conn_output_secured(c);
		/* What came right behind the handshake may be in OpenSSL already. */
		if (conn_emit(c, CONN_SECURED) && c->state == CONN_STATE_OPEN &&
		    conn_has_buffered(c))
			conn_read_again(c);
		return;
	}
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		tls->handshake_writes = false;
		break;
	case SSL_ERROR_WANT_WRITE:
		tls->handshake_writes = true;
		break;
	default:
		fail_tls(c, "TLS handshake", saved_errno);
		break;
	}
}

/* ---- data ---- */

enum conn_io
conn_tls_read(struct conn *c, char *to, size_t size, size_t *out_count)
{
	struct conn_tls *tls = c->tls;
	ENSURE(!conn_tls_starting(c));
	if (tls->phase == CONN_TLS_BROKEN)
		return CONN_IO_FAILED;
	tls->read_wants_write = false;
	tls->read_blocked = false;
	ERR_clear_error();
	errno = 0;
	int result = SSL_read_ex(tls->ssl, to, size, out_count);
	int saved_errno = errno;
	if (result == 1)
		return CONN_IO_DONE;
	int error = SSL_get_error(tls->ssl, result);
	switch (error) {
	case SSL_ERROR_WANT_READ:
		tls->read_blocked = true;
		return CONN_IO_BLOCKED;
	case SSL_ERROR_WANT_WRITE:
		tls->read_blocked = true;
		tls->read_wants_write = true;
		return CONN_IO_BLOCKED;
	case SSL_ERROR_ZERO_RETURN:
		return CONN_IO_EOF;
	default:
		if (is_sudden_eof(error, saved_errno)) {
			tls->phase = CONN_TLS_BROKEN;
			ERR_clear_error();
			return CONN_IO_EOF;
		}
		fail_tls(c, "cannot receive by TLS", saved_errno);
		return CONN_IO_FAILED;
	}
}

enum conn_io
conn_tls_write(struct conn *c, const char *from, size_t size, size_t *out_count)
{
	struct conn_tls *tls = c->tls;
	if (tls->phase == CONN_TLS_BROKEN)
		return CONN_IO_FAILED;
	tls->write_wants_read = false;
	ERR_clear_error();
	errno = 0;
	int result = SSL_write_ex(tls->ssl, from, size, out_count);
	int saved_errno = errno;
	if (result == 1)
		return CONN_IO_DONE;
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_WRITE:
		return CONN_IO_BLOCKED;
	case SSL_ERROR_WANT_READ:
		tls->write_wants_read = true;
		return CONN_IO_BLOCKED;
	default:
		fail_tls(c, "cannot send by TLS", saved_errno);
		return CONN_IO_FAILED;
	}
}

/* close_notify, one way; best effort, since the socket may be full or gone. */
void
conn_tls_shutdown(struct conn *c)
{
	if (!c->tls || c->tls->phase != CONN_TLS_ON)
		return;
	ERR_clear_error();
	SSL_shutdown(c->tls->ssl);
	ERR_clear_error();
	c->tls->phase = CONN_TLS_BROKEN;
}

void
conn_tls_fini(struct conn *c)
{
	if (!c->tls)
		return;
	SSL_free(c->tls->ssl);
	tls_context_unref(&c->tls->context);
	free(c->tls);
	c->tls = NULL;
}

/* ---- views ---- */

struct slice
conn_tls_text(const struct conn *c)
{
	return conn_is_secure(c) ? slice_from_cstr(c->tls->text) : SLICE("");
}

bool
conn_channel_binding(struct conn *c, unsigned char out[CHANNEL_BINDING_SIZE])
{
	static const char label[] = "EXPORTER-Channel-Binding";
	if (!c->tls || c->tls->phase != CONN_TLS_ON)
		return false;
	/* Before TLS 1.3 the exporter binds only with the extended master secret
	 * (RFC 9266 section 4.2). */
	if (SSL_version(c->tls->ssl) < TLS1_3_VERSION &&
	    SSL_get_extms_support(c->tls->ssl) != 1)
		return false;
	return SSL_export_keying_material(c->tls->ssl, out, CHANNEL_BINDING_SIZE, label,
		   sizeof(label) - 1, NULL, 0, 0) == 1;
}
