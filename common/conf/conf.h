/*
 * The configuration file: etc/postroom.conf, grammar by libconfuse, keys by one schema
 * table (conf_schema.c) that makes the parser, `postroom check`, docs/config.md and the
 * commented sample.  A struct conf is immutable once read and passed down; no value is
 * read outside of it and there are no globals.
 *
 * Reading is all or nothing: every error is reported with file:line; a truncated file
 * (unbalanced braces or quotes) never gives a configuration.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "base/buf.h"
#include "base/status.h"

enum conf_tls { CONF_TLS_NONE, CONF_TLS_STARTTLS, CONF_TLS_IMPLICIT };
/* Whose mailboxes may be shared with whom (imap.sharing). */
enum conf_sharing { CONF_SHARING_NONE, CONF_SHARING_DOMAIN, CONF_SHARING_ALL };
/* What imap.message_limit holds for (RFC 9738). */
enum conf_limit { CONF_LIMIT_ALL, CONF_LIMIT_SAVING };
enum conf_protocol {
	CONF_SMTP,
	CONF_SUBMISSION,
	CONF_IMAP,
	CONF_POP3,
	CONF_LMTP,
	CONF_LOCAL
};
enum {
	CONF_LISTENERS_MAX = 32,
	CONF_LIST_MAX = 64,
	CONF_LISTENER_NAME_MAX = 40, /* octets */
	CONF_SOCKET_PATH_MAX = 107,  /* octets of a Unix socket's path, sun_path */
};

struct conf_list {
	char **items;
	size_t count;
};

struct conf_listener {
	char *name;
	enum conf_protocol protocol;
	enum conf_tls tls;
	uint16_t port;              /* 0 with `path` */
	struct conf_list addresses; /* "0.0.0.0", "[::]"; with `path` only that */
	char *path;                 /* of a Unix socket, absolute; empty: TCP */
	char *mode;                 /* of that socket: "0600", "0660", "0666" */
	struct conf_list networks;  /* lmtp by TCP: who may connect */
	bool enabled;
	uint32_t max_connections; /* 0: no own limit */
	uint32_t max_per_ip;
	struct conf_list proxy_networks; /* their connections begin with a PROXY header */
};

