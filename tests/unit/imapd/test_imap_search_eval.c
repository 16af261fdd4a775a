/*
 * SEARCH on the messages of a memory store: every key against expected message numbers.
 */
#include "imapd/imap_search_eval.h"

#include "imapd/imap_cmd.h"
#include "imapd/imap_resp.h"
#include "unit/imapd/box.h"

static struct box box;
static struct mailbox_view *view;

enum { DAY = 86400 };
#define NOW (int64_t)(20000 * (int64_t)DAY) /* 4-Oct-2024 */

static const char *const messages[] = {
    /* 1 */
    "From: Ann Lee <ann@example.org>\r\n"
    "To: bob@example.net, \"Carl\" <carl@example.com>\r\n"
    "Subject: Hello World\r\n"
    "Date: Tue, 1 Oct 2024 23:30:00 -0500\r\n"
    "Message-ID: <one@example.org>\r\n"
    "\r\n"
    "The quick brown fox.\r\n",
    /* 2: encoded words, base64 body in UTF-8 */
    "From: =?utf-8?q?J=C3=BCrgen?= <j@example.de>\r\n"
    "To: ann@example.org\r\n"
    "Subject: =?iso-8859-1?q?Gr=FC=DFe?= aus\r\n"
    " =?utf-8?b?TcO8bmNoZW4=?=\r\n"
    "Date: Wed, 2 Oct 2024 10:00:00 +0000\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: base64\r\n"
    "\r\n"
    "U3RyYcOfZSBuYWNoIEvDlkxO\r\n",
    /* 3: multipart with quoted-printable latin1, an attachment, a nested message */
    "From: list@example.com\r\n"
    "Cc: dora@example.org\r\n"
    "Bcc: eve@example.org\r\n"
    "Subject: parts\r\n"
    "X-Empty:\r\n"
    "Date: nonsense\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/mixed; boundary=b\r\n"
    "\r\n"
    "not searched preamble\r\n"
    "--b\r\n"
    "Content-Type: text/plain; charset=iso-8859-1\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n"
    "\r\n"
    "caf=E9 long=\r\nline\r\n"
    "--b\r\n"
    "Content-Type: image/png; name=secretname.png\r\n"
    "Content-Transfer-Encoding: base64\r\n"
    "\r\n"
    "aGlkZGVuIHdvcmQ=\r\n"
    "--b\r\n"
    "Content-Type: message/rfc822\r\n"
    "\r\n"
    "Subject: =?utf-8?q?inn=C3=A9r?=\r\n"
    "\r\n"
    "deep text\r\n"
    "--b--\r\n",
    /* 4: nearly nothing */
    "\r\nbare body\r\n",
};

/* Charsets, encodings and types beside those: searched by themselves. */
static const struct {
	const char *message, *holds, *holds_not; /* BODY */
} texts[] = {
    {"Content-Type: text/plain; charset=utf-7\r\n\r\nK+APY-ln\r\n",                   "k\xc3\xb6ln",
     "+apy-"																	 },
    {"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$3$s$K$A\x1b(B\r\n",
     "\xe3\x81\x93\xe3\x82\x93",													"$b$3"       },
    {"Content-Type: text/plain; charset=koi8-r\r\n\r\n\xf0\xd2\xc9\xd7\xc5\xd4\r\n",
     "\xd0\xbf\xd1\x80\xd0\x98\xd0\x92",												"\xf0\xd2"   },
    {"Content-Type: text/plain; charset=gb2312\r\nContent-Transfer-Encoding: base64\r\n"
     "\r\nxOO6ww==\r\n",							 "\xe4\xbd\xa0\xe5\xa5\xbd",                       "xoo6"       },
    {"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\n<p class=3D\"x\">Gr=C3=BC=C3=9Fe</p>\r\n",	 "<P CLASS=\\\"x\\\">gr\xc3\xbcsse",               "=3d"        },
    {"Content-Type: application/octet-stream\r\n\r\nopaque words\r\n",                "",                                               "opaque"     },
    {"Content-Type: text/plain; charset=x-none\r\n\r\nna\xefve caf\xe9 words\r\n",
     "VE CAF",															  "caf\xc3\xa9"},
    {"Content-Type: text/plain; charset=utf-8\r\n\r\n\xc3\x84 \xce\xa3\xce\x91\xce\xa3 "
     "\xc4\xb0 \xef\xac\x81\r\n",						"\xc3\xa4 \xcf\x83\xce\xb1\xcf\x82 i\xcc\x87 fi", "ss"         },
};
static const struct slice keyword[] = {
    {"$Work", 5}
};

