/*
 * What the relay's files share: jobs, sites, the scheduler's state.  Private to smtpd.
 *
 * The way of a queued recipient:
 *
 *   queue ─load─► job (message × site) ─► site ─► session (connection) ─► result ─► queue
 *                   └────────► local delivery ─────────────────────────► result
 *
 * Everything runs on the relay's one loop.  A recipient is *active* from the load until
 * its result is committed; only active ones are in memory (RELAY_ACTIVE_MAX), so memory
 * does not grow with the queue.  Active recipients are leases that die with the process:
 * after a crash only what was in flight is tried again.
 */
#ifndef SMTPD_RELAY_INT_H
#define SMTPD_RELAY_INT_H

#include <netinet/in.h>

#include "base/hashmap.h"
#include "net/conn.h"
#include "net/http.h"
#include "net/private_address.h"
#include "net/resolver.h"
#include "service/relay_level.h"
#include "service/relay_pool.h"
#include "service/relay_rate.h"
#include "service/service.h"
#include "service/trace.h"
#include "smtpd/relay_reply.h"
#include "store/queue.h"
#include "store/relay_note.h"
#include "store/tenant.h"
#include "text/reply_rule.h"

enum {
	RELAY_ACTIVE_MAX = 20000, /* recipients in memory */
	RELAY_JOB_RECIPIENTS_MAX =
	    100,                     /* of one transaction, RFC 5321 section 4.5.3.1.8 */
	RELAY_ADDRESSES_MAX = 20,    /* addresses tried of one site */
	RELAY_MX_MAX = 10,           /* hosts tried of one site */
	RELAY_TLSA_MAX = 16,         /* records used of one host */
	RELAY_CONNECTIONS_MAX = 500, /* of all sites together */
	RELAY_MESSAGES_PER_CONNECTION = 200,
	RELAY_SITE_TTL_S_MIN = 60, /* a site's addresses are kept at least so long */
	RELAY_SITE_TTL_S_MAX = 3600,
	RELAY_RESULTS_MAX = 2000,              /* in one commit */
	RELAY_DOT_TIMEOUT_MS = 10 * 60 * 1000, /* RFC 5321 section 4.5.3.2.6 */
	RELAY_DATA_SLICE = 64 * 1024, /* bytes of message text stuffed at a time */
	RELAY_DIALOGUE_MAX = 2000,    /* octets of an attempt's dialogue in the trace */
	RELAY_RATE_AHEAD_S = 60,      /* what rates let through until then is loaded */
	RELAY_RATE_LOOK_MAX = 500,    /* jobs of a site that are looked at for one */
	RELAY_COPY_HEAD_MAX = 16 * 1024, /* bytes of fields that a copy gets when sent */
	RELAY_LOCAL_MAX = 32, /* local deliveries at once: each holds its text */
};

struct relay;
struct relay_site;
struct relay_origin;

/* What QUEUE_DELIVERED means for who asked to be told of success. */
enum relay_success {
	RELAY_SUCCESS_DELIVERED, /* it is in the mailbox */
	RELAY_SUCCESS_RELAYED,   /* the next host sends no reports */
	RELAY_SUCCESS_EXPANDED,  /* it went on to an alias's members */
	RELAY_SUCCESS_PASSED,    /* somebody else will report */
};

struct relay_recipient {
	uint32_t number;
	uint32_t attempts;
	char *address;
	enum queue_outcome outcome;
	bool settled;  /* outcome and reply are final for this attempt */
	int64_t due_s; /* DEFERRED: tried again then; 0: by the schedule */
	char *reply;
	uint8_t notify; /* QUEUE_NOTIFY_* */
	char *orcpt;    /* as given, or "" */
	bool remote;    /* the reply is the host's, not ours */
	enum relay_success success;
	bool told_always; /* … is told unless NOTIFY=NEVER (RFC 2852 section 4.1.4) */
};

