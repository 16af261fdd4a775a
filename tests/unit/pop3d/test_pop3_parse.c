/*
 * POP3 command lines and the log-in table: keyword, arguments, numbers, LOGIN-DELAY.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "pop3d/pop3_cmd.h"
#include "pop3d/pop3_login.h"
#include "pop3d/pop3_parse.h"

static void
good(struct slice text, const char *keyword, const char *first, const char *second,
    unsigned count)
{
	struct pop3_line line;
	assert_true(pop3_line_parse(text, &line));
	assert_true(slice_equal(line.keyword, slice_from_cstr(keyword)));
	assert_true(slice_equal(line.arguments[0], slice_from_cstr(first)));
	assert_true(slice_equal(line.arguments[1], slice_from_cstr(second)));
	assert_int_equal(line.argument_count, count);
}

static void
bad(struct slice text)
{
	struct pop3_line line;
	assert_false(pop3_line_parse(text, &line));
}

static void
test_lines(void **state)
{
	struct pop3_line line;
	(void)state;
	good(SLICE("QUIT"), "QUIT", "", "", 0);
	good(SLICE("TOP 1 0"), "TOP", "1", "0", 2);
	good(SLICE("TOP  1   0 "), "TOP", "1", "0", 2);
	good(SLICE("PASS  a b c"), "PASS", "a", "b", 3);
	good(SLICE("PASS "), "PASS", "", "", 0);
	good(SLICE("A 1 2 3 4 5"), "A", "1", "2", 3);
	good(SLICE("USER \xc3\xa4"), "USER", "\xc3\xa4", "", 1);
	bad(SLICE(""));
	bad(SLICE(" QUIT"));
	bad(SLICE("QUIT\t"));
	bad(SLICE("QUIT\x7f"));
	bad(slice_make("A\0B", 3));
	/* Blanks belong to a password. */
	assert_true(pop3_line_parse(SLICE("PASS  a b "), &line));
	assert_true(slice_equal(line.rest, SLICE(" a b ")));
}

static void
number(const char *text, uint32_t want)
{
	uint32_t value = 0;
	assert_int_equal(pop3_number_parse(slice_from_cstr(text), &value), want != 0);
	if (want)
		assert_int_equal(value, want);
}

static void
test_numbers(void **state)
{
	(void)state;
	number("1", 1);
	number("00012", 12);
	number("4294967295", UINT32_MAX);
	number("4294967296", 0);
	number("99999999999999999999", 0);
	number("0", 0);
	number("", 0);
	number("-1", 0);
	number("+1", 0);
	number("1x", 0);
	number("0x1", 0);
}

/* Every row can be reached and says where it comes from. */
static void
test_table(void **state)
{
	size_t count;
	const struct pop3_command *rows = pop3_cmd_table(&count);
	(void)state;
	assert_true(count > 10);
	for (size_t i = 0; i < count; i++) {
		assert_true(rows[i].run && rows[i].usage && rows[i].reference);
		assert_int_equal(strncmp(rows[i].reference, "RFC ", 4), 0);
		assert_true(
		    rows[i].bits & (POP3_CMD_AUTHORIZATION | POP3_CMD_TRANSACTION));
		assert_true(rows[i].arguments_min <= rows[i].arguments_max);
		if (i > 0)
			assert_true(strcmp(rows[i - 1].name.ptr, rows[i].name.ptr) < 0);
	}
}

static void
test_login_delay(void **state)
{
	struct account_id jo = {
	    {'A', 1}
        };
	struct account_id amy = {
	    {'A', 2}
        };
	(void)state;
	assert_int_equal(pop3_login_wait_ms(jo, 60000), 0);
	pop3_login_note(jo);
	uint64_t wait_ms = pop3_login_wait_ms(jo, 60000);
	assert_true(wait_ms > 50000 && wait_ms <= 60000);
	assert_int_equal(pop3_login_wait_ms(jo, 0), 0);
	assert_int_equal(pop3_login_wait_ms(amy, 60000), 0);
	/* Many others: memory stays, nobody is held up for another one. */
	for (uint32_t i = 0; i < 4 * POP3_LOGINS_MAX; i++) {
		struct account_id id = {{'B'}};
		memcpy(id.v + 1, &i, sizeof(i));
		pop3_login_note(id);
	}
	assert_int_equal(pop3_login_wait_ms(amy, 60000), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_login_delay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
