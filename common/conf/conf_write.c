/*
 * Writes the commented sample and docs/config.md from the schema table.
 *
 * In the sample a setting that may be left out begins with `#` directly before its name;
 * everything else in it that begins with `#` has a blank behind.  So taking the first
 * away (tests do) gives a file that says in full what leaving it out means.
 */
#include "conf/conf_int.h"

#include <inttypes.h>

enum { COMMENT_COLUMN = 44, NAME_WIDTH = 21 };

struct listener_row {
	const char *name;
	const char *protocol;
	unsigned port;
	const char *tls;
};

static const struct listener_row listener_rows[] = {
    {"mx",          "smtp",       25,  "starttls"},
    {"submissions", "submission", 465, "implicit"},
    {"submission",  "submission", 587, "starttls"},
    {"imaps",       "imap",       993, "implicit"},
    {"imap",        "imap",       143, "starttls"},
    {"pop3s",       "pop3",       995, "implicit"},
    {"pop3",        "pop3",       110, "starttls"},
};

static const struct section_row {
	const char *name;
	const char *help;
} section_rows[] = {
    {"tls",     "the certificate of all listeners"                        },
    {"store",   "where mail lies"					 },
    {"smtp",    "mail that comes in"				      },
    {"relay",   "mail that goes out; one host for all: postroom relay add"},
    {"webhook", "what becomes of messages, told to a program"             },
    {"imap",    ""							},
    {"pop3",    ""							},
    {"auth",    "logging in"					      },
    {"oauth",   "logging in by tokens of somebody else"                   },
    {"dns",     ""							},
    {"log",     ""							},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void
pad_to(struct buf *out, size_t line_start, size_t column)
{
	do
		buf_append_byte(out, ' ');
	while (buf_ok(out) && out->len - line_start < column);
}

/* A string of the file's grammar. */
static void
write_quoted(struct buf *out, const char *text)
{
	buf_append_byte(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_append_byte(out, '\\');
		buf_append_byte(out, *text);
	}
	buf_append_byte(out, '"');
}

static void
write_setting(struct buf *out, const char *indent, const struct conf_key *key)
{
	size_t line_start = out->len;

	buf_append_format(out, "%s#%-*s = ", indent, NAME_WIDTH, key->name);
	conf_value_write_default(key, out);
	pad_to(out, line_start, COMMENT_COLUMN);
	buf_append_cstr(out, "# ");
	if (key->restart)
		buf_append_cstr(out, "(R) ");
	if (key->words && key->type != CONF_TYPE_PATH)
		buf_append_format(out, "%s; ", key->words);
	buf_append_format(out, "%s\n", key->help);
}

static void
write_section(struct buf *out, const struct section_row *section)
{
	size_t line_start = out->len + 1;

	buf_append_format(out, "\n%s {", section->name);
	if (*section->help) {
		pad_to(out, line_start, COMMENT_COLUMN);
		buf_append_format(out, "# %s", section->help);
	}
	buf_append_byte(out, '\n');
	for (size_t i = 0; i < conf_key_count; i++)
		if (strcmp(conf_keys[i].section, section->name) == 0)
			write_setting(out, "    ", &conf_keys[i]);
	buf_append_cstr(out, "}\n");
}

static void
write_listeners(struct buf *out, unsigned port_base, bool public_addresses)
{
	buf_append_cstr(out, "\n# ---- listeners: protocol, port, TLS, address; delete "
			     "what you do not want "
			     "----\n");
	for (size_t i = 0; i < COUNT_OF(listener_rows); i++) {
		const struct listener_row *row = &listener_rows[i];
		buf_append_format(out,
		    "listener \"%s\" { protocol = %s  port = %u  tls = %s  address = %s "
		    "}\n",
		    row->name, row->protocol, row->port + port_base, row->tls,
		    public_addresses ? "{\"0.0.0.0\", \"[::]\"}"
				     : "{\"127.0.0.1\", \"[::1]\"}");
	}
	buf_append_cstr(out,
	    "# also: mail by LMTP (RFC 2033), and by sendmail(1) from users "
	    "of this machine\n"
	    "# listener \"lmtp\" { protocol = lmtp  port = 24  address = "
	    "{\"127.0.0.1\"} }\n"
	    "# listener \"sendmail\" { protocol = local }\n");
	buf_append_cstr(out, "# every listener also takes (defaults shown):\n");
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		if (strcmp(key->section, "listener") != 0 || !key->fallback)
			continue;
		size_t line_start = out->len;
		buf_append_format(out, "#   %s = ", key->name);
		conf_value_write_default(key, out);
		pad_to(out, line_start, COMMENT_COLUMN);
		buf_append_format(out, "%s%s%s\n", key->words ? key->words : "",
		    key->words ? "; " : "", key->help);
	}
}

