/*
 * Passwords on the command line; see password.h.
 */
#include "postroom/password.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "auth/credential.h"
#include "base/ensure.h"
#include "base/ids.h"

/* One line without its end; null at the end of input. */
static char *
line_read(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len = getline(&line, &size, stdin);
	if (len < 0) {
		free(line);
		return NULL;
	}
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	return line;
}

static char *
prompt(const char *text)
{
	struct termios old, quiet;
	bool is_terminal = tcgetattr(STDIN_FILENO, &old) == 0;
	if (is_terminal) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	fprintf(stderr, "%s: ", text);
	char *line = line_read();
	if (is_terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	return line;
}

static char *
password_make(void)
{
	char id[ID_TEXT_SIZE];
	id_make(id);
	char *password = NULL;
	if (asprintf(&password, "%.5s-%.5s-%.6s", id, id + 5, id + 10) < 0)
		abort();
	fprintf(stderr, "password made: %s\n", password);
	return password;
}

int
password_read(struct cli *cli, unsigned minimum, char **out)
{
	char *password;
	if (cli_option(cli, "--password-stdin")) {
		password = line_read();
		if (!password || password[0] == '\0') {
			free(password);
			return cli_fail(CLI_USAGE,
			    "--password-stdin wants one line on standard input");
		}
	} else if (!isatty(STDIN_FILENO)) {
		return cli_fail(
		    CLI_USAGE, "no terminal to ask for a password: use --password-stdin");
	} else {
		password = prompt("password (empty = make one)");
		char *again = password && password[0] ? prompt("the same again") : NULL;
		bool differs = again && strcmp(password, again) != 0;
		free(again);
		if (!password || differs) {
			free(password);
			return cli_fail(
			    CLI_DATA, "the two passwords differ: nothing was changed");
		}
		if (password[0] == '\0') {
			free(password);
			password = password_make();
		}
	}
	if (strlen(password) < minimum) {
		free(password);
		return cli_fail(CLI_DATA,
		    "the password is shorter than auth.password_min (%u characters)",
		    minimum);
	}
	*out = password;
	return CLI_OK;
}

int
password_keys(struct cli *cli, const char *password, struct buf *out)
{
	buf_init(out, CREDENTIAL_TEXT_MAX);
	enum status status =
	    credential_make(slice_from_cstr(password), cli->conf->auth.iterations, out);
	if (status == STATUS_INVALID)
		return cli_fail(CLI_DATA,
		    "the password has characters that SASLprep (RFC 4013) forbids");
	if (status != STATUS_OK)
		return cli_fail_status(status, "make the password's keys");
	return CLI_OK;
}
