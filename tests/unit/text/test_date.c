/* Dates: Dovecot's table, lenient forms, strict IMAP forms, round trips. */
#include "unit/text/text_test.h"

#include "text/date.h"

static const struct {
	const char *text;
	int64_t unix_s;
	int zone_min;
} mail_dates[] = {
    {"Fri, 21 Nov 1997 09:55:06 -0600",                       880127706,  -360},
    {"21 Nov 97 09:55:06 GMT",				880106106,  0   },
    {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600",       880127706,  -360},
    {"Tue, 1 Jul 2003 ((tricky)\r\n comment) 10:52:37 +0200", 1057049557, 120 },
    {"Thu, 13 Feb 1969 23:32 -0330 (Newfoundland Time)",      -27723480,  -210},
    {"Thu Nov 24 14:22:01 1997",                              880381321,  0   },
    {"24-Nov-1997 14:22:01 PST",                              880410121,  -480},
    {"1 Jan 103 00:00:00 +0000",                              1041379200, 0   },
    {"1 Jan 49 00:00:00 Z",				   2493072000, 0   },
    {"Wed, 07 Nov 2007 01:07:20",                             1194397640, 0   },
    {"Tue, 30 Jun 2015 23:59:60 +0300",                       1435697999, 180 },
    {"29 Feb 2024 12:00:00 +01:00",                           1709204400, 60  },
    {"Thu, 10 Jul 1997 14:53:31 EST5EDT",                     868564411,  -300},
    {"17 May 2026 22:15:15 +1345",                            1779006615, 825 },
};

static void
test_mail(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mail_dates) / sizeof(mail_dates[0]); i++) {
		struct date date;
		if (!date_parse_mail(slice_from_cstr(mail_dates[i].text), &date))
			fail_msg("refused %s", mail_dates[i].text);
		if (date.unix_s != mail_dates[i].unix_s ||
		    date.zone_min != mail_dates[i].zone_min)
			fail_msg("%s: %lld %d", mail_dates[i].text,
			    (long long)date.unix_s, date.zone_min);
	}
}

static void
test_mail_refuses(void **state)
{
	(void)state;
	static const char *bad[] = {"", "Tue, 19 Jan 2038",
	    "Tue, 7 Bog 2026 19:14:51 +0000", "Tue, 7 00 2026 19:14:51 +0000",
	    "29 Feb 2023 00:00:00 +0000", "1 Jan 2020 24:00:00 +0000",
	    "1 Jan 2020 10:61:00 +0000", "(((((", "1 Jan 99999 00:00:00",
	    "1 Jan 2020 00:00:00 +9999", "999999999999 Jan 2020 00:00:00", "Mon, ",
	    "Jan"};
	struct date date;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (date_parse_mail(slice_from_cstr(bad[i]), &date))
			fail_msg("accepted %s", bad[i]);
	}
}

static void
test_mail_vectors(void **state)
{
	(void)state;
	struct slice text = read_vectors("dovecot-tables/message-date.json"), rest = text;
	struct slice object;
	struct buf input;
	buf_init(&input, 1000);
	while ((object = json_next_object(&rest)).ptr) {
		bool is_string = false;
		struct date date = {0, 0};
		if (!json_string(object, "input", &input))
			continue;
		bool want = slice_trim(json_raw(object, "ok", &is_string)).ptr[0] == 't';
		if (date_parse_mail(buf_slice(&input), &date) != want)
			fail_msg("%.*s", SLICE_ARG(buf_slice(&input)));
		if (!want)
			continue;
		int64_t time =
		    strtoll(json_raw(object, "time", &is_string).ptr, NULL, 10);
		int zone = atoi(json_raw(object, "tz_offset_min", &is_string).ptr);
		if (is_string)
			zone *= 60; /* "2*60" */
		assert_true(date.unix_s == time);
		assert_int_equal(date.zone_min, zone);
	}
	free((void *)(uintptr_t)text.ptr);
	buf_fini(&input);
}

