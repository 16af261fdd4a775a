/*
 * The generated files: the sample says in full what leaving its `#` lines out means, and
 * etc/postroom.conf.sample and docs/config.md in the tree are what the schema table
 * gives.
 *
 * `conf_test_conf_write --write` writes these two anew.
 */
#include "unit/conf/conf_dump.h"

#define SAMPLE_PATH   POSTROOM_SOURCE_DIR "/etc/postroom.conf.sample"
#define MARKDOWN_PATH POSTROOM_SOURCE_DIR "/docs/config.md"

static char *
sample_make(const char *hostname, unsigned port_base, bool public_addresses)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	conf_write_sample(&out, hostname, port_base, public_addresses);
	assert_true(buf_ok(&out));
	char *text = slice_to_cstr(buf_slice(&out));
	buf_fini(&out);
	return text;
}

static char *
markdown_make(void)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	conf_write_markdown(&out);
	assert_true(buf_ok(&out));
	char *text = slice_to_cstr(buf_slice(&out));
	buf_fini(&out);
	return text;
}

/* Takes the `#` away from every line that is a setting. */
static char *
sample_uncomment(const char *text)
{
	char *out = xstrdup(text);
	char *to = out;
	bool line_start = true;

	for (const char *from = text; *from; from++) {
		if (*from == '#' && line_start && from[1] >= 'a' && from[1] <= 'z')
			continue;
		line_start = *from == '\n' || (line_start && *from == ' ');
		*to++ = *from;
	}
	*to = '\0';
	return out;
}

/* Drops every line that begins with `#`. */
static char *
sample_strip(const char *text)
{
	char *out = xstrdup(text);
	char *to = out;

	for (const char *line = text; *line;) {
		const char *end = strchr(line, '\n');
		size_t len = end ? (size_t)(end - line) + 1 : strlen(line);
		if (line[strspn(line, " ")] != '#') {
			memcpy(to, line, len);
			to += len;
		}
		line += len;
	}
	*to = '\0';
	return out;
}

static void
sample_variants_agree(void **state)
{
	static const char *const roots[] = {NULL, "/srv/postroom"};

	(void)state;
	char *text = sample_make("mail.example.org", 0, true);
	char *full = sample_uncomment(text);
	char *bare = sample_strip(text);
	assert_true(strlen(bare) < strlen(text));
	assert_non_null(strstr(full, "\n    max_message_size"));
	for (size_t i = 0; i < 2; i++) {
		struct conf *a = must_parse(text, roots[i]);
		struct conf *b = must_parse(full, roots[i]);
		struct conf *c = must_parse(bare, roots[i]);
		char *a_dump = conf_dump(a);
		char *b_dump = conf_dump(b);
		char *c_dump = conf_dump(c);
		assert_string_equal(a_dump, b_dump);
		assert_string_equal(a_dump, c_dump);
		free(a_dump);
		free(b_dump);
		free(c_dump);
		conf_free(&a);
		conf_free(&b);
		conf_free(&c);
	}
	free(text);
	free(full);
	free(bare);
}

static void
sample_shows_every_key(void **state)
{
	(void)state;
	char *text = sample_make("mail.example.org", 0, true);
	char *page = markdown_make();
	for (size_t i = 0; i < conf_key_count; i++) {
		char cell[64];
		assert_non_null(strstr(text, conf_keys[i].name));
		snprintf(cell, sizeof(cell), "| `%s` |", conf_keys[i].name);
		assert_non_null(strstr(page, cell));
		assert_non_null(strstr(page, conf_keys[i].help));
	}
	free(text);
	free(page);
}

static void
sample_for_init(void **state)
{
	static const struct {
		const char *name;
		enum conf_protocol protocol;
		enum conf_tls tls;
		uint16_t port;
	} want[] = {
	    {"mx",          CONF_SMTP,       CONF_TLS_STARTTLS, 25 },
	    {"submissions", CONF_SUBMISSION, CONF_TLS_IMPLICIT, 465},
	    {"submission",  CONF_SUBMISSION, CONF_TLS_STARTTLS, 587},
	    {"imaps",       CONF_IMAP,       CONF_TLS_IMPLICIT, 993},
	    {"imap",        CONF_IMAP,       CONF_TLS_STARTTLS, 143},
	    {"pop3s",       CONF_POP3,       CONF_TLS_IMPLICIT, 995},
	    {"pop3",        CONF_POP3,       CONF_TLS_STARTTLS, 110},
	};

	(void)state;
	char *text = sample_make("box.example.net", 20000, false);
	struct conf *conf = must_parse(text, "/r");
	assert_string_equal(conf->hostname, "box.example.net");
	assert_int_equal(conf->listener_count, 7);
	for (size_t i = 0; i < 7; i++) {
		const struct conf_listener *l = &conf->listeners[i];
		assert_string_equal(l->name, want[i].name);
		assert_int_equal(l->protocol, want[i].protocol);
		assert_int_equal(l->tls, want[i].tls);
		assert_int_equal(l->port, want[i].port + 20000);
		assert_int_equal(l->addresses.count, 2);
		assert_string_equal(l->addresses.items[0], "127.0.0.1");
		assert_string_equal(l->addresses.items[1], "[::1]");
		assert_true(l->enabled);
		assert_int_equal(l->max_per_ip, 100);
	}
	assert_string_equal(conf->store.path, "/r/store");
	assert_string_equal(conf->run_dir, "/r/run");
	assert_string_equal(conf->tls.certificate, "/r/etc/tls/server.pem");
	assert_string_equal(conf->tls.private_key, "/r/etc/tls/server.key");
	assert_string_equal(conf->log.to, "/r/log/postroom.log");
	conf_free(&conf);
	free(text);
}

static void
file_must_be(const char *path, const char *want)
{
	struct buf have;
	char chunk[4096];
	size_t got;
	FILE *file = fopen(path, "r");

	if (!file)
		fail_msg("%s is missing: run conf_test_conf_write --write", path);
	buf_init(&have, 1 << 20);
	while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buf_append(&have, slice_make(chunk, got));
	fclose(file);
	if (!slice_equal(buf_slice(&have), slice_from_cstr(want)))
		fail_msg(
		    "%s is not what the schema gives: run conf_test_conf_write --write",
		    path);
	buf_fini(&have);
}

static void
generated_files_are_current(void **state)
{
	(void)state;
	char *sample = sample_make("mail.example.org", 0, true);
	char *page = markdown_make();
	file_must_be(SAMPLE_PATH, sample);
	file_must_be(MARKDOWN_PATH, page);
	free(sample);
	free(page);
}

static bool
write_file(const char *path, char *text)
{
	FILE *file = fopen(path, "w");
	bool ok = file && fputs(text, file) >= 0;

	if (file && fclose(file) != 0)
		ok = false;
	if (!ok)
		perror(path);
	free(text);
	return ok;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sample_variants_agree),
	    cmocka_unit_test(sample_shows_every_key),
	    cmocka_unit_test(sample_for_init),
	    cmocka_unit_test(generated_files_are_current),
	};

	if (argc > 1 && strcmp(argv[1], "--write") == 0) {
		bool ok =
		    write_file(SAMPLE_PATH, sample_make("mail.example.org", 0, true));
		return write_file(MARKDOWN_PATH, markdown_make()) && ok ? 0 : 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
