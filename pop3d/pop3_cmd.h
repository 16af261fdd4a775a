/*
 * The POP3 command table and its dispatcher.
 */
#ifndef POP3D_POP3_CMD_H
#define POP3D_POP3_CMD_H

#include "pop3d/pop3_session.h"

enum pop3_cmd_bits {
	POP3_CMD_AUTHORIZATION = 1 << 0, /* allowed in this state */
	POP3_CMD_TRANSACTION = 1 << 1,
	POP3_CMD_CLEAR_ONLY = 1 << 2, /* not under TLS */
};

struct pop3_command {
	struct slice name;
	unsigned bits;
	unsigned arguments_min, arguments_max;
	void (*run)(struct pop3_session *s, const struct pop3_line *line);
	const char *usage;
	const char *reference;
};

/* The rows, for tests that want every command covered. */
const struct pop3_command *pop3_cmd_table(size_t *out_count);
/* Parses and runs one line; the reply (or its first part) is written. */
void pop3_cmd_dispatch(struct pop3_session *s, struct slice line);

/* pop3_cmd_auth.c */
void pop3_cmd_user(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_pass(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_apop(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_auth(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_stls(struct pop3_session *s, const struct pop3_line *line);
/* A line while an exchange waits for the client's response. */
void pop3_auth_response(struct pop3_session *s, struct slice line);

/* pop3_cmd_drop.c */
void pop3_cmd_stat(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_list(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_uidl(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_retr(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_top(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_dele(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_rset(struct pop3_session *s, const struct pop3_line *line);
void pop3_cmd_quit(struct pop3_session *s, const struct pop3_line *line);
#endif
