/*
 * Reading a configuration: each trap of the library below, errors with their lines, and
 * files that are cut off anywhere.
 */
#include "unit/conf/conf_dump.h"

#include <unistd.h>

#include "base/ids.h"

#define HEAD "hostname = mx.example.org\nlistener \"a\" { protocol = imap port = 1 }\n"

struct fault {
	const char *what;
	const char *text;
	const char *errors; /* in errors_dump's form */
};

#define NO_HOST "hostname is missing: write hostname = \"mail.example.org\"\n"

static const struct fault faults[] = {
    {"nothing at all",                   "",
     "1: " NO_HOST "0: warning: no listener is enabled: nobody can connect\n"                                                                     },
    {"unknown key, near",                HEAD "smtp {\n max_eror = 3\n}\n",
     "4: there is no key 'max_eror' in section 'smtp': did you mean 'max_errors'?\n"                                                              },
    {"unknown key, of another section",  HEAD "smtp {\n warn_after = 5m\n}\n",
     "4: there is no key 'warn_after' in section 'smtp': it belongs in section "
	"relay\n"																 },
    {"unknown key, of the top level",    HEAD "smtp {\n threads = 3\n}\n",
     "4: there is no key 'threads' in section 'smtp': it belongs outside of all "
	"sections\n"															      },
    {"unknown key, far",                 HEAD "greylist = 1\n",                                 "3: there is no key 'greylist'\n"                 },
    {"unknown section",                  HEAD "smpt {\n a = 1\n}\n",
     "3: there is no section 'smpt': did you mean 'smtp'?\n"										      },
    {"unknown section, far",             HEAD "backup { at = x }\n",
     "3: there is no section 'backup'\n"													  },
    {"all errors, also in one section",
     HEAD
	"smtp {\n max_errors = none\n max_recipients = 0\n}\nrelay {\n retry = {\"5m\", "
	"\"x\"}\n}\n",									  "4: max_errors: 'none' is no number: write digits only\n"
	"5: max_recipients: '0' is out of bounds: 1 to 50000\n"
	"8: retry: 'x' is no duration: write a number and ms, s, m, h, d or w, such as "
	"30s "
	"or 5m\n"													   },
    {"bounds teach the unit",            HEAD "smtp { command_timeout = 3d }\n",
     "3: command_timeout: '3d' is out of bounds: 1s to 1h\n"										      },
    {"cut off in a section",             HEAD "smtp {\n max_errors = 3\n",
     "3: the { of 'smtp' is never closed: is the file cut off?\n"										 },
    {"cut off in a string",              HEAD "user = \"post\n",
     "3: the \" that opens here is never closed: is the file cut off?\n"                                                                          },
    {"cut off in a list",                HEAD "relay {\n retry = {\"5m\",\n",
     "3: the { of 'relay' is never closed: is the file cut off?\n"
	"4: the { of this list is never closed: is the file cut off?\n"									   },
    {"cut off in a comment",             HEAD "/* and\nthen\n",
     "3: the comment that begins here is never closed: is the file cut off?\n"                                                                    },
    {"cut off in a word",                HEAD "threads = 1",
     "3: the file ends within this line: is it cut off? (the last line needs its line "
	"end)\n"																  },
    {"cut off before the value",         HEAD "threads =\n",                                    "3: 'threads' has no value\n"                     },
    {"cut off before the end mark",      "begin = \"postroom.conf\"\n" HEAD,
     "4: the file ends without end = \"postroom.conf\", which begin in line 1 "
	"promises: "
	"is it cut off?\n"															},
    {"end mark with another word",       HEAD "end = \"postroom.con\"\n",
     "3: end: the value is \"postroom.conf\"\n"												   },
    {"a brace is missing in the middle",
     HEAD "smtp {\n max_errors = 3\nrelay {\n port = 26\n}\n",
     "3: the { of 'smtp' is never closed: is the file cut off?\n"
	"5: a section cannot begin inside another: is the } of 'smtp' (line 3) "
	"missing?\n"															      },
    {"a brace too many",                 HEAD "smtp {\n}\n}\nthreads = 900\n",
     "5: this } closes nothing\n6: threads: '900' is out of bounds: 0 to 256\n"                                                                   },
    {"environment in double quotes",     HEAD "user = \"${HOME}\"\n",
     "3: ${...} would be taken from the environment, which is not allowed: write the "
	"value itself, or '...' around these characters\n"											},
    {"environment without quotes",       HEAD "user = ${HOME}\n",
     "3: ${...} would be taken from the environment, which is not allowed: write the "
	"value itself, or '...' around these characters\n"											},
    {"list for a value",                 HEAD "threads = {1}\n",
     "3: 'threads' takes one value: write threads = value\n"										      },
    {"value for a list",                 HEAD "relay { retry = 5m }\n",
     "3: 'retry' is a list: write retry = {\"a\", \"b\"}\n"										       },
    {"empty list where one is needed",   HEAD "relay { retry = {} }\n",
     "3: retry: the list has 0 values: 1 to 64 are allowed\n"										     },
    {"appending",			HEAD "smtp { trusted_networks += {\"::1\"} }\n",
     "3: 'trusted_networks +=' is not known: write the whole list with =\n"                                                                       },
    {"a function",		       HEAD "include(\"local.conf\")\n",
     "3: include(...) is not known: one file holds everything\n"										  },
    {"no sign",			  HEAD "threads 3\n",				    "3: '=' is missing after 'threads' (before '3')\n"},
    {"two signs",			HEAD "threads == 3\nuser = \"\"\n",
     "3: 'threads' has no value\n4: user: '' has 0 characters: 1 to 32 are allowed\n"                                                             },
    {"a title where none is",            HEAD "smtp \"x\" { }\n",
     "3: only listeners have names: write smtp { ... }\n"											 },
    {"a listener without name",          HEAD "listener { protocol = imap port = 2 }\n",
     "3: a listener has a name: listener \"imaps\" { ... }\n"										     },
    {"a listener twice",                 HEAD "listener \"a\" { protocol = imap port = 2 }\n",
     "3: there is a listener 'a' in line 2 already: give this one another name\n"                                                                 },
    {"a listener with a taken port",     HEAD "listener \"b\" { protocol = pop3 port = 1 }\n",
     "3: listener 'b' has the port and address of 'a' (line 2)\n"										 },
    {"a listener without anything",      HEAD "listener \"b\" { }\n",
     "3: listener 'b' has no protocol: smtp, submission, imap, pop3, lmtp or local\n"
	"3: listener 'b' has no port\n"													   },
    {"http is not there yet",            HEAD "listener \"b\" { protocol = http port = 80 }\n",
     "3: protocol: 'http' is not known: it can be smtp, submission, imap, pop3, lmtp "
	"or local\n"															      },
    {"lines after a comment of several", "/* a\n * b\n */\n" HEAD "\n\nthreads = x\n",
     "8: threads: 'x' is no number: write digits only\n"											  },
    {"lines after a string of several",  "hostname = \"a\nb\"\nthreads = x\n",
     "1: hostname: 'a b' is no host name: write letters, digits, hyphens and dots, "
	"such as "
	"\"mail.example.org\"\n3: threads: 'x' is no number: write digits only\n"
	"0: warning: no listener is enabled: nobody can connect\n"										},
    {"a control character",              "hostname = mx\n\x01\n",
     "2: a control character (0x01) is not allowed\n"											     },
    {"a quote in the wrong place",       HEAD "\"user\" = x\n",
     "3: a name is expected here: name = value, or name { ... }\n"										},
};

