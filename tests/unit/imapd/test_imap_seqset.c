/*
 * Sequence sets: parsing, resolving against a view with holes in both number spaces, and
 * writing; random sets are compared with a naive model.
 */
#include "imapd/imap_seqset.h"

#include <stdlib.h>

#include "imapd/imap_walk.h"
#include "unit/imapd/box.h"

static struct box box;
static struct mailbox_view *view; /* uids 1 2 3 6 7 20 */

static bool
parse(const char *text, struct imap_seqset *out)
{
	struct imap_lex lex;
	imap_lex_init(&lex, slice_from_cstr(text), box.arena);
	return imap_seqset_lex(&lex, out) && imap_lex_end(&lex);
}

static void
refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "0", "1:0", "a", "1,", ",1", "1:", ":1",
	    "1::2", "1,,2", "1 2", "4294967296", "1:2:3", "$,1", "**", "-1", "1:*:2"};
	struct imap_seqset set;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &set))
			fail_msg("taken: '%s'", bad[i]);
	char *many = malloc(IMAP_SEQSET_RANGES_MAX * 2 + 4);
	size_t len = 0;
	for (int i = 0; i <= IMAP_SEQSET_RANGES_MAX; i++) {
		many[len++] = '1';
		many[len++] = ',';
	}
	many[len - 1] = '\0';
	struct imap_lex lex;
	imap_lex_init(&lex, slice_from_cstr(many), box.arena);
	assert_false(imap_seqset_lex(&lex, &set));
	assert_int_equal(lex.fault.result, PARSE_LIMIT);
	free(many);
	imap_lex_init(&lex, SLICE("1:*"), box.arena);
	assert_false(imap_seqset_lex_uids(&lex, &set));
}

static const struct {
	const char *set;
	bool uid;
	bool lenient;
	const char *want; /* null: BEYOND */
} resolve_cases[] = {
    {"1:*",          true,  false, "1:20"  },
    {"*",	    true,  false, "20"    },
    {"*:1",          true,  false, "1:20"  },
    {"500:*",        true,  false, "20"    },
    {"*:500",        true,  false, "20"    },
    {"500:600",      true,  false, ""      },
    {"7,1:2,3",      true,  false, "1:3,7" },
    {"1:4294967295", true,  false, "1:20"  },
    {"4:5",          true,  false, "4:5"   },
    {"10:5,1",       true,  false, "1,5:10"},
    {"1:*",          false, false, "1:20"  },
    {"*",	    false, false, "20"    },
    {"4",	    false, false, "6"     },
    {"3:4",          false, false, "3:6"   },
    {"6,5,2",        false, false, "2,7,20"},
    {"5:*",          false, false, "7:20"  },
    {"7",	    false, false, NULL    },
    {"1:7",          false, false, NULL    },
    {"7",	    false, true,  ""      },
    {"5:9",          false, true,  "7:20"  },
    {"9:*",          false, true,  "20"    },
    {"$",	    true,  false, "2:6"   },
    {"$",	    false, false, "2:6"   },
};

static void
resolved(void **state)
{
	(void)state;
	struct uid_range saved_range = {2, 6};
	struct imap_uid_ranges saved = {&saved_range, 1};
	struct buf text;
	buf_init(&text, 4096);
	for (size_t i = 0; i < sizeof(resolve_cases) / sizeof(resolve_cases[0]); i++) {
		struct imap_seqset set;
		struct imap_uid_ranges ranges;
		assert_true(parse(resolve_cases[i].set, &set));
		enum imap_seqset_result result =
		    imap_seqset_resolve(&set, view, resolve_cases[i].uid,
			resolve_cases[i].lenient, &saved, box.arena, &ranges);
		if (!resolve_cases[i].want) {
			assert_int_equal(result, IMAP_SEQSET_BEYOND);
			continue;
		}
		assert_int_equal(result, IMAP_SEQSET_OK);
		buf_reset(&text);
		imap_seqset_write_ranges(&text, &ranges);
		if (!slice_equal(
			buf_slice(&text), slice_from_cstr(resolve_cases[i].want)))
			fail_msg("%s: %.*s", resolve_cases[i].set,
			    SLICE_ARG(buf_slice(&text)));
	}
	buf_fini(&text);
}

static void
empty_mailbox(void **state)
{
	(void)state;
	struct box other;
	struct mailbox_view *none;
	struct imap_seqset set;
	struct imap_uid_ranges ranges;
	box_open(&other);
	assert_int_equal(
	    mailbox_view_open(other.reader, other.account, other.mailbox, &none),
	    STATUS_OK);
	assert_true(parse("1:*", &set));
	assert_int_equal(
	    imap_seqset_resolve(&set, none, true, false, NULL, box.arena, &ranges),
	    IMAP_SEQSET_OK);
	assert_int_equal(ranges.count, 0);
	/* RFC 9051 section 9, seq-number: "*" in an empty mailbox is BAD. */
	assert_int_equal(
	    imap_seqset_resolve(&set, none, false, false, NULL, box.arena, &ranges),
	    IMAP_SEQSET_BEYOND);
	assert_int_equal(
	    imap_seqset_resolve(&set, none, false, true, NULL, box.arena, &ranges),
	    IMAP_SEQSET_OK);
	assert_int_equal(ranges.count, 0);
	assert_true(parse("$", &set));
	assert_int_equal(
	    imap_seqset_resolve(&set, none, false, false, NULL, box.arena, &ranges),
	    IMAP_SEQSET_OK);
	assert_int_equal(ranges.count, 0);
	mailbox_view_close(&none);
	box_close(&other);
}

