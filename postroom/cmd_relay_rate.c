/*
 * relay rate: how many messages may leave in a time, to a domain, from a sender or
 * from an address of this machine.  What is over it waits in the queue.  Rules count from
 * the relay's next look at the queue on, a second later at most when there is mail.
 */
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "service/relay_pool.h"
#include "store/tenant.h"
#include "text/address.h"

static json_t *
row_make(enum relay_rate_scope scope, struct slice name, const char *rate)
{
	return json_pack("{s:s, s:o, s:s}", "scope", relay_rate_scope_text(scope), "name",
	    json_stringn(name.ptr, name.len), "rate", rate);
}

static bool
rule_add(const struct relay_note *note, void *rows)
{
	enum relay_rate_scope scope;
	struct relay_rate rate;
	char text[RELAY_RATE_TEXT_MAX] = "damaged";
	struct slice name = note->name;
	if (!relay_rate_scope_parse(slice_split(&name, ':'), &scope) ||
	    scope == RELAY_RATE_WARMUP)
		return true;
	if (relay_rate_parse(note->text, &rate))
		relay_rate_text(&rate, text);
	json_array_append_new(rows, row_make(scope, name, text));
	return true;
}

struct used {
	struct cli *cli;
	json_t *rows;
};

/* A name that something is used of: into its rule's row, or one of its own. */
static bool
used_add(const struct relay_note *note, void *arg)
{
	struct used *u = arg;
	enum relay_rate_scope scope;
	struct relay_rate rate;
	double used;
	int64_t at_ms;
	struct slice name = note->name;
	if (!relay_rate_scope_parse(slice_split(&name, ':'), &scope) ||
	    scope == RELAY_RATE_WARMUP ||
	    !relay_rate_used_read(note->text, &used, &at_ms) ||
	    relay_rate_find(u->cli->reader, u->cli->conf, scope, name, &rate) !=
		STATUS_OK)
		return true;
	used = relay_rate_used(&rate, used, at_ms, clock_wall_ms());
	if (used <= 0)
		return true;
	size_t i;
	json_t *row, *found = NULL;
	json_array_foreach(u->rows, i, row)
	{
		if (slice_equal(name, slice_from_cstr(json_string_value(
					  json_object_get(row, "name")))) &&
		    strcmp(json_string_value(json_object_get(row, "scope")),
			relay_rate_scope_text(scope)) == 0)
			found = row;
	}
	if (!found) {
		char text[RELAY_RATE_TEXT_MAX];
		relay_rate_text(&rate, text);
		found = row_make(scope, name, text);
		json_array_append_new(u->rows, found);
	}
	json_object_set_new(found, "used", json_real(used));
	json_object_set_new(
	    found, "wait_ms", json_integer((json_int_t)relay_rate_wait_ms(&rate, used)));
	return true;
}

static void
row_print(const json_t *row)
{
	printf("%-7s %-40s %s", json_string_value(json_object_get(row, "scope")),
	    json_string_value(json_object_get(row, "name")),
	    json_string_value(json_object_get(row, "rate")));
	json_int_t wait_ms = json_integer_value(json_object_get(row, "wait_ms"));
	if (json_object_get(row, "used"))
		printf("  used %.1f", json_real_value(json_object_get(row, "used")));
	if (wait_ms > 0)
		printf(", the next in %lld s", (long long)(wait_ms + 999) / 1000);
	putchar('\n');
}

static int
list(struct cli *cli)
{
	struct used used = {.cli = cli, .rows = json_array()};
	int64_t now_s = clock_wall_s();
	if (cli->conf->relay.rate) {
		struct relay_rate rate = {cli->conf->relay.rate, 60};
		char text[RELAY_RATE_TEXT_MAX];
		relay_rate_text(&rate, text);
		json_t *row = row_make(RELAY_RATE_SITE, SLICE("relay.rate"), text);
		json_array_append_new(used.rows, row);
	}
	enum status status =
	    relay_note_each(cli->reader, RELAY_NOTE_RATE, now_s, rule_add, used.rows);
	if (status == STATUS_OK)
		status =
		    relay_note_each(cli->reader, RELAY_NOTE_USED, now_s, used_add, &used);
	if (status != STATUS_OK) {
		json_decref(used.rows);
		return cli_fail_status(status, "read the rates");
	}
	return cli_rows_show(cli, used.rows, row_print, "no rate is set");
}

