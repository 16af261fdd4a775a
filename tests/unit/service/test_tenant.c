/*
 * Whose mail a submitted message is: the log-in's address before the sender's domain
 * before the log-in's domain; nobody's without a log-in.
 */
#include "service/tenant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void
make(struct store_reader *reader, const char *name, const char *member)
{
	struct slice members[] = {slice_from_cstr(member)};
	struct tenant_change change = {
	    .create = true,
	    .to = {.name = slice_from_cstr(name)},
	    .add = members,
	    .add_count = 1,
	};
	assert_int_equal(tenant_change(reader, &change), STATUS_OK);
	store_reader_end(reader);
}

static void
test_of(void **state)
{
	(void)state;
	struct store *store = store_open_mem(3);
	struct store_reader *reader = store_reader_new(store, NULL, NULL);
	make(reader, "one", "jo@own.test");
	make(reader, "two", "sent.test");
	make(reader, "three", "own.test");
	static const struct {
		const char *login, *sender, *tenant;
	} rows[] = {
	    {"jo@own.test",  "x@sent.test", "one"  },
	    {"Jo@Own.test",  "",            "one"  },
	    {"ann@own.test", "x@SENT.test", "two"  },
	    {"ann@own.test", "",            "three"},
	    {"ann@own.test", "no-domain",   "three"},
	    {"ann@far.test", "x@sent.test", "two"  },
	    {"ann@far.test", "x@far.test",  NULL   },
	    {"",             "x@sent.test", NULL   },
	    {"no-domain",    "x@far.test",  NULL   },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tenant tenant;
		enum status status =
		    service_tenant_of(reader, slice_from_cstr(rows[i].login),
			slice_from_cstr(rows[i].sender), &tenant);
		if (!rows[i].tenant) {
			assert_int_equal(status, STATUS_NOT_FOUND);
			continue;
		}
		assert_int_equal(status, STATUS_OK);
		assert_true(slice_equal(tenant.name, slice_from_cstr(rows[i].tenant)));
		store_reader_end(reader);
	}
	store_reader_free(&reader);
	store_close(&store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_of)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