static void
faults_have_lines(void **state)
{
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct conf_errors errors = {NULL, 0};
		struct conf *conf =
		    conf_parse(slice_from_cstr(faults[i].text), "t.conf", NULL, &errors);
		char *have = errors_dump(&errors);
		if (conf || strcmp(have, faults[i].errors) != 0) {
			wrong++;
			print_error("%s (%s):\nwant\n%s\nhave\n%s\n", faults[i].what,
			    conf ? "PARSED" : "refused", faults[i].errors, have);
		}
		for (size_t j = 0; j < errors.count; j++)
			assert_string_equal(errors.items[j].file, "t.conf");
		free(have);
		conf_errors_free(&errors);
	}
	assert_int_equal(wrong, 0);
}

static void
warnings_do_not_fail(void **state)
{
	struct conf_errors errors = {NULL, 0};

	(void)state;
	struct conf *conf = conf_parse(
	    SLICE(HEAD
		"smtp { max_errors = 3\n max_errors = 4 }\nsmtp { max_received = 20 }\n"
		"threads = 1\nthreads = 2\nsmtp { max_errors = 5 }\n"
		"relay { warn_after = 6d }\n"),
	    "t.conf", NULL, &errors);
	char *have = errors_dump(&errors);
	assert_non_null(conf);
	assert_string_equal(have,
	    "4: warning: 'max_errors' is set in line 3 already; this one counts\n"
	    "5: warning: section 'smtp' is in line 3 already; both count\n"
	    "7: warning: 'threads' is set in line 6 already; this one counts\n"
	    "8: warning: section 'smtp' is in line 3 already; both count\n"
	    "8: warning: 'max_errors' is set in line 4 already; this one counts\n"
	    "9: warning: relay: warn_after is longer than lifetime: no delay notice is "
	    "sent\n");
	assert_int_equal(conf->smtp.max_errors, 5);
	assert_int_equal(conf->smtp.max_received, 20);
	assert_int_equal(conf->threads, 2);
	free(have);
	conf_errors_free(&errors);
	conf_free(&conf);
}

