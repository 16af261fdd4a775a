/*
 * start, stop, restart, reload, status: the supervisor's life from the command line.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stats.h"
#include "postroom/cli.h"
#include "postroom/supervisor.h"
#include "store/queue.h"
#include "store/store_backup.h"
#include "store/store_maintain.h"
#include "store/undelete.h"

enum { NOTIFY_TEXT_MAX = 256 };

static void
sockets_print(const json_t *status)
{
	size_t i;
	json_t *row;
	json_int_t current = json_integer_value(json_object_get(status, "generation"));
	json_array_foreach(json_object_get(status, "daemons"), i, row)
	{
		const char *name, *state;
		int pid, restarts, generation = 0;
		if (json_unpack(row, "{s:s, s:i, s:s, s:i, s?i}", "name", &name, "pid",
			&pid, "state", &state, "restarts", &restarts, "generation",
			&generation) != 0)
			continue;
		printf("%-6s pid %-7d %s%s%s\n", name, pid, state,
		    restarts ? ", was restarted: see the log" : "",
		    generation && generation < current
			? ", with an older configuration: see the log"
			: "");
	}
	json_array_foreach(json_object_get(status, "listeners"), i, row)
	{
		const char *protocol, *address, *tls;
		int port;
		if (json_unpack(row, "{s:s, s:s, s:i, s:s}", "protocol", &protocol,
			"address", &address, "port", &port, "tls", &tls) != 0)
			continue;
		if (port == 0)
			printf("       %-10s %s\n", protocol, address);
		else
			printf("       %-10s %s port %d, TLS %s\n", protocol, address,
			    port, tls);
	}
}

/* Waits for the child's word; 0 when the daemons serve. */
static int
start_wait(struct cli *cli, int fd)
{
	char text[NOTIFY_TEXT_MAX] = "";
	size_t len = 0;
	ssize_t got;
	while (len + 1 < sizeof(text) &&
	       (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)got;
	close(fd);
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, "ok") != 0)
		return cli_fail(CLI_TRY_AGAIN, "could not start%s%s; see %s",
		    text[0] ? ": " : "", text, cli->conf->log.to);
	char *answer = supervisor_ask(cli, "status", false);
	json_t *status = answer ? json_loads(answer, 0, NULL) : NULL;
	if (status && !cli->quiet)
		sockets_print(status);
	json_decref(status);
	free(answer);
	return CLI_OK;
}

