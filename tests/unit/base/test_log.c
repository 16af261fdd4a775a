/*
 * One line an event, whatever a client sends: escaping in both formats, cuts that keep
 * the line whole, and what reaches the descriptor.
 */
#include "base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static const int64_t wall_ms = 1795664830123; /* 2026-11-26T03:47:10.123Z */

static size_t
make_line(char *out, size_t size, enum log_format format, const struct log_field *fields,
    size_t count)
{
	return log_line(out, size, wall_ms, "imapd", LOG_LEVEL_INFO, format, "imap.login",
	    fields, count);
}

static void
plain_lines(void **state)
{
	char line[512];
	const struct log_field fields[] = {
	    LF_STR("sid", "5f3a"),
	    LF("user", SLICE("ann@example.test")),
	    LF_U64("ms", 3),
	    LF_U64("bytes", UINT64_MAX),
	};
	(void)state;
	size_t len = make_line(line, sizeof(line), LOG_FORMAT_TEXT, fields, 4);
	assert_string_equal(line,
	    "2026-11-26T03:47:10.123Z imapd info imap.login sid=5f3a "
	    "user=ann@example.test ms=3 bytes=18446744073709551615");
	assert_int_equal(len, strlen(line));
	len = make_line(line, sizeof(line), LOG_FORMAT_JSON, fields, 4);
	assert_string_equal(line,
	    "{\"time\":\"2026-11-26T03:47:10.123Z\",\"daemon\":\"imapd\","
	    "\"level\":\"info\",\"event\":\"imap.login\",\"sid\":\"5f3a\","
	    "\"user\":\"ann@example.test\",\"ms\":3,\"bytes\":18446744073709551615}");
	assert_int_equal(len, strlen(line));
	make_line(line, sizeof(line), LOG_FORMAT_TEXT, NULL, 0);
	assert_string_equal(line, "2026-11-26T03:47:10.123Z imapd info imap.login");
}