static void
values_arrive(void **state)
{
	(void)state;
	struct conf *conf = must_parse(
	    "hostname = 'mx.example.org' user = \"po\\\"st\" # c } \"\n"
	    "listener \"imaps-one\" { protocol = imap port = 993 tls = implicit\n"
	    "  address = {\"::1\", 127.0.0.1,} enabled = no max_connections = 7 }\n"
	    "listener 'x' { protocol = smtp port = 25 }\n"
	    "relay { retry = { 1s, \"2s\" , '1h' } // }\n"
	    "  tls = required port = 2525 /* { */ }\n"
	    "store { path = 'a ${b} c' map_size = 1G min_free = 7 sync = true }\r\n"
	    "dns { servers = {} }",
	    "/root/");
	assert_string_equal(conf->hostname, "mx.example.org");
	assert_string_equal(conf->user, "po\"st");
	assert_int_equal(conf->listener_count, 2);
	assert_string_equal(conf->listeners[0].name, "imaps-one");
	assert_int_equal(conf->listeners[0].tls, CONF_TLS_IMPLICIT);
	assert_int_equal(conf->listeners[0].addresses.count, 2);
	assert_string_equal(conf->listeners[0].addresses.items[0], "[::1]");
	assert_string_equal(conf->listeners[0].addresses.items[1], "127.0.0.1");
	assert_false(conf->listeners[0].enabled);
	assert_int_equal(conf->listeners[0].max_connections, 7);
	assert_int_equal(conf->listeners[1].tls, CONF_TLS_STARTTLS);
	assert_string_equal(conf->listeners[1].addresses.items[1], "[::]");
	assert_int_equal(conf->relay.retry_count, 3);
	assert_int_equal(conf->relay.retry_s[0], 1);
	assert_int_equal(conf->relay.retry_s[1], 2);
	assert_int_equal(conf->relay.retry_s[2], 3600);
	assert_string_equal(conf->relay.tls, "required");
	assert_int_equal(conf->relay.port, 2525);
	assert_string_equal(conf->store.path, "/root/a ${b} c");
	assert_int_equal(conf->store.map_size, 1 << 30);
	assert_int_equal(conf->store.min_free_percent, 7);
	assert_string_equal(conf->run_dir, "/root/run");
	conf_free(&conf);
}

