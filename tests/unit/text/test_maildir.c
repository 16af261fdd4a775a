/* Maildir++ lists, names and flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/maildir.h"

static void
test_uidlist(void **state)
{
	(void)state;
	struct maildir_uidlist list;
	struct maildir_uid entry;
	struct slice text = SLICE("3 V1275660208 N25022 Gd1be2e0b\r\n"
				  "25006 W2481 :1276.M3.host,S=1:2,RS\r\n"
				  "x y\n"
				  "25006 :again\n"
				  "25017 Pid-1 W36 :b;2,F\n"
				  "25018 Pid-2\n");
	assert_true(maildir_uidlist_open(text, &list));
	assert_int_equal(list.uidvalidity, 1275660208);
	assert_int_equal(list.uidnext, 25022);
	assert_int_equal(maildir_uidlist_next(&list, 0, &entry), MAILDIR_LINE_OK);
	assert_int_equal(entry.uid, 25006);
	assert_true(slice_equal(entry.base, SLICE("1276.M3.host,S=1")));
	assert_null(entry.uidl.ptr);
	assert_int_equal(maildir_uidlist_next(&list, 25006, &entry), MAILDIR_LINE_BAD);
	assert_int_equal(list.line, 3);
	assert_int_equal(maildir_uidlist_next(&list, 25006, &entry), MAILDIR_LINE_BAD);
	assert_int_equal(maildir_uidlist_next(&list, 25006, &entry), MAILDIR_LINE_OK);
	assert_true(slice_equal(entry.base, SLICE("b")));
	assert_true(slice_equal(entry.uidl, SLICE("id-1")));
	assert_int_equal(maildir_uidlist_next(&list, 25017, &entry), MAILDIR_LINE_BAD);
	assert_int_equal(maildir_uidlist_next(&list, 25017, &entry), MAILDIR_LINE_END);
	assert_true(maildir_uidlist_open(SLICE("1 14 50\n7 a\n"), &list));
	assert_int_equal(maildir_uidlist_next(&list, 0, &entry), MAILDIR_LINE_OK);
	assert_true(entry.uid == 7 && slice_equal(entry.base, SLICE("a")));
	static const char *const bad[] = {
	    "", "2 V1 N1\n", "3 N4\n", "3 V0 N4\n", "1 7\n", "3 V99999999999\n", "x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(maildir_uidlist_open(slice_from_cstr(bad[i]), &list));
}

static void
test_names(void **state)
{
	(void)state;
	struct maildir_name name;
	struct slice keywords[MAILDIR_KEYWORDS_MAX];
	maildir_name_parse(SLICE("1.a,S=10,W=12,z=-90:2,FPSaz"), &name);
	assert_true(slice_equal(name.base, SLICE("1.a,S=10,W=12,z=-90")));
	assert_int_equal(name.flags, MAILDIR_FLAGGED | MAILDIR_PASSED | MAILDIR_SEEN);
	assert_int_equal(name.keywords, 1u | 1u << 25);
	assert_int_equal(name.size, 10);
	assert_int_equal(name.vsize, 12);
	assert_true(name.has_zone && name.zone_min == -90);
	maildir_name_parse(SLICE("plain"), &name);
	assert_true(name.flags == 0 && name.size == 0 && !name.has_zone);
	assert_int_equal(
	    maildir_keywords_parse(SLICE("0 $Forwarded\n25 z\n26 over\nx\n"), keywords),
	    2);
	assert_true(slice_equal(keywords[0], SLICE("$Forwarded")));
	assert_true(slice_equal(keywords[25], SLICE("z")));
	assert_null(keywords[1].ptr);
}

static void
test_folders(void **state)
{
	(void)state;
	static const struct {
		const char *encoded, *utf8; /* null: refused */
	} cases[] = {
	    {"A.B",           "A/B"            },
	    {"a&AC4-b",       "a.b"            },
	    {"caf&AOk-.x&-y", "caf\xc3\xa9/x&y"},
	    {"caf\xc3\xa9",   "caf\xc3\xa9"    },
	    {"a..b",          NULL             },
	    {"a.",            NULL             },
	    {"a/b",           NULL             },
	    {"a\x01",         NULL             },
	    {"&AAE-",         NULL             },
	    {"\xff",          NULL             },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out AUTO_BUF, back AUTO_BUF;
		buf_init(&out, 1000);
		buf_init(&back, 1000);
		bool good =
		    maildir_folder_decode(slice_from_cstr(cases[i].encoded), '.', &out);
		assert_int_equal(good, cases[i].utf8 != NULL);
		if (!good)
			continue;
		assert_true(slice_equal(buf_slice(&out), slice_from_cstr(cases[i].utf8)));
		maildir_folder_encode(buf_slice(&out), &back);
		buf_reset(&out);
		assert_true(maildir_folder_decode(buf_slice(&back), '.', &out));
		assert_true(slice_equal(buf_slice(&out), slice_from_cstr(cases[i].utf8)));
	}
}

static void
subscriptions_are(const char *text, const char *const *want)
{
	struct maildir_subscriptions list;
	struct buf name AUTO_BUF;
	buf_init(&name, 1000);
	maildir_subscriptions_open(slice_from_cstr(text), &list);
	for (; *want; want++) {
		assert_true(maildir_subscriptions_next(&list, &name));
		assert_true(slice_equal(buf_slice(&name), slice_from_cstr(*want)));
	}
	assert_false(maildir_subscriptions_next(&list, &name));
}

static void
test_subscriptions(void **state)
{
	(void)state;
	subscriptions_are(
	    "V\t2\n\nA\tB\nA.B&-\n\xff\n", (const char *const[]){"A/B", "A.B&", NULL});
	subscriptions_are("A.B\nINBOX.Arch&AOk-\nx/y.z\n..\n",
	    (const char *const[]){"A/B", "Arch\xc3\xa9", "x/y.z", NULL});
	subscriptions_are("", (const char *const[]){NULL});
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_uidlist),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_folders),
	    cmocka_unit_test(test_subscriptions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