/* One message for one site. */
struct relay_job {
	struct list node; /* in its line */
	struct relay_sender *sender_share;
	struct relay_site *site;
	char id[ID_TEXT_SIZE];
	char *sender;
	char *forwarder; /* our domain that forwards it, or "": sent on as it came */
	char
	    *mail_from; /* what the next host is told as sender: `sender`, or rewritten */
	uint32_t flags;
	uint64_t size;
	int64_t created_s, expires_s;
	bool authenticated; /* somebody who logged in waits for news */
	char *envid;        /* as given, or "" */
	int64_t by_s;       /* as queue_message */
	int8_t priority;
	char *hold;        /* as queue_message, or "" */
	char *unsubscribe; /* as queue_message, or ""; one recipient then */
	struct relay_recipient *recipients;
	size_t count;
	/* while a session or a delivery has it */
	struct body_handle body;
	char via[300]; /* host and TLS, for the trace */
	/* The rates that it is under, or null; null again once it counts there. */
	struct relay_bucket *buckets[RELAY_RATE_OF_MESSAGE];
};

struct relay_address {
	struct sockaddr_storage address;
	socklen_t len;
	char host[256]; /* the MX or smart host that it is of */
	enum relay_level level;
	const struct relay_tlsa *tlsa; /* for RELAY_LEVEL_DANE */
};

/* TLSA records of one host, in one piece of memory. */
struct relay_tlsa {
	size_t count;
	struct slice records[RELAY_TLSA_MAX];
	char bytes[];
};

/* A site's addresses, best first.  Sessions hold them too: a site that is looked up anew
 * while sessions stand gets new ones, and the old ones go with the last session. */
struct relay_hosts {
	unsigned refs;
	struct relay_tlsa *tlsa[RELAY_MX_MAX]; /* by host, null when it has none */
	size_t count;
	struct relay_address addresses[];
};

/* What a tenant has of the relay; lives while one of its senders does. */
struct relay_tenant {
	uint64_t key; /* queue_due.tenant */
	size_t senders;
	size_t active;
	unsigned connections;
};

/* Who sends, as the queue tells them apart (queue_due.sender), for one tenant or none:
 * lives while something of it is active or a connection was opened for it. */
struct relay_sender {
	struct relay_sender_key {
		uint64_t tenant, sender;
	} key;
	struct relay_tenant *tenant; /* null: none */
	size_t active;
	unsigned connections;
};

/* What one sender has active at one site. */
struct relay_lane {
	struct relay_lane_key {
		struct relay_sender_key sender;
		uint64_t site;
	} key;
	struct relay_sender *sender;
	size_t active;
};

/* The lines of one tenant's senders at one site, or the one line of who has none: tenants
 * are served in turn, and the senders of each. */
struct relay_turn {
	struct list node; /* in site->turns; the first is served next */
	struct relay_turn_key {
		const struct relay_site *site;
		const void *owner; /* struct relay_tenant or, without one, relay_sender */
	} key;
	struct list lines;
};

/* One sender's jobs that wait at one site. */
struct relay_line {
	struct list node; /* in turn->lines; the first is served next */
	struct relay_turn *turn;
	struct relay_line_key {
		const struct relay_site *site;
		const struct relay_sender *sender;
	} key;
	struct relay_sender *sender;
	struct list jobs;
};

enum relay_site_state { SITE_UNKNOWN, SITE_RESOLVING, SITE_KNOWN };

struct relay_site {
	struct list node; /* in relay->sites_list */
	struct relay *relay;
	char *key;            /* "mx:example.org", "host:r3"; with `want` behind it */
	enum relay_want want; /* of its messages: others have a site of their own */
	char *domain;         /* of the recipients, or the smart host's name */
	/* the smart host's rule, or all empty for MX */
	bool by_rule;
	uint16_t port;
	enum relay_tls tls;
	bool lmtp; /* RFC 2033: `domain` may be the path of a Unix socket */
	bool implicit_tls;
	char *user;
	char *password;
	char *source, *ehlo; /* of its rule, as directory_relay, or "" */
	/* what a refusal brought (relay_source_other) */
	char *other_pool;
	int64_t other_until_s;
	/* +1 each time, and at a reload: connections from before take no more mail */
	unsigned epoch;

