/*
 * Results of TLS with other servers (RFC 8460), counted for each recipient's domain and
 * period: in memory first, every FLUSH_MS into the store, so that a crash loses half a
 * minute of counts.  relay_tlsrpt_send.c reports them.
 *
 * Runs on the relay's loop.  Memory: RESULTS_DOMAINS_MAX domains between two flushes;
 * what is over it is not counted.
 */
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "smtpd/relay_session_int.h"
#include "smtpd/relay_tlsrpt_int.h"
#include "text/mta_sts.h"

enum {
	FLUSH_MS = 30 * 1000,
	FLUSH_NOTES_MAX = 200, /* in one commit */
	FLUSH_ARENA_MAX = 8 * 1024 * 1024,
	RESULTS_DOMAINS_MAX = 5000,
	/* Not reported for so many periods: it is given up. */
	RESULTS_PERIODS_MAX = 3,
};

static struct {
	struct relay *relay;     /* null: nothing is counted */
	struct hashmap *pending; /* name of the note → json_t array */
	size_t pending_count;
	struct loop_timer timer;
	bool flushing;
} results;

static const struct conf *
conf_now(const struct relay *relay)
{
	return service_conf(relay->service);
}

int64_t
relay_tlsrpt_period_s(const struct relay *relay)
{
	return (int64_t)conf_now(relay)->relay.tls_report_period_s;
}

/* ---- counting ---- */

static void
result_count(struct relay *relay, const struct tls_result *result, const json_t *strings,
    const json_t *hosts)
{
	char name[TLS_RESULTS_NAME_MAX];
	int64_t now = clock_wall_s(), period = relay_tlsrpt_period_s(relay);
	tls_results_name(now - now % period, result->domain, name);
	json_t *policies = hashmap_get(results.pending, slice_from_cstr(name));
	if (!policies) {
		if (results.pending_count == RESULTS_DOMAINS_MAX)
			return;
		policies = json_array();
		hashmap_put(results.pending, slice_from_cstr(name), policies);
		results.pending_count++;
	}
	tls_results_add(policies, result, strings, hosts);
}

static bool
is_counted(const struct relay *relay)
{
	return results.relay && conf_now(relay)->relay.tls_reports;
}

/* "3 1 1 0123…" (RFC 8460 section 4.4, policy-string). */
static json_t *
tlsa_strings(const struct relay_tlsa *tlsa)
{
	json_t *strings = json_array();
	for (size_t i = 0; tlsa && i < tlsa->count && i < TLS_RESULTS_STRINGS_MAX; i++) {
		struct slice data = tlsa->records[i];
		struct buf text AUTO_BUF;
		buf_init(&text, 2048);
		for (size_t b = 0; b < data.len; b++)
			buf_append_format(&text, b < 3 ? "%u " : "%02x",
			    (unsigned)(unsigned char)data.ptr[b]);
		if (buf_ok(&text) && text.len > 0)
			json_array_append_new(strings, json_stringn(text.ptr, text.len));
	}
	return strings;
}

/* The policy's lines and patterns; false when none is in force or tried. */
static bool
sts_find(
    struct relay *relay, const char *domain, json_t **out_strings, json_t **out_hosts)
{
	struct relay_note note;
	struct mta_sts_policy policy;
	if (relay_note_get(relay->reader, RELAY_NOTE_STS, slice_from_cstr(domain),
		clock_wall_s(), &note) != STATUS_OK ||
	    !mta_sts_policy_parse(note.more, &policy) || policy.mode == MTA_STS_NONE)
		return false;
	*out_strings = json_array();
	*out_hosts = json_array();
	struct slice rest = note.more;
	while (rest.len > 0 && json_array_size(*out_strings) < TLS_RESULTS_STRINGS_MAX) {
		struct slice line = slice_trim(slice_split(&rest, '\n'));
		if (line.len > 0)
			json_array_append_new(
			    *out_strings, json_stringn(line.ptr, line.len));
	}
	for (size_t i = 0; i < policy.mx_count && i < TLS_RESULTS_STRINGS_MAX; i++)
		json_array_append_new(
		    *out_hosts, json_stringn(policy.mx[i].ptr, policy.mx[i].len));
	return true;
}

void
relay_tlsrpt_session(struct relay_session *s, const char *failure, const char *reason)
{
	const struct relay_address *a = relay_session_address(s);
	json_t *strings = NULL, *hosts = NULL;
	if (s->site->by_rule || !is_counted(s->relay))
		return;
	struct tls_result result = {
	    .type = "no-policy-found",
	    .domain = s->site->domain,
	    .failure = failure,
	    .mx = a->host,
	    .from = conn_local_text(s->conn),
	    .to = conn_peer_text(s->conn),
	    .reason = reason,
	};
	if (a->level == RELAY_LEVEL_DANE) {
		result.type = "tlsa";
		strings = tlsa_strings(a->tlsa);
	} else if (sts_find(s->relay, s->site->domain, &strings, &hosts)) {
		result.type = "sts";
	}
	result_count(s->relay, &result, strings, hosts);
	json_decref(strings);
	json_decref(hosts);
}