static int
start_detached(struct cli *cli)
{
	int fds[2];
	fflush(NULL);
	if (pipe2(fds, O_CLOEXEC) != 0)
		return cli_fail(CLI_IO, "could not make a pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid < 0)
		return cli_fail(CLI_TRY_AGAIN, "could not fork: %s", strerror(errno));
	if (pid > 0) {
		close(fds[1]);
		return start_wait(cli, fds[0]);
	}
	close(fds[0]);
	setsid();
	/* Errors of starting still go to the terminal; supervisor_run lets it go when the
	 * daemons serve. */
	int code = supervisor_run(cli, fds[1]);
	_exit(code);
}

int
cmd_start(struct cli *cli)
{
	int code = cli_need_conf(cli);
	if (code != CLI_OK)
		return code;
	char *answer = supervisor_ask(cli, "status", false);
	if (answer) {
		free(answer);
		return cli_fail(CLI_TRY_AGAIN,
		    "this instance is running already: see postroom status");
	}
	if (cli_option(cli, "--detach"))
		return start_detached(cli);
	return supervisor_run(cli, -1);
}

static int
not_running(const struct cli *cli)
{
	return cli_fail(CLI_NOT_RUNNING, "not running: postroom %s%s%sstart --detach",
	    cli->root ? "--root " : "", cli->root ? cli->root : "", cli->root ? " " : "");
}

static int
ask(struct cli *cli, const char *word, bool until_closed)
{
	int code = cli_need_conf(cli);
	if (code != CLI_OK)
		return code;
	char *answer = supervisor_ask(cli, word, until_closed);
	if (!answer)
		return not_running(cli);
	free(answer);
	return CLI_OK;
}

int
cmd_stop(struct cli *cli)
{
	return ask(cli, "stop", true);
}

int
cmd_restart(struct cli *cli)
{
	int code = ask(cli, "stop", true);
	if (code != CLI_OK && code != CLI_NOT_RUNNING)
		return code;
	return start_detached(cli);
}

/* One line for each daemon that does not serve with the new configuration. */
static int
reload_failed(struct cli *cli, const json_t *daemons)
{
	size_t i;
	json_t *row;
	int code = CLI_TRY_AGAIN;
	json_array_foreach(daemons, i, row)
	{
		const char *name, *outcome;
		if (json_unpack(row, "{s:s, s:s}", "name", &name, "reload", &outcome) !=
			0 ||
		    strcmp(outcome, "taken") == 0)
			continue;
		if (strcmp(outcome, "kept") == 0)
			code = cli_fail(CLI_CONFIG,
			    "%s keeps the configuration that it had: see %s", name,
			    cli->conf->log.to);
		else if (strcmp(outcome, "late") == 0)
			(void)cli_fail(CLI_TRY_AGAIN,
			    "%s has not answered within %d s: see postroom status", name,
			    SUPERVISOR_RELOAD_MS / 1000);
		else
			(void)cli_fail(CLI_TRY_AGAIN,
			    "%s does not serve: see postroom status", name);
	}
	return code;
}

int
cmd_reload(struct cli *cli)
{
	/* A file with an error never reaches the daemons. */
	int code = cli_need_conf(cli);
	if (code != CLI_OK)
		return code;
	char *text = supervisor_ask(cli, "reload", false);
	if (!text)
		return not_running(cli);
	json_t *answer = json_loads(text, 0, NULL);
	free(text);
	if (!json_is_true(json_object_get(answer, "ok"))) {
		const char *error = json_string_value(json_object_get(answer, "error"));
		code = error ? cli_fail(CLI_TRY_AGAIN, "%s", error)
		             : reload_failed(cli, json_object_get(answer, "daemons"));
	}
	json_decref(answer);
	return code;
}

/* The queue's counts beside what the supervisor says; silent when it cannot be read. */
static void
queue_counts_add(struct cli *cli, json_t *status)
{
	struct queue_counts counts;
	if (cli_need_store(cli) != CLI_OK ||
	    queue_counts_get(cli->reader, &counts) != STATUS_OK)
		return;
	int64_t age = counts.oldest_s ? clock_wall_s() - counts.oldest_s : 0;
	json_object_set_new(status, "queue",
	    json_pack("{s:I, s:I, s:I, s:I}", "messages", (json_int_t)counts.messages,
		"recipients", (json_int_t)counts.recipients, "held",
		(json_int_t)counts.held, "oldest_age_s", (json_int_t)age));
}

static void
reader_age_take(const char *name, uint64_t value, void *arg)
{
	uint64_t *oldest = arg;
	if (strcmp(name, "store_oldest_reader_age_ms") == 0 && value > *oldest)
		*oldest = value;
}

static bool
window_take(const struct expunged_message *message, void *arg)
{
	uint64_t *window = arg;
	window[0]++;
	window[1] += message->record.size;
	return true;
}

struct window_all {
	struct cli *cli;
	uint64_t window[2]; /* messages, bytes */
};

static bool
window_account(const struct directory_account *account, void *arg)
{
	struct window_all *all = arg;
	return message_expunged_each(all->cli->reader, account->id, 0, INT64_MAX,
		   window_take, all->window) == STATUS_OK;
}

/* A backup that is under way, or null; one that stands still keeps old pages and files.
 */
static void
backup_state_add(struct cli *cli, json_t *status)
{
	struct store_backup_state state;
	int64_t now_s = clock_wall_s();
	json_object_set_new(json_object_get(status, "store"), "backup",
	    store_backup_state(cli->store, &state)
		? json_pack("{s:I, s:I, s:I}", "pid", (json_int_t)state.pid, "age_s",
		      (json_int_t)(state.started_s ? now_s - state.started_s : 0),
		      "idle_s", (json_int_t)(now_s - state.moved_s))
		: json_null());
}

static void
backup_state_print(const json_t *status)
{
	long long pid, age, idle;
	const json_t *backup =
	    json_object_get(json_object_get(status, "store"), "backup");
	if (json_unpack((json_t *)(uintptr_t)backup, "{s:I, s:I, s:I}", "pid", &pid,
		"age_s", &age, "idle_s", &idle) == 0)
		printf("backup by pid %lld under way for %lld s, went on %lld s ago\n",
		    pid, age, idle);
}

/* What the store takes, what of it can still come back, and how long the oldest snapshot
 * of a daemon is open (with which old pages and files are kept). */
static void
store_figures_add(struct cli *cli, json_t *status)
{
	static const char *const names[] = {"smtpd", "imapd", "pop3d"};
	struct store_space space;
	struct window_all all = {.cli = cli};
	uint64_t oldest = 0;
	if (cli_need_store(cli) != CLI_OK || store_space(cli->store, &space) != STATUS_OK)
		return;
	if (directory_account_each(cli->reader, SLICE_NULL, window_account, &all) !=
	    STATUS_OK)
		return;
	store_reader_end(cli->reader);
	for (size_t i = 0; i < 3; i++) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/%s.stats", cli->conf->run_dir, names[i]);
		(void)!stats_read(path, reader_age_take, &oldest);
	}
	json_object_set_new(status, "store",
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "segments",
		(json_int_t)space.segments, "segment_bytes", (json_int_t)space.file_bytes,
		"live_bytes", (json_int_t)space.live_bytes, "index_bytes",
		(json_int_t)space.index_bytes, "waiting_files", (json_int_t)space.retired,
		"undelete_messages", (json_int_t)all.window[0], "undelete_bytes",
		(json_int_t)all.window[1], "oldest_reader_age_ms", (json_int_t)oldest));
	backup_state_add(cli, status);
}

