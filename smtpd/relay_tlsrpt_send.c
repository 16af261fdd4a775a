/*
 * Sending TLS reports (RFC 8460 sections 3 and 5), one domain after the other:
 *
 *   a period that is over ─► TXT _smtp._tls.D ─► JSON, gzip ─► each place: queue or POST
 *                                 └── none: the counts go ◄──────── one took it
 *                                                no ─► again in an hour, till they end
 *
 * A report by mail goes by the queue with "TLS-Required: No", so that what it tells of
 * does not stop it (RFC 8460 section 3, RFC 8689).  It is sent at a moment of its
 * domain's own in the first sixth of the next period (section 4.2: jitter).
 *
 * Runs on the relay's loop; posts in the pool.
 */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "net/http_post.h"
#include "smtpd/relay_tlsrpt_int.h"
#include "text/address.h"
#include "text/date.h"
#include "text/encoding.h"
#include "text/tls_report.h"

enum {
	SEND_TEXT_MAX = 256 * 1024, /* bytes of a report, gzipped or not, as a message */
	SEND_ARENA_MAX = 512 * 1024,
	SEND_RETRY_S = 3600,
	SEND_JITTER_PART = 6,
	POST_TIMEOUT_MS = 20 * 1000,
	POST_ANSWER_MAX = 64 * 1024,
	BASE64_LINE_OCTETS = 57,
	GZIP_WINDOW_BITS = 15 + 16,
};

static struct sending {
	struct relay *relay;             /* null: none is under way */
	char name[TLS_RESULTS_NAME_MAX]; /* of the note */
	char domain[256];
	int64_t start_s, end_s, expires_s;
	json_t *policies;
	char id[ID_TEXT_SIZE];
	struct buf gzip;
	struct tls_report_place places[TLS_REPORT_PLACES_MAX];
	size_t place_count, place;
	bool taken; /* by one of them */
	enum status posted;
	struct queue_add_op queue;
	struct relay_note_op note_op;
	struct relay_note note;
	struct arena *arena; /* of the op under way */
} sending;

static void place_next(void);

static void
sending_end(void)
{
	json_decref(sending.policies);
	buf_fini(&sending.gzip);
	sending.relay = NULL;
}

/* store_done_fn */
static void
noted(struct store_op *op)
{
	struct relay *relay = sending.relay;
	if (op->status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "TLS report"),
		    LF_STR("status", status_text(op->status)));
	arena_free(&sending.arena);
	sending_end();
	/* A failing store is not asked in a circle: the next flush comes. */
	if (op->status == STATUS_OK && !relay->stopping)
		relay_tlsrpt_send(relay);
}

/* The counts go, or are tried again later (created_s is the moment). */
static void
sending_finish(bool done)
{
	int64_t now = clock_wall_s();
	sending.arena = arena_new(SEND_ARENA_MAX);
	struct buf text AUTO_BUF;
	buf_init(&text, RELAY_NOTE_MORE_MAX);
	if (!done)
		(void)tls_results_write(sending.policies, RELAY_NOTE_MORE_MAX, &text);
	sending.note = (struct relay_note){
	    .name = slice_from_cstr(sending.name),
	    .created_s = now + SEND_RETRY_S,
	    .expires_s = done ? now : sending.expires_s,
	    .more = arena_copy(sending.arena, buf_slice(&text)),
	};
	sending.note_op = (struct relay_note_op){
	    .op = {.done = noted, .arena = sending.arena},
	    .table = RELAY_NOTE_TLSRPT,
	    .notes = &sending.note,
	    .count = 1,
	    .now_s = now,
	};
	relay_note_submit(sending.relay->reader, &sending.note_op);
}

/* ---- the report ---- */

static bool
gzip_make(struct slice in, struct buf *out)
{
	z_stream z = {0};
	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS, 8,
		Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	size_t bound = deflateBound(&z, in.len);
	char *room = buf_reserve(out, bound);
	z.next_in = (unsigned char *)in.ptr;
	z.avail_in = (unsigned)in.len;
	z.next_out = (unsigned char *)room;
	z.avail_out = (unsigned)bound;
	bool good = room && deflate(&z, Z_FINISH) == Z_STREAM_END;
	if (good)
		buf_commit(out, bound - z.avail_out);
	deflateEnd(&z);
	return good;
}

