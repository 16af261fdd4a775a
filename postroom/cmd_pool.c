/*
 * pool: addresses of this machine that outgoing mail leaves from, and their warm-up.
 * What is set counts from the relay's next connection on.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "service/relay_pool.h"
#include "store/tenant.h"

/* Is the address of this machine, now? */
static bool
is_ours(const struct relay_source *source)
{
	int fd = socket(source->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool ours = bind(fd, (const struct sockaddr *)&source->address, source->len) == 0;
	close(fd);
	return ours;
}

int
cmd_pool_set(struct cli *cli)
{
	struct relay_pool pool;
	struct buf members AUTO_BUF;
	const char *why;
	buf_init(&members, RELAY_NOTE_MORE_MAX);
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	if (!relay_pool_name_is_good(cli_argument(cli, 0)))
		return cli_fail(CLI_DATA,
		    "a pool's name has letters, digits, \"-\", \"_\" and \".\", at most "
		    "64");
	for (size_t i = 1; i < cli->argument_count; i++) {
		buf_append(&members, cli_argument(cli, i));
		buf_append_byte(&members, ' ');
	}
	if (!buf_ok(&members) || !relay_pool_parse(buf_slice(&members), &pool, &why))
		return cli_fail(
		    CLI_DATA, "%s", buf_ok(&members) ? why : "that is too long");
	for (size_t i = 0; i < pool.count; i++)
		if (!is_ours(&pool.sources[i]))
			return cli_fail(CLI_DATA, "%s is no address of this machine",
			    pool.sources[i].text);
	struct relay_note note = {
	    .name = cli_argument(cli, 0),
	    .created_s = clock_wall_s(),
	    .more = buf_slice(&members),
	};
	enum status status = relay_note_put(cli->reader, RELAY_NOTE_POOL, &note);
	return status == STATUS_OK ? CLI_OK : cli_fail_status(status, "set the pool");
}

struct rule_use {
	struct slice name;
	bool used;
};

static bool
rule_uses(const struct directory_relay *relay, void *arg)
{
	struct rule_use *use = arg;
	use->used |= slice_equal_nocase(relay->source, use->name);
	return !use->used;
}

static bool
tenant_uses(const struct tenant *tenant, void *arg)
{
	struct rule_use *use = arg;
	use->used |= slice_equal_nocase(tenant->pool, use->name);
	return !use->used;
}

int
cmd_pool_remove(struct cli *cli)
{
	struct rule_use use = {.name = cli_argument(cli, 0)};
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	enum status status = directory_relay_each(cli->reader, rule_uses, &use);
	if (status == STATUS_OK && use.used)
		return cli_fail(CLI_DATA,
		    "a relay rule sends from %s: postroom relay list shows it",
		    cli->arguments[0]);
	if (status == STATUS_OK)
		status = tenant_each(cli->reader, tenant_uses, &use);
	if (status == STATUS_OK && use.used)
		return cli_fail(CLI_DATA,
		    "a tenant sends from %s: postroom tenant list shows it",
		    cli->arguments[0]);
	if (status == STATUS_OK)
		status = relay_note_remove(cli->reader, RELAY_NOTE_POOL, use.name);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "there is no pool %s: postroom pool list shows them",
		    cli->arguments[0]);
	return status == STATUS_OK ? CLI_OK : cli_fail_status(status, "remove the pool");
}

/* ---- list ---- */

/* What an address may send and has sent of it, as "rate" and "used". */
static void
limit_add(struct cli *cli, enum relay_rate_scope scope, struct slice address, json_t *row)
{
	struct relay_rate rate;
	struct relay_note note;
	struct buf key AUTO_BUF;
	char text[RELAY_RATE_TEXT_MAX];
	double used;
	buf_init(&key, RELAY_NOTE_NAME_MAX);
	bool warms = scope == RELAY_RATE_WARMUP;
	if (warms) {
		if (!relay_rate_name(scope, address, &key) ||
		    relay_note_get(cli->reader, RELAY_NOTE_RATE, buf_slice(&key),
			clock_wall_s(), &note) != STATUS_OK)
			return;
		uint32_t day = relay_warmup_day(note.created_s, clock_wall_s());
		json_object_set_new(row, "warmup_day", json_integer(day));
		json_object_set_new(
		    row, "warmup_limit", json_integer(relay_warmup_limit(day)));
	}
	if (relay_rate_find(cli->reader, cli->conf, scope, address, &rate) != STATUS_OK ||
	    rate.count == 0 ||
	    relay_rate_used_find(
		cli->reader, scope, address, &rate, clock_wall_ms(), &used) != STATUS_OK)
		return;
	relay_rate_text(&rate, text);
	if (!warms)
		json_object_set_new(row, "rate", json_string(text));
	json_object_set_new(row, warms ? "warmup_wait_ms" : "rate_wait_ms",
	    json_integer((json_int_t)relay_rate_wait_ms(&rate, used)));
	if (!warms)
		json_object_set_new(row, "used", json_real(used));
}

