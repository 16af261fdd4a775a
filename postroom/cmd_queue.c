/*
 * queue: outbound mail that waits. Selectors pick by id, sender or recipient; what the
 * operator wishes is in the queue on commit and smtpd hears of it at once.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "store/queue.h"

/* An address, or with "@" missing a domain; null matches all. */
static bool
selector_matches(const char *selector, struct slice address)
{
	if (!selector)
		return true;
	struct slice wanted = slice_from_cstr(selector);
	if (slice_index(wanted, '@') != SIZE_MAX)
		return slice_equal_nocase(address, wanted);
	size_t at = slice_rindex(address, '@');
	return at != SIZE_MAX && slice_equal_nocase(slice_from(address, at + 1), wanted);
}

static json_t *
json_slice(struct slice s)
{
	return json_stringn(s.ptr ? s.ptr : "", s.len);
}

static bool
recipient_add(const struct queue_recipient *recipient, void *arg)
{
	json_t *row = json_object();
	json_object_set_new(row, "number", json_integer(recipient->number));
	json_object_set_new(row, "to", json_slice(recipient->address));
	json_object_set_new(row, "state",
	    json_string(recipient->state == QUEUE_HELD ? "held" : "waiting"));
	json_object_set_new(row, "attempts", json_integer(recipient->attempts));
	json_object_set_new(row, "next_try", json_integer(recipient->due_s));
	json_object_set_new(row, "last_try", json_integer(recipient->last_try_s));
	json_object_set_new(row, "last_reply", json_slice(recipient->last_reply));
	json_array_append_new(arg, row);
	return true;
}

/* The message with its recipients; null when it has gone meanwhile. */
static json_t *
message_json(struct cli *cli, const struct queue_message *message)
{
	json_t *recipients = json_array();
	enum status status = queue_recipient_each(
	    cli->reader, slice_from_cstr(message->id), recipient_add, recipients);
	if (status != STATUS_OK) {
		json_decref(recipients);
		return NULL;
	}
	json_t *row = json_object();
	json_object_set_new(row, "id", json_string(message->id));
	json_object_set_new(row, "from", json_slice(message->sender));
	json_object_set_new(row, "login", json_slice(message->login));
	json_object_set_new(row, "origin", json_slice(message->origin));
	json_object_set_new(row, "size", json_integer((json_int_t)message->size));
	json_object_set_new(row, "created", json_integer(message->created_s));
	json_object_set_new(row, "expires", json_integer(message->expires_s));
	json_object_set_new(row, "recipients", recipients);
	return row;
}

