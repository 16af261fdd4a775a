/*
 * relay rules: the table of what refusals mean, as smtpd reads it at its start or reload:
 * the file that relay.reply_rules names, or the table that is shipped.  A bad line is
 * told.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "postroom/cli.h"
#include "text/reply_rule.h"

int
cmd_relay_rules(struct cli *cli)
{
	int code = cli_need_conf(cli);
	if (code != CLI_OK)
		return code;
	const char *path = cli->conf->relay.reply_rules;
	struct slice text = reply_rules_default();
	char *bytes = NULL;
	if (path[0] != '\0') {
		FILE *file = fopen(path, "re");
		if (!file)
			return cli_fail(CLI_CONFIG,
			    "relay.reply_rules: cannot open %s: %s", path,
			    strerror(errno));
		bytes = xcalloc(1, REPLY_RULES_BYTES_MAX + 2);
		size_t len = fread(bytes, 1, REPLY_RULES_BYTES_MAX + 1, file);
		fclose(file);
		text = slice_make(bytes, len);
	}
	struct reply_rules *rules = xcalloc(1, sizeof(*rules));
	unsigned line;
	const char *why;
	if (reply_rules_parse(text, rules, &line, &why))
		fwrite(text.ptr, 1, text.len, stdout);
	else
		code = cli_fail(CLI_CONFIG, "%s:%u: %s", path, line, why);
	free(rules);
	free(bytes);
	return code;
}
