/*
 * postroom: the command line and the supervisor.  Reads the global options, finds the
 * verb in the table, and runs it.  Called as sendmail, mailq or newaliases it is those
 * (sendmail.h).
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "postroom/cli.h"
#include "postroom/sendmail.h"

static int
usage_fail(const struct cli_verb *verb, const char *reason)
{
	return cli_fail(CLI_USAGE, "%s; use: postroom %s", reason, verb->usage);
}

/* The verb that the words name; *out_used is how many of them it took. */
static const struct cli_verb *
verb_find(int count, char **words, int *out_used)
{
	for (const struct cli_verb *v = cli_verbs(); v->noun; v++) {
		if (count < 1 || strcmp(words[0], v->noun) != 0)
			continue;
		if (!v->verb) {
			*out_used = 1;
			return v;
		}
		if (count >= 2 && strcmp(words[1], v->verb) == 0) {
			*out_used = 2;
			return v;
		}
	}
	return NULL;
}

static int
verb_unknown(int count, char **words)
{
	bool noun_known = false;
	char verbs[256] = "";
	for (const struct cli_verb *v = cli_verbs(); v->noun; v++) {
		if (count < 1 || strcmp(words[0], v->noun) != 0 || !v->verb)
			continue;
		noun_known = true;
		size_t len = strlen(verbs);
		snprintf(
		    verbs + len, sizeof(verbs) - len, "%s%s", len ? ", " : "", v->verb);
	}
	if (noun_known)
		return cli_fail(
		    CLI_USAGE, "\"postroom %s\" wants one of: %s", words[0], verbs);
	return cli_fail(CLI_USAGE,
	    count < 1 ? "no command given: \"postroom help\" lists them"
		      : "unknown command \"%s\": \"postroom help\" lists them",
	    words[0]);
}

/* Sets the option `word` (and its value from `next`) when the row knows it.  Returns how
 * many words it took, 0 when it is no option of this verb, -1 when the value is missing,
 * -2 when there are too many. */
static int
option_take(struct cli *cli, const struct cli_verb *verb, char *word, char *next)
{
	const char *at = verb->options;
	size_t name_len = strcspn(word, "=");
	while (at && *at) {
		size_t len = strcspn(at, " ");
		bool wants_value = at[len - 1] == '=';
		size_t plain = wants_value ? len - 1 : len;
		if (plain == name_len && strncmp(at, word, plain) == 0) {
			if (cli->option_count == CLI_OPTIONS_MAX)
				return -2;
			char *name = xstrdup(word);
			name[plain] = '\0';
			bool inline_value = word[name_len] == '=';
			if (inline_value != wants_value && inline_value)
				return 0;
			const char *value = !wants_value   ? ""
			                    : inline_value ? word + name_len + 1
			                                   : next;
			cli->options[cli->option_count++] =
			    (struct cli_option){name, value};
			if (!value)
				return -1;
			return wants_value && !inline_value ? 2 : 1;
		}
		at += len;
		while (*at == ' ')
			at++;
	}
	return 0;
}

/* Global options may stand anywhere.  True when the word was one. */
static bool
global_take(struct cli *cli, int argc, char **argv, int *i)
{
	const char *word = argv[*i];
	if (strcmp(word, "--json") == 0)
		cli->json = true;
	else if (strcmp(word, "--quiet") == 0)
		cli->quiet = true;
	else if (strcmp(word, "--yes") == 0)
		cli->yes = true;
	else if (strncmp(word, "--root=", 7) == 0)
		cli->root = word + 7;
	else if (strcmp(word, "--root") == 0 && *i + 1 < argc)
		cli->root = argv[++*i];
	else
		return false;
	return true;
}

static int
words_read(struct cli *cli, const struct cli_verb *verb, int count, char **words)
{
	bool options_end = false;
	for (int i = 0; i < count;) {
		char *word = words[i];
		if (!options_end && strcmp(word, "--") == 0) {
			options_end = true;
			i++;
			continue;
		}
		if (!options_end && word[0] == '-' && word[1] != '\0') {
			int taken = option_take(
			    cli, verb, word, i + 1 < count ? words[i + 1] : NULL);
			if (taken < 0)
				return usage_fail(verb, taken == -1
							    ? "an option lacks its value"
							    : "too many options");
			if (taken == 0)
				return usage_fail(verb, "unknown option");
			i += taken;
			continue;
		}
		if (cli->argument_count == CLI_ARGUMENTS_MAX)
			return usage_fail(verb, "too many arguments");
		cli->arguments[cli->argument_count++] = word;
		i++;
	}
	if (cli->argument_count < verb->arguments_min)
		return usage_fail(verb, "an argument is missing");
	if (cli->argument_count > verb->arguments_max)
		return usage_fail(verb, "too many arguments");
	return CLI_OK;
}

/* An absolute root, so that daemons may change their folder.  A root that is not there
 * yet is made by init, below a parent that must be there. */
static int
root_resolve(struct cli *cli)
{
	if (!cli->root)
		return CLI_OK;
	if (cli->root[0] == '\0')
		return cli_fail(CLI_USAGE, "--root wants a folder");
	char *real = realpath(cli->root, NULL);
	if (real) {
		cli->root = real;
		return CLI_OK;
	}
	if (cli->root[0] != '/') {
		char *here = realpath(".", NULL);
		char *path = NULL;
		if (!here || asprintf(&path, "%s/%s", here, cli->root) < 0)
			return cli_fail(CLI_IO, "cannot tell the current folder");
		free(here);
		cli->root = path;
	}
	return CLI_OK;
}

static int
postroom_main(int argc, char **argv)
{
	static struct cli cli;
	cli.program = argv[0];
	char **words = xcalloc((size_t)argc + 1, sizeof(*words));
	int count = 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--root") == 0 && i + 1 == argc)
			return cli_fail(CLI_USAGE, "--root wants a folder");
		if (!global_take(&cli, argc, argv, &i))
			words[count++] = argv[i];
	}
	if (count > 0 && (strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0))
		words[0] = xstrdup("help");
	if (count > 0 && strcmp(words[0], "--version") == 0)
		words[0] = xstrdup("version");
	int used = 0;
	const struct cli_verb *verb = verb_find(count, words, &used);
	if (!verb)
		return verb_unknown(count, words);
	int code = words_read(&cli, verb, count - used, words + used);
	if (code == CLI_OK)
		code = root_resolve(&cli);
	if (code == CLI_OK)
		code = verb->run(&cli);
	if (cli.reader)
		store_reader_free(&cli.reader);
	if (cli.store)
		store_close(&cli.store);
	if (fflush(stdout) != 0 && code == CLI_OK)
		code = cli_fail(CLI_IO, "could not write the output");
	free(words);
	return code;
}

int
main(int argc, char **argv)
{
	const char *name = sendmail_name(argc > 0 ? argv[0] : NULL);
	return name ? sendmail_main(name, argc, argv, postroom_main)
	            : postroom_main(argc, argv);
}
