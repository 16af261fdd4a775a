/*
 * tenant: groups of accounts and domains that send in bulk, with limits, a pool of source
 * addresses and a DKIM domain of their own (decision 0120).  What is set counts for the
 * next message, the rate from the relay's next pass on.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "postroom/cli.h"
#include "service/relay_pool.h"
#include "store/queue.h"
#include "store/tenant.h"
#include "text/address.h"

enum { MEMBER_ARENA_MAX = 64 * 1024, MAX_QUEUED_MAX = 1000000000 /* messages */ };

static int
not_there(struct slice name)
{
	return cli_fail(CLI_NO_OBJECT,
	    "there is no tenant %.*s: postroom tenant list shows all", SLICE_ARG(name));
}

/* ---- add and set ---- */

/* What the options say, with the room that it points into. */
struct wanted {
	struct tenant_change change;
	struct arena *arena;
	struct slice add[CLI_OPTIONS_MAX], remove[CLI_OPTIONS_MAX];
	bool has_rate;
	struct relay_rate rate;
};

/* A member as it is kept; 0 or an exit code. */
static int
member_read(struct cli *cli, struct wanted *w, const char *option, const char *value,
    struct slice *out)
{
	struct buf ascii AUTO_BUF;
	struct directory_account account;
	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	if (strstr(option, "domain")) {
		if (!address_domain_to_ascii(slice_from_cstr(value), &ascii))
			return cli_fail(CLI_DATA, "%s is no domain", value);
		*out = arena_copy(w->arena, buf_slice(&ascii));
		return CLI_OK;
	}
	*out = slice_from_cstr(value);
	/* One that has gone may still be taken out. */
	if (strcmp(option, "--no-account") == 0)
		return CLI_OK;
	enum status status = directory_account_find(cli->reader, *out, &account);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "there is no account %s: postroom account list shows all", value);
	if (status != STATUS_OK)
		return cli_fail_status(status, "find account %s", value);
	*out = arena_copy(w->arena, account.login);
	return CLI_OK;
}

static int
members_read(struct cli *cli, struct wanted *w)
{
	struct tenant_change *change = &w->change;
	for (size_t i = 0; i < cli->option_count; i++) {
		const struct cli_option *o = &cli->options[i];
		bool adds =
		    strcmp(o->name, "--domain") == 0 || strcmp(o->name, "--account") == 0;
		bool removes = strcmp(o->name, "--no-domain") == 0 ||
		               strcmp(o->name, "--no-account") == 0;
		if (!adds && !removes)
			continue;
		struct slice *at = adds ? &w->add[change->add_count++]
		                        : &w->remove[change->remove_count++];
		int code = member_read(cli, w, o->name, o->value, at);
		if (code != CLI_OK)
			return code;
	}
	change->add = w->add;
	change->remove = w->remove;
	return CLI_OK;
}

static bool
is_none(const char *text)
{
	return strcmp(text, "none") == 0;
}

static int
pool_read(struct cli *cli, struct wanted *w)
{
	struct relay_pool pool;
	const char *text = cli_option(cli, "--pool");
	if (!text)
		return CLI_OK;
	struct slice name = is_none(text) ? SLICE("") : slice_from_cstr(text);
	enum status status =
	    name.len ? relay_pool_find(cli->reader, name, SLICE_NULL, &pool) : STATUS_OK;
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "there is no pool %s: postroom pool list shows them", text);
	if (status != STATUS_OK)
		return cli_fail_status(status, "find pool %s", text);
	w->change.to.pool = name;
	w->change.fields |= TENANT_SET_POOL;
	return CLI_OK;
}

