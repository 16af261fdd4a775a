/*
 * Queued recipients that live here: reports to local senders, and the local half of a
 * message that also went out.  Resolved again at each attempt, so that changed aliases
 * count.  The targets of an alias are queued each for itself, so that one that cannot
 * take the message now does not make the others get it twice.
 *
 * A delivery holds the message's text: RELAY_LOCAL_MAX of them are under way, the other
 * jobs wait in a line.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "service/smtp_recipient.h"
#include "smtpd/relay_int.h"
#include "store/message.h"
#include "text/address.h"
#include "text/date.h"

enum { LOCAL_ARENA_MAX = 4 * 1024 * 1024, RETURN_PATH_MAX = 512 };
enum { LOCAL_HEAD_MAX = RETURN_PATH_MAX + RELAY_COPY_HEAD_MAX };

struct local_delivery {
	struct deliver_op op;
	struct relay *relay;
	struct relay_job *job;
	struct arena *arena;
	struct body_draft *draft;
	uint32_t *owners; /* index of the job's recipient, by deliver recipient */
	struct queue_new_recipient *forwards; /* DIRECTORY_TARGETS_MAX */
	size_t forward_count;
};

static void local_run(void *arg);

static void
delivery_free(struct local_delivery *d)
{
	struct relay *relay = d->relay;
	body_draft_unref(&d->draft);
	arena_free(&d->arena);
	free(d);
	relay->local_count--;
	if (!list_is_empty(&relay->local_waiting))
		loop_defer(relay->loop, local_run, relay);
}

/* A report (it has the null sender) that does not fit is given up: nobody can be told,
 * and it would only wait for its end in the queue. */
static enum queue_outcome
outcome_of(enum status status, const char *sender, const char **out_reply)
{
	if (status == STATUS_OK) {
		*out_reply = "250 2.0.0 delivered";
		return QUEUE_DELIVERED;
	}
	if (status == STATUS_NOT_FOUND) {
		*out_reply = "550 5.1.1 no such user here";
		return QUEUE_FAILED;
	}
	if (status == STATUS_QUOTA && sender[0] == '\0') {
		*out_reply = "552 5.2.2 the mailbox is full";
		return QUEUE_FAILED;
	}
	*out_reply = status == STATUS_QUOTA
	                 ? "452 4.2.2 the mailbox is full"
	                 : "451 4.3.0 the mail store could not take it";
	return QUEUE_DEFERRED;
}

/* store_done_fn */
static void
delivered(struct store_op *op)
{
	struct local_delivery *d = op->user;
	struct relay_job *job = d->job;
	for (size_t i = 0; i < d->op.recipient_count; i++) {
		const struct deliver_recipient *r = &d->op.recipients[i];
		struct relay_recipient *owner = &job->recipients[d->owners[i]];
		const char *reply;
		enum queue_outcome outcome = outcome_of(r->status, job->sender, &reply);
		relay_recipient_settle(owner, outcome, reply);
		owner->success = RELAY_SUCCESS_DELIVERED;
		TRACE(d->relay->trace, "deliver.local", LF_STR("mid", job->id),
		    LF_STR("from", job->sender), LF_STR("to", owner->address),
		    LF_STR("status", status_text(r->status)), LF_U64("uid", r->uid));
	}
	if (d->forward_count > 0)
		relay_results_forward(
		    d->relay, job, d->draft, d->forwards, d->forward_count);
	relay_job_finish(d->relay, job, QUEUE_DELIVERED, "250 2.0.0 forwarded");
	delivery_free(d);
}

/* The body again as a draft, Return-Path in front (RFC 5321 section 4.4), then the
 * copy's own fields. */
static enum status
draft_make(struct local_delivery *d)
{
	struct slice bytes = body_handle_bytes(&d->job->body);
	bytes = slice_from(bytes, relay_body_head(bytes));
	struct buf head AUTO_BUF;
	buf_init(&head, LOCAL_HEAD_MAX);
	buf_append_format(&head, "Return-Path: <%s>\r\n", d->job->sender);
	relay_copy_head(d->relay, d->job, &head);
	d->draft = body_draft_new(
	    store_reader_store(d->relay->reader), bytes.len + LOCAL_HEAD_MAX);
	enum status status = body_draft_append(d->draft, bytes);
	if (status == STATUS_OK && buf_ok(&head))
		status = body_draft_prefix(d->draft, buf_slice(&head));
	if (status == STATUS_OK)
		status = body_draft_seal(d->draft);
	return status;
}

/* What an alias leads to goes on as a message of its own.  To one target the sender's
 * wishes go along and nothing is reported (RFC 3461 section 5.2.7.2); to several they do
 * without SUCCESS, which is answered here: "expanded" (section 5.2.7.3 (c)).  Each target
 * is then tried again for itself. */
