/*
 * DKIM's canonical forms: the examples of RFC 6376 section 3.4.5, the edges of each rule,
 * and the same result however the body is cut.
 */
#include "unit/auth/auth_harness.h"

#include "auth/dkim_canon.h"

static void
sink(struct slice bytes, void *arg)
{
	buf_append(arg, bytes);
}

/* Fed in pieces of `step` octets, with the first one `first` long. */
static void
body_make(
    enum dkim_canon form, struct slice text, size_t first, size_t step, struct buf *out)
{
	struct dkim_body body;
	buf_reset(out);
	dkim_body_init(&body, form, sink, out);
	dkim_body_feed(&body, slice_sub(text, 0, first));
	for (size_t at = first; at < text.len; at += step)
		dkim_body_feed(&body, slice_sub(text, at, step));
	dkim_body_end(&body);
	assert_true(buf_ok(out));
}

static void
bodies(void **state)
{
	static const struct {
		const char *text, *simple, *relaxed;
	} rows[] = {
  /* section 3.4.5 */
	    {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n",     " C\r\nD E\r\n"        },
 /* empty: 3.4.3 and 3.4.4 */
	    {"",			  "\r\n",                  ""                     },
	    {"\r\n",		      "\r\n",                  ""                     },
	    {"\r\n\r\n\r\n",              "\r\n",                  ""                     },
	    {" ",			 " \r\n",                 ""                     },
	    {" \r\n\t\r\n",               " \r\n\t\r\n",           ""                     },
	    {"a",			 "a\r\n",                 "a\r\n"                },
	    {"a\r\n \r\n",                "a\r\n \r\n",            "a\r\n"                },
	    {"\r\n\r\na\r\n",             "\r\n\r\na\r\n",         "\r\n\r\na\r\n"        },
	    {"a\r\n\r\n\r\nb\r\n\r\n",    "a\r\n\r\n\r\nb\r\n",    "a\r\n\r\n\r\nb\r\n"   },
	    {"a \r\n \t \r\nb",           "a \r\n \t \r\nb\r\n",   "a\r\n\r\nb\r\n"       },
	    {"\t\ta\t\tb\t\t",            "\t\ta\t\tb\t\t\r\n",    " a b\r\n"             },
	    {".\r\n..\r\n",               ".\r\n..\r\n",           ".\r\n..\r\n"          },
 /* other line ends count as they are sent */
	    {"a\nb\r\rc\n",               "a\r\nb\r\n\r\nc\r\n",   "a\r\nb\r\n\r\nc\r\n"  },
	    {"a\r\r\n\n",                 "a\r\n",                 "a\r\n"                },
	    {"a \n",		      "a \r\n",                "a\r\n"                },
	    {"\xc3\xa4\x01 \x80\r\n",     "\xc3\xa4\x01 \x80\r\n", "\xc3\xa4\x01 \x80\r\n"},
	};
	struct buf out;
	(void)state;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice text = slice_from_cstr(rows[i].text);
		for (int form = DKIM_SIMPLE; form <= DKIM_RELAXED; form++) {
			const char *want =
			    form == DKIM_SIMPLE ? rows[i].simple : rows[i].relaxed;
			for (size_t first = 0; first <= text.len; first++) {
				for (size_t step = 1; step <= 3; step++) {
					body_make((enum dkim_canon)form, text, first,
					    step, &out);
					if (!slice_equal(
						buf_slice(&out), slice_from_cstr(want)))
						fail_msg("row %zu, form %d, cut %zu/%zu",
						    i, form, first, step);
				}
			}
		}
	}
	buf_fini(&out);
}

static void
a_nul_is_a_byte(void **state)
{
	struct buf out;
	(void)state;
	buf_init(&out, 100);
	body_make(DKIM_RELAXED, slice_make("a\0 \0b \r\n", 8), 2, 1, &out);
	assert_true(slice_equal(buf_slice(&out), slice_make("a\0 \0b\r\n", 7)));
	buf_fini(&out);
}

/* Many empty lines cost no memory, and come out when text follows. */
static void
many_lines(void **state)
{
	enum { LINES = 100000 };
	struct buf text, out;
	(void)state;
	buf_init(&text, 3 * LINES);
	buf_init(&out, 3 * LINES);
	for (int i = 0; i < LINES; i++)
		buf_append(&text, SLICE("\r\n"));
	body_make(DKIM_RELAXED, buf_slice(&text), 1, 997, &out);
	assert_int_equal(out.len, 0);
	buf_append_byte(&text, 'x');
	body_make(DKIM_RELAXED, buf_slice(&text), 1, 997, &out);
	assert_int_equal(out.len, 2 * LINES + 3);
	buf_fini(&text);
	buf_fini(&out);
}

static void
fields(void **state)
{
	static const struct {
		const char *field, *simple, *relaxed;
	} rows[] = {
  /* section 3.4.5 */
	    {"A: X\r\n",               "A: X\r\n",               "a:X\r\n"        },
	    {"B : Y\t\r\n\tZ  \r\n",   "B : Y\t\r\n\tZ  \r\n",   "b:Y Z\r\n"      },
	    {"SUBJect: AbC\r\n",       "SUBJect: AbC\r\n",       "subject:AbC\r\n"},
	    {"A:\r\n",                 "A:\r\n",                 "a:\r\n"         },
	    {"A:  \r\n  \r\n",         "A:  \r\n  \r\n",         "a:\r\n"         },
	    {"A:x:y : z",              "A:x:y : z\r\n",          "a:x:y : z\r\n"  },
	    {"A:\r\n x\n\ty",          "A:\r\n x\r\n\ty\r\n",    "a:x y\r\n"      },
	    {"A: x \r\n \r\n\t y\r\n", "A: x \r\n \r\n\t y\r\n", "a:x y\r\n"      },
	    {"A: x ",                  "A: x \r\n",              "a:x\r\n"        },
	    {"A \t: \xc3\xa4\r\n",     "A \t: \xc3\xa4\r\n",     "a:\xc3\xa4\r\n" },
	};
	struct buf out;
	(void)state;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int form = DKIM_SIMPLE; form <= DKIM_RELAXED; form++) {
			const char *want =
			    form == DKIM_SIMPLE ? rows[i].simple : rows[i].relaxed;
			buf_reset(&out);
			dkim_field_canon(
			    (enum dkim_canon)form, slice_from_cstr(rows[i].field), &out);
			if (!slice_equal(buf_slice(&out), slice_from_cstr(want)))
				fail_msg("row %zu, form %d", i, form);
		}
	}
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bodies),
	    cmocka_unit_test(a_nul_is_a_byte),
	    cmocka_unit_test(many_lines),
	    cmocka_unit_test(fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
