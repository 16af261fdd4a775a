/*
 * The command line's shared frame: global options, the verb table, the configuration and
 * the store on demand, output and errors.  Private to postroom/.
 *
 * Every command ends 0, or non-zero with one line on standard error that says what is
 * wrong and what to do (exit codes of sysexits).
 */
#ifndef POSTROOM_CLI_H
#define POSTROOM_CLI_H

#include <jansson.h>
#include <stdio.h>

#include "conf/conf.h"
#include "store/directory.h"

enum {
	CLI_OK = 0,
	CLI_FINDINGS = 1,
	CLI_USAGE = 64,
	CLI_DATA = 65,
	CLI_NO_OBJECT = 66,
	CLI_NOT_RUNNING = 69,
	CLI_SOFTWARE = 70,
	CLI_CANNOT_CREATE = 73,
	CLI_IO = 74,
	CLI_TRY_AGAIN = 75,
	CLI_NOT_ALLOWED = 77,
	CLI_CONFIG = 78,
};

enum { CLI_ARGUMENTS_MAX = 1024, CLI_OPTIONS_MAX = 64 };

struct cli_option {
	const char *name;  /* "--quota" */
	const char *value; /* null: not given; "" for one without a value */
};

struct cli {
	const char *root; /* absolute; null: system paths */
	bool json;
	bool quiet;
	bool yes;
	const char *arguments[CLI_ARGUMENTS_MAX];
	size_t argument_count;
	struct cli_option options[CLI_OPTIONS_MAX]; /* as the verb's row names them */
	size_t option_count;
	const char *program; /* argv[0] */
	/* made on demand: */
	struct conf *conf;
	struct store *store;
	struct store_reader *reader;
};

struct cli_verb {
	const char *noun; /* "account" */
	const char *verb; /* "add", or null for a verb that stands alone */
	unsigned arguments_min, arguments_max;
	/* space separated, "=" behind one that takes a value: "--quota= --password-stdin"
	 */
	const char *options;
	int (*run)(struct cli *cli);
	const char *usage;
	const char *help;
};

/* What tenant add and set have in common. */
#define CLI_TENANT_OPTIONS                                                               \
	"--domain= --account= --rate= --max-queued= --pool= --dkim-domain="
#define CLI_TENANT_USAGE                                                                 \
	"[--domain D]... [--account LOGIN]... [--rate COUNT/DURATION|none] "             \
	"[--max-queued N|none] [--pool POOL|IP|none] [--dkim-domain D|none]"

/* The table; ends with a row whose noun is null. */
const struct cli_verb *cli_verbs(void);

/* Prints one line to standard error and returns the code. */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a status: "could not <what>: <text>". */
int cli_fail_status(enum status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The option's value ("" when it takes none), or null when it was not given. */
const char *cli_option(const struct cli *cli, const char *name);
struct slice cli_argument(const struct cli *cli, size_t index);

/* <root>/etc/postroom.conf or the system's; the caller frees it. */
char *cli_config_path(const struct cli *cli);
/* Joins root (or "") and a path; the caller frees it. */
char *cli_path(const struct cli *cli, const char *path);
/* Reads the configuration once; 0, or CLI_CONFIG with every error printed. */
int cli_need_conf(struct cli *cli);
/* Opens the store once, as the user that owns it; 0 or an exit code. */
int cli_need_store(struct cli *cli);
/* The account that the first argument names; 0 or an exit code. */
int cli_account(struct cli *cli, struct directory_account *out);
/* <dir of the log file>/trace. */
char *cli_trace_dir(struct cli *cli);
/* A question on the terminal; true at once with --yes or when not on a terminal is an
 * error that tells of --yes. */
bool cli_confirm(const struct cli *cli, const char *question);

/* Prints a value as JSON for people, with a line end. */
void cli_json_print(const json_t *value);
/* How a listing ends: `rows` as JSON, or each by `print`, or, when there is none, the
 * line `empty` (null: nothing).  Takes the reference; returns CLI_OK. */
int cli_rows_show(const struct cli *cli, json_t *rows, void (*print)(const json_t *row),
    const char *empty);

/* ---- the verbs ---- */
int cmd_init(struct cli *cli);
int cmd_start(struct cli *cli);
int cmd_stop(struct cli *cli);
int cmd_restart(struct cli *cli);
int cmd_reload(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_check(struct cli *cli);
int cmd_backup(struct cli *cli);
int cmd_restore(struct cli *cli);
int cmd_import(struct cli *cli);
int cmd_export(struct cli *cli);
int cmd_compact(struct cli *cli);
int cmd_reindex(struct cli *cli);
int cmd_verify(struct cli *cli);
int cmd_domain_add(struct cli *cli);
int cmd_domain_list(struct cli *cli);
int cmd_domain_set(struct cli *cli);
int cmd_domain_remove(struct cli *cli);
int cmd_domain_dns(struct cli *cli);
int cmd_account_add(struct cli *cli);
int cmd_account_list(struct cli *cli);
int cmd_account_remove(struct cli *cli);
int cmd_account_password(struct cli *cli);
int cmd_account_set(struct cli *cli);
int cmd_account_show(struct cli *cli);
int cmd_account_undelete(struct cli *cli);
int cmd_mailbox_acl(struct cli *cli);
int cmd_mailbox_create(struct cli *cli);
int cmd_alias_add(struct cli *cli);
int cmd_alias_list(struct cli *cli);
int cmd_alias_remove(struct cli *cli);
int cmd_relay_add(struct cli *cli);
int cmd_relay_list(struct cli *cli);
int cmd_relay_remove(struct cli *cli);
int cmd_relay_tls(struct cli *cli);
int cmd_relay_rules(struct cli *cli);
int cmd_relay_rate(struct cli *cli);
int cmd_tenant_add(struct cli *cli);
int cmd_tenant_set(struct cli *cli);
int cmd_tenant_list(struct cli *cli);
int cmd_tenant_show(struct cli *cli);
int cmd_tenant_remove(struct cli *cli);
int cmd_pool_set(struct cli *cli);
int cmd_pool_list(struct cli *cli);
int cmd_pool_remove(struct cli *cli);
int cmd_pool_warm(struct cli *cli);
int cmd_suppress_list(struct cli *cli);
int cmd_suppress_add(struct cli *cli);
int cmd_suppress_remove(struct cli *cli);
int cmd_explain(struct cli *cli);
int cmd_queue_list(struct cli *cli);
int cmd_queue_show(struct cli *cli);
int cmd_queue_top(struct cli *cli);
int cmd_queue_pause(struct cli *cli);
int cmd_queue_resume(struct cli *cli);
int cmd_queue_retry(struct cli *cli);
int cmd_queue_hold(struct cli *cli);
int cmd_queue_release(struct cli *cli);
int cmd_queue_delete(struct cli *cli);
int cmd_queue_redirect(struct cli *cli);
int cmd_trace(struct cli *cli);
int cmd_events(struct cli *cli);
int cmd_help(struct cli *cli);
int cmd_version(struct cli *cli);

#endif