	enum relay_site_state state;
	int64_t known_until_s;
	struct relay_hosts *hosts; /* null until it is known */
	struct relay_lookup *lookup;

	bool run_scheduled;
	bool waits;          /* for a rate or a source */
	struct list starved; /* in relay->starved: waits for any session to end */
	struct list turns;   /* struct relay_turn */
	size_t pending_count;
	unsigned connections;
	/* what refusals brought, relay_refusal.c */
	int64_t paused_until_s;
	uint32_t paused_spread_s;
	char *paused_reply;
	uint64_t slowed_ms; /* monotonic, when it was last */
	uint64_t gap_ms;    /* between two messages */
	uint64_t next_ms;   /* monotonic: not earlier */
	struct loop_timer timer;
	unsigned
	    connections_max; /* lowered when the site refuses more, grows with success */
};

struct relay {
	struct service *service;
	struct loop *loop;
	struct store_reader *reader;
	struct loop_hook turn_end;
	struct resolver *resolver;
	struct http_pool *http;
	struct reply_rules *rules;
	char *rules_text;        /* what they borrow, or null */
	struct tls_context *tls; /* client */
	struct store_watch *watch;
	struct loop_timer timer;
	struct trace *trace;
	struct hashmap *sites;   /* by key */
	struct hashmap *active;  /* "id number" → struct relay_lane */
	struct hashmap *lanes;   /* struct relay_lane_key → struct relay_lane */
	struct hashmap *senders; /* struct relay_sender_key → struct relay_sender */
	struct hashmap *tenants; /* key → struct relay_tenant */
	struct hashmap *lines;   /* struct relay_line_key → struct relay_line */
	struct hashmap *turns;   /* struct relay_turn_key → struct relay_turn */
	struct hashmap *paused;  /* what is paused, as the pass began: relay_pause.c */
	uint16_t paused_masks;   /* which names such a pause has, a bit each */
	struct hashmap
	    *remote; /* site hashes of queue_due found to be no domain of ours */
	struct list sites_list;
	struct list starved;     /* struct relay_site */
	struct hashmap *buckets; /* struct relay_bucket_key → struct relay_bucket */
	struct {
		bool any[RELAY_RATE_SCOPES]; /* there is a rate in that scope */
		uint64_t look;               /* +1 with every look at the rules */
		uint64_t claim;              /* +1 with every relay_rates_ready */
		bool changed, waiting, saving;
		struct loop_timer timer;
	} rates;
	unsigned connections;
	struct {
		bool open;           /* a pass is under way, in several turns */
		bool scheduled;      /* load_now will be called */
		bool again;          /* the queue has changed since the pass began */
		bool left;           /* something was left over its share */
		bool expiring;       /* looks for what has expired, too */
		uint64_t expired_ms; /* monotonic, when it last did */
		struct queue_due at; /* how far it has come; due_s < 0: not begun */
		uint64_t began_ms, ended_ms; /* monotonic, of the last pass */
	} load;
	bool stopping;

	struct list local_waiting; /* struct relay_job for accounts here */
	unsigned local_count;      /* deliveries under way */
	struct list results;       /* struct relay_result, not committed yet */
	struct list forwards;      /* struct relay_forward */
	size_t result_count;
	bool commit_under_way;
	bool commit_scheduled;
	struct loop_timer commit_timer;
};

/* ---- relay.c ---- */
/* The job's unsettled recipients get this outcome; all results are handed in and the job
 * is freed. */
void relay_job_finish(struct relay *relay, struct relay_job *job,
    enum queue_outcome outcome, const char *reply);
/* Frees what it owns. */
void relay_recipient_fini(struct relay_recipient *recipient);
void relay_recipient_settle(
    struct relay_recipient *recipient, enum queue_outcome outcome, const char *reply);
/* Reads the message again: false (job freed, nothing done) when it or all of the job's
 * recipients have gone or are held; opens the body. */
bool relay_job_open(struct relay *relay, struct relay_job *job);
/* Opens connections for what is pending, within the limits. */
void relay_site_run(struct relay_site *site);
/* Its hosts and their levels of TLS are known, and not for too long. */
bool relay_site_is_known(const struct relay_site *site);
/* For a connection from there.  Null too when a gap after the last message has to pass or
 * a rate is used up; the site is run then. */
