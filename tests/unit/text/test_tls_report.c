/* The record of TLS reports. */
#include "unit/text/text_test.h"

#include "text/tls_report.h"

static void
test_record(void **state)
{
	(void)state;
	static const struct {
		const char *txt;
		size_t count;
		const char *first; /* "m" or "u", and the place */
	} rows[] = {
	    {"v=TLSRPTv1;rua=mailto:tls@example.org",                                   1, "mtls@example.org"},
	    {"v=TLSRPTv1; rua=https://example.org/a?b=c;",                              1,
             "uhttps://example.org/a?b=c"								    },
	    {"v=TLSRPTv1 ; x=y; rua = MAILTO:a%21@b.test?subject=x , https://c.test/;", 2,
             "ma!@b.test"										    },
	    {"v=TLSRPTv1; rua=ftp://x,https://c.test/",                                 1, "uhttps://c.test/"},
	    {"v=TLSRPTv1; rua=mailto:a@b,mailto:c@d,mailto:e@f,mailto:g@h,mailto:i@j",  4,
             "ma@b"											  },
	    {"v=TLSRPTv1; rua=http://example.org/",                                     0, NULL              },
	    {"v=TLSRPTv1; rua=mailto:a%0d%0aX@b",                                       0, NULL              },
	    {"v=TLSRPTv1; rua=mailto:a%4",					      0, NULL              },
	    {"v=TLSRPTv1; rua=mailto:",						 0, NULL              },
	    {"v=TLSRPTv1; rua=https://a b/",                                            0, NULL              },
	    {"v=TLSRPTv1",							      0, NULL              },
	    {"v=TLSRPTv2; rua=mailto:a@b",					      0, NULL              },
	    {"rua=mailto:a@b; v=TLSRPTv1",					      0, NULL              },
	    {"",									0, NULL              },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_report_place places[TLS_REPORT_PLACES_MAX];
		size_t count = 0;
		bool good =
		    tls_report_record_parse(slice_from_cstr(rows[i].txt), places, &count);
		assert_int_equal(good, rows[i].count > 0);
		if (!good)
			continue;
		assert_int_equal(count, rows[i].count);
		assert_int_equal(places[0].mail, rows[i].first[0] == 'm');
		assert_string_equal(places[0].text, rows[i].first + 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_record)};
	return cmocka_run_group_tests_name("tls_report", tests, NULL, NULL);
}
