/*
 * The relay's start and stop, and the life of a job.  See relay_int.h for the whole.
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
	relay_rates_release(job);
	if (job->body.map || job->body.pin)
		body_handle_close(&job->body);
	for (size_t i = 0; i < job->count; i++)
		relay_recipient_fini(&job->recipients[i]);
	free(job->recipients);
	free(job->envid);
	free(job->hold);
	free(job->unsubscribe);
	free(job->sender);
	free(job->forwarder);
	free(job->mail_from);
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
	bool delivered = false;
	for (size_t i = 0; i < job->count; i++)
		delivered |= job->recipients[i].outcome == QUEUE_DELIVERED;
	if (job->site && delivered)
		relay_site_went_well(job->site);
	job_free(job);
}

struct still_waiting {
	struct relay *relay;
	struct relay_job *job;
	const struct queue_message *message;
	size_t kept;
};

/* Moves the job's recipients that are still waiting to the front. */
static bool
still_waiting(const struct queue_recipient *recipient, void *arg)
{
	struct still_waiting *w = arg;
	if (recipient->state != QUEUE_WAITING ||
	    relay_is_paused(
		w->relay, w->message, w->job->site ? recipient->address : SLICE("")))
		return true;
	for (size_t i = w->kept; i < w->job->count; i++) {
		struct relay_recipient *r = &w->job->recipients[i];
		if (r->number != recipient->number)
			continue;
		/* Redirected meanwhile: it is loaded anew. */
		if (!slice_equal(recipient->address, slice_from_cstr(r->address)))
			return true;
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
	struct still_waiting w = {.relay = relay, .job = job, .message = &message};
	enum status status = queue_message_get(relay->reader, id, &message);
	if (status == STATUS_OK)
		status = queue_recipient_each(relay->reader, id, still_waiting, &w);
	if (status == STATUS_OK && w.kept > 0) {
		for (size_t i = w.kept; i < job->count; i++) {
			relay_active_remove(relay, job->id, job->recipients[i].number);
			relay_recipient_fini(&job->recipients[i]);
		}
		job->count = w.kept;
		/* RFC 2852 section 4.1.3. */
		if ((job->flags & QUEUE_MESSAGE_BY_RETURN) &&
		    clock_wall_s() >= job->by_s) {
			relay_job_finish(relay, job, QUEUE_FAILED,
			    "554 5.4.7 the time for delivery that the sender set is "
			    "over");
			return false;
		}
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

char *
relay_copy_text(struct slice s)
{
	return s.ptr ? slice_to_cstr(s) : xstrdup("");
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
	char *error = NULL;
	enum status status =
	    conf->dns.script[0]
		? resolver_new_script(
		      relay->loop, conf->dns.script, &relay->resolver, &error)
		: resolver_new(relay->loop, (const char *const *)conf->dns.servers.items,
		      conf->dns.servers.count, conf->dns.timeout_ms, conf->dns.anchors,
		      &relay->resolver);
	if (status != STATUS_OK)
		LOG_ERROR("server.start",
		    LF_STR("reason",
			error ? error : "dns.servers or dns.anchors cannot be used"));
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
	relay->tenants = hashmap_new();
	relay->lines = hashmap_new();
	relay->turns = hashmap_new();
	relay->remote = hashmap_new();
	relay->paused = hashmap_new();
	relay->buckets = hashmap_new();
	list_init(&relay->sites_list);
	list_init(&relay->starved);
	list_init(&relay->local_waiting);
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
	relay->http = http_pool_new(main_loop);
	relay_rules_load(relay);
	relay->reader = store_reader_new(service_store(service), post, main_loop);
	loop_hook_add(main_loop, &relay->turn_end, turn_end, relay);
	relay_rates_start(relay);
	relay->watch = store_watch_queue(relay->reader, queue_changed, relay);
	relay_report_start(relay);
	relay_tlsrpt_start(relay);
	relay_load_later(relay);
}

void
relay_stop(void)
{
	struct relay *relay = &relay_singleton;
	relay_report_stop();
	relay_tlsrpt_stop();
	/* What is in flight has not been committed: it is tried again after the start. */
	relay->stopping = true;
	relay_rates_stop(relay);
	relay_load_stop(relay);
}

void
relay_reloaded(void)
{
	struct relay *relay = &relay_singleton;
	if (relay->stopping)
		return;
	relay_rules_load(relay);
	/* New limits count at once; what a site knows of its hosts is asked again, and no
	 * connection from before carries further mail. */
	LIST_EACH(&relay->sites_list, node)
	{
		struct relay_site *site = LIST_ENTRY(node, struct relay_site, node);
		site->known_until_s = 0;
		site->epoch++;
	}
	relay_load_later(relay);
}