void
conf_write_sample(
    struct buf *out, const char *hostname, unsigned port_base, bool public_addresses)
{
	buf_append_cstr(out, "# Postroom: the machine. People, domains, aliases, keys "
			     "and relays are in the "
			     "store:\n"
			     "# postroom domain|account|alias|relay. Every key is shown "
			     "with its default; a "
			     "line that\n"
			     "# starts with # may be left out. (R): needs a restart, all "
			     "else is taken up by "
			     "a reload.\n"
			     "# Durations: 30s 5m 4h 5d. Sizes: 25M 1G. Relative paths "
			     "begin at the root.\n"
			     "# Check before use: postroom check\n\n"
			     "begin = \"postroom.conf\"    # what is cut off before end, "
			     "the last line, does "
			     "not start\n"
			     "hostname = ");
	write_quoted(out, hostname);
	buf_append_cstr(
	    out, "    # (R) the name in EHLO, banners and the certificate\n\n");
	for (size_t i = 0; i < conf_key_count; i++)
		if (*conf_keys[i].section == '\0' && conf_keys[i].fallback)
			write_setting(out, "", &conf_keys[i]);
	write_listeners(out, port_base, public_addresses);
	for (size_t i = 0; i < COUNT_OF(section_rows); i++)
		write_section(out, &section_rows[i]);
	buf_append_cstr(out, "\nend = \"postroom.conf\"\n");
}

/* docs/config.md --------------------------------------------------------------------- */

static void
write_range(struct buf *out, const struct conf_key *key, const char *what)
{
	conf_value_write_number(key, key->min, out);
	buf_append_cstr(out, " to ");
	conf_value_write_number(key, key->max, out);
	buf_append_cstr(out, what);
}

/* What may be written, for the table. */
static void
write_allowed(struct buf *out, const struct conf_key *key)
{
	struct slice rest = slice_from_cstr(key->words);

	for (bool first = true; rest.ptr; first = false) {
		struct slice word = slice_split(&rest, '|');
		buf_append_format(out, "%s`%.*s`", first ? "" : ", ", SLICE_ARG(word));
	}
	switch (key->type) {
	case CONF_TYPE_BOOL:
		buf_append_cstr(out, "`true`, `false`");
		break;
	case CONF_TYPE_U16:
	case CONF_TYPE_U32:
	case CONF_TYPE_PERCENT:
	case CONF_TYPE_SIZE:
	case CONF_TYPE_DURATION_MS:
	case CONF_TYPE_DURATION_S:
		write_range(out, key, "");
		break;
	case CONF_TYPE_DAYS:
		buf_append_format(out, "`never`, 1d to %" PRIu64 "d", key->max);
		break;
	case CONF_TYPE_TEXT:
		write_range(out, key, " characters");
		break;
	case CONF_TYPE_PATH:
		buf_append_cstr(out, key->words ? " or a path" : "path");
		break;
	case CONF_TYPE_HOSTNAME:
		buf_append_cstr(out, "host name");
		break;
	case CONF_TYPE_LIST_WORD:
		buf_append_cstr(out, " (list)");
		break;
	case CONF_TYPE_LIST_ADDRESS:
	case CONF_TYPE_LIST_SERVER:
		buf_append_cstr(out, "list of addresses");
		break;
	case CONF_TYPE_LIST_NETWORK:
		buf_append_cstr(out, "list of networks");
		break;
	case CONF_TYPE_LIST_DURATION_S:
		buf_append_cstr(out, "list of durations");
		break;
	case CONF_TYPE_WORD:
	case CONF_TYPE_ENUM:
		break;
	}
}

