/*
 * Who: domains, accounts, aliases, relay rules.  One partition of its own.  Addresses are
 * compared with ASCII case folded in local part and domain; domains are A-labels.
 * Everything here is live on commit, in every process.
 */
#ifndef STORE_DIRECTORY_H
#define STORE_DIRECTORY_H

#include "store/store.h"

enum {
	DIRECTORY_TARGETS_MAX = 1000, /* recipients that one address may expand to */
	DIRECTORY_ALIAS_DEPTH_MAX = 10,
	DIRECTORY_ALIAS_TARGETS_MAX = 200, /* targets of one alias */
	DIRECTORY_RELAYS_MAX = 1000,
	DIRECTORY_SEND_AS_MAX = DIRECTORY_ALIAS_TARGETS_MAX, /* entries of one account */
	DIRECTORY_FORWARD_MAX = 20,                /* addresses of one account */
	DIRECTORY_IMAP_WITHOUT_MAX = 64,           /* names of one account */
	DIRECTORY_IMAP_WITHOUT_LEN_MAX = 64,       /* bytes of one */
	DIRECTORY_APOP_SECRET_MAX = 1024,          /* bytes; CREDENTIAL_PASSWORD_MAX */
	DIRECTORY_QUOTA_MESSAGES_MAX = 1000000000, /* of one account */
};

/* What becomes of mail that was fetched by POP3 (decision 0030).  The account's rule
 * wins, then the domain's, then the configuration's. */
enum pop3_policy {
	POP3_POLICY_DEFAULT, /* as the next wider rule says */
	POP3_POLICY_DELETE,  /* removed at QUIT */
	POP3_POLICY_KEEP,
	POP3_POLICY_DAYS, /* removed `days` after it was first fetched */
};
enum { POP3_DAYS_MAX = 3650 };
struct pop3_rule {
	enum pop3_policy policy;
	uint16_t days; /* 1 to POP3_DAYS_MAX with DAYS, else 0 */
};

struct directory_domain {
	struct slice name; /* A-label, lower case */
	struct pop3_rule pop3;
	uint32_t accounts;
	uint32_t aliases;
	bool apop; /* its accounts' passwords are kept for APOP */
};

struct directory_account {
	struct account_id id;
	struct slice login; /* "user@domain" */
	struct slice credential;
	struct account_quota quota;
	bool disabled;
	struct pop3_rule pop3_own; /* as it was set for the account */
	struct pop3_rule pop3;     /* the account's, else the domain's, else DEFAULT */
	int64_t created_s;
};

/* ---- reading ---- */
enum status directory_domain_find(struct store_reader *reader, struct slice domain,
    struct directory_domain *out) MUST_USE;
/* NOT_FOUND when there is none.  A login without "@" is taken as local part of the only
 * domain, if there is just one. */
enum status directory_account_find(struct store_reader *reader, struct slice login,
    struct directory_account *out) MUST_USE;
enum status directory_account_by_id(struct store_reader *reader, struct account_id id,
    struct directory_account *out) MUST_USE;
/* fn returns false to stop. */
enum status directory_domain_each(struct store_reader *reader,
    bool (*fn)(const struct directory_domain *domain, void *arg), void *arg) MUST_USE;
enum status directory_account_each(struct store_reader *reader, struct slice domain,
    bool (*fn)(const struct directory_account *account, void *arg), void *arg) MUST_USE;
enum status directory_alias_each(struct store_reader *reader,
    bool (*fn)(struct slice from, const struct slice *to, size_t count, void *arg),
    void *arg) MUST_USE;

/* ---- APOP (RFC 1939 section 7, decision 0033) ---- */
/* Is the secret of any account kept?  One step of a cursor. */
enum status directory_apop_any(struct store_reader *reader, bool *out) MUST_USE;
/* The password of the account (its canonical login), appended; NOT_FOUND when none is
 * kept.  Wipe it after use. */
enum status directory_apop_secret(
    struct store_reader *reader, struct slice login, struct buf *out) MUST_USE;
/* On: passwords set from now on are kept too.  Off: those kept are removed in the same
 * commit.  NOT_FOUND: no such domain. */
enum status directory_domain_set_apop(
    struct store_reader *reader, struct slice domain, bool on) MUST_USE;
