/*
 * queue pause and resume: mail that stays in the queue until it is resumed, named by any
 * of recipients' domain, tenant, campaign and sender.  Lasts over restarts; mail that
 * comes later is paused too.
 */
#include <jansson.h>

#include "postroom/cli.h"
#include "postroom/queue_select.h"
#include "store/tenant.h"
#include "text/address.h"

static json_t *
pause_json(const struct queue_pause *pause)
{
	const struct {
		const char *name;
		struct slice value;
	} parts[] = {
	    {"site",     pause->site    },
	    {"tenant",   pause->tenant  },
	    {"campaign", pause->campaign},
	    {"sender",   pause->sender  },
	};
	json_t *row = json_object();
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i].value.len)
			json_object_set_new(row, parts[i].name,
			    json_stringn(parts[i].value.ptr, parts[i].value.len));
	return row;
}

/* "site far.test, tenant acme" */
static void
names_print(const json_t *row)
{
	const char *key;
	json_t *value;
	bool first = true;
	json_object_foreach((json_t *)(uintptr_t)row, key, value)
	{
		if (!json_is_string(value))
			continue;
		printf("%s%s %s", first ? "" : ", ", key, json_string_value(value));
		first = false;
	}
}

static void
row_print(const json_t *row)
{
	names_print(row);
	putchar('\n');
}

static bool
row_add(const struct queue_pause *pause, void *rows)
{
	json_array_append_new(rows, pause_json(pause));
	return true;
}

static int
pauses_list(struct cli *cli)
{
	json_t *rows = json_array();
	enum status status = queue_paused_each(cli->reader, row_add, rows);
	if (status != STATUS_OK) {
		json_decref(rows);
		return cli_fail_status(status, "read what is paused");
	}
	return cli_rows_show(cli, rows, row_print, "nothing is paused");
}

/* A tenant that is neither kept nor in the queue is a slip. */
static int
tenant_check(struct cli *cli, struct slice name)
{
	struct tenant tenant;
	struct queue_counts counts = {0};
	enum status status = tenant_get(cli->reader, name, &tenant);
	if (status == STATUS_NOT_FOUND)
		status = queue_tenant_counts(cli->reader, name, SLICE(""), &counts);
	else
		counts.messages = 1;
	if (status != STATUS_OK)
		return cli_fail_status(status, "find tenant %.*s", SLICE_ARG(name));
	if (counts.messages == 0)
		return cli_fail(CLI_NO_OBJECT,
		    "there is no tenant %.*s: postroom tenant list shows all",
		    SLICE_ARG(name));
	return CLI_OK;
}

/* What the command names, without a look into the store; 0 or an exit code. */
static int
pause_read(struct cli *cli, struct buf *domain, struct queue_pause *out)
{
	struct queue_select select;
	int code = queue_select_read(cli, &select);
	if (code != CLI_OK)
		return code;
	if (select.from || select.to || select.before_s || cli_option(cli, "--age"))
		return cli_fail(CLI_USAGE,
		    "what is paused is named by domain, tenant, campaign or sender; to "
		    "keep other mail: postroom queue hold");
	if ((select.site && cli->argument_count) || (select.user && select.sender))
		return cli_fail(CLI_USAGE, "one domain and one sender at a time");
	const char *site = cli->argument_count ? cli->arguments[0] : select.site;
	if (site && !address_domain_to_ascii(slice_from_cstr(site), domain))
		return cli_fail(CLI_DATA, "%s is no domain", site);
	const char *sender = select.user ? select.user : select.sender;
	*out = (struct queue_pause){
	    .tenant = slice_from_cstr(select.tenant ? select.tenant : ""),
	    .campaign = slice_from_cstr(select.campaign ? select.campaign : ""),
	    .sender = slice_from_cstr(sender ? sender : ""),
	    .site = buf_slice(domain),
	};
	if ((select.tenant && !out->tenant.len) ||
	    (select.campaign && !out->campaign.len) || (sender && !out->sender.len))
		return cli_fail(CLI_USAGE, "a name must not be empty");
	return CLI_OK;
}

static int
pause_set(struct cli *cli, bool paused)
{
	struct queue_pause pause;
	struct buf domain AUTO_BUF;
	buf_init(&domain, ADDRESS_DOMAIN_MAX);
	int code = cli_need_store(cli);
	bool named = cli->argument_count || queue_select_given(cli);
	if (code != CLI_OK || (!named && paused))
		return code != CLI_OK ? code : pauses_list(cli);
	if (!named)
		return cli_fail(CLI_USAGE,
		    "say what to resume: postroom queue pause lists what is paused");
	code = pause_read(cli, &domain, &pause);
	if (code == CLI_OK && paused && pause.tenant.len)
		code = tenant_check(cli, pause.tenant);
	if (code != CLI_OK)
		return code;
	enum status status = queue_pause_set(cli->reader, &pause, paused);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "that is not paused: postroom queue pause lists what is");
	if (status == STATUS_INVALID)
		return cli_fail(CLI_DATA, "a name is too long or has blanks in it");
	if (status != STATUS_OK)
		return cli_fail_status(status, "%s", paused ? "pause" : "resume");
	json_t *row = pause_json(&pause);
	if (cli->json) {
		json_object_set_new(row, "paused", json_boolean(paused));
		cli_json_print(row);
	} else if (!cli->quiet) {
		printf("mail of ");
		names_print(row);
		puts(paused ? " stays in the queue until it is resumed"
			    : " is tried again");
	}
	json_decref(row);
	return CLI_OK;
}

int
cmd_queue_pause(struct cli *cli)
{
	return pause_set(cli, true);
}

int
cmd_queue_resume(struct cli *cli)
{
	return pause_set(cli, false);
}
