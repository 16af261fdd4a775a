/*
 * Every status has a text that reads as one in a sentence, and errno maps as promised.
 */
#include "base/status.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"

static void
texts_are_complete(void **state)
{
	(void)state;
	for (int i = 0; i < STATUS_COUNT_; i++) {
		const char *text = status_text((enum status)i);
		assert_non_null(text);
		assert_true(text[0] >= 'a' && text[0] <= 'z');
		assert_int_not_equal(text[strlen(text) - 1], '.');
	}
	assert_string_equal(status_text(STATUS_OK), "ok");
	assert_string_equal(status_text(STATUS_COUNT_), "not a status");
	assert_string_equal(status_text((enum status) - 1), "not a status");
}

static void
errno_maps(void **state)
{
	static const struct {
		int err;
		enum status want;
	} rows[] = {
	    {0,      STATUS_OK       },
	    {ENOSPC, STATUS_FULL     },
	    {EDQUOT, STATUS_FULL     },
	    {EROFS,  STATUS_READ_ONLY},
	    {ENOENT, STATUS_NOT_FOUND},
	    {EAGAIN, STATUS_BUSY     },
	    {EMFILE, STATUS_BUSY     },
	    {ENFILE, STATUS_BUSY     },
	    {ENOMEM, STATUS_BUSY     },
	    {EIO,    STATUS_IO       },
	    {EPIPE,  STATUS_IO       },
	    {12345,  STATUS_IO       },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(status_from_errno(rows[i].err), rows[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(texts_are_complete),
	    cmocka_unit_test(errno_maps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
