/*
 * Reports that come in as mail (text/report.h), tied to what this server sent: decision
 * 0100 says what is believed.  In short: the message that comes back names our own id of
 * it, which only who had that message knows; the trace says that it went to that
 * recipient; and the report comes from the very host that took it, where no other
 * recipient of the message was, or from a network that the operator trusts.  All else is
 * noted and does nothing.
 *
 *   worker: relay_report_take ─post─► waiting ─► pool: parse all, one walk of the trace
 *                                                   └─► loop: trace, counters, the list
 *
 * One walk at a time, for all that wait; after it comes a pause of WALK_PAUSE_FACTOR
 * times its duration, so that a flood of false reports costs a tenth of one core at most.
 * Memory: REPORTS_WAITING_MAX reports; what is over it is noted as dropped.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/stats.h"
#include "smtpd/relay.h"
#include "smtpd/relay_int.h"
#include "text/report.h"

enum {
	REPORTS_WAITING_MAX = 100,
	REPORT_GATHER_MS = 200, /* others may come in the meantime */
	WALK_PAUSE_FACTOR = 9,
	WALK_DAYS_MAX = 14, /* of the trace */
	TELL_MAX = 500,     /* octets of a value in the trace */
	HOST_TEXT_MAX = 300,
	SENT_MAX = 32, /* recipients of a message that are looked at */
	DAY_S = 86400,
};

/* A recipient that the trace says our message went to. */
struct sent {
	char id[ID_TEXT_SIZE];
	char *to;
	bool same_host; /* it was the host that the report comes from */
};

struct told {
	enum report_action action;
	char *original, *address, *status, *diagnostic; /* "" when not said */
};

struct mail {
	struct list node;
	char id[ID_TEXT_SIZE]; /* of the report itself */
	char *bytes;
	size_t len;
	char *peer;
	bool trusted;
	/* by the pool */
	enum report_kind kind;
	char *feedback_type;
	char ids[REPORT_IDS_MAX][ID_TEXT_SIZE];
	size_t id_count;
	struct told *told;
	size_t told_count;
	struct sent sent[SENT_MAX];
	size_t sent_count;
	bool sent_more; /* than SENT_MAX */
};

/* On the relay's loop, but for `relay`, which any thread reads, and `work`, which is the
 * pool's while `busy`. */
static struct {
	_Atomic(struct relay *) relay; /* null: not taken */
	struct list waiting;
	size_t count;
	bool busy, scheduled;
	struct loop_timer timer;
	uint64_t pause_until_ms;
	struct list work;
	uint64_t walk_ms;
} reports;

static void
mail_free(struct mail *mail)
{
	for (size_t i = 0; i < mail->told_count; i++) {
		free(mail->told[i].original);
		free(mail->told[i].address);
		free(mail->told[i].status);
		free(mail->told[i].diagnostic);
	}
	for (size_t i = 0; i < mail->sent_count; i++)
		free(mail->sent[i].to);
	free(mail->told);
	free(mail->feedback_type);
	free(mail->peer);
	free(mail->bytes);
	free(mail);
}

/* ---- in the pool ---- */

/* A note's text must be of one line; what others wrote may hold anything. */
static char *
printable(struct slice s)
{
	char *text = slice_to_cstr(slice_sub(s, 0, TELL_MAX));
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	return text;
}

static void
mail_parse(struct mail *mail, struct arena *arena)
{
	struct report report;
	report_parse(slice_make(mail->bytes, mail->len), arena, &report);
	free(mail->bytes);
	mail->bytes = NULL;
	mail->kind = report.kind;
	mail->feedback_type = printable(report.feedback_type);
	for (size_t i = 0; i < report.id_count; i++)
		if (id_is_valid(report.ids[i]))
			(void)slice_copy_cstr(
			    report.ids[i], mail->ids[mail->id_count++], ID_TEXT_SIZE);
	mail->told = xcalloc(report.recipient_count + 1, sizeof(*mail->told));
	mail->told_count = report.recipient_count;
	for (size_t i = 0; i < report.recipient_count; i++) {
		const struct report_recipient *r = &report.recipients[i];
		mail->told[i] = (struct told){
		    .action = r->action,
		    .original = printable(r->original),
		    .address = printable(r->address),
		    .status = xstrdup(r->status),
		    .diagnostic = printable(r->diagnostic),
		};
	}
}

/* "mx.example.org[192.0.2.1]…" */
static bool
host_is(const char *host, const char *peer)
{
	struct slice rest = slice_from_cstr(host);
	slice_split(&rest, '[');
	return slice_equal_nocase(slice_split(&rest, ']'), slice_from_cstr(peer));
}

static void
mail_sent(struct mail *mail, const char *id, const char *to, const char *host)
{
	for (size_t i = 0; i < mail->sent_count; i++)
		if (strcmp(mail->sent[i].id, id) == 0 &&
		    strcasecmp(mail->sent[i].to, to) == 0)
			return;
	if (mail->sent_count == SENT_MAX) {
		mail->sent_more = true;
		return;
	}
	struct sent *sent = &mail->sent[mail->sent_count++];
	memcpy(sent->id, id, sizeof(sent->id));
	sent->to = xstrdup(to);
	sent->same_host = host_is(host, mail->peer);
}

