/*
 * SCRAM keys: the examples of RFC 5802 section 5 and RFC 7677 section 3 by their proofs,
 * the vectors of xdg-go when POSTROOM_VECTORS names their place, passwords that fit and
 * do not, damaged keys, fake keys, and the memory of successful checks.
 */
#include "unit/auth/auth_harness.h"

#include <dirent.h>

struct vector {
	char digest[16];
	char password[128];
	char salt[128]; /* base64 */
	unsigned iterations;
	char steps[4][400];
	size_t step_count;
	bool raw; /* made without SASLprep */
	bool valid;
};

/* Takes a base64 part of keys or messages. */
static size_t
decode(struct slice text, unsigned char *out, size_t size)
{
	struct buf b;

	buf_init(&b, 256);
	assert_true(base64_decode_strict(text, &b));
	assert_true(b.len <= size);
	memcpy(out, b.ptr, b.len);
	size_t len = b.len;
	buf_fini(&b);
	return len;
}

static struct slice
after(const char *message, const char *mark)
{
	const char *at = strstr(message, mark);

	assert_non_null(at);
	return slice_from_cstr(at + strlen(mark));
}

/* The keys that we make accept the client's proof, and give the server's signature. */
static void
check_vector(const struct vector *v)
{
	const EVP_MD *md = strcmp(v->digest, "SHA-1") == 0 ? EVP_sha1() : EVP_sha256();
	size_t size = (size_t)EVP_MD_size(md);
	unsigned char salt[64], stored[64], server[64], proof[64], want[64], got[64],
	    key[64];
	char scheme[32], message[1300];
	struct buf keys;
	struct slice value;

	size_t salt_len =
	    decode(slice_trim(slice_from_cstr(v->salt)), salt, sizeof(salt));
	buf_init(&keys, CREDENTIAL_TEXT_MAX);
	assert_int_equal(credential_make_salted(slice_from_cstr(v->password),
			     slice_make((char *)salt, salt_len), v->iterations, &keys),
	    STATUS_OK);
	snprintf(scheme, sizeof(scheme), "SCRAM-%s", v->digest);
	assert_true(credential_find(buf_slice(&keys), slice_from_cstr(scheme), &value));
	(void)slice_split(&value, '$');
	(void)slice_split(&value, '$');
	assert_int_equal(decode(slice_split(&value, ':'), stored, sizeof(stored)), size);
	assert_int_equal(decode(value, server, sizeof(server)), size);

	const char *bare = v->steps[0] + 3;
	const char *final = v->steps[2];
	struct slice proof_text = after(final, ",p=");
	assert_int_equal(decode(proof_text, proof, sizeof(proof)), size);
	snprintf(message, sizeof(message), "%s,%s,%.*s", bare, v->steps[1],
	    (int)(proof_text.ptr - 3 - final), final);
	client_hmac(md, stored, size, message, want);
	for (size_t i = 0; i < size; i++)
		key[i] = proof[i] ^ want[i];
	EVP_Digest(key, size, got, NULL, md, NULL);
	bool proof_fits = memcmp(got, stored, size) == 0;
	client_hmac(md, server, size, message, want);
	bool signature_fits = false;
	if (strncmp(v->steps[3], "v=", 2) == 0) {
		assert_int_equal(
		    decode(after(v->steps[3], "v="), got, sizeof(got)), size);
		signature_fits = memcmp(got, want, size) == 0;
	}
	assert_int_equal(proof_fits && signature_fits, v->valid);
	assert_int_equal(
	    credential_verify(buf_slice(&keys), slice_from_cstr(v->password)), STATUS_OK);
	buf_fini(&keys);
}

