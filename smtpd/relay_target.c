/*
 * Where a site's mail goes, and how well each host's connections must be protected: MX
 * hosts in order of preference, or the domain itself when it has none (RFC 5321 section
 * 5.1), null MX (RFC 7505), never to ourselves, and never to private addresses found by
 * MX unless the operator allows it.  A relay rule's host is taken as it is.
 *
 *   [MTA-STS] ─► MX ─► of each host: A ─► AAAA ─► [TLSA] ─► its level, or it is left out
 *
 * TLSA records are asked for only where DNSSEC vouches for the MX and for the host's
 * address (RFC 7672 section 2.2); a failure to get them leaves the host out.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/ids.h"
#include "net/tls.h"
#include "smtpd/relay_int.h"
#include "smtpd/relay_sts.h"
#include "store/relay_note.h"
#include "text/address.h"

/* One lookup of a site. */
struct relay_lookup {
	struct relay_site *site;
	char domain[256]; /* A-labels */
	char hosts[RELAY_MX_MAX][256];
	size_t host_count;
	size_t host;       /* being asked for */
	size_t host_first; /* its first address */
	bool host_secure;  /* DNSSEC vouches for one of its addresses */
	bool asking_aaaa;
	bool mx_secure;
	bool overridden;
	enum relay_level override;
	char *sts_text; /* null: no policy; else what sts_policy borrows */
	struct mta_sts_policy sts_policy;
	struct relay_tlsa *tlsa[RELAY_MX_MAX];
	bool failed;  /* some answer was a passing failure */
	bool refused; /* some host may not be used */
	bool private_seen;
	uint32_t ttl_s;
	char why[200];
	struct relay_address addresses[RELAY_ADDRESSES_MAX];
	size_t address_count;
};

static void host_ask(struct relay_lookup *lookup);
static void tlsa_ask(struct relay_lookup *lookup);
static enum relay_level rule_level(const struct relay_site *site);

static bool
address_set(struct relay_address *out, int family, const void *bytes, uint16_t port)
{
	memset(&out->address, 0, sizeof(out->address));
	if (family == AF_INET) {
		struct sockaddr_in *in = (void *)&out->address;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, bytes, 4);
		out->len = sizeof(*in);
	} else {
		struct sockaddr_in6 *in6 = (void *)&out->address;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		memcpy(&in6->sin6_addr, bytes, 16);
		out->len = sizeof(*in6);
	}
	return true;
}

bool
relay_address_literal(const char *text, uint16_t port, struct relay_address *out)
{
	char plain[256];
	struct slice s = slice_from_cstr(text);
	if (s.len > 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']')
		s = slice_sub(s, 1, s.len - 2);
	if (slice_has_prefix_nocase(s, SLICE("IPv6:")))
		s = slice_from(s, 5);
	unsigned char bytes[16];
	if (!slice_copy_cstr(s, plain, sizeof(plain)))
		return false;
	snprintf(out->host, sizeof(out->host), "%s", plain);
	if (inet_pton(AF_INET, plain, bytes) == 1)
		return address_set(out, AF_INET, bytes, port);
	if (inet_pton(AF_INET6, plain, bytes) == 1)
		return address_set(out, AF_INET6, bytes, port);
	return false;
}

bool
relay_address_path(const char *text, struct relay_address *out)
{
	struct sockaddr_un *un = (void *)&out->address;
	_Static_assert(sizeof(*un) <= sizeof(out->address), "a path fits");
	memset(&out->address, 0, sizeof(out->address));
	if (text[0] != '/' ||
	    !slice_copy_cstr(slice_from_cstr(text), un->sun_path, sizeof(un->sun_path)))
		return false;
	un->sun_family = AF_UNIX;
	out->len = sizeof(*un);
	return slice_copy_cstr(slice_from_cstr(text), out->host, sizeof(out->host));
}

static void
lookup_free(struct relay_lookup *lookup)
{
	lookup->site->lookup = NULL;
	for (size_t i = 0; i < RELAY_MX_MAX; i++)
		free(lookup->tlsa[i]);
	free(lookup->sts_text);
	free(lookup);
}

static void
lookup_fail(struct relay_lookup *lookup, enum queue_outcome outcome, const char *reply)
{
	struct relay_site *site = lookup->site;
	site->state = SITE_UNKNOWN;
	lookup_free(lookup);
	relay_site_fail(site, outcome, reply);
}

