/*
 * Results of attempts go back into the queue in batches: one commit takes what has
 * gathered while the one before was under way, together with the reports that the results
 * cause, so that a recipient never leaves without its sender being told, and never is
 * told twice.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/stats.h"
#include "smtpd/relay_bounce.h"
#include "smtpd/relay_int.h"

enum {
	RESULT_ARENA_MAX = 16 * 1024 * 1024, /* bytes of one commit's outputs */
	/* bytes of the addresses of DIRECTORY_TARGETS_MAX forwards */
	FORWARD_ARENA_MAX = 4 * 1024 * 1024,
	RESULT_RETRY_MS = 1000,      /* after a commit that failed */
	REPORT_RETRY_S = 300,        /* a report that could not be written */
	REPORT_RECIPIENTS_MAX = 100, /* told in one report */
	ACTIVE_KEY_MAX = 48,
};

struct relay_result {
	struct list node;
	struct queue_result result;
	char *sender;
	char *address;
	char *reply;
	uint32_t flags;
	uint8_t notify;
	char *orcpt;
	char *envid;
	char *remote; /* the host that gave the reply, or "" */
	enum relay_success success;
	bool told_always;
	bool authenticated;
	int64_t created_s, expires_s;
	int64_t by_s;
	int8_t priority;
	char *hold;
};

struct relay_forward {
	struct list node;
	struct arena *arena; /* of the slices */
	struct queue_new_message message;
};

/* One commit. */
struct relay_batch {
	struct queue_result_op op;
	struct relay *relay;
	struct arena *arena;
	struct list results, forwards;
	struct queue_new_message *reports;
	size_t report_count;
};

static void commit_later(struct relay *relay);

static void
active_key(const char *id, uint32_t number, char out[ACTIVE_KEY_MAX])
{
	snprintf(out, ACTIVE_KEY_MAX, "%s %u", id, number);
}

void
relay_active_remove(struct relay *relay, const char *id, uint32_t number)
{
	char key[ACTIVE_KEY_MAX];
	active_key(id, number, key);
	struct relay_lane *lane = hashmap_remove(relay->active, slice_from_cstr(key));
	if (lane)
		relay_lane_count(relay, lane, -1);
}

static void
result_free(struct relay_result *r)
{
	free(r->sender);
	free(r->address);
	free(r->envid);
	free(r->hold);
	free(r->orcpt);
	free(r->remote);
	free(r->reply);
	free(r);
}

static void
forward_free(struct relay_forward *f)
{
	body_draft_unref(&f->message.draft);
	arena_free(&f->arena);
	free(f);
}

static const char *
event_of(enum queue_outcome outcome)
{
	static const char *const events[] = {"relay.done", "relay.fail", "relay.defer"};
	return events[outcome];
}

/* Expired: what is deferred once more has failed. */
static void
result_schedule(
    struct relay *relay, struct relay_result *r, const struct relay_recipient *recipient)
{
	const struct conf *conf = service_conf(relay->service);
	if (r->result.outcome != QUEUE_DEFERRED)
		return;
	int64_t now = clock_wall_s();
	if (now >= r->expires_s) {
		r->result.outcome = QUEUE_FAILED;
		return;
	}
	r->result.due_s = recipient->due_s;
	if (recipient->due_s == 0)
		r->result.due_s = now + relay_retry_delay_s(conf->relay.retry_s,
					    conf->relay.retry_count,
					    recipient->attempts + 1, random_u64());
	/* One last attempt at the end of its life, and one when BY's moment is there. */
	if (r->result.due_s > r->expires_s)
		r->result.due_s = r->expires_s;
	if (now < r->by_s && r->result.due_s > r->by_s)
		r->result.due_s = r->by_s;
}

