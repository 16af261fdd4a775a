/*
 * backup and restore: the store into a folder while it serves, and back.  The
 * configuration and certificates are files of the administrator's, and not in it.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "postroom/cli.h"
#include "postroom/restore.h"
#include "postroom/supervisor.h"
#include "store/store_backup.h"

struct copying {
	const struct cli *cli;
	bool shown;
};

static void
copying_progress(uint64_t done, uint64_t total, void *arg)
{
	struct copying *copying = arg;
	if (copying->cli->quiet || copying->cli->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " bytes", done, total);
	copying->shown = true;
}

void
restore_progress(uint64_t done, uint64_t total, void *arg)
{
	struct copying copying = {.cli = arg};
	copying_progress(done, total, &copying);
}

void
restore_progress_end(struct cli *cli)
{
	if (!cli->quiet && !cli->json && isatty(STDERR_FILENO))
		fputc('\n', stderr);
}

static void
totals_print(
    const struct cli *cli, const struct store_backup_totals *totals, const char *place)
{
	char made[32] = "";
	time_t made_s = (time_t)totals->made_s;
	struct tm tm;
	if (gmtime_r(&made_s, &tm))
		strftime(made, sizeof made, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (cli->json) {
		json_t *out = json_pack("{s:s, s:s, s:I, s:I, s:I}", "place", place,
		    "made", made, "files", (json_int_t)totals->files, "bytes",
		    (json_int_t)totals->bytes, "copied_bytes",
		    (json_int_t)totals->copied_bytes);
		json_dumpf(out, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(out);
	} else if (!cli->quiet) {
		printf("%s: the store of %s, %" PRIu64 " files, %" PRIu64
		       " bytes, %" PRIu64 " of them copied\n",
		    place, made, totals->files, totals->bytes, totals->copied_bytes);
	}
}

int
cmd_backup(struct cli *cli)
{
	const char *dir = cli->arguments[0];
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	struct copying copying = {.cli = cli};
	struct store_backup_options options = {
	    .progress = copying_progress, .arg = &copying};
	struct store_backup_totals totals;
	char *error = NULL;
	enum status status = store_backup(cli->store, dir, &options, &totals, &error);
	if (copying.shown)
		fputc('\n', stderr);
	if (status != STATUS_OK)
		code = cli_fail_status(
		    status, "back up to %s (%s)", dir, error ? error : "");
	else
		totals_print(cli, &totals, dir);
	free(error);
	return code;
}

/* Where the store goes: this instance's place, or the same below the other root. */
static char *
restore_path(const struct cli *cli, const char *to_root)
{
	const char *path = cli->conf->store.path;
	size_t root_len = cli->root ? strlen(cli->root) : 0;
	char *out = NULL;
	if (to_root && root_len > 0 && strncmp(path, cli->root, root_len) == 0)
		path += root_len;
	if (asprintf(&out, "%s%s", to_root ? to_root : "", path) < 0)
		abort();
	return out;
}

/* The folders that the store is in, below another root. */
static void
parents_make(const char *path, const char *below)
{
	char *copy = strdup(path);
	for (char *slash = strchr(copy + strlen(below) + 1, '/'); copy && slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = 0;
		(void)mkdir(copy, 0750); /* restoring tells when it is not there */
		*slash = '/';
	}
	free(copy);
}

int
cmd_restore(struct cli *cli)
{
	const char *dir = cli->arguments[0], *to_root = cli_option(cli, "--into");
	const char *login = cli_option(cli, "--account");
	int code = cli_need_conf(cli);
	if (code != CLI_OK)
		return code;
	if (login && to_root)
		return cli_fail(CLI_USAGE,
		    "--account restores into this instance: use --root ROOT for another");
	if (!login && cli_option(cli, "--dry-run"))
		return cli_fail(CLI_USAGE, "--dry-run goes with --account");
	if (login)
		return restore_account(cli, login);
	char *running = to_root ? NULL : supervisor_ask(cli, "status", false);
	if (running) {
		free(running);
		return cli_fail(CLI_TRY_AGAIN, "this instance is running: stop it first");
	}
	char *path = restore_path(cli, to_root), *error = NULL, *aside = NULL;
	struct stat st;
	if (to_root) {
		(void)mkdir(to_root, 0755);
		parents_make(path, to_root);
	} else if (lstat(path, &st) == 0) {
		/* What is there is kept. */
		if (asprintf(&aside, "%s.before-%lld", path, (long long)time(NULL)) < 0)
			abort();
		if (rename(path, aside) < 0) {
			free(aside);
			code = cli_fail(CLI_IO, "could not move %s aside", path);
			free(path);
			return code;
		}
	}
	struct copying copying = {.cli = cli};
	struct store_backup_options options = {
	    .progress = copying_progress, .arg = &copying};
	struct store_backup_totals totals;
	enum status status = store_restore(dir, path, &options, &totals, &error);
	if (copying.shown)
		fputc('\n', stderr);
	if (status != STATUS_OK) {
		if (aside)
			(void)!rename(aside, path);
		code =
		    cli_fail_status(status, "restore %s (%s)", dir, error ? error : "");
	} else {
		totals_print(cli, &totals, path);
		if (aside && !cli->quiet && !cli->json)
			printf("the store that was there is now %s\n", aside);
	}
	free(error);
	free(aside);
	free(path);
	return code;
}
