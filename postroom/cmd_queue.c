/*
 * queue: outbound mail that waits. Selectors (queue_select.h) pick some of it; what the
 * operator wishes is in the queue on commit and smtpd hears of it at once.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "postroom/queue_select.h"
#include "text/address.h"

enum {
	ADDRESS_ARENA_MAX = 64 * 1024,
	COMMIT_RECIPIENTS = 2000, /* changed in one commit, about */
};

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
	json_object_set_new(row, "tenant", json_slice(message->tenant));
	json_object_set_new(row, "campaign", json_slice(message->campaign));
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
	static const char *const names[] = {"tenant", "campaign"};
	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		const char *name = json_string_value(json_object_get(message, names[n]));
		if (name && name[0])
			printf("  %s %s", names[n], name);
	}
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
	struct queue_select select;
	json_t *rows;
};

static bool
recipient_is_picked(const struct list *list, const json_t *recipient)
{
	return queue_select_address(&list->select,
	    slice_from_cstr(json_string_value(json_object_get(recipient, "to"))));
}

static bool
recipients_match(const struct list *list, const json_t *message)
{
	size_t i;
	json_t *r;
	json_array_foreach(json_object_get(message, "recipients"), i, r)
	{
		if (recipient_is_picked(list, r))
			return true;
	}
	return false;
}

static bool
list_one(const struct queue_message *message, void *arg)
{
	struct list *list = arg;
	if (!queue_select_message(&list->select, message))
		return true;
	json_t *row = message_json(list->cli, message);
	if (row && recipients_match(list, row))
		json_array_append(list->rows, row);
	json_decref(row);
	return true;
}

/* Everything that the options pick, as rows; 0 or an exit code. */
static int
select_rows(struct cli *cli, json_t **out)
{
	struct list list = {.cli = cli};
	int code = queue_select_read(cli, &list.select);
	if (code != CLI_OK)
		return code;
	list.rows = json_array();
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
	return cli_rows_show(cli, rows, message_print, "the queue is empty");
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
		cli_json_print(row);
	} else {
		message_print(row);
	}
	json_decref(row);
	return CLI_OK;
}

/* What is done to what was picked. */
struct act {
	enum queue_wish wish;
	struct slice redirect; /* null: the wish */
	const char *done;
	uint64_t total;
};

static enum status
act_on(struct cli *cli, struct act *act, const char *id, uint32_t number)
{
	uint64_t count = 0;
	enum status status = act->redirect.ptr
	                         ? queue_redirect(cli->reader, slice_from_cstr(id),
				       number, act->redirect, clock_wall_s(), &count)
	                         : queue_wish(cli->reader, slice_from_cstr(id), number,
				       act->wish, clock_wall_s(), &count);
	act->total += status == STATUS_OK ? count : 0;
	return status;
}

/* The recipients of one message that are picked. */
static enum status
act_on_recipients(
    struct cli *cli, struct act *act, const struct list *list, const json_t *row)
{
	const char *id = json_string_value(json_object_get(row, "id"));
	enum status status = STATUS_OK;
	size_t i;
	json_t *recipient;
	json_array_foreach(json_object_get(row, "recipients"), i, recipient)
	{
		if (!recipient_is_picked(list, recipient))
			continue;
		uint32_t number =
		    (uint32_t)json_integer_value(json_object_get(recipient, "number"));
		enum status one = act_on(cli, act, id, number);
		/* Gone meanwhile: it was delivered. */
		if (one != STATUS_OK && one != STATUS_NOT_FOUND)
			status = one;
	}
	return status;
}