/* The words of the file and those of the enums are the same. */
static void
words_of_enums(void **state)
{
	(void)state;
	for (int i = 0; i < 5 * 3; i++) {
		char text[256];
		enum conf_protocol protocol = (enum conf_protocol)(i % 5);
		enum conf_tls tls = (enum conf_tls)(i / 5);
		struct conf_errors errors = {0};
		snprintf(text, sizeof(text),
		    "hostname = a.example\nlistener x { protocol = %s port = 1 tls = %s "
		    "}\n",
		    conf_protocol_word(protocol), conf_tls_word(tls));
		struct conf *c = conf_parse(slice_from_cstr(text), "x", NULL, &errors);
		assert_non_null(c);
		assert_int_equal(c->listeners[0].protocol, protocol);
		assert_int_equal(c->listeners[0].tls, tls);
		conf_free(&c);
		conf_errors_free(&errors);
	}
}

static void
sockets_by_path(void **state)
{
	(void)state;
	struct conf *c = must_parse(HEAD "listener l { protocol = lmtp path = "
					 "\"run/l.sock\" mode = \"0660\" }\n"
					 "listener t { protocol = lmtp port = 24 }\n"
					 "listener s { protocol = local }\n",
	    "/root");
	assert_string_equal(c->listeners[1].path, "/root/run/l.sock");
	assert_int_equal(c->listeners[1].addresses.count, 1);
	assert_string_equal(c->listeners[1].addresses.items[0], "/root/run/l.sock");
	assert_int_equal(c->listeners[1].tls, CONF_TLS_NONE);
	assert_int_equal(c->listeners[1].port, 0);
	assert_int_equal(conf_socket_mode(&c->listeners[1]), 0660);
	assert_int_equal(conf_socket_mode(&c->listeners[2]), 0600);
	assert_int_equal(c->listeners[2].networks.count, 2);
	assert_string_equal(c->listeners[3].path, "/root/run/sendmail.sock");
	assert_int_equal(conf_socket_mode(&c->listeners[3]), 0666);
	conf_free(&c);
	static const char *const bad[] = {
	    "{ protocol = lmtp port = 25 }",
	    "{ protocol = pop3 path = \"/x\" }",
	    "{ protocol = lmtp path = \"/x\" port = 24 }",
	    "{ protocol = lmtp path = \"/x\" mode = \"0777\" }",
	    "{ protocol = lmtp path = \"/x\" }\nlistener m { protocol = lmtp path = "
	    "\"/x\" }",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[256];
		struct conf_errors errors = {0};
		snprintf(text, sizeof(text), HEAD "listener l %s\n", bad[i]);
		assert_null(conf_parse(slice_from_cstr(text), "x", NULL, &errors));
		assert_int_equal(errors.count, 1);
		conf_errors_free(&errors);
	}
}

