/*
 * What the files of imapd share: the server, its workers, and struct imap_session with
 * the calls that run functions use.  Private to imapd and its tests.
 *
 * A session lives on one worker's loop and takes no locks.  One command runs at a time;
 * what is pipelined behind it stays in the connection's input.  An idle session holds no
 * arena, no frame and no output: all of it is dropped when a command ends and no input
 * is left.
 *
 * How a command runs (imap_input.c and imap_run.c drive it):
 *  1. The frame is parsed into s->cmd (in s->arena, the command arena).
 *  2. row->run(s, cmd) is called.  It writes to imap_out(s) and says what comes next
 *     (enum cmd_result).  Before CMD_WAIT, CMD_AGAIN or CMD_LINE it sets s->resume, which
 *     is called with the same arguments and answers in the same way.
 *  3. CMD_DONE: the tagged line has been written by imap_cmd_finish().  s->cleanup, if
 *     set, is called, and the arena is reset.
 * When the connection ends while an op is under way, the session stays (without conn)
 * until the op is done; resume is not called any more, cleanup is.
 */
#ifndef IMAPD_IMAP_INT_H
#define IMAPD_IMAP_INT_H

#include "auth/sasl.h"
#include "base/ids.h"
#include "base/list.h"
#include "base/stats.h"
#include "imapd/imap_box.h"
#include "imapd/imap_cmd.h"
#include "imapd/imap_metadata.h"
#include "imapd/imap_notify.h"
#include "imapd/imap_recent.h"
#include "imapd/imap_resp.h"
#include "imapd/imap_seqset.h"
#include "net/conn.h"
#include "net/framer.h"
#include "service/service.h"
#include "store/message.h"

enum {
	IMAP_LINE_MAX = 60 * 1024,    /* octets of command text, literals not counted;
	                                 RFC 7162 section 4 asks for 8192; has to fit
	                                 CONN_INPUT_MAX */
	IMAP_FRAME_MAX = 256 * 1024,  /* octets of text and buffered literals */
	IMAP_LITERAL_MAX = 64 * 1024, /* octets of one literal outside of APPEND */
	IMAP_LITERAL_DROP_MAX = 1024 * 1024, /* octets of a refused literal that are read
	                                        and dropped; above it BYE (RFC 7888) */
	IMAP_PREAUTH_LINE_MAX = 34 * 1024,  /* octets of command text before login: ID may
	                                       have 30 fields of 1,024 (RFC 2971) */
	IMAP_PREAUTH_FRAME_MAX = 36 * 1024, /* octets of a whole command before login */
	IMAP_PREAUTH_LITERAL_MAX = 4096,    /* octets of one literal before login */
	IMAP_RANGES_MAX = 4,                /* file ranges queued for one session */
	IMAP_RANGE_MIN = 16 * 1024,         /* octets; a smaller range is copied */
	IMAP_ARENA_MAX = 64 * 1024 * 1024,  /* bytes of one command's arena */
	IMAP_ERRORS_MAX = 20,               /* BAD replies in a row, then BYE */
	IMAP_PREAUTH_MS = 60 * 1000,        /* from the connection to the login */
	IMAP_AUTH_TRIES_MAX = 5,         /* failed logins of one connection, then BYE */
	IMAP_TURN_BYTES = 256 * 1024,    /* output of one session in one turn */
	IMAP_TURN_RECORDS = 4096,        /* message records looked at in one turn */
	IMAP_TURN_COMMANDS = 64,         /* commands of one session in one turn */
	IMAP_SYNC_BATCH = 4096,          /* changes told in one go */
	IMAP_RECENT_RANGES_MAX = 16,     /* separate ranges of \Recent uids kept */
	IMAP_OUT_MAX = 64 * 1024 * 1024, /* bytes of a worker's scratch output */
	IMAP_APPEND_MESSAGES_MAX = 1000, /* messages of one MULTIAPPEND */
	IMAP_APPEND_TOTAL_FACTOR = 4, /* times imap.max_append_size: octets of them all */
	IMAP_APPEND_DROP_FACTOR = 2,  /* times imap.max_append_size: octets of a refused
	                                 message that are read and dropped; above it BYE
	                                 (RFC 7888 section 4) */
};

