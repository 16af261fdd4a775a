/*
 * Whole POP3 sessions over the fuzz targets' daemon: what a client gets that sends all
 * its commands at once and shuts its sending side down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fuzz/session_pop3.h"

static void
expect(const char *input, const char *last)
{
	struct buf out AUTO_BUF;
	fuzz_session(&fuzz_pop3, slice_from_cstr(input), SIZE_MAX, &out);
	if (!slice_has_suffix(buf_slice(&out), slice_from_cstr(last)))
		fail_msg(
		    "want \"%s\" last, got:\n%.*s", last, SLICE_ARG(buf_slice(&out)));
}

#define LOGIN "USER " FUZZ_ACCOUNT "\r\nPASS secret\r\n"

static void
replies_behind_the_end(void **state)
{
	(void)state;
	expect(LOGIN, "is removed at QUIT\r\n");
	expect(LOGIN "NOOP\r\nSTAT\r\n", "+OK nothing done\r\n+OK 3 469\r\n");
	expect(LOGIN "RETR 3\r\n", "\r\n\r\nno header, no end of line\r\n.\r\n");
	expect("USER " FUZZ_ACCOUNT "\r\nPASS wrong\r\nCAPA\r\n", "\r\n.\r\n");
	expect(LOGIN "DELE 1\r\nQUIT\r\n", "+OK goodbye, 1 messages removed\r\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(replies_behind_the_end)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