/* Whole messages, many in a commit; those that have gone meanwhile are passed over. */
static enum status
act_on_messages(struct cli *cli, struct act *act, const json_t *rows)
{
	const char *ids[QUEUE_WISH_MANY_MAX];
	size_t count = 0, recipients = 0;
	size_t i;
	json_t *row;
	enum status status = STATUS_OK;
	json_array_foreach(rows, i, row)
	{
		ids[count++] = json_string_value(json_object_get(row, "id"));
		recipients += json_array_size(json_object_get(row, "recipients"));
		bool last = i + 1 == json_array_size(rows);
		if (!last && count < QUEUE_WISH_MANY_MAX &&
		    recipients < COMMIT_RECIPIENTS)
			continue;
		uint64_t done = 0;
		status = queue_wish_many(
		    cli->reader, ids, count, act->wish, clock_wall_s(), &done);
		if (status != STATUS_OK)
			return status;
		act->total += done;
		count = recipients = 0;
	}
	return status;
}

/* To what was picked: ids, or --all, or selectors. */
static int
act_on_picked(struct cli *cli, struct act *act)
{
	struct list list = {.cli = cli};
	bool by_selector = cli_option(cli, "--all") || queue_select_given(cli);
	if (by_selector == (cli->argument_count > 0))
		return cli_fail(CLI_USAGE,
		    "say which: message ids, or --all, or some of " QUEUE_SELECT_USAGE);
	int code = queue_select_read(cli, &list.select);
	if (code == CLI_OK)
		code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	json_t *rows = NULL;
	if (by_selector && (code = select_rows(cli, &rows)) != CLI_OK)
		return code;
	if (!rows)
		rows = json_array();
	for (size_t i = 0; i < cli->argument_count; i++)
		json_array_append_new(rows, json_pack("{s:s}", "id", cli->arguments[i]));
	char question[128];
	snprintf(question, sizeof(question),
	    "this drops %zu messages without a bounce:", json_array_size(rows));
	bool drops = act->wish == QUEUE_DELETE && !act->redirect.ptr;
	if (drops && json_array_size(rows) > 0 && !cli_confirm(cli, question)) {
		json_decref(rows);
		return CLI_NOT_ALLOWED;
	}
	/* A selector that names recipients picks those, not their whole message. */
	bool some = queue_select_by_recipient(&list.select);
	bool whole = by_selector && !some && !act->redirect.ptr;
	if (whole) {
		enum status status = act_on_messages(cli, act, rows);
		if (status != STATUS_OK)
			code = cli_fail_status(status, "change the queue");
		json_array_clear(rows);
	}
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		const char *id = json_string_value(json_object_get(row, "id"));
		enum status status = some ? act_on_recipients(cli, act, &list, row)
		                          : act_on(cli, act, id, QUEUE_ALL);
		if (status == STATUS_NOT_FOUND && !by_selector)
			code = cli_fail(CLI_NO_OBJECT,
			    "%s is not in the queue: postroom queue list shows all", id);
		else if (status != STATUS_OK && status != STATUS_NOT_FOUND)
			code = cli_fail_status(status, "change %s", id);
	}
	json_decref(rows);
	if (cli->json) {
		json_t *told = json_pack("{s:I, s:s}", "recipients",
		    (json_int_t)act->total, "done", act->done);
		cli_json_print(told);
		json_decref(told);
	} else if (!cli->quiet) {
		printf("%" PRIu64 " recipients %s\n", act->total, act->done);
	}
	return code;
}

static int
wish(struct cli *cli, enum queue_wish wish, const char *done)
{
	struct act act = {.wish = wish, .done = done};
	return act_on_picked(cli, &act);
}

int
cmd_queue_redirect(struct cli *cli)
{
	const char *address = cli_option(cli, "--address");
	struct arena *arena = arena_new(ADDRESS_ARENA_MAX);
	struct mailbox_address parsed;
	bool good =
	    address &&
	    address_parse(slice_from_cstr(address), true, arena, &parsed) == ADDRESS_OK &&
	    !slice_is_empty(parsed.domain);
	arena_free(&arena);
	if (!good)
		return cli_fail(CLI_USAGE,
		    "--address says to whom instead, such as anna@example.org");
	struct act act = {
	    .redirect = slice_from_cstr(address), .done = "go there instead"};
	return act_on_picked(cli, &act);
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
