/*
 * The one table of configuration keys.  The parser, `postroom check`, the commented
 * sample and docs/config.md are made from it; a key that is not here does not exist.
 *
 * Order is the order of the sample file.  Bounds are in the unit of the field (ms, s,
 * bytes, days, items).  "restart" means that a change is taken up at the next start.
 */
#include "conf/conf_int.h"

#include <stdlib.h>

#define TOP(field)      offsetof(struct conf, field), 0
#define LISTENER(field) offsetof(struct conf_listener, field), 0

#define KIB         UINT64_C(1024)
#define MIB         (1024 * KIB)
#define GIB         (1024 * MIB)
#define TIB         (1024 * GIB)
#define SECOND_MS   UINT64_C(1000)
#define MINUTE_MS   (60 * SECOND_MS)
#define HOUR_MS     (60 * MINUTE_MS)
#define HOUR_S      UINT64_C(3600)
#define DAY_S       (24 * HOUR_S)
#define PATH_OCTETS 1024
#define RESTART     true
#define RELOAD      false

/* In the order of the enums; test_conf compares these with the tables below. */
#define PROTOCOLS "smtp|submission|imap|pop3|lmtp|local"
#define SHARING   "none|domain|all"
#define LIMIT_ON  "all|saving"
#define TLS_MODES "none|starttls|implicit"

#define EVENT_KIND_WORDS "accepted|delivered|deferred|bounced|complained|suppressed"
#define EVENT_KIND_LIST  "accepted,delivered,deferred,bounced,complained,suppressed"
#define MECHANISMS                                                                       \
	"SCRAM-SHA-256-PLUS|SCRAM-SHA-256|SCRAM-SHA-1-PLUS|SCRAM-SHA-1|OAUTHBEARER|"     \
	"XOAUTH2|PLAIN|LOGIN|EXTERNAL"

