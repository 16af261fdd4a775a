/*
 * Results of TLS: counted by policy and failure, merged, kept within limits, reported.
 */
#include "service/tls_results.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
add(json_t *policies, const char *type, const char *failure, const char *mx)
{
	const struct tls_result result = {.type = type,
	    .domain = "b.test",
	    .failure = failure,
	    .mx = mx,
	    .from = "192.0.2.1",
	    .to = "192.0.2.2"};
	json_t *strings = json_pack("[s]", "3 1 1 00");
	tls_results_add(
	    policies, &result, strcmp(type, "tlsa") == 0 ? strings : NULL, NULL);
	json_decref(strings);
}

static void
check_text(json_t *policies, size_t size, const char *want)
{
	struct buf text AUTO_BUF;
	buf_init(&text, 1 << 20);
	assert_int_equal(tls_results_write(policies, size, &text), want != NULL);
	buf_append_byte(&text, '\0');
	if (want)
		assert_string_equal(text.ptr, want);
}

#define POLICY(type, more, good, bad)                                                    \
	"{\"policy\":{\"policy-type\":\"" type "\",\"policy-domain\":\"b.test\"" more    \
	"},\"summary\":{\"total-successful-session-count\":" #good                       \
	",\"total-failure-session-count\":" #bad "}"
#define FAILURE(type, mx, count)                                                         \
	"{\"result-type\":\"" type "\",\"sending-mta-ip\":\"192.0.2.1\","                \
	"\"receiving-mx-hostname\":\"" mx "\",\"receiving-ip\":\"192.0.2.2\","           \
	"\"failed-session-count\":" #count "}"
#define STRINGS ",\"policy-string\":[\"3 1 1 00\"]"

static void
counts(void **state)
{
	(void)state;
	json_t *one = json_array(), *two = json_array();
	add(one, "tlsa", NULL, "mx1");
	add(one, "tlsa", NULL, "mx2");
	add(one, "tlsa", "tlsa-invalid", "mx1");
	add(one, "no-policy-found", NULL, "mx1");
	add(two, "tlsa", "tlsa-invalid", "mx1");
	add(two, "tlsa", "tlsa-invalid", "mx2");
	tls_results_merge(one, two);
	check_text(one, 10000,
	    "[" POLICY("tlsa", STRINGS, 2, 3) ",\"failure-details\":[" FAILURE(
		"tlsa-invalid", "mx1", 2) "," FAILURE("tlsa-invalid", "mx2",
		1) "]}," POLICY("no-policy-found", "", 1, 0) "}]");
	/* Too long: failures go, the counts stay. */
	check_text(one, 500,
	    "[" POLICY("tlsa", STRINGS, 2, 3) ",\"failure-details\":[" FAILURE(
		"tlsa-invalid", "mx1", 2) "]}," POLICY("no-policy-found", "", 1, 0) "}]");
	check_text(one, 50, NULL);
	/* Something else than what was written. */
	json_t *odd =
	    json_loads("[1, {}, {\"policy\": 3, \"failure-details\": {}}]", 0, NULL);
	tls_results_merge(two, odd);
	json_decref(odd);
	json_decref(one);
	json_decref(two);
}

static void
limits(void **state)
{
	(void)state;
	json_t *policies = json_array();
	char name[32];
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "mx%d", i);
		add(policies, "sts", "validation-failure", name);
		add(policies, name, NULL, NULL);
	}
	assert_int_equal(json_array_size(policies), TLS_RESULTS_POLICIES_MAX);
	const json_t *first = json_array_get(policies, 0);
	assert_int_equal(json_array_size(json_object_get(first, "failure-details")),
	    TLS_RESULTS_DETAILS_MAX);
	assert_int_equal(
	    json_integer_value(json_object_get(
		json_object_get(first, "summary"), "total-failure-session-count")),
	    100);
	json_decref(policies);
}

static void
names(void **state)
{
	(void)state;
	char name[TLS_RESULTS_NAME_MAX];
	int64_t start;
	struct slice domain;
	tls_results_name(1795478400, "b.test", name);
	assert_string_equal(name, "0000001795478400:b.test");
	assert_true(tls_results_name_parse(slice_from_cstr(name), &start, &domain));
	assert_int_equal(start, 1795478400);
	assert_true(slice_equal(domain, SLICE("b.test")));
	static const char *const bad[] = {"", "b.test", "1:b.test", "0000001795478400",
	    "0000001795478400:", "00000017954784x0:b", "9999999999999999999:b"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(
		    tls_results_name_parse(slice_from_cstr(bad[i]), &start, &domain));
}

static void
report(void **state)
{
	(void)state;
	json_t *policies = json_array();
	json_t *made =
	    tls_results_report("org", "post@org", "id", 1795478400, 1795564799, policies);
	char *text = json_dumps(made, JSON_COMPACT);
	assert_string_equal(text,
	    "{\"organization-name\":\"org\",\"date-range\":{\"start-datetime\":"
	    "\"2026-11-24T00:00:00Z\",\"end-datetime\":\"2026-11-24T23:59:59Z\"},"
	    "\"contact-info\":\"post@org\",\"report-id\":\"id\",\"policies\":[]}");
	free(text);
	json_decref(made);
	json_decref(policies);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(names),
	    cmocka_unit_test(report),
	};
	return cmocka_run_group_tests_name("tls_results", tests, NULL, NULL);
}
