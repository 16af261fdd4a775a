/*
 * The control socket's both ends, and reloads; see supervisor_int.h.
 *
 * A reload is a number, the generation.  Each daemon reads the file by itself, all or
 * nothing, and writes one octet: taken or kept.  A SIGHUP that comes while a daemon reads
 * may be lost in the one before, so the next is sent when it has answered.
 */
#include "postroom/supervisor_int.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "net/daemon.h"

enum { CONTROL_WORD_MAX = 32 };

static const char *
state_word(enum child_state state)
{
	static const char *const words[] = {"stopped", "starting", "running", "stopping"};
	return words[state];
}

/* ---- control ---- */

static char *
status_json(const struct supervisor *s)
{
	json_t *out = json_object();
	json_object_set_new(out, "running", json_true());
	json_object_set_new(out, "pid", json_integer(getpid()));
	json_object_set_new(out, "version", json_string(POSTROOM_VERSION));
	json_object_set_new(out, "hostname", json_string(s->conf->hostname));
	json_object_set_new(out, "uptime_s",
	    json_integer((json_int_t)((clock_mono_ms() - s->began_ms) / 1000)));
	json_object_set_new(out, "generation", json_integer((json_int_t)s->generation));
	json_t *daemons = json_array();
	for (unsigned i = 0; i < DAEMON_COUNT; i++) {
		const struct child *child = &s->children[i];
		json_array_append_new(daemons,
		    json_pack("{s:s, s:i, s:s, s:i, s:I}", "name", child->name, "pid",
			(int)child->pid, "state", state_word(child->state), "restarts",
			(int)child->restarts, "generation", (json_int_t)child->has));
	}
	json_object_set_new(out, "daemons", daemons);
	json_t *listeners = json_array();
	for (size_t i = 0; i < s->socket_count; i++) {
		const struct bound_socket *b = &s->sockets[i];
		json_array_append_new(listeners,
		    json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "name", b->listener->name,
			"daemon", s->children[b->daemon].name, "protocol",
			conf_protocol_word(b->listener->protocol), "address", b->address,
			"port", (int)b->listener->port, "tls",
			conf_tls_word(b->listener->tls)));
	}
	json_object_set_new(out, "listeners", listeners);
	char *text = json_dumps(out, JSON_COMPACT);
	json_decref(out);
	return text;
}

/* Also the way to take up a new log file after the old one was moved away. */
void
supervisor_log_start(const struct conf *conf)
{
	bool to_stderr = strcmp(conf->log.to, "stderr") == 0;
	enum log_format format =
	    strcmp(conf->log.format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	if (!log_open(
		"postroom", LOG_LEVEL_INFO, format, to_stderr ? NULL : conf->log.to))
		LOG_WARN("log.fail", LF_STR("path", conf->log.to),
		    LF_STR("reason", strerror(errno)));
}

/* ---- reloads ---- */

static void
child_ask(const struct supervisor *s, struct child *child)
{
	child->asked = s->generation;
	child->asking = kill(child->pid, SIGHUP) == 0;
}

void
reload_begin(struct supervisor *s)
{
	s->generation++;
	supervisor_log_start(s->conf);
	for (unsigned i = 0; i < DAEMON_COUNT; i++) {
		if (s->children[i].pid > 0 && !s->children[i].asking)
			child_ask(s, &s->children[i]);
	}
}

void
reload_word(struct supervisor *s, struct child *child, char word)
{
	/* Somebody else sent it a SIGHUP. */
	if (!child->asking)
		return;
	child->asking = false;
	child->answered = child->asked;
	if (word == DAEMON_WORD_TAKEN)
		child->has = child->asked;
	if (child->asked < s->generation && child->pid > 0)
		child_ask(s, child);
}

/* What became of that reload with this daemon; null: not known yet. */
static const char *
reload_outcome(const struct child *child, uint64_t generation, bool late)
{
	if (child->has >= generation)
		return "taken";
	if (child->has > 0 && child->answered >= generation)
		return "kept";
	if (!late)
		return NULL;
	return child->state == CHILD_RUNNING ? "late" : "down";
}

/* False: it must wait on. */
static bool
reload_client_answer(const struct supervisor *s, const struct reload_client *client)
{
	bool late = s->stopping || clock_mono_ms() >= client->deadline_ms;
	bool ok = true;
	const char *outcomes[DAEMON_COUNT];
	for (unsigned i = 0; i < DAEMON_COUNT; i++) {
		outcomes[i] = reload_outcome(&s->children[i], client->generation, late);
		if (!outcomes[i])
			return false;
		ok = ok && strcmp(outcomes[i], "taken") == 0;
	}
	json_t *daemons = json_array();
	for (unsigned i = 0; i < DAEMON_COUNT; i++)
		json_array_append_new(
		    daemons, json_pack("{s:s, s:s}", "name", s->children[i].name,
				 "reload", outcomes[i]));
	json_t *out = json_pack("{s:b, s:I, s:o}", "ok", ok, "generation",
	    (json_int_t)client->generation, "daemons", daemons);
	char *text = json_dumps(out, JSON_COMPACT);
	dprintf(client->fd, "%s\n", text);
	free(text);
	json_decref(out);
	return true;
}

void
reload_answer(struct supervisor *s)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct reload_client *client = &s->reload_clients[i];
		if (client->fd >= 0 && reload_client_answer(s, client)) {
			close(client->fd);
			client->fd = -1;
		}
	}
}