/* clang-format off */
const struct conf_key conf_keys[] = {
	{"", "hostname", CONF_TYPE_HOSTNAME, 1, 253, NULL, NULL, RESTART,
	    "the name in EHLO, banners and the certificate; it has no default", TOP(hostname)},
	{"", "user", CONF_TYPE_TEXT, 1, 32, "postroom", NULL, RESTART,
	    "who the daemons run as when root starts them", TOP(user)},
	{"", "run_dir", CONF_TYPE_PATH, 0, 90, "", NULL, RESTART,
	    "sockets and pid files; empty: run in the root, else /run/postroom", TOP(run_dir)},
	{"", "threads", CONF_TYPE_U32, 0, 256, "0", NULL, RESTART,
	    "loop threads a daemon; 0: one a core", TOP(threads)},

	{"listener", "protocol", CONF_TYPE_ENUM, 0, 0, NULL, PROTOCOLS, RESTART,
	    "what is spoken; it has no default", LISTENER(protocol)},
	{"listener", "port", CONF_TYPE_U16, 1, 65535, NULL, NULL, RESTART,
	    "TCP port; it has no default, and must be there without path", LISTENER(port)},
	{"listener", "path", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RESTART,
	    "a Unix socket instead of port and address; lmtp, and local, whose sockets are sendmail.sock in run_dir unless set", LISTENER(path)},
	{"listener", "mode", CONF_TYPE_WORD, 0, 0, "0600", "0600|0660|0666", RESTART,
	    "who may connect to that socket: its owner (the user above), also its group, everybody; local: 0666 unless set", LISTENER(mode)},
	{"listener", "networks", CONF_TYPE_LIST_NETWORK, 0, CONF_LIST_MAX, "127.0.0.0/8,[::1]/128", NULL, RESTART,
	    "who may deliver by lmtp over TCP", LISTENER(networks)},
	{"listener", "tls", CONF_TYPE_ENUM, 0, 0, "starttls", TLS_MODES, RESTART,
	    "none, on request of the client, or from the first byte", LISTENER(tls)},
	{"listener", "address", CONF_TYPE_LIST_ADDRESS, 1, CONF_LIST_MAX, "0.0.0.0,[::]", NULL, RESTART,
	    "addresses to listen on", LISTENER(addresses)},
	{"listener", "enabled", CONF_TYPE_BOOL, 0, 1, "true", NULL, RESTART,
	    "false keeps the lines but opens nothing", LISTENER(enabled)},
	{"listener", "max_connections", CONF_TYPE_U32, 0, 1000000, "0", NULL, RESTART,
	    "connections at once; 0: no limit of its own", LISTENER(max_connections)},
	{"listener", "max_per_ip", CONF_TYPE_U32, 0, 1000000, "100", NULL, RESTART,
	    "connections at once of one address; 0: no limit", LISTENER(max_per_ip)},
	{"listener", "proxy_networks", CONF_TYPE_LIST_NETWORK, 0, CONF_LIST_MAX, "", NULL, RESTART,
	    "load balancers: connections from there begin with a PROXY header (1 or 2), whose address is the client's", LISTENER(proxy_networks)},

	{"tls", "certificate", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "PEM file with the chain; empty: etc/tls/server.pem in the root, else /etc/postroom/tls/server.pem",
	    TOP(tls.certificate)},
	{"tls", "private_key", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "PEM file; empty: etc/tls/server.key in the root, else /etc/postroom/tls/server.key",
	    TOP(tls.private_key)},
	{"tls", "min_version", CONF_TYPE_WORD, 0, 0, "1.2", "1.2|1.3", RELOAD,
	    "oldest TLS version that is spoken", TOP(tls.min_version)},
	{"tls", "ca_file", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RESTART,
	    "PEM file with more authorities for outgoing TLS; empty: the system's only",
	    TOP(tls.ca_file)},

	{"store", "path", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RESTART,
	    "all mail; empty: store in the root, else /var/lib/postroom", TOP(store.path)},
	{"store", "map_size", CONF_TYPE_SIZE, 64 * MIB, 16 * TIB, "256G", NULL, RESTART,
	    "address space a shard, not disk", TOP(store.map_size)},
	{"store", "shards", CONF_TYPE_U32, 0, 16, "0", NULL, RESTART,
	    "fixed when the store is made; 0: one a core, at most 16", TOP(store.shards)},
	{"store", "undelete_days", CONF_TYPE_U32, 0, 3650, "7", NULL, RESTART,
	    "deleted mail can be brought back for so many days", TOP(store.undelete_days)},
	{"store", "min_free", CONF_TYPE_PERCENT, 0, 90, "5%", NULL, RESTART,
	    "below it new mail is put off (452), existing mail stays readable",
	    TOP(store.min_free_percent)},
	{"store", "quota_default", CONF_TYPE_SIZE, 0, 1024 * TIB, "0", NULL, RELOAD,
	    "a new account's quota; 0: none", TOP(store.quota_default)},
	{"store", "quota_messages_default", CONF_TYPE_U32, 0, 1000000000, "0", NULL, RELOAD,
	    "a new account's quota of messages; 0: none", TOP(store.quota_messages_default)},
	{"store", "compress", CONF_TYPE_BOOL, 0, 1, "false", NULL, RESTART,
	    "new messages of 512 octets to 256K are stored compressed where it saves an eighth", TOP(store.compress)},
	{"store", "sync", CONF_TYPE_BOOL, 0, 1, "true", NULL, RESTART,
	    "false only for measuring: mail may be lost when the machine stops", TOP(store.sync)},

	{"smtp", "max_message_size", CONF_TYPE_SIZE, 1 * KIB, 1 * GIB, "50M", NULL, RELOAD,
	    "a message, as it comes (RFC 5321 section 4.5.3.1.7: at least 64K)", TOP(smtp.max_message_size)},
	{"smtp", "max_recipients", CONF_TYPE_U32, 1, 50000, "1000", NULL, RELOAD,
	    "of one message (RFC 5321 section 4.5.3.1.8: at least 100)", TOP(smtp.max_recipients)},
	{"smtp", "max_errors", CONF_TYPE_U32, 1, 1000, "10", NULL, RELOAD,
	    "bad commands of a session, then 421", TOP(smtp.max_errors)},
	{"smtp", "command_timeout", CONF_TYPE_DURATION_MS, SECOND_MS, HOUR_MS, "5m", NULL, RELOAD,
	    "waiting for the next command", TOP(smtp.command_timeout_ms)},
	{"smtp", "data_timeout", CONF_TYPE_DURATION_MS, SECOND_MS, HOUR_MS, "10m", NULL, RELOAD,
	    "waiting for more of a message", TOP(smtp.data_timeout_ms)},
	{"smtp", "recipient_delimiter", CONF_TYPE_TEXT, 0, 1, "+", NULL, RELOAD,
	    "user+anything goes to user; empty: off", TOP(smtp.recipient_delimiter)},
	{"smtp", "trusted_networks", CONF_TYPE_LIST_NETWORK, 0, CONF_LIST_MAX, "", NULL, RELOAD,
	    "may send to anywhere without logging in, such as {\"10.1.0.0/16\", \"[::1]/128\"}",
	    TOP(smtp.trusted_networks)},
	{"smtp", "sender_check", CONF_TYPE_WORD, 0, 0, "envelope", "envelope|header|off", RELOAD,
	    "what a logged-in sender must own: its MAIL FROM, also its From field, or nothing",
	    TOP(smtp.sender_check)},
	{"smtp", "max_received", CONF_TYPE_U32, 10, 1000, "50", NULL, RELOAD,
	    "Received fields before a message counts as looping", TOP(smtp.max_received)},
	{"smtp", "always_bcc", CONF_TYPE_TEXT, 0, 320, "", NULL, RELOAD,
	    "a copy of every message goes to this address too (a journal); empty: none",
	    TOP(smtp.always_bcc)},
	{"smtp", "xclient_networks", CONF_TYPE_LIST_NETWORK, 0, CONF_LIST_MAX, "", NULL, RELOAD,
	    "proxies that may say by XCLIENT who their client is, even who has logged in; they are"
	    " trusted with everything", TOP(smtp.xclient_networks)},
	{"smtp", "srs", CONF_TYPE_BOOL, 0, 0, "true", NULL, RELOAD,
	    "the sender of mail that an alias or account forwards to elsewhere is rewritten (SRS), so"
	    " that SPF holds there", TOP(smtp.srs)},
	{"smtp", "vrfy", CONF_TYPE_WORD, 0, 0, "off", "off|trusted", RELOAD,
	    "who may ask for addresses and members of aliases (VRFY, EXPN): nobody, or log-ins and"
	    " trusted networks", TOP(smtp.vrfy)},
	{"smtp", "etrn", CONF_TYPE_WORD, 0, 0, "off", "off|trusted", RELOAD,
	    "who may have the mail that waits for a domain tried at once (ETRN, RFC 1985): nobody, or"
	    " log-ins and trusted networks", TOP(smtp.etrn)},
	{"smtp", "local_any_sender", CONF_TYPE_TEXT, 0, 1024, "", NULL, RELOAD,
	    "local users (names or numbers) who may send as anybody, as root may; others: NAME@hostname", TOP(smtp.local_any_sender)},
	{"smtp", "max_messages", CONF_TYPE_U32, 1, 100000000, "10000", NULL, RELOAD,
	    "messages of a session, then 421 (RFC 9422, MAILMAX)", TOP(smtp.max_messages)},
	{"smtp", "max_priority", CONF_TYPE_U32, 0, 9, "4", NULL, RELOAD,
	    "the highest priority that log-ins and trusted networks can give a message (RFC 6710)",
	    TOP(smtp.max_priority)},
	{"smtp", "max_hold", CONF_TYPE_DURATION_S, 0, 999999999, "30d", NULL, RELOAD,
	    "how long a submitted message can be held for later (RFC 4865); 0: not at all",
	    TOP(smtp.max_hold_s)},

	{"relay", "lifetime", CONF_TYPE_DURATION_S, 1, 60 * DAY_S, "5d", NULL, RELOAD,
	    "then an undelivered message goes back to its sender", TOP(relay.lifetime_s)},
	{"relay", "warn_after", CONF_TYPE_DURATION_S, 0, 60 * DAY_S, "4h", NULL, RELOAD,
	    "delay notice to the sender; 0: none", TOP(relay.warn_after_s)},
	{"relay", "retry", CONF_TYPE_LIST_DURATION_S, 1, CONF_LIST_MAX, "5m,10m,20m,40m,1h,2h,4h",
	    NULL, RELOAD, "waits between attempts; the last one repeats",
	    offsetof(struct conf, relay.retry_s), offsetof(struct conf, relay.retry_count)},
	{"relay", "connections", CONF_TYPE_U32, 1, 1000, "20", NULL, RELOAD,
	    "at once to one destination", TOP(relay.connections)},
	{"relay", "rate", CONF_TYPE_U32, 0, 1000000, "0", NULL, RELOAD,
	    "messages a minute to one recipients' domain, others wait; 0: no limit; for single ones:"
	    " `postroom relay rate`", TOP(relay.rate)},
	{"relay", "prefer", CONF_TYPE_WORD, 0, 0, "auto", "auto|ipv4|ipv6", RELOAD,
	    "which addresses are tried first", TOP(relay.prefer)},
	{"relay", "tls", CONF_TYPE_WORD, 0, 0, "opportunistic", "opportunistic|required", RELOAD,
	    "required: mail waits rather than go in clear", TOP(relay.tls)},
	{"relay", "reply_rules", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "file of what refusals mean: pause, slow, retry, fail, pool; empty: what `postroom relay rules` prints",
	    TOP(relay.reply_rules)},
	{"relay", "suppress_for", CONF_TYPE_DURATION_S, 0, 3650 * DAY_S, "0", NULL, RELOAD,
	    "an address that was refused for good is on the suppression list so long; 0: not put there",
	    TOP(relay.suppress_for_s)},
	{"relay", "suppressed", CONF_TYPE_WORD, 0, 0, "refuse", "refuse|drop", RELOAD,
	    "what becomes of mail to an address on the list", TOP(relay.suppressed)},
	{"relay", "report_address", CONF_TYPE_TEXT, 0, 320, "", NULL, RELOAD,
	    "an address here that bounces and complaints come to, besides postmaster; they feed the"
	    " suppression list", TOP(relay.report_address)},
	{"relay", "report_networks", CONF_TYPE_LIST_NETWORK, 0, CONF_LIST_MAX, "", NULL, RELOAD,
	    "their complaints and bounces about mail of ours are believed: hosts of feedback loops",
	    TOP(relay.report_networks)},
	{"relay", "tls_reports", CONF_TYPE_BOOL, 0, 1, "false", NULL, RELOAD,
	    "tell domains that ask for it how TLS with their hosts went (RFC 8460)",
	    TOP(relay.tls_reports)},
	{"relay", "tls_report_period", CONF_TYPE_DURATION_S, 1, DAY_S, "1d", NULL, RESTART,
	    "that a report is of; another than a day is for tests", TOP(relay.tls_report_period_s)},
	{"relay", "dane", CONF_TYPE_BOOL, 0, 1, "true", NULL, RELOAD,
	    "check certificates of MX hosts by DNSSEC where TLSA records are (RFC 7672)",
	    TOP(relay.dane)},
	{"relay", "mta_sts", CONF_TYPE_BOOL, 0, 1, "true", NULL, RELOAD,
	    "fetch and follow the policies of recipients' domains (RFC 8461)", TOP(relay.mta_sts)},
	{"relay", "mta_sts_port", CONF_TYPE_U16, 1, 65535, "443", NULL, RELOAD,
	    "of the hosts that serve them; another than 443 is for tests", TOP(relay.mta_sts_port)},
	{"relay", "connect_timeout", CONF_TYPE_DURATION_MS, 100, HOUR_MS, "30s", NULL, RELOAD,
	    "for one address", TOP(relay.connect_timeout_ms)},
	{"relay", "command_timeout", CONF_TYPE_DURATION_MS, SECOND_MS, HOUR_MS, "5m", NULL, RELOAD,
	    "waiting for a reply (RFC 5321 section 4.5.3.2)", TOP(relay.command_timeout_ms)},
	{"relay", "port", CONF_TYPE_U16, 1, 65535, "25", NULL, RELOAD,
	    "of the hosts that MX records name", TOP(relay.port)},
	{"relay", "allow_private", CONF_TYPE_BOOL, 0, 1, "false", NULL, RELOAD,
	    "deliver when MX records lead to loopback or private addresses",
	    TOP(relay.allow_private)},

	{"webhook", "url", CONF_TYPE_TEXT, 0, 4096, "", NULL, RELOAD,
	    "events of messages are posted there as JSON (decisions 0101, 0147); at most 8, blanks between; empty: nowhere",
	    TOP(webhook.url)},
	{"webhook", "secret", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "file with the key of the signatures; several: a line for each URL, in their order", TOP(webhook.secret)},
	{"webhook", "events", CONF_TYPE_LIST_WORD, 1, 6, EVENT_KIND_LIST, EVENT_KIND_WORDS, RELOAD,
	    "which ones", TOP(webhook.events)},
	{"webhook", "ca", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "PEM file of authorities to trust there; empty: the system's", TOP(webhook.ca)},
	{"webhook", "allow_private", CONF_TYPE_BOOL, 0, 1, "false", NULL, RELOAD,
	    "also http, and loopback and private addresses", TOP(webhook.allow_private)},
	{"webhook", "timeout", CONF_TYPE_DURATION_MS, 100, MINUTE_MS, "10s", NULL, RELOAD,
	    "for one batch; it is tried again", TOP(webhook.timeout_ms)},

	{"imap", "idle_timeout", CONF_TYPE_DURATION_MS, SECOND_MS, 24 * HOUR_MS, "30m", NULL, RELOAD,
	    "a silent session ends (RFC 9051 section 5.4: at least 30m)",
	    TOP(imap.idle_timeout_ms)},
	{"imap", "max_sessions_per_user", CONF_TYPE_U32, 1, 100000, "64", NULL, RELOAD,
	    "at once", TOP(imap.max_sessions_per_user)},
	{"imap", "compress", CONF_TYPE_BOOL, 0, 1, "true", NULL, RELOAD,
	    "offer COMPRESS=DEFLATE (RFC 4978)", TOP(imap.compress)},
	{"imap", "max_append_size", CONF_TYPE_SIZE, 1 * KIB, 1 * GIB, "50M", NULL, RELOAD,
	    "a message that a client uploads", TOP(imap.max_append_size)},
	{"imap", "client_masks", CONF_TYPE_TEXT, 0, 2048, "", NULL, RELOAD,
	    "capabilities kept from clients by the name in ID: \"Some Mail=QRESYNC,IDLE; Other=MOVE\"",
	    TOP(imap.client_masks)},
	{"imap", "admin_uri", CONF_TYPE_TEXT, 0, 1024, "", NULL, RELOAD,
	    "how to reach the administrator, a URI as mailto:help@example.org (METADATA /shared/admin)",
	    TOP(imap.admin_uri)},
	{"imap", "comment", CONF_TYPE_TEXT, 0, 1024, "", NULL, RELOAD,
	    "a note to users about the server (METADATA /shared/comment)", TOP(imap.comment)},
	{"imap", "sharing", CONF_TYPE_ENUM, 0, 0, "domain", SHARING, RELOAD,
	    "whom users may share mailboxes with: nobody, accounts of their domain, all accounts",
	    TOP(imap.sharing)},
	{"imap", "shared_account", CONF_TYPE_TEXT, 0, 64, "shared", NULL, RELOAD,
	    "the account of a domain (local part) whose mailboxes are seen as Shared/; empty: none",
	    TOP(imap.shared_account)},
	{"imap", "message_limit", CONF_TYPE_U32, 0, 1000000000, "0", NULL, RELOAD,
	    "messages that one command deals with (RFC 9738: at least 1000); 0: no limit",
	    TOP(imap.message_limit)},
	{"imap", "message_limit_on", CONF_TYPE_ENUM, 0, 0, "all", LIMIT_ON, RELOAD,
	    "all commands over messages (MESSAGELIMIT), or saving: COPY and APPEND (SAVELIMIT)",
	    TOP(imap.message_limit_on)},
	{"imap", "quota_admins", CONF_TYPE_TEXT, 0, 2048, "", NULL, RELOAD,
	    "logins, comma separated, that may SETQUOTA (RFC 9208): their own, and where they have right a",
	    TOP(imap.quota_admins)},

	{"pop3", "delete_on_retrieval", CONF_TYPE_BOOL, 0, 1, "true", NULL, RELOAD,
	    "QUIT removes what was fetched whole; false: mail stays", TOP(pop3.delete_on_retrieval)},
	{"pop3", "idle_timeout", CONF_TYPE_DURATION_MS, SECOND_MS, 24 * HOUR_MS, "10m", NULL, RELOAD,
	    "a silent session ends (RFC 1939 section 3: at least 10m)", TOP(pop3.idle_timeout_ms)},
	{"pop3", "expire", CONF_TYPE_DAYS, 0, 3650, "never", NULL, RELOAD,
	    "when mail stays: for how many days after it was fetched, such as 30d; never: for ever", TOP(pop3.expire_days)},
	{"pop3", "login_delay", CONF_TYPE_DURATION_S, 0, DAY_S, "0s", NULL, RELOAD,
	    "after a log-in the account's next one has to wait so long (RFC 2449, LOGIN-DELAY)", TOP(pop3.login_delay_s)},
	{"pop3", "shared_sessions", CONF_TYPE_BOOL, 0, 1, "false", NULL, RELOAD,
	    "several sessions of an account at once; false: the second one gets IN-USE", TOP(pop3.shared_sessions)},

	{"auth", "mechanisms", CONF_TYPE_LIST_WORD, 1, 9,
	    "SCRAM-SHA-256,SCRAM-SHA-1,OAUTHBEARER,XOAUTH2,PLAIN,LOGIN,EXTERNAL",
	    MECHANISMS, RESTART,
	    "offered, best first, each only where the connection can use it; -PLUS wants clients that can", TOP(auth.mechanisms)},
	{"auth", "password_min", CONF_TYPE_U32, 1, 128, "8", NULL, RELOAD,
	    "characters of a new password", TOP(auth.password_min)},
	{"auth", "allow_plaintext", CONF_TYPE_BOOL, 0, 1, "false", NULL, RESTART,
	    "passwords and tokens on connections without TLS", TOP(auth.allow_plaintext)},
	{"auth", "fail_delay", CONF_TYPE_DURATION_MS, 0, MINUTE_MS, "1s", NULL, RESTART,
	    "before the answer to a wrong password", TOP(auth.fail_delay_ms)},
	{"auth", "block_after", CONF_TYPE_U32, 0, 100000, "20", NULL, RESTART,
	    "failures from one network (IPv4 address, IPv6 /64); 0: never", TOP(auth.block_after)},
	{"auth", "block_for", CONF_TYPE_DURATION_S, 1, 30 * DAY_S, "1h", NULL, RESTART,
	    "how long that network then has to wait", TOP(auth.block_for_s)},
	{"auth", "sends_per_hour", CONF_TYPE_U32, 0, 100000000, "0", NULL, RELOAD,
	    "recipients that one account may send to in an hour; 0: no limit",
	    TOP(auth.sends_per_hour)},
	{"auth", "iterations", CONF_TYPE_U32, 4096, 65536, "4096", NULL, RELOAD,
	    "PBKDF2 rounds for the keys of new passwords", TOP(auth.iterations)},
	{"auth", "client_ca", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "PEM authorities: a certificate of theirs logs in as its mail address (EXTERNAL)",
	    TOP(auth.client_ca)},

	{"oauth", "keys", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "public keys of tokens (JWT): a JWK set or PEM; RS256, ES256, EdDSA", TOP(oauth.keys)},
	{"oauth", "issuer", CONF_TYPE_TEXT, 0, 512, "", NULL, RELOAD,
	    "a token's iss has to be it", TOP(oauth.issuer)},
	{"oauth", "audience", CONF_TYPE_TEXT, 0, 1024, "", NULL, RELOAD,
	    "a token's aud has to hold it, or one of several with blanks between", TOP(oauth.audience)},
	{"oauth", "scope", CONF_TYPE_TEXT, 0, 256, "", NULL, RELOAD,
	    "a token's scope has to hold it", TOP(oauth.scope)},
	{"oauth", "claim", CONF_TYPE_TEXT, 1, 64, "email", NULL, RELOAD,
	    "the claim that is the login", TOP(oauth.claim)},
	{"oauth", "clock_skew", CONF_TYPE_DURATION_S, 0, HOUR_S, "60s", NULL, RELOAD,
	    "the issuer's clock and ours may differ by so much", TOP(oauth.clock_skew_s)},
	{"oauth", "introspection_url", CONF_TYPE_TEXT, 0, 1024, "", NULL, RELOAD,
	    "asked about tokens that are no JWT, or about all without keys (RFC 7662); https",
	    TOP(oauth.introspection_url)},
	{"oauth", "introspection_login", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "file whose first line is client:secret", TOP(oauth.introspection_login)},
	{"oauth", "introspection_ca", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RELOAD,
	    "PEM file of authorities to trust there; empty: the system's", TOP(oauth.introspection_ca)},
	{"oauth", "introspection_timeout", CONF_TYPE_DURATION_MS, 100, MINUTE_MS, "5s", NULL, RELOAD,
	    "then the login fails for now", TOP(oauth.introspection_timeout_ms)},
	{"oauth", "configuration_url", CONF_TYPE_TEXT, 0, 1024, "", NULL, RELOAD,
	    "told to clients whose token is refused (openid-configuration)",
	    TOP(oauth.configuration_url)},

	{"dns", "servers", CONF_TYPE_LIST_SERVER, 0, CONF_LIST_MAX, "", NULL, RESTART,
	    "such as {\"127.0.0.1\", \"::1@5353\"}; empty: the system's", TOP(dns.servers)},
	{"dns", "timeout", CONF_TYPE_DURATION_MS, 100, 5 * MINUTE_MS, "10s", NULL, RESTART,
	    "for one question", TOP(dns.timeout_ms)},
	{"dns", "anchors", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RESTART,
	    "file of DS or DNSKEY records of zones to trust; empty: the root's", TOP(dns.anchors)},
	{"dns", "script", CONF_TYPE_PATH, 0, PATH_OCTETS, "", NULL, RESTART,
	    "file of scripted answers, for tests and demonstrations", TOP(dns.script)},

	{"log", "to", CONF_TYPE_PATH, 0, PATH_OCTETS, "", "stderr", RESTART,
	    "stderr or a file; empty: log/postroom.log in the root, else stderr", TOP(log.to)},
	{"log", "format", CONF_TYPE_WORD, 0, 0, "text", "text|json", RELOAD,
	    "of a line", TOP(log.format)},
	{"log", "level", CONF_TYPE_WORD, 0, 0, "info", "error|warn|info|debug", RELOAD,
	    "lines below it are not written", TOP(log.level)},
	{"log", "trace_days", CONF_TYPE_U32, 0, 3650, "14", NULL, RELOAD,
	    "how long `postroom trace` remembers", TOP(log.trace_days)},
};
/* clang-format on */

