/*
 * The const command table and its dispatcher.  One row a command; nothing else in the
 * daemon switches over command names.  A "UID x" command is the row of x with
 * IMAP_ROW_UID allowed and cmd->uid set.
 */
#ifndef IMAPD_IMAP_CMD_H
#define IMAPD_IMAP_CMD_H

#include "imapd/imap_parse.h"

struct imap_session;

/* What a run function (or its continuation) says. */
enum cmd_result {
	/* The tagged reply is written (imap_cmd_finish); the command is over. */
	CMD_DONE,
	/* An op, an authentication step or the like is under way.  imap_resume() calls
	 * s->resume, which the function has set. */
	CMD_WAIT,
	/* More to do, but this turn's budget is spent or the output is full
	 * (imap_out_full): s->resume is called in a later turn, when there is room. */
	CMD_AGAIN,
	/* Wants input from the client (IDLE's DONE, an AUTHENTICATE response): s->resume
	 * is called when a whole line lies in s->line. */
	CMD_LINE,
	/* The session ends after what is written (BYE first). */
	CMD_CLOSE,
};

typedef enum cmd_result (*imap_run_fn)(struct imap_session *s, struct imap_command *cmd);

/* States in which a command is allowed. */
enum {
	IMAP_IN_NOT_AUTH = 1 << 0,
	IMAP_IN_AUTH = 1 << 1,
	IMAP_IN_SELECTED = 1 << 2,
	IMAP_IN_ANY = IMAP_IN_NOT_AUTH | IMAP_IN_AUTH | IMAP_IN_SELECTED,
	IMAP_IN_USER = IMAP_IN_AUTH | IMAP_IN_SELECTED,
};

enum imap_row_bits {
	IMAP_ROW_UID = 1 << 0,        /* may be prefixed with UID */
	IMAP_ROW_UID_ONLY = 1 << 1,   /* must be */
	IMAP_ROW_NO_EXPUNGE = 1 << 2, /* by number: no EXPUNGE while it runs, unless UID
	                                 (RFC 9051 section 7.5.1) */
	IMAP_ROW_WRITES = 1 << 3,     /* refused in a mailbox opened by EXAMINE */
	IMAP_ROW_NO_SYNC = 1 << 4, /* no untagged news at its end (CLOSE, LOGOUT ...) */
	IMAP_ROW_TLS_OR_PLAIN_OK = 1 << 5, /* sends a password */
	IMAP_ROW_BY_NUMBER = 1 << 7,       /* without UID it takes message numbers */
	IMAP_ROW_EXPUNGES = 1 << 6, /* its own EXPUNGEs are told whatever NOTIFY says */
};

struct imap_cmd_row {
	const char *name;
	unsigned states; /* IMAP_IN_* */
	unsigned bits;   /* enum imap_row_bits */
	imap_parse_fn parse;
	imap_run_fn run;
	const char *rfc; /* where it is described */
};

/* Sorted by name; *out_count rows. */
const struct imap_cmd_row *imap_cmd_table(size_t *out_count);
/* The row of a name in any case, or null. */
const struct imap_cmd_row *imap_cmd_find(struct slice name);

/* Run functions and their parsers, by file. */
#define IMAP_RUN(name)                                                                   \
	enum cmd_result imap_run_##name(struct imap_session *s, struct imap_command *cmd)
#define IMAP_PARSE(name)                                                                 \
	enum parse_result imap_parse_##name(struct imap_lex *lex, struct arena *arena,   \
	    struct imap_command *cmd, struct parse_fault *fault)

/* imap_cmd.c */
IMAP_RUN(noop);
IMAP_RUN(capability);
IMAP_RUN(id);
IMAP_RUN(enable);
IMAP_RUN(logout);
IMAP_RUN(compress);
/* imap_cmd_auth.c */
IMAP_RUN(login);
IMAP_RUN(authenticate);
IMAP_RUN(starttls);
IMAP_RUN(unauthenticate);
/* imap_cmd_mailbox.c */
IMAP_RUN(create);
IMAP_RUN(delete);
IMAP_RUN(rename);
IMAP_RUN(subscribe);
IMAP_RUN(unsubscribe);
IMAP_RUN(status);
/* imap_cmd_list.c */
IMAP_RUN(list);
IMAP_RUN(lsub);
IMAP_RUN(namespace);
/* imap_cmd_select.c */
IMAP_RUN(select);
IMAP_RUN(examine);
IMAP_RUN(close);
IMAP_RUN(unselect);
/* imap_cmd_append.c */
IMAP_RUN(append);
/* imap_cmd_quota.c */
IMAP_RUN(getquota);
IMAP_RUN(getquotaroot);
IMAP_RUN(setquota);
/* imap_cmd_metadata.c, imap_metadata_parse.c */
IMAP_RUN(getmetadata);
IMAP_RUN(setmetadata);
IMAP_PARSE(getmetadata);
IMAP_PARSE(setmetadata);
/* imap_cmd_acl.c */
IMAP_RUN(setacl); /* and DELETEACL */
IMAP_RUN(getacl);
IMAP_RUN(listrights);
IMAP_RUN(myrights);
IMAP_PARSE(setacl);
IMAP_PARSE(listrights); /* and DELETEACL */
IMAP_PARSE(getacl);     /* and MYRIGHTS */
/* imap_sync.c */
IMAP_RUN(idle);
/* imap_notify.c, imap_notify_parse.c */
IMAP_RUN(notify);
IMAP_PARSE(notify);
/* imap_cmd_fetch.c, imap_fetch_parse.c */
IMAP_RUN(fetch);
IMAP_PARSE(fetch);
/* imap_cmd_store.c */
IMAP_RUN(store);
IMAP_PARSE(store);
/* imap_cmd_copy.c */
IMAP_RUN(copy);
IMAP_RUN(move);
IMAP_RUN(expunge); /* with and without UID */
IMAP_PARSE(copy);  /* COPY and MOVE */
IMAP_PARSE(expunge);
/* imap_cmd_search.c, imap_search_parse.c */
IMAP_RUN(search);
IMAP_RUN(esearch); /* imap_cmd_esearch.c */
IMAP_RUN(sort);
IMAP_RUN(thread);
IMAP_PARSE(search);
IMAP_PARSE(esearch);
IMAP_PARSE(sort);
IMAP_PARSE(thread);
/* imap_cmd_context.c */
IMAP_RUN(cancelupdate);
IMAP_PARSE(cancelupdate);
/* imap_parse.c */
IMAP_PARSE(none); /* no arguments */
IMAP_PARSE(id);
IMAP_PARSE(enable);
IMAP_PARSE(login);
IMAP_PARSE(authenticate);
IMAP_PARSE(compress);
IMAP_PARSE(select);
IMAP_PARSE(create);
IMAP_PARSE(mailbox); /* one mailbox name or astring */
IMAP_PARSE(rename);
IMAP_PARSE(list);
IMAP_PARSE(lsub);
IMAP_PARSE(status);
IMAP_PARSE(append);
IMAP_PARSE(setquota);

#endif
