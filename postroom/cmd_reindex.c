/*
 * reindex: makes the search index of one account or of all anew, beside running daemons.
 * Until it is done what is not indexed yet is searched by reading it.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/ensure.h"
#include "postroom/cli.h"
#include "store/search.h"

struct reindex_account {
	struct account_id id;
	char *login;
};

struct reindex {
	const struct cli *cli;
	struct reindex_account *accounts;
	size_t count, room;
	const char *login; /* the one under way */
	json_t *rows;
	struct search_totals sum;
	bool progress_shown;
};

static bool
account_add(const struct directory_account *account, void *arg)
{
	struct reindex *r = arg;
	if (r->count == r->room) {
		r->room = r->room ? 2 * r->room : 64;
		r->accounts = xrealloc(r->accounts, r->room * sizeof(*r->accounts));
	}
	struct reindex_account *at = &r->accounts[r->count++];
	at->id = account->id;
	at->login = xmalloc(account->login.len + 1);
	memcpy(at->login, account->login.ptr, account->login.len);
	at->login[account->login.len] = '\0';
	return true;
}

static bool
progress(uint64_t done, uint64_t total, void *arg)
{
	struct reindex *r = arg;
	if (!r->cli->quiet && !r->cli->json && isatty(STDERR_FILENO)) {
		fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64 " messages", r->login,
		    done, total);
		r->progress_shown = true;
	}
	return true;
}

static double
percent(const struct search_totals *totals)
{
	return totals->text_bytes
	           ? 100.0 * (double)totals->index_bytes / (double)totals->text_bytes
	           : 0;
}

static void
account_print(struct reindex *r, const struct search_totals *totals)
{
	if (r->progress_shown)
		fputc('\n', stderr);
	r->progress_shown = false;
	r->sum.documents += totals->documents;
	r->sum.text_bytes += totals->text_bytes;
	r->sum.index_bytes += totals->index_bytes;
	if (r->cli->json)
		json_array_append_new(
		    r->rows, json_pack("{s:s, s:I, s:I, s:I}", "account", r->login,
				 "messages", (json_int_t)totals->documents, "text_bytes",
				 (json_int_t)totals->text_bytes, "index_bytes",
				 (json_int_t)totals->index_bytes));
	else if (!r->cli->quiet)
		printf("%s: %" PRIu64 " messages, %" PRIu64
		       " bytes of text, index %" PRIu64 " bytes (%.1f %%)\n",
		    r->login, totals->documents, totals->text_bytes, totals->index_bytes,
		    percent(totals));
}

static enum status
accounts_find(struct cli *cli, struct reindex *r)
{
	struct directory_account account;
	if (cli->argument_count == 0)
		return directory_account_each(cli->reader, SLICE_NULL, account_add, r);
	enum status status =
	    directory_account_find(cli->reader, cli_argument(cli, 0), &account);
	if (status == STATUS_OK)
		account_add(&account, r);
	return status;
}

int
cmd_reindex(struct cli *cli)
{
	struct reindex r = {.cli = cli};
	struct search_totals totals;
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	enum status status = accounts_find(cli, &r);
	store_reader_end(cli->reader);
	if (status != STATUS_OK)
		code = cli_fail_status(status, "reindex %s",
		    cli->argument_count ? cli->arguments[0] : "the accounts");
	struct search_reindex_options options = {.progress = progress, .arg = &r};
	r.rows = json_array();
	for (size_t i = 0; i < r.count && code == CLI_OK; i++) {
		r.login = r.accounts[i].login;
		status = search_reindex(cli->store, r.accounts[i].id, &options, &totals);
		if (status == STATUS_OK)
			account_print(&r, &totals);
		else if (status == STATUS_LIMIT)
			code = cli_fail(CLI_TRY_AGAIN,
			    "%s: imapd is indexing a large account: try again later",
			    r.login);
		else if (status != STATUS_NOT_FOUND) /* removed meanwhile */
			code = cli_fail_status(status, "reindex %s", r.login);
	}
	if (code == CLI_OK && cli->json) {
		cli_json_print(r.rows);
	} else if (code == CLI_OK && !cli->quiet && r.count > 1) {
		printf("%zu accounts: index %" PRIu64 " bytes (%.1f %%)\n", r.count,
		    r.sum.index_bytes, percent(&r.sum));
	}
	json_decref(r.rows);
	for (size_t i = 0; i < r.count; i++)
		free(r.accounts[i].login);
	free(r.accounts);
	return code;
}