static bool
report_make(void)
{
	const char *hostname = service_conf(sending.relay->service)->hostname;
	char contact[300];
	snprintf(contact, sizeof(contact), "postmaster@%s", hostname);
	id_make(sending.id);
	json_t *report = tls_results_report(hostname, contact, sending.id,
	    sending.start_s, sending.end_s - 1, sending.policies);
	char *text = json_dumps(report, JSON_COMPACT);
	ENSURE(text);
	json_decref(report);
	bool good = gzip_make(slice_from_cstr(text), &sending.gzip);
	free(text);
	return good;
}

/* ---- by mail ---- */

static void
message_write(const struct tls_report_place *place, struct buf *out)
{
	const char *hostname = service_conf(sending.relay->service)->hostname;
	struct slice rest = buf_slice(&sending.gzip);
	buf_append_format(out,
	    "From: TLS reports <postmaster@%s>\r\nTo: <%s>\r\nDate: ", hostname,
	    place->text);
	date_write_mail((struct date){.unix_s = clock_wall_s()}, out);
	buf_append_format(out,
	    "\r\nSubject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s@%s>\r\n"
	    "Message-ID: <%s@%s>\r\nTLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\n"
	    "TLS-Required: No\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n"
	    " boundary=\"=_%s\"\r\n\r\n",
	    sending.domain, hostname, sending.id, hostname, sending.id, hostname,
	    sending.domain, hostname, sending.id);
	buf_append_format(out,
	    "--=_%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
	    "How TLS with the mail servers of %s went, as\r\n%s saw it (RFC "
	    "8460).\r\n\r\n"
	    "--=_%s\r\nContent-Type: application/tlsrpt+gzip\r\n"
	    "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n"
	    " filename=\"%s!%s!%lld!%lld!%s.json.gz\"\r\n\r\n",
	    sending.id, sending.domain, hostname, sending.id, hostname, sending.domain,
	    (long long)sending.start_s, (long long)sending.end_s - 1, sending.id);
	while (rest.len > 0) {
		base64_encode(slice_sub(rest, 0, BASE64_LINE_OCTETS), out);
		buf_append_cstr(out, "\r\n");
		rest = slice_from(rest, BASE64_LINE_OCTETS);
	}
	buf_append_format(out, "\r\n--=_%s--\r\n", sending.id);
}

/* store_done_fn */
static void
queued(struct store_op *op)
{
	sending.taken |= op->status == STATUS_OK;
	if (op->status == STATUS_OK)
		TRACE(sending.relay->trace, "tls.report",
		    LF_STR("mid", sending.queue.message.id),
		    LF_STR("to", sending.places[sending.place].text),
		    LF_STR("reason", sending.domain));
	body_draft_unref(&sending.queue.message.draft);
	arena_free(&sending.arena);
	sending.place++;
	place_next();
}

static bool
mail_begin(const struct tls_report_place *place)
{
	struct mailbox_address address;
	struct buf text AUTO_BUF;
	buf_init(&text, SEND_TEXT_MAX);
	sending.arena = arena_new(SEND_ARENA_MAX);
	struct queue_new_recipient *to =
	    ARENA_NEW(sending.arena, struct queue_new_recipient);
	struct body_draft *draft =
	    body_draft_new(store_reader_store(sending.relay->reader), SEND_TEXT_MAX);
	message_write(place, &text);
	to->address = to->original =
	    arena_copy(sending.arena, slice_from_cstr(place->text));
	to->notify = QUEUE_NOTIFY_NEVER;
	if (address_parse(slice_from_cstr(place->text), false, sending.arena, &address) !=
		ADDRESS_OK ||
	    !buf_ok(&text) || body_draft_append(draft, buf_slice(&text)) != STATUS_OK ||
	    body_draft_seal(draft) != STATUS_OK) {
		body_draft_unref(&draft);
		arena_free(&sending.arena);
		return false;
	}
	int64_t now = clock_wall_s();
	const struct conf *conf = service_conf(sending.relay->service);
	sending.queue = (struct queue_add_op){
	    .op = {.done = queued, .arena = sending.arena},
	    .message =
		{
                   .created_s = now,
                   .due_s = now,
                   .expires_s = now + (int64_t)conf->relay.lifetime_s,
                   .flags = QUEUE_MESSAGE_TLS_OPTIONAL,
                   .draft = draft,
                   .recipients = to,
                   .recipient_count = 1,
		   },
	};
	id_make(sending.queue.message.id);
	queue_add_submit(sending.relay->reader, &sending.queue);
	return true;
}

