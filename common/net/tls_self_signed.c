/*
 * A private CA and a server certificate signed by it, for a fresh instance: P-256 keys,
 * SHA-256 signatures, the extensions that strict clients ask for (RFC 5280 sections
 * 4.2.1.1 to 4.2.1.12).
 *
 * Each file is written beside its place, synced and renamed; keys are 0600 from the
 * start.  The certificate is renamed after its key, so a pair that is found is a whole
 * one unless the process died between the two renames, which loading reports.
 *
 * Thread: any.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/ids.h"
#include "net/tls.h"

enum {
	CA_DAYS = 3650,
	SERVER_DAYS = 825, /* the longest that common clients accept */
	BACKDATE_S = 3600, /* for clocks that are behind */
	DAY_S = 86400,
	SERIAL_BYTES = 16,
	SAN_SIZE_MAX = 4096, /* bytes of the subjectAltName text */
	NAME_LEN_MAX = 253,
	COMMON_NAME_LEN_MAX = 64, /* RFC 5280 appendix A, ub-common-name */
};

static enum status
fail(char **error, const char *what, const char *path)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	if (!reason)
		reason = errno ? strerror(errno) : "unknown error";
	if (asprintf(error, "%s %s: %s", what, path, reason) < 0)
		*error = NULL;
	ERR_clear_error();
	return STATUS_IO;
}

static bool
set_serial(X509 *cert)
{
	unsigned char bytes[SERIAL_BYTES];
	random_bytes(bytes, sizeof(bytes));
	bytes[0] &= 0x7f; /* positive */
	bytes[0] |= 0x40; /* and never zero */
	BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
	BN_free(number);
	return done;
}

static bool
add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool done = extension && X509_add_ext(cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return done;
}

static bool
set_common_name(X509 *cert, const char *name)
{
	/* A name that is too long stands in subjectAltName alone. */
	if (strlen(name) > COMMON_NAME_LEN_MAX)
		name = "Postroom";
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
		   (const unsigned char *)name, -1, -1, 0) == 1;
}

static X509 *
new_certificate(EVP_PKEY *key, const char *common_name, int days)
{
	X509 *cert = X509_new();
	if (cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) &&
	    X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * DAY_S) &&
	    X509_set_pubkey(cert, key) && set_common_name(cert, common_name))
		return cert;
	X509_free(cert);
	return NULL;
}

static X509 *
make_ca(EVP_PKEY *key)
{
	char id[ID_TEXT_SIZE];
	char name[64];
	id_make(id);
	/* Each instance's CA has its own name, so that trusting two does not mix them up.
	 */
	snprintf(name, sizeof(name), "Postroom private CA %s", id);
	X509 *cert = new_certificate(key, name, CA_DAYS);
	if (cert && X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
	    add_extension(
		cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
	    X509_sign(cert, key, EVP_sha256()) > 0)
		return cert;
	X509_free(cert);
	return NULL;
}

/* "DNS:localhost,IP:127.0.0.1"; false for a name that does not belong there. */
static bool
san_text(const char *const *names, unsigned count, char *out, size_t size)
{
	size_t len = 0;
	for (unsigned i = 0; i < count; i++) {
		unsigned char address[sizeof(struct in6_addr)];
		bool is_address = inet_pton(AF_INET, names[i], address) == 1 ||
		                  inet_pton(AF_INET6, names[i], address) == 1;
		size_t name_len = strlen(names[i]);
		/* The text is a small language of its own: keep to what names consist of.
		 */
		if (name_len == 0 || name_len > NAME_LEN_MAX ||
		    (!is_address && strspn(names[i], "abcdefghijklmnopqrstuvwxyz"
						     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
						     "0123456789-_.*") != name_len))
			return false;
		int put = snprintf(out + len, size - len, "%s%s:%s", i ? "," : "",
		    is_address ? "IP" : "DNS", names[i]);
		if (put < 0 || (size_t)put >= size - len)
			return false;
		len += (size_t)put;
	}
	return len > 0;
}

static X509 *
make_server(EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key, const char *name, const char *san)
{
	X509 *cert = new_certificate(key, name, SERVER_DAYS);
	if (cert && X509_set_issuer_name(cert, X509_get_subject_name(ca)) &&
	    add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(cert, ca, NID_ext_key_usage, "serverAuth") &&
	    add_extension(cert, ca, NID_subject_key_identifier, "hash") &&
	    add_extension(cert, ca, NID_authority_key_identifier, "keyid:always") &&
	    add_extension(cert, ca, NID_subject_alt_name, san) &&
	    X509_sign(cert, ca_key, EVP_sha256()) > 0)
		return cert;
	X509_free(cert);
	return NULL;
}

/* ---- files ---- */

/* Writes `cert` (with `chain` behind it), or else `key`, to `path`. */
static enum status
write_pem(const char *path, X509 *cert, X509 *chain, EVP_PKEY *key, char **error)
{
	char *temporary;
	if (asprintf(&temporary, "%s.new", path) < 0)
		return STATUS_LIMIT;
	unlink(temporary);
	errno = 0;
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
	    key ? 0600 : 0644);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	bool done = file != NULL;
	if (done && key)
		done =
		    PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;
	if (done && cert)
		done = fchmod(fd, 0644) == 0 && PEM_write_X509(file, cert) == 1;
	if (done && chain)
		done = PEM_write_X509(file, chain) == 1;
	done = done && fflush(file) == 0 && fsync(fd) == 0;
	if (file)
		done = fclose(file) == 0 && done;
	else if (fd >= 0)
		close(fd);
	done = done && rename(temporary, path) == 0;
	enum status status = done ? STATUS_OK : fail(error, "cannot write", path);
	if (!done)
		unlink(temporary);
	free(temporary);
	return status;
}

