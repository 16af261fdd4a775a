/*
 * Rules about refusals: the shipped table, matching by host, code, enhanced code and
 * text, bad lines.
 */
#include "text/reply_rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct reply_rules rules;

static void
test_shipped(void **state)
{
	(void)state;
	unsigned line;
	const char *why;
	assert_true(reply_rules_parse(reply_rules_default(), &rules, &line, &why));
	assert_true(rules.count > 20);
	static const struct {
		const char *host, *reply;
		int action; /* -1: no rule */
		uint32_t wait_s;
	} cases[] = {
	    {"gmail-smtp-in.l.google.com",    "421 4.7.28 Our system has detected",
             REPLY_SLOW,										      0       },
	    {"gmail-smtp-in.l.google.com",    "421 4.7.0 Try again later, closing",
             REPLY_PAUSE,										     600     },
	    {"google.com.evil.test",          "421 4.7.28 x",                                    -1,          0       },
	    {"mta5.am0.yahoodns.net",         "421 4.7.0 [TSS04] Messages temporarily deferred",
             REPLY_PAUSE,										     4 * 3600},
	    {"a.mail.protection.outlook.com",
             "550 5.7.606 Access denied, banned sending IP [1]",                                 REPLY_PAUSE,
             4 * 3600												 },
	    {"mx.any.test",                   "451 4.7.1 GreyListed, please come back",          REPLY_RETRY, 300     },
	    {"mx.any.test",                   "552 5.2.2 mailbox full",                          -1,          0       },
	    {"mx.any.test",                   "421 too many connections",                        REPLY_SLOW,  0       },
	    {"mx.any.test",                   "550 5.1.1 no such user",                          -1,          0       },
	    {"mx.any.test",                   "451 4.3.0 later",                                 -1,          0       },
	    {"mx.any.test",                   "",						-1,          0       },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct reply_rule *rule = reply_rules_find(&rules,
		    slice_from_cstr(cases[i].host), slice_from_cstr(cases[i].reply));
		assert_int_equal(rule ? (int)rule->action : -1, cases[i].action);
		if (rule)
			assert_int_equal(rule->wait_s, cases[i].wait_s);
	}
}

static void
test_first_counts(void **state)
{
	(void)state;
	unsigned line;
	const char *why;
	assert_true(
	    reply_rules_parse(SLICE("# mine\r\n\r\nmx.A.test 550 * \"no\" fail\r\n"
				    "*.a.test 5xx 5.7.* \"\" retry 2d\n"
				    "* 4xx * \"\" pause 90s\n"
				    "* 5xx * \"listed\" pool other-2 1h"),
		&rules, &line, &why));
	assert_int_equal(rules.count, 4);
	assert_int_equal(rules.rules[3].action, REPLY_POOL);
	assert_int_equal(rules.rules[3].wait_s, 3600);
	assert_true(slice_equal(rules.rules[3].pool, SLICE("other-2")));
	assert_int_equal(
	    reply_rules_find(&rules, SLICE("MX.a.test"), SLICE("550 NO way"))->line, 3);
	assert_int_equal(
	    reply_rules_find(&rules, SLICE("mx.a.test"), SLICE("550 5.7.1 bad"))->wait_s,
	    2 * 86400);
	assert_null(reply_rules_find(&rules, SLICE("a.test"), SLICE("550 5.7.1 bad")));
	assert_int_equal(
	    reply_rules_find(&rules, SLICE("b.test"), SLICE("450"))->wait_s, 90);
}

static void
test_bad(void **state)
{
	(void)state;
	static const char *const bad[] = {"*", "* 4xx * \"\"", "* 4xx * \"\" stop",
	    "* 3xx * \"\" slow", "* 4x * \"\" slow", "* 4xxx * \"\" slow",
	    "* 4xx * \"open slow", "* 4xx * \"\" pause", "* 4xx * \"\" pause 5",
	    "* 4xx * \"\" pause 0s", "* 4xx * \"\" pause 8d", "* 4xx * \"\" pause 5w",
	    "* 4xx * \"\" slow 5m", "\"\" 4xx * \"\" slow", "* 4xx \"\" \"\" slow",
	    "* 5xx * \"\" pool", "* 5xx * \"\" pool a", "* 5xx * \"\" pool a 0s",
	    "* 5xx * \"\" pool \"\" 1h", "* 5xx * \"\" pool a 1h b",
	    "* 4xx * \"\" retry 99999999999999999999s"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned line;
		const char *why;
		char text[200] = "\n";
		strcat(text, bad[i]);
		assert_false(
		    reply_rules_parse(slice_from_cstr(text), &rules, &line, &why));
		assert_int_equal(line, 2);
		assert_non_null(why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_shipped),
	    cmocka_unit_test(test_first_counts),
	    cmocka_unit_test(test_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
