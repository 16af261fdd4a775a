/*
 * The routing table over all of its inputs, and the open-relay matrix
 * (reference/smtp.md, X5), which the daemon also runs at every start.
 */
#include "smtpd/smtp_selftest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/smtp_route.h"

static void
open_relay_matrix(void **state)
{
	(void)state;
	const char *wrong = smtp_route_selftest();
	if (wrong)
		fail_msg("%s", wrong);
}

static void
table(void **state)
{
	(void)state;
	static const struct {
		struct smtp_route_facts facts;
		enum smtp_route route;
	} rows[] = {
	    {{false, false, DIRECTORY_NOT_LOCAL, 0, 0},    SMTP_ROUTE_DENIED },
	    {{true, false, DIRECTORY_NOT_LOCAL, 0, 0},     SMTP_ROUTE_RELAY  },
	    {{false, true, DIRECTORY_NOT_LOCAL, 0, 0},     SMTP_ROUTE_RELAY  },
	    {{true, true, DIRECTORY_NOT_LOCAL, 0, 0},      SMTP_ROUTE_RELAY  },
	    {{false, false, DIRECTORY_UNKNOWN_USER, 0, 0}, SMTP_ROUTE_UNKNOWN},
	    {{true, true, DIRECTORY_UNKNOWN_USER, 0, 0},   SMTP_ROUTE_UNKNOWN},
	    {{true, true, DIRECTORY_LOOP, 0, 0},           SMTP_ROUTE_LOOP   },
	    {{false, false, DIRECTORY_LOOP, 0, 0},         SMTP_ROUTE_LOOP   },
	    {{false, false, DIRECTORY_TARGETS, 1, 0},      SMTP_ROUTE_TARGETS},
	    {{false, false, DIRECTORY_TARGETS, 1, 1},      SMTP_ROUTE_QUOTA  },
	    {{false, false, DIRECTORY_TARGETS, 2, 1},      SMTP_ROUTE_TARGETS},
	    {{true, false, DIRECTORY_TARGETS, 2, 2},       SMTP_ROUTE_QUOTA  },
	    {{false, false, DIRECTORY_TARGETS, 0, 0},      SMTP_ROUTE_UNKNOWN},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(smtp_route_decide(&rows[i].facts), rows[i].route);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(open_relay_matrix),
	    cmocka_unit_test(table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