static void
recipient_forward(struct local_delivery *d, struct relay_recipient *r,
    const struct directory_target *targets, size_t count)
{
	uint8_t notify = r->notify & QUEUE_NOTIFY_ASKED;
	/* Who asked for success alone wants no other report. */
	if (count > 1 && (notify & QUEUE_NOTIFY_SUCCESS))
		notify = notify == QUEUE_NOTIFY_SUCCESS
		             ? QUEUE_NOTIFY_NEVER
		             : notify & (uint8_t)~QUEUE_NOTIFY_SUCCESS;
	for (size_t i = 0; i < count; i++)
		d->forwards[d->forward_count++] = (struct queue_new_recipient){
		    .address = targets[i].local ? targets[i].login : targets[i].address,
		    .original = slice_from_cstr(r->address),
		    .notify = notify | (targets[i].local ? QUEUE_NOTIFY_RESOLVED : 0),
		    .orcpt = slice_from_cstr(r->orcpt),
		};
	relay_recipient_settle(r, QUEUE_DELIVERED, "250 2.0.0 forwarded");
	r->success = count > 1 ? RELAY_SUCCESS_EXPANDED : RELAY_SUCCESS_PASSED;
}

/* The targets of one recipient join the delivery; what cannot is settled at once. */
static void
recipient_resolve(
    struct local_delivery *d, uint32_t index, struct deliver_recipient *recipients)
{
	struct relay_recipient *r = &d->job->recipients[index];
	const struct conf *conf = service_conf(d->relay->service);
	struct mailbox_address address;
	struct directory_target *targets;
	size_t count;
	enum directory_answer answer;
	enum status status = STATUS_INVALID;
	if (address_parse(slice_from_cstr(r->address), true, d->arena, &address) ==
	    ADDRESS_OK)
		status = r->notify & QUEUE_NOTIFY_RESOLVED
		             ? directory_resolve_kept(d->relay->reader, address.local,
				   address.domain,
				   slice_from_cstr(conf->smtp.recipient_delimiter),
				   d->arena, &answer, &targets, &count)
		             : smtp_recipient_resolve(d->relay->reader, &address,
				   slice_from_cstr(conf->smtp.recipient_delimiter),
				   d->arena, &answer, &targets, &count);
	if (status != STATUS_OK) {
		relay_recipient_settle(
		    r, QUEUE_DEFERRED, "451 4.3.0 the directory could not be read");
		return;
	}
	if (answer != DIRECTORY_TARGETS || count == 0) {
		relay_recipient_settle(r, QUEUE_FAILED,
		    answer == DIRECTORY_LOOP ? "554 5.4.6 the alias goes in circles"
					     : "550 5.1.1 no such user here");
		return;
	}
	/* One alone always has room: it comes next time, without the others. */
	if (d->op.recipient_count + d->forward_count + count > DIRECTORY_TARGETS_MAX) {
		relay_recipient_settle(
		    r, QUEUE_DEFERRED, "452 4.5.3 too many recipients at once");
		r->due_s = clock_wall_s();
		return;
	}
	if (count != 1 || !targets[0].local) {
		recipient_forward(d, r, targets, count);
		return;
	}
	d->owners[d->op.recipient_count] = index;
	recipients[d->op.recipient_count++] =
	    (struct deliver_recipient){.account = targets[0].account};
}

static void
deliver(struct relay *relay, struct relay_job *job)
{
	struct local_delivery *d = xcalloc(1, sizeof(*d));
	d->relay = relay;
	d->job = job;
	d->arena = arena_new(LOCAL_ARENA_MAX);
	d->owners = ARENA_ARRAY(d->arena, uint32_t, job->count);
	d->forwards =
	    ARENA_ARRAY(d->arena, struct queue_new_recipient, DIRECTORY_TARGETS_MAX);
	struct deliver_recipient *recipients =
	    ARENA_ARRAY(d->arena, struct deliver_recipient, job->count);
	ENSURE(d->owners && d->forwards && recipients);
	/* First, since forwards need it: who is forwarded has left the queue. */
	enum status status = draft_make(d);
	if (status != STATUS_OK) {
		const char *reply;
		enum queue_outcome outcome = outcome_of(status, job->sender, &reply);
		relay_job_finish(relay, job, outcome, reply);
		delivery_free(d);
		return;
	}
	for (uint32_t i = 0; i < job->count; i++)
		recipient_resolve(d, i, recipients);
	int64_t now = clock_wall_s();
	d->op.op = (struct store_op){.done = delivered, .user = d, .arena = d->arena};
	d->op.draft = d->draft;
	d->op.recipients = recipients;
	d->op.internaldate_s = now;
	d->op.internaldate_zone_min = (int16_t)date_local_zone_min(now);
	if (d->op.recipient_count == 0) {
		delivered(&d->op.op);
		return;
	}
	deliver_op_submit(relay->reader, &d->op);
}

static void
local_run(void *arg)
{
	struct relay *relay = arg;
	struct list *node;
	while (!relay->stopping && relay->local_count < RELAY_LOCAL_MAX &&
	       (node = list_pop(&relay->local_waiting))) {
		struct relay_job *job = LIST_ENTRY(node, struct relay_job, node);
		if (!relay_job_open(relay, job))
			continue;
		relay->local_count++;
		deliver(relay, job);
	}
}

void
relay_local_deliver(struct relay *relay, struct relay_job *job)
{
	list_append(&relay->local_waiting, &job->node);
	local_run(relay);
}
