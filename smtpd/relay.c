/*
 * The relay's sites: jobs wait at them, in one line per sender that are served in turn;
 * connections are opened within the limits.  See relay_int.h for the whole.
 *
 * Woken by: the queue's change hint (new mail, the operator's wish), the timer of the
 * next due recipient, and results.  Runs on the main loop.
 */
#include "smtpd/relay.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/stats.h"
#include "smtpd/relay_int.h"

enum {
	SITE_KEY_MAX = 600,
	SITES_KEPT = 1000, /* idle sites remembered with their addresses */
	PORT_SMTP = 25,
};

static struct relay relay_singleton;

/* ---- jobs ---- */

void
relay_recipient_fini(struct relay_recipient *recipient)
{
	free(recipient->address);
	free(recipient->orcpt);
	free(recipient->reply);
}

static void
job_free(struct relay_job *job)
{
	if (job->body.map || job->body.pin)
		body_handle_close(&job->body);
	for (size_t i = 0; i < job->count; i++)
		relay_recipient_fini(&job->recipients[i]);
	free(job->recipients);
	free(job->envid);
	free(job->sender);
	free(job);
}

void
relay_recipient_settle(
    struct relay_recipient *recipient, enum queue_outcome outcome, const char *reply)
{
	free(recipient->reply);
	recipient->reply = xstrdup(reply);
	recipient->outcome = outcome;
	recipient->settled = true;
}

void
relay_job_finish(struct relay *relay, struct relay_job *job, enum queue_outcome outcome,
    const char *reply)
{
	/* Failures side by side: they make one report. */
	for (int pass = QUEUE_DELIVERED; pass <= QUEUE_DEFERRED; pass++) {
		for (size_t i = 0; i < job->count; i++) {
			struct relay_recipient *r = &job->recipients[i];
			if (!r->settled)
				relay_recipient_settle(r, outcome, reply);
			if (r->outcome == (enum queue_outcome)pass)
				relay_results_add(relay, job, r);
		}
	}
	if (job->site && outcome == QUEUE_DELIVERED)
		job->site->connections_max++;
	job_free(job);
}

bool
relay_is_paused(struct relay *relay, struct slice address)
{
	bool paused = false;
	size_t at = slice_rindex(address, '@');
	if (at != SIZE_MAX && queue_site_is_paused(relay->reader,
				  slice_from(address, at + 1), &paused) != STATUS_OK)
		return false;
	return paused;
}

struct still_waiting {
	struct relay *relay;
	struct relay_job *job;
	size_t kept;
};

/* Moves the job's recipients that are still waiting to the front. */
static bool
still_waiting(const struct queue_recipient *recipient, void *arg)
{
	struct still_waiting *w = arg;
	if (recipient->state != QUEUE_WAITING ||
	    (w->job->site && relay_is_paused(w->relay, recipient->address)))
		return true;
	for (size_t i = w->kept; i < w->job->count; i++) {
		struct relay_recipient *r = &w->job->recipients[i];
		if (r->number != recipient->number)
			continue;
		struct relay_recipient swap = w->job->recipients[w->kept];
		w->job->recipients[w->kept++] = *r;
		*r = swap;
		return w->kept < w->job->count;
	}
	return true;
}

bool
relay_job_open(struct relay *relay, struct relay_job *job)
{
	struct queue_message message;
	struct slice id = slice_from_cstr(job->id);
	struct still_waiting w = {.relay = relay, .job = job};
	enum status status = queue_message_get(relay->reader, id, &message);
	if (status == STATUS_OK)
		status = queue_recipient_each(relay->reader, id, still_waiting, &w);
	if (status == STATUS_OK && w.kept > 0) {
		for (size_t i = w.kept; i < job->count; i++) {
			relay_active_remove(relay, job->id, job->recipients[i].number);
			relay_recipient_fini(&job->recipients[i]);
		}
		job->count = w.kept;
		status = queue_body_open(relay->reader, &message, &job->body);
		if (status == STATUS_OK)
			return true;
		relay_job_finish(relay, job,
		    status == STATUS_CORRUPT ? QUEUE_FAILED : QUEUE_DEFERRED,
		    status == STATUS_CORRUPT
			? "554 5.3.0 the message is damaged on this server's disk"
			: "451 4.3.0 the message could not be read");
		return false;
	}
	/* Deleted, held or paused in the meantime. */
	for (size_t i = 0; i < job->count; i++)
		relay_active_remove(relay, job->id, job->recipients[i].number);
	job_free(job);
	return false;
}