static void
when_print(const char *label, int64_t at_s)
{
	if (at_s == 0)
		return;
	time_t at = (time_t)at_s;
	struct tm tm;
	char text[32];
	localtime_r(&at, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	printf("  %s %s", label, text);
}

static void
message_print(const json_t *message)
{
	const char *from = json_string_value(json_object_get(message, "from"));
	printf("%s  %lld bytes  from <%s>",
	    json_string_value(json_object_get(message, "id")),
	    (long long)json_integer_value(json_object_get(message, "size")), from);
	when_print("since", json_integer_value(json_object_get(message, "created")));
	putchar('\n');
	size_t i;
	json_t *r;
	json_array_foreach(json_object_get(message, "recipients"), i, r)
	{
		printf("    to <%s>  %s  tries %lld",
		    json_string_value(json_object_get(r, "to")),
		    json_string_value(json_object_get(r, "state")),
		    (long long)json_integer_value(json_object_get(r, "attempts")));
		when_print("next", json_integer_value(json_object_get(r, "next_try")));
		putchar('\n');
		const char *reply = json_string_value(json_object_get(r, "last_reply"));
		if (reply && reply[0])
			printf("        %s\n", reply);
	}
}

struct list {
	struct cli *cli;
	const char *from, *to;
	json_t *rows;
};

static bool
recipients_match(const json_t *message, const char *to)
{
	size_t i;
	json_t *r;
	json_array_foreach(json_object_get(message, "recipients"), i, r)
	{
		if (selector_matches(
			to, slice_from_cstr(json_string_value(json_object_get(r, "to")))))
			return true;
	}
	return false;
}

static bool
list_one(const struct queue_message *message, void *arg)
{
	struct list *list = arg;
	if (!selector_matches(list->from, message->sender))
		return true;
	json_t *row = message_json(list->cli, message);
	if (row && recipients_match(row, list->to))
		json_array_append(list->rows, row);
	json_decref(row);
	return true;
}

/* Everything that --from and --to pick, as rows; 0 or an exit code. */
static int
select_rows(struct cli *cli, json_t **out)
{
	struct list list = {
	    cli, cli_option(cli, "--from"), cli_option(cli, "--to"), json_array()};
	enum status status = queue_message_each(cli->reader, SLICE_NULL, list_one, &list);
	if (status != STATUS_OK) {
		json_decref(list.rows);
		return cli_fail_status(status, "read the queue");
	}
	*out = list.rows;
	return CLI_OK;
}

int
cmd_queue_list(struct cli *cli)
{
	json_t *rows = NULL;
	int code = cli_need_store(cli);
	if (code == CLI_OK)
		code = select_rows(cli, &rows);
	if (code != CLI_OK)
		return code;
	if (cli->json) {
		json_dumpf(rows, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		size_t i;
		json_t *row;
		json_array_foreach(rows, i, row) message_print(row);
		if (json_array_size(rows) == 0 && !cli->quiet)
			printf("the queue is empty\n");
	}
	json_decref(rows);
	return CLI_OK;
}

int
cmd_queue_show(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct queue_message message;
	enum status status =
	    queue_message_get(cli->reader, cli_argument(cli, 0), &message);
	json_t *row = status == STATUS_OK ? message_json(cli, &message) : NULL;
	if (!row)
		return cli_fail(CLI_NO_OBJECT,
		    "%s is not in the queue: postroom trace %s tells where it went",
		    cli->arguments[0], cli->arguments[0]);
	if (cli->json) {
		json_dumpf(row, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		message_print(row);
	}
	json_decref(row);
	return CLI_OK;
}

/* Applies a wish to what was picked: ids, or --all, --from, --to. */
static int
wish(struct cli *cli, enum queue_wish wish, const char *done)
{
	bool by_selector = cli_option(cli, "--all") || cli_option(cli, "--from") ||
	                   cli_option(cli, "--to");
	if (by_selector == (cli->argument_count > 0))
		return cli_fail(CLI_USAGE,
		    "say which: message ids, or one of --all, --from F, --to T");
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	json_t *rows = json_array();
	if (by_selector) {
		json_decref(rows);
		code = select_rows(cli, &rows);
		if (code != CLI_OK)
			return code;
	}
	for (size_t i = 0; i < cli->argument_count; i++)
		json_array_append_new(rows, json_pack("{s:s}", "id", cli->arguments[i]));
	char question[128];
	snprintf(question, sizeof(question),
	    "this drops %zu messages without a bounce:", json_array_size(rows));
	if (wish == QUEUE_DELETE && json_array_size(rows) > 0 &&
	    !cli_confirm(cli, question)) {
		json_decref(rows);
		return CLI_NOT_ALLOWED;
	}
	uint64_t total = 0;
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		const char *id = json_string_value(json_object_get(row, "id"));
		uint64_t count = 0;
		/* A selector that names recipients picks those, not their whole message.
		 */
		const char *to = cli_option(cli, "--to");
		json_t *recipients = json_object_get(row, "recipients");
		enum status status = STATUS_OK;
		if (!to) {
			status = queue_wish(cli->reader, slice_from_cstr(id), QUEUE_ALL,
			    wish, clock_wall_s(), &count);
			total += status == STATUS_OK ? count : 0;
		}
		size_t r;
		json_t *recipient;
		json_array_foreach(to ? recipients : NULL, r, recipient)
		{
			const char *address =
			    json_string_value(json_object_get(recipient, "to"));
			if (!selector_matches(to, slice_from_cstr(address)))
				continue;
			uint32_t number = (uint32_t)json_integer_value(
			    json_object_get(recipient, "number"));
			status = queue_wish(cli->reader, slice_from_cstr(id), number,
			    wish, clock_wall_s(), &count);
			total += status == STATUS_OK ? count : 0;
		}
		if (status == STATUS_NOT_FOUND && !by_selector)
			code = cli_fail(CLI_NO_OBJECT,
			    "%s is not in the queue: postroom queue list shows all", id);
		else if (status != STATUS_OK && status != STATUS_NOT_FOUND)
			code = cli_fail_status(status, "change %s", id);
	}
	json_decref(rows);
	if (!cli->quiet)
		printf("%" PRIu64 " recipients %s\n", total, done);
	return code;
}

int
cmd_queue_retry(struct cli *cli)
{
	return wish(cli, QUEUE_RETRY, "will be tried now");
}

int
cmd_queue_hold(struct cli *cli)
{
	return wish(cli, QUEUE_HOLD, "are held");
}

int
cmd_queue_release(struct cli *cli)
{
	return wish(cli, QUEUE_RELEASE, "were released");
}

int
cmd_queue_delete(struct cli *cli)
{
	return wish(cli, QUEUE_DELETE, "were dropped");
}