enum imap_state {
	IMAP_STATE_HANDSHAKE, /* implicit TLS, nothing sent yet */
	IMAP_STATE_NOT_AUTH,
	IMAP_STATE_AUTH,
	IMAP_STATE_SELECTED,
	IMAP_STATE_LOGOUT, /* BYE is written */
};

/* What the session does with its input right now. */
enum imap_phase {
	IMAP_PHASE_COMMAND, /* reads a frame */
	IMAP_PHASE_SKIP,    /* throws away the rest of an over-long line */
	IMAP_PHASE_APPEND,  /* a message literal goes into a draft, or nowhere */
	IMAP_PHASE_RUN,     /* s->resume is called in a later turn */
	IMAP_PHASE_WAIT,    /* something is under way; input waits */
	IMAP_PHASE_LINE,    /* s->resume gets the next line */
	IMAP_PHASE_TLS,     /* STARTTLS handshake */
	IMAP_PHASE_END,     /* nothing is read any more */
};

enum imap_enabled {
	IMAP_ENABLED_CONDSTORE = 1 << 0,
	IMAP_ENABLED_QRESYNC = 1 << 1,
	IMAP_ENABLED_UTF8 = 1 << 2, /* UTF8=ACCEPT */
	IMAP_ENABLED_REV2 = 1 << 3, /* IMAP4rev2 */
	IMAP_ENABLED_METADATA = 1 << 4,
	IMAP_ENABLED_METADATA_SERVER = 1 << 5,
	IMAP_ENABLED_UIDONLY = 1 << 6, /* RFC 9586 */
};

struct imap_stats {
	struct stats_counter *sessions, *commands, *idle, *logins, *login_failures,
	    *fetch_bytes, *appended;
};

/* One a loop thread. */
struct imap_worker {
	struct service *service; /* null in unit tests, which set conf and auth */
	const struct conf *test_conf;
	struct auth *test_auth;
	struct loop *loop;
	struct store_reader *reader;
	const struct imap_stats *stats;
	struct list sessions;
	struct arena *spare_arena;    /* one command arena kept for the next command */
	struct arena *sync_arena;     /* of imap_sync, empty between calls */
	struct buf out;               /* scratch: empty between calls into sessions */
	size_t background_ops;        /* ops under way that no session waits for */
	struct imap_recents *recents; /* the process's; borrowed */
	bool stopping;
};

struct imap_contexts; /* imap_context.h */
struct imap_append;   /* imap_cmd_append.c */
struct imap_session;

struct imap_session {
	unsigned magic;
	enum imap_state state;
	enum imap_phase phase;
	uint8_t enabled; /* enum imap_enabled bits */
	uint8_t errors;  /* BAD replies in a row */
	uint8_t auth_failures;
	uint8_t keyword_count; /* keywords that the client has been told of */
	uint8_t ranges;        /* file ranges given to the connection, not yet sent */
	bool secure : 1;
	bool can_starttls : 1;
	bool examined : 1;     /* EXAMINE */
	bool read_only : 1;    /* EXAMINE, or no right to change anything */
	bool changed : 1;      /* a change hint came since the last look */
	bool idling : 1;       /* in IDLE */
	bool in_dispatch : 1;  /* a run function or resume is on the stack */
	bool resume_now : 1;   /* what CMD_WAIT waits for was there before it returned */
	bool again_posted : 1; /* on_again is on its way */
	bool closing : 1;      /* ends when the stack is unwound */
	bool counted : 1;      /* in service_session_begin's count */
	unsigned ops_pending;  /* calls that will still come with this session */
	struct imap_worker *worker;
	struct conn *conn; /* null: gone, the session waits for its ops */
	struct worker_conn *token;
	struct list node; /* in worker->sessions */
	struct framer_imap framer;

