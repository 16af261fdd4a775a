/*
 * Threads of RFC 5256 section 3: the shapes of its rules, deep and looping references.
 */
#include "imapd/imap_thread.h"

#include <stdlib.h>

#include "unit/imapd/box.h"

struct mail {
	const char *subject;
	bool reply;
	const char *id;
	const char *references;
	int arrived; /* for REFS; 0: in the order of the numbers */
};

/* clang-format off */
static const struct {
	enum imap_thread_by by;
	struct mail mails[8]; /* numbered from 1, dates ascending */
	const char *want;
} cases[] = {
	{IMAP_THREAD_REFERENCES, {{0}}, ""},
	{IMAP_THREAD_REFERENCES, {{"a", 0, "<1>", "", 0}}, "(1)"},
	{IMAP_THREAD_REFERENCES,
	    {{"a", 0, "<1>", "", 0}, {"a", 1, "<2>", "<1>", 0},
	     {"b", 0, "<3>", "", 0}}, "(1 2)(3)"},
	{IMAP_THREAD_REFERENCES,
	    {{"a", 0, "<1>", "", 0}, {"a", 1, "<2>", "<1>", 0}, {"a", 1, "<3>", "<1>", 0},
	     {"a", 1, "<4>", "<1> <2>", 0}}, "(1 (2 4)(3))"},
	/* The parent of two was not found: a dummy at the top. */
	{IMAP_THREAD_REFERENCES,
	    {{"a", 1, "<2>", "<x>", 0}, {"a", 1, "<3>", "<x>", 0},
	     {"b", 0, "<4>", "", 0}}, "((1)(2))(3)"},
	/* With one child it is not shown. */
	{IMAP_THREAD_REFERENCES, {{"a", 1, "<2>", "<x> <y>", 0}}, "(1)"},
	/* A dummy inside is skipped. */
	{IMAP_THREAD_REFERENCES,
	    {{"a", 0, "<1>", "", 0}, {"a", 1, "<3>", "<1> <gone>", 0},
	     {"a", 1, "<4>", "<1> <gone>", 0}}, "(1 (2)(3))"},
	/* Same subject, no references: the reply goes below, equals under a dummy. */
	{IMAP_THREAD_REFERENCES, {{"a", 0, "<1>", "", 0}, {"a", 1, "<2>", "", 0}}, "(1 2)"},
	{IMAP_THREAD_REFERENCES, {{"a", 1, "<1>", "", 0}, {"a", 0, "<2>", "", 0}}, "(2 1)"},
	{IMAP_THREAD_REFERENCES,
	    {{"a", 0, "<1>", "", 0}, {"a", 0, "<2>", "", 0}}, "((1)(2))"},
	{IMAP_THREAD_REFERENCES,
	    {{"a", 0, "<1>", "", 0}, {"a", 0, "<2>", "", 0},
	     {"a", 0, "<3>", "", 0}}, "((1)(2)(3))"},
	{IMAP_THREAD_REFERENCES, {{"", 0, "<1>", "", 0}, {"", 0, "<2>", "", 0}}, "(1)(2)"},
	/* A loop, a message that refers to itself, one id twice. */
	{IMAP_THREAD_REFERENCES,
	    {{"a", 0, "<1>", "<2>", 0}, {"b", 0, "<2>", "<1>", 0}}, "(2 1)"},
	{IMAP_THREAD_REFERENCES, {{"a", 0, "<1>", "<1>", 0}}, "(1)"},
	/* Its own References break the link that another's made, also when they would
	 * close a loop themselves (step 1 B; imaptest's "thread"). */
	{IMAP_THREAD_REFERENCES,
	    {{"a", 0, "<a>", "", 0}, {"b", 0, "<b>", "<a> <c>", 0},
	     {"c", 0, "<c>", "<b>", 0}}, "(1)(3 2)"},
	{IMAP_THREAD_REFERENCES,
	    {{"a", 0, "<1>", "", 0}, {"b", 0, "<1>", "", 0},
	     {"c", 0, NULL, "<1>", 0}}, "(1 3)(2)"},
	/* REFS: one subject puts nothing together; the thread that got the latest message
	 * stands last; siblings go by Date (the number) all the same. */
	{IMAP_THREAD_REFS, {{"a", 0, "<1>", "", 0}, {"a", 1, "<2>", "", 0}}, "(1)(2)"},
	{IMAP_THREAD_REFS,
	    {{"a", 0, "<1>", "", 0}, {"b", 0, "<2>", "", 0}, {"a", 1, "<3>", "<1>", 0}},
	    "(2)(1 3)"},
	{IMAP_THREAD_REFS,
	    {{"a", 0, "<1>", "", 10}, {"b", 0, "<2>", "", 20},
	     {"a", 1, "<3>", "<1>", 40}, {"a", 1, "<4>", "<1>", 30},
	     {"c", 0, "<5>", "<x>", 15}, {"c", 0, "<6>", "<x>", 5}},
	    "((5)(6))(2)(1 (3)(4))"},
	{IMAP_THREAD_REFS,
	    {{"a", 0, "<1>", "", 5}, {"a", 1, "<2>", "<1>", 4}, {"a", 1, "<3>", "<2>", 99},
	     {"b", 0, "<4>", "", 50}}, "(4)(1 2 3)"},
	{IMAP_THREAD_REFS, {{0}}, ""},
	{IMAP_THREAD_ORDEREDSUBJECT,
	    {{"b", 0, "<1>", "", 0}, {"a", 0, "<2>", "", 0},
	     {"b", 1, "<3>", "", 0}}, "(1 3)(2)"},
	{IMAP_THREAD_ORDEREDSUBJECT,
	    {{"a", 0, "<1>", "", 0}, {"a", 1, "<2>", "", 0},
	     {"a", 1, "<3>", "", 0}}, "(1 (2)(3))"},
	{IMAP_THREAD_ORDEREDSUBJECT, {{0}}, ""},
};
/* clang-format on */