struct list {
	struct cli *cli;
	json_t *rows;
};

static bool
pool_add(const struct relay_note *note, void *arg)
{
	struct list *list = arg;
	struct relay_pool pool;
	const char *why;
	json_t *members = json_array();
	if (!relay_pool_parse(note->more, &pool, &why))
		pool.count = 0;
	for (size_t i = 0; i < pool.count; i++) {
		const struct relay_source *s = &pool.sources[i];
		json_t *row = json_object();
		struct slice address = slice_from_cstr(s->text);
		json_object_set_new(row, "address", json_string(s->text));
		json_object_set_new(row, "ehlo",
		    json_string(s->ehlo[0] ? s->ehlo : list->cli->conf->hostname));
		json_object_set_new(row, "weight", json_integer(s->weight));
		json_object_set_new(row, "ours", json_boolean(is_ours(s)));
		limit_add(list->cli, RELAY_RATE_SOURCE, address, row);
		limit_add(list->cli, RELAY_RATE_WARMUP, address, row);
		json_array_append_new(members, row);
	}
	json_array_append_new(list->rows,
	    json_pack("{s:o, s:o}", "pool", json_stringn(note->name.ptr, note->name.len),
		"sources", members));
	return true;
}

static void
source_print(const json_t *s)
{
	const json_t *rate = json_object_get(s, "rate");
	const json_t *day = json_object_get(s, "warmup_day");
	printf("    %-39s EHLO %s, weight %lld",
	    json_string_value(json_object_get(s, "address")),
	    json_string_value(json_object_get(s, "ehlo")),
	    (long long)json_integer_value(json_object_get(s, "weight")));
	if (rate)
		printf(", rate %s used %.1f", json_string_value(rate),
		    json_real_value(json_object_get(s, "used")));
	json_int_t limit = json_integer_value(json_object_get(s, "warmup_limit"));
	if (day && limit)
		printf(", warm-up day %lld: %lld a day",
		    (long long)json_integer_value(day), (long long)limit);
	else if (day)
		printf(", warm");
	puts(json_is_true(json_object_get(s, "ours"))
		 ? ""
		 : ", NOT AN ADDRESS OF THIS MACHINE");
}

int
cmd_pool_list(struct cli *cli)
{
	struct list list = {.cli = cli};
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	list.rows = json_array();
	enum status status = relay_note_each(
	    cli->reader, RELAY_NOTE_POOL, clock_wall_s(), pool_add, &list);
	size_t i, k;
	json_t *row, *source;
	if (status != STATUS_OK) {
		code = cli_fail_status(status, "read the pools");
	} else if (cli->json) {
		json_dumpf(list.rows, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_array_foreach(list.rows, i, row)
		{
			puts(json_string_value(json_object_get(row, "pool")));
			json_array_foreach(json_object_get(row, "sources"), k, source)
			    source_print(source);
		}
		if (json_array_size(list.rows) == 0 && !cli->quiet)
			puts("there is no pool: the machine decides which address mail "
			     "leaves from");
	}
	json_decref(list.rows);
	return code;
}

/* ---- warm-up ---- */

int
cmd_pool_warm(struct cli *cli)
{
	struct relay_source source;
	struct buf key AUTO_BUF;
	const char *why;
	const char *day_text = cli_option(cli, "--day");
	uint64_t day = 1;
	enum { DAY_MAX = 365, DAY_S = 86400 };
	buf_init(&key, RELAY_NOTE_NAME_MAX);
	bool off = cli->argument_count == 2;
	if (off && (strcmp(cli->arguments[1], "off") != 0 || day_text))
		return cli_fail(CLI_USAGE, "pool warm IP, with --day N or off behind it");
	if (day_text && (!slice_to_u64(slice_from_cstr(day_text), DAY_MAX, &day) || !day))
		return cli_fail(CLI_USAGE, "--day wants a number from 1 to 365");
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	if (!relay_source_parse(cli_argument(cli, 0), &source, &why) || source.ehlo[0] ||
	    strchr(cli->arguments[0], '*') ||
	    !relay_rate_name(RELAY_RATE_WARMUP, slice_from_cstr(source.text), &key))
		return cli_fail(CLI_DATA, "%s is no address", cli->arguments[0]);
	struct relay_note note = {
	    .name = buf_slice(&key),
	    .created_s = clock_wall_s() - (int64_t)(day - 1) * DAY_S,
	};
	enum status status =
	    off ? relay_note_remove(cli->reader, RELAY_NOTE_RATE, buf_slice(&key))
		: relay_note_put(cli->reader, RELAY_NOTE_RATE, &note);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT, "%s is not warmed up", cli->arguments[0]);
	if (status != STATUS_OK)
		return cli_fail_status(status, "change the warm-up");
	if (!off && !cli->quiet)
		printf("%s: at most %u messages a day now\n", source.text,
		    relay_warmup_limit((uint32_t)day));
	return CLI_OK;
}
