/*
 * The relay's loader: takes what is due from the queue into memory, as jobs by site.
 *
 * A pass walks the due index from its start to now, LOAD_SCAN_MAX entries a turn, and
 * loads what is not active yet and within its sender's share (relay_fair_may_load).  What
 * is over it is left where it is, at the cost of one key read, and found by a later pass:
 * so the oldest do not keep the others out, and memory does not grow with the queue.  A
 * new pass begins when the queue has changed or room has come, and waits for twice the
 * time that the last one took: a backlog costs at most a third of the loop.
 *
 * Woken by the queue's change hint (new mail, the operator's wish), the timer of the next
 * due recipient, and results.  Runs on the main loop.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "service/smtp_recipient.h"
#include "smtpd/relay_int.h"

enum {
	RELAY_POLL_MS = 30 * 1000, /* looks into the queue at least so often */
	ACTIVE_KEY_MAX = 48,
	MAIL_FROM_MAX = 1024,  /* bytes */
	LOAD_MAX = 1000,       /* recipients loaded in one turn */
	LOAD_SCAN_MAX = 10000, /* entries looked at in one turn */
	EXPIRE_MS = 1000,      /* looks for what has expired at most so often */
	EXPIRE_PARTS = 20,     /* … and not sooner than in so many times a pass */
	LOAD_PAUSE_PARTS = 2,  /* between passes, in times the last one's length */
};

struct load {
	struct relay *relay;
	size_t scanned, loaded;
	bool full;
	struct queue_message message; /* the last one, with the slices of this turn */
	struct tenant tenant;         /* its tenant; the name is null when it has none */
	struct relay_job *job; /* the last one made: the next recipient often joins it */
	struct list local;     /* jobs for accounts here */
};

static void load_posted(void *arg);

static struct slice
key_slice_of(const void *key, size_t size)
{
	return slice_make(key, size);
}

/* ---- jobs ---- */

/* Our domain that forwards the recipient's mail to elsewhere: it was sent to an address
 * of ours and goes to another.  Empty: nobody does. */
static struct slice
forwarder_of(struct relay *relay, const struct queue_recipient *recipient)
{
	struct directory_domain found;
	size_t at = slice_rindex(recipient->original, '@');
	if (at == SIZE_MAX || slice_equal_nocase(recipient->original, recipient->address))
		return SLICE("");
	struct slice domain = slice_from(recipient->original, at + 1);
	return directory_domain_find(relay->reader, domain, &found) == STATUS_OK
	           ? domain
	           : SLICE("");
}

static char *
mail_from_make(struct relay *relay, const struct queue_message *message,
    const struct queue_recipient *recipient, struct slice forwarder)
{
	struct slice sender = message->sender;
	struct buf text AUTO_BUF;
	buf_init(&text, MAIL_FROM_MAX);
	if (relay_copy_sender(relay, message, recipient->address, &text))
		return relay_copy_text(buf_slice(&text));
	if (forwarder.len > 0 && service_conf(relay->service)->smtp.srs &&
	    smtp_recipient_rewrite_sender(relay->reader, sender, forwarder, &text))
		return relay_copy_text(buf_slice(&text));
	return relay_copy_text(sender);
}

/* `first` is its first recipient. */
static struct relay_job *
job_new(struct relay *relay, const struct queue_message *message,
    const struct queue_recipient *first, struct relay_site *site,
    struct relay_sender *sender, struct slice forwarder)
{
	struct relay_job *job = xcalloc(1, sizeof(*job));
	list_init(&job->node);
	job->site = site;
	job->sender_share = sender;
	memcpy(job->id, message->id, sizeof(job->id));
	job->sender = relay_copy_text(message->sender);
	job->forwarder = relay_copy_text(forwarder);
	job->mail_from = mail_from_make(relay, message, first, forwarder);
	job->flags = message->flags;
	job->size = message->size;
	job->created_s = message->created_s;
	job->expires_s = message->expires_s;
	job->authenticated = !slice_is_empty(message->login);
	job->envid = relay_copy_text(message->envid);
	job->by_s = message->by_s;
	job->priority = message->priority;
	job->hold = relay_copy_text(message->hold);
	job->unsubscribe = relay_copy_text(message->unsubscribe);
	return job;
}