static void
lookup_finish(struct relay_lookup *lookup)
{
	struct relay_site *site = lookup->site;
	char reply[512];
	if (lookup->address_count == 0) {
		if (lookup->failed) {
			snprintf(reply, sizeof(reply),
			    "451 4.4.3 the hosts of %s could not be looked up: %s",
			    site->domain, lookup->why);
			lookup_fail(lookup, QUEUE_DEFERRED, reply);
		} else if (lookup->refused) {
			/* A policy may be mended; what a message demands is final. */
			bool final = site->want == RELAY_WANT_TLS;
			snprintf(reply, sizeof(reply), "%s no host of %s may be used: %s",
			    final ? "550 5.7.30" : "451 4.7.5", site->domain,
			    lookup->why);
			lookup_fail(lookup, final ? QUEUE_FAILED : QUEUE_DEFERRED, reply);
		} else if (lookup->private_seen) {
			snprintf(reply, sizeof(reply),
			    "550 5.4.4 %s points to a private address only",
			    site->domain);
			lookup_fail(lookup, QUEUE_FAILED, reply);
		} else {
			snprintf(reply, sizeof(reply),
			    "550 5.4.4 no host of %s has an address", site->domain);
			lookup_fail(lookup, QUEUE_FAILED, reply);
		}
		return;
	}
	struct relay_hosts *hosts = xcalloc(
	    1, sizeof(*hosts) + lookup->address_count * sizeof(hosts->addresses[0]));
	hosts->refs = 1;
	hosts->count = lookup->address_count;
	memcpy(hosts->addresses, lookup->addresses,
	    lookup->address_count * sizeof(hosts->addresses[0]));
	memcpy(hosts->tlsa, lookup->tlsa, sizeof(hosts->tlsa));
	memset(lookup->tlsa, 0, sizeof(lookup->tlsa));
	relay_hosts_unref(&site->hosts);
	site->hosts = hosts;
	uint32_t ttl = lookup->ttl_s;
	if (ttl < RELAY_SITE_TTL_S_MIN)
		ttl = RELAY_SITE_TTL_S_MIN;
	if (ttl > RELAY_SITE_TTL_S_MAX)
		ttl = RELAY_SITE_TTL_S_MAX;
	site->known_until_s = (int64_t)(clock_mono_ms() / 1000) + ttl;
	site->state = SITE_KNOWN;
	lookup_free(lookup);
	relay_site_run(site);
}

static void
failure_note(struct relay_lookup *lookup, const struct resolver_answer *answer)
{
	if (answer->result != RESOLVER_BOGUS && answer->result != RESOLVER_FAILED)
		return;
	lookup->failed = true;
	snprintf(lookup->why, sizeof(lookup->why), "%s",
	    answer->why ? answer->why : "no answer");
}

/* The host's addresses get their level, or go; then the next host. */
static void
host_end(struct relay_lookup *lookup, enum relay_tlsa_found tlsa)
{
	struct relay_site *site = lookup->site;
	enum relay_level level = RELAY_LEVEL_MAY;
	const char *why = NULL;
	struct relay_level_facts facts = {
	    .want = site->want,
	    .overridden = lookup->overridden,
	    .override = lookup->override,
	    .required =
		strcmp(service_conf(site->relay->service)->relay.tls, "required") == 0,
	    .mx_secure = lookup->mx_secure,
	    .tlsa = tlsa,
	    .sts_enforced =
		lookup->sts_text && lookup->sts_policy.mode == MTA_STS_ENFORCE,
	    .sts_matches =
		lookup->sts_text && mta_sts_mx_matches(&lookup->sts_policy,
					slice_from_cstr(lookup->hosts[lookup->host])),
	};
	bool usable = true;
	if (site->by_rule)
		level = rule_level(site);
	else
		usable = relay_level_decide(&facts, &level, &why);
	if (!usable && facts.sts_enforced && !facts.sts_matches)
		relay_tlsrpt_domain(site->relay, site->domain,
		    lookup->hosts[lookup->host], "sts", "validation-failure", why);
	if (tlsa == RELAY_TLSA_UNUSABLE && !site->by_rule)
		relay_tlsrpt_domain(site->relay, site->domain,
		    lookup->hosts[lookup->host], "tlsa", "tlsa-invalid", NULL);
	if (!usable && lookup->address_count > lookup->host_first) {
		lookup->address_count = lookup->host_first;
		lookup->refused = true;
		snprintf(lookup->why, sizeof(lookup->why), "%.100s: %s",
		    lookup->hosts[lookup->host], why);
	}
	for (size_t i = lookup->host_first; i < lookup->address_count; i++) {
		lookup->addresses[i].level = level;
		lookup->addresses[i].tlsa = lookup->tlsa[lookup->host];
	}
	lookup->asking_aaaa = false;
	lookup->host_secure = false;
	lookup->host_first = lookup->address_count;
	lookup->host++;
	host_ask(lookup);
}