	/* The command that runs; all null when there is none. */
	struct arena *arena;
	struct imap_command *cmd;
	imap_run_fn resume;
	void *cmd_data; /* the command's own state, in the arena */
	/* Called once, whatever way the command ends; conn and view may be gone then. */
	void (*cleanup)(struct imap_session *s);
	struct slice line;    /* during resume after CMD_LINE: without CRLF */
	uint64_t told_modseq; /* sync leaves out messages with this modseq: the command
	                         told of them itself, or was .SILENT */
	struct imap_append *append;
	struct auth_exchange *exchange;
	char *idle_tag; /* owned; IDLE keeps no arena */

	/* Who. */
	struct account_id account;
	char *login;     /* owned; null before login */
	uint64_t masked; /* capabilities that are not offered (imap_mask.h) */

	/* The selected mailbox. */
	struct account_id box_account; /* whose it is */
	uint16_t rights;               /* enum acl_right bits */
	struct mailbox_view *view;     /* null when none is selected */
	struct store_watch *watch;
	uint32_t mailbox; /* its number */
	uint32_t recent_count;
	struct uid_range *recent; /* owned, ascending; at most IMAP_RECENT_RANGES_MAX */
	struct imap_uid_ranges saved;         /* SEARCHRES "$"; owned (imap_saved_set) */
	struct imap_notify *notify;           /* owned; null until NOTIFY is used */
	struct imap_metadata_watch *metadata; /* owned; null: no changes are told */
	struct imap_contexts *contexts;       /* owned; null until UPDATE is used */

	/* For the log. */
	uint64_t started_ms;
	uint64_t command_count;
	uint64_t bytes_out;
	char id[ID_TEXT_SIZE];
};
_Static_assert(sizeof(struct imap_session) <= 512, "an idle session is small");

#define IMAP_SESSION_MAGIC 0x1a9b5e55u

/* ---- short ways ---- */
static inline struct store_reader *
imap_reader(struct imap_session *s)
{
	return s->worker->reader;
}

/* Mailbox names and quoted strings go out in UTF-8. */
static inline bool
imap_is_utf8(const struct imap_session *s)
{
	return s->enabled & (IMAP_ENABLED_UTF8 | IMAP_ENABLED_REV2);
}

static inline bool
imap_is_rev2(const struct imap_session *s)
{
	return s->enabled & IMAP_ENABLED_REV2;
}

/* No message number is taken or told any more (RFC 9586). */
static inline bool
imap_is_uidonly(const struct imap_session *s)
{
	return s->enabled & IMAP_ENABLED_UIDONLY;
}

/* QRESYNC implies CONDSTORE; both bits are set by ENABLE. */
static inline bool
imap_is_condstore(const struct imap_session *s)
{
	return s->enabled & IMAP_ENABLED_CONDSTORE;
}

static inline const struct conf *
imap_conf(const struct imap_session *s)
{
	return s->worker->service ? service_conf(s->worker->service)
	                          : s->worker->test_conf;
}

static inline struct auth *
imap_auth(const struct imap_session *s)
{
	return s->worker->service ? service_auth(s->worker->service)
	                          : s->worker->test_auth;
}

static inline bool
imap_same_account(struct account_id a, struct account_id b)
{
	return memcmp(a.v, b.v, sizeof(a.v)) == 0;
}

/* Is it the selected mailbox? */
static inline bool
imap_is_selected(const struct imap_session *s, struct account_id account, uint32_t number)
{
	return s->view && s->mailbox == number &&
	       imap_same_account(s->box_account, account);
}

/* ---- life (imap_session.c, imap_run.c) ---- */
/* The only place where s->state changes; the diagram is in imap_session.c. */
void imap_state_set(struct imap_session *s, enum imap_state state);
/* "* BYE [code] text", and the session ends when the stack is unwound. */
void imap_bye(struct imap_session *s, const char *code, const char *text);
/* The command arena, made when there is none. */
struct arena *imap_arena(struct imap_session *s);
/* Starts a command whose frame is only half there (APPEND): s->cmd is made. */
struct imap_command *imap_command_new(struct imap_session *s);
/* Handles what a run function said, for drivers outside imap_session.c (APPEND). */
void imap_command_result(struct imap_session *s, enum cmd_result result);
/* Gives the frame and the arena back while the command goes on (IDLE); s->cmd is null
 * from then on. */
