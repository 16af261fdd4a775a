/*
 * SASLprep: the examples of RFC 4013 section 3, each prohibited table, and direction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "auth/credential.h"

#define S(literal)                                                                       \
	{                                                                                \
		"" literal "", sizeof(literal) - 1                                       \
	}

static void
table_holds(void **state)
{
	static const struct {
		const char *what;
		struct slice in;
		struct slice out; /* null: prohibited */
	} table[] = {
  /* RFC 4013 section 3. */
	    {"soft hyphen",             S("I\xC2\xADX"),           S("IX")                  },
	    {"as it is",                S("user"),                 S("user")                },
	    {"case stays",              S("USER"),                 S("USER")                },
	    {"feminine ordinal",        S("\xC2\xAA"),             S("a")                   },
	    {"roman nine",              S("\xE2\x85\xA8"),         S("IX")                  },
	    {"bell",                    S("\x07"),                 {NULL, 0}                },
	    {"bidi: 1 after alef",      S("\xD8\xA7\x31"),         {NULL, 0}                },
 /* More of the same. */
	    {"empty",                   S(""),                     S("")                    },
	    {"space",                   S(" a b "),                S(" a b ")               },
	    {"nbsp is a space",
             S("a\xC2\xA0"
		  "b"),
             S("a b")								       },
	    {"ideographic space",
             S("a\xE3\x80\x80"
		  "b"),
             S("a b")								       },
	    {"angstrom",                S("p\xE2\x84\xABssword"),  S("p\xC3\x85ssword")     },
	    {"combining acute",         S("ramo\xCC\x81n"),        S("ram\xC3\xB3n")        },
	    {"ligature fi",             S("\xEF\xAC\x81"),         S("fi")                  },
	    {"zero width space",
             S("a\xE2\x80\x8B"
		  "b"),
             S("a b")								       },
	    {"variation selector",      S("a\xEF\xB8\x8F"),        S("a")                   },
	    {"emoji",                   S("\xF0\x9F\x94\x91"),     S("\xF0\x9F\x94\x91")    },
	    {"rtl alone",               S("\xD7\xA9\xD7\x9C"),     S("\xD7\xA9\xD7\x9C")    },
	    {"rtl around digits",       S("\xD8\xA7\x31\xD8\xA8"), S("\xD8\xA7\x31\xD8\xA8")},
	    {"rtl and ltr",
             S("\xD7\xA9"
		  "a\xD7\xA9"),
             {NULL, 0}								      },
	    {"NUL",		     S("a\0b"),                 {NULL, 0}                },
	    {"DEL",		     S("\x7F"),                 {NULL, 0}                },
	    {"C1 control",              S("\xC2\x85"),             {NULL, 0}                },
	    {"line separator",          S("\xE2\x80\xA8"),         {NULL, 0}                },
	    {"left-to-right mark",      S("\xE2\x80\x8E"),         {NULL, 0}                },
	    {"private use",             S("\xEE\x80\x80"),         {NULL, 0}                },
	    {"private plane",           S("\xF3\xB0\x80\x80"),     {NULL, 0}                },
	    {"noncharacter",            S("\xEF\xBF\xBE"),         {NULL, 0}                },
	    {"noncharacter of a plane", S("\xF0\x9F\xBF\xBF"),     {NULL, 0}                },
	    {"replacement",             S("\xEF\xBF\xBD"),         {NULL, 0}                },
	    {"ideographic description", S("\xE2\xBF\xB0"),         {NULL, 0}                },
	    {"tag",		     S("\xF3\xA0\x80\x81"),     {NULL, 0}                },
	    {"tone mark maps to plain", S("\xCD\x80"),             S("\xCC\x80")            },
	    {"not UTF-8",               S("a\xFF"),                {NULL, 0}                },
	    {"cut UTF-8",               S("a\xC3"),                {NULL, 0}                },
	    {"overlong",                S("\xC0\x80"),             {NULL, 0}                },
	    {"surrogate",               S("\xED\xA0\x80"),         {NULL, 0}                },
	};
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct buf out;
		buf_init(&out, 1000);
		bool ok = saslprep(table[i].in, &out);
		if (ok != (table[i].out.ptr != NULL) ||
		    (ok && !slice_equal(buf_slice(&out), table[i].out))) {
			print_error("%s: %s '%.*s'\n", table[i].what,
			    ok ? "gave" : "refused", SLICE_ARG(buf_slice(&out)));
			wrong++;
		}
		buf_fini(&out);
	}
	assert_int_equal(wrong, 0);
}

/* What was prepared once stays as it is. */
static void
twice_is_once(void **state)
{
	(void)state;
	for (uint32_t c = 0x80; c < 0x30000; c++) {
		char bytes[5];
		struct buf once, again;
		size_t len;
		if (c < 0x800) {
			bytes[0] = (char)(0xc0 | c >> 6);
			bytes[1] = (char)(0x80 | (c & 63));
			len = 2;
		} else if (c < 0x10000) {
			bytes[0] = (char)(0xe0 | c >> 12);
			bytes[1] = (char)(0x80 | (c >> 6 & 63));
			bytes[2] = (char)(0x80 | (c & 63));
			len = 3;
		} else {
			bytes[0] = (char)(0xf0 | c >> 18);
			bytes[1] = (char)(0x80 | (c >> 12 & 63));
			bytes[2] = (char)(0x80 | (c >> 6 & 63));
			bytes[3] = (char)(0x80 | (c & 63));
			len = 4;
		}
		buf_init(&once, 1000);
		buf_init(&again, 1000);
		if (saslprep(slice_make(bytes, len), &once)) {
			if (!saslprep(buf_slice(&once), &again) ||
			    !slice_equal(buf_slice(&once), buf_slice(&again)))
				fail_msg("U+%04X", c);
		}
		buf_fini(&once);
		buf_fini(&again);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(table_holds),
	    cmocka_unit_test(twice_is_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