/* Null when none of them can be used. */
static struct relay_tlsa *
tlsa_copy(const struct resolver_answer *answer)
{
	size_t size = 0;
	for (size_t i = 0; i < answer->count; i++)
		size += answer->records[i].data.len;
	struct relay_tlsa *tlsa = xcalloc(1, sizeof(*tlsa) + size);
	size_t used = 0;
	for (size_t i = 0; i < answer->count && tlsa->count < RELAY_TLSA_MAX; i++) {
		struct slice data = answer->records[i].data;
		if (!tls_tlsa_is_usable(data))
			continue;
		memcpy(tlsa->bytes + used, data.ptr, data.len);
		tlsa->records[tlsa->count++] = slice_make(tlsa->bytes + used, data.len);
		used += data.len;
	}
	if (tlsa->count == 0) {
		free(tlsa);
		return NULL;
	}
	return tlsa;
}

static void
tlsa_answer(const struct resolver_answer *answer, void *arg)
{
	struct relay_lookup *lookup = arg;
	if (answer->result == RESOLVER_BOGUS || answer->result == RESOLVER_FAILED) {
		/* An attacker may keep them away: not this host now (RFC 7672 section
		 * 2.1.1). */
		lookup->address_count = lookup->host_first;
		lookup->failed = true;
		snprintf(lookup->why, sizeof(lookup->why), "TLSA of %.100s: %s",
		    lookup->hosts[lookup->host], answer->why ? answer->why : "no answer");
		host_end(lookup, RELAY_TLSA_NONE);
		return;
	}
	enum relay_tlsa_found found = RELAY_TLSA_NONE;
	if (answer->result == RESOLVER_OK && answer->secure) {
		lookup->tlsa[lookup->host] = tlsa_copy(answer);
		found =
		    lookup->tlsa[lookup->host] ? RELAY_TLSA_USABLE : RELAY_TLSA_UNUSABLE;
	}
	if (answer->result == RESOLVER_OK && answer->ttl_s < lookup->ttl_s)
		lookup->ttl_s = answer->ttl_s;
	host_end(lookup, found);
}

static void
tlsa_ask(struct relay_lookup *lookup)
{
	struct relay_site *site = lookup->site;
	if (site->by_rule || lookup->overridden || !lookup->mx_secure ||
	    !lookup->host_secure || lookup->address_count == lookup->host_first ||
	    !service_conf(site->relay->service)->relay.dane) {
		host_end(lookup, RELAY_TLSA_NONE);
		return;
	}
	char name[300];
	snprintf(name, sizeof(name), "_%u._tcp.%s", (unsigned)site->port,
	    lookup->hosts[lookup->host]);
	resolver_ask(site->relay->resolver, slice_from_cstr(name), RESOLVER_TLSA,
	    tlsa_answer, lookup);
}

static enum relay_level
rule_level(const struct relay_site *site)
{
	static const enum relay_level levels[] = {
	    [RELAY_TLS_OPPORTUNISTIC] = RELAY_LEVEL_MAY,
	    [RELAY_TLS_NONE] = RELAY_LEVEL_NONE,
	    [RELAY_TLS_REQUIRED] = RELAY_LEVEL_VERIFY};
	return site->want == RELAY_WANT_TLS ? RELAY_LEVEL_VERIFY : levels[site->tls];
}

