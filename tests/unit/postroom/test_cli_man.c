/*
 * docs/man/postroom.1 is what the verb table gives, names every command, and no line of
 * text is taken for a roff request.
 *
 * `postroom_test_cli_man --write` writes it anew.
 */
#include "postroom/cli_man.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "postroom/cli.h"

#define PAGE_PATH POSTROOM_SOURCE_DIR "/docs/man/postroom.1"
enum { PAGE_MAX = 1 << 20 };

static void
page_make(struct buf *page)
{
	buf_init(page, PAGE_MAX);
	cli_man_write(page);
	assert_true(buf_ok(page));
}

static void
page_is_current(void **state)
{
	(void)state;
	struct buf page;
	page_make(&page);
	char *text = calloc(1, PAGE_MAX);
	assert_non_null(text);
	FILE *file = fopen(PAGE_PATH, "r");
	assert_non_null(file);
	size_t len = fread(text, 1, PAGE_MAX, file);
	fclose(file);
	if (!slice_equal(buf_slice(&page), slice_make(text, len)))
		fail_msg("%s is not what the verb table says: run "
			 "`postroom_test_cli_man --write`",
		    PAGE_PATH);
	free(text);
	buf_fini(&page);
}

static void
only_known_requests(void **state)
{
	(void)state;
	static const char *const known[] = {".TH ", ".SH ", ".TP", ".B ", ".I ", ".\\\""};
	struct buf page;
	page_make(&page);
	struct slice rest = buf_slice(&page);
	size_t verbs = 0;
	while (rest.ptr) {
		struct slice line = slice_split(&rest, '\n');
		bool good = line.len == 0 || (line.ptr[0] != '.' && line.ptr[0] != '\'');
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			good = good || slice_has_prefix(line, slice_from_cstr(known[i]));
		if (!good)
			fail_msg("%.*s", SLICE_ARG(line));
		verbs += slice_has_prefix(line, SLICE(".B "));
	}
	for (const struct cli_verb *verb = cli_verbs(); verb->noun; verb++)
		verbs--;
	/* What is left: the name, four options, the exit codes. */
	assert_int_equal(verbs, 1 + 4 + 12);
	buf_fini(&page);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(page_is_current),
	    cmocka_unit_test(only_known_requests),
	};
	if (argc > 1 && strcmp(argv[1], "--write") == 0) {
		struct buf page;
		page_make(&page);
		FILE *file = fopen(PAGE_PATH, "w");
		bool ok = file && fwrite(page.ptr, 1, page.len, file) == page.len;
		ok = file && fclose(file) == 0 && ok;
		if (!ok)
			perror(PAGE_PATH);
		buf_fini(&page);
		return ok ? 0 : 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
