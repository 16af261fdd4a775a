/*
 * explain: how mail from one address to another would leave, as the relay decides it: by
 * which rule, by which hosts, with which TLS, within which limits.  Asks the directory
 * and the resolver of the configuration; opens no connection.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "net/tls.h"
#include "postroom/cli.h"
#include "postroom/forward.h"
#include "service/relay_level.h"
#include "service/relay_pool.h"
#include "service/tenant.h"
#include "text/address.h"
#include "text/mta_sts.h"

enum { EXPLAIN_HOSTS_MAX = 10, EXPLAIN_PORT = 25, EXPLAIN_ADDRESS_MAX = 1024 };

/* One question and its answer, waited for. */
struct question {
	struct loop *loop;
	struct resolver *resolver;
	enum resolver_result result;
	bool secure;   /* the last answer, by DNSSEC */
	size_t usable; /* of TLSA records */
	json_t *found; /* of MX {preference, host}, of addresses texts */
	char why[200];
};

static json_t *
json_slice(struct slice s)
{
	return json_stringn(s.ptr ? s.ptr : "", s.len);
}

static void
answered(const struct resolver_answer *answer, void *arg)
{
	struct question *q = arg;
	q->result = answer->result;
	q->secure = answer->secure;
	q->usable = 0;
	snprintf(q->why, sizeof(q->why), "%s", answer->why ? answer->why : "");
	size_t count = answer->result == RESOLVER_OK ? answer->count : 0;
	for (size_t i = 0; i < count && !q->found; i++)
		q->usable += tls_tlsa_is_usable(answer->records[i].data);
	for (size_t i = 0; i < count && q->found; i++) {
		const struct resolver_record *r = &answer->records[i];
		char text[INET6_ADDRSTRLEN];
		if (r->data.len == 4 || r->data.len == 16) {
			if (inet_ntop(r->data.len == 4 ? AF_INET : AF_INET6, r->data.ptr,
				text, sizeof(text)))
				json_array_append_new(q->found, json_string(text));
		} else if (json_array_size(q->found) < EXPLAIN_HOSTS_MAX) {
			json_t *row = json_object();
			json_object_set_new(
			    row, "preference", json_integer(r->preference));
			json_object_set_new(row, "host", json_slice(r->name));
			json_array_append_new(q->found, row);
		}
	}
	loop_stop(q->loop);
}

static void
ask(struct question *q, struct slice name, enum resolver_type type, json_t *found)
{
	q->found = found;
	if (resolver_ask(q->resolver, name, type, answered, q))
		loop_run(q->loop);
}

/* *out_secure: DNSSEC vouches for one of them. */
static json_t *
addresses_of(struct question *q, struct slice host, bool *out_secure)
{
	json_t *addresses = json_array();
	ask(q, host, RESOLVER_A, addresses);
	*out_secure = q->result == RESOLVER_OK && q->secure;
	ask(q, host, RESOLVER_AAAA, addresses);
	*out_secure |= q->result == RESOLVER_OK && q->secure;
	return addresses;
}

/* What is known of the domain that decides about TLS; the relay does the same. */
struct tls_facts {
	struct relay_level_facts facts; /* of the domain; each host adds its own */
	struct mta_sts_policy policy;
	bool has_policy, dane;
	unsigned port;
};

static void
tls_facts_get(struct cli *cli, struct slice domain, struct tls_facts *out, json_t *told)
{
	struct relay_note note;
	*out = (struct tls_facts){
	    .facts = {.required = strcmp(cli->conf->relay.tls, "required") == 0},
	    .dane = cli->conf->relay.dane,
	    .port = cli->conf->relay.port ? cli->conf->relay.port : EXPLAIN_PORT,
	};
	if (relay_note_get(cli->reader, RELAY_NOTE_TLS, domain, clock_wall_s(), &note) ==
		STATUS_OK &&
	    note.kind <= RELAY_LEVEL_VERIFY) {
		out->facts.overridden = true;
		out->facts.override = (enum relay_level)note.kind;
		json_object_set_new(
		    told, "tls_set", json_string(relay_level_text(out->facts.override)));
		json_object_set_new(
		    told, "tls_set_expires", json_integer(note.expires_s));
	}
	if (cli->conf->relay.mta_sts &&
	    relay_note_get(cli->reader, RELAY_NOTE_STS, domain, clock_wall_s(), &note) ==
		STATUS_OK &&
	    mta_sts_policy_parse(note.more, &out->policy)) {
		out->has_policy = true;
		out->facts.sts_enforced = out->policy.mode == MTA_STS_ENFORCE;
		json_object_set_new(
		    told, "mta_sts", json_string(mta_sts_mode_text(out->policy.mode)));
		json_object_set_new(told, "mta_sts_id", json_slice(note.text));
	}
}

