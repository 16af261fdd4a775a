/*
 * Selectors of the queue's verbs: what each picks, together, and bad ones.
 */
#include "postroom/queue_select.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static bool
picks(const char *name, const char *value)
{
	struct queue_message message = {
	    .sender = SLICE("bounce+1@lists.test"),
	    .login = SLICE("jo@acme.test"),
	    .created_s = clock_wall_s() - 3600,
	    .tenant = SLICE("acme"),
	    .campaign = SLICE("spring"),
	};
	static struct cli cli;
	struct queue_select select;
	cli.option_count = 1;
	cli.options[0] = (struct cli_option){name, value};
	assert_true(queue_select_given(&cli));
	assert_int_equal(queue_select_read(&cli, &select), CLI_OK);
	assert_int_equal(queue_select_by_recipient(&select),
	    strcmp(name, "--to") == 0 || strcmp(name, "--site") == 0);
	return queue_select_message(&select, &message) &&
	       queue_select_address(&select, SLICE("Ann@Far.test"));
}

static void
test_each(void **state)
{
	(void)state;
	static const struct {
		const char *name, *value;
		bool picked;
	} rows[] = {
	    {"--from",     "lists.test",          true },
	    {"--from",     "Bounce+1@lists.TEST", true },
	    {"--from",     "acme.test",           false},
	    {"--user",     "jo@acme.test",        true },
	    {"--user",     "acme.test",           true },
	    {"--user",     "ann@acme.test",       false},
	    {"--sender",   "Jo@acme.test",        true },
	    {"--sender",   "lists.test",          false},
	    {"--tenant",   "ACME",                true },
	    {"--tenant",   "acm",                 false},
	    {"--tenant",   "",                    false},
	    {"--campaign", "Spring",              true },
	    {"--campaign", "autumn",              false},
	    {"--to",       "ann@far.test",        true },
	    {"--to",       "bob@far.test",        false},
	    {"--site",     "far.test",            true },
	    {"--site",     "test",                false},
	    {"--age",      "30m",                 true },
	    {"--age",      "2h",                  false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (picks(rows[i].name, rows[i].value) != rows[i].picked)
			fail_msg("%s %s", rows[i].name, rows[i].value);
}

static void
test_together(void **state)
{
	(void)state;
	static struct cli cli = {
	    .option_count = 2,
	    .options = {{"--tenant", "acme"}, {"--campaign", "spring"}},
	};
	struct queue_select select;
	struct queue_message message = {
	    .tenant = SLICE("acme"), .campaign = SLICE("spring")};
	assert_int_equal(queue_select_read(&cli, &select), CLI_OK);
	assert_true(queue_select_message(&select, &message));
	message.tenant = SLICE("bulk");
	assert_false(queue_select_message(&select, &message));
	cli.options[0] = (struct cli_option){"--age", "soon"};
	assert_int_equal(queue_select_read(&cli, &select), CLI_USAGE);
	cli.options[0] = (struct cli_option){"--site", "a@b.test"};
	assert_int_equal(queue_select_read(&cli, &select), CLI_USAGE);
	cli.option_count = 0;
	assert_false(queue_select_given(&cli));
	assert_int_equal(queue_select_read(&cli, &select), CLI_OK);
	message.login = SLICE("");
	assert_true(queue_select_message(&select, &message));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each),
	    cmocka_unit_test(test_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
