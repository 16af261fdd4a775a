/*
 * Command lines: what is taken, what is refused and for which reason.  The cases of
 * reference/smtp.md sections 4.3 and 4.4 (A1-A4, C2) that a parser can decide are here.
 */
#include "smtpd/smtp_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { TEST_ARENA = 256 * 1024 };

static void
lines(void **state)
{
	(void)state;
	struct smtp_line line;
	assert_true(smtp_line_parse(SLICE("NOOP"), &line));
	assert_true(slice_equal(line.verb, SLICE("NOOP")));
	assert_int_equal(line.rest.len, 0);
	assert_true(smtp_line_parse(SLICE("mail  FROM:<a@b.example>  "), &line));
	assert_true(slice_equal(line.verb, SLICE("mail")));
	assert_true(slice_equal(line.rest, SLICE("FROM:<a@b.example>")));
	assert_true(smtp_line_parse(SLICE("EHLO\tpc"), &line));
	assert_false(smtp_line_parse(SLICE(""), &line));
	assert_false(smtp_line_parse(SLICE(" NOOP"), &line));
	assert_false(smtp_line_parse(SLICE("GET/ HTTP"), &line));
	assert_false(smtp_line_parse(SLICE("NOOP \001"), &line));
	assert_false(smtp_line_parse(SLICE("NOOP \177"), &line));
	assert_false(smtp_line_parse(SLICE("NOOP \033[2J"), &line));
}

static void
names(void **state)
{
	(void)state;
	assert_true(smtp_helo_is_valid(SLICE("mail.example.org")));
	assert_true(smtp_helo_is_valid(SLICE("[192.0.2.1]")));
	assert_true(smtp_helo_is_valid(SLICE("[IPv6:2001:db8::1]")));
	assert_true(smtp_helo_is_valid(SLICE("MY_PC")));
	assert_false(smtp_helo_is_valid(SLICE("")));
	assert_false(smtp_helo_is_valid(SLICE("a b")));
	assert_false(smtp_helo_is_valid(SLICE("a(comment)")));
	assert_false(smtp_helo_is_valid(SLICE("\xc3\xbc.example")));
	char longest[SMTP_HELO_MAX + 1];
	memset(longest, 'a', sizeof(longest));
	assert_true(smtp_helo_is_valid(slice_make(longest, SMTP_HELO_MAX)));
	assert_false(smtp_helo_is_valid(slice_make(longest, SMTP_HELO_MAX + 1)));
}

struct mail_row {
	struct slice text;
	enum smtp_parse_result result;
	struct slice local, domain;
};

static void
mail_paths(void **state)
{
	(void)state;
	static const struct mail_row rows[] = {
	    {SLICE("FROM:<a@b.example>"),                       SMTP_PARSE_DONE,    SLICE("a"),
             SLICE("b.example")										      },
	    {SLICE("from:<A@B.Example>"),                       SMTP_PARSE_DONE,    SLICE("A"),
             SLICE("b.example")										      },
	    {SLICE("FROM: <a@b.example>"),                      SMTP_PARSE_DONE,    SLICE("a"),
             SLICE("b.example")										      },
	    {SLICE("FROM:<>"),				  SMTP_PARSE_DONE,    SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<@x.example,@y.example:a@b.example>"), SMTP_PARSE_DONE,
             SLICE("a"),									   SLICE("b.example")},
	    {SLICE("FROM:<\"a b\"@b.example>"),                 SMTP_PARSE_DONE,    SLICE("a b"),
             SLICE("b.example")										      },
	    {SLICE("FROM:<a@[192.0.2.1]>"),                     SMTP_PARSE_DONE,    SLICE("a"),
             SLICE("[192.0.2.1]")										    },
 /* Addresses like any other; no shell ever sees them (A1). */
	    {SLICE("FROM:<$(id)@b.example>"),                   SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<\";id;\"@b.example>"),                SMTP_PARSE_DONE,    SLICE(";id;"),
             SLICE("b.example")										      },
	    {SLICE("FROM:<`id`@b.example>"),                    SMTP_PARSE_DONE,    SLICE("`id`"),
             SLICE("b.example")										      },
	    {SLICE("FROM:<|id@b.example>"),                     SMTP_PARSE_DONE,    SLICE("|id"),
             SLICE("b.example")										      },
	    {SLICE("FROM:<../../etc@b.example>"),               SMTP_PARSE_ADDRESS, SLICE(""),
             SLICE("")											       },
	    {SLICE("FROM:<;id;@b.example>"),                    SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<postmaster>"),                        SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<a@b.example"),                        SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<a@b.example>x"),                      SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<\"a\\\"@b.example>"),                 SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<a@>"),                                SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<@b.example>"),                        SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:<a@-b.example>"),                      SMTP_PARSE_ADDRESS, SLICE(""),     SLICE("")         },
	    {SLICE("FROM:a@b.example"),                         SMTP_PARSE_SYNTAX,  SLICE(""),     SLICE("")         },
	    {SLICE("TO:<a@b.example>"),                         SMTP_PARSE_SYNTAX,  SLICE(""),     SLICE("")         },
	    {SLICE("FROM<a@b.example>"),                        SMTP_PARSE_SYNTAX,  SLICE(""),     SLICE("")         },
	    {SLICE("FROM:"),				    SMTP_PARSE_SYNTAX,  SLICE(""),     SLICE("")         },
	    {SLICE(""),					 SMTP_PARSE_SYNTAX,  SLICE(""),     SLICE("")         },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena *arena = arena_new(TEST_ARENA);
		struct smtp_mail mail;
		enum smtp_parse_result result =
		    smtp_mail_parse(rows[i].text, arena, &mail);
		if (result != rows[i].result)
			fail_msg("%.*s: %d", SLICE_ARG(rows[i].text), (int)result);
		if (result == SMTP_PARSE_DONE) {
			assert_true(slice_equal(mail.sender.local, rows[i].local));
			assert_true(slice_equal(mail.sender.domain, rows[i].domain));
		}
		arena_free(&arena);
	}
}

