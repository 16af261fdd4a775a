/*
 * backup and restore: the store into a folder while it serves, with the configuration and
 * the certificates and keys that it names, and back.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "postroom/backup_conf.h"
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

/* `conf`: what went along; null: nothing. */
static void
totals_print(const struct cli *cli, const struct store_backup_totals *totals,
    const char *place, const struct backup_conf *conf)
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
		if (conf)
			json_object_set_new(out, "config_files",
			    json_integer((json_int_t)backup_conf_count(conf)));
		cli_json_print(out);
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
	struct backup_conf *conf = NULL;
	int code = backup_conf_read(cli, &conf);
	if (code == CLI_OK)
		code = cli_need_store(cli);
	if (code != CLI_OK) {
		backup_conf_free(&conf);
		return code;
	}
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
		code = backup_conf_write(conf, dir);
	if (code == CLI_OK)
		totals_print(cli, &totals, dir, conf);
	backup_conf_free(&conf);
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

/* The side root gets what the backup has; one of before this was in backups has none. */
static int
restore_conf_into(struct cli *cli, const char *to_root, bool replace)
{
	char *folder = NULL;
	if (asprintf(&folder, "%s/config", cli->arguments[0]) < 0)
		abort();
	bool there = access(folder, F_OK) == 0;
	free(folder);
	if (!there && !replace)
		return CLI_OK;
	return backup_conf_restore(cli, cli->arguments[0], to_root, replace);
}

/* --config without --into: before the configuration is read, which may be gone. */
static int
restore_conf(struct cli *cli)
{
	char *path = cli_config_path(cli);
	bool there = access(path, F_OK) == 0;
	free(path);
	int code = there ? cli_need_conf(cli) : CLI_OK;
	char *running =
	    there && code == CLI_OK ? supervisor_ask(cli, "status", false) : NULL;
	if (running)
		code = cli_fail(CLI_TRY_AGAIN, "this instance is running: stop it first");
	free(running);
	if (code == CLI_OK)
		code = backup_conf_restore(cli, cli->arguments[0], NULL, true);
	if (cli->conf)
		conf_free(&cli->conf);
	return code;
}

/* What is there is kept: its new name, or null.  Two may come in one second. */
static char *
move_aside(const char *path)
{
	enum { NAMES_MAX = 100 };
	for (int i = 0; i < NAMES_MAX; i++) {
		char *aside = NULL;
		char more[8] = "";
		if (i > 0)
			snprintf(more, sizeof more, "-%d", i);
		if (asprintf(&aside, "%s.before-%lld%s", path, (long long)time(NULL),
			more) < 0)
			abort();
		if (access(aside, F_OK) != 0 && rename(path, aside) == 0)
			return aside;
		free(aside);
	}
	return NULL;
}

int
cmd_restore(struct cli *cli)
{
	const char *dir = cli->arguments[0], *to_root = cli_option(cli, "--into");
	const char *login = cli_option(cli, "--account");
	bool with_conf = cli_option(cli, "--config") != NULL;
	int code = CLI_OK;
	if (login && with_conf)
		return cli_fail(CLI_USAGE, "--config goes with the whole backup");
	if (with_conf && !to_root)
		code = restore_conf(cli);
	if (code == CLI_OK)
		code = cli_need_conf(cli);
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
		aside = move_aside(path);
		if (!aside) {
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
		totals_print(cli, &totals, path, NULL);
		if (aside && !cli->quiet && !cli->json)
			printf("the store that was there is now %s\n", aside);
		if (to_root)
			code = restore_conf_into(cli, to_root, with_conf);
	}
	free(error);
	free(aside);
	free(path);
	return code;
}
