/*
 * restore --account: one account out of a backup into this instance, while it serves.
 * The backup is restored beside the store (with every checksum compared), and the
 * account imported out of it: what is there already is left as it is, what is missing
 * comes back; an account that is gone is made again with its password and all UIDs.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "postroom/import.h"
#include "postroom/restore.h"
#include "store/store_backup.h"

struct side {
	struct store_side folder;
	struct store *store;
	struct store_reader *reader;
};

static int
side_open(struct cli *cli, struct side *side)
{
	struct store_backup_totals totals;
	char *error = NULL;
	char *path = NULL;
	/* In the store's own folder: the same disk, and ours to write to. */
	store_side_sweep(cli->conf->store.path);
	enum status status = store_side_make(cli->conf->store.path, &side->folder);
	if (status != STATUS_OK)
		return cli_fail_status(status, "make %s", side->folder.path);
	if (asprintf(&path, "%s/store", side->folder.path) < 0)
		abort();
	struct store_backup_options options = {.progress = restore_progress, .arg = cli};
	status = store_restore(cli->arguments[0], path, &options, &totals, &error);
	restore_progress_end(cli);
	if (status == STATUS_OK) {
		const struct store_options store = {
		    .path = path, .map_size = cli->conf->store.map_size, .sync = false};
		status = store_open(&store, &side->store, &error);
	}
	int code = CLI_OK;
	if (status != STATUS_OK)
		code = cli_fail_status(status, "read the backup %s (%s)",
		    cli->arguments[0], error ? error : "");
	else
		side->reader = store_reader_new(side->store, NULL, NULL);
	free(path);
	free(error);
	return code;
}

static void
side_close(struct side *side)
{
	store_reader_free(&side->reader);
	store_close(&side->store);
	store_side_remove(&side->folder);
}

/* The account here; made when it is gone. */
static int
account_find_or_make(struct cli *cli, const char *login,
    const struct directory_account *old, struct account_id *out)
{
	struct directory_account account;
	enum status status =
	    directory_account_find(cli->reader, slice_from_cstr(login), &account);
	*out = account.id;
	store_reader_end(cli->reader);
	if (status == STATUS_OK)
		return CLI_OK;
	if (status == STATUS_NOT_FOUND && cli_option(cli, "--dry-run"))
		return cli_fail(CLI_NO_OBJECT,
		    "there is no account %s; without --dry-run it is made as it was",
		    login);
	if (status == STATUS_NOT_FOUND)
		status = directory_account_add(
		    cli->reader, old->login, old->credential, &old->quota, out);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "this server has not the domain of %s: postroom domain add first",
		    login);
	return status == STATUS_OK
	           ? CLI_OK
	           : cli_fail_status(status, "make the account %s", login);
}

static int
account_restore(struct cli *cli, struct side *side, const char *login)
{
	struct directory_account old;
	struct account_id account;
	enum status status =
	    directory_account_find(side->reader, slice_from_cstr(login), &old);
	if (status != STATUS_OK)
		return cli_fail_status(status, "find %s in the backup", login);
	struct account_id old_id = old.id;
	int code = account_find_or_make(cli, login, &old, &account);
	store_reader_end(side->reader);
	if (code != CLI_OK)
		return code;
	struct transfer transfer;
	struct mail_folder folder;
	char *error = NULL;
	transfer_init(&transfer, cli, "restored");
	const struct mail_source_options options = {
	    .problem = transfer_problem, .arg = &transfer};
	struct mail_source *source =
	    mail_source_store_open(&options, side->reader, old_id, &error);
	if (!source)
		transfer_problem(login, error, &transfer);
	free(error);
	struct importing *importing = importing_new(&transfer, account, source, NULL);
	while (source && status == STATUS_OK && mail_source_folder(source, &folder))
		status = importing_folder(importing, &folder);
	importing_free(&importing);
	mail_source_close(&source);
	code = transfer_finish(&transfer, login, cli->arguments[0]);
	if (status == STATUS_QUOTA)
		return cli_fail(CLI_IO,
		    "%s is full: give it more room (postroom account set %s --quota "
		    "SIZE or --quota-messages N), then do it again",
		    login, login);
	return status == STATUS_OK
	           ? code
	           : cli_fail_status(status, "restore all of %s; do it again", login);
}

int
restore_account(struct cli *cli, const char *login)
{
	struct side side = {.folder = {.lock_fd = -1}};
	int code = cli_need_store(cli);
	if (code == CLI_OK)
		code = side_open(cli, &side);
	if (code == CLI_OK)
		code = account_restore(cli, &side, login);
	side_close(&side);
	return code;
}
