/*
 * import: mail of another server into an account, while it serves.  One import an account
 * at a time, so that two do not bring the same mail twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/hashmap.h"
#include "postroom/import.h"
#include "store/mailbox.h"

/* Locks one byte of a file in the store's folder, by the account's id; the lock goes with
 * the process. */
static int
account_lock(struct cli *cli, struct account_id account, int *out_fd)
{
	char *path = NULL;
	if (asprintf(&path, "%s/import.lock", cli->conf->store.path) < 0)
		abort();
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	struct flock lock = {.l_type = F_WRLCK,
	    .l_whence = SEEK_SET,
	    .l_start = (off_t)(hash_stable(slice_make(
				   (const char *)account.v, sizeof(account.v))) >>
			       2),
	    .l_len = 1};
	int code = CLI_OK;
	if (fd < 0)
		code = cli_fail(CLI_IO, "could not open %s: %s", path, strerror(errno));
	else if (fcntl(fd, F_SETLK, &lock) < 0)
		code = cli_fail(CLI_TRY_AGAIN, "another import into %s is under way",
		    cli->arguments[0]);
	free(path);
	*out_fd = fd;
	return code;
}

struct subscribing {
	struct cli *cli;
	struct account_id account;
	struct transfer *transfer;
};

/* Also of names that have no folder. */
static void
subscribe_one(struct slice name, void *arg)
{
	struct subscribing *s = arg;
	struct arena *arena = arena_new(64 * 1024);
	struct mailbox_op op = {.account = s->account, .change = MAILBOX_SUBSCRIBE};
	op.op.arena = arena;
	enum status status = mailbox_name_check(name, arena, &op.name);
	if (status == STATUS_OK) {
		mailbox_op_submit(s->cli->reader, &op);
		status = op.op.status == STATUS_EXISTS ? STATUS_OK : op.op.status;
	}
	if (status != STATUS_OK) {
		char *where = slice_to_cstr(name);
		transfer_problem(where, "could not be subscribed to", s->transfer);
		free(where);
	}
	arena_free(&arena);
}

static int
folders_import(struct cli *cli, struct transfer *transfer, struct mail_source *source,
    const struct directory_account *account)
{
	struct mail_folder folder;
	struct subscribing subscribing = {cli, account->id, transfer};
	struct importing *importing =
	    importing_new(transfer, account->id, source, cli_option(cli, "--uidl"));
	enum status status = STATUS_OK;
	while (status == STATUS_OK && mail_source_folder(source, &folder)) {
		status = importing_folder(importing, &folder);
		if (status != STATUS_OK && status != STATUS_QUOTA) {
			char *name = slice_to_cstr(folder.name);
			transfer_problem(name, status_text(status), transfer);
			free(name);
		}
	}
	if (status == STATUS_OK && !transfer->dry_run)
		mail_source_subscriptions(source, subscribe_one, &subscribing);
	importing_free(&importing);
	int code = transfer_finish(transfer, cli->arguments[0], cli->arguments[1]);
	if (status == STATUS_QUOTA)
		return cli_fail(CLI_IO,
		    "%s is full: give it more room (postroom account set %s --quota "
		    "SIZE or --quota-messages N), then run the same import again",
		    cli->arguments[0], cli->arguments[0]);
	if (status != STATUS_OK)
		return cli_fail_status(status, "import all of it; run the same again");
	return code;
}

int
cmd_import(struct cli *cli)
{
	struct mail_source_options options;
	struct transfer transfer;
	struct directory_account account;
	int lock = -1;
	int code = transfer_options(cli, &options);
	if (code == CLI_OK)
		code = cli_account(cli, &account);
	if (code == CLI_OK)
		code = account_lock(cli, account.id, &lock);
	if (code == CLI_OK) {
		const char *mailbox = cli_option(cli, "--mailbox");
		char *error = NULL;
		transfer_init(&transfer, cli, "imported");
		options.mailbox = slice_from_cstr(mailbox ? mailbox : "INBOX");
		options.problem = transfer_problem;
		options.arg = &transfer;
		struct mail_source *source = mail_source_open(&options, &error);
		code = source ? folders_import(cli, &transfer, source, &account)
		              : cli_fail(CLI_NO_OBJECT, "%s", error);
		free(error);
		mail_source_close(&source);
	}
	if (lock >= 0)
		close(lock);
	return code;
}