struct conf {
	char *hostname;
	char *user;       /* who the daemons run as when started by root */
	char *run_dir;    /* sockets and pid files */
	uint32_t threads; /* loop threads a daemon; 0: one a core */
	struct conf_listener *listeners;
	size_t listener_count;
	struct {
		char *certificate; /* PEM path */
		char *private_key;
		char *min_version;
		char *ca_file; /* extra trust for outgoing TLS; empty: the system's */
	} tls;
	struct {
		char *path;
		uint64_t map_size; /* bytes of address space a shard */
		uint32_t shards;   /* 0: one a core, at most 16; fixed at creation */
		uint32_t undelete_days;
		uint32_t min_free_percent;
		uint64_t quota_default; /* bytes; 0: none */
		bool compress;
		uint32_t quota_messages_default; /* 0: none */
		bool sync; /* false only for measuring: promises nothing */
	} store;
	struct {
		uint64_t max_message_size; /* bytes */
		uint32_t max_recipients;   /* a transaction */
		uint32_t max_errors;
		uint64_t command_timeout_ms;
		uint64_t data_timeout_ms;
		char *recipient_delimiter;
		struct conf_list trusted_networks;
		char *sender_check;                /* envelope, header, off */
		uint32_t max_received;             /* Received fields: loop limit */
		char *always_bcc;                  /* an address, or "" */
		struct conf_list xclient_networks; /* may say who their client is */
		bool srs;               /* forwarded mail's sender is rewritten */
		char *vrfy;             /* "off", "trusted" */
		char *etrn;             /* "off", "trusted" */
		char *local_any_sender; /* users, with blanks between */
		uint32_t max_messages;  /* of a session */
		uint32_t max_priority;  /* MT-PRIORITY, 0 to 9 */
		uint64_t max_hold_s;    /* FUTURERELEASE; 0: off */
	} smtp;
	struct {
		uint64_t lifetime_s;
		uint64_t warn_after_s;
		uint64_t *retry_s; /* durations; the last repeats */
		size_t retry_count;
		uint32_t connections; /* in all at once to one destination */
		uint32_t rate;        /* messages a minute to one domain; 0: any */
		char *prefer;         /* auto, ipv4, ipv6 */
		char *tls;            /* opportunistic, required */
		uint64_t connect_timeout_ms;
		uint64_t command_timeout_ms;
		uint16_t port;     /* of remote MX hosts; 25 */
		char *reply_rules; /* path; empty: those that are shipped */
		uint64_t suppress_for_s;
		char *suppressed; /* refuse, drop */
		char *report_address;
		struct conf_list report_networks;
		bool tls_reports;
		uint64_t tls_report_period_s;
		bool dane;
		bool mta_sts;
		uint16_t mta_sts_port; /* of policy hosts; 443 */
		bool allow_private; /* deliver to loopback and private addresses by MX */
	} relay;
	struct {
		char *url;    /* with blanks between; empty: none */
		char *secret; /* path */
		struct conf_list events;
		char *ca; /* path; empty: the system's */
		bool allow_private;
		uint64_t timeout_ms;
	} webhook;
	struct {
		uint64_t idle_timeout_ms; /* authenticated */
		uint32_t max_sessions_per_user;
		bool compress;
		uint64_t max_append_size;
		char *client_masks; /* imapd/imap_mask.h */
		char *admin_uri;    /* "" none */
		char *comment;      /* "" none */
		enum conf_sharing sharing;
		char *shared_account;   /* local part; "" none */
		uint32_t message_limit; /* of one command; 0: none */
		enum conf_limit message_limit_on;
		char *quota_admins; /* logins with "," between; "" none */
	} imap;
	struct {
		bool delete_on_retrieval;
		uint64_t idle_timeout_ms;
		uint32_t expire_days;   /* when not deleting: 0 = never */
		uint64_t login_delay_s; /* 0: none */
		bool shared_sessions;
	} pop3;
	struct {
		struct conf_list mechanisms;
		uint32_t password_min;
		bool allow_plaintext; /* PLAIN and LOGIN without TLS */
		uint64_t fail_delay_ms;
		uint32_t block_after; /* failures from one network */
		uint64_t block_for_s;
		uint32_t sends_per_hour; /* recipients of one account; 0: no limit */
		uint32_t iterations;     /* PBKDF2 rounds of new SCRAM keys */
		char
		    *client_ca; /* PEM: authorities of client certificates; empty: none */
	} auth;
	struct {
		char *keys; /* public keys of tokens: JWK set or PEM; empty: none */
		char *issuer;
		char *audience; /* words */
		char *scope;
		char *claim;
		uint64_t clock_skew_s;
		char *introspection_url;   /* empty: none */
		char *introspection_login; /* path: "client:secret" */
		char *introspection_ca;
		uint64_t introspection_timeout_ms;
		char *configuration_url; /* told to clients */
	} oauth;
	struct {
		struct conf_list servers; /* empty: the system's */
		uint64_t timeout_ms;
		char *anchors; /* file of DS or DNSKEY; empty: the root's */
		char *script;  /* file of scripted answers, for tests and demos */
	} dns;
	struct {
		char *to;  /* "stderr" or a path */
		char *dir; /* for log files and the trace; made from `to` or the root */
		char *format;
		char *level;
		uint32_t trace_days;
	} log;
};

struct conf_error {
	char *file;
	int line; /* 0: not known */
	char *text;
	bool warning;
};

struct conf_errors {
	struct conf_error *items;
	size_t count;
};

/* Reads `path`.  Relative paths in it are taken from `root` (null: as they are), and
 * `root` also gives the defaults for store.path, run_dir and tls paths.  Null on any
 * error; warnings alone do not fail.  The caller frees both with the functions below. */
struct conf *conf_read(const char *path, const char *root, struct conf_errors *errors);
/* The same from memory (`name` stands in messages). */
struct conf *conf_parse(
    struct slice text, const char *name, const char *root, struct conf_errors *errors);
void conf_free(struct conf **conf);
void conf_errors_free(struct conf_errors *errors);

/* The word of the configuration file: "submission"; "implicit". */
const char *conf_protocol_word(enum conf_protocol protocol);
const char *conf_tls_word(enum conf_tls tls);
/* The mode of a listener's Unix socket: 0660. */
unsigned conf_socket_mode(const struct conf_listener *listener);

/* True when something has changed that only a restart takes up; appends the keys' names,
 * comma separated ("hostname, store.path, listener \"imaps\""). */
bool conf_restart_needed(
    const struct conf *before, const struct conf *after, struct buf *out);

/* The files that it names and that are there to be read: certificates, keys, rules.  Not
 * its own; those of defaults may not be there. */
void conf_files_each(
    const struct conf *conf, void (*fn)(const char *path, void *arg), void *arg);

/* The commented sample with every key and its default; with hostname and port base set in
 * for `postroom init` (listeners on 127.0.0.1 and [::1] unless `public`). */
void conf_write_sample(
    struct buf *out, const char *hostname, unsigned port_base, bool public_addresses);
/* docs/config.md. */
void conf_write_markdown(struct buf *out);

/* "5m" → 300000 ms; "25M" → bytes; the message teaches the form.  For the command line.
 */
bool conf_parse_duration_ms(struct slice text, uint64_t *out_ms);
bool conf_parse_size(struct slice text, uint64_t *out_bytes);

#endif
