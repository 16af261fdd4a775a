/*
 * DKIM signatures: the signed message of RFC 8463 appendix A with its keys (and RFC 6376
 * appendix A's body hash), what h= names, the form of the field, keys and records.
 */
#include "unit/auth/auth_harness.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "auth/dkim_sign.h"
#include "text/header.h"

/* ---- RFC 8463 appendix A ---- */

static const char rsa_pem[] =
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\n"
    "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM\n"
    "KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n"
    "AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm\n"
    "6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe\n"
    "zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy\n"
    "6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc\n"
    "uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy\n"
    "WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd\n"
    "WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a\n"
    "licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst\n"
    "o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe\n"
    "uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL\n"
    "-----END RSA PRIVATE KEY-----\n";
#define RSA_PUBLIC                                                                       \
	"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"                             \
	"iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"          \
	"DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"          \
	"Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
#define ED25519_PUBLIC "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static const char header[] =
    "From: Joe SixPack <joe@football.example.com>\r\n"
    "To: Suzie Q <suzie@shopping.example.net>\r\n"
    "Subject: Is dinner ready?\r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
    "\r\n";
static const char body[] =
    "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
static const char body_hash[] = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

static struct dkim_key *
key_of(enum dkim_algorithm algorithm, EVP_PKEY *pkey, const char *public_text)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
	unsigned char *der = NULL;
	int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
	assert_true(len > 0);
	struct dkim_key *key = dkim_key_read(algorithm,
	    slice_make((const char *)der, (size_t)len), slice_from_cstr(public_text));
	OPENSSL_free(der);
	PKCS8_PRIV_KEY_INFO_free(info);
	EVP_PKEY_free(pkey);
	return key;
}

static struct dkim_key *
rsa_key(const char *public_text)
{
	BIO *bio = BIO_new_mem_buf(rsa_pem, -1);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_non_null(pkey);
	return key_of(DKIM_RSA, pkey, public_text);
}