size_t
relay_body_head(struct slice body)
{
	size_t at = 0;
	for (;;) {
		struct slice rest = slice_from(body, at);
		if (!slice_has_prefix_nocase(rest, SLICE("Return-Path:")) &&
		    !slice_has_prefix_nocase(rest, SLICE("Delivered-To:")))
			return at;
		size_t lf = slice_index(rest, '\n');
		if (lf == SIZE_MAX)
			return at;
		at += lf + 1;
		/* Its continuation lines. */
		while (at < body.len && (body.ptr[at] == ' ' || body.ptr[at] == '\t')) {
			lf = slice_index(slice_from(body, at), '\n');
			if (lf == SIZE_MAX)
				return body.len;
			at += lf + 1;
		}
	}
}

/* ---- sites ---- */

static unsigned
site_limit(const struct relay_site *site)
{
	unsigned limit = service_conf(site->relay->service)->relay.connections;
	return site->connections_max < limit ? site->connections_max : limit;
}

static struct relay_line *
line_first(const struct relay_site *site)
{
	return LIST_ENTRY(site->lines.next, struct relay_line, node);
}

static struct slice
line_key(const struct relay_line_key *key)
{
	return slice_make((const char *)key, sizeof(*key));
}

static void
site_run_deferred(void *arg)
{
	struct relay_site *site = arg;
	struct relay *relay = site->relay;
	site->run_scheduled = false;
	if (relay->stopping || site->pending_count == 0)
		return;
	if (site->state == SITE_RESOLVING)
		return;
	int64_t now = (int64_t)(clock_mono_ms() / 1000);
	if (site->state == SITE_UNKNOWN || now >= site->known_until_s) {
		relay_site_resolve(site);
		return;
	}
	/* A connection for each job up to the limit; those that stand take what is left.
	 */
	size_t wanted = site->pending_count;
	while (wanted > 0 && site->connections < site_limit(site) &&
	       !list_is_empty(&site->lines) &&
	       relay_fair_may_connect(
		   relay->connections, line_first(site)->sender->connections)) {
		relay_session_start(site);
		wanted--;
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

struct relay_job *
relay_site_next_job(struct relay_site *site)
{
	if (list_is_empty(&site->lines))
		return NULL;
	struct relay_line *line = line_first(site);
	struct relay_job *job = LIST_ENTRY(list_pop(&line->jobs), struct relay_job, node);
	site->pending_count--;
	list_remove(&line->node);
	if (list_is_empty(&line->jobs)) {
		hashmap_remove(site->relay->lines, line_key(&line->key));
		free(line);
	} else {
		list_append(&site->lines, &line->node);
	}
	return job;
}

void
relay_site_add_job(struct relay_site *site, struct relay_job *job)
{
	struct relay_line_key key = {site, job->sender_share};
	struct relay_line *line = hashmap_get(site->relay->lines, line_key(&key));
	if (!line) {
		line = xcalloc(1, sizeof(*line));
		line->key = key;
		line->sender = job->sender_share;
		list_init(&line->jobs);
		list_append(&site->lines, &line->node);
		hashmap_put(site->relay->lines, line_key(&key), line);
	}
	list_append(&line->jobs, &job->node);
	site->pending_count++;
	relay_site_run(site);
}

struct relay_sender *
relay_connection_began(struct relay_site *site)
{
	struct relay_sender *sender = line_first(site)->sender;
	site->connections++;
	site->relay->connections++;
	sender->connections++;
	return sender;
}

void
relay_site_fail(struct relay_site *site, enum queue_outcome outcome, const char *reply)
{
	struct relay_job *job;
	while ((job = relay_site_next_job(site)))
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
	relay_sender_release(site->relay, sender);
	if (site->connections_max == 0)
		site->connections_max = 1;
	if (site->pending_count > 0)
		relay_site_run(site);
	/* Another site may have waited for the place. */
	LIST_EACH(&site->relay->sites_list, node)
	{
		struct relay_site *other = LIST_ENTRY(node, struct relay_site, node);
		if (other != site && other->pending_count > 0 && other->connections == 0)
			relay_site_run(other);
	}
}

char *
relay_copy_text(struct slice s)
{
	return s.ptr ? slice_to_cstr(s) : xstrdup("");
}

static struct relay_site *
site_new(struct relay *relay, const char *key, struct slice domain,
    const struct directory_relay *rule)
{
	const struct conf *conf = service_conf(relay->service);
	struct relay_site *site = xcalloc(1, sizeof(*site));
	site->relay = relay;
	site->key = xstrdup(key);
	site->by_rule = rule != NULL;
	site->domain = relay_copy_text(rule ? rule->host : domain);
	site->port = rule ? rule->port : conf->relay.port ? conf->relay.port : PORT_SMTP;
	site->tls = rule ? rule->tls : RELAY_TLS_OPPORTUNISTIC;
	site->implicit_tls = rule && rule->implicit_tls;
	site->user = relay_copy_text(rule ? rule->user : SLICE_NULL);
	site->password = relay_copy_text(rule ? rule->password : SLICE_NULL);
	site->connections_max = conf->relay.connections;
	list_init(&site->lines);
	list_append(&relay->sites_list, &site->node);
	hashmap_put(relay->sites, slice_from_cstr(key), site);
	return site;
}

/* Routing is decided here, at every attempt, so queued mail follows changed rules.  The
 * key holds everything that a rule says: a changed rule is another site. */
struct relay_site *
relay_site_of(struct relay *relay, struct slice sender, struct slice domain)
{
	struct directory_relay rule;
	char key[SITE_KEY_MAX];
	bool by_rule =
	    directory_relay_find(relay->reader, sender, domain, &rule) == STATUS_OK;
	if (by_rule)
		snprintf(key, sizeof(key), "host:%.*s:%.*s:%u:%d:%.*s:%016llx",
		    SLICE_ARG(rule.id), SLICE_ARG(rule.host), rule.port, (int)rule.tls,
		    SLICE_ARG(rule.user), (unsigned long long)hash_keyed(rule.password));
	else
		snprintf(key, sizeof(key), "mx:%.*s", SLICE_ARG(domain));
	struct relay_site *site = hashmap_get(relay->sites, slice_from_cstr(key));
	return site ? site : site_new(relay, key, domain, by_rule ? &rule : NULL);
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
		    site->run_scheduled)
			continue;
		list_remove(&site->node);
		hashmap_remove(relay->sites, slice_from_cstr(site->key));
		free(site->addresses);
		free(site->key);
		free(site->domain);
		free(site->user);
		free(site->password);
		free(site);
	}
}