static void
explain_tls(struct question *q, const struct tls_facts *known, const char *host,
    bool address_secure, json_t *row)
{
	struct relay_level_facts facts = known->facts;
	enum relay_level level;
	const char *why = NULL;
	facts.sts_matches = known->has_policy &&
	                    mta_sts_mx_matches(&known->policy, slice_from_cstr(host));
	if (known->dane && facts.mx_secure && address_secure && !facts.overridden) {
		char name[300];
		snprintf(name, sizeof(name), "_%u._tcp.%s", known->port, host);
		ask(q, slice_from_cstr(name), RESOLVER_TLSA, NULL);
		if (q->result == RESOLVER_BOGUS || q->result == RESOLVER_FAILED) {
			json_object_set_new(row, "tls", json_string("not used now"));
			json_object_set_new(row, "problem",
			    json_string("its TLSA records cannot be had"));
			return;
		}
		if (q->result == RESOLVER_OK && q->secure)
			facts.tlsa = q->usable ? RELAY_TLSA_USABLE : RELAY_TLSA_UNUSABLE;
		json_object_set_new(row, "tlsa", json_integer((json_int_t)q->usable));
	}
	if (relay_level_decide(&facts, &level, &why)) {
		json_object_set_new(row, "tls", json_string(relay_level_text(level)));
	} else {
		json_object_set_new(row, "tls", json_string("not used"));
		json_object_set_new(row, "problem", json_string(why));
	}
}

/* "problem" instead of hosts when there are none. */
static void
explain_mx(struct question *q, const char *own, struct slice domain,
    struct tls_facts *known, json_t *out)
{
	json_t *hosts = json_array();
	ask(q, domain, RESOLVER_MX, hosts);
	known->facts.mx_secure = q->secure;
	const char *problem = NULL;
	const char *first =
	    json_string_value(json_object_get(json_array_get(hosts, 0), "host"));
	if (q->result == RESOLVER_NO_DATA)
		json_array_append_new(hosts,
		    json_pack("{s:i, s:o}", "preference", 0, "host", json_slice(domain)));
	else if (q->result == RESOLVER_NO_NAME)
		problem = "5.1.2 the domain does not exist";
	else if (q->result != RESOLVER_OK)
		problem = q->why[0] ? q->why : "the name servers do not answer";
	else if (json_array_size(hosts) == 1 && first && first[0] == '\0')
		problem = "5.1.10 the domain takes no mail (null MX)";
	json_object_set_new(
	    out, "mx_implicit", json_boolean(q->result == RESOLVER_NO_DATA));
	if (problem) {
		json_object_set_new(out, "problem", json_string(problem));
		json_array_clear(hosts);
	}
	size_t i;
	json_t *row;
	/* What is not better than this server itself is not used (RFC 5321 section 5.1).
	 */
	json_array_foreach(hosts, i, row)
	{
		if (strcasecmp(json_string_value(json_object_get(row, "host")), own) != 0)
			continue;
		json_int_t ours = json_integer_value(json_object_get(row, "preference"));
		while (i > 0 && json_integer_value(json_object_get(
				    json_array_get(hosts, i - 1), "preference")) == ours)
			i--;
		while (json_array_size(hosts) > i)
			json_array_remove(hosts, i);
		if (i == 0)
			json_object_set_new(
			    out, "problem", json_string("5.4.6 its MX is this server"));
		break;
	}
	json_array_foreach(hosts, i, row)
	{
		const char *host = json_string_value(json_object_get(row, "host"));
		bool secure;
		json_object_set_new(
		    row, "addresses", addresses_of(q, slice_from_cstr(host), &secure));
		explain_tls(q, known, host, secure, row);
	}
	json_object_set_new(out, "hosts", hosts);
}

