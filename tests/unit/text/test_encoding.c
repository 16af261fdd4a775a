/* base64, quoted-printable and xtext: RFC examples, round trips, strictness. */
#include "unit/text/text_test.h"

#include "text/encoding.h"

static void
test_base64_rfc4648(void **state)
{
	(void)state;
	static const char *rows[][2] = {
	    {"",       ""        },
            {"f",      "Zg=="    },
            {"fo",     "Zm8="    },
            {"foo",    "Zm9v"    },
	    {"foob",   "Zm9vYg=="},
            {"fooba",  "Zm9vYmE="},
            {"foobar", "Zm9vYmFy"}
        };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		buf_init(&out, 100);
		base64_encode(slice_from_cstr(rows[i][0]), &out);
		CHECK_TEXT(buf_slice(&out), rows[i][1]);
		buf_reset(&out);
		assert_true(base64_decode_strict(slice_from_cstr(rows[i][1]), &out));
		CHECK_TEXT(buf_slice(&out), rows[i][0]);
		buf_reset(&out);
		base64_decode_lenient(slice_from_cstr(rows[i][1]), &out);
		CHECK_TEXT(buf_slice(&out), rows[i][0]);
		buf_fini(&out);
	}
}

static void
test_base64_strict_refuses(void **state)
{
	(void)state;
	static const char *bad[] = {"Z", "Zg",
	    "Zg=", "Zg===", "=Zg=", "Zg==Zg==", "Zh==", "Zm9=", "Zm 9", "Zm9\n", "Zg=a",
	    "====", "Zm9v\xff\xff\xff\xff"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf out;
		buf_init(&out, 100);
		if (base64_decode_strict(slice_from_cstr(bad[i]), &out))
			fail_msg("accepted %s", bad[i]);
		buf_fini(&out);
	}
}

static void
test_base64_lenient(void **state)
{
	(void)state;
	static const char *rows[][2] = {
	    {"Zm9v\r\nYmFy",        "foobar"},
            {"Zm9vYg",              "foob"  },
            {"Zm9vYmE",             "fooba" },
	    {"Zg==Zg==",            "ff"    },
            {"Z!m*9 v",             "foo"   },
            {"Z",                   ""      },
            {"====",                ""      },
	    {"Zg==\r\n\r\n-- \r\n", "f"     }
        };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		buf_init(&out, 100);
		base64_decode_lenient(slice_from_cstr(rows[i][0]), &out);
		CHECK_TEXT(buf_slice(&out), rows[i][1]);
		buf_fini(&out);
	}
}

static void
test_base64_round_trip(void **state)
{
	(void)state;
	char bytes[10000];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 256);
	for (size_t len = 0; len < sizeof(bytes); len += len < 100 ? 1 : 997) {
		struct buf text, back;
		buf_init(&text, 20000);
		buf_init(&back, 20000);
		base64_encode(slice_make(bytes, len), &text);
		assert_true(base64_decode_strict(buf_slice(&text), &back));
		CHECK_SLICE(buf_slice(&back), slice_make(bytes, len));
		buf_reset(&back);
		base64_decode_lenient(buf_slice(&text), &back);
		CHECK_SLICE(buf_slice(&back), slice_make(bytes, len));
		buf_fini(&text);
		buf_fini(&back);
	}
}

/* 16384 bytes are decoded at a time: groups of four that span two blocks. */
static void
test_base64_lenient_blocks(void **state)
{
	(void)state;
	struct buf text, back;
	buf_init(&text, 1 << 20);
	buf_init(&back, 1 << 20);
	for (int i = 0; i < 20000; i++)
		buf_append(&text, SLICE("Zm9v\r\n"));
	base64_decode_lenient(buf_slice(&text), &back);
	assert_int_equal(back.len, 60000);
	for (size_t i = 0; i < back.len; i += 3)
		assert_memory_equal(back.ptr + i, "foo", 3);
	buf_fini(&text);
	buf_fini(&back);
}