static void
test_imap(void **state)
{
	(void)state;
	struct date date;
	assert_true(date_parse_imap(SLICE("24-Nov-2026 03:47:10 +0000"), &date));
	assert_true(date.unix_s == 1795492030);
	assert_true(date_parse_imap(SLICE(" 1-feb-1994 21:52:25 -0800"), &date));
	assert_true(date.unix_s == 760168345);
	assert_int_equal(date.zone_min, -480);
	static const char *bad[] = {"1-Feb-1994 21:52:25 -0800", "24-Nov-2026 03:47:10",
	    "24-Nov-2026 3:47:10 +0000", "24-Nov-2026 03:47:10 +000",
	    "24-Nov-2026 03:47:10 +00000", "31-Feb-2026 03:47:10 +0000",
	    "24-Nov-2026 03:47:10 0000", "24-Nov-26 03:47:10 +0000", "",
	    "24-Nov-2026 03:47:10 +0060", "24-Nov-2026T03:47:10 +0000",
	    "24-Nov-2026 25:47:10 +0000", "+4-Nov-2026 03:47:10 +0000"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (date_parse_imap(slice_from_cstr(bad[i]), &date))
			fail_msg("accepted %s", bad[i]);
	}
}

static void
test_imap_day(void **state)
{
	(void)state;
	int64_t day = 0;
	assert_true(date_parse_imap_day(SLICE("1-Feb-1994"), &day));
	assert_true(day == 8797);
	assert_true(date_parse_imap_day(SLICE("01-FEB-1994"), &day));
	assert_true(day == 8797);
	assert_false(date_parse_imap_day(SLICE("1-Feb-1994 "), &day));
	assert_false(date_parse_imap_day(SLICE("1-Feb-94"), &day));
	assert_false(date_parse_imap_day(SLICE("30-Feb-1994"), &day));
	assert_false(date_parse_imap_day(SLICE(""), &day));
}

static void
test_round_trips(void **state)
{
	(void)state;
	struct buf text;
	buf_init(&text, 100);
	for (int64_t s = -20000000000; s < 60000000000; s += 86399 * 1013) {
		struct date date = {s, (int)((s / 86399) % 700)}, back;
		buf_reset(&text);
		date_write_mail(date, &text);
		assert_true(date_parse_mail(buf_slice(&text), &back));
		assert_true(back.unix_s == s);
		assert_int_equal(back.zone_min, date.zone_min);
		buf_reset(&text);
		date_write_imap(date, &text);
		assert_true(date_parse_imap(buf_slice(&text), &back));
		assert_true(back.unix_s == s);
	}
	buf_fini(&text);
}

static void
test_writing(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 100);
	date_write_mail((struct date){1795492030, -570}, &out);
	CHECK_TEXT(buf_slice(&out), "Mon, 23 Nov 2026 18:17:10 -0930");
	buf_reset(&out);
	date_write_imap((struct date){760168345, -480}, &out);
	CHECK_TEXT(buf_slice(&out), "01-Feb-1994 21:52:25 -0800");
	buf_reset(&out);
	date_write_rfc3339(1795492030123, &out);
	CHECK_TEXT(buf_slice(&out), "2026-11-24T03:47:10.123Z");
	buf_reset(&out);
	date_write_rfc3339(-1, &out);
	CHECK_TEXT(buf_slice(&out), "1969-12-31T23:59:59.999Z");
	assert_true(date_day((struct date){-1, 0}) == -1);
	assert_true(date_day((struct date){-1, 60}) == 0);
	assert_int_equal(abs(date_local_zone_min(0)) < 24 * 60, 1);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mail),
	    cmocka_unit_test(test_mail_refuses),
	    cmocka_unit_test(test_mail_vectors),
	    cmocka_unit_test(test_imap),
	    cmocka_unit_test(test_imap_day),
	    cmocka_unit_test(test_round_trips),
	    cmocka_unit_test(test_writing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