static void
defaults_are_the_promised(void **state)
{
	(void)state;
	struct conf *c = must_parse(HEAD, NULL);
	assert_int_equal(c->smtp.max_message_size, 50 << 20);
	assert_int_equal(c->smtp.max_recipients, 1000);
	assert_int_equal(c->smtp.max_errors, 10);
	assert_int_equal(c->smtp.command_timeout_ms, 300000);
	assert_int_equal(c->smtp.data_timeout_ms, 600000);
	assert_int_equal(c->smtp.trusted_networks.count, 0);
	assert_int_equal(c->smtp.max_received, 50);
	assert_int_equal(c->relay.lifetime_s, 5 * 86400);
	assert_int_equal(c->relay.warn_after_s, 4 * 3600);
	static const uint64_t retry[] = {300, 600, 1200, 2400, 3600, 7200, 14400};
	assert_int_equal(c->relay.retry_count, 7);
	assert_memory_equal(c->relay.retry_s, retry, sizeof(retry));
	assert_int_equal(c->relay.connections, 20);
	assert_int_equal(c->relay.port, 25);
	assert_int_equal(c->imap.idle_timeout_ms, 1800000);
	assert_int_equal(c->imap.max_sessions_per_user, 64);
	assert_true(c->pop3.delete_on_retrieval);
	assert_int_equal(c->pop3.idle_timeout_ms, 600000);
	assert_int_equal(c->auth.mechanisms.count, 7);
	assert_string_equal(c->auth.mechanisms.items[0], "SCRAM-SHA-256");
	assert_int_equal(c->auth.password_min, 8);
	assert_int_equal(c->auth.iterations, 4096);
	assert_int_equal(c->auth.fail_delay_ms, 1000);
	assert_int_equal(c->auth.block_after, 20);
	assert_int_equal(c->auth.block_for_s, 3600);
	assert_int_equal(c->listeners[0].max_per_ip, 100);
	assert_int_equal(c->store.map_size, UINT64_C(256) << 30);
	assert_int_equal(c->store.undelete_days, 7);
	assert_true(c->store.sync);
	assert_int_equal(c->log.trace_days, 14);
	assert_string_equal(c->store.path, "/var/lib/postroom");
	assert_string_equal(c->run_dir, "/run/postroom");
	assert_string_equal(c->tls.certificate, "/etc/postroom/tls/server.pem");
	assert_string_equal(c->tls.private_key, "/etc/postroom/tls/server.key");
	assert_string_equal(c->log.to, "stderr");
	conf_free(&c);
}

/* The sample as init writes it, with some of its settings in force. */
static char *
sample_text(void)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	conf_write_sample(&out, "mail.example.org", 20000, false);
	char *text = slice_to_cstr(buf_slice(&out));
	for (char *p = text; (p = strstr(p, "\n    #")); p += 6)
		p[5] = ' ';
	buf_fini(&out);
	return text;
}

/* Parses the first `len` bytes; null when refused. */
static char *
dump_of(const char *text, size_t len)
{
	struct conf_errors errors = {NULL, 0};
	struct conf *conf = conf_parse(slice_make(text, len), "t.conf", NULL, &errors);
	char *dump = conf ? conf_dump(conf) : NULL;

	assert_true(conf || errors.count > 0);
	conf_errors_free(&errors);
	conf_free(&conf);
	return dump;
}

static void
cut_off_never_starts(void **state)
{
	(void)state;
	char *text = sample_text();
	size_t len = strlen(text);
	char *whole = dump_of(text, len);
	assert_non_null(whole);
	size_t same = 0;
	bool comment = false;
	for (size_t cut = 0; cut < len; cut++) {
		/* Within a comment one place is as good as the other. */
		bool was_comment = comment;
		comment = text[cut] == '#' || (comment && text[cut] != '\n');
		if (comment && was_comment)
			continue;
		char *dump = dump_of(text, cut);
		if (!dump)
			continue;
		/* What is gone can only have been the line end behind the end mark. */
		assert_string_equal(dump, whole);
		assert_true(cut >= len - 1);
		same++;
		free(dump);
	}
	assert_int_equal(same, 1);
	free(whole);
	free(text);
}

/* Without the frame, a cut between two settings cannot be seen; any other is. */
static void
cut_off_without_frame(void **state)
{
	static const char text[] = HEAD "smtp { max_errors = 3 }\nuser = \"postmaster\"\n"
					"threads = 16\nrelay { retry = {\"5m\"} }\n";
	size_t parsed = 0;

	(void)state;
	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		char *dump = dump_of(text, cut);
		if (!dump)
			continue;
		/* Only behind something that is whole. */
		assert_true(strchr("\n}\" ", text[cut - 1]) != NULL);
		parsed++;
		free(dump);
	}
	assert_true(parsed > 0);
}

/* Changed, doubled and removed bytes: refused or understood, never a crash, and the same
 * bytes always give the same answer. */
