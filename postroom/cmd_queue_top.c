/*
 * queue top: what waits, by the recipients' domains: how many, how old, the last reply,
 * the next attempt; the longest line first.  queue pause and resume: which domains' mail
 * is not tried.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "service/relay_rate.h"
#include "store/queue.h"
#include "text/address.h"

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

struct top {
	struct cli *cli;
	int64_t now_s;
	json_t *sites; /* by domain */
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
		json_object_set_new(site, "site", json_string(name));
		json_t *histogram = json_object();
		for (int i = 0; i < AGE_COUNT; i++)
			json_object_set_new(histogram, ages[i].name, json_integer(0));
		json_object_set_new(site, "ages", histogram);
		json_object_set_new(top->sites, name, site);
	}
	free(name);
	return site;
}

static bool
recipient_count(const struct queue_recipient *recipient, void *arg)
{
	struct top *top = arg;
	size_t at = slice_rindex(recipient->address, '@');
	json_t *site =
	    site_of(top, slice_from(recipient->address, at == SIZE_MAX ? 0 : at + 1));
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
	printf("%-30s %swaiting %lld held %lld",
	    json_string_value(json_object_get(row, "site")),
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

static bool
paused_mark(const struct queue_pause *pause, void *arg)
{
	bool whole = !pause->tenant.len && !pause->campaign.len && !pause->sender.len;
	if (whole)
		json_object_set_new(site_of(arg, pause->site), "paused", json_true());
	return true;
}

/* The rate of each site that has one. */
static enum status
rates_mark(struct top *top)
{
	const char *name;
	json_t *site;
	int64_t now_ms = clock_wall_ms();
	json_object_foreach(top->sites, name, site)
	{
		struct relay_rate rate;
		char text[RELAY_RATE_TEXT_MAX];
		double used = 0;
		struct slice domain = slice_from_cstr(name);
		enum status status = relay_rate_find(
		    top->cli->reader, top->cli->conf, RELAY_RATE_SITE, domain, &rate);
		if (status == STATUS_OK && rate.count == 0)
			continue;
		if (status == STATUS_OK)
			status = relay_rate_used_find(top->cli->reader, RELAY_RATE_SITE,
			    domain, &rate, now_ms, &used);
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

int
cmd_queue_top(struct cli *cli)
{
	struct top top = {.cli = cli, .now_s = clock_wall_s()};
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	top.sites = json_object();
	enum status status =
	    queue_message_each(cli->reader, SLICE_NULL, message_count, &top);
	if (status == STATUS_OK)
		status = top.status;
	if (status == STATUS_OK)
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

static int
pause_set(struct cli *cli, bool paused)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct buf domain AUTO_BUF;
	buf_init(&domain, ADDRESS_DOMAIN_MAX);
	if (!address_domain_to_ascii(cli_argument(cli, 0), &domain))
		return cli_fail(CLI_DATA, "%s is no domain", cli->arguments[0]);
	enum status status = queue_pause_set(
	    cli->reader, &(struct queue_pause){.site = buf_slice(&domain)}, paused);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "%s is not paused: postroom queue top tells what is",
		    cli->arguments[0]);
	if (status != STATUS_OK)
		return cli_fail_status(
		    status, "%s %s", paused ? "pause" : "resume", cli->arguments[0]);
	if (!cli->quiet)
		printf("mail to %s %s\n", cli->arguments[0],
		    paused ? "stays in the queue until it is resumed" : "is tried again");
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
