/*
 * MTA-STS records, policies and patterns (RFC 8461 sections 3.1, 3.2, 4.1).
 */
#include "text/mta_sts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_record(void **state)
{
	(void)state;
	static const struct {
		const char *text, *id;
	} cases[] = {
	    {"v=STSv1; id=20160831085700Z;",                  "20160831085700Z"},
	    {"v=STSv1;id=a",				  "a"              },
	    {"v=STSv1; x=1; id=b2 ; y=2",                     "b2"             },
	    {"v=STSv1; id=1; id=2",                           "1"              },
	    {"v=STSv1",				       NULL             },
	    {"v=STSv1; id=",				  NULL             },
	    {"v=STSv1; id=a-b",                               NULL             },
	    {"v=STSv1; id=123456789012345678901234567890123", NULL             },
	    {"v=STSv2; id=1",				 NULL             },
	    {"id=1; v=STSv1",				 NULL             },
	    {"v=spf1 -all",				   NULL             },
	    {"",					      NULL             },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice id;
		bool good = mta_sts_record_parse(slice_from_cstr(cases[i].text), &id);
		assert_int_equal(good, cases[i].id != NULL);
		if (good)
			assert_true(slice_equal(id, slice_from_cstr(cases[i].id)));
	}
}

static void
test_policy(void **state)
{
	(void)state;
	struct mta_sts_policy p;
	assert_true(mta_sts_policy_parse(
	    SLICE("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n"
		  "mx: *.example.net\r\nmax_age: 604800\r\nextension: x:y\r\n"),
	    &p));
	assert_int_equal(p.mode, MTA_STS_ENFORCE);
	assert_int_equal(p.max_age_s, 604800);
	assert_int_equal(p.mx_count, 2);
	assert_true(
	    mta_sts_policy_parse(
		SLICE("version:STSv1\nmode:none\nmax_age:99999999999999\nmode: enforce"),
		&p) == false);
	assert_true(mta_sts_policy_parse(
	    SLICE("version:STSv1\nmode:none\nmax_age:99999999\nmode: enforce"), &p));
	assert_int_equal(p.mode, MTA_STS_NONE);
	assert_int_equal(p.max_age_s, MTA_STS_AGE_MAX_S);
	static const char *const bad[] = {"", "version: STSv1",
	    "version: STSv1\nmode: enforce\nmax_age: 1",
	    "version: STSv2\nmode: none\nmax_age: 1", "mode: none\nmax_age: 1",
	    "version: STSv1\nmode: hard\nmx: a\nmax_age: 1",
	    "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1",
	    "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1",
	    "version: STSv1\nmode: enforce\nmx: a.*\nmax_age: 1",
	    "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1",
	    "version: STSv1\nmode: enforce\nmx: a\nmax_age: 1\nrubbish",
	    "<html>no such page</html>"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(mta_sts_policy_parse(slice_from_cstr(bad[i]), &p));
}

static void
test_matches(void **state)
{
	(void)state;
	struct mta_sts_policy p;
	assert_true(mta_sts_policy_parse(
	    SLICE("version: STSv1\nmode: enforce\nmx: mail.example.com\n"
		  "mx: *.example.net\nmax_age: 1"),
	    &p));
	assert_true(mta_sts_mx_matches(&p, SLICE("MAIL.example.com")));
	assert_true(mta_sts_mx_matches(&p, SLICE("a.example.net")));
	assert_false(mta_sts_mx_matches(&p, SLICE("a.b.example.net")));
	assert_false(mta_sts_mx_matches(&p, SLICE("example.net")));
	assert_false(mta_sts_mx_matches(&p, SLICE(".example.net")));
	assert_false(mta_sts_mx_matches(&p, SLICE("a.mail.example.com")));
	assert_false(mta_sts_mx_matches(&p, SLICE("")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_record),
	    cmocka_unit_test(test_policy),
	    cmocka_unit_test(test_matches),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