static const struct {
	const char *program;
	const char *want; /* message numbers */
} cases[] = {
    {"ALL",				      "1 2 3 4"},
    {"SEEN",				     "1 3"    },
    {"UNSEEN",				   "2 4"    },
    {"SEEN FLAGGED",			     "3"      },
    {"OR SEEN FLAGGED",			  "1 3"    },
    {"NOT SEEN",				 "2 4"    },
    {"NOT (SEEN UNFLAGGED)",                     "2 3 4"  },
    {"DELETED",				  ""       },
    {"UNDELETED",				"1 2 3 4"},
    {"KEYWORD $work",			    "2"      },
    {"UNKEYWORD $work",			  "1 3 4"  },
    {"KEYWORD other",			    ""       },
    {"RECENT",				   ""       },
    {"OLD",				      "1 2 3 4"},
    {"NEW",				      ""       },
    {"2:3",				      "2 3"    },
    {"*",					"4"      },
    {"9",					""       },
    {"UID 1,4:*",				"1 4"    },
    {"NOT 2:3",				  "1 4"    },
    {"$",					"2 3"    },
    {"UID $ NOT $",			      ""       },
    {"LARGER 15",				"1 2 3"  },
    {"SMALLER 15",			       "4"      },
    {"LARGER 13",				"1 2 3"  },
    {"SMALLER 13",			       ""       },
    {"BEFORE 2-Oct-2024",                        "1"      },
    {"ON 2-Oct-2024",			    "2"      },
    {"SINCE 2-Oct-2024",			 "2 3 4"  },
    {"SENTON 1-Oct-2024",                        "1"      },
    {"SENTSINCE 1-Oct-2024",                     "1 2"    },
    {"SENTBEFORE 2-Oct-2024",                    "1"      },
    {"NOT SENTBEFORE 2-Oct-2024",                "2 3 4"  },
    {"OLDER 86400",			      "1 2 3"  },
    {"YOUNGER 86400",			    "3 4"    },
    {"YOUNGER 10",			       "4"      },
    {"SAVEDSINCE 1-Jan-2020",                    "1 2 3 4"},
    {"SAVEDBEFORE 1-Jan-2020",                   ""       },
    {"SAVEDATESUPPORTED",                        "1 2 3 4"},
    {"THREADID T1",			      ""       },
    {"FROM ann",				 "1"      },
    {"FROM \"ANN LEE <ann\"",                    "1"      },
    {"FROM \"J\xc3\x9cRGEN\"",                   "2"      },
    {"TO EXAMPLE",			       "1 2"    },
    {"CC dora",				  "3"      },
    {"BCC eve",				  "3"      },
    {"SUBJECT hello",			    "1"      },
    {"SUBJECT \"o w\"",			  "1"      },
    {"SUBJECT \"gr\xc3\xbc\xc3\x9f\"",           "2"      },
    {"SUBJECT \"GR\xc3\x9cSSE AUS M\xc3\x9cN\"", "2"      },
    {"SUBJECT \"\"",			     "1 2 3"  },
    {"CHARSET ISO-8859-1 SUBJECT {1}\r\n\xfc",   "2"      },
    {"HEADER Message-ID <one@",                  "1"      },
    {"HEADER X-Empty \"\"",                      "3"      },
    {"HEADER X-Empty x",			 ""       },
    {"HEADER X-None \"\"",                       ""       },
    {"BODY \"QUICK brown\"",                     "1"      },
    {"BODY \"stra\xc3\x9f"
     "e\"",				 "2"      },
    {"BODY \"k\xc3\xb6ln\"",                     "2"      },
    {"BODY strasse",			     "2"      },
    {"BODY \"CAF\xc3\x89 longline\"",            "3"      },
    {"BODY hidden",			      ""       },
    {"BODY aGlkZ",			       ""       },
    {"BODY deep",				"3"      },
    {"BODY \"inn\xc3\xa9r\"",                    "3"      },
    {"BODY hello",			       ""       },
    {"BODY secretname",			  ""       },
    {"BODY \"linedeep\"",                        ""       },
    {"BODY bare",				"4"      },
    {"TEXT hello",			       "1"      },
    {"TEXT secretname",			  "3"      },
    {"TEXT fox",				 "1"      },
    {"TEXT ann@example.org",                     "1 2"    },
    {"TEXT \"Subject: hello\"",                  "1"      },
    {"TEXT bare",				"4"      },
    {"NOT TEXT example",			 "4"      },
    {"BODY \"\"",				"1 2 3 4"},
    {"OR BODY fox BODY deep",                    "1 3"    },
    {"MODSEQ 1",				 "1 2 3 4"},
    {"MODSEQ 9999",			      ""       },
    {"EMAILID Fnone",			    ""       },
};

