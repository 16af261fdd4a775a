/*
 * Addresses in the configuration: what listeners bind to, name servers, networks.  Each
 * is checked and brought into one form, so that nobody else reads the person's spelling.
 *
 * Pure.  Host names are not looked up: a configuration means the same without a network.
 */
#include "conf/conf_int.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/ensure.h"

static bool
ip_parse(struct slice s, char out[INET6_ADDRSTRLEN], int *out_family)
{
	unsigned char bytes[16];
	char text[INET6_ADDRSTRLEN];

	if (s.len > 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']') {
		s = slice_sub(s, 1, s.len - 2);
		if (slice_index(s, ':') == SIZE_MAX)
			return false;
	}
	if (!slice_copy_cstr(s, text, sizeof(text)))
		return false;
	*out_family = slice_index(s, ':') == SIZE_MAX ? AF_INET : AF_INET6;
	return inet_pton(*out_family, text, bytes) == 1 &&
	       inet_ntop(*out_family, bytes, out, INET6_ADDRSTRLEN) != NULL;
}

char *
conf_address_normal(const char *text, struct buf *why)
{
	char ip[INET6_ADDRSTRLEN];
	char out[INET6_ADDRSTRLEN + 2];
	int family;

	if (!ip_parse(slice_from_cstr(text), ip, &family)) {
		buf_append_format(why,
		    "'%.80s' is no address: write \"192.0.2.1\" or \"[2001:db8::1]\"",
		    text);
		return NULL;
	}
	(void)snprintf(out, sizeof(out), family == AF_INET6 ? "[%s]" : "%s", ip);
	return xstrdup(out);
}

/* "address" or "address@port", the form of libunbound and resolv.conf. */
char *
conf_server_normal(const char *text, struct buf *why)
{
	struct slice rest = slice_from_cstr(text);
	struct slice address = slice_split(&rest, '@');
	char ip[INET6_ADDRSTRLEN];
	char out[INET6_ADDRSTRLEN + 8];
	int family;
	uint64_t port = 53;

	if (!ip_parse(address, ip, &family) ||
	    (rest.ptr && (!slice_to_u64(rest, UINT16_MAX, &port) || port == 0))) {
		buf_append_format(why,
		    "'%.80s' is no name server: write \"192.0.2.1\" or "
		    "\"2001:db8::1@5353\"",
		    text);
		return NULL;
	}
	if (rest.ptr)
		(void)snprintf(out, sizeof(out), "%s@%u", ip, (unsigned)(uint16_t)port);
	else
		(void)snprintf(out, sizeof(out), "%s", ip);
	return xstrdup(out);
}

/* True when the bits behind the prefix are all zero; clears them. */
static bool
prefix_mask(unsigned char *bytes, size_t size, uint64_t prefix)
{
	bool clean = true;

	for (size_t i = 0; i < size; i++) {
		unsigned keep = 0;
		if (prefix >= 8 * (i + 1))
			keep = 0xff;
		else if (prefix > 8 * i)
			keep = 0xffu << (8 * (i + 1) - prefix) & 0xff;
		if (bytes[i] & ~keep)
			clean = false;
		bytes[i] = (unsigned char)(bytes[i] & keep);
	}
	return clean;
}

char *
conf_network_normal(const char *text, struct buf *why)
{
	struct slice rest = slice_from_cstr(text);
	struct slice address = slice_split(&rest, '/');
	char ip[INET6_ADDRSTRLEN];
	char out[INET6_ADDRSTRLEN + 8];
	unsigned char bytes[16];
	int family;
	uint64_t prefix;

	if (!ip_parse(address, ip, &family))
		goto malformed;
	size_t size = family == AF_INET6 ? 16 : 4;
	prefix = size * 8;
	if (rest.ptr && !slice_to_u64(rest, size * 8, &prefix))
		goto malformed;
	ENSURE(inet_pton(family, ip, bytes) == 1);
	bool clean = prefix_mask(bytes, size, prefix);
	ENSURE(inet_ntop(family, bytes, ip, sizeof(ip)) != NULL);
	(void)snprintf(out, sizeof(out), "%s/%u", ip, (unsigned)(uint8_t)prefix);
	if (!clean) {
		buf_append_format(why,
		    "'%.80s' has bits set behind its prefix: did you mean \"%s\"?", text,
		    out);
		return NULL;
	}
	return xstrdup(out);
malformed:
	buf_append_format(why,
	    "'%.80s' is no network: write \"10.0.0.0/8\" or \"[2001:db8::]/32\"", text);
	return NULL;
}