static void
address_answer(const struct resolver_answer *answer, void *arg)
{
	struct relay_lookup *lookup = arg;
	struct relay_site *site = lookup->site;
	const struct conf *conf = service_conf(site->relay->service);
	failure_note(lookup, answer);
	if (answer->result == RESOLVER_OK && answer->ttl_s < lookup->ttl_s)
		lookup->ttl_s = answer->ttl_s;
	size_t count = answer->result == RESOLVER_OK ? answer->count : 0;
	for (size_t i = 0; i < count; i++) {
		if (lookup->address_count == RELAY_ADDRESSES_MAX)
			break;
		struct slice data = answer->records[i].data;
		struct relay_address *a = &lookup->addresses[lookup->address_count];
		if (data.len != 4 && data.len != 16)
			continue;
		address_set(a, data.len == 4 ? AF_INET : AF_INET6, data.ptr, site->port);
		memcpy(a->host, lookup->hosts[lookup->host], sizeof(a->host));
		if (!site->by_rule && !conf->relay.allow_private &&
		    address_is_private((const struct sockaddr *)&a->address)) {
			lookup->private_seen = true;
			continue;
		}
		lookup->address_count++;
	}
	lookup->host_secure |= count > 0 && answer->secure;
	bool wants_ipv6 = strcmp(conf->relay.prefer, "ipv4") != 0 || count == 0;
	if (!lookup->asking_aaaa && wants_ipv6) {
		lookup->asking_aaaa = true;
	} else {
		tlsa_ask(lookup);
		return;
	}
	host_ask(lookup);
}

static void
host_ask(struct relay_lookup *lookup)
{
	if (lookup->host == lookup->host_count ||
	    lookup->address_count == RELAY_ADDRESSES_MAX) {
		lookup_finish(lookup);
		return;
	}
	resolver_ask(lookup->site->relay->resolver,
	    slice_from_cstr(lookup->hosts[lookup->host]),
	    lookup->asking_aaaa ? RESOLVER_AAAA : RESOLVER_A, address_answer, lookup);
}

static void
host_add(struct relay_lookup *lookup, struct slice name)
{
	/* A root name among other hosts is a broken null MX: it names nothing. */
	if (lookup->host_count < RELAY_MX_MAX && name.len > 0 &&
	    slice_copy_cstr(
		name, lookup->hosts[lookup->host_count], sizeof(lookup->hosts[0])))
		lookup->host_count++;
}

/* Equal preferences in a random order (RFC 5321 section 5.1). */
static void
records_shuffle(struct resolver_record *records, size_t count, uint64_t (*random)(void))
{
	for (size_t i = 0; i + 1 < count; i++) {
		size_t same = 1;
		while (i + same < count &&
		       records[i + same].preference == records[i].preference)
			same++;
		size_t pick = i + (size_t)(random() % same);
		struct resolver_record r = records[i];
		records[i] = records[pick];
		records[pick] = r;
	}
}

size_t
relay_mx_order(struct resolver_record *records, size_t count, struct slice own,
    uint64_t (*random)(void))
{
	/* We are one of them: only better ones may be used, or mail goes in circles. */
	for (size_t i = 0; i < count; i++) {
		if (!slice_equal_nocase(records[i].name, own))
			continue;
		uint16_t ours = records[i].preference;
		for (i = 0; i < count && records[i].preference < ours; i++)
			;
		count = i;
	}
	records_shuffle(records, count, random);
	return count;
}

static void
mx_take(struct relay_lookup *lookup, const struct resolver_answer *answer)
{
	const char *own = service_conf(lookup->site->relay->service)->hostname;
	struct resolver_record records[RESOLVER_RECORDS_MAX];
	size_t count =
	    answer->count < RESOLVER_RECORDS_MAX ? answer->count : RESOLVER_RECORDS_MAX;
	memcpy(records, answer->records, count * sizeof(records[0]));
	count = relay_mx_order(records, count, slice_from_cstr(own), random_u64);
	for (size_t i = 0; i < count; i++)
		host_add(lookup, records[i].name);
}

