/*
 * MTA-STS policies; see relay_sts.h.
 *
 *   TXT _mta-sts.D ─► cached with that id? ─► A, AAAA mta-sts.D ─► https ─► store
 *         └── none, or a failure at any step ──► what is cached, else none
 */
#include "smtpd/relay_sts.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "net/http.h"
#include "store/relay_note.h"

enum { STS_ARENA_MAX = 64 * 1024, HTTP_OK = 200 };

struct sts_find {
	struct relay *relay;
	relay_sts_fn fn;
	void *arg;
	char domain[254];
	char host[270]; /* "mta-sts." and the domain */
	char id[MTA_STS_ID_MAX + 1];
	bool asking_aaaa;
};

struct sts_store {
	struct relay_note_op op;
	struct relay_note note;
	struct arena *arena;
};

static void
find_end(struct sts_find *find, const struct mta_sts_policy *policy, struct slice text)
{
	relay_sts_fn fn = find->fn;
	void *arg = find->arg;
	free(find);
	fn(policy && policy->mode != MTA_STS_NONE ? policy : NULL, text, arg);
}

static bool
cached_get(struct sts_find *find, struct relay_note *out)
{
	enum status status = relay_note_get(find->relay->reader, RELAY_NOTE_STS,
	    slice_from_cstr(find->domain), clock_wall_s(), out);
	return status == STATUS_OK;
}

static void
use_cached(struct sts_find *find, const char *why)
{
	struct relay_note note;
	struct mta_sts_policy policy;
	if (why) {
		LOG_INFO("relay.mta_sts", LF_STR("domain", find->domain),
		    LF_STR("reason", why));
		relay_tlsrpt_domain(find->relay, find->domain, NULL, "sts",
		    "sts-policy-fetch-error", why);
	}
	if (cached_get(find, &note) && mta_sts_policy_parse(note.more, &policy))
		find_end(find, &policy, note.more);
	else
		find_end(find, NULL, SLICE_NULL);
}

/* ---- the store ---- */

static void
stored(struct store_op *op)
{
	struct sts_store *store = op->user;
	/* What is not kept is fetched again. */
	if (op->status != STATUS_OK)
		LOG_ERROR("store.error", LF_STR("op", "MTA-STS policy"),
		    LF_STR("status", status_text(op->status)));
	arena_free(&store->arena);
	free(store);
}

static void
keep(struct sts_find *find, const struct mta_sts_policy *policy, struct slice text)
{
	struct sts_store *store = xcalloc(1, sizeof(*store));
	int64_t now = clock_wall_s();
	store->arena = arena_new(STS_ARENA_MAX);
	store->note = (struct relay_note){
	    .name = arena_copy(store->arena, slice_from_cstr(find->domain)),
	    .kind = (uint8_t)policy->mode,
	    .created_s = now,
	    .expires_s = now + policy->max_age_s,
	    .text = arena_copy(store->arena, slice_from_cstr(find->id)),
	    .more = arena_copy(store->arena, text),
	};
	store->op = (struct relay_note_op){
	    .op = {.done = stored, .user = store, .arena = store->arena},
	    .table = RELAY_NOTE_STS,
	    .notes = &store->note,
	    .count = 1,
	    .now_s = now,
	};
	relay_note_submit(find->relay->reader, &store->op);
}

/* ---- the fetch ---- */

/* http_fn */
static void
fetched(const struct http_answer *answer, void *arg)
{
	struct sts_find *find = arg;
	struct mta_sts_policy policy;
	char why[300];
	if (answer->code == 0) {
		snprintf(why, sizeof(why), "not fetched: %s", answer->error);
		use_cached(find, why);
		return;
	}
	if (answer->code != HTTP_OK ||
	    !slice_has_prefix_nocase(
		slice_from_cstr(answer->type), SLICE("text/plain"))) {
		snprintf(
		    why, sizeof(why), "answer %d of type %s", answer->code, answer->type);
		use_cached(find, why);
		return;
	}
	if (!mta_sts_policy_parse(answer->body, &policy)) {
		use_cached(find, "the text is no policy");
		return;
	}
	keep(find, &policy, answer->body);
	find_end(find, &policy, answer->body);
}

