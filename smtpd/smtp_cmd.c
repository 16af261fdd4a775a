/*
 * The SMTP command table, its dispatcher, and the commands that need no file of their
 * own: EHLO, HELO, NOOP, RSET, QUIT, HELP (RFC 5321), STARTTLS (RFC 3207).
 */
#include "smtpd/smtp_cmd.h"

#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "smtpd/smtp_parse.h"
#include "smtpd/smtp_resp.h"

static bool
starttls_is_offered(struct smtp_session *s)
{
	if (s->listener->tls != LISTENER_TLS_STARTTLS || conn_is_secure(s->conn))
		return false;
	struct tls_context *tls = service_tls(s->service);
	bool offered = tls != NULL;
	tls_context_unref(&tls);
	return offered;
}

static bool
helo_take(struct smtp_session *s, struct slice rest, bool extended)
{
	if (!smtp_helo_is_valid(rest)) {
		smtp_resp_bad(s, 501, "5.5.4",
		    rest.len > 0 ? "this is no host name or address literal"
		    : s->lmtp    ? "your name is missing: LHLO name"
				 : "your name is missing: EHLO name");
		return false;
	}
	smtp_session_helo(s, rest, extended);
	return true;
}

static void
cmd_helo(struct smtp_session *s, struct slice rest)
{
	if (helo_take(s, rest, false))
		smtp_resp(s, 250, NULL, service_conf(s->service)->hostname);
}

static void
cmd_ehlo(struct smtp_session *s, struct slice rest)
{
	if (!helo_take(s, rest, true))
		return;
	const struct conf *conf = service_conf(s->service);
	struct slice mechanisms = smtp_auth_offer(s);
	uint32_t recipients = conf->smtp.max_recipients < SMTP_TARGETS_MAX
	                          ? conf->smtp.max_recipients
	                          : SMTP_TARGETS_MAX;
	/* Who delivers by LMTP reports itself, by the replies to each recipient. */
	conn_write_format(s->conn,
	    "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n"
	    "250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-"
	    "BINARYMIME\r\n%s250-LIMITS RCPTMAX=%u MAILMAX=%u\r\n",
	    conf->hostname, (unsigned long long)conf->smtp.max_message_size,
	    s->lmtp ? "" : "250-DSN\r\n250-DELIVERBY\r\n", recipients,
	    conf->smtp.max_messages);
	if (conn_is_secure(s->conn) && !s->lmtp)
		conn_write(s->conn, SLICE("250-REQUIRETLS\r\n"));
	if (smtp_mail_takes_priority(s))
		conn_write(s->conn, SLICE("250-MT-PRIORITY\r\n"));
	if (smtp_vrfy_is_open(s))
		conn_write(s->conn, SLICE("250-EXPN\r\n"));
	if (smtp_mail_takes_hold(s)) {
		char until[32];
		struct tm tm;
		time_t until_s =
		    (time_t)(clock_wall_s() + (int64_t)conf->smtp.max_hold_s);
		gmtime_r(&until_s, &tm);
		strftime(until, sizeof(until), "%Y-%m-%dT%H:%M:%SZ", &tm);
		conn_write_format(s->conn, "250-FUTURERELEASE %llu %s\r\n",
		    (unsigned long long)conf->smtp.max_hold_s, until);
	}
	if (smtp_etrn_is_open(s))
		conn_write(s->conn, SLICE("250-ETRN\r\n"));
	if (s->xclient)
		conn_write(
		    s->conn, SLICE("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR "
				   "DESTPORT\r\n"));
	if (starttls_is_offered(s))
		conn_write(s->conn, SLICE("250-STARTTLS\r\n"));
	if (mechanisms.len > 0)
		conn_write_format(s->conn, "250-AUTH %.*s\r\n", SLICE_ARG(mechanisms));
	conn_write(s->conn, SLICE("250 HELP\r\n"));
}

