/*
 * The manual page of the command, from the verb table.  Pure.
 */
#include "postroom/cli_man.h"

#include "postroom/cli.h"

static const struct {
	int code;
	const char *meaning;
} exit_codes[] = {
    {CLI_OK,            "done"						    },
    {CLI_FINDINGS,      "done, and something was found (check, verify, status)"   },
    {CLI_USAGE,         "the command line is not right"                           },
    {CLI_DATA,          "an argument or the input is not valid"                   },
    {CLI_NO_OBJECT,     "what the command names is not there"                     },
    {CLI_NOT_RUNNING,   "the server does not run"                                 },
    {CLI_SOFTWARE,      "a fault of the program itself"                           },
    {CLI_CANNOT_CREATE, "a file could not be made, or the object is there already"},
    {CLI_IO,            "a file could not be read or written"                     },
    {CLI_TRY_AGAIN,     "not now: try again"                                      },
    {CLI_NOT_ALLOWED,   "this user may not do it"                                 },
    {CLI_CONFIG,        "the configuration has errors; they are on standard error"},
};

/* Text in which nothing is special to roff. */
static void
write_text(struct buf *out, const char *text)
{
	bool line_start = true;
	for (; *text; text++) {
		if (line_start && (*text == '.' || *text == '\''))
			buf_append_cstr(out, "\\&");
		if (*text == '-')
			buf_append_cstr(out, "\\-");
		else if (*text == '\\')
			buf_append_cstr(out, "\\e");
		else if (*text == '\'')
			buf_append_cstr(out, "\\(aq");
		else
			buf_append_byte(out, *text);
		line_start = *text == '\n';
	}
}

static void
write_section(struct buf *out, const char *name, const char *text)
{
	buf_append_format(out, ".SH %s\n", name);
	write_text(out, text);
	buf_append_byte(out, '\n');
}

void
cli_man_write(struct buf *out)
{
	buf_append_cstr(out,
	    ".\\\" Made from the verb table by `postroom_test_cli_man --write`.\n"
	    ".TH POSTROOM 1 \"\" Postroom \"User Commands\"\n"
	    ".SH NAME\npostroom \\- run and look after a Postroom mail server\n"
	    ".SH SYNOPSIS\n.B postroom\n[\\-\\-root DIR] COMMAND [ARGUMENT...]\n");
	write_section(out, "DESCRIPTION",
	    "One command makes, runs and looks after the server: its daemons receive and "
	    "relay mail (SMTP), hand it over (POP3) and keep it (IMAP) in one store. "
	    "Domains, accounts, aliases and relay rules are in the store; what the "
	    "machine "
	    "does is in one file (see FILES). Errors are one line on standard error that "
	    "says what is wrong and what to do.");
	buf_append_cstr(out,
	    ".SH OPTIONS\n.TP\n.B \\-\\-root DIR\nan instance of its own "
	    "below DIR; without it the system\\(aqs paths\n"
	    ".TP\n.B \\-\\-json\nanswers for scripts, where a command "
	    "says so\n"
	    ".TP\n.B \\-\\-yes\ndo not ask before what cannot be undone\n"
	    ".TP\n.B \\-\\-quiet\nno progress\n.SH COMMANDS\n");
	for (const struct cli_verb *verb = cli_verbs(); verb->noun; verb++) {
		buf_append_cstr(out, ".TP\n.B ");
		write_text(out, verb->usage);
		buf_append_byte(out, '\n');
		write_text(out, verb->help);
		buf_append_byte(out, '\n');
	}
	buf_append_cstr(out, ".SH EXIT STATUS\n");
	for (size_t i = 0; i < sizeof(exit_codes) / sizeof(exit_codes[0]); i++) {
		buf_append_format(out, ".TP\n.B %d\n", exit_codes[i].code);
		write_text(out, exit_codes[i].meaning);
		buf_append_byte(out, '\n');
	}
	buf_append_cstr(out,
	    ".SH FILES\n.TP\n.I DIR/etc/postroom.conf, /etc/postroom/postroom.conf\nthe "
	    "configuration; docs/config.md lists every setting\n"
	    ".TP\n.I DIR/store, /var/lib/postroom\nall mail and the directory\n"
	    ".TP\n.I DIR/log, /var/log/postroom\nlog files and the trace\n");
}
