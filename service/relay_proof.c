/*
 * The open-relay proof; see relay_proof.h.  The matrix is that of tests against mail
 * servers since the 1990s, and of sender rewriting.  A row fails when it is accepted and
 * leads to the domain that the stranger chose; what aliases of ours lead to is the
 * operator's wish.
 */
#include "service/relay_proof.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "net/network.h"
#include "service/smtp_recipient.h"
#include "service/smtp_route.h"

enum { PROOF_ARENA_MAX = 4 * 1024 * 1024, PROOF_PATH_MAX = 1024 };

#define OUTSIDE_DOMAIN "relay-test.invalid" /* RFC 6761: nobody's */

/* Clients that are nobody's either (RFC 5737, RFC 3849). */
static const char *const outside[] = {
    "203.0.113.99", "198.51.100.99", "192.0.2.99", "2001:db8::99"};

/* "{us}" and "{out}" stand for the domains. */
static const char *const matrix[] = {
    "<user@{out}>",
    "<user%{out}@{us}>",
    "<user%{us}@{out}>",
    "<\"user@{out}\"@{us}>",
    "<\"user%{out}\"@{us}>",
    "<@{us}:user@{out}>",
    "<@{us},@{out}:user@{out}>",
    "<@{out}:user%{out}@{us}>",
    "<user@{out}@{us}>",
    "<user@{us}@{out}>",
    "<{out}!user@{us}>",
    "<{us}!{out}!user>",
    "<{out}!user@{out}>",
    "<\"{out}!user\"@{us}>",
    "<user@[203.0.113.9]>",
    "<user@[IPv6:2001:db8::9]>",
    "<user@{us}.{out}>",
    "<user@{out}.{us}>",
    "<user@x-{us}>",
    "<SRS0=AAAAAAAA=AA={out}=user@{us}>",
    "<SRS0+AAAAAAAA=AA={out}=user@{us}>",
    "<SRS1=AAAAAAAA={out}==AA=x=user@{us}>",
    "<postmaster%{out}@{us}>",
};

/* ---- networks ---- */

static bool
client_is_in(const char *client, const struct conf_list *networks)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, client, &v4.sin_addr) == 1)
		return network_list_has(
		    (const void *)&v4, networks->items, networks->count);
	return inet_pton(AF_INET6, client, &v6.sin6_addr) == 1 &&
	       network_list_has((const void *)&v6, networks->items, networks->count);
}

/* Wider than anybody's own network can be; private space (fc00::/7) is not. */
static bool
network_is_everybody(const char *network)
{
	struct slice rest = slice_from_cstr(network);
	struct slice ip = slice_split(&rest, '/');
	bool six = slice_index(ip, ':') != SIZE_MAX;
	uint64_t bits;
	if (!slice_to_u64(rest, 128, &bits))
		return true;
	if (six && (slice_has_prefix_nocase(ip, SLICE("fc")) ||
		       slice_has_prefix_nocase(ip, SLICE("fd")) ||
		       slice_has_prefix_nocase(ip, SLICE("fe8"))))
		return bits < 7;
	return bits < (six ? RELAY_PROOF_V6_BITS_MIN : RELAY_PROOF_V4_BITS_MIN);
}

static bool
list_is_narrow(const struct conf_list *list, const char *key, struct buf *out_why)
{
	for (size_t i = 0; i < list->count; i++) {
		if (!network_is_everybody(list->items[i]))
			continue;
		buf_append_format(out_why,
		    "%s has %s: that is everybody, who could then send to anywhere by "
		    "this server; name your own networks only",
		    key, list->items[i]);
		return false;
	}
	return true;
}

bool
relay_proof_networks(const struct conf *conf, struct buf *out_why)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_listener *l = &conf->listeners[i];
		if (l->protocol != CONF_IMAP && l->protocol != CONF_POP3 &&
		    !list_is_narrow(&l->proxy_networks, "proxy_networks", out_why))
			return false;
	}
	return list_is_narrow(
		   &conf->smtp.trusted_networks, "smtp.trusted_networks", out_why) &&
	       list_is_narrow(
		   &conf->smtp.xclient_networks, "smtp.xclient_networks", out_why);
}

/* ---- the matrix ---- */

static void
row_write(const char *row, struct slice domain, struct buf *out)
{
	struct slice rest = slice_from_cstr(row);
	while (rest.len > 0) {
		if (slice_has_prefix(rest, SLICE("{us}"))) {
			buf_append(out, domain);
			rest = slice_from(rest, 4);
		} else if (slice_has_prefix(rest, SLICE("{out}"))) {
			buf_append_cstr(out, OUTSIDE_DOMAIN);
			rest = slice_from(rest, 5);
		} else {
			buf_append_byte(out, rest.ptr[0]);
			rest = slice_from(rest, 1);
		}
	}
}

