/*
 * The relay's sites: jobs wait at them in lines (relay_line.c); connections are opened
 * within the limits.  See relay_int.h for the whole.
 *
 * A site that may not open a connection because others have all of them stands in the
 * list of the starved, and is run again when a session ends, a few at a time, in turn.
 *
 * Runs on the relay's loop.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "smtpd/relay_int.h"

enum {
	SITE_KEY_MAX = 1300,
	SITES_KEPT = 1000,       /* idle sites remembered with their addresses */
	WAIT_MS_MAX = 30 * 1000, /* for a gap or a rate; then it looks again */
	STARVED_RUN = 64,        /* of them, at the end of one session */
	PORT_SMTP = 25,
};

bool
relay_site_is_known(const struct relay_site *site)
{
	return site->state == SITE_KNOWN &&
	       (int64_t)(clock_mono_ms() / 1000) < site->known_until_s;
}

static unsigned
site_limit(const struct relay_site *site)
{
	unsigned limit = service_conf(site->relay->service)->relay.connections;
	return site->connections_max < limit ? site->connections_max : limit;
}

void
relay_site_went_well(struct relay_site *site)
{
	if (site->connections_max < service_conf(site->relay->service)->relay.connections)
		site->connections_max++;
	relay_site_wear_off(site);
}

static void
gap_over(void *arg)
{
	relay_site_run(arg);
}

static void
site_wait(struct relay_site *site, uint64_t wait_ms)
{
	if (wait_ms > WAIT_MS_MAX)
		wait_ms = WAIT_MS_MAX;
	loop_timer_start(site->relay->loop, &site->timer, wait_ms, gap_over, site);
}

/* The timer runs the site when it is over. */
static bool
gap_is_open(struct relay_site *site)
{
	uint64_t now = clock_mono_ms();
	if (now >= site->next_ms)
		return false;
	site_wait(site, site->next_ms - now);
	return true;
}

static void
site_run_deferred(void *arg)
{
	struct relay_site *site = arg;
	struct relay *relay = site->relay;
	site->run_scheduled = false;
	site->waits = false;
	if (relay->stopping || site->pending_count == 0)
		return;
	if (site->state == SITE_RESOLVING)
		return;
	if (relay_site_is_paused(site)) {
		relay_site_put_off(site);
		return;
	}
	if (!relay_site_is_known(site)) {
		relay_site_resolve(site);
		return;
	}
	if (gap_is_open(site))
		return;
	/* A connection for each job up to the limit; those that stand take what is left.
	 */
	uint64_t wait_ms;
	size_t wanted = relay_rates_ready(site, site_limit(site), &wait_ms);
	if (wanted > 0 && !relay_source_is_ready(site, &wait_ms))
		wanted = 0;
	if (wanted == 0) {
		site->waits = true;
		site_wait(site, wait_ms);
		return;
	}
	while (wanted > 0 && relay_source_is_ready(site, &wait_ms) &&
	       site->connections < site_limit(site) && relay_line_to_connect(site)) {
		relay_session_start(site);
		wanted--;
	}
	if (site->connections == 0 && site->pending_count > 0) {
		list_remove(&site->starved);
		list_append(&relay->starved, &site->starved);
	}
}

void
relay_site_run(struct relay_site *site)
{
	/* Deferred, so that sessions and lookups may call it from anywhere. */
	if (site->run_scheduled)
		return;
	site->run_scheduled = true;
	loop_defer(site->relay->loop, site_run_deferred, site);
}

/* The first job of the line that its rates let through; *looked counts. */
static struct relay_job *
job_of_line(struct relay_site *site, struct relay_line *line, size_t *looked)
{
	LIST_EACH(&line->jobs, node)
	{
		struct relay_job *job = LIST_ENTRY(node, struct relay_job, node);
		if ((*looked)++ >= RELAY_RATE_LOOK_MAX ||
		    relay_rates_sender_waits(site->relay, job))
			return NULL;
		if (relay_rates_wait_ms(site->relay, job) > 0)
			continue;
		relay_rates_take(site->relay, job);
		list_remove(&job->node);
		relay_line_served(site, line);
		return job;
	}
	return NULL;
}