static void
walking(void **state)
{
	(void)state;
	struct imap_seqset set;
	struct imap_uid_ranges ranges;
	assert_true(parse("2:4,7:19,20:30", &set));
	assert_int_equal(
	    imap_seqset_resolve(&set, view, true, false, NULL, box.arena, &ranges),
	    IMAP_SEQSET_OK);
	static const uint32_t want[] = {2, 3, 7, 20};
	size_t hint = 0, n = 0;
	for (uint32_t uid = 0;
	     (uid = imap_uid_ranges_next(&ranges, view, uid + 1, &hint)); n++)
		assert_int_equal(uid, want[n]);
	assert_int_equal(n, 4);
	assert_int_equal(imap_uid_ranges_count(&ranges, view), 4);
	assert_true(imap_uid_ranges_contain(&ranges, 4));
	assert_false(imap_uid_ranges_contain(&ranges, 5));
	assert_false(imap_uid_ranges_contain(&ranges, 1));

	struct imap_msn_walk walk;
	imap_msn_walk_init(&walk, view);
	for (uint32_t uid = 1; uid <= 21; uid++)
		assert_int_equal(
		    imap_msn_walk_to(&walk, uid), mailbox_view_msn(view, uid));
}

/* The walk's shortcut over a long view with random holes. */
static void
walking_long(void **state)
{
	(void)state;
	struct box other;
	struct mailbox_view *long_view;
	box_open(&other);
	assert_int_equal(
	    mailbox_view_open(other.reader, other.account, other.mailbox, &long_view),
	    STATUS_OK);
	srand(1);
	for (uint32_t uid = 1; uid < 40000; uid++)
		if (uid < 20000 || rand() % 50)
			mailbox_view_add(long_view, uid);
	struct imap_msn_walk walk;
	imap_msn_walk_init(&walk, long_view);
	for (uint32_t uid = 1; uid < 40010; uid++)
		assert_int_equal(
		    imap_msn_walk_to(&walk, uid), mailbox_view_msn(long_view, uid));
	mailbox_view_close(&long_view);
	box_close(&other);
}

static void
written(void **state)
{
	(void)state;
	static const struct {
		uint32_t numbers[6];
		size_t count;
		const char *want;
	} cases[] = {
	    {{1, 2, 3, 5, 7, 8},          6, "1:3,5,7:8"              },
	    {{5},			 1, "5"                      },
	    {{0},			 0, ""		       },
	    {{9, 8, 7},                   3, "9,8,7"                  },
	    {{4294967294, 4294967295, 1}, 3, "4294967294:4294967295,1"},
	};
	struct buf text;
	buf_init(&text, 4096);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&text);
		imap_seqset_write(&text, cases[i].numbers, cases[i].count);
		assert_true(
		    slice_equal(buf_slice(&text), slice_from_cstr(cases[i].want)));
	}
	buf_fini(&text);
}

/* Random sets: the resolved ranges hold what a look at every range says. */
static void
model(void **state)
{
	(void)state;
	srand(42);
	for (int round = 0; round < 3000; round++) {
		char text[256] = "";
		int parts = 1 + rand() % 5;
		for (int i = 0; i < parts; i++) {
			char a[8], b[8];
			snprintf(a, sizeof(a), "%d", 1 + rand() % 24);
			snprintf(b, sizeof(b), "%d", 1 + rand() % 24);
			if (rand() % 8 == 0)
				strcpy(b, "*");
			snprintf(text + strlen(text), sizeof(text) - strlen(text),
			    rand() % 2 ? "%s%s:%s" : "%s%s", i ? "," : "", a, b);
		}
		struct imap_seqset set;
		struct imap_uid_ranges ranges;
		bool uid = rand() % 2;
		assert_true(parse(text, &set));
		assert_int_equal(
		    imap_seqset_resolve(&set, view, uid, true, NULL, box.arena, &ranges),
		    IMAP_SEQSET_OK);
		for (size_t i = 1; i < ranges.count; i++)
			assert_true(
			    ranges.ranges[i].first > ranges.ranges[i - 1].last + 1);
		for (uint32_t msn = 1; msn <= mailbox_view_count(view); msn++) {
			uint32_t u = mailbox_view_uid(view, msn);
			uint32_t me = uid ? u : msn;
			uint32_t star = uid ? 20 : 6;
			bool in = false;
			for (size_t i = 0; i < set.count; i++) {
				uint32_t x = set.ranges[i].first;
				uint32_t y = set.ranges[i].last;
				x = x ? x : star;
				y = y ? y : star;
				in |= (x <= me && me <= y) || (y <= me && me <= x);
			}
			if (in != imap_uid_ranges_contain(&ranges, u))
				fail_msg("%s uid=%d at %u", text, uid, me);
		}
	}
}

static int
setup(void **state)
{
	(void)state;
	box_open(&box);
	assert_int_equal(
	    mailbox_view_open(box.reader, box.account, box.mailbox, &view), STATUS_OK);
	static const uint32_t uids[] = {1, 2, 3, 6, 7, 20};
	for (size_t i = 0; i < sizeof(uids) / sizeof(uids[0]); i++)
		mailbox_view_add(view, uids[i]);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	mailbox_view_close(&view);
	box_close(&box);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refused),
	    cmocka_unit_test(resolved),
	    cmocka_unit_test(empty_mailbox),
	    cmocka_unit_test(walking),
	    cmocka_unit_test(walking_long),
	    cmocka_unit_test(written),
	    cmocka_unit_test(model),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