/* ---- by POST ---- */

static void
post_work(void *arg)
{
	(void)arg;
	struct buf answer AUTO_BUF;
	buf_init(&answer, POST_ANSWER_MAX);
	const struct conf *conf = service_conf(sending.relay->service);
	const struct http_post post = {
	    .url = sending.places[sending.place].text,
	    .body = buf_slice(&sending.gzip),
	    .type = "application/tlsrpt+gzip",
	    /* A stranger's DNS names the URL: what MX records may lead to, it may. */
	    .anywhere = conf->relay.allow_private,
	    .ca_file = conf->tls.ca_file,
	    .timeout_ms = POST_TIMEOUT_MS,
	};
	sending.posted = http_post(&post, &answer, NULL);
}

static void
post_done(void *arg)
{
	(void)arg;
	sending.taken |= sending.posted == STATUS_OK;
	LOG_INFO("tls.report", LF_STR("domain", sending.domain),
	    LF_STR("url", sending.places[sending.place].text),
	    LF_STR("status", status_text(sending.posted)));
	sending.place++;
	place_next();
}

static void
place_next(void)
{
	if (sending.relay->stopping) {
		sending_end();
		return;
	}
	while (sending.place < sending.place_count) {
		const struct tls_report_place *place = &sending.places[sending.place];
		if (!place->mail) {
			loop_work(sending.relay->loop, post_work, post_done, NULL);
			return;
		}
		if (mail_begin(place))
			return;
		sending.place++;
	}
	sending_finish(sending.taken);
}

/* ---- what is due ---- */

/* resolver_fn */
static void
record_answer(const struct resolver_answer *answer, void *arg)
{
	(void)arg;
	size_t records = 0;
	if (sending.relay->stopping) {
		sending_end();
		return;
	}
	for (size_t i = 0; answer->result == RESOLVER_OK && i < answer->count; i++)
		records += tls_report_record_parse(
		    answer->records[i].data, sending.places, &sending.place_count);
	if (answer->result == RESOLVER_BOGUS || answer->result == RESOLVER_FAILED) {
		sending_finish(false);
		return;
	}
	/* Several are as good as none (section 3). */
	if (records != 1) {
		sending_finish(true);
		return;
	}
	if (report_make())
		place_next();
	else
		sending_finish(false);
}

/* The first one that is due. */
static bool
due_find(const struct relay_note *note, void *arg)
{
	struct relay *relay = arg;
	int64_t period = relay_tlsrpt_period_s(relay), now = clock_wall_s(), start;
	struct slice domain;
	if (!tls_results_name_parse(note->name, &start, &domain))
		return true;
	int64_t jitter_s_max = period / SEND_JITTER_PART + 1;
	int64_t due =
	    start + period + (int64_t)(hash_stable(domain) % (uint64_t)jitter_s_max);
	if (now < due || now < note->created_s ||
	    !slice_copy_cstr(domain, sending.domain, sizeof(sending.domain)) ||
	    !slice_copy_cstr(note->name, sending.name, sizeof(sending.name)))
		return true;
	sending.policies = json_loadb(note->more.ptr, note->more.len, 0, NULL);
	if (!sending.policies)
		return true;
	sending.relay = relay;
	sending.start_s = start;
	sending.end_s = start + period;
	sending.expires_s = note->expires_s;
	sending.place = sending.place_count = 0;
	sending.taken = false;
	buf_init(&sending.gzip, SEND_TEXT_MAX / 2);
	return false;
}

void
relay_tlsrpt_send(struct relay *relay)
{
	char name[sizeof(sending.domain) + 16];
	if (sending.relay || relay->stopping ||
	    !service_conf(relay->service)->relay.tls_reports)
		return;
	enum status status = relay_note_each(
	    relay->reader, RELAY_NOTE_TLSRPT, clock_wall_s(), due_find, relay);
	if (status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "TLS report"),
		    LF_STR("status", status_text(status)));
	if (!sending.relay)
		return;
	snprintf(name, sizeof(name), "_smtp._tls.%s", sending.domain);
	resolver_ask(
	    relay->resolver, slice_from_cstr(name), RESOLVER_TXT, record_answer, NULL);
}