const size_t conf_key_count = sizeof(conf_keys) / sizeof(conf_keys[0]);

const struct conf_key *
conf_key_find(struct slice section, struct slice name)
{
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		if (slice_equal(slice_from_cstr(key->section), section) &&
		    slice_equal(slice_from_cstr(key->name), name))
			return key;
	}
	return NULL;
}

bool
conf_section_exists(struct slice section)
{
	if (slice_is_empty(section))
		return false;
	for (size_t i = 0; i < conf_key_count; i++)
		if (slice_equal(slice_from_cstr(conf_keys[i].section), section))
			return true;
	return false;
}

bool
conf_key_is_list(const struct conf_key *key)
{
	return key->type >= CONF_TYPE_LIST_WORD;
}

enum { NAME_OCTETS_MAX = 40, DISTANCE_MAX = 3 };

/* Levenshtein distance of two short names; DISTANCE_MAX + 1 for long ones. */
static size_t
name_distance(struct slice a, struct slice b)
{
	size_t row[NAME_OCTETS_MAX + 1];

	if (a.len > NAME_OCTETS_MAX || b.len > NAME_OCTETS_MAX)
		return DISTANCE_MAX + 1;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t above = row[j];
			bool same =
			    ascii_lower(a.ptr[i - 1]) == ascii_lower(b.ptr[j - 1]);
			size_t best = diagonal + (same ? 0 : 1);
			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diagonal = above;
		}
	}
	return row[b.len];
}

