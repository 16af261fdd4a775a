/*
 * suppress: addresses that nothing is sent to, with the reason and for how long.
 */
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "store/relay_note.h"
#include "text/address.h"

enum { ARENA_BYTES = 64 * 1024 };

static bool
list_one(const struct relay_note *note, void *arg)
{
	json_t *row = json_object();
	json_object_set_new(row, "address", json_stringn(note->name.ptr, note->name.len));
	json_object_set_new(row, "reason",
	    json_string(note->kind <= RELAY_SUPPRESS_COMPLAINT
			    ? relay_suppress_text((enum relay_suppress)note->kind)
			    : "unknown"));
	json_object_set_new(row, "text", json_stringn(note->text.ptr, note->text.len));
	json_object_set_new(row, "since", json_integer(note->created_s));
	json_object_set_new(row, "expires", json_integer(note->expires_s));
	json_array_append_new(arg, row);
	return true;
}

static void
row_print(const json_t *row)
{
	time_t expires = (time_t)json_integer_value(json_object_get(row, "expires"));
	char until[48] = "for good";
	struct tm tm;
	if (expires) {
		localtime_r(&expires, &tm);
		strftime(until, sizeof(until), "until %Y-%m-%d %H:%M", &tm);
	}
	printf("%-40s %-10s %s  %s\n", json_string_value(json_object_get(row, "address")),
	    json_string_value(json_object_get(row, "reason")), until,
	    json_string_value(json_object_get(row, "text")));
}

int
cmd_suppress_list(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	json_t *rows = json_array();
	enum status status = relay_note_each(
	    cli->reader, RELAY_NOTE_SUPPRESSED, clock_wall_s(), list_one, rows);
	if (status != STATUS_OK) {
		json_decref(rows);
		return cli_fail_status(status, "read the suppression list");
	}
	return cli_rows_show(cli, rows, row_print, "the suppression list is empty");
}

int
cmd_suppress_add(struct cli *cli)
{
	const char *lasts = cli_option(cli, "--for");
	const char *text = cli_option(cli, "--reason");
	uint64_t lasts_ms = 0;
	if (lasts && (!conf_parse_duration_ms(slice_from_cstr(lasts), &lasts_ms) ||
			 lasts_ms < 1000))
		return cli_fail(CLI_USAGE, "--for wants a duration such as 12h or 30d");
	struct arena *arena = arena_new(ARENA_BYTES);
	struct mailbox_address address;
	bool good =
	    address_parse(cli_argument(cli, 0), true, arena, &address) == ADDRESS_OK &&
	    !slice_is_empty(address.domain);
	arena_free(&arena);
	if (!good)
		return cli_fail(CLI_DATA, "%s is no address", cli->arguments[0]);
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	int64_t now = clock_wall_s();
	struct relay_note note = {
	    .name = cli_argument(cli, 0),
	    .kind = RELAY_SUPPRESS_MANUAL,
	    .created_s = now,
	    .expires_s = lasts ? now + (int64_t)(lasts_ms / 1000) : 0,
	    .text = slice_from_cstr(text ? text : ""),
	};
	enum status status = relay_note_put(cli->reader, RELAY_NOTE_SUPPRESSED, &note);
	if (status == STATUS_INVALID)
		return cli_fail(CLI_DATA, "the address or the reason is too long");
	return status == STATUS_OK ? CLI_OK : cli_fail_status(status, "add the address");
}

int
cmd_suppress_remove(struct cli *cli)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	enum status status =
	    relay_note_remove(cli->reader, RELAY_NOTE_SUPPRESSED, cli_argument(cli, 0));
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT, "%s is not on the suppression list",
		    cli->arguments[0]);
	return status == STATUS_OK ? CLI_OK
	                           : cli_fail_status(status, "remove the address");
}