static void
explain_limits(const struct conf *conf, json_t *out)
{
	json_t *retry = json_array();
	for (size_t i = 0; i < conf->relay.retry_count; i++)
		json_array_append_new(
		    retry, json_integer((json_int_t)conf->relay.retry_s[i]));
	json_object_set_new(out, "connections", json_integer(conf->relay.connections));
	json_object_set_new(out, "retry_s", retry);
	json_object_set_new(
	    out, "lifetime_s", json_integer((json_int_t)conf->relay.lifetime_s));
}

/* "rates": what the mail is under, by site, by sender and by tenant.  Who would log in is
 * not known here: a rule for the address counts as its log-in's. */
static void
explain_rates(struct cli *cli, struct slice from, struct slice domain,
    const struct tenant *tenant, json_t *out)
{
	static const enum relay_rate_scope scopes[] = {
	    RELAY_RATE_SITE, RELAY_RATE_SENDER, RELAY_RATE_SENDER, RELAY_RATE_TENANT};
	json_t *rates = json_array();
	size_t at = slice_rindex(from, '@');
	struct slice names[] = {domain, from,
	    at == SIZE_MAX ? SLICE_NULL : slice_from(from, at + 1), tenant->name};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		enum relay_rate_scope scope = scopes[i];
		struct relay_rate rate;
		char text[RELAY_RATE_TEXT_MAX];
		double used;
		if (names[i].len == 0 ||
		    relay_rate_find(cli->reader, cli->conf, scope, names[i], &rate) !=
			STATUS_OK ||
		    rate.count == 0 ||
		    relay_rate_used_find(cli->reader, scope, names[i], &rate,
			clock_wall_ms(), &used) != STATUS_OK)
			continue;
		relay_rate_text(&rate, text);
		json_array_append_new(
		    rates, json_pack("{s:s, s:o, s:s, s:f}", "scope",
			       relay_rate_scope_text(scope), "name", json_slice(names[i]),
			       "rate", text, "used", used));
	}
	json_object_set_new(out, "rates", rates);
}

/* "tenant": whose mail it is when somebody logs in with this address and submits it. */
static void
explain_tenant(struct cli *cli, struct slice from, struct tenant *tenant, json_t *out)
{
	*tenant = (struct tenant){0};
	if (service_tenant_of(cli->reader, from, from, tenant) != STATUS_OK)
		return;
	json_object_set_new(out, "tenant", json_slice(tenant->name));
	json_object_set_new(
	    out, "max_queued", json_integer((json_int_t)tenant->max_queued));
	if (tenant->dkim_domain.len)
		json_object_set_new(out, "dkim_domain", json_slice(tenant->dkim_domain));
}

/* "source": where mail would leave from: as the rule says, else the tenant, else the pool
 * for all. */
static void
explain_source(struct cli *cli, const struct directory_relay *rule,
    const struct tenant *tenant, json_t *out)
{
	struct relay_pool pool;
	bool of_rule = rule && rule->source.len;
	bool own = of_rule || tenant->pool.len;
	struct slice name = of_rule ? rule->source : tenant->pool;
	if (!own)
		name = SLICE(RELAY_POOL_DEFAULT);
	struct slice ehlo = rule ? rule->ehlo : SLICE_NULL;
	json_t *sources = json_array();
	enum status status = STATUS_NOT_FOUND;
	if (own || !rule || !rule->host.len)
		status = relay_pool_find(cli->reader, name, ehlo, &pool);
	if (own && status != STATUS_OK)
		json_object_set_new(out, "problem",
		    json_string(of_rule
				    ? "the rule's pool is not there: its mail waits"
				    : "the tenant's pool is not there: its mail waits"));
	for (size_t i = 0; status == STATUS_OK && i < pool.count; i++) {
		const struct relay_source *s = &pool.sources[i];
		json_array_append_new(
		    sources, json_pack("{s:s, s:s, s:i}", "address", s->text, "ehlo",
				 s->ehlo[0] ? s->ehlo : cli->conf->hostname, "weight",
				 (int)s->weight));
	}
	if (status == STATUS_OK)
		json_object_set_new(out, "pool", json_slice(name));
	if (status == STATUS_OK)
		json_object_set_new(out, "pool_by",
		    json_string(of_rule ? "rule"
				: own   ? "tenant"
					: "default"));
	else
		json_object_set_new(out, "ehlo",
		    ehlo.len ? json_slice(ehlo) : json_string(cli->conf->hostname));
	json_object_set_new(out, "sources", sources);
}

