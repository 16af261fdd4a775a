/*
 * A failed ENSURE aborts, in every build; a wrong magic is found; allocation calls give
 * memory even for nothing.
 */
#include "base/ensure.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "unit/base/dies.h"

enum { THING_MAGIC = 0x7468696e };

struct thing {
	unsigned magic;
	int value;
};

static void
do_ensure(void *arg)
{
	ENSURE(*(int *)arg == 1);
}

static void
do_unreachable(void *arg)
{
	(void)arg;
	UNREACHABLE();
}

static void
do_cast(void *arg)
{
	(void)OBJ_CAST(thing, arg, THING_MAGIC);
}

static void
ensure_aborts(void **state)
{
	int yes = 1, no = 0;
	(void)state;
	assert_false(call_dies(do_ensure, &yes));
	assert_true(call_dies(do_ensure, &no));
	assert_true(call_dies(do_unreachable, NULL));
}

static void
cast_checks_magic(void **state)
{
	struct thing good = {THING_MAGIC, 7}, freed = {0, 7};
	(void)state;
	assert_int_equal(OBJ_CAST(thing, &good, THING_MAGIC)->value, 7);
	assert_false(call_dies(do_cast, &good));
	assert_true(call_dies(do_cast, &freed));
	assert_true(call_dies(do_cast, NULL));
}

static void
do_fail_with_context(void *arg)
{
	log_setup("testd", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, *(int *)arg);
	ensure_context_set("imap 5f3a");
	ENSURE(1 + 1 == 3);
}

static void
failure_names_its_place(void **state)
{
	int ends[2];
	char line[1024];
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(call_dies(do_fail_with_context, &ends[1]));
	close(ends[1]);
	ssize_t len = read(ends[0], line, sizeof(line) - 1);
	close(ends[0]);
	assert_true(len > 0);
	line[len] = '\0';
	assert_non_null(strstr(line, "testd error ensure.failed"));
	assert_non_null(strstr(line, "test_ensure.c"));
	assert_non_null(strstr(line, "check=\"1 + 1 == 3\""));
	assert_non_null(strstr(line, "context=\"imap 5f3a\""));
}

static void
nothing_is_memory_too(void **state)
{
	(void)state;
	void *none = xmalloc(0);
	void *zero = xcalloc(0, 8);
	char *text = xstrdup("abc");
	assert_non_null(none);
	assert_non_null(zero);
	assert_string_equal(text, "abc");
	text = xrealloc(text, 100);
	assert_string_equal(text, "abc");
	none = xrealloc(none, 0);
	assert_non_null(none);
	free(none);
	free(zero);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ensure_aborts),
	    cmocka_unit_test(cast_checks_magic),
	    cmocka_unit_test(failure_names_its_place),
	    cmocka_unit_test(nothing_is_memory_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