/* Takes the connection over, to be answered when the daemons have told. */
static void
reload_wait(struct supervisor *s, int fd)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct reload_client *client = &s->reload_clients[i];
		if (client->fd >= 0)
			continue;
		*client = (struct reload_client){
		    fd, s->generation, clock_mono_ms() + SUPERVISOR_RELOAD_MS};
		return;
	}
	dprintf(fd, "{\"error\": \"too many reloads at once\"}\n");
	close(fd);
}

/* ---- clients ---- */

void
control_answer(struct supervisor *s, int *slot)
{
	char word[CONTROL_WORD_MAX] = "";
	ssize_t got = recv(*slot, word, sizeof(word) - 1, 0);
	if (got < 0 && errno == EAGAIN)
		return;
	int fd = *slot;
	*slot = -1;
	word[got > 0 ? strcspn(word, "\r\n") : 0] = '\0';
	if (strcmp(word, "status") == 0) {
		char *text = status_json(s);
		dprintf(fd, "%s\n", text);
		free(text);
	} else if (strcmp(word, "reload") == 0) {
		reload_begin(s);
		reload_wait(s, fd);
		return;
	} else if (strcmp(word, "stop") == 0) {
		s->stopping = true;
		dprintf(fd, "{\"ok\": true}\n");
		/* Held open: it closes when all is down. */
		for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
			if (s->stop_clients[i] < 0) {
				s->stop_clients[i] = fd;
				return;
			}
		}
	} else {
		dprintf(fd, "{\"error\": \"unknown word\"}\n");
	}
	close(fd);
}

/* Only root and the user who started us may ask. */
void
control_accept(struct supervisor *s)
{
	int fd = accept4(s->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	bool allowed = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	               (peer.uid == 0 || peer.uid == geteuid());
	for (unsigned i = 0; allowed && i < CONTROL_CLIENTS_MAX; i++) {
		if (s->clients[i] < 0) {
			s->clients[i] = fd;
			return;
		}
	}
	close(fd);
}

static bool
control_address(const struct conf *conf, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	int len = snprintf(
	    out->sun_path, sizeof(out->sun_path), "%s/control.sock", conf->run_dir);
	return len > 0 && (size_t)len < sizeof(out->sun_path);
}

int
control_listen(struct supervisor *s)
{
	struct sockaddr_un address;
	if (!control_address(s->conf, &address))
		return cli_fail(CLI_CONFIG,
		    "run_dir %s is too long for a socket's path (107 characters): choose "
		    "a shorter one",
		    s->conf->run_dir);
	char lock[4200];
	snprintf(lock, sizeof(lock), "%s/lock", s->conf->run_dir);
	if (mkdir(s->conf->run_dir, 0755) != 0 && errno != EEXIST)
		return cli_fail(CLI_CANNOT_CREATE, "could not make %s: %s",
		    s->conf->run_dir, strerror(errno));
	s->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (s->lock_fd < 0)
		return cli_fail(
		    CLI_CANNOT_CREATE, "could not open %s: %s", lock, strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return cli_fail(CLI_TRY_AGAIN,
		    "this instance is running already: see postroom status");
	unlink(address.sun_path);
	s->control_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->control_fd < 0 ||
	    bind(s->control_fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(address.sun_path, 0660) != 0 || listen(s->control_fd, 16) != 0)
		return cli_fail(CLI_CANNOT_CREATE, "could not listen on %s: %s",
		    address.sun_path, strerror(errno));
	return CLI_OK;
}

void
control_unlink(const struct supervisor *s)
{
	struct sockaddr_un address;
	if (control_address(s->conf, &address))
		unlink(address.sun_path);
}

char *
supervisor_ask(const struct cli *cli, const char *word, bool until_closed)
{
	struct sockaddr_un address;
	if (!control_address(cli->conf, &address))
		return NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    dprintf(fd, "%s\n", word) < 0) {
		close(fd);
		return NULL;
	}
	char *answer = NULL;
	size_t size = 0;
	FILE *in = fdopen(fd, "r");
	ENSURE(in);
	if (getline(&answer, &size, in) < 0) {
		free(answer);
		answer = NULL;
	}
	while (answer && until_closed && fgetc(in) != EOF)
		;
	fclose(in);
	return answer;
}
