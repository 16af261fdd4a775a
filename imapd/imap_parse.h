/*
 * A complete frame (framer_imap's: command text with literals as sent) to plain data.
 * Pure: no input or output, no globals; what it returns borrows the frame or lies in the
 * arena.  It knows syntax only: states, names and limits of the account are the run
 * functions' business.  RFC 9051 section 9, RFC 3501 section 9.
 */
#ifndef IMAPD_IMAP_PARSE_H
#define IMAPD_IMAP_PARSE_H

#include "base/arena.h"
#include "store/message.h"

enum {
	IMAP_TAG_MAX = 64,      /* octets of a tag */
	IMAP_ID_PAIRS_MAX = 30, /* RFC 2971 section 3.3 */
	IMAP_ENABLE_MAX = 32,   /* names in one ENABLE */
	IMAP_PATTERNS_MAX = 32, /* patterns of one LIST */
};

struct imap_lex; /* imap_lex.h */
struct imap_cmd_row;
struct imap_seqset;        /* imap_seqset.h */
struct imap_fetch_args;    /* imap_fetch_parse.h */
struct imap_search_args;   /* imap_search_parse.h */
struct imap_store_args;    /* imap_cmd_store.h */
struct imap_notify_args;   /* imap_notify_parse.h */
struct imap_metadata_args; /* imap_metadata_parse.h */
struct imap_copy_args;     /* imap_cmd_copy.h; COPY and MOVE, and UID EXPUNGE's set */
struct imap_cancel_args;   /* imap_context.h */

enum parse_result {
	PARSE_DONE,
	PARSE_BAD,   /* the syntax is wrong: fault says why */
	PARSE_LIMIT, /* a named limit was passed: fault says which */
};

/* What to tell the client; the text is a literal. */
struct parse_fault {
	const char *text;
};

/* STATUS items and LIST's RETURN (STATUS (...)), as bits. */
enum imap_status_item {
	IMAP_STATUS_MESSAGES = 1 << 0,
	IMAP_STATUS_RECENT = 1 << 1,
	IMAP_STATUS_UIDNEXT = 1 << 2,
	IMAP_STATUS_UIDVALIDITY = 1 << 3,
	IMAP_STATUS_UNSEEN = 1 << 4,
	IMAP_STATUS_DELETED = 1 << 5,
	IMAP_STATUS_SIZE = 1 << 6,
	IMAP_STATUS_HIGHESTMODSEQ = 1 << 7,
	IMAP_STATUS_MAILBOXID = 1 << 8,
	IMAP_STATUS_APPENDLIMIT = 1 << 9,
	IMAP_STATUS_DELETED_STORAGE = 1 << 10,
};

enum imap_list_select {
	IMAP_LIST_SUBSCRIBED = 1 << 0,
	IMAP_LIST_REMOTE = 1 << 1,
	IMAP_LIST_RECURSIVEMATCH = 1 << 2,
	IMAP_LIST_SELECT_SPECIAL_USE = 1 << 3,
};

enum imap_list_return {
	IMAP_LIST_RETURN_SUBSCRIBED = 1 << 0,
	IMAP_LIST_RETURN_CHILDREN = 1 << 1,
	IMAP_LIST_RETURN_SPECIAL_USE = 1 << 2,
	IMAP_LIST_RETURN_STATUS = 1 << 3,
	IMAP_LIST_RETURN_METADATA = 1 << 4,
	IMAP_LIST_RETURN_MYRIGHTS = 1 << 5,
};

struct imap_list_args {
	unsigned select;        /* enum imap_list_select bits */
	unsigned returns;       /* enum imap_list_return bits */
	unsigned status_items;  /* enum imap_status_item bits */
	bool extended;          /* any RFC 5258 syntax was used */
	struct slice reference; /* names and patterns as sent: not decoded */
	struct slice *patterns;
	size_t pattern_count;
	struct imap_metadata_args *metadata; /* its entries, with RETURN_METADATA */
};

struct imap_select_args {
	struct slice mailbox;
	bool condstore;
	bool qresync;
	uint32_t qresync_uidvalidity;
	uint64_t qresync_modseq;
	struct imap_seqset *qresync_known_uids; /* null: not given */
	struct imap_seqset
	    *qresync_match_msns; /* both or none, RFC 7162 section 3.2.5.2 */
	struct imap_seqset *qresync_match_uids;
};

struct imap_id_pair {
	struct slice key, value; /* value null for NIL */
};

struct imap_quota_args { /* SETQUOTA */
	struct slice root;
	bool has_storage, has_message, has_mailbox;
	bool unknown; /* a resource that we do not know */
	uint64_t storage, message, mailbox;
};

/* One command.  `u` is the member that the row's parse function fills. */
struct imap_command {
	struct slice tag;
	struct slice name; /* as sent, for logs; without "UID " */
	const struct imap_cmd_row *row;
	bool uid; /* it was "UID name ..." */
	/* Set by imap_limit_cut: how many messages are dealt with, and the lowest UID
	 * of them; 0: all. */
	uint32_t limit, limit_uid;
	union {
		struct { /* ID */
			struct imap_id_pair *pairs;
			size_t count;
		} id;
		struct { /* ENABLE */
			struct slice *names;
			size_t count;
		} enable;
		struct { /* LOGIN */
			struct slice user, password;
		} login;
		struct { /* AUTHENTICATE, SASL-IR */
			struct slice mechanism;
			struct slice initial; /* base64 as sent; "=" is an empty one */
			bool has_initial;
		} authenticate;
		struct slice algorithm; /* COMPRESS */
		struct imap_select_args *select;
		struct { /* CREATE */
			struct slice mailbox;
			uint32_t use;     /* enum mailbox_use bits */
			bool use_unknown; /* USE names something that is no use of ours */
		} create;
		struct slice mailbox; /* DELETE, SUBSCRIBE, UNSUBSCRIBE, quota */
		struct imap_quota_args quota;
		struct { /* RENAME */
			struct slice from, to;
		} rename;
		struct imap_list_args *list;
		struct { /* STATUS */
			struct slice mailbox;
			unsigned items;
		} status;
		struct imap_fetch_args *fetch;
		struct imap_store_args *store;
		struct imap_copy_args *copy;
		struct imap_search_args *search;
		struct imap_notify_args *notify;
		struct imap_metadata_args *metadata;
		struct { /* ACL */
			struct slice mailbox, identifier, rights;
		} acl;
		struct imap_cancel_args *cancel; /* CANCELUPDATE */
	} u;
};

/* The arguments of one command, from behind its name (the lexer stands at the space or
 * at the end).  The caller checks that nothing is left over. */
typedef enum parse_result (*imap_parse_fn)(struct imap_lex *lex, struct arena *arena,
    struct imap_command *cmd, struct parse_fault *fault);

/* A whole frame without its last CRLF.  cmd->tag is set whenever a tag could be read
 * (also with BAD), else it is null; cmd->row is null with BAD when the name is unknown.
 */
enum parse_result imap_command_parse(struct slice frame, struct arena *arena,
    struct imap_command *out, struct parse_fault *fault);

/* enum mailbox_use bit of "Drafts" in any case, or 0. */
uint32_t imap_parse_use_name(struct slice name);
/* "(MESSAGES UNSEEN)", for STATUS and for LIST's RETURN. */
bool imap_parse_status_items(struct imap_lex *lex, unsigned *out_items);

#endif