static const struct vector examples[] = {
    {"SHA-1",   "pencil", "QSXCR+Q6sek8bf92",         4096,
     {"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
	    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
	    "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
	    "p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
	    "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
     4, false, true},
    {"SHA-256", "pencil", "W22ZaJ0SNY7soEsUEjb6gQ==", 4096,
     {"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
	    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
     4, false, true},
};

static void
rfc_examples(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
		check_vector(&examples[i]);
}

/* The string behind `"name"`, with JSON's escapes undone; false when it is not there. */
static bool
json_string(const char **at, char *out, size_t size)
{
	size_t len = 0;
	const char *p = strchr(*at, '"');

	if (!p)
		return false;
	for (p++; *p && *p != '"'; p++) {
		unsigned c = (unsigned char)*p;
		assert_true(len + 4 < size);
		if (c != '\\') {
			out[len++] = *p;
			continue;
		}
		p++;
		if (*p == 'u') {
			assert_int_equal(sscanf(p + 1, "%4x", &c), 1);
			p += 4;
			if (c >= 0x800) {
				out[len++] = (char)(0xe0 | c >> 12);
				out[len++] = (char)(0x80 | (c >> 6 & 63));
			} else {
				out[len++] = (char)(0xc0 | c >> 6);
			}
			out[len++] = (char)(0x80 | (c & 63));
		} else {
			out[len++] = *p == 'n' ? '\n' : *p;
		}
	}
	out[len] = '\0';
	*at = p + 1;
	return true;
}

static void
json_field(const char *text, const char *name, char *out, size_t size)
{
	char quoted[64];

	snprintf(quoted, sizeof(quoted), "\"%s\"", name);
	const char *at = strstr(text, quoted);
	assert_non_null(at);
	at += strlen(quoted);
	assert_true(json_string(&at, out, size));
}

static const char *
json_scalar(const char *text, const char *name)
{
	char quoted[64];

	snprintf(quoted, sizeof(quoted), "\"%s\"", name);
	const char *at = strstr(text, quoted);
	assert_non_null(at);
	at += strlen(quoted);
	return at + strspn(at, " :");
}

static void
read_vector(const char *text, struct vector *v)
{
	memset(v, 0, sizeof(*v));
	json_field(text, "digest", v->digest, sizeof(v->digest));
	json_field(text, "pass", v->password, sizeof(v->password));
	json_field(text, "salt64", v->salt, sizeof(v->salt));
	v->iterations = (unsigned)strtoul(json_scalar(text, "iters"), NULL, 10);
	v->raw = strncmp(json_scalar(text, "skipSASLprep"), "true", 4) == 0;
	v->valid = strncmp(json_scalar(text, "valid"), "true", 4) == 0;
	const char *at = strchr(strstr(text, "\"steps\"") + 7, '[');
	while (v->step_count < 4 && json_string(&at, v->steps[v->step_count], 400))
		v->step_count++;
}

static size_t
check_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	size_t count = 0;

	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[1400], text[4096];
		struct vector v;
		if (!strstr(entry->d_name, ".json"))
			continue;
		snprintf(path, sizeof(path), "%.1000s/%s", folder, entry->d_name);
		FILE *file = fopen(path, "r");
		assert_non_null(file);
		size_t len = fread(text, 1, sizeof(text) - 1, file);
		fclose(file);
		text[len] = '\0';
		read_vector(text, &v);
		/* SHA-512 is not offered; without SASLprep we make no keys; and one has
		 * no proof in it. */
		if (strcmp(v.digest, "SHA-512") == 0 || v.raw || v.step_count < 4)
			continue;
		check_vector(&v);
		count++;
	}
	closedir(dir);
	return count;
}

static void
xdg_go_vectors(void **state)
{
	const char *place = getenv("POSTROOM_VECTORS");
	char folder[1000];
	size_t count = 0;

	(void)state;
	if (!place)
		skip();
	static const char *const folders[] = {"good", "bad-client", "bad-server"};
	for (size_t i = 0; i < 3; i++) {
		snprintf(folder, sizeof(folder), "%s/scram/xdg-go/%s", place, folders[i]);
		count += check_folder(folder);
	}
	assert_true(count >= 14);
}