static enum status
read_ca(const char *ca_path, const char *ca_key_path, X509 **out_ca, EVP_PKEY **out_key,
    char **error)
{
	errno = 0;
	FILE *file = fopen(ca_path, "re");
	*out_ca = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
	if (file)
		fclose(file);
	if (!*out_ca)
		return fail(error, "cannot read the CA certificate", ca_path);
	file = fopen(ca_key_path, "re");
	*out_key = file ? PEM_read_PrivateKey(file, NULL, NULL, (void *)"") : NULL;
	if (file)
		fclose(file);
	if (!*out_key || X509_check_private_key(*out_ca, *out_key) != 1)
		return fail(error, "cannot read the CA key", ca_key_path);
	return STATUS_OK;
}

static enum status
new_ca(const char *ca_path, const char *ca_key_path, X509 **out_ca, EVP_PKEY **out_key,
    char **error)
{
	*out_key = EVP_EC_gen("P-256");
	*out_ca = *out_key ? make_ca(*out_key) : NULL;
	if (!*out_ca)
		return fail(error, "cannot make the CA", ca_path);
	enum status status = write_pem(ca_key_path, NULL, NULL, *out_key, error);
	if (status == STATUS_OK)
		status = write_pem(ca_path, *out_ca, NULL, NULL, error);
	return status;
}

enum status
tls_make_self_signed(const char *ca_path, const char *ca_key_path, const char *cert_path,
    const char *key_path, const char *const *names, unsigned name_count, char **error)
{
	char san[SAN_SIZE_MAX];
	*error = NULL;
	ERR_clear_error();
	if (!san_text(names, name_count, san, sizeof(san))) {
		if (asprintf(error,
			"cannot make certificate %s: a name in it is not valid",
			cert_path) < 0)
			*error = NULL;
		return STATUS_INVALID;
	}
	X509 *ca = NULL, *cert = NULL;
	EVP_PKEY *ca_key = NULL, *key = NULL;
	bool there = access(ca_path, F_OK) == 0 && access(ca_key_path, F_OK) == 0;
	enum status status = there ? read_ca(ca_path, ca_key_path, &ca, &ca_key, error)
	                           : new_ca(ca_path, ca_key_path, &ca, &ca_key, error);
	if (status != STATUS_OK)
		goto out;
	key = EVP_EC_gen("P-256");
	cert = key ? make_server(key, ca, ca_key, names[0], san) : NULL;
	if (!cert) {
		status = fail(error, "cannot make certificate", cert_path);
		goto out;
	}
	status = write_pem(key_path, NULL, NULL, key, error);
	if (status == STATUS_OK)
		status = write_pem(cert_path, cert, ca, NULL, error);
out:
	X509_free(cert);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	return status;
}