static void
mail_parameters(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum smtp_parse_result result;
		uint64_t size;
		bool utf8, body_8bit;
	} rows[] = {
	    {"SIZE=100",                   SMTP_PARSE_DONE,      100,        false, false},
	    {"size=0 BODY=8bitmime",       SMTP_PARSE_DONE,      0,          false, true },
	    {"BODY=7BIT SMTPUTF8",         SMTP_PARSE_DONE,      0,          true,  false},
	    {"SIZE=18446744073709551615",  SMTP_PARSE_DONE,      UINT64_MAX, false, false},
	    {"SIZE=99999999999999999999",  SMTP_PARSE_DONE,      UINT64_MAX, false, false},
	    {"AUTH=<>",                    SMTP_PARSE_DONE,      0,          false, false},
	    {"AUTH=a+2Bb@b.example",       SMTP_PARSE_DONE,      0,          false, false},
	    {"SIZE=999999999999999999999", SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"SIZE=",		      SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"SIZE",		       SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"SIZE=-1",                    SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"SIZE=1 SIZE=2",              SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"SMTPUTF8=yes",               SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"BODY=BINARYMIME",            SMTP_PARSE_DONE,      0,          false, false},
	    {"BODY",		       SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"AUTH=x+0Ay",                 SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"AUTH=x+0",                   SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"=SIZE",		      SMTP_PARSE_UNKNOWN,   0,          false, false},
	    {"=",			  SMTP_PARSE_UNKNOWN,   0,          false, false},
	    {"ENVID=+00",                  SMTP_PARSE_PARAMETER, 0,          false, false},
	    {"RET=HDRS",                   SMTP_PARSE_DONE,      0,          false, false},
	    {"XYZZY",		      SMTP_PARSE_UNKNOWN,   0,          false, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena *arena = arena_new(TEST_ARENA);
		struct slice text =
		    arena_format(arena, "FROM:<a@b.example> %s", rows[i].text);
		struct smtp_mail mail;
		enum smtp_parse_result result = smtp_mail_parse(text, arena, &mail);
		if (result != rows[i].result)
			fail_msg("%s: %d", rows[i].text, (int)result);
		if (result == SMTP_PARSE_DONE) {
			assert_true(mail.size == rows[i].size);
			assert_int_equal(mail.utf8, rows[i].utf8);
			assert_int_equal(mail.body_8bit, rows[i].body_8bit);
		}
		arena_free(&arena);
	}
}