static void
passwords(void **state)
{
	struct buf keys;
	char big[CREDENTIAL_PASSWORD_MAX + 1];

	(void)state;
	buf_init(&keys, CREDENTIAL_TEXT_MAX);
	memset(big, 'x', sizeof(big));
	static const struct slice refused[] = {
	    {"",         0},
            {NULL,       0},
            {"a\0b",     3},
            {"\x07",     1},
            {"\xff",     1},
            {"\xc2\xad", 2}
        };
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(
		    credential_make(refused[i], 4096, &keys), STATUS_INVALID);
	assert_int_equal(
	    credential_make(slice_make(big, sizeof(big)), 4096, &keys), STATUS_INVALID);
	assert_int_equal(keys.len, 0);
	assert_int_equal(
	    credential_make(slice_make(big, sizeof(big) - 1), 4096, &keys), STATUS_OK);
	assert_int_equal(
	    credential_verify(buf_slice(&keys), slice_make(big, sizeof(big) - 1)),
	    STATUS_OK);
	assert_int_equal(
	    credential_verify(buf_slice(&keys), slice_make(big, sizeof(big))),
	    STATUS_DENIED);
	buf_reset(&keys);
	/* The two ways to write it are one password. */
	assert_int_equal(credential_make(SLICE("p\xC3\x85ss"), 4096, &keys), STATUS_OK);
	struct slice text = buf_slice(&keys);
	assert_int_equal(credential_verify(text, SLICE("p\xE2\x84\xABss")), STATUS_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    credential_verify(text, SLICE("p\xC3\x85ss")), STATUS_OK);
		assert_int_equal(credential_verify(text, SLICE("pAss")), STATUS_DENIED);
		assert_int_equal(credential_verify(text, SLICE("")), STATUS_DENIED);
		assert_int_equal(credential_verify(text, SLICE_NULL), STATUS_DENIED);
		assert_int_equal(credential_verify(text, SLICE("x")), STATUS_DENIED);
		assert_int_equal(credential_verify(text, SLICE("\xff")), STATUS_DENIED);
	}
	assert_true(text.len <= CREDENTIAL_TEXT_MAX / 2);
	/* Rounds that are out of bounds are moved into them. */
	buf_reset(&keys);
	assert_int_equal(credential_make(SLICE("a"), 1, &keys), STATUS_OK);
	assert_true(slice_has_prefix(buf_slice(&keys), SLICE("SCRAM-SHA-256$4096:")));
	buf_reset(&keys);
	assert_int_equal(credential_make(SLICE("a"), 100000000, &keys), STATUS_OK);
	assert_true(slice_has_prefix(buf_slice(&keys), SLICE("SCRAM-SHA-256$65536:")));
	buf_fini(&keys);
}

static void
either_scheme_is_enough(void **state)
{
	char *keys = make_keys("pencil");
	struct slice sha1, sha256;

	(void)state;
	assert_true(credential_find(slice_from_cstr(keys), SLICE("SCRAM-SHA-1"), &sha1));
	assert_true(
	    credential_find(slice_from_cstr(keys), SLICE("SCRAM-SHA-256"), &sha256));
	assert_false(
	    credential_find(slice_from_cstr(keys), SLICE("SCRAM-SHA-512"), &sha1));
	assert_int_equal(credential_verify(sha1, SLICE("pencil")), STATUS_OK);
	assert_int_equal(credential_verify(sha256, SLICE("pencil")), STATUS_OK);
	assert_int_equal(credential_verify(sha1, SLICE("pencils")), STATUS_DENIED);
	/* Two sets of the same password have nothing in common. */
	char *others = make_keys("pencil");
	assert_string_not_equal(keys, others);
	free(keys);
	free(others);
}

/* Every single byte of the keys taken out or changed: damaged or denied, never right. */
static void
damaged_keys(void **state)
{
	static const char *const broken[] = {"", "x", "SCRAM-SHA-256", "SCRAM-SHA-256$",
	    "SCRAM-SHA-256$4096", "SCRAM-SHA-256$4096:c2FsdA==$",
	    "SCRAM-SHA-256$0:c2FsdA==$a:b", "SCRAM-SHA-256$99999999:c2FsdA==$a:b",
	    "SCRAM-SHA-512$4096:c2FsdA==$a:b", "{PLAIN}pencil", "$6$salt$hash"};
	struct buf keys;

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		assert_int_equal(
		    credential_verify(slice_from_cstr(broken[i]), SLICE("pencil")),
		    STATUS_CORRUPT);
		assert_false(credential_is_valid(slice_from_cstr(broken[i])));
	}
	assert_int_equal(credential_verify(SLICE_NULL, SLICE("pencil")), STATUS_CORRUPT);
	buf_init(&keys, CREDENTIAL_TEXT_MAX);
	assert_int_equal(
	    credential_make_salted(SLICE("pencil"), SLICE("0123456789abcdef"), 1, &keys),
	    STATUS_OK);
	size_t sha256_len = slice_index(buf_slice(&keys), ' ');
	/* The server's key is not what a password is checked against. */
	size_t checked = slice_rindex(slice_sub(buf_slice(&keys), 0, sha256_len), ':');
	for (size_t cut = 0; cut < sha256_len; cut++)
		assert_int_not_equal(
		    credential_verify(slice_make(keys.ptr, cut), SLICE("pencil")),
		    STATUS_OK);
	for (size_t i = 0; i < checked; i++) {
		for (size_t bit = 0; bit < 7; bit++) {
			char *copy = slice_to_cstr(slice_make(keys.ptr, sha256_len));
			copy[i] = (char)(copy[i] ^ 1 << bit);
			assert_int_not_equal(
			    credential_verify(
				slice_make(copy, sha256_len), SLICE("pencil")),
			    STATUS_OK);
			free(copy);
		}
	}
	buf_fini(&keys);
}