static void
job_add_recipient(struct relay_job *job, const struct queue_recipient *recipient)
{
	job->recipients =
	    xrealloc(job->recipients, (job->count + 1) * sizeof(*job->recipients));
	job->recipients[job->count++] = (struct relay_recipient){
	    .number = recipient->number,
	    .attempts = recipient->attempts,
	    .address = relay_copy_text(recipient->address),
	    .notify = recipient->notify,
	    .orcpt = relay_copy_text(recipient->orcpt),
	};
}

/* The job that is being filled goes to its site. */
static void
job_handed(struct load *load)
{
	struct relay_job *job = load->job;
	load->job = NULL;
	if (!job)
		return;
	if (job->site)
		relay_site_add_job(job->site, job);
	else
		list_append(&load->local, &job->node);
}

static void
active_add(struct relay *relay, const char *key, struct relay_lane *lane)
{
	hashmap_put(relay->active, slice_from_cstr(key), lane);
	relay_lane_count(relay, lane, 1);
}

/* A job for one recipient that is settled without an attempt. */
static struct relay_job *
recipient_alone(struct load *load, const struct queue_due *due, const char *key,
    const struct queue_recipient *recipient)
{
	struct relay_lane *lane = relay_lane_make(load->relay, due);
	struct relay_job *job = job_new(
	    load->relay, &load->message, recipient, NULL, lane->sender, SLICE(""));
	job_add_recipient(job, recipient);
	active_add(load->relay, key, lane);
	return job;
}

/* It is on the suppression list: settled without an attempt. */
static void
recipient_suppress(struct load *load, const struct queue_due *due, const char *key,
    const struct queue_recipient *recipient, const char *reply)
{
	struct relay *relay = load->relay;
	bool drop = strcmp(service_conf(relay->service)->relay.suppressed, "drop") == 0;
	struct relay_job *job = recipient_alone(load, due, key, recipient);
	TRACE(relay->trace, "relay.suppressed", LF_STR("mid", job->id),
	    LF_STR("from", job->sender), LF_STR("to", job->recipients[0].address),
	    LF_STR("action", drop ? "dropped" : "refused"));
	/* Nobody is told that it went out. */
	if (drop)
		job->recipients[0].notify = QUEUE_NOTIFY_NEVER;
	relay_job_finish(relay, job, drop ? QUEUE_DELIVERED : QUEUE_FAILED,
	    drop ? "250 2.0.0 dropped: the address is on the suppression list" : reply);
}

/* Its tenant's settings; it may be gone, and its mail goes on without them. */
static void
tenant_read(struct load *load)
{
	struct slice name = load->message.tenant;
	load->tenant = (struct tenant){0};
	if (name.len == 0)
		return;
	enum status status = tenant_get(load->relay->reader, name, &load->tenant);
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		LOG_ERROR("store.error", LF_STR("op", "tenant"),
		    LF_STR("status", status_text(status)));
}

static bool
message_read(struct load *load, const char *id)
{
	if (strcmp(load->message.id, id) == 0)
		return true;
	if (queue_message_get(load->relay->reader, slice_from_cstr(id), &load->message) ==
	    STATUS_OK) {
		tenant_read(load);
		return true;
	}
	load->message.id[0] = '\0';
	return false;
}

/* What is not tried now (its site is paused, a rate is used up) has its end all the same.
 */
static void
recipient_expire(struct load *load, const struct queue_due *due, const char *key)
{
	struct relay *relay = load->relay;
	struct queue_recipient recipient;
	if (!relay->load.expiring || !message_read(load, due->id) ||
	    clock_wall_s() < load->message.expires_s ||
	    hashmap_get(relay->active, slice_from_cstr(key)) ||
	    queue_recipient_get(relay->reader, slice_from_cstr(due->id), due->number,
		&recipient) != STATUS_OK)
		return;
	struct relay_job *job = recipient_alone(load, due, key, &recipient);
	relay_job_finish(relay, job, QUEUE_FAILED,
	    "554 5.4.7 its time was over while mail from or to there had to wait");
	load->loaded++;
}