static void
cmd_noop(struct smtp_session *s, struct slice rest)
{
	(void)rest;
	smtp_resp(s, 250, "2.0.0", "nothing done");
}

static void
cmd_rset(struct smtp_session *s, struct slice rest)
{
	(void)rest;
	smtp_session_reset(s);
	smtp_resp(s, 250, "2.0.0", "forgotten");
}

static void
cmd_quit(struct smtp_session *s, struct slice rest)
{
	(void)rest;
	smtp_resp_format(
	    s, 221, "2.0.0", "%s goodbye", service_conf(s->service)->hostname);
	smtp_session_close(s, "quit");
}

static void
cmd_starttls(struct smtp_session *s, struct slice rest)
{
	(void)rest;
	if (conn_is_secure(s->conn)) {
		smtp_resp_bad(s, 503, "5.5.1", "TLS is there already");
		return;
	}
	if (s->listener->tls != LISTENER_TLS_STARTTLS) {
		smtp_resp_bad(s, 502, "5.5.1", "TLS is not offered here");
		return;
	}
	struct tls_context *tls = service_tls(s->service);
	if (!tls) {
		smtp_resp(s, 454, "4.7.0", "TLS is not to be had at the moment");
		return;
	}
	smtp_resp(s, 220, "2.0.0", "begin TLS now");
	/* RFC 3207 section 4.2: nothing said in clear survives.  What came behind the
	 * command is thrown away by conn. */
	smtp_session_forget_client(s);
	smtp_set_state(s, SMTP_GREET);
	conn_deadline(s->conn, SMTP_TLS_TIMEOUT_MS);
	conn_start_tls_server(s->conn, tls);
	tls_context_unref(&tls);
}

static void cmd_help(struct smtp_session *s, struct slice rest);

#define MAIL_BITS (SMTP_CMD_NEEDS_HELO | SMTP_CMD_NEEDS_LOGIN)

/* clang-format off */
static const struct smtp_command commands[] = {
	{SLICE("AUTH"),     SMTP_CMD_NEEDS_HELO | SMTP_CMD_SUBMISSION_ONLY,
	                                          smtp_cmd_auth, "AUTH mechanism [response]",        "RFC 4954 section 4"},
	{SLICE("BDAT"),     SMTP_CMD_NEEDS_HELO,  smtp_cmd_bdat, "BDAT octets [LAST]",               "RFC 3030 section 2"},
	{SLICE("DATA"),     SMTP_CMD_NEEDS_HELO | SMTP_CMD_NO_ARGUMENT,
	                                          smtp_cmd_data, "DATA",                             "RFC 5321 section 4.1.1.4"},
	{SLICE("EHLO"),     SMTP_CMD_SMTP_ONLY,   cmd_ehlo,      "EHLO name",                        "RFC 5321 section 4.1.1.1"},
	{SLICE("ETRN"),     SMTP_CMD_NEEDS_HELO | SMTP_CMD_SMTP_ONLY,
	                                          smtp_cmd_etrn, "ETRN domain",                      "RFC 1985 section 5"},
	{SLICE("EXPN"),     SMTP_CMD_SMTP_ONLY,   smtp_cmd_expn, "EXPN list",                        "RFC 5321 section 4.1.1.7"},
	{SLICE("HELO"),     SMTP_CMD_SMTP_ONLY,   cmd_helo,      "HELO name",                        "RFC 5321 section 4.1.1.1"},
	{SLICE("HELP"),     0,                    cmd_help,      "HELP",                             "RFC 5321 section 4.1.1.8"},
	{SLICE("LHLO"),     SMTP_CMD_LMTP_ONLY,   cmd_ehlo,      "LHLO name",                        "RFC 2033 section 4.1"},
	{SLICE("MAIL"),     MAIL_BITS,            smtp_cmd_mail, "MAIL FROM:<address> [parameters]", "RFC 5321 section 4.1.1.2"},
	{SLICE("NOOP"),     0,                    cmd_noop,      "NOOP",                             "RFC 5321 section 4.1.1.9"},
	{SLICE("QUIT"),     SMTP_CMD_NO_ARGUMENT, cmd_quit,      "QUIT",                             "RFC 5321 section 4.1.1.10"},
	{SLICE("RCPT"),     MAIL_BITS,            smtp_cmd_rcpt, "RCPT TO:<address>",                "RFC 5321 section 4.1.1.3"},
	{SLICE("RSET"),     SMTP_CMD_NO_ARGUMENT, cmd_rset,      "RSET",                             "RFC 5321 section 4.1.1.5"},
	{SLICE("STARTTLS"), SMTP_CMD_NEEDS_HELO | SMTP_CMD_NO_ARGUMENT,
	                                          cmd_starttls,  "STARTTLS",                         "RFC 3207 section 4"},
	{SLICE("VRFY"),     0,                    smtp_cmd_vrfy, "VRFY address",                     "RFC 5321 section 4.1.1.6"},
	{SLICE("XCLIENT"),  SMTP_CMD_XCLIENT_ONLY,
	                                          smtp_cmd_xclient, "XCLIENT NAME=value ...",          "Postfix XCLIENT_README"},
};
/* clang-format on */