static void
fake_keys(void **state)
{
	struct buf a, b;

	(void)state;
	buf_init(&a, CREDENTIAL_TEXT_MAX);
	buf_init(&b, CREDENTIAL_TEXT_MAX);
	credential_fake(SLICE("bob@example.org"), SLICE("secret"), 8192, &a);
	credential_fake(SLICE("bob@example.org"), SLICE("secret"), 8192, &b);
	assert_true(slice_equal(buf_slice(&a), buf_slice(&b)));
	assert_true(slice_has_prefix(buf_slice(&a), SLICE("SCRAM-SHA-256$8192:")));
	assert_true(credential_is_valid(buf_slice(&a)));
	assert_int_equal(credential_verify(buf_slice(&a), SLICE("bob")), STATUS_DENIED);
	char *real = make_keys("pencil");
	assert_int_equal(a.len, strlen(real));
	free(real);
	buf_reset(&b);
	credential_fake(SLICE("bob@example.com"), SLICE("secret"), 8192, &b);
	assert_false(slice_equal(buf_slice(&a), buf_slice(&b)));
	buf_reset(&b);
	credential_fake(SLICE("bob@example.org"), SLICE("other"), 8192, &b);
	assert_false(slice_equal(buf_slice(&a), buf_slice(&b)));
	buf_reset(&b);
	credential_fake(SLICE_NULL, SLICE_NULL, 4096, &b);
	assert_true(credential_is_valid(buf_slice(&b)));
	buf_fini(&a);
	buf_fini(&b);
}

static uint64_t
verify_us(struct slice keys, struct slice password, enum status want)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(credential_verify(keys, password), want);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (uint64_t)((to.tv_sec - from.tv_sec) * 1000000 +
			  (to.tv_nsec - from.tv_nsec) / 1000);
}

static void
success_is_remembered(void **state)
{
	struct buf keys;
	uint64_t best = UINT64_MAX;

	(void)state;
	buf_init(&keys, CREDENTIAL_TEXT_MAX);
	assert_int_equal(credential_make(SLICE("pencil"), 65536, &keys), STATUS_OK);
	assert_false(credential_cache_has(buf_slice(&keys), SLICE("pencil")));
	uint64_t first = verify_us(buf_slice(&keys), SLICE("pencil"), STATUS_OK);
	assert_true(credential_cache_has(buf_slice(&keys), SLICE("pencil")));
	for (int i = 0; i < 20; i++) {
		uint64_t us = verify_us(buf_slice(&keys), SLICE("pencil"), STATUS_OK);
		best = us < best ? us : best;
	}
	print_message("first %llu us, remembered %llu us\n", (unsigned long long)first,
	    (unsigned long long)best);
	assert_true(best * 10 < first);
	/* A failure is not remembered, and costs the same every time. */
	assert_int_equal(credential_verify(buf_slice(&keys), SLICE("x")), STATUS_DENIED);
	assert_false(credential_cache_has(buf_slice(&keys), SLICE("x")));
	/* New keys, the old password: what was remembered is of no use. */
	buf_reset(&keys);
	assert_int_equal(credential_make(SLICE("crayon"), 4096, &keys), STATUS_OK);
	assert_false(credential_cache_has(buf_slice(&keys), SLICE("pencil")));
	assert_int_equal(
	    credential_verify(buf_slice(&keys), SLICE("pencil")), STATUS_DENIED);
	/* It holds many, the last for certain, and not without end. */
	size_t held = 0;
	char password[16];
	for (int i = 0; i < 4 * CREDENTIAL_CACHE_ENTRIES; i++) {
		snprintf(password, sizeof(password), "%d", i);
		credential_cache_add(buf_slice(&keys), slice_from_cstr(password));
		assert_true(
		    credential_cache_has(buf_slice(&keys), slice_from_cstr(password)));
	}
	for (int i = 0; i < 4 * CREDENTIAL_CACHE_ENTRIES; i++) {
		snprintf(password, sizeof(password), "%d", i);
		held += credential_cache_has(buf_slice(&keys), slice_from_cstr(password));
	}
	assert_true(held <= CREDENTIAL_CACHE_ENTRIES);
	assert_true(held > CREDENTIAL_CACHE_ENTRIES / 2);
	buf_fini(&keys);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rfc_examples),
	    cmocka_unit_test(xdg_go_vectors),
	    cmocka_unit_test(passwords),
	    cmocka_unit_test(either_scheme_is_enough),
	    cmocka_unit_test(damaged_keys),
	    cmocka_unit_test(fake_keys),
	    cmocka_unit_test(success_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
