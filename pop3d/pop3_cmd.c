/*
 * The POP3 command table, its dispatcher, and the commands that need no file of their
 * own: CAPA (RFC 2449), NOOP.
 */
#include "pop3d/pop3_cmd.h"

#include <stdio.h>

#include "pop3d/pop3_resp.h"

/* RFC 2449 section 6.7: before login the smallest value that any user may have. */
static void
capa_expire(struct pop3_session *s)
{
	if (s->state != POP3_TRANSACTION)
		conn_write(s->conn, SLICE("EXPIRE 0 USER\r\n"));
	else if (s->rule.policy == POP3_POLICY_DAYS)
		conn_write_format(s->conn, "EXPIRE %u\r\n", (unsigned)s->rule.days);
	else if (s->rule.policy == POP3_POLICY_DELETE)
		conn_write(s->conn, SLICE("EXPIRE 0\r\n"));
	else
		conn_write(s->conn, SLICE("EXPIRE NEVER\r\n"));
}

static void
cmd_capa(struct pop3_session *s, const struct pop3_line *line)
{
	(void)line;
	struct auth *auth = service_auth(s->service);
	bool secure = conn_is_secure(s->conn);
	pop3_resp_ok(s, "capabilities follow");
	conn_write(s->conn, SLICE("TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n"
				  "PIPELINING\r\nUTF8 USER\r\nLANG\r\n"));
	capa_expire(s);
	uint64_t delay_s = service_conf(s->service)->pop3.login_delay_s;
	if (delay_s > 0)
		conn_write_format(
		    s->conn, "LOGIN-DELAY %llu\r\n", (unsigned long long)delay_s);
	if (s->has_tls_settings && !secure)
		conn_write(s->conn, SLICE("STLS\r\n"));
	if (service_mechanism_allowed(auth, SLICE("PLAIN"), s->conn))
		conn_write(s->conn, SLICE("USER\r\n"));
	struct slice mechanisms = service_mechanisms(auth, s->conn);
	if (!slice_is_empty(mechanisms))
		conn_write_format(s->conn, "SASL %.*s\r\n", SLICE_ARG(mechanisms));
	/* Who we are is told to those who have logged in (RFC 2449 section 6.9). */
	if (s->state == POP3_TRANSACTION)
		conn_write(
		    s->conn, SLICE("IMPLEMENTATION Postroom-" POSTROOM_VERSION "\r\n"));
	conn_write(s->conn, SLICE(".\r\n"));
}

static void
cmd_noop(struct pop3_session *s, const struct pop3_line *line)
{
	(void)line;
	pop3_resp_ok(s, "nothing done");
}

/* RFC 6856 section 2: messages are stored and sent as they came, so the mode changes
 * nothing here.  Without it, too, headers in UTF-8 go out as they are: refusing them
 * would hide mail that every client shows in some way. */
static void
cmd_utf8(struct pop3_session *s, const struct pop3_line *line)
{
	(void)line;
	pop3_resp_ok(s, "UTF-8 it is");
}

/* RFC 6856 section 3.2: our texts are English; RFC 4647's basic matching of the range. */
static void
cmd_lang(struct pop3_session *s, const struct pop3_line *line)
{
	static const struct slice ours[] = {SLICE("en"), SLICE("i-default")};
	if (line->argument_count == 0) {
		pop3_resp_ok(s, "languages follow");
		conn_write(
		    s->conn, SLICE("en English\r\ni-default Default language\r\n.\r\n"));
		return;
	}
	struct slice range = line->arguments[0];
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (slice_equal(range, SLICE("*")) ||
		    slice_equal_nocase(range, ours[i])) {
			pop3_resp_ok_format(
			    s, "%.*s language selected", SLICE_ARG(ours[i]));
			return;
		}
	}
	pop3_resp_err(s, NULL, "this language is not spoken here; LANG lists what is");
}

#define BOTH (POP3_CMD_AUTHORIZATION | POP3_CMD_TRANSACTION)

