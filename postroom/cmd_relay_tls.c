/*
 * relay tls: the level of protection of mail to a domain, set by the operator for a while
 * or for good, instead of what DANE and MTA-STS say.  It counts from the next look-up of
 * the domain's hosts on (a minute to an hour).  With --report: the TLS reports that the
 * domain gets if it asks for them (RFC 8460).
 */
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "postroom/cli.h"
#include "service/tls_results.h"
#include "store/relay_note.h"
#include "text/address.h"

static json_t *
note_json(const struct relay_note *note)
{
	json_t *row = json_object();
	json_object_set_new(row, "domain", json_stringn(note->name.ptr, note->name.len));
	json_object_set_new(row, "level",
	    json_string(note->kind <= RELAY_LEVEL_DANE
			    ? relay_level_text((enum relay_level)note->kind)
			    : "unknown"));
	json_object_set_new(row, "expires", json_integer(note->expires_s));
	return row;
}

static bool
list_one(const struct relay_note *note, void *arg)
{
	json_array_append_new(arg, note_json(note));
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
		strftime(until, sizeof(until), "until %Y-%m-%d %H:%M:%S", &tm);
	}
	printf("%-30s %-14s %s\n", json_string_value(json_object_get(row, "domain")),
	    json_string_value(json_object_get(row, "level")), until);
}

static int
list(struct cli *cli, struct slice domain)
{
	json_t *rows = json_array();
	struct relay_note note;
	enum status status = domain.ptr ? relay_note_get(cli->reader, RELAY_NOTE_TLS,
					      domain, clock_wall_s(), &note)
	                                : relay_note_each(cli->reader, RELAY_NOTE_TLS,
					      clock_wall_s(), list_one, rows);
	if (domain.ptr && status == STATUS_OK)
		json_array_append_new(rows, note_json(&note));
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		json_decref(rows);
		return cli_fail_status(status, "read the TLS levels");
	}
	return cli_rows_show(
	    cli, rows, row_print, "no level is set: DANE and MTA-STS decide");
}

static bool
level_parse(const char *text, enum relay_level *out)
{
	for (int level = RELAY_LEVEL_NONE; level <= RELAY_LEVEL_VERIFY; level++) {
		if (strcmp(text, relay_level_text((enum relay_level)level)) == 0) {
			*out = (enum relay_level)level;
			return true;
		}
	}
	return false;
}

static int
set(struct cli *cli, struct slice domain, const char *text)
{
	const char *lasts = cli_option(cli, "--for");
	enum relay_level level;
	uint64_t lasts_ms = 0;
	if (strcmp(text, "default") == 0) {
		enum status status =
		    relay_note_remove(cli->reader, RELAY_NOTE_TLS, domain);
		if (status == STATUS_NOT_FOUND)
			return cli_fail(
			    CLI_NO_OBJECT, "no level is set for %.*s", SLICE_ARG(domain));
		return status == STATUS_OK ? CLI_OK
		                           : cli_fail_status(status, "remove the level");
	}
	if (!level_parse(text, &level))
		return cli_fail(CLI_USAGE,
		    "the level is one of none, opportunistic, encrypt, verify, default");
	if (lasts && (!conf_parse_duration_ms(slice_from_cstr(lasts), &lasts_ms) ||
			 lasts_ms < 1000))
		return cli_fail(CLI_USAGE, "--for wants a duration such as 12h or 7d");
	int64_t now = clock_wall_s();
	struct relay_note note = {
	    .name = domain,
	    .kind = (uint8_t)level,
	    .created_s = now,
	    .expires_s = lasts ? now + (int64_t)(lasts_ms / 1000) : 0,
	};
	enum status status = relay_note_put(cli->reader, RELAY_NOTE_TLS, &note);
	return status == STATUS_OK ? CLI_OK : cli_fail_status(status, "set the level");
}

struct report_view {
	const struct conf *conf;
	struct slice domain;
	json_t *reports;
};

static bool
report_one(const struct relay_note *note, void *arg)
{
	struct report_view *view = arg;
	int64_t start;
	struct slice domain;
	char contact[300];
	if (!tls_results_name_parse(note->name, &start, &domain) ||
	    !slice_equal(domain, view->domain))
		return true;
	json_t *policies = json_loadb(note->more.ptr, note->more.len, 0, NULL);
	snprintf(contact, sizeof(contact), "postmaster@%s", view->conf->hostname);
	if (policies)
		json_array_append_new(view->reports,
		    tls_results_report(view->conf->hostname, contact, "not sent yet",
			start, start + (int64_t)view->conf->relay.tls_report_period_s - 1,
			policies));
	json_decref(policies);
	return true;
}

/* What would be told to the domain, one report for each period that was not told yet. */
static int
report_show(struct cli *cli, struct slice domain)
{
	struct report_view view = {
	    .conf = cli->conf, .domain = domain, .reports = json_array()};
	enum status status = relay_note_each(
	    cli->reader, RELAY_NOTE_TLSRPT, clock_wall_s(), report_one, &view);
	bool found = json_array_size(view.reports) > 0;
	if (status == STATUS_OK && found)
		cli_json_print(view.reports);
	json_decref(view.reports);
	if (status != STATUS_OK)
		return cli_fail_status(status, "read the results of TLS");
	return found ? CLI_OK
	             : cli_fail(CLI_NO_OBJECT,
			   "nothing is known of TLS with %.*s: relay.tls_reports has "
			   "to be true, and mail to go there",
			   SLICE_ARG(domain));
}

int
cmd_relay_tls(struct cli *cli)
{
	struct buf ascii AUTO_BUF;
	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	if (cli->argument_count < 2 && cli_option(cli, "--for"))
		return cli_fail(CLI_USAGE, "--for goes with a level");
	bool report = cli_option(cli, "--report") != NULL;
	if (report && cli->argument_count != 1)
		return cli_fail(CLI_USAGE, "--report wants a domain and nothing else");
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	if (cli->argument_count == 0)
		return list(cli, SLICE_NULL);
	if (!address_domain_to_ascii(cli_argument(cli, 0), &ascii))
		return cli_fail(CLI_DATA, "%s is no domain", cli->arguments[0]);
	if (report)
		return report_show(cli, buf_slice(&ascii));
	if (cli->argument_count == 1)
		return list(cli, buf_slice(&ascii));
	return set(cli, buf_slice(&ascii), cli->arguments[1]);
}
