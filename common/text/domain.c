/*
 * Domain names: syntax, lengths, and IDNA both ways (libidn2, RFC 5890 to 5892).
 *
 * Syntax is RFC 5321 section 4.1.2's sub-domains (letters, digits, hyphens inside), at
 * most 63 bytes a label and ADDRESS_DOMAIN_MAX in all.  Underscores are not mail domains.
 */
#include <arpa/inet.h>
#include <idn2.h>

#include "base/ensure.h"
#include "text/address.h"
#include "text/encoding.h"

enum { LABEL_MAX = 63 /* octets, RFC 1035 section 2.3.4 */ };

static bool
is_let_dig(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c);
}

static bool
label_is_valid(struct slice label)
{
	if (label.len == 0 || label.len > LABEL_MAX || !is_let_dig(label.ptr[0]) ||
	    !is_let_dig(label.ptr[label.len - 1]))
		return false;
	for (size_t i = 0; i < label.len; i++) {
		if (!is_let_dig(label.ptr[i]) && label.ptr[i] != '-')
			return false;
	}
	return true;
}

static bool
ascii_domain_is_valid(struct slice domain)
{
	if (domain.len == 0 || domain.len > ADDRESS_DOMAIN_MAX ||
	    domain.ptr[domain.len - 1] == '.')
		return false;
	while (domain.ptr) {
		if (!label_is_valid(slice_split(&domain, '.')))
			return false;
	}
	return true;
}

/* "::" stands for at least two groups (RFC 5321 section 4.1.3, stricter than inet_pton):
 * with it no more than six others may be there, an IPv4 tail counting as two. */
static bool
elision_is_valid(const char *text)
{
	if (!strstr(text, "::"))
		return true;
	unsigned groups = strchr(text, '.') ? 1 : 0;
	for (const char *at = text; *at; at++)
		groups += *at != ':' && (at == text || at[-1] == ':');
	return groups <= 6;
}

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3). */
static bool
literal_is_valid(struct slice s)
{
	char text[INET6_ADDRSTRLEN + 1];
	unsigned char address[16];
	if (s.len < 3 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']')
		return false;
	s = slice_sub(s, 1, s.len - 2);
	bool v6 = slice_has_prefix_nocase(s, SLICE("IPv6:"));
	if (!slice_copy_cstr(v6 ? slice_from(s, 5) : s, text, sizeof(text)))
		return false;
	return inet_pton(v6 ? AF_INET6 : AF_INET, text, address) == 1 &&
	       (!v6 || elision_is_valid(text));
}

bool
address_domain_is_valid(struct slice domain, bool literal, bool utf8)
{
	if (domain.len && domain.ptr[0] == '[')
		return literal && literal_is_valid(domain);
	if (domain.len && ascii_only(domain))
		return ascii_domain_is_valid(domain);
	if (!utf8 || domain.len == 0)
		return false;
	struct buf ascii;
	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	bool ok = address_domain_to_ascii(domain, &ascii);
	buf_fini(&ascii);
	return ok;
}

bool
address_domain_to_ascii(struct slice domain, struct buf *out)
{
	if (domain.len == 0 || domain.len > ADDRESS_DOMAIN_MAX)
		return false;
	if (ascii_only(domain)) {
		if (!ascii_domain_is_valid(domain))
			return false;
		for (size_t i = 0; i < domain.len; i++)
			buf_append_byte(out, ascii_lower(domain.ptr[i]));
		return buf_ok(out);
	}
	char text[ADDRESS_DOMAIN_MAX + 1];
	char *made = NULL;
	if (!utf8_is_valid(domain) || !slice_copy_cstr(domain, text, sizeof(text)))
		return false;
	/* Non-transitional processing (UTS 46), as browsers and registries do. */
	if (idn2_lookup_u8((const uint8_t *)text, (uint8_t **)&made,
		IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return false;
	struct slice ascii = slice_from_cstr(made);
	bool ok = ascii_domain_is_valid(ascii);
	if (ok)
		buf_append(out, ascii);
	idn2_free(made);
	return ok && buf_ok(out);
}

bool
address_domain_to_unicode(struct slice domain, struct buf *out)
{
	struct buf ascii;
	char text[ADDRESS_DOMAIN_MAX + 1];
	char *made = NULL;

	buf_init(&ascii, ADDRESS_DOMAIN_MAX);
	bool ok = address_domain_to_ascii(domain, &ascii) &&
	          slice_copy_cstr(buf_slice(&ascii), text, sizeof(text));
	buf_fini(&ascii);
	if (!ok)
		return false;
	/* A label that only looks like an A-label stays as it is. */
	if (idn2_to_unicode_8z8z(text, &made, IDN2_NONTRANSITIONAL) == IDN2_OK)
		buf_append_cstr(out, made);
	else
		buf_append_cstr(out, text);
	idn2_free(made);
	return buf_ok(out);
}