static bool
trace_line(struct slice line, void *arg)
{
	char id[ID_TEXT_SIZE + 1], to[RELAY_NOTE_NAME_MAX + 1], host[HOST_TEXT_MAX];
	(void)arg;
	if (!slice_equal(trace_event_name(line), SLICE("relay.done")) ||
	    !trace_value(line, "mid", id, sizeof(id)) || strlen(id) != ID_TEXT_LEN ||
	    !trace_value(line, "to", to, sizeof(to)) ||
	    !trace_value(line, "host", host, sizeof(host)) || !host[0])
		return true;
	LIST_EACH(&reports.work, node)
	{
		struct mail *mail = LIST_ENTRY(node, struct mail, node);
		for (size_t i = 0; i < mail->id_count; i++)
			if (strcasecmp(mail->ids[i], id) == 0)
				mail_sent(mail, id, to, host);
	}
	return true;
}

static void
reports_work(void *arg)
{
	struct relay *relay = arg;
	uint64_t began_us = clock_mono_us();
	struct arena *arena = arena_new(REPORT_ARENA_MAX);
	bool wanted = false;
	LIST_EACH(&reports.work, node)
	{
		struct mail *mail = LIST_ENTRY(node, struct mail, node);
		mail_parse(mail, arena);
		arena_reset(arena);
		wanted |= mail->kind != REPORT_NONE && mail->id_count > 0;
	}
	arena_free(&arena);
	if (wanted && relay->trace) {
		enum status status = trace_each(trace_dir(relay->trace),
		    clock_wall_s() - (int64_t)WALK_DAYS_MAX * DAY_S, trace_line, NULL);
		if (status != STATUS_OK)
			LOG_WARN("relay.report", LF_STR("reason", "no trace to ask"),
			    LF_STR("status", status_text(status)));
	}
	reports.walk_ms = (clock_mono_us() - began_us) / 1000;
}

/* ---- what is believed ---- */

/* The recipient that a report tells of, proven, or null.  `told` is null when a complaint
 * does not say whose it is. */
static const struct sent *
proven(const struct mail *mail, const struct told *told)
{
	const struct sent *found = NULL;
	size_t at_host = 0, matching = 0;
	for (size_t i = 0; i < mail->sent_count; i++) {
		const struct sent *sent = &mail->sent[i];
		if (!mail->trusted && !sent->same_host)
			continue;
		at_host++;
		if (told && strcasecmp(sent->to, told->original) != 0 &&
		    strcasecmp(sent->to, told->address) != 0)
			continue;
		matching++;
		found = sent;
	}
	/* Another recipient there has the same message, with its id. */
	if (!mail->trusted && (at_host != 1 || mail->sent_more))
		return NULL;
	return matching == 1 ? found : NULL;
}

static bool
is_complaint(const struct mail *mail)
{
	/* "not-spam" takes one back (RFC 6430); the others are about no recipient. */
	return strcmp(mail->feedback_type, "abuse") == 0 ||
	       strcmp(mail->feedback_type, "fraud") == 0 ||
	       strcmp(mail->feedback_type, "virus") == 0 ||
	       strcmp(mail->feedback_type, "other") == 0 ||
	       strcmp(mail->feedback_type, "opt-out") == 0;
}

static void
tell_unproven(const struct relay *relay, const struct mail *mail, const struct told *told)
{
	stats_add(stats_get("reports_unproven_total"), 1);
	TRACE(relay->trace, "report.unproven", LF_STR("mid", mail->id),
	    LF_STR("to", !told               ? ""
			 : told->original[0] ? told->original
					     : told->address),
	    LF_STR("peer", mail->peer),
	    LF_STR("reason", mail->sent_count
				 ? "not from the host that took the message alone"
				 : "it names no message that was sent from here"));
}

static bool
is_listed_by_hand(struct relay *relay, const char *address)
{
	struct relay_note note;
	return relay_note_get(relay->reader, RELAY_NOTE_SUPPRESSED,
		   slice_from_cstr(address), clock_wall_s(), &note) == STATUS_OK &&
	       note.kind == RELAY_SUPPRESS_MANUAL;
}

static void
suppress(struct relay *relay, enum relay_suppress reason, const char *address,
    const char *text)
{
	if (!is_listed_by_hand(relay, address))
		relay_suppress_note(relay, reason, &address, &text, 1);
}

static void
take_delivery(struct relay *relay, const struct mail *mail, const struct told *told)
{
	const struct sent *sent = proven(mail, told);
	if (!sent) {
		tell_unproven(relay, mail, told);
		return;
	}
	bool hard = told->action == REPORT_FAILED && relay_code_is_hard(told->status);
	stats_add(stats_get(hard ? "reports_hard_total" : "reports_soft_total"), 1);
	TRACE(relay->trace, "report.bounce", LF_STR("mid", sent->id),
	    LF_STR("parent", mail->id), LF_STR("to", sent->to),
	    LF_STR("peer", mail->peer), LF_STR("status", told->status),
	    LF_STR("action", report_action_text(told->action)),
	    LF_STR("reply", told->diagnostic));
	char text[RELAY_NOTE_TEXT_MAX + 1];
	snprintf(text, sizeof(text), "report %s: %s %s", mail->id, told->status,
	    told->diagnostic);
	if (hard)
		suppress(relay, RELAY_SUPPRESS_BOUNCE, sent->to, text);
}