static void
explain_rule(struct question *q, const struct directory_relay *rule, json_t *out)
{
	static const char *const tls[] = {"opportunistic", "none", "required"};
	json_object_set_new(out, "route", json_string("rule"));
	json_object_set_new(out, "rule", json_slice(rule->id));
	json_object_set_new(
	    out, "rule_from", rule->from.len ? json_slice(rule->from) : json_string("*"));
	json_object_set_new(
	    out, "rule_to", rule->to.len ? json_slice(rule->to) : json_string("*"));
	json_object_set_new(out, "protocol", json_string(rule->lmtp ? "lmtp" : "smtp"));
	if (rule->port)
		json_object_set_new(out, "port", json_integer(rule->port));
	json_object_set_new(out, "tls", json_string(tls[rule->tls]));
	if (rule->user.len)
		json_object_set_new(out, "user", json_slice(rule->user));
	json_t *row = json_object();
	json_object_set_new(row, "host", json_slice(rule->host));
	bool secure;
	/* A Unix socket has none. */
	json_object_set_new(row, "addresses",
	    rule->port ? addresses_of(q, rule->host, &secure) : json_array());
	json_object_set_new(out, "hosts", json_pack("[o]", row));
}

static void
explain_print(const json_t *out)
{
	const char *rule = json_string_value(json_object_get(out, "rule"));
	const char *problem = json_string_value(json_object_get(out, "problem"));
	const char *route = json_string_value(json_object_get(out, "route"));
	if (strcmp(route, "local") == 0) {
		puts("delivered here: the domain is served by this server");
		forward_explain_print(out);
		return;
	}
	if (rule && strcmp(route, "mx") == 0)
		printf("route        by MX, from where relay rule %s says\n", rule);
	else if (rule)
		printf("route        relay rule %s (from %s to %s)\n", rule,
		    json_string_value(json_object_get(out, "rule_from")),
		    json_string_value(json_object_get(out, "rule_to")));
	else
		printf("route        by MX%s\n",
		    json_is_true(json_object_get(out, "mx_implicit"))
			? ", there is none: the domain's own address"
			: "");
	const char *tenant = json_string_value(json_object_get(out, "tenant"));
	if (tenant)
		printf("tenant       %s\n", tenant);
	if (problem)
		printf("problem      %s\n", problem);
	size_t i, k;
	json_t *row, *address;
	json_array_foreach(json_object_get(out, "hosts"), i, row)
	{
		printf(
		    "host         %s", json_string_value(json_object_get(row, "host")));
		json_array_foreach(json_object_get(row, "addresses"), k, address)
		    printf(" %s", json_string_value(address));
		const char *tls = json_string_value(json_object_get(row, "tls"));
		const char *trouble = json_string_value(json_object_get(row, "problem"));
		printf("%s%s%s%s\n", tls ? ", TLS " : "", tls ? tls : "",
		    trouble ? ": " : "", trouble ? trouble : "");
	}
	const char *set = json_string_value(json_object_get(out, "tls_set"));
	const char *sts = json_string_value(json_object_get(out, "mta_sts"));
	if (set)
		printf("set          TLS %s, by postroom relay tls\n", set);
	if (sts)
		printf("MTA-STS      %s\n", sts);
	const char *protocol = json_string_value(json_object_get(out, "protocol"));
	if (protocol && strcmp(protocol, "lmtp") == 0)
		puts("protocol     LMTP");
	if (json_object_get(out, "port"))
		printf("port         %lld\n",
		    (long long)json_integer_value(json_object_get(out, "port")));
	printf("TLS          %s\nconnections  at most %lld at once\n",
	    json_string_value(json_object_get(out, "tls")),
	    (long long)json_integer_value(json_object_get(out, "connections")));
	json_array_foreach(json_object_get(out, "sources"), i, row)
	    printf("from         %s as %s, weight %lld (pool %s, by %s)\n",
		json_string_value(json_object_get(row, "address")),
		json_string_value(json_object_get(row, "ehlo")),
		(long long)json_integer_value(json_object_get(row, "weight")),
		json_string_value(json_object_get(out, "pool")),
		json_string_value(json_object_get(out, "pool_by")));
	json_array_foreach(json_object_get(out, "rates"), i, row)
	    printf("rate         %s messages, %s %s, used %.1f\n",
		json_string_value(json_object_get(row, "rate")),
		json_string_value(json_object_get(row, "scope")),
		json_string_value(json_object_get(row, "name")),
		json_real_value(json_object_get(row, "used")));
}