/* The first one that its rates let through. */
static struct relay_job *
job_in_turn(struct relay_site *site)
{
	size_t looked = 0;
	LIST_EACH(&site->turns, node)
	{
		struct relay_turn *turn = LIST_ENTRY(node, struct relay_turn, node);
		LIST_EACH(&turn->lines, at)
		{
			struct relay_line *line = LIST_ENTRY(at, struct relay_line, node);
			struct relay_job *job = job_of_line(site, line, &looked);
			if (job || looked >= RELAY_RATE_LOOK_MAX)
				return job;
		}
	}
	return NULL;
}

struct relay_job *
relay_site_next_job(struct relay_site *site, const struct relay_origin *origin)
{
	if (relay_site_is_paused(site) || gap_is_open(site) ||
	    !relay_rates_source_may(site->relay, origin->buckets))
		return NULL;
	struct relay_job *job = job_in_turn(site);
	if (job)
		relay_rates_source_take(site->relay, origin->buckets);
	if (job)
		site->next_ms = site->gap_ms ? clock_mono_ms() + site->gap_ms : 0;
	return job;
}

struct relay_job *
relay_site_next_job_any(struct relay_site *site)
{
	struct relay_line *line = relay_line_first(site);
	if (!line)
		return NULL;
	struct relay_job *job = LIST_ENTRY(list_pop(&line->jobs), struct relay_job, node);
	relay_line_served(site, line);
	return job;
}

void
relay_site_add_job(struct relay_site *site, struct relay_job *job)
{
	relay_line_add(site, job);
	relay_site_run(site);
}

struct relay_sender *
relay_connection_began(struct relay_site *site)
{
	struct relay_line *line = relay_line_to_connect(site);
	ENSURE(line);
	struct relay_sender *sender = line->sender;
	site->connections++;
	site->relay->connections++;
	sender->connections++;
	if (sender->tenant)
		sender->tenant->connections++;
	return sender;
}

void
relay_site_fail(struct relay_site *site, enum queue_outcome outcome, const char *reply)
{
	struct relay_job *job;
	while ((job = relay_site_next_job_any(site)))
		relay_job_finish(site->relay, job, outcome, reply);
	/* Asked again at the next attempt: the reason may be a stale address. */
	if (site->state == SITE_KNOWN)
		site->state = SITE_UNKNOWN;
}

void
relay_session_ended(struct relay_site *site, struct relay_sender *sender)
{
	ENSURE(site->connections > 0 && site->relay->connections > 0);
	site->connections--;
	site->relay->connections--;
	sender->connections--;
	if (sender->tenant)
		sender->tenant->connections--;
	relay_sender_release(site->relay, sender);
	if (site->connections_max == 0)
		site->connections_max = 1;
	if (site->pending_count > 0)
		relay_site_run(site);
	/* Other sites may have waited for the place. */
	struct list *node;
	for (int i = 0; i < STARVED_RUN && (node = list_pop(&site->relay->starved)); i++)
		relay_site_run(LIST_ENTRY(node, struct relay_site, starved));
}

struct relay_hosts *
relay_hosts_ref(struct relay_hosts *hosts)
{
	hosts->refs++;
	return hosts;
}

void
relay_hosts_unref(struct relay_hosts **hosts_ptr)
{
	struct relay_hosts *hosts = *hosts_ptr;
	*hosts_ptr = NULL;
	if (!hosts || --hosts->refs > 0)
		return;
	for (size_t i = 0; i < RELAY_MX_MAX; i++)
		free(hosts->tlsa[i]);
	free(hosts);
}

static struct relay_site *
site_new(struct relay *relay, const char *key, struct slice domain,
    const struct directory_relay *rule, struct slice source)
{
	const struct conf *conf = service_conf(relay->service);
	struct relay_site *site = xcalloc(1, sizeof(*site));
	site->relay = relay;
	site->key = xstrdup(key);
	site->source = relay_copy_text(source);
	site->ehlo = relay_copy_text(rule ? rule->ehlo : SLICE_NULL);
	/* One without a host only says from where. */
	if (rule && rule->host.len == 0)
		rule = NULL;
	site->by_rule = rule != NULL;
	site->domain = relay_copy_text(rule ? rule->host : domain);
	site->port = rule ? rule->port : conf->relay.port ? conf->relay.port : PORT_SMTP;
	site->tls = rule ? rule->tls : RELAY_TLS_OPPORTUNISTIC;
	site->implicit_tls = rule && rule->implicit_tls;
	site->lmtp = rule && rule->lmtp;
	site->user = relay_copy_text(rule ? rule->user : SLICE_NULL);
	site->password = relay_copy_text(rule ? rule->password : SLICE_NULL);
	site->connections_max = conf->relay.connections;
	list_init(&site->turns);
	list_init(&site->starved);
	list_append(&relay->sites_list, &site->node);
	hashmap_put(relay->sites, slice_from_cstr(key), site);
	return site;
}

