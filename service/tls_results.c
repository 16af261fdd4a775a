/*
 * Results of TLS; see tls_results.h.
 */
#include "service/tls_results.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "text/date.h"

enum { START_DIGITS = 16 };

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static void
text_set(json_t *object, const char *key, const char *text)
{
	if (text && *text)
		json_object_set_new(object, key, json_string(text));
}

static void
count_add(json_t *object, const char *key, json_int_t count)
{
	json_int_t now = json_integer_value(json_object_get(object, key));
	json_object_set_new(object, key, json_integer(now + count));
}

/* The entry of that policy, made when it is new; null: there are too many. */
static json_t *
policy_find(json_t *policies, const char *type, const char *domain)
{
	size_t i;
	json_t *entry;
	json_array_foreach(policies, i, entry)
	{
		const json_t *policy = json_object_get(entry, "policy");
		if (strcmp(text_of(policy, "policy-type"), type) == 0 &&
		    strcmp(text_of(policy, "policy-domain"), domain) == 0)
			return entry;
	}
	if (json_array_size(policies) == TLS_RESULTS_POLICIES_MAX)
		return NULL;
	entry = json_pack("{s:{s:s, s:s}, s:{s:i, s:i}}", "policy", "policy-type", type,
	    "policy-domain", domain, "summary", "total-successful-session-count", 0,
	    "total-failure-session-count", 0);
	ENSURE(entry);
	json_array_append_new(policies, entry);
	return entry;
}

/* What the policy says, when that is not there yet. */
static void
policy_fill(json_t *entry, const json_t *strings, const json_t *hosts)
{
	json_t *policy = json_object_get(entry, "policy");
	if (strings && !json_object_get(policy, "policy-string") &&
	    json_array_size(strings) <= TLS_RESULTS_STRINGS_MAX)
		json_object_set_new(policy, "policy-string", json_deep_copy(strings));
	if (hosts && !json_object_get(policy, "mx-host") && json_array_size(hosts) > 0 &&
	    json_array_size(hosts) <= TLS_RESULTS_STRINGS_MAX)
		json_object_set_new(policy, "mx-host", json_deep_copy(hosts));
}

static bool
is_same_failure(const json_t *a, const json_t *b)
{
	static const char *const keys[] = {"result-type", "sending-mta-ip",
	    "receiving-mx-hostname", "receiving-ip", "failure-reason-code"};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(text_of(a, keys[i]), text_of(b, keys[i])) != 0)
			return false;
	return true;
}

/* `failure` is borrowed. */
static void
failure_add(json_t *entry, const json_t *failure)
{
	json_t *details = json_object_get(entry, "failure-details");
	json_int_t count =
	    json_integer_value(json_object_get(failure, "failed-session-count"));
	size_t i;
	json_t *known;
	if (!details) {
		details = json_array();
		json_object_set_new(entry, "failure-details", details);
	}
	json_array_foreach(details, i, known)
	{
		if (is_same_failure(known, failure)) {
			count_add(known, "failed-session-count", count);
			return;
		}
	}
	if (json_array_size(details) < TLS_RESULTS_DETAILS_MAX)
		json_array_append_new(details, json_deep_copy(failure));
}

void
tls_results_add(json_t *policies, const struct tls_result *result, const json_t *strings,
    const json_t *hosts)
{
	json_t *entry = policy_find(policies, result->type, result->domain);
	if (!entry)
		return;
	policy_fill(entry, strings, hosts);
	count_add(json_object_get(entry, "summary"),
	    result->failure ? "total-failure-session-count"
			    : "total-successful-session-count",
	    1);
	if (!result->failure)
		return;
	json_t *failure = json_object();
	text_set(failure, "result-type", result->failure);
	text_set(failure, "sending-mta-ip", result->from);
	text_set(failure, "receiving-mx-hostname", result->mx);
	text_set(failure, "receiving-ip", result->to);
	text_set(failure, "failure-reason-code", result->reason);
	json_object_set_new(failure, "failed-session-count", json_integer(1));
	failure_add(entry, failure);
	json_decref(failure);
}

void
tls_results_merge(json_t *into, const json_t *from)
{
	static const char *const counts[] = {
	    "total-successful-session-count", "total-failure-session-count"};
	size_t i, k;
	json_t *one, *failure;
	json_array_foreach((json_t *)from, i, one)
	{
		const json_t *policy = json_object_get(one, "policy");
		json_t *entry = policy_find(into, text_of(policy, "policy-type"),
		    text_of(policy, "policy-domain"));
		if (!entry)
			continue;
		policy_fill(entry, json_object_get(policy, "policy-string"),
		    json_object_get(policy, "mx-host"));
		for (k = 0; k < sizeof(counts) / sizeof(counts[0]); k++)
			count_add(json_object_get(entry, "summary"), counts[k],
			    json_integer_value(json_object_get(
				json_object_get(one, "summary"), counts[k])));
		json_array_foreach(json_object_get(one, "failure-details"), k, failure)
		    failure_add(entry, failure);
	}
}

/* Takes the last failure out of the policy that has most of them. */
static bool
failure_drop(json_t *policies)
{
	size_t i, most = 0;
	json_t *entry, *longest = NULL;
	json_array_foreach(policies, i, entry)
	{
		json_t *details = json_object_get(entry, "failure-details");
		if (json_array_size(details) > most) {
			most = json_array_size(details);
			longest = details;
		}
	}
	return longest && json_array_remove(longest, most - 1) == 0;
}

bool
tls_results_write(json_t *policies, size_t size, struct buf *out)
{
	do {
		char *text = json_dumps(policies, JSON_COMPACT);
		ENSURE(text);
		bool fits = strlen(text) <= size;
		if (fits)
			buf_append_cstr(out, text);
		free(text);
		if (fits)
			return buf_ok(out);
	} while (failure_drop(policies));
	return false;
}

void
tls_results_name(int64_t start_s, const char *domain, char out[TLS_RESULTS_NAME_MAX])
{
	snprintf(
	    out, TLS_RESULTS_NAME_MAX, "%0*" PRId64 ":%s", START_DIGITS, start_s, domain);
}

bool
tls_results_name_parse(struct slice name, int64_t *out_start_s, struct slice *out_domain)
{
	uint64_t start;
	struct slice digits = slice_split(&name, ':');
	if (digits.len != START_DIGITS || !slice_to_u64(digits, INT64_MAX, &start) ||
	    name.len == 0)
		return false;
	*out_start_s = (int64_t)start;
	*out_domain = name;
	return true;
}

static json_t *
time_json(int64_t at_s)
{
	struct buf text AUTO_BUF;
	buf_init(&text, 64);
	date_write_rfc3339(at_s * 1000, &text);
	/* Without the milliseconds. */
	size_t dot = slice_index(buf_slice(&text), '.');
	return json_sprintf("%.*sZ", (int)(dot == SIZE_MAX ? 0 : dot), text.ptr);
}

json_t *
tls_results_report(const char *organisation, const char *contact, const char *id,
    int64_t start_s, int64_t end_s, const json_t *policies)
{
	return json_pack("{s:s, s:{s:o, s:o}, s:s, s:s, s:o}", "organization-name",
	    organisation, "date-range", "start-datetime", time_json(start_s),
	    "end-datetime", time_json(end_s), "contact-info", contact, "report-id", id,
	    "policies", json_deep_copy(policies));
}