void
relay_results_add(struct relay *relay, const struct relay_job *job,
    const struct relay_recipient *recipient)
{
	struct relay_result *r = xcalloc(1, sizeof(*r));
	memcpy(r->result.id, job->id, sizeof(r->result.id));
	r->result.number = recipient->number;
	r->result.outcome = recipient->outcome;
	r->sender = xstrdup(job->sender);
	r->address = xstrdup(recipient->address);
	r->reply = xstrdup(recipient->reply);
	r->result.reply = slice_from_cstr(r->reply);
	r->flags = job->flags;
	r->notify = recipient->notify;
	r->orcpt = xstrdup(recipient->orcpt);
	r->envid = xstrdup(job->envid);
	/* "host[address]" */
	struct slice via = slice_from_cstr(job->via);
	r->remote = slice_to_cstr(recipient->remote ? slice_split(&via, '[') : SLICE(""));
	r->success = recipient->success;
	r->told_always = recipient->told_always;
	r->by_s = job->by_s;
	r->priority = job->priority;
	r->hold = xstrdup(job->hold);
	r->authenticated = job->authenticated;
	r->created_s = job->created_s;
	r->expires_s = job->expires_s;
	result_schedule(relay, r, recipient);
	list_append(&relay->results, &r->node);
	relay->result_count++;
	static const char *const counters[] = {
	    "relay_delivered_total", "relay_failed_total", "relay_deferred_total"};
	stats_add(stats_get(counters[r->result.outcome]), 1);
	TRACE(relay->trace, event_of(r->result.outcome), LF_STR("mid", job->id),
	    LF_STR("from", job->sender), LF_STR("to", r->address),
	    LF_STR("host", job->via), LF_U64("try", recipient->attempts + 1),
	    LF_STR("reply", r->reply), LF_U64("next", (uint64_t)r->result.due_s));
	commit_later(relay);
}

void
relay_results_forward(struct relay *relay, const struct relay_job *job,
    struct body_draft *draft, const struct queue_new_recipient *to, size_t count)
{
	struct relay_forward *f = xcalloc(1, sizeof(*f));
	f->arena = arena_new(FORWARD_ARENA_MAX);
	struct queue_new_recipient *copies =
	    ARENA_ARRAY(f->arena, struct queue_new_recipient, count);
	ENSURE(copies);
	for (size_t i = 0; i < count; i++) {
		copies[i].address = arena_copy(f->arena, to[i].address);
		copies[i].original = arena_copy(f->arena, to[i].original);
		copies[i].notify = to[i].notify;
		copies[i].orcpt = arena_copy(f->arena, to[i].orcpt);
		ENSURE(copies[i].address.ptr && copies[i].original.ptr &&
		       copies[i].orcpt.ptr);
	}
	f->message = (struct queue_new_message){
	    .sender = arena_copy(f->arena, slice_from_cstr(job->sender)),
	    .envid = arena_copy(f->arena, slice_from_cstr(job->envid)),
	    .flags = job->flags,
	    .by_s = job->by_s,
	    .priority = job->priority,
	    .draft = body_draft_ref(draft),
	    .recipients = copies,
	    .recipient_count = count,
	};
	list_append(&relay->forwards, &f->node);
	commit_later(relay);
}

/* ---- reports ---- */

static struct queue_new_message *
message_add(struct relay_batch *batch)
{
	struct queue_new_message *m = &batch->reports[batch->report_count++];
	*m = (struct queue_new_message){0};
	id_make_ordered(m->id);
	m->created_s = m->due_s = clock_wall_s();
	m->expires_s =
	    m->created_s + (int64_t)service_conf(batch->relay->service)->relay.lifetime_s;
	return m;
}

/* The report's text as a draft; null when it could not be written. */
static struct body_draft *
report_draft(
    struct relay *relay, const struct bounce *bounce, struct bounce_needs *out_needs)
{
	struct buf text AUTO_BUF;
	struct buf end AUTO_BUF;
	buf_init(&text, BOUNCE_TEXT_MAX);
	buf_init(&end, BOUNCE_TEXT_MAX);
	struct slice original = bounce_write(bounce, &text, out_needs);
	bounce_write_end(bounce, &end);
	struct body_draft *draft = body_draft_new(store_reader_store(relay->reader),
	    (uint64_t)BOUNCE_TEXT_MAX + BOUNCE_FULL_MAX);
	if (!buf_ok(&text) || !buf_ok(&end) ||
	    body_draft_append(draft, buf_slice(&text)) != STATUS_OK ||
	    body_draft_append(draft, original) != STATUS_OK ||
	    body_draft_append(draft, buf_slice(&end)) != STATUS_OK ||
	    body_draft_seal(draft) != STATUS_OK)
		body_draft_unref(&draft);
	return draft;
}