struct relay_job *relay_site_next_job(
    struct relay_site *site, const struct relay_origin *origin);
struct relay_job *relay_site_next_job_any(struct relay_site *site);
/* Everything pending there gets this outcome (the site cannot be reached). */
void relay_site_fail(
    struct relay_site *site, enum queue_outcome outcome, const char *reply);
void relay_session_ended(struct relay_site *site, struct relay_sender *sender);
/* Counts a connection for the sender that is next there, and returns it. */
struct relay_sender *relay_connection_began(struct relay_site *site);
/* Puts a job at the end of its sender's line and wakes the site. */
void relay_site_add_job(struct relay_site *site, struct relay_job *job);
/* Routing is decided here, at every attempt; `tenant` is the message's, or null. */
struct relay_site *relay_site_of(struct relay *relay, const struct queue_message *message,
    const struct tenant *tenant, struct slice domain);
/* Forgets sites that nothing is waiting for, when there are many. */
void relay_sites_prune(struct relay *relay);
/* Sites whose jobs wait for a rate or a source look again: the rules may have changed. */
void relay_sites_wake(struct relay *relay);
char *relay_copy_text(struct slice s);

/* ---- relay_site.c ---- */
/* A message went through: one connection more is tried, up to the setting. */
void relay_site_went_well(struct relay_site *site);
struct relay_hosts *relay_hosts_ref(struct relay_hosts *hosts);
/* Null does nothing; sets it to null. */
void relay_hosts_unref(struct relay_hosts **hosts);

/* ---- relay_load.c ---- */
/* A pass over what is due, soon; many calls make one. */
void relay_load_later(struct relay *relay);
/* Recipients have left: if a pass left some over their share, it is time for the next. */
void relay_load_room(struct relay *relay);
void relay_load_stop(struct relay *relay);

/* ---- relay_share.c ---- */
/* Has the entry's tenant, sender and site room for one more in memory? */
bool relay_share_has_room(struct relay *relay, const struct queue_due *due);
/* The entry's lane, made when it is not there; what does not become active is to be
 * released. */
struct relay_lane *relay_lane_make(struct relay *relay, const struct queue_due *due);
/* One of the lane's is active, or is not any more. */
void relay_lane_count(struct relay *relay, struct relay_lane *lane, int by);
/* Frees a sender of whom nothing is active or connected, and its tenant after the last.
 */
void relay_sender_release(struct relay *relay, struct relay_sender *sender);
/* May a connection be opened for it now? */
bool relay_share_may_connect(
    const struct relay *relay, const struct relay_sender *sender);

/* ---- relay_line.c ---- */
void relay_line_add(struct relay_site *site, struct relay_job *job);
/* The line that is next; null: there is none. */
struct relay_line *relay_line_first(const struct relay_site *site);
/* The next one whose sender may have one connection more, or null. */
struct relay_line *relay_line_to_connect(const struct relay_site *site);
/* A job was taken from it: its next turn, and its tenant's, come after the others'. */
void relay_line_served(struct relay_site *site, struct relay_line *line);

/* ---- relay_pause.c ---- */
/* What the operator has paused, as it is now. */
void relay_pauses_read(struct relay *relay);
/* By what was read, without a look into the store. */
bool relay_due_is_paused(struct relay *relay, const struct queue_due *due);
/* As it is now.  `address`: the recipient's; empty: mail for an account here. */
bool relay_is_paused(
    struct relay *relay, const struct queue_message *message, struct slice address);

/* Octets of the Return-Path and Delivered-To fields at a queued body's front: it has them
 * when a delivery that failed in part put it there. They belong to a mailbox, not on the
 * way (RFC 5321 section 4.4). */
size_t relay_body_head(struct slice body);

/* ---- relay_copy.c ---- */
/* Does each recipient get a copy of its own, in a transaction of its own? */
bool relay_copy_is_single(const struct queue_message *message);
/* Appends the copy's return address (VERP); false (nothing appended): it has none, or
 * none that fits. */
