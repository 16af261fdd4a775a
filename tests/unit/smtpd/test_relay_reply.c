/*
 * A remote's replies: lines into a reply, what breaks the protocol, what is kept of the
 * text, EHLO offers, enhanced codes.
 */
#include "smtpd/relay_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool
feed(struct relay_reply *reply, const char *lines)
{
	struct slice rest = slice_from_cstr(lines);
	relay_reply_reset(reply);
	do {
		if (!relay_reply_line(reply, slice_split(&rest, '\n')))
			return false;
	} while (!slice_is_empty(rest));
	return true;
}

static void
test_good(void **state)
{
	(void)state;
	static const struct {
		const char *lines;
		int code;
		const char *text;
		enum relay_reply_class class;
	} cases[] = {
	    {"250 2.1.0 ok",				 250, "250 2.1.0 ok",              REPLY_GOOD     },
	    {"250",					  250, "250 ",                      REPLY_GOOD     },
	    {"354 go on",				    354, "354 go on",                 REPLY_MORE     },
	    {"451 later",				    451, "451 later",                 REPLY_TRANSIENT},
	    {"550-5.1.1 no\n550-5.1.1 such\n550 5.1.1 user", 550,
             "550 5.1.1 no such user",							 REPLY_PERMANENT},
	    {"550-5.1.1 no\n550 5.7.1 other",                550, "550 5.1.1 no 5.7.1 other",
             REPLY_PERMANENT										  },
	    {"550-5.1.1 no\n550 5.1.12 other",               550, "550 5.1.1 no 5.1.12 other",
             REPLY_PERMANENT										  },
	    {"550-\n550 ",				   550, "550  ",                     REPLY_PERMANENT},
	    {"550 a\x1b[31m\xc3\xa4\t",                      550, "550 a?[31m???",             REPLY_PERMANENT},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct relay_reply reply;
		assert_true(feed(&reply, cases[i].lines));
		assert_true(reply.complete);
		assert_int_equal(reply.code, cases[i].code);
		assert_string_equal(reply.text, cases[i].text);
		assert_int_equal(relay_reply_class(&reply), cases[i].class);
	}
}

static void
test_bad(void **state)
{
	(void)state;
	static const char *const cases[] = {
	    "", "25", "ok", "25x ok", "199 low", "600 high", "250_ok", "250-a\n251 b"};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct relay_reply reply;
		assert_false(feed(&reply, cases[i]));
	}
	struct relay_reply reply;
	relay_reply_reset(&reply);
	for (int i = 0; i < RELAY_REPLY_LINES_MAX; i++)
		assert_true(relay_reply_line(&reply, SLICE("250-more and more of it")));
	assert_false(relay_reply_line(&reply, SLICE("250 end")));
	assert_int_equal(strlen(reply.text), RELAY_REPLY_TEXT_MAX);
}

static void
test_offer(void **state)
{
	(void)state;
	static const char *const lines[] = {"PIPELINING", "size 1000", "8BITMIME",
	    "SMTPUTF8", "StartTLS", "DSN", "AUTH=LOGIN", "AUTH CRAM-MD5 plain",
	    "X-UNKNOWN 1 2"};
	struct relay_offer offer = {0};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		relay_offer_line(&offer, slice_from_cstr(lines[i]));
	assert_true(
	    offer.pipelining && offer.size && offer.eightbitmime && offer.smtputf8);
	assert_true(offer.starttls && offer.dsn && offer.auth_plain && offer.auth_login);
	assert_int_equal(offer.size_max, 1000);
	offer = (struct relay_offer){0};
	relay_offer_line(&offer, SLICE("SIZE 99999999999999999999"));
	relay_offer_line(&offer, SLICE("AUTH PLAINER"));
	relay_offer_line(&offer, SLICE(""));
	assert_true(offer.size && offer.size_max == 0 && !offer.auth_plain);
}

static void
test_enhanced(void **state)
{
	(void)state;
	static const struct {
		const char *text, *code;
	} cases[] = {
	    {"550 5.1.1 no",     "5.1.1"  },
	    {"550 5.1.1",        "5.1.1"  },
	    {"451 4.7.650 slow", "4.7.650"},
	    {"550 no",           "5.0.0"  },
	    {"450 5.1",          "4.0.0"  },
	    {"550 5.1.1234 no",  "5.0.0"  },
	    {"550 5.1.1x no",    "5.0.0"  },
	    {"550 3.1.1 no",     "5.0.0"  },
	    {"",		 "4.0.0"  },
	    {"5.2.2 bare",       "5.2.2"  },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char code[16];
		relay_reply_enhanced(cases[i].text, code);
		assert_string_equal(code, cases[i].code);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_offer),
	    cmocka_unit_test(test_enhanced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