static int
settings_read(struct cli *cli, struct wanted *w)
{
	const char *rate = cli_option(cli, "--rate");
	const char *max = cli_option(cli, "--max-queued");
	const char *dkim = cli_option(cli, "--dkim-domain");
	struct buf ascii AUTO_BUF;
	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	w->has_rate = rate != NULL;
	if (rate && !relay_rate_parse(slice_from_cstr(rate), &w->rate))
		return cli_fail(CLI_DATA,
		    "a rate is messages in a time from 1s to 31d, such as 100/1h, or "
		    "none");
	if (max && !is_none(max) &&
	    (!slice_to_u64(
		 slice_from_cstr(max), MAX_QUEUED_MAX, &w->change.to.max_queued) ||
		w->change.to.max_queued == 0))
		return cli_fail(
		    CLI_DATA, "--max-queued wants messages, 1 to 1000000000, or none");
	w->change.fields |= max ? TENANT_SET_MAX_QUEUED : 0;
	if (dkim && !is_none(dkim)) {
		if (!address_domain_to_ascii(slice_from_cstr(dkim), &ascii))
			return cli_fail(CLI_DATA, "%s is no domain", dkim);
		w->change.to.dkim_domain = arena_copy(w->arena, buf_slice(&ascii));
	}
	w->change.fields |= dkim ? TENANT_SET_DKIM_DOMAIN : 0;
	return pool_read(cli, w);
}

/* Rates are kept where all are (decision 0095). */
static enum status
rate_set(struct cli *cli, const struct wanted *w)
{
	char text[RELAY_RATE_TEXT_MAX];
	struct buf key AUTO_BUF;
	buf_init(&key, RELAY_NOTE_NAME_MAX);
	if (!w->has_rate)
		return STATUS_OK;
	if (!relay_rate_name(RELAY_RATE_TENANT, w->change.to.name, &key))
		return STATUS_INVALID;
	relay_rate_text(&w->rate, text);
	struct relay_note note = {
	    .name = buf_slice(&key),
	    .created_s = clock_wall_s(),
	    .text = slice_from_cstr(text),
	};
	return relay_note_put(cli->reader, RELAY_NOTE_RATE, &note);
}

static int
change_run(struct cli *cli, struct wanted *w)
{
	struct slice name = cli_argument(cli, 0);
	char folded[TENANT_NAME_MAX + 1];
	if (!tenant_name_fold(name, folded))
		return cli_fail(CLI_DATA, "a tenant's name has 1 to 64 letters, digits, "
					  "\"-\", \"_\" and \".\", "
					  "a letter or digit first");
	w->change.to.name = name;
	w->change.to.created_s = clock_wall_s();
	int code = members_read(cli, w);
	if (code == CLI_OK)
		code = settings_read(cli, w);
	if (code != CLI_OK)
		return code;
	enum status status = tenant_change(cli->reader, &w->change);
	struct slice at = w->change.at;
	if (status == STATUS_EXISTS && !at.ptr)
		return cli_fail(CLI_CANNOT_CREATE,
		    "there is a tenant %s: postroom tenant set changes it", folded);
	if (status == STATUS_EXISTS)
		return cli_fail(CLI_DATA,
		    "%.*s is another tenant's: postroom tenant list tells whose",
		    SLICE_ARG(at));
	if (status == STATUS_NOT_FOUND && at.ptr)
		return cli_fail(
		    CLI_NO_OBJECT, "%.*s is not of tenant %s", SLICE_ARG(at), folded);
	if (status == STATUS_NOT_FOUND)
		return not_there(name);
	if (status == STATUS_INVALID)
		return cli_fail(CLI_DATA,
		    "%.*s cannot be a member: it is too long or "
		    "has blanks in it",
		    SLICE_ARG(at));
	if (status == STATUS_OK)
		status = rate_set(cli, w);
	return status == STATUS_OK ? CLI_OK
	                           : cli_fail_status(status, "change tenant %s", folded);
}

static int
change(struct cli *cli, bool create)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct wanted *w = xcalloc(1, sizeof(*w));
	w->arena = arena_new(MEMBER_ARENA_MAX);
	w->change.create = create;
	code = change_run(cli, w);
	arena_free(&w->arena);
	free(w);
	return code;
}

int
cmd_tenant_add(struct cli *cli)
{
	return change(cli, true);
}

int
cmd_tenant_set(struct cli *cli)
{
	if (cli->option_count == 0)
		return cli_fail(CLI_USAGE, "say what to set: postroom help tenant set");
	return change(cli, false);
}