void
relay_tlsrpt_handshake(struct relay_session *s, const char *why)
{
	/* RFC 8460 section 4.3. */
	static const struct {
		long code;
		const char *failure;
	} rows[] = {
	    {X509_V_ERR_HOSTNAME_MISMATCH,                 "certificate-host-mismatch"},
	    {X509_V_ERR_CERT_HAS_EXPIRED,                  "certificate-expired"      },
	    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "certificate-not-trusted"  },
	    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,         "certificate-not-trusted"  },
	    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,   "certificate-not-trusted"  },
	    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,       "certificate-not-trusted"  },
	    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,         "certificate-not-trusted"  },
	    {X509_V_ERR_CERT_UNTRUSTED,                    "certificate-not-trusted"  },
	};
	const char *failure = "validation-failure";
	long code = conn_verify_code(s->conn);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].code == code)
			failure = rows[i].failure;
	relay_tlsrpt_session(s, failure, why);
}

void
relay_tlsrpt_domain(struct relay *relay, const char *domain, const char *mx,
    const char *type, const char *failure, const char *reason)
{
	const struct tls_result result = {.type = type,
	    .domain = domain,
	    .failure = failure,
	    .mx = mx,
	    .reason = reason};
	json_t *strings = NULL, *hosts = NULL;
	if (!is_counted(relay))
		return;
	if (strcmp(type, "sts") == 0)
		(void)sts_find(relay, domain, &strings, &hosts);
	result_count(relay, &result, strings, hosts);
	json_decref(strings);
	json_decref(hosts);
}

/* ---- into the store ---- */

struct flush {
	struct relay_note_op op;
	struct arena *arena;
	struct relay_note *notes;
	size_t count;
	bool more;
};

static void flush_later(uint64_t ms);

/* store_done_fn */
static void
flushed(struct store_op *op)
{
	struct flush *f = op->user;
	if (op->status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "results of TLS"),
		    LF_STR("status", status_text(op->status)));
	bool more = f->more;
	arena_free(&f->arena);
	free(f);
	results.flushing = false;
	if (results.relay && !more)
		relay_tlsrpt_send(results.relay);
	flush_later(more ? 1 : FLUSH_MS);
}

/* hashmap_each's fn: false takes it out of the map. */
static bool
flush_one(struct slice name, void *value, void *arg)
{
	struct flush *f = arg;
	struct relay *relay = results.relay;
	struct relay_note known;
	json_t *policies = value;
	int64_t now = clock_wall_s(), start;
	struct slice domain;
	if (f->count == FLUSH_NOTES_MAX) {
		f->more = true;
		return true;
	}
	ENSURE(tls_results_name_parse(name, &start, &domain));
	struct relay_note *note = &f->notes[f->count];
	*note = (struct relay_note){
	    .name = arena_copy(f->arena, name),
	    .created_s = now,
	    .expires_s = start + RESULTS_PERIODS_MAX * relay_tlsrpt_period_s(relay),
	};
	if (relay_note_get(relay->reader, RELAY_NOTE_TLSRPT, name, now, &known) ==
	    STATUS_OK) {
		json_t *before = json_loadb(known.more.ptr, known.more.len, 0, NULL);
		if (before)
			tls_results_merge(policies, before);
		json_decref(before);
	}
	struct buf text AUTO_BUF;
	buf_init(&text, RELAY_NOTE_MORE_MAX);
	if (tls_results_write(policies, RELAY_NOTE_MORE_MAX, &text)) {
		note->more = arena_copy(f->arena, buf_slice(&text));
		f->count++;
	}
	json_decref(policies);
	results.pending_count--;
	return false;
}

static void
pending_free(void *value)
{
	json_decref(value);
}

static void
flush_now(void *arg)
{
	struct relay *relay = arg;
	if (!results.relay || results.flushing)
		return;
	struct flush *f = xcalloc(1, sizeof(*f));
	f->arena = arena_new(FLUSH_ARENA_MAX);
	f->notes = ARENA_ARRAY(f->arena, struct relay_note, FLUSH_NOTES_MAX);
	ENSURE(f->notes);
	hashmap_each(results.pending, flush_one, f);
	results.flushing = true;
	f->op = (struct relay_note_op){
	    .op = {.done = flushed, .user = f, .arena = f->arena},
	    .table = RELAY_NOTE_TLSRPT,
	    .notes = f->notes,
	    .count = f->count,
	    .now_s = clock_wall_s(),
	};
	if (f->count > 0) {
		relay_note_submit(relay->reader, &f->op);
		return;
	}
	f->op.op.status = STATUS_OK;
	flushed(&f->op.op);
}

static void
flush_later(uint64_t ms)
{
	struct relay *relay = results.relay;
	if (!relay)
		return;
	uint64_t quarter_ms = (uint64_t)relay_tlsrpt_period_s(relay) * 250;
	loop_timer_start(relay->loop, &results.timer, ms < quarter_ms ? ms : quarter_ms,
	    flush_now, relay);
}

void
relay_tlsrpt_start(struct relay *relay)
{
	results.relay = relay;
	results.pending = hashmap_new();
	flush_later(FLUSH_MS);
}

void
relay_tlsrpt_stop(void)
{
	if (!results.relay)
		return;
	results.relay = NULL;
	loop_timer_stop(&results.timer);
	hashmap_free(&results.pending, pending_free);
}