/* Local parts of 64 octets, domains of 255, and one more of each (A2). */
static void
lengths(void **state)
{
	(void)state;
	char text[1200];
	struct smtp_rcpt to;
	for (int local = 63; local <= 1000; local = local < 65 ? local + 1 : 1000) {
		struct arena *arena = arena_new(TEST_ARENA);
		memcpy(text, "TO:<", 4);
		memset(text + 4, 'a', (size_t)local);
		memcpy(text + 4 + local, "@b.example>", 12);
		enum smtp_parse_result result =
		    smtp_rcpt_parse(slice_from_cstr(text), arena, &to);
		assert_int_equal(result,
		    local <= ADDRESS_LOCAL_MAX ? SMTP_PARSE_DONE : SMTP_PARSE_LONG);
		arena_free(&arena);
		if (local == 1000)
			break;
	}
	for (int extra = 0; extra < 2; extra++) {
		struct arena *arena = arena_new(TEST_ARENA);
		size_t len = 6;
		memcpy(text, "TO:<a@", 6);
		for (int label = 0; label < 4; label++) {
			size_t label_len = label < 3 ? 63 : 60;
			memset(text + len, 'd', label_len);
			len += label_len;
			text[len++] = '.';
		}
		len -= 1; /* a path of 254 octets, or one more (RFC 5321
		             section 4.5.3.1.3) */
		if (extra)
			text[len++] = 'x';
		text[len++] = '>';
		enum smtp_parse_result result =
		    smtp_rcpt_parse(slice_make(text, len), arena, &to);
		assert_int_equal(result, extra ? SMTP_PARSE_LONG : SMTP_PARSE_DONE);
		arena_free(&arena);
	}
}

static void
rcpt(void **state)
{
	(void)state;
	struct arena *arena = arena_new(TEST_ARENA);
	struct smtp_rcpt to;
	assert_int_equal(
	    smtp_rcpt_parse(SLICE("TO:<postmaster>"), arena, &to), SMTP_PARSE_DONE);
	assert_int_equal(to.address.domain.len, 0);
	assert_int_equal(to.notify, 0);
	assert_int_equal(to.orcpt.len, 0);
	assert_int_equal(smtp_rcpt_parse(SLICE("TO:<>"), arena, &to), SMTP_PARSE_ADDRESS);
	assert_int_equal(smtp_rcpt_parse(SLICE("TO:<\xc3\xa4@b.example>"), arena, &to),
	    SMTP_PARSE_DONE);
	assert_true(to.address.utf8);
	assert_int_equal(smtp_rcpt_parse(SLICE("TO:<\xc3@b.example>"), arena, &to),
	    SMTP_PARSE_ADDRESS);
	arena_free(&arena);
}

