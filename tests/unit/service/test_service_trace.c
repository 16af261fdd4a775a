/*
 * The trace files: what is written is found again by its values only, a value cannot pass
 * for a key, and a file that could not be opened is tried again.
 */
#include "service/trace.h"

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

static const int64_t noon_ms = INT64_C(1795600000) * 1000;

struct seen {
	unsigned count;
	char mid[64];
};

static bool
see(struct slice line, void *arg)
{
	struct seen *seen = arg;
	seen->count++;
	assert_true(trace_value(line, "mid", seen->mid, sizeof(seen->mid)));
	return true;
}

static unsigned
find(const char *dir, const char *needle)
{
	struct seen seen = {0};
	assert_int_equal(
	    trace_find(dir, 0, slice_from_cstr(needle), see, &seen), STATUS_OK);
	return seen.count;
}

static void
values(void **state)
{
	(void)state;
	char out[64];
	static const struct {
		const char *line, *key, *want;
	} rows[] = {
	    {"t smtpd info e mid=1 to=a@b",              "mid",  "1"      },
	    {"t smtpd info e mid=1 to=a@b",              "to",   "a@b"    },
	    {"t smtpd info e mid=1 to=a@b",              "from", NULL     },
	    {"t smtpd info e subject=\"x mid=9\" mid=1", "mid",  "1"      },
	    {"t smtpd info e s=\"q\\\" mid=9\" mid=1",   "mid",  "1"      },
	    {"t smtpd info e from=\"a \\\"b\\\"\"",      "from", "a \"b\""},
	    {"t smtpd info e xmid=1",                    "mid",  NULL     },
	    {"t smtpd info e mid=",                      "mid",  ""       },
	    {"t smtpd info e mid",                       "mid",  NULL     },
	    {"",					 "mid",  NULL     },
	    {"t mid=\"open",			     "mid",  "open"   },
	    {"t mid=\"open\\",                           "mid",  "open\\" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool found = trace_value(
		    slice_from_cstr(rows[i].line), rows[i].key, out, sizeof(out));
		assert_int_equal(found, rows[i].want != NULL);
		if (found)
			assert_string_equal(out, rows[i].want);
	}
	/* A value that does not fit is cut. */
	char small[4];
	assert_true(trace_value(SLICE("t mid=abcdef"), "mid", small, sizeof(small)));
	assert_string_equal(small, "abc");
}

static void
write_and_find(void **state)
{
	(void)state;
	char dir[] = "/tmp/service-trace-XXXXXX";
	char sub[64], file[96];
	struct trace *trace;
	assert_non_null(mkdtemp(dir));
	snprintf(sub, sizeof(sub), "%s/trace", dir);
	clock_fake(0, noon_ms);
	assert_int_equal(trace_open(sub, "smtpd", &trace), STATUS_OK);
	TRACE(trace, "smtp.accept", LF_STR("mid", "m1"), LF_STR("from", "Jo@example.org"),
	    LF_STR("subject", "to=amy@example.org x"));
	TRACE(trace, "smtp.deliver", LF_STR("mid", "m1"), LF_STR("to", "bo@example.org"));
	TRACE(trace, "smtp.accept", LF_STR("mid", "m2"), LF_STR("from", "x@example.org"));
	assert_int_equal(find(sub, "m1"), 2);
	assert_int_equal(find(sub, "JO@EXAMPLE.ORG"), 1);
	assert_int_equal(find(sub, "amy@example.org"), 0);
	assert_int_equal(find(sub, "m"), 0);

	/* The next day's file cannot be opened at first: it is tried again. */
	assert_int_equal(chmod(sub, 0500), 0);
	clock_fake(0, noon_ms + INT64_C(86400) * 1000);
	snprintf(file, sizeof(file), "%s/2026-11-26.log", sub);
	if (geteuid() == 0) /* root opens it all the same: stand in its way */
		assert_int_equal(mkdir(file, 0700), 0);
	TRACE(trace, "smtp.accept", LF_STR("mid", "lost"));
	assert_int_equal(chmod(sub, 0700), 0);
	rmdir(file);
	TRACE(trace, "smtp.accept", LF_STR("mid", "same-second"));
	clock_fake(0, noon_ms + INT64_C(86401) * 1000);
	TRACE(trace, "smtp.accept", LF_STR("mid", "kept"));
	assert_int_equal(find(sub, "lost"), 0);
	assert_int_equal(find(sub, "kept"), 1);

	/* Files older than a day go. */
	trace_prune(trace, 0);
	assert_int_equal(find(sub, "m1"), 0);
	assert_int_equal(find(sub, "kept"), 1);
	trace_close(&trace);
	assert_null(trace);
	trace_event(NULL, "x", NULL, 0);
	clock_fake_off();
	unlink(file);
	assert_int_equal(rmdir(sub), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(
	    trace_find(sub, 0, SLICE("m1"), see, &(struct seen){0}), STATUS_NOT_FOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values),
	    cmocka_unit_test(write_and_find),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