static void
nearest_consider(
    const char *candidate, struct slice name, const char **best, size_t *best_distance)
{
	struct slice c = slice_from_cstr(candidate);
	size_t distance = name_distance(c, name);

	/* A short name is near only when most of it is right. */
	if (distance > DISTANCE_MAX || distance * 2 > c.len)
		return;
	if (distance < *best_distance) {
		*best = candidate;
		*best_distance = distance;
	}
}

const char *
conf_nearest(const char *section, struct slice name)
{
	const char *best = NULL;
	size_t best_distance = SIZE_MAX;

	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		const char *candidate = key->name;
		if (section ? strcmp(key->section, section) != 0 : *key->section != 0) {
			if (section)
				continue;
			candidate = key->section;
		}
		nearest_consider(candidate, name, &best, &best_distance);
	}
	return best;
}

const char *
conf_protocol_word(enum conf_protocol protocol)
{
	static const char *const words[] = {
	    "smtp", "submission", "imap", "pop3", "lmtp", "local"};
	return words[protocol];
}

const char *
conf_tls_word(enum conf_tls tls)
{
	static const char *const words[] = {"none", "starttls", "implicit"};
	return words[tls];
}

unsigned
conf_socket_mode(const struct conf_listener *listener)
{
	return (unsigned)strtoul(listener->mode, NULL, 8);
}