bool relay_copy_sender(struct relay *relay, const struct queue_message *message,
    struct slice recipient, struct buf *out);
/* Appends the fields that this job's copy gets in front of the stored text, as lines of
 * ASCII; all that is put there when a message is sent comes from here. */
void relay_copy_head(struct relay *relay, const struct relay_job *job, struct buf *out);

/* ---- relay_target.c ---- */
/* Finds the site's addresses and their levels; then relay_site_run or relay_site_fail. */
void relay_site_resolve(struct relay_site *site);
/* "192.0.2.1", "2001:db8::1", "[192.0.2.1]" and "[IPv6:2001:db8::1]"; false: no address.
 */
bool relay_address_literal(const char *text, uint16_t port, struct relay_address *out);
/* The same for the path of a Unix socket ("/…"). */
bool relay_address_path(const char *text, struct relay_address *out);
/* Puts MX records (sorted by preference) in the order to try: equal ones at random by
 * `random`, and when `own` is among them only those that are better than it (RFC 5321
 * section 5.1).  Returns how many may be used. */
size_t relay_mx_order(struct resolver_record *records, size_t count, struct slice own,
    uint64_t (*random)(void));

/* ---- relay_session.c ---- */
/* A connection that works the site's jobs off; ends by relay_session_ended. */
void relay_session_start(struct relay_site *site);

/* ---- relay_refusal.c ---- */
/* Reads the table; errors are logged. */
void relay_rules_load(struct relay *relay);
/* What a refusal means for the recipient, and for the site by the rule that fits.
 * epoch: the site's, when the connection was made.  *out_due_s: tried again then,
 * or 0. */
enum queue_outcome relay_refusal_judge(struct relay_site *site, const char *host,
    unsigned epoch, const struct relay_reply *reply, int64_t *out_due_s);
bool relay_site_is_paused(const struct relay_site *site);
/* All that is pending there waits in the queue until the pause is over. */
void relay_site_put_off(struct relay_site *site);
/* A message went through. */
void relay_site_wear_off(struct relay_site *site);

/* ---- relay_suppress.c ---- */
/* Does it say that the address itself is wrong, for good? */
bool relay_reply_is_hard(const char *reply);
/* The same of an enhanced code. */
bool relay_code_is_hard(const char *code);
/* Puts addresses on the list, if the operator wants that (relay.suppress_for). */
void relay_suppress_note(struct relay *relay, enum relay_suppress reason,
    const char *const *addresses, const char *const *replies, size_t count);
/* Is nothing of this sender to be sent to the address? */
bool relay_is_suppressed(
    struct relay *relay, struct slice address, struct slice sender, char out_reply[200]);

/* ---- relay_report.c ---- */
/* Begins to take reports; they are left alone after the stop. */
void relay_report_start(struct relay *relay);
void relay_report_stop(void);

/* ---- relay_tlsrpt.c ---- */
void relay_tlsrpt_start(struct relay *relay);
void relay_tlsrpt_stop(void);
/* A failure that no session had part in: of a policy ("sts", "tlsa") or by it. */
void relay_tlsrpt_domain(struct relay *relay, const char *domain, const char *mx,
    const char *type, const char *failure, const char *reason);

/* ---- relay_local.c ---- */
/* Now or when others are done. */
void relay_local_deliver(struct relay *relay, struct relay_job *job);

/* ---- relay_rate.c ---- */
/* Reads what was used before the start. */
void relay_rates_start(struct relay *relay);
/* Looks at the rules; every pass of the loader begins with it. */
void relay_rates_read(struct relay *relay);
/* Will the rate let one message more through within RELAY_RATE_AHEAD_S? */
bool relay_rate_is_near(struct relay *relay, enum relay_rate_scope scope, uint64_t hash);
/* The buckets that a message to this domain is under. */
void relay_rates_of(struct relay *relay, const struct queue_message *message,
    struct slice domain, struct relay_bucket *out[RELAY_RATE_OF_MESSAGE]);