const struct smtp_command *
smtp_cmd_table(size_t *out_count)
{
	*out_count = sizeof(commands) / sizeof(commands[0]);
	return commands;
}

static bool
command_is_known(const struct smtp_session *s, const struct smtp_command *command)
{
	return (s->submission || !(command->bits & SMTP_CMD_SUBMISSION_ONLY)) &&
	       (s->xclient || !(command->bits & SMTP_CMD_XCLIENT_ONLY)) &&
	       !(command->bits & (s->lmtp ? SMTP_CMD_SMTP_ONLY : SMTP_CMD_LMTP_ONLY));
}

static const struct smtp_command *
command_find(const struct smtp_session *s, struct slice name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i].name.len == name.len &&
		    slice_equal_nocase(commands[i].name, name))
			return command_is_known(s, &commands[i]) ? &commands[i] : NULL;
	}
	return NULL;
}

static void
cmd_help(struct smtp_session *s, struct slice rest)
{
	(void)rest;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (command_is_known(s, &commands[i]))
			conn_write_format(s->conn, "214-2.0.0 %s\r\n", commands[i].usage);
	}
	smtp_resp(s, 214, "2.0.0", "end of help");
}

void
smtp_cmd_dispatch(struct smtp_session *s, struct slice text)
{
	struct smtp_line line;
	if (!smtp_line_parse(text, &line)) {
		smtp_resp_bad(s, 500, "5.5.2", "this is no command line");
		return;
	}
	const struct smtp_command *command = command_find(s, line.verb);
	if (!command) {
		smtp_resp_bad(
		    s, 500, "5.5.1", "unknown command; HELP lists what is known");
		return;
	}
	if ((command->bits & SMTP_CMD_NO_ARGUMENT) && line.rest.len > 0) {
		smtp_resp_bad(s, 501, "5.5.4", "this command has no argument");
		return;
	}
	/* BDAT has octets behind it that must be read in any case. */
	if (command->run == smtp_cmd_bdat) {
		smtp_cmd_bdat(s, line.rest);
		return;
	}
	if ((command->bits & SMTP_CMD_NEEDS_HELO) && !s->helo) {
		smtp_resp_bad(
		    s, 503, "5.5.1", s->lmtp ? "say LHLO first" : "say EHLO first");
		return;
	}
	if ((command->bits & SMTP_CMD_NEEDS_LOGIN) && s->submission && !s->login) {
		bool can_log_in = smtp_auth_offer(s).len > 0;
		smtp_resp_bad(s, 530, "5.7.0",
		    can_log_in ? "log in first (AUTH)"
			       : "log in first: STARTTLS, then AUTH");
		return;
	}
	command->run(s, line.rest);
}
