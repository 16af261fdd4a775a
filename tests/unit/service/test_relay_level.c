/*
 * The level of protection by what is known of a host.
 */
#include "service/relay_level.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { REFUSED = -1 };

static int
decide(const struct relay_level_facts *facts)
{
	enum relay_level level;
	const char *why = NULL;
	if (relay_level_decide(facts, &level, &why))
		return (int)level;
	assert_non_null(why);
	return REFUSED;
}

static void
test_levels(void **state)
{
	(void)state;
	const struct {
		struct relay_level_facts facts;
		int level;
	} cases[] = {
	    {{.want = RELAY_WANT_POLICY},						RELAY_LEVEL_MAY    },
	    {{.required = true},							 RELAY_LEVEL_ENCRYPT},
	    {{.tlsa = RELAY_TLSA_USABLE, .mx_secure = true},                             RELAY_LEVEL_DANE   },
	    {{.tlsa = RELAY_TLSA_UNUSABLE, .mx_secure = true},                           RELAY_LEVEL_ENCRYPT},
	    {{.sts_enforced = true, .sts_matches = true},                                RELAY_LEVEL_VERIFY },
	    {{.sts_enforced = true},						     REFUSED            },
	    {{.sts_enforced = true, .tlsa = RELAY_TLSA_USABLE},                          RELAY_LEVEL_DANE   },
	    {{.sts_enforced = true, .tlsa = RELAY_TLSA_UNUSABLE},                        REFUSED            },
	    {{.sts_enforced = true, .sts_matches = true, .tlsa = RELAY_TLSA_UNUSABLE},
             RELAY_LEVEL_VERIFY									     },
	    {{.overridden = true,
		 .override = RELAY_LEVEL_NONE,
		 .tlsa = RELAY_TLSA_USABLE},
             RELAY_LEVEL_NONE									       },
	    {{.overridden = true, .override = RELAY_LEVEL_MAY, .sts_enforced = true},
             RELAY_LEVEL_MAY										},
	    {{.overridden = true, .override = RELAY_LEVEL_VERIFY},                       RELAY_LEVEL_VERIFY },
	    {{.want = RELAY_WANT_TLS},						   REFUSED            },
	    {{.want = RELAY_WANT_TLS, .mx_secure = true},                                RELAY_LEVEL_VERIFY },
	    {{.want = RELAY_WANT_TLS, .tlsa = RELAY_TLSA_USABLE},                        RELAY_LEVEL_DANE   },
	    {{.want = RELAY_WANT_TLS, .sts_enforced = true, .sts_matches = true},
             RELAY_LEVEL_VERIFY									     },
	    {{.want = RELAY_WANT_TLS, .sts_enforced = true, .mx_secure = true},          REFUSED            },
	    {{.want = RELAY_WANT_TLS, .overridden = true, .override = RELAY_LEVEL_NONE},
             REFUSED											},
	    {{.want = RELAY_WANT_DELIVERY, .tlsa = RELAY_TLSA_USABLE},                   RELAY_LEVEL_MAY    },
	    {{.want = RELAY_WANT_DELIVERY, .sts_enforced = true},                        RELAY_LEVEL_MAY    },
	    {{.want = RELAY_WANT_DELIVERY, .required = true},                            RELAY_LEVEL_MAY    },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (decide(&cases[i].facts) != cases[i].level)
			fail_msg("case %zu: %d", i, decide(&cases[i].facts));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_levels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