int
cmd_tenant_remove(struct cli *cli)
{
	struct buf key AUTO_BUF;
	buf_init(&key, RELAY_NOTE_NAME_MAX);
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct slice name = cli_argument(cli, 0);
	enum status status = tenant_remove(cli->reader, name);
	if (status == STATUS_NOT_FOUND)
		return not_there(name);
	if (status == STATUS_OK && relay_rate_name(RELAY_RATE_TENANT, name, &key)) {
		status = relay_note_remove(cli->reader, RELAY_NOTE_RATE, buf_slice(&key));
		if (status == STATUS_NOT_FOUND)
			status = STATUS_OK;
	}
	return status == STATUS_OK ? CLI_OK
	                           : cli_fail_status(status, "remove the tenant");
}

/* ---- list and show ---- */

static json_t *
json_slice(struct slice s)
{
	return json_stringn(s.ptr ? s.ptr : "", s.len);
}

static void
counts_add(json_t *row, const struct queue_counts *counts)
{
	json_object_set_new(row, "messages", json_integer((json_int_t)counts->messages));
	json_object_set_new(
	    row, "recipients", json_integer((json_int_t)counts->recipients));
	json_object_set_new(row, "held", json_integer((json_int_t)counts->held));
}

struct look {
	struct cli *cli;
	json_t *rows; /* by name */
	enum status status;
};

static json_t *
row_get(struct look *look, struct slice tenant)
{
	char name[TENANT_NAME_MAX + 1] = "";
	(void)slice_copy_cstr(tenant, name, sizeof(name));
	return json_object_get(look->rows, name);
}

static bool
tenant_add(const struct tenant *tenant, void *arg)
{
	struct look *look = arg;
	struct store_reader *reader = look->cli->reader;
	struct queue_counts counts = {0};
	struct queue_pause pause = {.tenant = tenant->name};
	struct relay_rate rate;
	char text[RELAY_RATE_TEXT_MAX];
	bool paused = false;
	double used = 0;
	enum status status =
	    queue_tenant_counts(reader, tenant->name, SLICE(""), &counts);
	if (status == STATUS_OK)
		status = queue_is_paused(reader, &pause, &paused);
	if (status == STATUS_OK)
		status = relay_rate_find(
		    reader, look->cli->conf, RELAY_RATE_TENANT, tenant->name, &rate);
	if (status == STATUS_OK)
		status = relay_rate_used_find(reader, RELAY_RATE_TENANT, tenant->name,
		    &rate, clock_wall_ms(), &used);
	look->status = status;
	if (status != STATUS_OK)
		return false;
	relay_rate_text(&rate, text);
	json_t *row = json_object();
	json_object_set_new(row, "tenant", json_slice(tenant->name));
	json_object_set_new(row, "created", json_integer(tenant->created_s));
	json_object_set_new(row, "rate", json_string(text));
	json_object_set_new(row, "rate_used", json_real(used));
	json_object_set_new(
	    row, "max_queued", json_integer((json_int_t)tenant->max_queued));
	json_object_set_new(row, "pool", json_slice(tenant->pool));
	json_object_set_new(row, "dkim_domain", json_slice(tenant->dkim_domain));
	json_object_set_new(row, "paused", json_boolean(paused));
	counts_add(row, &counts);
	json_object_set_new(row, "domains", json_array());
	json_object_set_new(row, "accounts", json_array());
	json_object_set_new(row, "campaigns", json_array());
	char name[TENANT_NAME_MAX + 1] = "";
	(void)slice_copy_cstr(tenant->name, name, sizeof(name));
	json_object_set_new(look->rows, name, row);
	return true;
}

static bool
member_add(struct slice member, struct slice tenant, void *arg)
{
	struct look *look = arg;
	json_t *row = row_get(look, tenant);
	bool account = slice_index(member, '@') != SIZE_MAX;
	json_array_append_new(
	    json_object_get(row, account ? "accounts" : "domains"), json_slice(member));
	return true;
}