static void
values_cannot_escape(void **state)
{
	static const struct {
		struct slice value;
		const char *text;
		const char *json;
	} rows[] = {
	    {SLICE("plain"),                         "plain",                             "\"plain\""                },
	    {SLICE(""),			      "\"\"",                              "\"\""                     },
	    {SLICE_NULL,			     "\"\"",                              "\"\""                     },
	    {SLICE("two words"),                     "\"two words\"",                     "\"two words\""            },
	    {SLICE("a=b"),			   "\"a=b\"",                           "\"a=b\""                  },
	    {SLICE("say \"hi\""),                    "\"say \\\"hi\\\"\"",                "\"say \\\"hi\\\"\""       },
	    {SLICE("back\\slash"),                   "\"back\\\\slash\"",                 "\"back\\\\slash\""        },
	    {SLICE("x\r\n2026 forged"),              "\"x\\r\\n2026 forged\"",
             "\"x\\r\\n2026 forged\""										},
	    {SLICE("tab\there"),                     "\"tab\\there\"",                    "\"tab\\there\""           },
	    {SLICE("nul\0end"),                      "\"nul\\x00end\"",                   "\"nul\\u0000end\""        },
	    {SLICE("esc\033[2J"),                    "\"esc\\x1b[2J\"",                   "\"esc\\u001b[2J\""        },
	    {SLICE("del\177"),                       "\"del\\x7f\"",                      "\"del\\u007f\""           },
 /* Valid UTF-8 stays, as the last character too. */
	    {SLICE("gr\xc3\xbc\xc3\x9f"),            "\"gr\xc3\xbc\xc3\x9f\"",
             "\"gr\xc3\xbc\xc3\x9f\""										},
	    {SLICE("\xe2\x82\xac \xf0\x9f\x93\xa7"), "\"\xe2\x82\xac \xf0\x9f\x93\xa7\"",
             "\"\xe2\x82\xac \xf0\x9f\x93\xa7\""								     },
 /* Latin-1, a lone tail, a cut sequence, overlong, surrogate, too large. */
	    {SLICE("gr\xfc\x66"),                    "\"gr\\xfcf\"",                      "\"gr\\ufffdf\""           },
	    {SLICE("\x80"),                          "\"\\x80\"",                         "\"\\ufffd\""              },
	    {SLICE("\xe2\x82"),                      "\"\\xe2\\x82\"",                    "\"\\ufffd\\ufffd\""       },
	    {SLICE("\xc0\xaf"),                      "\"\\xc0\\xaf\"",                    "\"\\ufffd\\ufffd\""       },
	    {SLICE("\xe0\x80\xaf"),                  "\"\\xe0\\x80\\xaf\"",               "\"\\ufffd\\ufffd\\ufffd\""},
	    {SLICE("\xed\xa0\x80"),                  "\"\\xed\\xa0\\x80\"",               "\"\\ufffd\\ufffd\\ufffd\""},
	    {SLICE("\xf4\x90\x80\x80"),              "\"\\xf4\\x90\\x80\\x80\"",
             "\"\\ufffd\\ufffd\\ufffd\\ufffd\""								      },
 /* C1 control (CSI), line separator, right-to-left override. */
	    {SLICE("\xc2\x9b"),                      "\"\\xc2\\x9b\"",                    "\"\\ufffd\\ufffd\""       },
	    {SLICE("\xe2\x80\xa8"),                  "\"\\xe2\\x80\\xa8\"",               "\"\\ufffd\\ufffd\\ufffd\""},
	    {SLICE("\xe2\x80\xae"),                  "\"\\xe2\\x80\\xae\"",               "\"\\ufffd\\ufffd\\ufffd\""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char line[512], want[512];
		const struct log_field field = LF("v", rows[i].value);
		make_line(line, sizeof(line), LOG_FORMAT_TEXT, &field, 1);
		snprintf(want, sizeof(want),
		    "2026-11-26T03:47:10.123Z imapd info imap.login v=%s", rows[i].text);
		assert_string_equal(line, want);
		make_line(line, sizeof(line), LOG_FORMAT_JSON, &field, 1);
		snprintf(want, sizeof(want),
		    "{\"time\":\"2026-11-26T03:47:10.123Z\",\"daemon\":\"imapd\","
		    "\"level\":\"info\",\"event\":\"imap.login\",\"v\":%s}",
		    rows[i].json);
		assert_string_equal(line, want);
	}
}

/* Every pair of bytes: the line has no control character and its quotes are balanced. */
static void
no_bytes_break_a_line(void **state)
{
	(void)state;
	for (unsigned pair = 0; pair < 65536; pair++) {
		const char bytes[2] = {(char)(pair >> 8), (char)(pair & 255)};
		const struct log_field fields[] = {
		    LF("v", slice_make(bytes, 2)),
		    LF_U64("end", 1),
		};
		for (int format = 0; format < 2; format++) {
			char line[256];
			size_t len = make_line(
			    line, sizeof(line), (enum log_format)format, fields, 2);
			bool quoted = false;
			for (size_t i = 0; i < len; i++) {
				unsigned char c = (unsigned char)line[i];
				assert_true(c >= ' ' && c != 0x7f);
				if (quoted && c == '\\')
					i++;
				else if (c == '"')
					quoted = !quoted;
			}
			assert_false(quoted);
			const char *end = format ? ",\"end\":1}" : " end=1";
			assert_string_equal(line + len - strlen(end), end);
		}
	}
}

static void
names_are_tamed(void **state)
{
	char line[256];
	const struct log_field field = LF_U64("bad key=\n", 1);
	(void)state;
	log_line(line, sizeof(line), wall_ms, "im apd", LOG_LEVEL_WARN, LOG_FORMAT_TEXT,
	    "ev\"ent", &field, 1);
	assert_string_equal(
	    line, "2026-11-26T03:47:10.123Z im_apd warn ev_ent bad_key__=1");
}

static void
long_values_and_lines_are_cut(void **state)
{
	char value[LOG_VALUE_MAX * 2], line[LOG_LINE_MAX + 1];
	(void)state;
	memset(value, 'x', sizeof(value));
	struct log_field fields[8];
	for (size_t i = 0; i < 8; i++)
		fields[i] = LF("v", slice_make(value, sizeof(value)));
	for (int format = 0; format < 2; format++) {
		size_t len =
		    make_line(line, sizeof(line), (enum log_format)format, fields, 8);
		const char *end = format ? "...\",\"cut\":1}" : "...\" cut=1";
		assert_true(len <= LOG_LINE_MAX);
		assert_true(len > LOG_LINE_MAX / 2);
		assert_string_equal(line + len - strlen(end), end);
	}
	/* No size is too small, and the NUL is always there. */
	for (size_t size = 1; size < 200; size++) {
		char *exact = malloc(size);
		assert_non_null(exact);
		for (int format = 0; format < 2; format++) {
			size_t len =
			    make_line(exact, size, (enum log_format)format, fields, 8);
			assert_true(len < size);
			assert_int_equal(exact[len], '\0');
		}
		free(exact);
	}
	assert_int_equal(make_line(line, 0, LOG_FORMAT_TEXT, fields, 1), 0);
}

static void
times(void **state)
{
	static const struct {
		int64_t ms;
		const char *want;
	} rows[] = {
	    {0,             "1970-01-01T00:00:00.000Z d error e"},
	    {-1,            "1969-12-31T23:59:59.999Z d error e"},
	    {951782399999,  "2000-02-28T23:59:59.999Z d error e"},
	    {951782400000,  "2000-02-29T00:00:00.000Z d error e"},
	    {4102444799005, "2099-12-31T23:59:59.005Z d error e"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char line[128];
		log_line(line, sizeof(line), rows[i].ms, "d", LOG_LEVEL_ERROR,
		    LOG_FORMAT_TEXT, "e", NULL, 0);
		assert_string_equal(line, rows[i].want);
	}
}

static void
events_reach_the_descriptor(void **state)
{
	int ends[2];
	char got[1024];
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	clock_fake(0, wall_ms);
	log_setup("smtpd", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, ends[1]);
	assert_true(log_enabled(LOG_LEVEL_ERROR));
	assert_false(log_enabled(LOG_LEVEL_DEBUG));
	LOG_DEBUG("smtp.debug", LF_STR("k", "not seen"));
	LOG_INFO("smtp.accept", LF_STR("from", "a@example.test"), LF_U64("size", 5));
	LOG_ERROR("smtp.broken", LF_STR("why", "disk\nfull"));
	ssize_t len = read(ends[0], got, sizeof(got) - 1);
	assert_true(len > 0);
	got[len] = '\0';
	assert_string_equal(got,
	    "2026-11-26T03:47:10.123Z smtpd info smtp.accept from=a@example.test size=5\n"
	    "2026-11-26T03:47:10.123Z smtpd error smtp.broken why=\"disk\\nfull\"\n");
	/* Nowhere to write: nothing happens, and a closed reader is no harm. */
	log_setup("smtpd", LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT, -1);
	assert_false(log_enabled(LOG_LEVEL_ERROR));
	LOG_ERROR("smtp.broken", LF_STR("why", "nobody reads"));
	assert_true(read(ends[0], got, sizeof(got)) < 0);
	close(ends[0]);
	close(ends[1]);
	clock_fake_off();
}

/* A log file that is moved away is made anew, in the same descriptor. */
static void
files_are_reopened(void **state)
{
	char dir[] = "/tmp/base-log-XXXXXX";
	char path[64], moved[64], text[256];
	struct stat st;
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.log", dir);
	snprintf(moved, sizeof(moved), "%s/x.log.1", dir);
	mode_t mask = umask(0077);
	assert_true(log_open("smtpd", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, path));
	int first = dup(STDERR_FILENO);
	close(first);
	LOG_INFO("a.one");
	assert_int_equal(rename(path, moved), 0);
	for (int i = 0; i < 10; i++)
		assert_true(log_open("smtpd", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, path));
	LOG_INFO("a.two");
	int last = dup(STDERR_FILENO);
	close(last);
	assert_int_equal(first, last);
	umask(mask);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	assert_non_null(strstr(text, "a.two"));
	assert_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	/* What cannot be opened changes nothing. */
	assert_false(
	    log_open("smtpd", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "/no/such/dir/l"));
	LOG_INFO("a.three");
	assert_int_equal(stat(path, &st), 0);
	assert_true((size_t)st.st_size > strlen("a.two a.three") + 40);
	assert_true(log_open("smtpd", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL));
	unlink(path);
	unlink(moved);
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_lines),
	    cmocka_unit_test(values_cannot_escape),
	    cmocka_unit_test(no_bytes_break_a_line),
	    cmocka_unit_test(names_are_tamed),
	    cmocka_unit_test(long_values_and_lines_are_cut),
	    cmocka_unit_test(times),
	    cmocka_unit_test(events_reach_the_descriptor),
	    cmocka_unit_test(files_are_reopened),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
