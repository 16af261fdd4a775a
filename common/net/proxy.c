/*
 * PROXY headers; see proxy.h.  Section numbers are those of proxy-protocol.txt.
 */
#include "net/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum {
	V2_SIGNATURE_LEN = 12,
	V2_HEAD_LEN = 16,
	V2_TCP4_LEN = 12, /* octets of addresses and ports */
	V2_TCP6_LEN = 36,
};

static const char v2_signature[V2_SIGNATURE_LEN] = "\r\n\r\n\0\r\nQUIT\n";

/* ---- version 1, section 2.1 ---- */

static bool
v1_address(int family, struct slice ip, struct slice port, struct sockaddr_storage *out)
{
	char text[INET6_ADDRSTRLEN];
	uint64_t number;
	if (!slice_copy_cstr(ip, text, sizeof(text)) ||
	    !slice_to_u64(port, UINT16_MAX, &number))
		return false;
	memset(out, 0, sizeof(*out));
	out->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		struct sockaddr_in *v4 = (void *)out;
		v4->sin_port = htons((uint16_t)number);
		return inet_pton(AF_INET, text, &v4->sin_addr) == 1;
	}
	struct sockaddr_in6 *v6 = (void *)out;
	v6->sin6_port = htons((uint16_t)number);
	return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
}

static enum proxy_result
v1_parse(struct slice bytes, struct proxy_header *out, size_t *out_used)
{
	size_t end = slice_index(slice_sub(bytes, 0, PROXY_V1_MAX), '\n');
	if (end == SIZE_MAX)
		return bytes.len < PROXY_V1_MAX ? PROXY_MORE : PROXY_BAD;
	if (bytes.ptr[end - 1] != '\r')
		return PROXY_BAD;
	struct slice rest = slice_sub(bytes, 0, end - 1);
	(void)slice_split(&rest, ' ');
	struct slice family = slice_split(&rest, ' ');
	*out_used = end + 1;
	memset(out, 0, sizeof(*out));
	out->client.ss_family = AF_UNSPEC;
	if (slice_equal(family, SLICE("UNKNOWN")))
		return PROXY_DONE;
	bool four = slice_equal(family, SLICE("TCP4"));
	if (!four && !slice_equal(family, SLICE("TCP6")))
		return PROXY_BAD;
	struct slice client = slice_split(&rest, ' ');
	struct slice server = slice_split(&rest, ' ');
	struct slice client_port = slice_split(&rest, ' ');
	struct sockaddr_storage unused;
	int kind = four ? AF_INET : AF_INET6;
	return v1_address(kind, server, rest, &unused) &&
	               v1_address(kind, client, client_port, &out->client)
	           ? PROXY_DONE
	           : PROXY_BAD;
}

/* ---- version 2, section 2.2 ---- */

static enum proxy_result
v2_parse(struct slice bytes, struct proxy_header *out, size_t *out_used)
{
	if (bytes.len < V2_HEAD_LEN)
		return PROXY_MORE;
	const unsigned char *p = (const unsigned char *)bytes.ptr;
	unsigned command = p[12] & 15u;
	size_t len = (size_t)p[14] << 8 | p[15];
	if (p[12] >> 4 != 2 || command > 1 || V2_HEAD_LEN + len > PROXY_HEADER_MAX)
		return PROXY_BAD;
	if (bytes.len < V2_HEAD_LEN + len)
		return PROXY_MORE;
	*out_used = V2_HEAD_LEN + len;
	memset(out, 0, sizeof(*out));
	out->client.ss_family = AF_UNSPEC;
	const unsigned char *body = p + V2_HEAD_LEN;
	unsigned family = p[13] >> 4;
	unsigned transport = p[13] & 15u;
	/* LOCAL: what it says is to be ignored. */
	if (command == 0)
		return PROXY_DONE;
	if (family > 3 || transport > 2)
		return PROXY_BAD;
	if (transport != 1 || family == 0 || family == 3)
		return transport == 2 ? PROXY_BAD : PROXY_DONE;
	if (len < (family == 1 ? V2_TCP4_LEN : V2_TCP6_LEN))
		return PROXY_BAD;
	if (family == 1) {
		struct sockaddr_in *v4 = (void *)&out->client;
		v4->sin_family = AF_INET;
		memcpy(&v4->sin_addr, body, 4);
		memcpy(&v4->sin_port, body + 8, 2);
	} else {
		struct sockaddr_in6 *v6 = (void *)&out->client;
		v6->sin6_family = AF_INET6;
		memcpy(&v6->sin6_addr, body, 16);
		memcpy(&v6->sin6_port, body + 32, 2);
	}
	return PROXY_DONE;
}

enum proxy_result
proxy_parse(struct slice bytes, struct proxy_header *out, size_t *out_used)
{
	struct slice v2 = slice_make(v2_signature, sizeof(v2_signature));
	struct slice v1 = SLICE("PROXY ");
	struct slice front = slice_sub(bytes, 0, v2.len);
	if (slice_equal(front, v2))
		return v2_parse(bytes, out, out_used);
	if (slice_has_prefix(bytes, v1))
		return v1_parse(bytes, out, out_used);
	return slice_equal(front, slice_sub(v2, 0, front.len)) ||
	               (front.len < v1.len &&
			   slice_equal(front, slice_sub(v1, 0, front.len)))
	           ? PROXY_MORE
	           : PROXY_BAD;
}