static bool
leads_outside(const struct directory_target *targets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t at = slice_rindex(targets[i].address, '@');
		if (!targets[i].local && at != SIZE_MAX &&
		    slice_equal_nocase(
			slice_from(targets[i].address, at + 1), SLICE(OUTSIDE_DOMAIN)))
			return true;
	}
	return false;
}

/* False when a client from outside may send to it; *out_status: whether it is known. */
static bool
row_holds(const struct relay_proof *proof, struct slice path, bool trusted,
    struct arena *arena, enum status *out_status)
{
	struct mailbox_address address;
	struct directory_target *targets = NULL;
	struct smtp_route_facts facts = {.trusted = trusted};
	size_t used = 0;
	size_t count = 0;
	*out_status = STATUS_OK;
	/* What does not parse is refused before anything is asked. */
	if (address_parse_path(path, false, arena, &address, &used) != ADDRESS_OK ||
	    used != path.len)
		return true;
	*out_status =
	    proof->resolve(&address, arena, &facts.answer, &targets, &count, proof->arg);
	if (*out_status != STATUS_OK)
		return false;
	facts.targets = count;
	for (size_t i = 0; i < count; i++)
		facts.over_quota += targets[i].local && targets[i].over_quota;
	enum smtp_route route = smtp_route_decide(&facts);
	return route != SMTP_ROUTE_RELAY &&
	       !(route == SMTP_ROUTE_TARGETS && leads_outside(targets, count));
}

bool
relay_proof_domain(const struct relay_proof *proof, struct slice domain, size_t *tried,
    struct buf *out_why)
{
	const char *client = outside[0];
	bool trusted = false;
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]) && !trusted; i++) {
		trusted = client_is_in(outside[i], &proof->conf->smtp.trusted_networks);
		if (trusted)
			client = outside[i];
	}
	for (size_t i = 0; i < sizeof(matrix) / sizeof(matrix[0]); i++) {
		struct buf path AUTO_BUF;
		buf_init(&path, PROOF_PATH_MAX);
		row_write(matrix[i], domain, &path);
		struct arena *arena = arena_new(PROOF_ARENA_MAX);
		enum status status;
		bool holds = row_holds(proof, buf_slice(&path), trusted, arena, &status);
		arena_free(&arena);
		++*tried;
		if (holds)
			continue;
		if (status != STATUS_OK)
			buf_append_format(out_why,
			    "it could not be proved that nobody can relay: %s",
			    status_text(status));
		else
			buf_append_format(out_why,
			    "an open relay: a client from %s that has not logged in "
			    "could "
			    "send to %.*s%s",
			    client, (int)path.len, path.ptr,
			    trusted ? "; see smtp.trusted_networks" : "");
		return false;
	}
	return true;
}

/* ---- all of it ---- */

struct here {
	struct store_reader *reader;
	const struct conf *conf;
};

static enum status
resolve_here(const struct mailbox_address *address, struct arena *arena,
    enum directory_answer *out_answer, struct directory_target **out_targets,
    size_t *out_count, void *arg)
{
	const struct here *here = arg;
	return smtp_recipient_resolve(here->reader, address,
	    slice_from_cstr(here->conf->smtp.recipient_delimiter), arena, out_answer,
	    out_targets, out_count);
}

/* Names of domains, one a line; the walk's snapshot must not be held over look-ups. */
struct names {
	struct buf text;
	size_t count;
};

static bool
name_note(const struct directory_domain *domain, void *arg)
{
	struct names *names = arg;
	buf_append(&names->text, domain->name);
	buf_append_byte(&names->text, '\n');
	return ++names->count < RELAY_PROOF_DOMAINS_MAX;
}

bool
relay_proof_run(struct store_reader *reader, const struct conf *conf, size_t *out_tried,
    struct buf *out_why)
{
	*out_tried = 0;
	if (!relay_proof_networks(conf, out_why))
		return false;
	if (!reader)
		return true;
	struct names names = {.count = 0};
	buf_init(&names.text, (size_t)RELAY_PROOF_DOMAINS_MAX * (ADDRESS_DOMAIN_MAX + 1));
	enum status status = directory_domain_each(reader, name_note, &names);
	struct here here = {reader, conf};
	const struct relay_proof proof = {
	    .conf = conf, .resolve = resolve_here, .arg = &here};
	bool holds = status == STATUS_OK;
	if (!holds)
		buf_append_format(
		    out_why, "the domains could not be read: %s", status_text(status));
	/* Without any domain nothing may be taken either. */
	if (holds && names.count == 0)
		holds =
		    relay_proof_domain(&proof, SLICE("us.example"), out_tried, out_why);
	struct slice rest = buf_slice(&names.text);
	while (holds && rest.len > 0)
		holds = relay_proof_domain(
		    &proof, slice_split(&rest, '\n'), out_tried, out_why);
	buf_fini(&names.text);
	return holds;
}