static void
store_figures_print(const json_t *status)
{
	long long segments, live, index, messages, bytes, age;
	if (json_unpack((json_t *)(uintptr_t)json_object_get(status, "store"),
		"{s:I, s:I, s:I, s:I, s:I, s:I}", "segment_bytes", &segments,
		"live_bytes", &live, "index_bytes", &index, "undelete_messages",
		&messages, "undelete_bytes", &bytes, "oldest_reader_age_ms", &age) != 0)
		return;
	printf("store  %lld bytes of mail in files of %lld, index %lld; %lld messages, "
	       "%lld bytes can be undeleted; oldest reader %lld ms\n",
	    live, segments, index, messages, bytes, age);
}

static json_t *
stopped_status(void)
{
	static const char *const names[] = {"smtpd", "imapd", "pop3d"};
	json_t *daemons = json_array();
	for (size_t i = 0; i < 3; i++)
		json_array_append_new(
		    daemons, json_pack("{s:s, s:i, s:s, s:i}", "name", names[i], "pid", 0,
				 "state", "stopped", "restarts", 0));
	return json_pack(
	    "{s:b, s:o, s:[]}", "running", 0, "daemons", daemons, "listeners");
}

int
cmd_status(struct cli *cli)
{
	int code = cli_need_conf(cli);
	if (code != CLI_OK)
		return code;
	char *answer = supervisor_ask(cli, "status", false);
	json_t *status = answer ? json_loads(answer, 0, NULL) : NULL;
	bool running = status != NULL;
	free(answer);
	if (!running) {
		if (!cli->json)
			return not_running(cli);
		status = stopped_status();
	}
	queue_counts_add(cli, status);
	store_figures_add(cli, status);
	if (cli->json) {
		cli_json_print(status);
	} else {
		sockets_print(status);
		long long messages = 0, recipients = 0, held = 0;
		json_unpack(json_object_get(status, "queue"), "{s:I, s:I, s:I}",
		    "messages", &messages, "recipients", &recipients, "held", &held);
		printf("queue  %lld messages, %lld recipients, %lld held\n", messages,
		    recipients, held);
		store_figures_print(status);
		backup_state_print(status);
	}
	json_decref(status);
	return running ? CLI_OK : CLI_NOT_RUNNING;
}
