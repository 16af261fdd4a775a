/*
 * TLS contexts and the self-made certificates: they verify against their CA, name what
 * they should, are kept private; tickets of one context are worth nothing at another.
 */
#include "net/tls.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "unit/net/net_harness.h"

static struct harness_ca ca;

static X509 *
read_certificate(const char *path)
{
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	assert_non_null(cert);
	return cert;
}

static void
test_certificate(void **state)
{
	(void)state;
	X509 *root = read_certificate(ca.ca), *cert = read_certificate(ca.cert);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	X509_STORE_add_cert(store, root);
	assert_int_equal(X509_STORE_CTX_init(context, store, cert, NULL), 1);
	X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER);
	X509_VERIFY_PARAM_set_flags(
	    X509_STORE_CTX_get0_param(context), X509_V_FLAG_X509_STRICT);
	if (X509_verify_cert(context) != 1)
		fail_msg("%s",
		    X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
	assert_int_equal(X509_check_host(cert, "mail.test", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(cert, "evil.test", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
	assert_int_equal(X509_check_ca(cert), 0);
	assert_int_equal(X509_check_ca(root), 1);
	int days, seconds;
	assert_int_equal(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert),
			     X509_get0_notAfter(cert)),
	    1);
	assert_int_equal(days, 825);
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	X509_free(root);
	X509_free(cert);
}

static void
test_files(void **state)
{
	(void)state;
	struct stat st;
	assert_int_equal(stat(ca.ca_key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(ca.key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(ca.cert, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(stat(ca.ca, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
}

/* A second certificate is signed by the CA that is there. */
static void
test_ca_is_kept(void **state)
{
	(void)state;
	static const char *const names[] = {"second.test"};
	char cert_path[128], key_path[128], *error = NULL;
	snprintf(cert_path, sizeof(cert_path), "%s/second.pem", ca.folder);
	snprintf(key_path, sizeof(key_path), "%s/second.key", ca.folder);
	X509 *before = read_certificate(ca.ca);
	assert_int_equal(
	    tls_make_self_signed(ca.ca, ca.ca_key, cert_path, key_path, names, 1, &error),
	    STATUS_OK);
	X509 *after = read_certificate(ca.ca), *cert = read_certificate(cert_path);
	assert_int_equal(X509_cmp(before, after), 0);
	EVP_PKEY *key = X509_get_pubkey(after);
	assert_int_equal(X509_verify(cert, key), 1);
	assert_int_equal(X509_check_host(cert, "second.test", 0, 0, NULL), 1);
	EVP_PKEY_free(key);
	X509_free(before);
	X509_free(after);
	X509_free(cert);
	unlink(cert_path);
	unlink(key_path);
}

static void
test_bad_names(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "", "a,DNS:evil.test", "a b", "a\nb", "email:x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *error = NULL;
		assert_int_equal(tls_make_self_signed(ca.ca, ca.ca_key, "/nonexistent/x",
				     "/nonexistent/y", &bad[i], 1, &error),
		    STATUS_INVALID);
		assert_non_null(error);
		free(error);
	}
	/* A good name and a folder that is not there: one line that names the file. */
	static const char *const good[] = {"good.test"};
	char *error = NULL;
	assert_int_equal(tls_make_self_signed(ca.ca, ca.ca_key, "/nonexistent/x",
			     "/nonexistent/y", good, 1, &error),
	    STATUS_IO);
	assert_non_null(strstr(error, "/nonexistent/y"));
	free(error);
}

static void
test_context_errors(void **state)
{
	(void)state;
	struct tls_context *tls = NULL;
	char *error = NULL;
	assert_int_equal(tls_context_server("/nonexistent", ca.key, "1.2", &tls, &error),
	    STATUS_INVALID);
	assert_non_null(strstr(error, "/nonexistent"));
	free(error);
	assert_int_equal(
	    tls_context_server(ca.cert, ca.cert, "1.2", &tls, &error), STATUS_INVALID);
	assert_non_null(strstr(error, ca.cert));
	free(error);
	/* The key of another certificate. */
	assert_int_equal(
	    tls_context_server(ca.cert, ca.ca_key, "1.2", &tls, &error), STATUS_INVALID);
	assert_non_null(strstr(error, ca.ca_key));
	free(error);
	assert_int_equal(
	    tls_context_server(ca.cert, ca.key, "1.1", &tls, &error), STATUS_INVALID);
	assert_non_null(strstr(error, "1.1"));
	free(error);
	assert_int_equal(
	    tls_context_client("/nonexistent", &tls, &error), STATUS_INVALID);
	assert_non_null(strstr(error, "/nonexistent"));
	free(error);
	assert_null(tls);
}

/* ---- handshakes in memory ---- */

static SSL_SESSION *last_session;

static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(last_session);
	last_session = session;
	return 1;
}

/* Runs a handshake and a byte over it; returns whether the session was resumed, or -1
 * when the handshake failed. */
static int
handshake(SSL_CTX *client_ctx, SSL_CTX *server_ctx, SSL_SESSION *session)
{
	SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
	BIO *a, *b;
	char byte;
	int resumed = -1;
	assert_int_equal(BIO_new_bio_pair(&a, 65536, &b, 65536), 1);
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	if (session)
		SSL_set_session(client, session);
	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
	}
	if (SSL_is_init_finished(client) && SSL_is_init_finished(server)) {
		assert_int_equal(SSL_write(server, "x", 1), 1);
		assert_int_equal(SSL_read(client, &byte, 1), 1);
		resumed = SSL_session_reused(client);
	}
	SSL_shutdown(client);
	SSL_shutdown(server);
	SSL_free(client);
	SSL_free(server);
	return resumed;
}

static void
test_tickets(void **state)
{
	(void)state;
	struct tls_context *other;
	char *error = NULL;
	assert_int_equal(
	    tls_context_server(ca.cert, ca.key, "1.2", &other, &error), STATUS_OK);
	static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
	for (int i = 0; i < 2; i++) {
		SSL_CTX *client = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_max_proto_version(client, versions[i]);
		SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
		SSL_CTX_sess_set_new_cb(client, on_new_session);
		last_session = NULL;
		assert_int_equal(handshake(client, tls_context_ssl(ca.server), NULL), 0);
		assert_non_null(last_session);
		/* T6: at another listener it is a full handshake; at its own a
		 * resumption. */
		SSL_SESSION *session = last_session;
		SSL_SESSION_up_ref(session);
		assert_int_equal(handshake(client, tls_context_ssl(other), session), 0);
		assert_int_equal(
		    handshake(client, tls_context_ssl(ca.server), session), 1);
		SSL_SESSION_free(session);
		SSL_SESSION_free(last_session);
		SSL_CTX_free(client);
	}
	tls_context_unref(&other);
}

static void
test_versions(void **state)
{
	(void)state;
	struct tls_context *strict;
	char *error = NULL;
	assert_int_equal(
	    tls_context_server(ca.cert, ca.key, "1.3", &strict, &error), STATUS_OK);
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
	assert_int_equal(handshake(client, tls_context_ssl(strict), NULL), -1);
	assert_int_equal(handshake(client, tls_context_ssl(ca.server), NULL), 0);
	SSL_CTX_set_security_level(client, 0);
	SSL_CTX_set_max_proto_version(client, TLS1_1_VERSION);
	assert_int_equal(handshake(client, tls_context_ssl(ca.server), NULL), -1);
	SSL_CTX_free(client);
	tls_context_unref(&strict);
}

static void
test_references(void **state)
{
	(void)state;
	struct tls_context *one = tls_context_ref(ca.server), *none = NULL;
	assert_ptr_equal(one, ca.server);
	tls_context_unref(&one);
	assert_null(one);
	tls_context_unref(&none);
	assert_non_null(tls_context_ssl(ca.server));
}

static int
set_up(void **state)
{
	(void)state;
	harness_ca_make(&ca);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	harness_ca_remove(&ca);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_certificate),
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_ca_is_kept),
	    cmocka_unit_test(test_bad_names),
	    cmocka_unit_test(test_context_errors),
	    cmocka_unit_test(test_tickets),
	    cmocka_unit_test(test_versions),
	    cmocka_unit_test(test_references),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