static void
shapes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arena *arena = arena_new(1024 * 1024);
		struct imap_threads *threads = imap_threads_new(cases[i].by, arena);
		struct buf out;
		buf_init(&out, 4096);
		for (uint32_t n = 0; n < 8 && cases[i].mails[n].subject; n++) {
			const struct mail *m = &cases[i].mails[n];
			assert_true(imap_threads_add(threads, n + 1, n,
			    m->arrived ? m->arrived : (int64_t)n,
			    slice_from_cstr(m->subject), m->reply, slice_from_cstr(m->id),
			    slice_from_cstr(m->references)));
		}
		assert_true(imap_threads_write(threads, &out));
		if (!slice_equal(buf_slice(&out), slice_from_cstr(cases[i].want)))
			fail_msg("case %zu: %.*s, want %s", i, SLICE_ARG(buf_slice(&out)),
			    cases[i].want);
		buf_fini(&out);
		imap_threads_free(&threads);
		arena_free(&arena);
	}
}

/* Every number once, whatever the references; parentheses balance. */
static void
check_output(struct slice out, uint32_t count)
{
	char *seen = calloc(count + 1, 1);
	long depth = 0;
	uint32_t numbers = 0;
	for (size_t i = 0; i < out.len; i++) {
		depth += out.ptr[i] == '(' ? 1 : out.ptr[i] == ')' ? -1 : 0;
		assert_true(depth >= 0);
		if (!ascii_is_digit(out.ptr[i]))
			continue;
		uint32_t n = 0;
		while (i < out.len && ascii_is_digit(out.ptr[i]))
			n = n * 10 + (uint32_t)(out.ptr[i++] - '0');
		i--;
		assert_true(n >= 1 && n <= count);
		assert_int_equal(seen[n]++, 0);
		numbers++;
	}
	assert_int_equal(depth, 0);
	assert_int_equal(numbers, count);
	free(seen);
}

static void
random_ones(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 600; round++) {
		struct arena *arena = arena_new(16 * 1024 * 1024);
		struct imap_threads *threads = imap_threads_new(
		    round % 2 ? IMAP_THREAD_REFS : IMAP_THREAD_REFERENCES, arena);
		struct buf out;
		uint32_t count = 1 + (uint32_t)rand() % 60;
		buf_init(&out, 65536);
		for (uint32_t n = 1; n <= count; n++) {
			char id[16], references[128] = "", subject[8];
			snprintf(id, sizeof(id), "<%d>", rand() % 60);
			for (int i = rand() % 5; i > 0; i--)
				snprintf(references + strlen(references),
				    sizeof(references) - strlen(references), "%s<%d>",
				    references[0] ? " " : "", rand() % 60);
			snprintf(subject, sizeof(subject), "%d", rand() % 20);
			assert_true(imap_threads_add(threads, n, rand() % 50, rand() % 50,
			    slice_from_cstr(subject), rand() % 2, slice_from_cstr(id),
			    slice_from_cstr(references)));
		}
		assert_true(imap_threads_write(threads, &out));
		check_output(buf_slice(&out), count);
		buf_fini(&out);
		imap_threads_free(&threads);
		arena_free(&arena);
	}
}

/* Chains as long as a mailbox, in both orders, do not eat the stack or the time. */
static void
deep(void **state)
{
	(void)state;
	enum { COUNT = 20000 };
	for (int up = 0; up < 4; up++) {
		struct arena *arena = arena_new(64 * 1024 * 1024);
		struct imap_threads *threads = imap_threads_new(
		    up & 2 ? IMAP_THREAD_REFS : IMAP_THREAD_REFERENCES, arena);
		struct buf out;
		buf_init(&out, 1024 * 1024);
		for (uint32_t n = 1; n <= COUNT; n++) {
			char id[16], reference[16];
			snprintf(id, sizeof(id), "<%u>", n);
			snprintf(
			    reference, sizeof(reference), "<%u>", up & 1 ? n - 1 : n + 1);
			assert_true(imap_threads_add(threads, n, n,
			    up & 1 ? n : -(int64_t)n, SLICE("s"), true,
			    slice_from_cstr(id), slice_from_cstr(reference)));
		}
		assert_true(imap_threads_write(threads, &out));
		check_output(buf_slice(&out), COUNT);
		buf_fini(&out);
		imap_threads_free(&threads);
		arena_free(&arena);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shapes),
	    cmocka_unit_test(random_ones),
	    cmocka_unit_test(deep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