/* One report of some results of one message; false when it could not be written. */
static bool
report_add(struct relay_batch *batch, const struct relay_result *first,
    const struct bounce_recipient *recipients, size_t count)
{
	static const char *const reasons[] = {
	    [BOUNCE_FAILED] = "failed",
	    [BOUNCE_DELAYED] = "delayed",
	    [BOUNCE_DELIVERED] = "delivered",
	    [BOUNCE_RELAYED] = "relayed",
	    [BOUNCE_EXPANDED] = "expanded",
	};
	struct relay *relay = batch->relay;
	struct queue_message original;
	struct body_handle body = {0};
	struct slice id = slice_from_cstr(first->result.id);
	if (queue_message_get(relay->reader, id, &original) == STATUS_OK &&
	    queue_body_open(relay->reader, &original, &body) != STATUS_OK)
		body = (struct body_handle){0};
	struct slice bytes = body.map ? body_handle_bytes(&body) : SLICE_NULL;
	struct queue_new_message *m = message_add(batch);
	struct bounce bounce = {
	    .hostname = service_conf(relay->service)->hostname,
	    .report_id = m->id,
	    .message_id = first->result.id,
	    .sender = slice_from_cstr(first->sender),
	    .envid = slice_from_cstr(first->envid),
	    .now_s = m->created_s,
	    .arrived_s = first->created_s,
	    .expires_s = first->expires_s,
	    .by_s = first->by_s,
	    .hold = slice_from_cstr(first->hold),
	    .utf8 = first->flags & QUEUE_MESSAGE_UTF8,
	    .has_8bit = first->flags & QUEUE_MESSAGE_8BIT,
	    .full = (first->flags & QUEUE_MESSAGE_RET_FULL) &&
	            !(first->flags & (QUEUE_MESSAGE_BINARY | QUEUE_MESSAGE_REQUIRETLS)),
	    .recipients = recipients,
	    .count = count,
	    .original = slice_from(bytes, relay_body_head(bytes)),
	};
	struct bounce_needs needs;
	m->draft = report_draft(relay, &bounce, &needs);
	if (body.map)
		body_handle_close(&body);
	if (!m->draft) {
		batch->report_count--;
		return false;
	}
	m->priority = first->priority;
	/* Its metadata is protected like the message (RFC 8689 section 5). */
	m->flags = QUEUE_MESSAGE_BOUNCE | (first->flags & QUEUE_MESSAGE_REQUIRETLS);
	m->flags |= needs.utf8 ? (uint32_t)QUEUE_MESSAGE_UTF8 : 0;
	m->flags |= needs.has_8bit ? (uint32_t)QUEUE_MESSAGE_8BIT : 0;
	/* RFC 3461 section 6.1: none about this one. */
	struct queue_new_recipient *to =
	    ARENA_NEW(batch->arena, struct queue_new_recipient);
	to->address = to->original =
	    arena_copy(batch->arena, slice_from_cstr(first->sender));
	m->recipients = to;
	m->recipient_count = 1;
	TRACE(relay->trace, "bounce.made", LF_STR("mid", m->id),
	    LF_STR("parent", first->result.id), LF_STR("to", first->sender),
	    LF_STR("reason", reasons[recipients[0].action]));
	return true;
}

/* BY's moment has passed, and it goes on (RFC 2852 section 4.1.3). */
static bool
is_late(const struct relay_result *r)
{
	return r->by_s && !(r->flags & QUEUE_MESSAGE_BY_RETURN) &&
	       clock_wall_s() >= r->by_s;
}

/* When it could go for the first time (RFC 4865). */
static int64_t
released_s(const struct conf *conf, const struct relay_result *r)
{
	int64_t released = r->expires_s - (int64_t)conf->relay.lifetime_s;
	return r->hold[0] && released > r->created_s ? released : r->created_s;
}

static uint8_t
told_bits(const struct relay_result *r)
{
	if (r->result.outcome != QUEUE_DEFERRED)
		return 0;
	return is_late(r) ? QUEUE_NOTIFY_WARNED | QUEUE_NOTIFY_LATE : QUEUE_NOTIFY_WARNED;
}