void imap_command_rest(struct imap_session *s);
/* What every way into a session ends with: output handed over, the session ended and
 * freed when its time has come. */
void imap_leave(struct imap_session *s);
/* The idle time-out from now on, or before login the pre-login one. */
void imap_deadline(struct imap_session *s);

/* ---- between the driver's files ---- */
/* Takes what has arrived and runs what is complete (imap_input.c). */
void imap_run(struct imap_session *s);
/* The same in a later turn, even when no event comes (imap_run.c). */
void imap_run_again(struct imap_session *s);
/* Calls a run function or continuation. */
enum cmd_result imap_call(struct imap_session *s, imap_run_fn fn);
/* The command is answered: forgets it and reads on, or ends the session. */
void imap_command_over(struct imap_session *s);
/* Forgets the command and everything that was kept for it. */
void imap_command_drop(struct imap_session *s);

/* ---- output (imap_out.c) ---- */
/* Where commands write.  Taken to the connection whenever the session returns to its
 * driver, in one write.  Never keep the pointer's contents across a return. */
static inline struct buf *
imap_out(struct imap_session *s)
{
	return &s->worker->out;
}
/* Gives what is in imap_out to the connection now (before imap_out_range, or when a
 * generator has made much). */
void imap_out_flush(struct imap_session *s);
/* Bytes or ranges that are not yet sent are so many that a generator should stop
 * (CMD_AGAIN). */
bool imap_out_full(struct imap_session *s);
/* Sends a part of a body from its file, behind what is in imap_out.  Takes the handle
 * over (closed when sent); `offset` and `len` are inside the message. */
void imap_out_range(
    struct imap_session *s, struct body_handle *handle, uint64_t offset, uint64_t len);

/* ---- the end of a command ---- */
/* Untagged news first, as far as the row's bits allow now, then
 * "tag OK [code] text".  `code` without brackets, or null.  Returns CMD_DONE. */
enum cmd_result imap_cmd_finish(struct imap_session *s, struct imap_command *cmd,
    enum imap_reply reply, const char *code, const char *text);
/* The same for a failed store call (imap_resp_status). */
enum cmd_result imap_cmd_fail(
    struct imap_session *s, struct imap_command *cmd, enum status status);
/* The same with the code made by the caller (a slice in the arena, e.g. "COPYUID ...").
 */
enum cmd_result imap_cmd_finish_code(struct imap_session *s, struct imap_command *cmd,
    enum imap_reply reply, struct slice code, const char *text);

/* ---- store ops ---- */
/* Sets done, user and arena of an op that lies in the command arena and counts it.  Then
 * submit it, set s->resume and return CMD_WAIT; resume finds op->status and outputs. */
void imap_op_begin(struct imap_session *s, struct store_op *op);
/* The same for work on the pool: `work` gets the session, and touches of it only what is
 * its own. */
void imap_pool_begin(struct imap_session *s, void (*work)(void *session));
/* Continues a command that returned CMD_WAIT (from auth's done function and the like). */
void imap_resume(struct imap_session *s);

/* ---- APPEND's literals (imap_cmd_append.c) ---- */
/* A literal was announced in s->framer.  False: it is not a message of an APPEND, the
 * session deals with it.  True: dealt with (phase APPEND, or refused). */
bool imap_append_literal(struct imap_session *s);
/* Phase APPEND: takes what has arrived; false when more has to come. */
bool imap_append_input(struct imap_session *s);
/* The whole command has been read, or its text is broken: then `fault` says how. */
enum cmd_result imap_append_end(struct imap_session *s, const char *fault);

/* ---- capabilities (imap_cmd.c) ---- */
/* "IMAP4rev1 ..." as they are now, without "CAPABILITY ". */
void imap_capabilities_write(struct imap_session *s, struct buf *out);