static void
test_qp(void **state)
{
	(void)state;
	static const char *rows[][2] = {
	    {"a=3Db",      "a=b"        },
            {"a=\r\nb",    "ab"         },
            {"a= \t\r\nb", "ab"         },
	    {"a  \r\nb",   "a\r\nb"     },
            {"caf=c3=A9",  "caf\xc3\xa9"},
            {"a=zz",       "a=zz"       },
	    {"a=",         "a"          },
            {"a=4",        "a=4"        },
            {"a\nb",       "a\nb"       },
            {"",           ""           },
            {"=\r\n",      ""           },
	    {"x=\n=\ny",   "xy"         },
            {"\r\n",       "\r\n"       },
            {"==3D",       "=="         }
        };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		buf_init(&out, 100);
		qp_decode(slice_from_cstr(rows[i][0]), &out);
		CHECK_TEXT(buf_slice(&out), rows[i][1]);
		buf_fini(&out);
	}
}

static void
test_xtext(void **state)
{
	(void)state;
	struct buf out, back;
	char all[256];
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	buf_init(&out, 2000);
	buf_init(&back, 2000);
	xtext_encode(slice_make(all, sizeof(all)), &out);
	assert_true(ascii_only(buf_slice(&out)));
	assert_true(xtext_decode(buf_slice(&out), &back));
	CHECK_SLICE(buf_slice(&back), slice_make(all, sizeof(all)));
	buf_reset(&out);
	xtext_encode(SLICE("a+b=c d"), &out);
	CHECK_TEXT(buf_slice(&out), "a+2Bb+3Dc+20d");
	static const char *bad[] = {"+", "+2", "+zz", "+2b", "a=b", "a b", "\xc3\xa9"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_reset(&back);
		assert_false(xtext_decode(slice_from_cstr(bad[i]), &back));
	}
	buf_fini(&out);
	buf_fini(&back);
}

static void
test_overflow_is_sticky(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 10);
	base64_encode(SLICE("too long for ten bytes"), &out);
	assert_false(buf_ok(&out));
	buf_reset(&out);
	assert_false(base64_decode_strict(SLICE("Zm9vYmFyZm9vYmFy"), &out));
	assert_false(buf_ok(&out));
	buf_fini(&out);
}

/* RFC 6533 section 3. */
static void
test_unitext(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out; /* out null: damaged */
	} rows[] = {
	    {"plain@example.com",                "plain@example.com"              },
	    {"j\\x{00F6}rg\\x{2B}x@b\\x{1F600}", "j\xc3\xb6rg+x@b\xf0\x9f\x98\x80"},
	    {"\\x{20}",			  "\x20"                           },
	    {"",				 ""			       },
	    {"\\",			       NULL			     },
	    {"\\x{",			     NULL			     },
	    {"\\x{2}",			   NULL			     },
	    {"\\x{}",			    NULL			     },
	    {"\\x{00}",			  NULL			     },
	    {"\\x{D800}",                        NULL                             },
	    {"\\x{110000}",                      NULL                             },
	    {"\\x{0010000}",                     NULL                             },
	    {"\\x{2g}",			  NULL			     },
	    {"\\y{20}",			  NULL			     },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out AUTO_BUF;
		buf_init(&out, 100);
		bool good = unitext_decode(slice_from_cstr(rows[i].in), &out);
		assert_int_equal(good, rows[i].out != NULL);
		if (good)
			assert_true(
			    slice_equal(buf_slice(&out), slice_from_cstr(rows[i].out)));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_base64_rfc4648),
	    cmocka_unit_test(test_base64_strict_refuses),
	    cmocka_unit_test(test_base64_lenient),
	    cmocka_unit_test(test_base64_round_trip),
	    cmocka_unit_test(test_base64_lenient_blocks),
	    cmocka_unit_test(test_qp),
	    cmocka_unit_test(test_xtext),
	    cmocka_unit_test(test_unitext),
	    cmocka_unit_test(test_overflow_is_sticky),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