/* ---- start and stop ---- */

static void
queue_changed(void *arg)
{
	relay_load_later(arg);
}

static void
turn_end(void *arg)
{
	struct relay *relay = arg;
	store_reader_end(relay->reader);
}

static void
post(void *loop, void (*fn)(void *), void *arg)
{
	loop_post(loop, fn, arg);
}

static enum status
resolver_make(struct relay *relay, const struct conf *conf)
{
	if (conf->dns.script[0] == '\0')
		return resolver_new(relay->loop,
		    (const char *const *)conf->dns.servers.items, conf->dns.servers.count,
		    conf->dns.timeout_ms, &relay->resolver);
	char *error = NULL;
	enum status status =
	    resolver_new_script(relay->loop, conf->dns.script, &relay->resolver, &error);
	if (status != STATUS_OK)
		LOG_ERROR("server.start", LF_STR("reason", error ? error : "dns.script"));
	free(error);
	return status;
}

void
relay_start(struct service *service, struct loop *main_loop, struct trace *trace)
{
	struct relay *relay = &relay_singleton;
	const struct conf *conf = service_conf(service);
	relay->service = service;
	relay->loop = main_loop;
	relay->trace = trace;
	relay->sites = hashmap_new();
	relay->active = hashmap_new();
	relay->lanes = hashmap_new();
	relay->senders = hashmap_new();
	relay->lines = hashmap_new();
	list_init(&relay->sites_list);
	list_init(&relay->results);
	list_init(&relay->forwards);
	char *error = NULL;
	const char *ca = conf->tls.ca_file[0] ? conf->tls.ca_file : NULL;
	if (tls_context_client(ca, &relay->tls, &error) != STATUS_OK ||
	    resolver_make(relay, conf) != STATUS_OK) {
		LOG_ERROR("server.start",
		    LF_STR("reason", error ? error : "no resolver: nothing is relayed"));
		free(error);
		relay->stopping = true;
		return;
	}
	relay->reader = store_reader_new(service_store(service), post, main_loop);
	loop_hook_add(main_loop, &relay->turn_end, turn_end, relay);
	relay->watch = store_watch_queue(relay->reader, queue_changed, relay);
	relay_load_later(relay);
}

void
relay_stop(void)
{
	struct relay *relay = &relay_singleton;
	/* What is in flight has not been committed: it is tried again after the start. */
	relay->stopping = true;
	relay_load_stop(relay);
}

void
relay_reloaded(void)
{
	struct relay *relay = &relay_singleton;
	if (relay->stopping)
		return;
	/* New limits count at once; what a site knows of its hosts is asked again. */
	LIST_EACH(&relay->sites_list, node)
	{
		struct relay_site *site = LIST_ENTRY(node, struct relay_site, node);
		site->known_until_s = 0;
	}
	relay_load_later(relay);
}