/* Whether the sender is to be told of it, and what (RFC 3461 section 5.2). */
static bool
result_wants_report(const struct relay_batch *batch, const struct relay_result *r,
    enum bounce_action *out)
{
	static const enum bounce_action successes[] = {
	    [RELAY_SUCCESS_DELIVERED] = BOUNCE_DELIVERED,
	    [RELAY_SUCCESS_RELAYED] = BOUNCE_RELAYED,
	    [RELAY_SUCCESS_EXPANDED] = BOUNCE_EXPANDED,
	};
	const struct conf *conf = service_conf(batch->relay->service);
	unsigned asked = r->notify & QUEUE_NOTIFY_ASKED;
	/* Never a report about a report, never to the null sender (RFC 5321 section 6.1).
	 */
	if (r->sender[0] == '\0' || (r->flags & QUEUE_MESSAGE_BOUNCE))
		return false;
	switch (r->result.outcome) {
	case QUEUE_FAILED:
		*out = BOUNCE_FAILED;
		return !asked || (asked & QUEUE_NOTIFY_FAILURE);
	case QUEUE_DELIVERED:
		if (r->told_always && !(asked & QUEUE_NOTIFY_NEVER)) {
			*out = BOUNCE_RELAYED;
			return true;
		}
		if (!(asked & QUEUE_NOTIFY_SUCCESS) || r->success == RELAY_SUCCESS_PASSED)
			return false;
		*out = successes[r->success];
		return true;
	case QUEUE_DEFERRED:
		*out = BOUNCE_DELAYED;
		if (is_late(r))
			return !(r->notify & QUEUE_NOTIFY_LATE) &&
			       (!asked || (asked & QUEUE_NOTIFY_DELAY));
		/* Who did not ask and does not log in here is not bothered. */
		return (asked ? (asked & QUEUE_NOTIFY_DELAY) != 0 : r->authenticated) &&
		       !(r->notify & QUEUE_NOTIFY_WARNED) &&
		       conf->relay.warn_after_s > 0 &&
		       clock_wall_s() - released_s(conf, r) >=
		           (int64_t)conf->relay.warn_after_s;
	}
	return false;
}

/* The results of one report: those from `first` on that stand side by side, of the same
 * message and outcome, REPORT_RECIPIENTS_MAX at most (then the next report goes on).
 * *out_end is the node behind them. */
static size_t
report_gather(struct relay_batch *batch, struct list *first,
    struct bounce_recipient recipients[REPORT_RECIPIENTS_MAX], struct list **out_end)
{
	const struct relay_result *r = LIST_ENTRY(first, struct relay_result, node);
	struct list *at = first;
	size_t count = 0;
	while (at != &batch->results && count < REPORT_RECIPIENTS_MAX) {
		struct relay_result *same = LIST_ENTRY(at, struct relay_result, node);
		enum bounce_action action;
		if (strcmp(same->result.id, r->result.id) != 0 ||
		    same->result.outcome != r->result.outcome ||
		    !result_wants_report(batch, same, &action))
			break;
		recipients[count++] = (struct bounce_recipient){
		    .action = action,
		    .address = slice_from_cstr(same->address),
		    .reply = slice_from_cstr(same->reply),
		    .orcpt = slice_from_cstr(same->orcpt),
		    .remote = slice_from_cstr(same->remote),
		};
		at = at->next;
	}
	*out_end = at;
	return count;
}

static void
reports_make(struct relay_batch *batch)
{
	struct list *node = batch->results.next;
	while (node != &batch->results) {
		struct relay_result *r = LIST_ENTRY(node, struct relay_result, node);
		struct bounce_recipient recipients[REPORT_RECIPIENTS_MAX];
		struct list *end;
		size_t count = report_gather(batch, node, recipients, &end);
		if (count == 0) {
			node = node->next;
			continue;
		}
		bool made = report_add(batch, r, recipients, count);
		for (; node != end; node = node->next) {
			struct relay_result *same =
			    LIST_ENTRY(node, struct relay_result, node);
			if (made)
				same->result.told = told_bits(same);
			else if (same->result.outcome == QUEUE_FAILED) {
				/* No recipient leaves without its report: these stay a
				 * while longer. */
				same->result.due_s = clock_wall_s() + REPORT_RETRY_S;
				same->result.outcome = QUEUE_DEFERRED;
			}
		}
	}
}

static void
forwards_make(struct relay_batch *batch)
{
	LIST_EACH(&batch->forwards, node)
	{
		struct relay_forward *f = LIST_ENTRY(node, struct relay_forward, node);
		struct queue_new_message *m = message_add(batch);
		struct queue_new_message made = f->message;
		memcpy(made.id, m->id, sizeof(made.id));
		made.created_s = m->created_s;
		made.due_s = m->due_s;
		made.expires_s = m->expires_s;
		made.draft = body_draft_ref(f->message.draft);
		*m = made;
	}
}

/* ---- the commit ---- */

static void
batch_free(struct relay_batch *batch)
{
	for (size_t i = 0; i < batch->report_count; i++)
		body_draft_unref(&batch->reports[i].draft);
	LIST_EACH_SAFE(&batch->results, node)
	result_free(LIST_ENTRY(node, struct relay_result, node));
	LIST_EACH_SAFE(&batch->forwards, node)
	forward_free(LIST_ENTRY(node, struct relay_forward, node));
	arena_free(&batch->arena);
	free(batch);
}

