/*
 * explain: how mail from one address to another would leave, as the relay decides it: by
 * which rule, by which hosts, with which TLS, within which limits.  Asks the directory
 * and the resolver of the configuration; opens no connection.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "net/loop.h"
#include "net/resolver.h"
#include "postroom/cli.h"
#include "text/address.h"

enum { EXPLAIN_HOSTS_MAX = 10, EXPLAIN_PORT = 25 };

/* One question and its answer, waited for. */
struct question {
	struct loop *loop;
	struct resolver *resolver;
	enum resolver_result result;
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
	snprintf(q->why, sizeof(q->why), "%s", answer->why ? answer->why : "");
	size_t count = answer->result == RESOLVER_OK ? answer->count : 0;
	for (size_t i = 0; i < count; i++) {
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

static json_t *
addresses_of(struct question *q, struct slice host)
{
	json_t *addresses = json_array();
	ask(q, host, RESOLVER_A, addresses);
	ask(q, host, RESOLVER_AAAA, addresses);
	return addresses;
}

/* "problem" instead of hosts when there are none. */
static void
explain_mx(struct question *q, const char *own, struct slice domain, json_t *out)
{
	json_t *hosts = json_array();
	ask(q, domain, RESOLVER_MX, hosts);
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
		json_object_set_new(
		    row, "addresses", addresses_of(q, slice_from_cstr(host)));
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
	json_object_set_new(out, "port", json_integer(rule->port));
	json_object_set_new(out, "tls", json_string(tls[rule->tls]));
	if (rule->user.len)
		json_object_set_new(out, "user", json_slice(rule->user));
	json_t *row = json_object();
	json_object_set_new(row, "host", json_slice(rule->host));
	json_object_set_new(row, "addresses", addresses_of(q, rule->host));
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
		return;
	}
	if (rule)
		printf("route        relay rule %s (from %s to %s)\n", rule,
		    json_string_value(json_object_get(out, "rule_from")),
		    json_string_value(json_object_get(out, "rule_to")));
	else
		printf("route        by MX%s\n",
		    json_is_true(json_object_get(out, "mx_implicit"))
			? ", there is none: the domain's own address"
			: "");
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
		putchar('\n');
	}
	printf("port         %lld\nTLS          %s\nconnections  at most %lld at once\n",
	    (long long)json_integer_value(json_object_get(out, "port")),
	    json_string_value(json_object_get(out, "tls")),
	    (long long)json_integer_value(json_object_get(out, "connections")));
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
		      conf->dns.servers.count, conf->dns.timeout_ms, &q->resolver);
	int code = status == STATUS_OK ? CLI_OK
	                               : cli_fail(CLI_CONFIG, "no resolver: %s",
					     error ? error : status_text(status));
	free(error);
	return code;
}

static void
explain_route(struct cli *cli, struct question *q, struct slice from, struct slice domain,
    json_t *out)
{
	struct directory_domain found;
	struct directory_relay rule;
	if (directory_domain_find(cli->reader, domain, &found) == STATUS_OK) {
		json_object_set_new(out, "route", json_string("local"));
		return;
	}
	explain_limits(cli->conf, out);
	if (directory_relay_find(cli->reader, from, domain, &rule) == STATUS_OK) {
		explain_rule(q, &rule, out);
		return;
	}
	json_object_set_new(out, "route", json_string("mx"));
	json_object_set_new(out, "port",
	    json_integer(cli->conf->relay.port ? cli->conf->relay.port : EXPLAIN_PORT));
	json_object_set_new(out, "tls", json_string(cli->conf->relay.tls));
	explain_mx(q, cli->conf->hostname, domain, out);
}

int
cmd_explain(struct cli *cli)
{
	const char *from = cli_option(cli, "--from");
	const char *to = cli_option(cli, "--to");
	if (!from || !to)
		return cli_fail(CLI_USAGE, "explain --from ADDRESS --to ADDRESS");
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
		explain_route(cli, &q, slice_from_cstr(from), buf_slice(&ascii), out);
		if (cli->json) {
			json_dumpf(out, stdout, JSON_INDENT(2));
			putchar('\n');
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
