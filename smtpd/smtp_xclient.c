/*
 * The attributes of XCLIENT; see smtp_xclient.h.
 */
#include "smtpd/smtp_xclient.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/buf.h"
#include "smtpd/smtp_parse.h"
#include "text/encoding.h"

enum attribute {
	ATTRIBUTE_NAME,
	ATTRIBUTE_ADDR,
	ATTRIBUTE_PORT,
	ATTRIBUTE_PROTO,
	ATTRIBUTE_HELO,
	ATTRIBUTE_LOGIN,
	ATTRIBUTE_DESTADDR,
	ATTRIBUTE_DESTPORT,
	ATTRIBUTE_COUNT,
};

static enum attribute
attribute_of(struct slice name)
{
	static const struct slice names[ATTRIBUTE_COUNT] = {
	    [ATTRIBUTE_NAME] = SLICE("NAME"),
	    [ATTRIBUTE_ADDR] = SLICE("ADDR"),
	    [ATTRIBUTE_PORT] = SLICE("PORT"),
	    [ATTRIBUTE_PROTO] = SLICE("PROTO"),
	    [ATTRIBUTE_HELO] = SLICE("HELO"),
	    [ATTRIBUTE_LOGIN] = SLICE("LOGIN"),
	    [ATTRIBUTE_DESTADDR] = SLICE("DESTADDR"),
	    [ATTRIBUTE_DESTPORT] = SLICE("DESTPORT"),
	};
	for (unsigned i = 0; i < ATTRIBUTE_COUNT; i++) {
		if (names[i].len == name.len && slice_equal_nocase(names[i], name))
			return (enum attribute)i;
	}
	return ATTRIBUTE_COUNT;
}

static bool
address_take(struct slice text, struct smtp_xclient *out)
{
	char ip[INET6_ADDRSTRLEN];
	struct sockaddr_in *v4 = (void *)&out->address;
	struct sockaddr_in6 *v6 = (void *)&out->address;
	bool six = slice_has_prefix_nocase(text, SLICE("IPV6:"));
	if (!slice_copy_cstr(slice_from(text, six ? 5 : 0), ip, sizeof(ip)))
		return false;
	out->address.ss_family = six ? AF_INET6 : AF_INET;
	return six ? inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1
	           : inet_pton(AF_INET, ip, &v4->sin_addr) == 1;
}

static bool
is_unknown(struct slice text)
{
	return slice_equal_nocase(text, SLICE("[UNAVAILABLE]")) ||
	       slice_equal_nocase(text, SLICE("[TEMPUNAVAIL]"));
}

static bool
value_take(enum attribute attribute, struct slice text, struct smtp_xclient *out)
{
	bool unknown = is_unknown(text);
	uint64_t port = 0;
	switch (attribute) {
	case ATTRIBUTE_ADDR:
		out->has_address = true;
		out->address_unknown = unknown;
		return unknown || address_take(text, out);
	case ATTRIBUTE_PORT:
		out->has_port = !unknown;
		if (!unknown && !slice_to_u64(text, UINT16_MAX, &port))
			return false;
		out->port = (uint16_t)port;
		return true;
	case ATTRIBUTE_PROTO:
		out->has_proto = true;
		out->extended = slice_equal_nocase(text, SLICE("ESMTP"));
		return out->extended || slice_equal_nocase(text, SLICE("SMTP"));
	case ATTRIBUTE_HELO:
		out->helo = unknown ? SLICE_NULL : text;
		return unknown || smtp_helo_is_valid(text);
	case ATTRIBUTE_LOGIN:
		out->login = unknown ? SLICE_NULL : text;
		return unknown || text.len > 0;
	case ATTRIBUTE_NAME:
	case ATTRIBUTE_DESTADDR:
	case ATTRIBUTE_DESTPORT:
		return true;
	case ATTRIBUTE_COUNT:
		break;
	}
	return false;
}

bool
smtp_xclient_parse(struct slice rest, struct arena *arena, struct smtp_xclient *out)
{
	unsigned seen = 0;
	unsigned count = 0;
	memset(out, 0, sizeof(*out));
	while (rest.len > 0) {
		struct slice value = slice_split(&rest, ' ');
		if (value.len == 0)
			continue;
		struct buf text AUTO_BUF;
		buf_init(&text, SMTP_XCLIENT_VALUE_MAX);
		if (slice_index(value, '=') == SIZE_MAX)
			return false;
		enum attribute attribute = attribute_of(slice_split(&value, '='));
		if (attribute == ATTRIBUTE_COUNT || (seen & 1u << attribute) ||
		    !xtext_decode(value, &text) || !buf_ok(&text))
			return false;
		seen |= 1u << attribute;
		struct slice copy =
		    text.len ? arena_copy(arena, buf_slice(&text)) : SLICE("");
		if (!copy.ptr || slice_index(copy, '\0') != SIZE_MAX ||
		    !value_take(attribute, copy, out))
			return false;
		count++;
	}
	return count > 0;
}