/* Do the rates of who sends let one more through? */
static bool
sender_is_near(struct relay *relay, const struct queue_due *due)
{
	return relay_rate_is_near(relay, RELAY_RATE_SENDER, due->sender) &&
	       (due->tenant == 0 ||
		   relay_rate_is_near(relay, RELAY_RATE_TENANT, due->tenant));
}

/* False when the recipient cannot be read or has to wait: it stays where it is. */
static bool
recipient_load(struct load *load, const struct queue_due *due, const char *key)
{
	struct relay *relay = load->relay;
	struct queue_recipient recipient;
	struct relay_bucket *buckets[RELAY_RATE_OF_MESSAGE] = {0};
	struct slice id = slice_from_cstr(due->id);
	if (!message_read(load, due->id) ||
	    queue_recipient_get(relay->reader, id, due->number, &recipient) != STATUS_OK)
		return false;
	size_t at = slice_rindex(recipient.address, '@');
	struct slice domain =
	    at == SIZE_MAX ? SLICE_NULL : slice_from(recipient.address, at + 1);
	struct directory_domain found;
	bool local = at == SIZE_MAX ||
	             directory_domain_find(relay->reader, domain, &found) == STATUS_OK;
	bool single = relay_copy_is_single(&load->message);
	bool joins = !single && load->job && strcmp(load->job->id, due->id) == 0;
	if (!local)
		hashmap_put(
		    relay->remote, key_slice_of(&due->site, sizeof(due->site)), relay);
	if (relay_is_paused(
		relay, &load->message, local ? SLICE("") : recipient.address) ||
	    (!local && !joins && !sender_is_near(relay, due))) {
		recipient_expire(load, due, key);
		return false;
	}
	char reply[200];
	if ((!local || load->message.unsubscribe.len > 0) &&
	    relay_is_suppressed(relay, recipient.address, load->message.sender, reply)) {
		recipient_suppress(load, due, key, &recipient, reply);
		return true;
	}
	struct relay_site *site =
	    local ? NULL
		  : relay_site_of(relay, &load->message,
			load->tenant.name.ptr ? &load->tenant : NULL, domain);
	struct relay_job *job = load->job;
	struct slice forwarder = local ? SLICE("") : forwarder_of(relay, &recipient);
	if (!local)
		relay_rates_of(relay, &load->message, domain, buckets);
	if (!job || single || strcmp(job->id, due->id) != 0 || job->site != site ||
	    memcmp(job->buckets, buckets, sizeof(buckets)) != 0 ||
	    !slice_equal_nocase(forwarder, slice_from_cstr(job->forwarder)) ||
	    job->count == RELAY_JOB_RECIPIENTS_MAX) {
		/* One message more. */
		if (!relay_rates_have_room(buckets)) {
			recipient_expire(load, due, key);
			return false;
		}
		job_handed(load);
		job = load->job = job_new(relay, &load->message, &recipient, site,
		    relay_lane_make(relay, due)->sender, forwarder);
		relay_rates_reserve(job, buckets);
	}
	struct relay_lane *lane = relay_lane_make(relay, due);
	job_add_recipient(job, &recipient);
	active_add(relay, key, lane);
	return true;
}

static bool
load_one(const struct queue_due *due, void *arg)
{
	struct load *load = arg;
	struct relay *relay = load->relay;
	if (load->scanned == LOAD_SCAN_MAX || load->loaded == LOAD_MAX) {
		load->full = true;
		return false;
	}
	load->scanned++;
	relay->load.at = *due;
	char key[ACTIVE_KEY_MAX];
	snprintf(key, sizeof(key), "%s %u", due->id, due->number);
	bool joins = load->job && strcmp(load->job->id, due->id) == 0;
	struct slice site = key_slice_of(&due->site, sizeof(due->site));
	/* Mail for accounts here is not held up by its sender's rates. */
	if (relay_due_is_paused(relay, due) ||
	    (!joins && !relay_rate_is_near(relay, RELAY_RATE_SITE, due->site)) ||
	    (!joins && hashmap_get(relay->remote, site) && !sender_is_near(relay, due))) {
		recipient_expire(load, due, key);
		return true;
	}
	if (!relay_share_has_room(relay, due)) {
		/* Perhaps it is active itself; a pass too many does no harm. */
		relay->load.left = true;
		return true;
	}
	if (!hashmap_get(relay->active, slice_from_cstr(key)))
		load->loaded += recipient_load(load, due, key);
	return true;
}

