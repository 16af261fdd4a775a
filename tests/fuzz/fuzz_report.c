/*
 * Fuzzes reports of delivery and complaints: whatever comes, what was found is bounded,
 * of one line, and a report names its status in the form of RFC 3463 or not at all.
 */
#include "text/report.h"

#include <stdlib.h>

#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_value(struct slice value)
{
	ENSURE(value.len <= REPORT_VALUE_MAX);
	ENSURE(slice_index(value, '\n') == SIZE_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new(REPORT_ARENA_MAX);
	struct report report;
	report_parse(slice_make((const char *)data, size), arena, &report);
	ENSURE(report.id_count <= REPORT_IDS_MAX);
	ENSURE(report.recipient_count <= REPORT_RECIPIENTS_MAX);
	ENSURE(report.kind != REPORT_NONE || report.recipient_count == 0);
	check_value(report.feedback_type);
	check_value(report.envid);
	check_value(report.message_id);
	check_value(report.sender);
	for (size_t i = 0; i < report.id_count; i++)
		check_value(report.ids[i]);
	for (size_t i = 0; i < report.recipient_count; i++) {
		const struct report_recipient *r = &report.recipients[i];
		check_value(r->original);
		check_value(r->address);
		check_value(r->diagnostic);
		ENSURE(r->action <= REPORT_EXPANDED);
		ENSURE(r->status[0] == '\0' ||
		       (strchr("245", r->status[0]) && r->status[1] == '.'));
	}
	arena_free(&arena);
	return 0;
}
