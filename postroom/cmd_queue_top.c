/*
 * queue top: what waits, by the recipients' domains, or by sender, tenant or campaign:
 * how many, how old, the last reply, the next attempt; the longest line first.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "postroom/queue_select.h"
#include "service/relay_rate.h"
#include "store/tenant.h"

enum { AGE_COUNT = 4 };

static const struct {
	const char *name;
	int64_t below_s;
} ages[AGE_COUNT] = {
    {"5m",    300      },
    {"1h",    3600     },
    {"1d",    86400    },
    {"older", INT64_MAX},
};

enum top_by { BY_SITE, BY_SENDER, BY_TENANT, BY_CAMPAIGN, BY_COUNT };
static const char *const by_names[BY_COUNT] = {"site", "sender", "tenant", "campaign"};

struct top {
	struct cli *cli;
	struct queue_select select;
	enum top_by by;
	int64_t now_s;
	json_t *sites; /* rows by name: of domains or what else `by` says */
	const struct queue_message *message;
	enum status status; /* of the recipients' walk */
};

static void
add(json_t *object, const char *key, json_int_t value)
{
	json_object_set_new(object, key,
	    json_integer(json_integer_value(json_object_get(object, key)) + value));
}

static json_t *
site_of(struct top *top, struct slice domain)
{
	char *name = slice_to_cstr(domain);
	for (char *c = name; *c; c++)
		*c = ascii_lower(*c);
	json_t *site = json_object_get(top->sites, name);
	if (!site) {
		site = json_object();
		json_object_set_new(site, by_names[top->by], json_string(name));
		json_t *histogram = json_object();
		for (int i = 0; i < AGE_COUNT; i++)
			json_object_set_new(histogram, ages[i].name, json_integer(0));
		json_object_set_new(site, "ages", histogram);
		json_object_set_new(top->sites, name, site);
	}
	free(name);
	return site;
}

/* A campaign's name stands behind its tenant's: "acme/spring". */
static json_t *
campaign_of(struct top *top, struct slice tenant, struct slice campaign)
{
	char name[2 * TENANT_NAME_MAX + 2];
	snprintf(name, sizeof(name), "%.*s/%.*s", SLICE_ARG(tenant), SLICE_ARG(campaign));
	return site_of(top, slice_from_cstr(campaign.len ? name : ""));
}

static json_t *
row_of(struct top *top, const struct queue_recipient *recipient)
{
	size_t at = slice_rindex(recipient->address, '@');
	switch (top->by) {
	case BY_SENDER:
		return site_of(top, queue_sender_name(top->message));
	case BY_TENANT:
		return site_of(top, top->message->tenant);
	case BY_CAMPAIGN:
		return campaign_of(top, top->message->tenant, top->message->campaign);
	case BY_SITE:
	case BY_COUNT:
		break;
	}
	return site_of(top, slice_from(recipient->address, at == SIZE_MAX ? 0 : at + 1));
}

static bool
recipient_count(const struct queue_recipient *recipient, void *arg)
{
	struct top *top = arg;
	if (!queue_select_address(&top->select, recipient->address))
		return true;
	json_t *site = row_of(top, recipient);
	int64_t created_s = top->message->created_s;
	add(site, recipient->state == QUEUE_HELD ? "held" : "waiting", 1);
	json_int_t oldest = json_integer_value(json_object_get(site, "oldest"));
	if (oldest == 0 || created_s < oldest)
		json_object_set_new(site, "oldest", json_integer(created_s));
	int age = 0;
	while (top->now_s - created_s >= ages[age].below_s)
		age++;
	add(json_object_get(site, "ages"), ages[age].name, 1);
	json_int_t next = json_integer_value(json_object_get(site, "next_try"));
	if (recipient->state == QUEUE_WAITING && (next == 0 || recipient->due_s < next))
		json_object_set_new(site, "next_try", json_integer(recipient->due_s));
	if (recipient->last_reply.len &&
	    recipient->last_try_s >=
		json_integer_value(json_object_get(site, "last_try"))) {
		json_object_set_new(
		    site, "last_try", json_integer(recipient->last_try_s));
		json_object_set_new(site, "last_reply",
		    json_stringn(recipient->last_reply.ptr, recipient->last_reply.len));
	}
	return true;
}

static bool
message_count(const struct queue_message *message, void *arg)
{
	struct top *top = arg;
	if (!queue_select_message(&top->select, message))
		return true;
	top->message = message;
	top->status = queue_recipient_each(
	    top->cli->reader, slice_from_cstr(message->id), recipient_count, top);
	return top->status == STATUS_OK;
}

static json_int_t
row_total(const json_t *row)
{
	return json_integer_value(json_object_get(row, "waiting")) +
	       json_integer_value(json_object_get(row, "held"));
}

static int
row_compare(const void *a, const void *b)
{
	json_int_t ta = row_total(*(json_t *const *)a);
	json_int_t tb = row_total(*(json_t *const *)b);
	return (ta < tb) - (ta > tb);
}

/* The sites as an array, the longest line first. */
static json_t *
rows_sorted(json_t *sites)
{
	size_t count = 0;
	const char *key;
	json_t *site;
	json_t **rows = calloc(json_object_size(sites) + 1, sizeof(json_t *));
	json_t *out = json_array();
	json_object_foreach(sites, key, site)
	{
		if (rows)
			rows[count++] = site;
	}
	if (rows)
		qsort(rows, count, sizeof(*rows), row_compare);
	for (size_t i = 0; i < count; i++)
		json_array_append(out, rows[i]);
	free(rows);
	return out;
}