static void
write_markdown_table(struct buf *out, const char *section)
{
	buf_append_cstr(out, "| key | default | allowed | change by | meaning |\n"
			     "|---|---|---|---|---|\n");
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		if (strcmp(key->section, section) != 0)
			continue;
		buf_append_format(out, "| `%s` | ", key->name);
		if (key->fallback) {
			buf_append_byte(out, '`');
			conf_value_write_default(key, out);
			buf_append_byte(out, '`');
		} else {
			buf_append_cstr(out, "none: must be set");
		}
		buf_append_cstr(out, " | ");
		write_allowed(out, key);
		buf_append_format(out, " | %s | %s |\n",
		    key->restart ? "restart" : "reload", key->help);
	}
	buf_append_byte(out, '\n');
}

void
conf_write_markdown(struct buf *out)
{
	buf_append_cstr(out,
	    "# Configuration\n\n"
	    "Generated from `common/conf/conf_schema.c`; do not edit "
	    "(`conf_test_conf_write --write` writes it anew).\n\n"
	    "`etc/postroom.conf` says what the machine does; domains, accounts, aliases "
	    "and "
	    "relays are in the store. `postroom check` reads the file and lists all that "
	    "is "
	    "wrong with it, with file and line.\n\n"
	    "- A setting is `name = value`, a list is `name = {\"a\", \"b\"}`, a section "
	    "is "
	    "`name { ... }`. Comments: `# ...`, `// ...`, `/* ... */`.\n"
	    "- Durations: a number and `ms`, `s`, `m`, `h`, `d` or `w`, such as `30s` or "
	    "`5m`. Sizes: bytes, or a number and `K`, `M`, `G` or `T` (powers of 1,024), "
	    "such as `25M`.\n"
	    "- Values may stand without quotes when they have neither blanks nor any of "
	    "`# \" ' { } ( ) = + ,`. Inside \"...\" a backslash escapes; inside '...' "
	    "nothing "
	    "is special. `${...}` would be taken from the environment by the library and "
	    "is "
	    "refused.\n"
	    "- Paths that are relative begin at the root (`postroom --root`).\n"
	    "- A setting that comes twice is warned about; the last one counts.\n"
	    "- A file with any error is not used at all. A file that begins with `begin "
	    "= "
	    "\"postroom.conf\"` must hold `end = \"postroom.conf\"` too: one that is cut "
	    "off "
	    "anywhere never starts a server.\n\n"
	    "## Outside of sections\n\n");
	write_markdown_table(out, "");
	buf_append_cstr(out, "## listener \"name\" { ... }\n\nOne for each port; at most "
			     "32. Names are free "
			     "and used once.\n\n");
	write_markdown_table(out, "listener");
	for (size_t i = 0; i < COUNT_OF(section_rows); i++) {
		const struct section_row *row = &section_rows[i];
		buf_append_format(out, "## %s { ... }\n\n", row->name);
		if (*row->help)
			buf_append_format(
			    out, "%c%s.\n\n", ascii_upper(row->help[0]), row->help + 1);
		write_markdown_table(out, row->name);
	}
	/* The last table's empty line is not wanted at the end of the file. */
	if (out->len > 0)
		buf_truncate(out, out->len - 1);
}