static void host_ask(struct sts_find *find);

/* resolver_fn */
static void
host_answer(const struct resolver_answer *answer, void *arg)
{
	struct sts_find *find = arg;
	const struct conf *conf = service_conf(find->relay->service);
	struct relay_address a = {0};
	char text[INET6_ADDRSTRLEN];
	char url[400];
	for (size_t i = 0; answer->result == RESOLVER_OK && i < answer->count; i++) {
		struct slice data = answer->records[i].data;
		if ((data.len != 4 && data.len != 16) ||
		    !inet_ntop(data.len == 4 ? AF_INET : AF_INET6, data.ptr, text,
			sizeof(text)) ||
		    !relay_address_literal(text, conf->relay.mta_sts_port, &a))
			continue;
		if (!conf->relay.allow_private &&
		    address_is_private((const struct sockaddr *)&a.address))
			continue;
		snprintf(url, sizeof(url), "https://%s:%u/.well-known/mta-sts.txt",
		    find->host, (unsigned)conf->relay.mta_sts_port);
		http_get(find->relay->http,
		    &(struct http_request){
			.url = url,
			.address = text,
			.ca_file = conf->tls.ca_file,
			.size_max = MTA_STS_POLICY_MAX,
			.timeout_ms = RELAY_STS_TIMEOUT_MS,
		    },
		    fetched, find);
		return;
	}
	if (find->asking_aaaa) {
		use_cached(find, "its policy host has no address that may be used");
		return;
	}
	find->asking_aaaa = true;
	host_ask(find);
}

static void
host_ask(struct sts_find *find)
{
	resolver_ask(find->relay->resolver, slice_from_cstr(find->host),
	    find->asking_aaaa ? RESOLVER_AAAA : RESOLVER_A, host_answer, find);
}

/* The id when there is exactly one record (RFC 8461 section 3.1). */
static bool
id_find(const struct resolver_answer *answer, char out[MTA_STS_ID_MAX + 1])
{
	size_t found = 0;
	for (size_t i = 0; answer->result == RESOLVER_OK && i < answer->count; i++) {
		struct slice id;
		if (!mta_sts_record_parse(answer->records[i].data, &id))
			continue;
		found++;
		(void)slice_copy_cstr(id, out, MTA_STS_ID_MAX + 1);
	}
	return found == 1;
}

/* resolver_fn */
static void
txt_answer(const struct resolver_answer *answer, void *arg)
{
	struct sts_find *find = arg;
	struct relay_note note;
	if (!id_find(answer, find->id)) {
		use_cached(find, NULL);
		return;
	}
	if (cached_get(find, &note) &&
	    slice_equal(note.text, slice_from_cstr(find->id)) &&
	    clock_wall_s() - note.created_s < RELAY_STS_REFRESH_S) {
		use_cached(find, NULL);
		return;
	}
	host_ask(find);
}

void
relay_sts_find(struct relay *relay, struct slice domain, relay_sts_fn fn, void *arg)
{
	struct sts_find *find = xcalloc(1, sizeof(*find));
	char name[280];
	find->relay = relay;
	find->fn = fn;
	find->arg = arg;
	snprintf(find->domain, sizeof(find->domain), "%.*s", SLICE_ARG(domain));
	snprintf(find->host, sizeof(find->host), "mta-sts.%s", find->domain);
	snprintf(name, sizeof(name), "_mta-sts.%s", find->domain);
	/* A name that is too long fails in the resolver, and then there is no policy. */
	resolver_ask(
	    relay->resolver, slice_from_cstr(name), RESOLVER_TXT, txt_answer, find);
}