/* RFC 3461 section 4, RFC 6533 section 3. */
static void
dsn_rcpt(void **state)
{
	(void)state;
	static const struct {
		const char *parameters;
		enum smtp_parse_result result;
		unsigned notify;
		const char *orcpt;
		bool utf8;
	} rows[] = {
	    {"NOTIFY=NEVER",                       SMTP_PARSE_DONE,      QUEUE_NOTIFY_NEVER, "",                    false},
	    {"NOTIFY=success,Failure,DELAY",       SMTP_PARSE_DONE,
             QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_DELAY,               "",
             false												       },
	    {"NOTIFY=DELAY  ORCPT=rfc822;a+2Bb@c", SMTP_PARSE_DONE,      QUEUE_NOTIFY_DELAY,
             "rfc822;a+2Bb@c",										      false},
	    {"ORCPT=x400;+20;C+3DUS",              SMTP_PARSE_DONE,      0,                  "x400;+20;C+3DUS",     false},
	    {"ORCPT=utf-8;j\\x{F6}rg@c",           SMTP_PARSE_DONE,      0,                  "utf-8;j\\x{F6}rg@c",  false},
	    {"ORCPT=UTF-8;j\xc3\xb6rg@c",          SMTP_PARSE_DONE,      0,                  "UTF-8;j\xc3\xb6rg@c",
             true													},
	    {"NOTIFY",			     SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"NOTIFY=",			    SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"NOTIFY=NEVER,DELAY",                 SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"NOTIFY=DELAY,",                      SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"NOTIFY=,DELAY",                      SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"NOTIFY=SOON",                        SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"NOTIFY=DELAY NOTIFY=DELAY",          SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=a@c",			  SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=;a@c",                         SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=rfc822;",                      SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=rfc 822;a@c",                  SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=r(c;a@c",                      SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=rfc822;a+0D+0AX:@c",           SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=rfc822;a+2",                   SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=rfc822;a+2b@c",                SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=rfc822;\xc3\xb6@c",            SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=utf-8;\xc3@c",                 SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=utf-8;a+2Bb@c",                SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=utf-8;a\\x{D800}@c",           SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"ORCPT=rfc822;a@c ORCPT=rfc822;a@c",  SMTP_PARSE_PARAMETER, 0,                  NULL,                  false},
	    {"SIZE=1",			     SMTP_PARSE_UNKNOWN,   0,                  NULL,                  false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena *arena = arena_new(TEST_ARENA);
		struct smtp_rcpt to;
		char text[200];
		snprintf(text, sizeof(text), "TO:<a@b.example> %s", rows[i].parameters);
		assert_int_equal(
		    smtp_rcpt_parse(slice_from_cstr(text), arena, &to), rows[i].result);
		if (rows[i].result == SMTP_PARSE_DONE) {
			assert_int_equal(to.notify, rows[i].notify);
			assert_true(
			    slice_equal(to.orcpt, slice_from_cstr(rows[i].orcpt)));
			assert_int_equal(to.orcpt_utf8, rows[i].utf8);
		}
		arena_free(&arena);
	}
	/* 500 characters are the limit (section 5.4). */
	for (int extra = 0; extra < 2; extra++) {
		struct arena *arena = arena_new(TEST_ARENA);
		struct smtp_rcpt to;
		char text[700] = "TO:<a@b.example> ORCPT=rfc822;";
		size_t head = strlen(text);
		memset(text + head, 'a', (size_t)(493 + extra));
		assert_int_equal(smtp_rcpt_parse(slice_from_cstr(text), arena, &to),
		    extra ? SMTP_PARSE_PARAMETER : SMTP_PARSE_DONE);
		arena_free(&arena);
	}
}

static void
dsn_mail(void **state)
{
	(void)state;
	static const struct {
		const char *parameters;
		enum smtp_parse_result result;
		enum smtp_ret ret;
		const char *envid;
	} rows[] = {
	    {"RET=FULL",              SMTP_PARSE_DONE,      SMTP_RET_FULL, ""      },
	    {"ENVID=QQ+3D1 RET=hdrs", SMTP_PARSE_DONE,      SMTP_RET_HDRS, "QQ+3D1"},
	    {"RET=ALL",               SMTP_PARSE_PARAMETER, SMTP_RET_NONE, NULL    },
	    {"RET",                   SMTP_PARSE_PARAMETER, SMTP_RET_NONE, NULL    },
	    {"RET=FULL RET=FULL",     SMTP_PARSE_PARAMETER, SMTP_RET_NONE, NULL    },
	    {"ENVID=",                SMTP_PARSE_PARAMETER, SMTP_RET_NONE, NULL    },
	    {"ENVID",                 SMTP_PARSE_PARAMETER, SMTP_RET_NONE, NULL    },
	    {"ENVID=+00",             SMTP_PARSE_PARAMETER, SMTP_RET_NONE, NULL    },
	    {"ENVID=a+0AX:b",         SMTP_PARSE_PARAMETER, SMTP_RET_NONE, NULL    },
	    {"ENVID=1 ENVID=2",       SMTP_PARSE_PARAMETER, SMTP_RET_NONE, NULL    },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena *arena = arena_new(TEST_ARENA);
		struct smtp_mail mail;
		char text[200];
		snprintf(text, sizeof(text), "FROM:<a@b.example> %s", rows[i].parameters);
		assert_int_equal(
		    smtp_mail_parse(slice_from_cstr(text), arena, &mail), rows[i].result);
		if (rows[i].result == SMTP_PARSE_DONE) {
			assert_int_equal(mail.ret, rows[i].ret);
			assert_true(
			    slice_equal(mail.envid, slice_from_cstr(rows[i].envid)));
		}
		arena_free(&arena);
	}
	for (int extra = 0; extra < 2; extra++) {
		struct arena *arena = arena_new(TEST_ARENA);
		struct smtp_mail mail;
		char text[200] = "FROM:<> ENVID=";
		size_t head = strlen(text);
		memset(text + head, 'e', (size_t)(100 + extra));
		assert_int_equal(smtp_mail_parse(slice_from_cstr(text), arena, &mail),
		    extra ? SMTP_PARSE_PARAMETER : SMTP_PARSE_DONE);
		arena_free(&arena);
	}
}

/* REQUIRETLS (RFC 8689), MT-PRIORITY (RFC 6710), BY (RFC 2852), HOLDFOR and HOLDUNTIL
 * (RFC 4865). */
static void
wishes(void **state)
{
	(void)state;
	static const struct {
		const char *parameters;
		bool good;
		int priority;
		enum smtp_by by;
		int64_t by_time_s;
		enum smtp_hold hold;
		int64_t hold_s;
	} rows[] = {
	    {"REQUIRETLS",			       true,  0,  0,              0,         0,               0        },
	    {"MT-PRIORITY=-9",                           true,  -9, 0,              0,         0,               0        },
	    {"mt-priority=9",                            true,  9,  0,              0,         0,               0        },
	    {"MT-PRIORITY=0",                            true,  0,  0,              0,         0,               0        },
	    {"BY=120;R",				 true,  0,  SMTP_BY_RETURN, 120,       0,               0        },
	    {"BY=-5;nt",				 true,  0,  SMTP_BY_NOTIFY, -5,        0,               0        },
	    {"BY=+0;NT",				 true,  0,  SMTP_BY_NOTIFY, 0,         0,               0        },
	    {"BY=999999999;RT",                          true,  0,  SMTP_BY_RETURN, 999999999, 0,               0        },
	    {"HOLDFOR=1",				true,  0,  0,              0,         SMTP_HOLD_FOR,   1        },
	    {"HOLDFOR=999999999",                        true,  0,  0,              0,         SMTP_HOLD_FOR,   999999999},
	    {"HOLDUNTIL=2026-11-24T12:00:00Z",           true,  0,  0,              0,         SMTP_HOLD_UNTIL,
             1795521600												  },
	    {"HOLDUNTIL=2028-02-29t23:59:59z",           true,  0,  0,              0,         SMTP_HOLD_UNTIL,
             1835481599												  },
	    {"REQUIRETLS=1",			     false, 0,  0,              0,         0,               0        },
	    {"REQUIRETLS REQUIRETLS",                    false, 0,  0,              0,         0,               0        },
	    {"MT-PRIORITY",			      false, 0,  0,              0,         0,               0        },
	    {"MT-PRIORITY=",			     false, 0,  0,              0,         0,               0        },
	    {"MT-PRIORITY=10",                           false, 0,  0,              0,         0,               0        },
	    {"MT-PRIORITY=-0",                           false, 0,  0,              0,         0,               0        },
	    {"MT-PRIORITY=+1",                           false, 0,  0,              0,         0,               0        },
	    {"MT-PRIORITY=-",                            false, 0,  0,              0,         0,               0        },
	    {"MT-PRIORITY=1 MT-PRIORITY=1",              false, 0,  0,              0,         0,               0        },
	    {"BY=0;R",				   false, 0,  0,              0,         0,               0        },
	    {"BY=-1;R",				  false, 0,  0,              0,         0,               0        },
	    {"BY=1",				     false, 0,  0,              0,         0,               0        },
	    {"BY=1;",				    false, 0,  0,              0,         0,               0        },
	    {"BY=1;X",				   false, 0,  0,              0,         0,               0        },
	    {"BY=1;NX",				  false, 0,  0,              0,         0,               0        },
	    {"BY=1;NTT",				 false, 0,  0,              0,         0,               0        },
	    {"BY=;N",				    false, 0,  0,              0,         0,               0        },
	    {"BY=--1;N",				 false, 0,  0,              0,         0,               0        },
	    {"BY=1234567890;N",                          false, 0,  0,              0,         0,               0        },
	    {"BY=1;N BY=1;N",                            false, 0,  0,              0,         0,               0        },
	    {"HOLDFOR=0",				false, 0,  0,              0,         0,               0        },
	    {"HOLDFOR=01",			       false, 0,  0,              0,         0,               0        },
	    {"HOLDFOR=-1",			       false, 0,  0,              0,         0,               0        },
	    {"HOLDFOR=",				 false, 0,  0,              0,         0,               0        },
	    {"HOLDFOR=1000000000",                       false, 0,  0,              0,         0,               0        },
	    {"HOLDFOR=1 HOLDUNTIL=2026-11-24T12:00:00Z", false, 0,  0,              0,         0,               0        },
	    {"HOLDUNTIL=2026-11-24T12:00:00",            false, 0,  0,              0,         0,               0        },
	    {"HOLDUNTIL=2026-11-24T12:00:00+01:00",      false, 0,  0,              0,         0,               0        },
	    {"HOLDUNTIL=2026-02-29T12:00:00Z",           false, 0,  0,              0,         0,               0        },
	    {"HOLDUNTIL=2026-13-01T12:00:00Z",           false, 0,  0,              0,         0,               0        },
	    {"HOLDUNTIL=2026-11-24T24:00:00Z",           false, 0,  0,              0,         0,               0        },
	    {"HOLDUNTIL=2026-11-24 12:00:00Z",           false, 0,  0,              0,         0,               0        },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena *arena = arena_new(TEST_ARENA);
		struct smtp_mail mail;
		char text[200];
		snprintf(text, sizeof(text), "FROM:<a@b.example> %s", rows[i].parameters);
		enum smtp_parse_result result =
		    smtp_mail_parse(slice_from_cstr(text), arena, &mail);
		if ((result == SMTP_PARSE_DONE) != rows[i].good)
			print_error("%s: %d\n", rows[i].parameters, result);
		assert_int_equal(result == SMTP_PARSE_DONE, rows[i].good);
		if (rows[i].good) {
			assert_int_equal(mail.priority, rows[i].priority);
			assert_int_equal(mail.by, rows[i].by);
			assert_int_equal(mail.by_time_s, rows[i].by_time_s);
			assert_int_equal(mail.hold, rows[i].hold);
			assert_int_equal(mail.hold_s, rows[i].hold_s);
		}
		arena_free(&arena);
	}
}

static void
bdat(void **state)
{
	(void)state;
	struct smtp_bdat bdat;
	assert_true(smtp_bdat_parse(SLICE("1000"), &bdat));
	assert_int_equal(bdat.size, 1000);
	assert_false(bdat.last);
	assert_true(smtp_bdat_parse(SLICE("0 last"), &bdat));
	assert_true(bdat.last);
	assert_true(smtp_bdat_parse(SLICE("18446744073709551615 LAST"), &bdat));
	assert_true(bdat.size == UINT64_MAX);
	assert_true(smtp_bdat_parse(SLICE("4294967296"), &bdat));
	assert_true(bdat.size == UINT64_C(4294967296));
	assert_false(smtp_bdat_parse(SLICE("-1"), &bdat));
	assert_false(smtp_bdat_parse(SLICE("+1"), &bdat));
	assert_false(smtp_bdat_parse(SLICE("0x10"), &bdat));
	assert_false(smtp_bdat_parse(SLICE(""), &bdat));
	assert_false(smtp_bdat_parse(SLICE("LAST"), &bdat));
	assert_false(smtp_bdat_parse(SLICE("10 LAST now"), &bdat));
	assert_false(smtp_bdat_parse(SLICE("10 20"), &bdat));
	assert_false(smtp_bdat_parse(SLICE("111111111111111111111"), &bdat));
}

static void
auth(void **state)
{
	(void)state;
	struct smtp_auth auth;
	assert_true(smtp_auth_parse(SLICE("PLAIN"), &auth));
	assert_false(auth.has_initial);
	assert_true(smtp_auth_parse(SLICE("PLAIN ="), &auth));
	assert_true(auth.has_initial);
	assert_true(smtp_auth_parse(SLICE("PLAIN  AGEAYg=="), &auth));
	assert_true(slice_equal(auth.initial, SLICE("AGEAYg==")));
	assert_false(smtp_auth_parse(SLICE(""), &auth));
	assert_false(smtp_auth_parse(SLICE("PLAIN a b"), &auth));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines),
	    cmocka_unit_test(names),
	    cmocka_unit_test(mail_paths),
	    cmocka_unit_test(mail_parameters),
	    cmocka_unit_test(lengths),
	    cmocka_unit_test(rcpt),
	    cmocka_unit_test(dsn_rcpt),
	    cmocka_unit_test(dsn_mail),
	    cmocka_unit_test(wishes),
	    cmocka_unit_test(bdat),
	    cmocka_unit_test(auth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
