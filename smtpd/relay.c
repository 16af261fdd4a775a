/*
 * The relay's scheduler: loads what is due, sorts it into jobs by site, opens connections
 * within the limits, and hands results back.  See relay_int.h for the whole.
 *
 * Woken by: the queue's change hint (new mail, the operator's wish), the timer of the next
 * due recipient, and results.  Runs on the main loop.
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
	RELAY_POLL_MS = 30 * 1000, /* looks into the queue at least so often */
	ACTIVE_KEY_MAX = 48,
	SITE_KEY_MAX = 600,
	LOAD_MAX = 2000, /* recipients loaded in one turn */
	SITES_KEPT = 1000, /* idle sites remembered with their addresses */
	PORT_SMTP = 25,
};

static struct relay relay_singleton;

static void
load_later(struct relay *relay);

/* ---- jobs ---- */

static void
job_free(struct relay_job *job)
{
	if (job->body.map || job->body.pin)
		body_handle_close(&job->body);
	for (size_t i = 0; i < job->count; i++) {
		free(job->recipients[i].address);
		free(job->recipients[i].reply);
	}
	free(job->recipients);
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
	if (relay->load_wanted)
		load_later(relay);
}

struct still_waiting {
	struct relay_job *job;
	size_t kept;
};

/* Moves the job's recipients that are still waiting to the front. */
static bool
still_waiting(const struct queue_recipient *recipient, void *arg)
{
	struct still_waiting *w = arg;
	if (recipient->state != QUEUE_WAITING)
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
	struct still_waiting w = {.job = job};
	enum status status = queue_message_get(relay->reader, id, &message);
	if (status == STATUS_OK)
		status = queue_recipient_each(relay->reader, id, still_waiting, &w);
	if (status == STATUS_OK && w.kept > 0) {
		for (size_t i = w.kept; i < job->count; i++) {
			relay_active_remove(relay, job->id, job->recipients[i].number);
			free(job->recipients[i].address);
			free(job->recipients[i].reply);
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
	/* Deleted or held in the meantime. */
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
	/* A connection for each job up to the limit; those that stand take what is left. */
	size_t wanted = site->pending_count;
	while (wanted > 0 && site->connections < site_limit(site) &&
	       relay->connections < RELAY_CONNECTIONS_MAX) {
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
	struct list *node = list_pop(&site->pending);
	if (!node)
		return NULL;
	site->pending_count--;
	return LIST_ENTRY(node, struct relay_job, node);
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
relay_session_ended(struct relay_site *site)
{
	ENSURE(site->connections > 0 && site->relay->connections > 0);
	site->connections--;
	site->relay->connections--;
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

static char *
copy_text(struct slice s)
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
	site->domain = copy_text(rule ? rule->host : domain);
	site->port = rule ? rule->port : conf->relay.port ? conf->relay.port : PORT_SMTP;
	site->tls = rule ? rule->tls : RELAY_TLS_OPPORTUNISTIC;
	site->implicit_tls = rule && rule->implicit_tls;
	site->user = copy_text(rule ? rule->user : SLICE_NULL);
	site->password = copy_text(rule ? rule->password : SLICE_NULL);
	site->connections_max = conf->relay.connections;
	list_init(&site->pending);
	list_append(&relay->sites_list, &site->node);
	hashmap_put(relay->sites, slice_from_cstr(key), site);
	return site;
}

/* Routing is decided here, at every attempt, so queued mail follows changed rules.  The
 * key holds everything that a rule says: a changed rule is another site. */
static struct relay_site *
site_of(struct relay *relay, struct slice sender, struct slice domain)
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
static void
sites_prune(struct relay *relay)
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

/* ---- loading ---- */

struct load {
	struct relay *relay;
	size_t loaded;
	bool full;
	struct relay_job *job; /* the last one made: the next recipient often joins it */
	struct list local;     /* jobs for accounts here */
};

static struct relay_job *
job_new(const struct queue_message *message, struct relay_site *site)
{
	struct relay_job *job = xcalloc(1, sizeof(*job));
	list_init(&job->node);
	job->site = site;
	memcpy(job->id, message->id, sizeof(job->id));
	job->sender = copy_text(message->sender);
	job->flags = message->flags;
	job->size = message->size;
	job->created_s = message->created_s;
	job->expires_s = message->expires_s;
	job->authenticated = !slice_is_empty(message->login);
	return job;
}

static void
job_add_recipient(struct relay_job *job, const struct queue_recipient *recipient)
{
	job->recipients = xrealloc(
	    job->recipients, (job->count + 1) * sizeof(*job->recipients));
	job->recipients[job->count++] = (struct relay_recipient){
	    .number = recipient->number,
	    .attempts = recipient->attempts,
	    .address = copy_text(recipient->address),
	};
}

static bool
load_one(const struct queue_recipient *recipient, void *arg)
{
	struct load *load = arg;
	struct relay *relay = load->relay;
	if (hashmap_count(relay->active) >= RELAY_ACTIVE_MAX || load->loaded == LOAD_MAX) {
		load->full = true;
		return false;
	}
	char key[ACTIVE_KEY_MAX];
	snprintf(key, sizeof(key), "%s %u", recipient->id, recipient->number);
	if (hashmap_get(relay->active, slice_from_cstr(key)))
		return true;
	struct queue_message message;
	if (queue_message_get(relay->reader, slice_from_cstr(recipient->id), &message) !=
	    STATUS_OK)
		return true;
	size_t at = slice_rindex(recipient->address, '@');
	struct slice domain = at == SIZE_MAX ? SLICE_NULL
	                                     : slice_from(recipient->address, at + 1);
	struct directory_domain found;
	bool local = at == SIZE_MAX ||
	    directory_domain_find(relay->reader, domain, &found) == STATUS_OK;
	struct relay_site *site = local ? NULL : site_of(relay, message.sender, domain);
	struct relay_job *job = load->job;
	if (!job || strcmp(job->id, recipient->id) != 0 || job->site != site ||
	    job->count == RELAY_JOB_RECIPIENTS_MAX) {
		job = job_new(&message, site);
		load->job = job;
		if (local) {
			list_append(&load->local, &job->node);
		} else {
			list_append(&site->pending, &job->node);
			site->pending_count++;
			relay_site_run(site);
		}
	}
	job_add_recipient(job, recipient);
	hashmap_put(relay->active, slice_from_cstr(key), job);
	load->loaded++;
	return true;
}

static void
timer_fired(void *arg)
{
	load_later(arg);
}

static void
load_now(void *arg)
{
	struct relay *relay = arg;
	relay->load_scheduled = false;
	relay->load_wanted = false;
	if (relay->stopping)
		return;
	sites_prune(relay);
	struct load load = {.relay = relay};
	list_init(&load.local);
	int64_t next_due_s = 0;
	int64_t now = clock_wall_s();
	enum status status =
	    queue_due_each(relay->reader, now, load_one, &load, &next_due_s);
	if (status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "queue due"),
		    LF_STR("status", status_text(status)));
	struct list *node;
	while ((node = list_pop(&load.local))) {
		struct relay_job *job = LIST_ENTRY(node, struct relay_job, node);
		if (relay_job_open(relay, job))
			relay_local_deliver(relay, job);
	}
	if (load.full) {
		/* Loaded to the brim: more when half of it is done. */
		relay->load_wanted = true;
		if (hashmap_count(relay->active) < RELAY_ACTIVE_LOW)
			load_later(relay);
	}
	uint64_t wait_ms = RELAY_POLL_MS;
	if (next_due_s > now && (uint64_t)(next_due_s - now) * 1000 < wait_ms)
		wait_ms = (uint64_t)(next_due_s - now) * 1000;
	loop_timer_start(relay->loop, &relay->timer, wait_ms, timer_fired, relay);
}

static void
load_posted(void *arg)
{
	load_now(arg);
}

/* In a turn of its own: many hints and results make one load. */
static void
load_later(struct relay *relay)
{
	if (relay->load_scheduled || relay->stopping)
		return;
	if (relay->load_wanted && hashmap_count(relay->active) >= RELAY_ACTIVE_LOW)
		return;
	relay->load_scheduled = true;
	loop_post(relay->loop, load_posted, relay);
}

static void
queue_changed(void *arg)
{
	load_later(arg);
}

/* ---- start and stop ---- */

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
	enum status status = resolver_new_script(
	    relay->loop, conf->dns.script, &relay->resolver, &error);
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
	load_later(relay);
}

void
relay_stop(void)
{
	struct relay *relay = &relay_singleton;
	/* What is in flight has not been committed: it is tried again after the start. */
	relay->stopping = true;
	loop_timer_stop(&relay->timer);
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
	load_later(relay);
}
