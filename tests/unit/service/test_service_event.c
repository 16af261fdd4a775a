/*
 * Delivery events: which lines of the trace are one, what is told, places as text, and
 * reading from a place on over days, cut lines and files that are gone.
 */
#include "service/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void
kinds(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		int kind; /* -1: none */
	} rows[] = {
	    {"t smtpd info smtp.accept mid=1 to=a@b",             EVENT_ACCEPTED  },
	    {"t smtpd info smtp.reject mid=1 to=a@b",             -1              },
	    {"t smtpd info deliver.local mid=1 status=delivered", EVENT_DELIVERED },
	    {"t smtpd info deliver.local mid=1 status=ok",        EVENT_DELIVERED },
	    {"t smtpd info deliver.local mid=1 status=quota",     -1              },
	    {"t smtpd info relay.done mid=1 host=mx[1]",          EVENT_DELIVERED },
	    {"t smtpd info relay.done mid=1 host=\"\"",           -1              },
	    {"t smtpd info relay.defer mid=1",                    EVENT_DEFERRED  },
	    {"t smtpd info relay.fail mid=1",                     EVENT_BOUNCED   },
	    {"t smtpd info report.bounce mid=1 action=failed",    EVENT_BOUNCED   },
	    {"t smtpd info report.bounce mid=1 action=delayed",   EVENT_DEFERRED  },
	    {"t smtpd info report.bounce mid=1 action=relayed",   -1              },
	    {"t smtpd info report.unproven mid=1",                -1              },
	    {"t smtpd info report.complaint mid=1",               EVENT_COMPLAINED},
	    {"t smtpd info relay.suppress to=a@b",                EVENT_SUPPRESSED},
	    {"t smtpd info x s=\" relay.fail \"",                 -1              },
	    {"",						  -1              },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum event_kind kind = EVENT_KINDS;
		bool found = event_kind_of(slice_from_cstr(rows[i].line), &kind);
		assert_int_equal(found ? (int)kind : -1, rows[i].kind);
	}
	unsigned bits = 0;
	for (int k = 0; k < EVENT_KINDS; k++)
		assert_true(event_kind_parse(
		    slice_from_cstr(event_kind_text((enum event_kind)k)), &bits));
	assert_int_equal(bits, EVENT_ALL);
	assert_false(event_kind_parse(SLICE("deliver"), &bits));
	assert_false(event_kind_parse(SLICE(""), &bits));
}

static void
json(void **state)
{
	(void)state;
	const struct trace_place at = {20781, 7};
	struct slice line = SLICE(
	    "2026-11-24T10:00:00.000Z smtpd info relay.fail mid=M to=\"a \\\"b\\\"@c\" "
	    "from=\"\" host=mx[1] try=2 reply=\"550 5.1.1 no\" next=0");
	json_t *event = event_json(line, EVENT_BOUNCED, &at);
	char *text = json_dumps(event, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text,
	    "{\"attempt\":\"2\",\"cursor\":\"2026-11-24:128\",\"event\":\"bounced\","
	    "\"host\":\"mx[1]\",\"id\":\"2026-11-24:7\",\"message\":\"M\","
	    "\"reply\":\"550 5.1.1 no\",\"time\":\"2026-11-24T10:00:00.000Z\","
	    "\"to\":\"a \\\"b\\\"@c\"}");
	assert_int_equal(line.len + 1, 128 - 7);
	free(text);
	json_decref(event);
}

static void
places(void **state)
{
	(void)state;
	char text[TRACE_PLACE_TEXT_MAX];
	struct trace_place place;
	static const char *const good[] = {
	    "2026-11-24:0", "1970-01-01:12", "2024-02-29:1"};
	static const char *const bad[] = {"", ":", "2026-11-24",
	    "2026-11-24:", "2026-11-24:-1", "2026-11-24:1x", "2026-1-24:1",
	    "2023-02-29:1", "2026-13-01:1", "26-11-24:1",
	    "2026-11-24:99999999999999999999", "2026-11-24 :1", "2026-11-24:1:1"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(trace_place_parse(slice_from_cstr(good[i]), &place));
		trace_place_text(&place, text);
		assert_string_equal(text, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(trace_place_parse(slice_from_cstr(bad[i]), &place));
}

/* ---- reading ---- */

static char dir[] = "/tmp/postroom-test-XXXXXX";
static char got[1024];
static size_t most;

static void
file_write(const char *day, const char *mode, const char *text)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/%s.log", dir, day);
	FILE *file = fopen(path, mode);
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void
file_remove(const char *day)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/%s.log", dir, day);
	assert_int_equal(unlink(path), 0);
}

static bool
take(struct slice line, const struct trace_place *at, void *arg)
{
	(void)arg;
	char text[TRACE_PLACE_TEXT_MAX];
	size_t len = strlen(got);
	if (most-- == 0)
		return false;
	trace_place_text(at, text);
	snprintf(got + len, sizeof(got) - len, "%s=%.*s ", text + 8, SLICE_ARG(line));
	return true;
}

static void
check_read(struct trace_place *place, size_t count, enum status status, const char *want)
{
	got[0] = '\0';
	most = count;
	assert_int_equal(trace_read(dir, place, take, NULL), status);
	assert_string_equal(got, want);
}

static void
reading(void **state)
{
	(void)state;
	struct trace_place place = {0}, end;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(trace_place_end(dir, &end), STATUS_NOT_FOUND);
	check_read(&place, 9, STATUS_NOT_FOUND, "");
	file_write("2026-11-20", "w", "a\nbb\n");
	file_write("2026-11-24", "w", "ccc\nd");
	assert_int_equal(trace_place_end(dir, &end), STATUS_OK);
	assert_int_equal(end.offset, 5);
	/* From a day that has no file: told, then on. */
	check_read(&place, 9, STATUS_NOT_FOUND, "");
	check_read(&place, 1, STATUS_OK, "20:0=a ");
	struct trace_place second = place;
	check_read(&place, 9, STATUS_OK, "20:2=bb 24:0=ccc ");
	/* A line counts when it is whole. */
	check_read(&place, 9, STATUS_OK, "");
	file_write("2026-11-24", "a", "e\n\n");
	check_read(&place, 9, STATUS_OK, "24:4=de 24:7= ");
	assert_int_equal(trace_place_end(dir, &end), STATUS_OK);
	assert_int_equal(end.offset, place.offset);
	check_read(&second, 2, STATUS_OK, "20:2=bb 24:0=ccc ");
	/* No place between lines; a place that is not there yet. */
	place = (struct trace_place){.day = end.day, .offset = 1};
	check_read(&place, 9, STATUS_INVALID, "");
	place.offset = 99;
	check_read(&place, 9, STATUS_INVALID, "");
	place = (struct trace_place){.day = end.day + 1};
	check_read(&place, 9, STATUS_INVALID, "");
	file_remove("2026-11-20");
	place = (struct trace_place){.day = end.day - 4, .offset = 2};
	check_read(&place, 9, STATUS_NOT_FOUND, "");
	check_read(&place, 1, STATUS_OK, "24:0=ccc ");
	file_remove("2026-11-24");
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds),
	    cmocka_unit_test(json),
	    cmocka_unit_test(places),
	    cmocka_unit_test(reading),
	};
	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