/* Accounts of the domain whose secret is not kept: they have to set their password. */
enum status directory_apop_missing(
    struct store_reader *reader, struct slice domain, uint32_t *out) MUST_USE;

/* Where mail for an address goes. */
struct directory_target {
	bool local;
	struct account_id account; /* local */
	struct slice login;        /* local: the account's login */
	struct slice address; /* external: where to relay; local: the address asked for */
	bool over_quota;      /* local: no room for more mail */
};

/* Where an account's mail is forwarded to.  An address that leads back to the account
 * itself is as `keep`. */
struct directory_forward {
	bool keep; /* a copy stays in the account */
	size_t count;
	struct slice to[DIRECTORY_FORWARD_MAX];
};
/* Count 0: it forwards nothing.  The slices borrow the map. */
enum status directory_forward_get(struct store_reader *reader, struct account_id account,
    struct directory_forward *out) MUST_USE;

/* A domain's journal: a copy of each message that comes for it (in), that its people
 * send (out), or both. */
struct directory_journal {
	bool in, out;
	struct slice to; /* empty: none */
};
/* The slice borrows the map. */
enum status directory_journal_get(struct store_reader *reader, struct slice domain,
    struct directory_journal *out) MUST_USE;

enum directory_answer {
	DIRECTORY_TARGETS,      /* one or more targets */
	DIRECTORY_NOT_LOCAL,    /* the domain is not ours */
	DIRECTORY_UNKNOWN_USER, /* the domain is ours, the user is not there */
	DIRECTORY_LOOP,         /* aliases too deep or too many */
};

/* Resolves `local@domain` (as parsed): account and what it forwards to, alias (both
 * recursively, doubles removed),
 * `+tag` by any character of `delimiters`, postmaster@ and abuse@ (to the first account
 * of the domain when nobody has that name), catch-all alias "@domain".  Domain empty
 * means <postmaster>.  Targets are in the arena. */
enum status directory_resolve(struct store_reader *reader, struct slice local,
    struct slice domain, struct slice delimiters, struct arena *arena,
    enum directory_answer *out_answer, struct directory_target **out_targets,
    size_t *out_count) MUST_USE;
/* The same, but what accounts forward to is not followed: for mail that has been. */
enum status directory_resolve_kept(struct store_reader *reader, struct slice local,
    struct slice domain, struct slice delimiters, struct arena *arena,
    enum directory_answer *out_answer, struct directory_target **out_targets,
    size_t *out_count) MUST_USE;
/* May this account use the address as MAIL FROM or From: its login, its login with a
 * tag, an alias (also catch-all) that leads to it, or what it was given to send as. */
enum status directory_owns(struct store_reader *reader, struct account_id account,
    struct slice local, struct slice domain, struct slice delimiters,
    bool *out_owns) MUST_USE;

/* The account's send-as entries: "user@domain", "domain" or "*", lower case. */
enum status directory_send_as_get(struct store_reader *reader, struct account_id account,
    struct slice out[DIRECTORY_SEND_AS_MAX], size_t *out_count) MUST_USE;
/* Does one of them cover the address (a tag counts as the address without it)? */
enum status directory_send_as_covers(struct store_reader *reader,
    struct account_id account, struct slice local, struct slice domain,
    struct slice delimiters, bool *out_covers) MUST_USE;

/* ---- relay rules ---- */
enum relay_tls { RELAY_TLS_OPPORTUNISTIC, RELAY_TLS_NONE, RELAY_TLS_REQUIRED };

struct directory_relay {
	struct slice id;   /* short, stable: "r1" */
	struct slice from; /* sender address, domain, or null for any */
	struct slice to;   /* recipient domain, or null for any */
	struct slice host; /* a name, an address, or with `lmtp` the path of a Unix socket
	                    * ("/…"); empty: by MX, from `source` */
	uint16_t port;     /* 0 for a Unix socket */
	bool lmtp;         /* RFC 2033 is spoken there, else SMTP */
	enum relay_tls tls;
	bool implicit_tls; /* port 465 */
	struct slice user;
	struct slice password;
	struct slice source; /* an address of this machine or a pool; empty: any */
	struct slice ehlo;   /* the name said there; empty: the pool's or the server's */
};