/* … and will all of them let one more through? */
bool relay_rates_have_room(struct relay_bucket *const buckets[RELAY_RATE_OF_MESSAGE]);
/* The job stands for one message more that will want room in its buckets. */
void relay_rates_reserve(
    struct relay_job *job, struct relay_bucket *const buckets[RELAY_RATE_OF_MESSAGE]);
/* It does not any more; does nothing when it counts already. */
void relay_rates_release(struct relay_job *job);
/* Milliseconds until it may go; 0: now. */
uint64_t relay_rates_wait_ms(struct relay *relay, const struct relay_job *job);
/* Must all of its sender wait, whatever the site? */
bool relay_rates_sender_waits(struct relay *relay, const struct relay_job *job);
/* It goes now. */
void relay_rates_take(struct relay *relay, struct relay_job *job);
/* Jobs of the site that may go now, at most `max`; 0: *out_wait_ms says when one may. */
size_t relay_rates_ready(struct relay_site *site, size_t max, uint64_t *out_wait_ms);
/* The buckets of a source address; *out is to be held while a connection uses them.
 * Milliseconds until one connection more finds room there; 0: now. */
uint64_t relay_rates_source(struct relay *relay, const char *address,
    struct relay_bucket *out[RELAY_RATE_OF_SOURCE]);
void relay_rates_source_hold(
    struct relay_bucket *const buckets[RELAY_RATE_OF_SOURCE], bool hold);
/* May a message leave from there now?  It does. */
bool relay_rates_source_may(
    struct relay *relay, struct relay_bucket *const buckets[RELAY_RATE_OF_SOURCE]);
void relay_rates_source_take(
    struct relay *relay, struct relay_bucket *const buckets[RELAY_RATE_OF_SOURCE]);
void relay_rates_stop(struct relay *relay);

/* ---- relay_source.c ---- */
/* Is there an address that a connection to the site may come from now?  False:
 * *out_wait_ms until one is. */
bool relay_source_is_ready(struct relay_site *site, uint64_t *out_wait_ms);
/* Where a connection to this address comes from, and what it holds. */
struct relay_origin {
	bool set; /* else the machine decides */
	struct relay_source source;
	struct relay_bucket *buckets[RELAY_RATE_OF_SOURCE];
};
enum relay_origin_result {
	RELAY_ORIGIN_PICKED,
	RELAY_ORIGIN_LATER, /* those of its family may not be used now */
	RELAY_ORIGIN_NONE,  /* there is none of its family */
};
enum relay_origin_result relay_origin_pick(
    struct relay_site *site, const struct sockaddr *to, struct relay_origin *out);
void relay_origin_release(struct relay_origin *origin);
/* From now on and for so long the site's mail leaves from another pool; false: there is
 * no such pool, or another refusal has chosen already. */
bool relay_source_other(struct relay_site *site, struct slice pool, uint32_t lasts_s);

/* ---- relay_result.c ---- */
void relay_results_add(struct relay *relay, const struct relay_job *job,
    const struct relay_recipient *recipient);
/* Forwards of a local delivery, at most DIRECTORY_TARGETS_MAX: committed together with
 * the results.  Copies all but the draft. */
void relay_results_forward(struct relay *relay, const struct relay_job *job,
    struct body_draft *draft, const struct queue_new_recipient *to, size_t count);
/* The recipient is no longer active (its result is committed, or it was dropped). */
void relay_active_remove(struct relay *relay, const char *id, uint32_t number);

/* ---- relay_schedule.c, pure ---- */
/* May one more recipient be loaded, with so many active in all, of its tenant (0: it has
 * none), of its sender, and of its sender at its site?  The share is a part of what is
 * free, so there always is room for who has little: however many bulk runs there are, a
 * single message is loaded at once. */
bool relay_fair_may_load(
    size_t active, size_t of_tenant, size_t of_sender, size_t of_lane);
/* The same for connections. */
bool relay_fair_may_connect(size_t connections, size_t of_tenant, size_t of_sender);
/* Seconds until the next attempt: the schedule's entry with up to a tenth of jitter taken
 * from `random`. */
int64_t relay_retry_delay_s(
    const uint64_t *retry_s, size_t retry_count, uint32_t attempts, uint64_t random);

#endif