/* A report goes on even when TLS all the way cannot be had (RFC 8689 section 5). */
static enum relay_want
want_of(const struct queue_message *message)
{
	uint32_t flags = message->flags;
	bool tls = (flags & QUEUE_MESSAGE_REQUIRETLS) && message->sender.len > 0;
	return tls                                  ? RELAY_WANT_TLS
	       : flags & QUEUE_MESSAGE_TLS_OPTIONAL ? RELAY_WANT_DELIVERY
	                                            : RELAY_WANT_POLICY;
}

/* Routing is decided here, at every attempt, so queued mail follows changed rules.  The
 * key holds everything that a rule says: a changed rule is another site.  The rule's
 * source comes before the tenant's pool. */
struct relay_site *
relay_site_of(struct relay *relay, const struct queue_message *message,
    const struct tenant *tenant, struct slice domain)
{
	struct directory_relay rule;
	char key[SITE_KEY_MAX];
	bool by_rule = directory_relay_find(
			   relay->reader, message->sender, domain, &rule) == STATUS_OK;
	struct slice ehlo = by_rule ? rule.ehlo : SLICE("");
	struct slice source = by_rule ? rule.source : SLICE("");
	if (source.len == 0 && tenant)
		source = tenant->pool;
	if (by_rule && rule.host.len)
		snprintf(key, sizeof(key), "%s:%.*s:%.*s:%u:%d:%.*s:%016llx",
		    rule.lmtp ? "lmtp" : "host", SLICE_ARG(rule.id), SLICE_ARG(rule.host),
		    rule.port, (int)rule.tls, SLICE_ARG(rule.user),
		    (unsigned long long)hash_keyed(rule.password));
	else
		snprintf(key, sizeof(key), "mx:%.*s", SLICE_ARG(domain));
	if (source.len || ehlo.len) {
		size_t len = strlen(key);
		snprintf(key + len, sizeof(key) - len, ":from:%.*s:%.*s",
		    SLICE_ARG(source), SLICE_ARG(ehlo));
	}
	/* A connection is never used for a message that needs a better one. */
	enum relay_want want = want_of(message);
	static const char *const suffixes[] = {"", ":tls", ":any"};
	strncat(key, suffixes[want], sizeof(key) - strlen(key) - 1);
	struct relay_site *site = hashmap_get(relay->sites, slice_from_cstr(key));
	if (!site) {
		site = site_new(relay, key, domain, by_rule ? &rule : NULL, source);
		site->want = want;
	}
	return site;
}

void
relay_sites_wake(struct relay *relay)
{
	LIST_EACH(&relay->sites_list, node)
	{
		struct relay_site *site = LIST_ENTRY(node, struct relay_site, node);
		if (site->waits && site->connections == 0)
			relay_site_run(site);
	}
}

/* Sites that nothing is waiting for, when there are many: a bulk run may have named
 * hundreds of thousands. */
void
relay_sites_prune(struct relay *relay)
{
	if (hashmap_count(relay->sites) < SITES_KEPT)
		return;
	LIST_EACH_SAFE(&relay->sites_list, node)
	{
		struct relay_site *site = LIST_ENTRY(node, struct relay_site, node);
		if (site->pending_count > 0 || site->connections > 0 || site->lookup ||
		    site->run_scheduled || relay_site_is_paused(site) || site->gap_ms ||
		    clock_wall_s() < site->other_until_s)
			continue;
		loop_timer_stop(&site->timer);
		free(site->paused_reply);
		list_remove(&site->node);
		hashmap_remove(relay->sites, slice_from_cstr(site->key));
		list_remove(&site->starved);
		relay_hosts_unref(&site->hosts);
		free(site->key);
		free(site->domain);
		free(site->user);
		free(site->source);
		free(site->ehlo);
		free(site->other_pool);
		free(site->password);
		free(site);
	}
}