static void
mutations_are_survived(void **state)
{
	static const char bytes[] = "{}\"'=,#/*\\$+() \n\tax0\r";
	(void)state;
	char *text = sample_text();
	size_t len = strlen(text);
	char *copy = xmalloc(len + 2);
	random_fake(7);
	for (int round = 0; round < 400; round++) {
		size_t copy_len = len;
		memcpy(copy, text, len);
		for (uint64_t n = random_u64() % 4 + 1; n > 0; n--) {
			size_t at = random_u64() % copy_len;
			char byte = bytes[random_u64() % (sizeof(bytes) - 1)];
			if (random_u64() % 3 == 0) {
				memmove(copy + at, copy + at + 1, copy_len - at - 1);
				copy_len--;
			} else {
				copy[at] = byte;
			}
		}
		char *one = dump_of(copy, copy_len);
		char *two = dump_of(copy, copy_len);
		assert_int_equal(one != NULL, two != NULL);
		if (one)
			assert_string_equal(one, two);
		free(one);
		free(two);
	}
	random_fake(0);
	free(copy);
	free(text);
}

static void
files_are_read(void **state)
{
	char path[] = "/tmp/confauth-test-XXXXXX";
	struct conf_errors errors = {NULL, 0};

	(void)state;
	assert_null(conf_read("/nonexistent/postroom.conf", NULL, &errors));
	assert_int_equal(errors.count, 1);
	assert_non_null(strstr(errors.items[0].text, "No such file"));
	assert_null(conf_read("/tmp", NULL, &errors));
	assert_int_equal(errors.count, 2);
	conf_errors_free(&errors);
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, HEAD, strlen(HEAD)), strlen(HEAD));
	struct conf *conf = conf_read(path, "/r", &errors);
	assert_non_null(conf);
	assert_string_equal(conf->store.path, "/r/store");
	conf_free(&conf);
	/* Larger than any configuration is. */
	char *filler = xcalloc(1, CONF_FILE_BYTES_MAX);
	memset(filler, '\n', CONF_FILE_BYTES_MAX);
	assert_int_equal(write(fd, filler, CONF_FILE_BYTES_MAX), CONF_FILE_BYTES_MAX);
	assert_null(conf_read(path, "/r", &errors));
	assert_int_equal(errors.count, 1);
	free(filler);
	close(fd);
	unlink(path);
	conf_errors_free(&errors);
}

static void
limits_hold(void **state)
{
	struct conf_errors errors = {NULL, 0};
	struct buf text;

	(void)state;
	buf_init(&text, CONF_FILE_BYTES_MAX);
	for (int i = 0; i < 5000; i++)
		buf_append_format(&text, "smtp { max_error = %d } # x\n", i);
	assert_null(conf_parse(buf_slice(&text), "t", NULL, &errors));
	assert_int_equal(errors.count, CONF_ERRORS_MAX + 1);
	conf_errors_free(&errors);
	buf_reset(&text);
	buf_append_cstr(&text, HEAD);
	for (int i = 0; i < CONF_LISTENERS_MAX; i++)
		buf_append_format(&text,
		    "listener \"l%d\" { protocol = imap port = %d }\n", i, 100 + i);
	assert_null(conf_parse(buf_slice(&text), "t", NULL, &errors));
	assert_string_equal(errors.items[0].text, "more than 32 listeners");
	conf_errors_free(&errors);
	buf_fini(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(faults_have_lines),
	    cmocka_unit_test(warnings_do_not_fail),
	    cmocka_unit_test(values_arrive),
	    cmocka_unit_test(words_of_enums),
	    cmocka_unit_test(defaults_are_the_promised),
	    cmocka_unit_test(cut_off_never_starts),
	    cmocka_unit_test(cut_off_without_frame),
	    cmocka_unit_test(sockets_by_path),
	    cmocka_unit_test(mutations_are_survived),
	    cmocka_unit_test(files_are_read),
	    cmocka_unit_test(limits_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
