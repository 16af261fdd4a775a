/*
 * The SMTP command table and its dispatcher; the commands by file.
 */
#ifndef SMTPD_SMTP_CMD_H
#define SMTPD_SMTP_CMD_H

#include "smtpd/smtp_session.h"

enum smtp_cmd_bits {
	SMTP_CMD_NEEDS_HELO = 1 << 0,
	SMTP_CMD_NEEDS_LOGIN = 1 << 1, /* on submission listeners */
	SMTP_CMD_NO_ARGUMENT = 1 << 2,
	SMTP_CMD_SUBMISSION_ONLY = 1 << 3, /* elsewhere it is unknown */
	SMTP_CMD_XCLIENT_ONLY = 1 << 4,    /* unknown but to smtp.xclient_networks */
	SMTP_CMD_LMTP_ONLY = 1 << 5,
	SMTP_CMD_SMTP_ONLY = 1 << 6, /* unknown where LMTP is spoken */
};

struct smtp_command {
	struct slice name;
	unsigned bits;
	void (*run)(struct smtp_session *s, struct slice rest);
	const char *usage;
	const char *reference;
};

/* The rows, for HELP and for tests that want every command covered. */
const struct smtp_command *smtp_cmd_table(size_t *out_count);
/* Parses and runs one line; the reply is written, or the state says what is waited for.
 */
void smtp_cmd_dispatch(struct smtp_session *s, struct slice line);

/* smtp_cmd_auth.c */
void smtp_cmd_auth(struct smtp_session *s, struct slice rest);
/* A line while an exchange waits for the client's response. */
void smtp_auth_response(struct smtp_session *s, struct slice line);
/* Gives the exchange up; no reply. */
void smtp_auth_cancel(struct smtp_session *s);
/* Mechanisms to announce here and now, space separated, or empty. */
struct slice smtp_auth_offer(struct smtp_session *s);

/* smtp_cmd_mail.c */
void smtp_cmd_mail(struct smtp_session *s, struct slice rest);
void smtp_cmd_rcpt(struct smtp_session *s, struct slice rest);
/* The recipients are complete: adds those of smtp.always_bcc and of the domains'
 * journals.  False when they could not be had: then no message may come, nothing is
 * accepted without its copy. */
bool smtp_mail_add_journal(struct smtp_session *s);
/* Is MT-PRIORITY, FUTURERELEASE offered here? */
bool smtp_mail_takes_priority(const struct smtp_session *s);
bool smtp_mail_takes_hold(const struct smtp_session *s);

/* smtp_cmd_vrfy.c */
void smtp_cmd_vrfy(struct smtp_session *s, struct slice rest);
void smtp_cmd_expn(struct smtp_session *s, struct slice rest);
/* Is this client told which addresses there are? */
bool smtp_vrfy_is_open(const struct smtp_session *s);

/* smtp_cmd_etrn.c */
void smtp_cmd_etrn(struct smtp_session *s, struct slice rest);
/* May this client have the queue run for a domain? */
bool smtp_etrn_is_open(const struct smtp_session *s);

/* smtp_cmd_xclient.c */
void smtp_cmd_xclient(struct smtp_session *s, struct slice rest);

/* smtp_cmd_data.c */
void smtp_cmd_data(struct smtp_session *s, struct slice rest);
void smtp_cmd_bdat(struct smtp_session *s, struct slice rest);
/* Takes message octets out of the input; false when there are none. */
bool smtp_message_read(struct smtp_session *s);
/* The message holds a bare CR or LF and nothing more comes: refuses it and closes. */
void smtp_data_refuse_bare(struct smtp_session *s);

#endif