static void
take_complaint(struct relay *relay, const struct mail *mail, const struct told *told)
{
	const struct sent *sent = proven(mail, told);
	if (!sent) {
		tell_unproven(relay, mail, told);
		return;
	}
	stats_add(stats_get("reports_complaints_total"), 1);
	TRACE(relay->trace, "report.complaint", LF_STR("mid", sent->id),
	    LF_STR("parent", mail->id), LF_STR("to", sent->to),
	    LF_STR("peer", mail->peer), LF_STR("reason", mail->feedback_type));
	char text[RELAY_NOTE_TEXT_MAX + 1];
	snprintf(text, sizeof(text), "report %s: %s", mail->id, mail->feedback_type);
	if (is_complaint(mail))
		suppress(relay, RELAY_SUPPRESS_COMPLAINT, sent->to, text);
}

static void
mail_take(struct relay *relay, const struct mail *mail)
{
	if (mail->kind == REPORT_COMPLAINT && mail->told_count == 0)
		take_complaint(relay, mail, NULL);
	for (size_t i = 0; i < mail->told_count; i++) {
		if (mail->kind == REPORT_COMPLAINT)
			take_complaint(relay, mail, &mail->told[i]);
		else if (mail->told[i].action == REPORT_FAILED ||
			 mail->told[i].action == REPORT_DELAYED)
			take_delivery(relay, mail, &mail->told[i]);
	}
}

/* ---- on the loop ---- */

static void work_later(struct relay *relay);

static void
reports_done(void *arg)
{
	struct relay *relay = arg;
	struct list *node;
	reports.busy = false;
	reports.pause_until_ms =
	    loop_now_ms(relay->loop) + WALK_PAUSE_FACTOR * reports.walk_ms;
	while ((node = list_pop(&reports.work))) {
		struct mail *mail = LIST_ENTRY(node, struct mail, node);
		if (!relay->stopping)
			mail_take(relay, mail);
		mail_free(mail);
	}
	work_later(relay);
}

static void
work_now(void *arg)
{
	struct relay *relay = arg;
	struct list *node;
	reports.scheduled = false;
	if (reports.busy || relay->stopping)
		return;
	while ((node = list_pop(&reports.waiting)))
		list_append(&reports.work, node);
	reports.count = 0;
	reports.busy = true;
	loop_work(relay->loop, reports_work, reports_done, relay);
}

static void
work_later(struct relay *relay)
{
	uint64_t now = loop_now_ms(relay->loop), wait = REPORT_GATHER_MS;
	if (reports.busy || reports.scheduled || list_is_empty(&reports.waiting) ||
	    relay->stopping)
		return;
	if (reports.pause_until_ms > now + wait)
		wait = reports.pause_until_ms - now;
	reports.scheduled = true;
	loop_timer_start(relay->loop, &reports.timer, wait, work_now, relay);
}

static void
mail_add(void *arg)
{
	struct mail *mail = arg;
	struct relay *relay = atomic_load(&reports.relay);
	if (!relay || reports.count == REPORTS_WAITING_MAX) {
		if (relay) {
			stats_add(stats_get("reports_dropped_total"), 1);
			TRACE(relay->trace, "report.dropped", LF_STR("mid", mail->id),
			    LF_STR("reason", "too many reports wait"));
		}
		mail_free(mail);
		return;
	}
	list_append(&reports.waiting, &mail->node);
	reports.count++;
	work_later(relay);
}

void
relay_report_take(const char *id, struct slice message, struct slice peer, bool trusted)
{
	struct relay *relay = atomic_load(&reports.relay);
	if (!relay || message.len == 0 || message.len > RELAY_REPORT_MAX)
		return;
	struct mail *mail = xcalloc(1, sizeof(*mail));
	snprintf(mail->id, sizeof(mail->id), "%s", id);
	mail->bytes = xcalloc(1, message.len);
	memcpy(mail->bytes, message.ptr, message.len);
	mail->len = message.len;
	mail->peer = slice_to_cstr(peer);
	mail->trusted = trusted;
	loop_post(relay->loop, mail_add, mail);
}

void
relay_report_start(struct relay *relay)
{
	list_init(&reports.waiting);
	list_init(&reports.work);
	atomic_store(&reports.relay, relay);
}

void
relay_report_stop(void)
{
	atomic_store(&reports.relay, NULL);
	loop_timer_stop(&reports.timer);
	struct list *node;
	while (reports.count > 0 && (node = list_pop(&reports.waiting))) {
		mail_free(LIST_ENTRY(node, struct mail, node));
		reports.count--;
	}
}