/* clang-format off */
static const struct pop3_command commands[] = {
	{SLICE("APOP"), POP3_CMD_AUTHORIZATION, 2, 2, pop3_cmd_apop, "APOP name digest", "RFC 1939 section 7"},
	{SLICE("AUTH"), POP3_CMD_AUTHORIZATION, 0, 2, pop3_cmd_auth, "AUTH mechanism [response]", "RFC 5034 section 4"},
	{SLICE("CAPA"), BOTH,                   0, 0, cmd_capa,      "CAPA",           "RFC 2449 section 5"},
	{SLICE("DELE"), POP3_CMD_TRANSACTION,   1, 1, pop3_cmd_dele, "DELE message",   "RFC 1939 section 5"},
	{SLICE("LANG"), BOTH,                   0, 1, cmd_lang,      "LANG [language]", "RFC 6856 section 3.2"},
	{SLICE("LIST"), POP3_CMD_TRANSACTION,   0, 1, pop3_cmd_list, "LIST [message]", "RFC 1939 section 5"},
	{SLICE("NOOP"), POP3_CMD_TRANSACTION,   0, 0, cmd_noop,      "NOOP",           "RFC 1939 section 5"},
	{SLICE("PASS"), POP3_CMD_AUTHORIZATION, 1, 9, pop3_cmd_pass, "PASS password",  "RFC 1939 section 7"},
	{SLICE("QUIT"), BOTH,                   0, 0, pop3_cmd_quit, "QUIT",           "RFC 1939 section 6"},
	{SLICE("RETR"), POP3_CMD_TRANSACTION,   1, 1, pop3_cmd_retr, "RETR message",   "RFC 1939 section 5"},
	{SLICE("RSET"), POP3_CMD_TRANSACTION,   0, 0, pop3_cmd_rset, "RSET",           "RFC 1939 section 5"},
	{SLICE("STAT"), POP3_CMD_TRANSACTION,   0, 0, pop3_cmd_stat, "STAT",           "RFC 1939 section 5"},
	{SLICE("STLS"), POP3_CMD_AUTHORIZATION | POP3_CMD_CLEAR_ONLY,
	                                        0, 0, pop3_cmd_stls, "STLS",           "RFC 2595 section 4"},
	{SLICE("TOP"),  POP3_CMD_TRANSACTION,   2, 2, pop3_cmd_top,  "TOP message lines", "RFC 1939 section 7"},
	{SLICE("UIDL"), POP3_CMD_TRANSACTION,   0, 1, pop3_cmd_uidl, "UIDL [message]", "RFC 1939 section 7"},
	{SLICE("USER"), POP3_CMD_AUTHORIZATION, 1, 1, pop3_cmd_user, "USER name",      "RFC 1939 section 7"},
	{SLICE("UTF8"), BOTH,                   0, 0, cmd_utf8,      "UTF8",           "RFC 6856 section 2.1"},
};
/* clang-format on */

const struct pop3_command *
pop3_cmd_table(size_t *out_count)
{
	*out_count = sizeof(commands) / sizeof(commands[0]);
	return commands;
}

static const struct pop3_command *
command_find(struct slice name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (slice_equal_nocase(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

void
pop3_cmd_dispatch(struct pop3_session *s, struct slice text)
{
	struct pop3_line line;
	if (!pop3_line_parse(text, &line)) {
		pop3_resp_err(s, NULL, "this is no command line");
		return;
	}
	const struct pop3_command *command = command_find(line.keyword);
	if (!command) {
		pop3_resp_err(s, NULL, "unknown command; CAPA lists what is known");
		return;
	}
	unsigned state_bit =
	    s->state == POP3_TRANSACTION ? POP3_CMD_TRANSACTION : POP3_CMD_AUTHORIZATION;
	if (!(command->bits & state_bit)) {
		pop3_resp_err(s, NULL,
		    s->state == POP3_TRANSACTION ? "you are logged in already"
						 : "log in first");
		return;
	}
	if (line.argument_count < command->arguments_min ||
	    line.argument_count > command->arguments_max) {
		char reply[128];
		snprintf(reply, sizeof(reply), "wrong arguments; use %s", command->usage);
		pop3_resp_err(s, NULL, reply);
		return;
	}
	command->run(s, &line);
}
