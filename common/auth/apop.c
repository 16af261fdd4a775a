/*
 * APOP (RFC 1939 section 7): the digest, and its check as a step of an exchange.
 *
 * Unknown accounts, disabled ones and ones whose secret is not kept take the same way as
 * a wrong digest.
 */
#include "auth/apop.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "auth/credential.h"
#include "auth/sasl_int.h"

bool
apop_digest(
    struct slice timestamp, struct slice secret, unsigned char out[APOP_DIGEST_SIZE])
{
	EVP_MD_CTX *md5 = EVP_MD_CTX_new();
	unsigned size = 0;
	bool ok = md5 && EVP_DigestInit_ex(md5, EVP_md5(), NULL) == 1 &&
	          EVP_DigestUpdate(md5, timestamp.ptr, timestamp.len) == 1 &&
	          EVP_DigestUpdate(md5, secret.ptr, secret.len) == 1 &&
	          EVP_DigestFinal_ex(md5, out, &size) == 1 && size == APOP_DIGEST_SIZE;

	EVP_MD_CTX_free(md5);
	return ok;
}

static int
hex_value(char c)
{
	char lower = ascii_lower(c);

	if (c >= '0' && c <= '9')
		return c - '0';
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool
apop_digest_parse(struct slice text, unsigned char out[APOP_DIGEST_SIZE])
{
	if (text.len != (size_t)2 * APOP_DIGEST_SIZE)
		return false;
	for (size_t i = 0; i < APOP_DIGEST_SIZE; i++) {
		int high = hex_value(text.ptr[2 * i]);
		int low = hex_value(text.ptr[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

void
auth_step_apop(struct auth_exchange *x)
{
	const struct auth_options *options = &x->auth->options;
	unsigned char ours[APOP_DIGEST_SIZE];
	/* auth_apop put them in front. */
	uint32_t login_len = be32_get(x->input.ptr);
	struct slice theirs = slice_sub(x->input, 4, APOP_DIGEST_SIZE);
	struct slice login = slice_sub(x->input, 4 + APOP_DIGEST_SIZE, login_len);
	struct slice timestamp = slice_from(x->input, 4 + APOP_DIGEST_SIZE + login_len);
	struct slice user = auth_canonical_login(x, login);
	struct slice credential;
	struct slice account;
	enum status status = auth_directory(x, user, &credential, &account);
	struct buf secret AUTO_BUF;

	buf_init(&secret, CREDENTIAL_PASSWORD_MAX);
	x->result = AUTH_TEMPORARY;
	if (status == STATUS_OK)
		status = options->apop_secret ? options->apop_secret(options->lookup_arg,
						    account.ptr ? account : user, &secret)
		                              : STATUS_NOT_FOUND;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		return;
	bool known = status == STATUS_OK && account.ptr && secret.len > 0;
	/* Made in any case: a wrong name costs what a wrong digest costs. */
	if (apop_digest(
		timestamp, secret.len > 0 ? buf_slice(&secret) : credential, ours)) {
		x->result = AUTH_FAILED;
		if (CRYPTO_memcmp(ours, theirs.ptr, sizeof(ours)) == 0 && known) {
			x->login = account;
			x->result = AUTH_OK;
		}
	}
	if (secret.len > 0)
		OPENSSL_cleanse(secret.ptr, secret.len);
}