static void
row_print(const struct top *top, const json_t *row)
{
	const json_t *histogram = json_object_get(row, "ages");
	const char *reply = json_string_value(json_object_get(row, "last_reply"));
	int64_t oldest = json_integer_value(json_object_get(row, "oldest"));
	int64_t next = json_integer_value(json_object_get(row, "next_try"));
	const char *name = json_string_value(json_object_get(row, by_names[top->by]));
	printf("%-30s %swaiting %lld held %lld", name[0] ? name : "-",
	    json_object_get(row, "paused") ? "paused  " : "",
	    (long long)json_integer_value(json_object_get(row, "waiting")),
	    (long long)json_integer_value(json_object_get(row, "held")));
	if (oldest > 0)
		printf("  oldest %lld s", (long long)(top->now_s - oldest));
	if (next > 0)
		printf("  next in %lld s",
		    (long long)(next > top->now_s ? next - top->now_s : 0));
	printf("\n    by age:");
	for (int i = 0; i < AGE_COUNT; i++)
		printf(" %s%s %lld", i + 1 < AGE_COUNT ? "<" : "", ages[i].name,
		    (long long)json_integer_value(
			json_object_get(histogram, ages[i].name)));
	putchar('\n');
	if (reply)
		printf("    %s\n", reply);
	if (json_object_get(row, "rate"))
		printf("    rate %s, used %.1f, the next in %lld s\n",
		    json_string_value(json_object_get(row, "rate")),
		    json_real_value(json_object_get(row, "rate_used")),
		    (long long)(json_integer_value(json_object_get(row, "rate_wait_ms")) +
				999) /
			1000);
}

/* What is paused as a row's whole. */
static bool
paused_mark(const struct queue_pause *pause, void *arg)
{
	struct top *top = arg;
	const struct slice names[BY_COUNT] = {
	    pause->site, pause->sender, pause->tenant, pause->campaign};
	json_t *row = NULL;
	for (int i = 0; i < BY_COUNT; i++)
		if (names[i].len && i != (int)top->by &&
		    !(top->by == BY_CAMPAIGN && i == BY_TENANT))
			return true;
	if (names[top->by].len == 0)
		return true;
	if (top->by != BY_CAMPAIGN)
		row = site_of(top, names[top->by]);
	else if (pause->tenant.len)
		row = campaign_of(top, pause->tenant, pause->campaign);
	if (row)
		json_object_set_new(row, "paused", json_true());
	const char *name;
	json_t *each;
	/* One without a tenant: of every tenant's. */
	json_object_foreach(top->sites, name, each)
	{
		const char *slash = strchr(name, '/');
		if (!row && slash &&
		    slice_equal_nocase(slice_from_cstr(slash + 1), pause->campaign))
			json_object_set_new(each, "paused", json_true());
	}
	return true;
}

/* The rate of each row that has one. */
static enum status
rates_mark(struct top *top)
{
	static const enum relay_rate_scope scopes[BY_CAMPAIGN] = {
	    RELAY_RATE_SITE, RELAY_RATE_SENDER, RELAY_RATE_TENANT};
	const char *name;
	json_t *site;
	int64_t now_ms = clock_wall_ms();
	if (top->by == BY_CAMPAIGN)
		return STATUS_OK;
	enum relay_rate_scope scope = scopes[top->by];
	json_object_foreach(top->sites, name, site)
	{
		struct relay_rate rate;
		char text[RELAY_RATE_TEXT_MAX];
		double used = 0;
		struct slice key = slice_from_cstr(name);
		enum status status =
		    relay_rate_find(top->cli->reader, top->cli->conf, scope, key, &rate);
		if (name[0] == '\0' || (status == STATUS_OK && rate.count == 0))
			continue;
		if (status == STATUS_OK)
			status = relay_rate_used_find(
			    top->cli->reader, scope, key, &rate, now_ms, &used);
		if (status != STATUS_OK)
			return status;
		relay_rate_text(&rate, text);
		json_object_set_new(site, "rate", json_string(text));
		json_object_set_new(site, "rate_used", json_real(used));
		json_object_set_new(site, "rate_wait_ms",
		    json_integer((json_int_t)relay_rate_wait_ms(&rate, used)));
	}
	return STATUS_OK;
}

/* 0 or an exit code. */
static int
by_read(struct cli *cli, enum top_by *out)
{
	const char *by = cli_option(cli, "--by");
	*out = BY_SITE;
	for (int i = 0; by && i < BY_COUNT; i++) {
		if (strcmp(by, by_names[i]) == 0) {
			*out = (enum top_by)i;
			return CLI_OK;
		}
	}
	return by ? cli_fail(CLI_USAGE, "--by wants site, sender, tenant or campaign")
	          : CLI_OK;
}

int
cmd_queue_top(struct cli *cli)
{
	struct top top = {.cli = cli, .now_s = clock_wall_s()};
	int code = queue_select_read(cli, &top.select);
	if (code == CLI_OK)
		code = by_read(cli, &top.by);
	if (code == CLI_OK)
		code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	top.sites = json_object();
	enum status status =
	    queue_message_each(cli->reader, SLICE_NULL, message_count, &top);
	if (status == STATUS_OK)
		status = top.status;
	/* With selectors only what they pick. */
	if (status == STATUS_OK && !queue_select_given(cli))
		status = queue_paused_each(cli->reader, paused_mark, &top);
	if (status == STATUS_OK)
		status = rates_mark(&top);
	json_t *rows = rows_sorted(top.sites);
	if (status != STATUS_OK) {
		code = cli_fail_status(status, "read the queue");
	} else if (cli->json) {
		cli_json_print(rows);
	} else {
		size_t i;
		json_t *row;
		json_array_foreach(rows, i, row) row_print(&top, row);
		if (json_array_size(rows) == 0 && !cli->quiet)
			printf("the queue is empty\n");
	}
	json_decref(rows);
	json_decref(top.sites);
	return code;
}