static void
search(const char *program, struct buf *out)
{
	struct imap_lex lex;
	struct imap_command cmd = {0};
	struct parse_fault fault = {"?"};
	struct slice names[MAILBOX_KEYWORDS_MAX];
	struct uid_range saved_range = {2, 3};
	struct imap_uid_ranges saved = {&saved_range, 1};
	struct imap_search_eval eval;
	struct message_record record;

	arena_reset(box.arena);
	imap_lex_init(&lex, arena_format(box.arena, " %s", program), box.arena);
	if (imap_parse_search(&lex, box.arena, &cmd, &fault) != PARSE_DONE)
		fail_msg("%s: %s", program, fault.text);
	struct imap_search_node *root = cmd.u.search->root;
	assert_int_equal(imap_search_resolve(root, view, &saved, box.arena), STATUS_OK);
	imap_search_keywords(
	    root, names, mailbox_keywords(box.reader, box.account, box.mailbox, names));
	imap_search_eval_init(&eval, box.reader, box.account, NULL, NOW);
	struct message_cursor *cursor =
	    message_cursor_open(box.reader, box.account, box.mailbox, 1, UINT32_MAX);
	while (message_cursor_next(cursor, &record) == STATUS_OK) {
		if (imap_search_match(&eval, root, &record)) {
			if (out->len)
				buf_append_byte(out, ' ');
			buf_append_u64(out, record.uid);
		}
		imap_search_done(&eval);
	}
	message_cursor_close(&cursor);
	assert_int_equal(eval.status, STATUS_OK);
	imap_search_eval_fini(&eval);
	store_reader_end(box.reader);
}

static void
keys(void **state)
{
	(void)state;
	struct buf got;
	buf_init(&got, 4096);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&got);
		search(cases[i].program, &got);
		if (!slice_equal(buf_slice(&got), slice_from_cstr(cases[i].want)))
			fail_msg("%s: got '%.*s', want '%s'", cases[i].program,
			    SLICE_ARG(buf_slice(&got)), cases[i].want);
	}
	buf_fini(&got);
}

static void
charsets(void **state)
{
	(void)state;
	struct box main_box = box;
	struct mailbox_view *main_view = view;
	struct buf got;
	buf_init(&got, 64);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char program[256];
		box_open(&box);
		assert_int_equal(
		    box_append(&box, slice_from_cstr(texts[i].message), 0, NULL, 0, NOW),
		    1);
		assert_int_equal(
		    mailbox_view_open(box.reader, box.account, box.mailbox, &view),
		    STATUS_OK);
		snprintf(program, sizeof(program), "BODY \"%s\"", texts[i].holds);
		buf_reset(&got);
		search(program, &got);
		if (!slice_equal(buf_slice(&got), SLICE("1")))
			fail_msg("%s: not found", program);
		snprintf(program, sizeof(program), "BODY \"%s\"", texts[i].holds_not);
		buf_reset(&got);
		search(program, &got);
		if (got.len)
			fail_msg("%s: found", program);
		mailbox_view_close(&view);
		box_close(&box);
	}
	buf_fini(&got);
	box = main_box;
	view = main_view;
}

static void
by_email_id(void **state)
{
	(void)state;
	struct message_record record;
	struct buf id, got;
	char program[128];
	buf_init(&id, 64);
	buf_init(&got, 64);
	assert_int_equal(
	    message_get(box.reader, box.account, box.mailbox, 2, &record), STATUS_OK);
	imap_resp_emailid(&id, record.email_id);
	snprintf(program, sizeof(program), "EMAILID %.*s", SLICE_ARG(buf_slice(&id)));
	search(program, &got);
	assert_true(slice_equal(buf_slice(&got), SLICE("2")));
	buf_fini(&id);
	buf_fini(&got);
}

static int
setup(void **state)
{
	(void)state;
	box_open(&box);
	static const uint8_t flags[] = {
	    MESSAGE_SEEN, 0, MESSAGE_SEEN | MESSAGE_FLAGGED, 0};
	const int64_t dates[] = {NOW - 3 * DAY, NOW - 2 * DAY + 100, NOW - DAY, NOW - 5};
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(box_append(&box, slice_from_cstr(messages[i]), flags[i],
				     keyword, i == 1, dates[i]),
		    i + 1);
	assert_int_equal(
	    mailbox_view_open(box.reader, box.account, box.mailbox, &view), STATUS_OK);
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
	    cmocka_unit_test(keys),
	    cmocka_unit_test(charsets),
	    cmocka_unit_test(by_email_id),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