/* The rule that wins: from address + to, address, domain + to, domain, to, default (RFC
 * terms apart: most specific first).  NOT_FOUND: by MX.  Its id, from and to are valid
 * until the thread's next look-up, the rest until the reader's end. */
enum status directory_relay_find(struct store_reader *reader, struct slice sender,
    struct slice recipient_domain, struct directory_relay *out) MUST_USE;
enum status directory_relay_each(struct store_reader *reader,
    bool (*fn)(const struct directory_relay *relay, void *arg), void *arg) MUST_USE;

/* ---- writing: the command line's; they wait for the commit ---- */
enum status directory_domain_add(
    struct store_reader *reader, struct slice domain) MUST_USE;
enum status directory_domain_set_pop3(
    struct store_reader *reader, struct slice domain, struct pop3_rule rule) MUST_USE;
/* BUSY when it still has accounts or aliases. */
enum status directory_domain_remove(
    struct store_reader *reader, struct slice domain) MUST_USE;
/* NOT_FOUND: no such domain; EXISTS: account or alias of that name.  Also makes INBOX
 * and the special folders ("Drafts", "Sent", "Junk", "Trash", "Archive" with their
 * RFC 6154 uses) in the account.  `quota` null: none. */
enum status directory_account_add(struct store_reader *reader, struct slice login,
    struct slice credential, const struct account_quota *quota,
    struct account_id *out) MUST_USE;
enum status directory_account_remove(
    struct store_reader *reader, struct slice login) MUST_USE;

struct directory_account_change {
	bool set_credential, set_quota, set_quota_messages, set_disabled, set_pop3;
	struct slice credential;
	/* With set_credential: the password itself, for APOP where the domain has it;
	 * null: not known, APOP is refused until it is set again. */
	struct slice secret;
	uint64_t quota_bytes;    /* with set_quota */
	uint64_t quota_messages; /* with set_quota_messages */
	bool disabled;
	struct pop3_rule pop3;
};
enum status directory_account_set(struct store_reader *reader, struct slice login,
    const struct directory_account_change *change) MUST_USE;
/* One send-as entry more or less; "@domain" means the domain.  INVALID: it is none.  Add:
 * no matter if it is there; remove: NOT_FOUND when it is not, or there is no account. */
enum status directory_send_as_add(
    struct store_reader *reader, struct slice login, struct slice entry) MUST_USE;
enum status directory_send_as_remove(
    struct store_reader *reader, struct slice login, struct slice entry) MUST_USE;
/* The IMAP capabilities that an account's clients are not offered; names borrow the map.
 * Set replaces them all; none: everything is offered. */
enum status directory_imap_without_get(struct store_reader *reader,
    struct account_id account, struct slice out[DIRECTORY_IMAP_WITHOUT_MAX],
    size_t *out_count) MUST_USE;
enum status directory_imap_without_set(struct store_reader *reader, struct slice login,
    const struct slice *names, size_t count) MUST_USE;
/* Replaces the account's forwards; count 0 removes them.  NOT_FOUND: no such account;
 * INVALID: one is no address. */
enum status directory_forward_set(struct store_reader *reader, struct slice login,
    const struct directory_forward *forward) MUST_USE;
/* Replaces the domain's journal; no direction or an empty address removes it.
 * NOT_FOUND: no such domain; INVALID: it is no address. */
enum status directory_journal_set(struct store_reader *reader, struct slice domain,
    const struct directory_journal *journal) MUST_USE;
/* `from` is an address or "@domain" for the catch-all; adds targets to what is there. */
enum status directory_alias_add(struct store_reader *reader, struct slice from,
    const struct slice *to, size_t count) MUST_USE;
enum status directory_alias_remove(
    struct store_reader *reader, struct slice from) MUST_USE;
/* relay->id is ignored; the id given is written to out_id (at least 16 bytes). */
enum status directory_relay_add(struct store_reader *reader,
    const struct directory_relay *relay, char *out_id) MUST_USE;
enum status directory_relay_remove(struct store_reader *reader, struct slice id) MUST_USE;
/* 32 random bytes of this installation, made at creation. */
enum status directory_secret(struct store_reader *reader, unsigned char out[32]) MUST_USE;

#endif
