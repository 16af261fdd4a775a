/*
 * check: the configuration file (every error with its line), then every invariant of the
 * store; works beside running daemons.
 */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "postroom/cli.h"
#include "service/relay_proof.h"
#include "store/check.h"
#include "store/store_migrate.h"

struct check {
	const struct cli *cli;
	json_t *problems;
	bool progress_shown;
};

static void
problem(const char *text, void *arg)
{
	struct check *check = arg;
	json_array_append_new(check->problems, json_string(text));
	if (!check->cli->json)
		printf("problem  %s\n", text);
}

static void
progress(uint64_t done, uint64_t total, void *arg)
{
	struct check *check = arg;
	if (check->cli->quiet || check->cli->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\rchecked %llu of %llu", (unsigned long long)done,
	    (unsigned long long)total);
	check->progress_shown = true;
}

static void
migrate_step(unsigned from, const char *what, void *arg)
{
	const struct cli *cli = arg;
	if (!cli->json && !cli->quiet)
		printf("format %u to %u: %s\n", from, from + 1, what);
}

/* check --migrate */
static int
migrate(struct cli *cli)
{
	struct store_migration m;
	bool dry = cli_option(cli, "--dry-run") != NULL;
	char *error = NULL;
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	enum status status =
	    store_migrate(cli->conf->store.path, dry, migrate_step, cli, &m, &error);
	if (status != STATUS_OK) {
		code = cli_fail_status(status, "migrate the store (%s)", error);
		free(error);
		return code;
	}
	if (cli->json) {
		json_t *out = json_pack("{s:i, s:i, s:i, s:b}", "found", (int)m.found,
		    "now", (int)m.now, "newest", (int)m.newest, "dry_run", dry);
		cli_json_print(out);
		json_decref(out);
	} else if (!cli->quiet) {
		printf(m.found == m.newest ? "the store has format %u, the newest\n"
		       : dry               ? "the store has format %u still\n"
					   : "the store has format %u now\n",
		    m.now);
	}
	return CLI_OK;
}

int
cmd_check(struct cli *cli)
{
	if (cli_option(cli, "--migrate"))
		return migrate(cli);
	if (cli_option(cli, "--dry-run"))
		return cli_fail(CLI_USAGE, "--dry-run goes with --migrate");
	int code = cli_need_conf(cli);
	struct buf why AUTO_BUF;
	buf_init(&why, RELAY_PROOF_TEXT_MAX);
	size_t tried = 0;
	if (code == CLI_OK && cli_option(cli, "--config-only")) {
		if (!relay_proof_run(NULL, cli->conf, &tried, &why))
			return cli_fail(CLI_CONFIG, "%.*s", (int)why.len, why.ptr);
		if (!cli->quiet)
			printf("configuration fine\n");
		return CLI_OK;
	}
	if (code == CLI_OK)
		code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	if (!relay_proof_run(cli->reader, cli->conf, &tried, &why))
		return cli_fail(CLI_CONFIG, "%.*s", (int)why.len, why.ptr);
	store_reader_end(cli->reader);
	struct check check = {.cli = cli, .problems = json_array()};
	struct store_check_options options = {
	    .read_bodies = cli_option(cli, "--bodies") != NULL,
	    .problem = problem,
	    .progress = progress,
	    .arg = &check,
	};
	struct store_check_totals totals;
	enum status status = store_check(cli->store, &options, &totals);
	if (check.progress_shown)
		fputc('\n', stderr);
	if (status != STATUS_OK) {
		json_decref(check.problems);
		return cli_fail_status(status, "check the store");
	}
	if (cli->json) {
		json_t *out = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		    "relay_proof_rows", (json_int_t)tried, "accounts",
		    (json_int_t)totals.accounts, "mailboxes",
		    (json_int_t)totals.mailboxes, "messages", (json_int_t)totals.messages,
		    "bodies", (json_int_t)totals.bodies, "queued",
		    (json_int_t)totals.queued, "bytes", (json_int_t)totals.bytes,
		    "problems", check.problems);
		cli_json_print(out);
		json_decref(out);
	} else {
		if (!cli->quiet)
			printf("no stranger can relay: %zu addresses tried\n", tried);
		if (!cli->quiet)
			printf(
			    "%llu accounts, %llu mailboxes, %llu messages, %llu bodies "
			    "(%llu bytes), %llu queued: %llu problems\n",
			    (unsigned long long)totals.accounts,
			    (unsigned long long)totals.mailboxes,
			    (unsigned long long)totals.messages,
			    (unsigned long long)totals.bodies,
			    (unsigned long long)totals.bytes,
			    (unsigned long long)totals.queued,
			    (unsigned long long)totals.problems);
		json_decref(check.problems);
	}
	if (totals.problems > 0)
		return cli_fail(CLI_FINDINGS,
		    "the store has %llu problems: keep a copy of it before anything else",
		    (unsigned long long)totals.problems);
	return CLI_OK;
}