/* The second and third argument as the key of a note; 0 or an exit code. */
static int
key_read(struct cli *cli, struct buf *out)
{
	enum relay_rate_scope scope;
	struct slice name = cli_argument(cli, 2);
	struct buf ascii AUTO_BUF;
	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	struct relay_source source;
	const char *why;
	char folded[TENANT_NAME_MAX + 1];
	if (!relay_rate_scope_parse(cli_argument(cli, 1), &scope) ||
	    scope == RELAY_RATE_WARMUP)
		return cli_fail(
		    CLI_USAGE, "a rate is of a site, a sender, a tenant or a source");
	bool any = slice_equal(name, SLICE("*"));
	bool domain = scope == RELAY_RATE_SITE ||
	              (scope == RELAY_RATE_SENDER && slice_index(name, '@') == SIZE_MAX);
	if (!any && domain) {
		if (!address_domain_to_ascii(name, &ascii))
			return cli_fail(CLI_DATA, "%s is no domain", cli->arguments[2]);
		name = buf_slice(&ascii);
	}
	if (!any && scope == RELAY_RATE_SOURCE) {
		if (!relay_source_parse(name, &source, &why) || source.ehlo[0] ||
		    slice_index(name, '*') != SIZE_MAX)
			return cli_fail(CLI_DATA, "%s is no address", cli->arguments[2]);
		name = slice_from_cstr(source.text);
	}
	if (!any && scope == RELAY_RATE_TENANT && !tenant_name_fold(name, folded))
		return cli_fail(CLI_DATA, "%s is no tenant's name", cli->arguments[2]);
	if (!relay_rate_name(scope, name, out))
		return cli_fail(CLI_DATA, "%s is too long", cli->arguments[2]);
	return CLI_OK;
}

int
cmd_relay_rate(struct cli *cli)
{
	struct relay_rate rate;
	char text[RELAY_RATE_TEXT_MAX];
	struct buf key AUTO_BUF;
	buf_init(&key, RELAY_NOTE_NAME_MAX);
	int code = cli_need_store(cli);
	if (code != CLI_OK || cli->argument_count == 0)
		return code != CLI_OK ? code : list(cli);
	bool set = strcmp(cli->arguments[0], "set") == 0;
	bool remove = strcmp(cli->arguments[0], "remove") == 0;
	if ((!set || cli->argument_count != 4) && (!remove || cli->argument_count != 3))
		return cli_fail(CLI_USAGE,
		    "relay rate set site|sender|tenant|source NAME "
		    "COUNT/DURATION, or relay rate "
		    "remove site|sender|tenant|source NAME");
	if ((code = key_read(cli, &key)) != CLI_OK)
		return code;
	if (set && !relay_rate_parse(cli_argument(cli, 3), &rate))
		return cli_fail(CLI_DATA,
		    "a rate is messages in a time from 1s to 31d, such as 100/1h, or "
		    "none");
	if (remove) {
		enum status status =
		    relay_note_remove(cli->reader, RELAY_NOTE_RATE, buf_slice(&key));
		if (status == STATUS_NOT_FOUND)
			return cli_fail(CLI_NO_OBJECT,
			    "%s %s has no rate: postroom relay rate lists them",
			    cli->arguments[1], cli->arguments[2]);
		return status == STATUS_OK ? CLI_OK
		                           : cli_fail_status(status, "remove the rate");
	}
	relay_rate_text(&rate, text);
	struct relay_note note = {
	    .name = buf_slice(&key),
	    .created_s = clock_wall_s(),
	    .text = slice_from_cstr(text),
	};
	enum status status = relay_note_put(cli->reader, RELAY_NOTE_RATE, &note);
	if (status == STATUS_INVALID)
		return cli_fail(
		    CLI_DATA, "%s has blanks or controls in it", cli->arguments[2]);
	return status == STATUS_OK ? CLI_OK : cli_fail_status(status, "set the rate");
}
