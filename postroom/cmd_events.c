/*
 * events: what happened to messages, oldest first, from a cursor or a moment on; each
 * event on a line of its own.  The next call goes on from the last event's cursor.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "service/event.h"

enum { FOLLOW_LOOK_MS = 500 };

struct events_view {
	struct cli *cli;
	unsigned kinds;
	uint64_t left;  /* to be shown */
	char since[32]; /* RFC 3339: compares as text; "" when it is a cursor */
};

static void
event_print(const json_t *event)
{
	static const char *const names[] = {
	    "message", "from", "to", "host", "reply", "reason", "attempt", "tenant"};
	printf("%s  %-10s", json_string_value(json_object_get(event, "time")),
	    json_string_value(json_object_get(event, "event")));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = json_string_value(json_object_get(event, names[i]));
		if (value)
			printf("  %s %s", names[i], value);
	}
	putchar('\n');
}

static bool
event_show(struct slice line, const struct trace_place *at, void *arg)
{
	struct events_view *view = arg;
	enum event_kind kind;
	size_t stamp = strlen(view->since);
	if (view->left == 0)
		return false;
	if ((stamp && (line.len < stamp || memcmp(line.ptr, view->since, stamp) < 0)) ||
	    !event_kind_of(line, &kind) || !(view->kinds & 1u << kind))
		return true;
	json_t *event = event_json(line, kind, at);
	if (view->cli->json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		event_print(event);
	}
	json_decref(event);
	view->left--;
	return !ferror(stdout);
}

/* A cursor, a duration back from now, or nothing: as far as the trace goes. */
static int
start_read(struct cli *cli, struct events_view *view, struct trace_place *out)
{
	const char *text = cli_option(cli, "--since");
	uint64_t ms = (uint64_t)cli->conf->log.trace_days * 86400 * 1000;
	if (text && trace_place_parse(slice_from_cstr(text), out))
		return CLI_OK;
	if (text && !conf_parse_duration_ms(slice_from_cstr(text), &ms))
		return cli_fail(CLI_USAGE,
		    "--since wants the cursor of an event, or a duration such as 2h");
	time_t since = (time_t)(clock_wall_s() - (int64_t)(ms / 1000));
	struct tm tm;
	gmtime_r(&since, &tm);
	strftime(view->since, sizeof(view->since), "%Y-%m-%dT%H:%M:%S", &tm);
	*out = (struct trace_place){.day = since / 86400};
	return CLI_OK;
}

static int
kinds_read(struct cli *cli, unsigned *out)
{
	struct slice rest = slice_from_cstr(cli_option(cli, "--kind"));
	*out = rest.ptr ? 0 : EVENT_ALL;
	while (rest.ptr)
		if (!event_kind_parse(slice_split(&rest, ','), out))
			return cli_fail(CLI_USAGE,
			    "--kind wants some of accepted, delivered, deferred, "
			    "bounced, complained, suppressed, with commas between");
	return CLI_OK;
}

static int
events_show(struct cli *cli, struct events_view *view, struct trace_place place)
{
	bool follow = cli_option(cli, "--follow") != NULL;
	bool was_found = view->since[0] == '\0';
	char *dir = cli_trace_dir(cli);
	enum status status;
	do {
		int64_t day = place.day;
		status = trace_read(dir, &place, event_show, view);
		/* The file has gone: on with the first one that is left. */
		if (status == STATUS_NOT_FOUND && place.day != day) {
			if (was_found)
				fputs("postroom: the trace does not go back so far: some "
				      "events are lost\n",
				    stderr);
			status = trace_read(dir, &place, event_show, view);
		}
		/* Nothing has been written since the day that was asked for. */
		if (status == STATUS_NOT_FOUND ||
		    (status == STATUS_INVALID && !was_found))
			status = STATUS_OK;
		fflush(stdout);
		if (follow && status == STATUS_OK && view->left > 0 && !ferror(stdout))
			usleep(FOLLOW_LOOK_MS * 1000);
	} while (follow && status == STATUS_OK && view->left > 0 && !ferror(stdout));
	free(dir);
	if (status == STATUS_INVALID)
		return cli_fail(CLI_NO_OBJECT,
		    "%s is no cursor of this trace: take it from an event",
		    cli_option(cli, "--since"));
	return status == STATUS_OK ? CLI_OK
	                           : cli_fail_status(status, "read the trace files");
}

int
cmd_events(struct cli *cli)
{
	struct events_view view = {.cli = cli, .left = UINT64_MAX};
	struct trace_place place;
	const char *limit = cli_option(cli, "--limit");
	if (limit && !slice_to_u64(slice_from_cstr(limit), UINT64_MAX - 1, &view.left))
		return cli_fail(CLI_USAGE, "--limit wants a number of events");
	int code = kinds_read(cli, &view.kinds);
	if (code == CLI_OK)
		code = cli_need_conf(cli);
	if (code == CLI_OK)
		code = start_read(cli, &view, &place);
	return code == CLI_OK ? events_show(cli, &view, place) : code;
}