static void
mx_answer(const struct resolver_answer *answer, void *arg)
{
	struct relay_lookup *lookup = arg;
	struct relay_site *site = lookup->site;
	char reply[512];
	failure_note(lookup, answer);
	if (answer->result == RESOLVER_OK && answer->ttl_s < lookup->ttl_s)
		lookup->ttl_s = answer->ttl_s;
	lookup->mx_secure = answer->secure;
	switch (answer->result) {
	case RESOLVER_OK:
		if (answer->count == 1 && slice_is_empty(answer->records[0].name)) {
			snprintf(reply, sizeof(reply),
			    "556 5.1.10 %s does not take mail (null MX)", site->domain);
			lookup_fail(lookup, QUEUE_FAILED, reply);
			return;
		}
		mx_take(lookup, answer);
		if (lookup->host_count == 0) {
			snprintf(reply, sizeof(reply),
			    "550 5.4.6 the MX of %s is this server, which does not serve "
			    "that domain: postroom domain add, or mend its DNS",
			    site->domain);
			lookup_fail(lookup, QUEUE_FAILED, reply);
			return;
		}
		break;
	case RESOLVER_NO_DATA:
		host_add(lookup, slice_from_cstr(site->domain));
		break;
	case RESOLVER_NO_NAME:
		snprintf(reply, sizeof(reply), "550 5.1.2 the domain %s does not exist",
		    site->domain);
		lookup_fail(lookup, QUEUE_FAILED, reply);
		return;
	case RESOLVER_BOGUS:
	case RESOLVER_FAILED:
		lookup_finish(lookup);
		return;
	}
	host_ask(lookup);
}

/* relay_sts_fn */
static void
sts_answer(const struct mta_sts_policy *policy, struct slice text, void *arg)
{
	struct relay_lookup *lookup = arg;
	if (policy) {
		lookup->sts_text = slice_to_cstr(text);
		ENSURE(mta_sts_policy_parse(
		    slice_make(lookup->sts_text, text.len), &lookup->sts_policy));
	}
	resolver_ask(lookup->site->relay->resolver, slice_from_cstr(lookup->domain),
	    RESOLVER_MX, mx_answer, lookup);
}

/* What the operator set for the domain. */
static void
override_find(struct relay_lookup *lookup)
{
	struct relay_note note;
	enum status status = relay_note_get(lookup->site->relay->reader, RELAY_NOTE_TLS,
	    slice_from_cstr(lookup->domain), clock_wall_s(), &note);
	if (status != STATUS_OK || note.kind > RELAY_LEVEL_VERIFY)
		return;
	lookup->overridden = true;
	lookup->override = (enum relay_level)note.kind;
}

void
relay_site_resolve(struct relay_site *site)
{
	ENSURE(!site->lookup);
	const struct conf *conf = service_conf(site->relay->service);
	struct relay_lookup *lookup = xcalloc(1, sizeof(*lookup));
	lookup->site = site;
	lookup->ttl_s = RELAY_SITE_TTL_S_MAX;
	site->lookup = lookup;
	site->state = SITE_RESOLVING;
	if (relay_address_literal(site->domain, site->port, &lookup->addresses[0])) {
		const struct sockaddr *a =
		    (const struct sockaddr *)&lookup->addresses[0].address;
		lookup->private_seen =
		    !site->by_rule && !conf->relay.allow_private && address_is_private(a);
		lookup->address_count = !lookup->private_seen;
		(void)slice_copy_cstr(slice_from_cstr(lookup->addresses[0].host),
		    lookup->hosts[0], sizeof(lookup->hosts[0]));
		lookup->host_count = 1;
		host_end(lookup, RELAY_TLSA_NONE);
		return;
	}
	if (site->by_rule && relay_address_path(site->domain, &lookup->addresses[0])) {
		lookup->host_count = lookup->address_count = 1;
		host_end(lookup, RELAY_TLSA_NONE);
		return;
	}
	struct buf ascii AUTO_BUF;
	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	if (!address_domain_to_ascii(slice_from_cstr(site->domain), &ascii) ||
	    !slice_copy_cstr(buf_slice(&ascii), lookup->domain, sizeof(lookup->domain))) {
		lookup_fail(lookup, QUEUE_FAILED, "550 5.1.2 this is no domain name");
		return;
	}
	if (site->by_rule) {
		host_add(lookup, buf_slice(&ascii));
		host_ask(lookup);
		return;
	}
	override_find(lookup);
	if (conf->relay.mta_sts && !lookup->overridden &&
	    site->want != RELAY_WANT_DELIVERY)
		relay_sts_find(site->relay, buf_slice(&ascii), sts_answer, lookup);
	else
		sts_answer(NULL, SLICE_NULL, lookup);
}