static void
local_run(struct load *load)
{
	struct list *node;
	while ((node = list_pop(&load->local))) {
		struct relay_job *job = LIST_ENTRY(node, struct relay_job, node);
		relay_local_deliver(load->relay, job);
	}
}

/* ---- passes ---- */

static bool
remote_forget(struct slice key, void *value, void *arg)
{
	(void)key, (void)value, (void)arg;
	return false;
}

/* What has to wait is looked at for its end in some of the passes only: they read the
 * messages too. */
static void
expiring_decide(struct relay *relay)
{
	uint64_t took_ms = relay->load.ended_ms - relay->load.began_ms;
	uint64_t now_ms = clock_mono_ms();
	relay->load.expiring =
	    now_ms >= relay->load.expired_ms + EXPIRE_MS + EXPIRE_PARTS * took_ms;
	if (relay->load.expiring)
		relay->load.expired_ms = now_ms;
}

static void
timer_fired(void *arg)
{
	relay_load_later(arg);
}

static void
pass_end(struct relay *relay, int64_t now, int64_t next_due_s)
{
	relay->load.open = false;
	relay->load.ended_ms = clock_mono_ms();
	uint64_t wait_ms = RELAY_POLL_MS;
	if (next_due_s > now && (uint64_t)(next_due_s - now) * 1000 < wait_ms)
		wait_ms = (uint64_t)(next_due_s - now) * 1000;
	loop_timer_start(relay->loop, &relay->timer, wait_ms, timer_fired, relay);
	if (relay->load.again)
		relay_load_later(relay);
}

static void
load_posted(void *arg)
{
	struct relay *relay = arg;
	relay->load.scheduled = false;
	if (relay->stopping)
		return;
	bool begins = !relay->load.open;
	if (begins) {
		relay_sites_prune(relay);
		relay_pauses_read(relay);
		hashmap_each(relay->remote, remote_forget, NULL);
		relay_rates_read(relay);
		expiring_decide(relay);
		relay_sites_wake(relay);
		relay->load.open = true;
		relay->load.again = false;
		relay->load.left = false;
		relay->load.began_ms = clock_mono_ms();
	}
	struct load load = {.relay = relay};
	struct queue_due after = relay->load.at;
	list_init(&load.local);
	int64_t next_due_s = 0;
	int64_t now = clock_wall_s();
	enum status status = queue_due_each(
	    relay->reader, begins ? NULL : &after, now, load_one, &load, &next_due_s);
	job_handed(&load);
	if (status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "queue due"),
		    LF_STR("status", status_text(status)));
	local_run(&load);
	if (load.full && status == STATUS_OK) {
		relay->load.scheduled = true;
		loop_post(relay->loop, load_posted, relay);
		return;
	}
	pass_end(relay, now, next_due_s);
}

void
relay_load_later(struct relay *relay)
{
	if (relay->stopping)
		return;
	if (relay->load.open) {
		relay->load.again = true;
		return;
	}
	if (relay->load.scheduled)
		return;
	uint64_t took_ms = relay->load.ended_ms - relay->load.began_ms;
	uint64_t next_ms = relay->load.ended_ms + LOAD_PAUSE_PARTS * took_ms;
	uint64_t now_ms = clock_mono_ms();
	relay->load.scheduled = true;
	if (now_ms >= next_ms)
		loop_post(relay->loop, load_posted, relay);
	else
		loop_timer_start(
		    relay->loop, &relay->timer, next_ms - now_ms, load_posted, relay);
}

void
relay_load_room(struct relay *relay)
{
	if (relay->load.left)
		relay_load_later(relay);
}

void
relay_load_stop(struct relay *relay)
{
	loop_timer_stop(&relay->timer);
}
