/* Splitting of mbox files, quoting, and the fields of servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/mbox.h"

#define FROM "From a@b.c Fri Jul  8 12:08:34 2011\n"

static void
test_from_lines(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		int64_t date; /* -1: none */
	} cases[] = {
	    {"From a@b.c Fri Jul  8 12:08:34 2011",       1310126914},
	    {"From a@b.c Fri Jul 8 12:08 2011",           1310126880},
	    {"From a@b.c Fri Jul  8 12:08:34 2011 +0200", 1310119714},
	    {"From a@b.c Fri Jul  8 12:08:34 +0200 2011", 1310119714},
	    {"From a@b.c Fri Jul  8 12:08:34 CEST 2011",  1310126914},
	    {"From \"a b\"@c  Fri Jul  8 12:08:34 2011",  1310126914},
	    {"From a@b.c Thu Feb 29 00:00:00 2024",       1709164800},
	    {"From here on",			      -1        },
	    {"From a@b.c Fri Jul  8 25:08:34 2011",       -1        },
	    {"From a@b.c Fri Jul  8 12:08:34 11",         -1        },
	    {"From a@b.c Fri Foo  8 12:08:34 2011",       -1        },
	    {"from a@b.c Fri Jul  8 12:08:34 2011",       -1        },
	    {"From ",				     -1        },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t date = -1;
		assert_int_equal(
		    mbox_from_line_parse(slice_from_cstr(cases[i].line), &date),
		    cases[i].date != -1);
		assert_int_equal(date, cases[i].date);
	}
}

/* The file's messages without fields and quoting, a "|" behind each. */
static void
messages_are(const char *file, enum mbox_quoting quoting, const char *want)
{
	struct mbox_message message;
	struct mbox_meta meta;
	struct slice piece;
	struct buf out AUTO_BUF;
	size_t at = 0;
	buf_init(&out, 10000);
	while (mbox_next(slice_from_cstr(file), quoting, &at, &message)) {
		size_t cursor = 0;
		mbox_meta_parse(&message, &meta);
		while (mbox_piece_next(&message, &meta, &cursor, &piece))
			buf_append(&out, piece);
		buf_append_byte(&out, '|');
	}
	buf_append_byte(&out, '\0');
	assert_string_equal(out.ptr, want);
}

static void
test_split(void **state)
{
	(void)state;
	messages_are("", MBOX_QUOTING_AUTO, "");
	messages_are("no mbox\n", MBOX_QUOTING_AUTO, "");
	messages_are("\n" FROM "S: 1\n\nx\n\n" FROM "S: 2\n\ny", MBOX_QUOTING_AUTO,
	    "S: 1\n\nx\n|S: 2\n\ny|");
	messages_are(FROM "S: 1\n\n" FROM "S: 2\n\n\n\n", MBOX_QUOTING_AUTO,
	    "S: 1\n\n|S: 2\n\n\n|");
	messages_are(FROM "S: 1\r\n\r\nx\r\n\r\n" FROM "S: 2\r\n\r\ny\r\n",
	    MBOX_QUOTING_AUTO, "S: 1\r\n\r\nx\r\n|S: 2\r\n\r\ny\r\n|");
	messages_are(FROM "S: 1\n\n>From a\n>>From b\n> From\n>x\n", MBOX_QUOTING_AUTO,
	    "S: 1\n\nFrom a\n>From b\n> From\n>x\n|");
	messages_are(FROM "S: 1\n\n>From a\n>>From b\n", MBOX_QUOTING_O,
	    "S: 1\n\nFrom a\n>>From b\n|");
	messages_are(FROM "S: 1\n\n>From a\n", MBOX_QUOTING_NONE, "S: 1\n\n>From a\n|");
	/* mboxcl2: the length shows that the From_ line is text, so none is quoted. */
	messages_are(FROM "Content-Length: 44\n\n>From x\n" FROM "\n" FROM "S: 2\n\n",
	    MBOX_QUOTING_AUTO, "\n>From x\n" FROM "|S: 2\n\n|");
	/* A length that is wrong does not count. */
	messages_are(FROM "Content-Length: 7\n\nabc\n\n" FROM "S: 2\n\n",
	    MBOX_QUOTING_AUTO, "\nabc\n|S: 2\n\n|");
	messages_are(FROM "Status: RO\nS: 1\nX-Keywords: a\n b\nX-UID: 9\n\nStatus: x\n",
	    MBOX_QUOTING_AUTO, "S: 1\n\nStatus: x\n|");
	/* Ours: fields behind the block are the message's. */
	messages_are(FROM "X-Postroom: lines=2\nX-UID: 9\nX-UID: 3\nS: 1\n\nx\n\n",
	    MBOX_QUOTING_AUTO, "X-UID: 3\nS: 1\n\nx\n|");
	messages_are(
	    FROM "X-Postroom: lines=1\nno header\n\n", MBOX_QUOTING_AUTO, "no header\n|");
}

static void
test_fields(void **state)
{
	(void)state;
	struct mbox_message message;
	struct mbox_meta meta;
	size_t at = 0;
	struct slice file = SLICE(
	    FROM "X-IMAPbase: 1200000000 0000000020 one two\nStatus: RO\nX-Status: AFT\n"
		 "X-UID: 4\nX-Keywords: one  two\nX-UIDL: \"x\"\n\nbody\n\n" FROM
		 "X-Postroom: lines=3 date=-5 zone=-90 exact=1 cut=1\nX-UID: 7\n"
		 "X-Status: D\nX-UID: 8\n\n\n");
	assert_true(mbox_next(file, MBOX_QUOTING_AUTO, &at, &message));
	mbox_meta_parse(&message, &meta);
	assert_int_equal(meta.uidvalidity, 1200000000);
	assert_int_equal(meta.uid_last, 20);
	assert_int_equal(meta.uid, 4);
	assert_int_equal(
	    meta.flags, MBOX_SEEN | MBOX_OLD | MBOX_ANSWERED | MBOX_FLAGGED | MBOX_DRAFT);
	assert_int_equal(meta.keyword_count, 2);
	assert_true(slice_equal(meta.keywords[1], SLICE("two")));
	assert_true(slice_equal(meta.uidl, SLICE("\"x\"")));
	assert_false(meta.is_ours || meta.is_internal);
	assert_true(mbox_next(file, MBOX_QUOTING_AUTO, &at, &message));
	mbox_meta_parse(&message, &meta);
	assert_true(meta.is_ours && meta.is_exact && meta.is_cut);
	assert_int_equal(meta.uid, 7);
	assert_int_equal(meta.date_s, -5);
	assert_int_equal(meta.zone_min, -90);
	assert_int_equal(meta.flags, MBOX_DELETED);
	assert_false(mbox_next(file, MBOX_QUOTING_AUTO, &at, &message));
	at = 0;
	file = SLICE(FROM "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
			  "X-IMAP: 5 6\n\nx\n");
	assert_true(mbox_next(file, MBOX_QUOTING_AUTO, &at, &message));
	mbox_meta_parse(&message, &meta);
	assert_true(meta.is_internal && meta.uidvalidity == 5 && meta.uid_last == 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_from_lines),
	    cmocka_unit_test(test_split),
	    cmocka_unit_test(test_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