static bool
campaign_add(struct slice tenant, struct slice campaign,
    const struct queue_counts *counts, void *arg)
{
	struct look *look = arg;
	struct queue_pause pause = {.tenant = tenant, .campaign = campaign};
	json_t *row = row_get(look, tenant);
	bool paused = false;
	if (!row || campaign.len == 0)
		return true;
	look->status = queue_is_paused(look->cli->reader, &pause, &paused);
	json_t *one = json_object();
	json_object_set_new(one, "campaign", json_slice(campaign));
	counts_add(one, counts);
	json_object_set_new(one, "paused", json_boolean(paused));
	json_array_append_new(json_object_get(row, "campaigns"), one);
	return look->status == STATUS_OK;
}

static enum status
look_all(struct look *look)
{
	struct store_reader *reader = look->cli->reader;
	enum status status = tenant_each(reader, tenant_add, look);
	if (status == STATUS_OK && look->status == STATUS_OK)
		status = tenant_member_each(reader, member_add, look);
	if (status == STATUS_OK && look->status == STATUS_OK)
		status = queue_tenant_counts_each(reader, campaign_add, look);
	return status == STATUS_OK ? look->status : status;
}

static const char *
text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));
	return text && text[0] ? text : "-";
}

static json_int_t
number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static void
list_print(const json_t *row)
{
	json_int_t max = number_of(row, "max_queued");
	printf("%-24s %squeued %lld", text_of(row, "tenant"),
	    json_is_true(json_object_get(row, "paused")) ? "paused  " : "",
	    (long long)number_of(row, "messages"));
	if (max)
		printf(" of %lld", (long long)max);
	printf("  held %lld  rate %s  pool %s  DKIM %s\n",
	    (long long)number_of(row, "held"), text_of(row, "rate"), text_of(row, "pool"),
	    text_of(row, "dkim_domain"));
}

static void
show_print(const json_t *row)
{
	static const char *const lists[] = {"domains", "accounts"};
	list_print(row);
	size_t i;
	json_t *one;
	for (size_t n = 0; n < sizeof(lists) / sizeof(lists[0]); n++) {
		json_array_foreach(json_object_get(row, lists[n]), i, one) printf(
		    "    %s %s\n", n ? "account" : "domain ", json_string_value(one));
	}
	json_array_foreach(json_object_get(row, "campaigns"), i, one) printf(
	    "    campaign %s: %lld messages, %lld recipients, %lld held%s\n",
	    text_of(one, "campaign"), (long long)number_of(one, "messages"),
	    (long long)number_of(one, "recipients"), (long long)number_of(one, "held"),
	    json_is_true(json_object_get(one, "paused")) ? ", paused" : "");
}

static int
rows_read(struct cli *cli, json_t **out)
{
	struct look look = {.cli = cli};
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	look.rows = json_object();
	enum status status = look_all(&look);
	if (status != STATUS_OK) {
		json_decref(look.rows);
		return cli_fail_status(status, "read the tenants");
	}
	*out = look.rows;
	return CLI_OK;
}

int
cmd_tenant_list(struct cli *cli)
{
	json_t *by_name = NULL;
	json_t *row;
	const char *name;
	int code = rows_read(cli, &by_name);
	if (code != CLI_OK)
		return code;
	json_t *rows = json_array();
	json_object_foreach(by_name, name, row) json_array_append(rows, row);
	json_decref(by_name);
	return cli_rows_show(cli, rows, list_print, "there is no tenant");
}

int
cmd_tenant_show(struct cli *cli)
{
	json_t *by_name = NULL;
	char folded[TENANT_NAME_MAX + 1] = "";
	int code = rows_read(cli, &by_name);
	if (code != CLI_OK)
		return code;
	(void)tenant_name_fold(cli_argument(cli, 0), folded);
	json_t *row = json_object_get(by_name, folded);
	if (!row) {
		json_decref(by_name);
		return not_there(cli_argument(cli, 0));
	}
	if (cli->json)
		cli_json_print(row);
	else
		show_print(row);
	json_decref(by_name);
	return CLI_OK;
}