/* Is the user one of imap.quota_admins (imap_cmd_quota.c)? */
bool imap_quota_may_set(const struct imap_session *s);

/* ---- names ---- */
/* A mailbox name as the client sent it to the store's form: modified UTF-7 or UTF-8 as
 * the session speaks, NFC, INBOX.  False: *out_text says why (reply NO [CANNOT]). */
bool imap_mailbox_decode(
    struct imap_session *s, struct slice raw, struct slice *out, const char **out_text);

/* "* STATUS name (...)" of a mailbox of `account`, with enum imap_status_item bits. */
void imap_write_status(struct imap_session *s, struct account_id account,
    const struct mailbox_info *info, unsigned items);
/* MAILBOXID or EMAILID of what is in an account: with a mark of the account unless it is
 * the session's own, since each account numbers for itself. */
void imap_write_mailboxid(
    struct imap_session *s, struct buf *out, struct account_id account, uint32_t number);
void imap_write_emailid(struct imap_session *s, struct buf *out, uint64_t email_id);
/* "* LIST (...) "/" name", with OLDNAME unless old_name is null (RFC 9051 section
 * 6.3.9.7). */
void imap_write_list(
    struct imap_session *s, const struct mailbox_info *info, struct slice old_name);
/* "\Drafts \Sent" of enum mailbox_use bits. */
void imap_write_uses(struct buf *out, uint32_t use);
/* "* MYRIGHTS name rights". */
void imap_write_myrights(struct imap_session *s, struct slice name, uint16_t rights);
/* The reply to a name that cannot be one: NO [CANNOT] text. */
enum cmd_result imap_name_refused(
    struct imap_session *s, struct imap_command *cmd, const char *text);

/* NO [METADATA MAXSIZE n] (imap_cmd_metadata.c). */
enum cmd_result imap_metadata_too_large(struct imap_session *s, struct imap_command *cmd);

/* ---- the selected mailbox (imap_sync.c, imap_cmd_select.c) ---- */
/* Tells the client what has changed: EXPUNGE or VANISHED (only if `expunge`), EXISTS,
 * RECENT, FETCH.  Without `expunge` nothing is told while there are expunged messages.
 * False when the mailbox is gone: BYE is written, end the session. */
bool imap_sync(struct imap_session *s, bool expunge);
/* A change hint (store_watch): IDLE tells at once. */
void imap_hint(void *arg);
/* "* FLAGS (...)" and PERMANENTFLAGS. */
void imap_write_flags_list(struct imap_session *s);
/* Leaves the selected mailbox without a word. */
void imap_deselect(struct imap_session *s);
/* Keyword names by bit.  Call between responses, never inside one: keywords that the
 * client has not heard of are announced by FLAGS and PERMANENTFLAGS.  Valid until the
 * reader's end. */
size_t imap_keywords(struct imap_session *s, struct slice out[MAILBOX_KEYWORDS_MAX]);
/* "* n FETCH (", or "* u UIDFETCH (" (RFC 9586 section 3). */
void imap_write_fetch_head(struct imap_session *s, uint32_t msn, uint32_t uid);
/* "* n FETCH (UID u FLAGS (...) MODSEQ (m))": UID when `with_uid` (or always under
 * QRESYNC and IMAP4rev2, never in UIDFETCH), MODSEQ under CONDSTORE.  Names are
 * imap_keywords'. */
void imap_write_flags(struct imap_session *s, uint32_t msn, uint32_t uid, uint8_t flags,
    uint64_t keywords, uint64_t modseq, bool with_uid, const struct slice *names,
    size_t name_count);
/* A command that asks for mod-sequences turns CONDSTORE on (RFC 7162 section 3.1); tells
 * HIGHESTMODSEQ when a mailbox is selected.  Call between responses. */
void imap_condstore_on(struct imap_session *s);
/* Replaces "$" (copies); null or no ranges empties it. */
void imap_saved_set(struct imap_session *s, const struct imap_uid_ranges *ranges);

#endif