static struct dkim_key *
ed25519_key(const char *public_text)
{
	struct buf raw;
	buf_init(&raw, 100);
	assert_true(base64_decode_strict(
	    SLICE("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &raw));
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(
	    EVP_PKEY_ED25519, NULL, (const unsigned char *)raw.ptr, raw.len);
	buf_fini(&raw);
	assert_non_null(pkey);
	return key_of(DKIM_ED25519, pkey, public_text);
}

static void
hash_text(enum dkim_canon form, const char *text, char out[64])
{
	unsigned char hash[DKIM_HASH_BYTES];
	struct buf b;
	buf_init(&b, 63);
	dkim_body_hash(form, slice_from_cstr(text), hash);
	base64_encode(slice_make((const char *)hash, sizeof(hash)), &b);
	buf_append_byte(&b, '\0');
	assert_true(buf_ok(&b));
	memcpy(out, b.ptr, b.len);
	buf_fini(&b);
}

static void
body_hashes(void **state)
{
	char text[64];
	(void)state;
	hash_text(DKIM_RELAXED, body, text);
	assert_string_equal(text, body_hash);
	/* RFC 6376 appendix A.2, simple: its hash is of one blank between the sentences.
	 */
	hash_text(DKIM_SIMPLE,
	    "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n", text);
	assert_string_equal(text, body_hash);
	/* RFC 6376 sections 3.4.3 and 3.4.4: the empty body. */
	hash_text(DKIM_SIMPLE, "", text);
	assert_string_equal(text, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
	hash_text(DKIM_RELAXED, "", text);
	assert_string_equal(text, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

/* What is signed, made from the published fields: the published signature comes out. */
static void
rfc8463(void **state)
{
	static const char *const order[] = {
	    "from", "to", "subject", "date", "message-id"};
	static const struct {
		enum dkim_algorithm algorithm;
		const char *field, *signature;
	} rows[] = {
	    {DKIM_ED25519,
             "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
		" d=football.example.com; i=@football.example.com;\r\n"
		" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
		" subject : date : message-id : from : subject : date;\r\n"
		" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=\r\n", "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus"
		"Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="                          },
	    {DKIM_RSA,
             "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
		" d=football.example.com; i=@football.example.com;\r\n"
		" q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
		" date : message-id : from : subject : date;\r\n"
		" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=\r\n", "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3"
		"DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz"
		"dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8="},
	};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct dkim_key *key = rows[i].algorithm == DKIM_RSA
		                           ? rsa_key(RSA_PUBLIC)
		                           : ed25519_key(ED25519_PUBLIC);
		struct buf data, signature, text;
		struct header_field field;
		assert_non_null(key);
		buf_init(&data, 10000);
		buf_init(&signature, 1000);
		buf_init(&text, 1000);
		for (size_t n = 0; n < sizeof(order) / sizeof(order[0]); n++) {
			assert_true(header_find(
			    slice_from_cstr(header), slice_from_cstr(order[n]), &field));
			dkim_field_canon(DKIM_RELAXED, field.whole, &data);
		}
		dkim_field_canon(DKIM_RELAXED, slice_from_cstr(rows[i].field), &data);
		buf_truncate(&data, data.len - 2);
		assert_true(dkim_key_sign(key, buf_slice(&data), &signature));
		base64_encode(buf_slice(&signature), &text);
		assert_true(
		    slice_equal(buf_slice(&text), slice_from_cstr(rows[i].signature)));
		buf_fini(&data);
		buf_fini(&signature);
		buf_fini(&text);
		dkim_key_free(&key);
		dkim_key_free(&key);
	}
}

/* ---- the field ---- */

static void
names(void **state)
{
	static const struct {
		const char *block, *names, *canonical;
	} rows[] = {
	    {"From: a\r\n\r\n",
             "from:from:reply-to:subject:date:to:cc:message-id:sender:mime-version:"
		"content-type:content-transfer-encoding:content-disposition:"
		"list-unsubscribe:list-unsubscribe-post",						 "from:a\r\n"				 },
 /* The last one of a name comes first; Received is not signed. */
	    {"Received: x\r\nTO: 1\r\nFrom:  a\r\n\tb\r\nto: 2\r\nX: y\r\nList-Id: "
	     "<l>\r\n\r\n", "from:from:reply-to:subject:date:to:to:to:cc:message-id:sender:"
		"mime-version:content-type:content-transfer-encoding:content-disposition:"
		"list-unsubscribe:list-unsubscribe-post:list-id", "from:a b\r\nto:2\r\nto:1\r\nlist-id:<l>\r\n"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dkim_fields fields;
		assert_true(dkim_fields_make(slice_from_cstr(rows[i].block), &fields));
		assert_true(slice_equal(
		    buf_slice(&fields.names), slice_from_cstr(rows[i].names)));
		assert_true(slice_equal(
		    buf_slice(&fields.canonical), slice_from_cstr(rows[i].canonical)));
		dkim_fields_fini(&fields);
	}
	struct dkim_fields none;
	assert_false(dkim_fields_make(SLICE(""), &none));
	assert_false(dkim_fields_make(SLICE("Subject: no From\r\n\r\n"), &none));
}

static void
too_many_fields(void **state)
{
	struct buf block;
	struct dkim_fields fields;
	(void)state;
	buf_init(&block, 1024 * 1024);
	buf_append_cstr(&block, "From: a\r\n");
	for (int i = 1; i < DKIM_FIELDS_MAX - 1; i++)
		buf_append_cstr(&block, "To: b\r\n");
	assert_true(dkim_fields_make(buf_slice(&block), &fields));
	dkim_fields_fini(&fields);
	buf_append_cstr(&block, "To: b\r\n");
	assert_false(dkim_fields_make(buf_slice(&block), &fields));
	buf_fini(&block);
}

/* Signed, and checked as a verifier would: the field without its b= at the end. */
static void
signed_field(void **state)
{
	(void)state;
	for (int algorithm = 0; algorithm < DKIM_ALGORITHMS; algorithm++) {
		struct dkim_key *key = algorithm == DKIM_RSA
		                           ? rsa_key(RSA_PUBLIC)
		                           : ed25519_key(ED25519_PUBLIC);
		unsigned char hash[DKIM_HASH_BYTES];
		struct dkim_fields fields;
		struct buf out, data, want, b64;
		struct dkim_signer signer = {
		    key, SLICE("football.example.com"), SLICE("test")};
		buf_init(&out, 10000);
		buf_init(&data, 10000);
		buf_init(&want, 1000);
		buf_init(&b64, 1000);
		assert_non_null(key);
		dkim_body_hash(DKIM_RELAXED, slice_from_cstr(body), hash);
		assert_true(dkim_fields_make(slice_from_cstr(header), &fields));
		assert_true(
		    dkim_sign(&signer, &fields, hash, 1764000000, 1764600000, &out));
		struct slice text = buf_slice(&out);
		assert_true(slice_has_suffix(text, SLICE("\r\n")));
		assert_true(slice_find(text, SLICE(" t=1764000000;")) != SIZE_MAX);
		assert_true(slice_find(text, SLICE(" x=1764600000;")) != SIZE_MAX);
		assert_true(slice_find(text, SLICE(" l=")) == SIZE_MAX);
		assert_true(slice_find(text, slice_from_cstr(body_hash)) != SIZE_MAX);
		for (struct slice rest = text; rest.len > 0;) {
			struct slice line = slice_split(&rest, '\n');
			assert_true(line.len <= DKIM_LINE_MAX + 1);
			assert_true(slice_has_suffix(line, SLICE("\r")));
			/* Every line but the first continues it, and says something. */
			assert_true(line.ptr == text.ptr || line.ptr[0] == ' ');
			assert_true(slice_trim(line).len > 0);
		}
		size_t b = slice_find(text, SLICE(" b="));
		assert_true(b != SIZE_MAX);
		buf_append(&data, buf_slice(&fields.canonical));
		dkim_field_canon(DKIM_RELAXED, slice_sub(text, 0, b + 3), &data);
		buf_truncate(&data, data.len - 2);
		assert_true(dkim_key_sign(key, buf_slice(&data), &want));
		base64_decode_lenient(slice_from(text, b + 3), &b64);
		assert_true(slice_equal(buf_slice(&b64), buf_slice(&want)));
		/* Without x=. */
		buf_reset(&out);
		assert_true(dkim_sign(&signer, &fields, hash, 1764000000, 0, &out));
		assert_true(slice_find(buf_slice(&out), SLICE(" x=")) == SIZE_MAX);
		/* No room. */
		struct buf small;
		buf_init(&small, 100);
		assert_false(dkim_sign(&signer, &fields, hash, 1764000000, 0, &small));
		buf_fini(&small);
		dkim_fields_fini(&fields);
		dkim_key_free(&key);
		buf_fini(&out);
		buf_fini(&data);
		buf_fini(&want);
		buf_fini(&b64);
	}
}

/* ---- keys ---- */

static void
made_keys(void **state)
{
	(void)state;
	for (int algorithm = 0; algorithm < DKIM_ALGORITHMS; algorithm++) {
		enum dkim_algorithm a = (enum dkim_algorithm)algorithm;
		enum dkim_algorithm other = a == DKIM_RSA ? DKIM_ED25519 : DKIM_RSA;
		struct buf secret, public_text;
		buf_init(&secret, DKIM_SECRET_MAX);
		buf_init(&public_text, DKIM_PUBLIC_MAX);
		assert_true(dkim_key_make(a, &secret, &public_text));
		struct dkim_key *key =
		    dkim_key_read(a, buf_slice(&secret), buf_slice(&public_text));
		assert_non_null(key);
		assert_int_equal(dkim_key_algorithm(key), a);
		dkim_key_free(&key);
		assert_null(
		    dkim_key_read(other, buf_slice(&secret), buf_slice(&public_text)));
		assert_null(dkim_key_read(a, SLICE(""), buf_slice(&public_text)));
		assert_null(dkim_key_read(a, buf_slice(&secret), SLICE("")));
		assert_null(
		    dkim_key_read(a, slice_sub(buf_slice(&secret), 0, secret.len - 1),
			buf_slice(&public_text)));
		/* An octet of the modulus (OpenSSL signs without damaged factors), or of
		 * the secret, is damaged. */
		size_t at = a == DKIM_RSA ? 60 : secret.len - 7;
		secret.ptr[at] ^= 1;
		assert_null(
		    dkim_key_read(a, buf_slice(&secret), buf_slice(&public_text)));
		secret.ptr[at] ^= 1;
		secret.ptr[2] ^= 1;
		assert_null(
		    dkim_key_read(a, buf_slice(&secret), buf_slice(&public_text)));
		buf_fini(&secret);
		buf_fini(&public_text);
	}
	assert_null(rsa_key(ED25519_PUBLIC));
}

static void
selectors(void **state)
{
	static const char *const good[] = {"a", "p20251124", "a-b", "s.t", "1", "a--b"};
	static const char *const bad[] = {"", "-a", "a-", ".", "a.", ".a", "a..b", "A",
	    "a_b", "a b", "a.-b", "a-.b", "\xc3\xa4",
	    "1234567890123456789012345678901234567890123456789012345678901234"};
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(dkim_selector_is_valid(slice_from_cstr(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(dkim_selector_is_valid(slice_from_cstr(bad[i])));
}

static void
records(void **state)
{
	static const struct {
		const char *record;
		enum dkim_algorithm algorithm;
		enum dkim_record result;
	} rows[] = {
	    {"v=DKIM1; k=ed25519; p=" ED25519_PUBLIC,                                  DKIM_ED25519, DKIM_RECORD_MATCHES  },
	    {"v=DKIM1;k=rsa;p=" RSA_PUBLIC ";",                                        DKIM_RSA,     DKIM_RECORD_MATCHES  },
	    {"p=" RSA_PUBLIC,							  DKIM_RSA,     DKIM_RECORD_MATCHES  },
	    {" v = DKIM1 ; n=x; p = " RSA_PUBLIC,                                      DKIM_RSA,     DKIM_RECORD_MATCHES  },
	    {"v=DKIM1; h=sha1:sha256; s=*; p=" RSA_PUBLIC,                             DKIM_RSA,     DKIM_RECORD_MATCHES  },
	    {"v=DKIM1; h=sha1; p=" RSA_PUBLIC,                                         DKIM_RSA,     DKIM_RECORD_HASH     },
	    {"v=DKIM1; s=tlsrpt; p=" RSA_PUBLIC,                                       DKIM_RSA,     DKIM_RECORD_SERVICE  },
	    {"v=DKIM1; s=tlsrpt:email; p=" RSA_PUBLIC,                                 DKIM_RSA,     DKIM_RECORD_MATCHES  },
	    {"v=DKIM1; t=y:s; p=" RSA_PUBLIC,                                          DKIM_RSA,     DKIM_RECORD_TESTING  },
	    {"v=DKIM1; p=" ED25519_PUBLIC,					     DKIM_ED25519, DKIM_RECORD_ALGORITHM},
	    {"v=DKIM1; k=rsa; p=",						     DKIM_RSA,     DKIM_RECORD_REVOKED  },
	    {"v=DKIM1; k=rsa; p=MIGfMA0G",					     DKIM_RSA,     DKIM_RECORD_OTHER_KEY},
	    {"v=DKIM1; k=rsa; p=" RSA_PUBLIC "A",                                      DKIM_RSA,     DKIM_RECORD_OTHER_KEY},
	    {"v=DKIM1; k=ed25519; p=11qYAYKxCrfV \t S/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
             DKIM_ED25519,									   DKIM_RECORD_MATCHES  },
	    {"v=DKIM2; p=" RSA_PUBLIC,						 DKIM_RSA,     DKIM_RECORD_BROKEN   },
	    {"p=" RSA_PUBLIC "; v=DKIM1",					      DKIM_RSA,     DKIM_RECORD_BROKEN   },
	    {"v=DKIM1; k=rsa",							 DKIM_RSA,     DKIM_RECORD_BROKEN   },
	    {"v=DKIM1; p=a; p=b",						      DKIM_RSA,     DKIM_RECORD_BROKEN   },
	    {"v=DKIM1;; p=a",							  DKIM_RSA,     DKIM_RECORD_BROKEN   },
	    {"v=spf1 -all",							    DKIM_RSA,     DKIM_RECORD_BROKEN   },
	    {"",								       DKIM_RSA,     DKIM_RECORD_BROKEN   },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *own =
		    rows[i].algorithm == DKIM_RSA ? RSA_PUBLIC : ED25519_PUBLIC;
		enum dkim_record got = dkim_record_look(slice_from_cstr(rows[i].record),
		    rows[i].algorithm, slice_from_cstr(own));
		if (got != rows[i].result)
			fail_msg("row %zu: %s", i, dkim_record_text(got));
		assert_true(strlen(dkim_record_text(got)) > 0);
	}
	/* What is published is read again, joined as a resolver joins it. */
	struct buf record, quoted, joined;
	buf_init(&record, DKIM_RECORD_MAX);
	buf_init(&quoted, DKIM_RECORD_MAX);
	buf_init(&joined, DKIM_RECORD_MAX);
	dkim_record_write(DKIM_RSA, SLICE(RSA_PUBLIC RSA_PUBLIC), &record);
	dkim_record_quote(buf_slice(&record), &quoted);
	struct slice rest = buf_slice(&quoted);
	size_t strings = 0;
	while (rest.ptr) {
		struct slice one = slice_trim(slice_split(&rest, ' '));
		/* The blanks inside of the first string are not between strings. */
		for (size_t i = 0; i < one.len; i++)
			if (one.ptr[i] != '"')
				buf_append_byte(&joined, one.ptr[i]);
			else
				strings++;
	}
	assert_int_equal(strings, 2 * ((record.len + 254) / 255));
	assert_int_equal(joined.len, record.len - 2);
	buf_fini(&record);
	buf_fini(&quoted);
	buf_fini(&joined);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(body_hashes),
	    cmocka_unit_test(rfc8463),
	    cmocka_unit_test(names),
	    cmocka_unit_test(too_many_fields),
	    cmocka_unit_test(signed_field),
	    cmocka_unit_test(made_keys),
	    cmocka_unit_test(selectors),
	    cmocka_unit_test(records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
