/*
 * The command line's shared frame; see cli.h.
 */
#include "postroom/cli.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"

int
cli_fail(int code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("postroom: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return code;
}

static int
status_code(enum status status)
{
	switch (status) {
	case STATUS_OK:
		return CLI_OK;
	case STATUS_NOT_FOUND:
		return CLI_NO_OBJECT;
	case STATUS_EXISTS:
		return CLI_CANNOT_CREATE;
	case STATUS_INVALID:
	case STATUS_CORRUPT:
	case STATUS_CONFLICT:
		return CLI_DATA;
	case STATUS_DENIED:
	case STATUS_READ_ONLY:
		return CLI_NOT_ALLOWED;
	case STATUS_BUSY:
	case STATUS_TIMEOUT:
	case STATUS_CLOSED:
	case STATUS_UNKNOWN:
		return CLI_TRY_AGAIN;
	case STATUS_QUOTA:
	case STATUS_FULL:
	case STATUS_IO:
	case STATUS_LIMIT:
		return CLI_IO;
	case STATUS_COUNT_:
		break;
	}
	UNREACHABLE();
}

int
cli_fail_status(enum status status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("postroom: could not ", stderr);
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", status_text(status));
	va_end(args);
	return status_code(status);
}

const char *
cli_option(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->option_count; i++) {
		if (strcmp(cli->options[i].name, name) == 0)
			return cli->options[i].value;
	}
	return NULL;
}

struct slice
cli_argument(const struct cli *cli, size_t index)
{
	ENSURE(index < cli->argument_count);
	return slice_from_cstr(cli->arguments[index]);
}

char *
cli_path(const struct cli *cli, const char *path)
{
	char *out = NULL;
	if (asprintf(&out, "%s%s", cli->root ? cli->root : "", path) < 0)
		abort();
	return out;
}

char *
cli_config_path(const struct cli *cli)
{
	return cli->root ? cli_path(cli, "/etc/postroom.conf")
	                 : xstrdup("/etc/postroom/postroom.conf");
}

int
cli_need_conf(struct cli *cli)
{
	if (cli->conf)
		return CLI_OK;
	char *path = cli_config_path(cli);
	if (access(path, R_OK) != 0) {
		int code = cli_fail(CLI_CONFIG,
		    "cannot read %s (%s): make an instance with \"postroom %s%s%sinit\"",
		    path, strerror(errno), cli->root ? "--root " : "",
		    cli->root ? cli->root : "", cli->root ? " " : "");
		free(path);
		return code;
	}
	struct conf_errors errors = {0};
	cli->conf = conf_read(path, cli->root, &errors);
	for (size_t i = 0; i < errors.count; i++) {
		const struct conf_error *e = &errors.items[i];
		if (e->warning && cli->quiet)
			continue;
		fprintf(stderr, "%s:%d: %s%s\n", e->file ? e->file : path, e->line,
		    e->warning ? "warning: " : "", e->text);
	}
	conf_errors_free(&errors);
	free(path);
	return cli->conf ? CLI_OK : CLI_CONFIG;
}

/* Root must not leave files in the store that the daemons cannot open. */
static int
become_store_user(const struct cli *cli)
{
	if (geteuid() != 0 || cli->root || cli->conf->user[0] == '\0')
		return CLI_OK;
	const struct passwd *user = getpwnam(cli->conf->user);
	if (!user)
		return cli_fail(CLI_CONFIG,
		    "there is no user \"%s\": make it, or set user in the configuration",
		    cli->conf->user);
	if (initgroups(user->pw_name, user->pw_gid) != 0 ||
	    setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0)
		return cli_fail(CLI_NOT_ALLOWED, "could not become user %s: %s",
		    cli->conf->user, strerror(errno));
	return CLI_OK;
}

int
cli_need_store(struct cli *cli)
{
	if (cli->store)
		return CLI_OK;
	int code = cli_need_conf(cli);
	if (code == CLI_OK)
		code = become_store_user(cli);
	if (code != CLI_OK)
		return code;
	struct store_options options = {
	    .path = cli->conf->store.path,
	    .map_size = cli->conf->store.map_size,
	    .shards = cli->conf->store.shards,
	    .sync = cli->conf->store.sync,
	    .compress = cli->conf->store.compress,
	    .undelete_days = cli->conf->store.undelete_days,
	};
	char *error = NULL;
	enum status status = store_open(&options, &cli->store, &error);
	if (status != STATUS_OK) {
		code = cli_fail(status_code(status), "could not open the store %s: %s",
		    cli->conf->store.path, error ? error : status_text(status));
		free(error);
		return code;
	}
	cli->reader = store_reader_new(cli->store, NULL, NULL);
	return CLI_OK;
}

int
cli_account(struct cli *cli, struct directory_account *out)
{
	int code = cli_need_store(cli);
	if (code != CLI_OK)
		return code;
	enum status status =
	    directory_account_find(cli->reader, cli_argument(cli, 0), out);
	if (status == STATUS_NOT_FOUND)
		return cli_fail(CLI_NO_OBJECT,
		    "there is no account %s: postroom account list shows all",
		    cli->arguments[0]);
	if (status != STATUS_OK)
		return cli_fail_status(status, "find account %s", cli->arguments[0]);
	return CLI_OK;
}

char *
cli_trace_dir(struct cli *cli)
{
	char *out = NULL;
	if (asprintf(&out, "%s/trace", cli->conf->log.dir) < 0)
		abort();
	return out;
}

bool
cli_confirm(const struct cli *cli, const char *question)
{
	if (cli->yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		cli_fail(CLI_USAGE, "%s say --yes to do it", question);
		return false;
	}
	fprintf(stderr, "%s [y/N] ", question);
	char line[16];
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

void
cli_json_print(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2));
	putchar('\n');
}

int
cli_rows_show(const struct cli *cli, json_t *rows, void (*print)(const json_t *row),
    const char *empty)
{
	size_t i;
	json_t *row;
	if (cli->json) {
		cli_json_print(rows);
	} else {
		json_array_foreach(rows, i, row) print(row);
		if (json_array_size(rows) == 0 && empty && !cli->quiet)
			puts(empty);
	}
	json_decref(rows);
	return CLI_OK;
}
