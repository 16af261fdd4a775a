/*
 * What programs write on sendmail's standard input: header or none, dots, -t, addresses.
 */
#include "postroom/sendmail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FROM "From: <me@host.test>\r\n"

struct row {
	const char *what, *input;
	bool dot_ends, take;
	const char *header, *body, *recipients;
};

static const struct row rows[] = {
    {"plain",	       "Subject: x\n\nb\n",                               true,  false, "Subject: x\n" FROM "\r\n", "b\n",     ""        },
    {"nothing",             "",						true,  false, FROM "\r\n",                "",        ""        },
    {"no header",           "hello\n",					 true,  false, FROM "\r\n",                "hello\n", ""        },
    {"a header that stops", "A: b\nhello\n",                                   true,  false, "A: b\n" FROM "\r\n",       "hello\n",
     ""																       },
    {"a header alone",      "A: b",					    true,  false, "A: b\r\n" FROM "\r\n",     "",        ""        },
    {"From is there",       "FROM : a@b\r\n\r\nx",                             true,  false, "FROM : a@b\r\n\r\n",       "x",       ""        },
    {"mbox line",           "From me Mon\nA: b\n\n",                           true,  false, "A: b\n" FROM "\r\n",       "",        ""        },
    {"a dot",	       "A: b\n\nx\n.\r\ny",                               true,  false, "A: b\n" FROM "\r\n",       "x\n",     ""        },
    {"a dot at the end",    "\nx\n.",					  true,  false, FROM "\r\n",                "x\n",     ""        },
    {"a dot that stays",    "\nx\n.\ny",				       false, false, FROM "\r\n",                "x\n.\ny", ""        },
    {"two dots",            "\n..\n",					  true,  false, FROM "\r\n",                "..\n",    ""        },
    {"-t",		  "To: a@b, C <c@d>\nCc: root\nBcc: e@f,\n g@h\n\n", true,  true,
     "To: a@b, C <c@d>\nCc: root\n" FROM "\r\n",									 "",
     "a@b c@d root@host.test e@f g@h "													},
    {"-t and groups",       "To: us: a@b, c@d;\n\n",                           true,  true,
     "To: us: a@b, c@d;\n" FROM "\r\n",										  "",        "a@b c@d "},
    {"-t and Resent",       "To: a@b\nResent-To: c@d\nResent-Bcc: e@f\n\n",    true,  true,
     "To: a@b\nResent-To: c@d\n" FROM "\r\n",									    "",        "c@d e@f "},
    {"Bcc without -t",      "Bcc: a@b\n\n",                                    true,  false, "Bcc: a@b\n" FROM "\r\n",   "",        ""        },
};

static void
messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct sendmail_text *text = calloc(1, sizeof(*text));
		struct arena *arena = arena_new(1 << 20);
		const struct sendmail_wish wish = {
		    .dot_ends = row->dot_ends,
		    .take_recipients = row->take,
		    .from = SLICE("me@host.test"),
		    .host = SLICE("host.test"),
		};
		const char *why = NULL;
		char names[400] = "";
		assert_non_null(text);
		buf_init(&text->header, SENDMAIL_HEADER_MAX);
		assert_true(sendmail_text_make(
		    slice_from_cstr(row->input), &wish, arena, text, &why));
		for (size_t k = 0; k < text->recipient_count; k++) {
			strncat(names, text->recipients[k].ptr, text->recipients[k].len);
			strcat(names, " ");
		}
		if (!slice_equal(
			buf_slice(&text->header), slice_from_cstr(row->header)) ||
		    !slice_equal(text->body, slice_from_cstr(row->body)) ||
		    strcmp(names, row->recipients) != 0)
			fail_msg("%s: %.*s|%.*s|%s", row->what,
			    SLICE_ARG(buf_slice(&text->header)), SLICE_ARG(text->body),
			    names);
		buf_fini(&text->header);
		arena_free(&arena);
		free(text);
	}
}

static void
parts(void **state)
{
	(void)state;
	char bytes[] = {'\0', 'a', '\0', '\0', 'b', '\0'};
	assert_int_equal(sendmail_without_nul(bytes, sizeof(bytes)), 2);
	assert_memory_equal(bytes, "ab", 2);
	struct buf out AUTO_BUF;
	buf_init(&out, 100);
	sendmail_xtext(SLICE("a+b=c d\n"), &out);
	assert_true(slice_equal(buf_slice(&out), SLICE("a+2Bb+3Dc+20d+0A")));
	assert_string_equal(sendmail_name("/usr/sbin/sendmail"), "sendmail");
	assert_string_equal(sendmail_name("mailq"), "mailq");
	assert_null(sendmail_name("/usr/sbin/postroom"));
	assert_null(sendmail_name(NULL));
}

static void
limits(void **state)
{
	(void)state;
	struct sendmail_text *text = calloc(1, sizeof(*text));
	struct arena *arena = arena_new(16 << 20);
	assert_non_null(text);
	/* Nothing that could end a command gets into one. */
	static const char *const bad[] = {"", " ", ",", "<>"};
	for (size_t i = 0; i < 4; i++)
		assert_false(sendmail_recipients_add(
		    slice_from_cstr(bad[i]), SLICE("h.test"), arena, text));
	for (size_t i = 0; i < SENDMAIL_RECIPIENTS_MAX; i++)
		assert_true(
		    sendmail_recipients_add(SLICE("a@b"), SLICE("h.test"), arena, text));
	assert_false(sendmail_recipients_add(SLICE("a@b"), SLICE("h.test"), arena, text));
	for (size_t i = 0; i < text->recipient_count; i++)
		assert_true(slice_equal(text->recipients[i], SLICE("a@b")));
	arena_free(&arena);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages),
	    cmocka_unit_test(parts),
	    cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