static void
batch_retry(void *arg)
{
	struct relay *relay = arg;
	relay->commit_scheduled = false;
	commit_later(relay);
}

static void
suppress_refused(const struct relay_batch *batch)
{
	const char *addresses[RELAY_RESULTS_MAX], *replies[RELAY_RESULTS_MAX];
	size_t count = 0;
	LIST_EACH(&batch->results, node)
	{
		const struct relay_result *r =
		    LIST_ENTRY(node, struct relay_result, node);
		if (r->result.outcome != QUEUE_FAILED || r->remote[0] == '\0' ||
		    !relay_reply_is_hard(r->reply))
			continue;
		addresses[count] = r->address;
		replies[count++] = r->reply;
	}
	relay_suppress_note(
	    batch->relay, RELAY_SUPPRESS_BOUNCE, addresses, replies, count);
}

/* store_done_fn */
static void
batch_done(struct store_op *op)
{
	struct relay_batch *batch = op->user;
	struct relay *relay = batch->relay;
	relay->commit_under_way = false;
	if (op->status != STATUS_OK) {
		/* The disk is full or failing: nothing of it happened.  The recipients
		 * stay active, their results are kept and tried again in a second. */
		LOG_ERROR("store.error", LF_STR("op", "queue results"),
		    LF_STR("status", status_text(op->status)));
		LIST_EACH_SAFE(&batch->results, node)
		{
			list_remove(node);
			list_append(&relay->results, node);
			relay->result_count++;
		}
		LIST_EACH_SAFE(&batch->forwards, node)
		{
			list_remove(node);
			list_append(&relay->forwards, node);
		}
		batch_free(batch);
		relay->commit_scheduled = true;
		loop_timer_start(relay->loop, &relay->commit_timer, RESULT_RETRY_MS,
		    batch_retry, relay);
		return;
	}
	bool due = false;
	int64_t now = clock_wall_s();
	suppress_refused(batch);
	LIST_EACH(&batch->results, node)
	{
		const struct relay_result *r =
		    LIST_ENTRY(node, struct relay_result, node);
		relay_active_remove(relay, r->result.id, r->result.number);
		/* The pass that the commit's hint began may have seen it as active still.
		 */
		due |= r->result.outcome == QUEUE_DEFERRED && r->result.due_s <= now;
	}
	if (due)
		relay_load_later(relay);
	relay_load_room(relay);
	batch_free(batch);
	if (!list_is_empty(&relay->results) || !list_is_empty(&relay->forwards))
		commit_later(relay);
}

static void
commit_now(void *arg)
{
	struct relay *relay = arg;
	relay->commit_scheduled = false;
	if (relay->commit_under_way ||
	    (list_is_empty(&relay->results) && list_is_empty(&relay->forwards)))
		return;
	struct relay_batch *batch = xcalloc(1, sizeof(*batch));
	batch->relay = relay;
	batch->arena = arena_new(RESULT_ARENA_MAX);
	list_init(&batch->results);
	list_init(&batch->forwards);
	size_t count = 0;
	struct list *node;
	while (count < RELAY_RESULTS_MAX && (node = list_pop(&relay->results))) {
		list_append(&batch->results, node);
		count++;
	}
	relay->result_count -= count;
	size_t forwards = 0;
	while (forwards < RELAY_RESULTS_MAX && (node = list_pop(&relay->forwards))) {
		list_append(&batch->forwards, node);
		forwards++;
	}
	struct queue_result *results =
	    ARENA_ARRAY(batch->arena, struct queue_result, count + 1);
	batch->reports =
	    ARENA_ARRAY(batch->arena, struct queue_new_message, count + forwards + 1);
	ENSURE(results && batch->reports);
	reports_make(batch);
	forwards_make(batch);
	count = 0;
	LIST_EACH(&batch->results, at)
	results[count++] = LIST_ENTRY(at, struct relay_result, node)->result;
	batch->op.op =
	    (struct store_op){.done = batch_done, .user = batch, .arena = batch->arena};
	batch->op.results = results;
	batch->op.result_count = count;
	batch->op.reports = batch->reports;
	batch->op.report_count = batch->report_count;
	batch->op.now_s = clock_wall_s();
	relay->commit_under_way = true;
	queue_result_submit(relay->reader, &batch->op);
}

static void
commit_later(struct relay *relay)
{
	if (relay->commit_scheduled || relay->commit_under_way)
		return;
	relay->commit_scheduled = true;
	loop_defer(relay->loop, commit_now, relay);
}