static int
resolver_open(struct cli *cli, struct question *q)
{
	const struct conf *conf = cli->conf;
	char *error = NULL;
	q->loop = loop_new();
	enum status status =
	    conf->dns.script[0]
		? resolver_new_script(q->loop, conf->dns.script, &q->resolver, &error)
		: resolver_new(q->loop, (const char *const *)conf->dns.servers.items,
		      conf->dns.servers.count, conf->dns.timeout_ms, conf->dns.anchors,
		      &q->resolver);
	int code = status == STATUS_OK ? CLI_OK
	                               : cli_fail(CLI_CONFIG, "no resolver: %s",
					     error ? error : status_text(status));
	free(error);
	return code;
}

static void
explain_route(struct cli *cli, struct question *q, struct slice from, struct slice to,
    struct slice domain, json_t *out)
{
	struct directory_domain found;
	struct directory_relay rule;
	if (directory_domain_find(cli->reader, domain, &found) == STATUS_OK) {
		json_object_set_new(out, "route", json_string("local"));
		forward_explain(cli, from, to, out);
		return;
	}
	explain_limits(cli->conf, out);
	struct tenant tenant;
	explain_tenant(cli, from, &tenant, out);
	explain_rates(cli, from, domain, &tenant, out);
	bool ruled = directory_relay_find(cli->reader, from, domain, &rule) == STATUS_OK;
	explain_source(cli, ruled ? &rule : NULL, &tenant, out);
	if (ruled && rule.host.len) {
		explain_rule(q, &rule, out);
		return;
	}
	if (ruled)
		json_object_set_new(out, "rule", json_slice(rule.id));
	json_object_set_new(out, "route", json_string("mx"));
	json_object_set_new(out, "port",
	    json_integer(cli->conf->relay.port ? cli->conf->relay.port : EXPLAIN_PORT));
	json_object_set_new(out, "tls", json_string(cli->conf->relay.tls));
	struct tls_facts known;
	tls_facts_get(cli, domain, &known, out);
	explain_mx(q, cli->conf->hostname, domain, &known, out);
}

int
cmd_explain(struct cli *cli)
{
	const char *from = cli_option(cli, "--from");
	const char *to = cli_option(cli, "--to");
	if (!to)
		return cli_fail(CLI_USAGE, "explain [--from ADDRESS] --to ADDRESS");
	if (!from)
		from = "";
	struct slice domain = slice_from_cstr(to);
	size_t at = slice_rindex(domain, '@');
	struct buf ascii AUTO_BUF;
	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	if (at == SIZE_MAX ||
	    !address_domain_to_ascii(slice_from(domain, at + 1), &ascii))
		return cli_fail(CLI_DATA, "%s is no address", to);
	struct question q = {.result = RESOLVER_FAILED};
	int code = cli_need_store(cli);
	if (code == CLI_OK)
		code = resolver_open(cli, &q);
	if (code == CLI_OK) {
		json_t *out = json_object();
		json_object_set_new(out, "from", json_string(from));
		json_object_set_new(out, "to", json_string(to));
		/* The recipient with its domain as A-labels. */
		struct buf recipient AUTO_BUF;
		buf_init(&recipient, EXPLAIN_ADDRESS_MAX);
		buf_append(&recipient, slice_sub(slice_from_cstr(to), 0, at + 1));
		buf_append(&recipient, buf_slice(&ascii));
		explain_route(cli, &q, slice_from_cstr(from), buf_slice(&recipient),
		    buf_slice(&ascii), out);
		if (cli->json) {
			cli_json_print(out);
		} else {
			explain_print(out);
		}
		json_decref(out);
		resolver_free(&q.resolver);
	}
	if (q.loop)
		loop_free(&q.loop);
	return code;
}
