/*
 * trace: where is this message, every leg of its way; from the trace files, and from the
 * queue for what still waits.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hashmap.h"
#include "postroom/cli.h"
#include "service/trace.h"

enum {
	TRACE_MESSAGES_MAX = 500, /* messages shown for an address */
	TRACE_VALUE_MAX = 2304,
};

struct trace_view {
	struct cli *cli;
	json_t *messages; /* array of {mid, events} in order of first sight */
	struct hashmap *by_mid;
	bool too_many;
};

static json_t *
message_of(struct trace_view *view, const char *mid)
{
	json_t *message = hashmap_get(view->by_mid, slice_from_cstr(mid));
	if (message)
		return message;
	if (json_array_size(view->messages) == TRACE_MESSAGES_MAX) {
		view->too_many = true;
		return NULL;
	}
	message = json_pack("{s:s, s:[]}", "mid", mid, "events");
	json_array_append_new(view->messages, message);
	hashmap_put(view->by_mid, slice_from_cstr(mid), message);
	return message;
}

/* First pass: which messages the needle names. */
static bool
collect(struct slice line, void *arg)
{
	struct trace_view *view = arg;
	char mid[TRACE_VALUE_MAX];
	if (trace_value(line, "mid", mid, sizeof(mid)))
		message_of(view, mid);
	return true;
}

static const char *const event_keys[] = {"from", "to", "orig", "user", "peer", "size",
    "msgid", "host", "try", "status", "reply", "uid", "mailbox", "next", "reason", "tls",
    "parent", "action", "said"};

/* Second pass: all lines of one message. */
static bool
event_add(struct slice line, void *arg)
{
	json_t *events = arg;
	char value[TRACE_VALUE_MAX];
	json_t *event = json_object();
	struct slice rest = line;
	struct slice time = slice_split(&rest, ' ');
	struct slice daemon = slice_split(&rest, ' ');
	slice_split(&rest, ' '); /* level */
	struct slice name = slice_split(&rest, ' ');
	json_object_set_new(event, "time", json_stringn(time.ptr, time.len));
	json_object_set_new(event, "daemon", json_stringn(daemon.ptr, daemon.len));
	json_object_set_new(event, "event", json_stringn(name.ptr, name.len));
	for (size_t i = 0; i < sizeof(event_keys) / sizeof(event_keys[0]); i++) {
		if (trace_value(line, event_keys[i], value, sizeof(value)))
			json_object_set_new(event, event_keys[i], json_string(value));
	}
	json_array_append_new(events, event);
	return true;
}

static void
event_print(const json_t *event)
{
	printf("%s  %-14s", json_string_value(json_object_get(event, "time")),
	    json_string_value(json_object_get(event, "event")));
	for (size_t i = 0; i < sizeof(event_keys) / sizeof(event_keys[0]); i++) {
		const char *value =
		    json_string_value(json_object_get(event, event_keys[i]));
		if (value)
			printf("  %s %s", event_keys[i], value);
	}
	putchar('\n');
}

static int
since_read(struct cli *cli, int64_t *out)
{
	const char *text = cli_option(cli, "--since");
	uint64_t ms = (uint64_t)cli->conf->log.trace_days * 86400 * 1000;
	if (text && !conf_parse_duration_ms(slice_from_cstr(text), &ms))
		return cli_fail(
		    CLI_USAGE, "--since wants a duration such as 30m, 2h or 3d");
	*out = clock_wall_s() - (int64_t)(ms / 1000);
	return CLI_OK;
}

int
cmd_trace(struct cli *cli)
{
	int64_t since = 0;
	int code = cli_need_conf(cli);
	if (code == CLI_OK)
		code = since_read(cli, &since);
	if (code != CLI_OK)
		return code;
	struct trace_view view = {
	    .cli = cli, .messages = json_array(), .by_mid = hashmap_new()};
	char *dir = cli_trace_dir(cli);
	enum status status = trace_find(dir, since, cli_argument(cli, 0), collect, &view);
	size_t i;
	json_t *message;
	json_array_foreach(view.messages, i, message)
	{
		const char *mid = json_string_value(json_object_get(message, "mid"));
		if (status == STATUS_OK)
			status = trace_find(dir, since, slice_from_cstr(mid), event_add,
			    json_object_get(message, "events"));
	}
	free(dir);
	hashmap_free(&view.by_mid, NULL);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		json_decref(view.messages);
		return cli_fail_status(status, "read the trace files");
	}
	bool found = json_array_size(view.messages) > 0;
	if (cli->json) {
		cli_json_print(view.messages);
	} else {
		json_array_foreach(view.messages, i, message)
		{
			printf(
			    "%s\n", json_string_value(json_object_get(message, "mid")));
			size_t e;
			json_t *event;
			json_array_foreach(json_object_get(message, "events"), e, event)
			    event_print(event);
		}
		if (view.too_many)
			printf("only the first %d messages are shown: narrow it with "
			       "--since\n",
			    TRACE_MESSAGES_MAX);
	}
	json_decref(view.messages);
	if (!found)
		return cli_fail(CLI_NO_OBJECT,
		    "no message of %s in the last %u days: is the address spelled so, "
		    "and "
		    "is this the right server?",
		    cli->arguments[0], cli->conf->log.trace_days);
	return CLI_OK;
}
